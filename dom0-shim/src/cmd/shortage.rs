//! vCPUs that have no CPU: under `null`, when there are more of them than CPUs. Said after every command that may lead to it,
//! before one that is only tried, and below the list of pools.
//!
//! Must never refuse anything: the hypervisor decides. Neighbours: `pool.rs`, `plan.rs` and `domain.rs` call it.

use crate::names;
use crate::session::{Fail, Session};
use core::fmt::{self, Display};
use tarn_abi::{PoolId, Text};

/// So many are named, the others counted.
const NAMED: usize = 8;

/// vCPUs by domain and number: `vm1:0, vm2:1 and 3 more`.
#[derive(Default)]
struct Names {
    first: [Option<(Text, u32)>; NAMED],
    all: usize,
}

impl Names {
    fn add(&mut self, domain: Text, index: u32) {
        if let Some(slot) = self.first.get_mut(self.all) {
            *slot = Some((domain, index));
        }
        self.all = self.all.saturating_add(1);
    }
}

impl Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (domain, index)) in self.first.iter().flatten().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{domain}:{index}")?;
        }
        match self.all.saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// "1 vCPU of work has", "2 vCPUs of work have".
pub struct Count<'a>(pub u32, pub &'a dyn Display);

impl Display for Count<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Count(n, pool) = self;
        match n {
            1 => write!(f, "1 vCPU of {pool}"),
            n => write!(f, "{n} vCPUs of {pool}"),
        }
    }
}

fn who(s: &mut Session<'_>, pool: PoolId) -> Result<Names, Fail> {
    let mut all = Names::default();
    names::each_domain(s, &mut |s, row| {
        if row.pool == pool {
            super::vcpu::each(s, Some(row.id), &mut |_, name, _, index, v| {
                if v.stranded {
                    all.add(*name, index);
                }
                Ok(())
            })?;
        }
        Ok(())
    })?;
    Ok(all)
}

/// Says of each pool, or of one, who has no CPU in it.
pub fn note(s: &mut Session<'_>, only: Option<PoolId>) {
    // What cannot be read need not be said: the command itself has worked.
    let _ = names::each_pool(s, &mut |s, row| {
        if row.stranded == 0 || only.is_some_and(|id| id != row.id) {
            return Ok(());
        }
        let (name, who) = (names::pool_name(s, row.id), who(s, row.id)?);
        let have = if row.stranded == 1 { "has" } else { "have" };
        s.note(format_args!(
            "{} {have} no CPU under {}: {who}; a CPU more, or somebody who leaves, makes room",
            Count(row.stranded, &name),
            row.sched
        ));
        Ok(())
    });
}
