//! Every deliberate mistake is noticed: by an invariant or by a bar of a public scenario.
//!
//! One test, since the mistake that is active is one for the whole process.

use std::path::PathBuf;
use tarn_sched::mutant::{Mutant, activate};
use tarn_sim::Scenario;
use tarn_sim::engine::{Options, run};
use tarn_sim::report::Report;

/// Where a mistake shows, to save time; if it does not show there, it has not been noticed.
fn place(m: Mutant) -> &'static [&'static str] {
    match m {
        Mutant::BoostFree => &["abusers"],
        Mutant::CarryUnlimited => &["audio", "servers"],
        Mutant::ResetSkipped => &["audio", "audio267"],
        Mutant::KickLost => &["audio"],
        Mutant::AffinityIgnored => &["affinity"],
        Mutant::RefillUnpaid => &["abusers", "audio267"],
        Mutant::TimerForgotten => &["equal"],
        Mutant::TicklessForgotten => &[
            "many",
            "moves",
            "servers",
            "smpgroups",
            "storm",
            "storm2",
            "caps",
        ],
        Mutant::LimitSwallows => &["unboosted"],
        Mutant::DebtForgiven => &["hogs"],
        Mutant::StormBoosted => &["storm"],
        Mutant::CrowdForAll => &["crowded"],
        Mutant::IntervalEndless => &["servers", "many"],
        Mutant::WakeLost => &["affinity", "servers"],
        Mutant::WeightIgnored => &["hogs"],
        Mutant::BoostIgnored => &["audio", "servers"],
        Mutant::FreeTimePaid => &["freecpu"],
        Mutant::ClaimEndless => &["claims"],
        Mutant::TurnEndless => &["turns", "abusers3"],
        Mutant::AgeIgnored => &["turns"],
        Mutant::SoftIgnored | Mutant::NeverHome => &["soft"],
    }
}

/// What is wrong with a scenario, if anything. Bars relative to another scheduler are left out.
fn wrong(name: &str) -> Option<String> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("scenarios/{name}.toml"));
    let mut s = Scenario::parse(&std::fs::read_to_string(file).unwrap()).unwrap();
    s.bars.retain(|b| b.versus.is_none());
    let o = Options {
        check_every: 64,
        ..Options::default()
    };
    let outcome = match std::panic::catch_unwind(|| run(&s, &o)) {
        Ok(Ok(o)) => o,
        Ok(Err(e)) => return Some(e),
        Err(_) => return Some("panic".into()),
    };
    let verdicts = Report::new(&s, &outcome).judge(|_, _| Ok(1.0)).unwrap();
    verdicts.iter().find(|v| !v.ok).map(|v| v.text())
}

#[test]
fn every_mutant_is_caught() {
    let mut missed = Vec::new();
    for m in Mutant::ALL {
        activate(Some(m));
        let found = place(m)
            .iter()
            .find_map(|s| wrong(s).map(|w| format!("{s}: {w}")));
        activate(None);
        match found {
            Some(w) => println!("{m:?} caught by {w}"),
            None => missed.push(m),
        }
    }
    assert!(missed.is_empty(), "not noticed: {missed:?}");
    for m in Mutant::ALL {
        for s in place(m) {
            assert_eq!(wrong(s), None, "{s} without a mistake");
        }
    }
}
