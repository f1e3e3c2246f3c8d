//! `cargo xtask test`: the host tests of the pure crates and tools, then the images in QEMU; one closing count.
//!
//! The last line is `N passed, N failed` over everything that ran. A step that cannot even start (a crate that does not
//! compile, an image that is missing) counts as a failure: nothing is skipped.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use xtask::args::{Spec, switch, value};
use xtask::{firmware, images, linux, system, toolchain};

use super::{Outcome, lint, with_options};

const TEST: Spec = Spec {
    command: "scripts/test.sh",
    about: "Run the project's tests: formatting and rules, host tests, then the images in QEMU. Without a choice: all.",
    options: &[
        switch("--lint", "formatting, clippy and project rules"),
        switch("--host", "tests of the host crates"),
        switch("--qemu", "tests that boot images"),
        value(
            "--jobs",
            "N",
            "machines at once where instructions are counted (default 2)",
        ),
        switch("--list", "list the tests that boot images"),
        switch("--verbose", "print the console of tests that pass, too"),
        switch("--no-build", "use the images there are"),
    ],
    rest: Some("[FILTER...]"),
    notes: "A FILTER is a part of a QEMU test's name and implies --qemu.",
};

/// Tests counted over all steps.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    passed: u64,
    failed: u64,
}

/// `cargo xtask test`.
pub fn main(args: &[String]) -> Outcome {
    with_options(&TEST, args, |parsed| {
        if parsed.has("--list") {
            return run_qemu(&["--list".to_owned()]).map(|_| ()).into();
        }
        let chosen = ["--lint", "--host", "--qemu"]
            .iter()
            .any(|step| parsed.has(step))
            || !parsed.rest.is_empty();
        let wants = |step: &str| {
            !chosen || parsed.has(step) || (step == "--qemu" && !parsed.rest.is_empty())
        };
        let jobs = match parsed.number("--jobs", 2, 1..=16) {
            Ok(jobs) => jobs,
            Err(error) => return Outcome::Misused(error),
        };
        let mut total = Count::default();
        let mut step = |name: &str, work: &mut dyn FnMut() -> Result<Count, String>| {
            let begin = Instant::now();
            println!("== {name}");
            let count = work().unwrap_or_else(|error| {
                println!("FAILED {name}: {error}");
                Count {
                    passed: 0,
                    failed: 1,
                }
            });
            println!(
                "== {name}: {} passed, {} failed in {:.1} s\n",
                count.passed,
                count.failed,
                begin.elapsed().as_secs_f64()
            );
            total.passed += count.passed;
            total.failed += count.failed;
            count.failed == 0
        };
        if wants("--lint") {
            step("rules and lints", &mut || {
                let checks = lint::checks();
                let failed = checks
                    .iter()
                    .filter(|check| check.complaint.is_some())
                    .count() as u64;
                Ok(Count {
                    passed: checks.len() as u64 - failed,
                    failed,
                })
            });
        }
        if wants("--host") {
            step("host crates", &mut host_tests);
        }
        if wants("--qemu") {
            let ready = parsed.has("--no-build")
                || step("images", &mut || {
                    images::build(images::Options::default())
                        .and_then(|()| system::build_tool())
                        .map(|()| Count {
                            passed: 1,
                            failed: 0,
                        })
                });
            let linux = ready
                && step("linux", &mut || {
                    firmware::provide()
                        .and_then(|()| linux::provide())
                        .map(|_| Count {
                            passed: 1,
                            failed: 0,
                        })
                });
            if linux {
                let mut args = vec!["--jobs".to_owned(), jobs.to_string()];
                args.extend(parsed.has("--verbose").then(|| "--verbose".to_owned()));
                args.extend(parsed.rest.iter().cloned());
                step("machines", &mut || run_qemu(&args));
            }
        }
        println!("{} passed, {} failed", total.passed, total.failed);
        match total {
            Count {
                failed: 0,
                passed: 1..,
            } => Outcome::Done,
            Count { failed: 0, .. } => Outcome::Failed("no test ran".into()),
            _ => Outcome::Failed("tests failed".into()),
        }
    })
}

/// `cargo test` of every crate, as far as it is not only for the board; counts from libtest's closing lines.
fn host_tests() -> Result<Count, String> {
    let mut command = toolchain::host_cargo("test");
    command.args(["--workspace", "--no-fail-fast", "--quiet"]);
    let mut count = Count::default();
    let status = lines(command, |line| {
        println!("{line}");
        if let Some(rest) = line.strip_prefix("test result: ") {
            let number = |word: &str| {
                let before = rest.split(';').find(|part| part.trim().ends_with(word))?;
                before.split_whitespace().rev().nth(1)?.parse::<u64>().ok()
            };
            count.passed += number("passed").unwrap_or(0);
            count.failed += number("failed").unwrap_or(0);
        }
    })?;
    if !status && count.failed == 0 {
        return Err("cargo test failed before all tests could run".into());
    }
    Ok(count)
}

/// The harness, whose last line is its count.
fn run_qemu(args: &[String]) -> Result<Count, String> {
    let mut command = toolchain::host_cargo("run");
    command
        .args(["--quiet", "--package", "tarn-qemu-tests", "--"])
        .args(args);
    let mut last = None;
    let status = lines(command, |line| match closing(&line) {
        Some(count) => last = Some(count),
        None => println!("{line}"),
    })?;
    match last {
        Some(count) if status == (count.failed == 0) => Ok(count),
        _ if args.contains(&"--list".to_owned()) && status => Ok(Count::default()),
        _ => Err("the harness ended without a count".into()),
    }
}

/// `N passed, N failed`.
fn closing(line: &str) -> Option<Count> {
    let (passed, failed) = line.trim().split_once(" passed, ")?;
    Some(Count {
        passed: passed.parse().ok()?,
        failed: failed.strip_suffix(" failed")?.parse().ok()?,
    })
}

/// Runs `command`, hands on its output line by line, and says whether it succeeded.
fn lines(mut command: Command, mut each: impl FnMut(String)) -> Result<bool, String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .spawn()
        .map_err(|error| format!("cannot start {name}: {error}"))?;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            each(line.map_err(|error| format!("cannot read from {name}: {error}"))?);
        }
    }
    Ok(child
        .wait()
        .map_err(|error| format!("cannot wait for {name}: {error}"))?
        .success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_is_read_and_nothing_else() {
        let count = closing("12 passed, 3 failed").unwrap();
        assert_eq!((count.passed, count.failed), (12, 3));
        assert!(closing("12 passed").is_none());
        assert!(closing("x passed, 1 failed").is_none());
    }
}
