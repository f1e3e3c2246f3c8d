//! A table of entities with dense handles: O(1) to take and give back, allocates only in `alloc`.
//!
//! Neighbours: every policy keeps its entities in one.

use crate::error::SchedError;
use crate::scheduler::Ent;
use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

/// Rows by `Ent`, with a free list that never needs to grow when a row is given back.
pub(crate) struct Slab<T> {
    rows: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Slab {
            rows: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Takes a row for `value`.
    pub(crate) fn alloc(&mut self, value: T) -> Result<Ent, SchedError> {
        if let Some(i) = self.free.pop() {
            self.rows[i as usize] = Some(value);
            return Ok(Ent(i));
        }
        let i = u32::try_from(self.rows.len()).map_err(|_| SchedError::NoMemory)?;
        self.rows.try_reserve(1).map_err(|_| SchedError::NoMemory)?;
        let spare = self.rows.capacity() - self.free.len();
        self.free
            .try_reserve(spare)
            .map_err(|_| SchedError::NoMemory)?;
        self.rows.push(Some(value));
        Ok(Ent(i))
    }

    /// Gives the row of `e` back.
    pub(crate) fn free(&mut self, e: Ent) {
        if self.rows[e.index()].take().is_some() {
            self.free.push(e.0);
        }
    }

    /// The row of `e`, if it is in use.
    pub(crate) fn get(&self, e: Ent) -> Option<&T> {
        self.rows.get(e.index()).and_then(Option::as_ref)
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
            .filter_map(|(i, r)| r.as_ref().map(|r| (Ent(i as u32), r)))
    }

    /// Rows in use, to change.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.rows.iter_mut().flatten()
    }
}

impl<T> Index<Ent> for Slab<T> {
    type Output = T;
    fn index(&self, e: Ent) -> &T {
        match &self.rows[e.index()] {
            Some(row) => row,
            None => freed(),
        }
    }
}

impl<T> IndexMut<Ent> for Slab<T> {
    fn index_mut(&mut self, e: Ent) -> &mut T {
        match &mut self.rows[e.index()] {
            Some(row) => row,
            None => freed(),
        }
    }
}

#[cold]
fn freed() -> ! {
    panic!("scheduler handle used after it was freed")
}
