//! The words both sides of a hypervisor call share: ids, time, CPU sets, register banks, errors, calls.
//!
//! Depends on nothing, holds no policy and no architecture code, and must never contain a pointer: whatever crosses
//! the HVC boundary is a value in x0-x7. The hypervisor decodes with this crate and the dom0 shim encodes with it,
//! so the two cannot disagree.
#![no_std]
#![forbid(unsafe_code)]

pub mod call;
pub mod errno;
pub mod id;
pub mod regs;
pub mod set;
pub mod short;
pub mod time;
pub mod trace;

pub use call::text::{Bytes, Label, Text};
pub use call::{Call, Reply, Request};
pub use errno::Errno;
pub use id::{
    CpuId, DomainId, GroupId, MAX_CPUS, MAX_DOMAINS, MAX_POOLS, MAX_VCPUS, PoolId, SchedId, VcpuId,
};
pub use regs::Regs;
pub use set::CpuSet;
pub use time::{Instant, Span};
