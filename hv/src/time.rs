//! The one clock: ticks of the physical counter and nanoseconds since Tarn was entered.

use abi::Instant;
use core::sync::atomic::{AtomicU64, Ordering};
use drivers::timer::{self, BadFrequency, Clock};

static CLOCK: spin::Once<Clock> = spin::Once::new();
static EPOCH: AtomicU64 = AtomicU64::new(0);

/// Notes the moment of entry.
pub fn start() {
    EPOCH.store(timer::counter(), Ordering::Relaxed);
}

/// Learns the counter's frequency, in Hz; the tree's value if the register holds none.
pub fn init(fallback: Option<u32>) -> Result<u64, BadFrequency> {
    let c = Clock::probe(fallback, EPOCH.load(Ordering::Relaxed))?;
    Ok(CLOCK.call_once(|| c).frequency())
}

/// The clock, once `init` has run.
#[inline(always)]
fn clock() -> Option<&'static Clock> {
    CLOCK.get()
}

/// Time since entry; zero before the frequency is known.
#[inline(always)]
pub fn now() -> Instant {
    clock().map_or(Instant(0), Clock::now)
}

/// The physical counter.
#[inline(always)]
pub fn ticks() -> u64 {
    timer::counter()
}

/// The counter's value at `t`.
#[inline(always)]
pub fn count(t: Instant) -> u64 {
    clock().map_or(u64::MAX, |c| c.count(t))
}

/// The time at counter value `ticks`; far future saturates to `NEVER`.
#[inline(always)]
pub fn at(ticks: u64) -> Instant {
    clock().map_or(Instant::NEVER, |c| c.at(ticks))
}

/// Ticks a second.
pub fn frequency() -> u64 {
    clock().map_or(0, Clock::frequency)
}
