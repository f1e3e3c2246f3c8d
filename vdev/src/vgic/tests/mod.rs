//! Tests of the controller: `fake` is a GIC virtual CPU interface, `reference` a GIC without list registers.

mod delay;
mod fake;
mod pieces;
mod property;
mod reference;
mod registers;
mod unit;

use super::{Kick, ListRegs, Vgic};
use crate::{Refused, Size};

impl Vgic {
    /// The rest of `v`'s last write, as whoever runs it does before it goes on.
    fn finish<L: ListRegs + ?Sized>(&mut self, v: usize, mut kick: Kick, lrs: &mut L) -> Kick {
        let mut pieces = 0;
        while self.unfinished(v) {
            kick = kick.and(self.go_on(v, lrs));
            pieces += 1;
            assert!(pieces < 300, "a write that does not end");
        }
        kick
    }

    /// A write to the distributor with all its pieces.
    fn dist_write_all<L: ListRegs + ?Sized>(
        &mut self,
        v: usize,
        offset: u32,
        size: Size,
        value: u64,
        lrs: &mut L,
    ) -> Result<Kick, Refused> {
        let kick = self.dist_write(v, offset, size, value, lrs)?;
        Ok(self.finish(v, kick, lrs))
    }

    /// A write to the redistributors with all its pieces.
    fn redist_write_all<L: ListRegs + ?Sized>(
        &mut self,
        v: usize,
        offset: u32,
        size: Size,
        value: u64,
        lrs: &mut L,
    ) -> Result<Kick, Refused> {
        let kick = self.redist_write(v, offset, size, value, lrs)?;
        Ok(self.finish(v, kick, lrs))
    }
}
