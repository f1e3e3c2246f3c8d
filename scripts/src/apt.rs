//! Packages of the Debian release this machine runs, unpacked below the cache and never installed.
//!
//! apt's configuration is redirected into the cache, so that no foreign architecture is added to the machine and no root
//! is needed. What is fetched comes from the package source that this machine already uses. A file appears under its
//! final name only when it is whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{images, paths};

/// The apt configuration that keeps everything below the cache, written with its lists fetched when missing.
fn apt_configuration() -> Result<PathBuf, String> {
    let base = paths::cache().join("apt");
    let configuration = base.join("apt.conf");
    if configuration.is_file() && base.join("lists.ok").is_file() {
        return Ok(configuration);
    }
    for dir in ["state/lists/partial", "cache/archives/partial", "etc"] {
        paths::make_dir(&base.join(dir))?;
    }
    let listed = output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(ORIGIN)|$(CODENAME)|$(REPO_URI)",
        "Created-By: Packages",
    ]))?;
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .unwrap_or("")
        .trim_matches('"')
        .to_owned();
    let mut sources = String::new();
    for line in listed.lines() {
        let fields: Vec<&str> = line.split('|').collect();
        let [origin, suite, uri] = fields[..] else {
            continue;
        };
        // the release and its security updates: those kernels are the ones a user of the release has
        if origin == "Debian" && (suite == codename || suite == format!("{codename}-security")) {
            let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
            let entry = format!("deb [arch=arm64 signed-by={keyring}] {uri} {suite} main\n");
            if !sources.contains(&entry) {
                sources.push_str(&entry);
            }
        }
    }
    if sources.is_empty() {
        return Err("found no Debian package source on this machine to take arm64 packages from; docs/testing.md says what \
                    can be put into the cache by hand"
            .into());
    }
    paths::write(&base.join("sources.list"), sources.as_bytes())?;
    paths::write(&base.join("status"), b"")?;
    let base_text = base.display();
    let text = format!(
        "APT::Architecture \"arm64\";\nAPT::Architectures {{ \"arm64\"; }};\nAPT::Sandbox::User \"root\";\n\
         APT::Default-Release \"\";\n\
         Dir::State \"{base_text}/state\";\nDir::State::status \"{base_text}/status\";\nDir::Cache \"{base_text}/cache\";\n\
         Dir::Etc::sourcelist \"{base_text}/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\n\
         Dir::Etc::preferencesparts \"/dev/null\";\nAcquire::Languages \"none\";\n"
    );
    paths::write(&configuration, text.as_bytes())?;
    // its output is shown only on failure: hooks of the machine's own configuration may complain without root
    output(
        Command::new("apt-get")
            .env("APT_CONFIG", &configuration)
            .args(["update", "-qq"]),
    )?;
    paths::write(&base.join("lists.ok"), b"")?;
    Ok(configuration)
}

/// The package that metapackage `meta` stands for: the first of its dependencies whose name starts with `prefix`.
///
/// # Errors
/// No package source, or no such dependency.
pub fn dependency(meta: &str, prefix: &str) -> Result<String, String> {
    let configuration = apt_configuration()?;
    let shown = output(
        Command::new("apt-cache")
            .env("APT_CONFIG", &configuration)
            .args(["depends", "--important", meta]),
    )?;
    shown
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with(prefix))
        .map(str::to_owned)
        .ok_or_else(|| format!("{meta} names no package {prefix}*"))
}

/// Downloads one package and gives the file.
///
/// # Errors
/// What apt-get said.
pub fn fetch(package: &str) -> Result<PathBuf, String> {
    let configuration = apt_configuration()?;
    let into = paths::cache().join("apt/packages");
    paths::make_dir(&into)?;
    let mut command = Command::new("apt-get");
    command
        .env("APT_CONFIG", &configuration)
        .args(["download", "-qq", &format!("{package}:arm64")])
        .current_dir(&into)
        .stdin(Stdio::null());
    if let Err(error) = images::run(&mut command, &format!("downloading {package}")) {
        // the lists may be older than the archive: read them anew next time
        let _ = fs::remove_file(paths::cache().join("apt/lists.ok"));
        return Err(format!(
            "{error}; the package lists are read anew next time"
        ));
    }
    find(&into, &format!("{package}_"))
}

/// Unpacks a fetched package into a folder of its own, which [`remove`] deletes; the package goes.
///
/// # Errors
/// What dpkg-deb said.
pub fn unpack(package: &Path) -> Result<PathBuf, String> {
    let name = package.file_stem().unwrap_or_default();
    let into = paths::cache().join("apt/unpacked").join(name);
    remove(&into);
    paths::make_dir(&into)?;
    images::run(
        Command::new("dpkg-deb").arg("-x").arg(package).arg(&into),
        "unpacking a package",
    )?;
    let _ = fs::remove_file(package);
    Ok(into)
}

/// The first entry of `dir` whose name starts with `prefix`.
///
/// # Errors
/// There is none.
pub fn find(dir: &Path, prefix: &str) -> Result<PathBuf, String> {
    let entries = dir
        .read_dir()
        .map_err(|error| format!("cannot read {}: {error}", dir.display()))?;
    let found = entries
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    found
        .map(|entry| entry.path())
        .ok_or_else(|| format!("no {prefix}* in {}", dir.display()))
}

/// Deletes one of our own scratch folders below the cache.
pub fn remove(dir: &Path) {
    let _ = fs::remove_dir_all(dir);
}

/// Writes beside and renames, so that an interrupted fetch never leaves half a file under the final name.
///
/// # Errors
/// The path and the system's reason.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let beside = path.with_extension("part");
    paths::write(&beside, bytes)?;
    fs::rename(&beside, path)
        .map_err(|error| format!("cannot rename {}: {error}", beside.display()))
}

/// `bytes` through `program -dc`, by way of a file so that no pipe can fill up on either side.
///
/// # Errors
/// The program cannot be started; that it complains is left to whoever looks at the bytes.
pub fn filter(program: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let packed = paths::cache().join("apt/packed");
    paths::write(&packed, bytes)?;
    let input = fs::File::open(&packed)
        .map_err(|error| format!("cannot open {}: {error}", packed.display()))?;
    let output = Command::new(program)
        .arg("-dc")
        .stdin(input)
        .stderr(Stdio::null())
        .output();
    let _ = fs::remove_file(&packed);
    // trailing bytes after the stream make gzip end with a warning; the header check that follows decides
    output
        .map(|output| output.stdout)
        .map_err(|error| format!("cannot start {program}: {error}"))
}

fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start {name}: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "{name} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
