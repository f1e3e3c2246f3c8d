//! Area 0x06: what a domain may ask for itself: its own vCPU's scheduling, its own counters and times.
//!
//! Nothing here names another domain or vCPU, so nothing can be learnt of them but whether the other end of a doorbell
//! lives. The two memory layouts that go with the
//! calls are `page` (registered by `SetPage`) and `times` (its address by Arm's PV_TIME_ST call, DEN0057).

use super::wire::area;
use super::{Counter, vcpu::RunTimes};

/// The counters of boosts, of a domain, a vCPU or a group, in the order in which they are listed: grants by cause (G1 to G6),
/// ends by cause (D1 to D6), ends for want of credit while somebody waited, interrupts of storming lines, such lines.
pub const BOOSTS: [&str; 15] = [
    "boost-interrupt-asleep",
    "boost-interrupt-running",
    "boost-guest-asked",
    "boost-armed",
    "boost-irqs-masked",
    "boost-refill",
    "end-spent",
    "end-interval",
    "end-handler-returned",
    "end-unmasked",
    "end-asked",
    "end-block-or-yield",
    "spent-while-others-wait",
    "storm-held",
    "storm-lines",
];

/// The boost page: 64 bytes of the guest's own RAM, aligned to 64, in memory that it maps as normal write-back. Fields
/// are 32-bit, little-endian.
///
/// To leave a stretch that must not be interrupted: write 0 to `DONT_DESCHED`, `dmb ish`, read `DEBOOST_WANTED`; if it is
/// not 0, call `Deboost` (or `Yield`).
pub mod page {
    /// Bytes, and alignment.
    pub const SIZE: u64 = 64;
    /// Written by the guest: bit 0 set = please do not deschedule this vCPU now.
    pub const DONT_DESCHED: u64 = 0x00;
    /// Written by Tarn: 1 while the vCPU is boosted.
    pub const BOOSTED: u64 = 0x04;
    /// Written by Tarn: 1 while somebody waits for the end of this vCPU's boost.
    pub const DEBOOST_WANTED: u64 = 0x08;
}

/// The time area: one structure a vCPU, read-only for the guest. Fields are 64-bit, little-endian, as of the moment the
/// vCPU was last put on a CPU (one that sleeps and wakes while nobody else wants its CPU stays on it). Tarn's clock
/// counts ns since it started.
pub mod times {
    /// Bytes from one vCPU's structure to the next one's.
    pub const STRIDE: u64 = 128;
    /// Arm DEN0057 3.2.2: revision (u32) and attributes (u32), both 0.
    pub const REVISION: u64 = 0x00;
    /// Arm DEN0057 3.2.2: ns the vCPU could have run but had no CPU.
    pub const STOLEN: u64 = 0x08;
    /// When the vCPU was put on its CPU, ns of Tarn's clock.
    pub const SINCE: u64 = 0x40;
    /// ns spent running, runnable, blocked, paused, off: five fields.
    pub const STATES: u64 = 0x48;
}

area! {
    /// A domain's own affairs.
    GuestCall = 0x06;
    /// Lets others run: the calling vCPU goes behind those of its kind, and is boosted no longer.
    Yield = 0x00, Anyone {} -> ();
    /// Gives up the calling vCPU's boost; it goes on if it ranks first even so.
    Deboost = 0x01, Anyone {} -> ();
    /// Registers the 64 bytes at this guest-physical address as the calling vCPU's boost page: from then on it counts as
    /// enlightened. All ones takes it back. `Invalid` unless aligned to 64, `NoSuch` unless RAM of the caller. Gone
    /// after PSCI CPU_ON and reset.
    SetPage = 0x02, Anyone {
        /// Where.
        address: u64,
    } -> ();
    /// The caller's own counters: exits by reason, boosts granted and ended by cause. Ends with `End`.
    Counters = 0x03, Anyone {
        /// From 0 on.
        index: u32,
    } -> Counter;
    /// The time one of the caller's vCPUs has spent in each state. Ends with `End`.
    Runstate = 0x04, Anyone {
        /// Its number in the domain, from 0 on.
        index: u32,
    } -> RunTimes;
    /// Rings a doorbell: the domain at its other end gets an interrupt. Rings before that has been taken are one. `NoSuch`
    /// unless the caller's domain has such a port, `Busy` while the other domain does not live.
    Ring = 0x05, Anyone {
        /// The caller's own number of it, as its device tree says (`tarn,port`).
        port: u32,
    } -> ();
}
