//! Tests of soft affinity: where a vCPU is put, who makes room for it, and when it comes home.

extern crate std;
use super::*;
use std::vec::Vec;

const LINE: WakeReason = WakeReason::Interrupt { line: 40 };
const HINT: GuestHint = GuestHint {
    irqs_masked: false,
    dont_desched: false,
    enlightened: false,
    must_idle: false,
};

fn set(list: &str) -> CpuSet {
    CpuSet::parse(list).unwrap()
}

fn us(t: u64) -> Instant {
    Instant(t * 1000)
}

/// An instance with so many CPUs and sleepers of these hard and soft affinities.
fn sleepers(cpus: u16, list: &[(&str, &str)]) -> (Credit2, Vec<Ent>) {
    let mut s = Credit2::new(&SchedParams::DEFAULT);
    for c in (0..cpus).map(CpuId) {
        s.alloc_pcpu(c).unwrap();
        let _ = s.switch_sched(c, us(0));
        assert_eq!(s.pick_next(c, HINT, us(0)).next, None);
    }
    let list = list.iter().enumerate().map(|(i, (hard, soft))| {
        let p = VcpuParams {
            affinity: set(hard),
            soft: set(soft),
            ..VcpuParams::DEFAULT
        };
        let e = s.alloc_vcpu(Tag(i as u32), &p).unwrap();
        let _ = s.insert(e, false, us(0));
        e
    });
    let list = list.collect();
    (s, list)
}

/// What `cpu` decides, the registers of who had it being saved at once; whom all that disturbs.
fn decide(s: &mut Credit2, cpu: u16, at: Instant) -> (Option<u32>, Kick, Option<Instant>) {
    let cpu = CpuId(cpu);
    let before = s.cpus[cpu].curr;
    let p = s.pick_next(cpu, HINT, at);
    let gone = before.filter(|e| s.cpus[cpu].curr != Some(*e) || p.next.is_none());
    let kick = gone.map_or(Kick::NONE, |e| s.context_saved(e, at));
    s.check().unwrap();
    (p.next.map(|t| t.0), p.kick.and(kick), p.until)
}

#[test]
fn an_idle_cpu_inside_is_taken_first_and_one_outside_before_waiting() {
    let (mut s, list) = sleepers(
        4,
        &[("0-3", "2-3"), ("0-3", "2"), ("0-3", "2-3"), ("0-1", "3")],
    );
    assert_eq!(s.wake(list[0], LINE, us(1)).0, set("2"));
    // CPU 2 has been called.
    assert_eq!(s.wake(list[1], LINE, us(1)).0, set("0"), "work goes on");
    assert_eq!(s.wake(list[2], LINE, us(1)).0, set("3"));
    // What it prefers it may not use: it does not mind.
    assert_eq!(s.wake(list[3], LINE, us(1)).0, set("1"));
}

/// Who runs outside is called when a CPU inside becomes idle, and goes there - after a rate limit where it is, before it is
/// called back by a timer - and loses nothing meanwhile.
#[test]
fn who_is_outside_comes_home_when_there_is_room() {
    for late in [false, true] {
        let (mut s, list) = sleepers(2, &[("0-1", "0"), ("0", "0")]);
        let _ = s.wake(list[1], LINE, us(0));
        assert_eq!(decide(&mut s, 0, us(0)).0, Some(1));
        let (_, from) = (s.wake(list[0], LINE, us(1)), us(2));
        assert_eq!(decide(&mut s, 1, from).0, Some(0));
        let at = us(if late { 5000 } else { 500 });
        s.sleep(list[1], at);
        let (next, kick, _) = decide(&mut s, 0, at);
        assert_eq!((next, kick.0), (None, set("1")));
        let (next, kick, until) = decide(&mut s, 1, at);
        if late {
            assert_eq!((next, kick.0), (None, set("0")), "it leaves at once");
        } else {
            assert_eq!((next, until), (Some(0), Some(us(1002))), "not so soon");
            assert!(kick.is_none());
            let (next, kick, _) = decide(&mut s, 1, us(1002));
            assert_eq!((next, kick.0), (None, set("0")));
        }
        let at = us(6000);
        assert_eq!(decide(&mut s, 0, at), (Some(0), Kick::NONE, None));
        assert_eq!(decide(&mut s, 1, at).0, None);
        assert_eq!(s.rows[list[0]].on, Some(CpuId(0)));
    }
}

/// One that sleeps outside and wakes while there is room inside goes there, by the long way and by the short one alike.
#[test]
fn a_sleeper_outside_wakes_inside() {
    for short in [false, true] {
        let (mut s, list) = sleepers(2, &[("0-1", "0"), ("0", "0")]);
        let _ = s.wake(list[1], LINE, us(0));
        assert_eq!(decide(&mut s, 0, us(0)).0, Some(1));
        let _ = s.wake(list[0], LINE, us(1));
        assert_eq!(decide(&mut s, 1, us(2)).0, Some(0));
        if short {
            assert!(s.doze(list[0], CpuId(1), us(100)));
        } else {
            s.sleep(list[0], us(100));
            assert_eq!(s.pick_next(CpuId(1), HINT, us(100)).next, None);
        }
        s.sleep(list[1], us(200));
        assert_eq!(decide(&mut s, 0, us(200)).0, None);
        assert!(
            !s.rouse(list[0], CpuId(1), LINE, us(300)),
            "not the short way"
        );
        assert_eq!(s.wake(list[0], LINE, us(300)).0, set("1"));
        let (next, kick, _) = decide(&mut s, 1, us(301));
        assert_eq!((next, kick.0), (None, set("0")));
        assert_eq!(decide(&mut s, 0, us(302)).0, Some(0));
    }
}

/// Who runs on a CPU that one outside prefers dozes by the long way: only there the other is called.
#[test]
fn nobody_dozes_where_somebody_wants_to_come() {
    let (mut s, list) = sleepers(2, &[("0-1", "0"), ("0", "0")]);
    let _ = s.wake(list[1], LINE, us(0));
    assert_eq!(decide(&mut s, 0, us(0)).0, Some(1));
    let _ = s.wake(list[0], LINE, us(1));
    assert_eq!(decide(&mut s, 1, us(2)).0, Some(0));
    assert!(!s.doze(list[1], CpuId(0), us(100)));
}

/// With all CPUs busy the one inside makes room, though the one outside has used as much; and of two waiters that differ by
/// less than the resistance each CPU takes the one who prefers it.
#[test]
fn the_busy_cpu_inside_makes_room() {
    let all = "0-1";
    let (mut s, list) = sleepers(2, &[(all, all), (all, all), (all, "0"), (all, "1")]);
    for (c, e) in [(0, 0), (1, 1)] {
        let _ = s.wake(list[e], WakeReason::Kick, us(0));
        assert_eq!(decide(&mut s, c, us(0)).0, Some(e as u32));
    }
    // CPU 0 would be taken if it did not mind.
    let _ = s.wake(list[3], WakeReason::Kick, us(3000));
    assert_eq!(s.cpus[CpuId(1)].promised, Some(list[3]));
    let _ = s.wake(list[2], WakeReason::Kick, us(3000));
    s.pay(list[2], Span::us(100));
    let heads = [0, 1].map(|c| s.queue.best(CpuId(c)).map(|h| h.ent));
    assert_eq!(heads, [Some(list[2]), Some(list[3])]);
    // Not against the credit, beyond that.
    s.pay(list[2], Span::us(500));
    assert_eq!(s.queue.best(CpuId(0)).map(|h| h.ent), Some(list[3]));
}

/// The bound on classes: more preferences than are kept apart are forgotten, and no hard affinity is narrowed for them.
#[test]
fn too_many_preferences_are_forgotten() {
    let softs: Vec<_> = (0..20).map(|i| std::format!("{i}")).collect();
    let all: Vec<_> = softs.iter().map(|s| ("0-19", s.as_str())).collect();
    let (mut s, list) = sleepers(20, &all);
    for (i, e) in list.iter().enumerate() {
        let near = if i < 16 { set(&softs[i]) } else { set("0-19") };
        assert_eq!((*s.near(*e), *s.allowed(*e)), (near, set("0-19")));
    }
    let _ = s.remove(list[0], us(1));
    s.free_vcpu(list[0]);
    let p = VcpuParams {
        soft: set("19"),
        ..VcpuParams::DEFAULT
    };
    let _ = s.adjust_vcpu(list[19], &p, us(1)).unwrap();
    assert_eq!(*s.near(list[19]), set("19"), "room has been made");
    // None of its CPUs is here.
    let p = VcpuParams {
        soft: set("64"),
        ..VcpuParams::DEFAULT
    };
    let _ = s.adjust_vcpu(list[19], &p, us(1)).unwrap();
    assert_eq!(*s.near(list[19]), set("0-19"));
    s.check().unwrap();
}
