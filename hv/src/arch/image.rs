//! The linker's symbols as typed functions: where the parts of the image lie.
//!
//! Nothing here reads the memory; it only names it.

use core::ops::Range;

macro_rules! symbols {
    ($($name:ident)*) => {
        unsafe extern "C" {
            $(static $name: u8;)*
        }
    };
}

symbols! {
    __image_start __text_end __rodata_end __image_end __boot_guard __boot_stack_top __boot_emergency_top
    __heap_start __heap_end __early_tables
}

macro_rules! addr {
    ($s:ident) => {
        // The symbol's address is a number; the byte behind it is never read.
        &raw const $s as usize
    };
}

/// The whole image with bss and boot stack.
pub fn all() -> Range<usize> {
    addr!(__image_start)..addr!(__image_end)
}

/// Executable part.
pub fn text() -> Range<usize> {
    addr!(__image_start)..addr!(__text_end)
}

/// Constant part.
pub fn rodata() -> Range<usize> {
    addr!(__text_end)..addr!(__rodata_end)
}

/// Written part, stacks included.
pub fn data() -> Range<usize> {
    addr!(__rodata_end)..addr!(__image_end)
}

/// The page under the boot CPU's stack.
pub fn boot_guard() -> usize {
    addr!(__boot_guard)
}

/// Top of the boot CPU's stack.
pub fn boot_stack_top() -> usize {
    addr!(__boot_stack_top)
}

/// Top of the boot CPU's emergency stack.
pub fn boot_emergency_top() -> usize {
    addr!(__boot_emergency_top)
}

/// Memory for the first allocations, not zeroed.
pub fn first_heap() -> Range<usize> {
    addr!(__heap_start)..addr!(__heap_end)
}

/// The three early translation tables of boot.s: level 0, level 1 of the image, level 1 of the device tree.
pub fn early_tables() -> usize {
    addr!(__early_tables)
}

/// Bytes from the first one on that the header asks a loader to place or keep free: more than the image itself in a
/// system image, whose payload follows.
pub fn header_size() -> u64 {
    // SAFETY: the image's own header, 64 bytes at its start, mapped readable as long as the image runs.
    unsafe { ((addr!(__image_start) + 16) as *const u64).read() }
}
