//! Area 5: scheduling groups, and what a domain may do inside those that are delegated to it.
//!
//! To a domain only its delegated groups and what is inside exist. dom0's words of refusal are kept (why.rs), a domain's
//! are not.

use super::{change, why};
use crate::domain::{Domain, table};
use crate::mem::heap;
use crate::run::POOLS;
use crate::{irq, time};
use abi::call::group::{GroupRow, GroupTimes, MemberRow};
use abi::call::guest::BOOSTS;
use abi::call::text::Text;
use abi::call::{Counter, GroupCall, Request};
use abi::{DomainId, Errno, GroupId, MAX_POOLS, Regs, VcpuId};
use pools::{GroupConfig, GroupInfo, PoolError, Progress, Step};

/// Most groups inside what is delegated to one domain.
const OWN_GROUPS: usize = 16;
/// Most groups of a pool.
const SLOTS: usize = 256;

/// Who calls.
struct Caller<'a> {
    domain: &'a Domain,
    dom0: bool,
}

impl Caller<'_> {
    fn no(&self, e: PoolError) -> Errno {
        if self.dom0 { why::said(e) } else { e.errno() }
    }

    /// Whether the caller may look at a group; for dom0 the pool itself is one, too.
    fn sees(&self, g: GroupId) -> Result<(), Errno> {
        if self.dom0 {
            return Ok(());
        }
        inner(g)
            .and_then(|n| POOLS.delegated_around(g.pool, n, self.domain.id))
            .map(|_| ())
            .ok_or(Errno::NoSuch)
    }

    /// Whether the caller may change a group itself: dom0, or whom a group around it belongs to.
    fn owns(&self, g: GroupId) -> Result<(), Errno> {
        if self.dom0 {
            return Ok(());
        }
        let n = inner(g).ok_or(Errno::NoSuch)?;
        match POOLS.delegated_around(g.pool, n, self.domain.id) {
            None => Err(Errno::NoSuch),
            Some(top) if top == n => Err(Errno::Denied),
            Some(_) => Ok(()),
        }
    }
}

/// As the pools name it; none: the pool itself.
fn inner(g: GroupId) -> Option<pools::GroupId> {
    (!g.is_root()).then_some(pools::GroupId {
        slot: g.slot,
        generation: g.generation,
    })
}

/// As the wire names it.
pub fn outer(pool: abi::PoolId, g: Option<pools::GroupId>) -> GroupId {
    g.map_or(GroupId::root(pool), |g| GroupId {
        pool,
        slot: g.slot,
        generation: g.generation,
    })
}

/// Carries out a call of this area by a vCPU of `domain`; `regs` are its registers.
pub fn handle(call: GroupCall, regs: &Regs, domain: &Domain) -> Regs {
    let who = Caller {
        domain,
        dom0: domain.is_control(),
    };
    match call {
        GroupCall::List(c) => c.answer(list(&who, c.within, c.from)),
        GroupCall::Name(c) => c.answer(info(&who, c.id).map(|i| Text::truncated(i.name.as_str()))),
        GroupCall::Create(c) => c.answer(create(&who, &c)),
        GroupCall::Destroy(c) => c.answer(who.owns(c.id).and_then(|()| destroy(&who, c.id))),
        GroupCall::Move(c) => c.answer(
            here(c.domain, c.to)
                .and_then(|()| change::step(regs, true, Step::Group(c.domain, None, inner(c.to)))),
        ),
        GroupCall::MoveVcpu(c) => c.answer(move_vcpu(&who, regs, c.vcpu, c.to)),
        GroupCall::Delegate(c) => c.answer(inner(c.id).ok_or(Errno::Invalid).and_then(|g| {
            change::settled(true)?;
            POOLS.delegate(c.id.pool, g, c.to).map_err(why::said)
        })),
        GroupCall::Mine(c) => c.answer(mine(&who, c.index)),
        GroupCall::Times(c) => c.answer(times(&who, c.id)),
        GroupCall::Member(c) => c.answer(member(&who, c.id, c.from)),
        GroupCall::Params(c) => c.answer(info(&who, c.id).and_then(|i| {
            let sched = parent_sched(c.id, &i);
            i.params.row(sched, c.index as usize).ok_or(Errno::End)
        })),
        GroupCall::SetParams(c) => c.answer(who.owns(c.id).and_then(|()| {
            let i = info(&who, c.id)?;
            let settings = [Some(c.first), c.second];
            let p = i.params.with(&settings).map_err(|e| who.no(e))?;
            change::settled(who.dom0)?;
            let kick = POOLS
                .adjust_group(c.id.pool, i.id, &p, time::now())
                .map_err(|e| who.no(e))?;
            irq::send(kick);
            Ok(())
        })),
        GroupCall::Boosts(c) => c.answer(info(&who, c.id).and_then(|i| boosts(&i.stats, c.index))),
    }
}

/// Row `index` of the counters of boosts.
pub fn boosts(s: &pools::Stats, index: u32) -> Result<Counter, Errno> {
    let i = index as usize;
    let name = BOOSTS.get(i).ok_or(Errno::End)?;
    let rest = [s.exhausted, s.storm_held, s.storm_lines];
    let value = s.boosts.iter().chain(&s.deboosts).chain(&rest).nth(i);
    Ok(Counter {
        value: value.copied().unwrap_or(0),
        name: Text::truncated(name),
    })
}

fn info(who: &Caller<'_>, g: GroupId) -> Result<GroupInfo, Errno> {
    who.sees(g)?;
    let n = inner(g).ok_or(Errno::NoSuch)?;
    POOLS.group_info(g.pool, n).map_err(|e| who.no(e))
}

fn row(pool: abi::PoolId, i: &GroupInfo) -> GroupRow {
    GroupRow {
        id: outer(pool, Some(i.id)),
        parent: outer(pool, i.parent),
        owner: i.owner,
        sched: i.sched,
        processors: i.vps.into(),
        weight: i.params.processor.weight,
        members: i.members,
    }
}

fn parent_sched(g: GroupId, i: &GroupInfo) -> abi::SchedId {
    match i.parent {
        Some(p) => POOLS.group_info(g.pool, p).map(|i| i.sched),
        None => POOLS.pool_info(g.pool).map(|i| i.sched),
    }
    .unwrap_or(pools::registry::DEFAULT)
}

fn list(who: &Caller<'_>, within: GroupId, from: u32) -> Result<GroupRow, Errno> {
    who.sees(within)?;
    // A stale id is said to be so even where the list is empty.
    if let Some(n) = inner(within) {
        POOLS.group_info(within.pool, n).map_err(|e| who.no(e))?;
    } else {
        POOLS.pool_info(within.pool).map_err(|e| who.no(e))?;
    }
    for n in 0..SLOTS {
        let Some(g) = POOLS.group_at(within.pool, n) else {
            break;
        };
        let inside = Some(g) != inner(within)
            && POOLS.group_is_inside(within.pool, g, inner(within)) == Ok(true);
        if u32::from(g.slot) >= from
            && inside
            && let Ok(i) = POOLS.group_info(within.pool, g)
        {
            return Ok(row(within.pool, &i));
        }
    }
    Err(Errno::End)
}

fn mine(who: &Caller<'_>, index: u32) -> Result<GroupRow, Errno> {
    let pool = POOLS
        .domain_info(who.domain.id, time::now())
        .map_err(|e| e.errno())?
        .pool;
    let mut left = index;
    for n in 0..SLOTS {
        let Some(g) = POOLS.group_at(pool, n) else {
            break;
        };
        if let Ok(i) = POOLS.group_info(pool, g)
            && i.owner == Some(who.domain.id)
        {
            if left == 0 {
                return Ok(GroupRow {
                    // What is around it is none of the domain's business.
                    parent: GroupId::root(pool),
                    ..row(pool, &i)
                });
            }
            left -= 1;
        }
    }
    Err(Errno::End)
}

fn create(who: &Caller<'_>, c: &abi::call::group::Create) -> Result<GroupId, Errno> {
    who.sees(c.parent)?;
    change::settled(who.dom0)?;
    if !who.dom0 {
        let own = (0..SLOTS)
            .map_while(|n| POOLS.group_at(c.parent.pool, n))
            .filter(|g| {
                POOLS
                    .delegated_around(c.parent.pool, *g, who.domain.id)
                    .is_some()
            })
            .count();
        if own > OWN_GROUPS {
            return Err(Errno::NoMemory);
        }
    }
    let name = c.name.as_str().ok_or(Errno::Invalid)?;
    let mut config = GroupConfig {
        parent: inner(c.parent),
        vps: u16::try_from(c.processors).map_err(|_| Errno::Invalid)?,
        ..GroupConfig::new(name)
    };
    if let Some(s) = c.sched {
        config.sched = s;
    }
    config.processor.weight = c.weight;
    config.split = c.split;
    if !heap::reserve(64 * 1024) {
        return Err(Errno::NoMemory);
    }
    POOLS
        .create_group(c.parent.pool, &config, time::now())
        .map(|g| outer(c.parent.pool, Some(g)))
        .map_err(|e| who.no(e))
}

fn destroy(who: &Caller<'_>, g: GroupId) -> Result<(), Errno> {
    let n = inner(g).ok_or(Errno::Invalid)?;
    change::settled(who.dom0)?;
    match POOLS.destroy_group(g.pool, n, time::now()) {
        Progress::Done(k) => {
            irq::send(k);
            Ok(())
        }
        Progress::Again(k) => {
            irq::send(k);
            Err(Errno::Again)
        }
        Progress::Refused(e) => Err(who.no(e)),
    }
}

/// Whether a group is of the pool a domain is in.
fn here(d: DomainId, g: GroupId) -> Result<(), Errno> {
    let pool = POOLS.domain_info(d, time::now()).map_err(why::said)?.pool;
    if pool == g.pool {
        Ok(())
    } else if g.pool.index() < MAX_POOLS && POOLS.pool_info(g.pool).is_err() {
        Err(Errno::NoSuch)
    } else {
        Err(why::said(PoolError::NotHere))
    }
}

fn move_vcpu(
    who: &Caller<'_>,
    regs: &Regs,
    v: VcpuId,
    to: GroupId,
) -> Result<abi::call::report::Report, Errno> {
    who.sees(to)?;
    let (d, index) = table::vcpu(v).ok_or(Errno::NoSuch)?;
    let at = POOLS.vcpu_info(v, time::now()).map_err(|e| who.no(e))?;
    if !who.dom0 {
        if d.id != who.domain.id {
            return Err(Errno::NoSuch);
        }
        who.sees(outer(at.pool, at.group))
            .map_err(|_| Errno::Denied)?;
    }
    if at.pool != to.pool {
        return Err(who.no(PoolError::NotHere));
    }
    change::step(
        regs,
        who.dom0,
        Step::Group(d.id, Some(index as u16), inner(to)),
    )
}

fn times(who: &Caller<'_>, g: GroupId) -> Result<GroupTimes, Errno> {
    who.sees(g)?;
    let n = inner(g).ok_or(Errno::Invalid)?;
    let at = time::now();
    let (runtime, all) = POOLS.group_times(g.pool, n, at).map_err(|e| who.no(e))?;
    // Of a delegated group's rivals its owner is told nothing.
    let siblings = if who.owns(g).is_ok() { all } else { runtime };
    Ok(GroupTimes {
        at,
        runtime,
        siblings,
    })
}

fn member(who: &Caller<'_>, g: GroupId, from: u32) -> Result<MemberRow, Errno> {
    who.sees(g)?;
    let mut from = u16::try_from(from).map_err(|_| Errno::End)?;
    loop {
        let v = POOLS
            .group_member(g.pool, inner(g), from)
            .map_err(|e| who.no(e))?
            .ok_or(Errno::End)?;
        if let Some((d, index)) = table::vcpu(v)
            && (who.dom0 || d.id == who.domain.id)
        {
            let i = POOLS.vcpu_info(v, time::now()).map_err(|e| who.no(e))?;
            return Ok(MemberRow {
                vcpu: v,
                domain: d.id,
                index: index as u32,
                runtime: i.stats.runtime,
            });
        }
        from = v.slot.checked_add(1).ok_or(Errno::End)?;
    }
}
