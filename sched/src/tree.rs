//! Groups: schedulers inside schedulers. A group competes in its parent with N virtual processors, each an ordinary entity
//! there, and runs a scheduler instance of its own over its members, for which the virtual processors are the CPUs.
//!
//! The root decides first at a tick; when it has chosen a virtual processor, that group decides, and so on down to a vCPU.
//! A virtual processor is runnable in its parent exactly while its group has work for it: a group's kick wakes it, a group
//! that finds nothing to run puts it to sleep. Time is charged at every level of the path by the same `pick_next`. Members
//! are addressed as [`Leaf`]s. Without groups every operation is one test and the root's own. An empty group's processors
//! sleep and cost nothing. Must never loop over members; the depth is bounded by [`DEPTH`].

use crate::error::{SchedError, in_range};
use crate::params::{SchedParams, VcpuParams};
use crate::scheduler::{
    BoostCause, DeboostCause, Ent, GuestHint, Kick, Pick, Scheduler, Stats, Tag, Totals, WakeReason,
};
use alloc::boxed::Box;
use alloc::vec::Vec;
use tarn_abi::{CpuId, CpuSet, Instant, MAX_CPUS, Span};

/// How deep groups nest, the root not counted.
pub const DEPTH: usize = 8;
/// Most groups of a pool.
pub const MAX_GROUPS: usize = 256;

/// A scheduler of the tree: 0 is the root (the pool's own), others are groups.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u16);

impl NodeId {
    /// The pool's own scheduler.
    pub const ROOT: NodeId = NodeId(0);
}

/// A vCPU: an entity of one of the schedulers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// Which scheduler.
    pub node: NodeId,
    /// Which of its entities.
    pub ent: Ent,
}

/// What the tag of a virtual processor has set.
const VP: u32 = 1 << 31;

pub(crate) const fn vp_tag(node: u16, vp: u16) -> Tag {
    Tag(VP | (node as u32) << 8 | vp as u32)
}

/// A virtual processor.
pub(crate) struct Vp {
    /// As an entity of the parent.
    pub(crate) ent: Ent,
    /// Runnable there.
    pub(crate) runnable: bool,
    /// The CPU it is on.
    pub(crate) cpu: Option<CpuId>,
    /// Its group thinks that it runs something.
    pub(crate) live: bool,
}

pub(crate) struct Group {
    pub(crate) parent: u16,
    depth: u8,
    pub(crate) params: VcpuParams,
    pub(crate) vps: Vec<Vp>,
    /// vCPUs and groups directly inside.
    members: u32,
    /// When its scheduler wants to be asked again though it has nothing to run, and for which processor.
    due: Option<(Instant, u16)>,
}

pub(crate) struct Node {
    sched: Box<dyn Scheduler>,
    /// `None` for the root.
    pub(crate) group: Option<Group>,
}

/// A chain of (group, virtual processor) from the root downwards.
#[derive(Clone, Copy, Default)]
struct Path {
    len: u8,
    at: [(u16, u16); DEPTH],
}

impl Path {
    fn steps(&self) -> &[(u16, u16)] {
        &self.at[..usize::from(self.len)]
    }
    fn push(&mut self, step: (u16, u16)) {
        self.at[usize::from(self.len)] = step;
        self.len += 1;
    }
    fn pop(&mut self) -> Option<(u16, u16)> {
        self.len = self.len.checked_sub(1)?;
        Some(self.at[usize::from(self.len)])
    }
    fn common(&self, o: &Path) -> usize {
        self.steps()
            .iter()
            .zip(o.steps())
            .take_while(|(a, b)| a == b)
            .count()
    }
}

/// Of a CPU: the path of the vCPU whose registers it holds, and the one chosen last.
#[derive(Clone, Copy, Default)]
struct Paths {
    loaded: Path,
    chosen: Path,
    /// The vCPU chosen last.
    last: Option<Tag>,
}

/// The schedulers of a pool.
pub struct Tree {
    pub(crate) root: Box<dyn Scheduler>,
    /// Groups; position 0 stays unused so that positions are `NodeId`s.
    pub(crate) nodes: Vec<Option<Node>>,
    paths: Vec<Paths>,
    groups: u32,
    /// The earliest of the groups' `due`.
    due: Option<Instant>,
}

/// What a group looks like from outside.
#[derive(Clone, Copy, Debug)]
pub struct GroupShape {
    /// The scheduler it is in.
    pub parent: NodeId,
    /// How many virtual processors it has.
    pub vps: u16,
    /// Their parameters in the parent.
    pub params: VcpuParams,
    /// vCPUs and groups directly inside.
    pub members: u32,
    /// The counters of its virtual processors in the parent.
    pub stats: Stats,
}

impl Tree {
    /// A tree of one scheduler.
    pub fn new(root: Box<dyn Scheduler>) -> Self {
        Tree {
            root,
            nodes: Vec::new(),
            paths: Vec::new(),
            groups: 0,
            due: None,
        }
    }

    #[inline]
    fn sched(&mut self, node: u16) -> &mut dyn Scheduler {
        if node == 0 {
            return &mut *self.root;
        }
        match self.nodes.get_mut(usize::from(node)) {
            Some(Some(n)) => &mut *n.sched,
            _ => gone(),
        }
    }

    pub(crate) fn group(&mut self, node: u16) -> &mut Group {
        match self.nodes.get_mut(usize::from(node)) {
            Some(Some(Node { group: Some(g), .. })) => g,
            _ => gone(),
        }
    }

    /// Whether there is such a scheduler.
    pub fn has(&self, node: NodeId) -> bool {
        node == NodeId::ROOT || matches!(self.nodes.get(usize::from(node.0)), Some(Some(_)))
    }

    /// Every group there is.
    pub fn groups(&self) -> impl Iterator<Item = NodeId> {
        self.nodes
            .iter()
            .enumerate()
            .filter(|(_, n)| n.is_some())
            .map(|(i, _)| NodeId(i as u16))
    }

    /// When a group wants to be asked again at the earliest.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

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

    /// A group's kick in terms of CPUs: sleeping virtual processors wake in their parent.
    fn translate(&mut self, node: u16, kick: Kick, boosted: bool, now: Instant) -> Kick {
        if node == 0 || kick.is_none() {
            return kick;
        }
        let parent = self.group(node).parent;
        let mut out = Kick::NONE;
        for c in kick.0.iter() {
            let Some(vp) = self.group(node).vps.get_mut(c.index()) else {
                continue;
            };
            let (ent, was, cpu) = (vp.ent, core::mem::replace(&mut vp.runnable, true), vp.cpu);
            if !was {
                let k = self.sched(parent).wake(ent, WakeReason::Kick, now);
                out = out.and(self.translate(parent, k, false, now));
            } else if let Some(c) = cpu {
                out = out.and(Kick::one(c));
            }
            if boosted {
                let k = self.sched(parent).boost(ent, BoostCause::Interrupt, now);
                let still = self.sched(parent).is_boosted(ent);
                out = out.and(self.translate(parent, k, still, now));
            }
        }
        out
    }

    fn carried(&mut self, l: Leaf, kick: Kick, now: Instant) -> Kick {
        if l.node == NodeId::ROOT {
            return kick;
        }
        let boosted = self.sched(l.node.0).is_boosted(l.ent);
        self.lift(l.node.0, kick, boosted, now)
    }

    /// The kick of a group in which a member may have been boosted. A processor that waits in the parent is not running in
    /// the eyes of its group, which therefore calls nobody: it is boosted there, and so on upwards while there is credit.
    fn lift(&mut self, node: u16, kick: Kick, boosted: bool, now: Instant) -> Kick {
        let mut out = self.translate(node, kick, boosted, now);
        if node == 0 || !boosted {
            return out;
        }
        let group = self.group(node);
        if let Some(vp) = group.vps.iter().find(|v| v.runnable && v.cpu.is_none()) {
            let (parent, ent) = (group.parent, vp.ent);
            let k = self.sched(parent).boost(ent, BoostCause::Interrupt, now);
            let still = self.sched(parent).is_boosted(ent);
            out = out.and(self.lift(parent, k, still, now));
        }
        out
    }

    // CPUs: the root's business.

    /// See `Scheduler`.
    pub fn alloc_pcpu(&mut self, cpu: CpuId) -> Result<(), SchedError> {
        self.root.alloc_pcpu(cpu)
    }
    /// See `Scheduler`.
    pub fn switch_sched(&mut self, cpu: CpuId, now: Instant) -> Kick {
        self.root.switch_sched(cpu, now)
    }
    /// See `Scheduler`.
    pub fn set_capacity(&mut self, cpu: CpuId, capacity: u16) {
        self.root.set_capacity(cpu, capacity);
    }
    /// See `Scheduler`.
    pub fn free_pcpu(&mut self, cpu: CpuId, now: Instant) -> Kick {
        self.root.free_pcpu(cpu, now)
    }
    /// See `Scheduler`.
    pub fn adjust(&mut self, p: &SchedParams, now: Instant) -> Result<(), SchedError> {
        self.root.adjust(p, now)
    }

    // vCPUs.

    /// See `Scheduler`; into `node`.
    pub fn alloc_vcpu(
        &mut self,
        node: NodeId,
        tag: Tag,
        p: &VcpuParams,
    ) -> Result<Leaf, SchedError> {
        if !self.has(node) {
            return Err(SchedError::Conflict("there is no such group"));
        }
        let mut p = *p;
        if node != NodeId::ROOT {
            // Inside a group the CPUs are virtual: affinity is the group's affair.
            p.affinity = CpuSet::ALL;
        }
        let ent = self.sched(node.0).alloc_vcpu(tag, &p)?;
        if node != NodeId::ROOT {
            self.group(node.0).members += 1;
        }
        Ok(Leaf { node, ent })
    }
    /// See `Scheduler`.
    pub fn free_vcpu(&mut self, l: Leaf) {
        self.sched(l.node.0).free_vcpu(l.ent);
        if l.node != NodeId::ROOT {
            self.group(l.node.0).members -= 1;
        }
    }
    /// See `Scheduler`.
    pub fn insert(&mut self, l: Leaf, runnable: bool, now: Instant) -> Kick {
        let k = self.sched(l.node.0).insert(l.ent, runnable, now);
        self.translate(l.node.0, k, false, now)
    }
    /// See `Scheduler`.
    pub fn remove(&mut self, l: Leaf, now: Instant) -> Kick {
        let k = self.sched(l.node.0).remove(l.ent, now);
        if l.node != NodeId::ROOT {
            self.sweep(l.node.0, now);
        }
        self.translate(l.node.0, k, false, now)
    }
    /// See `Scheduler`.
    pub fn adjust_vcpu(
        &mut self,
        l: Leaf,
        p: &VcpuParams,
        now: Instant,
    ) -> Result<Kick, SchedError> {
        let mut p = *p;
        if l.node != NodeId::ROOT {
            p.affinity = CpuSet::ALL;
        }
        let k = self.sched(l.node.0).adjust_vcpu(l.ent, &p, now)?;
        Ok(self.translate(l.node.0, k, false, now))
    }
    /// See `Scheduler`.
    #[inline]
    pub fn sleep(&mut self, l: Leaf, now: Instant) {
        self.sched(l.node.0).sleep(l.ent, now);
        if l.node != NodeId::ROOT {
            self.sweep(l.node.0, now);
        }
    }
    /// See `Scheduler`.
    #[inline]
    pub fn wake(&mut self, l: Leaf, why: WakeReason, now: Instant) -> Kick {
        let k = self.sched(l.node.0).wake(l.ent, why, now);
        self.carried(l, k, now)
    }
    /// See `Scheduler`; without groups only.
    #[inline]
    pub fn doze(&mut self, l: Leaf, cpu: CpuId, now: Instant) -> bool {
        self.groups == 0 && self.root.doze(l.ent, cpu, now)
    }
    /// See `Scheduler`; without groups only.
    #[inline]
    pub fn rouse(&mut self, l: Leaf, cpu: CpuId, why: WakeReason, now: Instant) -> bool {
        self.groups == 0 && self.root.rouse(l.ent, cpu, why, now)
    }
    /// See `Scheduler`.
    #[inline]
    pub fn notify(&mut self, l: Leaf, why: WakeReason, now: Instant) -> Kick {
        let k = self.sched(l.node.0).notify(l.ent, why, now);
        self.carried(l, k, now)
    }
    /// See `Scheduler`. Others outside its group go first, too.
    pub fn yield_now(&mut self, l: Leaf, cpu: Option<CpuId>, now: Instant) {
        self.sched(l.node.0).yield_now(l.ent, now);
        if let (true, Some(cpu)) = (l.node != NodeId::ROOT, cpu) {
            let path = self.paths[cpu.index()].loaded;
            for &(g, vp) in path.steps() {
                let (parent, ent) = (self.group(g).parent, self.group(g).vps[usize::from(vp)].ent);
                self.sched(parent).yield_now(ent, now);
            }
        }
    }
    /// See `Scheduler`.
    pub fn deboost(&mut self, l: Leaf, why: DeboostCause, now: Instant) -> Kick {
        let k = self.sched(l.node.0).deboost(l.ent, why, now);
        self.translate(l.node.0, k, false, now)
    }
    /// See `Scheduler`; time of the hypervisor counts at the vCPU's own level.
    pub fn charge(&mut self, l: Leaf, cost: Span, now: Instant) {
        self.sched(l.node.0).charge(l.ent, cost, now);
    }
    /// See `Scheduler`.
    pub fn refund(&mut self, l: Leaf, cost: Span, now: Instant) {
        self.sched(l.node.0).refund(l.ent, cost, now);
    }
    /// See `Scheduler`.
    pub fn is_boosted(&mut self, l: Leaf) -> bool {
        self.sched(l.node.0).is_boosted(l.ent)
    }
    /// See `Scheduler`.
    pub fn stats(&mut self, l: Leaf) -> Stats {
        self.sched(l.node.0).stats(l.ent)
    }
    /// Counters of all schedulers of the tree together.
    pub fn totals(&self) -> Totals {
        let mut t = self.root.totals();
        for n in self.nodes.iter().flatten() {
            let o = n.sched.totals();
            t.switches += o.switches;
            t.resets += o.resets;
            t.touched += o.touched;
        }
        t
    }
    /// See `Scheduler`.
    pub fn check(&self) -> Result<(), &'static str> {
        self.root.check()?;
        self.nodes
            .iter()
            .flatten()
            .try_for_each(|n| n.sched.check())
    }

    /// Decides for `cpu`: the root first, then the groups on the way down.
    #[inline]
    pub fn pick_next(&mut self, cpu: CpuId, hint: GuestHint, now: Instant) -> Pick {
        if self.groups == 0 {
            return self.root.pick_next(cpu, hint, now);
        }
        self.descend(cpu, hint, now)
    }

    fn descend(&mut self, cpu: CpuId, hint: GuestHint, now: Instant) -> Pick {
        let mut kick = self.ask_due(now);
        let mut news = None;
        let loaded = self.paths[cpu.index()].loaded;
        let mut path = Path::default();
        let mut untils: [Option<Instant>; DEPTH + 1] = [None; DEPTH + 1];
        let (mut node, mut local) = (0u16, cpu);
        let next = loop {
            let level = usize::from(path.len);
            let same = loaded.common(&path) == level;
            let outside = GuestHint {
                must_idle: hint.must_idle && node == 0,
                ..GuestHint::default()
            };
            let pick = self
                .sched(node)
                .pick_next(local, if same { hint } else { outside }, now);
            untils[level] = pick.until;
            // A virtual processor is nobody an operator knows.
            news = news.or(pick.news.filter(|(tag, _)| tag.0 & VP == 0));
            kick = kick.and(self.translate(node, pick.kick, false, now));
            match pick.next {
                Some(t) if t.0 & VP == 0 => {
                    let goes_on =
                        self.paths[cpu.index()].last == Some(t) && loaded.steps() == path.steps();
                    let claims = goes_on && (hint.dont_desched || hint.irqs_masked);
                    kick = kick.and(self.arrived(&path, claims, now));
                    break Some(t);
                }
                Some(t) => {
                    let step = ((t.0 >> 8) as u16 & 0x7fff, t.0 as u16 & 0xff);
                    path.push(step);
                    self.group(step.0).vps[usize::from(step.1)].cpu = Some(cpu);
                    (node, local) = (step.0, CpuId(step.1));
                }
                None => {
                    let Some((g, i)) = path.pop() else { break None };
                    // The group has no work for this processor: it sleeps, and its parent decides again.
                    let held = loaded.steps().get(usize::from(path.len)) == Some(&(g, i))
                        && loaded.common(&path) == usize::from(path.len);
                    let group = self.group(g);
                    let parent = group.parent;
                    if let Some(t) = pick.until {
                        group.due = Some((t, i));
                        self.due = Some(self.due.map_or(t, |d| d.min(t)));
                    }
                    let group = self.group(g);
                    let vp = &mut group.vps[usize::from(i)];
                    vp.live = false;
                    vp.runnable = false;
                    let ent = vp.ent;
                    if !held {
                        vp.cpu = None;
                    }
                    self.sched(parent).sleep(ent, now);
                    if !held {
                        let k = self.sched(parent).context_saved(ent, now);
                        kick = kick.and(self.translate(parent, k, false, now));
                    }
                    node = parent;
                    local = path.steps().last().map_or(cpu, |s| CpuId(s.1));
                }
            }
        };
        // Whoever was running down a branch that is left stops there.
        for &(g, i) in loaded.steps().iter().skip(loaded.common(&path)) {
            if core::mem::replace(&mut self.group(g).vps[usize::from(i)].live, false) {
                let stop = GuestHint {
                    must_idle: true,
                    ..GuestHint::default()
                };
                let stopped = self.sched(g).pick_next(CpuId(i), stop, now);
                kick = kick.and(self.translate(g, stopped.kick, false, now));
            }
        }
        let p = &mut self.paths[cpu.index()];
        p.chosen = path;
        p.last = next;
        if p.loaded.len == 0 {
            p.loaded = path;
        }
        let levels = usize::from(path.len) + 1;
        let until = untils[..levels]
            .iter()
            .flatten()
            .chain(self.due.iter())
            .min()
            .copied();
        Pick {
            next,
            until,
            kick,
            news,
        }
    }

    /// Every processor on the path has something to run. Others of those groups may have lost theirs to it, and a
    /// processor must not go on in front of others for a boost that nobody below it has. `claims`: the vCPU goes on and
    /// its guest itself asks to be left alone, for which a processor may have been boosted in this very decision.
    fn arrived(&mut self, path: &Path, claims: bool, now: Instant) -> Kick {
        let mut kick = Kick::NONE;
        for &(g, i) in path.steps().iter().rev() {
            self.group(g).vps[usize::from(i)].live = true;
            self.sweep(g, now);
            let group = self.group(g);
            let (parent, ent) = (group.parent, group.vps[usize::from(i)].ent);
            if !claims && self.sched(parent).is_boosted(ent) && !self.sched(g).urgent(CpuId(i)) {
                let k = self.sched(parent).deboost(ent, DeboostCause::Asked, now);
                kick = kick.and(self.translate(parent, k, false, now));
            }
        }
        kick
    }

    /// Processors of a group that wait in the parent though the group has nothing for them go to sleep.
    fn sweep(&mut self, node: u16, now: Instant) {
        for i in 0..self.group(node).vps.len() {
            let group = self.group(node);
            let (parent, vp) = (group.parent, &mut group.vps[i]);
            if !vp.runnable || vp.cpu.is_some() {
                continue;
            }
            let ent = vp.ent;
            let cpu = CpuId(i as u16);
            if self.sched(node).has_work(cpu, now) {
                continue;
            }
            // Its scheduler learns that it is idle: it calls it when there is work again.
            let pick = self.sched(node).pick_next(cpu, GuestHint::default(), now);
            debug_assert!(pick.next.is_none(), "there was no work for it");
            let vp = &mut self.group(node).vps[i];
            vp.runnable = false;
            self.sched(parent).sleep(ent, now);
        }
    }

    /// Groups that wanted to be asked again by now: their processor gets to run, and they decide then.
    fn ask_due(&mut self, now: Instant) -> Kick {
        if self.due.is_none_or(|t| t > now) {
            return Kick::NONE;
        }
        let mut kick = Kick::NONE;
        let mut next: Option<Instant> = None;
        for i in 1..self.nodes.len() {
            if self.nodes[i].is_none() {
                continue;
            }
            match self.group(i as u16).due {
                Some((t, vp)) if t <= now => {
                    self.group(i as u16).due = None;
                    kick = kick.and(self.translate(i as u16, Kick::one(CpuId(vp)), false, now));
                }
                Some((t, _)) => next = Some(next.map_or(t, |n| n.min(t))),
                None => {}
            }
        }
        self.due = next;
        kick
    }

    /// The registers of `l`, which were in `cpu`, are in memory. Leaves the branch it was on.
    #[inline]
    pub fn context_saved(&mut self, l: Leaf, cpu: CpuId, now: Instant) -> Kick {
        let k = self.sched(l.node.0).context_saved(l.ent, now);
        if self.groups == 0 {
            return k;
        }
        let mut kick = self.carried(l, k, now);
        let Paths { loaded, chosen, .. } = self.paths[cpu.index()];
        for &(g, i) in loaded.steps().iter().skip(loaded.common(&chosen)).rev() {
            let group = self.group(g);
            let parent = group.parent;
            let vp = &mut group.vps[usize::from(i)];
            vp.cpu = None;
            let ent = vp.ent;
            let k = self.sched(parent).context_saved(ent, now);
            kick = kick.and(self.translate(parent, k, false, now));
        }
        self.paths[cpu.index()].loaded = chosen;
        kick
    }
}

#[cold]
fn gone() -> ! {
    panic!("scheduling group used after it was removed")
}
