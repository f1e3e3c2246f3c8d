//! Where the start code enters Rust, and what happens when something goes wrong there.

use crate::hvc::{self, Hvc};
use core::arch::global_asm;
use core::panic::PanicInfo;
use tarn_dom0_shim::{Session, Shell};

global_asm!(include_str!("start.s"));

/// From start.s: stack set, bss zero, relocated.
// SAFETY: no other symbol of this image has that name.
#[unsafe(no_mangle)]
extern "C" fn shim_main() -> ! {
    let why = Shell::new(&mut Hvc::default()).run();
    Session::new(&mut Hvc::default()).fail(format_args!(
        "dom0 starts again: the console cannot be read: {why}"
    ));
    hvc::start_again()
}

/// From the vectors in start.s, on a fresh stack; another exception now would only come here again.
// SAFETY: no other symbol of this image has that name.
#[unsafe(no_mangle)]
extern "C" fn shim_exception(vector: u64, esr: u64, elr: u64, far: u64, lr: u64, base: u64) -> ! {
    let kind = ["synchronous", "IRQ", "FIQ", "SError"][(vector % 4) as usize];
    let mut hvc = Hvc::default();
    let mut s = Session::new(&mut hvc);
    s.fail(format_args!(
        "dom0 starts again: {kind} exception, vector {vector}, ESR {esr:#x}, ELR {elr:#x} (image + {:#x}), FAR {far:#x}, LR image + {:#x}",
        elr.wrapping_sub(base),
        lr.wrapping_sub(base)
    ));
    s.flush();
    hvc::start_again()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let mut hvc = Hvc::default();
    let mut s = Session::new(&mut hvc);
    s.fail(format_args!("dom0 starts again: {info}"));
    s.flush();
    hvc::start_again()
}
