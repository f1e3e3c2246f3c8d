//! `tarn-sim`: the laboratory's command.

use std::io::Write;
use std::process::ExitCode;
use tarn_sim::engine::{Options, Outcome, run};
use tarn_sim::report::{Report, Verdict};
use tarn_sim::{Scenario, chart, costs, kinds, picture, replay};

const HELP: &str = "\
tarn-sim runs the hypervisor's own scheduler code on a simulated machine.

  tarn-sim run FILE [options]         one scenario: table, pictures of the schedule and of lateness, bars
  tarn-sim compare FILE SCHED SCHED   the same scenario under two (or more) schedulers
  tarn-sim sweep FILE [--seeds N]     the scenario with N seeds (default 20): worst bar of all

  tarn-sim kinds [W1 ... W9]          variations of each kind of workload (default all, --seeds 20 of each, from --first 1
                                      on): how many are over which bar, and the worst
  tarn-sim kind W4 17                 the scenario file of one of them

  tarn-sim replay TRACE               feeds a recording (of a run, or a console with one) through the same code again and
                                      compares every decision; shows the first that differs
  tarn-sim costs                      what a decision costs with 2 to 16384 runnable vCPUs, against sorted-list credit2

options
  --sched NAME      another scheduler: credit2, rr, null, rtds, plain (credit2 as it is), credit1
                    (the older credit, sampled by ticks), eevdf (Linux), noboost
  --seed N          another seed
  --json            the result as one JSON object
  --svg OUT         the finer pictures: the schedule in OUT, the latency distribution in OUT.latency.svg
  --perfetto OUT    the schedule as a trace for ui.perfetto.dev
  --record OUT      what each pool's scheduler was asked and answered, for `tarn-sim replay`
  --from T --to T   which part the pictures show (default the first 100ms)

It exits with 0 if all bars of the scenario are cleared, 1 if one is not, 2 if something is wrong with the request.
";

/// Prints; who reads may have enough before the end.
fn say(text: &str) {
    if std::io::stdout().write_all(text.as_bytes()).is_err() {
        std::process::exit(0);
    }
}

macro_rules! out {
    ($($words:tt)*) => { say(&format!($($words)*)) };
}

macro_rules! outln {
    ($($words:tt)*) => { say(&(format!($($words)*) + "\n")) };
}

struct Args {
    files: Vec<String>,
    options: Options,
    json: bool,
    svg: Option<String>,
    perfetto: Option<String>,
    record: Option<String>,
    from: u64,
    to: u64,
    seeds: u64,
    first: u64,
}

fn parse(words: &[String]) -> Result<Args, String> {
    let mut a = Args {
        files: Vec::new(),
        options: Options::default(),
        json: false,
        svg: None,
        perfetto: None,
        record: None,
        from: 0,
        to: 100_000_000,
        seeds: 20,
        first: 1,
    };
    let mut it = words.iter();
    while let Some(w) = it.next() {
        let mut value = || {
            it.next()
                .cloned()
                .ok_or_else(|| format!("{w} needs a value"))
        };
        let time =
            |t: String| tarn_sim::scenario::time(&t).ok_or_else(|| format!("`{t}` is no time"));
        let count = |t: String| t.parse::<u64>().map_err(|_| format!("`{t}` is no number"));
        match w.as_str() {
            "--sched" => a.options.sched = Some(value()?),
            "--seed" => a.options.seed = Some(count(value()?)?),
            "--seeds" => a.seeds = within(w, count(value()?)?, 100_000)?,
            "--first" => a.first = within(w, count(value()?)?, 1_000_000_000)?,
            "--json" => a.json = true,
            "--svg" => a.svg = Some(value()?),
            "--perfetto" => a.perfetto = Some(value()?),
            "--record" => a.record = Some(value()?),
            "--from" => a.from = time(value()?)?,
            "--to" => a.to = time(value()?)?,
            w if w.starts_with('-') => return Err(format!("unknown option {w}")),
            _ => a.files.push(w.clone()),
        }
    }
    Ok(a)
}

fn within(option: &str, n: u64, most: u64) -> Result<u64, String> {
    if (1..=most).contains(&n) {
        Ok(n)
    } else {
        Err(format!("{option} must be from 1 to {most}"))
    }
}

fn load(file: &str) -> Result<Scenario, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
    Scenario::parse(&text).map_err(|e| format!("{file}: {e}"))
}

fn judge(s: &Scenario, o: &Outcome, seed: Option<u64>) -> Result<Vec<Verdict>, String> {
    let mut others: Vec<(String, Outcome)> = Vec::new();
    Report::new(s, o).judge(|name, bar| {
        if !others.iter().any(|(n, _)| n == name) {
            let options = Options {
                sched: Some(name.to_string()),
                seed,
                ..Options::default()
            };
            others.push((name.to_string(), run(s, &options)?));
        }
        let base = others
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, o)| Report::new(s, o).metric(bar));
        base.flatten()
            .ok_or_else(|| "the baseline has no such figure".to_string())
    })
}

fn write(path: &str, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|e| format!("{path}: {e}"))
}

fn command_run(a: &Args) -> Result<bool, String> {
    let [file] = a.files.as_slice() else {
        return Err("run needs one FILE".into());
    };
    let s = load(file)?;
    let options = Options {
        trace: !a.json || a.svg.is_some() || a.perfetto.is_some(),
        record: if a.record.is_some() {
            tarn_sched::MAX_RECORDS
        } else {
            0
        },
        ..a.options.clone()
    };
    let o = run(&s, &options)?;
    let r = Report::new(&s, &o);
    let verdicts = judge(&s, &o, a.options.seed)?;
    if a.json {
        outln!("{}", r.json(&verdicts));
    } else {
        out!("{}", r.table());
        outln!("\n{}", chart::schedule(&r, a.from, a.to));
        let late = chart::latency(&r);
        if !late.is_empty() {
            outln!("{late}");
        }
        verdicts.iter().for_each(|v| outln!("{}", v.text()));
    }
    if let Some(path) = &a.svg {
        write(path, &picture::gantt(&r, a.from, a.to))?;
        write(&format!("{path}.latency.svg"), &picture::latency(&r))?;
    }
    if let Some(path) = &a.perfetto {
        write(path, &picture::perfetto(&r))?;
    }
    if let Some(path) = &a.record {
        write(path, &replay::text(&o.records))?;
    }
    Ok(verdicts.iter().all(|v| v.ok))
}

fn command_compare(a: &Args) -> Result<bool, String> {
    let Some((file, scheds)) = a.files.split_first() else {
        return Err("compare needs FILE SCHED SCHED".into());
    };
    if scheds.len() < 2 {
        return Err("compare needs FILE and at least two schedulers".into());
    }
    let s = load(file)?;
    for name in scheds {
        let o = run(
            &s,
            &Options {
                sched: Some(name.clone()),
                ..a.options.clone()
            },
        )?;
        let r = Report::new(&s, &o);
        if a.json {
            outln!("{}", r.json(&[]));
        } else {
            outln!("--- {name}");
            out!("{}", r.table());
        }
    }
    Ok(true)
}

fn command_sweep(a: &Args) -> Result<bool, String> {
    let [file] = a.files.as_slice() else {
        return Err("sweep needs one FILE".into());
    };
    let s = load(file)?;
    let mut worst: Vec<Option<(Verdict, u64)>> = vec![None; s.bars.len()];
    for seed in 1..=a.seeds {
        let o = run(
            &s,
            &Options {
                seed: Some(seed),
                ..a.options.clone()
            },
        )?;
        for (slot, v) in worst.iter_mut().zip(judge(&s, &o, Some(seed))?) {
            let margin = |v: &Verdict| {
                v.max
                    .map_or(f64::MAX, |m| m - v.value)
                    .min(v.min.map_or(f64::MAX, |m| v.value - m))
            };
            if slot.as_ref().is_none_or(|(w, _)| margin(&v) < margin(w)) {
                *slot = Some((v, seed));
            }
        }
    }
    outln!("{}: {} seeds, the worst of each bar", s.name, a.seeds);
    for (v, seed) in worst.iter().flatten() {
        outln!("{} (seed {seed})", v.text());
    }
    Ok(worst.iter().flatten().all(|(v, _)| v.ok))
}

fn command_kinds(a: &Args) -> Result<bool, String> {
    let all: Vec<String> = kinds::KINDS.iter().map(|k| k.0.to_string()).collect();
    let mut good = true;
    for kind in if a.files.is_empty() { &all } else { &a.files } {
        let Some((_, about)) = kinds::KINDS.iter().find(|k| k.0 == kind) else {
            return Err(format!("no kind is called `{kind}`: W1 to W9"));
        };
        outln!("{kind}: {about}; {} cases from {} on", a.seeds, a.first);
        // By bar: how many cases have it, how many are over it, the worst part of its limit, in which case.
        let mut found: Vec<(String, u64, u64, f64, u64)> = Vec::new();
        let mut out_of_reach = 0;
        for case in a.first..a.first + a.seeds {
            let text = kinds::scenario(kind, case).unwrap_or_default();
            let s = Scenario::parse(&text).map_err(|e| format!("{kind} {case}: {e}"))?;
            let o = run(&s, &a.options).map_err(|e| format!("{kind} {case}: {e}"))?;
            for v in judge(&s, &o, None)? {
                let name = format!("{} {}", v.bar.of, v.bar.who);
                let part = v.value / v.max.unwrap_or(f64::MAX).max(1e-9);
                let at = found.iter().position(|f| f.0 == name);
                let at = at.unwrap_or_else(|| {
                    found.push((name, 0, 0, f64::MIN, 0));
                    found.len() - 1
                });
                let f = &mut found[at];
                f.1 += 1;
                f.2 += u64::from(!v.ok);
                if part > f.3 {
                    (f.3, f.4) = (part, case);
                }
                good &= v.ok;
                if v.bar.of == "switches" && !v.ok {
                    let plain = Options {
                        sched: Some("plain".into()),
                        ..a.options.clone()
                    };
                    let least = o.forced().min(run(&s, &plain)?.forced());
                    out_of_reach += u64::from(least as f64 > v.max.unwrap_or(f64::MAX));
                }
            }
        }
        for (name, cases, over, worst, case) in found {
            outln!(
                "  {name:<28} {over:>4} of {cases:<4} over; worst {worst:.3} of the limit (case {case})"
            );
        }
        if out_of_reach != 0 {
            outln!(
                "  of the switches over, {out_of_reach} out of reach: yields and sleeps alone force more, here and under plain"
            );
        }
    }
    Ok(good)
}

fn command_kind(a: &Args) -> Result<bool, String> {
    let [kind, case] = a.files.as_slice() else {
        return Err("kind needs a name and a number".into());
    };
    let case = case.parse().map_err(|_| format!("`{case}` is no number"))?;
    let text = kinds::scenario(kind, case);
    out!(
        "{}",
        text.ok_or_else(|| format!("no kind is called `{kind}`: W1 to W9"))?
    );
    Ok(true)
}

fn command_replay(a: &Args) -> Result<bool, String> {
    let [file] = a.files.as_slice() else {
        return Err("replay needs one TRACE".into());
    };
    let text = std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
    let traces = replay::read(&text).map_err(|e| format!("{file}: {e}"))?;
    let mut same = true;
    for t in &traces {
        let v = replay::replay(t);
        out!("{}", v.text);
        same &= v.same;
    }
    Ok(same)
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, rest)) = words.split_first() else {
        out!("{HELP}");
        return ExitCode::from(2);
    };
    if matches!(command.as_str(), "help" | "--help" | "-h")
        || rest.iter().any(|w| w == "--help" || w == "-h")
    {
        out!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let result = parse(rest).and_then(|a| match command.as_str() {
        "run" => command_run(&a),
        "compare" => command_compare(&a),
        "sweep" => command_sweep(&a),
        "kinds" => command_kinds(&a),
        "kind" => command_kind(&a),
        "replay" => command_replay(&a),
        "costs" => costs::table(&a.svg).map(|t| {
            out!("{t}");
            true
        }),
        other => Err(format!("unknown command `{other}`; try tarn-sim --help")),
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(e) => {
            eprintln!("tarn-sim: {e}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_seeds_are_refused() {
        let of = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|w| w.to_string()).collect();
            parse(&words).map(|a| (a.seeds, a.first))
        };
        assert_eq!(of(&["--seeds", "3"]), Ok((3, 1)));
        for bad in [["--seeds", "0"], ["--seeds", "100001"], ["--first", "0"]] {
            let e = of(&bad).expect_err(bad[1]);
            assert!(e.starts_with(&format!("{} must be from 1", bad[0])), "{e}");
        }
    }
}
