//! Threads as CPUs: the switch protocol under wakes, pauses, moves of domains and CPUs from other threads.
//!
//! A claim table stands for the registers: to load a vCPU that another CPU still holds is the one thing that must never
//! happen. Interrupts are counted on both sides, so a lost wake-up leaves a difference at the end.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, Instant as Wall};
use tarn_abi::{CpuId, CpuSet, DomainId, Instant, PoolId, VcpuId};
use tarn_pools::*;

struct Relax;
impl spin::RelaxStrategy for Relax {
    fn relax() {
        std::thread::yield_now();
    }
}
type Set = PoolSet<Relax>;

const CPUS: usize = 4;
const DOMS: usize = 6;
const PER: usize = 3;
const VCPUS: usize = DOMS * PER;
const NOBODY: u16 = u16::MAX;

struct World {
    set: Set,
    start: Wall,
    kicked: [AtomicBool; CPUS],
    holder: [AtomicU16; VCPUS],
    posted: [AtomicU64; VCPUS],
    taken: [AtomicU64; VCPUS],
    stop: AtomicBool,
    switches: AtomicU64,
    /// How often each CPU has decided.
    rounds: [AtomicU64; CPUS],
}

/// Waits for something that must come about after CPUs that were called have come by.
///
/// What hangs is told by what has happened, not by the time it took: the CPUs are threads, and on a host with more to do
/// than it can, each hand-over of a lock that is a queue may cost a slice of somebody else's (120 s were not enough once, at
/// a load of 10 on two CPUs). Everybody who was called has come by `ENOUGH` times, and still it is not done: it never will
/// be. A thread that does not come at all, or nobody who has to be called though it is not done: for that there is a time,
/// which no load explains.
struct Patience<'a> {
    w: &'a World,
    called: u32,
    /// Since when nobody had to be called.
    last: Wall,
}

impl<'a> Patience<'a> {
    fn new(w: &'a World) -> Patience<'a> {
        Patience {
            w,
            called: 0,
            last: Wall::now(),
        }
    }
}

impl Patience<'_> {
    const ENOUGH: u32 = 10_000;
    const STUCK: Duration = Duration::from_secs(600);

    fn call(&mut self, k: Kick, what: &dyn std::fmt::Debug) {
        let rounds = |c: CpuId| self.w.rounds[c.index()].load(Ordering::SeqCst);
        let before: Vec<_> = k.0.iter().map(|c| (c, rounds(c))).collect();
        self.w.send(k);
        let start = Wall::now();
        for (c, was) in &before {
            while rounds(*c) == *was {
                assert!(start.elapsed() < Self::STUCK, "{c:?} is stuck: {what:?}");
                std::thread::yield_now();
            }
        }
        if !before.is_empty() {
            self.called += 1;
            self.last = Wall::now();
        }
        assert!(self.called < Self::ENOUGH, "it hangs: {what:?}");
        assert!(self.last.elapsed() < Self::STUCK, "for nobody: {what:?}");
        std::thread::yield_now();
    }
}

impl World {
    fn now(&self) -> Instant {
        Instant(self.start.elapsed().as_nanos() as u64)
    }
    fn send(&self, k: Kick) {
        k.0.iter()
            .for_each(|c| self.kicked[c.index()].store(true, Ordering::SeqCst));
    }
    fn pending(&self, v: VcpuId) -> bool {
        self.posted[v.index()].load(Ordering::SeqCst)
            != self.taken[v.index()].load(Ordering::SeqCst)
    }
}

struct Cpu<'a> {
    w: &'a World,
    cpu: CpuId,
    timer: Option<Instant>,
}

impl Clock for Cpu<'_> {
    fn now(&self) -> Instant {
        self.w.now()
    }
    fn arm(&mut self, at: Option<Instant>) {
        self.timer = at;
    }
}

impl Machine for Cpu<'_> {
    fn save(&mut self, v: VcpuId) {
        let was = self.w.holder[v.index()].swap(NOBODY, Ordering::SeqCst);
        assert_eq!(was, self.cpu.0, "saved what it did not hold");
    }
    fn load(&mut self, v: VcpuId) {
        let was = self.w.holder[v.index()].swap(self.cpu.0, Ordering::SeqCst);
        assert_eq!(
            was, NOBODY,
            "loaded a vCPU whose registers another CPU holds"
        );
        self.w.switches.fetch_add(1, Ordering::Relaxed);
    }
    fn kick(&mut self, k: Kick) {
        self.w.send(k);
    }
}

struct Rng(u64);
impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

fn cpu_thread(w: &World, cpu: CpuId) {
    let mut rng = Rng(cpu.0.into());
    let mut m = Cpu {
        w,
        cpu,
        timer: None,
    };
    let mut idle = Some(w.set.cpu_online(cpu, w.now()).unwrap());
    let mut loaded = None;
    loop {
        if let Some(i) = idle.take() {
            let _ = w.set.settle(i, &mut m);
        }
        w.kicked[cpu.index()].store(false, Ordering::SeqCst);
        let hint = GuestHint::default();
        let running = w.set.reschedule(cpu, loaded, hint, &mut m);
        w.rounds[cpu.index()].fetch_add(1, Ordering::SeqCst);
        match running {
            Running::Vcpu { id: v, .. } => {
                loaded = Some(v);
                assert_eq!(w.holder[v.index()].load(Ordering::SeqCst), cpu.0);
                loop {
                    let posted = w.posted[v.index()].load(Ordering::SeqCst);
                    w.taken[v.index()].store(posted, Ordering::SeqCst);
                    if w.kicked[cpu.index()].load(Ordering::SeqCst)
                        || m.timer.is_some_and(|t| w.now() >= t)
                    {
                        break;
                    }
                    match rng.below(8) {
                        0 => {
                            w.set.yield_now(v, w.now());
                            break;
                        }
                        1..4 => {
                            if w.set.block(v, w.now(), || w.pending(v)) == Block::Slept {
                                break;
                            }
                        }
                        _ => std::thread::yield_now(),
                    }
                }
            }
            Running::Idle(i) => {
                loaded = None;
                idle = Some(i);
                sleep(w, cpu, &m);
            }
            Running::Doze(v) => {
                assert_eq!(loaded, Some(v));
                assert_eq!(w.holder[v.index()].load(Ordering::SeqCst), cpu.0);
                sleep(w, cpu, &m);
            }
        }
        if w.stop.load(Ordering::SeqCst) && loaded.is_none() {
            return;
        }
    }
}

fn sleep(w: &World, cpu: CpuId, m: &Cpu<'_>) {
    while !w.kicked[cpu.index()].load(Ordering::SeqCst)
        && m.timer.is_none_or(|t| w.now() < t)
        && !w.stop.load(Ordering::SeqCst)
    {
        std::thread::yield_now();
    }
}

fn finish(w: &World, mut step: impl FnMut() -> Progress) {
    let mut patience = Patience::new(w);
    loop {
        match step() {
            Progress::Done(k) => return w.send(k),
            Progress::Again(k) => patience.call(k, &"one step"),
            Progress::Refused(_) => return,
        }
    }
}

/// Several changes at once, another scheduler among them, while everybody runs; sometimes taken back.
fn plan(w: &World, rng: &mut Rng, pools: [PoolId; 2], doms: usize, exchange: bool) {
    let domain = |n: u64| DomainId::new(1 + (n % doms as u64) as u16, 3);
    let mut plan = Plan::new();
    for _ in 0..=rng.below(3) {
        let pool = Target::Id(pools[rng.below(2) as usize]);
        let step = match rng.below(4) {
            0 => {
                let cpus = CpuSet::from_words([rng.below(1 << CPUS) & !1, 0]);
                Step::Cpus(rng.below(4).checked_sub(1).map(|_| pool), cpus)
            }
            1 if exchange => {
                let kind = ["credit2", "rr"][rng.below(2) as usize];
                Step::SetSched(pool, sched_by_name(kind).unwrap())
            }
            _ => Step::MoveDomain(domain(rng.below(64)), pool),
        };
        plan.add(step).unwrap();
    }
    let (kick, begun) = w.set.begin(&plan, w.now());
    w.send(kick);
    if begun.is_err() {
        return;
    }
    for _ in 0..rng.below(20) {
        std::thread::yield_now();
    }
    if rng.below(8) == 0
        && let Ok(k) = w.set.abort(w.now())
    {
        w.send(k);
    }
    let mut patience = Patience::new(w);
    while let Status::Pending(k) = w.set.status(w.now()) {
        patience.call(k, &plan);
    }
    assert!(w.set.outcome().is_some(), "a change without an end");
}

impl World {
    /// It lasts so long, and on a busy machine until enough has happened.
    fn rages(&self, millis: u64) -> bool {
        let (past, most) = (self.start.elapsed(), Duration::from_secs(120));
        past < Duration::from_millis(millis)
            || (self.switches.load(Ordering::Relaxed) <= 200 && past < most)
    }
}

/// `DOMS` domains on all CPUs; for null, which needs a CPU for each vCPU, one.
fn storm(sched: &str, millis: u64, doze: bool) {
    // A panic of one thread leaves the others waiting for ever: end them all at once.
    let old = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // Not by a macro: what those print is kept back until the test ends, which it does not.
        let _ = writeln!(std::io::stderr(), "{info}");
        old(info);
        std::process::abort();
    }));
    let doms = if sched == "null" { 1 } else { DOMS };
    let vcpus = doms * PER;
    let w = World {
        set: Set::new(),
        start: Wall::now(),
        kicked: Default::default(),
        holder: std::array::from_fn(|_| AtomicU16::new(NOBODY)),
        posted: Default::default(),
        taken: Default::default(),
        stop: AtomicBool::new(false),
        switches: AtomicU64::new(0),
        rounds: Default::default(),
    };
    let kind = sched_by_name(sched).unwrap();
    let config = |name| PoolConfig {
        sched: kind,
        ..PoolConfig::new(name)
    };
    w.set
        .init(CpuSet::first(CPUS), &config("Pool-0"), w.now())
        .unwrap();
    w.set.set_doze(doze);
    let other = w.set.create(&config("other"), w.now()).unwrap();
    let pools = [PoolId::POOL0, other];
    let domain = |i: usize| DomainId::new(1 + i as u16, 3);
    for d in 0..doms {
        let rt = RtParams {
            budget: tarn_abi::Span::ms(1),
            ..RtParams::DEFAULT
        };
        let own = VcpuParams {
            rt,
            ..VcpuParams::DEFAULT
        };
        let list: Vec<_> = (0..PER)
            .map(|i| (VcpuId::new((d * PER + i) as u16, 0), own))
            .collect();
        let _ = w
            .set
            .add_domain(
                domain(d),
                PoolId::POOL0,
                &DomainParams::default(),
                &list,
                w.now(),
            )
            .unwrap();
    }
    std::thread::scope(|s| {
        for c in 0..CPUS {
            let w = &w;
            s.spawn(move || cpu_thread(w, CpuId(c as u16)));
        }
        for v in 0..vcpus {
            let k = w.set.online(VcpuId::new(v as u16, 0), w.now()).unwrap();
            w.send(k);
        }
        let wakers: Vec<_> = (0..2)
            .map(|n| {
                let w = &w;
                s.spawn(move || {
                    let mut rng = Rng(1000 + n);
                    while w.rages(millis) {
                        let v = VcpuId::new(rng.below(vcpus as u64) as u16, 0);
                        w.posted[v.index()].fetch_add(1, Ordering::SeqCst);
                        match w.set.wake(v, WakeReason::Interrupt { line: 32 }, w.now()) {
                            Woken::Running(_) => {}
                            Woken::Kick(k) => w.send(k),
                        }
                        if rng.below(4) == 0 {
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        // A group in Pool-0 and one inside it.
        let one = GroupConfig {
            vps: 2,
            sched: kind,
            ..GroupConfig::new("one")
        };
        // (Not under null, where each virtual processor would take a CPU for itself.)
        let one = if sched == "null" {
            Err(PoolError::NoCpus)
        } else {
            w.set.create_group(PoolId::POOL0, &one, w.now())
        };
        let groups = one.map_or(vec![None], |one| {
            let two = GroupConfig {
                parent: Some(one),
                ..GroupConfig::new("two")
            };
            let two = w.set.create_group(PoolId::POOL0, &two, w.now()).ok();
            vec![None, Some(one), two]
        });
        let mut rng = Rng(77);
        let (mut moves, mut plans) = (0, 0);
        while w.rages(millis) {
            let d = domain(rng.below(doms as u64) as usize);
            match rng.below(8) {
                6 | 7 => {
                    plan(&w, &mut rng, pools, doms, sched != "null");
                    plans += 1;
                }
                0 => {
                    w.send(w.set.pause(d, w.now()).unwrap());
                    for _ in 0..rng.below(50) {
                        std::thread::yield_now();
                    }
                    w.send(w.set.unpause(d, w.now()).unwrap());
                }
                1 => {
                    let to = [None, Some(other), Some(PoolId::POOL0)][rng.below(3) as usize];
                    let cpu = CpuId(1 + rng.below(CPUS as u64 - 1) as u16);
                    finish(&w, || w.set.assign_cpu(cpu, to, w.now()));
                }
                2 if sched == "null" => {}
                2 => {
                    let v = VcpuId::new(rng.below(vcpus as u64) as u16, 0);
                    let mask = CpuSet::from_words([1 + rng.below((1 << CPUS) - 1), 0]);
                    let p = VcpuParams {
                        affinity: mask,
                        weight: 1 + rng.below(1000) as u32,
                        ..VcpuParams::DEFAULT
                    };
                    if let Ok(k) = w.set.adjust_vcpu(v, &p, w.now()) {
                        w.send(k);
                    }
                }
                3 => {
                    let g = groups[rng.below(groups.len() as u64) as usize];
                    finish(&w, || w.set.move_to_group(d, g, w.now()));
                }
                4 if sched != "rtds" => {
                    let cap = [0, 50, 120][rng.below(3) as usize];
                    w.send(
                        w.set
                            .adjust_domain(d, &DomainParams { cap }, w.now())
                            .unwrap(),
                    );
                }
                _ => {
                    moves += 1;
                    let to = pools[rng.below(2) as usize];
                    finish(&w, || w.set.move_domain(d, to, w.now()));
                }
            }
        }
        for c in 0..CPUS {
            finish(&w, || {
                w.set
                    .assign_cpu(CpuId(c as u16), Some(PoolId::POOL0), w.now())
            });
        }
        for d in 0..doms {
            finish(&w, || w.set.move_domain(domain(d), PoolId::POOL0, w.now()));
        }
        wakers.into_iter().for_each(|t| t.join().unwrap());
        let begun = Wall::now();
        while (0..vcpus).any(|v| w.pending(VcpuId::new(v as u16, 0))) {
            if begun.elapsed() > Duration::from_secs(120) {
                for v in 0..vcpus {
                    let id = VcpuId::new(v as u16, 0);
                    eprintln!(
                        "{v}: pending {} {:?}",
                        w.pending(id),
                        w.set.vcpu_info(id, w.now()).unwrap()
                    );
                }
                eprintln!(
                    "{:?} {:?}",
                    w.set.pool_info(pools[0]),
                    w.set.pool_info(other)
                );
                eprintln!("a wake-up was lost");
                std::process::abort();
            }
            std::thread::yield_now();
        }
        for d in 0..doms {
            w.send(w.set.kill(domain(d), w.now()).unwrap());
        }
        let begun = Wall::now();
        while (0..doms).any(|d| !w.set.quiescent(domain(d))) {
            assert!(
                begun.elapsed() < Duration::from_secs(120),
                "a dead domain keeps running"
            );
            std::thread::yield_now();
        }
        w.stop.store(true, Ordering::SeqCst);
        assert!(moves > 0 && plans > 0);
    });
    let end = w.now();
    for d in 0..doms {
        let i = w.set.domain_info(domain(d), end).unwrap();
        assert_eq!(i.times.missed, 0);
        assert!(i.times.ns.iter().map(|s| s.0).sum::<u64>() <= end.0);
        let _ = w.set.remove_domain(domain(d), end).unwrap();
    }
    w.set.check().unwrap();
    assert!(w.switches.load(Ordering::Relaxed) > 100);
}

#[test]
fn every_scheduler_survives_the_storm() {
    for row in registry::ROWS {
        storm(row.name, 1500, true);
        storm(row.name, 500, false);
    }
}
