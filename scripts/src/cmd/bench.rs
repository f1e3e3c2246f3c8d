//! `cargo xtask bench`: the same figures every time, as a table, as JSON, and against their budgets.
//!
//! The measuring itself is the harness's (package tarn-qemu-tests, `--bench`), which boots the machines under QEMU's
//! instruction counter. This file only builds what it needs and hands the options on.

use xtask::args::{Spec, switch, value};
use xtask::{images, linux, toolchain};

use super::{Outcome, with_options};

const BENCH: Spec = Spec {
    command: "scripts/bench.sh",
    about: "Measure Tarn under QEMU's instruction counter (one instruction is one virtual nanosecond; figures repeat\n\
            exactly), natively and as a domain, with GICv2 and GICv3. Exits 1 when a figure is over its budget.",
    options: &[
        value(
            "--json",
            "FILE",
            "also write the figures as JSON (default target/bench.json)",
        ),
        value("--gic", "2|3", "only this interrupt controller"),
        switch("--no-linux", "leave the Linux boots out"),
        switch("--no-build", "use the images there are"),
    ],
    rest: None,
    notes: "The budgets are in benches/budgets.toml.",
};

/// `cargo xtask bench`.
pub fn main(args: &[String]) -> Outcome {
    with_options(&BENCH, args, |parsed| {
        let work = || {
            if !parsed.has("--no-build") {
                images::build(images::Options::default())?;
            }
            if !parsed.has("--no-linux") {
                linux::provide()?;
            }
            let mut command = toolchain::host_cargo("run");
            command.args(["--quiet", "--package", "tarn-qemu-tests", "--", "--bench"]);
            if let Some(gic) = parsed.get("--gic") {
                command.args(["--gic", gic]);
            }
            if parsed.has("--no-linux") {
                command.arg("--no-linux");
            }
            command.args([
                "--json",
                parsed.get("--json").unwrap_or("target/bench.json"),
            ]);
            images::run(&mut command, "measuring")
        };
        work().into()
    })
}
