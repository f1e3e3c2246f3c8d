//! What is noted about a guest while it runs: how its interrupts were served, source by source, and what it asked for.
//!
//! Every sample is kept, so percentiles are exact. Values only.

/// How one interrupt source, or the program's timer, was served.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// Firing to start of the handler, ns.
    pub wakes: Vec<u64>,
    /// Firing to the end of the work, ns.
    pub responses: Vec<u64>,
    /// Responses after their deadline.
    pub misses: u64,
    /// Firings.
    pub fired: u64,
    /// Firings that met a handler that had not started.
    pub coalesced: u64,
}

/// Figures of a vCPU.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Of each source, in order.
    pub sources: Vec<Served>,
    /// Of the program's timer: wakes only.
    pub timer: Served,
    /// Work asked for by interrupts, ns on the fastest CPU.
    pub offered: u64,
    /// Critical sections done.
    pub sections: u64,
}

impl Figures {
    /// Of a vCPU with so many sources.
    pub fn new(sources: usize) -> Figures {
        Figures {
            sources: vec![Served::default(); sources],
            ..Figures::default()
        }
    }

    /// Of that source; `None` = the program's timer.
    pub fn of(&mut self, source: Option<usize>) -> &mut Served {
        match source {
            Some(s) => &mut self.sources[s],
            None => &mut self.timer,
        }
    }

    /// All of them, the timer last.
    pub fn all(&self) -> impl Iterator<Item = &Served> {
        self.sources.iter().chain([&self.timer])
    }
}
