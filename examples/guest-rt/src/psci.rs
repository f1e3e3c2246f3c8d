//! PSCI and SMCCC calls, by HVC or SMC as the device tree says.
//!
//! [`call`] is the bare call for tests; the named functions are what ordinary guests need. Sources: Arm DEN 0022 (PSCI
//! 1.1) and DEN 0028 (SMCCC).
use core::arch::asm;

use crate::machine::Conduit;

/// Function ids: 32-bit, and 64-bit where one exists.
pub mod id {
    /// PSCI_VERSION.
    pub const VERSION: u32 = 0x8400_0000;
    /// CPU_SUSPEND, 32-bit.
    pub const CPU_SUSPEND32: u32 = 0x8400_0001;
    /// CPU_OFF.
    pub const CPU_OFF: u32 = 0x8400_0002;
    /// CPU_ON, 32-bit.
    pub const CPU_ON32: u32 = 0x8400_0003;
    /// AFFINITY_INFO, 32-bit.
    pub const AFFINITY_INFO32: u32 = 0x8400_0004;
    /// MIGRATE_INFO_TYPE.
    pub const MIGRATE_INFO_TYPE: u32 = 0x8400_0006;
    /// SYSTEM_OFF.
    pub const SYSTEM_OFF: u32 = 0x8400_0008;
    /// SYSTEM_RESET.
    pub const SYSTEM_RESET: u32 = 0x8400_0009;
    /// PSCI_FEATURES.
    pub const FEATURES: u32 = 0x8400_000a;
    /// CPU_SUSPEND, 64-bit.
    pub const CPU_SUSPEND: u32 = 0xc400_0001;
    /// CPU_ON, 64-bit.
    pub const CPU_ON: u32 = 0xc400_0003;
    /// AFFINITY_INFO, 64-bit.
    pub const AFFINITY_INFO: u32 = 0xc400_0004;
    /// SMCCC_VERSION.
    pub const SMCCC_VERSION: u32 = 0x8000_0000;
    /// SMCCC_ARCH_FEATURES.
    pub const SMCCC_ARCH_FEATURES: u32 = 0x8000_0001;
}

/// Error codes of PSCI calls.
pub mod error {
    /// NOT_SUPPORTED.
    pub const NOT_SUPPORTED: i64 = -1;
    /// INVALID_PARAMETERS.
    pub const INVALID_PARAMETERS: i64 = -2;
    /// DENIED.
    pub const DENIED: i64 = -3;
    /// ALREADY_ON.
    pub const ALREADY_ON: i64 = -4;
    /// ON_PENDING.
    pub const ON_PENDING: i64 = -5;
}

macro_rules! conduit {
    ($name:ident, $instruction:literal) => {
        /// The bare call: x0-x17 in and out.
        pub fn $name(x: &mut [u64; 18]) {
            // SAFETY: the call changes registers that are declared here, and no memory of this image but through
            // CPU_ON, whose caller (smp) argues for the entry point.
            unsafe {
                asm!($instruction,
                    inout("x0") x[0], inout("x1") x[1], inout("x2") x[2], inout("x3") x[3],
                    inout("x4") x[4], inout("x5") x[5], inout("x6") x[6], inout("x7") x[7],
                    inout("x8") x[8], inout("x9") x[9], inout("x10") x[10], inout("x11") x[11],
                    inout("x12") x[12], inout("x13") x[13], inout("x14") x[14], inout("x15") x[15],
                    inout("x16") x[16], inout("x17") x[17], options(nostack));
            }
        }
    };
}
conduit!(hvc, "hvc #0");
conduit!(smc, "smc #0");

/// A call by HVC that takes and gives x0 to x7.
pub fn hvc8(regs: [u64; 8]) -> [u64; 8] {
    let mut x = [0; 18];
    x[..8].copy_from_slice(&regs);
    hvc(&mut x);
    core::array::from_fn(|i| x[i])
}

/// Calls `function` by the machine's conduit; the answer is x0 as a signed number (32-bit results sign-extended).
pub fn call(function: u32, a: u64, b: u64, c: u64) -> i64 {
    let conduit = crate::machine().psci.unwrap_or(Conduit::Hvc);
    call_by(conduit, function, [a, b, c])
}

/// As [`call`], by a conduit the caller names.
pub fn call_by(conduit: Conduit, function: u32, args: [u64; 3]) -> i64 {
    let mut x = [0; 18];
    x[0] = u64::from(function);
    x[1..4].copy_from_slice(&args);
    match conduit {
        Conduit::Hvc => hvc(&mut x),
        Conduit::Smc => smc(&mut x),
    }
    if function & 1 << 30 == 0 {
        i64::from(x[0] as i32)
    } else {
        x[0] as i64
    }
}

/// Powers the machine off. Returns only if there is no PSCI.
pub fn system_off() {
    call(id::SYSTEM_OFF, 0, 0, 0);
}

/// Powers this CPU off. Returns only if that was refused.
pub fn cpu_off() {
    call(id::CPU_OFF, 0, 0, 0);
}

/// State of a CPU: 0 on, 1 off, 2 on-pending, negative an error.
pub fn affinity_info(mpidr: u64) -> i64 {
    call(id::AFFINITY_INFO, mpidr, 0, 0)
}
