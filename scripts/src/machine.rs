//! A QEMU machine as a value: what it has, what it boots, and the command line that makes it.
//!
//! The tests, the benchmarks and `run-qemu.sh` all start machines through this file, so they cannot differ by accident.
//! A machine is described first and started by the caller: nothing here runs QEMU except to ask it for its device tree.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::fdt::Tree;
use crate::tree::{self, Config, Module, Space};
use crate::{firmware, paths};

/// Start of RAM on QEMU's virt machine.
pub const RAM_BASE: u64 = 0x4000_0000;
/// The emulator.
pub const QEMU: &str = "qemu-system-aarch64";

/// Which board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// QEMU's virt machine, which makes its own device tree.
    Virt,
    /// The Raspberry Pi 4 Model B as QEMU models it: four CPUs, 2 GiB, GICv2, Debian's device tree with its console on
    /// the mini UART.
    Raspi4b,
}

/// How time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// As on the host; CPUs in parallel.
    Host,
    /// One instruction is one virtual nanosecond; the same run gives the same figures. An idle network filter bounds
    /// each CPU's turn to 20 us of virtual time: without a timer QEMU would let one CPU run for seconds.
    Instructions,
}

/// Where the serial line goes.
#[derive(Clone, Debug)]
pub enum Serial {
    /// QEMU's standard input and output, nothing else on it.
    Pipe,
    /// The user's terminal, with QEMU's monitor behind Ctrl-T.
    Terminal,
    /// A TCP port on this machine; QEMU waits for the connection.
    Tcp(u16),
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Which board; the next three are fixed on a Raspberry Pi.
    pub model: Model,
    /// 2 or 3.
    pub gic: u8,
    /// CPUs.
    pub smp: u32,
    /// RAM in MiB.
    pub memory: u64,
    /// With EL2 (for Tarn), or EL1 only (for guests run natively).
    pub el2: bool,
    /// Flat image.
    pub image: PathBuf,
    /// Firmware in the board's flash, which starts instead of `image`.
    pub firmware: Option<PathBuf>,
    /// First root file system, for a kernel run natively.
    pub initrd: Option<PathBuf>,
    /// Becomes /chosen/bootargs.
    pub bootargs: String,
    /// Merged into the machine's tree.
    pub config: Option<Config>,
    /// A ready blob instead of the machine's own tree and `config`.
    pub blob: Option<PathBuf>,
    /// Files to place, for a ready blob.
    pub modules: Vec<Module>,
    /// How time passes.
    pub clock: Clock,
    /// Where the serial line goes.
    pub serial: Serial,
    /// On a Raspberry Pi: where QEMU takes the PL011's line, which is not the console there.
    pub pl011: Option<String>,
    /// Wait for a debugger on port 1234.
    pub gdb: bool,
    /// A reset ends QEMU.
    pub no_reboot: bool,
    /// Memory nodes (NUMA), which share memory and CPUs evenly; 1 = none are told.
    pub nodes: u32,
    /// Further QEMU arguments.
    pub extra: Vec<String>,
}

impl Machine {
    /// A machine with EL2 that boots Tarn's image.
    pub fn tarn(gic: u8, smp: u32) -> Self {
        Self {
            model: Model::Virt,
            gic,
            smp,
            memory: 1024,
            el2: true,
            image: paths::images().join("tarn.bin"),
            firmware: None,
            initrd: None,
            bootargs: String::new(),
            config: None,
            blob: None,
            modules: Vec::new(),
            clock: Clock::Host,
            serial: Serial::Pipe,
            pl011: None,
            gdb: false,
            no_reboot: true,
            nodes: 1,
            extra: Vec::new(),
        }
    }

    /// A Raspberry Pi 4 that boots Tarn's image.
    pub fn raspi4b() -> Self {
        Self {
            model: Model::Raspi4b,
            memory: 2048,
            ..Self::tarn(2, 4)
        }
    }

    /// A machine without EL2 that boots a guest's image.
    pub fn native(gic: u8, smp: u32, image: PathBuf) -> Self {
        Self {
            el2: false,
            image,
            ..Self::tarn(gic, smp)
        }
    }

    /// The same machine with a configuration merged into its tree.
    #[must_use]
    pub fn with_config(self, text: impl Into<String>) -> Self {
        Self {
            config: Some(Config::inline(text)),
            ..self
        }
    }

    /// Where boot modules may go: behind the place of the device tree, up to the end of RAM below 4 GiB.
    pub fn module_space(&self) -> Space {
        if self.model == Model::Raspi4b {
            // QEMU puts the tree at 128 MiB; the GPU's memory begins below 1 GiB
            return Space {
                start: 130 << 20,
                end: 0x3b40_0000,
            };
        }
        let memory = self.memory << 20;
        Space {
            start: RAM_BASE + (memory / 2).min(128 << 20) + (2 << 20),
            end: RAM_BASE + memory.min(3 << 30),
        }
    }

    /// The device tree of this machine: the one that QEMU makes, or the board's own.
    ///
    /// # Errors
    /// QEMU's own message.
    pub fn own_tree(&self, scratch: &Path) -> Result<Vec<u8>, String> {
        if self.model == Model::Raspi4b {
            return paths::read(&firmware::raspi4b_tree())
                .map_err(|error| format!("{error}: run `cargo xtask linux`"));
        }
        paths::make_dir(scratch)?;
        let file = scratch.join("machine.dtb");
        let mut command = Command::new(QEMU);
        command.args(self.hardware(&format!(",dumpdtb={}", file.display())));
        let output = command
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot start {QEMU} ({error}): run scripts/setup.sh"))?;
        if !output.status.success() {
            return Err(format!(
                "{QEMU} makes no such machine: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ));
        }
        paths::read(&file)
    }

    /// The machine's tree with the configuration merged in, and the files to place.
    ///
    /// # Errors
    /// See [`tree::merge`].
    pub fn merged_tree(&self, scratch: &Path) -> Result<(Tree, Vec<Module>), String> {
        let own = self.own_tree(scratch)?;
        match &self.config {
            Some(config) => tree::merge(&own, config, self.module_space()),
            None => Ok((Tree::parse(&own)?, Vec::new())),
        }
    }

    /// Replaces `config` by a ready blob in `scratch`, which the caller may have changed on the way.
    ///
    /// # Errors
    /// When the blob cannot be written.
    pub fn with_blob(
        mut self,
        blob: &[u8],
        modules: Vec<Module>,
        scratch: &Path,
    ) -> Result<Self, String> {
        paths::make_dir(scratch)?;
        let file = scratch.join("merged.dtb");
        paths::write(&file, blob)?;
        self.blob = Some(file);
        self.modules = modules;
        self.config = None;
        Ok(self)
    }

    /// The command that starts the machine; merges the tree first when there is a configuration.
    ///
    /// # Errors
    /// A missing image, or what is wrong with the configuration.
    pub fn command(&self, scratch: &Path) -> Result<Command, String> {
        if self.config.is_some() {
            let (tree, modules) = self.merged_tree(scratch)?;
            let ready = self.clone().with_blob(&tree.write(), modules, scratch)?;
            return ready.command(scratch);
        }
        let own =
            (self.model == Model::Raspi4b && self.blob.is_none()).then(firmware::raspi4b_tree);
        let blob = self.blob.as_ref().or(own.as_ref());
        for file in [Some(&self.image), self.initrd.as_ref(), blob]
            .into_iter()
            .flatten()
        {
            if !file.is_file() {
                return Err(format!(
                    "{} is missing: run `cargo xtask build`",
                    file.display()
                ));
            }
        }
        let mut command = Command::new(QEMU);
        command.args(self.hardware(""));
        match &self.firmware {
            Some(firmware) => command.arg("-bios").arg(firmware),
            None => command.arg("-kernel").arg(&self.image),
        };
        if let Some(initrd) = &self.initrd {
            command.arg("-initrd").arg(initrd);
        }
        if !self.bootargs.is_empty() {
            command.args(["-append", &self.bootargs]);
        }
        if let Some(blob) = blob {
            command.arg("-dtb").arg(blob);
        }
        for module in &self.modules {
            let file = module.file.display().to_string().replace(',', ",,");
            command.args([
                "-device",
                &format!("loader,file={file},addr={:#x},force-raw=on", module.address),
            ]);
        }
        if self.model == Model::Raspi4b {
            // the first serial line is the PL011
            command.args(["-serial", self.pl011.as_deref().unwrap_or("null")]);
        }
        match &self.serial {
            Serial::Pipe => command.args(["-serial", "stdio", "-monitor", "none"]),
            Serial::Terminal => command.args(["-serial", "mon:stdio", "-echr", "20"]),
            Serial::Tcp(port) => command.args([
                "-serial",
                &format!("tcp:127.0.0.1:{port},server=on,wait=on"),
                "-monitor",
                "none",
            ]),
        };
        if self.gdb {
            command.args(["-S", "-gdb", "tcp:127.0.0.1:1234"]);
        }
        if self.no_reboot {
            command.arg("-no-reboot");
        }
        command.args(&self.extra);
        Ok(command)
    }

    /// The arguments that say what the machine is, and nothing of what it boots.
    fn hardware(&self, suffix: &str) -> Vec<String> {
        if self.model == Model::Raspi4b {
            let args = [
                "-M", "raspi4b", "-smp", "4", "-m", "2048", "-display", "none",
            ];
            return args.map(str::to_owned).to_vec();
        }
        let el2 = if self.el2 { ",virtualization=on" } else { "" };
        let machine = format!(
            "virt,gic-version={}{el2},dtb-randomness=off{suffix}",
            self.gic
        );
        let mut args = vec![
            "-M".to_owned(),
            machine,
            "-smp".into(),
            self.smp.to_string(),
            "-m".into(),
            self.memory.to_string(),
        ];
        args.extend(["-nodefaults", "-display", "none"].map(str::to_owned));
        for node in (0..self.nodes).filter(|_| self.nodes > 1) {
            let (count, share) = (self.nodes, self.memory / u64::from(self.nodes));
            let cpus = (
                node * self.smp / count,
                ((node + 1) * self.smp / count).max(1) - 1,
            );
            args.extend([
                "-object".into(),
                format!("memory-backend-ram,id=m{node},size={share}M"),
                "-numa".into(),
                format!(
                    "node,nodeid={node},memdev=m{node},cpus={}-{}",
                    cpus.0, cpus.1
                ),
            ]);
        }
        match self.clock {
            Clock::Host => args.extend(["-cpu", "cortex-a72"].map(str::to_owned)),
            Clock::Instructions => args.extend(
                [
                    "-cpu",
                    "cortex-a72,cntfrq=1000000000",
                    "-icount",
                    "shift=0,sleep=off",
                    "-rtc",
                    "clock=vm",
                    "-netdev",
                    "user,id=n0",
                    "-object",
                    "filter-buffer,id=f0,netdev=n0,interval=20",
                ]
                .map(str::to_owned),
            ),
        }
        args
    }
}
