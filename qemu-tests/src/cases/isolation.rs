//! A guest that does what it must not: memory it does not own, device addresses of every width, calls nobody knows.
//!
//! What the guest hears back is on its transcript (see `guests`); here it runs beside another guest, which must not
//! notice, and dom0 must still answer afterwards.

use crate::runner::Test;

/// The tests.
pub fn tests() -> Vec<Test> {
    Vec::new()
}
