//! The CPUs of a scheduler instance: a table by CPU number, and who among them is idle or runs without a timer.
//!
//! What the three sets mean, for every policy that uses them: `idle` CPUs have nothing and nobody has kicked them since;
//! `tickless` ones run something without a timer because nobody waited when they picked. Whoever enqueues somebody takes a
//! CPU from one of the two sets and kicks it (see [`Cpus::summon`]), so two wakes in a row disturb two CPUs.

use crate::error::SchedError;
use crate::scheduler::Kick;
use alloc::vec::Vec;
use core::ops::{Index, IndexMut};
use tarn_abi::{CpuId, CpuSet, MAX_CPUS};

/// Rows of type `T` by CPU number.
pub(crate) struct Cpus<T> {
    rows: Vec<T>,
    members: CpuSet,
    pub(crate) idle: CpuSet,
    pub(crate) tickless: CpuSet,
}

impl<T: Default> Cpus<T> {
    pub(crate) const fn new() -> Self {
        Cpus {
            rows: Vec::new(),
            members: CpuSet::EMPTY,
            idle: CpuSet::EMPTY,
            tickless: CpuSet::EMPTY,
        }
    }

    /// Gets the memory for `cpu`.
    pub(crate) fn alloc(&mut self, cpu: CpuId) -> Result<(), SchedError> {
        if cpu.index() >= MAX_CPUS {
            return Err(SchedError::Range {
                what: "cpu",
                min: 0,
                max: MAX_CPUS as u64 - 1,
            });
        }
        let missing = (cpu.index() + 1).saturating_sub(self.rows.len());
        self.rows
            .try_reserve(missing)
            .map_err(|_| SchedError::NoMemory)?;
        for _ in 0..missing {
            self.rows.push(T::default());
        }
        Ok(())
    }

    /// `cpu` becomes a member, idle and on its way (its own hand does this).
    pub(crate) fn join(&mut self, cpu: CpuId) {
        self.rows[cpu.index()] = T::default();
        self.members.insert(cpu);
    }

    /// `cpu` is no member any more.
    pub(crate) fn leave(&mut self, cpu: CpuId) {
        self.members.remove(cpu);
        self.idle.remove(cpu);
        self.tickless.remove(cpu);
    }

    pub(crate) fn members(&self) -> CpuSet {
        self.members
    }

    /// Whether `cpu` is the only member, neither idle nor without a timer.
    #[inline]
    pub(crate) fn only(&self, cpu: Option<CpuId>) -> bool {
        cpu.is_some_and(|c| {
            self.members == CpuSet::one(c) && !self.idle.contains(c) && !self.tickless.contains(c)
        })
    }

    /// The CPUs of `mask` that are members; all members if none is.
    pub(crate) fn effective(&self, mask: &CpuSet) -> CpuSet {
        let m = mask.intersection(&self.members);
        if m.is_empty() { self.members } else { m }
    }

    /// Calls an idle CPU of `allowed`, `last` if possible.
    pub(crate) fn summon_idle(&mut self, allowed: &CpuSet, last: Option<CpuId>) -> Kick {
        match choose(&self.idle, allowed, last) {
            Some(c) => {
                self.idle.remove(c);
                Kick::one(c)
            }
            None => Kick::NONE,
        }
    }

    /// Calls an idle CPU of `allowed`, `last` if possible; else all that run without a timer, so that they arm one.
    pub(crate) fn summon(&mut self, allowed: &CpuSet, last: Option<CpuId>) -> Kick {
        let k = self.summon_idle(allowed, last);
        if !k.is_none() {
            return k;
        }
        let timerless = self.tickless.intersection(allowed);
        self.tickless = self.tickless.difference(&timerless);
        Kick(timerless)
    }
}

/// `last` if it is in both sets, else the lowest that is.
pub(crate) fn choose(set: &CpuSet, allowed: &CpuSet, last: Option<CpuId>) -> Option<CpuId> {
    if let Some(l) = last
        && set.contains(l)
        && allowed.contains(l)
    {
        return last;
    }
    set.intersection(allowed).lowest()
}

impl<T> Index<CpuId> for Cpus<T> {
    type Output = T;
    fn index(&self, cpu: CpuId) -> &T {
        &self.rows[cpu.index()]
    }
}

impl<T> IndexMut<CpuId> for Cpus<T> {
    fn index_mut(&mut self, cpu: CpuId) -> &mut T {
        &mut self.rows[cpu.index()]
    }
}
