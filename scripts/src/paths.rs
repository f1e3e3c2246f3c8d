//! Where things are: the checkout, build results, the cache of downloads.
//!
//! Every path the tools use is made here, so that moving a folder is a change of one line. Nothing here creates or
//! deletes anything except `make_dir`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// The root of the checkout, known at build time from this crate's place in it.
pub fn root() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    for folder in manifest.ancestors() {
        if folder.join(".cargo/config.toml").is_file() && folder.join("scripts/setup.sh").is_file()
        {
            return folder.to_path_buf();
        }
    }
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Build results of everything but the host crates: `target`, or `$TARN_TARGET`.
pub fn target() -> PathBuf {
    env::var_os("TARN_TARGET")
        .map_or_else(|| root().join("target"), |dir| absolute(Path::new(&dir)))
}

/// Flat images and their ELF files: `target/images`, or `$TARN_IMAGES`.
pub fn images() -> PathBuf {
    env::var_os("TARN_IMAGES")
        .map_or_else(|| target().join("images"), |dir| absolute(Path::new(&dir)))
}

/// Scratch files of runs and tests (device trees, logs): `target/run`.
pub fn scratch() -> PathBuf {
    target().join("run")
}

/// Downloads that outlive a `cargo clean`: `cache`, or `$TARN_CACHE`.
pub fn cache() -> PathBuf {
    env::var_os("TARN_CACHE").map_or_else(|| root().join("cache"), |dir| absolute(Path::new(&dir)))
}

/// `path` made absolute against the current directory, without touching the file system.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Creates `dir` and what leads to it.
///
/// # Errors
/// The path and the system's reason.
pub fn make_dir(dir: &Path) -> Result<(), String> {
    fs::create_dir_all(dir).map_err(|error| format!("cannot create {}: {error}", dir.display()))
}

/// Reads a whole file.
///
/// # Errors
/// The path and the system's reason.
pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// Writes a whole file, leaving it alone when it already holds `bytes` (so that later steps see it unchanged).
///
/// # Errors
/// The path and the system's reason.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(path, bytes).map_err(|error| format!("cannot write {}: {error}", path.display()))
}
