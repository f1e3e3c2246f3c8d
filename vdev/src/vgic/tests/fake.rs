//! A virtual CPU interface over list registers in memory, as ICH_*/ICV_* behave: acknowledge, end, deactivate,
//! maintenance conditions, physical deactivation through HW.

use super::super::{CpuIf, ListReg, ListRegs, LrFile, LrSet, Maintenance};
use std::vec::Vec;

/// One CPU's virtual interface.
pub struct FakeCpu {
    pub file: LrFile,
    /// Active priorities, most recent last (ICV_AP1R).
    pub running: Vec<u8>,
    /// ICH_VMCR.
    pub mask: CpuIf,
    /// Physical interrupts that the hardware has deactivated.
    pub deactivated: Vec<u16>,
    /// Writes of list registers, for cost tests.
    pub writes: usize,
}

impl FakeCpu {
    pub fn new(lrs: usize) -> FakeCpu {
        FakeCpu {
            file: LrFile::new(lrs),
            running: Vec::new(),
            mask: CpuIf::ANY,
            deactivated: Vec::new(),
            writes: 0,
        }
    }

    /// The register ICV_IAR1 would acknowledge from: the highest-priority pending one that preempts.
    pub fn highest_pending(&self) -> Option<usize> {
        let (n, lr) = (0..self.file.count)
            .map(|n| (n, self.file.lrs[n]))
            .filter(|(_, lr)| lr.is_pending() && !lr.is_active())
            .min_by_key(|(_, lr)| lr.priority())?;
        let running = self.running.last().copied().unwrap_or(0xff);
        let group1 = lr.has(ListReg::GROUP1);
        let enabled = if group1 {
            self.mask.group1
        } else {
            self.mask.group0
        };
        (enabled && lr.priority() < self.mask.pmr && lr.priority() < running).then_some(n)
    }

    /// Acknowledges: INTID and, for SGIs of a GICv2, the source.
    pub fn ack(&mut self) -> Option<(u16, u8)> {
        let n = self.highest_pending()?;
        let lr = &mut self.file.lrs[n];
        lr.0 = lr.0 & !ListReg::PENDING | ListReg::ACTIVE;
        self.running.push(lr.priority());
        Some((lr.intid(), lr.source()))
    }

    /// Priority drop of EOIR.
    pub fn drop_priority(&mut self) {
        self.running.pop();
    }

    /// Deactivation by EOIR (EOImode 0) or DIR.
    pub fn deactivate(&mut self, intid: u16) {
        let count = self.file.count;
        match self.file.lrs[..count]
            .iter_mut()
            .find(|lr| lr.intid() == intid && lr.is_active())
        {
            Some(lr) => {
                lr.0 &= !ListReg::ACTIVE;
                if lr.has(ListReg::HW) {
                    self.deactivated.push(lr.pintid());
                }
            }
            None => self.file.eoi_count = (self.file.eoi_count + 1).min(31),
        }
    }

    /// EOIR with EOImode 0.
    pub fn end(&mut self, intid: u16) {
        self.drop_priority();
        self.deactivate(intid);
    }

    /// Whether the maintenance interrupt is asserted.
    pub fn wants_maintenance(&self) -> bool {
        let lrs = &self.file.lrs[..self.file.count];
        let eoi = lrs
            .iter()
            .any(|lr| lr.is_invalid() && !lr.has(ListReg::HW) && lr.has(ListReg::EOI));
        // State 01 exactly: pending and active does not count (QEMU and KVM read it so).
        let np = self.file.want.npie && !lrs.iter().any(|lr| lr.is_pending() && !lr.is_active());
        let lren = self.file.want.lrenpie && self.file.eoi_count > 0;
        eoi || np || lren
    }

    /// What hardware leaves unpredictable must never be written.
    fn check(&self) {
        let lrs = &self.file.lrs[..self.file.count];
        for (i, a) in lrs.iter().enumerate() {
            let both = a.is_pending() && a.is_active();
            assert!(
                !(a.has(ListReg::HW) && both),
                "linked interrupt pending and active: {a:?}"
            );
            assert!(
                !(a.has(ListReg::HW) && !a.is_invalid() && a.pintid() < 16),
                "linked to an SGI: {a:?}"
            );
            assert_eq!(a.priority() & 7, 0, "unimplemented priority bits: {a:?}");
            for b in &lrs[i + 1..] {
                let twice = !a.is_invalid() && !b.is_invalid() && a.intid() == b.intid();
                assert!(!twice, "in two list registers: {a:?} {b:?}");
            }
        }
    }

    /// Checks the invariants of a finished update.
    pub fn settled(&self) {
        self.check();
        for lr in &self.file.lrs[self.file.count..] {
            assert_eq!(*lr, ListReg::EMPTY, "beyond the last list register");
        }
    }
}

impl ListRegs for FakeCpu {
    fn count(&self) -> usize {
        self.file.count()
    }

    fn empty(&self) -> LrSet {
        self.file.empty()
    }

    fn read(&self, n: usize) -> ListReg {
        self.file.read(n)
    }

    fn write(&mut self, n: usize, lr: ListReg) {
        assert!(n < self.file.count, "list register {n} does not exist");
        self.writes += 1;
        self.file.write(n, lr);
    }

    fn maintenance(&mut self, want: Maintenance) {
        self.file.maintenance(want);
    }

    fn take_eoi_count(&mut self) -> u32 {
        self.file.take_eoi_count()
    }
}
