//! The checked-in limits of the benchmarks: `name = max` lines in benches/budgets.toml, compared with a run.
//!
//! Only what such a file needs of TOML is read: comments, blank lines, `[section]` lines (a prefix `section.` for the
//! names after them) and whole numbers with `_`. A name without a budget is reported, not refused; a budget without a
//! figure is a failure, so that a benchmark cannot vanish unnoticed.

use std::collections::BTreeMap;

/// Limits by name.
pub type Budgets = BTreeMap<String, u64>;

/// Reads the file's text.
///
/// # Errors
/// The line that is not `name = number`.
pub fn parse(text: &str) -> Result<Budgets, String> {
    let mut budgets = Budgets::new();
    let mut section = String::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or("").trim();
        if line.is_empty() {
            continue;
        }
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            section = format!("{name}.");
            continue;
        }
        let entry = line.split_once('=').and_then(|(name, number)| {
            Some((name.trim(), number.trim().replace('_', "").parse().ok()?))
        });
        let (name, number) = entry
            .ok_or_else(|| format!("budgets line {}: not `name = number`: {line}", index + 1))?;
        if budgets.insert(format!("{section}{name}"), number).is_some() {
            return Err(format!(
                "budgets line {}: '{section}{name}' is there twice",
                index + 1
            ));
        }
    }
    Ok(budgets)
}

/// What is over its budget or has no figure, in words.
pub fn check(budgets: &Budgets, figures: &BTreeMap<String, u64>) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, limit) in budgets {
        match figures.get(name) {
            Some(figure) if figure > limit => {
                complaints.push(format!("{name}: {figure} is over its budget of {limit}"))
            }
            Some(_) => {}
            None => complaints.push(format!("{name}: has a budget ({limit}) and no figure")),
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sections_comments_and_underscores() {
        let budgets = parse("# all\nboot = 1_500_000\n[gic3]\nhypercall = 60 # target\n").unwrap();
        assert_eq!(budgets["boot"], 1_500_000);
        assert_eq!(budgets["gic3.hypercall"], 60);
        assert!(parse("a = b").is_err());
        assert!(parse("a = 1\na = 2").is_err());
    }

    #[test]
    fn over_and_missing_are_told_and_at_the_limit_passes() {
        let budgets = parse("a = 1\nb = 2\nc = 3").unwrap();
        let figures = [
            ("a".to_owned(), 1),
            ("b".to_owned(), 3),
            ("d".to_owned(), 9),
        ]
        .into();
        let complaints = check(&budgets, &figures);
        assert_eq!(complaints.len(), 2);
        assert!(complaints[0].contains("b: 3") && complaints[1].contains("c:"));
    }
}
