//! The system as text, columns in line.

use super::{View, members, size, wanted};
use std::fmt::Write;
use tarn_abi::CpuSet;
use tarn_board::{GicDesc, GuestGic, Restart};

/// A table: the first row is its heading.
fn table(out: &mut String, rows: &[Vec<String>]) {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|c| width(c).unwrap_or(0)).collect();
    for row in rows {
        let mut line = String::from(" ");
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, " {cell:<width$} ");
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

/// Everything about the system.
pub fn text(view: &View<'_>) -> String {
    let mut out = String::new();
    let gic = match view.board.gic {
        GicDesc::V2 { .. } => 2,
        GicDesc::V3 { .. } => 3,
    };
    let ram: u64 = view.board.ram.iter().map(|r| r.size()).sum();
    let cpus = view.board.cpus.len();
    let _ = writeln!(
        out,
        "{}: {cpus} CPUs, {} of RAM, GICv{gic}\n",
        view.name,
        size(ram)
    );

    let row = |cells: &[&str]| cells.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>();
    let mut rows = vec![row(&["pool", "CPUs", "scheduler", "domains"])];
    for (n, pool) in view.config.pools.iter().enumerate() {
        let domains = members(view, n).join(", ");
        let domains = if domains.is_empty() { "-" } else { &domains };
        rows.push(row(&[
            &pool.name,
            &pool.cpus.to_string(),
            pool.sched,
            domains,
        ]));
    }
    table(&mut out, &rows);
    out.push('\n');

    let mut rows = vec![row(&[
        "domain", "vCPUs", "memory", "pool", "weight", "cap", "restart", "console", "kernel",
        "initrd",
    ])];
    let pool = &view.config.pools[0].name;
    rows.push(row(&[
        "dom0", "1", "4 MiB", pool, "-", "-", "always", "prompt", "built in", "-",
    ]));
    for d in &view.config.domains {
        let number = |n: Option<u32>| n.map_or("-".into(), |n| n.to_string());
        rows.push(vec![
            d.name.clone(),
            d.cpus.to_string(),
            size(d.memory_kib << 10),
            view.config.pools[d.pool].name.clone(),
            number(d.weight),
            number(d.cap),
            match d.restart {
                Restart::OnReset => "on-reset",
                Restart::OnCrash => "on-crash",
                Restart::Always => "always",
                Restart::Never => "never",
            }
            .into(),
            if d.vpl011 { "PL011" } else { "-" }.into(),
            size(d.kernel.region.size()),
            d.ramdisk.map_or("-".into(), |r| size(r.region.size())),
        ]);
    }
    table(&mut out, &rows);
    for d in view.config.domains.iter().filter(|d| !d.vcpus.is_empty()) {
        for v in &d.vcpus {
            let on = |word: &str, set: Option<CpuSet>| {
                set.map(|set| {
                    let cpus = if set.len() == 1 { "CPU" } else { "CPUs" };
                    format!("{word} on {cpus} {set}")
                })
            };
            let both = [on("only", v.affinity), on("rather", v.soft)];
            let both: Vec<String> = both.into_iter().flatten().collect();
            let _ = writeln!(out, "  {}: vCPU {} {}", d.name, v.id, both.join(", "));
        }
    }
    for d in view.config.domains.iter().filter(|d| d.gic == GuestGic::V2) {
        if gic == 3 {
            let _ = writeln!(out, "  {}: sees a GICv2", d.name);
        }
    }
    for (domain, what) in &view.given {
        let _ = writeln!(out, "  {domain}: is given {what}");
    }
    for (what, sides) in &view.links {
        let _ = writeln!(out, "  {what}: {}", sides.join("; "));
    }
    out.push('\n');

    let mut rows = vec![row(&["memory", "size", "what"])];
    for piece in &view.memory {
        let r = piece.region;
        rows.push(vec![
            format!("{:#011x}-{:#011x}", r.base(), r.end() - 1),
            size(r.size()),
            piece.what.clone(),
        ]);
    }
    table(&mut out, &rows);
    let free: u64 = view
        .memory
        .iter()
        .filter(|p| p.kind == super::Kind::Free)
        .map(|p| p.region.size())
        .sum();
    let _ = writeln!(
        out,
        "\n  {} of {} free MiB go to domains",
        wanted(&view.config),
        free >> 20
    );
    out
}
