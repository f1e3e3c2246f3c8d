//! CPU pools: which CPU and which domain belongs where, what state each vCPU is in, and the protocol by which a CPU
//! changes from one vCPU to another. All of it by value: no registers, no clock, no interrupts, no unsafe.
//!
//! # Locks
//!
//! | rank | lock | protects | held while taking |
//! |---|---|---|---|
//! | 1 | `config` | one reconfiguration in flight | 2 |
//! | 2 | `pools[i]`, ascending i | rows of vCPUs and domains, CPU sets, the scheduler instance | the heap (`alloc_*` only) |
//!
//! Hot operations take exactly one rank-2 lock: read the vCPU's home word, lock that pool, read again, retry if it moved.
//! Home words change only with the locks of both pools held and all registers of the domain in memory. `member[cpu]` is
//! written by that CPU alone, in `settle`, while it is idle with nothing loaded. No guard leaves this crate. The one
//! foreign closure called under a lock is `block`'s `pending`, which may look but not call back.
//!
//! # Why no wake-up and no kick is lost
//!
//! 1. A waker marks its interrupt pending, then calls `wake`; a sleeper calls `block`. Both take the same pool lock. If
//!    `wake` comes first it finds the vCPU running and leaves the sticky bit, which makes `block` look at the interrupt
//!    (visible: the lock orders it). If `block` comes first, `wake` finds a sleeper.
//! 2. Whoever makes a vCPU pickable (wake, unpause, insert, `context_saved`) learns in the same critical section which
//!    CPUs must come, and sends the kick afterwards. A CPU acts on a kick by taking the lock, i.e. after that section, so
//!    it sees the vCPU. A CPU that picked in between has seen it already: then the kick is stale, one look too many.
//! 3. A vCPU is queued only while no CPU holds its registers: `pick_next` makes it *on* that CPU and only
//!    `context_saved`, after `Machine::save`, lets go. Woken in between it stays where it is and its CPU is kicked.
//! 4. Kicks are level-like: `Machine::kick` pends an interrupt, which ends a guest's run and a masked `wfi` alike, and a
//!    CPU calls `reschedule` before either whenever one has arrived.
//!
//! Neighbours: `sched` decides, `hv` (or `sim`) implements [`Machine`] and sends the kicks.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod cap;
mod change;
mod dispatch;
mod domains;
mod error;
mod exchange;
mod groups;
mod info;
mod model;
mod moves;
mod name;
mod params;
mod plan;
mod pool;
mod prepare;
mod reconf;
mod record;
mod row;
mod runstate;
mod set;
mod shortage;
mod step;
mod turn;
mod watch;

pub use change::{CALL_AGAIN, Preview, PreviewMove, PreviewPool, Status};
pub use dispatch::{Clock, IdleCpu, Machine, Running};
pub use error::PoolError;
pub use groups::{GroupConfig, GroupId, GroupInfo};
pub use info::{CpuInfo, DomainInfo, PoolInfo, VcpuInfo};
pub use moves::prefers_in_vain;
pub use name::Name;
pub use params::{GroupParams, Settings, domain_row, vcpu_row, vcpu_with};
pub use plan::{Plan, Refusal, Step, Target};
pub use pool::{DomainParams, PoolConfig, PoolParams, Wfi};
pub use reconf::Progress;
pub use record::{Decision, Look};
pub use row::Power;
pub use runstate::{DomainState, DomainTimes, VcpuState, VcpuTimes};
pub use set::{Block, PoolSet, Woken, sched_by_name};
#[cfg(feature = "step")]
pub use step::{Fault, install as install_step};
pub use tarn_abi::trace::Record;
pub use tarn_sched::registry;
pub use tarn_sched::{
    BoostCause, BoostParams, DeboostCause, GuestHint, Kick, News, RtParams, SchedError,
    SchedParams, Stats, Totals, VcpuParams, WakeReason,
};
pub use turn::Turn;
