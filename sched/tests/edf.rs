//! What rtds promises whom it has admitted: random task sets filled up to the bound, on a machine whose switches cost
//! nothing and whose CPUs come by when they are called or at the moment they asked for, in any order, and at no other.
//!
//! On one CPU the bound is a utilisation of 1, up to which EDF meets every deadline (Liu and Layland 1973); on m of them
//! m - (m - 1) x the largest, that of Goossens, Funk and Baruah (2003). A hog gets its whole budget in each of its periods
//! and not a nanosecond more; a task whose jobs, no closer than its period, need its budget each, ends them in time.
//! Must never look into the scheduler: what ran for how long is what was picked.

use tarn_abi::{CpuId, CpuSet, Instant, Span};
use tarn_sched::{
    Ent, GuestHint, RtParams, SchedParams, Scheduler, Tag, VcpuParams, WakeReason, registry,
};

/// xorshift64.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}

struct Task {
    ent: Ent,
    rt: RtParams,
    /// Always wants to run; else it sleeps when its job is done.
    hog: bool,
    /// Of the hog's period or of the job under way: when it began, and what it has had since.
    begun: Instant,
    had: u64,
    /// When the next job comes.
    next: Instant,
    awake: bool,
}

#[derive(Default, Clone)]
struct Cpu {
    runs: Option<usize>,
    timer: Option<Instant>,
}

struct Machine {
    s: Box<dyn Scheduler>,
    tasks: Vec<Task>,
    cpus: Vec<Cpu>,
    called: CpuSet,
    now: Instant,
    rng: Rng,
}

impl Machine {
    fn new(m: usize, seed: u64) -> Machine {
        let kind = registry::by_name("rtds").unwrap();
        let mut s = registry::build(kind, &SchedParams::DEFAULT).unwrap();
        for c in CpuSet::first(m).iter() {
            s.alloc_pcpu(c).unwrap();
            let _ = s.switch_sched(c, Instant(0));
        }
        Machine {
            s,
            tasks: Vec::new(),
            cpus: vec![Cpu::default(); m],
            called: CpuSet::first(m),
            now: Instant(0),
            rng: Rng(seed | 1),
        }
    }

    /// Tasks until eight in a row have been refused. Returns what they ask for, in thousandths of a CPU.
    fn fill(&mut self, hogs: u64) -> u64 {
        let (mut refused, mut asked) = (0, 0);
        while refused < 8 && self.tasks.len() < 24 {
            let period = [1_000, 2_500, 4_000, 7_300, 10_000, 17_000][self.rng.below(6) as usize];
            let most = [period, period / 2, period / 6][self.rng.below(3) as usize];
            let rt = RtParams {
                period: Span::us(period),
                budget: Span::us(10 + self.rng.below(most - 9)),
            };
            let p = VcpuParams {
                rt,
                ..VcpuParams::DEFAULT
            };
            let Ok(ent) = self.s.alloc_vcpu(Tag(self.tasks.len() as u32), &p) else {
                refused += 1;
                continue;
            };
            refused = 0;
            asked += rt.load();
            let hog = self.rng.below(100) < hogs;
            self.called = self.called.union(&self.s.insert(ent, hog, self.now).0);
            self.tasks.push(Task {
                ent,
                rt,
                hog,
                begun: self.now,
                had: 0,
                next: self.now + Span(self.rng.below(rt.period.0)),
                awake: hog,
            });
        }
        asked
    }

    fn come_by(&mut self, cpu: CpuId) {
        self.called.remove(cpu);
        let pick = self.s.pick_next(cpu, GuestHint::default(), self.now);
        let me = &mut self.cpus[cpu.index()];
        me.timer = pick.until;
        self.called = self.called.union(&pick.kick.0);
        let next = pick.next.map(|t| t.0 as usize);
        let was = std::mem::replace(&mut me.runs, next);
        if let Some(old) = was.filter(|_| was != next) {
            let k = self.s.context_saved(self.tasks[old].ent, self.now);
            self.called = self.called.union(&k.0);
        }
    }

    /// What happens at this moment, in any order, until nothing does.
    fn moment(&mut self) -> Result<(), String> {
        for visits in 0.. {
            for (i, t) in self.tasks.iter_mut().enumerate() {
                if t.hog && self.now >= t.begun + t.rt.period {
                    if t.had != t.rt.budget.0 {
                        return Err(format!("hog {i} had {} of {:?}", t.had, t.rt));
                    }
                    (t.begun, t.had) = (self.now, 0);
                }
                if !t.hog && !t.awake && self.now >= t.next {
                    (t.begun, t.had, t.awake) = (self.now, 0, true);
                    let k = self.s.wake(t.ent, WakeReason::Timer, self.now);
                    self.called = self.called.union(&k.0);
                }
            }
            for (i, cpu) in self.cpus.iter_mut().enumerate() {
                let done = |t: &Task| !t.hog && t.awake && t.had >= t.rt.budget.0;
                if let Some(t) = cpu.runs.map(|r| &mut self.tasks[r]).filter(|t| done(t)) {
                    t.awake = false;
                    // Often at once, and never closer than a period.
                    let late = self.rng.below(2) * self.rng.below(t.rt.period.0);
                    t.next = self.now.max(t.begun + t.rt.period) + Span(late);
                    self.s.sleep(t.ent, self.now);
                    self.called.insert(CpuId(i as u16));
                }
                if cpu.timer.is_some_and(|at| at <= self.now) {
                    cpu.timer = None;
                    self.called.insert(CpuId(i as u16));
                }
            }
            let n = self.called.iter().count() as u64;
            if n == 0 {
                return Ok(());
            }
            let at = self.rng.below(n) as usize;
            let cpu = self.called.iter().nth(at).unwrap();
            self.come_by(cpu);
            assert!(visits < 1_000, "CPUs call each other for ever");
        }
        Ok(())
    }

    /// Up to the next moment at which something happens: a job comes or is done, a timer is due, a period ends.
    fn advance(&mut self) -> Result<(), String> {
        let mut next = Instant(u64::MAX);
        for t in &self.tasks {
            match (t.hog, t.awake) {
                (true, _) => next = next.min(t.begun + t.rt.period),
                (false, false) => next = next.min(t.next),
                (false, true) => {}
            }
        }
        for c in &self.cpus {
            next = next.min(c.timer.unwrap_or(next));
            if let Some(t) = c.runs.map(|r| &self.tasks[r]).filter(|t| !t.hog) {
                next = next.min(self.now + Span(t.rt.budget.0 - t.had));
            }
        }
        let dt = next.since(self.now).0;
        for c in &self.cpus {
            if let Some(r) = c.runs {
                self.tasks[r].had += dt;
            }
        }
        self.now = next;
        for (i, t) in self.tasks.iter().enumerate() {
            if t.had > t.rt.budget.0 {
                return Err(format!("{i} had {} of {:?}", t.had, t.rt));
            }
            let late = !t.hog && t.awake && t.had < t.rt.budget.0;
            if late && self.now >= t.begun + t.rt.period {
                return Err(format!("{i} had only {} of {:?} in time", t.had, t.rt));
            }
        }
        Ok(())
    }
}

/// Fills `sets` machines of `cpus` CPUs each and lets them run. Returns how full they were, in thousandths of the CPUs.
fn all_are_served(sets: u64, cpus: u64, hogs: u64, span: Span) -> u64 {
    let mut asked = 0;
    for n in 1..=sets {
        let seed = (n * 256 + cpus * 16 + hogs % 16).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut m = Machine::new(cpus as usize, seed);
        asked += m.fill(hogs);
        while m.now < Instant(span.0) {
            let done = m.moment().and_then(|()| m.advance());
            if let Err(e) = done {
                let all: Vec<_> = m.tasks.iter().map(|t| (t.hog, t.rt)).collect();
                panic!("set {n}, {cpus} CPUs, at {:?}: {e}\n{all:#?}", m.now);
            }
        }
        m.s.check().unwrap();
    }
    asked / (sets * cpus)
}

#[test]
fn on_one_cpu_every_admitted_hog_gets_its_budget() {
    let full = all_are_served(2_000, 1, 100, Span::ms(100));
    assert!(full > 900, "{full}: hardly anybody was admitted");
}

#[test]
fn on_one_cpu_every_admitted_job_ends_in_time() {
    let full = all_are_served(2_000, 1, 40, Span::ms(100));
    assert!(full > 900, "{full}: hardly anybody was admitted");
}

#[test]
fn on_several_cpus_the_bound_holds() {
    for cpus in 2..=5 {
        for hogs in [40, 100] {
            let full = all_are_served(150, cpus, hogs, Span::ms(60));
            assert!(full > 400, "{full}: hardly anybody was admitted");
        }
    }
}
