//! The heap of EL2: small things that come and go with domains and pools. Guests' memory is never here.
//!
//! A buddy heap that starts in the image and grows by frames in steps; what it has it keeps. Nothing on a hot path
//! allocates. Who is about to allocate for somebody else's request calls `reserve` first, so that running out is that
//! request's refusal and never a panic.

use super::frames;
use crate::arch::{Lock, image};
use buddy_system_allocator::Heap;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{NonNull, null_mut};

const STEP: usize = 256 << 10;

struct EL2Heap(Lock<Heap<27>>);

#[global_allocator]
static HEAP: EL2Heap = EL2Heap(Lock::new(Heap::empty()));

/// Gives the heap its first memory. Called once, before anything allocates.
pub fn init() {
    let r = image::first_heap();
    // SAFETY: this part of the image belongs to the heap alone and is called for once, at boot.
    unsafe { HEAP.0.lock().init(r.start, r.len()) };
}

fn grow(heap: &mut Heap<27>, need: usize) -> bool {
    // A buddy heap aligns every block to its size: twice the need always holds one.
    let Some(want) = need
        .checked_next_power_of_two()
        .and_then(|n| n.checked_mul(2))
    else {
        return false;
    };
    match frames::alloc(want.max(STEP), want.clamp(STEP, 1 << 26)) {
        Some(range) => {
            let (start, len) = (range.start(), range.len());
            range.leak();
            // SAFETY: the frames were just given up to the heap for good.
            unsafe { heap.add_to_heap(start, start + len) };
            true
        }
        None => false,
    }
}

/// Makes sure that `bytes` in pieces of at most 64 KiB can be had now, growing the heap if needed.
pub fn reserve(bytes: usize) -> bool {
    let mut heap = HEAP.0.lock();
    // Rounding to powers of two can double what a request takes.
    let Some(need) = bytes.checked_mul(2) else {
        return false;
    };
    let mut missing = need.saturating_sub(heap.stats_total_bytes() - heap.stats_alloc_actual());
    while missing > 0 {
        if !grow(&mut heap, STEP / 2) {
            return false;
        }
        missing = missing.saturating_sub(STEP);
    }
    true
}

/// (in use, held) bytes.
pub fn usage() -> (usize, usize) {
    let heap = HEAP.0.lock();
    (heap.stats_alloc_actual(), heap.stats_total_bytes())
}

// SAFETY: `Heap` hands out disjoint blocks of memory that is its own, under a lock.
unsafe impl GlobalAlloc for EL2Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut heap = self.0.lock();
        if let Ok(p) = heap.alloc(layout) {
            return p.as_ptr();
        }
        if !grow(&mut heap, layout.size().max(layout.align())) {
            return null_mut();
        }
        heap.alloc(layout).map_or(null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        if let Some(p) = NonNull::new(p) {
            // SAFETY: the caller got `p` from `alloc` with this layout, which got it from this heap.
            unsafe { self.0.lock().dealloc(p, layout) };
        }
    }
}
