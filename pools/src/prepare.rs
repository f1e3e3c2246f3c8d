//! The first phase of a change: everything that can be refused, got or given back as a whole.
//!
//! Order: pools, CPUs' places, parameters, new schedulers, domains' places. Each thing got is noted in the `Change` before
//! the next is tried, so `release` knows what to give back. Until `depart` nobody but the caller can tell that anything
//! was prepared, and the config lock keeps others from changing what was looked at. Neighbours: `model.rs` says what is
//! wanted, `change.rs` goes on.

use crate::change::{Change, Preview, PreviewMove, PreviewPool, Undo};
use crate::error::PoolError;
use crate::exchange::Exchange;
use crate::model::{Model, ModelPool};
use crate::moves::Arrival;
use crate::params::{Settings, Unset, split, vcpu_with};
use crate::plan::Refusal;
use crate::pool::{Dom, Next, Pool, PoolConfig, Wfi};
use crate::set::{FREE, PoolSet};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use spin::RelaxStrategy;
use tarn_abi::call::report::Adjusted;
use tarn_abi::{DomainId, Instant, MAX_POOLS, PoolId};
use tarn_sched::{Kick, Leaf, NodeId, VcpuParams, registry};

fn room<T>(list: &mut Vec<T>, n: usize) -> Result<(), PoolError> {
    list.try_reserve_exact(n).map_err(|_| PoolError::NoMemory)
}

impl<R: RelaxStrategy> PoolSet<R> {
    /// Gets everything `model` needs into `c`. `real`: parameters are set, too. Under the config lock.
    pub(crate) fn prepare(
        &self,
        model: &Model,
        c: &mut Change,
        real: bool,
        now: Instant,
    ) -> Result<(), Refusal> {
        let at = |step: u32| move |error: PoolError| Refusal { step, error };
        let all = model.pools.len();
        let reserved = room(&mut c.cpus, model.cpus.len())
            .and_then(|()| room(&mut c.moves, model.moves.len() + model.groups.len()))
            .and_then(|()| room(&mut c.exchanges, all))
            .and_then(|()| room(&mut c.created, all))
            .and_then(|()| room(&mut c.doomed, all))
            .and_then(|()| room(&mut c.renames, all))
            .and_then(|()| room(&mut c.pool_undo, all))
            .and_then(|()| room(&mut c.domain_undo, model.settings.len()));
        reserved.map_err(at(0))?;
        let mut slots: Vec<Option<u8>> = Vec::new();
        room(&mut slots, all).map_err(at(0))?;
        for p in &model.pools {
            let slot = match p.slot {
                Some(slot) => {
                    self.mark(p, slot, c);
                    Some(slot)
                }
                None if p.gone => None,
                None => {
                    let slot = self.found(p, now).map_err(at(p.made_by))?;
                    c.created.push(slot);
                    Some(slot)
                }
            };
            slots.push(slot);
        }
        for (cpu, to, step) in &model.cpus {
            let x = &self.cpus[cpu.index()];
            let (member, want) = (
                x.member.load(Ordering::Acquire),
                x.want.load(Ordering::Acquire),
            );
            if member != want && x.online.load(Ordering::Acquire) {
                return Err(at(*step)(PoolError::InFlight));
            }
            let slot = to.and_then(|t| slots.get(t).copied().flatten());
            let word = slot.map_or(FREE, |s| u16::from(s) + 1);
            if let Some(mut p) = slot.and_then(|s| self.lock_slot(usize::from(s))) {
                let now = p.tick(now);
                p.sched()
                    .alloc_pcpu(*cpu, now)
                    .map_err(|e| at(*step)(e.into()))?;
            }
            c.cpus.push((*cpu, want, word));
        }
        if real {
            for (p, slot) in model.pools.iter().zip(&slots) {
                if let (true, false, Some(slot)) = (p.adjusted, p.gone || p.exchange, slot)
                    && let Some(mut g) = self.lock_slot(usize::from(*slot))
                {
                    let old = g.all_params();
                    self.set_params(&mut g, usize::from(*slot), &p.params, now)
                        .map_err(at(p.set_by))?;
                    c.pool_undo.push((*slot, old));
                }
            }
        }
        for (n, (d, settings, step)) in model.settings.iter().enumerate() {
            // What a preview has promised so far is not in force.
            let promised = model.settings.get(..n).filter(|_| !real);
            let so_far = Unset(promised.unwrap_or_default());
            self.set_domain(*d, settings, &so_far, real, c, now)
                .map_err(at(*step))?;
        }
        let unset = Unset(if real { &[] } else { &model.settings });
        for (p, slot) in model.pools.iter().zip(&slots) {
            if let (true, false, Some(slot)) = (p.exchange, p.gone, slot) {
                self.prepare_exchange(p, *slot, &unset)
                    .map_err(at(p.set_by))?;
                c.exchanges.push(Exchange::new(*slot, p.params.sched));
            }
        }
        for x in &model.moves {
            let target = slots.get(x.to).copied().flatten();
            let slot = target.ok_or(at(x.step)(PoolError::NoSuchPool))?;
            let (guard, dom, from) = self.lock_domain(x.domain).map_err(at(x.step))?;
            if guard.doms.get(dom).is_some_and(|d| d.moving.is_some()) {
                return Err(at(x.step)(PoolError::InFlight));
            }
            self.begin_move(
                guard,
                dom,
                from,
                self.id_of(usize::from(slot)),
                Some(&unset),
                now,
            )
            .map_err(at(x.step))?;
            c.moves.push(x.domain);
        }
        for (d, only, g, step) in &model.groups {
            if self
                .begin_regroup(*d, *only, *g, &unset, now)
                .map_err(at(*step))?
            {
                c.moves.push(*d);
            }
        }
        for (at, (p, slot)) in model.pools.iter().zip(&slots).enumerate() {
            let changed = p.exchange || p.cpus != p.had || model.moves.iter().any(|x| x.to == at);
            if let (true, Some(slot)) = (changed && !p.gone, slot) {
                c.watched |= 1 << slot;
            }
        }
        self.spare(model).map_err(|(s, e)| at(s)(e))
    }

    /// Notes what happens to a pool that exists.
    fn mark(&self, p: &ModelPool, slot: u8, c: &mut Change) {
        if p.gone {
            if let Some(mut g) = self.lock_slot(usize::from(slot)) {
                g.closing = true;
            }
            c.doomed.push(slot);
        } else if p.renamed {
            c.renames.push((slot, p.name));
        }
    }

    /// Makes a pool.
    fn found(&self, p: &ModelPool, now: Instant) -> Result<u8, PoolError> {
        let sched = registry::build(p.kind, &p.params.sched)?;
        room_for_box::<Pool>()?;
        let name = p.name;
        let config = PoolConfig {
            sched: p.kind,
            ..PoolConfig::new("").with(&p.params)
        };
        let mut pool = Some(Box::new(Pool::new(&config, name, sched, None, now)));
        for slot in 0..MAX_POOLS {
            let mut place = self.pools[slot].lock();
            if place.is_none() {
                *place = pool.take();
                let native = u8::from(p.params.wfi == Wfi::Native);
                self.wfi[slot].store(native, Ordering::Relaxed);
                return Ok(slot as u8);
            }
        }
        Err(PoolError::TooManyPools)
    }

    /// Whether pools that lose CPUs can keep their promises to those who are there and those who come, parameters that
    /// change included.
    fn spare(&self, model: &Model) -> Result<(), (u32, PoolError)> {
        for p in model.pools.iter().filter(|p| !p.gone && !p.exchange) {
            let gone = p.had.difference(&p.cpus);
            let (Some(slot), false) = (p.slot, gone.is_empty()) else {
                continue;
            };
            let step = model
                .cpus
                .iter()
                .rev()
                .find(|c| gone.contains(c.0))
                .map_or(0, |c| c.2);
            if let Some(g) = self.lock_present(usize::from(slot)) {
                g.sched
                    .can_lose(&gone)
                    .map_err(|e| (step, PoolError::from(e)))?;
            }
        }
        Ok(())
    }

    /// A new scheduler beside the old one, with places for all who are directly in the pool.
    fn prepare_exchange(&self, m: &ModelPool, slot: u8, unset: &Unset) -> Result<(), PoolError> {
        let sched = registry::build(m.kind, &m.params.sched)?;
        let mut guard = self
            .lock_present(usize::from(slot))
            .ok_or(PoolError::NoSuchPool)?;
        let p: &mut Pool = &mut guard;
        // Places in the old scheduler are kept for who is on its way there.
        let within = |d: &Dom| d.moving.as_ref().is_some_and(|m| m.to == slot);
        if usize::from(p.domains) != p.doms.iter().count() || p.doms.iter().any(within) {
            return Err(PoolError::InFlight);
        }
        let mut next = Next {
            root: p.sched.prepare_root(sched, m.cpus.iter())?,
            kind: m.kind,
            ents: Vec::new(),
        };
        for row in 0..p.rows.len() as u16 {
            if let Some(r) = p.rows.get(row)
                && r.ent.node == NodeId::ROOT
            {
                let d = p.doms.at(r.dom).id;
                next.alloc(row, &unset.with(d, &r.params)?)?;
            }
        }
        p.next = Some(next);
        Ok(())
    }

    /// Sets a domain's parameters, or (not `real`) only has them promised, and notes what they were. All of its vCPUs are
    /// judged together, before anything is set. `so_far`: what has only been promised before.
    fn set_domain(
        &self,
        d: DomainId,
        settings: &Settings,
        so_far: &Unset,
        real: bool,
        c: &mut Change,
        now: Instant,
    ) -> Result<(), PoolError> {
        let (mut guard, dom, _) = self.lock_domain(d)?;
        let p: &mut Pool = &mut guard;
        let now = p.tick(now);
        let n = p.doms.at(dom).vcpus.len();
        let old = p.doms.at(dom).params;
        let (params, rest) = split(&old, n, settings)?;
        let mut undo = Undo {
            domain: d,
            params: old,
            vcpus: Vec::new(),
            real,
        };
        room(&mut undo.vcpus, n)?;
        let mut wanted = Vec::new();
        room(&mut wanted, n)?;
        for i in 0..n {
            let row = p.doms.at(dom).vcpus[i];
            let r = p.rows.at(row);
            let was = so_far.with(d, &r.params)?;
            undo.vcpus.push((row, was));
            wanted.push((r.ent, vcpu_with(&was, &rest)?));
        }
        p.judge(&wanted)?;
        for (ent, new) in &wanted {
            p.sched().promise(*ent, new, now);
        }
        if real {
            for ((ent, new), (row, _)) in wanted.iter().zip(&undo.vcpus) {
                match p.sched().adjust_vcpu(*ent, new, now) {
                    Ok(k) => c.kick = c.kick.and(k),
                    Err(e) => {
                        c.kick = c.kick.and(p.restore(dom, &undo, now));
                        return Err(e.into());
                    }
                }
                p.rows.at(*row).params = *new;
            }
            c.kick = c.kick.and(p.set_domain(dom, &params, now));
        }
        c.domain_undo.push(undo);
        Ok(())
    }

    /// Gives back what was prepared, the last first. Who had other parameters for a moment should look again.
    pub(crate) fn release(&self, mut c: Change, now: Instant) -> Kick {
        // Parameters before CPUs: who gets back what he had may need them on the way.
        let kick = self.give_back_moves(&mut c, now);
        let kick = kick.and(self.undo(&mut c, now));
        for (cpu, from, to) in &c.cpus {
            if to != from
                && let Some(mut p) = self.lock_slot(usize::from(*to).wrapping_sub(1))
                && !p.cpus.contains(*cpu)
            {
                p.sched().forget_pcpu(*cpu);
            }
        }
        for slot in core::mem::take(&mut c.created) {
            self.vacate(slot);
        }
        kick
    }

    /// Schedulers in preparation and parameters.
    pub(crate) fn undo(&self, c: &mut Change, now: Instant) -> Kick {
        let mut kick = c.kick;
        for x in core::mem::take(&mut c.exchanges) {
            if let Some(mut p) = self.lock_slot(usize::from(x.slot())) {
                p.next = None;
            }
        }
        for u in core::mem::take(&mut c.domain_undo).into_iter().rev() {
            if let Ok((mut guard, dom, _)) = self.lock_domain(u.domain) {
                let p: &mut Pool = &mut guard;
                let now = p.tick(now);
                kick = kick.and(p.restore(dom, &u, now));
                if u.real {
                    kick = kick.and(p.set_domain(dom, &u.params, now));
                }
            }
        }
        for (slot, old) in core::mem::take(&mut c.pool_undo) {
            if let Some(mut p) = self.lock_slot(usize::from(slot)) {
                // Valid before, valid now.
                let _ = self.set_params(&mut p, usize::from(slot), &old, now);
            }
        }
        for slot in core::mem::take(&mut c.doomed) {
            if let Some(mut p) = self.lock_slot(usize::from(slot)) {
                p.closing = false;
            }
        }
        kick
    }

    /// What a prepared model looks like. Under the config lock.
    pub(crate) fn look(&self, model: &Model) -> Result<Preview, PoolError> {
        let mut seen = Preview::default();
        room(&mut seen.pools, model.pools.len())?;
        room(&mut seen.moves, model.moves.len())?;
        for (at, p) in model.pools.iter().enumerate().filter(|p| !p.1.gone) {
            let id: Option<PoolId> = p.slot.map(|s| self.id_of(usize::from(s)));
            seen.pools.push(PreviewPool {
                id,
                step: p.made_by,
                cpus: p.cpus,
                domains: p.domains,
                sched: p.kind,
                stranded: self.foresee_stranded(model, at)?,
            });
        }
        for x in &model.moves {
            let target = &model.pools[x.to];
            let to = model.pools[..x.to].iter().filter(|p| !p.gone).count();
            let arrival = Arrival {
                cpus: target.cpus,
                kind: target.kind,
                boost: target.params.sched.boost,
            };
            let (mut guard, dom, _) = self.lock_domain(x.domain)?;
            let mut adjusted = Adjusted::NONE;
            for i in 0..guard.doms.at(dom).vcpus.len() {
                let row = guard.doms.at(dom).vcpus[i];
                let r = guard.rows.at(row);
                let grouped = r.ent.node != NodeId::ROOT;
                let params = Unset(&model.settings).with(x.domain, &r.params)?;
                adjusted = adjusted
                    .with(arrival.adjusts(&params))
                    .with_if(Adjusted::LEFT_GROUP, grouped);
            }
            seen.moves.push(PreviewMove {
                domain: x.domain,
                to,
                adjusted,
            });
        }
        Ok(seen)
    }
}

/// Whether there is memory for a box, which is made next.
pub(crate) fn room_for_box<T>() -> Result<(), PoolError> {
    let mut place: Vec<T> = Vec::new();
    room(&mut place, 1)
}

impl Pool {
    /// Whether each scheduler that has some of these vCPUs can give them these parameters, all together.
    fn judge(&mut self, wanted: &[(Leaf, VcpuParams)]) -> Result<(), PoolError> {
        let mut own = Vec::new();
        room(&mut own, wanted.len())?;
        for (i, (ent, _)) in wanted.iter().enumerate() {
            if wanted[..i].iter().any(|w| w.0.node == ent.node) {
                continue;
            }
            own.clear();
            let here = wanted.iter().filter(|w| w.0.node == ent.node);
            own.extend(here.map(|w| (w.0.ent, w.1)));
            self.sched().admits(ent.node, &own)?;
        }
        Ok(())
    }

    /// Gives vCPUs the parameters back that they had: promised before, and therefore taken. Under rtds, who had less for a
    /// moment has at most that much left of the current period.
    fn restore(&mut self, dom: u16, undo: &Undo, now: Instant) -> Kick {
        let mut kick = Kick::NONE;
        for (row, old) in undo.vcpus.iter().rev() {
            // It may have ended meanwhile, and be taken apart piece by piece.
            if !self.doms.at(dom).vcpus.contains(row) {
                continue;
            }
            let ent = self.rows.at(*row).ent;
            self.sched().promise(ent, old, now);
            if undo.real {
                let back = self.sched().adjust_vcpu(ent, old, now);
                debug_assert!(back.is_ok(), "promised, and so taken");
                kick = kick.and(back.unwrap_or(Kick::NONE));
                self.rows.at(*row).params = *old;
            }
        }
        kick
    }
}
