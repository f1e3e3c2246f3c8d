//! Holds patterns in every register of a CPU while time passes, and counts what changed.
//!
//! Interrupts come meanwhile (a millisecond's timer of this guest, and whatever the hypervisor does with the CPU).
use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};

use guest_rt::timer::{Timer, frequency};
use guest_rt::{MAX_CPUS, cpu, mrs, msr};

// (pattern, deadline) -> low half: general registers that changed, high half: FP registers that changed.
// x0 = pattern and x1 = deadline stay; x2-x28 and v0-v31 hold pattern + number; x29 and x30 do the work.
global_asm!(
    r#"
    .section .text.guest_sys, "ax"
    .arch_extension fp
    .arch_extension simd
    .macro gs_each_general what
    .irp n, 2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28
    \what \n
    .endr
    .endm
    .macro gs_each_fp what
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    \what \n
    .endr
    .endm
    .macro gs_set_general n
    add     x\n, x0, #\n
    .endm
    .macro gs_check_general n
    sub     x30, x\n, #\n
    cmp     x30, x0
    cinc    x29, x29, ne
    .endm
    .macro gs_set_fp n
    add     x29, x0, #(100 + \n)
    dup     v\n\().2d, x29
    .endm
    .macro gs_check_fp n
    add     x30, x0, #(100 + \n)
    umov    x3, v\n\().d[0]
    umov    x4, v\n\().d[1]
    cmp     x30, x3
    ccmp    x30, x4, #0, eq
    cinc    x29, x29, ne
    .endm

    .global guest_sys_hold
guest_sys_hold:
    stp     x29, x30, [sp, #-96]!
    stp     x19, x20, [sp, #16]
    stp     x21, x22, [sp, #32]
    stp     x23, x24, [sp, #48]
    stp     x25, x26, [sp, #64]
    stp     x27, x28, [sp, #80]
    gs_each_fp gs_set_fp
    gs_each_general gs_set_general
1:  isb
    mrs     x29, cntvct_el0
    cmp     x29, x1
    b.lo    1b
    mov     x29, xzr
    gs_each_general gs_check_general
    mov     x2, x29
    mov     x29, xzr
    gs_each_fp gs_check_fp
    orr     x0, x2, x29, lsl #32
    ldp     x27, x28, [sp, #80]
    ldp     x25, x26, [sp, #64]
    ldp     x23, x24, [sp, #48]
    ldp     x21, x22, [sp, #32]
    ldp     x19, x20, [sp, #16]
    ldp     x29, x30, [sp], #96
    ret
"#
);

unsafe extern "C" {
    fn guest_sys_hold(pattern: u64, deadline: u64) -> u64;
}

struct Counts {
    checks: AtomicU64,
    general: AtomicU64,
    fp: AtomicU64,
    control: AtomicU64,
    system: AtomicU64,
}

static COUNTS: [Counts; MAX_CPUS] = [const {
    Counts {
        checks: AtomicU64::new(0),
        general: AtomicU64::new(0),
        fp: AtomicU64::new(0),
        control: AtomicU64::new(0),
        system: AtomicU64::new(0),
    }
}; MAX_CPUS];

/// Registers that were found changed.
pub struct Found {
    /// How often all were checked.
    pub checks: u64,
    /// x2-x28.
    pub general: u64,
    /// v0-v31.
    pub fp: u64,
    /// FPCR, FPSR.
    pub control: u64,
    /// Thread pointers and the like.
    pub system: u64,
}

/// What CPU `index` found.
pub fn found(index: usize) -> Found {
    let c = &COUNTS[index];
    let get = |n: &AtomicU64| n.load(Ordering::SeqCst);
    Found {
        checks: get(&c.checks),
        general: get(&c.general),
        fp: get(&c.fp),
        control: get(&c.control),
        system: get(&c.system),
    }
}

/// FPCR is s3_3_c4_c4_0 and FPSR s3_3_c4_c4_1 below: the assembler knows their names only for targets with FP.
/// FPCR bits that every FP unit keeps: rounding mode, flush to zero, default NaN.
const FPCR: u64 = 0x03c0_0000;
/// FPSR: cumulative flags and QC.
const FPSR: u64 = 0x0800_001f;

/// Holds and checks for `ms` milliseconds, in turns of half a millisecond, sleeping a little between some.
pub fn for_ms(index: usize, seed: u64, ms: u64) {
    let c = &COUNTS[index];
    let end = Timer::Virtual.count() + frequency() / 1000 * ms;
    let mut pattern = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (index as u64) << 56;
    while Timer::Virtual.count() < end {
        pattern = pattern
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        msr!("s3_3_c4_c4_0", pattern & FPCR);
        msr!("s3_3_c4_c4_1", pattern >> 7 & FPSR);
        set_system(pattern);
        if pattern >> 60 == 0 {
            cpu::wfi();
        }
        // SAFETY: saves and restores the callee-saved registers; FP registers hold nothing of compiled code here.
        let changed =
            unsafe { guest_sys_hold(pattern, Timer::Virtual.count() + frequency() / 2000) };
        c.general.fetch_add(changed & 0xffff_ffff, Ordering::SeqCst);
        c.fp.fetch_add(changed >> 32, Ordering::SeqCst);
        let control =
            mrs!("s3_3_c4_c4_0") != pattern & FPCR || mrs!("s3_3_c4_c4_1") != pattern >> 7 & FPSR;
        c.control.fetch_add(control.into(), Ordering::SeqCst);
        c.system
            .fetch_add(system_changed(pattern), Ordering::SeqCst);
        c.checks.fetch_add(1, Ordering::SeqCst);
    }
}

/// EL1 state that neither compiled code nor the runtime uses. TTBR1 is not walked (TCR_EL1.EPD1).
fn set_system(pattern: u64) {
    msr!("tpidr_el0", pattern);
    msr!("tpidrro_el0", !pattern);
    msr!("sp_el0", pattern & !0xf);
    msr!("contextidr_el1", pattern & 0xffff_ffff);
    msr!("ttbr1_el1", pattern & 0x0000_000f_ffff_f000);
    msr!("cntkctl_el1", pattern & 3);
    msr!("csselr_el1", pattern & 1);
    msr!("far_el1", pattern);
}

fn system_changed(pattern: u64) -> u64 {
    let same = [
        mrs!("tpidr_el0") == pattern,
        mrs!("tpidrro_el0") == !pattern,
        mrs!("sp_el0") == pattern & !0xf,
        mrs!("contextidr_el1") == pattern & 0xffff_ffff,
        mrs!("ttbr1_el1") == pattern & 0x0000_000f_ffff_f000,
        mrs!("cntkctl_el1") & 3 == pattern & 3,
        mrs!("csselr_el1") == pattern & 1,
        mrs!("far_el1") == pattern,
    ];
    same.iter().filter(|&&same| !same).count() as u64
}
