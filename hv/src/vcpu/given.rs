//! Interrupts that a CPU's running vCPU was given since its pool was told last.
//!
//! A pool learns of an interrupt to a running vCPU only when it matters: when that vCPU is about to lose its CPU or to
//! sleep. Until then a note of line and time is all it costs. Only the CPU itself writes and reads its notes; the
//! atomics are there because its block is shared, and never contend. While somebody waits for the CPU none may be lost
//! (the caller tells the pool when the list is full); while nobody does, the latest are enough.

use crate::time;
use abi::Instant;
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use pools::WakeReason;

/// Notes kept.
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

    /// Whether the next note will push the oldest one out.
    #[inline(always)]
    pub fn is_full(&self) -> bool {
        self.used.load(Ordering::Relaxed) as usize >= ROOM
    }

    /// Notes an interrupt.
    #[inline]
    pub fn note(&self, why: WakeReason) {
        let n = self.used.load(Ordering::Relaxed);
        let at = n as usize % ROOM;
        self.ticks[at].store(time::ticks(), Ordering::Relaxed);
        self.codes[at].store(code(why), Ordering::Relaxed);
        // Past the first round only "full" and the place matter.
        let next = if n as usize == 2 * ROOM - 1 {
            ROOM as u32
        } else {
            n + 1
        };
        self.used.store(next, Ordering::Relaxed);
    }

    /// Drops all notes.
    #[inline(always)]
    pub fn clear(&self) {
        self.used.store(0, Ordering::Relaxed);
    }

    /// Takes all notes there are, the oldest first.
    pub fn take(&self) -> impl Iterator<Item = (WakeReason, Instant)> + '_ {
        let n = self.used.load(Ordering::Relaxed) as usize;
        self.used.store(0, Ordering::Relaxed);
        (n.saturating_sub(ROOM)..n).map(|i| {
            let why = reason(self.codes[i % ROOM].load(Ordering::Relaxed));
            (why, time::at(self.ticks[i % ROOM].load(Ordering::Relaxed)))
        })
    }
}
