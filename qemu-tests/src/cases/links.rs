//! Memory and doorbells that domains share: messages both ways, one side's end and return, a side that rings without end.

use xtask::console::Console;
use xtask::exec;
use xtask::linux;
use xtask::machine::{Clock, Machine};

use super::{answers_and_powers_off, domain, prompt};
use crate::runner::{Bench, Test};
use crate::transcript::{DEATHS, END, Transcript};

/// The tests.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for gic in [2, 3] {
        tests.push(Test::new(
            format!("links/messages-gic{gic}"),
            "two guests on two CPUs exchange messages; one ends, the other goes on, and the first comes again",
            move |bench| messages(bench, gic),
        ).counted());
        tests.push(Test::new(
            format!("links/flood-gic{gic}"),
            "a guest that rings without end takes next to nothing from the other one's neighbours",
            move |bench| flood(bench, gic),
        ).counted());
    }
    tests.push(Test::new(
        "links/linux",
        "an unmodified Linux finds memory and doorbell in its tree, passes a message, rings, and sees the other end go",
        linux_rings,
    ));
    tests
}

/// Linux in ping's place. It maps the memory uncached, which on a machine with caches would have to be so on both sides.
fn linux_rings(bench: &mut Bench) -> Result<(), String> {
    let send = |n: u32, want: u32| {
        format!(
            "devmem 0x7000000c 32 {want}; devmem 0x70000000 32 {n}; devmem 0x22020004 32 1; sleep 1;"
        )
    };
    let command = [
        "cd /proc/device-tree; cat reserved-memory/*70000000/compatible reserved-memory/*70000000/xen,id; echo;",
        "cat doorbell@22020004/compatible; echo; devmem 0x70000040 32 0x12345678;",
        &send(1, 1),
        "echo ANSWER $(devmem 0x70000004 32) $(devmem 0x70000040 32) ALIVE $(devmem 0x22020004 32);",
        &send(2, 2),
        "echo LAST $(devmem 0x70000004 32) $(devmem 0x70000040 32) ALIVE $(devmem 0x22020004 32)",
    ]
    .concat();
    let bootargs = format!("console=ttyAMA0 quiet tarn.cmd=\\\"{command}\\\"");
    let ping = shared("a", "link", "owner", "0 0x70000000 0 0x10000", "")
        + &shared("b", "log", "borrower", "0 0x70400000 0 0x1000", "")
        + &doorbell("ping_bell", "pong_bell");
    let pong = shared("a", "link", "borrower", "0 0x60000000 0 0x10000", "")
        + &shared("b", "log", "owner", "0 0x60400000 0 0x1000", "")
        + &doorbell("pong_bell", "ping_bell");
    let config = linux::domain("linux", 1, 192, &bootargs, &ping)
        + &domain("pong", "guest-link", 1, 8, "mode=pong", &pong);
    let mut console = bench.start("Tarn", &Machine::tarn(3, 2).with_config(config), 240)?;
    for want in [
        "xen,shared-memory-v1\0link\0\n",
        "tarn,doorbell-v1\0generic-uio\0\n",
        "ANSWER 0x00000001 0xEDCBA987 ALIVE 0x00000001",
        "domain pong: powered off",
        // The second message is the first one's answer: it comes back as it was.
        "LAST 0x00000002 0x12345678 ALIVE 0x00000000",
        "TARN-LINUX-DONE rc=0",
    ] {
        console.expect(want)?;
    }
    console.expect("domain linux: powered off")?;
    answers_and_powers_off(&mut console)
}

/// Shared memory as a node of a domain.
fn shared(name: &str, id: &str, role: &str, place: &str, more: &str) -> String {
    format!(
        "{name} {{ compatible = \"xen,domain-shared-memory-v1\"; xen,shm-id = \"{id}\"; role = \"{role}\";
           xen,shared-mem = <{place}>; {more} }};"
    )
}

/// Port 1 of a domain, whose other end has the label `to`.
/// A doorbell as a node of a domain.
pub fn doorbell(own: &str, to: &str) -> String {
    format!("{own}: bell {{ compatible = \"xen,evtchn-v1\"; xen,evtchn = <1 &{to}>; }};")
}

fn messages(bench: &mut Bench, gic: u8) -> Result<(), String> {
    let ping = shared("a", "link", "owner", "0 0x70000000 0 0x10000", "")
        + &shared(
            "b",
            "log",
            "borrower",
            "0 0x70400000 0 0x1000",
            "tarn,access = \"ro\";",
        )
        + &doorbell("ping_bell", "pong_bell");
    // The other side sees one at another address, and owns the other, which has a place on the board.
    let pong = shared("a", "link", "borrower", "0 0x60000000 0 0x10000", "")
        + &shared(
            "b",
            "log",
            "owner",
            "0 0x58000000 0 0x60400000 0 0x1000",
            "",
        )
        + &doorbell("pong_bell", "ping_bell");
    let config = domain("ping", "guest-link", 1, 8, "mode=ping", &ping)
        + &domain("pong", "guest-link", 1, 8, "mode=pong", &pong);
    let mut machine = Machine::tarn(gic, 2).with_config(config);
    machine.clock = Clock::Instructions;
    let mut console = bench.start("Tarn", &machine, 240)?;
    alive(&mut console, "ping: waits for the other to come again")?;
    console.send("\r")?;
    prompt(&mut console)?;
    let counters = exec::must(&mut console, "counters ping")?;
    let unheard = counters
        .lines()
        .find(|line| line.contains("doorbell-unheard"));
    if !unheard.is_some_and(|line| line.split_whitespace().any(|word| word == "2")) {
        return Err(format!("not two rings unheard:\n{counters}"));
    }
    exec::must(&mut console, "create pong")?;
    alive(&mut console, END)?;
    console.expect("domain ping: powered off")?;
    answers_and_powers_off(&mut console)?;
    Transcript::read(&console.text(), Some("ping")).verify()
}

/// Waits for `text`, or for a guest's death.
fn alive(console: &mut Console, text: &str) -> Result<(), String> {
    match console.expect_any(&[text, DEATHS[0], DEATHS[1]])?.0 {
        0 => Ok(()),
        _ => Err(format!("a guest died: {}", console.rest_of_line()?)),
    }
}

/// Units that the neighbour gets done in one and a half of its seconds.
fn units(console: &mut Console) -> Result<u64, String> {
    let mut report = || {
        console.expect("(neighbour) HOG t=")?;
        let line = console.rest_of_line()?;
        let number = |key| {
            let mut words = line.split_whitespace();
            words.find_map(|word: &str| word.strip_prefix(key)?.parse::<u64>().ok())
        };
        number("units=").ok_or_else(|| format!("no units in '{line}'"))
    };
    report()?;
    let begin = report()?;
    for _ in 0..2 {
        report()?;
    }
    Ok(report()? - begin)
}

/// CPU 1 belongs to one that listens and to one that computes; CPU 0 to one that rings as often as it can.
fn flood(bench: &mut Bench, gic: u8) -> Result<(), String> {
    let pool =
        "/ { chosen { far: far { compatible = \"xen,cpupool\"; cpupool-cpus = <&cpu1>; }; }; };";
    let there = "domain-cpupool = <&far>;";
    let config = pool.to_owned()
        + &domain(
            "listener",
            "guest-link",
            1,
            8,
            "mode=listen",
            &format!("{there}{}", doorbell("hear", "ring")),
        )
        + &domain("neighbour", "guest-hog", 1, 16, "every=500", there)
        // Instructions are counted, and the CPUs of the machine take turns: CPU 0 has to be as busy before as after.
        + &domain("busy", "guest-hog", 1, 16, "quiet=1", "")
        + &domain(
            "ringer",
            "guest-link",
            1,
            8,
            "mode=ring",
            &format!("tarn,paused;{}", doorbell("ring", "hear")),
        );
    let mut machine = Machine::tarn(gic, 2).with_config(config);
    machine.clock = Clock::Instructions;
    let mut console = bench.start("Tarn", &machine, 300)?;
    prompt(&mut console)?;
    let before = units(&mut console)?;
    console.send("pause busy; unpause ringer\r")?;
    let during = units(&mut console)?;
    console.expect("(listener) HEARD ")?;
    let heard = console.rest_of_line()?;
    let heard: u64 = heard.trim().parse().map_err(|_| format!("'{heard}'"))?;
    console.send("\r")?;
    prompt(&mut console)?;
    answers_and_powers_off(&mut console)?;
    // A line that storms is delivered without boost: the neighbour hardly notices.
    if heard < 500 || during * 100 < before * 85 {
        return Err(format!(
            "{before} units before, {during} while {heard} rings were heard"
        ));
    }
    Ok(())
}
