//! One image for a whole system: `tarn.toml` in, a file that a board boots out, mistakes found before anything boots.
//!
//! The way of a description: `source` (text, places, findings) and `read` make a `system` of it; `compile` turns that
//! into the device tree that Tarn reads; `check` shows that tree to the very reader Tarn uses at boot (tarn-board) and
//! leads its findings back to lines of the file; `pack` puts Tarn, tree and guests into one file; `show` draws it;
//! `sdcard` writes what a Raspberry Pi 4 starts from. Never decides what is right: that is tarn-board's part.

pub mod boards;
pub mod check;
pub mod compile;
pub mod devices;
pub mod kernel;
mod links;
pub mod pack;
pub mod read;
pub mod sdcard;
pub mod show;
pub mod source;
pub mod system;
