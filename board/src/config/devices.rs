//! Devices of the machine that a domain is given: its partial device tree, checked against the machine's own.
//!
//! Binding: Xen's public docs/misc/arm/device-tree/passthrough.txt. The module is a blob of its own: `/gic` stands for
//! the guest's interrupt controller, every node below `/passthrough` is copied into the guest's tree, and of these
//! `xen,reg` says which registers are mapped where, `xen,path` which device of the machine it is and so which of its
//! interrupts are routed, and `xen,force-assign-without-iommu` that its DMA is not confined. A device is given whole or
//! the domain is refused: what Tarn itself uses, RAM, and what another domain has, nobody gets.

use super::grant::GUEST_SPIS;
use super::seen::clash;
use super::{Diagnostic, DomainConfig, Severity};
use crate::board::{Board, GicDesc, Irq};
use crate::bus::{Level, reg, take, translate};
use crate::guest::layout;
use crate::irq::{Lines, RawIrqs, decode};
use crate::props::{cells, text};
use crate::region::Region;
use crate::tree::{Blob, Node};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Most devices of one domain.
pub const MAX_DEVICES: usize = 32;
/// Most pieces of registers of one domain.
pub const MAX_MAPPINGS: usize = 64;
/// Most interrupts of one device that are looked at.
const MAX_IRQS: usize = 64;
/// Stage 2 maps whole pages.
const PAGE: u64 = 4096;
/// The first address beyond what a guest can reach.
const GUEST_END: u64 = 1 << 39;

/// Registers of a device as a guest sees them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// Where they are; whole pages.
    pub phys: Region,
    /// Where the guest sees them; a multiple of the page size.
    pub guest: u64,
}

impl Mapping {
    fn guest_region(&self) -> Option<Region> {
        Region::new(self.guest, self.phys.size())
    }
}

/// What one domain is given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Devices {
    /// The domain's name.
    pub owner: String,
    /// Paths of the machine's nodes.
    pub paths: Vec<String>,
    /// Registers, none of which overlap.
    pub mappings: Vec<Mapping>,
    /// Their interrupts, each once: SPIs below [`GUEST_SPIS`], the guest's INTID is the machine's.
    pub irqs: Vec<Irq>,
}

/// Reads the partial tree `partial` of `domain`. `dtb` is the machine's tree that `board` was made from, `given` what
/// the domains before it got; with `marks` a device that does not carry `xen,passthrough` in `dtb` is reported, which
/// makes no sense where nobody prepared that tree (a system image). The answer is what it gets and what is odd about it, or why the domain is refused.
///
/// Time is linear in the size of the trees for each of at most [`MAX_DEVICES`] devices.
pub fn devices(
    dtb: &[u8],
    board: &Board<'_>,
    domain: &DomainConfig<'_>,
    partial: &[u8],
    given: &[Devices],
    marks: bool,
) -> Result<(Devices, Vec<Diagnostic>), Diagnostic> {
    let mut reader = Reader {
        dtb,
        board,
        domain,
        given,
        gic: 0,
        marks,
        got: Devices {
            owner: domain.name.clone(),
            ..Devices::default()
        },
        warnings: Vec::new(),
    };
    let broken = |e: crate::BoardError| Diagnostic {
        severity: Severity::Refused,
        node: domain.node.clone(),
        property: String::new(),
        message: format!("its partial device tree cannot be read: {e}"),
    };
    let blob = Blob::new(partial).map_err(broken)?;
    // The placeholder may stand anywhere: a look for it first.
    let mut gic = 0;
    let found = blob.walk(&mut |node| {
        if node.depth() == 1 && node.here().name == b"gic" {
            gic = node.props.phandle();
        }
        Ok(())
    });
    found.map_err(broken)?;
    reader.gic = gic;
    let mut refusal = None;
    let walked = blob.walk(&mut |node| {
        let below = node.levels.get(1).is_some_and(|l| l.name == b"passthrough");
        if refusal.is_none()
            && below
            && let Err(d) = reader.node(node)
        {
            refusal = Some(d);
        }
        Ok(())
    });
    walked.map_err(broken)?;
    match refusal {
        Some(d) => Err(d),
        None => Ok((reader.got, reader.warnings)),
    }
}

/// What the machine's tree says about one of its nodes.
struct HostNode {
    marked: bool,
    regs: Vec<Region>,
    irqs: Vec<Irq>,
    /// An interrupt that is not the GIC's, or makes no sense.
    odd: Option<String>,
}

struct Reader<'r> {
    dtb: &'r [u8],
    board: &'r Board<'r>,
    domain: &'r DomainConfig<'r>,
    given: &'r [Devices],
    /// phandle of the partial tree's `/gic`.
    gic: u32,
    marks: bool,
    got: Devices,
    warnings: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn say(
        &self,
        severity: Severity,
        node: &Node<'_, '_>,
        property: &str,
        message: String,
    ) -> Diagnostic {
        Diagnostic {
            severity,
            node: format!("{}: partial tree: {}", self.domain.node, node.path()),
            property: property.to_string(),
            message,
        }
    }

    fn refuse(&self, node: &Node<'_, '_>, property: &str, message: String) -> Diagnostic {
        self.say(Severity::Refused, node, property, message)
    }

    fn warn(&mut self, node: &Node<'_, '_>, property: &str, message: &str) {
        let d = self.say(Severity::Warning, node, property, message.into());
        self.warnings.push(d);
    }

    /// A node below /passthrough.
    fn node(&mut self, node: &Node<'_, '_>) -> Result<(), Diagnostic> {
        let (mut regs, mut path, mut forced) = (None, None, false);
        let (mut interrupts, mut extended) = (None, false);
        for (name, value) in node.raw().iter() {
            match name {
                "xen,reg" => regs = Some(value),
                "xen,path" => path = Some(value),
                "xen,force-assign-without-iommu" => forced = true,
                "interrupts" => interrupts = Some(value),
                "interrupts-extended" => extended = true,
                _ => {}
            }
        }
        if let Some(value) = regs {
            self.registers(node, value)?;
        }
        let Some(value) = path else {
            if interrupts.is_some() || extended {
                self.warn(
                    node,
                    "interrupts",
                    "without xen,path no interrupt is routed to the domain",
                );
            }
            return Ok(());
        };
        let host = match text(value) {
            Some(path) if path.starts_with('/') => path,
            _ => {
                let message = "it must be the full path of a node of the machine's tree".into();
                return Err(self.refuse(node, "xen,path", message));
            }
        };
        if !forced {
            let message = format!(
                "{host} would reach all memory by DMA, since Tarn drives no IOMMU; \
                 xen,force-assign-without-iommu in this node accepts that"
            );
            return Err(self.refuse(node, "xen,path", message));
        }
        self.device(node, host, interrupts.filter(|_| !extended))
    }

    /// `xen,reg`: physical address, size, guest's address.
    fn registers(&mut self, node: &Node<'_, '_>, value: &[u8]) -> Result<(), Diagnostic> {
        let c = node.parent().cells;
        let mut rest = value;
        while !rest.is_empty() {
            let entry = (|| {
                Some((
                    take(&mut rest, c.address)?,
                    take(&mut rest, c.size)?,
                    take(&mut rest, c.address)?,
                ))
            })();
            let Some((phys, size, at)) = entry.filter(|_| c.address > 0 && c.size > 0) else {
                let (a, s) = (c.address, c.size);
                let message = format!(
                    "it must be entries of a physical address ({a} cells), a size ({s}) and the guest's address ({a})"
                );
                return Err(self.refuse(node, "xen,reg", message));
            };
            self.mapping(node, phys, size, at)?;
        }
        Ok(())
    }

    fn mapping(
        &mut self,
        node: &Node<'_, '_>,
        phys: u64,
        size: u64,
        at: u64,
    ) -> Result<(), Diagnostic> {
        let refuse = |message| Err(self.refuse(node, "xen,reg", message));
        let whole = |r: Region| pages(r).filter(|r| r.end() <= 1 << 48);
        let Some(region) = Region::new(phys, size).and_then(whole) else {
            return refuse(format!(
                "{size:#x} bytes at {phys:#x}: not a region of 1 byte or more within 48 bits"
            ));
        };
        if phys % PAGE != at % PAGE {
            return refuse(format!(
                "physical {phys:#x} and guest's {at:#x} differ below 4 KiB, the unit of mapping"
            ));
        }
        let guest = at & !(PAGE - 1);
        let new = Mapping {
            phys: region,
            guest,
        };
        let Some(seen) = new.guest_region().filter(|r| r.end() <= GUEST_END) else {
            return refuse(format!(
                "guest's address {at:#x}: a guest has addresses below {GUEST_END:#x}"
            ));
        };
        if let Some(bank) = self.board.ram.iter().find(|bank| bank.overlaps(&region)) {
            return refuse(format!("{region} overlaps the machine's RAM at {bank}"));
        }
        for (own, what) in own_devices(self.board) {
            if own.overlaps(&region) {
                return refuse(format!(
                    "{region} overlaps {what} at {own}, which Tarn uses"
                ));
            }
        }
        for other in self.given {
            if let Some(m) = other.mappings.iter().find(|m| m.phys.overlaps(&region)) {
                return refuse(format!(
                    "{region} overlaps {}, which domain {} has",
                    m.phys, other.owner
                ));
            }
        }
        if let Some((window, what)) = clash(seen, self.board, self.domain, false) {
            return refuse(format!("guest's {seen} overlaps its {what} at {window}"));
        }
        if self.got.mappings.contains(&new) {
            // Two small devices in one page.
            return Ok(());
        }
        let clash = |m: &&Mapping| {
            m.phys.overlaps(&region) || m.guest_region().is_some_and(|g| g.overlaps(&seen))
        };
        if let Some(m) = self.got.mappings.iter().find(clash) {
            return refuse(format!(
                "{region} at guest's {guest:#x} overlaps {} at {:#x}, which this domain has already",
                m.phys, m.guest
            ));
        }
        if self.got.mappings.len() >= MAX_MAPPINGS {
            return refuse(format!("more than {MAX_MAPPINGS} pieces for one domain"));
        }
        self.got.mappings.push(new);
        Ok(())
    }

    /// The device at `path` of the machine, with its interrupts.
    fn device(
        &mut self,
        node: &Node<'_, '_>,
        path: &str,
        wanted: Option<&[u8]>,
    ) -> Result<(), Diagnostic> {
        let refuse = |message| Err(self.refuse(node, "xen,path", message));
        let Some(host) = find(self.dtb, path, self.board.lines) else {
            return refuse(format!("the machine has no node {path}"));
        };
        if let Some(other) = self
            .given
            .iter()
            .find(|d| d.paths.iter().any(|p| p == path))
        {
            return refuse(format!("{path} is given to domain {} already", other.owner));
        }
        if self.got.paths.iter().any(|p| p == path) {
            return refuse(format!("{path} is given to this domain twice"));
        }
        if self.got.paths.len() >= MAX_DEVICES {
            return refuse(format!("more than {MAX_DEVICES} devices for one domain"));
        }
        for r in &host.regs {
            if let Some((own, what)) = own_devices(self.board).find(|(own, _)| own.overlaps(r)) {
                return refuse(format!("{path} is {what} at {own}, which Tarn uses"));
            }
        }
        if let Some(odd) = &host.odd {
            return refuse(format!("{path}: {odd}"));
        }
        for irq in &host.irqs {
            self.interrupt(node, path, *irq)?;
        }
        let at_gic = matches!(node.here().interrupt_parent, p if p == 0 || p == self.gic);
        if let Some(list) = wanted.filter(|_| at_gic) {
            let mut list = cells(list);
            while let (Some(a), Some(b), Some(c)) = (list.next(), list.next(), list.next()) {
                let irq = decode([a, b, c])
                    .map_err(|p| self.refuse(node, "interrupts", format!("{p}")))?;
                if !host.irqs.iter().any(|i| i.intid == irq.intid) {
                    let message = format!(
                        "interrupt {} (cells {a} {b}) is none of {path}'s; it must be the machine's own number",
                        irq.intid
                    );
                    return Err(self.refuse(node, "interrupts", message));
                }
            }
        }
        if self.marks && !host.marked {
            let message = format!("{path} does not carry xen,passthrough in the machine's tree");
            self.warn(node, "xen,path", &message);
        }
        for irq in host.irqs {
            if !self.got.irqs.iter().any(|i| i.intid == irq.intid) {
                self.got.irqs.push(irq);
            }
        }
        self.got.paths.push(path.to_string());
        Ok(())
    }

    fn interrupt(&self, node: &Node<'_, '_>, path: &str, irq: Irq) -> Result<(), Diagnostic> {
        let refuse = |why: String| {
            let message = format!("interrupt {} of {path} {why}", irq.intid);
            Err(self.refuse(node, "xen,path", message))
        };
        let spi = irq.intid.checked_sub(32);
        if spi.is_none_or(|n| n >= GUEST_SPIS) {
            let most = GUEST_SPIS - 1;
            return refuse(format!(
                "is none of SPIs 0 to {most}; only those can a guest have"
            ));
        }
        if self.domain.vpl011 && irq.intid == layout::PL011_INTID {
            return refuse("is that of the domain's emulated PL011; leave out vpl011".into());
        }
        let uart = self.board.uart.as_ref().and_then(|u| u.irq);
        if uart.is_some_and(|u| u.intid == irq.intid) {
            return refuse("is that of the console, which Tarn uses".into());
        }
        let has = |d: &&Devices| d.irqs.iter().any(|i| i.intid == irq.intid);
        if let Some(other) = self.given.iter().find(has) {
            return refuse(format!("is routed to domain {} already", other.owner));
        }
        Ok(())
    }
}

/// What `read` makes of the node at `path`, looked for in the whole tree.
fn at_path<T>(dtb: &[u8], path: &str, mut read: impl FnMut(&Node<'_, '_>) -> T) -> Option<T> {
    let mut found = None;
    let is = |levels: &[Level<'_>]| {
        let mut parts = path.split('/').skip(1);
        levels[1..]
            .iter()
            .all(|l| parts.next().is_some_and(|p| p.as_bytes() == l.name))
            && parts.next().is_none()
    };
    Blob::new(dtb)
        .ok()?
        .walk(&mut |node| {
            if found.is_none() && node.depth() > 0 && is(node.levels) {
                found = Some(read(node));
            }
            Ok(())
        })
        .ok()?;
    found
}

/// The registers of a node where the CPUs see them, at most [`MAX_MAPPINGS`]; `None` for one to which no bus leads.
fn registers_of<'n>(node: &'n Node<'_, '_>) -> impl Iterator<Item = Option<Region>> + use<'n> {
    let value = node.props.get(crate::props::Key::Reg).unwrap_or(&[]);
    let entries = reg(value, node.parent().cells).take(MAX_MAPPINGS);
    entries.map(|entry| translate(node.levels, entry).ok())
}

/// The registers of the machine's node at `path`, translated through its buses; `None` for one to which no bus leads.
/// The whole is `None` if there is no such node.
pub fn registers(dtb: &[u8], path: &str) -> Option<Vec<Option<Region>>> {
    at_path(dtb, path, |node| registers_of(node).collect())
}

/// What the machine's tree says about the node at `path`.
fn find(dtb: &[u8], path: &str, gic: Lines) -> Option<HostNode> {
    at_path(dtb, path, |node| {
        let mut host = HostNode {
            marked: node.raw().iter().any(|(name, _)| name == "xen,passthrough"),
            regs: registers_of(node).flatten().collect(),
            irqs: Vec::new(),
            odd: None,
        };
        let irqs = RawIrqs::of(node);
        for n in 0..MAX_IRQS {
            match irqs.nth(n, gic) {
                Ok(Some(irq)) => host.irqs.push(irq),
                Ok(None) => break,
                Err(problem) => {
                    host.odd = Some(format!("{}: {problem}", irqs.property()));
                    break;
                }
            }
        }
        host
    })
}

/// What Tarn drives itself, in whole pages, and its name.
fn own_devices<'b>(board: &'b Board<'_>) -> impl Iterator<Item = (Region, &'static str)> + use<'b> {
    const GIC: &str = "the interrupt controller";
    let mut list: Vec<(Region, &'static str)> = Vec::new();
    match &board.gic {
        GicDesc::V2 {
            gicd,
            gicc,
            gich,
            gicv,
            ..
        } => list.extend([gicd, gicc, gich, gicv].map(|r| (*r, GIC))),
        GicDesc::V3 {
            gicd, gicr, gicv, ..
        } => {
            list.push((*gicd, GIC));
            list.extend(gicr.iter().chain(gicv).map(|r| (*r, GIC)));
        }
    }
    list.extend(board.uart.iter().map(|u| (u.regs, "the console")));
    if board.psci.is_none() {
        list.extend(board.watchdog.map(|r| (r, "the watchdog")));
    }
    list.into_iter()
        .filter_map(|(r, what)| Some((pages(r)?, what)))
}

/// `region` made to whole pages; `None` if that leaves 64 bits.
fn pages(region: Region) -> Option<Region> {
    let end = region.end().checked_next_multiple_of(PAGE)?;
    Region::between(region.base() & !(PAGE - 1), end)
}
