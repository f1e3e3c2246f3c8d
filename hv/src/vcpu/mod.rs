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
use core::sync::atomic::{AtomicBool, AtomicU16, AtomicU64};
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
    pub ptimer: Lock<Ptimer>,
    /// Its exits by reason.
    pub counters: Counters,
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
