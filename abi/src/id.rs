//! Names of things: CPUs, domains, vCPUs, pools, schedulers.
//!
//! An id is a slot in a table plus the generation of that slot, so the id of something destroyed answers `Stale`
//! instead of naming its successor. Ids never own anything.

use core::fmt;

/// Most physical CPUs Tarn runs on.
pub const MAX_CPUS: usize = 128;
/// Most domains alive at once, dom0 included.
pub const MAX_DOMAINS: usize = 128;
/// Most vCPUs alive at once, over all domains.
pub const MAX_VCPUS: usize = 1024;
/// Most pools alive at once.
pub const MAX_POOLS: usize = 64;

/// A physical CPU by Tarn's logical number: its position among the device tree's `/cpus`, the boot CPU being 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuId(pub u16);

impl CpuId {
    /// The CPU that entered the image first; always in Pool-0.
    pub const BOOT: CpuId = CpuId(0);

    /// As an index into per-CPU tables.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cpu{}", self.0)
    }
}

impl fmt::Display for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

macro_rules! slot_id {
    ($(#[$doc:meta])* $name:ident, $tag:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            /// Position in the owner's table.
            pub slot: u16,
            /// How often that slot has been given out before.
            pub generation: u16,
        }

        impl $name {
            /// Names generation `generation` of `slot`.
            pub const fn new(slot: u16, generation: u16) -> Self {
                Self { slot, generation }
            }

            /// As an index into tables by slot.
            pub const fn index(self) -> usize {
                self.slot as usize
            }

            /// As it crosses the hypervisor call boundary: generation in bits 16-31, slot in bits 0-15.
            pub const fn to_wire(self) -> u64 {
                ((self.generation as u64) << 16) | self.slot as u64
            }

            /// Back from the wire; `None` if bits above 31 are set.
            pub const fn from_wire(word: u64) -> Option<Self> {
                if word >> 32 != 0 {
                    return None;
                }
                Some(Self { slot: word as u16, generation: (word >> 16) as u16 })
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($tag, "{}.{}"), self.slot, self.generation)
            }
        }
    };
}

slot_id!(
    /// A domain: one virtual machine. Slot 0 is dom0.
    DomainId, "d"
);
slot_id!(
    /// A virtual CPU, numbered over all domains; which one of its domain it is, its owner knows.
    VcpuId, "v"
);
slot_id!(
    /// A CPU pool. Slot 0 is Pool-0, which always exists.
    PoolId, "p"
);

impl DomainId {
    /// The control domain.
    pub const DOM0: DomainId = DomainId::new(0, 0);
}

impl PoolId {
    /// The pool that exists from boot and holds the boot CPU and dom0.
    pub const POOL0: PoolId = PoolId::new(0, 0);
}

/// A scheduling group of a pool, or the pool itself: position 0 of every pool's groups stands for the pool, so that
/// "out of all groups" and "directly in the pool" are places like any other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId {
    /// The pool.
    pub pool: PoolId,
    /// Position among the pool's groups, from 1; 0 = the pool itself.
    pub slot: u16,
    /// How often that position has been given out before; 0 for the pool itself.
    pub generation: u16,
}

impl GroupId {
    /// The place outside all groups of `pool`.
    pub const fn root(pool: PoolId) -> Self {
        Self {
            pool,
            slot: 0,
            generation: 0,
        }
    }

    /// Whether it stands for the pool itself.
    pub const fn is_root(self) -> bool {
        self.slot == 0
    }

    /// As it crosses the call boundary: pool generation in bits 48-63, pool slot in 32-47, group generation in 16-31,
    /// group slot in 0-15.
    pub const fn to_wire(self) -> u64 {
        self.pool.to_wire() << 32 | (self.generation as u64) << 16 | self.slot as u64
    }

    /// Back from the wire; `None` if position 0 has a generation.
    pub const fn from_wire(word: u64) -> Option<Self> {
        let (slot, generation) = (word as u16, (word >> 16) as u16);
        match PoolId::from_wire(word >> 32) {
            Some(pool) if slot != 0 || generation == 0 => Some(Self {
                pool,
                slot,
                generation,
            }),
            _ => None,
        }
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}g{}.{}", self.pool, self.slot, self.generation)
    }
}

/// A kind of scheduler: a row number of the scheduler registry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SchedId(pub u8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_round_trip() {
        let id = DomainId::new(7, 0xfffe);
        assert_eq!(DomainId::from_wire(id.to_wire()), Some(id));
        assert_eq!(DomainId::from_wire(1 << 32), None);
        let group = GroupId {
            pool: PoolId::new(63, 0xffff),
            slot: 256,
            generation: 9,
        };
        assert_eq!(GroupId::from_wire(group.to_wire()), Some(group));
        let root = GroupId::root(PoolId::new(3, 2));
        assert_eq!(GroupId::from_wire(root.to_wire()), Some(root));
        assert!(root.is_root() && !group.is_root());
        assert_eq!(GroupId::from_wire(1 << 16), None);
    }
}
