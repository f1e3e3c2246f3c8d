//! The transcript of a test guest.
//!
//! One line for each case: `CASE name: value`. What is printed must not depend on the machine, so a host can compare
//! a run at EL1 without a hypervisor with one as a domain, line by line. Where the architecture says what the value
//! must be, [`expect`] also judges it: a wrong one ends in ` FAIL want ...`. `NOTE` lines are for people; `TARN` lines
//! are cases that only exist under the hypervisor. The last line is `TEST-END cases=N fails=M`.
use core::fmt::Display;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::println;

// Only the boot CPU reports, so plain loads and stores are enough (the MMU may be off).
static CASES: AtomicU32 = AtomicU32::new(0);
static FAILS: AtomicU32 = AtomicU32::new(0);

fn count(counter: &AtomicU32) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// Reports a value that has to be equal everywhere.
pub fn case(name: &str, value: impl Display) {
    count(&CASES);
    println!("CASE {name}: {value}");
}

fn judge<T: Display + PartialEq>(kind: &str, name: &str, got: T, want: T) {
    count(&CASES);
    if got == want {
        println!("{kind} {name}: {got}");
    } else {
        count(&FAILS);
        println!("{kind} {name}: {got} FAIL want {want}");
    }
}

/// Reports a value the architecture fixes.
pub fn expect<T: Display + PartialEq>(name: &str, got: T, want: T) {
    judge("CASE", name, got, want);
}

/// As [`expect`], for cases that exist only under the hypervisor.
pub fn expect_tarn<T: Display + PartialEq>(name: &str, got: T, want: T) {
    judge("TARN", name, got, want);
}

/// Whether a figure is at most `by` away from what it should be.
pub fn spread(got: u64, want: u64, by: u64) -> bool {
    got.abs_diff(want) <= by
}

/// Ends the transcript. The caller returns from main, which powers off.
pub fn end() {
    println!(
        "TEST-END cases={} fails={}",
        CASES.load(Ordering::Relaxed),
        FAILS.load(Ordering::Relaxed)
    );
}

/// A number in hexadecimal, for the reports.
#[derive(PartialEq, Eq, Clone, Copy)]
pub struct Hex(pub u64);

impl Display for Hex {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A list of numbers with commas, for the reports.
pub struct List<'a>(pub &'a [u32]);

impl Display for List<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (i, n) in self.0.iter().enumerate() {
            write!(f, "{}{n}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}
