//! Software timers of one CPU: per vCPU at most one, the earlier of its two guest timers while they need software.
//!
//! A blocked or queued vCPU's virtual timer is an alarm on the CPU that saved it; its emulated physical timer is an
//! alarm wherever it runs. An alarm of a vCPU that has since moved on is found stale when it fires (the vCPU no longer
//! asks for that moment) and dropped. Nothing allocates after the CPU is up; the list cannot overflow, since it has a
//! place for every vCPU there can be.

use abi::{Instant, MAX_VCPUS, VcpuId};
use alloc::vec::Vec;

/// The alarms of a CPU.
pub struct Alarms {
    list: Vec<(Instant, VcpuId)>,
    next: Instant,
}

impl Alarms {
    /// None yet, with room for every vCPU there can be.
    pub fn new() -> Alarms {
        Alarms {
            list: Vec::with_capacity(MAX_VCPUS),
            next: Instant::NEVER,
        }
    }

    /// The earliest.
    #[inline]
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Sets (or with `NEVER` clears) the alarm of `v`.
    #[inline]
    pub fn set(&mut self, v: VcpuId, at: Instant) {
        let found = self.list.iter().position(|e| e.1.slot == v.slot);
        match (found, at) {
            (None, Instant::NEVER) => return,
            (Some(i), Instant::NEVER) => {
                let old = self.list.swap_remove(i).0;
                if old > self.next {
                    return;
                }
            }
            (Some(i), _) => {
                let old = core::mem::replace(&mut self.list[i], (at, v)).0;
                if old > self.next && at >= self.next {
                    return;
                }
            }
            (None, _) => {
                self.list.push((at, v));
                self.next = self.next.min(at);
                return;
            }
        }
        self.next = self
            .list
            .iter()
            .map(|e| e.0)
            .min()
            .unwrap_or(Instant::NEVER);
    }

    /// Takes out one alarm that is due at `now`.
    pub fn take_due(&mut self, now: Instant) -> Option<VcpuId> {
        if self.next > now {
            return None;
        }
        let i = self.list.iter().position(|e| e.0 <= now)?;
        let v = self.list.swap_remove(i).1;
        self.next = self
            .list
            .iter()
            .map(|e| e.0)
            .min()
            .unwrap_or(Instant::NEVER);
        Some(v)
    }
}
