//! The scheduling policies of Tarn and the one trait they stand behind.
//!
//! A scheduler instance decides which *entity* runs on which CPU of its pool. An entity is a vCPU or a virtual processor
//! of a group; the scheduler cannot tell and need not: it knows entities by the dense handles ([`Ent`]) it gave out
//! itself and answers with the owner's [`Tag`]. It is called under its pool's lock, so it has no locks inside; time
//! comes in as an argument and effects go out as values ([`Kick`], [`Pick`]), so a run can be replayed exactly.
//!
//! The contract every policy keeps (tested generically for each registry row):
//! - memory is got in `alloc_*` only, which may fail and then change nothing; everything else is infallible and, on the
//!   hot paths (`pick_next`, `wake`, `sleep`, `context_saved`), free of allocation and of loops over all entities;
//! - an entity is in at most one place: queued, or on one CPU from `pick_next` to `context_saved`;
//! - whoever makes an entity pickable returns the CPUs that must come by in the same call. No kick is ever owed.
//!
//! Must never: touch hardware, read a clock, know a domain, or call upward. Neighbours: `pools` calls it and maps tags to
//! vCPUs; `sim` drives the same code on the host.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod cpus;
mod credit2;
mod error;
mod exchange;
mod fifo;
mod heap;
pub mod mutant;
mod null;
pub mod params;
mod queue;
mod record;
pub mod registry;
mod rr;
mod rtds;
mod scheduler;
mod slab;
mod tree;

pub use error::SchedError;
pub use exchange::Root;
pub use params::{BoostParams, RtParams, SchedParams, VcpuParams};
pub use record::{MAX_RECORDS, Pending, Recorded, Recorder};
pub use scheduler::{
    BoostCause, DeboostCause, Ent, GuestHint, Kick, News, Pick, Scheduler, Stats, Tag, Totals,
    WakeReason,
};
pub use tree::{GroupShape, Leaf, NodeId, Tree};
