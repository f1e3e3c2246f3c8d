//! Processors that are called and cannot come, calls that would get lost, moments that are nobody's any more.
//!
//! What any scheduler must do alone is tested with it; random lives are in `pools/tests/liveness.rs`.

use super::*;
use crate::params::RtParams;
use crate::registry;

const C0: CpuId = CpuId(0);
const C1: CpuId = CpuId(1);
const HINT: GuestHint = GuestHint {
    irqs_masked: false,
    dont_desched: false,
    enlightened: false,
    must_idle: false,
};
const AWAY: GuestHint = GuestHint {
    must_idle: true,
    ..HINT
};
const LINE: WakeReason = WakeReason::Interrupt { line: 40 };

fn t(us: u64) -> Instant {
    Instant(us * 1000)
}

fn instance(name: &str) -> Box<dyn Scheduler> {
    registry::build(registry::by_name(name).unwrap(), &SchedParams::DEFAULT).unwrap()
}

/// Of ten milliseconds.
fn budget(ms: u64) -> VcpuParams {
    VcpuParams {
        rt: RtParams {
            period: Span::ms(10),
            budget: Span::ms(ms),
        },
        ..VcpuParams::DEFAULT
    }
}

/// A root over these CPUs, and a group in it with two processors.
fn tree(root: &str, cpus: &[CpuId], group: &str, each: &VcpuParams) -> (Tree, NodeId) {
    let mut tree = Tree::new(instance(root));
    for &c in cpus {
        tree.alloc_pcpu(c).unwrap();
        let _ = tree.switch_sched(c, t(0));
    }
    let sched = instance(group);
    let g = tree.add_group(NodeId::ROOT, sched, 2, each, t(0)).unwrap();
    for &c in cpus {
        assert_eq!(tree.pick_next(c, HINT, t(0)).next, None);
    }
    (tree, g)
}

fn member(tree: &mut Tree, g: NodeId, tag: u32) -> Leaf {
    tree.alloc_vcpu(g, Tag(tag), &budget(1)).unwrap()
}

/// Of two processors under null one has the only CPU, the other stands in line. Who is called for there must share.
#[test]
fn who_waits_for_a_processor_in_line_shares_the_other() {
    let (mut tree, g) = tree("null", &[C0], "rr", &budget(1));
    let (a, b) = (member(&mut tree, g, 1), member(&mut tree, g, 2));
    assert_eq!(tree.insert(a, true, t(1)), Kick::one(C0));
    assert_eq!(tree.pick_next(C0, HINT, t(1)).next, Some(Tag(1)));
    let kick = tree.insert(b, true, t(2));
    assert_eq!(kick, Kick::one(C0), "nobody tells the CPU that runs on");
    let pick = tree.pick_next(C0, HINT, t(2));
    assert_eq!(pick.next, Some(Tag(1)));
    let end = pick.until.expect("a turn ends");
    assert_eq!(tree.pick_next(C0, HINT, end).next, Some(Tag(2)));
}

/// A processor whose budget is spent is called; the other has all of its own, and the CPU has nothing to do.
#[test]
fn a_spent_processor_is_stood_in_for() {
    let (mut tree, g) = tree("rtds", &[C0], "rr", &budget(3));
    let a = member(&mut tree, g, 1);
    let _ = tree.insert(a, true, t(0));
    assert_eq!(tree.pick_next(C0, HINT, t(0)).next, Some(Tag(1)));
    tree.sleep(a, t(3000));
    assert_eq!(tree.pick_next(C0, HINT, t(3000)).next, None);
    let _ = tree.context_saved(a, C0, t(3000));
    assert_eq!(tree.wake(a, LINE, t(4000)), Kick::one(C0));
    assert_eq!(tree.pick_next(C0, HINT, t(4000)).next, Some(Tag(1)));
}

/// A CPU leaves a pool under null, and the processor that had it goes into the line with somebody in it.
#[test]
fn who_loses_a_cpu_with_its_processor_gets_another() {
    let (mut tree, g) = tree("null", &[C0, C1], "rr", &budget(1));
    let a = member(&mut tree, g, 1);
    assert_eq!(tree.insert(a, true, t(1)), Kick::one(C0));
    assert_eq!(tree.pick_next(C0, HINT, t(1)).next, Some(Tag(1)));
    assert_eq!(tree.pick_next(C0, AWAY, t(2)).next, None);
    let _ = tree.context_saved(a, C0, t(2));
    let kick = tree.free_pcpu(C0, t(2));
    assert!(kick.0.contains(C1), "{kick:?}");
    assert_eq!(tree.pick_next(C1, HINT, t(2)).next, Some(Tag(1)));
}

/// An interrupt for a boosted member that runs: nobody has to come for it, and no sister is boosted for it.
#[test]
fn an_interrupt_for_one_that_runs_boosted_calls_nobody() {
    let (mut tree, g) = tree("credit2", &[C0], "credit2", &budget(1));
    let [a, b, c] = [1, 2, 3].map(|tag| member(&mut tree, g, tag));
    let _ = tree.insert(a, false, t(0));
    let _ = tree.insert(b, true, t(0));
    assert_eq!(tree.pick_next(C0, HINT, t(0)).next, Some(Tag(2)));
    let _ = tree.insert(c, true, t(1));
    let _ = tree.pick_next(C0, HINT, t(1));
    assert_eq!(tree.wake(a, LINE, t(5000)), Kick::one(C0));
    let pick = tree.pick_next(C0, HINT, t(5000));
    assert_eq!((pick.next, pick.boosted), (Some(Tag(1)), true));
    let _ = tree.context_saved(b, C0, t(5001));
    assert_eq!(tree.notify(a, LINE, t(5002)), Kick::NONE);
    let vps = &tree.group(g.0).vps;
    let waits = vps.iter().find(|v| v.cpu.is_none() && v.runnable);
    let sister = waits.expect("the other processor waits").ent;
    assert!(!tree.root.is_boosted(sister));
}

/// What a group wanted goes with it: else the next one's moment, being later, would be thought to have its timer.
#[test]
fn a_removed_group_is_due_no_more() {
    let (mut tree, g) = tree("rr", &[C0], "rtds", &budget(1));
    let a = member(&mut tree, g, 1);
    let _ = tree.insert(a, true, t(0));
    assert_eq!(tree.pick_next(C0, HINT, t(0)).next, Some(Tag(1)));
    assert_eq!(tree.pick_next(C0, HINT, t(1000)).next, None);
    let _ = tree.context_saved(a, C0, t(1000));
    assert_eq!(tree.due(), Some(t(10_000)));
    let _ = tree.remove(a, t(2000));
    tree.free_vcpu(a);
    let _ = tree.remove_group(g, t(2000)).unwrap();
    assert_eq!(tree.due(), None);
}

/// A CPU comes to a pool that has none. It goes to the first processor in line, which sleeps; the other was called.
#[test]
fn who_stands_in_line_is_let_in_when_a_sister_gets_the_place() {
    let (mut tree, g) = tree("null", &[], "rr", &budget(1));
    let [a, b] = [1, 2].map(|tag| member(&mut tree, g, tag));
    // The first is called for one who then sleeps; the second for one who goes on waiting.
    let _ = tree.insert(a, true, t(1));
    let _ = tree.insert(b, true, t(1));
    let vps = &mut tree.group(g.0).vps;
    let first = vps[0].ent;
    assert!(vps.iter().all(|v| v.runnable && v.cpu.is_none()));
    vps[0].runnable = false;
    tree.root.sleep(first, t(2));
    tree.sleep(a, t(2));
    tree.alloc_pcpu(C0).unwrap();
    assert!(tree.switch_sched(C0, t(3)).0.contains(C0));
    assert_eq!(tree.pick_next(C0, HINT, t(3)).next, Some(Tag(2)));
}

/// The processor that runs a member has spent its budget; a sister has all of its own. Whatever the group's scheduler, and
/// though the group is inside another, the member goes on at once, and at the end with both budgets spent.
#[test]
fn who_loses_a_spent_processor_goes_on_with_a_sister() {
    for inner in ["rr", "credit2", "rtds"] {
        for between in [None, Some("rr"), Some("credit2"), Some("rtds")] {
            for members in [1, 2] {
                let (mut tree, mut g) = tree("rtds", &[C0], between.unwrap_or(inner), &budget(3));
                if between.is_some() {
                    g = tree
                        .add_group(g, instance(inner), 2, &budget(5), t(0))
                        .unwrap();
                }
                let leaves: Vec<Leaf> = (0..members)
                    .map(|i| {
                        tree.alloc_vcpu(g, Tag(i), &budget(6 / u64::from(members)))
                            .unwrap()
                    })
                    .collect();
                for l in &leaves {
                    let _ = tree.insert(*l, true, t(0));
                }
                let (mut now, mut loaded, mut busy) = (t(0), None::<Tag>, Span::ZERO);
                let mut called = true;
                for _ in 0..100 {
                    let pick = tree.pick_next(C0, HINT, now);
                    called = !pick.kick.is_none();
                    if let Some(old) = loaded.filter(|_| pick.next != loaded) {
                        called |= !tree
                            .context_saved(leaves[old.0 as usize], C0, now)
                            .is_none();
                    }
                    loaded = pick.next;
                    tree.check(now).unwrap();
                    if called {
                        continue;
                    }
                    let until = pick.until.unwrap_or(t(10_000)).min(t(10_000));
                    if loaded.is_some() {
                        busy += until.since(now);
                    }
                    now = until;
                    if now == t(10_000) {
                        break;
                    }
                }
                assert!(
                    !called && now == t(10_000),
                    "{inner} in {between:?}: calls for ever"
                );
                assert_eq!(busy, Span::ms(6), "{inner} in {between:?}, {members}");
            }
        }
    }
}

/// With all budgets of a group spent, it goes on where the next period begins, not where it was called last.
#[test]
fn a_group_without_budgets_waits_for_the_first_of_them() {
    let (mut tree, g) = tree("rtds", &[C0], "rr", &budget(1));
    let a = member(&mut tree, g, 1);
    // Periods begin when the processors wake: at 12 and at 13 ms.
    assert_eq!(tree.insert(a, true, t(12_000)), Kick::one(C0));
    for (now, end) in [(12_000, 13_000), (13_000, 14_000)] {
        let pick = tree.pick_next(C0, HINT, t(now));
        assert_eq!((pick.next, pick.until), (Some(Tag(1)), Some(t(end))));
        assert_eq!(tree.pick_next(C0, HINT, t(end)).next, None);
        let _ = tree.context_saved(a, C0, t(end));
        tree.check(t(end)).unwrap();
    }
    let pick = tree.pick_next(C0, HINT, t(14_000));
    assert_eq!((pick.next, pick.until), (None, Some(t(22_000))));
    assert_eq!(tree.pick_next(C0, HINT, t(22_000)).next, Some(Tag(1)));
}

/// A CPU leaves a processor with somebody in it. Its group calls that processor for him, which is not there any more: the
/// CPU has just decided, and called again it would decide again, for ever where its scheduler then takes another.
#[test]
fn a_cpu_that_leaves_a_processor_is_not_called_for_it() {
    for inner in ["rr", "credit2", "rtds"] {
        let (mut tree, g) = tree("rtds", &[C0], inner, &budget(1));
        let mut short = budget(1);
        short.rt.period = Span::ms(5);
        let urgent = tree.alloc_vcpu(NodeId::ROOT, Tag(9), &short).unwrap();
        let a = member(&mut tree, g, 1);
        let _ = tree.insert(a, true, t(0));
        assert_eq!(tree.pick_next(C0, HINT, t(0)).next, Some(Tag(1)));
        assert_eq!(tree.insert(urgent, true, t(200)), Kick::one(C0));
        assert_eq!(tree.pick_next(C0, HINT, t(200)).next, Some(Tag(9)));
        assert_eq!(tree.context_saved(a, C0, t(200)), Kick::NONE, "{inner}");
    }
}

/// Somebody urgent wakes in a group, and the processor that is called for him has to wait in the parent. The one that runs
/// somebody less urgent does not.
#[test]
fn who_is_urgent_does_not_wait_for_a_processor_that_waits() {
    let (mut tree, g) = tree("rtds", &[C0], "rtds", &budget(3));
    let [slow, urgent] = [(1, 100), (2, 5)].map(|(tag, period)| {
        let rt = RtParams {
            period: Span::ms(period),
            budget: Span::ms(1),
        };
        let p = VcpuParams {
            rt,
            ..VcpuParams::DEFAULT
        };
        tree.alloc_vcpu(g, Tag(tag), &p).unwrap()
    });
    let _ = tree.insert(slow, true, t(0));
    assert_eq!(tree.pick_next(C0, HINT, t(0)).next, Some(Tag(1)));
    assert_eq!(tree.insert(urgent, true, t(100)), Kick::one(C0));
    assert_eq!(tree.pick_next(C0, HINT, t(100)).next, Some(Tag(2)));
}

/// Who yields in a group keeps his budget and his processor's.
#[test]
fn a_yield_takes_nothing_from_a_processor() {
    let (mut tree, g) = tree("rtds", &[C0], "rtds", &budget(3));
    let a = tree.alloc_vcpu(g, Tag(1), &budget(3)).unwrap();
    let _ = tree.insert(a, true, t(0));
    assert_eq!(tree.pick_next(C0, HINT, t(0)).next, Some(Tag(1)));
    tree.yield_now(a, Some(C0), t(1000));
    let pick = tree.pick_next(C0, HINT, t(1000));
    assert_eq!((pick.next, pick.until), (Some(Tag(1)), Some(t(3000))));
}

/// In thousandths of a second.
fn of(period: u64, budget: u64) -> VcpuParams {
    VcpuParams {
        rt: RtParams {
            period: Span::ms(period),
            budget: Span::ms(budget),
        },
        ..VcpuParams::DEFAULT
    }
}

/// A member and the processor that runs it have spent their budgets at one moment: the member's next period is on time, on
/// the sister.
#[test]
fn a_period_begins_on_time_after_both_budgets_are_spent() {
    for cpus in [&[C0][..], &[C0, C1]] {
        let (mut tree, g) = tree("rtds", cpus, "rtds", &of(10, 2));
        let a = tree.alloc_vcpu(g, Tag(1), &of(4, 2)).unwrap();
        let _ = tree.insert(a, true, t(0));
        let pick = tree.pick_next(C0, HINT, t(0));
        assert_eq!((pick.next, pick.until), (Some(Tag(1)), Some(t(2000))));
        let pick = tree.pick_next(C0, HINT, t(2000));
        assert_eq!((pick.next, pick.until), (None, Some(t(4000))));
        let _ = tree.context_saved(a, C0, t(2000));
        tree.check(t(2000)).unwrap();
        let pick = tree.pick_next(C0, HINT, t(4000));
        assert_eq!((pick.next, pick.until), (Some(Tag(1)), Some(t(6000))));
        assert_eq!(pick.kick, Kick::NONE);
        tree.check(t(4000)).unwrap();
    }
}

/// Somebody whose budget is spent wakes in a group whose only processor that could set a timer has spent its own: a CPU
/// that is idle sets it.
#[test]
fn who_wakes_spent_behind_a_spent_processor_has_a_timer() {
    let (mut tree, g) = tree("rtds", &[C0], "rtds", &of(10, 2));
    let [a, b] =
        [(1, of(5, 2)), (2, of(20, 2))].map(|(tag, p)| tree.alloc_vcpu(g, Tag(tag), &p).unwrap());
    // With an earlier period than the processors', spent first.
    let hog = tree.alloc_vcpu(NodeId::ROOT, Tag(3), &of(8, 1)).unwrap();
    let _ = tree.insert(hog, true, t(0));
    assert_eq!(tree.pick_next(C0, HINT, t(0)).next, Some(Tag(3)));
    let _ = tree.insert(a, true, t(0));
    assert_eq!(tree.pick_next(C0, HINT, t(1000)).next, Some(Tag(1)));
    let _ = tree.context_saved(hog, C0, t(1000));
    // Both budgets are at their end, and it sleeps.
    tree.sleep(a, t(3000));
    assert_eq!(tree.pick_next(C0, HINT, t(3000)).next, None);
    let _ = tree.context_saved(a, C0, t(3000));
    // The sister runs the other.
    let _ = tree.insert(b, true, t(3000));
    assert_eq!(tree.pick_next(C0, HINT, t(3000)).next, Some(Tag(2)));
    tree.sleep(b, t(4000));
    assert_eq!(tree.pick_next(C0, HINT, t(4000)).next, None);
    let _ = tree.context_saved(b, C0, t(4000));
    let kick = tree.wake(a, LINE, t(4000));
    assert_eq!(kick, Kick::one(C0), "nobody sets a timer");
    let pick = tree.pick_next(C0, HINT, t(4000));
    assert_eq!((pick.next, pick.until), (None, Some(t(5000))));
    assert_eq!(tree.pick_next(C0, HINT, t(5000)).next, Some(Tag(1)));
}

/// A processor that sleeps, held by the CPU of who slept in it, is called for another member and loses its budget before
/// that CPU comes: a sister that may run takes its place.
#[test]
fn a_call_outlives_the_budget_of_a_processor_that_is_still_held() {
    let (mut tree, g) = tree("rtds", &[C0], "rtds", &of(10, 4));
    let [a, b] = [1, 2].map(|tag| member(&mut tree, g, tag));
    let _ = tree.insert(b, false, t(0));
    let _ = tree.insert(a, true, t(0));
    assert_eq!(tree.pick_next(C0, HINT, t(0)).next, Some(Tag(1)));
    tree.sleep(a, t(900));
    assert_eq!(tree.pick_next(C0, HINT, t(900)).next, None);
    assert_eq!(tree.wake(b, LINE, t(950)), Kick::one(C0));
    // It has had more than its share of the period by now; the sister, which has not run, begins a new one.
    let kick = tree.adjust_group(g, &of(10, 3), t(1000)).unwrap();
    assert_eq!(kick, Kick::one(C0));
    tree.check(t(1000)).unwrap();
    assert_eq!(tree.pick_next(C0, HINT, t(1000)).next, Some(Tag(2)));
    let _ = tree.context_saved(a, C0, t(1000));
    tree.check(t(1000)).unwrap();
}

/// The same where no sister may run: a CPU has a timer for what is due in the group.
#[test]
fn what_is_due_outlives_the_place_of_a_processor_that_is_still_held() {
    let mut tree = Tree::new(instance("null"));
    for c in [C0, C1] {
        tree.alloc_pcpu(c).unwrap();
        let _ = tree.switch_sched(c, t(0));
    }
    let first = tree
        .alloc_vcpu(NodeId::ROOT, Tag(3), &VcpuParams::DEFAULT)
        .unwrap();
    let _ = tree.insert(first, false, t(0));
    let rtds = instance("rtds");
    let g = tree
        .add_group(NodeId::ROOT, rtds, 2, &budget(1), t(0))
        .unwrap();
    let [a, b] = [1, 2].map(|tag| member(&mut tree, g, tag));
    let _ = tree.insert(b, false, t(0));
    let _ = tree.insert(a, true, t(0));
    assert_eq!(tree.pick_next(C1, HINT, t(0)).next, Some(Tag(1)));
    tree.sleep(a, t(500));
    assert_eq!(tree.pick_next(C1, HINT, t(500)).next, None);
    assert_eq!(tree.wake(b, LINE, t(600)), Kick::one(C1));
    // Who came before the group needs its CPU now.
    let kick = tree.free_pcpu(C0, t(700));
    assert!(kick.0.contains(C1));
    let pick = tree.pick_next(C1, HINT, t(700));
    assert_eq!((pick.next, pick.until), (None, Some(t(10_600))));
    let _ = tree.context_saved(a, C1, t(700));
    tree.check(t(700)).unwrap();
    // Its processor has a place again, and who has waited runs.
    let _ = tree.remove(first, t(800));
    assert_eq!(tree.pick_next(C1, HINT, t(800)).next, Some(Tag(2)));
}

/// A boost goes up as far as there is boost credit, and no further: who wakes boosted two groups down preempts somebody
/// outside only if both processors above have some.
#[test]
fn a_boost_needs_credit_at_every_level() {
    for (outer, inner) in [(250, 250), (0, 250), (250, 0), (0, 0)] {
        let mut tree = Tree::new(instance("credit2"));
        tree.alloc_pcpu(C0).unwrap();
        let _ = tree.switch_sched(C0, t(0));
        let mut home = NodeId::ROOT;
        for ratio in [outer, inner] {
            let mut p = VcpuParams::DEFAULT;
            p.boost.ratio = ratio;
            home = tree
                .add_group(home, instance("credit2"), 1, &p, t(0))
                .unwrap();
        }
        let p = VcpuParams::DEFAULT;
        let a = tree.alloc_vcpu(home, Tag(1), &p).unwrap();
        let hog = tree.alloc_vcpu(NodeId::ROOT, Tag(2), &p).unwrap();
        let _ = tree.insert(a, false, t(0));
        let _ = tree.insert(hog, true, t(0));
        assert_eq!(tree.pick_next(C0, HINT, t(0)).next, Some(Tag(2)));
        // Within its rate limit, in which only who is boosted goes before it.
        let _ = tree.wake(a, LINE, t(300));
        let first = if outer > 0 && inner > 0 {
            Tag(1)
        } else {
            Tag(2)
        };
        let pick = tree.pick_next(C0, HINT, t(300));
        assert_eq!(pick.next, Some(first), "{outer} {inner}");
        // Afterwards it runs, boosted or not.
        assert_eq!(tree.pick_next(C0, HINT, t(1_100)).next, Some(Tag(1)));
    }
}

/// Who wakes with a spent budget gets a processor that waits in the parent. If his next period begins before that one has a
/// CPU there, a sister that runs somebody less urgent comes by for him.
#[test]
fn a_new_budget_does_not_wait_for_the_processor_that_was_called() {
    let (mut tree, g) = tree("rr", &[C0, C1], "rtds", &budget(1));
    let mut add = |node, tag, p| tree.alloc_vcpu(node, Tag(tag), &p).unwrap();
    let (slow, quick) = (add(g, 1, of(1000, 500)), add(g, 2, of(4, 1)));
    let hogs = [3, 4].map(|tag| add(NodeId::ROOT, tag, budget(1)));
    let _ = tree.insert(quick, true, t(0));
    assert_eq!(tree.pick_next(C0, HINT, t(0)).next, Some(Tag(2)));
    tree.sleep(quick, t(1000));
    assert_eq!(tree.pick_next(C0, HINT, t(1000)).next, None);
    let _ = tree.context_saved(quick, C0, t(1000));
    for l in [slow, hogs[0], hogs[1]] {
        let _ = tree.insert(l, true, t(1000));
    }
    assert_eq!(tree.pick_next(C0, HINT, t(1000)).next, Some(Tag(1)));
    assert_eq!(tree.pick_next(C1, HINT, t(1000)).next, Some(Tag(3)));
    assert_eq!(tree.wake(quick, LINE, t(1500)), Kick::one(C0));
    let pick = tree.pick_next(C0, HINT, t(1500));
    assert_eq!((pick.next, pick.until), (Some(Tag(1)), Some(t(4000))));
    assert_eq!(tree.pick_next(C0, HINT, t(4000)).next, Some(Tag(2)));
}

/// What was due in a group is so no more when a processor of it has come, and its CPU has a timer; or when who wanted it
/// sleeps. Others' CPUs have none for it from then on.
#[test]
fn what_has_a_timer_is_due_nowhere_else() {
    let (mut tree, g) = tree("rr", &[C0, C1], "rtds", &budget(1));
    let a = member(&mut tree, g, 1);
    let hog = tree.alloc_vcpu(NodeId::ROOT, Tag(2), &budget(1)).unwrap();
    let _ = tree.insert(a, true, t(0));
    assert_eq!(tree.pick_next(C0, HINT, t(0)).next, Some(Tag(1)));
    assert_eq!(tree.pick_next(C0, HINT, t(1000)).next, None);
    let _ = tree.context_saved(a, C0, t(1000));
    let _ = tree.insert(hog, true, t(1000));
    let pick = tree.pick_next(C1, HINT, t(1000));
    assert_eq!((pick.next, pick.until), (Some(Tag(2)), Some(t(10_000))));
    let _ = tree.pick_next(C0, HINT, t(10_000));
    assert_eq!(tree.pick_next(C0, HINT, t(10_000)).next, Some(Tag(1)));
    assert_eq!(tree.pick_next(C1, HINT, t(10_000)).until, None);
    tree.sleep(a, t(10_500));
    assert_eq!(tree.pick_next(C0, HINT, t(10_500)).until, None);
}

/// A processor that was called for who waits for his next period loses its place: a sister that has one serves him then.
#[test]
fn a_period_outlives_the_place_of_the_processor_that_was_called_for_it() {
    const C2: CpuId = CpuId(2);
    let mut tree = Tree::new(instance("null"));
    for c in [C0, C1, C2] {
        tree.alloc_pcpu(c).unwrap();
        let _ = tree.switch_sched(c, t(0));
    }
    let first = tree.alloc_vcpu(NodeId::ROOT, Tag(3), &budget(1)).unwrap();
    let _ = tree.insert(first, false, t(0));
    let rtds = instance("rtds");
    let g = tree
        .add_group(NodeId::ROOT, rtds, 2, &budget(1), t(0))
        .unwrap();
    let [a, b] = [1, 2].map(|tag| member(&mut tree, g, tag));
    for (l, cpu, tag) in [(b, C1, 2), (a, C2, 1)] {
        assert_eq!(tree.insert(l, true, t(0)), Kick::one(cpu));
        assert_eq!(tree.pick_next(cpu, HINT, t(0)).next, Some(Tag(tag)));
    }
    tree.sleep(b, t(500));
    assert_eq!(tree.pick_next(C1, HINT, t(500)).next, None);
    let _ = tree.context_saved(b, C1, t(500));
    assert_eq!(tree.pick_next(C2, HINT, t(600)).next, Some(Tag(1)));
    tree.sleep(a, t(1000));
    assert_eq!(tree.pick_next(C2, HINT, t(1000)).next, None);
    let _ = tree.context_saved(a, C2, t(1000));
    // Spent, and where it has run.
    assert_eq!(tree.wake(a, LINE, t(1500)), Kick::one(C2));
    // Who came before the group needs that CPU now.
    let kick = tree.free_pcpu(C0, t(1600));
    assert!(!kick.is_none(), "nobody sets a timer");
    for c in kick.0.iter() {
        let pick = tree.pick_next(c, HINT, t(1600));
        assert_eq!((pick.next, pick.until), (None, Some(t(10_000))));
    }
    // By whichever CPU comes first.
    let mut kick = kick;
    while let Some(c) = kick.0.lowest() {
        kick.0.remove(c);
        let pick = tree.pick_next(c, HINT, t(10_000));
        if pick.next == Some(Tag(1)) {
            return;
        }
        kick = kick.and(pick.kick);
    }
    panic!("its period has begun, and it waits");
}
