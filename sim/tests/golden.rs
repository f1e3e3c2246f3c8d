//! The schedule of each public scenario, as a hash: who ran where from when, over its first two seconds.
//!
//! A change of the scheduler that is meant to change decisions changes these: run with `TARN_BLESS=1`, look at the difference
//! of `golden.txt`, and commit it. A change that is not meant to must leave them alone, on every host.

use std::path::PathBuf;
use tarn_sim::Scenario;
use tarn_sim::engine::{Options, run};

#[test]
fn schedules_are_what_they_were() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut names: Vec<String> = std::fs::read_dir(root.join("scenarios"))
        .unwrap()
        .filter_map(|e| e.unwrap().file_name().into_string().ok())
        .filter_map(|n| n.strip_suffix(".toml").map(str::to_string))
        .collect();
    names.sort();
    let mut text = String::new();
    for name in &names {
        let file = root.join(format!("scenarios/{name}.toml"));
        let mut s = Scenario::parse(&std::fs::read_to_string(file).unwrap()).unwrap();
        s.duration = s.duration.min(2_000_000_000);
        let o = run(&s, &Options::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
        text += &format!("{name:<12} {:016x}\n", o.hash);
    }
    let golden = root.join("tests/golden.txt");
    if std::env::var_os("TARN_BLESS").is_some() {
        std::fs::write(&golden, &text).unwrap();
    }
    let known = std::fs::read_to_string(&golden).unwrap_or_default();
    let changed: Vec<&str> = text
        .lines()
        .filter(|l| !known.lines().any(|k| k == *l))
        .collect();
    assert!(
        changed.is_empty() && known.lines().count() == names.len(),
        "other schedules than before (TARN_BLESS=1 if that is meant):\n{}",
        changed.join("\n")
    );
}
