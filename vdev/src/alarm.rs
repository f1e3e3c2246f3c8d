//! Software timers of one CPU: per vCPU at most one, the earlier of its two guest timers while they need software.
//!
//! A blocked or queued vCPU's virtual timer is an alarm on the CPU that saved it; its emulated physical timer is an
//! alarm wherever it runs. An alarm of a vCPU that has since moved on is found stale when it fires (the vCPU no longer
//! asks for that moment) and dropped. Nothing allocates after the CPU is up; the list cannot overflow, since it has a
//! place for every vCPU there can be. When many are due at once they give way to whatever else has come ([`Turn`]).
//!
//! A CPU keeps alarms of vCPUs of its own pool. When it leaves the pool, or a domain does, it gives the others away: it
//! looks at them at once, as if they were due ([`Alarms::hasten`]), and puts each vCPU of another pool into the box of a
//! CPU there ([`Adopted`]), which looks at it in the same way. What an alarm is for stands with the vCPU, so who looks
//! need not have been told; looking twice, too late or for nobody does no harm, and a vCPU that woke meanwhile is found
//! loaded.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tarn_abi::{Instant, MAX_VCPUS, VcpuId};

/// The alarms of a CPU.
pub struct Alarms {
    list: Vec<(Instant, VcpuId)>,
    next: Instant,
}

impl Alarms {
    /// None yet, with room for every vCPU there can be.
    pub fn new() -> Alarms {
        Alarms {
            list: Vec::with_capacity(MAX_VCPUS),
            next: Instant::NEVER,
        }
    }

    /// The earliest.
    #[inline]
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Sets (or with `NEVER` clears) the alarm of `v`.
    #[inline]
    pub fn set(&mut self, v: VcpuId, at: Instant) {
        let found = self.list.iter().position(|e| e.1.slot == v.slot);
        match (found, at) {
            (None, Instant::NEVER) => return,
            (Some(i), Instant::NEVER) => {
                let old = self.list.swap_remove(i).0;
                if old > self.next {
                    return;
                }
            }
            (Some(i), _) => {
                let old = core::mem::replace(&mut self.list[i], (at, v)).0;
                if old > self.next && at >= self.next {
                    return;
                }
            }
            (None, _) => {
                self.list.push((at, v));
                self.next = self.next.min(at);
                return;
            }
        }
        self.next = self
            .list
            .iter()
            .map(|e| e.0)
            .min()
            .unwrap_or(Instant::NEVER);
    }

    /// Takes out one alarm that is due at `now`.
    fn take_due(&mut self, now: Instant) -> Option<VcpuId> {
        if self.next > now {
            return None;
        }
        let i = self.list.iter().position(|e| e.0 <= now)?;
        let v = self.list.swap_remove(i).1;
        self.next = self
            .list
            .iter()
            .map(|e| e.0)
            .min()
            .unwrap_or(Instant::NEVER);
        Some(v)
    }

    /// Makes the alarms of those due at `now` who are not `kept`.
    pub fn hasten(&mut self, now: Instant, kept: impl Fn(VcpuId) -> bool) {
        for (at, v) in &mut self.list {
            if *at > now && !kept(*v) {
                *at = now;
                self.next = self.next.min(now);
            }
        }
    }
}

impl Default for Alarms {
    fn default() -> Alarms {
        Alarms::new()
    }
}

/// One interrupt of the timer: which of the alarms that are due are rung at it.
///
/// The first in any case, so that each interrupt gets on; the others only while nothing else has come. What is left is
/// still due: the timer, set to [`Alarms::next`], interrupts again as soon as the rest has been served.
pub struct Turn {
    now: Instant,
    rung: bool,
}

impl Turn {
    /// The interrupt came at `now`.
    pub const fn at(now: Instant) -> Turn {
        Turn { now, rung: false }
    }

    /// Whose alarm is to be rung now; `None` ends the turn. `pressing` says whether another interrupt waits.
    #[inline]
    pub fn next(&mut self, alarms: &mut Alarms, pressing: impl FnOnce() -> bool) -> Option<VcpuId> {
        if self.rung && pressing() {
            return None;
        }
        self.rung = true;
        alarms.take_due(self.now)
    }
}

/// vCPUs that other CPUs ask a CPU to look after, by slot.
pub struct Adopted {
    /// Somebody may be in `slots`: set after that, so that most who are called need not look.
    any: AtomicBool,
    slots: [AtomicU64; MAX_VCPUS.div_ceil(64)],
}

impl Adopted {
    /// Nobody.
    pub const fn new() -> Adopted {
        Adopted {
            any: AtomicBool::new(false),
            slots: [const { AtomicU64::new(0) }; MAX_VCPUS.div_ceil(64)],
        }
    }

    /// Asks for `v`; the CPU has to be called afterwards.
    pub fn add(&self, v: VcpuId) {
        if let Some(word) = self.slots.get(v.index() / 64) {
            word.fetch_or(1 << (v.index() % 64), Ordering::Relaxed);
            self.any.store(true, Ordering::Release);
        }
    }

    /// Takes all slots out, one call of `f` each.
    #[inline]
    pub fn take(&self, f: impl FnMut(usize)) {
        if self.any.load(Ordering::Relaxed) && self.any.swap(false, Ordering::Acquire) {
            self.take_all(f);
        }
    }

    #[cold]
    fn take_all(&self, mut f: impl FnMut(usize)) {
        for (i, word) in self.slots.iter().enumerate() {
            if word.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let mut bits = word.swap(0, Ordering::Relaxed);
            while bits != 0 {
                f(i * 64 + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
        }
    }
}

impl Default for Adopted {
    fn default() -> Adopted {
        Adopted::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn vcpu(slot: u16) -> VcpuId {
        VcpuId {
            slot,
            generation: 1,
        }
    }

    fn hundred() -> Alarms {
        let mut alarms = Alarms::new();
        for slot in 0..100 {
            alarms.set(vcpu(slot), Instant(1000 + u64::from(slot) % 3));
        }
        alarms
    }

    #[test]
    fn those_who_are_not_kept_are_looked_at_at_once_and_the_others_when_they_are_due() {
        let mut alarms = hundred();
        alarms.hasten(Instant(500), |v| v.slot % 10 != 0);
        assert_eq!(alarms.next(), Instant(500));
        let mut turn = Turn::at(Instant(500));
        let rung: Vec<u16> = core::iter::from_fn(|| turn.next(&mut alarms, || false))
            .map(|v| v.slot)
            .collect();
        assert!(rung.len() == 10 && rung.iter().all(|slot| slot % 10 == 0));
        assert_eq!(alarms.next(), Instant(1000));
        // What is due already is not put off.
        alarms.hasten(Instant(1001), |_| false);
        assert_eq!(alarms.next(), Instant(1000));
    }

    #[test]
    fn who_is_adopted_is_taken_once() {
        let box_ = Adopted::new();
        let taken = || {
            let mut slots = Vec::new();
            box_.take(|slot| slots.push(slot));
            slots
        };
        assert!(taken().is_empty());
        let last = MAX_VCPUS as u16 - 1;
        for slot in [0, 63, 64, last, 63] {
            box_.add(vcpu(slot));
        }
        assert_eq!(taken(), [0, 63, 64, usize::from(last)]);
        assert!(taken().is_empty());
        box_.add(vcpu(64));
        assert_eq!(taken(), [64]);
    }

    #[test]
    fn many_that_are_due_give_way_and_none_is_forgotten() {
        let mut alarms = hundred();
        let now = Instant(1002);
        let mut rung = Vec::new();
        // Another interrupt comes after each third: each turn rings three and no more.
        for turns in 1.. {
            let mut turn = Turn::at(now);
            let before = rung.len();
            while let Some(v) = turn.next(&mut alarms, || rung.len() - before >= 3) {
                rung.push(v);
            }
            assert!(rung.len() - before <= 3, "{} in a row", rung.len() - before);
            if rung.len() == 100 {
                assert_eq!(turns, 34);
                break;
            }
            assert!(alarms.next() <= now, "the timer comes again at once");
        }
        assert_eq!(alarms.next(), Instant::NEVER);
        rung.sort_by_key(|v| v.slot);
        assert_eq!(rung, (0..100).map(vcpu).collect::<Vec<_>>());
    }

    #[test]
    fn a_turn_rings_one_however_much_presses_and_all_if_nothing_does() {
        let mut alarms = hundred();
        let mut turn = Turn::at(Instant(1002));
        assert!(turn.next(&mut alarms, || true).is_some());
        assert!(turn.next(&mut alarms, || true).is_none());
        let mut turn = Turn::at(Instant(1002));
        let mut n = 0;
        while turn.next(&mut alarms, || false).is_some() {
            n += 1;
        }
        assert_eq!(n, 99);
        alarms.set(vcpu(7), Instant(1003));
        let mut early = Turn::at(Instant(1002));
        assert_eq!(early.next(&mut alarms, || false), None);
        assert_eq!(alarms.next(), Instant(1003));
    }

    #[test]
    fn each_vcpu_has_one_and_the_earliest_is_known() {
        let mut alarms = Alarms::new();
        let mut model = [Instant::NEVER; 40];
        let mut seed = 88_172_645_463_325_252u64;
        for _ in 0..20_000 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let (slot, at) = ((seed >> 8) as usize % 40, Instant(seed >> 40 & 0xff));
            if seed & 7 == 0 {
                let now = at;
                let due = Turn::at(now).next(&mut alarms, || false);
                assert_eq!(due.is_some(), model.iter().any(|m| *m <= now));
                if let Some(v) = due {
                    assert!(model[usize::from(v.slot)] <= now);
                    model[usize::from(v.slot)] = Instant::NEVER;
                }
            } else {
                let at = if seed & 7 == 1 { Instant::NEVER } else { at };
                alarms.set(vcpu(slot as u16), at);
                model[slot] = at;
            }
            let first = model.iter().copied().min().unwrap_or(Instant::NEVER);
            assert_eq!(alarms.next(), first);
        }
    }
}
