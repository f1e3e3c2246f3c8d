//! Shared memory and doorbells in the board's own tree: Xen's bindings as they are, and what guests are told of them. Each
//! rule has a description of its own in image/tests/broken.

mod common;
use common::*;
use tarn_board::config::{Devices, MAX_CONFIGURED, doorbell_spis};
use tarn_board::guest::{SharedView, layout};
use tarn_board::*;

fn domain(name: &str, links: Vec<Node>) -> Node {
    let kernel = node("module@44000000")
        .text("compatible", &["multiboot,kernel", "multiboot,module"])
        .cells("reg", &[0x4400_0000, 0x10_0000]);
    // Cells of one, as in Xen's example.
    let domain = small_domain(name, 1).child(kernel);
    links.into_iter().fold(domain, Node::child)
}

fn shared(name: &str, id: &str, place: &[u32]) -> Node {
    node(name)
        .text("compatible", &["xen,domain-shared-memory-v1"])
        .text("xen,shm-id", &[id])
        .cells("xen,shared-mem", place)
}

fn bell(name: &str, own: u32, port: u32, to: u32) -> Node {
    node(name)
        .text("compatible", &["xen,evtchn-v1"])
        .cells("phandle", &[own])
        .cells("xen,evtchn", &[port, to])
}

fn tree(domains: Vec<Node>) -> Vec<u8> {
    let chosen = |c: Node| {
        let c = c.cells("#address-cells", &[2]).cells("#size-cells", &[2]);
        domains.into_iter().fold(c, Node::child)
    };
    machine(2).at("/chosen", chosen).blob(&[])
}

fn region(base: u64, size: u64) -> Region {
    Region::new(base, size).unwrap()
}

#[test]
fn xens_form_with_a_host_address() {
    let owner =
        shared("shm@0", "a", &[0x5000_0000, 0x7000_0000, 0x1_0000]).text("role", &["owner"]);
    let borrower = shared("shm@0", "a", &[0x5000_0000, 0x6000_0000, 0x4000])
        .text("role", &["borrower"])
        .cells("xen,offset", &[0, 0x8000])
        .text("tarn,access", &["ro"]);
    let blob = tree(vec![
        domain("one", vec![owner]),
        domain("two", vec![borrower]),
    ]);
    let board = Board::from_dtb(&blob, 0).unwrap();
    let want = region(0x5000_0000, 0x1_0000);
    let kept = board
        .reserved
        .iter()
        .filter(|r| r.why == ReservedBy::Shared);
    assert_eq!(kept.map(|r| r.region).collect::<Vec<_>>(), [want]);
    let free = board.free_ram(&[]).unwrap();
    assert!(free.iter().all(|r| !r.overlaps(&want)));
    let config = Config::from_dtb(&blob, &board).unwrap();
    assert_eq!(config.notes, []);
    assert_eq!(config.shared.len(), 1);
    assert_eq!(
        (config.shared[0].at, config.shared[0].size),
        (Some(want), 0x1_0000)
    );
    let [one, two] = &config.domains[..] else {
        panic!("{:?}", config.domains);
    };
    let (a, b) = (one.shared[0], two.shared[0]);
    assert_eq!(
        (a.guest, a.offset, a.writable, a.owner),
        (region(0x7000_0000, 0x1_0000), 0, true, true)
    );
    assert_eq!(
        (b.guest, b.offset, b.writable, b.owner),
        (region(0x6000_0000, 0x4000), 0x8000, false, false)
    );
}

#[test]
fn two_names_for_the_same_memory_are_refused() {
    let side = |id: &str| shared("shm", id, &[0x5000_0000, 0x7000_0000, 0x1000]);
    let all = ["a", "a", "b", "b"].iter().enumerate();
    let blob = tree(
        all.map(|(i, id)| domain(&format!("d{i}"), vec![side(id)]))
            .collect(),
    );
    let board = Board::from_dtb(&blob, 0).unwrap();
    let config = Config::from_dtb(&blob, &board).unwrap();
    assert!(config.domains.is_empty(), "{:?}", config.domains);
    assert_eq!(config.notes.len(), 4);
    for (note, other) in config.notes.iter().zip(["b", "b", "a", "a"]) {
        let words = format!("overlaps the memory of \"{other}\"");
        assert!(note.to_string().contains(&words), "{note}");
    }
}

#[test]
fn a_phandle_of_two_ends_connects_nobody() {
    // C says that it is B's end; A, which named B, must not be heard or rung by it.
    let blob = tree(vec![
        domain("a", vec![bell("bell", 5, 1, 6)]),
        domain("b", vec![bell("bell", 6, 1, 5)]),
        domain("c", vec![bell("bell", 6, 1, 5)]),
    ]);
    let board = Board::from_dtb(&blob, 0).unwrap();
    let config = Config::from_dtb(&blob, &board).unwrap();
    assert!(config.domains.is_empty(), "{:?}", config.domains);
    assert_eq!(config.notes.len(), 3);
}

#[test]
fn equals_anywhere_are_charged_once() {
    let side = || shared("shm", "a", &[0x7000_0000, 0x1000_0000]);
    let all = |n: usize| {
        (0..n)
            .map(|i| domain(&format!("d{i}"), vec![side()]))
            .collect()
    };
    let blob = tree(all(3));
    let board = Board::from_dtb(&blob, 0).unwrap();
    assert!(board.reserved.iter().all(|r| r.why != ReservedBy::Shared));
    let config = Config::from_dtb(&blob, &board).unwrap();
    assert_eq!(config.notes, []);
    assert_eq!(config.shared[0].at, None);
    assert!(
        config
            .domains
            .iter()
            .all(|d| d.shared[0].memory == 0 && !d.shared[0].owner)
    );
    // One alone shares with nobody.
    let blob = tree(all(1));
    let config = Config::from_dtb(&blob, &board).unwrap();
    assert!(config.domains.is_empty());
    assert!(config.notes[0].message.contains("no other domain shares"));
}

#[test]
fn a_refused_domain_takes_its_neighbours_memory_and_doorbell_not_away() {
    let links = |own, to| {
        vec![
            shared("shm", "a", &[0x7000_0000, 0x1000]),
            bell("bell", own, 3, to),
        ]
    };
    let mut bad = domain("bad", links(91, 90));
    bad.set("cpus", &0u32.to_be_bytes());
    let blob = tree(vec![domain("good", links(90, 91)), bad]);
    let board = Board::from_dtb(&blob, 0).unwrap();
    let config = Config::from_dtb(&blob, &board).unwrap();
    assert_eq!(config.domains.len(), 1);
    let good = &config.domains[0];
    assert_eq!((good.shared.len(), good.doorbells.len()), (1, 1));
    assert_eq!(
        (good.doorbells[0].port, good.doorbells[0].peer.as_str()),
        (3, "/chosen/bad")
    );
    let warnings: Vec<&str> = config.notes[1..]
        .iter()
        .map(|n| n.message.as_str())
        .collect();
    assert_eq!(
        warnings,
        [
            "/chosen/bad was refused: nobody hears the doorbells to it",
            "every other domain that shares a was refused"
        ]
    );
}

#[test]
fn doorbells_take_interrupts_that_nobody_has() {
    let one = vec![
        bell("b1", 90, 1, 95),
        bell("b2", 91, 2, 96).cells("tarn,spi", &[2]),
        bell("b3", 92, 3, 97),
    ];
    let two = vec![
        bell("b1", 95, 1, 90),
        bell("b2", 96, 2, 91),
        bell("b3", 97, 3, 92),
    ];
    let blob = tree(vec![domain("one", one), domain("two", two)]);
    let board = Board::from_dtb(&blob, 0).unwrap();
    let config = Config::from_dtb(&blob, &board).unwrap();
    assert_eq!(config.notes, []);
    let irq = |spi: u32| Irq {
        intid: spi + 32,
        trigger: Trigger::Level,
    };
    let mut devices = Devices::default();
    assert_eq!(
        doorbell_spis(&config.domains[0], &devices).unwrap(),
        [1, 2, 3]
    );
    assert_eq!(
        doorbell_spis(&config.domains[1], &devices).unwrap(),
        [1, 2, 3]
    );
    devices.irqs = vec![irq(1), irq(4)];
    assert_eq!(
        doorbell_spis(&config.domains[0], &devices).unwrap(),
        [3, 2, 5]
    );
    devices.irqs = vec![irq(2)];
    let error = doorbell_spis(&config.domains[0], &devices).unwrap_err();
    assert_eq!(
        error.to_string(),
        "refused: /chosen/one/b2: tarn,spi: 2 is that of a device it is given"
    );
}

#[test]
fn guests_find_both_in_their_tree() {
    let ram = [region(layout::RAM0, 1 << 26)];
    let views = [
        SharedView {
            id: "whole",
            guest: region(0x7000_0000, 0x1000),
            offset: None,
            writable: true,
        },
        SharedView {
            id: "part",
            guest: region(0x7100_0000, 0x1000),
            offset: Some(0x8000),
            writable: false,
        },
    ];
    let blob = guest_dtb(&GuestSpec {
        vcpus: 1,
        memory: &ram,
        gic: GuestGic::V3,
        vpl011: false,
        pl011_at: layout::PL011,
        bootargs: "",
        initrd: None,
        rng_seed: &[],
        kaslr_seed: None,
        devices: None,
        shared: &views,
        doorbells: &[(1, 1), (1023, 959)],
    })
    .unwrap()
    .blob;
    let has = |text: &[u8]| blob.windows(text.len()).filter(|w| *w == text).count();
    assert_eq!(has(b"xen-shmem@70000000\0"), 1);
    assert_eq!(has(b"xen,shared-memory-v1\0"), 2);
    // Names of properties stand once in the tree: of one view only.
    assert_eq!((has(b"tarn,read-only\0"), has(b"xen,offset\0")), (1, 1));
    assert_eq!(
        (has(b"doorbell@22020004\0"), has(b"doorbell@22020ffc\0")),
        (1, 1)
    );
    assert_eq!(
        has(&[0, 0, 0, 0, 0, 0, 0x03, 0xbf, 0, 0, 0, 1]),
        1,
        "SPI 959, rising edge"
    );
    header_size(&blob).unwrap();
}

/// Three pieces of memory; the second is more than there is.
#[test]
fn what_does_not_fit_takes_nothing_from_others() {
    let pair = |n: u32, id: &str, size: u32| {
        [0, 1].map(|side| {
            let place = [0x7000_0000, size];
            domain(&format!("{id}{side}-{n}"), vec![shared("shm", id, &place)])
        })
    };
    let all = [
        pair(0, "small", 0x10_0000),
        pair(1, "huge", 0xc000_0000 - 0x7000_0000),
        pair(2, "late", 0x20_0000),
    ];
    let blob = tree(all.into_iter().flatten().collect());
    let board = Board::from_dtb(&blob, 0).unwrap();
    let config = Config::from_dtb(&blob, &board).unwrap();
    let names: Vec<&str> = config.domains.iter().map(|d| d.name.as_str()).collect();
    assert_eq!(names, ["small0-0", "small1-0", "late0-2", "late1-2"]);
    assert_eq!(config.notes.len(), 2, "{:?}", config.notes);
    for note in &config.notes {
        let words = "\"huge\" is 1310720 KiB; ";
        assert!(note.to_string().contains(words), "{note}");
    }
}

/// Two that fit one by one and not together: the later one is refused. One that nobody else shares takes no room.
#[test]
fn the_later_one_is_refused_and_a_lonely_one_takes_no_room() {
    let side = |name: &str, id: &str, size: u32| {
        domain(name, vec![shared("shm", id, &[0x7000_0000, size])])
    };
    let blob = tree(vec![
        side("lonely", "x", 0x3000_0000),
        side("a", "first", 0x2400_0000),
        side("b", "first", 0x2400_0000),
        side("c", "second", 0x2400_0000),
        side("d", "second", 0x2400_0000),
    ]);
    let board = Board::from_dtb(&blob, 0).unwrap();
    let config = Config::from_dtb(&blob, &board).unwrap();
    let names: Vec<&str> = config.domains.iter().map(|d| d.name.as_str()).collect();
    assert_eq!(names, ["a", "b"], "{:?}", config.notes);
}

/// A tree with more links than domains can have: those beyond are not listed, so that the work does not grow with their
/// number squared, and are refused as such.
#[test]
fn a_flood_of_links_is_not_listed() {
    let links = |n: u32| {
        (0..8).flat_map(move |k| {
            let handle = 100 + n * 8 + k;
            [
                shared(
                    &format!("shm{k}"),
                    &format!("{n}-{k}"),
                    &[0x7000_0000, 0x1000],
                ),
                bell(&format!("bell{k}"), handle, k + 1, handle ^ 1),
            ]
        })
    };
    // No kernel: none of them becomes a domain, but their links could be others'.
    let flood = (0..1_000).map(|n| {
        let empty = node(&format!("d{n}")).text("compatible", &["xen,domain"]);
        let empty = empty
            .cells("#address-cells", &[1])
            .cells("#size-cells", &[1]);
        links(n).fold(empty, Node::child)
    });
    let late =
        ["y", "z"].map(|name| domain(name, vec![shared("shm", "late", &[0x7000_0000, 0x1000])]));
    let blob = tree(flood.chain(late).collect());
    let board = Board::from_dtb(&blob, 0).unwrap();
    let config = Config::from_dtb(&blob, &board).unwrap();
    assert!(config.domains.is_empty());
    assert!(
        config.shared.len() <= 8 * MAX_CONFIGURED,
        "{}",
        config.shared.len()
    );
}
