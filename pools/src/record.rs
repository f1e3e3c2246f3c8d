//! Recording: what a pool's scheduler was asked and what it answered, kept in a ring, drained one record at a time.
//!
//! # For the hypervisor
//!
//! - From the first moment, so that it can be replayed: `PoolConfig::record = N` when the pool is made (48 bytes a record,
//!   all got at once). Later, to look at what a CPU does: [`PoolSet::record`], which also ends a recording (0).
//! - Print all of it: [`PoolSet::freeze_record`], then
//!   `let mut n = 0; while let Some((at, r)) = set.recorded(pool, n)? { print("{at} {r}"); n = at + 1; }`.
//!   Each step takes the pool's lock for a moment; records that the ring has lost meanwhile are jumped over. Number and
//!   record are seven words: a call can hand them out in registers.
//! - What a CPU has decided lately: [`PoolSet::decision`], newest first, with the vCPU's id.
//!
//! Lines `trace POOL NUMBER WORD WORD WORD WORD WORD WORD` (two decimal, six hexadecimal), from number 0 on, are what
//! `tarn-sim replay` reads. Must never loop over a ring under the lock. Neighbours: `sched::Recorded` writes.

use crate::error::PoolError;
use crate::pool::Pool;
use crate::set::PoolSet;
use alloc::boxed::Box;
use spin::RelaxStrategy;
use tarn_abi::trace::{Op, Record};
use tarn_abi::{CpuId, CpuSet, Instant, PoolId, VcpuId};
use tarn_sched::Recorder;

/// How many records are looked at in one go.
const STRETCH: u64 = 256;

/// What a CPU has decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// When.
    pub at: Instant,
    /// Whether it ran nobody from then on.
    pub idle: bool,
    /// Who ran from then on; `None` also if that vCPU has gone since.
    pub vcpu: Option<VcpuId>,
    /// When it had to come by again; `None` = no timer.
    pub until: Option<Instant>,
    /// Who else had to come by.
    pub kick: CpuSet,
}

/// A step of looking through a recording.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// Found, with its number.
    Found(u64, Decision),
    /// Not among those looked at; go on before that number.
    Before(u64),
    /// There is none (any more).
    End,
}

/// A ring of that size, if it is to be one.
pub(crate) fn recorder(entries: u32) -> Result<Option<Box<Recorder>>, PoolError> {
    Ok(match entries {
        0 => None,
        n => Some(Box::new(Recorder::new(n)?)),
    })
}

impl<R: RelaxStrategy> PoolSet<R> {
    /// Records the scheduler of `pool` from now on, the latest `entries`; 0 ends it. What has been recorded is gone.
    pub fn record(&self, pool: PoolId, entries: u32, now: Instant) -> Result<(), PoolError> {
        let new = recorder(entries)?;
        let mut p = self.lock_pool(pool)?;
        let now = p.tick(now);
        let old = p.sched().record(new, None, now);
        drop(p);
        drop(old);
        Ok(())
    }

    /// Writes no more records of `pool`; those there stay. To drain a recording while everything runs on.
    pub fn freeze_record(&self, pool: PoolId) -> Result<(), PoolError> {
        self.lock_pool(pool)?.sched().freeze();
        Ok(())
    }

    /// The first record of `pool` with number `from` or more that is there, and its number.
    pub fn recorded(&self, pool: PoolId, from: u64) -> Result<Option<(u64, Record)>, PoolError> {
        let p = self.lock_pool(pool)?;
        Ok(p.sched.recorder().and_then(|rec| {
            let n = from.max(rec.oldest());
            rec.get(n).map(|r| (n, *r))
        }))
    }

    /// The latest decision of `cpu` in `pool` before number `before` (`u64::MAX` for the latest of all).
    pub fn decision(&self, pool: PoolId, cpu: CpuId, before: u64) -> Result<Look, PoolError> {
        let p = self.lock_pool(pool)?;
        let Some(rec) = p.sched.recorder() else {
            return Ok(Look::End);
        };
        let top = before.min(rec.written());
        let bottom = rec.oldest().max(top.saturating_sub(STRETCH));
        for n in (bottom..top).rev() {
            if let Some(d) = rec.get(n).and_then(|r| decided(&p, r, cpu)) {
                return Ok(Look::Found(n, d));
            }
        }
        Ok(if bottom > rec.oldest() {
            Look::Before(bottom)
        } else {
            Look::End
        })
    }

    /// Whether the scheduler of `pool` is being recorded.
    pub fn recording(&self, pool: PoolId) -> Result<bool, PoolError> {
        Ok(self.lock_pool(pool)?.sched.recorder().is_some())
    }

    /// The earliest decision of `cpu` in `pool` with number `from` or more. `Look::Before` here: not among those looked
    /// at; go on from that number.
    pub fn decision_from(&self, pool: PoolId, cpu: CpuId, from: u64) -> Result<Look, PoolError> {
        let p = self.lock_pool(pool)?;
        let Some(rec) = p.sched.recorder() else {
            return Ok(Look::End);
        };
        let bottom = from.max(rec.oldest());
        let top = rec.written().min(bottom.saturating_add(STRETCH));
        for n in bottom..top {
            if let Some(d) = rec.get(n).and_then(|r| decided(&p, r, cpu)) {
                return Ok(Look::Found(n, d));
            }
        }
        Ok(if top < rec.written() {
            Look::Before(top)
        } else {
            Look::End
        })
    }
}

/// A record as a decision of `cpu`, if it is one.
fn decided(p: &Pool, r: &Record, cpu: CpuId) -> Option<Decision> {
    if r.op() != Some(Op::Pick) || r.on() != Some(cpu) {
        return None;
    }
    let row = r.picked().and_then(|tag| u16::try_from(tag).ok());
    Some(Decision {
        at: r.at(),
        idle: r.picked().is_none(),
        vcpu: row.and_then(|row| p.rows.get(row)).map(|row| row.id),
        until: r.until(),
        kick: r.kicked(),
    })
}
