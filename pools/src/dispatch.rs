//! The switch protocol, written once: what a CPU does to itself. The hypervisor and the simulator run this code with
//! their own [`Machine`].
//!
//! Must never hold a pool lock over `save`, `load`, `arm` or `kick`. Neighbours: `set.rs` for what others do to a vCPU.

use crate::pool::{Pool, book, tag};
use crate::row::{Place, Want};
use crate::runstate::VcpuTimes;
use crate::set::{Block, Cpu, FREE, PoolSet, slot_of};
use crate::step::{Fault, broken};
use core::sync::atomic::Ordering;
use spin::RelaxStrategy;
use tarn_abi::{CpuId, Instant, VcpuId};
use tarn_sched::{GuestHint, Kick, News, WakeReason};

/// A CPU's clock and its one timer for the scheduler.
pub trait Clock {
    /// The time now. Called with a pool lock held: must not lock.
    fn now(&self) -> Instant;
    /// Come by (`reschedule`) at that time; `None` = no timer.
    fn arm(&mut self, at: Option<Instant>);
}

/// What a CPU can do to itself.
pub trait Machine: Clock {
    /// Registers of `v` from the CPU to memory.
    fn save(&mut self, v: VcpuId);
    /// Registers of `v` from memory to the CPU.
    fn load(&mut self, v: VcpuId);
    /// `v` is about to be loaded; how its time was spent until now.
    fn arrives(&mut self, v: VcpuId, times: &VcpuTimes) {
        let _ = (v, times);
    }
    /// Something an operator should hear of `v`.
    fn news(&mut self, v: VcpuId, what: News) {
        let _ = (v, what);
    }
    /// Makes these CPUs call `reschedule` before they enter a guest or sleep; the calling one may be among them.
    fn kick(&mut self, k: Kick);
}

/// What the CPU shall do now.
#[derive(Debug)]
#[must_use]
pub enum Running {
    /// Enter this vCPU; it is loaded.
    Vcpu {
        /// Which.
        id: VcpuId,
        /// It was chosen boosted.
        boosted: bool,
    },
    /// Nothing to do and nothing loaded: `settle`, then sleep until an interrupt.
    Idle(IdleCpu),
    /// Nothing to do; this vCPU is asleep but still loaded. Sleep until an interrupt, then `reschedule` with it.
    Doze(VcpuId),
}

/// Proof that nothing is loaded on a CPU. Neither `Copy` nor `Clone`.
#[derive(Debug)]
pub struct IdleCpu {
    cpu: CpuId,
}

impl IdleCpu {
    pub(crate) const fn new(cpu: CpuId) -> Self {
        IdleCpu { cpu }
    }

    /// Which CPU.
    pub const fn cpu(&self) -> CpuId {
        self.cpu
    }
}

impl Cpu {
    fn goes_idle(&self, now: Instant) {
        if self.idle_since.load(Ordering::Relaxed) == 0 {
            self.idle_since
                .store(now.0.saturating_add(1), Ordering::Release);
        }
    }

    fn gets_busy(&self, now: Instant) {
        let since = self.idle_since.load(Ordering::Relaxed);
        if since != 0 {
            let total = self.idle.load(Ordering::Relaxed);
            let total = total.saturating_add(now.0.saturating_sub(since - 1));
            self.idle_since.store(0, Ordering::Release);
            self.idle.store(total, Ordering::Release);
        }
    }
}

impl<R: RelaxStrategy> PoolSet<R> {
    /// Decides what `cpu`, the calling one, does next, and does the switch. `loaded` is whose registers are in it.
    pub fn reschedule<M: Machine>(
        &self,
        cpu: CpuId,
        loaded: Option<VcpuId>,
        hint: GuestHint,
        m: &mut M,
    ) -> Running {
        let me = &self.cpus[cpu.index()];
        let member = me.member.load(Ordering::Relaxed);
        let slot = slot_of(member);
        let Some(mut guard) = self.lock_slot(slot) else {
            me.asks(None);
            m.arm(None);
            return Running::Idle(IdleCpu::new(cpu));
        };
        let p: &mut Pool = &mut guard;
        let now = p.tick(m.now());
        let decided = now;
        let prev = loaded.and_then(|v| self.row_of(v));
        let unparked = if p.unpark_at.is_some_and(|t| t <= now) {
            p.unpark(now)
        } else {
            Kick::NONE
        };
        let also = if me.is_due(now) {
            unparked.and(p.watch(&self.cpus, cpu, now))
        } else {
            unparked
        };
        if let Some(row) = prev {
            p.park_if_spent(row, now);
        }
        let leaving = p.leaving.contains(cpu) && !broken(Fault::LeavingIgnored);
        let must_idle = hint.must_idle || leaving;
        let pick = p
            .sched()
            .pick_next(cpu, GuestHint { must_idle, ..hint }, now);
        let (next, boosted) = (pick.next.map(|t| t.0 as u16), pick.boosted);

        let mut doze = false;
        if next != prev
            && let Some(row) = prev
        {
            let r = p.rows.at(row);
            r.place = Place::Loaded(cpu);
            doze = next.is_none()
                && r.want == Want::Sleep
                && !r.stopped
                && !must_idle
                && !self.no_doze.load(Ordering::Relaxed);
            book(r, &mut p.doms, now);
            doze = doze && p.sched().may_keep(cpu);
        }
        let (mut entered, mut times) = (None, None);
        let until = if let Some(row) = next {
            let r = p.rows.at(row);
            r.place = Place::Running(cpu);
            r.last = Some(cpu);
            // Also of one that stays: it may have dozed.
            book(r, &mut p.doms, now);
            if next != prev {
                r.sticky = false;
                times = Some(r.times);
            }
            entered = Some(r.id);
            let dom = r.dom;
            me.gets_busy(now);
            p.cap_until(dom, pick.until)
        } else {
            me.goes_idle(now);
            pick.until.into_iter().chain(p.unpark_at).min()
        };
        let news = pick
            .news
            .and_then(|(tag, what)| Some((p.rows.get(tag.0 as u16)?.id, what)));
        me.asks(until);
        drop(guard);

        m.arm(until);
        if let Some((v, what)) = news {
            m.news(v, what);
        }
        let kick = pick.kick.and(also);
        if !kick.is_none() {
            m.kick(kick);
        }
        if next == prev || doze {
            return match (entered, loaded) {
                (Some(id), _) => Running::Vcpu { id, boosted },
                (None, Some(v)) if doze => Running::Doze(v),
                _ => Running::Idle(IdleCpu::new(cpu)),
            };
        }
        if let (Some(v), Some(row)) = (loaded, prev) {
            if !broken(Fault::SavedEarly) {
                m.save(v);
            }
            if let Some(mut guard) = self.lock_slot(slot) {
                let p: &mut Pool = &mut guard;
                let now = p.tick(m.now());
                let r = p.rows.at(row);
                r.place = Place::Memory;
                let ent = r.ent;
                let kick = p.sched().context_saved(ent, cpu, now);
                drop(guard);
                if leaving {
                    me.displaced
                        .fetch_max(now.since(decided).0, Ordering::Relaxed);
                }
                if !kick.is_none() && !broken(Fault::SavedForgotten) {
                    m.kick(kick);
                }
            }
            self.carry_on(m);
        }
        if let (Some(v), true) = (loaded, broken(Fault::SavedEarly)) {
            m.save(v);
        }
        match entered {
            Some(v) => {
                if let Some(times) = &times {
                    m.arrives(v, times);
                }
                m.load(v);
                Running::Vcpu { id: v, boosted }
            }
            None => Running::Idle(IdleCpu::new(cpu)),
        }
    }

    /// The vCPU `v` that `cpu`, the calling one, runs asks whether it may sleep, as with `block`. If nobody else wants
    /// the CPU it dozes at once (`Block::Dozes`): there is nothing to decide and no timer.
    pub fn block_here(
        &self,
        cpu: CpuId,
        v: VcpuId,
        now: Instant,
        pending: impl FnOnce() -> bool,
    ) -> Block {
        let Some((mut guard, row)) = self.lock_vcpu(v) else {
            return Block::Slept;
        };
        let p: &mut Pool = &mut guard;
        let now = p.tick(now);
        let r = p.rows.at(row);
        if core::mem::take(&mut r.sticky) && pending() && !broken(Fault::DozesDeaf) {
            return Block::Pending;
        }
        let (ent, dom) = (r.ent, r.dom);
        let plain = r.eligible() && r.place == Place::Running(cpu);
        if plain
            && p.unpark_at.is_none()
            && !p.leaving.contains(cpu)
            && p.doms.at(dom).params.cap == 0
            && !self.no_doze.load(Ordering::Relaxed)
            && p.sched().doze(ent, cpu, now)
        {
            let r = p.rows.at(row);
            r.want = Want::Sleep;
            r.place = Place::Loaded(cpu);
            p.book(row, now);
            self.cpus[cpu.index()].asks(None);
            self.cpus[cpu.index()].goes_idle(now);
            return Block::Dozes;
        }
        crate::set::leave(p, row, Want::Sleep, now);
        Block::Slept
    }

    /// An interrupt wakes the vCPU that dozes on `cpu`, the calling one. True: it runs, and nobody else wants the CPU. False:
    /// nothing has changed; `wake` it.
    pub fn rouse(&self, cpu: CpuId, v: VcpuId, why: WakeReason, now: Instant) -> bool {
        let Some((mut guard, row)) = self.lock_vcpu(v) else {
            return false;
        };
        let p: &mut Pool = &mut guard;
        let now = p.tick(now);
        let r = p.rows.at(row);
        let (ent, dom) = (r.ent, r.dom);
        let dozes = r.want == Want::Sleep && r.place == Place::Loaded(cpu);
        if !dozes
            || r.stopped
            || r.parked
            || p.unpark_at.is_some()
            || p.leaving.contains(cpu)
            || p.doms.at(dom).params.cap != 0
            || !p.sched().rouse(ent, tag(row), cpu, why, now)
        {
            return false;
        }
        let r = p.rows.at(row);
        r.want = Want::Ready;
        r.place = Place::Running(cpu);
        r.last = Some(cpu);
        p.book(row, now);
        self.cpus[cpu.index()].gets_busy(now);
        true
    }

    /// Carries out a pending change of this CPU's pool. Nothing is loaded here: that is what `idle` proves.
    pub fn settle<M: Machine>(&self, idle: IdleCpu, m: &mut M) -> IdleCpu {
        let cpu = idle.cpu;
        let me = &self.cpus[cpu.index()];
        let want = me.want.load(Ordering::Acquire);
        let member = me.member.load(Ordering::Relaxed);
        if want == member {
            return idle;
        }
        if let Some(mut guard) = self.lock_slot(slot_of(member)) {
            let now = guard.tick(m.now());
            let mut kick = guard.sched().free_pcpu(cpu, now);
            guard.cpus.remove(cpu);
            guard.leaving.remove(cpu);
            if guard.timed() {
                // Its timer may have been the one that mattered to all.
                kick = kick.and(Kick(guard.cpus));
            }
            me.member.store(FREE, Ordering::Release);
            drop(guard);
            m.kick(kick);
        }
        if let Some(mut guard) = self.lock_slot(slot_of(want)) {
            let now = guard.tick(m.now());
            let kick = guard.sched().switch_sched(cpu, now);
            match me.capacity.load(Ordering::Relaxed) {
                0 => {}
                capacity => guard.sched().set_capacity(cpu, capacity, now),
            }
            guard.incoming.remove(cpu);
            guard.cpus.insert(cpu);
            me.member.store(want, Ordering::Release);
            drop(guard);
            m.kick(kick);
        }
        self.moved.fetch_add(1, Ordering::Release);
        self.carry_on(m);
        idle
    }

    /// If a change is under way, this CPU may have been the one it waited for.
    #[inline]
    fn carry_on<M: Machine>(&self, m: &mut M) {
        if self.changing.load(Ordering::Acquire) {
            let kick = self.advance(m.now());
            if !kick.is_none() {
                m.kick(kick);
            }
        }
    }
}
