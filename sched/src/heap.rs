//! An indexed 4-ary heap: the smallest key on top, first come first served among equals.
//!
//! Insert, remove and change of a key are O(log n) and allocate nothing once `reserve` has been called. Keys are points on
//! an axis that may wrap: they are compared by difference and must lie within 2^62 of each other.

use crate::error::SchedError;
use crate::scheduler::Ent;
use alloc::vec::Vec;

#[derive(Clone, Copy)]
struct Item {
    key: i64,
    seq: u64,
    ent: Ent,
}

impl Item {
    #[inline]
    fn before(&self, o: &Item) -> bool {
        let d = self.key.wrapping_sub(o.key);
        d < 0 || (d == 0 && self.seq < o.seq)
    }
}

/// Where each entity stands in whichever heap it is in. One table for all heaps: an entity is in at most one.
#[derive(Default)]
pub(crate) struct Places(Vec<u32>);

const NOWHERE: u32 = u32::MAX;

impl Places {
    /// Makes room for `e`.
    pub(crate) fn reserve(&mut self, e: Ent) -> Result<(), SchedError> {
        let missing = (e.index() + 1).saturating_sub(self.0.len());
        self.0
            .try_reserve(missing)
            .map_err(|_| SchedError::NoMemory)?;
        for _ in 0..missing {
            self.0.push(NOWHERE);
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn is_queued(&self, e: Ent) -> bool {
        self.0[e.index()] != NOWHERE
    }
}

/// A heap.
#[derive(Default)]
pub(crate) struct Heap {
    items: Vec<Item>,
}

impl Heap {
    pub(crate) fn reserve(&mut self, total: usize) -> Result<(), SchedError> {
        let more = total.saturating_sub(self.items.len());
        self.items
            .try_reserve(more)
            .map_err(|_| SchedError::NoMemory)
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The best and its key.
    #[inline]
    pub(crate) fn top(&self) -> Option<(Ent, i64, u64)> {
        self.items.first().map(|i| (i.ent, i.key, i.seq))
    }

    /// The key of `ent`, if it is in this heap or another one of these places.
    pub(crate) fn key(&self, at: &Places, ent: Ent) -> Option<i64> {
        let i = at.0.get(ent.index())?;
        self.items.get(*i as usize).map(|i| i.key)
    }

    pub(crate) fn insert(&mut self, at: &mut Places, ent: Ent, key: i64, seq: u64) {
        let i = self.items.len();
        self.items.push(Item { key, seq, ent });
        at.0[ent.index()] = i as u32;
        self.up(at, i);
    }

    pub(crate) fn remove(&mut self, at: &mut Places, ent: Ent) {
        let i = at.0[ent.index()] as usize;
        at.0[ent.index()] = NOWHERE;
        self.items.swap_remove(i);
        if i < self.items.len() {
            at.0[self.items[i].ent.index()] = i as u32;
            self.down(at, i);
            self.up(at, i);
        }
    }

    /// Gives `ent`, which is in this heap, another key.
    pub(crate) fn rekey(&mut self, at: &mut Places, ent: Ent, key: i64) {
        let i = at.0[ent.index()] as usize;
        self.items[i].key = key;
        self.down(at, i);
        let i = at.0[ent.index()] as usize;
        self.up(at, i);
    }

    fn up(&mut self, at: &mut Places, mut i: usize) {
        let item = self.items[i];
        while i > 0 {
            let parent = (i - 1) / 4;
            if !item.before(&self.items[parent]) {
                break;
            }
            self.items[i] = self.items[parent];
            at.0[self.items[i].ent.index()] = i as u32;
            i = parent;
        }
        self.items[i] = item;
        at.0[item.ent.index()] = i as u32;
    }

    fn down(&mut self, at: &mut Places, mut i: usize) {
        let item = self.items[i];
        loop {
            let first = 4 * i + 1;
            let mut best = i;
            let mut least = item;
            for child in first..(first + 4).min(self.items.len()) {
                if self.items[child].before(&least) {
                    best = child;
                    least = self.items[child];
                }
            }
            if best == i {
                break;
            }
            self.items[i] = least;
            at.0[least.ent.index()] = i as u32;
            i = best;
        }
        self.items[i] = item;
        at.0[item.ent.index()] = i as u32;
    }

    /// Everybody in it, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Ent> {
        self.items.iter().map(|i| i.ent)
    }

    /// Whether order and places hold.
    pub(crate) fn check(&self, at: &Places) -> Result<(), &'static str> {
        for (i, item) in self.items.iter().enumerate() {
            if at.0[item.ent.index()] != i as u32 {
                return Err("an entity is not where it is said to be");
            }
            if i > 0 && item.before(&self.items[(i - 1) / 4]) {
                return Err("the heap is out of order");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn orders_like_a_stable_sort_and_across_the_wrap() {
        let mut rng = 12345u64;
        let mut next = || {
            rng = rng
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            rng >> 33
        };
        for round in 0..200 {
            let base = if round % 2 == 0 { 0 } else { i64::MAX - 20 };
            let (mut at, mut heap) = (Places::default(), Heap::default());
            let mut naive: Vec<(i64, u64, Ent)> = Vec::new();
            for seq in 0..200u64 {
                match next() % 4 {
                    0 if !naive.is_empty() => {
                        let (_, _, e) = naive.swap_remove(next() as usize % naive.len());
                        heap.remove(&mut at, e);
                    }
                    1 if !naive.is_empty() => {
                        let i = next() as usize % naive.len();
                        naive[i].0 = (next() % 40) as i64;
                        heap.rekey(&mut at, naive[i].2, base.wrapping_add(naive[i].0));
                    }
                    _ => {
                        let (e, key) = (Ent(seq as u32), (next() % 40) as i64);
                        at.reserve(e).unwrap();
                        naive.push((key, seq, e));
                        heap.insert(&mut at, e, base.wrapping_add(key), seq);
                    }
                }
                heap.check(&at).unwrap();
                assert_eq!(heap.top().map(|t| t.0), naive.iter().min().map(|t| t.2));
            }
        }
    }
}
