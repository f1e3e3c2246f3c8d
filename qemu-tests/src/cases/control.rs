//! Live control: calls at random, pools and parameters from the tree; CPUs held at EL2; pools that do not disturb each
//! other. What an operator types is in `operator`, at random in `storm`.

use xtask::console::Console;
use xtask::exec;
use xtask::machine::{Clock, Machine};

use super::storm::rows;
use super::{all_through, answers_and_powers_off, domain, prompt, verify_all};
use crate::figures;
use crate::runner::{Bench, Test};
use crate::transcript::{END, Transcript};

/// The tests.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for gic in [2, 3] {
        tests.push(Test::new(
            format!("control/calls-from-a-guest-gic{gic}"),
            "a guest that makes calls of every area with random registers, beside one that works; dom0 still rules",
            move |bench| {
                let config = domain("bad", "guest-bad", 1, 16, "mode=calls", "")
                    + &domain("smp", "guest-smp", 2, 16, "rounds=50", "");
                let machine = Machine::tarn(gic, 2).with_config(config);
                let mut console = all_through(bench, &machine, 180, &["bad", "smp"])?;
                console.send("\r")?;
                prompt(&mut console)?;
                exec::must(&mut console, "pool-create after cpu=1")?;
                exec::must(&mut console, "pool-destroy after")?;
                answers_and_powers_off(&mut console)?;
                verify_all(&console, &["bad", "smp"])
            },
        ));
    }
    for gic in [2, 3] {
        tests.push(Test::new(
            format!("control/delegated-group-gic{gic}"),
            "a domain makes and fills groups inside the one that is delegated to it, and cannot exceed or see beyond it",
            move |bench| delegated(bench, gic),
        ).counted());
        tests.push(Test::new(
            format!("control/calls-from-dom0-gic{gic}"),
            "dom0 makes calls of every area with random registers; it still rules, and the guests go on",
            move |bench| super::calls::from_dom0(bench, gic),
        ).counted());
    }
    tests.push(
        Test::new(
            "control/plan-left-alone",
            "the answer to a plan that nobody waited for is not given to the next one",
            super::calls::plan_left_alone,
        )
        .counted(),
    );
    for gic in [2, 3] {
        tests.push(Test::new(
            format!("control/from-the-tree-gic{gic}"),
            "fewer CPUs in Pool-0 by a boot option, whose others cost nothing; a domain's scheduling parameters by its node",
            move |bench| from_the_tree(bench, gic),
        ));
        tests.push(Test::new(
            format!("control/memory-nodes-gic{gic}"),
            "a pool's domains have their memory from its node or range, or are refused, on a machine with two nodes",
            move |bench| memory_nodes(bench, gic),
        ));
        tests.push(Test::new(
            format!("control/sums-gic{gic}"),
            "the machine's sums of exits and boosts do not become less when a domain ends",
            move |bench| sums(bench, gic),
        ));
        tests.push(Test::new(
            format!("control/short-at-boot-gic{gic}"),
            "a pool of the tree gives null fewer CPUs than its domains' vCPUs: the log names who has none, as the prompt does; so do notes when a CPU is taken away",
            move |bench| short_at_boot(bench, gic),
        ));
        tests.push(Test::new(
            format!("control/stats-and-trace-gic{gic}"),
            "why a domain came to the hypervisor, and the last decisions of a CPU, in order and about who is there",
            move |bench| stats_and_trace(bench, gic),
        ).counted());
        tests.push(Test::new(
            format!("control/pools-apart-gic{gic}"),
            "two busy pools: nothing crosses from one to the other, and a CPU held at EL2 does not hold the other pool's",
            move |bench| pools_apart(bench, gic),
        ).counted());
        tests.push(Test::new(
            format!("control/sleepers-move-gic{gic}"),
            "a guest sleeps while its CPU leaves the pool, or it itself does: it is woken by its pool, nothing crosses, and a free CPU has no work of it",
            move |bench| sleepers_move(bench, gic),
        ));
    }
    tests
}

fn from_the_tree(bench: &mut Bench, gic: u8) -> Result<(), String> {
    let own = "tarn,boost-interval = <100>; tarn,rt-budget = <900>; tarn,rt-period = <1000>;
               tarn,nonsense = <1>;";
    let config = domain("vm", "guest-hello", 1, 8, "", own);
    let mut machine = Machine::tarn(gic, 4).with_config(config);
    machine.bootargs = "pool0=0,2".into();
    let mut console = bench.start("Tarn", &machine, 60)?;
    prompt(&mut console)?;
    let pools = exec::must(&mut console, "pool-list")?;
    if !pools.lines().any(|l| l.starts_with("Pool-0  0,2 ")) {
        return Err(format!("Pool-0 is to have the CPUs 0 and 2:\n{pools}"));
    }
    let params = exec::must(&mut console, "params -d vm")?;
    for (name, value) in [
        ("boost-interval", "100"),
        ("rt-budget", "900"),
        ("rt-period", "1000"),
    ] {
        let right = params.lines().any(|l| {
            let mut words = l.split_whitespace();
            words.next() == Some(name) && words.any(|w| w == value)
        });
        if !right {
            return Err(format!("{name} is to be {value}:\n{params}"));
        }
    }
    // A free CPU does nothing while others work, not even take an interrupt.
    let free = |console: &mut Console| -> Result<Vec<String>, String> {
        let list = rows(&exec::must(console, "cpu-list --json")?);
        let free = list.iter().filter(|cpu| cpu.get("pool") == "free");
        let count = free.map(|cpu| format!("{} {}", cpu.get("cpu"), cpu.get("interrupts")));
        Ok(count.collect())
    };
    let before = free(&mut console)?;
    for _ in 0..20 {
        exec::must(&mut console, "list")?;
    }
    let after = free(&mut console)?;
    if before.len() != 2 || before != after {
        return Err(format!(
            "free CPUs and their interrupts: {before:?} became {after:?}"
        ));
    }
    exec::must(&mut console, "pool-create rest ncpu=2")?;
    let pools = exec::must(&mut console, "pool-list")?;
    if !pools.lines().any(|l| l.starts_with("rest    1,3 ")) {
        return Err(format!("the free CPUs are to be taken first:\n{pools}"));
    }
    answers_and_powers_off(&mut console)?;
    if !console
        .text()
        .contains("tarn,nonsense: no parameter of that name")
    {
        return Err("an unknown parameter was not reported".into());
    }
    Ok(())
}

fn sums(bench: &mut Bench, gic: u8) -> Result<(), String> {
    let config = domain("vm", "guest-hello", 2, 16, "", "");
    let mut console = bench.start("Tarn", &Machine::tarn(gic, 2).with_config(config), 60)?;
    prompt(&mut console)?;
    woken(&mut console, "vm")?;
    let before = exec::must(&mut console, "counters")?;
    exec::must(&mut console, "destroy vm")?;
    let after = exec::must(&mut console, "counters")?;
    let exits = after.lines().filter(|l| l.starts_with("exit-"));
    for name in exits.filter_map(|l| l.split_whitespace().next()) {
        let (was, is) = (counter(&before, name)?, counter(&after, name)?);
        if is < was || (name == "exit-wfx" && was < 2) {
            return Err(format!("{name} was {was} and is {is}:\n{after}"));
        }
    }
    answers_and_powers_off(&mut console)
}

fn short_at_boot(bench: &mut Bench, gic: u8) -> Result<(), String> {
    let pools = "/ { chosen {
        pool0: Pool-0 { compatible = \"xen,cpupool\"; cpupool-cpus = <&cpu0 &cpu3>; };
        pool1: part { compatible = \"xen,cpupool\"; cpupool-cpus = <&cpu1 &cpu2>; cpupool-sched = \"null\"; };
        }; };\n";
    let config = pools.to_string()
        + &domain(
            "one",
            "guest-hog",
            2,
            16,
            "quiet=1",
            "domain-cpupool = <&pool1>;",
        )
        + &domain(
            "two",
            "guest-hog",
            2,
            16,
            "quiet=1",
            "domain-cpupool = <&pool1>;",
        )
        + &domain("beside", "guest-hog", 3, 16, "quiet=1", "");
    let mut console = bench.start("Tarn", &Machine::tarn(gic, 4).with_config(config), 60)?;
    let said = "2 vCPUs of part have no CPU under null: two:0, two:1; a CPU more, or somebody who leaves, makes room";
    prompt(&mut console)?;
    let boot = console.text().matches(said).count();
    let listed = exec::must(&mut console, "pool-list")?;
    if boot != 1 || console.text().matches(" no CPU under ").count() != 2 || !listed.contains(said)
    {
        return Err(format!(
            "at boot and below the list it is to be said once each: {said}"
        ));
    }
    // What a CPU's removal could not leave as it was is said of who it is about.
    exec::must(&mut console, "vcpu-pin beside 1 3")?;
    exec::must(&mut console, "vcpu-pin beside 2 0,3")?;
    let removed = exec::must(&mut console, "cpupool-cpu-remove Pool-0 3")?;
    for note in [
        "note: beside:1: an affinity names no CPU",
        "note: beside:2: an affinity names CPUs outside",
    ] {
        if !removed.lines().any(|l| l.starts_with(note)) {
            return Err(format!("no '{note}':\n{removed}"));
        }
    }
    answers_and_powers_off(&mut console)
}

fn stats_and_trace(bench: &mut Bench, gic: u8) -> Result<(), String> {
    let config = domain("one", "guest-hog", 1, 16, "quiet=1", "")
        + &domain("two", "guest-hog", 1, 16, "quiet=1", "");
    let mut machine = Machine::tarn(gic, 2).with_config(config);
    machine.clock = Clock::Instructions;
    let mut console = bench.start("Tarn", &machine, 180)?;
    prompt(&mut console)?;
    exec::must(&mut console, "pool-create work cpu=1")?;
    exec::must(&mut console, "cpupool-migrate one two work")?;
    let begun = exec::must(&mut console, "trace 1 -n 20")?;
    if !begun.contains("recording begins") {
        return Err(format!("'trace' says at first\n{begun}"));
    }
    let top = rows(&exec::must(&mut console, "top -i 0.3 -n 1 --json")?);
    let hogs: Vec<f64> = top
        .iter()
        .filter(|row| row.get("pool") == "work")
        .filter_map(|row| row.get("cpu_percent").parse().ok())
        .collect();
    if hogs.len() != 2 || hogs.iter().any(|share| (share - 50.0).abs() > 5.0) {
        return Err(format!("'top' shows shares of {hogs:?}"));
    }
    let trace = rows(&exec::must(&mut console, "trace 1 -n 20 --json")?);
    let mut last = 0.0;
    let mut ran = [false; 2];
    for row in &trace {
        let at: f64 = row.get("time_s").parse().unwrap_or(-1.0);
        let who = ["one", "two"].iter().position(|d| *d == row.get("domain"));
        match (row.get("what"), who) {
            ("run", Some(who)) if at >= last => (last, ran[who]) = (at, true),
            _ => return Err(format!("'trace' shows at {at} s {}", row.get("what"))),
        }
    }
    if trace.len() != 20 || ran != [true; 2] {
        return Err(format!(
            "'trace' shows {} decisions for {ran:?}",
            trace.len()
        ));
    }
    let stats = rows(&exec::must(&mut console, "stats one --json")?);
    let switches = stats.iter().find(|row| row.get("reason") == "switches");
    let count: u64 = switches
        .and_then(|row| row.get("count").parse().ok())
        .unwrap_or(0);
    let exits = stats
        .iter()
        .any(|row| row.get("reason").starts_with("exit-"));
    if count < 10 || !exits || stats.iter().any(|row| row.get("name") != "one") {
        return Err(format!("'stats one' counts {count} switches"));
    }
    answers_and_powers_off(&mut console)
}

fn pools_apart(bench: &mut Bench, gic: u8) -> Result<(), String> {
    let config = domain("here", "guest-hog", 2, 16, "quiet=1", "")
        + &domain("there", "guest-hog", 2, 16, "quiet=1", "")
        + &domain(
            "waker",
            "guest-bench",
            1,
            16,
            "mode=wake period=1000 count=1000 name=wake",
            "tarn,paused;",
        );
    let mut machine = Machine::tarn(gic, 4).with_config(config);
    // Of a host that has other things to do as well, nothing could be said of delays.
    machine.clock = Clock::Instructions;
    let mut console = bench.start("Tarn", &machine, 180)?;
    prompt(&mut console)?;
    exec::must(&mut console, "pool-create apart cpu=2-3")?;
    exec::must(&mut console, "pool-migrate there apart")?;
    let crossed = |console: &mut Console| -> Result<[u64; 2], String> {
        let text = exec::must(console, "counters")?;
        Ok([
            counter(&text, "ipis-cross-pool")?,
            counter(&text, "wakes-cross-pool")?,
        ])
    };
    let before = crossed(&mut console)?;
    for _ in 0..20 {
        exec::must(&mut console, "list")?;
    }
    let after = crossed(&mut console)?;
    if before != after {
        return Err(format!("in a steady state {before:?} became {after:?}"));
    }
    // dom0 waits for CPUs of the other pool without calling them again and again.
    for (command, most) in [
        ("cpu-run 3 hold=20000", 2),
        ("cpu-run 3 midr", 2),
        ("pool-sched apart rr", 30),
        ("pool-sched apart credit2", 30),
    ] {
        let before = crossed(&mut console)?;
        exec::must(&mut console, command)?;
        let sent = crossed(&mut console)?[0] - before[0];
        if sent == 0 || sent > most {
            return Err(format!(
                "'{command}' sent {sent} interrupts to the other pool"
            ));
        }
    }
    // While a CPU of the other pool is held nearly all the time, dom0 answers from its own, and a guest that wakes every
    // millisecond there is on time: were it held up, too, the middle of its delays would be half of that time.
    exec::must(&mut console, "pause here; unpause waker")?;
    let ended = "domain waker: powered off";
    for round in 0.. {
        exec::must(&mut console, "cpu-run 3 hold=20000")?;
        if console.text().contains(ended) {
            break;
        }
        if round == 2_000 {
            return Err("the guest that wakes does not come to its end".into());
        }
    }
    let text = console.text();
    let note = text.lines().find_map(|l| l.split_once("(waker) NOTE gic "));
    let frequency = note.and_then(|n| n.1.trim().rsplit(' ').next()?.parse::<u64>().ok());
    let wake = figures::read(&text, Some("waker")).remove("wake");
    let (Some(frequency), Some(wake)) = (frequency, wake) else {
        return Err("the guest that wakes has given no figures".into());
    };
    let late = wake.median * 1_000_000 / frequency.max(1);
    if late > 2_000 {
        return Err(format!("half of its wake-ups are {late} us late"));
    }
    let midr = exec::must(&mut console, "cpu-run 2 midr")?;
    if !midr.contains("apart") || !midr.contains("0x") {
        return Err(format!("'cpu-run 2 midr' says\n{midr}"));
    }
    answers_and_powers_off(&mut console)
}

/// Cross-pool interrupts and wake-ups, and the interrupts of CPU `cpu`.
fn traffic(console: &mut Console, cpu: &str) -> Result<[u64; 3], String> {
    let text = exec::must(console, "counters")?;
    let cpus = rows(&exec::must(console, "cpu-list --json")?);
    let row = cpus.iter().find(|row| row.get("cpu") == cpu);
    let interrupts = row.and_then(|row| row.get("interrupts").parse().ok());
    Ok([
        counter(&text, "ipis-cross-pool")?,
        counter(&text, "wakes-cross-pool")?,
        interrupts.ok_or_else(|| format!("'cpu-list' shows no CPU {cpu}"))?,
    ])
}

/// Waits until `domain`, which wakes by its virtual timer alone, has done so twice.
fn woken(console: &mut Console, domain: &str) -> Result<(), String> {
    let wakes = |console: &mut Console| -> Result<u64, String> {
        let text = exec::must(console, &format!("counters {domain}"))?;
        counter(&text, "exit-wfx")
    };
    let first = wakes(console)?;
    while wakes(console)? < first + 2 {}
    Ok(())
}

fn sleepers_move(bench: &mut Bench, gic: u8) -> Result<(), String> {
    let config = domain(
        "sleeper",
        "guest-bench",
        1,
        16,
        "mode=wake period=1500000 count=1000 name=wake",
        "",
    );
    let machine = Machine::tarn(gic, 4).with_config(config);
    let mut console = bench.start("Tarn", &machine, 240)?;
    prompt(&mut console)?;
    exec::must(&mut console, "vcpu-pin sleeper 0 2")?;
    // What is done while it sleeps, and whether CPU 2 has nothing to do with it afterwards.
    for (change, spared) in [
        ("pool-create p cpu=2; pool-destroy p", true),
        ("pool-create p cpu=2", true),
        ("cpupool-migrate sleeper p", false),
        ("cpupool-migrate sleeper Pool-0", true),
    ] {
        woken(&mut console, "sleeper")?;
        exec::must(&mut console, change)?;
        let before = traffic(&mut console, "2")?;
        woken(&mut console, "sleeper")?;
        let after = traffic(&mut console, "2")?;
        let seen = if spared { 0..3 } else { 0..2 };
        if before[seen.clone()] != after[seen] {
            return Err(format!("after '{change}' {before:?} became {after:?}"));
        }
        if change.contains("destroy") {
            exec::must(&mut console, "cpupool-cpu-add Pool-0 2")?;
        }
    }
    answers_and_powers_off(&mut console)
}

/// Free memory of both nodes in MiB.
fn free(console: &mut Console) -> Result<[u64; 2], String> {
    let text = exec::must(console, "memory-list")?;
    let mut free = [0; 2];
    for line in text.lines().skip(1) {
        // Base, size and its unit, node, free and its unit.
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, _, _, node, amount, unit] = words[..] else {
            return Err(format!("'memory-list' shows\n{text}"));
        };
        let amount: u64 = amount
            .parse()
            .map_err(|_| format!("not a number: {amount}"))?;
        let place = node.parse().ok().and_then(|n: usize| free.get_mut(n));
        *place.ok_or(format!("no third node is there: {line}"))? += match unit {
            "MiB" => amount,
            "KiB" => amount / 1024,
            _ => return Err(format!("what unit is {unit}?")),
        };
    }
    Ok(free)
}

/// The end of the second of two nodes, which halve 1024 MiB.
const RANGE: &str = "0x7a000000+0x6000000";

fn memory_nodes(bench: &mut Bench, gic: u8) -> Result<(), String> {
    let config =
        domain("vm", "guest-hello", 1, 64, "", "") + &domain("big", "guest-hello", 1, 472, "", "");
    let mut machine = Machine::tarn(gic, 4).with_config(config);
    machine.nodes = 2;
    let mut console = bench.start("Tarn", &machine, 120)?;
    prompt(&mut console)?;
    for command in ["destroy vm", "destroy big", "pool-create far cpu=3"] {
        exec::must(&mut console, command)?;
    }
    exec::must(&mut console, "pool-memory far node:1")?;
    let before = free(&mut console)?;
    exec::must(&mut console, "create vm pool=far")?;
    let after = free(&mut console)?;
    let took = [
        before[0] - after[0].min(before[0]),
        before[1] - after[1].min(before[1]),
    ];
    if took[0] > 2 || !(64..=66).contains(&took[1]) {
        return Err(format!("the domain took {took:?} MiB from the nodes"));
    }
    // Elsewhere there is enough, but not there. The first time the heap may take a block, which it keeps.
    refused(&mut console, "create big pool=far", "memory")?;
    let after = free(&mut console)?;
    for _ in 0..4 {
        refused(&mut console, "create big pool=far", "memory")?;
    }
    if free(&mut console)? != after {
        return Err("a refused domain keeps memory".into());
    }
    refused(&mut console, "pool-memory far node:2", "no memory node 2")?;
    refused(&mut console, "pool-memory far 0x0+0x200000", "not inside")?;
    exec::must(&mut console, "destroy vm")?;
    ranged(&mut console)?;
    exec::must(&mut console, "create big")?;
    exec::must(&mut console, "pool-memory far any")?;
    exec::must(&mut console, "create vm pool=far")?;
    answers_and_powers_off(&mut console)
}

/// A pool whose memory is a range: a domain has all of its memory there, and what does not fit is refused.
fn ranged(console: &mut Console) -> Result<(), String> {
    let left = |console: &mut Console| -> Result<u64, String> {
        let far = exec::must(console, "pool-memory far")?;
        let words: Vec<&str> = far
            .lines()
            .last()
            .unwrap_or("")
            .split_whitespace()
            .collect();
        match words[..] {
            ["far", RANGE, amount, "MiB", ..] => amount.parse().map_err(|_| far.clone()),
            _ => Err(format!("'pool-memory far' shows\n{far}")),
        }
    };
    exec::must(console, &format!("pool-memory far {RANGE}"))?;
    let (before, all) = (left(console)?, free(console)?);
    exec::must(console, "create vm pool=far")?;
    let (after, rest) = (left(console)?, free(console)?);
    let took = before.saturating_sub(after);
    if before > 96 || !(64..=66).contains(&took) || all[0] > rest[0] + 2 {
        return Err(format!(
            "of {before} MiB of the range {after} are left, of {all:?} MiB of the nodes {rest:?}"
        ));
    }
    // Outside the range there is enough.
    refused(console, "create big pool=far", "memory")?;
    if left(console)? != after || free(console)? != rest {
        return Err("a refused domain keeps memory".into());
    }
    exec::must(console, "destroy vm").map(|_| ())
}

/// That a command is refused in words.
fn refused(console: &mut Console, command: &str, word: &str) -> Result<(), String> {
    let answer = exec::command(console, command)?;
    if answer.ok || !answer.text.contains(word) {
        return Err(format!("'{command}' says\n{}", answer.text));
    }
    Ok(())
}

fn delegated(bench: &mut Bench, gic: u8) -> Result<(), String> {
    let config = domain("owner", "guest-own", 3, 16, "mode=group", "")
        + &domain("rival", "guest-hog", 1, 16, "quiet=1", "");
    let mut machine = Machine::tarn(gic, 2).with_config(config);
    machine.clock = Clock::Instructions;
    let mut console = bench.start("Tarn", &machine, 180)?;
    console.expect("(owner) GROUP-READY")?;
    console.send("\r")?;
    prompt(&mut console)?;
    for command in [
        "pool-create work cpu=1",
        "cpupool-migrate owner rival work",
        "group-create foreign pool=work",
        "group-create given pool=work",
        "group-move owner given",
        "group-delegate given owner",
    ] {
        exec::must(&mut console, command)?;
    }
    console.expect("(owner) GROUP-TAKE-BACK")?;
    console.send("\r")?;
    prompt(&mut console)?;
    let list = exec::must(&mut console, "group-list work")?;
    let row = |name: &str| list.lines().find(|l| l.trim_start().starts_with(name));
    if !row("given").is_some_and(|l| l.ends_with("owner")) || row("three").is_some() {
        return Err(format!("'group-list' shows\n{list}"));
    }
    exec::must(&mut console, "group-delegate given")?;
    console.expect(END)?;
    answers_and_powers_off(&mut console)?;
    Transcript::read(&console.text(), Some("owner")).verify()
}

/// The value of a counter in a listing.
pub(super) fn counter(text: &str, name: &str) -> Result<u64, String> {
    text.lines()
        .find_map(|line| line.trim().strip_prefix(name)?.trim().parse().ok())
        .ok_or_else(|| format!("no counter {name} in\n{text}"))
}
