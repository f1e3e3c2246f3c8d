//! Every deliberate mistake is noticed: by an invariant or by a bar of a public scenario.
//!
//! One test, since the mistake that is active is one for the whole process.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use tarn_sched::mutant::{Mutant, activate};
use tarn_sim::Scenario;
use tarn_sim::engine::{Options, Outcome, run};
use tarn_sim::report::Report;
use tarn_sim::scenario::Bar;

/// Where a mistake shows, to save time; if it does not show there, it has not been noticed.
fn place(m: Mutant) -> &'static [&'static str] {
    match m {
        Mutant::BoostFree | Mutant::SwitchEats => &["switchtime"],
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
        Mutant::StaleProgress => &["audio267"],
        Mutant::DeferralKept => &["stormmask"],
        Mutant::ResetForgets => &["refill"],
        Mutant::LiteralBuckets => &["abusers"],
        Mutant::CrowdUnseen => &["light18"],
        Mutant::CapUndrained => &["caps"],
        Mutant::GroupKickLost => &["groupaudio"],
        Mutant::BudgetEndless => &["rtds"],
    }
}

/// What other schedulers reach where no mistake is made, by scenario and scheduler.
type Others = HashMap<(String, String), Outcome>;

/// What is wrong with a scenario, if anything. Bars relative to another scheduler are asked last: they need its run, too.
fn wrong(name: &str, m: Option<Mutant>, others: &mut Others) -> Option<String> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("scenarios/{name}.toml"));
    let mut s = Scenario::parse(&std::fs::read_to_string(file).unwrap()).unwrap();
    let o = Options {
        check_every: 64,
        ..Options::default()
    };
    activate(m);
    let outcome = std::panic::catch_unwind(|| run(&s, &o));
    activate(None);
    let outcome = match outcome {
        Ok(Ok(o)) => o,
        Ok(Err(e)) => return Some(e),
        Err(_) => return Some("panic".into()),
    };
    let (relative, own): (Vec<Bar>, _) = s.bars.drain(..).partition(|b| b.versus.is_some());
    [own, relative].into_iter().find_map(|bars| {
        s.bars = bars;
        let verdicts = Report::new(&s, &outcome).judge(|sched, bar| {
            let key = (name.to_string(), sched.to_string());
            let base = others.entry(key).or_insert_with(|| {
                let o = Options {
                    sched: Some(sched.into()),
                    ..Options::default()
                };
                run(&s, &o).unwrap()
            });
            Ok(Report::new(&s, base).metric(bar).unwrap())
        });
        let verdicts = verdicts.unwrap();
        verdicts.iter().find(|v| !v.ok).map(|v| v.text())
    })
}

#[test]
fn every_mutant_is_caught() {
    let (mut missed, mut others) = (Vec::new(), Others::new());
    for m in Mutant::ALL {
        let found = place(m)
            .iter()
            .find_map(|s| wrong(s, Some(m), &mut others).map(|w| format!("{s}: {w}")));
        match found {
            Some(w) => println!("{m:?} caught by {w}"),
            None => missed.push(m),
        }
    }
    assert!(missed.is_empty(), "not noticed: {missed:?}");
    let places: BTreeSet<_> = Mutant::ALL.into_iter().flat_map(place).collect();
    for s in places {
        assert_eq!(wrong(s, None, &mut others), None, "{s} without a mistake");
    }
}
