//! System images for the tools: a description goes to `tarn-image`, which is built and run as a user would.
//!
//! What is already an image is booted as it is. Nothing here knows what a description holds, except whether it needs
//! the cached Linux.

use std::path::{Path, PathBuf};

use crate::{images, linux, paths, toolchain};

/// What a machine boots for `--system PATH`: the image itself, or the one made from a description.
pub fn image_for(path: &Path) -> PathBuf {
    if is_description(path) {
        let stem = path.file_stem().unwrap_or_default();
        paths::target().join("run").join(stem).with_extension("img")
    } else {
        paths::absolute(path)
    }
}

/// Makes that image, if `path` is a description; `built`: tarn-image is there already.
///
/// # Errors
/// What is wrong with the description (said by tarn-image itself), or the step that failed.
pub fn make(path: &Path, built: bool) -> Result<(), String> {
    if !is_description(path) {
        return Ok(());
    }
    let text = String::from_utf8(paths::read(path)?)
        .map_err(|_| format!("{} is not text", path.display()))?;
    if text.contains("cache/linux/") {
        linux::provide()?;
    }
    if !built {
        build_tool()?;
    }
    let image = image_for(path);
    if let Some(folder) = image.parent() {
        paths::make_dir(folder)?;
    }
    let mut command = std::process::Command::new(tool());
    command.arg("build").arg(path).arg("-o").arg(&image);
    images::run(&mut command, "tarn-image")
}

/// Builds the tool for this machine.
///
/// # Errors
/// The compiler has said why.
pub fn build_tool() -> Result<(), String> {
    let mut cargo = toolchain::host_cargo("build");
    cargo.args(["--quiet", "--package", "tarn-image"]);
    images::run(&mut cargo, "building tarn-image")
}

/// Where it is then.
pub fn tool() -> PathBuf {
    paths::target().join("debug/tarn-image")
}

fn is_description(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "toml")
}
