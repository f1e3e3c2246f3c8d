//! Commands typed at dom0's prompt by a program: each answer read, each verdict checked.
//!
//! A line that starts with `@` makes the shim end its answer with a line `@ok` or `@error`. Typing waits for the prompt,
//! so a slow machine is not overrun. Used by `run --exec` and by the tests.

use crate::console::Console;

/// dom0's prompt.
pub const PROMPT: &str = "tarn> ";

/// One command's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the command printed, without the echo and the verdict.
    pub text: String,
    /// The verdict was `@ok`.
    pub ok: bool,
}

/// Types `command` at a prompt that is already there, waits for the answer and for the next prompt.
///
/// # Errors
/// The machine stopped, panicked or did not answer in time.
pub fn command(console: &mut Console, command: &str) -> Result<Answer, String> {
    console.send(&format!("@{command}\r"))?;
    let (verdict, text) = console.expect_any(&["\n@ok\n", "\n@error\n"])?;
    console.expect(PROMPT)?;
    Ok(Answer {
        text: answer(&text, command),
        ok: verdict == 0,
    })
}

/// What stands between the echo of `command` and the verdict, without the lines of other domains.
fn answer(text: &str, command: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let echo = format!("@{command}");
    let start = lines
        .iter()
        .rposition(|line| line.ends_with(&echo))
        .map_or(0, |at| at + 1);
    let own = lines[start..].iter().filter(|line| !is_prefixed(line));
    own.map(|line| format!("{line}\n")).collect()
}

/// Whether a line is another domain's: `(NAME) text`.
fn is_prefixed(line: &str) -> bool {
    let name = line
        .strip_prefix('(')
        .and_then(|rest| rest.split_once(") "))
        .map(|(name, _)| name);
    name.is_some_and(|name| {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.@,".contains(c))
    })
}

/// [`command`] that must succeed; gives what it printed.
///
/// # Errors
/// As [`command`], and the command with its answer when it failed.
pub fn must(console: &mut Console, line: &str) -> Result<String, String> {
    let answer = command(console, line)?;
    if answer.ok {
        Ok(answer.text)
    } else {
        Err(format!("'{line}' failed: {}", answer.text.trim()))
    }
}

/// Powers the machine off from the prompt.
///
/// # Errors
/// The machine did not end, or not cleanly.
pub fn power_off(console: &mut Console) -> Result<(), String> {
    console.send("poweroff\r")?;
    console.finish()
}

/// Splits `a; b` into commands, dropping empty ones.
pub fn split(script: &str) -> Vec<String> {
    script
        .split([';', '\n'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_what_follows_the_echo_without_other_domains() {
        let text = "(demo) tick 1\ntarn> @list\nNAME\n(demo) tick 2\n(a b) stays\nDomain-0";
        assert_eq!(answer(text, "list"), "NAME\n(a b) stays\nDomain-0\n");
        assert_eq!(answer("@info", "info"), "");
    }

    #[test]
    fn scripts_split_at_semicolons() {
        assert_eq!(
            split("info; list;;  pool-list "),
            ["info", "list", "pool-list"]
        );
        assert!(split(" ; ").is_empty());
    }
}
