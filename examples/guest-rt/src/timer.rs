//! The virtual and the physical timer of this CPU.
//!
//! Times are counter ticks; [`frequency`] says how many a second has. Neither timer is touched until asked.
use crate::{machine, mrs, msr};

/// CTL: the timer runs.
pub const ENABLE: u64 = 1;
/// CTL: its interrupt is masked.
pub const IMASK: u64 = 2;
/// CTL: the condition is met.
pub const ISTATUS: u64 = 4;

/// Which timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timer {
    /// CNTV.
    Virtual,
    /// CNTP.
    Physical,
}

/// Ticks in a second.
pub fn frequency() -> u64 {
    mrs!("cntfrq_el0")
}

/// The virtual counter, in order with the instructions around it.
pub fn now() -> u64 {
    Timer::Virtual.count()
}

/// Spins for `us` microseconds.
pub fn delay_us(us: u64) {
    let ticks = frequency().saturating_mul(us) / 1_000_000;
    let start = now();
    while now().wrapping_sub(start) < ticks {
        core::hint::spin_loop();
    }
}

macro_rules! by_timer {
    ($timer:expr, $v:expr, $p:expr) => {
        match $timer {
            Timer::Virtual => $v,
            Timer::Physical => $p,
        }
    };
}

impl Timer {
    /// Its interrupt, from the device tree.
    pub fn intid(self) -> u32 {
        by_timer!(self, machine().timer.virt, machine().timer.phys)
    }

    /// Its counter.
    pub fn count(self) -> u64 {
        crate::cpu::isb();
        by_timer!(self, mrs!("cntvct_el0"), mrs!("cntpct_el0"))
    }

    /// Reads CTL.
    pub fn ctl(self) -> u64 {
        by_timer!(self, mrs!("cntv_ctl_el0"), mrs!("cntp_ctl_el0"))
    }

    /// Writes CTL.
    pub fn set_ctl(self, value: u64) {
        by_timer!(
            self,
            msr!("cntv_ctl_el0", value),
            msr!("cntp_ctl_el0", value)
        );
    }

    /// Reads CVAL.
    pub fn cval(self) -> u64 {
        by_timer!(self, mrs!("cntv_cval_el0"), mrs!("cntp_cval_el0"))
    }

    /// Writes CVAL.
    pub fn set_cval(self, value: u64) {
        by_timer!(
            self,
            msr!("cntv_cval_el0", value),
            msr!("cntp_cval_el0", value)
        );
    }

    /// Reads TVAL: 32 bits, to be read as signed.
    pub fn tval(self) -> i32 {
        by_timer!(self, mrs!("cntv_tval_el0"), mrs!("cntp_tval_el0")) as i32
    }

    /// Writes TVAL.
    pub fn set_tval(self, value: i32) {
        let value = u64::from(value as u32);
        by_timer!(
            self,
            msr!("cntv_tval_el0", value),
            msr!("cntp_tval_el0", value)
        );
    }

    /// Fires `ticks` from now.
    pub fn start(self, ticks: u64) {
        self.set_cval(self.count().saturating_add(ticks));
        self.set_ctl(ENABLE);
    }

    /// Off.
    pub fn stop(self) {
        self.set_ctl(0);
    }
}
