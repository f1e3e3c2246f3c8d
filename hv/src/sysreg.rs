//! Trapped system registers of a guest: identification, SGIs, the physical timer, debug stubs.
//!
//! Which register it is and what class of answer it gets, vdev decides; here it meets this CPU and this vCPU. ID
//! registers come from a table made at boot of what all CPUs have, filtered to what is really virtualised.

use crate::arch::{GuestFrame, esr, sysreg};
use crate::counters::Kind;
use crate::percpu::{Cpu, CpuLocal};
use crate::run::Outcome;
use crate::vcpu::Loaded;
use crate::{time, trap, vgic};
use core::sync::atomic::{AtomicU64, Ordering};
use vdev::idregs::{IdConfig, common_value, guest_value};
use vdev::sysreg::{SysAccess, SysReg, Trapped, classify};
use vdev::vgic::{SgiReg, Version};

/// op0 3, op1 0, CRn 0, CRm 1-7, op2 0-7, as guests see them.
pub struct Ids([AtomicU64; 64]);

/// For guests with a GICv2 and for those with a GICv3.
static IDS: [Ids; 2] = [const { Ids([const { AtomicU64::new(0) }; 64]) }; 2];
const VERSIONS: [Version; 2] = [Version::V2, Version::V3];

/// What guests with this GIC read.
pub fn ids(version: Version) -> &'static Ids {
    &IDS[usize::from(version == Version::V3)]
}

/// Reads the ID registers of this CPU, the first one, and makes the guests' tables.
pub fn init() {
    for version in VERSIONS {
        for (slot, value) in ids(version).0.iter().zip(own_ids(version)) {
            slot.store(value, Ordering::Release);
        }
    }
}

/// Another CPU, before it runs any guest: what it lacks, no guest may see, since its vCPUs may come here.
pub fn join() {
    for version in VERSIONS {
        for (i, (slot, own)) in ids(version).0.iter().zip(own_ids(version)).enumerate() {
            let reg = SysReg::new(3, 0, 0, i as u8 >> 3, i as u8 & 7);
            let merge = |common| Some(common_value(reg, common, own));
            // Never refused: the closure always answers.
            let _ = slot.fetch_update(Ordering::AcqRel, Ordering::Acquire, merge);
        }
    }
}

/// What guests would read if all CPUs were like this one.
fn own_ids(version: Version) -> [u64; 64] {
    let cfg = IdConfig {
        gicv3: version == Version::V3,
        pa_range: (sysreg::id_aa64mmfr0_el1() & 0xf) as u8,
    };
    core::array::from_fn(|i| {
        let (crm, op2) = (i as u8 >> 3, i as u8 & 7);
        guest_value(SysReg::new(3, 0, 0, crm, op2), hardware(crm, op2), &cfg)
    })
}

impl Ids {
    /// ID register `crm << 3 | op2`.
    #[inline(always)]
    pub fn value(&self, index: usize) -> u64 {
        self.0[index & 63].load(Ordering::Relaxed)
    }
}

/// The hardware's value of an ID register; 0 for those that do not exist.
fn hardware(crm: u8, op2: u8) -> u64 {
    use sysreg::*;
    match (crm, op2) {
        (1, 0) => id_pfr0_el1(),
        (1, 1) => id_pfr1_el1(),
        (1, 2) => id_dfr0_el1(),
        (1, 3) => id_afr0_el1(),
        (1, 4) => id_mmfr0_el1(),
        (1, 5) => id_mmfr1_el1(),
        (1, 6) => id_mmfr2_el1(),
        (1, 7) => id_mmfr3_el1(),
        (2, 0) => id_isar0_el1(),
        (2, 1) => id_isar1_el1(),
        (2, 2) => id_isar2_el1(),
        (2, 3) => id_isar3_el1(),
        (2, 4) => id_isar4_el1(),
        (2, 5) => id_isar5_el1(),
        (2, 6) => id_mmfr4_el1(),
        (2, 7) => id_isar6_el1(),
        (3, 0) => mvfr0_el1(),
        (3, 1) => mvfr1_el1(),
        (3, 2) => mvfr2_el1(),
        (3, 4) => id_pfr2_el1(),
        (3, 5) => id_dfr1_el1(),
        (3, 6) => id_mmfr5_el1(),
        (4, 0) => id_aa64pfr0_el1(),
        (4, 1) => id_aa64pfr1_el1(),
        (5, 0) => id_aa64dfr0_el1(),
        (5, 1) => id_aa64dfr1_el1(),
        (5, 4) => id_aa64afr0_el1(),
        (5, 5) => id_aa64afr1_el1(),
        (6, 0) => id_aa64isar0_el1(),
        (6, 1) => id_aa64isar1_el1(),
        (6, 2) => id_aa64isar2_el1(),
        (7, 0) => id_aa64mmfr0_el1(),
        (7, 1) => id_aa64mmfr1_el1(),
        (7, 2) => id_aa64mmfr2_el1(),
        _ => 0,
    }
}

/// An MSR, MRS or system instruction that trapped.
#[inline]
pub fn access(
    syndrome: u64,
    frame: &mut GuestFrame,
    cpu: &'static Cpu,
    local: &mut CpuLocal,
) -> Outcome {
    let Some(l) = local.loaded.as_mut() else {
        return Outcome::Reschedule;
    };
    let a = SysAccess::decode(syndrome as u32 & 0x1ff_ffff);
    let rt = usize::from(a.rt);
    if syndrome & !SGI1R_RT == SGI1R_WRITE && l.domain.gic.version == Version::V3 {
        return sgi(SgiReg::Sgi1, rt, frame, cpu, l);
    }
    let what = classify(a, l.domain.gic.version == Version::V3);
    let value = match what {
        Trapped::Id => {
            l.vcpu().counters.add(Kind::IdReg);
            let index = usize::from(a.reg.crm()) << 3 | usize::from(a.reg.op2());
            l.domain.ids.value(index)
        }
        Trapped::Sgi(which) => return sgi(which, rt, frame, cpu, l),
        _ => {
            l.vcpu().counters.add(Kind::Sysreg);
            match other(what, a, frame, cpu, l) {
                Answer::Value(v) => v,
                Answer::Timer(v) => {
                    let id = l.vcpu().id;
                    let at = vgic::ptimer_update(&l.domain, l.index, cpu);
                    vgic::flush(l, cpu);
                    local.alarms.set(id, at);
                    v
                }
                Answer::Undefined => return trap::undefined(frame, l),
            }
        }
    };
    if a.read {
        frame.set_reg(rt, value);
    }
    frame.skip(true);
    Outcome::Resume
}

/// `msr ICC_SGI1R_EL1, xN`, N left out: what nearly every trapped register access of a busy SMP guest is.
const SGI1R_WRITE: u64 = esr::EC_SYS64 << 26 | 1 << 25 | 3 << 20 | 5 << 17 | 12 << 10 | 11 << 1;
const SGI1R_RT: u64 = 0x1f << 5;

#[inline]
fn sgi(
    which: SgiReg,
    rt: usize,
    frame: &mut GuestFrame,
    cpu: &'static Cpu,
    l: &mut Loaded,
) -> Outcome {
    l.vcpu().counters.add(Kind::Sgi);
    let value = frame.reg(rt);
    frame.skip(true);
    let (kick, unfinished) = {
        let mut g = l.domain.vgic.lock();
        let kick = g.sgi_v3(l.index, which, value, &mut vgic::lrs());
        vgic::release(&mut g, l.index);
        (kick, g.unfinished(l.index))
    };
    let why = vgic::line((value >> 24 & 15) as u16);
    vgic::accessed(l, kick, why, unfinished, cpu)
}

enum Answer {
    /// What a read gives; a write is ignored.
    Value(u64),
    /// The same, and the physical timer changed.
    Timer(u64),
    /// There is no such register.
    Undefined,
}

fn other(
    what: Trapped,
    a: SysAccess,
    frame: &GuestFrame,
    cpu: &'static Cpu,
    l: &mut Loaded,
) -> Answer {
    let value = frame.reg(usize::from(a.rt));
    let now = time::ticks();
    match what {
        Trapped::PtimerCtl | Trapped::PtimerCval | Trapped::PtimerTval => {
            let timer = &l.vcpu().ptimer;
            if a.read {
                return Answer::Value(timer.read(|t| match what {
                    Trapped::PtimerCtl => t.ctl(now),
                    Trapped::PtimerCval => t.cval(),
                    _ => t.tval(now),
                }));
            }
            timer.change(|t| match what {
                Trapped::PtimerCtl => t.set_ctl(value),
                Trapped::PtimerCval => t.set_cval(value),
                _ => t.set_tval(value, now),
            });
            Answer::Timer(0)
        }
        Trapped::PhysicalCount => Answer::Value(now),
        Trapped::Dir => {
            // Only while list registers do not suffice: the end has to be seen by the model.
            let kick = {
                let mut g = l.domain.vgic.lock();
                let kick = g.deactivate(l.index, value, &mut vgic::lrs());
                vgic::release(&mut g, l.index);
                kick
            };
            vgic::deliver(&l.domain, kick, vgic::REGISTER, cpu);
            Answer::Value(0)
        }
        Trapped::Mdscr => {
            if a.read {
                return Answer::Value(l.ctx.mdscr);
            }
            // Kept for the guest to read back; EL2 lets no debug exception of EL1 be enabled by it.
            l.ctx.mdscr = value;
            Answer::Value(0)
        }
        // Not trapped (run.rs, `hcr`): it acts on this CPU's caches, which is what a boot loader on one CPU means by it.
        Trapped::SetWay => Answer::Value(0),
        Trapped::Implementation => Answer::Value(match a.reg.op1() {
            0 => sysreg::revidr_el1(),
            _ => 0,
        }),
        Trapped::Const(v) => Answer::Value(v),
        Trapped::Undef | Trapped::Id | Trapped::Sgi(_) => Answer::Undefined,
    }
}
