//! Doorbells: one domain interrupts another, and nothing else passes.
//!
//! Each end is a port of its domain and an SPI of its GIC, wired to one other end when Tarn boots; no guest can name a
//! domain. Ringing sets that SPI's latch in the other's vGIC: rings before the other has taken the interrupt are one, so
//! a guest that rings without end costs the other no more than its own handler does, and the scheduler counts it as any
//! interrupt line (boosts, storms). A ring towards a domain that does not live is counted and answered `Busy`; it is
//! not kept for the next life.

use crate::counters::Kind;
use crate::domain::{Domain, State, table};
use crate::percpu::Cpu;
use crate::vcpu::Loaded;
use crate::vgic;
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use board::guest::layout;
use core::sync::atomic::{AtomicU16, Ordering};
use vdev::mmio::{Access, Size};
use vdev::vgic::{Irq, Kick};

/// Nobody.
const NOBODY: u16 = u16::MAX;

/// One end, as its domain has it.
#[derive(Clone, Copy, Debug)]
pub struct Doorbell {
    /// The domain's own number for it.
    pub port: u32,
    /// By which interrupt it is heard.
    pub intid: u16,
    /// The recipe of the domain that hears when this end rings, and by which interrupt; `None`: that one was refused.
    pub peer: Option<(usize, u16)>,
}

/// The slot of the domain that was made from each recipe.
static SLOTS: spin::Once<Vec<AtomicU16>> = spin::Once::new();

/// Makes room for `recipes`, once.
pub fn init(recipes: usize) {
    SLOTS.call_once(|| (0..recipes).map(|_| AtomicU16::new(NOBODY)).collect());
}

fn slot(recipe: usize) -> Option<&'static AtomicU16> {
    SLOTS.get()?.get(recipe)
}

/// `d` is there and can hear.
pub fn attach(d: &Domain) {
    if let Some(s) = slot(d.recipe) {
        s.store(d.id.slot, Ordering::Release);
    }
}

/// `d` goes.
pub fn detach(d: &Domain) {
    if let Some(s) = slot(d.recipe) {
        // Of two domains of one recipe the later one counts.
        let _ = s.compare_exchange(d.id.slot, NOBODY, Ordering::AcqRel, Ordering::Relaxed);
    }
}

fn lives(d: &Domain) -> bool {
    matches!(d.state(), State::Alive | State::Building)
}

/// The domain that hears `bell`, while it lives. It may go while it is looked at: what is left of it is then taken apart where
/// domains end (`end::go_on`), not by who holds this last.
fn listener(bell: &Doorbell) -> Option<(Arc<Domain>, u16)> {
    let (recipe, intid) = bell.peer?;
    let d = table::in_slot(slot(recipe)?.load(Ordering::Acquire))?;
    // The slot may be somebody else's by now.
    (d.recipe == recipe && lives(&d)).then_some((d, intid))
}

/// Sets the latch; what follows from that. `None`: nobody hears. Looked at under the vGIC's lock, under which a domain that
/// starts again loses all that its former life was given: a ring meant for that one does not reach the next.
fn pulse(d: &Domain, intid: u16) -> Option<Kick> {
    let mut vgic = d.vgic.lock();
    lives(d).then(|| vgic.pulse(Irq::spi(intid)))
}

/// The loaded vCPU rings its domain's port. `NoSuch`: it has no such port; `Busy`: nobody hears it.
pub fn ring(port: u32, l: &Loaded, cpu: &Cpu) -> Result<(), Errno> {
    let bells = &l.domain.doorbells;
    let bell = bells.iter().find(|b| b.port == port).ok_or(Errno::NoSuch)?;
    l.vcpu().counters.add(Kind::Ring);
    let heard = listener(bell).and_then(|(d, intid)| {
        let kick = pulse(&d, intid)?;
        Some((d, intid, kick))
    });
    let Some((d, intid, kick)) = heard else {
        l.vcpu().counters.add(Kind::RingUnheard);
        return Err(Errno::Busy);
    };
    vgic::deliver(&d, kick, vgic::line(intid), cpu);
    Ok(())
}

/// An access to the doorbell page: what a load gives, 0 for a store. `None`: there is no register.
pub fn access(a: &Access, l: &Loaded, cpu: &Cpu) -> Option<u64> {
    let offset = a.ipa.checked_sub(layout::DOORBELLS)?;
    if offset >= layout::DOORBELLS_SIZE || !offset.is_multiple_of(4) || a.size != Size::Word {
        return None;
    }
    let port = (offset / 4) as u32;
    let bell = l.domain.doorbells.iter().find(|b| b.port == port)?;
    if a.write {
        // A store has no answer: unheard rings are counted.
        let _ = ring(port, l, cpu);
        return Some(0);
    }
    Some(u64::from(listener(bell).is_some()))
}
