//! Two guests that share memory: `samples.rs` is all of them. Built for the host it is an empty program.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod samples;

#[cfg(not(target_os = "none"))]
fn main() {}
