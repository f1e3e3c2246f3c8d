//! A first-in first-out queue threaded through a table: push, pop and removal from the middle are O(1).
//!
//! Neighbours: `rr.rs` queues in it, `rtds` keeps in one whose period has just begun. The links live in the
//! entity's own row, so nothing allocates.

use crate::scheduler::Ent;

/// Where an entity stands in a [`Fifo`].
#[derive(Clone, Copy, Default)]
pub(crate) struct Link {
    prev: Option<Ent>,
    next: Option<Ent>,
    queued: bool,
}

impl Link {
    pub(crate) const fn is_queued(&self) -> bool {
        self.queued
    }
    pub(crate) const fn next(&self) -> Option<Ent> {
        self.next
    }
}

/// Gives access to the links of a table.
pub(crate) trait Links {
    fn link(&mut self, e: Ent) -> &mut Link;
}

/// Head and tail of a queue.
#[derive(Default)]
pub(crate) struct Fifo {
    head: Option<Ent>,
    tail: Option<Ent>,
}

impl Fifo {
    pub(crate) const fn head(&self) -> Option<Ent> {
        self.head
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    pub(crate) fn push(&mut self, rows: &mut impl Links, e: Ent) {
        *rows.link(e) = Link {
            prev: self.tail,
            next: None,
            queued: true,
        };
        match self.tail {
            Some(t) => rows.link(t).next = Some(e),
            None => self.head = Some(e),
        }
        self.tail = Some(e);
    }

    /// Puts `e` behind the last one that is `before` it; O(1) where that is the last of all.
    pub(crate) fn push_behind<R: Links>(
        &mut self,
        rows: &mut R,
        e: Ent,
        before: impl Fn(&R, Ent) -> bool,
    ) {
        let (mut prev, mut next) = (self.tail, None);
        while let Some(p) = prev.filter(|p| !before(rows, *p)) {
            next = prev;
            prev = rows.link(p).prev;
        }
        *rows.link(e) = Link {
            prev,
            next,
            queued: true,
        };
        match prev {
            Some(p) => rows.link(p).next = Some(e),
            None => self.head = Some(e),
        }
        match next {
            Some(n) => rows.link(n).prev = Some(e),
            None => self.tail = Some(e),
        }
    }

    pub(crate) fn remove(&mut self, rows: &mut impl Links, e: Ent) {
        let l = core::mem::take(rows.link(e));
        if !l.queued {
            return;
        }
        match l.prev {
            Some(p) => rows.link(p).next = l.next,
            None => self.head = l.next,
        }
        match l.next {
            Some(n) => rows.link(n).prev = l.prev,
            None => self.tail = l.prev,
        }
    }
}
