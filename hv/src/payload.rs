//! What a system image carries behind Tarn: a description (a device tree of its own) and the guests.
//!
//! `tarn-image` appends it to Tarn's flat image, bss filled up with zeros, and raises the header's `image_size`: every
//! boot loader then keeps it free, and here that number says that and where it is. It is RAM that nobody writes:
//! guests' kernels are copied from where they lie. Its description, not the board's tree, then says what domains
//! there are; the board's tree says what machine it is. Never trusted: `board` reads the description as any other tree.

use crate::arch::image;
use alloc::string::String;
use board::config::Config;
use board::{Board, Region};
use core::ops::Range;

/// Where it lies, if this image has one.
pub fn range() -> Option<Range<usize>> {
    let all = image::all();
    let end = usize::try_from(image::header_size())
        .ok()
        .and_then(|size| all.start.checked_add(size))?;
    (end > all.end).then_some(all.end..end)
}

/// The same as a region, checked: all of it RAM that is nobody else's. The error says why it cannot be used.
pub fn region(board: &Board, tree: &[u8]) -> Result<Option<Region>, String> {
    let Some(range) = range() else {
        return Ok(None);
    };
    let Some(region) = Region::between(range.start as u64, range.end as u64) else {
        return Ok(None);
    };
    let tree = Region::new(tree.as_ptr() as u64, tree.len() as u64);
    board.check_payload(&region, tree)?;
    Ok(Some(region))
}

/// Sets RAM aside that its domains want at a fixed place. By the early map, before RAM is given out.
pub fn reserve(board: &mut Board, region: Region) -> Result<(), board::BoardError> {
    let bytes = bytes(region);
    let size = board::header_size(bytes)?;
    board::config::reserve_static_mem(board, &bytes[..size.min(bytes.len())])
}

fn bytes(region: Region) -> &'static [u8] {
    let (at, room) = (region.base() as usize, region.size() as usize);
    // SAFETY: RAM behind the image, mapped for good, kept from the allocator and written by nobody since it was loaded.
    unsafe { core::slice::from_raw_parts(at as *const u8, room) }
}

/// What the description asks for. Only with the final map on, and with a region that `region` gave.
pub fn config(board: &Board, region: Region) -> Result<Config<'static>, board::BoardError> {
    let bytes = bytes(region);
    let size = board::header_size(bytes)?;
    log::info!(
        "system image: {} KiB behind Tarn; its description counts{}",
        region.size() / 1024,
        if board.config_node.is_some() {
            ", not the pools and domains of the board's device tree"
        } else {
            ""
        }
    );
    Config::from_image(&bytes[..size.min(bytes.len())], board, region)
}
