//! Devices of the machine in the hands of guests: a disk, network cards, a clock, the second UART of a Raspberry Pi; and
//! what must not be given.
//!
//! QEMU's virt machine has 32 virtio transports, eight to a page of 4 KiB, so devices for different domains sit in
//! different pages: transport 0 at 0x0a00_0000 and transport 31 at 0x0a00_3e00.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use xtask::machine::Machine;
use xtask::{exec, fdt, firmware, linux, paths, tree};

use super::{answers_and_powers_off, prompt};
use crate::disk;
use crate::runner::{Bench, Test};

/// A partial tree around nodes below /passthrough.
fn partial(nodes: &str) -> String {
    format!(
        "/dts-v1/; / {{ #address-cells = <2>; #size-cells = <2>;
           gic: gic {{ #interrupt-cells = <3>; interrupt-controller; }};
           passthrough {{ compatible = \"simple-bus\"; ranges; #address-cells = <2>; #size-cells = <2>; {nodes} }}; }};"
    )
}

/// Transport `n` of the virt machine: its page is mapped, its interrupt (edge) routed.
fn virtio(n: u64) -> String {
    let at = 0x0a00_0000 + n * 0x200;
    let page = at & !0xfff;
    format!(
        "virtio@{at:x} {{ compatible = \"virtio,mmio\"; reg = <0 {at:#x} 0 0x200>; interrupts = <0 {} 1>;
           interrupt-parent = <&gic>; dma-coherent; xen,reg = <0 {page:#x} 0 0x1000 0 {page:#x}>;
           xen,path = \"/virtio_mmio@{at:x}\"; xen,force-assign-without-iommu; }};",
        16 + n
    )
}

/// The virt machine's clock, whose interrupt is a level.
const RTC: &str = "clk: clk { compatible = \"fixed-clock\"; #clock-cells = <0>; clock-frequency = <24000000>; };
    rtc@9010000 { compatible = \"arm,pl031\", \"arm,primecell\"; reg = <0 0x9010000 0 0x1000>; interrupts = <0 2 4>;
      interrupt-parent = <&gic>; clocks = <&clk>; clock-names = \"apb_pclk\";
      xen,reg = <0 0x9010000 0 0x1000 0 0x9010000>; xen,path = \"/pl031@9010000\"; xen,force-assign-without-iommu; };";

/// Compiles a partial tree and gives the module node for it.
fn module(scratch: &Path, name: &str, nodes: &str) -> Result<String, String> {
    paths::make_dir(scratch)?;
    let file = scratch.join(format!("{name}.dtb"));
    paths::write(&file, &tree::compile(&partial(nodes), scratch)?)?;
    Ok(format!(
        "module@9 {{ compatible = \"multiboot,device-tree\", \"multiboot,module\"; tarn,file = \"{}\"; }};",
        file.display()
    ))
}

/// A Linux domain with virtio drivers that runs `command`; `extra` goes into its node.
fn domain(name: &str, vcpus: u64, command: &str, extra: &str) -> String {
    let bootargs = format!("console=ttyAMA0 quiet tarn.cmd=\\\"{command}\\\"");
    linux::domain(name, vcpus, 192, &bootargs, extra).replace("\"@initrd\"", "\"@initrd-virtio\"")
}

/// Marks nodes of the machine's tree.
fn marks(nodes: &[&str]) -> String {
    nodes
        .iter()
        .map(|node| format!("/ {{ {node} {{ xen,passthrough; }}; }};\n"))
        .collect()
}

fn provided() -> Result<(), String> {
    if linux::place().initrd_virtio.is_file() {
        Ok(())
    } else {
        Err("the kernel's virtio modules are missing: run `cargo xtask linux`".into())
    }
}

/// An ext4 disk with a file `greeting`.
fn greeting(scratch: &Path) -> Result<PathBuf, String> {
    let root = scratch.join("root");
    paths::make_dir(&root)?;
    paths::write(&root.join("greeting"), b"read from the disk\n")?;
    disk::ext4(scratch, 8, &[])
}

/// QEMU's options for a network card behind transport `at`, on a network of this kind.
fn card(network: &str, id: char, at: u32, more: &str) -> Vec<String> {
    [
        "-netdev".into(),
        format!("{network},id={id}"),
        "-device".into(),
        format!("virtio-net-device,netdev={id},bus=virtio-mmio-bus.{at}{more}"),
    ]
    .to_vec()
}

fn disk_and_network(bench: &mut Bench, gic: u8) -> Result<(), String> {
    provided()?;
    let scratch = bench.scratch();
    let devices = module(&scratch, "devices", &(virtio(31) + &virtio(30) + RTC))?;
    let disk = greeting(&scratch)?;
    // First time: leaves a mark on the disk and resets itself, devices and all. Second time: finds it.
    // (Linux sets no alarm for a second that begins while it does so, and says nothing: two are ahead. If none came, the clock
    // tells whether one was set.)
    let command = "mount -t ext4 /dev/vda /mnt && cat /mnt/greeting && ifconfig eth0 10.0.2.15 && ping -c 2 -W 20 10.0.2.2 \
        && echo +2 > /sys/class/rtc/rtc0/wakealarm && sleep 4 && grep -E '(rtc|virtio)' /proc/interrupts \
        && { test $(awk '/rtc/ { print $2 + $3 }' /proc/interrupts) -gt 0 || { echo NO-ALARM; \
        cat /proc/driver/rtc; false; }; } && if [ -f /mnt/mark ]; then echo SECOND-TIME; \
        else echo x > /mnt/mark; umount /mnt; echo FIRST-TIME; reboot -f; fi";
    let config = marks(&[
        "virtio_mmio@a003e00",
        "virtio_mmio@a003c00",
        "pl031@9010000",
    ]) + &domain("linux", 2, command, &format!("direct-map; {devices}"));
    let mut machine = Machine::tarn(gic, 2).with_config(config);
    machine.extra = disk::virtio(&disk, Some(31));
    machine.extra.extend(card("user", 'n', 30, ""));
    let mut console = bench.start("Tarn", &machine, 300)?;
    console.expect("no IOMMU confines it")?;
    console.expect("read from the disk")?;
    let (first, _) = console.expect_any(&["FIRST-TIME", "TARN-LINUX-DONE"])?;
    if first != 0 {
        return Err("the guest's first command failed".into());
    }
    console.expect("rebooted")?;
    console.expect("read from the disk")?;
    console.expect("SECOND-TIME")?;
    console.expect("TARN-LINUX-DONE rc=0")?;
    console.expect("powered off")?;
    // and a third time from the prompt
    answers(&mut console)?;
    exec::must(&mut console, "create linux")?;
    console.expect("SECOND-TIME")?;
    console.expect("powered off")?;
    answers_and_powers_off(&mut console)
}

/// Other domains' lines may have overprinted the prompt.
fn answers(console: &mut xtask::console::Console) -> Result<(), String> {
    console.send("\r")?;
    prompt(console)
}

fn two_guests(bench: &mut Bench, gic: u8) -> Result<(), String> {
    provided()?;
    let scratch = bench.scratch();
    let first = module(&scratch, "first", &virtio(31))?;
    let second = module(&scratch, "second", &virtio(0))?;
    // One listens for a line, the other sends it again and again until it was taken.
    let listen = "ifconfig eth0 10.9.0.1 && nc -l -p 7 && echo LISTENER-GOT-IT";
    let send = "ifconfig eth0 10.9.0.2; i=0; while [ $i -lt 60 ]; do if echo FROM-GUEST-TO-GUEST | nc -w 2 10.9.0.1 7; then exit 0; fi; \
        i=$((i+1)); sleep 0.5; done; exit 1";
    let config = marks(&["virtio_mmio@a003e00", "virtio_mmio@a000000"])
        + &domain("listener", 1, listen, &format!("direct-map; {first}"))
        + &domain("sender", 1, send, &format!("direct-map; {second}"));
    let mut machine = Machine::tarn(gic, 2).with_config(config);
    machine.extra = card("hubport,hubid=0", 'a', 31, ",mac=52:54:00:00:00:01");
    let other = card("hubport,hubid=0", 'b', 0, ",mac=52:54:00:00:00:02");
    machine.extra.extend(other);
    let mut console = bench.start("Tarn", &machine, 300)?;
    console.expect("(listener) FROM-GUEST-TO-GUEST")?;
    console.expect("LISTENER-GOT-IT")?;
    for _ in 0..2 {
        console.expect("powered off")?;
    }
    answers_and_powers_off(&mut console)
}

fn destroyed_under_load(bench: &mut Bench, gic: u8) -> Result<(), String> {
    provided()?;
    let scratch = bench.scratch();
    let devices = module(&scratch, "devices", &(virtio(31) + RTC))?;
    let disk = greeting(&scratch)?;
    // an alarm is set and the disk read without end when the domain is destroyed: its lines stay up with nobody there
    let command = "echo +1 > /sys/class/rtc/rtc0/wakealarm; echo LOADED; while true; do cat /dev/vda > /dev/null; echo 3 > /proc/sys/vm/drop_caches; done";
    let config = marks(&["virtio_mmio@a003e00", "pl031@9010000"])
        + &domain("linux", 2, command, &format!("direct-map; {devices}"));
    let mut machine = Machine::tarn(gic, 2).with_config(config);
    machine.extra = disk::virtio(&disk, Some(31));
    let mut console = bench.start("Tarn", &machine, 300)?;
    console.expect("LOADED")?;
    for _ in 0..2 {
        answers(&mut console)?;
        exec::must(&mut console, "destroy linux")?;
        // interrupts that nobody has are counted and said; a storm would show in the time this takes
        console.quiet(&["has no owner", "PANIC"], Duration::from_secs(2))?;
        answers(&mut console)?;
        exec::must(&mut console, "create linux")?;
        console.expect("LOADED")?;
    }
    answers_and_powers_off(&mut console)
}

/// A domain whose disk works moves to a pool whose CPU is busy, so that its vCPU is nearly always at rest when the disk's
/// interrupt comes: none of them comes to the other pool but the first.
fn in_its_own_pool(bench: &mut Bench) -> Result<(), String> {
    provided()?;
    let scratch = bench.scratch();
    let device = module(&scratch, "device", &virtio(31))?;
    let disk = greeting(&scratch)?;
    // It sleeps for each block: nothing is read ahead.
    let command = "while true; do dd if=/dev/vda of=/dev/null bs=4k count=50 iflag=direct 2> /dev/null && echo ROUND; done";
    let config = marks(&["virtio_mmio@a003e00"])
        + &domain("linux", 1, command, &format!("direct-map; {device}"))
        + &super::domain("hog", "guest-hog", 1, 16, "quiet=1", "");
    let mut machine = Machine::tarn(3, 2).with_config(config);
    machine.bootargs = "pool0=0".into();
    machine.extra = disk::virtio(&disk, Some(31));
    // Slow enough for whoever asks to be asleep when the answer comes.
    for option in machine.extra.iter_mut().filter(|o| o.contains("file=")) {
        option.push_str(",throttling.iops-total=100");
    }
    let mut console = bench.start("Tarn", &machine, 300)?;
    console.expect("ROUND")?;
    answers(&mut console)?;
    exec::must(
        &mut console,
        "pool-create io cpu=1; cpupool-migrate linux hog io",
    )?;
    console.expect("ROUND")?;
    let mut crossed = || -> Result<u64, String> {
        answers(&mut console)?;
        let text = exec::must(&mut console, "counters")?;
        console.expect("ROUND")?;
        super::control::counter(&text, "wakes-cross-pool")
    };
    let before = crossed()?;
    for _ in 0..3 {
        let after = crossed()?;
        if after != before {
            return Err(format!(
                "{before} wake-ups have crossed pools, then {after}"
            ));
        }
    }
    answers_and_powers_off(&mut console)
}

/// What must be refused: name, nodes of its partial tree, what the log must say.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "console",
        "a@9000000 { xen,reg = <0 0x9000000 0 0x1000 0 0x9000000>; };",
        "overlaps the console at 0x9000000",
    ),
    (
        "consolepath",
        "a@9000000 { xen,path = \"/pl011@9000000\"; xen,force-assign-without-iommu; };",
        "/pl011@9000000 is the console",
    ),
    (
        "ram",
        "a { xen,reg = <0 0x50000000 0 0x1000 0 0x50000000>; };",
        "overlaps the machine's RAM",
    ),
    (
        "iommu",
        "a { xen,path = \"/pl061@9030000\"; };",
        "xen,force-assign-without-iommu",
    ),
    (
        "nonode",
        "a { xen,path = \"/no-such@1\"; xen,force-assign-without-iommu; };",
        "the machine has no node /no-such@1",
    ),
    (
        "window",
        "a { xen,reg = <0 0x9030000 0 0x1000 0 0x3001000>; };",
        "overlaps its interrupt controller",
    ),
    (
        "number",
        "a { interrupts = <0 9 4>; interrupt-parent = <&gic>; xen,path = \"/pl061@9030000\"; xen,force-assign-without-iommu; };",
        "is none of /pl061@9030000's",
    ),
    (
        "taken",
        "a { xen,path = \"/pl031@9010000\"; xen,force-assign-without-iommu; };",
        "/pl031@9010000 is given to domain owner already",
    ),
];

fn refusals(bench: &mut Bench) -> Result<(), String> {
    let scratch = bench.scratch();
    let owner = module(&scratch, "owner", RTC)?;
    let mut config = super::domain("owner", "guest-hello", 1, 8, "", &owner);
    for (name, nodes, _) in REFUSED {
        let devices = module(&scratch, name, nodes)?;
        config += &super::domain(name, "guest-hello", 1, 8, "", &devices);
    }
    let mut console = bench.start("Tarn", &Machine::tarn(3, 2).with_config(config), 90)?;
    prompt(&mut console)?;
    let list = exec::must(&mut console, "list")?;
    exec::power_off(&mut console)?;
    let text = console.text();
    if !list.contains("owner") {
        return Err(format!("the domain with a device is not there:\n{list}"));
    }
    for (name, _, want) in REFUSED {
        let said = |line: &&str| line.contains(&format!("/chosen/{name}:")) && line.contains(want);
        if !text.lines().any(|line| said(&line)) {
            return Err(format!("{name}: the log does not say \"{want}\""));
        }
        if list
            .lines()
            .any(|line| line.starts_with(&format!("{name} ")))
        {
            return Err(format!("{name} was made all the same:\n{list}"));
        }
    }
    Ok(())
}

/// What the guest does with it: its own console is the emulated one, the second UART the real one.
const UART_COMMAND: &str = "tty=/dev/ttyAMA1; stty -F $tty 115200 raw -echo; read line < $tty; echo GOT-$line; echo answer-$line > $tty; sleep 1";

/// The PL011 of a Raspberry Pi, whose console is the mini UART.
fn second_uart(bench: &mut Bench) -> Result<(), String> {
    let scratch = bench.scratch();
    let nodes = "clk: clk { compatible = \"fixed-clock\"; #clock-cells = <0>; clock-frequency = <48000000>; };
        serial@fe201000 { compatible = \"arm,pl011\", \"arm,primecell\"; reg = <0 0xfe201000 0 0x200>; interrupts = <0 121 4>;
          interrupt-parent = <&gic>; clocks = <&clk>, <&clk>; clock-names = \"uartclk\", \"apb_pclk\"; arm,primecell-periphid = <0x00241011>;
          xen,reg = <0 0xfe201000 0 0x1000 0 0xfe201000>; xen,path = \"/soc/serial@7e201000\"; xen,force-assign-without-iommu; };";
    let devices = module(&scratch, "devices", nodes)?;
    let config = domain("linux", 1, UART_COMMAND, &devices);
    both_ways(bench, Machine::raspi4b().with_config(config))
}

/// The same out of a description that only names the device: its bus is translated, its clock said.
fn second_uart_by_path(bench: &mut Bench) -> Result<(), String> {
    let scratch = bench.scratch();
    paths::make_dir(&scratch)?;
    let linux = linux::place();
    // The board's own tree, with the memory that its firmware fills in.
    let mut tree = fdt::Tree::parse(&paths::read(&firmware::raspi4b_tree())?)?;
    let memory = tree.root.at("/memory@0").ok_or("no memory node")?;
    memory.set("reg", [0u32, 0, 0x3b40_0000].map(u32::to_be_bytes).concat());
    let dtb = scratch.join("board.dtb");
    paths::write(&dtb, &tree.write())?;
    let text = format!(
        "[board]\ntype = \"rpi4\"\ndtb = \"{}\"\n[[domain]]\nname = \"linux\"\nkernel = \"{}\"\ninitrd = \"{}\"\n\
         memory = \"192MiB\"\nbootargs = 'console=ttyAMA0 quiet tarn.cmd=\"{UART_COMMAND}\"'\n\
         devices = [{{ path = \"/soc/serial@7e201000\", clock = 48_000_000 }}]\ndma-without-iommu = true\n",
        dtb.display(),
        linux.kernel.display(),
        linux.initrd.display(),
    );
    let description = scratch.join("second-uart.toml");
    paths::write(&description, text.as_bytes())?;
    let machine = super::system::with_system(Machine::raspi4b(), &description)?;
    both_ways(bench, machine)
}

/// Writes to the PL011's line until the guest answers on it.
fn both_ways(bench: &mut Bench, mut machine: Machine) -> Result<(), String> {
    let scratch = bench.scratch();
    let socket = scratch.join("pl011");
    let _ = std::fs::remove_file(&socket);
    machine.pl011 = Some(format!("unix:{},server=on,wait=off", socket.display()));
    let mut console = bench.start("Tarn", &machine, 300)?;
    console.expect("TARN-LINUX-UP")?;
    let mut line =
        UnixStream::connect(&socket).map_err(|error| format!("the PL011's line: {error}"))?;
    let _ = line.set_read_timeout(Some(Duration::from_millis(500)));
    // Written until heard: the guest may not have opened its end yet.
    let mut heard = String::new();
    let begin = Instant::now();
    while !heard.contains("answer-ping") {
        if begin.elapsed() > Duration::from_secs(120) {
            return Err(format!("no answer on the PL011's line, only {heard:?}"));
        }
        line.write_all(b"ping\n")
            .map_err(|error| format!("the PL011's line: {error}"))?;
        let mut bytes = [0; 256];
        if let Ok(n) = line.read(&mut bytes) {
            heard.push_str(&String::from_utf8_lossy(&bytes[..n]));
        }
    }
    console.expect("GOT-ping")?;
    console.expect("TARN-LINUX-DONE")?;
    console.expect("powered off")?;
    answers_and_powers_off(&mut console)
}

/// The tests.
/// An interrupt that the GIC does not have: the domain is not made, as often as it is tried, and nothing of it stays.
fn refused_interrupt(bench: &mut Bench) -> Result<(), String> {
    const SPI: u32 = 500;
    let scratch = bench.scratch();
    let nodes = virtio(31).replace(
        "interrupts = <0 47 1>",
        &format!("interrupts = <0 {SPI} 1>"),
    );
    let device = module(&scratch, "device", &nodes)?;
    let config = marks(&["virtio_mmio@a003e00"])
        + &super::domain("given", "guest-hello", 1, 16, "", &device)
        + &super::domain("other", "guest-hello", 1, 16, "", "");
    let machine = Machine::tarn(3, 2).with_config(config);
    let (mut tree, modules) = machine.merged_tree(&scratch)?;
    let node = tree.root.at("/virtio_mmio@a003e00");
    let cells = [0, SPI, 1].iter().flat_map(|c: &u32| c.to_be_bytes());
    node.ok_or("the machine's tree has another form now")?
        .set("interrupts", cells.collect());
    let machine = machine.with_blob(&tree.write(), modules, &scratch)?;
    let mut console = bench.start("Tarn", &machine, 60)?;
    console.expect(&format!("domain given: interrupt {}", SPI + 32))?;
    console.expect("domain given: not created")?;
    console.expect("(other) Hello from a guest")?;
    console.send("\r")?;
    prompt(&mut console)?;
    let free = |console: &mut xtask::console::Console| {
        let info = exec::must(console, "info")?;
        let line = info.lines().find(|l| l.to_lowercase().contains("free"));
        line.map(str::to_owned)
            .ok_or_else(|| format!("no free memory in\n{info}"))
    };
    let before = free(&mut console)?;
    for _ in 0..3 {
        exec::command(&mut console, "create given")?;
        let list = exec::must(&mut console, "list")?;
        if list.contains("given") {
            return Err(format!("what was refused is there:\n{list}"));
        }
    }
    let after = free(&mut console)?;
    let tries = console.text().matches("domain given: not created").count();
    exec::power_off(&mut console)?;
    if (tries, &after) == (4, &before) {
        Ok(())
    } else {
        Err(format!(
            "{tries} refusals of 4; free before and after: {before}; {after}"
        ))
    }
}

pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for gic in [2, 3] {
        tests.push(Test::new(
            format!("passthrough/disk-and-net-gic{gic}"),
            "Linux mounts a disk, pings the host, takes an alarm; again after a reset and after create",
            move |bench| disk_and_network(bench, gic),
        ));
        tests.push(Test::new(
            format!("passthrough/two-guests-gic{gic}"),
            "two guests with a network card each talk to each other",
            move |bench| two_guests(bench, gic),
        ));
        tests.push(Test::new(
            format!("passthrough/destroyed-under-load-gic{gic}"),
            "a domain is destroyed while its devices work; no interrupt without an owner, and it comes back",
            move |bench| destroyed_under_load(bench, gic),
        ));
    }
    tests.push(Test::new(
        "passthrough/in-its-own-pool",
        "the interrupts of a domain's disk do not come to other pools, though its vCPU is mostly at rest",
        in_its_own_pool,
    ));
    tests.push(Test::new(
        "passthrough/refused-interrupt",
        "an interrupt that the GIC refuses: no domain, no name taken, no memory lost, as often as it is tried",
        refused_interrupt,
    ));
    tests.push(Test::new(
        "passthrough/refusals",
        "what is Tarn's, RAM, or somebody else's is not given; the log says why",
        refusals,
    ));
    tests.push(Test::new(
        "passthrough/second-uart-raspi4b",
        "the PL011 of a Raspberry Pi in a guest's hands, both ways",
        second_uart,
    ));
    tests.push(Test::new(
        "passthrough/second-uart-by-path-raspi4b",
        "the same, given by nothing but its path in a description",
        second_uart_by_path,
    ));
    tests
}
