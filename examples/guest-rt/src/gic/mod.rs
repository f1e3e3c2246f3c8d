//! The interrupt controller, GICv2 or GICv3, whichever the device tree names.
//!
//! The two share the layout of the distributor's registers; [`Gic`] hides where an interrupt's registers are (for
//! SGIs and PPIs a GICv3 has them in each CPU's redistributor) and how a CPU acknowledges. Interrupts are group 0 on
//! GICv2 and group 1 on GICv3, so both arrive as IRQ. Each CPU calls [`Gic::init_cpu`] before it takes any.
//! Sources: Arm IHI 0048B (GICv2), IHI 0069 (GICv3).
use crate::machine;
use crate::machine::GicNode;
use crate::mmio::Window;

pub mod v2;
pub mod v3;

/// Offsets of distributor registers (and of the same ones in a redistributor's SGI frame).
pub mod reg {
    /// Control.
    pub const CTLR: usize = 0x000;
    /// What there is.
    pub const TYPER: usize = 0x004;
    /// Group, one bit each.
    pub const IGROUPR: usize = 0x080;
    /// Set enable.
    pub const ISENABLER: usize = 0x100;
    /// Clear enable.
    pub const ICENABLER: usize = 0x180;
    /// Set pending.
    pub const ISPENDR: usize = 0x200;
    /// Clear pending.
    pub const ICPENDR: usize = 0x280;
    /// Set active.
    pub const ISACTIVER: usize = 0x300;
    /// Clear active.
    pub const ICACTIVER: usize = 0x380;
    /// Priority, a byte each.
    pub const IPRIORITYR: usize = 0x400;
    /// GICv2: target CPUs, a byte each.
    pub const ITARGETSR: usize = 0x800;
    /// Level or edge, two bits each.
    pub const ICFGR: usize = 0xc00;
    /// GICv2: send an SGI.
    pub const SGIR: usize = 0xf00;
    /// GICv3: affinity routing, 64 bits each.
    pub const IROUTER: usize = 0x6000;
}

/// Nothing pending that this CPU may take now.
pub const SPURIOUS: u32 = 1023;
/// Priority that [`Gic::init_distributor`] gives every interrupt.
pub const DEFAULT_PRIORITY: u8 = 0xa0;

/// Whom an SGI goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The CPU with this index.
    Cpu(usize),
    /// All but this one.
    Others,
}

/// The interrupt controller.
#[derive(Clone, Copy, Debug)]
pub enum Gic {
    /// GICv2.
    V2(v2::V2),
    /// GICv3.
    V3(v3::V3),
}

/// The machine's GIC, if the device tree has one.
pub fn find() -> Option<Gic> {
    let window = |range: machine::Range| {
        // SAFETY: the device tree says that these addresses are the GIC's registers.
        unsafe { Window::new(range.base as usize, range.size as usize) }
    };
    Some(match crate::machine().gic? {
        GicNode::V2 { dist, cpu } => Gic::V2(v2::V2 {
            dist: window(dist),
            cpu: window(cpu),
        }),
        GicNode::V3 { dist, redist } => Gic::V3(v3::V3 {
            dist: window(dist),
            redist: window(redist),
        }),
    })
}

impl Gic {
    /// 2 or 3.
    pub fn version(&self) -> u8 {
        match self {
            Gic::V2(_) => 2,
            Gic::V3(_) => 3,
        }
    }

    /// The distributor.
    pub fn dist(&self) -> Window {
        match self {
            Gic::V2(g) => g.dist,
            Gic::V3(g) => g.dist,
        }
    }

    /// Where the registers of `intid` are: the distributor, or this CPU's redistributor.
    pub fn frame(&self, intid: u32) -> Window {
        match self {
            Gic::V3(g) if intid < 32 => g.sgi_frame(),
            _ => self.dist(),
        }
    }

    /// How many INTIDs the distributor has.
    pub fn lines(&self) -> u32 {
        ((self.dist().read32(reg::TYPER) & 0x1f) + 1) * 32
    }

    /// Every SPI disabled, not pending, level, default priority, to the boot CPU; forwarding on. Boot CPU only.
    pub fn init_distributor(&self) {
        let dist = self.dist();
        let lines = self.lines().min(1020);
        dist.write32(reg::CTLR, 0);
        for intid in (32..lines).step_by(32) {
            let word = (intid / 32 * 4) as usize;
            dist.write32(reg::ICENABLER + word, u32::MAX);
            dist.write32(reg::ICPENDR + word, u32::MAX);
            dist.write32(reg::ICACTIVER + word, u32::MAX);
            dist.write32(
                reg::IGROUPR + word,
                if self.version() == 3 { u32::MAX } else { 0 },
            );
        }
        for intid in (32..lines).step_by(4) {
            dist.write32(
                reg::IPRIORITYR + intid as usize,
                u32::from_ne_bytes([DEFAULT_PRIORITY; 4]),
            );
        }
        match self {
            Gic::V2(g) => g.enable_distributor(),
            Gic::V3(g) => g.enable_distributor(),
        }
        for intid in 32..lines {
            self.route(intid, 0);
        }
    }

    /// This CPU's private interrupts disabled and at default priority; all priorities accepted; signalling on.
    pub fn init_cpu(&self) {
        if let Gic::V3(g) = self {
            g.wake_redistributor();
        }
        let frame = self.frame(0);
        frame.write32(reg::ICENABLER, 0xffff_0000);
        frame.write32(reg::ICPENDR, 0xffff_0000);
        frame.write32(reg::ICACTIVER, u32::MAX);
        frame.write32(reg::ISENABLER, 0xffff);
        frame.write32(reg::IGROUPR, if self.version() == 3 { u32::MAX } else { 0 });
        for intid in (0..32).step_by(4) {
            frame.write32(
                reg::IPRIORITYR + intid,
                u32::from_ne_bytes([DEFAULT_PRIORITY; 4]),
            );
        }
        match self {
            Gic::V2(g) => g.enable_cpu(),
            Gic::V3(g) => g.enable_cpu(),
        }
    }

    fn bit(&self, intid: u32, register: usize) -> bool {
        self.frame(intid)
            .read32(register + (intid / 32 * 4) as usize)
            & 1 << (intid % 32)
            != 0
    }

    fn write_bit(&self, intid: u32, register: usize) {
        self.frame(intid)
            .write32(register + (intid / 32 * 4) as usize, 1 << (intid % 32));
    }

    /// Enables.
    pub fn enable(&self, intid: u32) {
        self.write_bit(intid, reg::ISENABLER);
    }

    /// Disables; the change has reached every CPU when this returns.
    pub fn disable(&self, intid: u32) {
        self.write_bit(intid, reg::ICENABLER);
        self.settle(intid);
    }

    /// Waits for a write to the distributor to have effect (GICv3's RWP).
    pub fn settle(&self, intid: u32) {
        if let Gic::V3(g) = self {
            g.wait_rwp(intid);
        }
    }

    /// Is it enabled?
    pub fn is_enabled(&self, intid: u32) -> bool {
        self.bit(intid, reg::ISENABLER)
    }

    /// Makes it pending.
    pub fn set_pending(&self, intid: u32) {
        self.write_bit(intid, reg::ISPENDR);
    }

    /// Takes software's pending state away.
    pub fn clear_pending(&self, intid: u32) {
        self.write_bit(intid, reg::ICPENDR);
    }

    /// Is it pending?
    pub fn is_pending(&self, intid: u32) -> bool {
        self.bit(intid, reg::ISPENDR)
    }

    /// Makes it active.
    pub fn set_active(&self, intid: u32) {
        self.write_bit(intid, reg::ISACTIVER);
    }

    /// Makes it inactive.
    pub fn clear_active(&self, intid: u32) {
        self.write_bit(intid, reg::ICACTIVER);
    }

    /// Is it active?
    pub fn is_active(&self, intid: u32) -> bool {
        self.bit(intid, reg::ISACTIVER)
    }

    /// Sets the priority; lower is more urgent.
    pub fn set_priority(&self, intid: u32, priority: u8) {
        self.frame(intid)
            .write8(reg::IPRIORITYR + intid as usize, priority);
    }

    /// The priority.
    pub fn priority(&self, intid: u32) -> u8 {
        self.frame(intid).read8(reg::IPRIORITYR + intid as usize)
    }

    /// Edge-triggered or level-sensitive. The interrupt must be disabled.
    pub fn set_edge(&self, intid: u32, edge: bool) {
        let (frame, at) = (self.frame(intid), reg::ICFGR + (intid / 16 * 4) as usize);
        let bit = 2 << (intid % 16 * 2);
        let old = frame.read32(at);
        frame.write32(at, if edge { old | bit } else { old & !bit });
    }

    /// Sends an SPI to a CPU.
    pub fn route(&self, spi: u32, cpu: usize) {
        match self {
            Gic::V2(g) => g.route(spi, cpu),
            Gic::V3(g) => g.route(spi, cpu),
        }
    }

    /// Sends an SGI (0-15).
    pub fn send_sgi(&self, sgi: u32, target: Target) {
        match self {
            Gic::V2(g) => g.send_sgi(sgi, target),
            Gic::V3(g) => g.send_sgi(sgi, target),
        }
    }

    /// Acknowledges: the INTID (GICv2: with an SGI's source CPU in bits 12:10), or 1020-1023.
    pub fn ack(&self) -> u32 {
        match self {
            Gic::V2(g) => g.cpu.read32(v2::IAR),
            Gic::V3(_) => v3::iar(),
        }
    }

    /// Ends what [`Gic::ack`] returned: priority drop, and deactivation unless [`Gic::set_split_eoi`].
    pub fn eoi(&self, ack: u32) {
        match self {
            Gic::V2(g) => g.cpu.write32(v2::EOIR, ack),
            Gic::V3(_) => v3::eoi(ack),
        }
    }

    /// Deactivates what [`Gic::ack`] returned.
    pub fn deactivate(&self, ack: u32) {
        match self {
            Gic::V2(g) => g.cpu.write32(v2::DIR, ack),
            Gic::V3(_) => v3::deactivate(ack),
        }
    }

    /// EOI mode 1: `eoi` only drops the priority.
    pub fn set_split_eoi(&self, split: bool) {
        match self {
            Gic::V2(g) => g.set_split_eoi(split),
            Gic::V3(_) => v3::set_split_eoi(split),
        }
    }

    /// Only interrupts more urgent than this are signalled.
    pub fn set_priority_mask(&self, mask: u8) {
        match self {
            Gic::V2(g) => g.cpu.write32(v2::PMR, u32::from(mask)),
            Gic::V3(_) => v3::set_pmr(mask),
        }
    }

    /// The priority mask.
    pub fn priority_mask(&self) -> u8 {
        match self {
            Gic::V2(g) => g.cpu.read32(v2::PMR) as u8,
            Gic::V3(_) => v3::pmr(),
        }
    }

    /// The running priority; 0xff when idle (read-back has as many bits as are implemented).
    pub fn running_priority(&self) -> u8 {
        match self {
            Gic::V2(g) => g.cpu.read32(v2::RPR) as u8,
            Gic::V3(_) => v3::rpr(),
        }
    }

    /// The most urgent pending interrupt, without acknowledging it.
    pub fn highest_pending(&self) -> u32 {
        match self {
            Gic::V2(g) => g.cpu.read32(v2::HPPIR),
            Gic::V3(_) => v3::hppir(),
        }
    }

    /// Signals this CPU's interrupts (their group) or not.
    pub fn set_cpu_enable(&self, on: bool) {
        match self {
            Gic::V2(g) => g.set_cpu_enable(on),
            Gic::V3(_) => v3::set_group_enable(on),
        }
    }

    /// Forwards interrupts of our group from the distributor, or not.
    pub fn set_distributor_enable(&self, on: bool) {
        match self {
            Gic::V2(g) => g.dist.write32(reg::CTLR, u32::from(on)),
            Gic::V3(g) => g.set_distributor_enable(on),
        }
    }
}
