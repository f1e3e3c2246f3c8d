//! The scheduler of a running pool becomes another one.
//!
//! All domains of the pool are stopped, their registers saved; then every CPU leaves the pool, idle and by its own hand, as
//! it would for good; when the last has left, the new scheduler, prepared long before, takes the place of the old one; the
//! CPUs come back, and the domains go on. Nothing here can be refused. Neighbours: `change.rs` calls it again until it is
//! finished; `sched::exchange` has the new root.

use crate::change::Change;
use crate::moves::Arrival;
use crate::pool::Pool;
use crate::set::{FREE, PoolSet};
use core::sync::atomic::Ordering;
use spin::RelaxStrategy;
use tarn_abi::call::report::Adjusted;
use tarn_abi::{CpuSet, Instant, Span};
use tarn_sched::{Kick, NodeId, SchedParams};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Begin,
    /// Registers are being saved.
    Halting,
    /// CPUs are on their way out.
    Leaving,
    /// CPUs are on their way in.
    Joining,
}

/// An exchange under way.
pub(crate) struct Exchange {
    slot: u8,
    params: SchedParams,
    stage: Stage,
    cpus: CpuSet,
    since: Instant,
    /// Somebody wanted to run when the pool was halted.
    wanted: bool,
}

impl Exchange {
    /// Of the pool in that slot; its new scheduler has been prepared with these parameters.
    pub(crate) const fn new(slot: u8, params: SchedParams) -> Exchange {
        Exchange {
            slot,
            params,
            stage: Stage::Begin,
            cpus: CpuSet::EMPTY,
            since: Instant(0),
            wanted: false,
        }
    }

    /// The pool's slot.
    pub(crate) const fn slot(&self) -> u8 {
        self.slot
    }
}

/// Stops all domains of a pool, or lets them go on.
fn halt(p: &mut Pool, on: bool, now: Instant) -> Kick {
    let mut kick = Kick::NONE;
    for dom in 0..p.doms.len() as u16 {
        if p.doms.get(dom).is_some() {
            p.doms.at(dom).halted = on;
            kick = kick.and(p.restate(dom, now));
        }
    }
    kick
}

impl Pool {
    /// What has been counted under the scheduler that goes stays with the vCPUs and groups that were in it.
    fn keep_root_stats(&mut self) {
        for row in 0..self.rows.len() as u16 {
            let root = self
                .rows
                .get(row)
                .is_some_and(|r| r.ent.node == NodeId::ROOT);
            if root {
                self.keep_stats(row);
            }
        }
        for node in 1..self.groups.len() as u16 {
            let shape = self.sched().shape(NodeId(node));
            if let Some(shape) = shape.filter(|s| s.parent == NodeId::ROOT)
                && let Some(Some(g)) = self.groups.get_mut(usize::from(node))
            {
                g.past.add(&shape.stats);
                (g.past.credit, g.past.boost_credit) = (0, 0);
            }
        }
    }
}

impl<R: RelaxStrategy> PoolSet<R> {
    /// Does what can be done now; true when all is done.
    pub(crate) fn exchange(&self, x: &mut Exchange, c: &mut Change, now: Instant) -> (Kick, bool) {
        let mut kick = Kick::NONE;
        loop {
            let Some(mut guard) = self.lock_slot(usize::from(x.slot)) else {
                return (kick, true);
            };
            let p: &mut Pool = &mut guard;
            let now = p.tick(now);
            match x.stage {
                Stage::Begin => {
                    x.since = now;
                    x.wanted = p.rows.iter().any(crate::row::Row::eligible);
                    kick = kick.and(halt(p, true, now));
                    x.stage = Stage::Halting;
                    c.next_wait();
                }
                Stage::Halting => {
                    let busy = p.busy_cpus();
                    if !busy.is_empty() {
                        return (kick.and(c.call(&busy, now)), false);
                    }
                    x.cpus = p.cpus;
                    p.leaving = p.cpus;
                    for cpu in x.cpus.iter() {
                        self.cpus[cpu.index()].want.store(FREE, Ordering::Release);
                    }
                    x.stage = Stage::Leaving;
                    c.next_wait();
                }
                Stage::Leaving => {
                    if !p.cpus.is_empty() {
                        return (kick.and(c.call(&p.cpus, now)), false);
                    }
                    drop(swap(p, &x.params, now));
                    p.incoming = p.incoming.union(&x.cpus);
                    for cpu in x.cpus.iter() {
                        let word = u16::from(x.slot) + 1;
                        self.cpus[cpu.index()].want.store(word, Ordering::Release);
                    }
                    x.stage = Stage::Joining;
                    c.next_wait();
                }
                Stage::Joining => {
                    let missing = x.cpus.difference(&p.cpus);
                    if !missing.is_empty() {
                        return (kick.and(c.call(&missing, now)), false);
                    }
                    c.next_wait();
                    c.adjusted(unused(p));
                    kick = kick.and(halt(p, false, now));
                    if x.wanted {
                        c.stood(now.since(x.since));
                    } else {
                        c.stood(Span::ZERO);
                    }
                    return (kick, true);
                }
            }
        }
    }
}

/// What has been set of the vCPUs directly in the pool that its scheduler makes no use of.
fn unused(p: &Pool) -> Adjusted {
    let here = Arrival::of(p);
    let rows = p.rows.iter().filter(|r| r.ent.node == NodeId::ROOT);
    let all = rows.fold(Adjusted::NONE, |a, r| a.with(here.adjusts(&r.params)));
    // Affinities mean what they meant before.
    all.without(Adjusted::AFFINITY_VOID.with(Adjusted::AFFINITY_CUT))
}

/// The prepared scheduler takes over; the old one is handed back to be dropped.
fn swap(
    p: &mut Pool,
    params: &SchedParams,
    now: Instant,
) -> Option<alloc::boxed::Box<dyn tarn_sched::Scheduler>> {
    let next = p.next.take()?;
    p.keep_root_stats();
    let old = p.sched.exchange_root(next.root, (next.kind, params), now);
    for row in 0..p.rows.len() as u16 {
        let Some(r) = p.rows.get(row) else { continue };
        if r.ent.node != NodeId::ROOT {
            continue;
        }
        let leaf = next.ents.get(usize::from(row)).copied().flatten();
        if let Some(leaf) = leaf {
            p.rows.at(row).ent = leaf;
            let kick = p.sched.insert(leaf, false, now);
            debug_assert!(kick.is_none(), "everybody sleeps");
        }
    }
    p.kind = next.kind;
    p.params = *params;
    Some(old)
}
