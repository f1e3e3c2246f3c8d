//! An identity map and the caches, for guests that want them.
//!
//! Memory that the device tree names is normal write-back, inner shareable, and so is memory shared with other guests, to
//! whole 2 MiB (nothing else may be in them); everything else is device memory and not executable. Levels 1 and 2 only: 1 GiB and 2 MiB blocks. The map never changes once it is on, so no TLB
//! maintenance is needed. Secondary CPUs switch theirs on in `boot`, from the words in [`SECONDARY`].
use core::arch::asm;
use core::cell::UnsafeCell;

use crate::machine::{Machine, Range};
use crate::{boot, mrs};

const GIB: u64 = 1 << 30;
const BLOCK: u64 = 1 << 21;
/// Partly filled gigabytes: both ends of each of a few banks.
const LEVEL2: usize = 8;

const VALID_BLOCK: u64 = 0b01;
const VALID_TABLE: u64 = 0b11;
const ACCESSED: u64 = 1 << 10;
const INNER_SHAREABLE: u64 = 3 << 8;
const NO_EXEC: u64 = 1 << 53 | 1 << 54;
const DEVICE: u64 = VALID_BLOCK | ACCESSED | NO_EXEC;
const NORMAL: u64 = VALID_BLOCK | ACCESSED | INNER_SHAREABLE | 1 << 2;

/// Attribute 0: device nGnRnE. Attribute 1: normal, write-back, allocating.
const MAIR: u64 = 0xff00;
/// 39-bit addresses from TTBR0, 4 KiB granule, cacheable inner-shareable walks, no TTBR1.
const TCR: u64 = 25 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23;
/// RES1 bits of SCTLR_EL1 with M, C, I, and SA; alignment is not checked.
const SCTLR: u64 =
    0x30d0_0800 | 1 | 1 << 2 | 1 << 3 | 1 << 12 | 1 << 14 | 1 << 15 | 1 << 16 | 1 << 18 | 1 << 26;

#[repr(C, align(4096))]
struct Tables {
    level1: [u64; 512],
    level2: [[u64; 512]; LEVEL2],
}

/// The four words that `boot` loads on a secondary CPU: SCTLR, MAIR, TCR, TTBR0. All zero: leave the MMU off.
#[repr(C, align(64))]
pub(crate) struct SecondaryWords(UnsafeCell<[u64; 4]>);
// SAFETY: written by the boot CPU in `on` before it starts another CPU; afterwards only read (by boot's assembly).
unsafe impl Sync for SecondaryWords {}
pub(crate) static SECONDARY: SecondaryWords = SecondaryWords(UnsafeCell::new([0; 4]));

struct TablesCell(UnsafeCell<Tables>);
// SAFETY: written by the boot CPU in `on` while the MMU is off; afterwards only the table walker reads it.
unsafe impl Sync for TablesCell {}
static TABLES: TablesCell = TablesCell(UnsafeCell::new(Tables {
    level1: [0; 512],
    level2: [[0; 512]; LEVEL2],
}));

/// Whether this CPU runs with the MMU on.
pub fn is_on() -> bool {
    mrs!("sctlr_el1") & 1 != 0
}

fn fill(tables: &mut Tables, machine: &Machine<'_>) {
    for (i, entry) in tables.level1.iter_mut().enumerate() {
        *entry = (i as u64 * GIB) | DEVICE;
    }
    let mut used = 0;
    let inner = |r: &Range| {
        let end = r.base.saturating_add(r.size) / BLOCK * BLOCK;
        (r.base.next_multiple_of(BLOCK), end)
    };
    let outer = |r: &Range| {
        let end = r.base.saturating_add(r.size);
        (r.base / BLOCK * BLOCK, end.next_multiple_of(BLOCK))
    };
    let shared = machine.all_shared().iter().map(|s| outer(&s.range));
    for (first, end) in machine.memory().iter().map(inner).chain(shared) {
        let end = end.min(512 * GIB);
        let mut at = first;
        while at < end {
            let gib = (at / GIB) as usize;
            if at % GIB == 0 && end - at >= GIB {
                tables.level1[gib] = at | NORMAL;
                at += GIB;
                continue;
            }
            if tables.level1[gib] & 0b11 != VALID_TABLE {
                if used == LEVEL2 {
                    return; // more banks than tables: the rest stays device memory, which is slow but right
                }
                for (i, entry) in tables.level2[used].iter_mut().enumerate() {
                    *entry = (gib as u64 * GIB + i as u64 * BLOCK) | DEVICE;
                }
                tables.level1[gib] = (&raw const tables.level2[used]) as u64 | VALID_TABLE;
                used += 1;
            }
            let table = (tables.level1[gib] & !0xfff) as usize;
            let which = (table - (&raw const tables.level2) as usize) / 4096;
            tables.level2[which][(at % GIB / BLOCK) as usize] = at | NORMAL;
            at += BLOCK;
        }
    }
}

fn each_line(from: usize, to: usize, mut f: impl FnMut(usize)) {
    let line = 4usize << (mrs!("ctr_el0") >> 16 & 0xf);
    let mut at = from & !(line - 1);
    while at < to {
        f(at);
        at += line;
    }
}

/// Switches the MMU and the caches on. Call it on the boot CPU, once, before any other CPU is started.
pub fn on() {
    if is_on() {
        return;
    }
    // SAFETY: the MMU is off, so this is the boot CPU before any other was started, and no walker reads the tables.
    let tables = unsafe { &mut *TABLES.0.get() };
    fill(tables, boot::machine());
    let ttbr = (&raw const *tables) as u64;
    let parange = (mrs!("id_aa64mmfr0_el1") & 0xf).min(5);
    let tcr = TCR | parange << 32;
    // SAFETY: single writer, as above.
    unsafe { *SECONDARY.0.get() = [SCTLR, MAIR, tcr, ttbr] };
    // With the MMU off all our writes went to memory; what caches hold of the image is older (boot loader, or the
    // firmware before it) and must not come back.
    let (start, end) = boot::image();
    each_line(start, end, |line| {
        // SAFETY: drops cache lines that hold nothing newer than memory, as said above.
        unsafe { asm!("dc ivac, {}", in(reg) line, options(nostack, preserves_flags)) };
    });
    // SAFETY: the tables map the image (normal memory, executable) and every device at its own address, so the next
    // instruction and every pointer stay valid.
    unsafe {
        asm!(
            "dsb sy",
            "msr mair_el1, {mair}",
            "msr tcr_el1, {tcr}",
            "msr ttbr0_el1, {ttbr}",
            "ic iallu",
            "tlbi vmalle1",
            "dsb sy",
            "isb",
            "msr sctlr_el1, {sctlr}",
            "isb",
            mair = in(reg) MAIR,
            tcr = in(reg) tcr,
            ttbr = in(reg) ttbr,
            sctlr = in(reg) SCTLR,
            options(nostack)
        );
    }
}

/// Makes this image's file part visible to a CPU that starts with its MMU off: what it reads before it switches on
/// (its code and the words above) must be in memory.
pub(crate) fn publish() {
    if !is_on() {
        return;
    }
    let words = SECONDARY.0.get() as usize;
    let (start, end) = boot::loaded();
    for (from, to) in [(words, words + 32), (start, end)] {
        each_line(from, to, |line| {
            // SAFETY: cleaning a line changes no value.
            unsafe { asm!("dc cvac, {}", in(reg) line, options(nostack, preserves_flags)) };
        });
    }
}
