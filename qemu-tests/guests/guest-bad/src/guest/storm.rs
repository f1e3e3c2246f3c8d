//! Interrupts and output as fast as a guest can make them.
use core::sync::atomic::{AtomicU32, Ordering};

use guest_rt::console::{self, reg};
use guest_rt::gic::{self, Gic, Target};
use guest_rt::testing::expect;
use guest_rt::timer::{Timer, frequency};
use guest_rt::{cpu, machine, print, println, psci, smp, trap};

use super::number;

static TAKEN: AtomicU32 = AtomicU32::new(0);
static STOP: AtomicU32 = AtomicU32::new(0);

/// Whatever stormed, it is taken and ended; a timer that is due stays due, so it comes again at once.
fn handler() {
    let Some(gic) = gic::find() else { return };
    let ack = gic.ack();
    if ack & 0x3ff >= 1020 {
        return;
    }
    TAKEN.fetch_add(1, Ordering::SeqCst);
    if STOP.load(Ordering::SeqCst) != 0 {
        quiet();
    }
    gic.eoi(ack);
}

fn quiet() {
    Timer::Virtual.stop();
    Timer::Physical.stop();
    if let Some(uart) = console::uart() {
        uart.write32(reg::IMSC, 0);
    }
}

fn storming(end: u64) -> bool {
    Timer::Virtual.count() < end && STOP.load(Ordering::SeqCst) == 0
}

fn end() -> u64 {
    Timer::Virtual.count() + frequency() / 1000 * number("ms", 100)
}

fn sgis(gic: &Gic, end: u64) {
    while storming(end) {
        gic.send_sgi(0, Target::Cpu(0));
        gic.send_sgi(1, Target::Others);
        for index in 0..machine().cpus().len() {
            gic.send_sgi(2 + index as u32 % 8, Target::Cpu(index));
        }
    }
}

fn other_cpu(_: usize) {
    let Some(gic) = gic::find() else { return };
    gic.init_cpu();
    trap::unmask_irqs();
    while STOP.load(Ordering::SeqCst) == 0 {
        if machine().argument("mode") == Some("storm-sgi") {
            sgis(&gic, u64::MAX);
        }
        cpu::relax();
    }
    trap::mask_irqs();
}

/// For `ms=`, then reports that it is still alive.
pub fn run(mode: &str) {
    let Some(gic) = gic::find() else { return };
    gic.init_distributor();
    gic.init_cpu();
    trap::set_irq_handler(handler);
    let end = end();
    for index in 1..machine().cpus().len() {
        if smp::start(index, other_cpu).is_err() {
            println!("NOTE CPU {index} did not start");
        }
    }
    match mode {
        "storm-sgi" => {
            trap::unmask_irqs();
            sgis(&gic, end);
        }
        "storm-timer" => {
            for timer in [Timer::Virtual, Timer::Physical] {
                gic.enable(timer.intid());
                timer.start(0);
            }
            storm_until(end);
        }
        _ => {
            if let (Some(uart), Some(node)) = (console::uart(), machine().uart) {
                gic.enable(node.intid);
                uart.write32(reg::IMSC, console::TX);
                console::put(b'\n');
                storm_until(end);
            }
        }
    }
    STOP.store(1, Ordering::SeqCst);
    quiet();
    trap::mask_irqs();
    for index in 1..machine().cpus().len() {
        expect("others-off", smp::wait_off(index), true);
    }
    println!("NOTE {mode}: {} interrupts", TAKEN.load(Ordering::SeqCst));
    expect("took-many", TAKEN.load(Ordering::SeqCst) > 100, true);
}

/// The interrupt is due again as soon as it was ended, so this loop hardly gets to run: the handler looks too.
fn storm_until(end: u64) {
    trap::set_irq_handler(|| {
        handler();
        if Timer::Physical.count() > LIMIT.load(Ordering::SeqCst) {
            STOP.store(1, Ordering::SeqCst);
            quiet();
        }
    });
    LIMIT.store(
        Timer::Physical.count() + end.saturating_sub(Timer::Virtual.count()),
        Ordering::SeqCst,
    );
    trap::unmask_irqs();
    while storming(end) {
        cpu::relax();
    }
}
static LIMIT: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(u64::MAX);

/// Spins for `ms=` (default 1000), then ends with much unsaid: a long line without its end, and a reset.
pub fn last_words() {
    spin(frequency() / 1000 * number("ms", 1000));
    for _ in 0..40 {
        print!("last word ");
    }
    psci::call(psci::id::SYSTEM_RESET, 0, 0, 0);
}

/// A short line every `us=` (default 500), for ever, and never asleep.
pub fn murmur() {
    loop {
        println!(".");
        spin(frequency() / 1_000_000 * number("us", 500));
    }
}

fn spin(ticks: u64) {
    let from = Timer::Virtual.count();
    while Timer::Virtual.count() - from < ticks {}
}

/// Lines for ever, from every CPU.
pub fn flood() {
    fn lines(index: usize) {
        let mut n = 0u64;
        loop {
            println!(
                "FLOOD cpu{index} line {n} ........................................................"
            );
            n += 1;
        }
    }
    for index in 1..machine().cpus().len() {
        if smp::start(index, lines).is_err() {
            println!("NOTE CPU {index} did not start");
        }
    }
    lines(0);
}
