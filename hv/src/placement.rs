//! Pools as the configuration wants them at boot, and parameters by name out of a device tree.
//!
//! A parameter that does not exist or is out of range is reported with what would be right, and left out; the pool or
//! domain gets the default. Neighbours: init.rs calls this before the other CPUs are up, so they only learn where to go.

use crate::domain::table;
use crate::irq;
use crate::mem::nodes;
use crate::record;
use crate::run::POOLS;
use crate::time;
use abi::call::param::Setting;
use abi::call::pool::MemoryFrom;
use abi::short::Short;
use abi::{CpuId, CpuSet, Label, PoolId, Text};
use alloc::vec::Vec;
use board::Board;
use board::config::{self, Config, Param};
use core::fmt::Display;
use core::sync::atomic::Ordering;
use pools::{PoolParams, Progress, VcpuParams, vcpu_with};

/// CPUs that Pool-0 is confined to (boot option `pool0=LIST`); none: no limit.
pub static POOL0: spin::Once<CpuSet> = spin::Once::new();

/// Applies parameters of `node` by name; reports those that do not fit.
fn apply<T, E: Display>(
    node: &str,
    params: &[Param<'_>],
    start: T,
    with: impl Fn(&T, &[Option<Setting>; 2]) -> Result<T, E>,
) -> T {
    let (now, notes) = config::parameters(node, params, start, |at, name, value| {
        // A name too long for a label is no parameter's: the empty one is not, either.
        let name = Label::new(name).unwrap_or_default();
        with(at, &[Some(Setting { name, value }), None])
    });
    notes.iter().for_each(|n| log::warn!("{n}"));
    now
}

/// A domain's vCPU parameters: `start` with those of its `node`.
pub fn vcpu_params(node: &str, params: &[Param<'_>], start: VcpuParams) -> VcpuParams {
    apply(node, params, start, vcpu_with)
}

/// Pool-0 and the configured ones; the answer maps the configuration's numbers to ids.
pub fn make_pools(config: &Config, board: &Board, present: CpuSet) -> Vec<PoolId> {
    let now = time::now();
    let fallback = board::config::PoolConfig {
        node: Default::default(),
        name: "Pool-0".into(),
        cpus: present,
        sched: "",
        params: Vec::new(),
    };
    let list: Vec<_> = if config.pools.is_empty() {
        alloc::vec![fallback]
    } else {
        config.pools.clone()
    };
    let mut ids = Vec::new();
    for (i, p) in list.iter().enumerate() {
        let (own, place, notes) = p.split(board);
        notes.iter().for_each(|n| log::warn!("{n}"));
        let params = apply(&p.node, &own, PoolParams::DEFAULT, PoolParams::with);
        let mut c = pools::PoolConfig::new(&p.name).with(&params);
        c.record = record::ENTRIES.load(Ordering::Relaxed);
        if !p.sched.is_empty() {
            match pools::sched_by_name(p.sched) {
                Some(s) => c.sched = s,
                None => {
                    let known = pools::registry::ROWS.iter().map(|r| r.name);
                    log::warn!("{}", p.unknown_scheduler(known));
                }
            }
        }
        let made = if i == 0 {
            POOLS.init(present, &c, now).map(|()| PoolId::POOL0)
        } else {
            POOLS.create(&c, now)
        };
        let id = match made {
            Ok(id) => id,
            Err(e) => {
                log::error!(
                    "pool {}: {e}; its CPUs stay free and its domains start in Pool-0",
                    p.name
                );
                ids.push(PoolId::POOL0);
                continue;
            }
        };
        for from in place.into_iter().map(MemoryFrom::Node) {
            if let Err(e) = nodes::confine(id, from, |p| POOLS.pool_info(p).is_ok()) {
                log::error!(
                    "pool {}: memory node: {e}; its domains will not start",
                    p.name
                );
                // Refused rather than given less isolation: no memory has this node.
                nodes::nowhere(id);
            }
        }
        for cpu in p.cpus.intersection(&present).iter() {
            go(cpu, Some(id), &p.name);
        }
        ids.push(id);
    }
    if let Some(limit) = POOL0.get() {
        let name = list.first().map_or("", |p| &p.name);
        let had = POOLS.pool_info(PoolId::POOL0).map(|i| i.incoming);
        for cpu in had.unwrap_or_default().difference(limit).iter() {
            go(cpu, None, name);
        }
    }
    ids
}

/// Says who will have no CPU of these pools, when all CPUs have joined them: nothing is refused for that, but somebody may
/// be waited for in vain.
pub fn say_shortage(pools: &[PoolId]) {
    for (i, id) in pools.iter().enumerate() {
        // A pool that could not be made is counted as Pool-0.
        let (Ok(info), false) = (POOLS.pool_info(*id), pools[..i].contains(id)) else {
            continue;
        };
        let mut short = Short::default();
        for v in POOLS.foreseen_stranded(*id).unwrap_or_default() {
            if let Some((d, index)) = table::vcpu(v) {
                short.add(Text::truncated(d.name.as_str()), index as u32);
            }
        }
        if !short.is_empty() {
            log::warn!("{}", short.said(&info.name, &info.sched_name));
        }
    }
}

fn go(cpu: CpuId, to: Option<PoolId>, pool: &str) {
    match POOLS.assign_cpu(cpu, to, time::now()) {
        Progress::Done(k) | Progress::Again(k) => irq::send(k),
        Progress::Refused(e) => log::error!("pool {pool}: cpu{cpu}: {e}"),
    }
}
