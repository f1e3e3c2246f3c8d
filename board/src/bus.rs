//! From an address as a node writes it to the address the CPUs use: `reg` entries, cells, `ranges`.
//!
//! Devicetree Specification v0.4, 2.3.5-2.3.8. Cells and the interrupt parent are taken from the nearest ancestor that
//! states them, as Linux does. Bounded: `MAX_RANGES` entries a bus, the levels of a tree.

use crate::error::Problem;
use crate::props::Key;
use crate::region::Region;
use crate::tree::{Node, be32};

/// Most `ranges` entries of a bus that are looked at.
const MAX_RANGES: usize = 1024;

/// How many cells addresses and sizes of a node's children have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cells {
    /// `#address-cells`.
    pub address: u32,
    /// `#size-cells`.
    pub size: u32,
}

impl Cells {
    /// Takes a property into account, if it is one of the two.
    pub fn learn(&mut self, name: &str, value: &[u8]) {
        match (name, value.len()) {
            ("#address-cells", 4) => self.address = be32(value).unwrap_or(self.address),
            ("#size-cells", 4) => self.size = be32(value).unwrap_or(self.size),
            _ => {}
        }
    }

    /// Bytes of one entry of a child's `reg`.
    pub fn entry(self) -> usize {
        (self.address as usize)
            .saturating_add(self.size as usize)
            .saturating_mul(4)
    }
}

/// One step of the path from the root to a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Level<'a> {
    /// The node's name as written; whether it is text has not been checked.
    pub name: &'a [u8],
    /// Cells of its children.
    pub cells: Cells,
    /// `ranges`: `Some(&[])` maps one to one, `None` not at all.
    pub ranges: Option<&'a [u8]>,
    /// phandle of the interrupt controller its interrupts go to; 0 if nobody says.
    pub interrupt_parent: u32,
    /// It or an ancestor is disabled.
    pub disabled: bool,
}

impl<'a> Level<'a> {
    /// The root before its properties are read: the specification's defaults.
    pub fn root() -> Level<'a> {
        Level {
            name: b"",
            cells: Cells {
                address: 2,
                size: 1,
            },
            ranges: Some(&[]),
            interrupt_parent: 0,
            disabled: false,
        }
    }

    /// A child before its properties are read.
    pub fn below(parent: &Level<'a>, name: &'a [u8]) -> Level<'a> {
        Level {
            name,
            ranges: None,
            ..*parent
        }
    }
}

/// Takes a number of `cells` cells off the front. `None` if it does not fit in 64 bits or the list is too short.
pub(crate) fn take(list: &mut &[u8], cells: u32) -> Option<u64> {
    if cells > 4 {
        return None;
    }
    let mut value = 0u64;
    for _ in 0..cells {
        let (cell, rest) = list.split_at_checked(4)?;
        if value >> 32 != 0 {
            return None;
        }
        value = value << 32 | u64::from(be32(cell)?);
        *list = rest;
    }
    Some(value)
}

/// The entries of a `reg` of a child of `parent`, not translated. An entry that does not fit in 64 bits, a rest that
/// is no whole entry, and cells of 0 or beyond 4 end it.
pub(crate) fn reg(value: &[u8], parent: Cells) -> impl Iterator<Item = (u64, u64)> {
    let mut rest = value;
    core::iter::from_fn(move || {
        if parent.address == 0 {
            return None;
        }
        Some((
            take(&mut rest, parent.address)?,
            take(&mut rest, parent.size)?,
        ))
    })
}

/// Translates entry `(address, size)` of a `reg` of the last of `levels` to where the CPUs see it.
pub(crate) fn translate(
    levels: &[Level<'_>],
    (address, size): (u64, u64),
) -> Result<Region, Problem> {
    let want = "an address and a size of at least 1 within 64 bits";
    let mut region = Region::new(address, size).ok_or(Problem::BadValue { is: size, want })?;
    // The buses: every ancestor but the root.
    for i in (1..levels.len().saturating_sub(1)).rev() {
        region = through(&levels[i], levels[i - 1].cells, region)?;
    }
    Ok(region)
}

/// Where the CPUs see the registers of `node`: the first entry of its `reg`.
pub(crate) fn registers(node: &Node<'_, '_>) -> Result<Region, Problem> {
    let reg = node.props.get(Key::Reg);
    let entry = reg.and_then(|value| self::reg(value, node.parent().cells).next());
    translate(
        node.levels,
        entry.ok_or(Problem::Missing("the address of its registers"))?,
    )
}

/// One level up: from `bus`'s children's addresses to those of its own siblings.
fn through(bus: &Level<'_>, parent: Cells, region: Region) -> Result<Region, Problem> {
    let not_mapped = Problem::NotMapped {
        address: region.base(),
    };
    let mut ranges = match bus.ranges {
        None => return Err(not_mapped),
        Some([]) => return Ok(region),
        Some(list) => list,
    };
    for _ in 0..MAX_RANGES {
        if bus.cells.address == 0 || ranges.is_empty() {
            break;
        }
        let entry = (|| {
            let child = take(&mut ranges, bus.cells.address)?;
            let parent = take(&mut ranges, parent.address)?;
            let size = take(&mut ranges, bus.cells.size)?;
            Some((child, parent, size))
        })();
        let Some((child, up, size)) = entry else {
            break;
        };
        // A window of size 0 holds nothing.
        let Some(window) = Region::new(child, size) else {
            continue;
        };
        if window.covers(&region) {
            let base = up.checked_add(region.base() - child).ok_or(not_mapped)?;
            return Region::new(base, region.size()).ok_or(not_mapped);
        }
    }
    Err(not_mapped)
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::vec::Vec;

    fn bytes(cells: &[u32]) -> Vec<u8> {
        cells.iter().flat_map(|c| c.to_be_bytes()).collect()
    }

    fn level<'a>(address: u32, size: u32, ranges: Option<&'a [u8]>) -> Level<'a> {
        Level {
            cells: Cells { address, size },
            ranges,
            ..Level::root()
        }
    }

    #[test]
    fn translates_at_every_level() {
        // The Pi 4: <0x7e000000 0x0 0xfe000000 0x01800000>, <0x40000000 0x0 0xff800000 0x00800000>, root 2/1.
        let soc = bytes(&[
            0x7e00_0000,
            0,
            0xfe00_0000,
            0x180_0000,
            0x4000_0000,
            0,
            0xff80_0000,
            0x80_0000,
        ]);
        let inner = bytes(&[0x100, 0x4004_0000, 0x1_0000]);
        let levels = [
            level(2, 1, Some(&[])),
            level(1, 1, Some(&soc)),
            level(1, 1, None),
        ];
        let gicd = translate(&levels, (0x4004_1000, 0x1000)).unwrap();
        assert_eq!(gicd, Region::new(0xff84_1000, 0x1000).unwrap());
        let levels = [
            levels[0],
            levels[1],
            level(1, 1, Some(&inner)),
            level(1, 1, None),
        ];
        assert_eq!(translate(&levels, (0x1100, 0x1000)).unwrap(), gicd);
        assert_eq!(
            translate(&levels, (0x10, 4)),
            Err(Problem::NotMapped { address: 0x10 })
        );
        // Half in the window is not in the window.
        assert_eq!(
            translate(&levels, (0x100, 0x1_0001)),
            Err(Problem::NotMapped { address: 0x100 })
        );
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let wide = bytes(&[1, 0, 0, 0x1000]);
        assert_eq!(
            reg(
                &wide,
                Cells {
                    address: 3,
                    size: 1
                }
            )
            .next(),
            None
        );
        let pci = bytes(&[0, 0, 0x2000, 0x1000]);
        assert_eq!(
            reg(
                &pci,
                Cells {
                    address: 3,
                    size: 1
                }
            )
            .next(),
            Some((0x2000, 0x1000))
        );
        assert_eq!(
            reg(
                &pci,
                Cells {
                    address: 0,
                    size: 0
                }
            )
            .next(),
            None
        );
        assert_eq!(
            reg(
                &pci,
                Cells {
                    address: 5,
                    size: 1
                }
            )
            .next(),
            None
        );
        assert_eq!(
            reg(
                &pci[..15],
                Cells {
                    address: 3,
                    size: 1
                }
            )
            .next(),
            None
        );
        let root = [level(2, 2, Some(&[])), level(2, 2, None)];
        assert!(translate(&root, (u64::MAX, 1)).is_err());
        assert!(translate(&root, (0, 0)).is_err());
    }

    #[test]
    fn a_range_that_would_wrap_is_no_range() {
        let up = bytes(&[0, 0, u32::MAX, u32::MAX, 0, 0x1000]);
        let levels = [
            level(2, 2, Some(&[])),
            level(2, 2, Some(&up)),
            level(2, 2, None),
        ];
        assert!(translate(&levels, (0x800, 0x10)).is_err());
    }
}
