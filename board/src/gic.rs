//! The interrupt controller's node.
//!
//! The first GIC of the tree that is not disabled and has a distributor is the machine's; others are noted. Without
//! its virtualization parts it cannot serve guests and is refused by name. Bindings as in irq.rs.

use crate::bus::{reg, translate};
use crate::discover::{Notes, error_at};
use crate::error::{BoardError, Problem};
use crate::irq::{Lines, RawIrqs};
use crate::props::Key;
use crate::region::Region;
use crate::tree::Node;
use crate::{GicDesc, MAX_REDISTRIBUTORS};
use alloc::vec::Vec;

/// Architecture versions with a driver of their own.
#[derive(Clone, Copy)]
pub(crate) enum Version {
    /// Memory-mapped CPU interface.
    V2,
    /// CPU interface in system registers; v4 too.
    V3,
}

/// The GIC, once found.
#[derive(Default)]
pub(crate) struct Gic {
    found: Option<(GicDesc, Lines)>,
}

impl Gic {
    /// A GIC's node.
    pub fn node(
        &mut self,
        node: &Node<'_, '_>,
        version: Version,
        notes: &mut Notes,
    ) -> Result<(), BoardError> {
        if self.found.is_some() {
            notes.add(node.error(
                "compatible",
                Problem::Ignored("a second GIC; the first one is used"),
            ));
            return Ok(());
        }
        let cells = match node.props.u32(Key::InterruptCells) {
            Some(n @ 3..=4) => n as usize,
            Some(n) => {
                let problem = Problem::BadValue {
                    is: u64::from(n),
                    want: "3 (or 4)",
                };
                return Err(node.error(Key::InterruptCells.name(), problem));
            }
            None => return Err(node.error(Key::InterruptCells.name(), Problem::Missing("3"))),
        };
        let lines = Lines {
            phandle: node.props.phandle(),
            cells,
        };
        // Only asked for once the registers are there: a GIC without GICH has no maintenance interrupt either.
        let maintenance = || {
            let irqs = RawIrqs::of(node);
            irqs.nth(0, lines)
                .and_then(|irq| irq.ok_or(Problem::Missing("the maintenance interrupt")))
                .map_err(|problem| node.error(irqs.property(), problem))
        };
        let desc = match version {
            Version::V2 => GicDesc::V2 {
                gicd: region(node, 0, "GICD, GICC, GICH and GICV; GICD is not there")?,
                gicc: region(node, 1, "GICD, GICC, GICH and GICV; GICC is not there")?,
                gich: region(
                    node,
                    2,
                    "GICD, GICC, GICH and GICV; GICH is not there, so no guest can run",
                )?,
                gicv: region(
                    node,
                    3,
                    "GICD, GICC, GICH and GICV; GICV is not there, so no guest can run",
                )?,
                maintenance: maintenance()?,
            },
            Version::V3 => {
                let count = match node.props.u32(Key::RedistRegions) {
                    None => 1,
                    Some(n) if n >= 1 && n as usize <= MAX_REDISTRIBUTORS => n as usize,
                    Some(n) => {
                        let problem = Problem::BadValue {
                            is: u64::from(n),
                            want: "1 to 32 regions",
                        };
                        return Err(node.error(Key::RedistRegions.name(), problem));
                    }
                };
                let mut gicr = Vec::with_capacity(count);
                for i in 0..count {
                    gicr.push(region(node, 1 + i, "GICD and every redistributor region")?);
                }
                let stride = match node.props.get(Key::RedistStride) {
                    None => None,
                    Some(value) => match node.props.number(Key::RedistStride) {
                        Some(n) if n >= 0x2_0000 && n % 0x1_0000 == 0 => Some(n),
                        Some(is) => {
                            let want = "a multiple of 64 KiB, at least 128 KiB";
                            return Err(node
                                .error(Key::RedistStride.name(), Problem::BadValue { is, want }));
                        }
                        None => {
                            let is = value.len() as u32;
                            let problem = Problem::BadLength {
                                is,
                                want: "1 or 2 cells",
                            };
                            return Err(node.error(Key::RedistStride.name(), problem));
                        }
                    },
                };
                GicDesc::V3 {
                    gicd: region(node, 0, "GICD and every redistributor region")?,
                    gicr,
                    stride,
                    // Behind the redistributors: GICC, GICH, GICV, where the hardware has them.
                    gicv: region(node, 1 + count + 2, "").ok(),
                    maintenance: maintenance()?,
                }
            }
        };
        self.found = Some((desc, lines));
        Ok(())
    }

    /// The GIC and how its interrupts are written.
    pub fn finish(self) -> Result<(GicDesc, Lines), BoardError> {
        self.found.ok_or_else(|| {
            let want =
                "an interrupt controller compatible with \"arm,gic-400\" (GICv2) or \"arm,gic-v3\"";
            error_at("/", "compatible", Problem::Missing(want))
        })
    }
}

fn region(node: &Node<'_, '_>, n: usize, want: &'static str) -> Result<Region, BoardError> {
    let entry = node
        .props
        .get(Key::Reg)
        .and_then(|value| reg(value, node.parent().cells).nth(n));
    match entry {
        Some(entry) => translate(node.levels, entry).map_err(|problem| node.error("reg", problem)),
        None => Err(node.error("reg", Problem::Missing(want))),
    }
}
