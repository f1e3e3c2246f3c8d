//! A dry run says what the real run does: for random plans on small systems full of promises (rtds near its limit, null
//! with too few CPUs, groups, vCPUs pinned anywhere), the same verdict with the same step and the same reason, and where it is carried out the same
//! pools with the same CPUs, domains, schedulers and vCPUs without a CPU. The seeds are fixed.

mod world;

use tarn_abi::call::param::Setting;
use tarn_abi::call::report::Adjusted;
use tarn_abi::{CpuId, CpuSet, DomainId, Label, PoolId};
use tarn_pools::*;
use world::{Rng, World, sched};

const CPUS: usize = 4;
const NAMES: [&str; 4] = ["rtds", "null", "credit2", "rr"];

fn set(name: &str, value: u64) -> Option<Setting> {
    Some(Setting {
        name: Label::new(name).unwrap(),
        value,
    })
}

struct Seen {
    refused: u64,
    not_admitted: u64,
    done: u64,
    short: u64,
}

fn pools(w: &World) -> Vec<PoolId> {
    (0..).map_while(|n| w.set.pool_at(n)).collect()
}

fn target(w: &World, rng: &mut Rng, steps: u64) -> Target {
    if rng.chance(30) && steps > 0 {
        return Target::Step(rng.below(steps) as u32);
    }
    let all = pools(w);
    Target::Id(all[rng.below(all.len() as u64) as usize])
}

fn step(w: &World, rng: &mut Rng, n: u64, names: &mut u64) -> Step {
    // Seldom dom0 or the boot CPU, which mostly stay where they are.
    let any = |rng: &mut Rng| (1 + rng.below(3) as u16) * u16::from(!rng.chance(4));
    let domain = DomainId::new(any(rng), 0);
    match rng.below(20) {
        0..=2 => {
            *names += 1;
            Step::CreatePool {
                name: Name::new(&format!("p{names}")).unwrap(),
                sched: sched(NAMES[rng.below(2) as usize]),
            }
        }
        3 => Step::DestroyPool(target(w, rng, n)),
        4..=7 => {
            let mut cpus = CpuSet::one(CpuId(any(rng)));
            if rng.chance(40) {
                cpus.insert(CpuId(any(rng)));
            }
            Step::Cpus(rng.chance(75).then(|| target(w, rng, n)), cpus)
        }
        8..=11 => Step::MoveDomain(domain, target(w, rng, n)),
        12 => Step::SetSched(target(w, rng, n), sched(NAMES[rng.below(4) as usize])),
        13 => Step::PoolParams(target(w, rng, n), [set("carry", rng.below(12_000)), None]),
        // Of a period of 10 ms, in steps that sum up to about a CPU, so that there is often just room.
        _ => {
            let budget = set("rt-budget", 1_000 * (1 + rng.below(9)));
            let other = match rng.below(5) {
                0 => set("rt-period", 1_000 * (8 + rng.below(8))),
                1 => set("cap", rng.below(250)),
                _ => None,
            };
            Step::DomainParams(domain, [budget, other])
        }
    }
}

/// Sometimes a domain, dom0 as well, goes into a group of its pool, or out of it.
fn regroup(w: &mut World, rng: &mut Rng) {
    if rng.chance(30) {
        let d = DomainId::new(rng.below(4) as u16, 0);
        let pool = w.set.domain_info(d, w.now).unwrap().pool;
        let to = (0..).map_while(|n| w.set.group_at(pool, n)).next();
        let to = to.filter(|_| rng.chance(50));
        let _ = w.carry_out(&Plan::of(Step::Group(d, None, to)).unwrap());
    }
}

/// The CPUs of each pool that promises have been made for can serve all that it has promised (Goossens, Funk and Baruah).
fn check_promises(w: &World) {
    for id in pools(w) {
        let info = w.set.pool_info(id).unwrap();
        if info.sched_name != "rtds" || w.set.group_at(id, 0).is_some() {
            continue;
        }
        let (mut asked, mut largest) = (0, 0);
        for (d, n) in &w.domains {
            if w.set.domain_info(*d, w.now).unwrap().pool != id {
                continue;
            }
            for i in 0..*n {
                let p = w.set.vcpu_info(world::vcpu(*d, i), w.now).unwrap().params;
                let load = (p.rt.budget.0 * 1_000).div_ceil(p.rt.period.0);
                (asked, largest) = (asked + load, largest.max(load));
            }
        }
        let m = info.cpus.len() as u64;
        let available = (m * 1_000).saturating_sub(m.saturating_sub(1) * largest);
        assert!(asked <= available, "{}: {asked} of {available}", info.name);
    }
}

/// A vCPU gets another affinity, dom0's included: one CPU, or some, maybe none of its pool's, or any.
fn pin(w: &mut World, rng: &mut Rng) {
    let (d, n) = w.domains[rng.below(w.domains.len() as u64) as usize];
    let v = world::vcpu(d, rng.below(n.into()) as u16);
    let mut params = w.set.vcpu_info(v, w.now).unwrap().params;
    params.affinity = match rng.below(4) {
        0 => CpuSet::ALL,
        1 => some_cpus(rng).union(&some_cpus(rng)),
        _ => some_cpus(rng),
    };
    let k = w.set.adjust_vcpu(v, &params, w.now).unwrap();
    w.send(k);
    w.settle();
}

fn some_cpus(rng: &mut Rng) -> CpuSet {
    CpuSet::one(CpuId(rng.below(CPUS as u64) as u16))
}

/// However it is pinned and wherever it is, nobody can keep dom0 from its CPU.
fn check_dom0(w: &World) {
    let dom0 = w.set.vcpu_info(world::vcpu(DomainId::DOM0, 0), w.now);
    assert!(!dom0.unwrap().stranded, "{}", w.picture());
}

fn one(w: &mut World, rng: &mut Rng, names: &mut u64, seen: &mut Seen) {
    while rng.chance(50) {
        pin(w, rng);
    }
    regroup(w, rng);
    check_dom0(w);
    let mut plan = Plan::new();
    for n in 0..=rng.below(5) {
        let step = step(w, rng, n, names);
        plan.add(step).unwrap();
    }
    let before = w.picture();
    let foreseen = w.foresee(&plan);
    assert_eq!(w.picture(), before, "{plan:?}: a dry run changed something");
    let real = w.carry_out(&plan);
    w.check();
    check_dom0(w);
    let report = match (real, &foreseen) {
        (Err(real), Err(foreseen)) => {
            assert_eq!(real, *foreseen, "{plan:?}\n{before}");
            assert_eq!(w.picture(), before, "{plan:?} was refused");
            let admission = matches!(
                real.error,
                PoolError::Sched(SchedError::Inadmissible { .. })
            );
            seen.refused += 1;
            seen.not_admitted += u64::from(admission);
            return;
        }
        (Ok(report), Ok(_)) => report,
        (real, _) => panic!("{plan:?}: {foreseen:?} was foreseen, not {real:?}\n{before}"),
    };
    seen.done += 1;
    check_promises(w);
    let mut short = false;
    for p in foreseen.unwrap().pools {
        // A new one is known by its CPUs, or by having been made last.
        let is = match p.id {
            Some(id) => id,
            None => *pools(w)
                .iter()
                .find(|id| {
                    let i = w.set.pool_info(**id).unwrap();
                    let domains = i.domains as u32;
                    (i.cpus, domains, i.sched) == (p.cpus, p.domains, p.sched)
                })
                .unwrap_or_else(|| panic!("{plan:?}: {p:?} is nowhere")),
        };
        let info = w.set.pool_info(is).unwrap();
        let seen = (info.cpus, info.domains as u32, info.sched);
        assert_eq!(seen, (p.cpus, p.domains, p.sched), "{plan:?}");
        let stranded = w.set.stranded(is).unwrap();
        if p.id.is_some() || !p.cpus.is_empty() {
            assert_eq!(stranded, p.stranded, "{plan:?} {p:?}\n{before}");
            short |= stranded > 0;
        }
    }
    // What is said is so; what was so before and nobody touched need not be said again.
    if report.adjusted.has(Adjusted::NO_CPU) {
        assert!(short, "{plan:?}");
        seen.short += 1;
    }
}

fn world(rng: &mut Rng) -> World {
    let mut w = World::new(CPUS, "credit2");
    for slot in 0..4 {
        w.add(
            slot,
            if slot == 0 { 1 } else { 1 + slot % 3 },
            PoolId::POOL0,
        );
    }
    w.settle();
    // A pool that makes promises, or hands its CPUs out for good, with somebody in it.
    let mut there = Plan::new();
    for s in [
        Step::CreatePool {
            name: Name::new("there").unwrap(),
            sched: sched(NAMES[rng.below(2) as usize]),
        },
        Step::Cpus(Some(Target::Step(0)), CpuSet::parse("2-3").unwrap()),
        Step::DomainParams(DomainId::new(1, 0), [set("rt-budget", 3_000), None]),
        Step::DomainParams(DomainId::new(2, 0), [set("rt-budget", 2_000), None]),
        Step::MoveDomain(DomainId::new(1, 0), Target::Step(0)),
        Step::MoveDomain(DomainId::new(2, 0), Target::Step(0)),
    ] {
        there.add(s).unwrap();
    }
    w.carry_out(&there).unwrap();
    // Sometimes with a group, whose processors take part in what is promised and handed out.
    if rng.chance(40) {
        let config = GroupConfig {
            vps: 1 + rng.below(2) as u16,
            sched: sched(NAMES[rng.below(4) as usize]),
            ..GroupConfig::new("cell")
        };
        let d = DomainId::new(1 + rng.below(3) as u16, 0);
        let pool = w.set.domain_info(d, w.now).unwrap().pool;
        if let Ok(g) = w.set.create_group(pool, &config, w.now) {
            let _ = w.carry_out(&Plan::of(Step::Group(d, None, Some(g))).unwrap());
        }
    }
    w
}

fn run(seeds: core::ops::Range<u64>) {
    let mut seen = Seen {
        refused: 0,
        not_admitted: 0,
        done: 0,
        short: 0,
    };
    for seed in seeds {
        let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut w = world(&mut rng);
        let mut names = 0;
        for _ in 0..20 {
            one(&mut w, &mut rng, &mut names, &mut seen);
        }
    }
    println!(
        "{} refused, {} of them by admission, {} done, {} left somebody without a CPU",
        seen.refused, seen.not_admitted, seen.done, seen.short
    );
    // Each kind has been met.
    let least = [seen.refused, seen.not_admitted, seen.done, seen.short];
    assert!(least.iter().all(|n| *n > 200), "{least:?}");
}

#[test]
fn a_dry_run_says_what_the_real_one_does_1() {
    run(1..301);
}

#[test]
fn a_dry_run_says_what_the_real_one_does_2() {
    run(1_000..1_300);
}
