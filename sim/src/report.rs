//! What a run has shown: a table for people, JSON for programs, bars for the tests.
//!
//! Percentiles are exact (all samples are kept). Shares are of one CPU; the fluid share is the weighted water-filling of
//! what each vCPU asked for. Must never influence a run.

use crate::engine::{Outcome, VcpuOutcome};
use crate::figures::Served;
use crate::fluid;
use crate::guest::Source;
use crate::scenario::{Bar, Scenario, matches};
use std::fmt::Write;
use tarn_pools::Stats;

/// What bars can be about.
pub const METRICS: &[&str] = &[
    "share",
    "share_error",
    "spread",
    "wake_p50",
    "wake_p99",
    "wake_p999",
    "wake_max",
    "response_p50",
    "response_p99",
    "response_p999",
    "response_max",
    "misses",
    "exhausted",
    "refilled",
    "storm_held",
    "longest_wait",
    "home",
    "migrations",
    "mean_ratio",
    "switches",
    "preemptions",
    "resets",
    "touched_per_reset",
    "holder_preemptions",
    "sections",
];

/// Percentiles of a list of times, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// How many.
    pub n: usize,
    /// Median.
    pub p50: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
    /// All.
    pub max: u64,
}

impl Latency {
    /// Of those samples.
    pub fn of(samples: &[u64]) -> Latency {
        let mut v = samples.to_vec();
        v.sort_unstable();
        let at = |permille: usize| {
            v.get((v.len() * permille).div_ceil(1000).saturating_sub(1))
                .copied()
                .unwrap_or(0)
        };
        Latency {
            n: v.len(),
            p50: at(500),
            p99: at(990),
            p999: at(999),
            max: v.last().copied().unwrap_or(0),
        }
    }
}

/// The percentile of that name.
fn part_of(name: &str) -> Option<fn(&Latency) -> u64> {
    Some(match name {
        "p50" => |l| l.p50,
        "p99" => |l| l.p99,
        "p999" => |l| l.p999,
        "max" => |l| l.max,
        _ => return None,
    })
}

/// One vCPU, or several together.
#[derive(Clone, Debug)]
pub struct Line {
    /// Name.
    pub name: String,
    /// Weight.
    pub weight: u32,
    /// ns on a CPU.
    pub runtime: u64,
    /// The same in time of the fastest CPU.
    pub work: u64,
    /// The latter as share of one (fastest) CPU.
    pub share: f64,
    /// The share of the ideal.
    pub fluid: f64,
    /// Firing to handler.
    pub wake: Latency,
    /// Firing to end of work.
    pub response: Latency,
    /// The same by interrupt source; of a group, of those that have a name.
    pub sources: Vec<SourceLine>,
    /// The scheduler's counters; of a group, those of its virtual processors where they compete.
    pub stats: Stats,
    /// The outcomes behind it.
    pub of: Vec<usize>,
}

/// One interrupt source of a vCPU, the sources with its number of a domain's vCPUs, or those with its name of a group's.
#[derive(Clone, Debug)]
pub struct SourceLine {
    /// Name, or number.
    pub name: String,
    /// Firing to handler.
    pub wake: Latency,
    /// Firing to end of work.
    pub response: Latency,
    /// Responses after their deadline.
    pub misses: u64,
    /// Firings.
    pub fired: u64,
    /// Firings that met a handler that had not started.
    pub coalesced: u64,
}

/// The samples of several, sorted out by `f`.
fn pooled<'s>(all: impl Iterator<Item = &'s Served>, f: fn(&Served) -> &Vec<u64>) -> Latency {
    Latency::of(&all.flat_map(|s| f(s).iter().copied()).collect::<Vec<_>>())
}

/// What `same` have done together, as one source of that name.
fn together(name: &str, same: &[&Served]) -> SourceLine {
    let all = || same.iter().copied();
    SourceLine {
        name: name.to_string(),
        wake: pooled(all(), |s| &s.wakes),
        response: pooled(all(), |s| &s.responses),
        misses: all().map(|s| s.misses).sum(),
        fired: all().map(|s| s.fired).sum(),
        coalesced: all().map(|s| s.coalesced).sum(),
    }
}

/// The sources of a vCPU's model.
fn model<'s>(s: &'s Scenario, o: &Outcome, i: usize) -> &'s [Source] {
    let v = &o.vcpus[i];
    &s.domains[v.domain].vcpus[v.number].sources
}

/// The sources of the vCPUs `of`, by number.
fn sources(s: &Scenario, o: &Outcome, of: &[usize]) -> Vec<SourceLine> {
    let mut lines = Vec::new();
    loop {
        let k = lines.len();
        let Some(&first) = of.iter().find(|&&i| model(s, o, i).len() > k) else {
            return lines;
        };
        let same = of.iter().filter_map(|&i| o.vcpus[i].figures.sources.get(k));
        let name = &model(s, o, first)[k].name;
        lines.push(together(name, &same.collect::<Vec<_>>()));
    }
}

/// The sources of a group's vCPUs `of`, by name. One that has only its number is nobody's namesake in another domain.
fn named_sources(s: &Scenario, o: &Outcome, of: &[usize]) -> Vec<SourceLine> {
    let mut all: Vec<(&str, Vec<&Served>)> = Vec::new();
    for &i in of {
        let served = o.vcpus[i].figures.sources.iter();
        for (k, (source, served)) in model(s, o, i).iter().zip(served).enumerate() {
            if source.name == k.to_string() {
                continue;
            }
            match all.iter_mut().find(|(name, _)| *name == source.name) {
                Some((_, same)) => same.push(served),
                None => all.push((&source.name, vec![served])),
            }
        }
    }
    all.iter()
        .map(|(name, same)| together(name, same))
        .collect()
}

/// A run with its derived figures.
pub struct Report<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// The run.
    pub outcome: &'a Outcome,
    /// Per vCPU.
    pub vcpus: Vec<Line>,
    /// Per domain.
    pub domains: Vec<Line>,
    /// Per group, with what is nested in it.
    pub groups: Vec<Line>,
}

impl<'a> Report<'a> {
    /// Derives the figures.
    pub fn new(scenario: &'a Scenario, outcome: &'a Outcome) -> Report<'a> {
        let fluid = fluid::shares(scenario, outcome);
        let line = |name: &str, weight: u32, of: Vec<usize>| {
            let served = || of.iter().flat_map(|&i| outcome.vcpus[i].figures.all());
            let runtime = of.iter().map(|&i| outcome.vcpus[i].runtime).sum::<u64>();
            let work = of.iter().map(|&i| outcome.vcpus[i].work).sum::<u64>();
            let mut stats = Stats::default();
            of.iter().for_each(|&i| stats.add(&outcome.vcpus[i].stats));
            Line {
                name: name.to_string(),
                weight,
                runtime,
                work,
                share: work as f64 / outcome.duration as f64,
                fluid: of.iter().map(|&i| fluid[i]).sum(),
                wake: pooled(served(), |s| &s.wakes),
                response: pooled(served(), |s| &s.responses),
                sources: sources(scenario, outcome, &of),
                stats,
                of,
            }
        };
        let vcpus = outcome
            .vcpus
            .iter()
            .enumerate()
            .map(|(i, v)| line(&v.name, v.weight, vec![i]))
            .collect();
        let of_domain = |d: usize| {
            (0..outcome.vcpus.len())
                .filter(|&i| outcome.vcpus[i].domain == d)
                .collect::<Vec<_>>()
        };
        let domains = scenario
            .domains
            .iter()
            .enumerate()
            .map(|(d, dom)| line(&dom.name, dom.params.weight, of_domain(d)))
            .collect();
        let inside = |mut g: Option<usize>, of: usize| {
            while let Some(i) = g {
                if i == of {
                    return true;
                }
                g = scenario.groups[i].parent;
            }
            false
        };
        let groups = scenario
            .groups
            .iter()
            .enumerate()
            .map(|(g, group)| {
                let of = (0..scenario.domains.len())
                    .filter(|&d| inside(scenario.domains[d].group, g))
                    .flat_map(of_domain)
                    .collect();
                let mut line = line(&group.name, group.each(), of);
                line.sources = named_sources(scenario, outcome, &line.of);
                line.stats = outcome.groups[g];
                line
            })
            .collect();
        Report {
            scenario,
            outcome,
            vcpus,
            domains,
            groups,
        }
    }

    /// Spread of work/weight among the hogs in `of`: (max - min) / mean.
    pub fn spread(&self, of: impl Iterator<Item = usize>) -> f64 {
        let v: Vec<f64> = of
            .filter(|&i| self.outcome.vcpus[i].hog)
            .map(|i| self.vcpus[i].work as f64 / f64::from(self.vcpus[i].weight))
            .collect();
        if v.len() < 2 {
            return 0.0;
        }
        let (min, max) = v
            .iter()
            .fold((f64::MAX, 0.0f64), |(a, b), &x| (a.min(x), b.max(x)));
        let mean = v.iter().sum::<f64>() / v.len() as f64;
        if mean == 0.0 { 0.0 } else { (max - min) / mean }
    }

    /// Who never runs, since null has no CPU for him.
    pub fn stranded(&self) -> impl Iterator<Item = &str> {
        let all = self.outcome.vcpus.iter().filter(|v| v.stranded);
        all.map(|v| v.name.as_str())
    }

    /// vCPUs touched per reset.
    pub fn touched_per_reset(&self) -> f64 {
        let t = &self.outcome.totals;
        if t.resets == 0 {
            0.0
        } else {
            t.touched as f64 / t.resets as f64
        }
    }

    /// The worst value of a metric among the vCPUs `who` names. `None`: nobody is named so.
    pub fn metric(&self, bar: &Bar) -> Option<f64> {
        let (of, who) = (bar.of.as_str(), bar.who.as_str());
        match of {
            "switches" => return Some(self.outcome.switches as f64),
            "touched_per_reset" => return Some(self.touched_per_reset()),
            "preemptions" => return Some(self.outcome.preemptions as f64),
            "resets" => return Some(self.outcome.totals.resets as f64),
            "holder_preemptions" => return Some(self.outcome.holder_preemptions as f64),
            _ => {}
        }
        let chosen: Vec<usize> = (0..self.vcpus.len())
            .filter(|&i| matches(who, &self.vcpus[i].name))
            .filter(|&i| bar.irq.is_none() || self.source(i, bar).is_some())
            .collect();
        if chosen.is_empty() {
            return None;
        }
        if bar.pooled
            && let Some((kind, part)) = of.split_once('_')
            && let Some(f) = part_of(part)
        {
            let served = chosen.iter().flat_map(|&i| {
                let irq = bar.irq.as_ref();
                let names = self.vcpus[i].sources.iter().map(|s| Some(&s.name));
                let all = self.outcome.vcpus[i].figures.all();
                all.zip(names.chain([None]))
                    .filter(move |(_, name)| irq.is_none() || irq == *name)
                    .map(|(s, _)| s)
            });
            let l = match kind {
                "wake" => pooled(served, |s| &s.wakes),
                _ => pooled(served, |s| &s.responses),
            };
            return Some(f(&l) as f64);
        }
        let o = |i: usize| &self.outcome.vcpus[i];
        let all = |f: &dyn Fn(usize) -> f64| chosen.iter().map(|&i| f(i)).collect::<Vec<f64>>();
        let max = |f: &dyn Fn(usize) -> f64| all(f).into_iter().fold(f64::MIN, f64::max);
        let sum = |f: &dyn Fn(usize) -> f64| all(f).into_iter().sum::<f64>();
        Some(match of {
            "share" => sum(&|i| self.vcpus[i].share),
            "share_error" => max(&|i| (self.vcpus[i].share - self.vcpus[i].fluid).abs()),
            "spread" => self.spread(chosen.iter().copied()),
            "wake_p50" => max(&|i| self.wake(i, bar).p50 as f64),
            "wake_p99" => max(&|i| self.wake(i, bar).p99 as f64),
            "wake_p999" => max(&|i| self.wake(i, bar).p999 as f64),
            "wake_max" => max(&|i| self.wake(i, bar).max as f64),
            "response_p50" => max(&|i| self.response(i, bar).p50 as f64),
            "response_p99" => max(&|i| self.response(i, bar).p99 as f64),
            "response_p999" => max(&|i| self.response(i, bar).p999 as f64),
            "response_max" => max(&|i| self.response(i, bar).max as f64),
            "misses" => sum(&|i| match self.source(i, bar) {
                Some(s) => s.misses as f64,
                None => o(i).figures.all().map(|s| s.misses).sum::<u64>() as f64,
            }),
            "exhausted" => sum(&|i| o(i).stats.exhausted as f64),
            "refilled" => sum(&|i| o(i).stats.boosts[5] as f64),
            "storm_held" => sum(&|i| o(i).stats.storm_held as f64),
            "sections" => sum(&|i| o(i).figures.sections as f64),
            "longest_wait" => max(&|i| o(i).longest_wait as f64),
            "home" => {
                let part = |i: usize| o(i).at_home as f64 / o(i).runtime.max(1) as f64;
                all(&part).into_iter().fold(1.0, f64::min)
            }
            "migrations" => sum(&|i| o(i).migrations as f64),
            // Mean runtime/weight of these over that of all other hogs.
            "mean_ratio" => {
                let per = |i: usize| self.vcpus[i].work as f64 / f64::from(self.vcpus[i].weight);
                let mine = sum(&per) / chosen.len() as f64;
                let rest: Vec<f64> = (0..self.vcpus.len())
                    .filter(|&i| !chosen.contains(&i) && o(i).hog)
                    .map(per)
                    .collect();
                if rest.is_empty() {
                    0.0
                } else {
                    mine / (rest.iter().sum::<f64>() / rest.len() as f64)
                }
            }
            _ => return None,
        })
    }

    /// The source that a bar is about.
    fn source(&self, i: usize, bar: &Bar) -> Option<&SourceLine> {
        let irq = bar.irq.as_ref()?;
        self.vcpus[i].sources.iter().find(|s| s.name == *irq)
    }

    fn wake(&self, i: usize, bar: &Bar) -> Latency {
        self.source(i, bar).map_or(self.vcpus[i].wake, |s| s.wake)
    }

    fn response(&self, i: usize, bar: &Bar) -> Latency {
        self.source(i, bar)
            .map_or(self.vcpus[i].response, |s| s.response)
    }

    /// Judges the bars; `other` gives the report of the same scenario under another scheduler.
    pub fn judge(
        &self,
        mut other: impl FnMut(&str, &Bar) -> Result<f64, String>,
    ) -> Result<Vec<Verdict>, String> {
        let mut out = Vec::new();
        for b in &self.scenario.bars {
            let value = self.metric(b).ok_or_else(|| match &b.irq {
                None => format!("bar: `{}` names no vCPU", b.who),
                Some(irq) => format!("bar: no vCPU of `{}` has an irq `{irq}`", b.who),
            })?;
            let unit = match &b.versus {
                Some(s) => other(s, b)?,
                None => 1.0,
            };
            let (max, min) = (b.max.map(|m| m * unit), b.min.map(|m| m * unit));
            let ok = max.is_none_or(|m| value <= m) && min.is_none_or(|m| value >= m);
            out.push(Verdict {
                bar: b.clone(),
                value,
                max,
                min,
                ok,
            });
        }
        Ok(out)
    }

    /// For people.
    pub fn table(&self) -> String {
        let o = self.outcome;
        let mut t = String::new();
        let _ = writeln!(
            t,
            "{}: {} for {} s, seed {}",
            self.scenario.name,
            o.sched,
            o.duration as f64 / 1e9,
            o.seed
        );
        let _ = writeln!(
            t,
            "{:<16} {:>6} {:>8} {:>8} {:>8} | {:>7} {:>8} {:>8} {:>8} | {:>8} {:>8} {:>6} | {:>7} {:>5}",
            "vCPU",
            "weight",
            "share %",
            "fluid %",
            "error",
            "wakes",
            "p50 us",
            "p99 us",
            "max us",
            "resp p50",
            "p99 us",
            "missed",
            "boosts",
            "spent"
        );
        let us = |n: u64| n as f64 / 1e3;
        for group in [&self.groups, &self.vcpus] {
            for l in group {
                let sum = |f: &dyn Fn(&VcpuOutcome) -> u64| {
                    l.of.iter().map(|&i| f(&o.vcpus[i])).sum::<u64>()
                };
                let _ = writeln!(
                    t,
                    "{:<16} {:>6} {:>8.3} {:>8.3} {:>+8.3} | {:>7} {:>8.1} {:>8.1} {:>8.1} | {:>8.1} {:>8.1} {:>6} | {:>7} {:>5}",
                    l.name,
                    l.weight,
                    l.share * 100.0,
                    l.fluid * 100.0,
                    (l.share - l.fluid) * 100.0,
                    l.wake.n,
                    us(l.wake.p50),
                    us(l.wake.p99),
                    us(l.wake.max),
                    us(l.response.p50),
                    us(l.response.p99),
                    sum(&|v| v.figures.all().map(|s| s.misses).sum()),
                    l.stats.boosts.iter().sum::<u64>() - l.stats.boosts[1],
                    l.stats.exhausted,
                );
            }
        }
        let idle: u64 = o.idle.iter().sum();
        let _ = writeln!(
            t,
            "{} switches, {} resets touching {:.2} vCPUs each, {} locks taken, {} holders preempted, idle {:.2} %, spread {:.4} %",
            o.switches,
            o.totals.resets,
            self.touched_per_reset(),
            o.pool_locks,
            o.holder_preemptions,
            idle as f64 * 100.0 / (o.duration as f64 * o.idle.len() as f64),
            self.spread(0..self.vcpus.len()) * 100.0,
        );
        for name in self.stranded() {
            let _ = writeln!(t, "{name}: no CPU under null");
        }
        t
    }
}

/// A bar and what became of it.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The bar.
    pub bar: Bar,
    /// Measured.
    pub value: f64,
    /// Upper limit, made absolute.
    pub max: Option<f64>,
    /// Lower limit, made absolute.
    pub min: Option<f64>,
    /// Cleared.
    pub ok: bool,
}

impl Verdict {
    /// One line: the figure and its limit in the unit that people read.
    pub fn text(&self) -> String {
        let value = |v: f64| readable(&self.bar.of, v);
        let limit = |name: &str, l: Option<f64>| {
            l.map_or(String::new(), |l| format!("  {name} {}", value(l)))
        };
        format!(
            "{} {:<34} {:>12}{}{}{}",
            if self.ok { "ok  " } else { "FAIL" },
            format!("{} of {}", self.bar.of, self.bar.who),
            value(self.value),
            limit("at most", self.max),
            limit("at least", self.min),
            self.bar
                .versus
                .as_ref()
                .map_or(String::new(), |v| format!("  (from what {v} has)"))
        )
    }
}

/// A figure of a bar: times in us, a spread in percent, all else as it is.
fn readable(metric: &str, v: f64) -> String {
    if metric == "longest_wait" || metric.starts_with("wake_") || metric.starts_with("response_") {
        format!("{:.1} us", v / 1e3)
    } else if metric == "spread" {
        format!("{:.4} %", v * 100.0)
    } else if v == v.trunc() {
        format!("{v:.0}")
    } else {
        format!("{v:.4}")
    }
}
