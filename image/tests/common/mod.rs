//! What the descriptions in tests/ name: files that are made when a test runs, since nothing binary is kept.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

/// Files by name, and a part of their bytes.
const FILES: [(&str, usize, &[u8]); 2] = [
    // All that is looked at in an arm64 Image: its magic.
    ("kernel.bin", 56, b"ARM\x64"),
    ("not-a-kernel.bin", 0, b"\x7fELF\x02\x01\x01"),
];

/// The folder with these files, and the device tree of a board with a bus.
pub fn folder() -> PathBuf {
    static MADE: Once = Once::new();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("files");
    MADE.call_once(|| {
        std::fs::create_dir_all(&folder).unwrap();
        for (name, at, part) in FILES {
            let mut bytes = [0; 64];
            bytes[at..at + part.len()].copy_from_slice(part);
            // Tests in other processes use them at the same time: put there whole.
            let new = folder.join(format!("{name}.{}", std::process::id()));
            std::fs::write(&new, bytes).unwrap();
            std::fs::rename(&new, folder.join(name)).unwrap();
        }
        let new = folder.join(format!("bus.dtb.{}", std::process::id()));
        let made = Command::new("dtc")
            .args(["-q", "-I", "dts", "-O", "dtb", "-o"])
            .args([
                &new,
                &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/boards/bus.dts"),
            ])
            .status();
        assert!(
            made.is_ok_and(|status| status.success()),
            "dtc: run scripts/setup.sh"
        );
        std::fs::rename(&new, folder.join("bus.dtb")).unwrap();
    });
    folder
}
