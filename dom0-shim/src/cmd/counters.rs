//! Commands about counters: of the machine, of pools, and exits per domain and reason.

use super::parse::Given;
use crate::names::{self, CounterList};
use crate::session::{Fail, Session};
use crate::table::{Column, Table};
use tarn_abi::Errno;

pub fn counters(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let of = match (g.word(0), g.opt("-p")) {
        (Some(_), Some(_)) => {
            return Err(s.fail(format_args!("say either a domain or -p POOL")));
        }
        (Some(word), None) => CounterList::Domain(names::find_domain(s, word)?),
        (None, Some(word)) => CounterList::Pool(names::find_pool(s, word)?),
        (None, None) => CounterList::Machine,
    };
    let columns = [
        Column::text("COUNTER", "counter"),
        Column::number("VALUE", "value"),
    ];
    Table::print(s, columns, &mut |s, t| {
        names::each_counter(s, of, &mut |s, c| {
            t.row(s, [&c.name, &c.value]);
            Ok(())
        })
    })
}

pub fn stats(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let only = match g.word(0) {
        Some(word) => Some(names::find_domain(s, word)?),
        None => None,
    };
    let columns = [
        Column::text("Name", "name"),
        Column::number("ID", "id"),
        Column::text("Reason", "reason"),
        Column::number("Count", "count"),
    ];
    Table::print(s, columns, &mut |s, t| {
        names::each_domain(s, &mut |s, row| {
            if only.is_some_and(|id| id != row.id) {
                return Ok(());
            }
            let name = names::domain_name(s, row.id);
            match names::each_counter(s, CounterList::Domain(row.id), &mut |s, c| {
                if c.value != 0 {
                    t.row(s, [&name, &row.id.slot, &c.name, &c.value]);
                }
                Ok(())
            }) {
                Err(Fail::Refused(Errno::Stale | Errno::NoSuch)) => Ok(()),
                result => result,
            }
        })
    })
}
