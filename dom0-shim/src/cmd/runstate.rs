//! `runstate` (seed 003): where the time of domains and vCPUs goes, and what that advises.
//!
//! The seed looks at the time in each state "over the last unit of time": with `-i` it is measured over so long, without
//! it is the time since the domain was made.

use super::parse::Given;
use super::vcpu::State;
use crate::names;
use crate::session::{Fail, Session};
use crate::table::{Column, Table};
use crate::units::{Percent, Seconds};
use core::fmt::{self, Display};
use tarn_abi::call::domain::{self, DomainRun, DomainTimes};
use tarn_abi::call::vcpu;
use tarn_abi::{DomainId, Errno, MAX_DOMAINS, Span, Text};

/// A domain's state in words.
struct Run(DomainRun);

impl Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            DomainRun::FullRun => "full-run",
            DomainRun::FullContention => "full-contention",
            DomainRun::ConcurrencyHazard => "concurrency-hazard",
            DomainRun::Blocked => "blocked",
            DomainRun::PartialRun => "partial-run",
            DomainRun::PartialContention => "partial-contention",
        })
    }
}

/// Times in the order of the columns.
fn times(t: &DomainTimes) -> [u64; 6] {
    [
        t.full_run,
        t.full_contention,
        t.concurrency_hazard,
        t.blocked,
        t.partial_run,
        t.partial_contention,
    ]
    .map(|t| t.0)
}

/// What is done with each domain: its name, and its times.
type Visit<'f> = &'f mut dyn FnMut(&mut Session<'_>, DomainId, &Text, [u64; 6]) -> Result<(), Fail>;

/// Every domain, or one. One that goes meanwhile is left out.
fn each(s: &mut Session<'_>, only: Option<DomainId>, f: Visit<'_>) -> Result<(), Fail> {
    names::each_domain(s, &mut |s, row| {
        if only.is_some_and(|id| id != row.id) {
            return Ok(());
        }
        match s.ask(&domain::Runstate { id: row.id }) {
            Err(Errno::Stale | Errno::NoSuch) => Ok(()),
            t => {
                let t = times(&t?);
                let name = names::domain_name(s, row.id);
                f(s, row.id, &name, t)
            }
        }
    })
}

pub fn runstate(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let only = match g.word(0) {
        Some(word) => Some(names::find_domain(s, word)?),
        None => None,
    };
    // Times at the beginning: what is subtracted.
    let mut base = [[0u64; 6]; MAX_DOMAINS];
    if let Some(text) = g.opt("-i") {
        let time = super::measure::interval(s, text)?;
        each(s, only, &mut |_, id, _, t| {
            base[id.index()] = t;
            Ok(())
        })?;
        s.sit_out(time)?;
    }
    let since = |id: DomainId, t: [u64; 6]| {
        let b = &base[id.index()];
        core::array::from_fn::<u64, 6, _>(|i| t[i].saturating_sub(b[i]))
    };
    let columns = [
        Column::text("Name", "name"),
        Column::number("ID", "id"),
        Column::text("State", "state"),
        Column::number("full-run(s)", "full_run_s"),
        Column::number("full-contention(s)", "full_contention_s"),
        Column::number("hazard(s)", "concurrency_hazard_s"),
        Column::number("blocked(s)", "blocked_s"),
        Column::number("partial-run(s)", "partial_run_s"),
        Column::number("partial-contention(s)", "partial_contention_s"),
    ];
    Table::print(s, columns, &mut |s, t| {
        each(s, only, &mut |s, id, name, now| {
            let Ok(state) = s.ask(&domain::RunstateNow { id }) else {
                return Ok(());
            };
            let [a, b, c, d, e, f] = since(id, now).map(|ns| Seconds(Span(ns), 3));
            let state = Run(state.state);
            t.row(s, [name, &id.slot, &state, &a, &b, &c, &d, &e, &f]);
            Ok(())
        })
    })?;
    if g.opt("-i").is_none() {
        vcpus(s, only)?;
    }
    let columns = [
        Column::text("Name", "name"),
        Column::number("ID", "id"),
        Column::text("Advice", "advice"),
    ];
    if s.json {
        return Table::print(s, columns, &mut |s, t| {
            each(s, only, &mut |s, id, name, now| {
                advise(id, since(id, now), &mut |advice| {
                    t.row(s, [name, &id.slot, &advice]);
                });
                Ok(())
            })
        });
    }
    each(s, only, &mut |s, id, name, now| {
        advise(id, since(id, now), &mut |advice| {
            s.print(format_args!("{name}: {advice}\n"));
        });
        Ok(())
    })
}

fn vcpus(s: &mut Session<'_>, only: Option<DomainId>) -> Result<(), Fail> {
    let columns = [
        Column::text("Name", "name"),
        Column::number("ID", "id"),
        Column::number("VCPU", "vcpu"),
        Column::text("State", "state"),
        Column::number("running(s)", "running_s"),
        Column::number("runnable(s)", "runnable_s"),
        Column::number("blocked(s)", "blocked_s"),
        Column::number("offline(s)", "offline_s"),
    ];
    Table::print(s, columns, &mut |s, t| {
        super::vcpu::each(s, only, &mut |s, name, id, index, _| {
            let r = s.ask(&vcpu::Runstate { domain: id, index })?;
            let [a, b, c, d] =
                [r.running, r.runnable, r.blocked, r.offline].map(|time| Seconds(time, 3));
            t.row(s, [name, &id.slot, &index, &State(r.state), &a, &b, &c, &d]);
            Ok(())
        })
    })
}

/// The seed's reading: what the majority or a large part of the time in one state means.
fn advise(id: DomainId, t: [u64; 6], say: &mut dyn FnMut(fmt::Arguments<'_>)) {
    let all = t.iter().fold(0u64, |a, b| a.saturating_add(*b));
    let [full_run, full_contention, hazard, ..] = t;
    // dom0 is the operator's shell: nothing to advise about.
    if all == 0 || id == DomainId::DOM0 {
        return;
    }
    // With vCPUs that fight each other, more of them would be the wrong advice.
    let hazardous = hazard > all / 4;
    if full_run > all / 2 && !hazardous {
        say(format_args!(
            "{} % of its time all vCPUs run: it may have too few of them",
            Percent(full_run, all)
        ));
    }
    if full_contention > all / 4 {
        say(format_args!(
            "{} % of its time all vCPUs wait for a CPU: the host is too busy; give the pool CPUs or move domains out of it",
            Percent(full_contention, all)
        ));
    }
    if hazardous {
        say(format_args!(
            "{} % of its time some vCPUs run while others wait: a concurrency hazard (spinning on locks); fewer vCPUs, or \
             fewer domains in the pool",
            Percent(hazard, all)
        ));
    }
}
