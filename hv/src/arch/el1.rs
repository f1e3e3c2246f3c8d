//! The part of a vCPU that lives in EL1/EL0 system registers and FP registers, saved and restored as a block.
//!
//! Straight assembly, since a compiler-made sequence of single moves costs twice as much. Which vCPU's state it is,
//! nobody here knows; `vcpu/context.rs` owns it.

use core::arch::asm;

/// EL1 and EL0 registers in the order `save` and `restore` walk them.
#[repr(C, align(16))]
#[derive(Clone, Debug)]
pub struct El1State {
    /// SP_EL0.
    pub sp_el0: u64,
    /// SP_EL1.
    pub sp_el1: u64,
    /// ELR_EL1.
    pub elr: u64,
    /// SPSR_EL1.
    pub spsr: u64,
    /// SCTLR_EL1.
    pub sctlr: u64,
    /// CPACR_EL1.
    pub cpacr: u64,
    /// TTBR0_EL1.
    pub ttbr0: u64,
    /// TTBR1_EL1.
    pub ttbr1: u64,
    /// TCR_EL1.
    pub tcr: u64,
    /// MAIR_EL1.
    pub mair: u64,
    /// AMAIR_EL1.
    pub amair: u64,
    /// VBAR_EL1.
    pub vbar: u64,
    /// ESR_EL1.
    pub esr: u64,
    /// FAR_EL1.
    pub far: u64,
    /// AFSR0_EL1.
    pub afsr0: u64,
    /// AFSR1_EL1.
    pub afsr1: u64,
    /// CONTEXTIDR_EL1.
    pub contextidr: u64,
    /// TPIDR_EL0.
    pub tpidr_el0: u64,
    /// TPIDRRO_EL0.
    pub tpidrro_el0: u64,
    /// TPIDR_EL1.
    pub tpidr_el1: u64,
    /// CNTKCTL_EL1.
    pub cntkctl: u64,
    /// PAR_EL1.
    pub par: u64,
    /// CSSELR_EL1.
    pub csselr: u64,
    /// ACTLR_EL1 (accesses trap; kept so that the block is even).
    pub actlr: u64,
}

impl El1State {
    /// State after a Warm reset of an AArch64 EL1: MMU and caches off, everything UNKNOWN is zero.
    pub const RESET: El1State = El1State {
        sp_el0: 0,
        sp_el1: 0,
        elr: 0,
        spsr: 0,
        sctlr: 0x30d0_0800,
        cpacr: 0,
        ttbr0: 0,
        ttbr1: 0,
        tcr: 0,
        mair: 0,
        amair: 0,
        vbar: 0,
        esr: 0,
        far: 0,
        afsr0: 0,
        afsr1: 0,
        contextidr: 0,
        tpidr_el0: 0,
        tpidrro_el0: 0,
        tpidr_el1: 0,
        cntkctl: 0,
        par: 0,
        csselr: 0,
        actlr: 0,
    };

    /// Copies this CPU's registers out.
    #[inline]
    pub fn save(&mut self) {
        // SAFETY: reads registers and writes the 192 bytes of `self`, walked in field order.
        unsafe {
            asm!(
                "mrs {a}, sp_el0", "mrs {b}, sp_el1", "stp {a}, {b}, [{p}, #0]",
                "mrs {a}, elr_el1", "mrs {b}, spsr_el1", "stp {a}, {b}, [{p}, #16]",
                "mrs {a}, sctlr_el1", "mrs {b}, cpacr_el1", "stp {a}, {b}, [{p}, #32]",
                "mrs {a}, ttbr0_el1", "mrs {b}, ttbr1_el1", "stp {a}, {b}, [{p}, #48]",
                "mrs {a}, tcr_el1", "mrs {b}, mair_el1", "stp {a}, {b}, [{p}, #64]",
                "mrs {a}, amair_el1", "mrs {b}, vbar_el1", "stp {a}, {b}, [{p}, #80]",
                "mrs {a}, esr_el1", "mrs {b}, far_el1", "stp {a}, {b}, [{p}, #96]",
                "mrs {a}, afsr0_el1", "mrs {b}, afsr1_el1", "stp {a}, {b}, [{p}, #112]",
                "mrs {a}, contextidr_el1", "mrs {b}, tpidr_el0", "stp {a}, {b}, [{p}, #128]",
                "mrs {a}, tpidrro_el0", "mrs {b}, tpidr_el1", "stp {a}, {b}, [{p}, #144]",
                "mrs {a}, cntkctl_el1", "mrs {b}, par_el1", "stp {a}, {b}, [{p}, #160]",
                "mrs {a}, csselr_el1", "str {a}, [{p}, #176]",
                p = in(reg) self, a = out(reg) _, b = out(reg) _, options(nostack, preserves_flags)
            )
        }
    }

    /// Puts the registers back; the caller's `eret` synchronises them.
    #[inline]
    pub fn restore(&self) {
        // SAFETY: EL1/EL0 registers have no effect on EL2's own execution.
        unsafe {
            asm!(
                "ldp {a}, {b}, [{p}, #0]", "msr sp_el0, {a}", "msr sp_el1, {b}",
                "ldp {a}, {b}, [{p}, #16]", "msr elr_el1, {a}", "msr spsr_el1, {b}",
                "ldp {a}, {b}, [{p}, #32]", "msr sctlr_el1, {a}", "msr cpacr_el1, {b}",
                "ldp {a}, {b}, [{p}, #48]", "msr ttbr0_el1, {a}", "msr ttbr1_el1, {b}",
                "ldp {a}, {b}, [{p}, #64]", "msr tcr_el1, {a}", "msr mair_el1, {b}",
                "ldp {a}, {b}, [{p}, #80]", "msr amair_el1, {a}", "msr vbar_el1, {b}",
                "ldp {a}, {b}, [{p}, #96]", "msr esr_el1, {a}", "msr far_el1, {b}",
                "ldp {a}, {b}, [{p}, #112]", "msr afsr0_el1, {a}", "msr afsr1_el1, {b}",
                "ldp {a}, {b}, [{p}, #128]", "msr contextidr_el1, {a}", "msr tpidr_el0, {b}",
                "ldp {a}, {b}, [{p}, #144]", "msr tpidrro_el0, {a}", "msr tpidr_el1, {b}",
                "ldp {a}, {b}, [{p}, #160]", "msr cntkctl_el1, {a}", "msr par_el1, {b}",
                "ldr {a}, [{p}, #176]", "msr csselr_el1, {a}",
                p = in(reg) self, a = out(reg) _, b = out(reg) _, options(nostack, preserves_flags)
            )
        }
    }
}

/// The FP/SIMD registers of a vCPU. EL2 itself is compiled without them.
#[repr(C, align(16))]
#[derive(Clone)]
pub struct FpState {
    q: [u128; 32],
    fpcr: u64,
    fpsr: u64,
}

impl FpState {
    /// All zero.
    pub const RESET: FpState = FpState {
        q: [0; 32],
        fpcr: 0,
        fpsr: 0,
    };

    /// Copies this CPU's FP registers out.
    #[inline]
    pub fn save(&mut self) {
        // SAFETY: writes the 528 bytes of `self`; CPTR_EL2.TFP is clear.
        unsafe {
            asm!(
                ".arch_extension fp", ".arch_extension simd",
                "stp q0, q1, [{p}, #0]", "stp q2, q3, [{p}, #32]", "stp q4, q5, [{p}, #64]",
                "stp q6, q7, [{p}, #96]", "stp q8, q9, [{p}, #128]", "stp q10, q11, [{p}, #160]",
                "stp q12, q13, [{p}, #192]", "stp q14, q15, [{p}, #224]", "stp q16, q17, [{p}, #256]",
                "stp q18, q19, [{p}, #288]", "stp q20, q21, [{p}, #320]", "stp q22, q23, [{p}, #352]",
                "stp q24, q25, [{p}, #384]", "stp q26, q27, [{p}, #416]", "stp q28, q29, [{p}, #448]",
                "stp q30, q31, [{p}, #480]",
                "mrs {a}, fpcr", "mrs {b}, fpsr", "str {a}, [{p}, #512]", "str {b}, [{p}, #520]",
                p = in(reg) self, a = out(reg) _, b = out(reg) _, options(nostack, preserves_flags)
            )
        }
    }

    /// Puts the FP registers back.
    #[inline]
    pub fn restore(&self) {
        // SAFETY: EL2 keeps nothing in FP registers (softfloat target); CPTR_EL2.TFP is clear.
        unsafe {
            asm!(
                ".arch_extension fp", ".arch_extension simd",
                "ldp q0, q1, [{p}, #0]", "ldp q2, q3, [{p}, #32]", "ldp q4, q5, [{p}, #64]",
                "ldp q6, q7, [{p}, #96]", "ldp q8, q9, [{p}, #128]", "ldp q10, q11, [{p}, #160]",
                "ldp q12, q13, [{p}, #192]", "ldp q14, q15, [{p}, #224]", "ldp q16, q17, [{p}, #256]",
                "ldp q18, q19, [{p}, #288]", "ldp q20, q21, [{p}, #320]", "ldp q22, q23, [{p}, #352]",
                "ldp q24, q25, [{p}, #384]", "ldp q26, q27, [{p}, #416]", "ldp q28, q29, [{p}, #448]",
                "ldp q30, q31, [{p}, #480]",
                "ldr {a}, [{p}, #512]", "ldr {b}, [{p}, #520]", "msr fpcr, {a}", "msr fpsr, {b}",
                p = in(reg) self, a = out(reg) _, b = out(reg) _, options(nostack, preserves_flags)
            )
        }
    }
}
