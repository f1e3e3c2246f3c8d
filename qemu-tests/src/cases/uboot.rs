//! U-Boot before Tarn: the image started by `booti`, and a Xen dom0less boot script that places the guests' modules and
//! describes them with `fdt` commands.
//!
//! Debian's U-Boot for QEMU's virt machine is the board's firmware here; what it loads lies on a disk.

use std::path::{Path, PathBuf};

use xtask::console::Console;
use xtask::machine::Machine;
use xtask::{exec, firmware, linux, paths};

use super::{answers_and_powers_off, prompt};
use crate::disk;
use crate::runner::{Bench, Test};

/// As ImageBuilder writes it for Xen: nothing in it knows of Tarn. `\\#` since `env import` takes one backslash.
const DOM0LESS: &str = r"fdt_addr=0x44000000
xen_addr=0x46000000
kernel_addr=0x50000000
initrd_addr=0x54000000
dom0less=load virtio 0 ${xen_addr} xen; fdt addr ${fdtcontroladdr}; fdt move ${fdtcontroladdr} ${fdt_addr} 0x100000; fdt resize 4096; fdt set /chosen \\#address-cells <0x2>; fdt set /chosen \\#size-cells <0x2>; fdt set /chosen xen,xen-bootargs ${hypervisor_args}; fdt mknode /chosen domU0; fdt set /chosen/domU0 compatible xen,domain; fdt set /chosen/domU0 \\#address-cells <0x2>; fdt set /chosen/domU0 \\#size-cells <0x2>; fdt set /chosen/domU0 memory <0x0 0x30000>; fdt set /chosen/domU0 cpus <0x2>; fdt set /chosen/domU0 vpl011 <0x1>; load virtio 0 ${kernel_addr} kernel; fdt mknode /chosen/domU0 module${kernel_addr}; fdt set /chosen/domU0/module${kernel_addr} compatible multiboot,kernel multiboot,module; fdt set /chosen/domU0/module${kernel_addr} reg <0x0 ${kernel_addr} 0x0 0x${filesize}>; fdt set /chosen/domU0/module${kernel_addr} bootargs ${guest_args}; load virtio 0 ${initrd_addr} initrd; fdt mknode /chosen/domU0 module${initrd_addr}; fdt set /chosen/domU0/module${initrd_addr} compatible multiboot,ramdisk multiboot,module; fdt set /chosen/domU0/module${initrd_addr} reg <0x0 ${initrd_addr} 0x0 0x${filesize}>; booti ${xen_addr} - ${fdt_addr}
hypervisor_args=console=dtuart loglevel=info
guest_args=console=ttyAMA0 tarn.cmd=uname
plain=load virtio 0 ${xen_addr} xen; booti ${xen_addr} - ${fdtcontroladdr}
";

/// A disk with the files and `boot.txt`, in the oldest form of ext4 features that U-Boot reads.
fn boot_disk(scratch: &Path, files: &[(&str, &Path)]) -> Result<PathBuf, String> {
    let root = scratch.join("root");
    paths::make_dir(&root)?;
    paths::write(&root.join("boot.txt"), DOM0LESS.as_bytes())?;
    for (name, from) in files {
        paths::write(&root.join(name), &paths::read(from)?)?;
    }
    disk::ext4(scratch, 64, &["-O", "^metadata_csum,^64bit,^has_journal"])
}

/// U-Boot's prompt, with the script's variables read.
fn at_u_boot(bench: &mut Bench, gic: u8, with_linux: bool) -> Result<Console, String> {
    with_disk(bench, Machine::tarn(gic, 2), with_linux)
}

/// The same for a machine whose image goes onto the disk.
fn with_disk(bench: &mut Bench, mut machine: Machine, with_linux: bool) -> Result<Console, String> {
    if !firmware::u_boot().is_file() {
        return Err("U-Boot is missing: run `cargo xtask linux`".into());
    }
    let scratch = bench.scratch();
    let place = linux::place();
    let image = machine.image.clone();
    let mut files = vec![("xen", image.as_path())];
    if with_linux {
        files.extend([
            ("kernel", place.kernel.as_path()),
            ("initrd", place.initrd.as_path()),
        ]);
    }
    let disk = boot_disk(&scratch, &files)?;
    machine.firmware = Some(firmware::u_boot());
    machine.extra = disk::virtio(&disk, None);
    let mut console = bench.start("U-Boot and Tarn", &machine, 240)?;
    console.expect("Hit any key")?;
    console.send(" ")?;
    console.expect("=> ")?;
    console.send(
        "virtio scan; load virtio 0 0x43000000 boot.txt; env import -t 0x43000000 $filesize\r",
    )?;
    console.expect("bytes read")?;
    console.expect("=> ")?;
    Ok(console)
}

/// The tests.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for gic in [2, 3] {
        tests.push(Test::new(
            format!("uboot/booti-gic{gic}"),
            "U-Boot starts the image with booti; the demo guest runs, dom0 answers",
            move |bench| {
                let mut console = at_u_boot(bench, gic, false)?;
                console.send("run plain\r")?;
                console.expect("Starting kernel")?;
                prompt(&mut console)?;
                exec::must(&mut console, "info")?;
                answers_and_powers_off(&mut console)?;
                if !console.text().contains("Hello from a guest") {
                    return Err("the demo guest said nothing".into());
                }
                Ok(())
            },
        ));
    }
    tests.push(Test::new(
        "uboot/xen-dom0less-script",
        "a Xen dom0less boot script, unchanged: U-Boot places kernel and ramdisk, Linux runs as domU0",
        |bench| {
            let mut console = at_u_boot(bench, 3, true)?;
            console.send("run dom0less\r")?;
            console.expect("Starting kernel")?;
            console.expect("TARN-LINUX-UP cpus=2 ")?;
            console.expect("TARN-LINUX-OFF")?;
            console.expect("domain domU0: powered off")?;
            answers_and_powers_off(&mut console)
        },
    ));
    tests.push(Test::new(
        "uboot/system-image",
        "booti starts a whole system from one file: Linux and a guest alone on a CPU, no module placed",
        |bench| {
            let machine = Machine::tarn(3, 4);
            let machine = super::system::with_system(machine, "examples/systems/rt-and-linux.toml")?;
            let mut console = with_disk(bench, machine, false)?;
            console.send("run plain\r")?;
            console.expect("Starting kernel")?;
            console.expect("(linux) TARN-LINUX-UP cpus=2 ")?;
            answers_and_powers_off(&mut console)
        },
    ));
    for gic in [2, 3] {
        tests.push(Test::new(
            format!("uboot/guest-gic{gic}"),
            "U-Boot as a guest: its prompt is usable, its environment comes from a ROM, it resets and powers off",
            move |bench| as_guest(bench, gic),
        ));
    }
    tests
}

/// U-Boot's environment as it lies in flash: CRC-32 of what follows, then the variables.
fn environment(text: &str) -> Vec<u8> {
    const SIZE: usize = 0x4_0000;
    let mut data = text.replace('\n', "\0").into_bytes();
    data.resize(SIZE - 4, 0);
    let mut crc = u32::MAX;
    for byte in &data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 != 0 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            };
        }
    }
    [&(!crc).to_le_bytes()[..], &data].concat()
}

fn as_guest(bench: &mut Bench, gic: u8) -> Result<(), String> {
    if !firmware::u_boot().is_file() {
        return Err("U-Boot is missing: run `cargo xtask linux`".into());
    }
    let scratch = bench.scratch();
    paths::make_dir(&scratch)?;
    let rom = scratch.join("environment.bin");
    paths::write(&rom, &environment("bootdelay=-1\nfrom=the-rom\n"))?;
    let config = format!(
        "/ {{ chosen {{ uboot {{ compatible = \"xen,domain\"; #address-cells = <2>; #size-cells = <2>;
             memory = <0 0x10000>; cpus = <1>; vpl011; tarn,pl011-at = <0 0x9000000>; tarn,device-tree-at = <0 0x40000000>;
             module@0 {{ compatible = \"multiboot,kernel\", \"multiboot,module\"; tarn,file = \"@u-boot\"; tarn,load = <0 0x40400000>; }};
             module@1 {{ compatible = \"tarn,rom\", \"multiboot,module\"; tarn,file = \"{}\"; tarn,guest-address = <0 0x4000000>; }};
         }}; }}; }};",
        rom.display()
    );
    let mut console = bench.start("Tarn", &Machine::tarn(gic, 2).with_config(config), 120)?;
    prompt(&mut console)?;
    // focus: to the guest
    console.send("console uboot\r")?;
    console.expect("Console input to uboot")?;
    for round in ["first", "second"] {
        console.send("\r")?;
        console.expect("=> ")?;
        console.send("echo it-says-$from-here\r")?;
        console.expect("it-says-the-rom-here")?;
        if round == "first" {
            console.send("reset\r")?;
            console.expect("rebooted")?;
            console.expect("U-Boot 20")?;
        }
    }
    console.send("poweroff\r")?;
    console.expect("powered off")?;
    answers_and_powers_off(&mut console)
}
