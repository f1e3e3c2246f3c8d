//! vCPUs that have no CPU: under `null`, when there are more of them than CPUs. Said after every command that may lead to it,
//! before one that is only tried, and below the list of pools.
//!
//! Must never refuse anything: the hypervisor decides. Neighbours: `pool.rs`, `plan.rs` and `domain.rs` call it.

use crate::names;
use crate::session::{Fail, Session};
use tarn_abi::PoolId;
use tarn_abi::short::Short;

fn who(s: &mut Session<'_>, pool: PoolId) -> Result<Short, Fail> {
    let mut all = Short::default();
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
        s.note(format_args!("{}", who.said(&name, &row.sched)));
        Ok(())
    });
}
