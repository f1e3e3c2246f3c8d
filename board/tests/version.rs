//! `tarn,gic-version`: which interrupt controller a domain sees, and what follows from it.

mod common;
use common::*;
use tarn_board::guest::layout;
use tarn_board::*;

/// The machine's GIC: registers beyond GICD and the redistributors only if `gicv`.
fn gic(version: u32, gicv: bool) -> impl Fn(Node) -> Node {
    move |n: Node| {
        let windows = match (version, gicv) {
            (2, _) => 4,
            (_, true) => 5,
            _ => 2,
        };
        let cells: Vec<u32> = (0..windows)
            .flat_map(|i| [0, 0x800_0000 + i * 0x10_0000, 0, 0x4_0000])
            .collect();
        let name = if version == 2 {
            "arm,gic-400"
        } else {
            "arm,gic-v3"
        };
        n.text("compatible", &[name]).cells("reg", &cells)
    }
}

/// A domain that asks, on that machine: what it gets, or what is said.
fn ask(
    machine_gic: impl Fn(Node) -> Node,
    change: impl FnOnce(Node) -> Node,
) -> Result<GuestGic, String> {
    let domain = small_domain("d", 2).child(
        node("module@44000000")
            .text("compatible", &["multiboot,kernel", "multiboot,module"])
            .cells("reg", &[0, 0x4400_0000, 0, 0x10_0000]),
    );
    let chosen = |c: Node| c.child(change(domain));
    let blob = machine(2)
        .at("/gic", machine_gic)
        .at("/chosen", chosen)
        .blob(&[]);
    let board = Board::from_dtb(&blob, 0).unwrap();
    let config = Config::from_dtb(&blob, &board).unwrap();
    match config.domains.first() {
        Some(d) => {
            assert_eq!(config.notes, []);
            Ok(d.gic)
        }
        None => Err(config.notes[0].to_string()),
    }
}

fn version(n: u32) -> impl Fn(Node) -> Node {
    move |d: Node| d.cells("tarn,gic-version", &[n])
}

#[test]
fn a_domain_gets_the_machines_version_or_the_one_it_asks_for() {
    let as_it_is = |d: Node| d;
    for (machine, gicv, want) in [(2, true, GuestGic::V2), (3, false, GuestGic::V3)] {
        assert_eq!(ask(gic(machine, gicv), as_it_is), Ok(want));
        assert_eq!(ask(gic(machine, gicv), version(machine)), Ok(want));
    }
    assert_eq!(ask(gic(3, true), as_it_is), Ok(GuestGic::V3));
    assert_eq!(ask(gic(3, true), version(3)), Ok(GuestGic::V3));
    assert_eq!(ask(gic(3, true), version(2)), Ok(GuestGic::V2));
}

#[test]
fn what_the_machine_cannot_be_is_refused() {
    for (machine, gicv, n, want) in [
        (2, true, 3, "is 3; this machine has a GICv2"),
        (3, false, 2, "is 2; this machine's GICv3 lists no GICV"),
        (3, true, 4, "is 4; it must be 2 or 3"),
        (2, true, 1, "is 1; it must be 2 or 3"),
    ] {
        let said = ask(gic(machine, gicv), version(n)).unwrap_err();
        let begin = format!("refused: /chosen/d: tarn,gic-version: {want}");
        assert!(said.starts_with(&begin), "{said}");
    }
    let two_cells = |d: Node| d.cells("tarn,gic-version", &[0, 2]);
    let said = ask(gic(3, true), two_cells).unwrap_err();
    assert!(
        said.ends_with("8 bytes long; it must be one cell: <N>"),
        "{said}"
    );
}

#[test]
fn vcpus_and_addresses_follow_the_version_asked_for() {
    let said = ask(gic(3, true), |d| version(2)(d).cells("cpus", &[9])).unwrap_err();
    assert!(
        said.ends_with("is 9; 1 to 8 vCPUs are possible here"),
        "{said}"
    );
    let nine = |d: Node| d.cells("cpus", &[9]);
    assert_eq!(ask(gic(3, true), nine), Ok(GuestGic::V3));
    // A UART where a GICv2's CPU interface is, and one where a GICv3's redistributors are.
    for (at, v2, v3) in [(layout::GICC, false, true), (layout::GICR, true, false)] {
        let uart = |n: u32| move |d: Node| version(n)(d).cells("tarn,pl011-at", &[0, at as u32]);
        // A GICv3's distributor reaches over the GICv2's CPU interface.
        let v3 = v3 && at >= layout::GICD + layout::GICD_V3_SIZE;
        assert_eq!(ask(gic(3, true), uart(2)).is_ok(), v2);
        assert_eq!(ask(gic(3, true), uart(3)).is_ok(), v3);
    }
}
