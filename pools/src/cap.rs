//! Caps: a domain's CPU time as a token bucket, computed from time stamps.
//!
//! Tokens are ns of CPU; they grow by cap percent of the time up to cap percent of 10 ms and shrink by what the domain's
//! vCPUs run. A vCPU that is found without tokens is parked: not runnable for its scheduler, whatever that is, until the
//! tokens pay for 500 us. No periodic timer per domain: CPUs come by when tokens run out or suffice again. Over any window
//! a domain gets at most cap x window plus one bucket. Others of the domain may run on meanwhile, as long as they leave
//! enough of what comes in; else they are stopped, too: who runs must not keep who is parked waiting for ever. Must never
//! touch a domain without a cap.

use crate::pool::Pool;
use tarn_abi::{CpuSet, Instant, Span};
use tarn_sched::mutant::{Mutant, broken};
use tarn_sched::{Kick, WakeReason};

/// How much time's worth of tokens a bucket holds.
const PERIOD: u64 = 10_000_000;
/// What must be there to go on, ns.
const LEAST: i64 = 500_000;
/// For how long others may let who is parked wait longer than if they stopped.
const PATIENCE: Span = Span::ms(1);

/// A domain's bucket.
#[derive(Clone, Copy)]
pub(crate) struct Budget {
    /// Hundredths of ns of CPU.
    tokens: i64,
    at: Instant,
    /// How many of its vCPUs run since `at`.
    pub(crate) running: u16,
    /// Nobody runs before the tokens pay for a stretch.
    stopped: bool,
}

impl Budget {
    pub(crate) fn new(cap: u32, now: Instant) -> Self {
        Budget {
            tokens: full(cap),
            at: now,
            running: 0,
            stopped: false,
        }
    }

    /// Up to now.
    pub(crate) fn settle(&mut self, cap: u32, now: Instant) {
        let dt = now.since(self.at).0.min(1 << 40) as i64;
        self.at = now;
        let running = if broken(Mutant::CapUndrained) {
            0
        } else {
            self.running
        };
        let net = i64::from(cap) - 100 * i64::from(running);
        self.tokens = self
            .tokens
            .saturating_add(dt.saturating_mul(net))
            .min(full(cap));
        self.stopped &= self.lacks();
    }

    /// Whether the tokens do not pay for a stretch.
    fn lacks(&self) -> bool {
        self.tokens < 100 * LEAST
    }

    /// Whether nobody may run now.
    fn spent(&self) -> bool {
        self.tokens <= 0 || self.stopped
    }

    /// When the tokens are gone if nothing changes.
    fn gone_at(&self, cap: u32) -> Option<Instant> {
        if self.stopped {
            return Some(self.at + Span(1));
        }
        let net = 100 * i64::from(self.running) - i64::from(cap);
        (net > 0).then(|| self.at + Span((self.tokens.max(0) / net) as u64 + 1))
    }

    /// When they pay for a stretch at the earliest: if none of them runs meanwhile.
    fn enough_at(&self, cap: u32) -> Instant {
        self.grown_at(i64::from(cap).max(1))
    }

    fn grown_at(&self, net: i64) -> Instant {
        let lack = (100 * LEAST - self.tokens).max(0);
        self.at + Span((lack / net) as u64 + 1)
    }

    /// It was said that they would pay for a stretch by now, and they do not: others run on. When they will; if that is long
    /// after, nobody runs before.
    fn look_again(&mut self, cap: u32) -> Instant {
        let net = i64::from(cap) - 100 * i64::from(self.running);
        let later = (net > 0).then(|| self.grown_at(net));
        if let Some(t) = later.filter(|t| *t <= self.at + PATIENCE) {
            return t;
        }
        self.stopped = true;
        self.enough_at(cap)
    }
}

fn full(cap: u32) -> i64 {
    (u64::from(cap) * PERIOD).max(100 * LEAST as u64) as i64
}

impl Pool {
    /// Parks the vCPU if it could run but its domain's tokens are gone.
    #[inline]
    pub(crate) fn park_if_spent(&mut self, row: u16, now: Instant) {
        let r = self.rows.at(row);
        let dom = r.dom;
        if self.doms.at(dom).params.cap != 0 {
            self.park(row, dom, now);
        }
    }

    fn park(&mut self, row: u16, dom: u16, now: Instant) {
        let r = self.rows.at(row);
        let (waits, runs, ent) = (r.eligible(), r.cpu().is_some(), r.ent);
        let d = self.doms.at(dom);
        d.budget.settle(d.params.cap, now);
        if !waits || !d.budget.spent() {
            return;
        }
        let at = d.budget.enough_at(d.params.cap);
        if runs {
            self.sched().sleep(ent, now);
        }
        self.rows.at(row).parked = true;
        // Room was made when the domain came; a vCPU is in the list at most once.
        self.parked.push(row);
        self.unpark_at = Some(self.unpark_at.map_or(at, |t| t.min(at)));
    }

    /// Lets those go on whose domain has tokens again, and notes when the next may.
    pub(crate) fn unpark(&mut self, now: Instant) -> Kick {
        let mut kick = Kick::NONE;
        self.unpark_at = None;
        let mut i = 0;
        while i < self.parked.len() {
            let row = self.parked[i];
            let dom = self.rows.at(row).dom;
            let d = self.doms.at(dom);
            d.budget.settle(d.params.cap, now);
            if d.params.cap != 0 && d.budget.lacks() {
                let ran = d.budget.stopped;
                let at = d.budget.look_again(d.params.cap);
                if d.budget.stopped && !ran {
                    kick = kick.and(Kick(self.holders(dom)));
                }
                self.unpark_at = Some(self.unpark_at.map_or(at, |t| t.min(at)));
                i += 1;
                continue;
            }
            self.parked.swap_remove(i);
            let r = self.rows.at(row);
            r.parked = false;
            let (ent, goes) = (r.ent, r.eligible());
            if goes {
                kick = kick.and(self.sched().wake(ent, WakeReason::Unpause, now));
            }
        }
        kick
    }

    /// When a CPU that runs a vCPU of `dom` must come by, given what the scheduler says.
    #[inline]
    pub(crate) fn cap_until(&mut self, dom: u16, until: Option<Instant>) -> Option<Instant> {
        let d = self.doms.at(dom);
        let gone = if d.params.cap == 0 {
            None
        } else {
            d.budget.gone_at(d.params.cap)
        };
        if gone.is_none() && self.unpark_at.is_none() {
            return until;
        }
        until.into_iter().chain(gone).chain(self.unpark_at).min()
    }

    /// Whether some CPU must have a timer for what is the whole pool's: parked vCPUs, groups that are due.
    pub(crate) fn timed(&self) -> bool {
        self.unpark_at.is_some() || self.sched.due().is_some()
    }

    /// Somebody who can arm the timer for a vCPU that was parked while it was asleep.
    pub(crate) fn timekeeper(&self) -> Kick {
        self.cpus.lowest().map_or(Kick::NONE, Kick::one)
    }

    /// The CPUs that hold registers of a domain.
    pub(crate) fn holders(&mut self, dom: u16) -> CpuSet {
        let Pool { doms, rows, .. } = self;
        doms.at(dom)
            .vcpus
            .iter()
            .filter_map(|&r| rows.get(r).and_then(|r| r.cpu()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_flow() {
        let mut b = Budget::new(50, Instant(0));
        b.running = 1;
        // 5 ms worth, drained at half speed net.
        assert_eq!(b.gone_at(50), Some(Instant(10_000_001)));
        b.settle(50, Instant(10_000_001));
        assert!(b.tokens <= 0);
        b.running = 0;
        assert_eq!(b.enough_at(50), Instant(10_000_001 + 1_000_002));
        b.settle(50, Instant(1 << 50));
        assert_eq!(b.tokens, full(50));
    }
}
