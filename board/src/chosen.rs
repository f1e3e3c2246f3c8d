//! /chosen as far as the board needs it: console, command line, and the RAM that boot modules lie in.
//!
//! Whose command line `bootargs` is, Xen's booting.txt says: the hypervisor's is `xen,xen-bootargs`; without it,
//! `bootargs`, if there is no dom0 kernel module, or that kernel's line stands elsewhere (`xen,dom0-bootargs`, or
//! `bootargs` of its module). Pools and domains are read later, by config.rs.

use crate::ReservedBy;
use crate::bus::{Cells, reg, translate};
use crate::config::shared;
use crate::discover::Notes;
use crate::error::{BoardError, Problem};
use crate::memory::{Memory, full};
use crate::props::Key;
use crate::region::Region;
use crate::tree::Node;

/// What a boot module is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ModuleKind {
    /// Something to boot.
    Kernel,
    /// Its initial ramdisk.
    Ramdisk,
    /// A partial device tree for passed-through devices.
    DeviceTree,
    /// A module that does not say.
    Untyped,
}

/// What a node below /chosen can be.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// A boot module.
    Module(ModuleKind),
    /// A pool or domain: config.rs reads it.
    Config,
    /// Memory that domains share.
    Shared,
    /// An end of a doorbell.
    Doorbell,
}

/// The strings Xen accepts; "xen,linux-..." and "xen,multiboot-module" are Xen 4.4's.
pub(crate) const KINDS: &[(&str, Kind)] = &[
    ("xen,domain", Kind::Config),
    ("xen,cpupool", Kind::Config),
    ("xen,domain-shared-memory-v1", Kind::Shared),
    ("xen,evtchn-v1", Kind::Doorbell),
    ("multiboot,kernel", Kind::Module(ModuleKind::Kernel)),
    ("multiboot,ramdisk", Kind::Module(ModuleKind::Ramdisk)),
    (
        "multiboot,device-tree",
        Kind::Module(ModuleKind::DeviceTree),
    ),
    ("xen,linux-zimage", Kind::Module(ModuleKind::Kernel)),
    ("xen,linux-initrd", Kind::Module(ModuleKind::Ramdisk)),
    ("multiboot,module", Kind::Module(ModuleKind::Untyped)),
    ("xen,multiboot-module", Kind::Module(ModuleKind::Untyped)),
];

/// What /chosen says.
#[derive(Default)]
pub(crate) struct Chosen<'a> {
    pub stdout: Option<&'a str>,
    pub rng_seed: &'a [u8],
    /// Which child of the root it is, if some child of its own describes a pool or a domain.
    pub config: Option<u32>,
    index: u32,
    bootargs: Option<&'a str>,
    xen_bootargs: Option<&'a str>,
    dom0_bootargs: bool,
    dom0_kernel: bool,
    dom0_kernel_bootargs: bool,
}

impl<'a> Chosen<'a> {
    /// /chosen, child `index` of the root, or a node below it.
    pub fn node(
        &mut self,
        node: &Node<'a, '_>,
        index: u32,
        memory: &mut Memory,
        notes: &mut Notes,
    ) -> Result<(), BoardError> {
        let props = node.props;
        if node.depth() == 1 {
            self.index = index;
            self.stdout = props
                .text(Key::StdoutPath)
                .or(props.text(Key::OldStdoutPath));
            self.rng_seed = props.get(Key::RngSeed).unwrap_or(&[]);
            self.bootargs = props.text(Key::Bootargs);
            self.xen_bootargs = props.text(Key::XenBootargs);
            self.dom0_bootargs = props.has(Key::Dom0Bootargs);
            if let (Some(start), Some(end)) =
                (props.number(Key::InitrdStart), props.number(Key::InitrdEnd))
            {
                match Region::between(start, end) {
                    Some(initrd) => {
                        memory.reserve(initrd, ReservedBy::Initrd, || {
                            node.error("linux,initrd-start", full())
                        })?;
                    }
                    None => {
                        let want = "an end above linux,initrd-start";
                        notes.add(
                            node.error("linux,initrd-end", Problem::BadValue { is: end, want }),
                        );
                    }
                }
            }
            return Ok(());
        }
        let kind = match props.compatible(KINDS) {
            Some(Kind::Module(kind)) => kind,
            Some(Kind::Config) => {
                self.config = Some(self.index);
                if node.depth() == 2
                    && let Err(note) = static_memory(node, |region| {
                        memory.reserve(region, ReservedBy::Domain, || {
                            node.error(Key::StaticMem.name(), full())
                        })
                    })
                {
                    notes.add(note);
                }
                return Ok(());
            }
            Some(Kind::Shared) => {
                if node.depth() == 3
                    && let Some(region) = shared_memory(node)
                    && let Err(note) = memory.reserve(region, ReservedBy::Shared, || {
                        node.error(Key::SharedMem.name(), full())
                    })
                {
                    notes.add(note);
                }
                return Ok(());
            }
            Some(Kind::Doorbell) | None => return Ok(()),
        };
        if node.depth() == 2
            && matches!(kind, ModuleKind::Kernel | ModuleKind::Untyped)
            && !self.dom0_kernel
        {
            self.dom0_kernel = true;
            self.dom0_kernel_bootargs = props.has(Key::Bootargs);
        }
        // A module that is not reserved is not used either, so this is no error: config.rs refuses its domain.
        let kept = module_region(node).and_then(|region| {
            memory.reserve(region, ReservedBy::Module, || node.error("reg", full()))
        });
        if let Err(note) = kept {
            notes.add(note);
        }
        Ok(())
    }

    /// The hypervisor's command line.
    pub fn hypervisor_bootargs(&self) -> &'a str {
        let plain_is_ours = !self.dom0_kernel || self.dom0_bootargs || self.dom0_kernel_bootargs;
        self.xen_bootargs
            .or(self.bootargs.filter(|_| plain_is_ours))
            .unwrap_or("")
    }
}

/// The cells of a domain's `xen,static-mem`: its own statement, or those of /chosen (Xen 4.17 and later).
pub(crate) fn static_cells(own: (Option<u32>, Option<u32>), parent: Cells) -> Cells {
    Cells {
        address: own.0.unwrap_or(parent.address),
        size: own.1.unwrap_or(parent.size),
    }
}

/// Has the memory kept free that a domain wants for itself. What is wrong with it, config/static_mem.rs says: a domain
/// whose memory is not reserved is refused.
pub(crate) fn static_memory(
    node: &Node<'_, '_>,
    mut keep: impl FnMut(Region) -> Result<(), BoardError>,
) -> Result<(), BoardError> {
    let Some(value) = node.props.get(Key::StaticMem) else {
        return Ok(());
    };
    let own = (
        node.props.u32(Key::StaticMemAddressCells),
        node.props.u32(Key::StaticMemSizeCells),
    );
    for (base, size) in reg(value, static_cells(own, node.parent().cells)) {
        if let Some(region) = Region::new(base, size) {
            keep(region)?;
        }
    }
    Ok(())
}

/// The memory that a domain's node wants kept free to be shared; a borrower's is its owner's to say. What is wrong with
/// it, config/shared.rs says.
pub(crate) fn shared_memory(node: &Node<'_, '_>) -> Option<Region> {
    let value = node.props.get(Key::SharedMem)?;
    let (host, _, size) = shared::place(value, node.parent().cells)?;
    let borrower = node.props.is_text(Key::Role, "borrower");
    host.filter(|_| !borrower)
        .and_then(|h| Region::new(h, size))
}

/// Where a boot module lies. /chosen and what is below it are no buses: addresses are the CPUs' own.
pub(crate) fn module_region(node: &Node<'_, '_>) -> Result<Region, BoardError> {
    let Some(value) = node.props.get(Key::Reg) else {
        return Err(node.error(
            "reg",
            Problem::Missing("where the boot loader put the module, and its size"),
        ));
    };
    let entry = reg(value, node.parent().cells).next().ok_or_else(|| {
        let want = "one address and size, in the cells that the parent states";
        node.error(
            "reg",
            Problem::BadLength {
                is: value.len() as u32,
                want,
            },
        )
    })?;
    translate(&node.levels[..1], entry).map_err(|problem| node.error("reg", problem))
}
