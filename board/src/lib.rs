//! Device-tree bytes to typed values, and the trees that guests get.
//!
//! Pure: bytes in, values out; no hardware, no architecture code, no unsafe. Whatever the bytes are, the answer is a
//! value or an error that names node and property: never a panic, never unbounded time or memory. Two readers look at
//! the tree: `Board::from_dtb` walks all of it once, `Config::from_dtb` only /chosen. The parser crate stands behind
//! tree.rs alone.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod board;
mod bus;
mod chosen;
pub mod config;
mod cpus;
mod discover;
mod error;
mod gic;
mod graft;
pub mod guest;
mod irq;
mod memory;
mod power;
mod props;
pub mod region;
mod timer;
mod tree;
mod uart;
mod writer;

pub use board::*;
pub use config::{
    Config, Devices, Diagnostic, DomainConfig, Module, Param, ParamValue, PoolConfig, Restart,
    Severity, VcpuConfig,
};
pub use discover::find_uart;
pub use error::{BoardError, NodePath, Note, Problem};
pub use guest::{GuestError, GuestGic, GuestSpec, GuestTree, SeedsAt, guest_dtb};
pub use region::Region;
pub use tarn_abi::{MAX_CPUS, MAX_DOMAINS};
pub use tree::header_size;

/// A list of at most `N`, in place.
type List<T, const N: usize> = heapless::Vec<T, N>;

/// The affinity fields of MPIDR_EL1 (Arm ARM, D19.2): Aff3 in 39:32, Aff2-0 in 23:0.
pub const MPIDR_AFFINITY: u64 = 0xff_00ff_ffff;
/// The largest device tree that is read, in bytes. The header allows 4 GiB; real ones stay below 200 KB.
pub const MAX_DTB: usize = 2 << 20;
