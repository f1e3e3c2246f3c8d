//! A recording replays exactly, and a recording that has been tampered with does not.

use std::path::PathBuf;
use tarn_abi::trace::{Op, Record};
use tarn_sim::engine::{Options, run};
use tarn_sim::{Scenario, replay};

fn recorded(name: &str, millis: u64) -> Vec<replay::Trace> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("scenarios/{name}.toml"));
    let mut s = Scenario::parse(&std::fs::read_to_string(file).unwrap()).unwrap();
    s.duration = millis * 1_000_000;
    let o = Options {
        record: 1 << 17,
        ..Options::default()
    };
    let o = run(&s, &o).unwrap();
    // As a console would show it, among other lines.
    let text = format!("booting\n{}bye, no trace of it\n", replay::text(&o.records));
    replay::read(&text).unwrap()
}

#[test]
fn every_kind_of_scenario_replays() {
    for name in [
        "abusers",
        "affinity",
        "audio",
        "caps",
        "groupaudio",
        "many",
        "moves",
        "nested",
        "rtds",
        "smpgroups",
        "storm",
    ] {
        for t in recorded(name, 700) {
            let v = replay::replay(&t);
            assert!(v.same && v.decisions > 100, "{name}: {}", v.text);
        }
    }
}

#[test]
fn a_changed_answer_and_a_changed_question_are_found() {
    let mut t = recorded("audio", 300).remove(0);
    let at = (0..t.records.len())
        .rev()
        .find(|&i| t.records[i].op() == Some(Op::Pick))
        .unwrap();
    let whole = t.records[at];
    t.records[at] = Record([
        whole.0[0],
        whole.0[1],
        whole.0[2],
        whole.0[3] ^ 1,
        whole.0[4],
        whole.0[5],
    ]);
    let v = replay::replay(&t);
    assert!(
        !v.same && v.text.contains(&format!("record {at}: it is now")),
        "{}",
        v.text
    );
    t.records[at] = whole;
    assert!(replay::replay(&t).same);
    let wake = (0..at)
        .rev()
        .find(|&i| t.records[i].op() == Some(Op::Wake))
        .unwrap();
    t.records.remove(wake);
    let v = replay::replay(&t);
    assert!(!v.same, "{}", v.text);
    t.records.remove(0);
    assert!(!replay::replay(&t).same, "without its beginning");
}

#[test]
fn what_is_no_recording_is_refused() {
    for (text, part) in [
        ("nothing", "no records"),
        ("trace 0 1 0 0 0 0 0 0\n", "where 0 should be"),
        ("trace 0 0 0 0 0\n", "line 1"),
        ("trace 0 0 0 0 0 0 0 x\n", "line 1"),
    ] {
        let e = replay::read(text).err().unwrap();
        assert!(e.contains(part), "{e}");
    }
    // Damaged in a way that still parses: told, not fallen over.
    let bad = "trace 0 0 0 10000ff00 0 0 0 0\n";
    assert!(!replay::replay(&replay::read(bad).unwrap()[0]).same);
}
