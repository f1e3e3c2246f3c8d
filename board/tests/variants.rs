//! Ways to write the same machine: what the bindings allow beside QEMU's and the Pi's habits.

mod common;
use common::*;
use tarn_board::*;

fn with<T>(tree: &Node, boot: u64, look: impl FnOnce(Board<'_>) -> T) -> T {
    let blob = tree.blob(&[]);
    let board = Board::from_dtb(&blob, boot).unwrap();
    assert_eq!(board.notes, []);
    look(board)
}

fn region(base: u64, size: u64) -> Region {
    Region::new(base, size).unwrap()
}

#[test]
fn two_cell_affinities() {
    let cpus = |n: Node| {
        let cpu = |aff3: u32, low: u32| {
            node(&format!("cpu@{low}"))
                .text("device_type", &["cpu"])
                .cells("reg", &[aff3, low])
                .text("enable-method", &["spin-table"])
                .cells("cpu-release-addr", &[0x8000_0000 + low])
                .cells("numa-node-id", &[aff3])
        };
        let mut n = n.cells("#address-cells", &[2]);
        n.children = vec![cpu(0, 0), cpu(1, 0x100), cpu(2, 0x2_0000)];
        n
    };
    with(&machine(0).at("/cpus", cpus), 0x1_8000_0100, |board| {
        let found: Vec<_> = board
            .cpus
            .iter()
            .map(|c| (c.mpidr, c.start, c.numa))
            .collect();
        let slot = |release| Start::SpinTable { release };
        assert_eq!(
            found,
            [
                (0x1_0000_0100, slot(0x8000_0100), Some(1)),
                (0, slot(0x8000_0000), Some(0)),
                (0x2_0002_0000, slot(0x8002_0000), Some(2)),
            ]
        );
    });
}

#[test]
fn gicv3_of_many_parts() {
    let gic = |n: Node| {
        n.cells("#redistributor-regions", &[2])
            .cells("redistributor-stride", &[0, 0x4_0000])
            .cells("#interrupt-cells", &[4])
            .cells("interrupts", &[1, 9, 4, 0])
            .cells(
                "reg",
                &[
                    0,
                    0x0800_0000,
                    0,
                    0x1_0000, // GICD
                    0,
                    0x0900_0000,
                    0,
                    0x80_0000, // GICR
                    1,
                    0x0000_0000,
                    0,
                    0x80_0000, // GICR
                    0,
                    0x0a00_0000,
                    0,
                    0x2000, // GICC
                    0,
                    0x0a01_0000,
                    0,
                    0x2000, // GICH
                    0,
                    0x0a02_0000,
                    0,
                    0x2000, // GICV
                ],
            )
    };
    let timer: Vec<u32> = [13, 14, 11, 10]
        .iter()
        .flat_map(|n| [1, *n, 4, 0])
        .collect();
    let tree = machine(1)
        .at("/gic", gic)
        .at("/timer", |n| n.cells("interrupts", &timer))
        .at("/soc/uart@10000000", |n| {
            n.cells("interrupts", &[0, 1, 4, 0])
        });
    with(&tree, 0, |board| {
        let GicDesc::V3 {
            gicd,
            gicr,
            stride,
            gicv,
            maintenance,
        } = board.gic
        else {
            panic!()
        };
        assert_eq!(gicd, region(0x0800_0000, 0x1_0000));
        assert_eq!(
            gicr[..],
            [
                region(0x0900_0000, 0x80_0000),
                region(0x1_0000_0000, 0x80_0000)
            ]
        );
        assert_eq!(
            (stride, gicv),
            (Some(0x4_0000), Some(region(0x0a02_0000, 0x2000)))
        );
        assert_eq!(maintenance.intid, 25);
        assert_eq!((board.timer.hyp.intid, board.timer.virt.intid), (26, 27));
        assert_eq!(board.uart.unwrap().irq.unwrap().intid, 33);
    });
}

#[test]
fn interrupts_by_name_and_extended() {
    // Names in another order, each interrupt with its controller; the node comes before the GIC.
    let timer = node("timer")
        .text("compatible", &["arm,armv8-timer"])
        .text("interrupt-names", &["hyp-virt", "hyp-phys", "virt", "phys"])
        .cells(
            "interrupts-extended",
            &[GIC, 1, 12, 4, GIC, 1, 10, 4, GIC, 1, 11, 4, GIC, 1, 14, 4],
        )
        .cells("clock-frequency", &[54_000_000]);
    let mut tree = machine(1)
        .without_child("timer")
        .without("interrupt-parent");
    tree.children.insert(0, timer);
    with(&tree, 0, |board| {
        let irq = |intid| Irq {
            intid,
            trigger: Trigger::Level,
        };
        let want = TimerDesc {
            phys: Some(irq(30)),
            virt: irq(27),
            hyp: irq(26),
            frequency: Some(54_000_000),
        };
        assert_eq!(board.timer, want);
    });
}

#[test]
fn the_interrupt_parent_is_inherited_and_overridden() {
    let other = |n: Node| n.cells("interrupt-parent", &[0x77]);
    let own = |n: Node| n.cells("interrupt-parent", &[GIC]);
    // A bus of another controller; the UART below it says the GIC itself.
    let tree = machine(1).at("/soc", other).at("/soc/uart@10000000", own);
    with(&tree, 0, |board| {
        assert_eq!(board.uart.unwrap().irq.unwrap().intid, 33)
    });
    let blob = machine(1).at("/soc", other).blob(&[]);
    let board = Board::from_dtb(&blob, 0).unwrap();
    assert_eq!(board.uart.unwrap().irq, None);
    assert_eq!(board.notes[0].problem, Problem::NotAtGic { phandle: 0x77 });
}

#[test]
fn consoles() {
    let uart = |tree: &Node| {
        with(tree, 0, |board| {
            board
                .uart
                .map(|u| (u.path.as_str().to_string(), u.baud, u.chosen))
        })
    };
    let path = || "/soc/uart@10000000".to_string();
    let m = |stdout: &str| machine(1).at("/chosen", |n| n.text("stdout-path", &[stdout]));
    assert_eq!(
        uart(&m("/soc/uart@10000000:9600")),
        Some((path(), Some(9600), true))
    );
    assert_eq!(uart(&m("/soc/uart")), Some((path(), None, true)));
    let alias = node("aliases")
        .text("other", &["/x"])
        .text("con", &["/soc/uart@10000000"]);
    assert_eq!(
        uart(&m("con:115200n8").child(alias)),
        Some((path(), Some(115_200), true))
    );
    let old = |n: Node| {
        n.without("stdout-path")
            .text("linux,stdout-path", &["/soc/uart@10000000"])
    };
    assert_eq!(
        uart(&machine(1).at("/chosen", old)),
        Some((path(), None, true))
    );
    // Nobody chooses: the first PL011, not the first UART.
    let mini = node("mini")
        .text("compatible", &["brcm,bcm2835-aux-uart"])
        .cells("reg", &[0, 1, 0, 0x40]);
    let mut tree = machine(1).without_child("chosen");
    tree.children.insert(0, mini);
    assert_eq!(uart(&tree), Some((path(), None, false)));
    assert_eq!(
        uart(&machine(1).without_child("chosen").without_child("soc")),
        None
    );
    // A long path is told by its end, and still found.
    let long = format!("bus{}", "x".repeat(60));
    let mut tree = machine(1);
    tree.children
        .iter_mut()
        .find(|c| c.name == "soc")
        .unwrap()
        .name = long.clone();
    let tree = tree.at("/chosen", |n| {
        n.text("stdout-path", &[&format!("/{long}/uart@10000000")])
    });
    let (shown, _, chosen) = uart(&tree).unwrap();
    assert!(
        shown.starts_with("...")
            && shown.ends_with("x/uart@10000000")
            && shown.len() == 64
            && chosen
    );
}

#[test]
fn power_by_every_version() {
    let psci = |change: fn(Node) -> Node| {
        with(&machine(2).at("/psci", change), 0, |b| {
            (b.psci.unwrap(), b.cpus[1].start)
        })
    };
    let desc = |conduit, version, cpu_on| PsciDesc {
        conduit,
        version,
        cpu_on,
    };
    assert_eq!(
        psci(|n| n
            .text("compatible", &["arm,psci-1.0", "arm,psci-0.2", "arm,psci"])
            .cells("cpu_on", &[5])),
        (
            desc(Conduit::Smc, PsciVersion::V1_0, None),
            Start::Psci(Conduit::Smc)
        )
    );
    assert_eq!(
        psci(|n| n
            .text("compatible", &["arm,psci"])
            .text("method", &["hvc"])
            .cells("cpu_on", &[0x95c1_ba5f])),
        (
            desc(Conduit::Hvc, PsciVersion::V0_1, Some(0x95c1_ba5f)),
            Start::Psci(Conduit::Hvc)
        )
    );
}

#[test]
fn memory_in_pieces() {
    let tree = machine(1)
        .at("/memory@40000000", |n| {
            n.cells(
                "reg",
                &[
                    0,
                    0x5000_0000,
                    0,
                    0x1000_0000,
                    0,
                    0x4000_0000,
                    0,
                    0x1000_0000,
                ],
            )
        })
        .child(
            node("memory@2")
                .text("device_type", &["memory"])
                .cells("reg", &[2, 0, 1, 0]),
        )
        .child(
            node("memory@9")
                .text("device_type", &["memory"])
                .cells("reg", &[9, 0, 1, 0])
                .text("status", &["disabled"]),
        );
    with(&tree, 0, |board| {
        assert_eq!(
            board.ram[..],
            [
                region(0x4000_0000, 0x2000_0000),
                region(0x2_0000_0000, 0x1_0000_0000)
            ]
        );
        assert!(board.is_ram(&region(0x4fff_f000, 0x2000)));
        assert!(!board.is_ram(&region(0x5fff_f000, 0x2000)));
    });
}
