//! GICv3 and GICv4, physical half: system registers for the CPU interface, one redistributor frame a CPU, affinity
//! routing on. LPIs are not used.
//!
//! Works in both views that EL2 can have: two security states (accesses are Non-secure, groups are firmware's) and one
//! (GICD_CTLR.DS or no Security Extensions: everything is put into Group 1 here). A redistributor frame is used by its
//! own CPU only, so it needs no lock; SPIs are the distributor's (dist3.rs), which has one. Of arm-gic's
//! `GicRedistributor` only the layout is used: its waits have no end, it wants `&mut` per CPU, and knows no active
//! state. Source: Arm IHI 0069H.

use super::{Ack, FIRST_SPI, GicError, PRIORITIES, RedistRegion, dist3::Dist, wait};
use crate::{
    Mmio, arch,
    mmio::{Regs, get, put},
};
use arm_gic::gicv3::registers::{Gicr, GicrCtlr, GicrSgi, Waker};
use core::mem::offset_of;
use heapless::Vec;
use spin::once::Once;
use tarn_abi::{CpuId, CpuSet, MAX_CPUS};
use tarn_board::{MPIDR_AFFINITY, Trigger};

/// Most redistributor regions of one machine.
pub const MAX_REGIONS: usize = 32;
/// ICC_SRE_EL2: system registers on, both bypasses off, EL1 may see ICC_SRE_EL1.
pub(super) const SRE_EL2: u64 = 0b1111;
/// ICC_SRE_EL1 and _EL2: the system register interface is on.
pub(super) const SRE: u64 = 1;
/// ICC_CTLR_EL1.EOImode: ending in two steps.
const EOI_MODE: u64 = 1 << 1;
/// A frame of two 64 KiB pages; four where virtual LPIs are implemented.
const FRAME: usize = size_of::<GicrSgi>();

/// A GICv3.
pub struct GicV3 {
    dist: Dist,
    regions: Vec<RedistRegion, MAX_REGIONS>,
    cpus: [Once<Cpu>; MAX_CPUS],
}

/// What is known of a CPU since its `init_cpu`.
struct Cpu {
    frame: Regs<GicrSgi>,
    /// Affinity fields of MPIDR_EL1.
    mpidr: u64,
    /// ICC_SGI1R_EL1 that sends SGI 0 to this CPU.
    sgi: u64,
}

/// ICC_SGI1R_EL1 for SGI 0 to the CPU with these affinity fields (section 12.2.19): Aff3, 2 and 1 and the upper half of
/// Aff0 choose sixteen CPUs, bits 0-15 some of them.
const fn sgi_word(mpidr: u64) -> u64 {
    let (aff0, aff1, aff2, aff3) = (
        mpidr & 0xff,
        mpidr >> 8 & 0xff,
        mpidr >> 16 & 0xff,
        mpidr >> 32 & 0xff,
    );
    aff3 << 48 | (aff0 >> 4) << 44 | aff2 << 32 | aff1 << 16 | 1 << (aff0 & 15)
}

/// The part of such a word that lists CPUs.
const TARGETS: u64 = 0xffff;

impl GicV3 {
    pub(super) fn new(
        gicd: Mmio,
        regions: impl IntoIterator<Item = RedistRegion>,
    ) -> Result<GicV3, GicError> {
        let mut list = Vec::new();
        for region in regions {
            list.push(region).map_err(|_| GicError::TooManyRegions)?;
        }
        Ok(GicV3 {
            dist: Dist::new(gicd)?,
            regions: list,
            cpus: [const { Once::new() }; MAX_CPUS],
        })
    }

    pub(super) fn lines(&self) -> u32 {
        self.dist.lines()
    }

    pub(super) fn init_dist(&self) -> Result<(), GicError> {
        self.dist.init()
    }

    pub(super) fn init_cpu(&self, cpu: CpuId, mpidr: u64) -> Result<(), GicError> {
        let slot = self.cpus.get(cpu.index()).ok_or(GicError::BadCpu(cpu))?;
        let mpidr = mpidr & MPIDR_AFFINITY;
        arch::write_icc_sre_el2(SRE_EL2);
        // The other ICC registers exist for us only once that write is seen.
        arch::isb();
        if arch::read_icc_sre_el2() & SRE == 0 {
            return Err(GicError::NoSystemRegisters);
        }
        let frame = self.find(mpidr)?;
        wake(&frame)?;
        put!(frame, GicrSgi, sgi.icenabler, 0 => 0xffff_0000);
        quiet(&frame)?;
        put!(frame, GicrSgi, sgi.icpendr, 0 => !0);
        put!(frame, GicrSgi, sgi.icactiver, 0 => !0);
        put!(frame, GicrSgi, sgi.igroupr, 0 => !0);
        put!(frame, GicrSgi, sgi.igrpmodr, 0 => 0);
        for i in 0..8 {
            put!(frame, GicrSgi, sgi.ipriorityr, i => PRIORITIES);
        }
        put!(frame, GicrSgi, sgi.isenabler, 0 => 0x0000_ffff);
        quiet(&frame)?;

        arch::write_icc_igrpen1(0);
        arch::write_icc_pmr(0xff);
        arch::write_icc_bpr1(0);
        arch::write_icc_ctlr(EOI_MODE);
        // Active priorities that whoever ran before left behind would hide interrupts for ever. How many such
        // registers there are follows from the priority bits (section 12.2.1): 5 and fewer 1, 6: 2, 7 and more: 4.
        let priority_bits = (arch::read_icc_ctlr() >> 8 & 7) + 1;
        for i in 0..active_registers(priority_bits) {
            arch::write_icc_ap1r(i, 0);
        }
        // Nothing may be signalled before the settings above hold.
        arch::isb();
        arch::write_icc_igrpen1(1);
        arch::isb();
        slot.call_once(|| Cpu {
            frame,
            mpidr,
            sgi: sgi_word(mpidr),
        });
        Ok(())
    }

    /// The frame whose GICR_TYPER carries this affinity.
    fn find(&self, mpidr: u64) -> Result<Regs<GicrSgi>, GicError> {
        for region in &self.regions {
            let mut at = 0;
            while let Ok(frame) = region.regs.frame::<GicrSgi>(at) {
                // GICR_TYPER: affinity in 63:32, Last in bit 4, VLPIS in bit 1.
                let typer = frame.read::<u64>(const { offset_of!(GicrSgi, gicr.typer) });
                if (typer >> 56) << 32 | typer >> 32 & 0xff_ffff == mpidr {
                    return Ok(frame);
                }
                if typer >> 4 & 1 != 0 {
                    break;
                }
                let frames = if typer >> 1 & 1 != 0 { 2 } else { 1 };
                let stride = region.stride.unwrap_or(frames * FRAME);
                // A stride of nothing would stay here for ever, one that overflows ends the region.
                at = match at.checked_add(stride.max(FRAME)) {
                    Some(next) => next,
                    None => break,
                };
            }
        }
        Err(GicError::NoRedistributor { mpidr })
    }

    #[inline(always)]
    pub(super) fn ack(&self) -> Option<Ack> {
        let raw = arch::read_icc_iar1() as u32;
        if raw < 16 {
            // The sender stored its message before it sent. This CPU may not have taken an exception for the SGI
            // (a masked wfi, or it came second), so only this keeps the loads of the message behind the read of IAR.
            arch::isb();
        }
        Ack::new(raw, raw)
    }

    // No barriers behind these: they take effect in finite time, at the latest with the exception return, and an
    // interrupt that comes back in between is signalled then.
    #[inline(always)]
    pub(super) fn end(&self, ack: Ack) {
        arch::write_icc_eoir1(ack.raw.into());
    }

    #[inline(always)]
    pub(super) fn deactivate(&self, raw: u32) {
        arch::write_icc_dir(raw.into());
    }

    /// What is stored before is visible to the receivers: a system register write is not ordered behind stores by
    /// less than a DSB. Nothing follows the write: the SGI leaves at the latest with the exception return.
    #[inline(always)]
    fn send(word: u64, n: u32) {
        arch::write_icc_sgi1r(word | u64::from(n & 15) << 24);
    }

    #[inline]
    pub(super) fn send_sgi(&self, n: u32, cpu: CpuId) {
        if let Some(to) = self.cpus.get(cpu.index()).and_then(Once::get) {
            arch::dsb_ishst();
            Self::send(to.sgi, n);
        }
    }

    #[inline]
    pub(super) fn send_sgi_set(&self, n: u32, cpus: &CpuSet) {
        arch::dsb_ishst();
        // CPUs of one cluster mostly have neighbouring numbers: collect while the cluster stays the same.
        let mut word = 0;
        for cpu in cpus.iter() {
            let Some(to) = self.cpus.get(cpu.index()).and_then(Once::get) else {
                continue;
            };
            if word != 0 && word & !TARGETS != to.sgi & !TARGETS {
                Self::send(word, n);
                word = 0;
            }
            word |= to.sgi;
        }
        if word != 0 {
            Self::send(word, n);
        }
    }

    #[inline(always)]
    fn cpu(&self, cpu: CpuId) -> Result<&Cpu, GicError> {
        self.cpus
            .get(cpu.index())
            .and_then(Once::get)
            .ok_or(GicError::BadCpu(cpu))
    }

    pub(super) fn enable(&self, intid: u32, cpu: CpuId) -> Result<(), GicError> {
        let c = self.cpu(cpu)?;
        if intid >= FIRST_SPI {
            return self.dist.enable(intid, c.mpidr);
        }
        put!(c.frame, GicrSgi, sgi.isenabler, 0 => 1 << intid);
        Ok(())
    }

    pub(super) fn disable(&self, intid: u32, cpu: CpuId) -> Result<(), GicError> {
        if intid >= FIRST_SPI {
            return self.dist.disable(intid);
        }
        let c = self.cpu(cpu)?;
        put!(c.frame, GicrSgi, sgi.icenabler, 0 => 1 << intid);
        quiet(&c.frame)
    }

    pub(super) fn route_spi(&self, intid: u32, cpu: CpuId) -> Result<(), GicError> {
        self.dist.route(intid, self.cpu(cpu)?.mpidr)
    }

    pub(super) fn set_priority(
        &self,
        intid: u32,
        cpu: CpuId,
        priority: u8,
    ) -> Result<(), GicError> {
        if intid >= FIRST_SPI {
            return self.dist.set_priority(intid, priority);
        }
        let at = const { offset_of!(GicrSgi, sgi.ipriorityr) } + intid as usize;
        self.cpu(cpu)?.frame.write::<u8>(at, priority);
        Ok(())
    }

    pub(super) fn set_trigger(
        &self,
        intid: u32,
        cpu: CpuId,
        trigger: Trigger,
    ) -> Result<(), GicError> {
        if intid >= FIRST_SPI {
            return self.dist.set_trigger(intid, trigger);
        }
        if intid < 16 {
            return Err(GicError::BadIntId(intid));
        }
        let c = self.cpu(cpu)?;
        let edge = 2 << (intid % 16 * 2);
        let others = get!(c.frame, GicrSgi, sgi.icfgr, 1) & !edge;
        put!(c.frame, GicrSgi, sgi.icfgr, 1 => match trigger {
            Trigger::Edge => others | edge,
            Trigger::Level => others,
        });
        Ok(())
    }

    #[inline]
    pub(super) fn set_active(&self, intid: u32, cpu: CpuId, active: bool) -> Result<(), GicError> {
        if intid >= FIRST_SPI {
            return self.dist.set_active(intid, active);
        }
        let c = self.cpu(cpu)?;
        if active {
            put!(c.frame, GicrSgi, sgi.isactiver, 0 => 1 << intid);
        } else {
            put!(c.frame, GicrSgi, sgi.icactiver, 0 => 1 << intid);
        }
        Ok(())
    }

    #[inline]
    pub(super) fn is_active(&self, intid: u32, cpu: CpuId) -> Result<bool, GicError> {
        if intid >= FIRST_SPI {
            return self.dist.is_active(intid);
        }
        Ok((get!(self.cpu(cpu)?.frame, GicrSgi, sgi.isactiver, 0) >> intid) & 1 != 0)
    }

    pub(super) fn set_pending(
        &self,
        intid: u32,
        cpu: CpuId,
        pending: bool,
    ) -> Result<(), GicError> {
        if intid >= FIRST_SPI {
            return self.dist.set_pending(intid, pending);
        }
        if intid < 16 {
            return Err(GicError::BadIntId(intid));
        }
        let c = self.cpu(cpu)?;
        if pending {
            put!(c.frame, GicrSgi, sgi.ispendr, 0 => 1 << intid);
        } else {
            put!(c.frame, GicrSgi, sgi.icpendr, 0 => 1 << intid);
        }
        Ok(())
    }

    pub(super) fn is_pending(&self, intid: u32, cpu: CpuId) -> Result<bool, GicError> {
        if intid >= FIRST_SPI {
            return self.dist.is_pending(intid);
        }
        Ok((get!(self.cpu(cpu)?.frame, GicrSgi, sgi.ispendr, 0) >> intid) & 1 != 0)
    }
}

/// Active-priority registers for this many priority bits.
pub(super) const fn active_registers(priority_bits: u64) -> usize {
    match priority_bits {
        0..=5 => 1,
        6 => 2,
        _ => 4,
    }
}

/// Waits until the redistributor has done what was written (GICR_CTLR.RWP).
fn quiet(frame: &Regs<GicrSgi>) -> Result<(), GicError> {
    wait("a redistributor write", || {
        get!(frame, GicrSgi, gicr.ctlr) & GicrCtlr::RWP.bits() == 0
    })
}

/// Connects the redistributor to its CPU. In the Non-secure view of two security states GICR_WAKER reads as zero and
/// firmware has done this (section 12.11.42).
fn wake(frame: &Regs<GicrSgi>) -> Result<(), GicError> {
    let waker = get!(frame, GicrSgi, gicr.waker);
    if waker & Waker::CHILDREN_ASLEEP.bits() != 0 {
        put!(frame, GicrSgi, gicr.waker => waker & !Waker::PROCESSOR_SLEEP.bits());
    }
    wait("waking a redistributor", || {
        get!(frame, GicrSgi, gicr.waker) & Waker::CHILDREN_ASLEEP.bits() == 0
    })
}

const _: () = assert!(size_of::<Gicr>() == 0x1_0000 && FRAME == 0x2_0000);
