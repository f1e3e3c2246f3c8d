//! Random operations of an operator, under load: pools, CPUs, domains, groups and parameters, good ones and bad ones.
//!
//! The seed is fixed, so the same build gets the same commands. After each round the listings must agree with each other:
//! every CPU in one pool or free, the boot CPU and dom0 in Pool-0, every domain in the pool that counts it, a pool with
//! domains has a CPU. At the end every guest must have gone on working.
//!
//! `TARN_STORM=10000` makes so many operations instead of the few that every run can afford.

use std::collections::{BTreeMap, BTreeSet};

use xtask::console::Console;
use xtask::exec;
use xtask::machine::Machine;

use super::{domain, prompt};
use crate::runner::{Bench, Test};

/// Operations of an ordinary run.
const OPERATIONS: u32 = 400;
/// Operations between two looks at everything.
const ROUND: u32 = 40;
/// Commands on a line: a line holds 240 letters.
const ON_A_LINE: usize = 4;

/// Both controllers.
pub fn tests() -> Vec<Test> {
    [2, 3]
        .into_iter()
        .map(|gic| {
            Test::new(
                format!("operator/storm-gic{gic}"),
                "random operations on pools, CPUs, domains, groups and parameters harm nobody",
                move |bench| storm(bench, gic),
            )
        })
        .collect()
}

/// A small generator: the same numbers everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }
}

const POOLS: [&str; 5] = ["Pool-0", "p1", "p2", "p3", "nobody"];
const DOMAINS: [&str; 6] = ["hog-a", "hog-b", "beat-a", "beat-b", "dom0", "nobody"];
const GROUPS: [&str; 4] = ["g1", "g2", "g3", "none"];
const SCHEDS: [&str; 5] = ["credit2", "rtds", "rr", "null", "fifo"];
const CPUS: [&str; 8] = ["0", "1", "2", "3", "1-3", "2,3", "0-3", "9"];

/// One command; some cannot succeed.
fn operation(d: &mut Dice) -> String {
    let (pool, dom) = (d.pick(&POOLS), d.pick(&DOMAINS));
    match d.roll(26) {
        0 | 1 => format!("pool-create {pool} ncpu={}", d.roll(4)),
        2 => format!(
            "pool-create {pool} cpu={} sched={}",
            d.pick(&CPUS),
            d.pick(&SCHEDS)
        ),
        3 => format!("pool-modify {pool} ncpu={}", d.roll(5)),
        4 => format!("pool-modify {pool} cpu={}", d.pick(&CPUS)),
        5 | 6 => format!("pool-destroy {pool}"),
        7 | 8 => format!("cpupool-cpu-add {pool} {}", d.pick(&CPUS)),
        9 => format!("cpupool-cpu-remove {pool} {}", d.pick(&CPUS)),
        10..=13 => format!("cpupool-migrate {dom} {pool}"),
        14 => format!("cpupool-migrate hog-a beat-a {pool}"),
        15 => format!("pool-sched {pool} {}", d.pick(&SCHEDS)),
        16 => format!(
            "sched-credit2 -d {dom} -w {} -c {}",
            d.roll(1000),
            d.roll(150)
        ),
        17 => format!(
            "sched-rtds -d {dom} -p {} -b {}",
            d.roll(50_000),
            d.roll(20_000)
        ),
        18 => format!("boost -p {pool} {}", d.pick(&["on", "off"])),
        19 => format!(
            "boost -d {dom} ratio={} interval={}",
            d.roll(600),
            d.roll(2_000)
        ),
        20 => format!("vcpu-pin {dom} all {}", d.pick(&CPUS)),
        21 => format!(
            "group-create {} pool={pool} weight={}",
            d.pick(&GROUPS),
            d.roll(500)
        ),
        22 => format!(
            "group-create {} in={} sched=rr",
            d.pick(&GROUPS),
            d.pick(&GROUPS)
        ),
        23 => format!("group-move {dom} {}", d.pick(&GROUPS)),
        24 => format!("group-move {dom} {pool}"),
        _ => match d.roll(4) {
            0 => format!("group-destroy {}", d.pick(&GROUPS)),
            1 => format!("group-delegate {} {dom}", d.pick(&GROUPS)),
            2 => format!(
                "pool-apply cpupool-migrate hog-b {pool} / pool-modify {pool} cpu={}",
                d.pick(&CPUS)
            ),
            _ => format!("pause {dom};unpause {dom}"),
        },
    }
}

/// Types several commands on a line and waits for the verdict of each.
fn type_line(
    console: &mut Console,
    commands: &[String],
    done: &mut [u32; 2],
) -> Result<(), String> {
    let line = commands.join(";");
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
struct Row(BTreeMap<String, String>);

fn rows(text: &str) -> Vec<Row> {
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
    fn get(&self, key: &str) -> &str {
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
fn check(console: &mut Console) -> Result<BTreeMap<String, f64>, String> {
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

fn storm(bench: &mut Bench, gic: u8) -> Result<(), String> {
    let operations = std::env::var("TARN_STORM")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(OPERATIONS);
    let config = domain("hog-a", "guest-hog", 2, 16, "quiet=1", "")
        + &domain("hog-b", "guest-hog", 1, 16, "quiet=1", "")
        + &domain("beat-a", "guest-hello", 2, 16, "", "")
        + &domain("beat-b", "guest-hello", 1, 16, "", "");
    let machine = Machine::tarn(gic, 4).with_config(config);
    let limit = 120 + u64::from(operations) / 5;
    let mut console = bench.start("Tarn", &machine, limit)?;
    prompt(&mut console)?;
    let mut dice = Dice(0x5eed + u64::from(gic));
    let mut done = [0; 2];
    let mut made = 0;
    while made < operations {
        for _ in 0..ROUND as usize / ON_A_LINE {
            let line: Vec<String> = (0..ON_A_LINE).map(|_| operation(&mut dice)).collect();
            made += ON_A_LINE as u32;
            type_line(&mut console, &line, &mut done)?;
        }
        check(&mut console)?;
    }
    // Everything back: all domains in Pool-0, unpaused, uncapped, with all CPUs; then each must go on.
    for name in ["hog-a", "hog-b", "beat-a", "beat-b"] {
        exec::command(&mut console, &format!("unpause {name}"))?;
        exec::must(&mut console, &format!("sched-credit2 -d {name} -c 0"))?;
        exec::must(&mut console, &format!("cpupool-migrate {name} Pool-0"))?;
    }
    exec::must(&mut console, "pool-sched Pool-0 credit2")?;
    exec::must(&mut console, "cpupool-cpu-add Pool-0 0-3")?;
    let before = check(&mut console)?;
    exec::must(&mut console, "top -i 1 -n 1")?;
    let after = check(&mut console)?;
    for name in ["hog-a", "hog-b"] {
        if after.get(name) <= before.get(name) {
            return Err(format!("{name} does not run any more"));
        }
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
    exec::power_off(&mut console)?;
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
