//! What a board's own storage would hold: the Raspberry Pi 4's device tree, and U-Boot for QEMU's virt machine.
//!
//! Both come from packages of the Debian release this machine runs (apt.rs), fetched once and used as they are.

use std::path::PathBuf;

use crate::{apt, paths};

/// Holds the device trees of boards beside the kernel.
const TREES_PACKAGE: &str = "linux-image-arm64";
const UBOOT_PACKAGE: &str = "u-boot-qemu";

/// Where the Raspberry Pi 4's device tree is or would be.
pub fn raspi4b_tree() -> PathBuf {
    paths::cache().join("firmware/bcm2711-rpi-4-b.dtb")
}

/// Where U-Boot for QEMU's virt machine (qemu_arm64) is or would be.
pub fn u_boot() -> PathBuf {
    paths::cache().join("firmware/u-boot-qemu_arm64.bin")
}

/// Fetches what is not there yet.
///
/// # Errors
/// Which step failed.
pub fn provide() -> Result<(), String> {
    paths::make_dir(&paths::cache().join("firmware"))?;
    if !raspi4b_tree().is_file() {
        let package = apt::dependency(TREES_PACKAGE, "linux-image-")?;
        println!("fetching {package} (arm64, about 60 MB) for the board's device tree");
        let unpacked = apt::unpack(&apt::fetch(&package)?)?;
        let trees = apt::find(&unpacked.join("usr/lib"), "linux-image-")?;
        let bytes = paths::read(&trees.join("broadcom/bcm2711-rpi-4-b.dtb"))?;
        apt::write_whole(&raspi4b_tree(), &bytes)?;
        apt::remove(&unpacked);
    }
    if !u_boot().is_file() {
        println!("fetching {UBOOT_PACKAGE} (about 2 MB)");
        let unpacked = apt::unpack(&apt::fetch(UBOOT_PACKAGE)?)?;
        let bytes = paths::read(&unpacked.join("usr/lib/u-boot/qemu_arm64/u-boot.bin"))?;
        apt::write_whole(&u_boot(), &bytes)?;
        apt::remove(&unpacked);
    }
    Ok(())
}
