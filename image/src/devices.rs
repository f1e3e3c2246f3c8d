//! The partial device tree of a domain that is given devices: nodes of the board's tree, copied.
//!
//! Xen's passthrough.txt: `xen,path` and `xen,reg` say what is given, everything else is for the guest's driver. Registers
//! are seen where the CPUs have them, through whatever buses, and whole pages are mapped. What hangs on other nodes (resets,
//! DMA channels, pins) needs a partial tree written by hand, `device-tree`; or it stays as firmware left it, with clocks of
//! a rate that the description states.

use crate::boards::Maker;
use crate::source::nearest;
use crate::system::Device;
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
const HANGS_ON: [&str; 7] = [
    "clocks",
    "resets",
    "dmas",
    "power-domains",
    "pinctrl-0",
    "interrupts-extended",
    "interconnects",
];
/// What goes with those.
const NAMES: [&str; 5] = [
    "reset-names",
    "dma-names",
    "power-domain-names",
    "pinctrl-names",
    "interconnect-names",
];

/// The partial tree for `devices` of the board's tree; with `dma` they may reach all memory.
///
/// # Errors
/// Which of them, by number, cannot be given like that, and why.
pub fn partial(board: &[u8], devices: &[Device], dma: bool) -> Result<Vec<u8>, (usize, String)> {
    let fdt = Fdt::new(board).map_err(|e| (0, format!("the board's device tree: {e}")))?;
    let mut root = Maker::new("")
        .cells("#address-cells", &[2])
        .cells("#size-cells", &[2]);
    let mut list = Maker::new("passthrough")
        .text("compatible", &["simple-bus"])
        .flag("ranges")
        .cells("#address-cells", &[2])
        .cells("#size-cells", &[2]);
    for (n, device) in devices.iter().enumerate() {
        let clock = device.clock.as_ref().map(|c| c.value);
        if let Some(rate) = clock {
            let rate =
                u32::try_from(rate).map_err(|_| (n, format!("clock: {rate} Hz is too much")))?;
            list = list.child(
                Maker::new(&format!("clock-{n}"))
                    .text("compatible", &["fixed-clock"])
                    .cells("#clock-cells", &[0])
                    .cells("clock-frequency", &[rate])
                    .cells("phandle", &[GIC + 1 + n as u32]),
            );
        }
        let path = &device.path.value;
        let made = one(board, &fdt, path, clock.map(|_| GIC + 1 + n as u32));
        let mut made = made.map_err(|why| (n, why))?;
        if dma {
            made = made.flag("xen,force-assign-without-iommu");
        }
        list = list.child(made);
    }
    let gic = Maker::new("gic")
        .flag("interrupt-controller")
        .cells("#interrupt-cells", &[3])
        .cells("phandle", &[GIC]);
    root = root.child(gic).child(list);
    Ok(root.blob())
}

/// The node for the device at `path`; `clock` is the phandle of a fixed clock for all of its.
fn one(board: &[u8], fdt: &Fdt<'_>, path: &str, clock: Option<u32>) -> Result<Maker, String> {
    if !path.starts_with('/') || path.len() < 2 {
        return Err(format!("{path}: it must be the full path of a node, /..."));
    }
    let mut node = fdt.root();
    let mut above = String::new();
    for name in path.split('/').skip(1) {
        let Some(child) = node.children().find(|c| c.name() == name) else {
            let names = node.children().map(|c| format!("{above}/{}", c.name()));
            let names: Vec<String> = names.collect();
            let near = nearest(&format!("{above}/{name}"), names.iter().map(String::as_str));
            let near = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
            return Err(format!("the board has no node {path}{near}"));
        };
        above = format!("{above}/{name}");
        node = child;
    }
    let mut made = Maker::new(node.name());
    for property in node.properties() {
        let (key, value) = (property.name(), property.value());
        let hangs = HANGS_ON.contains(&key) || key.starts_with("pinctrl-");
        if clock.is_some() && (hangs && key != "interrupts-extended" || NAMES.contains(&key)) {
            continue;
        }
        if HANGS_ON.contains(&key) {
            return Err(format!(
                "{path} has {key}, other nodes that it needs: write a partial tree, device-tree = \"FILE.dtb\", or leave \
                 them as firmware does, {{ path = \"{path}\", clock = HZ }}"
            ));
        }
        if !LEFT_OUT.contains(&key) {
            made = made.bytes(key, value.to_vec());
        }
    }
    if let Some(clock) = clock {
        // As many as have names; a device with one clock often names none.
        let names = node.property("clock-names");
        let many = names.map_or(1, |p| p.value().iter().filter(|b| **b == 0).count());
        made = made.cells("clocks", &vec![clock; many.max(1)]);
    }
    let registers = tarn_board::config::registers(board, path).unwrap_or_default();
    if registers.is_empty() {
        return Err(format!("{path} has no registers"));
    }
    let (mut reg, mut pages) = (Vec::new(), Vec::new());
    for region in registers {
        let Some(region) = region else {
            return Err(format!(
                "{path} has registers to which its bus does not lead (ranges)"
            ));
        };
        let start = region.base() & !(PAGE - 1);
        let end = region.end().saturating_add(PAGE - 1) & !(PAGE - 1);
        reg.extend([region.base(), region.size()]);
        pages.extend([start, end.saturating_sub(start), start]);
    }
    Ok(made
        .longs("reg", &reg)
        .longs("xen,reg", &pages)
        .text("xen,path", &[path])
        .cells("interrupt-parent", &[GIC]))
}
