//! Run states: where the time of a vCPU and of a domain goes, exact to the ns of the clock.
//!
//! A domain's state follows from how many of its vCPUs run, wait and do neither (seed 003). The counts change under the
//! one pool lock that covers all vCPUs of a domain, so no update is ever missed and each costs a few instructions.

use tarn_abi::{Instant, Span};

/// What a vCPU does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum VcpuState {
    /// On a CPU.
    Running = 0,
    /// Could run, has no CPU.
    Runnable = 1,
    /// Asleep.
    Blocked = 2,
    /// Not allowed to run: paused, being moved, or killed.
    Paused = 3,
    /// Off (PSCI).
    Down = 4,
}

const STATES: usize = 5;

/// Time of a vCPU by state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VcpuTimes {
    /// What it does now.
    pub state: VcpuState,
    /// Since when.
    pub since: Instant,
    /// Time in each state, by `VcpuState as usize`.
    pub ns: [Span; STATES],
}

impl VcpuTimes {
    pub(crate) const fn new(now: Instant) -> Self {
        VcpuTimes {
            state: VcpuState::Down,
            since: now,
            ns: [Span::ZERO; STATES],
        }
    }

    #[inline]
    pub(crate) fn enter(&mut self, state: VcpuState, now: Instant) {
        self.ns[self.state as usize] += now.since(self.since);
        self.since = now;
        self.state = state;
    }

    /// As of `now`: the current state's time included.
    pub(crate) fn at(mut self, now: Instant) -> Self {
        self.ns[self.state as usize] += now.since(self.since);
        self
    }

    /// Time in a state.
    pub fn in_state(&self, s: VcpuState) -> Span {
        self.ns[s as usize]
    }

    /// Paused or down: what Xen calls offline.
    pub fn offline(&self) -> Span {
        self.in_state(VcpuState::Paused) + self.in_state(VcpuState::Down)
    }
}

/// What a domain does, by its vCPUs that are not down. The order is Xen's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum DomainState {
    /// All run.
    FullRun = 0,
    /// All wait for a CPU.
    FullContention = 1,
    /// Some run, some wait for a CPU.
    ConcurrencyHazard = 2,
    /// All blocked (or there is none).
    Blocked = 3,
    /// Some run, the others are blocked.
    PartialRun = 4,
    /// Some wait for a CPU, the others are blocked.
    PartialContention = 5,
}

impl DomainState {
    /// Every state, in order of their numbers.
    pub const ALL: [DomainState; 6] = [
        DomainState::FullRun,
        DomainState::FullContention,
        DomainState::ConcurrencyHazard,
        DomainState::Blocked,
        DomainState::PartialRun,
        DomainState::PartialContention,
    ];

    /// As people read it.
    pub const fn text(self) -> &'static str {
        match self {
            DomainState::FullRun => "full run",
            DomainState::FullContention => "full contention",
            DomainState::ConcurrencyHazard => "concurrency hazard",
            DomainState::Blocked => "blocked",
            DomainState::PartialRun => "partial run",
            DomainState::PartialContention => "partial contention",
        }
    }
}

/// Time of a domain by state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DomainTimes {
    /// What it does now.
    pub state: DomainState,
    /// Since when.
    pub since: Instant,
    /// Time in each state, by `DomainState as usize`; their sum is the time since the domain was added.
    pub ns: [Span; 6],
    /// Changes that were not recorded: always 0, kept because the interface of the seed has it.
    pub missed: u32,
    /// vCPUs by `VcpuState as usize`.
    pub(crate) counts: [u16; STATES],
}

/// By bits: 1 some run, 2 some wait, 4 some do neither.
const BY_MASK: [DomainState; 8] = [
    DomainState::Blocked,
    DomainState::FullRun,
    DomainState::FullContention,
    DomainState::ConcurrencyHazard,
    DomainState::Blocked,
    DomainState::PartialRun,
    DomainState::PartialContention,
    DomainState::ConcurrencyHazard,
];

impl DomainTimes {
    pub(crate) const fn new(now: Instant) -> Self {
        DomainTimes {
            state: DomainState::Blocked,
            since: now,
            ns: [Span::ZERO; 6],
            missed: 0,
            counts: [0; STATES],
        }
    }

    /// One vCPU changes from `old` to `new`.
    #[inline]
    pub(crate) fn change(&mut self, old: VcpuState, new: VcpuState, now: Instant) {
        self.counts[old as usize] -= 1;
        self.counts[new as usize] += 1;
        self.follow(now);
    }

    /// One vCPU, which was in `state`, is no longer there.
    pub(crate) fn leaves(&mut self, state: VcpuState, now: Instant) {
        self.counts[state as usize] -= 1;
        self.follow(now);
    }

    /// The state that follows from how many vCPUs are in which.
    #[inline]
    fn follow(&mut self, now: Instant) {
        let c = &self.counts;
        let mask = usize::from(c[0] != 0)
            | usize::from(c[1] != 0) << 1
            | usize::from(c[2] | c[3] != 0) << 2;
        let state = BY_MASK[mask];
        if state != self.state {
            self.ns[self.state as usize] += now.since(self.since);
            self.since = now;
            self.state = state;
        }
    }

    /// As of `now`.
    pub(crate) fn at(mut self, now: Instant) -> Self {
        self.ns[self.state as usize] += now.since(self.since);
        self
    }

    /// Time in a state.
    pub fn in_state(&self, s: DomainState) -> Span {
        self.ns[s as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use VcpuState as V;

    #[test]
    fn the_six_states_of_the_seed() {
        let mut t = DomainTimes::new(Instant(0));
        t.counts[V::Down as usize] = 2;
        let steps = [
            (V::Down, V::Runnable, DomainState::FullContention),
            (V::Runnable, V::Running, DomainState::FullRun),
            (V::Down, V::Runnable, DomainState::ConcurrencyHazard),
            (V::Running, V::Blocked, DomainState::PartialContention),
            (V::Runnable, V::Running, DomainState::PartialRun),
            (V::Running, V::Paused, DomainState::Blocked),
            (V::Paused, V::Down, DomainState::Blocked),
            (V::Blocked, V::Down, DomainState::Blocked),
        ];
        for (i, (old, new, want)) in steps.into_iter().enumerate() {
            t.change(old, new, Instant(10 * (i as u64 + 1)));
            assert_eq!(t.state, want, "step {i}");
        }
        let all = t.at(Instant(1000));
        assert_eq!(all.ns.iter().map(|s| s.0).sum::<u64>(), 1000);
        assert_eq!(all.ns.map(|s| s.0), [10, 10, 10, 10 + 940, 10, 10]);
    }
}
