//! The spin-table way to start a CPU (Linux Documentation/arch/arm64/booting.rst; Raspberry Pi): it waits in `wfe` with
//! caches off and polls 8 bytes of memory for the address to jump to.

use crate::arch;
use core::fmt;

/// The release address is not one a CPU can poll.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadRelease(pub u64);

impl fmt::Display for BadRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cpu-release-addr {:#x}: zero or not a multiple of 8",
            self.0
        )
    }
}

impl core::error::Error for BadRelease {}

/// Releases the CPU that polls `release` (its `cpu-release-addr`, identity-mapped) to `entry`, little-endian. It enters
/// at EL2 with the MMU off and x0 = 0, so it must find out by its MPIDR who it is.
///
/// # Safety
///
/// The 8 bytes at `release` are mapped writable Normal memory that no Rust object lies in, and `entry` is code for that
/// CPU that keeps to Rust's rules about what other CPUs use.
pub unsafe fn start(release: u64, entry: u64) -> Result<(), BadRelease> {
    let at = release as usize;
    if at == 0 || at as u64 != release || !at.is_multiple_of(8) {
        return Err(BadRelease(release));
    }
    // SAFETY: the caller promises mapped writable memory that Rust does not use; alignment was checked.
    unsafe { arch::store64(at, entry.to_le()) };
    // The store is in the cache before that line is cleaned.
    arch::dsb_sy();
    // SAFETY: the caller promises that it is mapped. The CPU reads past the caches, so memory itself must have it.
    unsafe { arch::dc_civac(at) };
    // The line has reached memory before the CPU is woken to look.
    arch::dsb_sy();
    arch::sev();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Memory;

    #[test]
    fn writes_cleans_then_wakes() {
        let m = Memory::new(16);
        arch::journal();
        let at = m.base() as u64 + 8;
        // SAFETY: memory of this test; nothing polls it.
        assert_eq!(unsafe { start(at, 0x1_0008_0000) }, Ok(()));
        assert_eq!((m.get(8), m.get(12), m.get(0)), (0x8_0000, 1, 0));
        assert_eq!(
            arch::journal(),
            [("dsb_sy", 0), ("dc_civac", at), ("dsb_sy", 0), ("sev", 0)]
        );
        for bad in [0, at + 4] {
            // SAFETY: refused before anything is touched.
            assert_eq!(unsafe { start(bad, 0) }, Err(BadRelease(bad)));
        }
    }
}
