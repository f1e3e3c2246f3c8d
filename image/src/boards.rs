//! The machines a description can name: their device tree, and where their boot loader puts an image.
//!
//! `virt` and `rpi4` come as trees made here from facts (QEMU 10's virt machine; the Pi's public documents and Debian's
//! bcm2711-rpi-4-b.dtb), holding only what Tarn reads. For any other board its own tree is read. At boot Tarn always
//! reads the tree that the machine brings: a check is as good as the likeness of the two.

use crate::source::{Finding, Span};
use crate::system::{BoardKind, BoardSpec};
use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use dtoolkit::{Node, Property};
use tarn_board::Region;

/// A board to check against.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its device tree.
    pub tree: Vec<u8>,
    /// MPIDR_EL1 of the CPU that boots.
    pub boot_mpidr: u64,
    /// Where the loader puts the image's first byte.
    pub load: u64,
    /// Where the loader puts the device tree, if that is always the same place.
    pub tree_at: Option<Region>,
    /// How it is called in listings.
    pub name: &'static str,
}

const VIRT_RAM: u64 = 0x4000_0000;
const MIB: u64 = 1 << 20;

/// The machine of a `[board]` table.
///
/// # Errors
/// What about the table cannot be, with its place.
pub fn machine(spec: &BoardSpec) -> Result<Machine, Vec<Finding>> {
    let mut found = Vec::new();
    let mut refuse = |span: &Span, message: String| found.push(Finding::error(span, message));
    let mut load = spec.load.as_ref().map(|l| l.value);
    if load.is_some_and(|l| l % 4096 != 0) {
        refuse(
            &spec.load.as_ref().map_or(0..0, |l| l.span.clone()),
            "load: must be a multiple of 4096".into(),
        );
    }
    let given = match &spec.dtb {
        None => None,
        Some(path) => match std::fs::read(&path.value) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                refuse(
                    &path.span,
                    format!("dtb: cannot read {}: {error}", path.value.display()),
                );
                None
            }
        },
    };
    let fixed = |at: &Option<crate::system::At<u64>>, key: &str, why: &str| {
        at.as_ref()
            .map(|a| Finding::error(&a.span, format!("{key}: {why}")))
    };
    let (tree, name) = match spec.kind.value {
        BoardKind::Virt => {
            let cpus = in_range(&spec.cpus, "cpus", 4, 1, 64, &mut found);
            let gic = in_range(&spec.gic, "gic", 3, 2, 3, &mut found);
            if gic == 2 && cpus > 8 {
                let span = spec
                    .cpus
                    .as_ref()
                    .map_or(spec.span.clone(), |c| c.span.clone());
                found.push(Finding::error(&span, "cpus: a GICv2 serves at most 8"));
            }
            let memory = in_range(
                &spec.memory,
                "memory",
                1024 * MIB,
                128 * MIB,
                255 << 30,
                &mut found,
            );
            load.get_or_insert(VIRT_RAM + 2 * MIB);
            (
                given.unwrap_or_else(|| virt(cpus as u32, gic as u32, memory)),
                "QEMU virt",
            )
        }
        BoardKind::Rpi4 => {
            found.extend(fixed(
                &spec.cpus,
                "cpus",
                "a Raspberry Pi 4 has 4; leave this out",
            ));
            found.extend(fixed(
                &spec.gic,
                "gic",
                "a Raspberry Pi 4 has a GIC-400; leave this out",
            ));
            let memory = in_range(
                &spec.memory,
                "memory",
                1024 * MIB,
                1024 * MIB,
                8 << 30,
                &mut found,
            );
            load.get_or_insert(2 * MIB);
            (given.unwrap_or_else(|| rpi4(memory)), "Raspberry Pi 4")
        }
        BoardKind::Other => {
            for (at, key) in [
                (&spec.cpus, "cpus"),
                (&spec.memory, "memory"),
                (&spec.gic, "gic"),
            ] {
                found.extend(fixed(
                    at,
                    key,
                    "the board's device tree says it; leave this out",
                ));
            }
            if spec.dtb.is_none() {
                let message =
                    "a board of type \"other\" needs its device tree: dtb = \"board.dtb\"";
                found.push(Finding::error(&spec.kind.span, message));
            }
            if load.is_none() {
                let message = "a board of type \"other\" needs load, the address its boot loader puts the image at";
                found.push(Finding::error(&spec.kind.span, message));
            }
            (given.unwrap_or_default(), "board")
        }
    };
    if !found.is_empty() {
        return Err(found);
    }
    Ok(Machine {
        boot_mpidr: first_cpu(&tree),
        tree,
        load: load.unwrap_or(0),
        // device_tree_address in config.txt (sdcard.rs); QEMU uses the same place.
        tree_at: match spec.kind.value {
            BoardKind::Rpi4 => Region::new(0x800_0000, 1 << 20),
            BoardKind::Virt | BoardKind::Other => None,
        },
        name,
    })
}

/// MPIDR of the CPU that firmware starts first, as far as a tree can tell: the first of the list. 0 if there is none;
/// then the tree is refused where it is read.
fn first_cpu(tree: &[u8]) -> u64 {
    let number = || {
        let fdt = Fdt::new(tree).ok()?;
        let root = fdt.root();
        let cpus = root.children().find(|n| n.name() == "cpus")?;
        let first = cpus.children().find(|n| n.name().starts_with("cpu@"))?;
        let reg = first.property("reg")?.value().to_vec();
        Some(reg.iter().fold(0u64, |n, b| n << 8 | u64::from(*b)))
    };
    number().unwrap_or(0)
}

fn in_range(
    at: &Option<crate::system::At<u64>>,
    key: &str,
    default: u64,
    least: u64,
    most: u64,
    found: &mut Vec<Finding>,
) -> u64 {
    let Some(at) = at else {
        return default;
    };
    if !(least..=most).contains(&at.value) {
        let shown = |n: u64| {
            if most >= MIB {
                format!("{} MiB", n / MIB)
            } else {
                n.to_string()
            }
        };
        let (least, most) = (shown(least), shown(most));
        let message = format!(
            "{key}: is {}; this board has {least} to {most}",
            shown(at.value)
        );
        found.push(Finding::error(&at.span, message));
    }
    at.value
}

/// A node of a tree being made.
pub(crate) struct Maker(pub DeviceTreeNode);

impl Maker {
    pub(crate) fn new(name: &str) -> Maker {
        Maker(DeviceTreeNode::new_unchecked(name))
    }

    pub(crate) fn cells(mut self, name: &str, cells: &[u32]) -> Maker {
        self.0
            .add_property(DeviceTreeProperty::new_unchecked(name, cells));
        self
    }

    pub(crate) fn longs(self, name: &str, numbers: &[u64]) -> Maker {
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
        self.bytes(name, bytes)
    }

    pub(crate) fn bytes(mut self, name: &str, bytes: Vec<u8>) -> Maker {
        self.0
            .add_property(DeviceTreeProperty::new_unchecked(name, bytes));
        self
    }

    pub(crate) fn text(mut self, name: &str, list: &[&str]) -> Maker {
        self.0
            .add_property(DeviceTreeProperty::new_unchecked(name, list));
        self
    }

    pub(crate) fn flag(self, name: &str) -> Maker {
        self.bytes(name, Vec::new())
    }

    pub(crate) fn child(mut self, child: Maker) -> Maker {
        self.0.add_child(child.0);
        self
    }

    pub(crate) fn blob(self) -> Vec<u8> {
        let mut tree = DeviceTree::new();
        tree.root = self.0;
        tree.to_dtb()
    }
}

const GIC: u32 = 1;

fn cpus(count: u32, cpu: impl Fn(u32, Maker) -> Maker) -> Maker {
    let list = Maker::new("cpus")
        .cells("#address-cells", &[1])
        .cells("#size-cells", &[0]);
    (0..count).fold(list, |list, n| {
        // QEMU groups 8 CPUs (GICv2) or 16 (GICv3) below one Aff1; the number is all that matters here.
        let one = Maker::new(&format!("cpu@{n:x}"))
            .text("device_type", &["cpu"])
            .text("compatible", &["arm,cortex-a72"])
            .cells("reg", &[n])
            .cells("phandle", &[0x100 + n]);
        list.child(cpu(n, one))
    })
}

fn timer() -> Maker {
    let interrupts: Vec<u32> = [13, 14, 11, 10].iter().flat_map(|n| [1, *n, 4]).collect();
    Maker::new("timer")
        .text("compatible", &["arm,armv8-timer"])
        .cells("interrupts", &interrupts)
}

fn virt(count: u32, gic: u32, memory: u64) -> Vec<u8> {
    let controller = if gic == 2 {
        Maker::new("intc@8000000")
            .text("compatible", &["arm,cortex-a15-gic"])
            .longs(
                "reg",
                &[
                    0x800_0000, 0x1_0000, 0x801_0000, 0x1_0000, 0x803_0000, 0x1_0000, 0x804_0000,
                    0x1_0000,
                ],
            )
    } else {
        // From 124 CPUs on QEMU would add a second region; `cpus` ends at 64.
        Maker::new("intc@8000000")
            .text("compatible", &["arm,gic-v3"])
            .longs("reg", &[0x800_0000, 0x1_0000, 0x80a_0000, 0xf6_0000])
    };
    let controller = controller
        .cells("phandle", &[GIC])
        .flag("interrupt-controller")
        .cells("#interrupt-cells", &[3])
        .cells("interrupts", &[1, 9, 4]);
    let mut root = Maker::new("")
        .cells("#address-cells", &[2])
        .cells("#size-cells", &[2])
        .cells("interrupt-parent", &[GIC])
        .text("compatible", &["linux,dummy-virt"])
        .text("model", &["linux,dummy-virt"])
        .child(
            Maker::new("psci")
                .text("compatible", &["arm,psci-1.0", "arm,psci-0.2", "arm,psci"])
                .text("method", &["smc"]),
        )
        .child(
            Maker::new("memory@40000000")
                .text("device_type", &["memory"])
                .longs("reg", &[VIRT_RAM, memory]),
        )
        .child(controller)
        .child(timer())
        .child(cpus(count, |_, cpu| cpu.text("enable-method", &["psci"])))
        .child(
            Maker::new("pl011@9000000")
                .text("compatible", &["arm,pl011", "arm,primecell"])
                .longs("reg", &[0x900_0000, 0x1000])
                .cells("interrupts", &[0, 1, 4]),
        );
    for n in 0..32u32 {
        let at = 0xa00_0000 + n * 0x200;
        root = root.child(
            Maker::new(&format!("virtio_mmio@{at:x}"))
                .text("compatible", &["virtio,mmio"])
                .longs("reg", &[u64::from(at), 0x200])
                .cells("interrupts", &[0, 16 + n, 1]),
        );
    }
    root.child(Maker::new("chosen").text("stdout-path", &["/pl011@9000000"]))
        .blob()
}

fn rpi4(memory: u64) -> Vec<u8> {
    // As the firmware fills them in: the GPU's part ends the first GiB, devices end the fourth.
    let banks = [
        (0, 0x3b40_0000),
        (
            0x4000_0000,
            memory.min(0xfc00_0000).saturating_sub(0x4000_0000),
        ),
        (0x1_0000_0000, memory.saturating_sub(0x1_0000_0000)),
    ];
    let reg: Vec<u64> = banks
        .iter()
        .filter(|(_, size)| *size > 0)
        .flat_map(|(base, size)| [*base, *size])
        .collect();
    let uart = |at: u32, kind: &[&str], size: u32, spi: u32| {
        Maker::new(&format!("serial@{at:x}"))
            .text("compatible", kind)
            .cells("reg", &[at, size])
            .cells("interrupts", &[0, spi, 4])
    };
    let soc = Maker::new("soc")
        .text("compatible", &["simple-bus"])
        .cells("#address-cells", &[1])
        .cells("#size-cells", &[1])
        .cells(
            "ranges",
            &[
                0x7e00_0000,
                0,
                0xfe00_0000,
                0x180_0000, //
                0x7c00_0000,
                0,
                0xfc00_0000,
                0x200_0000, //
                0x4000_0000,
                0,
                0xff80_0000,
                0x80_0000,
            ],
        )
        .child(
            Maker::new("interrupt-controller@40041000")
                .text("compatible", &["arm,gic-400"])
                .flag("interrupt-controller")
                .cells("#interrupt-cells", &[3])
                .cells("phandle", &[GIC])
                .cells(
                    "reg",
                    &[
                        0x4004_1000,
                        0x1000,
                        0x4004_2000,
                        0x2000,
                        0x4004_4000,
                        0x2000,
                        0x4004_6000,
                        0x2000,
                    ],
                )
                .cells("interrupts", &[1, 9, 0xf04]),
        )
        .child(uart(
            0x7e20_1000,
            &["arm,pl011", "arm,primecell"],
            0x200,
            121,
        ))
        .child(uart(0x7e21_5040, &["brcm,bcm2835-aux-uart"], 0x40, 93));
    Maker::new("")
        .cells("#address-cells", &[2])
        .cells("#size-cells", &[2])
        .cells("interrupt-parent", &[GIC])
        .text("compatible", &["raspberrypi,4-model-b", "brcm,bcm2711"])
        .text("model", &["Raspberry Pi 4 Model B"])
        .child(
            Maker::new("memory@0")
                .text("device_type", &["memory"])
                .longs("reg", &reg),
        )
        .child(
            Maker::new("reserved-memory")
                .cells("#address-cells", &[2])
                .cells("#size-cells", &[2])
                .flag("ranges")
                // The firmware's spin table and EL3 code.
                .child(Maker::new("atf@0").longs("reg", &[0, 0x8_0000])),
        )
        .child(cpus(4, |n, cpu| {
            cpu.text("enable-method", &["spin-table"])
                .longs("cpu-release-addr", &[0xd8 + 8 * u64::from(n)])
        }))
        .child(soc)
        .child(timer())
        .child(Maker::new("chosen").text("stdout-path", &["/soc/serial@7e201000"]))
        .blob()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tarn_board::{Board, GicDesc};

    #[test]
    fn the_made_trees_are_boards() {
        for (gic, cpus) in [(2, 8), (3, 1), (3, 64)] {
            let tree = virt(cpus, gic, 1 << 30);
            let board = Board::from_dtb(&tree, 0).unwrap();
            assert!(board.notes.is_empty(), "{:?}", board.notes);
            assert_eq!(board.cpus.len(), cpus as usize);
            assert_eq!(matches!(board.gic, GicDesc::V2 { .. }), gic == 2);
            assert_eq!(board.ram[0].size(), 1 << 30);
        }
        for (gic, own) in [
            (
                2,
                &include_bytes!("../../board/tests/fixtures/virt-gic2-smp4.dtb")[..],
            ),
            (
                3,
                include_bytes!("../../board/tests/fixtures/virt-gic3-smp4.dtb"),
            ),
        ] {
            // What QEMU itself says of the same machine.
            let own = Board::from_dtb(own, 0).unwrap();
            let tree = virt(4, gic, own.ram[0].size());
            let made = Board::from_dtb(&tree, 0).unwrap();
            assert_eq!(made.gic, own.gic);
            assert_eq!((made.timer, &made.ram), (own.timer, &own.ram));
            let cpus = |b: &Board<'_>| {
                b.cpus
                    .iter()
                    .map(|c| (c.mpidr, c.start))
                    .collect::<Vec<_>>()
            };
            assert_eq!(cpus(&made), cpus(&own));
            let (uart, qemus) = (made.uart.unwrap(), own.uart.unwrap());
            assert_eq!((uart.regs, uart.irq), (qemus.regs, qemus.irq));
        }
        for (memory, banks) in [(1u64 << 30, 1), (2 << 30, 2), (8 << 30, 3)] {
            let tree = rpi4(memory);
            let board = Board::from_dtb(&tree, 0).unwrap();
            assert!(board.notes.is_empty(), "{:?}", board.notes);
            assert_eq!((board.cpus.len(), board.ram.len()), (4, banks));
            let GicDesc::V2 { gicd, .. } = board.gic else {
                panic!()
            };
            assert_eq!(gicd.base(), 0xff84_1000);
        }
    }

    #[test]
    fn another_boards_tree_is_read() {
        let at = |n| {
            Some(crate::system::At {
                value: n,
                span: 0..0,
            })
        };
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../board/tests/fixtures/pi4-like.dtb"
        );
        let spec = BoardSpec {
            span: 0..0,
            kind: crate::system::At {
                value: BoardKind::Other,
                span: 0..0,
            },
            cpus: None,
            memory: None,
            gic: None,
            dtb: Some(crate::system::At {
                value: path.into(),
                span: 0..0,
            }),
            load: at(0x20_0000),
        };
        let machine = super::machine(&spec).unwrap();
        assert_eq!((machine.load, machine.boot_mpidr), (0x20_0000, 0));
        assert_eq!(Board::from_dtb(&machine.tree, 0).unwrap().cpus.len(), 4);
        let odd = BoardSpec {
            load: at(0x20_0001),
            ..spec.clone()
        };
        assert!(
            super::machine(&odd).unwrap_err()[0]
                .message
                .contains("multiple of 4096")
        );
        assert_eq!(first_cpu(b"no tree"), 0);
    }
}
