//! Memory that runs out: for every N the Nth allocation of a plan fails, and the system is as it was before.
//!
//! The allocator of this test program fails on demand. One exception keeps it honest about a real one: a block that has
//! just been given back is there for whoever asks for the same size next (that is how a box is made after asking whether
//! there is room for it).

mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use tarn_abi::call::param::Setting;
use tarn_abi::{Label, PoolId};
use tarn_pools::*;
use world::{World, sched, two_pools};

struct Scarce;

static ON: AtomicBool = AtomicBool::new(false);
/// Counts down; the allocation that finds 1 fails.
static LEFT: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);
/// Size and alignment of the block given back last.
static LAST: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

fn refused(layout: Layout) -> bool {
    if !ON.load(Ordering::Relaxed) {
        return false;
    }
    let same = LAST[0].load(Ordering::Relaxed) == layout.size()
        && LAST[1].load(Ordering::Relaxed) == layout.align();
    LAST[0].store(0, Ordering::Relaxed);
    if same {
        return false;
    }
    let refused = LEFT.fetch_sub(1, Ordering::Relaxed) == 1;
    if refused {
        FAILED.fetch_add(1, Ordering::Relaxed);
    }
    refused
}

// SAFETY: every block comes from and goes back to the system's allocator with its own layout; refusing is allowed.
unsafe impl GlobalAlloc for Scarce {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if refused(layout) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        if ON.load(Ordering::Relaxed) {
            LAST[0].store(layout.size(), Ordering::Relaxed);
            LAST[1].store(layout.align(), Ordering::Relaxed);
        }
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Scarce = Scarce;

fn set(name: &str, value: u64) -> Option<Setting> {
    Some(Setting {
        name: Label::new(name).unwrap(),
        value,
    })
}

/// A plan that needs memory of every kind: pools, schedulers, CPUs, places, an exchange, settings.
fn plan(w: &World) -> Plan {
    let (d1, d2, d3) = (w.domains[1].0, w.domains[2].0, w.domains[3].0);
    let mut p = Plan::new();
    let pools = two_pools(["credit2", "rtds"], ["2-3", "4-5"]);
    let rest = [
        Step::DomainParams(d2, [set("weight", 300), set("rt-budget", 1_000)]),
        Step::MoveDomain(d1, Target::Step(0)),
        Step::MoveDomain(d2, Target::Step(1)),
        Step::MoveDomain(d3, Target::Step(0)),
        Step::SetSched(Target::Id(PoolId::POOL0), sched("rr")),
        Step::PoolParams(Target::Step(0), [set("ratelimit", 0), None]),
    ];
    for s in pools.into_iter().chain(rest) {
        p.add(s).unwrap();
    }
    p
}

fn busy() -> World {
    let mut w = World::new(6, "credit2");
    for slot in 0..4 {
        w.add(slot, 3, PoolId::POOL0);
    }
    w.settle();
    w
}

#[test]
fn the_nth_allocation_fails_for_every_n() {
    let mut refusals = 0;
    for n in 1.. {
        let mut w = busy();
        let p = plan(&w);
        let before = w.picture();
        FAILED.store(0, Ordering::Relaxed);
        LEFT.store(n, Ordering::Relaxed);
        ON.store(true, Ordering::Relaxed);
        let (kick, begun) = w.set.begin(&p, w.now);
        ON.store(false, Ordering::Relaxed);
        w.send(kick);
        if FAILED.load(Ordering::Relaxed) == 0 {
            // All allocations of the plan have been refused once.
            begun.unwrap();
            w.finish().unwrap();
            assert_ne!(w.picture(), before);
            w.check_at_rest();
            assert!(
                n > 30,
                "a plan of that kind needs more than {n} allocations"
            );
            break;
        }
        let refusal = begun.expect_err("an allocation failed");
        assert!(
            matches!(
                refusal.error,
                PoolError::NoMemory | PoolError::Sched(SchedError::NoMemory)
            ),
            "{refusal:?}"
        );
        refusals += 1;
        assert_eq!(w.picture(), before, "allocation {n} failed");
        w.check();
        // And it works when there is memory again.
        w.carry_out(&p).unwrap();
        w.check_at_rest();
    }
    println!("{refusals} allocations refused, one at a time");
}
