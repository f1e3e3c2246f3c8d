//! The device tree a guest gets: only what is really there for it.
//!
//! Guest-physical addresses are those of Xen's domains without direct-map (public header xen/arch-arm.h), so images
//! built for dom0less run unchanged; yet every address is found in the tree. Neighbour: the models behind these
//! addresses live in vdev, the stage-2 tables in hv; both take the numbers from `layout`.

use crate::region::Region;

/// Where things are in a guest's physical address space.
pub mod layout {
    /// GIC distributor (4 KiB on GICv2, 64 KiB on GICv3).
    pub const GICD: u64 = 0x0300_1000;
    /// Bytes of a GICv2 distributor.
    pub const GICD_V2_SIZE: u64 = 0x1000;
    /// Bytes of a GICv3 distributor.
    pub const GICD_V3_SIZE: u64 = 0x1_0000;
    /// GICv2 CPU interface.
    pub const GICC: u64 = 0x0300_2000;
    /// Bytes of a GICv2 CPU interface.
    pub const GICC_SIZE: u64 = 0x2000;
    /// GICv3 redistributors, one contiguous region.
    pub const GICR: u64 = 0x0302_0000;
    /// Bytes of one redistributor (RD_base and SGI_base).
    pub const GICR_STRIDE: u64 = 0x2_0000;
    /// Emulated PL011.
    pub const PL011: u64 = 0x2200_0000;
    /// Bytes of the PL011.
    pub const PL011_SIZE: u64 = 0x1000;
    /// INTID of the PL011's interrupt: SPI 0, level.
    pub const PL011_INTID: u32 = 32;
    /// First bank of RAM, at most 3 GiB.
    pub const RAM0: u64 = 0x4000_0000;
    /// Most bytes of the first bank.
    pub const RAM0_MAX: u64 = 0xc000_0000;
    /// Second bank of RAM.
    pub const RAM1: u64 = 0x2_0000_0000;
    /// Virtual timer's PPI.
    pub const VTIMER_INTID: u32 = 27;
    /// Non-secure physical timer's PPI.
    pub const PTIMER_INTID: u32 = 30;
}

/// The kind of interrupt controller a guest sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GuestGic {
    /// GICv2: at most 8 vCPUs.
    V2,
    /// GICv3.
    V3,
}

/// What to put into a guest's tree.
#[derive(Clone, Copy, Debug)]
pub struct GuestSpec<'a> {
    /// vCPUs: 1 to 8 (GICv2) or 1 to `MAX_DOMAIN_VCPUS` (GICv3).
    pub vcpus: u32,
    /// RAM banks, ascending, at least one.
    pub memory: &'a [Region],
    /// Its interrupt controller.
    pub gic: GuestGic,
    /// Whether it has the emulated PL011; if so it is the console.
    pub vpl011: bool,
    /// The kernel's command line; empty: the property is left out.
    pub bootargs: &'a str,
    /// The ramdisk in guest-physical memory.
    pub initrd: Option<Region>,
    /// Random bytes for the guest's pool; empty: left out.
    pub rng_seed: &'a [u8],
    /// Seed of the kernel's address randomisation; `None`: left out.
    pub kaslr_seed: Option<u64>,
}

/// Why no tree was built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GuestError {
    /// `vcpus` is 0 or more than this kind of GIC serves.
    Vcpus {
        /// Asked for.
        is: u32,
        /// The most.
        max: u32,
    },
    /// There is no RAM bank.
    NoMemory,
    /// `bootargs` holds a zero byte.
    Bootargs,
    /// A string or list makes the tree larger than 2 MiB.
    TooLarge,
}
