//! Repeats one measurement and prints its smallest, middle and largest value.
use core::sync::atomic::{AtomicU64, Ordering};

use guest_rt::println;

/// Most values a series holds.
pub const ROOM: usize = 4096;

/// Values that are thrown away first: caches, translation buffers and the emulator's own code warm up.
const WARM_UP: usize = 100;

static VALUES: [AtomicU64; ROOM] = [const { AtomicU64::new(0) }; ROOM];

/// The values of one measurement, in the one buffer there is.
pub struct Series {
    count: usize,
}

impl Series {
    /// An empty one.
    pub fn new() -> Series {
        Series { count: 0 }
    }

    /// Measures and reports.
    pub fn run(name: &str, iterations: usize, mut measure: impl FnMut() -> u64) {
        for _ in 0..WARM_UP.min(iterations) {
            measure();
        }
        let mut series = Series::new();
        for _ in 0..iterations {
            series.add(measure());
        }
        series.report(name);
    }

    /// One more value; too many are dropped.
    pub fn add(&mut self, value: u64) {
        if let Some(slot) = VALUES.get(self.count) {
            slot.store(value, Ordering::Relaxed);
            self.count += 1;
        }
    }

    fn get(&self, n: usize) -> u64 {
        VALUES[n].load(Ordering::Relaxed)
    }

    /// Shell sort: no stack, no allocation, fast enough for a few thousand.
    fn sort(&self) {
        let mut gap = self.count / 2;
        while gap > 0 {
            for i in gap..self.count {
                let value = self.get(i);
                let mut j = i;
                while j >= gap && self.get(j - gap) > value {
                    VALUES[j].store(self.get(j - gap), Ordering::Relaxed);
                    j -= gap;
                }
                VALUES[j].store(value, Ordering::Relaxed);
            }
            gap /= 2;
        }
    }

    /// Prints `BENCH name iterations min median max`. Sorts.
    pub fn report(&self, name: &str) {
        self.sort();
        if self.count > 0 {
            let (min, median, max) = (
                self.get(0),
                self.get(self.count / 2),
                self.get(self.count - 1),
            );
            println!("BENCH {name} {} {min} {median} {max}", self.count);
        }
    }

    /// Prints `PERCENTILES name p50 p90 p99 max` of a series that was reported (and so sorted).
    pub fn percentiles(&self, name: &str) {
        let at = |percent: usize| self.get((self.count * percent / 100).min(self.count - 1));
        println!(
            "PERCENTILES {name} {} {} {} {}",
            at(50),
            at(90),
            at(99),
            self.get(self.count - 1)
        );
    }
}
