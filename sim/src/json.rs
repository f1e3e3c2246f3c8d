//! A run's figures for programs: one JSON object. Its fields are listed in docs/scenarios.md.
//!
//! Numbers of ns, counts, shares of one CPU of full speed; nothing is rounded that is an integer.

use crate::report::{Latency, Line, Report, Verdict};
use std::fmt::Write;

impl Report<'_> {
    /// For programs.
    pub fn json(&self, bars: &[Verdict]) -> String {
        let o = self.outcome;
        let mut j = String::new();
        let _ = write!(
            j,
            "{{\"scenario\":{},\"sched\":{},\"seed\":{},\"duration_ns\":{},",
            quote(&self.scenario.name),
            quote(&o.sched),
            o.seed,
            o.duration
        );
        for (key, lines) in [
            ("vcpus", &self.vcpus),
            ("domains", &self.domains),
            ("groups", &self.groups),
        ] {
            let list: Vec<String> = lines.iter().map(|l| self.json_line(l)).collect();
            let _ = write!(j, "\"{key}\":[{}],", list.join(","));
        }
        let states: Vec<String> = self
            .domains
            .iter()
            .zip(&o.domains)
            .map(|(d, s)| {
                format!(
                    "{{\"name\":{},\"full_run\":{},\"full_contention\":{},\"concurrency_hazard\":{},\"blocked\":{},\"partial_run\":{},\"partial_contention\":{}}}",
                    quote(&d.name),
                    s[0],
                    s[1],
                    s[2],
                    s[3],
                    s[4],
                    s[5]
                )
            })
            .collect();
        let _ = write!(j, "\"runstates_ns\":[{}],", states.join(","));
        let verdicts: Vec<String> = bars
            .iter()
            .map(|b| {
                format!(
                    "{{\"of\":{},\"who\":{},\"value\":{},\"max\":{},\"min\":{},\"ok\":{}}}",
                    quote(&b.bar.of),
                    quote(&b.bar.who),
                    num(b.value),
                    b.max.map_or("null".into(), num),
                    b.min.map_or("null".into(), num),
                    b.ok
                )
            })
            .collect();
        let _ = write!(j, "\"bars\":[{}],", verdicts.join(","));
        let idle: Vec<String> = o.idle.iter().map(u64::to_string).collect();
        let _ = write!(
            j,
            "\"run\":{{\"switches\":{},\"preemptions\":{},\"resets\":{},\"touched\":{},\"touched_per_reset\":{},\"lock_ops\":{},\"holder_preemptions\":{},\"pool_locks\":{},\"spread\":{},\"stranded\":[{}],\"idle_ns\":[{}],\"moments\":{},\"trace_hash\":\"{:016x}\"}}}}",
            o.switches,
            o.preemptions,
            o.totals.resets,
            o.totals.touched,
            num(self.touched_per_reset()),
            o.vcpus.iter().map(|v| v.figures.sections).sum::<u64>(),
            o.holder_preemptions,
            o.pool_locks,
            num(self.spread(0..self.vcpus.len())),
            self.stranded().map(quote).collect::<Vec<_>>().join(","),
            idle.join(","),
            o.moments,
            o.hash
        );
        j
    }

    fn json_line(&self, l: &Line) -> String {
        let o = self.outcome;
        let stats = &l.stats;
        let (mut misses, mut fired, mut coalesced) = (0, 0, 0);
        let (mut sections, mut waited, mut longest) = (0, 0, 0);
        for &i in &l.of {
            let v = &o.vcpus[i];
            for served in v.figures.all() {
                misses += served.misses;
                fired += served.fired;
                coalesced += served.coalesced;
            }
            sections += v.figures.sections;
            waited += v.waited;
            longest = longest.max(v.longest_wait);
        }
        let sources: Vec<String> = l
            .sources
            .iter()
            .map(|s| {
                format!(
                    "{{\"name\":{},\"wake\":{},\"response\":{},\"misses\":{},\"fired\":{},\"coalesced\":{}}}",
                    quote(&s.name),
                    latency(&s.wake),
                    latency(&s.response),
                    s.misses,
                    s.fired,
                    s.coalesced
                )
            })
            .collect();
        let g = stats.boosts;
        let d = stats.deboosts;
        format!(
            "{{\"name\":{},\"weight\":{},\"vcpus\":{},\"runtime_ns\":{},\"work_ns\":{},\"waited_ns\":{},\"longest_wait_ns\":{},\"share\":{},\"fluid_share\":{},\"share_error\":{},\"spread\":{},\"wake\":{},\"response\":{},\"misses\":{},\"fired\":{},\"coalesced\":{},\"sections\":{},\"boosts\":{{\"g1_interrupt\":{},\"g2_armed\":{},\"g3_dont_desched\":{},\"g4_rescued\":{},\"g5_masked\":{},\"g6_refilled\":{}}},\"deboosts\":{{\"d1_spent\":{},\"d2_interval\":{},\"d3_returned\":{},\"d4_unmasked\":{},\"d5_asked\":{},\"d6_blocked\":{}}},\"exhausted\":{},\"storm_held\":{},\"storm_lines\":{},\"irqs\":[{}]}}",
            quote(&l.name),
            l.weight,
            l.of.len(),
            l.runtime,
            l.work,
            waited,
            longest,
            num(l.share),
            num(l.fluid),
            num(l.share - l.fluid),
            num(self.spread(l.of.iter().copied())),
            latency(&l.wake),
            latency(&l.response),
            misses,
            fired,
            coalesced,
            sections,
            g[0],
            g[1],
            g[2],
            g[3],
            g[4],
            g[5],
            d[0],
            d[1],
            d[2],
            d[3],
            d[4],
            d[5],
            stats.exhausted,
            stats.storm_held,
            stats.storm_lines,
            sources.join(",")
        )
    }
}

fn latency(l: &Latency) -> String {
    format!(
        "{{\"n\":{},\"p50_ns\":{},\"p99_ns\":{},\"p999_ns\":{},\"max_ns\":{}}}",
        l.n, l.p50, l.p99, l.p999, l.max
    )
}

/// A JSON string.
pub fn quote(s: &str) -> String {
    let mut q = String::from("\"");
    for c in s.chars() {
        match c {
            '"' | '\\' => {
                q.push('\\');
                q.push(c);
            }
            c if (c as u32) < 0x20 => {
                let _ = write!(q, "\\u{:04x}", c as u32);
            }
            c => q.push(c),
        }
    }
    q.push('"');
    q
}

fn num(x: f64) -> String {
    if x.is_finite() {
        format!("{x:.9}")
    } else {
        "null".into()
    }
}
