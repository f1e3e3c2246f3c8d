//! The device tree a guest gets: only what is really there for it.
//!
//! Guest-physical addresses are those of Xen's domains without direct-map (public header xen/arch-arm.h), so images
//! built for dom0less run unchanged; yet every address is found in the tree. Neighbour: the models behind these
//! addresses live in vdev, the stage-2 tables in hv; both take the numbers from `layout`.

use crate::List;
use crate::config::MAX_DOMAIN_VCPUS;
use crate::graft::{self, Phandles};
use crate::region::Region;
use crate::writer::Writer;
use alloc::vec::Vec;
use core::fmt::{self, Write};

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
    /// Stolen time and run states, one structure a vCPU (abi `call::guest::times`); found by PV_TIME_ST, not in the tree.
    pub const TIMES: u64 = 0x2201_0000;
    /// Bytes kept for them.
    pub const TIMES_SIZE: u64 = 0x1_0000;
    /// Doorbells: a 32-bit register a port, at 4 times its number. Written (any value): it rings. Read: 1 while the other
    /// end's domain lives.
    pub const DOORBELLS: u64 = 0x2202_0000;
    /// Bytes kept for them.
    pub const DOORBELLS_SIZE: u64 = 0x1000;
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

impl GuestGic {
    /// Most vCPUs of a guest that sees it.
    pub const fn max_vcpus(self) -> u32 {
        match self {
            GuestGic::V2 => GICV2_VCPUS,
            GuestGic::V3 => MAX_DOMAIN_VCPUS,
        }
    }
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
    /// Where that is; `layout::PL011` unless the domain asks otherwise.
    pub pl011_at: u64,
    /// The kernel's command line; empty: the property is left out.
    pub bootargs: &'a str,
    /// The ramdisk in guest-physical memory.
    pub initrd: Option<Region>,
    /// Random bytes for the guest's pool; empty: left out.
    pub rng_seed: &'a [u8],
    /// Seed of the kernel's address randomisation; `None`: left out.
    pub kaslr_seed: Option<u64>,
    /// The partial tree of devices it is given, as checked by `config::devices`.
    pub devices: Option<&'a [u8]>,
    /// Memory that it shares with other guests.
    pub shared: &'a [SharedView<'a>],
    /// Port and SPI of each of its doorbells.
    pub doorbells: &'a [(u32, u32)],
}

/// Memory that a guest shares, as its tree tells it.
#[derive(Clone, Copy, Debug)]
pub struct SharedView<'a> {
    /// By what name the guests know it.
    pub id: &'a str,
    /// Where this guest sees it.
    pub guest: Region,
    /// Where in the memory that begins; `None`: this guest sees all of it.
    pub offset: Option<u64>,
    /// Whether this guest may write.
    pub writable: bool,
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
    /// There is no RAM bank, or more than `MAX_BANKS`.
    Memory,
    /// The ramdisk does not lie in a RAM bank.
    Initrd,
    /// `bootargs` holds a zero byte.
    Bootargs,
    /// `bootargs`, `rng_seed` and `devices` make the tree larger than `MAX_GUEST_DTB`.
    TooLarge,
    /// `devices` cannot be read.
    Devices,
}

impl fmt::Display for GuestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GuestError::Vcpus { is, max } => {
                write!(f, "{is} vCPUs; this interrupt controller serves 1 to {max}")
            }
            GuestError::Memory => write!(f, "a guest has 1 to {MAX_BANKS} banks of RAM"),
            GuestError::Initrd => f.write_str("the ramdisk lies outside the guest's RAM"),
            GuestError::Bootargs => f.write_str("the command line holds a zero byte"),
            GuestError::TooLarge => write!(
                f,
                "the guest's device tree would exceed {MAX_GUEST_DTB} bytes"
            ),
            GuestError::Devices => f.write_str("the partial tree of its devices cannot be read"),
        }
    }
}

impl core::error::Error for GuestError {}

/// Most RAM banks of a guest.
pub const MAX_BANKS: usize = 4;
/// Most bytes of a guest's tree.
pub const MAX_GUEST_DTB: usize = 64 << 10;
/// Most vCPUs behind a GICv2.
pub const GICV2_VCPUS: u32 = 8;

/// Affinity bits of vCPU `index`'s VMPIDR_EL2, as its `reg` in the tree says: 16 to a cluster, since an SGI on GICv3
/// names its targets by a 16-bit list within one (ICC_SGI1R_EL1.TargetList). Below 16 it is the index itself, as
/// GICv2 wants.
pub const fn vcpu_mpidr(index: u32) -> u64 {
    ((index as u64 / 16) << 8) | (index as u64 % 16)
}

/// What a guest has at fixed addresses besides RAM, and what it is.
pub fn windows(
    gic: GuestGic,
    vcpus: u32,
    pl011: Option<u64>,
) -> impl Iterator<Item = (Region, &'static str)> {
    let gicr = layout::GICR_STRIDE * u64::from(vcpus.min(MAX_DOMAIN_VCPUS));
    let (gicd, other) = match gic {
        GuestGic::V3 => (layout::GICD_V3_SIZE, (layout::GICR, gicr)),
        GuestGic::V2 => (layout::GICD_V2_SIZE, (layout::GICC, layout::GICC_SIZE)),
    };
    let uart = if pl011.is_some() {
        layout::PL011_SIZE
    } else {
        0
    };
    [
        (layout::GICD, gicd, "interrupt controller"),
        (other.0, other.1, "interrupt controller"),
        (pl011.unwrap_or(0), uart, "emulated PL011"),
        (layout::TIMES, layout::TIMES_SIZE, "stolen-time area"),
        (
            layout::DOORBELLS,
            layout::DOORBELLS_SIZE,
            "doorbell registers",
        ),
    ]
    .into_iter()
    .filter_map(|(base, size, what)| Some((Region::new(base, size)?, what)))
}

/// Where `kib` KiB of RAM lie that need not be anywhere: at most 3 GiB from 1 GiB, the rest from 8 GiB.
pub fn bank_plan(kib: u64) -> [(u64, u64); 2] {
    let bytes = kib.saturating_mul(1024);
    let low = bytes.min(layout::RAM0_MAX);
    [(layout::RAM0, low), (layout::RAM1, bytes - low)]
}

/// Kinds and flags of an interrupt specifier.
const SPI: u32 = 0;
const PPI: u32 = 1;
const EDGE_RISING: u32 = 1;
const LEVEL_HIGH: u32 = 4;
const LEVEL_LOW: u32 = 8;

/// A guest's tree.
#[derive(Clone, Debug)]
pub struct GuestTree {
    /// The flattened tree.
    pub blob: Vec<u8>,
    /// Where in it the seeds are, to be written anew for the guest's next life.
    pub seeds: SeedsAt,
}

/// Where in a tree the values of its seeds are; `None`: left out.
#[derive(Clone, Copy, Default, Debug)]
pub struct SeedsAt {
    /// The random bytes.
    pub rng: Option<usize>,
    /// The big-endian 64 bits.
    pub kaslr: Option<usize>,
}

/// Builds the tree of a guest. Its size grows with `vcpus`, `bootargs` and `rng_seed` alone.
pub fn guest_dtb(spec: &GuestSpec<'_>) -> Result<GuestTree, GuestError> {
    let max = spec.gic.max_vcpus();
    if spec.vcpus == 0 || spec.vcpus > max {
        return Err(GuestError::Vcpus {
            is: spec.vcpus,
            max,
        });
    }
    if spec.memory.is_empty() || spec.memory.len() > MAX_BANKS {
        return Err(GuestError::Memory);
    }
    if spec
        .initrd
        .is_some_and(|r| !spec.memory.iter().any(|bank| bank.covers(&r)))
    {
        return Err(GuestError::Initrd);
    }
    if spec.bootargs.contains('\0') {
        return Err(GuestError::Bootargs);
    }
    let partial = spec.devices.unwrap_or(&[]);
    let room = 2048
        + spec.vcpus as usize * 112
        + spec.bootargs.len()
        + spec.rng_seed.len()
        + spec.shared.iter().map(|s| 320 + s.id.len()).sum::<usize>()
        + spec.doorbells.len() * 256
        + partial.len();
    if room > MAX_GUEST_DTB {
        return Err(GuestError::TooLarge);
    }
    let handles = match spec.devices {
        Some(partial) => graft::phandles(partial).ok_or(GuestError::Devices)?,
        None => Phandles::OWN,
    };
    let mut w = Writer::new(room);
    w.begin("");
    w.cells("#address-cells", &[2]);
    w.cells("#size-cells", &[2]);
    w.cells("interrupt-parent", &[handles.gic]);
    w.strings("compatible", &["tarn,vm", "linux,dummy-virt"]);
    w.strings("model", &["Tarn virtual machine"]);
    let seeds = chosen(&mut w, spec);
    memory(&mut w, spec);
    cpus(&mut w, spec);
    w.begin("psci");
    w.strings("compatible", &["arm,psci-1.0", "arm,psci-0.2"]);
    w.strings("method", &["hvc"]);
    w.end();
    timer(&mut w, spec);
    gic(&mut w, spec, handles.gic);
    if spec.vpl011 {
        pl011(&mut w, spec.pl011_at, handles.clock);
    }
    reserved_memory(&mut w, spec);
    for (port, spi) in spec.doorbells {
        doorbell(&mut w, *port, *spi);
    }
    w.begin("hypervisor");
    w.strings("compatible", &["tarn,tarn-0.1", "tarn,tarn"]);
    w.end();
    if let Some(partial) = spec.devices
        && !graft::graft(&mut w, partial)
    {
        return Err(GuestError::Devices);
    }
    w.end();
    let blob = w.finish();
    Ok(GuestTree { blob, seeds })
}

fn chosen(w: &mut Writer<'_>, spec: &GuestSpec<'_>) -> SeedsAt {
    let mut at = SeedsAt::default();
    w.begin("chosen");
    if !spec.bootargs.is_empty() {
        w.strings("bootargs", &[spec.bootargs]);
    }
    if spec.vpl011 {
        let node = unit("pl011", spec.pl011_at);
        w.bytes("stdout-path", &[b"/", node.as_bytes(), b"\0"]);
    }
    if let Some(initrd) = spec.initrd {
        w.longs("linux,initrd-start", &[initrd.base()]);
        w.longs("linux,initrd-end", &[initrd.end()]);
    }
    if !spec.rng_seed.is_empty() {
        at.rng = Some(w.bytes("rng-seed", &[spec.rng_seed]));
    }
    if let Some(seed) = spec.kaslr_seed {
        at.kaslr = Some(w.bytes("kaslr-seed", &[&seed.to_be_bytes()]));
    }
    w.end();
    at
}

fn memory(w: &mut Writer<'_>, spec: &GuestSpec<'_>) {
    let mut reg: List<u64, { 2 * MAX_BANKS }> = List::new();
    for bank in spec.memory {
        // `MAX_BANKS` has been checked.
        let _ = reg.extend_from_slice(&[bank.base(), bank.size()]);
    }
    w.begin(&unit("memory", reg[0]));
    w.strings("device_type", &["memory"]);
    w.longs("reg", &reg);
    w.end();
}

/// Shared memory as Linux's binding has it (Documentation/devicetree/bindings/reserved-memory/xen,shared-memory.txt). It
/// is not listed as RAM: a guest that takes all RAM for itself would overwrite it.
fn reserved_memory(w: &mut Writer<'_>, spec: &GuestSpec<'_>) {
    if spec.shared.is_empty() {
        return;
    }
    w.begin("reserved-memory");
    w.cells("#address-cells", &[2]);
    w.cells("#size-cells", &[2]);
    w.bytes("ranges", &[]);
    for view in spec.shared {
        w.begin(&unit("xen-shmem", view.guest.base()));
        w.strings("compatible", &["xen,shared-memory-v1"]);
        w.longs("reg", &[view.guest.base(), view.guest.size()]);
        w.strings("xen,id", &[view.id]);
        if let Some(offset) = view.offset {
            w.longs("xen,offset", &[offset]);
        }
        if !view.writable {
            w.bytes("tarn,read-only", &[]);
        }
        w.end();
    }
    w.end();
}

/// One end of a doorbell. "generic-uio" is what Linux's uio_pdrv_genirq is told to take, so a program can use it.
fn doorbell(w: &mut Writer<'_>, port: u32, spi: u32) {
    let at = layout::DOORBELLS + u64::from(port) * 4;
    w.begin(&unit("doorbell", at));
    w.strings("compatible", &["tarn,doorbell-v1", "generic-uio"]);
    w.longs("reg", &[at, 4]);
    w.cells("interrupts", &[SPI, spi, EDGE_RISING]);
    w.cells("tarn,port", &[port]);
    w.end();
}

fn cpus(w: &mut Writer<'_>, spec: &GuestSpec<'_>) {
    w.begin("cpus");
    w.cells("#address-cells", &[1]);
    w.cells("#size-cells", &[0]);
    for index in 0..spec.vcpus {
        let mpidr = vcpu_mpidr(index);
        w.begin(&unit("cpu", mpidr));
        w.strings("device_type", &["cpu"]);
        w.strings("compatible", &["arm,armv8"]);
        w.cells("reg", &[mpidr as u32]);
        w.strings("enable-method", &["psci"]);
        w.end();
    }
    w.end();
}

fn timer(w: &mut Writer<'_>, spec: &GuestSpec<'_>) {
    // On GICv2 bits 8-15 of a PPI's flags say which CPUs have it.
    let flags = match spec.gic {
        GuestGic::V2 => LEVEL_LOW | ((1 << spec.vcpus) - 1) << 8,
        GuestGic::V3 => LEVEL_LOW,
    };
    w.begin("timer");
    w.strings("compatible", &["arm,armv8-timer"]);
    // Secure physical, Non-secure physical, virtual, hypervisor: the binding's order. A guest has the second and third.
    w.cells(
        "interrupts",
        &[
            PPI, 13, flags, PPI, 14, flags, PPI, 11, flags, PPI, 10, flags,
        ],
    );
    // They go on while a vCPU waits in WFI.
    w.bytes("always-on", &[]);
    w.end();
}

fn gic(w: &mut Writer<'_>, spec: &GuestSpec<'_>, phandle: u32) {
    w.begin(&unit("interrupt-controller", layout::GICD));
    w.cells("phandle", &[phandle]);
    w.bytes("interrupt-controller", &[]);
    w.cells("#interrupt-cells", &[3]);
    w.cells("#address-cells", &[0]);
    match spec.gic {
        GuestGic::V2 => {
            w.strings("compatible", &["arm,cortex-a15-gic"]);
            w.longs(
                "reg",
                &[
                    layout::GICD,
                    layout::GICD_V2_SIZE,
                    layout::GICC,
                    layout::GICC_SIZE,
                ],
            );
        }
        GuestGic::V3 => {
            w.strings("compatible", &["arm,gic-v3"]);
            w.cells("#redistributor-regions", &[1]);
            let gicr = layout::GICR_STRIDE * u64::from(spec.vcpus);
            w.longs(
                "reg",
                &[layout::GICD, layout::GICD_V3_SIZE, layout::GICR, gicr],
            );
        }
    }
    w.end();
}

fn pl011(w: &mut Writer<'_>, at: u64, clock: u32) {
    w.begin("apb-pclk");
    w.strings("compatible", &["fixed-clock"]);
    w.cells("#clock-cells", &[0]);
    w.cells("clock-frequency", &[24_000_000]);
    w.strings("clock-output-names", &["clk24mhz"]);
    w.cells("phandle", &[clock]);
    w.end();
    w.begin(&unit("pl011", at));
    w.strings("compatible", &["arm,pl011", "arm,primecell"]);
    w.longs("reg", &[at, layout::PL011_SIZE]);
    w.cells("interrupts", &[SPI, layout::PL011_INTID - 32, LEVEL_HIGH]);
    w.cells("clocks", &[clock, clock]);
    w.strings("clock-names", &["uartclk", "apb_pclk"]);
    w.end();
}

/// A node's name with unit address.
fn unit(base: &str, address: u64) -> heapless::String<40> {
    let mut name = heapless::String::new();
    // 16 digits and the longest base fit.
    let _ = write!(name, "{base}@{address:x}");
    name
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::props::Key;
    use crate::tree::Blob;
    use std::collections::BTreeMap;
    use std::format;
    use std::string::String;

    /// Every property that the reader knows, by "path: name".
    fn read_back(spec: &GuestSpec<'_>) -> BTreeMap<String, Vec<u8>> {
        let blob = guest_dtb(spec).unwrap().blob;
        let mut all = BTreeMap::new();
        Blob::new(&blob)
            .unwrap()
            .walk(&mut |node| {
                for (name, value) in node.raw().iter() {
                    assert!(
                        all.insert(format!("{}: {name}", node.path()), value.to_vec())
                            .is_none()
                    );
                }
                assert_eq!(node.here().interrupt_parent, Phandles::OWN.gic);
                Ok(())
            })
            .unwrap();
        all
    }

    #[test]
    fn every_vcpu_is_there_under_its_affinity() {
        let ram = [
            Region::new(layout::RAM0, 1 << 27).unwrap(),
            Region::new(layout::RAM1, 1 << 30).unwrap(),
        ];
        for vcpus in 1..=MAX_DOMAIN_VCPUS {
            let spec = GuestSpec {
                vcpus,
                memory: &ram,
                gic: GuestGic::V3,
                vpl011: vcpus % 2 == 0,
                pl011_at: layout::PL011,
                bootargs: "",
                initrd: None,
                rng_seed: &[],
                kaslr_seed: None,
                devices: None,
                shared: &[],
                doorbells: &[],
            };
            let all = read_back(&spec);
            for index in 0..vcpus {
                let mpidr = vcpu_mpidr(index);
                assert!(mpidr & 0xff < 16, "an SGI's target list has 16 bits");
                let reg = &all[&format!("/cpus/cpu@{mpidr:x}: {}", Key::Reg.name())];
                assert_eq!(reg[..], (mpidr as u32).to_be_bytes());
            }
            let cpus = all
                .keys()
                .filter(|k| k.ends_with(": enable-method"))
                .count();
            assert_eq!(cpus, vcpus as usize);
            assert_eq!(all["/memory@40000000: reg"].len(), 32);
            assert_eq!(all.contains_key("/pl011@22000000: reg"), spec.vpl011);
            assert_eq!(all.contains_key("/chosen: stdout-path"), spec.vpl011);
            assert!(!all.contains_key("/chosen: bootargs"));
        }
    }
}
