//! The first instructions of a guest: image header, relocation, bss, stack; and the same for a secondary CPU.
//!
//! Entered as the arm64 Linux boot protocol says: EL1, MMU off, x0 = device tree, anywhere 2 MiB aligned. Entered at
//! another EL, or with a relocation it does not know, a CPU stops in `wfe`: there is no console to complain on yet.
//! Nothing here may use the stack before it is set, nor memory of the image before it is relocated.
use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::dtb::Dtb;
use crate::machine::Machine;
use crate::{console, cpu, mmu, psci, smp, trap};

global_asm!(
    r#"
    .section .head.text, "ax"
    .global _start
_start:
    b       1f                      // code0
    .long   0                       // code1
    .quad   0                       // text_offset
    .quad   __image_size            // image_size: bss and stacks included
    .quad   0xa                     // little endian, 4 KiB pages, anywhere in memory
    .quad   0, 0, 0
    .ascii  "ARM\x64"
    .long   0

    // x19 = device tree, x20 = where the image is, x21 = physical counter on entry
1:  mrs     x21, cntpct_el0
    mov     x19, x0
    mrs     x1, CurrentEL
    cmp     x1, #(1 << 2)
    b.ne    guest_rt_park
    adr     x20, _start

    adrp    x1, __rela_start
    add     x1, x1, :lo12:__rela_start
    adrp    x2, __rela_end
    add     x2, x2, :lo12:__rela_end
2:  cmp     x1, x2
    b.hs    3f
    ldp     x3, x4, [x1], #16       // r_offset, r_info
    ldr     x5, [x1], #8            // r_addend
    cmp     x4, #1027               // R_AARCH64_RELATIVE, the only kind a static image has
    b.ne    guest_rt_park
    add     x5, x5, x20
    str     x5, [x20, x3]
    b       2b

3:  adrp    x1, __bss_start
    add     x1, x1, :lo12:__bss_start
    adrp    x2, __bss_end
    add     x2, x2, :lo12:__bss_end
4:  cmp     x1, x2
    b.hs    5f
    stp     xzr, xzr, [x1], #16
    b       4b

5:  mov     x0, xzr
    bl      guest_rt_cpu_setup
    mov     x0, x19
    mov     x1, x21
    bl      guest_rt_start
    b       guest_rt_park

    // A secondary CPU, from PSCI CPU_ON: x0 = its index.
    .global guest_rt_secondary_entry
guest_rt_secondary_entry:
    mrs     x21, cntvct_el0
    mov     x19, x0
    mrs     x1, CurrentEL
    cmp     x1, #(1 << 2)
    b.ne    guest_rt_park
    bl      guest_rt_cpu_setup
    adrp    x1, {mmu}               // the words mmu::on left for us, in memory
    add     x1, x1, :lo12:{mmu}
    ldp     x2, x3, [x1]            // SCTLR (0: stay off), MAIR
    cbz     x2, 6f
    ldp     x4, x5, [x1, #16]       // TCR, TTBR0
    msr     mair_el1, x3
    msr     tcr_el1, x4
    msr     ttbr0_el1, x5
    tlbi    vmalle1
    dsb     nsh
    isb
    msr     sctlr_el1, x2
    isb
6:  mov     x0, x19
    mov     x1, x21
    bl      guest_rt_secondary
    b       guest_rt_park

    // x0 = index: stack, thread pointer, vectors, FP. Clobbers x1-x3.
guest_rt_cpu_setup:
    mov     x1, #(3 << 20)
    msr     cpacr_el1, x1
    msr     tpidr_el1, x0
    adrp    x1, guest_rt_vectors
    add     x1, x1, :lo12:guest_rt_vectors
    msr     vbar_el1, x1
    isb
    adrp    x1, __stacks
    add     x1, x1, :lo12:__stacks
    add     x2, x0, #1
    add     x1, x1, x2, lsl #14     // 16 KiB each
    mov     sp, x1
    ret

    .global guest_rt_park
guest_rt_park:
    wfe
    b       guest_rt_park
"#,
    mmu = sym mmu::SECONDARY,
);

unsafe extern "C" {
    static _start: UnsafeCell<u8>;
    static __image_end: UnsafeCell<u8>;
    static __bss_start: UnsafeCell<u8>;
}
unsafe extern "Rust" {
    fn guest_rt_user_main();
}

/// First byte of the image and first byte after it, bss and stacks included.
pub fn image() -> (usize, usize) {
    (
        (&raw const _start) as usize,
        (&raw const __image_end) as usize,
    )
}

/// First byte of the image and first byte that the file does not hold.
pub(crate) fn loaded() -> (usize, usize) {
    (
        (&raw const _start) as usize,
        (&raw const __bss_start) as usize,
    )
}

struct MachineCell(UnsafeCell<Option<Machine<'static>>>);
// SAFETY: written once by the boot CPU before user code runs and before any other CPU is started; read-only since.
unsafe impl Sync for MachineCell {}
static MACHINE: MachineCell = MachineCell(UnsafeCell::new(None));
static ENTRY_TICKS: AtomicU64 = AtomicU64::new(0);

/// What the device tree said about this machine.
pub fn machine() -> &'static Machine<'static> {
    // SAFETY: the cell is written only by guest_rt_start, before it calls the user's main; no writer exists now.
    let machine = unsafe { &*MACHINE.0.get() };
    machine
        .as_ref()
        .expect("machine() before the device tree was read")
}

/// The physical counter as the first instruction of the image read it, in ticks.
pub fn entry_ticks() -> u64 {
    ENTRY_TICKS.load(Ordering::Relaxed)
}

/// A device tree is at most this long (the boot protocol's limit).
const DTB_MAX: usize = 2 << 20;

#[unsafe(no_mangle)]
extern "C" fn guest_rt_start(dtb: usize, ticks: u64) {
    ENTRY_TICKS.store(ticks, Ordering::Relaxed);
    if dtb == 0 || !dtb.is_multiple_of(8) {
        return;
    }
    // SAFETY: the boot protocol gives an 8-byte aligned device tree in RAM outside the image; its first 40 bytes are
    // the header, and nobody writes it while the guest runs.
    let header = unsafe { core::slice::from_raw_parts(dtb as *const u8, 40) };
    let Some(total) = Dtb::total_size(header).filter(|&n| n <= DTB_MAX) else {
        return;
    };
    // SAFETY: as above; the header, with the right magic, says that this many bytes belong to the tree.
    let bytes = unsafe { core::slice::from_raw_parts(dtb as *const u8, total) };
    let Ok(tree) = Dtb::new(bytes) else { return };
    let machine = Machine::from_dtb(&tree, cpu::affinity());
    // SAFETY: the only writer, on the only CPU that runs, before the first reader.
    unsafe { *MACHINE.0.get() = Some(machine) };
    if let Some(uart) = &machine.uart {
        console::init(uart.base);
    }
    // SAFETY: the symbol is defined by entry! with exactly this signature.
    unsafe { guest_rt_user_main() };
    psci::system_off();
}

#[unsafe(no_mangle)]
extern "C" fn guest_rt_secondary(index: usize, ticks: u64) {
    smp::run(index, ticks);
    psci::cpu_off();
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    trap::mask_irqs();
    console::break_lock();
    crate::println!("GUEST-PANIC cpu{}: {}", cpu::index(), info);
    psci::system_off();
    loop {
        cpu::wfe();
    }
}
