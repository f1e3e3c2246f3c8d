//! Where a test may hold a CPU: before it takes a pool's lock and before it publishes a word that others read without one.
//! Everything between two such points is one step as far as other CPUs can see.
//!
//! Compiled in only with the feature `step`, which the simulator asks for, and with it deliberate mistakes, to show that
//! the test notices them; elsewhere `point` is nothing and `broken` is false. Must never be called with a pool's lock held.

#[cfg(feature = "step")]
static HOOK: spin::Once<fn()> = spin::Once::new();

/// Calls `hook` at every point from now on. Once per process.
#[cfg(feature = "step")]
pub fn install(hook: fn()) {
    HOOK.call_once(|| hook);
}

/// A point.
#[inline]
pub(crate) fn point() {
    #[cfg(feature = "step")]
    if let Some(hook) = HOOK.get() {
        hook();
    }
}

/// A mistake in the switch protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Fault {
    /// A wake-up of a running vCPU is forgotten.
    WakeForgotten = 1,
    /// A vCPU is offered to others before its registers are in memory.
    SavedEarly,
    /// A CPU that shall leave its pool goes on deciding there.
    LeavingIgnored,
    /// A sleeper woken while it is being saved is forgotten.
    SavedForgotten,
    /// A vCPU dozes without another look at what has come for it.
    DozesDeaf,
    /// A plan's domains change hands while a CPU still holds registers of theirs.
    HeldIgnored,
}

#[cfg(feature = "step")]
impl Fault {
    /// Every one.
    pub const ALL: [Fault; 6] = [
        Fault::WakeForgotten,
        Fault::SavedEarly,
        Fault::LeavingIgnored,
        Fault::SavedForgotten,
        Fault::DozesDeaf,
        Fault::HeldIgnored,
    ];

    /// Makes this mistake from now on, or none.
    pub fn activate(f: Option<Fault>) {
        ACTIVE.store(
            f.map_or(0, |f| f as u8),
            core::sync::atomic::Ordering::Relaxed,
        );
    }
}

#[cfg(feature = "step")]
static ACTIVE: core::sync::atomic::AtomicU8 = core::sync::atomic::AtomicU8::new(0);

/// Whether this mistake is to be made.
#[inline]
pub(crate) fn broken(f: Fault) -> bool {
    #[cfg(feature = "step")]
    return ACTIVE.load(core::sync::atomic::Ordering::Relaxed) == f as u8;
    #[cfg(not(feature = "step"))]
    {
        let _ = f;
        false
    }
}
