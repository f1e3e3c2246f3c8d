//! Why a hypervisor call was refused: one small number per reason, the same on both sides.
//!
//! A refused call has changed nothing. Numbers are negative on the wire (x0), as in SMCCC; -1 is SMCCC's own
//! NOT_SUPPORTED. Never renumber: add at the end.

use core::fmt;

macro_rules! errnos {
    ($($(#[$doc:meta])* $name:ident = $n:literal, $text:literal;)*) => {
        /// The reason of a refusal.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(i64)]
        pub enum Errno {
            $($(#[$doc])* $name = $n,)*
        }

        impl Errno {
            /// Every reason, for tables and tests.
            pub const ALL: &'static [Errno] = &[$(Errno::$name,)*];

            /// From x0 of a reply; `None` if x0 is no error.
            pub const fn from_wire(x0: u64) -> Option<Errno> {
                match x0 as i64 {
                    $($n => Some(Errno::$name),)*
                    _ => None,
                }
            }

            /// One phrase for people.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Errno::$name => $text,)*
                }
            }
        }
    };
}

errnos! {
    /// No such call.
    NotSupported = -1, "no such call";
    /// The caller may not do this.
    Denied = -2, "not permitted for this domain";
    /// An argument is outside its range.
    Invalid = -3, "argument out of range";
    /// The id names nothing.
    NoSuch = -4, "no such object";
    /// The id names something that has been destroyed since.
    Stale = -5, "the object has been destroyed since";
    /// Something of that name is there already.
    Exists = -6, "exists already";
    /// It is in use, or in the wrong state for this.
    Busy = -7, "in use or in the wrong state";
    /// Not enough memory, slots or ids.
    NoMemory = -8, "not enough memory or no free slot";
    /// Not finished: call again with the same arguments.
    Again = -9, "not finished yet";
    /// It holds the boot CPU or dom0, which cannot leave Pool-0.
    Fixed = -10, "the boot CPU and dom0 stay in Pool-0";
    /// The end of a list.
    End = -11, "end of list";
    /// A reply that this side cannot read: the two sides differ in their ABI version.
    Garbled = -12, "the answer is not of this ABI version";
    /// The pool has domains and would lose its last CPU.
    LastCpu = -13, "it is the last CPU of a pool with domains";
    /// It still has members: domains in a pool, vCPUs or groups in a group.
    NotEmpty = -14, "it is not empty";
    /// The pool has no CPU, so nothing could run there.
    NoCpus = -15, "the pool has no CPU";
    /// The scheduler there cannot promise what is asked for (rtds: more time than the CPUs have).
    NotAdmitted = -16, "more CPU time than there is";
}

impl Errno {
    /// As x0 of a reply.
    pub const fn to_wire(self) -> u64 {
        self as i64 as u64
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_round_trip() {
        for e in Errno::ALL {
            assert_eq!(Errno::from_wire(e.to_wire()), Some(*e));
        }
        assert_eq!(Errno::from_wire(0), None);
    }
}
