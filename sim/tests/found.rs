//! Scenarios in which random tests once found a mistake, as they were after shrinking.

use tarn_sim::Scenario;
use tarn_sim::engine::{Options, run};

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
            ..Options::default()
        };
        run(&s, &o).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        n += 1;
    }
    assert!(n >= 2);
}
