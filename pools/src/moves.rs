//! Domains from one pool to another: places reserved there, all registers in memory, rows carried over.
//!
//! A domain on its way is stopped and belongs to its old pool until, in one step under both pools' locks, it belongs to the
//! new one: at no moment to none or to two. Neighbours: `reconf.rs` and `change.rs` hold the config lock around these.

use crate::domains::{Places, give_back, reserve};
use crate::error::PoolError;
use crate::params::Unset;
use crate::pool::{Move, Pool};
use crate::reconf::Progress;
use crate::set::{Guard, Home, PoolSet};
use core::sync::atomic::Ordering;
use spin::RelaxStrategy;
use tarn_abi::call::report::Adjusted;
use tarn_abi::{CpuSet, DomainId, Instant, PoolId, SchedId, Span};
use tarn_sched::{Kick, NodeId, VcpuParams, registry};

/// What a move has done.
#[derive(Default)]
pub(crate) struct Moved {
    /// Who must come by.
    pub(crate) kick: Kick,
    /// What could not stay.
    pub(crate) adjusted: Adjusted,
    /// For how long a vCPU that wanted to run was kept from it.
    pub(crate) stood_still: Span,
}

/// A pool as one finds it who arrives.
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    /// Its CPUs.
    pub(crate) cpus: CpuSet,
    /// Its scheduler.
    pub(crate) kind: SchedId,
    /// Whether boosts are on.
    pub(crate) boost: bool,
}

impl Arrival {
    pub(crate) fn of(p: &Pool) -> Arrival {
        Arrival {
            cpus: p.future_cpus(),
            kind: p.next.as_ref().map_or(p.kind, |n| n.kind),
            boost: p.params.boost,
        }
    }

    /// What of a vCPU's parameters has no effect there.
    pub(crate) fn adjusts(&self, v: &VcpuParams) -> Adjusted {
        let uses = |name: &str| registry::row(self.kind).is_some_and(|r| r.uses.contains(&name));
        let default = VcpuParams::DEFAULT;
        let boosts = uses("boost") && self.boost;
        affinity(v, &self.cpus)
            .with_if(
                Adjusted::SOFT_UNUSED,
                prefers_in_vain(v, &self.cpus, self.kind),
            )
            .with_if(
                Adjusted::WEIGHT_UNUSED,
                v.weight != default.weight && !uses("weight"),
            )
            .with_if(
                Adjusted::BOOST_UNUSED,
                v.boost != default.boost && v.boost.ratio != 0 && !boosts,
            )
            .with_if(
                Adjusted::RT_UNUSED,
                v.rt != default.rt && !uses("rt-period"),
            )
    }
}

/// What of an affinity has no effect on these CPUs.
pub(crate) fn affinity(v: &VcpuParams, cpus: &CpuSet) -> Adjusted {
    if v.affinity == CpuSet::ALL {
        return Adjusted::NONE;
    }
    let left = v.affinity.intersection(cpus);
    if left.is_empty() {
        Adjusted::AFFINITY_VOID
    } else if left != v.affinity {
        Adjusted::AFFINITY_CUT
    } else {
        Adjusted::NONE
    }
}

/// Whether a vCPU directly in a pool with these CPUs and this scheduler has a soft affinity that means nothing there.
pub fn prefers_in_vain(v: &VcpuParams, cpus: &CpuSet, kind: SchedId) -> bool {
    let own = v.affinity.intersection(cpus);
    let allowed = if own.is_empty() { *cpus } else { own };
    let used = registry::row(kind).is_some_and(|r| r.uses.contains(&"soft"));
    v.soft != CpuSet::ALL && (!used || allowed.intersection(&v.soft).is_empty())
}

impl<R: RelaxStrategy> PoolSet<R> {
    /// Moves a domain with all its vCPUs, weights, boost parameters, affinity and run states to another pool. A move
    /// begun and not finished is taken back by a move to where the domain is.
    pub fn move_domain(&self, d: DomainId, to: PoolId, now: Instant) -> Progress {
        let _config = match self.settled() {
            Ok(c) => c,
            Err(e) => return e.into(),
        };
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
            self.begin_move(guard, dom, from, to, None, now)?;
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
        Ok(Progress::Done(self.finish_move(d, dom, from, now).kick))
    }

    /// Reserves places in the target and marks the domain as moving. The guard of the source is given up meanwhile; the
    /// config lock keeps both pools and the domain where they are. `planned`: for a plan that sets these parameters and
    /// has not yet.
    pub(crate) fn begin_move(
        &self,
        mut source: Guard<'_, R>,
        dom: u16,
        from: u8,
        to: PoolId,
        planned: Option<&Unset>,
        now: Instant,
    ) -> Result<(), PoolError> {
        let n = source.doms.at(dom).vcpus.len();
        let d = source.doms.at(dom).id;
        let mut params = alloc::vec::Vec::new();
        params
            .try_reserve_exact(n)
            .map_err(|_| PoolError::NoMemory)?;
        for i in 0..n {
            let row = source.doms.at(dom).vcpus[i];
            let row = source.rows.at(row);
            let ahead = |u: &Unset| u.with(d, &row.params);
            params.push(planned.map_or(Ok(row.params), ahead)?);
        }
        drop(source);
        let mut target = self.lock_pool(to)?;
        if u16::from(from) == to.slot {
            return Ok(());
        }
        if target.closing {
            return Err(PoolError::Closing);
        }
        // A plan has seen to it that there will be CPUs.
        if planned.is_none() && target.future_cpus().is_empty() {
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
            only: None,
            since: None,
        });
        Ok(())
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
        // One that is dead is stopped by who kills it, vCPU by vCPU.
        let kick = if source.doms.at(dom).dead {
            Kick::NONE
        } else {
            source.restate(dom, now)
        };
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
    pub(crate) fn finish_move(&self, d: DomainId, dom: u16, from: u8, now: Instant) -> Moved {
        let to = match self.lock_slot(usize::from(from)) {
            Some(mut p) => match &p.doms.at(dom).moving {
                Some(m) if m.to != from => m.to,
                _ => return Moved::default(),
            },
            None => return Moved::default(),
        };
        let (low, high) = (from.min(to), from.max(to));
        let Some(mut a) = self.lock_slot(usize::from(low)) else {
            return Moved::default();
        };
        let mut b = Guard::of(self.pools[usize::from(high)].lock());
        let (source, target): (&mut Pool, &mut Pool) = if from == low {
            (&mut a, &mut b)
        } else {
            (&mut b, &mut a)
        };
        let now = source.tick(now);
        let now = target.tick(now);
        let now = source.tick(now);
        source.disown(d);
        let Some(mut row) = source.doms.release(dom) else {
            return Moved::default();
        };
        source.domains -= 1;
        let Some(m) = row.moving.take() else {
            return Moved::default();
        };
        let Move {
            dom: there,
            rows,
            ents,
            since,
            ..
        } = m;
        let mut kick = Kick::NONE;
        let mut adjusted = Adjusted::NONE;
        let arrival = Arrival::of(target);
        let old = core::mem::replace(&mut row.vcpus, rows);
        target.doms.fill(there, row);
        for (i, old_row) in old.into_iter().enumerate() {
            source.parked.retain(|r| *r != old_row);
            if source.rows.get(old_row).is_some() {
                source.keep_stats(old_row);
            }
            let Some(mut r) = source.rows.release(old_row) else {
                continue;
            };
            adjusted = adjusted
                .with(arrival.adjusts(&r.params))
                .with_if(Adjusted::LEFT_GROUP, r.ent.node != NodeId::ROOT);
            kick = kick.and(source.sched().remove(r.ent, now));
            source.sched().free_vcpu(r.ent, now);
            if let Some(next) = &mut source.next {
                next.free(old_row);
            }
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
        kick = kick.and(source.arms(now)).and(target.restate(there, now));
        // Whoever watched timers for the domain in its old pool has to give them away.
        self.moved.fetch_add(1, Ordering::Release);
        kick = kick.and(Kick(source.cpus));
        Moved {
            kick,
            adjusted,
            stood_still: since.map_or(Span::ZERO, |t| now.since(t)),
        }
    }
}
