//! Small EL1 guests that ask the machine questions: run natively and as a domain of Tarn, they must hear the same.
//!
//! The native run is the judge: QEMU's own GIC, timer and PSCI say what hardware does. What only a hypervisor can
//! answer (unmapped addresses, unknown calls) the guest judges itself on `TARN` lines.

use xtask::console::Console;
use xtask::machine::{Clock, Machine};
use xtask::{exec, paths};

use super::{answers_and_powers_off, domain};
use crate::runner::{Bench, Test};
use crate::transcript::{DEATHS, END, Transcript};

/// A guest program: the image's name, vCPUs, boot arguments, and the controllers it runs with.
struct Program {
    image: &'static str,
    smp: u32,
    /// Physical CPUs that the domain's vCPUs share.
    cpus: u32,
    bootargs: &'static str,
    clock: Clock,
    about: &'static str,
}

/// Programs that wait for nothing run by the host's clock, which is faster; those that judge times or races count
/// instructions, so that a busy host changes nothing.
const fn program(
    image: &'static str,
    (smp, cpus): (u32, u32),
    bootargs: &'static str,
    clock: Clock,
    about: &'static str,
) -> Program {
    Program {
        image,
        smp,
        cpus,
        bootargs,
        clock,
        about,
    }
}

const PROGRAMS: [Program; 14] = [
    program(
        "guest-sys",
        (1, 2),
        "",
        Clock::Host,
        "system registers, traps and floating point",
    ),
    program(
        "guest-bad",
        (1, 2),
        "",
        Clock::Host,
        "memory it does not own, devices that are not there, calls nobody knows",
    ),
    program(
        "guest-bad",
        (1, 2),
        "mode=walks",
        Clock::Host,
        "page tables in nothing and in devices, devices executed and used as memory",
    ),
    program(
        "guest-bad",
        (1, 2),
        "mode=mmio",
        Clock::Host,
        "every offset and width of every device window",
    ),
    program(
        "guest-bad",
        (1, 2),
        "mode=registers",
        Clock::Host,
        "system registers at random, written and read",
    ),
    program(
        "guest-bad",
        (1, 2),
        "mode=calls",
        Clock::Host,
        "HVC and SMC with every immediate and many numbers",
    ),
    program(
        "guest-bad",
        (2, 2),
        "mode=psci",
        Clock::Host,
        "a flood of bad and contradictory PSCI calls",
    ),
    program(
        "guest-timer",
        (1, 2),
        "",
        Clock::Instructions,
        "virtual and physical timer",
    ),
    program(
        "guest-psci",
        (4, 4),
        "",
        Clock::Instructions,
        "every PSCI call and every error code",
    ),
    program(
        "guest-gic",
        (2, 2),
        "",
        Clock::Instructions,
        "every register and delivery rule of the interrupt controller",
    ),
    program(
        "guest-smp",
        (2, 2),
        "",
        Clock::Instructions,
        "two vCPUs on two CPUs: locks, barriers, interrupts, none lost",
    ),
    program(
        "guest-smp",
        (4, 4),
        "",
        Clock::Instructions,
        "four vCPUs on four CPUs",
    ),
    program(
        "guest-smp",
        (4, 1),
        "rounds=200",
        Clock::Instructions,
        "four vCPUs share one CPU",
    ),
    program(
        "guest-own",
        (2, 1),
        "",
        Clock::Instructions,
        "a domain's own calls, stolen time, and a page that says: not now",
    ),
];

/// Every program with every controller.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for program in &PROGRAMS {
        for gic in [2, 3] {
            let mode = program
                .bootargs
                .split_whitespace()
                .find_map(|word| word.strip_prefix("mode="));
            let mode = mode.map_or_else(String::new, |mode| format!("-{mode}"));
            let kind = program.image.trim_start_matches("guest-");
            let name = format!(
                "guest/{kind}{mode}-gic{gic}-vcpus{}-on-{}",
                program.smp, program.cpus
            );
            let test = Test::new(name, program.about, move |bench| {
                compare(bench, program, gic)
            });
            tests.push(test.clocked(program.clock));
        }
    }
    for (mode, call) in [
        ("off", "SYSTEM_OFF"),
        ("reset", "SYSTEM_RESET"),
        ("reset2", "SYSTEM_RESET2"),
    ] {
        for gic in [2, 3] {
            let name = format!("guest/psci-{mode}-gic{gic}");
            tests.push(Test::new(
                name,
                "a call that must not return ends the domain and nothing else",
                move |bench| ends(bench, gic, mode, call),
            ));
        }
    }
    tests
}

/// A guest that makes one of the calls that do not return, natively and as a domain.
fn ends(bench: &mut Bench, gic: u8, mode: &str, call: &str) -> Result<(), String> {
    let bootargs = format!("mode={mode}");
    let mut machine = Machine::native(gic, 1, paths::images().join("guest-psci.bin"));
    machine.bootargs.clone_from(&bootargs);
    let mut console = bench.start("the guest natively", &machine, 30)?;
    console.expect(&format!("CALL {call}\n"))?;
    console.finish()?;
    let native = console.text();
    let config = domain("guest-psci", "guest-psci", 1, 16, &bootargs, "");
    let mut console = bench.start(
        "the guest as a domain",
        &Machine::tarn(gic, 1).with_config(config),
        60,
    )?;
    console.expect(&format!("(guest-psci) CALL {call}\n"))?;
    let said = if mode == "off" {
        &["powered off"][..]
    } else {
        &["reboot", "restart", "reset"]
    };
    console.expect_any(said)?;
    answers_and_powers_off(&mut console)?;
    // SYSTEM_RESET2 is optional, and QEMU's own PSCI does not have it.
    let natively = mode != "reset2" && native.contains("RETURNED");
    if natively || console.text().contains("RETURNED") {
        return Err(format!("{call} returned"));
    }
    Ok(())
}

fn compare(bench: &mut Bench, program: &'static Program, gic: u8) -> Result<(), String> {
    let native = native(bench, program, gic)?;
    let text = as_domain(bench, program, gic)?;
    let domain = Transcript::read(&text, Some(program.image));
    domain
        .verify()
        .map_err(|error| format!("as a domain: {error}"))?;
    native.same_as(&domain)
}

fn native(bench: &mut Bench, program: &Program, gic: u8) -> Result<Transcript, String> {
    let image = paths::images().join(format!("{}.bin", program.image));
    let mut machine = Machine::native(gic, program.smp, image);
    machine.memory = 256;
    machine.bootargs = program.bootargs.into();
    machine.clock = program.clock;
    let mut console = bench.start("the guest natively", &machine, 120)?;
    to_the_end(&mut console)?;
    console.finish()?;
    let transcript = Transcript::read(&console.text(), None);
    transcript
        .verify()
        .map_err(|error| format!("natively: {error}"))?;
    Ok(transcript)
}

fn as_domain(bench: &mut Bench, program: &Program, gic: u8) -> Result<String, String> {
    let config = domain(
        program.image,
        program.image,
        program.smp,
        64,
        program.bootargs,
        "",
    );
    let mut machine = Machine::tarn(gic, program.cpus).with_config(config);
    machine.clock = program.clock;
    let mut console = bench.start("the guest as a domain", &machine, 150)?;
    to_the_end(&mut console)?;
    console.expect("powered off")?;
    console.send("\r")?;
    console.expect(exec::PROMPT)?;
    exec::power_off(&mut console)?;
    Ok(console.text())
}

/// Waits for the transcript's last line, or for the guest's death.
fn to_the_end(console: &mut Console) -> Result<(), String> {
    let (index, _) = console.expect_any(&[END, DEATHS[0], DEATHS[1]])?;
    if index > 0 {
        let line = console.rest_of_line()?;
        return Err(format!("{}{line}", DEATHS[index - 1]));
    }
    console.rest_of_line().map(|_| ())
}
