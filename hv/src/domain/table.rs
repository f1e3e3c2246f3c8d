//! Who is who: domain ids to domains, vCPU ids to (domain, vCPU).
//!
//! Slots are reused, generations tell the users of an old id. Lookups clone an `Arc` under a short lock (5 in
//! docs/locking.md), never held while anything else is taken.

use super::Domain;
use crate::arch::Lock;
use crate::counters::{self, Counters};
use abi::{DomainId, Errno, MAX_DOMAINS, MAX_VCPUS, VcpuId};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

struct Slot<T> {
    generation: u16,
    taken: bool,
    what: Option<T>,
}

impl<T> Slot<T> {
    const fn empty() -> Lock<Slot<T>> {
        Lock::new(Slot {
            generation: 0,
            taken: false,
            what: None,
        })
    }
}

/// What the vCPUs of domains that are no more have counted.
static GONE: Lock<[u64; counters::NAMES.len()]> = Lock::new([0; counters::NAMES.len()]);
static DOMAINS: [Lock<Slot<Arc<Domain>>>; MAX_DOMAINS] = [const { Slot::empty() }; MAX_DOMAINS];
/// A vCPU: its domain and its index there.
type VcpuSlot = Lock<Slot<(Arc<Domain>, usize)>>;

static VCPUS: [VcpuSlot; MAX_VCPUS] = [const { Slot::empty() }; MAX_VCPUS];

/// Ids set aside for a domain in the making; given back when dropped unless `install`ed.
pub struct Reservation {
    /// The domain's.
    pub domain: DomainId,
    /// Its vCPUs'.
    pub vcpus: Vec<VcpuId>,
    installed: bool,
}

/// Sets aside a domain id and `n` vCPU ids.
pub fn reserve(n: usize) -> Result<Reservation, Errno> {
    let mut vcpus = Vec::new();
    vcpus.try_reserve_exact(n).map_err(|_| Errno::NoMemory)?;
    let slot = take(&DOMAINS).ok_or(Errno::NoMemory)?;
    let mut r = Reservation {
        domain: DomainId::new(slot.0, slot.1),
        vcpus,
        installed: false,
    };
    for _ in 0..n {
        let (slot, generation) = take(&VCPUS).ok_or(Errno::NoMemory)?;
        r.vcpus.push(VcpuId::new(slot, generation));
    }
    Ok(r)
}

fn take<T>(slots: &[Lock<Slot<T>>]) -> Option<(u16, u16)> {
    slots.iter().enumerate().find_map(|(i, s)| {
        let mut s = s.lock();
        (!s.taken).then(|| {
            s.taken = true;
            (i as u16, s.generation)
        })
    })
}

fn give<T>(slots: &[Lock<Slot<T>>], slot: usize) -> Option<T> {
    let mut s = slots[slot].lock();
    s.taken = false;
    s.generation = s.generation.wrapping_add(1);
    s.what.take()
}

impl Reservation {
    /// Makes the domain findable.
    pub fn install(mut self, d: &Arc<Domain>) {
        self.installed = true;
        for (i, v) in self.vcpus.iter().enumerate() {
            VCPUS[v.index()].lock().what = Some((d.clone(), i));
        }
        DOMAINS[self.domain.index()].lock().what = Some(d.clone());
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.installed {
            for v in &self.vcpus {
                drop(give(&VCPUS, v.index()));
            }
            drop(give(&DOMAINS, self.domain.index()));
        }
    }
}

/// Takes the names of the vCPUs `from..to` away, which are the domain's last: their ids are stale from now on. What they
/// counted stays in the machine's sums.
pub fn remove_vcpus(d: &Domain, from: usize, to: usize) {
    let vcpus = &d.vcpus[from..to];
    let mut gone = GONE.lock();
    for (i, sum) in gone.iter_mut().enumerate() {
        *sum = Counters::add_up(i, *sum, vcpus.iter().map(|v| &v.counters));
    }
    // A CPU that has just saved one may still add a step to its counters: that is in no sum.
    d.counted.store(from, Ordering::Relaxed);
    drop(gone);
    for v in vcpus {
        let gone = give(&VCPUS, v.id.index());
        drop(gone);
    }
}

/// Takes the domain's name away, when its vCPUs have lost theirs.
pub fn remove(d: &Domain) {
    let gone = give(&DOMAINS, d.id.index());
    drop(gone);
}

/// Value of counter number `i` for all vCPUs that there are and have been. It never becomes less.
pub fn counted(i: usize) -> u64 {
    // Held to the end: a vCPU that goes meanwhile would be counted twice, or not at all.
    let gone = GONE.lock();
    let mut sum = gone.get(i).copied().unwrap_or(0);
    let mut from = 0;
    while let Some(d) = at_or_after(from) {
        let there = d.vcpus.iter().take(d.counted.load(Ordering::Relaxed));
        sum = Counters::add_up(i, sum, there.map(|v| &v.counters));
        from = d.id.index() + 1;
    }
    sum
}

/// The domain of that id.
pub fn domain(id: DomainId) -> Result<Arc<Domain>, Errno> {
    let s = DOMAINS.get(id.index()).ok_or(Errno::NoSuch)?.lock();
    match &s.what {
        Some(d) if s.generation == id.generation => Ok(d.clone()),
        _ if id.generation < s.generation => Err(Errno::Stale),
        _ => Err(Errno::NoSuch),
    }
}

/// The first live domain in slot `from` or later.
pub fn at_or_after(from: usize) -> Option<Arc<Domain>> {
    DOMAINS
        .iter()
        .skip(from)
        .find_map(|s| s.lock().what.clone())
}

/// The live domain called `name`.
pub fn find(name: &str) -> Option<Arc<Domain>> {
    let mut from = 0;
    while let Some(d) = at_or_after(from) {
        if d.name.as_str() == name {
            return Some(d);
        }
        from = d.id.index() + 1;
    }
    None
}

/// The domain in that slot whatever its generation.
pub fn in_slot(slot: u16) -> Option<Arc<Domain>> {
    DOMAINS.get(slot as usize)?.lock().what.clone()
}

/// Whose vCPU that is, and which one.
#[inline]
pub fn vcpu(id: VcpuId) -> Option<(Arc<Domain>, usize)> {
    let s = VCPUS.get(id.index())?.lock();
    match &s.what {
        Some((d, i)) if s.generation == id.generation => Some((d.clone(), *i)),
        _ => None,
    }
}

/// The vCPU in that slot, if there is one.
pub fn vcpu_in(slot: usize) -> Option<VcpuId> {
    let s = VCPUS.get(slot)?.lock();
    s.what
        .as_ref()
        .map(|_| VcpuId::new(slot as u16, s.generation))
}
