//! Listings: tables whose columns line up, or a JSON object a row, without memory for either.
//!
//! The rows of a table are produced twice, first to measure, then to print. A row that changed in between may be wider
//! than measured; it then only moves what stands behind it. JSON rows are produced once.

use crate::session::{Fail, Session};
use core::fmt::{self, Display, Write};

/// How a column's cells are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Flush left; a JSON string, without blanks in front of it.
    Text,
    /// Flush right; a JSON number, `-` is null.
    Number,
    /// Numbers and ranges, `0-2,5` or `-`, flush left; a JSON array of numbers.
    Set,
    /// Only in JSON, as text.
    Hidden,
    /// Only in JSON, as a number.
    Count,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Above it.
    head: &'static str,
    /// Its name in JSON.
    key: &'static str,
    form: Form,
}

impl Column {
    /// Of text.
    pub const fn text(head: &'static str, key: &'static str) -> Column {
        Column {
            head,
            key,
            form: Form::Text,
        }
    }

    /// Of numbers.
    pub const fn number(head: &'static str, key: &'static str) -> Column {
        Column {
            head,
            key,
            form: Form::Number,
        }
    }

    /// Of sets of numbers.
    pub const fn set(head: &'static str, key: &'static str) -> Column {
        Column {
            head,
            key,
            form: Form::Set,
        }
    }

    /// A number for programs only.
    pub const fn count(key: &'static str) -> Column {
        Column {
            head: "",
            key,
            form: Form::Count,
        }
    }

    /// For programs only.
    pub const fn hidden(key: &'static str) -> Column {
        Column {
            head: "",
            key,
            form: Form::Hidden,
        }
    }
}

/// A table of `N` columns, being measured or printed.
#[derive(Debug)]
pub struct Table<const N: usize> {
    columns: [Column; N],
    widths: [usize; N],
    printing: bool,
}

/// Counts what is written to it.
struct Count(usize);

impl Write for Count {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.0 += s.len();
        Ok(())
    }
}

/// How many columns a cell takes.
pub fn width(cell: &dyn Display) -> usize {
    let mut count = Count(0);
    // `Count` never fails.
    let _ = write!(count, "{cell}");
    count.0
}

/// What gives the rows.
type Fill<'f, const N: usize> =
    &'f mut dyn FnMut(&mut Session<'_>, &mut Table<N>) -> Result<(), Fail>;

impl<const N: usize> Table<N> {
    /// Prints what `fill` gives as rows; `fill` is called twice, for JSON once.
    pub fn print(s: &mut Session<'_>, columns: [Column; N], fill: Fill<'_, N>) -> Result<(), Fail> {
        let mut table = Table {
            columns,
            widths: columns.map(|c| c.head.len()),
            printing: s.json,
        };
        if !s.json {
            fill(s, &mut table)?;
            table.printing = true;
            line(s, &table.columns.map(|c| c.head), &columns, &table.widths);
        }
        fill(s, &mut table)
    }

    /// One row.
    pub fn row(&mut self, s: &mut Session<'_>, cells: [&dyn Display; N]) {
        if s.json {
            object(s, &self.columns, &cells);
        } else if self.printing {
            line(s, &cells, &self.columns, &self.widths);
        } else {
            for (w, cell) in self.widths.iter_mut().zip(cells) {
                *w = (*w).max(width(cell));
            }
        }
    }
}

fn line<D: Display>(s: &mut Session<'_>, cells: &[D], columns: &[Column], widths: &[usize]) {
    let shown = |c: &Column| !matches!(c.form, Form::Hidden | Form::Count);
    let last = columns.iter().rposition(shown).unwrap_or(0);
    let mut gap = 0;
    for (i, ((column, cell), w)) in columns.iter().zip(cells).zip(widths).enumerate() {
        if !shown(column) {
            continue;
        }
        let pad = w.saturating_sub(width(cell));
        spaces(s, gap);
        gap = 2;
        if column.form == Form::Number {
            spaces(s, pad);
            s.print(format_args!("{cell}"));
        } else {
            s.print(format_args!("{cell}"));
            // Nothing is flush with the end of the last column.
            spaces(s, if i == last { 0 } else { pad });
        }
    }
    s.print(format_args!("\n"));
}

/// So many of them.
pub fn spaces(s: &mut Session<'_>, count: usize) {
    for _ in 0..count {
        s.put(b' ');
    }
}

/// One row as a JSON object on a line.
fn object(s: &mut Session<'_>, columns: &[Column], cells: &[&dyn Display]) {
    let mut comma = "{";
    for (column, cell) in columns.iter().zip(cells) {
        s.print(format_args!("{comma}\"{}\":", column.key));
        comma = ",";
        match column.form {
            Form::Text | Form::Hidden => s.print(format_args!("{}", Quoted(*cell))),
            Form::Set => {
                let mut set = Ranges::default();
                // It never fails.
                let _ = write!(Feed(&mut set, s), "{cell}");
                set.flush(s);
                s.print(format_args!("{}", if set.begun { "]" } else { "[]" }));
            }
            Form::Number | Form::Count if is_dash(*cell) => s.print(format_args!("null")),
            Form::Number | Form::Count => s.print(format_args!("{cell}")),
        }
    }
    s.print(format_args!("}}\n"));
}

fn is_dash(cell: &dyn Display) -> bool {
    struct Dash(bool);
    impl Write for Dash {
        fn write_str(&mut self, s: &str) -> fmt::Result {
            self.0 &= s == "-" || s.is_empty();
            Ok(())
        }
    }
    let mut dash = Dash(true);
    // It never fails.
    let _ = write!(dash, "{cell}");
    dash.0
}

/// A JSON string.
pub struct Quoted<'a>(pub &'a dyn Display);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Escape<'a, 'b>(&'a mut fmt::Formatter<'b>, bool);
        impl Write for Escape<'_, '_> {
            fn write_str(&mut self, s: &str) -> fmt::Result {
                for c in s.chars() {
                    if c == ' ' && !self.1 {
                        continue;
                    }
                    self.1 = true;
                    match c {
                        '"' | '\\' => write!(self.0, "\\{c}")?,
                        c if (c as u32) < 0x20 => write!(self.0, "\\u{:04x}", c as u32)?,
                        c => self.0.write_char(c)?,
                    }
                }
                Ok(())
            }
        }
        f.write_char('"')?;
        write!(Escape(f, false), "{}", self.0)?;
        f.write_char('"')
    }
}

/// Reads `0-2,5` and prints `[0,1,2,5` of it.
#[derive(Default)]
struct Ranges {
    from: Option<u32>,
    number: Option<u32>,
    begun: bool,
}

impl Ranges {
    fn flush(&mut self, s: &mut Session<'_>) {
        let Some(to) = self.number.take() else { return };
        // No set has more members; a text that is none must not print for ever.
        for n in (self.from.take().unwrap_or(to)..=to).take(1024) {
            s.print(format_args!("{}{n}", if self.begun { "," } else { "[" }));
            self.begun = true;
        }
    }
}

struct Feed<'a, 'b, 'h>(&'a mut Ranges, &'b mut Session<'h>);

impl Write for Feed<'_, '_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c.to_digit(10) {
                Some(d) => {
                    let n = self.0.number.unwrap_or(0);
                    self.0.number = Some(n.saturating_mul(10).saturating_add(d));
                }
                None if c == '-' => self.0.from = self.0.number.take(),
                None => self.0.flush(self.1),
            }
        }
        Ok(())
    }
}
