//! The measured code: nothing but the event between two reads of the counter.
//!
//! It runs with its own vectors, which read the counter in their first instruction and leave it in x10. They use
//! x10-x15 and nothing else, so only the routines below may be interrupted under them, and each unmasks interrupts
//! for itself. x14 is the CPU interface of a GICv2, or 0 for a GICv3; x13 is where to go on after an interrupt.
//! Stopping the virtual timer is part of every interrupt, since its line is level-sensitive.
use core::arch::global_asm;
use core::sync::atomic::AtomicU64;

use guest_rt::gic::{Gic, reg, v2};
use guest_rt::mmio::Window;
use guest_rt::psci;

global_asm!(
    r#"
    .section .text.bench, "ax"

    // Vectors of the CPU that measures.
    .balign 2048
bench_vectors:
    .balign 512
    .balign 128
    .org    bench_vectors + 0x200
    mrs     x10, cntvct_el0                 // synchronous: skip the instruction
    mrs     x11, elr_el1
    add     x11, x11, #4
    msr     elr_el1, x11
    eret
    .org    bench_vectors + 0x280
    mrs     x10, cntvct_el0                 // interrupt: end it, go on at x13
    msr     cntv_ctl_el0, xzr
    cbz     x14, 1f
    ldr     w11, [x14, #0x0c]
    str     w11, [x14, #0x10]
    b       2f
1:  mrs     x11, icc_iar1_el1
    msr     icc_eoir1_el1, x11
2:  msr     elr_el1, x13
    isb
    eret
    .org    bench_vectors + 0x800

    // Vectors of the CPU that answers: when in x15's cell, then send x13 back (to x12 on a GICv2), if not 0.
    .balign 2048
bench_answer_vectors:
    .org    bench_answer_vectors + 0x280
    mrs     x10, cntvct_el0
    cbz     x14, 3f
    ldr     w11, [x14, #0x0c]
    str     w11, [x14, #0x10]
    str     x10, [x15]
    cbz     x13, 4f
    str     w13, [x12]
    yield
    eret
3:  mrs     x11, icc_iar1_el1
    msr     icc_eoir1_el1, x11
    str     x10, [x15]
    cbz     x13, 4f
    msr     icc_sgi1r_el1, x13
    isb
4:  yield                                   // the other CPU's turn, where they take turns
    eret
    .org    bench_answer_vectors + 0x800

    // x0 = 0: the measuring CPU's vectors, 1: the answering CPU's, on this CPU.
bench_use_vectors:
    adr     x1, bench_vectors
    adr     x2, bench_answer_vectors
    cmp     x0, #0
    csel    x1, x1, x2, eq
    msr     vbar_el1, x1
    isb
    ret

    // (function id, first argument) -> ticks, by HVC, the other argument registers 0; the next one by SMC.
bench_hvc:
    mov     x2, xzr
    mov     x3, xzr
    mov     x4, xzr
    mov     x5, xzr
    mov     x6, xzr
    mov     x7, xzr
    mrs     x9, cntvct_el0
    hvc     #0
    isb
    mrs     x10, cntvct_el0
    sub     x0, x10, x9
    ret
bench_smc:
    mrs     x9, cntvct_el0
    smc     #0
    isb
    mrs     x10, cntvct_el0
    sub     x0, x10, x9
    ret

    // (address) -> ticks
bench_read32:
    mrs     x9, cntvct_el0
    ldr     w1, [x0]
    isb
    mrs     x10, cntvct_el0
    sub     x0, x10, x9
    ret
    // (address, value) -> ticks
bench_write32:
    mrs     x9, cntvct_el0
    str     w1, [x0]
    isb
    mrs     x10, cntvct_el0
    sub     x0, x10, x9
    ret
bench_id_register:
    mrs     x9, cntvct_el0
    mrs     x1, id_aa64pfr0_el1
    isb
    mrs     x10, cntvct_el0
    sub     x0, x10, x9
    ret
    // (address) -> ticks until the handler's first instruction
bench_abort:
    mrs     x9, cntvct_el0
    ldr     w1, [x0]
    sub     x0, x10, x9
    ret
    // -> ticks: deadline and control of the physical timer, far away
bench_program_physical:
    mov     x0, #-1
    mov     x1, #1
    mrs     x9, cntvct_el0
    msr     cntp_cval_el0, x0
    msr     cntp_ctl_el0, x1
    isb
    mrs     x10, cntvct_el0
    msr     cntp_ctl_el0, xzr
    sub     x0, x10, x9
    ret

    // (CPU interface, register, value) -> ticks from the write to the interrupt's handler
bench_write_until_irq:
    mov     x14, x0
    adr     x13, 6f
    msr     daifclr, #2
    isb
    mrs     x9, cntvct_el0
    str     w2, [x1]
5:  yield
    b       5b
6:  msr     daifset, #2
    sub     x0, x10, x9
    ret
    // (CPU interface, -, SGI1R value) -> as above, GICv3
bench_sgi1r_until_irq:
    mov     x14, x0
    adr     x13, 8f
    msr     daifclr, #2
    isb
    mrs     x9, cntvct_el0
    msr     icc_sgi1r_el1, x2
    isb
7:  yield
    b       7b
8:  msr     daifset, #2
    sub     x0, x10, x9
    ret

    // (CPU interface, deadline, sleep) -> ticks from the deadline to the handler
bench_timer:
    mov     x14, x0
    adr     x13, 11f
    mov     x3, #1
    msr     cntv_cval_el0, x1
    msr     cntv_ctl_el0, x3
    isb
    msr     daifclr, #2
    cbnz    x2, 10f
9:  b       9b
10: wfi
    b       10b
11: msr     daifset, #2
    sub     x0, x10, x1
    ret

    // (CPU interface) -> ticks of a WFI that has nothing to wait for: an interrupt is pending, masked
bench_wfi_pending:
    mov     x14, x0
    adr     x13, 13f
    mrs     x9, cntvct_el0
    wfi
    isb
    mrs     x12, cntvct_el0
    msr     daifclr, #2
12: yield
    b       12b
13: msr     daifset, #2
    sub     x0, x12, x9
    ret

    // (register or 0, value, cell) -> ticks until the other CPU's handler wrote the cell
bench_one_way:
    str     xzr, [x2]
    dsb     ish
    cbz     x0, 14f
    mrs     x9, cntvct_el0
    str     w1, [x0]
    b       15f
14: mrs     x9, cntvct_el0
    msr     icc_sgi1r_el1, x1
    isb
15: yield
    ldr     x10, [x2]
    cbz     x10, 15b
    sub     x0, x10, x9
    ret

    // (CPU interface, cell, reply register, reply value, stop, sleep): takes interrupts until told to stop
bench_answer:
    mov     x14, x0
    mov     x15, x1
    mov     x12, x2
    mov     x13, x3
    msr     daifclr, #2
    cbnz    x5, 17f
16: mov     x8, #2000
19: subs    x8, x8, #1
    b.ne    19b
    yield
    ldr     x9, [x4]
    cbz     x9, 16b
    b       18f
17: wfi
    ldr     x9, [x4]
    cbz     x9, 17b
18: msr     daifset, #2
    ret

    // (rounds): lets time pass, giving turns
bench_pause:
    mov     x9, #1000
20: subs    x9, x9, #1
    b.ne    20b
    yield
    subs    x0, x0, #1
    b.ne    bench_pause
    ret

    // (affinity, entry, context, where the answer goes) -> counter right before the call
bench_cpu_on:
    mov     x10, x3
    mov     x3, x2
    mov     x2, x1
    mov     x1, x0
    ldr     w0, =0xc4000003
    mrs     x9, cntvct_el0
    hvc     #0
    yield
    str     x0, [x10]
    mov     x0, x9
    ret
    .ltorg
"#
);

unsafe extern "C" {
    fn bench_use_vectors(which: u64);
    fn bench_hvc(function: u64, argument: u64) -> u64;
    fn bench_smc(function: u64) -> u64;
    fn bench_read32(address: usize) -> u64;
    fn bench_write32(address: usize, value: u32) -> u64;
    fn bench_id_register() -> u64;
    fn bench_abort(address: u64) -> u64;
    fn bench_program_physical() -> u64;
    fn bench_write_until_irq(cpu_interface: usize, address: usize, value: u64) -> u64;
    fn bench_sgi1r_until_irq(cpu_interface: usize, unused: usize, value: u64) -> u64;
    fn bench_timer(cpu_interface: usize, deadline: u64, sleep: u64) -> u64;
    fn bench_wfi_pending(cpu_interface: usize) -> u64;
    fn bench_one_way(address: usize, value: u64, cell: *mut u64) -> u64;
    fn bench_answer(
        cpu_interface: usize,
        cell: *mut u64,
        address: usize,
        value: u64,
        stop: *mut u64,
        sleep: u64,
    );
    fn bench_pause(rounds: u64);
    fn bench_cpu_on(mpidr: u64, entry: u64, context: u64, answer: *mut i64) -> u64;
}

/// SGI number used throughout.
const SGI: u64 = 1;

/// Switches to the measuring CPU's vectors. Interrupts must be masked and stay so outside these routines.
pub fn use_vectors() {
    // SAFETY: the vectors only use registers that the routines of this file give up, and only they unmask interrupts.
    unsafe { bench_use_vectors(0) }
}

/// How the vectors end an interrupt: base of a GICv2's CPU interface; 0 for a GICv3.
#[derive(Clone, Copy)]
pub struct CpuInterface(usize);

/// This machine's.
pub fn cpu_interface(gic: &Gic) -> CpuInterface {
    CpuInterface(match gic {
        Gic::V2(g) => g.cpu.base(),
        Gic::V3(_) => 0,
    })
}

/// A write that makes an interrupt: to a device register, or to ICC_SGI1R_EL1 (address 0).
#[derive(Clone, Copy)]
pub struct Send {
    address: usize,
    value: u64,
}

impl Send {
    /// A write of the register at `offset`.
    pub fn register(window: Window, offset: usize, value: u32) -> Send {
        Send {
            address: register(window, offset),
            value: value.into(),
        }
    }
}

/// The address of a 32-bit register, which must lie in its window.
fn register(window: Window, offset: usize) -> usize {
    assert!(offset.is_multiple_of(4) && offset + 4 <= window.size());
    window.base() + offset
}

const _: () = assert!(v2::IAR == 0x0c && v2::EOIR == 0x10);

/// An SGI to the CPU with index `to`.
pub fn sgi(gic: &Gic, to: usize) -> Send {
    let mpidr = guest_rt::machine().cpus().get(to).copied().unwrap_or(0);
    match gic {
        Gic::V2(g) => Send::register(g.dist, reg::SGIR, 1 << (16 + (mpidr & 7)) | SGI as u32),
        Gic::V3(_) => {
            let affinity =
                (mpidr >> 32 & 0xff) << 48 | (mpidr >> 16 & 0xff) << 32 | (mpidr >> 8 & 0xff) << 16;
            let target = (mpidr >> 4 & 0xf) << 44 | 1 << (mpidr & 15);
            Send {
                address: 0,
                value: SGI << 24 | affinity | target,
            }
        }
    }
}

/// PSCI_VERSION by HVC.
pub fn hypercall() -> u64 {
    // SAFETY: a call that changes nothing.
    unsafe { bench_hvc(psci::id::VERSION.into(), 0) }
}

/// PSCI_VERSION by SMC.
pub fn smc_call() -> u64 {
    // SAFETY: a call that changes nothing.
    unsafe { bench_smc(psci::id::VERSION.into()) }
}

/// Gives the CPU to whoever waits for it, by the hypervisor's own call (docs/abi.md, guest calls: Yield).
pub fn yield_call() -> u64 {
    // SAFETY: a call that changes no memory.
    unsafe { bench_hvc(0xc600_0600, 0) }
}

/// The call that rings a doorbell (docs/abi.md, guest calls: Ring).
pub const RING: u32 = 0xc600_0605;

/// Rings the doorbell of this port.
pub fn ring_call(port: u64) -> u64 {
    // SAFETY: a call that changes no memory.
    unsafe { bench_hvc(RING.into(), port) }
}

/// A PSCI function that does not exist.
pub fn unknown_call() -> u64 {
    // SAFETY: a call that changes nothing.
    unsafe { bench_hvc(0x8400_ffff, 0) }
}

/// Reads a device register.
pub fn read32(window: Window, offset: usize) -> u64 {
    // SAFETY: a device register: `register` checks that it lies in the window.
    unsafe { bench_read32(register(window, offset)) }
}

/// Writes a device register.
pub fn write32(window: Window, offset: usize, value: u32) -> u64 {
    // SAFETY: a device register: `register` checks that it lies in the window.
    unsafe { bench_write32(register(window, offset), value) }
}

/// Reads an ID register.
pub fn id_register() -> u64 {
    // SAFETY: reading an ID register changes nothing.
    unsafe { bench_id_register() }
}

/// Reads where no machine here has anything, and which stage 1 maps as device memory; the vectors skip the load.
pub fn abort() -> u64 {
    // SAFETY: nothing is there to be read, and no Rust object lives there.
    unsafe { bench_abort(0x0b00_0000) }
}

/// Programs the physical timer (never due).
pub fn program_physical() -> u64 {
    // SAFETY: touches only the physical timer, which nobody else uses here.
    unsafe { bench_program_physical() }
}

/// From a write that pends an interrupt for this CPU, directly or by the other CPU's answer, until it is taken.
pub fn send_until_irq(cpu_interface: CpuInterface, send: Send) -> u64 {
    if send.address == 0 {
        // SAFETY: our vectors are in use.
        unsafe { bench_sgi1r_until_irq(cpu_interface.0, 0, send.value) }
    } else {
        // SAFETY: our vectors are in use; the address is a device register.
        unsafe { bench_write_until_irq(cpu_interface.0, send.address, send.value) }
    }
}

/// An SGI to this CPU.
pub fn sgi_self(gic: &Gic, cpu_interface: CpuInterface) -> u64 {
    send_until_irq(cpu_interface, sgi(gic, 0))
}

/// The virtual timer's lateness, spinning or asleep.
pub fn timer(cpu_interface: CpuInterface, deadline: u64, sleep: bool) -> u64 {
    // SAFETY: our vectors are in use and the timer's interrupt is enabled.
    unsafe { bench_timer(cpu_interface.0, deadline, sleep.into()) }
}

/// WFI with an interrupt pending.
pub fn wfi_pending(gic: &Gic, cpu_interface: CpuInterface) -> u64 {
    gic.send_sgi(SGI as u32, guest_rt::gic::Target::Cpu(0));
    // SAFETY: our vectors are in use and an SGI is pending, so the routine's loop ends.
    unsafe { bench_wfi_pending(cpu_interface.0) }
}

/// Long enough for the other CPU to be back where it waits: some 30,000 instructions.
pub fn pause() {
    // SAFETY: a loop.
    unsafe { bench_pause(15) }
}

/// An SGI until the other CPU's handler runs.
pub fn one_way(send: Send, cell: &'static AtomicU64) -> u64 {
    // SAFETY: the cell is a static atomic, written as one aligned doubleword; the other CPU is in `answer`.
    unsafe { bench_one_way(send.address, send.value, cell.as_ptr()) }
}

/// What the answering CPU does until `stop` is not 0. Switches its vectors for good.
pub fn answer(
    cpu_interface: CpuInterface,
    cell: &'static AtomicU64,
    reply: Option<Send>,
    stop: &'static AtomicU64,
    sleep: bool,
) {
    let Send { address, value } = reply.unwrap_or(Send {
        address: 0,
        value: 0,
    });
    // SAFETY: interrupts are masked on this CPU outside the routine below, whose registers the vectors use.
    unsafe { bench_use_vectors(1) };
    // SAFETY: cell and stop are static atomics; the vectors are the answering ones.
    unsafe {
        bench_answer(
            cpu_interface.0,
            cell.as_ptr(),
            address,
            value,
            stop.as_ptr(),
            sleep.into(),
        )
    };
}

/// CPU_ON: the counter right before the call, and the answer.
pub fn cpu_on(mpidr: u64, context: u64) -> (u64, i64) {
    let mut answer = 0;
    // SAFETY: the entry point is the runtime's; `answer` outlives the call.
    let before = unsafe {
        bench_cpu_on(
            mpidr,
            guest_rt::smp::entry_point(),
            context,
            &raw mut answer,
        )
    };
    (before, answer)
}
