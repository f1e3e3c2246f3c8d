//! Parameters by name, applied to whatever has them: the same loop and the same words at boot and on the host.
//!
//! Which parameters there are, the caller's `with` knows; one that limits another may come after it in the tree. What
//! does not fit is left out and said, never half applied.

use super::{Param, ParamValue};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Display;

impl Param<'_> {
    /// Its value as a number: a flag is 1.
    pub fn number(&self) -> Option<u64> {
        match self.value {
            ParamValue::Flag => Some(1),
            ParamValue::Number(n) => Some(n),
            ParamValue::Text(_) => None,
        }
    }
}

/// `start` with all of `params` that `with` takes, in whatever order it takes them; and of each other one its name
/// (without "tarn,") and why.
pub fn apply<'a, T, E: Display>(
    params: &[Param<'a>],
    start: T,
    with: impl Fn(&T, &str, u64) -> Result<T, E>,
) -> (T, Vec<(&'a str, String)>) {
    let mut now = start;
    let mut left: Vec<&Param<'a>> = params.iter().collect();
    loop {
        let before = left.len();
        left.retain(|p| match p.number().map(|n| with(&now, p.name, n)) {
            Some(Ok(next)) => {
                now = next;
                false
            }
            _ => true,
        });
        if left.len() == before {
            break;
        }
    }
    let wrong = left.iter().map(|p| {
        let why = match p.number().map(|n| with(&now, p.name, n)) {
            Some(Err(e)) => e.to_string(),
            _ => "it must be a number".into(),
        };
        (p.name, why)
    });
    let wrong = wrong.collect();
    (now, wrong)
}

/// What is said of a scheduler that is not among `known`.
pub fn no_such_scheduler<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> String {
    let known: Vec<&str> = known.collect();
    format!(
        "no scheduler is called \"{name}\"; there are: {}",
        known.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two numbers, of which the first must not exceed the second.
    fn with(at: &(u64, u64), name: &str, n: u64) -> Result<(u64, u64), &'static str> {
        let next = match name {
            "low" => (n, at.1),
            "high" => (at.0, n),
            _ => return Err("no such parameter"),
        };
        if next.0 > next.1 {
            return Err("low is above high");
        }
        Ok(next)
    }

    fn param(name: &'static str, value: ParamValue<'static>) -> Param<'static> {
        Param { name, value }
    }

    #[test]
    fn order_does_not_matter_and_what_does_not_fit_is_said() {
        let list = [
            param("low", ParamValue::Number(7)),
            param("high", ParamValue::Number(9)),
            param("hgih", ParamValue::Flag),
            param("high", ParamValue::Text("x")),
        ];
        let (now, wrong) = apply(&list, (0, 1), with);
        assert_eq!(now, (7, 9));
        assert_eq!(
            wrong,
            [
                ("hgih", "no such parameter".to_string()),
                ("high", "it must be a number".to_string())
            ]
        );
        let (now, wrong) = apply(&list[..1], (0, 1), with);
        assert_eq!((now, wrong[0].1.as_str()), ((0, 1), "low is above high"));
    }
}
