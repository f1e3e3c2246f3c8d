//! What is there besides the guests: CPUs with their timers, the heap of events, who holds whose registers.
//!
//! Must never decide anything; the order of events at one moment is the documented one.

use super::*;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Event {
    Visit(usize),
    Slice(usize, u64),
    Done(usize, u64),
    Unmask(usize),
    Fire(usize, usize),
    Timer(usize),
    Script(usize),
}

#[derive(Default)]
pub(super) struct Cpu {
    pub(super) loaded: Option<VcpuId>,
    pub(super) running: Option<usize>,
    pub(super) visit: bool,
    pub(super) timer: Option<u64>,
    pub(super) timer_gen: u64,
    pub(super) idle: Option<IdleCpu>,
    pub(super) speed: u64,
}

pub(super) struct World {
    pub(super) now: u64,
    pub(super) heap: BinaryHeap<Reverse<(u64, u8, u64, Event)>>,
    pub(super) seq: u64,
    pub(super) ipi: u64,
    pub(super) cpus: Vec<Cpu>,
    pub(super) holder: Vec<Option<usize>>,
    pub(super) loads: u64,
    pub(super) pool_locks: u64,
    pub(super) fault: Option<String>,
}

impl World {
    pub(super) fn push(&mut self, at: u64, e: Event) {
        let class = u8::from(matches!(
            e,
            Event::Fire(..) | Event::Timer(_) | Event::Script(_)
        ));
        self.seq += 1;
        self.heap.push(Reverse((at, class, self.seq, e)));
    }
    pub(super) fn send(&mut self, k: Kick) {
        for c in k.0.iter() {
            let cpu = c.index();
            if !self.cpus[cpu].visit {
                self.cpus[cpu].visit = true;
                self.push(self.now + self.ipi, Event::Visit(cpu));
            }
        }
    }
    pub(super) fn visit_now(&mut self, cpu: usize) {
        // A visit in flight may come later; this one is the CPU's own.
        self.cpus[cpu].visit = true;
        self.push(self.now, Event::Visit(cpu));
    }
    pub(super) fn fail(&mut self, what: String) {
        if self.fault.is_none() {
            self.fault = Some(format!("at {} ns: {what}", self.now));
        }
    }
}

/// A CPU as the switch protocol sees it.
pub(super) struct SimCpu<'a> {
    pub(super) w: &'a mut World,
    pub(super) cpu: usize,
}

impl Clock for SimCpu<'_> {
    fn now(&self) -> Instant {
        Instant(self.w.now)
    }
    fn arm(&mut self, at: Option<Instant>) {
        let c = &mut self.w.cpus[self.cpu];
        c.timer_gen += 1;
        c.timer = at.map(|t| t.0);
        let generation = c.timer_gen;
        if let Some(t) = at {
            let t = t.0.max(self.w.now);
            self.w.push(t, Event::Slice(self.cpu, generation));
        }
    }
}

impl Machine for SimCpu<'_> {
    fn save(&mut self, v: VcpuId) {
        self.w.pool_locks += 1;
        if self.w.holder[v.index()].take() != Some(self.cpu) {
            self.w.fail(format!(
                "cpu{} saved vCPU {} which it does not hold",
                self.cpu, v.slot
            ));
        }
        self.w.cpus[self.cpu].loaded = None;
    }
    fn load(&mut self, v: VcpuId) {
        self.w.loads += 1;
        if let Some(other) = self.w.holder[v.index()].replace(self.cpu) {
            self.w.fail(format!(
                "vCPU {} is on cpu{other} and on cpu{}",
                v.slot, self.cpu
            ));
        }
        self.w.cpus[self.cpu].loaded = Some(v);
    }
    fn kick(&mut self, k: Kick) {
        self.w.send(k);
    }
}
