//! Area 0x04: CPU pools.
//!
//! Slots name pools in a list, as they do domains. A CPU that no pool's set contains is free. Changes that need other
//! CPUs' hands answer `Again`; until the last of those calls the system is either as before or on its way, never torn:
//! a domain is in exactly one pool and a CPU in at most one at every moment.

use super::Counter;
use super::param::{ParamRow, Setting};
use super::report::Report;
use super::text::{Label, Text};
use super::wire::{In, Out, Wire, area, replies};
use crate::errno::Errno;
use crate::id::{DomainId, PoolId, SchedId};
use crate::set::CpuSet;

/// Where the memory of a pool's domains comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryFrom {
    /// Anywhere.
    Any,
    /// RAM of this NUMA node (`numa-node-id`).
    Node(u32),
    /// This range of physical addresses.
    Range {
        /// First byte, a multiple of 2 MiB.
        base: u64,
        /// Bytes, a multiple of 2 MiB, not 0.
        size: u64,
    },
}

impl Wire for MemoryFrom {
    const WORDS: usize = 3;
    const KIND: &'static str = "0, 0, 0 = anywhere; 1, node, 0; 2, base address, bytes";
    fn put(&self, out: &mut Out) {
        let words = match *self {
            MemoryFrom::Any => [0, 0, 0],
            MemoryFrom::Node(n) => [1, u64::from(n), 0],
            MemoryFrom::Range { base, size } => [2, base, size],
        };
        words.into_iter().for_each(|w| out.push(w));
    }
    fn get(from: &mut In<'_>) -> Result<Self, Errno> {
        match [from.pull(), from.pull(), from.pull()] {
            [0, 0, 0] => Ok(MemoryFrom::Any),
            [1, n, 0] => u32::try_from(n)
                .map(MemoryFrom::Node)
                .map_err(|_| Errno::Invalid),
            [2, base, size] => Ok(MemoryFrom::Range { base, size }),
            _ => Err(Errno::Invalid),
        }
    }
}

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
        /// How many of its vCPUs have no CPU, and get none before another leaves or a CPU comes.
        stranded: u32,
    }

    /// Answer to `Scheds`.
    SchedRow {
        /// Its number.
        id: SchedId,
        /// Whether pools get it when nothing is said.
        default: bool,
        /// Its name.
        name: Label,
    }

    /// Answer to `Memory`.
    PoolMemory {
        /// Where its domains' memory comes from.
        from: MemoryFrom,
        /// Free there, KiB.
        free: u64,
        /// What its domains have, KiB.
        used: u64,
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
    /// The pool of a name. `NoSuch` if there is none.
    Find = 0x03, Dom0 {
        /// Exactly this name.
        name: Text,
    } -> PoolId;
    /// Makes a pool without CPUs and domains. `Exists`: the name is taken; `Invalid`: it is not 1 to 31 letters, digits,
    /// `-`, `_` or `.`; `NoMemory`: no slot.
    Create = 0x04, Dom0 {
        /// Its scheduler; none = the default.
        sched: Option<SchedId>,
        /// Its name.
        name: Text,
    } -> PoolId;
    /// Removes a pool; its CPUs become free. `NotEmpty`: it has domains; `Fixed`: it is Pool-0.
    Destroy = 0x05, Dom0 {
        /// Which.
        id: PoolId,
    } -> ();
    /// Gives a pool another name; refusals as for `Create`.
    Rename = 0x06, Dom0 {
        /// Which.
        id: PoolId,
        /// Its new name.
        name: Text,
    } -> ();
    /// Brings CPUs into a pool, wherever they are, or makes them free; all or none. `NoSuch`: the machine has no such CPU;
    /// `Fixed`: the boot CPU stays in Pool-0; `LastCpu`: a pool with domains would be left without.
    AssignCpus = 0x07, Dom0 {
        /// Where to; none = free.
        to: Option<PoolId>,
        /// Which.
        cpus: CpuSet,
    } -> Report;
    /// The CPUs that are in no pool.
    FreeCpus = 0x08, Dom0 {} -> CpuSet;
    /// Exchanges the scheduler of a running pool; parameters of its domains stay. `NotAdmitted`: it cannot take all of them.
    SetSched = 0x09, Dom0 {
        /// Which pool.
        id: PoolId,
        /// Its new scheduler.
        sched: SchedId,
    } -> Report;
    /// Parameters of a pool. Ends with `End`.
    Params = 0x0a, Dom0 {
        /// Whose.
        id: PoolId,
        /// From 0 on.
        index: u32,
    } -> ParamRow;
    /// Sets one or two of them. `NoSuch`: no such name; `Invalid`: out of range.
    SetParams = 0x0b, Dom0 {
        /// Whose.
        id: PoolId,
        /// What.
        first: Setting,
        /// And what.
        second: Option<Setting>,
    } -> ();
    /// The schedulers there are. Ends with `End`.
    Scheds = 0x0c, Dom0 {
        /// From 0 on.
        index: u32,
    } -> SchedRow;
    /// A phrase about a scheduler.
    SchedAbout = 0x0d, Dom0 {
        /// Which.
        id: SchedId,
    } -> Text;
    /// Counters of a pool. Ends with `End`.
    Counters = 0x0e, Dom0 {
        /// Whose.
        id: PoolId,
        /// From 0 on.
        index: u32,
    } -> Counter;
    /// Where the memory of a pool's domains comes from, and how much there is.
    Memory = 0x0f, Dom0 {
        /// Which pool.
        id: PoolId,
    } -> PoolMemory;
    /// Sets where the memory of domains created in this pool from now on comes from. `NoSuch`: no such node; `Invalid`: the
    /// range is no RAM of ours; `Busy`: it overlaps a range that another pool has.
    SetMemory = 0x10, Dom0 {
        /// Which pool.
        id: PoolId,
        /// From where.
        from: MemoryFrom,
    } -> ();
}
