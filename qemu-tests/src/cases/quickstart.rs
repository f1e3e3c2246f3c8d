//! docs/quickstart.md, command by command, as a newcomer would type it.
//!
//! Each block marked `sh` is run by a shell in the project's folder, in the order of the text. A command that would wait
//! for somebody at the prompt gets `--exec list`: it then boots, answers, and powers off.

use std::process::Command;

use xtask::paths;

use crate::runner::Test;

/// The blocks of the text that are marked `sh`.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        match (&mut open, line) {
            (None, "```sh") => open = Some(String::new()),
            (Some(_), "```") => blocks.extend(open.take()),
            (Some(block), line) => {
                block.push_str(line);
                if line.starts_with("scripts/run-qemu.sh") && !line.contains("--exec") {
                    block.push_str(" --exec list --timeout 600");
                }
                block.push('\n');
            }
            (None, _) => {}
        }
    }
    blocks
}

/// The one test.
pub fn tests() -> Vec<Test> {
    vec![Test::new(
        "quickstart",
        "every command of docs/quickstart.md",
        |_| {
            let text = String::from_utf8(paths::read(&paths::root().join("docs/quickstart.md"))?)
                .map_err(|_| "docs/quickstart.md is not text")?;
            let blocks = blocks(&text);
            if blocks.len() < 6 {
                return Err("docs/quickstart.md has too few commands".into());
            }
            for block in blocks {
                let output = Command::new("sh")
                    .args(["-eu", "-c", &block])
                    .current_dir(paths::root())
                    .output()
                    .map_err(|error| format!("cannot start sh: {error}"))?;
                if !output.status.success() {
                    return Err(format!(
                        "{} in\n{block}{}{}",
                        output.status,
                        String::from_utf8_lossy(&output.stdout),
                        String::from_utf8_lossy(&output.stderr)
                    ));
                }
            }
            Ok(())
        },
    )]
}

#[cfg(test)]
mod tests {
    use super::blocks;

    #[test]
    fn only_marked_blocks_are_commands() {
        let text = "a\n```sh\necho 1\nscripts/run-qemu.sh --system x\n```\n```text\nno\n```\n";
        assert_eq!(
            blocks(text),
            ["echo 1\nscripts/run-qemu.sh --system x --exec list --timeout 600\n"]
        );
    }
}
