//! The recording of the pools' schedulers (boot option `record=N`): printed when the machine ends, for `tarn-sim replay`.
//!
//! Must never be on unless asked for: it takes 48 bytes a record and time on every operation.

use crate::console;
use crate::run::POOLS;
use core::fmt::Write;
use core::sync::atomic::{AtomicU32, Ordering};

/// Records kept of each pool's scheduler; 0 = none.
pub static ENTRIES: AtomicU32 = AtomicU32::new(0);

/// Prints what has been recorded, a line a record, and records no more.
pub fn dump() {
    if ENTRIES.load(Ordering::Relaxed) == 0 {
        return;
    }
    console::flush();
    for i in 0.. {
        let Some(pool) = POOLS.pool_at(i) else { break };
        let mut next = 0;
        let frozen = POOLS.freeze_record(pool).is_ok();
        while let (true, Ok(Some((n, r)))) = (frozen, POOLS.recorded(pool, next)) {
            let mut line: heapless::String<160> = heapless::String::new();
            // 7 + 20 + 21 + 6 * 17 characters at most: it fits.
            let _ = write!(line, "trace {i} {n} {r}\r\n");
            console::print_polled(&line);
            next = n + 1;
        }
    }
}
