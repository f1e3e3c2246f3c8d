//! A decision: the root's first, then each group's on the way down; and what follows for those whose branch is left.
//!
//! Iterative, at most `DEPTH` levels and one way back for each processor that turns out to have no work.

use super::*;

impl Tree {
    /// Decides for `cpu`: the root first, then the groups on the way down.
    #[inline]
    pub fn pick_next(&mut self, cpu: CpuId, hint: GuestHint, now: Instant) -> Pick {
        if self.groups == 0 {
            return self.root.pick_next(cpu, hint, now);
        }
        self.descend(cpu, hint, now)
    }

    fn descend(&mut self, cpu: CpuId, hint: GuestHint, now: Instant) -> Pick {
        let mut kick = self.ask_due(now);
        // It is here already.
        kick.0.remove(cpu);
        let (mut news, mut boosted) = (None, false);
        let loaded = self.paths[cpu.index()].loaded;
        let mut path = Path::default();
        let mut untils: [Option<Instant>; DEPTH + 1] = [None; DEPTH + 1];
        let (mut node, mut local) = (0u16, cpu);
        let next = loop {
            let level = usize::from(path.len);
            let same = loaded.common(&path) == level;
            let outside = GuestHint {
                must_idle: hint.must_idle && node == 0,
                ..GuestHint::default()
            };
            let pick = self
                .sched(node)
                .pick_next(local, if same { hint } else { outside }, now);
            untils[level] = pick.until;
            // A virtual processor is nobody an operator knows.
            news = news.or(pick.news.filter(|(tag, _)| tag.0 & VP == 0));
            kick = kick.and(self.translate(node, pick.kick, None, now));
            match pick.next {
                Some(t) if t.0 & VP == 0 => {
                    let goes_on =
                        self.paths[cpu.index()].last == Some(t) && loaded.steps() == path.steps();
                    let claims = goes_on && (hint.dont_desched || hint.irqs_masked);
                    kick = kick.and(self.arrived(&path, claims, now));
                    boosted = pick.boosted;
                    break Some(t);
                }
                Some(t) => {
                    let step = ((t.0 >> 8) as u16 & 0x7fff, t.0 as u16 & 0xff);
                    path.push(step);
                    self.group(step.0).vps[usize::from(step.1)].cpu = Some(cpu);
                    (node, local) = (step.0, CpuId(step.1));
                }
                None => {
                    let Some((g, i)) = path.pop() else { break None };
                    // The group has no work for this processor: it sleeps, and its parent decides again.
                    let held = loaded.steps().get(usize::from(path.len)) == Some(&(g, i))
                        && loaded.common(&path) == usize::from(path.len);
                    self.wants(g);
                    let group = self.group(g);
                    let parent = group.parent;
                    let vp = &mut group.vps[usize::from(i)];
                    vp.live = false;
                    vp.runnable = false;
                    let ent = vp.ent;
                    if !held {
                        vp.cpu = None;
                    }
                    self.sched(parent).sleep(ent, now);
                    if !held {
                        let k = self.sched(parent).context_saved(ent, now);
                        kick = kick.and(self.translate(parent, k, None, now));
                    }
                    node = parent;
                    local = path.steps().last().map_or(cpu, |s| CpuId(s.1));
                }
            }
        };
        // Whoever was running down a branch that is left stops there.
        for &(g, i) in loaded.steps().iter().skip(loaded.common(&path)) {
            if core::mem::replace(&mut self.group(g).vps[usize::from(i)].live, false) {
                let stop = GuestHint {
                    must_idle: true,
                    ..GuestHint::default()
                };
                let stopped = self.sched(g).pick_next(CpuId(i), stop, now);
                kick = kick.and(self.translate(g, stopped.kick, None, now));
                // Its timer may have been the only one for somebody's next period there.
                self.wants(g);
            }
        }
        let p = &mut self.paths[cpu.index()];
        p.chosen = path;
        p.last = next;
        if p.loaded.len == 0 {
            p.loaded = path;
        }
        // This CPU's timer covers what the groups want.
        self.unarmed = false;
        let levels = usize::from(path.len) + 1;
        let until = untils[..levels]
            .iter()
            .flatten()
            .copied()
            .chain(self.due())
            .min();
        Pick {
            next,
            until,
            kick,
            news,
            boosted,
        }
    }

    /// Whether nobody can run where `cpu`, for which nobody was chosen, keeps the registers that it holds. Not so if a
    /// processor on the way to them has made room for one that turned out to have no work: it is chosen again only when they
    /// are saved.
    #[inline]
    pub fn may_keep(&mut self, cpu: CpuId) -> bool {
        if self.groups == 0 {
            return true;
        }
        let path = self.paths[cpu.index()].loaded;
        let mut steps = path.steps().iter();
        !steps.any(|&(g, i)| self.group(g).vps[usize::from(i)].runnable)
    }

    /// Every processor on the path has something to run. Others of those groups may have lost theirs to it, and a
    /// processor must not go on in front of others for a boost that nobody below it has. `claims`: the vCPU goes on and
    /// its guest itself asks to be left alone, for which a processor may have been boosted in this very decision.
    fn arrived(&mut self, path: &Path, claims: bool, now: Instant) -> Kick {
        let mut kick = Kick::NONE;
        for &(g, i) in path.steps().iter().rev() {
            self.group(g).vps[usize::from(i)].live = true;
            if self.sweep(g, now) {
                // (Who stood in for one of those may just have taken somebody that was its own.)
                kick = kick.and(self.stand_in(g, now).unwrap_or(Kick::NONE));
            }
            // This CPU has a timer for what is due there.
            self.dues.clear(g);
            let group = self.group(g);
            let (parent, ent) = (group.parent, group.vps[usize::from(i)].ent);
            if self.sched(g).urgent(CpuId(i)) {
                kick = kick.and(self.calm(g, now));
            } else if !claims
                && self.sched(parent).is_boosted(ent)
                && !self.sched(g).boosted_first(CpuId(i))
            {
                // (Who is boosted and comes next there is carried by it.)
                let k = self.sched(parent).deboost(ent, DeboostCause::Asked, now);
                kick = kick.and(self.translate(parent, k, None, now));
            }
        }
        kick
    }

    /// Somebody boosted has got a processor of the group. If nobody boosted is left waiting in it, no other processor has
    /// a reason to go in front of others any more: it would take the place of the very one that it was boosted for.
    fn calm(&mut self, node: u16, now: Instant) -> Kick {
        let mut kick = Kick::NONE;
        if self.sched(node).boosted_wait() {
            return kick;
        }
        for i in 0..self.group(node).vps.len() {
            let group = self.group(node);
            let (parent, vp) = (group.parent, &group.vps[i]);
            let (waits, ent) = (vp.runnable && vp.cpu.is_none(), vp.ent);
            if waits && self.sched(parent).is_boosted(ent) {
                let k = self.sched(parent).deboost(ent, DeboostCause::Asked, now);
                kick = kick.and(self.translate(parent, k, None, now));
            }
        }
        kick
    }

    /// Processors of a group that wait in the parent though the group has nothing for them go to sleep. Whether others are
    /// left, and the parent lets none of them run for now.
    pub(super) fn sweep(&mut self, node: u16, now: Instant) -> bool {
        let (mut left, mut comes) = (false, false);
        for i in 0..self.group(node).vps.len() {
            let group = self.group(node);
            let (parent, vp) = (group.parent, &mut group.vps[i]);
            if !vp.runnable || vp.cpu.is_some() {
                continue;
            }
            let ent = vp.ent;
            let cpu = CpuId(i as u16);
            if self.sched(node).has_work(cpu, now) {
                left = true;
                comes |= self.sched(parent).serves(ent, now);
                continue;
            }
            // Its scheduler learns that it is idle: it calls it when there is work again.
            let pick = self.sched(node).pick_next(cpu, GuestHint::default(), now);
            debug_assert!(pick.next.is_none(), "there was no work for it");
            self.wants(node);
            let vp = &mut self.group(node).vps[i];
            vp.runnable = false;
            self.sched(parent).sleep(ent, now);
        }
        left && !comes
    }

    /// What was due in groups by now happens there.
    fn ask_due(&mut self, now: Instant) -> Kick {
        let mut kick = Kick::NONE;
        while let Some((i, _)) = self.dues.first().filter(|(_, t)| *t <= now) {
            self.dues.clear(i);
            let k = self.sched(i).elapse(now);
            kick = kick.and(self.translate(i, k, None, now));
            self.wants(i);
        }
        kick
    }

    /// The registers of `l`, which were in `cpu`, are in memory. Leaves the branch it was on.
    #[inline]
    pub fn context_saved(&mut self, l: Leaf, cpu: CpuId, now: Instant) -> Kick {
        if self.groups == 0 {
            return self.root.context_saved(l.ent, now);
        }
        let Paths { loaded, chosen, .. } = self.paths[cpu.index()];
        let left = loaded.common(&chosen);
        // First, so that a group that calls one of these processors does not call this CPU, which has just left it.
        for &(g, i) in &loaded.steps()[left..] {
            self.group(g).vps[usize::from(i)].cpu = None;
        }
        let k = self.sched(l.node.0).context_saved(l.ent, now);
        let mut kick = self.carried(l, k, false, now);
        for &(g, i) in loaded.steps()[left..].iter().rev() {
            let group = self.group(g);
            let (parent, ent) = (group.parent, group.vps[usize::from(i)].ent);
            let k = self.sched(parent).context_saved(ent, now);
            kick = kick.and(self.translate(parent, k, None, now));
        }
        self.paths[cpu.index()].loaded = chosen;
        self.armed(kick)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::RtParams;
    use crate::registry;

    const C0: CpuId = CpuId(0);

    fn t(us: u64) -> Instant {
        Instant(us * 1000)
    }

    fn instance(name: &str) -> Box<dyn Scheduler> {
        registry::build(registry::by_name(name).unwrap(), &SchedParams::DEFAULT).unwrap()
    }

    /// The last who could run in a group is paused while its processor waits: who has spent his budget there goes on when
    /// his next period begins, and until then somebody has a timer for that.
    #[test]
    fn a_pause_does_not_take_the_next_period_away() {
        let mut tree = Tree::new(instance("rr"));
        tree.alloc_pcpu(C0).unwrap();
        let _ = tree.switch_sched(C0, t(0));
        let p = |budget| VcpuParams {
            rt: RtParams {
                period: Span::ms(10),
                budget: Span::ms(budget),
            },
            ..VcpuParams::DEFAULT
        };
        let (hint, rtds) = (GuestHint::default(), instance("rtds"));
        let group = tree.add_group(NodeId::ROOT, rtds, 1, &p(1), t(0)).unwrap();
        let spent = tree.alloc_vcpu(group, Tag(1), &p(1)).unwrap();
        let other = tree.alloc_vcpu(group, Tag(2), &p(8)).unwrap();
        let hog = tree.alloc_vcpu(NodeId::ROOT, Tag(3), &p(1)).unwrap();
        let _ = tree.insert(spent, true, t(0));
        assert_eq!(tree.pick_next(C0, hint, t(0)).next, Some(Tag(1)));
        let _ = tree.insert(other, true, t(0));
        assert_eq!(tree.pick_next(C0, hint, t(1001)).next, Some(Tag(2)));
        let _ = tree.context_saved(spent, C0, t(1002));
        // The hog's turn: the group's processor waits, with `other` in it.
        let _ = tree.insert(hog, true, t(1003));
        tree.yield_now(other, Some(C0), t(1500));
        let pick = tree.pick_next(C0, hint, t(1500));
        assert_eq!((pick.next, pick.until), (Some(Tag(3)), Some(t(10_000))));
        let _ = tree.context_saved(other, C0, t(1501));
        tree.sleep(other, t(2000));
        let pick = tree.pick_next(C0, hint, t(2001));
        assert_eq!((pick.next, pick.until), (Some(Tag(3)), Some(t(10_000))));
        assert!(!tree.unarmed());
        tree.sleep(hog, t(10_000));
        assert_eq!(tree.pick_next(C0, hint, t(10_001)).next, Some(Tag(1)));
    }
}
