//! The switch protocol under every interleaving of a few CPUs and an operator: the real code of `pools`, held at each point
//! where another CPU could come between, driven depth-first through all schedules with at most so many preemptions.
//!
//! An actor is a CPU (settle, reschedule, run the guest, sleep until a kick or its timer) or a script (interrupts, pauses,
//! moves). One actor runs at a time; where it stops, any that can go on may be next. In every schedule: no vCPU's registers
//! in two CPUs, no panic, every change ends, every interrupt is taken. `TARN_INTERLEAVE` = preemptions (default 1) and
//! `TARN_INTERLEAVE_RUNS` = schedules per model (default 600) reach further. Deliberate mistakes are noticed.

mod models;

use models::{Do, GROUPED, Guest, MODELS, Model, Part};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, Once};
use tarn_abi::{CpuId, CpuSet, DomainId, Instant, PoolId, VcpuId};
use tarn_pools::Status as ChangeStatus;
use tarn_pools::*;
use tarn_sim::rng::Rng;

const CPUS: usize = 3;
const VCPUS: usize = 3;
/// No schedule of these models needs so many steps.
const LONGEST: u64 = 4000;
/// How often a CPU's timer goes off in one schedule.
const TIMERS: u8 = 12;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Status {
    Ready,
    /// Waits for a kick or its timer.
    Sleeps,
    /// Goes on when somebody else has done something.
    Retries(u64),
    Done,
}

/// A place where several actors could go on.
struct Choice {
    enabled: Vec<usize>,
    chosen: usize,
    /// Whether each of `enabled` would be a preemption.
    costs: Vec<u8>,
    spent: u8,
}

struct Run {
    turn: usize,
    status: Vec<Status>,
    prefix: Vec<usize>,
    choices: Vec<Choice>,
    spent: u8,
    steps: u64,
    started: bool,
    over: bool,
    failure: Option<String>,
    kicked: [bool; CPUS],
    /// vCPUs whose interrupts have come to a CPU and not been looked at.
    raised: [Vec<usize>; CPUS],
    timer: [Option<u64>; CPUS],
    /// ns: goes on with every step, and to the time of a timer that goes off.
    clock: u64,
    fired: [u8; CPUS],
    holder: [Option<usize>; VCPUS],
    posted: [u32; VCPUS],
    taken: [u32; VCPUS],
}

struct World {
    set: PoolSet<Relax>,
    pools: Vec<PoolId>,
    group: Option<GroupId>,
    guests: &'static [Guest],
    run: Mutex<Run>,
    turn: Condvar,
}

/// Thrown through an actor when the schedule is over.
struct Over;

thread_local! {
    static ME: RefCell<Option<(Arc<World>, usize)>> = const { RefCell::new(None) };
}

struct Relax;
impl spin::RelaxStrategy for Relax {
    fn relax() {
        // The configuration lock is held by an actor that has stopped.
        here(|w, me| w.retry(me));
    }
}

fn here(f: impl FnOnce(&World, usize)) {
    let me = ME.with(|m| m.borrow().clone());
    if let Some((w, me)) = me {
        f(&w, me);
    }
}

impl Run {
    fn enabled(&self, i: usize) -> bool {
        match self.status[i] {
            Status::Ready => self.started || i < CPUS,
            Status::Sleeps => self.called(i) || self.ticks(i),
            Status::Retries(at) => self.steps > at,
            Status::Done => false,
        }
    }

    /// Something waits for the CPU `i` that ends its sleep.
    fn called(&self, i: usize) -> bool {
        self.kicked[i] || !self.raised[i].is_empty()
    }

    fn ticks(&self, i: usize) -> bool {
        self.started && self.timer[i].is_some() && self.fired[i] < TIMERS
    }

    /// Who goes on, `me` having stopped. `None`: nobody can.
    fn next(&mut self, me: usize) -> Option<usize> {
        let mut enabled: Vec<usize> = (0..self.status.len())
            .filter(|&i| self.enabled(i))
            .collect();
        if enabled.is_empty() && !self.started {
            self.started = true;
            enabled = (0..self.status.len())
                .filter(|&i| self.enabled(i))
                .collect();
        }
        let &first = enabled.first()?;
        let own = self.status[me] == Status::Ready && self.enabled(me);
        // Whom to take if there is no reason for another.
        let default = if own {
            me
        } else {
            // Who spins comes last but for timers, in turn: what it waits for may be held by one that was stopped.
            let calls = |&i: &usize| match self.status[i] {
                Status::Sleeps => self.called(i),
                status => status == Status::Ready,
            };
            let since = |&i: &usize| match self.status[i] {
                Status::Retries(at) => at,
                _ => u64::MAX,
            };
            let all = || enabled.iter().copied();
            let spins = |i: &usize| since(i) != u64::MAX;
            let next = all().find(calls);
            let next = next.or_else(|| all().filter(spins).min_by_key(since));
            next.unwrap_or(first)
        };
        let mut chosen = default;
        if self.started && enabled.len() > 1 {
            let cost = |&i: &usize| {
                let early = self.status[i] == Status::Sleeps && !self.called(i);
                u8::from(i != default && (own || early))
            };
            let costs: Vec<u8> = enabled.iter().map(cost).collect();
            if let Some(&c) = self.prefix.get(self.choices.len()) {
                chosen = c;
            }
            let at = enabled.iter().position(|&i| i == chosen)?;
            let spent = self.spent;
            self.spent += costs[at];
            self.choices.push(Choice {
                enabled,
                chosen,
                costs,
                spent,
            });
        }
        if self.status[chosen] == Status::Sleeps && !self.called(chosen) {
            self.fired[chosen] += 1;
            let due = self.timer[chosen].take().unwrap_or(0);
            self.clock = self.clock.max(due);
        }
        Some(chosen)
    }
}

impl World {
    fn with<T>(&self, f: impl FnOnce(&mut Run) -> T) -> T {
        f(&mut self.run.lock().unwrap())
    }

    fn now(&self) -> Instant {
        Instant(self.with(|r| r.clock))
    }

    /// `me` stops here with that status; comes back when it is its turn.
    fn stop(&self, me: usize, status: Status) {
        let mut r = self.run.lock().unwrap();
        if r.over {
            drop(r);
            resume_unwind(Box::new(Over));
        }
        r.status[me] = status;
        r.steps += 1;
        r.clock += 50_000;
        let too_long = r.steps > LONGEST;
        if too_long && r.failure.is_none() {
            r.failure = Some("it does not end".into());
        }
        match r.next(me) {
            Some(next) if !too_long => r.turn = next,
            _ => {
                r.over = true;
                r.turn = usize::MAX;
            }
        }
        self.turn.notify_all();
        while r.turn != me && !r.over {
            r = self.turn.wait(r).unwrap();
        }
        let over = r.over;
        if !over && status != Status::Done {
            r.status[me] = Status::Ready;
        }
        drop(r);
        if over {
            resume_unwind(Box::new(Over));
        }
    }

    fn point(&self, me: usize) {
        self.stop(me, Status::Ready);
    }

    fn retry(&self, me: usize) {
        let at = self.with(|r| r.steps) + 1;
        self.stop(me, Status::Retries(at));
    }

    fn send(&self, me: usize, k: Kick) {
        if !k.is_none() {
            self.point(me);
            self.with(|r| k.0.iter().for_each(|c| r.kicked[c.index()] = true));
        }
    }

    fn pending(&self, v: usize) -> bool {
        self.with(|r| r.posted[v] != r.taken[v])
    }

    fn cpu(&self, c: usize) {
        let mut m = Cpu { w: self, c };
        let id = CpuId(c as u16);
        let mut idle = self.set.cpu_online(id, self.now());
        let mut loaded = None;
        loop {
            if let Some(i) = idle.take() {
                let _ = self.set.settle(i, &mut m);
            }
            self.with(|r| r.kicked[c] = false);
            self.interrupts(c);
            match self
                .set
                .reschedule(id, loaded, GuestHint::default(), &mut m)
            {
                Running::Vcpu { id: v, .. } => {
                    loaded = Some(v);
                    self.guest(c, v);
                }
                Running::Idle(i) => {
                    loaded = None;
                    idle = Some(self.set.settle(i, &mut m));
                    self.stop(c, Status::Sleeps);
                }
                Running::Doze(v) => {
                    assert_eq!(loaded, Some(v), "it dozes with what is not loaded");
                    if self.dozes(c, v) {
                        self.guest(c, v);
                    }
                }
            }
        }
    }

    /// Interrupts that have come to `c` wake their vCPUs the general way.
    fn interrupts(&self, c: usize) {
        while let Some(i) = self.with(|r| r.raised[c].pop()) {
            self.wake(c, i);
        }
    }

    fn wake(&self, me: usize, i: usize) {
        let why = WakeReason::Interrupt { line: 32 };
        let k = match self.set.wake(VcpuId::new(i as u16, 0), why, self.now()) {
            Woken::Running(c) => Kick::one(c),
            Woken::Kick(k) => k,
        };
        self.send(me, k);
    }

    /// `v` sleeps on `c`, its registers still there. Whether an interrupt that came to `c` has woken it on the spot.
    fn dozes(&self, c: usize, v: VcpuId) -> bool {
        self.stop(c, Status::Sleeps);
        // A kick goes first: somebody wants this CPU looked at.
        if self.with(|r| r.kicked[c]) {
            return false;
        }
        while let Some(i) = self.with(|r| r.raised[c].pop()) {
            let why = WakeReason::Interrupt { line: 32 };
            if i == v.index() && self.set.rouse(CpuId(c as u16), v, why, self.now()) {
                return true;
            }
            self.wake(c, i);
        }
        false
    }

    fn guest(&self, c: usize, v: VcpuId) {
        let i = v.index();
        loop {
            let (holder, fresh) = self.with(|r| {
                let before = core::mem::replace(&mut r.taken[i], r.posted[i]);
                (r.holder[i], before != r.posted[i])
            });
            assert_eq!(holder, Some(c), "it runs what another CPU holds");
            if self.with(|r| r.called(c)) {
                return;
            }
            if self.guests[i] == Guest::Hog {
                self.stop(c, Status::Sleeps);
                self.with(|r| r.taken[i] = r.posted[i]);
                return;
            }
            if fresh && self.guests[i] == Guest::Yielder {
                self.set.yield_now(v, self.now());
                return;
            }
            let id = CpuId(c as u16);
            match self.set.block_here(id, v, self.now(), || self.pending(i)) {
                Block::Slept => return,
                Block::Pending => {}
                Block::Dozes if self.dozes(c, v) => {}
                Block::Dozes => return,
            }
        }
    }

    fn script(&self, me: usize, list: &[Do]) {
        for d in list {
            self.point(me);
            self.act(me, *d);
        }
        // Its thread ends; another goes on.
        self.stop(me, Status::Done);
    }

    fn act(&self, me: usize, d: Do) {
        let now = self.now();
        let dom = |d: usize| DomainId::new(1 + d as u16, 0);
        let v = |v: usize| VcpuId::new(v as u16, 0);
        match d {
            Do::Interrupt(i) => {
                self.with(|r| r.posted[i] += 1);
                self.wake(me, i);
            }
            Do::Raise(i, c) => self.with(|r| {
                r.posted[i] += 1;
                r.raised[usize::from(c)].push(i);
            }),
            Do::Plan(parts) => self.plan(me, parts),
            Do::Pause(d) => self.send(me, self.set.pause(dom(d), now).unwrap()),
            Do::Unpause(d) => self.send(me, self.set.unpause(dom(d), now).unwrap()),
            Do::Affinity(i, mask) => {
                let p = VcpuParams {
                    affinity: CpuSet::from_words([mask, 0]),
                    ..VcpuParams::DEFAULT
                };
                match self.set.adjust_vcpu(v(i), &p, now) {
                    Ok(k) => self.send(me, k),
                    Err(PoolError::InFlight) => {}
                    Err(e) => panic!("{e}"),
                }
            }
            Do::Cap(d, cap) => {
                let k = self.set.adjust_domain(dom(d), &DomainParams { cap }, now);
                self.send(me, k.unwrap());
            }
            Do::Move(d, to) => {
                self.finish(me, |now| self.set.move_domain(dom(d), self.pools[to], now));
            }
            Do::Cpu(c, to) => {
                let to = to.map(|p| self.pools[p]);
                self.finish(me, |now| self.set.assign_cpu(CpuId(c), to, now));
            }
            Do::Group(d, inside) => {
                let g = self.group.filter(|_| inside);
                self.finish(me, |now| self.set.move_to_group(dom(d), g, now));
            }
        }
    }

    /// Several changes as one. Refused because another is under way, nothing has changed.
    fn plan(&self, me: usize, parts: &[Part]) {
        let mut p = Plan::new();
        for part in parts {
            let at = |to: usize| Target::Id(self.pools[to]);
            let step = match *part {
                Part::Cpu(c, to) => Step::Cpus(to.map(at), CpuSet::one(CpuId(c))),
                Part::Move(d, to) => Step::MoveDomain(DomainId::new(1 + d as u16, 0), at(to)),
            };
            p.add(step).unwrap();
        }
        let (kick, begun) = self.set.begin(&p, self.now());
        self.send(me, kick);
        if begun.is_err() {
            return;
        }
        while let ChangeStatus::Pending(k) = self.set.status(self.now()) {
            self.send(me, k);
            self.retry(me);
        }
    }

    fn finish(&self, me: usize, mut step: impl FnMut(Instant) -> Progress) {
        loop {
            match step(self.now()) {
                Progress::Done(k) => return self.send(me, k),
                Progress::Again(k) => self.send(me, k),
                // Another script is in the way; or it may not be done at this moment, and nothing has changed.
                Progress::Refused(_) => return,
            }
            self.retry(me);
        }
    }
}

struct Cpu<'a> {
    w: &'a World,
    c: usize,
}

impl Clock for Cpu<'_> {
    fn now(&self) -> Instant {
        self.w.now()
    }
    fn arm(&mut self, at: Option<Instant>) {
        self.w.with(|r| r.timer[self.c] = at.map(|t| t.0));
    }
}

impl Machine for Cpu<'_> {
    fn save(&mut self, v: VcpuId) {
        self.w.point(self.c);
        let was = self.w.with(|r| r.holder[v.index()].take());
        assert_eq!(was, Some(self.c), "it saves what it does not hold");
    }
    fn load(&mut self, v: VcpuId) {
        self.w.point(self.c);
        let was = self.w.with(|r| r.holder[v.index()].replace(self.c));
        assert_eq!(was, None, "it loads what another CPU holds");
    }
    fn kick(&mut self, k: Kick) {
        self.w.send(self.c, k);
    }
}

fn build(m: &Model, sched: &str, prefix: Vec<usize>) -> World {
    let set = PoolSet::new();
    let now = Instant(0);
    let config = |name| PoolConfig {
        sched: sched_by_name(sched).unwrap(),
        ..PoolConfig::new(name)
    };
    let cpus: usize = m.pools.iter().map(|p| p.len()).sum();
    set.init(CpuSet::first(cpus), &config("Pool-0"), now)
        .unwrap();
    let mut pools = vec![PoolId::POOL0];
    for (name, list) in ["one", "two"].into_iter().zip(&m.pools[1..]) {
        let id = set.create(&config(name), now).unwrap();
        for &c in *list {
            assert!(matches!(
                set.assign_cpu(CpuId(c), Some(id), now),
                Progress::Done(_)
            ));
        }
        pools.push(id);
    }
    let group = m.group.then(|| {
        let c = GroupConfig {
            vps: 2,
            sched: sched_by_name(sched).unwrap(),
            ..GroupConfig::new("group")
        };
        set.create_group(PoolId::POOL0, &c, now).unwrap()
    });
    let rt = RtParams {
        budget: tarn_abi::Span::ms(2),
        ..RtParams::DEFAULT
    };
    for v in 0..m.guests.len() as u16 {
        let own = VcpuParams {
            rt,
            ..VcpuParams::DEFAULT
        };
        let list = [(VcpuId::new(v, 0), own)];
        let (d, params) = (DomainId::new(1 + v, 0), DomainParams::default());
        let added = set.add_domain(d, PoolId::POOL0, &params, &list, now);
        let _ = added.unwrap();
        let _ = set.online(VcpuId::new(v, 0), now).unwrap();
    }
    let mut status = vec![Status::Done; CPUS];
    status[..cpus].fill(Status::Ready);
    status.extend(m.scripts.iter().map(|_| Status::Ready));
    World {
        set,
        pools,
        group,
        guests: m.guests,
        run: Mutex::new(Run {
            turn: 0,
            status,
            prefix,
            choices: Vec::new(),
            spent: 0,
            steps: 0,
            started: false,
            over: false,
            failure: None,
            kicked: [false; CPUS],
            raised: Default::default(),
            timer: [None; CPUS],
            clock: 0,
            fired: [0; CPUS],
            holder: [None; VCPUS],
            posted: [0; VCPUS],
            taken: [0; VCPUS],
        }),
        turn: Condvar::new(),
    }
}

fn actor(w: &Arc<World>, me: usize, script: Option<&[Do]>) {
    ME.with(|m| *m.borrow_mut() = Some((w.clone(), me)));
    let ended = catch_unwind(AssertUnwindSafe(|| {
        {
            let mut r = w.run.lock().unwrap();
            while r.turn != me && !r.over {
                r = w.turn.wait(r).unwrap();
            }
            if r.over {
                return;
            }
        }
        match script {
            Some(list) => w.script(me, list),
            None => w.cpu(me),
        }
    }));
    ME.with(|m| *m.borrow_mut() = None);
    if let Err(e) = ended
        && !e.is::<Over>()
    {
        let text = e
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| e.downcast_ref::<&str>().map(|s| s.to_string()))
            .unwrap_or_default();
        let mut r = match w.run.lock() {
            Ok(r) => r,
            Err(poisoned) => poisoned.into_inner(),
        };
        r.failure.get_or_insert(text);
        r.over = true;
        drop(r);
        w.turn.notify_all();
    }
}

/// One schedule. Its choices, and what went wrong.
fn once(m: &Model, sched: &str, prefix: Vec<usize>) -> (Vec<Choice>, Option<String>) {
    let w = Arc::new(build(m, sched, prefix));
    std::thread::scope(|s| {
        let cpus: usize = m.pools.iter().map(|p| p.len()).sum();
        for c in 0..cpus {
            let w = &w;
            s.spawn(move || actor(w, c, None));
        }
        for (i, list) in m.scripts.iter().enumerate() {
            let w = &w;
            s.spawn(move || actor(w, CPUS + i, Some(list)));
        }
    });
    let mut r = match w.run.lock() {
        Ok(r) => r,
        Err(poisoned) => poisoned.into_inner(),
    };
    let mut failure = r.failure.take();
    if failure.is_none() {
        if r.status[CPUS..].iter().any(|s| *s != Status::Done) {
            failure = Some("a change never ends".into());
        } else if r.posted != r.taken {
            failure = Some(format!("lost: posted {:?}, taken {:?}", r.posted, r.taken));
        } else if let Err(e) = w.set.check() {
            failure = Some(e.into());
        }
    }
    (core::mem::take(&mut r.choices), failure)
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(default)
}

/// Runs schedules until all are done or as many as wanted. How many, or what is wrong with one.
fn explore(m: &Model, sched: &str) -> Result<usize, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| install_step(|| here(|w, me| w.point(me))));
    let bound = number("TARN_INTERLEAVE", 1) as u8;
    let limit = number("TARN_INTERLEAVE_RUNS", 600);
    let mut open: Vec<Vec<usize>> = vec![Vec::new()];
    let mut done = 0;
    let mut rng = Rng::stream(1, 2, 3);
    while !open.is_empty() {
        // If there are too many for all, those done are to lie everywhere.
        let prefix = open.swap_remove(rng.below(open.len() as u64) as usize);
        let depth = prefix.len();
        let (choices, failure) = once(m, sched, prefix);
        done += 1;
        if let Some(why) = failure {
            let path: Vec<usize> = choices.iter().map(|c| c.chosen).collect();
            let path = &path[..path.len().min(200)];
            return Err(format!("{} with {sched}: {why}\nafter {path:?}", m.name));
        }
        if done >= limit {
            break;
        }
        for (i, c) in choices.iter().enumerate().skip(depth) {
            for (&other, cost) in c.enabled.iter().zip(&c.costs) {
                if other != c.chosen && c.spent + cost <= bound {
                    let mut p: Vec<usize> = choices[..i].iter().map(|c| c.chosen).collect();
                    p.push(other);
                    open.push(p);
                }
            }
        }
    }
    println!(
        "{:<28} {sched:<8} {done:>6} schedules{}",
        m.name,
        if open.is_empty() {
            ", all there are"
        } else {
            ""
        }
    );
    Ok(done)
}

fn all_of(chosen: impl Fn(&Model) -> bool) -> Result<usize, String> {
    let mut schedules = 0;
    for m in MODELS.iter().filter(|m| chosen(m)) {
        for sched in ["credit2", "rr"] {
            schedules += explore(m, sched)?;
        }
    }
    Ok(schedules)
}

fn all() -> Result<usize, String> {
    let mut schedules = all_of(|_| true)?;
    for m in GROUPED {
        schedules += explore(m, "credit2")?;
    }
    // One vCPU a CPU: what null is for; and budgets.
    schedules += explore(&MODELS[0], "null")?;
    schedules += explore(&MODELS[0], "rtds")?;
    schedules += explore(&MODELS[3], "rtds")?;
    Ok(schedules)
}

#[test]
fn every_interleaving_of_the_small_models() {
    let schedules = all().unwrap_or_else(|e| panic!("{e}"));
    assert!(schedules > 1000);
    // The mistakes are the process's: in the same test, one after the other.
    std::panic::set_hook(Box::new(|_| {}));
    for f in Fault::ALL {
        Fault::activate(Some(f));
        let found = all_of(|m| m.name == models::shown_by(f));
        Fault::activate(None);
        match found {
            Err(e) => println!("{f:?}: {}", e.lines().next().unwrap_or_default()),
            Ok(n) => {
                let _ = std::panic::take_hook();
                panic!("{f:?} is not noticed in {n} schedules");
            }
        }
    }
    let _ = std::panic::take_hook();
}
