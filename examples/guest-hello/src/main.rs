//! A guest to start from: `hello.rs` is all of it. Built for the host it is an empty program.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod hello;

#[cfg(not(target_os = "none"))]
fn main() {}
