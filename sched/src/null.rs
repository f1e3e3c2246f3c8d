//! null: one vCPU per CPU, nothing to decide. For pools that partition.
//!
//! A vCPU gets a CPU of its affinity when it is inserted and keeps it, asleep or not, until it leaves; more vCPUs than
//! CPUs wait in line for a CPU to become free. No timer is ever needed, so WFI can be native. Operations on a vCPU that
//! has its CPU are O(1).

use crate::cpus::Cpus;
use crate::error::SchedError;
use crate::fifo::{Fifo, Link, Links};
use crate::params::{SchedParams, VcpuParams};
use crate::scheduler::{Ent, GuestHint, Kick, Pick, Scheduler, Stats, Tag, Totals, WakeReason};
use crate::slab::Slab;
use tarn_abi::{CpuId, CpuSet, Instant, Span};

struct Row {
    tag: Tag,
    link: Link,
    mask: CpuSet,
    inserted: bool,
    runnable: bool,
    /// Its CPU.
    home: Option<CpuId>,
    on: Option<CpuId>,
    runtime: Span,
}

impl Links for Slab<Row> {
    fn link(&mut self, e: Ent) -> &mut Link {
        &mut self[e].link
    }
}

#[derive(Default)]
struct Pcpu {
    owner: Option<Ent>,
    curr: Option<Ent>,
    running: bool,
    counted: Instant,
}

/// An instance.
pub(crate) struct Null {
    rows: Slab<Row>,
    cpus: Cpus<Pcpu>,
    /// CPUs without an owner.
    vacant: CpuSet,
    /// vCPUs without a CPU.
    line: Fifo,
    totals: Totals,
}

impl Null {
    pub(crate) fn new(_: &SchedParams) -> Self {
        Null {
            rows: Slab::new(),
            cpus: Cpus::new(),
            vacant: CpuSet::EMPTY,
            line: Fifo::default(),
            totals: Totals::default(),
        }
    }

    /// Who must come by for `e` to run: its CPU; but if another one still holds it, as of one that dozed where it has its
    /// CPU no longer, then that one, to let go of it. (`context_saved` calls the right one.)
    fn call(&self, e: Ent) -> Kick {
        let r = &self.rows[e];
        match r.home {
            Some(home) if r.runnable => Kick::one(r.on.unwrap_or(home)),
            _ => Kick::NONE,
        }
    }

    /// Gives `e` a CPU, or a place in the line.
    fn settle(&mut self, e: Ent) -> Kick {
        let allowed = self.cpus.effective(&self.rows[e].mask);
        match self.vacant.intersection(&allowed).lowest() {
            Some(c) => {
                self.vacant.remove(c);
                self.cpus[c].owner = Some(e);
                self.rows[e].home = Some(c);
                self.call(e)
            }
            None => {
                self.line.push(&mut self.rows, e);
                Kick::NONE
            }
        }
    }

    /// Takes its CPU, or its place in the line, from `e`.
    fn unsettle(&mut self, e: Ent) -> Kick {
        self.line.remove(&mut self.rows, e);
        let Some(c) = self.rows[e].home.take() else {
            return Kick::NONE;
        };
        self.cpus[c].owner = None;
        self.vacant.insert(c);
        Kick::one(c)
    }

    /// The members have changed: whose CPU is no longer the right one gets another.
    fn rehome(&mut self) -> Kick {
        let mut kick = Kick::NONE;
        for e in (0..self.rows.len() as u32).map(Ent) {
            let Some(r) = self.rows.get(e) else { continue };
            let allowed = self.cpus.effective(&r.mask);
            if r.home.is_some_and(|c| !allowed.contains(c)) {
                kick = kick.and(self.unsettle(e)).and(self.settle(e));
            }
        }
        kick.and(self.fill())
    }

    /// Vacant CPUs go to the first in line that may have them.
    fn fill(&mut self) -> Kick {
        let mut kick = Kick::NONE;
        let mut at = self.line.head();
        while let Some(e) = at {
            at = self.rows[e].link.next();
            let allowed = self.cpus.effective(&self.rows[e].mask);
            if !self.vacant.intersection(&allowed).is_empty() {
                self.line.remove(&mut self.rows, e);
                kick = kick.and(self.settle(e));
            }
        }
        kick
    }
}

impl Scheduler for Null {
    fn alloc_pcpu(&mut self, cpu: CpuId) -> Result<(), SchedError> {
        self.cpus.alloc(cpu)
    }

    fn switch_sched(&mut self, cpu: CpuId, _now: Instant) -> Kick {
        self.cpus.join(cpu);
        self.vacant.insert(cpu);
        self.rehome().and(Kick::one(cpu))
    }

    fn free_pcpu(&mut self, cpu: CpuId, _now: Instant) -> Kick {
        let owner = self.cpus[cpu].owner.take();
        self.vacant.remove(cpu);
        self.cpus.leave(cpu);
        match owner {
            Some(e) => {
                self.rows[e].home = None;
                self.settle(e).and(self.rehome())
            }
            None => self.rehome(),
        }
    }

    fn alloc_vcpu(&mut self, tag: Tag, p: &VcpuParams) -> Result<Ent, SchedError> {
        p.check()?;
        self.rows.alloc(Row {
            tag,
            link: Link::default(),
            mask: p.affinity,
            inserted: false,
            runnable: false,
            home: None,
            on: None,
            runtime: Span::ZERO,
        })
    }

    fn free_vcpu(&mut self, e: Ent) {
        self.rows.free(e);
    }

    fn insert(&mut self, e: Ent, runnable: bool, _now: Instant) -> Kick {
        let r = &mut self.rows[e];
        r.inserted = true;
        r.runnable = runnable;
        self.settle(e)
    }

    fn remove(&mut self, e: Ent, _now: Instant) -> Kick {
        let r = &mut self.rows[e];
        r.inserted = false;
        r.runnable = false;
        let left = self.unsettle(e);
        left.and(self.fill())
    }

    fn adjust_vcpu(&mut self, e: Ent, p: &VcpuParams, _now: Instant) -> Result<Kick, SchedError> {
        p.check()?;
        self.rows[e].mask = p.affinity;
        let allowed = self.cpus.effective(&p.affinity);
        if !self.rows[e].inserted || self.rows[e].home.is_some_and(|c| allowed.contains(c)) {
            return Ok(Kick::NONE);
        }
        let left = self.unsettle(e);
        Ok(left.and(self.settle(e)).and(self.fill()))
    }

    fn adjust(&mut self, p: &SchedParams, _now: Instant) -> Result<(), SchedError> {
        p.check()
    }

    fn sleep(&mut self, e: Ent, _now: Instant) {
        self.rows[e].runnable = false;
    }

    fn wake(&mut self, e: Ent, _why: WakeReason, _now: Instant) -> Kick {
        let r = &mut self.rows[e];
        if r.runnable || !r.inserted {
            return Kick::NONE;
        }
        r.runnable = true;
        self.call(e)
    }

    fn yield_now(&mut self, _e: Ent, _now: Instant) {}

    fn pick_next(&mut self, cpu: CpuId, hint: GuestHint, now: Instant) -> Pick {
        let p = &mut self.cpus[cpu];
        let counted = core::mem::replace(&mut p.counted, now);
        let (curr, ran) = (p.curr, core::mem::replace(&mut p.running, false));
        if let (Some(c), true) = (curr, ran) {
            self.rows[c].runtime += now.since(counted);
        }
        let next = self.cpus[cpu].owner.filter(|&e| {
            let r = &self.rows[e];
            r.runnable && !hint.must_idle && r.on.is_none_or(|c| c == cpu)
        });
        if let Some(n) = next {
            self.totals.switches += u64::from(curr != next || !ran);
            self.rows[n].on = Some(cpu);
            let p = &mut self.cpus[cpu];
            p.curr = next;
            p.running = true;
        }
        Pick {
            next: next.map(|n| self.rows[n].tag),
            until: None,
            kick: Kick::NONE,
            news: None,
            boosted: false,
        }
    }

    fn context_saved(&mut self, e: Ent, _now: Instant) -> Kick {
        if let Some(c) = self.rows[e].on.take()
            && self.cpus[c].curr == Some(e)
        {
            self.cpus[c].curr = None;
        }
        self.call(e)
    }

    fn has_work(&self, cpu: CpuId, _now: Instant) -> bool {
        self.cpus[cpu]
            .owner
            .is_some_and(|e| self.rows[e].runnable && self.rows[e].on.is_none())
    }

    fn serves(&self, e: Ent, _now: Instant) -> bool {
        self.rows[e].home.is_some()
    }

    fn is_stranded(&self, e: Ent) -> bool {
        self.rows[e].inserted && self.rows[e].home.is_none()
    }

    fn stats(&self, e: Ent) -> Stats {
        Stats {
            runtime: self.rows[e].runtime,
            ..Stats::default()
        }
    }

    fn totals(&self) -> Totals {
        self.totals
    }

    fn check(&self) -> Result<(), &'static str> {
        for (e, r) in self.rows.iter().filter(|(_, r)| r.inserted) {
            if r.home.is_some() == r.link.is_queued() {
                return Err("a vCPU has both a CPU and a place in line, or neither");
            }
            if r.home.is_some_and(|c| self.cpus[c].owner != Some(e)) {
                return Err("a vCPU's CPU belongs to another");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HINT: GuestHint = GuestHint {
        irqs_masked: false,
        dont_desched: false,
        enlightened: false,
        must_idle: false,
    };

    /// A sleeper gets another CPU while the old one still holds its registers: who wakes it must call the holder, since
    /// the new CPU may not have it before they are in memory.
    #[test]
    fn a_dozing_vcpu_whose_cpu_was_changed_wakes() {
        let (c0, c1, now) = (CpuId(0), CpuId(1), Instant(0));
        let on = |c| VcpuParams {
            affinity: CpuSet::one(c),
            ..VcpuParams::DEFAULT
        };
        // The other CPU is free, or becomes free only after the sleeper has woken.
        for free in [true, false] {
            let mut s = Null::new(&SchedParams::DEFAULT);
            for c in [c0, c1] {
                s.alloc_pcpu(c).unwrap();
                let _ = s.switch_sched(c, now);
            }
            let e = s.alloc_vcpu(Tag(1), &on(c0)).unwrap();
            let other = s.alloc_vcpu(Tag(2), &on(c1)).unwrap();
            let _ = s.insert(e, true, now);
            if !free {
                let _ = s.insert(other, false, now);
            }
            assert_eq!(s.pick_next(c0, HINT, now).next, Some(Tag(1)));
            s.sleep(e, now);
            assert_eq!(s.pick_next(c0, HINT, now).next, None);
            let _ = s.adjust_vcpu(e, &on(c1), now).unwrap();
            assert_eq!(s.pick_next(c0, HINT, now).next, None);
            let mut kick = s.wake(e, WakeReason::Timer, now);
            if !free {
                assert_eq!(kick, Kick::NONE, "there is no CPU for it yet");
                kick = s.remove(other, now);
            }
            assert!(kick.0.contains(c0), "{kick:?}");
            assert_eq!(s.pick_next(c0, HINT, now).next, None);
            assert_eq!(s.context_saved(e, now), Kick::one(c1));
            assert_eq!(s.pick_next(c1, HINT, now).next, Some(Tag(1)));
        }
    }
}
