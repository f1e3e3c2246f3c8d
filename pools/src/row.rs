//! One vCPU's row in its pool: what its guest wants, where its registers are, and the state that follows from both.
//!
//! Must never decide: the scheduler does. Neighbours: `pool.rs` holds the table, `set.rs` and `dispatch.rs` change rows.

use crate::runstate::{VcpuState, VcpuTimes};
use tarn_abi::{CpuId, Instant, VcpuId};
use tarn_sched::{Leaf, Stats, VcpuParams};

/// What the guest wants of its vCPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Want {
    /// To run.
    Ready,
    /// To sleep until the next interrupt.
    Sleep,
    /// To be off.
    Down,
}

/// Where the registers are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// In memory.
    Memory,
    /// In a CPU that runs it.
    Running(CpuId),
    /// In a CPU that does not run it: it dozes there or is about to be saved.
    Loaded(CpuId),
}

/// Power state as PSCI's AFFINITY_INFO sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Power {
    /// On.
    On,
    /// Turning off: a CPU still holds its registers.
    Leaving,
    /// Off.
    Off,
}

/// A vCPU.
pub(crate) struct Row {
    pub(crate) id: VcpuId,
    /// Index of its domain's row in the same pool.
    pub(crate) dom: u16,
    pub(crate) ent: Leaf,
    pub(crate) want: Want,
    /// Paused, moving or killed, as the domain is.
    pub(crate) stopped: bool,
    /// Waits for its domain's cap to let it go on.
    pub(crate) parked: bool,
    /// A wake hit it while it was running.
    pub(crate) sticky: bool,
    pub(crate) place: Place,
    pub(crate) last: Option<CpuId>,
    pub(crate) times: VcpuTimes,
    /// What was counted under schedulers it has left.
    pub(crate) past: Stats,
    pub(crate) params: VcpuParams,
}

impl Row {
    pub(crate) fn new(id: VcpuId, dom: u16, ent: Leaf, params: VcpuParams, now: Instant) -> Self {
        Row {
            id,
            dom,
            ent,
            want: Want::Down,
            stopped: false,
            parked: false,
            sticky: false,
            place: Place::Memory,
            last: None,
            times: VcpuTimes::new(now),
            past: Stats::default(),
            params,
        }
    }

    /// Whether the scheduler should count it as runnable.
    pub(crate) fn eligible(&self) -> bool {
        self.want == Want::Ready && !self.stopped && !self.parked
    }

    /// The state that follows from the rest.
    #[inline]
    pub(crate) fn state(&self) -> VcpuState {
        match (self.place, self.want) {
            (Place::Running(_), _) => VcpuState::Running,
            (_, Want::Down) => VcpuState::Down,
            _ if self.stopped => VcpuState::Paused,
            (_, Want::Ready) => VcpuState::Runnable,
            (_, Want::Sleep) => VcpuState::Blocked,
        }
    }

    /// The CPU that holds its registers.
    pub(crate) fn cpu(&self) -> Option<CpuId> {
        match self.place {
            Place::Memory => None,
            Place::Running(c) | Place::Loaded(c) => Some(c),
        }
    }

    pub(crate) fn power(&self) -> Power {
        match (self.want, self.place) {
            (Want::Down, Place::Memory) => Power::Off,
            (Want::Down, _) => Power::Leaving,
            _ => Power::On,
        }
    }
}
