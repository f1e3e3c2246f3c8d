//! What binds domains to each other: memory they share, doorbells between them; listed before any domain is read.
//!
//! shared.rs and doorbells.rs know the bindings. Here is the one look over all domains' nodes that both need, and what is
//! said when a side is gone because its domain was refused: the others keep their memory, and ring in vain.

use super::domains::kind;
use super::doorbells::Ends;
use super::section::{Refusal, Section, Stop, note};
use super::shared::{SharedMemory, Sides};
use super::{Config, DomainConfig, Severity};
use crate::Board;
use crate::bus::Cells;
use crate::chosen::Kind;
use crate::error::BoardError;
use crate::props::strings;
use crate::tree::ConfNode;
use alloc::format;
use alloc::vec::Vec;

/// Properties of both kinds of nodes.
pub(super) const KNOWN: &[&str] = &[
    "xen,shm-id",
    "xen,shared-mem",
    "role",
    "xen,offset",
    "tarn,access",
    "xen,evtchn",
    "tarn,spi",
];

/// All links of a configuration.
pub(super) struct Links<'a> {
    sides: Sides<'a>,
    ends: Ends,
    memories: Vec<SharedMemory>,
    /// KiB for all domains but dom0, shared memory taken off.
    pub room_kib: u64,
    /// KiB for each of `memories`.
    rooms: Vec<u64>,
}

impl<'a> Links<'a> {
    /// Those of the domains below `chosen`; `room_kib` is what is free for domains and shared memory.
    pub fn list(chosen: ConfNode<'a>, room_kib: u64) -> Result<Links<'a>, BoardError> {
        let (mut sides, mut ends) = (Sides::default(), Ends::default());
        for domain in chosen.children(chosen.cells()?)? {
            let domain = domain?;
            if !strings(domain.compatible()?).any(|s| s == "xen,domain") {
                continue;
            }
            let section = Section::new(domain, "/chosen")?;
            for child in domain.children(section.cells)? {
                let child = child?;
                match kind(child.compatible()?) {
                    Some(Kind::Shared) => sides.note(&section.path, child, section.cells)?,
                    Some(Kind::Doorbell) => ends.note(&section.path, child)?,
                    _ => {}
                }
            }
        }
        let memories = sides.memories();
        let (rooms, room_kib) = sides.rooms(&memories, room_kib);
        Ok(Links {
            sides,
            ends,
            memories,
            room_kib,
            rooms,
        })
    }

    /// Reads child `node` of `domain`, if it is a link; `cells` are those of the domain's node.
    pub fn read(
        &self,
        node: &Section<'a>,
        cells: Cells,
        domain: &mut DomainConfig<'a>,
        board: &Board<'_>,
    ) -> Result<(), Stop> {
        match kind(node.get("compatible").unwrap_or(&[])) {
            Some(Kind::Shared) => {
                let (memories, rooms) = (&self.memories, &self.rooms);
                let side = self
                    .sides
                    .read(node, cells, domain, memories, board, rooms)?;
                domain.shared.push(side);
            }
            Some(Kind::Doorbell) => {
                let end = self.ends.read(node, domain)?;
                domain.doorbells.push(end);
            }
            _ => {}
        }
        Ok(())
    }

    /// Hands the list of shared memory on, and says whose other side is missing.
    pub fn finish(self, config: &mut Config<'a>) {
        config.shared = self.memories;
        let mut alone = Vec::new();
        for d in &config.domains {
            let warn = |property: &str, message| Refusal {
                node: d.node.clone(),
                property: property.into(),
                message,
            };
            let there = |path: &str| config.domains.iter().any(|o| o.node == path);
            let mut peers: Vec<&str> = d.doorbells.iter().map(|b| b.peer.as_str()).collect();
            peers.sort_unstable();
            peers.dedup();
            for peer in peers.into_iter().filter(|p| !there(p)) {
                let message = format!("{peer} was refused: nobody hears the doorbells to it");
                alone.push(warn("xen,evtchn", message));
            }
            let lonely = d.shared.iter().filter(|side| {
                let mut others = config.domains.iter().filter(|o| o.node != d.node);
                !others.any(|o| o.shared.iter().any(|s| s.memory == side.memory))
            });
            let ids = lonely.filter_map(|s| config.shared.get(s.memory));
            let ids: Vec<&str> = ids.map(|m| m.id.as_str()).collect();
            if !ids.is_empty() {
                let ids = ids.join(", ");
                let message = format!("every other domain that shares {ids} was refused");
                alone.push(warn("xen,shm-id", message));
            }
        }
        for warning in alone {
            note(&mut config.notes, Severity::Warning, warning);
        }
    }
}
