//! The virtual interface of a GICv2: GICH registers, banked by CPU (Arm IHI 0048B.b, section 5.3).
//!
//! Converts list registers from and to the form of GICv3 that the rest of Tarn uses.

use super::{
    GicError,
    viface::{CpuIfState, LR_MAX, VIfaceInfo, lr, mask},
};
use crate::{
    Mmio,
    mmio::{Regs, get, put},
};

/// Table 5-8 of the specification; arm-gic has no such layout.
#[repr(C)]
struct Gich {
    hcr: u32,
    vtr: u32,
    vmcr: u32,
    reserved0: u32,
    misr: u32,
    reserved1: [u32; 3],
    eisr: [u32; 2],
    reserved2: [u32; 2],
    elrsr: [u32; 2],
    reserved3: [u32; 46],
    apr: u32,
    reserved4: [u32; 3],
    lr: [u32; 64],
}
const _: () = assert!(core::mem::offset_of!(Gich, apr) == 0xf0 && size_of::<Gich>() == 0x200);

/// The virtual interface of a GICv2.
pub struct VifV2 {
    h: Regs<Gich>,
    gicv: (usize, usize),
    info: VIfaceInfo,
}

impl VifV2 {
    pub(super) fn new(gich: Mmio, gicv: usize, gicv_len: usize) -> Result<VifV2, GicError> {
        let h: Regs<Gich> = gich.regs()?;
        let vtr = get!(h, Gich, vtr);
        let lrs = ((vtr & 0x3f) as usize + 1).min(LR_MAX);
        let info = VIfaceInfo {
            lrs,
            lr_mask: mask(lrs),
            priority_bits: (vtr >> 29) + 1,
            preemption_bits: (vtr >> 26 & 7) + 1,
            id_bits: 10,
            a3v: false,
            nv4: true,
            tds: false,
            seis: false,
        };
        Ok(VifV2 {
            h,
            gicv: (gicv, gicv_len),
            info,
        })
    }

    #[inline(always)]
    pub(super) fn info(&self) -> &VIfaceInfo {
        &self.info
    }

    pub(super) fn gicv(&self) -> (usize, usize) {
        self.gicv
    }

    #[inline(always)]
    pub(super) fn set_hcr(&self, bits: u32) {
        put!(self.h, Gich, hcr => bits);
    }

    #[inline(always)]
    pub(super) fn hcr(&self) -> u32 {
        get!(self.h, Gich, hcr)
    }

    #[inline(always)]
    pub(super) fn read_lr(&self, n: usize) -> u64 {
        if n < self.info.lrs {
            to_v3(get!(self.h, Gich, lr, n))
        } else {
            0
        }
    }

    #[inline(always)]
    pub(super) fn write_lr(&self, n: usize, value: u64) {
        if n < self.info.lrs {
            put!(self.h, Gich, lr, n => from_v3(value));
        }
    }

    #[inline(always)]
    pub(super) fn elrsr(&self) -> u32 {
        get!(self.h, Gich, elrsr, 0)
    }

    #[inline(always)]
    pub(super) fn eisr(&self) -> u32 {
        get!(self.h, Gich, eisr, 0)
    }

    #[inline(always)]
    pub(super) fn misr(&self) -> u32 {
        get!(self.h, Gich, misr)
    }

    #[inline]
    pub(super) fn handling(&self) -> bool {
        get!(self.h, Gich, apr) != 0
    }

    #[inline]
    pub(super) fn save(&self, to: &mut CpuIfState) {
        to.vmcr = get!(self.h, Gich, vmcr);
        to.ap0r[0] = get!(self.h, Gich, apr);
    }

    #[inline]
    pub(super) fn load(&self, from: &CpuIfState) {
        put!(self.h, Gich, vmcr => from.vmcr);
        put!(self.h, Gich, apr => from.ap0r[0]);
    }
}

/// GICH_LR from the form of GICv3: INTID 9:0, physical INTID 19:10 (with HW) or sending CPU 12:10 and EOI 19,
/// priority 27:23, state 29:28, group 30, HW 31. The last two are neighbours in the same order in both forms.
#[inline(always)]
const fn from_v3(value: u64) -> u32 {
    let common = field(value, 0, 10, 0)
        | field(value, lr::PRIORITY_SHIFT + 3, 5, 23)
        | field(value, 62, 2, 28)
        | field(value, 60, 2, 30);
    let rest = if value & lr::HW != 0 {
        field(value, lr::PINTID_SHIFT, 10, 10)
    } else {
        field(value, 10, 3, 10) | field(value, 41, 1, 19)
    };
    (common | rest) as u32
}

/// The form of GICv3 from GICH_LR.
#[inline(always)]
const fn to_v3(value: u32) -> u64 {
    let value = value as u64;
    let common = field(value, 0, 10, 0)
        | field(value, 23, 5, lr::PRIORITY_SHIFT + 3)
        | field(value, 28, 2, 62)
        | field(value, 30, 2, 60);
    let rest = if value >> 31 != 0 {
        field(value, 10, 10, lr::PINTID_SHIFT)
    } else {
        field(value, 10, 3, 10) | field(value, 19, 1, 41)
    };
    common | rest
}

/// The `bits` bits of `value` at `from`, moved to `to`.
#[inline(always)]
const fn field(value: u64, from: u32, bits: u32, to: u32) -> u64 {
    ((value >> from) & ((1 << bits) - 1)) << to
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{arch::Memory, gic::VIface};

    const SAMPLES: [(u64, u32); 5] = [
        (0, 0),
        // SPI 32 pending in Group 1 at 0xa0, end reported.
        (
            lr::PENDING | lr::GROUP1 | lr::EOI | 0xa0 << lr::PRIORITY_SHIFT | 32,
            0x5a08_0020,
        ),
        // The virtual timer, linked to physical 27, active.
        (
            lr::ACTIVE | lr::HW | 27 << lr::PINTID_SHIFT | 0x80 << lr::PRIORITY_SHIFT | 27,
            0xa800_6c1b,
        ),
        // SGI 3 from vCPU 5.
        (lr::PENDING | 5 << 10 | 3, 0x1000_1403),
        // Everything that both have.
        (
            lr::PENDING
                | lr::ACTIVE
                | lr::HW
                | lr::GROUP1
                | 1019 << lr::PINTID_SHIFT
                | 0xf8 << lr::PRIORITY_SHIFT
                | 1019,
            0xff8f_effb,
        ),
    ];

    #[test]
    fn list_registers_convert() {
        for (v3, v2) in SAMPLES {
            assert_eq!(from_v3(v3), v2, "{v3:#x}");
            assert_eq!(to_v3(v2), v3, "{v2:#x}");
        }
        // What a GICv2 cannot hold is dropped, not spilled into other fields.
        assert_eq!(from_v3(7 << lr::PRIORITY_SHIFT | 0xffff_e000), 0);
    }

    #[test]
    fn every_value_comes_back() {
        // A walk through all bits of a GICH_LR, reserved ones (22:20, and 18:13 without HW) left out.
        let mut x = 0x1234_5678u32;
        for _ in 0..100_000 {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let v2 = if x >> 31 != 0 {
                x & !(7 << 20)
            } else {
                x & !(0x3f << 13 | 7 << 20)
            };
            assert_eq!(from_v3(to_v3(v2)), v2);
        }
    }

    #[test]
    fn registers_are_where_the_manual_says() {
        let m = Memory::new(0x1000);
        m.put(0x04, 0x9000_0003);
        let v = VIface::v2(m.mmio(), 0x1000, 0x2000).unwrap();
        assert_eq!(
            (v.lr_count(), v.lr_mask(), v.gicv()),
            (4, 0xf, Ok((0x1000, 0x2000)))
        );
        assert_eq!((v.info().priority_bits, v.info().preemption_bits), (5, 5));
        m.put(0x30, 0xf);
        m.put(0x20, 0x12);
        m.put(0x10, 3);
        assert_eq!((v.elrsr(), v.eisr(), v.misr()), (0xf, 2, 3));
        let mut lrs = [0; LR_MAX];
        (lrs[0], lrs[2], lrs[9]) = (SAMPLES[1].0, SAMPLES[2].0, SAMPLES[3].0);
        m.put(0x104, 77);
        v.write_lrs(0x205, &lrs);
        assert_eq!(
            (m.get(0x100), m.get(0x104), m.get(0x108)),
            (SAMPLES[1].1, 77, SAMPLES[2].1)
        );
        assert_eq!(m.get(0x124), 0, "no list register 9");
        let mut back = [0; LR_MAX];
        v.read_lrs(0xf, &mut back);
        assert_eq!((back[0], back[2]), (lrs[0], lrs[2]));
        let state = CpuIfState {
            vmcr: 0xf000_0003,
            memory_mapped: false,
            ap0r: [5, 0, 0, 0],
            ap1r: [0; 4],
        };
        v.load(&state);
        assert_eq!((m.get(0x08), m.get(0xf0)), (0xf000_0003, 5));
        let mut saved = CpuIfState::RESET;
        v.save(&mut saved);
        assert_eq!(saved, state);
        v.enable(crate::gic::hcr::UIE);
        assert_eq!(m.get(0), 3);
        v.init_cpu().unwrap();
        assert_eq!([0, 0x08, 0xf0, 0x100, 0x10c].map(|o| m.get(o)), [0; 5]);
    }
}
