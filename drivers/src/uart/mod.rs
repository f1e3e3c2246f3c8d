//! Serial lines: one [`Uart`] over the kinds that board's probe table knows. Byte in, byte out; no waiting, no lock.
//!
//! The line's speed is what firmware left: the clock that feeds a UART is rarely known here, so no driver touches the
//! divisor. A driver works from the first instruction with a mapped register, before interrupts and heap. Callers
//! that share it take their own lock around a whole line. What must not happen here: a wait without an end
//! ([`Uart::flush`] and [`Uart::put_wait`] take the number of polls they may spend).

mod mini;
mod pl011;

use crate::{Mmio, MmioError, arch};
use mini::Mini;
use pl011::Pl011;
use tarn_board::UartKind;

/// A UART.
pub enum Uart {
    /// PL011, or the SBSA subset of it.
    Pl011(Pl011Uart),
    /// The Raspberry Pi's mini UART.
    Mini(MiniUart),
}

pub use mini::Mini as MiniUart;
pub use pl011::Pl011 as Pl011Uart;

macro_rules! both {
    ($self:expr, $u:ident => $e:expr) => {
        match $self {
            Uart::Pl011($u) => $e,
            Uart::Mini($u) => $e,
        }
    };
}

impl Uart {
    /// Takes the UART over, with its interrupts masked and what it has received kept.
    pub fn new(kind: UartKind, regs: Mmio) -> Result<Uart, MmioError> {
        Ok(match kind {
            UartKind::Pl011 => Uart::Pl011(Pl011::new(regs, true)?),
            UartKind::Sbsa => Uart::Pl011(Pl011::new(regs, false)?),
            UartKind::Bcm2835Aux => Uart::Mini(Mini::new(regs)?),
        })
    }

    /// Sends `byte`, unless there is no room for it.
    #[inline]
    #[must_use]
    pub fn try_put(&self, byte: u8) -> bool {
        both!(self, u => u.try_put(byte))
    }

    /// The next byte received. Bytes with framing or parity errors and breaks are dropped.
    #[inline]
    pub fn try_get(&self) -> Option<u8> {
        both!(self, u => u.try_get())
    }

    /// Sends `byte`, polling for room at most `polls` times; whether it went out.
    pub fn put_wait(&self, byte: u8, polls: u32) -> bool {
        for _ in 0..polls {
            if self.try_put(byte) {
                return true;
            }
            arch::relax();
        }
        self.try_put(byte)
    }

    /// Waits until everything has left the wire, at most `polls` polls; whether it has.
    pub fn flush(&self, polls: u32) -> bool {
        for _ in 0..polls {
            if both!(self, u => u.idle()) {
                return true;
            }
            arch::relax();
        }
        both!(self, u => u.idle())
    }

    /// Interrupt while something received waits, or not.
    pub fn rx_irq(&self, on: bool) {
        both!(self, u => u.rx_irq(on))
    }

    /// Interrupt when there is room to send again, or not. Turn it on when [`Uart::try_put`] has answered `false` (one
    /// that was never full may not raise it), off when there is nothing more to send.
    pub fn tx_irq(&self, on: bool) {
        both!(self, u => u.tx_irq(on))
    }

    /// Takes back the interrupt's causes that stay by themselves. Call it first in the handler, then
    /// [`Uart::try_get`] until `None`: what arrives in between raises it again.
    pub fn irq_ack(&self) {
        both!(self, u => u.irq_ack())
    }
}

/// An early console: one writer, each byte with a bound, "\n" sent as "\r\n". When the UART stops taking bytes, the
/// rest of the string is lost.
pub struct Early<'a>(pub &'a Uart);

/// Polls a byte gets in [`Early`]: at 100 ns each, ten times what one takes at 9600 baud.
const EARLY_POLLS: u32 = 100_000;

impl core::fmt::Write for Early<'_> {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        for byte in s.bytes() {
            let cr = byte != b'\n' || self.0.put_wait(b'\r', EARLY_POLLS);
            if !(cr && self.0.put_wait(byte, EARLY_POLLS)) {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Memory;
    use core::fmt::Write;

    #[test]
    fn a_dead_uart_does_not_hold_anyone() {
        let m = Memory::new(0x1000);
        m.put(0x18, 1 << 5 | 1 << 3);
        let u = Uart::new(UartKind::Pl011, m.mmio()).unwrap();
        assert!(!u.put_wait(b'x', 100) && !u.flush(100));
        m.put(0x18, 0);
        assert!(u.put_wait(b'x', 0) && u.flush(0));
        assert!(Early(&u).write_str("a\n").is_ok());
        assert_eq!(m.get(0), u32::from(b'\n'));
    }
}
