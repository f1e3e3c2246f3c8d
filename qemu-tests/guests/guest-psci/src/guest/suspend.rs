//! CPU_SUSPEND: standby, and power-down with its way back through the entry point.
//!
//! An implementation may turn a power-down request into standby and return, so either way back is right; what counts
//! is that the timer wakes the CPU and that the program goes on with its registers.
use core::arch::global_asm;

use guest_rt::psci::{call, id};
use guest_rt::testing::expect;
use guest_rt::timer::{Timer, frequency};
use guest_rt::{gic, mrs, println, trap};

// x0 = state, x1 = 0 HVC, 1 SMC. Returns 0 (came back by return) or 1 (by the entry point), or the error. All
// callee-saved registers are on the stack, whose address is the context argument.
global_asm!(
    r#"
    .section .text.guest_psci_suspend, "ax"
    .global guest_psci_suspend
guest_psci_suspend:
    stp     x29, x30, [sp, #-112]!
    stp     x19, x20, [sp, #16]
    stp     x21, x22, [sp, #32]
    stp     x23, x24, [sp, #48]
    stp     x25, x26, [sp, #64]
    stp     x27, x28, [sp, #80]
    mrs     x4, vbar_el1
    mrs     x5, tpidr_el1
    stp     x4, x5, [sp, #96]
    mov     x4, x1
    mov     x1, x0
    ldr     w0, =0xc4000001
    adr     x2, 2f
    mov     x3, sp
    cbnz    x4, 1f
    hvc     #0
    b       3f
1:  smc     #0
    b       3f
2:  mov     sp, x0
    ldp     x4, x5, [sp, #96]
    msr     vbar_el1, x4
    msr     tpidr_el1, x5
    isb
    mov     x0, #1
3:  ldp     x27, x28, [sp, #80]
    ldp     x25, x26, [sp, #64]
    ldp     x23, x24, [sp, #48]
    ldp     x21, x22, [sp, #32]
    ldp     x19, x20, [sp, #16]
    ldp     x29, x30, [sp], #112
    ret
    .ltorg
"#
);

unsafe extern "C" {
    fn guest_psci_suspend(state: u64, smc: u64) -> i64;
}

/// All cases.
pub fn all() {
    let Some(gic) = gic::find() else { return };
    gic.init_distributor();
    gic.init_cpu();
    let timer = Timer::Virtual;
    let daif = trap::mask_irqs();
    gic.enable(timer.intid());
    for (name, function) in [
        ("suspend/standby", id::CPU_SUSPEND),
        ("suspend/standby32", id::CPU_SUSPEND32),
    ] {
        timer.start(frequency() / 200);
        let before = timer.count();
        expect(name, call(function, 0, 0, 0), 0);
        println!(
            "NOTE slept {} us",
            (timer.count() - before) * 1_000_000 / frequency()
        );
        timer.stop();
    }
    // Wake-up already there: comes straight back.
    timer.start(0);
    expect("suspend/already-pending", call(id::CPU_SUSPEND, 0, 0, 0), 0);
    timer.stop();

    timer.start(frequency() / 200);
    let before = timer.count();
    let smc = u64::from(guest_rt::machine().psci == Some(guest_rt::machine::Conduit::Smc));
    // SAFETY: every register the program relies on is on its stack, and both ways back restore them; the entry point
    // runs with the MMU off, as this guest does.
    let way = unsafe { guest_psci_suspend(1 << 16, smc) };
    println!(
        "NOTE power-down came back by {}",
        if way == 1 {
            "its entry point"
        } else {
            "return"
        }
    );
    println!(
        "NOTE slept {} us",
        (timer.count() - before) * 1_000_000 / frequency()
    );
    expect("suspend/power-down", way == 0 || way == 1, true);
    timer.stop();
    gic.disable(timer.intid());
    trap::restore_irqs(daif);
    expect("suspend/goes-on-at-el1", mrs!("currentel") >> 2, 1);
}
