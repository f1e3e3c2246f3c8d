//! PSCI as its client (Arm DEN 0022): EL2 asks firmware, by SMC or (nested under another hypervisor) HVC.

use crate::arch::{Hvc, Smc};
use smccc::psci;
pub use smccc::psci::{Version as PsciVersion, error::Error as PsciError};
use tarn_board::{Conduit, MPIDR_AFFINITY};

/// The firmware of this machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Psci {
    conduit: Conduit,
}

macro_rules! call {
    ($self:expr, $f:ident $(, $arg:expr)*) => {
        match $self.conduit {
            Conduit::Hvc => psci::$f::<Hvc>($($arg),*),
            Conduit::Smc => psci::$f::<Smc>($($arg),*),
        }
    };
}

impl Psci {
    /// Firmware that is reached by `conduit`, PSCI 0.2 or later.
    pub const fn new(conduit: Conduit) -> Psci {
        Psci { conduit }
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
        call!(self, cpu_on, mpidr & MPIDR_AFFINITY, entry, context)
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

#[cfg(test)]
mod tests {
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
}
