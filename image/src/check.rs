//! A description judged by the reader that Tarn uses at boot.
//!
//! The compiled tree goes through `tarn_board::Config::from_image` with the board's tree beside it, exactly as in
//! hv/src/payload.rs; each of its findings is led back to the line that caused it. What only the host can see (files,
//! spelling, types) was found before; a place that is wrong already is not complained about twice.

use crate::boards::{self, Machine};
use crate::compile::{self, Compiled};
use crate::pack::TARN_AT_MOST;
use crate::read;
use crate::source::{Finding, Severity, Source, did_you_mean, nearest};
use crate::system::System;
use tarn_abi::call::param::{ParamRow, Setting};
use tarn_abi::{Label, SchedId};
use tarn_board::{Board, Config, Region, config};
use tarn_pools::{PoolParams, VcpuParams, vcpu_row, vcpu_with};

/// What became of a description.
#[derive(Debug, Default)]
pub struct Checked {
    /// As it was read; `None` if that was not possible.
    pub system: Option<System>,
    /// The board; `None` if there is no such board.
    pub machine: Option<Machine>,
    /// Tree, files, places.
    pub compiled: Compiled,
    /// Everything that is not right, in the order of the text.
    pub findings: Vec<Finding>,
}

impl Checked {
    /// Whether an image may be made.
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|f| f.severity != Severity::Error)
    }

    /// The board and what Tarn will make of the description; `None` if the tree of either cannot be read.
    pub fn view<'a>(&'a self, tarn: u64) -> Option<(Board<'a>, Config<'a>, Region)> {
        let machine = self.machine.as_ref()?;
        let mut board = Board::from_dtb(&machine.tree, machine.boot_mpidr).ok()?;
        let payload = Region::new(machine.load.checked_add(tarn)?, self.compiled.size)?;
        config::reserve_static_mem(&mut board, &self.compiled.tree).ok()?;
        let config = Config::from_image(&self.compiled.tree, &board, payload).ok()?;
        Some((board, config, payload))
    }
}

/// Reads, compiles and checks. `tarn`: bytes that Tarn takes in memory, if its image is known.
pub fn check(source: &Source, tarn: Option<u64>) -> Checked {
    let (system, mut findings) = read::read(source);
    let Some(system) = system else {
        return Checked {
            findings,
            ..Checked::default()
        };
    };
    let machine = match boards::machine(&system.board) {
        Ok(machine) => Some(machine),
        Err(more) => {
            findings.extend(more);
            None
        }
    };
    let tree = machine.as_ref().map(|m| &m.tree[..]);
    let (compiled, more) = compile::compile(&system, tree);
    findings.extend(more);
    if let Some(machine) = &machine {
        let told = as_at_boot(&system, machine, &compiled, tarn.unwrap_or(TARN_AT_MOST));
        let said: Vec<_> = findings.iter().filter_map(|f| f.span.clone()).collect();
        let new = |f: &Finding| f.span.as_ref().is_none_or(|s| !said.contains(s));
        findings.extend(told.into_iter().filter(new));
    }
    findings.sort_by_key(|f| f.span.as_ref().map_or(usize::MAX, |s| s.start));
    Checked {
        system: Some(system),
        machine,
        compiled,
        findings,
    }
}

/// What Tarn would say.
fn as_at_boot(system: &System, machine: &Machine, compiled: &Compiled, tarn: u64) -> Vec<Finding> {
    let place = &system.board.kind.span;
    let mut board = match Board::from_dtb(&machine.tree, machine.boot_mpidr) {
        Ok(board) => board,
        Err(error) => {
            let message = format!("the board's device tree cannot be used: {error}");
            return vec![Finding::error(place, message)];
        }
    };
    let payload = machine
        .load
        .checked_add(tarn)
        .and_then(|at| Region::new(at, compiled.size));
    let Some(payload) = payload else {
        return vec![Finding::error(
            place,
            "the image reaches past the last address",
        )];
    };
    if let Err(why) = board.check_payload(&payload, machine.tree_at) {
        return vec![Finding::error(
            place,
            format!("the image does not fit: {why}"),
        )];
    }
    let read = config::reserve_static_mem(&mut board, &compiled.tree)
        .and_then(|()| Config::from_image(&compiled.tree, &board, payload));
    let config = match read {
        Ok(config) => config,
        Err(error) => return vec![Finding::error(place, error.to_string())],
    };
    let mut told: Vec<Finding> = config
        .notes
        .iter()
        .map(|note| finding(compiled, note))
        .collect();
    told.extend(given(machine, &board, &config, compiled, payload, tarn));
    told.extend(parameters(compiled, &config));
    told
}

/// A note of Tarn's reader, led back to the text.
fn finding(compiled: &Compiled, note: &tarn_board::Diagnostic) -> Finding {
    // What a partial tree says is said of the module that brings it.
    let node = match note.node.split_once(": partial tree: ") {
        Some((domain, _)) => format!("{domain}/devices"),
        None => note.node.clone(),
    };
    let at = compiled.place(&node, &note.property);
    let label = at.map_or(note.node.as_str(), |p| p.label.as_str());
    Finding {
        severity: match note.severity {
            tarn_board::Severity::Refused => Severity::Error,
            tarn_board::Severity::Warning => Severity::Warning,
        },
        span: at.map(|p| p.span.clone()),
        message: match at {
            _ if note.message.contains("xen,force-assign-without-iommu") => {
                format!("{label}: {}; here: dma-without-iommu = true", note.message)
            }
            Some(p) if !note.property.is_empty() && p.property != note.property => {
                format!("{label}: {}: {}", note.property, note.message)
            }
            _ => format!("{label}: {}", note.message),
        },
    }
}

/// Devices and memory at a fixed place, as hv/src/given.rs hands them out.
fn given(
    machine: &Machine,
    board: &Board<'_>,
    config: &Config<'_>,
    compiled: &Compiled,
    payload: Region,
    tarn: u64,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut all: Vec<config::Devices> = Vec::new();
    for domain in &config.domains {
        let image = Region::new(machine.load, tarn + payload.size());
        for bank in &domain.static_mem {
            if image.is_some_and(|i| i.overlaps(bank)) {
                let note = tarn_board::Diagnostic {
                    severity: tarn_board::Severity::Refused,
                    node: domain.node.clone(),
                    property: "xen,static-mem".into(),
                    message: format!("{bank} overlaps the image"),
                };
                found.push(finding(compiled, &note));
            }
        }
        let Some(module) = &domain.device_tree else {
            continue;
        };
        let offset = module.region.base().saturating_sub(payload.base());
        let Some(partial) = compiled.modules.iter().find(|m| m.offset == offset) else {
            continue;
        };
        match config::devices(&machine.tree, board, domain, &partial.bytes, &all, false) {
            Ok((devices, notes)) => {
                found.extend(notes.iter().map(|n| finding(compiled, n)));
                all.push(devices);
            }
            Err(note) => found.push(finding(compiled, &note)),
        }
    }
    found
}

/// Schedulers and parameters, by the tables that hv/src/placement.rs uses at boot.
fn parameters(compiled: &Compiled, config: &Config<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    // The description names its nodes after their tarn,name, which are unique by now.
    let mut wrong = |who: &str, property: &str, why: String| {
        let at = compiled.places.iter().find(|p| {
            p.property == property
                && p.label
                    .strip_prefix(who)
                    .is_some_and(|r| r.starts_with(':'))
        });
        found.push(Finding {
            severity: Severity::Error,
            span: at.map(|p| p.span.clone()),
            message: format!("{}: {why}", at.map_or(who, |p| p.label.as_str())),
        });
    };
    let setting = |name: &str, value| {
        let name = Label::new(name).unwrap_or_default();
        [Some(Setting { name, value }), None]
    };
    for pool in &config.pools {
        let who = format!("pool \"{}\"", pool.name);
        if tarn_pools::sched_by_name(pool.sched).is_none() {
            let known = tarn_pools::registry::ROWS.iter().map(|r| r.name);
            let mut why = config::no_such_scheduler(pool.sched, known.clone());
            if let Some(near) = nearest(pool.sched, known) {
                why += &format!("; did you mean \"{near}\"?");
            }
            wrong(&who, "cpupool-sched", why);
        }
        let own: Vec<_> = pool
            .params
            .iter()
            .copied()
            .filter(|p| p.name != "memory-node")
            .collect();
        let with = |at: &PoolParams, name: &str, value| at.with(&setting(name, value));
        let row = |i| PoolParams::DEFAULT.row(SchedId(0), i);
        for (name, why) in config::apply(&own, PoolParams::DEFAULT, with).1 {
            wrong(&who, &format!("tarn,{name}"), why + &slip(name, row));
        }
    }
    for domain in &config.domains {
        let who = format!("domain \"{}\"", domain.name);
        let with = |at: &VcpuParams, name: &str, value| vcpu_with(at, &setting(name, value));
        let row = |i| vcpu_row(&VcpuParams::DEFAULT, SchedId(0), i);
        for (name, why) in config::apply(&domain.params, VcpuParams::DEFAULT, with).1 {
            wrong(&who, &format!("tarn,{name}"), why + &slip(name, row));
        }
    }
    found
}

/// What a parameter that does not exist may have been meant to be.
fn slip(name: &str, row: impl Fn(usize) -> Option<ParamRow>) -> String {
    let known: Vec<String> = (0..).map_while(row).map(|r| r.name.to_string()).collect();
    if known.iter().any(|k| k == name) {
        return String::new();
    }
    format!("; {}", did_you_mean(name, known.iter().map(String::as_str)))
}
