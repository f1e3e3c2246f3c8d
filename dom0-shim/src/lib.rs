//! The control domain's shell: a prompt whose commands are hypervisor calls. This library is all of it but the start
//! code and the HVC instruction (those are `main.rs`, `start.s`, `hvc.rs`), so it runs on a host under test as it is.
//!
//! It never holds state of the system: every answer is asked for when it is needed, so nothing here can be out of
//! date. It never allocates, never panics on input and never waits except in `Console::Read`, for `Again` and to measure.
//!
//! Why an own editor and table instead of a command-line crate: names of live domains and pools must complete, several
//! commands go on a line, scripts need a status per command, and the crates for it would be larger than all of this.
//!
//! Read in this order: `shell` (the loop), `line` (the editor), `cmd` (the table) and one of its areas, `session`.
#![no_std]
#![forbid(unsafe_code)]

pub mod cmd;
pub mod complete;
pub mod history;
pub mod line;
pub mod names;
pub mod session;
pub mod shell;
pub mod similar;
pub mod table;
pub mod units;

pub use session::{Fail, Session};
pub use shell::Shell;

use tarn_abi::{Regs, Span};

/// Whoever answers hypervisor calls: Tarn by HVC, or a fake in tests.
pub trait Hyp {
    /// Makes one call and returns what the registers hold after it.
    fn call(&mut self, regs: Regs) -> Regs;

    /// Lets about so much time pass, or less if something was typed, without using a CPU.
    fn doze(&mut self, time: Span);
}
