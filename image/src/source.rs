//! A description's text, places in it, and findings about them.
//!
//! A finding has a place whenever there is one: file, line and column are what a person needs first.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Bytes of the text.
pub type Span = Range<usize>;

/// A description as it was read.
#[derive(Clone, Debug)]
pub struct Source {
    /// As the user named it.
    pub name: String,
    /// Its text.
    pub text: String,
    /// What relative paths in it start from.
    pub folder: PathBuf,
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// The path and the system's reason.
    pub fn load(path: &Path) -> Result<Source, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        Ok(Source {
            name: path.display().to_string(),
            text,
            folder: path.parent().map_or_else(PathBuf::new, Path::to_path_buf),
        })
    }

    /// Line and column of a byte, both from 1; columns count characters.
    pub fn place(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let start = before.rfind('\n').map_or(0, |n| n + 1);
        (
            before.matches('\n').count() + 1,
            before[start..].chars().count() + 1,
        )
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// No image is made.
    Error,
    /// Tarn would go on without it.
    Warning,
}

/// Something that is not right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// Where.
    pub span: Option<Span>,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Finding {
    /// One that prevents the image.
    pub fn error(span: &Span, message: impl Into<String>) -> Finding {
        Finding {
            severity: Severity::Error,
            span: Some(span.clone()),
            message: message.into(),
        }
    }
}

/// Findings with their source, as people read them.
pub struct Report<'a>(pub &'a Source, pub &'a [Finding]);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report(source, findings) = self;
        for finding in *findings {
            let word = match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            let Some(span) = &finding.span else {
                writeln!(f, "{}: {word}: {}", source.name, finding.message)?;
                continue;
            };
            let (line, column) = source.place(span.start);
            writeln!(
                f,
                "{}:{line}:{column}: {word}: {}",
                source.name, finding.message
            )?;
            let text = source.text.lines().nth(line - 1).unwrap_or("");
            let on_line = text.chars().count().saturating_sub(column - 1);
            let marked = source.text.get(span.clone()).unwrap_or("");
            let marked = marked.lines().next().unwrap_or("").chars().count();
            let number = line.to_string();
            writeln!(f, " {number} | {text}")?;
            writeln!(
                f,
                " {:w$} | {:c$}{}",
                "",
                "",
                "^".repeat(marked.clamp(1, on_line.max(1))),
                w = number.len(),
                c = column - 1
            )?;
        }
        Ok(())
    }
}

/// The known word nearest to `word`, if it is near enough to be a slip.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance * 2 <= candidate.chars().count().max(2))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `, did you mean "NEAREST"?`, or the whole list.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(word, known.clone()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => {
            let mut all: Vec<&str> = known.into_iter().collect();
            all.sort_unstable();
            if all.is_empty() {
                "there is none".into()
            } else {
                format!("there are: {}", all.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_points_at_its_place() {
        let source = Source {
            name: "t.toml".into(),
            text: "a = 1\nü = \"two\"\n".into(),
            folder: PathBuf::new(),
        };
        let at = source.text.find("\"two\"").unwrap();
        let finding = Finding::error(&(at..at + 5), "must be a number");
        assert_eq!(
            Report(&source, &[finding]).to_string(),
            "t.toml:2:5: error: must be a number\n 2 | ü = \"two\"\n   |     ^^^^^\n"
        );
    }

    #[test]
    fn the_nearest_name_is_found_and_far_ones_are_not() {
        assert_eq!(nearest("vcpu", ["vcpus", "pool"]), Some("vcpus"));
        // Letters exchanged are one slip.
        assert_eq!(nearest("/sco", ["/psci", "/soc"]), Some("/soc"));
        assert_eq!(nearest("frobnicate", ["vcpus", "pool"]), None);
        assert_eq!(did_you_mean("x", ["b1", "a1"]), "there are: a1, b1");
    }
}
