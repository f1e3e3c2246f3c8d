//! Hypervisor calls by their registers, through the shim's `call`: a plan whose answer nobody waits for; and calls at random
//! from dom0, ids of every area and next to them, registers small, large, almost right, and any.
//!
//! dom0 may do everything, so much of this works: pools come and go, domains move, parameters change. Left out is only what
//! would end the test itself: the machine's and the domains' end and pause, the console's focus and input, and a boost page,
//! into which Tarn would write, anywhere in dom0's own memory. Afterwards the machine must be in order and every guest must go on.

use tarn_abi::call::plan::{AssignCpus, Begin, Commit, PoolRef};
use tarn_abi::call::{self, Request, Row};
use tarn_abi::{CpuId, CpuSet, Errno, PoolId, Regs};
use xtask::console::Console;
use xtask::exec;
use xtask::machine::{Clock, Machine};

use super::storm::{Dice, LINE, check, number};
use super::{answers_and_powers_off, domain, prompt};
use crate::runner::Bench;

/// Calls of an ordinary run.
const CALLS: u64 = 4_000;
/// What would end the test, by area and name.
const LEFT_OUT: [(&str, &str); 8] = [
    ("SystemCall", "Reboot"),
    ("SystemCall", "PowerOff"),
    ("ConsoleCall", "Write"),
    ("ConsoleCall", "Read"),
    ("ConsoleCall", "SetFocus"),
    ("DomainCall", "Destroy"),
    ("DomainCall", "Pause"),
    ("GuestCall", "SetPage"),
];

/// A value for a register.
fn value(d: &mut Dice) -> u64 {
    match d.roll(12) {
        0..=3 => d.roll(4) as u64,
        4 => d.roll(70) as u64,
        5 => 1 << d.roll(64),
        6 => (d.roll(4) as u64) << 16 | d.roll(6) as u64,
        7 => (d.roll(4) as u64) << 32 | d.roll(4) as u64,
        8 => u64::MAX - d.roll(3) as u64,
        // Names of one letter, which pools and groups may get.
        9 => u64::from(b'a') + d.roll(3) as u64,
        10 => 0x4000_0000 + (d.roll(1 << 20) as u64),
        _ => d.any(),
    }
}

/// One `call` with random registers.
fn command(d: &mut Dice, table: &[Row]) -> String {
    let id = match d.roll(10) {
        0 => u64::from(call::BASE) + d.roll(0x1000) as u64,
        1 => 0xc600_0000 + d.roll(0x100_0000) as u64,
        _ => u64::from(table[d.roll(table.len())].number),
    };
    // Bits above the function id mean nothing; a call that was left out is not reached by another way.
    let mut text = format!("call {id:#x}");
    for _ in 0..d.roll(8) {
        text.push_str(&format!(" {:#x}", value(d)));
    }
    text
}

/// Whether the call `text` makes is one of those left out.
fn harmful(text: &str, out: &[u32]) -> bool {
    let id = text
        .split_whitespace()
        .nth(1)
        .and_then(|w| w.strip_prefix("0x"));
    let id = id.and_then(|hex| u64::from_str_radix(hex, 16).ok());
    id.is_none_or(|id| out.contains(&(id as u32)))
}

/// Makes one call; what x0 answers.
fn raw(console: &mut Console, regs: &Regs) -> Result<u64, String> {
    let words: Vec<String> = regs.0.iter().map(|x| format!("{x:#x}")).collect();
    let line = format!("call {}", words.join(" "));
    let text = exec::must(console, &line)?;
    let x0 = text
        .split_whitespace()
        .find_map(|w| w.strip_prefix("x0=0x"));
    x0.and_then(|hex| u64::from_str_radix(hex, 16).ok())
        .ok_or_else(|| format!("'{line}' answers no x0:\n{text}"))
}

/// A plan is committed and nobody asks what became of it. The next one is carried out all the same: it has the same registers,
/// and must not be given the first one's answer.
pub fn plan_left_alone(bench: &mut Bench) -> Result<(), String> {
    let mut machine =
        Machine::tarn(3, 3).with_config(domain("hog", "guest-hog", 2, 16, "quiet=1", ""));
    machine.clock = Clock::Instructions;
    let mut console = bench.start("Tarn", &machine, 120)?;
    prompt(&mut console)?;
    let cpus = CpuSet::one(CpuId(2));
    let pool0 = PoolRef::Id(PoolId::new(0, 0));
    for (to, listed) in [(PoolRef::Free, "Pool-0  0-1 "), (pool0, "Pool-0  0-2 ")] {
        for step in [Begin {}.encode(), AssignCpus { to, cpus }.encode()] {
            let x0 = raw(&mut console, &step)?;
            if x0 != 0 {
                return Err(format!("a step of a plan answers {x0:#x}"));
            }
        }
        let x0 = raw(&mut console, &Commit {}.encode())?;
        if x0 != 0 && x0 != Errno::Again.to_wire() {
            return Err(format!("a commit answers {x0:#x}"));
        }
        // It ends by itself meanwhile.
        exec::must(&mut console, "top -i 0.2 -n 1")?;
        let pools = exec::must(&mut console, "pool-list")?;
        if !pools.lines().any(|l| l.starts_with(listed)) {
            return Err(format!("'{listed}' is to be listed:\n{pools}"));
        }
    }
    answers_and_powers_off(&mut console)
}

/// The test.
pub fn from_dom0(bench: &mut Bench, gic: u8) -> Result<(), String> {
    let rows: Vec<Row> = call::table().collect();
    let left_out = |row: &Row| LEFT_OUT.contains(&(row.area, row.name));
    let out: Vec<u32> = rows
        .iter()
        .filter(|r| left_out(r))
        .map(|r| r.number)
        .collect();
    let config = domain("hog", "guest-hog", 2, 16, "quiet=1", "")
        + &domain("beat", "guest-hello", 2, 16, "", "");
    let mut machine = Machine::tarn(gic, 3).with_config(config);
    machine.clock = Clock::Instructions;
    let mut console = bench.start("Tarn", &machine, 300)?;
    prompt(&mut console)?;
    let mut dice = Dice(0xca11 + u64::from(gic) + (number("TARN_SEED").unwrap_or(0) << 8));
    let calls = number("TARN_CALLS").unwrap_or(CALLS);
    let (mut made, mut worked) = (0, 0);
    while made < calls {
        let mut line = String::new();
        loop {
            let next = command(&mut dice, &rows);
            if harmful(&next, &out) {
                continue;
            }
            made += 1;
            line.push_str(&next);
            // A call is up to 167 letters long.
            if line.len() > LINE - 168 {
                break;
            }
            line.push(';');
        }
        console.send(&format!("@{line}\r"))?;
        let mut verdicts = 0;
        while verdicts < line.split(';').count() {
            let (verdict, text) = console
                .expect_any(&["\n@ok\n", "\n@error\n"])
                .map_err(|error| format!("{error} after '{line}'"))?;
            console.step_back(1);
            if verdict != 0 {
                return Err(format!("'{line}' was not made"));
            }
            worked += u64::from(text.contains("x0=0x0 "));
            verdicts += 1;
        }
        prompt(&mut console)?;
        if made % 500 < 3 {
            check(&mut console)?;
        }
    }
    if worked < calls / 20 {
        return Err(format!("only {worked} of {made} calls were carried out"));
    }
    exec::must(&mut console, "pool-sched Pool-0 credit2")?;
    for name in ["hog", "beat"] {
        exec::must(
            &mut console,
            &format!("sched-credit2 -d {name} -c 0 -w 256"),
        )?;
        exec::must(&mut console, &format!("cpupool-migrate {name} Pool-0"))?;
        exec::command(&mut console, &format!("unpause {name}"))?;
    }
    let before = check(&mut console)?;
    exec::must(&mut console, "top -i 0.3 -n 1")?;
    let after = check(&mut console)?;
    if after.get("hog") <= before.get("hog") {
        return Err("hog does not run any more".into());
    }
    answers_and_powers_off(&mut console)
}
