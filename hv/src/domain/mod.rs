//! Domains: one virtual machine each. What it consists of, how it comes, ends and goes.
//!
//! table: ids to domains. recipe: what a domain is made from. build: filling its memory, step by step. end: taking it
//! apart or starting it again, piece by piece. psci: its power calls. The vGIC and UART models are vdev's; scheduling is pools'. A domain's parts are freed when the last CPU let
//! go of it.

pub mod build;
pub mod end;
pub mod life;
pub mod psci;
pub mod ram;
pub mod recipe;
pub mod shared;
pub mod table;

use crate::arch::Lock;
use crate::doorbell::Doorbell;
use crate::mem::stage2::Stage2;
use crate::sysreg::Ids;
use crate::vcpu::Vcpu;
use crate::vcpu::page::TimeArea;
use abi::{CpuId, DomainId, Instant, MAX_CPUS};
use alloc::vec::Vec;
use core::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use pools::News;
use vdev::pl011::Pl011;
use vdev::vgic::{Vgic, VgicConfig};

/// A second, ns.
const SECOND: u64 = 1_000_000_000;

/// How a domain stands. Values are the wire's (abi `DomainState`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum State {
    /// Its memory is being filled.
    Building = 0,
    /// It runs.
    Alive = 1,
    /// It switched itself off and is being taken apart.
    Shutdown = 2,
    /// It did something that cannot go on; kept for inspection.
    Crashed = 3,
    /// Somebody destroys it.
    Dying = 4,
    /// It asked for a reset; starts anew when all its vCPUs have stopped.
    Resetting = 5,
}

/// Why a domain crashed.
#[derive(Clone, Copy, Debug)]
pub struct Crash {
    /// Guest PC.
    pub pc: u64,
    /// In words.
    pub why: &'static str,
    /// The syndrome, if there was one.
    pub esr: u64,
}

/// A virtual machine.
pub struct Domain {
    /// Its id.
    pub id: DomainId,
    /// Its name, unique among live ones.
    pub name: heapless::String<48>,
    /// Number of the recipe it was made from.
    pub recipe: usize,
    /// VTTBR_EL2.
    pub vttbr: u64,
    /// Its memory.
    pub s2: Lock<Stage2>,
    /// What its memory is filled with.
    pub plan: build::Plan,
    /// Its interrupt controller.
    pub vgic: Lock<Vgic>,
    /// What of the vGIC never changes.
    pub gic: VgicConfig,
    /// Its identification registers.
    pub ids: &'static Ids,
    /// GICD_TYPER, which guests read often.
    pub gicd_typer: u32,
    /// Where its UART is, guest-physical.
    pub pl011_at: u64,
    /// Interrupts of the devices it is given.
    pub irqs: Vec<board::Irq>,
    /// Its ends of doorbells.
    pub doorbells: Vec<Doorbell>,
    /// Its UART.
    pub uart: Option<Lock<Uart>>,
    /// Its vCPUs.
    pub vcpus: Vec<Vcpu>,
    /// Its virtual counter is the physical one minus this, ticks.
    pub cntvoff: AtomicU64,
    /// Where its vCPUs read their stolen time and run states.
    pub times: TimeArea,
    /// What of its scheduling has been logged.
    pub told: Told,
    /// When it began its present life, ns, and how many lives before it ended at once.
    pub life: Life,
    /// RAM in KiB.
    pub memory_kib: u64,
    /// Which vCPU of it each CPU ran last (`u16::MAX` none): another one's stage-1 TLB entries must go first.
    pub last_vcpu: [AtomicU16; MAX_CPUS],
    state: AtomicU8,
    /// So many of its vCPUs are in the machine's sums by their own counters, the others by what `table` keeps of those who
    /// are gone. Changed and read under the lock of that.
    counted: AtomicUsize,
    /// Its end is under way (`end`).
    ending: AtomicBool,
    crash: Lock<Option<Crash>>,
}

/// The emulated UART and what was typed for it but does not fit into its FIFO yet.
pub struct Uart {
    /// The register model.
    pub model: Pl011,
    /// Typed ahead.
    pub ahead: heapless::Deque<u8, 512>,
    /// Bytes typed that found no room at all.
    pub lost: u64,
}

impl Domain {
    /// How it stands.
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            0 => State::Building,
            1 => State::Alive,
            2 => State::Shutdown,
            3 => State::Crashed,
            4 => State::Dying,
            _ => State::Resetting,
        }
    }

    /// Goes from one of `from` to `to`; false if it stands otherwise.
    pub fn transit(&self, from: &[State], to: State) -> bool {
        self.state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |s| {
                from.iter().any(|f| *f as u8 == s).then_some(to as u8)
            })
            .is_ok()
    }

    /// Why it crashed.
    pub fn crash(&self) -> Option<Crash> {
        *self.crash.lock()
    }

    /// It begins anew.
    fn forget_crash(&self) {
        *self.crash.lock() = None;
    }

    /// Gives back some of what it consists of: so many vCPUs, or so much of its address space. Whether something is left.
    /// Nobody else knows it any more.
    fn dismantle(&mut self, vcpus: usize, memory: usize) -> bool {
        if let Some(left) = self.vcpus.len().checked_sub(1) {
            self.vcpus.truncate((left + 1).saturating_sub(vcpus));
            return true;
        }
        self.s2.get_mut().dismantle(memory)
    }

    /// Whether it is the control domain.
    pub fn is_control(&self) -> bool {
        self.id == DomainId::DOM0
    }

    /// Notes that CPU `cpu` runs vCPU `index` now; true if another vCPU of this domain ran there before.
    pub fn runs_here(&self, cpu: CpuId, index: usize) -> bool {
        let old = self.last_vcpu[cpu.index()].swap(index as u16, Ordering::Relaxed);
        old != u16::MAX && old != index as u16
    }
}

/// A limit on log lines that a guest can cause: one a second for a domain, with a count of those left out.
#[derive(Default)]
pub struct Told {
    next: AtomicU64,
    left_out: AtomicU32,
}

/// How long a domain lives between restarts: one that ends at once each time is given up.
#[derive(Default)]
pub struct Life {
    since: AtomicU64,
    short: AtomicU32,
}

impl Life {
    /// A life shorter than this is short.
    const SHORT: u64 = SECOND;
    /// So many short lives in a row are enough.
    const MOST: u32 = 5;

    /// It begins anew.
    pub fn begins(&self, now: Instant) {
        self.since.store(now.0, Ordering::Relaxed);
    }

    /// It has ended; whether it is worth another one.
    pub fn again(&self, now: Instant) -> bool {
        if now.0.saturating_sub(self.since.load(Ordering::Relaxed)) >= Self::SHORT {
            self.short.store(0, Ordering::Relaxed);
            return true;
        }
        self.short.fetch_add(1, Ordering::Relaxed) + 1 < Self::MOST
    }
}

impl Domain {
    /// Logs scheduling news of vCPU `index`.
    pub fn report(&self, index: usize, what: News, now: Instant) {
        let next = self.told.next.load(Ordering::Relaxed);
        let mine = now.0 >= next
            && self
                .told
                .next
                .compare_exchange(next, now.0 + SECOND, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !mine {
            self.told.left_out.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let left_out = self.told.left_out.swap(0, Ordering::Relaxed);
        let what = match what {
            News::Exhausted => "boost credit spent while others wait",
            News::Storm => "an interrupt storms; it is delivered without boost for a while",
        };
        if left_out == 0 {
            log::warn!("domain {}: vCPU {index}: {what}", self.name);
        } else {
            log::warn!(
                "domain {}: vCPU {index}: {what} ({left_out} more such events since the last line)",
                self.name
            );
        }
    }
}

impl Uart {
    /// Moves bytes typed ahead into the FIFO as far as it has room.
    pub fn refill(u: &mut Uart) {
        while let Some(b) = u.ahead.front().copied() {
            if u.model.push_rx(&[b]) == 0 {
                break;
            }
            u.ahead.pop_front();
        }
    }
}
