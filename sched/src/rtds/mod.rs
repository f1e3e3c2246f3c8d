//! rtds: earliest deadline first, a budget per period and vCPU (deferrable server). For pools with guarantees.
//!
//! A vCPU may run for its budget in each period, whenever it wants within it; among those with budget left the one whose
//! period ends first runs. Who asks for more than the CPUs can guarantee is refused at the door, by the bound of Goossens,
//! Funk and Baruah: the sum of budget/period may be at most m - (m - 1) x the largest of them, so 1 on one CPU. (It counts
//! on work that comes at least a period apart. Who sleeps into a period and then takes all of its budget takes more at that
//! moment than was counted, as with any deferrable server; hard affinity is not counted at all.) A yield lets equals go
//! first and costs no budget. Every hot operation is O(log n) plus a look at each CPU when somebody is queued, for each vCPU whose
//! period ends at that moment.
//! Not work conserving: a spent budget stays spent. Must never leave somebody waiting beside a CPU that runs somebody less
//! urgent without a call under way: see `place`.

mod row;

use crate::cpus::{Cpus, choose};
use crate::error::SchedError;
use crate::fifo::{Fifo, Link};
use crate::heap::{Heap, Places};
use crate::mutant::{Mutant, broken};
use crate::params::{RtParams, SchedParams, VcpuParams};
use crate::queue::Queue;
use crate::scheduler::{Ent, GuestHint, Kick, Pick, Scheduler, Stats, Tag, Totals, WakeReason};
use crate::slab::Slab;
use row::Row;
use tarn_abi::{CpuId, CpuSet, Instant, Span};

#[derive(Default)]
struct Pcpu {
    curr: Option<Ent>,
    running: bool,
    counted: Instant,
    /// It will come by: somebody has called it, or it comes of its own accord.
    called: bool,
    /// For whom, if it is for somebody who waits. (That one `expects` it.)
    whom: Option<Ent>,
}

/// An instance.
pub(crate) struct Rtds {
    rows: Slab<Row>,
    cpus: Cpus<Pcpu>,
    /// CPUs that are or will be ours: what admission counts on.
    planned: CpuSet,
    /// Waiting with budget, by deadline.
    queue: Queue,
    /// Everybody runnable, by the end of the period.
    ends: Heap,
    ends_at: Places,
    in_ends: u64,
    /// Within an operation: whose period has begun, and who shall be placed when it is known whom this CPU takes.
    fresh: Fifo,
    totals: Totals,
}

impl Rtds {
    pub(crate) fn new(_: &SchedParams) -> Self {
        Rtds {
            rows: Slab::new(),
            cpus: Cpus::new(),
            planned: CpuSet::EMPTY,
            queue: Queue::default(),
            ends: Heap::default(),
            ends_at: Places::default(),
            in_ends: 0,
            fresh: Fifo::default(),
            totals: Totals::default(),
        }
    }

    /// Whether the vCPUs there are can all be served when those of `old` are replaced by `n` of `rt`.
    fn admit(&self, old: &[Ent], n: usize, rt: &RtParams) -> Result<(), SchedError> {
        let own = rt.load();
        let others = self
            .rows
            .iter()
            .filter(|(o, _)| !old.contains(o))
            .map(|(_, r)| r.promised.load());
        let start = (own * n as u64, own);
        let (asked, largest) = others.fold(start, |(sum, max), l| (sum + l, max.max(l)));
        fits(self.planned.len() as u64, asked, largest)
    }

    /// Takes parameters that have been admitted.
    fn set(&mut self, e: Ent, p: &VcpuParams, now: Instant) -> Result<Kick, SchedError> {
        let new = self.queue.join(&p.affinity, &self.cpus.members())?;
        if let Some(c) = self.rows[e].on {
            self.account(c, now);
        }
        let queued = self.queue.is_queued(e);
        if queued {
            self.queue.remove(self.rows[e].class, e, false);
        }
        self.queue.quit(self.rows[e].class);
        let r = &mut self.rows[e];
        r.class = new;
        r.change(p.rt, now);
        let (on, end) = (r.on, r.deadline);
        if self.ends_at.is_queued(e) {
            self.ends.rekey(&mut self.ends_at, e, end.0 as i64);
        }
        match on {
            Some(c) => Ok(self.call(c)),
            None if !self.rows[e].runnable => Ok(Kick::NONE),
            None if self.rows[e].budget > 0 => Ok(self.enqueue(e)),
            None => Ok(self.awaits_period(e)),
        }
    }

    fn account(&mut self, cpu: CpuId, now: Instant) {
        let p = &mut self.cpus[cpu];
        let dt = now.since(core::mem::replace(&mut p.counted, now));
        if let (Some(e), true) = (p.curr, p.running) {
            let r = &mut self.rows[e];
            r.runtime += dt;
            if !broken(Mutant::BudgetEndless) {
                r.budget = r.budget.saturating_sub_unsigned(dt.0);
            }
        }
    }

    /// Puts a runnable vCPU that is on no CPU where it belongs and finds it a CPU.
    fn enqueue(&mut self, e: Ent) -> Kick {
        let r = &self.rows[e];
        if r.budget <= 0 {
            return Kick::NONE;
        }
        self.queue.insert_normal(r.class, e, r.deadline.0 as i64);
        self.place(e)
    }

    /// `e` has just come to wait for its next period. If that is the first to begin, no CPU has a timer for it: one that
    /// has nothing to do sets it, or else one that is busy. (Each sets its timer to the first when it decides.)
    fn awaits_period(&mut self, e: Ent) -> Kick {
        if self.ends.top().is_none_or(|first| first.0 != e) {
            return Kick::NONE;
        }
        let (members, last) = (self.cpus.members(), self.rows[e].last);
        let idle = choose(&self.cpus.idle, &members, last);
        let busy = || members.iter().find(|c| self.cpus[*c].running);
        match idle.or_else(busy) {
            Some(c) => self.call(c),
            None => Kick::NONE,
        }
    }

    /// `cpu` shall come by.
    fn call(&mut self, cpu: CpuId) -> Kick {
        self.cpus.idle.remove(cpu);
        self.cpus[cpu].called = true;
        Kick::one(cpu)
    }

    /// `cpu` comes, or is gone: whom it was called for, if that one still waits.
    fn answers(&mut self, cpu: CpuId) -> Option<Ent> {
        self.cpus[cpu].called = false;
        let e = self.cpus[cpu].whom.take()?;
        self.rows[e].expects = None;
        self.queue.is_queued(e).then_some(e)
    }

    /// `e`, if it expects a CPU, does so no more.
    fn expects_none(&mut self, e: Ent) {
        if let Some(c) = self.rows[e].expects.take() {
            self.cpus[c].whom = None;
        }
    }

    /// Of those that come anyway, one that may run `e` and has nobody else to run for all that is known.
    fn comes_free(&self, allowed: &CpuSet) -> Option<CpuId> {
        self.cpus.members().intersection(allowed).iter().find(|c| {
            let p = &self.cpus[*c];
            p.called && p.whom.is_none() && p.curr.is_none_or(|x| !self.rows[x].runnable)
        })
    }

    /// Finds a CPU for `e`, which has just come to wait or has not been taken by the CPU that was called for it: one that
    /// is idle, or else the one that runs the least urgent of those that are less urgent than `e`.
    ///
    /// What holds afterwards, and whenever an operation ends (`check`): who waits expects a CPU, or no CPU that it may use
    /// and that has not been called is idle or runs somebody less urgent. So when all who were called have come, the most
    /// urgent run. That this comes to an end: a CPU that has come and leaves `e` waiting runs somebody at least as urgent
    /// as `e` (or is not for `e` any more); `e` then asks for a CPU that runs somebody less urgent than `e`. So each call
    /// either makes what a CPU runs more urgent, which happens finitely often while nobody wakes and no period ends, or
    /// follows from somebody else's having been taken, each of whom is in one place at a time.
    fn place(&mut self, e: Ent) -> Kick {
        let r = &self.rows[e];
        let (allowed, last, deadline) = (*self.queue.allowed(r.class), r.last, r.deadline);
        if r.expects.is_some_and(|c| allowed.contains(c)) {
            return Kick::NONE;
        }
        self.expects_none(e);
        let mut found =
            choose(&self.cpus.idle, &allowed, last).or_else(|| self.comes_free(&allowed));
        if found.is_none() {
            let mut worst = deadline;
            for c in self.cpus.members().intersection(&allowed).iter() {
                let p = &self.cpus[c];
                if let Some(cur) = p.curr.filter(|_| p.running && !p.called)
                    && self.rows[cur].deadline > worst
                {
                    (worst, found) = (self.rows[cur].deadline, Some(c));
                }
            }
        }
        match found {
            Some(c) => self.expect(e, c),
            None => Kick::NONE,
        }
    }

    /// `cpu` shall come for `e`. (Said again to one that comes anyway: a group's processor may have to be stood in for.)
    fn expect(&mut self, e: Ent, cpu: CpuId) -> Kick {
        self.rows[e].expects = Some(cpu);
        self.cpus[cpu].whom = Some(e);
        self.call(cpu)
    }

    /// A CPU was called for `passed`, who still waits, and took somebody else, who expected `other`: that one now comes for
    /// `passed`, or `passed` is found another.
    fn pass_on(&mut self, passed: Ent, other: Option<CpuId>) -> Kick {
        let class = self.rows[passed].class;
        match other.filter(|c| self.queue.allowed(class).contains(*c)) {
            Some(c) => self.expect(passed, c),
            None => self.place(passed),
        }
    }

    fn join_ends(&mut self, e: Ent) {
        if !self.ends_at.is_queued(e) {
            self.in_ends += 1;
            self.ends.insert(
                &mut self.ends_at,
                e,
                self.rows[e].deadline.0 as i64,
                self.in_ends,
            );
        }
    }

    fn quit_ends(&mut self, e: Ent) {
        if self.ends_at.is_queued(e) {
            self.ends.remove(&mut self.ends_at, e);
        }
    }

    /// New periods for all whose old one is over; `here` is about to decide. Who waits is found a CPU by `place_fresh`, when
    /// it is known whom `here` takes: it would be called for somebody whom it takes anyway, or be counted on though it takes
    /// another.
    fn replenish(&mut self, here: Option<CpuId>, now: Instant) -> Kick {
        let mut kick = Kick::NONE;
        while let Some((e, key, _)) = self.ends.top() {
            if key as u64 > now.0 {
                break;
            }
            if let Some(c) = self.rows[e].on {
                self.account(c, now);
            }
            let queued = self.queue.is_queued(e);
            if queued {
                self.queue.remove(self.rows[e].class, e, false);
            }
            self.rows[e].replenish(now);
            let r = &self.rows[e];
            self.ends.rekey(&mut self.ends_at, e, r.deadline.0 as i64);
            match r.on {
                None => {
                    self.queue.insert_normal(r.class, e, r.deadline.0 as i64);
                    self.fresh.push(&mut self.rows, e);
                }
                Some(c) if Some(c) == here => {}
                // It had spent its budget and is still loaded where it was.
                Some(c) if !self.cpus[c].running => kick = kick.and(self.call(c)),
                // (Whoever waits may be more urgent now.)
                Some(c) if self.gives_way(c) => kick = kick.and(self.call(c)),
                Some(_) => {}
            }
        }
        kick
    }

    /// Those whose period has begun and who still wait are found a CPU.
    fn place_fresh(&mut self) -> Kick {
        let mut kick = Kick::NONE;
        while let Some(e) = self.fresh.head() {
            self.fresh.remove(&mut self.rows, e);
            if self.queue.is_queued(e) {
                kick = kick.and(self.place(e));
            }
        }
        kick
    }

    /// `r` waits and expects no CPU: none that it may use and that is not called is idle or runs somebody less urgent.
    fn check_urgent(&self, r: &Row) -> Result<(), &'static str> {
        let allowed = self.queue.allowed(r.class);
        for c in self.cpus.members().intersection(allowed).iter() {
            let p = &self.cpus[c];
            if self.cpus.idle.contains(c) {
                return Err("a vCPU with budget waits beside an idle CPU");
            }
            let late = p.curr.filter(|_| p.running && !p.called);
            if late.is_some_and(|x| self.rows[x].deadline > r.deadline) {
                return Err("a vCPU waits though a less urgent one runs on a CPU of its");
            }
        }
        Ok(())
    }

    fn members_changed(&mut self) -> Kick {
        let members = self.cpus.members();
        self.queue.members_changed(&members);
        for c in members.iter() {
            let _ = self.call(c);
        }
        Kick(members)
    }
}

/// Whether `m` CPUs can serve loads that add up to `asked`, the largest being `largest`, in 1/1000 of a CPU.
fn fits(m: u64, asked: u64, largest: u64) -> Result<(), SchedError> {
    let available = (m * 1000).saturating_sub(m.saturating_sub(1) * largest);
    if asked > available {
        Err(SchedError::Inadmissible { asked, available })
    } else {
        Ok(())
    }
}

impl Scheduler for Rtds {
    fn alloc_pcpu(&mut self, cpu: CpuId) -> Result<(), SchedError> {
        self.cpus.alloc(cpu)?;
        self.planned.insert(cpu);
        Ok(())
    }

    fn forget_pcpu(&mut self, cpu: CpuId) {
        self.planned.remove(cpu);
    }

    fn admits(&self, gone: &CpuSet, wanted: &[(Ent, VcpuParams)]) -> Result<(), SchedError> {
        let loads = self.rows.iter().map(|(e, r)| {
            let new = wanted.iter().find(|w| w.0 == e);
            new.map_or(&r.promised, |w| &w.1.rt).load()
        });
        let (asked, largest) = loads.fold((0, 0), |(sum, max), l| (sum + l, max.max(l)));
        fits(self.planned.difference(gone).len() as u64, asked, largest)
    }

    fn promise(&mut self, e: Ent, p: &VcpuParams) {
        self.rows[e].promised = p.rt;
    }

    fn switch_sched(&mut self, cpu: CpuId, _now: Instant) -> Kick {
        self.cpus.join(cpu);
        self.members_changed()
    }

    fn free_pcpu(&mut self, cpu: CpuId, _now: Instant) -> Kick {
        self.planned.remove(cpu);
        let _ = self.answers(cpu);
        self.cpus.leave(cpu);
        self.members_changed()
    }

    fn alloc_vcpu(&mut self, tag: Tag, p: &VcpuParams) -> Result<Ent, SchedError> {
        p.check()?;
        self.admit(&[], 1, &p.rt)?;
        self.ends.reserve(self.rows.len() + 1)?;
        let class = self.queue.join(&p.affinity, &self.cpus.members())?;
        let row = Row {
            tag,
            class,
            rt: p.rt,
            promised: p.rt,
            inserted: false,
            runnable: false,
            on: None,
            last: None,
            expects: None,
            fresh: Link::default(),
            yielded: false,
            deadline: Instant(0),
            budget: 0,
            runtime: Span::ZERO,
        };
        let e = self
            .rows
            .alloc(row)
            .inspect_err(|_| self.queue.quit(class))?;
        if let Err(err) = self
            .queue
            .places
            .reserve(e)
            .and_then(|()| self.ends_at.reserve(e))
        {
            self.rows.free(e);
            self.queue.quit(class);
            return Err(err);
        }
        Ok(e)
    }

    fn free_vcpu(&mut self, e: Ent) {
        self.queue.quit(self.rows[e].class);
        self.rows.free(e);
    }

    fn insert(&mut self, e: Ent, runnable: bool, now: Instant) -> Kick {
        let r = &mut self.rows[e];
        r.inserted = true;
        // The first period begins with the first wake.
        r.deadline = if runnable { now + r.rt.period } else { now };
        r.budget = r.rt.budget.0 as i64;
        r.runnable = runnable;
        if !runnable {
            return Kick::NONE;
        }
        self.join_ends(e);
        self.enqueue(e)
    }

    fn remove(&mut self, e: Ent, _now: Instant) -> Kick {
        if self.queue.is_queued(e) {
            self.queue.remove(self.rows[e].class, e, false);
        }
        self.quit_ends(e);
        self.expects_none(e);
        let r = &mut self.rows[e];
        r.inserted = false;
        r.runnable = false;
        Kick::NONE
    }

    fn adjust_vcpu(&mut self, e: Ent, p: &VcpuParams, now: Instant) -> Result<Kick, SchedError> {
        self.adjust_vcpus(&[e], p, now)
    }

    /// What all of them ask for together is judged, unless it has been promised. The first gets the queue that the others then find.
    fn adjust_vcpus(
        &mut self,
        all: &[Ent],
        p: &VcpuParams,
        now: Instant,
    ) -> Result<Kick, SchedError> {
        p.check()?;
        if all.iter().any(|e| self.rows[*e].promised != p.rt) {
            self.admit(all, all.len(), &p.rt)?;
        }
        let mut kick = Kick::NONE;
        for e in all {
            kick = kick.and(self.set(*e, p, now)?);
        }
        Ok(kick)
    }

    fn adjust(&mut self, p: &SchedParams, _now: Instant) -> Result<(), SchedError> {
        p.check()
    }

    fn sleep(&mut self, e: Ent, now: Instant) {
        if self.queue.is_queued(e) {
            self.queue.remove(self.rows[e].class, e, false);
        } else if let Some(c) = self.rows[e].on
            && self.cpus[c].curr == Some(e)
        {
            self.account(c, now);
            // (It comes of its own accord.)
            self.cpus[c].called = true;
        }
        self.quit_ends(e);
        self.expects_none(e);
        self.rows[e].runnable = false;
    }

    fn wake(&mut self, e: Ent, _why: WakeReason, now: Instant) -> Kick {
        let r = &mut self.rows[e];
        if r.runnable || !r.inserted {
            return Kick::NONE;
        }
        r.runnable = true;
        if now >= r.deadline {
            r.deadline = now + r.rt.period;
            r.budget = r.rt.budget.0 as i64;
        }
        let (on, spent) = (r.on, r.budget <= 0);
        self.join_ends(e);
        match on {
            None if spent => self.awaits_period(e),
            None => self.enqueue(e),
            // (No `curr`: that CPU has tried a group that had nothing to run, and holds it still.)
            Some(c) if self.cpus[c].curr.is_none_or(|x| x == e) => {
                self.cpus[c].curr = Some(e);
                self.call(c)
            }
            Some(_) if spent => self.awaits_period(e),
            Some(_) => Kick::NONE,
        }
    }

    fn yield_now(&mut self, e: Ent, now: Instant) {
        // The budget is a promise, and whoever is more urgent runs anyway: only its equals are let go first.
        if let Some(c) = self.rows[e].on {
            self.account(c, now);
            self.rows[e].yielded = true;
            self.cpus[c].called |= self.cpus[c].curr == Some(e);
        }
    }

    fn pick_next(&mut self, cpu: CpuId, hint: GuestHint, now: Instant) -> Pick {
        self.cpus.idle.remove(cpu);
        let passed = self.answers(cpu);
        self.account(cpu, now);
        let mut kick = self.replenish(Some(cpu), now);
        let curr = self.cpus[cpu].curr;
        let ran = core::mem::replace(&mut self.cpus[cpu].running, false);
        let stay = curr.filter(|&c| {
            let r = &self.rows[c];
            r.runnable
                && r.budget > 0
                && !hint.must_idle
                && self.queue.allowed(r.class).contains(cpu)
        });
        let top = if hint.must_idle {
            None
        } else {
            self.queue.best(cpu).map(|h| h.ent)
        };
        let yielded = curr.is_some_and(|c| core::mem::take(&mut self.rows[c].yielded));
        let before = |t: Ent, c: Ent| {
            let (t, c) = (self.rows[t].deadline, self.rows[c].deadline);
            t < c || (yielded && t == c)
        };
        let next = match (stay, top) {
            (Some(c), Some(t)) if before(t, c) => Some(t),
            (Some(c), _) => Some(c),
            (None, t) => t,
        };
        let Some(n) = next else {
            if !hint.must_idle {
                self.cpus.idle.insert(cpu);
            }
            if let Some(e) = passed {
                kick = kick.and(self.place(e));
            }
            kick = kick.and(self.place_fresh());
            let until = self.due().filter(|_| !hint.must_idle);
            return Pick {
                next: None,
                until,
                kick,
                news: None,
                boosted: false,
            };
        };
        if self.queue.is_queued(n) {
            self.queue.remove(self.rows[n].class, n, false);
        }
        let other = self.rows[n].expects;
        self.expects_none(n);
        self.totals.switches += u64::from(curr != next || !ran);
        let r = &mut self.rows[n];
        r.on = Some(cpu);
        r.last = Some(cpu);
        let (tag, spent) = (r.tag, now + Span(r.budget.max(1) as u64));
        let p = &mut self.cpus[cpu];
        p.curr = next;
        p.running = true;
        p.counted = now;
        let until = self.due().map_or(spent, |end| spent.min(end));
        if let Some(e) = passed.filter(|e| self.queue.is_queued(*e)) {
            kick = kick.and(self.pass_on(e, other));
        }
        kick = kick.and(self.place_fresh());
        Pick {
            next: Some(tag),
            until: Some(until),
            kick,
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
        if self.rows[e].runnable {
            self.enqueue(e)
        } else {
            Kick::NONE
        }
    }

    fn has_work(&self, cpu: CpuId, now: Instant) -> bool {
        // A period that is over brings work.
        self.queue.best(cpu).is_some() || self.due().is_some_and(|end| end <= now)
    }

    fn serves(&self, e: Ent, now: Instant) -> bool {
        let r = &self.rows[e];
        r.budget > 0 || now >= r.deadline
    }

    fn due(&self) -> Option<Instant> {
        self.ends.top().map(|(_, key, _)| Instant(key as u64))
    }

    fn elapse(&mut self, now: Instant) -> Kick {
        let kick = self.replenish(None, now);
        kick.and(self.place_fresh())
    }

    fn gives_way(&self, cpu: CpuId) -> bool {
        let p = &self.cpus[cpu];
        match (p.curr.filter(|_| p.running), self.queue.best(cpu)) {
            (Some(x), Some(h)) => self.rows[h.ent].deadline < self.rows[x].deadline,
            _ => false,
        }
    }

    fn stats(&self, e: Ent) -> Stats {
        let r = &self.rows[e];
        Stats {
            runtime: r.runtime,
            credit: r.budget,
            ..Stats::default()
        }
    }

    fn totals(&self) -> Totals {
        self.totals
    }

    fn check(&self) -> Result<(), &'static str> {
        self.queue.check()?;
        self.ends.check(&self.ends_at)?;
        for (e, r) in self.rows.iter() {
            if r.runnable != self.ends_at.is_queued(e) {
                return Err("a runnable vCPU's period has no end");
            }
            let waits = r.runnable && r.on.is_none() && r.budget > 0;
            if waits != self.queue.is_queued(e) {
                return Err("a vCPU with budget does not wait, or one without does");
            }
            if let Some(c) = r.expects {
                let p = &self.cpus[c];
                if !p.called || p.whom != Some(e) || !self.cpus.members().contains(c) {
                    return Err("a vCPU expects a CPU that was not called for it");
                }
            } else if waits {
                self.check_urgent(r)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
