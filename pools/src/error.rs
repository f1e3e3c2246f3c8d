//! Why a pool operation is refused: one enum, with the phrase for the operator and the number for the wire.
//!
//! A refusal has changed nothing. Neighbours: every fallible operation here; hv turns `errno()` into x0.

use core::fmt;
use tarn_abi::Errno;
use tarn_sched::SchedError;

/// A refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoolError {
    /// No CPU of that number.
    NoSuchCpu,
    /// No pool of that name or id.
    NoSuchPool,
    /// No domain of that id.
    NoSuchDomain,
    /// No vCPU of that id.
    NoSuchVcpu,
    /// The id named something that is gone.
    Stale,
    /// A pool of that name is there already.
    NameTaken,
    /// The name is empty, too long, or has characters other than letters, digits, `-`, `_` and `.`.
    BadName,
    /// No group of that name or id.
    NoSuchGroup,
    /// The domain or vCPU id is in use.
    IdTaken,
    /// The boot CPU stays in Pool-0.
    BootCpu,
    /// Domain 0 stays in Pool-0.
    Dom0,
    /// Pool-0 stays.
    Pool0,
    /// The pool has domains and this is its last CPU.
    LastCpu,
    /// The pool still has domains.
    HasDomains,
    /// The pool has no CPU.
    NoCpus,
    /// The pool is being destroyed.
    Closing,
    /// A change of this CPU or domain is under way.
    InFlight,
    /// A CPU still holds registers of the domain or vCPU.
    StillLoaded,
    /// The vCPU is on already.
    AlreadyOn,
    /// The domain is not paused.
    NotPaused,
    /// The domain has been killed.
    Dead,
    /// The domain has not been killed.
    Alive,
    /// The table of pools is full.
    TooManyPools,
    /// The parameter `cap` is beyond 100 per vCPU.
    CapTooBig,
    /// A group's weight that is split would leave some of its processors without a part.
    SplitTooThin {
        /// How many there are: the lowest such weight.
        processors: u16,
    },
    /// Under `null` dom0 might be left without a CPU.
    Dom0Waits,
    /// No parameter of that name.
    NoSuchParam,
    /// The group still has members.
    GroupInUse,
    /// The group is of another pool, or the vCPU is outside what was delegated.
    NotHere,
    /// It, a group it is in or one inside it is delegated already.
    Delegated,
    /// A step refers to a pool that no step before it makes.
    NoSuchStep,
    /// The plan has as many steps as it can have.
    PlanFull,
    /// It was taken back before it was finished.
    Aborted,
    /// It is past the point of no return.
    TooLate,
    /// No memory.
    NoMemory,
    /// The scheduler refuses.
    Sched(SchedError),
}

impl From<SchedError> for PoolError {
    fn from(e: SchedError) -> Self {
        match e {
            SchedError::NoMemory => PoolError::NoMemory,
            e => PoolError::Sched(e),
        }
    }
}

impl PoolError {
    /// The number for the call boundary.
    pub const fn errno(self) -> Errno {
        use PoolError as E;
        match self {
            E::NoSuchCpu | E::NoSuchPool | E::NoSuchDomain | E::NoSuchVcpu | E::NoSuchGroup => {
                Errno::NoSuch
            }
            E::Stale => Errno::Stale,
            E::NameTaken | E::IdTaken => Errno::Exists,
            E::BadName | E::CapTooBig | E::SplitTooThin { .. } => Errno::Invalid,
            E::BootCpu | E::Dom0 | E::Pool0 => Errno::Fixed,
            E::NoSuchParam | E::NoSuchStep => Errno::NoSuch,
            E::NotHere => Errno::Invalid,
            // Not NotAdmitted, whose advice is a smaller budget: its words say what helps.
            E::Dom0Waits => Errno::Busy,
            E::LastCpu => Errno::LastCpu,
            E::HasDomains | E::GroupInUse => Errno::NotEmpty,
            E::NoCpus => Errno::NoCpus,
            E::InFlight => Errno::Again,
            E::Closing | E::StillLoaded | E::Delegated | E::Aborted | E::TooLate => Errno::Busy,
            E::AlreadyOn | E::NotPaused | E::Dead | E::Alive => Errno::Busy,
            E::TooManyPools | E::PlanFull | E::NoMemory => Errno::NoMemory,
            E::Sched(SchedError::NoMemory) => Errno::NoMemory,
            E::Sched(SchedError::UnknownScheduler) => Errno::NoSuch,
            E::Sched(SchedError::Inadmissible { .. }) => Errno::NotAdmitted,
            E::Sched(_) => Errno::Invalid,
        }
    }
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use PoolError as E;
        f.write_str(match self {
            E::NoSuchCpu => "no such CPU",
            E::NoSuchPool => "no such pool",
            E::NoSuchDomain => "no such domain",
            E::NoSuchVcpu => "no such vCPU",
            E::NoSuchGroup => "no such group",
            E::Stale => "it has been destroyed since",
            E::NameTaken => "that name is taken",
            E::BadName => "a name is 1 to 31 letters, digits, '-', '_' or '.'",
            E::IdTaken => "the id is in use",
            E::BootCpu => "the boot CPU stays in Pool-0",
            E::Dom0 => "domain 0 stays in Pool-0",
            E::Pool0 => "Pool-0 cannot be destroyed",
            E::LastCpu => "it is the last CPU of a pool with domains",
            E::HasDomains => "the pool has domains; move or destroy them first",
            E::NoCpus => "the pool has no CPU; add one first",
            E::Closing => "the pool is being destroyed",
            E::InFlight => "a change is under way; try again",
            E::StillLoaded => "a CPU still holds its registers; try again",
            E::AlreadyOn => "the vCPU is on",
            E::NotPaused => "the domain is not paused",
            E::Dead => "the domain has been killed",
            E::Alive => "the domain is alive",
            E::TooManyPools => "no free pool slot",
            E::CapTooBig => "the cap is beyond 100 per vCPU",
            E::SplitTooThin { processors } => {
                return write!(
                    f,
                    "each of its {processors} processors needs a part of the weight: with split on it is at least {processors}"
                );
            }
            E::Dom0Waits => "under null each vCPU of Pool-0 needs a CPU, or dom0 might be left without; move domains out first",
            E::NoSuchParam => "no parameter of that name",
            E::GroupInUse => {
                "the group is not empty; move its vCPUs out and destroy the groups in it first"
            }
            E::NotHere => "that group is of another pool, or not the caller's to use",
            E::Delegated => "it, a group around it or one inside it is delegated already",
            E::NoSuchStep => "no step before it makes that pool",
            E::PlanFull => "a plan has at most 64 steps",
            E::Aborted => "it was taken back before it was finished",
            E::TooLate => "it can no longer be taken back",
            E::NoMemory => "not enough memory",
            E::Sched(e) => return e.fmt(f),
        })
    }
}
