//! Area 0x02: domains: lists, names, life and death, counters.
//!
//! Slots name domains in a list (`from`, then the answer's slot + 1), so a domain that comes or goes while somebody
//! lists shifts nobody else. Names are those of the configuration, unique among live domains.

use super::Counter;
use super::param::{ParamRow, Setting};
use super::report::Report;
use super::text::Text;
use super::wire::{In, Out, Wire, area, replies, wire_enum};
use crate::errno::Errno;
use crate::id::{DomainId, PoolId};
use crate::time::{Instant, Span};

wire_enum! {
    /// What a domain does, by its vCPUs that are not offline.
    DomainRun, "run state: 0 full run, 1 full contention, 2 concurrency hazard, 3 blocked, 4 partial run, 5 partial contention" {
        /// All run.
        FullRun = 0,
        /// All wait for a CPU.
        FullContention = 1,
        /// Some run, some wait for a CPU.
        ConcurrencyHazard = 2,
        /// All are blocked, or there is none.
        Blocked = 3,
        /// Some run, the others are blocked.
        PartialRun = 4,
        /// Some wait for a CPU, the others are blocked.
        PartialContention = 5,
    }
}

wire_enum! {
    /// Where a domain is in its life.
    DomainState, "domain state: 0 building, 1 alive, 2 shut down, 3 crashed, 4 dying" {
        /// Memory and image are being prepared; nothing runs.
        Building = 0,
        /// Its vCPUs may run.
        Alive = 1,
        /// It switched itself off.
        Shutdown = 2,
        /// It was stopped for a fault.
        Crashed = 3,
        /// Its parts are being taken back.
        Dying = 4,
    }
}

/// What else is true of a domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DomainFlags(pub u32);

impl DomainFlags {
    /// One of its vCPUs is on a CPU at this moment.
    pub const RUNNING: DomainFlags = DomainFlags(1 << 0);
    /// All its vCPUs wait for an interrupt.
    pub const BLOCKED: DomainFlags = DomainFlags(1 << 1);
    /// Paused by the control domain.
    pub const PAUSED: DomainFlags = DomainFlags(1 << 2);
    /// It is the control domain.
    pub const CONTROL: DomainFlags = DomainFlags(1 << 3);
    /// It has a console.
    pub const CONSOLE: DomainFlags = DomainFlags(1 << 4);
    /// Its console has the input focus.
    pub const FOCUS: DomainFlags = DomainFlags(1 << 5);

    /// Both.
    #[must_use]
    pub const fn with(self, other: DomainFlags) -> DomainFlags {
        DomainFlags(self.0 | other.0)
    }

    /// `self` and, if `cond`, `other`.
    #[must_use]
    pub const fn with_if(self, other: DomainFlags, cond: bool) -> DomainFlags {
        if cond { self.with(other) } else { self }
    }

    /// Whether all of `other` are set.
    pub const fn has(self, other: DomainFlags) -> bool {
        self.0 & other.0 == other.0
    }
}

impl Wire for DomainFlags {
    const WORDS: usize = 1;
    const KIND: &'static str =
        "bits: 0 running, 1 blocked, 2 paused, 3 control, 4 console, 5 focus";
    fn put(&self, out: &mut Out) {
        self.0.put(out);
    }
    fn get(from: &mut In<'_>) -> Result<Self, Errno> {
        u32::get(from).map(DomainFlags)
    }
}

replies! {
    /// Answer to `List`.
    DomainRow {
        /// The domain.
        id: DomainId,
        /// Where it is in its life.
        state: DomainState,
        /// What else is true of it.
        flags: DomainFlags,
        /// How many vCPUs it has.
        vcpus: u32,
        /// Its memory, KiB.
        memory_kib: u64,
        /// The pool it is in.
        pool: PoolId,
        /// CPU time all its vCPUs have had.
        time: Span,
    }

    /// Answer to `Config`.
    ConfigRow {
        /// The live domain made from it, if there is one.
        alive: Option<DomainId>,
        /// Its name.
        name: Text,
    }

    /// Answer to `Runstate`: the time in each state, up to now. Their sum is the time since the domain was made.
    DomainTimes {
        /// Of all running.
        full_run: Span,
        /// Of all waiting for a CPU.
        full_contention: Span,
        /// Of some running while others wait for a CPU.
        concurrency_hazard: Span,
        /// Of all blocked.
        blocked: Span,
        /// Of some running, the others blocked.
        partial_run: Span,
        /// Of some waiting for a CPU, the others blocked.
        partial_contention: Span,
    }

    /// Answer to `RunstateNow`.
    DomainNow {
        /// What it does.
        state: DomainRun,
        /// Since when.
        since: Instant,
        /// When this was read.
        at: Instant,
        /// Changes of state that were not recorded: always 0 here.
        missed: u32,
    }

    /// Answer to `Crash`.
    CrashReport {
        /// Guest program counter at that moment.
        pc: u64,
        /// What happened.
        reason: Text,
    }
}

area! {
    /// Domains.
    DomainCall = 0x02;
    /// The first domain at or behind a slot. Ends with `End`.
    List = 0x00, Dom0 {
        /// Lowest slot to look at.
        from: u32,
    } -> DomainRow;
    /// A domain's name.
    Name = 0x01, Dom0 {
        /// Whose.
        id: DomainId,
    } -> Text;
    /// The live domain of a name. `NoSuch` if there is none.
    Find = 0x02, Dom0 {
        /// Exactly this name.
        name: Text,
    } -> DomainId;
    /// The domains of the configuration, alive or not. Ends with `End`.
    Config = 0x03, Dom0 {
        /// From 0 on.
        index: u32,
    } -> ConfigRow;
    /// Makes a domain of the configuration, which then builds itself in its own share of the CPUs and starts. `NoSuch`:
    /// no such name there; `Exists`: it is alive already; `NoMemory`: it does not fit; `Again`: another one is being made.
    Create = 0x04, Dom0 {
        /// Its name in the configuration.
        name: Text,
    } -> DomainId;
    /// Stops a domain and takes all its parts back, in steps (`Again`). `Fixed`: it is dom0.
    Destroy = 0x05, Dom0 {
        /// Which.
        id: DomainId,
    } -> ();
    /// Keeps a domain from running until `Unpause`. CPUs that run it are interrupted; they leave it at once, which may be
    /// just after the answer. `Fixed`: it is dom0; `Busy`: it is paused already or not alive.
    Pause = 0x06, Dom0 {
        /// Which.
        id: DomainId,
    } -> ();
    /// Lets a paused domain run again. `Busy`: it is not paused.
    Unpause = 0x07, Dom0 {
        /// Which.
        id: DomainId,
    } -> ();
    /// Counters of one domain: exits by reason, interrupts, refused accesses. Ends with `End`.
    Counters = 0x08, Dom0 {
        /// Whose.
        id: DomainId,
        /// From 0 on.
        index: u32,
    } -> Counter;
    /// Why a domain crashed. `Busy`: it has not.
    Crash = 0x09, Dom0 {
        /// Which.
        id: DomainId,
    } -> CrashReport;
    /// As `Create`, in this pool instead of the configuration's. `NoCpus`: the pool has none; `Fixed`: dom0 stays in Pool-0.
    CreateIn = 0x0a, Dom0 {
        /// Where.
        pool: PoolId,
        /// Its name in the configuration.
        name: Text,
    } -> DomainId;
    /// Brings a domain into another pool with its weights, cap, boost parameters, affinities and run states. It stands
    /// still until the CPUs that hold its registers have come by. `Fixed`: it is dom0; `NoCpus`: the pool has none;
    /// `NotAdmitted`: the scheduler there cannot take it. Several at once: a plan.
    Move = 0x0b, Dom0 {
        /// Which.
        id: DomainId,
        /// Where to.
        to: PoolId,
    } -> Report;
    /// Scheduling parameters of a domain; where vCPUs differ, those of vCPU 0. Ends with `End`.
    Params = 0x0c, Dom0 {
        /// Whose.
        id: DomainId,
        /// From 0 on.
        index: u32,
    } -> ParamRow;
    /// Sets one or two of them, for all its vCPUs. `NoSuch`: no such name; `Invalid`: out of range.
    SetParams = 0x0d, Dom0 {
        /// Whose.
        id: DomainId,
        /// What.
        first: Setting,
        /// And what.
        second: Option<Setting>,
    } -> ();
    /// Time in each of the six run states of a domain.
    Runstate = 0x0e, Dom0 {
        /// Whose.
        id: DomainId,
    } -> DomainTimes;
    /// The run state it is in.
    RunstateNow = 0x0f, Dom0 {
        /// Whose.
        id: DomainId,
    } -> DomainNow;
    /// Boosts of all its vCPUs: granted by cause, ended by cause, spent while somebody waited, held back for storms. Ends
    /// with `End`.
    Boosts = 0x10, Dom0 {
        /// Whose.
        id: DomainId,
        /// From 0 on.
        index: u32,
    } -> Counter;
}
