//! One record of a scheduler's life: what it was asked and what it answered, in six words.
//!
//! Made by `sched::Recorded`, printed on the console as hexadecimal words, carried by a call in registers (six words and a
//! number make seven), replayed on the host by `tarn-sim replay`. Must never hold anything that a replay could not
//! reproduce from the records before it.
//!
//! | word | content |
//! |---|---|
//! | 0 | time, ns |
//! | 1 | bits 0-7 [`Op`], 8-15 CPU (255 = none), 16-31 scheduler of the tree (0 = the pool's own), 32-63 entity |
//! | 2, 3 | arguments and answers of the operation |
//! | 4, 5 | CPUs kicked (or more arguments) |

use crate::id::CpuId;
use crate::set::CpuSet;
use crate::time::Instant;
use core::fmt;

macro_rules! ops {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// What happened.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Op {
            $($(#[$doc])* $name = $number,)*
        }

        impl Op {
            /// The operation of that number.
            pub const fn from_number(n: u8) -> Option<Op> {
                match n {
                    $($number => Some(Op::$name),)*
                    _ => None,
                }
            }

            /// As people read it.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Op::$name => $text,)*
                }
            }
        }
    };
}

ops! {
    /// The recording begins with a new pool: its scheduler in `node`, its parameters in words 2-5, boost in `ent`.
    Begin = 0, "begin";
    /// Memory for a CPU.
    AllocCpu = 1, "allocate CPU";
    /// A CPU joins.
    Join = 2, "join";
    /// A CPU's speed (word 2).
    Speed = 3, "speed";
    /// A CPU leaves.
    Leave = 4, "leave";
    /// Parameters of a scheduler for the next `AddGroup`, as in `Begin`.
    Params = 5, "parameters";
    /// Parameters of an entity for the next operation: weight and boost ratio (word 2), interval (3), affinity (4, 5).
    Entity = 6, "entity";
    /// The rest of them: boost limit (2), period (3), budget (4).
    EntityMore = 7, "entity, rest";
    /// An entity is made: tag in word 2, the answer in `ent`.
    Alloc = 8, "allocate";
    /// It is freed.
    Free = 9, "free";
    /// It joins the competition, runnable if word 2 is 1.
    Insert = 10, "insert";
    /// It leaves it.
    Remove = 11, "remove";
    /// Its parameters change.
    AdjustEntity = 12, "adjust entity";
    /// The pool's scheduler gets other parameters, as in `Begin`.
    Adjust = 13, "adjust";
    /// A group is made in the parent (word 2, bits 0-15) with virtual processors (16-31); the answer in `node`.
    AddGroup = 14, "add group";
    /// A group is removed.
    RemoveGroup = 15, "remove group";
    /// A group's processors get other parameters.
    AdjustGroup = 16, "adjust group";
    /// No longer runnable.
    Sleep = 17, "sleep";
    /// Runnable: reason in word 2 (0 interrupt with its line in bits 8-23, 1 timer, 2 kick, 3 unpause).
    Wake = 18, "wake";
    /// An interrupt for one that is runnable; reason as for `Wake`.
    Notify = 19, "notify";
    /// Lets others go first.
    Yield = 20, "yield";
    /// A boost's reason is gone (word 2: 0 handler returned, 1 unmasked, 2 asked).
    Deboost = 21, "deboost";
    /// Hypervisor time (word 2, ns) is charged.
    Charge = 22, "charge";
    /// A decision: until when in word 2 (all ones = no timer); word 3: who in bits 0-31 if bit 32 is set, else idle, and the
    /// hint from bit 40 (1 masked, 2 dont_desched, 4 enlightened, 8 must be idle).
    Pick = 23, "pick";
    /// Registers are in memory.
    Saved = 24, "saved";
    /// An entity counts as one with these parameters where others are admitted; they are not in force yet.
    Promise = 25, "promise";
    /// Before `Entity`, if it has one: the soft affinity (words 4, 5).
    EntitySoft = 26, "entity, soft affinity";
    /// Some CPU has been called for what is due in a group: nobody else need be.
    Armed = 27, "armed";
}

/// A record.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Record(pub [u64; 6]);

/// No timer.
pub const NEVER: u64 = u64::MAX;
const NO_CPU: u64 = 0xff;

impl Record {
    /// An operation on no CPU and nobody.
    pub const fn new(op: Op, at: Instant) -> Record {
        Record([at.0, op as u64 | NO_CPU << 8, 0, 0, 0, 0])
    }

    /// On that CPU.
    pub const fn cpu(mut self, cpu: CpuId) -> Record {
        self.0[1] = self.0[1] & !(NO_CPU << 8) | (cpu.0 as u64 & NO_CPU) << 8;
        self
    }

    /// Of that entity of that scheduler.
    pub const fn who(mut self, node: u16, ent: u32) -> Record {
        self.0[1] = self.0[1] & 0xffff | (node as u64) << 16 | (ent as u64) << 32;
        self
    }

    /// With these arguments.
    pub const fn with(mut self, a: u64, b: u64) -> Record {
        self.0[2] = a;
        self.0[3] = b;
        self
    }

    /// Kicking these CPUs.
    pub const fn kicking(mut self, cpus: CpuSet) -> Record {
        let [a, b] = cpus.to_words();
        self.0[4] = a;
        self.0[5] = b;
        self
    }

    /// When.
    pub const fn at(&self) -> Instant {
        Instant(self.0[0])
    }

    /// What. `None`: no record of ours.
    pub const fn op(&self) -> Option<Op> {
        Op::from_number(self.0[1] as u8)
    }

    /// On which CPU.
    pub const fn on(&self) -> Option<CpuId> {
        match self.0[1] >> 8 & NO_CPU {
            NO_CPU => None,
            c => Some(CpuId(c as u16)),
        }
    }

    /// Which scheduler of the tree.
    pub const fn node(&self) -> u16 {
        (self.0[1] >> 16) as u16
    }

    /// Which of its entities.
    pub const fn ent(&self) -> u32 {
        (self.0[1] >> 32) as u32
    }

    /// Who must come by.
    pub const fn kicked(&self) -> CpuSet {
        CpuSet::from_words([self.0[4], self.0[5]])
    }

    /// Of a `Pick`: the tag of who runs; `None` = idle.
    pub const fn picked(&self) -> Option<u32> {
        if self.0[3] & 1 << 32 != 0 {
            Some(self.0[3] as u32)
        } else {
            None
        }
    }

    /// Of a `Pick`: when the CPU must come by again.
    pub const fn until(&self) -> Option<Instant> {
        match self.0[2] {
            NEVER => None,
            t => Some(Instant(t)),
        }
    }

    /// For people: "12.345678 ms cpu0 pick 3 until 22.345678 ms, kick 1".
    pub fn text(&self) -> Text<'_> {
        Text(self)
    }

    /// Six hexadecimal words. `None` for anything else.
    pub fn parse(text: &str) -> Option<Record> {
        let mut words = [0; 6];
        let mut it = text.split_ascii_whitespace();
        for w in &mut words {
            *w = u64::from_str_radix(it.next()?, 16).ok()?;
        }
        it.next().is_none().then_some(Record(words))
    }
}

/// Six hexadecimal words, as `parse` reads them.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:x} {b:x} {c:x} {d:x} {e:x} {g:x}")
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.text(), f)
    }
}

/// A record for people.
pub struct Text<'a>(&'a Record);

struct Ms(Instant);

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06} ms", self.0.0 / 1_000_000, self.0.0 % 1_000_000)
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let r = self.0;
        write!(f, "{}", Ms(r.at()))?;
        if let Some(c) = r.on() {
            write!(f, " {c:?}")?;
        }
        let Some(op) = r.op() else {
            return f.write_str(" unknown");
        };
        write!(f, " {}", op.text())?;
        match op {
            Op::Pick => {
                match r.picked() {
                    Some(tag) => write!(f, " {tag}")?,
                    None => f.write_str(" nobody")?,
                }
                if let Some(t) = r.until() {
                    write!(f, " until {}", Ms(t))?;
                }
                let hint = r.0[3] >> 40;
                for (bit, text) in [
                    (1, "masked"),
                    (2, "dont_desched"),
                    (4, "enlightened"),
                    (8, "must be idle"),
                ] {
                    if hint & bit != 0 {
                        write!(f, ", {text}")?;
                    }
                }
            }
            Op::AllocCpu | Op::Join | Op::Leave | Op::Armed => {}
            Op::Begin | Op::Params | Op::Adjust | Op::Entity | Op::EntityMore | Op::EntitySoft => {
                return write!(f, " {:x} {:x} {:x} {:x}", r.0[2], r.0[3], r.0[4], r.0[5]);
            }
            _ => {
                write!(f, " {}.{}", r.node(), r.ent())?;
                if r.0[2] != 0 || matches!(op, Op::Wake | Op::Notify) {
                    write!(f, " {:#x}", r.0[2])?;
                }
            }
        }
        if !r.kicked().is_empty() {
            write!(f, ", kick {}", r.kicked())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_record_survives_its_text() {
        let r = Record::new(Op::Pick, Instant(12_345_678))
            .cpu(CpuId(3))
            .with(NEVER, 1 << 32 | 7 | 2 << 40)
            .kicking(CpuSet::one(CpuId(127)));
        assert_eq!(Record::parse(&r.to_string()), Some(r));
        assert_eq!(
            (r.picked(), r.until(), r.on()),
            (Some(7), None, Some(CpuId(3)))
        );
        assert_eq!(
            r.text().to_string(),
            "12.345678 ms cpu3 pick 7, dont_desched, kick 127"
        );
        let s = Record::new(Op::Sleep, Instant(5)).who(65535, u32::MAX);
        assert_eq!((s.node(), s.ent(), s.on()), (65535, u32::MAX, None));
        for bad in ["", "1 2 3 4 5", "1 2 3 4 5 6 7", "1 2 3 4 5 g"] {
            assert_eq!(Record::parse(bad), None, "{bad}");
        }
        for n in 0..=255 {
            if let Some(op) = Op::from_number(n) {
                assert_eq!(op as u8, n);
            }
        }
    }
}
