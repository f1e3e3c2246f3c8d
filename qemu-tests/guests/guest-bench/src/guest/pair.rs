//! Measurements between two CPUs. Under instruction counting such a figure is the sum of what both executed.
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use guest_rt::gic::{self, Gic};
use guest_rt::timer::frequency;
use guest_rt::{cpu, machine, println, smp};

use super::asm;
use super::series::Series;

/// Where the answering CPU writes when its handler ran.
static CELL: AtomicU64 = AtomicU64::new(0);
static STOP: AtomicU64 = AtomicU64::new(0);
static SLEEP: AtomicBool = AtomicBool::new(false);
static REPLY: AtomicBool = AtomicBool::new(false);
static READY: AtomicBool = AtomicBool::new(false);

/// Everything that needs a second CPU; says so if there is none.
pub fn all(gic: &Gic) {
    if machine().cpus().len() < 2 {
        return println!("NOTE one CPU: nothing between two");
    }
    start_up();
    let to = asm::sgi(gic, 1);
    let cpu_interface = asm::cpu_interface(gic);
    with_answerer(gic, false, false, |_| {
        Series::run("ipi-oneway-running", 1000, || {
            asm::pause();
            asm::one_way(to, &CELL)
        });
    });
    with_answerer(gic, true, false, |_| {
        Series::run("ipi-oneway-wfi", 1000, || {
            asm::pause();
            asm::one_way(to, &CELL)
        });
    });
    with_answerer(gic, false, true, |_| {
        Series::run("ipi-roundtrip-running", 1000, || {
            asm::pause();
            asm::send_until_irq(cpu_interface, to)
        });
    });
    with_answerer(gic, true, true, |_| {
        Series::run("ipi-roundtrip-wfi", 1000, || {
            asm::pause();
            asm::send_until_irq(cpu_interface, to)
        });
    });
}

fn answerer(_: usize) {
    let Some(gic) = gic::find() else { return };
    gic.init_cpu();
    let reply = REPLY.load(Ordering::SeqCst).then(|| asm::sgi(&gic, 0));
    let sleep = SLEEP.load(Ordering::SeqCst);
    READY.store(true, Ordering::SeqCst);
    asm::answer(asm::cpu_interface(&gic), &CELL, reply, &STOP, sleep);
}

fn with_answerer(gic: &Gic, sleep: bool, reply: bool, run: impl FnOnce(&Gic)) {
    STOP.store(0, Ordering::SeqCst);
    SLEEP.store(sleep, Ordering::SeqCst);
    REPLY.store(reply, Ordering::SeqCst);
    READY.store(false, Ordering::SeqCst);
    if let Err(error) = smp::start(1, answerer) {
        return println!("NOTE CPU 1 did not start: {error}");
    }
    if !cpu::wait_until(frequency(), || READY.load(Ordering::SeqCst)) {
        return println!("NOTE CPU 1 does not answer");
    }
    asm::pause();
    run(gic);
    asm::pause();
    STOP.store(1, Ordering::SeqCst);
    // A sleeper looks only after an interrupt, and its reply must not stay pending for the next series. One that
    // spins looks anyway, and might be gone before it takes another interrupt.
    match (sleep, reply) {
        (true, true) => _ = asm::send_until_irq(asm::cpu_interface(gic), asm::sgi(gic, 1)),
        (true, false) => _ = asm::one_way(asm::sgi(gic, 1), &CELL),
        (false, _) => {}
    }
    if !smp::wait_off(1) {
        println!("NOTE CPU 1 does not stop");
    }
}

fn nothing(_: usize) {}

/// CPU_ON until the first instruction there.
fn start_up() {
    let Ok(mpidr) = smp::prepare(1, nothing) else {
        return;
    };
    let mut failed = 0;
    Series::run("cpu-on-first-instruction", 200, || {
        asm::pause();
        let last = smp::first_ticks(1);
        let (before, answer) = asm::cpu_on(mpidr, 1);
        if answer != 0 || !cpu::wait_until(frequency(), || smp::first_ticks(1) != last) {
            failed += 1;
            return 0;
        }
        let ticks = smp::first_ticks(1) - before;
        failed += u32::from(!smp::wait_off(1));
        ticks
    });
    if failed != 0 {
        println!("NOTE cpu-on failed {failed} times");
    }
}

/// Yields until told to stop.
fn yielder(_: usize) {
    READY.store(true, Ordering::SeqCst);
    while STOP.load(Ordering::SeqCst) == 0 {
        asm::yield_call();
    }
}

/// A yield until it returns, while the other CPU yields all the time: two switches.
pub fn switch() {
    if let Err(error) = smp::start(1, yielder) {
        return println!("NOTE CPU 1 did not start: {error}");
    }
    while !READY.load(Ordering::SeqCst) {
        asm::yield_call();
    }
    Series::run("yield-there-and-back", 1000, asm::yield_call);
    STOP.store(1, Ordering::SeqCst);
}
