//! Trapped system registers: which one it is, and what it means for a guest.
//!
//! [`SysAccess::decode`] reads ESR_EL2.ISS of exception class 0x18 (Arm ARM D24.2.40, "MSR, MRS or System
//! instruction execution in AArch64 state"); [`classify`] says how the hypervisor answers. Registers a guest was told
//! it does not have (PMU, SPE, trace, RAS, AMU, implementation-defined ones) are undefined, as on a CPU without them.

use crate::vgic::SgiReg;

/// A system register or instruction: op0, op1, CRn, CRm, op2 in the order of the ISS fields of MRS encodings.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SysReg(u16);

impl SysReg {
    /// `S<op0>_<op1>_C<crn>_C<crm>_<op2>`; excess bits of an operand are dropped.
    pub const fn new(op0: u8, op1: u8, crn: u8, crm: u8, op2: u8) -> SysReg {
        SysReg(
            (op0 as u16 & 3) << 14
                | (op1 as u16 & 7) << 11
                | (crn as u16 & 15) << 7
                | (crm as u16 & 15) << 3
                | op2 as u16 & 7,
        )
    }

    /// op0.
    pub const fn op0(self) -> u8 {
        (self.0 >> 14) as u8
    }

    /// op1.
    pub const fn op1(self) -> u8 {
        (self.0 >> 11 & 7) as u8
    }

    /// CRn.
    pub const fn crn(self) -> u8 {
        (self.0 >> 7 & 15) as u8
    }

    /// CRm.
    pub const fn crm(self) -> u8 {
        (self.0 >> 3 & 15) as u8
    }

    /// op2.
    pub const fn op2(self) -> u8 {
        (self.0 & 7) as u8
    }
}

impl core::fmt::Debug for SysReg {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "S{}_{}_C{}_C{}_{}",
            self.op0(),
            self.op1(),
            self.crn(),
            self.crm(),
            self.op2()
        )
    }
}

impl core::fmt::Display for SysReg {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(self, f)
    }
}

/// One trapped MSR, MRS or SYS instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SysAccess {
    /// The register.
    pub reg: SysReg,
    /// The general register, 31 being XZR.
    pub rt: u8,
    /// MRS (or SYSL), else MSR (or SYS).
    pub read: bool,
}

impl SysAccess {
    /// From ISS: op0 21:20, op2 19:17, op1 16:14, CRn 13:10, Rt 9:5, CRm 4:1, direction 0.
    #[inline]
    pub const fn decode(iss: u32) -> SysAccess {
        SysAccess {
            reg: SysReg::new(
                (iss >> 20) as u8 & 3,
                (iss >> 14) as u8 & 7,
                (iss >> 10) as u8 & 15,
                (iss >> 1) as u8 & 15,
                (iss >> 17) as u8 & 7,
            ),
            rt: (iss >> 5) as u8 & 31,
            read: iss & 1 != 0,
        }
    }
}

/// How a trapped register is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trapped {
    /// Feature identification (op0 3, op1 0, CRn 0, CRm 1-7): `idregs::guest_value` of the hardware's value. Read-only.
    Id,
    /// REVIDR_EL1 or AIDR_EL1: the hardware's value. Read-only.
    Implementation,
    /// Generates SGIs: `Vgic::sgi_v3`. Write-only.
    Sgi(SgiReg),
    /// ICC_DIR_EL1: `Vgic::deactivate`. Write-only.
    Dir,
    /// CNTP_TVAL_EL0.
    PtimerTval,
    /// CNTP_CTL_EL0.
    PtimerCtl,
    /// CNTP_CVAL_EL0.
    PtimerCval,
    /// CNTPCT_EL0 or CNTPCTSS_EL0: the guest's physical count. Read-only.
    PhysicalCount,
    /// MDSCR_EL1: the vCPU's own, for software step.
    Mdscr,
    /// DC by set and way: needs no action while stage 2 and the guest's caches are coherent, or a cache clean.
    SetWay,
    /// Reads as this value, ignores writes.
    Const(u64),
    /// The guest's vCPU does not have it, or not in this direction: inject an undefined-instruction exception.
    Undef,
}

/// OSLSR_EL1 with the lock implemented and not taken.
const OSLM_UNLOCKED: u64 = 0x8;

/// What a trapped access means. `gicv3` is whether the guest has a system-register CPU interface.
#[inline]
pub const fn classify(access: SysAccess, gicv3: bool) -> Trapped {
    let SysAccess { reg, read, .. } = access;
    match (reg.op0(), reg.op1(), reg.crn(), reg.crm(), reg.op2()) {
        (3, 0, 0, 1..=7, _) => only(read, Trapped::Id),
        (3, 0, 0, 0, 6) | (3, 1, 0, 0, 7) => only(read, Trapped::Implementation),
        (3, 0, 12, 11, 5) if gicv3 => only(!read, Trapped::Sgi(SgiReg::Sgi1)),
        (3, 0, 12, 11, 6) if gicv3 => only(!read, Trapped::Sgi(SgiReg::Asgi1)),
        (3, 0, 12, 11, 7) if gicv3 => only(!read, Trapped::Sgi(SgiReg::Sgi0)),
        (3, 0, 12, 11, 1) if gicv3 => only(!read, Trapped::Dir),
        // ICC_SRE_EL1: SRE, DFB, DIB read as one; there is no other interface.
        (3, 0, 12, 12, 5) if gicv3 => Trapped::Const(7),
        (3, 3, 14, 2, 0) => Trapped::PtimerTval,
        (3, 3, 14, 2, 1) => Trapped::PtimerCtl,
        (3, 3, 14, 2, 2) => Trapped::PtimerCval,
        (3, 3, 14, 0, 1 | 5) => only(read, Trapped::PhysicalCount),
        // ACTLR_EL1: nothing in it is the guest's to change.
        (3, 0, 1, 0, 1) => Trapped::Const(0),
        (1, 0, 7, 6 | 10 | 14, 2) => only(!read, Trapped::SetWay),
        (2, op1, 0..=7, _, _) => debug(op1, reg, read),
        _ => Trapped::Undef,
    }
}

/// `what` if the direction is the register's.
const fn only(right: bool, what: Trapped) -> Trapped {
    if right { what } else { Trapped::Undef }
}

/// Debug registers (op0 2). Self-hosted breakpoints and watchpoints are there and never match; the external debugger
/// is absent; the OS lock is open. Trace registers (op1 1) do not exist.
const fn debug(op1: u8, reg: SysReg, read: bool) -> Trapped {
    match (op1, reg.crn(), reg.crm(), reg.op2()) {
        (0, 0, 2, 2) => Trapped::Mdscr,
        (0, 0, 2, 0) | (0, 0, 0 | 3 | 6, 2) => Trapped::Const(0), // MDCCINT, OSDTRRX, OSDTRTX, OSECCR
        (0, 0, _, 4..=7) => Trapped::Const(0),                    // DBGBVR, DBGBCR, DBGWVR, DBGWCR
        (0, 1, 0, 0) => only(read, Trapped::Const(0)),            // MDRAR
        (0, 1, 0, 4) => only(!read, Trapped::Const(0)),           // OSLAR
        (0, 1, 1, 4) => only(read, Trapped::Const(OSLM_UNLOCKED)), // OSLSR
        (0, 1, 3 | 4, 4) => Trapped::Const(0),                    // OSDLR, DBGPRCR
        (0, 7, 8, 6) => Trapped::Const(0xff),                     // DBGCLAIMSET
        (0, 7, 9, 6) => Trapped::Const(0),                        // DBGCLAIMCLR
        (0, 7, 14, 6) => only(read, Trapped::Const(0)),           // DBGAUTHSTATUS
        (3, 0, 1, 0) => only(read, Trapped::Const(0)),            // MDCCSR_EL0
        (3, 0, 4 | 5, 0) => Trapped::Const(0),                    // DBGDTR_EL0, DBGDTRRX/TX_EL0
        _ => Trapped::Undef,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(op0: u8, op1: u8, crn: u8, crm: u8, op2: u8, read: bool) -> SysAccess {
        SysAccess {
            reg: SysReg::new(op0, op1, crn, crm, op2),
            rt: 0,
            read,
        }
    }

    fn rd(op0: u8, op1: u8, crn: u8, crm: u8, op2: u8) -> Trapped {
        classify(access(op0, op1, crn, crm, op2, true), true)
    }

    fn wr(op0: u8, op1: u8, crn: u8, crm: u8, op2: u8) -> Trapped {
        classify(access(op0, op1, crn, crm, op2, false), true)
    }

    #[test]
    fn decodes_iss() {
        // msr ICC_SGI1R_EL1, x3; mrs x1, ID_AA64PFR0_EL1.
        let a = SysAccess::decode(0x003a_3076);
        assert_eq!(
            a,
            SysAccess {
                reg: SysReg::new(3, 0, 12, 11, 5),
                rt: 3,
                read: false
            }
        );
        let a = SysAccess::decode(0x0030_0029);
        assert_eq!(
            a,
            SysAccess {
                reg: SysReg::new(3, 0, 0, 4, 0),
                rt: 1,
                read: true
            }
        );
        for iss in [0, u32::MAX, 0x1ff_ffff] {
            let _ = classify(SysAccess::decode(iss), false);
        }
    }

    #[test]
    fn packs_every_operand() {
        let r = SysReg::new(3, 6, 15, 9, 5);
        assert_eq!(
            (r.op0(), r.op1(), r.crn(), r.crm(), r.op2()),
            (3, 6, 15, 9, 5)
        );
        assert_eq!(std::format!("{r}"), "S3_6_C15_C9_5");
    }

    #[test]
    fn directions_matter() {
        assert_eq!(rd(3, 0, 0, 4, 0), Trapped::Id);
        assert_eq!(wr(3, 0, 0, 4, 0), Trapped::Undef);
        assert_eq!(wr(3, 0, 12, 11, 5), Trapped::Sgi(SgiReg::Sgi1));
        assert_eq!(rd(3, 0, 12, 11, 5), Trapped::Undef);
        assert_eq!(
            classify(access(3, 0, 12, 11, 5, false), false),
            Trapped::Undef
        );
        assert_eq!(wr(2, 0, 1, 0, 4), Trapped::Const(0));
        assert_eq!(rd(2, 0, 1, 1, 4), Trapped::Const(8));
        assert_eq!(rd(3, 3, 14, 0, 1), Trapped::PhysicalCount);
        assert_eq!(wr(3, 3, 14, 0, 1), Trapped::Undef);
    }

    #[test]
    fn absent_units_are_undefined() {
        for reg in [
            (3, 3, 9, 12, 0), // PMCR_EL0
            (3, 3, 9, 14, 0), // PMUSERENR_EL0
            (3, 3, 14, 8, 0), // PMEVCNTR0_EL0
            (3, 0, 9, 14, 1), // PMINTENSET_EL1
            (3, 0, 9, 9, 0),  // PMSCR_EL1
            (3, 0, 9, 11, 0), // TRBLIMITR_EL1
            (3, 0, 5, 3, 0),  // ERRIDR_EL1
            (3, 0, 10, 4, 7), // LORID_EL1
            (3, 3, 13, 2, 3), // AMUSERENR_EL0
            (3, 0, 15, 2, 1), // implementation defined
            (3, 1, 11, 0, 2), // implementation defined (L2CTLR_EL1)
            (2, 1, 0, 0, 0),  // trace
            (2, 4, 0, 7, 0),  // DBGVCR32_EL2
            (3, 4, 1, 1, 0),  // HCR_EL2
        ] {
            let (op0, op1, crn, crm, op2) = reg;
            assert_eq!(
                (rd(op0, op1, crn, crm, op2), wr(op0, op1, crn, crm, op2)),
                (Trapped::Undef, Trapped::Undef),
                "{reg:?}"
            );
        }
    }
}
