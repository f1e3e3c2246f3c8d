//! Area 0x03: virtual CPUs: where they run and where their time goes.
//!
//! A vCPU is named by its domain and its number in it (0 is the one that boots), as operators do.

use super::Counter;
use super::param::{ParamRow, Setting};
use super::report::Adjusted;
use super::wire::{area, replies, wire_enum};
use crate::id::{CpuId, DomainId, GroupId, VcpuId};
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
        /// It has no CPU, and gets none before another vCPU leaves or a CPU comes: its scheduler is `null`.
        stranded: bool,
    }

    /// Answer to `Place`.
    VcpuPlace {
        /// Its group, or (slot 0) the pool it is in.
        group: GroupId,
        /// The CPU that holds its registers.
        cpu: Option<CpuId>,
        /// The CPU it ran on last.
        last: Option<CpuId>,
        /// CPUs it may use: its affinity as far as the pool has them, all of the pool's if it has none.
        allowed: CpuSet,
        /// CPUs where it runs rather than elsewhere (soft affinity).
        soft: CpuSet,
    }

    /// Answer to `Pin`.
    Pinned {
        /// What has no effect where the vCPU is.
        adjusted: Adjusted,
        /// CPUs it may use now.
        allowed: CpuSet,
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
    /// Where a vCPU is.
    Place = 0x02, Dom0 {
        /// Which.
        id: VcpuId,
    } -> VcpuPlace;
    /// Confines a vCPU to some CPUs (hard affinity), and says where it runs rather than elsewhere (soft affinity). CPUs that
    /// its pool does not have count again where there are. `Invalid`: `cpus` is empty.
    Pin = 0x03, Dom0 {
        /// Which.
        id: VcpuId,
        /// The CPUs.
        cpus: CpuSet,
        /// The preferred ones; none leaves the preference as it is, all is no preference.
        soft: CpuSet,
    } -> Pinned;
    /// Scheduling parameters of a vCPU. Ends with `End`.
    Params = 0x04, Dom0 {
        /// Whose.
        id: VcpuId,
        /// From 0 on.
        index: u32,
    } -> ParamRow;
    /// Sets one or two of them. `NoSuch`: no such name, or a domain's; `Invalid`: out of range.
    SetParams = 0x05, Dom0 {
        /// Whose.
        id: VcpuId,
        /// What.
        first: Setting,
        /// And what.
        second: Option<Setting>,
    } -> ();
    /// Boosts of a vCPU, as for a domain. Ends with `End`.
    Boosts = 0x06, Dom0 {
        /// Whose.
        id: VcpuId,
        /// From 0 on.
        index: u32,
    } -> Counter;
}
