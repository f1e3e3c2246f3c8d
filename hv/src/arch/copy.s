// memcpy, as the compiler calls it: the one in compiler-builtins copies word by word, which takes five times as many
// instructions for the structures that are passed about at an exit. Normal memory only, with the MMU on (the ends of a
// copy overlap, so they may be unaligned); must never be used on a device.

.section .text.memcpy, "ax"
.global memcpy
.balign 16
memcpy:                                 // x0 = to, x1 = from, x2 = bytes; x0 is returned as it is
    add     x4, x1, x2                  // the ends
    add     x5, x0, x2
    cmp     x2, #16
    b.lo    3f
    cmp     x2, #32
    b.ls    2f
    mov     x3, x0
1:  ldp     x6, x7, [x1], #16
    ldp     x8, x9, [x1], #16
    stp     x6, x7, [x3], #16
    stp     x8, x9, [x3], #16
    sub     x2, x2, #32
    cmp     x2, #32
    b.hi    1b
    ldp     x6, x7, [x4, #-32]          // 1 to 32 bytes are left: the last 32
    ldp     x8, x9, [x4, #-16]
    stp     x6, x7, [x5, #-32]
    stp     x8, x9, [x5, #-16]
    ret
2:  ldp     x6, x7, [x1]                // 16 to 32: the first 16 and the last
    ldp     x8, x9, [x4, #-16]
    stp     x6, x7, [x0]
    stp     x8, x9, [x5, #-16]
    ret
3:  tbz     w2, #3, 4f                  // 8 to 15
    ldr     x6, [x1]
    ldr     x7, [x4, #-8]
    str     x6, [x0]
    str     x7, [x5, #-8]
    ret
4:  tbz     w2, #2, 5f                  // 4 to 7
    ldr     w6, [x1]
    ldr     w7, [x4, #-4]
    str     w6, [x0]
    str     w7, [x5, #-4]
    ret
5:  cbz     x2, 6f                      // 1 to 3: the first, the middle and the last
    lsr     x8, x2, #1
    ldrb    w6, [x1]
    ldrb    w7, [x1, x8]
    ldrb    w9, [x4, #-1]
    strb    w6, [x0]
    strb    w7, [x0, x8]
    strb    w9, [x5, #-1]
6:  ret
