//! EL2's own map: identity, W^X. Text is read-only and executable, constants are read-only, all other RAM is writable
//! and never executable; a page under each CPU's stack is left out; devices are mapped one by one as they are used.
//!
//! Firmware's no-map reservations are not mapped at all, so EL2 cannot even speculate into them.

use super::table::{MapError, Table};
use super::{PAGE, frames};
use crate::arch::{self, Lock, image, mmu};
use core::ops::Range;
use drivers::mmio::Mmio;

const AF: u64 = 1 << 10;
const INNER: u64 = 3 << 8;
const AP_RES1: u64 = 1 << 6;
const READ_ONLY: u64 = 1 << 7;
const XN: u64 = 1 << 54;
const NORMAL: u64 = 1 << 2 | INNER | AF | AP_RES1;
const DEVICE: u64 = AF | AP_RES1 | XN;

static EL2: Lock<Option<Table>> = Lock::new(None);

/// Builds the map of `ram` (sorted, disjoint, page aligned or not), cutting `holes` out of it, and of the device tree
/// wherever it lies, and switches to it.
///
/// # Safety
/// `ram` is RAM; the image, its stack and everything borrowed from now on lie in it or in the image.
pub unsafe fn activate(
    ram: &[Range<usize>],
    holes: &[Range<usize>],
    tree: Range<usize>,
) -> Result<(), MapError> {
    let mut t = Table::new(0)?;
    let img = image::all();
    t.map(
        img.start,
        img.start,
        image::text().len(),
        NORMAL | READ_ONLY,
    )?;
    let ro = image::rodata();
    t.map(ro.start, ro.start, ro.len(), NORMAL | READ_ONLY | XN)?;
    let (data, guard) = (image::data(), image::boot_guard());
    t.map(data.start, data.start, guard - data.start, NORMAL | XN)?;
    t.map(
        guard + PAGE,
        guard + PAGE,
        data.end - guard - PAGE,
        NORMAL | XN,
    )?;
    for r in ram {
        map_around(
            &mut t,
            r.start.next_multiple_of(PAGE),
            r.end & !(PAGE - 1),
            &img,
            holes,
        )?;
    }
    // The device tree stays borrowed for good; firmware may have left it outside RAM or in a reserved piece of it.
    for page in (tree.start & !(PAGE - 1)..tree.end).step_by(PAGE) {
        if t.lookup(page).is_none() {
            t.map(page, page, PAGE, NORMAL | READ_ONLY | XN)?;
        }
    }
    let root = t.root() as u64;
    *EL2.lock() = Some(t);
    // SAFETY: the tables map the image as it runs now, the stack included.
    unsafe { mmu::activate(root) };
    Ok(())
}

/// Maps RAM from `start` to `end` except the image and `holes`.
fn map_around(
    t: &mut Table,
    start: usize,
    end: usize,
    img: &Range<usize>,
    holes: &[Range<usize>],
) -> Result<(), MapError> {
    let mut at = start;
    while at < end {
        let inside = core::iter::once(img)
            .chain(holes)
            .find(|h| h.start <= at && at < h.end);
        if let Some(h) = inside {
            at = h.end.next_multiple_of(PAGE);
            continue;
        }
        let stop = core::iter::once(img)
            .chain(holes)
            .map(|h| h.start & !(PAGE - 1))
            .filter(|s| *s > at)
            .min()
            .unwrap_or(end)
            .min(end);
        t.map(at, at, stop - at, NORMAL | XN)?;
        at = stop;
    }
    Ok(())
}

/// Maps a device's registers and hands out the only owner of them.
pub fn map_device(base: u64, len: u64) -> Result<Mmio, MapError> {
    let (base, len) = (usize::try_from(base), usize::try_from(len));
    let (Ok(base), Ok(len)) = (base, len) else {
        return Err(MapError::Range);
    };
    let end = base
        .checked_add(len)
        .and_then(|e| e.checked_next_multiple_of(PAGE))
        .ok_or(MapError::Range)?;
    let start = base & !(PAGE - 1);
    let mut el2 = EL2.lock();
    el2.as_mut()
        .ok_or(MapError::Range)?
        .map(start, start, end - start, DEVICE)?;
    arch::dsb_ish();
    arch::isb();
    // SAFETY: just mapped as device memory; a second call for the same page fails with Overlap, so it is unique.
    Ok(unsafe { Mmio::new(base, len) })
}

/// A stack of `pages` pages with an unmapped page below it; returns (guard page, top). Before `activate` only.
pub fn new_stack(pages: usize) -> Result<(usize, usize), MapError> {
    let base = frames::alloc((pages + 1) * PAGE, PAGE)
        .ok_or(MapError::NoMemory)?
        .leak();
    Ok((base, base + (pages + 1) * PAGE))
}

/// Pages EL2's own tables take.
pub fn table_pages() -> usize {
    EL2.lock().as_ref().map_or(0, Table::pages)
}
