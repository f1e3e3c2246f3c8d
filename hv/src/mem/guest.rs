//! The only reads and writes of guest memory by EL2: bounded copies, by guest-physical address.
//!
//! Guest memory may change under our hands at any time, so it is never borrowed, only copied, byte-wise volatile in
//! meaning: what is read is checked after the copy, never before.

use super::stage2::Stage2;

/// The guest-physical range is not RAM of this guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRam;

/// Runs `f(host address, length)` over the contiguous pieces of `len` bytes at `ipa`.
fn pieces(
    s2: &Stage2,
    ipa: u64,
    len: usize,
    mut f: impl FnMut(usize, usize),
) -> Result<(), NotRam> {
    let (mut ipa, mut left) = (ipa, len);
    while left > 0 {
        let (at, room) = s2.ram_at(ipa).ok_or(NotRam)?;
        let n = room.min(left);
        f(at, n);
        ipa = ipa.checked_add(n as u64).ok_or(NotRam)?;
        left -= n;
    }
    Ok(())
}

/// Copies `data` into the guest at `ipa`, visible to a guest that runs without caches.
pub fn write(s2: &Stage2, ipa: u64, data: &[u8]) -> Result<(), NotRam> {
    let mut done = 0;
    pieces(s2, ipa, data.len(), |at, n| {
        // SAFETY: `at..at+n` is RAM owned by this guest's Stage2, mapped at EL2, and no Rust reference to it exists
        // anywhere; `data` is EL2's own memory.
        unsafe { core::ptr::copy_nonoverlapping(data[done..].as_ptr(), at as *mut u8, n) };
        crate::arch::clean_to_memory(at, n);
        done += n;
    })
}

/// Copies `len` bytes of boot module memory at physical `from` into the guest at `ipa`.
///
/// # Safety
/// `from..from+len` is mapped RAM that belongs to a boot module, i.e. to nobody who writes.
pub unsafe fn write_from_module(
    s2: &Stage2,
    ipa: u64,
    from: usize,
    len: usize,
) -> Result<(), NotRam> {
    let mut done = 0;
    pieces(s2, ipa, len, |at, n| {
        // SAFETY: source by the caller's promise, destination as in `write`; boot modules are reserved and so never
        // part of a guest's RAM.
        unsafe { crate::arch::copy_to_memory(from + done, at, n) };
        done += n;
    })
}

/// Zeroes `len` bytes of the guest at `ipa`.
pub fn zero(s2: &Stage2, ipa: u64, len: usize) -> Result<(), NotRam> {
    pieces(s2, ipa, len, |at, n| {
        // SAFETY: RAM owned by this guest's Stage2; see `write`.
        unsafe { crate::arch::zero_to_memory(at, n) };
    })
}
