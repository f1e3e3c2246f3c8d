//! The `log` crate's sink: one line per record, with virtual time and CPU, to the console and the `dmesg` history.
//!
//! Formats into a buffer on the stack, so it works before there is a heap and inside the allocator. A line longer than
//! the buffer is cut, visibly.

use crate::{console, percpu, time};
use core::fmt::{self, Write};
use log::{LevelFilter, Log, Metadata, Record};

struct Logger;

static LOGGER: Logger = Logger;

/// A line being formatted.
struct Line(heapless::Vec<u8, 256>);

impl Write for Line {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for b in s.bytes() {
            if self.0.len() >= 250 {
                return Err(fmt::Error);
            }
            let _ = self.0.push(b);
        }
        Ok(())
    }
}

impl Log for Logger {
    fn enabled(&self, m: &Metadata) -> bool {
        m.level() <= log::max_level()
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut line = Line(heapless::Vec::new());
        let us = time::now().0 / 1000;
        let cpu = percpu::this().map_or(0, |c| c.id.0);
        let _ = write!(
            line,
            "[{:5}.{:06}] cpu{cpu}: ",
            us / 1_000_000,
            us % 1_000_000
        );
        match record.level() {
            log::Level::Error => drop(line.write_str("error: ")),
            log::Level::Warn => drop(line.write_str("warning: ")),
            _ => {}
        }
        if line.write_fmt(*record.args()).is_err() {
            let _ = line.0.extend_from_slice(b"...");
        }
        // A newline inside a record would tear the prefix off the rest of it.
        line.0
            .iter_mut()
            .filter(|b| **b < 0x20)
            .for_each(|b| *b = b' ');
        let _ = line.0.push(b'\n');
        console::log_line(
            core::str::from_utf8(&line.0).unwrap_or("(a log line that is not UTF-8)\n"),
        );
    }

    fn flush(&self) {
        console::flush();
    }
}

/// Starts logging at `level`.
pub fn init(level: LevelFilter) {
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(level);
}
