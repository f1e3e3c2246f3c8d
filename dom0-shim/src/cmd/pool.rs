//! Commands about pools: list them, make and change them, bring CPUs and domains from one to another.
//!
//! The words are those of seed 001 (pool-create, pool-modify, pool-destroy) and Xen's (cpupool-*). Where a number of CPUs
//! is wanted instead of CPUs by name, free ones are taken first, then Pool-0's, each from the highest number down, never
//! the boot CPU. What consists of several calls takes back what it has done when one of them is refused.

use super::parse::Given;
use super::{shortage, touched};
use crate::names;
use crate::session::{Fail, Session};
use crate::table::{Column, Table};
use crate::units::{Seconds, Size};
use core::fmt;
use tarn_abi::call::pool::MemoryFrom;
use tarn_abi::call::report::{Adjusted, Report};
use tarn_abi::call::{domain, plan, pool};
use tarn_abi::{CpuId, CpuSet, DomainId, Errno, MAX_CPUS, MAX_DOMAINS, PoolId, Span, Text};

/// Domains by number, "1,7"; "-" if there is none.
struct Numbers([u64; MAX_DOMAINS.div_ceil(64)]);

impl Numbers {
    fn insert(&mut self, d: DomainId) {
        if let Some(word) = self.0.get_mut(d.index() / 64) {
            *word |= 1 << (d.index() % 64);
        }
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for i in (0..MAX_DOMAINS).filter(|i| self.0[i / 64] >> (i % 64) & 1 != 0) {
            write!(f, "{comma}{i}")?;
            comma = ",";
        }
        if comma.is_empty() {
            f.write_str("-")
        } else {
            Ok(())
        }
    }
}

pub fn list(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let only = match g.word(0) {
        Some(word) => Some(names::find_pool(s, word)?),
        None => None,
    };
    let columns = [
        Column::text("pool", "pool"),
        Column::set("cpus", "cpus"),
        Column::text("sched", "sched"),
        Column::set("domains", "domains"),
        Column::count("stranded"),
    ];
    Table::print(s, columns, &mut |s, t| {
        names::each_pool(s, &mut |s, row| {
            if only.is_some_and(|id| id != row.id) {
                return Ok(());
            }
            let mut numbers = Numbers(Default::default());
            match names::each_domain_of(s, row.id, &mut |d| numbers.insert(d)) {
                // Destroyed since the list was read.
                Err(Errno::Stale | Errno::NoSuch) => return Ok(()),
                result => result?,
            }
            let name = names::pool_name(s, row.id);
            t.row(s, [&name, &row.cpus, &row.sched, &numbers, &row.stranded]);
            Ok(())
        })
    })?;
    shortage::note(s, only);
    Ok(())
}

/// Where the CPUs are.
pub struct Cpus {
    /// In no pool.
    pub free: CpuSet,
    /// In Pool-0.
    pub pool0: CpuSet,
    /// All there are.
    pub all: CpuSet,
}

impl Cpus {
    /// As they are now.
    pub fn read(s: &mut Session<'_>) -> Result<Cpus, Fail> {
        let free = s.ask(&pool::FreeCpus {})?;
        let (mut pool0, mut all) = (CpuSet::EMPTY, free);
        names::each_pool(s, &mut |_, row| {
            all = all.union(&row.cpus);
            if row.id == PoolId::POOL0 {
                pool0 = row.cpus;
            }
            Ok(())
        })?;
        Ok(Cpus { free, pool0, all })
    }

    /// CPUs by name: `1,3,5-7`.
    pub fn named(&self, s: &mut Session<'_>, text: &str) -> Result<CpuSet, Fail> {
        let all = self.all;
        let Some(cpus) = CpuSet::parse(text) else {
            // Numbers beyond what any machine has are a list all the same.
            let mut numbers = text.split([',', '-']).map(str::parse::<u32>);
            let high = numbers.try_fold(0, |high, n| n.map(|n| high.max(n)));
            return Err(if high.is_ok_and(|n| n as usize >= MAX_CPUS) {
                s.fail(format_args!(
                    "the machine has not all CPUs of {text}; it has {all}"
                ))
            } else {
                s.fail(format_args!("{text} is no list of CPUs: say 1,3,5 or 1-3"))
            });
        };
        let unknown = cpus.difference(&self.all);
        if !unknown.is_empty() {
            return Err(s.fail(format_args!(
                "the machine has no CPU {unknown}; it has {all}"
            )));
        }
        Ok(cpus)
    }

    /// `n` CPUs for a pool other than Pool-0, or for that.
    fn some(&self, s: &mut Session<'_>, n: usize, to_pool0: bool) -> Result<CpuSet, Fail> {
        let mut spare = self.pool0;
        spare.remove(CpuId::BOOT);
        if to_pool0 {
            spare = CpuSet::EMPTY;
        }
        let have = self.free.len() + spare.len();
        if n > have {
            let (free, rest) = (self.free.len(), spare.len());
            return Err(s.fail(format_args!(
                "{n} more CPUs are not to be had: of the free ones there are {free}, and {rest} could leave Pool-0; 'pool-modify' takes \
                 some from another pool"
            )));
        }
        let mut chosen = highest(&self.free, n);
        for cpu in highest(&spare, n - chosen.len()).iter() {
            chosen.insert(cpu);
        }
        Ok(chosen)
    }
}

/// The `n` highest, or all.
fn highest(cpus: &CpuSet, n: usize) -> CpuSet {
    cpus.iter().skip(cpus.len().saturating_sub(n)).collect()
}

fn count(s: &mut Session<'_>, text: &str) -> Result<usize, Fail> {
    names::number(text).map(usize::from).ok_or_else(|| {
        s.fail(format_args!(
            "{text} is no number of CPUs: say ncpu=2, or cpu=1,3"
        ))
    })
}

/// The CPUs that ncpu= or cpu= ask for, if they do; `now` are those the pool has.
pub fn chosen(
    s: &mut Session<'_>,
    g: &Given<'_>,
    at: &Cpus,
    pool0: bool,
    now: &CpuSet,
) -> Result<Option<CpuSet>, Fail> {
    let by_name = g.opt("cpu=").or(g.opt("cpus="));
    match (g.opt("ncpu="), by_name) {
        (Some(_), Some(_)) => Err(s.fail(format_args!(
            "say either how many CPUs (ncpu=) or which (cpu=)"
        ))),
        (None, None) => Ok(None),
        (None, Some(text)) => at.named(s, text).map(Some),
        (Some(text), None) => {
            let n = count(s, text)?;
            if n > now.len() {
                let more = at.some(s, n - now.len(), pool0)?;
                return Ok(Some(now.union(&more)));
            }
            // The highest go; the boot CPU is the lowest of Pool-0, and refused if it is to go.
            Ok(Some(now.iter().take(n).collect()))
        }
    }
}

fn assign(s: &mut Session<'_>, to: Option<PoolId>, cpus: CpuSet) -> Result<Report, Fail> {
    if cpus.is_empty() {
        return Ok(Report {
            stood_still: Span::ZERO,
            adjusted: Adjusted::NONE,
        });
    }
    Ok(s.ask(&pool::AssignCpus { to, cpus })?)
}

/// Whose a change was.
#[derive(Clone, Copy)]
pub enum Whose<'a> {
    /// One domain's alone.
    Domain(&'a Text),
    /// One pool's, or several pools'.
    Pool(touched::Pool),
}

/// What a change did to those it touched.
pub fn report(s: &mut Session<'_>, whose: Whose<'_>, r: Report) {
    if r.stood_still > Span::ZERO {
        let ms = Seconds(r.stood_still, 6);
        s.note(format_args!("a vCPU stood still for {ms} s at most"));
    }
    adjusted(s, whose, r.adjusted);
    if r.adjusted.has(Adjusted::NO_CPU) {
        shortage::note(s, None);
    }
}

/// What a change could not leave as it was, and of whom.
pub fn adjusted(s: &mut Session<'_>, whose: Whose<'_>, a: Adjusted) {
    for (bit, text) in [
        (
            Adjusted::AFFINITY_VOID,
            "an affinity names no CPU of the pool: all of its CPUs are used; 'vcpu-pin' sets another",
        ),
        (
            Adjusted::AFFINITY_CUT,
            "an affinity names CPUs outside the pool: those in it are used",
        ),
        (
            Adjusted::WEIGHT_UNUSED,
            "a weight was set that this scheduler does not use; it is kept",
        ),
        (
            Adjusted::BOOST_UNUSED,
            "boosts are off here; their parameters are kept",
        ),
        (
            Adjusted::RT_UNUSED,
            "a period and budget were set that this scheduler does not use; they are kept",
        ),
        (Adjusted::LEFT_GROUP, "a group was left"),
        (
            Adjusted::AFFINITY_GROUP,
            "an affinity has no effect inside a group; it is kept",
        ),
        (
            Adjusted::SOFT_UNUSED,
            "a soft affinity has no effect here; it is kept",
        ),
        (
            Adjusted::MEMORY_ELSEWHERE,
            "memory stays outside the range of this pool",
        ),
    ] {
        if !a.has(bit) {
            continue;
        }
        match whose {
            Whose::Domain(name) => s.note(format_args!("{name}: {text}")),
            Whose::Pool(at) => {
                let who = touched::who(s, at, bit);
                let colon = if who.is_empty() { "" } else { ": " };
                s.note(format_args!("{who}{colon}{text}"));
            }
        }
    }
}

/// A name for a new pool, group or for renaming.
pub fn new_name(s: &mut Session<'_>, word: &str) -> Result<Text, Fail> {
    if word.is_empty() {
        return Err(s.fail(format_args!(
            "a name is missing: 1 to 31 letters, digits, '-', '_' and '.'"
        )));
    }
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if word.bytes().all(|b| b.is_ascii_digit()) && !word.is_empty() {
        return Err(s.fail(format_args!(
            "{word} cannot be a name: a number means the one of that number"
        )));
    }
    if ["all", "any", "free", "none"].contains(&word) || word.starts_with('-') {
        return Err(s.fail(format_args!(
            "{word} cannot be a name: commands and lists mean something else by it"
        )));
    }
    match Text::new(word).filter(|_| word.len() <= 31 && !word.is_empty() && word.bytes().all(good))
    {
        Some(name) => Ok(name),
        None => Err(s.fail(format_args!(
            "{word} cannot be a name: 1 to 31 letters, digits, '-', '_' and '.'"
        ))),
    }
}

pub fn create(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let Some(word) = g.word(0).or(g.opt("name=")) else {
        return Err(s.fail(format_args!(
            "pool-create needs a NAME; 'help pool-create' says more"
        )));
    };
    let name = new_name(s, word)?;
    let sched = match g.opt("sched=") {
        Some(word) => Some(names::find_sched(s, word)?),
        None => None,
    };
    let at = Cpus::read(s)?;
    let cpus = chosen(s, g, &at, false, &CpuSet::EMPTY)?;
    let id = match s.ask(&pool::Create { sched, name }) {
        Err(Errno::Exists) => {
            return Err(s.fail(format_args!(
                "there is a pool {name} already; 'pool-modify {name}' changes it"
            )));
        }
        id => id?,
    };
    let Some(cpus) = cpus else {
        s.note(format_args!(
            "{name} has no CPU yet; 'cpupool-cpu-add {name} CPUS' gives it some"
        ));
        return Ok(());
    };
    match assign(s, Some(id), cpus) {
        Ok(r) => {
            report(s, Whose::Pool(touched::Pool(None)), r);
            Ok(())
        }
        Err(e) => {
            // All or nothing: what was refused changed nothing, and the pool is as empty as it was made.
            let said = match e {
                Fail::Refused(Errno::Again) => e,
                Fail::Refused(e) => fixed(s, e),
                Fail::Said => e,
            };
            let _ = s.ask(&pool::Destroy { id });
            Err(said)
        }
    }
}

/// Says why CPUs could not be moved.
fn fixed(s: &mut Session<'_>, e: Errno) -> Fail {
    match e {
        Errno::Fixed => s.fail(format_args!(
            "CPU {} is the boot CPU: it stays in Pool-0; leave it out",
            CpuId::BOOT
        )),
        e => Fail::Refused(e),
    }
}

fn row_of(s: &mut Session<'_>, id: PoolId) -> Result<CpuSet, Fail> {
    let mut cpus = CpuSet::EMPTY;
    names::each_pool(s, &mut |_, row| {
        if row.id == id {
            cpus = row.cpus;
        }
        Ok(())
    })?;
    Ok(cpus)
}

pub fn modify(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let id = names::find_pool(s, g.word(0).unwrap_or(""))?;
    let now = row_of(s, id)?;
    let at = Cpus::read(s)?;
    let Some(wanted) = chosen(s, g, &at, id == PoolId::POOL0, &now)? else {
        return Err(s.fail(format_args!(
            "say what to modify: ncpu=N or cpu=CPUS; 'params -p' sets its scheduler's parameters"
        )));
    };
    let (more, less) = (wanted.difference(&now), now.difference(&wanted));
    if id == PoolId::POOL0 && less.contains(CpuId::BOOT) {
        return Err(fixed(s, Errno::Fixed));
    }
    change(s, id, more, less)
}

/// Brings CPUs into a pool and makes others of it free, both or neither.
fn change(s: &mut Session<'_>, id: PoolId, more: CpuSet, less: CpuSet) -> Result<(), Fail> {
    let again = |s: &mut Session<'_>, e| match e {
        Fail::Refused(e) => fixed(s, e),
        said => said,
    };
    if more.is_empty() || less.is_empty() {
        let to = if less.is_empty() { Some(id) } else { None };
        let r = assign(s, to, more.union(&less)).map_err(|e| again(s, e))?;
        // CPUs that come may be another pool's.
        let whose = if less.is_empty() { None } else { Some(id) };
        report(s, Whose::Pool(touched::Pool(whose)), r);
        return Ok(());
    }
    s.ask(&plan::Begin {})?;
    let to = plan::PoolRef::Id(id);
    s.ask(&plan::AssignCpus { to, cpus: more })?;
    let to = plan::PoolRef::Free;
    s.ask(&plan::AssignCpus { to, cpus: less })?;
    let done = s.ask(&plan::Commit {}).map_err(|e| fixed(s, e))?;
    report(
        s,
        Whose::Pool(touched::Pool(None)),
        Report {
            stood_still: done.stood_still,
            adjusted: done.adjusted,
        },
    );
    Ok(())
}

pub fn cpu_add(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let id = names::find_pool(s, g.word(0).unwrap_or(""))?;
    let cpus = Cpus::read(s)?.named(s, g.word(1).unwrap_or(""))?;
    change(s, id, cpus, CpuSet::EMPTY)
}

pub fn cpu_remove(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let id = names::find_pool(s, g.word(0).unwrap_or(""))?;
    let cpus = Cpus::read(s)?.named(s, g.word(1).unwrap_or(""))?;
    let has = row_of(s, id)?;
    let others = cpus.difference(&has);
    if !others.is_empty() {
        let name = names::pool_name(s, id);
        return Err(s.fail(format_args!(
            "CPU {others} is not in {name}, which has {has}; 'pool-list' shows where it is"
        )));
    }
    change(s, id, CpuSet::EMPTY, cpus)
}

pub fn destroy(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let id = names::find_pool(s, g.word(0).unwrap_or(""))?;
    match s.ask(&pool::Destroy { id }) {
        Err(Errno::Fixed) => Err(s.fail(format_args!(
            "Pool-0 is there as long as the machine: it has dom0 and the boot CPU"
        ))),
        Err(Errno::NotEmpty) => {
            let name = names::pool_name(s, id);
            let mut numbers = Numbers(Default::default());
            names::each_domain_of(s, id, &mut |d| numbers.insert(d))?;
            Err(s.fail(format_args!(
                "{name} has domains ({numbers}): 'cpupool-migrate DOMAIN POOL' moves them, 'destroy' ends them"
            )))
        }
        result => Ok(result?),
    }
}

pub fn rename(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let id = names::find_pool(s, g.word(0).unwrap_or(""))?;
    let name = new_name(s, g.word(1).unwrap_or(""))?;
    match s.ask(&pool::Rename { id, name }) {
        Err(Errno::Exists) => Err(s.fail(format_args!(
            "there is a pool {name} already; 'pool-list' shows it"
        ))),
        result => Ok(result?),
    }
}

pub fn migrate(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let Some((target, domains)) = g.words().split_last() else {
        return Err(Errno::Invalid.into());
    };
    let to = names::find_pool(s, target)?;
    let mut list = [DomainId::DOM0; MAX_STEPS];
    for (slot, word) in list.iter_mut().zip(domains) {
        *slot = names::find_domain(s, word)?;
    }
    let Some(list) = list.get(..domains.len()) else {
        return Err(s.fail(format_args!("at most {MAX_STEPS} domains move together")));
    };
    if list.contains(&DomainId::DOM0) && to != PoolId::POOL0 {
        return Err(s.fail(format_args!(
            "dom0 stays in Pool-0; any other domain can be moved"
        )));
    }
    let result = match list {
        [id] => s.ask(&domain::Move { id: *id, to }).map(|r| {
            let name = names::domain_name(s, *id);
            report(s, Whose::Domain(&name), r);
        }),
        _ => together(s, list, to),
    };
    match result {
        Ok(()) => Ok(()),
        Err(Errno::NoCpus) => {
            let name = names::pool_name(s, to);
            Err(s.fail(format_args!(
                "{name} has no CPU; 'cpupool-cpu-add {name} CPUS' gives it some"
            )))
        }
        Err(e) => Err(e.into()),
    }
}

const MAX_STEPS: usize = plan::MAX_STEPS;

fn together(s: &mut Session<'_>, list: &[DomainId], to: PoolId) -> Result<(), Errno> {
    s.ask(&plan::Begin {})?;
    let to = plan::PoolRef::Id(to);
    for domain in list {
        s.ask(&plan::MoveDomain {
            domain: *domain,
            to,
        })?;
    }
    commit(s, 0)
}

/// Carries the plan out and says what it did, of each domain that moved by its name. It is looked at before, since what is
/// foreseen is what will be; a refusal is left to the commit.
/// `steps`: how many were typed, to be said first; 0 = nothing.
pub fn commit(s: &mut Session<'_>, steps: u8) -> Result<(), Errno> {
    let _ = s.ask(&plan::Check {});
    let done = s.ask(&plan::Commit {})?;
    match steps {
        0 => {}
        1 => s.note(format_args!("1 step done")),
        n => s.note(format_args!("{n} steps done")),
    }
    let mut rest = Report {
        stood_still: done.stood_still,
        adjusted: done.adjusted,
    };
    let mut said = Adjusted::NONE;
    for index in 0..MAX_DOMAINS as u32 {
        let Ok(row) = s.ask(&plan::Change { index }) else {
            break;
        };
        said = said.with(row.adjusted);
    }
    rest.adjusted = rest.adjusted.without(said);
    report(s, Whose::Pool(touched::Pool(None)), rest);
    for index in 0..MAX_DOMAINS as u32 {
        let Ok(row) = s.ask(&plan::Change { index }) else {
            break;
        };
        let name = names::domain_name(s, row.domain);
        adjusted(s, Whose::Domain(&name), row.adjusted);
    }
    Ok(())
}

pub fn set_sched(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let id = names::find_pool(s, g.word(0).unwrap_or(""))?;
    let sched = names::find_sched(s, g.word(1).unwrap_or(""))?;
    let r = s.ask(&pool::SetSched { id, sched })?;
    report(s, Whose::Pool(touched::Pool(Some(id))), r);
    Ok(())
}

pub fn scheds(s: &mut Session<'_>, _: &Given<'_>) -> Result<(), Fail> {
    let columns = [
        Column::text("sched", "sched"),
        Column::text("about", "about"),
    ];
    Table::print(s, columns, &mut |s, t| {
        names::each_sched(s, &mut |s, row| {
            let about = s.ask(&pool::SchedAbout { id: row.id }).unwrap_or_default();
            let default = if row.default { " (the default)" } else { "" };
            t.row(s, [&row.name, &format_args!("{about}{default}")]);
            Ok(())
        })
    })
}

/// A range or node, as it is typed.
struct From(MemoryFrom);

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            MemoryFrom::Any => f.write_str("any"),
            MemoryFrom::Node(n) => write!(f, "node:{n}"),
            MemoryFrom::Range { base, size } => write!(f, "{base:#x}+{size:#x}"),
        }
    }
}

fn parse_memory(text: &str) -> Option<MemoryFrom> {
    let number = |t: &str| match t.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => t.parse().ok(),
    };
    if text == "any" {
        return Some(MemoryFrom::Any);
    }
    if let Some(node) = text.strip_prefix("node:") {
        return node.parse().ok().map(MemoryFrom::Node);
    }
    let (base, size) = text.split_once('+')?;
    Some(MemoryFrom::Range {
        base: number(base)?,
        size: number(size)?,
    })
}

pub fn memory(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let only = match g.word(0) {
        Some(word) => Some(names::find_pool(s, word)?),
        None => None,
    };
    if let (Some(id), Some(text)) = (only, g.word(1)) {
        let Some(from) = parse_memory(text) else {
            return Err(s.fail(format_args!(
                "{text} is no place for memory: say any, node:1 or 0x80000000+0x10000000"
            )));
        };
        return match (s.ask(&pool::SetMemory { id, from }), from) {
            (Err(Errno::NoSuch), MemoryFrom::Node(n)) => Err(s.fail(format_args!(
                "there is no memory node {n}; 'memory-list' shows them"
            ))),
            (Err(Errno::Invalid), MemoryFrom::Range { .. }) => Err(s.fail(format_args!(
                "{text} is not inside one range of the machine's memory in steps of 2 MiB; 'memory-list' shows them"
            ))),
            (result, _) => Ok(result?),
        };
    }
    let columns = [
        Column::text("pool", "pool"),
        Column::text("memory", "memory"),
        Column::number("free", "free_bytes"),
        Column::number("used", "used_bytes"),
    ];
    Table::print(s, columns, &mut |s, t| {
        names::each_pool(s, &mut |s, row| {
            if only.is_none_or(|id| id == row.id) {
                let m = s.ask(&pool::Memory { id: row.id })?;
                let name = names::pool_name(s, row.id);
                let [free, used] = [m.free, m.used].map(|kib| Size::of(s, kib));
                t.row(s, [&name, &From(m.from), &free, &used]);
            }
            Ok(())
        })
    })
}
