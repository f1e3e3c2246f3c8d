//! Area 2: domains.

use super::{change, why};
use crate::counters::{self, Counters};
use crate::domain::{Domain, State, life, recipe, table};
use crate::mem::nodes;
use crate::run::POOLS;
use crate::{console, irq, time};
use abi::call::domain::{
    ConfigRow, CrashReport, DomainFlags, DomainNow, DomainRow, DomainRun, DomainState, DomainTimes,
};
use abi::call::param::ParamRow;
use abi::call::pool::MemoryFrom;
use abi::call::report::{Adjusted, Report};
use abi::call::text::Text;
use abi::call::{Counter, DomainCall, Request};
use abi::{DomainId, Errno, PoolId, Regs, Span};
use pools::{DomainInfo, DomainState as Run, Step, Target, VcpuState, domain_row};

/// Carries out a call of this area; `regs` are its registers.
pub fn handle(call: DomainCall, regs: &Regs) -> Regs {
    match call {
        DomainCall::List(c) => c.answer(list(c.from)),
        DomainCall::Name(c) => c.answer(table::domain(c.id).map(|d| Text::truncated(&d.name))),
        DomainCall::Find(c) => c.answer(
            c.name
                .as_str()
                .and_then(table::find)
                .map(|d| d.id)
                .ok_or(Errno::NoSuch),
        ),
        DomainCall::Config(c) => c.answer(
            recipe::all()
                .get(c.index as usize)
                .map(|r| ConfigRow {
                    alive: table::find(&r.name).map(|d| d.id),
                    name: Text::truncated(&r.name),
                })
                .ok_or(Errno::End),
        ),
        DomainCall::Create(c) => c.answer(create(c.name.as_str(), None)),
        DomainCall::CreateIn(c) => c.answer(create(c.name.as_str(), Some(c.pool))),
        DomainCall::Move(c) => {
            let to = Step::MoveDomain(c.id, Target::Id(c.to));
            c.answer(change::step(regs, true, to).map(|r| elsewhere(r, c.id, c.to)))
        }
        DomainCall::Params(c) => c.answer(params(c.id, c.index as usize)),
        DomainCall::SetParams(c) => {
            let set = Step::DomainParams(c.id, [Some(c.first), c.second]);
            c.answer(change::step(regs, true, set).map(|_| ()))
        }
        DomainCall::Runstate(c) => c.answer(info(c.id).map(|i| {
            let ns = |s: Run| i.times.in_state(s);
            DomainTimes {
                full_run: ns(Run::FullRun),
                full_contention: ns(Run::FullContention),
                concurrency_hazard: ns(Run::ConcurrencyHazard),
                blocked: ns(Run::Blocked),
                partial_run: ns(Run::PartialRun),
                partial_contention: ns(Run::PartialContention),
            }
        })),
        DomainCall::RunstateNow(c) => c.answer(info(c.id).map(|i| DomainNow {
            state: DomainRun::ALL[i.times.state as usize % DomainRun::ALL.len()],
            since: i.times.since,
            at: time::now(),
            missed: i.times.missed,
        })),
        DomainCall::Boosts(c) => {
            c.answer(info(c.id).and_then(|i| super::group::boosts(&i.stats, c.index)))
        }
        DomainCall::Destroy(c) => c.answer(life::destroy(c.id)),
        DomainCall::Pause(c) => c.answer(pause(c.id, true)),
        DomainCall::Unpause(c) => c.answer(pause(c.id, false)),
        DomainCall::Counters(c) => c.answer(counter(c.id, c.index as usize)),
        DomainCall::Crash(c) => c.answer(table::domain(c.id).and_then(|d| {
            let crash = d.crash().ok_or(Errno::Busy)?;
            Ok(CrashReport {
                pc: crash.pc,
                reason: Text::truncated(crash.why),
            })
        })),
    }
}

/// The first domain at or behind a slot; one that ends at this moment is passed over.
fn list(from: u32) -> Result<DomainRow, Errno> {
    let mut from = from as usize;
    loop {
        let d = table::at_or_after(from).ok_or(Errno::End)?;
        if let Ok(r) = row(&d) {
            return Ok(r);
        }
        from = d.id.index() + 1;
    }
}

fn info(id: DomainId) -> Result<DomainInfo, Errno> {
    table::domain(id)?;
    POOLS.domain_info(id, time::now()).map_err(why::said)
}

/// Row `index` of a domain's parameters.
fn params(id: DomainId, index: usize) -> Result<ParamRow, Errno> {
    let d = info(id)?;
    let sched = POOLS.pool_info(d.pool).map_err(why::said)?.sched;
    let first = POOLS.vcpu_at(id, 0).ok_or(Errno::NoSuch)?;
    let v = POOLS.vcpu_info(first, time::now()).map_err(why::said)?;
    domain_row(&d.params, &v.params, d.vcpus, sched, index).ok_or(Errno::End)
}

/// Adds to a move's report that the domain's memory is not where the pool's is.
fn elsewhere(mut r: Report, id: DomainId, pool: PoolId) -> Report {
    let confined = nodes::of(pool);
    if confined != MemoryFrom::Any
        && let Ok(d) = table::domain(id)
    {
        let outside = d.s2.lock().banks().iter().any(|b| {
            let (from, to) = (b.frames.start(), b.frames.start() + b.frames.len());
            !nodes::ranges(confined).any(|r| r.start <= from && to <= r.end)
        });
        r.adjusted = r.adjusted.with_if(Adjusted::MEMORY_ELSEWHERE, outside);
    }
    r
}

fn create(name: Option<&str>, pool: Option<PoolId>) -> Result<DomainId, Errno> {
    let name = name.ok_or(Errno::NoSuch)?;
    let n = recipe::all()
        .iter()
        .position(|r| r.name == name)
        .ok_or(Errno::NoSuch)?;
    super::change::settled(true)?;
    life::create(n, pool)
}

fn pause(id: DomainId, on: bool) -> Result<(), Errno> {
    let d = table::domain(id)?;
    if d.is_control() {
        return Err(Errno::Fixed);
    }
    if !matches!(d.state(), State::Alive | State::Building) {
        return Err(Errno::Busy);
    }
    let now = time::now();
    let paused = POOLS.domain_info(id, now).map_err(|e| e.errno())?.paused > 0;
    if paused == on {
        return Err(Errno::Busy);
    }
    let kick = if on {
        POOLS.pause(id, now)
    } else {
        POOLS.unpause(id, now)
    };
    irq::send(kick.map_err(|e| e.errno())?);
    Ok(())
}

fn row(d: &Domain) -> Result<DomainRow, Errno> {
    let now = time::now();
    let info = POOLS.domain_info(d.id, now).map_err(|e| e.errno())?;
    let mut time = 0u64;
    let (mut running, mut blocked) = (false, true);
    for v in &d.vcpus {
        if let Ok(i) = POOLS.vcpu_info(v.id, now) {
            time = time.saturating_add(i.times.in_state(VcpuState::Running).0);
            running |= i.times.state == VcpuState::Running;
            blocked &= !matches!(i.times.state, VcpuState::Running | VcpuState::Runnable);
        }
    }
    let state = match d.state() {
        State::Building => DomainState::Building,
        State::Alive => DomainState::Alive,
        State::Shutdown | State::Resetting => DomainState::Shutdown,
        State::Crashed => DomainState::Crashed,
        State::Dying => DomainState::Dying,
    };
    let flags = DomainFlags::default()
        .with_if(DomainFlags::RUNNING, running)
        .with_if(DomainFlags::BLOCKED, blocked)
        .with_if(DomainFlags::PAUSED, info.paused > 0)
        .with_if(DomainFlags::CONTROL, d.is_control())
        .with_if(DomainFlags::CONSOLE, console::is_open(d.id.slot))
        .with_if(DomainFlags::FOCUS, console::focus() == d.id.slot);
    Ok(DomainRow {
        id: d.id,
        state,
        flags,
        vcpus: d.vcpus.len() as u32,
        memory_kib: d.memory_kib,
        pool: info.pool,
        time: Span(time),
    })
}

fn counter(id: DomainId, index: usize) -> Result<Counter, Errno> {
    let d = table::domain(id)?;
    let name = counters::NAMES.get(index).ok_or(Errno::End)?;
    let value = Counters::add_up(index, 0, d.vcpus.iter().map(|v| &v.counters));
    Ok(Counter {
        value,
        name: Text::truncated(name),
    })
}
