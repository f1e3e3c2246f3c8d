//! Domains: into a pool and out of it, paused, killed, with other parameters.
//!
//! Costs are proportional to the domain's vCPUs. Whatever can fail comes before the first visible change. Neighbours:
//! `pool.rs` passes a domain's state on to its vCPUs, `reconf.rs` moves it to another pool.

use crate::cap::Budget;
use crate::error::PoolError;
use crate::pool::{Dom, DomainParams, Pool, tag};
use crate::row::{Row, Want};
use crate::runstate::{DomainTimes, VcpuState};
use crate::set::{Home, PoolSet};
use alloc::vec::Vec;
use core::ops::Range;
use spin::RelaxStrategy;
use tarn_abi::{DomainId, Instant, PoolId, VcpuId};
use tarn_sched::{Kick, Leaf, NodeId, VcpuParams};

impl<R: RelaxStrategy> PoolSet<R> {
    /// Puts a domain with all its vCPUs, which are off, into a pool. The ids are the caller's and must be unused. These CPUs
    /// must come by: somebody may have made room.
    pub fn add_domain(
        &self,
        d: DomainId,
        pool: PoolId,
        params: &DomainParams,
        vcpus: &[(VcpuId, VcpuParams)],
        now: Instant,
    ) -> Result<Kick, PoolError> {
        let _config = self.settled()?;
        match self.domain_home(d) {
            None => return Err(PoolError::NoSuchDomain),
            Some(h) if h != Home::NOWHERE => return Err(PoolError::IdTaken),
            Some(_) => {}
        }
        for (i, (v, _)) in vcpus.iter().enumerate() {
            match self.vcpu_home(*v) {
                None => return Err(PoolError::NoSuchVcpu),
                Some(h) if h != Home::NOWHERE => return Err(PoolError::IdTaken),
                Some(_) if vcpus[..i].iter().any(|(o, _)| o.slot == v.slot) => {
                    return Err(PoolError::IdTaken);
                }
                Some(_) => {}
            }
        }
        if d == DomainId::DOM0 && pool != PoolId::POOL0 {
            return Err(PoolError::Dom0);
        }
        check_cap(params, vcpus.len())?;

        let mut guard = self.lock_pool(pool)?;
        let p: &mut Pool = &mut guard;
        let now = p.tick(now);
        if p.closing {
            return Err(PoolError::Closing);
        }
        if p.future_cpus().is_empty() {
            return Err(PoolError::NoCpus);
        }
        let places = reserve(p, vcpus.iter().map(|(_, q)| *q), vcpus.len())?;
        let mut times = DomainTimes::new(now);
        times.counts[VcpuState::Down as usize] = vcpus.len() as u16;
        let mut kick = Kick::NONE;
        for (i, (v, q)) in vcpus.iter().enumerate() {
            let (row, ent) = (places.rows[i], places.ents[i]);
            p.rows.fill(row, Row::new(*v, places.dom, ent, *q, now));
            kick = kick.and(p.sched().insert(ent, false, now));
            self.set_vcpu_home(*v, Home::new(pool.slot as u8, row, v.generation));
        }
        p.doms.fill(
            places.dom,
            Dom {
                id: d,
                params: *params,
                times,
                paused: 0,
                dead: false,
                halted: false,
                budget: Budget::new(params.cap, now),
                moving: None,
                vcpus: places.rows,
            },
        );
        p.domains += 1;
        self.set_domain_home(d, Home::new(pool.slot as u8, places.dom, d.generation));
        Ok(kick)
    }

    /// Takes a domain out of its pool: one that has been killed and is quiescent. An unfinished move is taken back. These
    /// CPUs should come by: somebody may have got its place.
    pub fn remove_domain(&self, d: DomainId, now: Instant) -> Result<Kick, PoolError> {
        self.remove_some(d, usize::MAX, now).map(|(kick, _)| kick)
    }

    /// The same for its last `most` vCPUs, at least one; the domain goes with its first vCPU. Whether something is left.
    /// Between two calls it is a domain with fewer vCPUs.
    pub fn remove_some(
        &self,
        d: DomainId,
        most: usize,
        now: Instant,
    ) -> Result<(Kick, bool), PoolError> {
        let mut config = self.config.lock();
        let (mut guard, dom, from) = self.lock_domain(d)?;
        if !guard.doms.at(dom).dead {
            return Err(PoolError::Alive);
        }
        if !guard.quiet(dom) {
            return Err(PoolError::StillLoaded);
        }
        if guard.doms.at(dom).moving.is_some() {
            let kick = self.cancel_move(guard, dom, from, now);
            debug_assert!(kick.is_none(), "it is dead");
            (guard, _, _) = self.lock_domain(d)?;
        }
        let p: &mut Pool = &mut guard;
        let now = p.tick(now);
        let mut kick = Kick::NONE;
        for _ in 0..most.max(1) {
            let Some(row) = p.doms.at(dom).vcpus.pop() else {
                break;
            };
            p.parked.retain(|r| *r != row);
            if p.rows.get(row).is_some() {
                config.gone.add(&p.stats(row));
                (config.gone.credit, config.gone.boost_credit) = (0, 0);
            }
            if let Some(r) = p.rows.release(row) {
                p.doms.at(dom).times.leaves(r.times.state, now);
                kick = kick.and(p.sched().remove(r.ent, now));
                p.sched().free_vcpu(r.ent, now);
                if let Some(next) = &mut p.next {
                    next.free(row);
                }
                self.set_vcpu_home(r.id, Home::NOWHERE);
            }
        }
        let left = !p.doms.at(dom).vcpus.is_empty();
        if !left {
            p.doms.release(dom);
            p.domains -= 1;
            p.disown(d);
            self.set_domain_home(d, Home::NOWHERE);
        }
        Ok((kick.and(p.arms(now)), left))
    }

    /// Stops a domain; counted. Its vCPUs stop when the CPUs of the kick have come by.
    pub fn pause(&self, d: DomainId, now: Instant) -> Result<Kick, PoolError> {
        let (mut guard, dom, _) = self.lock_domain(d)?;
        let p: &mut Pool = &mut guard;
        let now = p.tick(now);
        let row = p.doms.at(dom);
        row.paused = row.paused.saturating_add(1);
        Ok(p.restate(dom, now))
    }

    /// Takes one pause back.
    pub fn unpause(&self, d: DomainId, now: Instant) -> Result<Kick, PoolError> {
        let (mut guard, dom, _) = self.lock_domain(d)?;
        let p: &mut Pool = &mut guard;
        let now = p.tick(now);
        let row = p.doms.at(dom);
        row.paused = row.paused.checked_sub(1).ok_or(PoolError::NotPaused)?;
        Ok(p.restate(dom, now))
    }

    /// Stops a domain for good (until `reset`).
    pub fn kill(&self, d: DomainId, now: Instant) -> Result<Kick, PoolError> {
        self.kill_some(d, 0..usize::MAX, now).map(|(kick, _)| kick)
    }

    /// The same for those of its vCPUs that have these numbers in it; whether there are others behind them. Until their turn
    /// comes they run on, and nothing can unpause or `reset` the domain meanwhile.
    pub fn kill_some(
        &self,
        d: DomainId,
        some: Range<usize>,
        now: Instant,
    ) -> Result<(Kick, bool), PoolError> {
        let (mut guard, dom, _) = self.lock_domain(d)?;
        let p: &mut Pool = &mut guard;
        let now = p.tick(now);
        p.doms.at(dom).dead = true;
        let more = some.end < p.doms.at(dom).vcpus.len();
        Ok((p.restate_some(dom, some, now), more))
    }

    /// Whether no CPU holds registers of the domain (also if there is no such domain).
    pub fn quiescent(&self, d: DomainId) -> bool {
        self.lock_domain(d)
            .map_or(true, |(mut p, dom, _)| p.quiet(dom))
    }

    /// Brings a killed, quiescent domain back with all vCPUs off (a reset of the machine it is).
    pub fn reset(&self, d: DomainId, now: Instant) -> Result<(), PoolError> {
        self.reset_some(d, 0..usize::MAX, now).map(|_| ())
    }

    /// The same for those of its vCPUs that have these numbers in it; whether there are others behind them. It is dead until
    /// there are none.
    pub fn reset_some(
        &self,
        d: DomainId,
        some: Range<usize>,
        now: Instant,
    ) -> Result<bool, PoolError> {
        let (mut guard, dom, _) = self.lock_domain(d)?;
        let p: &mut Pool = &mut guard;
        let now = p.tick(now);
        if !p.doms.at(dom).dead {
            return Err(PoolError::Alive);
        }
        if !p.quiet(dom) {
            return Err(PoolError::StillLoaded);
        }
        let n = p.doms.at(dom).vcpus.len();
        let more = some.end < n;
        for i in some.start..some.end.min(n) {
            p.off(dom, i, now);
        }
        if more {
            return Ok(true);
        }
        p.doms.at(dom).dead = false;
        let stopped = p.doms.at(dom).stopped();
        for i in 0..n {
            let row = p.doms.at(dom).vcpus[i];
            if p.rows.at(row).want != Want::Down {
                p.off(dom, i, now);
            }
            // No other state follows from that while it is off.
            p.rows.at(row).stopped = stopped;
        }
        Ok(false)
    }

    /// Changes a domain's parameters. CPUs that run it should come by, to see how long they may.
    pub fn adjust_domain(
        &self,
        d: DomainId,
        params: &DomainParams,
        now: Instant,
    ) -> Result<Kick, PoolError> {
        let (mut guard, dom, _) = self.lock_domain(d)?;
        let p: &mut Pool = &mut guard;
        let now = p.tick(now);
        let row = p.doms.at(dom);
        check_cap(params, row.vcpus.len())?;
        Ok(p.set_domain(dom, params, now))
    }

    /// Changes a vCPU's parameters, affinity included.
    pub fn adjust_vcpu(
        &self,
        v: VcpuId,
        params: &VcpuParams,
        now: Instant,
    ) -> Result<Kick, PoolError> {
        let (mut guard, row) = self.lock_vcpu(v).ok_or(PoolError::NoSuchVcpu)?;
        let p: &mut Pool = &mut guard;
        let now = p.tick(now);
        let dom = p.rows.at(row).dom;
        if p.doms.at(dom).moving.is_some() || p.next.is_some() {
            return Err(PoolError::InFlight);
        }
        let ent = p.rows.at(row).ent;
        let kick = p.sched().adjust_vcpu(ent, params, now)?;
        p.rows.at(row).params = *params;
        Ok(kick)
    }
}

impl Pool {
    /// vCPU `i` of a stopped domain is off.
    fn off(&mut self, dom: u16, i: usize, now: Instant) {
        let row = self.doms.at(dom).vcpus[i];
        let r = self.rows.at(row);
        r.want = Want::Down;
        r.sticky = false;
        self.book(row, now);
    }

    /// Sets a domain's parameters, which have been checked.
    pub(crate) fn set_domain(&mut self, dom: u16, params: &DomainParams, now: Instant) -> Kick {
        let row = self.doms.at(dom);
        if row.params == *params {
            return Kick::NONE;
        }
        row.budget.settle(row.params.cap, now);
        if row.params.cap == 0 {
            row.budget = Budget::new(params.cap, now);
        }
        row.budget.running = row.times.counts[0];
        row.params = *params;
        let kick = self.unpark(now).and(self.timekeeper());
        kick.and(Kick(self.holders(dom)))
    }
}

fn check_cap(params: &DomainParams, vcpus: usize) -> Result<(), PoolError> {
    if u64::from(params.cap) > 100 * vcpus as u64 {
        Err(PoolError::CapTooBig)
    } else {
        Ok(())
    }
}

/// Places for a domain in a pool.
pub(crate) struct Places {
    pub(crate) dom: u16,
    pub(crate) rows: Vec<u16>,
    pub(crate) ents: Vec<Leaf>,
}

/// Gets everything that can fail to be got; gives it all back if something fails.
pub(crate) fn reserve(
    p: &mut Pool,
    params: impl Iterator<Item = VcpuParams>,
    n: usize,
) -> Result<Places, PoolError> {
    let now = p.clock;
    let (mut rows, mut ents) = (Vec::new(), Vec::new());
    rows.try_reserve_exact(n).map_err(|_| PoolError::NoMemory)?;
    ents.try_reserve_exact(n).map_err(|_| PoolError::NoMemory)?;
    p.parked
        .try_reserve(p.rows.len() + n)
        .map_err(|_| PoolError::NoMemory)?;
    let mut places = Places {
        dom: p.doms.reserve()?,
        rows,
        ents,
    };
    for q in params {
        let row = match p.rows.reserve() {
            Ok(row) => row,
            Err(e) => {
                give_back(p, places);
                return Err(e);
            }
        };
        places.rows.push(row);
        match p.sched().alloc_vcpu(NodeId::ROOT, tag(row), &q, now) {
            Ok(ent) => places.ents.push(ent),
            Err(e) => {
                give_back(p, places);
                return Err(e.into());
            }
        }
        if let Some(next) = &mut p.next
            && let Err(e) = next.alloc(row, &q)
        {
            give_back(p, places);
            return Err(e);
        }
    }
    Ok(places)
}

/// Undoes `reserve`.
pub(crate) fn give_back(p: &mut Pool, places: Places) {
    let now = p.clock;
    for e in places.ents {
        p.sched().free_vcpu(e, now);
    }
    // The last first: who is next to ask gets the same rows in the same order.
    for r in places.rows.into_iter().rev() {
        if let Some(next) = &mut p.next {
            next.free(r);
        }
        p.rows.release(r);
    }
    p.doms.release(places.dom);
}
