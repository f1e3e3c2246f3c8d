//! Area 0x03: virtual CPUs: where they run and where their time goes.
//!
//! A vCPU is named by its domain and its number in it (0 is the one that boots), as operators do.

use super::wire::{area, replies, wire_enum};
use crate::id::{CpuId, DomainId, VcpuId};
use crate::set::CpuSet;
use crate::time::{Instant, Span};

wire_enum! {
    /// What a vCPU does: the four states whose times are kept.
    RunState, "run state: 0 running, 1 runnable, 2 blocked, 3 offline" {
        /// On a CPU.
        Running = 0,
        /// Wants a CPU and has none.
        Runnable = 1,
        /// Waits for an interrupt.
        Blocked = 2,
        /// Not started, switched off, or paused.
        Offline = 3,
    }
}

replies! {
    /// Answer to `Info`.
    VcpuRow {
        /// Its id over all domains.
        id: VcpuId,
        /// What it does.
        state: RunState,
        /// The CPU it runs on or ran on last.
        cpu: Option<CpuId>,
        /// CPUs it may run on.
        affinity: CpuSet,
        /// CPU time it has had.
        time: Span,
    }

    /// Answer to `Runstate`.
    RunTimes {
        /// What it does.
        state: RunState,
        /// Since when.
        since: Instant,
        /// Time on a CPU, up to now.
        running: Span,
        /// Time waiting for a CPU, up to now.
        runnable: Span,
        /// Time waiting for interrupts, up to now.
        blocked: Span,
        /// Time off, up to now.
        offline: Span,
    }
}

area! {
    /// Their virtual CPUs.
    VcpuCall = 0x03;
    /// One vCPU of a domain. Ends with `End`.
    Info = 0x00, Dom0 {
        /// Whose.
        domain: DomainId,
        /// Its number in the domain, from 0 on.
        index: u32,
    } -> VcpuRow;
    /// The time one vCPU of a domain has spent in each state. Ends with `End`.
    Runstate = 0x01, Dom0 {
        /// Whose.
        domain: DomainId,
        /// Its number in the domain, from 0 on.
        index: u32,
    } -> RunTimes;
}
