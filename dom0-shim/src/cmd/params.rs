//! Commands about scheduling parameters: any by name, and Xen's letters for those it has.
//!
//! Which parameters there are, their units and ranges is asked of the hypervisor; nothing here knows a scheduler. One
//! call sets two; more than two are set two by two, in the order given. Must never set some of what was typed: a pool's
//! and a domain's parameters are one plan, those of a vCPU or group are given back when one is refused.

use super::parse::Given;
use crate::names::{self, Owner};
use crate::session::{Fail, Session};
use crate::similar::Nearest;
use crate::table::{Column, Table};
use crate::units::OrDash;
use core::fmt::{self, Display};
use tarn_abi::call::param::{ParamRow, Setting, Unit};
use tarn_abi::call::{domain, group, plan, pool, vcpu};
use tarn_abi::{DomainId, Errno, Label, PoolId, VcpuId};

/// A unit, as lists show it.
struct UnitName(Unit);

impl Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Unit::Number => "-",
            Unit::Switch => "0/1",
            Unit::Micros => "us",
            Unit::Percent => "% of a CPU",
            Unit::PerMille => "1/1000",
        })
    }
}

/// What one setting of a line is: the name, and what it shall be.
pub type Wish<'a> = (&'a str, &'a str);

/// The parameter of a name. Prints what is wrong if there is none.
fn find(s: &mut Session<'_>, of: Owner, name: &str) -> Result<ParamRow, Fail> {
    let mut nearest = Nearest::new(name);
    let (mut found, mut similar) = (None, None);
    names::each_param(s, of, &mut |_, row| {
        if row.name == *name {
            found = Some(*row);
        } else if nearest.nearer(row.name.as_bytes()) {
            similar = Some(row.name);
        }
        Ok(())
    })?;
    if let Some(row) = found {
        return Ok(row);
    }
    if let Some(near) = similar {
        return Err(s.fail(format_args!(
            "no parameter {name}: did you mean {near}? 'params' lists them"
        )));
    }
    let mut before = "error: no such parameter; there are ";
    names::each_param(s, of, &mut |s, row| {
        s.print(format_args!("{before}{}", row.name));
        before = ", ";
        Ok(())
    })?;
    s.print(format_args!("\n"));
    Err(Fail::Said)
}

/// A value as it was typed: a number, or on and off for a switch.
fn value(s: &mut Session<'_>, row: &ParamRow, text: &str) -> Result<u64, Fail> {
    let (name, max) = (row.name, row.max);
    let typed = match (row.kind.unit, text) {
        (Unit::Switch, "on") => Some(1),
        (Unit::Switch, "off") => Some(0),
        _ if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    };
    match typed {
        // What else is out of range the hypervisor says: two may limit each other.
        Some(v) if v <= max => Ok(v),
        _ if row.kind.unit == Unit::Switch => {
            Err(s.fail(format_args!("{name} is on or off, not {text}")))
        }
        _ => Err(out_of_range(s, row, format_args!("{text}"))),
    }
}

/// Makes one setting of what was typed; and what there is now.
fn wanted(s: &mut Session<'_>, of: Owner, wish: Wish<'_>) -> Result<(Setting, ParamRow), Fail> {
    let row = find(s, of, wish.0)?;
    let value = value(s, &row, wish.1)?;
    let name = row.name;
    Ok((Setting { name, value }, row))
}

/// Makes one setting of what was typed.
pub fn setting(s: &mut Session<'_>, of: Owner, wish: Wish<'_>) -> Result<Setting, Fail> {
    Ok(wanted(s, of, wish)?.0)
}

/// Two settings or one, as a call takes them.
type Pair = (Setting, Option<Setting>);

fn pair(chunk: &[Option<Setting>]) -> Option<Pair> {
    Some((
        chunk.first().copied().flatten()?,
        chunk.get(1).copied().flatten(),
    ))
}

fn apply(s: &mut Session<'_>, of: Owner, (first, second): Pair) -> Result<(), Errno> {
    match of {
        Owner::Pool(id) => s.ask(&pool::SetParams { id, first, second }),
        Owner::Domain(id) => s.ask(&domain::SetParams { id, first, second }),
        Owner::Vcpu(id) => s.ask(&vcpu::SetParams { id, first, second }),
        Owner::Group(id) => s.ask(&group::SetParams { id, first, second }),
    }
}

/// Most parameters of a line.
const MOST: usize = 8;

/// Sets parameters, all or none.
pub fn set(s: &mut Session<'_>, of: Owner, wishes: &[Wish<'_>]) -> Result<(), Fail> {
    if wishes.len() > MOST {
        return Err(s.fail(format_args!("at most {MOST} parameters at once")));
    }
    let (mut new, mut old, mut idle) = ([None; MOST], [None; MOST], [None; MOST]);
    for (i, wish) in wishes.iter().enumerate() {
        let (setting, row) = wanted(s, of, *wish)?;
        if new[..i]
            .iter()
            .flatten()
            .any(|x: &Setting| x.name == setting.name)
        {
            return Err(s.fail(format_args!("{} is there twice", wish.0)));
        }
        new[i] = Some(setting);
        old[i] = Some(Setting {
            name: row.name,
            value: row.value,
        });
        idle[i] = (!row.kind.used).then_some(row.name);
    }
    let result = match of {
        Owner::Pool(_) | Owner::Domain(_) if wishes.len() > 2 => as_plan(s, of, &new),
        _ => in_turn(s, of, &new, &old),
    };
    if let Err((pair, e)) = result {
        return Err(refused(s, of, pair, e));
    }
    for name in idle.iter().flatten() {
        s.note(format_args!(
            "{name} is kept, but the scheduler in charge makes no use of it"
        ));
    }
    Ok(())
}

/// What was refused, if it is known, and why.
type Refused = (Option<Pair>, Errno);

/// Pair after pair; what is set is given back when the next is refused, the last first.
fn in_turn(
    s: &mut Session<'_>,
    of: Owner,
    new: &[Option<Setting>],
    old: &[Option<Setting>],
) -> Result<(), Refused> {
    for (i, p) in new.chunks(2).map_while(pair).enumerate() {
        if let Err(e) = apply(s, of, p) {
            for p in old[..2 * i].chunks(2).rev().filter_map(pair) {
                apply(s, of, p).map_err(|e| (None, e))?;
            }
            return Err((Some(p), e));
        }
    }
    Ok(())
}

/// A plan of as many steps as there are pairs.
fn as_plan(s: &mut Session<'_>, of: Owner, new: &[Option<Setting>]) -> Result<(), Refused> {
    let none = |e| (None, e);
    s.ask(&plan::Begin {}).map_err(none)?;
    for (first, second) in new.chunks(2).map_while(pair) {
        let step = match of {
            Owner::Pool(id) => s.ask(&plan::SetPoolParams {
                pool: plan::PoolRef::Id(id),
                first,
                second,
            }),
            Owner::Domain(domain) => s.ask(&plan::SetDomainParams {
                domain,
                first,
                second,
            }),
            Owner::Vcpu(_) | Owner::Group(_) => Err(Errno::NotSupported),
        };
        step.map_err(|e| (Some((first, second)), e))?;
    }
    match s.ask(&plan::Commit {}) {
        Ok(_) => Ok(()),
        Err(Errno::Again) => {
            let _ = s.ask(&plan::Abort {});
            Err((None, Errno::Again))
        }
        Err(e) => match s.ask(&plan::LastVerdict {}) {
            Ok(v) if v.failed != 0 => {
                let step = new.chunks(2).nth(v.failed as usize - 1);
                Err((step.and_then(pair), e))
            }
            _ => Err((None, e)),
        },
    }
}

fn refused(s: &mut Session<'_>, of: Owner, pair: Option<Pair>, e: Errno) -> Fail {
    if e != Errno::Invalid {
        return e.into();
    }
    let settings = pair.map(|(first, second)| [Some(first), second]);
    for wrong in settings.iter().flatten().flatten() {
        let Ok(row) = find(s, of, wrong.name.as_str().unwrap_or("")) else {
            return Fail::Said;
        };
        if !(row.min..=row.max).contains(&wrong.value) {
            return out_of_range(s, &row, format_args!("{}", wrong.value));
        }
    }
    e.into()
}

fn out_of_range(s: &mut Session<'_>, row: &ParamRow, typed: fmt::Arguments<'_>) -> Fail {
    let (name, min, max) = (row.name, row.min, row.max);
    match row.kind.unit {
        Unit::Number => s.fail(format_args!(
            "{name} is a number from {min} to {max}, not {typed}"
        )),
        unit => {
            let unit = UnitName(unit);
            s.fail(format_args!(
                "{name} is a number from {min} to {max} ({unit}), not {typed}"
            ))
        }
    }
}

/// Whose parameters -d, -v, -p and -g name.
pub fn owner(s: &mut Session<'_>, g: &Given<'_>) -> Result<Option<Owner>, Fail> {
    let given = ["-d", "-p", "-g"].map(|o| g.opt(o));
    if given.iter().flatten().count() > 1 {
        return Err(s.fail(format_args!("say whose once: only one of -d, -p and -g")));
    }
    Ok(match (given, g.opt("-v")) {
        ([Some(word), ..], vcpu) => {
            let id = names::find_domain(s, word)?;
            Some(of_domain(s, id, vcpu)?)
        }
        ([None, Some(word), _], None) => Some(Owner::Pool(names::find_pool(s, word)?)),
        ([None, None, Some(word)], None) => Some(Owner::Group(names::find_group(s, word, None)?)),
        (_, Some(_)) => {
            return Err(s.fail(format_args!("-v goes with -d: a vCPU is one of a domain's")));
        }
        _ => None,
    })
}

fn of_domain(s: &mut Session<'_>, id: DomainId, vcpu: Option<&str>) -> Result<Owner, Fail> {
    match vcpu.filter(|v| *v != "all") {
        Some(v) => Ok(Owner::Vcpu(names::find_vcpu(s, id, v)?)),
        None => Ok(Owner::Domain(id)),
    }
}

pub fn params(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let Some(of) = owner(s, g)? else {
        return Err(s.fail(format_args!(
            "say whose: -d DOMAIN, -d DOMAIN -v VCPU, -p POOL or -g GROUP"
        )));
    };
    if g.words().is_empty() {
        return show(s, of);
    }
    let mut wishes = [("", ""); MOST + 1];
    for (slot, word) in wishes.iter_mut().zip(g.words()) {
        let Some(wish) = word.split_once('=') else {
            return Err(s.fail(format_args!("{word}: say NAME=VALUE")));
        };
        *slot = wish;
    }
    set(s, of, &wishes[..g.words().len().min(MOST + 1)])
}

fn show(s: &mut Session<'_>, of: Owner) -> Result<(), Fail> {
    let columns = [
        Column::text("parameter", "parameter"),
        Column::number("value", "value"),
        Column::number("default", "default"),
        Column::number("min", "min"),
        Column::number("max", "max"),
        Column::text("unit", "unit"),
        Column::text("used", "used"),
    ];
    Table::print(s, columns, &mut |s, t| {
        names::each_param(s, of, &mut |s, r| {
            let used = if r.kind.used { "yes" } else { "no" };
            t.row(
                s,
                [
                    &r.name,
                    &r.value,
                    &r.default,
                    &r.min,
                    &r.max,
                    &UnitName(r.kind.unit),
                    &used,
                ],
            );
            Ok(())
        })
    })
}

/// The value of one parameter, if there is such a parameter.
pub fn get(s: &mut Session<'_>, of: Owner, name: &str) -> Option<u64> {
    let mut found = None;
    let _ = names::each_param(s, of, &mut |_, row| {
        if row.name == *name {
            found = Some(row.value);
        }
        Ok(())
    });
    found
}

/// Sets those parameters of `of` whose letters are there; whether there was one.
fn letters(
    s: &mut Session<'_>,
    g: &Given<'_>,
    of: Owner,
    known: &[(&'static str, &'static str)],
) -> Result<bool, Fail> {
    let mut wishes = [("", ""); 8];
    let mut n = 0;
    for (slot, (name, value)) in wishes.iter_mut().zip(
        known
            .iter()
            .filter_map(|(letter, name)| Some((*name, g.opt(letter)?))),
    ) {
        *slot = (name, value);
        n += 1;
    }
    set(s, of, &wishes[..n])?;
    Ok(n > 0)
}

/// Whose parameters a list shows.
#[derive(Clone, Copy)]
enum Whose {
    All,
    Pool(PoolId),
    Domain(DomainId),
    /// vCPUs of a domain: one, or all.
    Vcpus(DomainId, Option<VcpuId>),
}

/// What -d and -v ask to see.
fn whose(s: &mut Session<'_>, id: DomainId, vcpu: Option<&str>) -> Result<Whose, Fail> {
    Ok(match vcpu {
        None => Whose::Domain(id),
        Some("all") => Whose::Vcpus(id, None),
        Some(word) => Whose::Vcpus(id, Some(names::find_vcpu(s, id, word)?)),
    })
}

/// A table of two parameters of domains, or of vCPUs.
fn domains(
    s: &mut Session<'_>,
    whose: Whose,
    heads: [(&'static str, &'static str); 2],
) -> Result<(), Fail> {
    let [a, b] = heads.map(|(head, name)| Column::number(head, name));
    let (name, id) = (Column::text("Name", "name"), Column::number("ID", "id"));
    let pool = Column::text("Pool", "pool");
    if let Whose::Vcpus(domain, only) = whose {
        let vcpu = Column::number("VCPU", "vcpu");
        return Table::print(s, [name, id, vcpu, pool, a, b], &mut |s, t| {
            names::each_domain(s, &mut |s, row| {
                if row.id != domain {
                    return Ok(());
                }
                let (name, pool) = (names::domain_name(s, domain), names::pool_name(s, row.pool));
                names::each_vcpu(s, domain, &mut |s, (index, v)| {
                    if only.is_some_and(|id| id != v.id) {
                        return Ok(());
                    }
                    let [a, b] = heads.map(|(_, p)| OrDash(get(s, Owner::Vcpu(v.id), p)));
                    t.row(s, [&name, &domain.slot, index, &pool, &a, &b]);
                    Ok(())
                })
            })
        });
    }
    Table::print(s, [name, id, pool, a, b], &mut |s, t| {
        names::each_domain(s, &mut |s, row| {
            let shown = match whose {
                Whose::Pool(pool) => row.pool == pool,
                Whose::Domain(id) => row.id == id,
                Whose::All | Whose::Vcpus(..) => true,
            };
            if !shown {
                return Ok(());
            }
            let (name, pool) = (names::domain_name(s, row.id), names::pool_name(s, row.pool));
            let [a, b] = heads.map(|(_, p)| OrDash(get(s, Owner::Domain(row.id), p)));
            t.row(s, [&name, &row.id.slot, &pool, &a, &b]);
            Ok(())
        })
    })
}

/// The rate limit of every pool, or of one.
fn ratelimits(s: &mut Session<'_>, only: Option<PoolId>) -> Result<(), Fail> {
    let columns = [
        Column::text("Pool", "pool"),
        Column::number("Ratelimit(us)", "ratelimit"),
    ];
    Table::print(s, columns, &mut |s, t| {
        names::each_pool(s, &mut |s, row| {
            if only.is_none_or(|id| id == row.id) {
                let name = names::pool_name(s, row.id);
                let limit = OrDash(get(s, Owner::Pool(row.id), "ratelimit"));
                t.row(s, [&name, &limit]);
            }
            Ok(())
        })
    })
}

pub fn credit2(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let heads = [("Weight", "weight"), ("Cap", "cap")];
    let of_domains = g.opt("-w").or(g.opt("-c")).is_some();
    let (of_pool, pools) = (g.opt("-r").is_some(), g.opt("-s").is_some());
    match owner(s, g)? {
        Some(Owner::Pool(_)) if of_domains => {
            Err(s.fail(format_args!("-w and -c go with -d: they are a domain's")))
        }
        Some(of @ Owner::Pool(id)) => {
            if letters(s, g, of, &[("-r", "ratelimit")])? {
                return Ok(());
            }
            if pools {
                return ratelimits(s, Some(id));
            }
            domains(s, Whose::Pool(id), heads)
        }
        Some(_) if of_pool || pools => Err(s.fail(format_args!(
            "-r and -s go with -p: the rate limit is a pool's"
        ))),
        Some(of) => {
            if letters(s, g, of, &[("-w", "weight"), ("-c", "cap")])? {
                return Ok(());
            }
            let id = names::find_domain(s, g.opt("-d").unwrap_or(""))?;
            let whose = whose(s, id, g.opt("-v"))?;
            domains(s, whose, heads)
        }
        None if of_domains || of_pool => Err(s.fail(format_args!(
            "say whose: -d DOMAIN for -w and -c, -p POOL for -r"
        ))),
        None if pools => ratelimits(s, None),
        None => domains(s, Whose::All, heads),
    }
}

pub fn rtds(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let heads = [("Period(us)", "rt-period"), ("Budget(us)", "rt-budget")];
    let Some(word) = g.opt("-d") else {
        if g.opt("-p").or(g.opt("-b")).or(g.opt("-v")).is_some() {
            return Err(s.fail(format_args!("say whose: -d DOMAIN, or -d DOMAIN -v VCPU")));
        }
        let whose = match g.opt("-c") {
            Some(pool) => Whose::Pool(names::find_pool(s, pool)?),
            None => Whose::All,
        };
        return domains(s, whose, heads);
    };
    if g.opt("-c").is_some() {
        return Err(s.fail(format_args!(
            "-c lists a pool's domains: it does not go with -d"
        )));
    }
    let id = names::find_domain(s, word)?;
    let of = of_domain(s, id, g.opt("-v"))?;
    if letters(s, g, of, &[("-p", "rt-period"), ("-b", "rt-budget")])? {
        return Ok(());
    }
    let whose = whose(s, id, g.opt("-v"))?;
    domains(s, whose, heads)
}

/// The name of every parameter that anything has; may give one twice.
pub fn each_name(s: &mut Session<'_>, f: &mut dyn FnMut(&mut Session<'_>, &Label)) {
    let pool = Owner::Pool(tarn_abi::PoolId::POOL0);
    let domain = Owner::Domain(DomainId::DOM0);
    for of in [pool, domain] {
        let _ = names::each_param(s, of, &mut |s, row| {
            let shared = of == domain && get(s, pool, row.name.as_str().unwrap_or("")).is_some();
            if !shared {
                f(s, &row.name);
            }
            Ok(())
        });
    }
}
