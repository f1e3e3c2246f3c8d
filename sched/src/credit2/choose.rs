//! Who runs next on a CPU and for how long: the order of the queue, the rate limit, the resistance against moving.
//!
//! Must never change a credit. Neighbours: `mod.rs` asks at every decision, `boost.rs` may let one stay that would go.

use super::{Credit2, PATIENCE, SHORTEST};
use crate::mutant::{Mutant, broken};
use crate::queue::Head;
use crate::scheduler::{Ent, GuestHint};
use tarn_abi::{CpuId, Instant, Span};

/// Who has come onto a CPU stays for so long, boosted or not, however many wait: long enough for a handler and its answer to
/// begin, and much longer than a switch takes. Else who is put on it for having waited would have to leave again at once for
/// who was put off it with more boost credit.
const LEAST_TURN: Span = Span::us(50);

impl Credit2 {
    /// For how long who has been put on a CPU is not put off it by others that are not boosted. Without a rate limit, too, it
    /// is a multiple of a switch: a CPU that comes by for some other reason, as to set a group's timer, would else change
    /// places each time, and those changes may be what calls it again.
    pub(super) fn ratelimit(&self) -> Span {
        self.params.ratelimit.max(LEAST_TURN)
    }

    /// Whether the vCPU `c` that runs on `cpu` gives way to the waiter `t`. May boost `c` to let it stay.
    pub(super) fn gives_way(
        &mut self,
        c: Ent,
        t: Head,
        cpu: CpuId,
        hint: &GuestHint,
        now: Instant,
    ) -> bool {
        if t.boosted {
            if !self.rows[c].is_boosted() && !self.rescue(c, hint) {
                return true;
            }
            if self.turn(c, t.ent, cpu) <= now {
                return true;
            }
            return self.rows[c].left <= 0 && self.renew(c, Some(t.ent));
        }
        if self.rows[c].is_boosted() {
            if self.rows[c].left <= 0 {
                self.renew(c, None);
            }
            return false;
        }
        if self.cpus[cpu].limited(self.ratelimit(), now) {
            return false;
        }
        let (mine, theirs) = (&self.rows[c], &self.rows[t.ent]);
        let lead = mine.consumed.wrapping_sub(theirs.consumed);
        let need = self.reluctance(t.ent, cpu);
        // Equals take turns, but not before the one there has had a turn: else they could change places for ever at once.
        let turn = now >= self.cpus[cpu].began + self.params.min_slice;
        (lead > need || (lead == need && turn)) && !self.rescue(c, hint)
    }

    /// Up to when the boosted `e` on `cpu` goes before `first`, the first of the boosted who wait: not at all if that one has
    /// more boost credit by an interval; else an interval after it came, and if more wait for this CPU than one that part of
    /// it, so that the last of them, too, has its turn in time.
    pub(super) fn turn(&self, e: Ent, first: Ent, cpu: CpuId) -> Instant {
        let waiting = self.queue.boosted_load(cpu, None);
        self.turn_among(e, first, self.rows[first].since, waiting, cpu)
    }

    /// The same with `first` waiting since then, among so many, in 1/1024.
    fn turn_among(&self, e: Ent, first: Ent, since: Instant, waiting: u64, cpu: CpuId) -> Instant {
        let least = self.cpus[cpu].came + LEAST_TURN;
        let (mine, theirs) = (&self.rows[e], &self.rows[first]);
        let interval = mine.params.interval.0;
        let (margin, _) = mine.price(interval);
        if theirs.b > mine.b.saturating_add(margin) {
            return least;
        }
        if broken(Mutant::TurnEndless) {
            return Instant(u64::MAX);
        }
        let part = interval.saturating_mul(1024) / waiting.max(1024);
        least.max(since + Span(part))
    }

    /// Whether `a` ranks before `b`, neither running.
    pub(super) fn ranks_before(&self, a: Ent, b: Ent) -> bool {
        let (a, b) = (&self.rows[a], &self.rows[b]);
        match (a.is_boosted(), b.is_boosted()) {
            (true, true) => a.rank().wrapping_sub(b.rank()) < 0,
            (false, false) => a.consumed.wrapping_sub(b.consumed) < 0,
            (a, _) => a,
        }
    }

    /// Who runs on `cpu` next, `stay` being the one there if it can go on.
    pub(super) fn choose(
        &mut self,
        stay: Option<Ent>,
        ran: bool,
        yielded: bool,
        cpu: CpuId,
        hint: &GuestHint,
        now: Instant,
    ) -> Option<Ent> {
        let (c, t) = match (stay, self.queue.best(cpu)) {
            (None, t) => return t.map(|t| t.ent),
            (Some(c), None) => return Some(c),
            (Some(c), Some(t)) => (c, t),
        };
        let switch = if !ran {
            self.ranks_before(t.ent, c)
        } else {
            yielded || self.gives_way(c, t, cpu, hint, now)
        };
        Some(if switch { t.ent } else { c })
    }

    /// When `cpu`, which runs `e` from now on, must come by; `put_back` is who had to leave for it.
    pub(super) fn slice(
        &self,
        e: Ent,
        put_back: Option<Ent>,
        cpu: CpuId,
        now: Instant,
    ) -> Option<Instant> {
        if broken(Mutant::TimerForgotten) {
            return None;
        }
        let r = &self.rows[e];
        let waiter = self.queue.best(cpu);
        if waiter.is_none() && put_back.is_none() {
            return None;
        }
        let p = &self.cpus[cpu];
        let now = if broken(Mutant::StaleProgress) {
            now + now.since(p.came)
        } else {
            now
        };
        if r.is_boosted() {
            let t = p.takes(r.lasts(r.b)).min(r.left.max(0) as u64);
            let mut end = now + Span(t + 1);
            // Who has been put back boosted waits from now on, though it is not in the queue before it is saved.
            let back = put_back.filter(|b| {
                let b = &self.rows[*b];
                b.is_boosted() && b.left > 0
            });
            let more = back.map(|b| self.rows[b].class);
            let waiting = self.queue.boosted_load(cpu, more);
            if let Some(w) = waiter.filter(|w| w.boosted) {
                let since = self.rows[w.ent].since;
                end = end.min(self.turn_among(e, w.ent, since, waiting, cpu));
            }
            if let Some(b) = back {
                end = end.min(self.turn_among(e, b, now, waiting, cpu));
            }
            return Some(end.max(now + SHORTEST));
        }
        let until_meets = |w: Ent| {
            let extra = self.reluctance(w, cpu);
            let w = &self.rows[w];
            p.takes(r.lasts(w.consumed.wrapping_sub(r.consumed).saturating_add(extra)))
        };
        let mut t = p.takes(r.lasts(self.credit(r)));
        for w in [waiter.map(|w| w.ent), put_back].into_iter().flatten() {
            t = t.min(until_meets(w));
        }
        let limit = (p.began + self.ratelimit()).since(now);
        let least = if limit == Span::ZERO {
            self.params.min_slice
        } else {
            limit
        };
        Some(now + Span(t + 1).max(least).min(self.params.max_slice.max(least)))
    }

    /// When `cpu` must come by if `e`, inside its rate limit there, goes on and nobody waits who could cut it short at the
    /// end of that limit: `e` answers an interrupt and is let finish, or who waits first has patience. Never later than its
    /// credit lasts. `None` = the usual slice applies.
    pub(super) fn unhurried(&self, e: Ent, cpu: CpuId, now: Instant) -> Option<Instant> {
        let (r, p) = (&self.rows[e], &self.cpus[cpu]);
        if r.is_boosted() || !p.limited(self.ratelimit(), now) {
            return None;
        }
        let first = self.queue.best(cpu).filter(|w| !w.boosted)?;
        let patient = self.rows[first.ent].patient;
        if !patient && r.claim == 0 {
            return None;
        }
        let credit = Span(p.takes(r.lasts(self.credit(r))).saturating_add(1));
        let own = now + credit.max(self.params.min_slice).min(self.params.max_slice);
        Some(own.min(if patient {
            self.patience(cpu)
        } else {
            self.answered(cpu, now)
        }))
    }

    /// Up to when who waits without patience lets whoever runs on `cpu` run: the end of its rate limit, or of what it has to
    /// answer by now. A claim that comes later changes nothing: else a guest that is interrupted often enough would never end.
    pub(super) fn answered(&self, cpu: CpuId, now: Instant) -> Instant {
        let p = &self.cpus[cpu];
        let claim = p.curr.map_or(0, |c| self.rows[c].claim);
        let limit = p.began + self.ratelimit();
        if broken(Mutant::ClaimEndless) && claim > 0 {
            return limit + self.params.max_slice;
        }
        limit.max(p.counted + Span(claim)).max(now)
    }

    /// Up to when who waits with patience lets whoever runs on `cpu` run.
    pub(super) fn patience(&self, cpu: CpuId) -> Instant {
        self.cpus[cpu].began + Span(self.ratelimit().0.saturating_mul(PATIENCE))
    }
}
