//! One guest that crashes, floods or never sleeps, beside others that must not notice; dom0 must still answer.
//!
//! What a guest hears back when it does what it must not is on its transcript (see `guests`).

use std::time::Duration;

use xtask::console::Console;
use xtask::machine::Machine;
use xtask::{exec, tree::Config};

use super::control::counter;
use super::{all_through, answers_and_powers_off, domain, prompt, verify_all};
use crate::gdb::{self, Gdb};
use crate::runner::{Bench, Test};

/// Modes of guest-bad that do not end by themselves.
const LOST: [&str; 6] = ["irqs-off", "sleep", "off", "null", "selfwrite", "flood"];

/// The tests.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for gic in [2, 3] {
        tests.push(Test::new(
            format!("isolation/bad-beside-good-gic{gic}"),
            "a guest that touches everything it must not, beside one that works, on one CPU",
            move |bench| {
                let config = domain("guest-bad", "guest-bad", 1, 16, "", "")
                    + &domain("guest-smp", "guest-smp", 2, 16, "rounds=100", "");
                let (machine, names) = (
                    Machine::tarn(gic, 1).with_config(config),
                    ["guest-bad", "guest-smp"],
                );
                let mut console = all_through(bench, &machine, 120, &names)?;
                answers_and_powers_off(&mut console)?;
                verify_all(&console, &names)
            },
        ));
        tests.push(Test::new(
            format!("isolation/hogs-gic{gic}"),
            "guests that never sleep share one CPU with a working one and with dom0",
            move |bench| {
                let config = domain("hog-a", "guest-hog", 1, 16, "", "")
                    + &domain("hog-b", "guest-hog", 1, 16, "", "")
                    + &domain("guest-timer", "guest-timer", 1, 16, "", "");
                let mut console =
                    bench.start("Tarn", &Machine::tarn(gic, 1).with_config(config), 180)?;
                prompt(&mut console)?;
                exec::must(&mut console, "list")?;
                console.expect("(guest-timer) TEST-END")?;
                answers_and_powers_off(&mut console)
            },
        ));
    }
    for mode in LOST {
        tests.push(Test::new(
            format!("isolation/lost-{mode}"),
            "a guest that loses itself, beside one that works, on one CPU; dom0 destroys it",
            move |bench| {
                let config = domain("lost", "guest-bad", 2, 16, &format!("mode={mode}"), "")
                    + &domain("guest-smp", "guest-smp", 2, 16, "rounds=100", "");
                let machine = Machine::tarn(3, 1).with_config(config);
                let mut console = all_through(bench, &machine, 120, &["guest-smp"])?;
                console.send("\r")?;
                prompt(&mut console)?;
                let list = exec::must(&mut console, "list")?;
                if list.contains("lost") {
                    exec::must(&mut console, "destroy lost")?;
                }
                answers_and_powers_off(&mut console)?;
                verify_all(&console, &["guest-smp"])
            },
        ));
    }
    tests.push(Test::new(
        "isolation/destroy-and-create",
        "a running domain destroyed and created again, many times, gives all its memory back",
        |bench| {
            let config = domain("hog", "guest-hog", 2, 32, "", "");
            let mut console = bench.start("Tarn", &Machine::tarn(3, 2).with_config(config), 180)?;
            prompt(&mut console)?;
            let mut free = Vec::new();
            for _ in 0..12 {
                exec::must(&mut console, "destroy hog")?;
                free.push(memory_line(&exec::must(&mut console, "info")?)?);
                exec::must(&mut console, "create hog")?;
                // created domains may wait for an unpause
                exec::command(&mut console, "unpause hog")?;
            }
            answers_and_powers_off(&mut console)?;
            // the first round may allocate what is kept for later ones
            if free[1..].windows(2).all(|pair| pair[0] == pair[1]) {
                Ok(())
            } else {
                Err(format!("free memory changes with every round: {free:?}"))
            }
        },
    ));
    for gic in [2, 3] {
        tests.push(Test::new(
            format!("isolation/ends-under-way-gic{gic}"),
            "a domain with many vCPUs restarts and ends while it is moved, its pool changed, and it is destroyed",
            move |bench| ends_under_way(bench, gic),
        ));
    }
    for gic in [2, 3] {
        tests.push(Test::new(
            format!("isolation/ends-at-home-gic{gic}"),
            "what ends in a pool is taken apart and begins again there, what dom0 destroys goes in dom0's",
            move |bench| ends_at_home(bench, gic),
        ));
    }
    tests.push(Test::new(
        "isolation/last-words",
        "a domain begins again when its last words are out, whichever CPU has printed them",
        last_words,
    ));
    for name in ["demo", "two-pools"] {
        tests.push(Test::new(
            format!("config/{name}"),
            "an example configuration boots as it says",
            move |bench| {
                let path = xtask::paths::root().join(format!("examples/configs/{name}.dts"));
                let mut machine = Machine::tarn(3, 4);
                machine.config = Some(Config::load(&path)?);
                let domains = if name == "demo" {
                    &["demo"][..]
                } else {
                    &["inside", "beside"]
                };
                let mut console = bench.start("Tarn", &machine, 60)?;
                prompt(&mut console)?;
                for _ in domains {
                    console
                        .expect_within(&["Hello from a guest with "], Duration::from_secs(20))
                        .or_else(|error| {
                            let heard = console.text().matches("Hello from a guest with ").count();
                            if heard >= domains.len() {
                                Ok((0, String::new()))
                            } else {
                                Err(error)
                            }
                        })?;
                }
                console.send("\r")?;
                prompt(&mut console)?;
                let list = exec::must(&mut console, "list")?;
                let pools = exec::must(&mut console, "pool-list")?;
                exec::must(&mut console, "vcpu-list")?;
                exec::power_off(&mut console)?;
                if let Some(missing) = domains.iter().find(|domain| !list.contains(**domain)) {
                    return Err(format!("'list' does not know {missing}:\n{list}"));
                }
                if name == "two-pools" && !(pools.contains("Pool-0") && pools.contains("fast")) {
                    return Err(format!("'pool-list' does not know both pools:\n{pools}"));
                }
                Ok(())
            },
        ));
    }
    tests
}

/// Whatever dom0 wants of a domain whose end or restart is under way is done or refused; its neighbour goes on, and nothing
/// is left of it in the end.
fn ends_under_way(bench: &mut Bench, gic: u8) -> Result<(), String> {
    let vcpus = if gic == 2 { 8 } else { 24 };
    let config = domain("resets", "guest-bench", vcpus, 16, "mode=reset", "")
        + &domain(
            "ends",
            "guest-bench",
            vcpus,
            16,
            "mode=off",
            "tarn,restart = \"always\";",
        )
        + &domain("hog", "guest-hog", 1, 16, "quiet=1", "");
    let machine = Machine::tarn(gic, 3).with_config(config);
    let mut console = bench.start("Tarn", &machine, 300)?;
    prompt(&mut console)?;
    exec::must(&mut console, "pool-create far cpu=2")?;
    exec::must(&mut console, "cpupool-migrate hog far")?;
    let mut free = Vec::new();
    for round in 0..6 {
        for command in [
            "cpupool-migrate resets far",
            "pool-sched far rr",
            "cpupool-migrate ends far",
            "pause resets",
            "unpause resets",
            "cpupool-migrate resets Pool-0",
            "pool-sched far credit2",
            "cpupool-migrate ends Pool-0",
            "vcpu-list",
        ] {
            // It may have come to its end, or be between two lives: then that is said.
            exec::command(&mut console, command)?;
        }
        // Wherever they are just now, or given up after too many short lives.
        if round % 2 == 1 {
            for name in ["resets", "ends"] {
                exec::must(&mut console, &format!("destroy {name}"))?;
                exec::must(&mut console, &format!("create {name}"))?;
            }
            free.push(memory_line(&exec::must(&mut console, "info")?)?);
        }
    }
    exec::must(&mut console, "destroy hog")?;
    answers_and_powers_off(&mut console)?;
    if !console.text().contains("domain resets: rebooted")
        || !console.text().contains("domain ends: powered off")
    {
        return Err("nothing has ended by itself".into());
    }
    if console.text().contains("NOTE returned") {
        return Err("a vCPU ran on after it had ended its domain".into());
    }
    // The first time more may be taken for the heap, which keeps what it has.
    if free[1..].windows(2).all(|pair| pair[0] == pair[1]) {
        Ok(())
    } else {
        Err(format!("memory is not what it was: {free:?}"))
    }
}

/// A domain with many vCPUs restarts again and again in its pool, of which one CPU is always busy, as the other pool's are.
fn ends_at_home(bench: &mut Bench, gic: u8) -> Result<(), String> {
    let vcpus = 8;
    let config = domain(
        "resets",
        "guest-bench",
        vcpus,
        16,
        "mode=reset",
        "tarn,paused;",
    ) + &domain("here", "guest-hog", 2, 16, "quiet=1", "")
        + &domain("there", "guest-hog", 1, 16, "quiet=1", "");
    let machine = Machine::tarn(gic, 4).with_config(config);
    let mut console = bench.start("Tarn", &machine, 180)?;
    prompt(&mut console)?;
    exec::must(&mut console, "pool-create apart cpu=2-3")?;
    exec::must(&mut console, "pool-migrate there apart")?;
    exec::must(&mut console, "pool-migrate resets apart")?;
    let crossed = |console: &mut Console| -> Result<u64, String> {
        let text = exec::must(console, "counters")?;
        counter(&text, "end-pieces-cross-pool")
    };
    let before = crossed(&mut console)?;
    exec::must(&mut console, "unpause resets")?;
    for _ in 0..4 {
        console.expect("domain resets: rebooted")?;
    }
    console.send("\r")?;
    prompt(&mut console)?;
    let after = crossed(&mut console)?;
    if before != after {
        return Err(format!("{} pieces were done in Pool-0", after - before));
    }
    exec::must(&mut console, "destroy there")?;
    if crossed(&mut console)? == after {
        return Err("none of what dom0 has destroyed was taken apart in dom0's pool".into());
    }
    answers_and_powers_off(&mut console)
}

/// A domain resets with a long line unprinted, in a pool of its own. The boot CPU, which hears of room on the line, comes
/// late (a debugger holds it), and when it does, all has gone out with what a guest of a third pool prints.
fn last_words(bench: &mut Bench) -> Result<(), String> {
    let config = domain(
        "ends",
        "guest-bad",
        1,
        16,
        "mode=last-words",
        "tarn,paused;",
    ) + &domain("other", "guest-bad", 1, 16, "mode=murmur", "");
    let socket = std::env::temp_dir().join(format!("tarn-gdb-{}-words", std::process::id()));
    let _ = std::fs::remove_file(&socket);
    let mut machine = Machine::tarn(3, 3).with_config(config);
    machine.extra = gdb::arguments(&socket);
    let mut console = bench.start("Tarn", &machine, 60)?;
    prompt(&mut console)?;
    for (pool, cpu, domain) in [("first", 1, "ends"), ("second", 2, "other")] {
        exec::must(&mut console, &format!("pool-create {pool} cpu={cpu}"))?;
        exec::must(&mut console, &format!("pool-migrate {domain} {pool}"))?;
    }
    exec::must(&mut console, "unpause ends")?;
    console.expect("(ends) MODE last-words")?;
    let mut gdb = Gdb::attach(&socket)?;
    gdb.go_on_without_first(3)?;
    console.expect("domain ends: rebooted")?;
    console.expect("(ends) last word")?;
    for _ in 0..200 {
        console.expect("(other) .")?;
    }
    gdb.interrupt()?;
    gdb.detach()?;
    let _ = std::fs::remove_file(&socket);
    // Nothing is typed: that would call the boot CPU.
    console.expect("(ends) MODE last-words")?;
    console.send("\r")?;
    prompt(&mut console)?;
    answers_and_powers_off(&mut console)
}

/// The line of `info` that tells of free memory.
fn memory_line(info: &str) -> Result<String, String> {
    let line = info
        .lines()
        .find(|line| line.to_lowercase().contains("free"));
    line.map(|line| line.trim().to_owned())
        .ok_or_else(|| format!("'info' tells nothing of free memory:\n{info}"))
}
