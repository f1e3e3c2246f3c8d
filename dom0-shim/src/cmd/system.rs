//! Commands about the machine: info, memory, log, and its end.

use super::parse::Given;
use crate::names::{self, CounterList};
use crate::session::{Fail, Session};
use crate::table::{Column, Quoted, Table, spaces, width};
use crate::units::{Frequency, Seconds, Size};
use core::fmt::Display;
use tarn_abi::Errno;
use tarn_abi::call::{Request, Version, console, system};

/// Most pieces of the log that one `dmesg` reads: far more than a log holds.
const LOG_PIECES: u32 = 1 << 16;

/// Most ranges of memory.
const MOST_RANGES: u32 = 256;

fn line(s: &mut Session<'_>, key: &dyn Display, value: &dyn Display) {
    if s.json {
        s.print(format_args!(
            "{{\"key\":{},\"value\":{}}}\n",
            Quoted(key),
            Quoted(value)
        ));
        return;
    }
    s.print(format_args!("{key}"));
    spaces(s, 20usize.saturating_sub(width(key)));
    s.print(format_args!(": {value}\n"));
}

/// A line whose value is a number for programs.
fn number(s: &mut Session<'_>, key: &dyn Display, value: &dyn Display) {
    if s.json {
        s.print(format_args!(
            "{{\"key\":{},\"value\":{value}}}\n",
            Quoted(key)
        ));
    } else {
        line(s, key, value);
    }
}

pub fn info(s: &mut Session<'_>, _: &Given<'_>) -> Result<(), Fail> {
    let version = s.ask(&Version {})?;
    let machine = s.ask(&system::Info {})?;
    let memory = s.ask(&system::MemoryInfo {})?;
    let model = s.ask(&system::Model {})?;
    let (mut pools, mut domains) = (0u32, 0u32);
    names::each_pool(s, &mut |_, _| {
        pools += 1;
        Ok(())
    })?;
    names::each_domain(s, &mut |_, _| {
        domains += 1;
        Ok(())
    })?;

    line(s, &"version", &version.text);
    line(
        s,
        &"call interface",
        &format_args!("{}.{}", version.abi.major, version.abi.minor),
    );
    line(s, &"board", &model);
    line(
        s,
        &"cpus",
        &format_args!("{} online of {}", machine.cpus_online, machine.cpus_present),
    );
    number(s, &"pools", &pools);
    number(s, &"domains", &domains);
    for (key, kib) in [
        ("memory", memory.total),
        ("memory free", memory.free),
        ("memory of domains", memory.domains),
        ("memory of Tarn", memory.tarn),
    ] {
        let size = Size::of(s, kib);
        number(s, &key, &size);
    }
    let gic = format_args!(
        "GICv{}, {} list registers",
        machine.gic, machine.list_registers
    );
    line(s, &"interrupts", &gic);
    line(s, &"timer", &Frequency(machine.counter_hz));
    line(
        s,
        &"uptime",
        &format_args!("{} s", Seconds(machine.uptime, 3)),
    );
    names::each_counter(s, CounterList::Machine, &mut |s, c| {
        if c.value != 0 {
            number(s, &c.name, &c.value);
        }
        Ok(())
    })
}

/// The machine's memory: each range of it.
pub fn memory(s: &mut Session<'_>, _: &Given<'_>) -> Result<(), Fail> {
    let columns = [
        Column::text("Base", "base"),
        Column::number("Size", "size_bytes"),
        Column::number("Node", "node"),
        Column::number("Free", "free_bytes"),
    ];
    Table::print(s, columns, &mut |s, t| {
        for index in 0..MOST_RANGES {
            match s.ask(&system::MemoryNodes { index }) {
                Err(Errno::End) => return Ok(()),
                row => {
                    let m = row?;
                    let base = format_args!("{:#x}", m.base);
                    let [size, free] = [m.size / 1024, m.free].map(|kib| Size::of(s, kib));
                    t.row(s, [&base, &size, &m.node, &free]);
                }
            }
        }
        Err(Errno::Garbled.into())
    })
}

pub fn dmesg(s: &mut Session<'_>, _: &Given<'_>) -> Result<(), Fail> {
    // Reading must end even if somebody logs all the time: at what the end is now.
    let end = s.ask(&console::LogRead { cursor: u64::MAX })?.next;
    let (mut cursor, mut last) = (0, b'\n');
    for _ in 0..LOG_PIECES {
        if cursor >= end {
            break;
        }
        let piece = s.ask(&console::LogRead { cursor })?;
        let bytes = piece.bytes.as_slice();
        if bytes.is_empty() || piece.next <= cursor {
            break;
        }
        for b in bytes {
            match *b {
                b'\n' => s.print(format_args!("\n")),
                b'\t' | 0x20..0x7f => s.put(*b),
                b'\r' => {}
                _ => s.put(b'?'),
            }
            last = *b;
        }
        cursor = piece.next;
    }
    if last != b'\n' {
        s.print(format_args!("\n"));
    }
    Ok(())
}

/// Makes a call that does not return when it works: so a script is told before.
fn end<R: Request<Reply = ()>>(s: &mut Session<'_>, call: &R) -> Result<(), Fail> {
    if s.script {
        s.print(format_args!("@ok\n"));
    }
    s.flush();
    match s.ask(call) {
        // It came back: nothing has ended.
        Ok(()) => Err(Errno::NotSupported.into()),
        Err(e) => Err(e.into()),
    }
}

pub fn reboot(s: &mut Session<'_>, _: &Given<'_>) -> Result<(), Fail> {
    end(s, &system::Reboot {})
}

pub fn poweroff(s: &mut Session<'_>, _: &Given<'_>) -> Result<(), Fail> {
    end(s, &system::PowerOff {})
}
