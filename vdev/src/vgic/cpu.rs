//! Delivery: which interrupts sit in a vCPU's list registers, and reading them back.
//!
//! The usual way in is `flush`: something new is ready, a list register is free, write it; registers whose
//! interrupt the guest has ended are recycled by the hardware's empty mask alone. Everything else (a resident
//! interrupt changed, too few registers, save, maintenance) folds all used registers into the model and builds them
//! anew: the best pending interrupt always gets one, then active ones from the highest priority down (those the
//! guest ends first), then more pending ones. What does not fit asks for maintenance: NPIE when pending ones wait,
//! LRENPIE when active ones are outside.

use super::{Kick, ListReg, ListRegs, LrSet, MAX_LRS, Maintenance, Version, Vgic, bits};

/// What a vCPU's CPU interface lets through, from its VMCR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuIf {
    /// Priority mask: only priorities below it are signalled.
    pub pmr: u8,
    /// Group 0 enabled.
    pub group0: bool,
    /// Group 1 enabled.
    pub group1: bool,
}

impl CpuIf {
    /// Lets everything through.
    pub const ANY: CpuIf = CpuIf {
        pmr: 0xff,
        group0: true,
        group1: true,
    };

    const fn passes(self, group1: bool, priority: u8) -> bool {
        (if group1 { self.group1 } else { self.group0 }) && priority & PRIORITY < self.pmr
    }
}

/// Implemented priority bits of the virtual CPU interface. The distributor keeps all eight, as QEMU's does.
const PRIORITY: u8 = 0xf8;

impl Vgic {
    /// Whether `flush` would do anything for vCPU `v`.
    #[inline]
    pub fn needs_flush(&self, v: usize) -> bool {
        let vcpu = &self.vcpus[v];
        vcpu.dirty | vcpu.todo
    }

    /// Brings `lrs`, where vCPU `v` is loaded, up to date. Call before entering the guest whenever something may
    /// have changed: after a kick, an input for `v` and a load.
    #[inline]
    pub fn flush<L: ListRegs + ?Sized>(&mut self, v: usize, lrs: &mut L) -> Kick {
        let vcpu = &self.vcpus[v];
        if vcpu.dirty {
            return self.resync(v, lrs);
        }
        if !vcpu.todo {
            return Kick::NONE;
        }
        self.add(v, lrs)
    }

    /// `flush` at the end of a call made for `v` itself.
    #[inline]
    pub(super) fn settle<L: ListRegs + ?Sized>(&mut self, v: usize, lrs: &mut L) -> Kick {
        self.flush(v, lrs)
    }

    /// The maintenance interrupt of `v`: reads everything back and builds the list registers anew.
    pub fn maintenance<L: ListRegs + ?Sized>(&mut self, v: usize, lrs: &mut L) -> Kick {
        self.resync(v, lrs)
    }

    /// Takes `v`'s interrupts out of `lrs`, which are empty afterwards. Call when saving a vCPU.
    pub fn unload<L: ListRegs + ?Sized>(&mut self, v: usize, lrs: &mut L) -> Kick {
        let kick = self.fold(v, lrs);
        self.want(v, Maintenance::NONE, lrs);
        let vcpu = &mut self.vcpus[v];
        for n in bits(core::mem::take(&mut vcpu.stale) as u32) {
            lrs.write(n, ListReg::EMPTY);
        }
        vcpu.dirty = vcpu.summary | vcpu.act_sum != 0;
        kick.without(v)
    }

    /// Folds and rebuilds.
    #[inline(never)]
    fn resync<L: ListRegs + ?Sized>(&mut self, v: usize, lrs: &mut L) -> Kick {
        let kick = self.fold(v, lrs);
        self.rebuild(v, lrs);
        kick.without(v)
    }

    /// Adds what is newly ready to free list registers.
    fn add<L: ListRegs + ?Sized>(&mut self, v: usize, lrs: &mut L) -> Kick {
        let exist = existing(lrs);
        let kick = self.reap(v, lrs.empty());
        self.vcpus[v].todo = false;
        while self.vcpus[v].summary != 0 {
            let free = exist & !self.vcpus[v].used;
            if free == 0 {
                return kick.and(self.resync(v, lrs)).without(v);
            }
            let Some(intid) = self.best(v) else { break };
            self.insert_pending(v, free.trailing_zeros() as usize, intid, lrs);
        }
        let want = self.vcpus[v].want;
        if want.npie {
            self.want(
                v,
                Maintenance {
                    npie: false,
                    ..want
                },
                lrs,
            );
        }
        kick.without(v)
    }

    /// Recycles list registers whose interrupt the guest has ended.
    #[inline]
    fn reap(&mut self, v: usize, empty: LrSet) -> Kick {
        let done = self.vcpus[v].used & empty.0;
        self.vcpus[v].used &= !done;
        let mut kick = Kick::NONE;
        for n in bits(done as u32) {
            let (w, m) = split(self.vcpus[v].lr[n]);
            let bank = self.bank(v, w);
            bank.resident &= !m;
            bank.soft &= !m;
            let more = bank.active & m != 0 || bank.pending() & m != 0;
            if more {
                kick = kick.and(self.ended(v, w, m));
            }
        }
        kick
    }

    /// An interrupt has left the list registers inactive while the model still has something about it.
    fn ended(&mut self, v: usize, w: usize, m: u32) -> Kick {
        self.bank(v, w).active &= !m;
        self.vcpus[v].clear_act(w, m);
        self.refresh_one(v, w, m)
    }

    /// Reads every used list register back into the model. None is used afterwards, but those that were still hold
    /// their old content (`stale`) until the rebuild or unload that must follow before the guest runs.
    pub(super) fn fold<L: ListRegs + ?Sized>(&mut self, v: usize, lrs: &mut L) -> Kick {
        let mut kick = Kick::NONE;
        if self.vcpus[v].want.lrenpie {
            kick = self.ended_outside(v, lrs.take_eoi_count());
        }
        if self.awaited >> v & 1 != 0 {
            self.awaited &= !(1 << v);
            for vcpu in &mut self.vcpus {
                vcpu.asked &= !(1 << v);
            }
        }
        let vcpu = &mut self.vcpus[v];
        let used = core::mem::take(&mut vcpu.used);
        vcpu.stale |= used;
        for n in bits(used as u32) {
            let lr = lrs.read(n);
            let intid = self.vcpus[v].lr[n];
            kick = kick.and(self.take_back(v, intid, lr));
        }
        kick
    }

    /// One list register's state back into the model.
    fn take_back(&mut self, v: usize, intid: u16, lr: ListReg) -> Kick {
        let (w, m) = split(intid);
        let v2_sgi = self.config.version == Version::V2 && intid < 16;
        let bank = self.bank(v, w);
        let (was_pending, was_active) = (lr.is_pending(), lr.is_active());
        let pending = was_pending && bank.clr_pend & m == 0;
        let active = was_active && bank.clr_act & m == 0 || bank.set_act & m != 0;
        let latched = pending && (bank.edge | bank.soft | bank.hw) & m != 0;
        // Ended by a command, or in a register without the link: the hardware has not ended the physical one.
        let unlinked = was_pending || was_active || !lr.has(ListReg::HW);
        let dropped = bank.hw & !bank.latch & m != 0 && !active && !pending && unlinked;
        bank.resident &= !m;
        bank.soft &= !m;
        bank.clr_pend &= !m;
        bank.clr_act &= !m;
        bank.set_act &= !m;
        if latched {
            bank.latch |= m;
        }
        if dropped {
            bank.release |= m;
        }
        let before = bank.active & m != 0;
        if active {
            bank.active |= m;
        } else {
            bank.active &= !m;
        }
        let vcpu = &mut self.vcpus[v];
        vcpu.release |= dropped;
        if active {
            vcpu.set_act(w, m);
        } else if before {
            vcpu.clear_act(w, m);
        }
        if v2_sgi {
            if latched {
                vcpu.sgi_src[intid as usize & 15] |= 1 << lr.source();
            }
            vcpu.sgi_act[intid as usize & 15] = lr.source();
        }
        self.refresh_one(v, w, m)
    }

    /// The guest has ended `count` interrupts that were in no list register: the highest-priority active ones, since
    /// interrupts are ended in reverse order of their acknowledgement (IHI0048B 2.4.2, IHI0069 4.1.1).
    #[cold]
    fn ended_outside(&mut self, v: usize, count: u32) -> Kick {
        let mut kick = Kick::NONE;
        let mut outside = self.vcpus[v].act;
        for w in bits(self.vcpus[v].act_sum) {
            outside[w] &= !self.bank(v, w).resident;
        }
        for _ in 0..count.min(31) {
            let Some(intid) = self.best_of(v, self.vcpus[v].act_sum, &outside) else {
                break;
            };
            let (w, m) = split(intid);
            outside[w] &= !m;
            kick = kick.and(self.forget_active(v, intid));
        }
        kick
    }

    /// Deactivates an interrupt that is in no list register.
    pub(super) fn forget_active(&mut self, v: usize, intid: u16) -> Kick {
        let (w, m) = split(intid);
        let bank = self.bank(v, w);
        bank.active &= !m;
        if bank.hw & m != 0 && bank.latch & m == 0 {
            bank.release |= m;
            self.vcpus[v].release = true;
        }
        self.vcpus[v].clear_act(w, m);
        self.refresh_one(v, w, m)
    }

    /// A trapped write of ICC_DIR_EL1 ([`Maintenance::trap_dir`]).
    pub fn deactivate<L: ListRegs + ?Sized>(&mut self, v: usize, intid: u64, lrs: &mut L) -> Kick {
        let mut kick = self.fold(v, lrs);
        if intid < 1020 {
            let (w, m) = split(intid as u16);
            if self.vcpus[v].act[w] & m != 0 {
                kick = kick.and(self.forget_active(v, intid as u16));
            }
        }
        self.rebuild(v, lrs);
        kick.without(v)
    }

    /// Fills the list registers from the model.
    fn rebuild<L: ListRegs + ?Sized>(&mut self, v: usize, lrs: &mut L) {
        let exist = existing(lrs);
        self.vcpus[v].dirty = false;
        self.vcpus[v].todo = false;
        let mut free = exist;
        let first = self.best(v);
        if first.is_some() {
            free &= free - 1;
        }
        let mut want = Maintenance::NONE;
        if self.vcpus[v].act_sum != 0 {
            let mut left = self.vcpus[v].act;
            while let Some(intid) = self.best_of(v, self.vcpus[v].act_sum, &left) {
                if free == 0 {
                    want = Maintenance {
                        lrenpie: true,
                        trap_dir: self.config.version == Version::V3,
                        ..want
                    };
                    break;
                }
                let n = free.trailing_zeros() as usize;
                free &= free - 1;
                let (w, m) = split(intid);
                left[w] &= !m;
                self.insert_active(v, n, intid, lrs);
            }
        }
        free |= exist & (exist.wrapping_neg() * (first.is_some() as u16));
        while self.vcpus[v].summary != 0
            && let Some(intid) = self.best(v)
        {
            if free == 0 {
                want.npie = true;
                break;
            }
            let n = free.trailing_zeros() as usize;
            free &= free - 1;
            self.insert_pending(v, n, intid, lrs);
        }
        let vcpu = &mut self.vcpus[v];
        for n in bits((core::mem::take(&mut vcpu.stale) & !vcpu.used) as u32) {
            lrs.write(n, ListReg::EMPTY);
        }
        self.want(v, want, lrs);
    }

    #[inline]
    fn want<L: ListRegs + ?Sized>(&mut self, v: usize, want: Maintenance, lrs: &mut L) {
        if self.vcpus[v].want != want {
            self.vcpus[v].want = want;
            lrs.maintenance(want);
        }
    }

    /// The highest-priority ready interrupt, lowest INTID first among equals.
    #[inline]
    fn best(&self, v: usize) -> Option<u16> {
        let vcpu = &self.vcpus[v];
        let w = vcpu.summary.trailing_zeros() as usize;
        if vcpu.summary & vcpu.summary.wrapping_sub(1) == 0 && w < super::WORDS {
            let word = vcpu.ready[w];
            if word & word.wrapping_sub(1) == 0 {
                return Some((w * 32) as u16 + word.trailing_zeros() as u16);
            }
        }
        self.best_of(v, vcpu.summary, &vcpu.ready)
    }

    /// The highest-priority interrupt set in `words`, of which those in `summary` need a look.
    fn best_of(&self, v: usize, summary: u32, words: &[u32; super::WORDS]) -> Option<u16> {
        let mut best = None;
        let mut best_priority = 0x100;
        for w in bits(summary) {
            for n in bits(words[w]) {
                let intid = w * 32 + n;
                let priority = self.priority(v, intid) as u32;
                if priority < best_priority {
                    best_priority = priority;
                    best = Some(intid as u16);
                    if priority == 0 {
                        return best;
                    }
                }
            }
        }
        best
    }

    /// Puts a ready interrupt into list register `n`.
    #[inline]
    fn insert_pending<L: ListRegs + ?Sized>(
        &mut self,
        v: usize,
        n: usize,
        intid: u16,
        lrs: &mut L,
    ) {
        let (w, m) = split(intid);
        self.vcpus[v].clear_ready(w, m);
        let mut more = false;
        let mut source = 0;
        if self.config.version == Version::V2 && intid < 16 {
            let from = &mut self.vcpus[v].sgi_src[intid as usize & 15];
            source = from.trailing_zeros() & 7;
            *from &= from.wrapping_sub(1);
            more = *from != 0;
        }
        let bank = self.bank(v, w);
        let soft = bank.latch & m;
        if !more {
            bank.latch &= !m;
        }
        bank.soft |= soft;
        let line = bank.level & !bank.edge & !bank.hw & m != 0;
        self.place_lr(
            v,
            n,
            intid,
            ListReg::PENDING | (source as u64) << 10,
            line || more,
            lrs,
        );
    }

    /// Puts an active interrupt into list register `n`, pending too if it can be.
    fn insert_active<L: ListRegs + ?Sized>(&mut self, v: usize, n: usize, intid: u16, lrs: &mut L) {
        let (w, m) = split(intid);
        let groups = self.groups();
        let v2_sgi = self.config.version == Version::V2 && intid < 16;
        let bank = self.bank(v, w);
        let again = bank.latch & bank.forwarded(groups) & m;
        let linked = bank.hw & m != 0;
        let mut state = ListReg::ACTIVE;
        let mut recheck = bank.level & !bank.edge & !bank.hw & bank.enabled & m != 0;
        if again != 0 {
            // Pending and active in one register only where it may be: not for a linked interrupt (which gives up
            // its link until its end is seen), not for another source's SGI, not for what goes elsewhere next.
            let stays = w == 0 || self.target[intid as usize - 32] as usize == v;
            if linked || v2_sgi || !stays {
                recheck = true;
            } else {
                let bank = self.bank(v, w);
                state |= ListReg::PENDING;
                bank.latch &= !m;
                bank.soft |= m;
            }
        }
        if v2_sgi {
            state |= (self.vcpus[v].sgi_act[intid as usize & 15] as u64) << 10;
        }
        self.place_lr(v, n, intid, state, recheck, lrs);
    }

    /// Writes list register `n` and notes who is in it.
    #[inline]
    fn place_lr<L: ListRegs + ?Sized>(
        &mut self,
        v: usize,
        n: usize,
        intid: u16,
        state: u64,
        recheck: bool,
        lrs: &mut L,
    ) {
        let (w, m) = split(intid);
        let priority = (self.priority(v, intid as usize) & PRIORITY) as u64;
        if w > 0 {
            self.owner[intid as usize - 32] = v as u8;
        }
        let bank = self.bank(v, w);
        bank.resident |= m;
        let mut lr = intid as u64 | state | priority << 48;
        if bank.group & m != 0 {
            lr |= ListReg::GROUP1;
        }
        if bank.hw & m != 0 && !recheck {
            let pintid = if w == 0 {
                self.ppi_link[intid as usize & 31]
            } else {
                self.spi_link[intid as usize - 32]
            };
            lr |= ListReg::HW | (pintid as u64) << 32;
        } else if recheck {
            lr |= ListReg::EOI;
        }
        let vcpu = &mut self.vcpus[v];
        vcpu.used |= 1 << n;
        vcpu.lr[n & (MAX_LRS - 1)] = intid;
        lrs.write(n, ListReg(lr));
    }

    /// Whether an interrupt waits that `cpu_if` would let through: then WFI must not block. `lrs` are the list
    /// registers `v` is loaded in; for a vCPU that is not loaded any will do, they are not read.
    pub fn pending<L: ListRegs + ?Sized>(&self, v: usize, lrs: &L, cpu_if: CpuIf) -> bool {
        let vcpu = &self.vcpus[v];
        if vcpu.used != 0 {
            for n in bits((vcpu.used & !lrs.empty().0) as u32) {
                let lr = lrs.read(n);
                if lr.is_pending()
                    && !lr.is_active()
                    && cpu_if.passes(lr.has(ListReg::GROUP1), lr.priority())
                {
                    return true;
                }
            }
        }
        if vcpu.summary == 0 {
            return false;
        }
        cpu_if == CpuIf::ANY
            || bits(vcpu.summary).any(|w| {
                let group = if w == 0 {
                    vcpu.bank.group
                } else {
                    self.spis[w - 1].group
                };
                bits(vcpu.ready[w])
                    .any(|n| cpu_if.passes(group >> n & 1 != 0, self.priority(v, w * 32 + n)))
            })
    }
}

/// Word and bit of an INTID below 1024.
#[inline]
pub(super) const fn split(intid: u16) -> (usize, u32) {
    (
        (intid as usize / 32) & (super::WORDS - 1),
        1 << (intid % 32),
    )
}

/// The list registers that exist, as a mask.
#[inline]
fn existing<L: ListRegs + ?Sized>(lrs: &L) -> u16 {
    u16::MAX >> (MAX_LRS - lrs.count().clamp(1, MAX_LRS))
}
