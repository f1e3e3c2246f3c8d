//! Under null with more vCPUs than CPUs: who has none is said, by the change that leads to it, by the dry run before, and
//! in what can be read afterwards.

mod world;

use tarn_abi::call::report::Adjusted;
use tarn_abi::{CpuId, CpuSet, DomainId, PoolId};
use tarn_pools::*;
use world::{World, sched, vcpu};

fn plan(steps: &[Step]) -> Plan {
    let mut p = Plan::new();
    for s in steps {
        p.add(*s).unwrap();
    }
    p
}

/// dom0 in Pool-0, a pool `kind` with CPUs 2 and 3 and a domain of two vCPUs, another domain of two in Pool-0.
fn pair(kind: &str) -> (World, Target, [DomainId; 2]) {
    let mut w = World::new(4, "credit2");
    w.add(0, 1, PoolId::POOL0);
    let d = [w.add(1, 2, PoolId::POOL0), w.add(2, 2, PoolId::POOL0)];
    w.settle();
    w.carry_out(&plan(&[
        Step::CreatePool {
            name: Name::new("part").unwrap(),
            sched: sched(kind),
        },
        Step::Cpus(Some(Target::Step(0)), CpuSet::parse("2-3").unwrap()),
        Step::MoveDomain(d[0], Target::Step(0)),
    ]))
    .unwrap();
    let part = Target::Id(w.pool("part"));
    (w, part, d)
}

/// Carries it out; what was foreseen and what is: vCPUs without a CPU in the pool.
fn both(w: &mut World, step: Step) -> (u32, u32, bool) {
    let part = w.pool("part");
    let p = plan(&[step]);
    let foreseen = w.foresee(&p).unwrap().pools;
    let foreseen = foreseen.iter().find(|p| p.id == Some(part)).unwrap();
    let report = w.carry_out(&p).unwrap();
    let is = w.set.stranded(part).unwrap();
    (foreseen.stranded, is, report.adjusted.has(Adjusted::NO_CPU))
}

fn stranded(w: &World, d: DomainId) -> [bool; 2] {
    [0, 1].map(|i| w.set.vcpu_info(vcpu(d, i), w.now).unwrap().stranded)
}

#[test]
fn a_move_into_a_full_pool_says_who_waits() {
    let (mut w, part, [first, second]) = pair("null");
    assert_eq!(stranded(&w, first), [false; 2]);
    let into = Step::MoveDomain(second, part);
    assert_eq!(both(&mut w, into), (2, 2, true));
    assert_eq!(stranded(&w, first), [false; 2], "who has one keeps it");
    assert_eq!(stranded(&w, second), [true; 2]);
    let out = Step::MoveDomain(first, Target::Id(PoolId::POOL0));
    assert_eq!(both(&mut w, out), (0, 0, false));
    assert_eq!(stranded(&w, second), [false; 2]);
    w.check_at_rest();
}

#[test]
fn a_cpu_taken_away_and_given_back() {
    let (mut w, part, [first, _]) = pair("null");
    let three = CpuSet::one(CpuId(3));
    assert_eq!(both(&mut w, Step::Cpus(None, three)), (1, 1, true));
    assert_eq!(stranded(&w, first), [false, true]);
    assert_eq!(both(&mut w, Step::Cpus(Some(part), three)), (0, 0, false));
    w.check_at_rest();
}

#[test]
fn an_exchange_to_null_and_a_plan_that_makes_such_a_pool() {
    let (mut w, part, [_, second]) = pair("credit2");
    assert_eq!(both(&mut w, Step::MoveDomain(second, part)), (0, 0, false));
    let null = Step::SetSched(part, sched("null"));
    assert_eq!(both(&mut w, null), (2, 2, true));
    let back = Step::SetSched(part, sched("credit2"));
    assert_eq!(both(&mut w, back), (0, 0, false));
    // Foreseen of a pool that is not there yet.
    let p = plan(&[
        Step::CreatePool {
            name: Name::new("new").unwrap(),
            sched: sched("null"),
        },
        Step::Cpus(Some(Target::Step(0)), CpuSet::one(CpuId(1))),
        Step::MoveDomain(second, Target::Step(0)),
    ]);
    let foreseen = w.foresee(&p).unwrap();
    assert_eq!(foreseen.pools.last().unwrap().stranded, 1);
    let report = w.carry_out(&p).unwrap();
    assert!(report.adjusted.has(Adjusted::NO_CPU));
    assert_eq!(w.set.stranded(w.pool("new")), Ok(1));
}

/// A group whose only processor has no CPU, and one that runs null itself.
#[test]
fn groups_are_looked_into() {
    let (mut w, _, [first, second]) = pair("null");
    let part = w.pool("part");
    // Both CPUs are taken: the group's processor waits, and with it all who are in it.
    let cell = w
        .set
        .create_group(part, &GroupConfig::new("cell"), w.now)
        .unwrap();
    w.carry_out(&plan(&[Step::MoveDomain(second, Target::Id(part))]))
        .unwrap();
    let r = w
        .carry_out(&plan(&[Step::Group(second, None, Some(cell))]))
        .unwrap();
    assert!(r.adjusted.has(Adjusted::NO_CPU));
    assert_eq!(stranded(&w, second), [true; 2]);
    let out = Step::MoveDomain(first, Target::Id(PoolId::POOL0));
    assert_eq!(both(&mut w, out), (0, 0, false));
    // In Pool-0, under credit2, a group of one processor that runs null has room for one.
    let config = GroupConfig {
        sched: sched("null"),
        ..GroupConfig::new("one")
    };
    let one = w.set.create_group(PoolId::POOL0, &config, w.now).unwrap();
    let r = w
        .carry_out(&plan(&[Step::Group(first, None, Some(one))]))
        .unwrap();
    assert!(r.adjusted.has(Adjusted::NO_CPU));
    assert_eq!(w.set.stranded(PoolId::POOL0), Ok(1));
    let nothing = w.foresee(&plan(&[])).unwrap();
    assert_eq!(nothing.pools[0].stranded, 1);
}

/// An affinity may leave a CPU without use while somebody waits.
#[test]
fn an_affinity_counts() {
    let (mut w, part, [first, second]) = pair("null");
    w.carry_out(&plan(&[Step::MoveDomain(first, Target::Id(PoolId::POOL0))]))
        .unwrap();
    for i in [0, 1] {
        let mut p = w.set.vcpu_info(vcpu(second, i), w.now).unwrap().params;
        p.affinity = CpuSet::one(CpuId(2));
        let k = w.set.adjust_vcpu(vcpu(second, i), &p, w.now).unwrap();
        w.send(k);
    }
    w.settle();
    assert_eq!(both(&mut w, Step::MoveDomain(second, part)), (1, 1, true));
}
