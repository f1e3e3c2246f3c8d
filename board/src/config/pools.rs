//! `xen,cpupool` nodes to pools.
//!
//! Rules (Xen's cpupools.txt and ours): the pool with the boot CPU is Pool-0; CPUs in no node form an additional
//! pool; a node with a CPU that another has, or with a phandle that is no CPU, is refused and its CPUs count as
//! being in no node.

use super::section::{Refusal, Section, note};
use super::{Config, DEFAULT_SCHED, Diagnostic, PoolConfig, Severity};
use crate::props::{cells, strings};
use crate::tree::ConfNode;
use crate::{Board, BoardError};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use tarn_abi::{CpuId, CpuSet, MAX_POOLS};

/// Xen's property.
const PHANDLES: &str = "cpupool-cpus";
/// Ours.
const NUMBERS: &str = "tarn,cpus";

/// The pools found so far.
pub(super) struct Pools<'a, 'b> {
    board: &'b Board<'b>,
    pools: Vec<(u32, PoolConfig<'a>)>,
    taken: CpuSet,
    refused: Vec<u32>,
}

/// Which phandle means which pool.
pub(super) struct Handles {
    pools: Vec<(u32, usize)>,
    refused: Vec<u32>,
}

impl Handles {
    /// The pool's index; the error says why there is none.
    pub fn find(&self, phandle: u32) -> Result<usize, &'static str> {
        match self
            .pools
            .iter()
            .find(|(p, _)| *p == phandle && phandle != 0)
        {
            Some((_, index)) => Ok(*index),
            None if self.refused.contains(&phandle) => Err("that pool's node was refused"),
            None => Err("it must be the phandle of a \"xen,cpupool\" node"),
        }
    }
}

impl<'a, 'b> Pools<'a, 'b> {
    /// None yet.
    pub fn new(board: &'b Board<'b>) -> Pools<'a, 'b> {
        Pools {
            board,
            pools: Vec::new(),
            taken: CpuSet::EMPTY,
            refused: Vec::new(),
        }
    }

    /// A child of /chosen.
    pub fn node(
        &mut self,
        node: ConfNode<'a>,
        notes: &mut Vec<Diagnostic>,
    ) -> Result<(), BoardError> {
        if !strings(node.compatible()?).any(|s| s == "xen,cpupool") {
            return Ok(());
        }
        let section = Section::new(node, "/chosen")?;
        match self.pool(&section, notes) {
            Ok(pool) => {
                self.taken = self.taken.union(&pool.cpus);
                self.pools.push((section.phandle(), pool));
            }
            Err(refusal) => {
                note(notes, Severity::Refused, refusal);
                if section.phandle() != 0 && self.refused.len() < MAX_POOLS {
                    self.refused.push(section.phandle());
                }
            }
        }
        Ok(())
    }

    fn pool(
        &self,
        section: &Section<'a>,
        notes: &mut Vec<Diagnostic>,
    ) -> Result<PoolConfig<'a>, Refusal> {
        // One place is kept for the CPUs in no node.
        if self.pools.len() >= MAX_POOLS - 1 {
            return Err(section.refuse("", format!("there can be at most {} pools", MAX_POOLS - 1)));
        }
        let cpus = self.cpus(section)?;
        let sched = section.text("cpupool-sched")?.unwrap_or(DEFAULT_SCHED);
        section.check_name("cpupool-sched", sched)?;
        let taken = |name: &str| self.pools.iter().any(|(_, p)| p.name == name);
        let name = section.own_name(taken)?;
        let mut params = Vec::new();
        for (name, value) in &section.props {
            match *name {
                "compatible" | "phandle" | "linux,phandle" | PHANDLES | NUMBERS
                | "cpupool-sched" | "tarn,name" => {}
                ours if ours.starts_with("tarn,") => params.push(section.param(ours, value)?),
                other => section.warn(notes, other, "unknown property of a pool, ignored".into()),
            }
        }
        Ok(PoolConfig {
            node: section.path.clone(),
            name: name.to_string(),
            cpus,
            sched,
            params,
        })
    }

    /// Its CPUs: phandles as Xen has it, or numbers, which a description apart from the board's tree must use.
    fn cpus(&self, section: &Section<'a>) -> Result<CpuSet, Refusal> {
        let (property, list) = match (section.get(PHANDLES), section.text(NUMBERS)?) {
            (Some(_), Some(_)) => {
                let message = format!("the CPUs are given by {PHANDLES} already");
                return Err(section.refuse(NUMBERS, message));
            }
            (Some(phandles), None) => (PHANDLES, self.by_phandle(section, phandles)?),
            (None, None) => {
                let message = "missing; phandles of CPU nodes, or tarn,cpus with their numbers such as \"0-2,5\"";
                return Err(section.refuse(PHANDLES, message.into()));
            }
            (None, Some(text)) => (NUMBERS, self.by_number(section, text)?),
        };
        let mut cpus = CpuSet::EMPTY;
        for cpu in list {
            if cpus.contains(cpu) {
                return Err(section.refuse(
                    property,
                    format!("{cpu} is in the list twice", cpu = Cpu(cpu)),
                ));
            }
            if self.taken.contains(cpu) {
                let owner = self
                    .pools
                    .iter()
                    .find(|(_, p)| p.cpus.contains(cpu))
                    .map_or("", |(_, p)| &p.name);
                let message = format!("{cpu} is in pool \"{owner}\" already", cpu = Cpu(cpu));
                return Err(section.refuse(property, message));
            }
            cpus.insert(cpu);
        }
        Ok(cpus)
    }

    fn by_phandle(&self, section: &Section<'a>, list: &[u8]) -> Result<Vec<CpuId>, Refusal> {
        if list.is_empty() || !list.len().is_multiple_of(4) {
            return Err(section.refuse(
                PHANDLES,
                "it must be a list of phandles of CPU nodes, not empty".into(),
            ));
        }
        let found = cells(list).map(|phandle| {
            self.board.cpu_by_phandle(phandle).ok_or_else(|| {
                let message = format!("{phandle:#x} is not the phandle of a CPU that can be used");
                section.refuse(PHANDLES, message)
            })
        });
        found.collect()
    }

    fn by_number(&self, section: &Section<'a>, text: &str) -> Result<Vec<CpuId>, Refusal> {
        let Some(cpus) = CpuSet::parse(text) else {
            let message = format!(
                "is \"{text}\"; it must be a list of CPU numbers such as \"0-2,5\", at least one"
            );
            return Err(section.refuse(NUMBERS, message));
        };
        let present = CpuSet::first(self.board.cpus.len());
        let absent = cpus.difference(&present);
        if !absent.is_empty() {
            let message = format!("CPUs {absent} are not there; the machine has CPUs {present}");
            return Err(section.refuse(NUMBERS, message));
        }
        Ok(cpus.iter().collect())
    }

    /// Puts the pools into `config`, Pool-0 first.
    pub fn finish(mut self, config: &mut Config<'a>) -> Handles {
        let rest = CpuSet::first(self.board.cpus.len()).difference(&self.taken);
        // A node may have taken that name.
        let names = |name: &str| self.pools.iter().any(|(_, p)| p.name == name);
        let first = if rest.contains(CpuId::BOOT) {
            0
        } else {
            self.pools.len()
        };
        let name = (first..)
            .map(|n| format!("Pool-{n}"))
            .find(|name| !names(name));
        let implicit = PoolConfig {
            node: String::new(),
            name: name.unwrap_or_default(),
            cpus: rest,
            sched: DEFAULT_SCHED,
            params: Vec::new(),
        };
        if rest.contains(CpuId::BOOT) {
            self.pools.insert(0, (0, implicit));
        } else {
            if let Some(boot) = self
                .pools
                .iter()
                .position(|(_, p)| p.cpus.contains(CpuId::BOOT))
            {
                let pool = self.pools.remove(boot);
                self.pools.insert(0, pool);
            }
            if !rest.is_empty() {
                self.pools.push((0, implicit));
            }
        }
        let handles = self
            .pools
            .iter()
            .enumerate()
            .map(|(i, (phandle, _))| (*phandle, i))
            .collect();
        config.pools = self.pools.into_iter().map(|(_, p)| p).collect();
        Handles {
            pools: handles,
            refused: self.refused,
        }
    }
}

/// A CPU in a message.
struct Cpu(CpuId);

impl core::fmt::Display for Cpu {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "CPU {}", self.0)
    }
}
