//! Commands about boosts (seed 004): their parameters, the switch of each pool, and what they have cost.

use super::params::{self, Wish};
use super::parse::Given;
use crate::names::{self, CounterList, Owner};
use crate::session::{Fail, Session};
use crate::table::{Column, Table};
use crate::units::OrDash;
use tarn_abi::DomainId;

const NAMES: [(&str, &str); 3] = [
    ("ratio=", "boost-ratio"),
    ("interval=", "boost-interval"),
    ("limit=", "boost-limit"),
];

pub fn boost(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let of = params::owner(s, g)?;
    let mut wishes: [Wish<'_>; 4] = [("", ""); 4];
    let mut n = 0;
    for (option, name) in NAMES {
        if let Some(value) = g.opt(option) {
            wishes[n] = (name, value);
            n += 1;
        }
    }
    if let Some(switch) = g.word(0) {
        if !matches!(of, Some(Owner::Pool(_))) {
            return Err(s.fail(format_args!(
                "boosts are switched for a pool: 'boost -p POOL {switch}'; 'boost -d DOMAIN ratio=0' keeps one domain \
                 from them"
            )));
        }
        wishes[n] = ("boost", switch);
        n += 1;
    }
    match of {
        Some(of) if n > 0 => params::set(s, of, &wishes[..n]),
        None if n > 0 => Err(s.fail(format_args!(
            "say whose: -d DOMAIN, -d DOMAIN -v VCPU, -p POOL or -g GROUP"
        ))),
        of => show(s, of, ["-d", "-v"].map(|o| g.opt(o).unwrap_or("-"))),
    }
}

/// `domain` and `vcpu` as they were typed.
fn show(s: &mut Session<'_>, only: Option<Owner>, [domain, vcpu]: [&str; 2]) -> Result<(), Fail> {
    let columns = [
        Column::text("Whose", "whose"),
        Column::text("Kind", "kind"),
        Column::number("Boost", "boost"),
        Column::number("Ratio(1/1000)", "ratio"),
        Column::number("Interval(us)", "interval"),
        Column::number("Limit(us)", "limit"),
    ];
    Table::print(s, columns, &mut |s, t| {
        let mut one = |s: &mut Session<'_>, of, name: &dyn core::fmt::Display, kind: &str| {
            if only.is_none_or(|o| o == of) {
                let [on, ratio, interval, limit] =
                    ["boost", "boost-ratio", "boost-interval", "boost-limit"]
                        .map(|p| OrDash(params::get(s, of, p)));
                t.row(s, [name, &kind, &on, &ratio, &interval, &limit]);
            }
        };
        match only {
            Some(of @ Owner::Group(id)) => {
                let name = names::group_name(s, id);
                one(s, of, &name, "group");
                return Ok(());
            }
            Some(of @ Owner::Vcpu(_)) => {
                let whose = format_args!("{domain}/{vcpu}");
                one(s, of, &whose, "vcpu");
                return Ok(());
            }
            _ => {}
        }
        names::each_pool(s, &mut |s, row| {
            let name = names::pool_name(s, row.id);
            one(s, Owner::Pool(row.id), &name, "pool");
            Ok(())
        })?;
        names::each_domain(s, &mut |s, row| {
            let name = names::domain_name(s, row.id);
            one(s, Owner::Domain(row.id), &name, "domain");
            Ok(())
        })
    })
}

/// Whose boosts are counted.
fn counted(of: Owner) -> Option<CounterList> {
    match of {
        Owner::Domain(id) => Some(CounterList::DomainBoosts(id)),
        Owner::Vcpu(id) => Some(CounterList::VcpuBoosts(id)),
        Owner::Group(id) => Some(CounterList::GroupBoosts(id)),
        Owner::Pool(_) => None,
    }
}

pub fn stats(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let of = match g.word(0) {
        Some(word) => Some(CounterList::DomainBoosts(names::find_domain(s, word)?)),
        None => params::owner(s, g)?.and_then(counted),
    };
    let columns = [
        Column::text("Name", "name"),
        Column::text("Boosts", "boosts"),
        Column::number("Count", "count"),
    ];
    Table::print(s, columns, &mut |s, t| {
        let mut rows = |s: &mut Session<'_>, list, name: &dyn core::fmt::Display| {
            names::each_counter(s, list, &mut |s, c| {
                t.row(s, [name, &c.name, &c.value]);
                Ok(())
            })
        };
        match of {
            Some(CounterList::DomainBoosts(id)) => {
                let name = names::domain_name(s, id);
                rows(s, CounterList::DomainBoosts(id), &name)
            }
            Some(CounterList::GroupBoosts(id)) => {
                let name = names::group_name(s, id);
                rows(s, CounterList::GroupBoosts(id), &name)
            }
            Some(list) => rows(s, list, &g.opt("-d").unwrap_or("-")),
            None => names::each_domain(s, &mut |s, row| {
                if row.id == DomainId::DOM0 {
                    return Ok(());
                }
                let name = names::domain_name(s, row.id);
                rows(s, CounterList::DomainBoosts(row.id), &name)
            }),
        }
    })
}
