//! Feature identification registers: the hardware's value cut down to what a guest really has.
//!
//! Every register of the space op0 3, op1 0, CRn 0, CRm 1-7 is covered: fields not named below, and registers not
//! named at all, read as zero, the architecture's word for "not there". A field passes only if a guest can use the
//! feature without the hypervisor switching or trapping anything for it. Hidden: SVE, SME, MTE, pointer
//! authentication, AMU, MPAM, PMU, SPE, TRBE, trace, BRBE, RAS, GCS, EL2 and EL3 with all their extensions, LOR, ECV,
//! everything behind HCRX_EL2. Fields: Arm ARM D24.2 "General system control registers".

use crate::sysreg::SysReg;

/// What the guest's vCPUs have beyond the hardware's word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdConfig {
    /// The GIC CPU interface is in system registers.
    pub gicv3: bool,
    /// Largest PARange value (0 is 32 bits, 5 is 48 bits) that stage 2 can map.
    pub pa_range: u8,
}

/// One field: its lowest bit (fields are four bits wide) and the largest value that passes.
#[derive(Clone, Copy)]
struct Cap(u8, u8);

/// Passes as the hardware has it.
const ANY: u8 = 15;

const PFR0: &[Cap] = &[
    Cap(0, ANY),  // EL0, AArch32 too
    Cap(48, ANY), // DIT
    Cap(56, 1),   // CSV2: without SCXTNUM registers
    Cap(60, ANY), // CSV3
];
const PFR1: &[Cap] = &[
    Cap(0, ANY), // BT
    Cap(4, ANY), // SSBS
];
const DFR0: &[Cap] = &[
    Cap(28, 1),   // CTX_CMPs
    Cap(36, ANY), // DoubleLock: signed, passes whole
];
const ISAR0: &[Cap] = &[
    Cap(4, ANY),  // AES
    Cap(8, ANY),  // SHA1
    Cap(12, ANY), // SHA2
    Cap(16, ANY), // CRC32
    Cap(20, ANY), // Atomic
    Cap(28, ANY), // RDM
    Cap(32, ANY), // SHA3
    Cap(36, ANY), // SM3
    Cap(40, ANY), // SM4
    Cap(44, ANY), // DP
    Cap(48, ANY), // FHM
    Cap(52, ANY), // TS
    Cap(56, ANY), // TLB
    Cap(60, ANY), // RNDR
];
const ISAR1: &[Cap] = &[
    Cap(0, ANY),  // DPB
    Cap(12, ANY), // JSCVT
    Cap(16, ANY), // FCMA
    Cap(20, ANY), // LRCPC
    Cap(32, ANY), // FRINTTS
    Cap(36, ANY), // SB
    Cap(40, ANY), // SPECRES
    Cap(44, 1),   // BF16: without EBF16, which SVE and SME bring
    Cap(48, ANY), // DGH
    Cap(52, ANY), // I8MM
];
const ISAR2: &[Cap] = &[
    Cap(4, ANY),  // RPRES
    Cap(20, ANY), // BC
    Cap(28, ANY), // CLRBHB
    Cap(48, ANY), // RPRFM
    Cap(52, ANY), // CSSC
];
const MMFR0: &[Cap] = &[
    Cap(4, ANY),  // ASIDBits
    Cap(8, ANY),  // BigEnd
    Cap(16, ANY), // BigEndEL0
    Cap(20, ANY), // TGran16
    Cap(24, ANY), // TGran64: signed, passes whole
    Cap(28, ANY), // TGran4: likewise
    Cap(44, ANY), // ExS
];
const MMFR1: &[Cap] = &[
    Cap(0, 2),    // HAFDBS: without HAFT, which TCR2 enables
    Cap(12, ANY), // HPDS
    Cap(20, ANY), // PAN
    Cap(36, ANY), // ETS
    Cap(44, ANY), // AFP
    Cap(48, ANY), // nTLBPA
    Cap(60, ANY), // ECBHB
];
const MMFR2: &[Cap] = &[
    Cap(0, ANY),  // CnP
    Cap(4, ANY),  // UAO
    Cap(8, ANY),  // LSM
    Cap(16, ANY), // VARange
    Cap(20, ANY), // CCIDX
    Cap(28, ANY), // ST
    Cap(32, ANY), // AT
    Cap(36, ANY), // IDS
    Cap(48, ANY), // TTL
    Cap(52, ANY), // BBM
    Cap(60, ANY), // E0PD
];
const AARCH32_PFR0: &[Cap] = &[
    Cap(0, ANY),  // State0
    Cap(4, ANY),  // State1
    Cap(8, ANY),  // State2
    Cap(12, ANY), // State3
    Cap(16, 1),   // CSV2
    Cap(24, ANY), // DIT
];
const AARCH32_PFR1: &[Cap] = &[
    Cap(0, ANY),  // ProgMod
    Cap(8, ANY),  // MProgMod
    Cap(16, ANY), // GenTimer
];
const AARCH32_PFR2: &[Cap] = &[
    Cap(0, ANY), // CSV3
    Cap(4, ANY), // SSBS
];
const AARCH32_MMFR4: &[Cap] = &[
    Cap(4, ANY),  // AC2
    Cap(12, ANY), // CnP
    Cap(16, ANY), // HPDS
    Cap(20, ANY), // LSM
    Cap(24, ANY), // CCIDX
];
const AARCH32_MMFR5: &[Cap] = &[
    Cap(0, ANY), // ETS
    Cap(4, ANY), // nTLBPA
];

/// What a guest reads from identification register `reg`, whose hardware value is `hw`.
pub fn guest_value(reg: SysReg, hw: u64, config: &IdConfig) -> u64 {
    let gic = config.gicv3 as u64;
    match (reg.crm(), reg.op2()) {
        // AArch32, for EL0 code and for kernels that look.
        (1, 0) => caps(hw, AARCH32_PFR0),
        (1, 1) => caps(hw, AARCH32_PFR1) | gic << 28,
        (1, 2) => DEBUG_V8,                 // ID_DFR0_EL1
        (1, 3) => 0,                        // ID_AFR0_EL1: implementation defined
        (1, 4..=7) => hw & 0xffff_ffff,     // ID_MMFR0-3_EL1
        (2, 0..=5 | 7) => hw & 0xffff_ffff, // ID_ISAR0-6_EL1
        (2, 6) => caps(hw, AARCH32_MMFR4),
        (3, 0..=2) => hw & 0xffff_ffff, // MVFR0-2_EL1
        (3, 4) => caps(hw, AARCH32_PFR2),
        (3, 6) => caps(hw, AARCH32_MMFR5),
        // AArch64. EL1 is 64-bit only; FP and AdvSIMD pass whole, 15 being "absent".
        (4, 0) => caps(hw, PFR0) | 1 << 4 | hw & 0xff << 16 | gic << 24,
        (4, 1) => caps(hw, PFR1),
        // Two breakpoints and two watchpoints, the architecture's least.
        (5, 0) => caps(hw, DFR0) | DEBUG_V8 | 1 << 12 | 1 << 20,
        (6, 0) => caps(hw, ISAR0),
        (6, 1) => caps(hw, ISAR1),
        (6, 2) => caps(hw, ISAR2),
        (7, 0) => caps(hw, MMFR0) | (hw & 15).min(u64::from(config.pa_range)),
        (7, 1) => caps(hw, MMFR1),
        (7, 2) => caps(hw, MMFR2),
        // ZFR0, SMFR0, FPFR0, PFR2, DFR1, AFR0/1, ISAR3, MMFR3/4, and what is not allocated.
        _ => 0,
    }
}

/// What a guest may be told of a register that reads `a` on one CPU and `b` on another: field by field the lesser, so that
/// it finds on each CPU what it was told of. AArch64 fields in which 15 means "absent" count as signed (D24.1.3).
pub fn common_value(reg: SysReg, a: u64, b: u64) -> u64 {
    let signed: &[u8] = match (reg.crm(), reg.op2()) {
        (4, 0) => &[16, 20], // FP, AdvSIMD
        (5, 0) => &[36],     // DoubleLock
        (7, 0) => &[24, 28], // TGran64, TGran4
        _ => &[],
    };
    let mut value = 0;
    for shift in (0..64).step_by(4) {
        let (x, y) = (a >> shift & 15, b >> shift & 15);
        let flip = if signed.contains(&shift) { 8 } else { 0 };
        value |= ((x ^ flip).min(y ^ flip) ^ flip) << shift;
    }
    value
}

/// DebugVer: the Armv8.0 debug architecture, which must not read as absent on an AArch64 CPU.
const DEBUG_V8: u64 = 6;

fn caps(hw: u64, fields: &[Cap]) -> u64 {
    let mut value = 0;
    for Cap(shift, most) in fields {
        value |= (hw >> shift & 15).min(u64::from(*most)) << shift;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const V3: IdConfig = IdConfig {
        gicv3: true,
        pa_range: 5,
    };
    const V2: IdConfig = IdConfig {
        gicv3: false,
        pa_range: 2,
    };

    fn id(crm: u8, op2: u8, hw: u64, config: &IdConfig) -> u64 {
        guest_value(SysReg::new(3, 0, 0, crm, op2), hw, config)
    }

    #[test]
    fn cortex_a72_under_gicv3() {
        // Values of the Cortex-A72 r0p3 (its TRM, chapter 4.3) with the GIC CPU interface on.
        assert_eq!(id(4, 0, 0x0000_0000_1100_2222, &V3), 0x0100_0012);
        assert_eq!(id(4, 0, 0x0000_0000_1100_2222, &V2), 0x0000_0012);
        assert_eq!(id(5, 0, 0x0000_0000_1030_5106, &V3), 0x1010_1006);
        assert_eq!(id(6, 0, 0x0000_0000_0001_1120, &V3), 0x0001_1120);
        assert_eq!(id(7, 0, 0x0000_0000_0000_1124, &V3), 0x0000_0124);
        assert_eq!(id(7, 0, 0x0000_0000_0000_1124, &V2), 0x0000_0122);
        assert_eq!(id(1, 1, 0x1001_1011, &V3), 0x1001_0001);
        assert_eq!(id(1, 2, 0x0301_0066, &V3), 6);
    }

    #[test]
    fn nothing_that_needs_el2_survives_all_ones() {
        let field = |crm, op2, shift: u8| id(crm, op2, u64::MAX, &V3) >> shift & 15;
        assert_eq!(field(4, 0, 4), 1); // EL1
        assert_eq!(field(4, 0, 24), 1); // GIC
        assert_eq!(field(4, 0, 16), 15); // no FP stays no FP
        for (crm, op2, shift) in [
            (4, 0, 8),
            (4, 0, 12),
            (4, 0, 28),
            (4, 0, 32),
            (4, 0, 36),
            (4, 0, 40),
            (4, 0, 44),
            (4, 0, 52), // EL2 .. RME
            (4, 1, 8),
            (4, 1, 12),
            (4, 1, 24),
            (4, 1, 36),
            (4, 1, 44), // MTE, RAS_frac, SME, NMI, GCS
            (5, 0, 4),
            (5, 0, 8),
            (5, 0, 32),
            (5, 0, 40),
            (5, 0, 44),
            (5, 0, 52), // trace, PMU, SPE, TRBE, BRBE
            (6, 0, 24),
            (6, 1, 4),
            (6, 1, 8),
            (6, 1, 24),
            (6, 1, 28),
            (6, 1, 60),
            (6, 2, 8),
            (6, 2, 12),
            (6, 2, 16), // PAuth, MOPS
            (7, 0, 56),
            (7, 0, 60),
            (7, 1, 4),
            (7, 1, 8),
            (7, 1, 16),
            (7, 1, 40),
            (7, 2, 24),
            (7, 2, 40),
            (7, 2, 56), // FGT .. EVT
        ] {
            assert_eq!(field(crm, op2, shift), 0, "CRm {crm} op2 {op2} bit {shift}");
        }
    }

    #[test]
    fn two_kinds_of_cpu_have_in_common_what_both_have() {
        let pfr0 = SysReg::new(3, 0, 0, 4, 0);
        // A big core with FP and half precision beside a little one without half precision, and one without any FP.
        assert_eq!(common_value(pfr0, 0x0110_0012, 0x0100_0012), 0x0100_0012);
        assert_eq!(common_value(pfr0, 0x0110_0012, 0x01ff_0011), 0x01ff_0011);
        let isar0 = SysReg::new(3, 0, 0, 6, 0);
        assert_eq!(common_value(isar0, 0x0021_1120, 0x0001_1110), 0x0001_1110);
        let mmfr0 = SysReg::new(3, 0, 0, 7, 0);
        assert_eq!(common_value(mmfr0, 0xf010_1124, 0x0010_0122), 0xf010_0122);
    }

    #[test]
    fn unallocated_and_hidden_registers_read_as_zero() {
        for (crm, op2) in (1..8).flat_map(|crm| (0..8).map(move |op2| (crm, op2))) {
            let named = matches!((crm, op2), (1, 0..=2 | 4..=7) | (2, _) | (3, 0..=2 | 4 | 6) | (4..=6, 0 | 1) | (6, 2) | (7, 0..=2))
                && (crm, op2) != (5, 1);
            assert_eq!(
                id(crm, op2, u64::MAX, &V3) != 0,
                named,
                "CRm {crm} op2 {op2}"
            );
        }
    }

    #[test]
    fn aarch32_registers_are_32_bits() {
        for (crm, op2) in (1..4).flat_map(|crm| (0..8).map(move |op2| (crm, op2))) {
            assert_eq!(id(crm, op2, u64::MAX, &V3) >> 32, 0);
        }
    }
}
