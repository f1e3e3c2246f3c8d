//! What must hold: after every moment, now and then, and at the end. The first violation ends the run.

use super::*;

impl Engine<'_> {
    /// Nobody runs outside its pool or affinity (unless its CPU has been called and is on its way).
    pub(super) fn right_places(&self) -> Result<(), String> {
        for (c, cpu) in self.w.cpus.iter().enumerate() {
            let Some(v) = cpu.running.filter(|_| !cpu.visit) else {
                continue;
            };
            let info = self.set.vcpu_info(self.vcpus[v].id, self.now());
            let info = info.map_err(|e| e.to_string())?;
            let pool = self.set.pool_info(info.pool).map_err(|e| e.to_string())?;
            let me = CpuId(c as u16);
            let mask = info.params.affinity.intersection(&pool.cpus);
            let outside = !mask.is_empty() && !mask.contains(me) && info.group.is_none();
            if !pool.cpus.contains(me) || outside {
                let at = self.w.now;
                return Err(format!(
                    "at {at} ns: vCPU {v} runs on cpu{c}, where it may not"
                ));
            }
        }
        Ok(())
    }

    /// What must hold whenever a moment is over.
    pub(super) fn invariants(&mut self) -> Result<(), String> {
        let at = self.w.now;
        for (c, cpu) in self.w.cpus.iter().enumerate() {
            let Some(v) = cpu.running else { continue };
            if self.vcpus[v].cpu != Some(c) || self.w.holder[v] != Some(c) {
                return Err(format!(
                    "at {at} ns: cpu{c} runs vCPU {v}, which is elsewhere"
                ));
            }
        }
        if self.w.ipi != 0 || !self.scheds.iter().any(|s| conserves(s)) {
            return Ok(());
        }
        let free: Vec<usize> = (0..self.w.cpus.len())
            .filter(|&c| self.w.cpus[c].running.is_none() && !self.w.cpus[c].visit)
            .collect();
        let timerless = self
            .w
            .cpus
            .iter()
            .any(|c| c.running.is_some() && c.timer.is_none() && !c.visit);
        if free.is_empty() && !timerless {
            return Ok(());
        }
        for v in 0..self.vcpus.len() {
            let x = &self.vcpus[v];
            if x.waiting.is_none() || x.cpu.is_some() || self.stopped(x.dom) || self.capped[x.dom] {
                continue;
            }
            for c in self.rivals(v)?.iter().map(|c| c.index()) {
                let cpu = &self.w.cpus[c];
                if cpu.visit {
                    continue;
                }
                if cpu.running.is_none() {
                    return Err(format!(
                        "at {at} ns: cpu{c} is idle while vCPU {v} waits for it"
                    ));
                }
                if cpu.timer.is_none() {
                    return Err(format!(
                        "at {at} ns: cpu{c} has no timer while vCPU {v} waits for it"
                    ));
                }
            }
        }
        Ok(())
    }

    /// The groups that vCPU `v` is in, from the inside to the outside.
    fn groups_of(&self, v: usize) -> Result<Vec<usize>, String> {
        let info = self.set.vcpu_info(self.vcpus[v].id, self.now());
        let own = info.map_err(|e| e.to_string())?.group;
        let mut at = own.and_then(|g| self.groups.iter().position(|x| *x == g));
        let mut list = Vec::new();
        while let Some(g) = at {
            list.push(g);
            at = self.s.groups[g].parent;
        }
        Ok(list)
    }

    /// The CPUs that vCPU `v`, which waits, waits for: none of them may be idle or without a timer. For a member of a group
    /// with all its processors on CPUs these CPUs, since who competes with it is inside; else it is as good as outside.
    fn rivals(&self, v: usize) -> Result<CpuSet, String> {
        let info = self.set.vcpu_info(self.vcpus[v].id, self.now());
        let info = info.map_err(|e| e.to_string())?;
        let pool = self.set.pool_info(info.pool).map_err(|e| e.to_string())?;
        if !self
            .pools
            .iter()
            .zip(&self.scheds)
            .any(|(p, s)| *p == info.pool && conserves(s))
        {
            return Ok(CpuSet::EMPTY);
        }
        for g in self.groups_of(v)? {
            let group = &self.s.groups[g];
            if !conserves(&group.sched) {
                return Ok(CpuSet::EMPTY);
            }
            let mut inside = CpuSet::EMPTY;
            for c in pool.cpus.iter() {
                let cpu = &self.w.cpus[c.index()];
                if let Some(u) = cpu.running
                    && (cpu.visit || self.groups_of(u)?.contains(&g))
                {
                    inside.insert(c);
                }
            }
            if inside.len() >= usize::from(group.vps) {
                return Ok(inside);
            }
        }
        let allowed = info.params.affinity.intersection(&pool.cpus);
        Ok(if allowed.is_empty() || info.group.is_some() {
            pool.cpus
        } else {
            allowed
        })
    }

    pub(super) fn finish(self, seed: u64, moments: u64) -> Result<Outcome, String> {
        let end = Instant(self.s.duration);
        self.set.check().map_err(|e| format!("at the end: {e}"))?;
        let mut vcpus = Vec::new();
        for (v, x) in self.vcpus.iter().enumerate() {
            let info = self.set.vcpu_info(x.id, end).map_err(|e| e.to_string())?;
            let dom = &self.s.domains[x.dom];
            let sum: u64 = info.times.ns.iter().map(|s| s.0).sum();
            if sum != self.s.duration {
                return Err(format!("vCPU {v}: run states add up to {sum} ns"));
            }
            let name = if dom.vcpus.len() == 1 {
                dom.name.clone()
            } else {
                format!("{}.{}", dom.name, self.local(v))
            };
            let wait = x.waiting.map_or(0, |t| self.s.duration - t);
            vcpus.push(VcpuOutcome {
                name,
                domain: x.dom,
                number: self.local(v),
                weight: dom.params.weight,
                hog: x.guest.is_hog(),
                closed_loop: x.guest.is_closed_loop(),
                runtime: info.times.ns[0].0,
                work: x.work,
                at_home: x.at_home,
                migrations: x.migrations,
                waited: info.times.ns[1].0,
                longest_wait: x
                    .longest_wait
                    .max(if self.stopped(x.dom) { 0 } else { wait }),
                stranded: x.waiting.is_some()
                    && info.times.ns[0].0 == 0
                    && self.scheds[self.domain_pool[x.dom]] == "null"
                    && !self.stopped(x.dom),
                figures: x.guest.figures.clone(),
                stats: info.stats,
            });
        }
        let mut idle = Vec::new();
        for c in 0..self.w.cpus.len() {
            idle.push(
                self.set
                    .cpu_info(CpuId(c as u16), end)
                    .map_or(0, |i| i.idle.0),
            );
        }
        let busy: u64 = vcpus.iter().map(|v| v.runtime).sum();
        let total = idle.iter().sum::<u64>() + busy;
        if total != self.s.duration * idle.len() as u64 {
            return Err(format!("running and idle time add up to {total} ns"));
        }
        let mut domains = Vec::new();
        for d in 0..self.s.domains.len() {
            let i = self
                .set
                .domain_info(domain_id(d), end)
                .map_err(|e| e.to_string())?;
            if i.times.missed != 0 || i.times.ns.iter().map(|s| s.0).sum::<u64>() != self.s.duration
            {
                return Err(format!(
                    "domain {}: its run states do not add up",
                    self.s.domains[d].name
                ));
            }
            domains.push(i.times.ns.map(|s| s.0));
        }
        let mut groups = Vec::new();
        for (g, group) in self.groups.iter().zip(&self.s.groups) {
            let info = self.set.group_info(self.pools[group.pool], *g);
            groups.push(info.map_err(|e| e.to_string())?.stats);
        }
        let mut totals = Totals::default();
        for p in &self.pools {
            let t = self.set.pool_totals(*p).map_err(|e| e.to_string())?;
            totals.switches += t.switches;
            totals.resets += t.resets;
            totals.touched += t.touched;
        }
        let mut records = Vec::new();
        for p in &self.pools {
            let (mut list, mut next) = (Vec::new(), 0);
            while let Some((n, r)) = self.set.recorded(*p, next).map_err(|e| e.to_string())? {
                list.push((n, r));
                next = n + 1;
            }
            records.push(list);
        }
        Ok(Outcome {
            sched: self.scheds[0].clone(),
            seed,
            duration: self.s.duration,
            vcpus,
            groups,
            epochs: self.epochs,
            domains,
            idle,
            switches: self.w.loads,
            totals,
            pool_locks: self.w.pool_locks,
            holder_preemptions: self.holder_preemptions,
            preemptions: self.preemptions,
            hash: self.hash,
            moments,
            trace: self.trace.unwrap_or_default(),
            records,
        })
    }
}
