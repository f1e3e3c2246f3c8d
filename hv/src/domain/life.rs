//! A domain's life: made from a recipe, ended by itself or by dom0.
//!
//! Here its end only begins: no CPU waits for another, and what is to be done for 64 vCPUs is done in pieces (end.rs). A
//! failed creation leaves nothing behind.

use super::build::{self, Builder, Plan};
use super::recipe::{self, Recipe};
use super::{Crash, Domain, Life, State, Told, Uart, end, ram, shared, table};
use crate::arch::Lock;
use crate::counters::Counters;
use crate::mem::frames::FrameRange;
use crate::mem::stage2::Stage2;
use crate::mem::{heap, nodes};
use crate::run::POOLS;
use crate::vcpu::page::TimeArea;
use crate::vcpu::{Context, GuestTimer, NOWHERE, Vcpu, given};
use crate::{arch, console, doorbell, irq, percpu, spi, sysreg, time};
use abi::{CpuSet, DomainId, Errno, MAX_CPUS, PoolId};
use alloc::sync::Arc;
use alloc::vec::Vec;
use board::guest::{GuestGic, layout, vcpu_mpidr};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use pools::{DomainParams, VcpuParams};
use vdev::mmio::Size;
use vdev::pl011::Pl011;
use vdev::vgic::{Version, Vgic, VgicConfig};

/// Held while a domain's state and its being runnable change together: an end and a restart do not interleave.
pub(super) static LIFE: Lock<()> = Lock::new(());
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

pub(super) fn seed() -> build::Seed {
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
    // The memory of those who are gone first.
    if end::remains() {
        end::come_by();
        return Err(Errno::Again);
    }
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
    let defaults = POOLS.pool_params(pool).map_err(|e| e.errno())?;
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
    let plan = Plan::new(r, &s2).map_err(|e| {
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
        let own = r.affinity.iter().find(|v| v.id as usize == i);
        let mut p = VcpuParams {
            affinity: own.and_then(|v| v.affinity).unwrap_or(CpuSet::ALL),
            soft: own.and_then(|v| v.soft).unwrap_or(CpuSet::ALL),
            ..r.params
        };
        if !r.boost_set {
            p.boost = defaults.boost;
        }
        params.push((*v, p));
    }
    if let Some(ctx) = list[0].rest.lock().as_mut() {
        ctx.work = Some(Builder::new(seed()));
    }
    let d = Arc::new(Domain {
        id,
        name: build::short_name(&r.name),
        recipe: n,
        vttbr: s2.vttbr(),
        s2: Lock::new(s2),
        plan,
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
        counted: AtomicUsize::new(vcpus),
        ending: AtomicBool::new(false),
        crash: Lock::new(None),
    });
    let now = time::now();
    let kick = POOLS
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
    irq::send(kick);
    d.life.begins(now);
    ids.install(&d);
    doorbell::attach(&d);
    if let Err(e) = spi::attach(&d, here) {
        // Nobody has seen it run yet.
        end(&d, State::Dying);
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
        match POOLS.pause(id, now) {
            Ok(k) => irq::send(k),
            Err(e) => log::warn!("domain {}: cannot be paused: {e}", r.name),
        }
    }
    match POOLS.online(d.vcpus[0].id, now) {
        Ok(k) => irq::send(k),
        Err(e) => log::error!("domain {}: vCPU 0 does not start: {e}", r.name),
    }
    Ok(id)
}

/// The CPU this runs on.
pub(super) fn here() -> abi::CpuId {
    percpu::this().map_or(abi::CpuId::BOOT, |c| c.id)
}

/// Ends the domain: its vCPUs stop, and when the last one has, it is taken apart or begins again.
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
    let began = time::now();
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
    end::begin(d);
    end::took(time::now().since(began));
}

/// The same at the word of its vCPU `index`, which is loaded here. It does not run again, whoever takes the others to their
/// end in pieces and how long that may last: neither PSCI's call nor an error has a way back.
pub fn end_by(d: &Domain, index: usize, how: State) {
    end(d, how);
    // As long as it is loaded nothing of the domain has begun anew, so this is the life that has ended.
    if let Ok((kick, _)) = POOLS.kill_some(d.id, index..index + 1, time::now()) {
        irq::send(kick);
    }
}

/// Ends the domain because of something its loaded vCPU `index` did.
pub fn crash(d: &Domain, index: usize, c: Crash) {
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
    end_by(d, index, State::Crashed);
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
    // Whoever's remains they are: what is being taken apart on another CPU has no name any more.
    if table::domain(id).is_ok() || end::remains() {
        end::come_by();
        Err(Errno::Again)
    } else {
        Ok(())
    }
}
