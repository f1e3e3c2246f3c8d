//! Commands about scheduling groups (seed 002): make, fill, list and remove them, give them to a domain.
//!
//! `group-list` measures: what every vCPU and group got over an interval, in per cent of one CPU, so that the seed's
//! session can be read off it.

use super::measure::Usage;
use super::params;
use super::parse::Given;
use super::pool;
use crate::names::{self, Owner};
use crate::session::{Fail, Session};
use crate::table::{Column, Table};
use crate::units::OrDash;
use core::fmt::{self, Display};
use tarn_abi::call::group::{self, GroupRow};
use tarn_abi::{DomainId, Errno, GroupId, Label, PoolId, Text};

/// Groups are not nested deeper than this, whatever the hypervisor says.
const DEPTH: usize = 16;
/// How many groups and vCPUs deep a name is set in.
struct Indented<'a>(usize, &'a dyn Display);

impl Display for Indented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..self.0).try_for_each(|_| f.write_str("  "))?;
        self.1.fmt(f)
    }
}

const COLUMNS: [Column; 8] = [
    Column::text("Name", "name"),
    Column::text("Kind", "kind"),
    Column::hidden("in"),
    Column::text("Sched", "sched"),
    Column::number("Procs", "procs"),
    Column::number("Weight", "weight"),
    Column::number("CPU(%)", "cpu_percent"),
    Column::text("Owner", "owner"),
];

pub fn list(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let only = match g.word(0) {
        Some(word) => Some(names::find_pool(s, word)?),
        None => None,
    };
    let usage = Usage::measure(s, g, false)?;
    Table::print(s, COLUMNS, &mut |s, t| {
        names::each_pool(s, &mut |s, row| {
            if only.is_some_and(|id| id != row.id) {
                return Ok(());
            }
            let name = names::pool_name(s, row.id);
            let cpus = row.cpus.len();
            let dash = OrDash::<u32>(None);
            t.row(
                s,
                [&name, &"pool", &"", &row.sched, &cpus, &dash, &dash, &"-"],
            );
            inside(s, t, &usage, GroupId::root(row.id), &name, 1)
        })
    })
}

/// What is directly in `within`, and what is in that.
fn inside(
    s: &mut Session<'_>,
    t: &mut Table<8>,
    usage: &Usage,
    within: GroupId,
    parent: &Text,
    depth: usize,
) -> Result<(), Fail> {
    if depth > DEPTH {
        return Err(Errno::Garbled.into());
    }
    let members = names::each_member(s, within, &mut |s, m| {
        let name = names::domain_name(s, m.domain);
        let weight = OrDash(params::get(s, Owner::Vcpu(m.vcpu), "weight"));
        let share = usage.vcpu(m.vcpu);
        let vcpu = format_args!("{name}:{}", m.index);
        let name = Indented(depth, &vcpu);
        let dash = OrDash::<u32>(None);
        t.row(
            s,
            [&name, &"vcpu", parent, &"-", &dash, &weight, &share, &"-"],
        );
        Ok(())
    });
    gone(members)?;
    let groups = names::each_group(s, within, &mut |s, g| {
        if g.parent != within {
            return Ok(());
        }
        let name = names::group_name(s, g.id);
        let (sched, share) = (names::sched_name(s, g.sched), usage.within(s, g.id));
        let owner = OrDash(g.owner.map(|id| names::domain_name(s, id)));
        t.row(
            s,
            [
                &Indented(depth, &name),
                &"group",
                parent,
                &sched,
                &g.processors,
                &g.weight,
                &share,
                &owner,
            ],
        );
        inside(s, t, usage, g.id, &name, depth + 1)
    });
    gone(groups)
}

/// What was destroyed since the list was read is left out.
fn gone(result: Result<(), Fail>) -> Result<(), Fail> {
    match result {
        Err(Fail::Refused(Errno::Stale | Errno::NoSuch)) => Ok(()),
        result => result,
    }
}

fn number(s: &mut Session<'_>, g: &Given<'_>, option: &str, default: u32) -> Result<u32, Fail> {
    let Some(text) = g.opt(option) else {
        return Ok(default);
    };
    match names::number(text) {
        Some(n) if n > 0 => Ok(u32::from(n)),
        _ => Err(s.fail(format_args!(
            "{option} takes a number from 1 on, not {text}"
        ))),
    }
}

pub fn create(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let word = g.word(0).unwrap_or("");
    super::pool::new_name(s, word)?;
    let Some(name) = Label::new(word) else {
        let most = Label::MAX;
        return Err(s.fail(format_args!("a group's name has at most {most} letters")));
    };
    let parent = match (g.opt("in="), g.opt("pool=")) {
        (Some(_), Some(_)) => {
            return Err(s.fail(format_args!("say either in=GROUP or pool=POOL")));
        }
        (Some(word), None) => names::find_group(s, word, None)?,
        (None, Some(word)) => GroupId::root(names::find_pool(s, word)?),
        (None, None) => GroupId::root(PoolId::POOL0),
    };
    let sched = match g.opt("sched=") {
        Some(word) => Some(names::find_sched(s, word)?),
        None => None,
    };
    let processors = number(s, g, "procs=", 1)?;
    let weight = number(s, g, "weight=", 256)?;
    let split = match g.opt("split=") {
        None | Some("off") => false,
        Some("on") => true,
        Some(word) => return Err(s.fail(format_args!("split= is on or off, not {word}"))),
    };
    let call = group::Create {
        parent,
        sched,
        processors,
        weight,
        name,
        split,
    };
    match s.ask(&call) {
        Ok(_) => Ok(()),
        Err(Errno::Exists) => Err(s.fail(format_args!(
            "there is a group {name} in that place already; 'group-list' shows it"
        ))),
        Err(e) => Err(e.into()),
    }
}

pub fn destroy(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let id = names::find_group(s, g.word(0).unwrap_or(""), None)?;
    match s.ask(&group::Destroy { id }) {
        Err(Errno::NotEmpty) => Err(s.fail(format_args!(
            "it has members: 'group-move DOMAIN POOL' moves them out, 'group-list' shows them"
        ))),
        result => Ok(result?),
    }
}

/// A group, or a pool for the place outside all of its groups. Of one name a group of dom0's goes before the pool; one that
/// a domain made in its own does not.
fn place(s: &mut Session<'_>, word: &str, home: PoolId) -> Result<GroupId, Fail> {
    let mut pool = None;
    names::each_pool(s, &mut |s, row| {
        let name = names::pool_name(s, row.id);
        if name == *word {
            pool = Some(row.id);
        }
        Ok(())
    })?;
    let mut group = false;
    if let Some(id) = pool {
        names::each_group(s, GroupId::root(home), &mut |s, g| {
            group |= names::group_name(s, g.id) == *word && !names::is_foreign(s, g);
            Ok(())
        })?;
        if !group {
            return Ok(GroupId::root(id));
        }
    }
    names::find_group(s, word, Some(home))
}

fn pool_of(s: &mut Session<'_>, id: DomainId) -> Result<PoolId, Fail> {
    let mut pool = PoolId::POOL0;
    names::each_domain(s, &mut |_, row| {
        if row.id == id {
            pool = row.pool;
        }
        Ok(())
    })?;
    Ok(pool)
}

pub fn join(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let domain = names::find_domain(s, g.word(0).unwrap_or(""))?;
    let home = pool_of(s, domain)?;
    let to = place(s, g.word(1).unwrap_or(""), home)?;
    if to.pool != home {
        let (is, there) = (names::pool_name(s, home), names::pool_name(s, to.pool));
        return Err(s.fail(format_args!(
            "that is in {there}, the domain is in {is}: first 'cpupool-migrate {} {there}'",
            g.word(0).unwrap_or("DOMAIN")
        )));
    }
    let r = match g.opt("-v").filter(|v| *v != "all") {
        Some(v) => {
            let vcpu = names::find_vcpu(s, domain, v)?;
            s.ask(&group::MoveVcpu { vcpu, to })?
        }
        None => s.ask(&group::Move { domain, to })?,
    };
    let name = names::domain_name(s, domain);
    pool::report(s, pool::Whose::Domain(&name), r);
    Ok(())
}

pub fn delegate(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let to = match g.word(1) {
        Some(word) => Some(names::find_domain(s, word)?),
        None => None,
    };
    let id = names::find_group(s, g.word(0).unwrap_or(""), None)?;
    match s.ask(&group::Delegate { id, to }) {
        Err(Errno::Busy) => Err(s.fail(format_args!(
            "it, one it is in or one inside it belongs to a domain already; 'group-list' shows whose"
        ))),
        result => Ok(result?),
    }
}

/// The name of every group that is found by its name alone, for completion.
pub fn each_name(
    s: &mut Session<'_>,
    f: &mut dyn FnMut(&mut Session<'_>, &[u8]),
) -> Result<(), Fail> {
    names::each_pool(s, &mut |s, row| {
        names::each_group(s, GroupId::root(row.id), &mut |s, g: &GroupRow| {
            if !names::is_foreign(s, g) {
                let name = names::group_name(s, g.id);
                f(s, name.as_bytes());
            }
            Ok(())
        })
    })
}
