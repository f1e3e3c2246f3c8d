//! The end: what EL2 prints when it meets a bug of its own, and how it stops.
//!
//! No guest, tree or shell line leads here; if one does, that is the bug. Prints registers, the syndrome in words and
//! the chain of return addresses as offsets into the image (`llvm-symbolizer -e target/images/tarn.elf` turns them into lines), stops the
//! other CPUs, then halts or resets as the boot option `panic=halt|reset` says. Takes no lock for ever, allocates
//! nothing, and a fault while printing ends at once.

use crate::arch::{self, GuestFrame, esr, image, sysreg};
use crate::{console, percpu, power};
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Reset instead of halting.
pub static RESET: AtomicBool = AtomicBool::new(false);
static DEPTH: AtomicU32 = AtomicU32::new(0);

struct Out;

impl Write for Out {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for part in s.split_inclusive('\n') {
            match part.strip_suffix('\n') {
                Some(text) => {
                    console::panic_write(text);
                    console::panic_write("\r\n");
                }
                None => console::panic_write(part),
            }
        }
        Ok(())
    }
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    begin();
    let _ = writeln!(Out, "\nPANIC: {}", info.message());
    if let Some(at) = info.location() {
        let _ = writeln!(Out, "  at {}:{}", at.file(), at.line());
    }
    who();
    let mut fp: usize;
    // SAFETY: reads the frame pointer register.
    unsafe {
        core::arch::asm!("mov {}, x29", out(reg) fp, options(nomem, nostack, preserves_flags))
    };
    backtrace(fp, 0);
    end()
}

/// An exception taken at EL2 itself. `kind` is the number of the vector.
#[unsafe(no_mangle)]
extern "C" fn el2_fault(frame: &GuestFrame, kind: u64) -> ! {
    begin();
    let names = ["synchronous", "IRQ", "FIQ", "SError"];
    let syndrome = sysreg::esr_el2();
    let _ = writeln!(
        Out,
        "\nPANIC: {} exception at EL2",
        names[(kind & 3) as usize]
    );
    let _ = writeln!(
        Out,
        "  ESR_EL2 {syndrome:#010x} ({})  FAR_EL2 {:#x}",
        esr::describe(syndrome),
        sysreg::far_el2()
    );
    let base = image::all().start as u64;
    let _ = writeln!(
        Out,
        "  PC {:#x} = image+{:#x}  SP {:#x}  PSTATE {:#x}",
        frame.elr,
        frame.elr.wrapping_sub(base),
        frame.sp,
        frame.spsr
    );
    if let Some(cpu) = percpu::this() {
        let guard = cpu.stack_bottom..cpu.stack_top;
        if !guard.contains(&frame.sp) {
            let _ = writeln!(
                Out,
                "  SP is outside this CPU's stack: it overflowed into its guard page"
            );
        }
    }
    for (i, row) in frame.x.chunks(4).enumerate() {
        let _ = write!(Out, "  x{:<2}", i * 4);
        for v in row {
            let _ = write!(Out, " {v:016x}");
        }
        let _ = writeln!(Out);
    }
    who();
    backtrace(frame.x[29] as usize, frame.elr as usize);
    end()
}

fn begin() {
    if DEPTH.fetch_add(1, Ordering::SeqCst) > 0 {
        // Another CPU is printing, or printing itself failed.
        arch::halt();
    }
    crate::irq::stop_others();
}

fn who() {
    match percpu::this() {
        Some(cpu) => {
            let _ = writeln!(
                Out,
                "  on cpu{} (MPIDR {:#x}), stage 2 of VMID {}",
                cpu.id,
                cpu.mpidr,
                sysreg::vttbr_el2() >> 48
            );
        }
        None => {
            let _ = writeln!(Out, "  on the boot CPU, before its block was made");
        }
    }
}

/// Prints the chain of frame records from `fp`, as far as it stays inside a stack.
fn backtrace(fp: usize, pc: usize) {
    let base = image::all().start;
    let text = image::text();
    let _ = writeln!(
        Out,
        "  image at {base:#x}; call chain (llvm-symbolizer -e tarn.elf OFFSET...):"
    );
    if text.contains(&pc) {
        let _ = writeln!(Out, "    +{:#x}", pc - base);
    }
    let (low, high) = percpu::this().map_or((image::boot_guard(), image::boot_stack_top()), |c| {
        (c.stack_bottom as usize, c.stack_top as usize)
    });
    let mut fp = fp;
    for _ in 0..32 {
        if fp & 15 != 0 || fp < low || fp + 16 > high {
            break;
        }
        // SAFETY: inside this CPU's own mapped stack, aligned.
        let (next, lr) = unsafe { (*(fp as *const usize), *((fp + 8) as *const usize)) };
        if !text.contains(&lr) {
            break;
        }
        let _ = writeln!(Out, "    +{:#x}", lr - base);
        if next <= fp {
            break;
        }
        fp = next;
    }
}

fn end() -> ! {
    if RESET.load(Ordering::Relaxed) {
        let _ = writeln!(Out, "  resetting the machine");
        power::reset();
    }
    let _ = writeln!(Out, "  machine stopped");
    arch::halt()
}
