//! Where RAM is: its ranges and NUMA nodes, and from which of them each pool's domains take their memory.
//!
//! A pool may be confined to a node or a range; a domain created in it then has memory from there or is refused, it is
//! never given less isolation than was asked for. Domains that exist keep what they have. Neighbours: `frames.rs` takes
//! memory inside a range, hypercall/pool.rs sets, domain/life.rs asks.

use super::{BLOCK_2M, frames};
use crate::arch::Lock;
use abi::call::pool::MemoryFrom;
use abi::call::system::MemoryNode;
use abi::{Errno, MAX_POOLS, PoolId};
use alloc::vec::Vec;
use core::ops::Range;

struct Node {
    range: Range<usize>,
    id: u32,
}

static NODES: spin::Once<Vec<Node>> = spin::Once::new();
/// By slot: which pool that was said of, and what. Another pool in that slot is not confined by it.
static POOLS: Lock<[(PoolId, MemoryFrom); MAX_POOLS]> =
    Lock::new([(PoolId::POOL0, MemoryFrom::Any); MAX_POOLS]);

/// Sets the machine's RAM, once: ranges with their nodes.
pub fn init(ram: impl Iterator<Item = (Range<usize>, u32)>) {
    NODES.call_once(|| ram.map(|(range, id)| Node { range, id }).collect());
}

fn nodes() -> &'static [Node] {
    NODES.get().map_or(&[], Vec::as_slice)
}

/// Row `index` of the list.
pub fn row(index: usize) -> Option<MemoryNode> {
    nodes().get(index).map(|n| MemoryNode {
        base: n.range.start as u64,
        size: n.range.len() as u64,
        node: n.id,
        free: frames::free_in(&n.range) as u64 / 1024,
    })
}

/// Where the memory of a pool's domains comes from.
pub fn of(pool: PoolId) -> MemoryFrom {
    match POOLS.lock().get(pool.index()) {
        Some((of, from)) if *of == pool => *from,
        _ => MemoryFrom::Any,
    }
}

/// The ranges that `from` means.
pub fn ranges(from: MemoryFrom) -> impl Iterator<Item = Range<usize>> {
    nodes().iter().filter_map(move |n| {
        let r = match from {
            MemoryFrom::Any => n.range.clone(),
            MemoryFrom::Node(id) if id == n.id => n.range.clone(),
            MemoryFrom::Node(_) => return None,
            MemoryFrom::Range { base, size } => {
                let end = base.saturating_add(size) as usize;
                n.range.start.max(base as usize)..n.range.end.min(end)
            }
        };
        (!r.is_empty()).then_some(r)
    })
}

/// Bytes free where a pool's domains take theirs.
pub fn free_of(pool: PoolId) -> u64 {
    ranges(of(pool)).map(|r| frames::free_in(&r) as u64).sum()
}

/// Sets where the memory of a pool's domains comes from. The pool is there; `lives` says of others whether they are.
pub fn confine(
    pool: PoolId,
    from: MemoryFrom,
    lives: impl Fn(PoolId) -> bool,
) -> Result<(), Errno> {
    match from {
        MemoryFrom::Any => {}
        MemoryFrom::Node(id) => {
            if !nodes().iter().any(|n| n.id == id) {
                return Err(Errno::NoSuch);
            }
        }
        MemoryFrom::Range { base, size } => {
            let aligned = (base | size).is_multiple_of(BLOCK_2M as u64);
            let end = base.checked_add(size).ok_or(Errno::Invalid)?;
            let inside = nodes()
                .iter()
                .any(|n| n.range.start as u64 <= base && end <= n.range.end as u64);
            if size == 0 || !aligned || !inside {
                return Err(Errno::Invalid);
            }
        }
    }
    // dom0 alone sets this, and has one vCPU: nobody else changes it between the look and the change.
    let pools = *POOLS.lock();
    if let MemoryFrom::Range { base, size } = from {
        let overlaps = |other: &MemoryFrom| matches!(other, MemoryFrom::Range { base: b, size: s } if base < b + s && *b < base + size);
        let others = pools.iter().enumerate().filter(|(i, _)| *i != pool.index());
        if others
            .into_iter()
            .any(|(_, (of, from))| overlaps(from) && lives(*of))
        {
            return Err(Errno::Busy);
        }
    }
    let mut pools = POOLS.lock();
    let place = pools.get_mut(pool.index()).ok_or(Errno::NoSuch)?;
    *place = (pool, from);
    Ok(())
}

/// A pool whose memory was asked for where there is none: its domains get nothing.
pub fn nowhere(pool: PoolId) {
    if let Some(p) = POOLS.lock().get_mut(pool.index()) {
        *p = (pool, MemoryFrom::Range { base: 0, size: 0 });
    }
}
