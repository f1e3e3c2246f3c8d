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
        if !(1_000..=3_600_000_000_000).contains(&s.duration) {
            return r.bad("duration", "must be from 1us to 3600s");
        }
        for (key, time) in [("switch", s.switch), ("ipi", s.ipi)] {
            if time > 1_000_000 {
                return r.bad(key, "must be at most 1ms");
            }
        }
        let mut next = 0u16;
        for (i, v) in r.list("pool")?.iter().enumerate() {
            let mut p = Reader::new(format!("pool[{i}]"), v)?;
            let name = p.text("name")?.unwrap_or("Pool-0").to_string();
            p.new_name(&name, s.pools.iter().map(|p| &p.name))?;
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
            g.new_name(&name, s.groups.iter().map(|g| &g.name))?;
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
            let d = Reader::new(format!("domain[{i}]"), v)?;
            for new in domain(i, v, &s.pools, &s.groups, &mut locks)? {
                d.new_name(&new.name, s.domains.iter().map(|d| &d.name))?;
                s.domains.push(new);
            }
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
        for d in 0..s.domains.len() {
            let domain = &s.domains[d];
            let affinity = domain.params.affinity;
            if affinity != CpuSet::ALL && s.reach(d).intersection(&affinity).is_empty() {
                return Err(format!(
                    "domain {}: `affinity` has no CPU of its pool, and no action brings one there or moves it",
                    domain.name
                ));
            }
        }
        for (i, v) in r.list("bar")?.iter().enumerate() {
            s.bars.push(bar(i, v)?);
        }
        r.done()?;
        Ok(s)
    }

    /// The CPUs that are ever in a pool in which domain `d` ever is.
    fn reach(&self, d: usize) -> CpuSet {
        let mut pools = vec![self.domains[d].pool];
        for a in &self.script {
            if let What::Move(x, to) = a.what
                && x == d
            {
                pools.push(to);
            }
        }
        let mut all = CpuSet::EMPTY;
        pools
            .iter()
            .for_each(|&p| all = all.union(&self.pools[p].cpus));
        for a in &self.script {
            match &a.what {
                What::Cpu(cpu, Some(p)) if pools.contains(p) => {
                    all.insert(tarn_abi::CpuId(*cpu));
                }
                What::Sched(p, _, cpus) if pools.contains(p) => all = all.union(cpus),
                _ => {}
            }
        }
        all
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
    fn what_says_nothing_or_nothing_that_can_be_is_refused_with_the_place() {
        let ok = "duration = \"1s\"\n[[pool]]\ncpus = 2\n[[pool]]\nname = \"p\"\ncpus = 2\n[[domain]]\nname = \"a\"\n[[domain.vcpu]]\nhog = true\n";
        let another = "[[domain]]\nname = \"a\"\n[[domain.vcpu]]\nhog = true\n";
        let with = |key: &str| ok.replace("name = \"a\"", &format!("name = \"a\"\n{key}"));
        let vcpu = |text: &str| ok.replace("hog = true", text);
        let top = |text: &str| ok.replace("duration = \"1s\"", text);
        let at = |text: &str| format!("{ok}[[at]]\ntime = \"1ms\"\n{text}\n");
        let cases = [
            (with("affinity = \"4\""), "domain a: `affinity` names CPU 4"),
            (
                with("affinity = \"0-4\""),
                "domain a: `affinity` names CPU 4",
            ),
            (with("soft = \"7\""), "domain a: `soft` names CPU 7"),
            (
                with("affinity = \"2-3\""),
                "domain a: `affinity` has no CPU of its pool",
            ),
            (
                at("do = \"affinity\"\ndomain = \"a\"\ncpus = \"4\""),
                "at[0]: `cpus` names CPU 4",
            ),
            (
                at("do = \"cpu\"\npool = \"p\"\ncpus = \"9\""),
                "at[0]: `cpus` names CPU 9",
            ),
            (format!("{ok}{another}"), "domain[1]: `name` is `a`"),
            (
                format!("{ok}{}", another.replace("\"a\"", "\"b1\""))
                    + &another.replace("\"a\"", "\"b\"\ncount = 2"),
                "domain[2]: `name` is `b1`",
            ),
            (
                ok.replace("\"p\"", "\"Pool-0\""),
                "pool[1]: `name` is `Pool-0`",
            ),
            (
                ok.replace("\"p\"", "\"none\""),
                "pool[1]: `name` must not be",
            ),
            (
                format!("{ok}[[group]]\nname = \"g\"\n[[group]]\nname = \"g\"\nparent = \"g\"\n"),
                "group[1]: `name` is `g`",
            ),
            (
                at("do = \"weight\"\ndomain = \"a\""),
                "at[0]: `weight` is missing",
            ),
            (
                at("do = \"cap\"\ndomain = \"a\""),
                "at[0]: `cap` is missing",
            ),
            (
                at("do = \"affinity\"\ndomain = \"a\""),
                "at[0]: `cpus` is missing",
            ),
            (
                at("do = \"soft\"\ndomain = \"a\""),
                "at[0]: `cpus` is missing",
            ),
            (
                at("do = \"move\"\ndomain = \"a\""),
                "at[0]: `pool` is missing",
            ),
            (
                at("do = \"sched\"\npool = \"p\""),
                "at[0]: `sched` is missing",
            ),
            (
                at("do = \"pause\"\ndomain = \"a\"\nweight = 3"),
                "at[0]: `weight` is not for `pause`",
            ),
            (
                at("do = \"pause\"\ndomain = \"a\"").replace("1ms", "1s"),
                "at[0]: `time` must be before the end",
            ),
            (
                vcpu("hog = false"),
                "domain a.vcpu[0]: would never do anything",
            ),
            (top("duration = \"999ns\""), "`duration` must be from 1us"),
            (top("switch = \"2ms\""), "`switch` must be at most 1ms"),
            (top("ipi = \"20s\""), "`ipi` must be at most 1ms"),
            (
                vcpu("runsleep = { run = \"0ns\", sleep = \"1ms\" }"),
                "domain a.vcpu[0].runsleep: `run` must be at least 1us",
            ),
            (
                vcpu("runsleep = { run = \"1ms\", sleep = \"exp(1ns)\" }"),
                "domain a.vcpu[0].runsleep: `sleep` must be at least 1us",
            ),
            (
                vcpu("lock = { compute = \"0ns\", hold = \"0ns\" }"),
                "domain a.vcpu[0].lock: `compute` and `hold` must be at least 1us",
            ),
        ];
        for (text, part) in cases {
            let e = Scenario::parse(&text).expect_err(&text);
            assert!(e.contains(part), "{part} is not in: {e}");
        }
        // An affinity elsewhere is for when the script brings both together.
        let away = with("affinity = \"2-3\"");
        for what in [
            "do = \"move\"\ndomain = \"a\"\npool = \"p\"",
            "do = \"cpu\"\ncpus = \"2\"\npool = \"Pool-0\"",
            "do = \"sched\"\npool = \"Pool-0\"\nsched = \"rr\"\ncpus = \"0-2\"",
        ] {
            let text = format!("{away}[[at]]\ntime = \"1ms\"\n{what}\n");
            assert!(Scenario::parse(&text).is_ok(), "{text}");
        }
        let idle = vcpu("irq = [{ period = \"1ms\" }]");
        assert!(Scenario::parse(&idle).is_ok());
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
