//! The virtual interface of a GICv3: ICH system registers (Arm IHI 0069H, section 12.4).
//!
//! No barriers: registers of one CPU are read and written in program order, and exception entry and return order them
//! with the guest.

use super::{
    GicError,
    v3::active_registers,
    viface::{CpuIfState, LR_MAX, VIfaceInfo},
};
use crate::arch;

/// ICC_SRE_EL1: the guest has the system register interface, no bypass.
const SRE_EL1: u64 = 0b111;

/// The virtual interface of a GICv3.
pub struct VifV3 {
    info: VIfaceInfo,
    /// Active-priority registers of each group.
    active: usize,
}

impl VifV3 {
    pub(super) fn new() -> Result<VifV3, GicError> {
        let vtr = arch::read_ich_vtr();
        let bit = |n: u32| vtr >> n & 1 != 0;
        let info = VIfaceInfo {
            lrs: ((vtr & 0x1f) as usize + 1).min(LR_MAX),
            priority_bits: (vtr >> 29 & 7) as u32 + 1,
            preemption_bits: (vtr >> 26 & 7) as u32 + 1,
            id_bits: if vtr >> 23 & 7 == 1 { 24 } else { 16 },
            a3v: bit(21),
            nv4: bit(20),
            tds: bit(19),
            seis: bit(22),
        };
        Ok(VifV3 {
            active: active_registers(info.preemption_bits.into()),
            info,
        })
    }

    #[inline(always)]
    pub(super) fn info(&self) -> &VIfaceInfo {
        &self.info
    }

    #[inline(always)]
    pub(super) fn set_hcr(&self, bits: u32) {
        arch::write_ich_hcr(bits.into());
    }

    #[inline(always)]
    pub(super) fn hcr(&self) -> u32 {
        arch::read_ich_hcr() as u32
    }

    #[inline(always)]
    pub(super) fn read_lr(&self, n: usize) -> u64 {
        if n < self.info.lrs {
            arch::read_ich_lr(n)
        } else {
            0
        }
    }

    #[inline(always)]
    pub(super) fn write_lr(&self, n: usize, value: u64) {
        if n < self.info.lrs {
            arch::write_ich_lr(n, value);
        }
    }

    #[inline(always)]
    pub(super) fn elrsr(&self) -> u32 {
        // A list register written just before counts (IHI 0069, 8.2: self-synchronising only with a context
        // synchronization event).
        arch::isb();
        arch::read_ich_elrsr() as u32
    }

    #[inline(always)]
    pub(super) fn eisr(&self) -> u32 {
        arch::read_ich_eisr() as u32
    }

    #[inline(always)]
    pub(super) fn misr(&self) -> u32 {
        arch::read_ich_misr() as u32
    }

    #[inline]
    pub(super) fn handling(&self) -> bool {
        (0..self.active.clamp(1, 4)).any(|i| arch::read_ich_ap1r(i) | arch::read_ich_ap0r(i) != 0)
    }

    #[inline]
    pub(super) fn save(&self, to: &mut CpuIfState) {
        to.vmcr = arch::read_ich_vmcr() as u32;
        to.ap0r[0] = arch::read_ich_ap0r(0) as u32;
        to.ap1r[0] = arch::read_ich_ap1r(0) as u32;
        for i in 1..self.active.min(4) {
            to.ap0r[i] = arch::read_ich_ap0r(i) as u32;
            to.ap1r[i] = arch::read_ich_ap1r(i) as u32;
        }
    }

    #[inline]
    pub(super) fn load(&self, from: &CpuIfState) {
        // Whatever the last vCPU did to it (where a GIC lets EL1 choose at all): this one has system registers.
        arch::write_icc_sre_el1(SRE_EL1);
        arch::write_ich_vmcr(from.vmcr.into());
        arch::write_ich_ap0r(0, from.ap0r[0].into());
        arch::write_ich_ap1r(0, from.ap1r[0].into());
        for i in 1..self.active.min(4) {
            arch::write_ich_ap0r(i, from.ap0r[i].into());
            arch::write_ich_ap1r(i, from.ap1r[i].into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gic::{VIface, hcr};

    #[test]
    fn parses_vtr_and_touches_only_what_exists() {
        // 4 list registers, 5 priority and preemption bits, Aff3, no virtual LPIs, TDS, 16 ID bits.
        arch::set("ich_vtr", 0, 0x9038_0003);
        let v = VIface::v3().unwrap();
        let i = *v.info();
        assert_eq!(
            (i.lrs, i.priority_bits, i.preemption_bits, i.id_bits),
            (4, 5, 5, 16)
        );
        assert!(i.a3v && i.nv4 && i.tds && !i.seis);
        let mut lrs = [0; LR_MAX];
        lrs.iter_mut()
            .enumerate()
            .for_each(|(n, l)| *l = n as u64 + 1);
        arch::journal();
        v.write_lrs(0b11010, &lrs);
        assert_eq!(arch::journal(), [("ich_lr", 2), ("ich_lr", 4)]);
        assert_eq!((v.read_lr(1), v.read_lr(3), v.read_lr(4)), (2, 4, 0));
        arch::set("ich_elrsr", 0, 0xffff);
        assert_eq!(v.elrsr(), 0xf);
        // What was written to a list register just before counts.
        assert_eq!(arch::journal(), [("isb", 0)]);
        v.load(&CpuIfState {
            vmcr: 0xff00_0002,
            ap0r: [1, 9, 9, 9],
            ap1r: [2, 9, 9, 9],
        });
        assert_eq!(
            arch::journal(),
            [
                ("icc_sre_el1", 7),
                ("ich_vmcr", 0xff00_0002),
                ("ich_ap0r", 1),
                ("ich_ap1r", 2)
            ]
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
        arch::set("ich_vtr", 0, 7 << 29 | 6 << 26 | 15);
        let v = VIface::v3().unwrap();
        let state = CpuIfState {
            vmcr: 1,
            ap0r: [1, 2, 3, 4],
            ap1r: [5, 6, 7, 8],
        };
        v.load(&state);
        let mut s = CpuIfState::RESET;
        v.save(&mut s);
        assert_eq!((s, v.lr_count()), (state, 16));
    }
}
