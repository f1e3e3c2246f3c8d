//! A runtime for small guests at EL1: enough to boot, print, take interrupts, keep time and start CPUs, and no more.
//!
//! The same image runs as a Tarn domain and, without a hypervisor, on QEMU's `virt` machine at EL1; everything it
//! knows of the machine it reads from the device tree. It has no dependencies and no allocator. A program is
//!
//! ```ignore
//! guest_rt::entry!(main);
//! fn main() { guest_rt::println!("hello"); }
//! ```
//!
//! and powers off when `main` returns. The MMU is off until [`mmu::on`]; a program that uses several CPUs calls it
//! first, because exclusive loads and stores are only guaranteed on cacheable memory.
//!
//! It must never touch memory other than its own image and the devices that the tree names, except where a test
//! asks for it through [`trap::catch`]. Neighbours: `guest-hello` is the example, `qemu-tests/guests` the tests.
#![no_std]

pub mod dtb;
pub mod machine;

#[cfg(target_os = "none")]
mod boot;
#[cfg(target_os = "none")]
pub mod console;
#[cfg(target_os = "none")]
pub mod cpu;
#[cfg(target_os = "none")]
pub mod gic;
#[cfg(target_os = "none")]
pub mod mmio;
#[cfg(target_os = "none")]
pub mod mmu;
#[cfg(target_os = "none")]
pub mod psci;
#[cfg(target_os = "none")]
pub mod smp;
#[cfg(target_os = "none")]
pub mod sysreg;
#[cfg(target_os = "none")]
pub mod testing;
#[cfg(target_os = "none")]
pub mod timer;
#[cfg(target_os = "none")]
pub mod trap;

#[cfg(target_os = "none")]
pub use boot::{entry_ticks, image, machine};

/// Whether the device tree says that Tarn is below us.
#[cfg(target_os = "none")]
pub fn on_tarn() -> bool {
    machine()
        .hypervisor
        .is_some_and(|name| name.contains("tarn"))
}

/// CPUs a guest can have: as many stacks as the image holds.
pub const MAX_CPUS: usize = 128;

/// Names the function that runs on the boot CPU once the runtime is up. When it returns the guest powers off.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        /// Called by the runtime.
        #[unsafe(no_mangle)]
        fn guest_rt_user_main() {
            let main: fn() = $main;
            main()
        }
    };
}
