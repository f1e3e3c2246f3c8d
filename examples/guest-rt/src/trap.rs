//! Exceptions: vectors, the interrupt handler, and a way to run code that is expected to fault.
//!
//! Every exception saves x0-x30, ELR and SPSR on the stack, so an interrupt handler may unmask interrupts and nest.
//! A synchronous exception that nobody expects prints what it was and powers the guest off. FP registers are not
//! saved: compiled code here does not use them.
use core::arch::{asm, global_asm};
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::{MAX_CPUS, console, cpu, mrs, psci};

global_asm!(
    r#"
    .macro guest_rt_vector kind
    .balign 128
    sub     sp, sp, #{size}
    stp     x0, x1, [sp]
    mov     x0, #\kind
    b       guest_rt_exception_common
    .endm

    .section .text.guest_rt_vectors, "ax"
    .balign 2048
    .global guest_rt_vectors
guest_rt_vectors:
    guest_rt_vector 0
    guest_rt_vector 1
    guest_rt_vector 2
    guest_rt_vector 3
    guest_rt_vector 4
    guest_rt_vector 5
    guest_rt_vector 6
    guest_rt_vector 7
    guest_rt_vector 8
    guest_rt_vector 9
    guest_rt_vector 10
    guest_rt_vector 11
    guest_rt_vector 12
    guest_rt_vector 13
    guest_rt_vector 14
    guest_rt_vector 15

guest_rt_exception_common:
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    stp     x18, x19, [sp, #144]
    stp     x20, x21, [sp, #160]
    stp     x22, x23, [sp, #176]
    stp     x24, x25, [sp, #192]
    stp     x26, x27, [sp, #208]
    stp     x28, x29, [sp, #224]
    mrs     x1, elr_el1
    mrs     x2, spsr_el1
    mrs     x3, esr_el1
    mrs     x4, far_el1
    str     x30, [sp, #240]
    str     x1, [sp, #{elr}]
    str     x2, [sp, #{spsr}]
    str     x3, [sp, #{esr}]
    str     x4, [sp, #{far}]
    mov     x1, sp
    bl      guest_rt_exception
    ldr     x1, [sp, #{elr}]
    ldr     x2, [sp, #{spsr}]
    msr     elr_el1, x1
    msr     spsr_el1, x2
    ldp     x2, x3, [sp, #16]
    ldp     x4, x5, [sp, #32]
    ldp     x6, x7, [sp, #48]
    ldp     x8, x9, [sp, #64]
    ldp     x10, x11, [sp, #80]
    ldp     x12, x13, [sp, #96]
    ldp     x14, x15, [sp, #112]
    ldp     x16, x17, [sp, #128]
    ldp     x18, x19, [sp, #144]
    ldp     x20, x21, [sp, #160]
    ldp     x22, x23, [sp, #176]
    ldp     x24, x25, [sp, #192]
    ldp     x26, x27, [sp, #208]
    ldp     x28, x29, [sp, #224]
    ldr     x30, [sp, #240]
    ldp     x0, x1, [sp]
    add     sp, sp, #{size}
    eret
"#,
    size = const size_of::<Frame>(),
    elr = const offset_of!(Frame, elr),
    spsr = const offset_of!(Frame, spsr),
    esr = const offset_of!(Frame, esr),
    far = const offset_of!(Frame, far),
);

/// The interrupted program, as the vectors saved it.
#[repr(C, align(16))]
pub struct Frame {
    /// x0 to x30.
    pub x: [u64; 31],
    /// Where it goes on.
    pub elr: u64,
    /// Its PSTATE.
    pub spsr: u64,
    /// Syndrome of this exception.
    pub esr: u64,
    /// Fault address of this exception.
    pub far: u64,
}
const _: () = assert!(offset_of!(Frame, x) == 0 && size_of::<Frame>().is_multiple_of(16));

/// A synchronous exception (or SError) that [`catch`] expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// ESR_EL1.
    pub esr: u64,
    /// FAR_EL1; only meaningful for aborts and alignment faults.
    pub far: u64,
    /// ELR_EL1 as the exception set it.
    pub elr: u64,
    /// Whether it came by the SError vector.
    pub serror: bool,
}

impl Fault {
    /// ESR_EL1.EC, the exception class.
    pub fn class(&self) -> u8 {
        (self.esr >> 26 & 0x3f) as u8
    }

    /// ESR_EL1.ISS.
    pub fn iss(&self) -> u32 {
        (self.esr & 0x1ff_ffff) as u32
    }
}

struct Slot {
    armed: AtomicBool,
    count: AtomicU64,
    esr: AtomicU64,
    far: AtomicU64,
    elr: AtomicU64,
    serror: AtomicBool,
}

static SLOTS: [Slot; MAX_CPUS] = [const {
    Slot {
        armed: AtomicBool::new(false),
        count: AtomicU64::new(0),
        esr: AtomicU64::new(0),
        far: AtomicU64::new(0),
        elr: AtomicU64::new(0),
        serror: AtomicBool::new(false),
    }
}; MAX_CPUS];

static IRQ_HANDLER: AtomicUsize = AtomicUsize::new(0);

/// Runs `f`, in which an instruction may fault: the first fault is returned, and every faulting instruction is
/// skipped (a jump to where nothing is returns to its caller). Not to be nested on one CPU.
///
/// An asynchronous abort that arrives inside is returned too, with `serror` set.
pub fn catch(f: impl FnOnce()) -> Option<Fault> {
    let slot = &SLOTS[cpu::index()];
    slot.count.store(0, Ordering::Relaxed);
    slot.armed.store(true, Ordering::SeqCst);
    f();
    cpu::barrier();
    slot.armed.store(false, Ordering::SeqCst);
    (slot.count.load(Ordering::SeqCst) > 0).then(|| Fault {
        esr: slot.esr.load(Ordering::Relaxed),
        far: slot.far.load(Ordering::Relaxed),
        elr: slot.elr.load(Ordering::Relaxed),
        serror: slot.serror.load(Ordering::Relaxed),
    })
}

/// Sets the function that every CPU calls for an interrupt. It acknowledges and ends the interrupt itself.
pub fn set_irq_handler(handler: fn()) {
    IRQ_HANDLER.store(handler as usize, Ordering::SeqCst);
}

/// Masks interrupts on this CPU; returns what [`restore_irqs`] wants.
pub fn mask_irqs() -> u64 {
    let daif = mrs!("daif");
    // SAFETY: masks only.
    unsafe { asm!("msr daifset, #2", options(nostack, preserves_flags)) };
    daif
}

/// Unmasks interrupts on this CPU.
pub fn unmask_irqs() {
    // SAFETY: the vectors are set since the first instructions of this CPU.
    unsafe { asm!("msr daifclr, #2", "isb", options(nostack, preserves_flags)) };
}

/// Puts the mask back to what [`mask_irqs`] found.
pub fn restore_irqs(daif: u64) {
    // SAFETY: writes back a value of the same register.
    unsafe { asm!("msr daif, {}", "isb", in(reg) daif, options(nostack, preserves_flags)) };
}

/// Lets asynchronous aborts in (they come masked at boot).
pub fn unmask_serror() {
    // SAFETY: the vectors are set since the first instructions of this CPU.
    unsafe { asm!("msr daifclr, #4", "isb", options(nostack, preserves_flags)) };
}

const SYNC: u64 = 4;
const IRQ: u64 = 5;
const SERROR: u64 = 7;

#[unsafe(no_mangle)]
extern "C" fn guest_rt_exception(kind: u64, frame: &mut Frame) {
    match kind {
        IRQ => {
            let handler = IRQ_HANDLER.load(Ordering::Relaxed);
            if handler == 0 {
                fatal(kind, frame);
            }
            // SAFETY: the only non-zero values ever stored are `fn()` pointers.
            let handler: fn() = unsafe { core::mem::transmute(handler) };
            handler();
        }
        SYNC | SERROR if expected(kind, frame) => {}
        _ => fatal(kind, frame),
    }
}

fn expected(kind: u64, frame: &mut Frame) -> bool {
    let slot = &SLOTS[cpu::index()];
    if !slot.armed.load(Ordering::SeqCst) {
        return false;
    }
    if slot.count.fetch_add_plain() == 0 {
        slot.esr.store(frame.esr, Ordering::Relaxed);
        slot.far.store(frame.far, Ordering::Relaxed);
        slot.elr.store(frame.elr, Ordering::Relaxed);
        slot.serror.store(kind == SERROR, Ordering::Relaxed);
    }
    if kind == SYNC {
        match frame.esr >> 26 & 0x3f {
            0x11 | 0x12 | 0x13 | 0x15 | 0x16 | 0x17 => {} // calls: ELR is already behind the instruction
            0x20..=0x22 => frame.elr = frame.x[30], // nothing to execute there: back to the caller
            _ => frame.elr = frame.elr.wrapping_add(4),
        }
    }
    true
}

/// Addition without an exclusive: only the owning CPU changes its slot, and the MMU may be off.
trait PlainAdd {
    fn fetch_add_plain(&self) -> u64;
}
impl PlainAdd for AtomicU64 {
    fn fetch_add_plain(&self) -> u64 {
        let old = self.load(Ordering::Relaxed);
        self.store(old.wrapping_add(1), Ordering::SeqCst);
        old
    }
}

fn fatal(kind: u64, frame: &Frame) -> ! {
    console::break_lock();
    crate::println!(
        "GUEST-FATAL cpu{} vector {} esr {:#x} elr {:#x} far {:#x} spsr {:#x} image {:#x}",
        cpu::index(),
        kind,
        frame.esr,
        frame.elr,
        frame.far,
        frame.spsr,
        crate::image().0,
    );
    psci::system_off();
    loop {
        cpu::wfe();
    }
}
