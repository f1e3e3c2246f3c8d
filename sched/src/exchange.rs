//! Another root for a tree: the scheduler of a running pool is exchanged, its vCPUs and groups stay.
//!
//! What can fail (memory, admission) happens while the new root is prepared beside the old one; the exchange itself
//! cannot, and happens while no CPU belongs to the old root and everybody sleeps. Groups keep their own schedulers and
//! members: only their virtual processors, which are entities of the root, are made anew. Neighbours: `tree.rs`;
//! `pools` stops the domains and takes the CPUs out and in.

use crate::error::SchedError;
use crate::params::VcpuParams;
use crate::scheduler::{Ent, Scheduler, Tag};
use crate::tree::{Leaf, NodeId, Tree, vp_tag};
use alloc::boxed::Box;
use alloc::vec::Vec;
use tarn_abi::{CpuId, Instant};

/// A root in preparation.
pub struct Root {
    sched: Box<dyn Scheduler>,
    /// By group directly in the pool: its virtual processors.
    groups: Vec<(u16, Vec<Ent>)>,
}

impl Root {
    /// Gets the memory for a CPU that will be ours.
    pub fn alloc_pcpu(&mut self, cpu: CpuId) -> Result<(), SchedError> {
        self.sched.alloc_pcpu(cpu)
    }

    /// Gets the memory for a vCPU directly in the pool.
    pub fn alloc_vcpu(&mut self, tag: Tag, p: &VcpuParams) -> Result<Leaf, SchedError> {
        let ent = self.sched.alloc_vcpu(tag, p)?;
        Ok(Leaf {
            node: NodeId::ROOT,
            ent,
        })
    }

    /// Gives it back.
    pub fn free_vcpu(&mut self, l: Leaf) {
        self.sched.free_vcpu(l.ent);
    }
}

impl Tree {
    /// Prepares `sched` to become the root, with `cpus`; changes nothing here.
    pub fn prepare_root(
        &self,
        sched: Box<dyn Scheduler>,
        cpus: impl Iterator<Item = CpuId>,
    ) -> Result<Root, SchedError> {
        let mut root = Root {
            sched,
            groups: Vec::new(),
        };
        for cpu in cpus {
            root.alloc_pcpu(cpu)?;
        }
        for (i, node) in self.nodes.iter().enumerate() {
            let Some(g) = node.as_ref().and_then(|n| n.group.as_ref()) else {
                continue;
            };
            if g.parent != NodeId::ROOT.0 {
                continue;
            }
            let mut ents = Vec::new();
            let failed = |_| SchedError::NoMemory;
            ents.try_reserve_exact(g.vps.len()).map_err(failed)?;
            root.groups.try_reserve(1).map_err(failed)?;
            for vp in 0..g.vps.len() {
                let tag = vp_tag(i as u16, vp as u16);
                ents.push(root.sched.alloc_vcpu(tag, &g.params)?);
            }
            root.groups.push((i as u16, ents));
        }
        Ok(root)
    }

    /// The prepared root takes the place of the old one, which is handed back. No CPU is a member, everybody sleeps and
    /// nobody's registers are in a CPU; vCPUs directly in the pool are inserted by the caller.
    pub fn exchange_root(&mut self, new: Root, now: Instant) -> Box<dyn Scheduler> {
        let Root { mut sched, groups } = new;
        for (group, ents) in groups {
            let g = self.group(group);
            for (vp, ent) in g.vps.iter_mut().zip(ents) {
                vp.ent = ent;
                vp.runnable = false;
                vp.cpu = None;
                vp.live = false;
                let kick = sched.insert(ent, false, now);
                debug_assert!(kick.is_none(), "a sleeping processor disturbs nobody");
            }
        }
        core::mem::replace(&mut self.root, sched)
    }

    /// Whether these CPUs can leave without breaking what has been promised to those who stay.
    pub fn can_lose(&self, gone: &tarn_abi::CpuSet) -> Result<(), SchedError> {
        self.root.can_lose(gone)
    }

    /// Takes `alloc_pcpu` back for a CPU that has not joined.
    pub fn forget_pcpu(&mut self, cpu: CpuId) {
        self.root.forget_pcpu(cpu);
    }
}
