//! HVC and SMC: PSCI, SMCCC, and Tarn's own calls. One decode, one privilege check, one handler per area.
//!
//! Whatever a guest puts into its registers ends in a value in x0. Tarn's calls answer in x0-x7 and never touch guest
//! memory; the areas follow abi/src/call.

mod change;
mod console;
mod domain;
mod group;
mod guest;
mod plan;
mod pool;
mod system;
mod vcpu;
mod why;

use crate::arch::GuestFrame;
use crate::counters::Kind;
use crate::domain::psci;
use crate::firmware;
use crate::percpu::Cpu;
use crate::run::Outcome;
use crate::vcpu::Loaded;
use crate::vcpu::page::TimeArea;
use abi::call::{Call, Request};
use abi::{Errno, Regs};
use vdev::psci::{SmcccCall, smccc};

pub use system::{VERSION, kept, set_script};

/// Sets what calls report of the machine, once.
pub fn init(board: &board::Board) {
    firmware::init(board);
    system::init(board.model, board.ram.iter().map(board::Region::size).sum());
}

/// A call by the loaded vCPU; the PC is already behind it.
pub fn handle(frame: &mut GuestFrame, cpu: &'static Cpu, l: &mut Loaded) -> Outcome {
    let x = &frame.x;
    let regs = Regs([x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]]);
    match smccc(&regs, &firmware::caps()) {
        SmcccCall::Psci(call) => psci::handle(call, frame, l),
        SmcccCall::Done(x) => {
            if x[0] as i32 == -1 {
                l.vcpu().counters.add(Kind::UnknownCall);
            }
            frame.x[..4].copy_from_slice(&x);
            Outcome::Resume
        }
        SmcccCall::StolenTime => {
            frame.x[0] = TimeArea::ipa(l.index);
            Outcome::Resume
        }
        SmcccCall::Workaround { number, .. } => {
            firmware::work_around(number);
            Outcome::Resume
        }
        SmcccCall::Tarn => {
            let (reply, outcome) = tarn(&regs, cpu, l);
            match reply {
                Some(r) => frame.x[..8].copy_from_slice(&r.0),
                // Asked again when the vCPU wakes: the PC goes back onto the call.
                None => frame.elr = frame.elr.wrapping_sub(4),
            }
            outcome
        }
    }
}

/// One of Tarn's own calls: the reply (none: to be asked again), and what is to be done.
fn tarn(regs: &Regs, cpu: &'static Cpu, l: &mut Loaded) -> (Option<Regs>, Outcome) {
    let call = match Call::decode(regs).and_then(|c| c.permit(l.domain.is_control()).map(|()| c)) {
        Ok(c) => c,
        Err(e) => {
            if e == Errno::NotSupported {
                l.vcpu().counters.add(Kind::UnknownCall);
            }
            return (Some(Regs::refusal(e)), Outcome::Resume);
        }
    };
    let dom0 = l.domain.is_control();
    if dom0 {
        why::begin();
    }
    let reply = match call {
        Call::Version(c) => c.answer(Ok(system::version())),
        Call::System(c) => system::handle(c, cpu),
        Call::Console(c) => return console::handle(c),
        Call::Domain(c) => domain::handle(c, regs),
        Call::Vcpu(c) => vcpu::handle(c),
        Call::Pool(c) => pool::handle(c, regs),
        Call::Group(c) => group::handle(c, regs, &l.domain),
        Call::Plan(c) => plan::handle(c, regs),
        Call::Guest(c) => return guest::handle(c, cpu, l),
    };
    if dom0 {
        change::dom0_answered(regs, &reply);
        if !matches!(call, Call::System(abi::call::SystemCall::Why(_))) {
            why::end(&reply);
        }
    }
    // A domain that was just created, destroyed or paused may be this CPU's business.
    let outcome = if cpu.resched.load(core::sync::atomic::Ordering::Relaxed) {
        Outcome::Reschedule
    } else {
        Outcome::Resume
    };
    (Some(reply), outcome)
}
