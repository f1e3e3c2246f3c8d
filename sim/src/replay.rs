//! Recordings: written as text, read back, and done again by the same code, record by record.
//!
//! A trace is lines `trace POOL NUMBER W W W W W W` (decimal pool and number, hexadecimal words as in `tarn_abi::trace`),
//! wherever they stand in a line; all else is passed over, so a console's log will do. Must never guess: a recording with
//! a hole or without its beginning is refused.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tarn_abi::trace::{Op, Record};
use tarn_sched::{Pending, Recorded};

/// How many records before a difference are shown.
const CONTEXT: usize = 12;

/// The recording of one pool, from its first record on.
pub struct Trace {
    /// Which pool, in the order they were made.
    pub pool: u64,
    /// What happened.
    pub records: Vec<Record>,
}

/// What a replay has shown.
pub struct Verdict {
    /// Every answer was the same.
    pub same: bool,
    /// How many of them were decisions (picks).
    pub decisions: usize,
    /// For people.
    pub text: String,
}

/// The recordings of a run as a file.
pub fn text(pools: &[Vec<(u64, Record)>]) -> String {
    let mut t = String::new();
    for (pool, records) in pools.iter().enumerate() {
        for (n, r) in records {
            let _ = writeln!(t, "trace {pool} {n} {r}");
        }
    }
    t
}

/// Reads recordings.
pub fn read(text: &str) -> Result<Vec<Trace>, String> {
    let mut pools: BTreeMap<u64, Vec<Record>> = BTreeMap::new();
    for (i, line) in text.lines().enumerate() {
        let Some(at) = line.find("trace ") else {
            continue;
        };
        let bad = || format!("line {}: not a record: {}", i + 1, line.trim_end());
        let mut words = line[at..].split_ascii_whitespace().skip(1);
        let mut number = || words.next().map(str::parse::<u64>);
        let (pool, n) = match (number(), number()) {
            (Some(Ok(p)), Some(Ok(n))) => (p, n),
            // Another line with that word in it.
            _ => continue,
        };
        let rest: Vec<&str> = words.take(6).collect();
        let record = Record::parse(&rest.join(" ")).ok_or_else(bad)?;
        let list = pools.entry(pool).or_default();
        if n != list.len() as u64 {
            return Err(format!(
                "line {}: pool {pool}: record {n} where {} should be; the ring was too small, or lines are missing",
                i + 1,
                list.len()
            ));
        }
        list.push(record);
    }
    if pools.is_empty() {
        return Err("no records".into());
    }
    Ok(pools
        .into_iter()
        .map(|(pool, records)| Trace { pool, records })
        .collect())
}

/// The recordings of a run as far as they replay: until a pool gets another scheduler.
pub fn replayable(pools: &[Vec<(u64, Record)>]) -> Vec<Trace> {
    let one = |(pool, list): (usize, &Vec<(u64, Record)>)| {
        let mut records: Vec<_> = list.iter().map(|(_, r)| *r).collect();
        let other = |r: &Record| r.op() == Some(Op::Begin);
        let end = records.iter().skip(1).position(other);
        records.truncate(end.map_or(records.len(), |n| n + 1));
        let pool = pool as u64;
        Trace { pool, records }
    };
    pools.iter().enumerate().map(one).collect()
}

/// Time each entity of the pool (by tag) has had a CPU between `from` and `to`, ns, from its decisions alone.
pub fn runtimes(t: &Trace, from: u64, to: u64) -> BTreeMap<u32, u64> {
    let mut cpus: BTreeMap<u16, (u64, Option<u32>)> = BTreeMap::new();
    let mut out = BTreeMap::new();
    let mut charge = |who: Option<u32>, begin: u64, end: u64| {
        if let Some(tag) = who {
            *out.entry(tag).or_insert(0) += end.min(to).saturating_sub(begin.max(from));
        }
    };
    for r in t.records.iter().filter(|r| r.op() == Some(Op::Pick)) {
        let Some(cpu) = r.on() else { continue };
        let at = r.at().0;
        if let Some((begin, who)) = cpus.insert(cpu.0, (at, r.picked())) {
            charge(who, begin, at);
        }
    }
    for (begin, who) in cpus.into_values() {
        charge(who, begin, end(t));
    }
    out
}

/// The time of the last record, ns.
pub fn end(t: &Trace) -> u64 {
    t.records.last().map_or(0, |r| r.at().0)
}

/// The weight each entity (by tag) was made with.
pub fn weights(t: &Trace) -> BTreeMap<u32, u32> {
    let mut weight = 0;
    let mut out = BTreeMap::new();
    for r in &t.records {
        match r.op() {
            Some(Op::Entity) => weight = r.0[2] as u32,
            Some(Op::Alloc) => drop(out.insert(r.0[2] as u32, weight)),
            _ => {}
        }
    }
    out
}

/// Does it all again.
pub fn replay(t: &Trace) -> Verdict {
    let decisions = t
        .records
        .iter()
        .filter(|r| r.op() == Some(Op::Pick))
        .count();
    let fail = |at: usize, why: String| {
        let mut text = format!("pool {}: record {at}: {why}\n", t.pool);
        let from = at.saturating_sub(CONTEXT);
        for (i, r) in t.records.iter().enumerate().take(at + 1).skip(from) {
            let _ = writeln!(text, "  {i:>8}  {}", r.text());
        }
        Verdict {
            same: false,
            decisions,
            text,
        }
    };
    let mut tree = match t.records.first().map(Recorded::replaying) {
        Some(Ok(tree)) => tree,
        Some(Err(why)) => return fail(0, why.into()),
        None => return fail(0, "it is empty".into()),
    };
    let mut pending = Pending::default();
    for (i, r) in t.records.iter().enumerate().skip(1) {
        // A trace of another version, or a damaged one, may name what is not there.
        let done = catch_unwind(AssertUnwindSafe(|| tree.apply(r, &mut pending)));
        match done {
            Ok(Ok(())) => {}
            Ok(Err(why)) => return fail(i, why.into()),
            Err(_) => return fail(i, "it names what is not there".into()),
        }
        let parameters = matches!(
            r.op(),
            Some(Op::Params | Op::Entity | Op::EntityMore | Op::EntitySoft)
        );
        if let (false, Some(now)) = (parameters, tree.last())
            && now != r
        {
            return fail(i, format!("it is now  {}", now.text()));
        }
    }
    let mut text = format!(
        "pool {}: {} records, {decisions} decisions, all the same\n",
        t.pool,
        t.records.len()
    );
    for (tag, ns) in runtimes(t, 0, end(t)) {
        let _ = writeln!(
            text,
            "  entity {tag:>4}: {:>14.6} ms on a CPU",
            ns as f64 / 1e6
        );
    }
    Verdict {
        same: true,
        decisions,
        text,
    }
}
