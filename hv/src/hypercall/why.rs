//! Why dom0's last call was refused, in words. The number in x0 says the kind; this says which range, which name, who holds
//! what.
//!
//! One text, since dom0 has one vCPU. Never longer than its buffer, never allocates. Neighbours: every area's handler calls
//! `said` where a refusal comes from a crate that has words for it; mod.rs fills in the rest.

use crate::arch::Lock;
use abi::call::text::Text;
use abi::{Errno, Regs};
use core::fmt::{Display, Write};
use pools::PoolError;

struct Why {
    text: heapless::String<192>,
    /// Said by the call that is being answered.
    fresh: bool,
}

static WHY: Lock<Why> = Lock::new(Why {
    text: heapless::String::new(),
    fresh: false,
});

/// Notes the words of a refusal; its number.
pub fn said(e: PoolError) -> Errno {
    note(&e);
    e.errno()
}

/// Notes words.
pub fn note(words: &dyn Display) {
    let mut w = WHY.lock();
    w.text.clear();
    // What does not fit is cut.
    let _ = write!(w.text, "{words}");
    w.fresh = true;
}

/// dom0 makes a call.
pub fn begin() {
    WHY.lock().fresh = false;
}

/// The call has been answered: a refusal without words of its own gets the number's.
pub fn end(reply: &Regs) {
    let Err(e) = reply.result() else { return };
    if matches!(e, Errno::Again | Errno::End) {
        return;
    }
    let mut w = WHY.lock();
    if !w.fresh {
        w.text.clear();
        let _ = w.text.push_str(e.text());
    }
}

/// A part of the last refusal's words.
pub fn part(n: u32) -> Text {
    let w = WHY.lock();
    let bytes = w.text.as_bytes();
    let from = (n as usize).saturating_mul(Text::MAX).min(bytes.len());
    let to = (from + Text::MAX).min(bytes.len());
    Text::from_bytes(&bytes[from..to]).unwrap_or_default()
}
