//! Tests of the controller: `fake` is a GIC virtual CPU interface, `reference` a GIC without list registers.

mod delay;
mod fake;
mod property;
mod reference;
mod registers;
mod unit;
