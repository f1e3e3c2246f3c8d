//! Physical devices, as the hypervisor at EL2 (non-VHE, Non-secure) uses them.
//!
//! Here is everything that knows a register of a device: the GIC with its hypervisor half, the EL2 timer, the UARTs,
//! the ways to start CPUs and to end the machine. Drivers are found by the device tree's `compatible`, never by a
//! build option. They hold no policy: which interrupt means what, which vCPU runs, who may print is decided above.
//! Nothing here allocates, and every wait for a device has a bound. Constructors are safe because they consume an
//! [`Mmio`], which only the owner of the address space mints.
//!
//! System registers and instructions live in `arch` alone. On bare metal they are the real ones; on a host that
//! module is a fake with the same functions, so every driver also runs under `cargo test`.
#![no_std]

#[cfg(target_os = "none")]
#[path = "arch/bare.rs"]
mod arch;
#[cfg(not(target_os = "none"))]
#[path = "arch/fake.rs"]
mod arch;
pub mod gic;
pub mod mmio;
pub mod power;
pub mod timer;
pub mod uart;

pub use gic::{Ack, CpuIfState, Gic, GicError, VIface};
pub use mmio::{Mmio, MmioError};
pub use timer::{Clock, HypTimer};
pub use uart::Uart;
