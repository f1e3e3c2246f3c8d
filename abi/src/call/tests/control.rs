//! The calls and replies of live control: pools, parameters, groups, plans.

use super::super::domain::{DomainNow, DomainRun, DomainTimes};
use super::super::group::{GroupRow, GroupTimes, MemberRow};
use super::super::param::{ParamKind, ParamRow, Setting, Unit};
use super::super::plan::{Committed, PlannedChange, PlannedPool, PoolRef, Verdict};
use super::super::pool::{MemoryFrom, PoolMemory, SchedRow};
use super::super::report::{Adjusted, Report};
use super::super::system::{CpuRow, CpuWork, MemoryNode, TraceRow};
use super::super::vcpu::{Pinned, VcpuPlace};
use super::*;
use crate::id::SchedId;

const V: VcpuId = VcpuId::new(1023, 0xffff);
const G: GroupId = GroupId {
    pool: P,
    slot: 255,
    generation: 3,
};

fn setting(name: &str, value: u64) -> Setting {
    Setting {
        name: Label::new(name).unwrap(),
        value,
    }
}

/// Those of live control.
pub(super) fn calls() -> Vec<Call> {
    let name = text("pool1");
    let cpus = CpuSet::parse("1,3,64-127").unwrap();
    let first = setting("ratelimit", u64::MAX);
    let second = Some(setting("0123456789abcdef", 7));
    let id = P;
    std::vec![
        Call::System(system::Cpu { from: 3 }.into()),
        Call::System(
            system::CpuRun {
                cpu: CpuId(127),
                work: CpuWork::Hold,
                argument: 9
            }
            .into()
        ),
        Call::System(
            system::Trace {
                cpu: CpuId(2),
                cursor: u64::MAX
            }
            .into()
        ),
        Call::System(system::MemoryNodes { index: 1 }.into()),
        Call::System(system::Why { part: 2 }.into()),
        Call::Domain(domain::CreateIn { pool: id, name }.into()),
        Call::Domain(domain::Move { id: D, to: P }.into()),
        Call::Domain(domain::Params { id: D, index: 4 }.into()),
        Call::Domain(
            domain::SetParams {
                id: D,
                first,
                second
            }
            .into()
        ),
        Call::Domain(domain::Runstate { id: D }.into()),
        Call::Domain(domain::RunstateNow { id: D }.into()),
        Call::Domain(domain::Boosts { id: D, index: 1 }.into()),
        Call::Vcpu(vcpu::Place { id: V }.into()),
        Call::Vcpu(
            vcpu::Pin {
                id: V,
                cpus,
                soft: CpuSet::first(2),
            }
            .into()
        ),
        Call::Vcpu(vcpu::Params { id: V, index: 0 }.into()),
        Call::Vcpu(
            vcpu::SetParams {
                id: V,
                first,
                second: None
            }
            .into()
        ),
        Call::Vcpu(vcpu::Boosts { id: V, index: 5 }.into()),
        Call::Pool(pool::Find { name }.into()),
        Call::Pool(
            pool::Create {
                sched: Some(SchedId(255)),
                name
            }
            .into()
        ),
        Call::Pool(pool::Create { sched: None, name }.into()),
        Call::Pool(pool::Destroy { id }.into()),
        Call::Pool(pool::Rename { id, name }.into()),
        Call::Pool(pool::AssignCpus { to: Some(P), cpus }.into()),
        Call::Pool(pool::AssignCpus { to: None, cpus }.into()),
        Call::Pool(pool::FreeCpus {}.into()),
        Call::Pool(
            pool::SetSched {
                id,
                sched: SchedId(0)
            }
            .into()
        ),
        Call::Pool(pool::Params { id, index: 9 }.into()),
        Call::Pool(pool::SetParams { id, first, second }.into()),
        Call::Pool(pool::Scheds { index: 1 }.into()),
        Call::Pool(pool::SchedAbout { id: SchedId(3) }.into()),
        Call::Pool(pool::Counters { id, index: 1 }.into()),
        Call::Pool(pool::Memory { id }.into()),
        Call::Pool(
            pool::SetMemory {
                id,
                from: MemoryFrom::Range {
                    base: 1 << 40,
                    size: 1 << 21
                }
            }
            .into()
        ),
        Call::Pool(
            pool::SetMemory {
                id,
                from: MemoryFrom::Node(u32::MAX)
            }
            .into()
        ),
        Call::Group(group::List { within: G, from: 1 }.into()),
        Call::Group(group::Name { id: G }.into()),
        Call::Group(
            group::Create {
                parent: GroupId::root(P),
                sched: None,
                processors: 2,
                weight: 256,
                name: Label::new("cell").unwrap(),
                split: true,
            }
            .into()
        ),
        Call::Group(group::Destroy { id: G }.into()),
        Call::Group(group::Move { domain: D, to: G }.into()),
        Call::Group(group::MoveVcpu { vcpu: V, to: G }.into()),
        Call::Group(group::Delegate { id: G, to: Some(D) }.into()),
        Call::Group(group::Mine { index: 0 }.into()),
        Call::Group(group::Times { id: G }.into()),
        Call::Group(group::Member { id: G, from: 8 }.into()),
        Call::Group(group::Params { id: G, index: 2 }.into()),
        Call::Group(
            group::SetParams {
                id: G,
                first,
                second
            }
            .into()
        ),
        Call::Group(group::Boosts { id: G, index: 2 }.into()),
        Call::Plan(plan::Begin {}.into()),
        Call::Plan(plan::CreatePool { sched: None, name }.into()),
        Call::Plan(
            plan::DestroyPool {
                pool: PoolRef::Step(63)
            }
            .into()
        ),
        Call::Plan(
            plan::RenamePool {
                pool: PoolRef::Id(P),
                name
            }
            .into()
        ),
        Call::Plan(
            plan::AssignCpus {
                to: PoolRef::Free,
                cpus
            }
            .into()
        ),
        Call::Plan(
            plan::MoveDomain {
                domain: D,
                to: PoolRef::Step(0)
            }
            .into()
        ),
        Call::Plan(
            plan::SetSched {
                pool: PoolRef::Id(P),
                sched: SchedId(2)
            }
            .into()
        ),
        Call::Plan(
            plan::SetPoolParams {
                pool: PoolRef::Id(P),
                first,
                second
            }
            .into()
        ),
        Call::Plan(
            plan::SetDomainParams {
                domain: D,
                first,
                second: None
            }
            .into()
        ),
        Call::Plan(plan::Check {}.into()),
        Call::Plan(plan::Outcome { index: 1 }.into()),
        Call::Plan(plan::Change { index: 1 }.into()),
        Call::Plan(plan::Commit {}.into()),
        Call::Plan(plan::LastVerdict {}.into()),
        Call::Plan(plan::Abort {}.into()),
    ]
}

/// Every reply of live control.
pub(super) fn replies_round_trip(cpus: CpuSet) {
    let name = Label::new("boost-interval").unwrap();
    reply_round_trip(P);
    reply_round_trip(G);
    reply_round_trip(cpus);
    reply_round_trip(63u32);
    reply_round_trip(u64::MAX);
    for pool in [None, Some(P)] {
        reply_round_trip(CpuRow {
            id: CpuId(64),
            online: true,
            pool,
            coming: pool,
            mpidr: 0x81_0000_0203,
            idle: Span(5),
            interrupts: 6,
        });
    }
    reply_round_trip(TraceRow {
        next: u64::MAX,
        at: Instant(1),
        what: name,
        vcpu: Some(V),
        domain: Some(D),
        detail: 3,
    });
    reply_round_trip(MemoryNode {
        base: 1 << 30,
        size: 2,
        node: 3,
        free: 4,
    });
    for unit in Unit::ALL {
        reply_round_trip(ParamRow {
            name,
            kind: ParamKind {
                unit: *unit,
                used: *unit != Unit::Micros,
            },
            value: 1,
            default: 2,
            min: 3,
            max: u64::MAX,
        });
    }
    reply_round_trip(Report {
        stood_still: Span(77),
        adjusted: Adjusted::AFFINITY_VOID.with(Adjusted::LEFT_GROUP),
    });
    reply_round_trip(DomainTimes {
        full_run: Span(1),
        full_contention: Span(2),
        concurrency_hazard: Span(3),
        blocked: Span(4),
        partial_run: Span(5),
        partial_contention: Span(6),
    });
    for state in DomainRun::ALL {
        reply_round_trip(DomainNow {
            state: *state,
            since: Instant(2),
            at: Instant(3),
            missed: 0,
        });
    }
    reply_round_trip(VcpuPlace {
        group: GroupId::root(P),
        cpu: Some(CpuId(0)),
        last: None,
        allowed: cpus,
        soft: CpuSet::first(65),
    });
    reply_round_trip(Pinned {
        adjusted: Adjusted::AFFINITY_CUT,
        allowed: cpus,
    });
    reply_round_trip(SchedRow {
        id: SchedId(255),
        default: true,
        name,
    });
    for from in [
        MemoryFrom::Any,
        MemoryFrom::Node(7),
        MemoryFrom::Range { base: 0, size: 1 },
    ] {
        reply_round_trip(PoolMemory {
            from,
            free: 1,
            used: 2,
        });
    }
    reply_round_trip(GroupRow {
        id: G,
        parent: GroupId::root(P),
        owner: Some(D),
        sched: SchedId(1),
        processors: 64,
        weight: 65535,
        members: 3,
    });
    reply_round_trip(GroupTimes {
        at: Instant(1),
        runtime: Span(2),
        siblings: Span(3),
    });
    reply_round_trip(MemberRow {
        vcpu: V,
        domain: D,
        index: 2,
        runtime: Span(9),
    });
    reply_round_trip(Verdict {
        steps: 3,
        failed: 2,
        why: 13,
    });
    for pool in [PoolRef::Free, PoolRef::Id(P), PoolRef::Step(u32::MAX)] {
        reply_round_trip(PlannedPool {
            pool,
            cpus,
            domains: 1,
            sched: name,
            stranded: 2,
        });
        reply_round_trip(PlannedChange {
            domain: D,
            pool,
            adjusted: Adjusted::NONE,
        });
    }
    reply_round_trip(Committed {
        steps: 4,
        stood_still: Span(5),
        adjusted: Adjusted::RT_UNUSED,
    });
}

#[test]
fn refusals_of_live_control_are_typed() {
    let decode = |number: u32, x: [u64; 7]| {
        let mut regs = Regs([u64::from(number), 0, 0, 0, 0, 0, 0, 0]);
        regs.0[1..].copy_from_slice(&x);
        Call::decode(&regs)
    };
    let name = 0x61u64;
    // No name; a value without a name; a second one without a name.
    for x in [
        [0, 0, 0, 5, 0, 0, 0],
        [0, 0, name, 5, 0, 0, 0],
        [0, name, 0, 5, 0, 0, 1],
    ] {
        assert_eq!(decode(pool::SetParams::NUMBER, x), Err(Errno::Invalid));
    }
    assert!(decode(pool::SetParams::NUMBER, [0, name, 0, 5, 0, 0, 0]).is_ok());
    // Pools in plans.
    for (word, wanted) in [
        (1, Errno::Invalid),
        (3 << 32, Errno::Invalid),
        (1 << 32 | MAX_POOLS as u64, Errno::NoSuch),
    ] {
        assert_eq!(
            decode(plan::DestroyPool::NUMBER, [word, 0, 0, 0, 0, 0, 0]),
            Err(wanted)
        );
    }
    for (x, wanted) in [
        ([0, 1, 1 << 32, 0], Errno::Invalid),
        ([0, 3, 0, 0], Errno::Invalid),
        ([0, 0, 5, 0], Errno::Invalid),
        ([0, 1, 5, 5], Errno::Invalid),
        ([MAX_POOLS as u64, 0, 0, 0], Errno::NoSuch),
    ] {
        let answer = decode(pool::SetMemory::NUMBER, [x[0], x[1], x[2], x[3], 0, 0, 0]);
        assert_eq!(answer, Err(wanted), "{x:?}");
    }
    assert_eq!(
        decode(system::CpuRun::NUMBER, [0, 15, 0, 0, 0, 0, 0]),
        Err(Errno::Invalid)
    );
    assert_eq!(
        decode(system::CpuRun::NUMBER, [128, 0, 0, 0, 0, 0, 0]),
        Err(Errno::NoSuch)
    );
    // The pool itself has no generation; a pool beyond the table is none.
    for bad in [1 << 16, (MAX_POOLS as u64) << 32 | 1, u64::MAX] {
        assert_eq!(
            decode(group::Name::NUMBER, [bad, 0, 0, 0, 0, 0, 0]),
            Err(Errno::NoSuch)
        );
    }
}
