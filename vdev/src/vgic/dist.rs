//! The distributor's registers (GICD), as offset, width and value.
//!
//! GICv2: 4 KiB, one Security state (IHI0048B chapter 4.3). GICv3: 64 KiB, affinity routing always on, DS = 1,
//! no LPIs, no message-based SPIs (IHI0069 chapter 12.9): SETSPI and CLRSPI are reserved as MBIS = 0 says.
//! Width rules: 32 bits everywhere; bytes where the architecture has byte fields; 64 bits for GICD_IROUTER. Other
//! widths are [`Refused::Width`], except that a GICv2 answers narrower reads, as QEMU's does.

use super::regs::Bitmap;
use super::rest::Rest;
use super::{Kick, ListRegs, NOBODY, Version, Vgic, bits};
use crate::{Refused, Size};

const CTLR: u32 = 0x000;
const PRIORITY: u32 = 0x400;
const TARGETS: u32 = 0x800;
const CONFIG: u32 = 0xc00;
const GRPMOD: u32 = 0xd00;
const NSACR: u32 = 0xe00;
const SGIR: u32 = 0xf00;
const CPENDSGI: u32 = 0xf10;
const SPENDSGI: u32 = 0xf20;
const ROUTER: u32 = 0x6000;
/// GICD_CTLR.DS and ARE, both fixed at 1.
const CTLR_V3: u32 = 0x50;
/// Affinity fields of GICD_IROUTER. IRM is reserved as No1N says.
const AFFINITY: u64 = 0xff_00ff_ffff;

impl Vgic {
    /// Reads GICD at `offset` for vCPU `v`, which is loaded in `lrs`.
    #[inline]
    pub fn dist_read<L: ListRegs + ?Sized>(
        &mut self,
        v: usize,
        offset: u32,
        size: Size,
        lrs: &L,
    ) -> Result<u64, Refused> {
        if size == Size::Word && offset & 3 == 0 {
            return self.dist_read_word(v, offset, lrs).map(u64::from);
        }
        self.dist_read_other(v, offset, size, lrs)
    }

    fn dist_read_other<L: ListRegs + ?Sized>(
        &mut self,
        v: usize,
        offset: u32,
        size: Size,
        lrs: &L,
    ) -> Result<u64, Refused> {
        if offset & (size.bytes() - 1) != 0 {
            return Err(Refused::Width);
        }
        let v3 = self.config.version == Version::V3;
        match size {
            Size::Word => self.dist_read_word(v, offset, lrs).map(u64::from),
            Size::Byte if (PRIORITY..CONFIG).contains(&offset) || !v3 => {
                self.dist_lane(v, offset, size, lrs)
            }
            Size::Byte if (CPENDSGI..0xf30).contains(&offset) => Ok(0),
            Size::Half if !v3 => self.dist_lane(v, offset, size, lrs),
            Size::Double if v3 && (ROUTER..0x8000).contains(&offset) => {
                Ok(self.read_router(offset))
            }
            _ => Err(Refused::Width),
        }
    }

    /// Part of a 32-bit register. None of them changes by being read.
    fn dist_lane<L: ListRegs + ?Sized>(
        &mut self,
        v: usize,
        offset: u32,
        size: Size,
        lrs: &L,
    ) -> Result<u64, Refused> {
        let word = u64::from(self.dist_read_word(v, offset & !3, lrs)?);
        Ok(word >> (8 * (offset & 3)) & size.mask())
    }

    fn dist_read_word<L: ListRegs + ?Sized>(
        &mut self,
        v: usize,
        offset: u32,
        lrs: &L,
    ) -> Result<u32, Refused> {
        let v3 = self.config.version == Version::V3;
        if let Some(reg) = Bitmap::at(offset) {
            let w = (offset & 0x7f) as usize / 4;
            // With affinity routing the private words live in the redistributors.
            return if v3 && w == 0 {
                Ok(0)
            } else {
                self.read_bitmap(v, v, w, reg, lrs)
            };
        }
        let n = (offset & 0x3ff) as usize;
        match offset {
            CTLR => Ok(if v3 {
                CTLR_V3 | self.enables
            } else {
                self.enables
            }),
            0x010 if v3 => Ok(0), // STATUSR: no errors are recorded
            PRIORITY..TARGETS if v3 && n < 32 => Ok(0),
            PRIORITY..TARGETS => Ok(u32::from_le_bytes(core::array::from_fn(|i| {
                self.read_priority(v, n + i)
            }))),
            TARGETS..CONFIG if v3 => Ok(0),
            TARGETS..CONFIG => Ok(u32::from_le_bytes(core::array::from_fn(|i| {
                self.read_target(v, n + i)
            }))),
            CONFIG..GRPMOD if v3 && n < 8 => Ok(0),
            CONFIG..GRPMOD => Ok(self.read_config(v, n * 4)),
            GRPMOD..0xd80 if v3 => Ok(0), // IGRPMODR: one Security state
            NSACR..SGIR => Ok(0),
            SGIR => Ok(0), // write-only
            CPENDSGI..0xf30 if v3 => Ok(0),
            CPENDSGI..0xf30 => Ok(u32::from_le_bytes(core::array::from_fn(|i| {
                self.sgi_sources(v, (offset as usize & 0xf) + i, lrs)
            }))),
            ROUTER..0x8000 if v3 => {
                let whole = self.read_router(offset & !7);
                Ok((whole >> (8 * (offset & 4))) as u32)
            }
            _ => match self.config.constant_dist(offset, Size::Word) {
                Some(value) => Ok(value as u32),
                None => Err(Refused::Reserved),
            },
        }
    }

    /// Writes GICD at `offset` for vCPU `v`, which is loaded in `lrs`. May leave it [`Vgic::unfinished`].
    #[inline]
    pub fn dist_write<L: ListRegs + ?Sized>(
        &mut self,
        v: usize,
        offset: u32,
        size: Size,
        value: u64,
        lrs: &mut L,
    ) -> Result<Kick, Refused> {
        if offset == SGIR && size == Size::Word && self.config.version == Version::V2 {
            return Ok(self.sgir(v, value as u32, lrs));
        }
        self.dist_write_other(v, offset, size, value, lrs)
    }

    fn dist_write_other<L: ListRegs + ?Sized>(
        &mut self,
        v: usize,
        offset: u32,
        size: Size,
        value: u64,
        lrs: &mut L,
    ) -> Result<Kick, Refused> {
        if offset & (size.bytes() - 1) != 0 {
            return Err(Refused::Width);
        }
        let v3 = self.config.version == Version::V3;
        let kick = match size {
            Size::Word => self.dist_write_word(v, offset, value as u32, lrs)?,
            Size::Byte => {
                let n = (offset & 0x3ff) as usize;
                match offset {
                    PRIORITY..TARGETS if v3 && n < 32 => Kick::NONE,
                    PRIORITY..TARGETS => self.write_priority(v, v, n, value as u8, lrs),
                    TARGETS..CONFIG | CPENDSGI..0xf30 if v3 => Kick::NONE,
                    TARGETS..CONFIG => self.write_target(n, value as u8),
                    CPENDSGI..0xf30 => self.write_sgi_pending(v, offset, value as u8, lrs),
                    _ => return Err(Refused::Width),
                }
            }
            Size::Double if v3 && (ROUTER..0x8000).contains(&offset) => {
                self.write_router(offset, value)
            }
            _ => return Err(Refused::Width),
        };
        if offset >= PRIORITY {
            self.own_later(v);
        }
        if self.unfinished(v) {
            return Ok(kick.without(v));
        }
        Ok(kick.and(self.settle(v, lrs)).without(v))
    }

    fn dist_write_word<L: ListRegs + ?Sized>(
        &mut self,
        v: usize,
        offset: u32,
        value: u32,
        lrs: &mut L,
    ) -> Result<Kick, Refused> {
        let v3 = self.config.version == Version::V3;
        if let Some(reg) = Bitmap::at(offset) {
            let w = (offset & 0x7f) as usize / 4;
            if w >= self.words || v3 && w == 0 {
                return Ok(Kick::NONE);
            }
            return Ok(self.write_bitmap(v, v, w, reg, value, lrs));
        }
        let n = (offset & 0x3ff) as usize;
        let mut kick = Kick::NONE;
        match offset {
            CTLR => kick = self.write_ctlr(v, value, lrs),
            0x004 | 0x008 => {} // read-only
            0x010 if v3 => {}
            PRIORITY..TARGETS if v3 && n < 32 => {}
            PRIORITY..TARGETS => {
                for (i, byte) in value.to_le_bytes().into_iter().enumerate() {
                    kick = kick.and(self.write_priority(v, v, n + i, byte, lrs));
                }
            }
            TARGETS..CONFIG if v3 => {}
            TARGETS..CONFIG => {
                for (i, byte) in value.to_le_bytes().into_iter().enumerate() {
                    kick = kick.and(self.write_target(n + i, byte));
                }
            }
            CONFIG..GRPMOD if v3 && n < 8 => {}
            CONFIG..GRPMOD => kick = self.write_config(v, v, n * 4, value, lrs),
            GRPMOD..0xd80 if v3 => {}
            NSACR..SGIR => {}
            SGIR => {}
            CPENDSGI..0xf30 if v3 => {}
            CPENDSGI..0xf30 => {
                for (i, byte) in value.to_le_bytes().into_iter().enumerate() {
                    kick = kick.and(self.write_sgi_pending(v, offset + i as u32, byte, lrs));
                }
            }
            ROUTER..0x8000 if v3 => {
                let shift = 8 * (offset & 4);
                let old = self.read_router(offset & !7);
                let new = old & !(0xffff_ffff << shift) | u64::from(value) << shift;
                kick = self.write_router(offset & !7, new);
            }
            _ if self.config.constant_dist(offset, Size::Word).is_some() => {}
            _ => return Err(Refused::Reserved),
        }
        Ok(kick)
    }

    /// GICD_CTLR: bits 0 and 1 enable groups 0 and 1.
    fn write_ctlr<L: ListRegs + ?Sized>(&mut self, v: usize, value: u32, lrs: &mut L) -> Kick {
        if self.enables == value & 3 {
            return Kick::NONE;
        }
        let kick = self.fold(v, lrs);
        self.vcpus[v].dirty = true;
        self.enables = value & 3;
        self.vcpus[v].rest = Rest::Shared(32);
        kick
    }

    /// GICD_ITARGETSR byte: private interrupts are banked and name the reader; a uniprocessor has none.
    fn read_target(&self, v: usize, intid: usize) -> u8 {
        if self.vcpus.len() == 1 {
            0
        } else if intid < 32 {
            1 << v
        } else {
            self.route.get(intid - 32).map_or(0, |r| *r as u8)
        }
    }

    /// Of several targets the lowest gets it: the 1-of-N choice is the implementation's.
    fn write_target(&mut self, intid: usize, value: u8) -> Kick {
        let value = value & (0xffu16 >> (8 - self.vcpus.len().min(8))) as u8;
        if intid < 32 || intid - 32 >= self.route.len() || self.vcpus.len() == 1 {
            return Kick::NONE;
        }
        self.route[intid - 32] = u32::from(value);
        let to = if value == 0 {
            NOBODY
        } else {
            value.trailing_zeros() as u8
        };
        self.retarget(intid, to)
    }

    /// GICD_IROUTER by its offset; those below INTID 32 and beyond the last are reserved.
    fn read_router(&self, offset: u32) -> u64 {
        let n = ((offset - ROUTER) / 8) as usize;
        let packed = n
            .checked_sub(32)
            .and_then(|n| self.route.get(n))
            .map_or(0, |r| u64::from(*r));
        packed & 0xff_ffff | (packed & 0xff00_0000) << 8
    }

    fn write_router(&mut self, offset: u32, value: u64) -> Kick {
        let n = ((offset - ROUTER) / 8) as usize;
        let value = value & AFFINITY;
        if n < 32 || n - 32 >= self.route.len() {
            return Kick::NONE;
        }
        self.route[n - 32] = (value & 0xff_ffff | value >> 8 & 0xff00_0000) as u32;
        let to = self.config.by_mpidr(value).map_or(NOBODY, |v| v as u8);
        self.retarget(n, to)
    }

    /// Routes shared interrupt `intid` to `to`. A pending one moves; an active one stays until it is ended.
    fn retarget(&mut self, intid: usize, to: u8) -> Kick {
        let (w, m) = super::cpu::split(intid as u16);
        if self.target[intid - 32] == to {
            return Kick::NONE;
        }
        self.set_target(intid - 32, to);
        self.changed(0, w, m)
    }

    /// CPENDSGIR and SPENDSGIR (GICv2): who has SGI `n` pending for `v`.
    fn sgi_sources<L: ListRegs + ?Sized>(&self, v: usize, n: usize, lrs: &L) -> u8 {
        let vcpu = &self.vcpus[v];
        let mut sources = vcpu.sgi_src[n & 15];
        for i in bits(vcpu.used as u32) {
            let lr = if vcpu.lr[i] as usize == n {
                lrs.read(i)
            } else {
                continue;
            };
            if lr.is_pending() {
                sources |= 1 << lr.source();
            }
        }
        sources
    }

    fn write_sgi_pending<L: ListRegs + ?Sized>(
        &mut self,
        v: usize,
        offset: u32,
        sources: u8,
        lrs: &mut L,
    ) -> Kick {
        let n = (offset & 15) as usize;
        let sources = sources & (0xffu16 >> (8 - self.vcpus.len().min(8))) as u8;
        if sources == 0 {
            return Kick::NONE;
        }
        let kick = self.fold(v, lrs);
        let vcpu = &mut self.vcpus[v];
        vcpu.dirty = true;
        if offset < SPENDSGI {
            vcpu.sgi_src[n] &= !sources;
        } else {
            vcpu.sgi_src[n] |= sources;
        }
        if vcpu.sgi_src[n] == 0 {
            vcpu.bank.latch &= !(1 << n);
        } else {
            vcpu.bank.latch |= 1 << n;
        }
        kick.and(self.refresh(v, 0, 1 << n))
    }
}
