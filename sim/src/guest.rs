//! A guest vCPU as a model: interrupt handlers, request and real-time threads, and a program, in strict priority.
//!
//! List 0: interrupt handlers, IRQs masked, a started one is not interrupted. List 1: real-time and request threads.
//! List 2: the rest, then the program. The engine tells it how long it has run and asks what comes next. Must never see
//! the scheduler.

use crate::figures::Figures;
use crate::rng::Rng;
use std::collections::VecDeque;

/// A length of work: fixed or exponentially distributed around a mean, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Always this.
    Fixed(u64),
    /// Exponential.
    Exp(u64),
}

impl Amount {
    /// What it is on average.
    pub fn mean(self) -> u64 {
        match self {
            Amount::Fixed(n) | Amount::Exp(n) => n,
        }
    }
    /// Draws one; exponential work is at least 1 us.
    pub fn draw(self, rng: &mut Rng) -> u64 {
        match self {
            Amount::Fixed(n) => n,
            Amount::Exp(mean) => rng.exp(mean).max(1_000),
        }
    }
}

/// An interrupt source.
#[derive(Clone, Debug)]
pub struct Source {
    /// What the report calls it: its number if it has no name of its own.
    pub name: String,
    /// Time between firings: fixed, or the mean of an exponential.
    pub period: u64,
    /// Exponential gaps.
    pub poisson: bool,
    /// First firing (one gap later if Poisson).
    pub phase: u64,
    /// No firing from then on; `u64::MAX` = never.
    pub end: u64,
    /// The handler's length.
    pub handler: u64,
    /// The list of the work that follows: 1 or 2.
    pub priority: usize,
    /// That work; `Fixed(0)` = none.
    pub work: Amount,
    /// Work is drawn at every firing and piles up.
    pub acc: bool,
    /// A response later than this is a miss.
    pub deadline: Option<u64>,
}

/// What a vCPU does besides its interrupts.
#[derive(Clone, Debug)]
pub enum Program {
    /// Nothing.
    None,
    /// Computes for ever; yields after that much.
    Hog {
        /// ns of running between yields.
        yield_every: Option<u64>,
    },
    /// Computes, sleeps, is woken by its timer.
    RunSleep {
        /// Computing.
        run: Amount,
        /// Sleeping.
        sleep: Amount,
    },
    /// Computes, then works under a lock with IRQs masked.
    Lock {
        /// Between critical sections.
        compute: Amount,
        /// Critical section.
        hold: u64,
        /// How long it spins before it gives up the CPU (WFE).
        spin: u64,
        /// Which lock.
        lock: usize,
    },
}

/// dont_desched of the shared page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DontDesched {
    /// The page is not registered.
    Absent,
    /// Set while list 1 is not empty.
    WhileRt,
    /// Always set.
    Always,
}

/// One vCPU's description.
#[derive(Clone, Debug)]
pub struct Model {
    /// Interrupt sources.
    pub sources: Vec<Source>,
    /// Its program.
    pub program: Program,
    /// Its shared page.
    pub dont_desched: DontDesched,
}

#[derive(Clone, Debug)]
struct Job {
    left: u64,
    source: Option<usize>,
    fired: u64,
    handler: bool,
    started: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Idle,
    Compute,
    Sleeping,
    Spin,
    Retry,
    Hold,
}

/// What the engine must do after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Yield the CPU.
    Yield,
    /// Fire the program's timer after this long.
    Sleep(u64),
    /// The lock is free.
    Released(usize),
    /// IRQs are no longer masked.
    Unmasked,
    /// An interrupt handler has returned.
    Returned,
    /// dont_desched went from 1 to 0.
    Cleared,
}

/// State of a source.
#[derive(Clone, Debug)]
struct Line {
    gaps: Rng,
    works: Rng,
    waiting: bool,
    piled: u64,
}

/// A vCPU in motion.
pub struct Guest {
    model: Model,
    lists: [VecDeque<Job>; 3],
    lines: Vec<Line>,
    program_rng: Rng,
    step: Step,
    step_left: u64,
    until_yield: Option<u64>,
    /// Figures so far.
    pub figures: Figures,
}

/// All locks: who holds them.
pub type Locks = Vec<Option<usize>>;

impl Guest {
    /// A vCPU at time 0.
    pub fn new(model: &Model, workload: u64, index: u64) -> Guest {
        let lines = (0..model.sources.len() as u64)
            .map(|s| Line {
                gaps: Rng::stream(workload, index, 2 * s),
                works: Rng::stream(workload, index, 2 * s + 1),
                waiting: false,
                piled: 0,
            })
            .collect();
        let mut g = Guest {
            model: model.clone(),
            lists: Default::default(),
            lines,
            program_rng: Rng::stream(workload, index, 200),
            step: Step::Idle,
            step_left: 0,
            until_yield: None,
            figures: Figures::new(model.sources.len()),
        };
        match g.model.program {
            Program::None => {}
            Program::Hog { yield_every } => {
                g.step = Step::Compute;
                g.step_left = u64::MAX;
                g.until_yield = yield_every;
            }
            Program::RunSleep { run, .. } => {
                g.step = Step::Compute;
                g.step_left = run.draw(&mut g.program_rng);
            }
            Program::Lock { compute, .. } => {
                g.step = Step::Compute;
                g.step_left = compute.draw(&mut g.program_rng);
            }
        }
        g
    }

    /// When source `s` fires first.
    pub fn first_firing(&mut self, s: usize) -> u64 {
        let src = &self.model.sources[s];
        if src.poisson {
            src.phase + self.lines[s].gaps.exp(src.period).max(1)
        } else {
            src.phase
        }
    }

    /// Source `s` fires. Answers when it fires next, and whether an interrupt is delivered.
    pub fn fire(&mut self, s: usize, now: u64) -> (Option<u64>, bool) {
        let src = &self.model.sources[s];
        let line = &mut self.lines[s];
        let gap = if src.poisson {
            line.gaps.exp(src.period).max(1)
        } else {
            src.period
        };
        let next = Some(now.saturating_add(gap)).filter(|n| *n < src.end);
        let served = &mut self.figures.sources[s];
        served.fired += 1;
        if src.acc {
            let w = src.work.draw(&mut line.works);
            line.piled += w;
            self.figures.offered += w;
        }
        if line.waiting {
            served.coalesced += 1;
            return (next, false);
        }
        line.waiting = true;
        self.figures.offered += src.handler;
        self.lists[0].push_back(Job {
            left: src.handler,
            source: Some(s),
            fired: now,
            handler: true,
            started: false,
        });
        (next, true)
    }

    /// The program's timer fires.
    pub fn timer(&mut self, now: u64) {
        self.lists[0].push_back(Job {
            left: 1_000,
            source: None,
            fired: now,
            handler: true,
            started: false,
        });
    }

    /// Whether it has anything to do.
    pub fn wants_cpu(&self) -> bool {
        self.lists.iter().any(|l| !l.is_empty())
            || !matches!(self.step, Step::Idle | Step::Sleeping)
    }

    /// Whether IRQs are masked, as its CPU sees it.
    pub fn masked(&self) -> bool {
        self.lists[0].front().is_some_and(|j| j.started)
            || matches!(self.step, Step::Hold | Step::Spin)
    }

    /// dont_desched as the hypervisor reads it.
    pub fn dont_desched(&self) -> bool {
        match self.model.dont_desched {
            DontDesched::Absent => false,
            DontDesched::WhileRt => !self.lists[1].is_empty(),
            DontDesched::Always => true,
        }
    }

    /// Whether it has registered the shared page.
    pub fn enlightened(&self) -> bool {
        self.model.dont_desched != DontDesched::Absent
    }

    /// Whether it holds a lock.
    pub fn holds(&self) -> bool {
        self.step == Step::Hold
    }

    /// Whether it spins for `lock`.
    pub fn spins_for(&self, lock: usize) -> bool {
        self.step == Step::Spin
            && matches!(self.model.program, Program::Lock { lock: l, .. } if l == lock)
    }

    /// Whether its share is as much as it can get.
    pub fn is_hog(&self) -> bool {
        matches!(self.model.program, Program::Hog { .. })
    }

    /// Whether what it asks for depends on what it gets.
    pub fn is_closed_loop(&self) -> bool {
        matches!(
            self.model.program,
            Program::RunSleep { .. } | Program::Lock { .. }
        )
    }

    /// The list whose front runs, 3 = the program, `None` = nothing.
    fn current(&self) -> Option<usize> {
        if matches!(self.step, Step::Hold | Step::Spin) {
            return Some(3);
        }
        (0..3)
            .find(|&l| !self.lists[l].is_empty())
            .or_else(|| (!matches!(self.step, Step::Idle | Step::Sleeping)).then_some(3))
    }

    /// It is on a CPU at `now`: notes a handler's start, takes a lock it retries. Answers how long its current piece of
    /// work lasts on the fastest CPU; `None` = nothing to do.
    pub fn begin(&mut self, me: usize, now: u64, locks: &mut Locks) -> Option<u64> {
        let list = self.current()?;
        if list < 3 {
            let j = self.lists[list].front_mut()?;
            if !j.started {
                j.started = true;
                if j.handler {
                    self.figures.of(j.source).wakes.push(now - j.fired);
                    if let Some(s) = j.source {
                        self.lines[s].waiting = false;
                    }
                }
            }
            return Some(j.left);
        }
        if self.step == Step::Retry {
            self.acquire(me, locks);
        }
        Some(self.step_left.min(self.until_yield.unwrap_or(u64::MAX)))
    }

    fn acquire(&mut self, me: usize, locks: &mut Locks) {
        let Program::Lock {
            hold, spin, lock, ..
        } = self.model.program
        else {
            return;
        };
        if locks[lock].is_none() {
            locks[lock] = Some(me);
            self.step = Step::Hold;
            self.step_left = hold;
        } else {
            self.step = Step::Spin;
            self.step_left = spin;
        }
    }

    /// The lock it spins for became free while it runs.
    pub fn take(&mut self, me: usize, locks: &mut Locks) {
        if self.step == Step::Spin {
            self.acquire(me, locks);
        }
    }

    /// It has run for `dt` (of the fastest CPU), ending at `now`. Finished pieces have their effects.
    pub fn advance(
        &mut self,
        me: usize,
        dt: u64,
        now: u64,
        locks: &mut Locks,
        out: &mut Vec<Effect>,
    ) {
        let Some(list) = self.current() else { return };
        let dd = self.dont_desched();
        if list < 3 {
            let Some(j) = self.lists[list].front_mut() else {
                return;
            };
            j.left = j.left.saturating_sub(dt);
            if j.left == 0 {
                self.job_done(list, now, out);
            }
        } else {
            self.step_left = if self.step_left == u64::MAX {
                u64::MAX
            } else {
                self.step_left.saturating_sub(dt)
            };
            if let Some(y) = &mut self.until_yield {
                *y = y.saturating_sub(dt);
                if *y == 0 {
                    if let Program::Hog { yield_every } = self.model.program {
                        self.until_yield = yield_every;
                    }
                    out.push(Effect::Yield);
                }
            }
            if self.step_left == 0 {
                self.step_done(me, locks, out);
            }
        }
        if dd && !self.dont_desched() {
            out.push(Effect::Cleared);
        }
    }

    fn job_done(&mut self, list: usize, now: u64, out: &mut Vec<Effect>) {
        let Some(j) = self.lists[list].pop_front() else {
            return;
        };
        let Some(s) = j.source else {
            // The program's timer: on to the next round.
            if let (Program::RunSleep { run, .. }, Step::Sleeping) =
                (&self.model.program, self.step)
            {
                self.step_left = run.draw(&mut self.program_rng);
                self.step = Step::Compute;
            }
            out.push(Effect::Returned);
            return;
        };
        if j.handler {
            let src = &self.model.sources[s];
            let line = &mut self.lines[s];
            let w = if src.acc {
                core::mem::take(&mut line.piled)
            } else {
                let w = src.work.draw(&mut line.works);
                self.figures.offered += w;
                w
            };
            if w > 0 {
                let work = Job {
                    left: w,
                    source: Some(s),
                    fired: j.fired,
                    handler: false,
                    started: false,
                };
                self.lists[src.priority].push_back(work);
            } else {
                self.respond(s, now - j.fired);
            }
            out.push(Effect::Returned);
        } else {
            self.respond(s, now - j.fired);
        }
    }

    fn respond(&mut self, s: usize, time: u64) {
        let late = self.model.sources[s].deadline.is_some_and(|d| time > d);
        let served = &mut self.figures.sources[s];
        served.responses.push(time);
        served.misses += u64::from(late);
    }

    fn step_done(&mut self, me: usize, locks: &mut Locks, out: &mut Vec<Effect>) {
        match (&self.model.program, self.step) {
            (Program::RunSleep { sleep, .. }, Step::Compute) => {
                let t = sleep.draw(&mut self.program_rng);
                self.step = Step::Sleeping;
                out.push(Effect::Sleep(t));
            }
            (Program::Lock { .. }, Step::Compute) => self.acquire(me, locks),
            (Program::Lock { .. }, Step::Spin) => {
                self.step = Step::Retry;
                self.step_left = 1;
                out.push(Effect::Unmasked);
                out.push(Effect::Yield);
            }
            (Program::Lock { compute, lock, .. }, Step::Hold) => {
                self.figures.sections += 1;
                locks[*lock] = None;
                out.push(Effect::Released(*lock));
                out.push(Effect::Unmasked);
                self.step_left = compute.draw(&mut self.program_rng);
                self.step = Step::Compute;
            }
            _ => {}
        }
    }
}
