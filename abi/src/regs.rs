//! The registers of a hypervisor call: x0 to x7, as values.
//!
//! x0 carries the function id in and the result out. Strings of up to 48 bytes travel in x2-x7 (`Text`).

/// x0-x7 of a call or its reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Regs(pub [u64; 8]);
