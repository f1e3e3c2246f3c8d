//! The distributor of a GICv3: everything about SPIs and extended SPIs, under one short lock.
//!
//! arm-gic's `GicDistributor` does the settings it knows; pending and active states it does not. Source: IHI 0069H.

use super::{FIRST_SPI, GicError, PRIORITIES, wait};
use crate::{Mmio, MmioError};
use arm_gic::{
    IntId, Trigger as GicTrigger, UniqueMmioPointer,
    gicv3::{
        GicDistributor,
        registers::{Gicd, GicdCtlr},
    },
};
use safe_mmio::{field, field_shared};
use spin::mutex::TicketMutex;
use tarn_board::Trigger;

type Regs = UniqueMmioPointer<'static, Gicd>;

/// GICD_CTLR.ARE_NS (or .ARE) where we see it, and Group 1 with it. In the view of one security state and in the
/// Non-secure view of two these are the same bits (section 12.9.4), which arm-gic names as the Secure view does.
const ARE: GicdCtlr = GicdCtlr::ARE_S;
const GROUP1: GicdCtlr = GicdCtlr::EnableGrp1NS;

/// The distributor.
pub(super) struct Dist(TicketMutex<Regs>);

/// An implemented shared interrupt: its register and bit in a file of one bit an interrupt, normal or extended.
struct Spi {
    id: IntId,
    extended: bool,
    word: usize,
    bit: u32,
}

/// `write!(d, spi, normal register file, extended register file)`: sets the interrupt's bit.
macro_rules! write {
    ($d:expr, $spi:expr, $reg:ident, $reg_e:ident) => {{
        let reg = if $spi.extended {
            field!($d, $reg_e).take($spi.word)
        } else {
            field!($d, $reg).take($spi.word)
        };
        if let Some(mut reg) = reg {
            reg.write($spi.bit);
        }
    }};
}

/// `read!(d, spi, normal register file, extended register file)`: whether the interrupt's bit is set.
macro_rules! read {
    ($d:expr, $spi:expr, $reg:ident, $reg_e:ident) => {{
        let regs = if $spi.extended {
            field_shared!($d, $reg_e)
        } else {
            field_shared!($d, $reg)
        };
        regs.get($spi.word)
            .is_some_and(|r| r.read() & $spi.bit != 0)
    }};
}

impl Dist {
    pub(super) fn new(gicd: Mmio) -> Result<Dist, MmioError> {
        Ok(Dist(TicketMutex::new(gicd.unique()?)))
    }

    pub(super) fn lines(&self) -> u32 {
        let spis = field_shared!(self.0.lock(), typer).read().num_spis();
        spis.saturating_add(FIRST_SPI).min(1020)
    }

    pub(super) fn init(&self) -> Result<(), GicError> {
        let mut d = self.0.lock();
        let revision = field_shared!(d, pidr2).read().arch_rev();
        if !(3..=4).contains(&revision) {
            return Err(GicError::NotV3 { revision });
        }
        // Groups off before anything changes: settings of an enabled group may not be changed (section 12.9.4).
        field!(d, ctlr).write(GicdCtlr::empty());
        quiet(&d)?;
        field!(d, ctlr).write(ARE);
        quiet(&d)?;
        let typer = field_shared!(d, typer).read();
        let spi_words = typer.num_spis().div_ceil(32) as usize;
        let espi_words = typer.num_espis().div_ceil(32) as usize;
        // `fill!(register, of the extended SPIs, registers for 32 interrupts, value)`; SPIs begin at word 1. What is
        // beyond the layout does not exist.
        macro_rules! fill {
            ($reg:ident, $reg_e:ident, $per_word:literal, $value:expr) => {
                let mut regs = field!(d, $reg);
                for i in $per_word..(1 + spi_words) * $per_word {
                    if let Some(mut r) = regs.get(i) {
                        r.write($value);
                    }
                }
                let mut regs = field!(d, $reg_e);
                for i in 0..espi_words * $per_word {
                    if let Some(mut r) = regs.get(i) {
                        r.write($value);
                    }
                }
            };
        }
        fill!(icenabler, icenabler_e, 1, !0);
        quiet(&d)?;
        fill!(icpendr, icpendr_e, 1, !0);
        fill!(icactiver, icactive_e, 1, !0);
        fill!(igroupr, igroupr_e, 1, !0);
        fill!(igrpmodr, igrpmodr_e, 1, 0);
        fill!(ipriorityr, ipriorityr_e, 8, PRIORITIES);
        fill!(icfgr, icfgr_e, 2, 0);
        field!(d, ctlr).write(ARE | GROUP1);
        quiet(&d)
    }

    /// An INTID, checked against what this distributor implements.
    fn spi(d: &Regs, intid: u32) -> Result<Spi, GicError> {
        let bad = GicError::BadIntId(intid);
        let id = IntId::try_from(intid).map_err(|_| bad)?;
        let typer = field_shared!(d, typer).read();
        let (extended, i) = if let Some(i) = id.spi_index() {
            if i as u32 >= typer.num_spis() {
                return Err(bad);
            }
            (false, intid as usize)
        } else if let Some(i) = id.espi_index() {
            if i as u32 >= typer.num_espis() {
                return Err(bad);
            }
            (true, i)
        } else {
            return Err(bad);
        };
        Ok(Spi {
            id,
            extended,
            word: i / 32,
            bit: 1 << (i % 32),
        })
    }

    /// Has arm-gic's driver do `f` for an SPI.
    fn configure(
        &self,
        intid: u32,
        f: impl FnOnce(&mut GicDistributor<'_>, IntId) -> Result<(), arm_gic::gicv3::GicError>,
    ) -> Result<(), GicError> {
        let mut d = self.0.lock();
        let spi = Self::spi(&d, intid)?;
        f(&mut GicDistributor::new(d.reborrow()), spi.id).map_err(|_| GicError::BadIntId(intid))
    }

    pub(super) fn enable(&self, intid: u32, mpidr: u64) -> Result<(), GicError> {
        self.configure(intid, |d, id| {
            d.set_routing(id, Some(mpidr))?;
            d.enable_interrupt(id, true)
        })
    }

    pub(super) fn disable(&self, intid: u32) -> Result<(), GicError> {
        self.configure(intid, |d, id| d.enable_interrupt(id, false))?;
        quiet(&self.0.lock())
    }

    pub(super) fn route(&self, intid: u32, mpidr: u64) -> Result<(), GicError> {
        self.configure(intid, |d, id| d.set_routing(id, Some(mpidr)))
    }

    pub(super) fn set_priority(&self, intid: u32, priority: u8) -> Result<(), GicError> {
        self.configure(intid, |d, id| d.set_interrupt_priority(id, priority))
    }

    pub(super) fn set_trigger(&self, intid: u32, trigger: Trigger) -> Result<(), GicError> {
        let trigger = match trigger {
            Trigger::Edge => GicTrigger::Edge,
            Trigger::Level => GicTrigger::Level,
        };
        self.configure(intid, |d, id| d.set_trigger(id, trigger))
    }

    pub(super) fn set_active(&self, intid: u32, active: bool) -> Result<(), GicError> {
        let mut d = self.0.lock();
        let spi = Self::spi(&d, intid)?;
        if active {
            write!(d, spi, isactiver, isactiver_e);
        } else {
            write!(d, spi, icactiver, icactive_e);
        }
        Ok(())
    }

    pub(super) fn is_active(&self, intid: u32) -> Result<bool, GicError> {
        let d = self.0.lock();
        let spi = Self::spi(&d, intid)?;
        Ok(read!(d, spi, isactiver, isactiver_e))
    }

    pub(super) fn set_pending(&self, intid: u32, pending: bool) -> Result<(), GicError> {
        let mut d = self.0.lock();
        let spi = Self::spi(&d, intid)?;
        if pending {
            write!(d, spi, ispendr, ispendr_e);
        } else {
            write!(d, spi, icpendr, icpendr_e);
        }
        Ok(())
    }

    pub(super) fn is_pending(&self, intid: u32) -> Result<bool, GicError> {
        let d = self.0.lock();
        let spi = Self::spi(&d, intid)?;
        Ok(read!(d, spi, ispendr, ispendr_e))
    }
}

/// Waits until the distributor has done what was written (GICD_CTLR.RWP).
fn quiet(d: &Regs) -> Result<(), GicError> {
    wait("a distributor write", || {
        !field_shared!(d, ctlr).read().contains(GicdCtlr::RWP)
    })
}
