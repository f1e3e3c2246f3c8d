//! A tree that can write down what it is asked and what it answers.
//!
//! Everything a pool does to its schedulers passes here. With recording off each operation is one test of a pointer more;
//! with it on each leaves one [`Record`] (those with parameters up to three) in a ring that keeps the latest. A ring that
//! has not overflowed since the pool was made replays: `apply` does again what a record says, and a tree that is the same
//! writes the same record. Must never change a decision.

use crate::error::SchedError;
use crate::exchange::Root;
use crate::params::{BoostParams, RtParams, SchedParams, VcpuParams};
use crate::registry;
use crate::scheduler::{
    DeboostCause, Ent, GuestHint, Kick, Pick, Scheduler, Stats, Tag, Totals, WakeReason,
};
use crate::tree::{GroupShape, Leaf, NodeId, Tree};
use alloc::boxed::Box;
use alloc::vec::Vec;
use tarn_abi::trace::{NEVER, Op, Record};
use tarn_abi::{CpuId, CpuSet, Instant, SchedId, Span};

/// In a `Charge`: the other way round.
const REFUND: u64 = 1;
/// Most records a ring keeps (48 bytes each).
pub const MAX_RECORDS: u32 = 1 << 20;

/// A ring of records.
pub struct Recorder {
    ring: Vec<Record>,
    capacity: usize,
    next: u64,
    frozen: bool,
}

impl Recorder {
    /// One that keeps the latest `entries`; gets all its memory now.
    pub fn new(entries: u32) -> Result<Recorder, SchedError> {
        crate::error::in_range("records", entries.into(), 1, MAX_RECORDS.into())?;
        let capacity = entries as usize;
        let mut ring = Vec::new();
        ring.try_reserve_exact(capacity)
            .map_err(|_| SchedError::NoMemory)?;
        Ok(Recorder {
            ring,
            capacity,
            next: 0,
            frozen: false,
        })
    }

    fn push(&mut self, r: Record) {
        if self.frozen {
            return;
        }
        if self.ring.len() < self.capacity {
            self.ring.push(r);
        } else {
            self.ring[(self.next % self.capacity as u64) as usize] = r;
        }
        self.next += 1;
    }

    /// How many records there have been.
    pub fn written(&self) -> u64 {
        self.next
    }

    /// The number of the oldest that is still there.
    pub fn oldest(&self) -> u64 {
        self.next - self.ring.len() as u64
    }

    /// Record number `n` (from 0), if it is there (still or already).
    pub fn get(&self, n: u64) -> Option<&Record> {
        if n < self.oldest() || n >= self.next {
            return None;
        }
        self.ring.get((n % self.capacity as u64) as usize)
    }
}

/// The schedulers of a pool, recorded or not.
pub struct Recorded {
    tree: Tree,
    rec: Option<Box<Recorder>>,
}

fn of(op: Op, l: Leaf, now: Instant) -> Record {
    Record::new(op, now).who(l.node.0, l.ent.0)
}

fn reason(why: WakeReason) -> u64 {
    match why {
        WakeReason::Interrupt { line } => u64::from(line) << 8,
        WakeReason::Timer => 1,
        WakeReason::Kick => 2,
        WakeReason::Unpause => 3,
    }
}

fn reason_of(word: u64) -> Option<WakeReason> {
    Some(match word & 0xff {
        0 => WakeReason::Interrupt {
            line: (word >> 8) as u16,
        },
        1 => WakeReason::Timer,
        2 => WakeReason::Kick,
        3 => WakeReason::Unpause,
        _ => return None,
    })
}

fn cause_of(word: u64) -> Option<DeboostCause> {
    Some(match word {
        0 => DeboostCause::HandlerReturned,
        1 => DeboostCause::Unmasked,
        2 => DeboostCause::Asked,
        _ => return None,
    })
}

/// A scheduler's parameters; all spans are below 2^32 ns (`SchedParams::check`).
fn parameters(op: Op, kind: SchedId, p: &SchedParams, now: Instant) -> Record {
    let two = |a: Span, b: Span| a.0 & 0xffff_ffff | b.0 << 32;
    let mut r = Record::new(op, now)
        .who(kind.0.into(), p.boost.into())
        .with(two(p.slice, p.ratelimit), two(p.grant, p.carry));
    r.0[4] = two(p.resistance, p.min_slice);
    r.0[5] = two(p.max_slice, p.switch_cost);
    r
}

fn parameters_of(r: &Record) -> SchedParams {
    let low = |w: u64| Span(w & 0xffff_ffff);
    let high = |w: u64| Span(w >> 32);
    SchedParams {
        slice: low(r.0[2]),
        ratelimit: high(r.0[2]),
        grant: low(r.0[3]),
        carry: high(r.0[3]),
        resistance: low(r.0[4]),
        boost: r.ent() != 0,
        min_slice: high(r.0[4]),
        max_slice: low(r.0[5]),
        switch_cost: high(r.0[5]),
    }
}

fn entity(p: &VcpuParams, now: Instant) -> [Record; 2] {
    let mut more = Record::new(Op::EntityMore, now).with(p.boost.limit.0, p.rt.period.0);
    more.0[4] = p.rt.budget.0;
    [
        Record::new(Op::Entity, now)
            .with(
                u64::from(p.weight) | u64::from(p.boost.ratio) << 32,
                p.boost.interval.0,
            )
            .kicking(p.affinity),
        more,
    ]
}

fn entity_of(a: &Record, b: &Record, soft: Option<&Record>) -> VcpuParams {
    VcpuParams {
        weight: a.0[2] as u32,
        affinity: a.kicked(),
        soft: soft.map_or(CpuSet::ALL, Record::kicked),
        boost: BoostParams {
            ratio: (a.0[2] >> 32) as u16,
            interval: Span(a.0[3]),
            limit: Span(b.0[2]),
        },
        rt: RtParams {
            period: Span(b.0[3]),
            budget: Span(b.0[4]),
        },
    }
}

fn hint_bits(h: GuestHint) -> u64 {
    u64::from(h.irqs_masked)
        | u64::from(h.dont_desched) << 1
        | u64::from(h.enlightened) << 2
        | u64::from(h.must_idle) << 3
}

fn hint_of(bits: u64) -> GuestHint {
    GuestHint {
        irqs_masked: bits & 1 != 0,
        dont_desched: bits & 2 != 0,
        enlightened: bits & 4 != 0,
        must_idle: bits & 8 != 0,
    }
}

impl Recorded {
    /// A tree of one scheduler, not recorded.
    pub fn new(root: Box<dyn Scheduler>) -> Recorded {
        Recorded {
            tree: Tree::new(root),
            rec: None,
        }
    }

    /// From now on into `rec`, which is given back when another takes its place; `None` = no more. A recording that is to
    /// replay begins before anything else has happened, with the kind and parameters of the pool's scheduler.
    pub fn record(
        &mut self,
        rec: Option<Box<Recorder>>,
        begin: Option<(SchedId, &SchedParams)>,
        now: Instant,
    ) -> Option<Box<Recorder>> {
        let old = core::mem::replace(&mut self.rec, rec);
        if let Some((kind, p)) = begin {
            self.note(|| parameters(Op::Begin, kind, p, now));
        }
        old
    }

    /// Keeps the recording as it is.
    pub fn freeze(&mut self) {
        if let Some(rec) = &mut self.rec {
            rec.frozen = true;
        }
    }

    /// The recording, if there is one.
    pub fn recorder(&self) -> Option<&Recorder> {
        self.rec.as_deref()
    }

    #[inline]
    fn note(&mut self, r: impl FnOnce() -> Record) {
        if let Some(rec) = &mut self.rec {
            rec.push(r());
        }
    }

    fn note_entity(&mut self, p: &VcpuParams, now: Instant) {
        if self.rec.is_some() {
            if p.soft != CpuSet::ALL {
                self.note(|| Record::new(Op::EntitySoft, now).kicking(p.soft));
            }
            for r in entity(p, now) {
                self.note(|| r);
            }
        }
    }

    /// Whether there is such a scheduler.
    pub fn has(&self, node: NodeId) -> bool {
        self.tree.has(node)
    }
    /// See `Tree`.
    pub fn groups(&self) -> impl Iterator<Item = NodeId> {
        self.tree.groups()
    }
    /// See `Tree`.
    #[inline]
    pub fn due(&self) -> Option<Instant> {
        self.tree.due()
    }
    /// See `Tree`.
    #[inline]
    pub fn unarmed(&mut self, now: Instant) -> bool {
        let said = self.tree.unarmed();
        if said {
            self.note(|| Record::new(Op::Armed, now));
        }
        said
    }
    /// See `Tree`.
    #[inline]
    pub fn may_keep(&mut self, cpu: CpuId) -> bool {
        self.tree.may_keep(cpu)
    }
    /// See `Tree`.
    pub fn shape(&mut self, node: NodeId) -> Option<GroupShape> {
        self.tree.shape(node)
    }
    /// See `Tree`.
    pub fn totals(&self) -> Totals {
        self.tree.totals()
    }
    /// See `Tree`.
    pub fn check(&self, now: Instant) -> Result<(), &'static str> {
        self.tree.check(now)
    }
    /// See `Scheduler`.
    pub fn stats(&mut self, l: Leaf) -> Stats {
        self.tree.stats(l)
    }
    /// See `Tree`.
    pub fn is_stranded(&mut self, l: Leaf, inside: bool) -> bool {
        self.tree.is_stranded(l, inside)
    }
    /// See `Scheduler`.
    pub fn came(&mut self, l: Leaf) -> u64 {
        self.tree.came(l)
    }
    /// See `Tree`.
    pub fn cpus_in(&mut self, node: NodeId) -> CpuSet {
        self.tree.cpus_in(node)
    }
    /// See `Tree`.
    pub fn admits(&mut self, node: NodeId, new: &[(Ent, VcpuParams)]) -> Result<(), SchedError> {
        self.tree.admits(node, new)
    }
    /// See `Scheduler`.
    pub fn promise(&mut self, l: Leaf, p: &VcpuParams, now: Instant) {
        self.tree.promise(l, p);
        self.note_entity(p, now);
        self.note(|| of(Op::Promise, l, now));
    }

    /// Makes an empty group that runs a scheduler `kind` over its members. See `Tree`.
    pub fn add_group(
        &mut self,
        parent: NodeId,
        (kind, params): (SchedId, &SchedParams),
        vps: u16,
        processor: &VcpuParams,
        now: Instant,
    ) -> Result<NodeId, SchedError> {
        let sched = registry::build(kind, params)?;
        let node = self.tree.add_group(parent, sched, vps, processor, now)?;
        self.note(|| parameters(Op::Params, kind, params, now));
        self.note_entity(processor, now);
        self.note(|| {
            Record::new(Op::AddGroup, now)
                .who(node.0, 0)
                .with(u64::from(parent.0) | u64::from(vps) << 16, 0)
        });
        Ok(node)
    }

    /// See `Tree`.
    pub fn remove_group(&mut self, node: NodeId, now: Instant) -> Result<Kick, SchedError> {
        let k = self.tree.remove_group(node, now)?;
        self.note(|| {
            Record::new(Op::RemoveGroup, now)
                .who(node.0, 0)
                .kicking(k.0)
        });
        Ok(k)
    }

    /// See `Tree`.
    pub fn adjust_group(
        &mut self,
        node: NodeId,
        p: &VcpuParams,
        now: Instant,
    ) -> Result<Kick, SchedError> {
        let k = self.tree.adjust_group(node, p, now)?;
        self.note_entity(p, now);
        self.note(|| {
            Record::new(Op::AdjustGroup, now)
                .who(node.0, 0)
                .kicking(k.0)
        });
        Ok(k)
    }

    /// See `Scheduler`.
    pub fn alloc_pcpu(&mut self, cpu: CpuId, now: Instant) -> Result<(), SchedError> {
        self.tree.alloc_pcpu(cpu)?;
        self.note(|| Record::new(Op::AllocCpu, now).cpu(cpu));
        Ok(())
    }
    /// See `Scheduler`.
    pub fn switch_sched(&mut self, cpu: CpuId, now: Instant) -> Kick {
        let k = self.tree.switch_sched(cpu, now);
        self.note(|| Record::new(Op::Join, now).cpu(cpu).kicking(k.0));
        k
    }
    /// See `Scheduler`.
    pub fn set_capacity(&mut self, cpu: CpuId, capacity: u16, now: Instant) {
        self.tree.set_capacity(cpu, capacity);
        self.note(|| {
            Record::new(Op::Speed, now)
                .cpu(cpu)
                .with(capacity.into(), 0)
        });
    }
    /// See `Scheduler`.
    pub fn free_pcpu(&mut self, cpu: CpuId, now: Instant) -> Kick {
        let k = self.tree.free_pcpu(cpu, now);
        self.note(|| Record::new(Op::Leave, now).cpu(cpu).kicking(k.0));
        k
    }
    /// See `Scheduler`; not recorded, since nothing that was admitted depends on it.
    pub fn forget_pcpu(&mut self, cpu: CpuId) {
        self.tree.forget_pcpu(cpu);
    }
    /// See `Scheduler`.
    pub fn can_lose(&self, gone: &CpuSet) -> Result<(), SchedError> {
        self.tree.can_lose(gone)
    }
    /// See `Tree`.
    pub fn prepare_root(
        &self,
        sched: Box<dyn Scheduler>,
        cpus: impl Iterator<Item = CpuId>,
    ) -> Result<Root, SchedError> {
        self.tree.prepare_root(sched, cpus)
    }
    /// See `Tree`. A recording goes on with a second beginning, which says that it cannot be replayed any further.
    pub fn exchange_root(
        &mut self,
        new: Root,
        (kind, params): (SchedId, &SchedParams),
        now: Instant,
    ) -> Box<dyn Scheduler> {
        let old = self.tree.exchange_root(new, now);
        self.note(|| parameters(Op::Begin, kind, params, now));
        old
    }
    /// See `Scheduler`.
    pub fn adjust(&mut self, p: &SchedParams, now: Instant) -> Result<(), SchedError> {
        self.tree.adjust(p, now)?;
        self.note(|| parameters(Op::Adjust, SchedId(0), p, now));
        Ok(())
    }

    /// See `Tree`.
    pub fn alloc_vcpu(
        &mut self,
        node: NodeId,
        tag: Tag,
        p: &VcpuParams,
        now: Instant,
    ) -> Result<Leaf, SchedError> {
        let l = self.tree.alloc_vcpu(node, tag, p)?;
        self.note_entity(p, now);
        self.note(|| of(Op::Alloc, l, now).with(tag.0.into(), 0));
        Ok(l)
    }
    /// See `Scheduler`.
    pub fn free_vcpu(&mut self, l: Leaf, now: Instant) {
        self.tree.free_vcpu(l);
        self.note(|| of(Op::Free, l, now));
    }
    /// See `Scheduler`.
    pub fn insert(&mut self, l: Leaf, runnable: bool, now: Instant) -> Kick {
        let k = self.tree.insert(l, runnable, now);
        self.note(|| of(Op::Insert, l, now).with(runnable.into(), 0).kicking(k.0));
        k
    }
    /// See `Scheduler`.
    pub fn remove(&mut self, l: Leaf, now: Instant) -> Kick {
        let k = self.tree.remove(l, now);
        self.note(|| of(Op::Remove, l, now).kicking(k.0));
        k
    }
    /// See `Scheduler`.
    pub fn adjust_vcpu(
        &mut self,
        l: Leaf,
        p: &VcpuParams,
        now: Instant,
    ) -> Result<Kick, SchedError> {
        let k = self.tree.adjust_vcpu(l, p, now)?;
        self.note_entity(p, now);
        self.note(|| of(Op::AdjustEntity, l, now).kicking(k.0));
        Ok(k)
    }
    /// See `Scheduler`.
    #[inline]
    pub fn sleep(&mut self, l: Leaf, now: Instant) {
        self.tree.sleep(l, now);
        self.note(|| of(Op::Sleep, l, now));
    }
    /// See `Scheduler`.
    #[inline]
    pub fn wake(&mut self, l: Leaf, why: WakeReason, now: Instant) -> Kick {
        let k = self.tree.wake(l, why, now);
        self.note(|| of(Op::Wake, l, now).with(reason(why), 0).kicking(k.0));
        k
    }
    /// See `Scheduler`. Recorded as the two steps it stands for.
    #[inline]
    pub fn doze(&mut self, l: Leaf, cpu: CpuId, now: Instant) -> bool {
        let done = self.tree.doze(l, cpu, now);
        if done && self.rec.is_some() {
            self.note(|| of(Op::Sleep, l, now));
            self.note(|| Record::new(Op::Pick, now).cpu(cpu).with(NEVER, 0));
        }
        done
    }
    /// See `Scheduler`. Recorded as the two steps it stands for; `tag` is the entity's.
    #[inline]
    pub fn rouse(&mut self, l: Leaf, tag: Tag, cpu: CpuId, why: WakeReason, now: Instant) -> bool {
        let done = self.tree.rouse(l, cpu, why, now);
        if done && self.rec.is_some() {
            let kick = Kick::one(cpu).0;
            self.note(|| of(Op::Wake, l, now).with(reason(why), 0).kicking(kick));
            let who = 1 << 32 | u64::from(tag.0);
            self.note(|| Record::new(Op::Pick, now).cpu(cpu).with(NEVER, who));
        }
        done
    }
    /// See `Scheduler`.
    #[inline]
    pub fn notify(&mut self, l: Leaf, why: WakeReason, now: Instant) -> Kick {
        let k = self.tree.notify(l, why, now);
        self.note(|| of(Op::Notify, l, now).with(reason(why), 0).kicking(k.0));
        k
    }
    /// See `Tree`.
    #[inline]
    pub fn yield_now(&mut self, l: Leaf, cpu: Option<CpuId>, now: Instant) {
        self.tree.yield_now(l, cpu, now);
        self.note(|| {
            let r = of(Op::Yield, l, now);
            cpu.map_or(r, |c| r.cpu(c))
        });
    }
    /// See `Scheduler`.
    pub fn deboost(&mut self, l: Leaf, why: DeboostCause, now: Instant) -> Kick {
        let k = self.tree.deboost(l, why, now);
        self.note(|| of(Op::Deboost, l, now).with(why as u64, 0).kicking(k.0));
        k
    }
    /// See `Scheduler`.
    pub fn charge(&mut self, l: Leaf, cost: Span, now: Instant) {
        self.tree.charge(l, cost, now);
        self.note(|| of(Op::Charge, l, now).with(cost.0, 0));
    }
    /// See `Scheduler`.
    pub fn refund(&mut self, l: Leaf, cost: Span, now: Instant) {
        self.tree.refund(l, cost, now);
        self.note(|| of(Op::Charge, l, now).with(cost.0, REFUND));
    }
    /// See `Scheduler`.
    pub fn is_boosted(&mut self, l: Leaf) -> bool {
        self.tree.is_boosted(l)
    }
    /// See `Tree`.
    #[inline]
    pub fn pick_next(&mut self, cpu: CpuId, hint: GuestHint, now: Instant) -> Pick {
        let p = self.tree.pick_next(cpu, hint, now);
        self.note(|| {
            let who = p.next.map_or(0, |t| 1 << 32 | u64::from(t.0));
            Record::new(Op::Pick, now)
                .cpu(cpu)
                .with(p.until.map_or(NEVER, |t| t.0), who | hint_bits(hint) << 40)
                .kicking(p.kick.0)
        });
        p
    }
    /// See `Tree`.
    #[inline]
    pub fn context_saved(&mut self, l: Leaf, cpu: CpuId, now: Instant) -> Kick {
        let k = self.tree.context_saved(l, cpu, now);
        self.note(|| of(Op::Saved, l, now).cpu(cpu).kicking(k.0));
        k
    }
}

/// What a replay keeps from one record to the next: parameters that came before their operation.
#[derive(Default)]
pub struct Pending {
    sched: Option<Record>,
    entity: Option<Record>,
    more: Option<Record>,
    soft: Option<Record>,
}

impl Pending {
    fn entity(&mut self) -> Result<VcpuParams, &'static str> {
        let soft = self.soft.take();
        match (self.entity.take(), self.more.take()) {
            (Some(a), Some(b)) => Ok(entity_of(&a, &b, soft.as_ref())),
            _ => Err("it needs an entity's parameters, which do not stand before it"),
        }
    }
}

impl Recorded {
    /// The tree of a recording that begins with `begin`, itself recording; its first record is `begin` again.
    pub fn replaying(begin: &Record) -> Result<Recorded, &'static str> {
        if begin.op() != Some(Op::Begin) {
            return Err("it does not begin with the beginning; the ring was too small");
        }
        let (kind, p) = (SchedId(begin.node() as u8), parameters_of(begin));
        let root = registry::build(kind, &p).map_err(|_| "no such scheduler or parameters")?;
        let mut tree = Recorded::new(root);
        let rec = Recorder::new(8).map_err(|_| "no memory")?;
        let _ = tree.record(Some(Box::new(rec)), Some((kind, &p)), begin.at());
        Ok(tree)
    }

    /// Does again what `r` says. What has been answered is in the recording, under the same number if the record was one
    /// of parameters never.
    pub fn apply(&mut self, r: &Record, pending: &mut Pending) -> Result<(), &'static str> {
        const REFUSED: &str = "it is refused now";
        let op = r.op().ok_or("no such operation")?;
        let now = r.at();
        let leaf = Leaf {
            node: NodeId(r.node()),
            ent: Ent(r.ent()),
        };
        let node = leaf.node;
        let cpu = || r.on().ok_or("it names no CPU");
        if !self.has(node) && !matches!(op, Op::Begin | Op::Params | Op::Adjust | Op::AddGroup) {
            return Err("there is no such group");
        }
        match op {
            Op::Begin => return Err("a second beginning"),
            Op::Params => pending.sched = Some(*r),
            Op::Entity => pending.entity = Some(*r),
            Op::EntityMore => pending.more = Some(*r),
            Op::EntitySoft => pending.soft = Some(*r),
            Op::AllocCpu => self.alloc_pcpu(cpu()?, now).map_err(|_| REFUSED)?,
            Op::Join => {
                let _ = self.switch_sched(cpu()?, now);
            }
            Op::Speed => self.set_capacity(cpu()?, r.0[2] as u16, now),
            Op::Leave => {
                let _ = self.free_pcpu(cpu()?, now);
            }
            Op::Alloc => {
                let p = pending.entity()?;
                self.alloc_vcpu(node, Tag(r.0[2] as u32), &p, now)
                    .map_err(|_| REFUSED)?;
            }
            Op::Free => self.free_vcpu(leaf, now),
            Op::Insert => {
                let _ = self.insert(leaf, r.0[2] != 0, now);
            }
            Op::Remove => {
                let _ = self.remove(leaf, now);
            }
            Op::AdjustEntity => {
                let p = pending.entity()?;
                let _ = self.adjust_vcpu(leaf, &p, now).map_err(|_| REFUSED)?;
            }
            Op::Promise => {
                let p = pending.entity()?;
                self.promise(leaf, &p, now);
            }
            Op::Adjust => self.adjust(&parameters_of(r), now).map_err(|_| REFUSED)?,
            Op::AddGroup => {
                let p = pending.entity()?;
                let s = pending
                    .sched
                    .take()
                    .ok_or("no parameters of a scheduler before it")?;
                let what = (SchedId(s.node() as u8), &parameters_of(&s));
                let (parent, vps) = (NodeId(r.0[2] as u16), (r.0[2] >> 16) as u16);
                self.add_group(parent, what, vps, &p, now)
                    .map_err(|_| REFUSED)?;
            }
            Op::RemoveGroup => {
                let _ = self.remove_group(node, now).map_err(|_| REFUSED)?;
            }
            Op::AdjustGroup => {
                let p = pending.entity()?;
                let _ = self.adjust_group(node, &p, now).map_err(|_| REFUSED)?;
            }
            Op::Sleep => self.sleep(leaf, now),
            Op::Wake => {
                let why = reason_of(r.0[2]).ok_or("no such reason")?;
                let _ = self.wake(leaf, why, now);
            }
            Op::Notify => {
                let why = reason_of(r.0[2]).ok_or("no such reason")?;
                let _ = self.notify(leaf, why, now);
            }
            Op::Yield => self.yield_now(leaf, r.on(), now),
            Op::Deboost => {
                let why = cause_of(r.0[2]).ok_or("no such cause")?;
                let _ = self.deboost(leaf, why, now);
            }
            Op::Charge if r.0[3] == REFUND => self.refund(leaf, Span(r.0[2]), now),
            Op::Charge => self.charge(leaf, Span(r.0[2]), now),
            Op::Pick => {
                let _ = self.pick_next(cpu()?, hint_of(r.0[3] >> 40), now);
            }
            Op::Saved => {
                let _ = self.context_saved(leaf, cpu()?, now);
            }
            Op::Armed => {
                let _ = self.unarmed(now);
            }
        }
        Ok(())
    }

    /// What the last operation has left in the recording; `None` after a record of parameters only.
    pub fn last(&self) -> Option<&Record> {
        let rec = self.rec.as_ref()?;
        rec.get(rec.written().checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests;
