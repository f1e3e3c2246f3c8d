//! Commands about scheduling parameters: any by name, and Xen's letters for those it has.
//!
//! Which parameters there are, their units and ranges is asked of the hypervisor; nothing here knows a scheduler. One
//! call sets two; more than two are set two by two, in the order given.

use super::parse::Given;
use crate::names::{self, Owner};
use crate::session::{Fail, Session};
use crate::similar::Nearest;
use crate::table::{Column, Table};
use crate::units::OrDash;
use core::fmt::{self, Display};
use tarn_abi::call::param::{ParamRow, Setting, Unit};
use tarn_abi::call::{domain, group, pool, vcpu};
use tarn_abi::{DomainId, Errno, Label};

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
    let (name, min, max) = (row.name, row.min, row.max);
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
        _ => {
            let unit = UnitName(row.kind.unit);
            Err(s.fail(format_args!(
                "{name} is a number from {min} to {max} ({unit}), not {text}"
            )))
        }
    }
}

/// Makes one setting of what was typed.
pub fn setting(s: &mut Session<'_>, of: Owner, wish: Wish<'_>) -> Result<Setting, Fail> {
    let row = find(s, of, wish.0)?;
    let value = value(s, &row, wish.1)?;
    Ok(Setting {
        name: row.name,
        value,
    })
}

fn apply(
    s: &mut Session<'_>,
    of: Owner,
    first: Setting,
    second: Option<Setting>,
) -> Result<(), Errno> {
    match of {
        Owner::Pool(id) => s.ask(&pool::SetParams { id, first, second }),
        Owner::Domain(id) => s.ask(&domain::SetParams { id, first, second }),
        Owner::Vcpu(id) => s.ask(&vcpu::SetParams { id, first, second }),
        Owner::Group(id) => s.ask(&group::SetParams { id, first, second }),
    }
}

/// Sets parameters; every one is looked up and read before the first is set.
pub fn set(s: &mut Session<'_>, of: Owner, wishes: &[Wish<'_>]) -> Result<(), Fail> {
    let mut settings = [None; 8];
    for (slot, wish) in settings.iter_mut().zip(wishes) {
        *slot = Some(setting(s, of, *wish)?);
    }
    if wishes.len() > settings.len() {
        let most = settings.len();
        return Err(s.fail(format_args!("at most {most} parameters at once")));
    }
    for pair in settings.chunks(2) {
        let Some(first) = pair[0] else { break };
        if let Err(e) = apply(s, of, first, pair.get(1).copied().flatten()) {
            return Err(refused(s, of, first, e));
        }
    }
    Ok(())
}

fn refused(s: &mut Session<'_>, of: Owner, first: Setting, e: Errno) -> Fail {
    if e != Errno::Invalid {
        return e.into();
    }
    let Ok(row) = find(s, of, first.name.as_str().unwrap_or("")) else {
        return Fail::Said;
    };
    let (name, min, max, unit) = (row.name, row.min, row.max, UnitName(row.kind.unit));
    if (min..=max).contains(&first.value) {
        return e.into();
    }
    s.fail(format_args!(
        "{name} is a number from {min} to {max} ({unit}), not {}",
        first.value
    ))
}

/// Whose parameters -d, -v, -p and -g name.
pub fn owner(s: &mut Session<'_>, g: &Given<'_>) -> Result<Option<Owner>, Fail> {
    let given = ["-d", "-p", "-g"].map(|o| g.opt(o));
    if given.iter().flatten().count() > 1 {
        return Err(s.fail(format_args!("only one of -d, -p and -g")));
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
    let mut wishes = [("", ""); 8];
    for (slot, word) in wishes.iter_mut().zip(g.words()) {
        let Some(wish) = word.split_once('=') else {
            return Err(s.fail(format_args!("{word}: say NAME=VALUE")));
        };
        *slot = wish;
    }
    match wishes.get(..g.words().len()) {
        Some(wishes) => set(s, of, wishes),
        None => Err(s.fail(format_args!("at most {} at once", wishes.len()))),
    }
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

/// A table of all domains with some of their parameters.
fn domains<const N: usize>(
    s: &mut Session<'_>,
    only: Option<Owner>,
    heads: [(&'static str, &'static str); N],
) -> Result<(), Fail> {
    let mut columns = [Column::text("Name", "name"); 5];
    columns[1] = Column::number("ID", "id");
    columns[2] = Column::text("Pool", "pool");
    for (slot, (head, name)) in columns[3..].iter_mut().zip(heads) {
        *slot = Column::number(head, name);
    }
    Table::print(s, columns, &mut |s, t| {
        names::each_domain(s, &mut |s, row| {
            let of = Owner::Domain(row.id);
            if only.is_some_and(|o| o != of) {
                return Ok(());
            }
            let (name, pool) = (names::domain_name(s, row.id), names::pool_name(s, row.pool));
            let values = heads.map(|(_, name)| OrDash(get(s, of, name)));
            let (a, b) = (values[0], values[N - 1]);
            t.row(s, [&name, &row.id.slot, &pool, &a, &b]);
            Ok(())
        })
    })
}

pub fn credit2(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    match owner(s, g)? {
        Some(of @ Owner::Pool(_)) => {
            if !letters(s, g, of, &[("-r", "ratelimit")])? {
                show(s, of)?;
            }
            Ok(())
        }
        Some(of) => {
            if g.opt("-r").is_some() {
                return Err(s.fail(format_args!("-r goes with -p: it is a pool's")));
            }
            if letters(s, g, of, &[("-w", "weight"), ("-c", "cap")])? {
                return Ok(());
            }
            domains(s, Some(of), [("Weight", "weight"), ("Cap", "cap")])
        }
        None if g.opt("-w").or(g.opt("-c")).or(g.opt("-r")).is_some() => Err(s.fail(format_args!(
            "say whose: -d DOMAIN for -w and -c, -p POOL for -r"
        ))),
        None => domains(s, None, [("Weight", "weight"), ("Cap", "cap")]),
    }
}

pub fn rtds(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let heads = [("Period(us)", "rt-period"), ("Budget(us)", "rt-budget")];
    let Some(word) = g.opt("-d") else {
        if g.opt("-p").or(g.opt("-b")).is_some() {
            return Err(s.fail(format_args!("say whose: -d DOMAIN")));
        }
        return domains(s, None, heads);
    };
    let id = names::find_domain(s, word)?;
    let of = of_domain(s, id, g.opt("-v"))?;
    if letters(s, g, of, &[("-p", "rt-period"), ("-b", "rt-budget")])? {
        return Ok(());
    }
    domains(s, Some(Owner::Domain(id)), heads)
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
