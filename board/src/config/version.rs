//! Which interrupt controller a domain sees: `tarn,gic-version`, one cell, 2 or 3.
//!
//! Xen's dom0less binding has no such property (its domains get the machine's version; xl's `gic_version` is the
//! toolstack's), so the name is ours. What the tree can tell about the machine is decided here; whether the CPUs have
//! a memory-mapped interface at all only they can say, and hv asks them at boot.

use super::section::{Refusal, Section};
use crate::guest::GuestGic;
use crate::{Board, GicDesc};
use alloc::format;

/// The property.
pub const GIC_VERSION: &str = "tarn,gic-version";

/// What a domain gets that does not ask: the machine's.
const fn own(gic: &GicDesc) -> GuestGic {
    match gic {
        GicDesc::V2 { .. } => GuestGic::V2,
        GicDesc::V3 { .. } => GuestGic::V3,
    }
}

pub(super) fn read(section: &Section<'_>, board: &Board<'_>) -> Result<GuestGic, Refusal> {
    let refuse = |message| Err(section.refuse(GIC_VERSION, message));
    match (section.u32(GIC_VERSION)?, &board.gic) {
        (None, gic) => Ok(own(gic)),
        (Some(2), GicDesc::V2 { .. } | GicDesc::V3 { gicv: Some(_), .. }) => Ok(GuestGic::V2),
        (Some(3), GicDesc::V3 { .. }) => Ok(GuestGic::V3),
        (Some(2), GicDesc::V3 { gicv: None, .. }) => refuse(
            "is 2; this machine's GICv3 lists no GICV (reg: GICD, the redistributors, GICC, GICH, GICV), so its guests \
             have version 3"
                .into(),
        ),
        (Some(3), GicDesc::V2 { .. }) => refuse(
            "is 3; this machine has a GICv2, which cannot be a guest's GICv3".into(),
        ),
        (Some(n), _) => refuse(format!("is {n}; it must be 2 or 3")),
    }
}
