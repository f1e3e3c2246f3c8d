//! What rtds promises whom it has admitted: random task sets filled up to the bound, directly in a pool and in groups.
//!
//! On one CPU the bound is a utilisation of 1, up to which EDF meets every deadline (Liu and Layland 1973); on m of them
//! m - (m - 1) x the largest, that of Goossens, Funk and Baruah (2003). A hog gets its whole budget in each of its periods
//! and not a nanosecond more; a task whose jobs, no closer than its period, need its budget each, ends them in time.

mod machine;

use machine::{Machine, Rng, instance, rt};
use tarn_abi::{CpuId, Instant, Span};
use tarn_sched::{NodeId, VcpuParams};

fn runs(m: &mut Machine, span: Span, what: &str) {
    m.end = Instant(span.0);
    while m.now < m.end {
        if let Err(e) = m.moment().and_then(|()| m.advance()) {
            let all: Vec<_> = m.tasks.iter().map(|t| (t.leaf, t.hog, t.rt)).collect();
            panic!("{what}, at {:?}: {e}\n{all:#?}", m.now);
        }
        m.tree.check(m.now).unwrap();
    }
}

const fn seed(n: u64, kind: u64) -> u64 {
    (n * 256 + kind).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Fills `sets` machines of `cpus` CPUs each and lets them run. Returns how full they were, in thousandths of the CPUs.
fn all_are_served(sets: u64, cpus: u64, hogs: u64, span: Span) -> u64 {
    let mut asked = 0;
    for n in 1..=sets {
        let mut m = Machine::new("rtds", cpus as usize, seed(n, cpus * 16 + hogs % 16));
        asked += m.fill(NodeId::ROOT, hogs);
        runs(&mut m, span, &format!("set {n}, {cpus} CPUs"));
    }
    asked / (sets * cpus)
}

#[test]
fn on_one_cpu_every_admitted_hog_gets_its_budget() {
    let full = all_are_served(2_000, 1, 100, Span::ms(100));
    assert!(full > 900, "{full}: hardly anybody was admitted");
}

#[test]
fn on_one_cpu_every_admitted_job_ends_in_time() {
    let full = all_are_served(2_000, 1, 40, Span::ms(100));
    assert!(full > 900, "{full}: hardly anybody was admitted");
}

#[test]
fn on_several_cpus_the_bound_holds() {
    for cpus in 2..=5 {
        for hogs in [40, 100] {
            let full = all_are_served(150, cpus, hogs, Span::ms(60));
            assert!(full > 400, "{full}: hardly anybody was admitted");
        }
    }
}

/// One changes its budget and period again and again, up to what it asked for at first: the others get what they were
/// promised all the time, and it gets no more than its parameters say.
#[test]
fn who_changes_takes_nothing_from_others() {
    let mut changes = 0;
    for n in 1..=200 {
        let mut m = Machine::new("rtds", 1, seed(n, 11));
        m.promised = false;
        let mut own = rt(10_000, 4_000);
        assert!(m.add(NodeId::ROOT, &own, true));
        m.promised = true;
        m.fill(NodeId::ROOT, 100);
        let (mut due, mut largest) = (0, 0);
        while m.now < Instant(100_000_000) {
            let (from, step) = (m.now, Span(1 + m.rng.below(9_000_000)));
            runs(&mut m, Span((from + step).0), &format!("set {n}"));
            due += own.rt.load() * step.0;
            largest = largest.max(own.rt.budget.0);
            let p = m.any();
            if p.rt.load() <= 400 && m.change(0, &p) {
                own = p;
                changes += 1;
            }
        }
        let had = m.tree.stats(m.tasks[0].leaf).runtime.0;
        assert!(had <= due / 1_000 + largest, "set {n}: {had} of {due}");
    }
    assert!(changes > 500, "{changes}");
}

/// A group of rtds whose processors have CPUs for themselves keeps what a pool does, whatever is around it.
#[test]
fn a_group_that_is_alone_keeps_what_a_pool_does() {
    for (around, inside) in [
        ("credit2", None),
        ("rr", None),
        ("null", None),
        ("rtds", None),
        ("credit2", Some("rr")),
        ("rr", Some("credit2")),
        ("null", Some("null")),
    ] {
        for cpus in 1..=if around == "rtds" { 1 } else { 3 } {
            for n in 1..=60 {
                let hogs = [40, 100][n as usize % 2];
                let mut m = Machine::new(around, cpus, seed(n, cpus as u64));
                let each = rt(10_000, 10_000);
                let mut g = NodeId::ROOT;
                for kind in inside.into_iter().chain(["rtds"]) {
                    let vps = cpus as u16;
                    g = m
                        .tree
                        .add_group(g, instance(kind), vps, &each, m.now)
                        .unwrap();
                }
                m.fill(g, hogs);
                let what = format!("set {n} under {inside:?} under {around}, {cpus} CPUs");
                runs(&mut m, Span::ms(60), &what);
            }
        }
    }
}

/// In microseconds: period and budget.
type Task = (u64, u64);

/// What a processor with these surely gets in any `t` in which it has work, if its parent keeps what it has promised (Shin
/// and Lee 2003): nothing for twice what its period leaves to others, at worst.
fn supply(of: Option<Task>, t: u64) -> u64 {
    let Some((period, budget)) = of else { return t };
    let rest = period - budget;
    let Some(t) = t.checked_sub(rest) else {
        return 0;
    };
    let part = (t % period).saturating_sub(rest);
    t / period * budget + part
}

/// What hogs and a group's processor, which may wake late in its period and take all of its budget, want done within `t`.
fn demand(hogs: &[Task], vp: Option<Task>, t: u64) -> u64 {
    let vp = vp.map_or(0, |(period, budget)| match t.checked_sub(budget) {
        Some(more) => budget * (1 + more / period),
        None => t,
    });
    hogs.iter().map(|h| t / h.0 * h.1).sum::<u64>() + vp
}

/// Whether there is never more to be done than can be.
fn fits(hogs: &[Task], vp: Option<Task>, of: Option<Task>) -> bool {
    let until = |first: u64, step: u64| (first..=SPAN).step_by(step as usize);
    let ends = hogs.iter().flat_map(|h| until(h.0, h.0));
    let vps = vp.into_iter().flat_map(|v| until(v.1, v.0));
    ends.chain(vps)
        .all(|t| demand(hogs, vp, t) <= supply(of, t))
}

/// In microseconds.
const SPAN: u64 = 100_000;

/// A group with one processor in a pool of rtds: who asks for no more than the processor surely gets in time gets it, beside
/// hogs in the pool, and through groups of any scheduler between that hand on what they get.
#[test]
fn a_group_gives_what_its_processor_gets() {
    let (mut inside, mut deepest) = (0, 0);
    for n in 1..=2_000 {
        let mut m = Machine::new("rtds", 1, seed(n, 0));
        let period = [500, 1_000, 2_500, 4_000, 10_000][m.rng.below(5) as usize];
        let vp = (period, period / 4 + m.rng.below(period * 3 / 4));
        let mut group = NodeId::ROOT;
        let between = m.rng.below(4);
        for depth in 0..=between {
            let any = ["rtds", "rr", "credit2"][m.rng.below(3) as usize];
            let kind = instance(if depth == between { "rtds" } else { any });
            let each = if depth == 0 {
                rt(vp.0, vp.1)
            } else {
                rt(5_000, 5_000)
            };
            group = m.tree.add_group(group, kind, 1, &each, m.now).unwrap();
        }
        deepest = deepest.max(between + 1);
        for (to, vp, of) in [(NodeId::ROOT, Some(vp), None), (group, None, Some(vp))] {
            let mut hogs: Vec<Task> = Vec::new();
            for _ in 0..20 {
                let p = m.any();
                hogs.push((p.rt.period.0 / 1_000, p.rt.budget.0 / 1_000));
                if !fits(&hogs, vp, of) || !m.add(to, &p, true) {
                    hogs.pop();
                }
            }
            inside += usize::from(of.is_some()) * hogs.len();
        }
        runs(&mut m, Span::us(SPAN), &format!("set {n}"));
    }
    assert!(inside > 4_000 && deepest == 4, "{inside} are inside");
}

/// Groups of rtds with few members and several processors, whose budgets and periods meet in any way: a CPU that is idle
/// finds nothing to run if it comes by uncalled, at whatever moment.
#[test]
fn no_period_begins_unnoticed() {
    let mut idle = 0;
    for n in 1..=3_000 {
        let mut r = Rng(seed(n, 5) | 1);
        let cpus = 1 + r.below(3) as usize;
        let mut m = Machine::new(
            ["rtds", "rtds", "rr", "credit2"][r.below(4) as usize],
            cpus,
            seed(n, 6),
        );
        m.promised = false;
        let some = |r: &mut Rng| {
            let period = [1_000, 2_000, 4_000, 10_000][r.below(4) as usize];
            rt(period, period / [2, 4, 5, 10][r.below(4) as usize])
        };
        let mut nodes = vec![NodeId::ROOT];
        for _ in 0..1 + r.below(2) {
            let to = nodes[r.below(nodes.len() as u64) as usize];
            let (vps, each) = (1 + r.below(3) as u16, some(&mut r));
            nodes.extend(m.tree.add_group(to, instance("rtds"), vps, &each, m.now));
        }
        for _ in 0..1 + r.below(4) {
            let (to, hog) = (nodes[r.below(nodes.len() as u64) as usize], r.below(3) != 0);
            m.add(to, &some(&mut r), hog);
        }
        let at = Span(1 + r.below(20_000_000));
        runs(&mut m, at, &format!("tree {n}"));
        let was: Vec<_> = m.cpus.iter().map(|c| c.runs).collect();
        m.moment().unwrap();
        for (c, was) in was.iter().enumerate() {
            if m.cpus[c].runs.is_none() && was.is_none() {
                idle += 1;
                m.come_by(CpuId(c as u16));
                assert_eq!(m.cpus[c].runs, None, "tree {n}, {c} at {:?}", m.now);
            }
        }
    }
    assert!(idle > 1_000, "{idle}: hardly any CPU is ever idle");
}

/// Trees of any schedulers with more work than CPUs: what the members of a group have had is what its processors have.
#[test]
fn a_group_has_what_its_members_have() {
    for n in 1..=300 {
        let mut r = Rng(seed(n, 9) | 1);
        let kinds = ["credit2", "rr", "rtds", "null"];
        let cpus = 1 + r.below(3) as usize;
        let mut m = Machine::new(kinds[r.below(4) as usize], cpus, seed(n, 1));
        m.promised = false;
        let mut nodes = vec![NodeId::ROOT];
        for _ in 0..1 + r.below(6) {
            let to = nodes[r.below(nodes.len() as u64) as usize];
            let (kind, vps) = (instance(kinds[r.below(4) as usize]), 1 + r.below(3) as u16);
            nodes.extend(m.tree.add_group(to, kind, vps, &rt(5_000, 1_000), m.now));
        }
        for _ in 0..12 {
            let (to, hog) = (nodes[r.below(nodes.len() as u64) as usize], r.below(3) == 0);
            let p = VcpuParams {
                weight: [1, 256, 3_000][r.below(3) as usize],
                ..m.any()
            };
            m.add(to, &p, hog);
        }
        runs(&mut m, Span::ms(40), &format!("tree {n}"));
        m.everybody_decides();
        for g in &nodes[1..] {
            let had = m.tree.shape(*g).unwrap().stats.runtime;
            let mut members = Span::ZERO;
            for t in m.tasks.iter().filter(|t| t.leaf.node == *g) {
                members += m.tree.stats(t.leaf).runtime;
            }
            for inner in &nodes[1..] {
                let shape = m.tree.shape(*inner).unwrap();
                if shape.parent == *g {
                    members += shape.stats.runtime;
                }
            }
            assert_eq!(had, members, "tree {n}, {g:?}");
        }
        let all = m.tasks.iter().map(|t| m.tree.stats(t.leaf).runtime.0);
        assert_eq!(all.sum::<u64>(), m.busy.0, "tree {n}");
    }
}
