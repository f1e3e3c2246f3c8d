//! Starting CPUs, and stopping or restarting the machine, by whatever the machine has.
//!
//! [`Psci`] asks firmware; [`spin_table`] writes a release address that a parked CPU polls; [`BcmPm`] is the watchdog
//! that a Raspberry Pi restarts with. Which of them a CPU or the machine uses is in the device tree; [`SystemPower`] holds
//! the choice for the machine. Nothing here waits for a started CPU.

mod bcm_pm;
mod psci;
pub mod spin_table;

pub use bcm_pm::BcmPm;
pub use psci::{Psci, PsciError, PsciVersion};

/// How this machine ends.
pub enum SystemPower {
    /// Firmware does it.
    Psci(Psci),
    /// Raspberry Pi without PSCI: the power-management block's watchdog.
    BcmPm(BcmPm),
    /// It cannot: halt.
    None,
}

impl SystemPower {
    /// Switches the machine off. Returns only if that is impossible or was refused; the caller then halts its CPUs.
    pub fn off(&self) {
        match self {
            SystemPower::Psci(p) => {
                let _refused = p.system_off();
            }
            SystemPower::BcmPm(p) => p.off(),
            SystemPower::None => {}
        }
    }

    /// Restarts the machine. Returns as [`SystemPower::off`] does; [`BcmPm`] acts some 150 us later.
    pub fn reset(&self) {
        match self {
            SystemPower::Psci(p) => {
                let _refused = p.system_reset();
            }
            SystemPower::BcmPm(p) => p.reset(),
            SystemPower::None => {}
        }
    }
}
