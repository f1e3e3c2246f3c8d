//! Listings: what is where and how it fares. Copies by value; lists are read by position, one lock at a time.
//!
//! Must never hand out a guard or walk a table in a hot path. Neighbours: hv's hypercalls, the simulator's report.

use crate::error::PoolError;
use crate::groups::GroupId;
use crate::name::Name;
use crate::pool::{DomainParams, Pool, PoolParams, Wfi};
use crate::runstate::{DomainTimes, VcpuTimes};
use crate::set::{FREE, PoolSet, slot_of};
use core::sync::atomic::Ordering;
use spin::RelaxStrategy;
use tarn_abi::{
    CpuId, CpuSet, DomainId, Instant, MAX_CPUS, MAX_POOLS, PoolId, SchedId, Span, VcpuId,
};
use tarn_sched::{SchedParams, Stats, Totals, VcpuParams, registry};

/// A pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolInfo {
    /// Its id.
    pub id: PoolId,
    /// Its name.
    pub name: Name,
    /// CPUs that are in it.
    pub cpus: CpuSet,
    /// CPUs that are on their way in.
    pub incoming: CpuSet,
    /// Its scheduler.
    pub sched: SchedId,
    /// The scheduler's name.
    pub sched_name: &'static str,
    /// The scheduler's parameters.
    pub params: SchedParams,
    /// WFI of its guests.
    pub wfi: Wfi,
    /// How many domains are in it.
    pub domains: usize,
}

/// A domain.
#[derive(Clone, Copy, Debug)]
pub struct DomainInfo {
    /// Its pool.
    pub pool: PoolId,
    /// Its parameters.
    pub params: DomainParams,
    /// How many vCPUs it has.
    pub vcpus: usize,
    /// How often it is paused.
    pub paused: u32,
    /// Killed.
    pub dead: bool,
    /// On its way to another pool.
    pub moving: bool,
    /// Run states, as of now.
    pub times: DomainTimes,
    /// The scheduler's counters, all vCPUs together.
    pub stats: Stats,
}

/// A vCPU.
#[derive(Clone, Copy, Debug)]
pub struct VcpuInfo {
    /// Its domain.
    pub domain: DomainId,
    /// Its pool.
    pub pool: PoolId,
    /// Its group in there.
    pub group: Option<GroupId>,
    /// The CPU that holds its registers.
    pub cpu: Option<CpuId>,
    /// The CPU it ran on last.
    pub last: Option<CpuId>,
    /// Its parameters.
    pub params: VcpuParams,
    /// Run states, as of now.
    pub times: VcpuTimes,
    /// The scheduler's counters, of all schedulers it has been under.
    pub stats: Stats,
    /// It has no CPU, and gets none before another vCPU leaves or a CPU comes.
    pub stranded: bool,
}

/// A CPU.
#[derive(Clone, Copy, Debug)]
pub struct CpuInfo {
    /// The pool it is in; `None` = free (or not up).
    pub pool: Option<PoolId>,
    /// Whether it is up.
    pub online: bool,
    /// Time spent with nothing to run.
    pub idle: Span,
}

impl<R: RelaxStrategy> PoolSet<R> {
    /// The `n`th pool there is.
    pub fn pool_at(&self, n: usize) -> Option<PoolId> {
        self.used_pools().nth(n)
    }

    fn used_pools(&self) -> impl Iterator<Item = PoolId> {
        (0..MAX_POOLS).filter_map(|slot| {
            let p = self.pools[slot].lock();
            p.is_some().then(|| self.id_of(slot))
        })
    }

    /// The pool called `name`.
    pub fn find_pool(&self, name: &str) -> Option<PoolId> {
        self.used_pools()
            .find(|id| self.lock_pool(*id).is_ok_and(|p| p.name.as_str() == name))
    }

    /// What a pool is.
    pub fn pool_info(&self, id: PoolId) -> Result<PoolInfo, PoolError> {
        let p = self.lock_pool(id)?;
        Ok(PoolInfo {
            id,
            name: p.name,
            cpus: p.cpus,
            incoming: p.incoming,
            sched: p.kind,
            sched_name: registry::row(p.kind).map_or("?", |r| r.name),
            params: p.params,
            wfi: p.wfi,
            domains: p.doms.iter().count(),
        })
    }

    /// What can be set of a pool.
    pub fn pool_params(&self, id: PoolId) -> Result<PoolParams, PoolError> {
        Ok(self.lock_pool(id)?.all_params())
    }

    /// The `n`th domain of a pool, in no particular order.
    pub fn domain_at(&self, pool: PoolId, n: usize) -> Option<DomainId> {
        let p = self.lock_pool(pool).ok()?;
        p.doms.iter().nth(n).map(|d| d.id)
    }

    /// The `n`th vCPU of a domain.
    pub fn vcpu_at(&self, d: DomainId, n: usize) -> Option<VcpuId> {
        let (mut p, dom, _) = self.lock_domain(d).ok()?;
        let row = *p.doms.at(dom).vcpus.get(n)?;
        p.rows.get(row).map(|r| r.id)
    }

    /// How a domain fares.
    pub fn domain_info(&self, d: DomainId, now: Instant) -> Result<DomainInfo, PoolError> {
        let (mut guard, dom, slot) = self.lock_domain(d)?;
        let p: &mut Pool = &mut guard;
        let now = p.tick(now);
        let pool = self.id_of(usize::from(slot));
        let mut stats = Stats::default();
        for i in 0..p.doms.at(dom).vcpus.len() {
            let row = p.doms.at(dom).vcpus[i];
            stats.add(&p.stats(row));
        }
        let row = p.doms.at(dom);
        Ok(DomainInfo {
            pool,
            params: row.params,
            vcpus: row.vcpus.len(),
            paused: row.paused,
            dead: row.dead,
            moving: row.moving.is_some(),
            times: row.times.at(now),
            stats,
        })
    }

    /// How a vCPU fares.
    pub fn vcpu_info(&self, v: VcpuId, now: Instant) -> Result<VcpuInfo, PoolError> {
        let (mut guard, row) = self.lock_vcpu(v).ok_or(PoolError::NoSuchVcpu)?;
        let p: &mut Pool = &mut guard;
        let now = p.tick(now);
        let r = p.rows.at(row);
        let (ent, dom) = (r.ent, r.dom);
        let (cpu, last, params, times) = (r.cpu(), r.last, r.params, r.times.at(now));
        let domain = p.doms.at(dom).id;
        let group = p.group_id(ent.node);
        let pool = self.id_of(self.vcpu_home(v).map_or(0, |h| h.pool()));
        let (stats, stranded) = (p.stats(row), p.sched().is_stranded(ent, false));
        Ok(VcpuInfo {
            domain,
            pool,
            group,
            cpu,
            last,
            params,
            times,
            stats,
            stranded,
        })
    }

    /// What all vCPUs together have counted, those that are no more included: it never becomes less.
    pub fn all_stats(&self) -> Stats {
        let config = self.config.lock();
        let mut all = config.gone;
        for slot in 0..MAX_POOLS {
            let Some(mut p) = self.lock_present(slot) else {
                continue;
            };
            for row in 0..p.rows.len() as u16 {
                if p.rows.get(row).is_some() {
                    all.add(&p.stats(row));
                }
            }
        }
        all
    }

    /// Counters of a pool's scheduler.
    pub fn pool_totals(&self, id: PoolId) -> Result<Totals, PoolError> {
        Ok(self.lock_pool(id)?.sched().totals())
    }

    /// Checks every pool's scheduler and run states against themselves; for tests, it takes its time.
    pub fn check(&self) -> Result<(), &'static str> {
        for id in self.used_pools() {
            let Ok(p) = self.lock_pool(id) else { continue };
            p.sched.check(p.clock)?;
            for d in p.doms.iter() {
                let mut counts = [0u16; 5];
                for row in d.vcpus.iter().filter_map(|&r| p.rows.get(r)) {
                    if row.state() != row.times.state {
                        return Err("a vCPU's run state is not what its row says");
                    }
                    counts[row.times.state as usize] += 1;
                }
                if counts != d.times.counts {
                    return Err("a domain's run state counts are wrong");
                }
            }
        }
        Ok(())
    }

    /// How a CPU fares. `None`: the machine has no such CPU.
    pub fn cpu_info(&self, cpu: CpuId, now: Instant) -> Option<CpuInfo> {
        if !self.config.lock().present.contains(cpu) {
            return None;
        }
        let c = self.cpus.get(cpu.index())?;
        let idle = loop {
            let since = c.idle_since.load(Ordering::Acquire);
            let total = c.idle.load(Ordering::Acquire);
            if c.idle_since.load(Ordering::Acquire) == since {
                break if since == 0 {
                    total
                } else {
                    total.saturating_add(now.0.saturating_sub(since - 1))
                };
            }
        };
        let member = c.member.load(Ordering::Acquire);
        let pool = (member != FREE).then(|| self.id_of(slot_of(member)));
        Some(CpuInfo {
            pool,
            online: c.online.load(Ordering::Acquire),
            idle: Span(idle),
        })
    }

    /// Whether two CPUs are in the same pool (or both in none) at this moment.
    #[inline]
    pub fn neighbours(&self, a: CpuId, b: CpuId) -> bool {
        let member = |c: CpuId| {
            self.cpus
                .get(c.index())
                .map(|c| c.member.load(Ordering::Relaxed))
        };
        member(a) == member(b)
    }

    /// Whether a vCPU belongs to the pool `cpu` is in: then its lock is the one this CPU takes anyway.
    #[inline]
    pub fn at_home(&self, cpu: CpuId, v: VcpuId) -> bool {
        let member = self
            .cpus
            .get(cpu.index())
            .map_or(FREE, |c| c.member.load(Ordering::Relaxed));
        self.vcpu_home(v)
            .is_none_or(|h| h.pool() == slot_of(member))
    }

    /// How often CPUs and domains have changed pools: as long as this number stays, so does `at_home` of everybody. Who
    /// changes it kicks the CPUs that are concerned afterwards.
    #[inline]
    pub fn moves(&self) -> u32 {
        self.moved.load(Ordering::Acquire)
    }

    /// A CPU of the pool `v` is in, to watch timers for it while it is at rest: where it ran last, else any that it may
    /// run on; one on its way into the pool if there is no other. `None`: the pool has none, or there is no such vCPU.
    pub fn keeper(&self, v: VcpuId) -> Option<CpuId> {
        let (guard, row) = self.lock_vcpu(v)?;
        let p: &Pool = &guard;
        let r = p.rows.get(row)?;
        if let Some(last) = r.last.filter(|c| p.cpus.contains(*c)) {
            return Some(last);
        }
        let likely = [p.cpus.intersection(&r.params.affinity), p.cpus, p.incoming];
        let set = likely.into_iter().find(|s| !s.is_empty())?;
        // Spread over all of them.
        set.iter().nth(v.index() % set.len())
    }

    /// The pool a CPU is on its way into, if it is not the one it is in.
    pub fn coming(&self, cpu: CpuId) -> Option<PoolId> {
        let c = self.cpus.get(cpu.index())?;
        let want = c.want.load(Ordering::Acquire);
        (want != FREE && want != c.member.load(Ordering::Acquire))
            .then(|| self.id_of(slot_of(want)))
    }

    /// CPUs that belong to no pool and are not on their way into one.
    pub fn free_cpus(&self) -> CpuSet {
        let present = self.config.lock().present;
        (0..MAX_CPUS as u16)
            .map(CpuId)
            .filter(|c| present.contains(*c))
            .filter(|c| {
                let c = &self.cpus[c.index()];
                c.member.load(Ordering::Acquire) == FREE && c.want.load(Ordering::Acquire) == FREE
            })
            .collect()
    }
}
