//! The trait: the operations the seeds name (alloc/free of pCPU and vCPU data exposed, so that CPUs and domains can
//! change pools) and the values that cross it.
//!
//! Must never grow an operation that only one policy can implement; optional ones have a default. Neighbours:
//! `registry.rs` builds instances, `pools/src/dispatch.rs` is the protocol around `pick_next` and `context_saved`.

use crate::error::SchedError;
use crate::params::{SchedParams, VcpuParams};
use tarn_abi::{CpuId, CpuSet, Instant, Span};

/// An entity of one scheduler instance: a vCPU or a virtual processor of a group. Dense, given by `alloc_vcpu`, reused
/// after `free_vcpu`; means nothing outside that instance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ent(pub u32);

impl Ent {
    /// As an index into the instance's tables.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The owner's name for an entity, handed in at `alloc_vcpu` and handed back by `pick_next`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tag(pub u32);

/// CPUs, maybe the calling one, that should come by and reschedule. One too many is harmless, one lost is a bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[must_use = "a lost kick leaves a vCPU waiting"]
pub struct Kick(pub CpuSet);

impl Kick {
    /// Nobody.
    pub const NONE: Kick = Kick(CpuSet::EMPTY);

    /// One CPU.
    pub const fn one(cpu: CpuId) -> Kick {
        Kick(CpuSet::one(cpu))
    }

    /// Whether nobody needs to come.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Both.
    pub fn and(self, other: Kick) -> Kick {
        Kick(self.0.union(&other.0))
    }
}

/// What a CPU shall do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Pick {
    /// Who runs; `None` = idle.
    pub next: Option<Tag>,
    /// When this CPU must come by again at the latest; `None` = no timer needed (nobody waits).
    pub until: Option<Instant>,
    /// Others that must come by because of this decision.
    pub kick: Kick,
    /// Something an operator should hear of, and whose fault it is. One at a time; the counters have them all.
    pub news: Option<(Tag, News)>,
    /// Whether `next` runs boosted: then the end of what it is boosted for matters to others.
    pub boosted: bool,
}

/// What is worth a line in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    /// Its boost credit ran out while somebody waited (D1).
    Exhausted,
    /// One of its interrupt lines storms: no boosts by that line for a while.
    Storm,
}

/// What the hypervisor knows about the guest that is about to lose the CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GuestHint {
    /// The guest has IRQs masked and is not known to spin.
    pub irqs_masked: bool,
    /// The guest's shared page says dont_desched.
    pub dont_desched: bool,
    /// The guest has registered the shared page.
    pub enlightened: bool,
    /// Whatever happens, the answer must be idle (the CPU leaves the pool).
    pub must_idle: bool,
}

/// Why an entity becomes runnable (or, for `Interrupt`, why a runnable one deserves attention).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WakeReason {
    /// A device interrupt or an IPI from another vCPU; `line` is a stable small number of its source.
    Interrupt {
        /// Stable number of the source within the vCPU (virtual INTID).
        line: u16,
    },
    /// The guest's own timer.
    Timer,
    /// PSCI CPU_ON or another vCPU's event.
    Kick,
    /// Unpaused, or moved here.
    Unpause,
}

/// Why an entity is boosted from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BoostCause {
    /// An interrupt for it.
    Interrupt,
    /// One of a line that comes at regular intervals: a crowd does not take its boost away.
    Regular,
    /// It has interrupts masked.
    IrqsMasked,
    /// It set dont_desched.
    GuestAsked,
}

/// Why a boost ends early.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeboostCause {
    /// The interrupt handler returned.
    HandlerReturned,
    /// Interrupts are enabled again.
    Unmasked,
    /// The guest asked.
    Asked,
}

/// Counters of one entity. Times in ns of CPU time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// CPU time consumed, up to the last accounting.
    pub runtime: Span,
    /// Boosts granted, by cause: interrupt to a sleeper (G1), to a running one (G2), dont_desched (G3), armed (G4),
    /// masked (G5), refill (G6).
    pub boosts: [u64; 6],
    /// Boosts ended, by cause D1 to D6: spent, interval over, handler returned, unmasked, asked, block or yield.
    pub deboosts: [u64; 6],
    /// Of the ends by D1, those while somebody waited.
    pub exhausted: u64,
    /// Interrupts delivered without boost because their line is in a storm.
    pub storm_held: u64,
    /// Lines found to storm.
    pub storm_lines: u64,
    /// Credit now, ns at weight 256 (credit2).
    pub credit: i64,
    /// Boost credit now, same unit (credit2).
    pub boost_credit: i64,
}

/// Counters of an instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Changes of who runs on a CPU, idle not counted.
    pub switches: u64,
    /// Credit resets.
    pub resets: u64,
    /// Entities touched by them.
    pub touched: u64,
}

impl Totals {
    /// Adds `o` to `self`.
    pub fn add(&mut self, o: &Totals) {
        self.switches += o.switches;
        self.resets += o.resets;
        self.touched += o.touched;
    }
}

impl Stats {
    /// Nothing yet.
    pub const ZERO: Stats = Stats {
        runtime: Span::ZERO,
        boosts: [0; 6],
        deboosts: [0; 6],
        exhausted: 0,
        storm_held: 0,
        storm_lines: 0,
        credit: 0,
        boost_credit: 0,
    };

    /// Adds `o` to `self`.
    pub fn add(&mut self, o: &Stats) {
        self.runtime += o.runtime;
        for i in 0..6 {
            self.boosts[i] += o.boosts[i];
            self.deboosts[i] += o.deboosts[i];
        }
        self.exhausted += o.exhausted;
        self.storm_held += o.storm_held;
        self.storm_lines += o.storm_lines;
        self.credit = self.credit.saturating_add(o.credit);
        self.boost_credit = self.boost_credit.saturating_add(o.boost_credit);
    }
}

/// A policy. One instance per pool or group, called under the pool's lock. For a group a "CPU" is a virtual processor.
///
/// `now` never decreases from call to call. An entity is *on* a CPU from the `pick_next` that chose it to its
/// `context_saved`; meanwhile it may sleep and wake, but no other CPU is offered it.
pub trait Scheduler: Send {
    /// Gets the memory for `cpu`; changes nothing visible.
    fn alloc_pcpu(&mut self, cpu: CpuId) -> Result<(), SchedError>;
    /// `cpu`, for which `alloc_pcpu` was called and which is no member, will not come.
    fn forget_pcpu(&mut self, cpu: CpuId) {
        let _ = cpu;
    }
    /// Refuses if what has been promised to the entities could not be kept without the CPUs `gone` and with these
    /// parameters for those of `wanted`, all of them together.
    fn admits(&self, gone: &CpuSet, wanted: &[(Ent, VcpuParams)]) -> Result<(), SchedError> {
        let _ = (gone, wanted);
        Ok(())
    }
    /// From now on the entity counts as one with these parameters where others are judged, and `adjust_vcpu` takes them
    /// unjudged. Nothing else changes. The caller has asked `admits`, or gives back what there was before.
    fn promise(&mut self, e: Ent, p: &VcpuParams) {
        let _ = (e, p);
    }
    /// `cpu`, idle, starts to be ours.
    fn switch_sched(&mut self, cpu: CpuId, now: Instant) -> Kick;
    /// How fast `cpu`, a member, is: 1 to 1024, the fastest being 1024. Time on a slow CPU costs less.
    fn set_capacity(&mut self, cpu: CpuId, capacity: u16) {
        let _ = (cpu, capacity);
    }
    /// The instance is a group's, and of all its virtual processors at most so many can have a CPU at a time, for which others
    /// compete as well.
    fn set_supply(&mut self, cpus: u16) {
        let _ = cpus;
    }
    /// `cpu`, idle with nothing loaded, stops being ours.
    fn free_pcpu(&mut self, cpu: CpuId, now: Instant) -> Kick;

    /// Checks the parameters and gets the memory for an entity, which is not yet part of the competition.
    fn alloc_vcpu(&mut self, tag: Tag, p: &VcpuParams) -> Result<Ent, SchedError>;
    /// Gives the memory back. The entity has been removed (or was never inserted).
    fn free_vcpu(&mut self, e: Ent);
    /// The entity joins, not on any CPU.
    fn insert(&mut self, e: Ent, runnable: bool, now: Instant) -> Kick;
    /// The entity leaves; it is on no CPU. Somebody else may get its place.
    fn remove(&mut self, e: Ent, now: Instant) -> Kick;
    /// Changes the parameters of an entity, inserted or not.
    fn adjust_vcpu(&mut self, e: Ent, p: &VcpuParams, now: Instant) -> Result<Kick, SchedError>;
    /// Gives several entities, whose parameters are equal, others: all of them or, refused, none. Where each is judged by
    /// itself, as here, the first is refused or nobody is.
    fn adjust_vcpus(
        &mut self,
        all: &[Ent],
        p: &VcpuParams,
        now: Instant,
    ) -> Result<Kick, SchedError> {
        let mut kick = Kick::NONE;
        for e in all {
            kick = kick.and(self.adjust_vcpu(*e, p, now)?);
        }
        Ok(kick)
    }
    /// Changes the parameters of the instance.
    fn adjust(&mut self, p: &SchedParams, now: Instant) -> Result<(), SchedError>;

    /// No longer runnable. If it is on a CPU, that CPU comes by next of its own accord or by a kick of the caller's.
    fn sleep(&mut self, e: Ent, now: Instant);
    /// Runnable from now on.
    fn wake(&mut self, e: Ent, why: WakeReason, now: Instant) -> Kick;
    /// `sleep` and `pick_next` in one, for the usual case that nobody waits: `e`, running on `cpu`, sleeps and `cpu` has
    /// nothing else. False if it is not that case; then nothing has changed, and the two are to be called.
    fn doze(&mut self, e: Ent, cpu: CpuId, now: Instant) -> bool {
        let _ = (e, cpu, now);
        false
    }
    /// `wake` and `pick_next` in one, for the way back: `e`, asleep and still on `cpu`, goes on there without a timer.
    /// False as for `doze`.
    fn rouse(&mut self, e: Ent, cpu: CpuId, why: WakeReason, now: Instant) -> bool {
        let _ = (e, cpu, why, now);
        false
    }
    /// An interrupt for an entity that is runnable already.
    fn notify(&mut self, e: Ent, why: WakeReason, now: Instant) -> Kick {
        let _ = (e, why, now);
        Kick::NONE
    }
    /// The running entity lets others go first, once.
    fn yield_now(&mut self, e: Ent, now: Instant);
    /// Decides for `cpu`, accounting its current entity first. The answer is on `cpu` from now on.
    fn pick_next(&mut self, cpu: CpuId, hint: GuestHint, now: Instant) -> Pick;
    /// The registers of `e` are in memory: only now may another CPU pick it.
    fn context_saved(&mut self, e: Ent, now: Instant) -> Kick;
    /// A boost granted from outside (by the level above or below, for groups).
    fn boost(&mut self, e: Ent, why: BoostCause, now: Instant) -> Kick {
        let _ = (e, why, now);
        Kick::NONE
    }
    /// The boost's reason is gone.
    fn deboost(&mut self, e: Ent, why: DeboostCause, now: Instant) -> Kick {
        let _ = (e, why, now);
        Kick::NONE
    }
    /// Whether `cpu` may find somebody waiting whom it could run.
    fn has_work(&self, cpu: CpuId, now: Instant) -> bool;
    /// The first moment that somebody may wait for, as a new period, however busy the CPUs are. A CPU that runs somebody or is
    /// idle by a decision has a timer for it; where none is left who may come by, as in a group, `elapse` is to be called then.
    fn due(&self) -> Option<Instant> {
        None
    }
    /// What was due by `now` happens, without any CPU's deciding.
    fn elapse(&mut self, now: Instant) -> Kick {
        let _ = now;
        Kick::NONE
    }
    /// Whether `e`, if it is runnable, can get a CPU without something else having to happen before: a new period, a CPU
    /// that becomes free.
    fn serves(&self, e: Ent, now: Instant) -> bool {
        let _ = (e, now);
        true
    }
    /// Whether `e` stays without a CPU, however long it waits, until another entity leaves or a CPU comes.
    fn is_stranded(&self, e: Ent) -> bool {
        let _ = e;
        false
    }
    /// Where that depends on who came first: the lower, the earlier; an entity that is inserted later has more.
    fn came(&self, e: Ent) -> u64 {
        let _ = e;
        0
    }
    /// Whether who runs on `cpu` would make room at once for somebody who waits, if `cpu` came by. For policies where that
    /// does not depend on how long one has run.
    fn gives_way(&self, cpu: CpuId) -> bool {
        let _ = cpu;
        false
    }
    /// Whether the entity is boosted at this moment.
    fn is_boosted(&self, e: Ent) -> bool {
        let _ = e;
        false
    }
    /// Whether the interrupt that it is boosted or armed for was of a line that comes at regular intervals.
    fn is_regular(&self, e: Ent) -> bool {
        let _ = e;
        false
    }
    /// Whether the entity, woken by an interrupt, is not boosted only because a CPU has nothing else to do. In a group that says
    /// little: the CPU is a processor that sleeps.
    fn is_armed(&self, e: Ent) -> bool {
        let _ = e;
        false
    }
    /// Whether the entity that runs on `cpu` is boosted, or would be if it were about to lose the CPU.
    fn urgent(&self, cpu: CpuId) -> bool {
        let _ = cpu;
        false
    }
    /// Whether somebody boosted waits.
    fn boosted_wait(&self) -> bool {
        false
    }
    /// Whether the first who waits for `cpu` is boosted.
    fn boosted_first(&self, cpu: CpuId) -> bool {
        let _ = cpu;
        false
    }
    /// Takes `cost` of hypervisor time off the entity's account.
    fn charge(&mut self, e: Ent, cost: Span, now: Instant) {
        let _ = (e, cost, now);
    }
    /// Gives `cost` of hypervisor time, spent for somebody else while the entity had a CPU, back to it.
    fn refund(&mut self, e: Ent, cost: Span, now: Instant) {
        let _ = (e, cost, now);
    }
    /// Counters of an entity; its running time is included up to its last accounting.
    fn stats(&self, e: Ent) -> Stats;
    /// Counters of the instance.
    fn totals(&self) -> Totals {
        Totals::default()
    }
    /// Checks the instance against itself, in time proportional to its size; for tests.
    fn check(&self) -> Result<(), &'static str> {
        Ok(())
    }
}
