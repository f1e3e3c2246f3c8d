//! Every public scenario clears its bars, and a run is a function of scenario, scheduler and seed alone.

use std::path::PathBuf;
use tarn_sim::engine::{Options, Outcome, run};
use tarn_sim::report::Report;
use tarn_sim::{Scenario, picture};

fn all() -> Vec<(String, Scenario)> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut v: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "toml"))
        .map(|p| {
            let text = std::fs::read_to_string(&p).unwrap();
            let name = p.file_stem().unwrap().to_string_lossy().into_owned();
            (
                name.clone(),
                Scenario::parse(&text).unwrap_or_else(|e| panic!("{name}: {e}")),
            )
        })
        .collect();
    v.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(v.len() >= 10);
    v
}

fn with(s: &Scenario, sched: &str) -> Outcome {
    run(
        s,
        &Options {
            sched: Some(sched.into()),
            ..Options::default()
        },
    )
    .unwrap_or_else(|e| panic!("{}: {e}", s.name))
}

#[test]
fn the_bars_are_cleared() {
    let mut failed = Vec::new();
    for (name, s) in all() {
        let o = run(&s, &Options::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let r = Report::new(&s, &o);
        let verdicts = r
            .judge(|sched, bar| {
                let base = with(&s, sched);
                Ok(Report::new(&s, &base).metric(bar).unwrap())
            })
            .unwrap();
        failed.extend(
            verdicts
                .iter()
                .filter(|v| !v.ok)
                .map(|v| format!("{name}: {}", v.text())),
        );
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn the_invariants_hold_under_every_scheduler() {
    for (name, mut s) in all() {
        s.duration = 2_000_000_000;
        for sched in ["rr", "plain", "credit1", "eevdf", "noboost"] {
            let o = run(
                &s,
                &Options {
                    sched: Some(sched.into()),
                    check_every: 64,
                    ..Options::default()
                },
            );
            o.unwrap_or_else(|e| panic!("{name} with {sched}: {e}"));
        }
    }
}

#[test]
fn a_run_repeats_exactly_and_a_seed_matters() {
    let (_, mut s) = all().into_iter().find(|(n, _)| n == "servers").unwrap();
    s.duration = 1_000_000_000;
    let a = run(&s, &Options::default()).unwrap();
    let b = run(&s, &Options::default()).unwrap();
    assert_eq!(a.hash, b.hash);
    assert_eq!(Report::new(&s, &a).json(&[]), Report::new(&s, &b).json(&[]));
    let c = run(
        &s,
        &Options {
            seed: Some(999),
            ..Options::default()
        },
    )
    .unwrap();
    assert_ne!(a.hash, c.hash);
}

#[test]
fn pictures_show_every_vcpu() {
    let (_, mut s) = all().into_iter().find(|(n, _)| n == "audio").unwrap();
    s.duration = 200_000_000;
    let o = run(
        &s,
        &Options {
            trace: true,
            ..Options::default()
        },
    )
    .unwrap();
    let r = Report::new(&s, &o);
    let svg = picture::gantt(&r, 0, 50_000_000);
    assert!(
        svg.matches("<rect").count() > 20
            && svg.contains("audio on cpu0")
            && svg.ends_with("</svg>\n")
    );
    assert!(picture::latency(&r).contains("polyline"));
    let trace = picture::perfetto(&r);
    assert_eq!(trace.matches('{').count(), trace.matches('}').count());
    assert!(trace.contains("\"name\":\"hog0\""));
}

#[test]
fn every_documented_field_is_in_the_report() {
    let (_, mut s) = all().into_iter().find(|(n, _)| n == "groupaudio").unwrap();
    s.duration = 200_000_000;
    let o = run(&s, &Options::default()).unwrap();
    let r = Report::new(&s, &o);
    let json = r.json(&r.judge(|_, _| Ok(1.0)).unwrap());
    let docs = include_str!("../../docs/scenarios.md");
    let (_, section) = docs.split_once("## The report (`--json`)").unwrap();
    // Every other piece between backquotes is a field.
    let fields: Vec<&str> = section.split('`').skip(1).step_by(2).collect();
    assert!(fields.len() > 60, "{}", fields.len());
    for f in fields {
        assert!(json.contains(&format!("\"{f}\":")), "{f} is not in\n{json}");
    }
}

/// Two domains of a group have a source of the same name, in another place of their lists, and one that has only a number.
#[test]
fn a_group_has_the_sources_of_its_members_by_name() {
    let irq = |name: &str| {
        format!(
            "[[domain.vcpu.irq]]\n{name}period = \"10ms\"\nhandler = \"10us\"\nwork = \"100us\"\n"
        )
    };
    let (disk, net, other) = (irq("name = \"disk\"\n"), irq("name = \"net\"\n"), irq(""));
    let text = format!(
        "duration = \"95ms\"\n[[pool]]\n[[group]]\nname = \"g\"\n[[domain]]\nname = \"a\"\ngroup = \"g\"\n[[domain.vcpu]]\n{disk}{net}[[domain]]\nname = \"b\"\ngroup = \"g\"\n[[domain.vcpu]]\n{other}{disk}"
    );
    let s = Scenario::parse(&text).unwrap();
    let o = run(&s, &Options::default()).unwrap();
    let r = Report::new(&s, &o);
    let of = r.groups[0].sources.iter();
    let of: Vec<_> = of.map(|l| (l.name.as_str(), l.fired, l.wake.n)).collect();
    assert_eq!(of, [("disk", 20, 20), ("net", 10, 10)]);
}

/// Published: up to 98 % of a CPU stolen from tick-sampled credit (Zhou et al. 2011, arXiv 1103.0759).
#[test]
fn a_tick_dodger_robs_whoever_samples() {
    let (_, s) = all().into_iter().find(|(n, _)| n == "tick").unwrap();
    let stolen = |sched: &str| {
        let o = with(&s, sched);
        Report::new(&s, &o).vcpus[0].share
    };
    assert!(stolen("credit1") > 0.9, "{}", stolen("credit1"));
    assert!(stolen("plain") < 0.501 && stolen("credit2") < 0.501);
}

/// Published: boosting cuts the average wake latency under load at least tenfold (KVM pvsched, December 2023).
#[test]
fn boosts_cut_the_mean_wake_latency_tenfold() {
    for name in ["audio", "audio267", "servers", "many"] {
        let (_, s) = all().into_iter().find(|(n, _)| n == name).unwrap();
        let mean = |sched: &str| {
            let o = with(&s, sched);
            let open = o.vcpus.iter().filter(|v| !v.hog);
            let wakes: Vec<u64> = open
                .flat_map(|v| v.figures.all().flat_map(|s| s.wakes.iter().copied()))
                .collect();
            wakes.iter().sum::<u64>() / wakes.len() as u64
        };
        let (ours, plain) = (mean("credit2"), mean("plain"));
        assert!(ours * 10 <= plain, "{name}: {ours} ns against {plain} ns");
    }
}

/// G6 of the specification: an interrupt found no boost credit; at the next grant its vCPU is boosted all the same, if it
/// still waits. Nobody who has credit needs that.
#[test]
fn who_had_no_credit_for_a_boost_gets_it_with_the_next_grant() {
    let refills = |name: &str| {
        let (_, mut s) = all().into_iter().find(|(n, _)| n == name).unwrap();
        s.duration = 5_000_000_000;
        let o = run(&s, &Options::default()).unwrap();
        o.vcpus.iter().map(|v| v.stats.boosts[5]).sum::<u64>()
    };
    assert!(refills("crowded") > 0);
    assert_eq!(refills("audio"), 0);
}
