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
use tarn_board::config::Ground;
use tarn_board::{Board, Config, Diagnostic, PoolConfig, Region, config};
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

/// What Tarn would say, as findings.
fn as_at_boot(system: &System, machine: &Machine, compiled: &Compiled, tarn: u64) -> Vec<Finding> {
    match at_boot(machine, compiled, tarn) {
        Ok(said) => said.iter().map(|s| finding(compiled, s)).collect(),
        Err(why) => vec![Finding::error(&system.board.kind.span, why)],
    }
}

/// Something that Tarn says when it boots with a description.
#[derive(Clone, Debug)]
pub struct Said {
    /// In Tarn's words.
    pub note: Diagnostic,
    /// What Tarn would go on without, and an integrator should not.
    strict: bool,
    /// What a name may have been meant to be: said on the host only, where it can still be put right.
    hint: String,
}

/// Everything that Tarn says when it boots with a description, in its order: what it reads, then pools, then domains.
///
/// # Errors
/// Why there is nothing it could begin with.
pub fn at_boot(machine: &Machine, compiled: &Compiled, tarn: u64) -> Result<Vec<Said>, String> {
    let mut board = Board::from_dtb(&machine.tree, machine.boot_mpidr)
        .map_err(|error| format!("the board's device tree cannot be used: {error}"))?;
    let payload = machine.load.checked_add(tarn);
    let payload = payload.and_then(|at| Region::new(at, compiled.size));
    let payload = payload.ok_or("the image reaches past the last address")?;
    board
        .check_payload(&payload, machine.tree_at)
        .map_err(|why| format!("the image does not fit: {why}"))?;
    let config = config::reserve_static_mem(&mut board, &compiled.tree)
        .and_then(|()| Config::from_image(&compiled.tree, &board, payload))
        .map_err(|error| error.to_string())?;
    let used = [
        Region::new(machine.load, tarn),
        Some(payload),
        machine.tree_at,
    ];
    let used: Vec<Region> = used.into_iter().flatten().collect();
    let ground = Ground {
        tree: &machine.tree,
        board: &board,
        used: &used,
        marks: false,
    };
    let plain = |note: &Diagnostic| Said {
        note: note.clone(),
        strict: false,
        hint: String::new(),
    };
    let mut said: Vec<Said> = config.notes.iter().map(plain).collect();
    said.extend(config.pools.iter().flat_map(|p| pool(p, &board)));
    let mut given: Vec<config::Devices> = Vec::new();
    for domain in &config.domains {
        let with = |at: &VcpuParams, name: &str, value| vcpu_with(at, &setting(name, value));
        let (start, list) = (VcpuParams::DEFAULT, &domain.params);
        let (_, notes) = config::parameters(&domain.node, list, start, with);
        let row = |i| vcpu_row(&VcpuParams::DEFAULT, SchedId(0), i);
        said.extend(notes.into_iter().map(|n| slip(n, row)));
        let module = domain.device_tree.and_then(|module| {
            let offset = module.region.base().saturating_sub(payload.base());
            compiled.modules.iter().find(|m| m.offset == offset)
        });
        let partial = module.map(|m| &m.bytes[..]);
        match config::grant(ground, &config, domain, partial, &given) {
            Ok(grant) => {
                said.extend(grant.notes.iter().map(plain));
                given.push(grant.devices);
            }
            Err(note) => said.push(plain(&note)),
        }
    }
    Ok(said)
}

/// What is said of a pool's scheduler and parameters, by the tables that hv/src/placement.rs uses.
fn pool(pool: &PoolConfig<'_>, board: &Board<'_>) -> Vec<Said> {
    let (own, _, notes) = pool.split(board);
    let strict = |note, hint| Said {
        note,
        strict: true,
        hint,
    };
    let mut said: Vec<Said> = notes
        .into_iter()
        .map(|n| strict(n, String::new()))
        .collect();
    let with = |at: &PoolParams, name: &str, value| at.with(&setting(name, value));
    let (_, notes) = config::parameters(&pool.node, &own, PoolParams::DEFAULT, with);
    let row = |i| PoolParams::DEFAULT.row(SchedId(0), i);
    said.extend(notes.into_iter().map(|n| slip(n, row)));
    if tarn_pools::sched_by_name(pool.sched).is_none() {
        let known = tarn_pools::registry::ROWS.iter().map(|r| r.name);
        let near = nearest(pool.sched, known.clone());
        let hint = near.map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
        said.push(strict(pool.unknown_scheduler(known), hint));
    }
    said
}

fn setting(name: &str, value: u64) -> [Option<Setting>; 2] {
    let name = Label::new(name).unwrap_or_default();
    [Some(Setting { name, value }), None]
}

/// A parameter that does not fit, and if there is none of that name what it may have been meant to be.
fn slip(note: Diagnostic, row: impl Fn(usize) -> Option<ParamRow>) -> Said {
    let name = note.property.trim_start_matches("tarn,");
    let known: Vec<String> = (0..).map_while(row).map(|r| r.name.to_string()).collect();
    let hint = if known.iter().any(|k| k == name) {
        String::new()
    } else {
        format!("; {}", did_you_mean(name, known.iter().map(String::as_str)))
    };
    Said {
        note,
        strict: true,
        hint,
    }
}

/// A note of Tarn's reader, led back to the text.
fn finding(compiled: &Compiled, said: &Said) -> Finding {
    let note = &said.note;
    // What a partial tree says is said of the module that brings it.
    let node = match note.node.split_once(": partial tree: ") {
        Some((domain, _)) => format!("{domain}/devices"),
        None => note.node.clone(),
    };
    let at = compiled.place(&node, &note.property);
    let label = at.map_or(note.node.as_str(), |p| p.label.as_str());
    // What is ignored at boot is an error here, with what would be right.
    let what = ["; ignored", "; it gets the default"]
        .iter()
        .find_map(|end| note.message.strip_suffix(end));
    let what = what.unwrap_or(&note.message).to_owned() + &said.hint;
    Finding {
        severity: match note.severity {
            _ if said.strict => Severity::Error,
            tarn_board::Severity::Refused => Severity::Error,
            tarn_board::Severity::Warning => Severity::Warning,
        },
        span: at.map(|p| p.span.clone()),
        message: match at {
            _ if note.message.contains("xen,force-assign-without-iommu") => {
                format!("{label}: {what}; here: dma-without-iommu = true")
            }
            Some(p) if !note.property.is_empty() && p.property != note.property => {
                format!("{label}: {}: {what}", note.property)
            }
            _ => format!("{label}: {what}"),
        },
    }
}
