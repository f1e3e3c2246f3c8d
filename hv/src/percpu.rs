//! What each CPU has of its own: a block that others may read, and a private half that only its own entries reach.
//!
//! TPIDR_EL2 names the block from the CPU's first Rust line on. The private half (`CpuLocal`) is lent out exactly once
//! per entry to EL2, by trap.rs, and EL2 does not nest: so there is never a second reference. Others talk to a CPU by
//! the atomics here and an SGI.

use crate::arch::sysreg;
use crate::irq;
use crate::vcpu::Loaded;
use crate::vcpu::given::Given;
use crate::work;
use abi::{CpuId, Instant, MAX_CPUS, Span};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use pools::IdleCpu;
use vdev::alarm::{Adopted, Alarms};

/// A CPU's block. `boot.s` and `vectors.s` know the first three fields.
#[repr(C, align(64))]
pub struct Cpu {
    /// Top of its stack.
    pub stack_top: u64,
    /// Top of the stack for faults of EL2 itself.
    pub emergency_top: u64,
    /// Calls answered by vectors.s alone since the loaded vCPU was last charged for them.
    pub fast_calls: AtomicU64,
    /// Lowest address of its stack; the page below is unmapped.
    pub stack_bottom: u64,
    /// Who it is.
    pub id: CpuId,
    /// Its affinity in MPIDR_EL1.
    pub mpidr: u64,
    /// Somebody wants it to come by `reschedule`.
    pub resched: AtomicBool,
    /// It runs Rust code at EL2 (or a guest).
    pub up: AtomicBool,
    /// Physical interrupts it took.
    pub irqs: AtomicU64,
    /// What it is asked to do at EL2.
    pub work: work::Box,
    /// vCPUs whose alarms it is asked to take over.
    pub adopted: Adopted,
    /// Somebody waits for it: interrupts to its vCPU matter to the pool.
    pub contended: AtomicBool,
    /// Interrupts its running vCPU was given; only this CPU touches it.
    pub given: Given,
    local: UnsafeCell<CpuLocal>,
}

// SAFETY: `local` is reached only through `Cpu::local`, whose contract allows one reference at a time, by this CPU.
unsafe impl Sync for Cpu {}

/// The private half of a CPU.
pub struct CpuLocal {
    /// The vCPU whose registers are in this CPU.
    pub loaded: Option<Loaded>,
    /// The loaded vCPU sleeps in WFI; its registers stayed because nobody else needs the CPU.
    pub dozing: bool,
    /// Proof of idleness between two picks.
    pub idle: Option<IdleCpu>,
    /// Software timers that fire here.
    pub alarms: Alarms,
    /// `PoolSet::moves` when this CPU last looked whose alarms it has.
    pub moves: u32,
    /// End of the running vCPU's slice.
    pub slice: Instant,
    /// When to make a forgetful GIC look at the virtual timer's line again.
    pub nudge: Instant,
    /// When to look whether a boosted vCPU has left its handler or masked stretch, and how long after the last look.
    pub probe: (Instant, Span),
    /// The guests' device interrupts it is also for.
    pub nudged: irq::Spis,
    /// What the hardware timer is set to; `NEVER` = off.
    pub armed: Instant,
    /// The guest vtimer's physical interrupt is active in this CPU's GIC interface.
    pub vtimer_active: bool,
    /// Whose EL1 and FP registers this CPU still holds (`Context::tag`).
    pub resident: u64,
    /// It has the RAS extension.
    pub ras: bool,
    /// EL2's work for other vCPUs since the loaded one came, in its time.
    pub spent: Span,
    /// HCR_EL2 as it stands.
    pub hcr: u64,
}

/// One row of the table secondary CPUs find themselves in (`boot.s` walks it).
#[repr(C)]
pub struct SecondaryRow {
    mpidr: AtomicU64,
    block: AtomicU64,
}

/// See `SecondaryRow`.
pub static SECONDARY_CPUS: [SecondaryRow; MAX_CPUS] = [const {
    SecondaryRow {
        mpidr: AtomicU64::new(0),
        block: AtomicU64::new(0),
    }
}; MAX_CPUS];

impl Cpu {
    /// A block for CPU `id`.
    pub fn new(
        id: CpuId,
        mpidr: u64,
        stack_bottom: usize,
        stack_top: usize,
        emergency_top: usize,
    ) -> Cpu {
        Cpu {
            stack_top: stack_top as u64,
            emergency_top: emergency_top as u64,
            fast_calls: AtomicU64::new(0),
            stack_bottom: stack_bottom as u64,
            id,
            mpidr,
            resched: AtomicBool::new(false),
            up: AtomicBool::new(false),
            irqs: AtomicU64::new(0),
            work: work::Box::new(),
            adopted: Adopted::new(),
            contended: AtomicBool::new(false),
            given: Given::new(),
            local: UnsafeCell::new(CpuLocal {
                loaded: None,
                dozing: false,
                idle: None,
                alarms: Alarms::new(),
                moves: 0,
                slice: Instant::NEVER,
                nudge: Instant::NEVER,
                probe: (Instant::NEVER, Span::ZERO),
                nudged: irq::Spis::NONE,
                armed: Instant::NEVER,
                vtimer_active: false,
                resident: 0,
                ras: false,
                spent: Span::ZERO,
                hcr: 0,
            }),
        }
    }

    /// The private half.
    ///
    /// # Safety
    /// Called by this CPU only, and not while another reference from an earlier call lives: once per entry to EL2.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn local(&self) -> &mut CpuLocal {
        // SAFETY: the caller's promise.
        unsafe { &mut *self.local.get() }
    }

    /// Makes the block findable by every CPU, and by the CPU itself when it starts.
    pub fn publish(&'static self) {
        let row = &SECONDARY_CPUS[self.id.index()];
        row.mpidr.store(self.mpidr, Ordering::Relaxed);
        row.block.store(&raw const *self as u64, Ordering::Release);
    }

    /// Adds one to a counter only this CPU writes.
    #[inline]
    pub fn count(counter: &AtomicU64) {
        counter.store(
            counter.load(Ordering::Relaxed).wrapping_add(1),
            Ordering::Relaxed,
        );
    }
}

/// The block of CPU `id`, if there is such a CPU.
pub fn cpu(id: CpuId) -> Option<&'static Cpu> {
    let p = SECONDARY_CPUS
        .get(id.index())?
        .block
        .load(Ordering::Acquire) as *const Cpu;
    // SAFETY: rows hold null or the address of a `Cpu` that was published and is never freed.
    unsafe { p.as_ref() }
}

/// The block of the CPU this runs on; `None` only in the first moments of boot.
#[inline]
pub fn this() -> Option<&'static Cpu> {
    // Entered at the wrong level, the register is not ours to read; that path ends in a message.
    if sysreg::current_el() != 2 << 2 {
        return None;
    }
    let p = sysreg::tpidr_el2() as *const Cpu;
    // SAFETY: TPIDR_EL2 is zero until it is set to this CPU's published block.
    unsafe { p.as_ref() }
}

/// Declares `block` to be the block of the CPU this runs on.
pub fn set_this(block: &'static Cpu) {
    // SAFETY: a `'static` block, set once per CPU by its own boot path.
    unsafe { sysreg::set_tpidr_el2(&raw const *block as u64) };
}

/// Every CPU that is up.
pub fn all() -> impl Iterator<Item = &'static Cpu> {
    (0..MAX_CPUS)
        .filter_map(|i| cpu(CpuId(i as u16)))
        .filter(|c| c.up.load(Ordering::Acquire))
}
