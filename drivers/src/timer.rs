//! Time: the system counter, its conversion to nanoseconds, and the EL2 physical timer (CNTHP).
//!
//! [`Clock`] is arithmetic and the counter; [`HypTimer`] is this CPU's comparator. Conversions are a shift and the upper half of
//! one multiplication, exact to less than a nanosecond over more than 100 years, and fit together: a timer
//! armed for an instant never fires before `now` has reached it. Nothing here waits, and nothing divides after boot.

use crate::arch;
use core::fmt;
use tarn_abi::{Instant, Span};

const NS: u64 = 1_000_000_000;
/// Slowest and fastest counter that is believed, in Hz: Armv8 says 1-50 MHz is typical, Armv8.6 has 1 GHz.
pub const FREQUENCY: core::ops::RangeInclusive<u64> = 1_000_000..=4_000_000_000;

/// Neither CNTFRQ_EL0 nor the tree gives a believable frequency; this is what CNTFRQ_EL0 says, in Hz.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadFrequency(pub u64);

impl fmt::Display for BadFrequency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "timer: CNTFRQ_EL0 says {} Hz and the tree gives no clock-frequency",
            self.0
        )
    }
}

impl core::error::Error for BadFrequency {}

/// A ratio without a division: `x * 2^k * factor / 2^64`, so that a conversion is a shift and the upper half of a
/// multiplication. `k` is small (6 for a clock of 19.2 MHz), and an `x` that would lose bits by it has a result beyond
/// 2^63: it saturates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Scale {
    factor: u64,
    k: u32,
}

impl Scale {
    /// The smallest ratio of this form that is not below `num / den`. The error of a product is below one.
    const fn new(num: u64, den: u64) -> Scale {
        let mut k = 0;
        loop {
            // Both below 2^33 here, so nothing is lost for any shift.
            let factor = ((num as u128) << (64 - k)).div_ceil(den as u128);
            if factor <= u64::MAX as u128 {
                return Scale {
                    factor: factor as u64,
                    k,
                };
            }
            k += 1;
        }
    }

    /// The product, rounded down.
    #[inline(always)]
    const fn down(self, x: u64) -> u64 {
        let wide = (x << self.k) as u128 * self.factor as u128;
        if self.loses(x) {
            u64::MAX
        } else {
            (wide >> 64) as u64
        }
    }

    /// The product, rounded up.
    #[inline(always)]
    const fn up(self, x: u64) -> u64 {
        let wide = (x << self.k) as u128 * self.factor as u128;
        if self.loses(x) {
            u64::MAX
        } else {
            (wide >> 64) as u64 + (wide as u64 != 0) as u64
        }
    }

    #[inline(always)]
    const fn loses(self, x: u64) -> bool {
        (x << self.k) >> self.k != x
    }
}

/// The machine's clock: the physical counter, counted in nanoseconds since an epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clock {
    frequency: u64,
    epoch: u64,
    to_ns: Scale,
    to_ticks: Scale,
}

impl Clock {
    /// A clock of `frequency` Hz whose zero is at `epoch` ticks of the counter.
    pub const fn new(frequency: u64, epoch: u64) -> Result<Clock, BadFrequency> {
        if frequency < *FREQUENCY.start() || frequency > *FREQUENCY.end() {
            return Err(BadFrequency(frequency));
        }
        let (to_ns, to_ticks) = (Scale::new(NS, frequency), Scale::new(frequency, NS));
        Ok(Clock {
            frequency,
            epoch,
            to_ns,
            to_ticks,
        })
    }

    /// This machine's clock: CNTFRQ_EL0 if firmware set it, else `fallback` (the tree's `clock-frequency`, Hz).
    pub fn probe(fallback: Option<u32>, epoch: u64) -> Result<Clock, BadFrequency> {
        let said = arch::read_cntfrq() & 0xffff_ffff;
        Clock::new(said, epoch).or_else(|e| match fallback {
            Some(f) => Clock::new(f.into(), epoch).map_err(|_| e),
            None => Err(e),
        })
    }

    /// Ticks a second.
    pub const fn frequency(&self) -> u64 {
        self.frequency
    }

    /// The counter's value at `Instant(0)`.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// A length in ticks as nanoseconds, rounded down (saturating: 584 years).
    #[inline(always)]
    pub const fn span(&self, ticks: u64) -> Span {
        Span(self.to_ns.down(ticks))
    }

    /// A length in nanoseconds as ticks, rounded up (saturating).
    #[inline(always)]
    pub const fn ticks(&self, span: Span) -> u64 {
        self.to_ticks.up(span.0)
    }

    /// The instant at which the counter shows `count`; a count before the epoch is instant 0.
    #[inline(always)]
    pub const fn at(&self, count: u64) -> Instant {
        Instant(self.to_ns.down(count.saturating_sub(self.epoch)))
    }

    /// The first count at which [`Clock::at`] has reached `instant`; `u64::MAX` for one beyond the counter's end.
    #[inline(always)]
    pub const fn count(&self, instant: Instant) -> u64 {
        self.epoch.saturating_add(self.to_ticks.up(instant.0))
    }

    /// Now, cheaply: the counter may be read some instructions early, never late. Enough for accounting.
    #[inline(always)]
    pub fn now(&self) -> Instant {
        self.at(counter())
    }

    /// Now, after everything before it in the program.
    #[inline(always)]
    pub fn now_ordered(&self) -> Instant {
        self.at(counter_ordered())
    }
}

/// CNTPCT_EL0 as it is; the CPU may read it ahead of earlier instructions.
#[inline(always)]
pub fn counter() -> u64 {
    arch::read_cntpct()
}

/// CNTPCT_EL0, not before earlier instructions are done: the architecture lets a counter read be speculated, only an
/// ISB holds it (Arm ARM, D12.2.1).
#[inline(always)]
pub fn counter_ordered() -> u64 {
    arch::isb();
    arch::read_cntpct()
}

/// The calling CPU's EL2 physical timer. Its interrupt is a level: it stays until the timer is moved or off.
///
/// No barriers: a new setting is in force in finite time, at the latest with the exception return or wfi that
/// follows; a deadline that has passed fires at once. An interrupt that was already on its way may still come.
pub struct HypTimer;

/// CNTHP_CTL_EL2: on.
const ENABLE: u64 = 1;
/// CNTHP_CTL_EL2: the condition is met.
const ISTATUS: u64 = 1 << 2;

impl HypTimer {
    /// Fires when the counter reaches `count` (see [`Clock::count`]), or at once if it has.
    #[inline(always)]
    pub fn arm(count: u64) {
        arch::write_cnthp_cval(count);
        arch::write_cnthp_ctl(ENABLE);
    }

    /// Moves a timer that is armed already: one write less than [`HypTimer::arm`].
    #[inline(always)]
    pub fn rearm(count: u64) {
        arch::write_cnthp_cval(count);
    }

    /// Off; its interrupt goes away.
    #[inline(always)]
    pub fn disarm() {
        arch::write_cnthp_ctl(0);
    }

    /// Whether it is armed and its time has come.
    #[inline(always)]
    pub fn expired() -> bool {
        arch::read_cnthp_ctl() & (ENABLE | ISTATUS) == ENABLE | ISTATUS
    }

    /// What it is armed for.
    pub fn deadline() -> Option<u64> {
        (arch::read_cnthp_ctl() & ENABLE != 0).then(arch::read_cnthp_cval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CENTURY: u64 = 100 * 31_557_600 * NS;
    const RATES: [u64; 8] = [
        1_000_000_000,
        62_500_000,
        54_000_000,
        24_000_000,
        19_200_000,
        100_000_000,
        1_000_000,
        31_250_000,
    ];

    /// Exact, by long arithmetic.
    fn exact_ns(ticks: u64, f: u64) -> u128 {
        u128::from(ticks) * u128::from(NS) / u128::from(f)
    }

    fn samples() -> impl Iterator<Item = u64> {
        let mut x = 0x9e37_79b9_7f4a_7c15u64;
        let edges = (0..62).flat_map(|b| [(1u64 << b) - 1, 1 << b, (1 << b) + 1]);
        edges
            .chain([CENTURY, CENTURY - 1])
            .chain((0..20_000).map(move |i| {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                x >> (i % 60 + 2)
            }))
            .filter(|ns| *ns <= CENTURY)
    }

    #[test]
    fn exact_for_a_century() {
        for f in RATES {
            let c = Clock::new(f, 0).unwrap();
            for ns in samples() {
                // The same moment in ticks, so that the whole century is covered at every rate.
                let ticks = (u128::from(ns) * u128::from(f) / u128::from(NS)) as u64;
                let (got, exact) = (u128::from(c.span(ticks).0), exact_ns(ticks, f));
                assert!(
                    got == exact || got == exact + 1,
                    "{f} Hz, {ticks} ticks: {got} for {exact}"
                );
            }
        }
    }

    #[test]
    fn a_deadline_is_reached_when_it_fires_and_not_much_later() {
        for f in RATES {
            let c = Clock::new(f, 12_345).unwrap();
            for ns in samples() {
                let count = c.count(Instant(ns));
                assert!(c.at(count) >= Instant(ns), "{f} Hz: fires before {ns}");
                let exact = (u128::from(ns) * u128::from(f)).div_ceil(u128::from(NS)) as u64;
                assert!(count - 12_345 - exact <= 1, "{f} Hz: late for {ns}");
            }
        }
    }

    #[test]
    fn time_does_not_run_backwards() {
        for f in RATES {
            let c = Clock::new(f, 0).unwrap();
            for start in [0, 1 << 40, 60 * f * 31_557_600] {
                let mut last = c.at(start);
                for t in start + 1..start + 2_000 {
                    assert!(c.at(t) >= last);
                    last = c.at(t);
                }
            }
        }
    }

    #[test]
    fn ends_are_soft() {
        let c = Clock::new(1_000_000, 100).unwrap();
        assert_eq!(c.count(Instant::NEVER), 100 + (u64::MAX / 1_000 + 1));
        assert_eq!(c.at(u64::MAX), Instant::NEVER);
        let c = Clock::new(NS, 0).unwrap();
        assert_eq!(
            (c.count(Instant::NEVER), c.at(u64::MAX)),
            (u64::MAX, Instant::NEVER)
        );
        assert_eq!((c.count(Instant(77)), c.at(77)), (77, Instant(77)));
        let c = Clock::new(1_000_000, 100).unwrap();
        assert_eq!(c.at(99), Instant(0));
        let c = Clock::new(4_000_000_000, u64::MAX - 5).unwrap();
        assert_eq!(c.count(Instant::NEVER), u64::MAX);
        assert_eq!(c.count(Instant(10)), u64::MAX);
    }

    #[test]
    fn the_tree_helps_where_firmware_did_not() {
        arch::set("cntfrq", 0, 0);
        assert_eq!(Clock::probe(None, 0), Err(BadFrequency(0)));
        assert_eq!(Clock::probe(Some(12), 0), Err(BadFrequency(0)));
        assert_eq!(
            Clock::probe(Some(24_000_000), 0).unwrap().frequency(),
            24_000_000
        );
        arch::set("cntfrq", 0, 62_500_000);
        assert_eq!(
            Clock::probe(Some(24_000_000), 0).unwrap().frequency(),
            62_500_000
        );
    }

    #[test]
    fn comparator() {
        HypTimer::arm(77);
        assert_eq!(HypTimer::deadline(), Some(77));
        assert!(!HypTimer::expired());
        arch::set("cnthp_ctl", 0, 5);
        assert!(HypTimer::expired());
        HypTimer::rearm(99);
        assert_eq!(HypTimer::deadline(), Some(99));
        HypTimer::disarm();
        assert_eq!(HypTimer::deadline(), None);
    }
}
