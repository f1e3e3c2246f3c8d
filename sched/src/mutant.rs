//! Deliberate mistakes, to show that the tests notice them. Compiled in only with the feature `mutants`, which the
//! simulator asks for; elsewhere `broken` is the constant false and costs nothing.
//!
//! Must never be switched on outside `sim/tests/mutants.rs`.

#[cfg(feature = "mutants")]
use core::sync::atomic::{AtomicU8, Ordering};

/// A mistake in credit2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Mutant {
    /// Boosted running costs no boost credit.
    BoostFree = 1,
    /// Sleepers keep all credit over a reset.
    CarryUnlimited,
    /// Credit is never granted anew.
    ResetSkipped,
    /// Nobody is disturbed for a waiter that should run.
    KickLost,
    /// Any CPU takes any waiter.
    AffinityIgnored,
    /// The boost bucket is refilled for nothing.
    RefillUnpaid,
    /// No end is set to a slice.
    TimerForgotten,
    /// CPUs without a timer are not told that somebody waits.
    TicklessForgotten,
    /// A wake-up inside a rate limit is forgotten.
    LimitSwallows,
    /// Debt beyond one grant is forgiven.
    DebtForgiven,
    /// Interrupt storms are boosted.
    StormBoosted,
    /// Nobody is exempt from a crowd's loss of boosts.
    CrowdForAll,
    /// A boost has no end but its credit.
    IntervalEndless,
    /// The CPU that still holds a sleeper is not called when it wakes.
    WakeLost,
    /// The weight is ignored.
    WeightIgnored,
    /// A vCPU boosted in the queue is not preferred.
    BoostIgnored,
    /// What runs where nobody waits makes debt.
    FreeTimePaid,
    /// Who answers an interrupt inside its rate limit is let run on as long as a slice lasts.
    ClaimEndless,
    /// Boosted vCPUs that wait for boosted ones have no turn, but their credit's place.
    TurnEndless,
    /// Boosted vCPUs that wait are ordered by boost credit alone, however long they have waited.
    AgeIgnored,
    /// Nobody has a preference for a CPU.
    SoftIgnored,
    /// Who runs outside its preference stays there though a CPU inside becomes idle.
    NeverHome,
}

impl Mutant {
    /// Every one.
    pub const ALL: [Mutant; 22] = [
        Mutant::BoostFree,
        Mutant::CarryUnlimited,
        Mutant::ResetSkipped,
        Mutant::KickLost,
        Mutant::AffinityIgnored,
        Mutant::RefillUnpaid,
        Mutant::TimerForgotten,
        Mutant::TicklessForgotten,
        Mutant::LimitSwallows,
        Mutant::DebtForgiven,
        Mutant::StormBoosted,
        Mutant::CrowdForAll,
        Mutant::IntervalEndless,
        Mutant::WakeLost,
        Mutant::WeightIgnored,
        Mutant::BoostIgnored,
        Mutant::FreeTimePaid,
        Mutant::ClaimEndless,
        Mutant::TurnEndless,
        Mutant::AgeIgnored,
        Mutant::SoftIgnored,
        Mutant::NeverHome,
    ];
}

#[cfg(feature = "mutants")]
static ACTIVE: AtomicU8 = AtomicU8::new(0);

/// Makes a mistake from now on, or none.
#[cfg(feature = "mutants")]
pub fn activate(m: Option<Mutant>) {
    ACTIVE.store(m.map_or(0, |m| m as u8), Ordering::Relaxed);
}

/// Whether this mistake is to be made.
#[inline]
pub(crate) fn broken(m: Mutant) -> bool {
    #[cfg(feature = "mutants")]
    return ACTIVE.load(Ordering::Relaxed) == m as u8;
    #[cfg(not(feature = "mutants"))]
    {
        let _ = m;
        false
    }
}
