//! Timers that do not come. A CPU notes when it asked to be called; another one that finds the moment long gone calls it.
//!
//! A change never waits for a timer, so one that fails can only let a vCPU run on while others of its pool wait. Each CPU
//! whose own slice has ended looks at one other of its pool, in turn; dom0's calls that carry changes on look at all.
//! Must never take a lock or loop over more than the CPUs. Neighbours: `dispatch.rs` notes and looks, `change.rs` asks.

use crate::pool::Pool;
use crate::set::{Cpu, PoolSet};
use core::sync::atomic::Ordering;
use spin::RelaxStrategy;
use tarn_abi::{CpuId, CpuSet, Instant, MAX_CPUS, Span};
use tarn_sched::Kick;

/// How long after the moment it asked for a CPU may come by before others call it. More than EL2 ever works in one go, but
/// for a CPU that dom0 holds there on purpose: that one is called in vain.
const GRACE: Span = Span::ms(2);

impl Cpu {
    /// This CPU has asked to be called at `at`.
    #[inline]
    pub(crate) fn asks(&self, at: Option<Instant>) {
        // 0 = not at all: a new set is all zeros.
        let word = at.map_or(0, |t| t.0.max(1));
        self.due.store(word, Ordering::Relaxed);
    }

    /// Whether the moment it asked for has come.
    #[inline]
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let due = self.due.load(Ordering::Relaxed);
        due != 0 && due <= now.0
    }

    fn is_overdue(&self, now: Instant) -> bool {
        self.is_due(Instant(now.0.saturating_sub(GRACE.0)))
    }
}

impl Pool {
    /// Another CPU of the pool that should have come by long ago; `cpu` looks at the next one each time.
    #[cold]
    pub(crate) fn watch(&mut self, all: &[Cpu; MAX_CPUS], cpu: CpuId, now: Instant) -> Kick {
        let after = self.cpus.iter().find(|c| *c > self.watched);
        let Some(next) = after.or(self.cpus.lowest()) else {
            return Kick::NONE;
        };
        self.watched = next;
        if next != cpu && all[next.index()].is_overdue(now) {
            Kick::one(next)
        } else {
            Kick::NONE
        }
    }
}

impl<R: RelaxStrategy> PoolSet<R> {
    /// CPUs whose timer has not come although it should have, by milliseconds: they must come by.
    pub fn overdue(&self, now: Instant) -> Kick {
        let end = usize::from(self.cpus_end.load(Ordering::Relaxed));
        let mut late = CpuSet::EMPTY;
        for (i, cpu) in self.cpus.iter().take(end).enumerate() {
            if cpu.is_overdue(now) {
                late.insert(CpuId(i as u16));
            }
        }
        Kick(late)
    }
}
