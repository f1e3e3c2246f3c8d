//! Random operations of an operator, under load: pools, CPUs, domains, groups and parameters, good ones and bad ones.
//!
//! The seed is fixed, so the same build gets the same commands. After each round the listings must agree with each other:
//! every CPU in one pool or free, the boot CPU and dom0 in Pool-0, every domain in the pool that counts it, a pool with
//! domains has a CPU. Two guests check themselves all the time, interrupts between their vCPUs and timers included, and
//! are started again when they are through; they are not given what would starve them rightly (a cap, a pool with the
//! scheduler null). All others must answer at the end.
//!
//! Most of it is done on a machine that counts instructions: there a guest that is late is late by Tarn's fault and not by
//! that of a busy host. That machine's CPUs take turns, so some is done on one whose CPUs run side by side; there a guest
//! must still be alive at the end, but how late it was says nothing. `TARN_STORM=N` makes so many operations,
//! `TARN_SEED=N` others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use xtask::console::Console;
use xtask::exec;
use xtask::machine::{Clock, Machine};

use super::{domain, prompt};
use crate::runner::{Bench, Test};
use crate::transcript::Transcript;

/// Operations of an ordinary run, and of one with CPUs side by side.
const OPERATIONS: u32 = 10_000;
const SIDE_BY_SIDE: u32 = 120;
/// Operations between two looks at everything.
const ROUND: u32 = 250;
/// Most letters of a line.
pub const LINE: usize = 236;
/// In so many operations each of the guests that check themselves must have been through once.
const OPERATIONS_A_RUN: u32 = 2_500;

/// Both controllers, both kinds of machines.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for gic in [2, 3] {
        tests.push(
            Test::new(
                format!("operator/storm-gic{gic}"),
                "random operations on pools, CPUs, domains, groups and parameters harm nobody",
                move |bench| storm(bench, gic, Clock::Instructions, OPERATIONS),
            )
            .counted(),
        );
        tests.push(Test::new(
            format!("operator/storm-side-by-side-gic{gic}"),
            "the same where the machine's CPUs run at the same time",
            move |bench| storm(bench, gic, Clock::Host, SIDE_BY_SIDE),
        ));
    }
    tests
}

/// A small generator: the same numbers everywhere.
pub struct Dice(pub u64);

impl Dice {
    /// A number below `sides`.
    pub fn roll(&mut self, sides: usize) -> usize {
        (self.any() >> 11) as usize % sides
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }
}

/// Pools for everybody, and behind them those only for guests that may be starved.
const POOLS: [&str; 7] = ["Pool-0", "p1", "p2", "p3", "nobody", "hard", "hard"];
const FAIR: usize = 5;
/// Domains that may be starved, then others: they check themselves, or are dom0, or do not exist.
const DOMAINS: [&str; 8] = [
    "hog-a", "hog-b", "beat-a", "beat-b", "smp", "timer", "dom0", "nobody",
];
const HARDY: usize = 4;
/// Of those, who checks itself.
const CHECKED: [&str; 2] = ["smp", "timer"];
const GROUPS: [&str; 4] = ["g1", "g2", "g3", "none"];
const SCHEDS: [&str; 5] = ["credit2", "credit2", "rtds", "rr", "fifo"];
const CPUS: [&str; 8] = ["0", "1", "2", "3", "1-3", "2,3", "0-3", "9"];

/// One command; some cannot succeed.
fn operation(d: &mut Dice) -> String {
    let who = d.roll(DOMAINS.len());
    let (dom, hardy) = (DOMAINS[who], DOMAINS[who % HARDY]);
    // Where it may be: null leaves vCPUs without a CPU when there are more of them.
    let pool = d.pick(&POOLS[..if who < HARDY { POOLS.len() } else { FAIR }]);
    let fair = d.pick(&POOLS[..FAIR]);
    match d.roll(32) {
        0 => format!("pool-create {fair} ncpu={}", d.roll(4)),
        1 => format!(
            "pool-create {fair} cpu={} sched={}",
            d.pick(&CPUS),
            d.pick(&SCHEDS)
        ),
        2 => format!("pool-create hard cpu={} sched=null", d.pick(&CPUS)),
        3 => format!("pool-modify {pool} ncpu={}", d.roll(5)),
        4 => format!("pool-modify {pool} cpu={}", d.pick(&CPUS)),
        5 | 6 => format!("pool-destroy {pool}"),
        7 | 8 => format!("cpupool-cpu-add {pool} {}", d.pick(&CPUS)),
        9 => format!("cpupool-cpu-remove {pool} {}", d.pick(&CPUS)),
        10..=13 => format!("cpupool-migrate {dom} {pool}"),
        14 => format!("cpupool-migrate hog-a beat-a smp {fair}"),
        15 => format!("pool-sched {fair} {}", d.pick(&SCHEDS)),
        16 => format!("pool-sched hard {}", d.pick(&["null", "credit2", "rr"])),
        17 => format!("sched-credit2 -d {dom} -w {}", d.roll(1024)),
        18 => format!("sched-credit2 -d {hardy} -c {}", d.roll(150)),
        19 => format!(
            "sched-rtds -d {hardy} -p {} -b {}",
            d.roll(50_000),
            d.roll(20_000)
        ),
        20 => format!("boost -p {pool} {}", d.pick(&["on", "off"])),
        21 => format!(
            "boost -d {dom} ratio={} interval={}",
            d.roll(600),
            d.roll(2_000)
        ),
        22 => format!("vcpu-pin {dom} all {}", d.pick(&CPUS)),
        23 => format!("vcpu-pin {dom} {} {}", d.roll(2), d.pick(&CPUS)),
        24 => format!(
            "group-create {} pool={fair} weight={} procs={}",
            d.pick(&GROUPS),
            100 + d.roll(500),
            1 + d.roll(2)
        ),
        25 => format!(
            "group-create {} in={} sched=rr",
            d.pick(&GROUPS),
            d.pick(&GROUPS)
        ),
        26 => format!("group-move {dom} {}", d.pick(&GROUPS)),
        27 => format!("group-move {dom} {pool}"),
        28 => format!("params -p {pool} ratelimit={}", 100 + d.roll(2_000)),
        29 => match d.roll(3) {
            0 => format!("destroy {hardy}"),
            1 => format!("create {hardy}"),
            // Who is through comes again.
            _ => format!("create {}", d.pick(&CHECKED)),
        },
        _ => match d.roll(5) {
            0 | 1 => format!("group-destroy {}", d.pick(&GROUPS)),
            2 => format!("group-delegate {} {dom}", d.pick(&GROUPS)),
            3 => format!(
                "pool-apply cpupool-migrate hog-b {fair} / pool-modify {fair} cpu={}",
                d.pick(&CPUS)
            ),
            _ => format!("pause {hardy};unpause {hardy}"),
        },
    }
}

/// Types commands on a line and waits for the verdict of each.
fn type_line(console: &mut Console, line: &str, done: &mut [u32; 2]) -> Result<(), String> {
    let count = line.split(';').count();
    console.send(&format!("@{line}\r"))?;
    for _ in 0..count {
        let (verdict, _) = console
            .expect_any(&["\n@ok\n", "\n@error\n"])
            .map_err(|error| format!("{error} after '{line}'"))?;
        // The line end belongs to the next verdict, too.
        console.step_back(1);
        done[verdict] += 1;
    }
    console.expect(exec::PROMPT).map(|_| ())
}

/// A row of a listing for programs: the text and the sets of numbers by name.
pub struct Row(BTreeMap<String, String>);

/// The rows of a listing for programs.
pub fn rows(text: &str) -> Vec<Row> {
    text.lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| {
            let mut fields = BTreeMap::new();
            let mut rest = line.trim_matches(['{', '}']);
            while let Some((key, value)) = rest.strip_prefix('"').and_then(|r| r.split_once("\":"))
            {
                let end = match value.chars().next() {
                    Some('"') => value[1..].find('"').map_or(value.len(), |at| at + 2),
                    Some('[') => value.find(']').map_or(value.len(), |at| at + 1),
                    _ => value.find(',').unwrap_or(value.len()),
                };
                let trimmed = value[..end].trim_matches(['"', '[', ']']);
                fields.insert(key.to_owned(), trimmed.to_owned());
                rest = value[end..].trim_start_matches(',');
            }
            Row(fields)
        })
        .collect()
}

impl Row {
    /// A field, empty if there is none.
    pub fn get(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    fn set(&self, key: &str) -> BTreeSet<u32> {
        self.get(key)
            .split(',')
            .filter_map(|n| n.parse().ok())
            .collect()
    }
}

/// The listings must agree; gives the CPU time of each domain.
pub fn check(console: &mut Console) -> Result<BTreeMap<String, f64>, String> {
    let pools = rows(&exec::must(console, "pool-list --json")?);
    let domains = rows(&exec::must(console, "list --json")?);
    let cpus = rows(&exec::must(console, "cpu-list --json")?);
    let mut seen = BTreeSet::new();
    for pool in &pools {
        let (name, set) = (pool.get("pool"), pool.set("cpus"));
        for cpu in &set {
            if !seen.insert(*cpu) {
                return Err(format!("CPU {cpu} is in two pools"));
            }
            let at = cpus.iter().find(|c| c.get("cpu") == cpu.to_string());
            if at.map(|c| c.get("pool")) != Some(name) {
                return Err(format!("CPU {cpu} does not know that it is in {name}"));
            }
        }
        let inside = pool.set("domains");
        if !inside.is_empty() && set.is_empty() {
            return Err(format!("{name} has domains and no CPU"));
        }
        for domain in &domains {
            let id: u32 = domain
                .get("id")
                .parse()
                .map_err(|_| "a domain without id")?;
            if (domain.get("pool") == name) != inside.contains(&id) {
                return Err(format!("{name} and domain {id} do not agree"));
            }
        }
        if name == "Pool-0" && (!set.contains(&0) || !inside.contains(&0)) {
            return Err("the boot CPU or dom0 has left Pool-0".into());
        }
    }
    if let Some(crashed) = domains.iter().find(|d| d.get("state").contains('c')) {
        return Err(format!("{} has crashed", crashed.get("name")));
    }
    Ok(domains
        .iter()
        .map(|d| {
            (
                d.get("name").to_owned(),
                d.get("time_s").parse().unwrap_or(0.0),
            )
        })
        .collect())
}

/// A number from the environment.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The transcripts of a guest that was started again and again, the last one as far as it has come.
fn runs<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let end = format!("({name}) TEST-END ");
    let mut rest = text;
    let mut found = Vec::new();
    while let Some(at) = rest.find(&end) {
        let line = rest[at..].find('\n').map_or(rest.len(), |n| at + n + 1);
        found.push(&rest[..line]);
        rest = &rest[line..];
    }
    found
}

/// Both guests that check themselves have been through without a failure.
fn unharmed(text: &str, least: usize) -> Result<(), String> {
    for name in CHECKED {
        let all = runs(text, name);
        if all.len() < least {
            return Err(format!("{name} has been through only {} times", all.len()));
        }
        for (number, run) in all.into_iter().enumerate() {
            Transcript::read(run, Some(name))
                .verify()
                .map_err(|error| format!("{name}, run {}: {error}", number + 1))?;
        }
    }
    Ok(())
}

/// All domains alive in Pool-0, unpaused, uncapped, with all CPUs; then each must go on.
fn settle(console: &mut Console) -> Result<(), String> {
    exec::must(console, "pool-sched Pool-0 credit2")?;
    for name in &DOMAINS[..HARDY] {
        // It may be there, and it may run.
        exec::command(console, &format!("create {name}"))?;
        exec::command(console, &format!("unpause {name}"))?;
        exec::must(console, &format!("sched-credit2 -d {name} -c 0 -w 256"))?;
        exec::must(console, &format!("cpupool-migrate {name} Pool-0"))?;
    }
    for name in CHECKED {
        // It may be through and gone.
        exec::command(console, &format!("sched-credit2 -d {name} -w 256"))?;
        exec::command(console, &format!("cpupool-migrate {name} Pool-0"))?;
    }
    for pool in &POOLS[1..] {
        // Groups left there may have been promised time by rtds.
        exec::command(console, &format!("pool-sched {pool} credit2"))?;
    }
    exec::must(console, "cpupool-cpu-add Pool-0 0-3")?;
    let before = check(console)?;
    exec::must(console, "top -i 0.3 -n 1")?;
    let after = check(console)?;
    if after.get("hog-a") <= before.get("hog-a") {
        return Err("hog-a does not run any more".into());
    }
    // The others answer on their consoles.
    for name in ["beat-a", "beat-b"] {
        console.send(&format!("console {name}\r"))?;
        console.expect("*** Console input to ")?;
        console.send("still there?\r")?;
        console.expect("you typed: still there?")?;
        loop {
            console.send("\x01\x01\x01")?;
            console.expect("*** Console input to ")?;
            if console.rest_of_line()?.starts_with("dom0 ") {
                break;
            }
        }
        console.send("\r")?;
        console.expect(exec::PROMPT)?;
    }
    Ok(())
}

fn storm(bench: &mut Bench, gic: u8, clock: Clock, usual: u32) -> Result<(), String> {
    let operations = number("TARN_STORM").map_or(usual, |n| n.min(1_000_000) as u32);
    // CPUs side by side are threads of the host. With more to do than they can, each end of a slice finds the others waiting
    // for the pool's lock, whose turn it is being decided by the host, and nothing goes on.
    let (vcpus, second) = match clock {
        Clock::Instructions => (2, "guest-hog"),
        Clock::Host => (1, "guest-hello"),
    };
    let config = domain("hog-a", "guest-hog", vcpus, 16, "quiet=1", "")
        + &domain("hog-b", second, 1, 16, "quiet=1", "")
        + &domain("beat-a", "guest-hello", 2, 16, "", "")
        + &domain("beat-b", "guest-hello", 1, 16, "", "")
        + &domain("smp", "guest-smp", 2, 16, "rounds=20", "")
        + &domain("timer", "guest-timer", 1, 16, "stops=1", "");
    let mut machine = Machine::tarn(gic, 4).with_config(config);
    machine.clock = clock;
    // Threads of a busy host that wait for each other are slow beyond any measure: see above.
    let limit = if clock == Clock::Host { 600 } else { 240 } + u64::from(operations) / 10;
    let mut console = bench.start("Tarn", &machine, limit)?;
    prompt(&mut console)?;
    let mut dice = Dice(0x5eed + u64::from(gic) + (number("TARN_SEED").unwrap_or(0) << 8));
    let mut done = [0; 2];
    let mut made = 0;
    let mut waiting = String::new();
    while made < operations {
        for _ in 0..ROUND {
            let next = operation(&mut dice);
            made += 1;
            if !waiting.is_empty() && waiting.len() + 1 + next.len() > LINE {
                type_line(&mut console, &core::mem::take(&mut waiting), &mut done)?;
            }
            if !waiting.is_empty() {
                waiting.push(';');
            }
            waiting.push_str(&next);
        }
        type_line(&mut console, &core::mem::take(&mut waiting), &mut done)?;
        check(&mut console)?;
    }
    settle(&mut console)?;
    for name in CHECKED {
        // What it began in the storm it ends in peace.
        let end = format!("({name}) TEST-END ");
        let alive = exec::must(&mut console, "list")?
            .lines()
            .any(|l| l.split_whitespace().next() == Some(name));
        if alive {
            console.expect_within(&[&end], Duration::from_secs(120))?;
            console.send("\r")?;
            prompt(&mut console)?;
        }
    }
    exec::power_off(&mut console)?;
    if clock == Clock::Instructions {
        unharmed(&console.text(), (operations / OPERATIONS_A_RUN) as usize)?;
    }
    let [good, bad] = done;
    if good < operations / 10 || bad < operations / 20 {
        return Err(format!(
            "{good} succeeded and {bad} did not: that is no storm"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_rows() {
        let r = rows("x\n{\"pool\":\"p 1\",\"cpus\":[1,2],\"n\":3,\"last\":[]}\n");
        assert_eq!(r.len(), 1);
        assert_eq!((r[0].get("pool"), r[0].get("n")), ("p 1", "3"));
        assert_eq!(r[0].set("cpus"), [1, 2].into_iter().collect());
        assert!(r[0].set("last").is_empty());
    }
}
