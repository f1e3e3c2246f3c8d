//! A debugger on a machine: stops it at an address, looks at registers, changes them, and lets it go on.
//!
//! For what QEMU cannot make happen by itself. Speaks the remote serial protocol of GDB over a socket in the test's own
//! folder; registers are the first CPU's. Symbols come from the image's ELF file.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The program counter's number.
pub const PC: u64 = 32;

/// QEMU's arguments for a debugger at this socket. The machine starts without one.
pub fn arguments(socket: &Path) -> Vec<String> {
    let at = format!("unix:{},server=on,wait=off", socket.display());
    vec!["-gdb".into(), at]
}

/// A stopped machine.
pub struct Gdb {
    stream: UnixStream,
    got: Vec<u8>,
}

impl Gdb {
    /// Stops the machine.
    ///
    /// # Errors
    /// There is no such socket, or nobody answers.
    pub fn attach(socket: &Path) -> Result<Gdb, String> {
        let stream =
            UnixStream::connect(socket).map_err(|e| format!("{}: {e}", socket.display()))?;
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .map_err(|e| e.to_string())?;
        let mut gdb = Gdb {
            stream,
            got: Vec::new(),
        };
        // The answer to the attaching itself may be a stop of its own.
        gdb.ask("?").map(|_| gdb)
    }

    fn send(&mut self, text: &str) -> Result<(), String> {
        let sum = text.bytes().fold(0u8, u8::wrapping_add);
        self.stream
            .write_all(format!("${text}#{sum:02x}").as_bytes())
            .map_err(|e| format!("debugger: {e}"))
    }

    /// The next packet.
    fn receive(&mut self) -> Result<String, String> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let start = self.got.iter().position(|b| *b == b'$');
            let end = self.got.iter().position(|b| *b == b'#');
            if let (Some(start), Some(end)) = (start, end)
                && self.got.len() >= end + 3
            {
                let text = String::from_utf8_lossy(&self.got[start + 1..end]).into_owned();
                self.got.drain(..end + 3);
                let _ = self.stream.write_all(b"+");
                return Ok(text);
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(n) if n > 0 && Instant::now() < deadline => self.got.extend(&buffer[..n]),
                Ok(_) => return Err("the debugger's line is closed or silent".into()),
                Err(e) => return Err(format!("debugger: {e}")),
            }
        }
    }

    fn ask(&mut self, text: &str) -> Result<String, String> {
        self.send(text)?;
        self.receive()
    }

    fn must(&mut self, text: &str) -> Result<(), String> {
        match self.ask(text)?.as_str() {
            "OK" => Ok(()),
            other => Err(format!("debugger: {text}: '{other}'")),
        }
    }

    /// Stops at `address` from now on, or no longer.
    ///
    /// # Errors
    /// Refused.
    pub fn stop_at(&mut self, address: u64, on: bool) -> Result<(), String> {
        self.must(&format!("{}1,{address:x},4", if on { "Z" } else { "z" }))
    }

    /// Goes on until the next stop.
    ///
    /// # Errors
    /// None came in a minute.
    pub fn go_on(&mut self) -> Result<(), String> {
        let stop = self.ask("c")?;
        if stop.starts_with('T') || stop.starts_with('S') {
            return Ok(());
        }
        Err(format!("debugger: no stop but '{stop}'"))
    }

    /// Lets all of `cpus` CPUs but the first go on, until [`Gdb::interrupt`].
    ///
    /// # Errors
    /// The line is closed.
    pub fn go_on_without_first(&mut self, cpus: u32) -> Result<(), String> {
        let others: String = (2..=cpus).map(|cpu| format!(";c:{cpu:x}")).collect();
        self.send(&format!("vCont{others}"))
    }

    /// Stops what goes on.
    ///
    /// # Errors
    /// Nothing has stopped.
    pub fn interrupt(&mut self) -> Result<(), String> {
        self.stream
            .write_all(&[3])
            .map_err(|e| format!("debugger: {e}"))?;
        let stop = self.receive()?;
        if stop.starts_with('T') || stop.starts_with('S') {
            return Ok(());
        }
        Err(format!("debugger: no stop but '{stop}'"))
    }

    /// Register `n`: 0 to 30, [`PC`], or a number from [`Gdb::system_register`].
    ///
    /// # Errors
    /// There is none.
    pub fn read(&mut self, n: u64) -> Result<u64, String> {
        let text = self.ask(&format!("p{n:x}"))?;
        let bytes = text.as_bytes().chunks(2).map(|pair| {
            std::str::from_utf8(pair)
                .ok()
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
        });
        let bytes: Option<Vec<u8>> = bytes.collect();
        let bytes: [u8; 8] = bytes
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| format!("debugger: register {n}: '{text}'"))?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Sets register `n`.
    ///
    /// # Errors
    /// Refused.
    pub fn write(&mut self, n: u64, value: u64) -> Result<(), String> {
        let hex: String = value.to_le_bytes().map(|b| format!("{b:02x}")).concat();
        self.must(&format!("P{n:x}={hex}"))
    }

    /// The number of a system register.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn system_register(&mut self, name: &str) -> Result<u64, String> {
        let mut text = String::new();
        loop {
            let ask = format!(
                "qXfer:features:read:system-registers.xml:{:x},800",
                text.len()
            );
            let part = self.ask(&ask)?;
            let (more, part) = part.split_at(part.len().min(1));
            text.push_str(part);
            match more {
                "m" => {}
                "l" => break,
                _ => return Err(format!("debugger: no system registers: '{more}{part}'")),
            }
        }
        let attribute = |line: &str, key: &str| {
            let value = line.split_once(&format!("{key}=\""))?.1;
            Some(value.split_once('"')?.0.to_owned())
        };
        text.split("<reg ")
            .find(|reg| attribute(reg, "name").as_deref() == Some(name))
            .and_then(|reg| attribute(reg, "regnum")?.parse().ok())
            .ok_or_else(|| format!("debugger: no register {name}"))
    }

    /// Lets the machine go on without a debugger.
    ///
    /// # Errors
    /// Refused.
    pub fn detach(mut self) -> Result<(), String> {
        self.must("D")
    }
}

/// The offsets of symbols in Tarn's image.
pub struct Symbols {
    elf: Vec<u8>,
}

impl Symbols {
    /// Of `target/images/tarn.elf`.
    ///
    /// # Errors
    /// It is not there.
    pub fn of_tarn() -> Result<Symbols, String> {
        let path: PathBuf = xtask::paths::images().join("tarn.elf");
        let elf = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Symbols { elf })
    }

    fn number(&self, at: usize, bytes: usize) -> Option<usize> {
        let part = self.elf.get(at..at + bytes)?;
        let value = part.iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b));
        usize::try_from(value).ok()
    }

    /// Where `name` is, from the start of the image.
    ///
    /// # Errors
    /// There is no such symbol.
    pub fn find(&self, name: &str) -> Result<u64, String> {
        self.search(name).ok_or_else(|| format!("no symbol {name}"))
    }

    /// ELF64, little-endian: section headers, the symbol table (type 2) and the strings it links to.
    fn search(&self, name: &str) -> Option<u64> {
        let (sections, size, count) = (
            self.number(0x28, 8)?,
            self.number(0x3a, 2)?,
            self.number(0x3c, 2)?,
        );
        let header = |i: usize| sections + i * size;
        let table = (0..count).find(|i| self.number(header(*i) + 4, 4) == Some(2))?;
        let (at, len) = (
            self.number(header(table) + 0x18, 8)?,
            self.number(header(table) + 0x20, 8)?,
        );
        let strings = self.number(header(self.number(header(table) + 0x28, 4)?) + 0x18, 8)?;
        (at..at + len).step_by(24).find_map(|symbol| {
            let text = self.elf.get(strings + self.number(symbol, 4)?..)?;
            let text = text.split(|b| *b == 0).next()?;
            (text == name.as_bytes())
                .then(|| self.number(symbol + 8, 8))??
                .try_into()
                .ok()
        })
    }
}

/// Where bit 8 of ISR_EL1, an SError that waits, is tested in an image: offset of the branch, and the register it tests.
pub fn serror_test(image: &[u8]) -> Option<(u64, u64)> {
    let word = |at: usize| {
        let bytes = image.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    (0..image.len()).step_by(4).find_map(|at| {
        // MRS Xt, ISR_EL1; soon after it TBZ or TBNZ Wt, #8.
        let read = word(at).filter(|w| w & !31 == 0xd538_c100)? & 31;
        let n = (1..6).find(|n| {
            word(at + 4 * n).is_some_and(|w| w & 0xfef8_0000 == 0x3640_0000 && w & 31 == read)
        })?;
        Some(((at + 4 * n) as u64, u64::from(read)))
    })
}
