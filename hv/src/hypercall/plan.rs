//! Area 7: transactions. dom0's one plan, filled call by call, checked and carried out as a whole.

use super::{change, pool, why};
use crate::arch::Lock;
use crate::mem::heap;
use crate::run::POOLS;
use crate::{irq, time};
use abi::call::plan::{Committed, PlannedChange, PlannedPool, PoolRef, Verdict};
use abi::call::text::Label;
use abi::call::{PlanCall, Request};
use abi::{Errno, PoolId, Regs};
use pools::{Plan, PoolError, Preview, PreviewPool, Refusal, Step, Target, registry};

/// The plan, and what was found about it.
struct Draft {
    plan: Plan,
    preview: Option<Preview>,
    verdict: Verdict,
}

static DRAFT: Lock<Draft> = Lock::new(Draft {
    plan: Plan::new(),
    preview: None,
    verdict: Verdict {
        steps: 0,
        failed: 0,
        why: 0,
    },
});

/// Carries out a call of this area; `regs` are its registers.
pub fn handle(call: PlanCall, regs: &Regs) -> Regs {
    match call {
        PlanCall::Begin(c) => c.answer(
            change::settled(true)
                .and_then(|()| change::forget_commit())
                .map(|()| {
                    let mut d = DRAFT.lock();
                    let old = (core::mem::take(&mut d.plan), d.preview.take());
                    d.verdict = Verdict {
                        steps: 0,
                        failed: 0,
                        why: 0,
                    };
                    drop(d);
                    drop(old);
                }),
        ),
        PlanCall::CreatePool(c) => c.answer(pool::name(&c.name).and_then(|name| {
            let sched = c.sched.unwrap_or(registry::DEFAULT);
            add(Step::CreatePool { name, sched })
        })),
        PlanCall::DestroyPool(c) => {
            c.answer(target(c.pool).and_then(|t| add(Step::DestroyPool(t))))
        }
        PlanCall::RenamePool(c) => c.answer(
            target(c.pool)
                .and_then(|t| pool::name(&c.name).and_then(|name| add(Step::Rename(t, name)))),
        ),
        PlanCall::AssignCpus(c) => c.answer(match c.to {
            PoolRef::Free => add(Step::Cpus(None, c.cpus)),
            to => target(to).and_then(|t| add(Step::Cpus(Some(t), c.cpus))),
        }),
        PlanCall::MoveDomain(c) => {
            c.answer(target(c.to).and_then(|t| add(Step::MoveDomain(c.domain, t))))
        }
        PlanCall::SetSched(c) => {
            c.answer(target(c.pool).and_then(|t| add(Step::SetSched(t, c.sched))))
        }
        PlanCall::SetPoolParams(c) => c.answer(
            target(c.pool).and_then(|t| add(Step::PoolParams(t, [Some(c.first), c.second]))),
        ),
        PlanCall::SetDomainParams(c) => {
            c.answer(add(Step::DomainParams(c.domain, [Some(c.first), c.second])))
        }
        PlanCall::Check(c) => c.answer(check()),
        PlanCall::Outcome(c) => c.answer(outcome(c.index as usize)),
        PlanCall::Change(c) => c.answer(planned_change(c.index as usize)),
        PlanCall::Commit(c) => c.answer(commit(regs)),
        PlanCall::LastVerdict(c) => c.answer(Ok(DRAFT.lock().verdict)),
        PlanCall::Abort(c) => c.answer(change::abort().map(|()| {
            let old = core::mem::take(&mut DRAFT.lock().plan);
            drop(old);
        })),
    }
}

fn target(p: PoolRef) -> Result<Target, Errno> {
    match p {
        PoolRef::Id(id) => Ok(Target::Id(id)),
        PoolRef::Step(n) => Ok(Target::Step(n)),
        PoolRef::Free => Err(why::said(PoolError::NoSuchPool)),
    }
}

fn add(step: Step) -> Result<u32, Errno> {
    let mut d = DRAFT.lock();
    let n = d.plan.add(step).map_err(why::said)?;
    d.verdict.steps = n + 1;
    Ok(n)
}

/// Notes where a plan failed.
fn failed(v: &mut Verdict, r: Refusal) -> Errno {
    let errno = why::said(r.error);
    v.failed = r.step.saturating_add(1).min(v.steps.max(1));
    v.why = (errno as i64).unsigned_abs() as u32;
    errno
}

fn check() -> Result<Verdict, Errno> {
    change::settled(true)?;
    if !heap::reserve(64 * 1024) {
        return Err(Errno::NoMemory);
    }
    let mut d = DRAFT.lock();
    let d = &mut *d;
    d.verdict.failed = 0;
    d.verdict.why = 0;
    d.preview = None;
    let (kick, seen) = POOLS.preview(&d.plan, time::now());
    irq::send(kick);
    match seen {
        Ok(p) => d.preview = Some(p),
        Err(r) if r.error == PoolError::InFlight => return Err(Errno::Again),
        Err(r) => {
            failed(&mut d.verdict, r);
        }
    }
    Ok(d.verdict)
}

fn commit(regs: &Regs) -> Result<Committed, Errno> {
    let mut d = DRAFT.lock();
    let Draft { plan, verdict, .. } = &mut *d;
    let steps = plan.steps().len() as u32;
    verdict.failed = 0;
    verdict.why = 0;
    let report = change::run(regs, true, plan, |r| failed(verdict, r))?;
    Ok(Committed {
        steps,
        stood_still: report.stood_still,
        adjusted: report.adjusted,
    })
}

fn named(p: &PreviewPool) -> PoolRef {
    let id: Option<PoolId> = p.id;
    id.map_or(PoolRef::Step(p.step), PoolRef::Id)
}

fn outcome(index: usize) -> Result<PlannedPool, Errno> {
    let d = DRAFT.lock();
    let preview = d.preview.as_ref().ok_or(Errno::End)?;
    let p = preview.pools.get(index).ok_or(Errno::End)?;
    Ok(PlannedPool {
        pool: named(p),
        cpus: p.cpus,
        domains: p.domains,
        sched: Label::truncated(registry::row(p.sched).map_or("?", |r| r.name)),
        stranded: p.stranded,
    })
}

fn planned_change(index: usize) -> Result<PlannedChange, Errno> {
    let d = DRAFT.lock();
    let preview = d.preview.as_ref().ok_or(Errno::End)?;
    let m = preview.moves.get(index).ok_or(Errno::End)?;
    let to = preview.pools.get(m.to).ok_or(Errno::Garbled)?;
    Ok(PlannedChange {
        domain: m.domain,
        pool: named(to),
        adjusted: m.adjusted,
    })
}
