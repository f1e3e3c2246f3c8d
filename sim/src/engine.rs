//! The machine: CPUs, clock, timers, interrupts as one heap of events around the real `PoolSet`.
//!
//! At equal times CPU events come before firings, then in order of insertion. A switch costs time at its start, charged to
//! the incomer. After every moment the invariants are checked; the first violation ends the run. Must never decide who
//! runs. Neighbours: `guest.rs` says what a vCPU does, `scenario.rs` what there is.

use crate::guest::{Effect, Figures, Guest, Locks};
use crate::plain::Plain;
use crate::scenario::{Scenario, What};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use tarn_abi::{CpuId, CpuSet, DomainId, Instant, PoolId, VcpuId};
use tarn_pools::{
    Block, Clock, DeboostCause, DomainParams, GroupConfig, GroupId, GuestHint, IdleCpu, Kick,
    Machine, PoolConfig, PoolSet, Progress, Running, Stats, Totals, VcpuParams, WakeReason, Woken,
    sched_by_name,
};

type Set = PoolSet<spin::relax::Spin>;

/// How often unmasking is noticed while a stay for masked interrupts is running.
const PROBE: u64 = 25_000;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Event {
    Visit(usize),
    Slice(usize, u64),
    Done(usize, u64),
    Unmask(usize),
    Fire(usize, usize),
    Timer(usize),
    Script(usize),
}

#[derive(Default)]
struct Cpu {
    loaded: Option<VcpuId>,
    running: Option<usize>,
    visit: bool,
    timer: Option<u64>,
    timer_gen: u64,
    idle: Option<IdleCpu>,
    speed: u64,
}

struct World {
    now: u64,
    heap: BinaryHeap<Reverse<(u64, u8, u64, Event)>>,
    seq: u64,
    ipi: u64,
    cpus: Vec<Cpu>,
    holder: Vec<Option<usize>>,
    loads: u64,
    lock_ops: u64,
    fault: Option<String>,
}

impl World {
    fn push(&mut self, at: u64, e: Event) {
        let class = u8::from(matches!(
            e,
            Event::Fire(..) | Event::Timer(_) | Event::Script(_)
        ));
        self.seq += 1;
        self.heap.push(Reverse((at, class, self.seq, e)));
    }
    fn send(&mut self, k: Kick) {
        for c in k.0.iter() {
            let cpu = c.index();
            if !self.cpus[cpu].visit {
                self.cpus[cpu].visit = true;
                self.push(self.now + self.ipi, Event::Visit(cpu));
            }
        }
    }
    fn visit_now(&mut self, cpu: usize) {
        // A visit in flight may come later; this one is the CPU's own.
        self.cpus[cpu].visit = true;
        self.push(self.now, Event::Visit(cpu));
    }
    fn fail(&mut self, what: String) {
        if self.fault.is_none() {
            self.fault = Some(format!("at {} ns: {what}", self.now));
        }
    }
}

/// A CPU as the switch protocol sees it.
struct SimCpu<'a> {
    w: &'a mut World,
    cpu: usize,
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
        self.w.lock_ops += 1;
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

struct Vcpu {
    id: VcpuId,
    dom: usize,
    guest: Guest,
    cpu: Option<usize>,
    from: u64,
    loaded_at: u64,
    work: u64,
    generation: u64,
    masked_stay: Option<u64>,
    waiting: Option<u64>,
    longest_wait: u64,
}

/// What a run may be asked for besides its scenario.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Another scheduler for every pool: a registry name, `plain` or `noboost`.
    pub sched: Option<String>,
    /// Another seed.
    pub seed: Option<u64>,
    /// Keep the schedule.
    pub trace: bool,
    /// A refused action of the script is skipped instead of ending the run.
    pub lenient: bool,
    /// Keep so many records of each pool's scheduler; 0 = none.
    pub record: u32,
    /// Check the schedulers' own books every so many moments; 0 = 1024.
    pub check_every: u64,
}

/// One stretch of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When, ns.
    pub at: u64,
    /// Where.
    pub cpu: usize,
    /// Who from then on.
    pub vcpu: Option<usize>,
}

/// Of one vCPU.
#[derive(Clone, Debug)]
pub struct VcpuOutcome {
    /// Its name: the domain's, with its number if there are several.
    pub name: String,
    /// Its domain.
    pub domain: usize,
    /// Its weight at the start.
    pub weight: u32,
    /// Whether it wants all it can get.
    pub hog: bool,
    /// Whether its demand depends on what it gets.
    pub closed_loop: bool,
    /// Time on a CPU.
    pub runtime: u64,
    /// The same in time of the fastest CPU.
    pub work: u64,
    /// Time waiting for one.
    pub waited: u64,
    /// Longest wait.
    pub longest_wait: u64,
    /// The guest's own figures.
    pub figures: Figures,
    /// The scheduler's counters.
    pub stats: Stats,
}

/// Of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The scheduler of the first pool.
    pub sched: String,
    /// Seed used.
    pub seed: u64,
    /// Length, ns.
    pub duration: u64,
    /// Per vCPU.
    pub vcpus: Vec<VcpuOutcome>,
    /// Six run states per domain, ns.
    pub domains: Vec<[u64; 6]>,
    /// Time each CPU had nothing to do.
    pub idle: Vec<u64>,
    /// vCPUs loaded.
    pub switches: u64,
    /// Counters of all schedulers together.
    pub totals: Totals,
    /// Pool locks taken.
    pub lock_ops: u64,
    /// Lock holders that lost the CPU.
    pub holder_preemptions: u64,
    /// FNV-1a over the schedule.
    pub hash: u64,
    /// Moments simulated.
    pub moments: u64,
    /// The schedule, if asked for.
    pub trace: Vec<Mark>,
    /// Of each pool, what its scheduler was asked and answered, if asked for.
    pub records: Vec<Vec<(u64, tarn_pools::Record)>>,
}

struct Engine<'a> {
    s: &'a Scenario,
    set: Box<Set>,
    pools: Vec<PoolId>,
    w: World,
    vcpus: Vec<Vcpu>,
    locks: Locks,
    paused: Vec<u32>,
    moving: Vec<bool>,
    domain_pool: Vec<usize>,
    conserving: bool,
    lenient: bool,
    groups: Vec<GroupId>,
    in_group: Vec<bool>,
    capped: Vec<bool>,
    holder_preemptions: u64,
    hash: u64,
    trace: Option<Vec<Mark>>,
}

/// Runs a scenario. An invariant that breaks is an error with the moment it broke.
pub fn run(s: &Scenario, o: &Options) -> Result<Outcome, String> {
    let seed = o.seed.unwrap_or(s.seed);
    let mut e = Engine::new(s, o, seed)?;
    let moments = e.go(o)?;
    e.finish(seed, moments)
}

fn scheduler_name<'a>(o: &'a Options, own: &'a str) -> &'a str {
    o.sched.as_deref().unwrap_or(own)
}

impl<'a> Engine<'a> {
    fn new(s: &'a Scenario, o: &Options, seed: u64) -> Result<Self, String> {
        let set = Box::new(Set::new());
        let now = Instant(0);
        let mut pools = Vec::new();
        let mut present = CpuSet::EMPTY;
        s.pools
            .iter()
            .for_each(|p| present = present.union(&p.cpus));
        let mut conserving = true;
        for (i, p) in s.pools.iter().enumerate() {
            let wanted = scheduler_name(o, &p.sched);
            let mut params = p.params;
            let mut name = wanted;
            if wanted == "noboost" {
                params.boost = false;
                name = "credit2";
            }
            conserving &= matches!(name, "credit2" | "rr" | "plain");
            let plain = name == "plain";
            let kind = sched_by_name(if plain { "credit2" } else { name });
            let kind = kind.ok_or_else(|| format!("no scheduler is called `{name}`"))?;
            let c = PoolConfig {
                sched: kind,
                params,
                record: o.record,
                ..PoolConfig::new(&p.name)
            };
            let fail = |e: tarn_pools::PoolError| format!("pool {}: {e}", p.name);
            match (i, plain) {
                (0, false) => set.init(present, &c, now).map_err(fail)?,
                (0, true) => set
                    .init_with(present, &c, Box::new(Plain::new(&params)), now)
                    .map_err(fail)?,
                (_, false) => drop(set.create(&c, now).map_err(fail)?),
                (_, true) => drop(
                    set.create_with(&c, Box::new(Plain::new(&params)), now)
                        .map_err(fail)?,
                ),
            }
            let id = set.find_pool(&p.name).ok_or("a pool is gone")?;
            for cpu in p.cpus.iter().filter(|_| i > 0) {
                if let Progress::Refused(e) = set.assign_cpu(cpu, Some(id), now) {
                    return Err(format!("pool {}: {e}", p.name));
                }
            }
            pools.push(id);
        }
        let cpus = present.len();
        let speeds: Vec<u64> = s
            .pools
            .iter()
            .flat_map(|p| p.speeds.iter().copied())
            .collect();
        for (c, speed) in speeds.iter().enumerate() {
            set.set_capacity(CpuId(c as u16), *speed as u16);
        }
        let mut groups: Vec<GroupId> = Vec::new();
        for g in &s.groups {
            let fail = |e: String| format!("group {}: {e}", g.name);
            let kind = sched_by_name(&g.sched).ok_or_else(|| fail("unknown scheduler".into()))?;
            let c = GroupConfig {
                parent: g.parent.map(|p| groups[p]),
                sched: kind,
                vps: g.vps,
                processor: VcpuParams {
                    weight: g.weight,
                    ..VcpuParams::DEFAULT
                },
                ..GroupConfig::new(&g.name)
            };
            groups.push(
                set.create_group(pools[g.pool], &c, now)
                    .map_err(|e| fail(e.to_string()))?,
            );
        }
        let mut vcpus = Vec::new();
        for (d, dom) in s.domains.iter().enumerate() {
            let list: Vec<_> = (0..dom.vcpus.len())
                .map(|i| (VcpuId::new((vcpus.len() + i) as u16, 0), dom.params))
                .collect();
            let params = DomainParams { cap: dom.cap };
            set.add_domain(domain_id(d), pools[dom.pool], &params, &list, now)
                .map_err(|e| format!("domain {}: {e}", dom.name))?;
            if let Some(g) = dom.group
                && let Progress::Refused(e) = set.move_to_group(domain_id(d), Some(groups[g]), now)
            {
                return Err(format!("domain {}: {e}", dom.name));
            }
            for (i, m) in dom.vcpus.iter().enumerate() {
                let index = vcpus.len() as u64;
                vcpus.push(Vcpu {
                    id: list[i].0,
                    dom: d,
                    guest: Guest::new(m, seed, index),
                    cpu: None,
                    from: 0,
                    loaded_at: 0,
                    work: 0,
                    generation: 0,
                    masked_stay: None,
                    waiting: None,
                    longest_wait: 0,
                });
            }
        }
        let w = World {
            now: 0,
            heap: BinaryHeap::new(),
            seq: 0,
            ipi: s.ipi,
            cpus: (0..cpus)
                .map(|c| Cpu {
                    speed: speeds[c],
                    ..Cpu::default()
                })
                .collect(),
            holder: vec![None; vcpus.len()],
            loads: 0,
            lock_ops: 0,
            fault: None,
        };
        let n = s.domains.len();
        Ok(Engine {
            s,
            set,
            pools,
            w,
            vcpus,
            locks: vec![None; s.locks],
            paused: vec![0; n],
            moving: vec![false; n],
            domain_pool: s.domains.iter().map(|d| d.pool).collect(),
            conserving,
            lenient: o.lenient,
            groups,
            capped: s.domains.iter().map(|d| d.cap != 0).collect(),
            in_group: s.domains.iter().map(|d| d.group.is_some()).collect(),
            holder_preemptions: 0,
            hash: 0xcbf2_9ce4_8422_2325,
            trace: o.trace.then(Vec::new),
        })
    }

    fn now(&self) -> Instant {
        Instant(self.w.now)
    }

    fn go(&mut self, o: &Options) -> Result<u64, String> {
        for c in 0..self.w.cpus.len() {
            let idle = self
                .set
                .cpu_online(CpuId(c as u16), self.now())
                .ok_or("a CPU is not there")?;
            self.w.cpus[c].idle = Some(idle);
            self.visit(c);
        }
        for v in 0..self.vcpus.len() {
            if self.vcpus[v].guest.wants_cpu() {
                self.vcpus[v].waiting = Some(0);
            }
            let k = self
                .set
                .online(self.vcpus[v].id, self.now())
                .map_err(|e| e.to_string())?;
            self.w.send(k);
            for src in 0..self.s.domains[self.vcpus[v].dom].vcpus[self.local(v)]
                .sources
                .len()
            {
                let t = self.vcpus[v].guest.first_firing(src);
                self.w.push(t, Event::Fire(v, src));
            }
        }
        for (i, a) in self.s.script.iter().enumerate() {
            self.w.push(a.at, Event::Script(i));
        }
        let every = if o.check_every == 0 {
            1024
        } else {
            o.check_every
        };
        let mut moments = 0u64;
        let mut steps = 0u64;
        while let Some(Reverse((at, _, _, event))) = self.w.heap.pop() {
            if at >= self.s.duration {
                break;
            }
            if at > self.w.now {
                moments += 1;
                self.invariants()?;
                if moments.is_multiple_of(every) {
                    self.set
                        .check()
                        .map_err(|e| format!("at {} ns: {e}", self.w.now))?;
                    self.right_places()?;
                }
                steps = 0;
            }
            steps += 1;
            if steps > 100_000 {
                return Err(format!("at {at} ns: no end of events at one moment"));
            }
            self.w.now = at;
            self.step(event)?;
            if let Some(f) = self.w.fault.take() {
                return Err(f);
            }
        }
        self.w.now = self.s.duration;
        for v in 0..self.vcpus.len() {
            self.sync(v);
            let x = &mut self.vcpus[v];
            if let Some(c) = x.cpu {
                x.work += (self.w.now - x.loaded_at) * self.w.cpus[c].speed / 1024;
            }
        }
        Ok(moments)
    }

    fn stopped(&self, d: usize) -> bool {
        self.paused[d] != 0 || self.moving[d]
    }

    /// Which vCPU of its domain `v` is.
    fn local(&self, v: usize) -> usize {
        let dom = self.vcpus[v].dom;
        v - self.vcpus.partition_point(|x| x.dom < dom)
    }

    fn step(&mut self, e: Event) -> Result<(), String> {
        match e {
            Event::Visit(c) => self.visit(c),
            Event::Slice(c, generation) => {
                if self.w.cpus[c].timer_gen == generation {
                    self.w.cpus[c].timer = None;
                    self.visit(c);
                }
            }
            Event::Done(v, generation) => {
                if self.vcpus[v].generation == generation && self.vcpus[v].cpu.is_some() {
                    // One that yields goes on when its CPU has decided.
                    if !self.sync(v) {
                        self.go_on(v);
                    }
                }
            }
            Event::Unmask(v) => {
                if self.vcpus[v].cpu.is_some() && !self.vcpus[v].guest.masked() {
                    self.deboost(v, DeboostCause::Unmasked);
                }
            }
            Event::Fire(v, src) => {
                self.sync(v);
                let (next, delivered) = self.vcpus[v].guest.fire(src, self.w.now);
                if let Some(t) = next {
                    self.w.push(t, Event::Fire(v, src));
                }
                if delivered {
                    self.wake(
                        v,
                        WakeReason::Interrupt {
                            line: 32 + src as u16,
                        },
                    );
                } else if self.vcpus[v].cpu.is_some() {
                    self.go_on(v);
                }
            }
            Event::Timer(v) => {
                self.sync(v);
                self.vcpus[v].guest.timer(self.w.now);
                self.wake(v, WakeReason::Timer);
            }
            Event::Script(i) => {
                let result = self.act(i);
                if !self.lenient {
                    result?;
                } else if let (Err(_), Some(every)) = (result, self.s.script[i].every) {
                    self.w.push(self.w.now + every, Event::Script(i));
                }
            }
        }
        Ok(())
    }

    fn wake(&mut self, v: usize, why: WakeReason) {
        self.w.lock_ops += 1;
        if self.vcpus[v].cpu.is_none() && self.vcpus[v].waiting.is_none() {
            self.vcpus[v].waiting = Some(self.w.now);
        }
        match self.set.wake(self.vcpus[v].id, why, self.now()) {
            Woken::Running(c) => {
                if self.vcpus[v].cpu != Some(c.index()) {
                    self.w.fail(format!("vCPU {v} is said to run on {c:?}"));
                }
                self.go_on(v);
            }
            Woken::Kick(k) => self.w.send(k),
        }
    }

    fn deboost(&mut self, v: usize, why: DeboostCause) {
        self.w.lock_ops += 1;
        let k = self.set.deboost(self.vcpus[v].id, why, self.now());
        self.w.send(k);
    }

    /// Brings a running vCPU's progress up to now. Whether it has yielded.
    fn sync(&mut self, v: usize) -> bool {
        let Some(c) = self.vcpus[v].cpu else {
            return false;
        };
        let now = self.w.now;
        if now <= self.vcpus[v].from {
            return false;
        }
        let dt = (now - self.vcpus[v].from) * self.w.cpus[c].speed / 1024;
        // What integer division leaves over counts next time.
        self.vcpus[v].from = now - ((now - self.vcpus[v].from) - dt * 1024 / self.w.cpus[c].speed);
        let mut effects = Vec::new();
        self.vcpus[v]
            .guest
            .advance(v, dt, now, &mut self.locks, &mut effects);
        let yielded = effects.contains(&Effect::Yield);
        for e in effects {
            self.effect(v, c, e);
        }
        yielded
    }

    fn effect(&mut self, v: usize, c: usize, e: Effect) {
        match e {
            Effect::Yield => {
                self.w.lock_ops += 1;
                self.set.yield_now(self.vcpus[v].id, self.now());
                self.w.visit_now(c);
            }
            Effect::Sleep(t) => self.w.push(self.w.now + t, Event::Timer(v)),
            Effect::Released(lock) => {
                let spinner = (0..self.vcpus.len()).find(|&u| {
                    let x = &self.vcpus[u];
                    u != v && x.cpu.is_some() && x.from <= self.w.now && x.guest.spins_for(lock)
                });
                if let Some(u) = spinner {
                    self.sync(u);
                    if self.vcpus[u].guest.spins_for(lock) {
                        self.vcpus[u].guest.take(u, &mut self.locks);
                        self.go_on(u);
                    }
                }
            }
            Effect::Unmasked => {
                if let Some(t) = self.vcpus[v].masked_stay.take() {
                    let at = t + (self.w.now - t).div_ceil(PROBE) * PROBE;
                    self.w.push(at, Event::Unmask(v));
                }
            }
            Effect::Returned => {
                let stayed = self.vcpus[v].masked_stay.take().is_some();
                let g = &self.vcpus[v].guest;
                if (stayed || g.enlightened()) && !g.dont_desched() {
                    self.deboost(v, DeboostCause::HandlerReturned);
                }
            }
            Effect::Cleared => self.deboost(v, DeboostCause::Asked),
        }
    }

    /// A running vCPU goes on with whatever is first now; asks to sleep if that is nothing.
    fn go_on(&mut self, v: usize) {
        let Some(c) = self.vcpus[v].cpu else { return };
        let now = self.w.now;
        if now < self.vcpus[v].from {
            return;
        }
        self.vcpus[v].generation += 1;
        match self.vcpus[v].guest.begin(v, now, &mut self.locks) {
            Some(u64::MAX) => {}
            Some(left) => {
                let at = self.vcpus[v].from + (left * 1024).div_ceil(self.w.cpus[c].speed);
                let generation = self.vcpus[v].generation;
                self.w.push(at.max(now), Event::Done(v, generation));
            }
            None => {
                self.w.lock_ops += 1;
                let guest = &self.vcpus[v].guest;
                if self
                    .set
                    .block(self.vcpus[v].id, Instant(now), || guest.wants_cpu())
                    == Block::Slept
                {
                    self.w.visit_now(c);
                }
            }
        }
    }

    fn visit(&mut self, c: usize) {
        self.w.cpus[c].visit = false;
        let before = self.w.cpus[c].running;
        let mut hint = GuestHint::default();
        if let Some(v) = before {
            self.sync(v);
            let g = &self.vcpus[v].guest;
            hint = GuestHint {
                irqs_masked: g.masked() && g.wants_cpu(),
                dont_desched: g.dont_desched(),
                enlightened: g.enlightened(),
                must_idle: false,
            };
        }
        if let Some(idle) = self.w.cpus[c].idle.take() {
            let _ = self.set.settle(
                idle,
                &mut SimCpu {
                    w: &mut self.w,
                    cpu: c,
                },
            );
        }
        let loaded = self.w.cpus[c].loaded;
        let loads = self.w.loads;
        self.w.lock_ops += 1;
        let r = self.set.reschedule(
            CpuId(c as u16),
            loaded,
            hint,
            &mut SimCpu {
                w: &mut self.w,
                cpu: c,
            },
        );
        let now = self.w.now;
        let after = match r {
            Running::Vcpu(id) => Some(id.index()),
            Running::Idle(i) => {
                if self.w.cpus[c].loaded.is_some() {
                    self.w.fail(format!("cpu{c} is idle with a vCPU loaded"));
                }
                let i = self.set.settle(
                    i,
                    &mut SimCpu {
                        w: &mut self.w,
                        cpu: c,
                    },
                );
                self.w.cpus[c].idle = Some(i);
                None
            }
            Running::Doze(_) => None,
        };
        if let (Some(v), true) = (before, before == after) {
            if hint.irqs_masked {
                self.vcpus[v].masked_stay = Some(now);
            }
            if self.vcpus[v].from <= now {
                self.go_on(v);
            }
            return;
        }
        if let Some(v) = before {
            let x = &mut self.vcpus[v];
            x.work += (now - x.loaded_at) * self.w.cpus[c].speed / 1024;
            x.cpu = None;
            x.generation += 1;
            x.masked_stay = None;
            if x.guest.wants_cpu() {
                x.waiting = Some(now);
                if x.guest.holds() {
                    self.holder_preemptions += 1;
                }
            }
        }
        if let Some(v) = after {
            if self.w.cpus[c].loaded != Some(self.vcpus[v].id) {
                self.w
                    .fail(format!("cpu{c} is to run vCPU {v}, which is not loaded"));
            }
            let cost = if self.w.loads != loads {
                self.s.switch
            } else {
                0
            };
            let x = &mut self.vcpus[v];
            if let Some(t) = x.waiting.take() {
                x.longest_wait = x.longest_wait.max(now - t);
            }
            x.cpu = Some(c);
            x.from = now + cost;
            x.loaded_at = now;
            x.generation += 1;
            let (from, generation) = (x.from, x.generation);
            self.w.push(from, Event::Done(v, generation));
        }
        self.w.cpus[c].running = after;
        for b in [now, c as u64, after.map_or(u64::MAX, |v| v as u64)] {
            self.hash = (self.hash ^ b).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if let Some(t) = &mut self.trace {
            t.push(Mark {
                at: now,
                cpu: c,
                vcpu: after,
            });
        }
    }

    fn act(&mut self, i: usize) -> Result<(), String> {
        let a = &self.s.script[i];
        let now = self.now();
        let fail = |e: tarn_pools::PoolError| format!("at {} ns: action {i}: {e}", now.0);
        let mut again = false;
        let mut progress = |w: &mut World, p: Progress| match p {
            Progress::Done(k) => {
                w.send(k);
                Ok(())
            }
            Progress::Again(k) => {
                w.send(k);
                again = true;
                Ok(())
            }
            Progress::Refused(e) => Err(fail(e)),
        };
        match a.what.clone() {
            What::Weight(d, weight) => {
                for v in (0..self.vcpus.len()).filter(|&v| self.vcpus[v].dom == d) {
                    let id = self.vcpus[v].id;
                    let mut p = self.set.vcpu_info(id, now).map_err(fail)?.params;
                    p.weight = weight;
                    let k = self.set.adjust_vcpu(id, &p, now).map_err(fail)?;
                    self.w.send(k);
                }
            }
            What::Affinity(d, cpus) => {
                for v in (0..self.vcpus.len()).filter(|&v| self.vcpus[v].dom == d) {
                    let id = self.vcpus[v].id;
                    let mut p = self.set.vcpu_info(id, now).map_err(fail)?.params;
                    p.affinity = cpus;
                    let k = self.set.adjust_vcpu(id, &p, now).map_err(fail)?;
                    self.w.send(k);
                }
            }
            What::Pause(d) => {
                let k = self.set.pause(domain_id(d), now).map_err(fail)?;
                self.paused[d] += 1;
                self.w.send(k);
            }
            What::Unpause(d) => {
                let k = self.set.unpause(domain_id(d), now).map_err(fail)?;
                self.paused[d] -= 1;
                for v in self
                    .vcpus
                    .iter_mut()
                    .filter(|v| v.dom == d && v.waiting.is_some())
                {
                    v.waiting = Some(now.0);
                }
                self.w.send(k);
            }
            What::Cap(d, cap) => {
                let k = self
                    .set
                    .adjust_domain(domain_id(d), &DomainParams { cap }, now)
                    .map_err(fail)?;
                self.w.send(k);
                self.capped[d] = cap != 0;
            }
            What::Move(d, pool) => {
                let p = self.set.move_domain(domain_id(d), self.pools[pool], now);
                progress(&mut self.w, p)?;
                self.moving[d] = again;
                if !again {
                    self.domain_pool[d] = pool;
                }
            }
            What::Cpu(cpu, pool) => {
                let p = self
                    .set
                    .assign_cpu(CpuId(cpu), pool.map(|p| self.pools[p]), now);
                progress(&mut self.w, p)?;
            }
            What::Regroup(d, g) => {
                let p = self
                    .set
                    .move_to_group(domain_id(d), g.map(|g| self.groups[g]), now);
                progress(&mut self.w, p)?;
                self.moving[d] = again;
                self.in_group[d] = g.is_some();
            }
        }
        if again {
            self.w.push(now.0 + 1_000, Event::Script(i));
        } else if let Some(every) = a.every {
            self.w.push(now.0 + every, Event::Script(i));
        }
        Ok(())
    }

    /// Nobody runs outside its pool or affinity (unless its CPU has been called and is on its way).
    fn right_places(&self) -> Result<(), String> {
        for (c, cpu) in self.w.cpus.iter().enumerate() {
            let Some(v) = cpu.running.filter(|_| !cpu.visit) else {
                continue;
            };
            let info = self.set.vcpu_info(self.vcpus[v].id, self.now());
            let info = info.map_err(|e| e.to_string())?;
            let pool = self.set.pool_info(info.pool).map_err(|e| e.to_string())?;
            let me = CpuId(c as u16);
            let mask = info.params.affinity.intersection(&pool.cpus);
            let outside = !mask.is_empty() && !mask.contains(me) && info.group.is_none();
            if !pool.cpus.contains(me) || outside {
                let at = self.w.now;
                return Err(format!(
                    "at {at} ns: vCPU {v} runs on cpu{c}, where it may not"
                ));
            }
        }
        Ok(())
    }

    /// What must hold whenever a moment is over.
    fn invariants(&mut self) -> Result<(), String> {
        let at = self.w.now;
        for (c, cpu) in self.w.cpus.iter().enumerate() {
            let Some(v) = cpu.running else { continue };
            if self.vcpus[v].cpu != Some(c) || self.w.holder[v] != Some(c) {
                return Err(format!(
                    "at {at} ns: cpu{c} runs vCPU {v}, which is elsewhere"
                ));
            }
        }
        if self.w.ipi != 0 || !self.conserving {
            return Ok(());
        }
        let free: Vec<usize> = (0..self.w.cpus.len())
            .filter(|&c| self.w.cpus[c].running.is_none() && !self.w.cpus[c].visit)
            .collect();
        let timerless = self
            .w
            .cpus
            .iter()
            .any(|c| c.running.is_some() && c.timer.is_none() && !c.visit);
        if free.is_empty() && !timerless {
            return Ok(());
        }
        for v in 0..self.vcpus.len() {
            let x = &self.vcpus[v];
            if x.waiting.is_none()
                || x.cpu.is_some()
                || self.stopped(x.dom)
                || self.capped[x.dom]
                || self.in_group[x.dom]
            {
                continue;
            }
            let info = self
                .set
                .vcpu_info(x.id, Instant(at))
                .map_err(|e| e.to_string())?;
            let pool = self.set.pool_info(info.pool).map_err(|e| e.to_string())?;
            let mut allowed = info.params.affinity.intersection(&pool.cpus);
            if allowed.is_empty() {
                allowed = pool.cpus;
            }
            for c in allowed.iter().map(|c| c.index()) {
                let cpu = &self.w.cpus[c];
                if cpu.visit {
                    continue;
                }
                if cpu.running.is_none() {
                    return Err(format!(
                        "at {at} ns: cpu{c} is idle while vCPU {v} waits for it"
                    ));
                }
                if cpu.timer.is_none() {
                    return Err(format!(
                        "at {at} ns: cpu{c} has no timer while vCPU {v} waits for it"
                    ));
                }
            }
        }
        Ok(())
    }

    fn finish(self, seed: u64, moments: u64) -> Result<Outcome, String> {
        let end = Instant(self.s.duration);
        self.set.check().map_err(|e| format!("at the end: {e}"))?;
        let mut vcpus = Vec::new();
        for (v, x) in self.vcpus.iter().enumerate() {
            let info = self.set.vcpu_info(x.id, end).map_err(|e| e.to_string())?;
            let dom = &self.s.domains[x.dom];
            let sum: u64 = info.times.ns.iter().map(|s| s.0).sum();
            if sum != self.s.duration {
                return Err(format!("vCPU {v}: run states add up to {sum} ns"));
            }
            let name = if dom.vcpus.len() == 1 {
                dom.name.clone()
            } else {
                format!("{}.{}", dom.name, self.local(v))
            };
            let wait = x.waiting.map_or(0, |t| self.s.duration - t);
            vcpus.push(VcpuOutcome {
                name,
                domain: x.dom,
                weight: dom.params.weight,
                hog: x.guest.is_hog(),
                closed_loop: x.guest.is_closed_loop(),
                runtime: info.times.ns[0].0,
                work: x.work,
                waited: info.times.ns[1].0,
                longest_wait: x
                    .longest_wait
                    .max(if self.stopped(x.dom) { 0 } else { wait }),
                figures: x.guest.figures.clone(),
                stats: info.stats,
            });
        }
        let mut idle = Vec::new();
        for c in 0..self.w.cpus.len() {
            idle.push(
                self.set
                    .cpu_info(CpuId(c as u16), end)
                    .map_or(0, |i| i.idle.0),
            );
        }
        let busy: u64 = vcpus.iter().map(|v| v.runtime).sum();
        let total = idle.iter().sum::<u64>() + busy;
        if total != self.s.duration * idle.len() as u64 {
            return Err(format!("running and idle time add up to {total} ns"));
        }
        let mut domains = Vec::new();
        for d in 0..self.s.domains.len() {
            let i = self
                .set
                .domain_info(domain_id(d), end)
                .map_err(|e| e.to_string())?;
            if i.times.missed != 0 || i.times.ns.iter().map(|s| s.0).sum::<u64>() != self.s.duration
            {
                return Err(format!(
                    "domain {}: its run states do not add up",
                    self.s.domains[d].name
                ));
            }
            domains.push(i.times.ns.map(|s| s.0));
        }
        let mut totals = Totals::default();
        for p in &self.pools {
            let t = self.set.pool_totals(*p).map_err(|e| e.to_string())?;
            totals.switches += t.switches;
            totals.resets += t.resets;
            totals.touched += t.touched;
        }
        let mut records = Vec::new();
        for p in &self.pools {
            let (mut list, mut next) = (Vec::new(), 0);
            while let Some((n, r)) = self.set.recorded(*p, next).map_err(|e| e.to_string())? {
                list.push((n, r));
                next = n + 1;
            }
            records.push(list);
        }
        let sched = self
            .set
            .pool_info(self.pools[0])
            .map_or("?", |p| p.sched_name)
            .to_string();
        Ok(Outcome {
            sched,
            seed,
            duration: self.s.duration,
            vcpus,
            domains,
            idle,
            switches: self.w.loads,
            totals,
            lock_ops: self.w.lock_ops,
            holder_preemptions: self.holder_preemptions,
            hash: self.hash,
            moments,
            trace: self.trace.unwrap_or_default(),
            records,
        })
    }
}

/// The id of the scenario's `d`th domain.
fn domain_id(d: usize) -> DomainId {
    DomainId::new(1 + d as u16, 0)
}
