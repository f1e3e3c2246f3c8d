//! Groups of a pool: compartments that share what they get among their members by a scheduler of their own (seed 002).
//!
//! Created, filled, emptied and removed while everything runs. A domain enters or leaves a group as a whole, stopped for the
//! moment it takes its CPUs to save its registers; vCPUs it brings up later run in the same group. Neighbours:
//! `sched::Tree` does the scheduling, `reconf.rs` moves domains between pools (they arrive outside any group).

use crate::change::call;
use crate::error::PoolError;
use crate::moves::Moved;
use crate::name::Name;
use crate::params::{GroupParams, Unset};
use crate::pool::{GroupRow, Move, Pool, tag};
use crate::reconf::Progress;
use crate::set::PoolSet;
use alloc::vec::Vec;
use spin::RelaxStrategy;
use tarn_abi::call::report::Adjusted;
use tarn_abi::{CpuSet, DomainId, Instant, PoolId, SchedId, Span, VcpuId};
use tarn_sched::{Kick, NodeId, SchedError, SchedParams, Stats, VcpuParams, registry};

/// A group of a pool.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GroupId {
    /// Position among the pool's groups, from 1.
    pub slot: u16,
    /// How often that position has been given out before.
    pub generation: u16,
}

/// What a new group shall be.
#[derive(Clone, Copy, Debug)]
pub struct GroupConfig<'a> {
    /// Its name, unique among the groups that are directly where it is.
    pub name: &'a str,
    /// The group it is in; `None` = directly in the pool.
    pub parent: Option<GroupId>,
    /// Its scheduler.
    pub sched: SchedId,
    /// The scheduler's parameters.
    pub params: SchedParams,
    /// Virtual processors: how many CPUs it can use at once, 1 to 64.
    pub vps: u16,
    /// What each of them is in the parent (weight, boost, rt).
    pub processor: VcpuParams,
    /// The weight is that of all of them together.
    pub split: bool,
}

impl<'a> GroupConfig<'a> {
    /// One processor of weight 256 directly in the pool, the default scheduler.
    pub const fn new(name: &'a str) -> Self {
        GroupConfig {
            name,
            parent: None,
            sched: registry::DEFAULT,
            params: SchedParams::DEFAULT,
            vps: 1,
            processor: VcpuParams::DEFAULT,
            split: false,
        }
    }
}

/// A group as a listing shows it.
#[derive(Clone, Copy, Debug)]
pub struct GroupInfo {
    /// Its id.
    pub id: GroupId,
    /// Its name.
    pub name: Name,
    /// The group it is in.
    pub parent: Option<GroupId>,
    /// Its scheduler's name.
    pub sched_name: &'static str,
    /// Its virtual processors.
    pub vps: u16,
    /// What they are in the parent, as it was set.
    pub params: GroupParams,
    /// The domain it is delegated to.
    pub owner: Option<DomainId>,
    /// Its scheduler.
    pub sched: SchedId,
    /// vCPUs and groups directly inside.
    pub members: u32,
    /// What its virtual processors have used and been given.
    pub stats: Stats,
}

impl Pool {
    /// The scheduler of a group, or the pool's own.
    pub(crate) fn node(&self, g: Option<GroupId>) -> Result<NodeId, PoolError> {
        let Some(g) = g else { return Ok(NodeId::ROOT) };
        match self.groups.get(usize::from(g.slot)) {
            Some(Some(row)) if row.generation == g.generation => Ok(NodeId(g.slot)),
            Some(_) => Err(PoolError::Stale),
            None => Err(PoolError::NoSuchGroup),
        }
    }

    /// The group of a scheduler; `None` for the pool's own.
    pub(crate) fn group_id(&self, node: NodeId) -> Option<GroupId> {
        match self.groups.get(usize::from(node.0)) {
            Some(Some(row)) => Some(GroupId {
                slot: node.0,
                generation: row.generation,
            }),
            _ => None,
        }
    }

    /// Puts a domain, or one vCPU of it, that stands still where places have been got for it.
    pub(crate) fn finish_regroup(&mut self, dom: u16, now: Instant) -> Moved {
        let p = self;
        let Some(m) = p.doms.at(dom).moving.take() else {
            return Moved::default();
        };
        let first = usize::from(m.only.unwrap_or(0));
        let mut moved = Moved {
            stood_still: m.since.map_or(Span::ZERO, |t| now.since(t)),
            ..Moved::default()
        };
        for (i, new) in m.ents.into_iter().enumerate() {
            let row = p.doms.at(dom).vcpus[first + i];
            p.keep_stats(row);
            let r = p.rows.at(row);
            let old = core::mem::replace(&mut r.ent, new);
            let pinned = r.params.affinity != CpuSet::ALL && new.node != NodeId::ROOT;
            let soft = r.params.soft != CpuSet::ALL && new.node != NodeId::ROOT;
            moved.adjusted = moved.adjusted.with_if(Adjusted::AFFINITY_GROUP, pinned);
            moved.adjusted = moved.adjusted.with_if(Adjusted::SOFT_UNUSED, soft);
            moved.kick = moved.kick.and(p.sched().remove(old, now));
            p.sched().free_vcpu(old, now);
            moved.kick = moved.kick.and(p.sched().insert(new, false, now));
        }
        for i in 0..p.doms.at(dom).vcpus.len() {
            let row = p.doms.at(dom).vcpus[i];
            let ent = p.rows.at(row).ent;
            let without = p.sched().is_stranded(ent, false);
            moved.adjusted = moved.adjusted.with_if(Adjusted::NO_CPU, without);
        }
        moved.kick = moved.kick.and(p.restate(dom, now));
        moved
    }

    /// Whether dom0, brought with `n` vCPUs to a scheduler of its pool, where it is the last comer, might be left without a
    /// CPU there or by a group around it.
    fn could_strand_dom0(&mut self, dom: u16, mut node: NodeId, n: usize) -> bool {
        let strands = |kind| registry::row(kind).is_some_and(|r| r.strands);
        while let Some(shape) = self.sched().shape(node) {
            let kind = self.groups[usize::from(node.0)].as_ref().map(|g| g.kind);
            if kind.is_some_and(strands) && shape.members as usize + n > usize::from(shape.vps) {
                return true;
            }
            node = shape.parent;
        }
        let cpus = self.future_cpus();
        let Pool { doms, rows, .. } = &*self;
        let mut own = doms.get(dom).into_iter().flat_map(|d| &d.vcpus);
        // Processors of groups may use any CPU.
        let pinned = own.any(|row| {
            let params = rows.get(*row).map(|r| r.params);
            params.is_some_and(|p| !cpus.difference(&p.affinity).is_empty())
        });
        strands(self.kind) && (pinned || self.entities() as usize > cpus.len())
    }

    /// Whether a scheduler is `outer` or inside it.
    fn is_inside(&mut self, mut node: NodeId, outer: NodeId) -> bool {
        while node != outer {
            match self.sched().shape(node) {
                Some(shape) => node = shape.parent,
                None => return false,
            }
        }
        true
    }

    /// A domain has gone: what was delegated to it is dom0's again.
    pub(crate) fn disown(&mut self, d: DomainId) {
        for g in self.groups.iter_mut().flatten() {
            if g.owner == Some(d) {
                g.owner = None;
            }
        }
    }

    /// Whether a group directly in `parent` has that name. Names elsewhere are nobody's business: who makes a group in one
    /// that was delegated to him must not learn of others by a refusal.
    fn is_name_taken(&mut self, parent: NodeId, name: &str) -> bool {
        (0..self.groups.len()).any(|at| {
            let named = matches!(&self.groups[at], Some(g) if g.name.as_str() == name);
            let shape = named.then(|| self.sched().shape(NodeId(at as u16)));
            shape.flatten().is_some_and(|s| s.parent == parent)
        })
    }
}

impl<R: RelaxStrategy> PoolSet<R> {
    /// Makes an empty group.
    pub fn create_group(
        &self,
        pool: PoolId,
        c: &GroupConfig<'_>,
        now: Instant,
    ) -> Result<GroupId, PoolError> {
        let name = Name::new(c.name)?;
        let _config = self.settled()?;
        let mut guard = self.lock_pool(pool)?;
        let p: &mut Pool = &mut guard;
        let now = p.tick(now);
        let parent = p.node(c.parent)?;
        if p.is_name_taken(parent, c.name) {
            return Err(PoolError::NameTaken);
        }
        p.groups.try_reserve(2).map_err(|_| PoolError::NoMemory)?;
        let generation = p.next_group;
        let params = GroupParams {
            processor: c.processor,
            split: c.split,
        };
        // What was said is what is checked; the parts of it are in range then.
        c.processor.check()?;
        let each = params.each(c.vps)?;
        let node = p
            .sched()
            .add_group(parent, (c.sched, &c.params), c.vps, &each, now)?;
        p.next_group = generation.wrapping_add(1);
        while p.groups.len() <= usize::from(node.0) {
            p.groups.push(None);
        }
        p.groups[usize::from(node.0)] = Some(GroupRow {
            name,
            kind: c.sched,
            generation,
            owner: None,
            params,
            past: Stats::default(),
            called: CpuSet::EMPTY,
            called_at: Instant(0),
        });
        Ok(GroupId {
            slot: node.0,
            generation,
        })
    }

    /// Removes an empty group. `Again` while a CPU has not left it.
    pub fn destroy_group(&self, pool: PoolId, g: GroupId, now: Instant) -> Progress {
        let step = || -> Result<Kick, PoolError> {
            let _config = self.settled()?;
            let mut guard = self.lock_pool(pool)?;
            let p: &mut Pool = &mut guard;
            let now = p.tick(now);
            let node = p.node(Some(g))?;
            let kick = p.sched().remove_group(node, now)?;
            p.groups[usize::from(node.0)] = None;
            Ok(kick)
        };
        match step() {
            Ok(kick) => Progress::Done(kick),
            Err(PoolError::Sched(SchedError::Conflict("the group is not empty"))) => {
                Progress::Refused(PoolError::GroupInUse)
            }
            Err(PoolError::Sched(SchedError::Conflict(why))) if why.ends_with("try again") => {
                Progress::Again(self.call_out(pool, g, now))
            }
            Err(e) => Progress::Refused(e),
        }
    }

    /// Calls the CPUs that are still in a group, each once and again only when it is believed not to have heard.
    fn call_out(&self, pool: PoolId, g: GroupId, now: Instant) -> Kick {
        let Ok(mut guard) = self.lock_pool(pool) else {
            return Kick::NONE;
        };
        let p: &mut Pool = &mut guard;
        let now = p.tick(now);
        let inside = p.sched().cpus_in(NodeId(g.slot));
        match p.groups.get_mut(usize::from(g.slot)) {
            Some(Some(row)) => call(&mut row.called, &mut row.called_at, &inside, now),
            _ => Kick::NONE,
        }
    }

    /// Changes what the group's processors are in the parent.
    pub fn adjust_group(
        &self,
        pool: PoolId,
        g: GroupId,
        params: &GroupParams,
        now: Instant,
    ) -> Result<Kick, PoolError> {
        let _config = self.settled()?;
        let mut guard = self.lock_pool(pool)?;
        let p: &mut Pool = &mut guard;
        let now = p.tick(now);
        let node = p.node(Some(g))?;
        let shape = p.sched().shape(node).ok_or(PoolError::NoSuchGroup)?;
        let each = params.each(shape.vps)?;
        let kick = p.sched().adjust_group(node, &each, now)?;
        if let Some(Some(row)) = p.groups.get_mut(usize::from(node.0)) {
            row.params = *params;
        }
        Ok(kick)
    }

    /// Brings a domain into a group of its pool, or out of all. A move begun and not finished is taken back by a move to
    /// the pool where the domain is (`move_domain`).
    pub fn move_to_group(&self, d: DomainId, g: Option<GroupId>, now: Instant) -> Progress {
        let _config = match self.settled() {
            Ok(c) => c,
            Err(e) => return e.into(),
        };
        match self.regroup(d, g, now) {
            Ok(progress) => progress,
            Err(e) => e.into(),
        }
    }

    fn regroup(
        &self,
        d: DomainId,
        g: Option<GroupId>,
        now: Instant,
    ) -> Result<Progress, PoolError> {
        if !self.begin_regroup(d, None, g, &Unset(&[]), now)? {
            return Ok(Progress::Done(Kick::NONE));
        }
        let (mut guard, dom, _) = self.lock_domain(d)?;
        let p: &mut Pool = &mut guard;
        let now = p.tick(now);
        let kick = p.restate(dom, now);
        if !p.quiet(dom) {
            let held = p.holders(dom);
            return Ok(Progress::Again(kick.and(Kick(held))));
        }
        Ok(Progress::Done(kick.and(p.finish_regroup(dom, now).kick)))
    }

    /// Gets places in the group for a domain, or for `only` one of its vCPUs, and marks the domain as moving; false if it
    /// is there already. `planned`: what a plan sets and has not yet. Under the config lock.
    pub(crate) fn begin_regroup(
        &self,
        d: DomainId,
        only: Option<u16>,
        g: Option<GroupId>,
        planned: &Unset<'_>,
        now: Instant,
    ) -> Result<bool, PoolError> {
        let (mut guard, dom, slot) = self.lock_domain(d)?;
        let p: &mut Pool = &mut guard;
        let now = p.tick(now);
        let node = p.node(g)?;
        if let Some(m) = &p.doms.at(dom).moving {
            return if m.to == slot && m.node == node && m.only == only {
                Ok(true)
            } else {
                Err(PoolError::InFlight)
            };
        }
        let rows = p.doms.at(dom).vcpus.len();
        let which = match only {
            Some(i) if usize::from(i) >= rows => return Err(PoolError::NoSuchVcpu),
            Some(i) => usize::from(i)..usize::from(i) + 1,
            None => 0..rows,
        };
        let there = which.clone().all(|i| {
            let row = p.doms.at(dom).vcpus[i];
            p.rows.at(row).ent.node == node
        });
        if there {
            return Ok(false);
        }
        if d == DomainId::DOM0 && p.could_strand_dom0(dom, node, which.len()) {
            return Err(PoolError::Dom0Waits);
        }
        let mut ents = Vec::new();
        ents.try_reserve_exact(which.len())
            .map_err(|_| PoolError::NoMemory)?;
        for i in which {
            let row = p.doms.at(dom).vcpus[i];
            let params = planned.with(d, &p.rows.at(row).params);
            let place = match params {
                Ok(params) => p.sched().alloc_vcpu(node, tag(row), &params, now),
                Err(_) => Err(SchedError::Conflict("its parameters do not fit together")),
            };
            match place {
                Ok(leaf) => ents.push(leaf),
                Err(e) => {
                    ents.into_iter().for_each(|l| p.sched().free_vcpu(l, now));
                    return Err(e.into());
                }
            }
        }
        p.doms.at(dom).moving = Some(Move {
            to: slot,
            dom,
            rows: Vec::new(),
            ents,
            node,
            only,
            since: None,
        });
        Ok(true)
    }

    /// The `n`th group of a pool.
    pub fn group_at(&self, pool: PoolId, n: usize) -> Option<GroupId> {
        let p = self.lock_pool(pool).ok()?;
        let node = p.sched.groups().nth(n)?;
        p.group_id(node)
    }

    /// What a group is.
    pub fn group_info(&self, pool: PoolId, g: GroupId) -> Result<GroupInfo, PoolError> {
        let mut guard = self.lock_pool(pool)?;
        let p: &mut Pool = &mut guard;
        let node = p.node(Some(g))?;
        let shape = p.sched().shape(node).ok_or(PoolError::NoSuchGroup)?;
        let (name, kind, owner, params, mut stats) = match &p.groups[usize::from(node.0)] {
            Some(row) => (row.name, row.kind, row.owner, row.params, row.past),
            None => return Err(PoolError::NoSuchGroup),
        };
        stats.add(&shape.stats);
        Ok(GroupInfo {
            id: g,
            name,
            parent: p.group_id(shape.parent),
            sched_name: registry::row(kind).map_or("?", |r| r.name),
            vps: shape.vps,
            params,
            owner,
            sched: kind,
            members: shape.members,
            stats,
        })
    }

    /// Gives a group to a domain of the same pool, or (`None`) takes it back.
    pub fn delegate(
        &self,
        pool: PoolId,
        g: GroupId,
        to: Option<DomainId>,
    ) -> Result<(), PoolError> {
        let _config = self.settled()?;
        if let Some(d) = to {
            let (guard, _, slot) = self.lock_domain(d)?;
            drop(guard);
            if u16::from(slot) != pool.slot {
                return Err(PoolError::NotHere);
            }
        }
        let mut guard = self.lock_pool(pool)?;
        let p: &mut Pool = &mut guard;
        let node = p.node(Some(g))?;
        if to.is_some() {
            for other in 1..p.groups.len() as u16 {
                let owned = matches!(&p.groups[usize::from(other)], Some(r) if r.owner.is_some());
                let (this, other) = (node, NodeId(other));
                if owned && (p.is_inside(other, this) || p.is_inside(this, other)) {
                    return Err(PoolError::Delegated);
                }
            }
        }
        if let Some(Some(row)) = p.groups.get_mut(usize::from(node.0)) {
            row.owner = to;
        }
        Ok(())
    }

    /// Whether `g` is `outer` or inside it; `outer` `None` is the pool, in which all are.
    pub fn group_is_inside(
        &self,
        pool: PoolId,
        g: GroupId,
        outer: Option<GroupId>,
    ) -> Result<bool, PoolError> {
        let mut p = self.lock_pool(pool)?;
        let (g, outer) = (p.node(Some(g))?, p.node(outer)?);
        Ok(p.is_inside(g, outer))
    }

    /// The group delegated to `d` that `g` is or is inside of.
    pub fn delegated_around(&self, pool: PoolId, g: GroupId, d: DomainId) -> Option<GroupId> {
        let mut p = self.lock_pool(pool).ok()?;
        let mut node = p.node(Some(g)).ok()?;
        while node != NodeId::ROOT {
            let row = p.groups.get(usize::from(node.0)).and_then(Option::as_ref)?;
            if row.owner == Some(d) {
                return p.group_id(node);
            }
            node = p.sched().shape(node)?.parent;
        }
        None
    }

    /// The vCPU directly in a group (`None`: directly in the pool) with the lowest slot at or behind `from`.
    pub fn group_member(
        &self,
        pool: PoolId,
        g: Option<GroupId>,
        from: u16,
    ) -> Result<Option<VcpuId>, PoolError> {
        let p = self.lock_pool(pool)?;
        let node = p.node(g)?;
        Ok(p.rows
            .iter()
            .filter(|r| r.ent.node == node && r.id.slot >= from)
            .map(|r| r.id)
            .min())
    }

    /// CPU time of a group, and of all that compete with it in its parent, itself included.
    pub fn group_times(
        &self,
        pool: PoolId,
        g: GroupId,
        now: Instant,
    ) -> Result<(Span, Span), PoolError> {
        let mut guard = self.lock_pool(pool)?;
        let p: &mut Pool = &mut guard;
        p.tick(now);
        let node = p.node(Some(g))?;
        // Under the scheduler there is now and all before.
        let ran = |p: &mut Pool, node: NodeId| {
            let shape = p.sched().shape(node)?;
            let row = p.groups.get(usize::from(node.0))?.as_ref()?;
            Some((shape.parent, row.past.runtime + shape.stats.runtime))
        };
        let (parent, own) = ran(p, node).ok_or(PoolError::NoSuchGroup)?;
        let mut all = Span::ZERO;
        for other in 1..p.groups.len() as u16 {
            if let Some((beside, time)) = ran(p, NodeId(other))
                && beside == parent
            {
                all += time;
            }
        }
        for row in 0..p.rows.len() as u16 {
            let Some(r) = p.rows.get(row) else { continue };
            if r.ent.node == parent {
                all += p.stats(row).runtime;
            }
        }
        Ok((own, all))
    }
}
