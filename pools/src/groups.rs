//! Groups of a pool: compartments that share what they get among their members by a scheduler of their own (seed 002).
//!
//! Created, filled, emptied and removed while everything runs. A domain enters or leaves a group as a whole, stopped for the
//! moment it takes its CPUs to save its registers; vCPUs it brings up later run in the same group. Neighbours:
//! `sched::Tree` does the scheduling, `reconf.rs` moves domains between pools (they arrive outside any group).

use crate::error::PoolError;
use crate::name::Name;
use crate::pool::{GroupRow, Move, Pool, tag};
use crate::reconf::Progress;
use crate::set::PoolSet;
use alloc::vec::Vec;
use spin::RelaxStrategy;
use tarn_abi::{DomainId, Instant, PoolId, SchedId};
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
    /// Its name, unique in its pool.
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
    /// What each of them is in the parent.
    pub processor: VcpuParams,
    /// vCPUs and groups directly inside.
    pub members: u32,
    /// What its virtual processors have used and been given.
    pub stats: Stats,
}

impl Pool {
    /// The scheduler of a group, or the pool's own.
    fn node(&self, g: Option<GroupId>) -> Result<NodeId, PoolError> {
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

    fn group_named(&self, name: &str) -> Option<GroupId> {
        let at = self
            .groups
            .iter()
            .position(|g| g.as_ref().is_some_and(|g| g.name.as_str() == name))?;
        self.group_id(NodeId(at as u16))
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
        let mut guard = self.lock_pool(pool)?;
        let p: &mut Pool = &mut guard;
        let now = p.tick(now);
        let parent = p.node(c.parent)?;
        if p.group_named(c.name).is_some() {
            return Err(PoolError::NameTaken);
        }
        p.groups.try_reserve(2).map_err(|_| PoolError::NoMemory)?;
        let generation = p.next_group;
        let node = p
            .sched()
            .add_group(parent, (c.sched, &c.params), c.vps, &c.processor, now)?;
        p.next_group = generation.wrapping_add(1);
        while p.groups.len() <= usize::from(node.0) {
            p.groups.push(None);
        }
        p.groups[usize::from(node.0)] = Some(GroupRow {
            name,
            kind: c.sched,
            generation,
        });
        Ok(GroupId {
            slot: node.0,
            generation,
        })
    }

    /// Removes an empty group. `Again` while a CPU has not left it.
    pub fn destroy_group(&self, pool: PoolId, g: GroupId, now: Instant) -> Progress {
        let step = || -> Result<Kick, PoolError> {
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
            Err(PoolError::Sched(SchedError::Conflict(why))) if why.ends_with("try again") => {
                Progress::Again(Kick(
                    self.lock_pool(pool)
                        .map_or(tarn_abi::CpuSet::EMPTY, |p| p.cpus),
                ))
            }
            Err(e) => Progress::Refused(e),
        }
    }

    /// Changes what each of the group's processors is in the parent.
    pub fn adjust_group(
        &self,
        pool: PoolId,
        g: GroupId,
        processor: &VcpuParams,
        now: Instant,
    ) -> Result<Kick, PoolError> {
        let mut guard = self.lock_pool(pool)?;
        let p: &mut Pool = &mut guard;
        let now = p.tick(now);
        let node = p.node(Some(g))?;
        Ok(p.sched().adjust_group(node, processor, now)?)
    }

    /// Brings a domain into a group of its pool, or out of all. A move begun and not finished is taken back by a move to
    /// the pool where the domain is (`move_domain`).
    pub fn move_to_group(&self, d: DomainId, g: Option<GroupId>, now: Instant) -> Progress {
        let _config = self.config.lock();
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
        let (mut guard, dom, slot) = self.lock_domain(d)?;
        let p: &mut Pool = &mut guard;
        let now = p.tick(now);
        let node = p.node(g)?;
        let rows = p.doms.at(dom).vcpus.len();
        match &p.doms.at(dom).moving {
            Some(m) if m.to == slot && m.node == node => {}
            Some(_) => return Err(PoolError::InFlight),
            None => {
                let there = (0..rows).all(|i| {
                    let row = p.doms.at(dom).vcpus[i];
                    p.rows.at(row).ent.node == node
                });
                if there {
                    return Ok(Progress::Done(Kick::NONE));
                }
                let mut ents = Vec::new();
                ents.try_reserve_exact(rows)
                    .map_err(|_| PoolError::NoMemory)?;
                for i in 0..rows {
                    let row = p.doms.at(dom).vcpus[i];
                    let params = p.rows.at(row).params;
                    match p.sched().alloc_vcpu(node, tag(row), &params, now) {
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
                });
            }
        }
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
        let Some(m) = p.doms.at(dom).moving.take() else {
            return Ok(Progress::Done(kick));
        };
        let mut kick = kick;
        for (i, new) in m.ents.into_iter().enumerate() {
            let row = p.doms.at(dom).vcpus[i];
            let old = core::mem::replace(&mut p.rows.at(row).ent, new);
            kick = kick.and(p.sched().remove(old, now));
            p.sched().free_vcpu(old, now);
            kick = kick.and(p.sched().insert(new, false, now));
        }
        Ok(Progress::Done(kick.and(p.restate(dom, now))))
    }

    /// The group of that name.
    pub fn find_group(&self, pool: PoolId, name: &str) -> Option<GroupId> {
        self.lock_pool(pool).ok()?.group_named(name)
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
        let (name, kind) = match &p.groups[usize::from(node.0)] {
            Some(row) => (row.name, row.kind),
            None => return Err(PoolError::NoSuchGroup),
        };
        Ok(GroupInfo {
            id: g,
            name,
            parent: p.group_id(shape.parent),
            sched_name: registry::row(kind).map_or("?", |r| r.name),
            vps: shape.vps,
            processor: shape.params,
            members: shape.members,
            stats: shape.stats,
        })
    }
}
