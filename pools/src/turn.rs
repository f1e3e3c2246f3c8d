//! Whose turn it is to begin the next change: dom0 must not wait for ever behind domains that change groups of their own.
//!
//! The call of dom0's that was told to come again has the place next. It loses it by being answered otherwise, or by not
//! coming again for a while; what else dom0 asks meanwhile neither takes nor keeps it. Decides, never waits. Neighbour: hv's
//! hypercall/change.rs asks.

use tarn_abi::{Instant, Regs, Span};

/// So long a call that does not come again keeps the place: more than dom0's vCPU waits for a CPU.
pub const PATIENCE: Span = Span::ms(100);

/// dom0's claim to the place.
#[derive(Debug)]
pub struct Turn {
    call: Option<Regs>,
    until: Instant,
}

impl Turn {
    /// Nobody waits.
    pub const fn new() -> Turn {
        Turn {
            call: None,
            until: Instant(0),
        }
    }

    /// dom0's `call` has been told to come again because the place was not free.
    pub fn told(&mut self, call: &Regs, now: Instant) {
        self.call = Some(*call);
        self.until = now + PATIENCE;
    }

    /// dom0's `call` has been answered for good.
    pub fn answered(&mut self, call: &Regs) {
        if self.call == Some(*call) {
            self.call = None;
        }
    }

    /// Whether a call is to come again.
    pub fn is_claimed(&self) -> bool {
        self.call.is_some()
    }

    /// Whether a domain has to leave the place to dom0.
    pub fn is_dom0s(&self, now: Instant) -> bool {
        self.call.is_some() && now < self.until
    }
}

impl Default for Turn {
    fn default() -> Turn {
        Turn::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOVE: Regs = Regs([0xc600_020b, 1, 2, 0, 0, 0, 0, 0]);
    const LIST: Regs = Regs([0xc600_0200, 0, 0, 0, 0, 0, 0, 0]);

    #[test]
    fn the_call_that_waits_keeps_its_turn_whatever_else_is_asked() {
        let mut t = Turn::new();
        assert!(!t.is_dom0s(Instant(5)));
        t.told(&MOVE, Instant(10));
        assert!(t.is_dom0s(Instant(11)));
        t.answered(&LIST);
        assert!(
            t.is_dom0s(Instant(12)),
            "another call's answer is no answer"
        );
        assert!(t.is_claimed());
        t.answered(&MOVE);
        assert!(!t.is_dom0s(Instant(13)) && !t.is_claimed());
    }

    #[test]
    fn who_does_not_come_again_loses_it_and_who_does_keeps_it() {
        let mut t = Turn::new();
        t.told(&MOVE, Instant(0));
        let late = Instant(0) + PATIENCE;
        assert!(t.is_dom0s(Instant(late.0 - 1)));
        assert!(!t.is_dom0s(late), "nobody asked any more");
        t.told(&MOVE, late);
        assert!(t.is_dom0s(late + Span::ms(1)));
        // Another one instead: dom0 was interrupted and wants something else now.
        t.told(&LIST, late);
        t.answered(&MOVE);
        assert!(t.is_dom0s(late));
    }
}
