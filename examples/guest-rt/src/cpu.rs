//! System registers and hint instructions of the running CPU.
//!
//! Reading a register has no effect on memory, so `mrs!` is safe to use; `msr!` is for registers whose value cannot
//! break a Rust promise (timers, GIC, FP control), never for the translation registers: those stay in `mmu`.
use core::arch::asm;

/// Reads a system register by name.
#[macro_export]
macro_rules! mrs {
    ($reg:literal) => {{
        let value: u64;
        // SAFETY: reading a system register changes no memory and no flag.
        unsafe {
            core::arch::asm!(concat!("mrs {}, ", $reg), out(reg) value, options(nostack, preserves_flags))
        };
        value
    }};
}

/// Writes a system register by name and synchronises.
#[macro_export]
macro_rules! msr {
    ($reg:literal, $value:expr) => {{
        let value: u64 = $value;
        // SAFETY: used only for registers that control timers, interrupts and FP of this CPU, not translation.
        unsafe {
            core::arch::asm!(concat!("msr ", $reg, ", {}"), "isb", in(reg) value, options(nostack, preserves_flags))
        };
    }};
}

/// The affinity fields of MPIDR_EL1 (Aff3..Aff0), without the flag bits.
pub fn affinity() -> u64 {
    mrs!("mpidr_el1") & 0xff_00ff_ffff
}

/// This CPU's place in the machine's list: 0 is the boot CPU.
pub fn index() -> usize {
    mrs!("tpidr_el1") as usize
}

/// Waits for an interrupt (masked ones wake too) or returns at once; the architecture allows both.
pub fn wfi() {
    // SAFETY: a hint; `dsb` first so that earlier device writes have happened.
    unsafe { asm!("dsb sy", "wfi", options(nostack, preserves_flags)) };
}

/// Lets another CPU go first where several share one (and under QEMU's instruction counting).
pub fn relax() {
    // SAFETY: a hint.
    unsafe { asm!("yield", options(nomem, nostack, preserves_flags)) };
}

/// Waits for an event, or returns at once.
pub fn wfe() {
    // SAFETY: a hint.
    unsafe { asm!("wfe", options(nostack, preserves_flags)) };
}

/// Wakes CPUs that are in [`wfe`].
pub fn sev() {
    // SAFETY: a hint; `dsb` first so that what the other CPU is to see is visible.
    unsafe { asm!("dsb ish", "sev", options(nostack, preserves_flags)) };
}

/// Synchronises the instruction stream.
pub fn isb() {
    // SAFETY: a barrier only.
    unsafe { asm!("isb", options(nostack, preserves_flags)) };
}

/// Completes all memory accesses and synchronises the instruction stream.
pub fn barrier() {
    // SAFETY: barriers only.
    unsafe { asm!("dsb sy", "isb", options(nostack, preserves_flags)) };
}

/// Spins until `done` says so. `false` if it did not within `ticks` of the virtual counter.
pub fn wait_until(ticks: u64, mut done: impl FnMut() -> bool) -> bool {
    let start = mrs!("cntvct_el0");
    loop {
        if done() {
            return true;
        }
        if mrs!("cntvct_el0").wrapping_sub(start) > ticks {
            return done();
        }
        relax();
    }
}
