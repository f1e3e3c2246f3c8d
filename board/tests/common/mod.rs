//! Small trees for tests: a writer of device-tree blobs, and a machine that is complete so that one thing at a time
//! can be taken away or spoiled.

#![allow(dead_code)]

/// A node: name, properties, children.
#[derive(Clone, Default)]
pub struct Node {
    pub name: String,
    pub props: Vec<(String, Vec<u8>)>,
    pub children: Vec<Node>,
}

/// A node of this name.
pub fn node(name: &str) -> Node {
    Node {
        name: name.into(),
        ..Node::default()
    }
}

impl Node {
    /// With a property of bytes, replacing one of that name.
    pub fn bytes(mut self, name: &str, value: &[u8]) -> Node {
        self.set(name, value);
        self
    }

    /// With a property of cells.
    pub fn cells(self, name: &str, cells: &[u32]) -> Node {
        let value: Vec<u8> = cells.iter().flat_map(|c| c.to_be_bytes()).collect();
        self.bytes(name, &value)
    }

    /// With a property of strings.
    pub fn text(self, name: &str, list: &[&str]) -> Node {
        let value: Vec<u8> = list.iter().flat_map(|s| s.bytes().chain([0])).collect();
        self.bytes(name, &value)
    }

    /// With an empty property.
    pub fn flag(self, name: &str) -> Node {
        self.bytes(name, &[])
    }

    /// With a child.
    pub fn child(mut self, child: Node) -> Node {
        self.children.push(child);
        self
    }

    pub fn set(&mut self, name: &str, value: &[u8]) {
        match self.props.iter_mut().find(|(n, _)| n == name) {
            Some((_, v)) => *v = value.to_vec(),
            None => self.props.push((name.into(), value.to_vec())),
        }
    }

    /// Changes the node at `path` ("/soc/gic"), which must be there.
    pub fn at(mut self, path: &str, change: impl FnOnce(Node) -> Node) -> Node {
        let mut here = &mut self;
        for name in path.split('/').filter(|p| !p.is_empty()) {
            here = here
                .children
                .iter_mut()
                .find(|c| c.name == name)
                .unwrap_or_else(|| panic!("no {path}"));
        }
        *here = change(std::mem::take(here));
        self
    }

    /// Without a property.
    pub fn without(mut self, name: &str) -> Node {
        let before = self.props.len();
        self.props.retain(|(n, _)| n != name);
        assert!(self.props.len() < before, "no {name}");
        self
    }

    /// Without a child.
    pub fn without_child(mut self, name: &str) -> Node {
        let before = self.children.len();
        self.children.retain(|c| c.name != name);
        assert!(self.children.len() < before, "no {name}");
        self
    }

    /// As a blob, this node being the root, with these entries of the memory reservation block.
    pub fn blob(&self, reservations: &[(u64, u64)]) -> Vec<u8> {
        let (mut structs, mut strings) = (Vec::new(), Vec::new());
        self.write(&mut structs, &mut strings);
        structs.extend(9u32.to_be_bytes());
        let mut reserve = Vec::new();
        for (base, size) in reservations.iter().chain(&[(0, 0)]) {
            reserve.extend(base.to_be_bytes());
            reserve.extend(size.to_be_bytes());
        }
        let at = |n: usize| n as u32;
        let (r, s) = (40, 40 + reserve.len());
        let t = s + structs.len();
        let total = t + strings.len();
        let header = [
            0xd00d_feed,
            at(total),
            at(s),
            at(t),
            r,
            17,
            16,
            0,
            at(strings.len()),
            at(structs.len()),
        ];
        let mut blob: Vec<u8> = header.iter().flat_map(|w| w.to_be_bytes()).collect();
        blob.extend(reserve);
        blob.extend(structs);
        blob.extend(strings);
        blob
    }

    fn write(&self, structs: &mut Vec<u8>, strings: &mut Vec<u8>) {
        fn word(to: &mut Vec<u8>, w: u32) {
            to.extend(w.to_be_bytes());
        }
        fn pad(to: &mut Vec<u8>) {
            to.resize(to.len().next_multiple_of(4), 0);
        }
        word(structs, 1);
        structs.extend(self.name.bytes());
        structs.push(0);
        pad(structs);
        for (name, value) in &self.props {
            let mut wanted = name.clone().into_bytes();
            wanted.push(0);
            let offset = strings
                .windows(wanted.len())
                .position(|w| w == wanted)
                .unwrap_or_else(|| {
                    strings.extend(&wanted);
                    strings.len() - wanted.len()
                });
            word(structs, 3);
            word(structs, value.len() as u32);
            word(structs, offset as u32);
            structs.extend(value);
            pad(structs);
        }
        for child in &self.children {
            child.write(structs, strings);
        }
        word(structs, 2);
    }
}

/// phandle of the GIC in `machine`.
pub const GIC: u32 = 1;
/// phandle of CPU `n`.
pub const fn cpu(n: u32) -> u32 {
    0x100 + n
}

/// A domain with one vCPU, 64 MiB and a vPL011; addresses and sizes of its modules have `cells` each.
pub fn small_domain(name: &str, cells: u32) -> Node {
    node(name)
        .text("compatible", &["xen,domain"])
        .cells("#address-cells", &[cells])
        .cells("#size-cells", &[cells])
        .cells("memory", &[0, 65_536])
        .cells("cpus", &[1])
        .flag("vpl011")
}

/// A complete machine: `cpus` CPUs, 1 GiB of RAM at 0x4000_0000, GICv3, timer, PSCI, PL011 behind a bus, /chosen.
pub fn machine(cpus: u32) -> Node {
    let mut list = node("cpus")
        .cells("#address-cells", &[1])
        .cells("#size-cells", &[0]);
    for n in 0..cpus {
        let one = node(&format!("cpu@{n:x}"))
            .text("device_type", &["cpu"])
            .text("compatible", &["arm,armv8"])
            .cells("reg", &[n])
            .text("enable-method", &["psci"])
            .cells("phandle", &[cpu(n)]);
        list = list.child(one);
    }
    let irqs: Vec<u32> = [13, 14, 11, 10].iter().flat_map(|n| [1, *n, 4]).collect();
    node("")
        .cells("#address-cells", &[2])
        .cells("#size-cells", &[2])
        .cells("interrupt-parent", &[GIC])
        .text("model", &["test"])
        .child(list)
        .child(
            node("memory@40000000")
                .text("device_type", &["memory"])
                .cells("reg", &[0, 0x4000_0000, 0, 0x4000_0000]),
        )
        .child(
            node("gic")
                .text("compatible", &["arm,gic-v3"])
                .cells("phandle", &[GIC])
                .cells("#interrupt-cells", &[3])
                .cells("interrupts", &[1, 9, 4])
                .cells(
                    "reg",
                    &[0, 0x800_0000, 0, 0x1_0000, 0, 0x80a_0000, 0, 0x100_0000],
                ),
        )
        .child(
            node("timer")
                .text("compatible", &["arm,armv8-timer"])
                .cells("interrupts", &irqs),
        )
        .child(
            node("psci")
                .text("compatible", &["arm,psci-1.0"])
                .text("method", &["smc"]),
        )
        .child(
            node("soc")
                .cells("#address-cells", &[1])
                .cells("#size-cells", &[1])
                .cells("ranges", &[0x1000_0000, 0, 0x900_0000, 0x10_0000])
                .child(
                    node("uart@10000000")
                        .text("compatible", &["arm,pl011", "arm,primecell"])
                        .cells("reg", &[0x1000_0000, 0x1000])
                        .cells("interrupts", &[0, 1, 4]),
                ),
        )
        .child(node("chosen").text("stdout-path", &["/soc/uart@10000000"]))
}
