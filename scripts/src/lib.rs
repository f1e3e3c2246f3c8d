//! What the tools around Tarn share: finding a compiler, making images, describing and starting a machine.
//!
//! `cargo xtask` (main.rs) is the front end; the QEMU tests link this library so that a test and a user's
//! `scripts/run-qemu.sh` start the very same machine. Standard library only, host only: nothing here may be linked
//! into an image, and nothing here decides what Tarn does.
//!
//! Order of reading: `paths`, `toolchain`, `images` and `flat` make `target/images`; `fdt`, `tree`, `linux`, `firmware`
//! and `system` make what a machine is booted with; `machine` is the machine, `console` its serial line, `exec` commands
//! typed at dom0's prompt.

pub mod apt;
pub mod args;
pub mod budgets;
pub mod console;
pub mod cpio;
pub mod exec;
pub mod fdt;
pub mod firmware;
pub mod flat;
pub mod images;
pub mod linux;
pub mod machine;
pub mod paths;
pub mod system;
pub mod toolchain;
pub mod tree;
