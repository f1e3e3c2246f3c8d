//! Why guests came to EL2, counted per vCPU; sums are made when somebody asks.
//!
//! Only the CPU that runs a vCPU writes its counters, so an increment is a load and a store.

use core::sync::atomic::{AtomicU64, Ordering};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A reason.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(usize)]
        pub enum Kind {
            $($(#[$doc])* $name,)*
        }

        /// Names, by number.
        pub const NAMES: &[&str] = &[$($text,)*];
    };
}

kinds! {
    /// Physical interrupt.
    Irq = "exit-irq",
    /// WFI or WFE.
    Wfx = "exit-wfx",
    /// HVC: PSCI, SMCCC, Tarn's calls.
    Hvc = "exit-hvc",
    /// SMC.
    Smc = "exit-smc",
    /// Calls answered by the vector alone.
    FastCall = "exit-fast-call",
    /// System register.
    Sysreg = "exit-sysreg",
    /// ID register.
    IdReg = "exit-id-register",
    /// SGI generated.
    Sgi = "exit-sgi",
    /// GIC distributor or redistributor.
    Gic = "exit-gic",
    /// UART.
    Uart = "exit-uart",
    /// Doorbell rung.
    Ring = "doorbell-rings",
    /// Of those, towards a domain that does not live.
    RingUnheard = "doorbell-unheard",
    /// Access to nothing: external abort injected.
    BadAccess = "fault-bad-access",
    /// UNDEF injected.
    Undef = "fault-undefined",
    /// Unknown hypervisor, PSCI or SMCCC call.
    UnknownCall = "call-unknown",
    /// GIC access of a width or at a place that is reserved.
    GicReserved = "gic-reserved-access",
    /// Waited for room in the console.
    ConsoleWait = "console-wait",
    /// SError.
    Serror = "exit-serror",
    /// Loaded into a CPU.
    Switch = "switches",
    /// Virtual interrupts from the virtual timer.
    Vtimer = "irq-vtimer",
    /// Maintenance interrupts.
    Maintenance = "irq-maintenance",
    /// Nanoseconds in steps of accesses that were too much for one piece, with a look for interrupts after each.
    StepNs = "step-ns",
    /// The longest of these steps, ns: of several vCPUs the longest counts.
    StepLongest = "step-longest-ns",
}

/// A counter for each reason.
pub struct Counters([AtomicU64; NAMES.len()]);

impl Counters {
    /// All zero.
    pub fn new() -> Counters {
        Counters([const { AtomicU64::new(0) }; NAMES.len()])
    }

    /// One more; by the CPU that runs the vCPU only.
    #[inline(always)]
    pub fn add(&self, k: Kind) {
        self.add_n(k, 1);
    }

    /// `n` more.
    #[inline(always)]
    pub fn add_n(&self, k: Kind, n: u64) {
        let c = &self.0[k as usize];
        c.store(c.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// At least `n` from now on.
    #[inline]
    pub fn at_least(&self, k: Kind, n: u64) {
        let c = &self.0[k as usize];
        if c.load(Ordering::Relaxed) < n {
            c.store(n, Ordering::Relaxed);
        }
    }

    /// Value of counter number `i` for all of these vCPUs together, and what there is of others already.
    pub fn add_up<'a>(i: usize, others: u64, all: impl Iterator<Item = &'a Counters>) -> u64 {
        let values = all.filter_map(|c| c.get(i));
        if i == Kind::StepLongest as usize {
            values.fold(others, u64::max)
        } else {
            values.fold(others, u64::wrapping_add)
        }
    }

    /// Value of counter number `i`.
    fn get(&self, i: usize) -> Option<u64> {
        self.0.get(i).map(|c| c.load(Ordering::Relaxed))
    }
}
