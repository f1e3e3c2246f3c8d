//! Whether so many answer interrupts that a boost means nothing.
//!
//! A boost lets a few go first. Where most of what runs answers interrupts, there is nobody to go before: those who answer
//! only push each other aside, in the middle of what they do, and those whose boost is over wait behind all others
//! (eighteen servers of 5 % on one CPU answered the slowest 1 % up to five times as late as without boosts). Then credit
//! alone decides, until it is less. But nobody can take the boosts of others away by filling the time with answers of his
//! own: a line that comes at regular intervals (audio, video, control: `entity.rs`) keeps its boost, and so does every line of
//! a vCPU that uses little of its share. Counted is what vCPUs run within four times the time that an interrupt is
//! worth, boosted or not, so the answer does not depend on itself. In a group the rest of the machine's time counts, too: others
//! run there, whom its members may well go before. Must never take a boost from who has it.

use crate::mutant::{Mutant, broken};
use tarn_abi::Instant;

/// Time between two looks, ns.
const WINDOW: u64 = 10_000_000;
/// It begins at so much of what is run, in 1/1000, and ends at that. Lower, sixty small VMs with half of a machine beside hogs
/// would be one, and the unlucky among them wait for 15 ms.
const BEGINS: u64 = 750;
const ENDS: u64 = 650;
/// Who uses so much of its weighted share, in 1/1000, or less is not part of it.
pub(super) const LIGHT: u64 = 200;
/// An answer lasts at most so many times what its interrupt is worth.
pub(super) const ANSWER: u64 = 4;

/// The measure.
#[derive(Default)]
pub(super) struct Crowd {
    since: u64,
    /// What has been run since, and how much of it in answer to interrupts, ns.
    run: u64,
    claimed: u64,
    /// Smoothed share, 1/1000.
    level: u64,
    on: bool,
    /// In a group: how many CPUs it can have at a time.
    pub(super) supply: Option<u16>,
}

impl Crowd {
    /// `run` ns have been run, `claimed` of them in answer to an interrupt.
    #[inline]
    pub(super) fn add(&mut self, run: u64, claimed: u64) {
        self.run = self.run.saturating_add(run);
        self.claimed = self.claimed.saturating_add(claimed);
    }

    /// Whether there is one.
    pub(super) fn is_one(&mut self, now: Instant) -> bool {
        let dt = now.0.saturating_sub(self.since);
        if dt >= WINDOW {
            let all = match self.supply {
                Some(n) => dt.saturating_mul(n.into()).max(self.run),
                None => self.run,
            };
            let share = self.claimed.saturating_mul(1000) / all.max(1);
            // A long silence says that nobody wanted anything.
            self.level = if dt >= 8 * WINDOW {
                share.min(1000)
            } else {
                self.level - self.level / 4 + share.min(1000) / 4
            };
            self.since = now.0;
            self.run = 0;
            self.claimed = 0;
            self.on = self.level >= if self.on { ENDS } else { BEGINS };
        }
        self.on && !broken(Mutant::CrowdUnseen)
    }
}
