//! Commands about domains: list, life and death, console.

use super::parse::Given;
use super::shortage;
use crate::names;
use crate::session::{Fail, Session};
use crate::table::{Column, Table};
use crate::units::Seconds;
use core::fmt::{self, Display};
use tarn_abi::call::console::{Focus, SetFocus};
use tarn_abi::call::domain::{self, CrashReport, DomainFlags, DomainRow, DomainState};
use tarn_abi::{DomainId, Errno, Text};

/// The domain that the first argument names, if there is one.
fn named(s: &mut Session<'_>, g: &Given<'_>) -> Result<Option<DomainId>, Fail> {
    match g.word(0) {
        Some(word) => names::find_domain(s, word).map(Some),
        None => Ok(None),
    }
}

/// Six letters or dashes, as Xen's tools print a domain's state.
struct State<'a>(&'a DomainRow);

impl Display for State<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.0;
        let letters = [
            ('r', row.flags.has(DomainFlags::RUNNING)),
            ('b', row.flags.has(DomainFlags::BLOCKED)),
            ('p', row.flags.has(DomainFlags::PAUSED)),
            ('s', row.state == DomainState::Shutdown),
            ('c', row.state == DomainState::Crashed),
            ('d', row.state == DomainState::Dying),
        ];
        for (letter, set) in letters {
            write!(f, "{}", if set { letter } else { '-' })?;
        }
        Ok(())
    }
}

/// MiB, with one decimal only if there is a part of one.
struct Mib(u64);

impl Display for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0 / 1024)?;
        match self.0 % 1024 * 10 / 1024 {
            0 => Ok(()),
            tenths => write!(f, ".{tenths}"),
        }
    }
}

pub fn list(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let only = named(s, g)?;
    let wanted = |id| only.is_none_or(|o| o == id);
    let columns = [
        Column::text("Name", "name"),
        Column::number("ID", "id"),
        Column::number("Mem", "mem_mib"),
        Column::number("VCPUs", "vcpus"),
        Column::text("State", "state"),
        Column::number("Time(s)", "time_s"),
        Column::text("Pool", "pool"),
        Column::hidden("crash"),
    ];
    Table::print(s, columns, &mut |s, t| {
        names::each_domain(s, &mut |s, row| {
            if wanted(row.id) {
                let crash = crash(s, row);
                let (name, pool) = (names::domain_name(s, row.id), names::pool_name(s, row.pool));
                let (memory, time) = (Mib(row.memory_kib), Seconds(row.time, 1));
                t.row(
                    s,
                    [
                        &name,
                        &row.id.slot,
                        &memory,
                        &row.vcpus,
                        &State(row),
                        &time,
                        &pool,
                        &OrEmpty(crash),
                    ],
                );
            }
            Ok(())
        })
    })?;
    if s.json {
        return Ok(());
    }
    names::each_domain(s, &mut |s, row| {
        if wanted(row.id)
            && let Some(why) = crash(s, row)
        {
            let name = names::domain_name(s, row.id);
            s.print(format_args!("{name} {why}; 'destroy {name}' frees it\n"));
        }
        Ok(())
    })
}

/// Why a domain has crashed, if it has.
struct Why(CrashReport);

impl Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "crashed at {:#x}: {}", self.0.pc, self.0.reason)
    }
}

fn crash(s: &mut Session<'_>, row: &DomainRow) -> Option<Why> {
    let crashed = row.state == DomainState::Crashed;
    let why = crashed.then(|| s.ask(&domain::Crash { id: row.id }))?;
    why.ok().map(Why)
}

/// What there is to say, or nothing.
struct OrEmpty(Option<Why>);

impl Display for OrEmpty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |why| why.fmt(f))
    }
}

pub fn create(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let word = g.word(0).unwrap_or("");
    let Some(name) = Text::new(word) else {
        return Err(s.fail(format_args!("a name has at most {} letters", Text::MAX)));
    };
    let result = match g.opt("pool=") {
        Some(pool) => {
            let pool = names::find_pool(s, pool)?;
            s.ask(&domain::CreateIn { pool, name })
        }
        None => s.ask(&domain::Create { name }),
    };
    match result {
        Ok(id) => {
            s.print(format_args!("{name} is domain {}\n", id.slot));
            let mut pool = None;
            names::each_domain(s, &mut |_, row| {
                pool = pool.or((row.id == id).then_some(row.pool));
                Ok(())
            })?;
            if pool.is_some() {
                shortage::note(s, pool);
            }
            Ok(())
        }
        Err(Errno::NoSuch) => {
            let mut any = false;
            names::each_config(s, &mut |s, row| {
                let before = if any {
                    ", "
                } else {
                    "error: the configuration has no domain of that name, only "
                };
                s.print(format_args!("{before}{}", row.name));
                any = true;
                Ok(())
            })?;
            if !any {
                return Err(s.fail(format_args!("the configuration has no domains at all")));
            }
            s.print(format_args!("\n"));
            Err(Fail::Said)
        }
        Err(Errno::Exists) => Err(s.fail(format_args!(
            "{name} is alive already; 'destroy {name}' would end it"
        ))),
        Err(e) => Err(e.into()),
    }
}

pub fn destroy(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let id = names::find_domain(s, g.word(0).unwrap_or(""))?;
    match s.ask(&domain::Destroy { id }) {
        Err(Errno::Fixed) => Err(s.fail(format_args!(
            "dom0 lives as long as the machine; 'poweroff' or 'reboot' end both"
        ))),
        result => Ok(result?),
    }
}

pub fn pause(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let id = names::find_domain(s, g.word(0).unwrap_or(""))?;
    match s.ask(&domain::Pause { id }) {
        Err(Errno::Fixed) => Err(s.fail(format_args!(
            "dom0 cannot be paused: nobody could unpause it"
        ))),
        Err(Errno::Busy) => Err(s.fail(format_args!(
            "{} is paused already, or not alive; 'list' shows it",
            g.word(0).unwrap_or("it")
        ))),
        result => Ok(result?),
    }
}

pub fn unpause(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let id = names::find_domain(s, g.word(0).unwrap_or(""))?;
    match s.ask(&domain::Unpause { id }) {
        Err(Errno::Busy) => Err(s.fail(format_args!(
            "{} is not paused; 'list' shows it",
            g.word(0).unwrap_or("it")
        ))),
        result => Ok(result?),
    }
}

pub fn console(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let to = named(s, g)?;
    match s.ask(&SetFocus {
        to: to.map_or(Focus::Keep, Focus::Domain),
    }) {
        Ok(id) => {
            let name = names::domain_name(s, id);
            s.print(format_args!(
                "input goes to {name}; Ctrl-A three times moves it on\n"
            ));
            Ok(())
        }
        Err(Errno::Busy) => {
            Err(s.fail(format_args!("{} has no console", g.word(0).unwrap_or("it"))))
        }
        Err(e) => Err(e.into()),
    }
}
