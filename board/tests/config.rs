//! Pools and domains from /chosen: Xen's bindings as they are, one wrong node at a time, and the rest kept.

mod common;
use common::*;
use tarn_board::*;

fn module(kind: &str, base: u32, size: u32) -> Node {
    node(&format!("module@{base:x}"))
        .text("compatible", &[kind, "multiboot,module"])
        .cells("reg", &[0, base, size])
}

fn kernel() -> Node {
    module("multiboot,kernel", 0x4400_0000, 0x10_0000).text("bootargs", &["console=ttyAMA0"])
}

/// As in Xen's booting.txt: addresses of two cells, sizes of one.
fn domain(name: &str) -> Node {
    node(name)
        .text("compatible", &["xen,domain"])
        .cells("#address-cells", &[2])
        .cells("#size-cells", &[1])
        .cells("memory", &[0, 131_072])
        .cells("cpus", &[2])
        .flag("vpl011")
        .child(kernel())
}

fn pool(name: &str, phandle: u32, cpus: &[u32]) -> Node {
    let list: Vec<u32> = cpus.iter().map(|n| cpu(*n)).collect();
    node(name)
        .text("compatible", &["xen,cpupool"])
        .cells("phandle", &[phandle])
        .cells("cpupool-cpus", &list)
}

/// A machine of four CPUs with these nodes in /chosen.
fn with(nodes: &[Node]) -> Vec<u8> {
    let chosen = |mut chosen: Node| {
        chosen.children.extend_from_slice(nodes);
        chosen
    };
    machine(4).at("/chosen", chosen).blob(&[])
}

fn read(blob: &[u8]) -> Config<'_> {
    let board = Board::from_dtb(blob, 0).unwrap();
    Config::from_dtb(blob, &board).unwrap()
}

fn told(config: &Config<'_>) -> Vec<String> {
    config.notes.iter().map(|n| n.to_string()).collect()
}

/// Name and CPUs of every pool.
fn pools(config: &Config<'_>) -> Vec<(String, String)> {
    config
        .pools
        .iter()
        .map(|p| (p.name.clone(), p.cpus.to_string()))
        .collect()
}

fn pair(a: &str, b: &str) -> (String, String) {
    (a.into(), b.into())
}

#[test]
fn without_any_node() {
    let blob = with(&[]);
    let config = read(&blob);
    assert_eq!(pools(&config), [pair("Pool-0", "0-3")]);
    assert_eq!(config.pools[0].sched, "credit2");
    assert!(config.domains.is_empty() && config.notes.is_empty());
}

#[test]
fn xens_own_example() {
    let linux = domain("domU1").child(module("multiboot,ramdisk", 0x4a00_0000, 0xff_ffff));
    let other = domain("domU2")
        .without("vpl011")
        .cells("cpus", &[1])
        .cells("memory", &[0, 65_536]);
    let blob = with(&[linux, other]);
    let config = read(&blob);
    assert_eq!(told(&config), [""; 0]);
    let [a, b] = &config.domains[..] else {
        panic!()
    };
    assert_eq!(
        (a.name.as_str(), a.node.as_str()),
        ("domU1", "/chosen/domU1")
    );
    assert_eq!(
        (a.memory_kib, a.cpus, a.vpl011, a.pool),
        (131_072, 2, true, 0)
    );
    let region = |base, size| Region::new(base, size).unwrap();
    assert_eq!(
        a.kernel,
        Module {
            region: region(0x4400_0000, 0x10_0000),
            bootargs: "console=ttyAMA0"
        }
    );
    assert_eq!(
        a.ramdisk,
        Some(Module {
            region: region(0x4a00_0000, 0xff_ffff),
            bootargs: ""
        })
    );
    assert_eq!(
        (b.memory_kib, b.cpus, b.vpl011, b.ramdisk),
        (65_536, 1, false, None)
    );
    // Both boot from one copy of the kernel, which is kept free once.
    let board = Board::from_dtb(&blob, 0).unwrap();
    assert_eq!(
        board
            .reserved
            .iter()
            .filter(|r| r.why == ReservedBy::Module)
            .count(),
        2
    );
    let free = board.free_ram(&[]).unwrap();
    assert!(
        free.iter()
            .all(|r| !r.overlaps(&a.kernel.region) && !r.overlaps(&a.ramdisk.unwrap().region))
    );
}

#[test]
fn modules_by_xen_4_4s_names_and_with_inherited_cells() {
    let old = node("zimage")
        .text("compatible", &["xen,linux-zimage", "xen,multiboot-module"])
        .cells("reg", &[0, 0x4400_0000, 0, 0x1000]);
    let initrd = node("initrd")
        .text("compatible", &["xen,linux-initrd", "xen,multiboot-module"])
        .cells("reg", &[0, 0x4500_0000, 0, 0x1000]);
    let mut d = domain("d")
        .without("#address-cells")
        .without("#size-cells")
        .child(initrd);
    d.children[0] = old;
    let blob = with(&[d]);
    let config = read(&blob);
    assert_eq!(told(&config), [""; 0]);
    assert_eq!(config.domains[0].kernel.region.base(), 0x4400_0000);
    assert_eq!(
        config.domains[0].ramdisk.unwrap().region.base(),
        0x4500_0000
    );
}

#[test]
fn a_domain_with_everything_of_ours() {
    let vcpu = |id: u32, list: &str| {
        node(&format!("vcpu{id}"))
            .text("compatible", &["xen,vcpu"])
            .cells("id", &[id])
            .text("hard-affinity", &[list])
    };
    let d = domain("d@7")
        .text("tarn,name", &["web"])
        .cells("domain-cpupool", &[0x50])
        .cells("nr_spis", &[64])
        .text("xen,enhanced", &["disabled"])
        .text("passthrough", &["disabled"])
        .cells("tarn,weight", &[512])
        .cells("tarn,cap", &[150])
        .cells("tarn,boost-credit", &[0, 7])
        .text("tarn,boost-on", &["irq"])
        .flag("tarn,boost-storm")
        .text("tarn,restart", &["always"])
        .flag("tarn,paused")
        .child(vcpu(1, "3"))
        .child(vcpu(0, "2-3").text("tarn,soft-affinity", &["3"]));
    let blob = with(&[pool("fast", 0x50, &[2, 3]), d]);
    let config = read(&blob);
    assert_eq!(told(&config), [""; 0]);
    assert_eq!(pools(&config), [pair("Pool-0", "0-1"), pair("fast", "2-3")]);
    let d = &config.domains[0];
    assert_eq!(
        (d.name.as_str(), d.node.as_str(), d.pool),
        ("web", "/chosen/d@7", 1)
    );
    assert_eq!(
        (d.nr_spis, d.weight, d.cap),
        (Some(64), Some(512), Some(150))
    );
    assert_eq!((d.restart, d.paused), (Restart::Always, true));
    let vcpus: Vec<_> = d.vcpus.iter().map(|v| (v.id, v.affinity, v.soft)).collect();
    let set = tarn_abi::CpuSet::parse;
    assert_eq!(vcpus, [(0, set("2-3"), set("3")), (1, set("3"), None)]);
    let param = |name, value| Param { name, value };
    assert_eq!(
        d.params,
        [
            param("boost-credit", ParamValue::Number(7)),
            param("boost-on", ParamValue::Text("irq")),
            param("boost-storm", ParamValue::Flag),
        ]
    );
}

#[test]
fn pools_by_the_rules() {
    // The boot CPU's pool comes first whatever its place; CPUs in no node form a pool of their own, the last.
    let blob = with(&[
        pool("a", 0x50, &[2])
            .text("cpupool-sched", &["null"])
            .cells("tarn,ratelimit-us", &[500]),
        pool("b", 0x51, &[0]),
        domain("d").cells("domain-cpupool", &[0x50]),
    ]);
    let config = read(&blob);
    assert_eq!(told(&config), [""; 0]);
    assert_eq!(
        pools(&config),
        [pair("b", "0"), pair("a", "2"), pair("Pool-2", "1,3")]
    );
    assert_eq!(config.pools[1].sched, "null");
    assert_eq!(
        config.pools[1].params,
        [Param {
            name: "ratelimit-us",
            value: ParamValue::Number(500)
        }]
    );
    assert_eq!(config.domains[0].pool, 1);
    // All in nodes: no further pool.
    let blob = with(&[pool("a", 0x50, &[3, 2]), pool("b", 0x51, &[1, 0])]);
    assert_eq!(pools(&read(&blob)), [pair("b", "0-1"), pair("a", "2-3")]);
    // The implicit pool gives way to a node that has taken its name.
    let blob = with(&[pool("Pool-0", 0x50, &[1]), pool("Pool-2", 0x51, &[2])]);
    assert_eq!(
        pools(&read(&blob)),
        [
            pair("Pool-1", "0,3"),
            pair("Pool-0", "1"),
            pair("Pool-2", "2")
        ]
    );
    let blob = with(&[pool("Pool-1", 0x50, &[0, 1])]);
    assert_eq!(
        pools(&read(&blob)),
        [pair("Pool-1", "0-1"), pair("Pool-2", "2-3")]
    );
    // Two nodes of one base name keep their unit addresses apart.
    let blob = with(&[pool("p@1", 0x50, &[0]), pool("p@2", 0x51, &[1])]);
    assert_eq!(
        pools(&read(&blob)),
        [pair("p", "0"), pair("p@2", "1"), pair("Pool-2", "2-3")]
    );
}

#[test]
fn a_wrong_pool_is_refused_and_its_cpus_are_in_no_node() {
    let good = || pool("good", 0x50, &[0, 1]);
    let table = [
        (
            pool("bad", 0x51, &[1]),
            "cpupool-cpus: CPU 1 is in pool \"good\" already",
        ),
        (
            pool("bad", 0x51, &[2, 2]),
            "cpupool-cpus: CPU 2 is in the list twice",
        ),
        (
            pool("bad", 0x51, &[9]),
            "cpupool-cpus: 0x109 is not the phandle of a CPU that can be used",
        ),
        (
            pool("bad", 0x51, &[]),
            "cpupool-cpus: it must be a list of phandles of CPU nodes, not empty",
        ),
        (
            pool("bad", 0x51, &[]).bytes("cpupool-cpus", &[0, 0, 1]),
            "cpupool-cpus: it must be a list of phandles of CPU nodes, not empty",
        ),
        (
            pool("bad", 0x51, &[2]).bytes("cpupool-sched", b"rt"),
            "cpupool-sched: it must be a string",
        ),
        (
            pool("bad", 0x51, &[2]).bytes("tarn,x", &[1, 2, 3]),
            "tarn,x: it must be empty, one or two cells, or a string",
        ),
    ];
    for (bad, want) in table {
        let blob = with(&[
            good(),
            bad,
            domain("d").cells("domain-cpupool", &[0x51]),
            domain("e"),
        ]);
        let config = read(&blob);
        let all = told(&config);
        assert_eq!(all[0], format!("refused: /chosen/bad: {want}"));
        assert_eq!(
            all[1],
            "refused: /chosen/d: domain-cpupool: is 0x51; that pool's node was refused"
        );
        assert_eq!(pools(&config), [pair("good", "0-1"), pair("Pool-1", "2-3")]);
        assert_eq!(config.domains.len(), 1, "the rest is kept");
    }
}

#[test]
fn a_wrong_domain_is_refused_and_the_rest_is_kept() {
    let d = || domain("bad");
    let inside = |change: fn(Node) -> Node| d().at("/module@44000000", change);
    let vcpu = |id: &[u32], list: &str| {
        node("vcpu")
            .text("compatible", &["xen,vcpu"])
            .cells("id", id)
            .text("hard-affinity", &[list])
    };
    let table = [
        (
            d().without("memory"),
            ": memory: missing; the domain's RAM in KiB, two cells: <0 N>",
        ),
        (
            d().cells("memory", &[131_072]),
            ": memory: 4 bytes long; it must be two cells: <0 N>",
        ),
        (
            d().cells("memory", &[0, 0]),
            ": memory: is 0 KiB; a domain needs RAM",
        ),
        (
            d().cells("memory", &[u32::MAX, u32::MAX]),
            ": memory: is 18446744073709551615 KiB; the machine has 1048576 KiB",
        ),
        (
            d().without("cpus"),
            ": cpus: missing; 1 to 64 vCPUs, one cell",
        ),
        (
            d().cells("cpus", &[0]),
            ": cpus: is 0; 1 to 64 vCPUs are possible here",
        ),
        (
            d().cells("cpus", &[65]),
            ": cpus: is 65; 1 to 64 vCPUs are possible here",
        ),
        (
            d().cells("cpus", &[1, 1]),
            ": cpus: 8 bytes long; it must be one cell: <N>",
        ),
        (
            d().cells("nr_spis", &[989]),
            ": nr_spis: a GIC has at most 988 SPIs",
        ),
        (
            d().cells("tarn,weight", &[0]),
            ": tarn,weight: a weight lies between 1 and 65535",
        ),
        (
            d().text("tarn,restart", &["maybe"]),
            ": tarn,restart: is \"maybe\"; it must be on-reset, on-crash, always or never",
        ),
        (
            d().text("tarn,name", &["good"]),
            ": tarn,name: the name \"good\" is taken",
        ),
        (
            d().text("tarn,name", &["Domain-0"]),
            ": tarn,name: the name \"Domain-0\" is taken",
        ),
        (
            d().text("tarn,name", &["a b"]),
            ": tarn,name: a name has 1 to 48 letters, digits or characters of \"._+-@,\"",
        ),
        (
            d().cells("domain-cpupool", &[0x77]),
            ": domain-cpupool: is 0x77; it must be the phandle of a \"xen,cpupool\" node",
        ),
        (
            d().text("passthrough", &["maybe"]),
            ": passthrough: it must be \"enabled\" or \"disabled\"",
        ),
        (
            d().cells("capabilities", &[1]),
            ": capabilities: asks for rights that only dom0 has, which Tarn cannot do yet",
        ),
        (
            d().without_child("module@44000000"),
            ": no kernel: a sub-node compatible with \"multiboot,kernel\", \"multiboot,module\" is missing",
        ),
        (
            d().child(module("multiboot,device-tree", 0x4600_0000, 0x1000))
                .child(module("multiboot,device-tree", 0x4700_0000, 0x1000)),
            "/module@47000000: a second device tree; a domain has at most one",
        ),
        (
            d().child(module("multiboot,kernel", 0x4600_0000, 0x1000)),
            "/module@46000000: a second kernel; a domain has one",
        ),
        (
            inside(|n| n.without("reg")),
            "/module@44000000: reg: missing; where the boot loader put the module, and its size",
        ),
        (
            inside(|n| n.cells("reg", &[0, 0x4400_0000])),
            "/module@44000000: reg: it must be one address (2 cells) and one size (1 cells, not 0)",
        ),
        (
            inside(|n| n.cells("reg", &[0, 0x4400_0000, 0])),
            "/module@44000000: reg: it must be one address (2 cells) and one size (1 cells, not 0)",
        ),
        (
            inside(|n| n.cells("reg", &[0, 0x3fff_f000, 0x2000])),
            "/module@44000000: reg: 0x3ffff000-0x40000fff is not RAM of this machine",
        ),
        (
            d().child(module("multiboot,ramdisk", 0x440f_f000, 0x2000)),
            ": its module 0x44000000-0x440fffff overlaps bad's module 0x440ff000-0x44100fff",
        ),
        (
            inside(|n| n.cells("reg", &[0, 0x4408_0000, 0x10_0000])),
            ": its module 0x44080000-0x4417ffff overlaps good's module 0x44000000-0x440fffff",
        ),
        (
            d().child(vcpu(&[2], "0")),
            "/vcpu: id: is 2; the domain has vCPUs 0 to 1",
        ),
        (
            d().child(vcpu(&[], "0")),
            "/vcpu: id: 0 bytes long; it must be one cell: <N>",
        ),
        (
            d().child(vcpu(&[0], "0")).child(vcpu(&[0], "0")),
            "/vcpu: id: vCPU 0 has a node already",
        ),
        (
            d().child(vcpu(&[0], "3-1")),
            "/vcpu: hard-affinity: is \"3-1\"; it must be a list of CPU numbers such as \"0-2,5\"",
        ),
        (
            d().child(vcpu(&[0], "0-4")),
            "/vcpu: hard-affinity: CPUs 4 are not in pool \"Pool-0\", which has 0-3",
        ),
        (
            d().child(vcpu(&[0], "0-3").text("tarn,soft-affinity", &["9"])),
            "/vcpu: tarn,soft-affinity: CPUs 9 are not in pool \"Pool-0\", which has 0-3",
        ),
        (
            d().child(vcpu(&[0], "0-1").text("tarn,soft-affinity", &["2-3"])),
            "/vcpu: tarn,soft-affinity: is 2-3, none of which it may use; hard-affinity is 0-1",
        ),
    ];
    for (bad, want) in table {
        let blob = with(&[domain("good"), bad, domain("late")]);
        let config = read(&blob);
        assert_eq!(told(&config), [format!("refused: /chosen/bad{want}")]);
        let names: Vec<&str> = config.domains.iter().map(|d| d.name.as_str()).collect();
        assert_eq!(names, ["good", "late"]);
    }
}

#[test]
fn what_changes_no_safety_is_a_warning_told_once() {
    let odd = domain("odd")
        .cells("max_grant_frames", &[1])
        .text("xen,enhanced", &["enabled"])
        .child(node("x").text("compatible", &["y"]))
        .child(module("multiboot,module", 0x4600_0000, 0x1000))
        .child(
            node("vcpu0")
                .text("compatible", &["xen,vcpu"])
                .cells("id", &[0]),
        )
        .at("/module@44000000", |n| n.flag("xen,uefi-binary"));
    let dom0 = node("dom0").text("compatible", &["multiboot,kernel", "multiboot,module"]);
    let dom0 = dom0.cells("reg", &[0, 0x4900_0000, 0, 0x1000]);
    let blob = with(&[odd, dom0, pool("p", 9, &[0]).flag("colour")]);
    let config = read(&blob);
    assert_eq!(config.domains.len(), 1);
    assert_eq!(
        told(&config),
        [
            "warning: /chosen/p: colour: unknown property of a pool, ignored",
            "warning: /chosen/odd: max_grant_frames: unknown property of a domain, ignored",
            "warning: /chosen/odd: xen,enhanced: Tarn has no Xen event channels or grant tables; \"disabled\" or nothing is served",
            "warning: /chosen/odd/module@44000000: xen,uefi-binary: unknown property of a module, ignored",
            "warning: /chosen/odd/x: unknown sub-node of a domain, ignored",
            "warning: /chosen/odd/module@46000000: compatible: a module of no kind, ignored; add \"multiboot,kernel\", \"multiboot,ramdisk\" or \"multiboot,device-tree\"",
            "warning: /chosen/odd/vcpu0: hard-affinity: missing, so this node asks for nothing",
            "warning: /chosen/dom0: a module for Xen's dom0; Tarn's dom0 is built in, so it is left alone",
        ]
    );
}

#[test]
fn a_gicv2_machine_offers_eight_vcpus() {
    let v2 = |n: Node| {
        let cells: Vec<u32> = (0..4)
            .flat_map(|i| [0, 0x800_0000 + i * 0x1_0000, 0, 0x1000])
            .collect();
        n.text("compatible", &["arm,gic-400"]).cells("reg", &cells)
    };
    let blob = machine(4)
        .at("/gic", v2)
        .at("/chosen", |n| n.child(domain("d").cells("cpus", &[9])))
        .blob(&[]);
    assert_eq!(
        told(&read(&blob)),
        ["refused: /chosen/d: cpus: is 9; 1 to 8 vCPUs are possible here"]
    );
}

#[test]
fn names_and_numbers_of_domains_are_bounded() {
    // The second of a base name takes its whole name; dom0's is taken from the start.
    let blob = with(&[
        domain("vm@1"),
        domain("vm@2"),
        domain("dom0@3"),
        domain("dom0"),
    ]);
    let config = read(&blob);
    let names: Vec<&str> = config.domains.iter().map(|d| d.name.as_str()).collect();
    assert_eq!(names, ["vm", "vm@2", "dom0@3"]);
    assert_eq!(
        told(&config),
        ["refused: /chosen/dom0: the name \"dom0\" is taken"]
    );
    let many: Vec<Node> = (0..MAX_DOMAINS)
        .map(|i| domain(&format!("vm{i}")).cells("memory", &[0, 4096]))
        .collect();
    let blob = with(&many);
    let config = read(&blob);
    assert_eq!(config.domains.len(), MAX_DOMAINS - 1);
    assert_eq!(
        told(&config),
        ["refused: /chosen/vm127: there can be at most 127 domains"]
    );
    let hopeless: Vec<Node> = (0..1000)
        .map(|i| domain(&format!("vm{i}")).without("memory"))
        .collect();
    assert_eq!(read(&with(&hopeless)).notes.len(), config::MAX_DIAGNOSTICS);
}

#[test]
fn domains_together_have_no_more_memory_than_there_is() {
    // 1 GiB, of which dom0 has 4 MiB and the module 1 MiB.
    let big = |name: &str, kib: u32| domain(name).cells("memory", &[0, kib]);
    let all = (1 << 20) - 4096 - 1024;
    let fits = with(&[big("a", all - 4096), big("b", 4096)]);
    assert_eq!(told(&read(&fits)), [""; 0]);
    let blob = with(&[big("a", all - 4096), big("b", 4100), big("c", 4096)]);
    let config = read(&blob);
    assert_eq!(
        told(&config),
        [
            "refused: /chosen/b: memory: is 4100 KiB; 4096 KiB are left of the machine's 1048576 after what is \
             reserved, dom0 and the domains before this one"
        ]
    );
    assert_eq!(config.domains.len(), 2);
}

/// A description of its own, as a system image has it: at the start of 16 MiB at 0x4400_0000.
fn image(nodes: &[Node]) -> Vec<u8> {
    let mut chosen = node("chosen")
        .text("tarn,dom0-script", &["list\n"])
        .text("xen,xen-bootargs", &["loglevel=debug"]);
    chosen.children.extend_from_slice(nodes);
    node("").child(node("before")).child(chosen).blob(&[])
}

fn payload(kind: &str, offset: u32, size: u32) -> Node {
    node(&format!("module@{offset:x}"))
        .text("compatible", &[kind, "multiboot,module"])
        .cells("tarn,payload", &[0, offset, 0, size])
}

#[test]
fn a_system_image_has_a_tree_of_its_own() {
    let machine = with(&[domain("ignored")]);
    let board = Board::from_dtb(&machine, 0).unwrap();
    let whole = Region::new(0x4400_0000, 16 << 20).unwrap();
    let pool = node("rt")
        .text("compatible", &["xen,cpupool"])
        .cells("phandle", &[1])
        .text("tarn,cpus", &["2-3"]);
    let guest = |name: &str, module: Node| {
        node(name)
            .text("compatible", &["xen,domain"])
            .cells("memory", &[0, 65_536])
            .cells("cpus", &[1])
            .cells("domain-cpupool", &[1])
            .child(module)
    };
    let kernel = |offset, size| payload("multiboot,kernel", offset, size);
    let blob = image(&[pool.clone(), guest("a", kernel(0x1000, 0x2000))]);
    let config = Config::from_image(&blob, &board, whole).unwrap();
    assert_eq!(told(&config), [""; 0]);
    assert_eq!(pools(&config), [pair("Pool-0", "0-1"), pair("rt", "2-3")]);
    assert_eq!(
        (config.script, config.bootargs),
        ("list\n", "loglevel=debug")
    );
    assert_eq!((config.domains.len(), config.domains[0].pool), (1, 1));
    assert_eq!(
        config.domains[0].kernel.region,
        Region::new(0x4400_1000, 0x2000).unwrap()
    );

    let refused = |module: Node| {
        let blob = image(&[pool.clone(), guest("a", module)]);
        let config = Config::from_image(&blob, &board, whole).unwrap();
        assert!(config.domains.is_empty());
        told(&config).join(";")
    };
    for (module, words) in [
        (kernel(0x1000, 0), "an offset and a size"),
        (kernel(0x10, 0x1000), "modules lie between"),
        (kernel(0x1000, 16 << 20), "modules lie between"),
        (kernel(u32::MAX, u32::MAX), "modules lie between"),
        (
            kernel(0x1000, 1).cells("reg", &[0, 1, 2, 3]),
            "no loader places",
        ),
        (
            kernel(0x1000, 1).cells("tarn,payload", &[0, 1]),
            "two cells each",
        ),
    ] {
        let told = refused(module);
        assert!(told.contains(words), "{told}");
    }
    // And the other way round: a board's tree has no payload.
    let blob = with(&[guest("a", kernel(0x1000, 0x1000)).without("domain-cpupool")]);
    assert!(told(&read(&blob))[0].contains("only a system image"));
}

#[test]
fn pools_by_cpu_number() {
    let pool = |cpus: &str| {
        node("p")
            .text("compatible", &["xen,cpupool"])
            .text("tarn,cpus", &[cpus])
    };
    for (cpus, words) in [
        ("0-4", "CPUs 4 are not there; the machine has CPUs 0-3"),
        ("", "at least one"),
        ("x", "a list of CPU numbers"),
    ] {
        let blob = with(&[pool(cpus)]);
        assert!(
            told(&read(&blob))[0].contains(words),
            "{:?}",
            told(&read(&blob))
        );
    }
    let blob = with(&[pool("1,3").cells("cpupool-cpus", &[cpu(1)])]);
    assert!(told(&read(&blob))[0].contains("given by cpupool-cpus already"));
    let blob = with(&[
        pool("1,3"),
        node("q")
            .text("compatible", &["xen,cpupool"])
            .text("tarn,cpus", &["3"]),
    ]);
    assert!(told(&read(&blob))[0].contains("CPU 3 is in pool \"p\" already"));
}
