//! Whom to disturb for a vCPU that has just been queued.
//!
//! An idle CPU if there is one; else the CPU whose vCPU should give way, if any should; and every CPU that runs without a
//! timer, since from now on somebody waits. Looks at each CPU of the pool at most once.

use super::Credit2;
use crate::mutant::{Mutant, broken};
use crate::scheduler::{Ent, Kick};
use tarn_abi::{CpuId, Instant, Span};

/// How late a timer may be before it is worth a kick.
const TOLERANCE: Span = Span::us(50);
/// The same where boosted ones wait: the time of a switch.
const SLACK: Span = Span::us(5);
/// Any vCPU that is not boosted gives way before any that is.
const NORMAL: i64 = 1 << 61;

impl Credit2 {
    /// Finds a CPU for `e`, which is queued.
    pub(super) fn place(&mut self, e: Ent, now: Instant) -> Kick {
        self.place_but(e, None, None, now)
    }

    /// The same for `e` that `from` has put back. A CPU that has taken somebody since then, while `e` was being saved, could
    /// not see it: it is called though its rate limit has begun anew. Else CPUs whose slices end together, one a little
    /// before the other, miss each other's vCPUs for ever.
    pub(super) fn place_saved(&mut self, e: Ent, from: Option<CpuId>, now: Instant) -> Kick {
        let from = from.filter(|c| self.cpus[*c].running);
        self.place_but(e, None, from, now)
    }

    /// `but` is a CPU that has just decided against all who wait, `from` the one that has put `e` back.
    fn place_but(&mut self, e: Ent, but: Option<CpuId>, from: Option<CpuId>, now: Instant) -> Kick {
        let r = &self.rows[e];
        let (last, boosted) = (r.last, r.is_boosted());
        let allowed = *self.queue.allowed(r.class);
        let near = *self.queue.near(r.class);
        let mut k = self.cpus.summon_idle(&near, last);
        if k.is_none() {
            k = self.cpus.summon_idle(&allowed, last);
        }
        if let Some(c) = k.0.lowest() {
            self.cpus[c].promised = Some(e);
            return k;
        }
        // Until now nobody waited for these.
        for c in self.cpus.tickless.intersection(&allowed).iter() {
            self.account(c, now);
        }
        let mut best: Option<(i64, CpuId)> = None;
        for c in self.cpus.members().intersection(&allowed).iter() {
            if but == Some(c) {
                continue;
            }
            let Some(score) = self.gain(e, boosted, c, now) else {
                continue;
            };
            if best.is_none_or(|(s, _)| score > s) {
                best = Some((score, c));
            }
        }
        let mut kick = Kick::NONE;
        if let Some((score, c)) = best {
            if boosted {
                kick = self.press(e, c, score, now);
            } else {
                let unseen =
                    from.is_some_and(|f| f != c && self.cpus[c].began >= self.cpus[f].began);
                if unseen && score > 0 {
                    self.cpus[c].began = Instant(0);
                }
                kick = self.nudge(e, c, score, now);
            }
        }
        if broken(Mutant::KickLost) {
            kick = Kick::NONE;
        }
        if broken(Mutant::TicklessForgotten) {
            return kick;
        }
        let timerless = self.cpus.tickless.intersection(&allowed);
        self.cpus.tickless = self.cpus.tickless.difference(&timerless);
        kick.and(Kick(timerless))
    }

    /// How much better `e` would be on `c` than who runs there; `None` if that CPU is out of the question.
    fn gain(&self, e: Ent, boosted: bool, c: CpuId, now: Instant) -> Option<i64> {
        let p = &self.cpus[c];
        if p.promised.is_some() || !p.running {
            return None;
        }
        let (me, cur) = (&self.rows[e], &self.rows[p.curr?]);
        let (burnt, _) = cur.price(p.work(now.since(p.counted)));
        let reluctance = self.reluctance(e, c);
        if boosted {
            if cur.is_boosted() {
                let (margin, _) = cur.price(cur.params.interval.0);
                return Some(me.b - (cur.b.saturating_sub(burnt)) - margin);
            }
            let debt = cur.consumed.wrapping_add(burnt).wrapping_sub(self.granted);
            return Some(NORMAL.saturating_add(debt.clamp(-NORMAL / 2, NORMAL / 2)) - reluctance);
        }
        if cur.is_boosted() {
            return None;
        }
        let lead = cur.consumed.wrapping_add(burnt).wrapping_sub(me.consumed);
        Some(lead.saturating_sub(reluctance))
    }

    /// How much better it must be for `e` on `c` before it goes there: it was not there, or would rather be elsewhere. The order
    /// of the queue has the second as well: so at most one CPU, where it was, can refuse who waits first for one who needs less.
    pub(super) fn reluctance(&self, e: Ent, c: CpuId) -> i64 {
        let moves = self.rows[e].last != Some(c);
        let outside = !self.near(e).contains(c);
        self.resistance * (i64::from(moves) + i64::from(outside))
    }

    /// When `e`, outside its preference on `cpu`, leaves for an idle CPU inside: at once if it does not run, else after a
    /// rate limit, so that a CPU that is idle for moments does not make it go to and fro. `None` = it stays.
    pub(super) fn goes_home_at(&self, e: Ent, cpu: CpuId) -> Option<Instant> {
        let near = self.near(e);
        let stays = near.contains(cpu) || self.cpus.idle.intersection(near).is_empty();
        if stays || broken(Mutant::NeverHome) {
            return None;
        }
        let p = &self.cpus[cpu];
        let least = self.ratelimit().max(self.params.min_slice);
        Some(if p.running {
            p.came + least
        } else {
            Instant(0)
        })
    }

    /// A CPU that runs somebody who would rather be on `cpu`, which has become idle: the one who has been away longest.
    pub(super) fn astray(&self, cpu: CpuId) -> Option<CpuId> {
        if !self.queue.any_choosy() {
            return None;
        }
        let away = |c: &CpuId| {
            let p = &self.cpus[*c];
            let wants = |e: Ent| !self.near(e).contains(*c) && self.near(e).contains(cpu);
            p.running && p.curr.is_some_and(wants) && !broken(Mutant::NeverHome)
        };
        let all = self.cpus.members();
        all.iter().filter(away).min_by_key(|c| self.cpus[*c].came)
    }

    /// Calls `c` if the boosted `e`, which waits and is `score` better there than who runs, is to take it now; or if who runs
    /// there must leave earlier than `c`'s timer says, since one more waits.
    fn press(&mut self, e: Ent, c: CpuId, score: i64, now: Instant) -> Kick {
        let p = &self.cpus[c];
        let Some(cur) = p.curr else { return Kick::NONE };
        if !self.rows[cur].is_boosted() {
            if score <= 0 {
                return Kick::NONE;
            }
            self.cpus[c].promised = Some(e);
            return Kick::one(c);
        }
        let mut due = self.turn(cur, e, c);
        let first = self.queue.best(c).map_or(e, |h| h.ent);
        if first == e && due <= now {
            self.cpus[c].promised = Some(e);
            return Kick::one(c);
        }
        // The first may be on its way to another CPU.
        due = due.min(self.turn(cur, first, c));
        let late = p.until.is_some_and(|u| u > due + SLACK);
        if late { Kick::one(c) } else { Kick::NONE }
    }

    /// Makes `c` come when the waiter `e`, `lead` ahead of its vCPU, is due there: now, when the rate limit is over, or
    /// when the credits meet. Who answers an interrupt inside its rate limit is let finish.
    fn nudge(&mut self, e: Ent, c: CpuId, lead: i64, now: Instant) -> Kick {
        let p = &self.cpus[c];
        let limited = p.limited(self.ratelimit(), now);
        if limited && broken(Mutant::LimitSwallows) {
            return Kick::NONE;
        }
        if lead > 0 && !limited {
            self.cpus[c].promised = Some(e);
            return Kick::one(c);
        }
        let mut due = match (limited, self.rows[e].patient) {
            (false, _) => now,
            (true, true) => self.patience(c),
            (true, false) => self.answered(c, now),
        };
        if let (true, Some(cur)) = (lead <= 0, p.curr) {
            due = due
                .max(now + Span(p.takes(self.rows[cur].lasts(-lead))).max(self.params.min_slice));
        }
        let late = p.until.is_none_or(|u| u > due + TOLERANCE);
        if late { Kick::one(c) } else { Kick::NONE }
    }

    /// Somebody is left waiting where a CPU has nothing to do, or `called`, for whom `cpu` came, has not been chosen there.
    /// `cpu`, which has just decided, is not called again: what it has refused it would refuse for ever.
    pub(super) fn leftovers(&mut self, cpu: CpuId, called: Option<Ent>, now: Instant) -> Kick {
        if self.queue.is_empty() {
            return Kick::NONE;
        }
        let for_idle = if self.cpus.idle.is_empty() {
            None
        } else {
            self.queue.a_head_for(&self.cpus.idle)
        };
        match for_idle.or(called.filter(|e| self.queue.is_queued(*e))) {
            Some(e) => self.place_but(e, Some(cpu), None, now),
            None => Kick::NONE,
        }
    }
}
