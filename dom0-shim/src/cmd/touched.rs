//! Who is meant by what a change of a pool could not leave as it was: the hypervisor says that there is somebody, this looks
//! who, by what can be read of each vCPU.
//!
//! Must never say that of a vCPU of which it is not so; where nobody is found any more, the note stands without a name.
//! Neighbours: `pool.rs` has the words of each note.

use super::vcpu;
use crate::names;
use crate::session::{Fail, Session};
use tarn_abi::call::pool;
use tarn_abi::call::report::Adjusted;
use tarn_abi::call::vcpu::{Params, Place, VcpuRow};
use tarn_abi::short::Short;
use tarn_abi::{CpuSet, PoolId};

/// What could not stay of the vCPUs of a pool, or of all pools.
#[derive(Clone, Copy)]
pub struct Pool(pub Option<PoolId>);

/// What can be told of a vCPU by what it has set.
fn of(s: &mut Session<'_>, v: &VcpuRow, cpus: &CpuSet, a: Adjusted) -> Result<Adjusted, Fail> {
    let mut found = Adjusted::NONE;
    let left = v.affinity.intersection(cpus);
    if v.affinity != CpuSet::ALL && left != v.affinity {
        let is = match left.is_empty() {
            true => Adjusted::AFFINITY_VOID,
            false => Adjusted::AFFINITY_CUT,
        };
        found = found.with(is);
    }
    let parameters = Adjusted::WEIGHT_UNUSED
        .with(Adjusted::BOOST_UNUSED)
        .with(Adjusted::RT_UNUSED);
    let outside = |s: &mut Session<'_>| s.ask(&Place { id: v.id }).map(|p| p.group.is_root());
    // In a group they are the group's scheduler's affair, which has stayed.
    if a.without(parameters) == a || !outside(s)? {
        return Ok(found);
    }
    let (mut boost, mut ratio) = (false, true);
    for index in 0.. {
        let Ok(row) = s.ask(&Params { id: v.id, index }) else {
            break;
        };
        let set = row.value != row.default;
        let is = |name: &str| row.name == *name;
        let idle = set && !row.kind.used;
        found = found
            .with_if(Adjusted::WEIGHT_UNUSED, idle && is("weight"))
            .with_if(
                Adjusted::RT_UNUSED,
                idle && (is("rt-period") || is("rt-budget")),
            );
        boost |= set && (is("boost-ratio") || is("boost-interval") || is("boost-limit"));
        ratio &= !is("boost-ratio") || row.value != 0;
    }
    Ok(found.with_if(Adjusted::BOOST_UNUSED, boost && ratio))
}

/// The vCPUs that one kind of adjustment, which has been reported, is about.
pub fn who(s: &mut Session<'_>, at: Pool, kind: Adjusted) -> Short {
    let mut short = Short::default();
    // Who cannot be read is not named: the change itself has worked.
    let _ = names::each_pool(s, &mut |s, row: &pool::PoolRow| {
        if at.0.is_some_and(|id| id != row.id) {
            return Ok(());
        }
        names::each_domain(s, &mut |s, d| {
            if d.pool != row.id {
                return Ok(());
            }
            vcpu::each(s, Some(d.id), &mut |s, name, _, index, v| {
                if of(s, v, &row.cpus, kind)?.has(kind) {
                    short.add(*name, index);
                }
                Ok(())
            })
        })
    });
    short
}
