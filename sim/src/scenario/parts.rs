//! The tables of a scenario file, one function each.

use super::*;

pub(super) fn params(r: &mut Reader<'_>) -> Res<SchedParams> {
    let d = SchedParams::DEFAULT;
    let mut t = |key, default: Span| Ok::<Span, String>(r.time(key)?.map_or(default, Span));
    let p = SchedParams {
        slice: t("slice", d.slice)?,
        ratelimit: t("ratelimit", d.ratelimit)?,
        grant: t("grant", d.grant)?,
        carry: t("carry", d.carry)?,
        resistance: t("resistance", d.resistance)?,
        min_slice: t("min_slice", d.min_slice)?,
        max_slice: t("max_slice", d.max_slice)?,
        switch_cost: t("switch_cost", d.switch_cost)?,
        boost: r.bool("boost", d.boost)?,
    };
    p.check().map_err(|e| format!("{}: {e}", r.at))?;
    Ok(p)
}

pub(super) fn source(at: String, number: usize, v: &Value) -> Res<Source> {
    let mut r = Reader::new(at, v)?;
    // `poisson` is the mean itself, or says of what kind the period is.
    let period = r.time("period")?;
    let (period, poisson) = match (period, r.get("poisson")) {
        (Some(p), None) => (p, false),
        (Some(p), Some(Value::Boolean(b))) => (p, *b),
        (None, Some(Value::String(_))) => {
            let mean = r.time("poisson")?;
            (r.need("poisson", mean)?, true)
        }
        (None, None) => return r.bad("period", "or `poisson` is needed"),
        _ => {
            return r.bad(
                "poisson",
                "must be a mean time in place of `period`, or true or false beside it",
            );
        }
    };
    if period < 1_000 {
        return r.bad("period", "must be at least 1us");
    }
    let name = r
        .text("name")?
        .map_or_else(|| number.to_string(), str::to_string);
    let s = Source {
        name,
        period,
        poisson,
        phase: r.time("phase")?.unwrap_or(0),
        end: r.time("end")?.unwrap_or(u64::MAX),
        handler: r.time("handler")?.unwrap_or(5_000).max(1),
        priority: r.int("priority", 1, 1, 2)? as usize,
        work: r.amount("work")?.unwrap_or(Amount::Fixed(0)),
        acc: r.bool("acc", false)?,
        deadline: r.time("deadline")?,
    };
    r.done()?;
    Ok(s)
}

pub(super) fn vcpu(at: String, v: &Value, locks: &mut Vec<String>) -> Res<(Model, u64)> {
    let mut r = Reader::new(at.clone(), v)?;
    let mut program = Program::None;
    let mut programs = 0;
    let mut yield_every = r.time("yield_every")?;
    let hog = match r.get("hog") {
        Some(v @ Value::Table(_)) => {
            let mut p = Reader::new(format!("{at}.hog"), v)?;
            yield_every = p.time("yield_every")?.or(yield_every);
            p.done()?;
            true
        }
        _ => r.bool("hog", false)?,
    };
    if yield_every.is_some_and(|y| y < 1_000) {
        return r.bad("yield_every", "must be at least 1us");
    }
    if hog {
        programs += 1;
        program = Program::Hog { yield_every };
    } else if yield_every.is_some() {
        return r.bad("yield_every", "is for a hog");
    }
    if let Some(v) = r.get("runsleep") {
        programs += 1;
        let mut p = Reader::new(format!("{at}.runsleep"), v)?;
        let (run, sleep) = (p.amount("run")?, p.amount("sleep")?);
        program = Program::RunSleep {
            run: p.need("run", run)?,
            sleep: p.need("sleep", sleep)?,
        };
        for (key, amount) in [("run", run), ("sleep", sleep)] {
            if amount.is_some_and(|a| a.mean() < 1_000) {
                return p.bad(key, "must be at least 1us");
            }
        }
        p.done()?;
    }
    let usual = Value::Table(Table::new());
    let lock = match r.get("lock") {
        Some(Value::Boolean(true)) => Some(&usual),
        Some(Value::Boolean(false)) => None,
        other => other,
    };
    if let Some(v) = lock {
        programs += 1;
        let mut p = Reader::new(format!("{at}.lock"), v)?;
        let name = p.text("name")?.unwrap_or("lock");
        let lock = locks.iter().position(|l| l == name).unwrap_or_else(|| {
            locks.push(name.to_string());
            locks.len() - 1
        });
        let compute = p.amount("compute")?.unwrap_or(Amount::Exp(300_000));
        let hold = p.time("hold")?.unwrap_or(40_000);
        if compute.mean().saturating_add(hold) < 1_000 {
            return p.bad("compute", "and `hold` must be at least 1us together");
        }
        program = Program::Lock {
            compute,
            hold: hold.max(1),
            spin: p.time("spin")?.unwrap_or(10_000).max(1),
            lock,
        };
        p.done()?;
    }
    if programs > 1 {
        return Err(format!("{at}: only one of hog, runsleep and lock"));
    }
    let page = r.text("page")?;
    let dont_desched = match (page, r.bool("enl", false)?, r.bool("abuse", false)?) {
        (None | Some("absent"), false, false) => DontDesched::Absent,
        (None, true, false) | (Some("rt" | "enl"), _, false) => DontDesched::WhileRt,
        (None, _, true) | (Some("always" | "abuse"), _, _) => DontDesched::Always,
        (Some("rt" | "enl" | "absent"), _, _) => {
            return r.bad("page", "contradicts `enl` or `abuse`");
        }
        (Some(_), _, _) => return r.bad("page", "must be absent, rt (= enl) or always (= abuse)"),
    };
    let mut sources = Vec::new();
    for (i, s) in r.list("irq")?.iter().enumerate() {
        sources.push(source(format!("{at}.irq[{i}]"), i, s)?);
    }
    let count = r.int("count", 1, 1, 1024)?;
    r.done()?;
    if programs == 0 && sources.is_empty() {
        return Err(format!(
            "{at}: would never do anything: one of hog, runsleep, lock and irq is needed"
        ));
    }
    Ok((
        Model {
            sources,
            program,
            dont_desched,
        },
        count,
    ))
}

/// What a vCPU or a virtual processor is where it competes, but for the CPUs it may use.
pub(super) fn entity(r: &mut Reader) -> Res<VcpuParams> {
    let d = VcpuParams::DEFAULT;
    let p = VcpuParams {
        weight: r.int("weight", 256, 1, 65_535)? as u32,
        boost: BoostParams {
            ratio: r.int("boost_ratio", d.boost.ratio.into(), 0, 500)? as u16,
            interval: r.time("boost_interval")?.map_or(d.boost.interval, Span),
            limit: r.time("boost_limit")?.map_or(d.boost.limit, Span),
        },
        rt: RtParams {
            period: r.time("period")?.map_or(d.rt.period, Span),
            budget: r.time("budget")?.map_or(d.rt.budget, Span),
        },
        ..d
    };
    p.check().map_err(|e| format!("{}: {e}", r.at))?;
    Ok(p)
}

pub(super) fn domain(
    i: usize,
    v: &Value,
    pools: &[Pool],
    groups: &[Group],
    locks: &mut Vec<String>,
) -> Res<Vec<Domain>> {
    let mut r = Reader::new(format!("domain[{i}]"), v)?;
    let name = r.text("name")?;
    let name = r.need("name", name)?.to_string();
    r.at = format!("domain {name}");
    let group = match r.text("group")? {
        None => None,
        Some(g) => match groups.iter().position(|x| x.name == g) {
            Some(i) => Some(i),
            None => return r.bad("group", "names no group"),
        },
    };
    let pool = match (r.text("pool")?, group) {
        (None, Some(g)) => groups[g].pool,
        (None, None) => 0,
        (Some(p), g) => match pools.iter().position(|x| x.name == p) {
            Some(i) if g.is_none_or(|g| groups[g].pool == i) => i,
            Some(_) => return r.bad("pool", "is not the pool of its group"),
            None => return r.bad("pool", "names no pool"),
        },
    };
    let p = VcpuParams {
        affinity: r.cpus_of("affinity", pools)?.unwrap_or(CpuSet::ALL),
        soft: r.cpus_of("soft", pools)?.unwrap_or(CpuSet::ALL),
        ..entity(&mut r)?
    };
    p.check().map_err(|e| format!("{}: {e}", r.at))?;
    let cap = r.int("cap", 0, 0, 100_000)? as u32;
    let count = r.int("count", 1, 1, 512)?;
    let mut vcpus = Vec::new();
    let listed = r.list("vcpu")?;
    for (k, v) in listed.iter().enumerate() {
        let (m, n) = vcpu(format!("domain {name}.vcpu[{k}]"), v, locks)?;
        vcpus.extend(std::iter::repeat_n(m, n as usize));
    }
    if vcpus.is_empty() {
        return r.bad("vcpu", "must list at least one");
    }
    r.done()?;
    Ok((0..count)
        .map(|k| Domain {
            name: if count == 1 {
                name.clone()
            } else {
                format!("{name}{k}")
            },
            pool,
            group,
            cap,
            params: p,
            vcpus: vcpus.clone(),
        })
        .collect())
}

pub(super) fn action(i: usize, v: &Value, s: &Scenario) -> Res<Vec<Action>> {
    let mut r = Reader::new(format!("at[{i}]"), v)?;
    let at = r.time("time")?;
    let at = r.need("time", at)?;
    if at >= s.duration {
        return r.bad("time", "must be before the end of the run");
    }
    let every = r.time("every")?;
    if every.is_some_and(|e| e < 1_000) {
        return r.bad("every", "must be at least 1us");
    }
    let dom = r.text("domain")?;
    let doms: Vec<usize> = match dom {
        None => Vec::new(),
        Some(n) => {
            let d: Vec<usize> = s
                .domains
                .iter()
                .enumerate()
                .filter(|(_, d)| matches(n, &d.name))
                .map(|(i, _)| i)
                .collect();
            if d.is_empty() {
                return r.bad("domain", "names no domain");
            }
            d
        }
    };
    let pool = match r.text("pool")? {
        None | Some("none") => None,
        Some(p) => match s.pools.iter().position(|x| x.name == p) {
            Some(i) => Some(i),
            None => return r.bad("pool", "names no pool"),
        },
    };
    let group = match r.text("group")? {
        None | Some("none") => None,
        Some(g) => match s.groups.iter().position(|x| x.name == g) {
            Some(i) => Some(i),
            None => return r.bad("group", "names no group"),
        },
    };
    let weight = r.number("weight", 1, 65_535)?;
    let cap = r.number("cap", 0, 100_000)?;
    let cpus = r.cpus_of("cpus", &s.pools)?;
    let sched = r.text("sched")?;
    if sched.is_some_and(|s| tarn_pools::sched_by_name(s).is_none()) {
        return r.bad("sched", "names no scheduler");
    }
    let op = r.text("do")?;
    let op = r.need("do", op)?;
    let mut out = Vec::new();
    let mut push = |what| out.push(Action { at, every, what });
    match op {
        "weight" => {
            let w = r.need("weight", weight)? as u32;
            doms.iter().for_each(|&d| push(What::Weight(d, w)));
        }
        "cap" => {
            let c = r.need("cap", cap)? as u32;
            doms.iter().for_each(|&d| push(What::Cap(d, c)));
        }
        "pause" => doms.iter().for_each(|&d| push(What::Pause(d))),
        "unpause" => doms.iter().for_each(|&d| push(What::Unpause(d))),
        "group" => doms.iter().for_each(|&d| push(What::Regroup(d, group))),
        "affinity" => {
            let c = r.need("cpus", cpus)?;
            doms.iter().for_each(|&d| push(What::Affinity(d, c)));
        }
        "soft" => {
            let c = r.need("cpus", cpus)?;
            doms.iter().for_each(|&d| push(What::Soft(d, c)));
        }
        "sched" => {
            let (p, kind) = (r.need("pool", pool)?, r.need("sched", sched)?);
            push(What::Sched(
                p,
                kind.to_string(),
                cpus.unwrap_or(CpuSet::EMPTY),
            ));
        }
        "move" => {
            let p = r.need("pool", pool)?;
            doms.iter().for_each(|&d| push(What::Move(d, p)));
        }
        "cpu" => r
            .need("cpus", cpus)?
            .iter()
            .for_each(|c| push(What::Cpu(c.0, pool))),
        _ => {
            return r.bad(
                "do",
                "must be weight, cap, affinity, soft, pause, unpause, move, group, sched or cpu",
            );
        }
    }
    if out.is_empty() {
        return r.bad("domain", "is missing");
    }
    let takes: &[&str] = match op {
        "weight" => &["domain", "weight"],
        "cap" => &["domain", "cap"],
        "group" => &["domain", "group"],
        "affinity" | "soft" => &["domain", "cpus"],
        "sched" => &["pool", "sched", "cpus"],
        "move" => &["domain", "pool"],
        "cpu" => &["cpus", "pool"],
        _ => &["domain"],
    };
    let mut others = ["domain", "pool", "group", "cpus", "weight", "cap", "sched"].into_iter();
    if let Some(k) = others.find(|k| !takes.contains(k) && r.table.contains_key(*k)) {
        return r.bad(k, &format!("is not for `{op}`"));
    }
    r.done()?;
    Ok(out)
}

pub(super) fn bar(i: usize, v: &Value) -> Res<Bar> {
    let mut r = Reader::new(format!("bar[{i}]"), v)?;
    let mut number = |key: &'static str| -> Res<Option<f64>> {
        match r.get(key) {
            None => Ok(None),
            Some(Value::Integer(n)) => Ok(Some(*n as f64)),
            Some(Value::Float(x)) if x.is_finite() => Ok(Some(*x)),
            Some(Value::String(t)) => match time(t) {
                Some(n) => Ok(Some(n as f64)),
                None => r.bad(key, "must be a number or a time"),
            },
            Some(_) => r.bad(key, "must be a number or a time"),
        }
    };
    let (max, min) = (number("max")?, number("min")?);
    let of = r.text("of")?;
    let b = Bar {
        of: r.need("of", of)?.to_string(),
        who: r.text("who")?.unwrap_or("*").to_string(),
        max,
        min,
        pooled: r.bool("pooled", false)?,
        irq: r.text("irq")?.map(str::to_string),
        versus: r.text("versus")?.map(str::to_string),
    };
    if b.max.is_none() && b.min.is_none() {
        return r.bad("max", "or `min` is needed");
    }
    if !crate::report::METRICS.contains(&b.of.as_str()) {
        return r.bad(
            "of",
            &format!("must be one of {}", crate::report::METRICS.join(", ")),
        );
    }
    r.done()?;
    Ok(b)
}
