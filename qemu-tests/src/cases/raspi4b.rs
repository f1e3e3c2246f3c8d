//! The Raspberry Pi 4 as QEMU models it: CPUs from a spin table, GIC-400, mini UART, watchdog. The same image as
//! everywhere else, with Debian's device tree of the board.

use xtask::linux;
use xtask::machine::Machine;
use xtask::{exec, firmware};

use super::{answers_and_powers_off, prompt};
use crate::runner::Test;

fn provided() -> Result<(), String> {
    if firmware::raspi4b_tree().is_file() {
        Ok(())
    } else {
        Err("the board's device tree is missing: run `cargo xtask linux`".into())
    }
}

/// The board's tests.
pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "raspi4b/boot",
            "four CPUs by spin table, the demo guest, typed commands, off by the watchdog",
            |bench| {
                provided()?;
                let mut console = bench.start("Tarn", &Machine::raspi4b(), 90)?;
                prompt(&mut console)?;
                let info = exec::must(&mut console, "info")?;
                for want in ["4 online of 4", "Raspberry Pi 4", "GICv2"] {
                    if !info.contains(want) {
                        return Err(format!("'info' does not say '{want}':\n{info}"));
                    }
                }
                for command in ["pool-list", "list", "vcpu-list"] {
                    exec::must(&mut console, command)?;
                }
                exec::power_off(&mut console)?;
                if !console.text().contains("Hello from a guest") {
                    return Err("the demo guest said nothing".into());
                }
                Ok(())
            },
        ),
        Test::new(
            "raspi4b/cpu-stays-away",
            "a CPU that polls another word than its node says is reported and left out; the others work",
            |bench| {
                provided()?;
                let machine = Machine::raspi4b();
                let (mut tree, modules) = machine.merged_tree(&bench.scratch())?;
                // One word behind those that the four CPUs poll.
                tree.root
                    .at("/cpus/cpu@3")
                    .ok_or("no fourth CPU")?
                    .set("cpu-release-addr", 0xf8u64.to_be_bytes().to_vec());
                let machine = machine.with_blob(&tree.write(), modules, &bench.scratch())?;
                let mut console = bench.start("Tarn", &machine, 90)?;
                console.expect("cpu3 (MPIDR 0x3) did not come up; left out")?;
                prompt(&mut console)?;
                let info = exec::must(&mut console, "info")?;
                if !info.contains("3 online of 4") {
                    return Err(format!("'info' does not say '3 online of 4':\n{info}"));
                }
                answers_and_powers_off(&mut console)
            },
        ),
        Test::new(
            "raspi4b/reboot",
            "'reboot' resets the board by its watchdog",
            |bench| {
                provided()?;
                let mut console = bench.start("Tarn", &Machine::raspi4b(), 90)?;
                prompt(&mut console)?;
                console.send("reboot\r")?;
                // QEMU runs with -no-reboot: a reset ends it
                console.finish()
            },
        ),
        Test::new(
            "raspi4b/pools-and-linux",
            "two pools, an unmodified kernel with two vCPUs in one, the demo guest's image in the other",
            |bench| {
                provided()?;
                let command = "test $(nproc) = 2 && dd if=/dev/zero of=/tmp/y bs=1M count=8 2>/dev/null && md5sum /tmp/y";
                let bootargs = format!("console=ttyAMA0 tarn.cmd=\\\"{command}\\\"");
                let pool = "/ { chosen { second: pool-1 { compatible = \"xen,cpupool\"; cpupool-cpus = <&cpu2 &cpu3>; }; }; };\n";
                let config = pool.to_owned()
                    + &linux::domain("linux", 2, 256, &bootargs, "domain-cpupool = <&second>;")
                    + &super::domain("hello", "guest-hello", 1, 8, "", "");
                let machine = Machine::raspi4b().with_config(config);
                let mut console = bench.start("Tarn", &machine, 300)?;
                prompt(&mut console)?;
                console.expect("TARN-LINUX-UP cpus=2 ")?;
                console.expect("TARN-LINUX-DONE rc=0")?;
                console.expect("powered off")?;
                let pools = exec::must(&mut console, "pool-list")?;
                if !pools.contains("pool-1") {
                    return Err(format!("no second pool:\n{pools}"));
                }
                answers_and_powers_off(&mut console)
            },
        ),
    ]
}
