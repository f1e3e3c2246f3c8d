//! Live control under load: pools, CPUs, domains, groups and schedulers changed at random from the prompt while guests
//! work that check themselves; CPUs held at EL2; pools that do not disturb each other.

use std::time::Duration;

use xtask::console::Console;
use xtask::exec;
use xtask::machine::Machine;

use super::{answers_and_powers_off, domain, prompt};
use crate::runner::Test;
use crate::transcript::{END, Transcript};

/// Commands of one random session.
const COMMANDS: u64 = 250;

/// The tests.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for gic in [2, 3] {
        tests.push(Test::new(
            format!("control/random-gic{gic}"),
            "pools, CPUs, domains, groups and schedulers changed at random while guests work; no guest is harmed",
            move |bench| {
                let config = domain("smp", "guest-smp", 2, 16, "rounds=400", "")
                    + &domain("hog", "guest-hog", 2, 16, "quiet=1", "")
                    + &domain("timer", "guest-timer", 1, 16, "", "");
                let mut console =
                    bench.start("Tarn", &Machine::tarn(gic, 4).with_config(config), 300)?;
                prompt(&mut console)?;
                let mut random = Random(0x7a61_726e + gic as u64);
                let mut done = 0;
                for _ in 0..COMMANDS {
                    let line = random.command();
                    done += u32::from(exec::command(&mut console, &line)?.ok);
                }
                if u64::from(done) < COMMANDS / 8 {
                    return Err(format!("only {done} of {COMMANDS} commands were carried out"));
                }
                consistent(&mut console)?;
                home(&mut console)?;
                // It may be through already.
                let end = "(smp) TEST-END";
                if !console.text().contains(end) {
                    console.expect_within(&[end], Duration::from_secs(200))?;
                }
                console.send("\r")?;
                prompt(&mut console)?;
                answers_and_powers_off(&mut console)?;
                Transcript::read(&console.text(), Some("smp"))
                    .verify()
                    .map_err(|error| format!("smp: {error}"))
            },
        ));
    }
    for gic in [2, 3] {
        tests.push(Test::new(
            format!("control/calls-from-a-guest-gic{gic}"),
            "a guest that makes calls of every area with random registers, beside one that works; dom0 still rules",
            move |bench| {
                let config = domain("bad", "guest-bad", 1, 16, "mode=calls", "")
                    + &domain("smp", "guest-smp", 2, 16, "rounds=50", "");
                let mut console =
                    bench.start("Tarn", &Machine::tarn(gic, 2).with_config(config), 180)?;
                for _ in 0..2 {
                    console.expect(END)?;
                }
                console.send("\r")?;
                prompt(&mut console)?;
                exec::must(&mut console, "pool-create after cpu=1")?;
                exec::must(&mut console, "pool-destroy after")?;
                answers_and_powers_off(&mut console)?;
                for name in ["bad", "smp"] {
                    Transcript::read(&console.text(), Some(name))
                        .verify()
                        .map_err(|error| format!("{name}: {error}"))?;
                }
                Ok(())
            },
        ));
    }
    tests.push(Test::new(
        "control/from-the-tree",
        "fewer CPUs in Pool-0 by a boot option, scheduling parameters of a domain by its node",
        |bench| {
            let own =
                "tarn,boost-interval = <100>; tarn,rt-budget = <900>; tarn,rt-period = <1000>;
                       tarn,nonsense = <1>;";
            let config = domain("vm", "guest-hello", 1, 8, "", own);
            let mut machine = Machine::tarn(3, 4).with_config(config);
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
        },
    ));
    tests.push(Test::new(
        "control/pools-apart",
        "two busy pools: nothing crosses from one to the other, and a CPU held at EL2 does not hold the other pool's",
        |bench| {
            let config = domain("here", "guest-hog", 2, 16, "quiet=1", "")
                + &domain("there", "guest-hog", 2, 16, "quiet=1", "");
            let mut console = bench.start("Tarn", &Machine::tarn(3, 4).with_config(config), 120)?;
            prompt(&mut console)?;
            exec::must(&mut console, "pool-create apart cpu=2-3")?;
            exec::must(&mut console, "pool-migrate there apart")?;
            let crossed = |console: &mut Console| -> Result<[u64; 2], String> {
                let text = exec::must(console, "counters")?;
                Ok([
                    counter(&text, "ipis-cross-pool")?,
                    counter(&text, "locks-cross-pool")?,
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
            // dom0 answers from its own pool while a CPU of the other one is held, again and again.
            for _ in 0..10 {
                exec::must(&mut console, "cpu-run 3 hold=20000")?;
                exec::must(&mut console, "pool-list")?;
            }
            let midr = exec::must(&mut console, "cpu-run 2 midr")?;
            if !midr.contains("apart") || !midr.contains("0x") {
                return Err(format!("'cpu-run 2 midr' says\n{midr}"));
            }
            answers_and_powers_off(&mut console)
        },
    ));
    tests
}

/// The value of a counter in a listing.
fn counter(text: &str, name: &str) -> Result<u64, String> {
    text.lines()
        .find_map(|line| line.trim().strip_prefix(name)?.trim().parse().ok())
        .ok_or_else(|| format!("no counter {name} in\n{text}"))
}

/// Each CPU stands in at most one pool, and Pool-0 has the boot CPU and dom0.
fn consistent(console: &mut Console) -> Result<(), String> {
    let text = exec::must(console, "pool-list")?;
    let mut seen = Vec::new();
    for line in text.lines().skip(1) {
        let mut columns = line.split_whitespace();
        let (Some(name), Some(cpus)) = (columns.next(), columns.next()) else {
            continue;
        };
        for part in cpus.split(',').filter(|p| *p != "-") {
            let (a, b) = part.split_once('-').unwrap_or((part, part));
            let (Ok(a), Ok(b)) = (a.parse::<u32>(), b.parse::<u32>()) else {
                return Err(format!("CPUs of {name}: {cpus}"));
            };
            seen.extend(a..=b);
        }
        if name == "Pool-0" && !cpus.starts_with('0') {
            return Err(format!("Pool-0 has lost the boot CPU:\n{text}"));
        }
    }
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    if count == seen.len() {
        Ok(())
    } else {
        Err(format!("a CPU is in two pools:\n{text}"))
    }
}

/// All domains, all CPUs and a known scheduler in Pool-0.
fn home(console: &mut Console) -> Result<(), String> {
    for name in ["smp", "hog", "timer"] {
        // A guest that has finished is not there any more.
        exec::command(console, &format!("pool-migrate {name} Pool-0"))?;
    }
    for n in 0..3 {
        exec::command(console, &format!("pool-destroy p{n}"))?;
    }
    exec::must(console, "pool-sched Pool-0 credit2")?;
    for cpu in 1..4 {
        exec::command(console, &format!("cpupool-cpu-add Pool-0 {cpu}"))?;
    }
    let text = exec::must(console, "pool-list")?;
    if text.lines().filter(|l| !l.trim().is_empty()).count() == 2 && text.contains("0-3") {
        Ok(())
    } else {
        Err(format!("not everything came home:\n{text}"))
    }
}

/// xorshift64*: enough to scatter.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % n
    }

    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len() as u64) as usize]
    }

    /// One that may well be refused.
    fn command(&mut self) -> String {
        let pool = self.of(&["p0", "p1", "p2"]);
        let any = self.of(&["p0", "p1", "p2", "Pool-0"]);
        let who = self.of(&["smp", "hog", "timer"]);
        let sched = self.of(&["credit2", "rr", "credit2", "rtds", "null"]);
        let cpu = self.below(4);
        let group = self.of(&["g0", "g1"]);
        match self.below(15) {
            0 => format!("pool-create {pool} cpu={cpu}"),
            1 => format!("pool-create {pool} ncpu=1"),
            2 => format!("pool-destroy {pool}"),
            3 | 4 => format!("pool-migrate {who} {any}"),
            5 => format!("pool-migrate smp hog {any}"),
            6 => format!("cpupool-cpu-add {any} {cpu}"),
            7 => format!("cpupool-cpu-remove {any} {cpu}"),
            8 => format!("pool-sched {any} {sched}"),
            9 => format!("sched-credit2 -d {who} -w {}", 64 << self.below(5)),
            10 => format!(
                "group-create {group} pool={any} procs={}",
                1 + self.below(2)
            ),
            11 => format!("group-move {who} {group}"),
            12 => format!("group-destroy {group}"),
            13 => format!("vcpu-pin {who} 0 {cpu}"),
            _ => format!("pool-modify {pool} ncpu={}", 1 + self.below(2)),
        }
    }
}
