//! Register access: widths, reserved space, reset values, and no offset that panics.

use super::super::{Kick, LrFile, Version, Vgic, VgicConfig};
use crate::{Refused, Size};
use proptest::prelude::*;
use std::vec::Vec;

const SIZES: [Size; 4] = [Size::Byte, Size::Half, Size::Word, Size::Double];

fn vgic(version: Version, vcpus: u16, spis: u16) -> Vgic {
    Vgic::new(VgicConfig {
        version,
        vcpus,
        spis,
    })
    .unwrap()
}

fn word(g: &mut Vgic, offset: u32) -> u64 {
    g.dist_read(0, offset, Size::Word, &LrFile::new(4)).unwrap()
}

#[test]
fn every_offset_and_width_answers() {
    for (version, vcpus, spis) in [
        (Version::V2, 8, 988),
        (Version::V2, 1, 0),
        (Version::V3, 64, 988),
        (Version::V3, 3, 32),
    ] {
        let mut g = vgic(version, vcpus, spis);
        let mut lrs = LrFile::new(2);
        for offset in 0..0x1_0000 {
            for size in SIZES {
                let _ = g.dist_read(0, offset, size, &lrs);
                let _ = g.dist_write_all(0, offset, size, u64::MAX, &mut lrs);
                let _ = g.dist_read(0, offset, size, &lrs);
            }
        }
        for offset in (0..0x4_0000).chain([u32::MAX, 64 << 17, (64 << 17) - 1]) {
            for size in SIZES {
                let _ = g.redist_read(0, offset, size, &lrs);
                let _ = g.redist_write_all(0, offset, size, u64::MAX, &mut lrs);
            }
        }
    }
}

#[test]
fn reset_values_are_those_of_qemu() {
    let mut g = vgic(Version::V3, 2, 256);
    // Read from QEMU 10.0.2 with `xp`.
    for (offset, value) in [
        (0, 0x50),
        (8, 0x43b),
        (0x10, 0),
        (0x84, 0),
        (0x104, 0),
        (0x420, 0),
        (0xc08, 0),
    ] {
        assert_eq!(word(&mut g, offset), value, "{offset:#x}");
    }
    let lrs = LrFile::new(4);
    for (offset, value) in [
        (4, 0x43b),
        (0x14, 6),
        (0xffe8, 0x3b),
        (0x1_0080, 0),
        (0x1_0c00, 0xaaaa_aaaa),
        (0x1_0c04, 0),
    ] {
        assert_eq!(
            g.redist_read(1, offset, Size::Word, &lrs),
            Ok(value),
            "{offset:#x}"
        );
    }
    let mut g = vgic(Version::V2, 2, 256);
    for (offset, value) in [
        (0, 0),
        (4, 0x28),
        (0x100, 0xffff),
        (0x180, 0xffff),
        (0x800, 0x0101_0101),
        (0x820, 0),
        (0xc00, 0xaaaa_aaaa),
        (0xfe8, 0x2b),
    ] {
        assert_eq!(word(&mut g, offset), value, "{offset:#x}");
    }
}

#[test]
fn widths() {
    let mut lrs = LrFile::new(4);
    let mut g = vgic(Version::V3, 2, 64);
    for (offset, size) in [
        (0, Size::Byte),
        (0, Size::Half),
        (0, Size::Double),
        (0x104, Size::Byte),
        (0x104, Size::Double),
        (0x420, Size::Half),
        (0x422, Size::Word),
        (0x6104, Size::Double),
    ] {
        assert_eq!(
            g.dist_read(0, offset, size, &lrs),
            Err(Refused::Width),
            "{offset:#x} {size:?}"
        );
        let write = g.dist_write_all(0, offset, size, u64::MAX, &mut lrs);
        assert_eq!(write, Err(Refused::Width), "{offset:#x} {size:?}");
    }
    assert_eq!(g.dist_read(0, 0x7fe0, Size::Word, &lrs), Ok(0)); // INTID 1020
    assert_eq!(
        g.dist_read(0, 0x4000, Size::Word, &lrs),
        Err(Refused::Reserved)
    );
    assert_eq!(
        g.redist_read(0, 2 << 17, Size::Word, &lrs),
        Err(Refused::Reserved)
    );
    assert_eq!(
        g.redist_read(0, 0x9, Size::Double, &lrs),
        Err(Refused::Width)
    );
    // A GICv2 answers narrow reads of anything, and takes narrow writes where fields are bytes.
    let mut g = vgic(Version::V2, 2, 64);
    assert_eq!(g.dist_read(0, 4, Size::Byte, &lrs), Ok(0x22));
    assert_eq!(g.dist_read(0, 9, Size::Byte, &lrs), Ok(4));
    assert_eq!(g.dist_read(0, 0xfe8, Size::Half, &lrs), Ok(0x2b));
    assert_eq!(
        g.dist_write_all(0, 0x421, Size::Byte, 0xa8, &mut lrs),
        Ok(Kick::NONE)
    );
    assert_eq!(g.dist_read(0, 0x420, Size::Word, &lrs), Ok(0xa800));
    assert_eq!(
        g.dist_write_all(0, 0x823, Size::Byte, 0xff, &mut lrs),
        Ok(Kick::NONE)
    );
    assert_eq!(g.dist_read(0, 0x820, Size::Word, &lrs), Ok(3 << 24));
    assert_eq!(
        g.dist_write_all(0, 0, Size::Byte, 1, &mut lrs),
        Err(Refused::Width)
    );
    assert_eq!(
        g.redist_read(0, 0, Size::Word, &lrs),
        Err(Refused::Reserved)
    );
}

#[test]
fn a_uniprocessor_gicv2_has_no_targets() {
    let mut g = vgic(Version::V2, 1, 32);
    let mut lrs = LrFile::new(4);
    assert_eq!(
        g.dist_write_all(0, 0x820, Size::Word, 0x0101_0101, &mut lrs),
        Ok(Kick::NONE)
    );
    assert_eq!((word(&mut g, 0x800), word(&mut g, 0x820)), (0, 0));
}

#[test]
fn read_only_and_absent_bits() {
    let mut lrs = LrFile::new(4);
    let mut g = vgic(Version::V3, 2, 988);
    let mut write = |g: &mut Vgic, offset, value| {
        let _ = g
            .dist_write_all(0, offset, Size::Word, value, &mut lrs)
            .unwrap();
    };
    write(&mut g, 0, u64::MAX);
    assert_eq!(word(&mut g, 0), 0x53);
    write(&mut g, 4, u64::MAX);
    assert_eq!(word(&mut g, 4), 0x0378_001f);
    write(&mut g, 0x17c, u64::MAX); // ISENABLER31: 28 interrupts
    assert_eq!(word(&mut g, 0x17c), 0x0fff_ffff);
    write(&mut g, 0x100, u64::MAX); // ISENABLER0: banked in the redistributors
    assert_eq!(word(&mut g, 0x100), 0);
    write(&mut g, 0x7f8, u64::MAX); // IPRIORITYR: 1016 to 1019 exist, 1020 on do not
    write(&mut g, 0x7fc, u64::MAX);
    assert_eq!((word(&mut g, 0x7f8), word(&mut g, 0x7fc)), (0xffff_ffff, 0));
    write(&mut g, 0xcfc, u64::MAX);
    assert_eq!(word(&mut g, 0xcfc), 0x00aa_aaaa);
    write(&mut g, 0x6104, u64::MAX); // IROUTER32, upper half: Aff3
    write(&mut g, 0x6100, u64::MAX);
    assert_eq!(
        g.dist_read(0, 0x6100, Size::Double, &LrFile::new(1)),
        Ok(0xff_00ff_ffff)
    );
    assert_eq!(word(&mut g, 0x6104), 0xff);
    for offset in [0x40, 0x48, 0x50, 0x58] {
        // SETSPI, CLRSPI: GICD_TYPER.MBIS is 0
        assert_eq!(
            g.dist_read(0, offset, Size::Word, &LrFile::new(1)),
            Err(Refused::Reserved)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is written where, in whatever width, nothing panics and register state reads back within its bits.
    #[test]
    fn random_accesses_never_panic(
        v3 in any::<bool>(), vcpus in 1u16..9, lrs in 1usize..5,
        accesses in prop::collection::vec(
            (any::<bool>(), any::<bool>(), 0usize..8, 0u32..0x1_0000, 0usize..4, any::<u64>()), 1..200),
    ) {
        let mut g = vgic(if v3 { Version::V3 } else { Version::V2 }, vcpus, 96);
        let mut files: Vec<LrFile> = (0..vcpus).map(|_| LrFile::new(lrs)).collect();
        for (redist, write, v, offset, size, value) in accesses {
            let v = v % vcpus as usize;
            // Most registers are in the lowest 4 KiB of a frame.
            let offset = if value & 1 == 0 { offset & 0xfff } else { offset };
            let frame = (value as u32 >> 8 & 7) << 16 | offset;
            let (size, file) = (SIZES[size], &mut files[v]);
            let kick = match (redist, write) {
                (false, false) => { let _ = g.dist_read(v, offset, size, file); continue }
                (true, false) => { let _ = g.redist_read(v, frame, size, file); continue }
                (false, true) => g.dist_write_all(v, offset, size, value, file),
                (true, true) => g.redist_write_all(v, frame, size, value, file),
            };
            if let Ok(kick) = kick {
                prop_assert_eq!((kick.wake | kick.resync) >> vcpus, 0);
                prop_assert_eq!((kick.wake | kick.resync) >> v & 1, 0);
            }
        }
        for (v, file) in files.iter_mut().enumerate() {
            let _ = g.flush(v, file);
            prop_assert!(!g.needs_flush(v));
        }
    }
}
