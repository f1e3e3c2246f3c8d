//! The commands of xtask, one file each, and how each of them ends.
//!
//! A command reads its options by a `Spec`, does its work through the library and returns an `Outcome`; printing and
//! the exit status are main's.

pub mod bench;
pub mod build;
pub mod lint;
pub mod run;
pub mod soak;
pub mod test;

use xtask::args::{Parsed, Spec};

/// How a command ended.
pub enum Outcome {
    /// All well.
    Done,
    /// The work failed.
    Failed(String),
    /// The command line was not understood.
    Misused(String),
}

impl From<Result<(), String>> for Outcome {
    fn from(result: Result<(), String>) -> Self {
        result.map_or_else(Self::Failed, |()| Self::Done)
    }
}

/// Parses, answers `--help`, and hands the rest to `work`.
pub fn with_options(
    spec: &Spec,
    args: &[String],
    work: impl FnOnce(&Parsed) -> Outcome,
) -> Outcome {
    match spec.parse(args) {
        Ok(parsed) if parsed.help => {
            print!("{}", spec.help());
            Outcome::Done
        }
        Ok(parsed) => work(&parsed),
        Err(error) => Outcome::Misused(error),
    }
}
