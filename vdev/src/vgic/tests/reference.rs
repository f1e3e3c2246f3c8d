//! A GIC as the architecture describes it, without list registers: the judge of the property tests.

use super::super::{Version, VgicConfig};
use std::vec::Vec;

#[derive(Clone, Default)]
pub struct Int {
    pub enabled: bool,
    pub group1: bool,
    pub edge: bool,
    pub level: bool,
    pub latch: bool,
    pub sources: u8,
    pub active: bool,
    pub priority: u8,
    pub hw: bool,
    /// Shared ones: where they go. `None`: nowhere.
    pub target: Option<usize>,
    /// Who acknowledged it.
    pub holder: usize,
}

impl Int {
    pub fn pending(&self) -> bool {
        self.latch || self.sources != 0 || self.level && !self.edge && !self.hw
    }
}

pub struct Reference {
    pub config: VgicConfig,
    pub ctlr: u32,
    /// Per vCPU, INTIDs 0 to 31.
    pub private: Vec<Vec<Int>>,
    pub shared: Vec<Int>,
    /// Per vCPU: acknowledged and not ended, with the priority at that time.
    pub running: Vec<Vec<(u16, u8)>>,
}

impl Reference {
    pub fn new(config: VgicConfig) -> Reference {
        let vcpus = config.vcpus as usize;
        let v2 = config.version == Version::V2;
        let sgi = Int {
            edge: true,
            enabled: v2,
            ..Int::default()
        };
        let private = [vec![sgi; 16], vec![Int::default(); 16]].concat();
        let target = if v2 && vcpus > 1 { None } else { Some(0) };
        Reference {
            config,
            ctlr: 0,
            private: vec![private; vcpus],
            shared: vec![
                Int {
                    target,
                    ..Int::default()
                };
                config.spis as usize
            ],
            running: vec![Vec::new(); vcpus],
        }
    }

    pub fn int(&mut self, v: usize, intid: u16) -> &mut Int {
        if intid < 32 {
            &mut self.private[v][intid as usize]
        } else {
            &mut self.shared[intid as usize - 32]
        }
    }

    fn forwarded(&self, int: &Int) -> bool {
        int.enabled && self.ctlr & (1 << int.group1 as u32) != 0
    }

    /// Interrupts that `v` could be given now, regardless of what it runs: (priority, INTID).
    pub fn deliverable(&self, v: usize) -> Vec<(u8, u16)> {
        let private = self.private[v].iter().enumerate();
        let shared = self
            .shared
            .iter()
            .enumerate()
            .map(|(n, int)| (n + 32, int))
            .filter(|(_, int)| int.target == Some(v));
        let mut all: Vec<(u8, u16)> = private
            .chain(shared)
            .filter(|(_, int)| int.pending() && !int.active && self.forwarded(int))
            .map(|(n, int)| (int.priority & 0xf8, n as u16))
            .collect();
        all.sort();
        all
    }

    /// The priority of what an acknowledge would return.
    pub fn next_priority(&self, v: usize) -> Option<u8> {
        let running = self.running[v].last().map_or(0xff, |(_, p)| *p);
        self.deliverable(v)
            .first()
            .map(|(p, _)| *p)
            .filter(|p| *p < running)
    }

    /// `v` acknowledges `intid` (from `source`).
    pub fn ack(&mut self, v: usize, intid: u16, source: u8) {
        let v2_sgi = self.config.version == Version::V2 && intid < 16;
        let int = self.int(v, intid);
        if v2_sgi {
            assert_ne!(
                int.sources & 1 << source,
                0,
                "SGI {intid} from {source}, which sent none"
            );
            int.sources &= !(1 << source);
        }
        int.latch = false;
        int.active = true;
        int.holder = v;
        let priority = int.priority & 0xf8;
        self.running[v].push((intid, priority));
    }

    pub fn set_level(&mut self, v: usize, intid: u16, level: bool) {
        let int = self.int(v, intid);
        if level && !int.level && int.edge {
            int.latch = true;
        }
        int.level = level;
    }

    pub fn bits(&mut self, v: usize, w: usize, what: impl Fn(&Int) -> bool) -> u32 {
        (0..32).fold(0, |word, n| {
            word | (what(self.int(v, (w * 32 + n) as u16)) as u32) << n
        })
    }
}
