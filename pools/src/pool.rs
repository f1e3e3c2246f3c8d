//! What a pool's lock protects: its scheduler instance, its CPUs, the rows of its vCPUs and domains.
//!
//! Must never be seen outside this crate. Neighbours: `set.rs` (hot operations), `domains.rs`, `reconf.rs`.

use crate::cap::Budget;
use crate::error::PoolError;
use crate::name::Name;
use crate::params::GroupParams;
use crate::row::Row;
use crate::runstate::DomainTimes;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;
use tarn_abi::{CpuId, CpuSet, DomainId, Instant, SchedId};
use tarn_sched::{
    BoostParams, Kick, Leaf, NodeId, Recorded, Recorder, Root, SchedParams, Scheduler, Stats, Tag,
    VcpuParams, registry,
};

/// What happens when a guest executes WFI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wfi {
    /// It traps and another vCPU may run.
    Trapped,
    /// The CPU sleeps in the guest: right where each vCPU has a CPU of its own.
    Native,
}

/// What a new pool shall be.
#[derive(Clone, Copy, Debug)]
pub struct PoolConfig<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its scheduler.
    pub sched: SchedId,
    /// The scheduler's parameters.
    pub params: SchedParams,
    /// WFI of its guests.
    pub wfi: Wfi,
    /// How many records of its scheduler's life to keep, from the first on (see `record.rs`); 0 = none.
    pub record: u32,
    /// Boost parameters of domains made in it when nothing is said.
    pub boost: BoostParams,
}

/// What can be set of a pool while it runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolParams {
    /// Of its scheduler.
    pub sched: SchedParams,
    /// WFI of its guests.
    pub wfi: Wfi,
    /// Boost parameters of domains made in it when nothing is said.
    pub boost: BoostParams,
}

impl PoolParams {
    /// What a pool gets when nothing is said.
    pub const DEFAULT: PoolParams = PoolParams {
        sched: SchedParams::DEFAULT,
        wfi: Wfi::Trapped,
        boost: BoostParams::DEFAULT,
    };
}

impl<'a> PoolConfig<'a> {
    /// The default scheduler with default parameters, WFI trapped.
    pub const fn new(name: &'a str) -> Self {
        PoolConfig {
            name,
            sched: registry::DEFAULT,
            params: SchedParams::DEFAULT,
            wfi: Wfi::Trapped,
            record: 0,
            boost: BoostParams::DEFAULT,
        }
    }

    /// With these parameters.
    pub const fn with(self, p: &PoolParams) -> Self {
        PoolConfig {
            params: p.sched,
            wfi: p.wfi,
            boost: p.boost,
            ..self
        }
    }
}

/// Parameters of a domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DomainParams {
    /// Most CPU time, in percent of one CPU over all its vCPUs; 0 = no limit.
    pub cap: u32,
}

/// A domain's row.
pub(crate) struct Dom {
    pub(crate) id: DomainId,
    pub(crate) params: DomainParams,
    pub(crate) times: DomainTimes,
    /// How often paused.
    pub(crate) paused: u32,
    pub(crate) dead: bool,
    /// Its pool's scheduler is being exchanged.
    pub(crate) halted: bool,
    pub(crate) budget: Budget,
    /// On its way to another pool: what has been reserved there.
    pub(crate) moving: Option<Move>,
    /// Rows of its vCPUs, in the order given.
    pub(crate) vcpus: Vec<u16>,
}

/// A reservation in the pool a domain moves to.
pub(crate) struct Move {
    pub(crate) to: u8,
    pub(crate) dom: u16,
    pub(crate) rows: Vec<u16>,
    pub(crate) ents: Vec<Leaf>,
    /// For a move within the pool: into which of its schedulers.
    pub(crate) node: NodeId,
    /// For a move within the pool: this vCPU alone.
    pub(crate) only: Option<u16>,
    /// When a vCPU that wanted to run was first kept from it.
    pub(crate) since: Option<Instant>,
}

impl Dom {
    pub(crate) fn stopped(&self) -> bool {
        self.paused != 0 || self.dead || self.halted || self.moving.is_some()
    }
}

/// What is kept of a group besides its scheduler.
pub(crate) struct GroupRow {
    pub(crate) name: Name,
    pub(crate) kind: SchedId,
    pub(crate) generation: u16,
    /// The domain it is delegated to.
    pub(crate) owner: Option<DomainId>,
    /// As they were set; its processors have what follows from them.
    pub(crate) params: GroupParams,
    /// What its processors counted under schedulers that the pool has had.
    pub(crate) past: Stats,
    /// CPUs that have been called to leave it, and when the first of them was.
    pub(crate) called: CpuSet,
    pub(crate) called_at: Instant,
}

/// A scheduler that is about to take the place of a pool's, and what its vCPUs will be there, by row.
pub(crate) struct Next {
    pub(crate) root: Root,
    pub(crate) kind: SchedId,
    pub(crate) ents: Vec<Option<Leaf>>,
}

impl Next {
    /// A place for the vCPU of a row.
    pub(crate) fn alloc(&mut self, row: u16, params: &VcpuParams) -> Result<(), PoolError> {
        let missing = (usize::from(row) + 1).saturating_sub(self.ents.len());
        self.ents
            .try_reserve(missing)
            .map_err(|_| PoolError::NoMemory)?;
        for _ in 0..missing {
            self.ents.push(None);
        }
        self.ents[usize::from(row)] = Some(self.root.alloc_vcpu(tag(row), params)?);
        Ok(())
    }

    /// Gives it back.
    pub(crate) fn free(&mut self, row: u16) {
        if let Some(leaf) = self.ents.get_mut(usize::from(row)).and_then(Option::take) {
            self.root.free_vcpu(leaf);
        }
    }
}

/// A table with reusable positions; `None` is a free one or one reserved for somebody moving here.
pub(crate) struct Table<T> {
    slots: Vec<Option<T>>,
    free: Vec<u16>,
}

impl<T> Table<T> {
    pub(crate) const fn new() -> Self {
        Table {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Takes a position out of the free ones.
    pub(crate) fn reserve(&mut self) -> Result<u16, PoolError> {
        if let Some(i) = self.free.pop() {
            return Ok(i);
        }
        let i = u16::try_from(self.slots.len()).map_err(|_| PoolError::NoMemory)?;
        self.slots.try_reserve(1).map_err(|_| PoolError::NoMemory)?;
        let spare = self.slots.capacity() - self.free.len();
        self.free
            .try_reserve(spare)
            .map_err(|_| PoolError::NoMemory)?;
        self.slots.push(None);
        Ok(i)
    }

    /// How many positions there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn fill(&mut self, i: u16, value: T) {
        self.slots[usize::from(i)] = Some(value);
    }

    /// Gives a position back, full or only reserved.
    pub(crate) fn release(&mut self, i: u16) -> Option<T> {
        self.free.push(i);
        self.slots[usize::from(i)].take()
    }

    pub(crate) fn get(&self, i: u16) -> Option<&T> {
        self.slots.get(usize::from(i)).and_then(Option::as_ref)
    }

    #[inline]
    pub(crate) fn at(&mut self, i: u16) -> &mut T {
        match self.slots.get_mut(usize::from(i)) {
            Some(Some(v)) => v,
            _ => vacant(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten()
    }
}

#[cold]
pub(crate) fn vacant() -> ! {
    panic!("pool row used after it was released")
}

/// A pool.
pub(crate) struct Pool {
    pub(crate) sched: Recorded,
    /// When the first parked vCPU may go on, and all of them.
    pub(crate) unpark_at: Option<Instant>,
    pub(crate) parked: Vec<u16>,
    pub(crate) groups: Vec<Option<GroupRow>>,
    /// The generation of the next group.
    pub(crate) next_group: u16,
    pub(crate) kind: SchedId,
    pub(crate) params: SchedParams,
    pub(crate) wfi: Wfi,
    pub(crate) name: Name,
    /// The latest time anybody brought; operations of different CPUs may arrive in another order than they read it.
    pub(crate) clock: Instant,
    /// CPUs that are here.
    pub(crate) cpus: CpuSet,
    /// Of those, the ones on their way out.
    pub(crate) leaving: CpuSet,
    /// CPUs on their way in.
    pub(crate) incoming: CpuSet,
    pub(crate) closing: bool,
    /// Whose timer was looked at last (`watch`).
    pub(crate) watched: CpuId,
    /// Its scheduler is about to be exchanged for this one.
    pub(crate) next: Option<Next>,
    pub(crate) boost: BoostParams,
    pub(crate) rows: Table<Row>,
    pub(crate) doms: Table<Dom>,
    /// How many domains are here or have a place reserved.
    pub(crate) domains: u16,
}

impl Pool {
    pub(crate) fn new(
        c: &PoolConfig<'_>,
        name: Name,
        sched: Box<dyn Scheduler>,
        recorder: Option<Box<Recorder>>,
        now: Instant,
    ) -> Pool {
        let mut sched = Recorded::new(sched);
        if recorder.is_some() {
            sched.record(recorder, Some((c.sched, &c.params)), now);
        }
        Pool {
            sched,
            unpark_at: None,
            parked: Vec::new(),
            groups: Vec::new(),
            next_group: 0,
            kind: c.sched,
            params: c.params,
            wfi: c.wfi,
            name,
            clock: now,
            cpus: CpuSet::EMPTY,
            leaving: CpuSet::EMPTY,
            incoming: CpuSet::EMPTY,
            closing: false,
            watched: CpuId::BOOT,
            next: None,
            boost: c.boost,
            rows: Table::new(),
            doms: Table::new(),
            domains: 0,
        }
    }

    /// The scheduler.
    #[inline]
    pub(crate) fn sched(&mut self) -> &mut Recorded {
        &mut self.sched
    }

    /// What a vCPU has counted, under the scheduler it has now and all before.
    pub(crate) fn stats(&mut self, row: u16) -> Stats {
        let r = self.rows.at(row);
        let (ent, mut all) = (r.ent, r.past);
        all.add(&self.sched().stats(ent));
        all
    }

    /// The vCPU is about to leave its scheduler: what has been counted stays. Credit is of that scheduler alone.
    pub(crate) fn keep_stats(&mut self, row: u16) {
        let past = Stats {
            credit: 0,
            boost_credit: 0,
            ..self.stats(row)
        };
        self.rows.at(row).past = past;
    }

    /// Time for an operation that brought `now`: never earlier than the one before it.
    #[inline]
    pub(crate) fn tick(&mut self, now: Instant) -> Instant {
        if now > self.clock {
            self.clock = now;
        }
        self.clock
    }

    /// Books the state that follows from the row's fields.
    #[inline]
    pub(crate) fn book(&mut self, row: u16, now: Instant) {
        book(self.rows.at(row), &mut self.doms, now);
    }

    /// Passes the domain's pause, death or move on to its vCPUs. A CPU that holds one is in the kick.
    pub(crate) fn restate(&mut self, dom: u16, now: Instant) -> Kick {
        self.restate_some(dom, 0..usize::MAX, now)
    }

    /// The same to those of its vCPUs that have these numbers in it.
    pub(crate) fn restate_some(&mut self, dom: u16, some: Range<usize>, now: Instant) -> Kick {
        let stopped = self.doms.at(dom).stopped();
        let mut kick = Kick::NONE;
        let mut kept = false;
        for i in some.start..some.end.min(self.doms.at(dom).vcpus.len()) {
            let row = self.doms.at(dom).vcpus[i];
            let r = self.rows.at(row);
            if r.stopped == stopped {
                continue;
            }
            let before = r.eligible();
            r.stopped = stopped;
            let (ent, after, cpu) = (r.ent, r.eligible(), r.cpu());
            if before && !after {
                self.sched().sleep(ent, now);
                kept = true;
            }
            if after && !before {
                kick = kick.and(self.sched().wake(ent, tarn_sched::WakeReason::Unpause, now));
            }
            if let Some(c) = cpu {
                kick = kick.and(Kick::one(c));
            }
            self.book(row, now);
        }
        if kept && let Some(m) = &mut self.doms.at(dom).moving {
            m.since.get_or_insert(now);
        }
        kick.and(self.arms(now))
    }

    /// A group that has just lost its work wants to be asked again later: some CPU must have a timer for it.
    pub(crate) fn arms(&mut self, now: Instant) -> Kick {
        if self.sched().unarmed(now) {
            self.timekeeper()
        } else {
            Kick::NONE
        }
    }

    /// What can be set of it.
    pub(crate) fn all_params(&self) -> PoolParams {
        PoolParams {
            sched: self.params,
            wfi: self.wfi,
            boost: self.boost,
        }
    }

    /// How many vCPUs and virtual processors compete in it at most.
    pub(crate) fn entities(&mut self) -> u32 {
        let mut n = self.rows.iter().count() as u32;
        for node in 1..self.groups.len() as u16 {
            if let Some(shape) = self.sched().shape(NodeId(node)) {
                n += u32::from(shape.vps);
            }
        }
        n
    }

    /// The CPUs that hold registers of any of its vCPUs.
    pub(crate) fn busy_cpus(&self) -> CpuSet {
        self.rows.iter().filter_map(Row::cpu).collect()
    }

    /// Whether no CPU holds registers of the domain.
    pub(crate) fn quiet(&mut self, dom: u16) -> bool {
        let Pool { doms, rows, .. } = self;
        doms.at(dom)
            .vcpus
            .iter()
            .all(|&r| rows.get(r).is_none_or(|r| r.cpu().is_none()))
    }

    /// CPUs that will be here when all changes under way are done.
    pub(crate) fn future_cpus(&self) -> CpuSet {
        self.cpus.difference(&self.leaving).union(&self.incoming)
    }
}

/// Books the state that follows from the fields of a row, for it and its domain.
#[inline]
pub(crate) fn book(r: &mut Row, doms: &mut Table<Dom>, now: Instant) {
    let (old, new) = (r.times.state, r.state());
    if old != new {
        r.times.enter(new, now);
        let d = doms.at(r.dom);
        d.times.change(old, new, now);
        if d.params.cap != 0 {
            d.budget.settle(d.params.cap, now);
            d.budget.running = d.times.counts[0];
        }
    }
}

/// The tag under which the scheduler knows a row.
pub(crate) const fn tag(row: u16) -> Tag {
    Tag(row as u32)
}
