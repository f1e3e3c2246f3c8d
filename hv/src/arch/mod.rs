//! The architecture's edge: entry code, the guest register frame, typed system registers, barriers and TLB operations.
//!
//! The only folder of this crate (with `mem/`) that names a register or holds assembly. It knows nothing of domains,
//! pools or devices: what it hands upward are values. `boot.s` and `vectors.s` take every offset from here.

pub mod el1;
pub mod esr;
pub mod image;
pub mod mmu;
pub mod sysreg;

use crate::percpu::{Cpu, SECONDARY_CPUS};
use core::arch::{asm, global_asm};
use core::mem::{offset_of, size_of};

/// The guest's general registers as `vectors.s` leaves them on this CPU's stack.
#[repr(C)]
#[derive(Clone)]
pub struct GuestFrame {
    /// x0 to x30.
    pub x: [u64; 31],
    /// Where the guest was, or shall go on.
    pub elr: u64,
    /// The guest's PSTATE.
    pub spsr: u64,
    /// The EL2 stack pointer; only in the frames of EL2's own faults.
    pub sp: u64,
}

impl GuestFrame {
    /// All zero.
    pub const ZERO: GuestFrame = GuestFrame {
        x: [0; 31],
        elr: 0,
        spsr: 0,
        sp: 0,
    };

    /// Makes this a copy of `from`. By pairs of registers: a call of memcpy takes five times as long.
    #[inline(always)]
    pub fn copy_from(&mut self, from: &GuestFrame) {
        const { assert!(size_of::<GuestFrame>() == 17 * 16) };
        let (to, from) = (&raw mut *self, &raw const *from);
        // SAFETY: 272 bytes are read from one frame and written to another; both are borrowed here.
        unsafe {
            asm!(
                "ldp {a}, {b}, [{f}]", "ldp {c}, {d}, [{f}, #16]", "stp {a}, {b}, [{t}]", "stp {c}, {d}, [{t}, #16]",
                "ldp {a}, {b}, [{f}, #32]", "ldp {c}, {d}, [{f}, #48]", "stp {a}, {b}, [{t}, #32]", "stp {c}, {d}, [{t}, #48]",
                "ldp {a}, {b}, [{f}, #64]", "ldp {c}, {d}, [{f}, #80]", "stp {a}, {b}, [{t}, #64]", "stp {c}, {d}, [{t}, #80]",
                "ldp {a}, {b}, [{f}, #96]", "ldp {c}, {d}, [{f}, #112]", "stp {a}, {b}, [{t}, #96]", "stp {c}, {d}, [{t}, #112]",
                "ldp {a}, {b}, [{f}, #128]", "ldp {c}, {d}, [{f}, #144]", "stp {a}, {b}, [{t}, #128]", "stp {c}, {d}, [{t}, #144]",
                "ldp {a}, {b}, [{f}, #160]", "ldp {c}, {d}, [{f}, #176]", "stp {a}, {b}, [{t}, #160]", "stp {c}, {d}, [{t}, #176]",
                "ldp {a}, {b}, [{f}, #192]", "ldp {c}, {d}, [{f}, #208]", "stp {a}, {b}, [{t}, #192]", "stp {c}, {d}, [{t}, #208]",
                "ldp {a}, {b}, [{f}, #224]", "ldp {c}, {d}, [{f}, #240]", "stp {a}, {b}, [{t}, #224]", "stp {c}, {d}, [{t}, #240]",
                "ldp {a}, {b}, [{f}, #256]", "stp {a}, {b}, [{t}, #256]",
                a = out(reg) _, b = out(reg) _, c = out(reg) _, d = out(reg) _, f = in(reg) from, t = in(reg) to,
                options(nostack, preserves_flags)
            );
        }
    }

    /// Register `n` as an instruction names it: 31 reads as zero.
    pub fn reg(&self, n: usize) -> u64 {
        self.x.get(n).copied().unwrap_or(0)
    }

    /// Writes register `n`; 31 is the zero register.
    pub fn set_reg(&mut self, n: usize, value: u64) {
        if let Some(r) = self.x.get_mut(n) {
            *r = value;
        }
    }

    /// Steps over the trapped instruction (four bytes; two only for a 16-bit T32 instruction of a 32-bit EL0).
    #[inline]
    pub fn skip(&mut self, il: bool) {
        self.elr = self.elr.wrapping_add(if il { 4 } else { 2 });
        if self.spsr & 0x10 != 0 {
            self.step_it_block();
        }
    }

    /// A 32-bit EL0 has passed one instruction of an IT block (Arm ARM, AArch32.ITAdvance): IT[7:2] is SPSR[15:10],
    /// IT[1:0] is SPSR[26:25].
    #[cold]
    fn step_it_block(&mut self) {
        let it = (self.spsr >> 10 & 0x3f) << 2 | (self.spsr >> 25 & 3);
        let next = if it & 7 == 0 {
            0
        } else {
            (it & 0xe0) | (it << 1 & 0x1f)
        };
        self.spsr = self.spsr & !(0x3f << 10 | 3 << 25) | (next >> 2) << 10 | (next & 3) << 25;
    }
}

const _: () = assert!(size_of::<GuestFrame>() == 272);
const _: () = assert!(offset_of!(GuestFrame, elr) == 248 && offset_of!(GuestFrame, spsr) == 256);

global_asm!(
    include_str!("boot.s"),
    SECONDARY_REGS = sym mmu::SECONDARY_REGS,
    SECONDARY_CPUS = sym SECONDARY_CPUS,
    MAX_CPUS = const abi::MAX_CPUS,
    CPU_STACK_TOP = const offset_of!(Cpu, stack_top),
);

global_asm!(include_str!("copy.s"));

global_asm!(
    include_str!("vectors.s"),
    FRAME_SIZE = const size_of::<GuestFrame>(),
    CPU_STACK_TOP = const offset_of!(Cpu, stack_top),
    CPU_EMERGENCY_TOP = const offset_of!(Cpu, emergency_top),
    CPU_FAST_CALLS = const offset_of!(Cpu, fast_calls),
);

unsafe extern "C" {
    fn start_cpu(cpu: *const u8) -> !;
    fn secondary_start();
    fn take_serror() -> u64;
}

/// Waits until what has been begun on this CPU is done for all observers, and takes the SError it has led to, if it has:
/// the syndrome.
#[inline]
pub fn settle_errors() -> Option<u64> {
    dsb_sy();
    if sysreg::isr_el1() & 1 << 8 == 0 {
        return None;
    }
    // SAFETY: the vector of an SError at EL2 knows this function, which follows the calling convention.
    Some(unsafe { take_serror() }).filter(|esr| *esr != 0)
}

/// Leaves the boot path of this CPU for good: its stack starts anew and it goes idle, then runs what its pool says.
pub fn enter_idle(cpu: &'static Cpu) -> ! {
    // SAFETY: TPIDR_EL2 names `cpu` and its stack is mapped; nothing of the abandoned call chain is used again.
    unsafe { start_cpu(core::ptr::from_ref(cpu).cast()) }
}

/// The address other CPUs are started at.
pub fn secondary_entry() -> u64 {
    secondary_start as *const () as u64
}

/// Sleeps until an interrupt or event; interrupts stay masked, so a pending one is taken by the caller's own ack.
pub fn wait_for_interrupt() {
    // SAFETY: a wait with interrupts masked has no effect but time.
    unsafe { asm!("dsb sy", "wfi", options(nostack, preserves_flags)) }
}

/// Stops this CPU for ever.
pub fn halt() -> ! {
    loop {
        // SAFETY: only waits.
        unsafe { asm!("wfe", options(nomem, nostack, preserves_flags)) }
    }
}

/// Whether a physical interrupt waits for this CPU (readable while masked).
pub fn interrupt_pending() -> bool {
    sysreg::isr_el1() & 0b1100_0000 != 0
}

/// Orders everything before against everything after, for this CPU's pipeline.
pub fn isb() {
    // SAFETY: a barrier.
    unsafe { asm!("isb", options(nostack, preserves_flags)) }
}

/// Waits until all memory accesses and maintenance before it are done, for all observers.
pub fn dsb_sy() {
    // SAFETY: a barrier.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) }
}

/// As `dsb_sy`, inner shareable.
pub fn dsb_ish() {
    // SAFETY: a barrier.
    unsafe { asm!("dsb ish", options(nostack, preserves_flags)) }
}

/// How a spinning CPU of EL2 lets others go on: `yield` gives an emulator and a hardware thread the hint.
pub struct Relax;

impl spin::RelaxStrategy for Relax {
    #[inline(always)]
    fn relax() {
        // SAFETY: a hint.
        unsafe { asm!("yield", options(nomem, nostack, preserves_flags)) }
    }
}

/// A fair lock whose waiters yield. EL2 runs with interrupts masked, so no lock here needs to mask them.
pub type Lock<T> = spin::mutex::TicketMutex<T, Relax>;

/// Makes what stands in memory at `start..start+len` visible to observers without caches (guests before they turn
/// theirs on, CPUs in a spin table) and to instruction fetch.
pub fn clean_to_memory(start: usize, len: usize) {
    let line = 4usize << ((sysreg::ctr_el0() >> 16) & 0xf);
    let mut p = start & !(line - 1);
    while p < start + len {
        // SAFETY: cleaning and invalidating a line to the point of coherency loses nothing.
        unsafe { asm!("dc civac, {}", in(reg) p, options(nostack, preserves_flags)) }
        p += line;
    }
    dsb_sy();
}

/// Drops every instruction another image may have left in this cluster's instruction caches.
pub fn invalidate_instruction_caches() {
    // SAFETY: costs refetches only.
    unsafe {
        asm!(
            "ic ialluis",
            "dsb ish",
            "isb",
            options(nostack, preserves_flags)
        )
    }
}

/// Zeroes `len` bytes at `start` by cache blocks where they fit.
///
/// # Safety
/// The range is mapped writable normal memory that nothing else reads or writes meanwhile.
pub unsafe fn zero(start: usize, len: usize) {
    let dczid = sysreg::dczid_el0();
    let block = 4usize << (dczid & 0xf);
    let end = start + len;
    let mut p = start;
    if dczid & 0x10 == 0 && block <= 2048 {
        let head = start.next_multiple_of(block).min(end);
        // SAFETY: inside the range the caller vouches for.
        unsafe { core::ptr::write_bytes(p as *mut u8, 0, head - p) };
        p = head;
        while p + block <= end {
            // SAFETY: a whole block inside the range.
            unsafe { asm!("dc zva, {}", in(reg) p, options(nostack, preserves_flags)) };
            p += block;
        }
    }
    // SAFETY: what remains of the range.
    unsafe { core::ptr::write_bytes(p as *mut u8, 0, end - p) };
}

/// Zeroes memory and makes the zeroes visible to observers without caches: `zero` and `clean_to_memory` in one pass.
///
/// # Safety
/// As `zero`.
pub unsafe fn zero_to_memory(start: usize, len: usize) {
    let (ctr, dczid) = (sysreg::ctr_el0(), sysreg::dczid_el0());
    // The usual case: blocks to zero and lines to clean are both 64 bytes.
    let same = dczid & 0x1f == 4 && ctr >> 16 & 0xf == 4;
    let slow = |from: usize, to: usize| {
        if from < to {
            // SAFETY: a part of the caller's range.
            unsafe { zero(from, to - from) };
            clean_to_memory(from, to - from);
        }
    };
    let all = start + len;
    let mut p = if same {
        start.next_multiple_of(512).min(all)
    } else {
        all
    };
    let end = p.max(all & !511);
    slow(start, p);
    slow(end, all);
    while p < end {
        // SAFETY: eight whole lines inside the range the caller vouches for.
        unsafe {
            asm!(
                "dc zva, {p}", "dc civac, {p}", "add {p}, {p}, #64",
                "dc zva, {p}", "dc civac, {p}", "add {p}, {p}, #64",
                "dc zva, {p}", "dc civac, {p}", "add {p}, {p}, #64",
                "dc zva, {p}", "dc civac, {p}", "add {p}, {p}, #64",
                "dc zva, {p}", "dc civac, {p}", "add {p}, {p}, #64",
                "dc zva, {p}", "dc civac, {p}", "add {p}, {p}, #64",
                "dc zva, {p}", "dc civac, {p}", "add {p}, {p}, #64",
                "dc zva, {p}", "dc civac, {p}", "add {p}, {p}, #64",
                p = inout(reg) p, options(nostack, preserves_flags)
            )
        }
    }
    dsb_sy();
}

/// Copies `len` bytes and makes them visible to observers without caches.
///
/// # Safety
/// `from` is readable, `to` writable normal memory, they do not overlap, and nobody else writes either meanwhile.
pub unsafe fn copy_to_memory(from: usize, to: usize, len: usize) {
    let (mut s, mut d, end) = (from, to, to + len);
    if from.is_multiple_of(16) && to.is_multiple_of(64) {
        let whole = to + (len & !63);
        while d < whole {
            // SAFETY: 64 bytes inside both ranges.
            unsafe {
                asm!(
                    "ldp {a}, {b}, [{s}]", "stp {a}, {b}, [{d}]",
                    "ldp {a}, {b}, [{s}, #16]", "stp {a}, {b}, [{d}, #16]",
                    "ldp {a}, {b}, [{s}, #32]", "stp {a}, {b}, [{d}, #32]",
                    "ldp {a}, {b}, [{s}, #48]", "stp {a}, {b}, [{d}, #48]",
                    "add {s}, {s}, #64", "add {d}, {d}, #64",
                    s = inout(reg) s, d = inout(reg) d, a = out(reg) _, b = out(reg) _,
                    options(nostack, preserves_flags)
                )
            }
        }
    }
    // SAFETY: what remains of both ranges.
    unsafe { core::ptr::copy_nonoverlapping(s as *const u8, d as *mut u8, end - d) };
    clean_to_memory(to, len);
}
