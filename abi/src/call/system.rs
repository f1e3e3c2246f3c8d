//! Area 0x00: the version, the machine, its counters, and ending it all.
//!
//! Version is the one call that every domain may make: it is how a guest finds out that it runs on Tarn.

use super::text::Text;
use super::wire::{In, Out, area, replies};
use super::{AbiVersion, BASE, Caller, Counter, Reply, Request, Row};
use crate::errno::Errno;
use crate::time::Span;

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

replies! {
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
    /// Resets the machine. Does not return unless refused.
    Reboot = 0x10, Dom0 {} -> ();
    /// Switches the machine off. Does not return unless refused.
    PowerOff = 0x11, Dom0 {} -> ();
}
