//! Commands typed at dom0's prompt by a program: each answer read, each verdict checked.
//!
//! A line that starts with `@` makes the shim end its answer with a line `@ok` or `@error`. Typing waits for the prompt,
//! so a slow machine is not overrun. Used by `run --exec` and by the tests.

use crate::console::Console;

/// dom0's prompt.
pub const PROMPT: &str = "tarn> ";

/// How the lines of the control domain begin while another one has the focus.
const UNFOCUSED: &str = "(dom0) ";
/// Ctrl-A three times moves the focus.
const NEXT_FOCUS: &str = "\x01\x01\x01";
/// What Tarn says when the focus moves, before the name.
const MOVED: &str = "*** Console input to ";
/// Most domains that the focus passes on its way back.
const ROUND: usize = 130;

/// One command's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the command printed, without the echo and the verdict.
    pub text: String,
    /// The verdict was `@ok`.
    pub ok: bool,
}

/// Types `command` at a prompt that is already there, waits for the answer and for the next prompt. A command that moves
/// the console's focus away is followed by its way back: what is typed next is meant for the prompt, too.
///
/// # Errors
/// The machine stopped, panicked or did not answer in time.
pub fn command(console: &mut Console, command: &str) -> Result<Answer, String> {
    console.send(&format!("@{command}\r"))?;
    let verdicts = [
        "\n@ok\n",
        "\n@error\n",
        "\n(dom0) @ok\n",
        "\n(dom0) @error\n",
    ];
    let (verdict, text) = console.expect_any(&verdicts)?;
    if verdict >= 2 {
        regain(console)?;
    }
    console.expect(PROMPT)?;
    Ok(Answer {
        text: answer(&text, command),
        ok: verdict % 2 == 0,
    })
}

/// Moves the focus on until the control domain has it, and asks for a fresh prompt.
fn regain(console: &mut Console) -> Result<(), String> {
    for _ in 0..ROUND {
        console.send(NEXT_FOCUS)?;
        console.expect(MOVED)?;
        if console.rest_of_line()?.starts_with("dom0 ") {
            return console.send("\r");
        }
    }
    Err("the focus does not come back to dom0".into())
}

/// What stands between the echo of `command` and the verdict, without the lines of other domains.
fn answer(text: &str, command: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let echo = format!("@{command}");
    let start = lines
        .iter()
        .rposition(|line| line.ends_with(&echo))
        .map_or(0, |at| at + 1);
    let mut own: Vec<&str> = Vec::new();
    // The line that stands last was left unfinished when another source spoke, and is printed again.
    let mut cut = false;
    for line in &lines[start..] {
        let line = line.strip_prefix(UNFOCUSED).unwrap_or(line);
        if is_prefixed(line) || is_log(line) || line.starts_with(MOVED) {
            cut = true;
            continue;
        }
        if cut && own.last().is_some_and(|last| line.starts_with(last)) {
            own.pop();
        }
        cut = false;
        own.push(line);
    }
    own.iter().map(|line| format!("{line}\n")).collect()
}

/// Whether a line is Tarn's own: `[    1.000000] cpu0: text`.
fn is_log(line: &str) -> bool {
    let stamp = line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] cpu"));
    stamp.is_some_and(|(stamp, _)| stamp.trim().parse::<f64>().is_ok())
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
        let cut = "@list\nNAME  ID\ndem\n[    1.5] cpu0: log\n(x) tick\ndemo  1\ndemo  1";
        assert_eq!(answer(cut, "list"), "NAME  ID\ndemo  1\ndemo  1\n");
        let moved = "@console demo\n*** Console input to demo (Ctrl-A)\n(dom0) input goes to demo";
        assert_eq!(answer(moved, "console demo"), "input goes to demo\n");
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
