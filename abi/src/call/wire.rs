//! How a field lies in registers, and the macros that turn a table of calls into types.
//!
//! Fields take the registers from x1 on, in the order of their declaration, each a whole number of registers. A field
//! of six registers (a `Text`, `Bytes`) always starts at x2. In a call every register that no field uses must be
//! zero, so that a later version may give it a meaning; in a reply such registers are ignored, for the same reason.
//! Reading never panics whatever the registers hold.

use super::text::{Bytes, Chars};
use crate::errno::Errno;
use crate::id::{
    CpuId, DomainId, GroupId, MAX_CPUS, MAX_DOMAINS, MAX_POOLS, MAX_VCPUS, PoolId, SchedId, VcpuId,
};
use crate::regs::Regs;
use crate::set::CpuSet;
use crate::time::{Instant, Span};

/// Fills registers from x1 on.
#[derive(Debug)]
pub struct Out {
    regs: Regs,
    next: usize,
}

impl Out {
    /// With `x0` in place and the rest zero.
    pub fn new(x0: u64) -> Out {
        let mut regs = Regs::default();
        regs.0[0] = x0;
        Out { regs, next: 1 }
    }

    /// The next register. Fields never need more than there are (the macros check that when compiling).
    pub fn push(&mut self, word: u64) {
        if let Some(r) = self.regs.0.get_mut(self.next) {
            *r = word;
        }
        self.next += 1;
    }

    /// Goes on at register `n`.
    pub fn at(&mut self, n: usize) {
        self.next = n;
    }

    /// All of them.
    pub fn finish(self) -> Regs {
        self.regs
    }
}

/// Takes registers from x1 on.
#[derive(Debug)]
pub struct In<'a> {
    regs: &'a Regs,
    next: usize,
    skipped: u64,
}

impl In<'_> {
    /// Starts at x1.
    pub fn new(regs: &Regs) -> In<'_> {
        In {
            regs,
            next: 1,
            skipped: 0,
        }
    }

    /// The next register.
    pub fn pull(&mut self) -> u64 {
        let word = self.regs.0.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        word
    }

    /// Goes on at register `n`; what lies before it is unused.
    pub fn at(&mut self, n: usize) {
        while self.next < n {
            self.skipped |= self.pull();
        }
    }

    /// Refuses if a register that no field has used is not zero.
    pub fn finish(mut self) -> Result<(), Errno> {
        self.at(Regs::COUNT);
        if self.skipped != 0 {
            Err(Errno::Invalid)
        } else {
            Ok(())
        }
    }
}

/// A field of a call or a reply.
pub trait Wire: Sized {
    /// How many registers it takes.
    const WORDS: usize;
    /// What it is, for the reference.
    const KIND: &'static str;
    /// Into registers.
    fn put(&self, out: &mut Out);
    /// Out of registers; refuses what is not such a field.
    fn get(from: &mut In<'_>) -> Result<Self, Errno>;
}

/// One field in the reference.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: &'static str,
    /// Registers it takes.
    pub words: usize,
    /// What it says, a line each.
    pub doc: &'static [&'static str],
}

impl Wire for u64 {
    const WORDS: usize = 1;
    const KIND: &'static str = "u64";
    fn put(&self, out: &mut Out) {
        out.push(*self);
    }
    fn get(from: &mut In<'_>) -> Result<Self, Errno> {
        Ok(from.pull())
    }
}

impl Wire for u32 {
    const WORDS: usize = 1;
    const KIND: &'static str = "u32";
    fn put(&self, out: &mut Out) {
        out.push(u64::from(*self));
    }
    fn get(from: &mut In<'_>) -> Result<Self, Errno> {
        u32::try_from(from.pull()).map_err(|_| Errno::Invalid)
    }
}

impl Wire for bool {
    const WORDS: usize = 1;
    const KIND: &'static str = "0 or 1";
    fn put(&self, out: &mut Out) {
        out.push(u64::from(*self));
    }
    fn get(from: &mut In<'_>) -> Result<Self, Errno> {
        match from.pull() {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Errno::Invalid),
        }
    }
}

impl Wire for Span {
    const WORDS: usize = 1;
    const KIND: &'static str = "ns";
    fn put(&self, out: &mut Out) {
        out.push(self.0);
    }
    fn get(from: &mut In<'_>) -> Result<Self, Errno> {
        Ok(Span(from.pull()))
    }
}

impl Wire for Instant {
    const WORDS: usize = 1;
    const KIND: &'static str = "ns since entry";
    fn put(&self, out: &mut Out) {
        out.push(self.0);
    }
    fn get(from: &mut In<'_>) -> Result<Self, Errno> {
        Ok(Instant(from.pull()))
    }
}

/// Ids: whatever names no slot of the tables is `NoSuch`, so the slot of a decoded id is a valid index.
trait Id: Sized {
    const KIND: &'static str;
    const OPTION: &'static str;
    fn to_word(&self) -> u64;
    fn from_word(word: u64) -> Option<Self>;
}

macro_rules! ids {
    ($($id:ident, $max:ident, $kind:literal, $option:literal;)*) => {$(
        impl Id for $id {
            const KIND: &'static str = $kind;
            const OPTION: &'static str = $option;
            fn to_word(&self) -> u64 {
                self.to_wire()
            }
            fn from_word(word: u64) -> Option<Self> {
                $id::from_wire(word).filter(|id| id.index() < $max)
            }
        }
    )*};
}

ids! {
    DomainId, MAX_DOMAINS, "domain id", "domain id + 1, or 0";
    VcpuId, MAX_VCPUS, "vCPU id", "vCPU id + 1, or 0";
    PoolId, MAX_POOLS, "pool id", "pool id + 1, or 0";
}

impl Id for CpuId {
    const KIND: &'static str = "CPU number";
    const OPTION: &'static str = "CPU number + 1, or 0";
    fn to_word(&self) -> u64 {
        u64::from(self.0)
    }
    fn from_word(word: u64) -> Option<Self> {
        u16::try_from(word)
            .ok()
            .map(CpuId)
            .filter(|c| c.index() < MAX_CPUS)
    }
}

impl Id for GroupId {
    const KIND: &'static str = "group id";
    const OPTION: &'static str = "group id + 1, or 0";
    fn to_word(&self) -> u64 {
        self.to_wire()
    }
    fn from_word(word: u64) -> Option<Self> {
        GroupId::from_wire(word).filter(|g| g.pool.index() < MAX_POOLS)
    }
}

impl Id for SchedId {
    const KIND: &'static str = "scheduler number";
    const OPTION: &'static str = "scheduler number + 1, or 0";
    fn to_word(&self) -> u64 {
        u64::from(self.0)
    }
    fn from_word(word: u64) -> Option<Self> {
        u8::try_from(word).ok().map(SchedId)
    }
}

macro_rules! wire_ids {
    ($($id:ident),*) => {$(
        impl Wire for $id {
            const WORDS: usize = 1;
            const KIND: &'static str = <$id as Id>::KIND;
            fn put(&self, out: &mut Out) {
                out.push(self.to_word());
            }
            fn get(from: &mut In<'_>) -> Result<Self, Errno> {
                <$id>::from_word(from.pull()).ok_or(Errno::NoSuch)
            }
        }

        /// None is 0, so a register that was reserved may become an optional id.
        impl Wire for Option<$id> {
            const WORDS: usize = 1;
            const KIND: &'static str = <$id as Id>::OPTION;
            fn put(&self, out: &mut Out) {
                out.push(self.map_or(0, |id| id.to_word().wrapping_add(1)));
            }
            fn get(from: &mut In<'_>) -> Result<Self, Errno> {
                match from.pull() {
                    0 => Ok(None),
                    n => <$id>::from_word(n - 1).map(Some).ok_or(Errno::NoSuch),
                }
            }
        }
    )*};
}

wire_ids!(CpuId, DomainId, PoolId, VcpuId, GroupId, SchedId);

impl Wire for CpuSet {
    const WORDS: usize = MAX_CPUS / 64;
    const KIND: &'static str = "CPU set, lowest CPUs first";
    fn put(&self, out: &mut Out) {
        self.to_words().iter().for_each(|w| out.push(*w));
    }
    fn get(from: &mut In<'_>) -> Result<Self, Errno> {
        Ok(CpuSet::from_words(core::array::from_fn(|_| from.pull())))
    }
}

impl<const N: usize> Wire for Chars<N> {
    const WORDS: usize = N / 8;
    const KIND: &'static str = if N == 48 {
        "text, up to 48 bytes"
    } else {
        "text, up to 16 bytes"
    };
    fn put(&self, out: &mut Out) {
        if N == 48 {
            out.at(2);
        }
        put_bytes(self.padded(), out);
    }
    fn get(from: &mut In<'_>) -> Result<Self, Errno> {
        if N == 48 {
            from.at(2);
        }
        Chars::from_padded(get_bytes(from)).ok_or(Errno::Invalid)
    }
}

impl Wire for Bytes {
    const WORDS: usize = 1 + Bytes::MAX / 8;
    const KIND: &'static str = "length (at most 40), then that many bytes";
    fn put(&self, out: &mut Out) {
        out.at(2);
        let (len, data) = self.to_wire();
        out.push(len);
        put_bytes(&data, out);
    }
    fn get(from: &mut In<'_>) -> Result<Self, Errno> {
        from.at(2);
        let len = from.pull();
        Bytes::from_wire(len, get_bytes(from)).ok_or(Errno::Invalid)
    }
}

/// Eight bytes a register, the first in the lowest bits.
fn put_bytes(bytes: &[u8], out: &mut Out) {
    for chunk in bytes.chunks_exact(8) {
        out.push(chunk.iter().rev().fold(0, |w, b| (w << 8) | u64::from(*b)));
    }
}

fn get_bytes<const N: usize>(from: &mut In<'_>) -> [u8; N] {
    let mut bytes = [0; N];
    for chunk in bytes.chunks_exact_mut(8) {
        chunk.copy_from_slice(&from.pull().to_le_bytes());
    }
    bytes
}

/// An enum whose values are numbers on the wire.
macro_rules! wire_enum {
    ($(#[$doc:meta])* $name:ident, $kind:literal { $($(#[$vdoc:meta])* $variant:ident = $n:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name {
            $($(#[$vdoc])* $variant = $n,)*
        }

        impl $name {
            /// Every value, for tables and tests.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];
        }

        impl $crate::call::wire::Wire for $name {
            const WORDS: usize = 1;
            const KIND: &'static str = $kind;
            fn put(&self, out: &mut $crate::call::wire::Out) {
                out.push(*self as u64);
            }
            fn get(from: &mut $crate::call::wire::In<'_>) -> Result<Self, $crate::Errno> {
                match from.pull() {
                    $($n => Ok($name::$variant),)*
                    _ => Err($crate::Errno::Invalid),
                }
            }
        }
    };
}

/// Structs that are replies: at most seven registers of fields.
macro_rules! replies {
    ($(
        $(#[$doc:meta])*
        $name:ident { $($(#[doc = $fdoc:literal])* $field:ident: $ty:ty),* $(,)? }
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct $name {
            $($(#[doc = $fdoc])* pub $field: $ty,)*
        }

        const _: () = assert!(0 $(+ <$ty as $crate::call::wire::Wire>::WORDS)* <= 7);

        impl $crate::call::Reply for $name {
            const FIELDS: &'static [$crate::call::wire::Field] = &[$($crate::call::wire::Field {
                name: stringify!($field),
                kind: <$ty as $crate::call::wire::Wire>::KIND,
                words: <$ty as $crate::call::wire::Wire>::WORDS,
                doc: &[$($fdoc),*],
            }),*];
            fn put(&self, out: &mut $crate::call::wire::Out) {
                $($crate::call::wire::Wire::put(&self.$field, out);)*
            }
            fn get(from: &mut $crate::call::wire::In<'_>) -> Result<Self, $crate::Errno> {
                Ok($name { $($field: <$ty as $crate::call::wire::Wire>::get(from)?,)* })
            }
        }
    )*};
}

/// The calls of one area: a struct for each, an enum over them, and their rows of the reference.
macro_rules! area {
    (
        $(#[$adoc:meta])*
        $area:ident = $base:literal;
        $(
            $(#[doc = $doc:literal])*
            $call:ident = $n:literal, $caller:ident {
                $($(#[doc = $fdoc:literal])* $field:ident: $ty:ty),* $(,)?
            } -> $reply:ty;
        )*
    ) => {
        $(
            $(#[doc = $doc])*
            #[derive(Clone, Copy, PartialEq, Eq, Debug)]
            pub struct $call {
                $($(#[doc = $fdoc])* pub $field: $ty,)*
            }

            const _: () = assert!(0 $(+ <$ty as $crate::call::wire::Wire>::WORDS)* <= 7);

            impl $crate::call::Request for $call {
                const NUMBER: u32 = $crate::call::BASE + ($base << 8) + $n;
                const ROW: $crate::call::Row = $crate::call::Row {
                    number: Self::NUMBER,
                    area: stringify!($area),
                    name: stringify!($call),
                    caller: $crate::call::Caller::$caller,
                    doc: &[$($doc),*],
                    args: &[$($crate::call::wire::Field {
                        name: stringify!($field),
                        kind: <$ty as $crate::call::wire::Wire>::KIND,
                        words: <$ty as $crate::call::wire::Wire>::WORDS,
                        doc: &[$($fdoc),*],
                    }),*],
                    reply: <$reply as $crate::call::Reply>::FIELDS,
                };
                type Reply = $reply;
                fn put(&self, _out: &mut $crate::call::wire::Out) {
                    $($crate::call::wire::Wire::put(&self.$field, _out);)*
                }
                fn get(_from: &mut $crate::call::wire::In<'_>) -> Result<Self, $crate::Errno> {
                    Ok($call { $($field: <$ty as $crate::call::wire::Wire>::get(_from)?,)* })
                }
            }
        )*

        $(#[$adoc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $area {
            $($(#[doc = $doc])* $call($call),)*
        }

        impl $area {
            /// This area's rows of the reference.
            pub const ROWS: &'static [$crate::call::Row] = &[$(<$call as $crate::call::Request>::ROW),*];

            /// The call in `regs`, if it is of this area.
            pub(crate) fn decode(regs: &$crate::Regs) -> Result<$area, $crate::Errno> {
                use $crate::call::Request;
                match regs.function() {
                    $($call::NUMBER => $call::decode(regs).map($area::$call),)*
                    _ => Err($crate::Errno::NotSupported),
                }
            }

            /// As registers.
            pub(crate) fn encode(&self) -> $crate::Regs {
                use $crate::call::Request;
                match self {
                    $($area::$call(c) => c.encode(),)*
                }
            }

            /// This call's row of the reference.
            pub(crate) const fn row(&self) -> &'static $crate::call::Row {
                match self {
                    $($area::$call(_) => &<$call as $crate::call::Request>::ROW,)*
                }
            }
        }

        $(
            impl From<$call> for $area {
                fn from(c: $call) -> $area {
                    $area::$call(c)
                }
            }
        )*
    };
}

pub(crate) use {area, replies, wire_enum};
