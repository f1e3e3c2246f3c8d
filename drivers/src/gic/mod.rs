//! The interrupt controller: one [`Gic`] for the physical interrupts, one [`VIface`] for the virtual ones.
//!
//! Which GIC it is, is known at run time only; both are enums, so the hot calls (acknowledge, end, deactivate, send,
//! list registers) are a predictable branch and inline code, no table of functions. Interrupts end in two steps
//! everywhere (EOImode 1): [`Gic::end`] drops the running priority so that others get through, [`Gic::deactivate`] lets
//! the line fire again; between the two an interrupt that a guest handles stays active until the guest ends it.
//! Every method is for the calling CPU, with interrupts masked at EL2; configuration of SPIs takes a short lock of its
//! own, everything per CPU takes none. Neighbours: v2.rs, v3.rs and dist3.rs (physical), viface.rs with vif2.rs and vif3.rs.

mod dist3;
mod v2;
mod v3;
mod vif2;
mod vif3;
mod viface;

pub use v2::GicV2;
pub use v3::GicV3;
pub use viface::{CpuIfState, LR_MAX, NoV2, VIface, VIfaceInfo, hcr, lr, misr};

use crate::{Mmio, MmioError};
use core::fmt;
use tarn_abi::{CpuId, CpuSet};
use tarn_board::Trigger;

/// Priority of every physical interrupt unless set otherwise: above it there is room for what must not wait.
pub const PRIORITY: u8 = 0xa0;
const PRIORITIES: u32 = u32::from_ne_bytes([PRIORITY; 4]);
/// First shared INTID; below are a CPU's own SGIs (0-15) and PPIs (16-31).
pub const FIRST_SPI: u32 = 32;
/// Polls of a device register before it is taken for broken: some 0.1 s on silicon.
const PATIENCE: u32 = 1_000_000;

/// Something the GIC cannot do or did not do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum GicError {
    /// A register window is unusable.
    Registers(MmioError),
    /// The peripheral ID register names another architecture revision than 3 or 4.
    NotV3 {
        /// The revision it names.
        revision: u8,
    },
    /// More redistributor regions than there is room for.
    TooManyRegions,
    /// No redistributor has this CPU's affinity.
    NoRedistributor {
        /// Affinity fields of MPIDR_EL1.
        mpidr: u64,
    },
    /// ICC_SRE_EL2.SRE cannot be set: firmware keeps the system registers from EL2.
    NoSystemRegisters,
    /// This CPU's virtual interface is not what the first CPU's is.
    Unlike,
    /// The device did not answer in time.
    Timeout(&'static str),
    /// No such INTID on this GIC, or the operation does not apply to it.
    BadIntId(u32),
    /// This CPU has not called `init_cpu`, or is beyond what the GIC can address.
    BadCpu(CpuId),
}

impl From<MmioError> for GicError {
    fn from(e: MmioError) -> GicError {
        GicError::Registers(e)
    }
}

impl fmt::Display for GicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GicError::Registers(e) => write!(f, "GIC: {e}"),
            GicError::NotV3 { revision } => {
                write!(f, "GIC: architecture revision {revision}, not 3 or 4")
            }
            GicError::TooManyRegions => f.write_str("GIC: too many redistributor regions"),
            GicError::NoRedistributor { mpidr } => {
                write!(f, "GIC: no redistributor for MPIDR {mpidr:#x}")
            }
            GicError::NoSystemRegisters => {
                f.write_str("GIC: EL3 denies the system register interface")
            }
            GicError::Unlike => {
                f.write_str("GIC: ICC_SRE_EL1.SRE is writable on some CPUs and not on others")
            }
            GicError::Timeout(what) => write!(f, "GIC: {what} takes too long"),
            GicError::BadIntId(id) => write!(f, "GIC: no INTID {id} for this"),
            GicError::BadCpu(cpu) => write!(f, "GIC: {cpu} is not one of its CPUs, or not up yet"),
        }
    }
}

impl core::error::Error for GicError {}

/// An interrupt this CPU has acknowledged and not ended. What is read from the acknowledge register is kept, since
/// the ending registers want all of it back (on GICv2 it names the CPU that sent an SGI).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Ack {
    raw: u32,
    intid: u32,
}

impl Ack {
    /// Its INTID: SGI 0-15, PPI 16-31, SPI 32-1019 (extended: 4096-5119).
    #[inline(always)]
    pub const fn intid(self) -> u32 {
        self.intid
    }

    /// `None` for the special INTIDs, which need no end: nothing pending, or not for this security state.
    #[inline(always)]
    const fn new(raw: u32, intid: u32) -> Option<Ack> {
        if intid >= 1020 && intid < 1024 {
            None
        } else {
            Some(Ack { raw, intid })
        }
    }
}

/// A redistributor region of a GICv3, as the device tree gives it.
#[derive(Debug)]
pub struct RedistRegion {
    /// Its registers.
    pub regs: Mmio,
    /// `redistributor-stride` in bytes; `None`: 128 KiB, or 256 KiB where a redistributor has virtual LPIs.
    pub stride: Option<usize>,
}

/// The physical interrupt controller.
// There is one, and it lives in a static.
#[allow(clippy::large_enum_variant)]
pub enum Gic {
    /// GICv2: memory-mapped CPU interface, at most 8 CPUs.
    V2(GicV2),
    /// GICv3 or GICv4: system registers and a redistributor a CPU.
    V3(GicV3),
}

macro_rules! both {
    ($self:expr, $g:ident => $e:expr) => {
        match $self {
            Gic::V2($g) => $e,
            Gic::V3($g) => $e,
        }
    };
}

impl Gic {
    /// Drives a GICv2 with these distributor and CPU interface registers. Touches no register yet.
    pub fn v2(gicd: Mmio, gicc: Mmio) -> Result<Gic, GicError> {
        Ok(Gic::V2(GicV2::new(gicd, gicc)?))
    }

    /// Drives a GICv3 with these distributor and redistributor registers. Touches no register yet.
    pub fn v3(
        gicd: Mmio,
        regions: impl IntoIterator<Item = RedistRegion>,
    ) -> Result<Gic, GicError> {
        Ok(Gic::V3(GicV3::new(gicd, regions)?))
    }

    /// 2 or 3, for messages.
    pub fn version(&self) -> u32 {
        match self {
            Gic::V2(_) => 2,
            Gic::V3(_) => 3,
        }
    }

    /// Whether a level line that stays high is not signalled again after a virtual deactivation, so that somebody has to
    /// look again (QEMU's GICv2).
    pub fn forgets_to_resignal(&self) -> bool {
        match self {
            Gic::V2(g) => g.forgets_to_resignal(),
            Gic::V3(_) => false,
        }
    }

    /// How many INTIDs below 1020 there are: a multiple of 32, SGIs and PPIs included, at most 1020.
    pub fn lines(&self) -> u32 {
        both!(self, g => g.lines())
    }

    /// Puts the distributor into a known state: every SPI disabled, not pending, not active, level, priority
    /// [`PRIORITY`], in the group that Non-secure EL2 receives; then forwarding is on. Once, on the boot CPU.
    pub fn init_dist(&self) -> Result<(), GicError> {
        both!(self, g => g.init_dist())
    }

    /// Prepares the calling CPU, which is `cpu` and has the affinity `mpidr` (other bits of MPIDR_EL1 are ignored):
    /// its SGIs enabled, its PPIs disabled and idle, all at [`PRIORITY`]; its CPU interface on, every priority let
    /// through, ending in two steps. Only then may others send it SGIs. Once per start of the CPU.
    pub fn init_cpu(&self, cpu: CpuId, mpidr: u64) -> Result<(), GicError> {
        both!(self, g => g.init_cpu(cpu, mpidr))
    }

    /// Takes the highest pending interrupt: it is active now and hides others of its priority until [`Gic::end`].
    /// `None`: there is none (any more). After an SGI, what its sender stored before sending is seen by later loads.
    #[inline(always)]
    pub fn ack(&self) -> Option<Ack> {
        both!(self, g => g.ack())
    }

    /// Drops the running priority: the next interrupt can come. The line stays active, so it does not fire again.
    #[inline(always)]
    pub fn end(&self, ack: Ack) {
        both!(self, g => g.end(ack))
    }

    /// Ends an interrupt for good, after [`Gic::end`]: it may fire again.
    #[inline(always)]
    pub fn deactivate(&self, ack: Ack) {
        both!(self, g => g.deactivate(ack.raw))
    }

    /// [`Gic::deactivate`] for an interrupt whose [`Ack`] is gone; not for SGIs. On this CPU if it is a PPI.
    #[inline(always)]
    pub fn deactivate_intid(&self, intid: u32) {
        both!(self, g => g.deactivate(intid))
    }

    /// [`Gic::end`] and [`Gic::deactivate`]: for interrupts that EL2 itself handles.
    #[inline(always)]
    pub fn finish(&self, ack: Ack) {
        both!(self, g => {
            g.end(ack);
            g.deactivate(ack.raw);
        })
    }

    /// Sends SGI `n` (0-15, taken modulo 16) to `cpu`, which may be the calling one. Everything stored before is
    /// visible to it when it takes the SGI. A CPU that has not called `init_cpu` gets nothing.
    #[inline]
    pub fn send_sgi(&self, n: u32, cpu: CpuId) {
        both!(self, g => g.send_sgi(n, cpu))
    }

    /// [`Gic::send_sgi`] to every member of `cpus`, with as few register writes as the GIC allows.
    #[inline]
    pub fn send_sgi_set(&self, n: u32, cpus: &CpuSet) {
        both!(self, g => g.send_sgi_set(n, cpus))
    }

    /// Enables `intid`. An SPI is sent to `cpu` from now on; for an SGI or PPI `cpu` must be the calling CPU.
    pub fn enable(&self, intid: u32, cpu: CpuId) -> Result<(), GicError> {
        both!(self, g => g.enable(intid, cpu))
    }

    /// Disables `intid` (SGI or PPI: of the calling CPU, which is `cpu`); it can still become pending. On return no
    /// CPU will newly be signalled, but one may already have been.
    pub fn disable(&self, intid: u32, cpu: CpuId) -> Result<(), GicError> {
        both!(self, g => g.disable(intid, cpu))
    }

    /// Sends the SPI `intid` to `cpu`; if it is active elsewhere, from its next time on.
    pub fn route_spi(&self, intid: u32, cpu: CpuId) -> Result<(), GicError> {
        both!(self, g => g.route_spi(intid, cpu))
    }

    /// Sets the priority (0 highest; the GIC keeps the upper 4 or more bits). `cpu` as in [`Gic::disable`].
    pub fn set_priority(&self, intid: u32, cpu: CpuId, priority: u8) -> Result<(), GicError> {
        both!(self, g => g.set_priority(intid, cpu, priority))
    }

    /// Sets level or edge; `intid` must be disabled. A GIC may refuse for PPIs, silently. SGIs: `BadIntId`.
    pub fn set_trigger(&self, intid: u32, cpu: CpuId, trigger: Trigger) -> Result<(), GicError> {
        both!(self, g => g.set_trigger(intid, cpu, trigger))
    }

    /// Makes `intid` active or not without an acknowledge. `cpu` as in [`Gic::disable`]. Needed when a vCPU is loaded
    /// that has an interrupt of this line half handled (its virtual timer), or unloaded.
    #[inline]
    pub fn set_active(&self, intid: u32, cpu: CpuId, active: bool) -> Result<(), GicError> {
        both!(self, g => g.set_active(intid, cpu, active))
    }

    /// Whether `intid` is active. `cpu` as in [`Gic::disable`].
    #[inline]
    pub fn is_active(&self, intid: u32, cpu: CpuId) -> Result<bool, GicError> {
        both!(self, g => g.is_active(intid, cpu))
    }

    /// Makes `intid` pending or takes a pending state set so (or by an edge) away. Not for SGIs. `cpu` as in
    /// [`Gic::disable`].
    pub fn set_pending(&self, intid: u32, cpu: CpuId, pending: bool) -> Result<(), GicError> {
        both!(self, g => g.set_pending(intid, cpu, pending))
    }

    /// Whether `intid` is pending. `cpu` as in [`Gic::disable`].
    pub fn is_pending(&self, intid: u32, cpu: CpuId) -> Result<bool, GicError> {
        both!(self, g => g.is_pending(intid, cpu))
    }
}

/// Polls until `done`; the caller's device is broken if that takes more than [`PATIENCE`] polls.
fn wait(what: &'static str, mut done: impl FnMut() -> bool) -> Result<(), GicError> {
    for _ in 0..PATIENCE {
        if done() {
            return Ok(());
        }
        crate::arch::relax();
    }
    Err(GicError::Timeout(what))
}

#[cfg(test)]
mod tests;
