//! Changes that take other CPUs' hands: begun by a call, carried on by whoever comes by, answered when they have ended.
//!
//! The pools know of one change at a time. A call that begins one answers `Again`; the same call, made again, answers how
//! far it is and at the end what became of it. A change that nobody asks about any more ends by itself. Another call
//! finds the place taken and answers `Again`, too. A domain that changes groups of its own must not keep dom0 waiting:
//! as long as dom0 waits, for this or with any other call that needs the place to be free, no domain begins anything. Never waits, never loops.

use super::why;
use crate::arch::Lock;
use crate::mem::heap;
use crate::run::POOLS;
use crate::{irq, time};
use abi::call::Request;
use abi::call::plan::Commit;
use abi::call::report::Report;
use abi::{Errno, Instant, Regs};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use pools::{CALL_AGAIN, Plan, PoolError, Refusal, Status, Step, Turn};

/// The call whose change is under way or has ended unanswered.
static WHOSE: Lock<Option<Regs>> = Lock::new(None);
/// dom0's claim to the place.
static TURN: Lock<Turn> = Lock::new(Turn::new());
/// The call of dom0's that is being answered found the place taken.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// There is something in `TURN`: most calls need not look. Written in dom0's calls alone.
static CLAIMED: AtomicBool = AtomicBool::new(false);
/// When one of dom0's calls last looked for CPUs whose timer did not come. Written in dom0's calls alone.
static LOOKED: AtomicU64 = AtomicU64::new(0);
/// Heap kept free before a change begins: boxes of pools and schedulers, tables that grow.
const ROOM: usize = 64 * 1024;

/// A call of dom0's has been answered: one that has to come again because the place is taken has it next.
pub fn dom0_answered(call: &Regs, reply: &Regs) {
    if !TAKEN.load(Ordering::Relaxed) && !CLAIMED.load(Ordering::Relaxed) {
        return;
    }
    let again = reply.result() == Err(Errno::Again);
    let mut turn = TURN.lock();
    if TAKEN.swap(false, Ordering::Relaxed) && again {
        turn.told(call, time::now());
    } else if !again {
        turn.answered(call);
    }
    CLAIMED.store(turn.is_claimed(), Ordering::Relaxed);
}

/// `Again` while a change is under way, which dom0 is then the next to have the place after.
pub fn settled(dom0: bool) -> Result<(), Errno> {
    let now = time::now();
    if dom0 && now.since(Instant(LOOKED.load(Ordering::Relaxed))) >= CALL_AGAIN {
        LOOKED.store(now.0, Ordering::Relaxed);
        irq::send(POOLS.overdue(now));
    }
    let pending = pending(now);
    if dom0 && pending.is_err() {
        TAKEN.store(true, Ordering::Relaxed);
    }
    pending
}

fn pending(now: Instant) -> Result<(), Errno> {
    match POOLS.status(now) {
        Status::None => Ok(()),
        Status::Pending(k) => {
            irq::send(k);
            Err(Errno::Again)
        }
    }
}

/// Carries one step out; `regs` is the call that asks for it.
pub fn step(regs: &Regs, dom0: bool, step: Step) -> Result<Report, Errno> {
    let plan = Plan::of(step).map_err(why::said)?;
    run(regs, dom0, &plan, |r| {
        if dom0 {
            why::said(r.error)
        } else {
            r.error.errno()
        }
    })
}

/// Carries a plan out; `regs` is the call that asks for it. A refusal becomes a number by `no`.
pub fn run(
    regs: &Regs,
    dom0: bool,
    plan: &Plan,
    no: impl FnOnce(Refusal) -> Errno,
) -> Result<Report, Errno> {
    let mine = |w: &Option<Regs>| *w == Some(*regs);
    let busy = settled(dom0);
    // Whoever prepares a change takes its time: nobody waits for that with interrupts masked.
    let Some(mut whose) = WHOSE.try_lock() else {
        if dom0 {
            TAKEN.store(true, Ordering::Relaxed);
        }
        return Err(Errno::Again);
    };
    busy?;
    if mine(&whose) {
        *whose = None;
        if let Some(end) = POOLS.outcome() {
            return end.map_err(|error| no(Refusal { step: 0, error }));
        }
    }
    if !dom0 && TURN.lock().is_dom0s(time::now()) {
        return Err(Errno::Again);
    }
    if !heap::reserve(ROOM) {
        return Err(no(Refusal {
            step: 0,
            error: PoolError::NoMemory,
        }));
    }
    let (kick, begun) = POOLS.begin(plan, time::now());
    irq::send(kick);
    match begun {
        Ok(()) => {}
        // Another CPU was quicker.
        Err(r) if r.error == PoolError::InFlight => return Err(Errno::Again),
        Err(r) => return Err(no(r)),
    }
    if pending(time::now()).is_ok() {
        // Nobody else's hand was needed. The place may have been taken again by now: then the answer comes next time.
        if let Some(end) = POOLS.outcome() {
            return end.map_err(|error| no(Refusal { step: 0, error }));
        }
    }
    *whose = Some(*regs);
    Err(Errno::Again)
}

/// Takes the change under way back; `Again` until everybody is where they were.
pub fn abort() -> Result<(), Errno> {
    match POOLS.abort(time::now()) {
        Ok(k) => irq::send(k),
        Err(e) => return Err(why::said(e)),
    }
    settled(true)?;
    forget(|_| true)
}

/// Nobody asks any more what became of the plan committed last: the next `Commit` is another plan's, and its registers
/// say no different.
pub fn forget_commit() -> Result<(), Errno> {
    let commit = Commit {}.encode().function();
    forget(|call| call.function() == commit)
}

fn forget(which: impl Fn(&Regs) -> bool) -> Result<(), Errno> {
    let Some(mut whose) = WHOSE.try_lock() else {
        return Err(Errno::Again);
    };
    if whose.take_if(|call| which(call)).is_some() {
        let _ended = POOLS.outcome();
    }
    Ok(())
}
