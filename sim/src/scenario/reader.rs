//! A TOML table that is read key by key and complains with its place; what nobody asked for is unknown.

use super::*;

/// A table being read: every key must be asked for.
pub(super) struct Reader<'a> {
    pub(super) at: String,
    pub(super) table: &'a Table,
    pub(super) known: Vec<&'static str>,
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
        })
    }
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        self.table.get(key)
    }
    pub(super) fn bad<T>(&self, key: &str, why: &str) -> Res<T> {
        Err(format!("{}: `{key}` {why}", self.at))
    }
    pub(super) fn int(&mut self, key: &'static str, default: u64, min: u64, max: u64) -> Res<u64> {
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
