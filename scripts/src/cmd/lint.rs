//! `cargo xtask lint` and `fmt`: rustfmt, clippy by both toolchains, and the rules that no tool knows.
//!
//! The rules are read from the sources as text: which crate may depend on which, where architecture code and unsafe
//! code may stand, that a file says what it is for. Each check has a name and either passes or complains with places.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::args::{Spec, switch};
use xtask::{images, paths, toolchain};

use super::{Outcome, with_options};

/// Who may depend on whom (own crates only). hv and sim are the two places where everything meets.
const EDGES: [(&str, &[&str]); 17] = [
    ("abi", &[]),
    ("sched", &["tarn-abi"]),
    ("pools", &["tarn-abi", "tarn-sched"]),
    ("board", &["tarn-abi"]),
    ("vdev", &["tarn-abi"]),
    ("drivers", &["tarn-abi", "tarn-board", "tarn-vdev"]),
    (
        "hv",
        &[
            "tarn-abi",
            "tarn-sched",
            "tarn-pools",
            "tarn-board",
            "tarn-vdev",
            "tarn-drivers",
        ],
    ),
    ("dom0-shim", &["tarn-abi"]),
    ("sim", &["tarn-abi", "tarn-sched", "tarn-pools"]),
    ("qemu-tests", &["tarn-abi", "tarn-sim", "xtask"]),
    ("scripts", &[]),
    ("image", &["tarn-abi", "tarn-board", "tarn-pools"]),
    ("examples/guest-rt", &[]),
    ("examples/guest-hello", &["guest-rt"]),
    ("examples/guest-samples", &["guest-rt"]),
    ("qemu-tests/guests", &["guest-rt", "tarn-abi"]),
    ("board/fuzz", &["tarn-abi", "tarn-board"]),
];
const PURE: [&str; 5] = ["abi", "sched", "pools", "board", "vdev"];
const LINE_LIMIT: usize = 700;
/// One check and its verdict.
pub struct Check {
    /// As printed.
    pub name: &'static str,
    /// What is wrong, with places; `None` if all is well.
    pub complaint: Option<String>,
}

const LINT: Spec = Spec {
    command: "cargo xtask lint",
    about: "Check formatting, clippy (host crates; bare-metal crates where its compiler has it) and the project's rules.",
    options: &[switch(
        "--rules",
        "only the project's rules, which take no compiler",
    )],
    rest: None,
    notes: "",
};

/// `cargo xtask lint`.
pub fn main(args: &[String]) -> Outcome {
    with_options(&LINT, args, |parsed| {
        let checks = if parsed.has("--rules") {
            report(rules())
        } else {
            checks()
        };
        let failed = checks
            .iter()
            .filter(|check| check.complaint.is_some())
            .count();
        if failed == 0 {
            Outcome::Done
        } else {
            Outcome::Failed(format!("{failed} of {} checks failed", checks.len()))
        }
    })
}

const FMT: Spec = Spec {
    command: "cargo xtask fmt",
    about: "Format every crate.",
    options: &[],
    rest: None,
    notes: "",
};

/// `cargo xtask fmt`.
pub fn format(args: &[String]) -> Outcome {
    with_options(&FMT, args, |_| {
        xtask::images::run(toolchain::host_cargo("fmt").arg("--all"), "formatting").into()
    })
}

/// Every check, printed as it goes.
pub fn checks() -> Vec<Check> {
    let mut all = report(rules());
    all.extend(report(tools()));
    all
}

fn report(checks: Vec<Check>) -> Vec<Check> {
    for check in &checks {
        match &check.complaint {
            None => println!("ok      {}", check.name),
            Some(complaint) => println!("FAILED  {}\n{}", check.name, indent(complaint)),
        }
    }
    checks
}

fn indent(text: &str) -> String {
    text.lines()
        .map(|line| format!("        {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// rustfmt and clippy. A tool that is not installed is said so and gives no check: setup.sh --tools installs it.
fn tools() -> Vec<Check> {
    let mut checks = Vec::new();
    let mut run = |name: &'static str, mut command: Command| {
        let complaint = match command.output() {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )),
            Err(error) => Some(format!("cannot start: {error}")),
        };
        checks.push(Check { name, complaint });
    };
    let has = |verb: &str| {
        toolchain::host_cargo(verb)
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if has("fmt") {
        let mut command = toolchain::host_cargo("fmt");
        command.args(["--all", "--", "--check"]);
        run("formatting", command);
    } else {
        println!("        rustfmt is not installed: formatting not checked");
    }
    if has("clippy") {
        let mut command = toolchain::host_cargo("clippy");
        command.args([
            "--quiet",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]);
        run("clippy, host side of all crates", command);
    } else {
        println!("        clippy is not installed for the host: host crates not linted");
    }
    match toolchain::find()
        .ok()
        .and_then(|toolchain| toolchain.clippy())
    {
        Some(command) => match bare_clippy(command) {
            Ok(command) => run("clippy, bare-metal crates", command),
            Err(error) => checks.push(Check {
                name: "clippy, bare-metal crates",
                complaint: Some(error),
            }),
        },
        None => println!(
            "        clippy is not installed for {}: bare-metal crates not linted",
            toolchain::TARGET
        ),
    }
    checks
}

/// Completes the command for all packages of the board. The hypervisor includes two guests, so these are built first
/// where they are missing.
fn bare_clippy(mut command: Command) -> Result<Command, String> {
    let embedded = ["dom0-shim.bin", "guest-hello.bin"].map(|name| paths::images().join(name));
    if !embedded.iter().all(|image| image.is_file()) {
        images::build(images::Options {
            guests_only: true,
            say: images::Say::Nothing,
            ..images::Options::default()
        })?;
    }
    command
        .args(["--quiet", "--release", "--target-dir"])
        .arg(paths::target().join("clippy"));
    for package in images::bare_packages()? {
        command.args(["--package", &package]);
    }
    command
        .env("TARN_DOM0_SHIM", &embedded[0])
        .env("TARN_DEMO_GUEST", &embedded[1]);
    command.args(["--", "-D", "warnings"]);
    Ok(command)
}

/// The project's own rules.
fn rules() -> Vec<Check> {
    let root = paths::root();
    let sources = sources(&root);
    let each = |rule: &dyn Fn(&str, &str) -> Option<String>| -> Option<String> {
        let found: Vec<String> = sources
            .iter()
            .filter_map(|(path, text)| rule(path, text))
            .collect();
        (!found.is_empty()).then(|| found.join("\n"))
    };
    let lines = |rule: &dyn Fn(&str, &str) -> bool| {
        each(&|path, text| {
            let found: Vec<String> = text
                .lines()
                .enumerate()
                .filter(|(_, line)| rule(path, line))
                .map(|(index, line)| format!("{path}:{}: {}", index + 1, line.trim()))
                .collect();
            (!found.is_empty()).then(|| found.join("\n"))
        })
    };
    let code = |line: &str| line.split("//").next().unwrap_or("").to_owned();
    vec![
        Check {
            name: "crates depend only on whom they may",
            complaint: edges(&root),
        },
        Check {
            name: "pure crates forbid unsafe code",
            complaint: join(PURE.iter().filter_map(|name| {
                let path = root.join(name).join("src/lib.rs");
                let text = fs::read_to_string(&path).unwrap_or_default();
                (!text.contains("#![forbid(unsafe_code)]")).then(|| format!("{name}/src/lib.rs"))
            })),
        },
        Check {
            name: "architecture decided only in hv/src/arch and drivers",
            complaint: lines(&|path, line| {
                let allowed = [
                    "hv/src/arch/",
                    "drivers/",
                    "scripts/",
                    "examples/",
                    "qemu-tests/",
                    "dom0-shim/",
                ];
                code(line).contains(concat!("target", "_arch"))
                    && !allowed.iter().any(|place| path.starts_with(place))
            }),
        },
        Check {
            name: "no static mut",
            complaint: lines(&|_, line| {
                // not the reference `&'static mut`
                code(line)
                    .replace("'static", "")
                    .contains(concat!("static ", "mut "))
            }),
        },
        Check {
            name: "every file says what it is for",
            complaint: each(&|path, text| (!text.starts_with("//!")).then(|| path.to_owned())),
        },
        Check {
            name: "no file over 700 lines",
            complaint: each(&|path, text| {
                let count = text.lines().count();
                (count > LINE_LIMIT).then(|| format!("{path}: {count} lines"))
            }),
        },
        Check {
            name: "nothing unfinished by its own word",
            complaint: lines(&|_, line| {
                let words = [
                    concat!("to", "do!("),
                    concat!("unimpl", "emented!("),
                    concat!("FIX", "ME"),
                    concat!("X", "XX"),
                ];
                words.iter().any(|word| line.contains(word))
            }),
        },
        Check {
            name: "a reason at every unsafe block",
            complaint: each(&|path, text| unreasoned(path, text)),
        },
    ]
}

fn join(found: impl Iterator<Item = String>) -> Option<String> {
    let found: Vec<String> = found.collect();
    (!found.is_empty()).then(|| found.join("\n"))
}

/// Unsafe blocks and impls without a SAFETY note in the lines before. Clippy does this exactly where it is installed;
/// this coarse look holds everywhere, also for code that is only compiled for the board.
fn unreasoned(path: &str, text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    join(lines.iter().enumerate().filter_map(|(index, line)| {
        let code = line.split("//").next().unwrap_or("");
        let opens = code.contains(concat!("unsafe", " {"))
            || code.trim_start().starts_with(concat!("unsafe", " impl"));
        let near = &lines[index.saturating_sub(12)..=index];
        (opens && !code.contains('"') && !near.iter().any(|line| line.contains("SAFETY")))
            .then(|| format!("{path}:{}: {}", index + 1, line.trim()))
    }))
}

/// Own crates named in `[dependencies]` sections, against the table.
fn edges(root: &Path) -> Option<String> {
    let own: Vec<&str> = EDGES
        .iter()
        .flat_map(|(_, allowed)| allowed.iter().copied())
        .collect();
    let table: BTreeMap<&str, &[&str]> = EDGES.into_iter().collect();
    let mut manifests = Vec::new();
    walk(root, root, &mut manifests, &|name| name == "Cargo.toml");
    join(manifests.iter().filter_map(|path| {
        let folder = path
            .parent()?
            .strip_prefix(root)
            .ok()?
            .to_string_lossy()
            .into_owned();
        if folder.is_empty() {
            return None;
        }
        let place = if folder.starts_with("qemu-tests/guests/") {
            "qemu-tests/guests"
        } else {
            &folder
        };
        let Some(allowed) = table.get(place) else {
            return Some(format!("{folder}: not in the table of crates"));
        };
        let text = fs::read_to_string(path).ok()?;
        let mut section = "";
        let mut wrong = Vec::new();
        for line in text.lines() {
            if line.starts_with('[') {
                section = line.trim_matches(|c| c == '[' || c == ']');
            } else if section.ends_with("dependencies") {
                let name = line.split(['.', '=', ' ']).next().unwrap_or("");
                if own.contains(&name) && !allowed.contains(&name) {
                    wrong.push(format!("{folder} must not depend on {name}"));
                }
            }
        }
        join(wrong.into_iter())
    }))
}

/// Every Rust source below the root, as relative path and text.
fn sources(root: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    walk(root, root, &mut files, &|name| name.ends_with(".rs"));
    files
        .into_iter()
        .filter_map(|path| {
            let text = fs::read_to_string(&path).ok()?;
            Some((
                path.strip_prefix(root).ok()?.to_string_lossy().into_owned(),
                text,
            ))
        })
        .collect()
}

fn walk(root: &Path, dir: &Path, files: &mut Vec<PathBuf>, wanted: &dyn Fn(&str) -> bool) {
    let Ok(entries) = dir.read_dir() else { return };
    let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            let skipped = name.starts_with('.')
                || name == "corpus"
                || (dir == root && ["target", "cache"].contains(&name.as_str()));
            if !skipped {
                walk(root, &path, files, wanted);
            }
        } else if wanted(&name) {
            files.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsafe_block_needs_its_reason_near() {
        let bad = concat!("fn f() {\n    unsafe", " { g() }\n}");
        assert!(unreasoned("a.rs", bad).unwrap().starts_with("a.rs:2"));
        let good = concat!(
            "fn f() {\n    // SAFETY: g has no conditions.\n    unsafe",
            " { g() }\n}"
        );
        assert!(unreasoned("a.rs", good).is_none());
    }

    #[test]
    fn the_table_names_only_crates_there_are() {
        let root = paths::root();
        let missing: Vec<&str> = EDGES
            .iter()
            .map(|(folder, _)| *folder)
            .filter(|folder| !folder.contains("/fuzz") && !folder.contains("guests"))
            .filter(|folder| !root.join(folder).join("Cargo.toml").is_file())
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
