//! The state of 32 interrupts as bit masks: private ones of one vCPU, or a word of shared ones.

use super::ListReg;

/// Implemented priority bits of the virtual CPU interface. The distributor keeps all eight, as QEMU's does.
pub(super) const PRIORITY: u8 = 0xf8;

/// 32 interrupts, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Bank {
    /// GICx_ISENABLER.
    pub enabled: u32,
    /// GICx_IGROUPR: set for group 1.
    pub group: u32,
    /// Edge-triggered, else level-sensitive.
    pub edge: u32,
    /// The input line is asserted.
    pub level: u32,
    /// Pending until acknowledged or cleared: edges, SGIs, writes to ISPENDR, fired linked interrupts.
    pub latch: u32,
    /// Active, as far as the model knows.
    pub active: u32,
    /// Linked, and what is pending has been made so by a write to ISPENDR, whatever its line says.
    pub by_hand: u32,
    /// In a list register of some vCPU.
    pub resident: u32,
    /// Resident, and its pending state there stands for the latch (else for the line).
    pub soft: u32,
    /// Linked to a physical interrupt.
    pub hw: u32,
    /// Resident, and changed in the model since.
    pub touched: u32,
    /// To do when a resident one is read back: drop its pending state.
    pub clr_pend: u32,
    /// To do when a resident one is read back: deactivate it.
    pub clr_act: u32,
    /// To do when a resident one is read back: activate it.
    pub set_act: u32,
    /// The linked physical interrupt waits to be deactivated.
    pub release: u32,
}

impl Bank {
    /// Drops changes that were to be applied to what a list register held of interrupts `m`.
    #[inline]
    pub fn forget_changes(&mut self, m: u32) {
        self.clr_pend &= !m;
        self.clr_act &= !m;
        self.set_act &= !m;
    }

    /// The guest has ended interrupts `m`: only what is latched anew can still be pending by hand.
    #[inline]
    pub fn ended(&mut self, m: u32) {
        self.resident &= !m;
        self.soft &= !m;
        self.touched &= !m;
        self.active &= !m;
        self.by_hand &= !m | self.latch;
        self.forget_changes(m);
    }

    /// Pending in the model: latched, or level-sensitive with its line asserted. Not what only list registers know.
    #[inline]
    pub const fn pending(&self) -> u32 {
        self.latch | self.level & !self.edge & !self.hw
    }

    /// Could go into a list register now.
    #[inline]
    pub const fn ready(&self, groups: (u32, u32)) -> u32 {
        self.pending() & self.forwarded(groups) & !self.active & !self.resident
    }

    /// Enabled, and its group enabled.
    #[inline]
    pub const fn forwarded(&self, (g0, g1): (u32, u32)) -> u32 {
        self.enabled & (g0 & !self.group | g1 & self.group)
    }

    /// Linked interrupts whose physical interrupt must be active.
    #[inline]
    pub const fn in_flight_hw(&self) -> u32 {
        self.hw & (self.latch | self.active | self.resident)
    }

    /// Makes the pending interrupt `m` resident: its list register. With `more`, its latch stays for the next source.
    #[inline(always)]
    pub fn compose_pending(
        &mut self,
        m: u32,
        intid: u16,
        priority: u8,
        link: u16,
        state: u64,
        more: bool,
    ) -> ListReg {
        self.soft |= self.latch & m;
        if !more {
            self.latch &= !m;
        }
        let line = self.level & !self.edge & !self.hw & m != 0;
        self.compose(m, intid, priority, link, state, line || more)
    }

    /// Makes the interrupt `m` resident: its list register. `recheck` asks for maintenance at its end.
    #[inline(always)]
    pub fn compose(
        &mut self,
        m: u32,
        intid: u16,
        priority: u8,
        link: u16,
        state: u64,
        recheck: bool,
    ) -> ListReg {
        self.resident |= m;
        let mut lr = u64::from(intid) | state | u64::from(priority & PRIORITY) << 48;
        if self.group & m != 0 {
            lr |= ListReg::GROUP1;
        }
        if recheck {
            lr |= ListReg::EOI;
        } else if self.hw & m != 0 {
            lr |= ListReg::HW | u64::from(link) << 32;
        }
        ListReg(lr)
    }
}
