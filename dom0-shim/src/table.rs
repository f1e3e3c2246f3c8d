//! Tables whose columns line up, without memory for them: the rows are produced twice, first to measure, then to print.
//!
//! A row that changed in between may be wider than measured; it then only moves what stands behind it.

use crate::session::Session;
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
    rows: usize,
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
    pub fn print<E>(
        s: &mut Session<'_>,
        columns: [Column; N],
        mut fill: impl FnMut(&mut Session<'_>, &mut Table<N>) -> Result<(), E>,
    ) -> Result<usize, E> {
        let widths = columns.map(|c| c.head().len());
        let mut table = Table {
            columns,
            widths,
            printing: false,
            rows: 0,
        };
        fill(s, &mut table)?;
        table.printing = true;
        let heads = columns.map(Column::head);
        table.line(s, core::array::from_fn(|i| &heads[i] as &dyn Display));
        table.rows = 0;
        fill(s, &mut table)?;
        Ok(table.rows)
    }

    /// One row.
    pub fn row(&mut self, s: &mut Session<'_>, cells: [&dyn Display; N]) {
        self.rows += 1;
        if self.printing {
            self.line(s, cells);
            return;
        }
        for (w, cell) in self.widths.iter_mut().zip(cells) {
            *w = (*w).max(width(cell));
        }
    }

    fn line(&self, s: &mut Session<'_>, cells: [&dyn Display; N]) {
        for (i, cell) in cells.iter().enumerate() {
            let pad = self.widths[i].saturating_sub(width(*cell));
            let gap = if i == 0 { "" } else { "  " };
            match self.columns[i] {
                Column::Right(_) => s.print(format_args!("{gap}{:pad$}{cell}", "")),
                // Nothing is flush with the end of the last column.
                Column::Left(_) if i == N - 1 => s.print(format_args!("{gap}{cell}")),
                Column::Left(_) => s.print(format_args!("{gap}{cell}{:pad$}", "")),
            }
        }
        s.print(format_args!("\n"));
    }
}
