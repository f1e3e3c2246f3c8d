//! Tables whose columns line up, without memory for them: the rows are produced twice, first to measure, then to print.
//!
//! A row that changed in between may be wider than measured; it then only moves what stands behind it.

use crate::session::{Fail, Session};
use core::fmt::{self, Display, Write};

/// A column: its head, and on which side its cells are flush.
#[derive(Clone, Copy, Debug)]
pub enum Column {
    /// Text.
    Left(&'static str),
    /// Numbers.
    Right(&'static str),
}

impl Column {
    fn head(self) -> &'static str {
        match self {
            Column::Left(head) | Column::Right(head) => head,
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

impl<const N: usize> Table<N> {
    /// Prints what `fill` gives as rows; answers how many there were. `fill` is called twice.
    pub fn print(
        s: &mut Session<'_>,
        columns: [Column; N],
        fill: &mut dyn FnMut(&mut Session<'_>, &mut Table<N>) -> Result<(), Fail>,
    ) -> Result<(), Fail> {
        let widths = columns.map(|c| c.head().len());
        let mut table = Table {
            columns,
            widths,
            printing: false,
        };
        fill(s, &mut table)?;
        table.printing = true;
        let heads = columns.map(Column::head);
        table.row(s, core::array::from_fn(|i| &heads[i] as &dyn Display));
        fill(s, &mut table)
    }

    /// One row.
    pub fn row(&mut self, s: &mut Session<'_>, cells: [&dyn Display; N]) {
        if self.printing {
            line(s, &self.columns, &self.widths, &cells);
            return;
        }
        for (w, cell) in self.widths.iter_mut().zip(cells) {
            *w = (*w).max(width(cell));
        }
    }
}

fn line(s: &mut Session<'_>, columns: &[Column], widths: &[usize], cells: &[&dyn Display]) {
    let last = cells.len().saturating_sub(1);
    for (i, ((column, cell), w)) in columns.iter().zip(cells).zip(widths).enumerate() {
        let pad = w.saturating_sub(width(*cell));
        if i > 0 {
            spaces(s, 2);
        }
        match column {
            Column::Right(_) => {
                spaces(s, pad);
                s.print(format_args!("{cell}"));
            }
            Column::Left(_) => {
                s.print(format_args!("{cell}"));
                // Nothing is flush with the end of the last column.
                spaces(s, if i == last { 0 } else { pad });
            }
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
