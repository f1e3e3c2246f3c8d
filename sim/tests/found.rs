//! Scenarios in which random tests once found a mistake, as they were after shrinking. What is recorded of them replays.

use tarn_sim::engine::{Options, run};
use tarn_sim::{Scenario, replay};

#[test]
fn what_was_found_once_stays_mended() {
    let dir = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/found");
    let mut n = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let s = Scenario::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let o = Options {
            check_every: 1,
            lenient: true,
            record: 1 << 17,
            ..Options::default()
        };
        let o = run(&s, &o).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for t in replay::replayable(&o.records) {
            let v = replay::replay(&t);
            assert!(v.same, "{}: {}", path.display(), v.text);
        }
        n += 1;
    }
    assert!(n >= 9);
}
