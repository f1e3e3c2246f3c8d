//! The schedulers there are: one row each. Adding one is a file and a row here.
//!
//! A row's position is its `SchedId` on the wire: add at the end. Neighbours: `pools` builds instances by id, the
//! configuration and the shell name them by `name`.

use crate::credit2::Credit2;
use crate::error::SchedError;
use crate::null::Null;
use crate::params::SchedParams;
use crate::rr::Rr;
use crate::rtds::Rtds;
use crate::scheduler::Scheduler;
use alloc::boxed::Box;
use alloc::vec::Vec;
use tarn_abi::SchedId;

/// A kind of scheduler.
pub struct Row {
    /// As in `cpupool-sched` and on the prompt.
    pub name: &'static str,
    /// One phrase for people.
    pub about: &'static str,
    /// The parameters, by name, of which it makes use.
    pub uses: &'static [&'static str],
    /// Who finds no CPU left stays without one until somebody leaves.
    pub strands: bool,
    /// Makes an instance without CPUs and entities. `params` have been checked.
    build: fn(&SchedParams) -> Result<Box<dyn Scheduler>, SchedError>,
}

/// Every kind, by `SchedId`.
pub static ROWS: &[Row] = &[
    Row {
        name: "rr",
        about: "round robin, one queue, fixed slice",
        uses: &["slice"],
        strands: false,
        build: |p| boxed(Rr::new(p)),
    },
    Row {
        name: "credit2",
        about: "fair by weight, with boosts for interrupts",
        uses: &[
            "soft",
            "weight",
            "boost-ratio",
            "boost-interval",
            "boost-limit",
            "boost",
            "ratelimit",
            "grant",
            "carry",
            "resistance",
            "min-slice",
            "max-slice",
            "switch-cost",
        ],
        strands: false,
        build: |p| boxed(Credit2::new(p)),
    },
    Row {
        name: "null",
        about: "one vCPU per CPU, nothing to decide",
        uses: &["soft"],
        strands: true,
        build: |p| boxed(Null::new(p)),
    },
    Row {
        name: "rtds",
        about: "earliest deadline first, budget per period",
        uses: &["rt-period", "rt-budget"],
        strands: false,
        build: |p| boxed(Rtds::new(p)),
    },
];

/// What a pool gets when nothing is said.
pub const DEFAULT: SchedId = SchedId(1);

/// The id of the scheduler called `name`, if there is one.
pub fn by_name(name: &str) -> Option<SchedId> {
    ROWS.iter()
        .position(|r| r.name == name)
        .map(|i| SchedId(i as u8))
}

/// The row of `id`, if there is one.
pub fn row(id: SchedId) -> Option<&'static Row> {
    ROWS.get(usize::from(id.0))
}

/// Refuses where there is no memory for it.
fn boxed<S: Scheduler + 'static>(s: S) -> Result<Box<dyn Scheduler>, SchedError> {
    let mut room: Vec<S> = Vec::new();
    room.try_reserve_exact(1)
        .map_err(|_| SchedError::NoMemory)?;
    drop(room);
    Ok(Box::new(s))
}

/// Makes an instance of `id`.
pub fn build(id: SchedId, params: &SchedParams) -> Result<Box<dyn Scheduler>, SchedError> {
    params.check()?;
    let row = row(id).ok_or(SchedError::UnknownScheduler)?;
    (row.build)(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for (i, r) in ROWS.iter().enumerate() {
            assert_eq!(by_name(r.name), Some(SchedId(i as u8)));
        }
        assert_eq!(by_name("credit9"), None);
        assert_eq!(
            build(SchedId(200), &SchedParams::DEFAULT).err(),
            Some(SchedError::UnknownScheduler)
        );
    }
}
