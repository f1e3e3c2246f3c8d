//! The editor against a small terminal that draws what it is told.
extern crate std;

use super::*;
use std::string::{String, ToString};
use std::vec::Vec;

/// One row of an 80-column terminal: enough to see what a user sees.
struct Row {
    cells: Vec<char>,
    column: usize,
    bells: usize,
}

impl Row {
    fn play(stream: &str) -> Row {
        let mut row = Row {
            cells: Vec::new(),
            column: 0,
            bells: 0,
        };
        let mut chars = stream.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\r' => row.column = 0,
                '\n' => (row.cells, row.column) = (Vec::new(), 0),
                '\x08' => row.column = row.column.checked_sub(1).expect("moved left of the screen"),
                '\x07' => row.bells += 1,
                '\x1b' => {
                    assert_eq!(chars.next(), Some('['));
                    let mut number = String::new();
                    while chars.peek().is_some_and(char::is_ascii_digit) {
                        number.push(chars.next().unwrap());
                    }
                    match chars.next() {
                        Some('K') => row.cells.truncate(row.column),
                        Some('C') => row.column += number.parse::<usize>().unwrap(),
                        Some('H' | 'J') => (row.cells, row.column) = (Vec::new(), 0),
                        other => panic!("escape {other:?}"),
                    }
                }
                c => {
                    assert!((' '..='~').contains(&c), "{c:?} sent to the terminal");
                    if row.cells.len() <= row.column {
                        row.cells.resize(row.column + 1, ' ');
                    }
                    row.cells[row.column] = c;
                    row.column += 1;
                }
            }
        }
        row
    }

    fn text(&self) -> String {
        self.cells.iter().collect::<String>().trim_end().to_string()
    }
}

/// Feeds `keys`; every `Enter` yields a line.
fn typed(keys: &[u8]) -> (Editor, String, Vec<String>) {
    let (mut e, mut out, mut lines) = (Editor::default(), String::new(), Vec::new());
    e.start(&mut out).unwrap();
    for k in keys {
        match e.feed(*k, &mut out).unwrap() {
            Event::Enter => lines.push(e.text().to_string()),
            Event::Lost(Lost::Full) => lines.push("too long".to_string()),
            Event::Lost(Lost::Strange) => lines.push("strange".to_string()),
            Event::Dropped => lines.push("dropped".to_string()),
            Event::Edited | Event::Tab => continue,
        }
        e.start(&mut out).unwrap();
    }
    (e, out, lines)
}

/// The row must show the line and the cursor where the editor has it.
fn check(keys: &[u8], text: &str, cursor: usize) {
    let (e, out, _) = typed(keys);
    assert_eq!((e.text(), e.cursor), (text, cursor), "{keys:?}");
    let row = Row::play(&out);
    assert_eq!(
        row.text(),
        std::format!("{PROMPT}{text}").trim_end(),
        "{keys:?}"
    );
    assert_eq!(row.column, PROMPT.len() + cursor, "{keys:?}");
}

#[test]
fn edits_anywhere() {
    check(b"list", "list", 4);
    check(b"lst\x1b[D\x1b[Di", "list", 2);
    check(b"lst\x02\x02i\x06\x06\x06\x06x", "listx", 5);
    check(b"abc\x01X", "Xabc", 1);
    check(b"abc\x1b[HX\x1b[FY", "XabcY", 5);
    check(b"abc\x1bOHX\x1bOFY", "XabcY", 5);
    check(b"abc\x1b[1~X\x1b[4~Y", "XabcY", 5);
    check(b"abc\x7f\x08d", "ad", 2);
    check(b"abc\x1b[D\x7f", "ac", 1);
    check(b"abc\x01\x1b[3~\x04", "c", 0);
    check(b"abc def\x17", "abc ", 4);
    check(b"abc def  \x17\x17", "", 0);
    check(b"abc def\x02\x02\x0b", "abc d", 5);
    check(b"abc def\x02\x02\x15", "ef", 0);
    check(b"abc\x7f\x7f\x7f\x7f\x7f", "", 0);
    check(b"\x04\x0b\x15\x17\x1b[3~", "", 0);
    check(b"abc\x0c", "abc", 3);
}

#[test]
fn ignores_what_it_does_not_know() {
    // Function keys, modifiers, pasted brackets, Alt letters, an escape cut short by another.
    check(b"a\x1b[15~\x1b[1;5Q\x1b[200~\x1bx\x1b\x1b[Db", "ba", 1);
    check(b"a\x1b[99999999999999~b", "ab", 2);
    check(b"a\x1b[1;5Db", "ba", 1);
}

/// A letter of another alphabet or noise on the line: what is left of it is not what was meant.
#[test]
fn runs_nothing_that_was_not_typed() {
    for strange in [
        &b"li\xc3\xb6st\r"[..],
        b"li\0st\r",
        b"\x07list\r",
        b"list\x1c\r",
    ] {
        let (_, out, lines) = typed(&[strange, b"next\r"].concat());
        assert_eq!(lines, ["strange", "next"]);
        assert!(Row::play(&out).bells > 0);
    }
    let (_, _, lines) = typed(b"list\xff\x7ft\r");
    assert_eq!(lines, ["list"]);
}

#[test]
fn line_ends() {
    let (_, _, lines) = typed(b"a\rb\nc\r\nd\r\r\n\n");
    assert_eq!(lines, ["a", "b", "c", "d", "", ""]);
    let (_, _, lines) = typed(b"a\x03b\r");
    assert_eq!(lines, ["dropped", "b"]);
}

#[test]
fn history_keeps_the_draft() {
    check(b"one\rtwo\rthr\x1b[A\x1b[A", "one", 3);
    check(b"one\rtwo\rthr\x1b[A\x1b[A\x1b[B", "two", 3);
    check(b"one\rtwo\rthr\x10\x10\x0e\x0e", "thr", 3);
    check(b"@one\r\x1b[A", "", 0);
    let (_, out, _) = typed(b"one\r\x1b[A\x1b[A\x1b[B\x1b[B");
    assert_eq!(Row::play(&out).bells, 2);
    // Changing a recalled line does not change the history.
    let (_, _, lines) = typed(b"one\r\x1b[AX\r\x1b[A\x1b[A\r");
    assert_eq!(lines, ["one", "oneX", "one"]);
}

#[test]
fn long_lines_are_refused_whole() {
    let mut keys = [b'x'; LINE_MAX + 3].to_vec();
    keys.push(b'\r');
    let (_, out, lines) = typed(&keys);
    assert_eq!(lines, ["too long"]);
    assert_eq!(Row::play(&out).bells, 3);
    // Deleting makes it a line again: what is there is what the user sees.
    keys.pop();
    keys.extend_from_slice(b"\x7f\r");
    assert_eq!(typed(&keys).2, ["x".repeat(LINE_MAX - 1)]);
    // Exactly full is no loss.
    let mut keys = [b'x'; LINE_MAX].to_vec();
    keys.push(b'\r');
    assert_eq!(typed(&keys).2, ["x".repeat(LINE_MAX)]);
    // Moving is no deleting.
    let mut keys = [b'x'; LINE_MAX + 1].to_vec();
    keys.extend_from_slice(b"\x01\x05\r");
    assert_eq!(typed(&keys).2, ["too long"]);
}

#[test]
fn long_lines_scroll_in_80_columns() {
    let mut keys: Vec<u8> = (0..200u8).map(|i| b'a' + i % 26).collect();
    for step in 0..400 {
        let (e, out, _) = typed(&keys);
        let row = Row::play(&out);
        assert!(row.column < 80 && row.cells.len() < 80, "step {step}");
        let shown = row.text();
        let shown = shown.strip_prefix(PROMPT).unwrap();
        assert!(e.text().contains(shown));
        // The cell under the cursor is the byte at the cursor.
        assert_eq!(
            row.cells.get(row.column).copied().unwrap_or(' '),
            e.text().chars().nth(e.cursor).unwrap_or(' '),
            "step {step}"
        );
        keys.extend_from_slice(if step < 210 { b"\x1b[D" } else { b"\x1b[C" });
    }
}

#[test]
fn script_lines_are_only_echoed() {
    let line = std::format!("@{}", "list; ".repeat(30));
    let (_, out, _) = typed(line.as_bytes());
    assert_eq!(out, std::format!("{PROMPT}{line}"));
}

#[test]
fn random_keys_never_break_it() {
    let mut seed = 1u64;
    let mut next = move || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    let keys: &[&[u8]] = &[
        b"a",
        b"b",
        b" ",
        b"\x1b[D",
        b"\x1b[C",
        b"\x7f",
        b"\x1b[3~",
        b"\x17",
        b"\x1b[A",
        b"\x1b[B",
        b"\x01",
        b"\x05",
        b"zzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
        b"\x1b[",
        b"\x1bO",
        b"9",
        b"@",
        b"\xff",
        b"\r",
        b"\n",
        b"\x0b",
        b"\x15",
    ];
    let (mut e, mut out) = (Editor::default(), String::new());
    e.start(&mut out).unwrap();
    for _ in 0..60_000 {
        for b in keys[next() % keys.len()] {
            if e.feed(*b, &mut out).unwrap() != Event::Edited {
                out.clear();
                e.start(&mut out).unwrap();
            }
        }
        assert!(e.cursor <= e.len && e.len <= LINE_MAX && e.left <= e.cursor);
        // What is on the screen is what would run, unless a program types, whose lines wrap.
        if !e.is_script() && e.len < WINDOW {
            let row = Row::play(&out);
            assert_eq!(row.text(), std::format!("{PROMPT}{}", e.text()).trim_end());
            assert_eq!(row.column, PROMPT.len() + e.cursor);
        }
        if out.len() > 4096 {
            out.clear();
            e.show(&mut out).unwrap();
        }
    }
}
