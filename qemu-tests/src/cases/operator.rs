//! What an operator types: the sessions of docs/operator.md, word for word, and a storm of random operations.
//!
//! A chapter of the page begins with a comment `machine: gic=2,3 smp=4 config=hogs clock=instructions`, which boots one
//! machine; its blocks ```` ```console ```` are typed at the prompt and what is printed must be what the page shows.
//! `console near=N`: a number with a decimal point may differ by N. `console figures`: any number stands for any other.

use std::time::Duration;

use xtask::console::Console;
use xtask::machine::{Clock, Machine};
use xtask::tree::Config;
use xtask::{exec, paths};

use super::{domain, prompt};
use crate::runner::{Bench, Test};

/// How a block is compared.
#[derive(Clone, Copy)]
enum Compare {
    Exactly,
    Near(f64),
    Figures,
}

/// One command of the page and what it prints.
struct Step {
    command: String,
    answer: Vec<String>,
    compare: Compare,
}

/// One machine and what is typed there.
struct Chapter {
    name: String,
    gics: Vec<u8>,
    smp: u32,
    config: Option<String>,
    clock: Clock,
    steps: Vec<Step>,
}

/// The same kind of page for what the other controller cannot do as shown.
const EIGHT: &str = include_str!("operator-8cpus.md");

fn page() -> Result<String, String> {
    std::fs::read_to_string(paths::root().join("docs/operator.md"))
        .map_err(|error| format!("docs/operator.md: {error}"))
}

/// Every chapter with every controller it names.
pub fn tests() -> Vec<Test> {
    let shown = page().unwrap_or_default();
    let mut tests = Vec::new();
    for chapter in chapters(&shown).into_iter().chain(chapters(EIGHT)) {
        for gic in chapter.gics.clone() {
            let name = chapter.name.clone();
            let test = Test::new(
                format!("operator/{name}-gic{gic}"),
                "docs/operator.md: what it shows is what is printed",
                move |bench| {
                    let mut all = chapters(&page()?).into_iter().chain(chapters(EIGHT));
                    let found = all.find(|c| c.name == name);
                    play(bench, gic, &found.ok_or("the chapter is gone")?)
                },
            );
            tests.push(test.clocked(chapter.clock));
        }
    }
    tests.push(
        Test::new(
            "operator/64-cpus-64-domains",
            "as many as there may be: all are listed, and half of both go into another pool",
            crowd,
        )
        .counted(),
    );
    tests.extend(super::storm::tests());
    tests
}

fn crowd(bench: &mut Bench) -> Result<(), String> {
    let config: String = (1..64)
        .map(|n| domain(&format!("vm{n}"), "guest-hello", 1, 4, "", ""))
        .collect();
    let mut machine = Machine::tarn(3, 64).with_config(config);
    machine.memory = 2048;
    // 64 threads of a host with few CPUs would wait for each other most of the time.
    machine.clock = Clock::Instructions;
    let mut console = bench.start("Tarn", &machine, 300)?;
    prompt(&mut console)?;
    exec::must(&mut console, "pool-create half ncpu=32")?;
    for n in (1..64).step_by(2) {
        exec::must(&mut console, &format!("cpupool-migrate vm{n} half"))?;
    }
    let pools = exec::must(&mut console, "pool-list")?;
    let odd: Vec<String> = (1..64).step_by(2).map(|n| n.to_string()).collect();
    let row = format!("half    32-63  credit2  {}", odd.join(","));
    if !pools.lines().any(|line| line == row) {
        return Err(format!("'pool-list' has no line '{row}':\n{pools}"));
    }
    for (command, rows) in [
        ("list --json", 64),
        ("vcpu-list --json", 64),
        ("cpu-list --json", 64),
        ("cpu-run all midr --json", 64),
    ] {
        let count = exec::must(&mut console, command)?.lines().count();
        if count != rows {
            return Err(format!("'{command}' has {count} rows, not {rows}"));
        }
    }
    exec::power_off(&mut console)
}

fn chapters(page: &str) -> Vec<Chapter> {
    let mut chapters: Vec<Chapter> = Vec::new();
    let mut block = None;
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("<!-- machine: ") {
            chapters.push(chapter(rest.trim_end_matches("-->")));
        } else if let Some(info) = line.strip_prefix("```") {
            block = match (block, info.strip_prefix("console")) {
                (None, Some(rest)) => Some(match rest.trim() {
                    "" => Compare::Exactly,
                    "figures" => Compare::Figures,
                    near => Compare::Near(
                        near.strip_prefix("near=")
                            .and_then(|n| n.parse().ok())
                            .unwrap_or(0.0),
                    ),
                }),
                _ => None,
            };
        } else if let (Some(compare), Some(chapter)) = (block, chapters.last_mut()) {
            if let Some(command) = line.strip_prefix(exec::PROMPT) {
                chapter.steps.push(Step {
                    command: command.trim().to_owned(),
                    answer: Vec::new(),
                    compare,
                });
            } else if let Some(step) = chapter.steps.last_mut() {
                step.answer.push(line.to_owned());
            }
        }
    }
    chapters
}

fn chapter(text: &str) -> Chapter {
    let value = |key: &str| {
        text.split_whitespace()
            .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    };
    Chapter {
        name: value("name").unwrap_or("unnamed").to_owned(),
        gics: value("gic")
            .unwrap_or("3")
            .split(',')
            .filter_map(|n| n.parse().ok())
            .collect(),
        smp: value("smp").and_then(|n| n.parse().ok()).unwrap_or(4),
        config: value("config").map(str::to_owned),
        clock: if value("clock") == Some("instructions") {
            Clock::Instructions
        } else {
            Clock::Host
        },
        steps: Vec::new(),
    }
}

fn play(bench: &mut Bench, gic: u8, chapter: &Chapter) -> Result<(), String> {
    if chapter.steps.is_empty() {
        return Err("the chapter shows no command".into());
    }
    let mut machine = Machine::tarn(gic, chapter.smp);
    machine.clock = chapter.clock;
    if let Some(config) = &chapter.config {
        let file = paths::root().join(format!("examples/configs/{config}.dts"));
        machine.config = Some(Config::load(&file)?);
    }
    let mut console = bench.start("Tarn", &machine, 180)?;
    prompt(&mut console)?;
    // The guests are up before the page's first command.
    if chapter.config.as_deref() == Some("seven") {
        settle(&mut console, "Hello from a guest", 7)?;
    }
    let mut wrong = Vec::new();
    for step in &chapter.steps {
        let answer = exec::command(&mut console, &step.command)?;
        let fails = step.answer.iter().any(|line| line.starts_with("error: "));
        // Whether somebody had to wait for a moment depends on the moment.
        let fixed = |line: &&str| !line.starts_with("note: a vCPU stood still");
        let got: Vec<&str> = answer.text.lines().filter(fixed).collect();
        let want: Vec<&str> = step
            .answer
            .iter()
            .map(String::as_str)
            .filter(fixed)
            .collect();
        let alike = |(got, want): (&&str, &&str)| same(got, want, step.compare);
        if got.len() != want.len() || !got.iter().zip(&want).all(alike) {
            wrong.push(format!(
                "'{}' prints\n{}and the page shows\n{}",
                step.command,
                answer.text,
                step.answer
                    .iter()
                    .map(|line| format!("{line}\n"))
                    .collect::<String>()
            ));
        } else if answer.ok == fails {
            wrong.push(format!("'{}' gave the other verdict", step.command));
        }
    }
    exec::power_off(&mut console)?;
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n"))
    }
}

/// Waits until so many lines with `word` have come, then for a quiet prompt.
fn settle(console: &mut Console, word: &str, count: usize) -> Result<(), String> {
    while console.text().matches(word).count() < count {
        console.expect_within(&[word], Duration::from_secs(60))?;
    }
    console.send("\r")?;
    console.expect(exec::PROMPT).map(|_| ())
}

/// Whether two lines say the same; columns may be wider.
fn same(got: &str, want: &str, compare: Compare) -> bool {
    if got == want {
        return true;
    }
    let (mut a, mut b) = (words(got), words(want));
    let alike = |a: &str, b: &str| match compare {
        Compare::Exactly => false,
        _ if a == b => true,
        // What runs at the moment of the question differs, too.
        Compare::Figures => is_number(a) && is_number(b) || is_state(a) && is_state(b),
        Compare::Near(limit) => match (a.contains('.'), a.parse::<f64>(), b.parse::<f64>()) {
            (true, Ok(a), Ok(b)) => (a - b).abs() <= limit,
            _ => false,
        },
    };
    loop {
        match (a.next(), b.next()) {
            (None, None) => return !matches!(compare, Compare::Exactly),
            (Some(a), Some(b)) if alike(a, b) => {}
            _ => return false,
        }
    }
}

/// Words; what separates fields in JSON separates them, too.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split([' ', ',', ':', '"', '}'])
        .filter(|word| !word.is_empty())
}

fn is_number(word: &str) -> bool {
    let hex = word.strip_prefix("0x").unwrap_or(word);
    let hexadecimal = word.starts_with("0x") && hex.chars().all(|c| c.is_ascii_hexdigit());
    word == "-" || hexadecimal || word.chars().all(|c| c.is_ascii_digit() || c == '.')
}

/// The states of a domain whose only vCPU never sleeps.
fn is_state(word: &str) -> bool {
    ["full-run", "full-contention"].contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_chapters_of_steps() {
        let page = "<!-- machine: name=a gic=2,3 smp=8 config=x -->\n```console near=2\n\
                    tarn> list\nName\ntarn> top\n```\ntext\n```\ntarn> not this\n```\n";
        let found = chapters(page);
        assert_eq!((found.len(), found[0].steps.len()), (1, 2));
        assert_eq!(found[0].gics, [2, 3]);
        assert_eq!(found[0].steps[0].answer, ["Name"]);
    }

    #[test]
    fn numbers_are_compared_as_asked() {
        assert!(same("a  1.0", "a  1.0", Compare::Exactly));
        assert!(!same("a  1.1", "a  1.0", Compare::Exactly));
        assert!(same("hog 49.1", "hog   50.0", Compare::Near(2.0)));
        assert!(!same("hog 46.1", "hog 50.0", Compare::Near(2.0)));
        assert!(!same("hog 3 1.0", "hog 2 1.0", Compare::Near(2.0)));
        assert!(same("hog 3 0x1f", "hog 2 0x20", Compare::Figures));
        assert!(!same("hog x", "hog 2", Compare::Figures));
    }

    #[test]
    fn the_page_is_whole() {
        let page = std::fs::read_to_string(paths::root().join("docs/operator.md")).unwrap();
        let found = chapters(&page);
        assert!(found.len() >= 2 && found.iter().all(|c| !c.steps.is_empty()));
    }
}
