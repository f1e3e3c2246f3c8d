//! Device registers: one plain `ldr` or `str` for each access, of the width the caller names.
//!
//! Inline assembly rather than volatile pointers, because a hypervisor that emulates the device needs the simple
//! form of the instruction (ESR_EL2.ISV = 1). A [`Window`] checks every offset; it never reads past its end.
use core::arch::asm;

/// A range of device registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    base: usize,
    size: usize,
}

macro_rules! access {
    ($read:ident, $write:ident, $ty:ty, $ldr:literal, $str:literal) => {
        /// Reads the register at `offset` with this width. A fault caught by `trap::catch` leaves all ones.
        ///
        /// # Panics
        /// When the access does not lie in the window.
        pub fn $read(&self, offset: usize) -> $ty {
            let address = self.at(offset, size_of::<$ty>());
            let mut value: u64 = u64::MAX;
            // SAFETY: the address lies in a device window, which holds no Rust object.
            unsafe { asm!($ldr, v = inout(reg) value, a = in(reg) address, options(nostack, preserves_flags)) };
            value as $ty
        }

        /// Writes the register at `offset` with this width.
        ///
        /// # Panics
        /// When the access does not lie in the window.
        pub fn $write(&self, offset: usize, value: $ty) {
            let address = self.at(offset, size_of::<$ty>());
            // SAFETY: the address lies in a device window, which holds no Rust object.
            unsafe { asm!($str, v = in(reg) u64::from(value), a = in(reg) address, options(nostack, preserves_flags)) };
        }
    };
}

impl Window {
    /// # Safety
    /// `base..base + size` must be device memory, or addresses where nothing is: never memory of the image.
    pub const unsafe fn new(base: usize, size: usize) -> Window {
        Window { base, size }
    }

    /// Address of the first register.
    pub const fn base(&self) -> usize {
        self.base
    }

    /// Bytes in the window.
    pub const fn size(&self) -> usize {
        self.size
    }

    fn at(&self, offset: usize, width: usize) -> usize {
        assert!(
            offset
                .checked_add(width)
                .is_some_and(|end| end <= self.size),
            "offset {offset:#x} outside the window"
        );
        self.base + offset
    }

    access!(read8, write8, u8, "ldrb {v:w}, [{a}]", "strb {v:w}, [{a}]");
    access!(
        read16,
        write16,
        u16,
        "ldrh {v:w}, [{a}]",
        "strh {v:w}, [{a}]"
    );
    access!(read32, write32, u32, "ldr {v:w}, [{a}]", "str {v:w}, [{a}]");
    access!(read64, write64, u64, "ldr {v:x}, [{a}]", "str {v:x}, [{a}]");
}
