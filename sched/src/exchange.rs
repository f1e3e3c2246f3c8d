//! Another root for a tree: the scheduler of a running pool is exchanged, its vCPUs and groups stay.
//!
//! What can fail (memory, admission) happens while the new root is prepared beside the old one; the exchange itself
//! cannot, and happens while no CPU belongs to the old root and everybody sleeps. Groups keep their own schedulers and
//! members: only their virtual processors, which are entities of the root, are made anew. Neighbours: `tree.rs`;
//! `pools` stops the domains and takes the CPUs out and in.

use crate::error::SchedError;
use crate::params::VcpuParams;
use crate::scheduler::{Ent, GuestHint, Scheduler, Tag};
use crate::tree::{DEPTH, Leaf, NodeId, Tree, vp_tag};
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
        self.put_to_sleep(now);
        let Root { mut sched, groups } = new;
        for (group, ents) in groups {
            for (vp, ent) in self.group(group).vps.iter_mut().zip(ents) {
                vp.ent = ent;
                let kick = sched.insert(ent, false, now);
                debug_assert!(kick.is_none(), "a sleeping processor disturbs nobody");
            }
        }
        let old = core::mem::replace(&mut self.root, sched);
        self.past.add(&old.totals());
        old
    }

    /// Nobody in any group has anything to run: every virtual processor sleeps in its parent, and its own scheduler knows
    /// it as idle, so that it is called when there is work. Groups deep inside first: their processors are others' work.
    fn put_to_sleep(&mut self, now: Instant) {
        for depth in (1..=DEPTH).rev() {
            for i in 1..self.nodes.len() as u16 {
                if self.has(NodeId(i)) && usize::from(self.group(i).depth) == depth {
                    self.put_group_to_sleep(i, now);
                }
            }
        }
    }

    fn put_group_to_sleep(&mut self, node: u16, now: Instant) {
        for i in 0..self.group(node).vps.len() {
            if !self.group(node).vps[i].runnable {
                // Asleep, and therefore known as idle: with all CPUs gone, nearly all of them are.
                continue;
            }
            let pick = self
                .sched(node)
                .pick_next(CpuId(i as u16), GuestHint::default(), now);
            debug_assert!(pick.next.is_none(), "everybody sleeps");
            let group = self.group(node);
            let parent = group.parent;
            let vp = &mut group.vps[i];
            let ent = vp.ent;
            vp.runnable = false;
            vp.cpu = None;
            vp.live = false;
            self.sched(parent).sleep(ent, now);
        }
    }

    /// Whether these CPUs can leave without breaking what has been promised to those who stay.
    pub fn can_lose(&self, gone: &tarn_abi::CpuSet) -> Result<(), SchedError> {
        self.root.admits(gone, &[])
    }

    /// Takes `alloc_pcpu` back for a CPU that has not joined.
    pub fn forget_pcpu(&mut self, cpu: CpuId) {
        self.root.forget_pcpu(cpu);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::SchedParams;
    use crate::registry;
    use crate::scheduler::{Kick, WakeReason};

    const C0: CpuId = CpuId(0);

    fn instance(name: &str) -> Box<dyn Scheduler> {
        registry::build(registry::by_name(name).unwrap(), &SchedParams::DEFAULT).unwrap()
    }

    /// A CPU leaves while a group's processor is on it, as it does for an exchange: nobody inside has asked for anything
    /// since, and the processor must be found when a member wakes under the new root.
    #[test]
    fn a_member_that_wakes_under_the_new_root_is_run() {
        for outer in ["rr", "credit2", "rtds"] {
            for inner in [None, Some("rr"), Some("credit2"), Some("rtds")] {
                let t = |ms: u64| Instant(ms * 1_000_000);
                let mut tree = Tree::new(instance("rr"));
                tree.alloc_pcpu(C0).unwrap();
                let _ = tree.switch_sched(C0, t(0));
                let one = VcpuParams::DEFAULT;
                let group = |tree: &mut Tree, parent, kind| {
                    tree.add_group(parent, instance(kind), 1, &one, t(0))
                        .unwrap()
                };
                let mut home = group(&mut tree, NodeId::ROOT, outer);
                if let Some(inner) = inner {
                    home = group(&mut tree, home, inner);
                }
                let m = tree.alloc_vcpu(home, Tag(7), &one).unwrap();
                let _ = tree.insert(m, true, t(0));
                let hint = GuestHint::default();
                assert_eq!(tree.pick_next(C0, hint, t(0)).next, Some(Tag(7)));

                // Halted, saved, and off the CPU by its own hand.
                tree.sleep(m, t(1));
                let away = GuestHint {
                    must_idle: true,
                    ..hint
                };
                assert_eq!(tree.pick_next(C0, away, t(1)).next, None);
                let _ = tree.context_saved(m, C0, t(1));
                let _ = tree.free_pcpu(C0, t(1));
                let root = tree.prepare_root(instance("credit2"), core::iter::once(C0));
                drop(tree.exchange_root(root.unwrap(), t(1)));
                let _ = tree.switch_sched(C0, t(2));
                assert_eq!(tree.pick_next(C0, hint, t(2)).next, None);

                let kick = tree.wake(m, WakeReason::Unpause, t(3));
                assert_eq!(kick, Kick::one(C0), "{outer} {inner:?}");
                assert_eq!(tree.pick_next(C0, hint, t(3)).next, Some(Tag(7)));
            }
        }
    }
}
