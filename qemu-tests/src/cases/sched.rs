//! The scheduler in the machine against the scheduler in the laboratory: the same decisions, the same shares; and weights
//! among domains that are confined to some of the CPUs.

use std::time::Duration;

use tarn_abi::trace::{Op, Record};
use tarn_sim::engine::{Options, run};
use tarn_sim::report::Report;
use tarn_sim::{Scenario, replay};
use xtask::console::Console;
use xtask::exec;
use xtask::machine::{Clock, Machine};

use super::storm::rows;
use super::{domain, prompt};
use crate::runner::{Bench, Test};

/// Weights of the guests that compute for ever; none is dom0's.
const WEIGHTS: [u32; 3] = [128, 512, 1024];
/// How long the shares are measured, ms of the machine's time.
const WINDOW: u64 = 1500;

/// The tests.
pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "sched/replay",
            "what the machine's scheduler decided replays on the host, and its shares are the laboratory's",
            |bench| {
                let config: String = WEIGHTS
                    .iter()
                    .map(|w| {
                        let name = format!("hog-{w}");
                        domain(
                            &name,
                            "guest-hog",
                            1,
                            16,
                            "every=500",
                            &format!("tarn,weight = <{w}>;"),
                        )
                    })
                    .collect();
                let mut machine = Machine::tarn(3, 1).with_config(config);
                machine.clock = Clock::Instructions;
                machine.bootargs = "record=100000".into();
                let mut console = bench.start("Tarn", &machine, 240)?;
                prompt(&mut console)?;
                // The lightest has computed for as long as the window and a little more.
                console.expect_within(&["(hog-128) HOG t=2"], Duration::from_secs(600))?;
                console.send("\r")?;
                prompt(&mut console)?;
                exec::power_off(&mut console)?;

                let (trace, verdict) = &replayed(&console.text())?;
                if verdict.decisions < 100 {
                    return Err(format!("only {} decisions", verdict.decisions));
                }
                let there = machine_shares(trace)?;
                let here = laboratory_shares()?;
                for ((w, a), b) in WEIGHTS.iter().zip(&there).zip(&here) {
                    if (a - b).abs() > 0.01 {
                        return Err(format!(
                            "weight {w}: {:.2} % of the CPU in the machine, {:.2} % in the laboratory",
                            a * 100.0,
                            b * 100.0
                        ));
                    }
                }
                Ok(())
            },
        ).counted(),
        Test::new(
            "sched/replay-groups",
            "so does what it decided with groups that are made, nested, filled, weighted, emptied and removed",
            replay_groups,
        ),
        Test::new(
            "sched/confined",
            "domains confined to a CPU, by affinity or in a pool of their own, get time by weight within 1 %",
            |bench| confined(bench, 1),
        ).counted(),
        Test::new(
            "sched/confined-to-two",
            "so do domains of two vCPUs on two busy CPUs",
            |bench| confined(bench, 2),
        ).counted(),
        Test::new(
            "sched/soft",
            "a domain runs where it prefers, elsewhere while that CPU is another's, and loses no time; the recording replays",
            soft,
        ).counted(),
    ]
}

/// Waits until `name` is on one of the CPUs `want`, as the prompt says.
fn comes_to(console: &mut Console, name: &str, want: &[&str]) -> Result<(), String> {
    let mut on = String::new();
    for _ in 0..20 {
        let list = rows(&exec::must(console, &format!("vcpu-list {name} --json"))?);
        on = list.first().map_or("", |row| row.get("cpu")).to_owned();
        if want.contains(&on.as_str()) {
            return Ok(());
        }
    }
    Err(format!(
        "{name} stays on CPU {on} and does not come to {want:?}"
    ))
}

fn soft(bench: &mut Bench) -> Result<(), String> {
    let node = "vcpu@0 { compatible = \"xen,vcpu\"; id = <0>; tarn,soft-affinity = \"2\"; };";
    let config = [("guest", node), ("owner", "")]
        .map(|(name, extra)| domain(name, "guest-hog", 1, 16, "quiet=1", extra));
    let mut machine = Machine::tarn(3, 3).with_config(config.concat());
    machine.clock = Clock::Instructions;
    machine.bootargs = "record=100000".into();
    let mut console = bench.start("Tarn", &machine, 240)?;
    prompt(&mut console)?;
    exec::must(&mut console, "pause owner")?;
    comes_to(&mut console, "guest", &["2"])?;
    for cpu in ["1", "2", "1", "2"] {
        exec::must(&mut console, &format!("vcpu-pin guest all - {cpu}"))?;
        comes_to(&mut console, "guest", &[cpu])?;
    }
    exec::must(&mut console, "vcpu-pin owner all 2; unpause owner")?;
    comes_to(&mut console, "guest", &["0", "1"])?;
    comes_to(&mut console, "owner", &["2"])?;
    for row in rows(&exec::must(&mut console, "top -i 1 -n 1 --json")?) {
        let got: f64 = row.get("cpu_percent").parse().unwrap_or(0.0);
        let name = row.get("name");
        if name != "dom0" && got < 97.0 {
            return Err(format!("{name} gets {got:.1} % though a CPU is free"));
        }
    }
    exec::must(&mut console, "pause owner")?;
    comes_to(&mut console, "guest", &["2"])?;
    // Kept, and said, where it has no effect.
    let said = exec::must(&mut console, "vcpu-pin guest all 1")?;
    if !said.contains("a soft affinity has no effect here; it is kept") {
        return Err(format!("a preference for CPU 2 on CPU 1: only '{said}'"));
    }
    exec::must(&mut console, "vcpu-pin guest all all")?;
    comes_to(&mut console, "guest", &["2"])?;
    exec::power_off(&mut console)?;
    let (trace, _) = replayed(&console.text())?;
    let soft = |r: &&Record| r.op() == Some(Op::EntitySoft);
    match trace.records.iter().filter(soft).count() {
        7.. => Ok(()),
        n => Err(format!("{n} preferences in the recording, not seven")),
    }
}

/// What is typed while four guests compute: groups in each way there is.
const GROUPED: &str = "group-create cell; group-create inner in=cell sched=rr; group-move hog1 cell; group-move hog2 inner; \
     group-move hog3 inner; top -i 0.1 -n 1; params -g cell weight=512; top -i 0.1 -n 1; group-create wide procs=2 sched=rtds; \
     group-move hog4 wide; sched-credit2 -d hog2 -w 100; top -i 0.1 -n 1; group-move hog2 Pool-0; group-move hog3 Pool-0; \
     group-destroy inner; top -i 0.1 -n 1";

fn replay_groups(bench: &mut Bench) -> Result<(), String> {
    let hogs = (1..=4).map(|n| domain(&format!("hog{n}"), "guest-hog", 1, 16, "quiet=1", ""));
    let mut machine = Machine::tarn(3, 2).with_config(hogs.collect::<String>());
    machine.clock = Clock::Instructions;
    machine.bootargs = "record=100000".into();
    let mut console = bench.start("Tarn", &machine, 240)?;
    prompt(&mut console)?;
    for command in GROUPED.split("; ") {
        exec::must(&mut console, command)?;
    }
    exec::power_off(&mut console)?;
    let (trace, verdict) = replayed(&console.text())?;
    // It was about groups, and they have decided.
    let count = |op| trace.records.iter().filter(|r| r.op() == Some(op)).count();
    let inside = |r: &&Record| r.op() == Some(Op::Alloc) && r.node() != 0;
    let seen = [
        count(Op::AddGroup),
        count(Op::RemoveGroup),
        count(Op::AdjustGroup),
        trace.records.iter().filter(inside).count(),
        verdict.decisions / 100,
    ];
    for (seen, least) in seen.iter().zip([3, 1, 1, 4, 1]) {
        if *seen < least {
            return Err(format!("seen {seen} where at least {least} were typed"));
        }
    }
    Ok(())
}

/// The complaint of seed 001: weights 1 : 2 : 4 among domains that have to share some of the CPUs; as many as each has vCPUs.
fn confined(bench: &mut Bench, cpus: u32) -> Result<(), String> {
    let hogs = [("one", 1.0), ("two", 2.0), ("four", 4.0)];
    let config: String = hogs
        .iter()
        .map(|(name, weight)| {
            let weight = format!("tarn,weight = <{}>;", weight * 128.0);
            domain(name, "guest-hog", cpus, 16, "quiet=1", &weight)
        })
        .collect();
    let mut machine = Machine::tarn(3, 1 + cpus).with_config(config);
    machine.clock = Clock::Instructions;
    let mut console = bench.start("Tarn", &machine, 240)?;
    prompt(&mut console)?;
    let work = if cpus == 1 { "1" } else { "1-2" };
    let pinned: String = hogs
        .iter()
        .map(|(name, _)| format!("vcpu-pin {name} all {work}; "))
        .collect();
    let apart = format!(
        "vcpu-pin one all all; vcpu-pin two all all; vcpu-pin four all all; pool-create work cpu={work}; \
         cpupool-migrate one two four work"
    );
    for (how, commands) in [("by affinity", &pinned), ("in a pool", &apart)] {
        exec::must(&mut console, commands.trim_end_matches("; "))?;
        let top = rows(&exec::must(&mut console, "top -i 2 -n 1 --json")?);
        let all: f64 = hogs.iter().map(|hog| hog.1).sum();
        for (name, weight) in hogs {
            let row = top.iter().find(|row| row.get("name") == name);
            let got: f64 = row
                .and_then(|row| row.get("cpu_percent").parse().ok())
                .ok_or_else(|| format!("'top' has no row of {name}"))?;
            let want = f64::from(cpus) * 100.0 * weight / all;
            if (got / want - 1.0).abs() > 0.01 {
                return Err(format!(
                    "confined {how}, {name} gets {got:.1} % of a CPU, not {want:.1} %"
                ));
            }
        }
    }
    exec::power_off(&mut console)
}

/// The recording of the only pool in `console`, and what became of it on the host: the same, decision by decision.
fn replayed(console: &str) -> Result<(replay::Trace, replay::Verdict), String> {
    let mut traces = replay::read(console)?;
    let (Some(trace), true) = (traces.pop(), traces.is_empty()) else {
        return Err("not one pool has been recorded, but none or several".into());
    };
    let verdict = replay::replay(&trace);
    if !verdict.same {
        return Err(verdict.text);
    }
    Ok((trace, verdict))
}

/// Each guest's share of what all of them got in the last part of the recording, dom0's last commands left out.
fn machine_shares(trace: &replay::Trace) -> Result<Vec<f64>, String> {
    let end = replay::end(trace).saturating_sub(100_000_000);
    let from = end
        .checked_sub(WINDOW * 1_000_000)
        .ok_or("the recording is too short")?;
    let times = replay::runtimes(trace, from, end);
    let weights = replay::weights(trace);
    let time = |w: u32| -> Result<u64, String> {
        let tag = weights.iter().find(|(_, x)| **x == w).map(|(t, _)| t);
        tag.and_then(|t| times.get(t).copied())
            .ok_or_else(|| format!("no vCPU of weight {w} has run"))
    };
    let list = WEIGHTS
        .iter()
        .map(|w| time(*w))
        .collect::<Result<Vec<_>, _>>()?;
    let all = list.iter().sum::<u64>() as f64;
    Ok(list.iter().map(|t| *t as f64 / all).collect())
}

/// The same guests in the laboratory.
fn laboratory_shares() -> Result<Vec<f64>, String> {
    let mut text = format!("duration = \"{WINDOW}ms\"\n[[pool]]\ncpus = 1\n");
    for w in WEIGHTS {
        text +=
            &format!("[[domain]]\nname = \"hog-{w}\"\nweight = {w}\n[[domain.vcpu]]\nhog = true\n");
    }
    let scenario = Scenario::parse(&text)?;
    let outcome = run(&scenario, &Options::default())?;
    Ok(Report::new(&scenario, &outcome)
        .vcpus
        .iter()
        .map(|l| l.share)
        .collect())
}
