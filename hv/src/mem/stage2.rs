//! A guest's physical address space: which of its addresses reach which memory, and under which VMID.
//!
//! 39 bits of IPA, root at level 1. RAM is normal write-back memory, executable, inner shareable; the one device
//! ever mapped is the GICv2 virtual CPU interface. Everything else faults to EL2. Guest RAM never overlaps memory of
//! Tarn or of another guest, since it is owned here (`FrameRange`).

use super::frames::FrameRange;
use super::table::{MapError, Table};
use crate::arch::sysreg;
use alloc::vec::Vec;

const AF: u64 = 1 << 10;
const INNER: u64 = 3 << 8;
const RW: u64 = 3 << 6;
const RO: u64 = 1 << 6;
const NORMAL_WB: u64 = 0xf << 2;
const DEVICE_NGNRE: u64 = 1 << 2;
const XN: u64 = 1 << 54;

/// Input address bits of every stage-2 table.
const IPA_BITS: u64 = 39;

/// VTCR_EL2 for these tables on this CPU.
pub fn vtcr() -> u64 {
    let ps = (sysreg::id_aa64mmfr0_el1() & 0xf).min(5);
    let t0sz = 64 - IPA_BITS.min(u64::from(sysreg::pa_bits()));
    1 << 31 | ps << 16 | INNER << 4 | 1 << 10 | 1 << 8 | 1 << 6 | t0sz
}

/// A contiguous piece of a guest's RAM.
pub struct Bank {
    /// Guest-physical start.
    pub ipa: u64,
    /// The memory behind it.
    pub frames: FrameRange,
}

/// The address space of one guest.
pub struct Stage2 {
    table: Table,
    banks: Vec<Bank>,
    /// What the guest sees but does not own.
    shown: Vec<FrameRange>,
    vmid: u16,
}

impl Stage2 {
    /// Empty, under `vmid` (1..=255).
    pub fn new(vmid: u16) -> Result<Stage2, MapError> {
        Ok(Stage2 {
            table: Table::new(1)?,
            banks: Vec::new(),
            shown: Vec::new(),
            vmid,
        })
    }

    /// Value for VTTBR_EL2.
    pub fn vttbr(&self) -> u64 {
        u64::from(self.vmid) << 48 | self.table.root() as u64
    }

    /// Makes `frames` the guest's RAM at `ipa`.
    pub fn add_ram(&mut self, ipa: u64, frames: FrameRange) -> Result<(), MapError> {
        self.banks.try_reserve(1).map_err(|_| MapError::NoMemory)?;
        self.table.map(
            ipa as usize,
            frames.start(),
            frames.len(),
            NORMAL_WB | RW | INNER | AF,
        )?;
        self.banks.push(Bank { ipa, frames });
        Ok(())
    }

    /// Lets the guest read `frames` at `ipa`; not RAM of its own.
    pub fn add_readonly(&mut self, ipa: u64, frames: FrameRange) -> Result<(), MapError> {
        self.show(ipa, frames, RO)
    }

    /// Lets the guest read, and if it may write, `frames` at `ipa`: data that others see as well, never code.
    pub fn add_shared(
        &mut self,
        ipa: u64,
        frames: FrameRange,
        writable: bool,
    ) -> Result<(), MapError> {
        let access = if writable { RW } else { RO };
        self.show(ipa, frames, access)
    }

    fn show(&mut self, ipa: u64, frames: FrameRange, access: u64) -> Result<(), MapError> {
        self.shown.try_reserve(1).map_err(|_| MapError::NoMemory)?;
        self.table.map(
            ipa as usize,
            frames.start(),
            frames.len(),
            NORMAL_WB | access | INNER | XN | AF,
        )?;
        self.shown.push(frames);
        Ok(())
    }

    /// Lets the guest reach device registers at physical `pa` directly.
    pub fn map_device(&mut self, ipa: u64, pa: u64, len: u64) -> Result<(), MapError> {
        self.table.map(
            ipa as usize,
            pa as usize,
            len as usize,
            DEVICE_NGNRE | RW | XN | AF,
        )
    }

    /// The guest's RAM, in the order it was added.
    pub fn banks(&self) -> &[Bank] {
        &self.banks
    }

    /// Where guest-physical `ipa` lies in RAM, and how many bytes from there are contiguous.
    pub fn ram_at(&self, ipa: u64) -> Option<(usize, usize)> {
        self.banks.iter().find_map(|b| {
            let off = ipa.checked_sub(b.ipa)? as usize;
            (off < b.frames.len()).then(|| (b.frames.start() + off, b.frames.len() - off))
        })
    }
}

impl Stage2 {
    /// Drops every TLB entry made from these tables, on every CPU. No CPU may enter this guest afterwards.
    pub fn forget_translations(&self) {
        let before = sysreg::vttbr_el2();
        // SAFETY: no guest runs on this CPU while EL2 does, and EL2 walks no guest's tables, so it does not matter what they are
        // by now: only the VMID is used. The old value is put back.
        unsafe { sysreg::set_vttbr_el2(self.vttbr()) };
        crate::arch::isb();
        sysreg::tlbi_current_vmid();
        // SAFETY: what was loaded before. If that was these very tables, the next `load` replaces it before any
        // guest runs, and EL2 itself never walks stage 2.
        unsafe { sysreg::set_vttbr_el2(if before == self.vttbr() { 0 } else { before }) };
    }
}

impl Stage2 {
    /// Gives some of its memory back, as far as `budget` goes: an entry of a table costs one, a page or piece of memory
    /// `Table::FREED`. Whether something is left. No CPU has it loaded, and none will.
    pub fn dismantle(&mut self, mut budget: usize) -> bool {
        self.forget_translations();
        while budget > 0 {
            if self.banks.pop().is_none() && self.shown.pop().is_none() {
                return self.table.dismantle(budget);
            }
            budget = budget.saturating_sub(Table::FREED);
        }
        true
    }
}

impl Drop for Stage2 {
    fn drop(&mut self) {
        // Domains that never ran or were restarted leave nothing; for the others this is the second, cheap time.
        self.forget_translations();
    }
}
