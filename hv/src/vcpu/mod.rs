//! A vCPU as the hypervisor core sees it: its name, its registers at rest, and its being loaded in a CPU.
//!
//! The registers are one boxed `Context` that is either in the vCPU's slot (at rest) or in exactly one CPU's `Loaded`:
//! taking it out of the slot is the claim, so no second CPU can have it and no lock is held while the guest runs.
//! Scheduling state is not here but in the pools crate, by id.

pub mod context;
pub mod given;
pub mod page;

pub use context::Context;

use crate::arch::Lock;
use crate::counters::Counters;
use crate::domain::Domain;
use abi::VcpuId;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use vdev::ptimer::Ptimer;

/// `Vcpu::loaded_on` of a vCPU at rest.
pub const NOWHERE: u16 = u16::MAX;

/// One virtual CPU of a domain.
pub struct Vcpu {
    /// Its name to the scheduler.
    pub id: VcpuId,
    /// What it reads as MPIDR_EL1.
    pub mpidr: u64,
    /// Its registers while it is in no CPU.
    pub rest: Lock<Option<Box<Context>>>,
    /// Held by the one PSCI CPU_ON that is starting it.
    pub starting: AtomicBool,
    /// Started by CPU_ON, has not run yet.
    pub pending_on: AtomicBool,
    /// The CPU its registers are in, `NOWHERE` if in none. Written under the domain's vGIC lock, so that who marked an
    /// interrupt pending there before the vCPU left its CPU is seen by that CPU, and who comes later sees it gone.
    pub loaded_on: AtomicU16,
    /// The interrupt (`given::code`) that another CPU made pending for it last, for the CPU it is loaded in.
    pub last_line: AtomicU16,
    /// When its virtual timer is due while it is at rest, ns; `u64::MAX` = never.
    pub vtimer_at: AtomicU64,
    /// EL2's work for it in other vCPUs' time, ns, not charged yet.
    pub owed: AtomicU64,
    /// Its emulated physical timer.
    pub ptimer: GuestTimer,
    /// Its exits by reason.
    pub counters: Counters,
}

/// The emulated physical timer. Few guests use it, and a switch asks for it twice: while it is quiet the answer needs
/// no lock.
pub struct GuestTimer {
    timer: Lock<Ptimer>,
    /// Written under the lock: nothing is to be done about it before somebody changes it.
    quiet: AtomicBool,
}

impl GuestTimer {
    /// As after reset.
    pub const fn new() -> GuestTimer {
        GuestTimer {
            timer: Lock::new(Ptimer::new()),
            quiet: AtomicBool::new(false),
        }
    }

    /// To read it.
    pub fn read<T>(&self, what: impl FnOnce(&Ptimer) -> T) -> T {
        what(&self.timer.lock())
    }

    /// To change it; `update` has to follow, since its line may be another now.
    pub fn change(&self, how: impl FnOnce(&mut Ptimer)) {
        let mut timer = self.timer.lock();
        how(&mut timer);
        self.quiet.store(false, Ordering::Relaxed);
    }

    /// Unless it is quiet, what is to be done about it, decided under its lock.
    #[inline]
    pub fn update<T>(&self, what: impl FnOnce(&mut Ptimer) -> T) -> Option<T> {
        // Changed by its own vCPU or while that is stopped: whoever comes after it sees this.
        if self.quiet.load(Ordering::Relaxed) {
            return None;
        }
        let mut timer = self.timer.lock();
        let result = what(&mut timer);
        self.quiet.store(timer.is_quiet(), Ordering::Relaxed);
        Some(result)
    }
}

/// A vCPU whose registers are in this CPU.
pub struct Loaded {
    /// Its domain.
    pub domain: Arc<Domain>,
    /// Which of the domain's vCPUs.
    pub index: usize,
    /// Its memory image: what is not in registers now, and the room for what is.
    pub ctx: Box<Context>,
}

impl Loaded {
    /// The vCPU.
    #[inline]
    pub fn vcpu(&self) -> &Vcpu {
        &self.domain.vcpus[self.index]
    }
}
