//! Kicks that take their time: CPUs acknowledge and end interrupts from old list registers while news is under way.
//!
//! A vCPU flushes only when a kick named it or when it is loaded, as in hv. Every edge must then be delivered after
//! it was raised, and no more often than edges were raised, whatever the order.

use super::super::{Irq, Kick, SgiReg, Version, Vgic, VgicConfig};
use super::fake::FakeCpu;
use crate::Size;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::vec::Vec;

#[derive(Clone, Debug)]
enum Op {
    Pulse(u16),
    Sgi(usize, u8, u8),
    Route(usize, u16, usize),
    Toggle(usize, usize),
    Visit(usize),
    Ack(usize),
    End(usize),
    Load(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let v = 0usize..3;
    prop_oneof![
        5 => (32u16..38).prop_map(Op::Pulse),
        6 => (v.clone(), 0u8..3, 1u8..8).prop_map(|(v, n, t)| Op::Sgi(v, n, t)),
        2 => (v.clone(), 32u16..38, v.clone()).prop_map(|(v, i, t)| Op::Route(v, i, t)),
        1 => (v.clone(), 0usize..2).prop_map(|(v, w)| Op::Toggle(v, w)),
        8 => v.clone().prop_map(Op::Visit),
        8 => v.clone().prop_map(Op::Ack),
        8 => v.clone().prop_map(Op::End),
        2 => v.prop_map(Op::Load),
    ]
}

/// What has happened to one interrupt (private ones by vCPU).
#[derive(Clone, Copy, Default, Debug)]
struct Tally {
    raised: u32,
    taken: u32,
    last_raised: u32,
    last_taken: u32,
}

struct World {
    vgic: Vgic,
    cpus: Vec<FakeCpu>,
    loaded: Vec<bool>,
    kicked: u64,
    running: Vec<Vec<u16>>,
    tally: BTreeMap<(usize, u16), Tally>,
    now: u32,
}

fn key(v: usize, intid: u16) -> (usize, u16) {
    (if intid < 32 { v } else { 0 }, intid)
}

impl World {
    fn new(version: Version, lrs: usize) -> World {
        let config = VgicConfig {
            version,
            vcpus: 3,
            spis: 32,
        };
        let mut w = World {
            vgic: Vgic::new(config).unwrap(),
            cpus: (0..3).map(|_| FakeCpu::new(lrs)).collect(),
            loaded: vec![true; 3],
            kicked: 0,
            running: vec![Vec::new(); 3],
            tally: BTreeMap::new(),
            now: 0,
        };
        w.write(0, 0, Size::Word, 3);
        w.write(0, 0x84, Size::Word, u64::MAX);
        w.write(0, 0x104, Size::Word, u64::MAX);
        w.write(0, 0xc08, Size::Word, u64::MAX);
        w.write(0, 0xc0c, Size::Word, u64::MAX);
        for v in 0..3 {
            if version == Version::V3 {
                for offset in [0x1_0080, 0x1_0100] {
                    let offset = (v as u32) << 17 | offset;
                    let kick =
                        w.vgic
                            .redist_write_all(v, offset, Size::Word, u64::MAX, &mut w.cpus[v]);
                    w.kick(kick.unwrap());
                }
            }
        }
        for intid in 32..38 {
            w.step(&Op::Route(0, intid, intid as usize % 3));
        }
        w
    }

    fn kick(&mut self, kick: Kick) {
        self.kicked |= kick.wake | kick.resync;
    }

    /// A register write by `v`, which must be loaded to make one.
    fn write(&mut self, v: usize, offset: u32, size: Size, value: u64) {
        if self.loaded[v] {
            let kick = self
                .vgic
                .dist_write_all(v, offset, size, value, &mut self.cpus[v])
                .unwrap();
            self.kick(kick);
        }
    }

    fn raise(&mut self, v: usize, intid: u16) {
        self.now += 1;
        let t = self.tally.entry(key(v, intid)).or_default();
        t.raised += 1;
        t.last_raised = self.now;
    }

    fn step(&mut self, op: &Op) {
        match *op {
            Op::Pulse(intid) => {
                self.raise(0, intid);
                let kick = self.vgic.pulse(Irq::spi(intid));
                self.kick(kick);
            }
            Op::Sgi(v, n, targets) => {
                if !self.loaded[v] {
                    return;
                }
                for t in (0..3).filter(|t| targets >> t & 1 != 0) {
                    self.raise(t, u16::from(n));
                }
                if self.vgic.config().version == Version::V3 {
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
            }
            Op::Route(v, intid, to) => {
                if self.vgic.config().version == Version::V3 {
                    self.write(v, 0x6000 + 8 * u32::from(intid), Size::Double, to as u64);
                } else {
                    self.write(v, 0x800 + u32::from(intid), Size::Byte, 1 << to);
                }
            }
            Op::Toggle(v, which) => {
                // Off and on again: nothing may be lost by it.
                if self.loaded[v] {
                    let (off, on) = if which == 0 { (0x184, 0x104) } else { (0, 0) };
                    self.write(v, off, Size::Word, if which == 0 { u64::MAX } else { 0 });
                    self.write(v, on, Size::Word, if which == 0 { u64::MAX } else { 3 });
                }
            }
            Op::Visit(v) => self.visit(v),
            Op::Ack(v) => {
                if self.loaded[v]
                    && let Some((intid, _)) = self.cpus[v].ack()
                {
                    self.now += 1;
                    let t = self.tally.entry(key(v, intid)).or_default();
                    t.taken += 1;
                    t.last_taken = self.now;
                    self.running[v].push(intid);
                }
            }
            Op::End(v) => {
                if self.loaded[v]
                    && let Some(intid) = self.running[v].pop()
                {
                    self.cpus[v].drop_priority();
                    self.cpus[v].deactivate(intid);
                }
            }
            Op::Load(v) => {
                self.loaded[v] = !self.loaded[v];
                if self.loaded[v] {
                    let kick = self.vgic.flush(v, &mut self.cpus[v]);
                    self.kick(kick);
                } else {
                    let kick = self.vgic.unload(v, &mut self.cpus[v]);
                    self.kick(kick);
                }
            }
        }
        // A maintenance interrupt is taken at once by the CPU that has it.
        for v in 0..3 {
            for round in 0.. {
                assert!(round < 50, "maintenance interrupts without end");
                if !self.loaded[v] || !self.cpus[v].wants_maintenance() {
                    break;
                }
                let kick = self.vgic.maintenance(v, &mut self.cpus[v]);
                self.kick(kick);
            }
            self.cpus[v].settled();
        }
    }

    /// `v`'s CPU comes by because of a kick, if there was one.
    fn visit(&mut self, v: usize) {
        if self.kicked >> v & 1 != 0 && self.loaded[v] {
            self.kicked &= !(1 << v);
            let kick = self.vgic.flush(v, &mut self.cpus[v]);
            self.kick(kick);
        }
    }

    fn finish(&mut self) {
        for v in 0..3 {
            if !self.loaded[v] {
                self.step(&Op::Load(v));
            }
        }
        for round in 0.. {
            assert!(round < 1000, "delivery without end");
            let before = self.now;
            for v in 0..3 {
                self.step(&Op::Visit(v));
                self.step(&Op::Ack(v));
                self.step(&Op::End(v));
            }
            let idle = (0..3)
                .all(|v| self.running[v].is_empty() && self.cpus[v].highest_pending().is_none());
            if idle && self.now == before && self.kicked == 0 {
                break;
            }
        }
        for (which, t) in &self.tally {
            assert!(t.last_taken > t.last_raised, "{which:?} was lost: {t:?}");
            assert!(t.taken <= t.raised, "{which:?} came too often: {t:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_or_doubled_while_kicks_are_under_way(
        v3 in any::<bool>(), lrs in prop_oneof![Just(1usize), Just(2), Just(4)],
        ops in prop::collection::vec(op(), 1..150),
    ) {
        let mut world = World::new(if v3 { Version::V3 } else { Version::V2 }, lrs);
        for op in &ops {
            world.step(op);
        }
        world.finish();
    }
}
