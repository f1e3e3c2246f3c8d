//! Interrupts that a CPU's running vCPU was given since its pool was told last.
//!
//! A pool learns of an interrupt to a running vCPU only when it matters: when that vCPU is about to lose its CPU or to
//! sleep. Until then a note of line and time is all it costs. Only the CPU itself writes and reads its notes; the
//! atomics are there because its block is shared, and never contend. Must never lose an interrupt's count: when the
//! list is full, the pool is told at once.

use crate::time;
use abi::Instant;
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use pools::WakeReason;

/// Notes kept before the pool has to be told.
const ROOM: usize = 8;

/// How a reason is noted: a line by its number, others by numbers no line has.
const TIMER: u16 = u16::MAX;
const OTHER: u16 = u16::MAX - 1;
/// No reason.
pub const NONE: u16 = u16::MAX - 2;

/// A reason as a number, for places where only a word fits.
pub fn code(why: WakeReason) -> u16 {
    match why {
        WakeReason::Interrupt { line } => line,
        WakeReason::Timer => TIMER,
        WakeReason::Kick | WakeReason::Unpause => OTHER,
    }
}

/// The reason of a number made by [`code`].
pub fn reason(code: u16) -> WakeReason {
    match code {
        TIMER => WakeReason::Timer,
        OTHER => WakeReason::Kick,
        line => WakeReason::Interrupt { line },
    }
}

/// The notes of one CPU.
pub struct Given {
    used: AtomicU32,
    ticks: [AtomicU64; ROOM],
    codes: [AtomicU16; ROOM],
}

impl Given {
    /// None.
    pub const fn new() -> Given {
        Given {
            used: AtomicU32::new(0),
            ticks: [const { AtomicU64::new(0) }; ROOM],
            codes: [const { AtomicU16::new(0) }; ROOM],
        }
    }

    /// Whether there is nothing to tell.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.used.load(Ordering::Relaxed) == 0
    }

    /// Notes an interrupt; false if there is no room.
    #[inline]
    pub fn note(&self, why: WakeReason) -> bool {
        let n = self.used.load(Ordering::Relaxed) as usize;
        let (Some(t), Some(c)) = (self.ticks.get(n), self.codes.get(n)) else {
            return false;
        };
        t.store(time::ticks(), Ordering::Relaxed);
        c.store(code(why), Ordering::Relaxed);
        self.used.store(n as u32 + 1, Ordering::Relaxed);
        true
    }

    /// Takes all notes, the oldest first.
    pub fn take(&self) -> impl Iterator<Item = (WakeReason, Instant)> + '_ {
        let n = self.used.load(Ordering::Relaxed) as usize;
        self.used.store(0, Ordering::Relaxed);
        self.ticks.iter().zip(&self.codes).take(n).map(|(t, c)| {
            let why = reason(c.load(Ordering::Relaxed));
            (why, time::at(t.load(Ordering::Relaxed)))
        })
    }
}
