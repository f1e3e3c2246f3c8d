//! What dom0's calls cost, and how long a vCPU stands still when CPUs and domains move.
//!
//! A call is made by the shim's `call -n`: the figure is what one turn of its loop takes, the trap, Tarn's work and some tens
//! of instructions of the shim. Nothing else runs then: one CPU, and one domain that sleeps.

use tarn_abi::call::param::Setting;
use tarn_abi::call::text::{Label, Text};
use tarn_abi::call::{Request, Version, console, domain, group, guest, pool, system, vcpu};
use tarn_abi::{CpuId, CpuSet, DomainId, GroupId, PoolId, SchedId, VcpuId};
use xtask::console::Console;
use xtask::exec;
use xtask::machine::{Clock, Machine};

use crate::cases::{domain as described, prompt};
use crate::figures::Row;
use crate::runner::Bench;

/// Repetitions of a call that can be repeated.
const TIMES: u64 = 200;

/// One call: name of its figure, its registers, and whether it can be made again and again.
fn call<R: Request>(request: &R, often: bool) -> (String, [u64; 8], bool) {
    let (area, name) = (R::ROW.area.trim_end_matches("Call"), R::ROW.name);
    (
        format!("call.{area}-{name}").to_lowercase(),
        request.encode().0,
        often,
    )
}

/// The calls, in an order in which each finds what it needs.
fn calls() -> Vec<(String, [u64; 8], bool)> {
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
        call(&console::LogRead { cursor: 0 }, true),
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
    let sleeper = described("sleeper", "guest-bad", 1, 8, "mode=sleep", "");
    let mut machine = Machine::tarn(gic, 1).with_config(sleeper);
    machine.clock = Clock::Instructions;
    let mut console = bench.start("dom0's calls", &machine, 300)?;
    console.expect("MODE sleep")?;
    console.send("\r")?;
    prompt(&mut console)?;
    let mut rows = Vec::new();
    for (name, regs, often) in calls() {
        // What is made once is made between two looks at the clock, whose cost is taken off.
        let times = if often { TIMES } else { 1 };
        let used = regs.iter().rposition(|x| *x != 0).map_or(1, |at| at + 1);
        let words: Vec<String> = regs[..used].iter().map(|x| format!("{x:#x}")).collect();
        let answer = exec::must(
            &mut console,
            &format!("call -n {times} {}", words.join(" ")),
        )?;
        // The end of a list is found by the same way.
        if !answer.starts_with("x0=0x0 ") && !answer.contains("(end of list)") {
            return Err(format!("{name} is refused: {answer}"));
        }
        let each: u64 = answer
            .lines()
            .find_map(|line| {
                line.split_once(" times, ")?
                    .1
                    .strip_suffix(" ns each")?
                    .parse()
                    .ok()
            })
            .ok_or_else(|| format!("{name}: {answer}"))?;
        let looks = rows
            .iter()
            .find(|r: &&Row| !often && r.name == "call.system-info");
        rows.push(row(
            name,
            each.saturating_sub(looks.and_then(|r| r.tarn).unwrap_or(0)),
        ));
    }
    exec::power_off(&mut console)?;
    Ok(rows)
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
