//! What a change of pools, CPUs, domains or groups answers: how long anybody stood still, and what could not stay.

use super::wire::{In, Out, Wire, replies};
use crate::errno::Errno;
use crate::time::Span;

/// What a move had to change or leave without effect. Every value is kept and counts again where it can.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Adjusted(pub u32);

impl Adjusted {
    /// Nothing.
    pub const NONE: Adjusted = Adjusted(0);
    /// A vCPU's affinity names no CPU of the pool: it may use all of them.
    pub const AFFINITY_VOID: Adjusted = Adjusted(1 << 0);
    /// A vCPU's affinity names some CPUs that are not in the pool.
    pub const AFFINITY_CUT: Adjusted = Adjusted(1 << 1);
    /// A weight other than the default has no effect under this scheduler.
    pub const WEIGHT_UNUSED: Adjusted = Adjusted(1 << 2);
    /// Boosts are off here: by the scheduler or by the pool.
    pub const BOOST_UNUSED: Adjusted = Adjusted(1 << 3);
    /// A period and budget that were set have no effect under this scheduler.
    pub const RT_UNUSED: Adjusted = Adjusted(1 << 4);
    /// It left its group.
    pub const LEFT_GROUP: Adjusted = Adjusted(1 << 5);
    /// Inside a group an affinity has no effect.
    pub const AFFINITY_GROUP: Adjusted = Adjusted(1 << 6);
    /// Its memory stays where it is, outside the memory of this pool.
    pub const MEMORY_ELSEWHERE: Adjusted = Adjusted(1 << 7);
    /// A vCPU that is concerned, or one of a pool that is, has no CPU under this scheduler.
    pub const NO_CPU: Adjusted = Adjusted(1 << 8);
    /// A vCPU's soft affinity has no effect: no CPU that it may use is in it, its scheduler makes no use of it, or it is in a
    /// group.
    pub const SOFT_UNUSED: Adjusted = Adjusted(1 << 9);

    /// Both.
    #[must_use]
    pub const fn with(self, other: Adjusted) -> Adjusted {
        Adjusted(self.0 | other.0)
    }

    /// `self` and, if `cond`, `other`.
    #[must_use]
    pub const fn with_if(self, other: Adjusted, cond: bool) -> Adjusted {
        if cond { self.with(other) } else { self }
    }

    /// `self` but for `other`.
    #[must_use]
    pub const fn without(self, other: Adjusted) -> Adjusted {
        Adjusted(self.0 & !other.0)
    }

    /// Whether all of `other` are set.
    pub const fn has(self, other: Adjusted) -> bool {
        self.0 & other.0 == other.0
    }
}

impl Wire for Adjusted {
    const WORDS: usize = 1;
    const KIND: &'static str = "bits: 0 affinity names no CPU of the pool, so all count; 1 affinity names CPUs outside the pool; 2 weight unused; 3 boost unused; 4 period and budget unused; 5 left its group; 6 affinity unused inside a group; 7 memory stays outside the pool's; 8 a vCPU of it, or of a pool that the change is about, has no CPU under this scheduler; 9 soft affinity unused";
    fn put(&self, out: &mut Out) {
        self.0.put(out);
    }
    fn get(from: &mut In<'_>) -> Result<Self, Errno> {
        u32::get(from).map(Adjusted)
    }
}

replies! {
    /// Answer to a change that stops vCPUs for a moment.
    Report {
        /// The longest time for which a vCPU that wanted to run was kept from it by this change.
        stood_still: Span,
        /// What could not stay as it was.
        adjusted: Adjusted,
    }
}
