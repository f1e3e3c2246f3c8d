//! The ideal: everybody who wants the CPU gets its weighted share of it at every moment (water-filling).
//!
//! The oracle of the report. Between two changes of the machine (weights, caps, affinities, who is stopped, which CPUs and
//! domains are in which pool and group) it works on totals: what each vCPU asked for in that time and before, at most one CPU
//! each. Groups share as one, recursively. Must never look at what a scheduler decided, but for those whose demand follows
//! from what they get.

use crate::engine::{Epoch, Outcome};
use crate::scenario::Scenario;
use tarn_abi::{CpuId, CpuSet};

/// Beyond so many different affinities in a pool only each of them counts, not what they have in common.
const MOST_SETS: usize = 8;
const LITTLE: f64 = 1e-12;

/// Those of `members` get at most `most` CPUs together.
#[derive(Clone, Debug)]
pub struct Limit {
    /// In CPUs.
    pub most: f64,
    /// Positions among those who share.
    pub members: Vec<usize>,
}

/// Shares, in CPUs, of entities of (weight, demand in CPUs): as much of its demand for each as its weight allows, none of the
/// `limits` exceeded, and nothing of them left over that anybody could have.
pub fn share(limits: &[Limit], who: &[(f64, f64)]) -> Vec<f64> {
    let mut got = vec![0.0; who.len()];
    let mut open: Vec<bool> = who.iter().map(|w| w.1 > 0.0).collect();
    while open.iter().any(|o| *o) {
        let full = |i: usize| who[i].1 / who[i].0;
        // The level at which a limit is reached by those who are still open.
        let reached = |l: &Limit| {
            let given: f64 = l.members.iter().map(|&i| got[i]).sum();
            let weight: f64 = l
                .members
                .iter()
                .filter(|&&i| open[i])
                .map(|&i| who[i].0)
                .sum();
            if weight > 0.0 {
                (l.most - given).max(0.0) / weight
            } else {
                f64::INFINITY
            }
        };
        let levels: Vec<f64> = limits.iter().map(reached).collect();
        let rising = (0..who.len()).filter(|&i| open[i]).map(full);
        let level = rising
            .chain(levels.iter().copied())
            .fold(f64::INFINITY, f64::min);
        let tight = |at: f64| at <= level * (1.0 + LITTLE) + LITTLE;
        let mut closed: Vec<usize> = (0..who.len())
            .filter(|&i| open[i] && tight(full(i)))
            .collect();
        for (l, at) in limits.iter().zip(&levels) {
            if tight(*at) {
                closed.extend(l.members.iter().filter(|&&i| open[i]));
            }
        }
        for i in closed {
            open[i] = false;
            got[i] = who[i].1.min(level * who[i].0);
        }
    }
    got
}

/// What the ideal would have given each vCPU, in CPUs, over the whole run.
pub fn shares(s: &Scenario, o: &Outcome) -> Vec<f64> {
    let speeds: Vec<f64> = s
        .pools
        .iter()
        .flat_map(|p| p.speeds.iter().map(|&x| x as f64 / 1024.0))
        .collect();
    let end = Epoch {
        from: o.duration,
        work: o.vcpus.iter().map(|v| v.work).collect(),
        offered: o.vcpus.iter().map(|v| v.figures.offered).collect(),
        ..Epoch::default()
    };
    let mut given = vec![0.0; o.vcpus.len()];
    // What was asked for and not given, ns.
    let mut owed = vec![0.0; o.vcpus.len()];
    let ends = o.epochs.iter().skip(1).chain([&end]);
    for (epoch, next) in o.epochs.iter().zip(ends) {
        let length = (next.from - epoch.from) as f64;
        if length == 0.0 {
            continue;
        }
        let mut demand = vec![0.0; o.vcpus.len()];
        for (i, v) in o.vcpus.iter().enumerate() {
            let ran = (next.work[i] - epoch.work[i]) as f64;
            owed[i] += (next.offered[i] - epoch.offered[i]) as f64;
            let wanted = match (v.hog, v.closed_loop) {
                (true, _) => length,
                (_, true) => ran,
                _ => owed[i].max(ran),
            };
            let place = &epoch.domains[v.domain];
            if !place.stopped {
                demand[i] = (wanted / length).min(place.bandwidth);
            }
        }
        let mut machine = Machine {
            s,
            o,
            epoch,
            demand: &demand,
            speeds: &speeds,
            got: vec![0.0; o.vcpus.len()],
        };
        for pool in 0..s.pools.len() {
            machine.level(pool, None);
        }
        for (i, got) in machine.got.iter().enumerate() {
            given[i] += got * length;
            owed[i] = (owed[i] - got * length).max(0.0);
        }
    }
    given.iter().map(|g| g / o.duration as f64).collect()
}

/// The machine between two changes.
struct Machine<'a> {
    s: &'a Scenario,
    o: &'a Outcome,
    epoch: &'a Epoch,
    demand: &'a [f64],
    speeds: &'a [f64],
    got: Vec<f64>,
}

impl Machine<'_> {
    fn speed(&self, cpus: &CpuSet) -> f64 {
        let of = |c: CpuId| self.speeds.get(c.index()).copied().unwrap_or(0.0);
        cpus.iter().map(of).sum()
    }

    fn fastest(&self, cpus: &CpuSet) -> f64 {
        let of = |c: CpuId| self.speeds.get(c.index()).copied().unwrap_or(0.0);
        cpus.iter().map(of).fold(0.0, f64::max)
    }

    /// The most a domain may have by its cap, in CPUs.
    fn cap(&self, domain: usize) -> Option<f64> {
        let place = &self.epoch.domains[domain];
        let fastest = self.fastest(&self.epoch.pools[place.pool]);
        (place.cap != 0).then_some(f64::from(place.cap) / 100.0 * fastest)
    }

    /// What there is for entities that may use these CPUs of a pool: no set of CPUs gives more than it has.
    fn room(&self, cpus: CpuSet, allowed: &[CpuSet]) -> Vec<Limit> {
        let mut sets: Vec<CpuSet> = Vec::new();
        for a in allowed {
            if !sets.contains(a) {
                sets.push(*a);
            }
        }
        if sets.len() <= MOST_SETS {
            let mut i = 0;
            while i < sets.len() {
                for j in 0..i {
                    let both = sets[i].union(&sets[j]);
                    if !sets.contains(&both) {
                        sets.push(both);
                    }
                }
                i += 1;
            }
        }
        sets.push(cpus);
        let of = |set: &CpuSet| Limit {
            most: self.speed(set),
            members: (0..allowed.len())
                .filter(|&i| allowed[i].difference(set).is_empty())
                .collect(),
        };
        sets.iter().map(of).collect()
    }

    /// Shares out among those directly in a pool, or `inside` a group that has so many CPUs.
    fn level(&mut self, pool: usize, inside: Option<(usize, f64)>) {
        let group = inside.map(|x| x.0);
        let cpus = self.epoch.pools[pool];
        let place = |d: usize| &self.epoch.domains[d];
        let vcpus: Vec<usize> = (0..self.o.vcpus.len())
            .filter(|&i| {
                let at = place(self.o.vcpus[i].domain);
                at.pool == pool && at.group == group
            })
            .collect();
        let (mut who, mut allowed) = (Vec::new(), Vec::new());
        for &i in &vcpus {
            let at = place(self.o.vcpus[i].domain);
            let own = at.affinity.intersection(&cpus);
            let own = if own.is_empty() || group.is_some() {
                cpus
            } else {
                own
            };
            let most = self.fastest(&own);
            who.push((f64::from(at.weight), self.demand[i].min(most)));
            allowed.push(own);
        }
        let groups = &self.s.groups;
        let subs: Vec<usize> = (0..groups.len())
            .filter(|&g| groups[g].pool == pool && groups[g].parent == group)
            .collect();
        // What one processor of a group does not use another does: they count as one.
        for &g in &subs {
            let vps = f64::from(groups[g].vps);
            let weight = vps * f64::from(groups[g].each());
            let most = vps * self.epoch.groups[g];
            who.push((weight, self.wants(pool, g).min(most)));
            allowed.push(cpus);
        }
        let mut limits = match inside {
            None => self.room(cpus, &allowed),
            Some((_, most)) => vec![Limit {
                most,
                members: (0..allowed.len()).collect(),
            }],
        };
        for d in 0..self.s.domains.len() {
            if let Some(most) = self.cap(d) {
                let of = |k: &usize| self.o.vcpus[vcpus[*k]].domain == d;
                let members = (0..vcpus.len()).filter(of).collect();
                limits.push(Limit { most, members });
            }
        }
        let got = share(&limits, &who);
        for (k, &i) in vcpus.iter().enumerate() {
            self.got[i] = got[k];
        }
        for (k, &g) in subs.iter().enumerate() {
            let mine = got[vcpus.len() + k];
            self.level(pool, Some((g, mine)));
        }
    }

    /// What a group asks for in all.
    fn wants(&self, pool: usize, group: usize) -> f64 {
        let own = |d: usize| {
            let vcpus = (0..self.o.vcpus.len()).filter(|&i| self.o.vcpus[i].domain == d);
            let all: f64 = vcpus.map(|i| self.demand[i]).sum();
            self.cap(d).map_or(all, |most| all.min(most))
        };
        let here = |d: &usize| {
            let at = &self.epoch.domains[*d];
            at.pool == pool && at.group == Some(group)
        };
        let own: f64 = (0..self.s.domains.len()).filter(here).map(own).sum();
        let nested: f64 = (0..self.s.groups.len())
            .filter(|&g| self.s.groups[g].parent == Some(group))
            .map(|g| {
                let most = f64::from(self.s.groups[g].vps) * self.epoch.groups[g];
                self.wants(pool, g).min(most)
            })
            .sum();
        own + nested
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Options, run};

    fn near(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(x, y)| (x - y).abs() < 1e-9)
    }

    fn of(most: f64, members: &[usize]) -> Limit {
        Limit {
            most,
            members: members.to_vec(),
        }
    }

    #[test]
    fn water_finds_its_level() {
        let all = |most| [of(most, &[0, 1, 2])];
        let two = [(256.0, 1.0), (256.0, 1.0)];
        assert!(near(&share(&[of(1.0, &[0, 1])], &two), &[0.5, 0.5]));
        let three = [(256.0, 0.1), (256.0, 1.0), (512.0, 1.0)];
        assert!(near(&share(&all(1.0), &three), &[0.1, 0.3, 0.6]));
        let heavy = [(1.0, 1.0), (1.0, 1.0), (6.0, 1.0)];
        assert!(near(&share(&all(2.0), &heavy), &[0.5, 0.5, 1.0]));
        assert!(near(&share(&[of(4.0, &[0])], &[(1.0, 1.0)]), &[1.0]));
        let idle = [(1.0, 0.0), (1.0, 1.0), (1.0, 1.0)];
        assert!(near(&share(&all(1.0), &idle), &[0.0, 0.5, 0.5]));
    }

    /// Two of three are confined to the first of two CPUs; the first is capped besides.
    #[test]
    fn limits_hold_and_what_they_leave_is_used() {
        let hogs = [(1.0, 1.0); 3];
        let cpus = [of(1.0, &[0, 1]), of(2.0, &[0, 1, 2])];
        assert!(near(&share(&cpus, &hogs), &[0.5, 0.5, 1.0]));
        let [a, b] = cpus;
        let capped = [a, b, of(0.2, &[0])];
        assert!(near(&share(&capped, &hogs), &[0.2, 0.8, 1.0]));
    }

    /// The share of each vCPU of hogs on one or two CPUs, and the ideal's, in 1/1000.
    fn told(text: &str) -> Vec<(i64, i64)> {
        let s = Scenario::parse(text).unwrap();
        let o = run(&s, &Options::default()).unwrap();
        let milli = |x: f64| (x * 1000.0).round() as i64;
        let share = |work: u64| milli(work as f64 / o.duration as f64);
        let of = |(v, f): (&crate::engine::VcpuOutcome, f64)| (share(v.work), milli(f));
        o.vcpus.iter().zip(shares(&s, &o)).map(of).collect()
    }

    /// Whatever changes on the way: the ideal follows, and hogs have what it gives them, to 1/100.
    #[test]
    fn the_ideal_follows_what_changes() {
        let hogs = |cpus: u32, more: [&str; 3]| {
            let mut t = format!("duration = \"10s\"\n[[pool]]\nname = \"p\"\ncpus = {cpus}\n");
            t += "[[pool]]\nname = \"q\"\ncpus = 1\n[[group]]\nname = \"g\"\n";
            for (name, more) in ["x", "y", "z"].iter().zip(more) {
                t += &format!(
                    "[[domain]]\nname = \"{name}\"\n{more}\n[[domain.vcpu]]\nhog = true\n"
                );
            }
            t
        };
        let at = |time: &str, what: &str| format!("[[at]]\ntime = \"{time}\"\n{what}\n");
        let cases = [
            // (scenario, the ideal of x, y, z)
            (hogs(1, ["", "", ""]), [333, 333, 333]),
            (hogs(1, ["cap = 20", "", ""]), [200, 400, 400]),
            (
                hogs(2, ["affinity = \"0\"", "", "affinity = \"0\""]),
                [500, 1000, 500],
            ),
            (
                hogs(1, ["", "", ""]) + &at("5s", "do = \"pause\"\ndomain = \"x\""),
                [167, 417, 417],
            ),
            (
                hogs(1, ["", "", ""]) + &at("5s", "do = \"weight\"\ndomain = \"x\"\nweight = 512"),
                [417, 292, 292],
            ),
            (
                hogs(1, ["", "", ""]) + &at("2s", "do = \"cap\"\ndomain = \"x\"\ncap = 10"),
                [147, 427, 427],
            ),
            (
                hogs(1, ["", "", ""]) + &at("5s", "do = \"move\"\ndomain = \"x\"\npool = \"q\""),
                [667, 417, 417],
            ),
            (
                hogs(1, ["group = \"g\"", "group = \"g\"", ""])
                    + &at("5s", "do = \"group\"\ndomain = \"z\"\ngroup = \"g\""),
                [292, 292, 417],
            ),
            (
                hogs(2, ["", "", ""]) + &at("5s", "do = \"cpu\"\ncpus = \"1\"\npool = \"q\""),
                [500, 500, 500],
            ),
        ];
        for (text, ideal) in cases {
            let all = told(&text);
            let wanted: Vec<i64> = all.iter().map(|x| x.1).collect();
            assert_eq!(wanted, ideal, "{text}");
            assert!(
                all.iter().all(|(got, ideal)| (got - ideal).abs() <= 10),
                "{all:?}\n{text}"
            );
        }
    }
}
