//! Runs a table of tests, a few at a time, and prints a verdict a line.
//!
//! A test is a function over a `Bench`, through which it starts its machines; the bench keeps every console, so that a
//! failure is printed with all that its machines said. Tests whose machines count instructions come first; order of verdicts is
//! order of finishing; the names say the rest.
//!
//! Must never run a machine whose CPUs are threads of the host beside another one: it would be judged by what the host
//! does. Machines that count instructions are one thread each, and nothing they see depends on others.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use xtask::console::{Console, Tap};
use xtask::machine::{Clock, Machine};
use xtask::paths;

/// What a test does.
type Body = Box<dyn Fn(&mut Bench) -> Result<(), String> + Send>;

/// One test.
pub struct Test {
    /// `subject/case`, unique.
    pub name: String,
    /// What it shows, one line.
    pub about: &'static str,
    /// All its machines count instructions: it may run beside others like it.
    counted: bool,
    body: Body,
}

impl Test {
    /// A test by its parts.
    pub fn new(
        name: impl Into<String>,
        about: &'static str,
        body: impl Fn(&mut Bench) -> Result<(), String> + Send + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            about,
            counted: false,
            body: Box::new(body),
        }
    }

    /// The same, none of whose machines runs by the host's clock. Those come first, as many at a time as there may be.
    pub fn counted(self) -> Self {
        Self {
            counted: true,
            ..self
        }
    }

    /// [`Test::counted`] if its machines have this clock.
    pub fn clocked(self, clock: Clock) -> Self {
        match clock {
            Clock::Instructions => self.counted(),
            Clock::Host => self,
        }
    }

    /// Whether one of `filters` is part of the name, or there are none.
    pub fn matches(&self, filters: &[String]) -> bool {
        filters.is_empty()
            || filters
                .iter()
                .any(|filter| self.name.contains(filter.as_str()))
    }
}

/// The host, shared by tests whose machines count instructions, or one test's own.
static HOST: RwLock<()> = RwLock::new(());

/// A test's part of the host, until it ends.
enum Part {
    None,
    Shared(#[expect(dead_code, reason = "held")] RwLockReadGuard<'static, ()>),
    All(#[expect(dead_code, reason = "held")] RwLockWriteGuard<'static, ()>),
}

/// What a test works with.
pub struct Bench {
    name: String,
    machines: Vec<(String, Tap)>,
    part: Part,
    /// How long it has waited for others to end.
    waited: Duration,
    counted: bool,
}

impl Bench {
    /// A bench with its own scratch folder.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            machines: Vec::new(),
            part: Part::None,
            waited: Duration::ZERO,
            counted: false,
        }
    }

    /// Waits until a machine with this clock may run.
    fn take(&mut self, clock: Clock) {
        let begin = Instant::now();
        match (&self.part, clock) {
            (Part::All(_), _) | (Part::Shared(_), Clock::Instructions) => return,
            (Part::None, Clock::Instructions) => {
                self.part = Part::Shared(HOST.read().unwrap_or_else(PoisonError::into_inner));
            }
            (_, Clock::Host) => {
                // Given back first: two that want more than they have would wait for each other.
                self.part = Part::None;
                self.part = Part::All(HOST.write().unwrap_or_else(PoisonError::into_inner));
            }
        }
        self.waited += begin.elapsed();
    }

    /// A folder of this test's own.
    pub fn scratch(&self) -> PathBuf {
        paths::scratch().join(self.name.replace('/', "-"))
    }

    /// Starts a machine that may run for `seconds` altogether. `label` heads its console in a failure report.
    ///
    /// # Errors
    /// A missing file, a refused configuration, or QEMU is not there.
    pub fn start(
        &mut self,
        label: &str,
        machine: &Machine,
        seconds: u64,
    ) -> Result<Console, String> {
        if self.counted && machine.clock == Clock::Host {
            return Err(
                "this test is said to count instructions, and this machine does not".into(),
            );
        }
        self.take(machine.clock);
        let scratch = self.scratch().join(format!("{}", self.machines.len()));
        let command = machine.command(&scratch)?;
        let console = Console::start(
            command,
            Duration::from_secs(seconds.saturating_mul(slowness())),
        )?;
        self.machines.push((label.to_owned(), console.tap()));
        Ok(console)
    }

    /// What every machine of this test has said.
    pub fn consoles(&self) -> String {
        let mut text = String::new();
        for (label, tap) in &self.machines {
            text.push_str(&format!(
                "---- console of {label}\n{}\n",
                tap.text().trim_end()
            ));
            let complaint = tap.complaint();
            if !complaint.is_empty() {
                text.push_str(&format!("---- QEMU said\n{complaint}\n"));
            }
        }
        text
    }
}

/// Factor of every deadline.
fn slowness() -> u64 {
    std::env::var("TARN_TEST_SLOW")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1)
        .max(1)
}

/// Runs everything, prints the count as the last line, and says whether all passed.
pub fn run(mut tests: Vec<Test>, jobs: usize, verbose: bool) -> bool {
    tests.sort_by_key(|test| !test.counted);
    let total = tests.len();
    let queue = Mutex::new(VecDeque::from(tests));
    // The queue is free again before the test begins.
    let next = || {
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.pop_front()
    };
    let count = Mutex::new((0u64, 0u64));
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, total.max(1)) {
            scope.spawn(|| {
                while let Some(test) = next() {
                    let mut bench = Bench::new(&test.name);
                    bench.counted = test.counted;
                    let begin = Instant::now();
                    let result = (test.body)(&mut bench);
                    let seconds = (begin.elapsed() - bench.waited).as_secs_f64();
                    let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
                    match &result {
                        Ok(()) => {
                            count.0 += 1;
                            println!("ok      {:<44} {seconds:6.1} s", test.name);
                        }
                        Err(error) => {
                            count.1 += 1;
                            println!("FAILED  {:<44} {seconds:6.1} s\n        {error}", test.name);
                        }
                    }
                    if result.is_err() || verbose {
                        print!("{}", bench.consoles());
                    }
                }
            });
        }
    });
    let (passed, failed) = *count.lock().unwrap_or_else(PoisonError::into_inner);
    println!("{passed} passed, {failed} failed");
    failed == 0 && passed > 0
}
