//! Ownership of device registers: `Mmio` owns a window, `Regs<T>` is that window seen as registers laid out like `T`.
//!
//! An `Mmio` is made once per window by whoever maps devices (unsafe, the only promise in this crate that comes from
//! outside); it is neither `Copy` nor `Clone`, so a driver that consumed it is the only one with those registers.
//! Every access is one plain load or store of the register's width, at an offset that is checked against the size of
//! `T`: for a named register at compile time, for an indexed one by one compare. Never hand out a reference to a
//! register: the compiler may read through references when it likes.

use crate::arch;
use core::{fmt, marker::PhantomData, ptr::NonNull};
use safe_mmio::UniqueMmioPointer;

/// A window of device registers, owned.
#[derive(Debug)]
pub struct Mmio {
    base: usize,
    len: usize,
}

/// Why a window cannot be used as the registers of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MmioError {
    /// The window at `base` has `len` bytes, the registers need `need`.
    TooSmall {
        /// Address of the window.
        base: usize,
        /// Its length in bytes.
        len: usize,
        /// What the device's registers take, in bytes.
        need: usize,
    },
    /// The address is zero or not aligned as the registers are.
    Misaligned {
        /// Address of the window.
        base: usize,
    },
}

impl fmt::Display for MmioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MmioError::TooSmall { base, len, need } => {
                write!(f, "registers at {base:#x}: {len:#x} bytes, need {need:#x}")
            }
            MmioError::Misaligned { base } => write!(f, "registers at {base:#x}: misaligned"),
        }
    }
}

impl core::error::Error for MmioError {}

impl Mmio {
    /// Takes ownership of the `len` bytes at `base`.
    ///
    /// # Safety
    ///
    /// For the life of the program these bytes must be mapped at `base`, readable and writable, as Device memory that
    /// holds the registers of one device (or, for a test, be memory nothing else uses), on every CPU that uses the
    /// driver; and no second `Mmio` may cover any of them.
    pub const unsafe fn new(base: usize, len: usize) -> Mmio {
        Mmio { base, len }
    }

    /// Address of the first byte.
    pub const fn base(&self) -> usize {
        self.base
    }

    /// Length in bytes.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether the window has no bytes at all.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn check<T>(&self, offset: usize) -> Result<usize, MmioError> {
        let need = size_of::<T>();
        let (base, len) = (self.base, self.len);
        if offset.checked_add(need).is_none_or(|end| end > len) || base.checked_add(len).is_none() {
            return Err(MmioError::TooSmall { base, len, need });
        }
        let at = base + offset;
        if at == 0 || !at.is_multiple_of(align_of::<T>().max(8)) {
            return Err(MmioError::Misaligned { base: at });
        }
        Ok(at)
    }

    /// The window as the registers `T`, for a driver that shares them between CPUs.
    pub(crate) fn regs<T>(self) -> Result<Regs<T>, MmioError> {
        self.frame(0)
    }

    /// The registers `T` at `offset`, one of several blocks of this window. The caller sees to it that a block with
    /// one user is handed out once.
    pub(crate) fn frame<T>(&self, offset: usize) -> Result<Regs<T>, MmioError> {
        Ok(Regs {
            base: self.check::<T>(offset)?,
            layout: PhantomData,
        })
    }

    /// The window as the registers `T`, for a driver of the arm-gic crate.
    pub(crate) fn unique<T>(self) -> Result<UniqueMmioPointer<'static, T>, MmioError> {
        let at = self.check::<T>(0)?;
        let Some(at) = NonNull::new(core::ptr::with_exposed_provenance_mut(at)) else {
            return Err(MmioError::Misaligned { base: at });
        };
        // SAFETY: who made this `Mmio` promised mapped registers without another owner for the life of the program;
        // size and alignment were checked above; `self` is consumed, so no second pointer can be made from it.
        Ok(unsafe { UniqueMmioPointer::new(at) })
    }
}

/// Registers laid out as `T`, shared: any CPU may use them, the driver says which registers allow that.
pub(crate) struct Regs<T> {
    base: usize,
    layout: PhantomData<fn() -> T>,
}

/// A width that registers come in.
pub(crate) trait Word: Copy {
    /// # Safety
    ///
    /// `at` lies in an owned `Mmio` and is aligned to the width.
    unsafe fn load(at: usize) -> Self;
    /// # Safety
    ///
    /// `at` lies in an owned `Mmio` and is aligned to the width.
    unsafe fn store(at: usize, value: Self);
}

macro_rules! word {
    ($t:ty, $load:ident, $store:ident) => {
        impl Word for $t {
            #[inline(always)]
            unsafe fn load(at: usize) -> Self {
                // SAFETY: the caller's promise is the callee's.
                unsafe { arch::$load(at) }
            }
            #[inline(always)]
            unsafe fn store(at: usize, value: Self) {
                // SAFETY: the caller's promise is the callee's.
                unsafe { arch::$store(at, value) }
            }
        }
    };
}
word!(u8, load8, store8);
word!(u32, load32, store32);
word!(u64, load64, store64);

impl<T> Regs<T> {
    #[inline(always)]
    fn at<W: Word>(&self, offset: usize) -> usize {
        assert!(offset <= size_of::<T>() - size_of::<W>() && offset.is_multiple_of(size_of::<W>()));
        self.base + offset
    }

    /// Reads the register at `offset` from the start of `T`.
    #[inline(always)]
    pub(crate) fn read<W: Word>(&self, offset: usize) -> W {
        // SAFETY: `at` asserts that the register lies within `T`, which `Mmio::check` found within an owned window,
        // and that it is aligned.
        unsafe { W::load(self.at::<W>(offset)) }
    }

    /// Writes the register at `offset` from the start of `T`.
    #[inline(always)]
    pub(crate) fn write<W: Word>(&self, offset: usize, value: W) {
        // SAFETY: as for `read`; a device register is not memory that Rust knows, so a store into it aliases nothing.
        unsafe { W::store(self.at::<W>(offset), value) }
    }
}

/// `get!(regs, T, field)` or `get!(regs, T, field, i)`: a 32-bit register by its name in the layout `T`.
macro_rules! get {
    ($regs:expr, $t:ty, $($field:ident).+) => {
        $regs.read::<u32>(const { core::mem::offset_of!($t, $($field).+) })
    };
    ($regs:expr, $t:ty, $($field:ident).+, $i:expr) => {
        $regs.read::<u32>(const { core::mem::offset_of!($t, $($field).+) } + 4 * $i)
    };
}

/// `put!(regs, T, field => value)` or `put!(regs, T, field, i => value)`: the same for writing.
macro_rules! put {
    ($regs:expr, $t:ty, $($field:ident).+ => $v:expr) => {
        $regs.write::<u32>(const { core::mem::offset_of!($t, $($field).+) }, $v)
    };
    ($regs:expr, $t:ty, $($field:ident).+, $i:expr => $v:expr) => {
        $regs.write::<u32>(const { core::mem::offset_of!($t, $($field).+) } + 4 * $i, $v)
    };
}
pub(crate) use {get, put};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Memory;

    #[repr(C)]
    struct Layout {
        a: u32,
        b: [u32; 3],
    }

    #[test]
    fn windows_are_checked() {
        let m = Memory::new(16);
        assert!(m.mmio().regs::<Layout>().is_ok());
        assert_eq!(
            m.window(0, 8).regs::<Layout>().err(),
            Some(MmioError::TooSmall {
                base: m.base(),
                len: 8,
                need: 16
            })
        );
        assert!(matches!(
            m.window(4, 12).regs::<u32>(),
            Err(MmioError::Misaligned { .. })
        ));
        assert!(matches!(
            m.mmio().frame::<Layout>(8),
            Err(MmioError::TooSmall { .. })
        ));
        assert!(matches!(
            m.mmio().frame::<Layout>(usize::MAX),
            Err(MmioError::TooSmall { .. })
        ));
    }

    #[test]
    fn registers_by_name() {
        let m = Memory::new(16);
        let r = m.mmio().regs::<Layout>().unwrap();
        put!(r, Layout, a => 1);
        put!(r, Layout, b, 2 => 3);
        assert_eq!((get!(r, Layout, a), get!(r, Layout, b, 2)), (1, 3));
        assert_eq!((m.get(0), m.get(12)), (1, 3));
    }

    #[test]
    #[should_panic]
    fn beyond_the_layout() {
        let m = Memory::new(32);
        let r = m.mmio().regs::<Layout>().unwrap();
        let i = core::hint::black_box(3);
        put!(r, Layout, b, i => 1);
    }
}
