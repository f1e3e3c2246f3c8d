//! credit2 with boost buckets: the runnable vCPU with the highest credit runs, boosted ones before it (docs/adr/0015).
//!
//! Everybody is granted the same credit and burns it in relation to its weight; when the best has none left, all are
//! granted again and carry a little over. Part of a grant lies in a boost bucket that can be spent to run at once when an
//! interrupt comes. No operation touches every vCPU: the queue is ordered by what has been consumed on an absolute axis, so
//! a reset moves no key. This file reads like the list of events; `credit.rs` has the arithmetic, `boost.rs` the boosts,
//! `kick.rs` whom to disturb, `queue.rs` the order.

mod boost;
mod choose;
mod credit;
mod crowd;
mod doze;
mod entity;
mod kick;
#[cfg(test)]
mod soft;
#[cfg(test)]
mod tests;

use self::crowd::Crowd;
use self::entity::{Boost, Pcpu, Row};
use crate::cpus::Cpus;
use crate::error::SchedError;
use crate::mutant::{Mutant, broken};
use crate::params::{SchedParams, VcpuParams};
use crate::queue::Queue;
use crate::scheduler::{
    BoostCause, DeboostCause, Ent, GuestHint, Kick, News, Pick, Scheduler, Stats, Tag, Totals,
    WakeReason,
};
use crate::slab::Slab;
use alloc::vec::Vec;
use tarn_abi::{CpuId, CpuSet, Instant, Span};

/// Who waits without hurry lets another run for so many rate limits.
const PATIENCE: u64 = 6;

/// No timer is set for less: the last of a boost may be overrun by so much.
const SHORTEST: Span = Span::us(1);

/// An instance.
pub(crate) struct Credit2 {
    params: SchedParams,
    /// Credit granted to everybody so far, and how often.
    granted: i64,
    epoch: u64,
    /// One grant, most carried over, and how far ahead a vCPU must be to move, at the heaviest weight there is.
    grant: i64,
    carry: i64,
    resistance: i64,
    heaviest: u32,
    /// How many have that weight.
    heavy: u32,
    rows: Slab<Row>,
    cpus: Cpus<Pcpu>,
    queue: Queue,
    /// How many wait without being in the queue yet.
    put_back: u32,
    /// Who has been queued with a boost bucket not full since the last reset.
    burned: Vec<Ent>,
    totals: Totals,
    /// How much of what is run goes to those who are boosted, or would be.
    crowd: Crowd,
    /// Not told yet.
    news: Option<(Tag, News)>,
}

impl Credit2 {
    pub(crate) fn new(p: &SchedParams) -> Self {
        let mut s = Credit2 {
            params: *p,
            granted: 0,
            epoch: 0,
            grant: 1,
            carry: 0,
            resistance: 0,
            heaviest: 256,
            heavy: 0,
            rows: Slab::new(),
            cpus: Cpus::new(),
            queue: Queue::default(),
            put_back: 0,
            burned: Vec::new(),
            totals: Totals::default(),
            crowd: Crowd::default(),
            news: None,
        };
        s.resize();
        s
    }

    fn allowed(&self, e: Ent) -> &CpuSet {
        self.queue.allowed(self.rows[e].class)
    }

    /// Where it would rather be.
    fn near(&self, e: Ent) -> &CpuSet {
        self.queue.near(self.rows[e].class)
    }

    /// Puts `e` where its state says. If boosted it waits since then.
    fn enqueue(&mut self, e: Ent, since: Instant) {
        let r = &mut self.rows[e];
        if r.b < r.cap && !r.burned {
            r.burned = true;
            self.burned.push(e);
        }
        if r.is_boosted() && !broken(Mutant::BoostIgnored) {
            r.since = since;
            self.queue.insert_boosted(r.class, e, r.rank());
        } else {
            self.queue.insert_normal(r.class, e, r.consumed);
        }
    }

    fn dequeue(&mut self, e: Ent) {
        let r = &self.rows[e];
        let boosted = r.is_boosted() && !broken(Mutant::BoostIgnored);
        self.queue.remove(r.class, e, boosted);
    }

    /// If `e` is boosted it waits since then.
    fn enqueue_and_place(&mut self, e: Ent, since: Instant, now: Instant) -> Kick {
        let mut kick = Kick::NONE;
        if self.queue.is_empty()
            && self.put_back == 0
            && self.cpus.idle.intersection(self.allowed(e)).is_empty()
        {
            kick = self.catch_up(now);
            self.touch(e, now);
        }
        self.enqueue(e, since);
        kick.and(self.place(e, now))
    }

    fn members_changed(&mut self) -> Kick {
        let members = self.cpus.members();
        self.queue.members_changed(&members);
        // Those that run where they may no longer, and those that wait, find their place.
        Kick(members)
    }
}

impl Scheduler for Credit2 {
    fn alloc_pcpu(&mut self, cpu: CpuId) -> Result<(), SchedError> {
        self.cpus.alloc(cpu)
    }

    fn switch_sched(&mut self, cpu: CpuId, _now: Instant) -> Kick {
        self.cpus.join(cpu);
        self.members_changed().and(Kick::one(cpu))
    }

    fn set_capacity(&mut self, cpu: CpuId, capacity: u16) {
        self.cpus[cpu].capacity = capacity.clamp(1, 1024);
    }

    fn set_supply(&mut self, cpus: u16) {
        self.crowd.supply = Some(cpus);
    }

    fn free_pcpu(&mut self, cpu: CpuId, _now: Instant) -> Kick {
        self.cpus.leave(cpu);
        self.members_changed()
    }

    fn alloc_vcpu(&mut self, tag: Tag, p: &VcpuParams) -> Result<Ent, SchedError> {
        p.check()?;
        self.burned
            .try_reserve(self.rows.len() + 1)
            .map_err(|_| SchedError::NoMemory)?;
        let class = self
            .queue
            .join_near(&p.affinity, &p.soft, &self.cpus.members())?;
        let e = match self.rows.alloc(Row::new(tag, p, class)) {
            Ok(e) => e,
            Err(err) => {
                self.queue.quit(class);
                return Err(err);
            }
        };
        if let Err(err) = self.queue.places.reserve(e) {
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
        self.weigh_in(self.rows[e].weight);
        self.endow(e, now);
        let r = &mut self.rows[e];
        r.inserted = true;
        r.runnable = runnable;
        if runnable {
            self.enqueue_and_place(e, now, now)
        } else {
            Kick::NONE
        }
    }

    fn remove(&mut self, e: Ent, _now: Instant) -> Kick {
        if self.queue.is_queued(e) {
            self.dequeue(e);
        }
        if core::mem::take(&mut self.rows[e].burned) {
            self.burned.retain(|b| *b != e);
        }
        let r = &mut self.rows[e];
        r.runnable = false;
        r.boost = Boost::No;
        if core::mem::take(&mut r.inserted) {
            let weight = r.weight;
            self.weigh_out(weight);
        }
        Kick::NONE
    }

    fn adjust_vcpu(&mut self, e: Ent, p: &VcpuParams, now: Instant) -> Result<Kick, SchedError> {
        p.check()?;
        let new = self
            .queue
            .join_near(&p.affinity, &p.soft, &self.cpus.members())?;
        if let Some(c) = self.rows[e].on {
            self.account(c, now);
        }
        let queued = self.queue.is_queued(e);
        if queued {
            self.dequeue(e);
        }
        self.touch(e, now);
        self.queue.quit(self.rows[e].class);
        let r = &mut self.rows[e];
        r.class = new;
        r.params = p.boost;
        r.cap_of = -1;
        let (old, inserted) = (r.weight, r.inserted);
        r.set_weight(p.weight);
        if inserted && old != p.weight {
            self.weigh_in(p.weight);
            self.weigh_out(old);
        }
        if queued {
            let since = self.rows[e].since;
            return Ok(self.enqueue_and_place(e, since, now));
        }
        Ok(match self.rows[e].on {
            Some(c) => Kick::one(c),
            None => Kick::NONE,
        })
    }

    fn adjust(&mut self, p: &SchedParams, _now: Instant) -> Result<(), SchedError> {
        p.check()?;
        self.params = *p;
        self.resize();
        for r in self.rows.iter_mut() {
            r.cap_of = -1;
        }
        Ok(())
    }

    fn sleep(&mut self, e: Ent, now: Instant) {
        if self.queue.is_queued(e) {
            self.dequeue(e);
        } else if let Some(c) = self.rows[e].on
            && self.cpus[c].curr == Some(e)
        {
            self.account(c, now);
        }
        self.end_boost(e, 5);
        let r = &mut self.rows[e];
        r.runnable = false;
        r.yielded = false;
        r.calm();
    }

    fn wake(&mut self, e: Ent, why: WakeReason, now: Instant) -> Kick {
        let r = &mut self.rows[e];
        if r.runnable || !r.inserted {
            return Kick::NONE;
        }
        r.runnable = true;
        self.touch(e, now);
        let worth = self.woken(e, why, now);
        let on = self.rows[e].on;
        if let Some(c) = on.filter(|c| self.cpus[*c].curr.is_none()) {
            // Its CPU has tried a group that had nothing to run, and holds it still.
            self.cpus[c].curr = Some(e);
        }
        let here = on.filter(|c| self.cpus[*c].curr == Some(e));
        let idle = match here {
            Some(c) => !self.contended(c),
            None => !self.cpus.idle.intersection(self.allowed(e)).is_empty(),
        };
        self.interrupted(e, worth, idle);
        match (on, here) {
            (None, _) => self.enqueue_and_place(e, now, now),
            (_, Some(_)) if broken(Mutant::WakeLost) => Kick::NONE,
            (_, Some(c)) => {
                self.rows[e].since = now;
                self.cpus.idle.remove(c);
                Kick::one(c)
            }
            // Being saved elsewhere: `context_saved` finds it a place.
            (Some(_), None) => Kick::NONE,
        }
    }

    fn doze(&mut self, e: Ent, cpu: CpuId, now: Instant) -> bool {
        self.dozes(e, cpu, now)
    }

    fn rouse(&mut self, e: Ent, cpu: CpuId, why: WakeReason, now: Instant) -> bool {
        self.rouses(e, cpu, why, now)
    }

    fn notify(&mut self, e: Ent, why: WakeReason, now: Instant) -> Kick {
        let worth = self.worth(e, why, now).unwrap_or(0);
        if worth == 0 {
            return Kick::NONE;
        }
        if let Some(c) = self.rows[e].on {
            self.interrupted_on(e, c, worth, now);
            return Kick::NONE;
        }
        if !self.queue.is_queued(e) {
            return Kick::NONE;
        }
        if self.rows[e].is_boosted() {
            self.interrupted(e, worth, false);
            return Kick::NONE;
        }
        self.dequeue(e);
        self.touch(e, now);
        self.interrupted(e, worth, false);
        self.enqueue(e, now);
        if self.rows[e].is_boosted() {
            self.place(e, now)
        } else {
            Kick::NONE
        }
    }

    fn yield_now(&mut self, e: Ent, now: Instant) {
        let r = &self.rows[e];
        if let Some(c) = r.on
            && self.cpus[c].curr == Some(e)
        {
            // Else nothing that is forgotten here has a part in what it has used; the pick that follows accounts it.
            if r.is_boosted() || r.claim != 0 {
                self.account(c, now);
                self.end_boost(e, 5);
            }
            let r = &mut self.rows[e];
            r.yielded = true;
            r.calm();
        }
    }

    fn pick_next(&mut self, cpu: CpuId, hint: GuestHint, now: Instant) -> Pick {
        self.cpus.idle.remove(cpu);
        let called = self.cpus[cpu].promised.take();
        let curr = self.cpus[cpu].curr;
        let ran = self.cpus[cpu].running;
        let (mut stay, mut yielded) = (None, false);
        // While nobody waited for this CPU it was free: `account` wants to know.
        self.account(cpu, now);
        self.cpus.tickless.remove(cpu);
        if let Some(c) = curr {
            self.touch(c, now);
            let allowed = self.allowed(c).contains(cpu);
            let r = &mut self.rows[c];
            yielded = core::mem::take(&mut r.yielded);
            if ran {
                r.enlightened = hint.enlightened;
            }
            if r.runnable && !hint.must_idle {
                if ran {
                    self.expire(c, &hint);
                }
                let leaves = self.goes_home_at(c, cpu).is_some_and(|at| at <= now);
                stay = Some(c).filter(|_| allowed && !leaves);
            }
        }
        let mut kick = Kick::NONE;
        let mut next = if hint.must_idle {
            None
        } else {
            self.choose(stay, ran, yielded, cpu, &hint, now)
        };
        if let Some(n) = next
            && !self.rows[n].is_boosted()
            && (!self.queue.is_empty() || stay.is_some_and(|c| c != n))
        {
            // The best there is, queued or chosen, has no credit left: grant anew.
            let mut least = self.rows[n].consumed;
            if let Some(l) = self.queue.least_normal()
                && l.wrapping_sub(least) < 0
            {
                least = l;
            }
            let times = self.resets_for(self.granted.wrapping_sub(least));
            if times != 0 {
                kick = self.reset(times, now);
                if self.queue.any_boosted() {
                    next = self.choose(stay, ran, yielded, cpu, &hint, now);
                }
            }
        }
        self.cpus[cpu].running = false;
        if let Some(c) = curr
            && next != curr
            && self.rows[c].runnable
        {
            self.rows[c].put_back = true;
            self.rows[c].patient = true;
            self.put_back += 1;
        }
        let news = self.news.take();
        let Some(n) = next else {
            self.cpus[cpu].until = None;
            if !hint.must_idle {
                self.cpus.idle.insert(cpu);
                kick = kick.and(self.leftovers(cpu, called, now));
                kick = kick.and(self.astray(cpu).map_or(Kick::NONE, Kick::one));
            }
            return Pick {
                next: None,
                until: None,
                kick,
                news,
                boosted: false,
            };
        };
        if self.queue.is_queued(n) {
            self.dequeue(n);
            self.touch(n, now);
        }
        if curr != next || !ran {
            let cost = self.params.switch_cost;
            let r = &mut self.rows[n];
            r.deferred = false;
            if r.is_boosted() && !broken(Mutant::SwitchEats) {
                r.left = r.left.saturating_add_unsigned(cost.0);
            }
            let p = &mut self.cpus[cpu];
            p.began = now;
            p.came = now;
            p.counted = now;
            self.totals.switches += 1;
        }
        let r = &mut self.rows[n];
        r.storm_goes_on(now);
        r.refused = 0;
        r.on = Some(cpu);
        r.last = Some(cpu);
        let (tag, boosted) = (r.tag, r.is_boosted());
        let p = &mut self.cpus[cpu];
        p.curr = next;
        p.running = true;
        let before = p.until;
        let mut until = self.slice(n, stay.filter(|c| *c != n), cpu, now);
        if ran
            && curr == next
            && let Some(t) = self.unhurried(n, cpu, now)
        {
            // What was due before those came who can wait is still due.
            until = Some(before.filter(|b| *b > now).map_or(t, |b| b.min(t)));
        }
        if until.is_none() {
            self.cpus.tickless.insert(cpu);
        }
        if let Some(home) = self.goes_home_at(n, cpu) {
            until = Some(until.map_or(home, |u| u.min(home)));
        }
        self.cpus[cpu].until = until;
        kick = kick.and(self.leftovers(cpu, called, now));
        Pick {
            next: Some(tag),
            until,
            kick,
            news,
            boosted,
        }
    }

    fn context_saved(&mut self, e: Ent, now: Instant) -> Kick {
        let r = &mut self.rows[e];
        let (from, put_back) = (r.on.take(), core::mem::take(&mut r.put_back));
        let runnable = r.runnable;
        if let Some(c) = from
            && self.cpus[c].curr == Some(e)
        {
            self.cpus[c].curr = None;
        }
        if put_back {
            self.put_back -= 1;
        }
        if !runnable {
            return Kick::NONE;
        }
        self.touch(e, now);
        let r = &self.rows[e];
        if r.is_boosted() && r.left <= 0 {
            self.end_boost(e, 1);
        }
        if put_back {
            self.enqueue(e, now);
            // The CPU that has put it back knows of it: its timer is set for when it is due again.
            if !self.rows[e].is_boosted() && self.cpus.only(from) {
                return Kick::NONE;
            }
            self.place_saved(e, from, now)
        } else {
            self.enqueue_and_place(e, now, now)
        }
    }

    fn boost(&mut self, e: Ent, why: BoostCause, now: Instant) -> Kick {
        let applies = matches!(why, BoostCause::Interrupt | BoostCause::Regular);
        // (A processor that sleeps may still be on the CPU that holds its registers.)
        if !self.params.boost || !applies || !self.rows[e].runnable {
            return Kick::NONE;
        }
        let worth = self.worth_of_processor(e, why, now);
        if let Some(c) = self.rows[e].on {
            self.interrupted_on(e, c, worth, now);
            return Kick::NONE;
        }
        if self.rows[e].is_boosted() {
            self.interrupted(e, worth, false);
            return Kick::NONE;
        }
        let queued = self.queue.is_queued(e);
        if queued {
            self.dequeue(e);
        }
        self.touch(e, now);
        self.interrupted(e, worth, false);
        if !queued {
            return Kick::NONE;
        }
        self.enqueue(e, now);
        if self.rows[e].is_boosted() {
            self.place(e, now)
        } else {
            Kick::NONE
        }
    }

    fn deboost(&mut self, e: Ent, why: DeboostCause, now: Instant) -> Kick {
        let queued = self.queue.is_queued(e);
        let on = self.rows[e].on;
        if let Some(c) = on {
            self.account(c, now);
        }
        if queued {
            self.dequeue(e);
        }
        let over = self.told(e, why);
        if queued {
            let since = self.rows[e].since;
            self.enqueue(e, since);
        }
        match on {
            Some(c) if over => Kick::one(c),
            _ => Kick::NONE,
        }
    }

    fn has_work(&self, cpu: CpuId, _now: Instant) -> bool {
        self.contended(cpu)
    }

    fn is_boosted(&self, e: Ent) -> bool {
        self.rows[e].is_boosted()
    }

    fn is_regular(&self, e: Ent) -> bool {
        self.rows[e].regular
    }

    fn is_armed(&self, e: Ent) -> bool {
        self.rows[e].armed > 0
    }

    fn urgent(&self, cpu: CpuId) -> bool {
        let p = &self.cpus[cpu];
        p.running
            && p.curr.is_some_and(|e| {
                let r = &self.rows[e];
                r.is_boosted() || r.armed > 0
            })
    }

    fn boosted_wait(&self) -> bool {
        self.queue.any_boosted()
    }

    fn boosted_first(&self, cpu: CpuId) -> bool {
        self.queue.best(cpu).is_some_and(|h| h.boosted)
    }

    fn charge(&mut self, e: Ent, cost: Span, _now: Instant) {
        self.pay(e, cost);
    }

    fn refund(&mut self, e: Ent, cost: Span, _now: Instant) {
        self.give_back(e, cost);
    }

    fn stats(&self, e: Ent) -> Stats {
        let r = &self.rows[e];
        Stats {
            credit: self.credit(r),
            boost_credit: r.b,
            ..r.stats
        }
    }

    fn totals(&self) -> Totals {
        self.totals
    }

    fn check(&self) -> Result<(), &'static str> {
        self.queue.check()?;
        let mut queued = 0;
        for (e, r) in self.rows.iter() {
            queued += usize::from(self.queue.is_queued(e));
            if self.queue.is_queued(e) && (r.on.is_some() || !r.runnable) {
                return Err("queued while on a CPU or asleep");
            }
            if r.runnable && r.on.is_none() && !self.queue.is_queued(e) {
                return Err("runnable and in no place");
            }
            if r.seen == self.epoch && r.cap_of == self.grant {
                if r.b > r.cap {
                    return Err("more boost credit than its cap");
                }
                if self.credit(r) > self.grant + self.carry {
                    return Err("more credit than a grant and the carry-over");
                }
            }
        }
        for c in self.cpus.members().iter() {
            let p = &self.cpus[c];
            if p.running
                && p.until.is_none()
                && !self.cpus.tickless.contains(c)
                && p.promised.is_none()
                && self.contended(c)
            {
                // It has been kicked to arm its timer.
                continue;
            }
            if self.cpus.idle.contains(c) && p.running {
                return Err("idle and running");
            }
        }
        if queued != self.queue.len() {
            Err("the queue is miscounted")
        } else {
            Ok(())
        }
    }
}
