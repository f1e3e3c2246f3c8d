//! Devices for domains: a partial tree against a machine's, one wrong thing at a time; and memory at a fixed place.

mod common;
use common::*;
use tarn_board::config::{Devices, devices, reserve_static_mem};
use tarn_board::*;

const VIRT: &[u8] = include_bytes!("fixtures/virt-gic3-smp4.dtb");
const GIC: u32 = 77;

/// A domain without anything, for the machine at `board`.
fn owner<'a>(board: &Board<'_>, vpl011: bool) -> DomainConfig<'a> {
    DomainConfig {
        name: "d".into(),
        node: "/chosen/d".into(),
        memory_kib: 65_536,
        cpus: 2,
        pool: 0,
        gic: guest::GuestGic::V3,
        vpl011,
        pl011_at: guest::layout::PL011,
        nr_spis: None,
        kernel: Module {
            region: board.ram[0],
            bootargs: "",
        },
        ramdisk: None,
        device_tree: None,
        direct_map: false,
        load: None,
        tree_at: None,
        roms: vec![],
        static_mem: vec![],
        shared: vec![],
        doorbells: vec![],
        vcpus: vec![],
        weight: None,
        cap: None,
        restart: Restart::OnReset,
        paused: false,
        params: vec![],
    }
}

/// A partial tree with `list` below /passthrough.
fn partial(list: Vec<Node>) -> Vec<u8> {
    let mut passthrough = node("passthrough")
        .text("compatible", &["simple-bus"])
        .flag("ranges")
        .cells("#address-cells", &[2])
        .cells("#size-cells", &[2]);
    passthrough.children = list;
    node("")
        .cells("#address-cells", &[2])
        .cells("#size-cells", &[2])
        .child(node("gic").cells("phandle", &[GIC]))
        .child(passthrough)
        .blob(&[])
}

fn device(name: &str, host: &str, reg: &[u32]) -> Node {
    node(name)
        .text("xen,path", &[host])
        .flag("xen,force-assign-without-iommu")
        .cells("xen,reg", reg)
}

fn rtc() -> Node {
    device(
        "rtc@9010000",
        "/pl031@9010000",
        &[0, 0x901_0000, 0, 0x1000, 0, 0x901_0000],
    )
    .cells("interrupts", &[0, 2, 4])
    .cells("interrupt-parent", &[GIC])
}

fn read(list: Vec<Node>, given: &[Devices]) -> Result<(Devices, Vec<String>), String> {
    let board = Board::from_dtb(VIRT, 0).unwrap();
    let blob = partial(list);
    devices(VIRT, &board, &owner(&board, true), &blob, given, true)
        .map(|(d, notes)| (d, notes.iter().map(ToString::to_string).collect()))
        .map_err(|d| d.to_string())
}

#[test]
fn a_device_is_given_whole() {
    let (got, notes) = read(vec![rtc()], &[]).unwrap();
    assert_eq!(got.paths, ["/pl031@9010000"]);
    assert_eq!(got.mappings.len(), 1);
    assert_eq!(
        got.mappings[0].phys,
        Region::new(0x901_0000, 0x1000).unwrap()
    );
    assert_eq!(got.mappings[0].guest, 0x901_0000);
    let irq = Irq {
        intid: 34,
        trigger: Trigger::Level,
    };
    assert_eq!(got.irqs, [irq]);
    assert_eq!(notes.len(), 1, "only that nobody marked it: {notes:?}");
    assert!(notes[0].contains("does not carry xen,passthrough"));
}

#[test]
fn small_devices_share_a_page_and_edges_stay_edges() {
    let virtio = |at: u32| {
        let page = at & !0xfff;
        device(
            &format!("v@{at:x}"),
            &format!("/virtio_mmio@{at:x}"),
            &[0, page, 0, 0x1000, 0, page],
        )
    };
    let (got, _) = read(vec![virtio(0xa00_3e00), virtio(0xa00_3c00)], &[]).unwrap();
    assert_eq!(got.mappings.len(), 1);
    let irqs: Vec<_> = got.irqs.iter().map(|i| (i.intid, i.trigger)).collect();
    assert_eq!(irqs, [(79, Trigger::Edge), (78, Trigger::Edge)]);
    let error = read(vec![virtio(0xa00_3a00)], &[got]).unwrap_err();
    assert!(error.contains("which domain d has"), "{error}");
}

#[test]
fn what_must_not_be_given_is_refused_by_name() {
    let (taken, _) = read(vec![rtc()], &[]).unwrap();
    let page =
        |phys: u32, guest: u32| vec![node("x").cells("xen,reg", &[0, phys, 0, 0x1000, 0, guest])];
    let path = |host: &str| {
        vec![
            node("x")
                .text("xen,path", &[host])
                .flag("xen,force-assign-without-iommu"),
        ]
    };
    let cases: Vec<(Vec<Node>, &str)> = vec![
        (
            page(0x800_0000, 0x800_0000),
            "overlaps the interrupt controller at 0x8000000-0x800ffff, which Tarn uses",
        ),
        (page(0x900_0000, 0x900_0000), "overlaps the console"),
        (page(0x4800_0000, 0x4800_0000), "overlaps the machine's RAM"),
        (
            page(0x903_0000, 0x300_1000),
            "overlaps its interrupt controller",
        ),
        (page(0x903_0000, 0x2200_0000), "overlaps its emulated PL011"),
        (page(0x903_0000, 0x4000_0000), "overlaps its RAM"),
        (page(0x903_0000, 0x903_0800), "differ below 4 KiB"),
        (page(0x901_0000, 0x901_0000), "which domain d has"),
        (
            vec![node("x").cells("xen,reg", &[0, 0x903_0000, 0, 0, 0, 0])],
            "not a region of 1 byte or more",
        ),
        (
            vec![node("x").cells("xen,reg", &[!0, !0, !0, !0, !0, !0])],
            "not a region",
        ),
        (
            vec![node("x").cells("xen,reg", &[0, 0x903_0000, 0, 0x1000, 0x80, 0])],
            "addresses below 0x8000000000",
        ),
        (
            vec![node("x").cells("xen,reg", &[0, 0x903_0000])],
            "it must be entries",
        ),
        (path("/no-such@1"), "the machine has no node /no-such@1"),
        (path("serial0"), "it must be the full path"),
        (
            path("/pl011@9000000"),
            "/pl011@9000000 is the console at 0x9000000-0x9000fff, which Tarn uses",
        ),
        (path("/intc@8000000"), "is the interrupt controller"),
        (path("/timer"), "is none of SPIs 0 to 959"),
        (path("/pl031@9010000"), "is given to domain d already"),
        (
            vec![node("x").text("xen,path", &["/pl061@9030000"])],
            "xen,force-assign-without-iommu in this node accepts that",
        ),
        (
            vec![device("x", "/pl061@9030000", &[]).cells("interrupts", &[0, 9, 4])],
            "interrupt 41 (cells 0 9) is none of /pl061@9030000's",
        ),
        (
            vec![
                device("x", "/pl061@9030000", &[]),
                device("y", "/pl061@9030000", &[]),
            ],
            "is given to this domain twice",
        ),
    ];
    for (list, want) in cases {
        let error = read(list, core::slice::from_ref(&taken)).unwrap_err();
        assert!(error.contains(want), "wanted {want:?} in {error:?}");
        assert!(
            error.starts_with("refused: /chosen/d: partial tree: /passthrough/"),
            "{error}"
        );
    }
    let board = Board::from_dtb(VIRT, 0).unwrap();
    let broken = devices(VIRT, &board, &owner(&board, false), b"no tree", &[], true).unwrap_err();
    assert!(broken.to_string().contains("cannot be read"));
}

#[test]
fn a_hostile_partial_tree_is_only_an_answer() {
    let good = partial(vec![rtc()]);
    let board = Board::from_dtb(VIRT, 0).unwrap();
    let domain = owner(&board, true);
    let ram = [Region::new(0x4000_0000, 1 << 26).unwrap()];
    let mut read_anyway = 0;
    for i in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[i] ^= 1 << bit;
            if devices(VIRT, &board, &domain, &bad, &[], true).is_ok() {
                read_anyway += 1;
            }
            // Whatever is copied must be readable again.
            if let Ok(GuestTree { blob: tree, .. }) = guest_dtb(&spec(&ram, Some(&bad))) {
                header_size(&tree).unwrap();
            }
        }
    }
    assert!(read_anyway > 0, "some bits do not matter");
}

fn spec<'a>(memory: &'a [Region], devices: Option<&'a [u8]>) -> GuestSpec<'a> {
    GuestSpec {
        vcpus: 2,
        memory,
        gic: GuestGic::V3,
        vpl011: true,
        pl011_at: guest::layout::PL011,
        bootargs: "",
        initrd: None,
        rng_seed: &[],
        kaslr_seed: None,
        devices,
        shared: &[],
        doorbells: &[],
    }
}

#[test]
fn the_guests_tree_has_the_device_and_nothing_of_ours() {
    let blob = partial(vec![rtc(), node("plain").cells("phandle", &[200])]);
    let ram = [Region::new(0x4000_0000, 1 << 26).unwrap()];
    let tree = guest_dtb(&spec(&ram, Some(&blob))).unwrap().blob;
    let has = |text: &[u8]| tree.windows(text.len()).any(|w| w == text);
    assert!(has(b"passthrough\0") && has(b"rtc@9010000\0") && has(b"plain\0"));
    assert!(!has(b"xen,path") && !has(b"xen,reg") && !has(b"xen,force"));
    // The guest's GIC took the placeholder's number: the reader finds it as everybody's interrupt parent.
    assert!(has(&GIC.to_be_bytes()));
}

fn with_domain(change: impl FnOnce(Node) -> Node) -> Vec<u8> {
    let kernel = node("module@44000000")
        .text("compatible", &["multiboot,kernel", "multiboot,module"])
        .cells("reg", &[0, 0x4400_0000, 0x10_0000]);
    let domain = node("d")
        .text("compatible", &["xen,domain"])
        .cells("#address-cells", &[2])
        .cells("#size-cells", &[1])
        .cells("memory", &[0, 65_536])
        .cells("cpus", &[1])
        .child(kernel);
    let chosen = |c: Node| {
        c.cells("#address-cells", &[2])
            .cells("#size-cells", &[2])
            .child(change(domain))
    };
    machine(2).at("/chosen", chosen).blob(&[])
}

#[test]
fn memory_at_a_fixed_place() {
    let fixed = |d: Node| {
        d.cells("xen,static-mem", &[0, 0x5000_0000, 0, 0x400_0000])
            .flag("direct-map")
    };
    let blob = with_domain(fixed);
    let board = Board::from_dtb(&blob, 0).unwrap();
    let want = Region::new(0x5000_0000, 0x400_0000).unwrap();
    assert!(
        board
            .reserved
            .iter()
            .any(|r| r.region == want && r.why == ReservedBy::Domain)
    );
    assert!(
        board
            .free_ram(&[])
            .unwrap()
            .iter()
            .all(|r| !r.overlaps(&want))
    );
    let config = Config::from_dtb(&blob, &board).unwrap();
    assert_eq!(config.notes, []);
    assert_eq!(config.domains[0].static_mem, [want]);
    assert!(config.domains[0].direct_map);
    // The same in cells of its own, as Xen 4.16 wants them.
    let blob = with_domain(|d| {
        d.cells("#xen,static-mem-address-cells", &[1])
            .cells("#xen,static-mem-size-cells", &[1])
            .cells("xen,static-mem", &[0x5000_0000, 0x400_0000])
    });
    let board = Board::from_dtb(&blob, 0).unwrap();
    assert_eq!(
        Config::from_dtb(&blob, &board).unwrap().domains[0].static_mem,
        [want]
    );
    // In a system image the reservation is made from its own description.
    let plain = with_domain(|d| d);
    let mut board = Board::from_dtb(&plain, 0).unwrap();
    reserve_static_mem(&mut board, &blob).unwrap();
    assert_eq!(
        board
            .reserved
            .iter()
            .filter(|r| r.why == ReservedBy::Domain)
            .count(),
        1
    );
}

#[test]
fn memory_that_cannot_be_at_that_place() {
    let cases: &[(&[u32], &str)] = &[
        (
            &[0, 0x5000_0000, 0, 0x200_0000],
            "is 32768 KiB altogether; `memory` says 65536",
        ),
        (&[0, 0x5000_0800, 0, 0x400_0000], "whole pages"),
        (
            &[0, 0x1000_0000, 0, 0x400_0000],
            "is not RAM of this machine",
        ),
        (
            &[0, 0x4200_0000, 0, 0x400_0000],
            "which is in use or reserved",
        ),
        (&[0, 0x5000_0000, 0], "it must be entries"),
        (&[], "it must be entries"),
        (
            &[0, 0x5000_0000, 0, 0x200_0000, 0, 0x5000_0000, 0, 0x200_0000],
            "named by two domains",
        ),
    ];
    for (cells, want) in cases {
        let blob = with_domain(|d| d.cells("xen,static-mem", cells));
        let board = Board::from_dtb(&blob, 0).unwrap();
        let config = Config::from_dtb(&blob, &board).unwrap();
        assert!(config.domains.is_empty(), "{cells:?}");
        let told = config.notes[0].to_string();
        assert!(
            told.starts_with("refused: /chosen/d: xen,static-mem: "),
            "{told}"
        );
        assert!(told.contains(want), "wanted {want:?} in {told:?}");
    }
}
