//! The last lines typed, oldest forgotten first.

use crate::line::LINE_MAX;

/// How many lines are remembered.
pub const LINES: usize = 16;

/// The lines, newest last.
#[derive(Clone, Debug)]
pub struct History {
    lines: [[u8; LINE_MAX]; LINES],
    lens: [u8; LINES],
    /// Lines ever kept; the newest is at `kept - 1` modulo `LINES`.
    kept: usize,
}

const _: () = assert!(LINE_MAX <= u8::MAX as usize);

impl Default for History {
    fn default() -> Self {
        History {
            lines: [[0; LINE_MAX]; LINES],
            lens: [0; LINES],
            kept: 0,
        }
    }
}

impl History {
    /// Remembers a line, unless it is blank or the same as the last.
    pub fn keep(&mut self, line: &[u8]) {
        if line.iter().all(|b| *b == b' ') || self.back(1) == Some(line) || line.len() > LINE_MAX {
            return;
        }
        let at = self.kept % LINES;
        self.lines[at][..line.len()].copy_from_slice(line);
        self.lens[at] = line.len() as u8;
        self.kept += 1;
    }

    /// The `n`-th line back, 1 being the newest; `None` if it is not remembered.
    pub fn back(&self, n: usize) -> Option<&[u8]> {
        if n == 0 || n > self.kept.min(LINES) {
            return None;
        }
        let at = (self.kept - n) % LINES;
        Some(&self.lines[at][..self.lens[at] as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_the_oldest() {
        let mut h = History::default();
        assert_eq!(h.back(1), None);
        for i in 0..20u8 {
            h.keep(&[b'a' + i]);
            h.keep(&[b'a' + i]);
            h.keep(b"  ");
        }
        assert_eq!(h.back(1), Some(&b"t"[..]));
        assert_eq!(h.back(16), Some(&b"e"[..]));
        assert_eq!(h.back(17), None);
        assert_eq!(h.back(0), None);
    }
}
