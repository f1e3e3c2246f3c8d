//! Groups: schedulers inside schedulers. A group competes in its parent with N virtual processors, each an ordinary entity
//! there, and runs a scheduler instance of its own over its members, for which the virtual processors are the CPUs.
//!
//! The root decides first at a tick; when it has chosen a virtual processor, that group decides, and so on down to a vCPU.
//! A virtual processor is runnable in its parent exactly while its group has work for it: a group's kick wakes it, a group
//! that finds nothing to run puts it to sleep. Time is charged at every level of the path by the same `pick_next`. Members
//! are addressed as [`Leaf`]s. Without groups every operation is one test and the root's own. An empty group's processors
//! sleep and cost nothing. Must never loop over members; the depth is bounded by [`DEPTH`].

mod dues;
mod groups;
mod pick;

use crate::error::{SchedError, in_range};
use crate::mutant::{Mutant, broken};
use crate::params::{SchedParams, VcpuParams};
use crate::scheduler::{
    BoostCause, DeboostCause, Ent, GuestHint, Kick, Pick, Scheduler, Stats, Tag, Totals, WakeReason,
};
use alloc::boxed::Box;
use alloc::vec::Vec;
use dues::Dues;
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
    pub(crate) depth: u8,
    pub(crate) params: VcpuParams,
    pub(crate) vps: Vec<Vp>,
    /// vCPUs and groups directly inside.
    members: u32,
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
    /// What schedulers that are no more have counted.
    pub(crate) past: Totals,
    /// The root's.
    cpus: CpuSet,
    /// When something is due in the scheduler of a group for which none of its processors has a timer.
    dues: Dues,
    /// The first of them has become earlier, and no CPU has decided since: nobody has a timer for it.
    unarmed: bool,
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
    /// When the first of them came there (see `Scheduler::came`), the others right behind it.
    pub came: u64,
}

impl Tree {
    /// A tree of one scheduler.
    pub fn new(root: Box<dyn Scheduler>) -> Self {
        Tree {
            root,
            nodes: Vec::new(),
            paths: Vec::new(),
            groups: 0,
            past: Totals::default(),
            cpus: CpuSet::EMPTY,
            dues: Dues::default(),
            unarmed: false,
        }
    }

    #[inline]
    pub(crate) fn sched(&mut self, node: u16) -> &mut dyn Scheduler {
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
        self.dues.first().map(|(_, t)| t)
    }

    /// Whether a group wants to be asked again before any CPU will come by for that: one must be called. Says so once.
    pub fn unarmed(&mut self) -> bool {
        core::mem::take(&mut self.unarmed)
    }

    /// A processor of the group that may have had a timer for what is due in it stops, or cannot come to set one.
    fn wants(&mut self, node: u16) {
        match self.sched(node).due() {
            Some(t) => {
                self.unarmed |= self.due().is_none_or(|first| t < first);
                self.dues.set(node, t);
            }
            None => self.dues.clear(node),
        }
    }

    /// The CPUs that an operation calls; if it calls nobody and something in a group has become due earlier, one that sets its
    /// timer to that.
    fn armed(&mut self, kick: Kick) -> Kick {
        match self.cpus.lowest() {
            Some(c) if kick.is_none() && self.unarmed => {
                self.unarmed = false;
                Kick::one(c)
            }
            _ => kick,
        }
    }

    /// A processor of the group has been called that its parent lets nobody run on for now, as with a spent budget: one
    /// that sleeps and may run takes its place. If there is none, those that run must share their time, and those that
    /// sleep wait with it for what the parent gives first: the budget of one may come before that of another.
    fn substitute(&mut self, node: u16, now: Instant) -> Kick {
        if let Some(kick) = self.stand_in(node, now) {
            return kick;
        }
        self.wants(node);
        let mut kick = Kick::NONE;
        for i in 0..self.group(node).vps.len() {
            let busy = self.group(node).vps[i].cpu;
            kick = kick.and(busy.map_or(Kick::NONE, Kick::one));
            if self.could_rise(node, i, now).is_some() {
                kick = kick.and(self.rise(node, i, now));
            }
        }
        kick
    }

    /// A processor of the group that sleeps, could run who waits and may in the parent wakes there. `None`: there is none.
    fn stand_in(&mut self, node: u16, now: Instant) -> Option<Kick> {
        let parent = self.group(node).parent;
        let at = (0..self.group(node).vps.len()).find(|&i| {
            self.could_rise(node, i, now)
                .is_some_and(|ent| self.sched(parent).serves(ent, now))
        })?;
        Some(self.rise(node, at, now))
    }

    /// The processor in the parent, if it sleeps and somebody waits whom it could run.
    fn could_rise(&mut self, node: u16, at: usize, now: Instant) -> Option<Ent> {
        let vp = &self.group(node).vps[at];
        let (ent, sleeps) = (vp.ent, !vp.runnable);
        (sleeps && self.sched(node).has_work(CpuId(at as u16), now)).then_some(ent)
    }

    /// A processor of the group that sleeps wakes in the parent.
    fn rise(&mut self, node: u16, at: usize, now: Instant) -> Kick {
        let group = self.group(node);
        let (parent, vp) = (group.parent, &mut group.vps[at]);
        vp.runnable = true;
        let ent = vp.ent;
        let k = self.sched(parent).wake(ent, WakeReason::Kick, now);
        let out = self.translate(parent, k, None, now);
        if k.is_none() {
            out.and(self.hurry(node))
        } else {
            out
        }
    }

    /// Places of `node` have changed hands. A processor of a group there that was called for somebody's sake may have lost
    /// its place, or one that sleeps may have got the place that it stands in line for. (One that is called but runs nobody
    /// yet may be held by a CPU all the same, from before it slept: that CPU now lets go of it without a look at the group.)
    fn relieve(&mut self, node: u16, now: Instant) -> Kick {
        let mut kick = Kick::NONE;
        for i in 1..self.nodes.len() as u16 {
            if !self.has(NodeId(i)) || self.group(i).parent != node {
                continue;
            }
            let stuck = |tree: &mut Tree, at: usize| {
                let v = &tree.group(i).vps[at];
                let (ent, waits) = (v.ent, v.runnable && !v.live);
                let cpu = CpuId(at as u16);
                waits
                    && !tree.sched(node).serves(ent, now)
                    && (tree.sched(i).has_work(cpu, now) || tree.sched(i).due().is_some())
            };
            if (0..self.group(i).vps.len()).any(|at| stuck(self, at)) {
                kick = kick.and(self.substitute(i, now));
            }
        }
        kick
    }

    /// A group's kick in terms of CPUs: sleeping virtual processors wake in their parent.
    fn translate(
        &mut self,
        node: u16,
        kick: Kick,
        boosted: Option<BoostCause>,
        now: Instant,
    ) -> Kick {
        if node == 0 || kick.is_none() {
            return kick;
        }
        let parent = self.group(node).parent;
        let (mut out, mut late) = (Kick::NONE, false);
        for c in kick.0.iter() {
            let Some(vp) = self.group(node).vps.get(c.index()) else {
                continue;
            };
            let (ent, was, cpu) = (vp.ent, vp.runnable, vp.cpu);
            if !was && broken(Mutant::GroupKickLost) {
                continue;
            }
            if !was {
                out = out.and(self.rise(node, c.index(), now));
            } else if let Some(c) = cpu {
                out = out.and(Kick::one(c));
            } else {
                late = true;
            }
            if !self.sched(parent).serves(ent, now) {
                out = out.and(self.substitute(node, now));
            }
            if let Some(why) = boosted {
                let k = self.sched(parent).boost(ent, why, now);
                let still = self.sched(parent).is_boosted(ent).then_some(why);
                out = out.and(self.translate(parent, k, still, now));
                if let Some(cpu) = cpu {
                    out = out.and(self.arm_above(parent, cpu, why, now));
                }
            }
        }
        if late { out.and(self.hurry(node)) } else { out }
    }

    /// The processor of `node` that has this CPU is armed in its parent, and so are those above it, on which that depends.
    fn arm_above(&mut self, node: u16, cpu: CpuId, why: BoostCause, now: Instant) -> Kick {
        let Paths { loaded, chosen, .. } = self.paths[cpu.index()];
        let leads = |p: &Path| p.steps().iter().position(|&(g, _)| g == node);
        let (path, n) = match (leads(&chosen), leads(&loaded)) {
            (Some(n), _) => (chosen, n),
            (None, Some(n)) => (loaded, n),
            (None, None) => return Kick::NONE,
        };
        let mut kick = Kick::NONE;
        for &(g, i) in &path.steps()[..=n] {
            let group = self.group(g);
            let (parent, ent) = (group.parent, group.vps[usize::from(i)].ent);
            let k = self.sched(parent).boost(ent, why, now);
            kick = kick.and(self.translate(parent, k, None, now));
        }
        kick
    }

    /// A processor of the group has been called that its parent has no CPU for now: a sister that runs somebody who would
    /// give way to who waits comes by at once, and one that would give way to who waits for a period comes when it begins.
    fn hurry(&mut self, node: u16) -> Kick {
        self.wants(node);
        let mut kick = Kick::NONE;
        for i in 0..self.group(node).vps.len() {
            if let Some(c) = self.group(node).vps[i].cpu
                && self.sched(node).gives_way(CpuId(i as u16))
            {
                kick = kick.and(Kick::one(c));
            }
        }
        kick
    }

    fn carried(&mut self, l: Leaf, kick: Kick, woken: bool, now: Instant) -> Kick {
        if l.node == NodeId::ROOT {
            return kick;
        }
        let sched = self.sched(l.node.0);
        let boosted = sched.is_boosted(l.ent);
        let armed = woken && !boosted && sched.is_armed(l.ent);
        let why = if sched.is_regular(l.ent) {
            BoostCause::Regular
        } else {
            BoostCause::Interrupt
        };
        let why = (boosted || armed).then_some(why);
        let kick = self.lift(l.node.0, kick, why, armed, now);
        self.armed(kick)
    }

    /// The kick of a group in which a member may have been boosted. A processor that waits in the parent is not running in
    /// the eyes of its group, which therefore calls nobody: it is boosted there, and so on upwards while there is credit.
    /// `armed`: the member was not boosted, since a processor sleeps. It is that one that is boosted in the parent, or none.
    fn lift(
        &mut self,
        node: u16,
        kick: Kick,
        boosted: Option<BoostCause>,
        armed: bool,
        now: Instant,
    ) -> Kick {
        let mut out = self.translate(node, kick, boosted, now);
        let Some(why) = boosted.filter(|_| node != 0) else {
            return out;
        };
        let group = self.group(node);
        let waits = |v: &Vp| v.runnable && v.cpu.is_none();
        let mut called = kick.0.iter().filter_map(|c| group.vps.get(c.index()));
        let vp = match called.find(|v| waits(v)) {
            None if !armed => group.vps.iter().find(|v| waits(v)),
            vp => vp,
        };
        if let Some(vp) = vp {
            let (parent, ent) = (group.parent, vp.ent);
            let k = self.sched(parent).boost(ent, why, now);
            let still = self.sched(parent).is_boosted(ent).then_some(why);
            return out.and(self.lift(parent, k, still, false, now));
        }
        if !armed {
            // All that could are on CPUs, and must not lose them now.
            for i in 0..self.group(node).vps.len() {
                if let Some(cpu) = self.group(node).vps[i].cpu {
                    out = out.and(self.arm_above(node, cpu, why, now));
                }
            }
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
        self.cpus.insert(cpu);
        self.supply_all();
        let kick = self.root.switch_sched(cpu, now);
        kick.and(self.relieve(0, now))
    }
    /// See `Scheduler`.
    pub fn set_capacity(&mut self, cpu: CpuId, capacity: u16) {
        self.root.set_capacity(cpu, capacity);
    }
    /// See `Scheduler`.
    pub fn free_pcpu(&mut self, cpu: CpuId, now: Instant) -> Kick {
        self.cpus.remove(cpu);
        self.supply_all();
        let kick = self.root.free_pcpu(cpu, now);
        let kick = kick.and(self.relieve(0, now));
        self.armed(kick)
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
            (p.affinity, p.soft) = (CpuSet::ALL, CpuSet::ALL);
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
        let k = self.translate(l.node.0, k, None, now);
        if runnable { self.armed(k) } else { k }
    }
    /// See `Scheduler`.
    pub fn remove(&mut self, l: Leaf, now: Instant) -> Kick {
        let k = self.sched(l.node.0).remove(l.ent, now);
        if l.node != NodeId::ROOT {
            let _ = self.sweep(l.node.0, now);
        }
        let k = self.translate(l.node.0, k, None, now);
        let k = k.and(self.relieve(l.node.0, now));
        self.armed(k)
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
            (p.affinity, p.soft) = (CpuSet::ALL, CpuSet::ALL);
        }
        let k = self.sched(l.node.0).adjust_vcpu(l.ent, &p, now)?;
        let k = self.translate(l.node.0, k, None, now);
        let k = k.and(self.relieve(l.node.0, now));
        Ok(self.armed(k))
    }
    /// See `Scheduler`.
    #[inline]
    pub fn sleep(&mut self, l: Leaf, now: Instant) {
        self.sched(l.node.0).sleep(l.ent, now);
        if l.node != NodeId::ROOT {
            let _ = self.sweep(l.node.0, now);
        }
    }
    /// See `Scheduler`.
    #[inline]
    pub fn wake(&mut self, l: Leaf, why: WakeReason, now: Instant) -> Kick {
        let k = self.sched(l.node.0).wake(l.ent, why, now);
        self.carried(l, k, true, now)
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
        let was = l.node != NodeId::ROOT && self.is_boosted(l);
        let k = self.sched(l.node.0).notify(l.ent, why, now);
        if was {
            // What a boost of it could do has been done: it may even run, and another processor of its group wait.
            return self.translate(l.node.0, k, None, now);
        }
        self.carried(l, k, false, now)
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
        self.translate(l.node.0, k, None, now)
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
    /// See `Scheduler`; all of `wanted` are of `node`.
    pub fn admits(&mut self, node: NodeId, wanted: &[(Ent, VcpuParams)]) -> Result<(), SchedError> {
        self.sched(node.0).admits(&CpuSet::EMPTY, wanted)
    }
    /// See `Scheduler`.
    pub fn promise(&mut self, l: Leaf, p: &VcpuParams) {
        self.sched(l.node.0).promise(l.ent, p);
    }
    /// Whether a vCPU stays without a CPU (see `Scheduler`), by its own scheduler or because its group does with all of
    /// its processors. `inside`: not counting the pool's own scheduler.
    pub fn is_stranded(&mut self, l: Leaf, inside: bool) -> bool {
        let (mut node, mut stranded) = (l.node.0, !inside || l.node != NodeId::ROOT);
        stranded = stranded && self.sched(node).is_stranded(l.ent);
        while node != 0 && !stranded {
            let parent = self.group(node).parent;
            stranded = (!inside || parent != 0)
                && (0..self.group(node).vps.len()).all(|i| {
                    let ent = self.group(node).vps[i].ent;
                    self.sched(parent).is_stranded(ent)
                });
            node = parent;
        }
        stranded
    }
    /// See `Scheduler`.
    pub fn came(&mut self, l: Leaf) -> u64 {
        self.sched(l.node.0).came(l.ent)
    }
    /// Counters of all schedulers of the tree, and of those that it had, together.
    pub fn totals(&self) -> Totals {
        let mut t = self.past;
        t.add(&self.root.totals());
        for n in self.nodes.iter().flatten() {
            t.add(&n.sched.totals());
        }
        t
    }
    /// See `Scheduler`. And no group has somebody waiting while all its processors sleep.
    pub fn check(&self, now: Instant) -> Result<(), &'static str> {
        self.root.check()?;
        self.dues.check()?;
        for (i, n) in self.nodes.iter().enumerate() {
            let Some(n) = n else { continue };
            n.sched.check()?;
            let Some(g) = &n.group else { continue };
            let parent = match g.parent {
                0 => &*self.root,
                p => match &self.nodes[usize::from(p)] {
                    Some(n) => &*n.sched,
                    None => return Err("a group's parent is gone"),
                },
            };
            let vps = || (0..g.vps.len() as u16).map(CpuId);
            // (Whose period only begins later does not wait yet: the beginning of time.)
            let waits = vps().any(|c| n.sched.has_work(c, Instant(0)));
            let comes =
                |v: &Vp| v.live || (v.runnable && (v.cpu.is_some() || parent.serves(v.ent, now)));
            if let Some(t) = n.sched.due()
                && self.dues.of(i as u16).is_none_or(|d| d > t)
                && !g.vps.iter().any(comes)
                && g.vps.iter().any(|v| !v.runnable)
            {
                return Err("nobody comes by when something is due in a group");
            }
            if waits && g.vps.iter().all(|v| !v.runnable) {
                return Err("somebody waits in a group whose processors all sleep");
            }
            let may = |v: &Vp| parent.serves(v.ent, now);
            let comes = |v: &Vp| v.runnable && !v.live && (v.cpu.is_some() || may(v));
            let could =
                |(v, c): (&Vp, CpuId)| !v.runnable && may(v) && n.sched.has_work(c, Instant(0));
            if g.vps.iter().zip(vps()).any(could) && !g.vps.iter().any(comes) {
                return Err("a processor that could run who waits sleeps, and no other comes");
            }
            if g.vps.iter().any(|v| v.live && !v.runnable) {
                return Err("a processor that runs somebody sleeps in its parent");
            }
        }
        Ok(())
    }
}

#[cold]
fn gone() -> ! {
    panic!("scheduling group used after it was removed")
}

#[cfg(test)]
mod tests;
