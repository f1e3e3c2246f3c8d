//! The partial device tree of a domain that is given devices: nodes of the board's tree, copied.
//!
//! Xen's passthrough.txt: `xen,path` and `xen,reg` say what is given, everything else is for the guest's driver. Registers
//! keep their addresses, whole pages are mapped. What hangs on other nodes (clocks, resets, DMA channels, a bus of its
//! own) cannot be copied so simply: such a device needs a partial tree written by hand, `device-tree`.

use crate::boards::Maker;
use dtoolkit::fdt::Fdt;
use dtoolkit::{Node, Property};

const PAGE: u64 = 4096;
const GIC: u32 = 1;
/// What makes no sense in the guest, or is said anew.
const LEFT_OUT: [&str; 8] = [
    "phandle",
    "linux,phandle",
    "interrupt-parent",
    "status",
    "reg",
    "xen,passthrough",
    "iommus",
    "dma-ranges",
];
/// What points at nodes that the guest does not get.
const HANGS_ON: [&str; 5] = ["clocks", "resets", "dmas", "power-domains", "pinctrl-0"];

/// The partial tree for the nodes at `paths` of the board's tree; with `dma` the devices may reach all memory.
///
/// # Errors
/// Which of the paths, by number, cannot be given like that, and why.
pub fn partial(board: &[u8], paths: &[&str], dma: bool) -> Result<Vec<u8>, (usize, String)> {
    let fdt = Fdt::new(board).map_err(|e| (0, format!("the board's device tree: {e}")))?;
    let root = fdt.root();
    let cells = |name: &str, or: usize| {
        let value = root.property(name).map(|p| p.value().to_vec());
        let value = value.and_then(|v| Some(u32::from_be_bytes(v.try_into().ok()?)));
        value.map_or(or, |n| n as usize)
    };
    let (address, size) = (cells("#address-cells", 2), cells("#size-cells", 1));
    let mut list = Maker::new("passthrough")
        .text("compatible", &["simple-bus"])
        .flag("ranges")
        .cells("#address-cells", &[2])
        .cells("#size-cells", &[2]);
    for (n, path) in paths.iter().enumerate() {
        let refuse = |why: String| Err((n, why));
        let Some(name) = path.strip_prefix('/').filter(|name| !name.is_empty()) else {
            return refuse(format!("{path}: it must be the full path of a node, /..."));
        };
        if name.contains('/') {
            return refuse(format!(
                "{path} stands below a bus; only nodes directly below the root can be copied: write a partial tree, \
                 device-tree = \"FILE.dtb\""
            ));
        }
        let Some(node) = root.children().find(|c| c.name() == name) else {
            let names: Vec<String> = root.children().map(|c| format!("/{}", c.name())).collect();
            let near = crate::source::nearest(path, names.iter().map(String::as_str));
            let near = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
            return refuse(format!("the board has no node {path}{near}"));
        };
        let mut made = Maker::new(name);
        let mut registers = Vec::new();
        for property in node.properties() {
            let (key, value) = (property.name(), property.value());
            if HANGS_ON.contains(&key) {
                return refuse(format!(
                    "{path} has {key}, other nodes that it needs: write a partial tree, device-tree = \"FILE.dtb\""
                ));
            }
            if key == "reg" {
                registers = numbers(value, address, size);
            }
            if !LEFT_OUT.contains(&key) {
                made = made.bytes(key, value.to_vec());
            }
        }
        if registers.is_empty() {
            return refuse(format!("{path} has no registers"));
        }
        let pages: Vec<u64> = registers
            .iter()
            .flat_map(|(base, size)| {
                let start = base & !(PAGE - 1);
                let end = base.saturating_add(*size).saturating_add(PAGE - 1) & !(PAGE - 1);
                [start, end.saturating_sub(start), start]
            })
            .collect();
        let reg: Vec<u64> = registers.iter().flat_map(|(b, s)| [*b, *s]).collect();
        made = made
            .longs("reg", &reg)
            .longs("xen,reg", &pages)
            .text("xen,path", &[path])
            .cells("interrupt-parent", &[GIC]);
        if dma {
            made = made.flag("xen,force-assign-without-iommu");
        }
        list = list.child(made);
    }
    let gic = Maker::new("gic")
        .flag("interrupt-controller")
        .cells("#interrupt-cells", &[3])
        .cells("phandle", &[GIC]);
    Ok(Maker::new("")
        .cells("#address-cells", &[2])
        .cells("#size-cells", &[2])
        .child(gic)
        .child(list)
        .blob())
}

/// Pairs of address and size, as many whole ones as there are.
fn numbers(value: &[u8], address: usize, size: usize) -> Vec<(u64, u64)> {
    let entry = (address + size) * 4;
    if entry == 0 || address > 2 || size > 2 {
        return Vec::new();
    }
    let number = |bytes: &[u8]| bytes.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
    value
        .chunks_exact(entry)
        .map(|e| (number(&e[..address * 4]), number(&e[address * 4..])))
        .collect()
}
