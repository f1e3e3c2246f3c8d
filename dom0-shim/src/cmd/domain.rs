//! Commands about domains and their vCPUs.

use crate::names;
use crate::session::{Fail, Session};
use crate::table::{Column, Table};
use crate::units::Seconds;
use core::fmt::{self, Display};
use tarn_abi::call::console::{Focus, SetFocus};
use tarn_abi::call::domain::{self, DomainFlags, DomainRow, DomainState};
use tarn_abi::call::vcpu::{self, RunState, VcpuRow};
use tarn_abi::{CpuId, DomainId, Errno, Text};

/// The domain that the first argument names, if there is one.
fn named(s: &mut Session<'_>, args: &[&str]) -> Result<Option<DomainId>, Fail> {
    match args.first() {
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

pub fn list(s: &mut Session<'_>, args: &[&str]) -> Result<(), Fail> {
    let only = named(s, args)?;
    let wanted = |id| only.is_none_or(|o| o == id);
    let columns = [
        Column::Left("Name"),
        Column::Right("ID"),
        Column::Right("Mem"),
        Column::Right("VCPUs"),
        Column::Left("State"),
        Column::Right("Time(s)"),
        Column::Left("Pool"),
    ];
    Table::print(s, columns, &mut |s, t| {
        names::each_domain(s, &mut |s, row| {
            if wanted(row.id) {
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
                    ],
                );
            }
            Ok(())
        })
    })?;
    names::each_domain(s, &mut |s, row| {
        if row.state == DomainState::Crashed && wanted(row.id) {
            let name = names::domain_name(s, row.id);
            if let Ok(why) = s.ask(&domain::Crash { id: row.id }) {
                let at = format_args!(
                    "{name} crashed at {:#x}: {}; 'destroy {name}' frees it\n",
                    why.pc, why.reason
                );
                s.print(at);
            }
        }
        Ok(())
    })
}

/// Three letters or dashes.
struct VcpuState(RunState);

impl Display for VcpuState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            RunState::Running => "r--",
            RunState::Runnable => "---",
            RunState::Blocked => "-b-",
            RunState::Offline => "--p",
        })
    }
}

/// A CPU number, or a dash.
struct Cpu(Option<CpuId>);

impl Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(cpu) => write!(f, "{cpu}"),
            None => f.write_str("-"),
        }
    }
}

/// What is done with each vCPU: name and id of its domain, its number there, and what there is to say of it.
type Visit<'f> =
    &'f mut dyn FnMut(&mut Session<'_>, &Text, DomainId, u32, &VcpuRow) -> Result<(), Fail>;

/// Every vCPU of every domain, or of one. A domain that goes meanwhile is left out.
fn each_vcpu(s: &mut Session<'_>, only: Option<DomainId>, f: Visit<'_>) -> Result<(), Fail> {
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

pub fn vcpu_list(s: &mut Session<'_>, args: &[&str]) -> Result<(), Fail> {
    let only = named(s, args)?;
    let columns = [
        Column::Left("Name"),
        Column::Right("ID"),
        Column::Right("VCPU"),
        Column::Right("CPU"),
        Column::Left("State"),
        Column::Right("Time(s)"),
        Column::Left("Affinity"),
    ];
    Table::print(s, columns, &mut |s, t| {
        each_vcpu(s, only, &mut |s, name, id, index, v| {
            // Where it ran last says nothing about one that is off.
            let cpu = Cpu(v.cpu.filter(|_| v.state != RunState::Offline));
            t.row(
                s,
                [
                    name,
                    &id.slot,
                    &index,
                    &cpu,
                    &VcpuState(v.state),
                    &Seconds(v.time, 1),
                    &v.affinity,
                ],
            );
            Ok(())
        })
    })
}

pub fn runstate(s: &mut Session<'_>, args: &[&str]) -> Result<(), Fail> {
    let only = named(s, args)?;
    let columns = [
        Column::Left("Name"),
        Column::Right("ID"),
        Column::Right("VCPU"),
        Column::Left("State"),
        Column::Right("running"),
        Column::Right("runnable"),
        Column::Right("blocked"),
        Column::Right("offline"),
    ];
    Table::print(s, columns, &mut |s, t| {
        each_vcpu(s, only, &mut |s, name, id, index, _| {
            let r = s.ask(&vcpu::Runstate { domain: id, index })?;
            let [a, b, c, d] =
                [r.running, r.runnable, r.blocked, r.offline].map(|time| Seconds(time, 3));
            t.row(
                s,
                [name, &id.slot, &index, &VcpuState(r.state), &a, &b, &c, &d],
            );
            Ok(())
        })
    })
}

pub fn create(s: &mut Session<'_>, args: &[&str]) -> Result<(), Fail> {
    let word = args[0];
    let Some(name) = Text::new(word) else {
        return Err(s.fail(format_args!("a name has at most {} letters", Text::MAX)));
    };
    match s.ask(&domain::Create { name }) {
        Ok(id) => {
            s.print(format_args!("{name} is domain {}\n", id.slot));
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

pub fn destroy(s: &mut Session<'_>, args: &[&str]) -> Result<(), Fail> {
    let id = names::find_domain(s, args[0])?;
    match s.ask(&domain::Destroy { id }) {
        Err(Errno::Fixed) => Err(s.fail(format_args!(
            "dom0 lives as long as the machine; 'poweroff' or 'reboot' end both"
        ))),
        result => Ok(result?),
    }
}

pub fn pause(s: &mut Session<'_>, args: &[&str]) -> Result<(), Fail> {
    let id = names::find_domain(s, args[0])?;
    match s.ask(&domain::Pause { id }) {
        Err(Errno::Fixed) => Err(s.fail(format_args!(
            "dom0 cannot be paused: nobody could unpause it"
        ))),
        Err(Errno::Busy) => Err(s.fail(format_args!(
            "{} is paused already, or not alive; 'list' shows it",
            args[0]
        ))),
        result => Ok(result?),
    }
}

pub fn unpause(s: &mut Session<'_>, args: &[&str]) -> Result<(), Fail> {
    let id = names::find_domain(s, args[0])?;
    match s.ask(&domain::Unpause { id }) {
        Err(Errno::Busy) => Err(s.fail(format_args!("{} is not paused; 'list' shows it", args[0]))),
        result => Ok(result?),
    }
}

pub fn console(s: &mut Session<'_>, args: &[&str]) -> Result<(), Fail> {
    let to = named(s, args)?;
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
        Err(Errno::Busy) => Err(s.fail(format_args!(
            "{} has no console",
            args.first().unwrap_or(&"it")
        ))),
        Err(e) => Err(e.into()),
    }
}
