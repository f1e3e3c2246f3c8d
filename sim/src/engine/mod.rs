//! The machine: CPUs, clock, timers, interrupts as one heap of events around the real `PoolSet`.
//!
//! At equal times CPU events come before firings, then in order of insertion. A switch costs time at its start, charged to
//! the incomer. After every moment the invariants are checked; the first violation ends the run. Must never decide who
//! runs. Neighbours: `guest.rs` says what a vCPU does, `scenario.rs` what there is.

mod build;
mod check;
mod outcome;
mod script;
mod world;

pub use self::outcome::{Epoch, Mark, Options, Outcome, Place, VcpuOutcome};
use self::world::{Cpu, Event, SimCpu, World};
use crate::eevdf::Eevdf;
use crate::figures::Figures;
use crate::guest::{Effect, Guest, Locks};
use crate::plain::Plain;
use crate::scenario::{Scenario, What};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use tarn_abi::{CpuId, CpuSet, DomainId, Instant, PoolId, VcpuId};
use tarn_pools::{
    Block, Clock, DeboostCause, DomainParams, GroupConfig, GroupId, GuestHint, IdleCpu, Kick,
    Machine, Plan, PoolConfig, PoolSet, Progress, Running, Stats, Status, Step, Target, Totals,
    WakeReason, Woken, sched_by_name,
};

type Set = PoolSet<spin::relax::Spin>;

/// How often unmasking is noticed while a stay for masked interrupts is running.
const PROBE: u64 = 25_000;

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
    /// Where it would rather run, how long it ran there, and where it was last.
    soft: CpuSet,
    at_home: u64,
    last: Option<usize>,
    migrations: u64,
    /// It has let others go first, and its CPU has not decided since.
    yielded: bool,
}

impl Vcpu {
    /// Up to `now` it has run on CPU `c` of that speed.
    fn worked(&mut self, now: u64, c: usize, speed: u64) {
        let ran = now - self.loaded_at;
        self.work += ran * speed / 1024;
        if self.soft.contains(CpuId(c as u16)) {
            self.at_home += ran;
        }
    }
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
    /// By pool: what schedules there, by the name it was asked for.
    scheds: Vec<String>,
    /// The pool whose scheduler is being exchanged, and by which action.
    exchanging: Option<(usize, usize)>,
    /// By action: it has been begun and takes its time.
    under_way: Vec<bool>,
    /// The last action that sent it elsewhere.
    latest: BTreeMap<script::Subject, usize>,
    epochs: Vec<Epoch>,
    lenient: bool,
    groups: Vec<GroupId>,
    capped: Vec<bool>,
    holder_preemptions: u64,
    preemptions: u64,
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

/// The most of a CPU that a scheduler gives an entity with these parameters.
fn bandwidth(sched: &str, rt: &tarn_pools::RtParams) -> f64 {
    match sched {
        "rtds" => rt.budget.0 as f64 / rt.period.0 as f64,
        _ => 1.0,
    }
}

/// Whether a scheduler lets no CPU idle while somebody waits whom it could run.
fn conserves(name: &str) -> bool {
    matches!(
        name,
        "credit2" | "rr" | "plain" | "credit1" | "eevdf" | "noboost"
    )
}

fn scheduler_name<'a>(o: &'a Options, own: &'a str) -> &'a str {
    o.sched.as_deref().unwrap_or(own)
}

impl<'a> Engine<'a> {
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
        self.epoch()?;
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
                x.worked(self.w.now, c, self.w.cpus[c].speed);
            }
        }
        Ok(moments)
    }

    fn stopped(&self, d: usize) -> bool {
        let halted = self.exchanging.is_some_and(|x| x.0 == self.domain_pool[d]);
        self.paused[d] != 0 || self.moving[d] || halted
    }

    /// Notes what has been changed.
    fn epoch(&mut self) -> Result<(), String> {
        let now = self.now();
        let mut domains = Vec::new();
        for d in 0..self.s.domains.len() {
            let fail = |e: tarn_pools::PoolError| format!("domain {d}: {e}");
            let first = self.vcpus.partition_point(|v| v.dom < d);
            let v = self
                .set
                .vcpu_info(self.vcpus[first].id, now)
                .map_err(fail)?;
            let info = self.set.domain_info(domain_id(d), now).map_err(fail)?;
            let group = v
                .group
                .and_then(|g| self.groups.iter().position(|x| *x == g));
            let pool = self.set.pool_info(v.pool).map_err(fail)?;
            let sched = group.map_or(pool.sched_name, |g| &self.s.groups[g].sched);
            domains.push(Place {
                pool: self.pools.iter().position(|p| *p == v.pool).unwrap_or(0),
                group,
                bandwidth: bandwidth(sched, &v.params.rt),
                weight: v.params.weight,
                affinity: v.params.affinity,
                cap: info.params.cap,
                stopped: self.stopped(d),
            });
        }
        let mut groups = Vec::new();
        for g in &self.s.groups {
            let pool = self
                .set
                .pool_info(self.pools[g.pool])
                .map_err(|e| e.to_string())?;
            let around = g
                .parent
                .map_or(pool.sched_name, |p| &self.s.groups[p].sched);
            groups.push(bandwidth(around, &g.params.rt));
        }
        let cpus = |p: &PoolId| self.set.pool_info(*p).map_or(CpuSet::EMPTY, |i| i.cpus);
        let pools: Vec<CpuSet> = self.pools.iter().map(cpus).collect();
        let last = self.epochs.last();
        if last.is_some_and(|e| e.domains == domains && e.pools == pools && e.groups == groups) {
            return Ok(());
        }
        let work = |v: &Vcpu| {
            let running = v
                .cpu
                .map_or(0, |c| (now.0 - v.loaded_at) * self.w.cpus[c].speed / 1024);
            v.work + running
        };
        let epoch = Epoch {
            from: now.0,
            domains,
            groups,
            pools,
            work: self.vcpus.iter().map(work).collect(),
            offered: self.vcpus.iter().map(|v| v.guest.figures.offered).collect(),
        };
        self.epochs.push(epoch);
        Ok(())
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
                self.epoch()?;
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
        self.w.pool_locks += 1;
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
        self.w.pool_locks += 1;
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
                self.w.pool_locks += 1;
                self.set.yield_now(self.vcpus[v].id, self.now());
                self.vcpus[v].yielded = true;
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
                self.w.pool_locks += 1;
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
        self.w.pool_locks += 1;
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
            Running::Vcpu { id, .. } => Some(id.index()),
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
        let yielded = before.is_some_and(|v| core::mem::take(&mut self.vcpus[v].yielded));
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
            x.worked(now, c, self.w.cpus[c].speed);
            x.cpu = None;
            x.generation += 1;
            x.masked_stay = None;
            if x.guest.wants_cpu() {
                x.waiting = Some(now);
                self.preemptions += u64::from(after.is_some() && !yielded);
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
            x.migrations += u64::from(x.last.is_some_and(|l| l != c));
            x.last = Some(c);
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
}

/// The id of the scenario's `d`th domain.
fn domain_id(d: usize) -> DomainId {
    DomainId::new(1 + d as u16, 0)
}
