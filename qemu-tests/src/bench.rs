//! The measurements: bench guest natively and as a domain, boot, Linux, image size and memory; then the budgets.
//!
//! All machines run under QEMU's instruction counter, one at a time, so that the same build gives the same figures.
//! A figure's name is `gicN.NAME`; benches/budgets.toml limits them by that name.

use std::collections::BTreeMap;
use std::path::Path;

use xtask::fdt::Tree;
use xtask::machine::{Clock, Machine};
use xtask::{budgets, exec, linux, paths};

use crate::calls;
use crate::cases::{answers_and_powers_off, domain, prompt};
use crate::figures::{self, Figures, Row};
use crate::runner::Bench;
use crate::transcript::DEATHS;

/// CPUs of the measured machine, as in the peers' figures.
const SMP: u32 = 2;

/// Measures, prints, compares; whether all figures are within their budgets.
///
/// # Errors
/// A machine that did not do what was to be measured.
pub fn run(
    gics: &[u8],
    with_linux: bool,
    only_calls: bool,
    json: Option<&Path>,
) -> Result<bool, String> {
    let text = std::fs::read_to_string(paths::root().join("benches/budgets.toml"))
        .map_err(|error| format!("benches/budgets.toml: {error}"))?;
    let budgets = budgets::parse(&text)?;
    let mut rows = Vec::new();
    for gic in gics.iter().copied().filter(|_| !only_calls) {
        measure(gic, with_linux, &mut rows)?;
    }
    // Neither depends on the controller.
    if let Some(gic) = gics.first() {
        let mut bench = Bench::new("bench-calls");
        let both = calls::measure(&mut bench, *gic).and_then(|mut calls| {
            calls.extend(calls::stand_still(&mut bench, *gic)?);
            Ok(calls)
        });
        rows.extend(both.map_err(|error| format!("{error}\n{}", bench.consoles()))?);
    }
    let size = std::fs::metadata(paths::images().join("tarn.bin"))
        .map_err(|error| format!("tarn.bin: {error}"))?
        .len();
    rows.push(row("image.bytes", None, Some(size)));
    for row in &mut rows {
        row.budget = budgets.get(&row.name).copied();
    }
    print!("{}", figures::table(&rows));
    if let Some(json) = json {
        paths::write(&paths::absolute(json), figures::json(&rows).as_bytes())?;
    }
    let measured: BTreeMap<String, u64> = rows
        .iter()
        .filter_map(|row| Some((row.name.clone(), row.tarn?)))
        .collect();
    let wanted = budgets.into_iter().filter(|(name, _)| {
        let other = [2, 3].into_iter().any(|gic| {
            (only_calls || !gics.contains(&gic)) && name.starts_with(&format!("gic{gic}."))
        });
        !other && (with_linux || !name.contains(".linux-"))
    });
    let complaints = budgets::check(&wanted.collect(), &measured);
    for complaint in &complaints {
        println!("{complaint}");
    }
    Ok(complaints.is_empty())
}

fn row(name: impl Into<String>, bare: Option<u64>, tarn: Option<u64>) -> Row {
    Row {
        name: name.into(),
        bare,
        tarn,
        max: None,
        budget: None,
    }
}

fn measure(gic: u8, with_linux: bool, rows: &mut Vec<Row>) -> Result<(), String> {
    let mut bench = Bench::new(&format!("bench-gic{gic}"));
    let failed = |bench: &Bench, error: String| format!("gic{gic}: {error}\n{}", bench.consoles());
    let bare = native(&mut bench, gic).map_err(|error| failed(&bench, error))?;
    let (tarn, console) = as_domain(&mut bench, gic).map_err(|error| failed(&bench, error))?;
    for (name, figure) in &tarn {
        rows.push(Row {
            name: format!("gic{gic}.{name}"),
            bare: bare.get(name).map(|figure| figure.median),
            tarn: Some(figure.median),
            max: Some(figure.max),
            budget: None,
        });
    }
    rows.extend(boot(gic, &console));
    for (label, config) in one_cpu() {
        let tarn =
            shared(&mut bench, gic, &label, config).map_err(|error| failed(&bench, error))?;
        for (name, figure) in &tarn {
            rows.push(Row {
                name: format!("gic{gic}.{name}"),
                bare: None,
                tarn: Some(figure.median),
                max: Some(figure.max),
                budget: None,
            });
            // Who must be on time asks for the worst.
            if let Some(beside) = name.strip_prefix("wake-late-") {
                let name = format!("gic{gic}.wake-worst-{beside}");
                rows.push(row(name, None, Some(figure.max)));
            }
        }
    }
    let label = "all interrupts at once";
    let tarn = counted_on(&mut bench, gic, SMP, label, storm(gic))
        .map_err(|error| failed(&bench, error))?;
    // Of each event the longest piece there was.
    let mut longest = BTreeMap::new();
    for (name, figure) in &tarn {
        let name = name.trim_end_matches("-spread");
        let most = longest.entry(format!("gic{gic}.{name}")).or_insert(0);
        *most = figure.max.max(*most);
    }
    for (name, most) in longest {
        rows.push(row(name, None, Some(most)));
    }
    for (name, mode) in [("storm-system-off", "off"), ("storm-restart", "reset")] {
        let most = ends(&mut bench, gic, mode).map_err(|error| failed(&bench, error))?;
        rows.push(row(format!("gic{gic}.{name}"), None, Some(most)));
    }
    if with_linux {
        let bare = linux_native(&mut bench, gic).map_err(|error| failed(&bench, error))?;
        let tarn = linux_domain(&mut bench, gic).map_err(|error| failed(&bench, error))?;
        rows.push(row(format!("gic{gic}.linux-boot"), Some(bare), Some(tarn)));
    }
    Ok(())
}

fn counted(machine: Machine) -> Machine {
    Machine {
        clock: Clock::Instructions,
        ..machine
    }
}

fn native(bench: &mut Bench, gic: u8) -> Result<Figures, String> {
    let mut machine = counted(Machine::native(
        gic,
        SMP,
        paths::images().join("guest-bench.bin"),
    ));
    machine.memory = 256;
    let mut console = bench.start("the bench guest natively", &machine, 300)?;
    let (which, _) = console.expect_any(&["BENCH-END", DEATHS[0], DEATHS[1]])?;
    if which > 0 {
        return Err("the bench guest died natively".into());
    }
    console.finish()?;
    Ok(figures::read(&console.text(), None))
}

fn as_domain(bench: &mut Bench, gic: u8) -> Result<(Figures, String), String> {
    let machine = counted(Machine::tarn(gic, SMP)).with_config(domain(
        "bench",
        "guest-bench",
        SMP,
        64,
        "",
        "",
    ));
    let mut console = bench.start("the bench guest as a domain", &machine, 600)?;
    let (which, _) = console.expect_any(&["BENCH-END", DEATHS[0], DEATHS[1]])?;
    if which > 0 {
        return Err("the bench guest died as a domain".into());
    }
    console.expect("powered off")?;
    console.send("\r")?;
    prompt(&mut console)?;
    exec::must(&mut console, "info")?;
    exec::power_off(&mut console)?;
    let text = console.text();
    let figures = figures::read(&text, Some("bench"));
    if figures.is_empty() {
        Err("the bench guest gave no figures".into())
    } else {
        Ok((figures, text))
    }
}

/// What is measured on one CPU: a switch, and how late a guest is that wakes each millisecond alone and beside guests
/// that compute all the time.
fn one_cpu() -> Vec<(String, String)> {
    let mut all = vec![(
        "two vCPUs that yield to each other".to_owned(),
        domain("bench", "guest-bench", 2, 16, "mode=switch", ""),
    )];
    for hogs in [0, 1, 4] {
        let args = format!("mode=wake period=1000 count=2000 name=wake-late-beside-{hogs}-hogs");
        let mut config = domain("bench", "guest-bench", 1, 16, &args, "");
        for hog in 0..hogs {
            config += &domain(&format!("hog{hog}"), "guest-hog", 1, 16, "every=100000", "");
        }
        all.push((format!("a waker beside {hogs} hogs"), config));
    }
    all
}

/// A guest with as many interrupts and vCPUs as there can be, which has them all at once. In a pool of its own, where the
/// vCPU that measures keeps the CPU from those it wakes.
fn storm(gic: u8) -> String {
    let vcpus = if gic == 2 { 8 } else { 64 };
    let pool = "/ { chosen { storm: storm { compatible = \"xen,cpupool\"; cpupool-cpus = <&cpu1>;
                tarn,boost = <0>; tarn,ratelimit = <500000>; }; }; };\n";
    let extra = "nr_spis = <988>; domain-cpupool = <&storm>;";
    pool.to_owned() + &domain("bench", "guest-bench", vcpus, 64, "mode=storm", extra)
}

/// The longest piece of such a guest's end with interrupts masked, ns: by SYSTEM_OFF, or by SYSTEM_RESET until it is not
/// started again. On one CPU, since a piece that another CPU's instructions come between is longer by these.
fn ends(bench: &mut Bench, gic: u8, mode: &str) -> Result<u64, String> {
    let vcpus = if gic == 2 { 8 } else { 64 };
    let args = format!("mode={mode}");
    let config = domain("bench", "guest-bench", vcpus, 64, &args, "nr_spis = <988>;");
    let machine = counted(Machine::tarn(gic, 1)).with_config(config);
    let mut console = bench.start("a domain's end", &machine, 600)?;
    console.expect(match mode {
        "off" => "domain bench: powered off",
        _ => "domain bench: ends too soon",
    })?;
    console.send("\r")?;
    prompt(&mut console)?;
    // Until it has come to its end: its last words are printed first.
    for _ in 0..100 {
        let list = exec::must(&mut console, "list")?;
        if mode != "off" || !list.contains("bench") {
            let counters = exec::must(&mut console, "counters")?;
            exec::power_off(&mut console)?;
            let longest = counters
                .lines()
                .find_map(|line| line.trim().strip_prefix("end-piece-longest-ns"));
            return longest
                .and_then(|value| value.trim().replace([' ', ','], "").parse().ok())
                .ok_or_else(|| format!("no such counter:\n{counters}"));
        }
    }
    Err("the domain does not go".into())
}

/// The bench guest's figures on a machine with one CPU.
fn shared(bench: &mut Bench, gic: u8, label: &str, config: String) -> Result<Figures, String> {
    counted_on(bench, gic, 1, label, config)
}

/// The bench guest's figures on a machine with so many CPUs.
fn counted_on(
    bench: &mut Bench,
    gic: u8,
    cpus: u32,
    label: &str,
    config: String,
) -> Result<Figures, String> {
    let machine = counted(Machine::tarn(gic, cpus)).with_config(config);
    let mut console = bench.start(label, &machine, 600)?;
    let (which, _) = console.expect_any(&["BENCH-END", DEATHS[0], DEATHS[1]])?;
    if which > 0 {
        return Err(format!("{label}: a guest died"));
    }
    answers_and_powers_off(&mut console)?;
    Ok(figures::read(&console.text(), Some("bench")))
}

/// Tarn's own lines say when things happened: `[    0.000483] ...`, virtual seconds since its entry and so instructions.
/// They count in microseconds: a figure is good to 1000 instructions.
fn boot(gic: u8, console: &str) -> Vec<Row> {
    let first =
        |wanted: &dyn Fn(&str) -> bool| console.lines().filter(|line| wanted(line)).find_map(stamp);
    let starts = |name: &str, line: &str| line.contains(&format!("domain {name}: starts at"));
    vec![
        row(
            format!("gic{gic}.boot-to-first-line"),
            None,
            first(&|_| true),
        ),
        row(
            format!("gic{gic}.boot-to-dom0"),
            None,
            first(&|line| line.contains(": starts at") && !starts("bench", line)),
        ),
        row(
            format!("gic{gic}.boot-to-guest"),
            None,
            first(&|line| starts("bench", line)),
        ),
        row(
            format!("gic{gic}.memory-kib"),
            None,
            console.lines().find_map(kept),
        ),
    ]
}

/// The line `memory of Tarn : N KiB` of `info`, in KiB.
fn kept(line: &str) -> Option<u64> {
    let (number, unit) = line
        .strip_prefix("memory of Tarn")?
        .trim_start()
        .strip_prefix(':')?
        .trim()
        .split_once(' ')?;
    let factor = match unit {
        "KiB" => 1,
        "MiB" => 1024,
        _ => return None,
    };
    Some(number.parse::<u64>().ok()? * factor)
}

/// The time of a log line in virtual nanoseconds.
fn stamp(line: &str) -> Option<u64> {
    let (seconds, fraction) = line
        .strip_prefix('[')?
        .split_once(']')?
        .0
        .trim()
        .split_once('.')?;
    let scale = 10u64.checked_pow(9u32.checked_sub(u32::try_from(fraction.len()).ok()?)?)?;
    seconds
        .parse::<u64>()
        .ok()?
        .checked_mul(1_000_000_000)?
        .checked_add(fraction.parse::<u64>().ok()?.checked_mul(scale)?)
}

const LINUX_ARGS: &str = "console=ttyAMA0 loglevel=4";

fn linux_native(bench: &mut Bench, gic: u8) -> Result<u64, String> {
    let linux = linux::place();
    let mut machine = counted(Machine::native(gic, SMP, linux.kernel));
    machine.initrd = Some(linux.initrd);
    machine.memory = 256;
    machine.bootargs = LINUX_ARGS.into();
    // the devices that a domain has and no others: what the kernel finds decides how long it looks
    let mut tree = Tree::parse(&machine.own_tree(&bench.scratch())?)?;
    let kept = [
        "cpus", "memory", "psci", "timer", "intc", "pl011", "apb-pclk", "chosen",
    ];
    tree.root.children.retain(|node| {
        kept.iter()
            .any(|name| node.name.split('@').next() == Some(name))
    });
    for node in tree
        .root
        .children
        .iter_mut()
        .filter(|node| node.name.starts_with("intc"))
    {
        node.children.clear();
    }
    let machine = machine.with_blob(&tree.write(), Vec::new(), &bench.scratch())?;
    let mut console = bench.start("Linux natively", &machine, 600)?;
    console.expect("TARN-LINUX-OFF")?;
    console.finish()?;
    uptime(&console.text())
}

fn linux_domain(bench: &mut Bench, gic: u8) -> Result<u64, String> {
    let machine = counted(Machine::tarn(gic, SMP)).with_config(linux::domain(
        "linux",
        u64::from(SMP),
        256,
        LINUX_ARGS,
        "",
    ));
    let mut console = bench.start("Linux as a domain", &machine, 900)?;
    prompt(&mut console)?;
    console.expect("TARN-LINUX-OFF")?;
    console.expect("powered off")?;
    answers_and_powers_off(&mut console)?;
    uptime(&console.text())
}

/// The kernel's uptime when its init ran, in nanoseconds, from the line `TARN-LINUX-TIME counter`.
fn uptime(console: &str) -> Result<u64, String> {
    let line = console
        .lines()
        .find_map(|line| line.split_once("TARN-LINUX-TIME "))
        .ok_or("Linux told no time")?;
    line.1
        .trim()
        .parse()
        .map_err(|_| format!("not a time: {}", line.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_stamps_are_nanoseconds() {
        assert_eq!(stamp("[    0.000483] cpu0: x"), Some(483_000));
        assert_eq!(stamp("[   12.5] x"), Some(12_500_000_000));
        assert_eq!(stamp("tarn> "), None);
        assert_eq!(stamp("[x.y] z"), None);
    }

    #[test]
    fn boot_figures_are_read_from_the_log_and_from_info() {
        let console = "[    0.000200] cpu0: Tarn\n[    0.000500] cpu0: domain dom0: starts at 0x0\n[    0.000700] cpu1: domain bench: \
                       starts at 0x40000000\nmemory of Tarn      : 2 MiB\n";
        let figures: Vec<Option<u64>> = boot(3, console).into_iter().map(|row| row.tarn).collect();
        assert_eq!(
            figures,
            [Some(200_000), Some(500_000), Some(700_000), Some(2048)]
        );
    }
}
