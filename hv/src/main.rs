//! Tarn, the image at EL2: boot, traps, memory, vCPU contexts and the glue between the pure crates and the machine.
//!
//! init.rs is the boot story; trap.rs is where exits arrive and run.rs how they leave. docs/tour.md gives the reading
//! order. Only arch/, mem/ and percpu.rs hold unsafe code of substance; nothing else names a register.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod abort;
#[cfg(target_os = "none")]
mod arch;
#[cfg(target_os = "none")]
mod console;
#[cfg(target_os = "none")]
mod counters;
#[cfg(target_os = "none")]
mod domain;
#[cfg(target_os = "none")]
mod doorbell;
#[cfg(target_os = "none")]
mod fast;
#[cfg(target_os = "none")]
mod firmware;
#[cfg(target_os = "none")]
mod given;
#[cfg(target_os = "none")]
mod hypercall;
#[cfg(target_os = "none")]
mod init;
#[cfg(target_os = "none")]
mod inject;
#[cfg(target_os = "none")]
mod irq;
#[cfg(target_os = "none")]
mod logger;
#[cfg(target_os = "none")]
mod mem;
#[cfg(target_os = "none")]
mod panic;
#[cfg(target_os = "none")]
mod payload;
#[cfg(target_os = "none")]
mod percpu;
#[cfg(target_os = "none")]
mod placement;
#[cfg(target_os = "none")]
mod power;
#[cfg(target_os = "none")]
mod record;
#[cfg(target_os = "none")]
mod ring;
#[cfg(target_os = "none")]
mod run;
#[cfg(target_os = "none")]
mod spi;
#[cfg(target_os = "none")]
mod sysreg;
#[cfg(target_os = "none")]
mod time;
#[cfg(target_os = "none")]
mod trap;
#[cfg(target_os = "none")]
mod vcpu;
#[cfg(target_os = "none")]
mod vgic;
#[cfg(target_os = "none")]
mod work;

/// On the host there is nothing to run: build with `cargo xtask build`.
#[cfg(not(target_os = "none"))]
fn main() {
    println!("tarn-hv runs at EL2 only: cargo xtask build, then scripts/run-qemu.sh");
}
