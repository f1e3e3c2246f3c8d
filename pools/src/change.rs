//! A plan carried out: prepared as a whole, then done while everything runs, by whichever CPU comes by.
//!
//! Two phases. *Preparing* gets everything that can be refused (memory, places, admission, new schedulers) and gives it all
//! back if one thing is; nobody has noticed. *Carrying on* cannot fail: CPUs change pools by their own hand, domains that
//! move are stopped, and when the last registers are in memory everything else happens in one critical section: moves,
//! names, pools that go. Then schedulers are exchanged, pool by pool. Nobody waits: each CPU that comes by does what can
//! be done then (`advance`), so that dom0 itself may be among those who are stopped. Until the registers are in memory
//! the change can be taken back (`abort`).
//!
//! A lost kick only delays: `status` names all who are still waited for, at most once a millisecond (`CALL_AGAIN`), so that
//! asking often costs the other pools nothing. Neighbours: `prepare.rs`
//! is the first phase, `exchange.rs` the schedulers, `moves.rs` and `groups.rs` carry domains over.

use crate::error::PoolError;
use crate::exchange::Exchange;
use crate::moves::{affinity, prefers_in_vain};
use crate::name::Name;
use crate::plan::{Plan, Refusal};
use crate::pool::{DomainParams, Pool, PoolParams};
use crate::set::{Config, PoolSet, slot_of};
use crate::step::{Fault, broken};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use spin::RelaxStrategy;
use tarn_abi::call::report::{Adjusted, Report};
use tarn_abi::{CpuId, CpuSet, DomainId, Instant, PoolId, SchedId, Span};
use tarn_sched::{Kick, VcpuParams};

/// How long a CPU that was called is believed to have heard it: who still waits for it calls it again no sooner. What EL2
/// does in one go is shorter, and a call that is never lost needs no second one.
pub const CALL_AGAIN: Span = Span::ms(1);

/// How far a change is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// There is none.
    None,
    /// It is under way; these CPUs must come by.
    Pending(Kick),
}

/// A pool as a plan would make it.
#[derive(Clone, Copy, Debug)]
pub struct PreviewPool {
    /// The pool, if it exists.
    pub id: Option<PoolId>,
    /// The step that makes it, if it does not.
    pub step: u32,
    /// Its CPUs.
    pub cpus: CpuSet,
    /// How many domains.
    pub domains: u32,
    /// Its scheduler.
    pub sched: SchedId,
    /// How many of its vCPUs will have no CPU.
    pub stranded: u32,
}

/// A domain's move as a plan would make it.
#[derive(Clone, Copy, Debug)]
pub struct PreviewMove {
    /// The domain.
    pub domain: DomainId,
    /// Where it would be: position among the pools of the preview.
    pub to: usize,
    /// What could not stay as it is.
    pub adjusted: Adjusted,
}

/// What a plan would do.
#[derive(Clone, Debug, Default)]
pub struct Preview {
    /// The pools there would be.
    pub pools: Vec<PreviewPool>,
    /// The domains that would move.
    pub moves: Vec<PreviewMove>,
}

/// What to give a domain back.
pub(crate) struct Undo {
    pub(crate) domain: DomainId,
    pub(crate) params: DomainParams,
    /// By row.
    pub(crate) vcpus: Vec<(u16, VcpuParams)>,
    /// They are in force; in a preview they have only been promised.
    pub(crate) real: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// CPUs are on their way.
    Cpus,
    /// Domains are being stopped.
    Stopping,
    /// Schedulers are being exchanged.
    Exchanging,
}

/// Whether the change is being taken back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Undoing {
    No,
    /// CPUs arrive where they were going.
    Arriving,
    /// CPUs come home.
    Returning,
}

/// A change under way.
pub(crate) struct Change {
    phase: Phase,
    /// CPU, and the words of `want` before and after.
    pub(crate) cpus: Vec<(CpuId, u16, u16)>,
    /// Domains that are marked as moving, to another pool or within theirs.
    pub(crate) moves: Vec<DomainId>,
    pub(crate) exchanges: Vec<Exchange>,
    /// Slots of pools made, and of pools that go.
    pub(crate) created: Vec<u8>,
    pub(crate) doomed: Vec<u8>,
    pub(crate) renames: Vec<(u8, Name)>,
    /// What pools and domains had before.
    pub(crate) pool_undo: Vec<(u8, PoolParams)>,
    pub(crate) domain_undo: Vec<Undo>,
    /// Who must come by because of parameters.
    pub(crate) kick: Kick,
    /// By slot: pools of which somebody may have no CPU afterwards.
    pub(crate) watched: u64,
    report: Report,
    undoing: Undoing,
    /// Who has been called for what is waited for now, and when the first of them was.
    called: CpuSet,
    called_at: Instant,
}

/// CPUs are waited for: who of them has to be called, since nobody has done so or it is long ago.
pub(crate) fn call(
    called: &mut CpuSet,
    called_at: &mut Instant,
    waited: &CpuSet,
    now: Instant,
) -> Kick {
    if called.is_empty() || now.since(*called_at) >= CALL_AGAIN {
        *called = CpuSet::EMPTY;
        *called_at = now;
    }
    let new = waited.difference(called);
    *called = called.union(&new);
    Kick(new)
}

impl Change {
    pub(crate) const fn new() -> Change {
        Change {
            phase: Phase::Cpus,
            cpus: Vec::new(),
            moves: Vec::new(),
            exchanges: Vec::new(),
            created: Vec::new(),
            doomed: Vec::new(),
            renames: Vec::new(),
            pool_undo: Vec::new(),
            domain_undo: Vec::new(),
            report: Report {
                stood_still: Span::ZERO,
                adjusted: Adjusted::NONE,
            },
            kick: Kick::NONE,
            watched: 0,
            undoing: Undoing::No,
            called: CpuSet::EMPTY,
            called_at: Instant(0),
        }
    }

    /// See `call`.
    pub(crate) fn call(&mut self, waited: &CpuSet, now: Instant) -> Kick {
        call(&mut self.called, &mut self.called_at, waited, now)
    }

    /// From now on something else is waited for.
    pub(crate) fn next_wait(&mut self) {
        self.called = CpuSet::EMPTY;
    }

    pub(crate) fn adjusted(&mut self, a: Adjusted) {
        self.report.adjusted = self.report.adjusted.with(a);
    }

    pub(crate) fn stood(&mut self, s: Span) {
        self.report.stood_still = self.report.stood_still.max(s);
    }
}

impl<R: RelaxStrategy> PoolSet<R> {
    /// Begins a plan; `status` tells the rest. These CPUs must come by, even where it was refused: somebody may have had
    /// other parameters for a moment.
    pub fn begin(&self, plan: &Plan, now: Instant) -> (Kick, Result<(), Refusal>) {
        let first = |error| (Kick::NONE, Err(Refusal { step: 0, error }));
        let mut config = match self.settled() {
            Ok(c) => c,
            Err(e) => return first(e),
        };
        let model = match self.model(&config, plan) {
            Ok(m) => m,
            Err(refusal) => return (Kick::NONE, Err(refusal)),
        };
        let mut change = Change::new();
        if let Err(refusal) = self.prepare(&model, &mut change, true, now) {
            return (self.release(change, now), Err(refusal));
        }
        config.ended = None;
        let kick = change.kick.and(self.depart(&change, now));
        config.change = Some(change);
        self.changing.store(true, Ordering::Release);
        (kick.and(self.carry(&mut config, now)), Ok(()))
    }

    /// What `plan` would do; changes nothing. Of steps that concern groups only whether they are refused: no call puts one
    /// into a plan, each is begun by itself. These CPUs must come by: a domain that the plan moves counts as one on its way
    /// for a moment, and one of its vCPUs that has been turned on in just that moment (a domain restarts without the
    /// config lock) is let run only now.
    pub fn preview(&self, plan: &Plan, now: Instant) -> (Kick, Result<Preview, Refusal>) {
        let config = match self.settled() {
            Ok(c) => c,
            Err(error) => return (Kick::NONE, Err(Refusal { step: 0, error })),
        };
        let model = match self.model(&config, plan) {
            Ok(m) => m,
            Err(refusal) => return (Kick::NONE, Err(refusal)),
        };
        let mut change = Change::new();
        let prepared = self.prepare(&model, &mut change, false, now);
        let seen = prepared.and_then(|()| {
            self.look(&model)
                .map_err(|error| Refusal { step: 0, error })
        });
        (self.release(change, now), seen)
    }

    /// How far the change is. Asking carries it on.
    pub fn status(&self, now: Instant) -> Status {
        let mut config = self.config.lock();
        if config.change.is_none() {
            return Status::None;
        }
        let kick = self.carry(&mut config, now);
        match config.change {
            Some(_) => Status::Pending(kick),
            // Finished by this very look: the last kicks still have to be sent.
            None if !kick.is_none() => Status::Pending(kick),
            None => Status::None,
        }
    }

    /// How the last change ended, once.
    pub fn outcome(&self) -> Option<Result<Report, PoolError>> {
        self.config.lock().ended.take()
    }

    /// Takes the change under way back. `TooLate` when domains have arrived already.
    pub fn abort(&self, now: Instant) -> Result<Kick, PoolError> {
        let mut config = self.config.lock();
        let Some(mut c) = config.change.take() else {
            return Ok(Kick::NONE);
        };
        if c.phase == Phase::Exchanging || c.undoing != Undoing::No {
            let late = c.phase == Phase::Exchanging;
            config.change = Some(c);
            return if late {
                Err(PoolError::TooLate)
            } else {
                Ok(self.carry(&mut config, now))
            };
        }
        let mut kick = self.give_back_moves(&mut c, now);
        // CPUs that have not arrived do so first, and then all go back; pools made for them go last.
        let mut back = Change {
            undoing: Undoing::Arriving,
            cpus: core::mem::take(&mut c.cpus),
            doomed: core::mem::take(&mut c.created),
            ..Change::new()
        };
        for d in &back.doomed {
            if let Some(mut p) = self.lock_slot(usize::from(*d)) {
                p.closing = true;
            }
        }
        kick = kick.and(self.undo(&mut c, now));
        back.report = c.report;
        config.change = Some(back);
        kick = kick.and(self.carry(&mut config, now));
        Ok(kick)
    }

    /// Does what can be done now. By any CPU that holds no lock.
    pub(crate) fn advance(&self, now: Instant) -> Kick {
        self.carry(&mut self.config.lock(), now)
    }

    fn carry(&self, config: &mut Config, now: Instant) -> Kick {
        let Some(mut c) = config.change.take() else {
            return Kick::NONE;
        };
        let mut kick = Kick::NONE;
        let done = loop {
            match c.phase {
                Phase::Cpus => {
                    let late = self.late(&c);
                    if !late.is_empty() {
                        kick = kick.and(c.call(&late, now));
                        break false;
                    }
                    c.next_wait();
                    self.note_cpus(&mut c);
                    match c.undoing {
                        Undoing::No => kick = kick.and(self.stop(&c, now)),
                        Undoing::Arriving => {
                            kick = kick.and(self.turn_back(&mut c, now));
                            c.undoing = Undoing::Returning;
                            continue;
                        }
                        Undoing::Returning => {}
                    }
                    c.phase = Phase::Stopping;
                }
                Phase::Stopping => {
                    let held = self.held(&c);
                    if !held.is_empty() && !broken(Fault::HeldIgnored) {
                        kick = kick.and(c.call(&held, now));
                        break false;
                    }
                    c.next_wait();
                    kick = kick.and(self.arrive(&mut c, now));
                    c.phase = Phase::Exchanging;
                }
                Phase::Exchanging => {
                    let Some(mut x) = c.exchanges.pop() else {
                        break true;
                    };
                    let (k, finished) = self.exchange(&mut x, &mut c, now);
                    kick = kick.and(k);
                    if !finished {
                        c.exchanges.push(x);
                        break false;
                    }
                }
            }
        };
        if done {
            self.note_stranded(&mut c);
            config.ended = Some(match c.undoing {
                Undoing::No => Ok(c.report),
                _ => Err(PoolError::Aborted),
            });
            self.changing.store(false, Ordering::Release);
        } else {
            config.change = Some(c);
        }
        kick
    }

    /// All is done: whether somebody is left without a CPU.
    fn note_stranded(&self, c: &mut Change) {
        for slot in (0..tarn_abi::MAX_POOLS).filter(|s| c.watched >> s & 1 != 0) {
            let without = self
                .lock_present(slot)
                .is_some_and(|mut p| p.stranded() > 0);
            c.report.adjusted = c.report.adjusted.with_if(Adjusted::NO_CPU, without);
        }
    }

    /// CPUs that have not arrived.
    fn late(&self, c: &Change) -> CpuSet {
        c.cpus
            .iter()
            .filter(|(cpu, _, _)| {
                let x = &self.cpus[cpu.index()];
                x.online.load(Ordering::Acquire)
                    && x.member.load(Ordering::Acquire) != x.want.load(Ordering::Acquire)
            })
            .map(|x| x.0)
            .collect()
    }

    /// Tells the CPUs where to go.
    pub(crate) fn depart(&self, c: &Change, now: Instant) -> Kick {
        let mut kick = Kick::NONE;
        for (cpu, from, to) in &c.cpus {
            let x = &self.cpus[cpu.index()];
            x.displaced.store(0, Ordering::Relaxed);
            if let Some(mut p) = self.lock_slot(slot_of(*to)) {
                p.tick(now);
                p.incoming.insert(*cpu);
            }
            if let Some(mut p) = self.lock_slot(slot_of(*from)) {
                p.incoming.remove(*cpu);
                if p.cpus.contains(*cpu) {
                    p.leaving.insert(*cpu);
                } else {
                    p.sched().forget_pcpu(*cpu);
                }
            }
            x.want.store(*to, Ordering::Release);
            if x.online.load(Ordering::Acquire) {
                kick = kick.and(Kick::one(*cpu));
            }
        }
        kick
    }

    /// How long CPUs that left kept a vCPU in nobody's hands, and whose affinity has lost its meaning by it.
    fn note_cpus(&self, c: &mut Change) {
        let mut lost = CpuSet::EMPTY;
        let mut from = [false; tarn_abi::MAX_POOLS];
        for (cpu, old, _) in &c.cpus {
            let displaced = self.cpus[cpu.index()].displaced.swap(0, Ordering::Relaxed);
            c.report.stood_still = c.report.stood_still.max(Span(displaced));
            lost.insert(*cpu);
            if let Some(f) = from.get_mut(slot_of(*old)) {
                *f = true;
            }
        }
        for (slot, _) in from.iter().enumerate().filter(|(_, f)| **f) {
            let Some(p) = self.lock_present(slot) else {
                continue;
            };
            let cpus = p.future_cpus();
            for r in p.rows.iter() {
                let had = |set: &CpuSet| !set.intersection(&lost).is_empty();
                if had(&r.params.affinity) {
                    c.report.adjusted = c.report.adjusted.with(affinity(&r.params, &cpus));
                }
                let vain = had(&r.params.soft) && prefers_in_vain(&r.params, &cpus, p.kind);
                let said = &mut c.report.adjusted;
                *said = said.with_if(Adjusted::SOFT_UNUSED, vain);
            }
        }
    }

    /// A change that is taken back: the CPUs, all arrived, go home, where their places still are.
    fn turn_back(&self, c: &mut Change, now: Instant) -> Kick {
        for x in &mut c.cpus {
            core::mem::swap(&mut x.1, &mut x.2);
        }
        for (cpu, _, to) in &c.cpus {
            if let Some(mut p) = self.lock_slot(slot_of(*to)) {
                let again = p.sched().alloc_pcpu(*cpu, now);
                debug_assert!(again.is_ok(), "the tables never shrink");
            }
        }
        self.depart(c, now)
    }

    /// Stops the domains that move.
    fn stop(&self, c: &Change, now: Instant) -> Kick {
        let mut kick = Kick::NONE;
        for d in &c.moves {
            if let Ok((mut p, dom, _)) = self.lock_domain(*d) {
                let p: &mut Pool = &mut p;
                let now = p.tick(now);
                kick = kick.and(p.restate(dom, now));
            }
        }
        kick
    }

    /// CPUs that hold registers of domains that move.
    fn held(&self, c: &Change) -> CpuSet {
        let mut held = CpuSet::EMPTY;
        for d in &c.moves {
            if let Ok((mut p, dom, _)) = self.lock_domain(*d)
                && p.doms.at(dom).moving.is_some()
            {
                held = held.union(&p.holders(dom));
            }
        }
        held
    }

    /// All registers are in memory: domains change hands, pools get their names, others go.
    fn arrive(&self, c: &mut Change, now: Instant) -> Kick {
        let mut kick = Kick::NONE;
        for d in core::mem::take(&mut c.moves) {
            // A domain that has ended meanwhile has taken its reservation back.
            let Ok((mut guard, dom, slot)) = self.lock_domain(d) else {
                continue;
            };
            let to = guard.doms.at(dom).moving.as_ref().map(|m| m.to);
            let moved = match to {
                None => continue,
                Some(to) if to == slot => {
                    let p: &mut Pool = &mut guard;
                    let now = p.tick(now);
                    p.finish_regroup(dom, now)
                }
                Some(_) => {
                    drop(guard);
                    self.finish_move(d, dom, slot, now)
                }
            };
            kick = kick.and(moved.kick);
            c.report.adjusted = c.report.adjusted.with(moved.adjusted);
            c.stood(moved.stood_still);
        }
        for (slot, name) in core::mem::take(&mut c.renames) {
            if let Some(mut p) = self.lock_slot(usize::from(slot)) {
                p.name = name;
            }
        }
        for slot in core::mem::take(&mut c.doomed) {
            self.vacate(slot);
        }
        kick
    }

    /// Takes an empty pool out of its slot.
    pub(crate) fn vacate(&self, slot: u8) {
        let mut p = self.pools[usize::from(slot)].lock();
        let old = p.take();
        self.generations[usize::from(slot)].fetch_add(1, Ordering::Relaxed);
        drop(p);
        drop(old);
    }

    /// Gives reservations of moves back; their domains run on.
    pub(crate) fn give_back_moves(&self, c: &mut Change, now: Instant) -> Kick {
        let mut kick = Kick::NONE;
        for d in core::mem::take(&mut c.moves).into_iter().rev() {
            if let Ok((guard, dom, slot)) = self.lock_domain(d) {
                kick = kick.and(self.cancel_move(guard, dom, slot, now));
            }
        }
        kick
    }

    /// A pool that may or may not be there.
    pub(crate) fn lock_present(&self, slot: usize) -> Option<crate::set::Guard<'_, R>> {
        self.lock_pool(self.id_of(slot)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::{Clock, Machine, Running};
    use crate::plan::{Step, Target};
    use crate::pool::PoolConfig;
    use tarn_abi::VcpuId;
    use tarn_sched::GuestHint;

    /// CPU 1, which nobody has to call, as it is asked here when it would be.
    struct Quiet;

    impl Clock for Quiet {
        fn now(&self) -> Instant {
            Instant(1)
        }
        fn arm(&mut self, _: Option<Instant>) {}
    }

    impl Machine for Quiet {
        fn save(&mut self, _: VcpuId) {}
        fn load(&mut self, _: VcpuId) {}
        fn kick(&mut self, _: Kick) {}
    }

    /// A domain that is to move in a dry run is turned on while that looks: who must come by for it is said at its end.
    #[test]
    fn a_dry_run_that_kept_somebody_from_running_says_who_must_come() {
        let set = PoolSet::<spin::relax::Spin>::new();
        let now = Instant(1);
        set.init(CpuSet::first(3), &PoolConfig::new("Pool-0"), now)
            .unwrap();
        let other = set.create(&PoolConfig::new("other"), now).unwrap();
        let _ = set.assign_cpu(CpuId(2), Some(other), now);
        let idle = set.cpu_online(CpuId(1), now).unwrap();
        let _ = set.settle(idle, &mut Quiet);
        let looked = set.reschedule(CpuId(1), None, GuestHint::default(), &mut Quiet);
        assert!(matches!(looked, Running::Idle(_)));
        let (d, v) = (DomainId::new(1, 0), VcpuId::new(1, 0));
        let list = [(v, VcpuParams::DEFAULT)];
        let params = DomainParams::default();
        let _ = set
            .add_domain(d, PoolId::POOL0, &params, &list, now)
            .unwrap();
        let plan = Plan::of(Step::MoveDomain(d, Target::Id(other))).unwrap();
        assert!(set.preview(&plan, now).0.is_none());
        // Off, and now reset while the dry run looks, and turned on.
        let _ = set.kill(d, now).unwrap();
        let mut c = Change::new();
        let model = set.model(&set.config.lock(), &plan).unwrap();
        set.prepare(&model, &mut c, false, now).unwrap();
        set.reset(d, now).unwrap();
        assert!(set.online(v, now).unwrap().is_none(), "it is on its way");
        assert_eq!(set.release(c, now), Kick::one(CpuId(1)));
    }

    #[test]
    fn who_is_waited_for_is_called_once_and_again_when_it_is_long_ago() {
        let (mut called, mut at) = (CpuSet::EMPTY, Instant(0));
        let two = CpuSet::first(2);
        let mut ask = |waited: &CpuSet, us: u64| {
            let now = Instant(0) + Span::us(us);
            call(&mut called, &mut at, waited, now)
        };
        assert_eq!(ask(&CpuSet::one(CpuId(1)), 5_000), Kick::one(CpuId(1)));
        assert_eq!(ask(&two, 5_400), Kick::one(CpuId(0)), "the other is told");
        assert_eq!(ask(&two, 5_999), Kick::NONE);
        assert_eq!(ask(&two, 6_000), Kick(two), "since the first was called");
        assert_eq!(ask(&two, 6_001), Kick::NONE);
    }
}
