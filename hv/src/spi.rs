//! Physical interrupts of devices given to guests: from the GIC to the owner's vGIC, and quiet when the owner is.
//!
//! A shared interrupt has one owner, a domain by its slot. When it fires, its priority is dropped and it stays active
//! in the GIC: the guest's own end of the virtual interrupt deactivates it through the list register, so a line that
//! its driver never serves fires once and no more. It is enabled only while its owner lives: whoever ends, restarts or
//! destroys the domain switches it off first, so that a device nobody serves cannot storm EL2. It comes to the CPU
//! where its vCPU was last found.

use crate::arch::Lock;
use crate::domain::{Domain, State, table};
use crate::irq;
use crate::percpu::Cpu;
use crate::run::POOLS;
use crate::vcpu::NOWHERE;
use crate::vgic;
use abi::{CpuId, Errno};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU16, Ordering};
use vdev::vgic::{Irq, Vgic};

/// First shared interrupt, and one beyond the last.
const FIRST: usize = 32;
const END: usize = 1020;
/// No owner.
const NOBODY: u16 = u16::MAX;

/// Which domain's slot each shared interrupt belongs to.
static OWNER: [AtomicU16; END - FIRST] = [const { AtomicU16::new(NOBODY) }; END - FIRST];
/// Held while interrupts are switched on or off together with whose they are, so that who finds one without an owner does
/// not switch off what has got a new one meanwhile.
static SWITCH: Lock<()> = Lock::new(());

fn owner(intid: u32) -> Option<&'static AtomicU16> {
    OWNER.get((intid as usize).checked_sub(FIRST)?)
}

/// Whether `intid` is some guest's.
#[inline]
pub fn is_given(intid: u32) -> bool {
    owner(intid).is_some_and(|o| o.load(Ordering::Acquire) != NOBODY)
}

/// Links the domain's interrupts in its new or reset controller. None of them is loaded or in flight.
pub fn link(vgic: &mut Vgic, irqs: &[board::Irq]) -> bool {
    irqs.iter()
        .all(|i| vgic.link_spi(i.intid as u16, i.intid as u16))
}

/// After a reset of the controller: what was in flight is deactivated by `attach`, not by whichever vCPU comes first.
pub fn forget_in_flight(vgic: &mut Vgic, irqs: &[board::Irq]) {
    if irqs.is_empty() {
        return;
    }
    // Bounded: each interrupt is queued once.
    while vgic.take_release(0).is_some() {}
}

/// Makes `d` the owner of its interrupts and lets them come to `cpu`. Nothing is left of what was before.
pub fn attach(d: &Domain, cpu: CpuId) -> Result<(), Errno> {
    let Err((intid, why)) = switch_on(d, cpu) else {
        return Ok(());
    };
    detach(d);
    match why {
        Some(e) => log::error!("domain {}: interrupt {intid}: {e}", d.name),
        None => log::error!("domain {}: interrupt {intid}: is no SPI", d.name),
    }
    Err(Errno::Invalid)
}

/// The first that cannot be switched on, and what the GIC says about it.
fn switch_on(d: &Domain, cpu: CpuId) -> Result<(), (u32, Option<drivers::GicError>)> {
    let _switch = SWITCH.lock();
    for i in &d.irqs {
        let ready = (|| {
            quiet(i.intid, cpu)?;
            irq::gic().set_trigger(i.intid, cpu, i.trigger)?;
            irq::gic().set_pending(i.intid, cpu, false)?;
            irq::gic().route_spi(i.intid, cpu)
        })();
        ready.map_err(|e| (i.intid, Some(e)))?;
        let place = owner(i.intid).ok_or((i.intid, None))?;
        place.store(d.id.slot, Ordering::Release);
    }
    for i in &d.irqs {
        let _ = irq::gic().enable(i.intid, cpu);
    }
    Ok(())
}

/// Switches the domain's interrupts off: it has ended, and nobody serves its devices.
pub fn silence(d: &Domain) {
    let _switch = SWITCH.lock();
    for i in &d.irqs {
        let _ = irq::gic().disable(i.intid, CpuId::BOOT);
    }
}

/// Takes the domain's interrupts away.
pub fn detach(d: &Domain) {
    let _switch = SWITCH.lock();
    for i in &d.irqs {
        if let Some(o) = owner(i.intid)
            && o.compare_exchange(d.id.slot, NOBODY, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        {
            let _ = quiet(i.intid, CpuId::BOOT);
        }
    }
}

/// Off and inactive.
fn quiet(intid: u32, cpu: CpuId) -> Result<(), drivers::GicError> {
    irq::gic().disable(intid, cpu)?;
    irq::gic().set_active(intid, cpu, false)
}

/// Whose interrupt that is, if it lives.
fn serves(intid: u32) -> Option<Arc<Domain>> {
    let slot = owner(intid)?.load(Ordering::Acquire);
    table::in_slot(slot)
        .filter(|d| d.irqs.iter().any(|i| i.intid == intid))
        .filter(|d| matches!(d.state(), State::Alive | State::Building))
}

/// An interrupt that has come is nobody's: off, unless it has found an owner meanwhile. Who became that has made it
/// inactive (`switch_on`), so what is active now is the owner's, and comes twice if it is touched.
#[cold]
pub fn stray(intid: u32, cpu: CpuId) {
    let _switch = SWITCH.lock();
    if serves(intid).is_none() {
        let _ = quiet(intid, cpu);
    }
}

/// An interrupt of a guest's device was acknowledged and its priority dropped: to its owner. False: it has none that
/// could serve it, and was switched off.
pub fn fired(intid: u32, cpu: &Cpu) -> bool {
    let Some(d) = serves(intid) else {
        stray(intid, cpu.id);
        return false;
    };
    let kick = d.vgic.lock().fire_hw(Irq::spi(intid as u16));
    // Where its vCPU runs now, the next one may as well come at once; if it is at rest, at least to a CPU of its pool.
    let target = kick.wake.trailing_zeros() as usize;
    if let Some(v) = d.vcpus.get(target) {
        let to = match v.loaded_on.load(Ordering::Acquire) {
            NOWHERE if POOLS.at_home(cpu.id, v.id) => None,
            NOWHERE => POOLS.keeper(v.id),
            on => Some(CpuId(on)),
        };
        if let Some(to) = to.filter(|c| *c != cpu.id) {
            let _ = irq::gic().route_spi(intid, to);
        }
    }
    vgic::deliver(&d, kick, vgic::line(intid as u16), cpu);
    true
}
