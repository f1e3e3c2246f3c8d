//! The line editor: bytes from a terminal in, a line and what the terminal must show out.
//!
//! Keys: printable ASCII inserts anywhere; left/right (or Ctrl-B/F), Home/End (or Ctrl-A/E) move; Backspace, Delete
//! (or Ctrl-D) delete; Ctrl-U deletes to the start, Ctrl-K to the end, Ctrl-W the word before; up/down (or Ctrl-P/N)
//! walk the history; Ctrl-C drops the line, Ctrl-L clears the screen; Tab is the caller's. CR, LF and CR LF end a
//! line. Escape sequences it does not know are ignored as a whole.
//!
//! A terminal of 80 columns is assumed; a longer line scrolls sideways in it. A line that begins with `@` comes from a
//! program and is only echoed. The editor must never run a line that is not what was typed: when a byte did not fit or
//! is none that it knows, it rings, and Enter answers `Lost` until something has been deleted.

use crate::history::History;
use core::fmt::{self, Write};

/// Most bytes of a line.
pub const LINE_MAX: usize = 240;
/// What stands before it.
pub const PROMPT: &str = "tarn> ";
/// Columns a line may take before it scrolls.
const WINDOW: usize = 80 - PROMPT.len() - 1;
const BELL: &str = "\x07";

/// What a byte led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Nothing for the caller to do.
    Edited,
    /// The line is complete: take it, then `start` the next.
    Enter,
    /// The line is complete but is not all that was typed: do not run it; `start` the next.
    Lost(Lost),
    /// The line was dropped: `start` the next.
    Dropped,
    /// Tab was pressed.
    Tab,
}

/// Why a byte is not in the line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lost {
    /// It did not fit.
    Full,
    /// It is neither printable ASCII nor a key.
    Strange,
}

/// Where in an escape sequence we are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Escape {
    None,
    /// After ESC.
    Started,
    /// After ESC O: one letter follows.
    Single,
    /// After ESC [: a number, perhaps more after `;`, a final byte.
    Control {
        number: u8,
        first: bool,
    },
}

/// A line being typed.
#[derive(Clone, Debug)]
pub struct Editor {
    text: [u8; LINE_MAX],
    len: usize,
    cursor: usize,
    /// First byte shown.
    left: usize,
    lost: Option<Lost>,
    escape: Escape,
    after_cr: bool,
    history: History,
    /// How far back in the history; 0 = the line being typed, which is kept in `draft` meanwhile.
    back: usize,
    draft: [u8; LINE_MAX],
    draft_len: usize,
}

impl Default for Editor {
    fn default() -> Self {
        Editor {
            text: [0; LINE_MAX],
            len: 0,
            cursor: 0,
            left: 0,
            lost: None,
            escape: Escape::None,
            after_cr: false,
            history: History::default(),
            back: 0,
            draft: [0; LINE_MAX],
            draft_len: 0,
        }
    }
}

impl Editor {
    /// The line as it is.
    pub fn text(&self) -> &str {
        core::str::from_utf8(&self.text[..self.len]).unwrap_or("")
    }

    /// What stands before the cursor.
    pub fn before_cursor(&self) -> &str {
        core::str::from_utf8(&self.text[..self.cursor]).unwrap_or("")
    }

    /// An empty line, with its prompt.
    pub fn start(&mut self, out: &mut dyn Write) -> fmt::Result {
        (self.len, self.cursor, self.left, self.back) = (0, 0, 0, 0);
        self.lost = None;
        out.write_str(PROMPT)
    }

    /// Prompt and line once more, on a fresh row (after something else was printed).
    pub fn show(&mut self, out: &mut dyn Write) -> fmt::Result {
        self.refresh(out)
    }

    /// Takes one byte; what the terminal must show goes to `out`.
    pub fn feed(&mut self, byte: u8, out: &mut dyn Write) -> Result<Event, fmt::Error> {
        let after_cr = core::mem::replace(&mut self.after_cr, false);
        if self.escape != Escape::None && byte >= 0x20 {
            self.continue_escape(byte, out)?;
            return Ok(Event::Edited);
        }
        self.escape = Escape::None;
        match byte {
            b'\n' if after_cr => {}
            b'\r' | b'\n' => {
                self.after_cr = byte == b'\r';
                return self.enter(out);
            }
            b'\t' => return Ok(Event::Tab),
            0x1b => self.escape = Escape::Started,
            0x01 => self.move_to(0, out)?,
            0x02 => self.left(out)?,
            0x03 => {
                out.write_str("^C\n")?;
                return Ok(Event::Dropped);
            }
            0x04 => self.delete(self.cursor, self.cursor + 1, out)?,
            0x05 => self.move_to(self.len, out)?,
            0x06 => self.move_to(self.cursor + 1, out)?,
            0x08 | 0x7f => self.backspace(out)?,
            0x0b => self.delete(self.cursor, self.len, out)?,
            0x0c => {
                out.write_str("\x1b[H\x1b[2J")?;
                self.refresh(out)?;
            }
            0x0e => self.newer(out)?,
            0x10 => self.older(out)?,
            0x15 => self.delete(0, self.cursor, out)?,
            0x17 => self.delete(self.word_start(), self.cursor, out)?,
            0x20..0x7f => self.insert(byte, out)?,
            _ => {
                self.lost.get_or_insert(Lost::Strange);
                out.write_str(BELL)?;
            }
        }
        Ok(Event::Edited)
    }

    /// Puts a byte where the cursor is; rings the bell if the line is full.
    pub fn insert(&mut self, byte: u8, out: &mut dyn Write) -> fmt::Result {
        if self.len == LINE_MAX {
            self.lost = Some(Lost::Full);
            return out.write_str(BELL);
        }
        self.text
            .copy_within(self.cursor..self.len, self.cursor + 1);
        self.text[self.cursor] = byte;
        self.len += 1;
        self.cursor += 1;
        // Once bytes were lost, one typed into the middle of the rest makes it no better: only deleting does.
        if self.cursor == self.len && (self.len - self.left < WINDOW || self.is_script()) {
            out.write_char(byte as char)
        } else {
            self.refresh(out)
        }
    }

    fn enter(&mut self, out: &mut dyn Write) -> Result<Event, fmt::Error> {
        out.write_str("\n")?;
        if let Some(lost) = self.lost {
            return Ok(Event::Lost(lost));
        }
        if !self.is_script() {
            self.history.keep(&self.text[..self.len]);
        }
        Ok(Event::Enter)
    }

    /// Whether the line comes from a program.
    pub fn is_script(&self) -> bool {
        self.len > 0 && self.text[0] == b'@'
    }

    fn continue_escape(&mut self, byte: u8, out: &mut dyn Write) -> fmt::Result {
        let state = core::mem::replace(&mut self.escape, Escape::None);
        match (state, byte) {
            (Escape::Started, b'[') => {
                self.escape = Escape::Control {
                    number: 0,
                    first: true,
                }
            }
            (Escape::Started, b'O') => self.escape = Escape::Single,
            (
                Escape::Control {
                    number,
                    first: true,
                },
                b'0'..=b'9',
            ) => {
                let number = number.saturating_mul(10).saturating_add(byte - b'0');
                self.escape = Escape::Control {
                    number,
                    first: true,
                };
            }
            // Parameters behind the first (modifier keys) and intermediate bytes change nothing.
            (Escape::Control { number, .. }, 0x20..=0x3f) => {
                self.escape = Escape::Control {
                    number,
                    first: false,
                }
            }
            (Escape::Control { number, .. }, b'~') => match number {
                1 | 7 => self.move_to(0, out)?,
                4 | 8 => self.move_to(self.len, out)?,
                3 => self.delete(self.cursor, self.cursor + 1, out)?,
                _ => {}
            },
            (Escape::Control { .. } | Escape::Single, b'A') => self.older(out)?,
            (Escape::Control { .. } | Escape::Single, b'B') => self.newer(out)?,
            (Escape::Control { .. } | Escape::Single, b'C') => {
                self.move_to(self.cursor + 1, out)?
            }
            (Escape::Control { .. } | Escape::Single, b'D') => self.left(out)?,
            (Escape::Control { .. } | Escape::Single, b'H') => self.move_to(0, out)?,
            (Escape::Control { .. } | Escape::Single, b'F') => self.move_to(self.len, out)?,
            _ => {}
        }
        Ok(())
    }

    fn left(&mut self, out: &mut dyn Write) -> fmt::Result {
        self.move_to(self.cursor.saturating_sub(1), out)
    }

    fn move_to(&mut self, to: usize, out: &mut dyn Write) -> fmt::Result {
        let to = to.min(self.len);
        if to == self.cursor {
            return Ok(());
        }
        self.cursor = to;
        self.refresh(out)
    }

    fn backspace(&mut self, out: &mut dyn Write) -> fmt::Result {
        if self.cursor == 0 {
            return Ok(());
        }
        let seen = self.left == 0 || self.cursor > self.left + 1;
        if self.cursor == self.len && (seen && self.len - self.left < WINDOW || self.is_script()) {
            self.cursor -= 1;
            self.len -= 1;
            self.lost = None;
            return out.write_str("\x08 \x08");
        }
        self.delete(self.cursor - 1, self.cursor, out)
    }

    fn delete(&mut self, from: usize, to: usize, out: &mut dyn Write) -> fmt::Result {
        let to = to.min(self.len);
        if from >= to {
            return Ok(());
        }
        self.text.copy_within(to..self.len, from);
        self.len -= to - from;
        self.cursor = from;
        self.lost = None;
        self.refresh(out)
    }

    fn word_start(&self) -> usize {
        let before = &self.text[..self.cursor];
        let end = before
            .iter()
            .rposition(|b| *b != b' ')
            .map_or(0, |at| at + 1);
        before[..end]
            .iter()
            .rposition(|b| *b == b' ')
            .map_or(0, |at| at + 1)
    }

    fn older(&mut self, out: &mut dyn Write) -> fmt::Result {
        if self.history.back(self.back + 1).is_none() {
            return out.write_str(BELL);
        }
        if self.back == 0 {
            self.draft = self.text;
            self.draft_len = self.len;
        }
        self.back += 1;
        self.recall(out)
    }

    fn newer(&mut self, out: &mut dyn Write) -> fmt::Result {
        if self.back == 0 {
            return out.write_str(BELL);
        }
        self.back -= 1;
        self.recall(out)
    }

    fn recall(&mut self, out: &mut dyn Write) -> fmt::Result {
        let line = match self.history.back(self.back) {
            Some(line) => line,
            None => &self.draft[..self.draft_len],
        };
        self.text[..line.len()].copy_from_slice(line);
        self.len = line.len();
        self.cursor = self.len;
        self.lost = None;
        self.refresh(out)
    }

    /// Draws prompt, the visible part of the line, and the cursor.
    fn refresh(&mut self, out: &mut dyn Write) -> fmt::Result {
        if self.len < WINDOW {
            self.left = 0;
        } else if self.cursor <= self.left || self.cursor - self.left >= WINDOW {
            // By half a window, so that typing on or back does not scroll with each letter.
            self.left = self.cursor.saturating_sub(WINDOW / 2);
        }
        let end = self.len.min(self.left + WINDOW);
        let shown = core::str::from_utf8(&self.text[self.left..end]).unwrap_or("");
        write!(out, "\r{PROMPT}{shown}\x1b[K")?;
        if self.cursor < end {
            write!(out, "\r\x1b[{}C", PROMPT.len() + self.cursor - self.left)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
