//! Touching memory that is not there: every width, every kind, each answered by an external abort that says where.
use core::arch::asm;

use guest_rt::testing::{Hex, case, expect};
use guest_rt::trap::{Fault, catch};
use guest_rt::{machine, on_tarn, println};

/// Where neither QEMU's virt machine nor a domain has anything.
const NOWHERE: u64 = 0x0b00_0000;

macro_rules! access {
    ($name:literal, $write:expr, $address:expr, $($code:literal),+) => {{
        let address: u64 = $address;
        let fault = catch(|| {
            // SAFETY: nothing is at the address, so no memory is read or written; the exception is caught. The
            // registers that the instructions name are given up.
            unsafe {
                asm!($($code),+, a = inout(reg) address => _, out("x2") _, out("x3") _, options(nostack));
            }
        });
        judge($name, address, $write, fault);
    }};
}

fn judge(name: &str, address: u64, write: bool, fault: Option<Fault>) {
    let Some(fault) = fault else {
        return expect(name, "no fault", "external abort");
    };
    // EC and DFSC: a data abort from the same EL, synchronous external abort, IL set.
    let syndrome = fault.esr & (0xfe00_0000 | 0x3f);
    expect(name, Hex(syndrome), Hex(0x9600_0010));
    expect("abort/write", fault.esr & 1 << 6 != 0, write);
    expect("abort/far", fault.far == address, true);
    expect("abort/by-sync-vector", fault.serror, false);
}

fn kinds(at: u64) {
    access!("read/ldrb", false, at + 1, "ldrb w2, [{a}]");
    access!("read/ldrh", false, at + 2, "ldrh w2, [{a}]");
    access!("read/ldr-w", false, at, "ldr w2, [{a}]");
    access!("read/ldr-x", false, at, "ldr x2, [{a}]");
    access!("read/ldrsb", false, at + 3, "ldrsb x2, [{a}]");
    access!("read/ldrsw", false, at + 4, "ldrsw x2, [{a}]");
    access!("read/ldr-post-index", false, at, "ldr x2, [{a}], #8");
    access!("read/ldp", false, at, "ldp x2, x3, [{a}]");
    access!("read/ldar", false, at, "ldar x2, [{a}]");
    access!("read/ldxr", false, at, "ldxr x2, [{a}]");
    access!("read/ldr-xzr", false, at, "ldr xzr, [{a}]");
    access!(
        "read/ldr-q",
        false,
        at,
        ".arch_extension fp",
        "ldr q0, [{a}]"
    );
    access!(
        "read/ld1",
        false,
        at,
        ".arch_extension simd",
        "ld1 {{v0.16b, v1.16b}}, [{a}]"
    );
    access!("write/strb", true, at + 1, "strb w2, [{a}]");
    access!("write/strh", true, at + 2, "strh w2, [{a}]");
    access!("write/str-w", true, at, "str w2, [{a}]");
    access!("write/str-x", true, at, "str x2, [{a}]");
    access!("write/str-xzr", true, at, "str xzr, [{a}]");
    access!("write/str-pre-index", true, at, "str x2, [{a}, #0]!");
    access!("write/stp", true, at, "stp x2, x3, [{a}]");
    access!("write/stlr", true, at, "stlr x2, [{a}]");
    access!(
        "write/str-q",
        true,
        at,
        ".arch_extension fp",
        "str q0, [{a}]"
    );
}

/// All cases.
pub fn all() {
    kinds(NOWHERE);
    let bank = machine().memory().last().copied().unwrap_or_default();
    let end = bank.base + bank.size;
    println!("NOTE memory ends at {end:#x}");
    access!("past-memory/read", false, end, "ldr x2, [{a}]");
    access!("past-memory/write", true, end, "str x2, [{a}]");
    access!(
        "past-memory/page-later",
        false,
        end + 0x1000,
        "ldrb w2, [{a}]"
    );
    access!("top/read", false, 0x7f_ffff_fff8, "ldr x2, [{a}]");
    access!("top/write", true, 0x7f_ffff_fff8, "str x2, [{a}]");
    exec();
    unaligned(end);
    no_access();
    // A fault that nobody could see any more would show here: memory is as it was and faults are still caught.
    access!("again/read", false, NOWHERE, "ldr x2, [{a}]");
    if on_tarn() {
        host_devices();
    }
}

/// Jumping there. Device memory is not executable in our map, so this switches nothing on: it asks stage 1 first.
fn exec() {
    let fault = catch(|| {
        // SAFETY: nothing is there to be executed; the exception returns to x30.
        unsafe { asm!("blr {a}", a = in(reg) NOWHERE, clobber_abi("C")) };
    });
    match fault {
        Some(fault) => {
            expect("exec/class", Hex(fault.class().into()), Hex(0x21));
            expect("exec/elr", Hex(fault.elr), Hex(NOWHERE));
            expect("exec/far", Hex(fault.far), Hex(NOWHERE));
        }
        None => expect("exec/class", "no fault", "abort"),
    }
}

/// Unaligned accesses, within a page and across two. On device memory that is an alignment fault before anything else
/// is asked; QEMU asks for the memory first.
fn unaligned(end: u64) {
    for (name, address) in [
        ("unaligned/word", NOWHERE + 1),
        ("unaligned/across-page", NOWHERE + 0xfff),
    ] {
        let fault = catch(|| {
            // SAFETY: nothing is there; the exception is caught.
            unsafe { asm!("ldr w2, [{a}]", a = in(reg) address, out("x2") _, options(nostack)) };
        });
        let code = fault.map_or(0, |f| f.esr & 0x3f);
        expect(name, code == 0x21 || code == 0x10, true);
    }
    // From the last bytes of memory into nothing.
    let address = end - 4;
    let fault = catch(|| {
        // SAFETY: reads the last bytes of RAM, which hold nothing of this image, and beyond, where nothing is.
        unsafe { asm!("ldr x2, [{a}]", a = in(reg) address, out("x2") _, options(nostack)) };
    });
    // Which of the two halves the address names, and whether as alignment or as external abort, differs.
    expect(
        "unaligned/across-end-of-memory-faults",
        fault.is_some(),
        true,
    );
}

/// Instructions that take an address and access no data: whether they fault differs, but the program goes on.
fn no_access() {
    macro_rules! harmless {
        ($name:literal, $code:literal) => {{
            let fault = catch(|| {
                // SAFETY: nothing is at the address; a fault is caught.
                unsafe { asm!($code, a = in(reg) NOWHERE, options(nostack)) };
            });
            println!("NOTE {} esr {:#x}", $name, fault.map_or(0, |f| f.esr));
            case($name, "survived");
        }};
    }
    harmless!("cache/prfm", "prfm pldl1keep, [{a}]");
    harmless!("cache/dc-civac", "dc civac, {a}");
    harmless!("cache/dc-cvac", "dc cvac, {a}");
    harmless!("cache/dc-cvau", "dc cvau, {a}");
    harmless!("cache/dc-ivac", "dc ivac, {a}");
    harmless!("cache/dc-zva", "dc zva, {a}");
    harmless!("cache/ic-ivau", "ic ivau, {a}");
    harmless!("cache/at-s1e1r", "at s1e1r, {a}");
    harmless!("cache/stxr-without-ldxr", "stxr w2, x3, [{a}]");
    harmless!("cache/clrex", "clrex // {a}");
}

/// What is on the host and must not show through.
fn host_devices() {
    for address in [
        0x0800_0000u64,
        0x0801_0000,
        0x0803_0000,
        0x0804_0000,
        0x080a_0000,
        0x0900_0000,
        0x0901_0000,
        0x0a00_0000,
        0xfe20_1000,
        0xff84_1000,
    ] {
        let fault = catch(|| {
            // SAFETY: not memory of this image; under the hypervisor nothing is there and the abort is caught.
            unsafe { asm!("ldr w2, [{a}]", a = in(reg) address, out("x2") _, options(nostack)) };
        });
        guest_rt::testing::expect_tarn(
            "host-device-hidden",
            fault.is_some_and(|f| f.far == address),
            true,
        );
    }
}
