//! Pools one step at a time: create, destroy, rename, CPUs in and out. Boot and the laboratory use these; a running system
//! is changed by plans (`change.rs`), while one of which is under way everything here refuses.
//!
//! Nothing here waits. What needs another CPU's hand is begun, answers `Again` with whom to kick, and is finished by a
//! later call with the same arguments. A CPU changes pool by itself, idle, in `settle`. Neighbours: `dispatch.rs`,
//! `moves.rs` for domains.

use crate::error::PoolError;
use crate::name::Name;
use crate::pool::{Pool, PoolConfig, PoolParams, Wfi};
use crate::prepare::room_for_box;
use crate::record::recorder;
use crate::set::{FREE, PoolSet, slot_of};
use crate::step;
use alloc::boxed::Box;
use core::sync::atomic::Ordering;
use spin::RelaxStrategy;
use tarn_abi::{CpuId, CpuSet, Instant, MAX_POOLS, PoolId};
use tarn_sched::{Kick, Scheduler, registry};

/// How far a change has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Progress {
    /// Finished. These CPUs must come by.
    Done(Kick),
    /// Begun: send the kick and call again with the same arguments.
    Again(Kick),
    /// Nothing has changed.
    Refused(PoolError),
}

impl From<PoolError> for Progress {
    fn from(e: PoolError) -> Self {
        Progress::Refused(e)
    }
}

impl<R: RelaxStrategy> PoolSet<R> {
    /// Makes a pool without CPUs and domains.
    pub fn create(&self, c: &PoolConfig<'_>, now: Instant) -> Result<PoolId, PoolError> {
        let sched = registry::build(c.sched, &c.params)?;
        self.create_with(c, sched, now)
    }

    /// The same with a scheduler that is not in the registry (a baseline of the laboratory).
    pub fn create_with(
        &self,
        c: &PoolConfig<'_>,
        sched: Box<dyn Scheduler>,
        now: Instant,
    ) -> Result<PoolId, PoolError> {
        let name = Name::new(c.name)?;
        let _config = self.settled()?;
        if self.find_pool(c.name).is_some() {
            return Err(PoolError::NameTaken);
        }
        let recorder = recorder(c.record)?;
        for slot in 0..MAX_POOLS {
            let mut p = self.pools[slot].lock();
            if p.is_none() {
                room_for_box::<Pool>()?;
                *p = Some(Box::new(Pool::new(c, name, sched, recorder, now)));
                self.wfi[slot].store(u8::from(c.wfi == Wfi::Native), Ordering::Relaxed);
                return Ok(self.id_of(slot));
            }
        }
        Err(PoolError::TooManyPools)
    }

    /// Gives a pool another name.
    pub fn rename(&self, pool: PoolId, name: &str) -> Result<(), PoolError> {
        let new = Name::new(name)?;
        let _config = self.settled()?;
        if self.find_pool(name).is_some_and(|other| other != pool) {
            return Err(PoolError::NameTaken);
        }
        self.lock_pool(pool)?.name = new;
        Ok(())
    }

    /// Changes what can be set of a pool while it runs.
    pub fn adjust_pool(
        &self,
        pool: PoolId,
        params: &PoolParams,
        now: Instant,
    ) -> Result<(), PoolError> {
        let _config = self.settled()?;
        let mut p = self.lock_pool(pool)?;
        self.set_params(&mut p, pool.index(), params, now)
    }

    /// The same for a pool that is locked.
    pub(crate) fn set_params(
        &self,
        p: &mut Pool,
        slot: usize,
        params: &PoolParams,
        now: Instant,
    ) -> Result<(), PoolError> {
        let now = p.tick(now);
        p.sched().adjust(&params.sched, now)?;
        p.params = params.sched;
        p.wfi = params.wfi;
        p.boost = params.boost;
        self.wfi[slot].store(u8::from(params.wfi == Wfi::Native), Ordering::Relaxed);
        Ok(())
    }

    /// Removes a pool without domains; its CPUs become free first.
    pub fn destroy(&self, pool: PoolId) -> Progress {
        if pool == PoolId::POOL0 {
            return PoolError::Pool0.into();
        }
        let config = match self.settled() {
            Ok(c) => c,
            Err(e) => return e.into(),
        };
        let mut p = match self.lock_pool(pool) {
            Ok(p) => p,
            Err(e) => return e.into(),
        };
        if p.domains != 0 {
            return PoolError::HasDomains.into();
        }
        p.closing = true;
        p.leaving = p.cpus;
        for cpu in p.incoming.iter() {
            if !self.cpus[cpu.index()].online.load(Ordering::Acquire) {
                self.cpus[cpu.index()].want.store(FREE, Ordering::Release);
                p.incoming.remove(cpu);
            }
        }
        let cpus = p.cpus.union(&p.incoming);
        drop(p);
        if cpus.is_empty() {
            let mut p = self.pools[pool.index()].lock();
            let old = p.take();
            self.generations[pool.index()].fetch_add(1, Ordering::Relaxed);
            drop(p);
            drop(config);
            drop(old);
            return Progress::Done(Kick::NONE);
        }
        step::point();
        for cpu in cpus.iter() {
            let c = &self.cpus[cpu.index()];
            // A CPU still on its way in arrives first and leaves on a later call.
            let here = c.member.load(Ordering::Acquire) == pool.slot + 1;
            if here && c.want.load(Ordering::Acquire) == pool.slot + 1 {
                c.want.store(FREE, Ordering::Release);
            }
        }
        Progress::Again(Kick(cpus))
    }

    /// Brings `cpu` into a pool, or makes it free. A CPU that is not up yet just learns where to go.
    pub fn assign_cpu(&self, cpu: CpuId, to: Option<PoolId>, now: Instant) -> Progress {
        let config = match self.settled() {
            Ok(c) => c,
            Err(e) => return e.into(),
        };
        if !config.present.contains(cpu) {
            return PoolError::NoSuchCpu.into();
        }
        let c = &self.cpus[cpu.index()];
        let target = to.map_or(FREE, |p| p.slot.saturating_add(1));
        if cpu == CpuId::BOOT && target != 1 {
            return PoolError::BootCpu.into();
        }
        if let Some(id) = to {
            match self.lock_pool(id) {
                Ok(p) if p.closing => return PoolError::Closing.into(),
                Ok(_) => {}
                Err(e) => return e.into(),
            }
        }
        let (member, want) = (
            c.member.load(Ordering::Acquire),
            c.want.load(Ordering::Acquire),
        );
        let online = c.online.load(Ordering::Acquire);
        if want == target {
            return if member == target || !online {
                Progress::Done(Kick::NONE)
            } else {
                Progress::Again(Kick::one(cpu))
            };
        }
        if want != member && online {
            return PoolError::InFlight.into();
        }
        // The pool it comes from, in which it is or was going to be.
        if let Some(p) = self.lock_slot(slot_of(want)) {
            let mut rest = p.future_cpus();
            rest.remove(cpu);
            if rest.is_empty() && p.domains != 0 {
                return PoolError::LastCpu.into();
            }
            if let Err(e) = p.sched.can_lose(&CpuSet::one(cpu)) {
                return PoolError::from(e).into();
            }
        }
        if let Some(mut p) = self.lock_slot(slot_of(target)) {
            let now = p.tick(now);
            if let Err(e) = p.sched().alloc_pcpu(cpu, now) {
                return Progress::Refused(e.into());
            }
            p.incoming.insert(cpu);
        }
        if let Some(mut p) = self.lock_slot(slot_of(want)) {
            p.incoming.remove(cpu);
            if p.cpus.contains(cpu) {
                p.leaving.insert(cpu);
            } else {
                p.sched().forget_pcpu(cpu);
            }
        }
        step::point();
        c.want.store(target, Ordering::Release);
        step::point();
        if c.online.load(Ordering::Acquire) {
            Progress::Again(Kick::one(cpu))
        } else {
            Progress::Done(Kick::NONE)
        }
    }

    /// `cpu` did not come up: it is no CPU of ours any more.
    pub fn absent(&self, cpu: CpuId) {
        let mut config = self.config.lock();
        let Some(c) = self.cpus.get(cpu.index()) else {
            return;
        };
        if c.online.load(Ordering::Acquire) {
            return;
        }
        config.present.remove(cpu);
        if let Some(mut p) = self.lock_slot(slot_of(c.want.swap(FREE, Ordering::AcqRel))) {
            p.incoming.remove(cpu);
        }
    }
}
