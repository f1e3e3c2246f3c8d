//! A machine whose switches cost nothing and whose CPUs come by when they are called or at the moment they asked for, in any
//! order, and at no other; and tasks on it under rtds, directly in the pool or in a group.
//!
//! Must never look into the scheduler: what ran for how long is what was picked.
#![allow(dead_code, reason = "each test file uses its part")]

use tarn_abi::{CpuId, CpuSet, Instant, Span};
use tarn_sched::{
    GuestHint, Leaf, NodeId, RtParams, SchedParams, Scheduler, Tag, Tree, VcpuParams, WakeReason,
    registry,
};

/// xorshift64.
pub struct Rng(pub u64);

impl Rng {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}

pub struct Task {
    pub leaf: Leaf,
    pub rt: RtParams,
    /// It is to get what it asks for.
    pub promised: bool,
    /// Always wants to run; else it sleeps when its job is done.
    pub hog: bool,
    /// Of the hog's period or of the job under way: when it began, and what it has had since.
    begun: Instant,
    had: u64,
    /// When the next job comes.
    next: Instant,
    awake: bool,
}

#[derive(Default, Clone)]
pub struct Cpu {
    pub runs: Option<usize>,
    timer: Option<Instant>,
}

pub struct Machine {
    pub tree: Tree,
    pub tasks: Vec<Task>,
    pub cpus: Vec<Cpu>,
    called: CpuSet,
    pub now: Instant,
    pub rng: Rng,
    /// CPU time that was used.
    pub busy: Span,
    /// `advance` stops there.
    pub end: Instant,
    /// Whether tasks that are added are to get what they ask for.
    pub promised: bool,
}

/// An instance of that kind.
pub fn instance(kind: &str) -> Box<dyn Scheduler> {
    registry::build(registry::by_name(kind).unwrap(), &SchedParams::DEFAULT).unwrap()
}

/// In microseconds.
pub fn rt(period: u64, budget: u64) -> VcpuParams {
    VcpuParams {
        rt: RtParams {
            period: Span::us(period),
            budget: Span::us(budget),
        },
        ..VcpuParams::DEFAULT
    }
}

impl Machine {
    /// A pool with a scheduler of that kind on `m` CPUs.
    pub fn new(kind: &str, m: usize, seed: u64) -> Machine {
        let mut tree = Tree::new(instance(kind));
        for c in CpuSet::first(m).iter() {
            tree.alloc_pcpu(c).unwrap();
            let _ = tree.switch_sched(c, Instant(0));
        }
        Machine {
            tree,
            tasks: Vec::new(),
            cpus: vec![Cpu::default(); m],
            called: CpuSet::first(m),
            now: Instant(0),
            rng: Rng(seed | 1),
            busy: Span::ZERO,
            end: Instant(u64::MAX),
            promised: true,
        }
    }

    /// One more task, unless it is refused. A hog's first period begins now.
    pub fn add(&mut self, to: NodeId, p: &VcpuParams, hog: bool) -> bool {
        let tag = Tag(self.tasks.len() as u32);
        let Ok(leaf) = self.tree.alloc_vcpu(to, tag, p) else {
            return false;
        };
        self.called = self.called.union(&self.tree.insert(leaf, hog, self.now).0);
        self.tasks.push(Task {
            leaf,
            rt: p.rt,
            promised: self.promised,
            hog,
            begun: self.now,
            had: 0,
            next: self.now + Span(self.rng.below(p.rt.period.0)),
            awake: hog,
        });
        true
    }

    /// Another budget and period for a task, unless they are refused.
    pub fn change(&mut self, task: usize, p: &VcpuParams) -> bool {
        let changed = self.tree.adjust_vcpu(self.tasks[task].leaf, p, self.now);
        let Ok(kick) = changed else { return false };
        self.called = self.called.union(&kick.0);
        true
    }

    /// Parameters of any kind.
    pub fn any(&mut self) -> VcpuParams {
        let period = [1_000, 2_500, 4_000, 7_300, 10_000, 17_000][self.rng.below(6) as usize];
        let most = [period, period / 2, period / 6][self.rng.below(3) as usize];
        rt(period, 10 + self.rng.below(most - 9))
    }

    /// Tasks until eight in a row have been refused. Returns what they ask for, in thousandths of a CPU.
    pub fn fill(&mut self, to: NodeId, hogs: u64) -> u64 {
        let (mut refused, mut asked) = (0, 0);
        while refused < 8 && self.tasks.len() < 24 {
            let p = self.any();
            let hog = self.rng.below(100) < hogs;
            if self.add(to, &p, hog) {
                refused = 0;
                asked += p.rt.load();
            } else {
                refused += 1;
            }
        }
        asked
    }

    pub fn come_by(&mut self, cpu: CpuId) {
        self.called.remove(cpu);
        let pick = self.tree.pick_next(cpu, GuestHint::default(), self.now);
        let me = &mut self.cpus[cpu.index()];
        me.timer = pick.until;
        self.called = self.called.union(&pick.kick.0);
        let next = pick.next.map(|t| t.0 as usize);
        let was = std::mem::replace(&mut me.runs, next);
        if let Some(old) = was.filter(|_| was != next) {
            let leaf = self.tasks[old].leaf;
            let k = self.tree.context_saved(leaf, cpu, self.now);
            self.called = self.called.union(&k.0);
        }
    }

    /// Every CPU looks, so that all is accounted up to now.
    pub fn everybody_decides(&mut self) {
        for c in 0..self.cpus.len() {
            self.come_by(CpuId(c as u16));
        }
    }

    /// What happens at this moment, in any order, until nothing does.
    pub fn moment(&mut self) -> Result<(), String> {
        for visits in 0.. {
            for (i, t) in self.tasks.iter_mut().enumerate() {
                if t.hog && self.now >= t.begun + t.rt.period {
                    if t.promised && t.had != t.rt.budget.0 {
                        return Err(format!("hog {i} had {} of {:?}", t.had, t.rt));
                    }
                    (t.begun, t.had) = (self.now, 0);
                }
                if !t.hog && !t.awake && self.now >= t.next {
                    (t.begun, t.had, t.awake) = (self.now, 0, true);
                    let k = self.tree.wake(t.leaf, WakeReason::Timer, self.now);
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
                    self.tree.sleep(t.leaf, self.now);
                    self.called.insert(CpuId(i as u16));
                    if self.tree.unarmed() {
                        self.called.insert(CpuId(0));
                    }
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

    /// Up to the next moment at which something happens, or the end: a job comes or is done, a timer is due, a period ends.
    pub fn advance(&mut self) -> Result<(), String> {
        let mut next = self.end;
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
                self.busy += Span(dt);
            }
        }
        self.now = next;
        for (i, t) in self.tasks.iter().enumerate().filter(|t| t.1.promised) {
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
