//! What firmware as a guest needs: ROMs (`tarn,rom`), a plain binary's address (`tarn,load`), a UART and a device tree at
//! places of their own (`tarn,pl011-at`, `tarn,device-tree-at`).

mod common;
use common::*;
use tarn_board::config::Rom;
use tarn_board::guest::layout;
use tarn_board::*;

fn kernel() -> Node {
    node("module@44000000")
        .text("compatible", &["multiboot,kernel", "multiboot,module"])
        .cells("reg", &[0, 0x4400_0000, 0, 0x10_0000])
}

fn rom(phys: u32, size: u32, guest: Option<u64>) -> Node {
    let rom = node(&format!("module@{phys:x}"))
        .text("compatible", &["tarn,rom", "multiboot,module"])
        .cells("reg", &[0, phys, 0, size]);
    match guest {
        Some(at) => rom.cells("tarn,guest-address", &[(at >> 32) as u32, at as u32]),
        None => rom,
    }
}

/// A domain with 64 MiB, its vPL011 and these changes: its configuration, and what is said.
fn read<T>(change: impl FnOnce(Node) -> Node, look: impl FnOnce(&Config<'_>) -> T) -> T {
    let domain = small_domain("d", 2);
    let chosen = |c: Node| {
        c.cells("#address-cells", &[2])
            .cells("#size-cells", &[2])
            .child(change(domain))
    };
    let blob = machine(2).at("/chosen", chosen).blob(&[]);
    let board = Board::from_dtb(&blob, 0).unwrap();
    look(&Config::from_dtb(&blob, &board).unwrap())
}

/// The only domain, about which nothing is said.
fn good(change: impl FnOnce(Node) -> Node, look: impl FnOnce(&DomainConfig<'_>)) {
    read(change, |config| {
        assert_eq!(config.notes, []);
        look(&config.domains[0]);
    });
}

/// Why there is no domain.
fn refused(change: impl FnOnce(Node) -> Node) -> String {
    read(change, |config| {
        assert!(config.domains.is_empty());
        config.notes[0].to_string()
    })
}

#[test]
fn a_guest_of_firmware_has_everything_where_it_wants_it() {
    let change = |d: Node| {
        d.cells("tarn,pl011-at", &[0, 0x900_0000])
            .cells("tarn,device-tree-at", &[0, 0x4000_0000])
            .child(kernel().cells("tarn,load", &[0, 0x4020_0000]))
            .child(rom(0x4600_0000, 0x4_0000, Some(0x400_0000)))
            .child(rom(0x4700_0000, 0x1000, Some(0x7f_ffff_f000)))
    };
    good(change, |d| {
        assert_eq!(d.pl011_at, 0x900_0000);
        assert_eq!(d.tree_at, Some(0x4000_0000));
        assert_eq!(d.load, Some(0x4020_0000));
        let rom = |phys, size, guest| Rom {
            phys: Region::new(phys, size).unwrap(),
            guest,
        };
        let want = [
            rom(0x4600_0000, 0x4_0000, 0x400_0000),
            rom(0x4700_0000, 0x1000, 0x7f_ffff_f000),
        ];
        assert_eq!(d.roms, want);
    });
    good(
        |d| d.child(kernel()),
        |d| {
            assert_eq!((d.pl011_at, d.tree_at, d.load), (layout::PL011, None, None));
            assert!(d.roms.is_empty());
        },
    );
}

#[test]
fn a_rom_that_cannot_be_there() {
    let cases: &[(u32, u32, Option<u64>, &str)] = &[
        (
            0x4600_0000,
            0x1000,
            None,
            "missing; where the guest sees it",
        ),
        (0x4600_0800, 0x1000, Some(0x400_0000), "whole pages"),
        (0x4600_0000, 0x1800, Some(0x400_0000), "whole pages"),
        (0x4600_0000, 0x1000, Some(0x400_0800), "whole pages"),
        (0x4600_0000, 0x2000, Some(0x7f_ffff_f000), "39 bits"),
        (0x4600_0000, 0x1000, Some(!0xfff), "39 bits"),
        (0x4600_0000, 0x1000, Some(0x4000_0000), "overlaps its RAM"),
        (
            0x4600_0000,
            0x1000,
            Some(layout::GICD),
            "overlaps its interrupt controller",
        ),
        (
            0x4600_0000,
            0x1000,
            Some(layout::PL011),
            "overlaps its emulated PL011",
        ),
        (
            0x4600_0000,
            0x1000,
            Some(layout::TIMES),
            "overlaps its stolen-time area",
        ),
        (
            0x4600_0000,
            0x1000,
            Some(layout::DOORBELLS),
            "overlaps its doorbell registers",
        ),
    ];
    for (phys, size, guest, want) in cases {
        let said = refused(|d| d.child(kernel()).child(rom(*phys, *size, *guest)));
        assert!(
            said.contains(want) && said.contains("tarn,guest-address"),
            "{said}"
        );
    }
    let two = |d: Node| {
        d.child(kernel())
            .child(rom(0x4600_0000, 0x2000, Some(0x400_0000)))
            .child(rom(0x4700_0000, 0x1000, Some(0x400_1000)))
    };
    let said = refused(two);
    assert!(said.contains("overlaps its ROM"), "{said}");
    let many = |d: Node| {
        (0..5).fold(d.child(kernel()), |d, n| {
            d.child(rom(
                0x4600_0000 + n * 0x1000,
                0x1000,
                Some(0x400_0000 + u64::from(n) * 0x1000),
            ))
        })
    };
    let said = refused(many);
    assert!(said.contains("at most 4 ROMs"), "{said}");
    // With direct-map RAM may be anywhere in the machine's.
    let direct = |d: Node| {
        d.flag("direct-map")
            .child(kernel())
            .child(rom(0x4600_0000, 0x1000, Some(0x5000_0000)))
    };
    let said = refused(direct);
    assert!(said.contains("overlaps its RAM"), "{said}");
}

#[test]
fn a_uart_that_cannot_be_there() {
    for (at, want) in [
        ([0, 0x900_0800], "multiple of 4 KiB below 0x40000000"),
        ([0, 0x4000_0000], "multiple of 4 KiB below 0x40000000"),
        ([1, 0], "multiple of 4 KiB below 0x40000000"),
        ([0, 0x300_1000], "overlaps its interrupt controller"),
        ([0, 0x2201_0000], "overlaps its stolen-time area"),
    ] {
        let said = refused(|d| d.cells("tarn,pl011-at", &at).child(kernel()));
        assert!(
            said.contains(want) && said.contains("tarn,pl011-at"),
            "{said}"
        );
    }
    let said = refused(|d| d.cells("tarn,pl011-at", &[0x900_0000]).child(kernel()));
    assert!(said.contains("two cells"), "{said}");
}

#[test]
fn addresses_have_two_cells() {
    let said = refused(|d| d.child(kernel().cells("tarn,load", &[0x4020_0000])));
    assert!(
        said.contains("tarn,load") && said.contains("two cells"),
        "{said}"
    );
    let said = refused(|d| {
        d.cells("tarn,device-tree-at", &[0x4000_0000])
            .child(kernel())
    });
    assert!(
        said.contains("tarn,device-tree-at") && said.contains("two cells"),
        "{said}"
    );
}
