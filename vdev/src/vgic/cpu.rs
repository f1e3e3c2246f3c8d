//! Delivery: which interrupts sit in a vCPU's list registers, and reading them back.
//!
//! The usual way in is `flush`: something new is ready, a list register is free, write it. A register whose
//! interrupt the guest has ended is recycled by the hardware's empty mask alone (`reap`), when one is needed or its
//! interrupt comes again. Everything else (a resident interrupt changed, too few registers, save, maintenance) folds
//! all used registers into the model and builds them anew: the best pending interrupt always gets one, then active
//! ones from the highest priority down (those the guest ends first), then more pending ones. What does not fit asks
//! for maintenance: NPIE when pending ones wait, LRENPIE when active ones are outside.

use super::bank::PRIORITY;
use super::prio;
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

impl Vgic {
    /// Whether `flush` would do anything for vCPU `v`.
    #[inline]
    pub fn needs_flush(&self, v: usize) -> bool {
        let vcpu = &self.vcpus[v];
        vcpu.dirty | vcpu.todo | vcpu.stirred
    }

    /// Brings `lrs`, where vCPU `v` is loaded, up to date. Call before entering the guest whenever something may
    /// have changed: after a kick, an input for `v` and a load.
    #[inline(always)]
    pub fn flush<L: ListRegs + ?Sized>(&mut self, v: usize, lrs: &mut L) -> Kick {
        let vcpu = &self.vcpus[v];
        if !(vcpu.dirty | vcpu.todo | vcpu.stirred) {
            return Kick::NONE;
        }
        self.update(v, lrs)
    }

    #[inline(never)]
    fn update<L: ListRegs + ?Sized>(&mut self, v: usize, lrs: &mut L) -> Kick {
        let vcpu = &self.vcpus[v];
        if vcpu.hint != 0 && self.quick_hint(v, lrs) {
            return Kick::NONE;
        }
        if self.vcpus[v].dirty {
            return self.resync(v, lrs);
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
        vcpu.hint = 0;
        vcpu.dirty = !vcpu.act.is_empty();
        vcpu.stirred = false;
        vcpu.todo = !vcpu.ready.is_empty();
        let private = vcpu.ready.word(0);
        if vcpu.ready.sum() == 1 && private.is_power_of_two() {
            vcpu.hint = private.trailing_zeros() as u8 + 1;
        }
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
    #[inline(never)]
    fn add<L: ListRegs + ?Sized>(&mut self, v: usize, lrs: &mut L) -> Kick {
        let exist = existing(lrs);
        let mut kick = Kick::NONE;
        if self.vcpus[v].stirred {
            match self.refill(v, lrs) {
                Some(more) => kick = more,
                None => return self.resync(v, lrs),
            }
        }
        self.vcpus[v].todo = false;
        while let Some(intid) = self.best(v) {
            let mut free = exist & !self.vcpus[v].used;
            if free == 0 {
                kick = kick.and(self.reap(v, lrs.empty()));
                free = exist & !self.vcpus[v].used;
                if free == 0 {
                    return kick.and(self.resync(v, lrs)).without(v);
                }
                continue; // what was ended may be pending again
            }
            let n = free.trailing_zeros() as usize;
            self.insert_pending(v, n, intid, lrs);
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

    /// Resident interrupts have changed: those whose list register the guest has emptied go into it again, or leave
    /// it. `None` if one is still in its register, which only a rebuild can change, or if others wait outside, whose
    /// turn it may be.
    #[inline]
    fn refill<L: ListRegs + ?Sized>(&mut self, v: usize, lrs: &mut L) -> Option<Kick> {
        let groups = self.groups();
        let vcpu = &mut self.vcpus[v];
        if vcpu.want.npie {
            return None;
        }
        let empty = lrs.empty().0;
        let mut kick = Kick::NONE;
        for n in bits(vcpu.used as u32) {
            let intid = self.vcpus[v].lr[n & (MAX_LRS - 1)];
            let (w, m) = split(intid);
            let here = w == 0 || self.target[intid as usize - 32] as usize == v;
            let bank = self.bank(v, w);
            if bank.touched & m == 0 {
                continue;
            }
            if empty >> n & 1 == 0 {
                if !here || !self.amend(v, n, intid, lrs) {
                    return None;
                }
                continue;
            }
            // Changes that waited for the register's content concern what the guest has ended meanwhile.
            bank.ended(m);
            if here && bank.pending() & bank.forwarded(groups) & m != 0 {
                let lr = self.compose_pending(v, intid);
                lrs.write(n, lr);
            } else {
                self.vcpus[v].used &= !(1 << n);
                kick = kick.and(self.refresh(v, w, m));
            }
        }
        self.vcpus[v].stirred = false;
        Some(kick)
    }

    /// A resident interrupt has changed while its list register holds it: corrects that register alone, if that is
    /// all there is to it.
    fn amend<L: ListRegs + ?Sized>(&mut self, v: usize, n: usize, intid: u16, lrs: &mut L) -> bool {
        let groups = self.groups();
        let (w, m) = split(intid);
        let v2_sgi = self.config.version == Version::V2 && intid < 16;
        let bank = self.bank(v, w);
        let lr = lrs.read(n);
        if v2_sgi || lr.is_invalid() || bank.hw & m != 0 || bank.forwarded(groups) & m == 0 {
            return false;
        }
        // As a fold and a rebuild would do it: an edge (or ISPENDR) stays pending, a level follows its line.
        let line = bank.level & !bank.edge & m != 0;
        let kept = lr.is_pending() && (bank.soft | bank.edge) & m != 0;
        let latched = kept || bank.latch & m != 0;
        bank.touched &= !m;
        bank.latch &= !m;
        bank.soft = bank.soft & !m | if latched { m } else { 0 };
        let mut new = lr.0 & !(ListReg::PENDING | ListReg::EOI);
        if line {
            new |= ListReg::EOI;
        }
        if latched || line && !lr.is_active() {
            new |= ListReg::PENDING;
        } else if !lr.is_active() {
            // The line fell before the guest looked.
            new = 0;
            bank.resident &= !m;
            self.vcpus[v].used &= !(1 << n);
        }
        if new != lr.0 {
            lrs.write(n, ListReg(new));
        }
        true
    }

    /// Recycles list registers whose interrupt the guest has ended.
    #[inline]
    fn reap(&mut self, v: usize, empty: LrSet) -> Kick {
        let vcpu = &mut self.vcpus[v];
        let done = vcpu.used & empty.0;
        vcpu.used &= !done;
        let mut kick = Kick::NONE;
        for n in bits(done as u32) {
            let (w, m) = split(self.vcpus[v].lr[n & (MAX_LRS - 1)]);
            let bank = self.bank(v, w);
            bank.ended(m);
            if bank.pending() & m != 0 {
                kick = kick.and(self.refresh(v, w, m));
            }
        }
        kick
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
            let intid = self.vcpus[v].lr[n & (MAX_LRS - 1)];
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
        bank.touched &= !m;
        bank.clr_pend &= !m;
        bank.clr_act &= !m;
        bank.set_act &= !m;
        if latched {
            bank.latch |= m;
        }
        bank.by_hand &= !m | bank.latch;
        if dropped {
            bank.release |= m;
        }
        if active {
            bank.active |= m;
        } else {
            bank.active &= !m;
        }
        let vcpu = &mut self.vcpus[v];
        vcpu.release |= dropped;
        if active {
            vcpu.act
                .insert(w, m, prio::of_word(w, &vcpu.prio, &self.prio));
        }
        if v2_sgi {
            if latched {
                vcpu.sgi_src[intid as usize & 15] |= 1 << lr.source();
            }
            vcpu.sgi_act[intid as usize & 15] = lr.source();
        }
        self.refresh(v, w, m)
    }

    /// The guest has ended `count` interrupts that were in no list register: the highest-priority active ones, since
    /// interrupts are ended in reverse order of their acknowledgement (IHI0048B 2.4.2, IHI0069 4.1.1).
    #[cold]
    fn ended_outside(&mut self, v: usize, count: u32) -> Kick {
        let mut kick = Kick::NONE;
        for _ in 0..count.min(31) {
            let Some(intid) = self.best_active(v) else {
                break;
            };
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
        let vcpu = &mut self.vcpus[v];
        vcpu.act
            .remove(w, m, prio::of_word(w, &vcpu.prio, &self.prio));
        self.refresh(v, w, m)
    }

    /// A trapped write of ICC_DIR_EL1 ([`Maintenance::trap_dir`]).
    pub fn deactivate<L: ListRegs + ?Sized>(&mut self, v: usize, intid: u64, lrs: &mut L) -> Kick {
        let mut kick = self.fold(v, lrs);
        if intid < 1020 {
            let (w, m) = split(intid as u16);
            if self.vcpus[v].act.word(w) & m != 0 {
                kick = kick.and(self.forget_active(v, intid as u16));
            }
        }
        self.rebuild(v, lrs);
        kick.without(v)
    }

    /// Fills the list registers from the model.
    fn rebuild<L: ListRegs + ?Sized>(&mut self, v: usize, lrs: &mut L) {
        let exist = existing(lrs);
        let vcpu = &mut self.vcpus[v];
        vcpu.dirty = false;
        vcpu.todo = false;
        vcpu.stirred = false;
        let reserve = !vcpu.ready.is_empty();
        let mut free = exist;
        if reserve {
            free &= free - 1;
        }
        let mut want = Maintenance::NONE;
        while let Some(intid) = self.best_active(v) {
            if free == 0 {
                want.lrenpie = true;
                want.trap_dir = self.config.version == Version::V3;
                break;
            }
            let n = free.trailing_zeros() as usize;
            free &= free - 1;
            self.insert_active(v, n, intid, lrs);
        }
        free |= exist & (exist.wrapping_neg() * u16::from(reserve));
        while let Some(intid) = self.best(v) {
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

    /// The highest-priority ready interrupt.
    #[inline]
    fn best(&self, v: usize) -> Option<u16> {
        self.vcpus[v].ready.best()
    }

    /// The highest-priority active interrupt that is in no list register.
    #[inline]
    fn best_active(&self, v: usize) -> Option<u16> {
        self.vcpus[v].act.best()
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
        let vcpu = &mut self.vcpus[v];
        vcpu.ready
            .remove(w, m, prio::of_word(w, &vcpu.prio, &self.prio));
        vcpu.used |= 1 << n;
        vcpu.lr[n & (MAX_LRS - 1)] = intid;
        if w == 0 {
            vcpu.home[intid as usize & 31] = n as u8;
        }
        let lr = self.compose_pending(v, intid);
        lrs.write(n, lr);
    }

    /// The list register for a pending interrupt, which is resident from now on.
    #[inline]
    fn compose_pending(&mut self, v: usize, intid: u16) -> ListReg {
        let (w, m) = split(intid);
        let vcpu = &mut self.vcpus[v];
        if w == 0 {
            let i = intid as usize & 31;
            let mut more = false;
            let mut state = ListReg::PENDING;
            if i < 16 && self.config.version == Version::V2 {
                let from = &mut vcpu.sgi_src[i & 15];
                state |= u64::from(from.trailing_zeros() & 7) << 10;
                *from &= from.wrapping_sub(1);
                more = *from != 0;
            }
            vcpu.bank
                .compose_pending(m, intid, vcpu.prio[i], self.ppi_link[i], state, more)
        } else {
            let i = intid as usize - 32;
            self.owner[i] = v as u8;
            let bank = &mut self.spis[w - 1];
            bank.compose_pending(
                m,
                intid,
                self.prio[i],
                self.spi_link[i],
                ListReg::PENDING,
                false,
            )
        }
    }

    /// Puts an active interrupt into list register `n`, pending too if it can be.
    fn insert_active<L: ListRegs + ?Sized>(&mut self, v: usize, n: usize, intid: u16, lrs: &mut L) {
        let (w, m) = split(intid);
        let groups = self.groups();
        let v2_sgi = self.config.version == Version::V2 && intid < 16;
        // Pending and active in one register only where it may be: not for a linked interrupt (which gives up its
        // link until its end is seen), not for another source's SGI, not for what goes elsewhere next, and not
        // while others wait, which it might overtake.
        let stays = w == 0 || self.target[intid as usize - 32] as usize == v;
        let stays = stays && self.vcpus[v].ready.is_empty();
        let vcpu = &mut self.vcpus[v];
        vcpu.act
            .remove(w, m, prio::of_word(w, &vcpu.prio, &self.prio));
        let bank = self.bank(v, w);
        let mut state = ListReg::ACTIVE;
        let mut recheck = bank.level & !bank.edge & !bank.hw & bank.enabled & m != 0;
        if bank.latch & bank.forwarded(groups) & m != 0 {
            if bank.hw & m != 0 || v2_sgi || !stays {
                recheck = true;
            } else {
                state |= ListReg::PENDING;
                bank.latch &= !m;
                bank.soft |= m;
            }
        }
        if v2_sgi {
            state |= (self.vcpus[v].sgi_act[intid as usize & 15] as u64) << 10;
        }
        let vcpu = &mut self.vcpus[v];
        vcpu.used |= 1 << n;
        vcpu.lr[n & (MAX_LRS - 1)] = intid;
        let lr = if w == 0 {
            let i = intid as usize & 31;
            vcpu.home[i] = n as u8;
            vcpu.bank
                .compose(m, intid, vcpu.prio[i], self.ppi_link[i], state, recheck)
        } else {
            let i = intid as usize - 32;
            self.owner[i] = v as u8;
            self.spis[w - 1].compose(m, intid, self.prio[i], self.spi_link[i], state, recheck)
        };
        lrs.write(n, lr);
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
        if vcpu.ready.is_empty() || cpu_if == CpuIf::ANY {
            return !vcpu.ready.is_empty();
        }
        bits(vcpu.ready.sum()).any(|w| {
            let group = if w == 0 {
                vcpu.bank.group
            } else {
                self.spis[w - 1].group
            };
            bits(vcpu.ready.word(w))
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
pub(super) fn existing<L: ListRegs + ?Sized>(lrs: &L) -> u16 {
    u16::MAX >> (MAX_LRS - lrs.count().clamp(1, MAX_LRS))
}
