//! Writes that are done in pieces: how much a piece is for, and what two of them make of each other.

use super::super::{CpuIf, Irq, LrFile, SgiReg, Version, Vgic, VgicConfig};
use crate::Size;
use std::vec::Vec;

const WORDS: u32 = 31;

/// Eight vCPUs, all shared interrupts enabled and pending, each for another vCPU than its neighbours; the first of a word
/// is for none.
fn full() -> (Vgic, Vec<LrFile>) {
    let config = VgicConfig {
        version: Version::V3,
        vcpus: 8,
        spis: 988,
    };
    let mut vgic = Vgic::new(config).unwrap();
    let mut files = vec![LrFile::new(4); 8];
    for intid in 32..1020u32 {
        let offset = 0x6000 + 8 * intid;
        let to = if intid == 96 { 0xff } else { intid % 8 };
        let _ = vgic
            .dist_write(0, offset, Size::Double, u64::from(to), &mut files[0])
            .unwrap();
    }
    for reg in [0x100, 0x200, 0x80] {
        for w in 1..=WORDS {
            let _ = vgic
                .dist_write_all(0, reg + 4 * w, Size::Word, !0, &mut files[0])
                .unwrap();
        }
    }
    (vgic, files)
}

fn ctlr(vgic: &mut Vgic, v: usize, value: u64, file: &mut LrFile) {
    let _ = vgic.dist_write(v, 0, Size::Word, value, file).unwrap();
}

/// How many of a vCPU's interrupts are in list registers or wait for one.
fn due(vgic: &Vgic, v: usize) -> u32 {
    let vcpu = &vgic.vcpus[v];
    let waiting: u32 = (0..32).map(|w| vcpu.ready.word(w).count_ones()).sum();
    waiting + vcpu.used.count_ones()
}

#[test]
fn a_piece_looks_at_one_word_or_a_few_vcpus() {
    let (mut vgic, mut files) = full();
    ctlr(&mut vgic, 0, 3, &mut files[0]);
    let mut before = 0;
    let mut pieces = 0;
    while vgic.unfinished(0) {
        let _ = vgic.go_on(0, &mut files[0]);
        let now: u32 = (0..8).map(|v| due(&vgic, v)).sum();
        assert!(now - before <= 8, "{} in one piece", now - before);
        before = now;
        pieces += 1;
    }
    assert_eq!(before, 987, "all are due in the end");
    assert!(pieces >= 4 * WORDS);
}

#[test]
fn a_piece_changes_few_interrupts() {
    let (mut vgic, mut files) = full();
    ctlr(&mut vgic, 0, 3, &mut files[0]);
    let _ = vgic.finish(0, super::super::Kick::NONE, &mut files[0]);
    // Off, not pending, active, group 0.
    for (offset, value) in [(0x190, !0), (0x294, !0), (0x318, !0), (0x9c, 0)] {
        let mut wrote = vgic
            .dist_write(0, offset, Size::Word, value, &mut files[0])
            .unwrap();
        let mut pieces = 1;
        while vgic.unfinished(0) {
            assert!(wrote.resync.count_ones() <= 4);
            wrote = vgic.go_on(0, &mut files[0]);
            pieces += 1;
        }
        assert_eq!(pieces, 9, "register {offset:#x}");
    }
    assert_eq!(vgic.spis[3].enabled, 0);
    assert_eq!(vgic.spis[4].pending() & !vgic.spis[4].resident, 0);
    assert_eq!(vgic.spis[5].active | vgic.spis[5].set_act, !0);
    assert_eq!(vgic.spis[6].group, 0);
    // What changes nothing, or one, is done at once.
    for (offset, value) in [(0x190, !0), (0x198, 0x80), (0x194, 0)] {
        let _ = vgic
            .dist_write(0, offset, Size::Word, value, &mut files[0])
            .unwrap();
        assert!(!vgic.unfinished(0), "register {offset:#x}");
    }
}

#[test]
fn two_that_switch_against_each_other_both_end_and_the_last_word_counts() {
    for (first, last) in [(3, 0), (0, 3)] {
        for head_start in [0, 1, 7, 31, 123, 124, 125] {
            let (mut vgic, mut files) = full();
            ctlr(&mut vgic, 1, last, &mut files[1]);
            let _ = vgic.finish(1, super::super::Kick::NONE, &mut files[1]);
            ctlr(&mut vgic, 0, first, &mut files[0]);
            for _ in 0..head_start {
                let _ = vgic.go_on(0, &mut files[0]);
            }
            ctlr(&mut vgic, 1, last, &mut files[1]);
            let mut pieces = 0;
            while vgic.unfinished(0) || vgic.unfinished(1) {
                let _ = vgic.go_on(pieces % 2, &mut files[pieces % 2]);
                pieces += 1;
                assert!(pieces < 500, "they keep each other from ending");
            }
            for (v, file) in files.iter_mut().enumerate() {
                let _ = vgic.flush(v, file);
                let (due, on) = (due(&vgic, v), last != 0);
                assert_eq!(due != 0, on, "{due} are due for vCPU {v}");
                assert_eq!(vgic.pending(v, file, CpuIf::ANY), on);
            }
        }
    }
}

/// Who raised an interrupt first may lose its CPU before it has told the target. Whoever raises the same one again tells it.
#[test]
fn what_is_pending_and_untold_is_told_by_the_next() {
    for version in [Version::V2, Version::V3] {
        let config = VgicConfig {
            version,
            vcpus: 4,
            spis: 32,
        };
        let mut g = Vgic::new(config).unwrap();
        let mut f = vec![LrFile::new(4); 4];
        let _ = g.dist_write_all(0, 0, Size::Word, 3, &mut f[0]).unwrap();
        for v in 0..4u32 {
            let file = &mut f[v as usize];
            for reg in [0x1_0080, 0x1_0100] {
                let _ = g.redist_write_all(v as usize, v << 17 | reg, Size::Word, !0, file);
            }
        }
        let send = |g: &mut Vgic, v: usize, sgir: u64, sgi1r: u64, file: &mut LrFile| match version
        {
            Version::V2 => g.dist_write(v, 0xf00, Size::Word, sgir, file).unwrap(),
            Version::V3 => g.sgi_v3(v, SgiReg::Sgi1, sgi1r, file),
        };
        let mut untold = send(&mut g, 0, 1 << 24 | 2, 1 << 40 | 2 << 24, &mut f[0]);
        while g.unfinished(0) {
            untold = untold.and(g.go_on(0, &mut f[0]));
        }
        assert_eq!(untold.wake, 0b1110);
        let again = send(&mut g, 2, 1 << 17 | 2, 2 << 24 | 2, &mut f[2]);
        assert_ne!(again.wake & 2, 0, "{version:?}");

        // A device's edge after the write that enables its interrupt, and another's.
        if version == Version::V2 {
            for i in [32, 33] {
                let _ = g
                    .dist_write(0, 0x800 + i, Size::Byte, 2, &mut f[0])
                    .unwrap();
            }
            let _ = g.dist_write(0, 0xc08, Size::Word, 0xa, &mut f[0]).unwrap();
            let _ = g
                .dist_write_all(0, 0x84, Size::Word, !0, &mut f[0])
                .unwrap();
            let _ = g.pulse(Irq::spi(32));
            let untold = g.dist_write(0, 0x104, Size::Word, 3, &mut f[0]).unwrap();
            assert_eq!(untold.wake, 2);
            assert_eq!(g.pulse(Irq::spi(32)).wake, 2);
        }
    }
}
