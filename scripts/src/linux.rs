//! The unmodified Linux that tests and demos run: Debian's arm64 cloud kernel and a small first root file system.
//!
//! Fetched once (apt.rs). The kernel is not changed; it is only unwrapped (gzip, EFI zboot) into the plain `Image` that a
//! loader without EFI needs. A second root file system holds the kernel's own virtio drivers, which are modules there,
//! for guests that are given devices.

use std::path::{Path, PathBuf};

use crate::{apt, cpio, flat, paths};

/// Where the files are.
#[derive(Clone, Debug)]
pub struct Linux {
    /// Plain arm64 `Image`.
    pub kernel: PathBuf,
    /// Initial root file system, uncompressed cpio.
    pub initrd: PathBuf,
    /// The same with drivers for virtio devices, which its init loads.
    pub initrd_virtio: PathBuf,
}

const KERNEL_PACKAGE: &str = "linux-image-cloud-arm64";
const SHELL_PACKAGE: &str = "busybox-static";
const INIT: &str = include_str!("init.sh");
/// Commands that get a name in /bin; busybox itself can do more.
const APPLETS: [&str; 44] = [
    "awk", "cat", "cttyhack", "cut", "date", "dd", "devmem", "dmesg", "echo", "env", "expr",
    "false", "free", "grep", "head", "hostname", "ifconfig", "insmod", "kill", "ls", "md5sum",
    "mount", "nc", "nproc", "ping", "poweroff", "ps", "reboot", "sed", "seq", "setsid", "sh",
    "sleep", "sort", "stty", "sync", "tail", "taskset", "time", "top", "tr", "true", "umount",
    "uname",
];
/// The modules for virtio block and network devices behind MMIO, in the order of loading. One that the kernel has built
/// in is no file, and left out.
const MODULES: [&str; 7] = [
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_mmio",
    "drivers/block/virtio_blk",
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
];

/// The files, fetched and made when they are not there yet.
///
/// # Errors
/// Which step failed, and what to do.
pub fn provide() -> Result<Linux, String> {
    let linux = place();
    let modules = paths::cache().join("linux/modules");
    paths::make_dir(&paths::cache().join("linux"))?;
    if !linux.kernel.is_file() {
        kernel(&linux.kernel, &modules)?;
    } else if !modules.is_dir()
        && let Err(error) = kernel(&linux.kernel, &modules)
    {
        println!("no modules for the kernel in cache/linux: {error}");
    }
    let busybox = paths::cache().join("linux/busybox");
    if !busybox.is_file() {
        println!("fetching {SHELL_PACKAGE} (arm64)");
        let unpacked = apt::unpack(&apt::fetch(SHELL_PACKAGE)?)?;
        let found = ["bin/busybox", "usr/bin/busybox"].map(|path| unpacked.join(path));
        let found = found
            .iter()
            .find(|path| path.is_file())
            .ok_or("the busybox package holds no busybox")?;
        apt::write_whole(&busybox, &paths::read(found)?)?;
        apt::remove(&unpacked);
    }
    let busybox = paths::read(&busybox)?;
    paths::write(&linux.initrd, &root_file_system(&busybox, &[]))?;
    if modules.is_dir() {
        let mut files = Vec::new();
        for file in modules
            .read_dir()
            .map_err(|error| format!("cannot read {}: {error}", modules.display()))?
            .flatten()
        {
            let name = file.file_name().to_string_lossy().into_owned();
            files.push((name, paths::read(&file.path())?));
        }
        files.sort();
        paths::write(&linux.initrd_virtio, &root_file_system(&busybox, &files))?;
    }
    Ok(linux)
}

/// Fetches the kernel and its modules: always both, since they fit together only out of one package.
fn kernel(image: &Path, modules: &Path) -> Result<(), String> {
    println!(
        "fetching {KERNEL_PACKAGE} (arm64, about 25 MB) into {}",
        paths::cache().display()
    );
    let package = apt::dependency(KERNEL_PACKAGE, "linux-image-")?;
    let unpacked = apt::unpack(&apt::fetch(&package)?)?;
    let vmlinuz = apt::find(&unpacked.join("boot"), "vmlinuz-")?;
    let plain = plain_image(paths::read(&vmlinuz)?)?;
    let trees = ["lib/modules", "usr/lib/modules"].map(|path| unpacked.join(path));
    let tree = trees
        .iter()
        .find(|path| path.is_dir())
        .ok_or("the kernel package holds no modules")?;
    let tree = apt::find(tree, "")?.join("kernel");
    // beside and renamed: the folder is whole or not there
    let beside = modules.with_extension("part");
    apt::remove(&beside);
    paths::make_dir(&beside)?;
    for (number, path) in MODULES.iter().enumerate() {
        let bytes = match paths::read(&tree.join(format!("{path}.ko"))) {
            Ok(bytes) => bytes,
            Err(_) => match paths::read(&tree.join(format!("{path}.ko.xz"))) {
                Ok(packed) => apt::filter("xz", &packed)?,
                Err(_) => continue,
            },
        };
        let name = path.rsplit('/').next().unwrap_or(path);
        paths::write(&beside.join(format!("{number:02}-{name}.ko")), &bytes)?;
    }
    apt::remove(modules);
    std::fs::rename(&beside, modules)
        .map_err(|error| format!("cannot rename {}: {error}", beside.display()))?;
    apt::write_whole(image, &plain)?;
    apt::remove(&unpacked);
    Ok(())
}

/// Where the files are or would be: `cache/linux`, or `$TARN_LINUX`.
pub fn place() -> Linux {
    let dir =
        std::env::var_os("TARN_LINUX").map_or_else(|| paths::cache().join("linux"), PathBuf::from);
    Linux {
        kernel: dir.join("Image"),
        initrd: dir.join("initrd.img"),
        initrd_virtio: dir.join("initrd-virtio.img"),
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

fn root_file_system(busybox: &[u8], modules: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut archive = cpio::Archive::default();
    for directory in ["bin", "dev", "mnt", "modules", "proc", "sys", "tmp"] {
        archive.directory(directory);
    }
    archive.character("dev/console", 0o600, 5, 1);
    archive.character("dev/null", 0o666, 1, 3);
    archive.file("bin/busybox", 0o755, busybox);
    for applet in APPLETS {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    for (name, bytes) in modules {
        archive.file(&format!("modules/{name}"), 0o644, bytes);
    }
    archive.file("init", 0o755, INIT.as_bytes());
    archive.finish()
}

/// The plain `Image` inside a vmlinuz: itself, a gzip stream, or the payload of an EFI zboot file.
fn plain_image(vmlinuz: Vec<u8>) -> Result<Vec<u8>, String> {
    if flat::image_header(&vmlinuz).is_some() {
        return Ok(vmlinuz);
    }
    let image = if vmlinuz.starts_with(&[0x1f, 0x8b]) {
        apt::filter("gzip", &vmlinuz)?
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
            b"gzip" => apt::filter("gzip", payload)?,
            kind if kind.starts_with(b"zstd") => apt::filter("zstd", payload)?,
            kind if kind.starts_with(b"xz") => apt::filter("xz", payload)?,
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
        let archive = root_file_system(b"busybox", &[("00-x.ko".into(), vec![1])]);
        let text = String::from_utf8_lossy(&archive);
        assert!(
            text.contains("init\0")
                && text.contains("TARN-LINUX-UP")
                && text.contains("modules/00-x.ko\0")
                && text.contains("TRAILER!!!")
        );
    }
}
