//! The words in which it is said that vCPUs have no CPU: by dom0's prompt, and by the hypervisor's log at boot.
//!
//! Text only: must never decide who has none. Neighbours: dom0-shim's shortage.rs and hv's placement.rs fill it.

use crate::Text;
use core::fmt::{self, Display, Formatter};

/// So many are named, the others counted.
const NAMED: usize = 8;

/// vCPUs by domain and number: `vm1:0, vm2:1 and 3 more`.
#[derive(Clone, Debug, Default)]
pub struct Short {
    first: [Option<(Text, u32)>; NAMED],
    all: u32,
}

impl Short {
    /// One more: its domain, its number there.
    pub fn add(&mut self, domain: Text, index: u32) {
        if let Some(slot) = self.first.get_mut(self.all as usize) {
            *slot = Some((domain, index));
        }
        self.all = self.all.saturating_add(1);
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.all == 0
    }

    /// The sentence: of which pool they are, under which scheduler.
    pub fn said<'a>(&'a self, pool: &'a dyn Display, sched: &'a dyn Display) -> impl Display + 'a {
        struct Said<'a>(&'a Short, &'a dyn Display, &'a dyn Display);
        impl Display for Said<'_> {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                let Said(who, pool, sched) = self;
                let have = if who.all == 1 { "has" } else { "have" };
                write!(
                    f,
                    "{} {have} no CPU under {sched}: {who}; a CPU more, or somebody who leaves, makes room",
                    Count(who.all, pool)
                )
            }
        }
        Said(self, pool, sched)
    }
}

impl Display for Short {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (n, (domain, index)) in self.first.iter().flatten().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{domain}:{index}")?;
        }
        match self.all.saturating_sub(NAMED as u32) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// `1 vCPU of work`, `2 vCPUs of work`.
#[derive(Clone, Copy)]
pub struct Count<'a>(pub u32, pub &'a dyn Display);

impl Display for Count<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Count(n, pool) = self;
        match n {
            1 => write!(f, "1 vCPU of {pool}"),
            n => write!(f, "{n} vCPUs of {pool}"),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn one_some_and_many() {
        let mut who = Short::default();
        assert!(who.is_empty());
        who.add(Text::truncated("vm"), 1);
        assert_eq!(
            who.said(&"work", &"null").to_string(),
            "1 vCPU of work has no CPU under null: vm:1; a CPU more, or somebody who leaves, makes room"
        );
        for i in 0..9 {
            who.add(Text::truncated("big"), i);
        }
        assert_eq!(
            who.said(&"work", &"null").to_string(),
            "10 vCPUs of work have no CPU under null: vm:1, big:0, big:1, big:2, big:3, big:4, big:5, big:6 and 2 more; \
             a CPU more, or somebody who leaves, makes room"
        );
    }
}
