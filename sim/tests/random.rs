//! Random scenarios: any machine, any guests, any reconfiguration; the invariants hold. A failing one is shrunk before it
//! is shown. `TARN_SIM_CASES` sets how many (1,000 by default), `TARN_SIM_FIRST` where to begin, `TARN_SIM_JOBS` how many at
//! once. `cargo xtask soak` runs 100,000 of them.

use tarn_abi::trace::Record;
use tarn_sim::engine::{Options, run};
use tarn_sim::rng::Rng;
use tarn_sim::{Scenario, replay};

/// A scenario as pieces of TOML, so that pieces can be left out.
#[derive(Clone)]
struct Pieces {
    head: String,
    pools: Vec<String>,
    groups: Vec<String>,
    domains: Vec<String>,
    actions: Vec<String>,
}

impl Pieces {
    fn text(&self) -> String {
        let mut t = self.head.clone();
        for list in [&self.pools, &self.groups, &self.domains, &self.actions] {
            list.iter().for_each(|p| t.push_str(p));
        }
        t
    }
}

fn one<'a>(r: &mut Rng, of: &[&'a str]) -> &'a str {
    of[r.below(of.len() as u64) as usize]
}

fn generate(case: u64) -> Pieces {
    let mut r = Rng::stream(case, 7, 7);
    let sched = one(
        &mut r,
        &["credit2", "credit2", "credit2", "rr", "null", "rtds"],
    );
    let n_pools = 1 + r.below(2);
    let (mut cpus, mut first_pool) = (0, 0);
    let mut pools = Vec::new();
    for p in 0..n_pools {
        let n = 1 + r.below(4);
        cpus += n;
        if p == 0 {
            first_pool = n;
        }
        let speeds: Vec<String> = (0..n)
            .map(|_| one(&mut r, &["1024", "1024", "512", "333"]).to_string())
            .collect();
        let ratelimit = one(&mut r, &["0ns", "100us", "1ms", "5ms"]);
        let boost = one(&mut r, &["true", "true", "false"]);
        pools.push(format!(
            "[[pool]]\nname = \"p{p}\"\ncpus = {n}\nsched = \"{sched}\"\nspeeds = [{}]\nratelimit = \"{ratelimit}\"\nboost = {boost}\n",
            speeds.join(", ")
        ));
    }
    let n_groups = if sched == "null" { 0 } else { r.below(4) };
    let groups: Vec<String> = (0..n_groups)
        .map(|g| {
            let parent = if g > 0 && r.below(2) == 0 {
                format!("parent = \"g{}\"\n", r.below(g))
            } else {
                String::new()
            };
            let kind = one(&mut r, &["credit2", "rr", "credit2", "rr", "rtds"]);
            format!(
                "[[group]]\nname = \"g{g}\"\n{parent}vps = {}\nweight = {}\nsched = \"{kind}\"\n",
                1 + r.below(3),
                1 + r.below(2000)
            )
        })
        .collect();
    let n_domains = 1 + r.below(7);
    let mut domains = Vec::new();
    // Domains bound to a CPU of another pool, and that pool.
    let mut astray = Vec::new();
    for d in 0..n_domains {
        let mut t = format!(
            "[[domain]]\nname = \"d{d}\"\nweight = {}\n",
            1 + r.below(60_000) / (1 + r.below(1000))
        );
        let mut home = 0;
        if n_groups > 0 && r.below(3) == 0 {
            t += &format!("group = \"g{}\"\n", r.below(n_groups));
        } else {
            home = r.below(n_pools);
            t += &format!("pool = \"p{home}\"\n");
        }
        if r.below(3) == 0 {
            let cpu = r.below(cpus);
            t += &format!("affinity = \"{cpu}\"\n");
            let pool = u64::from(cpu >= first_pool);
            if pool != home {
                astray.push((d, pool));
            }
        } else if r.below(3) == 0 {
            t += &format!("soft = \"{}\"\n", r.below(cpus));
        }
        if r.below(5) == 0 {
            t += &format!("cap = {}\n", 1 + r.below(100));
        }
        if sched == "rtds" {
            t += &format!(
                "period = \"{}us\"\nbudget = \"50us\"\n",
                500 + r.below(5_000)
            );
        }
        t += &format!("boost_ratio = {}\n", one(&mut r, &["250", "0", "500"]));
        for _ in 0..1 + r.below(3) {
            t += "[[domain.vcpu]]\n";
            let program = r.below(5);
            match program {
                0 => t += "hog = true\n",
                1 => t += &format!("hog = true\nyield_every = \"{}us\"\n", 20 + r.below(3000)),
                2 => {
                    t += &format!(
                        "runsleep = {{ run = \"exp({}us)\", sleep = \"exp({}us)\" }}\n",
                        1 + r.below(5000),
                        1 + r.below(5000)
                    )
                }
                3 => t += "lock = { compute = \"exp(100us)\", hold = \"40us\", spin = \"10us\" }\n",
                _ => {}
            }
            t += &format!(
                "page = \"{}\"\n",
                one(&mut r, &["absent", "absent", "rt", "always"])
            );
            let irqs = r.below(3);
            if program == 4 && irqs == 0 {
                // It does nothing before the end.
                t += "[[domain.vcpu.irq]]\nperiod = \"1s\"\nphase = \"1s\"\n";
            }
            for _ in 0..irqs {
                let kind = one(&mut r, &["period", "poisson"]);
                t += &format!(
                    "[[domain.vcpu.irq]]\n{kind} = \"{}us\"\nphase = \"{}us\"\nhandler = \"{}us\"\npriority = {}\nwork = \"exp({}us)\"\nacc = {}\n",
                    100 + r.below(8000),
                    r.below(1000),
                    1 + r.below(60),
                    1 + r.below(2),
                    1 + r.below(900),
                    one(&mut r, &["true", "false"])
                );
            }
        }
        domains.push(t);
    }
    let mut actions = Vec::new();
    for _ in 0..r.below(8) {
        let d = r.below(n_domains);
        let (at, every) = (r.below(20_000), 500 + r.below(9000));
        let again = format!("time = \"{at}us\"\nevery = \"{every}us\"\n");
        let mut after = Vec::new();
        let action = match r.below(8) {
            0 => format!(
                "[[at]]\n{again}do = \"weight\"\ndomain = \"d{d}\"\nweight = {}\n",
                1 + r.below(5000)
            ),
            1 => format!(
                "[[at]]\n{again}do = \"affinity\"\ndomain = \"d{d}\"\ncpus = \"{}\"\n",
                r.below(cpus)
            ),
            2 => {
                let then = at + r.below(2000);
                after.push((then, format!("[[at]]\ntime = \"{then}us\"\nevery = \"{every}us\"\ndo = \"unpause\"\ndomain = \"d{d}\"\n")));
                format!("[[at]]\n{again}do = \"pause\"\ndomain = \"d{d}\"\n")
            }
            7 => format!(
                "[[at]]\n{again}do = \"soft\"\ndomain = \"d{d}\"\ncpus = \"{}-{}\"\n",
                d % cpus,
                cpus - 1
            ),
            3 => format!(
                "[[at]]\n{again}do = \"cap\"\ndomain = \"d{d}\"\ncap = {}\n",
                r.below(101)
            ),
            4 if n_pools > 1 => format!(
                "[[at]]\n{again}do = \"cpu\"\ncpus = \"{}\"\npool = \"p{}\"\n",
                1 + r.below(cpus.max(2) - 1),
                r.below(2)
            ),
            6 if sched != "null" => {
                let to = one(&mut r, &["credit2", "rr", "credit2", "rr", "rtds"]);
                let pool = r.below(n_pools);
                let with = match r.below(2) {
                    0 => format!("cpus = \"{}\"\n", r.below(cpus)),
                    _ => String::new(),
                };
                format!(
                    "[[at]]\n{again}do = \"sched\"\npool = \"p{pool}\"\nsched = \"{to}\"\n{with}"
                )
            }
            5 if n_groups > 0 => {
                format!(
                    "[[at]]\n{again}do = \"group\"\ndomain = \"d{d}\"\ngroup = \"g{}\"\n",
                    r.below(n_groups)
                )
            }
            _ => format!(
                "[[at]]\n{again}do = \"move\"\ndomain = \"d{d}\"\npool = \"p{}\"\n",
                r.below(n_pools)
            ),
        };
        actions.push((at, action));
        actions.extend(after);
    }
    let end = 10 + r.below(20);
    // What comes after the end would be no scenario's.
    actions.retain(|(at, _)| *at < end * 1_000);
    let mut actions: Vec<String> = actions.into_iter().map(|(_, text)| text).collect();
    actions.extend(astray.iter().map(|(d, pool)| {
        let at = end - 1;
        format!("[[at]]\ntime = \"{at}ms\"\ndo = \"move\"\ndomain = \"d{d}\"\npool = \"p{pool}\"\n")
    }));
    let head = format!("name = \"case{case}\"\nseed = {case}\nduration = \"{end}ms\"\n");
    Pieces {
        head,
        pools,
        groups,
        domains,
        actions,
    }
}

/// The broken invariant, if there is one. What the machine refuses to do is no failure.
fn broken(p: &Pieces) -> Option<String> {
    let s = Scenario::parse(&p.text()).ok()?;
    match std::panic::catch_unwind(|| {
        run(
            &s,
            &Options {
                check_every: 1,
                lenient: true,
                record: 1 << 17,
                ..Options::default()
            },
        )
    }) {
        Ok(Ok(o)) => again(&o.records),
        Ok(Err(e))
            if e.starts_with("domain ") || e.starts_with("pool ") || e.starts_with("group ") =>
        {
            None
        }
        Ok(Err(e)) => Some(e),
        Err(_) => Some("panic".into()),
    }
}

/// What does not replay of a recording, as far as it replays at all.
fn again(records: &[Vec<(u64, Record)>]) -> Option<String> {
    let traces = replay::replayable(records);
    let mut verdicts = traces.iter().map(replay::replay);
    verdicts.find(|v| !v.same).map(|v| v.text)
}

fn shrink(mut p: Pieces) -> Pieces {
    loop {
        let mut smaller = Vec::new();
        for i in 0..p.actions.len() {
            let mut q = p.clone();
            q.actions.remove(i);
            smaller.push(q);
        }
        for i in 0..p.domains.len() {
            let mut q = p.clone();
            q.domains.remove(i);
            smaller.push(q);
        }
        for i in 0..p.groups.len() {
            let mut q = p.clone();
            q.groups.remove(i);
            smaller.push(q);
        }
        match smaller.into_iter().find(|q| broken(q).is_some()) {
            Some(q) => p = q,
            None => return p,
        }
    }
}

/// Runs every `jobs`th case from `first` on; how many were scenarios at all. The first that fails is shrunk and shown.
fn run_cases(first: u64, end: u64, jobs: u64) -> u64 {
    let mut ran = 0;
    for case in (first..end).step_by(jobs as usize) {
        let p = generate(case);
        ran += u64::from(Scenario::parse(&p.text()).is_ok());
        if let Some(e) = broken(&p) {
            eprintln!("case {case}: {e}; shrinking\n{}", p.text());
            let small = shrink(p);
            panic!(
                "case {case}: {}\n{}",
                broken(&small).unwrap_or_default(),
                small.text()
            );
        }
    }
    ran
}

#[test]
fn random_scenarios_keep_the_invariants() {
    let number = |name: &str, default| {
        std::env::var(name)
            .ok()
            .and_then(|v| v.parse().ok())
            .unwrap_or(default)
    };
    let (first, cases): (u64, u64) = (number("TARN_SIM_FIRST", 0), number("TARN_SIM_CASES", 1000));
    let begin = std::time::Instant::now();
    let (end, jobs) = (first + cases, number("TARN_SIM_JOBS", 1).max(1));
    let ran: u64 = std::thread::scope(|s| {
        let all: Vec<_> = (0..jobs)
            .map(|j| s.spawn(move || run_cases(first + j, end, jobs)))
            .collect();
        all.into_iter()
            .map(|t| t.join().unwrap_or_else(|e| std::panic::resume_unwind(e)))
            .sum()
    });
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "{cases} cases from {first}, {ran} of them scenarios, all in order; {:.0} a second",
        cases as f64 / seconds.max(0.001)
    );
    assert!(
        ran * 10 > cases * 7,
        "only {ran} of {cases} are scenarios at all"
    );
}
