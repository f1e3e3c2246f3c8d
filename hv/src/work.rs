//! Work on a given CPU: a question is put into that CPU's box, an SGI calls it, it answers at EL2 when it comes by.
//!
//! Seed 000's continue_hypercall_on_cpu without its price: no vCPU is pinned, no CPU is borrowed from its pool, nobody is
//! suspended and nobody waits: the one who asks is told `Again` until the answer is there. The work touches no guest and is
//! bounded. dom0 alone asks, and has one vCPU, so a box holds one question.

use crate::arch::sysreg as regs;
use crate::percpu::{self, Cpu};
use crate::{irq, time};
use abi::call::system::{CpuRun, CpuWork, MAX_HOLD};
use abi::{Errno, Instant, Span};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use pools::CALL_AGAIN;

const EMPTY: u32 = 0;
const ASKED: u32 = 1;
const ANSWERED: u32 = 2;
/// The CPU has heard it and works.
const TAKEN: u32 = 3;

/// For so long an answer waits for the one who asked. Later the same question is another one: who asked has given up.
const KEPT: Span = Span::ms(1000);

/// A CPU's box.
pub struct Box {
    state: AtomicU32,
    work: AtomicU64,
    argument: AtomicU64,
    answer: AtomicU64,
    /// When the CPU was called last, or has answered.
    called: AtomicU64,
}

impl Box {
    /// Nothing asked.
    pub const fn new() -> Box {
        Box {
            state: AtomicU32::new(EMPTY),
            work: AtomicU64::new(0),
            argument: AtomicU64::new(0),
            answer: AtomicU64::new(0),
            called: AtomicU64::new(0),
        }
    }

    fn holds(&self, c: &CpuRun) -> bool {
        self.work.load(Ordering::Relaxed) == c.work as u64
            && self.argument.load(Ordering::Relaxed) == c.argument
    }
}

/// Asks, or fetches the answer.
pub fn ask(c: &CpuRun, here: &'static Cpu) -> Result<u64, Errno> {
    let cpu = percpu::cpu(c.cpu).ok_or(Errno::NoSuch)?;
    if !cpu.up.load(Ordering::Acquire) {
        return Err(Errno::Busy);
    }
    let most = if c.work == CpuWork::Hold {
        MAX_HOLD.0
    } else {
        0
    };
    if c.argument > most {
        return Err(Errno::Invalid);
    }
    if cpu.id == here.id {
        return Ok(perform(c.work, c.argument));
    }
    let now = time::now();
    match cpu.work.state.load(Ordering::Acquire) {
        ANSWERED
            if cpu.work.holds(c)
                && now.since(Instant(cpu.work.called.load(Ordering::Relaxed))) < KEPT =>
        {
            let answer = cpu.work.answer.load(Ordering::Relaxed);
            cpu.work.state.store(EMPTY, Ordering::Release);
            return Ok(answer);
        }
        // Also of a question nobody fetched the answer to.
        EMPTY | ANSWERED => {
            cpu.work.work.store(c.work as u64, Ordering::Relaxed);
            cpu.work.argument.store(c.argument, Ordering::Relaxed);
            cpu.work.state.store(ASKED, Ordering::Release);
        }
        TAKEN => return Err(Errno::Again),
        // It has been called. Only if it should not have heard of it, once more.
        _ if now.since(Instant(cpu.work.called.load(Ordering::Relaxed))) < CALL_AGAIN => {
            return Err(Errno::Again);
        }
        _ => {}
    }
    cpu.work.called.store(now.0, Ordering::Relaxed);
    irq::poke(cpu.id);
    Err(Errno::Again)
}

/// What has been asked of this CPU, if something has.
#[inline]
pub fn come_by(cpu: &Cpu) {
    if cpu.work.state.load(Ordering::Acquire) == ASKED {
        answer(cpu);
    }
}

#[cold]
fn answer(cpu: &Cpu) {
    cpu.work.state.store(TAKEN, Ordering::Relaxed);
    let asked = cpu.work.work.load(Ordering::Relaxed);
    let argument = cpu.work.argument.load(Ordering::Relaxed);
    let answer = CpuWork::ALL
        .iter()
        .find(|w| **w as u64 == asked)
        .map_or(0, |w| perform(*w, argument));
    cpu.work.answer.store(answer, Ordering::Relaxed);
    cpu.work.called.store(time::now().0, Ordering::Relaxed);
    cpu.work.state.store(ANSWERED, Ordering::Release);
}

fn perform(work: CpuWork, argument: u64) -> u64 {
    match work {
        CpuWork::Midr => regs::midr_el1(),
        CpuWork::Mpidr => regs::mpidr_el1(),
        CpuWork::Revidr => regs::revidr_el1(),
        CpuWork::Ctr => regs::ctr_el0(),
        CpuWork::Pfr0 => regs::id_aa64pfr0_el1(),
        CpuWork::Pfr1 => regs::id_aa64pfr1_el1(),
        CpuWork::Isar0 => regs::id_aa64isar0_el1(),
        CpuWork::Isar1 => regs::id_aa64isar1_el1(),
        CpuWork::Mmfr0 => regs::id_aa64mmfr0_el1(),
        CpuWork::Mmfr1 => regs::id_aa64mmfr1_el1(),
        CpuWork::Mmfr2 => regs::id_aa64mmfr2_el1(),
        CpuWork::Dfr0 => regs::id_aa64dfr0_el1(),
        CpuWork::Frequency => regs::cntfrq_el0(),
        CpuWork::Count => time::ticks(),
        CpuWork::Hold => {
            let from = time::now();
            let until = from + Span(argument.min(MAX_HOLD.0));
            while time::now() < until {
                core::hint::spin_loop();
            }
            time::now().since(from).0
        }
    }
}
