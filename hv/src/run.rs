//! The way out of EL2, and the only place that switches vCPUs: what a CPU does between an exit and the next entry.
//!
//! Handlers decide and return an `Outcome`; `leave` acts. It asks the pool whom to run (pools::dispatch holds the
//! protocol; `CpuMachine` here carries its registers in and out), sleeps when there is nobody, performs a building
//! domain's steps and those of an access that concerns many, and returns with the frame and list registers of the vCPU to
//! enter. Interrupts stay masked throughout; a CPU that sleeps or performs steps takes them by asking the GIC.

use crate::arch::{self, GuestFrame, Relax, sysreg};
use crate::counters::{Counters, Kind};
use crate::domain::{Domain, end, table};
use crate::percpu::{Cpu, CpuLocal};
use crate::vcpu::page::BoostPage;
use crate::vcpu::{Loaded, NOWHERE};
use crate::{irq, time, trap, vgic};
use aarch64_cpu::registers::HCR_EL2;
use abi::{Instant, Span, VcpuId};
use alloc::sync::Arc;
use board::guest::layout;
use core::sync::atomic::Ordering;
use drivers::HypTimer;
use pools::{
    Block, Clock, DeboostCause, GuestHint, Kick, Machine, News, PoolSet, Running, VcpuTimes,
    WakeReason, Wfi, Woken,
};
use vdev::vgic::{CpuIf, Irq};

/// Pools, and through them every scheduling decision.
pub static POOLS: PoolSet<Relax> = PoolSet::new();

/// PSTATE.I in a saved program status.
const PSTATE_I: u64 = 1 << 7;
/// How soon, and at most how long after the last look, the end of a boosted handler is looked for.
const PROBE_FIRST: Span = Span::us(25);
const PROBE_MOST: Span = Span::us(200);

/// Less of EL2's time than this, spent for a vCPU or by it for others, waits until more comes together.
const WORTH_SETTLING: Span = Span::us(20);

/// What is to be done after a handler.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The vCPU goes on, unless somebody asked this CPU to come by.
    Resume,
    /// The vCPU sleeps until an interrupt.
    Block,
    /// The pool decides anew.
    Reschedule,
    /// The vCPU goes on when the rest of its access is done (`vgic::Rest`).
    Unfinished,
    /// Its domain has ended: interrupts are looked for before the pool decides anew.
    Ended,
}

/// HCR_EL2 for guests, but for `waits`. Cache maintenance by set and way does not trap: on the CPU it runs on it
/// does what a guest that turns its caches off needs; across a move to another CPU no hypervisor can make it right
/// without cleaning all of the guest's memory. It cannot discard anybody's data (SWIO makes it clean, too).
pub fn hcr() -> u64 {
    (HCR_EL2::VM::Enable
        + HCR_EL2::SWIO::SET
        + HCR_EL2::FMO::EnableVirtualFIQ
        + HCR_EL2::IMO::EnableVirtualIRQ
        + HCR_EL2::AMO::SET
        + HCR_EL2::RW::EL1IsAarch64)
        .value
        | 1 << 2 // PTW: a guest's table walk in device memory faults
        | 1 << 9 // FB: TLB and instruction cache maintenance reaches the CPUs a vCPU may move to
        | 1 << 10 // BSU: barriers are inner shareable at least
        | 1 << 18 // TID3: ID registers
        | 1 << 19 // TSC: SMC
        | 1 << 20 // TIDCP: implementation-defined registers
        | 1 << 21 // TACR: auxiliary control
        | newer_traps()
}

/// The traps of WFI (TWI) and WFE (TWE).
const fn waits(wfi: Wfi) -> u64 {
    match wfi {
        Wfi::Trapped => 1 << 13 | 1 << 14,
        Wfi::Native => 0,
    }
}

/// Traps that exist only with the feature they guard: RAS error records (TERR, TEA), limited ordering regions (TLOR).
fn newer_traps() -> u64 {
    let ras = (sysreg::id_aa64pfr0_el1() >> 28) & 0xf != 0;
    let lor = (sysreg::id_aa64mmfr1_el1() >> 16) & 0xf != 0;
    (u64::from(ras) * (3 << 36)) | (u64::from(lor) << 35)
}

/// Sets this CPU's traps for the first time.
pub fn init_cpu(local: &mut CpuLocal) {
    local.hcr = hcr() | waits(Wfi::Trapped);
    local.ras = (sysreg::id_aa64pfr0_el1() >> 28) & 0xf != 0;
    // UNKNOWN after reset; a guest's own writes trap.
    sysreg::set_mdscr_el1(0);
    // SAFETY: no guest is loaded yet; the stage-2 geometry is that of mem/stage2.rs.
    unsafe {
        sysreg::set_vtcr_el2(crate::mem::stage2::vtcr());
        sysreg::set_hcr_el2(local.hcr);
    }
    sysreg::set_hstr_el2(0);
    // Trace and activity monitor registers trap, FP does not; the rest is RES1.
    sysreg::set_cptr_el2(0x33ff & !(1 << 10) | 1 << 20 | 1 << 30);
    // Debug, OS lock, PMU, profiling and trace filter registers trap; EL2 owns no counters (HPMN = all).
    let pmu = (sysreg::id_aa64dfr0_el1() >> 8) & 0xf;
    let counters = if (1..15).contains(&pmu) {
        (sysreg::pmcr_el0() >> 11) & 0x1f
    } else {
        0
    };
    let trace_filter = u64::from((sysreg::id_aa64dfr0_el1() >> 40) & 0xf != 0) << 19;
    let traps = 1 << 11 | 1 << 10 | 1 << 9 | 1 << 6 | 1 << 5 | 1 << 14 | 1 << 17;
    sysreg::set_mdcr_el2(traps | trace_filter | counters);
    sysreg::clear_fine_traps();
    // The guest reads the physical counter; the physical timer traps.
    sysreg::set_cnthctl_el2(1);
    sysreg::set_cntp_ctl_el0(0);
    sysreg::set_cntv_ctl_el0(0);
    sysreg::set_vpidr_el2(sysreg::midr_el1());
    sysreg::tlbi_all_guests_local();
}

/// One CPU's registers, as the switch protocol sees them.
struct CpuMachine<'a> {
    cpu: &'static Cpu,
    local: &'a mut CpuLocal,
    frame: &'a mut GuestFrame,
    /// Whom `arrives` looked up, for `load`.
    found: Option<(VcpuId, Arc<Domain>, usize)>,
}

impl Clock for CpuMachine<'_> {
    #[inline]
    fn now(&self) -> Instant {
        time::now()
    }

    #[inline]
    fn arm(&mut self, at: Option<Instant>) {
        self.local.slice = at.unwrap_or(Instant::NEVER);
    }
}

impl Machine for CpuMachine<'_> {
    fn save(&mut self, v: VcpuId) {
        let Some(mut l) = self.local.loaded.take() else {
            return;
        };
        debug_assert_eq!(l.vcpu().id, v);
        // TLB and cache maintenance the guest began here is finished before another CPU can run it, and an error that its
        // accesses lead to is its own, not the next one's.
        if let Some(esr) = arch::settle_errors() {
            trap::serror(&l, self.frame.elr, esr);
        }
        let ctx = &mut *l.ctx;
        ctx.frame.copy_from(self.frame);
        ctx.el1.save();
        ctx.fp.save();
        let ctl = sysreg::cntv_ctl_el0();
        let cval = sysreg::cntv_cval_el0();
        sysreg::set_cntv_ctl_el0(0);
        ctx.cntv = (ctl & 3, cval);
        if self.local.ras {
            ctx.vdisr = sysreg::vdisr_el2();
        }
        ctx.home = ctx.tag(self.cpu.id.0);
        self.local.resident = ctx.home;
        irq::viface().save(&mut ctx.cpuif);
        let d = &*l.domain;
        let vcpu = &d.vcpus[l.index];
        let (kick, late);
        let inflight = {
            let mut vgic = d.vgic.lock();
            kick = vgic.unload(l.index, &mut vgic::lrs());
            vcpu.loaded_on.store(NOWHERE, Ordering::Release);
            // An interrupt that came while it was loaded here went to this CPU only: a sleeper must be told.
            // What unloading ended without the guest has to be ended in the GIC by hand.
            vgic::release(&mut vgic, l.index);
            late = vgic.needs_flush(l.index) && vgic.pending(l.index, &vgic::lrs(), CpuIf::ANY);
            vgic.is_hw_inflight(l.index, layout::VTIMER_INTID as u16)
        };
        vgic::deliver(d, kick.without(l.index), vgic::REGISTER, self.cpu);
        irq::viface().disable();
        // What the physical interrupt's state is now: the guest may have ended it meanwhile, or never have had it (a
        // virtual one that it made pending itself).
        let physical = u32::from(irq::vtimer_intid());
        self.local.vtimer_active =
            inflight && irq::gic().is_active(physical, self.cpu.id) == Ok(true);
        // Enabled, not masked, not waiting to be taken already: software watches it from here.
        let due = if ctl & 3 == 1 && !inflight {
            time::at(cval.saturating_add(d.cntvoff.load(Ordering::Relaxed)))
        } else {
            Instant::NEVER
        };
        vcpu.vtimer_at.store(due.0, Ordering::Release);
        let at = due.min(vgic::ptimer_update(d, l.index, self.cpu));
        self.local.alarms.set(vcpu.id, at);
        // What EL2 did for others while this vCPU had the CPU.
        let spent = core::mem::take(&mut self.local.spent);
        if spent >= WORTH_SETTLING {
            POOLS.refund(vcpu.id, spent, time::now());
        }
        let fast = self.cpu.fast_calls.swap(0, Ordering::Relaxed);
        vcpu.counters.add_n(Kind::FastCall, fast);
        let id = vcpu.id;
        *vcpu.rest.lock() = Some(l.ctx);
        if late && let Woken::Kick(k) = POOLS.wake(id, vgic::REGISTER, time::now()) {
            irq::send(k);
        }
    }

    fn load(&mut self, v: VcpuId) {
        let found = self.found.take().filter(|f| f.0 == v);
        let (domain, index) = found
            .map(|(_, domain, index)| (domain, index))
            .or_else(|| table::vcpu(v))
            .expect("a scheduled vCPU has a domain");
        let ctx = domain.vcpus[index]
            .rest
            .lock()
            .take()
            .expect("a vCPU at rest is in one place");
        let d = &*domain;
        let vcpu = &d.vcpus[index];
        vcpu.pending_on.store(false, Ordering::Release);
        vcpu.counters.add(Kind::Switch);
        let owed = vcpu.owed.load(Ordering::Relaxed);
        if owed >= WORTH_SETTLING.0 {
            vcpu.owed.fetch_sub(owed, Ordering::Relaxed);
            POOLS.charge(v, Span(owed), time::now());
        }
        // SAFETY: the domain's own tables, alive as long as `loaded` holds the domain. After that the register may still name
        // them, but EL2 walks no guest's tables, and a guest runs only after another `load`.
        unsafe { sysreg::set_vttbr_el2(d.vttbr) };
        let want = self.local.hcr & !waits(Wfi::Trapped) | waits(POOLS.wfi_mode(self.cpu.id));
        if want != self.local.hcr {
            self.local.hcr = want;
            // SAFETY: made by `hcr` for this CPU, but for how WFI and WFE trap.
            unsafe { sysreg::set_hcr_el2(want) };
        }
        if d.runs_here(self.cpu.id, index) {
            arch::isb();
            sysreg::tlbi_stage1_local();
        }
        sysreg::set_vmpidr_el2(vcpu.mpidr);
        let voff = d.cntvoff.load(Ordering::Relaxed);
        sysreg::set_cntvoff_el2(voff);
        if ctx.home == 0 || ctx.home != self.local.resident || ctx.home != ctx.tag(self.cpu.id.0) {
            ctx.el1.restore();
            ctx.fp.restore();
        }
        self.local.resident = 0;
        self.frame.copy_from(&ctx.frame);
        self.local
            .alarms
            .set(v, vgic::ptimer_update(d, index, self.cpu));

        if self.local.ras {
            sysreg::set_vdisr_el2(ctx.vdisr);
        }
        irq::viface().enable(0);
        irq::viface().load(&ctx.cpuif);
        let (ctl, cval) = ctx.cntv;
        let kick;
        let inflight = {
            let mut vgic = d.vgic.lock();
            // From here on the timer is this CPU's: whoever has fired it at rest has done so under this lock.
            vcpu.vtimer_at.store(u64::MAX, Ordering::Release);
            if vgic.has_release(index) {
                vgic::release(&mut vgic, index);
                // Whoever's it was, the private interrupt may have been ended by that.
                let physical = u32::from(irq::vtimer_intid());
                self.local.vtimer_active = irq::gic().is_active(physical, self.cpu.id) == Ok(true);
            }
            let vtimer = Irq::ppi(index, layout::VTIMER_INTID as u16);
            let mut inflight = vgic.is_hw_inflight(index, layout::VTIMER_INTID as u16);
            if !inflight && ctl & 3 == 1 && time::ticks().wrapping_sub(voff) >= cval {
                // Loaded right here: the flush below is all that is needed.
                let _ = vgic.fire_hw(vtimer);
                inflight = true;
            }
            vcpu.loaded_on.store(self.cpu.id.0, Ordering::Release);
            kick = vgic.flush(index, &mut vgic::lrs());
            inflight
        };
        vgic::deliver(d, kick.without(index), vgic::REGISTER, self.cpu);
        self.local.nudge = if inflight || !self.local.nudged.is_empty() {
            irq::next_nudge()
        } else {
            Instant::NEVER
        };
        if inflight != self.local.vtimer_active {
            // Of this CPU's own interface: the release above was another CPU's business and is settled here.
            let physical = u32::from(irq::vtimer_intid());
            let _ = irq::gic().set_active(physical, self.cpu.id, inflight);
            // Read back: the write has reached the GIC before the guest is entered.
            let _ = irq::gic().is_active(physical, self.cpu.id);
            self.local.vtimer_active = inflight;
        }
        sysreg::set_cntv_cval_el0(cval);
        sysreg::set_cntv_ctl_el0(ctl);
        self.local.loaded = Some(Loaded { domain, index, ctx });
    }

    fn arrives(&mut self, v: VcpuId, times: &VcpuTimes) {
        if let Some((d, index)) = table::vcpu(v) {
            d.times.publish(index, times);
            self.found = Some((v, d, index));
        }
    }

    fn news(&mut self, v: VcpuId, what: News) {
        if let Some((d, index)) = table::vcpu(v) {
            d.report(index, what, time::now());
        }
    }

    fn kick(&mut self, k: Kick) {
        irq::send(k);
    }
}

/// What the pool may want to know of the vCPU that is about to lose the CPU.
fn hint(local: &CpuLocal, frame: &GuestFrame) -> GuestHint {
    let Some(l) = &local.loaded else {
        return GuestHint::default();
    };
    GuestHint {
        irqs_masked: frame.spsr & PSTATE_I != 0,
        dont_desched: l.ctx.page.as_ref().is_some_and(BoostPage::dont_desched),
        enlightened: l.ctx.page.is_some(),
        ..GuestHint::default()
    }
}

/// A vCPU goes on after the pool was asked. If it does so boosted, while others wait, the end of what it is boosted for
/// must be seen: a guest that tells by its page is told in turn, and both a handler and a masked stretch are looked
/// for from time to time, since no trap says that they are over.
#[inline]
fn follow(cpu: &Cpu, local: &mut CpuLocal, hint: &GuestHint, boosted: bool) {
    local.probe.0 = Instant::NEVER;
    let contended = local.slice != Instant::NEVER;
    cpu.contended.store(contended, Ordering::Relaxed);
    let Some(l) = &local.loaded else { return };
    if l.ctx.page.is_none() && !hint.irqs_masked {
        return;
    }
    let boosted = contended && boosted;
    if let Some(page) = &l.ctx.page {
        page.tell(boosted, boosted);
    }
    if boosted && !hint.dont_desched {
        local.probe = (time::now() + PROBE_FIRST, PROBE_FIRST);
    }
}

/// The time to look at a boosted vCPU has come: out of its handler and with interrupts enabled it is boosted no longer.
pub fn probe(cpu: &Cpu, local: &mut CpuLocal, frame: &GuestFrame, now: Instant) {
    let step = Span((local.probe.1.0 * 2).min(PROBE_MOST.0));
    local.probe = (Instant::NEVER, step);
    let Some(l) = &local.loaded else { return };
    let hint = hint(local, frame);
    if hint.dont_desched {
        return;
    }
    if hint.irqs_masked || (hint.enlightened && irq::viface().handling()) {
        local.probe.0 = now + step;
        return;
    }
    vgic::tell(cpu, l.vcpu().id);
    let why = if hint.enlightened {
        DeboostCause::HandlerReturned
    } else {
        DeboostCause::Unmasked
    };
    irq::send(POOLS.deboost(l.vcpu().id, why, now));
}

fn reschedule(cpu: &'static Cpu, local: &mut CpuLocal, frame: &mut GuestFrame) {
    // Cleared before the pool is asked: a request that comes later is seen next time round.
    cpu.resched.store(false, Ordering::Relaxed);
    core::sync::atomic::fence(Ordering::SeqCst);
    let loaded = local.loaded.as_ref().map(|l| l.vcpu().id);
    if let Some(v) = loaded {
        vgic::tell(cpu, v);
    }
    let hint = hint(local, frame);
    let mut m = CpuMachine {
        cpu,
        local,
        frame,
        found: None,
    };
    let running = POOLS.reschedule(cpu.id, loaded, hint, &mut m);
    match running {
        Running::Vcpu { id, boosted } => {
            m.local.dozing = false;
            m.local.idle = None;
            let hint = if loaded == Some(id) {
                hint
            } else {
                self::hint(m.local, m.frame)
            };
            follow(cpu, m.local, &hint, boosted);
        }
        Running::Doze(_) => {
            m.local.dozing = true;
            m.local.idle = None;
        }
        Running::Idle(idle) => {
            m.local.dozing = false;
            let idle = POOLS.settle(idle, &mut m);
            m.local.idle = Some(idle);
        }
    }
    let moves = POOLS.moves();
    if moves != local.moves {
        // A kick follows each move, so one that is missed here is seen next time round.
        local.moves = moves;
        let now = time::now();
        local.alarms.hasten(now, |v| POOLS.at_home(cpu.id, v));
    }
}

/// Sets the hardware timer to the earliest thing that needs it.
#[inline]
fn arm(local: &mut CpuLocal) {
    let next = local
        .slice
        .min(local.alarms.next())
        .min(local.nudge)
        .min(local.probe.0);
    if next != local.armed {
        set_timer(local, next);
    }
}

fn set_timer(local: &mut CpuLocal, next: Instant) {
    local.armed = next;
    if next == Instant::NEVER {
        HypTimer::disarm();
    } else {
        HypTimer::arm(time::count(next));
    }
}

/// From a handler's decision to a guest that can be entered: returns with `frame` being that guest's.
#[inline]
pub fn leave(outcome: Outcome, cpu: &'static Cpu, local: &mut CpuLocal, frame: &mut GuestFrame) {
    if outcome == Outcome::Resume
        && !cpu.resched.load(Ordering::Acquire)
        && !local.dozing
        && let Some(l) = &local.loaded
        && l.ctx.work.is_none()
    {
        arm(local);
        return;
    }
    slow_leave(outcome, cpu, local, frame);
}

/// The loaded vCPU waits for an interrupt. Whether the pool has to be asked who is next.
#[inline]
fn block(cpu: &'static Cpu, local: &mut CpuLocal) -> bool {
    let Some(l) = &local.loaded else { return true };
    if vgic::pending(l) {
        // It may be pending in the model only, if whoever made it so has not come to tell.
        vgic::flush(l, cpu);
        return false;
    }
    let id = l.vcpu().id;
    if cpu.contended.load(Ordering::Relaxed) {
        vgic::tell(cpu, id);
    } else {
        cpu.given.clear();
    }
    // dom0 waits for typed input, of which a wake-up is the only sign; all others for a virtual interrupt.
    let woken = || l.domain.is_control() || vgic::pending(l);
    if l.ctx.page.is_some() || cpu.resched.load(Ordering::Relaxed) {
        // Its page has to be told, or somebody else to be looked at: the general way.
        return POOLS.block(id, time::now(), woken) == Block::Slept;
    }
    match POOLS.block_here(cpu.id, id, time::now(), woken) {
        Block::Slept => true,
        Block::Pending => false,
        Block::Dozes => {
            local.dozing = true;
            local.slice = Instant::NEVER;
            local.probe.0 = Instant::NEVER;
            false
        }
    }
}

/// An interrupt wakes the vCPU that dozes here.
#[inline]
pub fn wake_dozer(cpu: &'static Cpu, local: &mut CpuLocal, why: WakeReason) {
    let Some(l) = &local.loaded else { return };
    let (id, now) = (l.vcpu().id, time::now());
    if l.ctx.page.is_none() && POOLS.rouse(cpu.id, id, why, now) {
        local.dozing = false;
    } else if let Woken::Kick(k) = POOLS.wake(id, why, now) {
        irq::send(k);
    }
}

#[inline(never)]
fn slow_leave(outcome: Outcome, cpu: &'static Cpu, local: &mut CpuLocal, frame: &mut GuestFrame) {
    // When interrupts were looked for last between the steps of an access.
    let mut looked = Instant::NEVER;
    let mut again = match outcome {
        Outcome::Resume => local.loaded.is_none() || local.dozing,
        Outcome::Reschedule => true,
        Outcome::Unfinished => {
            let again = take(cpu, local, frame);
            looked = time::now();
            again
        }
        Outcome::Ended => {
            let _ = take(cpu, local, frame);
            true
        }
        Outcome::Block => block(cpu, local),
    };
    // Something may be to be done for domains that have ended.
    let mut ended = false;
    loop {
        if again || cpu.resched.load(Ordering::Acquire) {
            let stepping = looked != Instant::NEVER;
            let loaded = local.loaded.as_ref().filter(|_| stepping);
            let whose = loaded.map(|l| l.vcpu().id);
            reschedule(cpu, local, frame);
            ended = end::any();
            // A step and the switch after it are one stretch: who took the step is charged.
            if let Some((d, index)) = whose.and_then(table::vcpu) {
                stepped(&d.vcpus[index].counters, &mut looked);
            }
            again = (ended || stepping) && take(cpu, local, frame);
            continue;
        }
        if ended {
            ended = bury(local);
            if looked != Instant::NEVER {
                // Not a step of an access.
                looked = time::now();
            }
            again = ended && take(cpu, local, frame);
            continue;
        }
        if local.loaded.is_none() || local.dozing {
            looked = Instant::NEVER;
            arm(local);
            if !arch::interrupt_pending() {
                arch::wait_for_interrupt();
            }
            let o = irq::handle(cpu, local, frame);
            again = o == Outcome::Reschedule;
            continue;
        }
        if !rest(cpu, local, &mut looked) && !work(local, frame) {
            break;
        }
        again = take(cpu, local, frame);
    }
    arm(local);
}

/// Between two steps: takes an interrupt, if one is there. Whether the pool has to be asked then.
fn take(cpu: &'static Cpu, local: &mut CpuLocal, frame: &GuestFrame) -> bool {
    arm(local);
    arch::interrupt_pending() && irq::handle(cpu, local, frame) == Outcome::Reschedule
}

/// A step of what the loaded vCPU's last access left to be done; false if there is nothing. Interrupts were looked for last
/// at `looked`.
fn rest(cpu: &Cpu, local: &mut CpuLocal, looked: &mut Instant) -> bool {
    let Some(l) = &mut local.loaded else {
        return false;
    };
    if !vgic::go_on(l, cpu) {
        *looked = Instant::NEVER;
        return false;
    }
    stepped(&l.vcpu().counters, looked);
    true
}

/// A piece of what is to be done for domains that have ended, whoever's time it is; false if there is nothing.
#[cold]
fn bury(local: &mut CpuLocal) -> bool {
    let began = time::now();
    if !end::go_on() {
        return false;
    }
    let took = time::now().since(began);
    end::took(took);
    if local.loaded.is_some() && !local.dozing {
        local.spent += took;
    }
    true
}

/// Interrupts are looked for again, for the first time since `looked`: so long was this step of a vCPU with these counters.
fn stepped(counters: &Counters, looked: &mut Instant) {
    let now = time::now();
    let took = now.since(*looked).0;
    counters.add_n(Kind::StepNs, took);
    counters.at_least(Kind::StepLongest, took);
    *looked = now;
}

/// A step of what the loaded vCPU has to do before it enters the guest; false if there is none.
fn work(local: &mut CpuLocal, frame: &mut GuestFrame) -> bool {
    let Some(l) = local.loaded.as_mut() else {
        return false;
    };
    let Some(mut builder) = l.ctx.work.take() else {
        return false;
    };
    if builder.step(&l.domain, &mut l.ctx) {
        frame.copy_from(&l.ctx.frame);
        log::info!("domain {}: starts at {:#x}", l.domain.name, frame.elr);
    } else {
        l.ctx.work = Some(builder);
    }
    true
}

/// The first way out of this CPU's boot: nothing is loaded, the pool decides.
#[unsafe(no_mangle)]
extern "C" fn first_leave(frame: &mut GuestFrame, cpu: &'static Cpu) {
    // SAFETY: the boot path of this CPU has ended (`enter_idle`), so no other reference exists.
    let local = unsafe { cpu.local() };
    // Nothing is loaded here: from now on the pools count on this CPU coming by when it is called.
    local.idle = POOLS.cpu_online(cpu.id, time::now());
    slow_leave(Outcome::Reschedule, cpu, local, frame);
}
