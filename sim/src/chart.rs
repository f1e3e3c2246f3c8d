//! Pictures for the terminal, below the table of `tarn-sim run`: the schedule between two times and how late wake-ups were.
//!
//! Plain ASCII, 100 columns for the time and three for each power of ten of lateness. Must never need more than the report;
//! finer pictures are `picture.rs`'s.

use crate::picture::stretches;
use crate::report::Report;
use std::fmt::Write;

/// Columns of the schedule.
const COLUMNS: usize = 100;
/// vCPUs that are shown: with more, those named first.
const ROWS: usize = 24;
/// From nothing to all.
const SHADES: [char; 5] = [' ', '.', ':', '+', '#'];
/// Columns of a power of ten, from `LEAST` ns on.
const PER_DECADE: u32 = 3;
const LEAST: u64 = 1_000;
const DECADES: u32 = 6;

/// The part of a column that a vCPU has run, as a character. Who has run at all is seen.
fn shade(ran: u64, column: u64) -> char {
    let n = (ran * 4).div_ceil(column.max(1)).min(4);
    SHADES[n as usize]
}

fn width(r: &Report<'_>) -> usize {
    let names = r.vcpus.iter().take(ROWS).map(|v| v.name.len());
    names.max().unwrap_or(0).max(5)
}

fn left_out(r: &Report<'_>, s: &mut String) {
    if r.vcpus.len() > ROWS {
        let _ = writeln!(s, "... and {} more (--svg shows all)", r.vcpus.len() - ROWS);
    }
}

/// The schedule from `from` to `to` ns: a row for each vCPU, a shade for how much of a column it has run.
pub fn schedule(r: &Report<'_>, from: u64, to: u64) -> String {
    let to = to.min(r.outcome.duration).max(from + COLUMNS as u64);
    let column = (to - from).div_ceil(COLUMNS as u64);
    let shown = r.vcpus.len().min(ROWS);
    let mut ran = vec![[0u64; COLUMNS]; shown];
    for (_, v, a, b) in stretches(r).into_iter().filter(|s| s.1 < shown) {
        let (a, b) = (a.max(from), b.min(to));
        let mut t = a;
        while t < b {
            let c = ((t - from) / column) as usize;
            let end = b.min(from + (c as u64 + 1) * column);
            ran[v][c] += end - t;
            t = end;
        }
    }
    let w = width(r);
    let ms = |t: u64| t as f64 / 1e6;
    let mut s = format!(
        "the schedule from {} to {} ms, {} us each column ({} a quarter, {} half, {} three quarters, {} all of it)\n",
        ms(from),
        ms(to),
        column as f64 / 1e3,
        SHADES[1],
        SHADES[2],
        SHADES[3],
        SHADES[4]
    );
    for (v, row) in r.vcpus.iter().zip(&ran) {
        let text: String = row.iter().map(|n| shade(*n, column)).collect();
        let _ = writeln!(s, "{:<w$} |{text}|", v.name);
    }
    left_out(r, &mut s);
    s
}

/// In which column a wake-up that is `ns` late belongs.
fn bucket(ns: u64) -> usize {
    let steps = (ns.max(LEAST) as f64 / LEAST as f64).log10() * f64::from(PER_DECADE);
    (steps as usize).min((DECADES * PER_DECADE) as usize - 1)
}

/// How late wake-ups were: in each column the share of them, as the power of ten that it reaches.
pub fn latency(r: &Report<'_>) -> String {
    let w = width(r);
    let woken: Vec<_> = (r.vcpus.iter().enumerate().take(ROWS))
        .filter(|(_, v)| v.wake.n > 0)
        .collect();
    let mut s = String::new();
    if woken.is_empty() {
        return s;
    }
    s.push_str("how late wake-ups were (# a tenth of them or more, + a hundredth, : a thousandth, . fewer)\n");
    let names = ["1 us", "10 us", "100 us", "1 ms", "10 ms", "100 ms"];
    let _ = write!(s, "{:<w$} ", "");
    for name in names {
        let _ = write!(s, "|{name:<8}");
    }
    s.push_str("|\n");
    for (i, v) in woken {
        let mut counts = [0u64; (DECADES * PER_DECADE) as usize];
        let all = r.outcome.vcpus[i].figures.all();
        let mut n = 0;
        for ns in all.flat_map(|f| f.wakes.iter()) {
            counts[bucket(*ns)] += 1;
            n += 1;
        }
        let _ = write!(s, "{:<w$} |", v.name);
        for c in counts {
            let mark = match c {
                0 => ' ',
                c if c * 10 >= n => '#',
                c if c * 100 >= n => '+',
                c if c * 1000 >= n => ':',
                _ => '.',
            };
            let _ = write!(s, "{mark}{mark}{mark}");
        }
        s.push_str("|\n");
    }
    left_out(r, &mut s);
    s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_seen_and_all_is_all() {
        let column = 1_000;
        let shown: String = [0, 1, 250, 251, 500, 750, 999, 1_000]
            .map(|n| shade(n, column))
            .iter()
            .collect();
        assert_eq!(shown, " ..::+##");
    }

    #[test]
    fn lateness_has_its_column() {
        assert_eq!([0, 1_000, 2_000].map(bucket), [0, 0, 0]);
        assert_eq!([2_200, 10_000, 99_000].map(bucket), [1, 3, 5]);
        assert_eq!([1_000_000, 999_000_000, u64::MAX].map(bucket), [9, 17, 17]);
    }
}
