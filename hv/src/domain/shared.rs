//! Memory that several domains share: set aside at boot for good, zeroed once, never the allocator's again.
//!
//! Counting who still has it would free it when the last one ends, and every end is one that somebody wants to begin again
//! (`create`, a restart): the others keep what was written there, so a side that comes anew finds it as it was. So nothing
//! here changes after boot, and no end of a domain touches it.

use super::recipe::Recipe;
use crate::arch;
use crate::mem::frames::{self, FrameRange};
use crate::mem::stage2::Stage2;
use crate::mem::{BLOCK_2M, PAGE, nodes};
use abi::Errno;
use abi::call::pool::MemoryFrom;
use board::Region;
use board::config::SharedMemory;

/// Sets `memory` aside and zeroes it. Where the integrator asks for a place it is that; else it is free memory as pool
/// memory `from` says, in one piece. `None`: there is none.
pub fn set_aside(memory: &SharedMemory, from: MemoryFrom) -> Option<Region> {
    let region = match memory.at {
        Some(at) => at,
        None => {
            let bytes = usize::try_from(memory.size).ok()?;
            let align = if bytes >= BLOCK_2M { BLOCK_2M } else { PAGE };
            let piece = match from {
                MemoryFrom::Any => frames::alloc(bytes, align),
                _ => nodes::ranges(from).find_map(|r| frames::alloc_in(bytes, align, &r)),
            }?;
            let region = Region::new(piece.start() as u64, piece.len() as u64)?;
            piece.leak();
            region
        }
    };
    // SAFETY: RAM mapped writable at EL2 for good, and nobody else's: just taken from the allocator, or reserved by the
    // tree for this alone, which board has checked. No domain has been made yet.
    unsafe { arch::zero_to_memory(region.base() as usize, region.size() as usize) };
    Some(region)
}

/// Lets the guest of recipe `r` see what it shares.
pub fn give(s2: &mut Stage2, r: &Recipe) -> Result<(), Errno> {
    for view in &r.shared {
        let (at, len) = (view.phys.base() as usize, view.phys.size() as usize);
        // SAFETY: set aside above for good; EL2 makes no reference to it, and the guests that share it are each other's
        // business, which is what it is for.
        let frames = unsafe { FrameRange::own(at, len) };
        s2.add_shared(view.guest, frames, view.writable)
            .map_err(|_| Errno::NoMemory)?;
    }
    Ok(())
}
