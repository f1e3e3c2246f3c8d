//! Deliberate mistakes, to show that the tests notice them. Compiled in only with the feature `mutants`, which the
//! simulator asks for; elsewhere `broken` is the constant false and costs nothing.
//!
//! Must never be switched on outside `sim/tests/mutants.rs`.

#[cfg(feature = "mutants")]
use core::sync::atomic::{AtomicU8, Ordering};

/// A mistake: in credit2, and some in caps, groups and rtds.
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
    /// The timer of who goes on is set from what it had left when it came. (The account that comes before every decision
    /// makes it up for what is decided: only the time of the next decision can be stale.)
    StaleProgress,
    /// Who is let finish what it does with interrupts masked keeps the CPU for a full interval, whatever such stays have
    /// been good for and though it unmasks at once, as a storm's handler does.
    DeferralKept,
    /// A boost's time begins with the switch that it brings about, not after it.
    SwitchEats,
    /// A reset leaves those in the queue whose boost bucket is not full as they are. (All of them: a reset comes only when
    /// nobody boosted is there to run, so those boosted in that moment wait for another CPU.)
    ResetForgets,
    /// The boost part of every grant can only be spent boosted: it is put into the bucket at each reset whether what was
    /// in it has been used or not, and none of the other part ever goes there.
    LiteralBuckets,
    /// Where most of what runs answers interrupts, boosts go on.
    CrowdUnseen,
    /// Who belongs to a capped domain runs for nothing.
    CapUndrained,
    /// Somebody waits in a group whose processors sleep, and none of them is woken for it.
    GroupKickLost,
    /// A budget lasts as long as somebody wants it to.
    BudgetEndless,
}

impl Mutant {
    /// Every one.
    pub const ALL: [Mutant; 31] = [
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
        Mutant::StaleProgress,
        Mutant::DeferralKept,
        Mutant::SwitchEats,
        Mutant::ResetForgets,
        Mutant::LiteralBuckets,
        Mutant::CrowdUnseen,
        Mutant::CapUndrained,
        Mutant::GroupKickLost,
        Mutant::BudgetEndless,
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
pub fn broken(m: Mutant) -> bool {
    #[cfg(feature = "mutants")]
    return ACTIVE.load(Ordering::Relaxed) == m as u8;
    #[cfg(not(feature = "mutants"))]
    {
        let _ = m;
        false
    }
}
