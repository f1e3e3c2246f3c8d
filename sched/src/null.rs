//! null: one vCPU per CPU, nothing to decide. For pools that partition.
//!
//! A vCPU gets a CPU of its affinity when it is inserted and has one, asleep or not, until it leaves; more vCPUs than CPUs
//! wait in line for a CPU to become free. As many have one as the affinities allow: who has one makes room for somebody
//! who can use no other, if there is another for itself. Where not all can have one, who came first has: a place is
//! lost with its CPU or its affinity to the last comer only. So who has none follows from who is here, in which order they
//! came, what they may use and which CPUs there are, and not from the order of the changes that led there. No timer is
//! ever needed, so WFI can be native. Operations on a vCPU that has its CPU are O(1).

use crate::cpus::Cpus;
use crate::error::SchedError;
use crate::fifo::{Fifo, Link, Links};
use crate::params::{SchedParams, VcpuParams};
use crate::scheduler::{Ent, GuestHint, Kick, Pick, Scheduler, Stats, Tag, Totals, WakeReason};
use crate::slab::Slab;
use tarn_abi::{CpuId, CpuSet, Instant, MAX_CPUS, Span};

struct Row {
    tag: Tag,
    link: Link,
    mask: CpuSet,
    /// Where it gets its CPU if one is free there.
    soft: CpuSet,
    inserted: bool,
    runnable: bool,
    /// When it came: the number of its `insert`.
    came: u64,
    /// Its CPU.
    home: Option<CpuId>,
    on: Option<CpuId>,
    runtime: Span,
}

impl Links for Slab<Row> {
    fn link(&mut self, e: Ent) -> &mut Link {
        &mut self[e].link
    }
}

#[derive(Default)]
struct Pcpu {
    owner: Option<Ent>,
    curr: Option<Ent>,
    running: bool,
    counted: Instant,
}

/// An instance.
pub(crate) struct Null {
    rows: Slab<Row>,
    cpus: Cpus<Pcpu>,
    /// CPUs without an owner.
    vacant: CpuSet,
    /// vCPUs without a CPU, in the order in which they came.
    line: Fifo,
    /// How many have ever come.
    comers: u64,
    totals: Totals,
}

impl Null {
    pub(crate) fn new(_: &SchedParams) -> Self {
        Null {
            rows: Slab::new(),
            cpus: Cpus::new(),
            vacant: CpuSet::EMPTY,
            line: Fifo::default(),
            comers: 0,
            totals: Totals::default(),
        }
    }

    /// Who must come by for `e` to run: its CPU; but if another one still holds it, as of one that dozed where it has its
    /// CPU no longer, then that one, to let go of it. (`context_saved` calls the right one.)
    fn call(&self, e: Ent) -> Kick {
        let r = &self.rows[e];
        match r.home {
            Some(home) if r.runnable => Kick::one(r.on.unwrap_or(home)),
            _ => Kick::NONE,
        }
    }

    /// `e`, without a CPU, gets its place in the line.
    fn queue(&mut self, e: Ent) {
        let came = self.rows[e].came;
        self.line
            .push_behind(&mut self.rows, e, |rows, other| rows[other].came < came);
    }

    /// Takes its CPU from `e`.
    fn unsettle(&mut self, e: Ent) -> Kick {
        let Some(c) = self.rows[e].home.take() else {
            return Kick::NONE;
        };
        self.cpus[c].owner = None;
        self.vacant.insert(c);
        Kick::one(c)
    }

    /// Whose CPU is no longer one that it may have goes back into the line; all in the line are looked after.
    fn rehome(&mut self) -> Kick {
        let mut kick = Kick::NONE;
        for e in (0..self.rows.len() as u32).map(Ent) {
            let Some(r) = self.rows.get(e) else { continue };
            let allowed = self.cpus.effective(&r.mask);
            if r.home.is_some_and(|c| !allowed.contains(c)) {
                kick = kick.and(self.unsettle(e));
                self.queue(e);
            }
        }
        kick.and(self.fill())
    }

    /// Everybody in the line, the first first, gets a CPU if there is a way.
    fn fill(&mut self) -> Kick {
        let mut kick = Kick::NONE;
        // From these CPUs nobody can go elsewhere, and who has them came before all who are still to be looked at.
        let mut dead = CpuSet::EMPTY;
        let mut at = self.line.head();
        while let Some(e) = at {
            at = self.rows[e].link.next();
            let Some((k, out)) = self.serve(e, &mut dead) else {
                continue;
            };
            kick = kick.and(k);
            // Who has lost his CPU came later than `e`, and may be the next in the line.
            if let Some(out) = out
                && at.is_none_or(|at| self.rows[out].came < self.rows[at].came)
            {
                at = Some(out);
            }
        }
        kick
    }

    /// Looks for a way to a CPU for `e`, which is in the line: one that is vacant, or whose owner can go on to another, and
    /// so on; or else that of the last comer among those who could make room, if he came after `e`: he is the second part of
    /// the answer. Touches each CPU once at most.
    fn serve(&mut self, e: Ent, dead: &mut CpuSet) -> Option<(Kick, Option<Ent>)> {
        let mut by = [e; MAX_CPUS];
        let (mut seen, mut open) = (*dead, CpuSet::EMPTY);
        let (mut who, mut last) = (e, (self.rows[e].came, None));
        loop {
            let new = self.cpus.effective(&self.rows[who].mask);
            let new = new.difference(&seen);
            let free = new.intersection(&self.vacant);
            let near = free.intersection(&self.rows[who].soft).lowest();
            if let Some(c) = near.or(free.lowest()) {
                by[c.index()] = who;
                return Some((self.shift(e, c, &by), None));
            }
            for c in new.iter() {
                by[c.index()] = who;
                if let Some(owner) = self.cpus[c].owner
                    && self.rows[owner].came > last.0
                {
                    last = (self.rows[owner].came, Some((c, owner)));
                }
            }
            seen = seen.union(&new);
            open = open.union(&new);
            let Some(c) = open.lowest() else { break };
            open.remove(c);
            let Some(owner) = self.cpus[c].owner else {
                continue;
            };
            who = owner;
        }
        let Some((c, out)) = last.1 else {
            *dead = seen;
            return None;
        };
        let kick = self.shift(e, c, &by);
        self.rows[out].home = None;
        self.queue(out);
        Some((kick, Some(out)))
    }

    /// `e` gets a CPU: `by[c]` takes `c`, the CPU that he had goes to the one it is noted for, and so on until `e` has one.
    /// A CPU that holds somebody whose CPU it was is called to let go of him.
    fn shift(&mut self, e: Ent, mut c: CpuId, by: &[Ent; MAX_CPUS]) -> Kick {
        self.line.remove(&mut self.rows, e);
        self.vacant.remove(c);
        let mut kick = Kick::NONE;
        loop {
            let who = by[c.index()];
            let held = self.cpus[c].owner.replace(who);
            if held.is_some_and(|o| self.rows[o].on == Some(c)) {
                kick = kick.and(Kick::one(c));
            }
            let left = self.rows[who].home.replace(c);
            kick = kick.and(self.call(who));
            match left {
                Some(left) if who != e => c = left,
                _ => return kick,
            }
        }
    }
}

impl Scheduler for Null {
    fn alloc_pcpu(&mut self, cpu: CpuId) -> Result<(), SchedError> {
        self.cpus.alloc(cpu)
    }

    fn switch_sched(&mut self, cpu: CpuId, _now: Instant) -> Kick {
        self.cpus.join(cpu);
        self.vacant.insert(cpu);
        self.rehome().and(Kick::one(cpu))
    }

    fn free_pcpu(&mut self, cpu: CpuId, _now: Instant) -> Kick {
        let owner = self.cpus[cpu].owner.take();
        self.vacant.remove(cpu);
        self.cpus.leave(cpu);
        if let Some(e) = owner {
            self.rows[e].home = None;
            self.queue(e);
        }
        self.rehome()
    }

    fn alloc_vcpu(&mut self, tag: Tag, p: &VcpuParams) -> Result<Ent, SchedError> {
        p.check()?;
        self.rows.alloc(Row {
            tag,
            link: Link::default(),
            mask: p.affinity,
            soft: p.soft,
            inserted: false,
            runnable: false,
            came: 0,
            home: None,
            on: None,
            runtime: Span::ZERO,
        })
    }

    fn free_vcpu(&mut self, e: Ent) {
        self.rows.free(e);
    }

    fn insert(&mut self, e: Ent, runnable: bool, _now: Instant) -> Kick {
        let r = &mut self.rows[e];
        r.inserted = true;
        r.runnable = runnable;
        r.came = self.comers;
        self.comers += 1;
        self.queue(e);
        // Nobody has to go for who comes last.
        let mut dead = CpuSet::EMPTY;
        self.serve(e, &mut dead)
            .map_or(Kick::NONE, |(kick, _)| kick)
    }

    fn remove(&mut self, e: Ent, _now: Instant) -> Kick {
        let r = &mut self.rows[e];
        r.inserted = false;
        r.runnable = false;
        self.line.remove(&mut self.rows, e);
        let left = self.unsettle(e);
        left.and(self.fill())
    }

    fn adjust_vcpu(&mut self, e: Ent, p: &VcpuParams, _now: Instant) -> Result<Kick, SchedError> {
        p.check()?;
        (self.rows[e].mask, self.rows[e].soft) = (p.affinity, p.soft);
        if !self.rows[e].inserted {
            return Ok(Kick::NONE);
        }
        let allowed = self.cpus.effective(&p.affinity);
        let mut kick = Kick::NONE;
        let better = self.vacant.intersection(&allowed).intersection(&p.soft);
        let fine = |c| allowed.contains(c) && (p.soft.contains(c) || better.is_empty());
        if self.rows[e].home.is_some_and(|c| !fine(c)) {
            kick = self.unsettle(e);
            self.queue(e);
        }
        // Who may go elsewhere now can make room.
        Ok(kick.and(self.fill()))
    }

    fn adjust(&mut self, p: &SchedParams, _now: Instant) -> Result<(), SchedError> {
        p.check()
    }

    fn sleep(&mut self, e: Ent, _now: Instant) {
        self.rows[e].runnable = false;
    }

    fn wake(&mut self, e: Ent, _why: WakeReason, _now: Instant) -> Kick {
        let r = &mut self.rows[e];
        if r.runnable || !r.inserted {
            return Kick::NONE;
        }
        r.runnable = true;
        self.call(e)
    }

    fn yield_now(&mut self, _e: Ent, _now: Instant) {}

    fn pick_next(&mut self, cpu: CpuId, hint: GuestHint, now: Instant) -> Pick {
        let p = &mut self.cpus[cpu];
        let counted = core::mem::replace(&mut p.counted, now);
        let (curr, ran) = (p.curr, core::mem::replace(&mut p.running, false));
        if let (Some(c), true) = (curr, ran) {
            self.rows[c].runtime += now.since(counted);
        }
        let next = self.cpus[cpu].owner.filter(|&e| {
            let r = &self.rows[e];
            r.runnable && !hint.must_idle && r.on.is_none_or(|c| c == cpu)
        });
        if let Some(n) = next {
            self.totals.switches += u64::from(curr != next || !ran);
            self.rows[n].on = Some(cpu);
            let p = &mut self.cpus[cpu];
            p.curr = next;
            p.running = true;
        }
        Pick {
            next: next.map(|n| self.rows[n].tag),
            until: None,
            kick: Kick::NONE,
            news: None,
            boosted: false,
        }
    }

    fn context_saved(&mut self, e: Ent, _now: Instant) -> Kick {
        if let Some(c) = self.rows[e].on.take()
            && self.cpus[c].curr == Some(e)
        {
            self.cpus[c].curr = None;
        }
        self.call(e)
    }

    fn has_work(&self, cpu: CpuId, _now: Instant) -> bool {
        self.cpus[cpu]
            .owner
            .is_some_and(|e| self.rows[e].runnable && self.rows[e].on.is_none())
    }

    fn serves(&self, e: Ent, _now: Instant) -> bool {
        self.rows[e].home.is_some()
    }

    fn is_stranded(&self, e: Ent) -> bool {
        self.rows[e].inserted && self.rows[e].home.is_none()
    }

    fn came(&self, e: Ent) -> u64 {
        self.rows[e].came
    }

    fn stats(&self, e: Ent) -> Stats {
        Stats {
            runtime: self.rows[e].runtime,
            ..Stats::default()
        }
    }

    fn totals(&self) -> Totals {
        self.totals
    }

    fn check(&self) -> Result<(), &'static str> {
        for (e, r) in self.rows.iter().filter(|(_, r)| r.inserted) {
            if r.home.is_some() == r.link.is_queued() {
                return Err("a vCPU has both a CPU and a place in line, or neither");
            }
            if r.home.is_some_and(|c| self.cpus[c].owner != Some(e)) {
                return Err("a vCPU's CPU belongs to another");
            }
            if r.home
                .is_some_and(|c| !self.cpus.effective(&r.mask).contains(c))
            {
                return Err("a vCPU has a CPU that it may not have");
            }
        }
        for c in self.cpus.members().iter() {
            if self.vacant.contains(c) == self.cpus[c].owner.is_some() {
                return Err("a CPU is both vacant and somebody's, or neither");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const HINT: GuestHint = GuestHint {
        irqs_masked: false,
        dont_desched: false,
        enlightened: false,
        must_idle: false,
    };

    /// A sleeper gets another CPU while the old one still holds its registers: who wakes it must call the holder, since
    /// the new CPU may not have it before they are in memory.
    #[test]
    fn a_dozing_vcpu_whose_cpu_was_changed_wakes() {
        let (c0, c1, now) = (CpuId(0), CpuId(1), Instant(0));
        let on = |c| VcpuParams {
            affinity: CpuSet::one(c),
            ..VcpuParams::DEFAULT
        };
        // The other CPU is free, or becomes free only after the sleeper has woken.
        for free in [true, false] {
            let mut s = Null::new(&SchedParams::DEFAULT);
            for c in [c0, c1] {
                s.alloc_pcpu(c).unwrap();
                let _ = s.switch_sched(c, now);
            }
            let e = s.alloc_vcpu(Tag(1), &on(c0)).unwrap();
            let other = s.alloc_vcpu(Tag(2), &on(c1)).unwrap();
            if !free {
                let _ = s.insert(other, false, now);
            }
            let _ = s.insert(e, true, now);
            assert_eq!(s.pick_next(c0, HINT, now).next, Some(Tag(1)));
            s.sleep(e, now);
            assert_eq!(s.pick_next(c0, HINT, now).next, None);
            let _ = s.adjust_vcpu(e, &on(c1), now).unwrap();
            assert_eq!(s.pick_next(c0, HINT, now).next, None);
            let mut kick = s.wake(e, WakeReason::Timer, now);
            if !free {
                assert_eq!(kick, Kick::NONE, "there is no CPU for it yet");
                kick = s.remove(other, now);
            }
            assert!(kick.0.contains(c0), "{kick:?}");
            assert_eq!(s.pick_next(c0, HINT, now).next, None);
            assert_eq!(s.context_saved(e, now), Kick::one(c1));
            assert_eq!(s.pick_next(c1, HINT, now).next, Some(Tag(1)));
        }
    }

    fn pinned(mask: u64) -> VcpuParams {
        VcpuParams {
            affinity: (0..6).filter(|i| mask >> i & 1 != 0).map(CpuId).collect(),
            ..VcpuParams::DEFAULT
        }
    }

    /// Who has one makes room where he can, and only there; who comes later goes first where not all can have one.
    #[test]
    fn room_is_made_and_the_last_comer_waits() {
        let now = Instant(0);
        let mut s = Null::new(&SchedParams::DEFAULT);
        for c in [CpuId(0), CpuId(1)] {
            s.alloc_pcpu(c).unwrap();
            let _ = s.switch_sched(c, now);
        }
        let anywhere = s.alloc_vcpu(Tag(1), &VcpuParams::DEFAULT).unwrap();
        let here = s.alloc_vcpu(Tag(2), &pinned(1)).unwrap();
        let _ = s.insert(anywhere, true, now);
        assert_eq!(s.pick_next(CpuId(0), HINT, now).next, Some(Tag(1)));
        // Asleep, it disturbs nobody, but that CPU has to let go of who goes on to the other.
        assert_eq!(s.insert(here, false, now), Kick::one(CpuId(0)));
        assert!(s.serves(anywhere, now) && s.serves(here, now));
        assert_eq!(s.pick_next(CpuId(0), HINT, now).next, None);
        assert_eq!(s.context_saved(anywhere, now), Kick::one(CpuId(1)));
        // One CPU for both.
        let _ = s.free_pcpu(CpuId(1), now);
        assert!(s.serves(anywhere, now) && s.is_stranded(here));
        let _ = s.switch_sched(CpuId(1), now);
        assert!(s.serves(anywhere, now) && s.serves(here, now));
        let third = s.alloc_vcpu(Tag(3), &VcpuParams::DEFAULT).unwrap();
        assert!(s.insert(third, true, now).is_none() && s.is_stranded(third));
        // The first comer loses his place by his affinity: the last who could make room does.
        let _ = s.adjust_vcpu(anywhere, &pinned(1), now).unwrap();
        assert!(s.serves(anywhere, now) && s.is_stranded(here) && s.serves(third, now));
        s.check().unwrap();
    }

    /// After any history, who has a CPU is who would have one if all who are here came in the order in which they did, each
    /// taken if all before him that were can keep one, too.
    #[test]
    fn who_is_served_follows_from_what_is_there() {
        /// Whether all of them can have a CPU of their own, found by trying.
        fn fits(masks: &[CpuSet], free: CpuSet) -> bool {
            let Some((first, rest)) = masks.split_first() else {
                return true;
            };
            first.intersection(&free).iter().any(|c| {
                let mut left = free;
                left.remove(c);
                fits(rest, left)
            })
        }
        let now = Instant(0);
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut dice = move |n: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % n
        };
        let (mut waited, mut all) = (0, 0);
        for _ in 0..300 {
            let mut s = Null::new(&SchedParams::DEFAULT);
            let mut here: Vec<(Ent, CpuSet)> = Vec::new();
            for c in 0..6 {
                s.alloc_pcpu(CpuId(c)).unwrap();
            }
            for n in 0..60 {
                // One CPU or any, or none of ours.
                let mask = pinned(match dice(3) {
                    0 => 1 << dice(6),
                    1 => 1 << dice(6) | 1 << dice(6),
                    _ => 1 + dice(63),
                });
                let cpu = CpuId(dice(6) as u16);
                match dice(6) {
                    0 | 1 if s.cpus.members().contains(cpu) => {
                        let _ = s.free_pcpu(cpu, now);
                    }
                    0 | 1 => {
                        let _ = s.switch_sched(cpu, now);
                    }
                    2 | 3 if here.len() < 7 => {
                        let e = s.alloc_vcpu(Tag(n), &mask).unwrap();
                        let _ = s.insert(e, dice(2) == 0, now);
                        here.push((e, mask.affinity));
                    }
                    4 if !here.is_empty() => {
                        let (e, _) = here.remove(dice(here.len() as u64) as usize);
                        let _ = s.remove(e, now);
                        s.free_vcpu(e);
                    }
                    _ if !here.is_empty() => {
                        let at = dice(here.len() as u64) as usize;
                        here[at].1 = mask.affinity;
                        let _ = s.adjust_vcpu(here[at].0, &mask, now).unwrap();
                    }
                    _ => {}
                }
                s.check().unwrap();
                let mut served = Vec::new();
                for (e, mask) in &here {
                    served.push(s.cpus.effective(mask));
                    let fits = fits(&served, s.cpus.members());
                    if !fits {
                        served.pop();
                    }
                    assert_eq!(s.is_stranded(*e), !fits, "{here:?} {e:?}");
                    waited += u32::from(!fits);
                    all += 1;
                }
            }
        }
        assert!(
            waited * 4 > all && waited * 4 < all * 3,
            "{waited} of {all}"
        );
    }

    /// A CPU of the soft affinity is taken where one is free, another otherwise, and a better one that is free when the
    /// preference changes.
    #[test]
    fn a_preferred_cpu_is_taken_where_free() {
        let now = Instant(0);
        let mut s = Null::new(&SchedParams::DEFAULT);
        for c in (0..4).map(CpuId) {
            s.alloc_pcpu(c).unwrap();
            let _ = s.switch_sched(c, now);
        }
        let soft = |list: &str| VcpuParams {
            soft: CpuSet::parse(list).unwrap(),
            ..VcpuParams::DEFAULT
        };
        let list: [Ent; 3] = ["2-3", "2", "2"].map(|l| {
            let e = s.alloc_vcpu(Tag(0), &soft(l)).unwrap();
            let _ = s.insert(e, true, now);
            e
        });
        let homes = |s: &Null| list.map(|e| s.rows[e].home.map(|c| c.0));
        assert_eq!(homes(&s), [Some(2), Some(0), Some(1)]);
        let kick = s.adjust_vcpu(list[1], &soft("3"), now).unwrap();
        assert!(kick.0.contains(CpuId(3)) && kick.0.contains(CpuId(0)));
        assert_eq!(homes(&s), [Some(2), Some(3), Some(1)]);
        let none = s.adjust_vcpu(list[2], &soft("3"), now).unwrap();
        assert_eq!((none, homes(&s)[2]), (Kick::NONE, Some(1)));
        s.check().unwrap();
    }
}
