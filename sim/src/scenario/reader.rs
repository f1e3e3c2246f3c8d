//! A TOML table that is read key by key and complains with its place; what nobody asked for is unknown.

use super::*;

/// A table being read: every key must be asked for.
pub(super) struct Reader<'a> {
    pub(super) at: String,
    pub(super) table: &'a Table,
    pub(super) known: Vec<&'static str>,
    /// What is said under two names.
    twice: Option<String>,
}

/// Other names of keys: those of the scheduler's specification, and plurals.
const ALIASES: &[(&str, &str)] = &[
    ("P", "period"),
    ("h", "handler"),
    ("p", "priority"),
    ("w", "work"),
    ("exponential", "poisson"),
    ("r", "run"),
    ("s", "sleep"),
    ("critical", "hold"),
    ("irqs", "irq"),
    ("source", "irq"),
    ("vcpus", "vcpu"),
    ("pools", "pool"),
    ("domains", "domain"),
    ("groups", "group"),
    ("workload", "seed"),
    ("speed", "speeds"),
    ("capacity", "speeds"),
    ("scheduler", "sched"),
    ("dont_desched", "page"),
    ("interval", "boost_interval"),
    ("ratio", "boost_ratio"),
];

/// How many letters must be changed, added or left out to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = corner + usize::from(!x.eq_ignore_ascii_case(&y));
            corner = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

impl<'a> Reader<'a> {
    pub(super) fn new(at: impl Into<String>, v: &'a Value) -> Res<Self> {
        let at = at.into();
        let table = v
            .as_table()
            .ok_or_else(|| format!("{at}: must be a table"))?;
        Ok(Reader {
            at,
            table,
            known: Vec::new(),
            twice: None,
        })
    }
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        let other = ALIASES.iter().filter(|(_, of)| *of == key);
        let other = other.filter_map(|(alias, _)| self.table.get_key_value(*alias));
        let mut found = self.table.get_key_value(key).into_iter().chain(other);
        let (name, value) = found.next()?;
        if let Some((again, _)) = found.next() {
            self.twice = Some(format!("{}: `{name}` and `{again}` say the same", self.at));
        }
        Some(value)
    }
    pub(super) fn bad<T>(&self, key: &str, why: &str) -> Res<T> {
        Err(format!("{}: `{key}` {why}", self.at))
    }
    /// The table's name, by which others may speak of it.
    pub(super) fn new_name<'n>(
        &self,
        name: &str,
        mut others: impl Iterator<Item = &'n String>,
    ) -> Res<()> {
        if name == "none" {
            return self.bad("name", "must not be `none`");
        }
        if others.any(|o| o == name) {
            return self.bad("name", &format!("is `{name}`, as another's before it"));
        }
        Ok(())
    }
    pub(super) fn int(&mut self, key: &'static str, default: u64, min: u64, max: u64) -> Res<u64> {
        Ok(self.number(key, min, max)?.unwrap_or(default))
    }
    pub(super) fn number(&mut self, key: &'static str, min: u64, max: u64) -> Res<Option<u64>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Integer(n))
                if u64::try_from(*n).is_ok_and(|n| (min..=max).contains(&n)) =>
            {
                Ok(Some(*n as u64))
            }
            Some(_) => self.bad(key, &format!("must be a number from {min} to {max}")),
        }
    }
    pub(super) fn bool(&mut self, key: &'static str, default: bool) -> Res<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Boolean(b)) => Ok(*b),
            Some(_) => self.bad(key, "must be true or false"),
        }
    }
    pub(super) fn text(&mut self, key: &'static str) -> Res<Option<&'a str>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(s)) => Ok(Some(s)),
            Some(_) => self.bad(key, "must be a string"),
        }
    }
    pub(super) fn time(&mut self, key: &'static str) -> Res<Option<u64>> {
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
    pub(super) fn amount(&mut self, key: &'static str) -> Res<Option<Amount>> {
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
    pub(super) fn cpus(&mut self, key: &'static str) -> Res<Option<CpuSet>> {
        match self.text(key)? {
            None => Ok(None),
            Some(t) => match CpuSet::parse(t) {
                Some(s) => Ok(Some(s)),
                None => self.bad(key, "must be CPU numbers such as \"0-2,5\""),
            },
        }
    }
    /// CPUs that some pool of the scenario has.
    pub(super) fn cpus_of(&mut self, key: &'static str, pools: &[Pool]) -> Res<Option<CpuSet>> {
        let cpus = self.cpus(key)?;
        let mut all = cpus.iter().flat_map(CpuSet::iter);
        match all.find(|c| !pools.iter().any(|p| p.cpus.contains(*c))) {
            None => Ok(cpus),
            Some(c) => self.bad(key, &format!("names CPU {}, which no pool has", c.0)),
        }
    }
    pub(super) fn list(&mut self, key: &'static str) -> Res<&'a [Value]> {
        match self.get(key) {
            None => Ok(&[]),
            Some(Value::Array(a)) => Ok(a),
            Some(_) => self.bad(key, "must be a list"),
        }
    }
    pub(super) fn need<T>(&self, key: &str, v: Option<T>) -> Res<T> {
        v.ok_or_else(|| format!("{}: `{key}` is missing", self.at))
    }
    pub(super) fn done(self) -> Res<()> {
        if let Some(twice) = self.twice {
            return Err(twice);
        }
        let known = |k: &str| {
            let mut others = ALIASES.iter().filter(|(alias, _)| *alias == k);
            self.known.contains(&k) || others.any(|(_, of)| self.known.contains(of))
        };
        let Some(k) = self.table.keys().find(|k| !known(k)) else {
            return Ok(());
        };
        let nearest = self.known.iter().min_by_key(|n| distance(k, n));
        let meant = nearest
            .filter(|n| distance(k, n) <= 1 + k.len() / 3)
            .map_or(String::new(), |n| format!(", `{n}` may be meant"));
        Err(format!(
            "{}: unknown key `{k}`{meant}; known are {}",
            self.at,
            self.known.join(", ")
        ))
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
