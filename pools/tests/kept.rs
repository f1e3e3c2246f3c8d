//! What a vCPU has counted stays with it: through moves to another pool, into groups and out, through exchanges of the
//! scheduler around it, and in the sum of the whole system when it is no more.

mod world;

use tarn_abi::{CpuId, CpuSet, DomainId, PoolId};
use tarn_pools::*;
use world::{World, sched, vcpu};

const P0: Target = Target::Id(PoolId::POOL0);

/// One CPU each for dom0 and for a pool with two domains of one busy vCPU.
fn two_rivals() -> (World, PoolId, [DomainId; 2]) {
    let mut w = World::new(3, "credit2");
    w.add(0, 1, PoolId::POOL0);
    let rivals = [w.add(1, 1, PoolId::POOL0), w.add(2, 1, PoolId::POOL0)];
    w.settle();
    let mut p = Plan::new();
    for s in [
        Step::CreatePool {
            name: Name::new("work").unwrap(),
            sched: sched("credit2"),
        },
        Step::Cpus(Some(Target::Step(0)), CpuSet::one(CpuId(2))),
        Step::MoveDomain(rivals[0], Target::Step(0)),
        Step::MoveDomain(rivals[1], Target::Step(0)),
    ] {
        p.add(s).unwrap();
    }
    w.carry_out(&p).unwrap();
    let work = w.pool("work");
    (w, work, rivals)
}

fn on(w: &World, v: tarn_abi::VcpuId) -> Option<CpuId> {
    let at = w.cpus.iter().position(|c| c.loaded == Some(v));
    at.map(|i| CpuId(i as u16))
}

/// `v` sleeps, and an interrupt wakes it while its rival runs, now and then, until that has been boosted a few times.
fn boosted(w: &mut World, v: tarn_abi::VcpuId) {
    let before = stats(w, v).boosts[0];
    let mut line = 40;
    for _ in 0..10_000 {
        let end = w.now + tarn_abi::Span::ms(3);
        w.next_event(end);
        if let Some(cpu) = on(w, v)
            && w.cpus[cpu.index()].running
            && w.set.block(v, w.now, || false) == Block::Slept
        {
            w.come_by(cpu);
            w.settle();
            w.next_event(w.now + tarn_abi::Span::ms(3));
            let why = WakeReason::Interrupt { line };
            line += 1;
            if let Woken::Kick(k) = w.set.wake(v, why, w.now) {
                w.send(k);
            }
            w.settle();
        }
        if stats(w, v).boosts[0] >= before + 3 {
            return;
        }
    }
    panic!("{v:?} is not boosted");
}

fn stats(w: &World, v: tarn_abi::VcpuId) -> Stats {
    w.set.vcpu_info(v, w.now).unwrap().stats
}

/// No counter is less.
fn no_less(was: &Stats, is: &Stats, when: &str) {
    let all = |s: &Stats| {
        let mut all = vec![s.runtime.0, s.exhausted, s.storm_held, s.storm_lines];
        all.extend(s.boosts);
        all.extend(s.deboosts);
        all
    };
    for (a, b) in all(was).iter().zip(all(is)) {
        assert!(*a <= b, "{when}: {was:?} {is:?}");
    }
}

#[test]
fn boosts_survive_moves_groups_and_exchanges() {
    let (mut w, work, [d, rival]) = two_rivals();
    let v = vcpu(d, 0);
    let cell = w
        .set
        .create_group(work, &GroupConfig::new("cell"), w.now)
        .unwrap();
    let into = |kind| Step::SetSched(Target::Id(work), sched(kind));
    let into_cell = |d| Step::Group(d, None, Some(cell));
    let steps: [(&str, &[Step]); 7] = [
        ("into a group, both", &[into_cell(d), into_cell(rival)]),
        (
            "out of it, by vCPU",
            &[
                Step::Group(d, Some(0), None),
                Step::Group(rival, None, None),
            ],
        ),
        ("rr", &[into("rr")]),
        ("back to credit2", &[into("credit2")]),
        ("another pool", &[Step::MoveDomain(d, P0)]),
        ("back", &[Step::MoveDomain(d, Target::Id(work))]),
        (
            "rr while they are in a group",
            &[into_cell(d), into_cell(rival), into("rr")],
        ),
    ];
    boosted(&mut w, v);
    for (when, plan) in steps {
        let was = stats(&w, v);
        let all = w.set.all_stats();
        for s in plan {
            w.carry_out(&Plan::of(*s).unwrap()).unwrap();
        }
        let is = stats(&w, v);
        assert_eq!(was.boosts, is.boosts, "{when}: a move boosts nobody");
        no_less(&was, &is, when);
        no_less(&all, &w.set.all_stats(), when);
        let credit2 = w.set.pool_info(w.set.vcpu_info(v, w.now).unwrap().pool);
        let alone = w.set.vcpu_info(v, w.now).unwrap().pool == PoolId::POOL0;
        if credit2.unwrap().sched_name == "credit2" && !alone {
            boosted(&mut w, v);
            assert!(stats(&w, v).boosts[0] >= was.boosts[0] + 3, "{when}");
        }
    }
    let domain = w.set.domain_info(d, w.now).unwrap().stats;
    assert_eq!(domain.boosts, stats(&w, v).boosts);
}

/// A group's processors are made anew for another scheduler; what they have counted is the group's.
#[test]
fn a_groups_counters_survive_an_exchange() {
    let (mut w, work, [d, _]) = two_rivals();
    let cell = w
        .set
        .create_group(work, &GroupConfig::new("cell"), w.now)
        .unwrap();
    w.carry_out(&Plan::of(Step::Group(d, None, Some(cell))).unwrap())
        .unwrap();
    for _ in 0..100 {
        let end = w.now + tarn_abi::Span::ms(10);
        w.next_event(end);
    }
    let of = |w: &World| w.set.group_info(work, cell).unwrap().stats;
    let was = of(&w);
    assert!(was.runtime.0 > 0);
    let times = |w: &World| w.set.group_times(work, cell, w.now).unwrap();
    let (own, all) = times(&w);
    for kind in ["rr", "credit2"] {
        let to = Step::SetSched(Target::Id(work), sched(kind));
        w.carry_out(&Plan::of(to).unwrap()).unwrap();
        no_less(&was, &of(&w), kind);
        let (now, together) = times(&w);
        assert!(
            now >= own && together >= all,
            "{kind}: {now:?} of {together:?}"
        );
    }
}

#[test]
fn the_sum_of_all_never_becomes_less() {
    let (mut w, _, [d, _]) = two_rivals();
    boosted(&mut w, vcpu(d, 0));
    let of_domain = w.set.domain_info(d, w.now).unwrap().stats;
    let all = w.set.all_stats();
    no_less(&of_domain, &all, "one is part of all");
    let k = w.set.kill(d, w.now).unwrap();
    w.send(k);
    w.settle();
    let k = w.set.remove_domain(d, w.now).unwrap();
    w.send(k);
    w.domains.retain(|x| x.0 != d);
    no_less(&all, &w.set.all_stats(), "a domain has ended");
    assert!(all.boosts[0] >= 3);
}
