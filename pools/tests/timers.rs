//! Timers that fail: for every N the Nth timer that is set from the beginning of a plan on is lost, late or early; the
//! plan is carried out or not at all as without that, and guests that never sleep all run on.

mod world;

use tarn_abi::call::param::Setting;
use tarn_abi::{CpuId, CpuSet, Label, PoolId, Span};
use tarn_pools::*;
use world::{TimerFault, World, sched, two_pools, vcpu};

const FAULTS: [TimerFault; 3] = [TimerFault::Lost, TimerFault::Late, TimerFault::Early];
/// Within this time everybody has run once: some rounds of slices and of periods.
const ROUNDS: Span = Span::ms(500);

/// Six CPUs, ten vCPUs that never sleep, dom0 among them.
fn busy() -> World {
    let mut w = World::new(6, "credit2");
    for slot in 0..4 {
        w.add(slot, if slot == 0 { 1 } else { 3 }, PoolId::POOL0);
    }
    w.settle();
    w
}

/// Pools of one and of two CPUs with more vCPUs than that, another scheduler for Pool-0, parameters; or, with `bad`, the
/// same with a last step that cannot be.
fn plan(w: &World, bad: bool) -> Plan {
    let weight = |value| {
        let name = Label::new("weight").unwrap();
        [Some(Setting { name, value }), None]
    };
    let (d1, d2, d3) = (w.domains[1].0, w.domains[2].0, w.domains[3].0);
    let mut p = Plan::new();
    let pools = two_pools(["credit2", "rr"], ["3", "4-5"]);
    let rest = [
        Step::MoveDomain(d1, Target::Step(0)),
        Step::MoveDomain(d2, Target::Step(1)),
        Step::SetSched(Target::Id(PoolId::POOL0), sched("rr")),
        Step::DomainParams(d3, weight(if bad { 0 } else { 300 })),
    ];
    for s in pools.into_iter().chain(rest) {
        p.add(s).unwrap();
    }
    p
}

/// Fails each timer there is, one after the other, until none is left to fail; `run` judges. How many there were.
fn each_timer(fault: TimerFault, mut run: impl FnMut(&mut World, u64)) -> u64 {
    for n in 1.. {
        let mut w = busy();
        w.fail_timer = Some((n, fault));
        run(&mut w, n);
        if w.fail_timer.is_some() {
            return n - 1;
        }
    }
    unreachable!()
}

fn finish(w: &mut World) -> Result<(), PoolError> {
    let ended = w.finish().map(drop);
    w.check();
    ended
}

#[test]
fn the_nth_timer_fails_for_every_n_and_the_plan_is_carried_out() {
    let mut w = busy();
    let p = plan(&w, false);
    w.carry_out(&p).unwrap();
    let after = w.picture();
    for fault in FAULTS {
        let tried = each_timer(fault, |w, n| {
            w.carry_out(&plan(w, false)).unwrap();
            assert_eq!(w.picture(), after, "timer {n} {fault:?}");
            // Those set after the end of the plan count, too.
            w.everybody_runs(ROUNDS, true)
                .unwrap_or_else(|e| panic!("timer {n} {fault:?}: {e}"));
            w.check();
        });
        assert!(tried > 10, "only {tried} timers were set");
    }
}

#[test]
fn the_nth_timer_fails_for_every_n_and_a_refusal_changes_nothing() {
    let before = busy().picture();
    for fault in FAULTS {
        let tried = each_timer(fault, |w, n| {
            let refusal = w.carry_out(&plan(w, true)).unwrap_err();
            assert_eq!(refusal.step, 7);
            assert_eq!(w.picture(), before, "timer {n} {fault:?}");
            w.everybody_runs(ROUNDS, false)
                .unwrap_or_else(|e| panic!("timer {n} {fault:?}: {e}"));
        });
        assert!(tried > 3, "only {tried} timers were set");
    }
}

#[test]
fn the_nth_timer_fails_for_every_n_and_a_change_can_still_be_taken_back() {
    let mut done = busy();
    let before = done.picture();
    let p = plan(&done, false);
    done.carry_out(&p).unwrap();
    let after = done.picture();
    let (mut back, mut late) = (0, 0);
    for looks in [0, 2, 4, 8, 16] {
        for fault in FAULTS {
            each_timer(fault, |w, n| {
                let (kick, begun) = w.set.begin(&plan(w, false), w.now);
                begun.unwrap();
                w.send(kick);
                for _ in 0..looks {
                    let end = w.now + Span::ms(1);
                    w.next_event(end);
                    w.check();
                }
                match w.set.abort(w.now) {
                    Ok(k) => w.send(k),
                    Err(e) => assert_eq!(e, PoolError::TooLate),
                }
                let want = match finish(w) {
                    Ok(()) => {
                        late += 1;
                        &after
                    }
                    Err(e) => {
                        assert_eq!(e, PoolError::Aborted);
                        back += 1;
                        &before
                    }
                };
                assert_eq!(w.picture(), *want, "timer {n} {fault:?}, {looks} looks");
                w.everybody_runs(ROUNDS, true)
                    .unwrap_or_else(|e| panic!("timer {n} {fault:?}, {looks} looks: {e}"));
            });
        }
    }
    assert!(back > 10 && late > 10, "{back} {late}");
}

/// In a pool of several CPUs nobody needs dom0: who is still on time calls who is not. Each CPU has vCPUs of its own, so that
/// nobody comes there for another reason.
#[test]
fn a_pool_of_several_cpus_helps_itself() {
    for kind in ["credit2", "rr"] {
        let tried = each_timer(TimerFault::Lost, |w, n| {
            for (d, vcpus) in w.domains.clone() {
                for i in 0..vcpus {
                    let v = vcpu(d, i);
                    let params = VcpuParams {
                        affinity: CpuSet::one(CpuId((v.slot / 2) % 3)),
                        ..VcpuParams::DEFAULT
                    };
                    let k = w.set.adjust_vcpu(v, &params, w.now).unwrap();
                    w.send(k);
                }
            }
            let mut p = Plan::new();
            p.add(Step::SetSched(Target::Id(PoolId::POOL0), sched(kind)))
                .unwrap();
            w.carry_out(&p).unwrap();
            w.everybody_runs(ROUNDS, false)
                .unwrap_or_else(|e| panic!("{kind}, timer {n}: {e}"));
        });
        assert!(tried > 3, "{kind}: only {tried} timers were set");
    }
}
