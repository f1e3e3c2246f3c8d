//! From power on to dom0's prompt, over the matrix of interrupt controllers, CPUs and memory sizes.

use std::time::Duration;

use xtask::exec;
use xtask::machine::Machine;

use super::prompt;
use crate::runner::Test;

/// The matrix.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (gic, smp) in [(2, 1), (2, 4), (3, 1), (3, 4), (2, 8), (3, 64)] {
        tests.push(Test::new(
            format!("boot/gic{gic}-smp{smp}"),
            "reaches the prompt with every CPU, runs the demo guest, answers, powers off",
            move |bench| {
                let mut machine = Machine::tarn(gic, smp);
                machine.memory = if smp > 8 { 2048 } else { 1024 };
                let mut console = bench.start("Tarn", &machine, if smp > 8 { 180 } else { 60 })?;
                prompt(&mut console)?;
                let info = exec::must(&mut console, "info")?;
                let cpus = format!("{smp} online of {smp}");
                if !info.contains(&cpus) {
                    return Err(format!("'info' does not say '{cpus}':\n{info}"));
                }
                if !info.to_lowercase().contains(&format!("gicv{gic}")) {
                    return Err(format!("'info' does not tell of a GICv{gic}:\n{info}"));
                }
                for command in ["help", "pool-list", "list", "vcpu-list", "dmesg"] {
                    exec::must(&mut console, command)?;
                }
                let answer = exec::command(&mut console, "no-such-command")?;
                if answer.ok {
                    return Err("an unknown command was accepted".into());
                }
                exec::power_off(&mut console)?;
                if !console.text().contains("Hello from a guest") {
                    return Err("the demo guest said nothing".into());
                }
                Ok(())
            },
        ));
    }
    for memory in [128, 256, 4096] {
        tests.push(Test::new(
            format!("boot/mem{memory}"),
            "boots with little and with much memory",
            move |bench| {
                let mut machine = Machine::tarn(3, 2);
                machine.memory = memory;
                let mut console = bench.start("Tarn", &machine, 60)?;
                prompt(&mut console)?;
                exec::must(&mut console, "info")?;
                exec::power_off(&mut console)
            },
        ));
    }
    tests.push(Test::new(
        "boot/at-el1",
        "entered at EL1: says so and stops",
        |bench| {
            let mut machine = Machine::tarn(3, 1);
            machine.el2 = false;
            let mut console = bench.start("Tarn at EL1", &machine, 30)?;
            console.expect("entered at EL1")?;
            console.expect("needs EL2")?;
            // it must stay stopped: the same line again would be a reset loop
            console.quiet(&["entered at", exec::PROMPT], Duration::from_secs(2))
        },
    ));
    tests.push(Test::new(
        "boot/reboot",
        "'reboot' resets the machine",
        |bench| {
            let mut console = bench.start("Tarn", &Machine::tarn(3, 2), 60)?;
            prompt(&mut console)?;
            console.send("reboot\r")?;
            // QEMU runs with -no-reboot: a reset ends it
            console.finish()
        },
    ));
    tests
}
