//! Groups come and go: made, changed and removed while everything runs.
//!
//! Whatever can fail comes before the first visible change. Neighbours: `pools/src/groups.rs` names them and moves domains.

use super::*;

/// Most virtual processors of a group.
const MAX_VPS: usize = 64;

impl Tree {
    /// What a group looks like.
    pub fn shape(&mut self, node: NodeId) -> Option<GroupShape> {
        if node == NodeId::ROOT || !self.has(node) {
            return None;
        }
        let g = self.group(node.0);
        let (parent, params, members) = (g.parent, g.params, g.members);
        let vps = g.vps.len() as u16;
        let (mut stats, mut came) = (Stats::default(), u64::MAX);
        for i in 0..usize::from(vps) {
            let ent = self.group(node.0).vps[i].ent;
            came = came.min(self.sched(parent).came(ent));
            stats.add(&self.sched(parent).stats(ent));
        }
        Some(GroupShape {
            parent: NodeId(parent),
            vps,
            params,
            members,
            stats,
            came,
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
        in_range("virtual processors", vps.into(), 1, MAX_VPS as u64)?;
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
        self.dues.reserve(slot as u16, self.groups)?;
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
                    // The last first: who comes next gets the same places as if nobody had asked.
                    for vp in list.into_iter().rev() {
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
            let _ = node.sched.switch_sched(CpuId(i as u16), now);
        }
        for i in 0..vps {
            // Its first look at its empty queue: idle, and to be called when there is work.
            let _ = node.sched.pick_next(CpuId(i), GuestHint::default(), now);
        }
        node.group = Some(Group {
            parent: parent.0,
            depth,
            params: *params,
            vps: list,
            members: 0,
        });
        self.nodes[slot] = Some(node);
        self.groups += 1;
        if parent != NodeId::ROOT {
            self.group(parent.0).members += 1;
        }
        self.supply(slot as u16);
        Ok(NodeId(slot as u16))
    }

    /// Tells the group's scheduler how many CPUs it can have at a time: not more than those that it and the groups around it
    /// may use, nor than any of them has processors.
    fn supply(&mut self, node: u16) {
        let (mut at, mut most) = (node, MAX_VPS);
        let mut cpus = self.cpus;
        while at != 0 {
            let g = self.group(at);
            most = most.min(g.vps.len());
            if g.parent == 0 {
                // (As everywhere: an affinity none of whose CPUs is there means all.)
                let usable = cpus.intersection(&g.params.affinity);
                cpus = if usable.is_empty() { cpus } else { usable };
            }
            at = g.parent;
        }
        let most = most.min(cpus.len()).max(1);
        self.sched(node).set_supply(most as u16);
    }

    /// CPUs have come or gone, or what a group may use has changed.
    pub(super) fn supply_all(&mut self) {
        for i in 1..self.nodes.len() as u16 {
            if self.has(NodeId(i)) {
                self.supply(i);
            }
        }
    }

    /// The CPUs that are in a group, or have chosen it last.
    pub fn cpus_in(&mut self, node: NodeId) -> CpuSet {
        if node == NodeId::ROOT || !self.has(node) {
            return CpuSet::EMPTY;
        }
        self.group(node.0)
            .vps
            .iter()
            .filter_map(|v| v.cpu)
            .collect()
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
        if let Some(Node {
            sched,
            group: Some(g),
        }) = self.nodes[usize::from(node.0)].take()
        {
            self.past.add(&sched.totals());
            for vp in g.vps {
                let k = self.sched(parent).remove(vp.ent, now);
                kick = kick.and(self.translate(parent, k, None, now));
                self.sched(parent).free_vcpu(vp.ent);
            }
        }
        self.groups -= 1;
        // What it wanted to be asked for is nobody's business any more.
        self.dues.clear(node.0);
        if parent != 0 {
            self.group(parent).members -= 1;
        }
        let kick = kick.and(self.relieve(parent, now));
        Ok(self.armed(kick))
    }

    /// Changes what a group is in its parent: all of its virtual processors or, refused, none.
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
        let g = self.group(node.0);
        let (parent, n) = (g.parent, g.vps.len().min(MAX_VPS));
        let mut ents = [Ent(0); MAX_VPS];
        for (ent, vp) in ents.iter_mut().zip(&g.vps) {
            *ent = vp.ent;
        }
        let kick = self.sched(parent).adjust_vcpus(&ents[..n], params, now)?;
        let kick = self.translate(parent, kick, None, now);
        self.group(node.0).params = *params;
        self.supply_all();
        let kick = kick.and(self.relieve(parent, now));
        Ok(self.armed(kick))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::RtParams;
    use crate::registry;

    /// In microseconds.
    fn rt(period: u64, budget: u64) -> VcpuParams {
        VcpuParams {
            rt: RtParams {
                period: Span::us(period),
                budget: Span::us(budget),
            },
            ..VcpuParams::DEFAULT
        }
    }

    fn instance(name: &str) -> Box<dyn Scheduler> {
        registry::build(registry::by_name(name).unwrap(), &SchedParams::DEFAULT).unwrap()
    }

    /// When which CPU came by, what it was told to run until when, and whom to call.
    type Seen = (Instant, u16, Option<Tag>, Option<Instant>, Kick);

    /// Two CPUs under rtds: a vCPU with 2 of 10 ms, two in a group whose two processors have `each`, all awake.
    struct Bench {
        tree: Tree,
        group: NodeId,
        members: Vec<Leaf>,
        loaded: [Option<Tag>; 2],
        log: Vec<Seen>,
    }

    impl Bench {
        fn new(each: &VcpuParams) -> Bench {
            let mut tree = Tree::new(instance("rtds"));
            let t0 = Instant(0);
            for c in [CpuId(0), CpuId(1)] {
                tree.alloc_pcpu(c).unwrap();
                let _ = tree.switch_sched(c, t0);
            }
            let rr = instance("rr");
            let group = tree.add_group(NodeId::ROOT, rr, 2, each, t0).unwrap();
            let places = [
                (NodeId::ROOT, rt(10_000, 2_000)),
                (group, VcpuParams::DEFAULT),
                (group, VcpuParams::DEFAULT),
            ];
            let mut members = Vec::new();
            for (i, (node, p)) in places.into_iter().enumerate() {
                members.push(tree.alloc_vcpu(node, Tag(i as u32), &p).unwrap());
                let _ = tree.insert(members[i], true, t0);
            }
            Bench {
                tree,
                group,
                members,
                loaded: [None; 2],
                log: Vec::new(),
            }
        }

        /// A CPU comes by.
        fn pick(&mut self, cpu: u16, now: Instant) {
            let p = self.tree.pick_next(CpuId(cpu), GuestHint::default(), now);
            let kick = p.kick;
            self.log.push((now, cpu, p.next, p.until, kick));
            let old = core::mem::replace(&mut self.loaded[usize::from(cpu)], p.next);
            if let Some(old) = old.filter(|_| old != p.next) {
                let leaf = self.members[old.0 as usize];
                let k = self.tree.context_saved(leaf, CpuId(cpu), now);
                self.log.push((now, cpu, None, None, k));
            }
            self.tree.check(now).unwrap();
        }

        /// What happens from 0 to 100 ms; at each whole one `between` comes first.
        fn run(&mut self, mut between: impl FnMut(&mut Tree, NodeId, Instant)) {
            for ms in 0..100 {
                let now = Instant(ms * 1_000_000);
                between(&mut self.tree, self.group, now);
                for cpu in [ms as u16 % 2, 1 - ms as u16 % 2] {
                    self.pick(cpu, now);
                }
            }
        }
    }

    /// Who is told to leave a group: whoever is in it, and nobody else.
    #[test]
    fn the_cpus_in_a_group() {
        let mut b = Bench::new(&rt(5_000, 3_000));
        assert_eq!(b.tree.cpus_in(b.group), CpuSet::EMPTY);
        b.pick(1, Instant(0));
        assert_eq!(b.loaded[1], Some(Tag(1)));
        assert_eq!(b.tree.cpus_in(b.group), CpuSet::one(CpuId(1)));
        assert_eq!(b.tree.cpus_in(NodeId::ROOT), CpuSet::EMPTY);
        b.pick(0, Instant(0));
        assert_eq!(b.tree.cpus_in(b.group), CpuSet::first(2));
    }

    #[test]
    fn a_group_is_adjusted_as_a_whole_or_not_at_all() {
        let was = rt(10_000, 4_000);
        // With 700 for the first and 400 for the second there is room, with 700 for both there is not.
        for asked in [rt(10_000, 7_000), rt(4_000, 2_800)] {
            let (mut left, mut asking) = (Bench::new(&was), Bench::new(&was));
            left.run(|_, _, _| {});
            asking.run(|tree, group, now| {
                let refused = tree.adjust_group(group, &asked, now);
                assert!(matches!(refused, Err(SchedError::Inadmissible { .. })));
                assert_eq!(tree.shape(group).unwrap().params, was);
            });
            assert_eq!(left.log.len(), asking.log.len());
            for (left, asking) in left.log.iter().zip(&asking.log) {
                assert_eq!(left, asking);
            }
            // The room is what it was: 500 fit beside 2 x 400 and 200, and no more.
            let mut more = |us| {
                let p = rt(10_000, us);
                asking.tree.alloc_vcpu(NodeId::ROOT, Tag(9), &p)
            };
            assert!(more(5_010).is_err());
            more(5_000).unwrap();
        }
    }

    #[test]
    fn all_processors_of_a_group_are_adjusted_and_their_cpus_called() {
        let mut b = Bench::new(&rt(5_000, 3_000));
        b.pick(0, Instant(0));
        b.pick(1, Instant(0));
        assert_eq!(b.loaded, [Some(Tag(1)), Some(Tag(2))]);
        let both = Kick(CpuSet::first(2));
        let now = Instant(1_000_000);
        let called = b.tree.adjust_group(b.group, &rt(5_000, 2_500), now);
        assert_eq!(called, Ok(both));
    }

    #[test]
    fn who_asks_for_less_is_judged_by_the_end() {
        // One CPU is left for 2 x 600 and 200. It has 2 x 400 and 200; 400, 600 and 200 on the way there it has not.
        let mut b = Bench::new(&rt(5_000, 3_000));
        let _ = b.tree.free_pcpu(CpuId(1), Instant(0));
        let less = b.tree.adjust_group(b.group, &rt(5_000, 2_000), Instant(0));
        assert!(less.is_ok(), "{less:?}");
        let least = rt(10_000, 10);
        assert!(b.tree.alloc_vcpu(NodeId::ROOT, Tag(9), &least).is_err());
    }
}
