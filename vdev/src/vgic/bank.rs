//! The state of 32 interrupts as bit masks: private ones of one vCPU, or a word of shared ones.

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
    /// In a list register of some vCPU.
    pub resident: u32,
    /// Resident, and its pending state there stands for the latch (else for the line).
    pub soft: u32,
    /// Linked to a physical interrupt.
    pub hw: u32,
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
}
