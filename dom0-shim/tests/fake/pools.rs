//! The fake's pools, groups and plans: the rules that a prompt must respect, on vectors.

use super::Fake;
use tarn_abi::call::group::{GroupRow, GroupTimes, MemberRow};
use tarn_abi::call::param::{ParamKind, ParamRow, Setting, Unit};
use tarn_abi::call::plan::{Committed, PlannedChange, PlannedPool, PoolRef, Verdict};
use tarn_abi::call::pool::{MemoryFrom, PoolMemory, PoolRow, SchedRow};
use tarn_abi::call::report::{Adjusted, Report};
use tarn_abi::call::{GroupCall, PlanCall, PoolCall, Request};
use tarn_abi::{
    CpuId, CpuSet, DomainId, Errno, GroupId, Instant, Label, PoolId, Regs, SchedId, Span, Text,
    VcpuId,
};

/// The schedulers.
const SCHEDS: [&str; 3] = ["credit", "rtds", "null"];

/// Parameters: name, default, lowest, highest, unit.
pub type Spec = (&'static str, u64, u64, u64, Unit);
pub const DOMAIN: [Spec; 7] = [
    ("weight", 256, 1, 65_535, Unit::Number),
    ("cap", 0, 0, 400, Unit::Percent),
    ("boost-ratio", 250, 0, 500, Unit::PerMille),
    ("boost-interval", 500, 10, 10_000, Unit::Micros),
    ("boost-limit", 0, 0, 100_000, Unit::Micros),
    ("rt-period", 10_000, 100, 10_000_000, Unit::Micros),
    ("rt-budget", 4_000, 10, 10_000_000, Unit::Micros),
];
pub const POOL: [Spec; 4] = [
    ("ratelimit", 1_000, 100, 500_000, Unit::Micros),
    ("boost", 1, 0, 1, Unit::Switch),
    ("boost-ratio", 250, 0, 500, Unit::PerMille),
    ("boost-interval", 500, 10, 10_000, Unit::Micros),
];

pub fn row(specs: &[Spec], values: &[(&str, u64)], index: u32) -> Result<ParamRow, Errno> {
    let (name, default, min, max, unit) = *specs.get(index as usize).ok_or(Errno::End)?;
    Ok(ParamRow {
        name: Label::new(name).unwrap(),
        kind: ParamKind {
            unit,
            used: !name.starts_with("rt-"),
        },
        value: values[index as usize].1,
        default,
        min,
        max,
    })
}

pub fn set(
    specs: &[Spec],
    values: &mut [(&'static str, u64)],
    settings: &[Option<Setting>],
) -> Result<(), Errno> {
    let before = values.to_vec();
    for s in settings.iter().flatten() {
        let at = specs
            .iter()
            .position(|p| s.name == *p.0)
            .ok_or(Errno::NoSuch)?;
        if !(specs[at].2..=specs[at].3).contains(&s.value) {
            values.copy_from_slice(&before);
            return Err(Errno::Invalid);
        }
        values[at].1 = s.value;
    }
    Ok(())
}

#[derive(Clone)]
pub struct Pool {
    pub id: PoolId,
    pub name: String,
    pub cpus: CpuSet,
    pub sched: &'static str,
    pub params: Vec<(&'static str, u64)>,
    pub memory: MemoryFrom,
}

impl Pool {
    pub fn new(id: PoolId, name: &str, cpus: &str, sched: &'static str) -> Pool {
        Pool {
            id,
            name: name.to_owned(),
            cpus: CpuSet::parse(cpus).unwrap_or_default(),
            sched,
            params: POOL.iter().map(|p| (p.0, p.1)).collect(),
            memory: MemoryFrom::Any,
        }
    }
}

pub struct Group {
    pub row: GroupRow,
    pub name: String,
    pub members: Vec<DomainId>,
    pub share: u64,
    #[allow(dead_code, reason = "not every test file looks")]
    pub split: bool,
}

fn nothing() -> Report {
    Report {
        stood_still: Span::ZERO,
        adjusted: Adjusted::NONE,
    }
}

impl Fake {
    pub fn pool_mut(&mut self, id: PoolId) -> Result<&mut Pool, Errno> {
        self.pools
            .iter_mut()
            .find(|p| p.id == id)
            .ok_or(Errno::NoSuch)
    }

    fn free(&self) -> CpuSet {
        let all = CpuSet::first(10);
        self.pools.iter().fold(all, |s, p| s.difference(&p.cpus))
    }

    /// Of a pool: vCPUs behind the number of its CPUs, if it runs null.
    fn stranded(&self, pool: &Pool) -> Vec<(DomainId, u32)> {
        let here = self.domains.iter().filter(|d| d.row.pool == pool.id);
        let vcpus = here.flat_map(|d| (0..d.vcpus.len() as u32).map(|i| (d.id, i)));
        let null = pool.sched == "null";
        vcpus.skip(pool.cpus.len()).filter(|_| null).collect()
    }

    /// With what a change says of vCPUs that have no CPU.
    fn said(&self, mut r: Report) -> Report {
        let short = self.pools.iter().any(|p| !self.stranded(p).is_empty());
        r.adjusted = r.adjusted.with_if(Adjusted::NO_CPU, short);
        r
    }

    pub fn is_stranded(&self, d: DomainId, vcpu: u32) -> bool {
        let mut pools = self.pools.iter();
        pools.any(|p| self.stranded(p).contains(&(d, vcpu)))
    }

    fn populated(&self, id: PoolId) -> bool {
        self.domains.iter().any(|d| d.row.pool == id)
    }

    fn create_pool(&mut self, sched: Option<SchedId>, name: &Text) -> Result<PoolId, Errno> {
        let name = name.as_str().unwrap();
        if self.pools.iter().any(|p| p.name == name) {
            return Err(Errno::Exists);
        }
        let slot = (0..64)
            .find(|i| self.pools.iter().all(|p| p.id.slot != *i))
            .unwrap();
        let sched = SCHEDS[usize::from(sched.map_or(0, |s| s.0))];
        let id = PoolId::new(slot, 1);
        self.pools.push(Pool::new(id, name, "", sched));
        self.pools.sort_by_key(|p| p.id.slot);
        Ok(id)
    }

    fn assign(&mut self, to: Option<PoolId>, cpus: CpuSet) -> Result<Report, Errno> {
        assert!(!cpus.is_empty(), "a call that does nothing");
        if cpus.contains(CpuId(0)) && to != Some(PoolId::POOL0) {
            return Err(Errno::Fixed);
        }
        for p in &self.pools {
            let left = p.cpus.difference(&cpus);
            if Some(p.id) != to && left.is_empty() && !p.cpus.is_empty() && self.populated(p.id) {
                return Err(Errno::LastCpu);
            }
        }
        for p in &mut self.pools {
            p.cpus = if Some(p.id) == to {
                p.cpus.union(&cpus)
            } else {
                p.cpus.difference(&cpus)
            };
        }
        Ok(self.said(nothing()))
    }

    fn destroy_pool(&mut self, id: PoolId) -> Result<(), Errno> {
        if id == PoolId::POOL0 {
            return Err(Errno::Fixed);
        }
        if self.populated(id) {
            return Err(Errno::NotEmpty);
        }
        self.pools.retain(|p| p.id != id);
        Ok(())
    }

    pub fn move_domain(&mut self, id: DomainId, to: PoolId) -> Result<Report, Errno> {
        if id == DomainId::DOM0 {
            return Err(Errno::Fixed);
        }
        if self.pool_mut(to)?.cpus.is_empty() {
            return Err(Errno::NoCpus);
        }
        let d = self.domains.iter_mut().find(|d| d.id == id);
        d.ok_or(Errno::NoSuch)?.row.pool = to;
        Ok(self.said(Report {
            stood_still: Span::us(85),
            adjusted: Adjusted::AFFINITY_VOID,
        }))
    }

    pub fn pool(&mut self, call: PoolCall) -> Regs {
        match call {
            PoolCall::List(c) => {
                let row = self.pools.iter().find(|p| u32::from(p.id.slot) >= c.from);
                c.answer(row.ok_or(Errno::End).map(|p| PoolRow {
                    id: p.id,
                    cpus: p.cpus,
                    domains: self.domains.iter().filter(|d| d.row.pool == p.id).count() as u32,
                    sched: Label::new(p.sched).unwrap(),
                    stranded: self.stranded(p).len() as u32,
                }))
            }
            PoolCall::Name(c) => c.answer(self.pool_mut(c.id).map(|p| Text::new(&p.name).unwrap())),
            PoolCall::Domains(c) => c.answer(
                self.domains
                    .iter()
                    .filter(|d| d.row.pool == c.id && u32::from(d.id.slot) >= c.from)
                    .map(|d| d.id)
                    .min()
                    .ok_or(Errno::End),
            ),
            PoolCall::Find(c) => c.answer(
                self.pools
                    .iter()
                    .find(|p| c.name == *p.name)
                    .map(|p| p.id)
                    .ok_or(Errno::NoSuch),
            ),
            PoolCall::Create(c) => c.answer(self.create_pool(c.sched, &c.name)),
            PoolCall::Destroy(c) => c.answer(self.destroy_pool(c.id)),
            PoolCall::Rename(c) => {
                let name = c.name.as_str().unwrap().to_owned();
                if self.pools.iter().any(|p| p.name == name && p.id != c.id) {
                    return c.answer(Err(Errno::Exists));
                }
                c.answer(self.pool_mut(c.id).map(|p| p.name = name))
            }
            PoolCall::AssignCpus(c) => c.answer(self.assign(c.to, c.cpus)),
            PoolCall::FreeCpus(c) => c.answer(Ok(self.free())),
            PoolCall::SetSched(c) => {
                let set = self.pool_mut(c.id);
                let set = set.map(|p| p.sched = SCHEDS[usize::from(c.sched.0)]);
                c.answer(set.map(|()| {
                    self.said(Report {
                        stood_still: Span::ZERO,
                        adjusted: Adjusted::WEIGHT_UNUSED,
                    })
                }))
            }
            PoolCall::Params(c) => c.answer(
                self.pool_mut(c.id)
                    .and_then(|p| row(&POOL, &p.params, c.index)),
            ),
            PoolCall::SetParams(c) => c.answer(
                self.pool_mut(c.id)
                    .and_then(|p| set(&POOL, &mut p.params, &[Some(c.first), c.second])),
            ),
            PoolCall::Scheds(c) => c.answer(SCHEDS.get(c.index as usize).ok_or(Errno::End).map(
                |name| SchedRow {
                    id: SchedId(c.index as u8),
                    default: c.index == 0,
                    name: Label::new(name).unwrap(),
                },
            )),
            PoolCall::SchedAbout(c) => c.answer(Ok(Text::new("fair").unwrap())),
            PoolCall::Counters(c) => c.answer(if c.index == 0 {
                Ok(tarn_abi::call::Counter {
                    value: 5,
                    name: Text::new("switches").unwrap(),
                })
            } else {
                Err(Errno::End)
            }),
            PoolCall::Memory(c) => c.answer(self.pool_mut(c.id).map(|p| PoolMemory {
                from: p.memory,
                free: 1024,
                used: 2048,
            })),
            PoolCall::SetMemory(c) => c.answer(self.pool_mut(c.id).map(|p| p.memory = c.from)),
        }
    }

    fn group_mut(&mut self, id: GroupId) -> Result<&mut Group, Errno> {
        self.groups
            .iter_mut()
            .find(|g| g.row.id == id)
            .ok_or(Errno::NoSuch)
    }

    fn in_group(&self, d: DomainId) -> Option<GroupId> {
        self.groups
            .iter()
            .find(|g| g.members.contains(&d))
            .map(|g| g.row.id)
    }

    pub fn group(&mut self, call: GroupCall) -> Regs {
        match call {
            GroupCall::List(c) => c.answer(
                self.groups
                    .iter()
                    .filter(|g| {
                        u32::from(g.row.id.slot) >= c.from && g.row.id.pool == c.within.pool
                    })
                    .filter(|g| c.within.is_root() || g.row.parent == c.within)
                    .map(|g| g.row)
                    .min_by_key(|g| g.id.slot)
                    .ok_or(Errno::End),
            ),
            GroupCall::Name(c) => {
                c.answer(self.group_mut(c.id).map(|g| Text::new(&g.name).unwrap()))
            }
            GroupCall::Create(c) => {
                let name = c.name.as_str().unwrap();
                let mut beside = self.groups.iter().filter(|g| g.row.parent == c.parent);
                if beside.any(|g| g.name == name) {
                    return c.answer(Err(Errno::Exists));
                }
                let slot = self.groups.len() as u16 + 1;
                let id = GroupId {
                    pool: c.parent.pool,
                    slot,
                    generation: 0,
                };
                let row = GroupRow {
                    id,
                    parent: c.parent,
                    owner: None,
                    sched: c.sched.unwrap_or(SchedId(0)),
                    processors: c.processors,
                    weight: c.weight,
                    members: 0,
                };
                self.groups.push(Group {
                    row,
                    name: c.name.as_str().unwrap().to_owned(),
                    members: Vec::new(),
                    share: 50,
                    split: c.split,
                });
                c.answer(Ok(id))
            }
            GroupCall::Destroy(c) => {
                let empty = self.group_mut(c.id).map(|g| g.members.is_empty());
                c.answer(match empty {
                    Ok(true) => {
                        self.groups.retain(|g| g.row.id != c.id);
                        Ok(())
                    }
                    Ok(false) => Err(Errno::NotEmpty),
                    Err(e) => Err(e),
                })
            }
            GroupCall::Move(c) => {
                for g in &mut self.groups {
                    g.members.retain(|d| *d != c.domain);
                }
                if c.to.is_root() {
                    return c.answer(Ok(nothing()));
                }
                c.answer(self.group_mut(c.to).map(|g| {
                    g.members.push(c.domain);
                    nothing()
                }))
            }
            GroupCall::Delegate(c) => c.answer(self.group_mut(c.id).map(|g| g.row.owner = c.to)),
            GroupCall::Times(c) => {
                let passed = (self.now.0 - Span::ms(12_345).0) / 100;
                c.answer(self.group_mut(c.id).map(|g| GroupTimes {
                    at: Instant(0),
                    runtime: Span(passed * g.share),
                    siblings: Span::ZERO,
                }))
            }
            GroupCall::Member(c) => {
                let mut all: Vec<(u16, DomainId, u32)> = Vec::new();
                for d in &self.domains {
                    let inside = match self.in_group(d.id) {
                        Some(id) => id == c.id,
                        None => c.id == GroupId::root(d.row.pool),
                    };
                    for i in 0..d.vcpus.len().min(if inside { 8 } else { 0 }) {
                        all.push((d.id.slot * 8 + i as u16, d.id, i as u32));
                    }
                }
                c.answer(
                    all.into_iter()
                        .filter(|v| u32::from(v.0) >= c.from)
                        .min()
                        .ok_or(Errno::End)
                        .map(|(slot, domain, index)| MemberRow {
                            vcpu: VcpuId::new(slot, 0),
                            domain,
                            index,
                            runtime: Span::ZERO,
                        }),
                )
            }
            _ => Regs::refusal(Errno::NotSupported),
        }
    }

    /// Carries out steps, all or none.
    fn carry_out(&mut self) -> Verdict {
        let before = (self.pools.clone(), self.domains.clone());
        let plan = self.plan.clone();
        let mut made = Vec::new();
        for (n, step) in plan.iter().enumerate() {
            let id = |r: &PoolRef, made: &[Option<PoolId>]| match r {
                PoolRef::Free => None,
                PoolRef::Id(id) => Some(*id),
                PoolRef::Step(n) => made[*n as usize],
            };
            let mut new = None;
            let result = match step {
                PlanCall::CreatePool(c) => {
                    self.create_pool(c.sched, &c.name).map(|id| new = Some(id))
                }
                PlanCall::AssignCpus(c) => self.assign(id(&c.to, &made), c.cpus).map(|_| ()),
                PlanCall::DestroyPool(c) => self.destroy_pool(id(&c.pool, &made).unwrap()),
                PlanCall::MoveDomain(c) => self
                    .move_domain(c.domain, id(&c.to, &made).unwrap())
                    .map(|_| ()),
                PlanCall::SetPoolParams(c) => self
                    .pool_mut(id(&c.pool, &made).unwrap())
                    .and_then(|p| set(&POOL, &mut p.params, &[Some(c.first), c.second])),
                PlanCall::SetDomainParams(c) => self
                    .find(c.domain)
                    .and_then(|d| set(&DOMAIN, &mut d.params, &[Some(c.first), c.second])),
                _ => Ok(()),
            };
            made.push(new);
            if let Err(e) = result {
                (self.pools, self.domains) = before;
                return Verdict {
                    steps: plan.len() as u32,
                    failed: n as u32 + 1,
                    why: (e as i64).unsigned_abs() as u32,
                };
            }
        }
        Verdict {
            steps: plan.len() as u32,
            failed: 0,
            why: 0,
        }
    }

    pub fn plan(&mut self, call: PlanCall) -> Regs {
        match call {
            PlanCall::Begin(c) => {
                self.plan.clear();
                c.answer(Ok(()))
            }
            PlanCall::Check(c) => {
                let before = (self.pools.clone(), self.domains.clone());
                let v = self.carry_out();
                self.planned = std::mem::replace(&mut self.pools, before.0);
                self.domains = before.1;
                c.answer(Ok(v))
            }
            PlanCall::Outcome(c) => c.answer(
                self.planned
                    .get(c.index as usize)
                    .ok_or(Errno::End)
                    .map(|p| PlannedPool {
                        pool: if self.pools.iter().any(|q| q.id == p.id) {
                            PoolRef::Id(p.id)
                        } else {
                            PoolRef::Step(0)
                        },
                        cpus: p.cpus,
                        domains: 1,
                        sched: Label::new(p.sched).unwrap(),
                        stranded: self.foreseen,
                    }),
            ),
            PlanCall::Change(c) => {
                let moves = self.plan.iter().filter_map(|s| match s {
                    PlanCall::MoveDomain(m) => Some(*m),
                    _ => None,
                });
                c.answer(
                    moves
                        .into_iter()
                        .nth(c.index as usize)
                        .ok_or(Errno::End)
                        .map(|m| PlannedChange {
                            domain: m.domain,
                            pool: m.to,
                            adjusted: Adjusted::NONE,
                        }),
                )
            }
            PlanCall::Commit(c) => {
                self.verdict = self.carry_out();
                let v = self.verdict;
                c.answer(if v.failed == 0 {
                    Ok(Committed {
                        steps: v.steps,
                        stood_still: Span::ZERO,
                        adjusted: Adjusted::NONE,
                    })
                } else {
                    Err(Errno::from_wire(u64::from(v.why).wrapping_neg()).unwrap())
                })
            }
            PlanCall::LastVerdict(c) => c.answer(Ok(self.verdict)),
            PlanCall::Abort(c) => c.answer(Ok(())),
            step => {
                self.plan.push(step);
                let n = self.plan.len() as u32 - 1;
                match step {
                    PlanCall::CreatePool(c) => c.answer(Ok(n)),
                    PlanCall::DestroyPool(c) => c.answer(Ok(n)),
                    PlanCall::RenamePool(c) => c.answer(Ok(n)),
                    PlanCall::AssignCpus(c) => c.answer(Ok(n)),
                    PlanCall::MoveDomain(c) => c.answer(Ok(n)),
                    PlanCall::SetSched(c) => c.answer(Ok(n)),
                    PlanCall::SetPoolParams(c) => c.answer(Ok(n)),
                    PlanCall::SetDomainParams(c) => c.answer(Ok(n)),
                    _ => unreachable!(),
                }
            }
        }
    }
}
