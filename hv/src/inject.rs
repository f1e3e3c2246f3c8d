//! Exceptions delivered into a guest, as its hardware would take them. Source: Arm ARM DDI 0487, D1.3 and
//! AArch64.TakeException.
//!
//! EL1 of the loaded vCPU only; its registers are in the CPU.

use crate::arch::{GuestFrame, sysreg};

const EC_UNKNOWN: u64 = 0;
const EC_IABORT_LOWER: u64 = 0x20;
const EC_DABORT_LOWER: u64 = 0x24;
const IL: u64 = 1 << 25;
/// Synchronous external abort, not on a table walk.
const DFSC_EXTERNAL: u64 = 0x10;

/// ISS of a data abort: by a write; by cache maintenance.
const WNR: u64 = 1 << 6;
const CM: u64 = 1 << 8;

/// UNDEFINED instruction at the guest's PC.
pub fn undefined(frame: &mut GuestFrame) {
    sync(frame, EC_UNKNOWN << 26 | IL, None);
}

/// Synchronous external abort of a data access at virtual address `far`, as the bus answers for an address where
/// nothing is. Whether it was a write, or cache maintenance, is taken from EL2's own `syndrome`.
pub fn external_data_abort(frame: &mut GuestFrame, far: u64, syndrome: u64, on_walk: Option<u64>) {
    let iss = fault_status(on_walk) | syndrome & (CM | WNR);
    let ec = EC_DABORT_LOWER + u64::from(from_el1(frame));
    sync(frame, ec << 26 | IL | iss, Some(far));
}

/// The same for an instruction fetch.
pub fn external_instruction_abort(frame: &mut GuestFrame, far: u64, on_walk: Option<u64>) {
    let ec = EC_IABORT_LOWER + u64::from(from_el1(frame));
    sync(frame, ec << 26 | IL | fault_status(on_walk), Some(far));
}

/// 0b0100LL external abort, 0b0101LL while walking at level LL.
fn fault_status(on_walk: Option<u64>) -> u64 {
    match on_walk {
        None => DFSC_EXTERNAL,
        Some(level) => 0x14 | (level & 3),
    }
}

fn from_el1(frame: &GuestFrame) -> bool {
    frame.spsr & 0xf != 0 && frame.spsr & 0x10 == 0
}

fn sync(frame: &mut GuestFrame, esr: u64, far: Option<u64>) {
    let old = frame.spsr;
    let offset = if old & 0x10 != 0 {
        0x600
    } else {
        match old & 0xf {
            0 => 0x400,
            4 => 0,
            _ => 0x200,
        }
    };
    sysreg::set_esr_el1(esr);
    if let Some(far) = far {
        sysreg::set_far_el1(far);
    }
    sysreg::set_elr_el1(frame.elr);
    sysreg::set_spsr_el1(old);
    frame.elr = sysreg::vbar_el1().wrapping_add(offset);
    // NZCV and DIT stay, D A I F are masked, the level is EL1h; PAN is set unless SCTLR_EL1.SPAN keeps it.
    let mut new = old & (0xf << 28 | 1 << 24) | 0x3c5;
    let pan_implemented = (sysreg::id_aa64mmfr1_el1() >> 20) & 0xf != 0;
    if pan_implemented && (old & 1 << 22 != 0 || sysreg::sctlr_el1() & 1 << 23 == 0) {
        new |= 1 << 22;
    }
    // SCTLR_EL1.DSSBS, where there is such a thing.
    if (sysreg::id_aa64pfr1_el1() >> 4) & 0xf != 0 {
        new |= (sysreg::sctlr_el1() >> 44 & 1) << 12;
    }
    frame.spsr = new;
}
