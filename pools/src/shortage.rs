//! Who has no CPU: under `null`, which gives each vCPU a CPU of its own, those for whom none is left wait until somebody
//! leaves. Nothing is refused for that (but dom0 must not be among them, see `model.rs`); it is said: after a change, before
//! one that is only tried, and in listings.
//!
//! Must never decide who gets a CPU: the scheduler does, also in what is foreseen. Neighbours: `sched::null`, `change.rs`
//! (what a change answers), `prepare.rs` (what a dry run answers).

use crate::error::PoolError;
use crate::model::Model;
use crate::plan::Plan;
use crate::pool::Pool;
use crate::set::PoolSet;
use alloc::boxed::Box;
use alloc::vec::Vec;
use spin::RelaxStrategy;
use tarn_abi::{CpuSet, Instant, PoolId, SchedId, VcpuId};
use tarn_sched::{Ent, NodeId, SchedParams, Scheduler, Tag, VcpuParams, registry};

/// A scheduler nobody runs under, to see who would get a CPU.
struct Trial {
    sched: Box<dyn Scheduler>,
    /// Virtual processors of groups, with their group.
    processors: Vec<(NodeId, Ent)>,
}

/// Who competes in one scheduler: a vCPU, or a group with its processors.
#[derive(Clone, Copy)]
struct Comer {
    came: u64,
    affinity: CpuSet,
    who: Who,
}

#[derive(Clone, Copy)]
enum Who {
    Vcpu(VcpuId),
    /// With so many processors.
    Group(NodeId, u16),
}

/// A pool as it will be, as far as CPUs are handed out for good.
#[derive(Default)]
struct Foreseen {
    /// By scheduler: those under which somebody may have no CPU.
    trials: Vec<Option<Trial>>,
    /// Its vCPUs: in which scheduler, and what they are in its trial.
    vcpus: Vec<(VcpuId, NodeId, Option<Ent>)>,
    /// Its groups, and in which scheduler each is.
    groups: Vec<(NodeId, NodeId)>,
}

fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), PoolError> {
    list.try_reserve(1).map_err(|_| PoolError::NoMemory)?;
    list.push(item);
    Ok(())
}

impl Trial {
    /// With these CPUs.
    fn new(kind: SchedId, params: &SchedParams, cpus: &CpuSet) -> Result<Trial, PoolError> {
        let mut sched = registry::build(kind, params)?;
        for cpu in cpus.iter() {
            sched.alloc_pcpu(cpu)?;
            let _ = sched.switch_sched(cpu, Instant(0));
        }
        Ok(Trial {
            sched,
            processors: Vec::new(),
        })
    }

    fn join(&mut self, affinity: CpuSet) -> Result<Ent, PoolError> {
        let p = VcpuParams {
            affinity,
            ..VcpuParams::DEFAULT
        };
        let e = self.sched.alloc_vcpu(Tag(0), &p)?;
        let _ = self.sched.insert(e, false, Instant(0));
        Ok(e)
    }
}

impl Foreseen {
    fn trial(&mut self, node: NodeId) -> Option<&mut Trial> {
        self.trials.get_mut(usize::from(node.0))?.as_mut()
    }

    /// A vCPU of `node`, behind all who are there. Inside a group an affinity has no meaning.
    fn join(&mut self, v: VcpuId, node: NodeId, affinity: CpuSet) -> Result<(), PoolError> {
        let affinity = if node == NodeId::ROOT {
            affinity
        } else {
            CpuSet::ALL
        };
        let ent = match self.trial(node) {
            Some(t) => Some(t.join(affinity)?),
            None => None,
        };
        push(&mut self.vcpus, (v, node, ent))
    }

    /// Whether a scheduler strands that entity.
    fn strands(&self, node: NodeId, e: Ent) -> bool {
        let trial = self.trials.get(usize::from(node.0));
        trial.is_some_and(|t| t.as_ref().is_some_and(|t| t.sched.is_stranded(e)))
    }

    /// Whether all processors of a group, or of one around it, are without a CPU.
    fn strands_group(&self, mut node: NodeId) -> bool {
        while let Some((_, parent)) = self.groups.iter().find(|g| g.0 == node) {
            let trial = self.trials.get(usize::from(parent.0));
            if let Some(Some(t)) = trial {
                let mut own = t.processors.iter().filter(|p| p.0 == node);
                if own.all(|p| t.sched.is_stranded(p.1)) {
                    return true;
                }
            }
            node = *parent;
        }
        false
    }

    /// Who will have no CPU.
    fn stranded(&self) -> impl Iterator<Item = VcpuId> {
        let without = self.vcpus.iter().filter(|(_, node, ent)| {
            ent.is_some_and(|e| self.strands(*node, e)) || self.strands_group(*node)
        });
        without.map(|v| v.0)
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

    /// Those of a pool's vCPUs that will have no CPU when all CPUs that are on their way to it have arrived.
    pub fn foreseen_stranded(&self, id: PoolId) -> Result<Vec<VcpuId>, PoolError> {
        let config = self.settled()?;
        let model = self.model(&config, &Plan::new()).map_err(|r| r.error)?;
        let mut pools = model.pools.iter();
        let at = pools.position(|p| p.slot.map(u16::from) == Some(id.slot));
        let seen = self.foresee(&model, at.ok_or(PoolError::NoSuchPool)?)?;
        let mut list = Vec::new();
        seen.stranded().try_for_each(|v| push(&mut list, v))?;
        Ok(list)
    }

    /// How many of a pool's vCPUs will have none when it is what `model` says. Under the config lock.
    pub(crate) fn foresee_stranded(&self, model: &Model, at: usize) -> Result<u32, PoolError> {
        Ok(self.foresee(model, at)?.stranded().count() as u32)
    }

    /// A pool as `model` says. By the contract of `null` that follows from who
    /// is there, who came first, their affinities and the CPUs, whatever happens on the way. Under the config lock.
    fn foresee(&self, model: &Model, at: usize) -> Result<Foreseen, PoolError> {
        let m = &model.pools[at];
        let mut seen = Foreseen::default();
        let own = strands(m.kind).then(|| Trial::new(m.kind, &m.params.sched, &m.cpus));
        push(&mut seen.trials, own.transpose()?)?;
        let mut there = m.slot.and_then(|s| self.lock_present(usize::from(s)));
        if let Some(p) = &mut there {
            for node in 1..p.groups.len() as u16 {
                let kind = p.groups[usize::from(node)].as_ref().map(|g| g.kind);
                let kind = kind.filter(|k| strands(*k));
                let shape = p.sched().shape(NodeId(node));
                let trial = kind.zip(shape).map(|(kind, shape)| {
                    let vps = CpuSet::first(usize::from(shape.vps));
                    Trial::new(kind, &SchedParams::DEFAULT, &vps)
                });
                push(&mut seen.trials, trial.transpose()?)?;
                if let Some(shape) = shape {
                    push(&mut seen.groups, (NodeId(node), shape.parent))?;
                }
            }
            for node in 0..seen.trials.len() as u16 {
                stay(p, model, at, NodeId(node), &mut seen)?;
            }
        }
        drop(there);
        for x in model.moves.iter().filter(|x| x.to == at) {
            let (mut p, dom, _) = self.lock_domain(x.domain)?;
            for i in 0..p.doms.at(dom).vcpus.len() {
                let row = p.doms.at(dom).vcpus[i];
                let r = p.rows.at(row);
                seen.join(r.id, NodeId::ROOT, r.params.affinity)?;
            }
        }
        Ok(seen)
    }
}

/// Whether under a scheduler of that kind somebody may wait for ever.
fn strands(kind: SchedId) -> bool {
    registry::row(kind).is_some_and(|r| r.strands)
}

/// Those who stay in one scheduler of the pool join its trial in the order in which they came.
fn stay(
    p: &mut Pool,
    model: &Model,
    at: usize,
    node: NodeId,
    seen: &mut Foreseen,
) -> Result<(), PoolError> {
    // Under another scheduler all begin anew, groups first, vCPUs by their rows.
    let exchange = model.pools[at].exchange && node == NodeId::ROOT;
    let mut comers: Vec<Comer> = Vec::new();
    for group in 1..p.groups.len() as u16 {
        let shape = p.sched().shape(NodeId(group));
        if let Some(shape) = shape.filter(|s| s.parent == node) {
            let comer = Comer {
                came: if exchange { 0 } else { shape.came },
                affinity: shape.params.affinity,
                who: Who::Group(NodeId(group), shape.vps),
            };
            push(&mut comers, comer)?;
        }
    }
    for row in 0..p.rows.len() as u16 {
        let Some(r) = p.rows.get(row) else { continue };
        let (id, ent, affinity, dom) = (r.id, r.ent, r.params.affinity, r.dom);
        if ent.node == node && !leaves(p, model, at, dom) {
            let came = match exchange {
                true => 1 + u64::from(row),
                false => p.sched().came(ent),
            };
            let who = Who::Vcpu(id);
            let comer = Comer {
                came,
                affinity,
                who,
            };
            push(&mut comers, comer)?;
        }
    }
    comers.sort_unstable_by_key(|c| match c.who {
        Who::Group(g, _) => (c.came, g.0),
        Who::Vcpu(v) => (c.came, v.slot),
    });
    for c in comers {
        match (c.who, seen.trial(node)) {
            (Who::Vcpu(v), _) => seen.join(v, node, c.affinity)?,
            (Who::Group(group, processors), Some(t)) => {
                for _ in 0..processors {
                    let e = t.join(c.affinity)?;
                    push(&mut t.processors, (group, e))?;
                }
            }
            (Who::Group(..), None) => {}
        }
    }
    Ok(())
}

/// Whether the domain of that row will be elsewhere.
fn leaves(p: &mut Pool, model: &Model, at: usize, dom: u16) -> bool {
    let id = p.doms.at(dom).id;
    let mut moves = model.moves.iter();
    moves.any(|x| x.domain == id && x.from == at)
}
