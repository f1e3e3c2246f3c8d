//! Pools under change: create, destroy, rename, CPUs in and out, domains from one pool to another.
//!
//! Nothing here waits. What needs another CPU's hand is begun, answers `Again` with whom to kick, and is finished by a
//! later call with the same arguments. A CPU changes pool by itself, idle, in `settle`. Neighbours: `dispatch.rs`.

use crate::domains::{Places, give_back, reserve};
use crate::error::PoolError;
use crate::name::Name;
use crate::pool::{Move, Pool, PoolConfig, Wfi};
use crate::record::recorder;
use crate::set::{FREE, Guard, Home, PoolSet, slot_of};
use alloc::boxed::Box;
use core::sync::atomic::Ordering;
use spin::RelaxStrategy;
use tarn_abi::{CpuId, DomainId, Instant, MAX_POOLS, PoolId};
use tarn_sched::{Kick, NodeId, Scheduler, registry};

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
        let _config = self.config.lock();
        if self.find_pool(c.name).is_some() {
            return Err(PoolError::NameTaken);
        }
        let recorder = recorder(c.record)?;
        for slot in 0..MAX_POOLS {
            let mut p = self.pools[slot].lock();
            if p.is_none() {
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
        let _config = self.config.lock();
        if self.find_pool(name).is_some_and(|other| other != pool) {
            return Err(PoolError::NameTaken);
        }
        self.lock_pool(pool)?.name = new;
        Ok(())
    }

    /// Changes the parameters of a pool's scheduler and what WFI does.
    pub fn adjust_pool(
        &self,
        pool: PoolId,
        params: &tarn_sched::SchedParams,
        wfi: Wfi,
        now: Instant,
    ) -> Result<(), PoolError> {
        let mut p = self.lock_pool(pool)?;
        let now = p.tick(now);
        p.sched().adjust(params, now)?;
        p.params = *params;
        p.wfi = wfi;
        self.wfi[pool.index()].store(u8::from(wfi == Wfi::Native), Ordering::Relaxed);
        Ok(())
    }

    /// Removes a pool without domains; its CPUs become free first.
    pub fn destroy(&self, pool: PoolId) -> Progress {
        if pool == PoolId::POOL0 {
            return PoolError::Pool0.into();
        }
        let config = self.config.lock();
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
        let config = self.config.lock();
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
            }
        }
        c.want.store(target, Ordering::Release);
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

    /// Moves a domain with all its vCPUs, weights, boost parameters, affinity and run states to another pool. A move
    /// begun and not finished is taken back by a move to where the domain is.
    pub fn move_domain(&self, d: DomainId, to: PoolId, now: Instant) -> Progress {
        let _config = self.config.lock();
        match self.move_step(d, to, now) {
            Ok(progress) => progress,
            Err(e) => e.into(),
        }
    }

    fn move_step(&self, d: DomainId, to: PoolId, now: Instant) -> Result<Progress, PoolError> {
        if d == DomainId::DOM0 && to != PoolId::POOL0 {
            return Err(PoolError::Dom0);
        }
        let (mut guard, dom, from) = self.lock_domain(d)?;
        let moving = guard.doms.at(dom).moving.as_ref().map(|m| m.to);
        if let Some(m) = moving {
            if u16::from(from) == to.slot {
                return Ok(Progress::Done(self.cancel_move(guard, dom, from, now)));
            }
            if u16::from(m) != to.slot {
                return Err(PoolError::InFlight);
            }
        } else {
            drop(self.begin_move(guard, dom, from, to, now)?);
            let (g, _, _) = self.lock_domain(d)?;
            guard = g;
            if u16::from(from) == to.slot {
                return Ok(Progress::Done(Kick::NONE));
            }
        }
        let p: &mut Pool = &mut guard;
        let now = p.tick(now);
        let kick = p.restate(dom, now);
        if !p.quiet(dom) {
            let held = p
                .doms
                .at(dom)
                .vcpus
                .iter()
                .filter_map(|&r| p.rows.get(r).and_then(|r| r.cpu()))
                .collect();
            return Ok(Progress::Again(kick.and(Kick(held))));
        }
        drop(guard);
        Ok(Progress::Done(self.finish_move(
            d,
            dom,
            from,
            to.slot as u8,
            now,
        )))
    }

    /// Reserves places in the target and marks the domain as moving. The guard of the source is given up meanwhile; the
    /// config lock keeps both pools and the domain where they are.
    fn begin_move<'a>(
        &'a self,
        mut source: Guard<'a, R>,
        dom: u16,
        from: u8,
        to: PoolId,
        now: Instant,
    ) -> Result<Option<Guard<'a, R>>, PoolError> {
        let n = source.doms.at(dom).vcpus.len();
        let mut params = alloc::vec::Vec::new();
        params
            .try_reserve_exact(n)
            .map_err(|_| PoolError::NoMemory)?;
        for i in 0..n {
            let row = source.doms.at(dom).vcpus[i];
            params.push(source.rows.at(row).params);
        }
        drop(source);
        let mut target = self.lock_pool(to)?;
        if u16::from(from) == to.slot {
            return Ok(None);
        }
        if target.closing {
            return Err(PoolError::Closing);
        }
        if target.future_cpus().is_empty() {
            return Err(PoolError::NoCpus);
        }
        target.tick(now);
        let Places {
            dom: there,
            rows,
            ents,
        } = reserve(&mut target, params.into_iter(), n)?;
        target.domains += 1;
        drop(target);
        let mut source = self
            .lock_slot(usize::from(from))
            .ok_or(PoolError::NoSuchPool)?;
        source.doms.at(dom).moving = Some(Move {
            to: to.slot as u8,
            dom: there,
            rows,
            ents,
            node: NodeId::ROOT,
        });
        Ok(Some(source))
    }

    /// Gives the reservation of an unfinished move back; the domain runs on where it is. Under the config lock.
    pub(crate) fn cancel_move<'a>(
        &'a self,
        mut source: Guard<'a, R>,
        dom: u16,
        from: u8,
        now: Instant,
    ) -> Kick {
        let Some(m) = source.doms.at(dom).moving.take() else {
            return Kick::NONE;
        };
        let now = source.tick(now);
        let kick = source.restate(dom, now);
        drop(source);
        if m.to == from {
            if let Some(mut p) = self.lock_slot(usize::from(from)) {
                m.ents.into_iter().for_each(|e| p.sched().free_vcpu(e, now));
            }
            return kick;
        }
        let Some(mut target) = self.lock_slot(usize::from(m.to)) else {
            return kick;
        };
        target.domains -= 1;
        give_back(
            &mut target,
            Places {
                dom: m.dom,
                rows: m.rows,
                ents: m.ents,
            },
        );
        kick
    }

    /// Carries the rows over. All registers of the domain are in memory and nothing can make it run meanwhile.
    fn finish_move(&self, d: DomainId, dom: u16, from: u8, to: u8, now: Instant) -> Kick {
        let (low, high) = (from.min(to), from.max(to));
        let (Some(mut a), Some(mut b)) = (
            self.lock_slot(usize::from(low)),
            self.lock_slot(usize::from(high)),
        ) else {
            return Kick::NONE;
        };
        let (source, target): (&mut Pool, &mut Pool) = if from == low {
            (&mut a, &mut b)
        } else {
            (&mut b, &mut a)
        };
        let now = source.tick(now);
        let now = target.tick(now);
        let now = source.tick(now);
        let Some(mut row) = source.doms.release(dom) else {
            return Kick::NONE;
        };
        source.domains -= 1;
        let Some(m) = row.moving.take() else {
            return Kick::NONE;
        };
        let Move {
            dom: there,
            rows,
            ents,
            ..
        } = m;
        let mut kick = Kick::NONE;
        let old = core::mem::replace(&mut row.vcpus, rows);
        target.doms.fill(there, row);
        for (i, old_row) in old.into_iter().enumerate() {
            source.parked.retain(|r| *r != old_row);
            let Some(mut r) = source.rows.release(old_row) else {
                continue;
            };
            kick = kick.and(source.sched().remove(r.ent, now));
            source.sched().free_vcpu(r.ent, now);
            r.ent = ents[i];
            r.dom = there;
            r.parked = false;
            let ent = r.ent;
            let new_row = target.doms.at(there).vcpus[i];
            self.set_vcpu_home(r.id, Home::new(to, new_row, r.id.generation));
            target.rows.fill(new_row, r);
            kick = kick.and(target.sched().insert(ent, false, now));
        }
        self.set_domain_home(d, Home::new(to, there, d.generation));
        kick.and(target.restate(there, now))
    }
}
