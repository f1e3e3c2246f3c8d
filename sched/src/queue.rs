//! Who waits: two heaps per affinity class, boosted vCPUs by age and boost credit, the others by credit.
//!
//! A class is a distinct pair of hard and soft affinity. At most 16 hard ones are kept apart, further ones are narrowed to one
//! CPU of theirs, and at most 16 pairs with a preference, beyond which a preference is forgotten. So a pick looks at a few
//! heads and never steps over anybody. Must never hold an entity that is on a CPU.

use crate::error::SchedError;
use crate::heap::{Heap, Places};
use crate::mutant::{Mutant, broken};
use crate::scheduler::Ent;
use alloc::vec::Vec;
use tarn_abi::{CpuId, CpuSet};

/// Distinct masks kept apart before masks are narrowed; and as many pairs with a preference before those are forgotten.
const CLASSES: usize = 16;

/// Those with the same mask and preference.
struct Class {
    mask: CpuSet,
    /// Preferred among them; all CPUs = none is.
    soft: CpuSet,
    allowed: CpuSet,
    /// Where they would rather be; all that is allowed if nothing of the preference is.
    near: CpuSet,
    /// How many CPUs that is.
    cpus: u64,
    users: usize,
    boosted: Heap,
    normal: Heap,
}

/// All who wait.
#[derive(Default)]
pub(crate) struct Queue {
    classes: Vec<Class>,
    pub(crate) places: Places,
    seq: u64,
    /// How much longer, on the axis of the keys, who is not boosted waits for a CPU outside its preference.
    pub(crate) aloof: i64,
    /// How many entities have a preference.
    choosy: usize,
    /// How many wait, and how many of them are boosted.
    len: usize,
    boosted: usize,
}

/// The best waiter of a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) ent: Ent,
    pub(crate) boosted: bool,
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many boosted ones wait for `cpu`, in 1/1024: of those who may use n CPUs an n-th each, and of `more`, a class, one
    /// more than there are.
    pub(crate) fn boosted_load(&self, cpu: CpuId, more: Option<u16>) -> u64 {
        let of = |(i, c): (usize, &Class)| {
            let n = c.boosted.len() + usize::from(more == Some(i as u16));
            let here = n != 0 && c.allowed.contains(cpu);
            if here { n as u64 * 1024 / c.cpus } else { 0 }
        };
        self.classes.iter().enumerate().map(of).sum()
    }

    pub(crate) fn any_boosted(&self) -> bool {
        self.boosted != 0
    }

    /// The class for `mask` without a preference, with room for one more. May allocate.
    pub(crate) fn join(&mut self, mask: &CpuSet, members: &CpuSet) -> Result<u16, SchedError> {
        self.join_near(mask, &CpuSet::ALL, members)
    }

    /// The class for `mask` with `soft` preferred.
    pub(crate) fn join_near(
        &mut self,
        mask: &CpuSet,
        soft: &CpuSet,
        members: &CpuSet,
    ) -> Result<u16, SchedError> {
        let (mut mask, mut soft) = (*mask, *soft);
        let wanted = mask.intersection(&soft);
        if wanted.is_empty() || wanted == mask || broken(Mutant::SoftIgnored) {
            soft = CpuSet::ALL;
        }
        let mut found = self.find(&mask, &soft);
        let used = |s: &Queue, choosy: bool| {
            let of = |c: &&Class| c.users != 0 && c.choosy() == choosy;
            s.classes.iter().filter(of).count()
        };
        if found.is_none() && soft != CpuSet::ALL && used(self, true) >= CLASSES {
            soft = CpuSet::ALL;
            found = self.find(&mask, &soft);
        }
        if found.is_none() && soft == CpuSet::ALL && used(self, false) >= CLASSES {
            let here = mask.intersection(members);
            let cpu = here
                .lowest()
                .or(mask.lowest())
                .ok_or(SchedError::NoMemory)?;
            mask = CpuSet::one(cpu);
            found = self.find(&mask, &soft);
        }
        let found = found.or_else(|| self.classes.iter().position(|c| c.users == 0));
        let i = match found {
            Some(i) => i,
            None => {
                self.classes
                    .try_reserve(1)
                    .map_err(|_| SchedError::NoMemory)?;
                let class = Class {
                    mask,
                    soft,
                    allowed: mask,
                    near: mask,
                    cpus: 1,
                    users: 0,
                    boosted: Heap::default(),
                    normal: Heap::default(),
                };
                self.classes.push(class);
                self.classes.len() - 1
            }
        };
        let c = &mut self.classes[i];
        c.boosted.reserve(c.users + 1)?;
        c.normal.reserve(c.users + 1)?;
        if c.users == 0 {
            (c.mask, c.soft) = (mask, soft);
            c.narrow(members);
        }
        c.users += 1;
        self.choosy += usize::from(c.choosy());
        Ok(i as u16)
    }

    fn find(&self, mask: &CpuSet, soft: &CpuSet) -> Option<usize> {
        let like = |c: &Class| c.users != 0 && c.mask == *mask && c.soft == *soft;
        self.classes.iter().position(like)
    }

    /// One user less of a class.
    pub(crate) fn quit(&mut self, class: u16) {
        let c = &mut self.classes[usize::from(class)];
        c.users -= 1;
        self.choosy -= usize::from(c.choosy());
    }

    /// Whether anybody has a preference.
    #[inline]
    pub(crate) fn any_choosy(&self) -> bool {
        self.choosy != 0
    }

    /// Masks anew after the members changed.
    pub(crate) fn members_changed(&mut self, members: &CpuSet) {
        for c in &mut self.classes {
            c.narrow(members);
        }
    }

    #[inline]
    pub(crate) fn allowed(&self, class: u16) -> &CpuSet {
        &self.classes[usize::from(class)].allowed
    }

    /// Where those of the class would rather be; all that is allowed if they do not mind.
    #[inline]
    pub(crate) fn near(&self, class: u16) -> &CpuSet {
        &self.classes[usize::from(class)].near
    }

    #[inline]
    pub(crate) fn is_queued(&self, e: Ent) -> bool {
        self.places.is_queued(e)
    }

    /// Among the boosted: the least `rank` first.
    pub(crate) fn insert_boosted(&mut self, class: u16, e: Ent, rank: i64) {
        self.seq += 1;
        self.len += 1;
        self.boosted += 1;
        let c = &mut self.classes[usize::from(class)];
        c.boosted.insert(&mut self.places, e, rank, self.seq);
    }

    /// Among the others, by consumption.
    pub(crate) fn insert_normal(&mut self, class: u16, e: Ent, consumed: i64) {
        self.seq += 1;
        self.len += 1;
        let c = &mut self.classes[usize::from(class)];
        c.normal.insert(&mut self.places, e, consumed, self.seq);
    }

    pub(crate) fn remove(&mut self, class: u16, e: Ent, boosted: bool) {
        self.len -= 1;
        let c = &mut self.classes[usize::from(class)];
        if boosted {
            self.boosted -= 1;
            c.boosted.remove(&mut self.places, e);
        } else {
            c.normal.remove(&mut self.places, e);
        }
    }

    pub(crate) fn rekey_normal(&mut self, class: u16, e: Ent, consumed: i64) {
        self.classes[usize::from(class)]
            .normal
            .rekey(&mut self.places, e, consumed);
    }

    /// The best that may run on `cpu`. Who is not boosted and would rather run elsewhere is behind by `aloof`.
    pub(crate) fn best(&self, cpu: CpuId) -> Option<Head> {
        let pick = |heap: fn(&Class) -> &Heap, aloof: i64| {
            let mut best: Option<(Ent, i64, u64)> = None;
            for c in &self.classes {
                let Some(mut t) = heap(c).top() else { continue };
                if !c.allowed.contains(cpu) && !broken(Mutant::AffinityIgnored) {
                    continue;
                }
                if !c.near.contains(cpu) {
                    t.1 = t.1.wrapping_add(aloof);
                }
                let better = best.is_none_or(|b| {
                    let d = t.1.wrapping_sub(b.1);
                    d < 0 || (d == 0 && t.2 < b.2)
                });
                if better {
                    best = Some(t);
                }
            }
            best
        };
        if self.boosted != 0
            && let Some((ent, ..)) = pick(|c| &c.boosted, 0)
        {
            return Some(Head { ent, boosted: true });
        }
        pick(|c| &c.normal, self.aloof).map(|(ent, ..)| Head {
            ent,
            boosted: false,
        })
    }

    /// The least consumption among the waiters that are not boosted, whatever CPU they may use.
    pub(crate) fn least_normal(&self) -> Option<i64> {
        let mut least: Option<i64> = None;
        for c in &self.classes {
            if let Some((_, key, _)) = c.normal.top()
                && least.is_none_or(|l| key.wrapping_sub(l) < 0)
            {
                least = Some(key);
            }
        }
        least
    }

    /// The head of each class that has waiters allowed on one of `cpus`.
    pub(crate) fn a_head_for(&self, cpus: &CpuSet) -> Option<Ent> {
        self.classes
            .iter()
            .filter(|c| !(c.boosted.is_empty() && c.normal.is_empty()))
            .find(|c| !c.allowed.intersection(cpus).is_empty())
            .and_then(|c| c.boosted.top().or(c.normal.top()))
            .map(|t| t.0)
    }

    pub(crate) fn check(&self) -> Result<(), &'static str> {
        for c in &self.classes {
            c.boosted.check(&self.places)?;
            c.normal.check(&self.places)?;
        }
        let boosted: usize = self.classes.iter().map(|c| c.boosted.iter().count()).sum();
        let all: usize = boosted
            + self
                .classes
                .iter()
                .map(|c| c.normal.iter().count())
                .sum::<usize>();
        let users = self.classes.iter().filter(|c| c.choosy());
        if users.map(|c| c.users).sum::<usize>() != self.choosy {
            return Err("those with a preference are miscounted");
        }
        if boosted != self.boosted || all != self.len {
            Err("the queue is miscounted")
        } else {
            Ok(())
        }
    }
}

impl Class {
    /// What is allowed among `members`: all of them if its mask has none.
    fn narrow(&mut self, members: &CpuSet) {
        let m = self.mask.intersection(members);
        self.allowed = if m.is_empty() { *members } else { m };
        self.cpus = self.allowed.len().max(1) as u64;
        let near = self.soft.intersection(&self.allowed);
        self.near = if near.is_empty() { self.allowed } else { near };
    }

    fn choosy(&self) -> bool {
        self.soft != CpuSet::ALL
    }
}
