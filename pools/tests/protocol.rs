//! The switch protocol by hand, one CPU after the other, and the rules of pools, domains and run states.
//!
//! Interleavings of real threads are in `stress.rs`.

use tarn_abi::{CpuId, CpuSet, DomainId, Instant, PoolId, Span, VcpuId};
use tarn_pools::*;

type Set = PoolSet<spin::relax::Spin>;

const C0: CpuId = CpuId(0);
const C1: CpuId = CpuId(1);
const D1: DomainId = DomainId::new(1, 0);
const HINT: GuestHint = GuestHint {
    irqs_masked: false,
    dont_desched: false,
    enlightened: false,
    must_idle: false,
};

/// A CPU that remembers what was asked of it.
#[derive(Default)]
struct Fake {
    now: u64,
    armed: Option<Instant>,
    log: Vec<String>,
    kicked: CpuSet,
}

impl Clock for Fake {
    fn now(&self) -> Instant {
        Instant(self.now)
    }
    fn arm(&mut self, at: Option<Instant>) {
        self.armed = at;
    }
}

impl Machine for Fake {
    fn save(&mut self, v: VcpuId) {
        self.log.push(format!("save {}", v.slot));
    }
    fn load(&mut self, v: VcpuId) {
        self.log.push(format!("load {}", v.slot));
    }
    fn kick(&mut self, k: Kick) {
        self.kicked = self.kicked.union(&k.0);
    }
}

const fn v(n: u16) -> VcpuId {
    VcpuId::new(n, 0)
}

fn pools(cpus: usize) -> (Box<Set>, Vec<Fake>) {
    let set = Box::new(Set::new());
    let rr = PoolConfig {
        sched: sched_by_name("rr").unwrap(),
        ..PoolConfig::new("Pool-0")
    };
    set.init(CpuSet::first(cpus), &rr, Instant(0)).unwrap();
    let mut fakes = Vec::new();
    for i in 0..cpus {
        let mut m = Fake::default();
        let idle = set.cpu_online(CpuId(i as u16), Instant(0)).unwrap();
        let _ = set.settle(idle, &mut m);
        assert!(matches!(
            set.reschedule(CpuId(i as u16), None, HINT, &mut m),
            Running::Idle(_)
        ));
        fakes.push(m);
    }
    (set, fakes)
}

fn add(set: &Set, d: DomainId, vcpus: std::ops::Range<u16>) {
    let list: Vec<_> = vcpus.map(|n| (v(n), VcpuParams::DEFAULT)).collect();
    let _ = set
        .add_domain(
            d,
            PoolId::POOL0,
            &DomainParams::default(),
            &list,
            Instant(0),
        )
        .unwrap();
}

fn run(set: &Set, cpu: CpuId, loaded: Option<VcpuId>, m: &mut Fake, now: u64) -> Option<VcpuId> {
    m.now = now;
    match set.reschedule(cpu, loaded, HINT, m) {
        Running::Vcpu { id: v, .. } => Some(v),
        Running::Idle(_) => None,
        Running::Doze(v) => panic!("dozes with {v:?}"),
    }
}

#[test]
fn a_vcpu_comes_on_runs_sleeps_dozes_and_wakes_without_a_switch() {
    let (set, mut m) = pools(1);
    add(&set, D1, 0..1);
    assert_eq!(set.power(v(0)), Some(Power::Off));
    assert_eq!(set.online(v(0), Instant(10)), Ok(Kick::one(C0)));
    assert_eq!(set.online(v(0), Instant(10)), Err(PoolError::AlreadyOn));
    assert_eq!(run(&set, C0, None, &mut m[0], 20), Some(v(0)));
    assert_eq!(m[0].log, ["load 0"]);
    assert_eq!(set.runs_on(v(0)), Some(C0));
    assert_eq!(
        set.block(v(0), Instant(30), || panic!("nobody woke it")),
        Block::Slept
    );
    m[0].now = 31;
    assert!(
        matches!(set.reschedule(C0, Some(v(0)), HINT, &mut m[0]), Running::Doze(x) if x == v(0))
    );
    assert!(!set.quiescent(D1), "its registers are in the CPU");
    assert_eq!(
        set.wake(v(0), WakeReason::Timer, Instant(40)),
        Woken::Kick(Kick::one(C0))
    );
    assert_eq!(run(&set, C0, Some(v(0)), &mut m[0], 41), Some(v(0)));
    assert_eq!(m[0].log, ["load 0"], "no save, no load");
    let t = set.vcpu_info(v(0), Instant(50)).unwrap().times;
    assert_eq!(t.ns.map(|s| s.0), [10 + 9, 10 + 1, 10, 0, 10]);
    assert_eq!(set.cpu_info(C0, Instant(50)).unwrap().idle, Span(20 + 10));
}

#[test]
fn without_doze_it_is_saved() {
    let (set, mut m) = pools(1);
    set.set_doze(false);
    add(&set, D1, 0..1);
    let _ = set.online(v(0), Instant(1)).unwrap();
    assert_eq!(run(&set, C0, None, &mut m[0], 2), Some(v(0)));
    assert_eq!(set.block(v(0), Instant(3), || true), Block::Slept);
    assert_eq!(run(&set, C0, Some(v(0)), &mut m[0], 4), None);
    assert_eq!(m[0].log, ["load 0", "save 0"]);
    assert!(set.quiescent(D1));
}

#[test]
fn a_wake_while_running_is_seen_by_block() {
    let (set, mut m) = pools(1);
    add(&set, D1, 0..1);
    let _ = set.online(v(0), Instant(0)).unwrap();
    assert_eq!(run(&set, C0, None, &mut m[0], 0), Some(v(0)));
    assert_eq!(
        set.wake(v(0), WakeReason::Interrupt { line: 40 }, Instant(1)),
        Woken::Running(C0)
    );
    assert_eq!(set.block(v(0), Instant(2), || true), Block::Pending);
    assert_eq!(
        set.wake(v(0), WakeReason::Interrupt { line: 40 }, Instant(3)),
        Woken::Running(C0)
    );
    assert_eq!(
        set.block(v(0), Instant(4), || false),
        Block::Slept,
        "the guest has taken it already"
    );
    // Woken after it fell asleep and before its CPU came by.
    assert_eq!(
        set.wake(v(0), WakeReason::Timer, Instant(5)),
        Woken::Kick(Kick::one(C0))
    );
    assert_eq!(run(&set, C0, Some(v(0)), &mut m[0], 6), Some(v(0)));
}

#[test]
fn pause_is_counted_and_remembers_a_wake() {
    let (set, mut m) = pools(1);
    add(&set, D1, 0..1);
    let _ = set.online(v(0), Instant(0)).unwrap();
    assert_eq!(run(&set, C0, None, &mut m[0], 0), Some(v(0)));
    assert_eq!(set.block(v(0), Instant(1), || true), Block::Slept);
    assert!(matches!(
        set.reschedule(C0, Some(v(0)), HINT, &mut m[0]),
        Running::Doze(_)
    ));
    assert_eq!(
        set.pause(D1, Instant(2)),
        Ok(Kick::one(C0)),
        "the CPU that holds it must save it"
    );
    assert_eq!(set.pause(D1, Instant(2)), Ok(Kick::NONE));
    assert_eq!(run(&set, C0, Some(v(0)), &mut m[0], 3), None);
    assert!(set.quiescent(D1));
    assert_eq!(
        set.wake(v(0), WakeReason::Timer, Instant(4)),
        Woken::Kick(Kick::NONE)
    );
    assert_eq!(set.unpause(D1, Instant(5)), Ok(Kick::NONE));
    assert_eq!(set.unpause(D1, Instant(6)), Ok(Kick::one(C0)));
    assert_eq!(set.unpause(D1, Instant(6)), Err(PoolError::NotPaused));
    assert_eq!(run(&set, C0, None, &mut m[0], 7), Some(v(0)));
    assert_eq!(
        set.domain_info(D1, Instant(7))
            .unwrap()
            .times
            .in_state(DomainState::Blocked)
            .0,
        5
    );
}

#[test]
fn off_is_off_only_when_saved_and_death_is_final_until_reset() {
    let (set, mut m) = pools(1);
    add(&set, D1, 0..2);
    let _ = set.online(v(0), Instant(0)).unwrap();
    assert_eq!(run(&set, C0, None, &mut m[0], 0), Some(v(0)));
    set.offline(v(0), Instant(1));
    assert_eq!(set.power(v(0)), Some(Power::Leaving));
    assert_eq!(set.online(v(0), Instant(1)), Err(PoolError::StillLoaded));
    assert_eq!(run(&set, C0, Some(v(0)), &mut m[0], 2), None);
    assert_eq!(set.power(v(0)), Some(Power::Off));
    assert_eq!(
        set.wake(v(0), WakeReason::Timer, Instant(3)),
        Woken::Kick(Kick::NONE)
    );
    let _ = set.online(v(0), Instant(3)).unwrap();
    assert_eq!(run(&set, C0, None, &mut m[0], 4), Some(v(0)));
    assert_eq!(set.reset(D1, Instant(5)), Err(PoolError::Alive));
    assert_eq!(set.kill(D1, Instant(5)), Ok(Kick::one(C0)));
    assert_eq!(
        set.remove_domain(D1, Instant(5)),
        Err(PoolError::StillLoaded)
    );
    assert_eq!(run(&set, C0, Some(v(0)), &mut m[0], 6), None);
    assert_eq!(
        set.online(v(1), Instant(6)),
        Ok(Kick::NONE),
        "dead domains do not run"
    );
    set.reset(D1, Instant(7)).unwrap();
    assert_eq!(set.power(v(0)), Some(Power::Off));
    let _ = set.online(v(0), Instant(8)).unwrap();
    assert_eq!(run(&set, C0, None, &mut m[0], 9), Some(v(0)));
    let _ = set.kill(D1, Instant(10)).unwrap();
    assert_eq!(run(&set, C0, Some(v(0)), &mut m[0], 11), None);
    assert_eq!(set.remove_domain(D1, Instant(12)), Ok(Kick::NONE));
    assert_eq!(
        set.vcpu_info(v(0), Instant(12)).unwrap_err(),
        PoolError::NoSuchVcpu
    );
    assert_eq!(
        set.domain_info(D1, Instant(12)).unwrap_err(),
        PoolError::NoSuchDomain
    );
    let _ = set
        .add_domain(
            DomainId::new(1, 1),
            PoolId::POOL0,
            &DomainParams::default(),
            &[],
            Instant(13),
        )
        .unwrap();
    assert_eq!(
        set.domain_info(D1, Instant(14)).unwrap_err(),
        PoolError::Stale
    );
}

#[test]
fn cpus_change_pool_by_their_own_hand_and_the_last_one_stays() {
    let (set, mut m) = pools(2);
    let p1 = set.create(&PoolConfig::new("pool1"), Instant(0)).unwrap();
    assert_eq!(
        set.create(&PoolConfig::new("pool1"), Instant(0)),
        Err(PoolError::NameTaken)
    );
    assert_eq!(
        set.create(&PoolConfig::new("a b"), Instant(0)),
        Err(PoolError::BadName)
    );
    add(&set, D1, 0..2);
    for i in 0..2 {
        let _ = set.online(v(i), Instant(1)).unwrap();
        assert_eq!(run(&set, CpuId(i), None, &mut m[i as usize], 1), Some(v(i)));
    }
    assert_eq!(
        set.move_domain(D1, p1, Instant(1)),
        Progress::Refused(PoolError::NoCpus)
    );
    assert_eq!(
        set.assign_cpu(C0, Some(p1), Instant(2)),
        Progress::Refused(PoolError::BootCpu)
    );
    assert_eq!(
        set.assign_cpu(CpuId(5), None, Instant(2)),
        Progress::Refused(PoolError::NoSuchCpu)
    );
    assert_eq!(
        set.assign_cpu(C1, Some(p1), Instant(2)),
        Progress::Again(Kick::one(C1))
    );
    assert_eq!(
        set.assign_cpu(C1, None, Instant(2)),
        Progress::Refused(PoolError::InFlight)
    );
    m[1].now = 3;
    let Running::Idle(idle) = set.reschedule(C1, Some(v(1)), HINT, &mut m[1]) else {
        panic!("must be idle")
    };
    assert_eq!(m[1].log, ["load 1", "save 1"]);
    let _ = set.settle(idle, &mut m[1]);
    assert!(m[1].kicked.contains(C1), "it must look at its new pool");
    assert_eq!(
        set.assign_cpu(C1, Some(p1), Instant(4)),
        Progress::Done(Kick::NONE)
    );
    assert_eq!(set.pool_info(p1).unwrap().cpus, CpuSet::one(C1));
    assert_eq!(run(&set, C1, None, &mut m[1], 4), None);

    // The domain follows, running vCPU and all.
    assert_eq!(
        set.move_domain(D1, p1, Instant(5)),
        Progress::Again(Kick::one(C0))
    );
    // It has places in the scheduler there, which is not exchanged meanwhile.
    let rr = sched_by_name("rr").unwrap();
    let exchange = Plan::of(Step::SetSched(Target::Id(p1), rr)).unwrap();
    let (_, begun) = set.begin(&exchange, Instant(5));
    assert_eq!(begun.unwrap_err().error, PoolError::InFlight);
    assert_eq!(run(&set, C0, Some(v(0)), &mut m[0], 6), None);
    let Progress::Done(k) = set.move_domain(D1, p1, Instant(7)) else {
        panic!("nothing is loaded")
    };
    let both = [C0, C1].into_iter().collect();
    assert_eq!(k, Kick(both), "those it left have to give its timers away");
    assert_eq!(
        run(&set, C0, None, &mut m[0], 8),
        None,
        "no business of Pool-0 any more"
    );
    let first = run(&set, C1, None, &mut m[1], 8);
    assert!(
        first.is_some() && m[1].armed.is_some(),
        "the other one waits"
    );
    assert_eq!(
        set.assign_cpu(C1, None, Instant(9)),
        Progress::Refused(PoolError::LastCpu)
    );
    assert_eq!(set.destroy(p1), Progress::Refused(PoolError::HasDomains));

    // A move that was begun can be taken back.
    assert_eq!(
        set.move_domain(D1, PoolId::POOL0, Instant(9)),
        Progress::Again(Kick::one(C1))
    );
    assert!(matches!(
        set.move_domain(D1, p1, Instant(9)),
        Progress::Done(_)
    ));
    assert_eq!(set.domain_info(D1, Instant(9)).unwrap().pool, p1);
    assert_eq!(set.pool_info(PoolId::POOL0).unwrap().domains, 0);

    // Home again, and the pool goes.
    assert_eq!(
        set.move_domain(D1, PoolId::POOL0, Instant(10)),
        Progress::Again(Kick::one(C1))
    );
    assert_eq!(run(&set, C1, first, &mut m[1], 11), None);
    assert_eq!(
        set.move_domain(D1, PoolId::POOL0, Instant(12)),
        Progress::Done(Kick(both))
    );
    assert_eq!(set.destroy(p1), Progress::Again(Kick::one(C1)));
    m[1].now = 13;
    let Running::Idle(idle) = set.reschedule(C1, None, HINT, &mut m[1]) else {
        panic!("must be idle")
    };
    let _ = set.settle(idle, &mut m[1]);
    assert_eq!(set.destroy(p1), Progress::Done(Kick::NONE));
    assert_eq!(set.pool_info(p1).unwrap_err(), PoolError::Stale);
    assert_eq!(set.free_cpus(), CpuSet::one(C1));
    assert_eq!(
        set.destroy(PoolId::POOL0),
        Progress::Refused(PoolError::Pool0)
    );
    let t = set.domain_info(D1, Instant(100)).unwrap().times;
    assert_eq!(
        t.ns.iter().map(|s| s.0).sum::<u64>(),
        100,
        "no time is lost on the way"
    );
    assert_eq!(t.missed, 0);
}

#[test]
fn refusals_change_nothing() {
    let (set, _m) = pools(1);
    let add = |d, list: &[(VcpuId, VcpuParams)], p: DomainParams| {
        set.add_domain(d, PoolId::POOL0, &p, list, Instant(0))
            .map(|_| ())
    };
    let heavy = VcpuParams {
        weight: 70_000,
        ..VcpuParams::DEFAULT
    };
    let ok = VcpuParams::DEFAULT;
    let d = DomainParams::default();
    assert!(matches!(
        add(D1, &[(v(0), ok), (v(1), heavy)], d),
        Err(PoolError::Sched(_))
    ));
    assert_eq!(
        add(D1, &[(v(0), ok), (v(0), ok)], d),
        Err(PoolError::IdTaken)
    );
    assert_eq!(
        add(D1, &[(VcpuId::new(5000, 0), ok)], d),
        Err(PoolError::NoSuchVcpu)
    );
    assert_eq!(
        add(DomainId::new(500, 0), &[(v(0), ok)], d),
        Err(PoolError::NoSuchDomain)
    );
    assert_eq!(
        add(D1, &[(v(0), ok)], DomainParams { cap: 101 }),
        Err(PoolError::CapTooBig)
    );
    assert_eq!(
        add(D1, &[(v(0), ok), (v(1), ok)], DomainParams { cap: 200 }),
        Ok(())
    );
    assert_eq!(add(D1, &[(v(2), ok)], d), Err(PoolError::IdTaken));
    assert_eq!(
        set.adjust_vcpu(v(0), &heavy, Instant(1))
            .map(|_| ())
            .unwrap_err()
            .errno(),
        tarn_abi::Errno::Invalid
    );
    assert_eq!(set.domain_info(D1, Instant(1)).unwrap().vcpus, 2);
    assert_eq!(set.vcpu_at(D1, 1), Some(v(1)));
    assert_eq!(set.vcpu_at(D1, 2), None);
}

/// A split weight has a part for each processor: else the group would weigh more than it says.
#[test]
fn a_weight_too_small_to_split_is_refused() {
    let (set, _) = pools(1);
    let (p0, now) = (PoolId::POOL0, Instant(0));
    let thin = |weight, split| GroupConfig {
        vps: 8,
        processor: VcpuParams {
            weight,
            ..VcpuParams::DEFAULT
        },
        split,
        ..GroupConfig::new("thin")
    };
    let refusal = PoolError::SplitTooThin { processors: 8 };
    assert_eq!(set.create_group(p0, &thin(7, true), now), Err(refusal));
    assert_eq!(refusal.errno(), tarn_abi::Errno::Invalid);
    assert_eq!(
        refusal.to_string(),
        "each of its 8 processors needs a part of the weight: with split on it is at least 8"
    );
    let g = set.create_group(p0, &thin(7, false), now).unwrap();
    let was = set.group_info(p0, g).unwrap().params;
    let split = GroupParams { split: true, ..was };
    assert_eq!(set.adjust_group(p0, g, &split, now), Err(refusal));
    assert_eq!(set.group_info(p0, g).unwrap().params, was);
    let enough = GroupParams {
        processor: thin(8, true).processor,
        split: true,
    };
    assert!(set.adjust_group(p0, g, &enough, now).is_ok());
    assert_eq!(set.group_info(p0, g).unwrap().params, enough);
}

#[test]
fn groups_are_made_filled_emptied_and_removed() {
    let (set, mut m) = pools(1);
    add(&set, D1, 0..1);
    let p0 = PoolId::POOL0;
    let one = set
        .create_group(p0, &GroupConfig::new("one"), Instant(0))
        .unwrap();
    assert_eq!(
        set.create_group(p0, &GroupConfig::new("one"), Instant(0)),
        Err(PoolError::NameTaken)
    );
    // Only beside each other: what a delegated group's owner makes there says nothing of groups elsewhere.
    let inner = GroupConfig {
        parent: Some(one),
        ..GroupConfig::new("one")
    };
    let again = set.create_group(p0, &inner, Instant(0)).unwrap();
    assert_eq!(
        set.create_group(p0, &inner, Instant(0)),
        Err(PoolError::NameTaken)
    );
    let Progress::Done(_) = set.destroy_group(p0, again, Instant(0)) else {
        panic!("it is empty");
    };
    let deep = GroupConfig {
        parent: Some(one),
        vps: 2,
        ..GroupConfig::new("two")
    };
    let two = set.create_group(p0, &deep, Instant(0)).unwrap();
    let none = GroupConfig {
        vps: 0,
        ..GroupConfig::new("none")
    };
    assert!(set.create_group(p0, &none, Instant(0)).is_err());
    let _ = set.online(v(0), Instant(1)).unwrap();
    assert_eq!(run(&set, C0, None, &mut m[0], 2), Some(v(0)));
    assert_eq!(
        set.move_to_group(D1, Some(two), Instant(3)),
        Progress::Again(Kick::one(C0))
    );
    assert_eq!(
        set.move_domain(D1, p0, Instant(3)),
        Progress::Done(Kick::one(C0)),
        "taken back"
    );
    assert_eq!(
        set.move_to_group(D1, Some(two), Instant(3)),
        Progress::Again(Kick::one(C0))
    );
    assert_eq!(run(&set, C0, Some(v(0)), &mut m[0], 4), None);
    assert_eq!(
        set.move_to_group(D1, Some(two), Instant(5)),
        Progress::Done(Kick::one(C0))
    );
    assert_eq!(set.vcpu_info(v(0), Instant(5)).unwrap().group, Some(two));
    assert_eq!(run(&set, C0, None, &mut m[0], 6), Some(v(0)));
    assert_eq!(set.block(v(0), Instant(7), || true), Block::Slept);
    m[0].now = 8;
    assert!(matches!(
        set.reschedule(C0, Some(v(0)), HINT, &mut m[0]),
        Running::Doze(_)
    ));
    assert_eq!(
        set.wake(v(0), WakeReason::Timer, Instant(9)),
        Woken::Kick(Kick::one(C0))
    );
    assert_eq!(run(&set, C0, Some(v(0)), &mut m[0], 10), Some(v(0)));
    assert!(matches!(
        set.destroy_group(p0, one, Instant(11)),
        Progress::Refused(_)
    ));
    assert_eq!(
        set.move_to_group(D1, None, Instant(12)),
        Progress::Again(Kick::one(C0))
    );
    assert_eq!(run(&set, C0, Some(v(0)), &mut m[0], 13), None);
    assert_eq!(
        set.move_to_group(D1, None, Instant(14)),
        Progress::Done(Kick::one(C0))
    );
    assert_eq!(set.group_info(p0, two).unwrap().members, 0);
    assert!(matches!(
        set.destroy_group(p0, two, Instant(15)),
        Progress::Done(_)
    ));
    assert!(matches!(
        set.destroy_group(p0, one, Instant(15)),
        Progress::Done(_)
    ));
    assert_eq!(
        set.destroy_group(p0, one, Instant(16)),
        Progress::Refused(PoolError::Stale)
    );
    assert_eq!(run(&set, C0, None, &mut m[0], 17), Some(v(0)));
    set.check().unwrap();
}
