//! What firmware as a guest expects at fixed addresses: `tarn,rom` modules and the UART (`tarn,pl011-at`).
//!
//! A ROM is a boot module that a guest can read at an address of its choice, mapped from where it lies. U-Boot built for
//! QEMU's virt machine has its environment in such a place, and wants its device tree at the start of RAM.

use super::DomainConfig;
use super::section::{Refusal, Section};
use super::seen::clash;
use crate::guest::{self, layout};
use crate::region::Region;
use crate::{Board, GuestGic};
use alloc::format;

/// Most ROMs of a domain.
pub const MAX_ROMS: usize = 4;
const PAGE: u64 = 4096;

/// Memory that a guest can only read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rom {
    /// Where it is; whole pages.
    pub phys: Region,
    /// Where the guest sees it, a multiple of the page size.
    pub guest: u64,
}

/// The ROM that module node `child` at `phys` describes, checked against what `domain` has so far.
pub(super) fn read(
    child: &Section<'_>,
    phys: Region,
    domain: &DomainConfig<'_>,
    board: &Board<'_>,
) -> Result<Rom, Refusal> {
    const AT: &str = "tarn,guest-address";
    let Some(guest) = child.u64(AT)? else {
        return Err(child.refuse(AT, "missing; where the guest sees it, two cells".into()));
    };
    if !(phys.base() | phys.size() | guest).is_multiple_of(PAGE) {
        let message = format!(
            "{phys} at guest's {guest:#x}: a ROM is whole pages of 4 KiB, so that nothing beside it is seen"
        );
        return Err(child.refuse(AT, message));
    }
    let seen = Region::new(guest, phys.size()).filter(|r| r.end() <= 1 << 39);
    let Some(seen) = seen else {
        return Err(child.refuse(AT, format!("is {guest:#x}; guests have 39 bits of address")));
    };
    if let Some((other, what)) = clash(seen, board, domain, false) {
        let message = format!("guest's {seen} overlaps its {what} at {other}");
        return Err(child.refuse(AT, message));
    }
    if domain.roms.len() >= MAX_ROMS {
        return Err(child.refuse("", format!("a domain has at most {MAX_ROMS} ROMs")));
    }
    Ok(Rom { phys, guest })
}

/// Where the emulated PL011 is: `tarn,pl011-at`, clear of the interrupt controller and below the first bank of RAM.
pub(super) fn pl011(section: &Section<'_>, gic: GuestGic, cpus: u32) -> Result<u64, Refusal> {
    const AT: &str = "tarn,pl011-at";
    let Some(at) = section.u64(AT)? else {
        return Ok(layout::PL011);
    };
    let seen = Region::new(at, layout::PL011_SIZE)
        .filter(|r| r.base().is_multiple_of(PAGE) && r.end() <= layout::RAM0);
    let Some(seen) = seen else {
        let message = format!(
            "is {at:#x}; it must be a multiple of 4 KiB below {:#x}",
            layout::RAM0
        );
        return Err(section.refuse(AT, message));
    };
    match guest::windows(gic, cpus, None).find(|(r, _)| r.overlaps(&seen)) {
        Some((r, what)) => Err(section.refuse(AT, format!("{seen} overlaps its {what} at {r}"))),
        None => Ok(at),
    }
}
