//! The EL1 physical timer of a vCPU (CNTP_*_EL0), as a value: the hardware one belongs to the hypervisor.
//!
//! Times are ticks of the counter as the guest reads it (CNTPCT_EL0); the caller passes the present one in, arms an
//! alarm at [`Ptimer::deadline`] and drives PPI 30 with [`Ptimer::level`]. Arm ARM D11.2.4.

/// CNTP_CTL_EL0.
const ENABLE: u64 = 1;
const IMASK: u64 = 2;
const ISTATUS: u64 = 4;

/// One vCPU's physical timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ptimer {
    ctl: u64,
    cval: u64,
    told: Option<bool>,
}

impl Ptimer {
    /// Disabled, as after reset.
    pub const fn new() -> Ptimer {
        Ptimer {
            ctl: 0,
            cval: 0,
            told: None,
        }
    }

    /// CNTP_CTL_EL0 at time `now`. ISTATUS reads as zero while disabled.
    pub const fn ctl(&self, now: u64) -> u64 {
        self.ctl | if self.met(now) { ISTATUS } else { 0 }
    }

    /// Writes CNTP_CTL_EL0; only ENABLE and IMASK can be written.
    pub const fn set_ctl(&mut self, value: u64) {
        self.ctl = value & (ENABLE | IMASK);
    }

    /// CNTP_CVAL_EL0.
    pub const fn cval(&self) -> u64 {
        self.cval
    }

    /// Writes CNTP_CVAL_EL0.
    pub const fn set_cval(&mut self, value: u64) {
        self.cval = value;
    }

    /// CNTP_TVAL_EL0: the lower 32 bits of what is left, the upper half zero.
    pub const fn tval(&self, now: u64) -> u64 {
        self.cval.wrapping_sub(now) & 0xffff_ffff
    }

    /// Writes CNTP_TVAL_EL0: `value` (32 bits, signed) ticks from now.
    pub const fn set_tval(&mut self, value: u64, now: u64) {
        self.cval = now.wrapping_add(value as u32 as i32 as i64 as u64);
    }

    /// When the line will rise, or has risen: `None` if it cannot.
    pub const fn deadline(&self) -> Option<u64> {
        if self.ctl == ENABLE {
            Some(self.cval)
        } else {
            None
        }
    }

    /// Whether the interrupt line is asserted.
    pub const fn level(&self, now: u64) -> bool {
        self.ctl & IMASK == 0 && self.met(now)
    }

    /// The line, if it is another than when this was asked last (or was never asked).
    pub fn edge(&mut self, now: u64) -> Option<bool> {
        let level = self.level(now);
        (self.told.replace(level) != Some(level)).then_some(level)
    }

    /// Off, and its line known to be low: nothing will come of it before a register is written.
    pub const fn is_quiet(&self) -> bool {
        self.ctl & ENABLE == 0 && matches!(self.told, Some(false))
    }

    /// Enabled, and its condition met.
    const fn met(&self, now: u64) -> bool {
        self.ctl & ENABLE != 0 && now >= self.cval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_and_masks() {
        let mut t = Ptimer::new();
        assert_eq!((t.ctl(100), t.deadline(), t.level(100)), (0, None, false));
        t.set_tval(50, 100);
        t.set_ctl(0xff & !IMASK);
        assert_eq!((t.cval(), t.deadline()), (150, Some(150)));
        assert_eq!((t.ctl(149), t.level(149)), (ENABLE, false));
        assert_eq!((t.ctl(150), t.level(150)), (ENABLE | ISTATUS, true));
        t.set_ctl(ENABLE | IMASK);
        assert_eq!((t.ctl(150), t.level(150), t.deadline()), (7, false, None));
        t.set_ctl(0);
        assert_eq!(t.ctl(u64::MAX), 0);
    }

    #[test]
    fn quiet_is_off_and_told() {
        let mut t = Ptimer::new();
        assert!(!t.is_quiet(), "its line has to be set once");
        assert_eq!(t.edge(0), Some(false));
        assert!(t.is_quiet());
        t.set_cval(10);
        t.set_ctl(ENABLE);
        assert!(!t.is_quiet());
        assert_eq!(t.edge(10), Some(true));
        t.set_ctl(0);
        assert!(!t.is_quiet(), "its line has to fall");
        assert_eq!((t.edge(10), t.is_quiet()), (Some(false), true));
    }

    #[test]
    fn tval_is_signed_and_wraps() {
        let mut t = Ptimer::new();
        t.set_tval(0xffff_ffff, 10);
        assert_eq!(t.cval(), 9);
        assert_eq!(t.tval(10), 0xffff_ffff);
        t.set_tval(0xffff_ffff_0000_0005, 10);
        assert_eq!((t.cval(), t.tval(10)), (15, 5));
        t.set_tval(0x8000_0000, 0);
        assert_eq!(t.cval(), 0xffff_ffff_8000_0000);
        t.set_cval(u64::MAX);
        t.set_ctl(ENABLE);
        assert!(!t.level(u64::MAX - 1) && t.level(u64::MAX));
    }
}
