// Entry of every CPU: from whatever the loader left to Rust on a stack with MMU and caches on.
//
// Registers in this file:
//   x20  device tree as passed in x0 (boot CPU)        x21  exception level at entry
//   x22  first early table                             x23  bits common to table/block descriptors
//   x9-x17 scratch. Nothing is assumed of memory before the MMU is on, except that the image was cleaned to memory.
//
// The early map: the 1 GiB blocks that hold the image and the device tree, normal memory, executable. It lives for the
// first moments only: mem/stage1.rs builds the real one (W^X, guard pages) and `replace_stage1` below switches to it.

.section .text.boot, "ax"
.global _start
_start:
    b       boot_entry                  // code0
    .long   0                           // code1
    .quad   0                           // text_offset: any 2 MiB boundary will do
    .quad   __image_size                // bss and stacks included
    .quad   0xa                         // little endian, 4 KiB pages, anywhere in memory
    .quad   0, 0, 0
    .ascii  "ARM\x64"
    .long   0

boot_entry:
    msr     daifset, #15
    mov     x20, x0
    mrs     x9, CurrentEL
    lsr     x21, x9, #2
    cmp     x21, #3
    b.ne    1f
    // EL3: go down to EL1 just to say that this was the wrong level.
    mov     x9, #0x531                  // SCR_EL3: NS, RW, RES1, HCE
    msr     scr_el3, x9
    mov     x9, #(1 << 31)              // HCR_EL2.RW
    msr     hcr_el2, x9
    mov     x9, #0x3c5                  // EL1h, all masked
    msr     spsr_el3, x9
    adr     x9, 1f
    msr     elr_el3, x9
    eret
1:
    msr     spsel, #1                   // a loader may have left SP_EL0 in use
    // Early tables: level 0, level 1 of the image, level 1 of the device tree if that lies in another 512 GiB.
    adrp    x22, __early_tables
    mov     x9, x22
    add     x10, x22, #(3 * 4096)
2:  stp     xzr, xzr, [x9], #16
    cmp     x9, x10
    b.lo    2b
    mov     x23, #0x705                 // block: valid, AttrIdx 1, inner shareable, AF
    cmp     x21, #2
    b.ne    3f
    orr     x23, x23, #0x40             // AP[1] is RES1 at EL2; at EL1 it would forbid execution
3:
    mov     x24, #0x3                   // table
    add     x12, x22, #4096
    adr     x9, _start
    bl      early_block
    add     x12, x22, #4096
    adrp    x9, __heap_end              // the image may reach into the next 1 GiB
    sub     x9, x9, #1
    bl      early_block
    add     x12, x22, #4096
    adrp    x9, __image_end             // so may the description behind it
    add     x9, x9, #(0x200 << 12)      // MAX_DTB
    bl      early_block
    cbz     x20, 3f
    lsr     x10, x20, #48
    cbnz    x10, 3f
    add     x12, x22, #8192
    mov     x9, x20
    bl      early_block
3:
    // The tables were written with the data cache off: drop what a cache may still hold of them.
    mov     x9, x22
    add     x10, x22, #(3 * 4096)
    mrs     x11, ctr_el0
    ubfx    x11, x11, #16, #4
    mov     x12, #4
    lsl     x11, x12, x11
4:  dc      ivac, x9
    add     x9, x9, x11
    cmp     x9, x10
    b.lo    4b
    dsb     sy

    cmp     x21, #2
    b.ne    5f
    mov     x9, #(1 << 31)              // HCR_EL2 is unknown at reset: RW, and not E2H, before TCR gets its layout
    msr     hcr_el2, x9
    isb
5:
    mov     x9, #0xff04                 // MAIR: 0 = device nGnRE, 1 = normal write-back
    mrs     x10, id_aa64mmfr0_el1
    and     x10, x10, #0xf              // PARange
    mov     x11, #5
    cmp     x10, x11
    csel    x10, x10, x11, lo           // 48 bits at most
    cmp     x21, #2
    b.ne    5f

    lsl     x10, x10, #16               // TCR_EL2.PS
    mov     x11, #0x3510                // T0SZ 16, write-back write-allocate walks, inner shareable, 4 KiB
    orr     x10, x10, x11
    movz    x11, #0x8080, lsl #16       // TCR_EL2 RES1
    orr     x10, x10, x11
    msr     mair_el2, x9
    msr     tcr_el2, x10
    msr     ttbr0_el2, x22
    mov     x9, #0x1834                 // SCTLR_EL2: RES1, I, C (and M below)
    movk    x9, #0x30c5, lsl #16
    tlbi    alle2
    dsb     nsh
    isb
    orr     x9, x9, #1
    msr     sctlr_el2, x9
    isb
    b       6f
5:
    lsl     x10, x10, #32               // TCR_EL1.IPS
    mov     x11, #0x3510
    orr     x10, x10, x11
    orr     x10, x10, #(1 << 23)        // EPD1
    msr     mair_el1, x9
    msr     tcr_el1, x10
    msr     ttbr0_el1, x22
    tlbi    vmalle1
    dsb     nsh
    movz    x9, #0x30d0, lsl #16
    movk    x9, #0x1985
    isb
    msr     sctlr_el1, x9
    isb
6:
    // Relocate: the image was linked at 0. The linker packs the places that hold an address of the image (RELR, generic
    // ELF ABI): an even word is a place; an odd word says which of the 63 words after the last place are others.
    adr     x13, _start
    adrp    x9, __relr_start
    add     x9, x9, :lo12:__relr_start
    adrp    x10, __relr_end
    add     x10, x10, :lo12:__relr_end
7:  cmp     x9, x10
    b.hs    8f
    ldr     x11, [x9], #8
    tbnz    x11, #0, 71f
    add     x14, x11, x13
    ldr     x12, [x14]
    add     x12, x12, x13
    str     x12, [x14], #8
    b       7b
71: mov     x15, x14
    add     x14, x14, #63 * 8
72: lsr     x11, x11, #1
    cbz     x11, 7b
    tbz     x11, #0, 73f
    ldr     x12, [x15]
    add     x12, x12, x13
    str     x12, [x15]
73: add     x15, x15, #8
    b       72b
8:
    adrp    x9, __bss_start
    adrp    x10, __bss_end
    add     x10, x10, :lo12:__bss_end
9:  stp     xzr, xzr, [x9], #16
    stp     xzr, xzr, [x9], #16
    stp     xzr, xzr, [x9], #16
    stp     xzr, xzr, [x9], #16
    cmp     x9, x10
    b.lo    9b

    adrp    x9, __boot_stack_top
    mov     sp, x9
    mov     x29, xzr
    mov     x30, xzr
    mov     x0, x20
    cmp     x21, #2
    b.ne    wrong_el_entry
    adrp    x9, hv_vectors
    add     x9, x9, :lo12:hv_vectors
    msr     vbar_el2, x9
    msr     tpidr_el2, xzr
    isb
    bl      boot_main
wrong_el_entry:
    msr     tpidr_el1, xzr
    mov     x1, x21
    bl      wrong_el
    b       park

// early_block: maps the 1 GiB around x9 by the level-1 table x12 (used only if that 512 GiB has none yet).
early_block:
    ubfx    x10, x9, #39, #9
    ldr     x11, [x22, x10, lsl #3]
    cbnz    x11, 1f
    orr     x11, x12, x24
    str     x11, [x22, x10, lsl #3]
1:  and     x11, x11, #~0xfff
    ubfx    x10, x9, #30, #9
    lsr     x9, x9, #30
    lsl     x9, x9, #30
    orr     x9, x9, x23
    str     x9, [x11, x10, lsl #3]
    ret

// replace_stage1(x0 = level-0 table, x1 = SCTLR_EL2): the break-before-make way to a different map of the running
// code: MMU off, invalidate, on again. Touches no memory in between; the image is mapped at its physical address.
.global replace_stage1
replace_stage1:
    mrs     x9, sctlr_el2
    bic     x9, x9, #1
    dsb     sy
    msr     sctlr_el2, x9
    isb
    tlbi    alle2
    dsb     nsh
    msr     ttbr0_el2, x0
    isb
    msr     sctlr_el2, x1
    isb
    ret

// secondary_start: where PSCI CPU_ON and the spin table send the other CPUs. They load the final map at once; the
// values stand in SECONDARY_REGS (cleaned to memory by the boot CPU), the CPU's own block in SECONDARY_CPUS by MPIDR.
.global secondary_start
secondary_start:
    msr     daifset, #15
    mrs     x9, CurrentEL
    cmp     x9, #8
    b.ne    park
    msr     spsel, #1
    mov     x9, #(1 << 31)              // RW, not E2H: see above
    msr     hcr_el2, x9
    isb
    adrp    x9, {SECONDARY_REGS}
    add     x9, x9, :lo12:{SECONDARY_REGS}
    ldp     x10, x11, [x9]              // TTBR0, TCR
    ldp     x12, x13, [x9, #16]         // MAIR, SCTLR
    msr     ttbr0_el2, x10
    msr     tcr_el2, x11
    msr     mair_el2, x12
    tlbi    alle2
    dsb     nsh
    isb
    msr     sctlr_el2, x13
    isb
    adrp    x9, hv_vectors
    add     x9, x9, :lo12:hv_vectors
    msr     vbar_el2, x9
    adrp    x9, {SECONDARY_CPUS}
    add     x9, x9, :lo12:{SECONDARY_CPUS}
    mrs     x10, mpidr_el1
    mov     x11, #0xffffff
    movk    x11, #0xff, lsl #32
    and     x10, x10, x11
    mov     x14, #{MAX_CPUS}
1:  ldp     x11, x12, [x9], #16         // MPIDR affinity, CPU block (0 = empty row)
    cbz     x12, 2f
    cmp     x11, x10
    b.eq    3f
2:  subs    x14, x14, #1
    b.ne    1b
    b       park
3:  msr     tpidr_el2, x12
    ldr     x9, [x12, #{CPU_STACK_TOP}]
    mov     sp, x9
    mov     x29, xzr
    mov     x30, xzr
    mov     x0, x12
    bl      secondary_main

.global park
park:
    wfe
    b       park
