// The first instructions of dom0, and its vectors.
//
// Entered as the arm64 Linux boot protocol says (Documentation/arch/arm64/booting.rst): EL1, MMU off, wherever the
// image was put (2 MiB aligned), x0 = device tree (not used). The image is linked at 0; the relocations in
// __relr_start..__relr_end (RELR, generic ELF ABI) are applied here. Exceptions stay masked for ever: input is waited for inside a call.
//
//   x19  where the image is          x0-x6  scratch

    .section .head.text, "ax"
    .global _start
_start:
    b       1f                      // code0
    .long   0                       // code1
    .quad   0                       // text_offset
    .quad   __image_size            // bss and stack included
    .quad   0xa                     // little endian, 4 KiB pages, anywhere in memory
    .quad   0, 0, 0
    .ascii  "ARM\x64"
    .long   0

1:  msr     daifset, #0xf
    adr     x19, _start
    adrp    x1, shim_vectors
    add     x1, x1, :lo12:shim_vectors
    msr     vbar_el1, x1
    msr     tpidr_el1, xzr          // not in the middle of a report
    isb

    adrp    x1, __relr_start
    add     x1, x1, :lo12:__relr_start
    adrp    x2, __relr_end
    add     x2, x2, :lo12:__relr_end
2:  cmp     x1, x2
    b.hs    3f
    ldr     x3, [x1], #8
    tbnz    x3, #0, 21f
    add     x4, x3, x19             // a place that holds an address of the image
    ldr     x5, [x4]
    add     x5, x5, x19
    str     x5, [x4], #8
    b       2b
21: mov     x6, x4                  // which of the 63 words after it do, too
    add     x4, x4, #63 * 8
22: lsr     x3, x3, #1
    cbz     x3, 2b
    tbz     x3, #0, 23f
    ldr     x5, [x6]
    add     x5, x5, x19
    str     x5, [x6]
23: add     x6, x6, #8
    b       22b

3:  adrp    x1, __bss_start
    add     x1, x1, :lo12:__bss_start
    adrp    x2, __bss_end
    add     x2, x2, :lo12:__bss_end
4:  cmp     x1, x2
    b.hs    5f
    stp     xzr, xzr, [x1], #16     // bss is 16-byte aligned at both ends (link.ld)
    b       4b

5:  adrp    x1, __stack_top
    add     x1, x1, :lo12:__stack_top
    mov     sp, x1
    mov     x29, xzr
    mov     x30, xzr
    bl      shim_main

// PSCI CPU_OFF, until it works.
shim_off:
    mov     x0, #0x0002
    movk    x0, #0x8400, lsl #16
    hvc     #0
    wfi
    b       shim_off

// Sixteen vectors of 128 bytes: number to x0, then the common part.
    .balign 2048
shim_vectors:
    .set    shim_n, 0
    .rept   16
    .balign 128
    mov     x0, #shim_n
    b       shim_report
    .set    shim_n, shim_n + 1
    .endr

// x0 = vector. A second exception while the first is being reported ends the vCPU without a word.
shim_report:
    mrs     x1, tpidr_el1
    cbnz    x1, shim_off
    mov     x1, #1
    msr     tpidr_el1, x1
    adrp    x1, __stack_top
    add     x1, x1, :lo12:__stack_top
    mov     sp, x1
    mrs     x1, esr_el1
    mrs     x2, elr_el1
    mrs     x3, far_el1
    mov     x4, x30
    adr     x5, _start
    b       shim_exception
