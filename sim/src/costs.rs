//! What a decision costs by the number of runnable vCPUs: credit2 against the sorted list, in wall time of this machine.
//!
//! One CPU, everybody runnable, a switch every millisecond: `pick_next` and `context_saved`, resets included. The only part
//! of the laboratory that reads a real clock.

use crate::plain::Plain;
use std::fmt::Write;
use std::time::Instant as Wall;
use tarn_abi::{CpuId, Instant};
use tarn_pools::{GuestHint, SchedParams, VcpuParams, registry};
use tarn_sched::{Ent, Scheduler, Tag};

/// How many vCPUs.
pub const SIZES: [u32; 14] = [
    2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384,
];

/// ns for a pick and a requeue with `n` runnable vCPUs; the best of several rounds.
pub fn switch(mut s: Box<dyn Scheduler>, n: u32, budget_ms: u64) -> Result<f64, String> {
    let cpu = CpuId(0);
    s.alloc_pcpu(cpu).map_err(|e| e.to_string())?;
    let _ = s.switch_sched(cpu, Instant(0));
    let mut ents: Vec<Ent> = Vec::new();
    for i in 0..n {
        let e = s
            .alloc_vcpu(Tag(i), &VcpuParams::DEFAULT)
            .map_err(|e| e.to_string())?;
        let _ = s.insert(e, true, Instant(0));
        ents.push(e);
    }
    let mut now = 0u64;
    let mut on: Option<u32> = None;
    let mut best = f64::MAX;
    let begun = Wall::now();
    while begun.elapsed().as_millis() < u128::from(budget_ms) {
        let rounds = 2_000;
        let t = Wall::now();
        for _ in 0..rounds {
            now += 1_000_003;
            let next = s
                .pick_next(cpu, GuestHint::default(), Instant(now))
                .next
                .map(|t| t.0);
            if let Some(old) = on.filter(|o| Some(*o) != next) {
                let _ = s.context_saved(ents[old as usize], Instant(now));
            }
            on = next;
        }
        best = best.min(t.elapsed().as_nanos() as f64 / f64::from(rounds));
    }
    Ok(best)
}

/// The table; and the plot, if a file for it is named.
pub fn table(svg: &Option<String>) -> Result<String, String> {
    let kind = registry::by_name("credit2").ok_or("credit2 is not there")?;
    let mut rows = Vec::new();
    for n in SIZES {
        let ours = registry::build(kind, &SchedParams::DEFAULT).map_err(|e| e.to_string())?;
        let ours = switch(ours, n, 200)?;
        let list = switch(Box::new(Plain::new(&SchedParams::DEFAULT)), n, 200)?;
        rows.push((n, ours, list));
    }
    let at8 = rows[2].1;
    let mut t = String::from("runnable   credit2 ns   against 8   sorted list ns\n");
    for (n, ours, list) in &rows {
        let _ = writeln!(t, "{n:>8} {ours:>12.1} {:>11.2} {list:>16.1}", ours / at8);
    }
    if let Some(path) = svg {
        std::fs::write(path, plot(&rows)).map_err(|e| format!("{path}: {e}"))?;
    }
    Ok(t)
}

/// Both axes logarithmic.
fn plot(rows: &[(u32, f64, f64)]) -> String {
    let x = |n: u32| 60.0 + f64::from(n).log2() * 45.0;
    let y = |ns: f64| 320.0 - ns.max(1.0).log10() * 45.0;
    let mut s = String::from(
        "<svg xmlns='http://www.w3.org/2000/svg' width='760' height='360' font-family='sans-serif' font-size='11'>\n<rect width='100%' height='100%' fill='white'/>\n",
    );
    for k in 0..7 {
        let v = 10f64.powi(k);
        let _ = writeln!(s, "<text x='4' y='{:.0}'>{v} ns</text>", y(v) + 4.0);
        let _ = writeln!(
            s,
            "<line x1='60' x2='700' y1='{0:.0}' y2='{0:.0}' stroke='#ddd'/>",
            y(v)
        );
    }
    for (n, ..) in rows {
        let _ = writeln!(
            s,
            "<text x='{:.0}' y='340' text-anchor='middle'>{n}</text>",
            x(*n)
        );
    }
    for (name, colour, which) in [("credit2", "#06c", 0), ("sorted list", "#c30", 1)] {
        let points: Vec<String> = rows
            .iter()
            .map(|(n, a, b)| format!("{:.0},{:.0}", x(*n), y(if which == 0 { *a } else { *b })))
            .collect();
        let _ = writeln!(
            s,
            "<polyline fill='none' stroke='{colour}' points='{}'/>",
            points.join(" ")
        );
        let _ = writeln!(
            s,
            "<text x='70' y='{}' fill='{colour}'>{name}</text>",
            20 + which * 16
        );
    }
    s.push_str("</svg>\n");
    s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_can_be_measured() {
        let kind = registry::by_name("credit2").unwrap();
        for n in [2, 64] {
            let s = registry::build(kind, &SchedParams::DEFAULT).unwrap();
            assert!(switch(s, n, 1).unwrap() > 0.0);
        }
        assert!(plot(&[(2, 10.0, 20.0), (4, 11.0, 40.0)]).ends_with("</svg>\n"));
    }
}
