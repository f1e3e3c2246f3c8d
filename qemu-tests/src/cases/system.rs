//! System images: descriptions from examples/systems and from tarn-image's corpus, made into one image by the tool a user
//! has, and booted from that image alone.

use std::path::Path;
use std::process::Command;

use xtask::machine::Machine;
use xtask::{exec, paths, system};

use super::{answers_and_powers_off, prompt};
use crate::runner::Test;

/// Makes the image of a description (a path, if not a full one from the project's root) and puts it into `machine`.
pub fn with_system(mut machine: Machine, description: impl AsRef<Path>) -> Result<Machine, String> {
    let tool = system::tool();
    if !tool.is_file() {
        return Err(format!(
            "{} is missing: run `cargo xtask build`",
            tool.display()
        ));
    }
    let description = paths::root().join(description);
    machine.image = system::image_for(&description);
    system::make(&description, true)?;
    Ok(machine)
}

/// The lines `# boot: ...` of a description that is wrong.
fn verdicts(path: &Path) -> Result<Vec<String>, String> {
    let text = String::from_utf8(paths::read(path)?).map_err(|_| "not text")?;
    let lines = text.lines().filter_map(|l| l.strip_prefix("# boot: "));
    Ok(lines.map(str::to_owned).collect())
}

/// Their tests.
pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "system/demo",
            "a description with one guest; dom0's first line comes from it",
            |bench| {
                let machine = with_system(Machine::tarn(3, 4), "examples/systems/demo.toml")?;
                let mut console = bench.start("Tarn", &machine, 60)?;
                console.expect("tarn> list\n")?;
                console.expect("demo   1    8      2")?;
                // It may have spoken before the list was printed, or be slower.
                let hello = "(demo) Hello from a guest with 2 vCPU(s).";
                if !console.text().contains(hello) {
                    console.expect(hello)?;
                }
                answers_and_powers_off(&mut console)
            },
        ),
        Test::new(
            "system/gic2-board-tree-ignored",
            "the image's description and its boot script count, not the domains of the board's tree, and it says so",
            |bench| {
                let mut machine = Machine::tarn(2, 4);
                machine = machine.with_config(super::domain("other", "guest-hello", 1, 8, "", ""));
                let machine = with_system(machine, "examples/systems/demo.toml")?;
                let mut console = bench.start("Tarn", &machine, 60)?;
                console
                    .expect("its description counts, not the pools and domains of the board's")?;
                // Its boot script.
                console.expect("tarn> list\n")?;
                prompt(&mut console)?;
                let list = exec::must(&mut console, "list")?;
                if list.contains("other") || !list.contains("demo") {
                    return Err(format!("the wrong domains:\n{list}"));
                }
                exec::power_off(&mut console)
            },
        ),
        Test::new(
            "system/hello-c",
            "the example guest in C beside the one in Rust: greets by a call, echoes, powers off",
            |bench| {
                let machine = with_system(Machine::tarn(2, 4), "examples/systems/hello-c.toml")?;
                let mut console = bench.start("Tarn", &machine, 60)?;
                console.expect("(c) Hello from C on Tarn ")?;
                // Ctrl-A three times: the next domain, which is the first of the description
                console.send("\x01\x01\x01")?;
                console.expect("Console input to c ")?;
                console.send("some words\r")?;
                console.expect("you typed: some words")?;
                console.send("q\r")?;
                console.expect("domain c: powered off")?;
                console.expect("Console input to dom0 ")?;
                answers_and_powers_off(&mut console)?;
                if !console
                    .text()
                    .contains("Hello from a guest with 2 vCPU(s).")
                {
                    return Err("the guest in Rust said nothing".into());
                }
                Ok(())
            },
        ),
        Test::new(
            "system/rt-and-linux",
            "a guest alone on a CPU in a null pool, Linux with two vCPUs in another",
            |bench| {
                let machine =
                    with_system(Machine::tarn(3, 4), "examples/systems/rt-and-linux.toml")?;
                let mut console = bench.start("Tarn", &machine, 240)?;
                console.expect("(linux) TARN-LINUX-UP cpus=2 ")?;
                console.send("\r")?;
                prompt(&mut console)?;
                let pools = exec::must(&mut console, "pool-list")?;
                for want in ["rt       3     null", "comfort  1-2   credit2"] {
                    if !pools.contains(want) {
                        return Err(format!("'pool-list' does not say '{want}':\n{pools}"));
                    }
                }
                answers_and_powers_off(&mut console)?;
                if !console
                    .text()
                    .contains("(control) Hello from a guest with 1 vCPU(s).")
                {
                    return Err("the control guest said nothing".into());
                }
                Ok(())
            },
        ),
        Test::new(
            "system/samples",
            "a control loop in a null pool hands samples to a guest that may only read them, and that may come and go",
            |bench| {
                let machine = with_system(Machine::tarn(3, 4), "examples/systems/samples.toml")?;
                let mut console = bench.start("Tarn", &machine, 120)?;
                console.expect("(control) control: a sample each millisecond, from 0 on")?;
                for _ in 0..5 {
                    console.expect("(logger) samples ")?;
                }
                console.send("\r")?;
                prompt(&mut console)?;
                exec::must(&mut console, "destroy logger")?;
                exec::must(&mut console, "create logger")?;
                for _ in 0..3 {
                    console.expect("(logger) samples ")?;
                }
                let line = console.rest_of_line()?;
                let first = line.split('-').next().and_then(|n| n.parse::<u32>().ok());
                if first.is_none_or(|n| n < 500) {
                    return Err(format!("the control loop began anew: samples {line}"));
                }
                answers_and_powers_off(&mut console)
            },
        ),
        Test::new(
            "system/supplier",
            "three domains in one pool, two of them a supplier's in a group that the boot script makes",
            |bench| {
                let machine = with_system(Machine::tarn(3, 4), "examples/systems/supplier.toml")?;
                let mut console = bench.start("Tarn", &machine, 300)?;
                let mut up = 0;
                while up != 3 {
                    let lines = [
                        "(own) TARN-LINUX-UP cpus=2 ",
                        "(their-linux) TARN-LINUX-UP cpus=2 ",
                    ];
                    up |= 1 << console.expect_any(&lines)?.0;
                }
                console.send("\r")?;
                prompt(&mut console)?;
                let groups = exec::must(&mut console, "group-list")?;
                let under = groups.split_once("supplier").map_or("", |(_, below)| below);
                if !under.contains("their-control") || !under.contains("their-linux") {
                    return Err(format!("the supplier's guests are in no group:\n{groups}"));
                }
                answers_and_powers_off(&mut console)?;
                let text = console.text();
                if !text.contains("(their-control) Hello from a guest") || text.contains("ignored")
                {
                    return Err("a parameter was ignored, or the control guest is silent".into());
                }
                Ok(())
            },
        ),
        Test::new(
            "system/disk",
            "Linux with a disk: a device named in the description, 1:1 memory for its DMA",
            |bench| {
                let scratch = bench.scratch();
                paths::make_dir(&scratch)?;
                let disk = scratch.join("disk.img");
                paths::write(&disk, &[0x55; 1 << 20])?;
                let mut machine = with_system(Machine::tarn(3, 2), "examples/systems/disk.toml")?;
                machine.extra = crate::disk::virtio(&disk, None);
                let mut console = bench.start("Tarn", &machine, 240)?;
                console.expect("domain linux: is given /virtio_mmio@a003e00")?;
                // 1 MiB in sectors
                console.expect("DISK-OF 2048")?;
                console.expect("TARN-LINUX-DONE rc=0")?;
                answers_and_powers_off(&mut console)
            },
        ),
        Test::new(
            "system/two-linux",
            "two kernels with weights in one pool, from one copy of kernel and root file system",
            |bench| {
                let machine = with_system(Machine::tarn(3, 4), "examples/systems/two-linux.toml")?;
                let mut console = bench.start("Tarn", &machine, 300)?;
                let mut up = 0;
                while up != 3 {
                    let lines = [
                        "(small) TARN-LINUX-UP cpus=2 ",
                        "(large) TARN-LINUX-UP cpus=2 ",
                    ];
                    up |= 1 << console.expect_any(&lines)?.0;
                }
                answers_and_powers_off(&mut console)
            },
        ),
        Test::new(
            "system/pi4",
            "the Raspberry Pi 4's image as it goes onto a card",
            |bench| {
                let machine = with_system(Machine::raspi4b(), "examples/systems/pi4.toml")?;

                let mut console = bench.start("Tarn", &machine, 300)?;
                console.expect("(linux) TARN-LINUX-UP cpus=2 ")?;
                answers_and_powers_off(&mut console)
            },
        ),
        Test::new(
            "system/broken",
            "an image that was made in spite of its mistakes: Tarn says at boot what tarn-image check says",
            |bench| {
                let path = paths::root().join("image/tests/broken/all-at-once.toml");
                let wanted = verdicts(&path)?;
                if wanted.len() < 10 {
                    return Err(format!("{} has too few verdicts", path.display()));
                }
                let mut machine = Machine::tarn(3, 4);
                machine.image = system::image_for(&path);
                // The least that counts as a kernel stands beside it: a header with its magic.
                let scratch = bench.scratch();
                paths::make_dir(&scratch)?;
                let mut kernel = [0; 64];
                kernel[56..60].copy_from_slice(b"ARM\x64");
                paths::write(&scratch.join("kernel.bin"), &kernel)?;
                let copy = scratch.join("all-at-once.toml");
                paths::write(&copy, &paths::read(&path)?)?;
                let made = Command::new(system::tool())
                    .args(["build", "--force", "-o"])
                    .args([&machine.image, &copy])
                    .output()
                    .map_err(|error| format!("tarn-image: {error}: run `cargo xtask build`"))?;
                if !made.status.success() {
                    return Err(String::from_utf8_lossy(&made.stderr).into_owned());
                }
                let mut console = bench.start("Tarn", &machine, 60)?;
                prompt(&mut console)?;
                for line in &wanted {
                    // The host reckons with the most that Tarn can take; the numbers of KiB left may differ.
                    let sure = line.split(" KiB are left").next().unwrap_or(line);
                    let sure = sure.trim_end_matches(|c: char| c.is_ascii_digit());
                    if !console.text().contains(sure) {
                        return Err(format!("Tarn does not say '{sure}'"));
                    }
                }
                let list = exec::must(&mut console, "list")?;
                if !list.contains("good") || list.contains("idle") {
                    return Err(format!("the wrong domains:\n{list}"));
                }
                exec::power_off(&mut console)
            },
        ),
    ]
}
