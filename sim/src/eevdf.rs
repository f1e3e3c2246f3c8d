//! A baseline: earliest eligible virtual deadline first (Stoica and Abdel-Wahab), as Linux has it since 6.6.
//!
//! Who has had no more than its due is eligible, and of those the one whose request of 3 ms is due first runs. The due is
//! counted in virtual time: a vCPU's own is what it has run over its weight, everybody's is the weighted mean of those that
//! want to run. Who sleeps keeps what it is owed or owes, up to two requests. One queue for all CPUs, searched from end to
//! end. Kept for comparison and for the published bound, which `tests/eevdf.rs` checks; not in the registry.

use tarn_abi::{CpuId, CpuSet, Instant, Span};
use tarn_pools::{GuestHint, Kick, SchedError, SchedParams, Stats, Totals, VcpuParams, WakeReason};
use tarn_sched::{Ent, Pick, Scheduler, Tag};

/// What is asked for at a time, ns.
pub const REQUEST: i128 = 3_000_000;
/// Virtual time of 1 ns at weight 1.
const UNIT: i128 = 1 << 32;

struct Row {
    tag: Tag,
    weight: i128,
    mask: CpuSet,
    inserted: bool,
    runnable: bool,
    yielded: bool,
    /// On a CPU or on its way off it.
    on: Option<CpuId>,
    last: Option<CpuId>,
    /// Its virtual time, and when its request is due.
    own: i128,
    due: i128,
    /// While it sleeps: what it is owed, ns x UNIT.
    lag: i128,
    runtime: Span,
}

#[derive(Clone, Copy, Default)]
struct Pcpu {
    curr: Option<Ent>,
    running: bool,
    counted: Instant,
    called: bool,
}

/// An instance.
#[derive(Default)]
pub struct Eevdf {
    rows: Vec<Row>,
    cpus: Vec<Pcpu>,
    members: CpuSet,
    idle: CpuSet,
    totals: Totals,
}

impl Eevdf {
    fn row(&mut self, e: Ent) -> &mut Row {
        &mut self.rows[e.index()]
    }

    fn allowed(&self, e: Ent) -> CpuSet {
        let m = self.rows[e.index()].mask.intersection(&self.members);
        if m.is_empty() { self.members } else { m }
    }

    /// Everybody's virtual time: the weighted mean of those that want to run, and their weight.
    fn mean(&self) -> (i128, i128) {
        let wanting = || self.rows.iter().filter(|r| r.inserted && r.runnable);
        let weight: i128 = wanting().map(|r| r.weight).sum();
        let Some(base) = wanting().map(|r| r.own).min() else {
            let last = self.rows.iter().map(|r| r.own).max();
            return (last.unwrap_or(0), 0);
        };
        let ahead: i128 = wanting().map(|r| (r.own - base) * r.weight).sum();
        (base + ahead.div_euclid(weight), weight)
    }

    fn burn(&mut self, now: Instant) {
        for p in &mut self.cpus {
            if let (Some(e), true) = (p.curr, p.running) {
                let dt = now.since(p.counted);
                p.counted = now;
                let r = &mut self.rows[e.index()];
                r.runtime += dt;
                r.own += i128::from(dt.0) * UNIT / r.weight;
            }
        }
    }

    /// `e` joins those that want to run, with what it is owed.
    fn join(&mut self, e: Ent) {
        let (mean, weight) = self.mean();
        let r = self.row(e);
        // Its own coming moves the mean towards it: so much further away it starts.
        let lag = if weight == 0 {
            0
        } else {
            r.lag * (weight + r.weight) / weight
        };
        r.own = mean - lag / r.weight;
        r.due = r.own + REQUEST * UNIT / r.weight;
        r.runnable = true;
    }

    /// `e`, joined, leaves them.
    fn part(&mut self, e: Ent) {
        let (mean, _) = self.mean();
        let r = self.row(e);
        let most = 2 * REQUEST * UNIT;
        r.lag = ((mean - r.own) * r.weight).clamp(-most, most);
        r.runnable = false;
        r.yielded = false;
    }

    /// The best of those that wait and, if it can go on, `stay`, for `cpu`.
    fn best(&self, stay: Option<Ent>, cpu: CpuId) -> Option<Ent> {
        let (mean, _) = self.mean();
        let all = (0..self.rows.len() as u32).map(Ent);
        let can = all.filter(|e| {
            let r = &self.rows[e.index()];
            let waits = r.inserted && r.runnable && r.on.is_none();
            Some(*e) == stay || waits && self.allowed(*e).contains(cpu)
        });
        can.min_by_key(|e| {
            let r = &self.rows[e.index()];
            // Nobody eligible is allowed here: the least ahead of its due.
            let early = r.own > mean;
            (early, if early { r.own } else { r.due }, Some(*e) != stay)
        })
    }

    fn place(&mut self, e: Ent, now: Instant) -> Kick {
        let allowed = self.allowed(e);
        let idle = self.idle.intersection(&allowed);
        let last = self.rows[e.index()].last.filter(|l| idle.contains(*l));
        if let Some(c) = last.or(idle.lowest()) {
            self.idle.remove(c);
            return Kick::one(c);
        }
        self.burn(now);
        let worst = self
            .members
            .intersection(&allowed)
            .iter()
            .filter(|c| !self.cpus[c.index()].called)
            .filter_map(|c| Some((c, self.cpus[c.index()].curr?)))
            .max_by_key(|(_, e)| self.rows[e.index()].due);
        match worst {
            Some((c, cur)) if self.best(Some(cur), c) == Some(e) => {
                self.cpus[c.index()].called = true;
                Kick::one(c)
            }
            _ => Kick::NONE,
        }
    }
}

impl Scheduler for Eevdf {
    fn alloc_pcpu(&mut self, cpu: CpuId) -> Result<(), SchedError> {
        let n = self.cpus.len().max(cpu.index() + 1);
        self.cpus.resize(n, Pcpu::default());
        Ok(())
    }
    fn switch_sched(&mut self, cpu: CpuId, _now: Instant) -> Kick {
        self.cpus[cpu.index()] = Pcpu::default();
        self.members.insert(cpu);
        Kick(self.members)
    }
    fn free_pcpu(&mut self, cpu: CpuId, _now: Instant) -> Kick {
        self.members.remove(cpu);
        self.idle.remove(cpu);
        Kick(self.members)
    }
    fn alloc_vcpu(&mut self, tag: Tag, p: &VcpuParams) -> Result<Ent, SchedError> {
        p.check()?;
        let e = Ent(self.rows.len() as u32);
        self.rows.push(Row {
            tag,
            weight: p.weight.into(),
            mask: p.affinity,
            inserted: false,
            runnable: false,
            yielded: false,
            on: None,
            last: None,
            own: 0,
            due: 0,
            lag: 0,
            runtime: Span::ZERO,
        });
        Ok(e)
    }
    fn free_vcpu(&mut self, _e: Ent) {}
    fn insert(&mut self, e: Ent, runnable: bool, now: Instant) -> Kick {
        self.burn(now);
        self.row(e).inserted = true;
        self.row(e).lag = 0;
        if !runnable {
            return Kick::NONE;
        }
        self.join(e);
        self.place(e, now)
    }
    fn remove(&mut self, e: Ent, now: Instant) -> Kick {
        self.burn(now);
        if self.row(e).runnable {
            self.part(e);
        }
        self.row(e).inserted = false;
        Kick::NONE
    }
    fn adjust_vcpu(&mut self, e: Ent, p: &VcpuParams, now: Instant) -> Result<Kick, SchedError> {
        p.check()?;
        self.burn(now);
        let wants = self.row(e).runnable;
        if wants {
            self.part(e);
        }
        let r = self.row(e);
        (r.weight, r.mask) = (p.weight.into(), p.affinity);
        if !wants {
            return Ok(Kick::NONE);
        }
        self.join(e);
        Ok(match self.row(e).on {
            Some(c) => Kick::one(c),
            None => self.place(e, now),
        })
    }
    fn adjust(&mut self, p: &SchedParams, _now: Instant) -> Result<(), SchedError> {
        p.check()
    }
    fn sleep(&mut self, e: Ent, now: Instant) {
        self.burn(now);
        if self.row(e).runnable {
            self.part(e);
        }
    }
    fn wake(&mut self, e: Ent, _why: WakeReason, now: Instant) -> Kick {
        let r = self.row(e);
        if r.runnable || !r.inserted {
            return Kick::NONE;
        }
        self.burn(now);
        self.join(e);
        let on = self.row(e).on;
        match on {
            None => self.place(e, now),
            // (No `curr`: that CPU has tried a group that had nothing to run, and holds it still.)
            Some(c) if self.cpus[c.index()].curr.is_none_or(|x| x == e) => {
                self.cpus[c.index()].curr = Some(e);
                self.idle.remove(c);
                Kick::one(c)
            }
            Some(_) => Kick::NONE,
        }
    }
    fn yield_now(&mut self, e: Ent, _now: Instant) {
        self.row(e).yielded = true;
    }
    fn pick_next(&mut self, cpu: CpuId, hint: GuestHint, now: Instant) -> Pick {
        self.idle.remove(cpu);
        self.burn(now);
        let Pcpu { curr, running, .. } = self.cpus[cpu.index()];
        if let Some(c) = curr {
            let r = self.row(c);
            // A request that is served, or given up, is followed by the next.
            if r.own >= r.due || core::mem::take(&mut r.yielded) {
                r.due = r.due.max(r.own) + REQUEST * UNIT / r.weight;
            }
        }
        let stay = curr.filter(|c| {
            !hint.must_idle && self.rows[c.index()].runnable && self.allowed(*c).contains(cpu)
        });
        let next = if hint.must_idle {
            None
        } else {
            self.best(stay, cpu)
        };
        let p = &mut self.cpus[cpu.index()];
        (p.running, p.called) = (next.is_some(), false);
        let mut pick = Pick {
            next: None,
            until: None,
            kick: Kick::NONE,
            news: None,
            boosted: false,
        };
        let Some(n) = next else {
            if !hint.must_idle {
                self.idle.insert(cpu);
            }
            return pick;
        };
        p.curr = next;
        p.counted = now;
        self.totals.switches += u64::from(curr != next || !running);
        let r = self.row(n);
        (r.on, r.last) = (Some(cpu), Some(cpu));
        // Up to when its request is served, rounded up: else the next decision would find a rest of nothing.
        let left = ((r.due - r.own) * r.weight).max(1);
        let left = (left + UNIT - 1) / UNIT;
        pick.next = Some(r.tag);
        pick.until = Some(now + Span(left.clamp(1, 2 * REQUEST) as u64));
        pick
    }
    fn context_saved(&mut self, e: Ent, now: Instant) -> Kick {
        if let Some(c) = self.row(e).on.take()
            && self.cpus[c.index()].curr == Some(e)
        {
            self.cpus[c.index()].curr = None;
        }
        if self.row(e).runnable {
            self.place(e, now)
        } else {
            Kick::NONE
        }
    }
    fn has_work(&self, _cpu: CpuId, _now: Instant) -> bool {
        self.rows
            .iter()
            .any(|r| r.inserted && r.runnable && r.on.is_none())
    }
    fn stats(&self, e: Ent) -> Stats {
        Stats {
            runtime: self.rows[e.index()].runtime,
            ..Stats::default()
        }
    }
    fn totals(&self) -> Totals {
        self.totals
    }
}
