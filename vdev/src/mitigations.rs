//! Which of the firmware's mitigations of speculation guests are told of: SMCCC_ARCH_WORKAROUND_1 (CVE-2017-5715), _2
//! (CVE-2018-3639) and _3 (CVE-2022-23960), as SMCCC_ARCH_FEATURES answers them (Arm DEN0028 7.4, DEN0070).
//!
//! A vCPU may run on any CPU, so what it is told must hold on all of them: what is unknown on one is unknown, even if
//! another one's firmware has it; needed on one and not on the rest is needed. Must never promise what nobody does.

/// Answers for workarounds 1, 2 and 3: 0 needed and there, positive not needed, negative not known or (2) not to be asked
/// for.
pub type Answers = [i32; 3];

/// Nobody to ask.
pub const UNKNOWN: Answers = [NOT_SUPPORTED; 3];

const NOT_SUPPORTED: i32 = -1;
/// SMCCC_RET_NOT_REQUIRED: of workaround 2, the mitigation is always on or nothing is to be mitigated.
const NOT_REQUIRED: i32 = -2;

/// What holds on a CPU whose firmware answered `firmware`, with these values of ID_AA64PFR0_EL1 and ID_AA64MMFR1_EL1.
pub const fn of_cpu(firmware: Answers, pfr0: u64, mmfr1: u64) -> Answers {
    let csv2 = pfr0 >> 56 & 0xf;
    let ecbhb = mmfr1 >> 60 & 0xf;
    let [one, two, three] = firmware;
    [
        known(one, csv2 >= 1),
        // Firmware starts with it on, and a guest that switched it off on this CPU would do so for the next guest, too:
        // it stays on.
        if two >= 0 || two == NOT_REQUIRED {
            NOT_REQUIRED
        } else {
            NOT_SUPPORTED
        },
        known(three, csv2 >= 3 || ecbhb >= 1),
    ]
}

/// What firmware knows counts; else the CPU may be one that needs nothing.
const fn known(firmware: i32, immune: bool) -> i32 {
    match firmware {
        0 => 0,
        1.. => 1,
        _ if immune => 1,
        _ => NOT_SUPPORTED,
    }
}

/// What holds of one workaround on two CPUs, or on two groups of them.
pub const fn on_both(a: i32, b: i32) -> i32 {
    match (a, b) {
        (a, b) if a == b => a,
        // Asked for where it is not needed, it does nothing.
        (0, 1..) | (1.., 0) => 0,
        _ => NOT_SUPPORTED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV2: u64 = 1 << 56;

    #[test]
    fn firmware_counts_then_the_cpu() {
        assert_eq!(of_cpu([0, 0, 0], 0, 0), [0, -2, 0]);
        assert_eq!(of_cpu([1, 1, 1], 0, 0), [1, -2, 1]);
        assert_eq!(of_cpu([-1, -2, -1], 0, 0), [-1, -2, -1]);
        assert_eq!(of_cpu(UNKNOWN, 0, 0), UNKNOWN);
        assert_eq!(of_cpu(UNKNOWN, CSV2, 0), [1, -1, -1]);
        assert_eq!(of_cpu(UNKNOWN, 3 * CSV2, 0), [1, -1, 1]);
        assert_eq!(of_cpu(UNKNOWN, 0, 1 << 60), [-1, -1, 1]);
        // A CPU that claims to need nothing, and firmware that says it does.
        assert_eq!(of_cpu([0, -1, 0], 3 * CSV2, 1 << 60), [0, -1, 0]);
        assert_eq!(of_cpu([i32::MAX, i32::MIN, i32::MIN], 0, 0), [1, -1, -1]);
    }

    #[test]
    fn what_is_told_holds_on_all_cpus() {
        for (a, b, both) in [
            (0, 1, 0),
            // A CPU that needs it and whose firmware does not know it: calling would protect the guest on one only.
            (0, -1, -1),
            (1, 1, 1),
            (1, -1, -1),
            (-2, -2, -2),
            (-2, -1, -1),
            (0, 0, 0),
        ] {
            assert_eq!((on_both(a, b), on_both(b, a)), (both, both));
        }
    }
}
