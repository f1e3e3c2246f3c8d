//! Area 0x00: the version, the machine, its counters, and ending it all.
//!
//! Version is the one call that every domain may make: it is how a guest finds out that it runs on Tarn.

use super::text::{Bytes, Label, Text};
use super::wire::{In, Out, area, replies, wire_enum};
use super::{AbiVersion, BASE, Caller, Counter, Reply, Request, Row};
use crate::errno::Errno;
use crate::id::{CpuId, DomainId, PoolId, VcpuId};
use crate::time::{Instant, Span};

/// Which versions the hypervisor and this interface have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {}

impl Request for Version {
    const NUMBER: u32 = BASE;
    const ROW: Row = Row {
        number: BASE,
        area: "Version",
        name: "Version",
        caller: Caller::Anyone,
        doc: &[" Which versions the hypervisor and this interface have."],
        args: &[],
        reply: VersionReply::FIELDS,
    };
    type Reply = VersionReply;
    fn put(&self, _: &mut Out) {}
    fn get(_: &mut In<'_>) -> Result<Self, Errno> {
        Ok(Version {})
    }
}

wire_enum! {
    /// What a CPU can be asked to do by `CpuRun`: bounded work at EL2 that touches no guest.
    CpuWork, "0 MIDR_EL1, 1 MPIDR_EL1, 2 REVIDR_EL1, 3 CTR_EL0, 4 ID_AA64PFR0_EL1, 5 ID_AA64PFR1_EL1, 6 ID_AA64ISAR0_EL1, 7 ID_AA64ISAR1_EL1, 8 ID_AA64MMFR0_EL1, 9 ID_AA64MMFR1_EL1, 10 ID_AA64MMFR2_EL1, 11 ID_AA64DFR0_EL1, 12 CNTFRQ_EL0, 13 CNTPCT_EL0, 14 hold" {
        /// Reads MIDR_EL1: implementer, part, revision.
        Midr = 0,
        /// Reads MPIDR_EL1: affinity.
        Mpidr = 1,
        /// Reads REVIDR_EL1.
        Revidr = 2,
        /// Reads CTR_EL0: caches.
        Ctr = 3,
        /// Reads ID_AA64PFR0_EL1.
        Pfr0 = 4,
        /// Reads ID_AA64PFR1_EL1.
        Pfr1 = 5,
        /// Reads ID_AA64ISAR0_EL1.
        Isar0 = 6,
        /// Reads ID_AA64ISAR1_EL1.
        Isar1 = 7,
        /// Reads ID_AA64MMFR0_EL1.
        Mmfr0 = 8,
        /// Reads ID_AA64MMFR1_EL1.
        Mmfr1 = 9,
        /// Reads ID_AA64MMFR2_EL1.
        Mmfr2 = 10,
        /// Reads ID_AA64DFR0_EL1.
        Dfr0 = 11,
        /// Reads CNTFRQ_EL0: what firmware says the counter's frequency is, Hz.
        Frequency = 12,
        /// Reads CNTPCT_EL0: the counter.
        Count = 13,
        /// Stays at EL2 for `argument` ns, at most `MAX_HOLD`, and answers how long it was: shows that no other CPU minds.
        Hold = 14,
    }
}

/// `what` of a `TraceRow` that stands for records which are not this CPU's.
pub const MORE: &str = "more";

/// The longest `CpuWork::Hold`.
pub const MAX_HOLD: Span = Span::ms(20);

replies! {
    /// Answer to `Cpu`.
    CpuRow {
        /// The CPU.
        id: CpuId,
        /// Whether it is up.
        online: bool,
        /// The pool it is in; none = free.
        pool: Option<PoolId>,
        /// The pool it is on its way into, if that is another.
        coming: Option<PoolId>,
        /// Its affinity (MPIDR_EL1).
        mpidr: u64,
        /// Time with nothing to run.
        idle: Span,
        /// Interrupts it took at EL2.
        interrupts: u64,
    }

    /// Answer to `Trace`.
    TraceRow {
        /// Cursor behind this record.
        next: u64,
        /// When.
        at: Instant,
        /// What was decided.
        what: Label,
        /// About which vCPU.
        vcpu: Option<VcpuId>,
        /// Of which domain, if it is still there.
        domain: Option<DomainId>,
        /// Of a decision to run: for how long at most, ns, 0 = until something happens; else a detail of `what`.
        detail: u64,
    }

    /// Answer to `MemoryNodes`.
    MemoryNode {
        /// First byte.
        base: u64,
        /// Bytes.
        size: u64,
        /// Its NUMA node; 0 if the tree names none.
        node: u32,
        /// Not in use, KiB.
        free: u64,
    }

    /// Answer to `Version`.
    VersionReply {
        /// Of this interface.
        abi: AbiVersion,
        /// Of the hypervisor, for people.
        text: Text,
    }

    /// Answer to `Info`.
    Machine {
        /// CPUs in the device tree.
        cpus_present: u32,
        /// CPUs that came up.
        cpus_online: u32,
        /// Major version of the interrupt controller: 2 or 3.
        gic: u32,
        /// List registers of each CPU.
        list_registers: u32,
        /// Frequency of the generic timer's counter, Hz.
        counter_hz: u64,
        /// Time since Tarn was entered.
        uptime: Span,
    }

    /// Answer to `MemoryInfo`.
    Memory {
        /// RAM of the machine that Tarn was given, KiB.
        total: u64,
        /// Not in use: what new domains can have, KiB.
        free: u64,
        /// Kept by Tarn for itself: image, tables, heap, stacks; KiB.
        tarn: u64,
        /// Given to domains, KiB.
        domains: u64,
    }
}

area! {
    /// The machine.
    SystemCall = 0x00;
    /// CPUs, interrupt controller, timer.
    Info = 0x01, Dom0 {} -> Machine;
    /// Memory of the machine and who has it.
    MemoryInfo = 0x02, Dom0 {} -> Memory;
    /// The board's model, as the device tree's root says.
    Model = 0x03, Dom0 {} -> Text;
    /// Counters of the whole machine: exits by reason, interrupts, and so on. Ends with `End`.
    Counters = 0x04, Dom0 {
        /// From 0 on.
        index: u32,
    } -> Counter;
    /// The first CPU at or behind a number. Ends with `End`.
    Cpu = 0x05, Dom0 {
        /// Lowest number to look at.
        from: u32,
    } -> CpuRow;
    /// Work done by that very CPU at EL2, whatever pool it is in: nobody is moved or suspended for it. `Again` until it has
    /// come by. `NoSuch`: no such CPU; `Busy`: it is not up; `Invalid`: the argument is beyond what the work takes.
    CpuRun = 0x06, Dom0 {
        /// Which CPU.
        cpu: CpuId,
        /// What.
        work: CpuWork,
        /// For `Hold`: how long, ns; else 0.
        argument: u64,
    } -> u64;
    /// A record of a CPU's last scheduling decisions. A cursor counts the records ever made: start at 0 and go on at
    /// `next`; one older than the oldest kept continues there. `End`: there is no later one. A row whose `what` is `more` is
    /// no decision: so far none of this CPU was found, and the search goes on at `next`.
    Trace = 0x07, Dom0 {
        /// Whose.
        cpu: CpuId,
        /// Where to read.
        cursor: u64,
    } -> TraceRow;
    /// The machine's RAM, by ranges and NUMA nodes. Ends with `End`.
    MemoryNodes = 0x08, Dom0 {
        /// From 0 on.
        index: u32,
    } -> MemoryNode;
    /// Why the caller's last refused call was refused, in words, in parts of up to 48 bytes; an empty one is the last. Kept
    /// until the next call that is refused otherwise than with `Again`, `End`, or by this call.
    Why = 0x09, Dom0 {
        /// From 0 on.
        part: u32,
    } -> Text;
    /// The lines that the system description wants typed at dom0's prompt when it comes up, from byte `from` on; no
    /// bytes at the end. `Again` until every configured domain has been made.
    BootScript = 0x0a, Dom0 {
        /// Bytes already read.
        from: u32,
    } -> Bytes;
    /// Resets the machine. Does not return unless refused.
    Reboot = 0x10, Dom0 {} -> ();
    /// Switches the machine off. Does not return unless refused.
    PowerOff = 0x11, Dom0 {} -> ();
}
