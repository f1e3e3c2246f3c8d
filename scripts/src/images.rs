//! Builds every image, in the order that lets one embed another: guests first, then the hypervisor.
//!
//! Results are `target/images/NAME.bin` (flat, arm64 Image header) and `NAME.elf` (for a debugger). A guest's NAME is
//! its folder's, or the file stem for each `src/bin/STEM.rs`. Code generation flags are given here because they belong
//! to the kind of image; linker scripts and link arguments belong to each crate's build.rs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::toolchain::{TARGET, Toolchain};
use crate::{flat, paths, toolchain};

/// With the MMU off, as everybody runs for a while, unaligned accesses fault: the target itself makes none.
const FLAGS: &str = "-C relocation-model=pic -C force-frame-pointers=yes";
/// Below target/, for all images: what they share is compiled once.
const FOLDER: &str = "bare";
/// Folders of guests: what Tarn embeds, and examples; the test guests are found by looking.
const GUESTS: [&str; 3] = [
    "dom0-shim",
    "examples/guest-hello",
    "examples/guest-samples",
];

/// What a build prints when all is well.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Say {
    /// The compiler, what is compiled, the images.
    #[default]
    Everything,
    /// What is compiled.
    Progress,
    /// Nothing.
    Nothing,
}

/// What to build.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Without optimisation, with overflow checks.
    pub debug: bool,
    /// Stop after the guests.
    pub guests_only: bool,
    /// Skip the guests: their images are there already.
    pub hv_only: bool,
    /// What to print.
    pub say: Say,
}

/// A package that gives one or more images.
#[derive(Debug)]
struct Package {
    name: String,
    /// Binary name in the target directory, and the image's name.
    binaries: Vec<(String, String)>,
}

/// Builds the images that `options` asks for.
///
/// # Errors
/// What could not be built; the compiler has already said why.
pub fn build(options: Options) -> Result<(), String> {
    let toolchain = toolchain::find()?;
    let images = paths::images();
    paths::make_dir(&images)?;
    if options.say == Say::Everything {
        println!("compiler: {}", toolchain.describe());
    }
    if !options.hv_only {
        let guests = guest_packages()?;
        compile(toolchain, "guests", &guests, options, &[])?;
        convert(&guests, options)?;
        c_guest(options)?;
    }
    if options.guests_only {
        return Ok(());
    }
    let embedded = |name: &str| {
        let path = images.join(name);
        if path.is_file() {
            Ok(path)
        } else {
            Err(format!(
                "{} is missing: build the guests first",
                path.display()
            ))
        }
    };
    let environment = [
        ("TARN_DOM0_SHIM", embedded("dom0-shim.bin")?),
        ("TARN_DEMO_GUEST", embedded("guest-hello.bin")?),
    ];
    let hv = [Package {
        name: package_name(&paths::root().join("hv"))?,
        binaries: vec![],
    }];
    let hv = hv.map(|package| Package {
        binaries: vec![(package.name.clone(), "tarn".into())],
        ..package
    });
    compile(toolchain, "hv", &hv, options, &environment)?;
    convert(&hv, options)
}

/// Names of the packages that only make sense on the board: every guest, then the hypervisor.
///
/// # Errors
/// A folder whose manifest cannot be read.
pub fn bare_packages() -> Result<Vec<String>, String> {
    let guests = guest_packages()?.into_iter().map(|package| package.name);
    Ok(guests
        .chain([package_name(&paths::root().join("hv"))?])
        .collect())
}

/// The guests in the order of the folders: [`GUESTS`], then `qemu-tests/guests/*`.
fn guest_packages() -> Result<Vec<Package>, String> {
    let root = paths::root();
    let mut folders: Vec<PathBuf> = GUESTS.iter().map(|folder| root.join(folder)).collect();
    if let Ok(entries) = root.join("qemu-tests/guests").read_dir() {
        let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        found.sort();
        folders.extend(
            found
                .into_iter()
                .filter(|folder| folder.join("Cargo.toml").is_file()),
        );
    }
    let mut packages = Vec::new();
    for folder in folders {
        let name = package_name(&folder)?;
        let stem = |path: &Path| {
            path.file_stem()
                .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
        };
        let mut binaries = Vec::new();
        if folder.join("src/main.rs").is_file() {
            binaries.push((name.clone(), stem(&folder)));
        }
        if let Ok(entries) = folder.join("src/bin").read_dir() {
            let mut stems: Vec<String> =
                entries.flatten().map(|entry| stem(&entry.path())).collect();
            stems.sort();
            binaries.extend(stems.into_iter().map(|stem| (stem.clone(), stem)));
        }
        if !binaries.is_empty() {
            packages.push(Package { name, binaries });
        }
    }
    Ok(packages)
}

/// The `name = "..."` of a folder's Cargo.toml.
fn package_name(folder: &Path) -> Result<String, String> {
    let manifest = folder.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)
        .map_err(|error| format!("cannot read {}: {error}", manifest.display()))?;
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("name = \"")?.split('"').next());
    name.map(str::to_owned)
        .ok_or_else(|| format!("{} names no package", manifest.display()))
}

fn compile(
    toolchain: Toolchain,
    what: &str,
    packages: &[Package],
    options: Options,
    environment: &[(&str, PathBuf)],
) -> Result<(), String> {
    let mut command = toolchain.cargo("build");
    command
        .arg("--target-dir")
        .arg(paths::target().join(FOLDER))
        .env("RUSTFLAGS", FLAGS);
    if !options.debug {
        command.arg("--release");
    }
    if options.say == Say::Nothing {
        command.arg("--quiet");
    }
    for package in packages {
        command.args(["--package", &package.name]);
    }
    command.envs(environment.iter().map(|(name, path)| (name, path)));
    run(&mut command, &format!("building {what}"))
}

fn convert(packages: &[Package], options: Options) -> Result<(), String> {
    let images = paths::images();
    let profile = if options.debug { "debug" } else { "release" };
    let built = paths::target().join(FOLDER).join(TARGET).join(profile);
    for (binary, name) in packages.iter().flat_map(|package| &package.binaries) {
        let elf = paths::read(&built.join(binary))?;
        let flat = flat::from_elf(&elf).map_err(|error| format!("{name}: {error}"))?;
        paths::write(&images.join(format!("{name}.elf")), &elf)?;
        paths::write(&images.join(format!("{name}.bin")), &flat.bytes)?;
        if options.say == Say::Everything {
            println!(
                "image {name:<16} {:>8} bytes in the file, {:>6} KiB in memory",
                flat.bytes.len(),
                flat.image_size.div_ceil(1024)
            );
        }
    }
    Ok(())
}

/// The example guest in C, straight to a flat image.
fn c_guest(options: Options) -> Result<(), String> {
    let root = paths::root();
    let image = paths::images().join("guest-c.bin");
    let folder = root.join("examples/guest-c");
    let mut clang = Command::new("clang");
    clang
        .args([
            "--target=aarch64-none-elf",
            "-std=c11",
            "-Wall",
            "-Wextra",
            "-Werror",
        ])
        .args(["-ffreestanding", "-mgeneral-regs-only", "-mstrict-align"])
        .args([
            if options.debug { "-Og" } else { "-Os" },
            "-nostdlib",
            "-static",
            "-fuse-ld=lld",
        ])
        .args(["-Wl,--oformat=binary", "-Wl,--build-id=none"])
        .arg("-I")
        .arg(root.join("abi/include"))
        .arg("-T")
        .arg(folder.join("guest.ld"))
        .arg(folder.join("guest.c"))
        .arg("-o")
        .arg(&image);
    run(
        &mut clang,
        "building examples/guest-c (scripts/setup.sh installs clang and lld)",
    )?;
    let bytes = paths::read(&image)?;
    let header = flat::image_header(&bytes).ok_or("guest-c: no arm64 Image header")?;
    if options.say == Say::Everything {
        println!(
            "image {:<16} {:>8} bytes in the file, {:>6} KiB in memory",
            "guest-c",
            bytes.len(),
            header.image_size.div_ceil(1024)
        );
    }
    Ok(())
}

/// Runs a command that prints for itself.
///
/// # Errors
/// `what` and how it ended.
pub fn run(command: &mut Command, what: &str) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what} failed ({status})")),
        Err(error) => Err(format!(
            "{what}: cannot start {}: {error}",
            command.get_program().to_string_lossy()
        )),
    }
}
