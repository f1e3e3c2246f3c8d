//! `cargo xtask run`: the hypervisor in QEMU, on the user's terminal or driven by `--exec`.
//!
//! The options become a `Machine`; nothing here knows more about QEMU than that type does.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use xtask::args::{Parsed, Spec, switch, value};
use xtask::console::Console;
use xtask::machine::{Clock, Machine, Model, Serial};
use xtask::tree::Config;
use xtask::{exec, firmware, images, linux, paths, system};

use super::{Outcome, with_options};

const RUN: Spec = Spec {
    command: "scripts/run-qemu.sh",
    about: "Build Tarn and start it in QEMU with EL2. Ctrl-A three times moves the console's focus between dom0 and the\n\
            guests; Ctrl-T x ends QEMU; 'poweroff' at dom0's prompt ends it cleanly.",
    options: &[
        value("--machine", "virt|raspi4b", "the board (default virt)"),
        value("--gic", "2|3", "interrupt controller (default 3)"),
        value(
            "--smp",
            "N",
            "CPUs, up to 8 with --gic 2 and 64 with --gic 3 (default 4)",
        ),
        value("--mem", "MiB", "memory, from 128 (default 1024)"),
        switch("--linux", "a Debian arm64 kernel as a guest, with a shell"),
        value("--linux-vcpus", "N", "its vCPUs (default 2)"),
        value("--linux-mem", "MiB", "its memory (default 256)"),
        value(
            "--linux-cmd",
            "TEXT",
            "run this in it and power it off, instead of a shell",
        ),
        value(
            "--config",
            "DTS",
            "merge this device-tree source: domains and pools, see examples/configs",
        ),
        value(
            "--system",
            "TOML|IMG",
            "boot this system: a description (made into an image first) or an image of tarn-image",
        ),
        value("--bootargs", "TEXT", "the hypervisor's command line"),
        value(
            "--exec",
            "'COMMAND; COMMAND'",
            "type these at dom0's prompt, print the answers, power off",
        ),
        value(
            "--timeout",
            "SECONDS",
            "end after this time and fail (default: none; 120 with --exec)",
        ),
        switch("--gdb", "wait for a debugger on port 1234"),
        switch(
            "--icount",
            "count instructions: the same run gives the same figures",
        ),
        value(
            "--serial-tcp",
            "PORT",
            "serial line on this TCP port instead of the terminal",
        ),
        switch("--no-build", "use the images there are"),
        switch("--debug", "build without optimisation"),
        switch("--print", "print QEMU's command line and do not start it"),
    ],
    rest: None,
    notes: "",
};

/// `cargo xtask run`.
pub fn main(args: &[String]) -> Outcome {
    with_options(&RUN, args, |parsed| match machine(parsed) {
        Ok(machine) => start(&machine, parsed).into(),
        Err(error) => Outcome::Misused(error),
    })
}

/// The machine that the options describe; checks everything that can be checked before building.
fn machine(parsed: &Parsed) -> Result<Machine, String> {
    let mut machine = if parsed.choice("--machine", &["virt", "raspi4b"])? == "raspi4b" {
        let fixed = ["--gic", "--smp", "--mem", "--icount", "--gdb"];
        if let Some(option) = fixed.into_iter().find(|option| parsed.has(option)) {
            return Err(format!(
                "{option} does not go with --machine raspi4b, which has four CPUs, 2 GiB and a GICv2"
            ));
        }
        Machine::raspi4b()
    } else {
        let gic = if parsed.choice("--gic", &["3", "2"])? == "2" {
            2
        } else {
            3
        };
        let smp = parsed.number("--smp", 4, 1..=if gic == 2 { 8 } else { 64 })?;
        let mut machine = Machine::tarn(gic, smp as u32);
        machine.memory = parsed.number("--mem", 1024, 128..=65536)?;
        machine
    };
    machine.bootargs = parsed.get("--bootargs").unwrap_or("").to_owned();
    machine.clock = if parsed.has("--icount") {
        Clock::Instructions
    } else {
        Clock::Host
    };
    machine.gdb = parsed.has("--gdb");
    machine.no_reboot = parsed.has("--exec");
    parsed.number("--timeout", 0, 1..=86_400)?;
    if let Some(path) = parsed.get("--config") {
        machine.config = Some(Config::load(Path::new(path))?);
    }
    if let Some(path) = parsed.get("--system") {
        if let Some(option) = ["--linux", "--config"]
            .into_iter()
            .find(|option| parsed.has(option))
        {
            return Err(format!(
                "--system and {option} exclude each other: the description says what runs"
            ));
        }
        machine.image = system::image_for(Path::new(path));
    }
    if parsed.has("--linux") {
        if machine.config.is_some() {
            return Err("--linux and --config exclude each other: a configuration names its kernel itself (\"@linux\")".into());
        }
        let vcpus = parsed.number("--linux-vcpus", 2, 1..=64)?;
        let memory = parsed.number("--linux-mem", 256, 96..=32768)?;
        let command = parsed
            .get("--linux-cmd")
            .map(|text| text.replace(['"', '\\', '\n'], " "));
        let tail = command.map_or_else(
            || "tarn.shell".to_owned(),
            |text| format!("tarn.cmd=\\\"{text}\\\""),
        );
        machine.config = Some(Config::inline(linux::domain(
            "linux",
            vcpus,
            memory,
            &format!("console=ttyAMA0 {tail}"),
            "",
        )));
    } else if let Some(option) = ["--linux-vcpus", "--linux-mem", "--linux-cmd"]
        .into_iter()
        .find(|option| parsed.has(option))
    {
        return Err(format!("{option} goes with --linux"));
    }
    machine.serial = match parsed.get("--serial-tcp") {
        Some(_) if parsed.has("--exec") => {
            return Err("--exec and --serial-tcp exclude each other".into());
        }
        Some(_) => Serial::Tcp(parsed.number("--serial-tcp", 0, 1..=65535)? as u16),
        None if parsed.has("--exec") || parsed.has("--linux-cmd") => Serial::Pipe,
        None => Serial::Terminal,
    };
    Ok(machine)
}

fn start(machine: &Machine, parsed: &Parsed) -> Result<(), String> {
    if !parsed.has("--no-build") {
        images::build(images::Options {
            debug: parsed.has("--debug"),
            say: images::Say::Progress,
            ..images::Options::default()
        })?;
    }
    if machine.config.as_ref().is_some_and(Config::wants_linux) {
        linux::provide()?;
    }
    if machine.model == Model::Raspi4b {
        firmware::provide()?;
    }
    if let Some(path) = parsed.get("--system") {
        system::make(Path::new(path), parsed.has("--no-build"))?;
    }
    let command = machine.command(&paths::scratch())?;
    if parsed.has("--print") {
        println!("{}", words(&command));
        return Ok(());
    }
    if machine.gdb {
        let elf = paths::images().join("tarn.elf");
        eprintln!(
            "waiting for a debugger: target remote :1234, add-symbol-file {} -o 0x40200000",
            elf.display()
        );
    }
    let limit = parsed.number("--timeout", 120, 1..=86_400)?;
    if let Some(script) = parsed.get("--exec") {
        return script_mode(command, &exec::split(script), Duration::from_secs(limit));
    }
    if parsed.has("--linux-cmd") && matches!(machine.serial, Serial::Pipe) {
        let limit = if parsed.has("--timeout") {
            limit
        } else {
            86_400
        };
        return command_mode(command, Duration::from_secs(limit));
    }
    if let Serial::Tcp(port) = machine.serial {
        eprintln!("waiting for a connection to port {port} on this machine");
    }
    terminal(
        command,
        parsed.has("--timeout").then(|| Duration::from_secs(limit)),
    )
}

/// QEMU on the user's own terminal.
fn terminal(mut command: Command, limit: Option<Duration>) -> Result<(), String> {
    let mut child = command
        .spawn()
        .map_err(|error| format!("cannot start QEMU ({error}): run scripts/setup.sh"))?;
    let begin = Instant::now();
    loop {
        let status = match limit {
            None => Some(child.wait()),
            Some(_) => child.try_wait().transpose(),
        };
        match status {
            Some(Ok(status)) if status.success() => return Ok(()),
            Some(Ok(status)) => return Err(format!("QEMU ended with {status}")),
            Some(Err(error)) => return Err(format!("cannot wait for QEMU: {error}")),
            None => std::thread::sleep(Duration::from_millis(20)),
        }
        if limit.is_some_and(|limit| begin.elapsed() > limit) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!(
                "not powered off after {} s",
                begin.elapsed().as_secs()
            ));
        }
    }
}

/// Types commands, prints the answers, powers off; fails when one of them did.
fn script_mode(command: Command, commands: &[String], limit: Duration) -> Result<(), String> {
    let mut console = Console::start(command, limit)?;
    let mut failed = Vec::new();
    let result = (|| {
        console.expect(exec::PROMPT)?;
        for line in commands {
            let answer = exec::command(&mut console, line)?;
            println!("{}{line}", exec::PROMPT);
            print!("{}", answer.text);
            let _ = std::io::stdout().flush();
            if !answer.ok {
                failed.push(line.clone());
            }
        }
        exec::power_off(&mut console)
    })();
    if let Err(error) = result {
        eprint!("{}", console.text());
        return Err(format!("{error} {}", console.complaint())
            .trim_end()
            .to_owned());
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("failed: {}", failed.join("; ")))
    }
}

/// Prints what the machine prints until the Linux guest has run its command and ended, then powers the machine off; fails
/// when the command did.
fn command_mode(command: Command, limit: Duration) -> Result<(), String> {
    let mut console = Console::start(command, limit)?;
    let mut status = None;
    let mut follow = || {
        loop {
            let line = console.expect("\n")?;
            println!("{line}");
            if let Some((_, rc)) = line.split_once("TARN-LINUX-DONE rc=") {
                status = Some(rc.trim().to_owned());
            }
            if line.contains("TARN-LINUX-OFF") {
                break;
            }
        }
        console.expect("powered off")?;
        console.send("\r")?;
        console.expect(exec::PROMPT)?;
        exec::power_off(&mut console)
    };
    follow().map_err(|error: String| {
        format!("{error} {}", console.complaint())
            .trim_end()
            .to_owned()
    })?;
    match status.as_deref() {
        Some("0") => Ok(()),
        Some(rc) => Err(format!("the command ended with status {rc}")),
        None => Err("Linux ended without running the command".into()),
    }
}

/// A command as one would type it.
fn words(command: &Command) -> String {
    let quote = |word: &std::ffi::OsStr| {
        let word = word.to_string_lossy();
        let plain = word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./,=:@%+".contains(c))
            && !word.is_empty();
        if plain {
            word.into_owned()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    };
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(quote)
        .collect::<Vec<_>>()
        .join(" ")
}

const CONFIG: Spec = Spec {
    command: "cargo xtask config",
    about: "Merge a configuration into the machine's device tree and write the blob that QEMU would be given.",
    options: &[
        value("--gic", "2|3", "interrupt controller (default 3)"),
        value("--smp", "N", "CPUs (default 4)"),
        value("--mem", "MiB", "memory (default 1024)"),
        value(
            "--out",
            "FILE",
            "where to write the blob (default target/run/merged.dtb)",
        ),
    ],
    rest: Some("DTS"),
    notes: "",
};

/// `cargo xtask config`.
pub fn config(args: &[String]) -> Outcome {
    with_options(&CONFIG, args, |parsed| {
        let [file] = parsed.rest.as_slice() else {
            return Outcome::Misused("wants one DTS file".into());
        };
        let work = || {
            let gic = if parsed.choice("--gic", &["3", "2"])? == "2" {
                2
            } else {
                3
            };
            let mut machine = Machine::tarn(gic, parsed.number("--smp", 4, 1..=64)? as u32);
            machine.memory = parsed.number("--mem", 1024, 128..=65536)?;
            machine.config = Some(Config::load(Path::new(file))?);
            let scratch = paths::scratch();
            let (tree, modules) = machine.merged_tree(&scratch)?;
            let out = parsed.get("--out").map_or_else(
                || scratch.join("merged.dtb"),
                |out| paths::absolute(Path::new(out)),
            );
            paths::write(&out, &tree.write())?;
            println!("{}", out.display());
            for module in modules {
                println!(
                    "{:#012x} {:>10} bytes  {}",
                    module.address,
                    module.size,
                    module.file.display()
                );
            }
            Ok(())
        };
        work().into()
    })
}
