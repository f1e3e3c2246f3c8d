//! What a guest can ask of its GIC at once: how long the longest stretch is for which EL2 takes no interrupt.
//!
//! All shared interrupts there are pend and are enabled, at priorities that make each search as long as it can be; all
//! other CPUs sleep. Interrupts stay masked here, so that each figure is one exit. EL2 says how much of it were steps with
//! a look for interrupts after each, and how long the longest of these was (`guest::Counters`); what is left is one piece.
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use guest_rt::gic::{self, Gic, reg};
use guest_rt::timer::Timer;
use guest_rt::{cpu, machine, msr, println, psci, smp};

use super::asm;
use super::series::Series;

/// The call that tells a counter of the own domain (docs/abi.md, guest calls: Counters).
const COUNTERS: u32 = 0xc600_0603;

static ASLEEP: AtomicUsize = AtomicUsize::new(0);
static STOP: AtomicBool = AtomicBool::new(false);

/// The numbers of the two counters about steps, where there are any.
struct Steps(Option<(u64, u64)>);

fn counter(index: u64) -> [u64; 8] {
    psci::hvc8([COUNTERS.into(), index, 0, 0, 0, 0, 0, 0])
}

impl Steps {
    fn find() -> Steps {
        let named = |wanted: &[u8; 8]| {
            (0..100).find(|i| {
                let answer = counter(*i);
                answer[0] == 0 && answer[2].to_le_bytes() == *wanted
            })
        };
        Steps(named(b"step-ns\0").zip(named(b"step-lon")))
    }

    /// Nanoseconds in steps so far, and in the longest of them.
    fn read(&self) -> (u64, u64) {
        let read = |i| counter(i)[1];
        self.0.map_or((0, 0), |(sum, most)| (read(sum), read(most)))
    }

    /// The longest piece of an exit.
    fn piece(&self, exit: impl FnOnce() -> u64) -> u64 {
        let before = self.read().0;
        let whole = exit();
        let (after, most) = self.read();
        if after == before {
            return whole;
        }
        whole.saturating_sub(after - before).max(most)
    }
}

fn sleeper(_: usize) {
    if let Some(gic) = gic::find() {
        gic.init_cpu();
    }
    ASLEEP.fetch_add(1, Ordering::SeqCst);
    while !STOP.load(Ordering::SeqCst) {
        // Interrupts stay masked: an SGI ends the WFI and is taken here.
        cpu::wfi();
        if let Some(gic) = gic::find() {
            let ack = gic.ack();
            if ack & 0x3ff < 1020 {
                gic.eoi(ack);
            }
        }
        ASLEEP.fetch_add(1, Ordering::SeqCst);
    }
}

/// Ticks of what `event` does.
fn timed(event: impl FnOnce()) -> u64 {
    let before = Timer::Virtual.count();
    event();
    cpu::barrier();
    Timer::Virtual.count() - before
}

/// All of it.
pub fn storm(gic: &Gic) {
    let cpus = machine().cpus().len();
    let steps = Steps::find();
    let lines = gic.lines().min(1020);
    println!("NOTE {cpus} CPUs, {lines} interrupts");
    if cpus > 1 {
        Series::run("storm-cpu-on", 1, || {
            let most = (1..cpus).map(|i| {
                let Ok(mpidr) = smp::prepare(i, sleeper) else {
                    return 0;
                };
                steps.piece(|| {
                    timed(|| {
                        psci::call(psci::id::CPU_ON, mpidr, smp::entry_point(), i as u64);
                    })
                })
            });
            most.max().unwrap_or(0)
        });
        wait_asleep(cpus - 1);
        printed();
        Series::run("storm-sgi-to-all", 8, || {
            let before = ASLEEP.load(Ordering::SeqCst);
            let piece = steps.piece(|| timed(|| gic.send_sgi(1, gic::Target::Others)));
            wait_asleep(before + cpus - 1);
            piece
        });
        for level in 1..=3 {
            printed();
            let me = machine().cpus()[0];
            Series::run("storm-affinity-info", 8, || {
                steps.piece(|| timed(|| _ = psci::call(psci::id::AFFINITY_INFO, me, level, 0)))
            });
        }
    }
    for spread in [false, true] {
        let n = if spread { cpus } else { 1 };
        gic.set_distributor_enable(false);
        for intid in 32..lines {
            gic.route(intid, intid as usize % n);
            gic.set_edge(intid, true);
            gic.set_priority(intid, (255 - intid / 4) as u8);
            gic.set_pending(intid);
            gic.enable(intid);
        }
        if spread && cpus == 1 {
            break;
        }
        whole(gic, &steps, lines, if spread { "-spread" } else { "" });
    }
    STOP.store(true, Ordering::SeqCst);
}

/// The call by which the last of the workers is to end the domain, 0 as long as it is not.
static ENDS: AtomicU32 = AtomicU32::new(0);

/// One that never sleeps. Of them the last ends the domain: who is stopped last, if all are stopped in their order.
fn worker(i: usize) {
    ASLEEP.fetch_add(1, Ordering::SeqCst);
    loop {
        let call = ENDS.load(Ordering::SeqCst);
        if call != 0 && i + 1 == machine().cpus().len() {
            returned(psci::call(call, 0, 0, 0));
        }
        asm::yield_call();
    }
}

/// There is no way back from a call that ends the domain.
fn returned(answer: i64) {
    println!("NOTE returned {answer}");
}

/// Everything there can be is in use when the domain ends by `call`: its CPUs want to run, its interrupts are pending. How
/// long the longest piece of that was only dom0 can say.
pub fn end(gic: &Gic, call: u32) {
    let cpus = machine().cpus().len();
    for i in 1..cpus {
        if let Ok(mpidr) = smp::prepare(i, worker) {
            psci::call(psci::id::CPU_ON, mpidr, smp::entry_point(), i as u64);
        }
    }
    while ASLEEP.load(Ordering::SeqCst) < cpus - 1 {
        asm::yield_call();
    }
    for intid in 32..gic.lines().min(1020) {
        gic.route(intid, intid as usize % cpus);
        gic.set_pending(intid);
        gic.enable(intid);
    }
    println!("NOTE {cpus} CPUs, ends");
    if cpus == 1 {
        returned(psci::call(call, 0, 0, 0));
    }
    ENDS.store(call, Ordering::SeqCst);
    loop {
        asm::yield_call();
    }
}

fn wait_asleep(n: usize) {
    while ASLEEP.load(Ordering::SeqCst) < n {
        asm::yield_call();
    }
    // The last of them goes to sleep after it has said so.
    for _ in 0..200 {
        asm::yield_call();
    }
}

/// Everything that concerns many at once, with all of them pending and enabled.
fn whole(gic: &Gic, steps: &Steps, lines: u32, suffix: &str) {
    let dist = gic.dist();
    let words = lines as usize / 32;
    let on = dist.read32(reg::CTLR) | 3;
    let write = |offset, value| steps.piece(|| asm::write32(dist, offset, value));
    report("storm-disable", suffix, &[write(reg::CTLR, on & !3)]);
    report("storm-enable", suffix, &[write(reg::CTLR, on)]);
    report("storm-disable", suffix, &[write(reg::CTLR, on & !3)]);
    report("storm-enable-again", suffix, &[write(reg::CTLR, on)]);
    // One register with one bit a interrupt after the other, and back: everything else keeps waiting.
    let every = |name: &str, first: usize, second: usize, value: u32| {
        let mut most = [0; 2];
        for w in 1..words {
            most[0] = most[0].max(write(first + 4 * w, value));
            most[1] = most[1].max(write(second + 4 * w, !0));
        }
        report(name, suffix, &most);
    };
    every("storm-enables", reg::ICENABLER, reg::ISENABLER, !0);
    every("storm-pending", reg::ICPENDR, reg::ISPENDR, !0);
    every("storm-active", reg::ISACTIVER, reg::ICACTIVER, !0);
    let group = if gic.version() == 3 { 0 } else { !0 };
    let mut most = 0;
    for w in 1..words {
        most = most.max(write(reg::IGROUPR + 4 * w, group));
        most = most.max(write(reg::IGROUPR + 4 * w, !group));
    }
    report("storm-group", suffix, &[most]);
    let mut most = 0;
    for intid in (32..lines as usize).step_by(4) {
        most = most.max(write(reg::IPRIORITYR + intid, 0));
        most = most.max(write(reg::IPRIORITYR + intid, 0x8040_c0a0));
    }
    report("storm-priority", suffix, &[most]);
    let mut most = 0;
    for intid in (32..lines as usize).step_by(16) {
        most = most.max(write(reg::ICFGR + intid / 4, 0));
        most = most.max(write(reg::ICFGR + intid / 4, 0xaaaa_aaaa));
    }
    report("storm-config", suffix, &[most]);
    let mut most = 0;
    for intid in 32..lines {
        for to in [1, 0] {
            let to = to % machine().cpus().len();
            most = most.max(steps.piece(|| timed(|| gic.route(intid, to))));
        }
    }
    report("storm-route", suffix, &[most]);
    let mut most = 0;
    for w in 1..words {
        most = most.max(steps.piece(|| timed(|| _ = dist.read32(reg::ISPENDR + 4 * w))));
    }
    report("storm-read", suffix, &[most]);
    // Taking what is there, one after the other: the next ones come by maintenance.
    let (mut ack, mut eoi, mut taken) = (0, 0, 0u32);
    gic.set_priority_mask(0xff);
    loop {
        let mut got = 0;
        ack = ack.max(steps.piece(|| timed(|| got = gic.ack())));
        if got & 0x3ff >= 1020 {
            break;
        }
        taken += 1;
        eoi = eoi.max(steps.piece(|| timed(|| gic.eoi(got))));
        if taken > 2 * lines {
            break;
        }
    }
    println!("NOTE {taken} taken{suffix}");
    printed();
    report("storm-acknowledge", suffix, &[ack]);
    report("storm-end", suffix, &[eoi]);
    // All of them active at once, more than there are list registers.
    for w in 1..words {
        dist.write32(reg::ISPENDR + 4 * w, !0);
    }
    gic.set_split_eoi(true);
    let (mut ack, mut dir) = (0, 0);
    let mut held = [0u32; 32];
    let mut n = 0;
    while n < held.len() {
        let mut got = 0;
        ack = ack.max(steps.piece(|| timed(|| got = gic.ack())));
        if got & 0x3ff >= 1020 {
            break;
        }
        gic.eoi(got);
        held[n] = got;
        n += 1;
    }
    for got in &held[..n] {
        dir = dir.max(steps.piece(|| timed(|| gic.deactivate(*got))));
    }
    gic.set_split_eoi(false);
    println!("NOTE {n} held{suffix}");
    printed();
    report("storm-acknowledge-held", suffix, &[ack]);
    report("storm-deactivate", suffix, &[dir]);
    if let (Gic::V3(_), true) = (gic, machine().cpus().len() > 1) {
        let most = (0..8).map(|_| steps.piece(|| timed(|| msr!("icc_asgi1r_el1", 1u64 << 40))));
        report("storm-asgi", suffix, &[most.max().unwrap_or(0)]);
    }
}

/// What was printed goes out some bytes at a time, by another CPU's interrupts: its instructions would count with the next
/// exit's.
fn printed() {
    for _ in 0..4 {
        asm::pause();
    }
}

fn report(name: &str, suffix: &str, values: &[u64]) {
    let most = values.iter().copied().max().unwrap_or(0);
    println!("BENCH {name}{suffix} {} {most} {most} {most}", values.len());
    printed();
}
