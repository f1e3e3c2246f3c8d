//! The shortest way in: one software-generated or linked private interrupt for a vCPU that has nothing else to do.
//!
//! Self-SGIs, IPIs and the virtual timer are nearly all interrupts of a busy guest. Each needs one list-register
//! write, and the empty mask only if it has come before (then it takes the register it had). Whatever is not that
//! simple is left to `update`, which gets the same result for every case.

use super::{Irq, Kick, ListReg, ListRegs, MAX_LRS, Version, Vgic};

impl Vgic {
    /// The physical interrupt linked to PPI `intid` has fired on the CPU where vCPU `v` is loaded in `lrs`:
    /// [`Vgic::fire_hw`] and `flush` in one.
    #[inline]
    pub fn inject_hw<L: ListRegs + ?Sized>(&mut self, v: usize, intid: u16, lrs: &mut L) -> Kick {
        let vcpu = &self.vcpus[v];
        if !(vcpu.dirty | vcpu.todo | vcpu.stirred) && self.quick(v, intid as usize & 31, lrs) {
            return Kick::NONE;
        }
        let kick = self.fire_hw(Irq::ppi(v, intid));
        kick.and(self.flush(v, lrs)).without(v)
    }

    /// The interrupt that was noted as the only news for `v`, if it still is.
    #[inline]
    pub(super) fn quick_hint<L: ListRegs + ?Sized>(&mut self, v: usize, lrs: &mut L) -> bool {
        let vcpu = &mut self.vcpus[v];
        let i = core::mem::take(&mut vcpu.hint).wrapping_sub(1) as usize & 31;
        let m = 1u32 << i;
        if vcpu.dirty || vcpu.bank.latch & m == 0 {
            return false;
        }
        if vcpu.todo && (vcpu.ready.sum() != 1 || vcpu.ready.word(0) != m) {
            return false;
        }
        if !self.quick(v, i, lrs) {
            return false;
        }
        let vcpu = &mut self.vcpus[v];
        if vcpu.todo {
            vcpu.ready.set_word(0, 0, &[]);
            vcpu.todo = false;
        }
        vcpu.stirred = false;
        true
    }

    /// Puts private interrupt `i` of `v` into a list register, if it may be delivered and one is free. The caller
    /// answers for nothing else being due.
    #[inline]
    pub(super) fn quick<L: ListRegs + ?Sized>(&mut self, v: usize, i: usize, lrs: &mut L) -> bool {
        let groups = self.groups();
        let i = i & 31;
        let m = 1u32 << i;
        let link = self.ppi_link[i];
        let vcpu = &mut self.vcpus[v];
        let bank = &mut vcpu.bank;
        // Level-sensitive lines have more to them.
        if bank.forwarded(groups) & (bank.edge | bank.hw) & m == 0 || vcpu.want.npie {
            return false;
        }
        let mut state = ListReg::PENDING;
        if i < 16 && matches!(self.config.version, Version::V2) {
            let sources = &mut vcpu.sgi_src[i & 15];
            if !sources.is_power_of_two() {
                return false;
            }
            state |= u64::from(sources.trailing_zeros()) << 10;
        }
        let n = if bank.resident & m != 0 {
            // It has a register already: good if the guest has ended it.
            let n = vcpu.home[i] as usize & (MAX_LRS - 1);
            if lrs.empty().0 >> n & 1 == 0 {
                return false;
            }
            n
        } else {
            let free = super::cpu::existing(lrs) & !vcpu.used;
            if bank.active & m != 0 || free == 0 {
                return false;
            }
            let n = free.trailing_zeros() as usize & (MAX_LRS - 1);
            vcpu.used |= 1 << n;
            vcpu.lr[n] = i as u16;
            vcpu.home[i] = n as u8;
            n
        };
        if i < 16 {
            vcpu.sgi_src[i & 15] = 0;
        }
        bank.by_hand &= !m | bank.latch;
        bank.latch &= !m;
        bank.active &= !m;
        bank.touched &= !m;
        bank.soft |= m;
        bank.forget_changes(m);
        let lr = bank.compose(m, i as u16, vcpu.prio[i], link, state, false);
        lrs.write(n, lr);
        true
    }
}
