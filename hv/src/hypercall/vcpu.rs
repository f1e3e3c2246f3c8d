//! Area 3: vCPUs.

use super::why;
use crate::domain::{Domain, table};
use crate::run::POOLS;
use crate::{irq, time};
use abi::call::report::Adjusted;
use abi::call::vcpu::{Pinned, RunState, RunTimes, VcpuPlace, VcpuRow};
use abi::call::{Request, VcpuCall};
use abi::{CpuSet, DomainId, Errno, Regs, VcpuId};
use pools::{VcpuInfo, VcpuParams, VcpuState, prefers_in_vain, vcpu_row, vcpu_with};

/// Carries out a call of this area.
pub fn handle(call: VcpuCall) -> Regs {
    match call {
        VcpuCall::Info(c) => c.answer(info(c.domain, c.index).map(|(id, i)| VcpuRow {
            id,
            state: state(i.times.state),
            cpu: i.cpu,
            affinity: i.params.affinity,
            time: i.times.in_state(VcpuState::Running),
            stranded: i.stranded,
        })),
        VcpuCall::Runstate(c) => {
            c.answer(table::domain(c.domain).and_then(|d| run_times(&d, c.index)))
        }
        VcpuCall::Place(c) => c.answer(of(c.id).map(|i| VcpuPlace {
            group: super::group::outer(i.pool, i.group),
            cpu: i.cpu,
            last: i.last,
            allowed: allowed(&i).1,
            soft: i.params.soft,
        })),
        VcpuCall::Pin(c) => c.answer(pin(c.id, c.cpus, c.soft)),
        VcpuCall::Params(c) => c.answer(of(c.id).and_then(|i| {
            let sched = POOLS.pool_info(i.pool).map_err(why::said)?.sched;
            vcpu_row(&i.params, sched, c.index as usize).ok_or(Errno::End)
        })),
        VcpuCall::SetParams(c) => c.answer(of(c.id).and_then(|i| {
            let p = vcpu_with(&i.params, &[Some(c.first), c.second]).map_err(why::said)?;
            adjust(c.id, &p)
        })),
        VcpuCall::Boosts(c) => {
            c.answer(of(c.id).and_then(|i| super::group::boosts(&i.stats, c.index)))
        }
    }
}

/// Where the time of a domain's vCPU goes.
pub fn run_times(d: &Domain, index: u32) -> Result<RunTimes, Errno> {
    let v = d.vcpus.get(index as usize).ok_or(Errno::End)?;
    let i = POOLS.vcpu_info(v.id, time::now()).map_err(|e| e.errno())?;
    Ok(RunTimes {
        state: state(i.times.state),
        since: i.times.since,
        running: i.times.in_state(VcpuState::Running),
        runnable: i.times.in_state(VcpuState::Runnable),
        blocked: i.times.in_state(VcpuState::Blocked),
        offline: i.times.offline(),
    })
}

fn of(id: VcpuId) -> Result<VcpuInfo, Errno> {
    POOLS.vcpu_info(id, time::now()).map_err(why::said)
}

fn adjust(id: VcpuId, p: &VcpuParams) -> Result<(), Errno> {
    super::change::settled(true)?;
    irq::send(POOLS.adjust_vcpu(id, p, time::now()).map_err(why::said)?);
    Ok(())
}

/// What of a vCPU's affinities counts where it is.
fn allowed(i: &VcpuInfo) -> (Adjusted, CpuSet) {
    let pool = POOLS.pool_info(i.pool);
    let cpus = pool.as_ref().map(|p| p.cpus).unwrap_or_default();
    let vain = match (&pool, i.group) {
        (Ok(p), None) => prefers_in_vain(&i.params, &cpus, p.sched),
        _ => i.params.soft != CpuSet::ALL,
    };
    let own = i.params.affinity.intersection(&cpus);
    let everywhere = i.params.affinity == CpuSet::ALL;
    let (said, set) = if i.group.is_some() {
        (
            Adjusted::NONE.with_if(Adjusted::AFFINITY_GROUP, !everywhere),
            cpus,
        )
    } else if own.is_empty() {
        (Adjusted::AFFINITY_VOID, cpus)
    } else {
        let cut = !everywhere && own != i.params.affinity;
        (Adjusted::NONE.with_if(Adjusted::AFFINITY_CUT, cut), own)
    };
    (said.with_if(Adjusted::SOFT_UNUSED, vain), set)
}

fn pin(id: VcpuId, cpus: CpuSet, soft: CpuSet) -> Result<Pinned, Errno> {
    let i = of(id)?;
    let p = VcpuParams {
        affinity: cpus,
        soft: if soft.is_empty() { i.params.soft } else { soft },
        ..i.params
    };
    adjust(id, &p)?;
    let now = of(id)?;
    let (adjusted, allowed) = allowed(&now);
    let adjusted = adjusted.with_if(Adjusted::NO_CPU, now.stranded);
    Ok(Pinned { adjusted, allowed })
}

fn info(domain: DomainId, index: u32) -> Result<(VcpuId, VcpuInfo), Errno> {
    let d = table::domain(domain)?;
    let v = d.vcpus.get(index as usize).ok_or(Errno::End)?;
    let i = POOLS.vcpu_info(v.id, time::now()).map_err(|e| e.errno())?;
    Ok((v.id, i))
}

fn state(s: VcpuState) -> RunState {
    match s {
        VcpuState::Running => RunState::Running,
        VcpuState::Runnable => RunState::Runnable,
        VcpuState::Blocked => RunState::Blocked,
        _ => RunState::Offline,
    }
}
