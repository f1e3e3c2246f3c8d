//! What register reads and writes do to interrupts, whichever frame they come through.
//!
//! `a` is the accessing vCPU (its list registers are `lrs`), `t` the vCPU whose private interrupts word 0 means.
//! Resident interrupts of `a` are folded before a change; those of other vCPUs get a command in their [`Bank`] and a
//! resync kick. Writers end with `settle`.

use super::bank::Bank;
use super::cpu::split;
use super::prio;
use super::rest::{self, Rest};
use super::{Kick, ListRegs, NOBODY, Version, Vgic, bits};
use crate::Refused;

/// The bitmap registers, in the order of their offsets (0x80 apart).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bitmap {
    Group,
    SetEnable,
    ClearEnable,
    SetPending,
    ClearPending,
    SetActive,
    ClearActive,
    /// Not at such an offset: the upper bits of ICFGR, put together.
    Edge,
}

impl Bitmap {
    /// From bits 9:7 of the offset: 0x080 is IGROUPR, 0x380 ICACTIVER.
    pub(super) const fn at(offset: u32) -> Option<Bitmap> {
        Some(match offset >> 7 {
            1 => Bitmap::Group,
            2 => Bitmap::SetEnable,
            3 => Bitmap::ClearEnable,
            4 => Bitmap::SetPending,
            5 => Bitmap::ClearPending,
            6 => Bitmap::SetActive,
            7 => Bitmap::ClearActive,
            _ => return None,
        })
    }
}

/// The interrupts `mask` of word `w`, of vCPU `t` if they are private, that vCPU `a` wants to change.
#[derive(Clone, Copy)]
struct Bits {
    a: usize,
    t: usize,
    w: usize,
    mask: u32,
}

impl Vgic {
    /// Reads a bitmap register of word `w`.
    pub(super) fn read_bitmap<L: ListRegs + ?Sized>(
        &mut self,
        a: usize,
        t: usize,
        w: usize,
        reg: Bitmap,
        lrs: &L,
    ) -> Result<u32, Refused> {
        if w >= self.words {
            return Ok(0);
        }
        match reg {
            Bitmap::Group => Ok(self.bank(t, w).group),
            Bitmap::SetEnable | Bitmap::ClearEnable => Ok(self.bank(t, w).enabled),
            Bitmap::SetPending | Bitmap::ClearPending => {
                let (pending, _) = self.resident_state(a, t, w, lrs)?;
                Ok((self.bank(t, w).pending() | pending) & self.config.implemented(w))
            }
            Bitmap::SetActive | Bitmap::ClearActive => {
                let (_, active) = self.resident_state(a, t, w, lrs)?;
                let bank = self.bank(t, w);
                Ok(bank.active & !bank.resident | active)
            }
            Bitmap::Edge => Ok(self.bank(t, w).edge & self.config.implemented(w)),
        }
    }

    /// Pending and active as list registers know it. `Busy` while that lies on another CPU.
    fn resident_state<L: ListRegs + ?Sized>(
        &mut self,
        a: usize,
        t: usize,
        w: usize,
        lrs: &L,
    ) -> Result<(u32, u32), Refused> {
        let Bank {
            resident,
            active: known,
            soft,
            ..
        } = *self.bank(t, w);
        if resident == 0 {
            return Ok((0, 0));
        }
        let (mut pending, mut active, mut own) = (0, 0, 0);
        if w > 0 || t == a {
            let vcpu = &self.vcpus[a];
            for n in bits(vcpu.used as u32) {
                let (word, m) = split(vcpu.lr[n]);
                if word == w {
                    let lr = lrs.read(n);
                    own |= m;
                    pending |= if lr.is_pending() { m } else { 0 };
                    active |= if lr.is_active() { m } else { 0 };
                }
            }
        }
        let remote = resident & !own;
        if remote == 0 {
            return Ok((pending, active));
        }
        let mut holders = 0u64;
        for n in bits(remote) {
            let holder = self.holder(t, w, n);
            holders |= 1 << (holder & 63);
        }
        // Asked before for this word, and all who hold it have been read back since: the model is as fresh as that.
        let key = (t << 8 | w) as u32 + 1;
        let asker = &mut self.vcpus[a];
        if asker.asked_reg != key {
            asker.asked_reg = key;
            asker.asked = holders;
            self.awaited |= holders;
        }
        let missing = self.vcpus[a].asked & holders;
        if missing != 0 {
            self.awaited |= missing;
            for v in 0..self.vcpus.len() {
                self.vcpus[v].dirty |= missing >> v & 1 != 0;
            }
            return Err(Refused::Busy(Kick {
                wake: 0,
                resync: missing,
            }));
        }
        self.vcpus[a].asked_reg = 0;
        Ok((pending | remote & (!known | soft), active | remote & known))
    }

    /// Before a change to `mask`: reads back what of it is in `a`'s own list registers, and has other holders look.
    fn grab<L: ListRegs + ?Sized>(&mut self, it: Bits, lrs: &mut L) -> Kick {
        let Bits { a, t, w, mask } = it;
        let mut own = false;
        let mut kick = Kick::NONE;
        for n in bits(self.bank(t, w).resident & mask) {
            let holder = self.holder(t, w, n);
            self.vcpus[holder].dirty = true;
            if holder == a {
                own = true;
            } else {
                kick.resync |= 1 << holder;
            }
        }
        if own {
            kick = kick.and(self.fold(a, lrs));
        }
        kick
    }

    /// Writes a bitmap register of word `w`: for as many as one piece may be for, the others later (`rest`).
    pub(super) fn write_bitmap<L: ListRegs + ?Sized>(
        &mut self,
        a: usize,
        t: usize,
        w: usize,
        reg: Bitmap,
        value: u32,
        lrs: &mut L,
    ) -> Kick {
        let care = self.config.implemented(w);
        let all = self.concerned(t, w, reg, value, care);
        let now = lowest(all);
        if now & now.wrapping_sub(1) != 0 {
            // One is brought into list registers at once, several are a piece by themselves.
            self.vcpus[a].rest = Rest::Own;
        }
        if now != all {
            self.vcpus[a].rest = Rest::Bits {
                t: t as u8,
                w: w as u8,
                reg,
                value,
                care: all & !now,
            };
        }
        if now == 0 {
            return Kick::NONE;
        }
        let it = Bits { a, t, w, mask: now };
        match reg {
            Bitmap::Group => self.flip_group(it, lrs),
            Bitmap::SetEnable => {
                self.bank(t, w).enabled |= now;
                self.changed(t, w, now)
            }
            Bitmap::ClearEnable => {
                let kick = self.grab(it, lrs);
                self.bank(t, w).enabled &= !now;
                kick.and(self.changed(t, w, now))
            }
            Bitmap::SetPending => {
                let bank = self.bank(t, w);
                let new = now & !bank.latch;
                bank.latch |= new;
                bank.by_hand |= now & bank.hw;
                self.changed(t, w, new)
            }
            Bitmap::ClearPending => self.clear_pending(it, lrs),
            Bitmap::SetActive => self.set_active(it, lrs),
            Bitmap::ClearActive => self.clear_active(it, lrs),
            Bitmap::Edge => {
                let kick = self.grab(it, lrs);
                self.bank(t, w).edge ^= now;
                kick.and(self.changed(t, w, now))
            }
        }
    }

    /// The rest of such a write: of the interrupts `care`, those it still concerns.
    pub(super) fn write_bitmap_rest<L: ListRegs + ?Sized>(
        &mut self,
        a: usize,
        (t, w, reg): (usize, usize, Bitmap),
        value: u32,
        care: u32,
        lrs: &mut L,
    ) -> Kick {
        // What it does not care for is as it is.
        let value = match reg {
            Bitmap::Group => value & care | self.bank(t, w).group & !care,
            Bitmap::Edge => value & care | self.bank(t, w).edge & !care,
            _ => value & care,
        };
        self.write_bitmap(a, t, w, reg, value, lrs)
    }

    /// The interrupts of `care` in word `w` that writing `value` changes anything about.
    fn concerned(&mut self, t: usize, w: usize, reg: Bitmap, value: u32, care: u32) -> u32 {
        // The enables and pending bits of a GICv2's SGIs are not written here.
        let fixed = if self.config.version == Version::V2 && w == 0 {
            0xffff
        } else {
            0
        };
        let bank = self.bank(t, w);
        care & match reg {
            Bitmap::Group => bank.group ^ value,
            Bitmap::SetEnable => value & !bank.enabled,
            Bitmap::ClearEnable => value & bank.enabled & !fixed,
            Bitmap::SetPending => value & !fixed & (!bank.latch | bank.hw & !bank.by_hand),
            Bitmap::ClearPending => value & !fixed & (bank.latch | bank.by_hand | bank.resident),
            Bitmap::SetActive => value & (bank.resident | !bank.active),
            Bitmap::ClearActive => value & (bank.resident | bank.active),
            Bitmap::Edge => bank.edge ^ value,
        }
    }

    fn flip_group<L: ListRegs + ?Sized>(&mut self, it: Bits, lrs: &mut L) -> Kick {
        let Bits { t, w, mask, .. } = it;
        let kick = self.grab(it, lrs);
        self.bank(t, w).group ^= mask;
        kick.and(self.changed(t, w, mask))
    }

    fn clear_pending<L: ListRegs + ?Sized>(&mut self, it: Bits, lrs: &mut L) -> Kick {
        let Bits { t, w, mask, .. } = it;
        let mut kick = self.grab(it, lrs);
        let bank = self.bank(t, w);
        bank.clr_pend |= mask & bank.resident;
        let dropped = bank.latch & bank.hw & mask & !bank.resident & !bank.active;
        bank.release |= dropped;
        bank.latch &= !mask;
        bank.by_hand &= !mask;
        if dropped != 0 {
            // Only the CPU that `t` is loaded on can end the physical interrupt.
            self.vcpus[t].release = true;
            kick.resync |= 1 << t;
        }
        kick.and(self.changed(t, w, mask))
    }

    fn set_active<L: ListRegs + ?Sized>(&mut self, it: Bits, lrs: &mut L) -> Kick {
        let Bits { a, t, w, mask } = it;
        let mut kick = self.grab(it, lrs);
        let bank = self.bank(t, w);
        let resident = bank.resident & mask;
        bank.set_act |= resident;
        bank.clr_act &= !resident;
        let new = mask & !resident & !bank.active;
        bank.active |= new;
        for n in bits(new) {
            // Somebody must be able to end it: the vCPU it is routed to, or the one that activates it.
            let holder = if w == 0 {
                t
            } else {
                let spi = (w - 1) * 32 + n;
                let target = self.target[spi];
                self.owner[spi] = if target == NOBODY { a as u8 } else { target };
                self.owner[spi] as usize
            };
            let vcpu = &mut self.vcpus[holder];
            let prio = prio::of_word(w, &vcpu.prio, &self.prio);
            vcpu.act.insert(w, 1 << n, prio);
            vcpu.dirty = true;
            kick.resync |= 1 << holder;
        }
        kick.and(self.refresh(t, w, new))
    }

    fn clear_active<L: ListRegs + ?Sized>(&mut self, it: Bits, lrs: &mut L) -> Kick {
        let Bits { a, t, w, mask } = it;
        let mut kick = self.grab(it, lrs);
        let bank = self.bank(t, w);
        let resident = bank.resident & mask;
        bank.clr_act |= resident;
        bank.set_act &= !resident;
        // Ended over there, it may be deliverable at once.
        let due = bank.pending() & resident;
        if due != 0 {
            kick = kick.and(self.changed(t, w, due));
        }
        for n in bits(mask & !resident & self.bank(t, w).active) {
            let holder = self.holder(t, w, n);
            kick = kick.and(self.forget_active(holder, (w * 32 + n) as u16));
        }
        if w > 0 && self.bank(t, w).release != 0 {
            self.vcpus[a].release = true; // any CPU can deactivate a shared one: this one is here
        }
        kick
    }

    /// Priority of interrupt `intid` (below 1024); zero if there is none.
    #[inline]
    pub(super) fn read_priority(&self, t: usize, intid: usize) -> u8 {
        if intid < 32 {
            self.vcpus[t].prio[intid]
        } else {
            self.prio.get(intid - 32).copied().unwrap_or(0)
        }
    }

    /// Sets the priority of `intid`; ignored if there is none.
    pub(super) fn write_priority<L: ListRegs + ?Sized>(
        &mut self,
        a: usize,
        t: usize,
        intid: usize,
        value: u8,
        lrs: &mut L,
    ) -> Kick {
        let (w, m) = split(intid as u16);
        if self.config.implemented(w) & m == 0 || self.read_priority(t, intid) == value {
            return Kick::NONE;
        }
        let mut kick = self.grab(Bits { a, t, w, mask: m }, lrs);
        if intid < 32 {
            self.vcpus[t].prio[intid] = value;
        } else {
            self.prio[intid - 32] = value;
        }
        // One that waits outside full list registers may now be better than those inside.
        let waits_on = if w == 0 {
            t
        } else {
            self.target[intid - 32] as usize
        };
        if let Some(vcpu) = self.vcpus.get_mut(waits_on) {
            let prio = prio::of_word(w, &vcpu.prio, &self.prio);
            vcpu.ready.reprioritise(w, m, prio);
            if vcpu.ready.word(w) & m != 0 && vcpu.want.npie {
                vcpu.dirty = true;
                kick.resync |= 1 << waits_on;
            }
        }
        if self.bank(t, w).active & m != 0 {
            let holder = self.holder(t, w, intid % 32);
            if let Some(vcpu) = self.vcpus.get_mut(holder) {
                let prio = prio::of_word(w, &vcpu.prio, &self.prio);
                vcpu.act.reprioritise(w, m, prio);
            }
        }
        kick
    }

    /// ICFGR: sixteen interrupts, the upper bit of each pair being 1 for edge.
    pub(super) fn read_config(&mut self, t: usize, first: usize) -> u32 {
        let w = first / 32;
        if w >= self.words {
            return 0;
        }
        spread((self.bank(t, w).edge & self.config.implemented(w)) >> (first % 32) & 0xffff) << 1
    }

    /// Writes ICFGR for the sixteen interrupts from `first`. SGIs are edge-triggered for good.
    pub(super) fn write_config<L: ListRegs + ?Sized>(
        &mut self,
        a: usize,
        t: usize,
        first: usize,
        value: u32,
        lrs: &mut L,
    ) -> Kick {
        let (w, shift) = (first / 32, first % 32);
        if first < 16 || w >= self.words {
            return Kick::NONE;
        }
        let (new, sixteen) = (gather(value >> 1) << shift, 0xffff << shift);
        let value = self.bank(t, w).edge & !sixteen | new & sixteen;
        self.write_bitmap(a, t, w, Bitmap::Edge, value, lrs)
    }
}

/// The lowest interrupts of `mask`, no more than one piece may be for.
fn lowest(mask: u32) -> u32 {
    if mask.count_ones() <= rest::AT_ONCE {
        return mask;
    }
    let left = (0..rest::AT_ONCE).fold(mask, |left, _| left & left.wrapping_sub(1));
    mask & !left
}

/// Bits 15:0 to the even bits.
const fn spread(x: u32) -> u32 {
    let x = (x | x << 8) & 0x00ff_00ff;
    let x = (x | x << 4) & 0x0f0f_0f0f;
    let x = (x | x << 2) & 0x3333_3333;
    (x | x << 1) & 0x5555_5555
}

/// The even bits to bits 15:0.
const fn gather(x: u32) -> u32 {
    let x = x & 0x5555_5555;
    let x = (x | x >> 1) & 0x3333_3333;
    let x = (x | x >> 2) & 0x0f0f_0f0f;
    let x = (x | x >> 4) & 0x00ff_00ff;
    (x | x >> 8) & 0xffff
}
