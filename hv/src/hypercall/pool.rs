//! Area 4: CPU pools.

use crate::run::POOLS;
use abi::call::pool::PoolRow;
use abi::call::text::{Label, Text};
use abi::call::{PoolCall, Request};
use abi::{DomainId, Errno, MAX_POOLS, PoolId, Regs};

/// Carries out a call of this area.
pub fn handle(call: PoolCall) -> Regs {
    match call {
        PoolCall::List(c) => c.answer(list(c.from)),
        PoolCall::Name(c) => c.answer(
            POOLS
                .pool_info(c.id)
                .map(|i| Text::truncated(i.name.as_str()))
                .map_err(|e| e.errno()),
        ),
        PoolCall::Domains(c) => c.answer(domains(c.id, c.from)),
        _ => Regs::refusal(Errno::NotSupported),
    }
}

fn list(from: u32) -> Result<PoolRow, Errno> {
    let id = (0..MAX_POOLS)
        .map_while(|n| POOLS.pool_at(n))
        .find(|p| u32::from(p.slot) >= from)
        .ok_or(Errno::End)?;
    let i = POOLS.pool_info(id).map_err(|e| e.errno())?;
    let domains = (0..).map_while(|n| POOLS.domain_at(id, n)).count() as u32;
    Ok(PoolRow {
        id,
        cpus: i.cpus,
        domains,
        sched: Label::truncated(i.sched_name),
    })
}

fn domains(id: PoolId, from: u32) -> Result<DomainId, Errno> {
    POOLS.pool_info(id).map_err(|e| e.errno())?;
    (0..)
        .map_while(|n| POOLS.domain_at(id, n))
        .filter(|d| u32::from(d.slot) >= from)
        .min()
        .ok_or(Errno::End)
}
