//! EL2's memory: who owns which physical page, what is mapped where.
//!
//! frames: free RAM. nodes: where RAM is, and which of it a pool may have. heap: small things. table: the page-table walker both stages share. stage1: EL2's own map.
//! stage2: a guest's map. guest: the only way to read or write guest memory.

pub mod frames;
pub mod guest;
pub mod heap;
pub mod nodes;
pub mod stage1;
pub mod stage2;
pub mod table;

/// Size of a page and of a table.
pub const PAGE: usize = 4096;
/// Size of a level-2 block.
pub const BLOCK_2M: usize = 2 << 20;
