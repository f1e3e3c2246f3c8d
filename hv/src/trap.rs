//! Every exit from a guest arrives here: syndrome to handler, handler's decision to `run::leave`.
//!
//! The three `extern "C"` functions are called by vectors.s and are the only places that lend out a CPU's private half.
//! Handlers live by subject: abort.rs (memory), sysreg.rs (registers), hypercall/ (HVC, SMC), irq.rs. No exit can panic
//! on anything a guest chose: it ends in a value, an injected exception or the domain's crash.

use crate::arch::{GuestFrame, esr, sysreg as regs};
use crate::counters::Kind;
use crate::domain::{Crash, life};
use crate::percpu::{Cpu, CpuLocal};
use crate::run::{self, Outcome};
use crate::vcpu::Loaded;
use crate::{abort, fast, hypercall, inject, irq, sysreg};

#[unsafe(no_mangle)]
extern "C" fn guest_sync(frame: &mut GuestFrame, cpu: &'static Cpu) {
    // SAFETY: one entry at a time per CPU (EL2 does not nest), and this is its only borrow.
    let local = unsafe { cpu.local() };
    let syndrome = regs::esr_el2();
    if let Some(l) = &local.loaded
        && fast::sync(syndrome, frame, l)
    {
        return;
    }
    let outcome = sync(syndrome, frame, cpu, local);
    run::leave(outcome, cpu, local, frame);
}

#[unsafe(no_mangle)]
extern "C" fn guest_irq(frame: &mut GuestFrame, cpu: &'static Cpu) {
    // SAFETY: as in guest_sync.
    let local = unsafe { cpu.local() };
    if let Some(l) = &local.loaded {
        l.vcpu().counters.add(Kind::Irq);
    }
    let outcome = irq::handle(cpu, local, frame);
    run::leave(outcome, cpu, local, frame);
}

#[unsafe(no_mangle)]
extern "C" fn guest_serror(frame: &mut GuestFrame, cpu: &'static Cpu) {
    // SAFETY: as in guest_sync.
    let local = unsafe { cpu.local() };
    if let Some(l) = &local.loaded {
        serror(l, frame.elr, regs::esr_el2());
    }
    run::leave(Outcome::Reschedule, cpu, local, frame);
}

/// An SError came while this vCPU was loaded. Its data may be wrong now: it cannot go on, others can. Those it led to before
/// it lost the CPU have been taken then (`settle_errors`), so it is no neighbour's.
pub fn serror(l: &Loaded, pc: u64, esr: u64) {
    l.vcpu().counters.add(Kind::Serror);
    life::crash(
        &l.domain,
        l.index,
        Crash {
            pc,
            why: "SError (asynchronous external abort)",
            esr,
        },
    );
}

#[inline]
fn sync(syndrome: u64, frame: &mut GuestFrame, cpu: &'static Cpu, local: &mut CpuLocal) -> Outcome {
    // The vectors of a lower level are entered only while a guest is loaded.
    let Some(l) = local.loaded.as_mut() else {
        return Outcome::Reschedule;
    };
    match esr::class(syndrome) {
        esr::EC_DABORT => abort::data(syndrome, frame, cpu, l),
        esr::EC_SYS64 => sysreg::access(syndrome, frame, cpu, local),
        esr::EC_WFX => wfx(syndrome, frame, l),
        esr::EC_HVC64 => {
            l.vcpu().counters.add(Kind::Hvc);
            if syndrome & 0xffff != 0 {
                // The PC already points behind the HVC; the guest's own view is at it.
                frame.elr = frame.elr.wrapping_sub(4);
                return undefined(frame, l);
            }
            hypercall::handle(frame, cpu, l)
        }
        esr::EC_SMC64 => {
            l.vcpu().counters.add(Kind::Smc);
            if syndrome & 0xffff != 0 {
                return undefined(frame, l);
            }
            frame.skip(true);
            hypercall::handle(frame, cpu, l)
        }
        esr::EC_IABORT => abort::instruction(syndrome, frame, l),
        _ => undefined(frame, l),
    }
}

/// What traps here and is nothing a guest has: UNDEF at the instruction.
pub fn undefined(frame: &mut GuestFrame, l: &Loaded) -> Outcome {
    l.vcpu().counters.add(Kind::Undef);
    log::debug!(
        "domain {}: undefined at PC {:#x}, syndrome {:#x}",
        l.domain.name,
        frame.elr,
        regs::esr_el2()
    );
    inject::undefined(frame);
    Outcome::Resume
}

/// WFI sleeps until an interrupt is pending; WFE gives the CPU to others for a moment, and so do both with a timeout
/// (FEAT_WFxT, which guests are not told of): they may end at any time.
fn wfx(syndrome: u64, frame: &mut GuestFrame, l: &Loaded) -> Outcome {
    l.vcpu().counters.add(Kind::Wfx);
    frame.skip(esr::il(syndrome));
    if syndrome & 3 != 0 {
        run::POOLS.yield_now(l.vcpu().id, crate::time::now());
        return Outcome::Reschedule;
    }
    Outcome::Block
}
