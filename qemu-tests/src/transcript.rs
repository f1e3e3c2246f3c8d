//! What a test guest said, read from a console: the same words natively and as a domain of Tarn.
//!
//! A guest prints `CASE name: value` lines, which must not depend on where it runs, `TARN name: value` lines only as a
//! domain, and `TEST-END cases=N fails=M` last. A value that the guest itself knows to be wrong ends in ` FAIL want X`.
//! As a domain each line carries the prefix `(NAME) `; Tarn's own lines stand between them and are dropped.

/// The last line of a transcript begins with it.
pub const END: &str = "TEST-END ";
/// A guest that met an exception it did not expect says one of these and powers off.
pub const DEATHS: [&str; 2] = ["GUEST-FATAL", "GUEST-PANIC"];

/// What one run said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    /// `CASE` lines in order.
    pub cases: Vec<String>,
    /// `TARN` lines in order.
    pub own: Vec<String>,
    /// The closing line, if there was one.
    pub end: Option<String>,
}

impl Transcript {
    /// Reads a console; `domain` is the prefix's name, `None` for a native run.
    pub fn read(console: &str, domain: Option<&str>) -> Self {
        let prefix = domain.map_or_else(String::new, |name| format!("({name}) "));
        let mut transcript = Self::default();
        for line in console.lines() {
            let Some(line) = line.strip_prefix(&prefix).map(str::trim_end) else {
                continue;
            };
            if line.starts_with("CASE ") {
                transcript.cases.push(line.to_owned());
            } else if line.starts_with("TARN ") {
                transcript.own.push(line.to_owned());
            } else if line.starts_with(END) {
                transcript.end = Some(line.to_owned());
            }
        }
        transcript
    }

    /// Whether it is whole and every value is as the guest wants it.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub fn verify(&self) -> Result<(), String> {
        let end = self.end.as_deref().ok_or("the transcript has no end")?;
        let number = |key: &str| {
            end.split_whitespace()
                .find_map(|word| word.strip_prefix(key)?.parse::<usize>().ok())
        };
        let (cases, fails) = number("cases=")
            .zip(number("fails="))
            .ok_or_else(|| format!("no counts in '{end}'"))?;
        let wrong: Vec<&str> = self
            .cases
            .iter()
            .chain(&self.own)
            .filter(|line| line.contains(" FAIL want "))
            .map(String::as_str)
            .collect();
        if fails != 0 || !wrong.is_empty() {
            return Err(format!(
                "the guest counts {fails} failures:\n        {}",
                wrong.join("\n        ")
            ));
        }
        let seen = self.cases.len() + self.own.len();
        if cases == 0 || cases > seen {
            return Err(format!(
                "the guest counts {cases} cases and the console shows {seen}"
            ));
        }
        Ok(())
    }

    /// Whether `self` (native) and `other` (as a domain) say the same.
    ///
    /// # Errors
    /// The first lines that differ.
    pub fn same_as(&self, other: &Self) -> Result<(), String> {
        for (index, (native, domain)) in self.cases.iter().zip(&other.cases).enumerate() {
            if native != domain {
                return Err(format!(
                    "case {} differs\n        native: {native}\n        domain: {domain}",
                    index + 1
                ));
            }
        }
        if self.cases.len() != other.cases.len() {
            return Err(format!(
                "{} cases natively and {} as a domain",
                self.cases.len(),
                other.cases.len()
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NATIVE: &str = "noise\nCASE a: 1\nCASE b: 2\nTEST-END cases=2 fails=0\n";
    const DOMAIN: &str = "[    0.001000] cpu0: start\n(t) CASE a: 1\ntarn> \n(t) CASE b: 2\n(t) TARN c: 3\n(t) TEST-END cases=3 fails=0\n";

    #[test]
    fn prefixes_go_and_both_say_the_same() {
        let (native, domain) = (
            Transcript::read(NATIVE, None),
            Transcript::read(DOMAIN, Some("t")),
        );
        assert_eq!(native.cases, ["CASE a: 1", "CASE b: 2"]);
        assert_eq!(domain.own, ["TARN c: 3"]);
        native.verify().unwrap();
        domain.verify().unwrap();
        native.same_as(&domain).unwrap();
    }

    #[test]
    fn differences_and_failures_are_found() {
        let native = Transcript::read(NATIVE, None);
        let other = Transcript::read(&NATIVE.replace("b: 2", "b: 3"), None);
        assert!(native.same_as(&other).unwrap_err().contains("case 2"));
        let short = Transcript::read("CASE a: 1\nTEST-END cases=1 fails=0\n", None);
        assert!(native.same_as(&short).is_err());
        assert!(
            Transcript::read("CASE a: 1 FAIL want 2\nTEST-END cases=1 fails=1", None)
                .verify()
                .is_err()
        );
        assert!(
            Transcript::read("CASE a: 1 FAIL want 2\nTEST-END cases=1 fails=0", None)
                .verify()
                .is_err()
        );
        assert!(Transcript::read("CASE a: 1\n", None).verify().is_err());
        assert!(
            Transcript::read("TEST-END cases=0 fails=0\n", None)
                .verify()
                .is_err()
        );
        assert!(
            Transcript::read("CASE a: 1\nTEST-END cases=2 fails=0\n", None)
                .verify()
                .is_err()
        );
    }
}
