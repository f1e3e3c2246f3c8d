//! Commands about vCPUs: where they are, and where they may be.

use super::parse::Given;
use super::pool;
use crate::names;
use crate::session::{Fail, Session};
use crate::table::{Column, Table};
use crate::units::{OrDash, Seconds};
use core::fmt::{self, Display};
use tarn_abi::call::report::{Adjusted, Report};
use tarn_abi::call::vcpu::{self, RunState, VcpuRow};
use tarn_abi::{CpuSet, DomainId, Errno, Span, Text};

/// Three letters or dashes.
pub struct State(pub RunState);

impl Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            RunState::Running => "r--",
            RunState::Runnable => "---",
            RunState::Blocked => "-b-",
            RunState::Offline => "--p",
        })
    }
}

/// The same with a `w` where there is no CPU to wait for.
struct Where(RunState, bool);

impl Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Where(RunState::Runnable, true) => f.write_str("w--"),
            Where(RunState::Blocked, true) => f.write_str("wb-"),
            Where(RunState::Offline, true) => f.write_str("w-p"),
            // One that runs has let go of its CPU soon.
            Where(state, _) => State(*state).fmt(f),
        }
    }
}

/// What is done with each vCPU: name and id of its domain, its number there, and what there is to say of it.
pub type Visit<'f> =
    &'f mut dyn FnMut(&mut Session<'_>, &Text, DomainId, u32, &VcpuRow) -> Result<(), Fail>;

/// Every vCPU of every domain, or of one. A domain that goes meanwhile is left out.
pub fn each(s: &mut Session<'_>, only: Option<DomainId>, f: Visit<'_>) -> Result<(), Fail> {
    names::each_domain(s, &mut |s, row| {
        if only.is_some_and(|id| id != row.id) {
            return Ok(());
        }
        let name = names::domain_name(s, row.id);
        match names::each_vcpu(s, row.id, &mut |s, (index, vcpu)| {
            f(s, &name, row.id, *index, vcpu)
        }) {
            Err(Fail::Refused(Errno::Stale | Errno::NoSuch)) => Ok(()),
            result => result,
        }
    })
}

/// An affinity.
struct Affinity(CpuSet);

impl Display for Affinity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == CpuSet::ALL {
            f.write_str("all")
        } else {
            self.0.fmt(f)
        }
    }
}

pub fn list(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let only = match g.word(0) {
        Some(word) => Some(names::find_domain(s, word)?),
        None => None,
    };
    let columns = [
        Column::text("Name", "name"),
        Column::number("ID", "id"),
        Column::number("VCPU", "vcpu"),
        Column::number("CPU", "cpu"),
        Column::text("State", "state"),
        Column::number("Time(s)", "time_s"),
        Column::text("Affinity", "affinity"),
        Column::text("Soft", "soft"),
    ];
    Table::print(s, columns, &mut |s, t| {
        each(s, only, &mut |s, name, id, index, v| {
            // Where it ran last says nothing about one that is off.
            let cpu = OrDash(v.cpu.filter(|_| v.state != RunState::Offline));
            let (state, time) = (Where(v.state, v.stranded), Seconds(v.time, 1));
            let soft = s.ask(&vcpu::Place { id: v.id })?.soft;
            let (hard, soft) = (Affinity(v.affinity), Affinity(soft));
            t.row(
                s,
                [name, &id.slot, &index, &cpu, &state, &time, &hard, &soft],
            );
            Ok(())
        })
    })
}

/// CPUs of the machine, all that there can be, or (`-`) those that it has already.
fn set_of(s: &mut Session<'_>, text: &str) -> Result<Option<CpuSet>, Fail> {
    match text {
        "-" => Ok(None),
        "all" => Ok(Some(CpuSet::ALL)),
        _ => Ok(Some(pool::Cpus::read(s)?.named(s, text)?)),
    }
}

pub fn pin(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let domain = names::find_domain(s, g.word(0).unwrap_or(""))?;
    let which = g.word(1).unwrap_or("");
    let hard = set_of(s, g.word(2).unwrap_or(""))?;
    let soft = match g.word(3) {
        Some(text) => set_of(s, text)?,
        None => None,
    };
    let only = match which {
        "all" => None,
        _ => Some(names::find_vcpu(s, domain, which)?),
    };
    let mut adjusted = Adjusted::NONE;
    names::each_vcpu(s, domain, &mut |s, (_, v)| {
        if only.is_none_or(|id| id == v.id) {
            let pin = vcpu::Pin {
                id: v.id,
                cpus: hard.unwrap_or(v.affinity),
                soft: soft.unwrap_or(CpuSet::EMPTY),
            };
            adjusted = adjusted.with(s.ask(&pin)?.adjusted);
        }
        Ok(())
    })?;
    let report = Report {
        stood_still: Span::ZERO,
        adjusted,
    };
    let name = names::domain_name(s, domain);
    pool::report(s, pool::Whose::Domain(&name), report);
    Ok(())
}
