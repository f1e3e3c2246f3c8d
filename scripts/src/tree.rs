//! The device tree a machine is booted with: the machine's own, plus a configuration in Xen's dom0less form.
//!
//! The configuration is ordinary device-tree source that adds nodes below /chosen. It may name the machine's CPUs as
//! `&cpu0`, `&cpu1`, ... (in the order of their addresses), and a boot module may say `tarn,file = "path"` instead of
//! `reg`: the file is placed in memory and the property becomes the `reg` that Tarn reads. Paths are relative to the
//! configuration; `@linux`, `@initrd`, `@initrd-virtio`, `@u-boot` and `@NAME` stand for the cached Linux kernel, its root file
//! systems, U-Boot and `target/images/NAME.bin`. Nothing else of the configuration is changed or understood here.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::fdt::{Node, Tree};
use crate::{firmware, linux, paths};

/// Device-tree source to merge.
#[derive(Clone, Debug)]
pub struct Config {
    /// The text; `/dts-v1/;` may be there or not.
    pub text: String,
    /// Shown in dtc's messages.
    pub name: String,
    /// What relative `tarn,file` paths and `/include/` start from.
    pub folder: PathBuf,
}

/// A file that the loader puts into memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// On the host.
    pub file: PathBuf,
    /// Physical, 2 MiB aligned.
    pub address: u64,
    /// In bytes.
    pub size: u64,
}

/// Where modules may go.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// First free physical address.
    pub start: u64,
    /// First address beyond RAM.
    pub end: u64,
}

const ALIGN: u64 = 2 << 20;

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// The path and the system's reason.
    pub fn load(path: &Path) -> Result<Self, String> {
        let text = String::from_utf8(paths::read(path)?)
            .map_err(|_| format!("{} is not text", path.display()))?;
        let folder = paths::absolute(path)
            .parent()
            .map_or_else(paths::root, Path::to_path_buf);
        Ok(Self {
            text,
            name: path.display().to_string(),
            folder,
        })
    }

    /// A configuration made by a program; it must use absolute paths or `@NAME`.
    pub fn inline(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            name: "generated.dts".into(),
            folder: paths::root(),
        }
    }

    /// Whether the configuration wants the cached Linux.
    pub fn wants_linux(&self) -> bool {
        ["\"@linux\"", "\"@initrd\"", "\"@initrd-virtio\""]
            .iter()
            .any(|word| self.text.contains(word))
    }
}

/// Merges `config` into the machine's tree.
///
/// # Errors
/// dtc's own message, or the module that has no file or no room.
pub fn merge(machine: &[u8], config: &Config, space: Space) -> Result<(Tree, Vec<Module>), String> {
    let base = label_cpus(&decompile(machine)?);
    let fragment = config
        .text
        .replace("/dts-v1/;", "")
        .replace("/plugin/;", "");
    let name = config.name.replace(['"', '\\'], "_");
    let blob = compile(
        &format!("{base}\n# 1 \"{name}\"\n{fragment}\n"),
        &config.folder,
    )?;
    let mut tree = Tree::parse(&blob)?;
    let mut modules = Vec::new();
    let mut next = space.start.next_multiple_of(ALIGN);
    if let Some(chosen) = tree.root.at("/chosen") {
        place(chosen, (2, 1), "/chosen", config, &mut next, &mut modules)?;
    }
    if next > space.end {
        let total: u64 = modules.iter().map(|module| module.size).sum();
        return Err(format!(
            "the boot modules ({} KiB) do not fit below {:#x}: give the machine more memory",
            total >> 10,
            space.end
        ));
    }
    Ok((tree, modules))
}

/// Turns every `tarn,file` below `node` into `reg`.
fn place(
    node: &mut Node,
    cells: (u32, u32),
    path: &str,
    config: &Config,
    next: &mut u64,
    modules: &mut Vec<Module>,
) -> Result<(), String> {
    if let Some(value) = node.remove("tarn,file") {
        let text = String::from_utf8_lossy(&value)
            .trim_end_matches('\0')
            .to_owned();
        let file = resolve(&text, config);
        let size = std::fs::metadata(&file)
            .map_err(|error| {
                format!(
                    "{path}: tarn,file = \"{text}\": {}: {error}",
                    file.display()
                )
            })?
            .len();
        let mut reg = Vec::new();
        for (number, count) in [(*next, cells.0), (size, cells.1)] {
            match count {
                1 => reg.extend_from_slice(
                    &u32::try_from(number)
                        .map_err(|_| format!("{path}: {number:#x} needs two cells"))?
                        .to_be_bytes(),
                ),
                2 => reg.extend_from_slice(&number.to_be_bytes()),
                _ => {
                    return Err(format!(
                        "{path}: its parent's #address-cells and #size-cells must be 1 or 2"
                    ));
                }
            }
        }
        node.set("reg", reg);
        modules.push(Module {
            file,
            address: *next,
            size,
        });
        *next = next
            .saturating_add(size)
            .saturating_add(1)
            .next_multiple_of(ALIGN);
    }
    let cells = (
        node.cell("#address-cells").unwrap_or(2),
        node.cell("#size-cells").unwrap_or(1),
    );
    for child in &mut node.children {
        let path = format!("{path}/{}", child.name);
        place(child, cells, &path, config, next, modules)?;
    }
    Ok(())
}

fn resolve(text: &str, config: &Config) -> PathBuf {
    match text {
        "@linux" => linux::place().kernel,
        "@initrd" => linux::place().initrd,
        "@initrd-virtio" => linux::place().initrd_virtio,
        "@u-boot" => firmware::u_boot(),
        _ => match text.strip_prefix('@') {
            Some(name) => paths::images().join(format!("{name}.bin")),
            None => config.folder.join(text),
        },
    }
}

/// Gives the nodes /cpus/cpu@N the labels `cpu0`, `cpu1`, ... in the order of their addresses.
fn label_cpus(source: &str) -> String {
    let address = |line: &str| {
        let text = line.trim().strip_prefix("cpu@")?.strip_suffix(" {")?;
        u64::from_str_radix(text, 16).ok()
    };
    let mut addresses: Vec<u64> = source.lines().filter_map(address).collect();
    addresses.sort_unstable();
    let mut out = String::with_capacity(source.len() + addresses.len() * 8);
    for line in source.lines() {
        let rank =
            address(line).and_then(|found| addresses.iter().position(|address| *address == found));
        if let Some(rank) = rank {
            out.push_str(&format!("cpu{rank}: "));
            out.push_str(line.trim_start());
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    out
}

fn decompile(blob: &[u8]) -> Result<String, String> {
    let bytes = dtc(&["-q", "-I", "dtb", "-O", "dts"], blob, Path::new("."))?;
    String::from_utf8(bytes).map_err(|_| "dtc wrote something that is not text".into())
}

/// Device-tree source to a blob.
///
/// # Errors
/// dtc's message.
pub fn compile(source: &str, folder: &Path) -> Result<Vec<u8>, String> {
    dtc(
        &[
            "-q",
            "-I",
            "dts",
            "-O",
            "dtb",
            "-i",
            &folder.display().to_string(),
        ],
        source.as_bytes(),
        folder,
    )
}

fn dtc(args: &[&str], input: &[u8], folder: &Path) -> Result<Vec<u8>, String> {
    let mut command = Command::new("dtc");
    command
        .args(args)
        .arg("-")
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| format!("cannot start dtc ({error}): run scripts/setup.sh"))?;
    let feed = child.stdin.take().map(|mut stdin| {
        let input = input.to_vec();
        std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &input))
    });
    let output = child
        .wait_with_output()
        .map_err(|error| format!("dtc: {error}"))?;
    if let Some(feed) = feed {
        // a refused tree closes the pipe early; dtc's own message says why
        let _ = feed.join();
    }
    if !output.status.success() {
        return Err(format!(
            "dtc refused the device tree:\n{}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        ));
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: &str = "/dts-v1/; / { #address-cells = <2>; #size-cells = <2>; chosen { }; cpus { #address-cells = <1>; \
                           #size-cells = <0>; cpu@100 { reg = <0x100>; }; cpu@0 { reg = <0>; }; }; };";
    const SPACE: Space = Space {
        start: 0x4820_0000,
        end: 0x8000_0000,
    };

    fn merged(fragment: &str) -> Result<(Tree, Vec<Module>), String> {
        let machine = compile(MACHINE, Path::new(".")).unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf();
        merge(
            &machine,
            &Config {
                text: fragment.into(),
                name: "test.dts".into(),
                folder,
            },
            SPACE,
        )
    }

    #[test]
    fn files_become_addresses_in_the_parents_cells() {
        let (mut tree, modules) = merged(
            "/dts-v1/; / { chosen { dom { compatible = \"xen,domain\"; #address-cells = <1>; #size-cells = <1>;
             a { tarn,file = \"Cargo.toml\"; }; b { tarn,file = \"Cargo.toml\"; }; }; }; };",
        )
        .unwrap();
        assert_eq!(
            [modules[0].address, modules[1].address],
            [0x4820_0000, 0x4840_0000]
        );
        let module = tree.root.at("/chosen/dom/b").unwrap();
        let expected = [
            0x4840_0000u32.to_be_bytes(),
            (modules[1].size as u32).to_be_bytes(),
        ]
        .concat();
        assert_eq!(module.property("reg"), Some(expected.as_slice()));
        assert_eq!(module.property("tarn,file"), None);
    }

    #[test]
    fn cpus_have_labels_in_the_order_of_their_addresses() {
        let (mut tree, _) = merged("/ { chosen { pool { cpupool-cpus = <&cpu1>; }; }; };").unwrap();
        let pool = tree.root.at("/chosen/pool").unwrap().cell("cpupool-cpus");
        assert!(pool.is_some());
        assert_eq!(tree.root.at("/cpus/cpu@100").unwrap().cell("phandle"), pool);
    }

    #[test]
    fn a_missing_file_and_a_syntax_error_are_named() {
        let error =
            merged("/ { chosen { dom { k { tarn,file = \"absent.bin\"; }; }; }; };").unwrap_err();
        assert!(
            error.contains("/chosen/dom/k") && error.contains("absent.bin"),
            "{error}"
        );
        let error = merged("/ {\n chosen { oops }; };").unwrap_err();
        assert!(error.contains("test.dts:2"), "{error}");
    }

    #[test]
    fn modules_that_do_not_fit_are_refused() {
        let machine = compile(MACHINE, Path::new(".")).unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf();
        let text = "/ { chosen { dom { k { tarn,file = \"Cargo.toml\"; }; }; }; };".into();
        let space = Space {
            start: 0x4820_0000,
            end: 0x4820_0001,
        };
        assert!(
            merge(
                &machine,
                &Config {
                    text,
                    name: "test".into(),
                    folder
                },
                space
            )
            .unwrap_err()
            .contains("more memory")
        );
    }
}
