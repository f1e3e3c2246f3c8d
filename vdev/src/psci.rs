//! Calls a guest makes by HVC or SMC that are not Tarn's own: PSCI 1.1 (DEN0022), SMCCC 1.2 (DEN0028), the
//! vendor-specific hypervisor identification.
//!
//! [`smccc`] looks at registers and decides: answered here, a power request for the hypervisor with its arguments
//! checked, or a call in Tarn's own range. It changes nothing itself. The arm-psci crate would give the table of
//! PSCI function ids, a tenth of this file: argument rules, answers and SMCCC are its user's.

use tarn_abi::Regs;

/// What to do about a call.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SmcccCall {
    /// A function id in 0xC600_0000 to 0xC600_FFFF: Tarn's own.
    Tarn,
    /// Answered: x0 to x3. Functions that return only x0 leave the others as zero, which SMCCC allows.
    Done([u64; 4]),
    /// A power request with valid arguments.
    Psci(PsciCall),
    /// PV_TIME_ST (Arm DEN0057, 3.2.3): answer with the guest-physical address of the calling vCPU's stolen-time
    /// structure in x0.
    StolenTime,
    /// SMCCC_ARCH_WORKAROUND_1 (CVE-2017-5715), _2 (CVE-2018-3639) or _3 (CVE-2022-23960): pass on to the firmware,
    /// which said it has it; no result.
    Workaround {
        /// 1, 2 or 3.
        number: u8,
        /// Argument of number 2: mitigation on.
        on: bool,
    },
}

/// A power request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PsciCall {
    /// CPU_ON: start `target` at `entry` (guest-physical, 4-byte aligned) with x0 = `context`.
    CpuOn {
        /// Affinity fields of the MPIDR; other bits are zero.
        target: u64,
        /// Where to start.
        entry: u64,
        /// x0 there.
        context: u64,
    },
    /// CPU_OFF: returns only if refused.
    CpuOff,
    /// CPU_SUSPEND: wait for an interrupt. A power-down request may be done as standby, which returns SUCCESS.
    CpuSuspend {
        /// The power state asked for.
        state: u32,
        /// It is a power-down state.
        powerdown: bool,
        /// Where to resume from power-down.
        entry: u64,
        /// x0 there.
        context: u64,
    },
    /// AFFINITY_INFO of `target` at `level` 0 to 3: 0 on, 1 off, 2 on pending.
    AffinityInfo {
        /// Affinity fields of the MPIDR; other bits are zero.
        target: u64,
        /// 0 a CPU, 1 to 3 the groups above it.
        level: u8,
    },
    /// SYSTEM_OFF.
    SystemOff,
    /// SYSTEM_RESET.
    SystemReset,
    /// SYSTEM_RESET2, architectural warm reset.
    SystemReset2 {
        /// Reset type; only 0 gets here.
        kind: u32,
        /// Passed through.
        cookie: u64,
    },
}

/// PSCI return codes (DEN0022 5.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i64)]
pub enum PsciError {
    /// Done.
    Success = 0,
    /// No such function, or not implemented.
    NotSupported = -1,
    /// An argument is outside its range.
    InvalidParameters = -2,
    /// Not now, or not for this CPU.
    Denied = -3,
    /// CPU_ON of a CPU that is on.
    AlreadyOn = -4,
    /// CPU_ON of a CPU that is being turned on.
    OnPending = -5,
    /// It failed.
    InternalFailure = -6,
    /// MIGRATE: no trusted OS on this CPU.
    NotPresent = -7,
    /// The CPU cannot be used.
    Disabled = -8,
    /// The entry point is no place to execute from.
    InvalidAddress = -9,
}

impl PsciError {
    /// As x0, sign-extended, also for 32-bit functions.
    pub const fn to_x0(self) -> u64 {
        self as i64 as u64
    }
}

/// What the host offers for the calls that depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caps {
    /// Answers of SMCCC_ARCH_FEATURES to workarounds 1, 2, 3: 0 needed and there, 1 not needed, negative unknown.
    pub workarounds: [i32; 3],
    /// SMCCC_ARCH_SOC_ID: version and revision.
    pub soc_id: Option<(u32, u32)>,
    /// Version of Tarn's own calls: major, minor.
    pub revision: (u32, u32),
}

impl Caps {
    /// A host without firmware to ask.
    pub const NONE: Caps = Caps {
        workarounds: [-1; 3],
        soc_id: None,
        revision: (0, 1),
    };
}

/// Identifies Tarn to SMCCC's vendor-specific hypervisor service, bytes in the order of the words' little end: b2a1a3a6-5e0f-4d0c-9f35-7461726e4859.
pub const UID: [u32; 4] = [0xa6a3_a1b2, 0x0c4d_0f5e, 0x6174_359f, 0x5948_6e72];
/// SMCCC 1.2.
const SMCCC_1_2: u64 = 0x1_0002;
/// PSCI 1.1.
const PSCI_1_1: u64 = 0x1_0001;

const SMCCC_VERSION: u32 = 0x8000_0000;
const ARCH_FEATURES: u32 = 0x8000_0001;
const SOC_ID: u32 = 0x8000_0002;
const WORKAROUND_3: u32 = 0x8000_3fff;
const WORKAROUND_2: u32 = 0x8000_7fff;
const WORKAROUND_1: u32 = 0x8000_8000;
/// Paravirtualized time (DEN0057): which of its calls there are, and where the stolen time stands.
const PV_TIME_FEATURES: u32 = 0xc500_0020;
const PV_TIME_ST: u32 = 0xc500_0021;
const HYP_UID: u32 = 0x8600_ff01;
const HYP_REVISION: u32 = 0x8600_ff03;

const PSCI: u32 = 0x8400_0000;
/// 64-bit convention.
const SMC64: u32 = 1 << 30;
const PSCI_VERSION: u32 = PSCI;
const CPU_SUSPEND: u32 = PSCI | 1;
const CPU_OFF: u32 = PSCI | 2;
const CPU_ON: u32 = PSCI | 3;
const AFFINITY_INFO: u32 = PSCI | 4;
const MIGRATE_INFO_TYPE: u32 = PSCI | 6;
const SYSTEM_OFF: u32 = PSCI | 8;
const SYSTEM_RESET: u32 = PSCI | 9;
const PSCI_FEATURES: u32 = PSCI | 10;
const SYSTEM_RESET2: u32 = PSCI | 18;
/// No trusted OS, or one that need not migrate.
const NO_MIGRATION: u64 = 2;
/// MPIDR bits that name a CPU: Aff3, Aff2-0.
const AFFINITY: u64 = 0xff_00ff_ffff;

const fn done(x0: u64) -> SmcccCall {
    SmcccCall::Done([x0, 0, 0, 0])
}

const fn refuse(e: PsciError) -> SmcccCall {
    done(e.to_x0())
}

/// Decodes the call in `regs` (x0 to x7, w0 the function id).
#[inline]
pub fn smccc(regs: &Regs, caps: &Caps) -> SmcccCall {
    let id = regs.0[0] as u32;
    if id >> 16 == 0xc600 {
        return SmcccCall::Tarn;
    }
    if id == PSCI_VERSION {
        return done(PSCI_1_1);
    }
    if id & !(SMC64 | 0x1f) == PSCI {
        return psci(id, regs);
    }
    architecture(id, regs, caps)
}

fn architecture(id: u32, regs: &Regs, caps: &Caps) -> SmcccCall {
    match id {
        SMCCC_VERSION => done(SMCCC_1_2),
        ARCH_FEATURES => done(arch_feature(regs.0[1] as u32, caps) as i64 as u64),
        SOC_ID => match (regs.0[1] as u32, caps.soc_id) {
            (0, Some((version, _))) => done(u64::from(version)),
            (1, Some((_, revision))) => done(u64::from(revision)),
            (_, Some(_)) => refuse(PsciError::InvalidParameters),
            (_, None) => refuse(PsciError::NotSupported),
        },
        PV_TIME_FEATURES => match regs.0[1] as u32 {
            PV_TIME_FEATURES | PV_TIME_ST => done(0),
            _ => refuse(PsciError::NotSupported),
        },
        PV_TIME_ST => SmcccCall::StolenTime,
        WORKAROUND_1 => workaround(1, regs, caps),
        WORKAROUND_2 => workaround(2, regs, caps),
        WORKAROUND_3 => workaround(3, regs, caps),
        HYP_UID => SmcccCall::Done(UID.map(u64::from)),
        HYP_REVISION => {
            SmcccCall::Done([u64::from(caps.revision.0), u64::from(caps.revision.1), 0, 0])
        }
        // Yielding calls, services of other owners, TRNG (0x8400_0050 up), calls that do not exist.
        _ => refuse(PsciError::NotSupported),
    }
}

/// SMCCC_ARCH_FEATURES: 0 or a positive answer if there, negative if not.
fn arch_feature(id: u32, caps: &Caps) -> i32 {
    match id {
        SMCCC_VERSION | ARCH_FEATURES | PV_TIME_FEATURES => 0,
        SOC_ID if caps.soc_id.is_some() => 0,
        WORKAROUND_1 => caps.workarounds[0],
        WORKAROUND_2 => caps.workarounds[1],
        WORKAROUND_3 => caps.workarounds[2],
        _ => -1,
    }
}

fn workaround(number: u8, regs: &Regs, caps: &Caps) -> SmcccCall {
    match caps.workarounds[number as usize - 1] {
        0 => SmcccCall::Workaround {
            number,
            on: regs.0[1] as u32 != 0,
        },
        // Not needed here: calling it is allowed and does nothing.
        answer if answer > 0 => done(0),
        _ => refuse(PsciError::NotSupported),
    }
}

fn psci(id: u32, regs: &Regs) -> SmcccCall {
    let wide = id & SMC64 != 0;
    let arg = |n: usize| {
        if wide {
            regs.0[n]
        } else {
            regs.0[n] & 0xffff_ffff
        }
    };
    let call = match id & !SMC64 {
        // Functions without addresses exist in the 32-bit convention only.
        CPU_OFF | SYSTEM_OFF | SYSTEM_RESET | PSCI_FEATURES | MIGRATE_INFO_TYPE | PSCI_VERSION
            if wide =>
        {
            Err(PsciError::NotSupported)
        }
        CPU_ON => cpu_on(arg(1), arg(2), arg(3)),
        CPU_OFF => Ok(PsciCall::CpuOff),
        CPU_SUSPEND => cpu_suspend(arg(1) as u32, arg(2), arg(3)),
        AFFINITY_INFO => affinity_info(arg(1), arg(2)),
        SYSTEM_OFF => Ok(PsciCall::SystemOff),
        SYSTEM_RESET => Ok(PsciCall::SystemReset),
        SYSTEM_RESET2 => match arg(1) as u32 {
            0 => Ok(PsciCall::SystemReset2 {
                kind: 0,
                cookie: arg(2),
            }),
            _ => Err(PsciError::InvalidParameters),
        },
        MIGRATE_INFO_TYPE => return done(NO_MIGRATION),
        PSCI_FEATURES => return refuse(features(arg(1) as u32)),
        // MIGRATE, MIGRATE_INFO_UP_CPU, CPU_FREEZE, CPU_DEFAULT_SUSPEND, NODE_HW_STATE, SYSTEM_SUSPEND,
        // SET_SUSPEND_MODE, STAT_*, MEM_PROTECT*: optional and absent.
        _ => Err(PsciError::NotSupported),
    };
    match call {
        Ok(call) => SmcccCall::Psci(call),
        Err(e) => refuse(e),
    }
}

fn cpu_on(target: u64, entry: u64, context: u64) -> Result<PsciCall, PsciError> {
    if target & !AFFINITY != 0 {
        return Err(PsciError::InvalidParameters);
    }
    if entry & 3 != 0 {
        return Err(PsciError::InvalidAddress);
    }
    Ok(PsciCall::CpuOn {
        target,
        entry,
        context,
    })
}

/// Original power-state format: StateID 15:0, StateType 16, PowerLevel 25:24. There is no level above the CPU's.
fn cpu_suspend(state: u32, entry: u64, context: u64) -> Result<PsciCall, PsciError> {
    if state & 0xfffe_0000 != 0 {
        return Err(PsciError::InvalidParameters);
    }
    let powerdown = state & 1 << 16 != 0;
    if powerdown && entry & 3 != 0 {
        return Err(PsciError::InvalidAddress);
    }
    Ok(PsciCall::CpuSuspend {
        state,
        powerdown,
        entry,
        context,
    })
}

fn affinity_info(target: u64, level: u64) -> Result<PsciCall, PsciError> {
    if target & !AFFINITY != 0 || level as u32 > 3 {
        return Err(PsciError::InvalidParameters);
    }
    Ok(PsciCall::AffinityInfo {
        target,
        level: level as u8 & 3,
    })
}

/// The affinity fields that name a group at `level`: a CPU belongs to it if it agrees with the target there.
pub const fn affinity_mask(level: u8) -> u64 {
    match level {
        0 => AFFINITY,
        1 => AFFINITY & !0xff,
        2 => AFFINITY & !0xffff,
        _ => 0xff_0000_0000,
    }
}

/// PSCI_FEATURES: SUCCESS (feature flags zero: original power-state format, no OS-initiated mode) or NOT_SUPPORTED.
fn features(id: u32) -> PsciError {
    match id {
        SMCCC_VERSION | PSCI_VERSION | CPU_OFF | MIGRATE_INFO_TYPE | SYSTEM_OFF | SYSTEM_RESET
        | PSCI_FEATURES => PsciError::Success,
        _ if matches!(
            id & !SMC64,
            CPU_SUSPEND | CPU_ON | AFFINITY_INFO | SYSTEM_RESET2
        ) =>
        {
            PsciError::Success
        }
        _ => PsciError::NotSupported,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(args: &[u64]) -> SmcccCall {
        with(args, &Caps::NONE)
    }

    fn with(args: &[u64], caps: &Caps) -> SmcccCall {
        let mut regs = Regs::default();
        regs.0[..args.len()].copy_from_slice(args);
        smccc(&regs, caps)
    }

    const ERR: fn(PsciError) -> SmcccCall = refuse;

    #[test]
    fn versions_and_identity() {
        assert_eq!(call(&[0x8400_0000]), done(0x1_0001));
        assert_eq!(call(&[0xdead_beef_8400_0000]), done(0x1_0001)); // only w0 counts
        assert_eq!(call(&[0x8000_0000]), done(0x1_0002));
        assert_eq!(call(&[0x8600_ff01]), SmcccCall::Done(UID.map(u64::from)));
        assert_eq!(call(&[0x8600_ff03]), SmcccCall::Done([0, 1, 0, 0]));
        assert_eq!(call(&[0xc600_0000]), SmcccCall::Tarn);
        assert_eq!(call(&[0xc600_ffff]), SmcccCall::Tarn);
        assert_eq!(call(&[0x8400_0006]), done(2));
    }

    #[test]
    fn what_is_absent_is_not_supported() {
        let absent = [
            0,
            0x4600_0000,
            0x8400_0005,
            0x8400_0007,
            0x8400_000b,
            0x8400_000e,
            0xc400_000e,
            0x8400_0013,
            0xc400_0002,
            0xc400_0008,
            0xc400_0000,
            0x8400_0050,
            0xc400_0053,
            0x8600_ff00,
            0x8600_0000,
            0xc700_0000,
            0xffff_ffff,
            0x8000_8000,
            0x8000_0002,
            0x8400_001f,
            0x8500_0000,
        ];
        for id in absent {
            assert_eq!(call(&[id]), ERR(PsciError::NotSupported), "{id:#x}");
        }
    }

    #[test]
    fn cpu_on_checks_its_arguments() {
        assert_eq!(
            call(&[0xc400_0003, 0x1_0000_0103, 0x4000_0000, u64::MAX]),
            SmcccCall::Psci(PsciCall::CpuOn {
                target: 0x1_0000_0103,
                entry: 0x4000_0000,
                context: u64::MAX
            })
        );
        // 32-bit convention: upper halves do not count.
        assert_eq!(
            call(&[
                0x8400_0003,
                0xffff_ffff_0000_0001,
                0xffff_ffff_4000_0000,
                u64::MAX
            ]),
            SmcccCall::Psci(PsciCall::CpuOn {
                target: 1,
                entry: 0x4000_0000,
                context: 0xffff_ffff
            })
        );
        assert_eq!(
            call(&[0xc400_0003, 0x8000_0001, 0x4000_0000]),
            ERR(PsciError::InvalidParameters)
        );
        assert_eq!(
            call(&[0xc400_0003, 1 << 40, 0x4000_0000]),
            ERR(PsciError::InvalidParameters)
        );
        assert_eq!(
            call(&[0xc400_0003, 1, 0x4000_0002]),
            ERR(PsciError::InvalidAddress)
        );
        assert_eq!(PsciError::InvalidAddress.to_x0(), (-9i64) as u64);
    }

    #[test]
    fn suspend_affinity_reset() {
        assert_eq!(
            call(&[0xc400_0001, 0x1_0000, 0x4000_0000, 7]),
            SmcccCall::Psci(PsciCall::CpuSuspend {
                state: 0x1_0000,
                powerdown: true,
                entry: 0x4000_0000,
                context: 7
            })
        );
        // Standby ignores the entry point.
        assert!(matches!(
            call(&[0x8400_0001, 0, 3]),
            SmcccCall::Psci(PsciCall::CpuSuspend {
                powerdown: false,
                ..
            })
        ));
        assert_eq!(
            call(&[0xc400_0001, 0x0100_0000]),
            ERR(PsciError::InvalidParameters)
        );
        assert_eq!(
            call(&[0xc400_0001, 0x1_0000, 2]),
            ERR(PsciError::InvalidAddress)
        );
        assert_eq!(
            call(&[0xc400_0004, 1, 0]),
            SmcccCall::Psci(PsciCall::AffinityInfo {
                target: 1,
                level: 0
            })
        );
        assert_eq!(
            call(&[0xc400_0004, 1, 4]),
            ERR(PsciError::InvalidParameters)
        );
        assert_eq!(
            call(&[0x8400_0004, 0x0100_0000, 0]),
            ERR(PsciError::InvalidParameters)
        );
        assert_eq!(
            call(&[0xc400_0012, 0, 9]),
            SmcccCall::Psci(PsciCall::SystemReset2 { kind: 0, cookie: 9 })
        );
        assert_eq!(call(&[0xc400_0012, 1]), ERR(PsciError::InvalidParameters));
        assert_eq!(
            call(&[0x8400_0012, 0x8000_0000]),
            ERR(PsciError::InvalidParameters)
        );
        assert_eq!(call(&[0x8400_0002]), SmcccCall::Psci(PsciCall::CpuOff));
        assert_eq!(call(&[0x8400_0008]), SmcccCall::Psci(PsciCall::SystemOff));
        assert_eq!(call(&[0x8400_0009]), SmcccCall::Psci(PsciCall::SystemReset));
    }

    #[test]
    fn features_tell_the_truth() {
        for id in 0x8400_0000u64..=0x8400_001f {
            for id in [id, id | 1 << 30] {
                let said = call(&[0x8400_000a, id]) == done(0);
                let there = call(&[id, 0x8400_0000]) != ERR(PsciError::NotSupported);
                assert_eq!(said, there, "{id:#x}");
            }
        }
        assert_eq!(call(&[0x8400_000a, 0x8000_0000]), done(0));
        assert_eq!(
            call(&[0x8400_000a, 0x8000_0001]),
            ERR(PsciError::NotSupported)
        );
    }

    #[test]
    fn workarounds_follow_the_host() {
        let caps = Caps {
            workarounds: [0, 1, -1],
            soc_id: Some((0x0100_0001, 2)),
            revision: (1, 4),
        };
        assert_eq!(with(&[0x8000_0001, 0x8000_8000], &caps), done(0));
        assert_eq!(with(&[0x8000_0001, 0x8000_7fff], &caps), done(1));
        assert_eq!(with(&[0x8000_0001, 0x8000_3fff], &caps), done(u64::MAX));
        assert_eq!(
            with(&[0x8000_8000], &caps),
            SmcccCall::Workaround {
                number: 1,
                on: false
            }
        );
        assert_eq!(with(&[0x8000_7fff, 1], &caps), done(0));
        assert_eq!(with(&[0x8000_3fff], &caps), ERR(PsciError::NotSupported));
        assert_eq!(with(&[0x8000_0001, 0x8000_0002], &caps), done(0));
        assert_eq!(with(&[0x8000_0002, 0], &caps), done(0x0100_0001));
        assert_eq!(with(&[0x8000_0002, 1], &caps), done(2));
        assert_eq!(
            with(&[0x8000_0002, 2], &caps),
            ERR(PsciError::InvalidParameters)
        );
        assert_eq!(with(&[0x8600_ff03], &caps), SmcccCall::Done([1, 4, 0, 0]));
    }

    #[test]
    fn levels_mask_affinity() {
        assert_eq!(affinity_mask(0), 0xff_00ff_ffff);
        assert_eq!(affinity_mask(1), 0xff_00ff_ff00);
        assert_eq!(affinity_mask(3), 0xff_0000_0000);
    }
}
