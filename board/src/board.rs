//! What a machine is made of, as plain values: the result of reading its device tree.
//!
//! Every list has an upper bound, together some 16 KiB; strings borrow from the tree. Only facts: what to do with them
//! is decided elsewhere. Addresses are physical as the CPUs see them (translated through `ranges`), interrupts are
//! GIC INTIDs. Neighbours: discover.rs builds these values, config.rs reads the nodes under /chosen that describe
//! pools and domains.

use crate::error::{NodePath, Note};
use crate::region::{self, ListFull, Region};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use tarn_abi::CpuId;

/// Most banks of RAM kept; further ones are noted and not used.
pub const MAX_RAM: usize = 64;
/// Most reservations; more are an error, as RAM in use must not be given out.
pub const MAX_RESERVED: usize = 256;
/// Most redistributor regions of a GICv3.
pub const MAX_REDISTRIBUTORS: usize = 32;
/// Most notes kept; `Board::notes_lost` counts the rest.
pub const MAX_NOTES: usize = 16;
/// Most pieces of free RAM `Board::free_ram` can return.
pub const MAX_FREE: usize = MAX_RAM + MAX_RESERVED + 64;

/// A machine.
#[derive(Clone, Debug)]
pub struct Board<'a> {
    /// `/model`, or "" if there is none.
    pub model: &'a str,
    /// Every usable CPU by `CpuId`: the boot CPU is number 0, the others follow in the order of the tree.
    pub cpus: Vec<CpuDesc>,
    /// RAM, ascending, joined where it touches. Includes what is reserved.
    pub ram: Vec<Region>,
    /// The banks of RAM as the tree has them, each with its NUMA node (`numa-node-id`, 0 if it has none).
    pub nodes: Vec<(Region, u32)>,
    /// What of the RAM is in use or must be left alone, in the order of the tree.
    pub reserved: Vec<Reserved>,
    /// The interrupt controller.
    pub gic: GicDesc,
    /// The CPUs' timers.
    pub timer: TimerDesc,
    /// The console, if one is known.
    pub uart: Option<UartDesc>,
    /// The firmware's power interface, if there is one.
    pub psci: Option<PsciDesc>,
    /// The registers of a BCM2835-like power management block, whose watchdog can reset the machine.
    pub watchdog: Option<Region>,
    /// The hypervisor's command line, or "".
    pub bootargs: &'a str,
    /// `/chosen/rng-seed`: random bytes from the boot loader, or empty.
    pub rng_seed: &'a [u8],
    /// Which child of the root /chosen is, if it has nodes for pools or domains; `None`: `Config::from_dtb` need not
    /// look.
    pub config_node: Option<u32>,
    /// How interrupts are written in the tree.
    pub(crate) lines: crate::irq::Lines,
    /// What was left out or looked odd, in the order found.
    pub notes: Vec<Note>,
    /// How many notes there was no room for.
    pub notes_lost: u32,
}

/// One CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuDesc {
    /// Affinity bits of MPIDR_EL1: Aff3 in bits 32-39, Aff2-0 in 0-23; no other bit is set.
    pub mpidr: u64,
    /// How to start it.
    pub start: Start,
    /// Its phandle, 0 if it has none.
    pub phandle: u32,
    /// `capacity-dmips-mhz`, if given.
    pub capacity: Option<u32>,
    /// `numa-node-id`, if given.
    pub numa: Option<u32>,
}

/// How a CPU that is off is started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// PSCI CPU_ON.
    Psci(Conduit),
    /// Write the entry address to physical address `release` (8 bytes), then `sev`.
    SpinTable {
        /// `cpu-release-addr`.
        release: u64,
    },
    /// The tree does not say, or says something Tarn does not know: only the boot CPU can be used like that.
    Unknown,
}

/// The instruction that reaches the firmware.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conduit {
    /// `hvc #0`.
    Hvc,
    /// `smc #0`.
    Smc,
}

/// The `/psci` node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PsciDesc {
    /// `method`.
    pub conduit: Conduit,
    /// What `compatible` promises; a firmware may implement more.
    pub version: PsciVersion,
    /// `cpu_on`, the function id that PSCI 0.1 needs; `None` from 0.2 on, where it is 0xc400_0003.
    pub cpu_on: Option<u32>,
}

/// Versions that `compatible` tells apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PsciVersion {
    /// "arm,psci".
    V0_1,
    /// "arm,psci-0.2".
    V0_2,
    /// "arm,psci-1.0".
    V1_0,
}

/// RAM that is not free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reserved {
    /// Where.
    pub region: Region,
    /// Why.
    pub why: ReservedBy,
}

/// Who reserved RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReservedBy {
    /// An entry of the memory reservation block (/memreserve/).
    Header,
    /// A child of /reserved-memory.
    Node {
        /// Its `no-map`: no mapping of it may exist, not even a cached one of EL2.
        no_map: bool,
    },
    /// A boot module under /chosen (kernel, ramdisk, device tree).
    Module,
    /// `/chosen/linux,initrd-start` to `-end`.
    Initrd,
    /// `xen,static-mem` of a domain.
    Domain,
    /// `xen,shared-mem` of several domains.
    Shared,
}

/// When an interrupt line counts as asserted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// As long as the line is active (high or low: the GIC has no setting for that).
    Level,
    /// At each edge.
    Edge,
}

/// One interrupt line of the GIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Irq {
    /// INTID: PPIs 16-31 (1056-1119 extended), SPIs 32-1019 (4096-5119 extended).
    pub intid: u32,
    /// Level or edge.
    pub trigger: Trigger,
}

/// The interrupt controller.
// One value a machine: the size of the larger variant does not matter.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GicDesc {
    /// GICv2 (GIC-400 and kin) with virtualization extensions.
    V2 {
        /// Distributor.
        gicd: Region,
        /// CPU interface.
        gicc: Region,
        /// Virtual interface control.
        gich: Region,
        /// Virtual CPU interface, mapped into guests as their GICC.
        gicv: Region,
        /// Maintenance interrupt.
        maintenance: Irq,
    },
    /// GICv3 or v4, CPU interface in system registers.
    V3 {
        /// Distributor.
        gicd: Region,
        /// Redistributors; each region is walked by GICR_TYPER.Last.
        gicr: Vec<Region>,
        /// Bytes from one redistributor to the next, where the tree says so; else GICR_TYPER tells.
        stride: Option<u64>,
        /// Virtual CPU interface for GICv2 guests, where the hardware has it.
        gicv: Option<Region>,
        /// Maintenance interrupt.
        maintenance: Irq,
    },
}

impl GicDesc {
    /// The maintenance interrupt.
    pub const fn maintenance(&self) -> Irq {
        match self {
            GicDesc::V2 { maintenance, .. } | GicDesc::V3 { maintenance, .. } => *maintenance,
        }
    }
}

/// The generic timer's interrupts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimerDesc {
    /// EL1 physical timer, Non-secure (INTID 30 on most machines).
    pub phys: Option<Irq>,
    /// EL1 virtual timer (27): belongs to the guest that runs.
    pub virt: Irq,
    /// EL2 physical timer (26): the hypervisor's own.
    pub hyp: Irq,
    /// `clock-frequency` in Hz, only where firmware left CNTFRQ_EL0 unset.
    pub frequency: Option<u32>,
}

/// Kinds of UART, by the probe table of uart.rs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UartKind {
    /// Arm PrimeCell PL011.
    Pl011,
    /// The subset of it that the SBSA asks for: no baud rate, no line control.
    Sbsa,
    /// The Raspberry Pi's mini UART ("brcm,bcm2835-aux-uart").
    Bcm2835Aux,
}

/// The console UART.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UartDesc {
    /// Which driver it needs.
    pub kind: UartKind,
    /// Its registers.
    pub regs: Region,
    /// Its interrupt; `None` if it has none at the GIC: poll.
    pub irq: Option<Irq>,
    /// Baud rate that /chosen/stdout-path asks for ("...:115200n8"); `None`: leave it as it is.
    pub baud: Option<u32>,
    /// Its node.
    pub path: NodePath,
    /// Whether /chosen/stdout-path chose it; otherwise it is the first PL011 of the tree.
    pub chosen: bool,
}

impl Board<'_> {
    /// The CPU with these affinity bits of MPIDR_EL1.
    pub fn cpu_by_mpidr(&self, mpidr: u64) -> Option<CpuId> {
        let affinity = mpidr & crate::MPIDR_AFFINITY;
        self.cpus
            .iter()
            .position(|c| c.mpidr == affinity)
            .map(|i| CpuId(i as u16))
    }

    /// The CPU whose node has this phandle.
    pub fn cpu_by_phandle(&self, phandle: u32) -> Option<CpuId> {
        if phandle == 0 {
            return None;
        }
        self.cpus
            .iter()
            .position(|c| c.phandle == phandle)
            .map(|i| CpuId(i as u16))
    }

    /// The RAM that nobody reserved, without `taken` (the image, the tree itself), ascending. Regions are as the tree
    /// gives them, not aligned to anything.
    pub fn free_ram(&self, taken: &[Region]) -> Result<Vec<Region>, ListFull> {
        let mut free = self.ram.clone();
        for hole in self.reserved.iter().map(|r| &r.region).chain(taken) {
            region::subtract(&mut free, *hole, MAX_FREE)?;
        }
        Ok(free)
    }

    /// Whether a system image may have its payload there: RAM that nobody reserved, `tree`, the device tree, apart.
    /// The error says why not and what would help.
    pub fn check_payload(&self, payload: &Region, tree: Option<Region>) -> Result<(), String> {
        if !self.is_ram(payload) {
            let ram = &self.ram;
            return Err(format!(
                "it takes {payload} in memory, and RAM is {ram:?}; the loader must place it elsewhere, or the machine \
                 needs more"
            ));
        }
        let clash = self.reserved.iter().find(|r| r.region.overlaps(payload));
        if let Some(r) = clash {
            return Err(format!(
                "it takes {payload} in memory, of which {} is reserved by the device tree",
                r.region
            ));
        }
        if let Some(tree) = tree.filter(|t| t.overlaps(payload)) {
            return Err(format!(
                "it takes {payload} in memory, and the device tree lies at {tree}"
            ));
        }
        Ok(())
    }

    /// Whether all of `region` is RAM.
    pub fn is_ram(&self, region: &Region) -> bool {
        // `ram` is joined, so one bank must cover all of it.
        self.ram.iter().any(|bank| bank.covers(region))
    }
}
