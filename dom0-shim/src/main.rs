//! The dom0 image: start code, the HVC instruction, and the shell of the library. See `lib.rs` for what it does.
//!
//! Everything that needs `unsafe` is in `hvc.rs` and `start.s`. On a host this program only says what it is.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod hvc;
#[cfg(target_os = "none")]
mod start;

#[cfg(not(target_os = "none"))]
fn main() -> std::process::ExitCode {
    eprintln!(
        "This is Tarn's control domain: an image for EL1, built by `cargo xtask build`. It does not run here."
    );
    std::process::ExitCode::FAILURE
}
