//! What the integrator asked for under /chosen: pools and domains, as values.
//!
//! The bindings are Xen's (dom0less `xen,domain`, boot-time `xen,cpupool`; public documents
//! docs/misc/arm/device-tree/booting.txt and cpupools.txt) plus properties named `tarn,...`. A wrong node is left out
//! with its reason and the rest is kept; nothing here allocates RAM or creates anything. Strings borrow from the tree.

mod devices;
mod domains;
mod doorbells;
mod grant;
mod links;
mod params;
mod place;
mod pools;
mod rom;
mod section;
mod seen;
pub(crate) mod shared;
mod static_mem;
mod version;

pub use devices::{Devices, MAX_DEVICES, MAX_MAPPINGS, Mapping, devices, registers};
pub use doorbells::{Doorbell, MAX_DOORBELLS, doorbell_spis};
pub use grant::{GUEST_SPIS, Grant, Ground, grant, parameters};
pub use rom::Rom;
pub use shared::{MAX_SHARED, Shared, SharedMemory};
pub use static_mem::reserve_static_mem;
pub use version::GIC_VERSION;

pub use params::{apply, no_such_scheduler};

use crate::discover::error_at;
use crate::error::{BoardError, Problem};
use crate::guest::GuestGic;
use crate::props::text;
use crate::region::Region;
use crate::tree::{Blob, ConfNode, header_size};
use crate::{Board, MAX_DOMAINS};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use place::Place;
use tarn_abi::CpuSet;

/// The scheduler of a pool that names none.
pub const DEFAULT_SCHED: &str = "credit2";
/// RAM of dom0, which no node describes.
pub const DOM0_KIB: u64 = 4096;
/// Most domains that are kept: dom0 is not described here.
pub const MAX_CONFIGURED: usize = MAX_DOMAINS - 1;
/// Most diagnostics that are kept.
pub const MAX_DIAGNOSTICS: usize = 256;
/// Most vCPUs of one domain.
pub const MAX_DOMAIN_VCPUS: u32 = 64;
/// Longest boot script of dom0 in bytes.
pub const MAX_SCRIPT: usize = 4096;
/// Longest name of a domain or pool in bytes.
pub const MAX_NAME: usize = 48;

/// Pools, domains, and what was wrong with their nodes.
#[derive(Clone, Debug, Default)]
pub struct Config<'a> {
    /// Never empty. The first is Pool-0, with the boot CPU; every CPU of the board is in exactly one.
    pub pools: Vec<PoolConfig<'a>>,
    /// The domains to build, in the order of the tree; dom0 is not among them.
    pub domains: Vec<DomainConfig<'a>>,
    /// Memory that several domains see; which ones, `DomainConfig::shared` says.
    pub shared: Vec<SharedMemory>,
    /// What was refused or ignored, in the order found; at most `MAX_DIAGNOSTICS`.
    pub notes: Vec<Diagnostic>,
    /// `tarn,dom0-script`: lines typed at dom0's prompt when it comes up, or "".
    pub script: &'a str,
    /// `xen,xen-bootargs` beside them: Tarn's own command line, or "". For a board's tree `Board::bootargs` counts.
    pub bootargs: &'a str,
}

impl<'a> Config<'a> {
    /// Reads the pools and domains that `/chosen` describes, for the machine that `board` found in the same tree.
    ///
    /// An error is only a tree that cannot be read; `bare` serves then. Without any node for pools or domains the
    /// tree is not touched: one Pool-0 with all CPUs, no domains. Time and memory are linear in the size of the tree,
    /// apart from comparing each of at most `MAX_CONFIGURED` domains with the others.
    pub fn from_dtb(dtb: &'a [u8], board: &Board<'_>) -> Result<Config<'a>, BoardError> {
        let Some(index) = board.config_node else {
            return Ok(Config::bare(board));
        };
        let Some(chosen) = Blob::new(dtb)?.chosen(index)? else {
            return Ok(Config::bare(board));
        };
        Config::read(chosen, board, Place::BoardTree)
    }

    /// Reads the description in a system image: the same nodes, in a tree of their own at the start of `payload`.
    ///
    /// `description` is that tree; `payload` is where it and the modules lie in memory. Bounds and errors are those of
    /// `from_dtb`. Whether the payload is RAM, the caller has checked.
    pub fn from_image(
        description: &'a [u8],
        board: &Board<'_>,
        payload: Region,
    ) -> Result<Config<'a>, BoardError> {
        let blob = Blob::new(description)?;
        let (mut children, mut index) = (0, None);
        blob.walk(&mut |node| {
            if node.depth() == 1 {
                if node.here().name == b"chosen" {
                    index = index.or(Some(children));
                }
                children += 1;
            }
            Ok(())
        })?;
        let chosen = match index {
            Some(index) => blob.chosen(index)?,
            None => None,
        };
        let tree = header_size(description)? as u64;
        match chosen {
            Some(chosen) => Config::read(chosen, board, Place::Image { payload, tree }),
            None => Err(error_at(
                "/chosen",
                "",
                Problem::Missing("the system's pools and domains"),
            )),
        }
    }

    fn read(
        chosen: ConfNode<'a>,
        board: &Board<'_>,
        place: Place,
    ) -> Result<Config<'a>, BoardError> {
        let mut config = Config::default();
        for property in chosen.properties() {
            let (name, value) = property?;
            let taken = match name {
                "tarn,dom0-script" => &mut config.script,
                "xen,xen-bootargs" => &mut config.bootargs,
                _ => continue,
            };
            match text(value).filter(|t| t.len() <= MAX_SCRIPT) {
                Some(line) => *taken = line,
                None => config.notes.push(Diagnostic {
                    severity: Severity::Refused,
                    node: "/chosen".into(),
                    property: name.into(),
                    message: format!("it must be a string of at most {MAX_SCRIPT} bytes"),
                }),
            }
        }
        let mut pools = pools::Pools::new(board);
        let cells = chosen.cells()?;
        for child in chosen.children(cells)? {
            pools.node(child?, &mut config.notes)?;
        }
        let handles = pools.finish(&mut config);
        let links = links::Links::list(chosen, place.room_kib(board))?;
        for child in chosen.children(cells)? {
            domains::node(child?, board, (place, &links), &handles, &mut config)?;
        }
        links.finish(&mut config);
        Ok(config)
    }

    /// What holds without any configuration: one Pool-0 with all CPUs, no domains.
    pub fn bare(board: &Board<'_>) -> Config<'a> {
        let mut config = Config::default();
        pools::Pools::new(board).finish(&mut config);
        config
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// Ignored or adapted; the object exists.
    Warning,
    /// The node's object was left out.
    Refused,
}

/// A finding about a node under /chosen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// Full path of the node.
    pub node: String,
    /// The property, or "" if it is the node itself.
    pub property: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Warning => "warning",
            Severity::Refused => "refused",
        };
        write!(f, "{word}: {}: ", self.node)?;
        if !self.property.is_empty() {
            write!(f, "{}: ", self.property)?;
        }
        f.write_str(&self.message)
    }
}

/// One pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolConfig<'a> {
    /// Full path of its node; "" of an implicit pool.
    pub node: String,
    /// The node's name without unit address, unique; an implicit pool is called "Pool-N" by its position.
    pub name: String,
    /// Its CPUs; not empty.
    pub cpus: CpuSet,
    /// Name of its scheduler; whether there is such a one, the registry knows.
    pub sched: &'a str,
    /// Its `tarn,...` properties, in the order of the tree.
    pub params: Vec<Param<'a>>,
}

/// A property `tarn,NAME` that another part understands (scheduler parameters, WFI mode).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Param<'a> {
    /// The name behind "tarn,".
    pub name: &'a str,
    /// Its value.
    pub value: ParamValue<'a>,
}

/// The value of a `Param`, typed by its length and content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParamValue<'a> {
    /// Present without a value.
    Flag,
    /// One or two cells.
    Number(u64),
    /// A string.
    Text(&'a str),
}

/// What happens when a domain ends by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Restart {
    /// It stays ended; a reset asked for by the guest is carried out.
    #[default]
    OnReset,
    /// Any end but an orderly power-off starts it again.
    OnCrash,
    /// Every end starts it again.
    Always,
    /// Every end is final, a reset too.
    Never,
}

/// Where a boot module lies in RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Module<'a> {
    /// Physical; all of it is RAM, and no other module overlaps it.
    pub region: Region,
    /// Its `bootargs`, or "".
    pub bootargs: &'a str,
}

/// `xen,vcpu`: what one vCPU of a domain asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VcpuConfig {
    /// Which vCPU, less than `DomainConfig::cpus`.
    pub id: u32,
    /// `hard-affinity`: the pCPUs it may run on; not empty, all in the domain's pool. Not given: all.
    pub affinity: Option<CpuSet>,
    /// `tarn,soft-affinity`: where it runs rather than elsewhere; some of those it may run on.
    pub soft: Option<CpuSet>,
}

/// One domain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DomainConfig<'a> {
    /// Unique: `tarn,name`, else the node's name without unit address.
    pub name: String,
    /// Full path of its node.
    pub node: String,
    /// `memory` in KiB; not 0, and in bytes it fits in 64 bits.
    pub memory_kib: u64,
    /// `cpus`: 1 to `MAX_DOMAIN_VCPUS`.
    pub cpus: u32,
    /// Index of its pool in `Config::pools`.
    pub pool: usize,
    /// `tarn,gic-version`: the interrupt controller it sees; the machine's version unless it asks.
    pub gic: GuestGic,
    /// Whether it has an emulated PL011.
    pub vpl011: bool,
    /// `tarn,pl011-at`: where the guest sees that; `guest::layout::PL011` unless it asks.
    pub pl011_at: u64,
    /// `nr_spis`: shared peripheral interrupts; `None`: as many as the console needs.
    pub nr_spis: Option<u32>,
    /// The kernel and its command line.
    pub kernel: Module<'a>,
    /// The initial ramdisk.
    pub ramdisk: Option<Module<'a>>,
    /// The partial device tree of what it is given; [`devices`] reads it.
    pub device_tree: Option<Module<'a>>,
    /// `direct-map`: guest addresses of RAM are the physical ones.
    pub direct_map: bool,
    /// `tarn,load` of the kernel module: it is no arm64 `Image`, but a plain binary that is put at this guest-physical
    /// address and entered at its first byte.
    pub load: Option<u64>,
    /// `tarn,device-tree-at`: where the guest's device tree is put; else near the end of its first bank.
    pub tree_at: Option<u64>,
    /// `tarn,rom` modules: whole pages that the guest can only read.
    pub roms: Vec<Rom>,
    /// `xen,static-mem`: its RAM, whole pages, `memory_kib` altogether; empty: anywhere.
    pub static_mem: Vec<Region>,
    /// Memory that it sees together with others.
    pub shared: Vec<Shared>,
    /// Its ends of doorbells.
    pub doorbells: Vec<Doorbell>,
    /// vCPUs with wishes of their own, ascending by id, each at most once.
    pub vcpus: Vec<VcpuConfig>,
    /// `tarn,weight`.
    pub weight: Option<u32>,
    /// `tarn,cap` in percent of one pCPU; 0 is none.
    pub cap: Option<u32>,
    /// `tarn,restart`.
    pub restart: Restart,
    /// `tarn,paused`: built but not started.
    pub paused: bool,
    /// Further `tarn,...` properties (`boost-*` above all), in the order of the tree.
    pub params: Vec<Param<'a>>,
}
