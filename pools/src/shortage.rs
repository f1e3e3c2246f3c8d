//! Who has no CPU: under `null`, which gives each vCPU a CPU of its own, those for whom none is left wait until somebody
//! leaves. Nothing is refused for that (but dom0 must not be among them, see `model.rs`); it is said: after a change, before
//! one that is only tried, and in listings.
//!
//! Must never decide who gets a CPU: the scheduler does, also in what is foreseen. Neighbours: `sched::null`, `change.rs`
//! (what a change answers), `prepare.rs` (what a dry run answers).

use crate::error::PoolError;
use crate::model::Model;
use crate::pool::Pool;
use crate::set::PoolSet;
use alloc::boxed::Box;
use alloc::vec::Vec;
use spin::RelaxStrategy;
use tarn_abi::{CpuSet, Instant, PoolId};
use tarn_sched::{Ent, NodeId, Scheduler, Tag, VcpuParams, registry};

/// A scheduler nobody runs under, to see who would get a CPU.
struct Trial {
    sched: Box<dyn Scheduler>,
    /// Of the vCPUs directly in the pool.
    vcpus: Vec<Ent>,
    /// Of groups' virtual processors, with their group.
    groups: Vec<(NodeId, Ent)>,
}

fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), PoolError> {
    list.try_reserve(1).map_err(|_| PoolError::NoMemory)?;
    list.push(item);
    Ok(())
}

impl Trial {
    fn join(&mut self, affinity: CpuSet, group: Option<NodeId>) -> Result<(), PoolError> {
        let p = VcpuParams {
            affinity,
            ..VcpuParams::DEFAULT
        };
        let e = self.sched.alloc_vcpu(Tag(0), &p)?;
        let _ = self.sched.insert(e, false, Instant(0));
        match group {
            None => push(&mut self.vcpus, e),
            Some(g) => push(&mut self.groups, (g, e)),
        }
    }

    /// Whether all processors of a group are without a CPU.
    fn strands(&self, group: NodeId) -> bool {
        let mut own = self.groups.iter().filter(|g| g.0 == group);
        own.all(|g| self.sched.is_stranded(g.1))
    }
}

impl Pool {
    /// How many of its vCPUs have no CPU.
    pub(crate) fn stranded(&mut self) -> u32 {
        let mut n = 0;
        for row in 0..self.rows.len() as u16 {
            if let Some(r) = self.rows.get(row) {
                let ent = r.ent;
                n += u32::from(self.sched().is_stranded(ent, false));
            }
        }
        n
    }
}

impl<R: RelaxStrategy> PoolSet<R> {
    /// How many vCPUs of a pool have no CPU.
    pub fn stranded(&self, id: PoolId) -> Result<u32, PoolError> {
        Ok(self.lock_pool(id)?.stranded())
    }

    /// How many of them will have none when the pool is what `model` says. Who has one and stays keeps it. Under the
    /// config lock.
    pub(crate) fn foresee_stranded(&self, model: &Model, at: usize) -> Result<u32, PoolError> {
        let m = &model.pools[at];
        let strands = registry::row(m.kind).is_some_and(|r| r.strands);
        let mut trial = Trial {
            sched: registry::build(m.kind, &m.params.sched)?,
            vcpus: Vec::new(),
            groups: Vec::new(),
        };
        for cpu in m.cpus.iter().filter(|_| strands) {
            trial.sched.alloc_pcpu(cpu)?;
            let _ = trial.sched.switch_sched(cpu, Instant(0));
        }
        let mut inside = 0;
        let mut there = m.slot.and_then(|s| self.lock_present(usize::from(s)));
        if let Some(p) = &mut there {
            inside = stay(p, model, at, strands.then_some(&mut trial))?;
        }
        drop(there);
        for x in model.moves.iter().filter(|x| strands && x.to == at) {
            let (mut p, dom, _) = self.lock_domain(x.domain)?;
            for i in 0..p.doms.at(dom).vcpus.len() {
                let row = p.doms.at(dom).vcpus[i];
                trial.join(p.rows.at(row).params.affinity, None)?;
            }
        }
        let alone = trial.vcpus.iter().filter(|e| trial.sched.is_stranded(**e));
        Ok(inside + alone.count() as u32)
    }
}

/// Those who stay in the pool join the trial in the order in which they are served; how many members of its groups have no
/// CPU. Without a trial the pool's own scheduler leaves nobody without.
fn stay(
    p: &mut Pool,
    model: &Model,
    at: usize,
    mut trial: Option<&mut Trial>,
) -> Result<u32, PoolError> {
    let exchange = model.pools[at].exchange;
    for served in [true, false] {
        let Some(trial) = trial.as_deref_mut() else {
            break;
        };
        for node in 1..p.groups.len() as u16 {
            let shape = p.sched().shape(NodeId(node));
            let Some(shape) = shape.filter(|s| served && s.parent == NodeId::ROOT) else {
                continue;
            };
            for _ in 0..shape.vps {
                trial.join(shape.params.affinity, Some(NodeId(node)))?;
            }
        }
        for row in 0..p.rows.len() as u16 {
            let Some(r) = p.rows.get(row) else { continue };
            let (ent, affinity, dom) = (r.ent, r.params.affinity, r.dom);
            let goes = leaves(p, model, at, dom);
            // Under another scheduler all begin anew.
            let first = exchange || !p.sched().is_stranded(ent, false);
            if ent.node == NodeId::ROOT && !goes && first == served {
                trial.join(affinity, None)?;
            }
        }
    }
    let mut stranded = 0;
    for row in 0..p.rows.len() as u16 {
        let Some(r) = p.rows.get(row) else { continue };
        let (ent, dom) = (r.ent, r.dom);
        if ent.node == NodeId::ROOT || leaves(p, model, at, dom) {
            continue;
        }
        let group = p.sched().outermost(ent.node);
        let without = trial.as_deref().is_some_and(|t| t.strands(group));
        stranded += u32::from(without || p.sched().is_stranded(ent, true));
    }
    Ok(stranded)
}

/// Whether the domain of that row will be elsewhere.
fn leaves(p: &mut Pool, model: &Model, at: usize, dom: u16) -> bool {
    let id = p.doms.at(dom).id;
    let mut moves = model.moves.iter();
    moves.any(|x| x.domain == id && x.from == at)
}
