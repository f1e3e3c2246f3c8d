//! Debian's arm64 kernel, unmodified: natively (which proves the harness), as a domain, and two on one CPU.

use std::time::Duration;

use xtask::linux::{self, Linux};
use xtask::machine::{Clock, Machine};

use super::{answers_and_powers_off, domain, prompt};
use crate::runner::{Bench, Test};

const UP: &str = "TARN-LINUX-UP cpus=";
const OFF: &str = "TARN-LINUX-OFF";

fn provided() -> Result<Linux, String> {
    let linux = linux::place();
    for file in [&linux.kernel, &linux.initrd] {
        if !file.is_file() {
            return Err(format!(
                "{} is missing: run `cargo xtask linux`",
                file.display()
            ));
        }
    }
    Ok(linux)
}

/// Without Tarn.
pub fn native_tests() -> Vec<Test> {
    [(2, 2), (3, 2)]
        .into_iter()
        .map(|(gic, cpus)| {
            Test::new(
                format!("native/linux-gic{gic}-smp{cpus}"),
                "the kernel without a hypervisor: proves the harness",
                move |bench| {
                    let linux = provided()?;
                    let mut machine = Machine::native(gic, cpus, linux.kernel);
                    machine.initrd = Some(linux.initrd);
                    machine.memory = 256;
                    machine.bootargs = "console=ttyAMA0 tarn.cmd=\"test $(nproc) = 2\"".into();
                    let mut console = bench.start("Linux", &machine, 120)?;
                    console.expect(&format!("{UP}{cpus} "))?;
                    console.expect("TARN-LINUX-DONE rc=0")?;
                    console.expect(OFF)?;
                    console.finish()
                },
            )
        })
        .collect()
}

/// As domains.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (gic, vcpus) in [(2, 1), (2, 2), (3, 1), (3, 2)] {
        tests.push(Test::new(
            format!("linux/gic{gic}-vcpus{vcpus}"),
            "reaches userspace with all vCPUs, works, powers off; dom0 goes on",
            move |bench| {
                provided()?;
                let command = "test $(nproc) = $((cpus)) && cat /proc/interrupts /proc/cpuinfo > /tmp/x && sleep 0.3 && dd if=/dev/zero of=/tmp/y bs=1M count=8 2>/dev/null && md5sum /tmp/y";
                let command = command.replace("$((cpus))", &vcpus.to_string());
                let bootargs = format!("console=ttyAMA0 tarn.cmd=\\\"{command}\\\"");
                let machine = Machine::tarn(gic, 2).with_config(linux::domain("linux", vcpus, 256, &bootargs, ""));
                let mut console = bench.start("Tarn", &machine, 180)?;
                console.expect(&format!("{UP}{vcpus} "))?;
                console.expect("TARN-LINUX-DONE rc=0")?;
                console.expect(OFF)?;
                console.expect("powered off")?;
                answers_and_powers_off(&mut console)?;
                no_complaint(&console.text())
            },
        ));
    }
    for gic in [2, 3] {
        tests.push(Test::new(
            format!("linux/two-on-one-cpu-gic{gic}"),
            "two kernels share one physical CPU and both finish",
            move |bench| {
                provided()?;
                let bootargs = "console=ttyAMA0 tarn.cmd=\\\"i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done\\\"";
                let config = [("one", 1), ("two", 1)].map(|(name, vcpus)| linux::domain(name, vcpus, 192, bootargs, "")).concat();
                let mut machine = Machine::tarn(gic, 1).with_config(config);
                machine.memory = 1024;
                let mut console = bench.start("Tarn", &machine, 300)?;
                prompt(&mut console)?;
                for _ in 0..2 {
                    console.expect("TARN-LINUX-DONE rc=0")?;
                }
                let mut ends = 0;
                let text = console.text();
                ends += text.matches("powered off").count();
                while ends < 2 {
                    console.expect_within(&["powered off"], Duration::from_secs(60))?;
                    ends = console.text().matches("powered off").count();
                }
                answers_and_powers_off(&mut console)?;
                let text = console.text();
                for name in ["one", "two"] {
                    if !text.lines().any(|line| line.starts_with(&format!("({name}) ")) && line.contains(OFF)) {
                        return Err(format!("domain {name} did not finish"));
                    }
                }
                no_complaint(&text)
            },
        ));
    }
    for gic in [2, 3] {
        tests.push(Test::new(
            format!("linux/steal-gic{gic}"),
            "beside a guest that never sleeps, on one CPU, Linux sees that about half of its time is stolen",
            move |bench| steal(bench, gic),
        ).counted());
    }
    tests.push(Test::new(
        "linux/panic-beside-another",
        "one kernel panics and resets; the other runs on, dom0 too",
        |bench| {
            provided()?;
            let crash = "console=ttyAMA0 panic=-1 tarn.cmd=\\\"echo c > /proc/sysrq-trigger\\\"";
            let well = "console=ttyAMA0 tarn.cmd=\\\"sleep 4\\\"";
            let config =
                linux::domain("bad", 1, 192, crash, "") + &linux::domain("good", 1, 192, well, "");
            let mut console = bench.start("Tarn", &Machine::tarn(3, 2).with_config(config), 300)?;
            console.expect("(bad) ")?;
            console.expect("Kernel panic - not syncing")?;
            let text = console.text();
            if !text.contains("(good) TARN-LINUX-OFF") {
                console.expect("(good) TARN-LINUX-OFF")?;
            }
            answers_and_powers_off(&mut console)
        },
    ));
    tests
}

/// Linux computes for a while; the first line of /proc/stat before and after says who had the time, in 1/100 s.
fn steal(bench: &mut Bench, gic: u8) -> Result<(), String> {
    provided()?;
    let stat = "echo STAT $(head -n 1 /proc/stat)";
    let command = format!(
        "{stat}; i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; {stat}; dmesg | grep -c stolen"
    );
    let bootargs = format!("console=ttyAMA0 tarn.cmd=\\\"{command}\\\"");
    let config = linux::domain("linux", 1, 192, &bootargs, "")
        + &domain("hog", "guest-hog", 1, 16, "quiet=1", "");
    let mut machine = Machine::tarn(gic, 1).with_config(config);
    machine.clock = Clock::Instructions;
    let mut console = bench.start("Tarn", &machine, 300)?;
    console.expect("TARN-LINUX-DONE rc=0")?;
    console.expect("domain linux: powered off")?;
    answers_and_powers_off(&mut console)?;
    let text = console.text();
    // user nice system idle iowait irq softirq steal
    let rows: Vec<Vec<u64>> = text
        .lines()
        .filter_map(|line| {
            line.split_once("STAT cpu ")?
                .1
                .split(' ')
                .map(|n| n.parse().ok())
                .collect()
        })
        .collect();
    let [before, after] = &rows[..] else {
        return Err(format!("{} lines of /proc/stat", rows.len()));
    };
    let spent: Vec<u64> = before.iter().zip(after).map(|(a, b)| b - a).collect();
    let (all, stolen) = (
        spent.iter().take(8).sum::<u64>(),
        spent.get(7).copied().unwrap_or(0),
    );
    if all < 20 || !(40..=60).contains(&(stolen * 100 / all)) {
        return Err(format!("of {all} ticks {stolen} were stolen: {spent:?}"));
    }
    Ok(())
}

/// What a kernel says when its machine is not as it should be.
fn no_complaint(text: &str) -> Result<(), String> {
    let bad = [
        "WARNING: CPU",
        "BUG:",
        "rcu: INFO",
        "Unable to handle kernel",
        "soft lockup",
        "Internal error",
        "Call trace:",
    ];
    match text
        .lines()
        .find(|line| bad.iter().any(|word| line.contains(word)))
    {
        Some(line) => Err(format!("the kernel complains: {}", line.trim())),
        None => Ok(()),
    }
}
