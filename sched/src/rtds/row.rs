//! An entity of rtds: its budget, its period, and when others begin.
//!
//! Must never know a queue or a CPU's state: `mod.rs` puts it where it belongs.

use crate::fifo::{Link, Links};
use crate::params::RtParams;
use crate::scheduler::{Ent, Tag};
use crate::slab::Slab;
use tarn_abi::{CpuId, Instant, Span};

pub(super) struct Row {
    pub(super) tag: Tag,
    pub(super) class: u16,
    pub(super) rt: RtParams,
    /// What admission counts: `rt`, or what it is about to become.
    pub(super) promised: RtParams,
    pub(super) inserted: bool,
    pub(super) runnable: bool,
    pub(super) on: Option<CpuId>,
    pub(super) last: Option<CpuId>,
    /// The CPU that has been called for it and has not come yet.
    pub(super) expects: Option<CpuId>,
    /// Its period has just begun, and nobody has been called for it yet.
    pub(super) fresh: Link,
    /// Lets its equals go first, once.
    pub(super) yielded: bool,
    pub(super) deadline: Instant,
    /// ns left until the deadline; may be a little below zero.
    pub(super) budget: i64,
    pub(super) runtime: Span,
}

impl Links for Slab<Row> {
    fn link(&mut self, e: Ent) -> &mut Link {
        &mut self[e].fresh
    }
}

impl Row {
    /// Other parameters. The new ones begin when what it has had of this period is what it would have had by then at the old
    /// rate: now, as a rule, or soon. (To wait for the end of the old period may be to wait for ten seconds; to begin now in any
    /// case would give what the others were promised to who has just had all of his.)
    pub(super) fn change(&mut self, rt: RtParams, now: Instant) {
        let old = core::mem::replace(&mut self.rt, rt);
        self.promised = rt;
        if old == rt || now >= self.deadline {
            return;
        }
        let had = (old.budget.0 as i64).saturating_sub(self.budget).max(0) as u128;
        let lasts = had * u128::from(old.period.0) / u128::from(old.budget.0.max(1));
        let rest = u128::from(old.period.0).saturating_sub(lasts) as u64;
        let begins = Instant(self.deadline.0.saturating_sub(rest));
        if begins <= now {
            self.deadline = now + rt.period;
            self.budget = rt.budget.0 as i64;
        } else {
            self.deadline = begins;
            self.budget = 0;
        }
    }

    /// The period is over: a new one, aligned with the old.
    pub(super) fn replenish(&mut self, now: Instant) {
        let period = self.rt.period.0.max(1);
        let missed = now.since(self.deadline).0 / period + 1;
        self.deadline = self.deadline + Span(period.saturating_mul(missed));
        self.budget = self.rt.budget.0 as i64;
    }
}
