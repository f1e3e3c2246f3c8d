//! When groups want to be asked again though no processor of theirs has a timer for it, the earliest first.
//!
//! Allocates only where a group is made. Neighbours: `mod.rs` says what they want, `pick.rs` asks.

use crate::error::SchedError;
use crate::heap::{Heap, Places};
use crate::scheduler::Ent;
use tarn_abi::Instant;

/// Groups by the moment.
#[derive(Default)]
pub(super) struct Dues {
    heap: Heap,
    at: Places,
}

impl Dues {
    /// Makes room for a group; there are `others`.
    pub(super) fn reserve(&mut self, node: u16, others: u32) -> Result<(), SchedError> {
        self.heap.reserve(others as usize + 1)?;
        self.at.reserve(Ent(node.into()))
    }

    /// The first, and when.
    #[inline]
    pub(super) fn first(&self) -> Option<(u16, Instant)> {
        let (node, at, _) = self.heap.top()?;
        Some((node.0 as u16, Instant(at as u64)))
    }

    /// When the group wants to be asked.
    pub(super) fn of(&self, node: u16) -> Option<Instant> {
        let key = self.heap.key(&self.at, Ent(node.into()))?;
        Some(Instant(key as u64))
    }

    pub(super) fn set(&mut self, node: u16, t: Instant) {
        let (e, key) = (Ent(node.into()), t.0 as i64);
        if self.at.is_queued(e) {
            self.heap.rekey(&mut self.at, e, key);
        } else {
            self.heap.insert(&mut self.at, e, key, node.into());
        }
    }

    /// It need not be asked any more.
    pub(super) fn clear(&mut self, node: u16) {
        let e = Ent(node.into());
        if self.at.is_queued(e) {
            self.heap.remove(&mut self.at, e);
        }
    }

    pub(super) fn check(&self) -> Result<(), &'static str> {
        self.heap.check(&self.at)
    }
}
