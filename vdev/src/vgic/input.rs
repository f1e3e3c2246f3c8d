//! What comes into the controller: lines, edges, software-generated interrupts, physical interrupts.

use super::{Kick, ListRegs, Version, Vgic};

/// One interrupt of a domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Irq {
    vcpu: u16,
    intid: u16,
}

impl Irq {
    /// SGI or PPI `intid` (0 to 31) of vCPU `v`.
    pub const fn ppi(v: usize, intid: u16) -> Irq {
        Irq {
            vcpu: v as u16,
            intid: intid & 31,
        }
    }

    /// Shared interrupt `intid` (32 up).
    pub const fn spi(intid: u16) -> Irq {
        Irq { vcpu: 0, intid }
    }

    /// Its number.
    pub const fn intid(self) -> u16 {
        self.intid
    }
}

/// Which of the three SGI registers was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SgiReg {
    /// ICC_SGI1R_EL1: group 1.
    Sgi1,
    /// ICC_SGI0R_EL1: group 0.
    Sgi0,
    /// ICC_ASGI1R_EL1: with one Security state it reaches what is configured as group 0.
    Asgi1,
}

impl Vgic {
    /// Word, bit mask and vCPU index of `irq`; `None` if the domain does not have it.
    #[inline]
    fn place(&self, irq: Irq) -> Option<(usize, u32, usize)> {
        let (w, m, v) = (
            (irq.intid / 32) as usize,
            1 << (irq.intid % 32),
            irq.vcpu as usize,
        );
        (v < self.vcpus.len() && self.config.implemented(w) & m != 0).then_some((w, m, v))
    }

    /// The line of `irq` is at `level` now. A linked interrupt has no line here. Unknown interrupts are ignored.
    #[inline]
    pub fn set_level(&mut self, irq: Irq, level: bool) -> Kick {
        let Some((w, m, v)) = self.place(irq) else {
            return Kick::NONE;
        };
        let bank = self.bank(v, w);
        if (bank.level & m != 0) == level {
            return Kick::NONE;
        }
        bank.level ^= m;
        if bank.edge & m != 0 {
            if !level {
                return Kick::NONE;
            }
            bank.latch |= m;
        }
        self.changed(v, w, m)
    }

    /// An edge on `irq`.
    #[inline]
    pub fn pulse(&mut self, irq: Irq) -> Kick {
        let Some((w, m, v)) = self.place(irq) else {
            return Kick::NONE;
        };
        if self.bank(v, w).latch & m != 0 {
            let n = m.trailing_zeros() as usize;
            let to = if w == 0 {
                v
            } else if self.bank(v, w).resident & m != 0 {
                self.holder(v, w, n)
            } else {
                self.target[(w - 1) * 32 + n] as usize
            };
            return self.told_again(to);
        }
        self.bank(v, w).latch |= m;
        self.changed(v, w, m)
    }

    /// What was pending already: whoever was to tell `to` may not have come to it.
    fn told_again(&self, to: usize) -> Kick {
        let late = to < self.vcpus.len() && self.needs_flush(to);
        Kick {
            wake: (late as u64) << (to & 63),
            resync: 0,
        }
    }

    /// The state of the interrupts of `mask` has changed: who holds one must look, others may have become
    /// deliverable or not.
    #[inline]
    pub(super) fn changed(&mut self, v: usize, w: usize, mask: u32) -> Kick {
        let bank = self.bank(v, w);
        let resident = bank.resident & mask;
        let kick = if resident == 0 {
            Kick::NONE
        } else {
            self.stir(v, w, resident)
        };
        if resident == mask {
            return kick;
        }
        kick.and(self.refresh(v, w, mask & !resident))
    }

    /// Has the holders of resident interrupts `mask` look. One that is pending in the model may be deliverable as
    /// soon as they do, so they are woken for it.
    fn stir(&mut self, v: usize, w: usize, mask: u32) -> Kick {
        let bank = self.bank(v, w);
        bank.touched |= mask;
        let due = bank.pending() & mask;
        let mut kick = Kick::NONE;
        for n in super::bits(mask) {
            let holder = self.holder(v, w, n);
            self.vcpus[holder].stirred = true;
            self.vcpus[holder].hint = 0;
            kick.resync |= 1 << holder;
            kick.wake |= ((due >> n & 1) as u64) << holder;
        }
        kick
    }

    /// The vCPU in whose list registers a resident interrupt is, or that has acknowledged an active one.
    #[inline]
    pub(super) fn holder(&self, v: usize, w: usize, n: usize) -> usize {
        if w == 0 {
            v
        } else {
            self.owner[(w - 1) * 32 + n] as usize
        }
    }

    /// Recomputes which interrupts of `mask` in word `w` are ready, and for whom.
    #[inline]
    pub(super) fn refresh(&mut self, v: usize, w: usize, mask: u32) -> Kick {
        let groups = self.groups();
        if w == 0 {
            let vcpu = &mut self.vcpus[v];
            let ready = vcpu.bank.ready(groups);
            let wake = (vcpu.set_ready(0, mask, ready, &[]) as u64) << v;
            return Kick { wake, resync: 0 };
        }
        let ready = self.spis[w - 1].ready(groups);
        let mut kick = Kick::NONE;
        let mut left = mask;
        while left != 0 {
            let n = left.trailing_zeros() as usize;
            let to = self.target[(w - 1) * 32 + n] as usize;
            let mut same = 1 << n;
            if let Some(vcpu) = self.vcpus.get_mut(to) {
                // All that go to the same vCPU at once.
                same |= left & vcpu.route[w];
                kick.wake |= (vcpu.set_ready(w, same, ready, &self.prio) as u64) << to;
            }
            left &= !same;
        }
        kick
    }

    /// A trapped write of `value` to an SGI register by vCPU `from`, whose list registers are `lrs` (IHI0069, "SGI
    /// Generation registers"). May leave it [`Vgic::unfinished`]. Reserved encodings and CPUs that do not exist are ignored.
    #[inline]
    pub fn sgi_v3<L: ListRegs + ?Sized>(
        &mut self,
        from: usize,
        reg: SgiReg,
        value: u64,
        lrs: &mut L,
    ) -> Kick {
        // One target among the first sixteen, nothing else set: what kernels write nearly always.
        let list = value & 0xffff;
        if value & !0x0f00_ffff == 0 && list.is_power_of_two() {
            let to = list.trailing_zeros() as usize;
            if to < self.vcpus.len() && self.config.version == Version::V3 {
                let kick = self.sgi(from, to, (value >> 24) as usize & 15, reg, lrs);
                return if to == from {
                    self.flush(from, lrs)
                } else {
                    kick
                };
            }
        }
        self.sgi_many(from, reg, value, lrs)
    }

    /// Any value of an SGI register.
    #[inline(never)]
    fn sgi_many<L: ListRegs + ?Sized>(
        &mut self,
        from: usize,
        reg: SgiReg,
        value: u64,
        lrs: &mut L,
    ) -> Kick {
        if self.config.version != Version::V3 {
            return Kick::NONE;
        }
        let all = u64::MAX >> (64 - self.vcpus.len());
        let targets = if value >> 40 & 1 != 0 {
            all & !(1 << from)
        } else {
            // Aff3, Aff2 and the range selector must be zero, Aff1 names sixteen vCPUs.
            let cluster = value >> 16 & 0xff;
            if value & 0x00ff_f0ff_0000_0000 != 0 || cluster > 3 {
                return Kick::NONE;
            }
            (value & 0xffff) << (cluster * 16) & all
        };
        let kick = self.sgi_some(from, targets, (value >> 24) as u8 & 15, reg, lrs);
        if self.unfinished(from) {
            return kick;
        }
        kick.and(self.flush(from, lrs)).without(from)
    }

    /// SGI `n` to vCPU `to`. Into its list registers at once, if it is the sender and that is all there is to do.
    #[inline(always)]
    pub(super) fn sgi<L: ListRegs + ?Sized>(
        &mut self,
        from: usize,
        to: usize,
        n: usize,
        reg: SgiReg,
        lrs: &mut L,
    ) -> Kick {
        let m = 1u32 << n;
        let bank = &self.vcpus[to].bank;
        if (bank.group & m != 0) != (reg == SgiReg::Sgi1) {
            return Kick::NONE;
        }
        if bank.latch & m != 0 {
            return self.told_again(to);
        }
        self.raise_sgi(from, to, n, lrs)
    }

    /// GICv2: SGI `n` from vCPU `from` to `to`, one of each sender's can be pending.
    #[inline(always)]
    fn sgi_v2<L: ListRegs + ?Sized>(
        &mut self,
        from: usize,
        to: usize,
        n: usize,
        lrs: &mut L,
    ) -> Kick {
        let sources = &mut self.vcpus[to].sgi_src[n & 15];
        let sender = 1u8 << (from & 7);
        if *sources & sender != 0 {
            return self.told_again(to);
        }
        *sources |= sender;
        self.raise_sgi(from, to, n, lrs)
    }

    #[inline(always)]
    fn raise_sgi<L: ListRegs + ?Sized>(
        &mut self,
        from: usize,
        to: usize,
        n: usize,
        lrs: &mut L,
    ) -> Kick {
        let groups = self.groups();
        let m = 1u32 << n;
        let vcpu = &self.vcpus[to];
        let only = !(vcpu.dirty | vcpu.todo | vcpu.stirred);
        if only && to == from && self.quick(to, n, lrs) {
            return Kick::NONE;
        }
        let vcpu = &mut self.vcpus[to];
        let bank = &mut vcpu.bank;
        bank.latch |= m;
        if bank.resident & m != 0 {
            bank.touched |= m;
            vcpu.stirred = true;
        } else if bank.ready(groups) & m == 0 {
            return Kick::NONE;
        } else if !vcpu.set_ready(0, m, m, &[]) {
            return self.told_again(to);
        }
        vcpu.hint = if only { n as u8 + 1 } else { 0 };
        Kick {
            wake: 1 << to,
            resync: 0,
        }
    }

    /// GICD_SGIR (GICv2, IHI0048B 4.3.15) written by vCPU `v`. NSATT has no meaning with one Security state.
    #[inline]
    pub(super) fn sgir<L: ListRegs + ?Sized>(&mut self, v: usize, value: u32, lrs: &mut L) -> Kick {
        let mut targets = match value >> 24 & 3 {
            0 => value >> 16 & 0xff,
            1 => 0xff & !(1 << v),
            2 => 1 << v,
            _ => return Kick::NONE,
        };
        let mut kick = Kick::NONE;
        while targets != 0 {
            let to = targets.trailing_zeros() as usize;
            targets &= targets - 1;
            if to < self.vcpus.len() {
                kick = kick.and(self.sgi_v2(v, to, value as usize & 15, lrs));
            }
        }
        kick.and(self.flush(v, lrs)).without(v)
    }

    /// Links PPI `intid` of every vCPU to physical interrupt `pintid`: the guest's end of interrupt ends both.
    pub fn link_ppi(&mut self, intid: u16, pintid: u16) {
        if (16..32).contains(&intid) && pintid < 1020 {
            self.ppi_link[intid as usize] = pintid;
            for vcpu in &mut self.vcpus {
                vcpu.bank.hw |= 1 << intid;
            }
        }
    }

    /// Links shared interrupt `intid` to physical interrupt `pintid`. Returns whether the domain has that interrupt.
    pub fn link_spi(&mut self, intid: u16, pintid: u16) -> bool {
        let Some((w, m, _)) = self.place(Irq::spi(intid)) else {
            return false;
        };
        if w == 0 || pintid >= 1020 {
            return false;
        }
        self.spi_link[intid as usize - 32] = pintid;
        self.spis[w - 1].hw |= m;
        true
    }

    /// Ends the link of shared interrupt `intid` (the device is taken away).
    pub fn unlink_spi(&mut self, intid: u16) {
        if let Some((w, m, _)) = self.place(Irq::spi(intid))
            && w > 0
        {
            self.spis[w - 1].hw &= !m;
        }
    }

    /// The physical interrupt linked to `irq` has fired and is active (priority dropped, not deactivated): make the
    /// virtual one pending.
    #[inline]
    pub fn fire_hw(&mut self, irq: Irq) -> Kick {
        self.pulse(irq)
    }

    /// The line of linked `irq` was found deasserted: withdraws it if the guest has not acknowledged it yet. The
    /// physical interrupt is then queued for [`Vgic::take_release`] (of a shared one: for vCPU 0, or its holder). What the
    /// guest itself has made pending (ISPENDR) does not depend on the line, and stays.
    pub fn lower_hw(&mut self, irq: Irq) -> Kick {
        let Some((w, m, v)) = self.place(irq) else {
            return Kick::NONE;
        };
        let bank = self.bank(v, w);
        if bank.hw & !bank.by_hand & m == 0 {
            return Kick::NONE;
        }
        if bank.resident & m != 0 {
            bank.clr_pend |= m;
            self.vcpus[v].dirty = true;
        } else if bank.latch & !bank.active & m != 0 {
            bank.release |= m;
            self.vcpus[v].release = true;
        }
        self.bank(v, w).latch &= !m;
        self.changed(v, w, m)
    }

    /// Whether linked PPI `intid` of vCPU `v` is pending or active, so that its physical interrupt must be active
    /// while `v` is loaded.
    #[inline]
    pub fn is_hw_inflight(&self, v: usize, intid: u16) -> bool {
        self.vcpus[v].bank.in_flight_hw() & 1 << (intid & 31) != 0
    }

    /// Whether [`Vgic::take_release`] has something for vCPU `v`'s CPU.
    #[inline]
    pub fn has_release(&self, v: usize) -> bool {
        self.vcpus[v].release
    }

    /// A physical interrupt that must be deactivated by software, because the guest ended its virtual one in a way
    /// the hardware did not see. Private ones (below 32) on the CPU `v` is loaded on.
    pub fn take_release(&mut self, v: usize) -> Option<u16> {
        if !self.vcpus[v].release {
            return None;
        }
        for w in 0..self.words {
            let m = self.bank(v, w).release;
            if m != 0 {
                let n = m.trailing_zeros() as usize;
                self.bank(v, w).release &= !(1 << n);
                return Some(if w == 0 {
                    self.ppi_link[n]
                } else {
                    self.spi_link[(w - 1) * 32 + n]
                });
            }
        }
        self.vcpus[v].release = false;
        None
    }
}
