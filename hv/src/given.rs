//! What a domain of the configuration is given of the machine: devices, and memory of its own.
//!
//! Decided once, at boot, before any domain runs; what is wrong refuses the domain and names node and property.

use crate::arch::image;
use crate::domain::ram;
use crate::domain::recipe::Recipe;
use crate::{irq, payload};
use alloc::format;
use alloc::string::String;
use board::config::{Devices, Diagnostic, DomainConfig, Severity};
use board::{Board, Region};
use vdev::vgic::Version;

/// SPIs of a domain's GIC that has interrupts up to SPI `n - 1`.
pub fn spis(n: u32) -> u32 {
    n.max(32).next_multiple_of(32).min(960)
}

fn refuse(d: &DomainConfig, property: &str, message: String) -> Diagnostic {
    Diagnostic {
        severity: Severity::Refused,
        node: d.node.clone(),
        property: property.into(),
        message,
    }
}

/// Completes recipe `r` of `d` with its devices and memory. `tree` is the machine's, `given` what others have, `marks`
/// whether the configuration stands in that tree.
pub fn to(
    r: &mut Recipe,
    d: &DomainConfig,
    tree: &'static [u8],
    board: &Board,
    given: &[Devices],
    marks: bool,
) -> Result<(), Diagnostic> {
    let used = [
        Region::between(image::all().start as u64, image::all().end as u64),
        payload::range().and_then(|p| Region::between(p.start as u64, p.end as u64)),
        Region::new(tree.as_ptr() as u64, tree.len() as u64),
    ];
    for bank in &r.static_mem {
        if let Some(u) = used.iter().flatten().find(|u| u.overlaps(bank)) {
            let message = format!("{bank} overlaps {u}, where Tarn or the device tree lies");
            return Err(refuse(d, "xen,static-mem", message));
        }
    }
    if let Some(partial) = &r.device_tree {
        let (devices, notes) =
            board::config::devices(tree, board, d, partial.bytes(), given, marks)?;
        notes.iter().for_each(|n| log::warn!("{n}"));
        if let Some(last) = devices.irqs.iter().map(|i| i.intid - 31).max() {
            if last > 960 {
                let message = "an interrupt above SPI 959, which no guest's GIC has here";
                return Err(refuse(d, "", message.into()));
            }
            r.spis = r.spis.max(spis(last));
        }
        for path in &devices.paths {
            log::warn!(
                "domain {}: is given {path}; no IOMMU confines it: what it writes by DMA can be anywhere",
                d.name
            );
        }
        if !devices.paths.is_empty() && !r.direct_map {
            log::warn!(
                "domain {}: without direct-map its addresses are not the bus's: devices with DMA would not work",
                d.name
            );
        }
        r.devices = devices;
    }
    if r.direct_map && r.static_mem.is_empty() {
        let v3 = irq::guest_version() == Version::V3;
        match ram::set_aside(r, v3) {
            Some(bank) => r.static_mem.push(bank),
            None => {
                let message = format!(
                    "no free piece of {} KiB at a place it can see",
                    r.memory_kib
                );
                return Err(refuse(d, "direct-map", message));
            }
        }
    }
    Ok(())
}
