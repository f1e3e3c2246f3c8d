//! Figures of a measurement: read from a console, printed as a table and as JSON.
//!
//! A bench guest prints `BENCH name iterations min median max`, and `BENCH-END` last; figures are instructions, which under QEMU's
//! instruction counter are nanoseconds of virtual time.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One line of a bench guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Measurements after warm-up.
    pub iterations: u64,
    /// Least.
    pub min: u64,
    /// Half are at most this.
    pub median: u64,
    /// Most.
    pub max: u64,
}

/// Figures by name, in the order of the alphabet.
pub type Figures = BTreeMap<String, Figure>;

/// Reads the `BENCH` lines of a console; `domain` is the prefix's name, `None` for a native run.
pub fn read(console: &str, domain: Option<&str>) -> Figures {
    let prefix = domain.map_or_else(String::new, |name| format!("({name}) "));
    let figure = |line: &str| {
        let mut words = line
            .strip_prefix(&prefix)?
            .strip_prefix("BENCH ")?
            .split_whitespace();
        let name = words.next()?.to_owned();
        let mut number = || words.next()?.parse().ok();
        Some((
            name,
            Figure {
                iterations: number()?,
                min: number()?,
                median: number()?,
                max: number()?,
            },
        ))
    };
    console.lines().filter_map(figure).collect()
}

/// One row of the closing table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// As in the budgets.
    pub name: String,
    /// Without a hypervisor.
    pub bare: Option<u64>,
    /// The figure that counts.
    pub tarn: Option<u64>,
    /// The largest single measurement.
    pub max: Option<u64>,
    /// The limit, if there is one.
    pub budget: Option<u64>,
}

/// The rows as a table; figures over their budget are marked.
pub fn table(rows: &[Row]) -> String {
    let cell = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), grouped);
    let mut text = format!(
        "{:<40} {:>13} {:>13} {:>13} {:>13}\n",
        "figure", "bare", "Tarn", "largest", "budget"
    );
    for row in rows {
        let over = row
            .tarn
            .zip(row.budget)
            .is_some_and(|(tarn, budget)| tarn > budget);
        let mark = if over { "  OVER" } else { "" };
        let _ = writeln!(
            text,
            "{:<40} {:>13} {:>13} {:>13} {:>13}{mark}",
            row.name,
            cell(row.bare),
            cell(row.tarn),
            cell(row.max),
            cell(row.budget)
        );
    }
    text
}

/// The rows as JSON, one object a row.
pub fn json(rows: &[Row]) -> String {
    let number =
        |value: Option<u64>| value.map_or_else(|| "null".to_owned(), |value| value.to_string());
    let objects: Vec<String> = rows
        .iter()
        .map(|row| {
            format!(
                "  {{\"name\": \"{}\", \"bare\": {}, \"tarn\": {}, \"max\": {}, \"budget\": {}}}",
                row.name,
                number(row.bare),
                number(row.tarn),
                number(row.max),
                number(row.budget)
            )
        })
        .collect();
    format!("[\n{}\n]\n", objects.join(",\n"))
}

/// `1234567` as `1 234 567`.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bench_lines_are_read_and_others_are_not() {
        let figures = read(
            "BENCH a 1000 1 2 3\nBENCH b 1 2\nBENCH c 1 2 3 x\n(d) BENCH e 1 2 3 4\n",
            None,
        );
        assert_eq!(figures.len(), 1);
        assert_eq!(
            figures["a"],
            Figure {
                iterations: 1000,
                min: 1,
                median: 2,
                max: 3
            }
        );
        assert_eq!(read("(d) BENCH e 1 2 3 4\n", Some("d")).len(), 1);
    }

    #[test]
    fn a_figure_over_its_budget_is_marked() {
        let row = Row {
            name: "x".into(),
            bare: None,
            tarn: Some(61),
            max: None,
            budget: Some(60),
        };
        assert!(table(std::slice::from_ref(&row)).contains("OVER"));
        assert!(
            !table(&[Row {
                tarn: Some(60),
                ..row.clone()
            }])
            .contains("OVER")
        );
        assert!(json(&[row]).contains("\"tarn\": 61"));
        assert_eq!(grouped(1_234_567), "1 234 567");
        assert_eq!(grouped(12), "12");
    }
}
