//! A system as its description says it: values with the place where they stand.
//!
//! Nothing is checked here beyond what a type can hold; what fits together is tarn-board's to say.

use crate::source::Span;
use std::path::PathBuf;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub span: Span,
}

/// Everything.
#[derive(Clone, Debug)]
pub struct System {
    /// The machine it is for.
    pub board: BoardSpec,
    /// Tarn's own command line.
    pub options: Option<At<String>>,
    /// Lines typed at dom0's prompt.
    pub script: Option<At<String>>,
    /// In the order of the file.
    pub pools: Vec<Pool>,
    /// In the order of the file.
    pub domains: Vec<Domain>,
}

/// Which machine, and what of it can vary.
#[derive(Clone, Debug)]
pub struct BoardSpec {
    /// The `[board]` table.
    pub span: Span,
    /// `type`.
    pub kind: At<BoardKind>,
    /// `cpus`.
    pub cpus: Option<At<u64>>,
    /// `memory` in bytes.
    pub memory: Option<At<u64>>,
    /// `gic`.
    pub gic: Option<At<u64>>,
    /// `dtb`: the board's own device tree.
    pub dtb: Option<At<PathBuf>>,
    /// `load`: where its boot loader puts the image.
    pub load: Option<At<u64>>,
}

/// Machines whose tree need not be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoardKind {
    /// QEMU's virt.
    Virt,
    /// Raspberry Pi 4 Model B.
    Rpi4,
    /// Any other: its device tree must be given.
    Other,
}

/// A pool.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its table's header.
    pub span: Span,
    /// `name`.
    pub name: At<String>,
    /// `cpus`, as a list such as "0-2,5".
    pub cpus: Option<At<String>>,
    /// `scheduler`.
    pub scheduler: Option<At<String>>,
    /// Everything below `parameters`.
    pub parameters: Vec<Parameter>,
}

/// A device of the board that a domain is given.
#[derive(Clone, Debug)]
pub struct Device {
    /// Full path of its node.
    pub path: At<String>,
    /// `clock`: the rate in Hz of all its clocks, which stay as firmware left them.
    pub clock: Option<At<u64>>,
}

/// Memory that a domain shares with others, as it sees it.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Its table.
    pub span: Span,
    /// `id`.
    pub id: At<String>,
    /// `at`: where the guest sees it.
    pub at: Option<At<u64>>,
    /// `size` in bytes.
    pub size: Option<At<u64>>,
    /// `board`: where it is for the board; anywhere if it is not said.
    pub board: Option<At<u64>>,
    /// `role`.
    pub role: Option<At<String>>,
    /// `access`.
    pub access: Option<At<String>>,
    /// `offset` in bytes.
    pub offset: Option<At<u64>>,
}

/// A domain's end of a doorbell.
#[derive(Clone, Debug)]
pub struct Doorbell {
    /// Its table.
    pub span: Span,
    /// `port`.
    pub port: At<u64>,
    /// `to`: the other end's domain.
    pub to: Option<At<String>>,
    /// `to-port`: the other end's port; the same as `port` if it is not said.
    pub to_port: Option<At<u64>>,
    /// `spi`.
    pub spi: Option<At<u64>>,
}

/// A parameter for a scheduler or a domain, passed on as `tarn,NAME`.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name, without `tarn,`.
    pub name: String,
    /// Its value.
    pub value: At<ParameterValue>,
}

/// What it can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParameterValue {
    /// `true`.
    Flag,
    /// A number, not negative.
    Number(u64),
    /// A text.
    Text(String),
}

/// A domain.
#[derive(Clone, Debug)]
pub struct Domain {
    /// Its table's header.
    pub span: Span,
    /// `name`.
    pub name: At<String>,
    /// `kernel`.
    pub kernel: Option<At<PathBuf>>,
    /// `initrd`.
    pub initrd: Option<At<PathBuf>>,
    /// `bootargs`.
    pub bootargs: Option<At<String>>,
    /// `memory` in bytes.
    pub memory: Option<At<u64>>,
    /// `vcpus`.
    pub vcpus: Option<At<u64>>,
    /// `pool`.
    pub pool: Option<At<String>>,
    /// `console`: an emulated PL011; there is one unless it says false.
    pub console: Option<At<bool>>,
    /// `gic`: the version of the interrupt controller it sees, 2 or 3.
    pub gic: Option<At<u64>>,
    /// `spis`.
    pub spis: Option<At<u64>>,
    /// `weight`.
    pub weight: Option<At<u64>>,
    /// `cap`, percent of one CPU.
    pub cap: Option<At<u64>>,
    /// `affinity`: vCPU and its CPUs.
    pub affinity: Vec<(u32, At<String>)>,
    /// `soft-affinity`: the same of the CPUs where it runs rather than elsewhere.
    pub soft: Vec<(u32, At<String>)>,
    /// `restart`.
    pub restart: Option<At<String>>,
    /// `paused`.
    pub paused: Option<At<bool>>,
    /// `devices`: the board's nodes that it is given.
    pub devices: Vec<Device>,
    /// `device-tree`: a partial device tree of what it is given, for what `devices` cannot say.
    pub device_tree: Option<At<PathBuf>>,
    /// `dma-without-iommu`: its devices may reach all memory.
    pub dma: Option<At<bool>>,
    /// `direct-map`: its RAM has the same addresses as the board's.
    pub direct_map: Option<At<bool>>,
    /// `static-memory`: its RAM lies there; address and size in bytes.
    pub static_memory: Option<At<Vec<(u64, u64)>>>,
    /// `shared-memory`.
    pub shared: Vec<Shared>,
    /// `doorbells`.
    pub doorbells: Vec<Doorbell>,
    /// Everything below `parameters`.
    pub parameters: Vec<Parameter>,
}
