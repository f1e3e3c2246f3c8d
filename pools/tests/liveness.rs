//! Nobody is forgotten: short random lives of a small machine with groups in groups, every scheduler inside every other,
//! and at the end of each nobody needs to be asked twice (`World::check_nobody_is_forgotten`). The question is asked once
//! and at the end only, since the asking wakes whoever was forgotten. What fails is shrunk before it is shown.
//! `TARN_LIVES` sets how many (4,000 by default), `TARN_FIRST` where to begin.

mod world;

use tarn_abi::{CpuId, CpuSet, DomainId, Instant, PoolId, Span};
use tarn_pools::*;
use world::{Rng, World, vcpu};

/// Something that happens; what it means depends on who is there then, so that any part of a life is a life.
#[derive(Clone, Copy, Debug)]
enum Op {
    Domain(u64),
    Group(u64),
    NoGroup(u64),
    Enter(u64),
    Wake(u64),
    Sleep(u64),
    Spend(u64),
    Yield(u64),
    Time(u64),
    Late(u64),
    ComeBy(u64),
    Pause(u64),
    Resume,
    End(u64),
    Cap(u64),
    Params(u64),
    Processor(u64),
    Plan(u64),
}

fn op(r: &mut Rng) -> Op {
    let x = r.next();
    match r.below(50) {
        0..2 => Op::Domain(x),
        2..4 => Op::Group(x),
        4 => Op::NoGroup(x),
        5..8 => Op::Enter(x),
        8..18 => Op::Wake(x),
        18..22 => Op::Sleep(x),
        22..25 => Op::Spend(x),
        25 => Op::Yield(x),
        26..31 => Op::Time(x),
        31..33 => Op::Late(x),
        33..38 => Op::ComeBy(x),
        38..40 => Op::Pause(x),
        40..43 => Op::Resume,
        43 => Op::End(x),
        44 => Op::Cap(x),
        45..47 => Op::Params(x),
        47 => Op::Processor(x),
        _ => Op::Plan(x),
    }
}

/// A few domains and groups, and then whatever comes.
fn random_life(r: &mut Rng) -> Vec<Op> {
    let mut ops: Vec<Op> = (0..1 + r.below(4)).map(|_| Op::Domain(r.next())).collect();
    ops.extend((0..r.below(3)).map(|_| Op::Group(r.next())));
    ops.extend((0..8 + r.below(50)).map(|_| op(r)));
    ops
}

/// Which schedulers there are in a life.
const KINDS: [&[&str]; 5] = [
    &["credit2", "rr", "rtds", "null"],
    &["credit2", "rr"],
    &["rtds"],
    &["rtds", "rr"],
    &["credit2", "rtds"],
];

struct Life {
    w: World,
    kinds: &'static [&'static str],
    /// There are groups in it.
    grouped: bool,
    other: PoolId,
    paused: Vec<DomainId>,
    made: u16,
}

/// What somebody asks for: short periods and long ones, little and much of them.
fn params(r: &mut Rng) -> VcpuParams {
    let period = [500, 2_000, 10_000, 50_000][r.below(4) as usize];
    let budget = period / [2, 5, 10, 20][r.below(4) as usize];
    VcpuParams {
        weight: [1, 256, 5_000][r.below(3) as usize],
        rt: RtParams {
            period: Span::us(period),
            budget: Span::us(budget),
        },
        ..VcpuParams::DEFAULT
    }
}

impl Life {
    fn new(r: &mut Rng) -> Life {
        let kinds = KINDS[r.below(KINDS.len() as u64) as usize];
        let kind = |r: &mut Rng| kinds[r.below(kinds.len() as u64) as usize];
        let w = World::new(1 + r.below(3) as usize, kind(r));
        let config = PoolConfig {
            sched: world::sched(kind(r)),
            ..PoolConfig::new("other")
        };
        let other = w.set.create(&config, w.now).unwrap();
        Life {
            w,
            kinds,
            grouped: r.chance(75),
            other,
            paused: Vec::new(),
            made: 0,
        }
    }

    fn pool(&self, r: &mut Rng) -> PoolId {
        [PoolId::POOL0, PoolId::POOL0, self.other][r.below(3) as usize]
    }

    fn domain(&self, r: &mut Rng) -> Option<(DomainId, u16)> {
        let n = self.w.domains.len();
        (n > 0).then(|| self.w.domains[r.below(n as u64) as usize])
    }

    fn group(&self, r: &mut Rng, pool: PoolId) -> Option<GroupId> {
        let n = (0..).map_while(|n| self.w.set.group_at(pool, n)).count();
        self.w.set.group_at(pool, r.below(n as u64 + 1) as usize)
    }

    fn sched(&self, r: &mut Rng) -> tarn_abi::SchedId {
        world::sched(self.kinds[r.below(self.kinds.len() as u64) as usize])
    }

    fn send(&mut self, k: Result<Kick, PoolError>) {
        if let Ok(k) = k {
            self.w.send(k);
        }
    }

    fn progress(&mut self, mut step: impl FnMut(&World) -> Progress) {
        for _ in 0..100 {
            match step(&self.w) {
                Progress::Done(k) => return self.w.send(k),
                Progress::Again(k) => self.w.send(k),
                Progress::Refused(_) => return,
            }
            self.w.settle();
        }
        panic!("it is never done");
    }

    /// A CPU that runs somebody.
    fn busy(&self, r: &mut Rng) -> Option<CpuId> {
        let busy = self.w.cpus.iter().enumerate().filter(|(_, c)| c.running);
        let busy: Vec<_> = busy.map(|(i, _)| CpuId(i as u16)).collect();
        (!busy.is_empty()).then(|| busy[r.below(busy.len() as u64) as usize])
    }

    /// Who runs on `c` sleeps, in one of the two ways.
    fn sleeps(&mut self, c: CpuId, r: &mut Rng) {
        let Some(v) = self.w.cpus[c.index()].loaded else {
            return;
        };
        let slept = if r.chance(50) {
            self.w.set.block(v, self.w.now, || false)
        } else {
            self.w.set.block_here(c, v, self.w.now, || false)
        };
        match slept {
            Block::Pending => {}
            Block::Slept => self.w.kicked.insert(c),
            Block::Dozes => {
                self.w.cpus[c.index()].running = false;
                self.w.cpus[c.index()].timer = None;
            }
        }
    }

    fn happens(&mut self, op: Op) {
        self.w.now.0 += 1_000;
        match op {
            Op::Domain(x) => {
                let r = &mut Rng(x | 1);
                if self.made >= 12 {
                    return;
                }
                let (d, n) = (DomainId::new(1 + self.made, 0), 1 + r.below(3) as u16);
                let pool = self.pool(r);
                let mut own = params(r);
                if r.chance(30) {
                    own.affinity = CpuSet::from_words([1 + r.below(7), 0]);
                }
                let list: Vec<_> = (0..n).map(|i| (vcpu(d, i), own)).collect();
                let cap = if r.chance(15) {
                    10 + r.below(60) as u32
                } else {
                    0
                };
                let now = self.w.now;
                let added = self
                    .w
                    .set
                    .add_domain(d, pool, &DomainParams { cap }, &list, now);
                if let Ok(k) = added {
                    self.w.send(k);
                    self.made += 1;
                    for i in 0..n {
                        let k = self.w.set.online(vcpu(d, i), now);
                        self.send(k);
                    }
                    self.w.domains.push((d, n));
                }
            }
            Op::Group(x) => {
                let r = &mut Rng(x | 1);
                if !self.grouped {
                    return;
                }
                let pool = self.pool(r);
                let name = format!("g{}", self.w.now.0);
                let config = GroupConfig {
                    parent: self.group(r, pool),
                    sched: self.sched(r),
                    vps: 1 + r.below(3) as u16,
                    processor: params(r),
                    ..GroupConfig::new(&name)
                };
                let _ = self.w.set.create_group(pool, &config, self.w.now);
            }
            Op::NoGroup(x) => {
                let r = &mut Rng(x | 1);
                let pool = self.pool(r);
                if let Some(g) = self.group(r, pool) {
                    self.progress(|w| w.set.destroy_group(pool, g, w.now));
                }
            }
            Op::Enter(x) => {
                let r = &mut Rng(x | 1);
                let Some((d, n)) = self.domain(r) else { return };
                let pool = self.w.set.domain_info(d, self.w.now).unwrap().pool;
                let g = self.group(r, pool);
                if r.chance(60) {
                    return self.progress(|w| w.set.move_to_group(d, g, w.now));
                }
                let only = Some(r.below(n.into()) as u16);
                let plan = Plan::of(Step::Group(d, only, g)).unwrap();
                let _ = self.w.carry_out(&plan);
            }
            Op::Wake(x) => {
                let r = &mut Rng(x | 1);
                let Some((d, n)) = self.domain(r) else { return };
                let why = [WakeReason::Timer, WakeReason::Interrupt { line: 40 }];
                let why = why[r.below(2) as usize];
                match self
                    .w
                    .set
                    .wake(vcpu(d, r.below(n.into()) as u16), why, self.w.now)
                {
                    // It takes the interrupt where it is and goes on.
                    Woken::Running(_) => {}
                    Woken::Kick(k) => self.w.send(k),
                }
            }
            Op::Sleep(x) => {
                let r = &mut Rng(x | 1);
                if let Some(c) = self.busy(r) {
                    self.sleeps(c, r);
                }
            }
            // It runs for as long as it may, and sleeps the moment it may no longer.
            Op::Spend(x) => {
                let r = &mut Rng(x | 1);
                if let Some(c) = self.busy(r)
                    && let Some(t) = self.w.cpus[c.index()].timer
                {
                    self.w.now = self.w.now.max(t);
                    self.sleeps(c, r);
                }
            }
            Op::Yield(x) => {
                if let Some(c) = self.busy(&mut Rng(x | 1))
                    && let Some(v) = self.w.cpus[c.index()].loaded
                {
                    self.w.set.yield_now(v, self.w.now);
                    self.w.kicked.insert(c);
                }
            }
            Op::Time(x) => {
                let span = [20_000, 200_000, 2_000_000, 20_000_000][(x % 4) as usize];
                let end = Instant(self.w.now.0 + x / 4 % span);
                for _ in 0..1_000 {
                    if !self.w.next_event(end) {
                        break;
                    }
                }
            }
            // CPUs are called late: whoever runs there has used more than it should.
            Op::Late(x) => self.w.now.0 += x % 1_000_000,
            Op::ComeBy(x) => {
                let called: Vec<CpuId> = self.w.kicked.iter().collect();
                if !called.is_empty() {
                    self.w.come_by(called[(x % called.len() as u64) as usize]);
                }
            }
            Op::Pause(x) => {
                if let Some((d, _)) = self.domain(&mut Rng(x | 1)) {
                    let k = self.w.set.pause(d, self.w.now);
                    self.send(k);
                    self.paused.push(d);
                }
            }
            Op::Resume => {
                if let Some(d) = self.paused.pop() {
                    let k = self.w.set.unpause(d, self.w.now);
                    self.send(k);
                }
            }
            Op::End(x) => {
                if let Some((d, _)) = self.domain(&mut Rng(x | 1)) {
                    let k = self.w.set.kill(d, self.w.now);
                    self.send(k);
                    self.w.settle();
                    let k = self.w.set.remove_domain(d, self.w.now);
                    assert!(k.is_ok(), "{k:?}");
                    self.send(k);
                    self.w.domains.retain(|x| x.0 != d);
                    self.paused.retain(|x| *x != d);
                }
            }
            Op::Cap(x) => {
                let r = &mut Rng(x | 1);
                if let Some((d, _)) = self.domain(r) {
                    let cap = [0, 5, 30, 90][r.below(4) as usize];
                    let k = self
                        .w
                        .set
                        .adjust_domain(d, &DomainParams { cap }, self.w.now);
                    self.send(k);
                }
            }
            Op::Params(x) => {
                let r = &mut Rng(x | 1);
                if let Some((d, n)) = self.domain(r) {
                    let mut p = params(r);
                    if r.chance(50) {
                        p.affinity = CpuSet::from_words([1 + r.below(7), 0]);
                    }
                    let v = vcpu(d, r.below(n.into()) as u16);
                    let k = self.w.set.adjust_vcpu(v, &p, self.w.now);
                    self.send(k);
                }
            }
            Op::Processor(x) => {
                let r = &mut Rng(x | 1);
                let pool = self.pool(r);
                if let Some(g) = self.group(r, pool) {
                    let p = GroupParams {
                        processor: params(r),
                        split: false,
                    };
                    let k = self.w.set.adjust_group(pool, g, &p, self.w.now);
                    self.send(k);
                }
            }
            Op::Plan(x) => {
                let r = &mut Rng(x | 1);
                let mut plan = Plan::new();
                for _ in 0..=r.below(2) {
                    let to = Target::Id(self.pool(r));
                    let step = match r.below(4) {
                        0 => Step::SetSched(to, self.sched(r)),
                        1 => Step::Cpus(Some(to), CpuSet::from_words([1 + r.below(7), 0])),
                        2 => match self.domain(r) {
                            Some((d, _)) => Step::MoveDomain(d, to),
                            None => continue,
                        },
                        _ => Step::SetSched(Target::Id(PoolId::POOL0), self.sched(r)),
                    };
                    plan.add(step).unwrap();
                }
                let _ = self.w.carry_out(&plan);
            }
        }
    }
}

/// What is wrong with a life, if anything is.
fn wrong(seed: u64, ops: &[Op]) -> Option<String> {
    let lived = || {
        let r = &mut Rng(seed);
        let mut life = Life::new(r);
        for op in ops {
            life.happens(*op);
        }
        life.w.check();
        life.w.check_nobody_is_forgotten(r)
    };
    match std::panic::catch_unwind(lived) {
        Ok(said) => said.err(),
        Err(e) => Some(
            e.downcast_ref::<String>()
                .cloned()
                .unwrap_or_else(|| "panic".into()),
        ),
    }
}

fn shrink(seed: u64, mut ops: Vec<Op>) -> Vec<Op> {
    let mut size = ops.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at + size <= ops.len() {
            let mut less = ops.clone();
            less.drain(at..at + size);
            if wrong(seed, &less).is_some() {
                ops = less;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    ops
}

/// Lives in which somebody was forgotten once.
const FOUND: [u64; 4] = [243_524, 617_300, 706_262, 3_117_441];

#[test]
fn nobody_is_forgotten() {
    let number = |name: &str, default| {
        std::env::var(name)
            .ok()
            .and_then(|v| v.parse().ok())
            .unwrap_or(default)
    };
    let (first, lives): (u64, u64) = (number("TARN_FIRST", 1), number("TARN_LIVES", 4_000));
    for n in FOUND.into_iter().chain(first..first + lives) {
        let seed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut r = Rng(seed);
        let ops = random_life(&mut r);
        if wrong(seed, &ops).is_some() {
            let ops = shrink(seed, ops);
            let why = wrong(seed, &ops).unwrap_or_default();
            panic!("life {n}: {why}\n{ops:#?}");
        }
    }
}
