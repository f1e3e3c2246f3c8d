//! `pool-apply`: several changes of pools, CPUs and domains as one, or what they would do.
//!
//! Steps are written as the commands they are, ` / ` between them. They are read against a draft of the pools, so that a
//! step may speak of what an earlier one makes; the hypervisor checks the whole again and carries it out or nothing.

use super::parse::{self, Given};
use super::{params, pool};
use crate::names::{self, Owner};
use crate::session::{Fail, Session};
use crate::table::{Column, Table};
use crate::units::OrDash;
use core::fmt::{self, Display};
use tarn_abi::call::Request;
use tarn_abi::call::plan::{self, PoolRef};
use tarn_abi::call::report::Adjusted;
use tarn_abi::short::Count;
use tarn_abi::{CpuSet, Errno, MAX_POOLS, PoolId, Text};

/// A pool as it will be.
#[derive(Clone, Copy)]
struct Drafted {
    at: PoolRef,
    name: Text,
    cpus: CpuSet,
}

/// The pools as the steps so far leave them.
struct Draft {
    pools: [Option<Drafted>; MAX_POOLS],
    cpus: pool::Cpus,
    /// The step being read, from 1 on, as it was typed.
    typed: u8,
    /// Which typed step each of the plan's steps belongs to: one that is typed may be several.
    of: [u8; STEPS],
    count: usize,
}

/// More steps than a plan takes.
const STEPS: usize = 64;

impl Draft {
    fn read(s: &mut Session<'_>) -> Result<Draft, Fail> {
        let mut draft = Draft {
            pools: [None; MAX_POOLS],
            cpus: pool::Cpus::read(s)?,
            typed: 0,
            of: [0; STEPS],
            count: 0,
        };
        names::each_pool(s, &mut |s, row| {
            let name = names::pool_name(s, row.id);
            draft.add(Drafted {
                at: PoolRef::Id(row.id),
                name,
                cpus: row.cpus,
            });
            Ok(())
        })?;
        Ok(draft)
    }

    /// Hands a step to the hypervisor; its number.
    fn plan<R: Request<Reply = u32>>(
        &mut self,
        s: &mut Session<'_>,
        step: &R,
    ) -> Result<u32, Errno> {
        let n = s.ask(step)?;
        if let Some(slot) = self.of.get_mut(self.count) {
            *slot = self.typed;
        }
        self.count += 1;
        Ok(n)
    }

    /// The hypervisor refuses what has no place.
    fn add(&mut self, pool: Drafted) {
        if let Some(slot) = self.pools.iter_mut().find(|p| p.is_none()) {
            *slot = Some(pool);
        }
    }

    fn find(&mut self, s: &mut Session<'_>, word: &str) -> Result<&mut Drafted, Fail> {
        let named = |p: &Drafted| p.name == *word;
        let numbered = |p: &Drafted| match p.at {
            PoolRef::Id(id) => names::number(word) == Some(id.slot),
            _ => false,
        };
        let at = |which: &dyn Fn(&Drafted) -> bool| {
            let of = |p: &Option<Drafted>| p.as_ref().is_some_and(which);
            self.pools.iter().position(of)
        };
        let at = at(&numbered).or_else(|| at(&named));
        match at.map(|at| &mut self.pools[at]) {
            Some(Some(pool)) => Ok(pool),
            _ => Err(s.fail(format_args!(
                "no pool {word} at that step; 'pool-list' shows those there are"
            ))),
        }
    }

    /// Moves CPUs in the draft.
    fn assign(&mut self, to: PoolRef, cpus: &CpuSet) {
        let set = |at: PoolRef, now: &mut CpuSet| {
            *now = if at == to {
                now.union(cpus)
            } else {
                now.difference(cpus)
            };
        };
        for p in self.pools.iter_mut().flatten() {
            set(p.at, &mut p.cpus);
        }
        set(PoolRef::Id(PoolId::POOL0), &mut self.cpus.pool0);
        set(PoolRef::Free, &mut self.cpus.free);
    }

    fn step(&mut self, s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
        let (first, second) = (g.word(0).unwrap_or(""), g.word(1).unwrap_or(""));
        match g.command.name {
            "pool-create" => {
                let name = pool::new_name(s, g.word(0).or(g.opt("name=")).unwrap_or(""))?;
                let sched = match g.opt("sched=") {
                    Some(word) => Some(names::find_sched(s, word)?),
                    None => None,
                };
                let n = self.plan(s, &plan::CreatePool { sched, name })?;
                let at = PoolRef::Step(n);
                self.add(Drafted {
                    at,
                    name,
                    cpus: CpuSet::EMPTY,
                });
                self.modify(s, g, at, CpuSet::EMPTY).map(|_| ())
            }
            "pool-modify" => {
                let p = *self.find(s, first)?;
                if self.modify(s, g, p.at, p.cpus)? {
                    return Ok(());
                }
                Err(s.fail(format_args!("say what to modify: ncpu=N or cpu=CPUS")))
            }
            "cpupool-cpu-add" => {
                let to = self.find(s, first)?.at;
                let cpus = self.cpus.named(s, second)?;
                self.bring(s, to, cpus)
            }
            "cpupool-cpu-remove" => {
                let has = self.find(s, first)?.cpus;
                let cpus = self.cpus.named(s, second)?;
                let others = cpus.difference(&has);
                if others.is_empty() {
                    return self.bring(s, PoolRef::Free, cpus);
                }
                Err(s.fail(format_args!("CPU {others} is not in {first} at that step")))
            }
            "pool-destroy" => {
                let p = *self.find(s, first)?;
                self.plan(s, &plan::DestroyPool { pool: p.at })?;
                self.assign(PoolRef::Free, &p.cpus);
                for slot in &mut self.pools {
                    slot.take_if(|q| q.at == p.at);
                }
                Ok(())
            }
            "cpupool-rename" => {
                let name = pool::new_name(s, second)?;
                let p = self.find(s, first)?;
                p.name = name;
                let pool = p.at;
                self.plan(s, &plan::RenamePool { pool, name })?;
                Ok(())
            }
            "cpupool-migrate" => {
                let Some((target, domains)) = g.words().split_last() else {
                    return Err(Errno::Invalid.into());
                };
                let to = self.find(s, target)?.at;
                for word in domains {
                    let domain = names::find_domain(s, word)?;
                    self.plan(s, &plan::MoveDomain { domain, to })?;
                }
                Ok(())
            }
            "pool-sched" => {
                let pool = self.find(s, first)?.at;
                let sched = names::find_sched(s, second)?;
                self.plan(s, &plan::SetSched { pool, sched })?;
                Ok(())
            }
            "params" => self.params(s, g),
            name => Err(s.fail(format_args!(
                "{name} cannot be a step: pool-create, pool-modify, pool-destroy, pool-sched, cpupool-rename, \
                 cpupool-cpu-add, cpupool-cpu-remove, cpupool-migrate and params can"
            ))),
        }
    }

    fn bring(&mut self, s: &mut Session<'_>, to: PoolRef, cpus: CpuSet) -> Result<(), Fail> {
        self.plan(s, &plan::AssignCpus { to, cpus })?;
        self.assign(to, &cpus);
        Ok(())
    }

    /// ncpu= and cpu= of a pool; whether there was one.
    fn modify(
        &mut self,
        s: &mut Session<'_>,
        g: &Given<'_>,
        at: PoolRef,
        now: CpuSet,
    ) -> Result<bool, Fail> {
        let pool0 = at == PoolRef::Id(PoolId::POOL0);
        let Some(wanted) = pool::chosen(s, g, &self.cpus, pool0, &now)? else {
            return Ok(false);
        };
        for (to, cpus) in [
            (at, wanted.difference(&now)),
            (PoolRef::Free, now.difference(&wanted)),
        ] {
            if !cpus.is_empty() {
                self.bring(s, to, cpus)?;
            }
        }
        Ok(true)
    }

    fn params(&mut self, s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
        let others = g.opt("-v").or(g.opt("-g")).is_some();
        let (pool, domain) = match (g.opt("-p"), g.opt("-d")) {
            _ if others => (None, None),
            (Some(word), None) => (Some(self.find(s, word)?.at), None),
            (None, Some(word)) => (None, Some(names::find_domain(s, word)?)),
            _ => (None, None),
        };
        if pool.is_none() && domain.is_none() {
            return Err(s.fail(format_args!(
                "a step sets parameters of -p POOL or -d DOMAIN, of nothing else"
            )));
        }
        // The names are looked up at a pool that is there: every pool has the same.
        let of = domain.map_or(Owner::Pool(PoolId::POOL0), Owner::Domain);
        let mut settings = [None; 2];
        for (slot, word) in settings.iter_mut().zip(g.words()) {
            let Some(wish) = word.split_once('=') else {
                return Err(s.fail(format_args!("{word}: say NAME=VALUE")));
            };
            *slot = Some(params::setting(s, of, wish)?);
        }
        let (Some(first), second, true) = (settings[0], settings[1], g.words().len() <= 2) else {
            return Err(s.fail(format_args!("a step sets one or two parameters")));
        };
        match (pool, domain) {
            (Some(pool), _) => self.plan(
                s,
                &plan::SetPoolParams {
                    pool,
                    first,
                    second,
                },
            )?,
            (None, Some(domain)) => self.plan(
                s,
                &plan::SetDomainParams {
                    domain,
                    first,
                    second,
                },
            )?,
            (None, None) => 0,
        };
        Ok(())
    }

    /// The name of a pool that a plan speaks of.
    fn name(&self, at: PoolRef) -> OrDash<Text> {
        OrDash(
            self.pools
                .iter()
                .flatten()
                .find(|p| p.at == at)
                .map(|p| p.name),
        )
    }
}

pub fn apply(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let mut draft = Draft::read(s)?;
    s.ask(&plan::Begin {})?;
    for step in g.words().split(|w| *w == "/") {
        draft.typed += 1;
        let step = parse::parse_words(s, &mut step.iter().copied(), "a step without words")?;
        draft.step(s, &step)?;
    }
    if g.opt("-n").is_some() {
        return dry(s, g, &draft);
    }
    match pool::commit(s, draft.typed) {
        Ok(()) => Ok(()),
        Err(Errno::Again) => {
            s.ask(&plan::Abort {})?;
            Err(s.fail(format_args!("given up, and everything is as it was")))
        }
        Err(e) => match s.ask(&plan::LastVerdict {}) {
            Ok(v) if v.failed != 0 => Err(verdict(s, &draft, &v)),
            _ => Err(e.into()),
        },
    }
}

/// A refusal by its number without the sign.
struct Why(u32);

impl Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Errno::from_wire(u64::from(self.0).wrapping_neg()) {
            Some(e) => e.fmt(f),
            None => f.write_str("refused"),
        }
    }
}

fn verdict(s: &mut Session<'_>, draft: &Draft, v: &plan::Verdict) -> Fail {
    let step = (v.failed as usize).checked_sub(1);
    let failed = step.and_then(|at| draft.of.get(at)).unwrap_or(&0);
    s.print(format_args!(
        "error: step {failed} of {} cannot be: ",
        draft.typed
    ));
    // In the hypervisor's words, which have names and numbers, or the kind of refusal.
    if !s.print_why() {
        s.print(format_args!("{}", Why(v.why)));
    }
    s.print(format_args!("; nothing has changed\n"));
    Fail::Said
}

fn dry(s: &mut Session<'_>, g: &Given<'_>, draft: &Draft) -> Result<(), Fail> {
    let v = s.ask(&plan::Check {})?;
    if v.failed != 0 {
        return Err(verdict(s, draft, &v));
    }
    for step in g.words().split(|w| *w == "/") {
        if step.contains(&"params") {
            for word in step.iter().filter(|w| w.contains('=')) {
                s.note(format_args!("{word} would be set"));
            }
        }
    }
    let columns = [
        Column::text("pool", "pool"),
        Column::set("cpus", "cpus"),
        Column::text("sched", "sched"),
        Column::number("domains", "domains"),
        Column::count("stranded"),
    ];
    Table::print(s, columns, &mut |s, t| {
        each(&mut |index| match s.ask(&plan::Outcome { index }) {
            Err(Errno::End) => Ok(false),
            row => {
                let row = row?;
                let name = draft.name(row.pool);
                t.row(
                    s,
                    [&name, &row.cpus, &row.sched, &row.domains, &row.stranded],
                );
                Ok(true)
            }
        })
    })?;
    if s.json {
        let columns = [Column::text("domain", "domain"), Column::text("to", "to")];
        return Table::print(s, columns, &mut |s, t| {
            changes(s, draft, &mut |s, domain, to, _| t.row(s, [domain, to]))
        });
    }
    changes(s, draft, &mut |s, domain, to, what| {
        s.note(format_args!("{domain} would be in {to}"));
        pool::adjusted(s, pool::Whose::Domain(domain), what);
    })?;
    each(&mut |index| match s.ask(&plan::Outcome { index }) {
        Err(Errno::End) => Ok(false),
        row => {
            let row = row?;
            if row.stranded != 0 {
                let name = draft.name(row.pool);
                s.note(format_args!(
                    "{} would have no CPU under {}",
                    Count(row.stranded, &name),
                    row.sched
                ));
            }
            Ok(true)
        }
    })
}

/// What is done with each domain that would move: its name, the pool's, and what would not stay as it is.
type Moved<'f> = &'f mut dyn FnMut(&mut Session<'_>, &Text, &OrDash<Text>, Adjusted);

fn changes(s: &mut Session<'_>, draft: &Draft, f: Moved<'_>) -> Result<(), Fail> {
    each(&mut |index| match s.ask(&plan::Change { index }) {
        Err(Errno::End) => Ok(false),
        row => {
            let row = row?;
            let (name, to) = (names::domain_name(s, row.domain), draft.name(row.pool));
            f(s, &name, &to, row.adjusted);
            Ok(true)
        }
    })
}

/// Counts until there is no more.
fn each(f: &mut dyn FnMut(u32) -> Result<bool, Fail>) -> Result<(), Fail> {
    for index in 0..4096 {
        if !f(index)? {
            return Ok(());
        }
    }
    Err(Errno::Garbled.into())
}
