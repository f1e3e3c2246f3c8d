//! A set of physical CPUs: a small array of words, printed as ranges ("0-2,5").
//!
//! Fixed size, no allocation; members beyond `MAX_CPUS` cannot be represented and are refused, not wrapped.

use crate::id::{CpuId, MAX_CPUS};
use core::fmt;

const WORDS: usize = MAX_CPUS / 64;

/// Some of the physical CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CpuSet([u64; WORDS]);

impl CpuSet {
    /// No CPU.
    pub const EMPTY: CpuSet = CpuSet([0; WORDS]);
    /// Every CPU that can be named.
    pub const ALL: CpuSet = CpuSet([u64::MAX; WORDS]);

    /// Just `cpu`.
    pub const fn one(cpu: CpuId) -> CpuSet {
        let mut s = CpuSet::EMPTY;
        s.insert(cpu);
        s
    }

    /// CPUs 0 to `n` - 1.
    pub fn first(n: usize) -> CpuSet {
        let mut s = CpuSet::EMPTY;
        for i in 0..n.min(MAX_CPUS) {
            s.insert(CpuId(i as u16));
        }
        s
    }

    /// Adds `cpu`; a number beyond `MAX_CPUS` is ignored.
    pub const fn insert(&mut self, cpu: CpuId) {
        if cpu.index() < MAX_CPUS {
            self.0[cpu.index() / 64] |= 1 << (cpu.index() % 64);
        }
    }

    /// Takes `cpu` out.
    pub const fn remove(&mut self, cpu: CpuId) {
        if cpu.index() < MAX_CPUS {
            self.0[cpu.index() / 64] &= !(1 << (cpu.index() % 64));
        }
    }

    /// Whether `cpu` is a member.
    pub const fn contains(&self, cpu: CpuId) -> bool {
        cpu.index() < MAX_CPUS && self.0[cpu.index() / 64] & (1 << (cpu.index() % 64)) != 0
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|w| *w == 0)
    }

    /// How many members.
    pub fn len(&self) -> usize {
        self.0.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Members of either.
    pub fn union(&self, other: &CpuSet) -> CpuSet {
        CpuSet(core::array::from_fn(|i| self.0[i] | other.0[i]))
    }

    /// Members of both.
    pub fn intersection(&self, other: &CpuSet) -> CpuSet {
        CpuSet(core::array::from_fn(|i| self.0[i] & other.0[i]))
    }

    /// Members of `self` that are not in `other`.
    pub fn difference(&self, other: &CpuSet) -> CpuSet {
        CpuSet(core::array::from_fn(|i| self.0[i] & !other.0[i]))
    }

    /// The lowest member.
    pub fn lowest(&self) -> Option<CpuId> {
        self.iter().next()
    }

    /// Members in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = CpuId> + use<> {
        let words = self.0;
        let mut i = 0;
        let mut word = words[0];
        core::iter::from_fn(move || {
            while word == 0 {
                i += 1;
                if i == WORDS {
                    i = WORDS - 1;
                    return None;
                }
                word = words[i];
            }
            let bit = word.trailing_zeros() as usize;
            word &= word - 1;
            Some(CpuId((i * 64 + bit) as u16))
        })
    }

    /// As words, lowest CPUs first, for the call boundary.
    pub const fn to_words(self) -> [u64; WORDS] {
        self.0
    }

    /// Back from words.
    pub const fn from_words(words: [u64; WORDS]) -> CpuSet {
        CpuSet(words)
    }

    /// Reads "0-2,5". `None` for anything else, an empty string and numbers beyond `MAX_CPUS` included.
    pub fn parse(text: &str) -> Option<CpuSet> {
        let mut s = CpuSet::EMPTY;
        for part in text.split(',') {
            let (a, b) = part.split_once('-').unwrap_or((part, part));
            let number = |t: &str| -> Option<usize> {
                let t = t.trim();
                if t.is_empty() || !t.bytes().all(|c| c.is_ascii_digit()) {
                    return None;
                }
                t.parse().ok().filter(|n| *n < MAX_CPUS)
            };
            let (a, b) = (number(a)?, number(b)?);
            if a > b {
                return None;
            }
            for i in a..=b {
                s.insert(CpuId(i as u16));
            }
        }
        Some(s)
    }
}

impl FromIterator<CpuId> for CpuSet {
    fn from_iter<I: IntoIterator<Item = CpuId>>(it: I) -> CpuSet {
        let mut s = CpuSet::EMPTY;
        it.into_iter().for_each(|c| s.insert(c));
        s
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        let mut i = 0;
        let mut first = true;
        while i < MAX_CPUS {
            if !self.contains(CpuId(i as u16)) {
                i += 1;
                continue;
            }
            let start = i;
            while i + 1 < MAX_CPUS && self.contains(CpuId(i as u16 + 1)) {
                i += 1;
            }
            if !first {
                f.write_str(",")?;
            }
            first = false;
            if i == start {
                write!(f, "{start}")?;
            } else {
                write!(f, "{start}-{i}")?;
            }
            i += 1;
        }
        Ok(())
    }
}

impl fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn prints_and_parses_ranges() {
        for text in ["0-2,5", "1", "0-127", "63-64", "0,2,4"] {
            assert_eq!(CpuSet::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "-", "3-1", "128", "a", "1,", "+1"] {
            assert_eq!(CpuSet::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn iterates_over_words() {
        let s: CpuSet = [CpuId(127), CpuId(0), CpuId(64)].into_iter().collect();
        let v: std::vec::Vec<u16> = s.iter().map(|c| c.0).collect();
        assert_eq!(v, [0, 64, 127]);
        assert_eq!(s.len(), 3);
        let mut it = s.iter();
        assert_eq!(it.by_ref().count(), 3);
        assert_eq!(it.next(), None);
    }
}
