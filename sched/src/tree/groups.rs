//! Groups come and go: made, changed and removed while everything runs.
//!
//! Whatever can fail comes before the first visible change. Neighbours: `pools/src/groups.rs` names them and moves domains.

use super::*;

impl Tree {
    /// What a group looks like.
    pub fn shape(&mut self, node: NodeId) -> Option<GroupShape> {
        if node == NodeId::ROOT || !self.has(node) {
            return None;
        }
        let g = self.group(node.0);
        let (parent, params, members) = (g.parent, g.params, g.members);
        let vps = g.vps.len() as u16;
        let mut stats = Stats::default();
        for i in 0..usize::from(vps) {
            let ent = self.group(node.0).vps[i].ent;
            stats.add(&self.sched(parent).stats(ent));
        }
        Some(GroupShape {
            parent: NodeId(parent),
            vps,
            params,
            members,
            stats,
        })
    }

    /// Makes an empty group of `vps` virtual processors inside `parent`, each with `params` there.
    pub fn add_group(
        &mut self,
        parent: NodeId,
        sched: Box<dyn Scheduler>,
        vps: u16,
        params: &VcpuParams,
        now: Instant,
    ) -> Result<NodeId, SchedError> {
        in_range("virtual processors", vps.into(), 1, 64)?;
        params.check()?;
        if !self.has(parent) {
            return Err(SchedError::Conflict("there is no such group"));
        }
        let depth = if parent == NodeId::ROOT {
            1
        } else {
            self.group(parent.0).depth + 1
        };
        in_range("depth of groups", depth.into(), 1, DEPTH as u64)?;
        in_range(
            "groups of a pool",
            u64::from(self.groups) + 1,
            1,
            MAX_GROUPS as u64,
        )?;
        self.paths
            .try_reserve(MAX_CPUS.saturating_sub(self.paths.len()))
            .map_err(|_| SchedError::NoMemory)?;
        let slot = (1..self.nodes.len()).find(|&i| self.nodes[i].is_none());
        let slot = match slot {
            Some(i) => i,
            None => {
                self.nodes
                    .try_reserve(2)
                    .map_err(|_| SchedError::NoMemory)?;
                while self.nodes.len() < 2 {
                    self.nodes.push(None);
                }
                if self.nodes[self.nodes.len() - 1].is_some() || self.nodes.len() == 1 {
                    self.nodes.push(None);
                }
                self.nodes.len() - 1
            }
        };
        let mut node = Node { sched, group: None };
        let mut list = Vec::new();
        list.try_reserve_exact(usize::from(vps))
            .map_err(|_| SchedError::NoMemory)?;
        for i in 0..vps {
            let made = node.sched.alloc_pcpu(CpuId(i)).and_then(|()| {
                self.sched(parent.0)
                    .alloc_vcpu(vp_tag(slot as u16, i), params)
            });
            match made {
                Ok(ent) => list.push(Vp {
                    ent,
                    runnable: false,
                    cpu: None,
                    live: false,
                }),
                Err(e) => {
                    for vp in list {
                        self.sched(parent.0).free_vcpu(vp.ent);
                    }
                    return Err(e);
                }
            }
        }
        while self.paths.len() < MAX_CPUS {
            self.paths.push(Paths::default());
        }
        for (i, vp) in list.iter().enumerate() {
            let none = self.sched(parent.0).insert(vp.ent, false, now);
            debug_assert!(
                none.is_none(),
                "a sleeping virtual processor disturbs nobody"
            );
            let cpu = CpuId(i as u16);
            let _ = node.sched.switch_sched(cpu, now);
            // Its first look at its empty queue: idle, and to be called when there is work.
            let _ = node.sched.pick_next(cpu, GuestHint::default(), now);
        }
        node.group = Some(Group {
            parent: parent.0,
            depth,
            params: *params,
            vps: list,
            members: 0,
            due: None,
        });
        self.nodes[slot] = Some(node);
        self.groups += 1;
        if parent != NodeId::ROOT {
            self.group(parent.0).members += 1;
        }
        Ok(NodeId(slot as u16))
    }

    /// Removes an empty group. `Conflict` while it has members or a CPU has not yet left it.
    pub fn remove_group(&mut self, node: NodeId, now: Instant) -> Result<Kick, SchedError> {
        if node == NodeId::ROOT || !self.has(node) {
            return Err(SchedError::Conflict("there is no such group"));
        }
        let g = self.group(node.0);
        if g.members != 0 {
            return Err(SchedError::Conflict("the group is not empty"));
        }
        if g.vps.iter().any(|v| v.cpu.is_some()) {
            return Err(SchedError::Conflict(
                "a CPU has not left the group yet; try again",
            ));
        }
        let parent = g.parent;
        let mut kick = Kick::NONE;
        if let Some(Node { group: Some(g), .. }) = self.nodes[usize::from(node.0)].take() {
            for vp in g.vps {
                let k = self.sched(parent).remove(vp.ent, now);
                kick = kick.and(self.translate(parent, k, false, now));
                self.sched(parent).free_vcpu(vp.ent);
            }
        }
        self.groups -= 1;
        if parent != 0 {
            self.group(parent).members -= 1;
        }
        Ok(kick)
    }

    /// Changes what a group weighs in its parent.
    pub fn adjust_group(
        &mut self,
        node: NodeId,
        params: &VcpuParams,
        now: Instant,
    ) -> Result<Kick, SchedError> {
        params.check()?;
        if node == NodeId::ROOT || !self.has(node) {
            return Err(SchedError::Conflict("there is no such group"));
        }
        let (parent, n) = (self.group(node.0).parent, self.group(node.0).vps.len());
        let mut kick = Kick::NONE;
        for i in 0..n {
            let ent = self.group(node.0).vps[i].ent;
            let k = self.sched(parent).adjust_vcpu(ent, params, now)?;
            kick = kick.and(self.translate(parent, k, false, now));
        }
        self.group(node.0).params = *params;
        Ok(kick)
    }
}
