//! The redistributors' registers (GICR, GICv3): two 64 KiB frames a vCPU, one after the other.
//!
//! No LPIs: GICR_CTLR, PROPBASER, PENDBASER and their companions read as zero and ignore writes (IHI0069 chapter
//! 12.11). Any vCPU may touch any redistributor, as on hardware.

use super::regs::Bitmap;
use super::{Kick, ListRegs, Version, Vgic};
use crate::{Refused, Size};

const WAKER: u32 = 0x014;
const SGI: u32 = 0x1_0000;
const PRIORITY: u32 = SGI + 0x400;
const CONFIG: u32 = SGI + 0xc00;
/// GICR_WAKER.ProcessorSleep, and ChildrenAsleep, which follows at once.
const SLEEP: u32 = 2;
const ASLEEP: u32 = 4;

impl Vgic {
    /// Reads GICR at `offset` from the start of the region of all redistributors, for vCPU `v` loaded in `lrs`.
    #[inline]
    pub fn redist_read<L: ListRegs + ?Sized>(
        &mut self,
        v: usize,
        offset: u32,
        size: Size,
        lrs: &L,
    ) -> Result<u64, Refused> {
        if let Some(value) = self.config.constant_redist(offset, size) {
            return Ok(value);
        }
        self.redist_read_state(v, offset, size, lrs)
    }

    fn redist_read_state<L: ListRegs + ?Sized>(
        &mut self,
        v: usize,
        offset: u32,
        size: Size,
        lrs: &L,
    ) -> Result<u64, Refused> {
        let (t, reg) = self.frame(offset, size)?;
        let n = (reg & 0x3ff) as usize;
        match size {
            Size::Word => match reg {
                0x000 | 0x010 => Ok(0), // CTLR without LPIs, STATUSR
                WAKER => Ok(u64::from(if self.vcpus[t].asleep {
                    SLEEP | ASLEEP
                } else {
                    0
                })),
                0x040..=0x074 | 0x0a0..=0x0bc | 0x0c0 => Ok(0), // SETLPIR to SYNCR: no LPIs
                0x1_0080..=0x1_03fc => match Bitmap::at(reg - SGI) {
                    Some(bitmap) if reg & 0x7f == 0 => {
                        self.read_bitmap(v, t, 0, bitmap, lrs).map(u64::from)
                    }
                    _ => Err(Refused::Reserved),
                },
                PRIORITY..0x1_0420 => {
                    Ok(u64::from(u32::from_le_bytes(core::array::from_fn(|i| {
                        self.read_priority(t, n + i)
                    }))))
                }
                CONFIG => Ok(u64::from(self.read_config(t, 0))),
                0x1_0c04 => Ok(u64::from(self.read_config(t, 16))),
                0x1_0d00 | 0x1_0e00 => Ok(0), // IGRPMODR0, NSACR: one Security state
                _ => Err(Refused::Reserved),
            },
            Size::Byte if (PRIORITY..0x1_0420).contains(&reg) => {
                Ok(u64::from(self.read_priority(t, n)))
            }
            Size::Double if is_lpi_double(reg) => Ok(0),
            _ => Err(Refused::Width),
        }
    }

    /// Writes GICR at `offset` from the start of the region of all redistributors, for vCPU `v` loaded in `lrs`. May
    /// leave it [`Vgic::unfinished`].
    pub fn redist_write<L: ListRegs + ?Sized>(
        &mut self,
        v: usize,
        offset: u32,
        size: Size,
        value: u64,
        lrs: &mut L,
    ) -> Result<Kick, Refused> {
        let (t, reg) = self.frame(offset, size)?;
        let n = (reg & 0x3ff) as usize;
        let mut kick = Kick::NONE;
        match size {
            Size::Word => match reg {
                0x000 | 0x004 | 0x008 | 0x00c | 0x010 => {}
                WAKER => self.vcpus[t].asleep = value as u32 & SLEEP != 0,
                0x040..=0x074 | 0x0a0..=0x0bc | 0x0c0 => {}
                0x1_0080..=0x1_03fc => match Bitmap::at(reg - SGI) {
                    Some(bitmap) if reg & 0x7f == 0 => {
                        kick = self.write_bitmap(v, t, 0, bitmap, value as u32, lrs);
                    }
                    _ => return Err(Refused::Reserved),
                },
                PRIORITY..0x1_0420 => {
                    for (i, byte) in (value as u32).to_le_bytes().into_iter().enumerate() {
                        kick = kick.and(self.write_priority(v, t, n + i, byte, lrs));
                    }
                }
                CONFIG => {}
                0x1_0c04 => kick = self.write_config(v, t, 16, value as u32, lrs),
                0x1_0d00 | 0x1_0e00 => {}
                _ if self.config.constant_redist(offset, size).is_some() => {}
                _ => return Err(Refused::Reserved),
            },
            Size::Byte if (PRIORITY..0x1_0420).contains(&reg) => {
                kick = self.write_priority(v, t, n, value as u8, lrs);
            }
            Size::Double if is_lpi_double(reg) || reg == 0x008 => {}
            _ => return Err(Refused::Width),
        }
        if reg >= PRIORITY {
            self.own_later(v);
        }
        if self.unfinished(v) {
            return Ok(kick.without(v));
        }
        Ok(kick.and(self.settle(v, lrs)).without(v))
    }

    /// Whose frame it is, and the offset in that vCPU's two frames.
    fn frame(&self, offset: u32, size: Size) -> Result<(usize, u32), Refused> {
        let t = (offset >> 17) as usize;
        if self.config.version != Version::V3 || t >= self.vcpus.len() {
            return Err(Refused::Reserved);
        }
        if offset & (size.bytes() - 1) != 0 {
            return Err(Refused::Width);
        }
        Ok((t, offset & 0x1_ffff))
    }
}

/// SETLPIR, CLRLPIR, PROPBASER, PENDBASER, INVLPIR, INVALLR.
const fn is_lpi_double(reg: u32) -> bool {
    matches!(reg, 0x040 | 0x048 | 0x070 | 0x078 | 0x0a0 | 0x0b0)
}
