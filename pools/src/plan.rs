//! A plan: several changes that are made as one. Data only; `model.rs` says what they amount to, `change.rs` makes them.
//!
//! Must never grow without bound: steps come from a prompt. Neighbours: hv's calls fill it, one step a call.

use crate::error::PoolError;
use crate::groups::GroupId;
use crate::name::Name;
use crate::params::Settings;
use alloc::vec::Vec;
use tarn_abi::call::plan::MAX_STEPS;
use tarn_abi::{CpuSet, DomainId, PoolId, SchedId};

/// A pool in a plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// One that exists.
    Id(PoolId),
    /// The one that this step makes.
    Step(u32),
}

/// One change of a plan.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Makes a pool without CPUs.
    CreatePool {
        /// Its name.
        name: Name,
        /// Its scheduler.
        sched: SchedId,
    },
    /// Removes a pool; its CPUs become free.
    DestroyPool(Target),
    /// Gives a pool another name.
    Rename(Target, Name),
    /// Brings CPUs into a pool, or (`None`) makes them free.
    Cpus(Option<Target>, CpuSet),
    /// Brings a domain into a pool.
    MoveDomain(DomainId, Target),
    /// Gives a pool another scheduler.
    SetSched(Target, SchedId),
    /// Sets parameters of a pool.
    PoolParams(Target, Settings),
    /// Sets parameters of a domain and all its vCPUs.
    DomainParams(DomainId, Settings),
    /// Brings a domain, or one vCPU of it by number, into a group of its pool, or (`None`) out of all.
    Group(DomainId, Option<u16>, Option<GroupId>),
}

/// Steps, in their order.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    steps: Vec<Step>,
}

/// Why a plan cannot be carried out. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The step, from 0 on.
    pub step: u32,
    /// Why.
    pub error: PoolError,
}

impl Plan {
    /// Without steps.
    pub const fn new() -> Plan {
        Plan { steps: Vec::new() }
    }

    /// Adds a step; its number.
    pub fn add(&mut self, step: Step) -> Result<u32, PoolError> {
        if self.steps.len() >= MAX_STEPS {
            return Err(PoolError::PlanFull);
        }
        self.steps.try_reserve(1).map_err(|_| PoolError::NoMemory)?;
        self.steps.push(step);
        Ok(self.steps.len() as u32 - 1)
    }

    /// A plan of one step.
    pub fn of(step: Step) -> Result<Plan, PoolError> {
        let mut p = Plan::new();
        p.add(step)?;
        Ok(p)
    }

    /// All of them.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}
