//! What a domain is given of the machine beyond CPU time and free memory, decided: devices, interrupts, fixed places.
//!
//! The last rules, for which the machine itself and what the domains before it got must be known. Tarn asks here at boot
//! and `tarn-image check` on the host, so both say the same. Nothing is mapped or routed here.

use super::{
    Config, Devices, Diagnostic, DomainConfig, PoolConfig, Severity, apply, devices, doorbell_spis,
    no_such_scheduler,
};
use crate::Board;
use crate::region::Region;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Display;

/// SPIs that a guest's GIC can have.
pub const GUEST_SPIS: u32 = 960;

/// The machine that gives.
#[derive(Clone, Copy)]
pub struct Ground<'m> {
    /// Its device tree.
    pub tree: &'m [u8],
    /// What was found in it.
    pub board: &'m Board<'m>,
    /// What nobody can have: Tarn, the image, the tree.
    pub used: &'m [Region],
    /// Whether the configuration stands in `tree`, so that devices should carry `xen,passthrough` there.
    pub marks: bool,
}

/// What one domain gets.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Grant {
    /// Devices of the machine.
    pub devices: Devices,
    /// The SPI of each of its doorbells, in their order.
    pub doorbells: Vec<u32>,
    /// So many SPIs its GIC must have at least.
    pub spis: u32,
    /// What is odd about it.
    pub notes: Vec<Diagnostic>,
}

/// What `domain` of `config` gets: `partial` is its partial device tree, `given` what the domains before it got.
///
/// # Errors
/// Why it is refused.
pub fn grant(
    ground: Ground<'_>,
    config: &Config<'_>,
    domain: &DomainConfig<'_>,
    partial: Option<&[u8]>,
    given: &[Devices],
) -> Result<Grant, Diagnostic> {
    let refuse = |property: &str, message| Diagnostic {
        severity: Severity::Refused,
        node: domain.node.clone(),
        property: property.into(),
        message,
    };
    let banks = domain.static_mem.iter().map(|b| (*b, "xen,static-mem"));
    let shared = domain.shared.iter();
    let shared = shared.filter_map(|s| config.shared.get(s.memory)?.at);
    for (bank, property) in banks.chain(shared.map(|m| (m, "xen,shared-mem"))) {
        if let Some(u) = ground.used.iter().find(|u| u.overlaps(&bank)) {
            let message =
                format!("{bank} overlaps {u}, where Tarn, its image or the device tree lies");
            return Err(refuse(property, message));
        }
    }
    let mut got = Grant::default();
    if let Some(partial) = partial {
        let Ground {
            tree, board, marks, ..
        } = ground;
        (got.devices, got.notes) = devices(tree, board, domain, partial, given, marks)?;
    }
    got.doorbells = doorbell_spis(domain, &got.devices)?;
    let device = got.devices.irqs.iter().map(|i| i.intid.saturating_sub(31));
    let doorbell = got.doorbells.iter().map(|spi| spi + 1);
    got.spis = device.chain(doorbell).max().unwrap_or(0);
    Ok(got)
}

impl<'a> PoolConfig<'a> {
    /// The schedulers' and pools' parameters among its properties, the memory nodes it names, and what is wrong with those.
    pub fn split(&self, board: &Board<'_>) -> (Vec<super::Param<'a>>, Vec<u32>, Vec<Diagnostic>) {
        let (mut own, mut nodes, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        for p in &self.params {
            if !p.name.starts_with("memory") {
                own.push(*p);
                continue;
            }
            let known = |n: &u32| board.nodes.iter().any(|(_, node)| node == n);
            match p.number().map(u32::try_from) {
                Some(Ok(n)) if p.name == "memory-node" => {
                    if !known(&n) {
                        let message =
                            format!("no memory is of node {n}; its domains will not start");
                        notes.push(warning(&self.node, p.name, message));
                    }
                    nodes.push(n);
                }
                _ => {
                    let message = "it must be memory-node, a node's number; ignored".into();
                    notes.push(warning(&self.node, p.name, message));
                }
            }
        }
        (own, nodes, notes)
    }

    /// What is said if its scheduler is not among `known`: it gets the default.
    pub fn unknown_scheduler<'k>(&self, known: impl Iterator<Item = &'k str>) -> Diagnostic {
        let why = no_such_scheduler(self.sched, known);
        Diagnostic {
            severity: Severity::Warning,
            node: self.node.clone(),
            property: "cpupool-sched".into(),
            message: format!("{why}; it gets the default"),
        }
    }
}

/// `start` with all of `params` of `node` that `with` takes, and what is said of the others.
pub fn parameters<T, E: Display>(
    node: &str,
    params: &[super::Param<'_>],
    start: T,
    with: impl Fn(&T, &str, u64) -> Result<T, E>,
) -> (T, Vec<Diagnostic>) {
    let (now, wrong) = apply(params, start, with);
    let wrong = wrong.into_iter();
    let said = wrong.map(|(name, why)| warning(node, name, format!("{why}; ignored")));
    (now, said.collect())
}

fn warning(node: &str, parameter: &str, message: String) -> Diagnostic {
    Diagnostic {
        severity: Severity::Warning,
        node: node.to_string(),
        property: format!("tarn,{parameter}"),
        message,
    }
}
