//! Ranges of physical addresses, and the arithmetic on lists of them.
//!
//! A `Region` is never empty and never reaches past the last address: whoever has one needs no further check. Lists
//! are sorted by base. Neighbours: memory.rs fills the lists of a board from the tree.

use alloc::vec::Vec;
use core::fmt;

/// `size` bytes from `base`; `size` is not 0 and `base + size` fits in 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Region {
    base: u64,
    size: u64,
}

impl Region {
    /// `size` bytes from `base`; `None` if that is nothing or reaches past the end of the address space.
    pub const fn new(base: u64, size: u64) -> Option<Region> {
        if size == 0 || base.checked_add(size).is_none() {
            return None;
        }
        Some(Region { base, size })
    }

    /// The bytes from `start` up to, without, `end`.
    pub const fn between(start: u64, end: u64) -> Option<Region> {
        if start >= end {
            return None;
        }
        Some(Region {
            base: start,
            size: end - start,
        })
    }

    /// First address.
    pub const fn base(&self) -> u64 {
        self.base
    }

    /// Bytes; never 0.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The address behind the last one.
    pub const fn end(&self) -> u64 {
        self.base + self.size
    }

    /// Whether `addr` is inside.
    pub const fn contains(&self, addr: u64) -> bool {
        addr >= self.base && addr < self.end()
    }

    /// Whether all of `other` is inside.
    pub const fn covers(&self, other: &Region) -> bool {
        other.base >= self.base && other.end() <= self.end()
    }

    /// Whether they share a byte.
    pub const fn overlaps(&self, other: &Region) -> bool {
        self.base < other.end() && other.base < self.end()
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}-{:#x}", self.base, self.end() - 1)
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A list may not grow as long as it would have to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListFull;

/// Sorts by base and joins what touches or overlaps.
pub fn normalize(list: &mut Vec<Region>) {
    list.sort_unstable();
    let mut kept = 0;
    for i in 0..list.len() {
        let r = list[i];
        if kept > 0 && r.base <= list[kept - 1].end() {
            let last = &mut list[kept - 1];
            last.size = last.end().max(r.end()) - last.base;
        } else {
            list[kept] = r;
            kept += 1;
        }
    }
    list.truncate(kept);
}

/// Takes `hole` out of every region of a sorted list, which may become `max` long. On `ListFull` it is as it was.
pub fn subtract(list: &mut Vec<Region>, hole: Region, max: usize) -> Result<(), ListFull> {
    let splits = list
        .iter()
        .any(|r| r.base < hole.base && hole.end() < r.end());
    if splits && list.len() >= max {
        return Err(ListFull);
    }
    let mut i = 0;
    while i < list.len() {
        let r = list[i];
        if !r.overlaps(&hole) {
            i += 1;
            continue;
        }
        let below = Region::between(r.base, hole.base);
        let above = Region::between(hole.end(), r.end());
        match (below, above) {
            (None, None) => {
                list.remove(i);
            }
            (Some(one), None) | (None, Some(one)) => {
                list[i] = one;
                i += 1;
            }
            (Some(below), Some(above)) => {
                list[i] = below;
                list.insert(i + 1, above);
                i += 2;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(of: &[(u64, u64)]) -> Vec<Region> {
        of.iter()
            .map(|&(a, b)| Region::between(a, b).unwrap())
            .collect()
    }

    #[test]
    fn no_region_is_empty_or_wraps() {
        assert_eq!(Region::new(0, 0), None);
        assert_eq!(Region::new(u64::MAX, 1), None);
        assert_eq!(Region::new(1, u64::MAX), None);
        assert_eq!(Region::between(5, 5), None);
        assert_eq!(Region::new(0, u64::MAX).unwrap().end(), u64::MAX);
    }

    #[test]
    fn normalize_joins_neighbours_and_overlaps() {
        let mut l = list(&[(30, 40), (0, 10), (10, 20), (5, 12)]);
        normalize(&mut l);
        assert_eq!(l, list(&[(0, 20), (30, 40)]));
        let mut l = list(&[(0, 100), (10, 20), (50, 100), (100, 101)]);
        normalize(&mut l);
        assert_eq!(l, list(&[(0, 101)]));
        let mut l = list(&[]);
        normalize(&mut l);
        assert!(l.is_empty());
    }

    #[test]
    fn subtract_cuts_splits_and_removes() {
        let hole = |a, b| Region::between(a, b).unwrap();
        let mut l = list(&[(0, 10), (20, 30), (40, 50)]);
        subtract(&mut l, hole(5, 45), 4).unwrap();
        assert_eq!(l, list(&[(0, 5), (45, 50)]));
        subtract(&mut l, hole(2, 3), 4).unwrap();
        assert_eq!(l, list(&[(0, 2), (3, 5), (45, 50)]));
        subtract(&mut l, hole(46, 47), 4).unwrap();
        let before = l.clone();
        assert_eq!(subtract(&mut l, hole(48, 49), 4), Err(ListFull));
        assert_eq!(l, before);
        subtract(&mut l, hole(0, u64::MAX), 4).unwrap();
        assert!(l.is_empty());
    }
}
