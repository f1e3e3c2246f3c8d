//! Commands about pools.

use crate::names;
use crate::session::{Fail, Session};
use crate::table::{Column, Table};
use core::fmt;
use tarn_abi::{DomainId, Errno, MAX_DOMAINS};

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

pub fn list(s: &mut Session<'_>, args: &[&str]) -> Result<(), Fail> {
    let only = match args.first() {
        Some(word) => Some(names::find_pool(s, word)?),
        None => None,
    };
    let columns = [
        Column::Left("pool"),
        Column::Left("cpus"),
        Column::Left("sched"),
        Column::Left("domains"),
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
            t.row(s, [&name, &row.cpus, &row.sched, &numbers]);
            Ok(())
        })
    })
}
