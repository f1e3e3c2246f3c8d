//! Time as both sides see it: nanoseconds since Tarn's entry, 64 bits (584 years).
//!
//! `Instant` is a point, `Span` a length. Arithmetic saturates: no guest-chosen value can make it wrap or panic.

use core::ops::{Add, AddAssign, Sub};

/// A point in time, ns since Tarn was entered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Instant(pub u64);

/// A length of time in ns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Span(pub u64);

impl Span {
    /// No time.
    pub const ZERO: Span = Span(0);

    /// `n` nanoseconds.
    pub const fn ns(n: u64) -> Span {
        Span(n)
    }

    /// `n` microseconds.
    pub const fn us(n: u64) -> Span {
        Span(n.saturating_mul(1_000))
    }

    /// `n` milliseconds.
    pub const fn ms(n: u64) -> Span {
        Span(n.saturating_mul(1_000_000))
    }
}

impl Instant {
    /// The end of time: later than anything that happens.
    pub const NEVER: Instant = Instant(u64::MAX);

    /// The time from `earlier` to `self`; zero if `earlier` is later.
    pub const fn since(self, earlier: Instant) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Span> for Instant {
    type Output = Instant;
    fn add(self, s: Span) -> Instant {
        Instant(self.0.saturating_add(s.0))
    }
}

impl Sub<Span> for Instant {
    type Output = Instant;
    fn sub(self, s: Span) -> Instant {
        Instant(self.0.saturating_sub(s.0))
    }
}

impl Add for Span {
    type Output = Span;
    fn add(self, s: Span) -> Span {
        Span(self.0.saturating_add(s.0))
    }
}

impl AddAssign for Span {
    fn add_assign(&mut self, s: Span) {
        *self = *self + s;
    }
}

impl Sub for Span {
    type Output = Span;
    fn sub(self, s: Span) -> Span {
        Span(self.0.saturating_sub(s.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saturates() {
        assert_eq!(Instant::NEVER + Span::ms(1), Instant::NEVER);
        assert_eq!(Instant(5).since(Instant(9)), Span::ZERO);
        assert_eq!(Span::ms(u64::MAX), Span(u64::MAX));
    }
}
