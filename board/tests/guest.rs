//! The trees that guests get: read back with Tarn's own reader, and with dtc where it is installed.

use std::io::Write;
use std::process::{Command, Stdio};
use tarn_board::guest::{GICV2_VCPUS, layout};
use tarn_board::*;

fn spec(memory: &[Region]) -> GuestSpec<'_> {
    GuestSpec {
        vcpus: 2,
        memory,
        gic: GuestGic::V3,
        vpl011: true,
        pl011_at: layout::PL011,
        bootargs: "console=ttyAMA0",
        initrd: None,
        rng_seed: &[],
        kaslr_seed: None,
        devices: None,
        shared: &[],
        doorbells: &[],
    }
}

fn ram() -> [Region; 1] {
    [Region::new(layout::RAM0, 128 << 20).unwrap()]
}

/// What dtc makes of a blob, with its complaints; `None` where there is no dtc.
fn dtc(blob: &[u8]) -> Option<(String, String)> {
    let mut child = Command::new("dtc")
        .args(["-I", "dtb", "-O", "dts", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take().unwrap().write_all(blob).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    Some((
        String::from_utf8(out.stdout).unwrap(),
        String::from_utf8(out.stderr).unwrap(),
    ))
}

#[test]
fn a_guest_has_no_virtualization_and_the_reader_says_so() {
    // A Tarn started inside a guest must stop with that reason.
    let ram = ram();
    for gic in [GuestGic::V2, GuestGic::V3] {
        let blob = guest_dtb(&GuestSpec { gic, ..spec(&ram) }).unwrap().blob;
        assert_eq!(header_size(&blob).unwrap(), blob.len());
        let error = Board::from_dtb(&blob, 0).unwrap_err().to_string();
        assert!(
            error.starts_with("/interrupt-controller@3001000: "),
            "{error}"
        );
    }
}

#[test]
fn refuses_what_no_guest_can_have() {
    let ram = ram();
    let base = spec(&ram);
    let v2 = GuestGic::V2;
    let outside = Region::new(0x1000, 0x1000);
    let long = "x".repeat(70_000);
    for (spec, error) in [
        (
            GuestSpec { vcpus: 0, ..base },
            GuestError::Vcpus { is: 0, max: 64 },
        ),
        (
            GuestSpec { vcpus: 65, ..base },
            GuestError::Vcpus { is: 65, max: 64 },
        ),
        (
            GuestSpec {
                vcpus: GICV2_VCPUS + 1,
                gic: v2,
                ..base
            },
            GuestError::Vcpus { is: 9, max: 8 },
        ),
        (
            GuestSpec {
                memory: &[],
                ..base
            },
            GuestError::Memory,
        ),
        (
            GuestSpec {
                memory: &[ram[0]; 5],
                ..base
            },
            GuestError::Memory,
        ),
        (
            GuestSpec {
                initrd: outside,
                ..base
            },
            GuestError::Initrd,
        ),
        (
            GuestSpec {
                bootargs: "a\0b",
                ..base
            },
            GuestError::Bootargs,
        ),
        (
            GuestSpec {
                bootargs: &long,
                ..base
            },
            GuestError::TooLarge,
        ),
    ] {
        assert_eq!(guest_dtb(&spec).unwrap_err(), error);
    }
}

#[test]
fn the_seeds_are_where_the_tree_says() {
    let ram = ram();
    let seed = [7; 32];
    let with = GuestSpec {
        rng_seed: &seed,
        kaslr_seed: Some(0x0102_0304_0506_0708),
        ..spec(&ram)
    };
    let tree = guest_dtb(&with).unwrap();
    let at = |place: Option<usize>, len| &tree.blob[place.unwrap()..][..len];
    assert_eq!(at(tree.seeds.rng, 32), seed);
    assert_eq!(at(tree.seeds.kaslr, 8), [1, 2, 3, 4, 5, 6, 7, 8]);
    // Written anew there, it is the tree of the other seed.
    let other = GuestSpec {
        rng_seed: &[9; 32],
        ..with
    };
    let mut again = tree.blob.clone();
    again[tree.seeds.rng.unwrap()..][..32].fill(9);
    assert_eq!(guest_dtb(&other).unwrap().blob, again);
    let none = guest_dtb(&spec(&ram)).unwrap().seeds;
    assert!(none.rng.is_none() && none.kaslr.is_none());
}

#[test]
fn dtc_has_nothing_to_complain_of() {
    let ram = ram();
    let initrd = Region::new(layout::RAM0 + (64 << 20), 5_000_001);
    for gic in [GuestGic::V2, GuestGic::V3] {
        let seed = [7; 32];
        let full = GuestSpec {
            gic,
            initrd,
            rng_seed: &seed,
            kaslr_seed: Some(u64::MAX),
            ..spec(&ram)
        };
        let bare = GuestSpec {
            gic,
            vpl011: false,
            bootargs: "",
            vcpus: 8,
            ..spec(&ram)
        };
        for spec in [full, bare] {
            let Some((text, complaints)) = dtc(&guest_dtb(&spec).unwrap().blob) else {
                return;
            };
            assert_eq!(complaints, "");
            assert_eq!(text.contains("bootargs"), !spec.bootargs.is_empty());
            assert_eq!(text.contains("pl011@22000000 {"), spec.vpl011);
            assert_eq!(text.contains("stdout-path"), spec.vpl011);
            assert_eq!(
                text.contains("linux,initrd-end = <0x00 0x444c4b41>"),
                spec.initrd.is_some(),
                "{text}"
            );
            assert_eq!(
                text.contains("kaslr-seed = <0xffffffff 0xffffffff>"),
                spec.kaslr_seed.is_some()
            );
            let reg = match gic {
                GuestGic::V2 => {
                    "reg = <0x00 0x3001000 0x00 0x1000 0x00 0x3002000 0x00 0x2000>".to_string()
                }
                GuestGic::V3 => {
                    format!(
                        "reg = <0x00 0x3001000 0x00 0x10000 0x00 0x3020000 0x00 {:#x}>",
                        spec.vcpus * 0x2_0000
                    )
                }
            };
            assert!(text.contains(&reg), "{text}");
            assert!(
                text.contains("compatible = \"tarn,tarn-0.1\\0tarn,tarn\""),
                "{text}"
            );
        }
    }
}
