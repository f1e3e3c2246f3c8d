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

    /// Value of counter number `i`.
    pub fn get(&self, i: usize) -> Option<u64> {
        self.0.get(i).map(|c| c.load(Ordering::Relaxed))
    }
}
