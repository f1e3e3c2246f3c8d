//! The properties of one node that discovery knows, found by key in constant time.
//!
//! One `Props` serves a whole walk: clearing it is one store. Of a property given twice the first counts. Values are
//! raw bytes; the accessors say what length they want and answer `None` for any other.

use crate::tree::{be32, be64};

macro_rules! keys {
    ($($key:ident = $name:literal,)*) => {
        /// A property that discovery knows.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Key {
            $(
                #[doc = concat!("Property ", stringify!($key), ".")]
                $key,
            )*
        }

        const MAX_NAME: usize = {
            let names: [&[u8]; COUNT] = [$($name,)*];
            let (mut max, mut i) = (0, 0);
            while i < COUNT {
                if names[i].len() > max {
                    max = names[i].len();
                }
                i += 1;
            }
            max
        };
        const COUNT: usize = [$(stringify!($key),)*].len();

        impl Key {
            fn from_name(name: &[u8]) -> Option<Key> {
                // On bytes this becomes a tree of decisions, on text a row of comparisons.
                match name {
                    $($name => Some(Key::$key),)*
                    _ => None,
                }
            }

            /// As it is written in a tree.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Key::$key => const {
                        match core::str::from_utf8($name) {
                            Ok(name) => name,
                            Err(_) => panic!("a name that is not text"),
                        }
                    },)*
                }
            }
        }
    };
}

keys! {
    Compatible = b"compatible",
    Reg = b"reg",
    Interrupts = b"interrupts",
    Phandle = b"phandle",
    OldPhandle = b"linux,phandle",
    Status = b"status",
    DeviceType = b"device_type",
    EnableMethod = b"enable-method",
    AddressCells = b"#address-cells",
    SizeCells = b"#size-cells",
    InterruptCells = b"#interrupt-cells",
    InterruptParent = b"interrupt-parent",
    InterruptsExtended = b"interrupts-extended",
    InterruptNames = b"interrupt-names",
    Ranges = b"ranges",
    ReleaseAddr = b"cpu-release-addr",
    Capacity = b"capacity-dmips-mhz",
    NumaNode = b"numa-node-id",
    RedistRegions = b"#redistributor-regions",
    RedistStride = b"redistributor-stride",
    Method = b"method",
    CpuOn = b"cpu_on",
    NoMap = b"no-map",
    Size = b"size",
    ClockFrequency = b"clock-frequency",
    Model = b"model",
    StdoutPath = b"stdout-path",
    OldStdoutPath = b"linux,stdout-path",
    Bootargs = b"bootargs",
    XenBootargs = b"xen,xen-bootargs",
    Dom0Bootargs = b"xen,dom0-bootargs",
    InitrdStart = b"linux,initrd-start",
    InitrdEnd = b"linux,initrd-end",
    RngSeed = b"rng-seed",
    StaticMem = b"xen,static-mem",
    StaticMemAddressCells = b"#xen,static-mem-address-cells",
    StaticMemSizeCells = b"#xen,static-mem-size-cells",
    SharedMem = b"xen,shared-mem",
    Role = b"role",
}

/// Values by key.
pub(crate) struct Props<'a> {
    present: u64,
    values: [&'a [u8]; COUNT],
}

const _: () = assert!(COUNT <= 64, "`present` has 64 bits");

impl<'a> Props<'a> {
    /// Nothing yet.
    pub fn new() -> Props<'a> {
        Props {
            present: 0,
            values: [&[]; COUNT],
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.present = 0;
    }

    /// Takes a property if it is the first of its name.
    #[inline]
    pub fn put(&mut self, key: Key, value: &'a [u8]) {
        let bit = 1 << key as usize;
        if self.present & bit == 0 {
            self.present |= bit;
            self.values[key as usize] = value;
        }
    }

    /// The value, empty for a flag; `None` if it is not there.
    pub fn get(&self, key: Key) -> Option<&'a [u8]> {
        (self.present & (1 << key as usize) != 0).then(|| self.values[key as usize])
    }

    /// Whether it is there.
    pub fn has(&self, key: Key) -> bool {
        self.present & (1 << key as usize) != 0
    }

    /// One cell.
    pub fn u32(&self, key: Key) -> Option<u32> {
        self.get(key).filter(|v| v.len() == 4).and_then(be32)
    }

    /// One or two cells.
    pub fn number(&self, key: Key) -> Option<u64> {
        self.get(key).and_then(number)
    }

    /// The node's phandle, 0 if it has none.
    pub fn phandle(&self) -> u32 {
        self.u32(Key::Phandle)
            .or(self.u32(Key::OldPhandle))
            .unwrap_or(0)
    }

    /// A string.
    pub fn text(&self, key: Key) -> Option<&'a str> {
        self.get(key).and_then(text)
    }

    /// Whether it is this string.
    pub fn is_text(&self, key: Key, want: &str) -> bool {
        self.get(key).and_then(|v| v.strip_suffix(&[0])) == Some(want.as_bytes())
    }

    /// The first of `table` that `compatible` lists, most specific string first.
    pub fn compatible<T: Copy>(&self, table: &[(&str, T)]) -> Option<T> {
        let mut list = self.get(Key::Compatible)?;
        // As bytes: what is in the table is text.
        while let Some(end) = list.iter().position(|b| *b == 0) {
            let (first, rest) = list.split_at(end);
            if let Some((_, t)) = table.iter().find(|(name, _)| name.as_bytes() == first) {
                return Some(*t);
            }
            list = &rest[1..];
        }
        None
    }

    /// `status` is there and neither "okay" nor "ok".
    pub fn is_disabled(&self) -> bool {
        match self.get(Key::Status) {
            Some(value) => !matches!(value, b"okay\0" | b"ok\0"),
            None => false,
        }
    }
}

/// Which `Key` a name in the strings block is. A writer of trees keeps each name once, so most questions are asked
/// again with the same offset: the last answers are kept.
pub(crate) struct Names<'a> {
    strings: &'a [u8],
    // Offset + 1 (0: nothing kept yet) and the answer.
    kept: [(u32, Option<Key>); Names::KEPT],
}

impl<'a> Names<'a> {
    const KEPT: usize = 64;

    /// Over a strings block.
    pub fn new(strings: &'a [u8]) -> Names<'a> {
        Names {
            strings,
            kept: [(0, None); Names::KEPT],
        }
    }

    /// The key of the name at `offset`, `Some(None)` if it is none of ours; `None` if there is no name.
    #[inline]
    pub fn key(&mut self, offset: u32) -> Option<Option<Key>> {
        let (kept, key) = self.kept[Names::place(offset)];
        // 2^32 - 1 is no offset within `MAX_DTB`.
        if kept == offset.wrapping_add(1) && kept != 0 {
            return Some(key);
        }
        self.look_up(offset)
    }

    #[cold]
    fn look_up(&mut self, offset: u32) -> Option<Option<Key>> {
        let rest = self.strings.get(offset as usize..)?;
        // Longer than any of ours: only that it ends matters, and that is seen to when it is asked for as text.
        let name = &rest[..rest.len().min(MAX_NAME + 1)];
        let key = match name.iter().position(|b| *b == 0) {
            Some(end) => Key::from_name(&name[..end]),
            None if rest.len() > name.len() => None,
            None => return None,
        };
        self.kept[Names::place(offset)] = (offset + 1, key);
        Some(key)
    }

    /// Names are some 10 bytes apart.
    const fn place(offset: u32) -> usize {
        (offset ^ offset >> 6) as usize % Names::KEPT
    }
}

/// A value of one or two cells as a number.
pub(crate) fn number(value: &[u8]) -> Option<u64> {
    match value.len() {
        4 => be32(value).map(u64::from),
        8 => be64(value),
        _ => None,
    }
}

/// A value as a string: up to its first zero byte, which must be there.
pub(crate) fn text(value: &[u8]) -> Option<&str> {
    let end = value.iter().position(|b| *b == 0)?;
    core::str::from_utf8(&value[..end]).ok()
}

/// The strings of a list; what is not text or not terminated is left out.
pub(crate) fn strings(value: &[u8]) -> impl Iterator<Item = &str> {
    value
        .split_inclusive(|b| *b == 0)
        .filter_map(|s| core::str::from_utf8(s.strip_suffix(&[0])?).ok())
}

/// The cells of a list; bytes beyond the last whole one are left out.
pub(crate) fn cells(value: &[u8]) -> impl Iterator<Item = u32> {
    value.chunks_exact(4).filter_map(be32)
}
