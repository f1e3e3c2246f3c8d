/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A guest in C to start from: says on which Tarn it runs, echoes the lines typed on its console, ends at "q".
 *
 * Freestanding: no library, no MMU, one vCPU. Tarn puts the image at the start of RAM with the device tree in x0, as
 * booting.rst of arm64 Linux says; the PL011 is where guests of Tarn always have it (the tree says so, too). Calls to Tarn
 * come from abi/include/tarn.h, which is printed from the interface itself. `cargo xtask build` makes guest-c.bin. */
#include "tarn.h"

#define UART ((volatile uint32_t *)0x22000000)
enum { DATA = 0x00 / 4, FLAGS = 0x18 / 4, RX_EMPTY = 1 << 4, TX_FULL = 1 << 5 };

/* The arm64 Image header, and the way to C: a stack, and zeros where C wants them. */
__asm__(".section .head, \"ax\"\n"
        ".global _start\n"
        "_start: b 1f\n"
        ".long 0\n"
        ".quad 0, __size, 0xa, 0, 0, 0\n"
        ".ascii \"ARM\\x64\"\n"
        ".long 0\n"
        "1: adrp x9, __stack\n"
        "mov sp, x9\n"
        "adrp x9, __bss\n"
        "adrp x10, __bss_end\n"
        "2: cmp x9, x10\n"
        "b.hs 3f\n"
        "stp xzr, xzr, [x9], #16\n"
        "b 2b\n"
        "3: bl guest\n"
        "ldr w0, =0x84000008\n" /* PSCI SYSTEM_OFF */
        "hvc #0\n"
        "4: wfi\n"
        "b 4b\n");

static void put(char byte)
{
    while (UART[FLAGS] & TX_FULL)
        ;
    UART[DATA] = (uint8_t)byte;
}

static void print(const char *text)
{
    for (; *text; text++)
        put(*text);
}

static void number(uint64_t n)
{
    if (n >= 10)
        number(n / 10);
    put((char)('0' + n % 10));
}

/* A byte that was typed. While there is none the other vCPUs of the pool may run. */
static char get(void)
{
    struct tarn_regs none = { { 0 } };

    while (UART[FLAGS] & RX_EMPTY)
        tarn_call(TARN_GUEST_YIELD, &none);
    return (char)UART[DATA];
}

void guest(void)
{
    static char line[80];
    unsigned length = 0;
    struct tarn_regs r = { { 0 } };

    if (tarn_call(TARN_VERSION, &r) != 0) {
        print("This is not Tarn.\n");
        return;
    }
    print("Hello from C on ");
    for (const char *text = (const char *)&r.x[2]; *text && text < (const char *)&r.x[8]; text++)
        put(*text);
    print(", call interface ");
    number(r.x[1] >> 16);
    put('.');
    number(r.x[1] & 0xffff);
    print(". Type a line, or q to power me off.\n");
    for (;;) {
        char byte = get();

        if (byte != '\r' && byte != '\n') {
            if (length < sizeof line - 1)
                line[length++] = byte;
            continue;
        }
        line[length] = 0;
        if (line[0] == 'q' && length == 1)
            break;
        print("you typed: ");
        print(line);
        put('\n');
        length = 0;
    }
    print("Goodbye.\n");
}
