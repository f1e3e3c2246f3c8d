//! The laboratory: a deterministic machine on the host that runs the very same `sched` and `pools` crates as the
//! hypervisor, with guests that are models.
//!
//! A run is a function of (scenario, scheduler, seed): integer nanoseconds, one event heap, no floating point before the
//! report. After every event the invariants of `check.rs` are asserted. Must never contain policy: whatever decides who
//! runs is in `sched`. Neighbours: `scenario.rs` reads the files of `sim/scenarios`, `engine.rs` is the machine,
//! `guest.rs` the guests, `report.rs`, `chart.rs` (terminal) and `picture.rs` (SVG, Perfetto) the results.
#![forbid(unsafe_code)]

pub mod chart;
pub mod costs;
pub mod eevdf;
pub mod engine;
pub mod figures;
pub mod fluid;
pub mod guest;
pub mod json;
pub mod kinds;
pub mod picture;
pub mod plain;
pub mod replay;
pub mod report;
pub mod rng;
pub mod scenario;

pub use engine::{Outcome, run};
pub use scenario::Scenario;
