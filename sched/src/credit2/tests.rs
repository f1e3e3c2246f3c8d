//! A hundred years of uptime: the axes of time and credit at their ends, and what long loneliness leaves.
//!
//! Time is u64 ns: 584 years. The axis of credit wraps and is compared by difference: at weight 1 it goes round once in
//! about 2300 years of CPU time at 256 credits a ns... but may stand anywhere when a run begins, so it is put at its end
//! here. What one vCPU can be behind is bounded at 2^61 (`account`), a quarter of the axis.

extern crate std;
use super::*;
use crate::params::{BoostParams, SchedParams, VcpuParams};
use std::vec::Vec;

const YEARS: u64 = 100 * 365 * 24 * 3600 * 1_000_000_000;
const CPU: CpuId = CpuId(0);

fn with(weights: &[u32], now: Instant) -> (Credit2, Vec<Ent>) {
    let mut s = Credit2::new(&SchedParams::DEFAULT);
    s.alloc_pcpu(CPU).unwrap();
    let _ = s.switch_sched(CPU, now);
    let list = weights
        .iter()
        .enumerate()
        .map(|(i, w)| {
            let p = VcpuParams {
                weight: *w,
                ..VcpuParams::DEFAULT
            };
            s.alloc_vcpu(Tag(i as u32), &p).unwrap()
        })
        .collect();
    (s, list)
}

/// Lets them compute for `span`, deciding when asked to; what each has got.
fn run(s: &mut Credit2, list: &[Ent], mut now: Instant, span: Span) -> Vec<u64> {
    let before: Vec<u64> = list.iter().map(|e| s.stats(*e).runtime.0).collect();
    let end = now + span;
    let mut loaded: Option<Ent> = s.cpus[CPU].curr;
    while now < end {
        let p = s.pick_next(CPU, GuestHint::default(), now);
        let next = p.next.map(|t| list[t.0 as usize]);
        if let Some(old) = loaded.filter(|o| Some(*o) != next) {
            let _ = s.context_saved(old, now);
        }
        loaded = next;
        let until = p.until.unwrap_or(end);
        assert!(until > now, "it decides for ever at one moment");
        now = until.min(end);
        s.check().unwrap();
    }
    let _ = s.pick_next(CPU, GuestHint::default(), now);
    list.iter()
        .zip(before)
        .map(|(e, b)| s.stats(*e).runtime.0 - b)
        .collect()
}

#[test]
fn shares_are_right_where_the_axes_end() {
    for granted in [0, i64::MAX - 1_000_000_000, i64::MIN + 5, -1] {
        for weights in [[1u32, 3], [65_535, 21_845], [256, 256]] {
            let now = Instant(YEARS);
            let (mut s, list) = with(&weights, now);
            s.granted = granted;
            s.epoch = u64::from(u32::MAX);
            for e in &list {
                let _ = s.insert(*e, true, now);
            }
            let got = run(&mut s, &list, now, Span::ms(20_000));
            let (a, b) = (
                got[0] * u64::from(weights[1]),
                got[1] * u64::from(weights[0]),
            );
            let off = a.abs_diff(b) * 1000 / (a + b);
            assert!(off <= 3, "{weights:?} at {granted}: {got:?}");
        }
    }
}

#[test]
fn a_hundred_years_alone_are_forgiven_in_one_step() {
    for weight in [1, 256, 65_535] {
        let (mut s, list) = with(&[weight, weight], Instant(0));
        let _ = s.insert(list[0], true, Instant(0));
        let p = s.pick_next(CPU, GuestHint::default(), Instant(0));
        assert_eq!((p.next, p.until), (Some(Tag(0)), None), "nobody waits");
        // The other one arrives a hundred years later, and sleeps until then.
        let now = Instant(YEARS);
        let _ = s.insert(list[1], true, now);
        s.check().unwrap();
        assert_eq!(s.totals().resets, 1, "in closed form");
        let got = run(&mut s, &list, now, Span::ms(10_000));
        let half = (got[0] + got[1]) / 2;
        assert!(
            got[0].abs_diff(half) <= 40_000_000,
            "weight {weight}: {got:?}"
        );
    }
}

#[test]
fn who_slept_a_hundred_years_gets_one_grant_and_the_carry_over() {
    let (mut s, list) = with(&[256, 256], Instant(0));
    for e in &list {
        let _ = s.insert(*e, true, Instant(0));
    }
    let _ = run(&mut s, &list, Instant(0), Span::ms(100));
    let at = Instant(200_000_000);
    s.sleep(list[1], at);
    let _ = run(&mut s, &list, at, Span::ms(1));
    // Many epochs pass, more than are counted one by one.
    s.granted = s.granted.wrapping_add(s.grant.wrapping_mul(1 << 21));
    s.epoch += 1 << 21;
    let now = Instant(YEARS);
    let _ = s.wake(list[1], WakeReason::Kick, now);
    let c = s.stats(list[1]);
    assert!(c.credit + c.boost_credit <= s.grant + s.carry + s.grant / 4);
    s.check().unwrap();
}

/// A CPU that chooses while another saves whom it has put back cannot see that one. Where it is far ahead of whom was taken,
/// the CPU is called and takes it, rate limit or not: two CPUs in step would miss each other's for ever.
#[test]
fn who_was_being_saved_is_not_overlooked() {
    let (first, second) = (CpuId(0), CpuId(1));
    // Ahead by more than the resistance against moving, or by less.
    for (ahead, called) in [(Span::ms(3), true), (Span::us(100), false)] {
        let (mut s, list) = with(&[256; 4], Instant(0));
        s.alloc_pcpu(second).unwrap();
        let _ = s.switch_sched(second, Instant(0));
        let pick = |s: &mut Credit2, cpu: CpuId, at: u64| {
            let p = s.pick_next(cpu, GuestHint::default(), Instant(at));
            p.next.map(|t| list[t.0 as usize])
        };
        let [a, b, c, d] = list[..] else { panic!() };
        for (cpu, e) in [(first, a), (second, b)] {
            let _ = s.insert(e, true, Instant(0));
            assert_eq!(pick(&mut s, cpu, 0), Some(e));
        }
        for e in [c, d] {
            let _ = s.insert(e, true, Instant(0));
        }
        // After a rate limit of running: `c`, then `a`, `d` so far behind, `b`.
        s.pay(d, Span::ms(1) + ahead);
        s.pay(b, Span::ms(1) + ahead);
        let t = 1_000_001;
        assert_eq!(pick(&mut s, first, t), Some(c));
        // `a` is being saved, so the second takes `d` for `b`.
        assert_eq!(pick(&mut s, second, t + 1_000), Some(d));
        let kick = s.context_saved(a, Instant(t + 2_000));
        assert_eq!(kick.0.contains(second), called, "{ahead:?} ahead");
        let _ = s.context_saved(b, Instant(t + 3_000));
        let now = pick(&mut s, second, t + 4_000);
        assert_eq!(now, Some(if called { a } else { d }));
        s.check().unwrap();
    }
}

const LINE: WakeReason = WakeReason::Interrupt { line: 40 };

/// `cpus` CPUs, each with a hog of its own that runs, and sleepers with these parameters.
fn beside_hogs(cpus: u16, list: &[VcpuParams]) -> (Credit2, Vec<Ent>) {
    let (mut s, now) = (Credit2::new(&SchedParams::DEFAULT), Instant(0));
    for c in (0..cpus).map(CpuId) {
        s.alloc_pcpu(c).unwrap();
        let _ = s.switch_sched(c, now);
        let p = VcpuParams {
            affinity: CpuSet::one(c),
            ..VcpuParams::DEFAULT
        };
        let hog = s.alloc_vcpu(Tag(1000), &p).unwrap();
        let _ = s.insert(hog, true, now);
        assert_eq!(
            s.pick_next(c, GuestHint::default(), now).next,
            Some(Tag(1000))
        );
    }
    let list = list.iter().enumerate().map(|(i, p)| {
        let e = s.alloc_vcpu(Tag(i as u32), p).unwrap();
        let _ = s.insert(e, false, now);
        e
    });
    let list = list.collect();
    (s, list)
}

fn us(t: u64) -> Instant {
    Instant(t * 1000)
}

/// What `cpu` decides, the registers of who had it being saved at once; whom that disturbs.
fn decide(s: &mut Credit2, cpu: CpuId, at: Instant) -> (Pick, Kick) {
    let before = s.cpus[cpu].curr;
    let p = s.pick_next(cpu, GuestHint::default(), at);
    let gone = before.filter(|_| s.cpus[cpu].curr != before);
    (p, gone.map_or(Kick::NONE, |e| s.context_saved(e, at)))
}

/// Who waits with an empty bucket for as long as a full one is worth is overtaken by nobody who comes later, whatever
/// interval that one has.
#[test]
fn age_has_one_scale_for_all_intervals() {
    for interval in [Span::us(10), Span::us(500), Span::ms(10)] {
        for mine in [Span::us(10), Span::us(500), Span::ms(10)] {
            let with = |interval| VcpuParams {
                boost: BoostParams {
                    interval,
                    ..BoostParams::DEFAULT
                },
                ..VcpuParams::DEFAULT
            };
            let (mut s, list) = beside_hogs(1, &[with(mine), with(interval)]);
            s.rows[list[0]].b = 1;
            let _ = s.wake(list[0], LINE, us(1000));
            let _ = s.wake(list[1], LINE, us(1501));
            let first = decide(&mut s, CPU, us(1501)).0.next;
            assert_eq!(first, Some(Tag(0)), "{mine:?} before {interval:?}");
            // Who has come within that time, with a full bucket, is first.
            let (mut s, list) = beside_hogs(1, &[with(mine), with(interval)]);
            s.rows[list[0]].b = 1;
            let _ = s.wake(list[0], LINE, us(1000));
            let _ = s.wake(list[1], LINE, us(1400));
            let first = decide(&mut s, CPU, us(1400)).0.next;
            assert_eq!(first, Some(Tag(1)), "{interval:?} before {mine:?}");
        }
    }
}

/// A boosted vCPU that makes room for another waits as well: the CPU that has put it back has set its timer for that, and is
/// not disturbed when it is saved.
#[test]
fn who_is_put_back_boosted_is_counted_at_once() {
    let (mut s, list) = beside_hogs(1, &[VcpuParams::DEFAULT; 3]);
    for e in &list {
        let _ = s.wake(*e, LINE, us(1000));
    }
    let (p, kick) = decide(&mut s, CPU, us(1000));
    assert_eq!((p.next, p.boosted), (Some(Tag(0)), true));
    assert!(kick.is_none(), "{kick:?}");
    let (mut at, mut seen) = (p.until.unwrap(), 0);
    while seen < 6 {
        let (p, kick) = decide(&mut s, CPU, at);
        if !p.boosted {
            break;
        }
        assert!(kick.is_none(), "{kick:?} at {at:?}, {p:?}");
        (at, seen) = (p.until.unwrap(), seen + 1);
    }
    assert!(seen >= 3, "they take turns");
    // Alone against one that it has put back.
    let (mut s, list) = beside_hogs(1, &[VcpuParams::DEFAULT; 2]);
    for e in &list {
        let _ = s.wake(*e, LINE, us(1000));
    }
    let _ = decide(&mut s, CPU, us(1000));
    for e in &list {
        s.rows[*e].left = 2_000_000;
    }
    let (p, kick) = decide(&mut s, CPU, us(1500));
    assert_eq!((p.next, p.until), (Some(Tag(1)), Some(us(2000))));
    assert!(kick.is_none(), "{kick:?}");
}

/// A turn is shared with those who wait for this CPU, not with those who may not come here.
#[test]
fn who_waits_for_another_cpu_shortens_no_turn() {
    let on = |c| VcpuParams {
        affinity: CpuSet::one(CpuId(c)),
        ..VcpuParams::DEFAULT
    };
    let mut params = std::vec![on(0), on(0)];
    params.extend([on(1); 6]);
    let (mut s, list) = beside_hogs(2, &params);
    for e in &list {
        let _ = s.wake(*e, LINE, us(1000));
    }
    let (p, _) = decide(&mut s, CPU, us(1000));
    assert_eq!(p.next, Some(Tag(0)));
    assert!(p.until.unwrap() >= us(1500), "{p:?}");
    let (p, _) = decide(&mut s, CpuId(1), us(1000));
    assert_eq!(p.until, Some(us(1100)), "five more wait for the other");
    // Those who may go to either count for half.
    let (mut s, list) = beside_hogs(2, &[VcpuParams::DEFAULT; 5]);
    for e in &list {
        let _ = s.wake(*e, LINE, us(1000));
    }
    let (p, _) = decide(&mut s, CPU, us(1000));
    assert_eq!(p.until, Some(us(1250)), "four wait for two");
}

/// Who waits boosted keeps its age when its parameters are changed.
#[test]
fn new_parameters_do_not_take_the_age_of_who_waits() {
    let (mut s, list) = beside_hogs(1, &[VcpuParams::DEFAULT; 2]);
    s.rows[list[0]].b = 1;
    let _ = s.wake(list[0], LINE, us(1000));
    let _ = s.adjust_vcpu(list[0], &VcpuParams::DEFAULT, us(1400));
    let _ = s.wake(list[1], LINE, us(1550));
    assert_eq!(decide(&mut s, CPU, us(1550)).0.next, Some(Tag(0)));
}

/// One that has never run is at home nowhere. Were it so everywhere, two CPUs that must refuse who waits first, for being at
/// home elsewhere, would call each other for the new one for ever.
#[test]
fn a_newcomer_is_no_ball() {
    let (mut s, now) = (Credit2::new(&SchedParams::DEFAULT), us(5_000));
    let mut all = Vec::new();
    for c in (0..3).map(CpuId) {
        s.alloc_pcpu(c).unwrap();
        let _ = s.switch_sched(c, us(0));
    }
    for c in 0..4 {
        let e = s.alloc_vcpu(Tag(c), &VcpuParams::DEFAULT).unwrap();
        let _ = s.insert(e, c != 3, us(0));
        all.push(e);
    }
    for c in 0..3 {
        let _ = decide(&mut s, CpuId(c), us(0));
    }
    let new = s.alloc_vcpu(Tag(4), &VcpuParams::DEFAULT).unwrap();
    let _ = s.insert(new, false, now);
    all.push(new);
    // The fourth was on the last CPU, where somebody runs who has used little; on the others it has an advantage of 400 us.
    s.rows[all[3]].last = Some(CpuId(2));
    for (e, used) in [(0, 1000), (1, 1000), (2, 0), (3, 600), (4, 700)] {
        if let Some(c) = s.rows[all[e]].on {
            s.account(c, now);
        }
        s.rows[all[e]].consumed = s.granted;
        s.pay(all[e], Span::us(used));
    }
    let _ = s.wake(all[3], WakeReason::Kick, now);
    let mut kick = s.wake(new, WakeReason::Kick, now);
    for _ in 0..20 {
        let Some(c) = kick.0.lowest() else { break };
        kick.0.remove(c);
        let (p, saved) = decide(&mut s, c, now);
        kick = kick.and(p.kick).and(saved);
    }
    assert!(kick.is_none(), "{kick:?} at the end");
}

/// Also without a rate limit a CPU that comes by at once, for whatever reason, changes no places for the little that has
/// been used since: a group whose timer is set by such a visit would be called again by the change, for ever.
#[test]
fn a_visit_alone_changes_no_places() {
    let p = SchedParams {
        ratelimit: Span::ZERO,
        ..SchedParams::DEFAULT
    };
    let mut s = Credit2::new(&p);
    s.alloc_pcpu(CPU).unwrap();
    let _ = s.switch_sched(CPU, us(0));
    for tag in 0..2 {
        let e = s.alloc_vcpu(Tag(tag), &VcpuParams::DEFAULT).unwrap();
        let _ = s.insert(e, true, us(0));
        s.rows[e].last = Some(CPU);
    }
    assert_eq!(decide(&mut s, CPU, us(0)).0.next, Some(Tag(0)));
    for at in [1, 10, 49] {
        assert_eq!(decide(&mut s, CPU, us(at)).0.next, Some(Tag(0)));
    }
    assert_eq!(decide(&mut s, CPU, us(50)).0.next, Some(Tag(1)));
}

/// A processor of a group sleeps, and the CPU that has tried it still holds its registers: a boost from below is not kept for the
/// next time that it wakes, for whomever that may be.
#[test]
fn who_sleeps_where_it_was_is_not_boosted_from_below() {
    let now = |us: u64| Instant(us * 1_000);
    let (mut s, list) = with(&[256], now(0));
    let e = list[0];
    let _ = s.insert(e, true, now(0));
    let pick = s.pick_next(CPU, GuestHint::default(), now(0));
    assert_eq!(pick.next, Some(Tag(0)));
    s.sleep(e, now(100));
    let pick = s.pick_next(CPU, GuestHint::default(), now(100));
    assert_eq!(pick.next, None);
    assert!(s.boost(e, BoostCause::Interrupt, now(200)).is_none());
    assert!(!s.is_boosted(e) && !s.is_armed(e));
    let _ = s.wake(e, WakeReason::Kick, now(300));
    assert!(!s.is_boosted(e));
}
