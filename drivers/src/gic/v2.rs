//! GICv2 (GIC-400 and kin), physical half, seen from Non-secure EL2 with or without the Security Extensions.
//!
//! With the Security Extensions (Raspberry Pi 4) our accesses are Non-secure: GICD_CTLR bit 0 enables Group 1, group
//! registers read as zero and ignore writes, priorities are the Non-secure half. Without them bit 0 enables Group 0
//! and everything is kept in Group 0. So the same values serve both: 1 in both control registers, groups left at 0.
//! Registers below INTID 32 and the whole CPU interface are banked: each CPU meets its own. Set-and-clear registers
//! and the SGI register may be written by several CPUs at once; what needs read-modify-write is under `config`.
//! Source: Arm IHI 0048B.b. Layouts are arm-gic's; its GICv2 driver is not used (no Non-secure view, priorities
//! written as whole words, no targets, no two-step end).

use super::{Ack, FIRST_SPI, GicError, PRIORITIES};
use crate::{
    Mmio, arch,
    mmio::{Regs, get, put},
};
use arm_gic::gicv2::registers::{Gicc, Gicd};
use core::mem::offset_of;
use core::sync::atomic::{AtomicU8, Ordering};
use spin::mutex::TicketMutex;
use tarn_abi::{CpuId, CpuSet, MAX_CPUS};
use tarn_board::Trigger;

/// GICD_CTLR and GICC_CTLR: forward the group that is ours.
const ENABLE: u32 = 1;
/// GICC_CTLR: interrupt bypass settings, firmware's business.
const BYPASS: u32 = 0xf << 5;
/// GICC_CTLR.EOImodeNS (Non-secure view) or .EOImode: ending in two steps.
const EOI_MODE: u32 = 1 << 9;
/// GICC_APR0-3, not named in arm-gic's layout (section 4.4.14).
const GICC_APR: usize = 0xd0;

/// A GICv2.
pub struct GicV2 {
    d: Regs<Gicd>,
    c: Regs<Gicc>,
    /// Held while a register is read, changed and written back.
    config: TicketMutex<()>,
    /// Bit of each CPU's interface in target registers; 0 until its `init_cpu`.
    target: [AtomicU8; MAX_CPUS],
}

impl GicV2 {
    pub(super) fn new(gicd: Mmio, gicc: Mmio) -> Result<GicV2, GicError> {
        Ok(GicV2 {
            d: gicd.regs()?,
            c: gicc.regs()?,
            config: TicketMutex::new(()),
            target: [const { AtomicU8::new(0) }; MAX_CPUS],
        })
    }

    /// See [`super::Gic::forgets_to_resignal`]: QEMU's model names itself product 0 in GICC_IIDR (a GIC-400 is 2).
    pub(super) fn forgets_to_resignal(&self) -> bool {
        get!(self.c, Gicc, iidr) >> 20 == 0
    }

    pub(super) fn lines(&self) -> u32 {
        (((get!(self.d, Gicd, typer) & 0x1f) + 1) * 32).min(1020)
    }

    pub(super) fn init_dist(&self) -> Result<(), GicError> {
        put!(self.d, Gicd, ctlr => 0);
        let lines = self.lines() as usize;
        for i in 1..lines.div_ceil(32) {
            put!(self.d, Gicd, icenabler, i => !0);
            put!(self.d, Gicd, icpendr, i => !0);
            put!(self.d, Gicd, icactiver, i => !0);
            put!(self.d, Gicd, igroupr, i => 0);
        }
        for i in 8..lines / 4 {
            put!(self.d, Gicd, ipriorityr, i => PRIORITIES);
            put!(self.d, Gicd, itargetsr, i => 0);
        }
        for i in 2..lines.div_ceil(16) {
            put!(self.d, Gicd, icfgr, i => 0);
        }
        put!(self.d, Gicd, ctlr => ENABLE);
        Ok(())
    }

    pub(super) fn init_cpu(&self, cpu: CpuId, _mpidr: u64) -> Result<(), GicError> {
        let slot = self.target.get(cpu.index()).ok_or(GicError::BadCpu(cpu))?;
        put!(self.d, Gicd, icenabler, 0 => 0xffff_0000);
        put!(self.d, Gicd, icpendr, 0 => 0xffff_0000);
        put!(self.d, Gicd, icactiver, 0 => !0);
        put!(self.d, Gicd, igroupr, 0 => 0);
        for i in 0..8 {
            put!(self.d, Gicd, ipriorityr, i => PRIORITIES);
        }
        put!(self.d, Gicd, isenabler, 0 => 0x0000_ffff);
        // The first eight target registers read as the bit of the CPU that reads, in every byte that belongs to an
        // implemented interrupt; on a GIC with one CPU interface they read as zero (section 4.3.12).
        let mut mask = (0..8)
            .map(|i| get!(self.d, Gicd, itargetsr, i))
            .fold(0, |a, w| a | w);
        mask |= mask >> 16;
        mask = (mask | mask >> 8) & 0xff;
        if mask == 0 {
            mask = 1;
        }
        if !mask.is_power_of_two() {
            return Err(GicError::BadCpu(cpu));
        }
        for i in 0..4 {
            self.c.write::<u32>(GICC_APR + 4 * i, 0);
        }
        put!(self.c, Gicc, bpr => 0);
        put!(self.c, Gicc, pmr => 0xff);
        let bypass = get!(self.c, Gicc, ctlr) & BYPASS;
        put!(self.c, Gicc, ctlr => bypass | EOI_MODE | ENABLE);
        slot.store(mask as u8, Ordering::Release);
        Ok(())
    }

    #[inline(always)]
    pub(super) fn ack(&self) -> Option<Ack> {
        let raw = get!(self.c, Gicc, iar);
        let intid = raw & 0x3ff;
        if intid < 16 {
            // The sender stored its message before it sent. This CPU may not have taken an exception for the SGI
            // (a masked wfi, or it came second), so only this keeps the loads of the message behind the read of IAR.
            arch::dmb_ld();
        }
        Ack::new(raw, intid)
    }

    // No barriers: both registers are in one device, whose accesses stay in order.
    #[inline(always)]
    pub(super) fn end(&self, ack: Ack) {
        put!(self.c, Gicc, eoir => ack.raw);
    }

    #[inline(always)]
    pub(super) fn deactivate(&self, raw: u32) {
        put!(self.c, Gicc, dir => raw);
    }

    #[inline(always)]
    fn send(&self, n: u32, targets: u32) {
        if targets != 0 {
            // What was stored for the receivers is visible before the store that interrupts them; a device store is
            // ordered by a barrier on accesses alone.
            arch::dmb_ishst();
            put!(self.d, Gicd, sgir => targets << 16 | (n & 15));
        }
    }

    #[inline(always)]
    fn target(&self, cpu: CpuId) -> u8 {
        self.target
            .get(cpu.index())
            .map_or(0, |t| t.load(Ordering::Acquire))
    }

    #[inline]
    pub(super) fn send_sgi(&self, n: u32, cpu: CpuId) {
        self.send(n, self.target(cpu).into());
    }

    #[inline]
    pub(super) fn send_sgi_set(&self, n: u32, cpus: &CpuSet) {
        self.send(
            n,
            cpus.iter()
                .fold(0, |all, cpu| all | u32::from(self.target(cpu))),
        );
    }

    /// Word and bit of `intid` in a register file of one bit an interrupt.
    #[inline(always)]
    fn bit(&self, intid: u32) -> Result<(usize, u32), GicError> {
        // The layout has room for 1024, so an unchecked but small INTID would be harmless: the GIC ignores it.
        if intid >= 1020 || (intid >= FIRST_SPI && intid >= self.lines()) {
            return Err(GicError::BadIntId(intid));
        }
        Ok((intid as usize / 32, 1 << (intid % 32)))
    }

    pub(super) fn enable(&self, intid: u32, cpu: CpuId) -> Result<(), GicError> {
        let (i, bit) = self.bit(intid)?;
        if intid >= FIRST_SPI {
            self.route_spi(intid, cpu)?;
        }
        put!(self.d, Gicd, isenabler, i => bit);
        Ok(())
    }

    pub(super) fn disable(&self, intid: u32, _cpu: CpuId) -> Result<(), GicError> {
        let (i, bit) = self.bit(intid)?;
        put!(self.d, Gicd, icenabler, i => bit);
        // The read is answered after the write took effect: device accesses stay in order.
        get!(self.d, Gicd, icenabler, i);
        Ok(())
    }

    pub(super) fn route_spi(&self, intid: u32, cpu: CpuId) -> Result<(), GicError> {
        self.bit(intid)?;
        if intid < FIRST_SPI {
            return Err(GicError::BadIntId(intid));
        }
        let target = self.target(cpu);
        if target == 0 {
            return Err(GicError::BadCpu(cpu));
        }
        // Byte accesses are allowed here and for priorities (section 4.1.4); they leave the neighbours alone.
        self.d.write::<u8>(
            const { offset_of!(Gicd, itargetsr) } + intid as usize,
            target,
        );
        Ok(())
    }

    pub(super) fn set_priority(
        &self,
        intid: u32,
        _cpu: CpuId,
        priority: u8,
    ) -> Result<(), GicError> {
        self.bit(intid)?;
        self.d.write::<u8>(
            const { offset_of!(Gicd, ipriorityr) } + intid as usize,
            priority,
        );
        Ok(())
    }

    pub(super) fn set_trigger(
        &self,
        intid: u32,
        _cpu: CpuId,
        trigger: Trigger,
    ) -> Result<(), GicError> {
        self.bit(intid)?;
        if intid < 16 {
            return Err(GicError::BadIntId(intid));
        }
        let (i, edge) = (intid as usize / 16, 2 << (intid % 16 * 2));
        let _lock = self.config.lock();
        let others = get!(self.d, Gicd, icfgr, i) & !edge;
        put!(self.d, Gicd, icfgr, i => match trigger {
            Trigger::Edge => others | edge,
            Trigger::Level => others,
        });
        Ok(())
    }

    #[inline]
    pub(super) fn set_active(&self, intid: u32, _cpu: CpuId, active: bool) -> Result<(), GicError> {
        let (i, bit) = self.bit(intid)?;
        if active {
            put!(self.d, Gicd, isactiver, i => bit);
        } else {
            put!(self.d, Gicd, icactiver, i => bit);
        }
        Ok(())
    }

    #[inline]
    pub(super) fn is_active(&self, intid: u32, _cpu: CpuId) -> Result<bool, GicError> {
        let (i, bit) = self.bit(intid)?;
        Ok(get!(self.d, Gicd, isactiver, i) & bit != 0)
    }

    pub(super) fn set_pending(
        &self,
        intid: u32,
        _cpu: CpuId,
        pending: bool,
    ) -> Result<(), GicError> {
        let (i, bit) = self.bit(intid)?;
        if intid < 16 {
            return Err(GicError::BadIntId(intid));
        }
        if pending {
            put!(self.d, Gicd, ispendr, i => bit);
        } else {
            put!(self.d, Gicd, icpendr, i => bit);
        }
        Ok(())
    }

    pub(super) fn is_pending(&self, intid: u32, _cpu: CpuId) -> Result<bool, GicError> {
        let (i, bit) = self.bit(intid)?;
        Ok(get!(self.d, Gicd, ispendr, i) & bit != 0)
    }
}
