//! List registers as values, and the trait over the place that holds them.
//!
//! [`ListReg`] uses the GICv3 encoding (IHI0069 ICH_LR<n>_EL2); the GICv2 driver converts to GICH_LR, whose
//! fields are a subset. For a GICv2 guest bits 12:10 of the virtual INTID of an SGI carry the source CPU, as in both
//! hardware formats. [`LrFile`] keeps list registers in memory, for tests and for vCPUs that are not loaded.

/// Most list registers an implementation has.
pub const MAX_LRS: usize = 16;

/// Some of the list registers, bit n standing for register n.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LrSet(pub u16);

/// One list register, in the encoding of ICH_LR<n>_EL2.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ListReg(pub u64);

impl ListReg {
    /// Holds nothing.
    pub const EMPTY: ListReg = ListReg(0);
    /// State: pending.
    pub const PENDING: u64 = 1 << 62;
    /// State: active.
    pub const ACTIVE: u64 = 1 << 63;
    /// Linked to a physical interrupt.
    pub const HW: u64 = 1 << 61;
    /// Group 1.
    pub const GROUP1: u64 = 1 << 60;
    /// Asks for a maintenance interrupt when it becomes inactive (only without HW).
    pub const EOI: u64 = 1 << 41;

    /// The virtual INTID, without the source of an SGI.
    pub const fn intid(self) -> u16 {
        (self.0 & 0x3ff) as u16
    }

    /// The CPU an SGI of a GICv2 guest comes from.
    pub const fn source(self) -> u8 {
        (self.0 >> 10 & 7) as u8
    }

    /// Priority, 0 the highest.
    pub const fn priority(self) -> u8 {
        (self.0 >> 48) as u8
    }

    /// Physical INTID; meaningful only with HW.
    pub const fn pintid(self) -> u16 {
        (self.0 >> 32 & 0x3ff) as u16
    }

    /// Whether the state includes pending.
    pub const fn is_pending(self) -> bool {
        self.0 & Self::PENDING != 0
    }

    /// Whether the state includes active.
    pub const fn is_active(self) -> bool {
        self.0 & Self::ACTIVE != 0
    }

    /// Whether any of `bits` is set.
    pub const fn has(self, bits: u64) -> bool {
        self.0 & bits != 0
    }

    /// Neither pending nor active.
    pub const fn is_invalid(self) -> bool {
        self.0 & (Self::PENDING | Self::ACTIVE) == 0
    }

    /// The register can be reused: nothing in it, and no EOI maintenance interrupt owed.
    pub const fn is_free(self) -> bool {
        self.is_invalid() && (self.has(Self::HW) || !self.has(Self::EOI))
    }
}

/// Which maintenance interrupts a vCPU wants: the enable bits of ICH_HCR_EL2 or GICH_HCR. The driver adds En and,
/// always, nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Maintenance {
    /// NPIE: when no list register is pending, because more interrupts wait in the model.
    pub npie: bool,
    /// LRENPIE: when the guest ends an interrupt that is in no list register (EOIcount is not zero).
    pub lrenpie: bool,
    /// TDIR: trap ICC_DIR_EL1 (GICv3 only), since active interrupts are outside the list registers.
    pub trap_dir: bool,
}

impl Maintenance {
    /// None.
    pub const NONE: Maintenance = Maintenance {
        npie: false,
        lrenpie: false,
        trap_dir: false,
    };
}

/// The list registers that a vCPU's interrupts are delivered through: those of the CPU it is loaded on.
///
/// `drivers` implements it over ICH_* or GICH_*, [`LrFile`] over memory.
pub trait ListRegs {
    /// How many there are, 1 to 16.
    fn count(&self) -> usize;
    /// ICH_ELRSR: those that hold neither an interrupt nor an owed EOI maintenance interrupt. Bits of registers that
    /// do not exist are ignored.
    fn empty(&self) -> LrSet;
    /// Register `n`.
    fn read(&self, n: usize) -> ListReg;
    /// Writes register `n`.
    fn write(&mut self, n: usize, lr: ListReg);
    /// Sets which maintenance interrupts are wanted; only called when that changes.
    fn maintenance(&mut self, want: Maintenance);
    /// EOIcount, which becomes zero. Only called while `lrenpie` is wanted.
    fn take_eoi_count(&mut self) -> u32;
}

/// List registers in memory.
#[derive(Clone, Debug)]
pub struct LrFile {
    /// The registers.
    pub lrs: [ListReg; MAX_LRS],
    /// How many are used, 1 to 16.
    pub count: usize,
    /// What is wanted now.
    pub want: Maintenance,
    /// EOIcount.
    pub eoi_count: u32,
}

impl LrFile {
    /// `count` (1 to 16, clamped) empty list registers.
    pub const fn new(count: usize) -> LrFile {
        let count = if count == 0 {
            1
        } else if count > MAX_LRS {
            MAX_LRS
        } else {
            count
        };
        LrFile {
            lrs: [ListReg::EMPTY; MAX_LRS],
            count,
            want: Maintenance::NONE,
            eoi_count: 0,
        }
    }
}

impl ListRegs for LrFile {
    fn count(&self) -> usize {
        self.count
    }

    fn empty(&self) -> LrSet {
        let mut set = 0;
        for (n, lr) in self.lrs.iter().enumerate().take(self.count) {
            set |= (lr.is_free() as u16) << n;
        }
        LrSet(set)
    }

    fn read(&self, n: usize) -> ListReg {
        self.lrs[n]
    }

    fn write(&mut self, n: usize, lr: ListReg) {
        self.lrs[n] = lr;
    }

    fn maintenance(&mut self, want: Maintenance) {
        self.want = want;
    }

    fn take_eoi_count(&mut self) -> u32 {
        core::mem::take(&mut self.eoi_count)
    }
}
