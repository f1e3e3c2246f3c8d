//! Area 2: domains.

use crate::domain::{Domain, State, life, recipe, table};
use crate::run::POOLS;
use crate::{console, counters, irq, time};
use abi::call::domain::{ConfigRow, CrashReport, DomainFlags, DomainRow, DomainState};
use abi::call::text::Text;
use abi::call::{Counter, DomainCall, Request};
use abi::{DomainId, Errno, Regs, Span};
use pools::VcpuState;

/// Carries out a call of this area.
pub fn handle(call: DomainCall) -> Regs {
    match call {
        DomainCall::List(c) => c.answer(
            table::at_or_after(c.from as usize)
                .ok_or(Errno::End)
                .and_then(|d| row(&d)),
        ),
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
        DomainCall::Create(c) => c.answer(create(c.name.as_str())),
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
        _ => Regs::refusal(Errno::NotSupported),
    }
}

fn create(name: Option<&str>) -> Result<DomainId, Errno> {
    let name = name.ok_or(Errno::NoSuch)?;
    let n = recipe::all()
        .iter()
        .position(|r| r.name == name)
        .ok_or(Errno::NoSuch)?;
    life::create(n)
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
    let value = d
        .vcpus
        .iter()
        .filter_map(|v| v.counters.get(index))
        .fold(0, u64::wrapping_add);
    Ok(Counter {
        value,
        name: Text::truncated(name),
    })
}
