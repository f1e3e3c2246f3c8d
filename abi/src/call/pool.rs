//! Area 0x04: CPU pools.
//!
//! Slots name pools in a list, as they do domains. A CPU that no pool's set contains is free.

use super::text::{Label, Text};
use super::wire::{area, replies};
use crate::id::{DomainId, PoolId};
use crate::set::CpuSet;

replies! {
    /// Answer to `List`.
    PoolRow {
        /// The pool.
        id: PoolId,
        /// Its CPUs.
        cpus: CpuSet,
        /// How many domains are in it.
        domains: u32,
        /// Its scheduler.
        sched: Label,
    }
}

area! {
    /// CPU pools.
    PoolCall = 0x04;
    /// The first pool at or behind a slot. Ends with `End`.
    List = 0x00, Dom0 {
        /// Lowest slot to look at.
        from: u32,
    } -> PoolRow;
    /// A pool's name.
    Name = 0x01, Dom0 {
        /// Whose.
        id: PoolId,
    } -> Text;
    /// The first domain of a pool at or behind a slot of the domain table. Ends with `End`.
    Domains = 0x02, Dom0 {
        /// Which pool.
        id: PoolId,
        /// Lowest domain slot to look at.
        from: u32,
    } -> DomainId;
}
