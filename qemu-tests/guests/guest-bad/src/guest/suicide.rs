//! Ways for a guest to lose itself. None of these functions comes back; the domain stays until it is destroyed.
use core::arch::asm;

use guest_rt::{cpu, machine, psci, smp, trap};

/// Spins with interrupts masked, on every CPU.
pub fn irqs_off() {
    fn spin(_: usize) {
        trap::mask_irqs();
        // SAFETY: a loop that touches nothing.
        unsafe { asm!("1: b 1b", options(noreturn)) }
    }
    for index in 1..machine().cpus().len() {
        let _ = smp::start(index, spin);
    }
    spin(0);
}

/// WFI for ever; nothing is enabled that could wake it.
pub fn sleep() {
    trap::mask_irqs();
    loop {
        cpu::wfi();
    }
}

/// Every CPU off: nobody is left who could do anything.
pub fn all_off() {
    for index in 1..machine().cpus().len() {
        let _ = smp::start(index, |_| ());
        smp::wait_off(index);
    }
    psci::cpu_off();
}

/// Jumps to 0 with vectors that are not there either: an exception within the exception, for ever.
pub fn null() {
    // SAFETY: ends this program, which is what it is for; nothing outside the guest can be reached.
    unsafe {
        asm!("msr vbar_el1, {v}", "isb", "br {zero}", v = in(reg) 0x0b00_0000u64, zero = in(reg) 0u64, options(noreturn))
    }
}

/// Fills all memory with zeros, from the top down to the image and then the image from its end to this loop.
pub fn overwrite() {
    let bank = machine().memory().first().copied().unwrap_or_default();
    let (start, _) = guest_rt::image();
    // SAFETY: ends this program, which is what it is for; every address is this guest's own memory.
    unsafe {
        asm!(
            "1: str xzr, [{at}, #-8]!",
            "cmp {at}, {start}",
            "b.hi 1b",
            "2: b 2b",
            at = in(reg) bank.base + bank.size,
            start = in(reg) start,
            options(noreturn)
        )
    }
}
