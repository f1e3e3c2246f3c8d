//! Whether so many answer interrupts that a boost means nothing.
//!
//! A boost lets a few go first. Where most of the time goes to vCPUs that have just been interrupted, there is nobody to go
//! before: they only push each other aside, in the middle of what they do, and those whose boost is over wait behind all
//! others (eighteen servers of 5 % on one CPU answered the slowest 1 % up to twice as late as without boosts). Then
//! interrupts are not boosted and credit alone decides, until it is less. Counted is what vCPUs run within twice
//! the time that an interrupt is worth, boosted or not, so the answer does not depend on itself. Must never
//! take a boost from who has it.

use tarn_abi::Instant;

/// Time between two looks, ns.
const WINDOW: u64 = 10_000_000;
/// It begins at so much of the CPUs' time, in 1/1000, and ends at that.
const BEGINS: u64 = 600;
const ENDS: u64 = 500;

/// The measure.
#[derive(Default)]
pub(super) struct Crowd {
    since: u64,
    claimed: u64,
    /// Smoothed share, 1/1000.
    level: u64,
    on: bool,
}

impl Crowd {
    /// `ns` have been run in answer to an interrupt.
    #[inline]
    pub(super) fn add(&mut self, ns: u64) {
        self.claimed = self.claimed.saturating_add(ns);
    }

    /// Whether it is crowded on these CPUs.
    pub(super) fn is_one(&mut self, cpus: u64, now: Instant) -> bool {
        let dt = now.0.saturating_sub(self.since);
        if dt >= WINDOW {
            let share = self.claimed.saturating_mul(1000) / dt.saturating_mul(cpus.max(1)).max(1);
            // A long silence says that nobody wanted anything.
            self.level = if dt >= 8 * WINDOW {
                share.min(1000)
            } else {
                self.level - self.level / 4 + share.min(1000) / 4
            };
            self.since = now.0;
            self.claimed = 0;
            self.on = self.level >= if self.on { ENDS } else { BEGINS };
        }
        self.on
    }
}
