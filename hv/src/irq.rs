//! Physical interrupts at EL2: who gets which, and the SGIs by which CPUs call each other.
//!
//! SGI 0 says "come by" (reschedule or look at your list registers), SGI 1 says "stop for ever". PPIs: the EL2 timer,
//! the guests' virtual timer, GIC maintenance. SPIs: the console's UART. Anything else is counted, switched off and
//! reported once. Every interrupt is acknowledged, its priority dropped, and, unless a guest is to end it, deactivated
//! here, in bounded work.

use crate::arch::{self, GuestFrame, sysreg};
use crate::domain::{self, table};
use crate::percpu::{self, Cpu, CpuLocal};
use crate::run::{self, Outcome, POOLS};
use crate::vcpu::{NOWHERE, given};
use crate::{console, spi, time, vgic, work};
use abi::{CpuId, Instant, Span, VcpuId};
use board::Region;
use board::guest::{GuestGic, layout};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use drivers::gic::NoV2;
use drivers::{CpuIfState, Gic, VIface};
use pools::{Kick, WakeReason, Woken};
use vdev::alarm::Turn;
use vdev::vgic::{Irq, Version};

/// "Come by."
pub const SGI_KICK: u32 = 0;
/// "Stop."
pub const SGI_STOP: u32 = 1;

static GIC: spin::Once<Gic> = spin::Once::new();
static VIFACE: spin::Once<VIface> = spin::Once::new();
static STOPPING: AtomicBool = AtomicBool::new(false);
/// INTIDs of this machine's wiring.
static HYP_TIMER: AtomicU32 = AtomicU32::new(u32::MAX);
static VIRT_TIMER: AtomicU32 = AtomicU32::new(u32::MAX);
static MAINTENANCE: AtomicU32 = AtomicU32::new(u32::MAX);
static UART: AtomicU32 = AtomicU32::new(u32::MAX);
/// The GIC has to be nudged while a virtual timer interrupt is in flight (`Gic::forgets_to_resignal`).
static NUDGE: AtomicBool = AtomicBool::new(false);
/// Most that one alarm is charged for.
const LONGEST_ALARM: Span = Span::us(20);
/// How long a lost signal may stay lost.
const NUDGE_AFTER: Span = Span::us(50);
/// SGIs sent to other CPUs.
pub static IPIS: AtomicU64 = AtomicU64::new(0);
/// Of those, to a CPU of another pool; moves of CPUs and domains apart there are none.
pub static CROSS_IPIS: AtomicU64 = AtomicU64::new(0);
/// Interrupts for vCPUs at rest, delivered by a CPU of another pool: each takes that pool's lock. Other uses of a pool's
/// lock (dom0's calls, changes under way) are not counted.
pub static CROSS_WAKES: AtomicU64 = AtomicU64::new(0);
/// Interrupts nobody expected.
pub static STRAY: AtomicU64 = AtomicU64::new(0);

/// The physical interrupt controller.
#[inline(always)]
pub fn gic() -> &'static Gic {
    GIC.get()
        .expect("the GIC is set before interrupts and guests")
}

/// The virtual CPU interface.
#[inline(always)]
pub fn viface() -> &'static VIface {
    VIFACE
        .get()
        .expect("the GIC is set before interrupts and guests")
}

/// Sets the controller, once.
pub fn init(gic: Gic, viface: VIface, hyp_timer: u32, virt_timer: u32, maintenance: u32) {
    NUDGE.store(gic.forgets_to_resignal(), Ordering::Relaxed);
    GIC.call_once(|| gic);
    VIFACE.call_once(|| viface);
    HYP_TIMER.store(hyp_timer, Ordering::Relaxed);
    VIRT_TIMER.store(virt_timer, Ordering::Relaxed);
    MAINTENANCE.store(maintenance, Ordering::Relaxed);
}

/// Whether a GIC has been set.
pub fn ready() -> bool {
    GIC.get().is_some()
}

/// Lets this CPU take its own interrupts.
pub fn init_cpu(cpu: &Cpu) -> Result<(), drivers::GicError> {
    gic().init_cpu(cpu.id, cpu.mpidr)?;
    for ppi in [&HYP_TIMER, &VIRT_TIMER, &MAINTENANCE] {
        gic().enable(ppi.load(Ordering::Relaxed), cpu.id)?;
    }
    for sgi in [SGI_KICK, SGI_STOP] {
        gic().enable(sgi, cpu.id)?;
    }
    viface().init_cpu()
}

/// Routes the console's UART to `cpu`.
pub fn attach_uart(
    intid: u32,
    trigger: board::Trigger,
    cpu: CpuId,
) -> Result<(), drivers::GicError> {
    gic().set_trigger(intid, cpu, trigger)?;
    gic().route_spi(intid, cpu)?;
    UART.store(intid, Ordering::Relaxed);
    gic().enable(intid, cpu)
}

/// The kind of GIC guests get that do not ask: that of the machine.
pub fn guest_version() -> GuestGic {
    if gic().version() == 2 {
        GuestGic::V2
    } else {
        GuestGic::V3
    }
}

/// Physical INTID of the guests' virtual timer.
pub fn vtimer_intid() -> u16 {
    VIRT_TIMER.load(Ordering::Relaxed) as u16
}

/// The virtual CPU interface after reset of a vCPU that sees a GIC of this version.
pub fn reset_cpuif(version: Version) -> CpuIfState {
    CpuIfState {
        memory_mapped: version == Version::V2,
        ..CpuIfState::RESET
    }
}

/// A guest with a GICv2 reaches its virtual CPU interface directly. The error says why it cannot.
pub fn virtual_cpu_interface() -> Result<Region, NoV2> {
    let (at, len) = viface().gicv()?;
    Region::new(at as u64, (len as u64).min(layout::GICC_SIZE)).ok_or(NoV2::NoRegisters)
}

/// Asks the CPUs of `k` to come by `reschedule`; the calling CPU only remembers it.
pub fn send(k: Kick) {
    if k.is_none() {
        return;
    }
    let here = percpu::this().map(|c| c.id);
    for id in k.0.iter() {
        let Some(cpu) = percpu::cpu(id) else { continue };
        cpu.resched.store(true, Ordering::Release);
        if Some(id) != here && cpu.up.load(Ordering::Acquire) {
            call(here, id);
        }
    }
}

/// Sends the SGI, and counts it.
fn call(here: Option<CpuId>, to: CpuId) {
    IPIS.fetch_add(1, Ordering::Relaxed);
    if here.is_some_and(|h| !POOLS.neighbours(h, to)) {
        CROSS_IPIS.fetch_add(1, Ordering::Relaxed);
    }
    gic().send_sgi(SGI_KICK, to);
}

/// Counts a wake-up on CPU `here` that concerns another pool.
#[inline]
pub fn count_wake(here: CpuId, v: VcpuId) {
    if !POOLS.at_home(here, v) {
        CROSS_WAKES.fetch_add(1, Ordering::Relaxed);
    }
}

/// Makes `cpu` leave its guest and look at its list registers.
#[inline]
pub fn poke(cpu: CpuId) {
    call(percpu::this().map(|c| c.id), cpu);
}

/// Stops every other CPU for ever, as far as they still listen.
pub fn stop_others() {
    STOPPING.store(true, Ordering::Release);
    if !ready() {
        return;
    }
    let here = percpu::this().map(|c| c.id);
    for cpu in percpu::all().filter(|c| Some(c.id) != here) {
        gic().send_sgi(SGI_STOP, cpu.id);
    }
}

/// Takes one physical interrupt, if one is there.
#[inline]
pub fn handle(cpu: &'static Cpu, local: &mut CpuLocal, frame: &GuestFrame) -> Outcome {
    let Some(ack) = gic().ack() else {
        return Outcome::Resume;
    };
    Cpu::count(&cpu.irqs);
    let intid = ack.intid();
    if intid == VIRT_TIMER.load(Ordering::Relaxed) {
        gic().end(ack);
        if sysreg::cntv_ctl_el0() & 7 != 5 {
            // Of a vCPU that has left, or withdrawn meanwhile: nobody's any more.
            gic().deactivate(ack);
            return Outcome::Resume;
        }
        return match &local.loaded {
            // Stays active in the GIC: the guest's own end of the interrupt deactivates it.
            Some(l) => {
                l.vcpu().counters.add(crate::counters::Kind::Vtimer);
                vgic::vtimer_fired(l, cpu);
                local.nudge = next_nudge();
                // A vCPU that dozes in WFI has to be picked again; a running one just goes on.
                if local.dozing {
                    run::wake_dozer(cpu, local, WakeReason::Timer);
                }
                Outcome::Resume
            }
            None => {
                gic().deactivate(ack);
                Outcome::Resume
            }
        };
    }
    if spi::is_given(intid) {
        // Stays active, too, until the guest ends it.
        gic().end(ack);
        if spi::fired(intid, cpu) {
            local.nudge = next_nudge();
            local.nudged.add(intid);
        }
        look(cpu, local);
        return Outcome::Resume;
    }
    if intid == HYP_TIMER.load(Ordering::Relaxed) {
        // Off first: the line is level, and would fire again at the deactivation.
        drivers::HypTimer::disarm();
    }
    gic().finish(ack);
    if intid == SGI_KICK {
        work::come_by(cpu);
        adopt(cpu, local);
        look(cpu, local);
        Outcome::Resume
    } else if intid == HYP_TIMER.load(Ordering::Relaxed) {
        timer(cpu, local, frame)
    } else if intid == MAINTENANCE.load(Ordering::Relaxed) {
        match &local.loaded {
            Some(l) => {
                l.vcpu().counters.add(crate::counters::Kind::Maintenance);
                vgic::maintenance(l, cpu);
                // Ended while it dozes: what became deliverable by that has to wake it.
                look(cpu, local);
            }
            // Nothing is loaded: switch the cause off.
            None => viface().disable(),
        }
        Outcome::Resume
    } else if intid == UART.load(Ordering::Relaxed) {
        typed(cpu);
        look(cpu, local);
        // Room on the line may be what an ended domain's last words waited for.
        if domain::end::any() {
            Outcome::Reschedule
        } else {
            Outcome::Resume
        }
    } else if intid == SGI_STOP && STOPPING.load(Ordering::Acquire) {
        arch::halt()
    } else {
        if STRAY.fetch_add(1, Ordering::Relaxed) < 8 {
            log::warn!("interrupt {intid} has no owner: switched off");
        }
        if intid < 32 {
            let _ = gic().disable(intid, cpu.id);
        } else {
            spi::stray(intid, cpu.id);
        }
        Outcome::Resume
    }
}

/// Shared interrupts in flight for whose sake the GIC is nudged.
pub struct Spis([u64; 16]);

impl Spis {
    /// None.
    pub const NONE: Spis = Spis([0; 16]);

    /// `intid` too, on hardware that needs it.
    fn add(&mut self, intid: u32) {
        if let (true, Some(word)) = (
            NUDGE.load(Ordering::Relaxed),
            self.0.get_mut(intid as usize / 64),
        ) {
            *word |= 1 << (intid % 64);
        }
    }

    /// Whether there is none. Asked at every switch, so no comparison of arrays, which is made byte by byte.
    #[inline]
    pub fn is_empty(&self) -> bool {
        !NUDGE.load(Ordering::Relaxed) || self.0.iter().all(|word| *word == 0)
    }

    /// Only those that are `active` still.
    fn keep(&mut self, active: impl Fn(u32) -> bool) {
        for (w, word) in self.0.iter_mut().enumerate() {
            let mut left = *word;
            while left != 0 {
                let n = left.trailing_zeros();
                left &= left - 1;
                if !active(w as u32 * 64 + n) {
                    *word &= !(1 << n);
                }
            }
        }
    }
}

/// When to nudge the GIC after a virtual timer interrupt went in flight; `NEVER` on hardware that needs none.
pub fn next_nudge() -> Instant {
    if NUDGE.load(Ordering::Relaxed) {
        time::now() + NUDGE_AFTER
    } else {
        Instant::NEVER
    }
}

/// Something may have become pending for the vCPU loaded here: into its list registers with it, and if the vCPU dozes
/// in WFI, back to the runnable.
fn look(cpu: &'static Cpu, local: &mut CpuLocal) {
    let Some(l) = &local.loaded else { return };
    let v = l.vcpu();
    vgic::flush(l, cpu);
    let why = match v.last_line.swap(given::NONE, Ordering::Relaxed) {
        given::NONE => None,
        code => Some(given::reason(code)),
    };
    if !local.dozing {
        if let Some(why) = why {
            vgic::gave(cpu, v.id, why);
        }
    } else if vgic::pending(l) {
        run::wake_dozer(cpu, local, why.unwrap_or(vgic::REGISTER));
    }
}

/// The EL2 timer: the slice's end, or guests' timers that need software.
fn timer(cpu: &'static Cpu, local: &mut CpuLocal, frame: &GuestFrame) -> Outcome {
    let now = time::now();
    local.armed = Instant::NEVER;
    // Bounded: at most one alarm per vCPU is there, and none is set again for the past. Many may be due at once: what else
    // has come meanwhile goes first, and this timer, which is due, comes again right after it.
    let mut turn = Turn::at(now);
    while let Some(v) = turn.next(&mut local.alarms, arch::interrupt_pending) {
        alarm(cpu, local, v, now);
    }
    if local.probe.0 <= now {
        run::probe(cpu, local, frame, now);
    }
    if local.nudge <= now {
        // This very interrupt made the GIC look again; once more if the guest has not ended the timer's yet.
        let active = |intid| gic().is_active(intid, cpu.id).unwrap_or(false);
        let timer = local.loaded.is_some() && active(u32::from(vtimer_intid()));
        local.nudged.keep(active);
        local.nudge = if timer || !local.nudged.is_empty() {
            now + NUDGE_AFTER
        } else {
            Instant::NEVER
        };
    }
    if local.slice <= now {
        local.slice = Instant::NEVER;
        return Outcome::Reschedule;
    }
    Outcome::Resume
}

/// The moment a guest's timer needs software has come (or has been overtaken: then nothing is due).
fn alarm(cpu: &'static Cpu, local: &mut CpuLocal, id: VcpuId, now: Instant) {
    let Some((d, index)) = table::vcpu(id) else {
        return;
    };
    let v = &d.vcpus[index];
    let on = v.loaded_on.load(Ordering::Acquire);
    if on != NOWHERE && on != cpu.id.0 {
        // Whoever loads or saves it sets the alarm there.
        return;
    }
    if on == NOWHERE && !POOLS.at_home(cpu.id, id) && give_away(cpu, id) {
        return;
    }
    let began = time::now();
    let mut next = vgic::ptimer_update(&d, index, cpu);
    let host = local.loaded.as_ref().map(|l| l.vcpu().id);
    if host == Some(id) {
        look(cpu, local);
    } else {
        let due = v.vtimer_at.load(Ordering::Acquire);
        if due <= now.0 {
            // Fired by whoever exchanges it, in one stretch of the lock: the vCPU's new CPU may do the same at this moment.
            let fired = {
                let mut vgic = d.vgic.lock();
                v.vtimer_at
                    .compare_exchange(due, u64::MAX, Ordering::AcqRel, Ordering::Acquire)
                    .is_ok()
                    .then(|| vgic.fire_hw(Irq::ppi(index, layout::VTIMER_INTID as u16)))
            };
            if let Some(kick) = fired {
                vgic::deliver(&d, kick, WakeReason::Timer, cpu);
                // Whoever has the CPU meanwhile does not pay for another's timer.
                // Measured by the clock, so that what holds up the machine itself (a debugger, an emulator's host) would
                // count as work: no alarm takes longer than this.
                let cost = time::now().since(began).min(LONGEST_ALARM);
                v.owed.fetch_add(cost.0, Ordering::Relaxed);
                if host.is_some() && !local.dozing {
                    local.spent += cost;
                }
            }
        } else if due != u64::MAX {
            next = next.min(Instant(due));
        }
    }
    if next != Instant::NEVER {
        local.alarms.set(id, next);
    }
}

/// Another CPU, one of `id`'s own pool, takes its alarm over. False if there is none: then it stays here.
#[cold]
fn give_away(here: &Cpu, id: VcpuId) -> bool {
    let keeper = POOLS.keeper(id).filter(|c| *c != here.id);
    let Some(cpu) = keeper.and_then(percpu::cpu) else {
        return false;
    };
    if !cpu.up.load(Ordering::Acquire) {
        return false;
    }
    cpu.adopted.add(id);
    poke(cpu.id);
    true
}

/// Alarms that other CPUs gave to this one are looked at as if they were due: in the timer's own bounded pieces.
#[inline]
fn adopt(cpu: &Cpu, local: &mut CpuLocal) {
    cpu.adopted.take(|slot| {
        if let Some(v) = table::vcpu_in(slot) {
            local.alarms.set(v, time::now());
        }
    });
}

/// Something was typed, or the UART has room again.
fn typed(cpu: &'static Cpu) {
    let t = console::service();
    if t.bytes.is_empty() {
        return;
    }
    let Some(d) = table::in_slot(t.slot) else {
        return;
    };
    if d.is_control() {
        domain_input(&t.bytes);
        if let Woken::Kick(k) = POOLS.wake(d.vcpus[0].id, WakeReason::Kick, time::now()) {
            send(k);
        }
        return;
    }
    let Some(uart) = &d.uart else { return };
    let kick = {
        let mut u = uart.lock();
        for b in &t.bytes {
            if u.ahead.push_back(*b).is_err() {
                u.lost += 1;
            }
        }
        domain::Uart::refill(&mut u);
        // Under the UART's lock, so that the line ends as the model last said.
        let level = u.model.irq_level();
        d.vgic
            .lock()
            .set_level(Irq::spi(layout::PL011_INTID as u16), level)
    };
    vgic::deliver(&d, kick, vgic::line(layout::PL011_INTID as u16), cpu);
}

/// What dom0 has not read yet.
static DOM0_INPUT: arch::Lock<heapless::Deque<u8, 2048>> = arch::Lock::new(heapless::Deque::new());

fn domain_input(bytes: &[u8]) {
    let mut q = DOM0_INPUT.lock();
    for b in bytes {
        // dom0 reads whole lines at a time; 2 KiB typed ahead is more than a person does, and the bell tells.
        if q.push_back(*b).is_err() {
            break;
        }
    }
}

/// Bytes typed for dom0, into `buf`; how many.
pub fn read_dom0_input(buf: &mut [u8]) -> usize {
    let mut q = DOM0_INPUT.lock();
    let mut n = 0;
    while n < buf.len() {
        match q.pop_front() {
            Some(b) => {
                buf[n] = b;
                n += 1;
            }
            None => break,
        }
    }
    n
}
