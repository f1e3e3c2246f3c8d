//! A table of entities with dense handles: O(1) to take and give back, allocates only in `alloc`.
//!
//! Neighbours: every policy keeps its entities in one.

use crate::error::SchedError;
use crate::scheduler::Ent;
use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

/// Rows by `Ent`, with a free list that never needs to grow when a row is given back.
pub(crate) struct Slab<T> {
    rows: Vec<T>,
    used: Vec<bool>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        const { assert!(!core::mem::needs_drop::<T>(), "rows own nothing") };
        Slab {
            rows: Vec::new(),
            used: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Takes a row for `value`.
    pub(crate) fn alloc(&mut self, value: T) -> Result<Ent, SchedError> {
        if let Some(i) = self.free.pop() {
            self.rows[i as usize] = value;
            self.used[i as usize] = true;
            return Ok(Ent(i));
        }
        let i = u32::try_from(self.rows.len()).map_err(|_| SchedError::NoMemory)?;
        self.rows.try_reserve(1).map_err(|_| SchedError::NoMemory)?;
        self.used.try_reserve(1).map_err(|_| SchedError::NoMemory)?;
        let spare = self.rows.capacity() - self.free.len();
        self.free
            .try_reserve(spare)
            .map_err(|_| SchedError::NoMemory)?;
        self.rows.push(value);
        self.used.push(true);
        Ok(Ent(i))
    }

    /// Gives the row of `e` back. What is in it stays until it is taken again: rows own nothing.
    pub(crate) fn free(&mut self, e: Ent) {
        if core::mem::take(&mut self.used[e.index()]) {
            self.free.push(e.0);
        }
    }

    /// The row of `e`, if it is in use.
    pub(crate) fn get(&self, e: Ent) -> Option<&T> {
        self.rows
            .get(e.index())
            .filter(|_| self.used.get(e.index()) == Some(&true))
    }

    /// How many rows there are, in use or not.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Rows in use, in order of handles.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Ent, &T)> {
        self.rows
            .iter()
            .enumerate()
            .filter(|(i, _)| self.used[*i])
            .map(|(i, r)| (Ent(i as u32), r))
    }

    /// Rows in use, to change.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let used = &self.used;
        self.rows
            .iter_mut()
            .enumerate()
            .filter(|(i, _)| used[*i])
            .map(|(_, r)| r)
    }
}

impl<T> Index<Ent> for Slab<T> {
    type Output = T;
    #[inline]
    fn index(&self, e: Ent) -> &T {
        debug_assert!(
            self.used[e.index()],
            "scheduler handle used after it was freed"
        );
        &self.rows[e.index()]
    }
}

impl<T> IndexMut<Ent> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, e: Ent) -> &mut T {
        debug_assert!(
            self.used[e.index()],
            "scheduler handle used after it was freed"
        );
        &mut self.rows[e.index()]
    }
}
