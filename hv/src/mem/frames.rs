//! Free physical memory, page by page: first fit over address-ordered free ranges.
//!
//! A free range keeps its own length and its successor in its first bytes, so the allocator has no memory of its own
//! and cannot run out of it. What is handed out is an owner, `FrameRange`; dropping it gives the pages back. Contents
//! are whatever they were: who hands pages to a guest zeroes them. No page is ever owned twice.

use super::PAGE;
use crate::arch::Lock;
use core::ops::Range;

/// All of memory.
const EVERYWHERE: Range<usize> = 0..usize::MAX;

/// Physical pages, owned. Identity-mapped, so `start` is an address too.
#[derive(Debug)]
pub struct FrameRange {
    start: usize,
    len: usize,
    /// Not the allocator's: dropping it gives nothing back.
    apart: bool,
}

impl FrameRange {
    /// First byte.
    pub fn start(&self) -> usize {
        self.start
    }

    /// Bytes, a multiple of the page size, not 0.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Pages that never were the allocator's.
    ///
    /// # Safety
    /// They are RAM, mapped writable at EL2 for ever, and nothing else refers to them while this lives.
    pub unsafe fn own(start: usize, len: usize) -> FrameRange {
        FrameRange {
            start,
            len,
            apart: true,
        }
    }

    /// Gives up ownership for good (tables and stacks that live as long as Tarn).
    pub fn leak(self) -> usize {
        let start = self.start;
        core::mem::forget(self);
        start
    }
}

impl Drop for FrameRange {
    fn drop(&mut self) {
        if !self.apart {
            FRAMES.lock().give(self.start, self.len);
        }
    }
}

#[repr(C)]
struct FreeRange {
    len: usize,
    next: usize,
}

/// The free ranges, ascending, never adjacent.
struct Frames {
    head: usize,
    free: usize,
    total: usize,
}

static FRAMES: Lock<Frames> = Lock::new(Frames {
    head: 0,
    free: 0,
    total: 0,
});

/// Puts mapped RAM that nobody uses under the allocator's care. Partial pages at either end are left out.
///
/// # Safety
/// The range is RAM, mapped writable at EL2 for ever, and nothing else refers to it.
pub unsafe fn add(start: usize, end: usize) {
    let start = start.max(PAGE).next_multiple_of(PAGE);
    let end = end & !(PAGE - 1);
    if start < end {
        let mut f = FRAMES.lock();
        f.total += end - start;
        f.give(start, end - start);
    }
}

/// `len` bytes at a multiple of `align`, both rounded up to pages; `None` if there is no such range.
pub fn alloc(len: usize, align: usize) -> Option<FrameRange> {
    alloc_in(len, align, &EVERYWHERE)
}

/// The same inside `within`.
pub fn alloc_in(len: usize, align: usize, within: &Range<usize>) -> Option<FrameRange> {
    FRAMES.lock().take(len, align, within)
}

/// Bytes free inside `within`.
pub fn free_in(within: &Range<usize>) -> usize {
    let f = FRAMES.lock();
    let mut sum = 0;
    let mut at = f.head;
    while at != 0 {
        let r = range(at);
        sum += (at + r.len)
            .min(within.end)
            .saturating_sub(at.max(within.start));
        at = r.next;
    }
    sum
}

/// The largest range inside `within` of at least `min` and at most `max` bytes at a multiple of `align`; its length is a
/// multiple of `align`.
pub fn alloc_up_to(
    min: usize,
    max: usize,
    align: usize,
    within: &Range<usize>,
) -> Option<FrameRange> {
    let mut f = FRAMES.lock();
    let mut best = 0;
    let mut at = f.head;
    while at != 0 {
        let r = range(at);
        let first = at.max(within.start).checked_next_multiple_of(align)?;
        let room = (at + r.len).min(within.end).saturating_sub(first) & !(align - 1);
        if room >= max {
            best = max;
            break;
        }
        best = best.max(room);
        at = r.next;
    }
    if best == 0 || best < min {
        return None;
    }
    f.take(best, align, within)
}

/// (free, ever added) bytes.
pub fn usage() -> (usize, usize) {
    let f = FRAMES.lock();
    (f.free, f.total)
}

fn range(at: usize) -> &'static FreeRange {
    // SAFETY: `at` comes from the list, whose members are free, mapped and hold a FreeRange; the borrow ends before
    // the list changes, as every caller holds the lock and copies the two words.
    unsafe { &*(at as *const FreeRange) }
}

impl Frames {
    fn write(&mut self, at: usize, len: usize, next: usize) {
        // SAFETY: `at` is the start of a range that is free, so its memory is ours and mapped.
        unsafe { (at as *mut FreeRange).write(FreeRange { len, next }) };
    }

    fn link(&mut self, prev: usize, next: usize) {
        if prev == 0 {
            self.head = next;
        } else {
            let len = range(prev).len;
            self.write(prev, len, next);
        }
    }

    fn take(&mut self, len: usize, align: usize, within: &Range<usize>) -> Option<FrameRange> {
        let len = len.checked_next_multiple_of(PAGE).filter(|l| *l > 0)?;
        let align = align.max(PAGE);
        let (mut prev, mut at) = (0, self.head);
        while at != 0 {
            let (size, next) = (range(at).len, range(at).next);
            let end = at + size;
            let first = at.max(within.start).checked_next_multiple_of(align)?;
            let last = end.min(within.end);
            if first < last && last - first >= len {
                let after = first + len;
                let mut tail = next;
                if after < end {
                    self.write(after, end - after, next);
                    tail = after;
                }
                if first > at {
                    self.write(at, first - at, tail);
                } else {
                    self.link(prev, tail);
                }
                self.free -= len;
                return Some(FrameRange {
                    start: first,
                    len,
                    apart: false,
                });
            }
            (prev, at) = (at, next);
        }
        None
    }

    fn give(&mut self, start: usize, len: usize) {
        let (mut prev, mut at) = (0, self.head);
        while at != 0 && at < start {
            (prev, at) = (at, range(at).next);
        }
        self.free += len;
        let (mut start, mut len, mut next) = (start, len, at);
        if at != 0 && start + len == at {
            len += range(at).len;
            next = range(at).next;
        }
        if prev != 0 && prev + range(prev).len == start {
            len += range(prev).len;
            start = prev;
            self.write(start, len, next);
        } else {
            self.write(start, len, next);
            self.link(prev, start);
        }
    }
}

/// Takes pages back whose owner was leaked before.
///
/// # Safety
/// The range came from `alloc` and `FrameRange::leak`, and nothing refers to it any more.
pub unsafe fn add_back(start: usize, len: usize) {
    FRAMES.lock().give(start, len);
}
