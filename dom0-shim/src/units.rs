//! How numbers with a unit are printed. No floating point: the CPU's is not ours to use here.

use crate::session::Session;
use core::fmt;
use tarn_abi::Span;

/// Seconds with a fixed number of decimals (0 to 9), cut, not rounded.
#[derive(Clone, Copy, Debug)]
pub struct Seconds(pub Span, pub u32);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Seconds(Span(ns), digits) = *self;
        write!(f, "{}", ns / 1_000_000_000)?;
        if digits > 0 {
            let digits = digits.min(9);
            let fraction = ns % 1_000_000_000 / 10u64.pow(9 - digits);
            write!(f, ".{fraction:0width$}", width = digits as usize)?;
        }
        Ok(())
    }
}

/// A part of a whole in per cent, with one decimal, rounded; `-` of nothing. More than the whole is more than 100.
#[derive(Clone, Copy, Debug)]
pub struct Percent(pub u64, pub u64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.1 == 0 {
            return f.write_str("-");
        }
        let whole = u128::from(self.1);
        let tenths = (u128::from(self.0) * 1000 + whole / 2) / whole;
        write!(f, "{}.{}", tenths / 10, tenths % 10)
    }
}

/// What is to be printed, or a dash.
#[derive(Clone, Copy, Debug)]
pub struct OrDash<T>(pub Option<T>);

impl<T: fmt::Display> fmt::Display for OrDash<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(t) => t.fmt(f),
            None => f.write_str("-"),
        }
    }
}

/// Seconds as typed: `2`, `0.25`; up to a day, at least a millisecond.
pub fn parse_seconds(text: &str) -> Option<Span> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || whole.is_empty() || part.len() > 3 || text.ends_with('.')
    {
        return None;
    }
    let whole: u64 = whole.parse().ok().filter(|s| *s <= 86_400)?;
    let ms = match part.len() {
        0 => 0,
        n => part.parse::<u64>().ok()? * 10u64.pow(3 - n as u32),
    };
    let total = whole * 1000 + ms;
    (total > 0).then(|| Span::ms(total))
}

/// KiB as MiB when it is a whole number of them, else as KiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory(pub u64);

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1024) {
            write!(f, "{} MiB", self.0 / 1024)
        } else {
            write!(f, "{} KiB", self.0)
        }
    }
}

/// Memory for people, and in JSON as a number of bytes.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    kib: u64,
    bytes: bool,
}

impl Size {
    /// Of so many KiB, for whoever reads this session.
    pub fn of(s: &Session<'_>, kib: u64) -> Size {
        Size { kib, bytes: s.json }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bytes {
            write!(f, "{}", self.kib.saturating_mul(1024))
        } else {
            Memory(self.kib).fmt(f)
        }
    }
}

/// Hz as MHz with the decimals it needs.
#[derive(Clone, Copy, Debug)]
pub struct Frequency(pub u64);

impl fmt::Display for Frequency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut part, mut digits) = (self.0 % 1_000_000, 6);
        write!(f, "{}", self.0 / 1_000_000)?;
        if part != 0 {
            while part.is_multiple_of(10) {
                part /= 10;
                digits -= 1;
            }
            write!(f, ".{part:0digits$}")?;
        }
        f.write_str(" MHz")
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn prints_units() {
        assert_eq!(Seconds(Span(1_234_567_890), 1).to_string(), "1.2");
        assert_eq!(Seconds(Span(1_034_567_890), 3).to_string(), "1.034");
        assert_eq!(Seconds(Span(u64::MAX), 0).to_string(), "18446744073");
        assert_eq!(Percent(1, 3).to_string(), "33.3");
        assert_eq!(Percent(u64::MAX, u64::MAX / 2).to_string(), "200.0");
        assert_eq!(Percent(1, 0).to_string(), "-");
        assert_eq!(parse_seconds("0.25"), Some(Span::ms(250)));
        assert_eq!(parse_seconds("2"), Some(Span::ms(2000)));
        for bad in ["", ".5", "1.", "0", "1.2345", "86401", "-1", "1.x"] {
            assert_eq!(parse_seconds(bad), None, "{bad}");
        }
        assert_eq!(Memory(2048).to_string(), "2 MiB");
        assert_eq!(Memory(2049).to_string(), "2049 KiB");
        assert_eq!(Frequency(62_500_000).to_string(), "62.5 MHz");
        assert_eq!(Frequency(54_000_000).to_string(), "54 MHz");
        assert_eq!(Frequency(19_200_001).to_string(), "19.200001 MHz");
        assert_eq!(Frequency(1_000).to_string(), "0.001 MHz");
    }
}
