//! What a scenario's script does to the running machine.

use super::*;
use tarn_pools::PoolError;

/// What an action sends elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Domain(usize),
    Cpu(u16),
}

impl Engine<'_> {
    pub(super) fn act(&mut self, i: usize) -> Result<(), String> {
        let a = &self.s.script[i];
        let now = self.now();
        let fail = |e: PoolError| format!("at {} ns: action {i}: {e}", now.0);
        let mut again = false;
        let subject = match a.what {
            What::Move(d, _) | What::Regroup(d, _) => Some(Subject::Domain(d)),
            What::Cpu(cpu, _) => Some(Subject::Cpu(cpu)),
            _ => None,
        };
        let goes_on = core::mem::take(&mut self.under_way[i]);
        if goes_on && subject.is_some_and(|x| self.latest.get(&x) != Some(&i)) {
            // A later action has sent it elsewhere.
            if let Some(every) = a.every {
                self.w.push(now.0 + every, Event::Script(i));
            }
            return Ok(());
        }
        let mut waits = false;
        let mut progress = |w: &mut World, p: Progress| match p {
            Progress::Done(k) => {
                w.send(k);
                Ok(())
            }
            Progress::Again(k) => {
                w.send(k);
                again = true;
                Ok(())
            }
            // Another change is under way: this one comes after it.
            Progress::Refused(PoolError::InFlight) => {
                waits = true;
                Ok(())
            }
            Progress::Refused(e) => Err(fail(e)),
        };
        match a.what.clone() {
            What::Weight(d, weight) => {
                for v in (0..self.vcpus.len()).filter(|&v| self.vcpus[v].dom == d) {
                    let id = self.vcpus[v].id;
                    let mut p = self.set.vcpu_info(id, now).map_err(fail)?.params;
                    p.weight = weight;
                    let k = self.set.adjust_vcpu(id, &p, now).map_err(fail)?;
                    self.w.send(k);
                }
            }
            What::Affinity(d, cpus) | What::Soft(d, cpus) => {
                for v in 0..self.vcpus.len() {
                    if self.vcpus[v].dom != d {
                        continue;
                    }
                    let id = self.vcpus[v].id;
                    let mut p = self.set.vcpu_info(id, now).map_err(fail)?.params;
                    if matches!(a.what, What::Soft(..)) {
                        p.soft = cpus;
                        self.vcpus[v].soft = cpus;
                    } else {
                        p.affinity = cpus;
                    }
                    let k = self.set.adjust_vcpu(id, &p, now).map_err(fail)?;
                    self.w.send(k);
                }
            }
            What::Pause(d) => {
                let k = self.set.pause(domain_id(d), now).map_err(fail)?;
                self.paused[d] += 1;
                self.w.send(k);
            }
            What::Unpause(d) => {
                let k = self.set.unpause(domain_id(d), now).map_err(fail)?;
                self.paused[d] -= 1;
                for v in self
                    .vcpus
                    .iter_mut()
                    .filter(|v| v.dom == d && v.waiting.is_some())
                {
                    v.waiting = Some(now.0);
                }
                self.w.send(k);
            }
            What::Cap(d, cap) => {
                let k = self
                    .set
                    .adjust_domain(domain_id(d), &DomainParams { cap }, now)
                    .map_err(fail)?;
                self.w.send(k);
                self.capped[d] = cap != 0;
            }
            What::Move(d, pool) => {
                let p = self.set.move_domain(domain_id(d), self.pools[pool], now);
                progress(&mut self.w, p)?;
                if !waits {
                    self.moving[d] = again;
                }
                if !again && !waits {
                    self.domain_pool[d] = pool;
                }
            }
            What::Cpu(cpu, pool) => {
                let p = self
                    .set
                    .assign_cpu(CpuId(cpu), pool.map(|p| self.pools[p]), now);
                progress(&mut self.w, p)?;
            }
            What::Regroup(d, g) => {
                let p = self
                    .set
                    .move_to_group(domain_id(d), g.map(|g| self.groups[g]), now);
                progress(&mut self.w, p)?;
                if !waits {
                    self.moving[d] = again;
                }
            }
            What::Sched(pool, kind, cpus) => {
                if self.exchanging.is_none() {
                    let kind = sched_by_name(&kind).ok_or("no such scheduler")?;
                    let to = Target::Id(self.pools[pool]);
                    let mut plan = Plan::of(Step::SetSched(to, kind)).map_err(fail)?;
                    if !cpus.is_empty() {
                        plan.add(Step::Cpus(Some(to), cpus)).map_err(fail)?;
                    }
                    let (k, begun) = self.set.begin(&plan, now);
                    self.w.send(k);
                    match begun {
                        Ok(()) => self.exchanging = Some((pool, i)),
                        Err(refusal) if refusal.error == PoolError::InFlight => {}
                        Err(refusal) => return Err(fail(refusal.error)),
                    }
                }
                // One of another action is waited for.
                again = true;
                if self.exchanging == Some((pool, i)) {
                    match self.set.status(now) {
                        Status::Pending(k) => self.w.send(k),
                        Status::None => {
                            self.exchanging = None;
                            self.scheds[pool] = kind;
                            again = false;
                            let here = &self.domain_pool;
                            let all = self.vcpus.iter_mut().filter(|v| here[v.dom] == pool);
                            for v in all.filter(|v| v.waiting.is_some()) {
                                v.waiting = Some(now.0);
                            }
                        }
                    }
                }
            }
        }
        if let Some(subject) = subject.filter(|_| !waits) {
            self.latest.insert(subject, i);
            self.under_way[i] = again;
        }
        if again || waits {
            self.w.push(now.0 + 1_000, Event::Script(i));
        } else if let Some(every) = a.every {
            self.w.push(now.0 + every, Event::Script(i));
        }
        Ok(())
    }
}
