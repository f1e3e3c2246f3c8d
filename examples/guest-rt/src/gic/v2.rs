//! GICv2: the distributor's targets and SGIs, and the memory-mapped CPU interface.
use super::{Target, reg};
use crate::machine;
use crate::mmio::Window;

/// GICC_CTLR.
pub const CTLR: usize = 0x00;
/// GICC_PMR.
pub const PMR: usize = 0x04;
/// GICC_BPR.
pub const BPR: usize = 0x08;
/// GICC_IAR.
pub const IAR: usize = 0x0c;
/// GICC_EOIR.
pub const EOIR: usize = 0x10;
/// GICC_RPR.
pub const RPR: usize = 0x14;
/// GICC_HPPIR.
pub const HPPIR: usize = 0x18;
/// GICC_IIDR.
pub const IIDR: usize = 0xfc;
/// GICC_DIR.
pub const DIR: usize = 0x1000;

/// GICC_CTLR.EOImodeNS as a GIC without Security Extensions has it: bit 9.
const EOI_MODE: u32 = 1 << 9;

/// A GICv2.
#[derive(Clone, Copy, Debug)]
pub struct V2 {
    /// GICD.
    pub dist: Window,
    /// GICC.
    pub cpu: Window,
}

/// The CPU interface of a CPU: its number in target masks.
fn interface(cpu: usize) -> u32 {
    machine()
        .cpus()
        .get(cpu)
        .map_or(0, |mpidr| (mpidr & 7) as u32)
}

impl V2 {
    pub(super) fn enable_distributor(&self) {
        self.dist.write32(reg::CTLR, 1);
    }

    pub(super) fn enable_cpu(&self) {
        self.cpu.write32(PMR, 0xff);
        self.cpu.write32(BPR, 0);
        self.cpu.write32(CTLR, 1);
    }

    pub(super) fn set_cpu_enable(&self, on: bool) {
        let old = self.cpu.read32(CTLR);
        self.cpu.write32(CTLR, if on { old | 1 } else { old & !1 });
    }

    pub(super) fn set_split_eoi(&self, split: bool) {
        let old = self.cpu.read32(CTLR);
        self.cpu.write32(
            CTLR,
            if split {
                old | EOI_MODE
            } else {
                old & !EOI_MODE
            },
        );
    }

    pub(super) fn route(&self, spi: u32, cpu: usize) {
        self.dist
            .write8(reg::ITARGETSR + spi as usize, 1 << interface(cpu));
    }

    pub(super) fn send_sgi(&self, sgi: u32, target: Target) {
        let filter = match target {
            Target::Cpu(cpu) => 1 << (16 + interface(cpu)),
            Target::Others => 1 << 24,
        };
        crate::cpu::barrier();
        self.dist.write32(reg::SGIR, filter | (sgi & 15));
    }
}
