//! System instructions that are chosen at run time: a test may sweep encodings that have no name.
//!
//! The instruction is written into a small buffer of the image and called; a fault is caught and returned. Only for
//! the boot CPU, and only for tests: a write to a translation register would end the program.
use core::arch::asm;
use core::cell::UnsafeCell;

use crate::trap::{self, Fault};

/// An encoding as MRS and MSR (register) have it: op0 (1 to 3), op1, CRn, CRm, op2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// 1 (instructions), 2 or 3 (registers).
    pub op0: u32,
    /// 0 to 7.
    pub op1: u32,
    /// 0 to 15.
    pub crn: u32,
    /// 0 to 15.
    pub crm: u32,
    /// 0 to 7.
    pub op2: u32,
}

#[repr(C, align(64))]
struct Buffer(UnsafeCell<[u32; 4]>);
// SAFETY: only `run` touches it, and by contract of this module only the boot CPU calls that.
unsafe impl Sync for Buffer {}
static BUFFER: Buffer = Buffer(UnsafeCell::new([0; 4]));

const RET: u32 = 0xd65f_03c0;
const ISB: u32 = 0xd503_3fdf;

impl Encoding {
    /// The `n`th of all 32768 register encodings (op0 2 and 3), or of the 16384 of op0 1 behind them.
    pub const fn nth(n: u32) -> Encoding {
        let op0 = match n >> 14 & 3 {
            0 => 2,
            1 => 3,
            _ => 1,
        };
        Encoding {
            op0,
            op1: n >> 11 & 7,
            crn: n >> 7 & 15,
            crm: n >> 3 & 15,
            op2: n & 7,
        }
    }

    const fn bits(self) -> u32 {
        self.op0 << 19 | self.op1 << 16 | self.crn << 12 | self.crm << 8 | self.op2 << 5
    }

    /// Reads the register.
    ///
    /// # Errors
    /// The exception that the read took.
    pub fn read(self) -> Result<u64, Fault> {
        run(0xd520_0000 | self.bits(), 0)
    }

    /// Writes the register, or executes the instruction with `value` as its argument.
    ///
    /// # Errors
    /// The exception that the write took.
    pub fn write(self, value: u64) -> Result<(), Fault> {
        run(0xd500_0000 | self.bits(), value).map(|_| ())
    }
}

/// Address of the instruction that the last call executed.
pub fn address() -> u64 {
    BUFFER.0.get() as u64
}

/// Executes one instruction word with `x0` = `value`; returns x0.
///
/// # Errors
/// The first exception that it took.
pub fn run(instruction: u32, value: u64) -> Result<u64, Fault> {
    let at = BUFFER.0.get();
    // SAFETY: the only user, on the only CPU (see the module's head); it is not being executed now.
    unsafe { *at = [instruction, ISB, RET, RET] };
    // SAFETY: makes the words just written visible to instruction fetch; changes no value.
    unsafe {
        asm!("dc cvau, {a}", "dsb ish", "ic ivau, {a}", "dsb ish", "isb", a = in(reg) at, options(nostack));
    }
    let mut x0 = value;
    let fault = trap::catch(|| {
        // SAFETY: the buffer holds a complete function that uses only x0; what its one instruction may do to this
        // CPU is the caller's to choose, as the module's head says.
        unsafe { asm!("blr {f}", f = in(reg) at, inout("x0") x0, clobber_abi("C")) };
    });
    match fault {
        Some(fault) => Err(fault),
        None => Ok(x0),
    }
}
