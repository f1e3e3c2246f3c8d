//! What a domain of the configuration is given of the machine: devices, memory of its own, what it shares with others.
//!
//! Decided once, at boot, before any domain runs; what is wrong refuses the domain and names node and property.

use crate::arch::image;
use crate::domain::recipe::{Blob, Recipe, View};
use crate::domain::{ram, shared};
use crate::doorbell::Doorbell;
use crate::mem::nodes;
use crate::{irq, payload};
use abi::PoolId;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use board::Region;
use board::config::{self, Config, Devices, Diagnostic, DomainConfig, Ground, Severity};
use board::guest::GuestGic;

/// SPIs of a domain's GIC that has interrupts up to SPI `n - 1`.
pub fn spis(n: u32) -> u32 {
    n.max(32).next_multiple_of(32).min(config::GUEST_SPIS)
}

fn refuse(d: &DomainConfig, property: &str, message: String) -> Diagnostic {
    Diagnostic {
        severity: Severity::Refused,
        node: d.node.clone(),
        property: property.into(),
        message,
    }
}

/// What nobody can have: the image, what it carries, the tree.
pub fn used(tree: &[u8]) -> Vec<Region> {
    let all = [
        Region::between(image::all().start as u64, image::all().end as u64),
        payload::range().and_then(|p| Region::between(p.start as u64, p.end as u64)),
        Region::new(tree.as_ptr() as u64, tree.len() as u64),
    ];
    all.into_iter().flatten().collect()
}

/// Completes recipe `r` of `d`, a domain of `config`, with its devices, interrupts and memory. `given` is what others have.
pub fn to(
    r: &mut Recipe,
    d: &DomainConfig,
    config: &Config,
    ground: Ground<'_>,
    given: &[Devices],
) -> Result<(), Diagnostic> {
    if r.gic == GuestGic::V2
        && let Err(why) = irq::virtual_cpu_interface()
    {
        let message = format!("is 2, which this machine's GIC cannot be for a guest: {why}");
        return Err(refuse(d, config::GIC_VERSION, message));
    }
    let partial = r.device_tree.as_ref().map(Blob::bytes);
    let grant = config::grant(ground, config, d, partial, given)?;
    grant.notes.iter().for_each(|n| log::warn!("{n}"));
    r.spis = r.spis.max(spis(grant.spis));
    let ends = d.doorbells.iter().zip(&grant.doorbells);
    r.doorbells = ends
        .map(|(end, spi)| Doorbell {
            port: end.port,
            intid: (spi + 32) as u16,
            // Where it leads is not known before all domains are.
            peer: None,
        })
        .collect();
    r.devices = grant.devices;
    for path in &r.devices.paths {
        log::warn!(
            "domain {}: is given {path}; no IOMMU confines it: what it writes by DMA can be anywhere",
            d.name
        );
    }
    if !r.devices.paths.is_empty() && !r.direct_map {
        log::warn!(
            "domain {}: without direct-map its addresses are not the bus's: devices with DMA would not work",
            d.name
        );
    }
    if r.direct_map && r.static_mem.is_empty() {
        match ram::set_aside(r) {
            Some(bank) => r.static_mem.push(bank),
            None => {
                let message = format!(
                    "no free piece of {} KiB at a place it can see",
                    r.memory_kib
                );
                return Err(refuse(d, "direct-map", message));
            }
        }
    }
    Ok(())
}

/// Connects the doorbells of `list`, whose configuration is `kept`, in the same order; recipes count from 1.
pub fn wire(list: &mut [Recipe], kept: &[&DomainConfig]) {
    for (n, d) in kept.iter().enumerate() {
        for (i, end) in d.doorbells.iter().enumerate() {
            let peer = kept.iter().position(|p| p.node == end.peer);
            let peer = peer.and_then(|p| {
                let there = list.get(p)?.doorbells.iter();
                let bell = there.clone().find(|b| b.port == end.peer_port)?;
                Some((p + 1, bell.intid))
            });
            if let Some(bell) = list.get_mut(n).and_then(|r| r.doorbells.get_mut(i)) {
                bell.peer = peer;
            }
        }
    }
}

/// What domains share: memory taken when the first of them needs it.
pub struct SharedMemory<'c> {
    config: &'c Config<'c>,
    taken: Vec<Option<Region>>,
}

impl<'c> SharedMemory<'c> {
    /// Nothing taken yet.
    pub fn new(config: &'c Config<'c>) -> SharedMemory<'c> {
        SharedMemory {
            config,
            taken: alloc::vec![None; config.shared.len()],
        }
    }

    /// Completes recipe `r` of `d`. Memory comes from where the owner's pool has its; `pools` are those of the configuration.
    pub fn give(
        &mut self,
        r: &mut Recipe,
        d: &DomainConfig,
        pools: &[PoolId],
    ) -> Result<(), Diagnostic> {
        for view in &d.shared {
            let Some(memory) = self.config.shared.get(view.memory) else {
                continue;
            };
            let owns =
                |o: &&DomainConfig| o.shared.iter().any(|s| s.memory == view.memory && s.owner);
            let pool = self.config.domains.iter().find(owns).unwrap_or(d).pool;
            let pool = pools.get(pool).copied().unwrap_or(PoolId::POOL0);
            let Some(place) = self.taken.get_mut(view.memory) else {
                continue;
            };
            if place.is_none() {
                *place = shared::set_aside(memory, nodes::of(pool));
            }
            let piece = place.and_then(|all| {
                Region::new(all.base().checked_add(view.offset)?, view.guest.size())
            });
            let Some(phys) = piece else {
                let message = format!(
                    "no free piece of {} KiB to share as \"{}\"",
                    memory.size / 1024,
                    memory.id
                );
                return Err(refuse(d, "xen,shared-mem", message));
            };
            r.shared.push(View {
                id: memory.id.clone(),
                phys,
                guest: view.guest.base(),
                offset: (phys.size() != memory.size).then_some(view.offset),
                writable: view.writable,
            });
        }
        Ok(())
    }
}
