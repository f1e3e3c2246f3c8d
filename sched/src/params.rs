//! What an operator can set, with defaults and ranges: per scheduler instance and per entity.
//!
//! One struct each for all policies, so that parameters survive a move to another scheduler and back; a policy ignores
//! what it does not know. Must never be used unchecked: `check()` first, foreign values come straight from a shell line.

use crate::error::{SchedError, in_range};
use tarn_abi::{CpuSet, Span};

/// Parameters of a scheduler instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SchedParams {
    /// rr: how long one runs while others wait. 100 us to 1 s, default 10 ms.
    pub slice: Span,
    /// credit2: the least time between two involuntary switches on a CPU; 0 = none asked for, which is 50 us, else 100 us to
    /// 500 ms, default 1 ms.
    pub ratelimit: Span,
    /// credit2: what everybody is granted at a reset, in time of the heaviest. 1 ms to 100 ms, default 10 ms.
    pub grant: Span,
    /// credit2: most credit kept over a reset, same unit. 0 to `grant`, default 2 ms.
    pub carry: Span,
    /// credit2: how much further ahead a vCPU of another CPU must be to move here. 0 to 10 ms, default 500 us.
    pub resistance: Span,
    /// credit2: whether boosting is on.
    pub boost: bool,
    /// credit2: the shortest and longest time between two looks at a CPU where somebody waits. 100 us to 10 ms, default
    /// 500 us; and up to 1 s, default 10 ms.
    pub min_slice: Span,
    /// See `min_slice`.
    pub max_slice: Span,
    /// credit2: what a switch takes; a boost lasts so much longer. Up to 100 us, default 2 us.
    pub switch_cost: Span,
}

impl SchedParams {
    /// What a pool gets when nothing is said.
    pub const DEFAULT: SchedParams = SchedParams {
        slice: Span::ms(10),
        ratelimit: Span::ms(1),
        grant: Span::ms(10),
        carry: Span::ms(2),
        resistance: Span::us(500),
        boost: true,
        min_slice: Span::us(500),
        max_slice: Span::ms(10),
        switch_cost: Span::us(2),
    };

    /// Refuses what is out of range.
    pub fn check(&self) -> Result<(), SchedError> {
        in_range("slice (us)", self.slice.0 / 1000, 100, 1_000_000)?;
        if self.ratelimit != Span::ZERO {
            in_range("ratelimit (us)", self.ratelimit.0 / 1000, 100, 500_000)?;
        }
        in_range("grant (us)", self.grant.0 / 1000, 1_000, 100_000)?;
        in_range("carry (us)", self.carry.0 / 1000, 0, self.grant.0 / 1000)?;
        in_range("resistance (us)", self.resistance.0 / 1000, 0, 10_000)?;
        in_range("shortest slice (us)", self.min_slice.0 / 1000, 100, 10_000)?;
        in_range(
            "longest slice (us)",
            self.max_slice.0 / 1000,
            self.min_slice.0 / 1000,
            1_000_000,
        )?;
        in_range("switch cost (us)", self.switch_cost.0 / 1000, 0, 100)
    }
}

impl Default for SchedParams {
    fn default() -> Self {
        SchedParams::DEFAULT
    }
}

/// Boost parameters of an entity (credit2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BoostParams {
    /// Share of a grant kept for boosts, in 1/1000: 0 (never boosted) to 500, default 250.
    pub ratio: u16,
    /// Longest boost for one reason. 10 us to 10 ms, default 500 us.
    pub interval: Span,
    /// Most boost credit, in us of time at the entity's weight, set by dom0; 0 = as the ratio says.
    pub limit: Span,
}

impl BoostParams {
    /// 25 %, 500 us, no further limit.
    pub const DEFAULT: BoostParams = BoostParams {
        ratio: 250,
        interval: Span::us(500),
        limit: Span::ZERO,
    };
}

/// Real-time parameters of an entity (rtds).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RtParams {
    /// Every `period` ... 100 us to 10 s, default 10 ms.
    pub period: Span,
    /// ... it may run this long; 10 us to `period`, default 4 ms.
    pub budget: Span,
}

impl RtParams {
    /// 4 ms every 10 ms.
    pub const DEFAULT: RtParams = RtParams {
        period: Span::ms(10),
        budget: Span::ms(4),
    };

    /// The part of a CPU that this asks for, in thousandths, rounded up.
    pub fn load(&self) -> u64 {
        (self.budget.0 * 1000).div_ceil(self.period.0.max(1))
    }
}

/// Parameters of an entity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VcpuParams {
    /// Share of the pool relative to the others' weights: 1 to 65535, default 256.
    pub weight: u32,
    /// CPUs it may run on. If none of them is in the pool, all of the pool's count as allowed.
    pub affinity: CpuSet,
    /// Of these, where it runs rather than elsewhere (credit2, null), default all. If it may use none of them it does not mind.
    pub soft: CpuSet,
    /// Boost.
    pub boost: BoostParams,
    /// Real time.
    pub rt: RtParams,
}

impl VcpuParams {
    /// Weight 256, every CPU.
    pub const DEFAULT: VcpuParams = VcpuParams {
        weight: 256,
        affinity: CpuSet::ALL,
        soft: CpuSet::ALL,
        boost: BoostParams::DEFAULT,
        rt: RtParams::DEFAULT,
    };

    /// Refuses what is out of range.
    pub fn check(&self) -> Result<(), SchedError> {
        in_range("weight", self.weight.into(), 1, 65_535)?;
        if self.affinity.is_empty() {
            return Err(SchedError::Conflict("the affinity names no CPU"));
        }
        if self.soft.is_empty() {
            return Err(SchedError::Conflict("the soft affinity names no CPU"));
        }
        in_range("boost ratio (1/1000)", self.boost.ratio.into(), 0, 500)?;
        in_range(
            "boost interval (us)",
            self.boost.interval.0 / 1000,
            10,
            10_000,
        )?;
        in_range("period (us)", self.rt.period.0 / 1000, 100, 10_000_000)?;
        in_range(
            "budget (us)",
            self.rt.budget.0 / 1000,
            10,
            self.rt.period.0 / 1000,
        )
    }
}

impl Default for VcpuParams {
    fn default() -> Self {
        VcpuParams::DEFAULT
    }
}
