//! What follows when a domain has ended: it is taken apart, or begins again in the memory it has. Never in one piece.
//!
//! A domain of 64 vCPUs ends at the word of a guest, so nothing here may take longer for more vCPUs, interrupts or memory:
//! `go_on` does one piece, and who called it looks for interrupts before the next (run.rs, `slow_leave`). An ended domain
//! is on the list with the stage it is in, or in the hands of the one CPU that does its next piece. That is the CPU on which
//! it was ended, its keeper, or one of the keeper's pool: what the guests of a pool do costs no other pool time, and what dom0
//! destroys is taken apart in dom0's. Who comes by and may not calls the keeper. To the pools the domain is dead from the
//! first piece to the last of a new life, so none of its vCPUs sees a half of it; dom0 sees it as ended, and can destroy it at
//! any stage.

use super::life::LIFE;
use super::recipe::{self, Recipe};
use super::{Domain, State, Uart, build, life, table};
use crate::arch::Lock;
use crate::run::POOLS;
use crate::{console, doorbell, irq, percpu, spi, time};
use abi::{CpuId, DomainId, Errno, MAX_DOMAINS, Span};
use alloc::sync::Arc;
use board::config::Restart;
use board::guest::layout;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use pools::Kick;
use vdev::pl011::Pl011;
use vdev::ptimer::Ptimer;
use vdev::vgic::Irq;

/// vCPUs that one piece stops, resets, or takes apart.
const STOPPED_AT_ONCE: usize = 8;
const RESET_AT_ONCE: usize = 2;
const APART_AT_ONCE: usize = 4;
/// What one piece gives back of an address space (`Stage2::dismantle`).
const MEMORY_AT_ONCE: usize = 384;

/// How far the end of a domain is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// vCPUs from this one on have not been stopped.
    Stop(usize),
    /// CPUs have yet to leave it, or its last words to be printed.
    Wait,
    /// It begins again after it ended in this state; vCPUs from this one on are as they ended, and what they share.
    Reset(State, usize),
    /// All is as after reset.
    Start(State),
    /// It is taken apart; so many vCPUs are left.
    Apart(usize),
}

/// A domain that has ended.
#[derive(Clone, Copy)]
struct Ended {
    id: DomainId,
    stage: Stage,
    keeper: CpuId,
}

/// Those in nobody's hands. There is a place for every domain there can be: none is here twice (`Domain::ending`).
static ENDED: Lock<heapless::Vec<Ended, MAX_DOMAINS>> = Lock::new(heapless::Vec::new());
static ANY_ENDED: AtomicBool = AtomicBool::new(false);
/// Domains that are in no table any more, with their keepers, and how many.
static GRAVE: Lock<heapless::Vec<(Arc<Domain>, CpuId), MAX_DOMAINS>> =
    Lock::new(heapless::Vec::new());
static GRAVES: AtomicUsize = AtomicUsize::new(0);
/// The longest piece so far, ns.
static LONGEST: AtomicU64 = AtomicU64::new(0);

/// Pieces done by a CPU of another pool than the domain's.
static ELSEWHERE: AtomicU64 = AtomicU64::new(0);

/// Pieces of domains' ends that a CPU of another pool has done.
pub fn pieces_elsewhere() -> u64 {
    ELSEWHERE.load(Ordering::Relaxed)
}

/// The longest piece of work with interrupts masked for domains that have ended, ns.
pub fn longest_piece() -> u64 {
    LONGEST.load(Ordering::Relaxed)
}

/// A piece has taken so long.
pub fn took(span: Span) {
    LONGEST.fetch_max(span.0, Ordering::Relaxed);
}

/// `d` is not to run any more; `LIFE` is held. Its end goes on where CPUs come by, this one for a start.
pub(super) fn begin(d: &Domain) {
    // One whose end is under way sees at the next stage that it is to end otherwise.
    if !d.ending.swap(true, Ordering::AcqRel) {
        put(Ended {
            id: d.id,
            stage: Stage::Stop(0),
            keeper: life::here(),
        });
    }
    come_by();
}

fn put(ended: Ended) {
    let mut list = ENDED.lock();
    let full = list.push(ended);
    debug_assert!(full.is_ok(), "each domain has a place");
    ANY_ENDED.store(true, Ordering::Release);
}

/// This CPU looks what is to be done before it enters a guest.
pub fn come_by() {
    if let Some(cpu) = percpu::this() {
        cpu.resched.store(true, Ordering::Release);
    }
}

/// Whether there is something to be done, or something waits for its time.
#[inline]
pub fn any() -> bool {
    ANY_ENDED.load(Ordering::Acquire) || remains()
}

/// Whether memory of domains without a name is still to be given back.
#[inline]
pub fn remains() -> bool {
    GRAVES.load(Ordering::Acquire) != 0
}

/// Does one piece of what is to be done here for domains that have ended; false if there is nothing to be done now.
pub fn go_on() -> bool {
    let here = life::here();
    let mut look = ready(here);
    if look.next.is_none() && look.words {
        // Once for all whose last words are still to be printed, however many they are.
        console::go_on();
        look = ready(here);
    }
    irq::send(look.call);
    let Some(e) = look.next else {
        return bury(here);
    };
    if let Ok(d) = table::domain(e.id) {
        if !POOLS.at_home(here, d.vcpus[0].id) {
            ELSEWHERE.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(stage) = piece(&d, e) {
            put(Ended { stage, ..e });
        }
    }
    true
}

/// Whether what `keeper` keeps may be done by the CPU `here`. Pools may change meanwhile: the keeper itself always may.
fn may(here: CpuId, keeper: CpuId) -> bool {
    here == keeper || POOLS.neighbours(here, keeper)
}

/// What a look at the list has found.
struct Look {
    /// Something to be done here, off the list.
    next: Option<Ended>,
    /// Somebody's last words are all that he waits for.
    words: bool,
    /// Keepers of what others may not do.
    call: Kick,
}

fn ready(here: CpuId) -> Look {
    let mut look = Look {
        next: None,
        words: false,
        call: Kick::NONE,
    };
    let mut list = ENDED.lock();
    // Under this lock: who saves the last vCPU of a domain looks here afterwards, and must find it.
    let found = list.iter().position(|e| {
        let mine = may(here, e.keeper);
        let ready = e.stage != Stage::Wait || {
            let stopped = POOLS.quiescent(e.id);
            let printed = stopped && console::printed(e.id.slot);
            // The boot CPU is the one that hears of room on the line.
            look.words |= stopped && !printed && (mine || here == CpuId::BOOT);
            printed
        };
        if ready && !mine {
            look.call = look.call.and(Kick::one(e.keeper));
        }
        ready && mine
    });
    ANY_ENDED.store(list.len() > usize::from(found.is_some()), Ordering::Release);
    look.next = found.map(|i| list.swap_remove(i));
    look
}

/// One piece; the stage after it, or none when it has come to its end.
fn piece(d: &Arc<Domain>, e: Ended) -> Option<Stage> {
    match e.stage {
        Stage::Stop(from) => stop(d, from),
        Stage::Wait => decide(d),
        // Somebody decided otherwise meanwhile.
        Stage::Reset(state, _) | Stage::Start(state) if d.state() != state => {
            Some(Stage::Apart(d.vcpus.len()))
        }
        Stage::Reset(state, from) if from < d.vcpus.len() => {
            let next = (from + RESET_AT_ONCE).min(d.vcpus.len());
            reset_vcpus(d, from, next)
                .map_or_else(|e| given_up(d, e), |()| Some(Stage::Reset(state, next)))
        }
        Stage::Reset(state, _) => {
            reset_shared(d);
            Some(Stage::Start(state))
        }
        Stage::Start(state) => start(d, state),
        Stage::Apart(left) => apart(d, left, e.keeper),
    }
}

fn stop(d: &Domain, from: usize) -> Option<Stage> {
    let next = from + STOPPED_AT_ONCE;
    match POOLS.kill_some(d.id, from..next, time::now()) {
        Ok((kick, more)) => {
            irq::send(kick);
            Some(if more { Stage::Stop(next) } else { Stage::Wait })
        }
        Err(e) => {
            log::error!("domain {}: cannot be stopped: {e}", d.name);
            None
        }
    }
}

/// All its vCPUs have stopped: what is to become of it.
fn decide(d: &Domain) -> Option<Stage> {
    let state = d.state();
    let policy = recipe::all().get(d.recipe).map(|r: &Recipe| r.restart);
    let again = match state {
        State::Resetting => matches!(
            policy,
            Some(Restart::OnReset | Restart::OnCrash | Restart::Always)
        ),
        State::Crashed => matches!(policy, Some(Restart::OnCrash | Restart::Always)),
        State::Shutdown => policy == Some(Restart::Always),
        _ => false,
    };
    if again && d.life.again(time::now()) {
        return Some(Stage::Reset(state, 0));
    }
    if again {
        // Kept as a crashed domain is: dom0 sees why, and can create it anew.
        log::error!("domain {}: ends too soon: stays down", d.name);
    } else if state != State::Crashed {
        return Some(Stage::Apart(d.vcpus.len()));
    }
    // Stays for inspection until dom0 destroys it.
    let _life = LIFE.lock();
    if d.transit(&[state], State::Crashed) {
        d.ending.store(false, Ordering::Release);
        None
    } else {
        Some(Stage::Apart(d.vcpus.len()))
    }
}

/// vCPUs `from..to` are as after reset.
fn reset_vcpus(d: &Domain, from: usize, to: usize) -> Result<(), Errno> {
    let cpuif = irq::reset_cpuif(d.gic.version);
    for v in &d.vcpus[from..to] {
        v.vtimer_at.store(u64::MAX, Ordering::Relaxed);
        v.ptimer.change(|t| *t = Ptimer::new());
        v.pending_on.store(false, Ordering::Relaxed);
        if let Some(ctx) = v.rest.lock().as_mut() {
            ctx.start(0, 0, cpuif);
            ctx.work = None;
        }
    }
    d.vgic.lock().reset_vcpus(from..to);
    // The pool's part of the last one brings the domain back to life: that is `start`'s.
    let to = to.min(d.vcpus.len() - 1);
    POOLS
        .reset_some(d.id, from..to, time::now())
        .map(|_| ())
        .map_err(|e| e.errno())
}

/// What the vCPUs have in common is as after reset.
fn reset_shared(d: &Domain) {
    d.s2.lock().forget_translations();
    {
        let mut vgic = d.vgic.lock();
        vgic.reset_shared();
        vgic.link_ppi(layout::VTIMER_INTID as u16, irq::vtimer_intid());
        spi::forget_in_flight(&mut vgic, &d.irqs);
    }
    let Some(uart) = &d.uart else { return };
    let mut u = uart.lock();
    *u = Uart {
        model: Pl011::new(),
        ahead: heapless::Deque::new(),
        lost: 0,
    };
    // The line belonged to the old model. Under the UART's lock: what is typed now raises it again afterwards.
    let none = d
        .vgic
        .lock()
        .set_level(Irq::spi(layout::PL011_INTID as u16), false);
    debug_assert!(none.is_none(), "a falling line wakes nobody");
}

/// The last piece of a restart: the domain is there again, and alive.
fn start(d: &Domain, from: State) -> Option<Stage> {
    let _life = LIFE.lock();
    let now = time::now();
    if d.state() != from {
        return Some(Stage::Apart(d.vcpus.len()));
    }
    if let Err(e) = POOLS.reset_some(d.id, d.vcpus.len() - 1..usize::MAX, now) {
        return given_up(d, e.errno());
    }
    if let Some(ctx) = d.vcpus[0].rest.lock().as_mut() {
        ctx.work = Some(build::Builder::new(life::seed()));
    }
    d.life.begins(now);
    d.cntvoff.store(time::ticks(), Ordering::Relaxed);
    d.forget_crash();
    d.transit(&[from], State::Building);
    if let Err(e) = spi::attach(d, life::here()) {
        return given_up(d, e);
    }
    d.ending.store(false, Ordering::Release);
    match POOLS.online(d.vcpus[0].id, now) {
        Ok(kick) => irq::send(kick),
        Err(e) => log::error!("domain {}: vCPU 0 does not start: {e}", d.name),
    }
    None
}

/// It cannot begin again: it ends for good.
fn given_up(d: &Domain, why: Errno) -> Option<Stage> {
    log::warn!("domain {}: cannot start again: {why}", d.name);
    d.transit(
        &[
            State::Building,
            State::Crashed,
            State::Shutdown,
            State::Resetting,
        ],
        State::Dying,
    );
    // It may be alive to the pools already.
    Some(Stage::Stop(0))
}

/// Takes a stopped domain's last vCPUs from the pool, and with the first of them its name.
fn apart(d: &Arc<Domain>, left: usize, keeper: CpuId) -> Option<Stage> {
    match POOLS.remove_some(d.id, APART_AT_ONCE, time::now()) {
        Ok((kick, more)) => {
            irq::send(kick);
            let left = left.min(d.vcpus.len());
            let fewer = left.saturating_sub(APART_AT_ONCE);
            table::remove_vcpus(d, fewer, left);
            if more {
                return Some(Stage::Apart(fewer));
            }
        }
        Err(e) => {
            log::error!("domain {}: cannot be removed: {e}", d.name);
            return None;
        }
    }
    spi::detach(d);
    doorbell::detach(d);
    // The slot and its VMID may be taken again as soon as the table gives them up.
    console::close(d.id.slot);
    d.s2.lock().forget_translations();
    // Counted before no table names it any more: `destroy` is not done until it is counted off, and its memory free.
    GRAVES.fetch_add(1, Ordering::AcqRel);
    keep(d.clone(), keeper);
    table::remove(d);
    None
}

/// Keeps what is left of a domain until nobody looks at it any more, so that nobody who only looked takes it apart.
/// `GRAVES` counts it already.
fn keep(d: Arc<Domain>, keeper: CpuId) {
    let full = GRAVE.lock().push((d, keeper));
    if let Err(d) = full {
        // More than there can be: it goes as soon as the last one who looks lets go. Not under the lock.
        drop(d);
        GRAVES.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A piece of taking apart what nobody looks at any more: no table names it, so nobody can begin to. False: there is
/// nothing of that kind for this CPU.
fn bury(here: CpuId) -> bool {
    if !remains() {
        return false;
    }
    let mut call = Kick::NONE;
    let found = {
        let mut grave = GRAVE.lock();
        let at = grave.iter().position(|(d, keeper)| {
            let ready = Arc::strong_count(d) == 1;
            if ready && !may(here, *keeper) {
                call = call.and(Kick::one(*keeper));
                return false;
            }
            ready
        });
        at.map(|i| grave.swap_remove(i))
    };
    irq::send(call);
    let Some((mut d, keeper)) = found else {
        return false;
    };
    if Arc::get_mut(&mut d).is_some_and(|d| d.dismantle(APART_AT_ONCE, MEMORY_AT_ONCE)) {
        keep(d, keeper);
    } else {
        drop(d);
        GRAVES.fetch_sub(1, Ordering::AcqRel);
    }
    true
}
