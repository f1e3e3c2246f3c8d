//! Writes that concern more interrupts or vCPUs than may be dealt with in one piece, with interrupts masked.
//!
//! A whole register of enables, pending or active bits is written for a few interrupts at a time; a change of the group
//! enables is followed by a look at each word and each vCPU. What is left is noted with the vCPU that wrote, which does not
//! run on before it is done: for the guest it is one write. Meanwhile others see it half done, as on any bus: each
//! interrupt is as before or as after, and none is forgotten, since what a piece finds out is found out from the registers
//! as they are then. Two vCPUs that write against each other both come to their end.

use super::regs::Bitmap;
use super::{Kick, ListRegs, SgiReg, Vgic};

/// Interrupts that one piece of a write is for at most.
pub(super) const AT_ONCE: u32 = 4;
/// vCPUs that one piece of a change of the group enables looks at, or that one piece of an SGI is sent to.
const VCPUS_AT_ONCE: usize = 8;

/// What is left to do of a vCPU's last write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rest {
    Nothing,
    /// `value` is to be written to this bitmap for the interrupts `care` of word `w`, private to vCPU `t` if `w` is 0.
    Bits {
        t: u8,
        w: u8,
        reg: Bitmap,
        value: u32,
        care: u32,
    },
    /// A group has been switched on or off: shared interrupts from this one on have not been looked at, nor any vCPU.
    Shared(u16),
    /// vCPUs from this one on have not been looked at.
    Vcpus(u8),
    /// Its own list registers are to be brought up to date.
    Own,
    /// An SGI is still to be sent to these.
    Sgi {
        targets: u64,
        n: u8,
        reg: SgiReg,
    },
}

impl Vgic {
    /// Whether something is left of vCPU `v`'s last write. Call [`Vgic::go_on`] until it is not, before the guest runs.
    #[inline]
    pub fn unfinished(&self, v: usize) -> bool {
        self.vcpus[v].rest != Rest::Nothing
    }

    /// The next piece of the last write of vCPU `v`, which is loaded in `lrs`. Interrupts may be taken, and the vCPU
    /// saved and loaded again, between pieces.
    pub fn go_on<L: ListRegs + ?Sized>(&mut self, v: usize, lrs: &mut L) -> Kick {
        let kick = match core::mem::replace(&mut self.vcpus[v].rest, Rest::Nothing) {
            Rest::Nothing => Kick::NONE,
            Rest::Bits {
                t,
                w,
                reg,
                value,
                care,
            } => {
                let place = (usize::from(t), usize::from(w), reg);
                self.write_bitmap_rest(v, place, value, care, lrs)
            }
            Rest::Shared(from) => self.look_at_shared(v, usize::from(from)),
            Rest::Vcpus(from) => self.look_at_vcpus(v, usize::from(from)),
            Rest::Own => Kick::NONE,
            Rest::Sgi { targets, n, reg } => self.sgi_some(v, targets, n, reg, lrs),
        };
        if self.unfinished(v) {
            return kick.without(v);
        }
        kick.and(self.settle(v, lrs)).without(v)
    }

    /// An SGI to the first of `targets`; the others' turn comes later.
    pub(super) fn sgi_some<L: ListRegs + ?Sized>(
        &mut self,
        v: usize,
        mut targets: u64,
        n: u8,
        reg: SgiReg,
        lrs: &mut L,
    ) -> Kick {
        let mut kick = Kick::NONE;
        for _ in 0..VCPUS_AT_ONCE {
            if targets == 0 {
                return kick;
            }
            let to = targets.trailing_zeros() as usize;
            targets &= targets - 1;
            kick = kick.and(self.sgi(v, to, usize::from(n), reg, lrs));
        }
        self.vcpus[v].rest = Rest::Sgi { targets, n, reg };
        kick.without(v)
    }

    /// After a write for several interrupts: list registers that are to be built anew are so in a piece of their own.
    pub(super) fn own_later(&mut self, v: usize) {
        let vcpu = &mut self.vcpus[v];
        if (vcpu.dirty || vcpu.stirred) && vcpu.rest == Rest::Nothing {
            vcpu.rest = Rest::Own;
        }
    }

    /// The next shared interrupts that might be deliverable or are it no longer: a word for one vCPU, or eight for several.
    fn look_at_shared(&mut self, v: usize, from: usize) -> Kick {
        let mut next = from;
        while next < self.words * 32 {
            let (w, mask) = (next / 32, u32::MAX << (next % 32));
            let bank = &self.spis[w - 1];
            let some = bank.pending() & bank.enabled & !bank.active & !bank.resident & mask;
            if some == 0 {
                next = (w + 1) * 32;
                continue;
            }
            let first = some.trailing_zeros() as usize;
            let to = usize::from(self.target[(w - 1) * 32 + first]);
            let (eight, mut mask) = (first & !7, mask & self.config.implemented(w));
            next = (w + 1) * 32;
            if self.vcpus.get(to).is_none_or(|t| some & !t.route[w] != 0) {
                mask &= 0xff << eight;
                next = w * 32 + eight + 8;
            }
            self.vcpus[v].rest = Rest::Shared(next as u16);
            return self.refresh(0, w, mask);
        }
        // Only now: who rebuilds its list registers must not find in the words what is not to be delivered any more.
        self.vcpus[v].rest = Rest::Vcpus(0);
        Kick::NONE
    }

    /// The next few vCPUs: what is in list registers is read back, private interrupts are looked at.
    fn look_at_vcpus(&mut self, v: usize, from: usize) -> Kick {
        let mut kick = Kick::NONE;
        let end = (from + VCPUS_AT_ONCE).min(self.vcpus.len());
        for i in from..end {
            if self.vcpus[i].used != 0 {
                self.vcpus[i].dirty = true;
                kick.resync |= 1 << i;
            }
            kick = kick.and(self.refresh(i, 0, u32::MAX));
        }
        self.vcpus[v].rest = if end < self.vcpus.len() {
            Rest::Vcpus(end as u8)
        } else {
            Rest::Own
        };
        kick
    }
}
