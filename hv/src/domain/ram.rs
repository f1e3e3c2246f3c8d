//! A domain's RAM: free memory in pieces as large as there are, or what is its own for good.
//!
//! Memory that a device may write to by DMA must not come to anybody else when its domain ends: no IOMMU stops a device
//! that nobody has told to stop. So a domain with `direct-map` has its memory set aside once, at boot, as one with
//! `xen,static-mem` has it from the integrator; the allocator never sees it.

use super::recipe::Recipe;
use crate::mem::frames::FrameRange;
use crate::mem::stage2::Stage2;
use crate::mem::{BLOCK_2M, PAGE, frames, nodes};
use abi::Errno;
use abi::call::pool::MemoryFrom;
use alloc::vec::Vec;
use board::Region;
use board::guest::{bank_plan, windows};
use core::ops::Range;

/// Most pieces looked at for one that a guest can see at its own address.
const TRIES: usize = 8;

/// Gives `s2` the memory of recipe `r`, which if it may be anywhere comes `from` there.
pub fn give(s2: &mut Stage2, r: &Recipe, from: MemoryFrom) -> Result<(), Errno> {
    if r.static_mem.is_empty() {
        for (ipa, bytes) in bank_plan(r.memory_kib) {
            anywhere(s2, ipa, bytes, from)?;
        }
        return Ok(());
    }
    let mut plan = bank_plan(r.memory_kib).into_iter();
    let (mut ipa, mut room) = plan.next().unwrap_or((0, 0));
    for bank in &r.static_mem {
        let (mut at, mut left) = (bank.base(), bank.size());
        while left > 0 {
            if room == 0 && !r.direct_map {
                (ipa, room) = plan.next().ok_or(Errno::Invalid)?;
            }
            let (to, n) = if r.direct_map {
                (at, left)
            } else {
                (ipa, left.min(room))
            };
            // SAFETY: RAM that init kept from the allocator for this recipe alone (reserved by the tree and checked
            // by board, or set aside below), and of which only one live domain is made: names are unique.
            let frames = unsafe { FrameRange::own(at as usize, n as usize) };
            s2.add_ram(to, frames).map_err(|_| Errno::NoMemory)?;
            at += n;
            left -= n;
            ipa += n;
            room -= n.min(room);
        }
    }
    Ok(())
}

/// Sets memory aside, for good, that the guest of recipe `r` can see at its physical address: one piece.
pub fn set_aside(r: &Recipe) -> Option<Region> {
    let bytes = usize::try_from(r.memory_kib.checked_mul(1024)?).ok()?;
    let uart = r.vpl011.then_some(r.pl011_at);
    let mut held = Vec::new();
    for _ in 0..TRIES {
        let piece = frames::alloc(bytes, BLOCK_2M)?;
        let region = Region::new(piece.start() as u64, piece.len() as u64)?;
        let clash = windows(r.gic, r.vcpus, uart).any(|(w, _)| w.overlaps(&region));
        if !clash && region.end() <= 1 << 39 {
            piece.leak();
            return Some(region);
        }
        // Kept until a better one is found, so that it is not offered again.
        held.push(piece);
    }
    None
}

/// Takes `bytes` of free memory where it may, in pieces as large as there are, and makes them RAM from `ipa`.
fn anywhere(s2: &mut Stage2, ipa: u64, bytes: u64, from: MemoryFrom) -> Result<(), Errno> {
    let (mut ipa, mut left) = (ipa, usize::try_from(bytes).map_err(|_| Errno::NoMemory)?);
    const GIB: usize = 1 << 30;
    let all = 0..usize::MAX;
    while left > 0 {
        let take = |within: &Range<usize>| {
            let big = if left >= GIB && (ipa as usize).is_multiple_of(GIB) {
                frames::alloc_in(left & !(GIB - 1), GIB, within)
            } else {
                None
            };
            big.or_else(|| {
                frames::alloc_up_to(BLOCK_2M, left & !(BLOCK_2M - 1), BLOCK_2M, within)
                    .filter(|_| left >= BLOCK_2M)
            })
        };
        let small = |within: &Range<usize>| frames::alloc_up_to(PAGE, left, PAGE, within);
        let piece = match from {
            MemoryFrom::Any => take(&all).or_else(|| small(&all)),
            _ => {
                let found = nodes::ranges(from).find_map(|r| take(&r));
                found.or_else(|| nodes::ranges(from).find_map(|r| small(&r)))
            }
        };
        let piece = piece.ok_or(Errno::NoMemory)?;
        let n = piece.len();
        s2.add_ram(ipa, piece).map_err(|_| Errno::NoMemory)?;
        ipa += n as u64;
        left -= n;
    }
    Ok(())
}
