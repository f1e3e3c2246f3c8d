//! Area 0x01: the shared console and Tarn's log.
//!
//! The control domain has no emulated UART: it reads and writes here. Input goes to the domain in focus only.

use super::text::Bytes;
use super::wire::{In, Out, Wire, area, replies};
use crate::errno::Errno;
use crate::id::DomainId;

/// Where the console's input shall go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Focus {
    /// Where it goes now: a question.
    Keep,
    /// To the next domain that has a console, dom0 included, by ascending slot and around.
    Next,
    /// To this one.
    Domain(DomainId),
}

impl Wire for Focus {
    const WORDS: usize = 2;
    const KIND: &'static str = "0 = keep, 1 = next, 2 = the domain; then the domain id, or 0";
    fn put(&self, out: &mut Out) {
        let (kind, id) = match self {
            Focus::Keep => (0, 0),
            Focus::Next => (1, 0),
            Focus::Domain(id) => (2, id.to_wire()),
        };
        out.push(kind);
        out.push(id);
    }
    fn get(from: &mut In<'_>) -> Result<Self, Errno> {
        match from.pull() {
            kind @ (0 | 1) => match from.pull() {
                0 if kind == 0 => Ok(Focus::Keep),
                0 => Ok(Focus::Next),
                _ => Err(Errno::Invalid),
            },
            2 => DomainId::get(from).map(Focus::Domain),
            _ => Err(Errno::Invalid),
        }
    }
}

replies! {
    /// Answer to `LogRead`.
    LogChunk {
        /// Cursor behind these bytes.
        next: u64,
        /// A piece of the log; none at its end.
        bytes: Bytes,
    }
}

area! {
    /// The console and the log.
    ConsoleCall = 0x01;
    /// Prints bytes as this domain's output. `Again`: the buffer is full and nothing was taken.
    Write = 0x00, Dom0 {
        /// What to print.
        bytes: Bytes,
    } -> ();
    /// Takes what was typed, in order. With `wait` the vCPU blocks until there is something; even then the answer
    /// may have no bytes (it was woken for another reason): call again.
    Read = 0x01, Dom0 {
        /// Whether to block while there is nothing.
        wait: bool,
    } -> Bytes;
    /// Moves the input focus; answers who has it now. `Busy`: that domain has no console.
    SetFocus = 0x02, Dom0 {
        /// Where to.
        to: Focus,
    } -> DomainId;
    /// Reads Tarn's log. A cursor counts the bytes ever logged: start at 0 and go on at `next`. A cursor older than
    /// the log's oldest byte continues there; one at or beyond the end answers no bytes and the end as `next`.
    LogRead = 0x03, Dom0 {
        /// Where to read.
        cursor: u64,
    } -> LogChunk;
}
