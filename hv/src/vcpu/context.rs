//! The registers of a vCPU at rest, and how they get in and out of a CPU.
//!
//! Nothing else in the tree copies a guest's register file. List registers are folded into the domain's vGIC model when
//! a vCPU is saved and made anew when it is loaded, so a vCPU at rest has none.

use crate::arch::GuestFrame;
use crate::arch::el1::{El1State, FpState};
use crate::domain::build::Builder;
use crate::vcpu::page::BoostPage;
use crate::vgic::Rest;
use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, Ordering};
use drivers::CpuIfState;

/// PSTATE of a guest's first instruction: EL1h, D, A, I and F masked.
const PSTATE_RESET: u64 = 0x3c5;

/// A vCPU's registers.
pub struct Context {
    /// General registers, PC, PSTATE.
    pub frame: GuestFrame,
    /// System registers of EL1 and EL0.
    pub el1: El1State,
    /// FP/SIMD.
    pub fp: FpState,
    /// Virtual timer control and compare value.
    pub cntv: (u64, u64),
    /// Virtual CPU interface of the GIC.
    pub cpuif: CpuIfState,
    /// What its error synchronization would report (VDISR_EL2, with RAS).
    pub vdisr: u64,
    /// What the guest wrote to MDSCR_EL1, which traps.
    pub mdscr: u64,
    /// Work to be done in this vCPU's time before its first instruction: building its domain.
    pub work: Option<Builder>,
    /// What its last access left to be done before its next instruction.
    pub rest: Rest,
    /// The page it registered to tell how urgent it is.
    pub page: Option<BoostPage>,
    /// Which CPU's EL1 and FP registers may still hold this state, as `Context::tag`; 0 = none.
    pub home: u64,
    serial: u64,
}

impl Context {
    /// After reset; not startable until `start`.
    pub fn new(cpuif: CpuIfState) -> Box<Context> {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        Box::new(Context {
            frame: GuestFrame::ZERO,
            el1: El1State::RESET,
            fp: FpState::RESET,
            cntv: (0, 0),
            cpuif,
            vdisr: 0,
            mdscr: 0,
            work: None,
            rest: Rest::NOTHING,
            page: None,
            home: 0,
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// Puts the vCPU at `entry` with `context` in x0, all else as after reset (PSCI CPU_ON, 6.4.3).
    pub fn start(&mut self, entry: u64, context: u64, cpuif: CpuIfState) {
        self.frame = GuestFrame::ZERO;
        self.frame.x[0] = context;
        self.frame.elr = entry;
        self.frame.spsr = PSTATE_RESET;
        self.el1 = El1State::RESET;
        self.fp = FpState::RESET;
        self.cntv = (0, 0);
        self.cpuif = cpuif;
        self.vdisr = 0;
        self.mdscr = 0;
        self.rest = Rest::NOTHING;
        self.page = None;
        self.home = 0;
    }

    /// Names this context on CPU `cpu`: equal on both sides means that the CPU's registers still hold it.
    pub fn tag(&self, cpu: u16) -> u64 {
        self.serial << 16 | u64::from(cpu)
    }
}
