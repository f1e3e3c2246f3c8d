// The EL2 vector table: pushes a GuestFrame, calls Rust, pops it. Decides nothing except the one hottest call.
//
// At every entry from a guest SP_EL2 is the top of this CPU's stack (EL2 does not nest), so the frame is always at the
// same place: CPU stack top - FRAME_SIZE. TPIDR_EL2 holds the CPU's block. Offsets come from offset_of! in mod.rs.

.macro SAVE_GUEST
    sub     sp, sp, #{FRAME_SIZE}
    stp     x0, x1, [sp, #16 * 0]
    stp     x2, x3, [sp, #16 * 1]
    stp     x4, x5, [sp, #16 * 2]
    stp     x6, x7, [sp, #16 * 3]
    stp     x8, x9, [sp, #16 * 4]
    stp     x10, x11, [sp, #16 * 5]
    stp     x12, x13, [sp, #16 * 6]
    stp     x14, x15, [sp, #16 * 7]
    stp     x16, x17, [sp, #16 * 8]
    stp     x18, x19, [sp, #16 * 9]
    stp     x20, x21, [sp, #16 * 10]
    stp     x22, x23, [sp, #16 * 11]
    stp     x24, x25, [sp, #16 * 12]
    stp     x26, x27, [sp, #16 * 13]
    stp     x28, x29, [sp, #16 * 14]
    mrs     x2, elr_el2
    mrs     x3, spsr_el2
    stp     x30, x2, [sp, #16 * 15]
    str     x3, [sp, #16 * 16]
    mov     x29, xzr
    mov     x0, sp
    mrs     x1, tpidr_el2
.endm

.macro FATAL kind
    .balign 128
    msr     sp_el0, x0                  // scratch: this CPU will not run a guest again
    mov     x0, #\kind
    b       el2_fault_entry
.endm

.section .text.vectors, "ax"
.balign 2048
.global hv_vectors
hv_vectors:
    FATAL 0                             // current EL, SP_EL0
    FATAL 1
    FATAL 2
    FATAL 3
    FATAL 4                             // current EL, SP_ELx
    FATAL 5
    FATAL 6
    // SError is masked all over EL2 but in take_serror: nowhere else can it be taken, and x1 and x2 are that function's.
    .balign 128
    adr     x1, take_serror
    mrs     x2, elr_el2
    sub     x2, x2, x1
    cmp     x2, #(take_serror_end - take_serror)
    b.hi    1f
    mrs     x0, esr_el2
    mrs     x1, spsr_el2
    orr     x1, x1, #(1 << 8)           // back with SError masked: one is enough
    msr     spsr_el2, x1
    eret
1:  msr     sp_el0, x0
    mov     x0, #7
    b       el2_fault_entry

    .balign 128                         // lower EL, AArch64
    // PSCI_VERSION by HVC #0 is answered here: it is what a guest's boot code and every null-call benchmark asks.
    stp     x0, x1, [sp, #-16]!
    mrs     x1, esr_el2
    movz    x0, #0x5a00, lsl #16        // EC = HVC64, IL, immediate 0
    cmp     x1, x0
    b.ne    1f
    ldr     x0, [sp]
    movz    w1, #0x8400, lsl #16        // PSCI_VERSION
    cmp     w0, w1
    b.ne    1f
    mrs     x0, tpidr_el2
    ldr     x1, [x0, #{CPU_FAST_CALLS}]
    add     x1, x1, #1
    str     x1, [x0, #{CPU_FAST_CALLS}]
    mov     x0, #0x1                    // PSCI 1.1
    movk    x0, #0x1, lsl #16
    ldr     x1, [sp, #8]
    add     sp, sp, #16
    eret
1:  b       guest_sync_entry
    .balign 128
    SAVE_GUEST
    b       guest_irq_tail
    .balign 128
    SAVE_GUEST
    b       guest_irq_tail
    .balign 128
    SAVE_GUEST
    b       guest_serror_tail

    .balign 128                         // lower EL, AArch32: EL0 of a 64-bit guest kernel, same frame
    stp     x0, x1, [sp, #-16]!
    b       guest_sync_entry
    .balign 128
    SAVE_GUEST
    b       guest_irq_tail
    .balign 128
    SAVE_GUEST
    b       guest_irq_tail
    .balign 128
    SAVE_GUEST
    b       guest_serror_tail

.section .text.entry, "ax"
guest_sync_entry:
    ldp     x0, x1, [sp], #16
    SAVE_GUEST
    bl      guest_sync
    b       enter_guest
guest_irq_tail:
    bl      guest_irq
    b       enter_guest
guest_serror_tail:
    bl      guest_serror
    // falls through

// enter_guest: SP points at the GuestFrame to resume. Also the first entry into any guest, from a CPU's idle start.
.global enter_guest
enter_guest:
    ldr     x3, [sp, #16 * 16]
    ldp     x30, x2, [sp, #16 * 15]
    msr     spsr_el2, x3
    msr     elr_el2, x2
    ldp     x0, x1, [sp, #16 * 0]
    ldp     x2, x3, [sp, #16 * 1]
    ldp     x4, x5, [sp, #16 * 2]
    ldp     x6, x7, [sp, #16 * 3]
    ldp     x8, x9, [sp, #16 * 4]
    ldp     x10, x11, [sp, #16 * 5]
    ldp     x12, x13, [sp, #16 * 6]
    ldp     x14, x15, [sp, #16 * 7]
    ldp     x16, x17, [sp, #16 * 8]
    ldp     x18, x19, [sp, #16 * 9]
    ldp     x20, x21, [sp, #16 * 10]
    ldp     x22, x23, [sp, #16 * 11]
    ldp     x24, x25, [sp, #16 * 12]
    ldp     x26, x27, [sp, #16 * 13]
    ldp     x28, x29, [sp, #16 * 14]
    add     sp, sp, #{FRAME_SIZE}
    eret
    dsb     nsh                         // no speculation past the return
    isb

// take_serror() -> x0: takes an SError that is pending; its syndrome, 0 if there was none.
.global take_serror
take_serror:
    mov     x0, #0
    msr     daifclr, #4
    isb                                 // a pending one is taken here at the latest
take_serror_end:
    msr     daifset, #4
    ret

// start_cpu(x0 = CPU block): forgets the boot call chain, makes the one frame at the top of the stack, idles.
.global start_cpu
start_cpu:
    ldr     x9, [x0, #{CPU_STACK_TOP}]
    mov     sp, x9
    sub     sp, sp, #{FRAME_SIZE}
    mov     x1, x0
    mov     x0, sp
    mov     x29, xzr
    mov     x30, xzr
    bl      first_leave
    b       enter_guest

// An exception taken at EL2 itself: a bug of ours, or a stack that ran into its guard page. Uses the emergency stack.
el2_fault_entry:
    msr     tpidr_el1, x0               // kind; guests of this CPU are gone for good
    mrs     x0, tpidr_el2
    cbnz    x0, 1f
    adrp    x0, __boot_emergency_top
    b       2f
1:  ldr     x0, [x0, #{CPU_EMERGENCY_TOP}]
2:  sub     x0, x0, #{FRAME_SIZE}
    stp     x2, x3, [x0, #16 * 1]
    str     x1, [x0, #8]
    mrs     x1, sp_el0
    str     x1, [x0]
    stp     x4, x5, [x0, #16 * 2]
    stp     x6, x7, [x0, #16 * 3]
    stp     x8, x9, [x0, #16 * 4]
    stp     x10, x11, [x0, #16 * 5]
    stp     x12, x13, [x0, #16 * 6]
    stp     x14, x15, [x0, #16 * 7]
    stp     x16, x17, [x0, #16 * 8]
    stp     x18, x19, [x0, #16 * 9]
    stp     x20, x21, [x0, #16 * 10]
    stp     x22, x23, [x0, #16 * 11]
    stp     x24, x25, [x0, #16 * 12]
    stp     x26, x27, [x0, #16 * 13]
    stp     x28, x29, [x0, #16 * 14]
    mrs     x2, elr_el2
    mrs     x3, spsr_el2
    stp     x30, x2, [x0, #16 * 15]
    mov     x4, sp
    stp     x3, x4, [x0, #16 * 16]
    mov     sp, x0
    mrs     x1, tpidr_el1
    bl      el2_fault
    b       park
