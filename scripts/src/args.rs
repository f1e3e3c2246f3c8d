//! Command lines: options declared once, giving both the parser and `--help`.
//!
//! A command declares its options as a table; an unknown option is refused with the nearest known one, a missing value
//! with the option's name. Nothing here exits the process: the caller prints and decides.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One option of a command.
pub struct Opt {
    /// With its dashes, `--smp`.
    pub name: &'static str,
    /// The value's name in the help text; `None` for a switch.
    pub value: Option<&'static str>,
    /// One line.
    pub help: &'static str,
}

/// An option without a value.
pub const fn switch(name: &'static str, help: &'static str) -> Opt {
    Opt {
        name,
        value: None,
        help,
    }
}

/// An option with a value.
pub const fn value(name: &'static str, value: &'static str, help: &'static str) -> Opt {
    Opt {
        name,
        value: Some(value),
        help,
    }
}

/// A command's face.
pub struct Spec {
    /// As typed, `cargo xtask run`.
    pub command: &'static str,
    /// What it does, one paragraph.
    pub about: &'static str,
    /// The options, in the order of the help text.
    pub options: &'static [Opt],
    /// Name of the free arguments in the help text; `None` refuses them.
    pub rest: Option<&'static str>,
    /// Printed after the options.
    pub notes: &'static str,
}

/// What was typed.
#[derive(Debug, Default)]
pub struct Parsed {
    values: BTreeMap<&'static str, String>,
    /// Arguments without dashes, in order.
    pub rest: Vec<String>,
    /// `--help` or `-h` was among them.
    pub help: bool,
}

impl Parsed {
    /// Whether the option was given.
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The option's value, if given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The option's value as a number within `range`, or `default`.
    ///
    /// # Errors
    /// The option, what was typed and the range.
    pub fn number(
        &self,
        name: &str,
        default: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, String> {
        let Some(text) = self.get(name) else {
            return Ok(default);
        };
        text.parse()
            .ok()
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                format!(
                    "{name} wants a number from {} to {}, not '{text}'",
                    range.start(),
                    range.end()
                )
            })
    }

    /// The option's value out of `allowed`, or the first of them.
    ///
    /// # Errors
    /// The option, what was typed and what is allowed.
    pub fn choice<'a>(&self, name: &str, allowed: &[&'a str]) -> Result<&'a str, String> {
        let Some(text) = self.get(name) else {
            return Ok(allowed[0]);
        };
        allowed
            .iter()
            .copied()
            .find(|word| *word == text)
            .ok_or_else(|| format!("{name} wants one of {}, not '{text}'", allowed.join(", ")))
    }
}

impl Spec {
    /// Reads the arguments after the command's name. `--name value` and `--name=value` are the same.
    ///
    /// # Errors
    /// What is wrong with the first argument that does not fit.
    pub fn parse(&self, args: &[String]) -> Result<Parsed, String> {
        let mut parsed = Parsed::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--help" || arg == "-h" {
                parsed.help = true;
                continue;
            }
            if !arg.starts_with('-') {
                if self.rest.is_none() {
                    return Err(format!(
                        "'{arg}' is not an option of {}; see --help",
                        self.command
                    ));
                }
                parsed.rest.push(arg.clone());
                continue;
            }
            let (name, attached) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (arg.as_str(), None),
            };
            let Some(option) = self.options.iter().find(|option| option.name == name) else {
                let near = nearest(name, self.options.iter().map(|option| option.name));
                let near = near.map_or_else(String::new, |near| format!(", did you mean {near}?"));
                return Err(format!("unknown option '{name}'{near} (see --help)"));
            };
            let value = match (option.value, attached) {
                (None, None) => String::new(),
                (None, Some(_)) => return Err(format!("{name} takes no value")),
                (Some(_), Some(value)) => value,
                (Some(what), None) => args
                    .next()
                    .cloned()
                    .ok_or_else(|| format!("{name} wants a value: {name} {what}"))?,
            };
            if parsed.values.insert(option.name, value).is_some() {
                return Err(format!("{name} is given twice"));
            }
        }
        Ok(parsed)
    }

    /// The text of `--help`.
    pub fn help(&self) -> String {
        let mut text = format!("usage: {}", self.command);
        if !self.options.is_empty() {
            text.push_str(" [options]");
        }
        if let Some(rest) = self.rest {
            let _ = write!(text, " {rest}");
        }
        let _ = write!(text, "\n\n{}\n", self.about);
        if !self.options.is_empty() {
            text.push('\n');
        }
        for option in self.options {
            let left = option.value.map_or_else(
                || option.name.to_owned(),
                |value| format!("{} {value}", option.name),
            );
            let _ = writeln!(text, "  {left:<24} {}", option.help);
        }
        if !self.notes.is_empty() {
            let _ = write!(text, "\n{}\n", self.notes.trim_end());
        }
        text
    }
}

/// The known word nearest to `word` by edit distance, if it is near enough to be a slip.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let stem = word.trim_start_matches('-');
    known
        .map(|candidate| (distance(stem, candidate.trim_start_matches('-')), candidate))
        .filter(|(distance, candidate)| {
            *distance * 2 <= candidate.trim_start_matches('-').len().max(2)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance, letters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: Spec = Spec {
        command: "test",
        about: "A test.",
        options: &[
            switch("--linux", "a switch"),
            value("--smp", "N", "a number"),
            value("--gic", "2|3", "a choice"),
        ],
        rest: None,
        notes: "",
    };

    fn parse(line: &str) -> Result<Parsed, String> {
        SPEC.parse(
            &line
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn reads_both_forms_of_a_value() {
        let parsed = parse("--smp 8 --gic=3 --linux").unwrap();
        assert_eq!(parsed.number("--smp", 4, 1..=64), Ok(8));
        assert_eq!(parsed.choice("--gic", &["2", "3"]), Ok("3"));
        assert!(parsed.has("--linux"));
    }

    #[test]
    fn refuses_with_the_nearest_option() {
        assert_eq!(
            parse("--linx").unwrap_err(),
            "unknown option '--linx', did you mean --linux? (see --help)"
        );
        assert_eq!(
            parse("--frobnicate").unwrap_err(),
            "unknown option '--frobnicate' (see --help)"
        );
    }

    #[test]
    fn refuses_values_out_of_place() {
        assert!(parse("--linux=1").is_err());
        assert!(parse("--smp").is_err());
        assert!(parse("--smp 1 --smp 2").is_err());
        assert!(parse("stray").is_err());
        assert!(
            parse("--smp 65")
                .unwrap()
                .number("--smp", 4, 1..=64)
                .is_err()
        );
        assert!(
            parse("--gic 4")
                .unwrap()
                .choice("--gic", &["3", "2"])
                .is_err()
        );
    }

    #[test]
    fn help_names_every_option() {
        let help = SPEC.help();
        assert!(SPEC.options.iter().all(|option| help.contains(option.name)));
    }
}
