//! A domain's life: made from a recipe, ended by itself or by dom0, taken apart when its last vCPU stopped.
//!
//! Ending is two steps, since no CPU waits for another: `end` makes all its vCPUs unrunnable and kicks their CPUs;
//! whichever CPU saves the last of them finds the domain in the list of the ended and finishes it (`reap`), in bounded
//! work. A failed creation leaves nothing behind.

use super::build::{self, Builder};
use super::recipe::{self, Recipe};
use super::{Crash, Domain, Life, State, Told, Uart, ram, shared, table};
use crate::arch::Lock;
use crate::counters::Counters;
use crate::mem::frames::FrameRange;
use crate::mem::stage2::Stage2;
use crate::mem::{heap, nodes};
use crate::vcpu::page::TimeArea;
use crate::vcpu::{Context, GuestTimer, NOWHERE, Vcpu, given};
use crate::{arch, console, doorbell, irq, percpu, run, spi, sysreg, time};
use abi::{CpuSet, DomainId, Errno, MAX_CPUS, MAX_DOMAINS, PoolId};
use alloc::sync::Arc;
use alloc::vec::Vec;
use board::config::Restart;
use board::guest::{GuestGic, layout, vcpu_mpidr};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use pools::{DomainParams, VcpuParams};
use vdev::mmio::Size;
use vdev::pl011::Pl011;
use vdev::ptimer::Ptimer;
use vdev::vgic::{Irq, Version, Vgic, VgicConfig};

/// Domains that have ended and wait for their last vCPU to stop.
static ENDED: Lock<heapless::Vec<DomainId, MAX_DOMAINS>> = Lock::new(heapless::Vec::new());
/// Held while a domain's state and its being runnable change together: an end and a restart do not interleave.
static LIFE: Lock<()> = Lock::new(());
static ANY_ENDED: AtomicBool = AtomicBool::new(false);
/// Domains that are in no table any more, and how many.
static GRAVE: Lock<heapless::Vec<Arc<Domain>, MAX_DOMAINS>> = Lock::new(heapless::Vec::new());
static GRAVES: AtomicUsize = AtomicUsize::new(0);
/// One creation at a time.
static CREATING: Lock<()> = Lock::new(());
/// Entropy for guests' seeds, stirred at each use.
static SEED: AtomicU64 = AtomicU64::new(0x9e37_79b9_7f4a_7c15);

/// Adds boot-time entropy.
pub fn stir(bytes: &[u8]) {
    for c in bytes.chunks(8) {
        let mut w = [0; 8];
        w[..c.len()].copy_from_slice(c);
        SEED.fetch_xor(u64::from_le_bytes(w).rotate_left(13), Ordering::Relaxed);
    }
}

fn seed() -> [u8; 32] {
    let mut out = [0; 32];
    for c in out.chunks_mut(8) {
        let mut z = SEED.fetch_add(
            0x9e37_79b9_7f4a_7c15 ^ arch::sysreg::cntpct_el0(),
            Ordering::Relaxed,
        );
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        c.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    out
}

/// Makes the domain of recipe `n`, in `pool` if one is named, and lets it build itself (paused, if the recipe says so).
pub fn create(n: usize, pool: Option<PoolId>) -> Result<DomainId, Errno> {
    let r = recipe::all().get(n).ok_or(Errno::NoSuch)?;
    // The memory of those who are gone.
    reap();
    let _one = CREATING.try_lock().ok_or(Errno::Again)?;
    if table::find(&r.name).is_some() {
        return Err(Errno::Exists);
    }
    match make(n, r, pool.unwrap_or(r.pool)) {
        Ok(id) => Ok(id),
        // A change under way: asked again, it is no news.
        Err(Errno::Again) => Err(Errno::Again),
        Err(e) => {
            log::warn!("domain {}: not created: {e}", r.name);
            Err(e)
        }
    }
}

fn make(n: usize, r: &Recipe, pool: PoolId) -> Result<DomainId, Errno> {
    let defaults = run::POOLS.pool_params(pool).map_err(|e| e.errno())?;
    let memory = nodes::of(pool);
    let here = here();
    let vcpus = r.vcpus as usize;
    // Everything small that is about to be allocated for it, generously: contexts, vGIC, tree, plan.
    if !heap::reserve(64 * 1024 + vcpus * 6 * 1024 + r.spis as usize * 32) {
        return Err(Errno::NoMemory);
    }
    let ids = table::reserve(vcpus)?;
    let id = ids.domain;
    let gic = VgicConfig {
        version: match r.gic {
            GuestGic::V2 => Version::V2,
            GuestGic::V3 => Version::V3,
        },
        vcpus: vcpus as u16,
        spis: r.spis as u16,
    };
    let mut vgic = Vgic::new(gic).map_err(|_| Errno::Invalid)?;
    vgic.link_ppi(layout::VTIMER_INTID as u16, irq::vtimer_intid());
    if !spi::link(&mut vgic, &r.devices.irqs) {
        return Err(Errno::Invalid);
    }
    let mut s2 = Stage2::new(id.slot + 1).map_err(|_| Errno::NoMemory)?;
    ram::give(&mut s2, r, memory)?;
    if r.gic == GuestGic::V2 {
        // Refused at boot where there is none (given.rs).
        let gicv = irq::virtual_cpu_interface().map_err(|_| Errno::Invalid)?;
        s2.map_device(layout::GICC, gicv.base(), gicv.size())
            .map_err(|_| Errno::NoMemory)?;
    }
    let times = TimeArea::map(&mut s2, vcpus).map_err(|_| Errno::NoMemory)?;
    for rom in &r.roms {
        let (at, len) = (rom.phys.base() as usize, rom.phys.size() as usize);
        // SAFETY: a boot module: RAM reserved for good, mapped at EL2 and written by nobody, here least of all; domains
        // that share it can only read it.
        let frames = unsafe { FrameRange::own(at, len) };
        s2.add_readonly(rom.guest, frames)
            .map_err(|_| Errno::NoMemory)?;
    }
    shared::give(&mut s2, r)?;
    for m in &r.devices.mappings {
        s2.map_device(m.guest, m.phys.base(), m.phys.size())
            .map_err(|_| Errno::NoMemory)?;
    }
    let builder = Builder::plan(r, &s2, &seed()).map_err(|e| {
        log::warn!("domain {}: {e}", r.name);
        Errno::Invalid
    })?;

    let cpuif = irq::reset_cpuif(gic.version);
    let mut list = Vec::new();
    let mut params = Vec::new();
    for (i, v) in ids.vcpus.iter().enumerate() {
        let mut ctx = Context::new(cpuif);
        ctx.start(0, 0, cpuif);
        list.push(Vcpu {
            id: *v,
            mpidr: 1 << 31 | vcpu_mpidr(i as u32),
            rest: Lock::new(Some(ctx)),
            starting: AtomicBool::new(false),
            pending_on: AtomicBool::new(false),
            loaded_on: AtomicU16::new(NOWHERE),
            last_line: AtomicU16::new(given::NONE),
            vtimer_at: AtomicU64::new(u64::MAX),
            owed: AtomicU64::new(0),
            ptimer: GuestTimer::new(),
            counters: Counters::new(),
        });
        let affinity = r
            .affinity
            .iter()
            .find(|a| a.0 as usize == i)
            .map_or(CpuSet::ALL, |a| a.1);
        let mut p = VcpuParams {
            affinity,
            ..r.params
        };
        if !r.boost_set {
            p.boost = defaults.boost;
        }
        params.push((*v, p));
    }
    if let Some(ctx) = list[0].rest.lock().as_mut() {
        ctx.work = Some(alloc::boxed::Box::new(builder));
    }
    let d = Arc::new(Domain {
        id,
        name: build::short_name(&r.name),
        recipe: n,
        vttbr: s2.vttbr(),
        s2: Lock::new(s2),
        vgic: Lock::new(vgic),
        gic,
        ids: sysreg::ids(gic.version),
        gicd_typer: gic.constant_dist(4, Size::Word).unwrap_or(0) as u32,
        pl011_at: r.pl011_at,
        irqs: r.devices.irqs.clone(),
        doorbells: r.doorbells.clone(),
        uart: r.vpl011.then(|| {
            Lock::new(Uart {
                model: Pl011::new(),
                ahead: heapless::Deque::new(),
                lost: 0,
            })
        }),
        vcpus: list,
        cntvoff: AtomicU64::new(time::ticks()),
        times,
        told: Told::default(),
        life: Life::default(),
        memory_kib: r.memory_kib,
        last_vcpu: [const { AtomicU16::new(u16::MAX) }; MAX_CPUS],
        state: AtomicU8::new(State::Building as u8),
        crash: Lock::new(None),
    });
    let now = time::now();
    run::POOLS
        .add_domain(
            id,
            pool,
            &DomainParams {
                cap: r.cap.unwrap_or(0),
            },
            &params,
            now,
        )
        .map_err(|e| {
            if e.errno() != Errno::Again {
                log::warn!("domain {}: {e}", r.name);
            }
            e.errno()
        })?;
    d.life.begins(now);
    ids.install(&d);
    doorbell::attach(&d);
    if let Err(e) = spi::attach(&d, here) {
        // Nobody has seen it run yet: apart at once.
        forget(d);
        return Err(e);
    }
    if r.console {
        console::open(id.slot, &r.name);
    }
    log::info!(
        "domain {} ({}): {} vCPUs, {} KiB, arguments {}",
        r.name,
        id.slot,
        r.vcpus,
        r.memory_kib,
        build::bootargs_or_dash(&r.bootargs)
    );
    if r.paused {
        match run::POOLS.pause(id, now) {
            Ok(k) => irq::send(k),
            Err(e) => log::warn!("domain {}: cannot be paused: {e}", r.name),
        }
    }
    match run::POOLS.online(d.vcpus[0].id, now) {
        Ok(k) => irq::send(k),
        Err(e) => log::error!("domain {}: vCPU 0 does not start: {e}", r.name),
    }
    Ok(id)
}

/// The CPU this runs on.
fn here() -> abi::CpuId {
    percpu::this().map_or(abi::CpuId::BOOT, |c| c.id)
}

/// Ends the domain: it is unrunnable from now on and will be finished when its last vCPU has stopped.
pub fn end(d: &Domain, how: State) {
    let from: &[State] = match how {
        State::Dying => &[
            State::Building,
            State::Alive,
            State::Crashed,
            State::Shutdown,
            State::Resetting,
        ],
        _ => &[State::Building, State::Alive],
    };
    let _life = LIFE.lock();
    if !d.transit(from, how) {
        return;
    }
    let what = match how {
        State::Shutdown => "powered off",
        State::Resetting => "rebooted",
        State::Crashed => "crashed",
        _ => "destroyed",
    };
    log::info!("domain {}: {what}", d.name);
    spi::silence(d);
    match run::POOLS.kill(d.id, time::now()) {
        Ok(k) => irq::send(k),
        Err(e) => log::error!("domain {}: cannot be stopped: {e}", d.name),
    }
    let mut list = ENDED.lock();
    if !list.contains(&d.id) {
        // There is a place for every domain there can be.
        let _ = list.push(d.id);
    }
    ANY_ENDED.store(true, Ordering::Release);
}

/// Ends the domain because of something it did.
pub fn crash(d: &Domain, c: Crash) {
    {
        let mut slot = d.crash.lock();
        if slot.is_none() {
            *slot = Some(c);
        }
    }
    log::warn!(
        "domain {}: {} at PC {:#x} (syndrome {:#x})",
        d.name,
        c.why,
        c.pc,
        c.esr
    );
    end(d, State::Crashed);
}

/// Whether a domain waits for its end.
pub fn any_ended() -> bool {
    ANY_ENDED.load(Ordering::Acquire) || GRAVES.load(Ordering::Acquire) != 0
}

/// Keeps what is left of a domain until nobody looks at it any more, so that nobody who only looked takes it apart.
/// `GRAVES` counts it already.
fn keep(d: Arc<Domain>) {
    let full = GRAVE.lock().push(d);
    if let Err(d) = full {
        // More than there can be: it goes as soon as the last one who looks lets go. Not under the lock.
        drop(d);
        GRAVES.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Takes apart what nobody looks at any more: no table names it, so nobody can begin to.
fn bury() {
    while GRAVES.load(Ordering::Acquire) != 0 {
        let found = {
            let mut grave = GRAVE.lock();
            let at = grave.iter().position(|d| Arc::strong_count(d) == 1);
            at.map(|i| grave.swap_remove(i))
        };
        let Some(d) = found else { return };
        drop(d);
        GRAVES.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Finishes ended domains whose vCPUs have all stopped and whose last words are printed. Cheap when there are none.
pub fn reap() {
    if !any_ended() {
        return;
    }
    loop {
        bury();
        let next = {
            let mut list = ENDED.lock();
            let found = list
                .iter()
                .position(|id| run::POOLS.quiescent(*id) && console::printed(id.slot));
            ANY_ENDED.store(list.len() > usize::from(found.is_some()), Ordering::Release);
            found.map(|i| list.swap_remove(i))
        };
        let Some(id) = next else { return };
        if let Ok(d) = table::domain(id) {
            finish(d);
        }
    }
}

fn finish(d: Arc<Domain>) {
    let r = &recipe::all()[d.recipe];
    let state = d.state();
    let again = match state {
        State::Resetting => matches!(
            r.restart,
            Restart::OnReset | Restart::OnCrash | Restart::Always
        ),
        State::Crashed => matches!(r.restart, Restart::OnCrash | Restart::Always),
        State::Shutdown => matches!(r.restart, Restart::Always),
        _ => false,
    };
    if again && !d.life.again(time::now()) {
        // Kept as a crashed domain is: dom0 sees why, and can create it anew.
        log::error!(
            "domain {}: ended at once several times: not started again",
            d.name
        );
        let _life = LIFE.lock();
        d.transit(&[state], State::Crashed);
        return;
    }
    if again {
        match restart(&d, r, state) {
            Ok(()) => return,
            Err(e) => log::warn!("domain {}: cannot start again: {e}", d.name),
        }
    } else if state == State::Crashed {
        // Stays for inspection until dom0 destroys it.
        return;
    }
    forget(d);
}

/// Takes a stopped domain apart; its memory is free when the last reference goes.
fn forget(d: Arc<Domain>) {
    let now = time::now();
    // One that never got to run, or was about to start again, is not dead to the pools yet; for others this is nothing new.
    if let Ok(k) = run::POOLS.kill(d.id, now) {
        irq::send(k);
    }
    match run::POOLS.remove_domain(d.id, now) {
        Ok(k) => irq::send(k),
        Err(e) => {
            log::error!("domain {}: cannot be removed: {e}", d.name);
            return;
        }
    }
    spi::detach(&d);
    doorbell::detach(&d);
    // The slot and its VMID may be taken again as soon as the table gives them up.
    console::close(d.id.slot);
    d.s2.lock().forget_translations();
    // Counted before no table names it any more: `destroy` is not done until it is counted off, and its memory free.
    GRAVES.fetch_add(1, Ordering::AcqRel);
    table::remove(&d);
    keep(d);
}

/// Starts a stopped domain from the beginning, in the memory it has.
fn restart(d: &Arc<Domain>, r: &Recipe, from: State) -> Result<(), Errno> {
    if !heap::reserve(64 * 1024) {
        return Err(Errno::NoMemory);
    }
    let builder = {
        let s2 = d.s2.lock();
        Builder::plan(r, &s2, &seed()).map_err(|_| Errno::Invalid)?
    };
    let here = here();
    let _life = LIFE.lock();
    if d.state() != from {
        // Somebody decided otherwise meanwhile, and put it on the list again.
        return Ok(());
    }
    run::POOLS.reset(d.id, time::now()).map_err(|e| e.errno())?;
    d.s2.lock().forget_translations();
    let cpuif = irq::reset_cpuif(d.gic.version);
    {
        let mut vgic = d.vgic.lock();
        vgic.reset();
        vgic.link_ppi(layout::VTIMER_INTID as u16, irq::vtimer_intid());
        spi::forget_in_flight(&mut vgic, &d.irqs);
    }
    for v in &d.vcpus {
        v.vtimer_at.store(u64::MAX, Ordering::Relaxed);
        v.ptimer.change(|t| *t = Ptimer::new());
        v.pending_on.store(false, Ordering::Relaxed);
        if let Some(ctx) = v.rest.lock().as_mut() {
            ctx.start(0, 0, cpuif);
            ctx.work = None;
        }
    }
    if let Some(u) = &d.uart {
        let mut u = u.lock();
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
    if let Some(ctx) = d.vcpus[0].rest.lock().as_mut() {
        ctx.work = Some(alloc::boxed::Box::new(builder));
    }
    d.life.begins(time::now());
    d.cntvoff.store(time::ticks(), Ordering::Relaxed);
    *d.crash.lock() = None;
    d.transit(&[from], State::Building);
    spi::attach(d, here)?;
    let k = run::POOLS
        .online(d.vcpus[0].id, time::now())
        .map_err(|e| e.errno())?;
    irq::send(k);
    Ok(())
}

/// Destroys a domain: `Again` until nothing is left of it.
pub fn destroy(id: DomainId) -> Result<(), Errno> {
    if id == DomainId::DOM0 {
        return Err(Errno::Fixed);
    }
    match table::domain(id) {
        Ok(d) => {
            if d.state() != State::Dying {
                end(&d, State::Dying);
            }
        }
        // Asked again after `Again`, and meanwhile done.
        Err(Errno::Stale) => {}
        Err(e) => return Err(e),
    }
    reap();
    // Whoever's remains they are: what is being taken apart on another CPU has no name any more.
    let left = table::domain(id).is_ok() || GRAVES.load(Ordering::Acquire) != 0;
    if left { Err(Errno::Again) } else { Ok(()) }
}
