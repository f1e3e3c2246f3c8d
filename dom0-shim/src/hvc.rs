//! What needs instructions of its own: the hypervisor call, and sleeping for a while. The only inline assembly of the
//! shim.
//!
//! Interrupts stay masked for ever. To sleep, the virtual timer is set and the CPU waits in WFI; what ended the wait is
//! taken from the interrupt controller by hand and the timer is off again, so nothing is pending when dom0 blocks later.

use core::arch::asm;
use tarn_abi::call::{Request, system};
use tarn_abi::{Regs, Reply, Span};
use tarn_dom0_shim::Hyp;

/// PSCI SYSTEM_RESET (Arm DEN0022, 5.1.12) by dom0: its domain starts anew; the machine runs on.
const SYSTEM_RESET: u64 = 0x8400_0009;
/// Where a domain finds its interrupt controller: board::guest::layout, and the registers by GICv2/GICv3 (Arm IHI 0048,
/// IHI 0069).
mod gic {
    pub const GICD_CTLR: usize = 0x0300_1000;
    pub const GICD_ISENABLER0: usize = GICD_CTLR + 0x100;
    pub const GICC_CTLR: usize = 0x0300_2000;
    pub const GICC_PMR: usize = GICC_CTLR + 0x4;
    pub const GICC_IAR: usize = GICC_CTLR + 0xc;
    pub const GICC_EOIR: usize = GICC_CTLR + 0x10;
    pub const GICR_WAKER: usize = 0x0302_0014;
    pub const GICR_IGROUPR0: usize = 0x0303_0080;
    pub const GICR_ISENABLER0: usize = 0x0303_0100;
    /// The virtual timer's interrupt.
    pub const TIMER: u32 = 27;
    /// Interrupt numbers from here on mean that there is none.
    pub const NONE: u32 = 1020;
}

/// Tarn, below us.
#[derive(Debug, Default)]
pub struct Hvc {
    /// Version of the interrupt controller once it has been set up, else 0.
    gic: u32,
}

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

    fn doze(&mut self, time: Span) {
        if self.gic == 0 {
            let machine = system::Machine::from_regs(&self.call(system::Info {}.encode()));
            self.gic = machine.map_or(2, |m| m.gic);
            self.set_up();
        }
        let (hz, now): (u64, u64);
        // SAFETY: reading the counter and setting this vCPU's own timer, whose interrupt is masked, touches no memory.
        unsafe {
            asm!("mrs {}, cntfrq_el0", "isb", "mrs {}, cntvct_el0", out(reg) hz, out(reg) now, options(nostack));
            let ticks = (u128::from(time.0) * u128::from(hz) / 1_000_000_000) as u64;
            let at = now.saturating_add(ticks.max(1));
            asm!("msr cntv_cval_el0, {}", "msr cntv_ctl_el0, {}", "isb", "wfi", "msr cntv_ctl_el0, xzr", "isb",
                in(reg) at, in(reg) 1u64, options(nostack));
        }
        // The timer's is the only one enabled; more than one at a time there cannot be.
        for _ in 0..4 {
            if !self.take() {
                break;
            }
        }
    }
}

fn write(at: usize, value: u32) {
    // SAFETY: `at` is a register of this domain's interrupt controller (`gic`); the MMU is off, so it is a device access.
    unsafe { asm!("str {:w}, [{}]", "dsb sy", in(reg) value, in(reg) at, options(nostack)) };
}

fn read(at: usize) -> u32 {
    let value: u32;
    // SAFETY: as in `write`.
    unsafe { asm!("ldr {:w}, [{}]", "dsb sy", out(reg) value, in(reg) at, options(nostack)) };
    value
}

impl Hvc {
    /// Lets the timer's interrupt through to this CPU, so that it ends a WFI.
    fn set_up(&self) {
        if self.gic == 2 {
            write(gic::GICD_CTLR, 1);
            write(gic::GICD_ISENABLER0, 1 << gic::TIMER);
            write(gic::GICC_PMR, 0xff);
            write(gic::GICC_CTLR, 1);
            return;
        }
        // Affinity routing and group 1.
        write(gic::GICD_CTLR, 0x12);
        write(gic::GICR_WAKER, 0);
        write(gic::GICR_IGROUPR0, u32::MAX);
        write(gic::GICR_ISENABLER0, 1 << gic::TIMER);
        // SAFETY: this vCPU's own interface (ICC_SRE, ICC_PMR, ICC_IGRPEN1); interrupts stay masked at the CPU.
        unsafe {
            asm!("mrs {x}, s3_0_c12_c12_5", "orr {x}, {x}, #1", "msr s3_0_c12_c12_5, {x}", "isb",
                "mov {x}, #0xff", "msr s3_0_c4_c6_0, {x}", "mov {x}, #1", "msr s3_0_c12_c12_7, {x}", "isb",
                x = out(reg) _, options(nostack));
        }
    }

    /// Takes and ends a pending interrupt; whether there was one.
    fn take(&self) -> bool {
        let id;
        if self.gic == 2 {
            id = read(gic::GICC_IAR);
            if id & 0x3ff < gic::NONE {
                write(gic::GICC_EOIR, id);
            }
        } else {
            let x: u64;
            // SAFETY: acknowledging (ICC_IAR1) masks nothing that is not ended right below.
            unsafe { asm!("mrs {}, s3_0_c12_c12_0", "dsb sy", out(reg) x, options(nostack)) };
            id = x as u32;
            if id & 0xff_ffff < gic::NONE {
                // SAFETY: ends (ICC_EOIR1) what was acknowledged.
                unsafe { asm!("msr s3_0_c12_c12_1, {}", "isb", in(reg) x, options(nostack)) };
            }
        }
        id & 0xff_ffff < gic::NONE
    }
}

/// Starts dom0 anew (PSCI SYSTEM_RESET): a prompt that has failed is followed by a fresh one.
pub fn start_again() -> ! {
    loop {
        Hvc::default().call(Regs([SYSTEM_RESET, 0, 0, 0, 0, 0, 0, 0]));
    }
}
