//! A trapped load or store: what a stage-2 data abort says about it, and what goes back into the register.
//!
//! Decodes ESR_EL2.ISS of a data abort from a lower Exception level (Arm ARM D24.2.40, "ISS encoding for an exception
//! from a Data Abort") into an [`Access`]. Instructions without a valid syndrome (pairs, writeback forms) are not
//! emulated: the caller injects an abort. Knows nothing about devices.

/// Width of an access.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Size {
    /// 8 bits.
    Byte = 0,
    /// 16 bits.
    Half = 1,
    /// 32 bits.
    Word = 2,
    /// 64 bits.
    Double = 3,
}

impl Size {
    /// From the two-bit SAS field.
    pub const fn from_sas(sas: u32) -> Size {
        match sas & 3 {
            0 => Size::Byte,
            1 => Size::Half,
            2 => Size::Word,
            _ => Size::Double,
        }
    }

    /// 1, 2, 4 or 8.
    pub const fn bytes(self) -> u32 {
        1 << self as u32
    }

    /// All ones in this width.
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - 8 * self.bytes())
    }
}

/// A load or store that the syndrome describes completely.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// Guest-physical address of the first byte.
    pub ipa: u64,
    /// Width.
    pub size: Size,
    /// A store, else a load.
    pub write: bool,
    /// The load sign-extends.
    pub sign: bool,
    /// The register is an X register, else a W register (its upper half becomes zero).
    pub sixty_four: bool,
    /// Number of the register, 31 being the zero register.
    pub rt: u8,
}

/// The syndrome does not describe an access to a device: ISV = 0; a fault on the guest's own table walk (S1PTW); or no
/// translation fault. A permission fault (a write to what may only be read) is never a device's, since no device's window
/// is mapped, and HPFAR_EL2 need not say where it was (Arm ARM D24.2.59: UNKNOWN for a permission fault that is none on a
/// walk), so an older fault's page could be taken for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoSyndrome;

const ISV: u32 = 1 << 24;
const SSE: u32 = 1 << 21;
const SF: u32 = 1 << 15;
const S1PTW: u32 = 1 << 7;
const WNR: u32 = 1 << 6;
/// DFSC without the level, and a translation fault there.
const DFSC: u32 = 0x3c;
const TRANSLATION: u32 = 0x04;

impl Access {
    /// From ISS (bits 24:0 of ESR_EL2), FAR_EL2 and HPFAR_EL2 of a data abort.
    #[inline]
    pub const fn decode(iss: u32, far: u64, hpfar: u64) -> Result<Access, NoSyndrome> {
        if iss & (ISV | S1PTW | DFSC) != ISV | TRANSLATION {
            return Err(NoSyndrome);
        }
        Ok(Access {
            ipa: fault_ipa(far, hpfar),
            size: Size::from_sas(iss >> 22),
            write: iss & WNR != 0,
            sign: iss & SSE != 0,
            sixty_four: iss & SF != 0,
            rt: (iss >> 16 & 31) as u8,
        })
    }

    /// What the target register holds after a load that the device answered with `raw`.
    #[inline]
    pub const fn loaded(self, raw: u64) -> u64 {
        let value = raw & self.size.mask();
        if !self.sign {
            return value;
        }
        let unused = 64 - 8 * self.size.bytes();
        let wide = (((value << unused) as i64) >> unused) as u64;
        if self.sixty_four {
            wide
        } else {
            wide & 0xffff_ffff
        }
    }

    /// What a store of register content `reg` puts on the bus.
    #[inline]
    pub const fn stored(self, reg: u64) -> u64 {
        reg & self.size.mask()
    }
}

/// The guest-physical address of a stage-2 abort: HPFAR_EL2.FIPA is the page (bits 47:4 hold IPA bits 55:12), FAR_EL2
/// the offset in it.
#[inline]
pub const fn fault_ipa(far: u64, hpfar: u64) -> u64 {
    (hpfar & 0x0000_ffff_ffff_fff0) << 8 | far & 0xfff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iss(size: u32, sign: bool, rt: u32, sf: bool, write: bool) -> u32 {
        ISV | size << 22
            | (sign as u32) << 21
            | rt << 16
            | (sf as u32) << 15
            | (write as u32) << 6
            | 0x7
    }

    #[test]
    fn only_a_translation_fault_of_an_access_is_a_devices() {
        let access = iss(2, false, 7, false, true);
        for level in 0..4 {
            assert!(Access::decode(access & !3 | level, 0, 0).is_ok());
        }
        // Address size, access flag, permission; external abort; on a walk; alignment; conflict abort.
        for dfsc in [0x00, 0x03, 0x0b, 0x0d, 0x0e, 0x0f, 0x10, 0x14, 0x21, 0x30] {
            assert_eq!(Access::decode(access & !0x3f | dfsc, 0, 0), Err(NoSyndrome));
        }
        assert_eq!(Access::decode(access | S1PTW, 0, 0), Err(NoSyndrome));
        assert_eq!(Access::decode(access & !ISV, 0, 0), Err(NoSyndrome));
    }

    #[test]
    fn decodes_every_field() {
        let a = Access::decode(
            iss(2, false, 7, false, true),
            0xffff_8000_0123_4567,
            0x0220_0000 >> 8,
        )
        .unwrap();
        assert_eq!(
            a,
            Access {
                ipa: 0x0220_0567,
                size: Size::Word,
                write: true,
                sign: false,
                sixty_four: false,
                rt: 7
            }
        );
        assert_eq!(
            Access::decode(iss(2, false, 7, false, true) & !ISV, 0, 0),
            Err(NoSyndrome)
        );
        assert_eq!(
            Access::decode(iss(3, false, 31, true, false), 0, 0)
                .unwrap()
                .rt,
            31
        );
    }

    #[test]
    fn extends_loads() {
        let load = |size, sign, sf| Access::decode(iss(size, sign, 0, sf, false), 0, 0).unwrap();
        assert_eq!(load(0, true, false).loaded(0x80), 0xffff_ff80);
        assert_eq!(load(0, true, true).loaded(0x80), 0xffff_ffff_ffff_ff80);
        assert_eq!(load(0, false, true).loaded(0x1ff), 0xff);
        assert_eq!(load(1, true, true).loaded(0x7fff), 0x7fff);
        assert_eq!(
            load(2, true, true).loaded(0x8000_0000),
            0xffff_ffff_8000_0000
        );
        assert_eq!(load(3, false, true).loaded(u64::MAX), u64::MAX);
        assert_eq!(load(2, false, false).stored(u64::MAX), 0xffff_ffff);
    }

    #[test]
    fn joins_page_and_offset() {
        assert_eq!(
            fault_ipa(0xffff_0000_0000_0abc, 0x0000_0000_0030_1000 >> 8),
            0x0030_1abc
        );
        assert_eq!(fault_ipa(0, 0xf000_0000_0000_000f), 0);
    }
}
