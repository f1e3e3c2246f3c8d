//! Credit: what running costs, what a reset gives, and what moves between the two buckets.
//!
//! All credit is ns at weight 256. `granted` is what everybody has been granted so far, a row's `consumed` what it has
//! used, both on one axis; normal credit is their difference. So a reset, which grants to all, is one addition. What a reset
//! does to a single row (refill of the boost bucket out of its own credit, the clip of the carry-over) is done when the
//! row is next touched; only rows on a CPU and queued ones whose boost bucket is not full need it at once: a refill changes their place.
//! Must never create credit: refills and top-ups are paid out of the normal bucket.

use super::Credit2;
use super::entity::{Boost, Row, W0};
use crate::mutant::{Mutant, broken};
use crate::params::{BoostParams, SchedParams};
use crate::scheduler::{Ent, Kick};
use tarn_abi::{CpuId, Instant, Span};

/// The grid of the top-ups.
const TOP_UP: u64 = 10_000_000;
/// When the step of the grid that `now` is in ends, ns.
fn end_of_step(now: Instant) -> u64 {
    (now.0 / TOP_UP).saturating_add(1).saturating_mul(TOP_UP)
}

/// After this many resets any debt has been repaid.
const AGE: u64 = 1 << 20;

/// `span` of the heaviest vCPU's time, as credit.
pub(super) fn scaled(span: Span, heaviest: u32) -> i64 {
    let c = u128::from(span.0) * u128::from(W0) / u128::from(heaviest.max(1));
    c.clamp(1, 1 << 50) as i64
}

/// Cap of the boost bucket.
fn cap(p: &BoostParams, grant: i64, weight: u32, on: bool) -> i64 {
    if !on {
        return 0;
    }
    let by_ratio = grant / 1000 * i64::from(p.ratio) + grant % 1000 * i64::from(p.ratio) / 1000;
    let by_limit = if p.limit == Span::ZERO {
        i64::MAX
    } else {
        scaled(p.limit, weight)
    };
    by_ratio.min(by_limit).min(grant / 2)
}

impl Credit2 {
    /// Normal credit.
    #[inline]
    pub(super) fn credit(&self, r: &Row) -> i64 {
        self.granted.wrapping_sub(r.consumed)
    }

    /// What a new row starts with: one grant, divided by the ratio.
    pub(super) fn endow(&mut self, e: Ent, now: Instant) {
        let (granted, grant, epoch, on) = (self.granted, self.grant, self.epoch, self.params.boost);
        let r = &mut self.rows[e];
        r.cap = cap(&r.params, grant, r.weight, on);
        r.cap_of = grant;
        r.b = r.cap;
        r.consumed = granted.wrapping_sub(grant - r.cap);
        r.seen = epoch;
        r.grid = end_of_step(now);
        r.calm();
        r.boost = Boost::No;
    }

    /// Brings a row up to date: resets it has not seen, the cap of its bucket, a top-up. Not while it is queued, unless
    /// the caller puts it in place again.
    #[inline(always)]
    pub(super) fn touch(&mut self, e: Ent, now: Instant) {
        let r = &self.rows[e];
        if r.seen != self.epoch || r.cap_of != self.grant || now.0 >= r.grid {
            self.bring_up(e, now);
        }
    }

    #[inline(never)]
    fn bring_up(&mut self, e: Ent, now: Instant) {
        let floor = self.granted.wrapping_sub(self.grant + self.carry);
        let (granted, grant, epoch, on) = (self.granted, self.grant, self.epoch, self.params.boost);
        let literal = broken(Mutant::LiteralBuckets);
        let r = &mut self.rows[e];
        if r.cap_of != grant {
            // Grants have another size since: nobody keeps more than one of them and the carry-over.
            r.cap_of = grant;
            r.cap = cap(&r.params, grant, r.weight, on);
            if r.b > r.cap {
                r.consumed = r.consumed.wrapping_sub(r.b - r.cap);
                r.b = r.cap;
            }
            if r.consumed.wrapping_sub(floor) < 0 {
                r.consumed = floor;
            }
        }
        let missed = epoch - r.seen;
        if missed != 0 {
            r.seen = epoch;
            let used = core::mem::take(&mut r.used) / missed.max(1);
            let part = used.saturating_mul(1000) / grant.max(1) as u64;
            r.level = r.level - r.level / 8 + part.min(4000) / 8;
            let price = if broken(Mutant::RefillUnpaid) {
                0
            } else if literal {
                r.cap.saturating_mul(missed.min(AGE) as i64)
            } else {
                r.cap - r.b
            };
            let paid = r.consumed.wrapping_add(price);
            let below = paid.wrapping_sub(floor) < 0 && !broken(Mutant::CarryUnlimited);
            let clipped = missed > AGE || below;
            r.consumed = if clipped { floor } else { paid };
            r.b = r.cap;
        }
        if now.0 >= r.grid {
            r.grid = end_of_step(now);
            let spare = granted.wrapping_sub(r.consumed);
            if r.b < r.cap && spare > 0 && !literal {
                let x = spare.min(r.cap - r.b);
                r.b += x;
                r.consumed = r.consumed.wrapping_add(x);
            }
        }
    }

    /// Charges what the vCPU on `cpu` has used since it was charged last.
    pub(super) fn account(&mut self, cpu: CpuId, now: Instant) {
        let p = &mut self.cpus[cpu];
        if !p.running {
            return;
        }
        let Some(e) = p.curr else { return };
        let dt = now.since(p.counted);
        p.counted = now;
        if dt == Span::ZERO {
            return;
        }
        let work = p.done(dt);
        let r = &mut self.rows[e];
        r.stats.runtime += dt;
        self.crowd.add(dt.0, core::cmp::min(r.claim, dt.0));
        r.claim = r.claim.saturating_sub(dt.0);
        let before = r.consumed;
        r.burn(dt.0, work);
        // Where nobody waits for this CPU its time is taken from nobody: no debt is made, though others, who may not come
        // here, keep the resets away that would repay it. (Where nobody waits at all `catch_up` repays it.)
        let free = self.cpus.tickless.contains(cpu) && !self.queue.is_empty();
        // Debt from before stays.
        let least = if before.wrapping_sub(self.granted) > 0 {
            before
        } else {
            self.granted
        };
        if free && !broken(Mutant::FreeTimePaid) && r.consumed.wrapping_sub(least) > 0 {
            r.consumed = least;
        }
        // Debt is kept, but the axis must not wrap: after two thousand years of it, it no longer grows.
        let most = if broken(Mutant::DebtForgiven) {
            self.grant
        } else {
            1 << 61
        };
        let deepest = self.granted.wrapping_add(most);
        if r.consumed.wrapping_sub(deepest) > 0 {
            r.consumed = deepest;
        }
    }

    /// Takes `cost` of hypervisor time off `e`'s normal credit.
    pub(super) fn pay(&mut self, e: Ent, cost: Span) {
        let (a, _) = self.rows[e].price(cost.0);
        self.move_consumed(e, self.rows[e].consumed.wrapping_add(a));
    }

    /// Gives `cost` back to it, never more than a grant and the carry-over ahead: what it gets was its own.
    pub(super) fn give_back(&mut self, e: Ent, cost: Span) {
        let (a, _) = self.rows[e].price(cost.0);
        let floor = self.granted.wrapping_sub(self.grant + self.carry);
        let consumed = self.rows[e].consumed.wrapping_sub(a);
        let below = consumed.wrapping_sub(floor) < 0;
        self.move_consumed(e, if below { floor } else { consumed });
    }

    fn move_consumed(&mut self, e: Ent, consumed: i64) {
        let r = &mut self.rows[e];
        r.consumed = consumed;
        if !r.is_boosted() && self.queue.is_queued(e) {
            self.queue.rekey_normal(r.class, e, consumed);
        }
    }

    /// How many resets lift `credit` above zero.
    pub(super) fn resets_for(&self, credit: i64) -> u64 {
        if credit > 0 || broken(Mutant::ResetSkipped) {
            0
        } else {
            credit.unsigned_abs() / self.grant as u64 + 1
        }
    }

    /// Grants everybody `times` times. Touches the running and the queued whose boost bucket is not full.
    pub(super) fn reset(&mut self, times: u64, now: Instant) -> Kick {
        let members = self.cpus.members();
        for c in members.iter() {
            self.account(c, now);
            if let (true, Some(e)) = (self.cpus[c].running, self.cpus[c].curr) {
                self.touch(e, now);
            }
        }
        self.granted = self
            .granted
            .wrapping_add(self.grant.wrapping_mul(times as i64));
        self.epoch += times;
        self.totals.resets += 1;
        for c in members.iter() {
            if let (true, Some(e)) = (self.cpus[c].running, self.cpus[c].curr) {
                self.touch(e, now);
                self.totals.touched += 1;
            }
        }
        let mut kick = Kick::NONE;
        while let Some(e) = self.burned.pop() {
            self.rows[e].burned = false;
            if !self.queue.is_queued(e) || broken(Mutant::ResetForgets) {
                continue;
            }
            self.totals.touched += 1;
            self.dequeue(e);
            self.touch(e, now);
            let r = &mut self.rows[e];
            let since = if r.is_boosted() { r.since } else { now };
            if r.refused > 0 && !r.is_boosted() && r.b > 0 {
                r.boost = Boost::Yes;
                r.left = core::mem::take(&mut r.refused);
                r.stats.boosts[5] += 1;
                self.enqueue(e, since);
                kick = kick.and(self.place(e, now));
            } else {
                self.enqueue(e, since);
            }
        }
        kick
    }

    /// The queue was empty and is about to be no longer: resets that nobody needed are made up for in one step.
    pub(super) fn catch_up(&mut self, now: Instant) -> Kick {
        let mut times = 0;
        for c in self.cpus.members().iter() {
            self.account(c, now);
            if let (true, Some(e)) = (self.cpus[c].running, self.cpus[c].curr) {
                self.touch(e, now);
                times = times.max(self.resets_for(self.credit(&self.rows[e])));
            }
        }
        if times != 0 {
            self.reset(times, now)
        } else {
            Kick::NONE
        }
    }

    /// The heaviest weight or the parameters changed: grants to come have another size.
    pub(super) fn resize(&mut self) {
        let p: &SchedParams = &self.params;
        self.grant = scaled(p.grant, self.heaviest);
        self.carry = if p.carry == Span::ZERO {
            0
        } else {
            scaled(p.carry, self.heaviest)
        };
        self.resistance = if p.resistance == Span::ZERO {
            0
        } else {
            scaled(p.resistance, self.heaviest)
        };
        self.queue.aloof = self.resistance;
    }

    /// A vCPU of that weight joins.
    pub(super) fn weigh_in(&mut self, weight: u32) {
        if self.heavy == 0 || weight > self.heaviest {
            self.heaviest = weight;
            self.heavy = 1;
            self.resize();
        } else if weight == self.heaviest {
            self.heavy += 1;
        }
    }

    /// A vCPU of that weight has left. Looks through all when it was the last of the heaviest; not on a hot path.
    pub(super) fn weigh_out(&mut self, weight: u32) {
        if weight != self.heaviest {
            return;
        }
        self.heavy -= 1;
        if self.heavy != 0 {
            return;
        }
        let mut heaviest = 0;
        for (_, r) in self.rows.iter().filter(|(_, r)| r.inserted) {
            if r.weight > heaviest {
                heaviest = r.weight;
                self.heavy = 1;
            } else if r.weight == heaviest {
                self.heavy += 1;
            }
        }
        self.heaviest = if heaviest == 0 { W0 as u32 } else { heaviest };
        self.resize();
    }
}
