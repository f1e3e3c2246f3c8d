//! The unmodified Linux that tests and demos run: Debian's arm64 cloud kernel and a small first root file system.
//!
//! Fetched once from the package source this machine already uses, with apt's configuration redirected into the cache,
//! so that no foreign architecture is added to the machine and no root is needed. The kernel is not changed; it is only
//! unwrapped (gzip, EFI zboot) into the plain `Image` that a loader without EFI needs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{cpio, flat, images, paths};

/// Where the two files are.
#[derive(Clone, Debug)]
pub struct Linux {
    /// Plain arm64 `Image`.
    pub kernel: PathBuf,
    /// Initial root file system, uncompressed cpio.
    pub initrd: PathBuf,
}

const KERNEL_PACKAGE: &str = "linux-image-cloud-arm64";
const SHELL_PACKAGE: &str = "busybox-static";
const INIT: &str = include_str!("init.sh");
/// Commands that get a name in /bin; busybox itself can do more.
const APPLETS: [&str; 38] = [
    "awk", "cat", "cttyhack", "cut", "date", "dd", "devmem", "dmesg", "echo", "env", "expr",
    "false", "free", "grep", "head", "hostname", "kill", "ls", "md5sum", "mount", "nproc",
    "poweroff", "ps", "reboot", "sed", "seq", "setsid", "sh", "sleep", "sort", "stty", "tail",
    "taskset", "time", "top", "tr", "true", "uname",
];

/// The files, fetched and made when they are not there yet.
///
/// # Errors
/// Which step failed, and what to do.
pub fn provide() -> Result<Linux, String> {
    let linux = place();
    paths::make_dir(&paths::cache().join("linux"))?;
    if !linux.kernel.is_file() {
        println!(
            "fetching {KERNEL_PACKAGE} (arm64, about 25 MB) into {}",
            paths::cache().display()
        );
        let package = fetch(&kernel_package()?)?;
        let unpacked = unpack(&package)?;
        let vmlinuz = find(&unpacked.join("boot"), "vmlinuz-")?;
        let plain = plain_image(paths::read(&vmlinuz)?)?;
        remove(&unpacked);
        write_whole(&linux.kernel, &plain)?;
    }
    let busybox = paths::cache().join("linux/busybox");
    if !busybox.is_file() {
        println!("fetching {SHELL_PACKAGE} (arm64)");
        let unpacked = unpack(&fetch(SHELL_PACKAGE)?)?;
        let found = ["bin/busybox", "usr/bin/busybox"].map(|path| unpacked.join(path));
        let found = found
            .iter()
            .find(|path| path.is_file())
            .ok_or("the busybox package holds no busybox")?;
        write_whole(&busybox, &paths::read(found)?)?;
        remove(&unpacked);
    }
    paths::write(&linux.initrd, &root_file_system(&paths::read(&busybox)?))?;
    Ok(linux)
}

/// Where the files are or would be: `cache/linux`, or `$TARN_LINUX`.
pub fn place() -> Linux {
    let dir =
        std::env::var_os("TARN_LINUX").map_or_else(|| paths::cache().join("linux"), PathBuf::from);
    Linux {
        kernel: dir.join("Image"),
        initrd: dir.join("initrd.img"),
    }
}

/// A domain node that boots this Linux, as device-tree source below /chosen. `extra` goes into the domain node.
/// `bootargs` must already be escaped for device-tree source.
pub fn domain(name: &str, vcpus: u64, memory_mib: u64, bootargs: &str, extra: &str) -> String {
    let kib = memory_mib << 10;
    format!(
        "/ {{ chosen {{\n\
         \x20   {name} {{\n\
         \x20       compatible = \"xen,domain\";\n\
         \x20       #address-cells = <2>;\n\
         \x20       #size-cells = <2>;\n\
         \x20       memory = <{:#x} {:#x}>;\n\
         \x20       cpus = <{vcpus}>;\n\
         \x20       vpl011;\n\
         \x20       {extra}\n\
         \x20       module@0 {{ compatible = \"multiboot,kernel\", \"multiboot,module\"; tarn,file = \"@linux\"; bootargs = \"{bootargs}\"; }};\n\
         \x20       module@1 {{ compatible = \"multiboot,ramdisk\", \"multiboot,module\"; tarn,file = \"@initrd\"; }};\n\
         \x20   }};\n\
         }}; }};\n",
        kib >> 32,
        kib & 0xffff_ffff
    )
}

fn root_file_system(busybox: &[u8]) -> Vec<u8> {
    let mut archive = cpio::Archive::default();
    for directory in ["bin", "dev", "proc", "sys", "tmp"] {
        archive.directory(directory);
    }
    archive.character("dev/console", 0o600, 5, 1);
    archive.character("dev/null", 0o666, 1, 3);
    archive.file("bin/busybox", 0o755, busybox);
    for applet in APPLETS {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    archive.file("init", 0o755, INIT.as_bytes());
    archive.finish()
}

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
        return Err("found no Debian package source on this machine to take an arm64 kernel from; put a plain arm64 Image and \
                    a static arm64 busybox into cache/linux by hand"
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

/// The package with the kernel itself, which the metapackage depends on.
fn kernel_package() -> Result<String, String> {
    let configuration = apt_configuration()?;
    let shown = output(
        Command::new("apt-cache")
            .env("APT_CONFIG", &configuration)
            .args(["depends", "--important", KERNEL_PACKAGE]),
    )?;
    shown
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with("linux-image-"))
        .map(str::to_owned)
        .ok_or_else(|| format!("{KERNEL_PACKAGE} names no kernel package"))
}

/// Downloads one package and gives the file.
fn fetch(package: &str) -> Result<PathBuf, String> {
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

fn unpack(package: &Path) -> Result<PathBuf, String> {
    let into = paths::cache().join("apt/unpacked");
    remove(&into);
    paths::make_dir(&into)?;
    images::run(
        Command::new("dpkg-deb").arg("-x").arg(package).arg(&into),
        "unpacking a package",
    )?;
    let _ = fs::remove_file(package);
    Ok(into)
}

fn find(dir: &Path, prefix: &str) -> Result<PathBuf, String> {
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
fn remove(dir: &Path) {
    let _ = fs::remove_dir_all(dir);
}

/// Writes beside and renames, so that an interrupted fetch never leaves half a file under the final name.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let beside = path.with_extension("part");
    paths::write(&beside, bytes)?;
    fs::rename(&beside, path)
        .map_err(|error| format!("cannot rename {}: {error}", beside.display()))
}

/// The plain `Image` inside a vmlinuz: itself, a gzip stream, or the payload of an EFI zboot file.
fn plain_image(vmlinuz: Vec<u8>) -> Result<Vec<u8>, String> {
    if flat::image_header(&vmlinuz).is_some() {
        return Ok(vmlinuz);
    }
    let image = if vmlinuz.starts_with(&[0x1f, 0x8b]) {
        filter("gzip", &vmlinuz)?
    } else if vmlinuz.starts_with(b"MZ") && vmlinuz.get(4..8) == Some(b"zimg") {
        let field = |at: usize| {
            Some(u32::from_le_bytes(vmlinuz.get(at..at + 4)?.try_into().ok()?) as usize)
        };
        let (offset, size) = field(8)
            .zip(field(12))
            .ok_or("truncated EFI zboot header")?;
        let payload = offset
            .checked_add(size)
            .and_then(|end| vmlinuz.get(offset..end))
            .ok_or("EFI zboot payload lies past the end")?;
        let kind: Vec<u8> = vmlinuz
            .iter()
            .skip(24)
            .copied()
            .take_while(|byte| byte.is_ascii_alphanumeric())
            .collect();
        match kind.as_slice() {
            b"gzip" => filter("gzip", payload)?,
            kind if kind.starts_with(b"zstd") => filter("zstd", payload)?,
            kind if kind.starts_with(b"xz") => filter("xz", payload)?,
            kind => {
                return Err(format!(
                    "EFI zboot kernel compressed with '{}'",
                    String::from_utf8_lossy(kind)
                ));
            }
        }
    } else {
        return Err("the kernel file is neither an arm64 Image, gzip nor EFI zboot".into());
    };
    flat::image_header(&image)
        .map(|_| ())
        .ok_or("the unpacked kernel has no arm64 Image header")?;
    Ok(image)
}

/// `bytes` through `program -dc`, by way of a file so that no pipe can fill up on either side.
fn filter(program: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_image_is_left_alone_and_others_are_refused() {
        let mut image = vec![0; 64];
        image[56..60].copy_from_slice(b"ARM\x64");
        assert_eq!(plain_image(image.clone()), Ok(image));
        assert!(
            plain_image(b"MZ\0\0zimg".to_vec())
                .unwrap_err()
                .contains("zboot")
        );
        assert!(plain_image(b"\x7fELF".to_vec()).is_err());
    }

    #[test]
    fn the_root_file_system_has_an_init() {
        let archive = root_file_system(b"busybox");
        let text = String::from_utf8_lossy(&archive);
        assert!(
            text.contains("init\0")
                && text.contains("TARN-LINUX-UP")
                && text.contains("TRAILER!!!")
        );
    }
}
