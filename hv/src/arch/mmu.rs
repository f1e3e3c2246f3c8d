//! Turning stage 1 of EL2 over to its final tables, on the boot CPU and on every other.
//!
//! The tables themselves are built in mem/stage1.rs; here are only the control registers and the switch.

use super::{clean_to_memory, image, sysreg};
use core::sync::atomic::{AtomicU64, Ordering};
use drivers::Mmio;

/// SCTLR_EL2: RES1 bits, I, C, WXN (writable memory is never executable), SA, M.
const SCTLR: u64 = 0x30c5_0830 | 1 << 19 | 1 << 12 | 1 << 3 | 1 << 2 | 1;

/// TTBR0, TCR, MAIR, SCTLR for CPUs that start after the boot CPU; boot.s reads them with the MMU off.
#[repr(C, align(64))]
pub struct SecondaryRegs([AtomicU64; 8]);

/// See `SecondaryRegs`.
pub static SECONDARY_REGS: SecondaryRegs = SecondaryRegs([const { AtomicU64::new(0) }; 8]);

unsafe extern "C" {
    fn replace_stage1(root: u64, sctlr: u64);
}

/// Loads the final stage-1 tables on the boot CPU and leaves the values for the others.
///
/// # Safety
/// `root` maps the whole image at its own address: text executable, the running stack writable.
pub unsafe fn activate(root: u64) {
    for (slot, v) in
        SECONDARY_REGS
            .0
            .iter()
            .zip([root, sysreg::tcr_el2(), sysreg::mair_el2(), SCTLR])
    {
        slot.store(v, Ordering::Relaxed);
    }
    clean_to_memory(
        &raw const SECONDARY_REGS as usize,
        size_of::<SecondaryRegs>(),
    );
    // SAFETY: the caller's promise; replace_stage1 touches no memory while the MMU is off.
    unsafe { replace_stage1(root, SCTLR) };
}

/// Lets the early map reach a device: the 1 GiB block around `base` as device memory. Only for a boot that ends before
/// the final map; `None` if that block is in use for memory, or out of reach.
pub fn early_device(base: u64, len: u64) -> Option<Mmio> {
    let tables = image::early_tables();
    let image_l1 = tables + 4096;
    if base >> 39 != image::all().start as u64 >> 39 {
        return None;
    }
    let slot = (image_l1 + ((base >> 30) & 511) as usize * 8) as *const AtomicU64;
    // SAFETY: an entry of the early level-1 table, part of the image and mapped; nothing else uses it any more.
    let entry = unsafe { &*slot };
    if entry.load(Ordering::Relaxed) != 0 {
        return None;
    }
    // Block, AttrIdx 0 (device), AP[1] RES1, AF, XN.
    entry.store(
        (base & !((1 << 30) - 1)) | 1 << 54 | 1 << 10 | 1 << 6 | 1,
        Ordering::Release,
    );
    super::dsb_sy();
    super::isb();
    // SAFETY: just mapped, and called once, at the end of a boot.
    Some(unsafe { Mmio::new(base as usize, len as usize) })
}
