//! One walk over the tree, and the board it makes.
//!
//! During the walk each node is offered to the part that knows its kind; what depends on nodes that may come later
//! (the GIC's phandle, /psci, /aliases) is kept raw and settled in `finish`. Neighbours: cpus.rs, memory.rs, gic.rs,
//! power.rs, uart.rs and chosen.rs hold the parts, irq.rs decodes interrupts.

use crate::bus::Level;
use crate::chosen::Chosen;
use crate::cpus::Cpus;
use crate::error::{BoardError, NodePath, Note, Problem};
use crate::gic::Gic;
use crate::memory::Memory;
use crate::power::Power;
use crate::props::Key;
use crate::timer::Timer;
use crate::tree::{Blob, Node, Visit};
use crate::uart::Uarts;
use crate::{Board, List, MAX_NOTES};

/// What was left out, as far as there is room.
#[derive(Default)]
pub(crate) struct Notes {
    list: List<Note, MAX_NOTES>,
    lost: u32,
}

impl Notes {
    /// One more.
    pub fn add(&mut self, note: Note) {
        if self.list.push(note).is_err() {
            self.lost = self.lost.saturating_add(1);
        }
    }
}

struct Finder<'a> {
    model: &'a str,
    cpus: Cpus,
    memory: Memory,
    gic: Gic,
    timer: Timer<'a>,
    power: Power,
    uarts: Uarts<'a>,
    chosen: Chosen<'a>,
    notes: Notes,
}

impl<'a> Visit<'a> for Finder<'a> {
    fn wants(&mut self, _: &[Level<'a>]) -> bool {
        true
    }

    fn node(&mut self, node: &Node<'a, '_>) -> Result<(), BoardError> {
        let notes = &mut self.notes;
        let top = node.levels.get(1).map_or("", |l| l.name.base);
        match (node.depth(), top) {
            (0, _) => {
                self.model = node.props.text(Key::Model).unwrap_or("");
                Ok(())
            }
            (1, "cpus") => Ok(()),
            (2, "cpus") => self.cpus.node(node, notes),
            (_, "cpus") => Ok(()),
            (1, "aliases") => {
                self.uarts.aliases = Some(node.raw());
                Ok(())
            }
            (_, "chosen") => self.chosen.node(node, &mut self.memory, notes),
            (2, "reserved-memory") => self.memory.reserved_node(node, notes),
            (1, _) if self.memory.bank_node(node, notes)? => Ok(()),
            _ => {
                if !node.here().disabled && node.props.has(Key::Compatible) {
                    let _known = self.gic.node(node, notes)?
                        || self.timer.node(node)
                        || self.uarts.node(node, notes)
                        || self.power.node(node)?;
                }
                Ok(())
            }
        }
    }
}

impl<'a> Board<'a> {
    /// Reads a machine's tree. `boot_mpidr` is MPIDR_EL1 of the CPU that runs this: it becomes CPU 0.
    ///
    /// Needs no heap. Time is linear in the size of the tree, apart from at most 1024 steps for each address that is
    /// translated through a bus. Errors name the node and the property that make the tree unusable: no CPU, no RAM,
    /// no GIC that serves guests, no timer interrupt, a malformed blob. What can be left out is left out with a note.
    pub fn from_dtb(dtb: &'a [u8], boot_mpidr: u64) -> Result<Board<'a>, BoardError> {
        let blob = Blob::new(dtb)?;
        let mut finder = Finder {
            model: "",
            cpus: Cpus::new(boot_mpidr),
            memory: Memory::default(),
            gic: Gic::default(),
            timer: Timer::default(),
            power: Power::default(),
            uarts: Uarts::default(),
            chosen: Chosen::default(),
            notes: Notes::default(),
        };
        for entry in blob.reservations() {
            finder.memory.reserve_entry(entry?)?;
        }
        blob.walk(&mut finder)?;
        finder.finish()
    }
}

impl<'a> Finder<'a> {
    fn finish(self) -> Result<Board<'a>, BoardError> {
        let mut notes = self.notes;
        let psci = self.power.psci;
        let cpus = self.cpus.finish(psci.as_ref(), &mut notes)?;
        let (ram, reserved) = self.memory.finish()?;
        let (gic, lines) = self.gic.finish()?;
        let timer = self.timer.finish(lines)?;
        let uart = self.uarts.finish(self.chosen.stdout, lines, &mut notes)?;
        Ok(Board {
            model: self.model,
            cpus,
            ram,
            reserved,
            gic,
            timer,
            uart,
            psci,
            bootargs: self.chosen.hypervisor_bootargs(),
            rng_seed: self.chosen.rng_seed,
            notes: notes.list,
            notes_lost: notes.lost,
        })
    }
}

/// An error about a node that is not there or no longer at hand.
pub(crate) fn error_at(path: &str, property: &'static str, problem: Problem) -> BoardError {
    BoardError {
        node: NodePath::from_text(path),
        property,
        problem,
    }
}
