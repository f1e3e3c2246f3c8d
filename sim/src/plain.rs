//! The baselines: credit2 as it is, without boosts, and the older credit, both from their published behaviour
//! (SCHEDULER.md 1.2 and 4.3).
//!
//! credit2: one queue sorted by credit, eager resets that touch everybody, debt forgiven below -10 ms, and a wake-up inside
//! another vCPU's rate limit disturbs nobody. credit: whoever runs when a tick comes, every 10 ms, pays for all of them;
//! every 30 ms credit is shared out by weight; who has some left is boosted when it wakes. One queue for all CPUs. Kept
//! for comparison of latency, fairness and cost; not in the registry.

use tarn_abi::{CpuId, CpuSet, Instant, Span};
use tarn_pools::{GuestHint, Kick, SchedError, SchedParams, Stats, Totals, VcpuParams, WakeReason};
use tarn_sched::{Ent, Pick, Scheduler, Tag};

const FLOOR: i64 = -10_000_000;
const TOLERANCE: Span = Span::us(50);
/// credit: who runs then pays for the whole of it.
const TICK: u64 = 10_000_000;
/// credit: the slice, how often credit is shared out, and the most that anybody keeps.
const TURN: u64 = 30_000_000;

struct Row {
    tag: Tag,
    weight: i64,
    mask: CpuSet,
    inserted: bool,
    runnable: bool,
    yielded: bool,
    queued: bool,
    on: Option<CpuId>,
    last: Option<CpuId>,
    credit: i64,
    residue: i64,
    runtime: Span,
    /// credit: woken with credit left, and no tick since.
    woken: bool,
}

#[derive(Default, Clone)]
struct Pcpu {
    member: bool,
    curr: Option<Ent>,
    running: bool,
    counted: Instant,
    began: Instant,
    tickled: bool,
}

/// An instance.
pub struct Plain {
    params: SchedParams,
    rows: Vec<Row>,
    cpus: Vec<Pcpu>,
    members: CpuSet,
    idle: CpuSet,
    queue: Vec<Ent>,
    heaviest: i64,
    totals: Totals,
    /// credit rather than credit2.
    sampled: bool,
    /// credit: how often it has been shared out.
    shared: u64,
}

impl Plain {
    /// credit2, without CPUs and vCPUs.
    pub fn new(p: &SchedParams) -> Self {
        Plain {
            sampled: false,
            shared: 0,
            params: *p,
            rows: Vec::new(),
            cpus: Vec::new(),
            members: CpuSet::EMPTY,
            idle: CpuSet::EMPTY,
            queue: Vec::new(),
            heaviest: 256,
            totals: Totals::default(),
        }
    }

    /// credit, which knew no rate limit, without CPUs and vCPUs.
    pub fn sampled(p: &SchedParams) -> Self {
        Plain {
            sampled: true,
            ..Plain::new(&SchedParams {
                ratelimit: Span::ZERO,
                ..*p
            })
        }
    }

    /// Who ranks higher goes first; equals in the order they came.
    fn rank(&self, e: Ent) -> i64 {
        let r = &self.rows[e.index()];
        match (self.sampled, r.credit >= 0) {
            (false, _) => r.credit,
            (true, true) => 1 + i64::from(r.woken),
            (true, false) => 0,
        }
    }

    /// credit: shares out what the CPUs can do until the next time, among those who want something.
    fn share_out(&mut self, now: Instant) {
        if now.0 / TURN <= self.shared {
            return;
        }
        self.shared = now.0 / TURN;
        for c in self.members.iter() {
            self.burn(c, now);
        }
        let wants = |r: &Row| r.inserted && r.runnable;
        let total: i64 = self
            .rows
            .iter()
            .filter(|r| wants(r))
            .map(|r| r.weight)
            .sum();
        let all = TURN as i64 * self.members.len() as i64;
        for r in self.rows.iter_mut().filter(|r| wants(r)) {
            let mine = all * r.weight / total.max(1);
            r.credit = (r.credit + mine).clamp(-(TURN as i64), TURN as i64);
            self.totals.touched += 1;
        }
        self.totals.resets += 1;
        let mut queue = core::mem::take(&mut self.queue);
        queue.sort_by_key(|e| -self.rank(*e));
        self.queue = queue;
    }

    fn allowed(&self, e: Ent) -> CpuSet {
        let m = self.rows[e.index()].mask.intersection(&self.members);
        if m.is_empty() { self.members } else { m }
    }

    fn weigh(&mut self) {
        self.heaviest = self
            .rows
            .iter()
            .filter(|r| r.inserted)
            .map(|r| r.weight)
            .max()
            .unwrap_or(256);
    }

    fn burn(&mut self, cpu: CpuId, now: Instant) {
        let p = &mut self.cpus[cpu.index()];
        let (Some(e), true) = (p.curr, p.running) else {
            return;
        };
        let dt = now.since(p.counted);
        let ticks = now.0 / TICK - p.counted.0 / TICK;
        p.counted = now;
        let r = &mut self.rows[e.index()];
        r.runtime += dt;
        if self.sampled {
            r.credit -= (ticks * TICK) as i64;
            r.woken &= ticks == 0;
            return;
        }
        let v = dt.0 as i64 * self.heaviest + r.residue;
        r.residue = v % r.weight;
        r.credit = (r.credit - v / r.weight).max(FLOOR);
    }

    fn enqueue(&mut self, e: Ent) {
        let rank = self.rank(e);
        let at = self
            .queue
            .iter()
            .position(|o| self.rank(*o) < rank)
            .unwrap_or(self.queue.len());
        self.queue.insert(at, e);
        self.rows[e.index()].queued = true;
    }

    fn dequeue(&mut self, e: Ent) {
        self.queue.retain(|o| *o != e);
        self.rows[e.index()].queued = false;
    }

    fn reset(&mut self, floor: bool, now: Instant) {
        for c in self.members.iter() {
            self.burn(c, now);
        }
        let grant = self.params.grant.0 as i64 * if floor { 2 } else { 1 };
        let most = (self.params.grant.0 + self.params.carry.0) as i64;
        for r in self.rows.iter_mut().filter(|r| r.inserted) {
            r.credit = (r.credit + grant).min(most);
            self.totals.touched += 1;
        }
        self.totals.resets += 1;
    }

    fn tickle(&mut self, e: Ent, now: Instant) -> Kick {
        let allowed = self.allowed(e);
        let last = self.rows[e.index()].last;
        let idle = self.idle.intersection(&allowed);
        if let Some(c) = last.filter(|l| idle.contains(*l)).or(idle.lowest()) {
            self.idle.remove(c);
            self.cpus[c.index()].tickled = true;
            return Kick::one(c);
        }
        let mut best: Option<(i64, CpuId)> = None;
        for c in self.members.intersection(&allowed).iter() {
            self.burn(c, now);
            let p = &self.cpus[c.index()];
            let Some(cur) = p.curr.filter(|_| p.running && !p.tickled) else {
                continue;
            };
            if now + TOLERANCE < p.began + self.params.ratelimit {
                continue;
            }
            let mut score = self.rank(e) - self.rank(cur);
            if last != Some(c) && !self.sampled {
                score -= self.params.resistance.0 as i64;
            }
            if score > 0 && best.is_none_or(|b| score > b.0) {
                best = Some((score, c));
            }
        }
        match best {
            Some((_, c)) => {
                self.cpus[c.index()].tickled = true;
                Kick::one(c)
            }
            None => Kick::NONE,
        }
    }
}

impl Scheduler for Plain {
    fn alloc_pcpu(&mut self, cpu: CpuId) -> Result<(), SchedError> {
        if self.cpus.len() <= cpu.index() {
            self.cpus.resize(cpu.index() + 1, Pcpu::default());
        }
        Ok(())
    }
    fn switch_sched(&mut self, cpu: CpuId, _now: Instant) -> Kick {
        self.cpus[cpu.index()] = Pcpu {
            member: true,
            ..Pcpu::default()
        };
        self.members.insert(cpu);
        Kick(self.members)
    }
    fn free_pcpu(&mut self, cpu: CpuId, _now: Instant) -> Kick {
        self.cpus[cpu.index()].member = false;
        self.members.remove(cpu);
        self.idle.remove(cpu);
        Kick(self.members)
    }
    fn alloc_vcpu(&mut self, tag: Tag, p: &VcpuParams) -> Result<Ent, SchedError> {
        p.check()?;
        self.rows.push(Row {
            tag,
            weight: p.weight.into(),
            mask: p.affinity,
            inserted: false,
            runnable: false,
            yielded: false,
            queued: false,
            on: None,
            last: None,
            credit: 0,
            residue: 0,
            runtime: Span::ZERO,
            woken: false,
        });
        Ok(Ent(self.rows.len() as u32 - 1))
    }
    fn free_vcpu(&mut self, _e: Ent) {}
    fn insert(&mut self, e: Ent, runnable: bool, now: Instant) -> Kick {
        let r = &mut self.rows[e.index()];
        r.inserted = true;
        r.runnable = runnable;
        r.credit = self.params.grant.0 as i64;
        self.weigh();
        if !runnable {
            return Kick::NONE;
        }
        self.enqueue(e);
        self.tickle(e, now)
    }
    fn remove(&mut self, e: Ent, _now: Instant) -> Kick {
        self.dequeue(e);
        self.rows[e.index()].inserted = false;
        self.rows[e.index()].runnable = false;
        self.weigh();
        Kick::NONE
    }
    fn adjust_vcpu(&mut self, e: Ent, p: &VcpuParams, now: Instant) -> Result<Kick, SchedError> {
        p.check()?;
        self.rows[e.index()].weight = p.weight.into();
        self.rows[e.index()].mask = p.affinity;
        self.weigh();
        if self.rows[e.index()].queued {
            return Ok(self.tickle(e, now));
        }
        Ok(self.rows[e.index()].on.map_or(Kick::NONE, Kick::one))
    }
    fn adjust(&mut self, p: &SchedParams, _now: Instant) -> Result<(), SchedError> {
        p.check()?;
        self.params = *p;
        Ok(())
    }
    fn sleep(&mut self, e: Ent, _now: Instant) {
        self.dequeue(e);
        self.rows[e.index()].runnable = false;
        self.rows[e.index()].yielded = false;
    }
    fn wake(&mut self, e: Ent, _why: WakeReason, now: Instant) -> Kick {
        let r = &mut self.rows[e.index()];
        if r.runnable || !r.inserted {
            return Kick::NONE;
        }
        r.runnable = true;
        r.woken = true;
        match r.on {
            None => {
                self.enqueue(e);
                self.tickle(e, now)
            }
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
        self.rows[e.index()].yielded = true;
    }
    fn pick_next(&mut self, cpu: CpuId, hint: GuestHint, now: Instant) -> Pick {
        self.idle.remove(cpu);
        self.burn(cpu, now);
        if self.sampled {
            self.share_out(now);
        }
        let i = cpu.index();
        self.cpus[i].tickled = false;
        let (curr, ran) = (self.cpus[i].curr, self.cpus[i].running);
        let yielded = curr.is_some_and(|c| core::mem::take(&mut self.rows[c.index()].yielded));
        let stay = curr.filter(|c| {
            !hint.must_idle && self.rows[c.index()].runnable && self.allowed(*c).contains(cpu)
        });
        let limited = ran && now < self.cpus[i].began + self.params.ratelimit;
        let mut next = stay;
        let held = stay.is_some() && limited && !yielded;
        let turned = self.sampled && now.0 >= self.cpus[i].began.0 + TURN;
        if !hint.must_idle && !held {
            for &e in &self.queue {
                let r = &self.rows[e.index()];
                let (mine, theirs) = (next.map_or(i64::MIN, |c| self.rank(c)), self.rank(e));
                if !yielded && (theirs < mine || theirs == mine && !turned) {
                    break;
                }
                if !self.allowed(e).contains(cpu) {
                    continue;
                }
                let away = r.last.is_some_and(|l| l != cpu);
                let near = theirs.saturating_sub(mine) < self.params.resistance.0 as i64;
                if next.is_some() && away && near && !self.sampled {
                    continue;
                }
                next = Some(e);
                break;
            }
        }
        self.cpus[i].running = false;
        let Some(n) = next else {
            if !hint.must_idle {
                self.idle.insert(cpu);
            }
            return Pick {
                next: None,
                until: None,
                kick: Kick::NONE,
                news: None,
                boosted: false,
            };
        };
        if self.rows[n.index()].queued {
            self.dequeue(n);
        }
        let own = self.rows[n.index()].credit;
        let head = self.queue.first().map(|h| self.rows[h.index()].credit);
        if !self.sampled && own.max(head.unwrap_or(i64::MIN)) <= 0 {
            self.reset(own <= FLOOR, now);
        }
        let p = &mut self.cpus[i];
        if curr != next || !ran || turned {
            p.began = now;
            self.totals.switches += 1;
        }
        p.counted = now;
        p.curr = next;
        p.running = true;
        let limit = (p.began + self.params.ratelimit).since(now);
        let r = &mut self.rows[n.index()];
        r.on = Some(cpu);
        r.last = Some(cpu);
        let (own, weight, tag) = (r.credit, r.weight, r.tag);
        let put_back = stay.filter(|c| *c != n);
        let rival = self.queue.first().copied().into_iter().chain(put_back);
        let rival = rival.map(|h| self.rows[h.index()].credit).max();
        let gap = rival.map_or(own, |c| (own - c).min(own)).max(0);
        let t = Span((gap * weight / self.heaviest) as u64);
        let least = if limit == Span::ZERO {
            self.params.min_slice
        } else {
            limit
        };
        let mut until = now + t.max(least).min(self.params.max_slice.max(least));
        if self.sampled {
            let tick = Instant((now.0 / TICK + 1) * TICK);
            let turn = self.cpus[i].began + Span(TURN);
            until = if turn > now { tick.min(turn) } else { tick };
        }
        Pick {
            next: Some(tag),
            until: Some(until),
            kick: Kick::NONE,
            news: None,
            boosted: false,
        }
    }
    fn context_saved(&mut self, e: Ent, now: Instant) -> Kick {
        if let Some(c) = self.rows[e.index()].on.take()
            && self.cpus[c.index()].curr == Some(e)
        {
            self.cpus[c.index()].curr = None;
        }
        if !self.rows[e.index()].runnable {
            return Kick::NONE;
        }
        self.enqueue(e);
        self.tickle(e, now)
    }
    fn has_work(&self, _cpu: CpuId, _now: Instant) -> bool {
        !self.queue.is_empty()
    }
    fn stats(&self, e: Ent) -> Stats {
        let r = &self.rows[e.index()];
        Stats {
            runtime: r.runtime,
            credit: r.credit,
            ..Stats::default()
        }
    }
    fn totals(&self) -> Totals {
        self.totals
    }
}
