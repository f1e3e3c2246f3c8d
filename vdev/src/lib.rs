//! What guests see of devices: interrupt controller, console, power, timers and identification registers.
//!
//! Every device is a pure register machine: accesses and inputs in, values and effects out. Nothing here touches
//! hardware, takes a lock, reads a clock or allocates after construction; the hypervisor (hv) owns locks and time,
//! and `drivers` implements [`vgic::ListRegs`] over the real list registers. Whatever a guest writes must end in a
//! value, a [`Refused`] or nothing: never in a panic, an endless loop or an index out of range.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
#[macro_use]
extern crate std;

pub mod alarm;
pub mod idregs;
pub mod mitigations;
pub mod mmio;
pub mod pl011;
pub mod psci;
pub mod ptimer;
pub mod sysreg;
pub mod vgic;

pub use mmio::{Access, Size};

/// Why a register access has no ordinary result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The register exists but not in this width. The GIC architecture calls this CONSTRAINED UNPREDICTABLE and the
    /// implementations guests meet read as zero and ignore writes (IHI0069 12.1.3): do that, and count it.
    Width,
    /// No register at this offset. Reserved space of a device reads as zero and ignores writes: do that, and count it.
    Reserved,
    /// The answer lies in the list registers of vCPUs that are running elsewhere: disturb those named by the
    /// kick, leave the guest's program counter where it is, and let it execute the access again.
    Busy(vgic::Kick),
}
