//! Parameters by name: what an operator can set of a pool, a domain, a vCPU or a group, without either side knowing
//! schedulers.
//!
//! A list of parameters is walked by index and each row says name, unit, value, default and range; setting takes names.
//! A parameter that the scheduler in charge does not use is listed as such, kept, and counts again after a move to a
//! scheduler that does. Two can be set in one call, for those that limit each other (period and budget).

use super::text::Label;
use super::wire::{In, Out, Wire, replies, wire_enum};
use crate::errno::Errno;

wire_enum! {
    /// What a parameter's value counts.
    Unit, "unit" {
        /// Nothing: a plain number.
        Number = 0,
        /// 0 = off, 1 = on.
        Switch = 1,
        /// Microseconds.
        Micros = 2,
        /// Per cent of one CPU.
        Percent = 3,
        /// Thousandths.
        PerMille = 4,
    }
}

/// What a parameter is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParamKind {
    /// What its value counts.
    pub unit: Unit,
    /// Whether the scheduler in charge uses it.
    pub used: bool,
}

impl Wire for ParamKind {
    const WORDS: usize = 1;
    const KIND: &'static str = "bits 0-7 unit: 0 number, 1 switch (0 or 1), 2 us, 3 per cent of a CPU, 4 thousandths; bit 8: the scheduler uses it";
    fn put(&self, out: &mut Out) {
        out.push(self.unit as u64 | u64::from(self.used) << 8);
    }
    fn get(from: &mut In<'_>) -> Result<Self, Errno> {
        let word = from.pull();
        let unit = Unit::ALL.iter().find(|u| **u as u64 == word & 0xff);
        match (unit, word >> 8) {
            (Some(unit), used @ (0 | 1)) => Ok(ParamKind {
                unit: *unit,
                used: used == 1,
            }),
            _ => Err(Errno::Invalid),
        }
    }
}

/// A parameter and the value it shall have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setting {
    /// Its name, as a list of parameters has it.
    pub name: Label,
    /// In its unit.
    pub value: u64,
}

impl Wire for Setting {
    const WORDS: usize = 3;
    const KIND: &'static str = "name, up to 16 bytes, then the value";
    fn put(&self, out: &mut Out) {
        self.name.put(out);
        out.push(self.value);
    }
    fn get(from: &mut In<'_>) -> Result<Self, Errno> {
        let name = Label::get(from)?;
        let value = from.pull();
        if name.is_empty() {
            return Err(Errno::Invalid);
        }
        Ok(Setting { name, value })
    }
}

/// None is three zeros.
impl Wire for Option<Setting> {
    const WORDS: usize = 3;
    const KIND: &'static str = "name, up to 16 bytes, then the value; all 0 = none";
    fn put(&self, out: &mut Out) {
        match self {
            Some(s) => s.put(out),
            None => (0..3).for_each(|_| out.push(0)),
        }
    }
    fn get(from: &mut In<'_>) -> Result<Self, Errno> {
        let name = Label::get(from)?;
        let value = from.pull();
        match (name.is_empty(), value) {
            (true, 0) => Ok(None),
            (true, _) => Err(Errno::Invalid),
            (false, _) => Ok(Some(Setting { name, value })),
        }
    }
}

replies! {
    /// Answer to a list of parameters.
    ParamRow {
        /// Its name: lower case, words joined by `-`.
        name: Label,
        /// What it is.
        kind: ParamKind,
        /// Its value now.
        value: u64,
        /// Its value when nothing is said.
        default: u64,
        /// Lowest value allowed.
        min: u64,
        /// Highest value allowed.
        max: u64,
    }
}
