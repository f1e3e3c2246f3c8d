//! Area 3: vCPUs.

use crate::domain::{Domain, table};
use crate::run::POOLS;
use crate::time;
use abi::call::vcpu::{RunState, RunTimes, VcpuRow};
use abi::call::{Request, VcpuCall};
use abi::{DomainId, Errno, Regs, VcpuId};
use pools::{VcpuInfo, VcpuState};

/// Carries out a call of this area.
pub fn handle(call: VcpuCall) -> Regs {
    match call {
        VcpuCall::Info(c) => c.answer(info(c.domain, c.index).map(|(id, i)| VcpuRow {
            id,
            state: state(i.times.state),
            cpu: i.cpu,
            affinity: i.params.affinity,
            time: i.times.in_state(VcpuState::Running),
        })),
        VcpuCall::Runstate(c) => {
            c.answer(table::domain(c.domain).and_then(|d| run_times(&d, c.index)))
        }
        _ => Regs::refusal(Errno::NotSupported),
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
