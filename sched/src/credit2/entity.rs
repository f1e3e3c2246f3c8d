//! A vCPU's row, its interrupt lines, and what a CPU is doing.
//!
//! Data and the arithmetic of one entity only; who runs is decided in `mod.rs`.

use super::crowd::ANSWER;
use crate::mutant::{Mutant, broken};
use crate::params::{BoostParams, VcpuParams};
use crate::scheduler::{Ent, Stats, Tag};
use tarn_abi::{CpuId, Instant, Span};

/// The weight at which credit is time.
pub(super) const W0: u64 = 256;

/// Interrupt lines whose rate is followed, per vCPU.
const LINES: usize = 6;

/// How a boost came about, as far as it matters for its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Boost {
    No,
    /// By an interrupt or dont_desched.
    Yes,
    /// To let it leave a stretch with interrupts masked.
    UntilUnmask,
}

pub(super) struct Row {
    pub(super) tag: Tag,
    pub(super) weight: u32,
    /// 2^32 x 256 / weight.
    inv: u64,
    pub(super) params: BoostParams,
    pub(super) class: u16,
    pub(super) inserted: bool,
    pub(super) runnable: bool,
    pub(super) yielded: bool,
    /// Had to give way and is being saved: it waits, though not in the queue yet.
    pub(super) put_back: bool,
    pub(super) on: Option<CpuId>,
    pub(super) last: Option<CpuId>,

    /// Credit consumed, a point on the axis of `Credit2::granted`. Its credit is granted - consumed.
    pub(super) consumed: i64,
    frac: u32,
    /// Boost credit and its cap.
    pub(super) b: i64,
    pub(super) cap: i64,
    /// For which grant size `cap` holds.
    pub(super) cap_of: i64,
    /// Resets seen.
    pub(super) seen: u64,
    /// End of the step of the top-up grid it was touched in last, ns.
    pub(super) grid: u64,
    /// On the list of those that were queued with a bucket not full since the last reset.
    pub(super) burned: bool,

    pub(super) boost: Boost,
    /// ns of running to come that count as answering an interrupt (see `crowd.rs`).
    pub(super) claim: u64,
    /// Credit used since it has been touched after a reset, and the smoothed part of a grant that is, 1/1000.
    pub(super) used: u64,
    pub(super) level: u64,
    /// Its last interrupt was of a line that comes at regular intervals.
    pub(super) regular: bool,
    /// Woken by a line that storms, and not run since: when.
    pub(super) stormy: Option<Instant>,
    /// Waits for somebody's CPU without hurry: it has just had one, or only a storm has woken it.
    pub(super) patient: bool,
    /// ns of boosted running left.
    pub(super) left: i64,
    /// Since when it waits, boosted.
    pub(super) since: Instant,
    /// ns of running during which an interrupt taken while running still counts.
    pub(super) armed: i64,
    /// An interrupt was not boosted for lack of boost credit: the boost it would have had, ns.
    pub(super) refused: i64,
    /// Has had its one stay for masked interrupts since it was switched in.
    pub(super) deferred: bool,
    /// That stay has been renewed.
    pub(super) again: bool,
    /// How long that stay may be, ns: what such stays have been good for.
    pub(super) stay: i64,
    pub(super) enlightened: bool,
    lines: [Line; LINES],
    pub(super) stats: Stats,
}

/// Rate of an interrupt line: a token bucket that needs one time stamp (GCRA).
#[derive(Clone, Copy, Default)]
struct Line {
    line: u16,
    used: bool,
    previous: u64,
    /// Smoothed time between interrupts, what is longer than matters counting as just that.
    gap: u64,
    /// The last one, and how often of late it was about the one before: 256 = always.
    last: u64,
    steady: u16,
    tat: u64,
    hold: u64,
}

/// Time between interrupts of a line that may be boosted for ever.
const STORM_PERIOD: u64 = 1_000_000;
/// How far ahead of that rate a line may get: bursts of 8.
const STORM_BURST: u64 = 7_000_000;
/// How long a line stays without boosts after it has been found to storm.
const STORM_HOLD: u64 = 100_000_000;
/// The shortest boost.
const SHORTEST: u64 = 50_000;
/// From then on a line is regular. Of random gaps one in fifteen is within an eighth of the one before: 17 of 256.
const STEADY: u16 = 160;

/// A vCPU that is about to lose its CPU with interrupts masked is let finish (G5): at first for this part of its interval,
/// for twice as long after each time it did unmask, for half as long after each time it did not. Below the smallest part
/// there is no point in it: a program that never unmasks would keep others waiting for nothing.
const STAY_FIRST: u64 = 8;
const STAY_LEAST: u64 = 32;

impl Row {
    /// It has unmasked in time, or not.
    pub(super) fn judge_stay(&mut self, unmasked: bool) {
        let interval = self.params.interval.0 as i64;
        let least = interval / STAY_LEAST as i64;
        self.stay = if unmasked {
            self.stay.max(least).saturating_mul(2).min(interval)
        } else if self.stay / 2 < least {
            0
        } else {
            self.stay / 2
        };
    }

    /// Whether its stay for masked interrupts may be had once more. Stays that have been good for a whole interval have ended
    /// with interrupts enabled again and again: this time, too, they may have been, between two looks, and what is masked
    /// now be the next lock that it holds.
    pub(super) fn stays_again(&self) -> bool {
        let earned = self.stay >= self.params.interval.0 as i64;
        self.boost == Boost::UntilUnmask && !self.again && earned
    }

    /// Seen with interrupts enabled: a later masked stretch deserves a chance.
    pub(super) fn seen_unmasked(&mut self) {
        let least = (self.params.interval.0 / STAY_LEAST) as i64;
        self.stay = self.stay.max(least);
    }

    pub(super) fn new(tag: Tag, p: &VcpuParams, class: u16) -> Self {
        let mut r = Row {
            tag,
            weight: 0,
            inv: 0,
            params: p.boost,
            class,
            inserted: false,
            runnable: false,
            yielded: false,
            put_back: false,
            on: None,
            last: None,
            consumed: 0,
            frac: 0,
            b: 0,
            cap: 0,
            cap_of: -1,
            seen: 0,
            grid: 0,
            burned: false,
            boost: Boost::No,
            claim: 0,
            used: 0,
            level: 1000,
            regular: false,
            stormy: None,
            patient: false,
            left: 0,
            since: Instant(0),
            armed: 0,
            refused: 0,
            deferred: false,
            again: false,
            stay: (p.boost.interval.0 / STAY_FIRST) as i64,
            enlightened: false,
            lines: [Line::default(); LINES],
            stats: Stats::default(),
        };
        r.set_weight(p.weight);
        r
    }

    /// The one division.
    pub(super) fn set_weight(&mut self, weight: u32) {
        self.weight = weight.max(1);
        let weight = if broken(Mutant::WeightIgnored) {
            W0
        } else {
            u64::from(self.weight)
        };
        self.inv = (W0 << 32) / weight;
    }

    /// Its place among the boosted who wait, the least first, ns on the axis of time: since when it waits, earlier by as much
    /// of the default interval as is left in its bucket. So boost credit decides among those who came together, and whoever has waited
    /// for that long is overtaken by nobody who comes later, whatever their intervals and however little it has left.
    #[inline]
    pub(super) fn rank(&self) -> i64 {
        if broken(Mutant::AgeIgnored) {
            return self.b.wrapping_neg();
        }
        let lead = BoostParams::DEFAULT.interval.0;
        let left = self.b.max(0).unsigned_abs();
        let ahead = left.saturating_mul(lead) / self.cap.max(1).unsigned_abs();
        self.since.0.wrapping_sub(ahead.min(lead)) as i64
    }

    #[inline]
    pub(super) fn is_boosted(&self) -> bool {
        self.boost != Boost::No
    }

    /// Credit for `dt` of running, and the residue to carry.
    #[inline]
    pub(super) fn price(&self, dt: u64) -> (i64, u32) {
        let a = u128::from(dt) * u128::from(self.inv) + u128::from(self.frac);
        let whole = (a >> 32).min(1 << 61) as i64;
        (whole, a as u32)
    }

    /// Burns `dt` of running, in which it did `work`.
    #[inline]
    pub(super) fn burn(&mut self, dt: u64, work: u64) {
        let (a, frac) = self.price(work);
        self.used = self.used.saturating_add_signed(a);
        self.frac = frac;
        if self.is_boosted() {
            if !broken(Mutant::BoostFree) {
                self.b = self.b.saturating_sub(a);
            }
            self.left = self.left.saturating_sub_unsigned(dt);
        } else {
            self.consumed = self.consumed.wrapping_add(a);
            self.armed = self.armed.saturating_sub_unsigned(dt).max(0);
        }
    }

    /// How long `credit` lasts it, ns.
    #[inline]
    pub(super) fn lasts(&self, credit: i64) -> u64 {
        (credit.max(0) as u64).saturating_mul(u64::from(self.weight)) / W0
    }

    /// Notes an interrupt. Answers how long it may be boosted (ns) unless its line storms, and whether the line is regular.
    pub(super) fn interrupt(&mut self, line: u16, now: Instant) -> (Option<i64>, bool) {
        let now = now.0;
        let longest = self.params.interval.0;
        let i = match self.lines.iter().position(|l| l.used && l.line == line) {
            Some(i) => i,
            // The line silent for longest makes room. Its state is kept: changing lines does not refill the bucket.
            None => (0..LINES)
                .min_by_key(|&i| (self.lines[i].used, self.lines[i].previous))
                .unwrap_or(0),
        };
        let l = &mut self.lines[i];
        // The average of some gaps rather than the last one: a random line is as regular as it is on average. What is
        // much longer than matters counts as just that, so a line that gets faster is found out soon.
        let enough = longest.saturating_mul(8);
        let full = now.saturating_sub(l.previous);
        let gap = full.min(enough.saturating_mul(4));
        let last = core::mem::replace(&mut l.last, full);
        let alike = l.used && full.abs_diff(last) < full.max(last) / 8;
        l.steady = l.steady - l.steady / 8 + if alike { 32 } else { 0 };
        let regular = l.steady >= STEADY;
        l.gap = if l.used {
            l.gap - l.gap / 8 + gap / 8
        } else {
            enough
        };
        l.used = true;
        l.line = line;
        l.previous = now;
        if l.tat > now.saturating_add(STORM_BURST) {
            if now >= l.hold {
                self.stats.storm_lines += 1;
            }
            l.hold = now.saturating_add(STORM_HOLD);
        } else {
            l.tat = l.tat.max(now).saturating_add(STORM_PERIOD);
        }
        let worth = (l.gap / 8).max(SHORTEST).min(longest);
        // A storming line claims as well: it is no crowd's loss, and no claim lasts.
        self.claim = self.claim.max(ANSWER.saturating_mul(worth));
        if now < l.hold && !broken(Mutant::StormBoosted) {
            self.stats.storm_held += 1;
            return (None, regular);
        }
        (Some(worth as i64), regular)
    }

    /// It runs again after a storm has woken it. While it waited, its line's interrupts became one: the storm has not
    /// calmed down by that.
    #[inline]
    pub(super) fn storm_goes_on(&mut self, now: Instant) {
        let Some(woken) = self.stormy.take() else {
            return;
        };
        let waited = now.since(woken).0;
        for l in self.lines.iter_mut().filter(|l| l.hold > woken.0) {
            l.hold = l.hold.saturating_add(waited);
            l.tat = l.tat.saturating_add(waited);
        }
    }

    /// Forgets what a boost was about (block, yield, pause, move).
    pub(super) fn calm(&mut self) {
        self.left = 0;
        self.armed = 0;
        self.refused = 0;
        self.claim = 0;
    }
}

/// What a CPU does.
pub(super) struct Pcpu {
    /// Its speed, 1024 being the fastest.
    pub(super) capacity: u16,
    /// Work not accounted yet, in 1/1024 ns: what division left over.
    rest: u16,
    /// Who is on it: running, or asleep but not saved yet.
    pub(super) curr: Option<Ent>,
    /// Whether `curr` runs.
    pub(super) running: bool,
    /// Up to when `curr` is accounted.
    pub(super) counted: Instant,
    /// Since when `curr` has the CPU, for the rate limit; long ago if it has left a boost or was taken while
    /// a better one was being saved.
    pub(super) began: Instant,
    /// Since when `curr` has the CPU, whatever has become of its boost.
    pub(super) came: Instant,
    /// When it will come by.
    pub(super) until: Option<Instant>,
    /// For whom it has been kicked, until it comes.
    pub(super) promised: Option<Ent>,
}

impl Default for Pcpu {
    fn default() -> Self {
        Pcpu {
            capacity: 1024,
            rest: 0,
            curr: None,
            running: false,
            counted: Instant(0),
            began: Instant(0),
            came: Instant(0),
            until: None,
            promised: None,
        }
    }
}

impl Pcpu {
    /// Work done in `dt`, in time of the fastest CPU.
    #[inline]
    pub(super) fn work(&self, dt: Span) -> u64 {
        if self.capacity == 1024 {
            dt.0
        } else {
            dt.0.saturating_mul(u64::from(self.capacity)) >> 10
        }
    }

    /// The same for the account: what division leaves over counts next time, however short the stretches are.
    #[inline]
    pub(super) fn done(&mut self, dt: Span) -> u64 {
        if self.capacity == 1024 {
            return dt.0;
        }
        let total = u128::from(dt.0) * u128::from(self.capacity) + u128::from(self.rest);
        self.rest = (total & 1023) as u16;
        (total >> 10).min(u128::from(u64::MAX)) as u64
    }

    /// How long that much work takes here.
    #[inline]
    pub(super) fn takes(&self, work: u64) -> u64 {
        if self.capacity == 1024 {
            work
        } else {
            work.saturating_mul(1024) / u64::from(self.capacity.max(1))
        }
    }

    pub(super) fn limited(&self, limit: Span, now: Instant) -> bool {
        now < self.began + limit
    }
}
