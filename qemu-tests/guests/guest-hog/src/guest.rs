//! Burns CPU time on every CPU and says how much work it got done, for measuring shares.
//!
//! A unit is 10,000 turns of a two-instruction loop. Boot arguments: `seconds=N` (virtual counter; default 0: for
//! ever), `every=MS` between reports (default 1000), `cpus=N` burning (default all), `quiet=1` for no reports but the
//! last. Lines: `HOG t=MS units=TOTAL cpu0=UNITS ...`, at the end `HOG-END t=MS units=TOTAL ...`, then SYSTEM_OFF.
use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use guest_rt::timer::{Timer, frequency};
use guest_rt::{MAX_CPUS, machine, mmu, print, println, smp};

guest_rt::entry!(main);

static UNITS: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];
static STOP: AtomicBool = AtomicBool::new(false);

fn number(key: &str, default: u64) -> u64 {
    machine()
        .argument(key)
        .and_then(|n| n.parse().ok())
        .unwrap_or(default)
}

/// One unit of work.
fn unit() {
    // SAFETY: counts a register down.
    unsafe {
        asm!("2: subs {n}, {n}, #1", "b.ne 2b", n = inout(reg) 10_000u64 => _, options(nomem, nostack));
    }
}

fn work(index: usize) {
    while !STOP.load(Ordering::Relaxed) {
        unit();
        UNITS[index].store(UNITS[index].load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

fn report(word: &str, since: u64, cpus: usize) {
    let ms = (Timer::Virtual.count() - since) / (frequency() / 1000);
    let units = |n: &AtomicU64| n.load(Ordering::Relaxed);
    print!(
        "{word} t={ms} units={}",
        UNITS.iter().map(units).sum::<u64>()
    );
    for (index, n) in UNITS[..cpus].iter().enumerate() {
        print!(" cpu{index}={}", units(n));
    }
    println!();
}

fn main() {
    mmu::on();
    let cpus =
        number("cpus", MAX_CPUS as u64).clamp(1, machine().cpus().len().max(1) as u64) as usize;
    let (seconds, every, quiet) = (
        number("seconds", 0),
        number("every", 1000).max(1),
        number("quiet", 0) != 0,
    );
    let start = Timer::Virtual.count();
    let end = if seconds == 0 {
        u64::MAX
    } else {
        start.saturating_add(frequency().saturating_mul(seconds))
    };
    for index in 1..cpus {
        if let Err(error) = smp::start(index, work) {
            println!("NOTE CPU {index} did not start: {error}");
        }
    }
    let step = (frequency() / 1000).saturating_mul(every);
    let mut next = start.saturating_add(step);
    loop {
        unit();
        UNITS[0].store(UNITS[0].load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        let now = Timer::Virtual.count();
        if now >= end {
            break;
        }
        if now >= next {
            next = now.saturating_add(step);
            if !quiet {
                report("HOG", start, cpus);
            }
        }
    }
    STOP.store(true, Ordering::SeqCst);
    report("HOG-END", start, cpus);
}
