//! Area 1: dom0's console and Tarn's log.

use crate::domain::table;
use crate::run::Outcome;
use crate::{console, irq};
use abi::call::console::{Focus, LogChunk};
use abi::call::text::Bytes;
use abi::call::{ConsoleCall, Request};
use abi::{DomainId, Errno, Regs};

/// Carries out a call of this area; no reply means: ask again when the vCPU wakes.
pub fn handle(call: ConsoleCall) -> (Option<Regs>, Outcome) {
    let reply = match call {
        ConsoleCall::Write(c) => {
            let bytes = c.bytes.as_slice();
            // All or nothing, so that "again" can be said with the same arguments.
            if console::room(0) < bytes.len() {
                c.answer(Err(Errno::Again))
            } else {
                console::write(0, bytes);
                c.answer(Ok(()))
            }
        }
        ConsoleCall::Read(c) => {
            let mut buf = [0; 40];
            let n = irq::read_dom0_input(&mut buf);
            if n == 0 && c.wait {
                return (None, Outcome::Block);
            }
            c.answer(Bytes::new(&buf[..n]).ok_or(Errno::Invalid))
        }
        ConsoleCall::SetFocus(c) => c.answer(focus(c.to)),
        ConsoleCall::LogRead(c) => {
            let mut buf = [0; 40];
            let (next, n) = console::read_log(c.cursor, &mut buf);
            c.answer(
                Bytes::new(&buf[..n])
                    .map(|bytes| LogChunk { next, bytes })
                    .ok_or(Errno::Invalid),
            )
        }
    };
    (Some(reply), Outcome::Resume)
}

fn focus(to: Focus) -> Result<DomainId, Errno> {
    let slot = match to {
        Focus::Keep => console::focus(),
        Focus::Next => console::set_focus(None).ok_or(Errno::Busy)?,
        Focus::Domain(id) => {
            table::domain(id)?;
            console::set_focus(Some(id.slot)).ok_or(Errno::Busy)?
        }
    };
    table::in_slot(slot).map(|d| d.id).ok_or(Errno::NoSuch)
}
