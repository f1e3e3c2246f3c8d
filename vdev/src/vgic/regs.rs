//! What register reads and writes do to interrupts, whichever frame they come through.
//!
//! `a` is the accessing vCPU (its list registers are `lrs`), `t` the vCPU whose private interrupts word 0 means.
//! Resident interrupts of `a` are folded before a change; those of other vCPUs get a command in their [`Bank`] and a
//! resync kick. Writers end with `settle`.

use super::bank::Bank;
use super::cpu::split;
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

impl Bits {
    const fn only(self, mask: u32) -> Bits {
        Bits { mask, ..self }
    }
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

    /// Writes a bitmap register of word `w`.
    pub(super) fn write_bitmap<L: ListRegs + ?Sized>(
        &mut self,
        a: usize,
        t: usize,
        w: usize,
        reg: Bitmap,
        value: u32,
        lrs: &mut L,
    ) -> Kick {
        let mask = value & self.config.implemented(w);
        let it = Bits { a, t, w, mask };
        let v2_sgis = if self.config.version == Version::V2 && w == 0 {
            0xffff
        } else {
            0
        };
        match reg {
            Bitmap::Group => self.write_group(it, lrs),
            Bitmap::SetEnable => {
                let new = mask & !self.bank(t, w).enabled;
                self.bank(t, w).enabled |= new;
                self.changed(t, w, new)
            }
            Bitmap::ClearEnable => {
                let gone = mask & self.bank(t, w).enabled & !v2_sgis;
                let kick = self.grab(it.only(gone), lrs);
                self.bank(t, w).enabled &= !gone;
                kick.and(self.changed(t, w, gone))
            }
            Bitmap::SetPending => {
                let new = mask & !v2_sgis & !self.bank(t, w).latch;
                let bank = self.bank(t, w);
                bank.latch |= new;
                bank.by_hand |= mask & bank.hw;
                self.changed(t, w, new)
            }
            Bitmap::ClearPending => self.clear_pending(it.only(mask & !v2_sgis), lrs),
            Bitmap::SetActive => self.set_active(it, lrs),
            Bitmap::ClearActive => self.clear_active(it, lrs),
        }
    }

    fn write_group<L: ListRegs + ?Sized>(&mut self, it: Bits, lrs: &mut L) -> Kick {
        let Bits {
            t, w, mask: value, ..
        } = it;
        let flips = self.bank(t, w).group ^ value;
        let kick = self.grab(it.only(flips), lrs);
        self.bank(t, w).group = value;
        kick.and(self.changed(t, w, flips))
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
            self.vcpus[holder].act.insert(w, 1 << n);
            self.vcpus[holder].dirty = true;
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
            vcpu.ready.reprioritise(w);
            if vcpu.ready.word(w) & m != 0 && vcpu.want.npie {
                vcpu.dirty = true;
                kick.resync |= 1 << waits_on;
            }
        }
        if self.bank(t, w).active & m != 0 {
            let holder = self.holder(t, w, intid % 32);
            self.vcpus[holder].act.reprioritise(w);
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
        let new = gather(value >> 1) << shift;
        let flips = (self.bank(t, w).edge ^ new) & 0xffff << shift & self.config.implemented(w);
        let kick = self.grab(
            Bits {
                a,
                t,
                w,
                mask: flips,
            },
            lrs,
        );
        self.bank(t, w).edge ^= flips;
        kick.and(self.changed(t, w, flips))
    }
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
