//! The interrupt controller a domain sees: GICv2 (IHI0048B) or GICv3 without LPIs and with a single Security state
//! (IHI0069, GICD_CTLR.DS = 1), as QEMU's virt machine shows it to a system that boots at EL1.
//!
//! One [`Vgic`] per domain, used under that domain's vgic lock. Registers are in `dist` and `redist`, inputs in
//! `input`, delivery through list registers in `cpu`, their encoding in `lr`. All memory is got in [`Vgic::new`];
//! nothing here may depend on a guest-chosen number without checking it.
//!
//! An interrupt is either in the model (bits of its [`Bank`]) or *resident*: handed to a list register of one vCPU,
//! where the guest acknowledges and ends it without Tarn. What is resident is read back (`fold`) only when it
//! matters. Calls made on behalf of a loaded vCPU get its list registers and leave them right; what others must do
//! is returned as a [`Kick`].
//!
//! A write that concerns many interrupts is begun and left [`Vgic::unfinished`]: who made it goes on with it, piece by
//! piece (`rest`), before its vCPU runs on.

mod bank;
mod config;
mod cpu;
mod dist;
mod input;
mod lr;
mod prio;
mod quick;
mod redist;
mod regs;
mod rest;

pub use config::{MAX_SPIS, Version, VgicConfig, VgicError};
pub use cpu::CpuIf;
pub use input::{Irq, SgiReg};
pub use lr::{ListReg, ListRegs, LrFile, LrSet, MAX_LRS, Maintenance};

use alloc::vec::Vec;
use bank::Bank;
use core::ops::Range;
use prio::PrioSet;
use rest::Rest;

/// Words of 32 interrupts: one private to each vCPU, up to 31 shared.
pub(crate) const WORDS: usize = 32;
/// No vCPU.
const NOBODY: u8 = 0xff;

/// vCPUs of the domain that others must be disturbed for, as bit masks of vCPU indexes.
///
/// A vCPU that is not loaded needs only the wake: its `flush` at load does the rest.
#[must_use = "a vCPU that is not kicked misses its interrupt"]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Kick {
    /// An interrupt became deliverable: wake it if blocked, interrupt its CPU if it runs, then `flush` there.
    pub wake: u64,
    /// Something in its list registers must change: if it runs, interrupt its CPU so that it calls `flush`.
    pub resync: u64,
}

impl Kick {
    /// Nobody.
    pub const NONE: Kick = Kick { wake: 0, resync: 0 };

    /// Whether nobody needs to be disturbed.
    pub const fn is_none(self) -> bool {
        self.wake | self.resync == 0
    }

    /// Both.
    pub const fn and(self, other: Kick) -> Kick {
        Kick {
            wake: self.wake | other.wake,
            resync: self.resync | other.resync,
        }
    }

    /// Without vCPU `v`.
    pub const fn without(self, v: usize) -> Kick {
        let keep = !(1u64 << (v & 63));
        Kick {
            wake: self.wake & keep,
            resync: self.resync & keep,
        }
    }
}

/// What belongs to one vCPU: its private interrupts, its redistributor, and what is in its list registers.
#[derive(Clone, Debug)]
struct Vcpu {
    /// SGIs and PPIs.
    bank: Bank,
    /// List registers in use, by number.
    used: u16,
    /// Read back, but still holding their old content.
    stale: u16,
    /// Its list registers must be read back and rebuilt before the guest runs.
    dirty: bool,
    /// Something resident has changed (`Bank::touched`): recycle what has ended, rebuild if that does not cover it.
    stirred: bool,
    /// Something new is ready since the last flush.
    todo: bool,
    /// The only news since the last flush: a private interrupt, plus one. 0: there may be more.
    hint: u8,
    /// Physical interrupts wait to be deactivated (`take_release`).
    release: bool,
    /// GICR_WAKER.ProcessorSleep.
    asleep: bool,
    /// What the list registers' holder was told.
    want: Maintenance,
    /// Which interrupt is in which list register.
    lr: [u16; MAX_LRS],
    /// The list register a resident private interrupt is in.
    home: [u8; 32],
    /// vCPUs whose answer a read of this vCPU awaits, and the register it reads (0: none).
    asked: u64,
    asked_reg: u32,
    /// Deliverable, waiting for a list register.
    ready: PrioSet,
    /// Active, acknowledged by this vCPU, and in no list register.
    act: PrioSet,
    /// Shared interrupts routed here, by word (word 0 unused).
    route: [u32; WORDS],
    /// Priorities of SGIs and PPIs.
    prio: [u8; 32],
    /// GICv2: which vCPUs have sent SGI n.
    sgi_src: [u8; 16],
    /// GICv2: who sent the SGI n that is active.
    sgi_act: [u8; 16],
    /// What is left to do of its last write.
    rest: Rest,
}

/// The interrupt controller of one domain.
#[derive(Clone, Debug)]
pub struct Vgic {
    config: VgicConfig,
    /// GICD_CTLR: EnableGrp0 and EnableGrp1 as bits 0 and 1.
    enables: u32,
    /// Words in use, private word included.
    words: usize,
    /// vCPUs somebody's read waits for.
    awaited: u64,
    vcpus: Vec<Vcpu>,
    /// Word w of shared interrupts is `spis[w - 1]`.
    spis: Vec<Bank>,
    /// Per shared interrupt (INTID - 32).
    prio: Vec<u8>,
    /// The vCPU it goes to, or [`NOBODY`].
    target: Vec<u8>,
    /// The vCPU it is resident or active on; meaningful only then.
    owner: Vec<u8>,
    /// Affinity as written to GICD_IROUTER (V3: Aff3 in bits 31:24), or the GICD_ITARGETSR byte (V2).
    route: Vec<u32>,
    /// Physical interrupts linked to shared ones, by INTID - 32.
    spi_link: Vec<u16>,
    /// Physical interrupts linked to private ones, by INTID, for every vCPU.
    ppi_link: [u16; 32],
}

impl Vgic {
    /// A controller in its reset state. Gets all the memory it will ever use.
    pub fn new(config: VgicConfig) -> Result<Vgic, VgicError> {
        config.check()?;
        let (vcpus, spis, words) = (config.vcpus as usize, config.spis as usize, config.words());
        let mut vgic = Vgic {
            config,
            enables: 0,
            words,
            awaited: 0,
            vcpus: filled(vcpus, Vcpu::new(config.version))?,
            spis: filled(words - 1, Bank::default())?,
            prio: filled(spis, 0)?,
            target: filled(spis, NOBODY)?,
            owner: filled(spis, NOBODY)?,
            route: filled(spis, 0)?,
            spi_link: filled(spis, 0)?,
            ppi_link: [0; 32],
        };
        vgic.route_to_default();
        Ok(vgic)
    }

    /// What it was made with.
    pub const fn config(&self) -> VgicConfig {
        self.config
    }

    /// Back to the reset state; links to physical interrupts stay, and physical interrupts in flight are queued for
    /// [`Vgic::take_release`]. No vCPU may be loaded.
    pub fn reset(&mut self) {
        self.reset_vcpus(0..self.vcpus.len());
        self.reset_shared();
    }

    /// The first part of a reset, for these vCPUs; [`Vgic::reset_shared`] once it is done for all. Nothing is deliverable
    /// from here on.
    pub fn reset_vcpus(&mut self, some: Range<usize>) {
        self.enables = 0;
        self.awaited = 0;
        let end = some.end.min(self.vcpus.len());
        for vcpu in &mut self.vcpus[some.start.min(end)..end] {
            let (bank, release) = (vcpu.bank, vcpu.release);
            *vcpu = Vcpu::new(self.config.version);
            vcpu.bank.hw = bank.hw;
            vcpu.bank.level = bank.level;
            vcpu.bank.release = bank.release | bank.in_flight_hw();
            vcpu.release = release || vcpu.bank.release != 0;
        }
    }

    /// The last part of a reset: the distributor and shared interrupts.
    pub fn reset_shared(&mut self) {
        self.enables = 0;
        let mut any = false;
        for bank in &mut self.spis {
            let release = bank.release | bank.in_flight_hw();
            any |= release != 0;
            *bank = Bank {
                hw: bank.hw,
                level: bank.level,
                release,
                ..Bank::default()
            };
        }
        if any && let Some(first) = self.vcpus.first_mut() {
            first.release = true;
        }
        self.prio.fill(0);
        self.owner.fill(NOBODY);
        self.route.fill(0);
        self.route_to_default();
    }

    /// Routes all shared interrupts as after reset, at once. The vCPUs are as after reset.
    fn route_to_default(&mut self) {
        let to = self.default_target();
        self.target.fill(to);
        if let Some(vcpu) = self.vcpus.get_mut(usize::from(to)) {
            for w in 1..self.words {
                vcpu.route[w] = self.config.implemented(w);
            }
        }
    }

    /// The vCPU a shared interrupt goes to before anybody has routed it.
    fn default_target(&self) -> u8 {
        match self.config.version {
            Version::V3 => 0,
            // A uniprocessor GICv2 has no target registers; others reset to no target.
            Version::V2 if self.vcpus.len() == 1 => 0,
            Version::V2 => NOBODY,
        }
    }

    /// Routes shared interrupt `n` (INTID - 32). The ready bits are the caller's business.
    fn set_target(&mut self, n: usize, to: u8) {
        let (w, m) = (n / 32 + 1, 1 << (n % 32));
        if let Some(old) = self.vcpus.get_mut(self.target[n] as usize) {
            old.route[w] &= !m;
            old.ready
                .remove(w, m, prio::of_word(w, &old.prio, &self.prio));
        }
        if let Some(new) = self.vcpus.get_mut(to as usize) {
            new.route[w] |= m;
        }
        self.target[n] = to;
    }

    /// The bits of word `w` as vCPU `v` sees it.
    #[inline]
    fn bank(&mut self, v: usize, w: usize) -> &mut Bank {
        if w == 0 {
            &mut self.vcpus[v].bank
        } else {
            &mut self.spis[w - 1]
        }
    }

    /// Priority of `intid` as vCPU `v` sees it.
    #[inline]
    fn priority(&self, v: usize, intid: usize) -> u8 {
        if intid < 32 {
            self.vcpus[v].prio[intid]
        } else {
            self.prio[intid - 32]
        }
    }

    /// Masks of interrupts whose group is enabled: group 0, group 1.
    #[inline]
    const fn groups(&self) -> (u32, u32) {
        (
            (self.enables & 1).wrapping_neg(),
            (self.enables >> 1 & 1).wrapping_neg(),
        )
    }
}

impl Vcpu {
    fn new(version: Version) -> Vcpu {
        let mut bank = Bank {
            edge: 0xffff,
            ..Bank::default()
        };
        if matches!(version, Version::V2) {
            // GICD_ISENABLER0: SGIs are always enabled, as on GIC-400.
            bank.enabled = 0xffff;
        }
        Vcpu {
            bank,
            used: 0,
            stale: 0,
            dirty: false,
            stirred: false,
            todo: false,
            hint: 0,
            release: false,
            asleep: true,
            want: Maintenance::NONE,
            lr: [0; MAX_LRS],
            home: [0; 32],
            asked: 0,
            asked_reg: 0,
            ready: PrioSet::EMPTY,
            act: PrioSet::EMPTY,
            route: [0; WORDS],
            prio: [0; 32],
            sgi_src: [0; 16],
            sgi_act: [0; 16],
            rest: Rest::Nothing,
        }
    }

    /// Of the interrupts of `mask` in word `w`, exactly `ready` are deliverable. Whether some are so newly. `shared` are
    /// the priorities of shared interrupts.
    #[inline]
    fn set_ready(&mut self, w: usize, mask: u32, ready: u32, shared: &[u8]) -> bool {
        let old = self.ready.word(w);
        let new = old & !mask | ready & mask;
        if new == old {
            return false;
        }
        self.ready
            .set_word(w, new, prio::of_word(w, &self.prio, shared));
        let more = new & !old != 0;
        self.todo |= more;
        self.hint = 0;
        more
    }
}

fn filled<T: Clone>(n: usize, value: T) -> Result<Vec<T>, VgicError> {
    let mut v = Vec::new();
    v.try_reserve_exact(n).map_err(|_| VgicError::NoMemory)?;
    v.resize(n, value);
    Ok(v)
}

/// The numbers of the bits set in `word`, lowest first.
#[inline]
fn bits(word: u32) -> impl Iterator<Item = usize> {
    let mut word = word;
    core::iter::from_fn(move || {
        if word == 0 {
            return None;
        }
        let n = word.trailing_zeros() as usize;
        word &= word - 1;
        Some(n)
    })
}

#[cfg(test)]
mod tests;
