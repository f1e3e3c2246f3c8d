//! Parameters by name: one table for pools, one for vCPUs, one row for domains, so that a prompt, a device tree and a call
//! need to know neither the schedulers nor the structs.
//!
//! Must never set anything unchecked: a change is applied to a copy, the copy is checked as a whole, then it is taken.
//! Neighbours: `sched::params` has the meaning of each value, `plan.rs` and hv's calls set them.

use crate::error::PoolError;
use crate::pool::{DomainParams, PoolParams, Wfi};
use tarn_abi::call::param::{ParamKind, ParamRow, Setting, Unit};
use tarn_abi::{DomainId, Label, MAX_VCPUS, SchedId, Span};
use tarn_sched::{SchedParams, VcpuParams, registry};

/// One parameter of a `T`.
struct Spec<T> {
    name: &'static str,
    unit: Unit,
    min: u64,
    max: u64,
    get: fn(&T) -> u64,
    set: fn(&mut T, u64),
}

macro_rules! spec {
    ($name:literal, $unit:ident, $min:literal..=$max:literal, span $($at:ident).+) => {
        Spec {
            name: $name,
            unit: Unit::$unit,
            min: $min,
            max: $max,
            get: |t| t.$($at).+.0 / 1000,
            set: |t, v| t.$($at).+ = Span::us(v),
        }
    };
    ($name:literal, $unit:ident, $min:literal..=$max:literal, $ty:ty, $($at:ident).+) => {
        Spec {
            name: $name,
            unit: Unit::$unit,
            min: $min,
            max: $max,
            get: |t| u64::from(t.$($at).+),
            // In range by the check before: no value is cut here.
            set: |t, v| t.$($at).+ = <$ty>::try_from(v).unwrap_or(<$ty>::MAX),
        }
    };
}

/// Of a vCPU, or of each virtual processor of a group.
static VCPU: &[Spec<VcpuParams>] = &[
    spec!("weight", Number, 1..=65_535, u32, weight),
    spec!("boost-ratio", PerMille, 0..=500, u16, boost.ratio),
    spec!("boost-interval", Micros, 10..=10_000, span boost.interval),
    spec!("boost-limit", Micros, 0..=100_000, span boost.limit),
    spec!("rt-period", Micros, 100..=10_000_000, span rt.period),
    spec!("rt-budget", Micros, 10..=10_000_000, span rt.budget),
];

/// Of a pool. The last three are what domains made in it get when nothing is said.
static POOL: &[Spec<PoolParams>] = &[
    spec!("ratelimit", Micros, 0..=500_000, span sched.ratelimit),
    spec!("grant", Micros, 1_000..=100_000, span sched.grant),
    spec!("carry", Micros, 0..=100_000, span sched.carry),
    spec!("resistance", Micros, 0..=10_000, span sched.resistance),
    Spec {
        name: "boost",
        unit: Unit::Switch,
        min: 0,
        max: 1,
        get: |t| u64::from(t.sched.boost),
        set: |t, v| t.sched.boost = v != 0,
    },
    spec!("min-slice", Micros, 100..=10_000, span sched.min_slice),
    spec!("max-slice", Micros, 100..=1_000_000, span sched.max_slice),
    spec!("switch-cost", Micros, 0..=100, span sched.switch_cost),
    spec!("slice", Micros, 100..=1_000_000, span sched.slice),
    Spec {
        name: "wfi-native",
        unit: Unit::Switch,
        min: 0,
        max: 1,
        get: |t| u64::from(t.wfi == Wfi::Native),
        set: |t, v| {
            t.wfi = if v == 0 { Wfi::Trapped } else { Wfi::Native };
        },
    },
    spec!("boost-ratio", PerMille, 0..=500, u16, boost.ratio),
    spec!("boost-interval", Micros, 10..=10_000, span boost.interval),
    spec!("boost-limit", Micros, 0..=100_000, span boost.limit),
];

/// Parameters of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupParams {
    /// What each of its virtual processors is in the parent; the weight may be that of all together.
    pub processor: VcpuParams,
    /// The weight is the group's, whatever the number of its processors: each has its part of it.
    pub split: bool,
}

impl GroupParams {
    /// Nothing said: weight 256 for each processor.
    pub const DEFAULT: GroupParams = GroupParams {
        processor: VcpuParams::DEFAULT,
        split: false,
    };

    /// What each of `vps` processors is in the parent. A part of a weight is rounded down; a group must not weigh more than
    /// it says, so that where the parts would be less than 1 it is refused.
    pub(crate) fn each(&self, vps: u16) -> Result<VcpuParams, PoolError> {
        let parts = if self.split { u32::from(vps.max(1)) } else { 1 };
        match self.processor.weight / parts {
            0 => Err(PoolError::SplitTooThin { processors: vps }),
            weight => Ok(VcpuParams {
                weight,
                ..self.processor
            }),
        }
    }

    /// Row `index` of the list; `sched` is the parent's scheduler.
    pub fn row(&self, sched: SchedId, index: usize) -> Option<ParamRow> {
        if index == VCPU.len() {
            return Some(row(&SPLIT, self, &GroupParams::DEFAULT, sched));
        }
        vcpu_row(&self.processor, sched, index)
    }

    /// With `settings`, if they are in range together.
    pub fn with(&self, settings: &Settings) -> Result<GroupParams, PoolError> {
        let (mut p, mut rest) = (*self, *settings);
        for slot in &mut rest {
            if let Some(s) = slot.take_if(|s| s.name == *SPLIT.name) {
                set(core::slice::from_ref(&SPLIT), &mut p, &s)?;
            }
        }
        p.processor = vcpu_with(&p.processor, &rest)?;
        Ok(p)
    }
}

/// Last in a group's list.
static SPLIT: Spec<GroupParams> = Spec {
    name: "split",
    unit: Unit::Switch,
    min: 0,
    max: 1,
    get: |t| u64::from(t.split),
    set: |t, v| t.split = v != 0,
};

/// The cap stands second in a domain's list, behind the weight.
const CAP: usize = 1;

/// Whether a scheduler makes use of a parameter.
fn used(sched: SchedId, name: &str) -> bool {
    // How a weight is meant counts where weights do.
    let name = if name == SPLIT.name { "weight" } else { name };
    matches!(name, "cap" | "wfi-native")
        || registry::row(sched).is_some_and(|r| r.uses.contains(&name))
}

fn row<T>(s: &Spec<T>, at: &T, default: &T, sched: SchedId) -> ParamRow {
    ParamRow {
        name: Label::truncated(s.name),
        kind: ParamKind {
            unit: s.unit,
            used: used(sched, s.name),
        },
        value: (s.get)(at),
        default: (s.get)(default),
        min: s.min,
        max: s.max,
    }
}

fn set<T>(specs: &[Spec<T>], at: &mut T, s: &Setting) -> Result<(), PoolError> {
    let spec = specs
        .iter()
        .find(|x| s.name == *x.name)
        .ok_or(PoolError::NoSuchParam)?;
    // The rate limit is off or within its range.
    let off = spec.name == "ratelimit" && s.value == 0;
    if !off && !(spec.min..=spec.max).contains(&s.value) {
        return Err(PoolError::Sched(tarn_sched::SchedError::Range {
            what: spec.name,
            min: spec.min,
            max: spec.max,
        }));
    }
    (spec.set)(at, s.value);
    Ok(())
}

/// What one call sets: one parameter or two.
pub type Settings = [Option<Setting>; 2];

impl PoolParams {
    /// Row `index` of the list.
    pub fn row(&self, sched: SchedId, index: usize) -> Option<ParamRow> {
        let s = POOL.get(index)?;
        Some(row(s, self, &PoolParams::DEFAULT, sched))
    }

    /// With `settings`, if they are in range together.
    pub fn with(&self, settings: &Settings) -> Result<PoolParams, PoolError> {
        let mut p = *self;
        for s in settings.iter().flatten() {
            set(POOL, &mut p, s)?;
        }
        p.sched.check()?;
        Ok(p)
    }
}

/// Row `index` of a vCPU's list.
pub fn vcpu_row(p: &VcpuParams, sched: SchedId, index: usize) -> Option<ParamRow> {
    let s = VCPU.get(index)?;
    Some(row(s, p, &VcpuParams::DEFAULT, sched))
}

/// Row `index` of a domain's list.
pub fn domain_row(
    d: &DomainParams,
    v: &VcpuParams,
    vcpus: usize,
    sched: SchedId,
    index: usize,
) -> Option<ParamRow> {
    if index == CAP {
        return Some(ParamRow {
            name: Label::truncated("cap"),
            kind: ParamKind {
                unit: Unit::Percent,
                used: true,
            },
            value: u64::from(d.cap),
            default: 0,
            min: 0,
            max: 100 * vcpus as u64,
        });
    }
    vcpu_row(v, sched, if index > CAP { index - 1 } else { index })
}

/// A vCPU's parameters with `settings`, if they are in range together.
pub fn vcpu_with(p: &VcpuParams, settings: &Settings) -> Result<VcpuParams, PoolError> {
    let mut p = *p;
    for s in settings.iter().flatten() {
        set(VCPU, &mut p, s)?;
    }
    p.check()?;
    Ok(p)
}

/// Splits a domain's settings: the cap is its own, all else its vCPUs'.
pub(crate) fn split(
    d: &DomainParams,
    vcpus: usize,
    settings: &Settings,
) -> Result<(DomainParams, Settings), PoolError> {
    let (mut d, mut rest) = (*d, *settings);
    for slot in &mut rest {
        if let Some(s) = slot.take_if(|s| s.name == *"cap") {
            if s.value > 100 * vcpus as u64 {
                return Err(PoolError::CapTooBig);
            }
            d.cap = s.value as u32;
        }
    }
    Ok((d, rest))
}

/// What a plan sets of domains and, in a preview, has not: who is judged later is judged as if it had been.
pub(crate) struct Unset<'a>(pub(crate) &'a [(DomainId, Settings, u32)]);

impl Unset<'_> {
    /// A vCPU's parameters when all is set.
    pub(crate) fn with(&self, d: DomainId, p: &VcpuParams) -> Result<VcpuParams, PoolError> {
        let mut p = *p;
        for (_, settings, _) in self.0.iter().filter(|s| s.0 == d) {
            let (_, rest) = split(&DomainParams::default(), MAX_VCPUS, settings)?;
            p = vcpu_with(&p, &rest)?;
        }
        Ok(p)
    }
}

/// Checks that a scheduler of `sched` takes `params`.
pub(crate) fn check(params: &SchedParams) -> Result<(), PoolError> {
    Ok(params.check()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn setting(name: &str, value: u64) -> Option<Setting> {
        Some(Setting {
            name: Label::new(name).unwrap(),
            value,
        })
    }

    #[test]
    fn a_groups_weight_is_each_processors_or_all_of_theirs() {
        let p = GroupParams::DEFAULT;
        let weight = |p: &GroupParams, vps| p.each(vps).map(|each| each.weight);
        assert_eq!(p.each(3), Ok(VcpuParams::DEFAULT));
        let split = p
            .with(&[setting("split", 1), setting("weight", 500)])
            .unwrap();
        assert_eq!(split.processor.weight, 500);
        assert_eq!((weight(&split, 3), weight(&split, 1)), (Ok(166), Ok(500)));
        // 64 parts of at least 1 would be more than the group says it weighs.
        let small = split.with(&[setting("weight", 63), None]).unwrap();
        let refusal = PoolError::SplitTooThin { processors: 64 };
        assert_eq!(
            (weight(&small, 63), weight(&small, 64)),
            (Ok(1), Err(refusal))
        );
        let apart = small.with(&[setting("split", 0), None]).unwrap();
        assert_eq!(weight(&apart, 64), Ok(63));
        assert!(p.with(&[setting("split", 2), None]).is_err());
        assert!(
            p.with(&[setting("weight", 0), setting("split", 1)])
                .is_err()
        );
        let rows: Vec<_> = (0..).map_while(|i| p.row(registry::DEFAULT, i)).collect();
        let last = rows.last().unwrap();
        assert!(last.name == *"split" && last.value == 0 && last.kind.used);
        assert_eq!(
            split.row(registry::DEFAULT, rows.len() - 1).unwrap().value,
            1
        );
    }

    #[test]
    fn every_row_says_what_set_takes() {
        let sched = registry::DEFAULT;
        let p = PoolParams::DEFAULT;
        for i in 0.. {
            let Some(r) = p.row(sched, i) else { break };
            assert_eq!(r.value, r.default);
            for v in [r.min, r.default, r.max] {
                let s = Some(Setting {
                    name: r.name,
                    value: v,
                });
                // The ends may contradict another parameter; then that is what is said.
                match p.with(&[s, None]) {
                    Ok(q) => assert_eq!(q.row(sched, i).unwrap().value, v),
                    Err(PoolError::Sched(tarn_sched::SchedError::Range { .. })) => {}
                    Err(e) => panic!("{}: {e}", r.name),
                }
            }
            let over = Some(Setting {
                name: r.name,
                value: r.max + 1,
            });
            assert!(p.with(&[over, None]).is_err(), "{}", r.name);
        }
        assert_eq!(
            p.with(&[setting("nonsense", 1), None]).err(),
            Some(PoolError::NoSuchParam)
        );
    }

    #[test]
    fn two_that_limit_each_other_go_together() {
        let v = VcpuParams::DEFAULT;
        let shorter = [setting("rt-period", 2_000), setting("rt-budget", 1_000)];
        assert!(vcpu_with(&v, &[shorter[0], None]).is_err());
        let v = vcpu_with(&v, &shorter).unwrap();
        assert_eq!((v.rt.period, v.rt.budget), (Span::ms(2), Span::ms(1)));
    }

    #[test]
    fn a_domain_has_its_vcpus_parameters_and_a_cap() {
        let (d, v) = (DomainParams { cap: 50 }, VcpuParams::DEFAULT);
        let names: alloc::vec::Vec<_> = (0..)
            .map_while(|i| domain_row(&d, &v, 2, registry::DEFAULT, i))
            .map(|r| r.name)
            .collect();
        assert_eq!(names.len(), VCPU.len() + 1);
        assert!(names[CAP] == *"cap");
        let (d, rest) = split(&d, 2, &[setting("cap", 200), setting("weight", 9)]).unwrap();
        assert_eq!((d.cap, rest[0], rest[1]), (200, None, setting("weight", 9)));
        assert_eq!(
            split(&d, 2, &[setting("cap", 201), None]).err(),
            Some(PoolError::CapTooBig)
        );
    }
}
