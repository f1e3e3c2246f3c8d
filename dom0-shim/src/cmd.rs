//! The table of commands: word, arguments, help, and what runs it. Parsing, counting of arguments and completion follow
//! from the table; the areas in cmd/ hold what the commands do.
//!
//! A command prints its answer and returns; `Err` means it has failed and, after `run`, that the reason is printed. It
//! must change nothing when it fails. A new command is one row here and one function there.

mod domain;
mod pool;
mod system;

use crate::session::{Fail, Session};
use crate::similar::Nearest;
use crate::table::{Column, Table};
use tarn_abi::Errno;

/// What an argument names: what completes it.
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
}

impl Kind {
    /// As usage lines call it.
    const fn word(self) -> &'static str {
        match self {
            Kind::Command => "COMMAND",
            Kind::Domain | Kind::Config => "NAME",
            Kind::Pool => "POOL",
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
}

const fn need(kind: Kind) -> Arg {
    Arg {
        kind,
        optional: false,
    }
}

const fn may(kind: Kind) -> Arg {
    Arg {
        kind,
        optional: true,
    }
}

/// A row of the table.
pub struct Command {
    /// The word that runs it.
    pub name: &'static str,
    /// Other words that do, as other systems have them.
    pub aliases: &'static [&'static str],
    /// Its arguments, in order.
    pub args: &'static [Arg],
    /// What it does, in one line.
    pub help: &'static str,
    /// What else there is to say, lines for `help COMMAND`.
    pub more: &'static str,
    run: fn(&mut Session<'_>, &[&str]) -> Result<(), Fail>,
}

/// Every command, as `help` lists them.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "help",
        aliases: &["?"],
        args: &[may(Kind::Command)],
        help: "lists the commands, or explains one",
        more: "Tab completes commands and names. Several commands go on a line, separated by ';'.\n\
               Up and down walk the last 16 lines. A domain or pool may be given by its number too.",
        run: help,
    },
    Command {
        name: "info",
        aliases: &[],
        args: &[],
        help: "version, board, CPUs, memory, interrupt controller, counters",
        more: "",
        run: system::info,
    },
    Command {
        name: "list",
        aliases: &["domains"],
        args: &[may(Kind::Domain)],
        help: "domains: memory (MiB), vCPUs, state, CPU time (s), pool",
        more: "State letters: r a vCPU is on a CPU, b all vCPUs wait for interrupts, p paused, s shut down,\n\
               c crashed, d being destroyed.",
        run: domain::list,
    },
    Command {
        name: "vcpu-list",
        aliases: &[],
        args: &[may(Kind::Domain)],
        help: "vCPUs: CPU, state, CPU time (s), CPUs they may use",
        more: "State letters: r on a CPU, - waits for a CPU, b waits for an interrupt, p off or paused.",
        run: domain::vcpu_list,
    },
    Command {
        name: "runstate",
        aliases: &[],
        args: &[may(Kind::Domain)],
        help: "time (s) each vCPU has run, waited for a CPU, been blocked, been off",
        more: "",
        run: domain::runstate,
    },
    Command {
        name: "pool-list",
        aliases: &["cpupool-list"],
        args: &[may(Kind::Pool)],
        help: "pools: CPUs, scheduler, domains by number",
        more: "",
        run: pool::list,
    },
    Command {
        name: "create",
        aliases: &[],
        args: &[need(Kind::Config)],
        help: "starts a domain of the configuration that is not alive",
        more: "Without such a name: 'create' and Tab shows what could be started.",
        run: domain::create,
    },
    Command {
        name: "destroy",
        aliases: &[],
        args: &[need(Kind::Domain)],
        help: "stops a domain at once and frees what it has",
        more: "The domain is not asked. dom0 cannot be destroyed.",
        run: domain::destroy,
    },
    Command {
        name: "pause",
        aliases: &[],
        args: &[need(Kind::Domain)],
        help: "keeps a domain from running",
        more: "",
        run: domain::pause,
    },
    Command {
        name: "unpause",
        aliases: &[],
        args: &[need(Kind::Domain)],
        help: "lets a paused domain run again",
        more: "",
        run: domain::unpause,
    },
    Command {
        name: "console",
        aliases: &["focus"],
        args: &[may(Kind::Domain)],
        help: "sends what you type to a domain; Ctrl-A three times moves on",
        more: "Ctrl-A three times moves the input to the next domain with a console and, behind the last,\n\
               back to dom0. Without a name: shows who has the input.",
        run: domain::console,
    },
    Command {
        name: "counters",
        aliases: &[],
        args: &[may(Kind::Domain)],
        help: "counters of the machine, or of one domain",
        more: "",
        run: system::counters,
    },
    Command {
        name: "dmesg",
        aliases: &[],
        args: &[],
        help: "the hypervisor's log",
        more: "",
        run: system::dmesg,
    },
    Command {
        name: "reboot",
        aliases: &[],
        args: &[],
        help: "resets the machine at once",
        more: "Domains are not asked.",
        run: system::reboot,
    },
    Command {
        name: "poweroff",
        aliases: &["halt"],
        args: &[],
        help: "switches the machine off at once",
        more: "Domains are not asked.",
        run: system::poweroff,
    },
];

/// Words that may stand before a command and mean nothing: the tools of other systems.
pub const PREFIXES: &[&str] = &["xl", "xm"];
/// Most words of a command.
const WORDS: usize = 8;

/// The command that a word runs.
pub fn find(word: &str) -> Option<&'static Command> {
    COMMANDS
        .iter()
        .find(|c| c.name == word || c.aliases.contains(&word))
}

/// Runs one command (no `;` in it). When it fails, what was wrong has been printed.
pub fn run(s: &mut Session<'_>, text: &str) -> Result<(), Fail> {
    match run_words(s, text) {
        Err(Fail::Refused(Errno::Again)) => Err(s.fail(format_args!(
            "interrupted before it was finished; the same command goes on with it"
        ))),
        Err(Fail::Refused(Errno::Stale | Errno::NoSuch)) => Err(s.fail(format_args!(
            "it has gone meanwhile; 'list' shows what there is"
        ))),
        Err(Fail::Refused(Errno::NoMemory)) => Err(s.fail(format_args!(
            "not enough memory; 'info' shows what is free, 'destroy' frees more"
        ))),
        Err(Fail::Refused(e)) => Err(s.fail(format_args!("{text}: {e}"))),
        other => other,
    }
}

fn run_words(s: &mut Session<'_>, text: &str) -> Result<(), Fail> {
    let mut words = [""; WORDS];
    let mut count = 0;
    for word in text.split_ascii_whitespace() {
        if count == 0 && PREFIXES.contains(&word) {
            continue;
        }
        let Some(slot) = words.get_mut(count) else {
            return Err(s.fail(format_args!(
                "more than {WORDS} words; separate commands by ';'"
            )));
        };
        *slot = word;
        count += 1;
    }
    let Some((word, args)) = words[..count].split_first() else {
        return Err(s.fail(format_args!(
            "{text} is no command by itself; 'help' lists them"
        )));
    };
    let Some(command) = find(word) else {
        return Err(unknown(s, word));
    };
    let needed = command.args.iter().filter(|a| !a.optional).count();
    if let Some(missing) = command.args[..needed].get(args.len()) {
        let kind = missing.kind.word();
        return Err(s.fail(format_args!(
            "{} needs a {kind}; 'help {}' says more",
            command.name, command.name
        )));
    }
    if let Some(extra) = args.get(command.args.len()) {
        let most = match command.args.len() {
            0 => "no argument",
            1 => "one argument",
            _ => "fewer arguments",
        };
        return Err(s.fail(format_args!(
            "{} takes {most}: what is {extra}?",
            command.name
        )));
    }
    (command.run)(s, args)
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

/// `create NAME`, `list [NAME]`.
struct Usage<'a>(&'a Command);

impl core::fmt::Display for Usage<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.0.name)?;
        for a in self.0.args {
            let word = a.kind.word();
            if a.optional {
                write!(f, " [{word}]")?
            } else {
                write!(f, " {word}")?
            }
        }
        Ok(())
    }
}

fn help(s: &mut Session<'_>, args: &[&str]) -> Result<(), Fail> {
    if let Some(word) = args.first() {
        let Some(c) = find(word) else {
            return Err(unknown(s, word));
        };
        s.print(format_args!("{}: {}\n", Usage(c), c.help));
        if !c.more.is_empty() {
            s.print(format_args!("{}\n", c.more));
        }
        for alias in c.aliases {
            s.print(format_args!("Also: {alias}\n"));
        }
        return Ok(());
    }
    Table::print(
        s,
        [Column::Left("COMMAND"), Column::Left("WHAT IT DOES")],
        &mut |s, t| {
            for c in COMMANDS {
                t.row(s, [&Usage(c), &c.help]);
            }
            Ok(())
        },
    )?;
    Ok(())
}
