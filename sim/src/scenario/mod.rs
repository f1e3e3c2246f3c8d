//! Scenarios as files: what machine, which guests, what happens when, and which bars the result must clear.
//!
//! The format is described in `docs/scenarios.md`. Whatever is unknown, missing or out of range is refused with the
//! place and the reason; nothing has a silent default that changes the meaning.

mod parts;
mod reader;

use self::parts::*;
use self::reader::Reader;
pub use self::reader::time;
use crate::guest::{Amount, DontDesched, Model, Program, Source};
use tarn_abi::{CpuSet, MAX_CPUS, MAX_VCPUS, Span};
use tarn_pools::{BoostParams, RtParams, SchedParams, VcpuParams};
use toml::{Table, Value};

/// A workload.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// Number of its random streams.
    pub seed: u64,
    /// How long it runs, ns.
    pub duration: u64,
    /// What a switch costs, ns.
    pub switch: u64,
    /// How long a kick takes, ns.
    pub ipi: u64,
    /// Pools; the first is Pool-0.
    pub pools: Vec<Pool>,
    /// Groups, parents before their children.
    pub groups: Vec<Group>,
    /// Domains.
    pub domains: Vec<Domain>,
    /// How many locks there are.
    pub locks: usize,
    /// What an operator does meanwhile.
    pub script: Vec<Action>,
    /// Bars.
    pub bars: Vec<Bar>,
}

/// A pool.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its CPUs.
    pub cpus: CpuSet,
    /// Speeds of its CPUs in 1/1024 of the fastest, in order.
    pub speeds: Vec<u64>,
    /// Its scheduler, unless the run says otherwise.
    pub sched: String,
    /// That one's parameters.
    pub params: SchedParams,
}

/// A group.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its pool.
    pub pool: usize,
    /// The group it is in.
    pub parent: Option<usize>,
    /// Its virtual processors.
    pub vps: u16,
    /// What each virtual processor is in the parent. Its weight: per virtual processor, or with `split` of all together.
    pub params: VcpuParams,
    /// Each virtual processor has its part of the weight.
    pub split: bool,
    /// Its scheduler.
    pub sched: String,
}

impl Group {
    /// The weight of each virtual processor.
    pub fn each(&self) -> u32 {
        let parts = if self.split { u32::from(self.vps) } else { 1 };
        (self.params.weight / parts).max(1)
    }
}

/// A domain.
#[derive(Clone, Debug)]
pub struct Domain {
    /// Its name.
    pub name: String,
    /// Its pool.
    pub pool: usize,
    /// Its group.
    pub group: Option<usize>,
    /// Cap in percent of a CPU; 0 = none.
    pub cap: u32,
    /// Scheduling parameters of its vCPUs.
    pub params: VcpuParams,
    /// Its vCPUs.
    pub vcpus: Vec<Model>,
}

/// Something done at a time, once or again and again.
#[derive(Clone, Debug)]
pub struct Action {
    /// First time, ns.
    pub at: u64,
    /// Period, ns.
    pub every: Option<u64>,
    /// What.
    pub what: What,
}

/// What an operator can do.
#[derive(Clone, Debug)]
pub enum What {
    /// Another weight.
    Weight(usize, u32),
    /// Another affinity.
    Affinity(usize, CpuSet),
    /// Another soft affinity.
    Soft(usize, CpuSet),
    /// Stop.
    Pause(usize),
    /// Go on.
    Unpause(usize),
    /// To another pool.
    Move(usize, usize),
    /// A CPU into a pool or out of all.
    Cpu(u16, Option<usize>),
    /// Into a group, or out of all.
    Regroup(usize, Option<usize>),
    /// Another cap.
    Cap(usize, u32),
    /// Another scheduler for a pool, and these CPUs with it.
    Sched(usize, String, CpuSet),
}

/// A bar: a metric, of whom, and its limit.
#[derive(Clone, Debug)]
pub struct Bar {
    /// The metric's name.
    pub of: String,
    /// Of which vCPUs: a name, or a beginning and `*`.
    pub who: String,
    /// Of which interrupt source of theirs; none = of all together.
    pub irq: Option<String>,
    /// Percentiles over the samples of all of them together, not the worst of one each.
    pub pooled: bool,
    /// At most this.
    pub max: Option<f64>,
    /// At least this.
    pub min: Option<f64>,
    /// Compared with another scheduler's result on the same scenario.
    pub versus: Option<String>,
}

type Res<T> = Result<T, String>;

/// Whether `name` is meant by `pattern`: the same, or beginning with what stands before a final `*`.
pub fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

impl Scenario {
    /// Reads a file's text.
    pub fn parse(text: &str) -> Res<Scenario> {
        let table: Table = text.parse().map_err(|e: toml::de::Error| e.to_string())?;
        let root = Value::Table(table);
        let mut r = Reader::new("scenario", &root)?;
        let mut s = Scenario {
            name: r.text("name")?.unwrap_or("unnamed").to_string(),
            seed: r.int("seed", 1, 0, u64::from(u32::MAX))?,
            duration: r.time("duration")?.unwrap_or(20_000_000_000),
            switch: r.time("switch")?.unwrap_or(2_000),
            ipi: r.time("ipi")?.unwrap_or(0),
            pools: Vec::new(),
            groups: Vec::new(),
            domains: Vec::new(),
            locks: 0,
            script: Vec::new(),
            bars: Vec::new(),
        };
        if s.duration == 0 || s.duration > 3_600_000_000_000 {
            return r.bad("duration", "must be more than 0 and at most 3600s");
        }
        let mut next = 0u16;
        for (i, v) in r.list("pool")?.iter().enumerate() {
            let mut p = Reader::new(format!("pool[{i}]"), v)?;
            let name = p.text("name")?.unwrap_or("Pool-0").to_string();
            let n = p.int("cpus", 1, 0, MAX_CPUS as u64)? as u16;
            if usize::from(next + n) > MAX_CPUS {
                return p.bad("cpus", &format!("are more than {MAX_CPUS} in all"));
            }
            if i == 0 && n == 0 {
                return p.bad("cpus", "of the first pool must be at least 1");
            }
            let cpus = (next..next + n).map(tarn_abi::CpuId).collect();
            next += n;
            let mut speeds = Vec::new();
            for s in p.list("speeds")? {
                match s.as_integer().filter(|s| (1..=1024).contains(s)) {
                    Some(s) => speeds.push(s as u64),
                    None => return p.bad("speeds", "must be numbers from 1 to 1024"),
                }
            }
            if !speeds.is_empty() && speeds.len() != usize::from(n) {
                return p.bad("speeds", "must name one for each CPU");
            }
            if speeds.is_empty() {
                speeds = vec![1024; usize::from(n)];
            }
            let sched = p.text("sched")?.unwrap_or("credit2").to_string();
            let params = params(&mut p)?;
            p.done()?;
            s.pools.push(Pool {
                name,
                cpus,
                speeds,
                sched,
                params,
            });
        }
        if s.pools.is_empty() {
            return r.bad("pool", "must list at least one");
        }
        for (i, v) in r.list("group")?.iter().enumerate() {
            let mut g = Reader::new(format!("group[{i}]"), v)?;
            let name = g.text("name")?;
            let name = g.need("name", name)?.to_string();
            let parent = match g.text("parent")? {
                None => None,
                Some(p) => match s.groups.iter().position(|x| x.name == p) {
                    Some(i) => Some(i),
                    None => return g.bad("parent", "names no group listed before"),
                },
            };
            let pool = match (g.text("pool")?, parent) {
                (None, Some(p)) => s.groups[p].pool,
                (None, None) => 0,
                (Some(n), p) => match s.pools.iter().position(|x| x.name == n) {
                    Some(i) if p.is_none_or(|p| s.groups[p].pool == i) => i,
                    Some(_) => return g.bad("pool", "is not the pool of its parent"),
                    None => return g.bad("pool", "names no pool"),
                },
            };
            let vps = g.int("vps", 1, 1, 64)?;
            let group = Group {
                name,
                pool,
                parent,
                vps: vps as u16,
                params: entity(&mut g)?,
                split: g.bool("split", false)?,
                sched: g.text("sched")?.unwrap_or("credit2").to_string(),
            };
            g.done()?;
            s.groups.push(group);
        }
        let mut locks = Vec::new();
        for (i, v) in r.list("domain")?.iter().enumerate() {
            let d = domain(i, v, &s.pools, &s.groups, &mut locks)?;
            s.domains.extend(d);
        }
        s.locks = locks.len();
        let vcpus: usize = s.domains.iter().map(|d| d.vcpus.len()).sum();
        if vcpus == 0 || vcpus > MAX_VCPUS || s.domains.len() >= tarn_abi::MAX_DOMAINS {
            return r.bad(
                "domain",
                &format!("list: 1 to {MAX_VCPUS} vCPUs in fewer than 128 domains"),
            );
        }
        for (i, v) in r.list("at")?.iter().enumerate() {
            let a = action(i, v, &s)?;
            s.script.extend(a);
        }
        for (i, v) in r.list("bar")?.iter().enumerate() {
            s.bars.push(bar(i, v)?);
        }
        r.done()?;
        Ok(s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(time("2.67ms"), Some(2_670_000));
        assert_eq!(time("20s"), Some(20_000_000_000));
        assert_eq!(time("7ns"), Some(7));
        for bad in [
            "",
            "5",
            "ms",
            "-1ms",
            "1.2.3s",
            "1e3s",
            "5 h",
            "99999999999999s",
        ] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }

    #[test]
    fn malformed_scenarios_are_refused_with_the_place() {
        let ok = "[[pool]]\ncpus = 1\n[[domain]]\nname = \"a\"\n[[domain.vcpu]]\nhog = true\n";
        assert!(Scenario::parse(ok).is_ok());
        let cases = [
            ("[[pool]]\ncpus = 1\n", "domain"),
            ("[[pool]]\ncpus = 999\n", "cpus"),
            ("[[domain]]\nname = \"a\"\n", "pool"),
            (&ok.replace("hog", "hogg"), "unknown key `hogg`"),
            (&ok.replace("hog", "hgo"), "`hog` may be meant"),
            (
                &ok.replace("cpus = 1", "cpus = 1\nspeed = [512]\nspeeds = [512]"),
                "say the same",
            ),
            (
                &ok.replace("name = \"a\"", "name = \"a\"\nweight = 0"),
                "weight",
            ),
            (
                &ok.replace("name = \"a\"", "name = \"a\"\npool = \"x\""),
                "pool",
            ),
            (
                &format!("{ok}[[group]]\nname = \"g\"\nbudget = \"20ms\"\n"),
                "group[0]: budget",
            ),
            (
                &format!(
                    "[[pool]]\nname = \"b\"\ncpus = 1\n[[pool]]\nname = \"p\"\ncpus = 1\n{ok}[[group]]\nname = \"g\"\n[[group]]\nname = \"h\"\nparent = \"g\"\npool = \"p\"\n"
                ),
                "is not the pool of its parent",
            ),
            (
                &format!("{ok}[[at]]\ntime = \"1s\"\ndo = \"dance\"\ndomain = \"a\"\n"),
                "do",
            ),
            (&format!("{ok}[[bar]]\nof = \"beauty\"\nmax = 1\n"), "of"),
            ("duration = \"0s\"\n", "duration"),
            ("x = [", ""),
        ];
        for (text, part) in cases {
            let e = Scenario::parse(text).expect_err(text);
            assert!(e.contains(part), "{e}");
        }
    }

    #[test]
    fn the_words_of_the_specification_mean_the_same() {
        let of = |vcpu: &str| {
            let t =
                format!("[[pool]]\ncpus = 1\n[[domain]]\nname = \"a\"\n[[domain.vcpu]]\n{vcpu}");
            let s = Scenario::parse(&t).unwrap_or_else(|e| panic!("{vcpu}: {e}"));
            format!("{:?}", s.domains[0].vcpus[0])
        };
        let pairs = [
            (
                "irq = [{ P = \"2ms\", h = \"5us\", p = 2, w = \"exp(90us)\" }]",
                "irq = [{ period = \"2ms\", handler = \"5us\", priority = 2, work = \"exp(90us)\" }]",
            ),
            (
                "irqs = [{ period = \"2ms\", poisson = true }]",
                "irq = [{ poisson = \"2ms\" }]",
            ),
            (
                "hog = { yield_every = \"1ms\" }",
                "hog = true\nyield_every = \"1ms\"",
            ),
            (
                "runsleep = { r = \"1ms\", s = \"2ms\" }",
                "runsleep = { run = \"1ms\", sleep = \"2ms\" }",
            ),
            (
                "lock = true",
                "lock = { compute = \"exp(300us)\", hold = \"40us\", spin = \"10us\" }",
            ),
            ("hog = true\nenl = true", "hog = true\npage = \"rt\""),
            (
                "hog = true\nabuse = true",
                "hog = true\ndont_desched = \"always\"",
            ),
        ];
        for (a, b) in pairs {
            assert_eq!(of(a), of(b));
        }
    }
}
