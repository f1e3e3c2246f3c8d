//! Scenarios as files: what machine, which guests, what happens when, and which bars the result must clear.
//!
//! The format is described in `sim/scenarios/README.md`. Whatever is unknown, missing or out of range is refused with the
//! place and the reason; nothing has a silent default that changes the meaning.

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
    /// Its weight, per virtual processor.
    pub weight: u32,
    /// Its scheduler.
    pub sched: String,
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
}

/// A bar: a metric, of whom, and its limit.
#[derive(Clone, Debug)]
pub struct Bar {
    /// The metric's name.
    pub of: String,
    /// Of which vCPUs: a name, or a beginning and `*`.
    pub who: String,
    /// At most this.
    pub max: Option<f64>,
    /// At least this.
    pub min: Option<f64>,
    /// Compared with another scheduler's result on the same scenario.
    pub versus: Option<String>,
}

type Res<T> = Result<T, String>;

/// A table being read: every key must be asked for.
struct Reader<'a> {
    at: String,
    table: &'a Table,
    known: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    fn new(at: impl Into<String>, v: &'a Value) -> Res<Self> {
        let at = at.into();
        let table = v
            .as_table()
            .ok_or_else(|| format!("{at}: must be a table"))?;
        Ok(Reader {
            at,
            table,
            known: Vec::new(),
        })
    }
    fn get(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        self.table.get(key)
    }
    fn bad<T>(&self, key: &str, why: &str) -> Res<T> {
        Err(format!("{}: `{key}` {why}", self.at))
    }
    fn int(&mut self, key: &'static str, default: u64, min: u64, max: u64) -> Res<u64> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Integer(n))
                if u64::try_from(*n).is_ok_and(|n| (min..=max).contains(&n)) =>
            {
                Ok(*n as u64)
            }
            Some(_) => self.bad(key, &format!("must be a number from {min} to {max}")),
        }
    }
    fn bool(&mut self, key: &'static str, default: bool) -> Res<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Boolean(b)) => Ok(*b),
            Some(_) => self.bad(key, "must be true or false"),
        }
    }
    fn text(&mut self, key: &'static str) -> Res<Option<&'a str>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(s)) => Ok(Some(s)),
            Some(_) => self.bad(key, "must be a string"),
        }
    }
    fn time(&mut self, key: &'static str) -> Res<Option<u64>> {
        match self.text(key)? {
            None => Ok(None),
            Some(t) => match time(t) {
                Some(n) => Ok(Some(n)),
                None => self.bad(
                    key,
                    "must be a time such as \"250us\", \"2.67ms\" or \"20s\"",
                ),
            },
        }
    }
    fn amount(&mut self, key: &'static str) -> Res<Option<Amount>> {
        let Some(t) = self.text(key)? else {
            return Ok(None);
        };
        let inner = t.strip_prefix("exp(").and_then(|t| t.strip_suffix(')'));
        match inner.map_or_else(|| time(t).map(Amount::Fixed), |t| time(t).map(Amount::Exp)) {
            Some(a) => Ok(Some(a)),
            None => self.bad(
                key,
                "must be a time, or exp(time) for an exponential with that mean",
            ),
        }
    }
    fn cpus(&mut self, key: &'static str) -> Res<Option<CpuSet>> {
        match self.text(key)? {
            None => Ok(None),
            Some(t) => match CpuSet::parse(t) {
                Some(s) => Ok(Some(s)),
                None => self.bad(key, "must be CPU numbers such as \"0-2,5\""),
            },
        }
    }
    fn list(&mut self, key: &'static str) -> Res<&'a [Value]> {
        match self.get(key) {
            None => Ok(&[]),
            Some(Value::Array(a)) => Ok(a),
            Some(_) => self.bad(key, "must be a list"),
        }
    }
    fn need<T>(&self, key: &str, v: Option<T>) -> Res<T> {
        v.ok_or_else(|| format!("{}: `{key}` is missing", self.at))
    }
    fn done(self) -> Res<()> {
        match self
            .table
            .keys()
            .find(|k| !self.known.contains(&k.as_str()))
        {
            Some(k) => Err(format!(
                "{}: unknown key `{k}`; known are {}",
                self.at,
                self.known.join(", ")
            )),
            None => Ok(()),
        }
    }
}

/// "2.67ms" in ns.
pub fn time(text: &str) -> Option<u64> {
    let t = text.trim();
    let cut = t.find(|c: char| c.is_ascii_alphabetic())?;
    let unit: u64 = match &t[cut..] {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        _ => return None,
    };
    let (whole, part) = t[..cut]
        .trim()
        .split_once('.')
        .unwrap_or((t[..cut].trim(), ""));
    if whole.is_empty()
        || !whole
            .bytes()
            .chain(part.bytes())
            .all(|c| c.is_ascii_digit())
        || part.len() > 9
    {
        return None;
    }
    let mut n = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    if !part.is_empty() {
        n = n.checked_add(
            part.parse::<u64>().ok()?.checked_mul(unit)? / 10u64.pow(part.len() as u32),
        )?;
    }
    Some(n)
}

fn params(r: &mut Reader<'_>) -> Res<SchedParams> {
    let d = SchedParams::DEFAULT;
    let mut t = |key, default: Span| Ok::<Span, String>(r.time(key)?.map_or(default, Span));
    let p = SchedParams {
        slice: t("slice", d.slice)?,
        ratelimit: t("ratelimit", d.ratelimit)?,
        grant: t("grant", d.grant)?,
        carry: t("carry", d.carry)?,
        resistance: t("resistance", d.resistance)?,
        min_slice: t("min_slice", d.min_slice)?,
        max_slice: t("max_slice", d.max_slice)?,
        switch_cost: t("switch_cost", d.switch_cost)?,
        boost: r.bool("boost", d.boost)?,
    };
    p.check().map_err(|e| format!("{}: {e}", r.at))?;
    Ok(p)
}

fn source(at: String, v: &Value) -> Res<Source> {
    let mut r = Reader::new(at, v)?;
    let (period, poisson) = match (r.time("period")?, r.time("poisson")?) {
        (Some(p), None) => (p, false),
        (None, Some(p)) => (p, true),
        _ => return r.bad("period", "or `poisson` is needed, one of them"),
    };
    if period < 1_000 {
        return r.bad("period", "must be at least 1us");
    }
    let s = Source {
        period,
        poisson,
        phase: r.time("phase")?.unwrap_or(0),
        end: r.time("end")?.unwrap_or(u64::MAX),
        handler: r.time("handler")?.unwrap_or(5_000).max(1),
        priority: r.int("priority", 1, 1, 2)? as usize,
        work: r.amount("work")?.unwrap_or(Amount::Fixed(0)),
        acc: r.bool("acc", false)?,
        deadline: r.time("deadline")?,
    };
    r.done()?;
    Ok(s)
}

fn vcpu(at: String, v: &Value, locks: &mut Vec<String>) -> Res<(Model, u64)> {
    let mut r = Reader::new(at.clone(), v)?;
    let mut program = Program::None;
    let mut programs = 0;
    let yield_every = r.time("yield_every")?;
    if r.bool("hog", false)? {
        programs += 1;
        program = Program::Hog { yield_every };
    } else if yield_every.is_some() {
        return r.bad("yield_every", "is for a hog");
    }
    if let Some(v) = r.get("runsleep") {
        programs += 1;
        let mut p = Reader::new(format!("{at}.runsleep"), v)?;
        let (run, sleep) = (p.amount("run")?, p.amount("sleep")?);
        program = Program::RunSleep {
            run: p.need("run", run)?,
            sleep: p.need("sleep", sleep)?,
        };
        p.done()?;
    }
    if let Some(v) = r.get("lock") {
        programs += 1;
        let mut p = Reader::new(format!("{at}.lock"), v)?;
        let name = p.text("name")?.unwrap_or("lock");
        let lock = locks.iter().position(|l| l == name).unwrap_or_else(|| {
            locks.push(name.to_string());
            locks.len() - 1
        });
        program = Program::Lock {
            compute: p.amount("compute")?.unwrap_or(Amount::Exp(300_000)),
            hold: p.time("hold")?.unwrap_or(40_000).max(1),
            spin: p.time("spin")?.unwrap_or(10_000).max(1),
            lock,
        };
        p.done()?;
    }
    if programs > 1 {
        return Err(format!("{at}: only one of hog, runsleep and lock"));
    }
    let dont_desched = match r.text("page")? {
        None | Some("absent") => DontDesched::Absent,
        Some("rt") => DontDesched::WhileRt,
        Some("always") => DontDesched::Always,
        Some(_) => return r.bad("page", "must be absent, rt or always"),
    };
    let mut sources = Vec::new();
    for (i, s) in r.list("irq")?.iter().enumerate() {
        sources.push(source(format!("{at}.irq[{i}]"), s)?);
    }
    let count = r.int("count", 1, 1, 1024)?;
    r.done()?;
    Ok((
        Model {
            sources,
            program,
            dont_desched,
        },
        count,
    ))
}

fn domain(
    i: usize,
    v: &Value,
    pools: &[Pool],
    groups: &[Group],
    locks: &mut Vec<String>,
) -> Res<Vec<Domain>> {
    let mut r = Reader::new(format!("domain[{i}]"), v)?;
    let name = r.text("name")?;
    let name = r.need("name", name)?.to_string();
    r.at = format!("domain {name}");
    let group = match r.text("group")? {
        None => None,
        Some(g) => match groups.iter().position(|x| x.name == g) {
            Some(i) => Some(i),
            None => return r.bad("group", "names no group"),
        },
    };
    let pool = match (r.text("pool")?, group) {
        (None, Some(g)) => groups[g].pool,
        (None, None) => 0,
        (Some(p), g) => match pools.iter().position(|x| x.name == p) {
            Some(i) if g.is_none_or(|g| groups[g].pool == i) => i,
            Some(_) => return r.bad("pool", "is not the pool of its group"),
            None => return r.bad("pool", "names no pool"),
        },
    };
    let d = VcpuParams::DEFAULT;
    let p = VcpuParams {
        weight: r.int("weight", 256, 1, 65_535)? as u32,
        affinity: r.cpus("affinity")?.unwrap_or(CpuSet::ALL),
        boost: BoostParams {
            ratio: r.int("boost_ratio", d.boost.ratio.into(), 0, 500)? as u16,
            interval: r.time("boost_interval")?.map_or(d.boost.interval, Span),
            limit: r.time("boost_limit")?.map_or(d.boost.limit, Span),
        },
        rt: RtParams {
            period: r.time("period")?.map_or(d.rt.period, Span),
            budget: r.time("budget")?.map_or(d.rt.budget, Span),
        },
    };
    p.check().map_err(|e| format!("{}: {e}", r.at))?;
    let cap = r.int("cap", 0, 0, 100_000)? as u32;
    let count = r.int("count", 1, 1, 512)?;
    let mut vcpus = Vec::new();
    let listed = r.list("vcpu")?;
    for (k, v) in listed.iter().enumerate() {
        let (m, n) = vcpu(format!("domain {name}.vcpu[{k}]"), v, locks)?;
        vcpus.extend(std::iter::repeat_n(m, n as usize));
    }
    if vcpus.is_empty() {
        return r.bad("vcpu", "must list at least one");
    }
    r.done()?;
    Ok((0..count)
        .map(|k| Domain {
            name: if count == 1 {
                name.clone()
            } else {
                format!("{name}{k}")
            },
            pool,
            group,
            cap,
            params: p,
            vcpus: vcpus.clone(),
        })
        .collect())
}

fn action(i: usize, v: &Value, s: &Scenario) -> Res<Vec<Action>> {
    let mut r = Reader::new(format!("at[{i}]"), v)?;
    let at = r.time("time")?;
    let at = r.need("time", at)?;
    let every = r.time("every")?;
    if every.is_some_and(|e| e < 1_000) {
        return r.bad("every", "must be at least 1us");
    }
    let dom = r.text("domain")?;
    let doms: Vec<usize> = match dom {
        None => Vec::new(),
        Some(n) => {
            let d: Vec<usize> = s
                .domains
                .iter()
                .enumerate()
                .filter(|(_, d)| matches(n, &d.name))
                .map(|(i, _)| i)
                .collect();
            if d.is_empty() {
                return r.bad("domain", "names no domain");
            }
            d
        }
    };
    let pool = match r.text("pool")? {
        None | Some("none") => None,
        Some(p) => match s.pools.iter().position(|x| x.name == p) {
            Some(i) => Some(i),
            None => return r.bad("pool", "names no pool"),
        },
    };
    let group = match r.text("group")? {
        None | Some("none") => None,
        Some(g) => match s.groups.iter().position(|x| x.name == g) {
            Some(i) => Some(i),
            None => return r.bad("group", "names no group"),
        },
    };
    let weight = r.int("weight", 256, 1, 65_535)? as u32;
    let cap = r.int("cap", 0, 0, 100_000)? as u32;
    let cpus = r.cpus("cpus")?;
    let op = r.text("do")?;
    let op = r.need("do", op)?;
    let mut out = Vec::new();
    let mut push = |what| out.push(Action { at, every, what });
    match op {
        "weight" => doms.iter().for_each(|&d| push(What::Weight(d, weight))),
        "cap" => doms.iter().for_each(|&d| push(What::Cap(d, cap))),
        "pause" => doms.iter().for_each(|&d| push(What::Pause(d))),
        "unpause" => doms.iter().for_each(|&d| push(What::Unpause(d))),
        "group" => doms.iter().for_each(|&d| push(What::Regroup(d, group))),
        "affinity" => {
            let c = r.need("cpus", cpus)?;
            doms.iter().for_each(|&d| push(What::Affinity(d, c)));
        }
        "move" => {
            let p = r.need("pool", pool)?;
            doms.iter().for_each(|&d| push(What::Move(d, p)));
        }
        "cpu" => r
            .need("cpus", cpus)?
            .iter()
            .for_each(|c| push(What::Cpu(c.0, pool))),
        _ => {
            return r.bad(
                "do",
                "must be weight, cap, affinity, pause, unpause, move, group or cpu",
            );
        }
    }
    if out.is_empty() {
        return r.bad("domain", "is missing");
    }
    r.done()?;
    Ok(out)
}

fn bar(i: usize, v: &Value) -> Res<Bar> {
    let mut r = Reader::new(format!("bar[{i}]"), v)?;
    let mut number = |key: &'static str| -> Res<Option<f64>> {
        match r.get(key) {
            None => Ok(None),
            Some(Value::Integer(n)) => Ok(Some(*n as f64)),
            Some(Value::Float(x)) if x.is_finite() => Ok(Some(*x)),
            Some(Value::String(t)) => match time(t) {
                Some(n) => Ok(Some(n as f64)),
                None => r.bad(key, "must be a number or a time"),
            },
            Some(_) => r.bad(key, "must be a number or a time"),
        }
    };
    let (max, min) = (number("max")?, number("min")?);
    let of = r.text("of")?;
    let b = Bar {
        of: r.need("of", of)?.to_string(),
        who: r.text("who")?.unwrap_or("*").to_string(),
        max,
        min,
        versus: r.text("versus")?.map(str::to_string),
    };
    if b.max.is_none() && b.min.is_none() {
        return r.bad("max", "or `min` is needed");
    }
    if !crate::report::METRICS.contains(&b.of.as_str()) {
        return r.bad(
            "of",
            &format!("must be one of {}", crate::report::METRICS.join(", ")),
        );
    }
    r.done()?;
    Ok(b)
}

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
                (_, Some(p)) => s.groups[p].pool,
                (None, None) => 0,
                (Some(n), None) => match s.pools.iter().position(|x| x.name == n) {
                    Some(i) => i,
                    None => return g.bad("pool", "names no pool"),
                },
            };
            let group = Group {
                name,
                pool,
                parent,
                vps: g.int("vps", 1, 1, 64)? as u16,
                weight: g.int("weight", 256, 1, 65_535)? as u32,
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
            (
                &ok.replace("name = \"a\"", "name = \"a\"\nweight = 0"),
                "weight",
            ),
            (
                &ok.replace("name = \"a\"", "name = \"a\"\npool = \"x\""),
                "pool",
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
}
