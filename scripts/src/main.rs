//! `cargo xtask`: everything one does with the project, one command each.
//!
//! The shell scripts beside this crate are doors to it that first install what is missing. A command here never
//! installs anything; it says what to run. Exit status: 0 done, 1 failed, 2 not understood.

mod cmd;

use std::process::ExitCode;

use cmd::Outcome;

type Command = (&'static str, fn(&[String]) -> Outcome);

const HELP: &str = "\
usage: cargo xtask COMMAND [options]

  build      make every image: dom0 shim, guests, the hypervisor
  run        start the hypervisor in QEMU
  test       host tests, then the tests that boot images in QEMU
  soak       random scenarios in the laboratory, 100,000 of them
  bench      measure under QEMU's instruction counter, compare with benches/budgets.toml
  lint       formatting, clippy and the rules of this project
  fmt        format all crates
  linux      fetch the Linux kernel and root file system that tests and --linux use
  config     merge a configuration into the machine's tree and print it

Each command has --help. scripts/setup.sh installs what they need.
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, rest)) = args.split_first() else {
        print!("{HELP}");
        return ExitCode::from(2);
    };
    let commands: [Command; 9] = [
        ("build", cmd::build::main),
        ("run", cmd::run::main),
        ("test", cmd::test::main),
        ("soak", cmd::soak::main),
        ("bench", cmd::bench::main),
        ("lint", cmd::lint::main),
        ("fmt", cmd::lint::format),
        ("linux", cmd::build::linux),
        ("config", cmd::run::config),
    ];
    if ["help", "--help", "-h"].contains(&command.as_str()) {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let Some((_, run)) = commands.iter().find(|(name, _)| name == command) else {
        let near = xtask::args::nearest(command, commands.iter().map(|(name, _)| *name));
        let near = near.map_or_else(String::new, |near| format!(", did you mean '{near}'?"));
        eprintln!("xtask: unknown command '{command}'{near} (see cargo xtask --help)");
        return ExitCode::from(2);
    };
    match run(rest) {
        Outcome::Done => ExitCode::SUCCESS,
        Outcome::Failed(error) => {
            eprintln!("xtask {command}: {error}");
            ExitCode::from(1)
        }
        Outcome::Misused(error) => {
            eprintln!("xtask {command}: {error}");
            ExitCode::from(2)
        }
    }
}
