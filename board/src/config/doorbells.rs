//! `xen,evtchn-v1`: a line from one domain to another, by which each can interrupt the other.
//!
//! Binding: Xen's public docs/misc/arm/device-tree/booting.txt, "Static Event Channel": each end is a node of its domain
//! with `xen,evtchn = <port phandle>`, its own port and the other end's node. What Xen makes an event channel, Tarn makes
//! a doorbell: a register and a call to ring it, an edge-triggered SPI to hear it. Tarn's own: `tarn,spi`. As with shared
//! memory, all ends are listed before any is judged, so one domain's mistake elsewhere is no other's.

use super::grant::GUEST_SPIS as SPIS;
use super::section::{Refusal, Section};
use super::{Devices, Diagnostic, DomainConfig, MAX_CONFIGURED, Severity};
use crate::error::BoardError;
use crate::guest::layout;
use crate::props::cells;
use crate::tree::ConfNode;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Most doorbells of one domain.
pub const MAX_DOORBELLS: usize = 16;
/// Most nodes that are listed: what a full house of domains can have. A tree with more is read no slower for it.
const MAX_ENDS: usize = MAX_DOORBELLS * MAX_CONFIGURED;
/// Ports of a domain: a register of the doorbell page each; 0 is none.
pub const PORTS: core::ops::RangeInclusive<u32> = 1..=1023;

const CHANNEL: &str = "xen,evtchn";
const SPI: &str = "tarn,spi";

/// One end of a doorbell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Doorbell {
    /// The path of its node.
    pub node: String,
    /// Which register of the doorbell page rings the other end.
    pub port: u32,
    /// `tarn,spi`: the SPI by which the other end is heard; `None`: the first that is free.
    pub spi: Option<u32>,
    /// The path of the other end's domain.
    pub peer: String,
    /// The other end's port.
    pub peer_port: u32,
}

struct End {
    domain: String,
    phandle: u32,
    port: u32,
    to: u32,
}

/// The ends in all domains.
#[derive(Default)]
pub(super) struct Ends(Vec<End>);

/// Port and phandle of the other end.
fn channel(node: &Section<'_>) -> Result<(u32, u32), Refusal> {
    let value = node.get(CHANNEL).filter(|v| v.len() == 8);
    let mut words = value.into_iter().flat_map(cells);
    match (words.next(), words.next()) {
        (Some(port), Some(to)) => Ok((port, to)),
        _ => Err(node.refuse(
            CHANNEL,
            "it must be two cells: the port, and the phandle of the other end's node".into(),
        )),
    }
}

impl Ends {
    /// Notes child `node` of `domain`, if it can be understood.
    pub fn note(&mut self, domain: &str, node: ConfNode<'_>) -> Result<(), BoardError> {
        let node = Section::new(node, domain)?;
        let own = self.0.iter().rev().take_while(|e| e.domain == domain);
        let room = self.0.len() < MAX_ENDS && own.count() < MAX_DOORBELLS;
        if room && let Ok((port, to)) = channel(&node) {
            self.0.push(End {
                domain: domain.to_string(),
                phandle: node.phandle(),
                port,
                to,
            });
        }
        Ok(())
    }

    /// The end that `node` of `domain` describes.
    pub fn read(&self, node: &Section<'_>, domain: &DomainConfig<'_>) -> Result<Doorbell, Refusal> {
        let (port, to) = channel(node)?;
        let refuse = |property, message: String| Err(node.refuse(property, message));
        if !PORTS.contains(&port) {
            let (from, to) = (PORTS.start(), PORTS.end());
            return refuse(CHANNEL, format!("port {port}; ports are {from} to {to}"));
        }
        if domain.doorbells.iter().any(|d| d.port == port) {
            return refuse(CHANNEL, format!("port {port} has a node already"));
        }
        if domain.doorbells.len() >= MAX_DOORBELLS {
            return refuse(
                "",
                format!("a domain has at most {MAX_DOORBELLS} doorbells"),
            );
        }
        let listed = |e: &End| e.domain == domain.node && e.port == port && e.to == to;
        if !self.0.iter().any(listed) {
            return refuse("", format!("more than {MAX_ENDS} nodes of this kind"));
        }
        let shared =
            |handle: u32| handle != 0 && self.0.iter().filter(|e| e.phandle == handle).count() > 1;
        if shared(node.phandle()) || shared(to) {
            let message = format!("port {port}: the phandle of one of its ends is another's, too");
            return refuse(CHANNEL, message);
        }
        let Some(peer) = self.0.iter().find(|e| to != 0 && e.phandle == to) else {
            return refuse(
                CHANNEL,
                format!(
                    "port {port}: {to:#x} is no node of a domain compatible with \"xen,evtchn-v1\""
                ),
            );
        };
        if peer.domain == domain.node {
            let message = format!("port {port}: its other end is in this domain, too");
            return refuse(CHANNEL, message);
        }
        if peer.to != node.phandle() {
            let message = format!(
                "port {port}: its other end, port {} of {}, leads elsewhere",
                peer.port, peer.domain
            );
            return refuse(CHANNEL, message);
        }
        let spi = node.u32(SPI)?;
        if let Some(spi) = spi {
            if spi >= SPIS {
                return refuse(SPI, format!("is {spi}; a guest has SPIs 0 to {}", SPIS - 1));
            }
            if domain.vpl011 && spi == layout::PL011_INTID - 32 {
                return refuse(SPI, format!("{spi} is that of the emulated PL011"));
            }
            if domain.doorbells.iter().any(|d| d.spi == Some(spi)) {
                return refuse(SPI, format!("{spi} is that of another doorbell"));
            }
        }
        Ok(Doorbell {
            node: node.path.clone(),
            port,
            spi,
            peer: peer.domain.clone(),
            peer_port: peer.port,
        })
    }
}

/// The SPIs of a domain's doorbells, in their order: what they ask for, or the lowest that neither the emulated PL011 nor
/// one of its `devices` has.
///
/// # Errors
/// A doorbell that asks for a device's interrupt, or none is left.
pub fn doorbell_spis(domain: &DomainConfig<'_>, devices: &Devices) -> Result<Vec<u32>, Diagnostic> {
    let refuse = |d: &Doorbell, message| Diagnostic {
        severity: Severity::Refused,
        node: d.node.clone(),
        property: SPI.into(),
        message,
    };
    let device = |spi: u32| devices.irqs.iter().any(|i| i.intid == spi + 32);
    let mut got: Vec<u32> = Vec::new();
    for d in &domain.doorbells {
        let spi = match d.spi {
            Some(spi) if device(spi) => {
                return Err(refuse(d, format!("{spi} is that of a device it is given")));
            }
            Some(spi) => spi,
            // SPI 0 is the emulated PL011's, here or in another domain: left out, so that numbers stay.
            None => (1..SPIS)
                .find(|n| {
                    let asked = domain.doorbells.iter().any(|d| d.spi == Some(*n));
                    !device(*n) && !asked && !got.contains(n)
                })
                .ok_or_else(|| refuse(d, "no SPI is left".into()))?,
        };
        got.push(spi);
    }
    Ok(got)
}
