//! Disks for machines and guests: a folder as an ext4 image, and how QEMU is told of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use xtask::paths;

/// An ext4 image of `mib` MiB in `scratch` with what was put into `scratch`/root; `options` are mke2fs's further ones.
///
/// # Errors
/// What is missing or went wrong.
pub fn ext4(scratch: &Path, mib: u64, options: &[&str]) -> Result<PathBuf, String> {
    let root = scratch.join("root");
    paths::make_dir(&root)?;
    let image = scratch.join("disk.img");
    std::fs::File::create(&image)
        .and_then(|file| file.set_len(mib << 20))
        .map_err(|error| format!("disk.img: {error}"))?;
    let made = ["mke2fs", "/sbin/mke2fs"].iter().find_map(|program| {
        Command::new(program)
            .args(["-q", "-F", "-t", "ext4"])
            .args(options)
            .arg("-d")
            .args([&root, &image])
            .stdin(Stdio::null())
            .status()
            .ok()
    });
    match made {
        Some(status) if status.success() => Ok(image),
        Some(status) => Err(format!("mke2fs ended with {status}")),
        None => Err("mke2fs is missing: run scripts/setup.sh".into()),
    }
}

/// QEMU's options for that disk behind a virtio transport, the first one free or one by number.
pub fn virtio(image: &Path, transport: Option<u32>) -> Vec<String> {
    let bus = transport.map_or(String::new(), |n| format!(",bus=virtio-mmio-bus.{n}"));
    [
        "-drive".into(),
        format!("if=none,id=d,format=raw,file={}", image.display()),
        "-device".into(),
        format!("virtio-blk-device,drive=d{bus}"),
    ]
    .to_vec()
}
