//! Memory nodes, /reserved-memory, /memreserve/: what RAM there is and what of it is spoken for.
//!
//! Losing a bank costs memory and is noted; losing a reservation would hand out memory in use and is an error.
//! Bindings: Devicetree Specification v0.4, 3.4 and 3.5.

use crate::bus::reg;
use crate::discover::{Notes, error_at};
use crate::error::{BoardError, Problem};
use crate::props::Key;
use crate::region::{Region, normalize};
use crate::tree::Node;
use crate::{MAX_RAM, MAX_RESERVED, Reserved, ReservedBy};
use alloc::vec::Vec;

/// Banks and reservations found so far.
#[derive(Default)]
pub(crate) struct Memory {
    ram: Vec<Region>,
    /// Banks as the tree has them, each with its NUMA node.
    pub nodes: Vec<(Region, u32)>,
    reserved: Vec<Reserved>,
    lost: bool,
}

impl Memory {
    /// An entry of the memory reservation block.
    pub fn reserve_entry(&mut self, (base, size): (u64, u64)) -> Result<(), BoardError> {
        match Region::new(base, size) {
            Some(region) => self.reserve(region, ReservedBy::Header, || {
                error_at("/", "/memreserve/", full())
            }),
            // Nothing reserved is nothing lost.
            None if size == 0 => Ok(()),
            None => {
                let want = "an address and a size within 64 bits";
                Err(error_at(
                    "/",
                    "/memreserve/",
                    Problem::BadValue { is: size, want },
                ))
            }
        }
    }

    /// One more reservation, unless it is a boot module or shared memory that another domain names too; `error` says where the one
    /// came from that did not fit.
    pub fn reserve(
        &mut self,
        region: Region,
        why: ReservedBy,
        error: impl FnOnce() -> BoardError,
    ) -> Result<(), BoardError> {
        let new = Reserved { region, why };
        if matches!(why, ReservedBy::Module | ReservedBy::Shared) && self.reserved.contains(&new) {
            return Ok(());
        }
        if self.reserved.len() >= MAX_RESERVED {
            return Err(error());
        }
        self.reserved.push(new);
        Ok(())
    }

    /// Whether a child of the root is a memory node.
    pub fn is_bank(&self, node: &Node<'_, '_>) -> bool {
        node.props.is_text(Key::DeviceType, "memory")
    }

    /// A memory node.
    pub fn bank_node(&mut self, node: &Node<'_, '_>, notes: &mut Notes) {
        if node.here().disabled {
            return;
        }
        let Some(value) = node.props.get(Key::Reg) else {
            notes.add(node.error("reg", Problem::Missing("the banks of RAM")));
            return;
        };
        for entry in reg(value, node.parent().cells) {
            match Region::new(entry.0, entry.1) {
                Some(_) if self.ram.len() >= MAX_RAM => {
                    if !core::mem::replace(&mut self.lost, true) {
                        notes.add(node.error(
                            "reg",
                            Problem::TooMany {
                                max: MAX_RAM as u32,
                            },
                        ));
                    }
                    return;
                }
                Some(bank) => {
                    self.ram.push(bank);
                    let node = node.props.u32(Key::NumaNode).unwrap_or(0);
                    self.nodes.push((bank, node));
                }
                // Firmware is to fill it in and did not.
                None if entry.1 == 0 => {
                    notes.add(node.error("reg", Problem::Ignored("a bank of size 0")))
                }
                None => {
                    let want = "an address and a size within 64 bits";
                    notes.add(node.error("reg", Problem::BadValue { is: entry.1, want }));
                }
            }
        }
        let entry = node.parent().cells.entry();
        if entry == 0 || value.len() % entry != 0 || value.is_empty() {
            let want = "whole entries of #address-cells and #size-cells of the root";
            notes.add(node.error(
                "reg",
                Problem::BadLength {
                    is: value.len() as u32,
                    want,
                },
            ));
        }
    }

    /// A child of /reserved-memory.
    pub fn reserved_node(
        &mut self,
        node: &Node<'_, '_>,
        notes: &mut Notes,
    ) -> Result<(), BoardError> {
        if node.here().disabled {
            return Ok(());
        }
        let Some(value) = node.props.get(Key::Reg) else {
            if node.props.has(Key::Size) {
                notes.add(node.error(
                    "size",
                    Problem::Ignored("asks for memory anywhere; only reg is honoured"),
                ));
            }
            return Ok(());
        };
        let why = ReservedBy::Node {
            no_map: node.props.has(Key::NoMap),
        };
        let mut bytes = 0;
        let cells = node.parent().cells;
        for entry in reg(value, cells) {
            bytes += cells.entry();
            if entry.1 == 0 {
                continue;
            }
            // Not translated: Linux takes these addresses as the CPUs' own too, and many trees lack `ranges` here.
            let want = "an address and a size within 64 bits";
            let problem = Problem::BadValue { is: entry.1, want };
            let region = Region::new(entry.0, entry.1).ok_or_else(|| node.error("reg", problem))?;
            self.reserve(region, why, || node.error("reg", full()))?;
        }
        if bytes != value.len() {
            let want = "whole entries of #address-cells and #size-cells of /reserved-memory";
            return Err(node.error(
                "reg",
                Problem::BadLength {
                    is: value.len() as u32,
                    want,
                },
            ));
        }
        Ok(())
    }

    /// Banks, sorted and joined; reservations as found.
    #[allow(clippy::type_complexity)]
    pub fn finish(mut self) -> Result<(Vec<Region>, Vec<Reserved>), BoardError> {
        normalize(&mut self.ram);
        if self.ram.is_empty() {
            let want =
                "a child of the root with device_type \"memory\" and a bank that is not empty";
            return Err(error_at("/memory", "reg", Problem::Missing(want)));
        }
        Ok((self.ram, self.reserved))
    }
}

/// No room for a reservation.
pub(crate) fn full() -> Problem {
    Problem::TooMany {
        max: MAX_RESERVED as u32,
    }
}
