//! The loop: greeting, prompt, bytes to the editor, lines to the commands.
//!
//! A line that begins with `@` comes from a script: after each of its commands a line follows that is exactly `@ok` or
//! `@error`. Nothing else is different. A `#` in front of a word begins a comment, as in the seeds' sessions.

use crate::line::{Editor, Event, LINE_MAX, Lost};
use crate::session::{Fail, Session};
use crate::{Hyp, cmd, complete, names};
use core::fmt;
use tarn_abi::Errno;
use tarn_abi::call::{ABI, Version, system};

/// The shell of one user.
pub struct Shell<'h> {
    session: Session<'h>,
    editor: Editor,
}

impl fmt::Debug for Shell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shell")
            .field("line", &self.editor.text())
            .finish_non_exhaustive()
    }
}

impl<'h> Shell<'h> {
    /// On top of `hyp`.
    pub fn new(hyp: &'h mut dyn Hyp) -> Shell<'h> {
        Shell {
            session: Session::new(hyp),
            editor: Editor::default(),
        }
    }

    /// Greets, then reads and runs lines until the console cannot be read any more; returns why.
    pub fn run(&mut self) -> Errno {
        self.greet();
        // Output into a session cannot fail, so neither can the editor.
        let _ = self.editor.start(&mut self.session);
        self.boot_script();
        loop {
            let typed = match self.session.typed() {
                Ok(bytes) => bytes,
                Err(e) => return e,
            };
            for byte in typed.as_slice() {
                let _ = self.take(*byte);
            }
        }
    }

    /// What the system description wants typed first goes through the editor as a user's keys do.
    fn boot_script(&mut self) {
        let mut from = 0u32;
        loop {
            match self.session.ask(&system::BootScript { from }) {
                Ok(bytes) if bytes.as_slice().is_empty() => {
                    // The last line may have no end of its own; the user's first is another one.
                    if !self.editor.text().is_empty() {
                        let _ = self.take(b'\n');
                    }
                    return;
                }
                Ok(bytes) => {
                    from = from.saturating_add(bytes.as_slice().len() as u32);
                    for byte in bytes.as_slice() {
                        let _ = self.take(*byte);
                    }
                }
                Err(e) => {
                    let text = format_args!("the boot script cannot be read: {e}");
                    self.session.fail(text);
                    return;
                }
            }
        }
    }

    fn take(&mut self, byte: u8) -> fmt::Result {
        match self.editor.feed(byte, &mut self.session)? {
            Event::Edited => return Ok(()),
            Event::Tab => return complete::complete(&mut self.session, &mut self.editor),
            Event::Dropped => {}
            Event::Lost(why) => {
                let s = &mut self.session;
                match why {
                    Lost::Full => s.fail(format_args!(
                        "the line has more than {LINE_MAX} letters and was not run; split it"
                    )),
                    Lost::Strange => s.fail(format_args!(
                        "something in the line is no printable ASCII, and it was not run; type it again"
                    )),
                };
                if self.editor.is_script() {
                    self.session.print(format_args!("@error\n"));
                }
            }
            Event::Enter => run_line(&mut self.session, self.editor.text()),
        }
        self.editor.start(&mut self.session)
    }

    fn greet(&mut self) {
        let s = &mut self.session;
        if let Err(Fail::Refused(e)) = greeting(s) {
            s.fail(format_args!("the hypervisor does not say what it is: {e}"));
        }
        s.print(format_args!(
            "Type 'help' for the commands; Ctrl-A three times switches the console.\n"
        ));
    }
}

fn greeting(s: &mut Session<'_>) -> Result<(), Fail> {
    let version = s.ask(&Version {})?;
    let machine = s.ask(&system::Info {})?;
    s.print(format_args!(
        "{}: {} CPUs",
        version.text, machine.cpus_online
    ));
    names::each_pool(s, &mut |s, row| {
        let name = names::pool_name(s, row.id);
        s.print(format_args!("; {name}: {} {}", row.cpus, row.sched));
        Ok(())
    })?;
    s.print(format_args!("\n"));
    if !ABI.works_with(version.abi) {
        let (ours, theirs) = (ABI, version.abi);
        s.fail(format_args!(
            "this shell speaks call interface {}.{}, the hypervisor {}.{}: expect refusals",
            ours.major, ours.minor, theirs.major, theirs.minor
        ));
    }
    Ok(())
}

/// What stands before a `#` that begins a word.
fn without_comment(line: &str) -> &str {
    let begins = |at: usize| at == 0 || line.as_bytes()[at - 1].is_ascii_whitespace();
    match line.match_indices('#').find(|(at, _)| begins(*at)) {
        Some((at, _)) => &line[..at],
        None => line,
    }
}

/// Runs the commands of a line in order, each whether or not those before it succeeded.
fn run_line(s: &mut Session<'_>, line: &str) {
    let (script, commands) = match line.strip_prefix('@') {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let commands = without_comment(commands);
    s.script = script;
    for command in commands.split(';').map(str::trim).filter(|c| !c.is_empty()) {
        let result = cmd::run(s, command);
        if script {
            s.print(format_args!(
                "{}\n",
                if result.is_ok() { "@ok" } else { "@error" }
            ));
        }
        s.flush();
    }
    s.script = false;
}
