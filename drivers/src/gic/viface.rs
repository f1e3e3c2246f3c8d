//! The virtual interface: list registers and the rest of what a GIC has for a hypervisor, in one form for both GICs.
//!
//! A list register is a `u64` as GICv3 lays it out ([`lr`]); a GICv2 is driven by conversion (vif2.rs). Everything is
//! about the calling CPU. Which interrupt goes into which list register is not decided here (tarn-vdev does that), and
//! nothing here reads a register the caller did not ask for: on a switch only what changed is worth an access.

use super::{GicError, vif2::VifV2, vif3::VifV3};
use crate::Mmio;
use core::fmt;

/// Most list registers a GIC can have.
pub const LR_MAX: usize = 16;

/// Fields of a list register (ICH_LR<n>_EL2, IHI 0069H section 12.4.5).
pub mod lr {
    /// Bits of the virtual INTID; SGIs of a guest with a GICv2 carry the sending vCPU in 10-12.
    pub const VINTID: u64 = 0xffff_ffff;
    /// Where the physical INTID begins (13 bits, valid with [`HW`]).
    pub const PINTID_SHIFT: u32 = 32;
    /// Raise a maintenance interrupt when the guest ends it (only without [`HW`]).
    pub const EOI: u64 = 1 << 41;
    /// Where the priority begins (8 bits; a GICv2 keeps the upper 5).
    pub const PRIORITY_SHIFT: u32 = 48;
    /// Group 1.
    pub const GROUP1: u64 = 1 << 60;
    /// The guest's deactivation deactivates the physical interrupt too.
    pub const HW: u64 = 1 << 61;
    /// Pending.
    pub const PENDING: u64 = 1 << 62;
    /// Active; with [`PENDING`] both, with neither the list register is empty.
    pub const ACTIVE: u64 = 1 << 63;
}

/// Bits of ICH_HCR_EL2 and GICH_HCR that both GICs have.
pub mod hcr {
    /// The virtual interface is on.
    pub const EN: u32 = 1;
    /// Maintenance interrupt while at most one list register is in use.
    pub const UIE: u32 = 1 << 1;
    /// Maintenance interrupt while the count of ends without a list register is not zero.
    pub const LRENPIE: u32 = 1 << 2;
    /// Maintenance interrupt while no list register is pending.
    pub const NPIE: u32 = 1 << 3;
    /// Maintenance interrupt while the guest has Group 0 enabled.
    pub const VGRP0EIE: u32 = 1 << 4;
    /// Maintenance interrupt while the guest has Group 0 disabled.
    pub const VGRP0DIE: u32 = 1 << 5;
    /// Maintenance interrupt while the guest has Group 1 enabled.
    pub const VGRP1EIE: u32 = 1 << 6;
    /// Maintenance interrupt while the guest has Group 1 disabled.
    pub const VGRP1DIE: u32 = 1 << 7;
    /// GICv3: trap EL1's ICC registers that are common to both groups.
    pub const TC: u32 = 1 << 10;
    /// GICv3: trap EL1's Group 0 registers.
    pub const TALL0: u32 = 1 << 11;
    /// GICv3: trap EL1's Group 1 registers.
    pub const TALL1: u32 = 1 << 12;
    /// GICv3: trap EL1's writes to ICC_DIR_EL1 (if `VIfaceInfo::tds`).
    pub const TDIR: u32 = 1 << 14;
    /// Where the count of ends without a list register begins (5 bits).
    pub const EOI_COUNT_SHIFT: u32 = 27;
}

/// Bits of ICH_MISR_EL2 and GICH_MISR: why the maintenance interrupt is raised.
pub mod misr {
    /// A list register with [`lr::EOI`](super::lr::EOI) was ended: see `VIface::eisr`.
    pub const EOI: u32 = 1;
    /// Underflow ([`hcr::UIE`](super::hcr::UIE)).
    pub const U: u32 = 1 << 1;
    /// An end without a list register ([`hcr::LRENPIE`](super::hcr::LRENPIE)).
    pub const LRENP: u32 = 1 << 2;
    /// Nothing pending ([`hcr::NPIE`](super::hcr::NPIE)).
    pub const NP: u32 = 1 << 3;
}

/// What a vCPU's CPU interface holds beside its list registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuIfState {
    /// ICH_VMCR_EL2 or GICH_VMCR. Same fields, but a GICv2 keeps the upper 5 bits of the priority mask only; AckCtl and
    /// FIQEn (bits 2 and 3) are a guest's own only if it sees a GICv2.
    pub vmcr: u32,
    /// The guest sees a GICv2: GICV in memory, no system registers. On a GICv2 everybody does, and this says nothing.
    pub memory_mapped: bool,
    /// Active priorities of Group 0; on a GICv2 word 0 is all there is, for both groups.
    pub ap0r: [u32; 4],
    /// Active priorities of Group 1.
    pub ap1r: [u32; 4],
}

impl CpuIfState {
    /// As after a reset: groups off, everything masked, nothing active.
    pub const RESET: CpuIfState = CpuIfState {
        vmcr: 0,
        memory_mapped: false,
        ap0r: [0; 4],
        ap1r: [0; 4],
    };
}

/// What the virtual interface can do (ICH_VTR_EL2 or GICH_VTR).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VIfaceInfo {
    /// Usable list registers, 1 to [`LR_MAX`].
    pub lrs: usize,
    /// A mask with one bit a list register.
    pub lr_mask: u32,
    /// Implemented bits of a virtual priority, 5 to 8.
    pub priority_bits: u32,
    /// Implemented bits of a virtual priority that decide preemption, 5 to 7.
    pub preemption_bits: u32,
    /// Bits of a virtual INTID: 10 (GICv2), 16 or 24.
    pub id_bits: u32,
    /// SGIs to Aff3 other than 0 can be generated.
    pub a3v: bool,
    /// No direct injection of virtual LPIs.
    pub nv4: bool,
    /// ICC_DIR_EL1 can be trapped alone ([`hcr::TDIR`]).
    pub tds: bool,
    /// System errors of the virtual interface are reported locally.
    pub seis: bool,
}

/// Why no guest can have a GICv2 on this GIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoV2 {
    /// The device tree names no registers for it.
    NoRegisters,
    /// They are not two whole 4 KiB pages, so stage 2 cannot give them and nothing else.
    NotPages,
    /// ICC_SRE_EL1.SRE is fixed at 1: the CPU interface has no memory-mapped form (IHI 0069H, 12.2.24).
    SystemRegistersOnly,
}

impl fmt::Display for NoV2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoV2::NoRegisters => {
                "its node lists no GICV (reg: GICD, the redistributors, GICC, GICH, GICV)"
            }
            NoV2::NotPages => "its GICV is not two whole pages of 4 KiB",
            NoV2::SystemRegistersOnly => {
                "its CPU interface has system registers only (ICC_SRE_EL1.SRE cannot be cleared)"
            }
        })
    }
}

/// Which list registers there are, as a mask.
pub(super) const fn mask(lrs: usize) -> u32 {
    (1u32 << lrs) - 1
}

/// The virtual interface of the calling CPU.
pub enum VIface {
    /// GICH registers.
    V2(VifV2),
    /// ICH system registers.
    V3(VifV3),
}

macro_rules! both {
    ($self:expr, $v:ident => $e:expr) => {
        match $self {
            VIface::V2($v) => $e,
            VIface::V3($v) => $e,
        }
    };
}

impl VIface {
    /// The GICv2 one: its control registers, banked by CPU, and where guests' GICC is (`gicv`, `gicv_len` bytes; only
    /// remembered for stage 2).
    pub fn v2(gich: Mmio, gicv: usize, gicv_len: usize) -> Result<VIface, GicError> {
        Ok(VIface::V2(VifV2::new(gich, gicv, gicv_len)?))
    }

    /// The GICv3 one, with base and length of GICV if the tree names it. After `Gic::init_cpu` on this CPU: until then
    /// its registers are undefined. HCR_EL2.{AMO, IMO, FMO} must be set, since only then ICC_SRE_EL1.SRE can be cleared
    /// (IHI 0069H, table 11-2), which is tried here.
    pub fn v3(gicv: Option<(usize, usize)>) -> Result<VIface, GicError> {
        Ok(VIface::V3(VifV3::new(gicv)?))
    }

    /// What it can do; the CPUs of a machine are taken to be alike.
    pub fn info(&self) -> &VIfaceInfo {
        both!(self, v => v.info())
    }

    /// How many list registers there are, 1 to [`LR_MAX`].
    #[inline(always)]
    pub fn lr_count(&self) -> usize {
        self.info().lrs
    }

    /// A mask with one bit a list register.
    #[inline(always)]
    pub fn lr_mask(&self) -> u32 {
        self.info().lr_mask
    }

    /// Base address and length of the CPU interface that a guest with a GICv2 sees, or why there can be no such guest.
    pub fn gicv(&self) -> Result<(usize, usize), NoV2> {
        match self {
            VIface::V2(v) => Ok(v.gicv()),
            VIface::V3(v) => v.gicv(),
        }
    }

    /// Prepares the calling CPU: off, every list register empty, state as after a reset. Once per start of the CPU,
    /// after `Gic::init_cpu`; HCR_EL2 as for [`VIface::v3`]. A CPU that differs from the first one is refused.
    pub fn init_cpu(&self) -> Result<(), GicError> {
        if let VIface::V3(v) = self {
            v.check_cpu()?;
        }
        self.set_hcr(0);
        for i in 0..self.lr_count() {
            self.write_lr(i, 0);
        }
        self.load(&CpuIfState::RESET);
        Ok(())
    }

    /// Writes the control register: [`hcr`] bits, [`hcr::EN`] included.
    #[inline(always)]
    pub fn set_hcr(&self, bits: u32) {
        both!(self, v => v.set_hcr(bits))
    }

    /// Reads the control register (with the count of ends without a list register).
    #[inline(always)]
    pub fn hcr(&self) -> u32 {
        both!(self, v => v.hcr())
    }

    /// On, with these maintenance interrupts ([`hcr`] bits).
    #[inline(always)]
    pub fn enable(&self, maintenance: u32) {
        self.set_hcr(hcr::EN | maintenance);
    }

    /// Off: the guest gets no interrupt, list registers keep their contents.
    #[inline(always)]
    pub fn disable(&self) {
        self.set_hcr(0);
    }

    /// Reads list register `n`, below `lr_count` (beyond: 0).
    #[inline(always)]
    pub fn read_lr(&self, n: usize) -> u64 {
        both!(self, v => v.read_lr(n))
    }

    /// Writes list register `n`, below `lr_count` (beyond: nothing).
    #[inline(always)]
    pub fn write_lr(&self, n: usize, value: u64) {
        both!(self, v => v.write_lr(n, value))
    }

    /// Writes the list registers whose bit is set in `dirty`.
    #[inline]
    pub fn write_lrs(&self, dirty: u32, lrs: &[u64; LR_MAX]) {
        both!(self, v => for_each(dirty, |n| v.write_lr(n, lrs[n])))
    }

    /// Reads the list registers whose bit is set in `mask`.
    #[inline]
    pub fn read_lrs(&self, mask: u32, lrs: &mut [u64; LR_MAX]) {
        both!(self, v => for_each(mask, |n| lrs[n] = v.read_lr(n)))
    }

    /// One bit for each list register that is empty (and has no end to report); bits of others are RES0 in both GICs
    /// (IHI 0048B 5.3.6, IHI 0069H 12.4.4).
    #[inline(always)]
    pub fn elrsr(&self) -> u32 {
        both!(self, v => v.elrsr())
    }

    /// One bit for each list register with [`lr::EOI`] that the guest has ended.
    #[inline(always)]
    pub fn eisr(&self) -> u32 {
        both!(self, v => v.eisr()) & self.lr_mask()
    }

    /// Why the maintenance interrupt is raised: [`misr`] bits.
    #[inline(always)]
    pub fn misr(&self) -> u32 {
        both!(self, v => v.misr())
    }

    /// Whether the guest has acknowledged an interrupt whose priority it has not dropped yet (ICH_AP1R0_EL2, GICH_APR).
    #[inline]
    pub fn handling(&self) -> bool {
        both!(self, v => v.handling())
    }

    /// Reads what a vCPU that leaves this CPU holds beside its list registers.
    #[inline]
    pub fn save(&self, to: &mut CpuIfState) {
        both!(self, v => v.save(to))
    }

    /// Gives this CPU's interface to a vCPU. The exception return orders it before the guest; what a memory-mapped
    /// interface needs besides happens here, so [`VIface::enable`] comes first.
    #[inline]
    pub fn load(&self, from: &CpuIfState) {
        both!(self, v => v.load(from))
    }
}

/// Calls `f` with the number of each bit set, below [`LR_MAX`].
#[inline(always)]
fn for_each(mask: u32, mut f: impl FnMut(usize)) {
    let mut rest = mask & ((1 << LR_MAX) - 1);
    while rest != 0 {
        f(rest.trailing_zeros() as usize);
        rest &= rest - 1;
    }
}
