//! Who pays for an SError: the domain whose vCPU was in the CPU, or was just leaving it, and nobody else.
//!
//! QEMU makes no SError. A debugger stands in for the bus: at an exit of a guest it sends the CPU to the vector of an SError
//! instead of that of the interrupt that came; and at a switch it says that an SError waits, and what its syndrome is.

use std::path::PathBuf;

use xtask::exec;
use xtask::machine::Machine;

use super::{answers_and_powers_off, domain, prompt};
use crate::gdb::{self, Gdb, PC, Symbols};
use crate::runner::{Bench, Test};

/// Vectors of a lower level: of an IRQ and of an SError.
const IRQ: u64 = 0x480;
const SERROR: u64 = 0x580;
/// Syndrome of an SError: its class, and a 32-bit instruction.
const SYNDROME: u64 = 0xbe00_0011;
const NAMES: [&str; 2] = ["one", "two"];

/// The tests.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for gic in [2, 3] {
        tests.push(Test::new(
            format!("serror/running-gic{gic}"),
            "an SError while a guest runs ends that domain, the other on the same CPU goes on",
            move |bench| charged(bench, gic, while_running),
        ));
        tests.push(Test::new(
            format!("serror/leaving-gic{gic}"),
            "an SError that a vCPU led to before it lost the CPU ends its domain, not the next one's",
            move |bench| charged(bench, gic, while_leaving),
        ));
    }
    tests
}

/// Two guests that compute all the time, an SError made by `make`, and whom it has ended.
fn charged(
    bench: &mut Bench,
    gic: u8,
    make: impl FnOnce(&mut Gdb, u64) -> Result<u64, String>,
) -> Result<(), String> {
    let config = NAMES.map(|name| domain(name, "guest-hog", 1, 16, "every=100", ""));
    // A socket's path may not be long.
    let socket: PathBuf =
        std::env::temp_dir().join(format!("tarn-gdb-{}-{gic}", std::process::id()));
    let _ = std::fs::remove_file(&socket);
    let mut machine = Machine::tarn(gic, 1).with_config(config.concat());
    machine.extra = gdb::arguments(&socket);
    let mut console = bench.start("Tarn", &machine, 120)?;
    prompt(&mut console)?;
    for name in NAMES {
        console.expect(&format!("({name}) "))?;
    }
    let base = image_at(&console.text())?;
    let mut gdb = Gdb::attach(&socket)?;
    let victim = make(&mut gdb, base)?;
    gdb.detach()?;
    let _ = std::fs::remove_file(&socket);
    let name = NAMES[usize::try_from(victim - 1).unwrap_or(0).min(1)];
    let other = NAMES[usize::from(name == NAMES[0])];
    console.expect(&format!("domain {name}: SError"))?;
    console.expect(&format!("({other}) "))?;
    console.send("\r")?;
    prompt(&mut console)?;
    for (domain, count) in [(name, 1), (other, 0)] {
        let counters = exec::must(&mut console, &format!("counters {domain}"))?;
        let line = counters.lines().find(|line| line.contains("exit-serror"));
        let counted = line.and_then(|line| line.split_whitespace().last()?.parse().ok());
        if counted.unwrap_or(0u64) != count {
            return Err(format!(
                "counters {domain}: wanted {count} SErrors:\n{counters}"
            ));
        }
    }
    let list = exec::must(&mut console, "list")?;
    for (domain, crashed) in [(name, true), (other, false)] {
        let row = list.lines().find(|line| line.starts_with(domain));
        let state = row
            .and_then(|row| row.split_whitespace().nth(4))
            .unwrap_or("");
        if state.contains('c') != crashed {
            return Err(format!(
                "{victim} should have crashed and no other:\n{list}"
            ));
        }
    }
    answers_and_powers_off(&mut console)
}

/// Where the first line about it says that the image is.
fn image_at(console: &str) -> Result<u64, String> {
    let at = console
        .split_once("image at 0x")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .and_then(|at| u64::from_str_radix(at, 16).ok());
    at.ok_or_else(|| "Tarn does not say where its image is".into())
}

/// The domain whose stage 2 is in the CPU, by number: VMIDs are numbers of domains and one more.
fn loaded(gdb: &mut Gdb) -> Result<u64, String> {
    let vttbr = gdb.system_register("VTTBR_EL2")?;
    Ok((gdb.read(vttbr)? >> 48).saturating_sub(1))
}

/// Stops at `address` with a vCPU of one of the two in the CPU: which.
fn stop_with_guest(gdb: &mut Gdb, address: u64) -> Result<u64, String> {
    gdb.stop_at(address, true)?;
    for _ in 0..1000 {
        gdb.go_on()?;
        let id = loaded(gdb)?;
        if (1..=2).contains(&id) {
            gdb.stop_at(address, false)?;
            return Ok(id);
        }
    }
    Err("neither guest comes by".into())
}

fn while_running(gdb: &mut Gdb, base: u64) -> Result<u64, String> {
    let vectors = base + Symbols::of_tarn()?.find("hv_vectors")?;
    let id = stop_with_guest(gdb, vectors + IRQ)?;
    gdb.write(PC, vectors + SERROR)?;
    Ok(id)
}

fn while_leaving(gdb: &mut Gdb, base: u64) -> Result<u64, String> {
    let image =
        std::fs::read(xtask::paths::images().join("tarn.bin")).map_err(|e| e.to_string())?;
    let (test, register) = gdb::serror_test(&image).ok_or("nobody looks for an SError")?;
    let take = base + Symbols::of_tarn()?.find("take_serror")?;
    let id = stop_with_guest(gdb, base + test)?;
    let isr = gdb.read(register)?;
    gdb.write(register, isr | 1 << 8)?;
    gdb.stop_at(take, true)?;
    gdb.go_on()?;
    gdb.stop_at(take, false)?;
    // As if it had come: its syndrome to the caller.
    let back = gdb.read(30)?;
    gdb.write(0, SYNDROME)?;
    gdb.write(PC, back)?;
    Ok(id)
}
