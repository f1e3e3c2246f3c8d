//! What a decision costs by the number of runnable vCPUs: credit2 against the sorted list, in wall time of this machine.
//!
//! One CPU, everybody runnable, a switch every millisecond: `pick_next` and `context_saved`, resets included. The only part
//! of the laboratory that reads a real clock.

use crate::plain::Plain;
use std::fmt::Write;
use std::time::Instant as Wall;
use tarn_abi::{CpuId, Instant};
use tarn_pools::{GuestHint, SchedParams, VcpuParams, WakeReason, registry};
use tarn_sched::{Ent, NodeId, Scheduler, Tag, Tree};

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

/// How many virtual processors the group has out of which an urgent vCPU is taken.
pub const PROCESSORS: [u16; 4] = [1, 8, 32, 64];

/// ns for an interrupt to a sleeping member of a group of `vps` virtual processors, all with a hog, and for the pick that
/// takes it out of the group onto the one CPU, where a hog outside ran; the best of several rounds. The longest way there is:
/// a processor is boosted for it in the root, and the others are looked at once each.
pub fn urgent(vps: u16, budget_ms: u64) -> Result<f64, String> {
    let kind = registry::by_name("credit2").ok_or("credit2 is not there")?;
    let instance = || registry::build(kind, &SchedParams::DEFAULT).map_err(|e| e.to_string());
    let text = |e: tarn_sched::SchedError| e.to_string();
    let (cpu, p, hint) = (CpuId(0), VcpuParams::DEFAULT, GuestHint::default());
    let mut tree = Tree::new(instance()?);
    tree.alloc_pcpu(cpu).map_err(text)?;
    let _ = tree.switch_sched(cpu, Instant(0));
    let group = tree
        .add_group(NodeId::ROOT, instance()?, vps, &p, Instant(0))
        .map_err(text)?;
    let mut leaves = Vec::new();
    for i in 0..=u32::from(vps) + 1 {
        // The first sleeps in the group, the last is outside.
        let node = if i > u32::from(vps) {
            NodeId::ROOT
        } else {
            group
        };
        let l = tree.alloc_vcpu(node, Tag(i), &p).map_err(text)?;
        let _ = tree.insert(l, i != 0, Instant(0));
        leaves.push(l);
    }
    let (mut now, mut on, mut best) = (0u64, None, f64::MAX);
    let mut decide = |tree: &mut Tree, now: u64| {
        let next = tree.pick_next(cpu, hint, Instant(now)).next.map(|t| t.0);
        if let Some(old) = on.filter(|o| Some(*o) != next) {
            let _ = tree.context_saved(leaves[old as usize], cpu, Instant(now));
        }
        on = next;
        next
    };
    let why = WakeReason::Interrupt { line: 40 };
    let begun = Wall::now();
    while best == f64::MAX || begun.elapsed().as_millis() < u128::from(budget_ms) {
        let (rounds, mut taken, mut spent) = (500, 0u32, 0u128);
        for _ in 0..rounds {
            now += 10_000_003;
            let _ = decide(&mut tree, now);
            now += 2_000_003;
            let t = Wall::now();
            let _ = tree.wake(leaves[0], why, Instant(now));
            let next = decide(&mut tree, now);
            let cost = t.elapsed().as_nanos();
            if next == Some(0) {
                (taken, spent) = (taken + 1, spent + cost);
            }
            now += 20_000;
            tree.sleep(leaves[0], Instant(now));
            let _ = decide(&mut tree, now);
        }
        if taken < rounds / 2 {
            return Err(format!("only {taken} of {rounds} interrupts were urgent"));
        }
        best = best.min(spent as f64 / f64::from(taken));
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
    t.push_str("\nvirtual processors   an urgent vCPU out of their group, ns\n");
    for vps in PROCESSORS {
        let _ = writeln!(t, "{vps:>18} {:>37.1}", urgent(vps, 200)?);
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
        for vps in PROCESSORS {
            assert!(urgent(vps, 1).unwrap() > 0.0);
        }
        assert!(plot(&[(2, 10.0, 20.0), (4, 11.0, 40.0)]).ends_with("</svg>\n"));
    }
}
