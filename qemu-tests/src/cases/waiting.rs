//! WFI that does not trap: in a pool of one vCPU a CPU with `wfi-native`, sleeping costs no exit, and what must wake a
//! guest wakes it.

use std::time::Duration;

use xtask::exec;
use xtask::machine::Machine;

use super::{all_through, answers_and_powers_off, domain, prompt, verify_all};
use crate::runner::{Bench, Test};

/// A pool of the last two of four CPUs, by the number of its phandle.
fn pool(native: bool) -> String {
    let native = u32::from(native);
    format!(
        "/ {{ chosen {{ quiet: pool {{ compatible = \"xen,cpupool\"; tarn,name = \"quiet\"; tarn,cpus = \"2-3\";
             cpupool-sched = \"null\"; tarn,wfi-native = <{native}>; }}; }}; }};\n"
    )
}

/// The tests.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for gic in [2, 3] {
        tests.push(Test::new(
            format!("wfi/native-wakes-gic{gic}"),
            "two vCPUs that sleep in WFI untrapped: timers and interrupts to each other wake them, none is lost",
            move |bench| {
                let config = pool(true)
                    + &domain("guest-smp", "guest-smp", 2, 16, "rounds=100", IN_POOL);
                let names = ["guest-smp"];
                let machine = Machine::tarn(gic, 4).with_config(config);
                let mut console = all_through(bench, &machine, 180, &names)?;
                answers_and_powers_off(&mut console)?;
                verify_all(&console, &names)
            },
        ));
        tests.push(Test::new(
            format!("wfi/native-does-not-exit-gic{gic}"),
            "a guest that sleeps between its timer's ticks and a typed line: no exit for WFI; trapped, there are some",
            move |bench| {
                let native = exits(bench, gic, true)?;
                let trapped = exits(bench, gic, false)?;
                if native != 0 || trapped == 0 {
                    return Err(format!("{native} exits natively, {trapped} trapped"));
                }
                Ok(())
            },
        ));
    }
    tests
}

const IN_POOL: &str = "domain-cpupool = <&quiet>;";

/// How often a guest came to EL2 by WFI until it had ticked three times and answered a line.
fn exits(bench: &mut Bench, gic: u8, native: bool) -> Result<u64, String> {
    let config = pool(native) + &domain("sleeper", "guest-hello", 1, 16, "", IN_POOL);
    let label = if native { "native WFI" } else { "trapped WFI" };
    let machine = Machine::tarn(gic, 4).with_config(config);
    let mut console = bench.start(label, &machine, 120)?;
    console.expect_within(&["(sleeper) tick 3"], Duration::from_secs(60))?;
    console.send("\r")?;
    prompt(&mut console)?;
    console.send("console sleeper\r")?;
    console.expect("Console input to sleeper")?;
    console.send("awake?\r")?;
    console.expect_within(&["you typed: awake?"], Duration::from_secs(20))?;
    // Ctrl-A three times: the next console, which is dom0's.
    console.send("\u{1}\u{1}\u{1}\r")?;
    prompt(&mut console)?;
    let counters = exec::must(&mut console, "counters sleeper")?;
    exec::power_off(&mut console)?;
    let line = counters.lines().find(|l| l.contains("exit-wfx"));
    let count = line.and_then(|l| l.split_whitespace().find_map(|w| w.parse().ok()));
    // A reason that never was may be left out of the listing; the interrupts of its ticks are not.
    if !counters.contains("irq-vtimer") {
        return Err(format!("no ticks in its counters:\n{counters}"));
    }
    Ok(count.unwrap_or(0))
}
