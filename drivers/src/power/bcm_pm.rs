//! The power-management block of the BCM2835 family ("brcm,bcm2835-pm", "brcm,bcm2711-pm"): a watchdog that can reset
//! the chip, and the note to firmware that makes the reset a halt. The only way to restart a Raspberry Pi without PSCI.

use crate::{
    Mmio, MmioError,
    mmio::{Regs, get, put},
};

#[repr(C)]
struct Layout {
    reserved: [u32; 7],
    rstc: u32,
    rsts: u32,
    wdog: u32,
}
const _: () = assert!(core::mem::offset_of!(Layout, rstc) == 0x1c);

/// Every write needs this in its top byte.
const PASSWORD: u32 = 0x5a00_0000;
/// PM_RSTC: what the watchdog does when it runs out; full reset.
const WRCFG: u32 = 0x30;
const WRCFG_FULL: u32 = 0x20;
/// PM_RSTS: boot partition 63 (bits 0, 2, 4, 6, 8, 10) means "stay off" to firmware.
const HALT: u32 = 0x555;
/// Watchdog ticks (1/65536 s) until it acts: 150 us.
const SOON: u32 = 10;

/// The power-management block.
pub struct BcmPm {
    r: Regs<Layout>,
}

impl BcmPm {
    /// Takes the block over; its watchdog is left as it is.
    pub fn new(regs: Mmio) -> Result<BcmPm, MmioError> {
        Ok(BcmPm { r: regs.regs()? })
    }

    pub(super) fn reset(&self) {
        put!(self.r, Layout, wdog => PASSWORD | SOON);
        let rstc = get!(self.r, Layout, rstc) & !(0xff00_0000 | WRCFG);
        put!(self.r, Layout, rstc => PASSWORD | rstc | WRCFG_FULL);
    }

    pub(super) fn off(&self) {
        let rsts = get!(self.r, Layout, rsts) & 0x00ff_ffff;
        put!(self.r, Layout, rsts => PASSWORD | rsts | HALT);
        self.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{arch::Memory, power::SystemPower};

    #[test]
    fn passwords_and_partitions() {
        let m = Memory::new(0x114);
        m.put(0x1c, 0x0000_0112);
        let p = SystemPower::BcmPm(BcmPm::new(m.mmio()).unwrap());
        p.reset();
        assert_eq!(
            (m.get(0x1c), m.get(0x20), m.get(0x24)),
            (0x5a00_0122, 0, 0x5a00_000a)
        );
        m.put(0x20, 0x1000);
        p.off();
        assert_eq!(m.get(0x20), 0x5a00_1555);
    }
}
