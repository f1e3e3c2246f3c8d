//! Plans: checked as a whole, carried out or not at all, whatever fails on the way.

mod world;

use tarn_abi::call::param::Setting;
use tarn_abi::call::report::Adjusted;
use tarn_abi::{CpuSet, DomainId, Label, PoolId};
use tarn_pools::*;
use world::{Rng, World, sched, vcpu};

fn set(name: &str, value: u64) -> Option<Setting> {
    Some(Setting {
        name: Label::new(name).unwrap(),
        value,
    })
}

fn cpus(text: &str) -> CpuSet {
    CpuSet::parse(text).unwrap()
}

fn plan(steps: &[Step]) -> Plan {
    let mut p = Plan::new();
    for s in steps {
        p.add(*s).unwrap();
    }
    p
}

fn create(name: &str, kind: &str) -> Step {
    Step::CreatePool {
        name: Name::new(name).unwrap(),
        sched: sched(kind),
    }
}

const P0: Target = Target::Id(PoolId::POOL0);

/// Four CPUs, dom0 and three domains in Pool-0, all busy.
fn busy() -> World {
    let mut w = World::new(4, "credit2");
    for slot in 0..4 {
        w.add(slot, if slot == 0 { 1 } else { 2 }, PoolId::POOL0);
    }
    w.settle();
    w
}

/// A pool is made, gets CPUs and two domains, in one go; then all goes back in one go.
#[test]
fn a_whole_migration_there_and_back() {
    let mut w = busy();
    let (d1, d2) = (w.domains[1].0, w.domains[2].0);
    let before = w.picture();
    let there = plan(&[
        create("pool1", "credit2"),
        Step::Cpus(Some(Target::Step(0)), cpus("2-3")),
        Step::MoveDomain(d1, Target::Step(0)),
        Step::MoveDomain(d2, Target::Step(0)),
        Step::PoolParams(Target::Step(0), [set("ratelimit", 2_000), None]),
        Step::DomainParams(d1, [set("weight", 512), set("cap", 150)]),
    ]);
    let preview = w.foresee(&there).unwrap();
    assert_eq!(preview.pools.len(), 2);
    assert_eq!(preview.pools[1].cpus, cpus("2-3"));
    assert_eq!((preview.pools[1].domains, preview.pools[1].id), (2, None));
    assert_eq!(w.picture(), before, "a preview changes nothing");
    let report = w.carry_out(&there).unwrap();
    assert!(report.stood_still.0 > 0, "they were running");
    assert_eq!(report.adjusted, Adjusted::NONE);
    w.check();
    let pool1 = w.pool("pool1");
    for d in [d1, d2] {
        assert_eq!(w.set.domain_info(d, w.now).unwrap().pool, pool1);
    }
    let p = w.set.pool_params(pool1).unwrap();
    assert_eq!(p.sched.ratelimit.0, 2_000_000);
    let v = w.set.vcpu_info(vcpu(d1, 1), w.now).unwrap();
    assert_eq!(v.params.weight, 512);
    assert_eq!(w.set.domain_info(d1, w.now).unwrap().params.cap, 150);
    w.check_at_rest();

    let back = plan(&[
        Step::MoveDomain(d1, P0),
        Step::MoveDomain(d2, P0),
        Step::Cpus(Some(P0), cpus("2-3")),
        Step::DestroyPool(Target::Id(pool1)),
        Step::DomainParams(d1, [set("weight", 256), set("cap", 0)]),
    ]);
    w.carry_out(&back).unwrap();
    assert_eq!(w.picture(), before);
    w.check_at_rest();
}

/// What no step by itself could do: the last CPU leaves together with the domains.
#[test]
fn the_end_counts_not_the_way() {
    let mut w = busy();
    let d1 = w.domains[1].0;
    w.carry_out(&plan(&[
        create("a", "rr"),
        Step::Cpus(Some(Target::Step(0)), cpus("3")),
        Step::MoveDomain(d1, Target::Step(0)),
    ]))
    .unwrap();
    let a = Target::Id(w.pool("a"));
    // Swaps the pool for another one under the same name.
    w.carry_out(&plan(&[
        Step::Cpus(None, cpus("3")),
        Step::Rename(a, Name::new("old").unwrap()),
        create("a", "credit2"),
        Step::Cpus(Some(Target::Step(2)), cpus("2")),
        Step::MoveDomain(d1, Target::Step(2)),
        Step::DestroyPool(a),
    ]))
    .unwrap();
    assert_eq!(w.set.free_cpus(), cpus("3"));
    assert!(w.set.find_pool("old").is_none());
    w.check_at_rest();
}

#[test]
fn refusals_name_the_step_and_change_nothing() {
    let mut w = busy();
    let (d1, dead) = (w.domains[1].0, DomainId::new(9, 0));
    w.carry_out(&plan(&[
        create("one", "credit2"),
        Step::Cpus(Some(Target::Step(0)), cpus("3")),
        Step::MoveDomain(d1, Target::Step(0)),
    ]))
    .unwrap();
    let one = Target::Id(w.pool("one"));
    let before = w.picture();
    let ok = create("x", "rr");
    let range = PoolError::Sched(SchedError::Range {
        what: "weight",
        min: 1,
        max: 65_535,
    });
    let cases: &[(&[Step], u32, PoolError)] = &[
        (&[ok, create("x", "rr")], 1, PoolError::NameTaken),
        (
            &[ok, Step::Rename(one, Name::new("x").unwrap())],
            1,
            PoolError::NameTaken,
        ),
        (&[ok, Step::Cpus(None, cpus("0"))], 1, PoolError::BootCpu),
        (
            &[ok, Step::Cpus(Some(one), cpus("0-1"))],
            1,
            PoolError::BootCpu,
        ),
        (&[ok, Step::Cpus(None, cpus("9"))], 1, PoolError::NoSuchCpu),
        (&[ok, Step::Cpus(None, cpus("3"))], 1, PoolError::LastCpu),
        (&[Step::Cpus(None, cpus("3")), ok], 0, PoolError::LastCpu),
        (
            &[ok, Step::MoveDomain(d1, Target::Step(0))],
            1,
            PoolError::NoCpus,
        ),
        (
            &[ok, Step::MoveDomain(DomainId::DOM0, one)],
            1,
            PoolError::Dom0,
        ),
        (
            &[ok, Step::MoveDomain(dead, one)],
            1,
            PoolError::NoSuchDomain,
        ),
        (&[ok, Step::DestroyPool(one)], 1, PoolError::HasDomains),
        (&[Step::DestroyPool(P0)], 0, PoolError::Pool0),
        (
            &[ok, Step::DestroyPool(Target::Step(1))],
            1,
            PoolError::NoSuchStep,
        ),
        (
            &[ok, Step::SetSched(one, tarn_abi::SchedId(99))],
            1,
            PoolError::Sched(SchedError::UnknownScheduler),
        ),
        (
            &[ok, Step::DomainParams(d1, [set("weight", 0), None])],
            1,
            range,
        ),
        (
            &[ok, Step::DomainParams(d1, [set("weigh", 1), None])],
            1,
            PoolError::NoSuchParam,
        ),
        (
            &[ok, Step::DomainParams(d1, [set("cap", 201), None])],
            1,
            PoolError::CapTooBig,
        ),
        (
            &[ok, Step::PoolParams(one, [set("cap", 1), None])],
            1,
            PoolError::NoSuchParam,
        ),
        (
            &[
                Step::DomainParams(d1, [set("weight", 77), None]),
                Step::PoolParams(one, [set("ratelimit", 5_000), None]),
                ok,
                Step::DomainParams(d1, [set("rt-budget", 11_000), None]),
            ],
            3,
            PoolError::Sched(SchedError::Range {
                what: "budget (us)",
                min: 10,
                max: 10_000,
            }),
        ),
    ];
    for (steps, step, error) in cases {
        let refusal = w.carry_out(&plan(steps)).unwrap_err();
        assert_eq!((refusal.step, refusal.error), (*step, *error), "{steps:?}");
        assert_eq!(w.picture(), before, "{steps:?}");
    }
    w.check_at_rest();
}

/// Every pair of schedulers, there and back, with everybody busy, in Pool-0 and so with dom0 itself.
/// A setting that fits one vCPU of a domain and not another: the first has not got it either.
#[test]
fn a_domains_vcpus_get_a_parameter_together_or_not_at_all() {
    let mut w = busy();
    let d1 = w.domains[1].0;
    let longer = [set("rt-period", 40_000), set("rt-budget", 30_000)];
    let was = w.set.vcpu_info(vcpu(d1, 1), w.now).unwrap().params;
    let own = vcpu_with(&was, &longer).unwrap();
    let _ = w.set.adjust_vcpu(vcpu(d1, 1), &own, w.now).unwrap();
    w.settle();
    let before = w.picture();
    // Good for a budget of 4 ms, not for one of 30.
    let r = w.carry_out(&plan(&[Step::DomainParams(
        d1,
        [set("rt-period", 20_000), None],
    )]));
    assert!(
        matches!(
            r,
            Err(Refusal {
                step: 0,
                error: PoolError::Sched(_)
            })
        ),
        "{r:?}"
    );
    assert_eq!(w.picture(), before);
    for (i, p) in [(0, was), (1, own)] {
        assert_eq!(w.set.vcpu_info(vcpu(d1, i), w.now).unwrap().params, p);
    }
    w.check();
}

#[test]
fn a_running_pool_gets_another_scheduler() {
    for from in ["credit2", "rr", "null", "rtds"] {
        for to in ["credit2", "rr", "null", "rtds"] {
            let mut w = World::new(4, from);
            for slot in 0..3 {
                let d = w.add(slot, 1, PoolId::POOL0);
                let p = [
                    set("weight", 300 + u64::from(slot)),
                    set("rt-budget", 2_000),
                ];
                w.carry_out(&plan(&[Step::DomainParams(d, p)])).unwrap();
            }
            let before = w.picture();
            let report = w
                .carry_out(&plan(&[Step::SetSched(P0, sched(to))]))
                .unwrap();
            w.check();
            assert_eq!(w.set.pool_info(PoolId::POOL0).unwrap().sched_name, to);
            assert_eq!(w.set.pool_info(PoolId::POOL0).unwrap().cpus, cpus("0-3"));
            assert_eq!(report.stood_still.0 > 0, from != to, "{from} {to}");
            // Their weights and budgets are kept, and what is not made use of now is said.
            let said = |bit| report.adjusted.has(bit);
            let changed = from != to;
            assert_eq!(said(Adjusted::WEIGHT_UNUSED), changed && to != "credit2");
            assert_eq!(said(Adjusted::RT_UNUSED), changed && to != "rtds");
            w.check_at_rest();
            w.carry_out(&plan(&[Step::SetSched(P0, sched(from))]))
                .unwrap();
            assert_eq!(w.picture(), before);
            w.check_at_rest();
        }
    }
}

/// Under null who has no CPU waits for ever: that must not be dom0.
#[test]
fn null_does_not_lock_dom0_out() {
    let mut w = World::new(3, "credit2");
    for slot in 0..2 {
        w.add(slot, if slot == 0 { 1 } else { 2 }, PoolId::POOL0);
    }
    w.carry_out(&plan(&[Step::SetSched(P0, sched("null"))]))
        .unwrap();
    let refused = |w: &mut World, s: Step| w.carry_out(&plan(&[s])).unwrap_err().error;
    let out = Step::Cpus(None, cpus("1"));
    assert_eq!(refused(&mut w, out), PoolError::Dom0Waits);
    w.carry_out(&plan(&[Step::SetSched(P0, sched("rr"))]))
        .unwrap();
    w.carry_out(&plan(&[out])).unwrap();
    let null = Step::SetSched(P0, sched("null"));
    assert_eq!(refused(&mut w, null), PoolError::Dom0Waits);
    let advice = tarn_abi::Errno::NotAdmitted;
    assert_ne!(PoolError::Dom0Waits.errno(), advice, "no budget helps");
    w.check_at_rest();
}

/// Groups stay when the scheduler around them is exchanged.
#[test]
fn groups_survive_an_exchange() {
    let mut w = busy();
    let (d1, d2) = (w.domains[1].0, w.domains[2].0);
    let g = GroupConfig {
        vps: 2,
        ..GroupConfig::new("cell")
    };
    let g = w.set.create_group(PoolId::POOL0, &g, w.now).unwrap();
    w.carry_out(&plan(&[Step::Group(d1, None, Some(g))]))
        .unwrap();
    w.carry_out(&plan(&[Step::Group(d2, Some(1), Some(g))]))
        .unwrap();
    let mut switches = 0;
    for kind in ["rr", "rtds", "credit2"] {
        w.carry_out(&plan(&[Step::SetSched(P0, sched(kind))]))
            .unwrap();
        let counted = w.set.pool_totals(PoolId::POOL0).unwrap().switches;
        assert!(counted > switches, "{counted} are not more than {switches}");
        switches = counted;
        let group = |d, i| w.set.vcpu_info(vcpu(d, i), w.now).unwrap().group;
        assert_eq!(
            [group(d1, 0), group(d1, 1), group(d2, 0), group(d2, 1)],
            [Some(g), Some(g), None, Some(g)]
        );
        w.check_at_rest();
    }
    // A move to another pool leaves the group, and says so.
    let moved = w
        .carry_out(&plan(&[
            create("b", "rtds"),
            Step::Cpus(Some(Target::Step(0)), cpus("2-3")),
            Step::DomainParams(d1, [set("boost-interval", 100), set("weight", 9)]),
            Step::MoveDomain(d1, Target::Step(0)),
        ]))
        .unwrap();
    let wanted = Adjusted::LEFT_GROUP
        .with(Adjusted::WEIGHT_UNUSED)
        .with(Adjusted::BOOST_UNUSED);
    assert_eq!(moved.adjusted, wanted);
    w.check_at_rest();
    let before = w.set.pool_totals(PoolId::POOL0).unwrap().switches;
    w.carry_out(&plan(&[Step::Group(d2, None, None)])).unwrap();
    while let Progress::Again(k) = w.set.destroy_group(PoolId::POOL0, g, w.now) {
        w.send(k);
        w.settle();
    }
    assert!(w.set.pool_totals(PoolId::POOL0).unwrap().switches >= before);
}

#[test]
fn affinity_is_kept_and_its_loss_is_said() {
    let mut w = busy();
    let d1 = w.domains[1].0;
    for (i, set) in [(0, "1"), (1, "1,3")] {
        let v = vcpu(d1, i);
        let mut p = w.set.vcpu_info(v, w.now).unwrap().params;
        p.affinity = cpus(set);
        let k = w.set.adjust_vcpu(v, &p, w.now).unwrap();
        w.send(k);
    }
    w.settle();
    let out = w
        .carry_out(&plan(&[
            create("b", "credit2"),
            Step::Cpus(Some(Target::Step(0)), cpus("3")),
            Step::MoveDomain(d1, Target::Step(0)),
        ]))
        .unwrap();
    let both = Adjusted::AFFINITY_VOID.with(Adjusted::AFFINITY_CUT);
    assert_eq!(out.adjusted, both, "{out:?}");
    w.check_at_rest();
    let back = w.carry_out(&plan(&[Step::MoveDomain(d1, P0)])).unwrap();
    assert_eq!(back.adjusted, Adjusted::AFFINITY_CUT, "CPU 3 is elsewhere");
    let p = w.set.vcpu_info(vcpu(d1, 1), w.now).unwrap().params;
    assert_eq!(p.affinity, cpus("1,3"));
}

/// A soft affinity goes along, too; where it has no effect that is said: none of its CPUs may be used there, or the scheduler
/// makes no use of it, or a group does not.
#[test]
fn soft_affinity_is_kept_and_its_loss_is_said() {
    let mut w = busy();
    let d1 = w.domains[1].0;
    let v = vcpu(d1, 0);
    let mut p = w.set.vcpu_info(v, w.now).unwrap().params;
    p.soft = cpus("3");
    let k = w.set.adjust_vcpu(v, &p, w.now).unwrap();
    w.send(k);
    w.settle();
    // CPU 3 leaves the pool.
    let out = w
        .carry_out(&plan(&[
            create("b", "credit2"),
            Step::Cpus(Some(Target::Step(0)), cpus("3")),
        ]))
        .unwrap();
    assert_eq!(out.adjusted, Adjusted::SOFT_UNUSED);
    // The domain follows it, and nothing is lost.
    let b = w.pool("b");
    let out = w
        .carry_out(&plan(&[Step::MoveDomain(d1, Target::Id(b))]))
        .unwrap();
    assert_eq!(out.adjusted, Adjusted::NONE);
    let out = w
        .carry_out(&plan(&[Step::SetSched(Target::Id(b), sched("rr"))]))
        .unwrap();
    assert_eq!(out.adjusted, Adjusted::SOFT_UNUSED);
    let out = w.carry_out(&plan(&[Step::MoveDomain(d1, P0)])).unwrap();
    assert_eq!(out.adjusted, Adjusted::SOFT_UNUSED);
    let p = w.set.vcpu_info(v, w.now).unwrap().params;
    assert_eq!(p.soft, cpus("3"));
    w.check_at_rest();
}

#[test]
fn what_rtds_has_promised_is_kept() {
    let mut w = World::new(4, "credit2");
    let dom0 = w.add(0, 1, PoolId::POOL0);
    let d1 = w.add(1, 2, PoolId::POOL0);
    let _ = dom0;
    // 2 x 90 % asks for two CPUs.
    let rt = [set("rt-period", 10_000), set("rt-budget", 9_000)];
    let steps = [
        create("rt", "rtds"),
        Step::Cpus(Some(Target::Step(0)), cpus("2-3")),
        Step::DomainParams(d1, rt),
        Step::MoveDomain(d1, Target::Step(0)),
    ];
    let before = w.picture();
    // Foreseen as well, though a preview sets nothing.
    let foreseen = w.foresee(&plan(&steps)).err();
    let refusal = w.carry_out(&plan(&steps)).unwrap_err();
    assert!(matches!(
        refusal.error,
        PoolError::Sched(SchedError::Inadmissible { .. })
    ));
    assert_eq!(refusal.step, 3);
    assert_eq!(foreseen, Some(refusal));
    assert_eq!(w.picture(), before);
    let most = [set("rt-period", 10_000), set("rt-budget", 6_000)];
    let steps = [steps[0], steps[1], Step::DomainParams(d1, most), steps[3]];
    w.carry_out(&plan(&steps)).unwrap();
    let refusal = w
        .carry_out(&plan(&[Step::Cpus(None, cpus("3"))]))
        .unwrap_err();
    assert!(
        matches!(
            refusal.error,
            PoolError::Sched(SchedError::Inadmissible { .. })
        ),
        "{refusal:?}"
    );
    w.check_at_rest();
}

/// A domain's vCPUs, which ask for different parts of a CPU, get new parameters: what fits in the end is accepted whatever
/// lies between, and a refusal half-way leaves each as it was in its scheduler, too.
#[test]
fn a_domains_vcpus_are_judged_together() {
    let mut w = World::new(2, "credit2");
    w.add(0, 1, PoolId::POOL0);
    let d = w.add(1, 4, PoolId::POOL0);
    let each = |budget| Step::DomainParams(d, [set("rt-budget", budget), None]);
    w.carry_out(&plan(&[
        create("rt", "rtds"),
        Step::Cpus(Some(Target::Step(0)), cpus("1")),
        each(1_000),
        Step::MoveDomain(d, Target::Step(0)),
    ]))
    .unwrap();
    let give = |w: &World, i, budget| {
        let p = w.set.vcpu_info(vcpu(d, i), w.now).unwrap().params;
        let p = vcpu_with(&p, &[set("rt-budget", budget), None]).unwrap();
        w.set.adjust_vcpu(vcpu(d, i), &p, w.now).map(|_| ())
    };
    // Of periods of 10 ms: the whole CPU.
    for (i, budget) in [(0, 5_000), (3, 3_000)] {
        give(&w, i, budget).unwrap();
    }
    let before = w.picture();
    let refusal = w.carry_out(&plan(&[each(3_000)])).unwrap_err();
    assert!(matches!(
        refusal.error,
        PoolError::Sched(SchedError::Inadmissible { .. })
    ));
    assert_eq!(w.picture(), before);
    assert!(give(&w, 1, 1_100).is_err(), "the first has its half again");
    w.carry_out(&plan(&[each(2_500)])).unwrap();
    w.check_at_rest();
}

/// A change is taken back at every point of its way until it is too late, and then everything is as before.
#[test]
fn a_change_can_be_taken_back() {
    let mut taken_back = 0;
    let mut too_late = 0;
    for steps in 0..40 {
        let mut w = busy();
        let (d1, d2) = (w.domains[1].0, w.domains[2].0);
        let before = w.picture();
        let p = plan(&[
            create("pool1", "rr"),
            Step::Cpus(Some(Target::Step(0)), cpus("2-3")),
            Step::MoveDomain(d1, Target::Step(0)),
            Step::MoveDomain(d2, Target::Step(0)),
            Step::DomainParams(d1, [set("weight", 512), None]),
            Step::SetSched(P0, sched("rr")),
        ]);
        let (kick, begun) = w.set.begin(&p, w.now);
        begun.unwrap();
        w.send(kick);
        let mut rng = Rng(steps + 1);
        for _ in 0..steps {
            w.step(&mut rng);
            w.check();
        }
        match w.set.abort(w.now) {
            Ok(k) => w.send(k),
            Err(e) => assert_eq!(e, PoolError::TooLate),
        }
        match (w.set.status(w.now), w.set.outcome()) {
            (Status::None, Some(Ok(_))) => {
                w.settle();
                too_late += 1;
            }
            (Status::None, Some(Err(e))) => {
                assert_eq!(e, PoolError::Aborted);
                taken_back += 1;
            }
            (status, outcome) => {
                assert_eq!(outcome, None);
                if let Status::Pending(k) = status {
                    w.send(k);
                }
                match w.finish() {
                    Ok(_) => too_late += 1,
                    Err(e) => {
                        assert_eq!(e, PoolError::Aborted);
                        taken_back += 1;
                        assert_eq!(w.picture(), before, "after {steps} steps");
                    }
                }
            }
        }
        w.check_at_rest();
    }
    assert!(taken_back > 3 && too_late > 3, "{taken_back} {too_late}");
}

/// A kick that gets lost delays; whoever asks for the status sends it again.
#[test]
fn every_single_kick_may_get_lost() {
    let mut most = 0;
    for lost in 1..60 {
        let mut w = busy();
        let d1 = w.domains[1].0;
        w.kicks = 0;
        w.lose_kick = lost;
        w.carry_out(&plan(&[
            create("pool1", "credit2"),
            Step::Cpus(Some(Target::Step(0)), cpus("2-3")),
            Step::MoveDomain(d1, Target::Step(0)),
            Step::SetSched(P0, sched("rr")),
        ]))
        .unwrap();
        most = most.max(w.kicks);
        w.lose_kick = 0;
        w.kicked = CpuSet::first(4);
        w.check_at_rest();
        assert_eq!(w.set.pool_info(w.pool("pool1")).unwrap().cpus, cpus("2-3"));
    }
    assert!(most < 60, "{most} kicks: the loop does not reach the last");
}

/// A domain that ends while it moves takes its reservation back; the rest of the plan is carried out.
#[test]
fn a_domain_may_end_on_the_way() {
    for steps in 0..6 {
        let mut w = busy();
        let (d1, d2) = (w.domains[1].0, w.domains[2].0);
        let (kick, begun) = w.set.begin(
            &plan(&[
                create("pool1", "credit2"),
                Step::Cpus(Some(Target::Step(0)), cpus("2-3")),
                Step::MoveDomain(d1, Target::Step(0)),
                Step::MoveDomain(d2, Target::Step(0)),
            ]),
            w.now,
        );
        begun.unwrap();
        w.send(kick);
        for _ in 0..steps {
            if let Some(c) = w.kicked.lowest() {
                w.come_by(c);
            }
        }
        let k = w.set.kill(d1, w.now).unwrap();
        w.send(k);
        w.settle();
        assert!(w.set.quiescent(d1));
        let k = w.set.remove_domain(d1, w.now).unwrap();
        w.send(k);
        w.domains.retain(|d| d.0 != d1);
        if let Status::Pending(k) = w.set.status(w.now) {
            w.send(k);
            w.finish().unwrap();
        }
        w.check_at_rest();
        assert_eq!(w.set.domain_info(d2, w.now).unwrap().pool, w.pool("pool1"));
    }
}

/// A domain whose parameters a change has set is taken apart, piece by piece, before the change is taken back.
#[test]
fn a_change_is_taken_back_while_its_domain_goes() {
    let mut tried = 0;
    for moved in 1..4u16 {
        let mut w = busy();
        let d1 = w.domains[1].0;
        let p = plan(&[
            create("pool1", "credit2"),
            Step::Cpus(Some(Target::Step(0)), CpuSet::one(tarn_abi::CpuId(moved))),
            Step::DomainParams(d1, [set("weight", 512), None]),
        ]);
        let (kick, begun) = w.set.begin(&p, w.now);
        begun.unwrap();
        w.send(kick);
        // All others come by: the change waits for this CPU.
        let kick = w.set.kill(d1, w.now).unwrap();
        w.send(kick);
        for _ in 0..3 {
            for c in (0..4).filter(|c| *c != moved) {
                w.come_by(tarn_abi::CpuId(c));
            }
        }
        if !w.set.quiescent(d1) {
            continue;
        }
        let (kick, more) = w.set.remove_some(d1, 1, w.now).unwrap();
        w.send(kick);
        assert!(more);
        let kick = w.set.abort(w.now).unwrap();
        w.send(kick);
        let (kick, more) = w.set.remove_some(d1, 1, w.now).unwrap();
        w.send(kick);
        assert!(!more);
        w.domains.retain(|(d, _)| *d != d1);
        assert_eq!(w.finish().map(|_| ()), Err(PoolError::Aborted));
        w.check_at_rest();
        tried += 1;
    }
    assert!(tried > 0, "the domain was on the CPU that moves each time");
}
