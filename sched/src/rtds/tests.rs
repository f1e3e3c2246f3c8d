//! What one instance must do alone: admission, budgets, periods, calls. Whole task sets: `sched/tests/edf.rs`.

use super::*;
use alloc::vec;
use alloc::vec::Vec;

#[test]
fn admission_gives_its_reason() {
    let mut s = Rtds::new(&SchedParams::DEFAULT);
    for c in 0..2 {
        s.alloc_pcpu(CpuId(c)).unwrap();
    }
    let ask = |budget| VcpuParams {
        rt: RtParams {
            period: Span::ms(10),
            budget: Span::ms(budget),
        },
        ..VcpuParams::DEFAULT
    };
    let a = s.alloc_vcpu(Tag(0), &ask(6)).unwrap();
    s.alloc_vcpu(Tag(1), &ask(6)).unwrap();
    let e = s.alloc_vcpu(Tag(2), &ask(6)).unwrap_err();
    assert_eq!(
        e,
        SchedError::Inadmissible {
            asked: 1800,
            available: 1400
        }
    );
    s.alloc_vcpu(Tag(2), &ask(2)).unwrap();
    assert!(s.adjust_vcpu(a, &ask(9), Instant(0)).is_err());
    s.check().unwrap();
}

#[test]
fn a_budget_is_a_budget() {
    let mut s = Rtds::new(&SchedParams::DEFAULT);
    s.alloc_pcpu(CpuId(0)).unwrap();
    let _ = s.switch_sched(CpuId(0), Instant(0));
    let rt = RtParams {
        period: Span::ms(10),
        budget: Span::ms(3),
    };
    let e = s
        .alloc_vcpu(
            Tag(9),
            &VcpuParams {
                rt,
                ..VcpuParams::DEFAULT
            },
        )
        .unwrap();
    let _ = s.insert(e, true, Instant(0));
    let hint = GuestHint::default();
    let p = s.pick_next(CpuId(0), hint, Instant(0));
    assert_eq!((p.next, p.until), (Some(Tag(9)), Some(Instant(3_000_000))));
    let p = s.pick_next(CpuId(0), hint, Instant(3_000_000));
    assert_eq!((p.next, p.until), (None, Some(Instant(10_000_000))));
    let _ = s.context_saved(e, Instant(3_000_000));
    assert_eq!(
        s.pick_next(CpuId(0), hint, Instant(10_000_000)).next,
        Some(Tag(9))
    );
    assert_eq!(s.stats(e).runtime, Span::ms(3));
}

/// Somebody wakes whose budget is spent while every CPU is busy for longer than his period lasts: whoever comes by
/// must be there when his next one begins.
#[test]
fn a_period_begins_on_time_though_everybody_is_busy() {
    let mut s = Rtds::new(&SchedParams::DEFAULT);
    let (c0, t) = (CpuId(0), |ms: u64| Instant(ms * 1_000_000));
    s.alloc_pcpu(c0).unwrap();
    let _ = s.switch_sched(c0, t(0));
    let ask = |period, budget| VcpuParams {
        rt: RtParams {
            period: Span::ms(period),
            budget: Span::ms(budget),
        },
        ..VcpuParams::DEFAULT
    };
    let short = s.alloc_vcpu(Tag(1), &ask(10, 1)).unwrap();
    let long = s.alloc_vcpu(Tag(2), &ask(100, 50)).unwrap();
    let hint = GuestHint::default();
    let _ = s.insert(short, true, t(0));
    let _ = s.pick_next(c0, hint, t(0));
    // Its budget goes to the last and it sleeps.
    s.sleep(short, t(1));
    let _ = s.insert(long, true, t(1));
    let pick = s.pick_next(c0, hint, t(1));
    assert_eq!((pick.next, pick.until), (Some(Tag(2)), Some(t(51))));
    let _ = s.context_saved(short, t(1));
    let kick = s.wake(short, WakeReason::Timer, t(2));
    assert_eq!(kick, Kick::one(c0), "nobody comes by at 10 ms");
    let pick = s.pick_next(c0, hint, t(2));
    assert_eq!((pick.next, pick.until), (Some(Tag(2)), Some(t(10))));
    assert_eq!(s.pick_next(c0, hint, t(10)).next, Some(Tag(1)));
}

fn cpus(n: u16) -> Rtds {
    let mut s = Rtds::new(&SchedParams::DEFAULT);
    for c in (0..n).map(CpuId) {
        s.alloc_pcpu(c).unwrap();
        let _ = s.switch_sched(c, Instant(0));
    }
    s
}

/// In microseconds.
fn rt(period: u64, budget: u64, affinity: CpuSet) -> VcpuParams {
    VcpuParams {
        rt: RtParams {
            period: Span::us(period),
            budget: Span::us(budget),
        },
        affinity,
        ..VcpuParams::DEFAULT
    }
}

const HINT: GuestHint = GuestHint {
    irqs_masked: false,
    dont_desched: false,
    enlightened: false,
    must_idle: false,
};

/// A CPU is called for one and takes another, more urgent, who may run nowhere else: the first goes where it comes before
/// whoever runs there.
#[test]
fn who_is_not_taken_by_the_cpu_called_for_him_goes_to_another() {
    let (mut s, c0, c1, now) = (cpus(2), CpuId(0), CpuId(1), Instant(0));
    let mut add = |tag, period, affinity| {
        s.alloc_vcpu(Tag(tag), &rt(period, 1_000, affinity))
            .unwrap()
    };
    let long = add(1, 100_000, CpuSet::ALL);
    let middle = add(2, 20_000, CpuSet::ALL);
    let short = add(3, 10_000, CpuSet::one(c0));
    let _ = s.insert(long, true, now);
    assert_eq!(s.pick_next(c1, HINT, now).next, Some(Tag(1)));
    let _ = s.pick_next(c0, HINT, now);
    assert_eq!(s.insert(middle, true, now), Kick::one(c0));
    let _ = s.insert(short, true, now);
    let pick = s.pick_next(c0, HINT, now);
    assert_eq!((pick.next, pick.kick), (Some(Tag(3)), Kick::one(c1)));
    assert_eq!(s.pick_next(c1, HINT, now).next, Some(Tag(2)));
}

/// The period of one who runs ends, and another CPU is the first to notice: who waits is more urgent now.
#[test]
fn whose_period_ends_gives_way_to_who_waits() {
    let (mut s, c0, c1) = (cpus(2), CpuId(0), CpuId(1));
    let t = |us: u64| Instant(us * 1000);
    let mut add = |tag, period, budget, only| {
        let p = rt(period, budget, CpuSet::one(only));
        s.alloc_vcpu(Tag(tag), &p).unwrap()
    };
    let short = add(1, 10_000, 6_000, c0);
    let waits = add(2, 8_000, 1_000, c0);
    let _ = s.insert(short, true, t(0));
    assert_eq!(s.pick_next(c1, HINT, t(0)).next, None);
    assert_eq!(s.pick_next(c0, HINT, t(7_000)).next, Some(Tag(1)));
    assert_eq!(s.insert(waits, true, t(8_000)), Kick::NONE);
    // Until 10 and until 16 ms; then until 20.
    assert_eq!(s.pick_next(c1, HINT, t(9_999)).kick, Kick::NONE);
    assert_eq!(s.pick_next(c1, HINT, t(10_000)).kick, Kick::one(c0));
    assert_eq!(s.pick_next(c0, HINT, t(10_000)).next, Some(Tag(2)));
}

/// Who yields lets its equals go first and keeps what it has; who is less urgent gets nothing by it.
#[test]
fn a_yield_is_for_equals_and_costs_nothing() {
    let (mut s, c0, t) = (cpus(1), CpuId(0), |us: u64| Instant(us * 1000));
    let mut add = |tag, period| {
        let p = rt(period, 2_000, CpuSet::ALL);
        s.alloc_vcpu(Tag(tag), &p).unwrap()
    };
    let (one, equal, less) = (add(1, 10_000), add(2, 10_000), add(3, 20_000));
    for e in [one, equal, less] {
        let _ = s.insert(e, true, t(0));
    }
    assert_eq!(s.pick_next(c0, HINT, t(0)).next, Some(Tag(1)));
    s.yield_now(one, t(500));
    let pick = s.pick_next(c0, HINT, t(500));
    assert_eq!((pick.next, pick.until), (Some(Tag(2)), Some(t(2_500))));
    let _ = s.context_saved(one, t(500));
    assert_eq!(s.pick_next(c0, HINT, t(600)).next, Some(Tag(2)));
    s.sleep(equal, t(1_000));
    let pick = s.pick_next(c0, HINT, t(1_000));
    assert_eq!((pick.next, pick.until), (Some(Tag(1)), Some(t(2_500))));
    let _ = s.context_saved(equal, t(1_000));
    s.yield_now(one, t(1_500));
    let pick = s.pick_next(c0, HINT, t(1_500));
    assert_eq!((pick.next, pick.until), (Some(Tag(1)), Some(t(2_500))));
}

/// Random crowds with random affinities, woken, put to sleep and come for in any order, at one moment: when everybody who
/// was called has come, no CPU runs anybody less urgent than one who waits for it, and that takes no more visits than each
/// CPU's taking somebody more urgent again and again can.
#[test]
fn calls_come_to_an_end_and_then_the_most_urgent_run() {
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut below = move |n: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 11) % n
    };
    let mut most = 0;
    for crowd in 0..3_000 {
        let m = 2 + below(6) as u16;
        let mut s = cpus(m);
        let all: Vec<Ent> = (0..4 * u32::from(m))
            .filter_map(|tag| {
                let mask = CpuSet::from_words([1 + below((1 << m) - 1), 0]);
                let mask = if below(2) == 0 { CpuSet::ALL } else { mask };
                let p = rt(1_000 + 1_000 * below(8), 10 + below(90), mask);
                s.alloc_vcpu(Tag(tag), &p).ok()
            })
            .collect();
        let mut called = CpuSet::first(m.into());
        let mut loaded: Vec<Option<Ent>> = vec![None; m.into()];
        for e in &all {
            called = called.union(&s.insert(*e, below(2) == 0, Instant(0)).0);
        }
        let visit = |s: &mut Rtds, called: &mut CpuSet, loaded: &mut Vec<Option<Ent>>, at| {
            let c = called.iter().nth(at).unwrap();
            called.remove(c);
            let pick = s.pick_next(c, HINT, Instant(0));
            let next = pick
                .next
                .map(|t| all.iter().find(|e| s.rows[**e].tag == t).unwrap());
            *called = called.union(&pick.kick.0);
            let was = core::mem::replace(&mut loaded[c.index()], next.copied());
            if let Some(old) = was.filter(|o| loaded[c.index()] != Some(*o)) {
                *called = called.union(&s.context_saved(old, Instant(0)).0);
            }
            s.check().unwrap();
        };
        for _ in 0..20 {
            for _ in 0..below(8) {
                let e = all[below(all.len() as u64) as usize];
                match below(3) {
                    0 => {
                        s.sleep(e, Instant(0));
                        if let Some(c) = s.rows[e].on {
                            called.insert(c);
                        }
                    }
                    _ => called = called.union(&s.wake(e, WakeReason::Timer, Instant(0)).0),
                }
                s.check().unwrap();
            }
            if below(3) == 0 && !called.is_empty() {
                let at = below(called.iter().count() as u64) as usize;
                visit(&mut s, &mut called, &mut loaded, at);
            }
        }
        let mut visits = 0;
        while !called.is_empty() {
            let at = below(called.iter().count() as u64) as usize;
            visit(&mut s, &mut called, &mut loaded, at);
            visits += 1;
            assert!(visits < 4 * m, "crowd {crowd}: CPUs call each other");
        }
        most = most.max(visits);
        for e in all.iter().filter(|e| s.queue.is_queued(**e)) {
            let r = &s.rows[*e];
            for c in s
                .queue
                .allowed(r.class)
                .intersection(&s.cpus.members())
                .iter()
            {
                let x = loaded[c.index()].expect("an idle CPU beside one who waits");
                assert!(s.rows[x].deadline <= r.deadline, "crowd {crowd}");
            }
        }
    }
    assert!(most >= 6, "{most}: the crowds are too easy");
}

/// A period begins for one who waits, and the CPU that notices runs the least urgent of all but takes somebody more urgent
/// than both: the other CPU comes for the first.
#[test]
fn whose_period_begins_beside_a_more_urgent_one_gets_the_other_cpu() {
    let (mut s, c0, c1) = (cpus(2), CpuId(0), CpuId(1));
    let t = |us: u64| Instant(us * 1000);
    let mut add = |tag, period, budget, affinity| {
        let p = rt(period, budget, affinity);
        s.alloc_vcpu(Tag(tag), &p).unwrap()
    };
    let short = add(1, 3_000, 1_000, CpuSet::ALL);
    let long = add(2, 100_000, 20_000, CpuSet::ALL);
    let longest = add(3, 200_000, 40_000, CpuSet::ALL);
    let urgent = add(4, 2_000, 500, CpuSet::one(c0));
    let _ = s.insert(short, true, t(0));
    let _ = s.insert(long, true, t(0));
    assert_eq!(s.pick_next(c0, HINT, t(0)).next, Some(Tag(1)));
    assert_eq!(s.pick_next(c1, HINT, t(0)).next, Some(Tag(2)));
    let _ = s.insert(longest, true, t(0));
    assert_eq!(s.pick_next(c0, HINT, t(1_000)).next, Some(Tag(3)));
    let _ = s.context_saved(short, t(1_000));
    let _ = s.insert(urgent, true, t(3_000));
    // Until 5 ms for the urgent one, until 6 ms for the short one.
    let pick = s.pick_next(c0, HINT, t(3_000));
    assert_eq!((pick.next, pick.kick), (Some(Tag(4)), Kick::one(c1)));
    assert_eq!(s.pick_next(c1, HINT, t(3_000)).next, Some(Tag(1)));
    s.check().unwrap();
}

/// A CPU takes whose period has just begun: nobody has to come for that, neither it a second time nor another that has
/// nothing to do.
#[test]
fn who_is_taken_by_the_cpu_that_notices_calls_nobody() {
    for m in [1, 2] {
        let (mut s, c0) = (cpus(m), CpuId(0));
        let t = |ms: u64| Instant(ms * 1_000_000);
        let mut add = |tag, period, budget, affinity| {
            let p = rt(period, budget, affinity);
            let e = s.alloc_vcpu(Tag(tag), &p).unwrap();
            let _ = s.insert(e, true, t(0));
            e
        };
        let short = add(1, 4_000, 1_000, CpuSet::ALL);
        let long = add(2, 20_000, 10_000, CpuSet::one(c0));
        let mut loaded = None;
        for (ms, next) in [
            (0, Some(1)),
            (1, Some(2)),
            (4, Some(1)),
            (5, Some(2)),
            (8, Some(1)),
            (9, Some(2)),
            (12, Some(1)),
            (13, Some(2)),
            (14, None),
            (16, Some(1)),
        ] {
            let pick = s.pick_next(c0, HINT, t(ms));
            assert_eq!(pick.next, next.map(Tag), "{ms} ms");
            assert_eq!(pick.kick, Kick::NONE, "{ms} ms, {m} CPUs");
            if let Some(old) = loaded.filter(|_| pick.next != loaded) {
                let old = if old == Tag(1) { short } else { long };
                assert_eq!(s.context_saved(old, t(ms)), Kick::NONE, "{ms} ms");
            }
            loaded = pick.next;
            for c in (1..m).map(CpuId) {
                assert_eq!(s.pick_next(c, HINT, t(ms)).next, None);
            }
        }
    }
}

/// Other parameters begin when what he has had of the old period is paid for, not at its end.
#[test]
fn other_parameters_begin_soon() {
    let t = |ms: u64| Instant(ms * 1_000_000);
    let (mut s, c0) = (cpus(1), CpuId(0));
    let e = s
        .alloc_vcpu(Tag(1), &rt(10_000_000, 5_000_000, CpuSet::ALL))
        .unwrap();
    let short = rt(10_000, 4_000, CpuSet::ALL);
    let _ = s.insert(e, true, t(0));
    let pick = s.pick_next(c0, HINT, t(0));
    assert_eq!((pick.next, pick.until), (Some(Tag(1)), Some(t(5_000))));
    // Twenty milliseconds of it are worth forty.
    assert_eq!(s.adjust_vcpu(e, &short, t(20)), Ok(Kick::one(c0)));
    let pick = s.pick_next(c0, HINT, t(20));
    assert_eq!((pick.next, pick.until), (None, Some(t(40))));
    let pick = s.pick_next(c0, HINT, t(40));
    assert_eq!((pick.next, pick.until), (Some(Tag(1)), Some(t(44))));
    // The same again changes nothing.
    let _ = s.adjust_vcpu(e, &short, t(42)).unwrap();
    let pick = s.pick_next(c0, HINT, t(42));
    assert_eq!((pick.next, pick.until), (Some(Tag(1)), Some(t(44))));
    assert_eq!(s.pick_next(c0, HINT, t(44)).next, None);
    let _ = s.context_saved(e, t(44));
    // Half of this period is over, and all of its budget: four of ten, so it is paid for at its end.
    let kick = s.adjust_vcpu(e, &rt(2_000, 1_000, CpuSet::ALL), t(45));
    assert_eq!(kick, Ok(Kick::one(c0)));
    let pick = s.pick_next(c0, HINT, t(45));
    assert_eq!((pick.next, pick.until), (None, Some(t(50))));
    let pick = s.pick_next(c0, HINT, t(50));
    assert_eq!((pick.next, pick.until), (Some(Tag(1)), Some(t(51))));
    s.check().unwrap();
}
