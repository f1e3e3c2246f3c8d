//! Area 4: CPU pools.

use super::{change, why};
use crate::mem::{heap, nodes};
use crate::run::POOLS;
use crate::time;
use abi::call::pool::{PoolMemory, PoolRow, SchedRow};
use abi::call::text::{Label, Text};
use abi::call::{Counter, PoolCall, Request};
use abi::{DomainId, Errno, MAX_POOLS, PoolId, Regs, SchedId};
use pools::{Name, PoolConfig, PoolError, Step, Target, registry};

/// Carries out a call of this area; `regs` are its registers.
pub fn handle(call: PoolCall, regs: &Regs) -> Regs {
    match call {
        PoolCall::List(c) => c.answer(list(c.from)),
        PoolCall::Name(c) => c.answer(
            POOLS
                .pool_info(c.id)
                .map(|i| Text::truncated(i.name.as_str()))
                .map_err(why::said),
        ),
        PoolCall::Domains(c) => c.answer(domains(c.id, c.from)),
        PoolCall::Find(c) => c.answer(
            c.name
                .as_str()
                .and_then(|n| POOLS.find_pool(n))
                .ok_or(Errno::NoSuch),
        ),
        PoolCall::Create(c) => c.answer(create(c.sched, &c.name)),
        PoolCall::Destroy(c) => {
            let gone = Step::DestroyPool(Target::Id(c.id));
            c.answer(change::step(regs, true, gone).map(|_| ()))
        }
        PoolCall::Rename(c) => {
            c.answer(name(&c.name).and_then(|n| {
                change::step(regs, true, Step::Rename(Target::Id(c.id), n)).map(|_| ())
            }))
        }
        PoolCall::AssignCpus(c) => {
            let to = c.to.map(Target::Id);
            c.answer(change::step(regs, true, Step::Cpus(to, c.cpus)))
        }
        PoolCall::FreeCpus(c) => c.answer(Ok(POOLS.free_cpus())),
        PoolCall::SetSched(c) => c.answer(change::step(
            regs,
            true,
            Step::SetSched(Target::Id(c.id), c.sched),
        )),
        PoolCall::Params(c) => c.answer(POOLS.pool_info(c.id).map_err(why::said).and_then(|i| {
            let p = POOLS.pool_params(c.id).map_err(why::said)?;
            p.row(i.sched, c.index as usize).ok_or(Errno::End)
        })),
        PoolCall::SetParams(c) => {
            let set = Step::PoolParams(Target::Id(c.id), [Some(c.first), c.second]);
            c.answer(change::step(regs, true, set).map(|_| ()))
        }
        PoolCall::Scheds(c) => c.answer(
            registry::ROWS
                .get(c.index as usize)
                .map(|r| SchedRow {
                    id: SchedId(c.index as u8),
                    default: registry::DEFAULT == SchedId(c.index as u8),
                    name: Label::truncated(r.name),
                })
                .ok_or(Errno::End),
        ),
        PoolCall::SchedAbout(c) => c.answer(
            registry::row(c.id)
                .map(|r| Text::truncated(r.about))
                .ok_or(Errno::NoSuch),
        ),
        PoolCall::Counters(c) => c.answer(counter(c.id, c.index)),
        PoolCall::Memory(c) => c.answer(memory(c.id)),
        PoolCall::SetMemory(c) => c.answer(
            POOLS
                .pool_info(c.id)
                .map_err(why::said)
                .and_then(|_| nodes::confine(c.id, c.from, |p| POOLS.pool_info(p).is_ok())),
        ),
    }
}

/// A pool's name out of a call.
pub fn name(text: &Text) -> Result<Name, Errno> {
    text.as_str()
        .ok_or(PoolError::BadName)
        .and_then(Name::new)
        .map_err(why::said)
}

fn create(sched: Option<SchedId>, text: &Text) -> Result<PoolId, Errno> {
    let name = name(text)?;
    change::settled(true)?;
    if !heap::reserve(16 * 1024) {
        return Err(Errno::NoMemory);
    }
    let config = PoolConfig {
        sched: sched.unwrap_or(registry::DEFAULT),
        ..PoolConfig::new(name.as_str())
    };
    POOLS.create(&config, time::now()).map_err(why::said)
}

fn list(from: u32) -> Result<PoolRow, Errno> {
    let id = (0..MAX_POOLS)
        .map_while(|n| POOLS.pool_at(n))
        .find(|p| u32::from(p.slot) >= from)
        .ok_or(Errno::End)?;
    let i = POOLS.pool_info(id).map_err(why::said)?;
    Ok(PoolRow {
        id,
        cpus: i.cpus,
        domains: i.domains as u32,
        sched: Label::truncated(i.sched_name),
        stranded: POOLS.stranded(id).map_err(why::said)?,
    })
}

fn domains(id: PoolId, from: u32) -> Result<DomainId, Errno> {
    POOLS.pool_info(id).map_err(why::said)?;
    (0..)
        .map_while(|n| POOLS.domain_at(id, n))
        .filter(|d| u32::from(d.slot) >= from)
        .min()
        .ok_or(Errno::End)
}

fn counter(id: PoolId, index: u32) -> Result<Counter, Errno> {
    let t = POOLS.pool_totals(id).map_err(why::said)?;
    let (name, value) = match index {
        0 => ("switches", t.switches),
        1 => ("credit-resets", t.resets),
        2 => ("entities-touched-by-resets", t.touched),
        _ => return Err(Errno::End),
    };
    Ok(Counter {
        value,
        name: Text::truncated(name),
    })
}

fn memory(id: PoolId) -> Result<PoolMemory, Errno> {
    POOLS.pool_info(id).map_err(why::said)?;
    let mut used = 0u64;
    let mut from = 0;
    while let Some(d) = crate::domain::table::at_or_after(from) {
        let here = POOLS.domain_info(d.id, time::now()).map(|i| i.pool);
        if here == Ok(id) {
            used = used.saturating_add(d.memory_kib);
        }
        from = d.id.index() + 1;
    }
    Ok(PoolMemory {
        from: nodes::of(id),
        free: nodes::free_of(id) / 1024,
        used,
    })
}
