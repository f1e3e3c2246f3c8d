//! What this machine's firmware does for guests: mitigations of speculation, asked for by SMCCC calls and passed on.
//!
//! Each CPU asks its own firmware when it comes up; what guests are told holds on all of them (vdev::mitigations). Only
//! firmware at EL3, reached by SMC, is asked: without it an SMC is undefined. Must never pass on a call it did not answer.

use crate::arch::sysreg;
use board::{Board, Conduit};
use core::sync::atomic::{AtomicI32, Ordering};
use drivers::power::Psci;
use vdev::mitigations::{self, Answers};
use vdev::psci::Caps;

static FIRMWARE: spin::Once<Psci> = spin::Once::new();
static ANSWERS: [AtomicI32; 3] = [const { AtomicI32::new(-1) }; 3];

/// The first CPU asks.
pub fn init(board: &Board) {
    if let Some(p) = board.psci.as_ref().filter(|p| p.conduit == Conduit::Smc) {
        FIRMWARE.call_once(|| Psci::new(p.conduit));
    }
    for (a, own) in ANSWERS.iter().zip(own()) {
        a.store(own, Ordering::Relaxed);
    }
}

/// Another CPU, before it runs any guest.
pub fn join() {
    for (a, own) in ANSWERS.iter().zip(own()) {
        let both = |all| Some(mitigations::on_both(all, own));
        // Never refused: the closure always answers.
        let _ = a.fetch_update(Ordering::AcqRel, Ordering::Acquire, both);
    }
}

fn own() -> Answers {
    let firmware = FIRMWARE
        .get()
        .map_or(mitigations::UNKNOWN, Psci::workarounds);
    mitigations::of_cpu(
        firmware,
        sysreg::id_aa64pfr0_el1(),
        sysreg::id_aa64mmfr1_el1(),
    )
}

/// What calls report of the machine.
#[inline]
pub fn caps() -> Caps {
    Caps {
        workarounds: core::array::from_fn(|i| ANSWERS[i].load(Ordering::Relaxed)),
        ..Caps::NONE
    }
}

/// A guest on this CPU calls workaround `number`, which firmware has said it has.
pub fn work_around(number: u8) {
    if let Some(p) = FIRMWARE.get() {
        p.work_around(number);
    }
}
