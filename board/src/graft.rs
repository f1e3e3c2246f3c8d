//! Copies what a partial device tree describes into a guest's tree: `/passthrough` and `/aliases`, as they are.
//!
//! Only properties that speak to the hypervisor (`xen,reg`, `xen,path`, `xen,force-assign-without-iommu`) stay behind.
//! phandles are kept, so the guest's own nodes take what the partial tree says for its `/gic` and numbers it does not
//! use. Whether the guest may have these devices, config/devices.rs has decided before.

use crate::tree::{Blob, Node};
use crate::writer::Writer;

/// phandles of a guest's own nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Phandles {
    /// The interrupt controller.
    pub gic: u32,
    /// The PL011's clock.
    pub clock: u32,
}

impl Phandles {
    /// Those of a guest without devices.
    pub const OWN: Phandles = Phandles { gic: 1, clock: 2 };
}

/// The phandles that fit `partial`; `None` if it cannot be read or has used up all numbers.
pub(crate) fn phandles(partial: &[u8]) -> Option<Phandles> {
    let (mut gic, mut last) = (0, 0);
    Blob::new(partial)
        .ok()?
        .walk(&mut |node| {
            let phandle = node.props.phandle();
            if node.depth() == 1 && node.here().name == b"gic" {
                gic = phandle;
            }
            last = last.max(phandle);
            Ok(())
        })
        .ok()?;
    // 0 and 2^32 - 1 are no phandles.
    let next = |n: u32| n.checked_add(1).filter(|n| *n != u32::MAX);
    if gic == 0 {
        gic = next(last)?;
        last = gic;
    }
    Some(Phandles {
        gic,
        clock: next(last)?,
    })
}

/// Writes the nodes below the root, which must be open. False if `partial` cannot be read.
pub(crate) fn graft<'a>(w: &mut Writer<'a>, partial: &'a [u8]) -> bool {
    let mut open = 0;
    let Ok(blob) = Blob::new(partial) else {
        return false;
    };
    let done = blob.walk(&mut |node: &Node<'a, '_>| {
        let wanted = |name: &[u8]| name == b"passthrough" || name == b"aliases";
        let depth = node.depth();
        if !node.levels.get(1).is_some_and(|l| wanted(l.name)) {
            return Ok(());
        }
        while open >= depth {
            w.end();
            open -= 1;
        }
        w.begin_raw(node.here().name);
        open = depth;
        for (name, value) in node.raw().iter() {
            if !matches!(
                name,
                "xen,reg" | "xen,path" | "xen,force-assign-without-iommu"
            ) {
                w.bytes(name, &[value]);
            }
        }
        Ok(())
    });
    for _ in 0..open {
        w.end();
    }
    done.is_ok()
}
