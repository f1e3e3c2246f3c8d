//! What is wrong with a tree is said by node and property: a complete machine with one thing spoiled at a time.

mod common;
use common::*;
use tarn_board::*;

fn error(tree: &Node) -> String {
    Board::from_dtb(&tree.blob(&[]), 0)
        .expect_err("must be refused")
        .to_string()
}

fn notes(tree: &Node) -> Vec<String> {
    let blob = tree.blob(&[]);
    let board = Board::from_dtb(&blob, 0).unwrap();
    board.notes.iter().map(|n| n.to_string()).collect()
}

#[test]
fn the_machine_is_complete() {
    assert_eq!(notes(&machine(4)), [""; 0]);
    let blob = machine(2).blob(&[]);
    let board = Board::from_dtb(&blob, 0).unwrap();
    assert_eq!(
        board.uart.unwrap().regs,
        Region::new(0x900_0000, 0x1000).unwrap()
    );
}

#[test]
fn headers() {
    let good = machine(1).blob(&[]);
    let with = |at: usize, word: u32| {
        let mut bad = good.clone();
        bad[4 * at..4 * at + 4].copy_from_slice(&word.to_be_bytes());
        Board::from_dtb(&bad, 0).unwrap_err().problem
    };
    assert_eq!(header_size(&good[..40]).unwrap(), good.len());
    assert_eq!(
        header_size(&good[..39]).unwrap_err().problem,
        Problem::NoHeader
    );
    assert_eq!(header_size(&[]).unwrap_err().problem, Problem::NoHeader);
    assert_eq!(with(0, 0xfeed), Problem::BadMagic(0xfeed));
    assert_eq!(
        with(5, 16),
        Problem::BadVersion {
            version: 16,
            compatible: 16
        }
    );
    assert_eq!(
        with(6, 18),
        Problem::BadVersion {
            version: 17,
            compatible: 18
        }
    );
    let max = MAX_DTB as u32;
    assert_eq!(with(1, max + 1), Problem::TooLarge { size: max + 1, max });
    assert_eq!(with(1, 39), Problem::BadBlock("header"));
    assert_eq!(with(1, good.len() as u32 + 1), Problem::BadBlock("whole"));
    for word in [0, 39, good.len() as u32, u32::MAX, u32::MAX - 3] {
        assert_eq!(with(2, word), Problem::BadBlock("structure"), "{word:#x}");
    }
    assert_eq!(with(9, u32::MAX), Problem::BadBlock("structure"));
    assert_eq!(with(9, 12), Problem::BadBlock("structure"));
    assert_eq!(with(3, u32::MAX), Problem::BadBlock("strings"));
    assert_eq!(with(8, u32::MAX), Problem::BadBlock("strings"));
    assert_eq!(with(4, u32::MAX), Problem::BadBlock("memory reservation"));
    // Longer than the header says is fine, shorter is not.
    let mut long = good.clone();
    long.extend([0; 100]);
    assert!(Board::from_dtb(&long, 0).is_ok());
    assert_eq!(
        Board::from_dtb(&good[..good.len() - 1], 0)
            .unwrap_err()
            .problem,
        Problem::BadBlock("whole")
    );
}

#[test]
fn structure() {
    let good = machine(1).blob(&[]);
    let structs = u32::from_be_bytes(good[8..12].try_into().unwrap()) as usize;
    let end = structs + u32::from_be_bytes(good[36..40].try_into().unwrap()) as usize;
    let with = |at: usize, word: u32| {
        let mut bad = good.clone();
        bad[at..at + 4].copy_from_slice(&word.to_be_bytes());
        Board::from_dtb(&bad, 0).unwrap_err().problem
    };
    let bad = Problem::BadStructure;
    assert_eq!(
        with(structs, 3),
        bad("a property that is not at the start of a node")
    );
    assert_eq!(with(structs, 7), bad("an unknown token"));
    assert_eq!(
        with(structs, 9),
        bad("it ends inside a node or before its last byte")
    );
    assert_eq!(with(structs, 2), bad("more nodes end than begin"));
    assert_eq!(with(structs + 12, u32::MAX), bad("it ends too early"));
    assert_eq!(
        with(structs + 16, u32::MAX),
        bad("a property's name is not in the strings block")
    );
    assert_eq!(with(end - 4, 4), bad("it ends too early"));
    assert_eq!(
        with(end - 8, 4),
        bad("it ends inside a node or before its last byte")
    );
    // 31 levels below the root are read, 32 are not.
    let nest = |levels: u32| {
        let mut inner = node("deep");
        for _ in 1..levels {
            inner = node("deep").child(inner);
        }
        machine(1).child(inner)
    };
    assert_eq!(notes(&nest(31)), [""; 0]);
    let error = Board::from_dtb(&nest(32).blob(&[]), 0).unwrap_err();
    assert_eq!(error.problem, Problem::TooDeep { max: 31 });
    assert!(error.node.as_str().starts_with("...") && error.node.as_str().len() <= 64);
    assert_eq!(find_uart(&good[..39]), None);
    assert!(
        find_uart(&nest(32).blob(&[])).is_some(),
        "what was found before the fault serves"
    );
    let unnamed = machine(1).child(node(""));
    assert_eq!(error_of(&unnamed), bad("a node without a name"));
}

fn error_of(tree: &Node) -> Problem {
    Board::from_dtb(&tree.blob(&[]), 0).unwrap_err().problem
}

/// What makes a machine unusable, and how it is called.
#[test]
fn fatal() {
    let m = || machine(2);
    let gic = |change: fn(Node) -> Node| m().at("/gic", change);
    let v2 = |regs: usize| {
        m().at("/gic", |n| {
            let cells: Vec<u32> = (0..regs as u32)
                .flat_map(|i| [0, 0x800_0000 + i * 0x1_0000, 0, 0x1000])
                .collect();
            n.text("compatible", &["arm,gic-400"]).cells("reg", &cells)
        })
    };
    let table: &[(Node, &str)] = &[
        (
            m().without_child("cpus"),
            "/cpus: missing; wanted: at least one usable child with device_type \"cpu\" and reg",
        ),
        (
            m().at("/cpus/cpu@0", |n| n.cells("reg", &[7])),
            "/cpus: missing; wanted: a child whose reg is the MPIDR of the CPU that booted",
        ),
        (
            m().without_child("memory@40000000"),
            "/memory: reg: missing; wanted: a child of the root with device_type \"memory\" and a bank that is not empty",
        ),
        (
            m().without_child("gic"),
            "/: compatible: missing; wanted: an interrupt controller compatible with \"arm,gic-400\" (GICv2) or \"arm,gic-v3\"",
        ),
        (
            gic(|n| n.without("interrupts")),
            "/gic: interrupts: missing; wanted: the maintenance interrupt",
        ),
        (
            gic(|n| n.cells("interrupts", &[1, 16, 4])),
            "/gic: interrupts: is 0x10; wanted: a PPI below 16",
        ),
        (
            gic(|n| n.cells("interrupt-parent", &[9])),
            "/gic: interrupts: interrupt parent 0x9 is not the GIC",
        ),
        (
            gic(|n| n.without("#interrupt-cells")),
            "/gic: #interrupt-cells: missing; wanted: 3",
        ),
        (
            gic(|n| n.cells("#interrupt-cells", &[2])),
            "/gic: #interrupt-cells: is 0x2; wanted: 3 (or 4)",
        ),
        (
            gic(|n| n.without("reg")),
            "/gic: reg: missing; wanted: GICD and every redistributor region",
        ),
        (
            gic(|n| n.cells("#redistributor-regions", &[2])),
            "/gic: reg: missing; wanted: GICD and every redistributor region",
        ),
        (
            gic(|n| n.cells("#redistributor-regions", &[33])),
            "/gic: #redistributor-regions: is 0x21; wanted: 1 to 32 regions",
        ),
        (
            gic(|n| n.cells("redistributor-stride", &[0x1_0000])),
            "/gic: redistributor-stride: is 0x10000; wanted: a multiple of 64 KiB, at least 128 KiB",
        ),
        (
            gic(|n| n.cells("redistributor-stride", &[1, 2, 3])),
            "/gic: redistributor-stride: 12 bytes long; wanted: 1 or 2 cells",
        ),
        (
            v2(1),
            "/gic: reg: missing; wanted: GICD, GICC, GICH and GICV; GICC is not there",
        ),
        (
            v2(2),
            "/gic: reg: missing; wanted: GICD, GICC, GICH and GICV; GICH is not there, so no guest can run",
        ),
        (
            v2(2).at("/gic", |n| n.without("interrupts")),
            "/gic: reg: missing; wanted: GICD, GICC, GICH and GICV; GICH is not there, so no guest can run",
        ),
        (
            v2(3),
            "/gic: reg: missing; wanted: GICD, GICC, GICH and GICV; GICV is not there, so no guest can run",
        ),
        (
            m().without_child("timer"),
            "/timer: compatible: missing; wanted: a node compatible with \"arm,armv8-timer\"",
        ),
        (
            m().at("/timer", |n| {
                n.cells("interrupts", &[1, 13, 4, 1, 14, 4, 1, 11, 4])
            }),
            "/timer: interrupts: missing; wanted: the hypervisor timer's interrupt, fourth of the list",
        ),
        (
            m().at("/timer", |n| n.cells("interrupts-extended", &[7, 1, 13, 4])),
            "/timer: interrupts-extended: interrupt parent 0x7 is not the GIC",
        ),
        (
            m().at("/psci", |n| n.without("method")),
            "/psci: method: missing; wanted: \"smc\" or \"hvc\"",
        ),
        (
            m().at("/psci", |n| n.text("method", &["svc"])),
            "/psci: method: unknown text; wanted: \"smc\" or \"hvc\"",
        ),
        (
            m().child(
                node("reserved-memory")
                    .cells("#address-cells", &[2])
                    .cells("#size-cells", &[2])
                    .child(node("x").cells("reg", &[0, 1, 0])),
            ),
            "/reserved-memory/x: reg: 12 bytes long; wanted: whole entries of #address-cells and #size-cells of /reserved-memory",
        ),
        (
            m().child(
                node("reserved-memory").child(node("x").cells("reg", &[u32::MAX, u32::MAX, 0, 2])),
            ),
            "/reserved-memory/x: reg: is 0x2; wanted: an address and a size within 64 bits",
        ),
    ];
    for (tree, want) in table {
        assert_eq!(error(tree), *want);
        // Yet there is a console to say so on.
        let uart = find_uart(&tree.blob(&[])).expect(want);
        assert_eq!(
            (uart.regs.base(), uart.chosen),
            (0x900_0000, true),
            "{want}"
        );
    }
}

/// What is left out with a word, while the machine runs on.
#[test]
fn left_out() {
    let m = || machine(3);
    let cpu1 = |change: fn(Node) -> Node| m().at("/cpus/cpu@1", change);
    let table: &[(Node, usize, &str)] = &[
        (
            cpu1(|n| n.text("status", &["disabled"])),
            2,
            "/cpus/cpu@1: status: ignored: this CPU is disabled",
        ),
        (
            cpu1(|n| n.without("reg")),
            2,
            "/cpus/cpu@1: reg: missing; wanted: the CPU's MPIDR affinity",
        ),
        (
            cpu1(|n| n.cells("reg", &[0, 1])),
            2,
            "/cpus/cpu@1: reg: 8 bytes long; wanted: 1 or 2 cells, as /cpus #address-cells says",
        ),
        (
            cpu1(|n| n.cells("reg", &[0x8000_0001])),
            2,
            "/cpus/cpu@1: reg: is 0x80000001; wanted: only affinity bits (39:32 and 23:0) of MPIDR",
        ),
        (
            cpu1(|n| n.cells("reg", &[2])),
            2,
            "/cpus/cpu@2: reg: 0x2 is taken already",
        ),
        (
            cpu1(|n| n.text("enable-method", &["magic"])),
            3,
            "/cpus/cpu@1: enable-method: unknown text; wanted: psci or spin-table",
        ),
        (
            cpu1(|n| n.text("enable-method", &["spin-table"])),
            3,
            "/cpus/cpu@1: cpu-release-addr: missing; wanted: the address of the spin table's slot, 2 cells",
        ),
        (
            cpu1(|n| {
                n.text("enable-method", &["spin-table"])
                    .cells("cpu-release-addr", &[0, 0xdc])
            }),
            3,
            "/cpus/cpu@1: cpu-release-addr: is 0xdc; wanted: an address aligned to 8",
        ),
        (
            m().without_child("psci"),
            3,
            "/psci: missing; wanted: the node that enable-method \"psci\" refers to",
        ),
        (
            m().child(
                node("memory@0")
                    .text("device_type", &["memory"])
                    .cells("reg", &[0, 0, 0, 0]),
            ),
            3,
            "/memory@0: reg: ignored: a bank of size 0",
        ),
        (
            m().child(node("memory@0").text("device_type", &["memory"])),
            3,
            "/memory@0: reg: missing; wanted: the banks of RAM",
        ),
        (
            m().at("/soc", |n| n.without("ranges")),
            3,
            "/soc/uart@10000000: reg: address 0x10000000 is in no `ranges` entry of the buses above it",
        ),
        (
            m().at("/chosen", |n| n.text("stdout-path", &["serial9:9600"])),
            3,
            "/chosen: stdout-path: ignored: it leads to no UART that Tarn drives; the first PL011 is used if there is one",
        ),
        (
            m().at("/soc/uart@10000000", |n| n.cells("interrupt-parent", &[5])),
            3,
            "/soc/uart@10000000: interrupts: interrupt parent 0x5 is not the GIC",
        ),
        (
            m().child(node("gic2").text("compatible", &["arm,gic-400"])),
            3,
            "/gic2: compatible: ignored: a second GIC; the first one is used",
        ),
        (
            m().at("/chosen", |n| {
                n.cells("linux,initrd-start", &[5])
                    .cells("linux,initrd-end", &[5])
            }),
            3,
            "/chosen: linux,initrd-end: is 0x5; wanted: an end above linux,initrd-start",
        ),
    ];
    for (tree, cpus, want) in table {
        let all = notes(tree);
        assert!(all.iter().any(|n| n == want), "{want}\n{all:?}");
        let blob = tree.blob(&[]);
        assert_eq!(
            Board::from_dtb(&blob, 0).unwrap().cpus.len(),
            *cpus,
            "{want}"
        );
    }
}

#[test]
fn lists_end_at_their_capacity() {
    // 200 CPUs, the boot CPU last.
    let blob = machine(200).blob(&[]);
    let board = Board::from_dtb(&blob, 199).unwrap();
    assert_eq!(board.cpus.len(), MAX_CPUS);
    assert_eq!(board.cpus[0].mpidr, 199);
    assert_eq!(board.cpus[127].mpidr, 126);
    assert_eq!(
        board
            .notes
            .iter()
            .filter(|n| n.problem == Problem::TooMany { max: 128 })
            .count(),
        1
    );
    // RAM beyond the list is lost with a word, a reservation beyond it is an error.
    let banks: Vec<u32> = (0..70).flat_map(|i| [i, 0, 0, 0x1000]).collect();
    let blob = machine(1)
        .at("/memory@40000000", |n| n.cells("reg", &banks))
        .blob(&[]);
    let board = Board::from_dtb(&blob, 0).unwrap();
    assert_eq!(board.ram.len(), MAX_RAM);
    assert_eq!(board.notes.len(), 1);
    let many: Vec<(u64, u64)> = (1..=257).map(|i| (i << 12, 1)).collect();
    assert!(Board::from_dtb(&machine(1).blob(&many[..256]), 0).is_ok());
    let error = Board::from_dtb(&machine(1).blob(&many), 0).unwrap_err();
    assert_eq!(
        (error.property, error.problem),
        ("/memreserve/", Problem::TooMany { max: 256 })
    );
    // Notes: 16 are kept, the rest is counted.
    let mut tree = machine(1);
    for i in 0..20 {
        tree = tree.child(node(&format!("memory@{i}")).text("device_type", &["memory"]));
    }
    let blob = tree.blob(&[]);
    let board = Board::from_dtb(&blob, 0).unwrap();
    assert_eq!((board.notes.len(), board.notes_lost), (16, 4));
}

#[test]
fn whose_command_line() {
    let line = |change: fn(Node) -> Node| {
        let blob = machine(1).at("/chosen", change).blob(&[]);
        Board::from_dtb(&blob, 0).unwrap().bootargs.to_string()
    };
    fn kernel() -> Node {
        node("module@44000000")
            .text("compatible", &["multiboot,kernel", "multiboot,module"])
            .cells("reg", &[0, 0x4400_0000, 0, 0x1000])
    }
    assert_eq!(line(|n| n), "");
    assert_eq!(line(|n| n.text("bootargs", &["a"])), "a");
    assert_eq!(
        line(|n| n.text("bootargs", &["a"]).text("xen,xen-bootargs", &["b"])),
        "b"
    );
    // With a dom0 kernel `bootargs` is that kernel's ...
    assert_eq!(line(|n| n.text("bootargs", &["a"]).child(kernel())), "");
    assert_eq!(
        line(|n| n
            .text("bootargs", &["a"])
            .text("xen,xen-bootargs", &["b"])
            .child(kernel())),
        "b"
    );
    // ... unless that has its own line elsewhere.
    assert_eq!(
        line(|n| n
            .text("bootargs", &["a"])
            .text("xen,dom0-bootargs", &["b"])
            .child(kernel())),
        "a"
    );
    assert_eq!(
        line(|n| n
            .text("bootargs", &["a"])
            .child(kernel().text("bootargs", &["b"]))),
        "a"
    );
    // A domain's kernel is no dom0's.
    assert_eq!(
        line(|n| n.text("bootargs", &["a"]).child(node("d").child(kernel()))),
        "a"
    );
}
