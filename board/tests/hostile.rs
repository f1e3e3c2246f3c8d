//! Trees nobody would write: mutated blobs, and trees built to cost time. Any answer is right but a panic, an
//! endless loop or a tree read twice.

mod common;
use common::*;
use std::time::{Duration, Instant};
use tarn_board::*;

/// xorshift64*: the same blobs on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// A configured machine, so that mutations reach every reader.
fn configured() -> Vec<u8> {
    let module = |kind: &str, base: u32| {
        node(&format!("module@{base:x}"))
            .text("compatible", &[kind, "multiboot,module"])
            .cells("reg", &[0, base, 0x10_0000])
            .text("bootargs", &["console=ttyAMA0"])
    };
    let vcpu = node("vcpu0")
        .text("compatible", &["xen,vcpu"])
        .cells("id", &[0])
        .text("hard-affinity", &["2-3"])
        .text("tarn,soft-affinity", &["3"]);
    let domain = node("domU1")
        .text("compatible", &["xen,domain"])
        .cells("#address-cells", &[2])
        .cells("#size-cells", &[1])
        .cells("memory", &[0, 131_072])
        .cells("cpus", &[2])
        .cells("domain-cpupool", &[0x50])
        .cells("tarn,weight", &[256])
        .text("tarn,boost-on", &["irq"])
        .child(module("multiboot,kernel", 0x4400_0000))
        .child(module("multiboot,ramdisk", 0x4500_0000))
        .child(vcpu);
    let shared = |host: &[u32], role: &str, id: &str| {
        node(id)
            .text("compatible", &["xen,domain-shared-memory-v1"])
            .text("xen,shm-id", &[id])
            .text("role", &[role])
            .cells(
                "xen,shared-mem",
                &[host, &[0, 0x7000_0000, 0x1_0000]].concat(),
            )
    };
    let bell = |own: u32, to: u32| {
        node("bell")
            .text("compatible", &["xen,evtchn-v1"])
            .cells("phandle", &[own])
            .cells("xen,evtchn", &[1, to])
    };
    let mut other = domain.clone();
    other.name = "domU2".into();
    let at = [0, 0x5000_0000];
    let domain = domain
        .child(shared(&at, "owner", "a"))
        .child(bell(0x60, 0x61));
    let other = other
        .child(shared(&at, "borrower", "a"))
        .child(bell(0x61, 0x60));
    let pool = node("fast")
        .text("compatible", &["xen,cpupool"])
        .cells("phandle", &[0x50])
        .cells("cpupool-cpus", &[cpu(2), cpu(3)])
        .text("cpupool-sched", &["null"]);
    let reserved = node("reserved-memory")
        .cells("#address-cells", &[2])
        .cells("#size-cells", &[2])
        .flag("ranges")
        .child(
            node("firmware")
                .cells("reg", &[0, 0x7000_0000, 0, 0x1000])
                .flag("no-map"),
        );
    machine(4)
        .at("/chosen", |n| n.child(pool).child(domain).child(other))
        .child(node("aliases").text("serial0", &["/soc/uart@10000000"]))
        .child(reserved)
        .blob(&[(0x4000_0000, 0x1000)])
}

/// Reads whatever can be read and says whether that was everything.
fn read(blob: &[u8]) -> bool {
    let Ok(board) = Board::from_dtb(blob, 0) else {
        return false;
    };
    assert!(!board.cpus.is_empty() && !board.ram.is_empty());
    assert!(board.ram.windows(2).all(|w| w[0].end() < w[1].base()));
    let _ = board.free_ram(&[Region::new(0x4000_0000, 1 << 20).unwrap()]);
    let Ok(config) = Config::from_dtb(blob, &board) else {
        return false;
    };
    // What a hypervisor may rely on.
    let mut all = tarn_abi::CpuSet::EMPTY;
    for pool in &config.pools {
        assert!(!pool.cpus.is_empty() && all.intersection(&pool.cpus).is_empty());
        all = all.union(&pool.cpus);
    }
    assert_eq!(all, tarn_abi::CpuSet::first(board.cpus.len()));
    assert!(config.pools[0].cpus.contains(tarn_abi::CpuId::BOOT));
    for (i, d) in config.domains.iter().enumerate() {
        assert!(d.memory_kib > 0 && d.cpus >= 1 && d.cpus <= config::MAX_DOMAIN_VCPUS);
        let pool = &config.pools[d.pool];
        for v in &d.vcpus {
            let mut both = v.affinity.into_iter().chain(v.soft);
            assert!(v.id < d.cpus && both.all(|set| set.difference(&pool.cpus).is_empty()));
        }
        assert!(board.is_ram(&d.kernel.region));
        assert!(config.domains[..i].iter().all(|other| other.name != d.name));
        for s in &d.shared {
            let memory = &config.shared[s.memory];
            assert!((s.guest.base() | s.guest.size() | s.offset).is_multiple_of(4096));
            assert!(s.offset + s.guest.size() <= memory.size && s.guest.end() <= 1 << 39);
            assert!(
                memory
                    .at
                    .is_none_or(|at| at.size() == memory.size && board.is_ram(&at))
            );
        }
        let mut ports: Vec<u32> = d.doorbells.iter().map(|b| b.port).collect();
        ports.sort_unstable();
        ports.dedup();
        assert!(ports.len() == d.doorbells.len() && ports.iter().all(|p| (1..1024).contains(p)));
        assert!(d.doorbells.iter().all(|b| b.peer != d.node));
        let spis = config::doorbell_spis(d, &Devices::default()).unwrap();
        assert!(spis.iter().all(|spi| *spi < config::GUEST_SPIS));
    }
    true
}

#[test]
fn mutated_trees() {
    let seeds: [&[u8]; 4] = [
        &configured(),
        include_bytes!("fixtures/virt-gic2-smp4.dtb"),
        include_bytes!("fixtures/virt-gic3-smp4.dtb"),
        include_bytes!("fixtures/pi4-like.dtb"),
    ];
    let mut random = Random(0x7a12_0001);
    let (mut whole, mut longest) = (0, Duration::ZERO);
    // Words that mean something to a parser.
    let words = [
        0,
        1,
        2,
        3,
        4,
        9,
        8,
        16,
        0x7fff_ffff,
        0x8000_0000,
        u32::MAX,
        u32::MAX - 3,
        0x1000,
    ];
    const ROUNDS: usize = 24_000;
    for round in 0..ROUNDS {
        let mut blob = seeds[round % seeds.len()].to_vec();
        let words_in = blob.len() / 4;
        for _ in 0..1 + random.below(4) {
            let at = random.below(words_in) * 4;
            match random.below(7) {
                // A bit, a byte, a word of meaning, a small change to a word.
                0 => blob[at + random.below(4)] ^= 1 << random.below(8),
                1 => blob[at + random.below(4)] = random.next() as u8,
                2 => {
                    let word = words[random.below(words.len())];
                    blob[at..at + 4].copy_from_slice(&u32::to_be_bytes(word));
                }
                3 => {
                    let old = u32::from_be_bytes(blob[at..at + 4].try_into().unwrap());
                    let new = old.wrapping_add(random.below(9) as u32).wrapping_sub(4);
                    blob[at..at + 4].copy_from_slice(&new.to_be_bytes());
                }
                // A header field, a run moved somewhere else, the end cut off.
                4 => {
                    let field = random.below(10) * 4;
                    let old = u32::from_be_bytes(blob[field..field + 4].try_into().unwrap());
                    let new = [
                        words[random.below(words.len())],
                        old ^ 4,
                        old.wrapping_add(4),
                    ][random.below(3)];
                    blob[field..field + 4].copy_from_slice(&new.to_be_bytes());
                }
                5 => {
                    let length = (1 + random.below(16)) * 4;
                    let from = random.below(words_in.saturating_sub(16).max(1)) * 4;
                    let to = random.below(words_in.saturating_sub(16).max(1)) * 4;
                    let length = length.min(blob.len() - from.max(to));
                    blob.copy_within(from..from + length, to);
                }
                _ if random.below(8) == 0 => blob.truncate(at.max(4)),
                _ => {}
            }
            if blob.len() / 4 < words_in {
                break;
            }
        }
        let start = Instant::now();
        whole += usize::from(read(&blob));
        longest = longest.max(start.elapsed());
    }
    // The mutations must neither all be harmless nor all be caught at the door.
    assert!(whole > ROUNDS / 10 && whole < ROUNDS * 95 / 100, "{whole}");
    assert!(longest < Duration::from_secs(5), "{longest:?}");
}

#[test]
fn every_cut_and_every_word() {
    let seed = configured();
    for length in 0..seed.len() {
        assert!(!read(&seed[..length]));
        // The same with a header that agrees.
        if length >= 40 {
            let mut blob = seed[..length].to_vec();
            blob[4..8].copy_from_slice(&(length as u32).to_be_bytes());
            read(&blob);
        }
    }
    let mut blob = seed.clone();
    for at in (0..seed.len() - 4).step_by(4) {
        for word in [0u32, 1, 2, 3, 4, 9, u32::MAX] {
            blob[at..at + 4].copy_from_slice(&word.to_be_bytes());
            read(&blob);
        }
        blob[at..at + 4].copy_from_slice(&seed[at..at + 4]);
    }
}

/// Two mebibytes of the worst: the time must be that of one reading.
#[test]
fn large_trees_cost_no_more_than_their_size() {
    let fill = |make: &dyn Fn(usize) -> Node, root: Node, path: &str| {
        let one = node("").child(make(99_999)).blob(&[]).len() - node("").blob(&[]).len();
        let count = (MAX_DTB - 300_000) / one.max(16);
        let tree = root.at(path, |mut n| {
            n.children.extend((0..count).map(make));
            n
        });
        let blob = tree.blob(&[]);
        assert!(
            blob.len() > MAX_DTB / 4 && blob.len() <= MAX_DTB,
            "{}",
            blob.len()
        );
        blob
    };
    let ranges: Vec<u32> = (0..1024).flat_map(|i| [0x2000_0000 + i, 0, 1, 1]).collect();
    let slow_bus = |n: Node| n.cells("ranges", &ranges);
    let odd = |kind: &'static str| {
        move |i: usize| {
            node(&format!("n{i}"))
                .text("compatible", &[kind])
                .cells("x", &[1])
        }
    };
    let uart = |i: usize| {
        node(&format!("u{i}"))
            .text("compatible", &["arm,pl011"])
            .cells("reg", &[1, 1])
    };
    let cpu = |i: usize| {
        node(&format!("c{i}"))
            .text("device_type", &["cpu"])
            .cells("reg", &[i as u32 + 9])
    };
    let module = |i: usize| {
        node(&format!("m{i}"))
            .text("compatible", &["multiboot,module"])
            .cells("reg", &[0, 0x4400_0000, 0, 1 + i as u32])
    };
    let wrong = |n: Node| n.child(node("d").text("compatible", &["xen,domain"]));
    let full = |n: Node| {
        let list = vec![7u32; 100_000];
        n.child(
            node("p")
                .text("compatible", &["xen,cpupool"])
                .cells("cpupool-cpus", &list),
        )
    };
    let m = || machine(4);
    let table: Vec<(&str, Vec<u8>)> = vec![
        ("domains", fill(&odd("xen,domain"), m(), "/chosen")),
        ("pools", fill(&odd("xen,cpupool"), m(), "/chosen")),
        (
            "domain's children",
            fill(&odd("x"), m().at("/chosen", wrong), "/chosen/d"),
        ),
        (
            "uarts that lead nowhere",
            fill(&uart, m().at("/soc", slow_bus), "/soc"),
        ),
        ("cpus", fill(&cpu, m(), "/cpus")),
        ("modules", fill(&module, m(), "/chosen")),
        ("phandles", m().at("/chosen", full).blob(&[])),
        ("empty strings", {
            let zeros = vec![0; MAX_DTB - 100_000];
            m().child(node("x").bytes("compatible", &zeros)).blob(&[])
        }),
        ("a long property name", {
            let tree = m().at("/chosen", |n| {
                n.child(node("d").text("compatible", &["xen,domain"]))
            });
            let tree = tree.at("/chosen/d", |mut n| {
                n.props
                    .extend((0..60_000).map(|_| (LONG.to_string(), vec![])));
                n
            });
            // Every property's name is the long one: written once, read sixty thousand times.
            quick_blob(&tree)
        }),
    ];
    for (name, blob) in table {
        let start = Instant::now();
        read(&blob);
        let took = start.elapsed();
        println!("{name}: {} bytes, {took:?}", blob.len());
        // Half a second unoptimised; a walk that is quadratic anywhere takes minutes.
        assert!(took < Duration::from_secs(10), "{name}: {took:?}");
    }
}

/// Stands for a name of 900,000 bytes.
const LONG: &str = "long";

/// As `Node::blob`, but without searching the strings for each name.
fn quick_blob(tree: &Node) -> Vec<u8> {
    fn write(
        n: &Node,
        structs: &mut Vec<u8>,
        strings: &mut Vec<u8>,
        names: &mut std::collections::HashMap<String, u32>,
    ) {
        structs.extend(1u32.to_be_bytes());
        structs.extend(n.name.bytes());
        structs.push(0);
        structs.resize(structs.len().next_multiple_of(4), 0);
        for (name, value) in &n.props {
            let offset = *names.entry(name.clone()).or_insert_with(|| {
                let at = strings.len() as u32;
                match name.as_str() {
                    LONG => strings.extend(core::iter::repeat_n(b'n', 900_000)),
                    _ => strings.extend(name.bytes()),
                }
                strings.push(0);
                at
            });
            for word in [3, value.len() as u32, offset] {
                structs.extend(word.to_be_bytes());
            }
            structs.extend(value);
            structs.resize(structs.len().next_multiple_of(4), 0);
        }
        for child in &n.children {
            write(child, structs, strings, names);
        }
        structs.extend(2u32.to_be_bytes());
    }
    let (mut structs, mut strings, mut names) = (vec![], vec![], Default::default());
    write(tree, &mut structs, &mut strings, &mut names);
    structs.extend(9u32.to_be_bytes());
    let (s, t) = (56, 56 + structs.len());
    let total = t + strings.len();
    assert!(total <= MAX_DTB);
    let header = [
        0xd00d_feed,
        total as u32,
        s,
        t as u32,
        40,
        17,
        16,
        0,
        strings.len() as u32,
        structs.len() as u32,
    ];
    let mut blob: Vec<u8> = header.iter().flat_map(|w| w.to_be_bytes()).collect();
    blob.extend([0; 16]);
    blob.extend(structs);
    blob.extend(strings);
    blob
}
