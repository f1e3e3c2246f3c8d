//! The registers of a hypervisor call: x0 to x7, as values.
//!
//! x0 carries the function id in and the result out: 0 or a negative `Errno`. x1-x7 carry arguments in and values
//! out. Strings of up to 48 bytes travel in x2-x7 (`Text`). What each register means for each call is the business of
//! `call`; how a field is laid out over registers is `call::wire`'s. Nothing here reads or writes a real register.

use crate::errno::Errno;

/// x0-x7 of a call or its reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Regs(pub [u64; 8]);

impl Regs {
    /// How many registers take part, x0 included.
    pub const COUNT: usize = 8;

    /// A reply that refuses: `e` in x0, nothing else.
    pub const fn refusal(e: Errno) -> Regs {
        Regs([e.to_wire(), 0, 0, 0, 0, 0, 0, 0])
    }

    /// The function id of a call: w0. SMCCC (DEN0028) has it in the low half; the high half of x0 says nothing.
    pub const fn function(&self) -> u32 {
        self.0[0] as u32
    }

    /// What x0 of a reply says. An x0 this crate does not know is `Garbled`.
    pub const fn result(&self) -> Result<(), Errno> {
        match self.0[0] {
            0 => Ok(()),
            x0 => match Errno::from_wire(x0) {
                Some(e) => Err(e),
                None => Err(Errno::Garbled),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x0_of_a_reply() {
        assert_eq!(Regs::default().result(), Ok(()));
        for e in Errno::ALL {
            assert_eq!(Regs::refusal(*e).result(), Err(*e));
        }
        assert_eq!(Regs([5, 0, 0, 0, 0, 0, 0, 0]).result(), Err(Errno::Garbled));
        assert_eq!(
            Regs([u64::from(u32::MAX), 0, 0, 0, 0, 0, 0, 0]).result(),
            Err(Errno::Garbled)
        );
    }

    #[test]
    fn function_id_is_w0() {
        assert_eq!(
            Regs([0xffff_0000_c600_0001, 0, 0, 0, 0, 0, 0, 0]).function(),
            0xc600_0001
        );
    }
}
