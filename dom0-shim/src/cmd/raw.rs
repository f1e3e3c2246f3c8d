//! One hypervisor call by its registers: for who writes a guest, looks into a fault, or throws random numbers at Tarn.
//!
//! Nothing is checked here, since what Tarn answers to nonsense is what one may want to see. Only what ends the prompt is
//! left out: a call of Tarn's own or one that does not exist, never PSCI's, by which this vCPU would be gone.

use super::parse::Given;
use crate::session::{Fail, Session};
use tarn_abi::{Errno, Regs, Span};

/// Owners of SMCCC function ids (bits 24 to 29): the standard services, of which PSCI is one.
const STANDARD: u64 = 4;

/// Most repetitions of one command: nothing that is typed meanwhile is looked at.
const MOST: u64 = 100_000;

/// In so long the console is through with what is shown of a command.
const PRINTED: Span = Span::ms(10);

/// `12`, `-1` or `0xc6000100`.
fn number(word: &str) -> Option<u64> {
    if let Some(hex) = word.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok();
    }
    match word.strip_prefix('-') {
        Some(rest) => rest.parse::<u64>().ok().map(u64::wrapping_neg),
        None => word.parse().ok(),
    }
}

pub fn call(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let mut regs = Regs::default();
    for (n, word) in g.words().iter().enumerate() {
        let Some(place) = regs.0.get_mut(n) else {
            return Err(s.fail(format_args!("a call has x0 to x7, not more")));
        };
        let Some(value) = number(word) else {
            return Err(s.fail(format_args!(
                "x{n} is a number like 12, -1 or 0xc6000100, not {word}"
            )));
        };
        *place = value;
    }
    if (regs.0[0] >> 24) & 0x3f == STANDARD {
        return Err(s.fail(format_args!(
            "{:#x} is a standard service (PSCI): it would end this prompt; 'poweroff' ends the machine",
            regs.0[0]
        )));
    }
    let times = match g.opt("-n") {
        None => 1,
        Some(word) => match number(word) {
            Some(n @ 1..=MOST) => n,
            _ => return Err(s.fail(format_args!("-n is a number from 1 to {MOST}, not {word}"))),
        },
    };
    if g.opt("-n").is_some() {
        // What was printed is out before it begins: the console goes on by interrupts, which would be measured, too.
        s.sit_out(PRINTED)?;
    }
    let begin = s.uptime();
    let mut answer = s.call(regs);
    for _ in 1..times {
        answer = s.call(regs);
    }
    let end = s.uptime();
    for (n, x) in answer.0.iter().enumerate() {
        let blank = if n == 0 { "" } else { " " };
        s.print(format_args!("{blank}x{n}={x:#x}"));
    }
    if let Some(e) = Errno::from_wire(answer.0[0]) {
        s.print(format_args!(" ({e})"));
    }
    s.print(format_args!("\n"));
    if let (Some(_), Some(begin), Some(end)) = (g.opt("-n"), begin, end) {
        let each = end.0.saturating_sub(begin.0) / times;
        s.print(format_args!("{times} times, {each} ns each\n"));
    }
    Ok(())
}
