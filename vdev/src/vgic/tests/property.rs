//! Random guests and devices against the reference: what is delivered, in which order, nothing lost or doubled.

use super::super::{CpuIf, Irq, Kick, SgiReg, Version, Vgic, VgicConfig};
use super::fake::FakeCpu;
use super::reference::Reference;
use crate::{Refused, Size};
use proptest::prelude::*;
use std::vec::Vec;

/// What happens next. Numbers are reduced to what exists.
#[derive(Clone, Debug)]
enum Op {
    Ctlr(usize, u32),
    Bitmap(usize, usize, usize, u32),
    Priority(usize, u16, u8),
    Config(usize, u16, bool),
    Target(usize, u16, u8),
    Level(usize, u16, bool),
    Pulse(usize, u16),
    Sgi(usize, u8, u8),
    FireHw(usize),
    Ack(usize),
    End(usize),
    Switch(usize),
    Read(usize, usize, usize),
}

/// The private PPI that is linked to a physical one, as the virtual timer is.
const LINKED: u16 = 27;

fn op() -> impl Strategy<Value = Op> {
    let v = 0usize..3;
    let w = 0usize..3;
    // Few INTIDs, so that they meet: some SGIs, PPIs and SPIs.
    let intid = prop_oneof![0u16..4, 26u16..32, 32u16..36, 62u16..66];
    let mask = prop_oneof![
        any::<u32>(),
        Just(u32::MAX),
        (0u32..32).prop_map(|n| 1 << n)
    ];
    prop_oneof![
        1 => (v.clone(), 0u32..8).prop_map(|(v, x)| Op::Ctlr(v, x)),
        4 => (v.clone(), 1usize..8, w.clone(), mask).prop_map(|(v, r, w, m)| Op::Bitmap(v, r, w, m)),
        4 => (v.clone(), intid.clone(), any::<u8>()).prop_map(|(v, i, p)| Op::Priority(v, i, p)),
        2 => (v.clone(), intid.clone(), any::<bool>()).prop_map(|(v, i, e)| Op::Config(v, i, e)),
        3 => (v.clone(), intid.clone(), any::<u8>()).prop_map(|(v, i, t)| Op::Target(v, i, t)),
        8 => (v.clone(), intid.clone(), any::<bool>()).prop_map(|(v, i, l)| Op::Level(v, i, l)),
        6 => (v.clone(), intid).prop_map(|(v, i)| Op::Pulse(v, i)),
        6 => (v.clone(), 0u8..4, any::<u8>()).prop_map(|(v, i, t)| Op::Sgi(v, i, t)),
        3 => v.clone().prop_map(Op::FireHw),
        16 => v.clone().prop_map(Op::Ack),
        14 => v.clone().prop_map(Op::End),
        3 => v.clone().prop_map(Op::Switch),
        4 => (v, 1usize..8, w).prop_map(|(v, r, w)| Op::Read(v, r, w)),
    ]
}

struct World {
    vgic: Vgic,
    cpus: Vec<FakeCpu>,
    judge: Reference,
    /// Physical state of the linked PPI, by vCPU.
    phys_active: Vec<bool>,
    /// Guest-controlled active bits are exercised.
    active_writes: bool,
}

impl World {
    fn new(version: Version, vcpus: u16, lrs: usize, active_writes: bool) -> World {
        let config = VgicConfig {
            version,
            vcpus,
            spis: 64,
        };
        let mut vgic = Vgic::new(config).unwrap();
        let mut judge = Reference::new(config);
        vgic.link_ppi(LINKED, 27);
        for v in 0..vcpus as usize {
            judge.int(v, LINKED).hw = true;
        }
        World {
            vgic,
            cpus: (0..vcpus).map(|_| FakeCpu::new(lrs)).collect(),
            judge,
            phys_active: vec![false; vcpus as usize],
            active_writes,
        }
    }

    fn v3(&self) -> bool {
        self.judge.config.version == Version::V3
    }

    /// What hv does with a kick: every vCPU named comes by and flushes.
    fn kick(&mut self, kick: Kick) {
        let mut todo = kick.wake | kick.resync;
        while todo != 0 {
            let v = todo.trailing_zeros() as usize;
            todo &= todo - 1;
            let more = self.vgic.flush(v, &mut self.cpus[v]);
            todo |= more.wake | more.resync;
        }
        self.hardware();
    }

    /// Maintenance interrupts and deactivated physical interrupts, until all is quiet.
    fn hardware(&mut self) {
        for round in 0.. {
            assert!(round < 50, "maintenance interrupts without end");
            let Some(v) = (0..self.cpus.len()).find(|v| self.cpus[*v].wants_maintenance()) else {
                break;
            };
            let kick = self.vgic.maintenance(v, &mut self.cpus[v]);
            let mut todo = kick.wake | kick.resync;
            while todo != 0 {
                let v = todo.trailing_zeros() as usize;
                todo &= todo - 1;
                let _ = self.vgic.flush(v, &mut self.cpus[v]);
            }
        }
        for v in 0..self.cpus.len() {
            while let Some(pintid) = self.vgic.take_release(v) {
                assert_eq!(pintid, 27);
                self.phys_active[v] = false;
            }
            if self.cpus[v].deactivated.pop().is_some() {
                self.phys_active[v] = false;
            }
            self.cpus[v].settled();
        }
    }

    fn write(&mut self, v: usize, offset: u32, size: Size, value: u64) {
        let kick = self
            .vgic
            .dist_write(v, offset, size, value, &mut self.cpus[v])
            .unwrap();
        self.kick(kick);
        self.pieces(v);
    }

    /// The rest of a write, with what can come between its pieces: whom it told look, it looks itself, it loses its CPU.
    fn pieces(&mut self, v: usize) {
        let mut n = 0;
        while self.vgic.unfinished(v) {
            let kick = match n % 3 {
                0 => Kick::NONE,
                1 => self.vgic.flush(v, &mut self.cpus[v]),
                _ => {
                    let kick = self.vgic.unload(v, &mut self.cpus[v]);
                    kick.and(self.vgic.flush(v, &mut self.cpus[v]))
                }
            };
            self.kick(kick);
            let kick = self.vgic.go_on(v, &mut self.cpus[v]);
            self.kick(kick);
            n += 1;
            assert!(n < 40, "a write that does not end");
        }
    }

    /// GICR of `v` itself on GICv3, GICD otherwise.
    fn write_private(&mut self, v: usize, offset: u32, size: Size, value: u64) {
        if self.v3() {
            let offset = (v as u32) << 17 | 0x1_0000 | offset;
            let kick = self
                .vgic
                .redist_write(v, offset, size, value, &mut self.cpus[v])
                .unwrap();
            self.kick(kick);
            self.pieces(v);
        } else {
            self.write(v, offset, size, value);
        }
    }

    fn read(&mut self, v: usize, offset: u32, private: bool) -> u32 {
        for _ in 0..3 {
            let answer = if private && self.v3() {
                let offset = (v as u32) << 17 | 0x1_0000 | offset;
                self.vgic.redist_read(v, offset, Size::Word, &self.cpus[v])
            } else {
                self.vgic.dist_read(v, offset, Size::Word, &self.cpus[v])
            };
            match answer {
                Ok(value) => return value as u32,
                Err(Refused::Busy(kick)) => self.kick(kick),
                Err(other) => panic!("{offset:#x}: {other:?}"),
            }
        }
        panic!("{offset:#x}: busy for ever");
    }

    fn exists(&self, intid: u16) -> bool {
        intid < 32 + self.judge.config.spis
    }

    fn step(&mut self, op: &Op) {
        let vcpus = self.cpus.len();
        match *op {
            Op::Ctlr(v, value) => {
                // Mostly on, or nothing would happen.
                let value = if value < 3 { value } else { 3 };
                self.write(v % vcpus, 0, Size::Word, u64::from(value));
                self.judge.ctlr = value & 3;
            }
            Op::Bitmap(v, reg, w, mask) => self.bitmap(v % vcpus, reg, w, mask),
            Op::Priority(v, intid, priority) => {
                let v = v % vcpus;
                // The running priority of an active interrupt is what it was acknowledged with.
                if self.exists(intid) && !self.judge.int(v, intid).active {
                    let offset = 0x400 + u32::from(intid);
                    if intid < 32 {
                        self.write_private(v, offset, Size::Byte, u64::from(priority));
                    } else {
                        self.write(v, offset, Size::Byte, u64::from(priority));
                    }
                    self.judge.int(v, intid).priority = priority;
                }
            }
            Op::Config(v, intid, edge) => {
                let v = v % vcpus;
                if intid >= 16 && self.exists(intid) && !self.judge.int(v, intid).pending() {
                    let (offset, shift) = (
                        0xc00 + u32::from(intid) / 16 * 4,
                        u32::from(intid) % 16 * 2 + 1,
                    );
                    let old = self.read(v, offset, intid < 32);
                    let new = old & !(1 << shift) | (edge as u32) << shift;
                    if intid < 32 {
                        self.write_private(v, offset, Size::Word, u64::from(new));
                    } else {
                        self.write(v, offset, Size::Word, u64::from(new));
                    }
                    self.judge.int(v, intid).edge = edge;
                }
            }
            Op::Target(v, intid, target) => self.target(v % vcpus, intid, target),
            Op::Level(v, intid, level) => {
                let v = v % vcpus;
                if intid >= 16 && intid != LINKED && self.exists(intid) {
                    let kick = self.vgic.set_level(irq(v, intid), level);
                    self.kick(kick);
                    self.judge.set_level(v, intid, level);
                }
            }
            Op::Pulse(v, intid) => {
                let v = v % vcpus;
                if intid >= 16 && intid != LINKED && self.exists(intid) {
                    let kick = self.vgic.pulse(irq(v, intid));
                    self.kick(kick);
                    self.judge.int(v, intid).latch = true;
                }
            }
            Op::Sgi(v, n, targets) => self.sgi(v % vcpus, n, targets),
            Op::FireHw(v) => {
                let v = v % vcpus;
                if !self.phys_active[v] {
                    self.phys_active[v] = true;
                    // Both ways hv may take: at home, or from another CPU.
                    let kick = if self.judge.running[v].len().is_multiple_of(2) {
                        self.vgic.inject_hw(v, LINKED, &mut self.cpus[v])
                    } else {
                        self.vgic.fire_hw(Irq::ppi(v, LINKED))
                    };
                    self.kick(kick);
                    self.judge.int(v, LINKED).latch = true;
                }
            }
            Op::Ack(v) => self.ack(v % vcpus),
            Op::End(v) => self.end(v % vcpus),
            Op::Switch(v) => {
                let v = v % vcpus;
                let kick = self.vgic.unload(v, &mut self.cpus[v]);
                assert!(
                    self.cpus[v].file.lrs.iter().all(|lr| lr.is_free()),
                    "unloaded list registers are empty"
                );
                assert_eq!(self.cpus[v].file.want, super::super::Maintenance::NONE);
                self.kick(kick);
                let wakes = self.vgic.pending(v, &self.cpus[v], CpuIf::ANY);
                assert_eq!(
                    wakes,
                    !self.judge.deliverable(v).is_empty(),
                    "wake of a saved vCPU"
                );
                let kick = self.vgic.flush(v, &mut self.cpus[v]);
                self.kick(kick);
            }
            Op::Read(v, reg, w) => {
                let v = v % vcpus;
                let got = self.read(v, reg as u32 * 0x80 + w as u32 * 4, w == 0);
                let want = match reg {
                    1 => self.judge.bits(v, w, |int| int.group1),
                    2 | 3 => self.judge.bits(v, w, |int| int.enabled),
                    4 | 5 => self.judge.bits(v, w, |int| int.pending()),
                    _ => self.judge.bits(v, w, |int| int.active),
                };
                assert_eq!(got, want, "register {:#x}", reg * 0x80 + w * 4);
            }
        }
        self.compare();
    }

    fn bitmap(&mut self, v: usize, reg: usize, w: usize, mut mask: u32) {
        if reg >= 6 && !self.active_writes {
            return;
        }
        let offset = reg as u32 * 0x80 + w as u32 * 4;
        let v2_sgis = !self.v3() && w == 0;
        if reg == 6 {
            // An interrupt that nobody acknowledged is ended by ICACTIVER only; keep to a few.
            mask &= 1 << 30 | 1 << 2;
        }
        if w == 0 {
            self.write_private(v, offset, Size::Word, u64::from(mask));
        } else {
            self.write(v, offset, Size::Word, u64::from(mask));
        }
        for n in 0..32u16 {
            let on = mask >> n & 1 != 0;
            let sgi = v2_sgis && n < 16;
            let int = self.judge.int(v, w as u16 * 32 + n);
            match reg {
                1 => int.group1 = on,
                2 => int.enabled |= on,
                3 if on && !sgi => int.enabled = false,
                4 if on && !sgi => int.latch = true,
                5 if on && !sgi => int.latch = false,
                6 if on => int.active = true,
                7 if on => int.active = false,
                _ => {}
            }
        }
    }

    fn target(&mut self, v: usize, intid: u16, target: u8) {
        if intid < 32 || !self.exists(intid) {
            return;
        }
        let vcpus = self.cpus.len();
        let to = if self.v3() {
            let to = target as usize % (vcpus + 1); // one that does not exist, too
            self.write(v, 0x6000 + u32::from(intid) * 8, Size::Double, to as u64);
            Some(to).filter(|to| *to < vcpus)
        } else {
            self.write(v, 0x800 + u32::from(intid), Size::Byte, u64::from(target));
            let mask = target & ((1 << vcpus) - 1);
            if vcpus == 1 {
                Some(0)
            } else {
                (mask != 0).then_some(mask.trailing_zeros() as usize)
            }
        };
        self.judge.int(v, intid).target = to;
    }

    fn sgi(&mut self, v: usize, n: u8, targets: u8) {
        let vcpus = self.cpus.len();
        let targets = targets & ((1 << vcpus) - 1);
        if self.v3() {
            let value = u64::from(n) << 24 | u64::from(targets);
            let kick = self.vgic.sgi_v3(v, SgiReg::Sgi1, value, &mut self.cpus[v]);
            self.kick(kick);
        } else {
            self.write(
                v,
                0xf00,
                Size::Word,
                u64::from(targets) << 16 | u64::from(n),
            );
        }
        for t in (0..vcpus).filter(|t| targets >> t & 1 != 0) {
            let v3 = self.v3();
            let int = self.judge.int(t, u16::from(n));
            if !v3 {
                int.sources |= 1 << v;
            } else if int.group1 {
                int.latch = true;
            }
        }
    }

    fn ack(&mut self, v: usize) {
        let want = self.judge.next_priority(v);
        let got = self.cpus[v].ack();
        match got {
            None => assert_eq!(
                want,
                None,
                "vCPU {v} should get {:?}",
                self.judge.deliverable(v)
            ),
            Some((intid, source)) => {
                let all = self.judge.deliverable(v);
                let priority = all.iter().find(|(_, i)| *i == intid).map(|(p, _)| *p);
                assert!(
                    priority.is_some(),
                    "vCPU {v} got {intid}, which is not due: {all:?}"
                );
                assert_eq!(priority, want, "vCPU {v} got {intid} out of order: {all:?}");
                self.judge.ack(v, intid, source);
            }
        }
        self.hardware();
    }

    fn end(&mut self, v: usize) {
        // What ICACTIVER has ended already must not be ended again by the guest.
        while let Some((intid, _)) = self.judge.running[v].last().copied() {
            let still = self.judge.int(v, intid).active;
            self.judge.running[v].pop();
            self.cpus[v].drop_priority();
            if still {
                self.judge.int(v, intid).active = false;
                self.cpus[v].deactivate(intid);
                break;
            }
        }
        self.hardware();
    }

    /// What must hold whenever all is quiet.
    fn compare(&mut self) {
        for v in 0..self.cpus.len() {
            let due = self.judge.deliverable(v);
            let pending = self.vgic.pending(v, &self.cpus[v], CpuIf::ANY);
            assert_eq!(pending, !due.is_empty(), "vCPU {v}: due {due:?}");
            let next = self.cpus[v]
                .highest_pending()
                .map(|n| self.cpus[v].file.lrs[n].priority());
            assert_eq!(next, self.judge.next_priority(v), "vCPU {v}: due {due:?}");
            let hw = self.judge.int(v, LINKED);
            let in_flight = hw.latch || hw.active;
            assert_eq!(
                self.vgic.is_hw_inflight(v, LINKED) && self.really(v),
                in_flight,
                "linked, vCPU {v}"
            );
            assert!(!self.vgic.needs_flush(v), "vCPU {v} not flushed");
        }
    }

    /// `is_hw_inflight` may be late by a list register the guest has emptied since.
    fn really(&self, v: usize) -> bool {
        let vgic = &self.vgic.vcpus[v].bank;
        let m = 1 << LINKED;
        if (vgic.latch | vgic.active & !vgic.resident) & m != 0 {
            return true;
        }
        self.cpus[v]
            .file
            .lrs
            .iter()
            .any(|lr| !lr.is_invalid() && lr.intid() == LINKED)
    }
}

fn irq(v: usize, intid: u16) -> Irq {
    if intid < 32 {
        Irq::ppi(v, intid)
    } else {
        Irq::spi(intid)
    }
}

/// Turns everything on, so that a random history starts with something to deliver.
fn lively(world: &mut World) {
    for v in 0..world.cpus.len() {
        world.step(&Op::Bitmap(v, 2, 0, u32::MAX));
        world.step(&Op::Bitmap(v, 1, 0, u32::MAX));
    }
    world.step(&Op::Bitmap(0, 2, 1, u32::MAX));
    world.step(&Op::Bitmap(0, 2, 2, u32::MAX));
    world.step(&Op::Ctlr(0, 3));
}

/// Everything pending is delivered in the end, in the reference's order, and then nothing is left.
fn drain(world: &mut World) {
    for v in 0..world.cpus.len() {
        for round in 0.. {
            assert!(round < 500, "delivery without end");
            for intid in 16..96 {
                world.step(&Op::Level(v, intid, false));
            }
            if world.judge.next_priority(v).is_some() {
                world.step(&Op::Ack(v));
            } else if !world.judge.running[v].is_empty() {
                world.step(&Op::End(v));
            } else {
                break;
            }
        }
    }
}

fn run(version: Version, vcpus: u16, lrs: usize, active_writes: bool, ops: &[Op]) {
    let mut world = World::new(version, vcpus, lrs, active_writes);
    lively(&mut world);
    for op in ops {
        world.step(op);
    }
    drain(&mut world);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn v3_delivers_as_the_architecture_says(
        vcpus in 1u16..4, lrs in prop_oneof![Just(1usize), Just(2), Just(4), Just(16)],
        ops in prop::collection::vec(op(), 1..120),
    ) {
        run(Version::V3, vcpus, lrs, false, &ops);
    }

    #[test]
    fn v2_delivers_as_the_architecture_says(
        vcpus in 1u16..4, lrs in prop_oneof![Just(1usize), Just(2), Just(4), Just(16)],
        ops in prop::collection::vec(op(), 1..120),
    ) {
        run(Version::V2, vcpus, lrs, false, &ops);
    }

    #[test]
    fn active_bits_can_be_written(
        v3 in any::<bool>(), vcpus in 1u16..4, ops in prop::collection::vec(op(), 1..120),
    ) {
        // Sixteen list registers: what the guest ends is always in one.
        run(if v3 { Version::V3 } else { Version::V2 }, vcpus, 16, true, &ops);
    }
}
