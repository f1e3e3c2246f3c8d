//! A vCPU that sleeps and wakes on a CPU that nobody else wants: what `sleep`, `wake` and `pick_next` come to then.
//!
//! Most wake-ups of an embedded system are of this kind, and their latency is counted in instructions. Must never differ
//! in effect from the general way: a replayed record goes that way, and a test compares the two.

use super::Credit2;
use crate::mutant::{Mutant, broken};
use crate::scheduler::{Ent, WakeReason};
use tarn_abi::{CpuId, Instant};

impl Credit2 {
    /// Whether nobody waits, in the queue or on the way to it, and `cpu` holds `e`.
    #[inline]
    fn alone(&self, e: Ent, cpu: CpuId) -> bool {
        self.queue.is_empty() && self.put_back == 0 && self.cpus[cpu].curr == Some(e)
    }

    /// See `Scheduler::doze`.
    pub(super) fn dozes(&mut self, e: Ent, cpu: CpuId, now: Instant) -> bool {
        let r = &self.rows[e];
        if !self.alone(e, cpu) || !self.cpus[cpu].running || !r.runnable {
            return false;
        }
        // Somebody may want to come to an idle CPU.
        if self.astray(cpu).is_some() {
            return false;
        }
        self.account(cpu, now);
        self.end_boost(e, 5);
        let r = &mut self.rows[e];
        r.runnable = false;
        r.yielded = false;
        r.calm();
        self.touch(e, now);
        let p = &mut self.cpus[cpu];
        p.promised = None;
        p.running = false;
        p.until = None;
        self.cpus.tickless.remove(cpu);
        self.cpus.idle.insert(cpu);
        true
    }

    /// See `Scheduler::rouse`.
    pub(super) fn rouses(&mut self, e: Ent, cpu: CpuId, why: WakeReason, now: Instant) -> bool {
        let r = &self.rows[e];
        let asleep = !r.runnable && r.inserted && !self.cpus[cpu].running;
        let general = broken(Mutant::WakeLost) || broken(Mutant::TimerForgotten);
        if !asleep
            || general
            || self.goes_home_at(e, cpu).is_some()
            || !self.alone(e, cpu)
            || !self.allowed(e).contains(cpu)
        {
            return false;
        }
        self.rows[e].runnable = true;
        self.touch(e, now);
        let worth = self.woken(e, why, now);
        self.interrupted(e, worth, true);
        let r = &mut self.rows[e];
        r.stormy = None;
        r.deferred = false;
        r.refused = 0;
        r.last = Some(cpu);
        self.cpus.idle.remove(cpu);
        self.cpus.tickless.insert(cpu);
        let p = &mut self.cpus[cpu];
        p.promised = None;
        p.running = true;
        p.began = now;
        p.came = now;
        p.counted = now;
        p.until = None;
        self.totals.switches += 1;
        true
    }
}
