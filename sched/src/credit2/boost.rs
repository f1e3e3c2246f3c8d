//! Boosts: when a vCPU gets one, what it lasts, how it ends.
//!
//! A boost only changes the order. Its time is paid from the boost bucket, which is filled out of the vCPU's own credit, so
//! nobody gains CPU time by it. G1-G6 and D1-D6 are the conditions of the specification, in the order of the counters.

use super::Credit2;
use super::crowd::LIGHT;
use super::entity::Boost;
use crate::mutant::{Mutant, broken};
use crate::scheduler::{BoostCause, DeboostCause, Ent, GuestHint, News, WakeReason};
use tarn_abi::{CpuId, Instant};

/// The number under which a vCPU's own timer is followed like an interrupt line.
const TIMER_LINE: u16 = u16::MAX;

impl Credit2 {
    /// How long an interrupt may be boosted; 0 = not at all, `None` = its line storms.
    pub(super) fn worth(&mut self, e: Ent, why: WakeReason, now: Instant) -> Option<i64> {
        if !self.params.boost {
            return Some(0);
        }
        let line = match why {
            WakeReason::Interrupt { line } => line,
            WakeReason::Timer => TIMER_LINE,
            WakeReason::Kick | WakeReason::Unpause => return Some(0),
        };
        let r = &mut self.rows[e];
        if r.cap == 0 {
            return Some(0);
        }
        let storms = r.stats.storm_lines;
        let (worth, regular) = r.interrupt(line, now);
        r.regular = regular;
        if r.stats.storm_lines != storms {
            self.news = Some((r.tag, News::Storm));
        }
        let exempt = (regular || r.level <= LIGHT) && !broken(Mutant::CrowdForAll);
        if self.crowd.is_one(now) && !exempt {
            return worth.and(Some(0));
        }
        worth
    }

    /// `e`, asleep so far, has been woken: how long it may be boosted for that.
    pub(super) fn woken(&mut self, e: Ent, why: WakeReason, now: Instant) -> i64 {
        let worth = self.worth(e, why, now);
        let r = &mut self.rows[e];
        r.patient = worth.is_none();
        r.stormy = worth.is_none().then_some(now);
        worth.unwrap_or(0)
    }

    /// The same for a virtual processor, in whose group somebody is boosted.
    pub(super) fn worth_of_processor(&mut self, e: Ent, why: BoostCause, now: Instant) -> i64 {
        let r = &mut self.rows[e];
        let worth = r.params.interval.0;
        r.claim = r.claim.max(worth);
        r.regular = why == BoostCause::Regular;
        let exempt = r.regular || r.level <= LIGHT;
        if r.cap == 0 || self.crowd.is_one(now) && !exempt {
            return 0;
        }
        worth as i64
    }

    /// G1: an interrupt for a vCPU that does not run. Not while it is queued.
    pub(super) fn interrupted(&mut self, e: Ent, worth: i64, idle: bool) {
        let r = &mut self.rows[e];
        if r.is_boosted() {
            r.left = r.left.max(worth);
        }
        if worth == 0 || r.is_boosted() {
            return;
        }
        if idle {
            r.armed = worth;
        } else if r.b > 0 {
            r.boost = Boost::Yes;
            r.left = worth;
            r.stats.boosts[0] += 1;
        } else {
            r.refused = worth;
        }
    }

    /// G2: an interrupt for the running vCPU counts if it is about to lose the CPU soon.
    pub(super) fn arm(&mut self, e: Ent, worth: i64) {
        if worth > 0 {
            let r = &mut self.rows[e];
            r.armed = worth;
            r.stats.boosts[1] += 1;
        }
    }

    /// The same for one that is on CPU `c`, running there or being saved.
    pub(super) fn interrupted_on(&mut self, e: Ent, c: CpuId, worth: i64, now: Instant) {
        if self.cpus[c].curr == Some(e) && self.cpus[c].running {
            // What it ran before this interrupt does not use up the time armed by it.
            self.account(c, now);
            self.arm(e, worth);
        } else {
            self.touch(e, now);
            self.interrupted(e, worth, false);
        }
    }

    /// G3-G5: `e` is about to lose the CPU. Whether it is boosted now.
    pub(super) fn rescue(&mut self, e: Ent, hint: &GuestHint) -> bool {
        if !self.params.boost {
            return false;
        }
        let r = &mut self.rows[e];
        if r.b <= 0 {
            return false;
        }
        let interval = r.params.interval.0 as i64;
        if hint.dont_desched {
            r.boost = Boost::Yes;
            r.left = interval;
            r.stats.boosts[2] += 1;
        } else if r.armed > 0 && !hint.enlightened {
            r.boost = Boost::Yes;
            r.left = core::mem::take(&mut r.armed);
            r.stats.boosts[3] += 1;
        } else if hint.irqs_masked && !r.deferred && r.stay > 0 {
            (r.boost, r.left) = if broken(Mutant::DeferralKept) {
                (Boost::Yes, interval)
            } else {
                (Boost::UntilUnmask, r.stay.min(interval))
            };
            r.deferred = true;
            r.again = false;
            r.stats.boosts[4] += 1;
        } else {
            return false;
        }
        true
    }

    /// The boost of `e`, which is not queued, is over by cause D`cause`+1. What runs on unboosted has no rate limit to
    /// hide behind.
    pub(super) fn end_boost(&mut self, e: Ent, cause: usize) {
        let contended = !self.queue.is_empty();
        let r = &mut self.rows[e];
        if !r.is_boosted() {
            return;
        }
        if r.boost == Boost::UntilUnmask && cause < 5 {
            r.judge_stay(cause >= 2);
        }
        r.boost = Boost::No;
        r.left = 0;
        r.stats.deboosts[cause] += 1;
        if cause == 0 && contended {
            r.stats.exhausted += 1;
            self.news = Some((r.tag, News::Exhausted));
        }
        if let Some(c) = r.on
            && self.cpus[c].curr == Some(e)
        {
            self.cpus[c].began = Instant(0);
        }
    }

    /// D1, D2, D4: does the running boosted vCPU's boost end by itself?
    pub(super) fn expire(&mut self, e: Ent, hint: &GuestHint) {
        let r = &mut self.rows[e];
        if !hint.irqs_masked {
            r.deferred = false;
            r.seen_unmasked();
        }
        if !r.is_boosted() {
            return;
        }
        if r.b <= 0 {
            self.end_boost(e, 0);
        } else if r.boost == Boost::UntilUnmask && !hint.irqs_masked && !hint.dont_desched {
            self.end_boost(e, 3);
        } else if r.left <= 0 && r.stays_again() {
            r.again = true;
            r.left = r.stay;
        } else if r.left <= 0 && !hint.dont_desched && !broken(Mutant::IntervalEndless) {
            self.end_boost(e, 1);
        }
    }

    /// D2 with dont_desched: the interval is over; renews it. Whether `waiter`, boosted, goes first: it has waited an interval,
    /// so it does if they are equal, as they are when `e` has been topped up meanwhile.
    pub(super) fn renew(&mut self, e: Ent, waiter: Option<Ent>) -> bool {
        if let Some(w) = waiter
            && self.rows[w].b >= self.rows[e].b
        {
            return true;
        }
        let r = &mut self.rows[e];
        r.left = r.params.interval.0 as i64;
        r.stats.boosts[2] += 1;
        false
    }

    /// D3-D5, told from outside. Whether the boost is over.
    pub(super) fn told(&mut self, e: Ent, why: DeboostCause) -> bool {
        let r = &mut self.rows[e];
        let (cause, applies) = match why {
            DeboostCause::HandlerReturned => (2, r.enlightened || r.boost == Boost::UntilUnmask),
            DeboostCause::Unmasked => (3, r.enlightened || r.boost == Boost::UntilUnmask),
            DeboostCause::Asked => (4, true),
        };
        if why != DeboostCause::Asked {
            r.deferred = false;
        }
        if applies {
            r.armed = 0;
            let was = r.is_boosted();
            self.end_boost(e, cause);
            return was;
        }
        false
    }

    /// Whether somebody waits whom `cpu` may run.
    pub(super) fn contended(&self, cpu: CpuId) -> bool {
        self.queue.best(cpu).is_some()
    }
}
