//! GICv3: affinity routing, redistributors, and the CPU interface in system registers.
use core::sync::atomic::{AtomicUsize, Ordering};

use super::{Target, reg};
use crate::mmio::Window;
use crate::{MAX_CPUS, cpu, machine, mrs, msr};

/// GICR_CTLR.
pub const GICR_CTLR: usize = 0x0000;
/// GICR_TYPER, 64 bits.
pub const GICR_TYPER: usize = 0x0008;
/// GICR_WAKER.
pub const GICR_WAKER: usize = 0x0014;
/// From a redistributor to its SGI frame.
pub const SGI_FRAME: usize = 0x1_0000;

const ARE: u32 = 1 << 4;
const GROUP1: u32 = 1 << 1;
const RWP: u32 = 1 << 31;

/// Where each CPU found its redistributor, as an offset into the region plus 1; 0: not yet.
static FOUND: [AtomicUsize; MAX_CPUS] = [const { AtomicUsize::new(0) }; MAX_CPUS];

/// A GICv3.
#[derive(Clone, Copy, Debug)]
pub struct V3 {
    /// GICD.
    pub dist: Window,
    /// The first redistributor region.
    pub redist: Window,
}

impl V3 {
    pub(super) fn enable_distributor(&self) {
        self.dist.write32(reg::CTLR, ARE);
        self.wait_rwp(32);
        self.dist.write32(reg::CTLR, ARE | GROUP1);
        self.wait_rwp(32);
    }

    pub(super) fn set_distributor_enable(&self, on: bool) {
        self.dist
            .write32(reg::CTLR, if on { ARE | GROUP1 } else { ARE });
        self.wait_rwp(32);
    }

    pub(super) fn wait_rwp(&self, intid: u32) {
        if intid < 32 {
            let at = self.redistributor();
            while self.redist.read32(at + GICR_CTLR) & 1 << 3 != 0 {}
        } else {
            while self.dist.read32(reg::CTLR) & RWP != 0 {}
        }
    }

    /// Offset of this CPU's redistributor in the region.
    ///
    /// # Panics
    /// When the region has none for this CPU.
    pub fn redistributor(&self) -> usize {
        let found = &FOUND[cpu::index()];
        if let Some(at) = found.load(Ordering::Relaxed).checked_sub(1) {
            return at;
        }
        let me = cpu::affinity();
        let wanted = (me >> 32 & 0xff) << 24 | me & 0xff_ffff;
        let mut at = 0;
        loop {
            let typer = self.redist.read64(at + GICR_TYPER);
            if typer >> 32 == wanted {
                found.store(at + 1, Ordering::Relaxed);
                return at;
            }
            assert!(typer & 1 << 4 == 0, "no redistributor for this CPU");
            at += if typer & 1 << 1 != 0 {
                0x4_0000
            } else {
                0x2_0000
            };
        }
    }

    /// The first redistributor of the region, both frames.
    pub fn redist_of_cpu0(&self) -> Window {
        // SAFETY: part of the redistributor region that the device tree names.
        unsafe { Window::new(self.redist.base(), 0x2_0000) }
    }

    pub(super) fn sgi_frame(&self) -> Window {
        let base = self.redist.base() + self.redistributor() + SGI_FRAME;
        // SAFETY: part of the redistributor region that the device tree names.
        unsafe { Window::new(base, 0x1_0000) }
    }

    pub(super) fn wake_redistributor(&self) {
        let at = self.redistributor();
        let waker = self.redist.read32(at + GICR_WAKER);
        self.redist.write32(at + GICR_WAKER, waker & !2);
        while self.redist.read32(at + GICR_WAKER) & 4 != 0 {}
    }

    pub(super) fn enable_cpu(&self) {
        msr!("icc_sre_el1", mrs!("icc_sre_el1") | 1);
        msr!("icc_pmr_el1", 0xff);
        msr!("icc_bpr1_el1", 0);
        msr!("icc_ctlr_el1", 0);
        msr!("icc_igrpen1_el1", 1);
    }

    pub(super) fn route(&self, spi: u32, cpu: usize) {
        let mpidr = machine().cpus().get(cpu).copied().unwrap_or(0);
        self.dist
            .write64(reg::IROUTER + spi as usize * 8, mpidr & 0xff_00ff_ffff);
    }

    pub(super) fn send_sgi(&self, sgi: u32, target: Target) {
        let sgi = u64::from(sgi & 15) << 24;
        let value = match target {
            Target::Others => 1 << 40 | sgi,
            Target::Cpu(cpu) => {
                let mpidr = machine().cpus().get(cpu).copied().unwrap_or(0);
                let (aff0, aff1, aff2, aff3) = (
                    mpidr & 0xff,
                    mpidr >> 8 & 0xff,
                    mpidr >> 16 & 0xff,
                    mpidr >> 32 & 0xff,
                );
                sgi | aff3 << 48 | (aff0 >> 4) << 44 | aff2 << 32 | aff1 << 16 | 1 << (aff0 & 15)
            }
        };
        cpu::barrier();
        msr!("icc_sgi1r_el1", value);
    }
}

pub(super) fn iar() -> u32 {
    let ack = mrs!("icc_iar1_el1") as u32;
    cpu::barrier();
    ack
}

pub(super) fn eoi(ack: u32) {
    msr!("icc_eoir1_el1", u64::from(ack));
}

pub(super) fn deactivate(ack: u32) {
    msr!("icc_dir_el1", u64::from(ack));
}

pub(super) fn set_split_eoi(split: bool) {
    let old = mrs!("icc_ctlr_el1");
    msr!("icc_ctlr_el1", if split { old | 2 } else { old & !2 });
}

pub(super) fn set_pmr(mask: u8) {
    msr!("icc_pmr_el1", u64::from(mask));
}

pub(super) fn pmr() -> u8 {
    mrs!("icc_pmr_el1") as u8
}

pub(super) fn rpr() -> u8 {
    mrs!("icc_rpr_el1") as u8
}

pub(super) fn hppir() -> u32 {
    mrs!("icc_hppir1_el1") as u32
}

pub(super) fn set_group_enable(on: bool) {
    msr!("icc_igrpen1_el1", u64::from(on));
}
