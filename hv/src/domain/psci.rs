//! A guest's power calls: CPUs on and off, suspend, and the end or reset of its domain. Source: Arm DEN0022 (PSCI 1.1).
//!
//! Decoding and argument checks are vdev's; here the calls meet the domain. Every call answers or does not return to
//! the caller; none waits.

use super::{Domain, State, life};
use crate::arch::GuestFrame;
use crate::arch::el1::El1State;
use crate::run::Outcome;
use crate::vcpu::Loaded;
use crate::{irq, run, time};
use core::sync::atomic::Ordering;
use pools::Power;
use vdev::psci::{PsciCall, PsciError};
use vdev::ptimer::Ptimer;

const SUCCESS: u64 = 0;

/// Carries out `call` by the vCPU loaded here.
pub fn handle(call: PsciCall, frame: &mut GuestFrame, l: &mut Loaded) -> Outcome {
    let d = l.domain.clone();
    match call {
        PsciCall::CpuOn {
            target,
            entry,
            context,
        } => {
            frame.x[0] = match cpu_on(&d, target, entry, context) {
                Ok(()) => SUCCESS,
                Err(e) => e.to_x0(),
            };
            Outcome::Resume
        }
        PsciCall::CpuOff => {
            run::POOLS.offline(l.vcpu().id, time::now());
            Outcome::Reschedule
        }
        // Both states are a WFI; after a power-down the vCPU starts at `entry` with `context`.
        PsciCall::CpuSuspend {
            powerdown,
            entry,
            context,
            ..
        } => {
            if powerdown {
                // What a power-down loses: EL1 and the CPU interface. Timer and distributor keep their state.
                El1State::RESET.restore();
                irq::viface().load(&irq::reset_cpuif(d.gic.version));
                *frame = GuestFrame::ZERO;
                frame.x[0] = context;
                frame.elr = entry;
                frame.spsr = 0x3c5;
            } else {
                frame.x[0] = SUCCESS;
            }
            Outcome::Block
        }
        PsciCall::AffinityInfo { target, level } => {
            frame.x[0] = affinity_info(&d, l.index, target, level);
            Outcome::Resume
        }
        PsciCall::SystemOff => {
            life::end_by(&d, l.index, State::Shutdown);
            Outcome::Ended
        }
        PsciCall::SystemReset | PsciCall::SystemReset2 { .. } => {
            life::end_by(&d, l.index, State::Resetting);
            Outcome::Ended
        }
    }
}

fn find(d: &Domain, target: u64) -> Option<usize> {
    (0..d.vcpus.len()).find(|i| d.gic.mpidr(*i) == target)
}

/// 0 on, 1 off, 2 on its way up (PSCI 5.7.2).
fn power(d: &Domain, index: usize) -> u64 {
    let v = &d.vcpus[index];
    match run::POOLS.power(v.id) {
        Some(Power::On) if v.pending_on.load(Ordering::Acquire) => 2,
        Some(Power::On | Power::Leaving) => 0,
        _ => 1,
    }
}

fn affinity_info(d: &Domain, caller: usize, target: u64, level: u8) -> u64 {
    if level == 0 {
        return find(d, target).map_or(PsciError::InvalidParameters.to_x0(), |i| power(d, i));
    }
    // A higher level is on if any CPU in it is.
    let mask = !((1u64 << (8 * level)) - 1);
    if d.gic.mpidr(caller) & mask == target & mask {
        return 0; // the caller, for one: no lock has to be taken for each of many
    }
    let mut members = (0..d.vcpus.len())
        .filter(|i| d.gic.mpidr(*i) & mask == target & mask)
        .peekable();
    if members.peek().is_none() {
        return PsciError::InvalidParameters.to_x0();
    }
    members.map(|i| power(d, i)).fold(1, |all, one| {
        if all == 0 || one == 0 {
            0
        } else {
            all.max(one)
        }
    })
}

fn cpu_on(d: &Domain, target: u64, entry: u64, context: u64) -> Result<(), PsciError> {
    let index = find(d, target).ok_or(PsciError::InvalidParameters)?;
    let v = &d.vcpus[index];
    if entry & 3 != 0 || d.s2.lock().ram_at(entry).is_none() {
        return Err(PsciError::InvalidAddress);
    }
    if v.starting.swap(true, Ordering::AcqRel) {
        return Err(PsciError::OnPending);
    }
    let result = start(d, index, entry, context);
    v.starting.store(false, Ordering::Release);
    result
}

fn start(d: &Domain, index: usize, entry: u64, context: u64) -> Result<(), PsciError> {
    let v = &d.vcpus[index];
    match power(d, index) {
        0 => return Err(PsciError::AlreadyOn),
        2 => return Err(PsciError::OnPending),
        _ => {}
    }
    {
        let mut rest = v.rest.lock();
        let Some(ctx) = rest.as_mut() else {
            return Err(PsciError::AlreadyOn);
        };
        ctx.start(entry, context, irq::reset_cpuif(d.gic.version));
        v.ptimer.change(|t| *t = Ptimer::new());
        v.vtimer_at.store(u64::MAX, Ordering::Release);
    }
    v.pending_on.store(true, Ordering::Release);
    match run::POOLS.online(v.id, time::now()) {
        Ok(k) => {
            irq::send(k);
            Ok(())
        }
        Err(e) => {
            v.pending_on.store(false, Ordering::Release);
            log::debug!("domain {}: CPU_ON of vCPU {index}: {e}", d.name);
            Err(PsciError::AlreadyOn)
        }
    }
}
