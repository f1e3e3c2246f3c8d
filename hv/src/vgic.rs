//! Between a domain's vGIC model and the machine: this CPU's list registers, and telling other CPUs what changed.
//!
//! The model (vdev) decides which interrupt goes where; here are only the lock around it, the hardware's list
//! registers in its terms, and the kicks that follow. Nothing else is taken under that lock (docs/locking.md, 4b).

use crate::arch::sysreg;
use crate::domain::Domain;
use crate::irq;
use crate::percpu::{self, Cpu};
use crate::run::{Outcome, POOLS};
use crate::time;
use crate::vcpu::{Loaded, NOWHERE, given};
use abi::{CpuId, Instant, VcpuId};
use board::guest::layout;
use core::sync::atomic::Ordering;
use drivers::VIface;
use pools::{WakeReason, Woken};
use vdev::vgic::{CpuIf, Irq, Kick, ListReg, ListRegs, LrSet, Maintenance, Vgic};

/// The list registers of the CPU this runs on.
pub struct Lrs(pub &'static VIface);

impl ListRegs for Lrs {
    #[inline(always)]
    fn count(&self) -> usize {
        self.0.lr_count()
    }

    #[inline(always)]
    fn empty(&self) -> LrSet {
        LrSet(self.0.elrsr() as u16)
    }

    #[inline(always)]
    fn read(&self, n: usize) -> ListReg {
        ListReg(self.0.read_lr(n))
    }

    #[inline(always)]
    fn write(&mut self, n: usize, lr: ListReg) {
        self.0.write_lr(n, lr.0);
    }

    fn maintenance(&mut self, want: Maintenance) {
        use drivers::gic::hcr;
        let mut bits = 0;
        if want.npie {
            bits |= hcr::NPIE;
        }
        if want.lrenpie {
            bits |= hcr::LRENPIE;
        }
        if want.trap_dir && self.0.info().tds {
            bits |= hcr::TDIR;
        }
        if want.lrenpie {
            // Ends counted meanwhile are still to be taken.
            bits |= self.0.hcr() & (0x1f << hcr::EOI_COUNT_SHIFT);
        }
        self.0.enable(bits);
    }

    fn take_eoi_count(&mut self) -> u32 {
        use drivers::gic::hcr;
        let h = self.0.hcr();
        let n = h >> hcr::EOI_COUNT_SHIFT;
        if n != 0 {
            self.0.set_hcr(h & ((1 << hcr::EOI_COUNT_SHIFT) - 1));
        }
        n
    }
}

/// This CPU's list registers.
#[inline(always)]
pub fn lrs() -> Lrs {
    Lrs(irq::viface())
}

/// Why a vCPU wakes for interrupt `intid`.
pub const fn line(intid: u16) -> WakeReason {
    WakeReason::Interrupt { line: intid }
}

/// An interrupt that a guest's own access to its GIC set free; which one is not known any more.
pub const REGISTER: WakeReason = line(1023);

/// Notes that the vCPU running here was given an interrupt.
#[inline]
pub fn gave(here: &Cpu, v: VcpuId, why: WakeReason) {
    if here.given.is_full() && here.contended.load(Ordering::Relaxed) {
        tell(here, v);
    }
    here.given.note(why);
}

/// Tells the pool what the vCPU loaded here was given since it was told last.
#[inline]
pub fn tell(here: &Cpu, v: VcpuId) {
    if !here.given.is_empty() {
        POOLS.delivered(v, here.given.take());
    }
}

/// Tells the vCPUs of `d` that `kick` names, wherever they are.
#[inline]
pub fn deliver(d: &Domain, kick: Kick, why: WakeReason, here: &Cpu) {
    if !kick.is_none() {
        deliver_some(d, kick, why, here);
    }
}

/// A call of another CPU is one unit, a wake-up that asks a pool sixteen: what one piece of work with interrupts masked may
/// come to.
const ONE_PIECE: u32 = 16;
const CALL: u32 = 1;
const WAKE: u32 = 16;

fn deliver_some(d: &Domain, kick: Kick, why: WakeReason, here: &Cpu) {
    // What comes here concerns the few that one device, timer or set of list registers is for.
    let _ = deliver_up_to(u32::MAX, d, kick, why, here);
}

/// Tells vCPUs until `units` are spent; the rest comes back.
fn deliver_up_to(mut units: u32, d: &Domain, kick: Kick, why: WakeReason, here: &Cpu) -> Kick {
    let mut wake = kick.wake;
    while wake != 0 && units != 0 {
        let i = wake.trailing_zeros() as usize;
        wake &= wake - 1;
        let Some(v) = d.vcpus.get(i) else { continue };
        // Loaded elsewhere: that CPU looks at its list registers, and wakes the vCPU if it dozes. Loaded here: whoever
        // called flushes. The pool has to be asked only for a vCPU at rest.
        let on = v.loaded_on.load(Ordering::Acquire);
        if on != NOWHERE {
            if on == here.id.0 {
                gave(here, v.id, why);
            } else {
                v.last_line.store(given::code(why), Ordering::Relaxed);
                irq::poke(CpuId(on));
                units = units.saturating_sub(CALL);
            }
            continue;
        }
        units = units.saturating_sub(WAKE);
        irq::count_wake(here.id, v.id);
        match POOLS.wake(v.id, why, time::now()) {
            Woken::Running(cpu) if cpu != here.id => irq::poke(cpu),
            Woken::Running(_) => {}
            Woken::Kick(k) => irq::send(k),
        }
    }
    let mut resync = kick.resync & !kick.wake;
    while resync != 0 && units != 0 {
        let i = resync.trailing_zeros() as usize;
        resync &= resync - 1;
        if let Some(v) = d.vcpus.get(i) {
            let on = v.loaded_on.load(Ordering::Acquire);
            if on != NOWHERE && on != here.id.0 {
                irq::poke(CpuId(on));
                units = units.saturating_sub(CALL);
            }
        }
    }
    Kick { wake, resync }
}

/// What a vCPU's last access left to be done before it runs on. It is done in steps, with a look for interrupts after
/// each, in that vCPU's own time and wherever it is loaded (run.rs, `slow_leave`).
#[derive(Clone, Copy)]
pub struct Rest {
    /// Whom to tell.
    kick: Kick,
    why: WakeReason,
    /// The model has not finished the write.
    model: bool,
}

impl Rest {
    /// Nothing.
    pub const NOTHING: Rest = Rest {
        kick: Kick::NONE,
        why: REGISTER,
        model: false,
    };
}

/// The end of an access of the loaded vCPU that may concern many: tells it to one, or leaves all to steps.
#[inline]
pub fn accessed(
    l: &mut Loaded,
    kick: Kick,
    why: WakeReason,
    unfinished: bool,
    here: &Cpu,
) -> Outcome {
    let all = kick.wake | kick.resync;
    if !unfinished && all & all.wrapping_sub(1) == 0 {
        deliver(&l.domain, kick, why, here);
        return Outcome::Resume;
    }
    l.ctx.rest = Rest {
        kick,
        why,
        model: unfinished,
    };
    Outcome::Unfinished
}

/// A step of what the loaded vCPU's last access left to be done; false if there is nothing.
#[inline]
pub fn go_on(l: &mut Loaded, here: &Cpu) -> bool {
    let Rest { kick, model, .. } = l.ctx.rest;
    if kick.is_none() && !model {
        return false;
    }
    step(l, here);
    true
}

#[cold]
fn step(l: &mut Loaded, here: &Cpu) {
    let mut rest = l.ctx.rest;
    if rest.kick.is_none() {
        let mut vgic = l.domain.vgic.lock();
        rest.kick = vgic.go_on(l.index, &mut lrs());
        rest.model = vgic.unfinished(l.index);
        release(&mut vgic, l.index);
    } else {
        rest.kick = deliver_up_to(ONE_PIECE, &l.domain, rest.kick, rest.why, here);
    }
    l.ctx.rest = rest;
}

/// Brings the loaded vCPU's list registers up to date before it runs on.
#[inline]
pub fn flush(l: &Loaded, here: &Cpu) {
    let kick = {
        let mut vgic = l.domain.vgic.lock();
        if !(vgic.needs_flush(l.index) || vgic.has_release(l.index)) {
            return;
        }
        let kick = vgic.flush(l.index, &mut lrs());
        release(&mut vgic, l.index);
        kick
    };
    deliver(&l.domain, kick, REGISTER, here);
}

/// An access of the loaded vCPU to registers of the model that hold state. The virtual timer's line is in this CPU's
/// hardware, not in the model: if it has fallen since the interrupt was taken, the interrupt is withdrawn first, and
/// what the access releases may fire again at once.
#[inline]
pub fn registers<T>(l: &Loaded, here: &Cpu, access: impl FnOnce(&mut Vgic, &mut Lrs) -> T) -> T {
    let mut others = Kick::NONE;
    let mut vgic = l.domain.vgic.lock();
    if vgic.is_hw_inflight(l.index, layout::VTIMER_INTID as u16) && sysreg::cntv_ctl_el0() & 7 != 5
    {
        // Only this vCPU's list registers are concerned; they are brought up to date before the access looks.
        let _ = vgic.lower_hw(Irq::ppi(l.index, layout::VTIMER_INTID as u16));
        others = vgic.flush(l.index, &mut lrs());
    }
    let result = access(&mut vgic, &mut lrs());
    release(&mut vgic, l.index);
    drop(vgic);
    deliver(&l.domain, others.without(l.index), REGISTER, here);
    result
}

/// Ends physical interrupts whose virtual ones ended without a list register.
#[inline(always)]
pub fn release(vgic: &mut Vgic, index: usize) {
    if vgic.has_release(index) {
        release_all(vgic, index);
    }
}

#[cold]
fn release_all(vgic: &mut Vgic, index: usize) {
    while vgic.has_release(index) {
        match vgic.take_release(index) {
            // A private one by its register: this CPU need not be the one that acknowledged it (GICv2: GICC_DIR would
            // be UNPREDICTABLE then), and it stays in order with what `load` writes there.
            Some(intid) if intid < 32 => {
                if let Some(cpu) = percpu::this() {
                    let _ = irq::gic().set_active(u32::from(intid), cpu.id, false);
                }
            }
            Some(intid) => irq::gic().deactivate_intid(u32::from(intid)),
            None => break,
        }
    }
}

/// The maintenance interrupt: the guest ended something, or nothing is pending any more.
pub fn maintenance(l: &Loaded, here: &Cpu) {
    let kick = {
        let mut vgic = l.domain.vgic.lock();
        let kick = vgic.maintenance(l.index, &mut lrs());
        release(&mut vgic, l.index);
        kick
    };
    deliver(&l.domain, kick, REGISTER, here);
}

/// The loaded vCPU's virtual timer fired: its physical interrupt was acknowledged here and stays active until the
/// guest ends the virtual one.
#[inline]
pub fn vtimer_fired(l: &Loaded, here: &Cpu) {
    let kick = {
        let mut vgic = l.domain.vgic.lock();
        let kick = vgic.inject_hw(l.index, layout::VTIMER_INTID as u16, &mut lrs());
        release(&mut vgic, l.index);
        kick
    };
    gave(here, l.vcpu().id, WakeReason::Timer);
    deliver(&l.domain, kick.without(l.index), REGISTER, here);
}

/// Whether the loaded vCPU has an interrupt that would end a WFI.
pub fn pending(l: &Loaded) -> bool {
    l.domain.vgic.lock().pending(l.index, &lrs(), CpuIf::ANY)
}

/// When the emulated physical timer of a vCPU needs attention next, and its line set to what it is now.
#[inline]
pub fn ptimer_update(d: &Domain, index: usize, here: &Cpu) -> Instant {
    let line = Irq::ppi(index, layout::PTIMER_INTID as u16);
    let news = d.vcpus[index].ptimer.update(|timer| {
        let now = time::ticks();
        let edge = timer.edge(now);
        // Under the timer's lock, so that the line ends as the timer last said.
        let kick = edge.map_or(Kick::NONE, |level| d.vgic.lock().set_level(line, level));
        (kick, timer.level(now), timer.deadline())
    });
    let Some((kick, level, deadline)) = news else {
        return Instant::NEVER;
    };
    deliver(d, kick, WakeReason::Timer, here);
    match deadline {
        Some(at) if !level => time::at(at),
        _ => Instant::NEVER,
    }
}
