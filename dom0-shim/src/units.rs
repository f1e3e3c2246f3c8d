//! How numbers with a unit are printed. No floating point: the CPU's is not ours to use here.

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
        assert_eq!(Memory(2048).to_string(), "2 MiB");
        assert_eq!(Memory(2049).to_string(), "2049 KiB");
        assert_eq!(Frequency(62_500_000).to_string(), "62.5 MHz");
        assert_eq!(Frequency(54_000_000).to_string(), "54 MHz");
        assert_eq!(Frequency(19_200_001).to_string(), "19.200001 MHz");
        assert_eq!(Frequency(1_000).to_string(), "0.001 MHz");
    }
}
