//! A VMSAv8-64 translation table with 4 KiB granule, as both stages use it: map, with the largest blocks that fit.
//!
//! Tables are reached at their physical address (EL2 is identity mapped). Entries only ever go from invalid to valid
//! while a table is live, so break-before-make never arises; a table dies whole. Running out of memory is an error
//! value. Why not a crate: docs/adr/0004-own-page-tables.md.

use super::{PAGE, frames};
use core::sync::atomic::{AtomicU64, Ordering};

const VALID: u64 = 1;
const TABLE_OR_PAGE: u64 = 2;
const ADDR: u64 = 0x0000_ffff_ffff_f000;

/// Why a range could not be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// Not page aligned, or beyond the table's reach.
    Range,
    /// Something is mapped there already.
    Overlap,
    /// No memory for a table.
    NoMemory,
}

/// A tree of tables, owned.
pub struct Table {
    root: usize,
    first_level: u32,
    tables: usize,
    /// Where taking it apart has come to: a table and the next entry to look at, from the root down. Empty when all is
    /// given back.
    left: heapless::Vec<(usize, usize), 4>,
}

impl Table {
    /// An empty tree whose root is of level `first_level` (0: 48 bits, 1: 39 bits of input address).
    pub fn new(first_level: u32) -> Result<Table, MapError> {
        let root = new_table()?;
        Ok(Table {
            root,
            first_level,
            tables: 1,
            left: heapless::Vec::from_slice(&[(root, 0)]).unwrap_or_default(),
        })
    }

    /// Physical address of the root.
    pub fn root(&self) -> usize {
        self.root
    }

    /// Pages the tables take.
    pub fn pages(&self) -> usize {
        self.tables
    }

    /// Maps `len` bytes of input addresses from `ia` to output addresses from `oa`, all with descriptor bits `attrs`.
    /// On an error what was mapped before it stays mapped: the caller drops the tree or maps the rest later.
    pub fn map(&mut self, ia: usize, oa: usize, len: usize, attrs: u64) -> Result<(), MapError> {
        let reach = 1usize << (48 - 9 * self.first_level);
        let end = ia.checked_add(len).ok_or(MapError::Range)?;
        if (ia | oa | len) & (PAGE - 1) != 0
            || end > reach
            || oa.checked_add(len).is_none_or(|e| e > 1 << 48)
        {
            return Err(MapError::Range);
        }
        self.map_level(self.root, self.first_level, ia, end, oa, attrs)
    }

    fn map_level(
        &mut self,
        table: usize,
        level: u32,
        start: usize,
        end: usize,
        oa: usize,
        attrs: u64,
    ) -> Result<(), MapError> {
        let span = PAGE << (9 * (3 - level));
        let (mut ia, mut oa) = (start, oa);
        while ia < end {
            let e = entry(table, (ia / span) & 511);
            let stop = ((ia & !(span - 1)) + span).min(end);
            let old = e.load(Ordering::Relaxed);
            let whole = stop - ia == span && oa & (span - 1) == 0;
            if level == 3 || (level > 0 && whole && old & VALID == 0) {
                if old & VALID != 0 {
                    return Err(MapError::Overlap);
                }
                let kind = if level == 3 { TABLE_OR_PAGE } else { 0 };
                e.store(oa as u64 | attrs | kind | VALID, Ordering::Release);
            } else {
                let next = if old & VALID == 0 {
                    let t = new_table()?;
                    self.tables += 1;
                    e.store(t as u64 | TABLE_OR_PAGE | VALID, Ordering::Release);
                    t
                } else if old & TABLE_OR_PAGE != 0 {
                    (old & ADDR) as usize
                } else {
                    return Err(MapError::Overlap);
                };
                self.map_level(next, level + 1, ia, stop, oa, attrs)?;
            }
            oa += stop - ia;
            ia = stop;
        }
        Ok(())
    }

    /// The output address and attributes behind `ia`, if mapped.
    pub fn lookup(&self, ia: usize) -> Option<(usize, u64)> {
        if ia >> (48 - 9 * self.first_level) != 0 {
            return None;
        }
        let mut table = self.root;
        for level in self.first_level..4 {
            let span = PAGE << (9 * (3 - level));
            let d = entry(table, (ia / span) & 511).load(Ordering::Acquire);
            if d & VALID == 0 {
                return None;
            }
            if level == 3 || d & TABLE_OR_PAGE == 0 {
                return Some(((d & ADDR) as usize + (ia & (span - 1)), d & !ADDR));
            }
            table = (d & ADDR) as usize;
        }
        None
    }

    /// What giving a page back costs, in entries looked at.
    pub const FREED: usize = 32;

    /// Gives tables back, as far as `budget` goes: an entry looked at costs one, a table given back `FREED`. Whether
    /// something is left. Nothing may use the tree from the first time on.
    pub fn dismantle(&mut self, mut budget: usize) -> bool {
        while budget > 0 {
            let depth = self.left.len() as u32;
            let Some((table, next)) = self.left.last_mut() else {
                return false;
            };
            // What a table of the last level names is not ours.
            let end = if self.first_level + depth > 3 { 0 } else { 512 };
            let stop = end.min(next.saturating_add(budget));
            let mut below = None;
            for i in *next..stop {
                let d = entry(*table, i).load(Ordering::Relaxed);
                budget -= 1;
                *next = i + 1;
                if d & (VALID | TABLE_OR_PAGE) == VALID | TABLE_OR_PAGE {
                    below = Some((d & ADDR) as usize);
                    break;
                }
            }
            if let Some(below) = below {
                // There are four levels at most.
                let _ = self.left.push((below, 0));
            } else if *next >= end {
                // SAFETY: this page came from `new_table`, which gave up its owner; nothing refers to it any more: what
                // is below it is gone, and a tree is taken apart only when no CPU has it loaded and its TLB entries are
                // gone (Stage2::dismantle).
                unsafe { frames::add_back(*table, PAGE) };
                self.left.pop();
                budget = budget.saturating_sub(Self::FREED);
            }
        }
        !self.left.is_empty()
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.dismantle(usize::MAX);
    }
}

fn new_table() -> Result<usize, MapError> {
    let page = frames::alloc(PAGE, PAGE).ok_or(MapError::NoMemory)?.leak();
    // SAFETY: the page was just allocated, so it is mapped and nobody else's.
    unsafe { crate::arch::zero(page, PAGE) };
    Ok(page)
}

fn entry(table: usize, index: usize) -> &'static AtomicU64 {
    debug_assert!(index < 512);
    // SAFETY: `table` is a page from `new_table`, which is mapped and used only as 512 atomic words; it outlives the
    // borrow since trees are freed only by `drop`, which needs the tree exclusively.
    unsafe { &*((table + index * 8) as *const AtomicU64) }
}
