//! `cargo xtask soak`: random scenarios in the laboratory, as many as one has time for.
//!
//! The same test as in `cargo xtask test`, built for speed with every check on. Must never report success for fewer cases
//! than were asked for: the test itself says how many it ran.

use xtask::args::{Spec, value};
use xtask::toolchain;

use super::{Outcome, with_options};

const SOAK: Spec = Spec {
    command: "cargo xtask soak",
    about: "Run random scenarios (machines, guests, reconfigurations) in the laboratory; every invariant after every moment.",
    options: &[
        value("--cases", "N", "how many (default 100000)"),
        value("--first", "N", "the first one's number (default 0)"),
        value("--jobs", "N", "at once (default 2)"),
    ],
    rest: None,
    notes: "A case that fails is shrunk and printed; its number finds it again.",
};

/// `cargo xtask soak`.
pub fn main(args: &[String]) -> Outcome {
    with_options(&SOAK, args, |parsed| {
        let cases = parsed.number("--cases", 100_000, 1..=1_000_000_000);
        let first = parsed.number("--first", 0, 0..=1_000_000_000);
        let jobs = parsed.number("--jobs", 2, 1..=256);
        let (cases, first, jobs) = match (cases, first, jobs) {
            (Ok(c), Ok(f), Ok(j)) => (c, f, j),
            (Err(e), ..) | (_, Err(e), _) | (.., Err(e)) => return Outcome::Misused(e),
        };
        let status = toolchain::host_cargo("test")
            .args(["--quiet", "--profile", "soak", "--package", "sim"])
            .args(["--test", "random", "--", "--nocapture"])
            .env("TARN_SIM_CASES", cases.to_string())
            .env("TARN_SIM_FIRST", first.to_string())
            .env("TARN_SIM_JOBS", jobs.to_string())
            .status();
        match status {
            Ok(s) if s.success() => Outcome::Done,
            Ok(_) => Outcome::Failed("a case failed".into()),
            Err(e) => Outcome::Failed(format!("cargo: {e}")),
        }
    })
}
