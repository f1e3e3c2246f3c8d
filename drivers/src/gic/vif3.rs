//! The virtual interface of a GICv3: ICH system registers (Arm IHI 0069H, section 12.4).
//!
//! No barriers for a guest with system registers: registers of one CPU are read and written in program order, and
//! exception entry and return order them with the guest. A guest with a GICv2 reaches the same state by memory (GICV),
//! where the hardware has that form: what it stored is waited for, and what EL2 wrote is published, around each access.

use super::{
    GicError, NoV2,
    v3::{SRE, SRE_EL2, active_registers},
    viface::{CpuIfState, LR_MAX, VIfaceInfo, mask},
};
use crate::arch;

/// ICC_SRE_EL1: the guest has the system register interface, no bypass.
const SRE_EL1: u64 = 0b111;
/// ICC_SRE_EL2.Enable: EL1's accesses to ICC_SRE_EL1 do not trap.
const ENABLE: u64 = 1 << 3;
/// What a guest with a GICv2 needs of GICV: GICC's registers, and GICC_DIR in a page of its own.
const GICV_SIZE: usize = 0x2000;

/// The virtual interface of a GICv3.
pub struct VifV3 {
    info: VIfaceInfo,
    /// Active-priority registers of each group.
    active: usize,
    /// ICC_SRE_EL1.SRE can be cleared: the virtual CPU interface has a memory-mapped form, too. Then a guest can change
    /// it, and what it does by memory has to be waited for.
    two_forms: bool,
    /// List registers that are read and written by their system registers and nothing else: all, or none.
    direct: usize,
    /// One active-priority register a group and one form: what nearly every machine is.
    plain: bool,
    gicv: Result<(usize, usize), NoV2>,
}

impl VifV3 {
    pub(super) fn new(gicv: Option<(usize, usize)>) -> Result<VifV3, GicError> {
        let vtr = arch::read_ich_vtr();
        let bit = |n: u32| vtr >> n & 1 != 0;
        let lrs = ((vtr & 0x1f) as usize + 1).min(LR_MAX);
        let info = VIfaceInfo {
            lrs,
            lr_mask: mask(lrs),
            priority_bits: (vtr >> 29 & 7) as u32 + 1,
            preemption_bits: (vtr >> 26 & 7) as u32 + 1,
            id_bits: if vtr >> 23 & 7 == 1 { 24 } else { 16 },
            a3v: bit(21),
            nv4: bit(20),
            tds: bit(19),
            seis: bit(22),
        };
        let active = active_registers(info.preemption_bits.into());
        let two_forms = two_forms();
        Ok(VifV3 {
            info,
            active,
            two_forms,
            direct: if two_forms { 0 } else { lrs },
            plain: active <= 1 && !two_forms,
            gicv: usable(gicv, two_forms),
        })
    }

    /// Whether this CPU is like the first one.
    pub(super) fn check_cpu(&self) -> Result<(), GicError> {
        if two_forms() == self.two_forms {
            Ok(())
        } else {
            Err(GicError::Unlike)
        }
    }

    #[inline(always)]
    pub(super) fn info(&self) -> &VIfaceInfo {
        &self.info
    }

    pub(super) fn gicv(&self) -> Result<(usize, usize), NoV2> {
        self.gicv
    }

    #[inline(always)]
    pub(super) fn set_hcr(&self, bits: u32) {
        arch::write_ich_hcr(bits.into());
    }

    #[inline]
    pub(super) fn hcr(&self) -> u32 {
        self.settle();
        arch::read_ich_hcr() as u32
    }

    #[inline(always)]
    pub(super) fn read_lr(&self, n: usize) -> u64 {
        if n < self.direct {
            arch::read_ich_lr(n)
        } else {
            self.read_settled(n)
        }
    }

    #[cold]
    #[inline(never)]
    fn read_settled(&self, n: usize) -> u64 {
        if n >= self.info.lrs {
            return 0;
        }
        self.settle();
        arch::read_ich_lr(n)
    }

    #[inline(always)]
    pub(super) fn write_lr(&self, n: usize, value: u64) {
        if n < self.direct {
            arch::write_ich_lr(n, value);
        } else {
            self.write_seen(n, value);
        }
    }

    #[cold]
    #[inline(never)]
    fn write_seen(&self, n: usize, value: u64) {
        if n >= self.info.lrs {
            return;
        }
        arch::write_ich_lr(n, value);
        if memory_mapped() {
            publish();
        }
    }

    /// What the guest did by its memory-mapped interface is in the registers from here on.
    #[inline(always)]
    fn settle(&self) {
        if self.direct == 0 && memory_mapped() {
            arch::dsb_sy();
            arch::isb();
        }
    }

    /// Not settled: a register that the guest is about to empty by memory may still count as used, and whoever then
    /// reads it learns better.
    #[inline(always)]
    pub(super) fn elrsr(&self) -> u32 {
        // A list register written just before counts (IHI 0069, 8.2: self-synchronising only with a context
        // synchronization event).
        arch::isb();
        arch::read_ich_elrsr() as u32
    }

    #[inline(always)]
    pub(super) fn eisr(&self) -> u32 {
        self.settle();
        arch::read_ich_eisr() as u32
    }

    #[inline(always)]
    pub(super) fn misr(&self) -> u32 {
        self.settle();
        arch::read_ich_misr() as u32
    }

    #[inline]
    pub(super) fn handling(&self) -> bool {
        self.settle();
        (0..self.active.clamp(1, 4)).any(|i| arch::read_ich_ap1r(i) | arch::read_ich_ap0r(i) != 0)
    }

    #[inline]
    pub(super) fn save(&self, to: &mut CpuIfState) {
        if self.plain {
            to.vmcr = arch::read_ich_vmcr() as u32;
            to.ap0r[0] = arch::read_ich_ap0r(0) as u32;
            to.ap1r[0] = arch::read_ich_ap1r(0) as u32;
        } else {
            self.save_all(to);
        }
    }

    #[inline(never)]
    fn save_all(&self, to: &mut CpuIfState) {
        self.settle();
        to.vmcr = arch::read_ich_vmcr() as u32;
        for i in 0..self.active.clamp(1, 4) {
            to.ap0r[i] = arch::read_ich_ap0r(i) as u32;
            to.ap1r[i] = arch::read_ich_ap1r(i) as u32;
        }
    }

    #[inline]
    pub(super) fn load(&self, from: &CpuIfState) {
        if self.plain {
            arch::write_ich_vmcr(from.vmcr.into());
            arch::write_ich_ap0r(0, from.ap0r[0].into());
            arch::write_ich_ap1r(0, from.ap1r[0].into());
        } else {
            self.load_all(from);
        }
    }

    #[inline(never)]
    fn load_all(&self, from: &CpuIfState) {
        if self.two_forms {
            // Whatever the last vCPU's was, and before VMCR is written: with system registers VMCR.VFIQEn is fixed at 1,
            // and a GICv2's Group 0 would come as FIQ. Without them EL1 may not turn them on either.
            let (el2, el1) = if from.memory_mapped {
                (SRE_EL2 & !ENABLE, 0)
            } else {
                (SRE_EL2, SRE_EL1)
            };
            arch::write_icc_sre_el2(el2);
            arch::write_icc_sre_el1(el1);
            arch::isb();
        }
        arch::write_ich_vmcr(from.vmcr.into());
        for i in 0..self.active.clamp(1, 4) {
            arch::write_ich_ap0r(i, from.ap0r[i].into());
            arch::write_ich_ap1r(i, from.ap1r[i].into());
        }
        if self.two_forms && from.memory_mapped {
            publish();
        }
    }
}

/// Whether ICC_SRE_EL1.SRE of this CPU can be cleared. Tried, since no identification register says so; EL2's own
/// interface is ICC_SRE_EL2's business and stays as it is.
fn two_forms() -> bool {
    arch::write_icc_sre_el1(0);
    arch::isb();
    let cleared = memory_mapped();
    arch::write_icc_sre_el1(SRE_EL1);
    arch::isb();
    cleared
}

/// Whether EL1 has no system registers of the GIC at the moment.
#[inline(always)]
fn memory_mapped() -> bool {
    arch::read_icc_sre_el1() & SRE == 0
}

/// What was written to registers is seen by accesses to GICV that come later.
fn publish() {
    arch::isb();
    arch::dsb_sy();
}

/// Where a GICv2 guest's CPU interface is, or why there can be none.
fn usable(gicv: Option<(usize, usize)>, two_forms: bool) -> Result<(usize, usize), NoV2> {
    if !two_forms {
        return Err(NoV2::SystemRegistersOnly);
    }
    let (at, len) = gicv.ok_or(NoV2::NoRegisters)?;
    if at % 0x1000 != 0 || len < GICV_SIZE {
        return Err(NoV2::NotPages);
    }
    Ok((at, len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gic::{VIface, hcr};

    /// A CPU interface with system registers only, as QEMU's is.
    fn one_form() {
        arch::set("icc_sre_el1_fixed", 0, SRE_EL1);
    }

    #[test]
    fn parses_vtr_and_touches_only_what_exists() {
        one_form();
        // 4 list registers, 5 priority and preemption bits, Aff3, no virtual LPIs, TDS, 16 ID bits.
        arch::set("ich_vtr", 0, 0x9038_0003);
        let v = VIface::v3(Some((0x1000, 0x2000))).unwrap();
        let i = *v.info();
        assert_eq!(
            (i.lrs, i.priority_bits, i.preemption_bits, i.id_bits),
            (4, 5, 5, 16)
        );
        assert!(i.a3v && i.nv4 && i.tds && !i.seis);
        assert_eq!(v.gicv(), Err(NoV2::SystemRegistersOnly));
        let mut lrs = [0; LR_MAX];
        lrs.iter_mut()
            .enumerate()
            .for_each(|(n, l)| *l = n as u64 + 1);
        arch::journal();
        v.write_lrs(0b11010, &lrs);
        assert_eq!(arch::journal(), [("ich_lr", 2), ("ich_lr", 4)]);
        assert_eq!((v.read_lr(1), v.read_lr(3), v.read_lr(4)), (2, 4, 0));
        arch::set("ich_elrsr", 0, 0xf);
        assert_eq!(v.elrsr(), 0xf);
        // What was written to a list register just before counts.
        assert_eq!(arch::journal(), [("isb", 0)]);
        v.load(&CpuIfState {
            vmcr: 0xff00_0002,
            ap0r: [1, 9, 9, 9],
            ap1r: [2, 9, 9, 9],
            memory_mapped: false,
        });
        assert_eq!(
            arch::journal(),
            [("ich_vmcr", 0xff00_0002), ("ich_ap0r", 1), ("ich_ap1r", 2)]
        );
        let mut s = CpuIfState::RESET;
        v.save(&mut s);
        assert_eq!(
            (s.vmcr, s.ap0r, s.ap1r),
            (0xff00_0002, [1, 0, 0, 0], [2, 0, 0, 0])
        );
        v.enable(hcr::NPIE);
        assert_eq!(v.hcr(), 9);
    }

    #[test]
    fn seven_preemption_bits_have_four_registers() {
        one_form();
        arch::set("ich_vtr", 0, 7 << 29 | 6 << 26 | 15);
        let v = VIface::v3(None).unwrap();
        let state = CpuIfState {
            vmcr: 1,
            ap0r: [1, 2, 3, 4],
            ap1r: [5, 6, 7, 8],
            memory_mapped: false,
        };
        v.load(&state);
        let mut s = CpuIfState::RESET;
        v.save(&mut s);
        assert_eq!((s, v.lr_count()), (state, 16));
    }

    #[test]
    fn the_memory_mapped_form_is_tried_and_left_alone() {
        arch::set("ich_vtr", 0, 0x9038_0003);
        arch::journal();
        let v = VIface::v3(Some((0x1000, 0x2000))).unwrap();
        let probe = [
            ("icc_sre_el1", 0),
            ("isb", 0),
            ("icc_sre_el1", 7),
            ("isb", 0),
        ];
        assert_eq!(arch::journal(), probe);
        assert_eq!(v.gicv(), Ok((0x1000, 0x2000)));
        assert_eq!(VIface::v3(None).unwrap().gicv(), Err(NoV2::NoRegisters));
        for bad in [(0x1800, 0x2000), (0x1000, 0x1000)] {
            assert_eq!(VIface::v3(Some(bad)).unwrap().gicv(), Err(NoV2::NotPages));
        }
        // Another CPU without that form is not this machine's.
        assert_eq!(v.init_cpu(), Ok(()));
        one_form();
        assert_eq!(v.init_cpu(), Err(GicError::Unlike));
        assert_eq!(
            VIface::v3(Some((0x1000, 0x2000))).unwrap().init_cpu(),
            Ok(())
        );
    }

    #[test]
    fn a_gicv2_guest_has_no_system_registers_and_the_next_one_has() {
        arch::set("ich_vtr", 0, 0x9038_0003);
        let v = VIface::v3(Some((0x1000, 0x2000))).unwrap();
        arch::journal();
        let mapped = CpuIfState {
            vmcr: 0xf800_0001,
            ap0r: [4, 0, 0, 0],
            ap1r: [0; 4],
            memory_mapped: true,
        };
        v.load(&mapped);
        // System registers off, and seen to be, before VMCR is written; all of it before the guest's first access.
        assert_eq!(
            arch::journal(),
            [
                ("icc_sre_el2", 7),
                ("icc_sre_el1", 0),
                ("isb", 0),
                ("ich_vmcr", 0xf800_0001),
                ("ich_ap0r", 4),
                ("ich_ap1r", 0),
                ("isb", 0),
                ("dsb_sy", 0)
            ]
        );
        // SGI 3 from vCPU 5: its sender in bits 12:10, as in GICH_LR.
        let sgi = 1 << 62 | 5 << 10 | 3;
        v.write_lr(2, sgi);
        assert_eq!(
            arch::journal(),
            [("ich_lr", sgi), ("isb", 0), ("dsb_sy", 0)]
        );
        v.write_lr(4, sgi);
        assert_eq!(arch::journal(), []);
        // What the guest stored to GICV has arrived before its registers are read.
        assert_eq!((v.read_lr(2), v.read_lr(4)), (sgi, 0));
        assert_eq!(arch::journal(), [("dsb_sy", 0), ("isb", 0)]);
        let mut s = CpuIfState {
            memory_mapped: true,
            ..CpuIfState::RESET
        };
        v.save(&mut s);
        assert_eq!(s, mapped);
        assert_eq!(arch::journal(), [("dsb_sy", 0), ("isb", 0)]);
        v.load(&CpuIfState::RESET);
        assert_eq!(
            arch::journal(),
            [
                ("icc_sre_el2", 15),
                ("icc_sre_el1", 7),
                ("isb", 0),
                ("ich_vmcr", 0),
                ("ich_ap0r", 0),
                ("ich_ap1r", 0)
            ]
        );
        v.write_lr(0, 1);
        assert_eq!(arch::journal(), [("ich_lr", 1)]);
    }
}
