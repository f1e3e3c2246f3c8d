//! Translation tables where no memory is, and device windows mapped as memory: walked into, executed, used by every
//! instruction that wants memory. What faults, faults in this guest.
use core::arch::asm;

use guest_rt::testing::{Hex, case, expect, expect_tarn};
use guest_rt::trap::{Fault, catch};
use guest_rt::{console, gic, mrs, on_tarn, println};

/// Where neither QEMU's virt machine nor a domain has anything.
const NOWHERE: u64 = 0x0b00_0000;
/// Gigabytes of the address space that nothing else uses.
const TABLE_VA: u64 = 300 << 30;
const WINDOW_VA: u64 = 301 << 30;
/// A level 1 entry: a table; a block of normal memory (MAIR attribute 1), inner shareable, accessed, executable.
const TABLE: u64 = 0b11;
const NORMAL: u64 = 0b01 | 1 << 10 | 3 << 8 | 1 << 2;

/// Sets the level 1 entry for `va` and forgets what was there.
fn map(va: u64, entry: u64) {
    let level1 = mrs!("ttbr0_el1") & !0xffff_0000_0000_0fff;
    let slot = (level1 + (va >> 30) * 8) as *mut u64;
    // SAFETY: an entry of this guest's own level 1 table (mmu.rs: 512 entries, identity mapped) for addresses that nothing
    // here uses otherwise.
    unsafe {
        slot.write_volatile(entry);
        asm!(
            "dsb sy",
            "tlbi vmalle1",
            "ic iallu",
            "dsb sy",
            "isb",
            options(nostack)
        );
    }
}

/// `ldr`, `str` and a call at `va`.
fn touch(va: u64) -> [Option<Fault>; 3] {
    // SAFETY: nothing of this image is at the address; what faults is caught, a call returns.
    unsafe {
        [
            catch(|| asm!("ldr w2, [{a}]", a = in(reg) va, out("x2") _, options(nostack))),
            catch(|| asm!("str wzr, [{a}]", a = in(reg) va, options(nostack))),
            catch(|| asm!("blr {a}", a = in(reg) va, clobber_abi("C"))),
        ]
    }
}

/// EC, and the fault's kind without its level: stage 2 does not say at which of the guest's levels it stopped the walk.
fn kind(fault: &Option<Fault>) -> Hex {
    Hex(fault.map_or(0, |f| f.esr & (0xfc00_0000 | 0x3c)))
}

/// A table where nothing is: an external abort on the walk.
fn nowhere() {
    map(TABLE_VA, NOWHERE | TABLE);
    let va = TABLE_VA + 0x1234_5678;
    let [read, write, fetch] = touch(va & !0xfff);
    expect("walk/read", kind(&read), Hex(0x9400_0014));
    expect("walk/write", kind(&write), Hex(0x9400_0014));
    expect("walk/fetch", kind(&fetch), Hex(0x8400_0014));
    let far = |f: &Option<Fault>| f.is_some_and(|f| f.far == va & !0xfff);
    expect(
        "walk/far",
        [&read, &write, &fetch].map(far) == [true; 3],
        true,
    );
    // SAFETY: asks for a translation only.
    let asked = catch(|| unsafe {
        asm!("at s1e1r, {a}", "isb", a = in(reg) va, options(nostack));
    });
    // Either the instruction faults or PAR_EL1 says that the translation does.
    expect("walk/at", asked.is_some() || mrs!("par_el1") & 1 != 0, true);
    map(TABLE_VA, 0);
}

/// A table in a device that Tarn emulates: the walk is not a register access.
fn devices() {
    let mut windows = [0u64; 3];
    match gic::find() {
        Some(gic::Gic::V2(g)) => windows[0] = g.dist.base() as u64,
        Some(gic::Gic::V3(g)) => {
            windows[0] = g.dist.base() as u64;
            windows[1] = g.redist_of_cpu0().base() as u64;
        }
        None => {}
    }
    windows[2] = console::uart().map_or(0, |u| u.base() as u64);
    for window in windows.into_iter().filter(|w| *w != 0) {
        map(TABLE_VA, window & !0xfff | TABLE);
        for (name, fault) in ["read", "write", "fetch"].iter().zip(touch(TABLE_VA)) {
            let walk = fault.is_some_and(|f| f.esr & 0x3c == 0x14);
            expect_tarn("walk/in-a-device", walk, true);
            println!(
                "NOTE {name} with a table at {window:#x}: esr {:#x}",
                fault.map_or(0, |f| f.esr)
            );
        }
        map(TABLE_VA, 0);
        // The same window as memory, executable.
        map(WINDOW_VA, window >> 30 << 30 | NORMAL);
        // Not at its beginning: a UART's data register is there.
        let at = WINDOW_VA + window % (1 << 30) + 0x100;
        let [_, _, fetch] = touch(at);
        expect_tarn("fetch/from-a-device", kind(&fetch), Hex(0x8400_0010));
        forms(at);
        map(WINDOW_VA, 0);
    }
    // Nothing, as memory.
    map(WINDOW_VA, NORMAL);
    let [read, write, fetch] = touch(WINDOW_VA + NOWHERE);
    let all = [&read, &write, &fetch].map(|f| kind(f).0);
    expect_tarn(
        "nothing/as-memory",
        all == [0x9400_0010, 0x9400_0010, 0x8400_0010],
        true,
    );
    map(WINDOW_VA, 0);
}

/// Instructions that want memory, on a device.
fn forms(at: u64) {
    let mut faults = 0;
    macro_rules! form {
        ($($code:literal),+) => {
            // SAFETY: device registers under a mapping of their own; values written are zero; named registers are given up.
            faults += u32::from(catch(|| unsafe {
                asm!($($code),+, a = inout(reg) at => _, out("x2") _, out("x3") _, out("x4") _, options(nostack));
            }).is_some());
        };
    }
    form!("ldr w2, [{a}, #1]");
    form!("ldr x2, [{a}, #5]");
    form!("ldrh w2, [{a}, #3]");
    form!("mov x2, #0", "str w2, [{a}, #0x81]");
    form!("mov x2, #0", "str x2, [{a}, #0x83]");
    // Across the end of the window's first page.
    form!("add {a}, {a}, #0xffc", "ldr x2, [{a}]");
    form!("add {a}, {a}, #0xffe", "ldr w2, [{a}]");
    form!("ldxp x2, x3, [{a}]");
    form!("mov x2, #0", "mov x3, #0", "stxp w4, x2, x3, [{a}]");
    form!("ldaxr x2, [{a}]", "stlxr w4, xzr, [{a}]");
    form!(".arch_extension lse", "mov x2, #0", "ldadd w2, w3, [{a}]");
    form!(
        ".arch_extension lse",
        "mov x2, #0",
        "mov x3, #0",
        "casal w2, w3, [{a}]"
    );
    form!(".arch_extension lse", "mov x2, #0", "swp w2, w3, [{a}]");
    form!(".arch_extension lse", "mov x2, #0", "stclr w2, [{a}]");
    form!(".arch_extension fp", "ldp q0, q1, [{a}]");
    form!(
        ".arch_extension simd",
        "ld4 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [{a}]"
    );
    form!("ldnp x2, x3, [{a}]");
    form!("ldtr w2, [{a}]");
    form!("dc zva, {a}");
    form!("dc civac, {a}");
    form!("dc cvau, {a}");
    form!("ic ivau, {a}");
    form!("prfm pstl1keep, [{a}]");
    println!("NOTE {faults} of 23 forms faulted at {at:#x}");
}

/// Instructions of features that guests do not have: WFET and WFIT (FEAT_WFxT), with a moment long gone and one that
/// never comes. They are undefined or come back: a hint may end at any time.
fn waits() {
    for until in [0u64, u64::MAX] {
        // SAFETY: waits, or is undefined.
        let event = catch(|| unsafe {
            asm!("sev", ".inst 0xd5031000", in("x0") until, options(nostack));
        });
        // SAFETY: as above.
        let interrupt =
            catch(|| unsafe { asm!(".inst 0xd5031020", in("x0") until, options(nostack)) });
        let fine = |f: Option<Fault>| f.is_none_or(|f| f.class() == 0);
        expect("wait/with-timeout", fine(event) && fine(interrupt), true);
    }
}

/// All cases.
pub fn all() {
    nowhere();
    if on_tarn() {
        devices();
    }
    waits();
    case("walks", "survived");
}
