//! The set of all pools and the operations on one vCPU: wake, block, yield, off.
//!
//! Each takes one pool lock, touches one row and the scheduler, and answers by value. Must never allocate, loop over a
//! table, or call back into the machine. Neighbours: `dispatch.rs` (what a CPU does to itself), `domains.rs`, `reconf.rs`.

use crate::change::Change;
use crate::dispatch::IdleCpu;
use crate::error::PoolError;
use crate::pool::{Pool, PoolConfig, Wfi, vacant};
use crate::row::{Place, Power, Want};
use crate::step;
use alloc::boxed::Box;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use spin::RelaxStrategy;
use spin::mutex::{TicketMutex, TicketMutexGuard};
use tarn_abi::call::report::Report;
use tarn_abi::{
    CpuId, CpuSet, DomainId, Instant, MAX_CPUS, MAX_DOMAINS, MAX_POOLS, MAX_VCPUS, PoolId, Span,
    VcpuId,
};
use tarn_sched::{DeboostCause, Kick, Scheduler, Stats, WakeReason, registry};

/// In `member` and `want`: no pool. A pool is its slot + 1, so that a new set is all zeros and costs no image space.
pub(crate) const FREE: u16 = 0;

/// A word of `member` or `want` as a slot.
#[inline]
pub(crate) const fn slot_of(word: u16) -> usize {
    (word as usize).wrapping_sub(1)
}

/// What is kept per CPU outside any lock.
pub(crate) struct Cpu {
    /// Slot of its pool; written by the CPU itself.
    pub(crate) member: AtomicU16,
    /// Slot of the pool it shall be in; written under the config lock while equal to `member`.
    pub(crate) want: AtomicU16,
    /// Whether it is up.
    pub(crate) online: AtomicBool,
    /// Its speed, 1 to 1024; 0 = not said.
    pub(crate) capacity: AtomicU16,
    /// ns spent idle, up to `idle_since`.
    pub(crate) idle: AtomicU64,
    /// Since when it is idle, plus 1; 0 = it is not.
    pub(crate) idle_since: AtomicU64,
    /// The longest time, ns, for which a vCPU was in nobody's hands because this CPU left its pool.
    pub(crate) displaced: AtomicU64,
    /// When it asked to be called, ns; 0 = it did not.
    pub(crate) due: AtomicU64,
}

/// What needs no lock of a pool, and what serialises reconfigurations.
pub(crate) struct Config {
    /// CPUs the machine has.
    pub(crate) present: CpuSet,
    /// The change under way.
    pub(crate) change: Option<Change>,
    /// How the last one ended, until somebody asks.
    pub(crate) ended: Option<Result<Report, PoolError>>,
    /// What vCPUs that are no more have counted.
    pub(crate) gone: Stats,
}

/// Where a vCPU or domain is: 0 = nowhere.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Home(u64);

impl Home {
    const VALID: u64 = 1 << 63;

    pub(crate) const NOWHERE: Home = Home(0);

    pub(crate) const fn new(pool: u8, row: u16, generation: u16) -> Home {
        Home(Home::VALID | (generation as u64) << 32 | (pool as u64) << 16 | row as u64)
    }
    pub(crate) const fn row(self) -> u16 {
        self.0 as u16
    }
    pub(crate) const fn pool(self) -> usize {
        (self.0 >> 16) as u8 as usize
    }
    const fn is(self, generation: u16) -> bool {
        self.0 & Home::VALID != 0 && (self.0 >> 32) as u16 == generation
    }
}

/// What `wake` found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Woken {
    /// It runs on that CPU at this moment, which must look at its interrupts; it will not fall asleep before it has.
    Running(CpuId),
    /// These CPUs must come by and reschedule.
    Kick(Kick),
}

/// What `block` decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Block {
    /// Asleep: reschedule.
    Slept,
    /// Asleep, its registers stay in the CPU, and there is nothing else to run (`block_here`): no need to reschedule.
    Dozes,
    /// An interrupt came first: go on running.
    Pending,
}

/// A pool that exists, locked.
pub(crate) struct Guard<'a, R>(TicketMutexGuard<'a, Option<Box<Pool>>, R>);

impl<'a, R> Guard<'a, R> {
    /// Of a pool that exists.
    pub(crate) fn of(lock: TicketMutexGuard<'a, Option<Box<Pool>>, R>) -> Self {
        Guard(lock)
    }
}

impl<R> Deref for Guard<'_, R> {
    type Target = Pool;
    #[inline]
    fn deref(&self) -> &Pool {
        match &*self.0 {
            Some(p) => p,
            None => vacant(),
        }
    }
}

impl<R> DerefMut for Guard<'_, R> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Pool {
        match &mut *self.0 {
            Some(p) => p,
            None => vacant(),
        }
    }
}

/// All pools. `R` is how a CPU waits for a lock.
pub struct PoolSet<R: RelaxStrategy> {
    pub(crate) config: TicketMutex<Config, R>,
    pub(crate) pools: [TicketMutex<Option<Box<Pool>>, R>; MAX_POOLS],
    /// How often each slot has been given up.
    pub(crate) generations: [AtomicU16; MAX_POOLS],
    pub(crate) wfi: [AtomicU8; MAX_POOLS],
    pub(crate) vcpus: [AtomicU64; MAX_VCPUS],
    pub(crate) doms: [AtomicU64; MAX_DOMAINS],
    pub(crate) cpus: [Cpu; MAX_CPUS],
    /// The highest number of a CPU that has come up, plus 1.
    pub(crate) cpus_end: AtomicU16,
    pub(crate) no_doze: AtomicBool,
    /// A change is under way: CPUs that come by carry it on.
    pub(crate) changing: AtomicBool,
    /// How often a CPU or a domain has changed pools; wraps.
    pub(crate) moved: AtomicU32,
}

impl<R: RelaxStrategy> Default for PoolSet<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: RelaxStrategy> PoolSet<R> {
    /// No pool yet; `init` first.
    pub const fn new() -> Self {
        PoolSet {
            config: TicketMutex::new(Config {
                present: CpuSet::EMPTY,
                change: None,
                ended: None,
                gone: Stats::ZERO,
            }),
            pools: [const { TicketMutex::new(None) }; MAX_POOLS],
            generations: [const { AtomicU16::new(0) }; MAX_POOLS],
            wfi: [const { AtomicU8::new(0) }; MAX_POOLS],
            vcpus: [const { AtomicU64::new(0) }; MAX_VCPUS],
            doms: [const { AtomicU64::new(0) }; MAX_DOMAINS],
            cpus: [const {
                Cpu {
                    member: AtomicU16::new(FREE),
                    want: AtomicU16::new(FREE),
                    online: AtomicBool::new(false),
                    capacity: AtomicU16::new(0),
                    idle: AtomicU64::new(0),
                    idle_since: AtomicU64::new(0),
                    displaced: AtomicU64::new(0),
                    due: AtomicU64::new(0),
                }
            }; MAX_CPUS],
            cpus_end: AtomicU16::new(0),
            no_doze: AtomicBool::new(false),
            changing: AtomicBool::new(false),
            moved: AtomicU32::new(0),
        }
    }

    /// Makes Pool-0 of the CPUs `present`. They are on their way into it until assigned elsewhere, and join when they
    /// come up and `settle`. Once only.
    pub fn init(
        &self,
        present: CpuSet,
        pool0: &PoolConfig<'_>,
        now: Instant,
    ) -> Result<(), PoolError> {
        let sched = registry::build(pool0.sched, &pool0.params)?;
        self.init_with(present, pool0, sched, now)
    }

    /// The same with a scheduler that is not in the registry.
    pub fn init_with(
        &self,
        present: CpuSet,
        pool0: &PoolConfig<'_>,
        sched: Box<dyn Scheduler>,
        now: Instant,
    ) -> Result<(), PoolError> {
        if !present.contains(CpuId::BOOT) {
            return Err(PoolError::NoSuchCpu);
        }
        let id = self.create_with(pool0, sched, now)?;
        if id != PoolId::POOL0 {
            return Err(PoolError::Pool0);
        }
        self.config.lock().present = present;
        let mut p = self.lock_pool(PoolId::POOL0)?;
        for cpu in present.iter() {
            p.sched().alloc_pcpu(cpu, now)?;
            p.incoming.insert(cpu);
            self.cpus[cpu.index()].want.store(1, Ordering::Release);
        }
        Ok(())
    }

    /// Whether a vCPU that falls asleep with nobody waiting may stay loaded (`Running::Doze`). Default yes.
    pub fn set_doze(&self, on: bool) {
        self.no_doze.store(!on, Ordering::Relaxed);
    }

    /// How fast a CPU is in 1/1024 of the fastest (1 to 1024); to be said before it comes up.
    pub fn set_capacity(&self, cpu: CpuId, capacity: u16) {
        if let Some(c) = self.cpus.get(cpu.index()) {
            c.capacity.store(capacity.clamp(1, 1024), Ordering::Relaxed);
        }
    }

    /// The calling CPU is up, idle, with nothing loaded. `None` if it is not one of ours or has said so before.
    pub fn cpu_online(&self, cpu: CpuId, now: Instant) -> Option<IdleCpu> {
        if !self.config.lock().present.contains(cpu) {
            return None;
        }
        let c = self.cpus.get(cpu.index())?;
        if c.online.swap(true, Ordering::AcqRel) {
            return None;
        }
        self.cpus_end.fetch_max(cpu.0 + 1, Ordering::Relaxed);
        c.idle_since
            .store(now.0.saturating_add(1), Ordering::Relaxed);
        Some(IdleCpu::new(cpu))
    }

    /// Locks the configuration, unless a change is under way.
    pub(crate) fn settled(&self) -> Result<TicketMutexGuard<'_, Config, R>, PoolError> {
        let config = self.config.lock();
        if config.change.is_some() {
            Err(PoolError::InFlight)
        } else {
            Ok(config)
        }
    }

    /// Locks the pool a vCPU is in. `None`: no such vCPU (any more).
    #[inline]
    pub(crate) fn lock_vcpu(&self, v: VcpuId) -> Option<(Guard<'_, R>, u16)> {
        let word = self.vcpus.get(v.index())?;
        loop {
            let home = Home(word.load(Ordering::Acquire));
            if !home.is(v.generation) {
                return None;
            }
            step::point();
            let guard = Guard(self.pools[home.pool()].lock());
            if Home(word.load(Ordering::Acquire)) == home {
                return Some((guard, home.row()));
            }
        }
    }

    /// Row of a vCPU whose pool is locked already.
    #[inline]
    pub(crate) fn row_of(&self, v: VcpuId) -> Option<u16> {
        let home = Home(self.vcpus.get(v.index())?.load(Ordering::Acquire));
        home.is(v.generation).then(|| home.row())
    }

    /// Locks the pool a domain is in.
    pub(crate) fn lock_domain(&self, d: DomainId) -> Result<(Guard<'_, R>, u16, u8), PoolError> {
        let word = self.doms.get(d.index()).ok_or(PoolError::NoSuchDomain)?;
        loop {
            let home = Home(word.load(Ordering::Acquire));
            if home == Home::NOWHERE {
                return Err(PoolError::NoSuchDomain);
            }
            if !home.is(d.generation) {
                return Err(PoolError::Stale);
            }
            step::point();
            let guard = Guard(self.pools[home.pool()].lock());
            if Home(word.load(Ordering::Acquire)) == home {
                return Ok((guard, home.row(), home.pool() as u8));
            }
        }
    }

    /// Locks the pool of that id.
    pub(crate) fn lock_pool(&self, id: PoolId) -> Result<Guard<'_, R>, PoolError> {
        step::point();
        let p = self
            .pools
            .get(id.index())
            .ok_or(PoolError::NoSuchPool)?
            .lock();
        if self.generations[id.index()].load(Ordering::Relaxed) != id.generation {
            return Err(PoolError::Stale);
        }
        if p.is_none() {
            Err(PoolError::NoSuchPool)
        } else {
            Ok(Guard(p))
        }
    }

    /// Locks the pool a word of `member` or `want` names, or a slot known to be in use.
    #[inline]
    pub(crate) fn lock_slot(&self, slot: usize) -> Option<Guard<'_, R>> {
        let pool = self.pools.get(slot)?;
        step::point();
        Some(Guard(pool.lock()))
    }

    /// The id of the pool in that slot.
    pub(crate) fn id_of(&self, slot: usize) -> PoolId {
        PoolId::new(slot as u16, self.generations[slot].load(Ordering::Relaxed))
    }

    pub(crate) fn set_vcpu_home(&self, v: VcpuId, h: Home) {
        self.vcpus[v.index()].store(h.0, Ordering::Release);
    }

    pub(crate) fn set_domain_home(&self, d: DomainId, h: Home) {
        self.doms[d.index()].store(h.0, Ordering::Release);
    }

    pub(crate) fn vcpu_home(&self, v: VcpuId) -> Option<Home> {
        self.vcpus
            .get(v.index())
            .map(|w| Home(w.load(Ordering::Acquire)))
    }

    pub(crate) fn domain_home(&self, d: DomainId) -> Option<Home> {
        self.doms
            .get(d.index())
            .map(|w| Home(w.load(Ordering::Acquire)))
    }

    /// An interrupt (or another reason) for `v` has been made pending: it shall run. Nothing happens to a vCPU that is
    /// off; on one that is paused it is remembered.
    pub fn wake(&self, v: VcpuId, why: WakeReason, now: Instant) -> Woken {
        let Some((mut guard, row)) = self.lock_vcpu(v) else {
            return Woken::Kick(Kick::NONE);
        };
        let p = &mut *guard;
        let now = p.tick(now);
        let r = p.rows.at(row);
        let (ent, place) = (r.ent, r.place);
        match r.want {
            Want::Down => Woken::Kick(Kick::NONE),
            Want::Ready => {
                let eligible = r.eligible();
                if let Place::Running(c) = place {
                    r.sticky = !step::broken(step::Fault::WakeForgotten);
                    if eligible {
                        let _ = p.sched().notify(ent, why, now);
                    }
                    return Woken::Running(c);
                }
                Woken::Kick(if eligible {
                    p.sched().notify(ent, why, now)
                } else {
                    Kick::NONE
                })
            }
            Want::Sleep => {
                r.want = Want::Ready;
                p.park_if_spent(row, now);
                let r = p.rows.at(row);
                let (eligible, parked) = (r.eligible(), r.parked);
                let kick = if eligible {
                    p.sched().wake(ent, why, now)
                } else if parked {
                    p.timekeeper()
                } else {
                    Kick::NONE
                };
                p.book(row, now);
                Woken::Kick(kick)
            }
        }
    }

    /// The CPU that runs `v` asks whether it may sleep. `pending` says whether it has an interrupt to take; it is only
    /// asked if a wake hit it since it was loaded or asked last. It must not call this crate.
    pub fn block(&self, v: VcpuId, now: Instant, pending: impl FnOnce() -> bool) -> Block {
        let Some((mut guard, row)) = self.lock_vcpu(v) else {
            return Block::Slept;
        };
        let p = &mut *guard;
        let now = p.tick(now);
        let r = p.rows.at(row);
        if core::mem::take(&mut r.sticky) && pending() {
            return Block::Pending;
        }
        leave(p, row, Want::Sleep, now);
        Block::Slept
    }

    /// The CPU that runs `v` turns it off (PSCI CPU_OFF); reschedule next.
    pub fn offline(&self, v: VcpuId, now: Instant) {
        if let Some((mut guard, row)) = self.lock_vcpu(v) {
            let now = guard.tick(now);
            leave(&mut guard, row, Want::Down, now);
        }
    }

    /// Turns a vCPU on that is off and whose registers have been written (PSCI CPU_ON).
    pub fn online(&self, v: VcpuId, now: Instant) -> Result<Kick, PoolError> {
        let (mut guard, row) = self.lock_vcpu(v).ok_or(PoolError::NoSuchVcpu)?;
        let p = &mut *guard;
        let now = p.tick(now);
        let r = p.rows.at(row);
        match r.power() {
            Power::On => return Err(PoolError::AlreadyOn),
            Power::Leaving => return Err(PoolError::StillLoaded),
            Power::Off => {}
        }
        r.want = Want::Ready;
        let (ent, eligible) = (r.ent, r.eligible());
        let kick = if eligible {
            p.sched().wake(ent, WakeReason::Kick, now)
        } else {
            Kick::NONE
        };
        p.book(row, now);
        Ok(kick)
    }

    /// On, off, or on its way there. `None`: no such vCPU.
    pub fn power(&self, v: VcpuId) -> Option<Power> {
        let (mut p, row) = self.lock_vcpu(v)?;
        Some(p.rows.at(row).power())
    }

    /// The CPU that runs `v` at this moment.
    pub fn runs_on(&self, v: VcpuId) -> Option<CpuId> {
        let (mut p, row) = self.lock_vcpu(v)?;
        match p.rows.at(row).place {
            Place::Running(c) => Some(c),
            _ => None,
        }
    }

    /// The running vCPU lets others go first; reschedule next.
    pub fn yield_now(&self, v: VcpuId, now: Instant) {
        if let Some((mut guard, row)) = self.lock_vcpu(v) {
            let p = &mut *guard;
            let now = p.tick(now);
            let r = p.rows.at(row);
            let (ent, cpu) = (r.ent, r.cpu());
            p.sched().yield_now(ent, cpu, now);
        }
    }

    /// The reason of a boost is gone.
    pub fn deboost(&self, v: VcpuId, why: DeboostCause, now: Instant) -> Kick {
        let Some((mut guard, row)) = self.lock_vcpu(v) else {
            return Kick::NONE;
        };
        let p = &mut *guard;
        let now = p.tick(now);
        let ent = p.rows.at(row).ent;
        p.sched().deboost(ent, why, now)
    }

    /// Interrupts that `v` was given while it ran, with their times in ascending order. For the vCPU whose registers are
    /// in the calling CPU, before that CPU calls `reschedule` or `block`: they count if it is about to lose the CPU (G2).
    pub fn delivered(&self, v: VcpuId, list: impl Iterator<Item = (WakeReason, Instant)>) {
        let Some((mut guard, row)) = self.lock_vcpu(v) else {
            return;
        };
        let p = &mut *guard;
        let r = p.rows.at(row);
        let (ent, counts) = (r.ent, r.eligible() && matches!(r.place, Place::Running(_)));
        for (why, at) in list.filter(|_| counts) {
            let at = p.tick(at);
            // It runs: nobody has to come for it.
            let _ = p.sched().notify(ent, why, at);
        }
    }

    /// Whether `v` is boosted at this moment.
    pub fn is_boosted(&self, v: VcpuId) -> bool {
        self.lock_vcpu(v).is_some_and(|(mut guard, row)| {
            let ent = guard.rows.at(row).ent;
            guard.sched().is_boosted(ent)
        })
    }

    /// The hypervisor has worked for `cost` on `v`'s behalf in somebody else's time: it pays.
    pub fn charge(&self, v: VcpuId, cost: Span, now: Instant) {
        if let Some((mut guard, row)) = self.lock_vcpu(v) {
            let now = guard.tick(now);
            let ent = guard.rows.at(row).ent;
            guard.sched().charge(ent, cost, now);
        }
    }

    /// The hypervisor has worked for `cost` on others' behalf while `v` had the CPU: it gets its time back.
    pub fn refund(&self, v: VcpuId, cost: Span, now: Instant) {
        if let Some((mut guard, row)) = self.lock_vcpu(v) {
            let now = guard.tick(now);
            let ent = guard.rows.at(row).ent;
            guard.sched().refund(ent, cost, now);
        }
    }

    /// What WFI does in the pool `cpu` is in.
    #[inline]
    pub fn wfi_mode(&self, cpu: CpuId) -> Wfi {
        let member = self
            .cpus
            .get(cpu.index())
            .map_or(FREE, |c| c.member.load(Ordering::Relaxed));
        match self
            .wfi
            .get(usize::from(member).wrapping_sub(1))
            .map(|w| w.load(Ordering::Relaxed))
        {
            Some(1) => Wfi::Native,
            _ => Wfi::Trapped,
        }
    }
}

/// The running vCPU stops wanting to run.
pub(crate) fn leave(p: &mut Pool, row: u16, want: Want, now: Instant) {
    let r = p.rows.at(row);
    r.want = want;
    if let Place::Running(c) = r.place {
        r.place = Place::Loaded(c);
    }
    let (ent, counts) = (r.ent, !r.stopped && !r.parked);
    if counts {
        p.sched().sleep(ent, now);
    }
    p.book(row, now);
}

/// The id of the scheduler called `name`.
pub fn sched_by_name(name: &str) -> Option<tarn_abi::SchedId> {
    registry::by_name(name)
}
