//! The mini UART of the BCM2835 family ("brcm,bcm2835-aux-uart", BCM2711 ARM Peripherals, section 2.2): 16550-like
//! registers a word apart, eight bytes of FIFO. Its clock is the GPU's core clock, so the speed is firmware's.

use crate::{
    Mmio, MmioError,
    mmio::{Regs, get, put},
};

#[repr(C)]
struct Layout {
    io: u32,
    ier: u32,
    iir: u32,
    lcr: u32,
    mcr: u32,
    lsr: u32,
    msr: u32,
    scratch: u32,
    cntl: u32,
    stat: u32,
    baud: u32,
}

/// Interrupt enable: receive, transmit (the manual's table has them exchanged), and receive errors, without which
/// some silicon raises no receive interrupt.
const RX: u32 = 1 | 1 << 2;
const TX: u32 = 1 << 1;
/// Line status: a byte waits, room for a byte, all sent.
const READY: u32 = 1;
const ROOM: u32 = 1 << 5;
const IDLE: u32 = 1 << 6;
/// Control: receiver and transmitter on.
const ON: u32 = 3;

/// A mini UART.
pub struct Mini {
    r: Regs<Layout>,
}

impl Mini {
    pub(super) fn new(regs: Mmio) -> Result<Mini, MmioError> {
        let r: Regs<Layout> = regs.regs()?;
        put!(r, Layout, ier => 0);
        // Eight bits need both low bits of this one (erratum), and the divisor latch must be closed.
        put!(r, Layout, lcr => 3);
        let cntl = get!(r, Layout, cntl);
        put!(r, Layout, cntl => cntl | ON);
        Ok(Mini { r })
    }

    #[inline]
    pub(super) fn try_put(&self, byte: u8) -> bool {
        if get!(self.r, Layout, lsr) & ROOM == 0 {
            return false;
        }
        put!(self.r, Layout, io => byte.into());
        true
    }

    #[inline]
    pub(super) fn try_get(&self) -> Option<u8> {
        (get!(self.r, Layout, lsr) & READY != 0).then(|| get!(self.r, Layout, io) as u8)
    }

    pub(super) fn idle(&self) -> bool {
        get!(self.r, Layout, lsr) & IDLE != 0
    }

    fn enable(&self, bits: u32, on: bool) {
        let others = get!(self.r, Layout, ier) & !bits;
        put!(self.r, Layout, ier => if on { others | bits } else { others });
    }

    pub(super) fn rx_irq(&self, on: bool) {
        self.enable(RX, on);
    }

    pub(super) fn tx_irq(&self, on: bool) {
        self.enable(TX, on);
    }

    pub(super) fn irq_ack(&self) {
        // Both causes end by themselves: data is read, or data is written. An overrun ends with reading its flag.
        get!(self.r, Layout, lsr);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Memory;

    #[test]
    fn bytes_and_masks() {
        let m = Memory::new(0x40);
        m.put(0x28, 0x10e);
        let u = Mini::new(m.mmio()).unwrap();
        assert_eq!((m.get(0x0c), m.get(0x20), m.get(0x28)), (3, 3, 0x10e));
        assert!(!u.try_put(b'A') && !u.idle());
        assert_eq!(u.try_get(), None);
        m.put(0x14, READY | ROOM | IDLE);
        assert!(u.try_put(b'A') && u.idle());
        assert_eq!(u.try_get(), Some(b'A'));
        u.rx_irq(true);
        u.tx_irq(true);
        u.rx_irq(false);
        assert_eq!(m.get(4), TX);
    }
}
