//! Round robin: one queue, everybody runs a slice, weights are ignored. The simple reference.
//!
//! It keeps the trait honest and is the first thing to try when a cleverer policy misbehaves. With hard affinity a pick
//! may step over entities that may not run here, so it is O(queue) in the worst case; without, O(1).

use crate::cpus::Cpus;
use crate::error::SchedError;
use crate::fifo::{Fifo, Link, Links};
use crate::params::{SchedParams, VcpuParams};
use crate::scheduler::{Ent, GuestHint, Kick, Pick, Scheduler, Stats, Tag, WakeReason};
use crate::slab::Slab;
use tarn_abi::{CpuId, CpuSet, Instant, Span};

struct Row {
    tag: Tag,
    link: Link,
    mask: CpuSet,
    allowed: CpuSet,
    inserted: bool,
    runnable: bool,
    yielded: bool,
    on: Option<CpuId>,
    last: Option<CpuId>,
    runtime: Span,
}

impl Links for Slab<Row> {
    fn link(&mut self, e: Ent) -> &mut Link {
        &mut self[e].link
    }
}

#[derive(Default)]
struct Pcpu {
    /// Who is on this CPU: running, or asleep but not saved yet.
    curr: Option<Ent>,
    /// Whether `curr` really runs.
    running: bool,
    /// When `curr`'s slice began.
    begun: Instant,
    /// Up to when `curr`'s running time is accounted.
    counted: Instant,
}

/// An instance.
pub(crate) struct Rr {
    slice: Span,
    rows: Slab<Row>,
    cpus: Cpus<Pcpu>,
    queue: Fifo,
}

impl Rr {
    pub(crate) fn new(p: &SchedParams) -> Self {
        Rr {
            slice: p.slice,
            rows: Slab::new(),
            cpus: Cpus::new(),
            queue: Fifo::default(),
        }
    }

    /// The first in the queue that may run on `cpu`.
    fn first_for(&mut self, cpu: CpuId) -> Option<Ent> {
        let mut at = self.queue.head();
        while let Some(e) = at {
            if self.rows[e].allowed.contains(cpu) {
                return at;
            }
            at = self.rows[e].link.next();
        }
        None
    }

    fn enqueue(&mut self, e: Ent) -> Kick {
        self.queue.push(&mut self.rows, e);
        let r = &self.rows[e];
        let (allowed, last) = (r.allowed, r.last);
        self.cpus.summon(&allowed, last)
    }

    /// Somebody still waits and somebody has nothing to do: bring them together. (Who waits first may be one whose CPUs are
    /// all busy.)
    fn leftovers(&mut self) -> Kick {
        let mut at = self.queue.head().filter(|_| !self.cpus.idle.is_empty());
        while let Some(e) = at {
            let r = &self.rows[e];
            let (allowed, last) = (r.allowed, r.last);
            let kick = self.cpus.summon_idle(&allowed, last);
            if !kick.is_none() {
                return kick;
            }
            at = self.rows[e].link.next();
        }
        Kick::NONE
    }

    /// After a change of the members: masks anew, and everybody idle comes to look.
    fn members_changed(&mut self) -> Kick {
        for r in self.rows.iter_mut() {
            r.allowed = self.cpus.effective(&r.mask);
        }
        // Those that run where they may no longer, and those that wait, find their place.
        Kick(self.cpus.members())
    }
}

impl Scheduler for Rr {
    fn alloc_pcpu(&mut self, cpu: CpuId) -> Result<(), SchedError> {
        self.cpus.alloc(cpu)
    }

    fn switch_sched(&mut self, cpu: CpuId, _now: Instant) -> Kick {
        self.cpus.join(cpu);
        self.members_changed().and(Kick::one(cpu))
    }

    fn free_pcpu(&mut self, cpu: CpuId, _now: Instant) -> Kick {
        self.cpus.leave(cpu);
        self.members_changed()
    }

    fn alloc_vcpu(&mut self, tag: Tag, p: &VcpuParams) -> Result<Ent, SchedError> {
        p.check()?;
        self.rows.alloc(Row {
            tag,
            link: Link::default(),
            mask: p.affinity,
            allowed: self.cpus.effective(&p.affinity),
            inserted: false,
            runnable: false,
            yielded: false,
            on: None,
            last: None,
            runtime: Span::ZERO,
        })
    }

    fn free_vcpu(&mut self, e: Ent) {
        self.rows.free(e);
    }

    fn insert(&mut self, e: Ent, runnable: bool, _now: Instant) -> Kick {
        let allowed = self.cpus.effective(&self.rows[e].mask);
        let r = &mut self.rows[e];
        r.allowed = allowed;
        r.inserted = true;
        r.runnable = runnable;
        if runnable {
            self.enqueue(e)
        } else {
            Kick::NONE
        }
    }

    fn remove(&mut self, e: Ent, _now: Instant) -> Kick {
        self.queue.remove(&mut self.rows, e);
        let r = &mut self.rows[e];
        r.inserted = false;
        r.runnable = false;
        Kick::NONE
    }

    fn adjust_vcpu(&mut self, e: Ent, p: &VcpuParams, _now: Instant) -> Result<Kick, SchedError> {
        p.check()?;
        let allowed = self.cpus.effective(&p.affinity);
        let r = &mut self.rows[e];
        r.mask = p.affinity;
        r.allowed = allowed;
        if r.link.is_queued() {
            let last = r.last;
            return Ok(self.cpus.summon(&allowed, last));
        }
        Ok(match r.on {
            Some(c) if !allowed.contains(c) => Kick::one(c),
            _ => Kick::NONE,
        })
    }

    fn adjust(&mut self, p: &SchedParams, _now: Instant) -> Result<(), SchedError> {
        p.check()?;
        self.slice = p.slice;
        Ok(())
    }

    fn sleep(&mut self, e: Ent, _now: Instant) {
        self.queue.remove(&mut self.rows, e);
        let r = &mut self.rows[e];
        r.runnable = false;
        r.yielded = false;
    }

    fn wake(&mut self, e: Ent, _why: WakeReason, _now: Instant) -> Kick {
        let r = &mut self.rows[e];
        if r.runnable || !r.inserted {
            return Kick::NONE;
        }
        r.runnable = true;
        match r.on {
            None => self.enqueue(e),
            // Asleep but still loaded there: no switch is cheaper than any. If that CPU has chosen another one
            // meanwhile, `context_saved` will find a place.
            // (No `curr`: that CPU has tried a group that had nothing to run, and holds it still.)
            Some(c) if self.cpus[c].curr.is_none_or(|x| x == e) => {
                self.cpus[c].curr = Some(e);
                self.cpus.idle.remove(c);
                Kick::one(c)
            }
            Some(_) => Kick::NONE,
        }
    }

    fn yield_now(&mut self, e: Ent, _now: Instant) {
        self.rows[e].yielded = true;
    }

    fn pick_next(&mut self, cpu: CpuId, hint: GuestHint, now: Instant) -> Pick {
        self.cpus.idle.remove(cpu);
        self.cpus.tickless.remove(cpu);
        // The current one may stay: `Some(true)` if it also need not let others go first.
        let mut stay = None;
        let curr = self.cpus[cpu].curr;
        if let Some(c) = curr {
            let p = &mut self.cpus[cpu];
            let ran = core::mem::replace(&mut p.running, false);
            let over = now >= p.begun + self.slice;
            let counted = core::mem::replace(&mut p.counted, now);
            let r = &mut self.rows[c];
            if ran {
                r.runtime += now.since(counted);
            }
            let yielded = core::mem::take(&mut r.yielded);
            if r.runnable && r.allowed.contains(cpu) {
                stay = Some(ran && !over && !yielded);
            }
        }
        let next = match stay {
            _ if hint.must_idle => None,
            Some(true) => curr,
            Some(false) => self.first_for(cpu).or(curr),
            None => self.first_for(cpu),
        };
        let Some(n) = next else {
            self.cpus.idle.insert(cpu);
            let kick = if hint.must_idle {
                Kick::NONE
            } else {
                self.leftovers()
            };
            return Pick {
                next: None,
                until: None,
                kick,
                news: None,
                boosted: false,
            };
        };
        self.queue.remove(&mut self.rows, n);
        let r = &mut self.rows[n];
        r.on = Some(cpu);
        r.last = Some(cpu);
        let tag = r.tag;
        let p = &mut self.cpus[cpu];
        p.curr = next;
        p.running = true;
        p.counted = now;
        if stay != Some(true) {
            p.begun = now;
        }
        let until = (!self.queue.is_empty()).then_some(p.begun + self.slice);
        if until.is_none() {
            self.cpus.tickless.insert(cpu);
        }
        let kick = self.leftovers();
        Pick {
            next: Some(tag),
            until,
            kick,
            news: None,
            boosted: false,
        }
    }

    fn context_saved(&mut self, e: Ent, _now: Instant) -> Kick {
        let r = &mut self.rows[e];
        if let Some(c) = r.on.take()
            && self.cpus[c].curr == Some(e)
        {
            self.cpus[c].curr = None;
        }
        if self.rows[e].runnable {
            self.enqueue(e)
        } else {
            Kick::NONE
        }
    }

    fn has_work(&self, _cpu: CpuId, _now: Instant) -> bool {
        !self.queue.is_empty()
    }

    fn stats(&self, e: Ent) -> Stats {
        Stats {
            runtime: self.rows[e].runtime,
            ..Stats::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const C0: CpuId = CpuId(0);
    const C1: CpuId = CpuId(1);
    const HINT: GuestHint = GuestHint {
        irqs_masked: false,
        dont_desched: false,
        enlightened: false,
        must_idle: false,
    };

    fn at(us: u64) -> Instant {
        Instant(us * 1000)
    }

    /// Two CPUs are called for two; each takes another who came before. Who is left over is found a CPU, though one who may
    /// only run where somebody runs stands before him in the queue.
    #[test]
    fn who_is_left_behind_a_pinned_one_is_found_a_cpu() {
        let cpus = [0, 1, 2].map(CpuId);
        let (mut s, _) = with(&cpus, 0);
        for c in cpus {
            assert_eq!(s.pick_next(c, HINT, at(0)).next, None);
        }
        let mut add = |tag, affinity| {
            let p = VcpuParams {
                affinity,
                ..VcpuParams::DEFAULT
            };
            let e = s.alloc_vcpu(Tag(tag), &p).unwrap();
            s.insert(e, true, at(1))
        };
        let pinned = CpuSet::one(cpus[0]);
        assert_eq!(add(1, CpuSet::ALL), Kick::one(cpus[0]));
        assert_eq!(add(2, pinned), Kick::NONE);
        assert_eq!(add(3, pinned), Kick::NONE);
        assert_eq!(add(4, CpuSet::ALL), Kick::one(cpus[1]));
        let first = s.pick_next(cpus[1], HINT, at(2));
        let second = s.pick_next(cpus[0], HINT, at(2));
        assert_eq!((first.next, second.next), (Some(Tag(1)), Some(Tag(2))));
        assert_eq!(first.kick.and(second.kick), Kick::one(cpus[2]));
        assert_eq!(s.pick_next(cpus[2], HINT, at(3)).next, Some(Tag(4)));
    }

    fn with(cpus: &[CpuId], n: u32) -> (Rr, Ent) {
        let mut s = Rr::new(&SchedParams::DEFAULT);
        for &c in cpus {
            s.alloc_pcpu(c).unwrap();
            let _ = s.switch_sched(c, at(0));
        }
        let mut first = None;
        for i in 0..n {
            let e = s.alloc_vcpu(Tag(i), &VcpuParams::DEFAULT).unwrap();
            first.get_or_insert(e);
            let _ = s.insert(e, false, at(0));
        }
        (s, first.unwrap_or(Ent(0)))
    }

    #[test]
    fn takes_turns_and_needs_a_timer_only_when_somebody_waits() {
        let (mut s, _) = with(&[C0], 2);
        assert_eq!(s.pick_next(C0, HINT, at(0)).next, None);
        assert_eq!(s.wake(Ent(0), WakeReason::Timer, at(1)), Kick::one(C0));
        let p = s.pick_next(C0, HINT, at(2));
        assert_eq!((p.next, p.until), (Some(Tag(0)), None));
        // The second arrives: the CPU must come and arm its timer, and keeps the first until the slice is over.
        assert_eq!(s.wake(Ent(1), WakeReason::Timer, at(3)), Kick::one(C0));
        let p = s.pick_next(C0, HINT, at(4));
        assert_eq!((p.next, p.until), (Some(Tag(0)), Some(at(10_002))));
        let p = s.pick_next(C0, HINT, at(10_002));
        assert_eq!(p.next, Some(Tag(1)));
        let _ = s.context_saved(Ent(0), at(10_003));
        assert_eq!(s.stats(Ent(0)).runtime, Span::us(10_000));
        assert_eq!(s.pick_next(C0, HINT, at(20_002)).next, Some(Tag(0)));
    }

    #[test]
    fn two_wakes_disturb_two_idle_cpus() {
        let (mut s, _) = with(&[C0, C1], 2);
        for c in [C0, C1] {
            assert_eq!(s.pick_next(c, HINT, at(0)).next, None);
        }
        let a = s.wake(Ent(0), WakeReason::Timer, at(1));
        let b = s.wake(Ent(1), WakeReason::Timer, at(1));
        assert_eq!(a.and(b).0, CpuSet::first(2));
        assert_ne!(a, b);
    }

    #[test]
    fn a_sleeper_still_loaded_wakes_where_it_is() {
        let (mut s, _) = with(&[C0, C1], 2);
        let _ = s.pick_next(C0, HINT, at(0));
        let _ = s.wake(Ent(1), WakeReason::Timer, at(1));
        assert_eq!(s.pick_next(C1, HINT, at(1)).next, Some(Tag(1)));
        s.sleep(Ent(1), at(5));
        assert_eq!(s.pick_next(C1, HINT, at(5)).next, None);
        assert_eq!(s.wake(Ent(1), WakeReason::Timer, at(9)), Kick::one(C1));
        assert_eq!(
            s.pick_next(C0, HINT, at(9)).next,
            None,
            "not offered elsewhere before it is saved"
        );
        assert_eq!(s.pick_next(C1, HINT, at(9)).next, Some(Tag(1)));
        let _ = s.pick_next(C1, HINT, at(11));
        assert_eq!(s.stats(Ent(1)).runtime, Span::us(6), "sleep is not charged");
    }

    #[test]
    fn affinity_is_obeyed_and_survives_the_loss_of_its_cpus() {
        let (mut s, _) = with(&[C0, C1], 0);
        let only1 = VcpuParams {
            affinity: CpuSet::one(C1),
            ..VcpuParams::DEFAULT
        };
        let e = s.alloc_vcpu(Tag(7), &only1).unwrap();
        assert_eq!(s.pick_next(C0, HINT, at(0)).next, None);
        assert_eq!(
            s.insert(e, true, at(0)),
            Kick::NONE,
            "cpu1 has not come by yet and will look by itself"
        );
        assert_eq!(s.pick_next(C0, HINT, at(1)).next, None);
        let gone = s.free_pcpu(C1, at(2));
        assert!(gone.0.contains(C0));
        assert_eq!(s.pick_next(C0, HINT, at(3)).next, Some(Tag(7)));
    }
}
