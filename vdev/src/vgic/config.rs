//! What a virtual GIC is made with, and the registers that follow from that alone.
//!
//! Copy a [`VgicConfig`] to where no lock is needed: TYPER, IIDR and the identification registers are answered from
//! it. Values are those of QEMU's virt machine without LPIs (read from its 10.0 emulation), so that a guest sees the
//! same natively and in a domain.

use crate::Size;

/// Most shared interrupts: INTIDs 32 to 1019.
pub const MAX_SPIS: u16 = 988;
/// Most vCPUs of a domain, by the width of [`super::Kick`].
const MAX_V3: u16 = 64;
const MAX_V2: u16 = 8;
/// vCPUs with the same Aff1, so that a target list of ICC_SGI1R_EL1 covers them.
const CLUSTER: usize = 16;
/// Implementer Arm, product 0: what QEMU shows.
const IIDR: u64 = 0x43b;

/// Architecture version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// GICv2: up to 8 vCPUs, memory-mapped CPU interface.
    V2,
    /// GICv3: affinity routing only, system-register CPU interface.
    V3,
}

/// Size and kind of a controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VgicConfig {
    /// Architecture version.
    pub version: Version,
    /// 1 to 64, with GICv2 1 to 8.
    pub vcpus: u16,
    /// Shared interrupts: a multiple of 32 up to 960, or 988.
    pub spis: u16,
}

/// Why a controller cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VgicError {
    /// `vcpus` is 0 or more than the version supports.
    Vcpus,
    /// `spis` is no multiple of 32 and not 988.
    Spis,
    /// Out of memory.
    NoMemory,
}

impl VgicConfig {
    pub(super) fn check(self) -> Result<(), VgicError> {
        let most = if self.version == Version::V2 {
            MAX_V2
        } else {
            MAX_V3
        };
        if self.vcpus == 0 || self.vcpus > most {
            return Err(VgicError::Vcpus);
        }
        if self.spis != MAX_SPIS && (self.spis > 960 || !self.spis.is_multiple_of(32)) {
            return Err(VgicError::Spis);
        }
        Ok(())
    }

    /// Words of 32 interrupts, the private one included.
    pub(super) const fn words(self) -> usize {
        1 + (self.spis as usize).div_ceil(32)
    }

    /// The interrupts of word `w` that exist.
    pub(super) const fn implemented(self, w: usize) -> u32 {
        if w >= self.words() {
            0
        } else if w == 31 {
            0x0fff_ffff // INTIDs 1020-1023 are special
        } else {
            u32::MAX
        }
    }

    /// Affinity of vCPU `v` as in MPIDR_EL1 (bit 31 not set): what VMPIDR_EL2 must show the guest.
    pub const fn mpidr(self, v: usize) -> u64 {
        match self.version {
            Version::V2 => v as u64,
            Version::V3 => (v % CLUSTER) as u64 | ((v / CLUSTER) << 8) as u64,
        }
    }

    /// The vCPU with these affinity fields (Aff3 in bits 39:32), if there is one. Other bits must be zero.
    pub const fn by_mpidr(self, mpidr: u64) -> Option<usize> {
        let v = match self.version {
            Version::V2 => mpidr,
            Version::V3 if mpidr & 0xff >= CLUSTER as u64 => return None,
            Version::V3 if mpidr >> 16 != 0 => return None,
            Version::V3 => (mpidr & 0xff) + (mpidr >> 8) * CLUSTER as u64,
        };
        if v < self.vcpus as u64 {
            Some(v as usize)
        } else {
            None
        }
    }

    /// GICD_TYPER. V3: No1N, A3V, 16-bit INTIDs. CPUNumber is zero with affinity routing.
    const fn typer(self) -> u64 {
        let lines = (self.words() - 1) as u64;
        match self.version {
            Version::V2 => lines | (self.vcpus as u64 - 1) << 5,
            Version::V3 => 1 << 25 | 1 << 24 | 0xf << 19 | lines,
        }
    }

    /// GICR_TYPER of vCPU `v`: affinity, processor number, Last; no LPIs.
    const fn gicr_typer(self, v: usize) -> u64 {
        let aff = self.mpidr(v);
        let packed = aff & 0xff_ffff | aff >> 8 & 0xff00_0000;
        let last = (v + 1 == self.vcpus as usize) as u64;
        // CommonLPIAff (bits 25:24) says 1 on QEMU; it has no meaning without LPIs.
        packed << 32 | 1 << 24 | (v as u64) << 8 | last << 4
    }

    /// A GICD register that no state changes; `None` for any other, and for widths it does not have.
    #[inline]
    pub const fn constant_dist(self, offset: u32, size: Size) -> Option<u64> {
        if !matches!(size, Size::Word) {
            return None;
        }
        match (offset, self.version) {
            (0x4, _) => Some(self.typer()),
            (0x8, _) => Some(IIDR),
            (0xfd0..=0xffc, Version::V2) => Some(ident(offset - 0xfd0, 0x90, 0x2b, 0x04)),
            (0xffd0..=0xfffc, Version::V3) => Some(ident(offset - 0xffd0, 0x92, 0x3b, 0x44)),
            _ => None,
        }
    }

    /// A GICR register that no state changes, by its offset from the start of the region of all redistributors.
    #[inline]
    pub const fn constant_redist(self, offset: u32, size: Size) -> Option<u64> {
        let v = (offset >> 17) as usize;
        if v >= self.vcpus as usize {
            return None;
        }
        match (offset & 0x1_ffff, size) {
            (0x4, Size::Word) => Some(IIDR),
            (0x8, Size::Double) => Some(self.gicr_typer(v)),
            (0x8, Size::Word) => Some(self.gicr_typer(v) & 0xffff_ffff),
            (0xc, Size::Word) => Some(self.gicr_typer(v) >> 32),
            (reg @ 0xffd0..=0xfffc, Size::Word) => Some(ident(reg - 0xffd0, 0x93, 0x3b, 0x44)),
            _ => None,
        }
    }
}

/// PIDR4-7, PIDR0-3, CIDR0-3 at 4-byte steps. PIDR2[7:4] is the architecture revision that drivers look at.
const fn ident(offset: u32, pidr0: u64, pidr2: u64, pidr4: u64) -> u64 {
    match offset / 4 {
        0 => pidr4,
        4 => pidr0,
        5 => 0xb4,
        6 => pidr2,
        8 => 0x0d,
        9 => 0xf0,
        10 => 0x05,
        11 => 0xb1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn v3(vcpus: u16, spis: u16) -> VgicConfig {
        VgicConfig {
            version: Version::V3,
            vcpus,
            spis,
        }
    }

    #[test]
    fn refuses_sizes_the_architecture_lacks() {
        assert_eq!(v3(0, 32).check(), Err(VgicError::Vcpus));
        assert_eq!(v3(65, 32).check(), Err(VgicError::Vcpus));
        assert_eq!(
            VgicConfig {
                version: Version::V2,
                vcpus: 9,
                spis: 32
            }
            .check(),
            Err(VgicError::Vcpus)
        );
        assert_eq!(v3(1, 33).check(), Err(VgicError::Spis));
        assert_eq!(v3(1, 992).check(), Err(VgicError::Spis));
        for ok in [0, 32, 960, 988] {
            assert_eq!(v3(64, ok).check(), Ok(()));
        }
    }

    #[test]
    fn affinity_round_trip() {
        let c = v3(40, 32);
        for v in 0..40 {
            assert_eq!(c.by_mpidr(c.mpidr(v)), Some(v));
        }
        assert_eq!(c.mpidr(17), 0x101);
        for bad in [16, 0x10f + 1, 0x208, 0x1_0000, 1 << 32] {
            assert_eq!(c.by_mpidr(bad), None, "{bad:#x}");
        }
        let v2 = VgicConfig {
            version: Version::V2,
            vcpus: 8,
            spis: 32,
        };
        assert_eq!(v2.by_mpidr(7), Some(7));
        assert_eq!(v2.by_mpidr(8), None);
        assert_eq!(v2.by_mpidr(u64::MAX), None);
    }

    #[test]
    fn shows_what_qemu_shows() {
        // Read from QEMU 10.0.2, virt, two CPUs, with `xp`; QEMU's LPI bits are left out.
        let c = v3(2, 256);
        assert_eq!(
            c.constant_dist(0x4, Size::Word),
            Some(0x037a_0008 & !(1 << 17))
        );
        assert_eq!(c.constant_dist(0x8, Size::Word), Some(0x43b));
        assert_eq!(c.constant_dist(0xffe8, Size::Word), Some(0x3b));
        assert_eq!(c.constant_dist(0xffd0, Size::Word), Some(0x44));
        assert_eq!(
            c.constant_redist(0x8, Size::Double),
            Some(0x0000_0000_0100_0000)
        );
        assert_eq!(
            c.constant_redist(0x2_0008, Size::Double),
            Some(0x0000_0001_0100_0110)
        );
        assert_eq!(c.constant_redist(0x2_000c, Size::Word), Some(1));
        assert_eq!(c.constant_redist(0x4_0008, Size::Double), None);
        assert_eq!(c.constant_dist(0x4, Size::Byte), None);
    }
}
