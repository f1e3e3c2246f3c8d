//! PSCI as its client (Arm DEN 0022): EL2 asks firmware, by SMC or (nested under another hypervisor) HVC.

use crate::arch::{Hvc, Smc};
pub use smccc::psci::{Version as PsciVersion, error::Error as PsciError};
use smccc::{Call, psci};
use tarn_board::{Conduit, MPIDR_AFFINITY};

/// The firmware of this machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Psci {
    conduit: Conduit,
    /// PSCI 0.1 has no fixed function numbers; this is the tree's for CPU_ON. It is all that version has for us.
    cpu_on_0_1: Option<u32>,
}

macro_rules! call {
    ($self:expr, $f:ident $(, $arg:expr)*) => {
        match ($self.cpu_on_0_1, $self.conduit) {
            (Some(_), _) => Err(PsciError::NotSupported),
            (None, Conduit::Hvc) => psci::$f::<Hvc>($($arg),*),
            (None, Conduit::Smc) => psci::$f::<Smc>($($arg),*),
        }
    };
}

impl Psci {
    /// Firmware that is reached by `conduit`, PSCI 0.2 or later.
    pub const fn new(conduit: Conduit) -> Psci {
        Psci {
            conduit,
            cpu_on_0_1: None,
        }
    }

    /// Firmware with PSCI 0.1 whose CPU_ON has the number `cpu_on` (the tree's property of that name). Everything but
    /// [`Psci::cpu_on`] answers `NotSupported`.
    pub const fn v0_1(conduit: Conduit, cpu_on: u32) -> Psci {
        Psci {
            conduit,
            cpu_on_0_1: Some(cpu_on),
        }
    }

    /// PSCI_VERSION.
    pub fn version(&self) -> Result<PsciVersion, PsciError> {
        call!(self, version)
    }

    /// CPU_ON: the CPU with these affinity fields (other bits of `mpidr` are cleared: firmware refuses them) enters
    /// EL2 at the physical address `entry`, MMU off, with x0 = `context`. Returns before it has.
    ///
    /// # Safety
    ///
    /// `entry` is code for that CPU that keeps to Rust's rules about what other CPUs use.
    pub unsafe fn cpu_on(&self, mpidr: u64, entry: u64, context: u64) -> Result<(), PsciError> {
        let mpidr = mpidr & MPIDR_AFFINITY;
        let Some(function) = self.cpu_on_0_1 else {
            return call!(self, cpu_on, mpidr, entry, context);
        };
        let mut args = [0; 17];
        args[..3].copy_from_slice(&[mpidr, entry, context]);
        let answer = match self.conduit {
            Conduit::Hvc => Hvc::call64(function, args),
            Conduit::Smc => Smc::call64(function, args),
        };
        // The error codes are 32 bits wide in every version.
        match answer[0] as i32 {
            0 => Ok(()),
            e => Err(e.into()),
        }
    }

    /// CPU_OFF for the calling CPU; returns only if refused.
    pub fn cpu_off(&self) -> Result<(), PsciError> {
        call!(self, cpu_off)
    }

    /// SYSTEM_OFF; returns only if refused.
    pub fn system_off(&self) -> Result<(), PsciError> {
        call!(self, system_off)
    }

    /// SYSTEM_RESET; returns only if refused.
    pub fn system_reset(&self) -> Result<(), PsciError> {
        call!(self, system_reset)
    }

    /// PSCI_FEATURES (PSCI 1.0): the feature flags of `function`, or `NotSupported`.
    pub fn features(&self, function: u32) -> Result<u32, PsciError> {
        call!(self, psci_features, function)
    }
}

/// SMCCC_VERSION and SMCCC_ARCH_FEATURES (DEN 0028 7.2, 7.3), and the version from which the latter exists.
const SMCCC_VERSION: u32 = 0x8000_0000;
const ARCH_FEATURES: u32 = 0x8000_0001;
const SMCCC_1_1: i32 = 0x1_0001;
/// SMCCC_ARCH_WORKAROUND_1, _2 and _3.
const WORKAROUNDS: [u32; 3] = [0x8000_8000, 0x8000_7fff, 0x8000_3fff];

/// Mitigations of speculation in firmware.
impl Psci {
    fn arch(&self, function: u32, argument: u32) -> i32 {
        let args = [argument, 0, 0, 0, 0, 0, 0];
        let answer = match self.conduit {
            Conduit::Hvc => Hvc::call32(function, args),
            Conduit::Smc => Smc::call32(function, args),
        };
        answer[0] as i32
    }

    /// What firmware answers on this CPU to SMCCC_ARCH_FEATURES for SMCCC_ARCH_WORKAROUND_1, _2 and _3: 0 needed and there,
    /// positive not needed, negative unknown. Found out in the order the specification gives (DEN 0028 appendix B), so that
    /// no firmware is called by a number it may not know: all -1 without PSCI 1.0 or SMCCC 1.1.
    pub fn workarounds(&self) -> [i32; 3] {
        let known = self.version().is_ok_and(|v| v.major >= 1)
            && self.features(SMCCC_VERSION).is_ok()
            && self.arch(SMCCC_VERSION, 0) >= SMCCC_1_1;
        WORKAROUNDS.map(|w| {
            if known {
                self.arch(ARCH_FEATURES, w)
            } else {
                -1
            }
        })
    }

    /// Calls workaround `number` (1 or 3) on this CPU; there is no result. Nothing for other numbers.
    pub fn work_around(&self, number: u8) {
        if let 1 | 3 = number {
            let _none = self.arch(WORKAROUNDS[usize::from(number) - 1], 0);
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::arch;

    #[test]
    fn calls_by_the_right_instruction_with_the_right_numbers() {
        let p = Psci::new(Conduit::Smc);
        arch::set("firmware", 0, 0x0001_0001);
        assert_eq!(p.version(), Ok(PsciVersion { major: 1, minor: 1 }));
        assert_eq!(arch::journal()[0], ("smc", 0x8400_0000));
        arch::set("firmware", 0, 0);
        // SAFETY: the fake firmware starts nothing.
        let on = unsafe { Psci::new(Conduit::Hvc).cpu_on(0x1_8100_0203, 0x4000_0000, 7) };
        assert_eq!(on, Ok(()));
        let j = arch::journal();
        assert_eq!(
            j[..4],
            [
                ("hvc", 0xc400_0003),
                ("arg", 0x1_0000_0203),
                ("arg", 0x4000_0000),
                ("arg", 7)
            ]
        );
        arch::set("firmware", 0, -4i64 as u64);
        // SAFETY: the fake firmware starts nothing.
        assert_eq!(unsafe { p.cpu_on(0, 0, 0) }, Err(PsciError::AlreadyOn));
        arch::set("firmware", 0, u32::MAX.into());
        assert_eq!(p.system_off(), Err(PsciError::NotSupported));
        assert_eq!(p.features(0x8400_0009), Err(PsciError::NotSupported));
    }

    #[test]
    fn workarounds_are_asked_for_step_by_step() {
        let p = Psci::new(Conduit::Smc);
        let calls = || -> std::vec::Vec<u64> {
            let smc = |(name, f)| (name == "smc").then_some(f);
            arch::journal().into_iter().filter_map(smc).collect()
        };
        let (features, version, arch_features) = (0x8400_000a, 0x8000_0000, 0x8000_0001);
        for (psci, has, smccc, asked) in [
            (2, 0, 0x1_0001, 1),
            (0x1_0000, -1, 0x1_0001, 2),
            (0x1_0001, 0, 0x1_0000, 3),
            (0x1_0001, 0, 0x1_0001, 6),
        ] {
            arch::set("firmware", 0x8400_0000, psci);
            arch::set("firmware", features, has as u64);
            arch::set("firmware", version, smccc);
            arch::set("firmware", arch_features, 1);
            let said = p.workarounds();
            assert_eq!(said, if asked == 6 { [1; 3] } else { [-1; 3] });
            assert_eq!(calls().len(), asked, "{psci:#x} {has} {smccc:#x}");
        }
        for (number, f) in [(1, 0x8000_8000), (3, 0x8000_3fff)] {
            p.work_around(number);
            assert_eq!(calls(), [f]);
        }
        for number in [0, 2, 4, 255] {
            p.work_around(number);
            assert_eq!(calls(), []);
        }
    }

    #[test]
    fn version_0_1_knows_cpu_on_only() {
        let p = Psci::v0_1(Conduit::Smc, 0x95c1_ba60);
        arch::set("firmware", 0, 0);
        // SAFETY: the fake firmware starts nothing.
        assert_eq!(unsafe { p.cpu_on(0x8000_0001, 2, 3) }, Ok(()));
        assert_eq!(
            arch::journal()[..4],
            [("smc", 0x95c1_ba60), ("arg", 1), ("arg", 2), ("arg", 3)]
        );
        arch::set("firmware", 0, 0xffff_fffe);
        // SAFETY: the fake firmware starts nothing.
        let on = unsafe { p.cpu_on(0, 2, 3) };
        assert_eq!(on, Err(PsciError::InvalidParameters));
        arch::journal();
        assert_eq!(p.system_off(), Err(PsciError::NotSupported));
        assert_eq!(p.version(), Err(PsciError::NotSupported));
        assert_eq!(arch::journal(), []);
    }
}
