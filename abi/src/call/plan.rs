//! Area 0x07: transactions: several changes of pools, CPUs and domains as one.
//!
//! `Begin`, then steps in their order, then `Check` (answers what would happen; nothing changes) or `Commit`. A commit
//! checks the whole plan, prepares everything that can fail, and only then changes anything; a step that still fails is
//! rolled back with all before it. There is one plan at a time, dom0's. A step may name a pool that an earlier step makes.

use super::param::Setting;
use super::report::Adjusted;
use super::text::{Label, Text};
use super::wire::{In, Out, Wire, area, replies};
use crate::errno::Errno;
use crate::id::{DomainId, MAX_POOLS, PoolId, SchedId};
use crate::set::CpuSet;
use crate::time::Span;

/// Most steps of a plan.
pub const MAX_STEPS: usize = 64;

/// A pool in a plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoolRef {
    /// None: of a CPU, to be free.
    Free,
    /// One that exists.
    Id(PoolId),
    /// The one that this step of the plan makes.
    Step(u32),
}

impl Wire for PoolRef {
    const WORDS: usize = 1;
    const KIND: &'static str = "0 = none; 1 in bits 32-63: pool id in bits 0-31; 2 in bits 32-63: the pool that the step of that number makes";
    fn put(&self, out: &mut Out) {
        out.push(match self {
            PoolRef::Free => 0,
            PoolRef::Id(id) => 1 << 32 | id.to_wire(),
            PoolRef::Step(n) => 2 << 32 | u64::from(*n),
        });
    }
    fn get(from: &mut In<'_>) -> Result<Self, Errno> {
        let word = from.pull();
        match word >> 32 {
            0 if word == 0 => Ok(PoolRef::Free),
            1 => PoolId::from_wire(word & 0xffff_ffff)
                .filter(|id| id.index() < MAX_POOLS)
                .map(PoolRef::Id)
                .ok_or(Errno::NoSuch),
            2 => Ok(PoolRef::Step(word as u32)),
            _ => Err(Errno::Invalid),
        }
    }
}

replies! {
    /// Answer to `Check` and `Verdict`.
    Verdict {
        /// How many steps the plan has.
        steps: u32,
        /// The first step that cannot be carried out, counted from 1; 0 = all can.
        failed: u32,
        /// Why: a refusal's number without its sign, 0 if there is none.
        why: u32,
    }

    /// Answer to `Outcome`.
    PlannedPool {
        /// The pool, or the step that makes it.
        pool: PoolRef,
        /// The CPUs it will have.
        cpus: CpuSet,
        /// How many domains will be in it.
        domains: u32,
        /// Its scheduler.
        sched: Label,
        /// How many of its vCPUs will have no CPU.
        stranded: u32,
    }

    /// Answer to `Change`.
    PlannedChange {
        /// The domain.
        domain: DomainId,
        /// The pool it will be in.
        pool: PoolRef,
        /// What will not stay as it is.
        adjusted: Adjusted,
    }

    /// Answer to `Commit`.
    Committed {
        /// How many steps have been carried out: all of them.
        steps: u32,
        /// The longest time for which a vCPU that wanted to run was kept from it.
        stood_still: Span,
        /// What could not stay as it was, of any domain.
        adjusted: Adjusted,
    }
}

area! {
    /// Transactions.
    PlanCall = 0x07;
    /// Starts an empty plan; one that was not committed is forgotten. `Busy`: one is being committed.
    Begin = 0x00, Dom0 {} -> ();
    /// Step: makes a pool without CPUs. Answers the step's number, from 0 on, as all steps do. `NoMemory`: the plan is full.
    CreatePool = 0x01, Dom0 {
        /// Its scheduler; none = the default.
        sched: Option<SchedId>,
        /// Its name.
        name: Text,
    } -> u32;
    /// Step: removes a pool without domains; its CPUs become free.
    DestroyPool = 0x02, Dom0 {
        /// Which.
        pool: PoolRef,
    } -> u32;
    /// Step: gives a pool another name.
    RenamePool = 0x03, Dom0 {
        /// Which.
        pool: PoolRef,
        /// Its new name.
        name: Text,
    } -> u32;
    /// Step: brings CPUs into a pool, or makes them free.
    AssignCpus = 0x04, Dom0 {
        /// Where to.
        to: PoolRef,
        /// Which.
        cpus: CpuSet,
    } -> u32;
    /// Step: brings a domain into a pool. Steps of this kind that follow each other move together: none of their domains
    /// runs in its new pool before all of them have stopped in the old.
    MoveDomain = 0x05, Dom0 {
        /// Which.
        domain: DomainId,
        /// Where to.
        to: PoolRef,
    } -> u32;
    /// Step: gives a pool another scheduler.
    SetSched = 0x06, Dom0 {
        /// Which pool.
        pool: PoolRef,
        /// Its new scheduler.
        sched: SchedId,
    } -> u32;
    /// Step: sets one or two parameters of a pool.
    SetPoolParams = 0x07, Dom0 {
        /// Whose.
        pool: PoolRef,
        /// What.
        first: Setting,
        /// And what.
        second: Option<Setting>,
    } -> u32;
    /// Step: sets one or two parameters of a domain and all its vCPUs.
    SetDomainParams = 0x08, Dom0 {
        /// Whose.
        domain: DomainId,
        /// What.
        first: Setting,
        /// And what.
        second: Option<Setting>,
    } -> u32;
    /// Checks the plan as a whole against the system as it is now. Changes nothing.
    Check = 0x10, Dom0 {} -> Verdict;
    /// After `Check`: the pools as they will be. Ends with `End`.
    Outcome = 0x11, Dom0 {
        /// From 0 on.
        index: u32,
    } -> PlannedPool;
    /// After `Check`: the domains that move, and what cannot stay as it is. Ends with `End`.
    Change = 0x12, Dom0 {
        /// From 0 on.
        index: u32,
    } -> PlannedChange;
    /// Carries the plan out, in steps (`Again`). Any other refusal: nothing has changed, and `Verdict` says at which step.
    Commit = 0x13, Dom0 {} -> Committed;
    /// Which step failed at the last `Check` or `Commit`, and why.
    LastVerdict = 0x14, Dom0 {} -> Verdict;
    /// Takes back what a commit under way has done, in steps (`Again`), and forgets the plan.
    Abort = 0x15, Dom0 {} -> ();
}
