//! What a plan amounts to: the pools, CPUs and domains as they will be, checked as a whole.
//!
//! Steps are applied in their order to a copy of what matters; names and ids are judged step by step, and what must hold
//! at the end (no pool with domains and without CPUs, no domain in a pool that goes) at the end only, so that a plan may
//! pass through states that could not last. Changes nothing. Neighbours: `plan.rs`, `change.rs`.

use crate::error::PoolError;
use crate::name::Name;
use crate::params::{Settings, split, vcpu_with};
use crate::plan::{Plan, Refusal, Step, Target};
use crate::pool::PoolParams;
use crate::set::{Config, FREE, PoolSet};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use spin::RelaxStrategy;
use tarn_abi::{CpuId, CpuSet, DomainId, MAX_CPUS, MAX_POOLS, PoolId, SchedId};
use tarn_sched::{VcpuParams, registry};

/// A pool as it will be.
pub(crate) struct ModelPool {
    /// Its slot, if it exists.
    pub(crate) slot: Option<u8>,
    /// The step that makes it, if it does not.
    pub(crate) made_by: u32,
    pub(crate) name: Name,
    pub(crate) renamed: bool,
    pub(crate) kind: SchedId,
    /// The scheduler of a pool that exists becomes another.
    pub(crate) exchange: bool,
    pub(crate) params: PoolParams,
    pub(crate) adjusted: bool,
    pub(crate) cpus: CpuSet,
    pub(crate) had: CpuSet,
    pub(crate) domains: u32,
    /// vCPUs, and virtual processors of groups.
    entities: u32,
    pub(crate) gone: bool,
    /// The last step about its CPUs, about its domains, and about itself.
    lost_by: u32,
    joined_by: u32,
    pub(crate) set_by: u32,
}

impl ModelPool {
    /// Whether the new places under `null`, where who has no CPU waits for ever, might leave dom0 without one.
    fn could_strand_dom0(&self) -> bool {
        let null = registry::row(self.kind).is_some_and(|r| r.strands);
        let moved = self.exchange || !self.had.difference(&self.cpus).is_empty();
        null && moved && self.entities as usize > self.cpus.len()
    }
}

/// A domain that will be elsewhere.
pub(crate) struct ModelMove {
    pub(crate) domain: DomainId,
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) step: u32,
}

/// See the head of this file.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) pools: Vec<ModelPool>,
    pub(crate) moves: Vec<ModelMove>,
    /// CPUs that will be elsewhere: which pool (none = free), and the step.
    pub(crate) cpus: Vec<(CpuId, Option<usize>, u32)>,
    pub(crate) settings: Vec<(DomainId, Settings, u32)>,
    pub(crate) groups: Vec<(DomainId, Option<u16>, Option<crate::groups::GroupId>, u32)>,
}

fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), PoolError> {
    list.try_reserve(1).map_err(|_| PoolError::NoMemory)?;
    list.push(item);
    Ok(())
}

impl Model {
    fn find(&self, t: Target, ids: impl Fn(usize) -> PoolId) -> Result<usize, PoolError> {
        match t {
            Target::Step(n) => self
                .pools
                .iter()
                .position(|p| p.slot.is_none() && p.made_by == n && !p.gone)
                .ok_or(PoolError::NoSuchStep),
            Target::Id(id) => {
                let at = self
                    .pools
                    .iter()
                    .position(|p| p.slot.map(u16::from) == Some(id.slot))
                    .ok_or(PoolError::NoSuchPool)?;
                if ids(id.index()) != id {
                    return Err(PoolError::Stale);
                }
                if self.pools[at].gone {
                    return Err(PoolError::NoSuchPool);
                }
                Ok(at)
            }
        }
    }

    fn name_free(&self, name: &Name, but: Option<usize>) -> Result<(), PoolError> {
        let taken = self
            .pools
            .iter()
            .enumerate()
            .any(|(i, p)| !p.gone && Some(i) != but && p.name == *name);
        if taken {
            Err(PoolError::NameTaken)
        } else {
            Ok(())
        }
    }

    /// What must hold at the end.
    fn judge(&self) -> Result<(), Refusal> {
        for p in &self.pools {
            let (step, error) = if p.gone && p.domains > 0 {
                (p.set_by, PoolError::HasDomains)
            } else if !p.gone && p.domains > 0 && p.cpus.is_empty() {
                if p.had.is_empty() {
                    (p.joined_by, PoolError::NoCpus)
                } else {
                    (p.lost_by, PoolError::LastCpu)
                }
            } else if p.slot == Some(0) && p.could_strand_dom0() {
                (p.lost_by.max(p.set_by), PoolError::Dom0Waits)
            } else {
                continue;
            };
            return Err(Refusal { step, error });
        }
        let alive = self.pools.iter().filter(|p| !p.gone || p.slot.is_some());
        let made = self.pools.iter().filter(|p| p.slot.is_none() && !p.gone);
        if alive.count() > MAX_POOLS
            && let Some(last) = made.map(|p| p.made_by).max()
        {
            return Err(Refusal {
                step: last,
                error: PoolError::TooManyPools,
            });
        }
        Ok(())
    }
}

impl<R: RelaxStrategy> PoolSet<R> {
    /// What `plan` amounts to. Under the config lock.
    pub(crate) fn model(&self, config: &Config, plan: &Plan) -> Result<Model, Refusal> {
        let mut m = Model::default();
        self.snapshot(&mut m)
            .map_err(|error| Refusal { step: 0, error })?;
        for (i, step) in plan.steps().iter().enumerate() {
            let n = i as u32;
            self.apply(config, &mut m, step, n)
                .map_err(|error| Refusal { step: n, error })?;
        }
        m.judge()?;
        // What ends where it began is no change.
        m.moves.retain(|x| x.from != x.to);
        let Model { pools, cpus, .. } = &mut m;
        cpus.retain(|(cpu, to, _)| {
            let want = self.cpus[cpu.index()].want.load(Ordering::Acquire);
            match to.map(|t| pools[t].slot) {
                None => want != FREE,
                Some(Some(s)) => want != u16::from(s) + 1,
                Some(None) => true,
            }
        });
        Ok(m)
    }

    fn snapshot(&self, m: &mut Model) -> Result<(), PoolError> {
        for slot in 0..MAX_POOLS {
            let Ok(mut p) = self.lock_pool(self.id_of(slot)) else {
                continue;
            };
            push(
                &mut m.pools,
                ModelPool {
                    slot: Some(slot as u8),
                    made_by: 0,
                    name: p.name,
                    renamed: false,
                    kind: p.kind,
                    exchange: false,
                    params: p.all_params(),
                    adjusted: false,
                    cpus: p.future_cpus(),
                    had: p.future_cpus(),
                    domains: p.domains.into(),
                    entities: p.entities(),
                    gone: false,
                    lost_by: 0,
                    joined_by: 0,
                    set_by: 0,
                },
            )?;
        }
        Ok(())
    }

    fn apply(&self, config: &Config, m: &mut Model, step: &Step, n: u32) -> Result<(), PoolError> {
        let ids = |slot: usize| self.id_of(slot);
        match *step {
            Step::CreatePool { name, sched } => {
                m.name_free(&name, None)?;
                registry::row(sched).ok_or(tarn_sched::SchedError::UnknownScheduler)?;
                push(
                    &mut m.pools,
                    ModelPool {
                        slot: None,
                        made_by: n,
                        name,
                        renamed: false,
                        kind: sched,
                        exchange: false,
                        params: PoolParams::DEFAULT,
                        adjusted: false,
                        cpus: CpuSet::EMPTY,
                        had: CpuSet::EMPTY,
                        domains: 0,
                        entities: 0,
                        gone: false,
                        lost_by: n,
                        joined_by: n,
                        set_by: n,
                    },
                )
            }
            Step::DestroyPool(t) => {
                let at = m.find(t, ids)?;
                if m.pools[at].slot == Some(0) {
                    return Err(PoolError::Pool0);
                }
                for cpu in m.pools[at].cpus.iter() {
                    place(m, cpu, None, n)?;
                }
                m.pools[at].gone = true;
                m.pools[at].set_by = n;
                Ok(())
            }
            Step::Rename(t, name) => {
                let at = m.find(t, ids)?;
                m.name_free(&name, Some(at))?;
                let p = &mut m.pools[at];
                (p.name, p.renamed) = (name, true);
                Ok(())
            }
            Step::Cpus(to, cpus) => {
                let to = to.map(|t| m.find(t, ids)).transpose()?;
                if !cpus.difference(&config.present).is_empty() {
                    return Err(PoolError::NoSuchCpu);
                }
                let home = to.and_then(|t| m.pools[t].slot);
                if cpus.contains(CpuId::BOOT) && home != Some(0) {
                    return Err(PoolError::BootCpu);
                }
                cpus.iter().try_for_each(|cpu| place(m, cpu, to, n))
            }
            Step::MoveDomain(d, to) => {
                let to = m.find(to, ids)?;
                if d == DomainId::DOM0 && m.pools[to].slot != Some(0) {
                    return Err(PoolError::Dom0);
                }
                let (guard, dom, slot) = self.lock_domain(d)?;
                let vcpus = guard.doms.get(dom).map_or(0, |d| d.vcpus.len() as u32);
                drop(guard);
                let known = m.moves.iter().position(|x| x.domain == d);
                let from = match known {
                    Some(i) => m.moves[i].to,
                    None => m
                        .pools
                        .iter()
                        .position(|p| p.slot == Some(slot))
                        .ok_or(PoolError::NoSuchPool)?,
                };
                m.pools[from].domains = m.pools[from].domains.saturating_sub(1);
                m.pools[from].entities = m.pools[from].entities.saturating_sub(vcpus);
                m.pools[to].domains += 1;
                m.pools[to].entities += vcpus;
                m.pools[to].joined_by = n;
                match known {
                    Some(i) => {
                        m.moves[i].to = to;
                        m.moves[i].step = n;
                        Ok(())
                    }
                    None => push(
                        &mut m.moves,
                        ModelMove {
                            domain: d,
                            from,
                            to,
                            step: n,
                        },
                    ),
                }
            }
            Step::SetSched(t, sched) => {
                let at = m.find(t, ids)?;
                registry::row(sched).ok_or(tarn_sched::SchedError::UnknownScheduler)?;
                let was = match m.pools[at].slot {
                    Some(slot) => Some(self.lock_pool(self.id_of(usize::from(slot)))?.kind),
                    None => None,
                };
                let p = &mut m.pools[at];
                p.kind = sched;
                p.exchange = was.is_some_and(|k| k != sched);
                p.set_by = n;
                Ok(())
            }
            Step::PoolParams(t, settings) => {
                let at = m.find(t, ids)?;
                let p = &mut m.pools[at];
                p.params = p.params.with(&settings)?;
                crate::params::check(&p.params.sched)?;
                p.adjusted = true;
                p.set_by = n;
                Ok(())
            }
            Step::DomainParams(d, settings) => {
                let (guard, dom, _) = self.lock_domain(d)?;
                let row = guard.doms.get(dom).ok_or(PoolError::NoSuchDomain)?;
                let (_, rest) = split(&row.params, row.vcpus.len(), &settings)?;
                drop(guard);
                // Names only; values are judged with each vCPU's own when they are set.
                match vcpu_with(&VcpuParams::DEFAULT, &rest) {
                    Ok(_) | Err(PoolError::Sched(_)) => {}
                    Err(e) => return Err(e),
                }
                push(&mut m.settings, (d, settings, n))
            }
            Step::Group(d, only, g) => push(&mut m.groups, (d, only, g, n)),
        }
    }
}

/// Notes where a CPU will be.
fn place(m: &mut Model, cpu: CpuId, to: Option<usize>, n: u32) -> Result<(), PoolError> {
    if m.cpus.len() > MAX_CPUS {
        return Err(PoolError::NoMemory);
    }
    for p in &mut m.pools {
        if p.cpus.contains(cpu) {
            p.cpus.remove(cpu);
            p.lost_by = n;
        }
    }
    if let Some(t) = to {
        m.pools[t].cpus.insert(cpu);
    }
    match m.cpus.iter().position(|c| c.0 == cpu) {
        Some(i) => {
            m.cpus[i] = (cpu, to, n);
            Ok(())
        }
        None => push(&mut m.cpus, (cpu, to, n)),
    }
}
