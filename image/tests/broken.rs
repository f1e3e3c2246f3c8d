//! Descriptions that are wrong, one rule each: what `check` says, with its line, and what Tarn says at boot.
//!
//! `tests/broken/*.toml` end in their verdicts: `# check:` lines are the findings, `# boot:` lines what the compiled
//! tree makes the reader say that Tarn uses. TARN_BLESS=1 writes them anew, for reading before they are committed. A
//! machine boots all-at-once.toml and must print its `# boot:` lines (qemu-tests).

mod common;
use std::path::{Path, PathBuf};
use tarn_image::boards;
use tarn_image::check::{at_boot, check};
use tarn_image::compile::compile;
use tarn_image::pack::TARN_AT_MOST;
use tarn_image::read::read;
use tarn_image::source::{Severity, Source};

fn corpus() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken");
    let mut files: Vec<PathBuf> = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    files.sort();
    assert!(files.len() > 30);
    files
}

/// The description without its verdicts, and these.
fn split(text: &str) -> (String, Vec<String>) {
    let is_verdict = |line: &&str| line.starts_with("# check: ") || line.starts_with("# boot: ");
    let verdicts = text.lines().filter(is_verdict).map(str::to_owned).collect();
    let body: Vec<&str> = text.lines().filter(|l| !is_verdict(l)).collect();
    (body.join("\n").trim_end().to_owned() + "\n", verdicts)
}

/// What is said about a description: by `check`, then at boot.
fn verdicts(source: &Source) -> Vec<String> {
    let folder = source.folder.display().to_string() + "/";
    let mut said = Vec::new();
    let checked = check(source, None);
    for finding in &checked.findings {
        let word = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let line = finding.span.as_ref().map_or(0, |s| source.place(s.start).0);
        let message = finding.message.replace(&folder, "");
        said.push(format!(
            "# check: {line}: {word}: {}",
            message.replace('\n', " ")
        ));
    }
    assert!(!checked.is_good(), "{} is not broken", source.name);
    // The same tree as nobody checked it.
    let Some(system) = read(source).0 else {
        return said;
    };
    let Ok(machine) = boards::machine(&system.board) else {
        return said;
    };
    let (compiled, _) = compile(&system, Some(&machine.tree));
    for said_there in at_boot(&machine, &compiled, TARN_AT_MOST).unwrap_or_default() {
        let note = said_there.note;
        said.push(format!("# boot: {note}"));
        // Whoever checks must have been told as much, at least about that place.
        let node = note
            .node
            .replace(": partial tree: /passthrough", "/devices");
        let at = compiled.place(&node, &note.property).unwrap();
        let told = checked
            .findings
            .iter()
            .any(|f| f.span.as_ref() == Some(&at.span));
        assert!(told, "{}: {note} is said at boot only", source.name);
    }
    said
}

#[test]
fn every_broken_description_gets_its_verdicts() {
    let bless = std::env::var_os("TARN_BLESS").is_some();
    let mut wrong = String::new();
    for path in corpus() {
        let text = std::fs::read_to_string(&path).unwrap();
        let (body, wanted) = split(&text);
        let mut source = Source::load(&path).unwrap();
        source.text = body.clone();
        source.folder = common::folder();
        let said = verdicts(&source);
        if bless {
            std::fs::write(&path, format!("{body}\n{}\n", said.join("\n"))).unwrap();
        } else if said != wanted {
            wrong += &format!(
                "{}\n  wanted {wanted:#?}\n  said {said:#?}\n",
                path.display()
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
