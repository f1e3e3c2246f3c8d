//! Boots the real images in QEMU and judges what they print; also measures them.
//!
//! `cargo xtask test` builds the images and runs this; by hand it is `cargo run -p tarn-qemu-tests -- [FILTER...]`. The
//! last line is `N passed, N failed`. Nothing is skipped: a missing image is a failure that says what to run.
//!
//! `runner` runs a table of tests, `cases` holds the table (one file per subject), `bench` the measurements. Machines,
//! serial lines and device trees are xtask's.

mod bench;
mod calls;
mod cases;
mod disk;
mod figures;
mod gdb;
mod runner;
mod trampoline;
mod transcript;

use std::process::ExitCode;

use xtask::args::{Spec, switch, value};

const SPEC: Spec = Spec {
    command: "tarn-qemu-tests",
    about: "Boot images in QEMU and judge their consoles, or measure them.",
    options: &[
        switch("--list", "list the tests"),
        switch("--verbose", "print the console of tests that pass, too"),
        value(
            "--jobs",
            "N",
            "machines at once where instructions are counted (default 2)",
        ),
        switch("--bench", "measure instead of testing"),
        value(
            "--gic",
            "2|3",
            "with --bench: only this interrupt controller",
        ),
        switch("--no-linux", "with --bench: leave the Linux boots out"),
        switch("--calls", "with --bench: only hypervisor calls and moves"),
        value("--json", "FILE", "with --bench: write the figures there"),
    ],
    rest: Some("[FILTER...]"),
    notes: "A FILTER is a part of a test's name. TARN_TEST_SLOW=N multiplies every deadline, for slow machines.",
};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let run = || -> Result<bool, String> {
        let parsed = SPEC.parse(&args)?;
        if parsed.help {
            print!("{}", SPEC.help());
            return Ok(true);
        }
        if parsed.has("--bench") {
            let gics = match parsed.choice("--gic", &["both", "2", "3"])? {
                "2" => vec![2],
                "3" => vec![3],
                _ => vec![3, 2],
            };
            return bench::run(
                &gics,
                !parsed.has("--no-linux"),
                parsed.has("--calls"),
                parsed.get("--json").map(std::path::Path::new),
            );
        }
        let tests: Vec<runner::Test> = cases::all()
            .into_iter()
            .filter(|test| test.matches(&parsed.rest))
            .collect();
        if parsed.has("--list") {
            for test in &tests {
                println!("{:<44} {}", test.name, test.about);
            }
            return Ok(true);
        }
        let jobs = parsed.number("--jobs", 2, 1..=16)?;
        Ok(runner::run(tests, jobs as usize, parsed.has("--verbose")))
    };
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("tarn-qemu-tests: {error}");
            ExitCode::from(2)
        }
    }
}
