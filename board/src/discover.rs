//! One walk over the tree, and the board it makes.
//!
//! During the walk each node is offered to the part that knows its kind; what depends on nodes that may come later
//! (the GIC's phandle, /psci, /aliases) is kept raw and settled in `finish`. Neighbours: cpus.rs, memory.rs, gic.rs,
//! power.rs, uart.rs and chosen.rs hold the parts, irq.rs decodes interrupts.

use crate::chosen::Chosen;
use crate::cpus::Cpus;
use crate::error::{BoardError, NodePath, Note, Problem};
use crate::gic::{self, Gic};
use crate::irq::Lines;
use crate::memory::Memory;
use crate::power::Power;
use crate::props::Key;
use crate::timer::Timer;
use crate::tree::{Blob, Node};
use crate::uart::Uarts;
use crate::{Board, MAX_NOTES, PsciVersion, UartDesc, UartKind};
use alloc::vec::Vec;

/// What was left out, as far as there is room.
#[derive(Default)]
pub(crate) struct Notes {
    list: Vec<Note>,
    lost: u32,
}

impl Notes {
    /// One more.
    pub fn add(&mut self, note: Note) {
        if self.list.len() < MAX_NOTES {
            self.list.push(note);
        } else {
            self.lost = self.lost.saturating_add(1);
        }
    }
}

/// What a node can be, by its `compatible`.
#[derive(Clone, Copy)]
enum Kind {
    Gic(gic::Version),
    Timer,
    Uart(UartKind),
    Psci(PsciVersion),
    Watchdog,
}

/// The probe table: whoever adds a device adds a row.
const KINDS: &[(&str, Kind)] = &[
    ("arm,gic-400", Kind::Gic(gic::Version::V2)),
    ("arm,cortex-a15-gic", Kind::Gic(gic::Version::V2)),
    ("arm,cortex-a7-gic", Kind::Gic(gic::Version::V2)),
    ("arm,cortex-a9-gic", Kind::Gic(gic::Version::V2)),
    ("arm,pl390", Kind::Gic(gic::Version::V2)),
    ("qcom,msm-qgic2", Kind::Gic(gic::Version::V2)),
    ("arm,gic-v3", Kind::Gic(gic::Version::V3)),
    ("arm,armv8-timer", Kind::Timer),
    ("arm,pl011", Kind::Uart(UartKind::Pl011)),
    ("arm,sbsa-uart", Kind::Uart(UartKind::Sbsa)),
    ("brcm,bcm2835-aux-uart", Kind::Uart(UartKind::Bcm2835Aux)),
    ("arm,psci-1.0", Kind::Psci(PsciVersion::V1_0)),
    ("arm,psci-0.2", Kind::Psci(PsciVersion::V0_2)),
    ("arm,psci", Kind::Psci(PsciVersion::V0_1)),
    ("brcm,bcm2711-pm", Kind::Watchdog),
    ("brcm,bcm2835-pm", Kind::Watchdog),
    ("brcm,bcm2835-pm-wdt", Kind::Watchdog),
];

struct Finder<'a> {
    model: &'a str,
    cpus: Cpus,
    memory: Memory,
    gic: Gic,
    timer: Timer<'a>,
    power: Power,
    uarts: Uarts<'a>,
    chosen: Chosen<'a>,
    /// Children of the root so far.
    children: u32,
    notes: Notes,
}

impl<'a> Finder<'a> {
    fn new(boot_mpidr: u64) -> Finder<'a> {
        Finder {
            model: "",
            cpus: Cpus::new(boot_mpidr),
            memory: Memory::default(),
            gic: Gic::default(),
            timer: Timer::default(),
            power: Power::default(),
            uarts: Uarts::default(),
            chosen: Chosen::default(),
            children: 0,
            notes: Notes::default(),
        }
    }

    fn node(&mut self, node: &Node<'a, '_>) -> Result<(), BoardError> {
        let notes = &mut self.notes;
        let depth = node.depth();
        self.children += u32::from(depth == 1);
        match node.levels.get(1).map_or(&b""[..], |l| l.name) {
            b"" => self.model = node.props.text(Key::Model).unwrap_or(""),
            b"cpus" if depth == 2 => self.cpus.node(node, notes),
            b"cpus" => {}
            b"aliases" if depth == 1 => self.uarts.aliases = Some(node.raw()),
            b"chosen" => self
                .chosen
                .node(node, self.children - 1, &mut self.memory, notes)?,
            b"reserved-memory" if depth == 2 => self.memory.reserved_node(node, notes)?,
            _ if depth == 1 && self.memory.is_bank(node) => self.memory.bank_node(node, notes),
            _ if node.here().disabled => {}
            _ => match node.props.compatible(KINDS) {
                Some(Kind::Gic(version)) => self.gic.node(node, version, notes)?,
                Some(Kind::Timer) => self.timer.node(node),
                Some(Kind::Uart(kind)) => self.uarts.node(node, kind, notes),
                Some(Kind::Psci(version)) => self.power.node(node, version)?,
                Some(Kind::Watchdog) => self.power.watchdog(node, notes),
                None => {}
            },
        }
        Ok(())
    }
}

impl<'a> Board<'a> {
    /// Reads a machine's tree. `boot_mpidr` is MPIDR_EL1 of the CPU that runs this: it becomes CPU 0.
    ///
    /// Takes at most some 16 KiB from the heap. Time is linear in the size of the tree, apart from at most 1024 steps for each address that is
    /// translated through a bus. Errors name the node and the property that make the tree unusable: no CPU, no RAM,
    /// no GIC that serves guests, no timer interrupt, a malformed blob. What can be left out is left out with a note.
    pub fn from_dtb(dtb: &'a [u8], boot_mpidr: u64) -> Result<Board<'a>, BoardError> {
        let blob = Blob::new(dtb)?;
        let mut finder = Finder::new(boot_mpidr);
        for entry in blob.reservations() {
            finder.memory.reserve_entry(entry?)?;
        }
        blob.walk(&mut |node| finder.node(node))?;
        let Finder {
            model,
            cpus,
            memory,
            gic,
            timer,
            power,
            uarts,
            chosen,
            mut notes,
            children: _,
        } = finder;
        let (gic, lines) = gic.finish()?;
        let timer = timer.finish(lines)?;
        let uart = uarts.finish(chosen.stdout, lines, &mut notes);
        let cpus = cpus.finish(power.psci.as_ref(), &mut notes)?;
        let mut memory = memory;
        let nodes = core::mem::take(&mut memory.nodes);
        let (ram, reserved) = memory.finish()?;
        Ok(Board {
            model,
            cpus,
            ram,
            nodes,
            reserved,
            gic,
            timer,
            uart,
            psci: power.psci,
            watchdog: power.watchdog,
            bootargs: chosen.hypervisor_bootargs(),
            rng_seed: chosen.rng_seed,
            config_node: chosen.config,
            lines,
            notes: notes.list,
            notes_lost: notes.lost,
        })
    }
}

/// Just the console's UART, from a tree that may be unusable otherwise: for saying so.
pub fn find_uart(dtb: &[u8]) -> Option<UartDesc> {
    let blob = Blob::new(dtb).ok()?;
    let mut finder = Finder::new(0);
    // What is wrong with a node does not matter here; a broken structure ends the walk with what was found before.
    let _ = blob.walk(&mut |node| {
        let _ = finder.node(node);
        Ok(())
    });
    let lines = finder.gic.finish().map_or(
        Lines {
            phandle: 0,
            cells: 3,
        },
        |(_, lines)| lines,
    );
    finder
        .uarts
        .finish(finder.chosen.stdout, lines, &mut finder.notes)
}

/// An error about a node that is not there or no longer at hand.
pub(crate) fn error_at(path: &str, property: &'static str, problem: Problem) -> BoardError {
    BoardError {
        node: NodePath::from_text(path),
        property,
        problem,
    }
}
