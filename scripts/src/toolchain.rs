//! Which Rust compiler builds the images, and how cargo is called for it.
//!
//! Two routes: the rustup toolchain in PATH when it has the target's core library, else Debian's compiler with its
//! library sources and `-Zbuild-std`. `HV_TOOLCHAIN=auto|rustup|debian` picks one. Never pins a version and never
//! fetches anything: that is `scripts/setup.sh`'s work.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::paths;

/// The target of every image.
pub const TARGET: &str = "aarch64-unknown-none-softfloat";

/// A compiler that can build for [`TARGET`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// The one in PATH; core comes ready-made with it.
    Rustup,
    /// Debian's in /usr/bin; core and alloc are built from its sources.
    Debian,
}

/// Finds the compiler to use.
///
/// # Errors
/// What was asked for, and what to run.
pub fn find() -> Result<Toolchain, String> {
    let want = env::var("HV_TOOLCHAIN").unwrap_or_else(|_| "auto".into());
    if !["auto", "rustup", "debian"].contains(&want.as_str()) {
        return Err(format!(
            "HV_TOOLCHAIN is '{want}'; it may be auto, rustup or debian"
        ));
    }
    if want != "debian" && sysroot("rustc").as_deref().is_some_and(has_core) {
        return Ok(Toolchain::Rustup);
    }
    if want != "rustup" && sysroot("/usr/bin/rustc").as_deref().is_some_and(has_source) {
        return Ok(Toolchain::Debian);
    }
    Err(format!(
        "no Rust compiler here builds for {TARGET} (HV_TOOLCHAIN={want}): run scripts/setup.sh"
    ))
}

/// The compiler's root folder. Run without what an outer cargo set, so that the answer is the inner cargo's.
fn sysroot(rustc: &str) -> Option<PathBuf> {
    let mut command = Command::new(rustc);
    clean(&mut command);
    let output = command.args(["--print", "sysroot"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(text.trim()))
}

fn has_core(root: &Path) -> bool {
    let Ok(entries) = root.join("lib/rustlib").join(TARGET).join("lib").read_dir() else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
}

fn has_source(root: &Path) -> bool {
    root.join("lib/rustlib/src/rust/library/Cargo.lock")
        .is_file()
}

/// Takes away what the cargo that runs xtask has set for its own build. `RUSTUP_TOOLCHAIN` is set by rustup's proxy
/// and would drag the inner cargo to another compiler; a user's own choice reaches us through the same variable and
/// is rustup's default again once removed, which `cargo +X xtask` users should know.
fn clean(command: &mut Command) {
    for name in [
        "CARGO",
        "RUSTC",
        "RUSTDOC",
        "RUSTUP_TOOLCHAIN",
        "LD_LIBRARY_PATH",
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
    ] {
        command.env_remove(name);
    }
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_")
            || text.starts_with("CARGO_MANIFEST_")
            || text == "CARGO_CRATE_NAME"
        {
            command.env_remove(&name);
        }
    }
}

/// `dir` in front of PATH.
fn path_with(dir: &str) -> String {
    env::var("PATH").map_or_else(|_| dir.to_owned(), |path| format!("{dir}:{path}"))
}

impl Toolchain {
    /// `cargo VERB` for the bare-metal target; the caller adds packages, profile and target directory.
    pub fn cargo(self, verb: &str) -> Command {
        let mut command = Command::new(if self == Self::Debian {
            "/usr/bin/cargo"
        } else {
            "cargo"
        });
        self.environment(&mut command);
        command.arg(verb);
        self.target(&mut command);
        command
    }

    /// Clippy for the bare-metal target, if it is installed. Debian's must be called as `cargo-clippy`: its cargo looks
    /// into the user's cargo folder first and would start rustup's.
    pub fn clippy(self) -> Option<Command> {
        let program = match self {
            Self::Rustup => "cargo-clippy",
            Self::Debian => "/usr/bin/cargo-clippy",
        };
        let mut probe = Command::new(program);
        self.environment(&mut probe);
        if !probe
            .args(["clippy", "--version"])
            .output()
            .is_ok_and(|output| output.status.success())
        {
            return None;
        }
        let mut command = Command::new(program);
        self.environment(&mut command);
        command.arg("clippy");
        self.target(&mut command);
        Some(command)
    }

    fn environment(self, command: &mut Command) {
        clean(command);
        command.current_dir(paths::root());
        if self == Self::Debian {
            command.env("PATH", path_with("/usr/bin"));
            command.env("CARGO", "/usr/bin/cargo");
            command.env("RUSTC_BOOTSTRAP", "1");
            // a note about the compiler's own library, which is nobody's work here
            command.env("CARGO_FUTURE_INCOMPAT_REPORT_FREQUENCY", "never");
            command.env(
                "CARGO_TARGET_AARCH64_UNKNOWN_NONE_SOFTFLOAT_LINKER",
                "ld.lld",
            );
        }
    }

    fn target(self, command: &mut Command) {
        if self == Self::Debian {
            command.arg("-Zbuild-std=core,alloc");
        }
        command.args(["--target", TARGET]);
    }

    /// One line for logs: the route and the compiler's own version.
    pub fn describe(self) -> String {
        let (route, rustc) = match self {
            Self::Rustup => ("rustup", "rustc"),
            Self::Debian => ("debian", "/usr/bin/rustc"),
        };
        let mut command = Command::new(rustc);
        clean(&mut command);
        let version = command
            .arg("--version")
            .output()
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        format!("{route}: {}", version.unwrap_or_else(|_| rustc.to_owned()))
    }
}

/// The host's cargo, for host crates: the one in PATH, as the user has it.
pub fn host_cargo(verb: &str) -> Command {
    let mut command = Command::new("cargo");
    clean(&mut command);
    command.current_dir(paths::root()).arg(verb);
    command
}
