//! /cpus: which CPUs there are and how each is started.
//!
//! Binding: Linux Documentation/devicetree/bindings/arm/cpus.yaml. The boot CPU becomes number 0, the others keep the
//! order of the tree. A CPU that cannot be used is noted and left out.

use crate::discover::{Notes, error_at};
use crate::error::{BoardError, Problem};
use crate::props::{Key, number};
use crate::tree::Node;
use crate::{Conduit, CpuDesc, MAX_CPUS, MPIDR_AFFINITY, PsciDesc, Start};
use alloc::vec::Vec;

/// One place is kept for the boot CPU.
const OTHERS: usize = MAX_CPUS - 1;

/// The CPUs found so far.
pub(crate) struct Cpus {
    boot_mpidr: u64,
    boot: Option<CpuDesc>,
    // At most `OTHERS`.
    others: Vec<CpuDesc>,
    lost: bool,
}

impl Cpus {
    /// `boot_mpidr`: MPIDR_EL1 of the boot CPU.
    pub fn new(boot_mpidr: u64) -> Cpus {
        Cpus {
            boot_mpidr: boot_mpidr & MPIDR_AFFINITY,
            boot: None,
            others: Vec::with_capacity(8),
            lost: false,
        }
    }

    /// A child of /cpus.
    pub fn node(&mut self, node: &Node<'_, '_>, notes: &mut Notes) {
        if !node.props.is_text(Key::DeviceType, "cpu") {
            return;
        }
        if self.others.len() >= OTHERS && self.boot.is_some() {
            // Nothing more can be kept: no work for it either.
            if !core::mem::replace(&mut self.lost, true) {
                notes.add(node.error(
                    "",
                    Problem::TooMany {
                        max: MAX_CPUS as u32,
                    },
                ));
            }
            return;
        }
        let cells = node.parent().cells.address;
        let reg = node.props.get(Key::Reg);
        let want = "1 or 2 cells, as /cpus #address-cells says";
        let Some(mpidr) = reg
            .filter(|r| matches!(cells, 1 | 2) && r.len() == cells as usize * 4)
            .and_then(number)
        else {
            notes.add(match reg {
                Some(r) => node.error(
                    "reg",
                    Problem::BadLength {
                        is: r.len() as u32,
                        want,
                    },
                ),
                None => node.error("reg", Problem::Missing("the CPU's MPIDR affinity")),
            });
            return;
        };
        if mpidr & !MPIDR_AFFINITY != 0 {
            let want = "only affinity bits (39:32 and 23:0) of MPIDR";
            notes.add(node.error("reg", Problem::BadValue { is: mpidr, want }));
            return;
        }
        let is_boot = mpidr == self.boot_mpidr;
        // The CPU that runs this is there whatever the tree says.
        if node.here().disabled && !is_boot {
            notes.add(node.error("status", Problem::Ignored("this CPU is disabled")));
            return;
        }
        if (is_boot && self.boot.is_some()) || self.others.iter().any(|c| c.mpidr == mpidr) {
            notes.add(node.error("reg", Problem::Duplicate { value: mpidr }));
            return;
        }
        let start = match node.props.text(Key::EnableMethod) {
            // Which conduit, /psci says; it may come later.
            Some("psci") => Start::Psci(Conduit::Smc),
            Some("spin-table") => match node.props.number(Key::ReleaseAddr) {
                Some(release) if release % 8 == 0 => Start::SpinTable { release },
                Some(is) => {
                    let want = "an address aligned to 8";
                    notes.add(node.error(Key::ReleaseAddr.name(), Problem::BadValue { is, want }));
                    Start::Unknown
                }
                None => {
                    let want = "the address of the spin table's slot, 2 cells";
                    notes.add(node.error(Key::ReleaseAddr.name(), Problem::Missing(want)));
                    Start::Unknown
                }
            },
            Some(_) => {
                notes.add(node.error(
                    Key::EnableMethod.name(),
                    Problem::BadText("psci or spin-table"),
                ));
                Start::Unknown
            }
            None => Start::Unknown,
        };
        let cpu = CpuDesc {
            mpidr,
            start,
            phandle: node.props.phandle(),
            capacity: node.props.u32(Key::Capacity),
            numa: node.props.u32(Key::NumaNode),
        };
        if is_boot {
            self.boot = Some(cpu);
        } else if self.others.len() < OTHERS {
            self.others.push(cpu);
        } else if !core::mem::replace(&mut self.lost, true) {
            notes.add(node.error(
                "",
                Problem::TooMany {
                    max: MAX_CPUS as u32,
                },
            ));
        }
    }

    /// All of them, the boot CPU first.
    pub fn finish(
        self,
        psci: Option<&PsciDesc>,
        notes: &mut Notes,
    ) -> Result<Vec<CpuDesc>, BoardError> {
        let Some(boot) = self.boot else {
            let problem = match self.others.is_empty() {
                true => {
                    Problem::Missing("at least one usable child with device_type \"cpu\" and reg")
                }
                false => Problem::Missing("a child whose reg is the MPIDR of the CPU that booted"),
            };
            return Err(error_at("/cpus", "", problem));
        };
        let mut cpus = self.others;
        cpus.insert(0, boot);
        let mut without_psci = false;
        for cpu in &mut cpus {
            if let Start::Psci(conduit) = &mut cpu.start {
                match psci {
                    Some(p) => *conduit = p.conduit,
                    None => {
                        cpu.start = Start::Unknown;
                        without_psci = true;
                    }
                }
            }
        }
        if without_psci {
            notes.add(error_at(
                "/psci",
                "",
                Problem::Missing("the node that enable-method \"psci\" refers to"),
            ));
        }
        Ok(cpus)
    }
}
