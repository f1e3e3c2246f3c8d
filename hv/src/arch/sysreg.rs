//! The system registers Tarn reads and writes as whole words, in one list; those with fields come from aarch64-cpu.
//!
//! A read is a plain value. A write is a safe function only where no value of it can break memory safety of EL2;
//! translation control and traps are `unsafe` and called from `mmu` and `run` alone.

use core::arch::asm;

macro_rules! read {
    ($($(#[$doc:meta])* $name:ident = $reg:literal;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name() -> u64 {
            let v: u64;
            // SAFETY: reading this register has no side effect.
            unsafe { asm!(concat!("mrs {}, ", $reg), out(reg) v, options(nomem, nostack, preserves_flags)) };
            v
        }
    )*};
}

macro_rules! write_guest_state {
    ($($(#[$doc:meta])* $name:ident = $reg:literal;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name(v: u64) {
            // SAFETY: the register has effect on EL1/EL0 or on timers only, never on EL2's own memory accesses.
            unsafe { asm!(concat!("msr ", $reg, ", {}"), in(reg) v, options(nostack, preserves_flags)) };
        }
    )*};
}

read! {
    /// Pending physical interrupts.
    isr_el1 = "isr_el1";
    /// Cache line sizes.
    ctr_el0 = "ctr_el0";
    /// Block size of `dc zva`.
    dczid_el0 = "dczid_el0";
    /// Implementer and part of this CPU.
    midr_el1 = "midr_el1";
    /// Frequency of the counter, as firmware says.
    cntfrq_el0 = "cntfrq_el0";
    /// Affinity of this CPU.
    mpidr_el1 = "mpidr_el1";
    /// Revision id.
    revidr_el1 = "revidr_el1";
    /// Exception level, bits 2-3.
    current_el = "CurrentEL";
    /// Syndrome of the last exception to EL2.
    esr_el2 = "esr_el2";
    /// Faulting virtual address.
    far_el2 = "far_el2";
    /// Faulting IPA, bits 12 up in bits 4-43.
    hpfar_el2 = "hpfar_el2";
    /// This CPU's block.
    tpidr_el2 = "tpidr_el2";
    /// Translation control of EL2.
    tcr_el2 = "tcr_el2";
    /// Memory attributes of EL2.
    mair_el2 = "mair_el2";
    /// Current stage-2 root and VMID.
    vttbr_el2 = "vttbr_el2";
    /// Guest system control.
    sctlr_el1 = "sctlr_el1";
    /// Guest vectors.
    vbar_el1 = "vbar_el1";
    /// Pending virtual SError as the guest's error synchronization reports it; exists with RAS.
    vdisr_el2 = "s3_4_c12_c1_1";
    /// Guest virtual timer control.
    cntv_ctl_el0 = "cntv_ctl_el0";
    /// Guest virtual timer compare value.
    cntv_cval_el0 = "cntv_cval_el0";
    /// Physical counter.
    cntpct_el0 = "cntpct_el0";
    /// PMU control: how many counters there are.
    pmcr_el0 = "pmcr_el0";
    /// Features.
    id_aa64mmfr0_el1 = "id_aa64mmfr0_el1";
    /// Features.
    id_aa64mmfr1_el1 = "id_aa64mmfr1_el1";
    /// Features.
    id_aa64mmfr2_el1 = "id_aa64mmfr2_el1";
    /// Features.
    id_aa64pfr0_el1 = "id_aa64pfr0_el1";
    /// Features.
    id_aa64pfr1_el1 = "id_aa64pfr1_el1";
    /// Features.
    id_aa64dfr0_el1 = "id_aa64dfr0_el1";
    /// Features.
    id_aa64dfr1_el1 = "id_aa64dfr1_el1";
    /// Features.
    id_aa64isar0_el1 = "id_aa64isar0_el1";
    /// Features.
    id_aa64isar1_el1 = "id_aa64isar1_el1";
    /// Features.
    id_aa64isar2_el1 = "s3_0_c0_c6_2";
    /// Features.
    id_aa64afr0_el1 = "id_aa64afr0_el1";
    /// Features.
    id_aa64afr1_el1 = "id_aa64afr1_el1";
    /// AArch32 features.
    id_pfr0_el1 = "id_pfr0_el1";
    /// AArch32 features.
    id_pfr1_el1 = "id_pfr1_el1";
    /// AArch32 features.
    id_pfr2_el1 = "s3_0_c0_c3_4";
    /// AArch32 features.
    id_dfr0_el1 = "id_dfr0_el1";
    /// AArch32 features.
    id_dfr1_el1 = "s3_0_c0_c3_5";
    /// AArch32 features.
    id_afr0_el1 = "id_afr0_el1";
    /// AArch32 features.
    id_mmfr0_el1 = "id_mmfr0_el1";
    /// AArch32 features.
    id_mmfr1_el1 = "id_mmfr1_el1";
    /// AArch32 features.
    id_mmfr2_el1 = "id_mmfr2_el1";
    /// AArch32 features.
    id_mmfr3_el1 = "id_mmfr3_el1";
    /// AArch32 features.
    id_mmfr4_el1 = "id_mmfr4_el1";
    /// AArch32 features.
    id_mmfr5_el1 = "s3_0_c0_c3_6";
    /// AArch32 features.
    id_isar0_el1 = "id_isar0_el1";
    /// AArch32 features.
    id_isar1_el1 = "id_isar1_el1";
    /// AArch32 features.
    id_isar2_el1 = "id_isar2_el1";
    /// AArch32 features.
    id_isar3_el1 = "id_isar3_el1";
    /// AArch32 features.
    id_isar4_el1 = "id_isar4_el1";
    /// AArch32 features.
    id_isar5_el1 = "id_isar5_el1";
    /// AArch32 features.
    id_isar6_el1 = "s3_0_c0_c2_7";
    /// AArch32 features.
    mvfr0_el1 = "mvfr0_el1";
    /// AArch32 features.
    mvfr1_el1 = "mvfr1_el1";
    /// AArch32 features.
    mvfr2_el1 = "mvfr2_el1";
}

write_guest_state! {
    /// See `vdisr_el2`.
    set_vdisr_el2 = "s3_4_c12_c1_1";
    /// Guest debug control.
    set_mdscr_el1 = "mdscr_el1";
    /// Guest return address.
    set_elr_el1 = "elr_el1";
    /// Guest saved PSTATE.
    set_spsr_el1 = "spsr_el1";
    /// Guest syndrome.
    set_esr_el1 = "esr_el1";
    /// Guest fault address.
    set_far_el1 = "far_el1";
    /// What the guest reads as MIDR_EL1.
    set_vpidr_el2 = "vpidr_el2";
    /// What the guest reads as MPIDR_EL1.
    set_vmpidr_el2 = "vmpidr_el2";
    /// Guest's virtual counter = physical - this.
    set_cntvoff_el2 = "cntvoff_el2";
    /// Guest virtual timer control.
    set_cntv_ctl_el0 = "cntv_ctl_el0";
    /// Guest virtual timer compare value.
    set_cntv_cval_el0 = "cntv_cval_el0";
    /// EL1 physical timer off/on; guests' accesses to it trap.
    set_cntp_ctl_el0 = "cntp_ctl_el0";
    /// Which counter and timer registers trap.
    set_cnthctl_el2 = "cnthctl_el2";
    /// FP, trace and CPACR traps.
    set_cptr_el2 = "cptr_el2";
    /// AArch32 system register traps.
    set_hstr_el2 = "hstr_el2";
    /// Debug and PMU traps.
    set_mdcr_el2 = "mdcr_el2";
}

/// Sets HCR_EL2.
///
/// # Safety
/// `v` keeps VM, RW, IMO, FMO and AMO as a loaded guest needs them; with no guest loaded any value is fine.
pub unsafe fn set_hcr_el2(v: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("msr hcr_el2, {}", in(reg) v, options(nostack, preserves_flags)) };
}

/// Sets the stage-2 root and VMID.
///
/// # Safety
/// `v` names a stage-2 table that maps nothing of EL2's own memory writable, and that outlives its being loaded.
pub unsafe fn set_vttbr_el2(v: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("msr vttbr_el2, {}", in(reg) v, options(nostack, preserves_flags)) };
}

/// Sets stage-2 translation control.
///
/// # Safety
/// `v` matches the geometry of every stage-2 table (mem/stage2.rs).
pub unsafe fn set_vtcr_el2(v: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("msr vtcr_el2, {}", in(reg) v, options(nostack, preserves_flags)) };
}

/// Names this CPU's block.
///
/// # Safety
/// `v` is the address of a `Cpu` that lives for ever and is no other CPU's.
pub unsafe fn set_tpidr_el2(v: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("msr tpidr_el2, {}", in(reg) v, options(nostack, preserves_flags)) };
}

/// Drops all stage-1 and stage-2 TLB entries of the VMID that VTTBR_EL2 names, on every CPU.
pub fn tlbi_current_vmid() {
    // SAFETY: TLB invalidation costs walks only.
    unsafe {
        asm!(
            "dsb ishst",
            "tlbi vmalls12e1is",
            "dsb ish",
            "isb",
            options(nostack, preserves_flags)
        )
    };
}

/// Drops all guest TLB entries of every VMID on this CPU.
pub fn tlbi_all_guests_local() {
    // SAFETY: TLB invalidation costs walks only.
    unsafe {
        asm!(
            "dsb nshst",
            "tlbi alle1",
            "ic iallu",
            "dsb nsh",
            "isb",
            options(nostack, preserves_flags)
        )
    };
}

/// Bits of physical addresses this CPU has, at most 48.
pub fn pa_bits() -> u32 {
    match id_aa64mmfr0_el1() & 0xf {
        0 => 32,
        1 => 36,
        2 => 40,
        3 => 42,
        4 => 44,
        _ => 48,
    }
}

/// Drops the loaded VMID's stage-1 entries and the instruction cache on this CPU: another vCPU of the same domain ran
/// here, and the two may use one ASID for different tables.
pub fn tlbi_stage1_local() {
    // SAFETY: TLB and instruction cache invalidation cost refills only.
    unsafe {
        asm!(
            "tlbi vmalle1",
            "ic iallu",
            "dsb nsh",
            "isb",
            options(nostack, preserves_flags)
        )
    };
}

/// Sets the fine-grained and extended trap registers, UNKNOWN at reset, to zero where this CPU has them.
pub fn clear_fine_traps() {
    if (id_aa64mmfr0_el1() >> 56) & 0xf != 0 {
        // HFGRTR, HFGWTR, HFGITR, HDFGRTR, HDFGWTR.
        // SAFETY: FEAT_FGT is there; zero traps nothing more than HCR_EL2 does.
        unsafe {
            asm!(
                "msr s3_4_c1_c1_4, xzr",
                "msr s3_4_c1_c1_5, xzr",
                "msr s3_4_c1_c1_6, xzr",
                "msr s3_4_c3_c1_4, xzr",
                "msr s3_4_c3_c1_5, xzr",
                options(nostack, preserves_flags)
            )
        };
    }
    if (id_aa64mmfr1_el1() >> 40) & 0xf != 0 {
        // SAFETY: HCRX_EL2 is there (FEAT_HCX); zero enables none of its features for guests.
        unsafe { asm!("msr s3_4_c1_c2_2, xzr", options(nostack, preserves_flags)) };
    }
}
