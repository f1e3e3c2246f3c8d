//! What dom0's calls cost, and how long a vCPU stands still when CPUs and domains move.
//!
//! A call is made by the shim's `call -n`: the figure is what one turn of its loop takes, the trap, Tarn's work and some tens
//! of instructions of the shim. Nothing else runs then: one CPU, and one domain that sleeps. Calls that need another CPU's
//! hand are made on a machine with two; the figure is that of the first time, when it has to be called. Every call of the
//! interface is here or in `ENDS`: a test compares.

use tarn_abi::call::param::Setting;
use tarn_abi::call::plan::{self, PoolRef};
use tarn_abi::call::text::{Bytes, Label, Text};
use tarn_abi::call::{Request, Version, console, domain, group, guest, pool, system, vcpu};
use tarn_abi::{CpuId, CpuSet, DomainId, GroupId, PoolId, SchedId, VcpuId};
use xtask::console::Console;
use xtask::exec;
use xtask::machine::{Clock, Machine};

use crate::cases::links::doorbell;
use crate::cases::{answers_and_powers_off, domain as described, prompt};
use crate::figures::{self, Row};
use crate::runner::Bench;

/// Repetitions of a call that can be repeated.
const TIMES: u64 = 200;
/// In dom0's own RAM, beyond what the shim uses: a page of 64 bytes that nobody reads.
const PAGE: u64 = 0x4038_0000;

/// Calls that do not come back, by the names of figures they cannot have.
#[cfg(test)]
const ENDS: [&str; 2] = ["call.system-reboot", "call.system-poweroff"];

/// The name of a call's figure.
fn figure(row: &tarn_abi::call::Row) -> String {
    let area = row.area.trim_end_matches("Call");
    format!("call.{area}-{}", row.name).to_lowercase()
}

/// One call: name of its figure, its registers, and whether it can be made again and again.
type Shot = (String, [u64; 8], bool);

fn call<R: Request>(request: &R, often: bool) -> Shot {
    (figure(&R::ROW), request.encode().0, often)
}

/// One that only prepares another one's turn: it has its figure elsewhere.
fn prepare<R: Request>(request: &R) -> Shot {
    (String::new(), request.encode().0, false)
}

/// Those that take another CPU's hand, make domains, or are part of a plan.
fn far_calls() -> Vec<Shot> {
    let id = |generation| DomainId::new(1, generation);
    let (p0, p1) = (PoolId::POOL0, PoolId::new(1, 0));
    let cpu1 = CpuSet::one(CpuId(1));
    let rr = SchedId(0);
    let setting = |name, value| Setting {
        name: Label::truncated(name),
        value,
    };
    let name = Text::truncated("sleeper");
    let second = None;
    vec![
        call(
            &system::CpuRun {
                cpu: CpuId(1),
                work: system::CpuWork::Midr,
                argument: 0,
            },
            true,
        ),
        prepare(&pool::Create {
            sched: None,
            name: Text::truncated("one"),
        }),
        call(
            &pool::AssignCpus {
                to: Some(p1),
                cpus: cpu1,
            },
            false,
        ),
        call(&pool::SetSched { id: p1, sched: rr }, false),
        call(&domain::Move { id: id(0), to: p1 }, false),
        // Nobody's: the domain has not crashed.
        call(&domain::Crash { id: id(0) }, true),
        prepare(&domain::Destroy { id: id(0) }),
        call(&domain::Create { name }, false),
        prepare(&domain::Destroy { id: id(1) }),
        call(&domain::CreateIn { pool: p1, name }, false),
        call(&plan::Begin {}, true),
        call(
            &plan::CreatePool {
                sched: None,
                name: Text::truncated("two"),
            },
            false,
        ),
        call(
            &plan::RenamePool {
                pool: PoolRef::Step(0),
                name: Text::truncated("three"),
            },
            false,
        ),
        call(
            &plan::AssignCpus {
                to: PoolRef::Step(0),
                cpus: cpu1,
            },
            false,
        ),
        call(
            &plan::MoveDomain {
                domain: id(2),
                to: PoolRef::Step(0),
            },
            false,
        ),
        call(
            &plan::SetSched {
                pool: PoolRef::Id(p0),
                sched: rr,
            },
            false,
        ),
        call(
            &plan::SetPoolParams {
                pool: PoolRef::Step(0),
                first: setting("ratelimit", 2000),
                second,
            },
            false,
        ),
        call(
            &plan::SetDomainParams {
                domain: id(2),
                first: setting("weight", 300),
                second,
            },
            false,
        ),
        call(
            &plan::DestroyPool {
                pool: PoolRef::Id(p1),
            },
            false,
        ),
        call(&plan::Check {}, true),
        call(&plan::Outcome { index: 0 }, true),
        call(&plan::Change { index: 0 }, true),
        call(&plan::LastVerdict {}, true),
        call(&plan::Commit {}, false),
        call(&plan::Abort {}, true),
    ]
}

/// The calls, in an order in which each finds what it needs.
fn calls() -> Vec<Shot> {
    let id = DomainId::new(1, 0);
    let vcpu = VcpuId::new(1, 0);
    let p0 = PoolId::POOL0;
    let p1 = PoolId::new(1, 0);
    let within = GroupId::root(p0);
    let made = GroupId {
        pool: p0,
        slot: 1,
        generation: 0,
    };
    let weight = |value| Setting {
        name: Label::truncated("weight"),
        value,
    };
    let ratelimit = Setting {
        name: Label::truncated("ratelimit"),
        value: 1000,
    };
    let second = None;
    vec![
        call(&Version {}, true),
        call(&system::Info {}, true),
        call(&system::MemoryInfo {}, true),
        call(&system::Model {}, true),
        call(&system::Counters { index: 0 }, true),
        call(&system::Cpu { from: 0 }, true),
        call(
            &system::Trace {
                cpu: CpuId(0),
                cursor: 0,
            },
            true,
        ),
        call(&system::MemoryNodes { index: 0 }, true),
        call(&system::Why { part: 0 }, true),
        call(&domain::List { from: 0 }, true),
        call(&domain::Name { id }, true),
        call(&domain::Config { index: 0 }, true),
        call(
            &domain::Find {
                name: Text::truncated("sleeper"),
            },
            true,
        ),
        call(&domain::Counters { id, index: 0 }, true),
        call(&domain::Params { id, index: 0 }, true),
        call(
            &domain::SetParams {
                id,
                first: weight(300),
                second,
            },
            true,
        ),
        call(&domain::Runstate { id }, true),
        call(&domain::RunstateNow { id }, true),
        call(&domain::Boosts { id, index: 0 }, true),
        call(&domain::Pause { id }, false),
        call(&domain::Unpause { id }, false),
        call(
            &vcpu::Info {
                domain: id,
                index: 0,
            },
            true,
        ),
        call(
            &vcpu::Runstate {
                domain: id,
                index: 0,
            },
            true,
        ),
        call(&vcpu::Place { id: vcpu }, true),
        call(
            &vcpu::Pin {
                id: vcpu,
                cpus: CpuSet::first(1),
                soft: CpuSet::first(1),
            },
            true,
        ),
        call(&vcpu::Params { id: vcpu, index: 0 }, true),
        call(
            &vcpu::SetParams {
                id: vcpu,
                first: weight(300),
                second,
            },
            true,
        ),
        call(&vcpu::Boosts { id: vcpu, index: 0 }, true),
        call(&pool::List { from: 0 }, true),
        call(&pool::Name { id: p0 }, true),
        call(&pool::Domains { id: p0, from: 0 }, true),
        call(&pool::FreeCpus {}, true),
        call(&pool::Params { id: p0, index: 0 }, true),
        call(
            &pool::SetParams {
                id: p0,
                first: ratelimit,
                second,
            },
            true,
        ),
        call(
            &pool::SetMemory {
                id: p0,
                from: pool::MemoryFrom::Any,
            },
            true,
        ),
        call(
            &pool::Find {
                name: Text::truncated("Pool-0"),
            },
            true,
        ),
        call(&pool::Scheds { index: 0 }, true),
        call(&pool::SchedAbout { id: SchedId(0) }, true),
        call(&pool::Counters { id: p0, index: 0 }, true),
        call(&pool::Memory { id: p0 }, true),
        call(
            &pool::Create {
                sched: None,
                name: Text::truncated("new"),
            },
            false,
        ),
        call(
            &pool::Rename {
                id: p1,
                name: Text::truncated("other"),
            },
            false,
        ),
        call(&pool::Destroy { id: p1 }, false),
        call(
            &group::Create {
                parent: within,
                sched: None,
                processors: 1,
                weight: 256,
                name: Label::truncated("group"),
                split: false,
            },
            false,
        ),
        call(&group::List { within, from: 0 }, true),
        call(&group::Name { id: made }, true),
        call(
            &group::Move {
                domain: id,
                to: made,
            },
            false,
        ),
        call(&group::Times { id: made }, true),
        call(&group::Member { id: made, from: 0 }, true),
        call(&group::Params { id: made, index: 0 }, true),
        call(
            &group::SetParams {
                id: made,
                first: weight(300),
                second,
            },
            true,
        ),
        call(&group::Boosts { id: made, index: 0 }, true),
        call(&group::MoveVcpu { vcpu, to: within }, false),
        call(
            &group::Delegate {
                id: made,
                to: Some(id),
            },
            false,
        ),
        call(&group::Mine { index: 0 }, true),
        call(&group::Destroy { id: made }, false),
        call(&guest::Yield {}, true),
        call(&guest::Deboost {}, true),
        call(&guest::Counters { index: 0 }, true),
        call(&guest::Runstate { index: 0 }, true),
        call(&guest::SetPage { address: PAGE }, true),
        prepare(&guest::SetPage { address: u64::MAX }),
        call(&system::BootScript { from: 0 }, true),
        call(&console::LogRead { cursor: 0 }, true),
        call(&console::Read { wait: false }, true),
        call(
            &console::Write {
                bytes: Bytes::new(b"forty bytes, of which the last is an end\n")
                    .unwrap_or_default(),
            },
            false,
        ),
        call(
            &console::SetFocus {
                to: console::Focus::Keep,
            },
            true,
        ),
        call(&domain::Destroy { id }, false),
    ]
}

fn row(name: String, tarn: u64) -> Row {
    Row {
        name,
        bare: None,
        tarn: Some(tarn),
        max: None,
        budget: None,
    }
}

/// The figures `call.AREA-NAME`.
pub fn measure(bench: &mut Bench, gic: u8) -> Result<Vec<Row>, String> {
    let mut rows = shots(bench, gic, 1, calls())?;
    rows.extend(shots(bench, gic, 2, far_calls())?);
    rows.push(ring(bench, gic)?);
    Ok(rows)
}

/// What some calls cost on a machine with so many CPUs and one domain, which sleeps.
fn shots(bench: &mut Bench, gic: u8, cpus: u32, shots: Vec<Shot>) -> Result<Vec<Row>, String> {
    let sleeper = described("sleeper", "guest-bad", 1, 8, "mode=sleep", "");
    let mut machine = Machine::tarn(gic, cpus).with_config(sleeper);
    machine.clock = Clock::Instructions;
    let mut console = bench.start("dom0's calls", &machine, 300)?;
    console.expect("MODE sleep")?;
    console.send("\r")?;
    prompt(&mut console)?;
    let (_, looks) = shot(&mut console, &call(&system::Info {}, true))?;
    let mut rows = Vec::new();
    for one in shots {
        let (answer, each) = shot(&mut console, &one)?;
        let (name, _, often) = &one;
        // What is made once is made between two looks at the clock, whose cost is taken off.
        let each = each.saturating_sub(if *often { 0 } else { looks });
        settle(&mut console, &one, answer)?;
        if !name.is_empty() {
            rows.push(row(name.clone(), each));
        }
    }
    exec::power_off(&mut console)?;
    Ok(rows)
}

/// Makes a call; what it answered and the ns each time took.
fn shot(console: &mut Console, (name, regs, often): &Shot) -> Result<(String, u64), String> {
    let times = if *often { TIMES } else { 1 };
    let used = regs.iter().rposition(|x| *x != 0).map_or(1, |at| at + 1);
    let words: Vec<String> = regs[..used].iter().map(|x| format!("{x:#x}")).collect();
    let answer = exec::must(console, &format!("call -n {times} {}", words.join(" ")))?;
    let each = answer
        .lines()
        .find_map(|line| {
            line.split_once(" times, ")?
                .1
                .strip_suffix(" ns each")?
                .parse()
                .ok()
        })
        .ok_or_else(|| format!("{name}: {answer}"))?;
    Ok((answer, each))
}

/// Makes a call that answered `Again` until it answers something else, which must not be a refusal.
fn settle(console: &mut Console, one: &Shot, mut answer: String) -> Result<(), String> {
    for _ in 0..1_000 {
        // What is not there to be said, too, has been looked for: the end of a list, the crash of a domain that lives.
        let fine = answer.lines().any(|line| line.starts_with("x0=0x0 "));
        let crash = one.0.ends_with("-crash") && answer.contains("(in use or in the wrong state)");
        if fine || crash || answer.contains("(end of list)") {
            return Ok(());
        }
        if !answer.contains("(not finished yet)") {
            break;
        }
        answer = shot(console, one)?.0;
    }
    Err(format!("{} {:x?} is refused: {answer}", one.0, one.1))
}

/// What it costs a guest to ring, which no call of dom0's can show.
fn ring(bench: &mut Bench, gic: u8) -> Result<Row, String> {
    let config = described(
        "bench",
        "guest-bench",
        1,
        16,
        "mode=ring port=1",
        &doorbell("one", "two"),
    ) + &described(
        "other",
        "guest-bad",
        1,
        8,
        "mode=sleep",
        &doorbell("two", "one"),
    );
    let mut machine = Machine::tarn(gic, 1).with_config(config);
    machine.clock = Clock::Instructions;
    let mut console = bench.start("a doorbell", &machine, 300)?;
    console.expect("NOTE ring answers 0")?;
    console.expect("BENCH-END")?;
    answers_and_powers_off(&mut console)?;
    let figures = figures::read(&console.text(), Some("bench"));
    let figure = figures.get("guest-ring").ok_or("nobody rang")?;
    Ok(row("call.guest-ring".into(), figure.median))
}

/// How long a vCPU stood still at most by a command, ns: what its note says, or not at all.
fn still(console: &mut Console, command: &str) -> Result<u64, String> {
    let answer = exec::must(console, command)?;
    Ok(answer
        .lines()
        .find_map(|line| {
            let seconds = line.split_once("stood still for ")?.1.split(' ').next()?;
            Some((seconds.parse::<f64>().ok()? * 1e9) as u64)
        })
        .unwrap_or(0))
}

/// The figures `still.NAME`: virtual ns for which a vCPU that never sleeps stood still, the worst of some moves.
pub fn stand_still(bench: &mut Bench, gic: u8) -> Result<Vec<Row>, String> {
    let hogs = described("hog", "guest-hog", 2, 16, "quiet=1", "");
    let mut machine = Machine::tarn(gic, 4).with_config(hogs);
    machine.clock = Clock::Instructions;
    let mut console = bench.start("moves", &machine, 300)?;
    prompt(&mut console)?;
    exec::must(&mut console, "pool-create far cpu=2-3")?;
    let (mut domain, mut cpu, mut sched) = (0, 0, 0);
    for _ in 0..10 {
        for to in ["far", "Pool-0"] {
            domain = domain.max(still(&mut console, &format!("cpupool-migrate hog {to}"))?);
        }
        exec::must(&mut console, "cpupool-migrate hog far")?;
        cpu = cpu.max(still(&mut console, "cpupool-cpu-remove far 3")?);
        cpu = cpu.max(still(&mut console, "cpupool-cpu-add far 3")?);
        for to in ["rr", "credit2"] {
            sched = sched.max(still(&mut console, &format!("pool-sched far {to}"))?);
        }
    }
    exec::power_off(&mut console)?;
    Ok(vec![
        row("still.domain-move".into(), domain),
        row("still.cpu-move".into(), cpu),
        row("still.scheduler-change".into(), sched),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// A new call needs its turn here and its limit in benches/budgets.toml.
    #[test]
    fn every_call_is_measured_and_has_a_budget() {
        let all: BTreeSet<String> = tarn_abi::call::table()
            .map(|row| figure(&row))
            .filter(|name| !ENDS.contains(&name.as_str()))
            .collect();
        let ring = "call.guest-ring".to_owned();
        let turns = calls().into_iter().chain(far_calls()).map(|one| one.0);
        let measured: BTreeSet<String> = turns.filter(|n| !n.is_empty()).chain([ring]).collect();
        assert_eq!(measured, all);
        let text = std::fs::read_to_string(xtask::paths::root().join("benches/budgets.toml"));
        let budgets = xtask::budgets::parse(&text.unwrap()).unwrap();
        let limited: BTreeSet<String> = budgets
            .into_keys()
            .filter(|name| name.starts_with("call."))
            .collect();
        assert_eq!(limited, all);
    }
}
