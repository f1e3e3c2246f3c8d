//! The exception syndrome: classes as names, and in words for people. Source: Arm ARM DDI 0487, D24.2.40 ESR_ELx.

/// WFI or WFE.
pub const EC_WFX: u64 = 0x01;
/// HVC from AArch64.
pub const EC_HVC64: u64 = 0x16;
/// SMC from AArch64.
pub const EC_SMC64: u64 = 0x17;
/// MSR, MRS or system instruction.
pub const EC_SYS64: u64 = 0x18;
/// Instruction abort from a guest.
pub const EC_IABORT: u64 = 0x20;
/// Data abort from a guest.
pub const EC_DABORT: u64 = 0x24;

/// Exception class.
pub const fn class(esr: u64) -> u64 {
    (esr >> 26) & 0x3f
}

/// Whether the trapped instruction has 32 bits.
pub const fn il(esr: u64) -> bool {
    esr & (1 << 25) != 0
}

/// In words.
pub const fn describe(esr: u64) -> &'static str {
    match class(esr) {
        0x00 => "unknown or undefined instruction",
        0x01 => "WFI or WFE",
        0x07 => "FP/SIMD access",
        0x0e => "illegal execution state",
        0x15 | 0x16 => "HVC",
        0x13 | 0x17 => "SMC",
        0x18 => "system register access",
        0x19 => "SVE access",
        0x20 | 0x21 => fault(
            "instruction abort: translation fault",
            "instruction abort: permission fault",
            "instruction abort",
            esr,
        ),
        0x22 => "misaligned PC",
        0x24 | 0x25 => fault(
            "data abort: translation fault",
            "data abort: permission fault",
            "data abort",
            esr,
        ),
        0x26 => "misaligned SP",
        0x2f => "SError",
        0x3c => "BRK instruction",
        _ => "other exception",
    }
}

const fn fault(
    translation: &'static str,
    permission: &'static str,
    other: &'static str,
    esr: u64,
) -> &'static str {
    match (esr & 0x3f) >> 2 {
        1 => translation,
        3 => permission,
        _ => other,
    }
}
