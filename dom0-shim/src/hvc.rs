//! The hypervisor call instruction: the only inline assembly of the shim.

use core::arch::asm;
use tarn_abi::Regs;
use tarn_dom0_shim::Hyp;

/// PSCI SYSTEM_RESET (Arm DEN0022, 5.1.12) by dom0: its domain starts anew; the machine runs on.
const SYSTEM_RESET: u64 = 0x8400_0009;

/// Tarn, below us.
#[derive(Debug)]
pub struct Hvc;

impl Hyp for Hvc {
    fn call(&mut self, regs: Regs) -> Regs {
        let mut x = regs.0;
        // SAFETY: an SMCCC call changes x0-x17 at most, all declared here; Tarn's calls take and give values only, so
        // no memory of ours is read or written by it.
        unsafe {
            asm!("hvc #0", inout("x0") x[0], inout("x1") x[1], inout("x2") x[2], inout("x3") x[3],
                inout("x4") x[4], inout("x5") x[5], inout("x6") x[6], inout("x7") x[7],
                out("x8") _, out("x9") _, out("x10") _, out("x11") _, out("x12") _, out("x13") _, out("x14") _,
                out("x15") _, out("x16") _, out("x17") _, options(nostack));
        }
        Regs(x)
    }
}

/// Starts dom0 anew (PSCI SYSTEM_RESET): a prompt that has failed is followed by a fresh one.
pub fn start_again() -> ! {
    loop {
        Hvc.call(Regs([SYSTEM_RESET, 0, 0, 0, 0, 0, 0, 0]));
    }
}
