//! Caps where one vCPU of a domain leaves nothing for another: each gets its time all the same, the domain what it may, and
//! CPUs do not come by all the time to see.

mod world;

use tarn_abi::{Instant, PoolId, Span};
use tarn_pools::*;
use world::{World, vcpu};

/// Lets time pass; how often CPUs come by.
fn pass(w: &mut World, time: Span) -> u32 {
    let end = w.now + time;
    let mut came = 0;
    while w.next_event(end) {
        came += 1;
        w.check();
    }
    came
}

/// Two CPUs and a domain of two vCPUs: the first never sleeps, the second does for a millisecond if it runs, at first and
/// `every` so long. What each has run in a second, in thousandths, and how often CPUs came by.
fn side_by_side(kind: &str, cap: u32, every: Span) -> ([u64; 2], u32) {
    let mut w = World::new(2, kind);
    let d = w.add(1, 2, PoolId::POOL0);
    let v = [vcpu(d, 0), vcpu(d, 1)];
    w.settle();
    let limit = DomainParams { cap };
    let k = w.set.adjust_domain(d, &limit, w.now).unwrap();
    w.send(k);
    w.settle();
    let (mut came, end) = (0, w.now + Span::ms(1000));
    while w.now < end {
        let at = w.set.runs_on(v[1]);
        if let Some(c) = at {
            assert_eq!(w.set.block(v[1], w.now, || false), Block::Slept);
            w.cpus[c.index()].running = false;
            w.come_by(c);
        }
        came += pass(&mut w, Span::ms(1));
        if at.is_some()
            && let Woken::Kick(k) = w.set.wake(v[1], WakeReason::Timer, w.now)
        {
            w.send(k);
        }
        came += pass(&mut w, every);
    }
    let ran = |v, now: Instant| w.set.vcpu_info(v, now).unwrap().times;
    let ran = v.map(|v| ran(v, w.now).in_state(VcpuState::Running).0 / 1_000_000);
    (ran, came)
}

#[test]
fn who_runs_does_not_keep_who_is_parked_waiting() {
    for kind in ["credit2", "rr"] {
        for cap in [20, 60, 99, 100, 101, 105, 120, 150, 199] {
            for every in [3, 10, 999] {
                let (ran, came) = side_by_side(kind, cap, Span::ms(every));
                let (all, may) = (ran[0] + ran[1], 10 * u64::from(cap));
                let what = format!("{kind}, cap {cap}, {every}: {ran:?}, came by {came} times");
                assert!(all <= may + 20, "{what}");
                assert!(all * 10 > may.min(1750) * 9, "{what}");
                assert!(ran[1] * 6 > may, "{what}");
                assert!(came < 10_000, "{what}");
            }
        }
    }
}
