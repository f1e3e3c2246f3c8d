//! The hypervisor call instruction: the only inline assembly of the shim.

use core::arch::asm;
use tarn_abi::Regs;
use tarn_dom0_shim::Hyp;

/// PSCI CPU_OFF (Arm DEN0022, 5.1.3): this vCPU stops for good; the machine runs on.
const CPU_OFF: u64 = 0x8400_0002;

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

/// Ends dom0's only vCPU.
pub fn cpu_off() -> ! {
    loop {
        Hvc.call(Regs([CPU_OFF, 0, 0, 0, 0, 0, 0, 0]));
    }
}
