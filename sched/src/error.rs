//! Why a scheduler refuses: one enum, each value with the phrase an operator reads.
//!
//! Neighbours: `pools` wraps it into its own error; the wire number is chosen there.

use core::fmt;

/// A refusal. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SchedError {
    /// No memory for the tables.
    NoMemory,
    /// No scheduler of that name or number.
    UnknownScheduler,
    /// A parameter is outside its range: which, and the range.
    Range {
        /// Name of the parameter as the operator knows it.
        what: &'static str,
        /// Lowest value allowed.
        min: u64,
        /// Highest value allowed.
        max: u64,
    },
    /// Two parameters contradict each other.
    Conflict(&'static str),
    /// The entity would ask for more than the CPUs can give (rtds, null).
    Inadmissible {
        /// What is asked for in total, in 1/1000 of a CPU.
        asked: u64,
        /// What there is, in 1/1000 of a CPU.
        available: u64,
    },
}

impl fmt::Display for SchedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchedError::NoMemory => f.write_str("not enough memory for scheduling data"),
            SchedError::UnknownScheduler => f.write_str("no such scheduler"),
            SchedError::Range { what, min, max } => write!(f, "{what} must be {min} to {max}"),
            SchedError::Conflict(why) => f.write_str(why),
            SchedError::Inadmissible { asked, available } => write!(
                f,
                "not admitted: {}.{:03} CPUs asked for, {}.{:03} available",
                asked / 1000,
                asked % 1000,
                available / 1000,
                available % 1000
            ),
        }
    }
}

/// `Err(Range)` unless `min <= value <= max`.
pub(crate) fn in_range(
    what: &'static str,
    value: u64,
    min: u64,
    max: u64,
) -> Result<(), SchedError> {
    if value < min || value > max {
        Err(SchedError::Range { what, min, max })
    } else {
        Ok(())
    }
}
