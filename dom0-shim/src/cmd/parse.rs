//! A line of words as a command with its arguments and options; and what its next word could be.
//!
//! Both follow from the command's row, so what completes is what parses. A word is an option if the row has it as one:
//! `-w 512` or `ncpu=4`; everything else is an argument. Values may stand in double quotes, as in other systems' files.

use super::{COMMANDS, Command, Kind, Opt, PREFIXES, find, unknown};
use crate::session::{Fail, Session};
use crate::similar::Nearest;

/// Most words of a command: a line cannot have more that mean something.
const WORDS: usize = 64;
/// Most options of a row.
const OPTS: usize = 8;

/// Every list's option.
pub const JSON: &str = "--json";

/// A command and what was given to it.
pub struct Given<'a> {
    pub command: &'static Command,
    words: [&'a str; WORDS],
    count: usize,
    opts: [Option<&'a str>; OPTS],
    pub json: bool,
}

impl<'a> Given<'a> {
    /// The arguments.
    pub fn words(&self) -> &[&'a str] {
        &self.words[..self.count]
    }

    /// An argument.
    pub fn word(&self, n: usize) -> Option<&'a str> {
        self.words().get(n).copied()
    }

    /// The value of an option of the row; of a switch, the empty string.
    pub fn opt(&self, name: &str) -> Option<&'a str> {
        let at = self.command.opts.iter().position(|o| o.name == name)?;
        self.opts.get(at).copied().flatten()
    }
}

/// How a word is related to options.
enum Match<'w> {
    /// No option.
    Plain,
    /// Option number so-and-so, whose value is the next word.
    Next(usize),
    /// Option number so-and-so with its value; of a switch, empty.
    Value(usize, &'w str),
}

fn as_option<'w>(opts: &[Opt], word: &'w str) -> Match<'w> {
    for (i, o) in opts.iter().enumerate() {
        if o.name.ends_with('=') {
            if let Some(value) = word.strip_prefix(o.name) {
                return Match::Value(i, value);
            }
        } else if word == o.name {
            return if o.kind == Kind::Switch {
                Match::Value(i, "")
            } else {
                Match::Next(i)
            };
        }
    }
    Match::Plain
}

fn bare(word: &str) -> &str {
    word.strip_prefix('"')
        .and_then(|w| w.strip_suffix('"'))
        .unwrap_or(word)
}

/// Reads a command; says what is wrong with it.
pub fn parse<'a>(s: &mut Session<'_>, text: &'a str) -> Result<Given<'a>, Fail> {
    parse_words(s, &mut text.split_ascii_whitespace(), text)
}

/// The same of words; `text` is what is said to be no command when there are none.
pub fn parse_words<'a>(
    s: &mut Session<'_>,
    words: &mut dyn Iterator<Item = &'a str>,
    text: &str,
) -> Result<Given<'a>, Fail> {
    let mut words = words.skip_while(|w| PREFIXES.contains(w));
    let Some(first) = words.next() else {
        return Err(s.fail(format_args!(
            "{text} is no command by itself; 'help' lists them"
        )));
    };
    let command = find(first).ok_or_else(|| unknown(s, first))?;
    let name = command.name;
    let mut g = Given {
        command,
        words: [""; WORDS],
        count: 0,
        opts: [None; OPTS],
        json: false,
    };
    while let Some(word) = words.next() {
        let steps = g.argument().is_some_and(|kind| kind == Kind::Steps) && g.count > 0;
        if word == JSON && !steps {
            if !command.json {
                return Err(s.fail(format_args!("{name} prints no list: it has no {JSON}")));
            }
            g.json = true;
            continue;
        }
        let (at, value) = match as_option(command.opts, word) {
            Match::Value(at, value) if !steps => (at, bare(value)),
            Match::Next(at) if !steps => (at, bare(words.next().unwrap_or(""))),
            _ => {
                g.add(s, word, steps)?;
                continue;
            }
        };
        let opt = &command.opts[at];
        if value.is_empty() && opt.kind != Kind::Switch {
            let kind = opt.kind.word();
            return Err(s.fail(format_args!(
                "{} needs a {kind} behind it; 'help {name}' says more",
                opt.name
            )));
        }
        if g.opts[at].replace(value).is_some() {
            return Err(s.fail(format_args!("{} is there twice", opt.name)));
        }
    }
    let needed = command.args.iter().filter(|a| !a.optional).count();
    if let Some(missing) = command.args[..needed].get(g.count) {
        let kind = missing.kind.word();
        return Err(s.fail(format_args!(
            "{name} needs a {kind}; 'help {name}' says more"
        )));
    }
    Ok(g)
}

impl<'a> Given<'a> {
    /// What the next argument would be.
    fn argument(&self) -> Option<Kind> {
        argument(self.command, self.count)
    }

    fn add(&mut self, s: &mut Session<'_>, word: &'a str, step: bool) -> Result<(), Fail> {
        let (c, name) = (self.command, self.command.name);
        let kind = self.argument();
        let setting = kind == Some(Kind::Setting);
        let option = word.len() > 1 && word.starts_with('-') || word.contains('=') && !setting;
        if option && !step && kind != Some(Kind::Steps) {
            let key = word.find('=').map_or(word, |at| &word[..=at]);
            let mut nearest = Nearest::new(key);
            let mut similar = None;
            for o in c.opts {
                if nearest.nearer(o.name.as_bytes()) {
                    similar = Some(o.name);
                }
            }
            return Err(match similar {
                Some(o) => s.fail(format_args!(
                    "{name} has no option {key}: did you mean {o}? 'help {name}' shows them"
                )),
                None => s.fail(format_args!(
                    "{name} has no option {key}; 'help {name}' shows what it takes"
                )),
            });
        }
        if kind.is_none() {
            let most = match c.args.len() {
                0 => "no argument",
                1 => "one argument",
                _ => "fewer arguments",
            };
            return Err(s.fail(format_args!("{name} takes {most}: what is {word}?")));
        }
        let Some(slot) = self.words.get_mut(self.count) else {
            return Err(s.fail(format_args!(
                "more than {WORDS} words; separate commands by ';'"
            )));
        };
        *slot = bare(word);
        self.count += 1;
        Ok(())
    }
}

/// What argument number `count` of a command is.
fn argument(c: &Command, count: usize) -> Option<Kind> {
    match c.args.get(count) {
        Some(a) => Some(a.kind),
        None => c
            .args
            .last()
            .filter(|_| c.args.iter().any(|a| a.many))
            .map(|a| a.kind),
    }
}

/// What the last word of a line could become.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'w> {
    /// What it names.
    pub kind: Option<Kind>,
    /// The options it could begin.
    pub opts: &'static [Opt],
    /// Whether `--json` is one.
    pub json: bool,
    /// Whether an argument must come here.
    pub required: bool,
    /// What there is of it.
    pub word: &'w str,
}

/// What the last word of `before` could become; `None` if nothing is known about it.
pub fn wanted(before: &str) -> Option<Wanted<'_>> {
    let before = before.strip_prefix('@').unwrap_or(before);
    let command = before.rsplit(';').next().unwrap_or("");
    let start = command.rfind(' ').map_or(0, |at| at + 1);
    let (done, word) = command.split_at(start);
    let mut done = done
        .split_ascii_whitespace()
        .skip_while(|w| PREFIXES.contains(w));
    let of = |kind, word| Wanted {
        kind,
        opts: &[],
        json: false,
        required: true,
        word,
    };
    let Some(first) = done.next() else {
        return Some(of(Some(Kind::Command), word));
    };
    let plan = find(first)?;
    let (mut c, mut count, mut waiting, mut planned) = (plan, 0, None, false);
    for w in done {
        if waiting.take().is_some() || w == JSON {
            continue;
        }
        match as_option(c.opts, w) {
            Match::Next(at) => waiting = Some(at),
            Match::Value(..) => {}
            Match::Plain if argument(c, count) == Some(Kind::Steps) && find(w).is_some() => {
                // A step is completed as the command it is.
                (c, count, planned) = (find(w)?, 0, true);
            }
            Match::Plain if w == "/" && planned => (c, count) = (plan, 0),
            Match::Plain => count += 1,
        }
    }
    if let Some(at) = waiting {
        return Some(of(Some(c.opts[at].kind), word));
    }
    if let Match::Value(at, value) = as_option(c.opts, word)
        && c.opts[at].kind != Kind::Switch
    {
        return Some(of(Some(c.opts[at].kind), value));
    }
    let kind = argument(c, count).map(|k| if k == Kind::Steps { Kind::Command } else { k });
    Some(Wanted {
        kind,
        opts: c.opts,
        json: c.json,
        required: c.args.get(count).is_some_and(|a| !a.optional),
        word,
    })
}

const _: () = {
    let mut i = 0;
    while i < COMMANDS.len() {
        assert!(
            COMMANDS[i].opts.len() <= OPTS,
            "more options than Given keeps"
        );
        i += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_is_wanted() {
        let kind = |line| wanted(line).and_then(|w| Some((w.kind?, w.word)));
        assert_eq!(kind(""), Some((Kind::Command, "")));
        assert_eq!(kind("li"), Some((Kind::Command, "li")));
        assert_eq!(kind("list; pau"), Some((Kind::Command, "pau")));
        assert_eq!(kind("@list;destroy vm"), Some((Kind::Domain, "vm")));
        assert_eq!(kind("xl destroy "), Some((Kind::Domain, "")));
        assert_eq!(kind("create x"), Some((Kind::Config, "x")));
        assert_eq!(kind("create x pool=P"), Some((Kind::Pool, "P")));
        assert_eq!(kind("cpupool-list P"), Some((Kind::Pool, "P")));
        assert_eq!(kind("destroy vm1 "), None);
        assert_eq!(kind("nothing "), None);
        assert_eq!(kind("dmesg "), None);
        assert_eq!(kind("help re"), Some((Kind::Command, "re")));
        assert_eq!(kind("sched-credit2 -d v"), Some((Kind::Domain, "v")));
        assert_eq!(kind("pool-create a sched=n"), Some((Kind::Sched, "n")));
        assert_eq!(kind("cpupool-migrate a "), Some((Kind::Target, "")));
        assert_eq!(
            kind("pool-apply -n pool-cr"),
            Some((Kind::Command, "pool-cr"))
        );
        assert_eq!(kind("pool-apply pool-destroy x"), Some((Kind::Pool, "x")));
        assert_eq!(
            kind("pool-apply pool-destroy x / "),
            Some((Kind::Command, ""))
        );
        assert_eq!(
            kind("pool-apply pool-destroy x / cpupool-migrate y / pool-rename z"),
            Some((Kind::Pool, "z"))
        );
    }
}
