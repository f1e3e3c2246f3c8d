//! Hypervisor calls: every call and every reply as a type, and the one place where registers become them.
//!
//! A call is an HVC (or SMC) with a function id of SMCCC's fast, 64-bit, vendor-specific hypervisor range,
//! 0xC600_0000 + area << 8 + number (Arm DEN0028, section 6.1), in w0 and arguments in x1-x7. The reply is 0 or a
//! negative `Errno` in x0 and values in x1-x7. The hypervisor uses `Call::decode` and `Request::answer`; the shim
//! uses `Request::encode` and `Reply::from_regs`. Because each request names its reply, neither can mix them up.
//!
//! Rules that hold for every call: a register without a meaning must be zero; a refused call has changed nothing;
//! `Again` means "call again with the same arguments"; lists are walked by `from` (the lowest slot to look at: go on
//! at the slot of the answer + 1) or by `index`, and end with `End`; an id of something destroyed answers `Stale`.
//!
//! The areas are in call/: one file each. docs/abi.md is printed from `table()`; a test keeps it current.

pub mod console;
pub mod domain;
pub mod group;
pub mod guest;
pub mod param;
pub mod plan;
pub mod pool;
pub mod report;
pub mod system;
pub mod text;
pub mod vcpu;
pub mod wire;

pub use console::ConsoleCall;
pub use domain::DomainCall;
pub use group::GroupCall;
pub use guest::GuestCall;
pub use plan::PlanCall;
pub use pool::PoolCall;
pub use system::{SystemCall, Version};
pub use vcpu::VcpuCall;

use crate::errno::Errno;
use crate::id::{DomainId, GroupId, PoolId};
use crate::regs::Regs;
use crate::set::CpuSet;
use text::{Bytes, Text};
use wire::{Field, In, Out, Wire};

/// Function id of the first call: fast, 64-bit, service range 6 (vendor-specific hypervisor).
pub const BASE: u32 = 0xC600_0000;

/// Which version of this interface: calls and fields are only added within a major version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbiVersion {
    /// Changes when a call changes its meaning.
    pub major: u16,
    /// Grows with every addition.
    pub minor: u16,
}

/// The version this crate describes.
pub const ABI: AbiVersion = AbiVersion { major: 1, minor: 5 };

impl AbiVersion {
    /// Whether a caller built for `self` may use a hypervisor that offers `offered`.
    pub const fn works_with(self, offered: AbiVersion) -> bool {
        self.major == offered.major && self.minor <= offered.minor
    }
}

impl Wire for AbiVersion {
    const WORDS: usize = 1;
    const KIND: &'static str = "major in bits 16-31, minor in bits 0-15";
    fn put(&self, out: &mut Out) {
        out.push((u64::from(self.major) << 16) | u64::from(self.minor));
    }
    fn get(from: &mut In<'_>) -> Result<Self, Errno> {
        let word = u32::try_from(from.pull()).map_err(|_| Errno::Invalid)?;
        Ok(AbiVersion {
            major: (word >> 16) as u16,
            minor: word as u16,
        })
    }
}

/// Who may make a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caller {
    /// Every domain.
    Anyone,
    /// The control domain; others are answered `Denied`.
    Dom0,
    /// The control domain, and any domain for what has been delegated to it: the handler looks.
    Owner,
}

/// One call in the reference.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The whole function id.
    pub number: u32,
    /// Name of the area's enum.
    pub area: &'static str,
    /// Name of the call.
    pub name: &'static str,
    /// Who may make it.
    pub caller: Caller,
    /// What it does, a line each.
    pub doc: &'static [&'static str],
    /// Arguments, from x1 on.
    pub args: &'static [Field],
    /// Values of the reply, from x1 on.
    pub reply: &'static [Field],
}

/// What a call answers when it is not refused.
pub trait Reply: Sized {
    /// Its fields, for the reference.
    const FIELDS: &'static [Field];
    /// Into registers from x1 on.
    fn put(&self, out: &mut Out);
    /// Out of registers from x1 on.
    fn get(from: &mut In<'_>) -> Result<Self, Errno>;

    /// As registers, x0 = 0.
    fn to_regs(&self) -> Regs {
        let mut out = Out::new(0);
        self.put(&mut out);
        out.finish()
    }

    /// Back from registers: the refusal in x0, or the values; `Garbled` if they are not such values.
    fn from_regs(regs: &Regs) -> Result<Self, Errno> {
        regs.result()?;
        Self::get(&mut In::new(regs)).map_err(|_| Errno::Garbled)
    }
}

/// One call with its arguments, tied to what it answers.
pub trait Request: Sized {
    /// The function id.
    const NUMBER: u32;
    /// Its row of the reference.
    const ROW: Row;
    /// What it answers.
    type Reply: Reply;
    /// Arguments into registers from x1 on.
    fn put(&self, out: &mut Out);
    /// Arguments out of registers from x1 on.
    fn get(from: &mut In<'_>) -> Result<Self, Errno>;

    /// As registers.
    fn encode(&self) -> Regs {
        let mut out = Out::new(u64::from(Self::NUMBER));
        self.put(&mut out);
        out.finish()
    }

    /// From registers whose function id is this call's: `NoSuch` for an id that can name nothing, `Invalid` for
    /// another argument out of range and for a register that should be zero.
    fn decode(regs: &Regs) -> Result<Self, Errno> {
        let mut from = In::new(regs);
        let call = Self::get(&mut from)?;
        from.finish()?;
        Ok(call)
    }

    /// The registers that answer this call.
    fn answer(&self, result: Result<Self::Reply, Errno>) -> Regs {
        match result {
            Ok(reply) => reply.to_regs(),
            Err(e) => Regs::refusal(e),
        }
    }
}

impl Reply for () {
    const FIELDS: &'static [Field] = &[];
    fn put(&self, _: &mut Out) {}
    fn get(_: &mut In<'_>) -> Result<Self, Errno> {
        Ok(())
    }
}

/// Replies that are one field.
macro_rules! single {
    ($($ty:ty, $name:literal;)*) => {$(
        impl Reply for $ty {
            const FIELDS: &'static [Field] =
                &[Field { name: $name, kind: <$ty as Wire>::KIND, words: <$ty as Wire>::WORDS, doc: &[] }];
            fn put(&self, out: &mut Out) {
                Wire::put(self, out);
            }
            fn get(from: &mut In<'_>) -> Result<Self, Errno> {
                <$ty as Wire>::get(from)
            }
        }
    )*};
}

single! {
    DomainId, "id";
    PoolId, "id";
    GroupId, "id";
    CpuSet, "cpus";
    u32, "step";
    u64, "value";
    Text, "text";
    Bytes, "bytes";
}

wire::replies! {
    /// One of a list of counters.
    Counter {
        /// Its value; counters only grow.
        value: u64,
        /// Its name: lower case, words joined by `-`.
        name: Text,
    }
}

/// Any call: one variant an area.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// Which versions the hypervisor and this interface have.
    Version(Version),
    /// The machine.
    System(SystemCall),
    /// The console and the log.
    Console(ConsoleCall),
    /// Domains.
    Domain(DomainCall),
    /// Their virtual CPUs.
    Vcpu(VcpuCall),
    /// CPU pools.
    Pool(PoolCall),
    /// Scheduling groups.
    Group(GroupCall),
    /// Transactions.
    Plan(PlanCall),
    /// A domain's own affairs.
    Guest(GuestCall),
}

impl Call {
    /// The call in `regs`. `NotSupported` for a function id that is none, else as `Request::decode`. The slot of
    /// every id it yields is a valid index of its table; whether the id is alive is for the handler to say.
    pub fn decode(regs: &Regs) -> Result<Call, Errno> {
        let function = regs.function();
        if function & 0xffff_0000 != BASE {
            return Err(Errno::NotSupported);
        }
        if function == Version::NUMBER {
            return Version::decode(regs).map(Call::Version);
        }
        match (function >> 8) & 0xff {
            0 => SystemCall::decode(regs).map(Call::System),
            1 => ConsoleCall::decode(regs).map(Call::Console),
            2 => DomainCall::decode(regs).map(Call::Domain),
            3 => VcpuCall::decode(regs).map(Call::Vcpu),
            4 => PoolCall::decode(regs).map(Call::Pool),
            5 => GroupCall::decode(regs).map(Call::Group),
            6 => GuestCall::decode(regs).map(Call::Guest),
            7 => PlanCall::decode(regs).map(Call::Plan),
            _ => Err(Errno::NotSupported),
        }
    }

    /// As registers.
    pub fn encode(&self) -> Regs {
        match self {
            Call::Version(c) => c.encode(),
            Call::System(c) => c.encode(),
            Call::Console(c) => c.encode(),
            Call::Domain(c) => c.encode(),
            Call::Vcpu(c) => c.encode(),
            Call::Pool(c) => c.encode(),
            Call::Group(c) => c.encode(),
            Call::Plan(c) => c.encode(),
            Call::Guest(c) => c.encode(),
        }
    }

    /// This call's row of the reference: its name and number for logs, who may make it.
    pub const fn row(&self) -> &'static Row {
        match self {
            Call::Version(_) => &Version::ROW,
            Call::System(c) => c.row(),
            Call::Console(c) => c.row(),
            Call::Domain(c) => c.row(),
            Call::Vcpu(c) => c.row(),
            Call::Pool(c) => c.row(),
            Call::Group(c) => c.row(),
            Call::Plan(c) => c.row(),
            Call::Guest(c) => c.row(),
        }
    }

    /// `Denied` unless a caller that is (or is not) dom0 may make this call. To be asked before anything is done. Of an
    /// `Owner` call the handler has to look at what it is about.
    pub fn permit(&self, dom0: bool) -> Result<(), Errno> {
        if dom0 || self.row().caller != Caller::Dom0 {
            Ok(())
        } else {
            Err(Errno::Denied)
        }
    }
}

/// Every call, in the order of their numbers.
pub fn table() -> impl Iterator<Item = Row> {
    core::iter::once(Version::ROW)
        .chain(SystemCall::ROWS.iter().copied())
        .chain(ConsoleCall::ROWS.iter().copied())
        .chain(DomainCall::ROWS.iter().copied())
        .chain(VcpuCall::ROWS.iter().copied())
        .chain(PoolCall::ROWS.iter().copied())
        .chain(GroupCall::ROWS.iter().copied())
        .chain(GuestCall::ROWS.iter().copied())
        .chain(PlanCall::ROWS.iter().copied())
}

#[cfg(test)]
mod tests;
