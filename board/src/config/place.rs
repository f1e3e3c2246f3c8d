//! Where a configuration stands, and so where its boot modules are.
//!
//! In the board's tree a module's `reg` says where the loader put it. In a system image the description comes first and
//! the modules follow; nobody knows the address when the image is made, so `tarn,payload` counts from the description's
//! first byte. A module that could overlap anything else is refused here.

use super::DOM0_KIB;
use super::section::{Refusal, Section};
use crate::bus::{Cells, reg};
use crate::region::Region;
use crate::tree::be64;
use crate::{Board, Reserved, ReservedBy};
use alloc::format;

/// The two places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// In the board's tree.
    BoardTree,
    /// At the start of a system image's payload.
    Image {
        /// The description and all modules, in memory.
        payload: Region,
        /// Bytes of the description.
        tree: u64,
    },
}

impl Place {
    /// KiB of RAM that are nobody's yet and that domains other than dom0 can have.
    pub fn room_kib(self, board: &Board<'_>) -> u64 {
        let payload = match self {
            Place::BoardTree => None,
            Place::Image { payload, .. } => Some(payload),
        };
        // A list that grew too long is reported where RAM is taken over; here it is no limit.
        let free = board
            .free_ram(payload.as_slice())
            .unwrap_or_else(|_| board.ram.clone());
        let bytes = free.iter().map(Region::size).fold(0, u64::saturating_add);
        (bytes / 1024).saturating_sub(DOM0_KIB)
    }

    /// Where the module that `child` describes lies; `cells` are those of its parent.
    pub fn region(
        self,
        child: &Section<'_>,
        cells: Cells,
        board: &Board<'_>,
    ) -> Result<Region, Refusal> {
        match self {
            Place::BoardTree => absolute(child, cells, board),
            Place::Image { payload, tree } => relative(child, payload, tree),
        }
    }
}

fn relative(child: &Section<'_>, payload: Region, tree: u64) -> Result<Region, Refusal> {
    const NAME: &str = "tarn,payload";
    if child.get("reg").is_some() {
        let message = "no loader places modules of a system image; it must be tarn,payload";
        return Err(child.refuse("reg", message.into()));
    }
    let number = |at: usize| {
        child
            .get(NAME)
            .filter(|v| v.len() == 16)
            .and_then(|v| be64(v.get(at..)?))
    };
    let region = number(0)
        .zip(number(8))
        .and_then(|(offset, size)| Region::new(payload.base().checked_add(offset)?, size));
    let Some(region) = region else {
        let message = "it must be an offset and a size (not 0), two cells each";
        return Err(child.refuse(NAME, message.into()));
    };
    if !payload.covers(&region) || region.base() - payload.base() < tree {
        let message = format!(
            "bytes {:#x}-{:#x} of the payload; modules lie between {tree:#x} and {:#x}",
            region.base() - payload.base(),
            region.end() - 1 - payload.base(),
            payload.size() - 1
        );
        return Err(child.refuse(NAME, message));
    }
    Ok(region)
}

fn absolute(child: &Section<'_>, cells: Cells, board: &Board<'_>) -> Result<Region, Refusal> {
    if child.get("tarn,payload").is_some() {
        let message = "only a system image has a payload; it must be reg";
        return Err(child.refuse("tarn,payload", message.into()));
    }
    let Some(value) = child.get("reg") else {
        return Err(child.refuse(
            "reg",
            "missing; where the boot loader put the module, and its size".into(),
        ));
    };
    let region = reg(value, cells)
        .next()
        .and_then(|(base, size)| Region::new(base, size));
    let Some(region) = region.filter(|_| value.len() == cells.entry()) else {
        let (a, s) = (cells.address, cells.size);
        let message = format!("it must be one address ({a} cells) and one size ({s} cells, not 0)");
        return Err(child.refuse("reg", message));
    };
    if !board.is_ram(&region) {
        return Err(child.refuse("reg", format!("{region} is not RAM of this machine")));
    }
    let no_map =
        |r: &&Reserved| r.why == ReservedBy::Node { no_map: true } && r.region.overlaps(&region);
    if let Some(r) = board.reserved.iter().find(no_map) {
        let message = format!(
            "{region} overlaps {}, which is reserved as no-map",
            r.region
        );
        return Err(child.refuse("reg", message));
    }
    let kept = |r: &Reserved| r.why == ReservedBy::Module && r.region.covers(&region);
    if !board.reserved.iter().any(kept) {
        let message = format!("{region} was not kept free when RAM was listed");
        return Err(child.refuse("reg", message));
    }
    Ok(region)
}
