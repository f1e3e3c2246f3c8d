//! What a domain is made from: the configuration's `xen,domain` nodes and the two guests built into the image.
//!
//! Recipes are made once at boot and live for ever, so a domain can be destroyed and created again from memory.

use crate::doorbell::Doorbell;
use abi::PoolId;
use alloc::string::String;
use alloc::vec::Vec;
use board::Region;
use board::config::{Devices, Restart, Rom, VcpuConfig};
use board::guest::GuestGic;
use pools::VcpuParams;

/// Bytes in memory that stay: a boot module, or part of the image.
#[derive(Clone, Copy, Debug)]
pub struct Blob {
    /// Physical address.
    pub at: usize,
    /// Bytes.
    pub len: usize,
}

impl Blob {
    /// Of bytes in the image.
    pub fn of(bytes: &'static [u8]) -> Blob {
        Blob {
            at: bytes.as_ptr() as usize,
            len: bytes.len(),
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> &'static [u8] {
        // SAFETY: a Blob names either a static of the image or a boot module that `init` found inside RAM, reserved
        // from the allocator and mapped for good; nobody writes either.
        unsafe { core::slice::from_raw_parts(self.at as *const u8, self.len) }
    }
}

/// Shared memory as one domain sees it.
#[derive(Clone, Debug)]
pub struct View {
    /// By what name the guests know it.
    pub id: String,
    /// The memory.
    pub phys: Region,
    /// Where the guest sees it.
    pub guest: u64,
    /// Where in the whole it begins, if it is a part.
    pub offset: Option<u64>,
    /// The guest may write.
    pub writable: bool,
}

/// All that is needed to make a domain.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Unique name.
    pub name: String,
    /// RAM.
    pub memory_kib: u64,
    /// Number of vCPUs.
    pub vcpus: u32,
    /// The interrupt controller it sees.
    pub gic: GuestGic,
    /// Where it starts.
    pub pool: PoolId,
    /// Whether it has the emulated UART.
    pub vpl011: bool,
    /// Where that is.
    pub pl011_at: u64,
    /// Whether it has a console (the UART, or dom0's calls).
    pub console: bool,
    /// SPIs of its GIC.
    pub spis: u32,
    /// arm64 `Image`.
    pub kernel: Blob,
    /// Ramdisk.
    pub ramdisk: Option<Blob>,
    /// Kernel command line.
    pub bootargs: String,
    /// The partial tree of devices it is given.
    pub device_tree: Option<Blob>,
    /// What that gives it.
    pub devices: Devices,
    /// Its kernel is a plain binary for this guest-physical address.
    pub load: Option<u64>,
    /// Where its device tree must be.
    pub tree_at: Option<u64>,
    /// Modules it can read at fixed addresses.
    pub roms: Vec<Rom>,
    /// Its RAM, if it is its own for good: never given out otherwise. Empty: anywhere.
    pub static_mem: Vec<Region>,
    /// Guest addresses of that RAM are the physical ones.
    pub direct_map: bool,
    /// What it shares with others.
    pub shared: Vec<View>,
    /// Its ends of doorbells.
    pub doorbells: Vec<Doorbell>,
    /// vCPUs confined to some CPUs, or with a preference for some.
    pub affinity: Vec<VcpuConfig>,
    /// Scheduling parameters of its vCPUs, affinity apart.
    pub params: VcpuParams,
    /// The boost parameters are its own, not its pool's defaults.
    pub boost_set: bool,
    /// Most CPU time, percent of one CPU.
    pub cap: Option<u32>,
    /// What happens when it ends.
    pub restart: Restart,
    /// Does not run until unpaused.
    pub paused: bool,
}

static RECIPES: spin::Once<Vec<Recipe>> = spin::Once::new();

/// Sets the list, once.
pub fn init(list: Vec<Recipe>) {
    RECIPES.call_once(|| list);
}

/// All recipes; dom0's is the first.
pub fn all() -> &'static [Recipe] {
    RECIPES.get().map_or(&[], Vec::as_slice)
}
