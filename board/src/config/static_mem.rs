//! `xen,static-mem`: RAM at a place that the integrator chose for one domain.
//!
//! chosen.rs has reserved it when RAM was listed; here it is checked: whole pages of RAM, as much as `memory` says, nobody
//! else's, and with `direct-map` not where the guest sees something else.

use super::DomainConfig;
use super::section::{Refusal, Section};
use crate::bus::reg;
use crate::chosen::{shared_memory, static_cells, static_memory};
use crate::error::BoardError;
use crate::guest;
use crate::memory::full;
use crate::region::Region;
use crate::tree::Blob;
use crate::{Board, MAX_RESERVED, Reserved, ReservedBy};
use alloc::format;
use alloc::vec::Vec;

const NAME: &str = "xen,static-mem";
const PAGE: u64 = 4096;

/// Reserves what the domains of a system image's `description` want for themselves, as reading the board's tree does
/// with the domains in it: before RAM is given out.
///
/// # Errors
/// A description that cannot be read, or more reservations than there is room for.
pub fn reserve_static_mem(board: &mut Board<'_>, description: &[u8]) -> Result<(), BoardError> {
    Blob::new(description)?.walk(&mut |node| {
        let chosen = node.levels.get(1).is_some_and(|l| l.name == b"chosen");
        let what = node.props.compatible(&[
            ("xen,domain", ReservedBy::Domain),
            ("xen,domain-shared-memory-v1", ReservedBy::Shared),
        ]);
        let mut keep = |region, why| {
            let new = Reserved { region, why };
            if why == ReservedBy::Shared && board.reserved.contains(&new) {
                return Ok(());
            }
            if board.reserved.len() >= MAX_RESERVED {
                return Err(node.error(NAME, full()));
            }
            board.reserved.push(new);
            Ok(())
        };
        match (node.depth(), what) {
            (2, Some(why @ ReservedBy::Domain)) if chosen => static_memory(node, |r| keep(r, why)),
            (3, Some(why @ ReservedBy::Shared)) if chosen => {
                shared_memory(node).map_or(Ok(()), |r| keep(r, why))
            }
            _ => Ok(()),
        }
    })
}

/// The banks, in the order of the tree; none if the domain does not ask.
pub(super) fn read(
    section: &Section<'_>,
    board: &Board<'_>,
    domain: &DomainConfig<'_>,
) -> Result<Vec<Region>, Refusal> {
    let Some(value) = section.get(NAME) else {
        return Ok(Vec::new());
    };
    let own = (
        section.u32("#xen,static-mem-address-cells")?,
        section.u32("#xen,static-mem-size-cells")?,
    );
    let cells = static_cells(own, section.node.inherited());
    let refuse = |message| Err(section.refuse(NAME, message));
    let mut banks: Vec<Region> = Vec::new();
    let mut bytes = 0;
    for (base, size) in reg(value, cells) {
        bytes += cells.entry();
        let Some(bank) = Region::new(base, size).filter(|r| (r.base() | r.size()) % PAGE == 0)
        else {
            return refuse(format!(
                "{size:#x} bytes at {base:#x}: it must be whole pages of 4 KiB"
            ));
        };
        if banks.len() >= guest::MAX_BANKS {
            return refuse(format!("more than {} banks", guest::MAX_BANKS));
        }
        if !board.is_ram(&bank) {
            return refuse(format!("{bank} is not RAM of this machine"));
        }
        // One reservation each: its own.
        let holders = board.reserved.iter().filter(|r| r.region.overlaps(&bank));
        let own = |r: &Reserved| r.why == ReservedBy::Domain && r.region == bank;
        if let Some(other) = holders.clone().find(|r| !own(r)) {
            return refuse(format!(
                "{bank} overlaps {}, which is in use or reserved",
                other.region
            ));
        }
        if holders.clone().count() != 1 {
            return refuse(format!(
                "{bank} is named by two domains, or was not reserved"
            ));
        }
        if domain.direct_map {
            let mut windows = guest::windows(
                domain.gic,
                domain.cpus,
                domain.vpl011.then_some(domain.pl011_at),
            );
            if let Some((window, what)) = windows.find(|(w, _)| w.overlaps(&bank)) {
                return refuse(format!(
                    "{bank} overlaps the guest's {what} at {window}: with direct-map RAM cannot be there"
                ));
            }
            if bank.end() > 1 << 39 {
                return refuse(format!("{bank} lies beyond a guest's addresses, 39 bits"));
            }
        }
        banks.push(bank);
    }
    if bytes != value.len() || banks.is_empty() {
        return refuse(format!(
            "it must be entries of an address ({} cells) and a size ({} cells)",
            cells.address, cells.size
        ));
    }
    let kib = banks.iter().map(|b| b.size() / 1024).sum::<u64>();
    if kib != domain.memory_kib {
        return refuse(format!(
            "is {kib} KiB altogether; `memory` says {}",
            domain.memory_kib
        ));
    }
    if domain.direct_map && !banks.is_sorted() {
        return refuse("with direct-map the banks must ascend".into());
    }
    Ok(banks)
}
