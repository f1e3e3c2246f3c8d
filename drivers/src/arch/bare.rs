//! Instructions and system registers of the real machine: the only assembly of this crate.
//!
//! One function an instruction or register, `#[inline(always)]`, nothing decided here; arch/fake.rs has the same
//! names for the host. Functions that may be reordered against memory accesses without harm are `nomem`; those that
//! take part in an ordering (acknowledge, end, send, barriers) are not, so the compiler keeps memory accesses on their
//! side of them.

use core::arch::asm;

pub(crate) use smccc::{Hvc, Smc};

macro_rules! access {
    ($load:ident, $store:ident, $t:ty, $ldr:literal, $str:literal, $fmt:literal) => {
        /// One load from a device register.
        ///
        /// # Safety
        ///
        /// `at` is an aligned register in an owned `Mmio`.
        #[inline(always)]
        pub(crate) unsafe fn $load(at: usize) -> $t {
            let value: $t;
            // SAFETY: the caller promises a mapped register. A plain base-register load: a trapped one can be emulated.
            unsafe {
                asm!(concat!($ldr, " {v:", $fmt, "}, [{at}]"), v = out(reg) value, at = in(reg) at,
                     options(nostack, preserves_flags));
            }
            value
        }

        /// One store to a device register.
        ///
        /// # Safety
        ///
        /// `at` is an aligned register in an owned `Mmio`.
        #[inline(always)]
        pub(crate) unsafe fn $store(at: usize, value: $t) {
            // SAFETY: the caller promises a mapped register that belongs to no Rust object.
            unsafe {
                asm!(concat!($str, " {v:", $fmt, "}, [{at}]"), v = in(reg) value, at = in(reg) at,
                     options(nostack, preserves_flags));
            }
        }
    };
}
access!(load8, store8, u8, "ldrb", "strb", "w");
access!(load32, store32, u32, "ldr", "str", "w");
access!(load64, store64, u64, "ldr", "str", "x");

macro_rules! barrier {
    ($($(#[$doc:meta])* $name:ident $ins:literal;)+) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name() {
            // SAFETY: a barrier or hint changes no register and no memory.
            unsafe { asm!($ins, options(nostack, preserves_flags)) }
        }
    )+};
}
barrier! {
    /// Later instructions see what earlier system-register accesses did, and are not fetched before.
    isb "isb";
    /// Earlier stores are complete for the inner shareable domain before any later instruction.
    dsb_ishst "dsb ishst";
    /// Earlier stores are seen by the inner shareable domain before later ones, device stores included.
    dmb_ishst "dmb ishst";
    /// Earlier memory accesses, cache maintenance included, are complete for the whole system.
    dsb_sy "dsb sy";
    /// Earlier loads, of devices too, are done before later accesses.
    dmb_ld "dmb ld";
    /// Wakes CPUs that wait in `wfe`.
    sev "sev";
    /// Lets another hardware thread (or another CPU of a model) go first.
    relax "yield";
}

/// Cleans and drops the cache line of `at` down to memory.
///
/// # Safety
///
/// `at` is mapped.
#[inline(always)]
pub(crate) unsafe fn dc_civac(at: usize) {
    // SAFETY: the caller promises a mapped address; cleaning keeps the contents of memory as all coherent observers
    // see them.
    unsafe { asm!("dc civac, {}", in(reg) at, options(nostack, preserves_flags)) }
}

macro_rules! read {
    ($($name:ident $reg:literal $(, $opt:ident)?;)+) => {$(
        #[inline(always)]
        pub(crate) fn $name() -> u64 {
            let value: u64;
            // SAFETY: these registers hold interrupt and timer state; reading one touches no memory. Callers are
            // only built for a machine that has it (GICv3, EL2).
            unsafe {
                asm!(concat!("mrs {}, ", $reg), out(reg) value, options(nostack, preserves_flags $(, $opt)?));
            }
            value
        }
    )+};
}
macro_rules! write {
    ($($name:ident $reg:literal $(, $opt:ident)?;)+) => {$(
        #[inline(always)]
        pub(crate) fn $name(value: u64) {
            // SAFETY: these registers steer interrupts and timers; no value makes the CPU touch memory.
            unsafe {
                asm!(concat!("msr ", $reg, ", {}"), in(reg) value, options(nostack, preserves_flags $(, $opt)?));
            }
        }
    )+};
}

read! {
    read_icc_iar1 "s3_0_c12_c12_0";
    read_icc_ctlr "s3_0_c12_c12_4", nomem;
    read_icc_sre_el1 "s3_0_c12_c12_5";
    read_icc_sre_el2 "s3_4_c12_c9_5", nomem;
    read_ich_hcr "s3_4_c12_c11_0", nomem;
    read_ich_vtr "s3_4_c12_c11_1", nomem;
    read_ich_misr "s3_4_c12_c11_2", nomem;
    read_ich_eisr "s3_4_c12_c11_3", nomem;
    read_ich_elrsr "s3_4_c12_c11_5", nomem;
    read_ich_vmcr "s3_4_c12_c11_7", nomem;
    read_cntpct "cntpct_el0";
    read_cntfrq "cntfrq_el0", nomem;
    read_cnthp_ctl "s3_4_c14_c2_1", nomem;
    read_cnthp_cval "s3_4_c14_c2_2", nomem;
}
write! {
    write_icc_eoir1 "s3_0_c12_c12_1";
    write_icc_dir "s3_0_c12_c11_1";
    write_icc_sgi1r "s3_0_c12_c11_5";
    write_icc_ctlr "s3_0_c12_c12_4";
    write_icc_pmr "s3_0_c4_c6_0";
    write_icc_bpr1 "s3_0_c12_c12_3";
    write_icc_igrpen1 "s3_0_c12_c12_7";
    write_icc_ap1r0 "s3_0_c12_c9_0";
    write_icc_ap1r1 "s3_0_c12_c9_1";
    write_icc_ap1r2 "s3_0_c12_c9_2";
    write_icc_ap1r3 "s3_0_c12_c9_3";
    write_icc_sre_el1 "s3_0_c12_c12_5";
    write_icc_sre_el2 "s3_4_c12_c9_5";
    write_ich_hcr "s3_4_c12_c11_0", nomem;
    write_ich_vmcr "s3_4_c12_c11_7", nomem;
    write_cnthp_ctl "s3_4_c14_c2_1", nomem;
    write_cnthp_cval "s3_4_c14_c2_2", nomem;
}

macro_rules! indexed {
    ($(#[$doc:meta])* $read:ident, $write:ident, $($i:literal $reg:literal),+) => {
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $read(i: usize) -> u64 {
            let value: u64;
            match i {
                // SAFETY: as for the other register reads; the number is below what ICH_VTR_EL2 says there is.
                $($i => unsafe {
                    asm!(concat!("mrs {}, ", $reg), out(reg) value, options(nostack, preserves_flags, nomem));
                },)+
                _ => value = 0,
            }
            value
        }

        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $write(i: usize, value: u64) {
            match i {
                // SAFETY: as for the other register writes; the number is below what ICH_VTR_EL2 says there is.
                $($i => unsafe {
                    asm!(concat!("msr ", $reg, ", {}"), in(reg) value, options(nostack, preserves_flags, nomem));
                },)+
                _ => {}
            }
        }
    };
}
indexed!(
    /// ICH_LR<n>_EL2.
    read_ich_lr, write_ich_lr,
    0 "s3_4_c12_c12_0", 1 "s3_4_c12_c12_1", 2 "s3_4_c12_c12_2", 3 "s3_4_c12_c12_3",
    4 "s3_4_c12_c12_4", 5 "s3_4_c12_c12_5", 6 "s3_4_c12_c12_6", 7 "s3_4_c12_c12_7",
    8 "s3_4_c12_c13_0", 9 "s3_4_c12_c13_1", 10 "s3_4_c12_c13_2", 11 "s3_4_c12_c13_3",
    12 "s3_4_c12_c13_4", 13 "s3_4_c12_c13_5", 14 "s3_4_c12_c13_6", 15 "s3_4_c12_c13_7"
);
indexed!(
    /// ICH_AP0R<n>_EL2.
    read_ich_ap0r, write_ich_ap0r,
    0 "s3_4_c12_c8_0", 1 "s3_4_c12_c8_1", 2 "s3_4_c12_c8_2", 3 "s3_4_c12_c8_3"
);
indexed!(
    /// ICH_AP1R<n>_EL2.
    read_ich_ap1r, write_ich_ap1r,
    0 "s3_4_c12_c9_0", 1 "s3_4_c12_c9_1", 2 "s3_4_c12_c9_2", 3 "s3_4_c12_c9_3"
);

/// ICC_AP1R<n>_EL1.
#[inline(always)]
pub(crate) fn write_icc_ap1r(i: usize, value: u64) {
    match i {
        0 => write_icc_ap1r0(value),
        1 => write_icc_ap1r1(value),
        2 => write_icc_ap1r2(value),
        3 => write_icc_ap1r3(value),
        _ => {}
    }
}
