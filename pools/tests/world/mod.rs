//! A small machine for tests of live control: CPUs that come by one at a time in an order a seed decides, guests that
//! sleep and wake, and what must hold after every step.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use tarn_abi::call::report::Report;
use tarn_abi::{CpuId, CpuSet, DomainId, Instant, PoolId, Span, VcpuId};
use tarn_pools::*;

pub type Set = PoolSet<spin::relax::Spin>;

/// xorshift64*.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A CPU: what it holds, whether somebody called it, when its timer fires.
#[derive(Default)]
pub struct Cpu {
    pub loaded: Option<VcpuId>,
    pub running: bool,
    pub idle: Option<IdleCpu>,
    pub timer: Option<Instant>,
}

/// What a CPU does to itself.
struct Hands<'a> {
    cpu: CpuId,
    now: Instant,
    timer: Option<Instant>,
    kicks: CpuSet,
    holder: &'a mut BTreeMap<VcpuId, CpuId>,
}

impl Clock for Hands<'_> {
    fn now(&self) -> Instant {
        self.now
    }
    fn arm(&mut self, at: Option<Instant>) {
        self.timer = at;
    }
}

impl Machine for Hands<'_> {
    fn save(&mut self, v: VcpuId) {
        assert_eq!(
            self.holder.remove(&v),
            Some(self.cpu),
            "saved what it did not hold"
        );
    }
    fn load(&mut self, v: VcpuId) {
        let was = self.holder.insert(v, self.cpu);
        assert_eq!(was, None, "{v:?} is on two CPUs");
    }
    fn kick(&mut self, k: Kick) {
        self.kicks = self.kicks.union(&k.0);
    }
}

pub struct World {
    pub set: Box<Set>,
    pub cpus: Vec<Cpu>,
    pub kicked: CpuSet,
    pub now: Instant,
    pub holder: BTreeMap<VcpuId, CpuId>,
    /// Domains, with how many vCPUs each has.
    pub domains: Vec<(DomainId, u16)>,
    /// Kicks that get lost, counted down: 1 = the next.
    pub lose_kick: u64,
    pub kicks: u64,
    /// The timer that fails, counted down (1 = the next that is set), and how.
    pub fail_timer: Option<(u64, TimerFault)>,
    pub timers: u64,
}

/// What can be wrong with a CPU's timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimerFault {
    /// It is never heard of.
    Lost,
    /// It comes 20 ms late.
    Late,
    /// It comes at once.
    Early,
}

pub const fn vcpu(domain: DomainId, i: u16) -> VcpuId {
    VcpuId::new(domain.slot * 4 + i, domain.generation)
}

pub fn sched(name: &str) -> tarn_abi::SchedId {
    sched_by_name(name).unwrap()
}

/// Steps that make two pools, `one` and `two`, with these schedulers and CPUs.
pub fn two_pools(scheds: [&str; 2], cpus: [&str; 2]) -> [Step; 4] {
    let create = |name, kind| Step::CreatePool {
        name: Name::new(name).unwrap(),
        sched: sched(kind),
    };
    let give = |pool, list| Step::Cpus(Some(Target::Step(pool)), CpuSet::parse(list).unwrap());
    [
        create("one", scheds[0]),
        create("two", scheds[1]),
        give(0, cpus[0]),
        give(1, cpus[1]),
    ]
}

impl World {
    pub fn new(cpus: usize, name: &str) -> World {
        let set = Box::new(Set::new());
        let config = PoolConfig {
            sched: sched(name),
            ..PoolConfig::new("Pool-0")
        };
        set.init(CpuSet::first(cpus), &config, Instant(0)).unwrap();
        let mut w = World {
            set,
            cpus: Vec::new(),
            kicked: CpuSet::EMPTY,
            now: Instant(1),
            holder: BTreeMap::new(),
            domains: Vec::new(),
            lose_kick: 0,
            kicks: 0,
            fail_timer: None,
            timers: 0,
        };
        for i in 0..cpus {
            let idle = w.set.cpu_online(CpuId(i as u16), w.now).unwrap();
            w.cpus.push(Cpu {
                idle: Some(idle),
                ..Cpu::default()
            });
            w.come_by(CpuId(i as u16));
        }
        w.settle();
        w
    }

    pub fn send(&mut self, k: Kick) {
        for c in k.0.iter() {
            self.kicks += 1;
            if self.lose_kick > 0 {
                self.lose_kick -= 1;
                if self.lose_kick == 0 {
                    continue;
                }
            }
            self.kicked.insert(c);
        }
    }

    /// One CPU looks: settles if it is idle, asks the pool, takes on what it is given.
    pub fn come_by(&mut self, cpu: CpuId) {
        self.kicked.remove(cpu);
        self.now.0 += 100;
        let me = &mut self.cpus[cpu.index()];
        let mut hands = Hands {
            cpu,
            now: self.now,
            timer: None,
            kicks: CpuSet::EMPTY,
            holder: &mut self.holder,
        };
        me.idle = None;
        match self
            .set
            .reschedule(cpu, me.loaded, GuestHint::default(), &mut hands)
        {
            Running::Vcpu { id: v, .. } => (me.loaded, me.running) = (Some(v), true),
            Running::Doze(v) => (me.loaded, me.running) = (Some(v), false),
            Running::Idle(idle) => {
                (me.loaded, me.running) = (None, false);
                me.idle = Some(self.set.settle(idle, &mut hands));
            }
        }
        me.timer = hands.timer;
        if let Some(at) = hands.timer {
            self.timers += 1;
            if let Some((n, fault)) = &mut self.fail_timer {
                *n = n.saturating_sub(1);
                if *n == 0 {
                    me.timer = match fault {
                        TimerFault::Lost => None,
                        TimerFault::Late => Some(Instant(at.0 + 20_000_000)),
                        TimerFault::Early => Some(self.now),
                    };
                    self.fail_timer = None;
                }
            }
        }
        let kicks = Kick(hands.kicks);
        self.send(kicks);
    }

    /// Until nobody is called any more. Bounded: a livelock is a bug.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            match self.kicked.lowest() {
                Some(c) => self.come_by(c),
                None => return,
            }
        }
        panic!("CPUs call each other for ever");
    }

    /// Time goes on to the next thing that happens without any guest's help: a call, or the earliest timer. False: there is
    /// none before `end`.
    pub fn next_event(&mut self, end: Instant) -> bool {
        if let Some(c) = self.kicked.lowest() {
            self.come_by(c);
            return true;
        }
        let armed = self.cpus.iter().enumerate();
        let first = armed.filter_map(|(i, c)| Some((c.timer?, i))).min();
        let Some((at, i)) = first.filter(|f| f.0 <= end) else {
            self.now = self.now.max(end);
            return false;
        };
        self.now = self.now.max(at);
        self.cpus[i].timer = None;
        self.come_by(CpuId(i as u16));
        true
    }

    /// Guests that never sleep, with nothing but time passing: each vCPU runs within `limit`. dom0 makes a call now and
    /// then if `calls`.
    pub fn everybody_runs(&mut self, limit: Span, calls: bool) -> Result<(), String> {
        let all: usize = self.domains.iter().map(|d| usize::from(d.1)).sum();
        let mut ran = std::collections::BTreeSet::new();
        let end = self.now + limit;
        while self.now < end {
            let call = (self.now + Span::ms(10)).min(end);
            loop {
                let running = self.cpus.iter().filter(|c| c.running);
                ran.extend(running.filter_map(|c| c.loaded));
                if ran.len() == all {
                    return Ok(());
                }
                if !self.next_event(call) {
                    break;
                }
            }
            if calls {
                let k = self.set.overdue(self.now);
                self.send(k);
            }
        }
        let never = self
            .domains
            .iter()
            .flat_map(|(d, n)| (0..*n).map(|i| vcpu(*d, i)));
        Err(format!(
            "{:?} never ran",
            never.filter(|v| !ran.contains(v)).collect::<Vec<_>>()
        ))
    }

    /// One called CPU, or one whose timer is due, by the dice.
    pub fn step(&mut self, rng: &mut Rng) {
        let called: Vec<CpuId> = self.kicked.iter().collect();
        if !called.is_empty() {
            let c = called[rng.below(called.len() as u64) as usize];
            self.come_by(c);
            return;
        }
        let due: Vec<usize> = (0..self.cpus.len())
            .filter(|i| self.cpus[*i].timer.is_some())
            .collect();
        if !due.is_empty() {
            let i = due[rng.below(due.len() as u64) as usize];
            if let Some(t) = self.cpus[i].timer {
                self.now = self.now.max(t);
                self.come_by(CpuId(i as u16));
            }
        }
    }

    pub fn add(&mut self, slot: u16, vcpus: u16, pool: PoolId) -> DomainId {
        let d = DomainId::new(slot, 0);
        let list: Vec<_> = (0..vcpus)
            .map(|i| (vcpu(d, i), VcpuParams::DEFAULT))
            .collect();
        let k = self
            .set
            .add_domain(d, pool, &DomainParams::default(), &list, self.now)
            .unwrap();
        self.send(k);
        for i in 0..vcpus {
            let k = self.set.online(vcpu(d, i), self.now).unwrap();
            self.send(k);
        }
        self.domains.push((d, vcpus));
        d
    }

    /// A running vCPU goes to sleep.
    pub fn sleep_one(&mut self, rng: &mut Rng) {
        let busy: Vec<usize> = (0..self.cpus.len())
            .filter(|i| self.cpus[*i].running)
            .collect();
        if busy.is_empty() {
            return;
        }
        let i = busy[rng.below(busy.len() as u64) as usize];
        if let Some(v) = self.cpus[i].loaded
            && self.set.block(v, self.now, || false) == Block::Slept
        {
            self.cpus[i].running = false;
            self.kicked.insert(CpuId(i as u16));
        }
    }

    pub fn wake_one(&mut self, rng: &mut Rng) {
        if self.domains.is_empty() {
            return;
        }
        let (d, n) = self.domains[rng.below(self.domains.len() as u64) as usize];
        let v = vcpu(d, rng.below(n.into()) as u16);
        match self.set.wake(v, WakeReason::Timer, self.now) {
            Woken::Running(c) => self.kicked.insert(c),
            Woken::Kick(k) => self.send(k),
        }
    }

    /// A dry run.
    pub fn foresee(&mut self, plan: &Plan) -> Result<Preview, Refusal> {
        let (kick, seen) = self.set.preview(plan, self.now);
        self.send(kick);
        seen
    }

    /// Carries a plan out, CPUs coming by in between.
    pub fn carry_out(&mut self, plan: &Plan) -> Result<Report, Refusal> {
        let (kick, begun) = self.set.begin(plan, self.now);
        self.send(kick);
        begun?;
        self.finish().map_err(|error| Refusal {
            step: u32::MAX,
            error,
        })
    }

    /// The change under way to its end.
    pub fn finish(&mut self) -> Result<Report, PoolError> {
        for _ in 0..1_000 {
            self.settle();
            match self.set.status(self.now) {
                Status::None => {
                    self.settle();
                    return self.set.outcome().expect("a change has an outcome");
                }
                Status::Pending(k) => {
                    // Nobody has to be called (again) now: time goes by.
                    if k.is_none() {
                        self.now = self.now + Span::us(250);
                    }
                    self.send(k);
                }
            }
        }
        panic!("the change does not end");
    }

    pub fn pool(&self, name: &str) -> PoolId {
        self.set.find_pool(name).unwrap()
    }

    /// What an operator sees: pools with CPUs, schedulers and domains, and each domain's parameters.
    pub fn picture(&self) -> String {
        let mut out = String::new();
        let mut n = 0;
        while let Some(id) = self.set.pool_at(n) {
            n += 1;
            let i = self.set.pool_info(id).unwrap();
            let mut domains: Vec<_> = (0..).map_while(|n| self.set.domain_at(id, n)).collect();
            domains.sort();
            out += &format!(
                "{} {} {} {:?} {:?}\n",
                i.name,
                i.cpus,
                i.sched_name,
                self.set.pool_params(id).unwrap().sched,
                domains
            );
        }
        for (d, n) in &self.domains {
            for i in 0..*n {
                let v = self.set.vcpu_info(vcpu(*d, i), self.now).unwrap();
                out += &format!("{:?} {:?} {:?}\n", vcpu(*d, i), v.params, v.group);
            }
            let info = self.set.domain_info(*d, self.now).unwrap();
            out += &format!("{d:?} {:?} moving {}\n", info.params, info.moving);
        }
        out + &format!("free {}", self.set.free_cpus())
    }

    /// What must hold at every moment.
    pub fn check(&self) {
        self.set.check().unwrap();
        let mut seen = CpuSet::EMPTY;
        let mut n = 0;
        while let Some(id) = self.set.pool_at(n) {
            n += 1;
            let cpus = self.set.pool_info(id).unwrap().cpus;
            assert!(seen.intersection(&cpus).is_empty(), "a CPU is in two pools");
            seen = seen.union(&cpus);
        }
        for (v, cpu) in &self.holder {
            let i = self.set.vcpu_info(*v, self.now).unwrap();
            assert_eq!(i.cpu, Some(*cpu), "{v:?}");
            let home = self.set.cpu_info(*cpu, self.now).unwrap().pool;
            assert_eq!(home, Some(i.pool), "{v:?} is on a CPU of another pool");
        }
    }

    /// Everything that is due by now has happened, and for a while nothing else is; false if that does not come about.
    fn rests(&mut self) -> bool {
        let soon = 200 * self.cpus.len() as u64;
        for _ in 0..1_000 {
            self.settle();
            let end = Instant(self.now.0 + soon);
            if self.cpus.iter().all(|c| c.timer.is_none_or(|t| t > end)) {
                return true;
            }
            self.next_event(end);
        }
        false
    }

    /// Whether who runs on `cpu` changes at known moments only: where it goes by deadlines, and nobody has a cap.
    fn by_deadline(&self, cpu: CpuId) -> bool {
        let pool = self.set.cpu_info(cpu, self.now).unwrap().pool;
        let capped = |d: &(DomainId, u16)| {
            let info = self.set.domain_info(d.0, self.now);
            info.is_ok_and(|i| i.params.cap != 0)
        };
        if self.domains.iter().any(capped) {
            return false;
        }
        let rtds = |g| self.set.group_info(pool?, g).ok().map(|i| i.sched_name);
        pool.is_some_and(|p| {
            let groups = (0..).map_while(|n| self.set.group_at(p, n));
            self.set.pool_info(p).unwrap().sched_name == "rtds"
                && groups.map(rtds).all(|name| name == Some("rtds"))
        })
    }

    /// Nobody needs to be asked twice: with every call delivered, a CPU that comes by uncalled finds nothing to run that
    /// it did not find before, neither at once nor at any moment before the first of the timers that are set.
    pub fn check_nobody_is_forgotten(&mut self, rng: &mut Rng) -> Result<(), String> {
        if !self.rests() {
            return Ok(());
        }
        // One or the other: a CPU that is asked now looks ahead again, too.
        let later = rng.chance(70);
        if later {
            let first = self.cpus.iter().filter_map(|c| c.timer).min();
            let room = first.map_or(1_000_000_000, |t| t.since(self.now).0);
            // Who should have run by then waits still: the later the better, as a rule.
            let most = room.saturating_sub(200 * self.cpus.len() as u64);
            self.now.0 += if rng.chance(75) {
                most
            } else {
                rng.below(most)
            };
        }
        let first = rng.below(self.cpus.len() as u64) as usize;
        for i in 0..self.cpus.len() {
            let i = (first + i) % self.cpus.len();
            let cpu = CpuId(i as u16);
            let (was, busy) = (self.cpus[i].loaded, self.cpus[i].running);
            if busy && !self.by_deadline(cpu) {
                continue;
            }
            self.come_by(cpu);
            let is = &self.cpus[i];
            if is.running != busy || (busy && is.loaded != was) {
                let (now, v) = (self.now, is.loaded);
                return Err(format!(
                    "at {now:?} {cpu:?}, which nobody has called, goes from {was:?} to {v:?}, later {later}"
                ));
            }
        }
        self.settle();
        Ok(())
    }

    /// When nothing is called and nothing changes: nobody waits while a CPU of its pool is idle, and every guest can
    /// still run.
    pub fn check_at_rest(&mut self) {
        self.settle();
        self.check();
        for (d, n) in self.domains.clone() {
            let info = self.set.domain_info(d, self.now).unwrap();
            assert!(!info.moving, "{d:?} still moves");
            let cpus = self.set.pool_info(info.pool).unwrap().cpus;
            assert!(!cpus.is_empty(), "{d:?} has no CPU");
            for i in 0..n {
                let v = vcpu(d, i);
                match self.set.wake(v, WakeReason::Timer, self.now) {
                    Woken::Running(c) => self.kicked.insert(c),
                    Woken::Kick(k) => self.send(k),
                }
            }
        }
        self.settle();
        let mut ran = std::collections::BTreeSet::new();
        let mut rng = Rng(7);
        for _ in 0..4_000 {
            ran.extend(
                self.cpus
                    .iter()
                    .filter(|c| c.running)
                    .filter_map(|c| c.loaded),
            );
            if ran.len() == self.domains.iter().map(|d| usize::from(d.1)).sum() {
                break;
            }
            // Time passes on a CPU that is busy: its timer, or it sleeps so that another may.
            if rng.chance(50) {
                self.sleep_one(&mut rng);
            }
            self.step(&mut rng);
        }
        for (d, n) in &self.domains {
            for i in 0..*n {
                assert!(ran.contains(&vcpu(*d, i)), "{:?} never ran", vcpu(*d, i));
            }
        }
    }
}
