//! What a command is, and running one: find its row, parse its words, call its function, explain a refusal.
//!
//! A command prints its answer and returns; `Err` means it has failed and, after `run`, that the reason is printed. It
//! must change nothing when it fails. A new command is one row in cmd/list.rs and one function in an area of cmd/;
//! parsing, help and completion follow from the row.

mod boost;
mod counters;
mod cpu;
mod domain;
mod group;
mod list;
mod measure;
mod params;
mod parse;
mod plan;
mod pool;
mod raw;
mod runstate;
mod shortage;
mod system;
mod touched;
mod vcpu;

pub use cpu::WORKS;
pub use group::each_name as each_group_name;
pub use list::COMMANDS;
pub use params::each_name as each_param_name;
pub use parse::{Wanted, wanted};

use crate::session::{Fail, Session};
use crate::similar::Nearest;
use crate::table::{Column, Table};
use parse::Given;
use tarn_abi::Errno;

/// What a word names: what completes it, and what a usage line calls it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A command.
    Command,
    /// A live domain.
    Domain,
    /// A domain of the configuration that is not alive.
    Config,
    /// A pool.
    Pool,
    /// Further domains and, last, a pool.
    Target,
    /// A scheduling group, as GROUP, OUTER/GROUP or POOL/GROUP.
    Group,
    /// A group, or a pool: outside all groups.
    Place,
    /// A scheduler.
    Sched,
    /// A name that is not there yet.
    New,
    /// CPUs: `1,3,5-7`.
    Cpus,
    /// CPUs or `all`.
    CpusOrAll,
    /// A CPU.
    Cpu,
    /// A CPU or `all`.
    CpuOrAll,
    /// The number of a vCPU in its domain, or `all`.
    Vcpu,
    /// What `cpu-run` can do.
    Work,
    /// A plain number.
    Number,
    /// Seconds: `2` or `0.25`.
    Seconds,
    /// `on` or `off`.
    OnOff,
    /// NAME=VALUE of a parameter.
    Setting,
    /// Where memory comes from: `any`, `node:N` or `BASE+SIZE`.
    Memory,
    /// Steps of a plan.
    Steps,
    /// Nothing: the option stands alone.
    Switch,
}

impl Kind {
    /// As usage lines call it.
    const fn word(self) -> &'static str {
        match self {
            Kind::Command => "COMMAND",
            Kind::Domain => "DOMAIN",
            Kind::Config | Kind::New => "NAME",
            Kind::Pool => "POOL",
            Kind::Target => "[DOMAIN...] POOL",
            Kind::Group => "GROUP",
            Kind::Place => "GROUP|POOL",
            Kind::Sched => "SCHED",
            Kind::Cpus => "CPUS",
            Kind::CpusOrAll => "CPUS|all|-",
            Kind::Cpu => "CPU",
            Kind::CpuOrAll => "CPU|all",
            Kind::Vcpu => "VCPU|all",
            Kind::Work => "REGISTER",
            Kind::Number => "N",
            Kind::Seconds => "SECONDS",
            Kind::OnOff => "on|off",
            Kind::Setting => "NAME=VALUE",
            Kind::Memory => "any|node:N|BASE+SIZE",
            Kind::Steps => "STEP [/ STEP]...",
            Kind::Switch => "",
        }
    }
}

/// One argument of a command.
#[derive(Clone, Copy, Debug)]
pub struct Arg {
    /// What it names.
    pub kind: Kind,
    /// Whether it may be left out. Behind one that may, all may.
    pub optional: bool,
    /// Whether it may come several times; only the last, or the one before it.
    pub many: bool,
}

/// One option of a command.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// `-w`, with its value as the next word, or `ncpu=`, with its value behind it.
    pub name: &'static str,
    /// What its value names.
    pub kind: Kind,
}

/// A row of the table.
pub struct Command {
    /// The word that runs it.
    pub name: &'static str,
    /// Other words that do, as other systems have them.
    pub aliases: &'static [&'static str],
    /// Its arguments, in order.
    pub args: &'static [Arg],
    /// Its options, anywhere.
    pub opts: &'static [Opt],
    /// Whether it prints a list, which `--json` prints for programs.
    pub json: bool,
    /// What it does, in one line.
    pub help: &'static str,
    /// What else there is to say, lines for `help COMMAND`.
    pub more: &'static str,
    run: Run,
}

type Run = fn(&mut Session<'_>, &Given<'_>) -> Result<(), Fail>;

/// Words that may stand before a command and mean nothing: the tools of other systems.
pub const PREFIXES: &[&str] = &["xl", "xm"];

/// The command that a word runs.
pub fn find(word: &str) -> Option<&'static Command> {
    COMMANDS
        .iter()
        .find(|c| c.name == word || c.aliases.contains(&word))
}

/// Runs one command (no `;` in it). When it fails, what was wrong has been printed.
pub fn run(s: &mut Session<'_>, text: &str) -> Result<(), Fail> {
    let result = parse::parse(s, text).and_then(|given| {
        s.json = given.json;
        (given.command.run)(s, &given)
    });
    s.json = false;
    match result {
        Err(Fail::Refused(e)) => Err(explain(s, text, e)),
        other => other,
    }
}

/// Says why a call was refused, in the hypervisor's words if it has some, and what to do next.
fn explain(s: &mut Session<'_>, text: &str, e: Errno) -> Fail {
    if e == Errno::Again {
        return s.fail(format_args!(
            "interrupted before it was finished; the same command goes on with it"
        ));
    }
    let next = match e {
        Errno::Stale | Errno::NoSuch => "'list' and 'pool-list' show what there is",
        Errno::NoMemory => {
            "'info' shows what is free, 'pool-memory' where a pool's comes from; 'destroy' frees more"
        }
        Errno::LastCpu => "move its domains first: 'cpupool-migrate DOMAIN POOL'",
        Errno::NotEmpty => "'pool-list' and 'group-list' show what is in it",
        Errno::NoCpus => "'cpupool-cpu-add POOL CPU' gives it one",
        Errno::NotAdmitted => "less with 'sched-rtds -d DOMAIN -p PERIOD -b BUDGET', or more CPUs",
        _ => "",
    };
    s.print(format_args!("error: "));
    if !s.print_why() {
        match e {
            Errno::Stale | Errno::NoSuch => s.print(format_args!("it has gone meanwhile")),
            Errno::NoMemory => s.print(format_args!("not enough memory")),
            _ => s.print(format_args!("{text}: {e}")),
        }
    }
    if !next.is_empty() {
        s.print(format_args!("; {next}"));
    }
    s.print(format_args!("\n"));
    Fail::Said
}

fn unknown(s: &mut Session<'_>, word: &str) -> Fail {
    let mut nearest = Nearest::new(word);
    let mut similar = None;
    for c in COMMANDS {
        for name in core::iter::once(&c.name).chain(c.aliases) {
            if nearest.nearer(name.as_bytes()) {
                similar = Some(*name);
            }
        }
    }
    match similar {
        Some(name) => s.fail(format_args!(
            "no command {word}: did you mean {name}? 'help' lists them all"
        )),
        None => s.fail(format_args!(
            "no command {word}; 'help' lists those there are"
        )),
    }
}

/// `create NAME [pool=POOL]`.
struct Usage<'a>(&'a Command);

impl core::fmt::Display for Usage<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.0.name)?;
        for a in self.0.args {
            let word = a.kind.word();
            let more = if a.many && !matches!(a.kind, Kind::Steps | Kind::Target) {
                "..."
            } else {
                ""
            };
            if a.optional {
                write!(f, " [{word}{more}]")?;
            } else {
                write!(f, " {word}{more}")?;
            }
        }
        for o in self.0.opts {
            let blank = if o.name.starts_with('-') && o.kind != Kind::Switch {
                " "
            } else {
                ""
            };
            write!(f, " [{}{blank}{}]", o.name, o.kind.word())?;
        }
        Ok(())
    }
}

fn help(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    if let Some(word) = g.word(0) {
        let Some(c) = find(word) else {
            return Err(unknown(s, word));
        };
        if s.json {
            let columns = [
                Column::hidden("command"),
                Column::hidden("help"),
                Column::hidden("usage"),
                Column::hidden("more"),
            ];
            return Table::print(s, columns, &mut |s, t| {
                t.row(s, [&c.name, &c.help, &Usage(c), &c.more]);
                Ok(())
            });
        }
        s.print(format_args!("{}: {}\n", Usage(c), c.help));
        if !c.more.is_empty() {
            s.print(format_args!("{}\n", c.more));
        }
        if c.json {
            s.print(format_args!("--json prints a JSON object a line.\n"));
        }
        for alias in c.aliases {
            s.print(format_args!("Also: {alias}\n"));
        }
        return Ok(());
    }
    let columns = [
        Column::text("COMMAND", "command"),
        Column::text("WHAT IT DOES", "help"),
        Column::hidden("usage"),
    ];
    Table::print(s, columns, &mut |s, t| {
        for c in COMMANDS {
            t.row(s, [&c.name, &c.help, &Usage(c)]);
        }
        Ok(())
    })
}
