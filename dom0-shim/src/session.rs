//! What a command works with: calls made and repeated, output collected, input that came meanwhile.
//!
//! Output is sent when a command ends, when the buffer is full (whole lines as far as there are any), or by `flush`.
//! Must never lose a byte that was typed: what arrives while a call is repeated is kept for the editor.

use crate::Hyp;
use core::fmt::{self, Write};
use tarn_abi::call::{Request, console, system};
use tarn_abi::{Bytes, Errno, Regs, Span};

/// Most bytes of output held back.
const HELD: usize = 512;
/// Most bytes typed ahead that are kept.
const AHEAD: usize = 256;
/// How long the CPU is left to others before an unfinished call is repeated: twice as long each time, up to the second.
const NAP: [Span; 2] = [Span::us(50), Span::us(2_000)];
/// Ctrl-C.
const INTERRUPT: u8 = 3;
/// How long an unfinished call is repeated without a word, and altogether.
const PATIENCE: [Span; 2] = [Span::ms(5_000), Span::ms(60_000)];
/// Most parts of a reason: 480 bytes.
const PARTS: u32 = 10;

/// Why a command did not succeed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fail {
    /// The reason has been printed.
    Said,
    /// A call was refused, and nobody knew more about it.
    Refused(Errno),
}

impl From<Errno> for Fail {
    fn from(e: Errno) -> Fail {
        Fail::Refused(e)
    }
}

/// One user at the prompt.
pub struct Session<'h> {
    hyp: &'h mut dyn Hyp,
    held: [u8; HELD],
    held_len: usize,
    ahead: [u8; AHEAD],
    ahead_len: usize,
    /// Whether the commands come from a script that wants a status line for each.
    pub script: bool,
    /// Whether lists are printed as JSON.
    pub json: bool,
}

impl fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("held", &self.held_len)
            .field("ahead", &self.ahead_len)
            .finish()
    }
}

impl<'h> Session<'h> {
    /// On top of `hyp`.
    pub fn new(hyp: &'h mut dyn Hyp) -> Session<'h> {
        Session {
            hyp,
            held: [0; HELD],
            held_len: 0,
            ahead: [0; AHEAD],
            ahead_len: 0,
            script: false,
            json: false,
        }
    }

    /// Makes a call, again and again while it answers `Again`. That is what it returns only if Ctrl-C was typed or it was
    /// not finished for a minute.
    pub fn ask<R: Request>(&mut self, request: &R) -> Result<R::Reply, Errno> {
        use tarn_abi::Reply;
        R::Reply::from_regs(&self.repeat(request.encode()))
    }

    /// Makes a call once, by its registers.
    pub fn call(&mut self, regs: Regs) -> Regs {
        self.hyp.call(regs)
    }

    fn repeat(&mut self, regs: Regs) -> Regs {
        let mut nap = NAP[0];
        let mut begun = None;
        let mut told = false;
        loop {
            let answer = self.hyp.call(regs);
            if answer.result() != Err(Errno::Again) || self.interrupted() {
                return answer;
            }
            self.hyp.doze(nap);
            nap = Span((nap.0 * 2).min(NAP[1].0));
            let Some(now) = self.uptime() else { continue };
            let waited = now.0.saturating_sub(begun.get_or_insert(now).0);
            if waited >= PATIENCE[1].0 {
                return answer;
            }
            if waited >= PATIENCE[0].0 && !told {
                told = true;
                self.print(format_args!("not finished yet; Ctrl-C gives up\n"));
                self.flush();
            }
        }
    }

    /// Time since the hypervisor was entered, if it says so.
    pub fn uptime(&mut self) -> Option<Span> {
        use tarn_abi::Reply;
        let regs = self.hyp.call(system::Info {}.encode());
        system::Machine::from_regs(&regs).ok().map(|m| m.uptime)
    }

    /// Lets time pass, without using a CPU; whether something was typed meanwhile, which is kept. `Again` if that was
    /// Ctrl-C.
    pub fn wait(&mut self, time: Span) -> Result<bool, Errno> {
        self.flush();
        let begin = self.uptime().ok_or(Errno::NotSupported)?;
        loop {
            let passed = self.uptime().unwrap_or(time).0.saturating_sub(begin.0);
            let Some(left) = time.0.checked_sub(passed).filter(|left| *left > 0) else {
                return Ok(false);
            };
            self.hyp.doze(Span(left));
            let before = self.ahead_len;
            if self.interrupted() {
                return Err(Errno::Again);
            }
            if self.ahead_len > before {
                return Ok(true);
            }
        }
    }

    /// The same to its end, whatever is typed meanwhile but Ctrl-C.
    pub fn sit_out(&mut self, time: Span) -> Result<(), Errno> {
        let begin = self.uptime().ok_or(Errno::NotSupported)?;
        loop {
            let passed = self.uptime().unwrap_or(time).0.saturating_sub(begin.0);
            match time.0.checked_sub(passed) {
                None | Some(0) => return Ok(()),
                Some(left) => self.wait(Span(left))?,
            };
        }
    }

    /// Drops what was typed if it is one key and no more: the one that ended something. More of it is for the editor.
    pub fn drop_key(&mut self) {
        if self.ahead_len == 1 {
            self.ahead_len = 0;
        }
    }

    /// Whether something was typed that nobody has read.
    pub fn typed_ahead(&self) -> bool {
        self.ahead_len > 0
    }

    /// Why the last refused call was refused, as the hypervisor says it; whether it said anything.
    pub fn print_why(&mut self) -> bool {
        let mut said = false;
        for part in 0..PARTS {
            match self.ask(&system::Why { part }) {
                Ok(text) if !text.is_empty() => self.print(format_args!("{text}")),
                _ => break,
            }
            said = true;
        }
        said
    }

    /// Takes what was typed meanwhile; whether Ctrl-C was among it. What came before Ctrl-C is dropped with it.
    fn interrupted(&mut self) -> bool {
        if self.ahead_len + Bytes::MAX > AHEAD {
            return false;
        }
        let Ok(bytes) = self.read(false) else {
            return false;
        };
        let typed = bytes.as_slice();
        if let Some(at) = typed.iter().rposition(|b| *b == INTERRUPT) {
            self.ahead_len = 0;
            self.keep(&typed[at + 1..]);
            return true;
        }
        self.keep(typed);
        false
    }

    fn keep(&mut self, typed: &[u8]) {
        for b in typed {
            if let Some(slot) = self.ahead.get_mut(self.ahead_len) {
                *slot = *b;
                self.ahead_len += 1;
            }
        }
    }

    fn read(&mut self, wait: bool) -> Result<Bytes, Errno> {
        use tarn_abi::Reply;
        Bytes::from_regs(&self.hyp.call(console::Read { wait }.encode()))
    }

    /// What was typed, waiting for it; never empty. Sends the output first.
    pub fn typed(&mut self) -> Result<Bytes, Errno> {
        self.flush();
        if self.ahead_len > 0 {
            let n = self.ahead_len.min(Bytes::MAX);
            let bytes = Bytes::new(&self.ahead[..n]).unwrap_or_default();
            self.ahead.copy_within(n..self.ahead_len, 0);
            self.ahead_len -= n;
            return Ok(bytes);
        }
        loop {
            match self.read(true) {
                Ok(bytes) if bytes.as_slice().is_empty() => {}
                Err(Errno::Again) => {}
                other => return other,
            }
        }
    }

    /// Sends all output. A full console is waited for; one that refuses otherwise loses it: there is no other.
    pub fn flush(&mut self) {
        self.send(self.held_len);
    }

    fn send(&mut self, count: usize) {
        use tarn_abi::Reply;
        for chunk in self.held[..count].chunks(Bytes::MAX) {
            let Some(bytes) = Bytes::new(chunk) else {
                continue;
            };
            let regs = console::Write { bytes }.encode();
            while <()>::from_regs(&self.hyp.call(regs)) == Err(Errno::Again) {}
        }
        self.held.copy_within(count..self.held_len, 0);
        self.held_len -= count;
    }

    /// One byte as it is.
    pub fn put(&mut self, byte: u8) {
        if self.held_len == HELD {
            let lines = self
                .held
                .iter()
                .rposition(|b| *b == b'\n')
                .map_or(HELD, |at| at + 1);
            self.send(lines);
        }
        self.held[self.held_len] = byte;
        self.held_len += 1;
    }

    /// Prints formatted text.
    pub fn print(&mut self, text: fmt::Arguments<'_>) {
        // `write_str` below cannot fail.
        let _ = self.write_fmt(text);
    }

    /// Prints something a reader should know; nothing where programs read.
    pub fn note(&mut self, text: fmt::Arguments<'_>) {
        if !self.json {
            self.print(format_args!("note: {text}\n"));
        }
    }

    /// Prints what was wrong, as an error line; the command returns what this returns.
    pub fn fail(&mut self, text: fmt::Arguments<'_>) -> Fail {
        self.print(format_args!("error: {text}\n"));
        Fail::Said
    }
}

/// A newline goes out as CR LF, as terminals want it.
impl Write for Session<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for b in s.bytes() {
            if b == b'\n' {
                self.put(b'\r');
            }
            self.put(b);
        }
        Ok(())
    }
}
