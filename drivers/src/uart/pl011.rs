//! Arm PrimeCell UART PL011 (DDI 0183G) and the SBSA generic UART (DEN 0029, appendix B), which has the same data,
//! flag and interrupt registers and no others: for that one, nothing else is touched.

use crate::{
    Mmio, MmioError,
    mmio::{Regs, get, put},
};

#[repr(C)]
struct Layout {
    dr: u32,
    rsr_ecr: u32,
    reserved0: [u32; 4],
    fr: u32,
    reserved1: u32,
    ilpr: u32,
    ibrd: u32,
    fbrd: u32,
    lcr_h: u32,
    cr: u32,
    ifls: u32,
    imsc: u32,
    ris: u32,
    mis: u32,
    icr: u32,
}
const _: () = assert!(core::mem::offset_of!(Layout, icr) == 0x44);

/// Flag register: sending, receive FIFO empty, transmit FIFO full.
const BUSY: u32 = 1 << 3;
const RXFE: u32 = 1 << 4;
const TXFF: u32 = 1 << 5;
/// Data register: framing, parity or break error of the byte. An overrun (bit 11) is about a later byte.
const DR_BAD: u32 = 0x700;
/// Line control: 8 bits, FIFOs on.
const LCR_8BIT_FIFO: u32 = 0x70;
/// Control: UART, transmitter and receiver on.
const UARTEN: u32 = 1;
const TXE_RXE: u32 = 0x300;
/// Interrupts: receive timeout, transmit, receive; and all there are.
const RTI: u32 = 1 << 6;
const TXI: u32 = 1 << 5;
const RXI: u32 = 1 << 4;
const ALL: u32 = 0x7ff;

/// A PL011.
pub struct Pl011 {
    r: Regs<Layout>,
}

impl Pl011 {
    /// `full`: it has control registers; they are used to turn it on if firmware has not, without touching the speed.
    pub(super) fn new(regs: Mmio, full: bool) -> Result<Pl011, MmioError> {
        let r: Regs<Layout> = regs.regs()?;
        put!(r, Layout, imsc => 0);
        if full {
            let cr = get!(r, Layout, cr);
            if cr & UARTEN == 0 {
                // Line control may only be written while the UART is off; a running one keeps its settings.
                put!(r, Layout, lcr_h => LCR_8BIT_FIFO);
            }
            put!(r, Layout, cr => cr | TXE_RXE | UARTEN);
        }
        put!(r, Layout, icr => ALL);
        Ok(Pl011 { r })
    }

    #[inline]
    pub(super) fn try_put(&self, byte: u8) -> bool {
        if get!(self.r, Layout, fr) & TXFF != 0 {
            return false;
        }
        put!(self.r, Layout, dr => byte.into());
        true
    }

    #[inline]
    pub(super) fn try_get(&self) -> Option<u8> {
        // The FIFO is 32 deep: a line that only produces errors ends here, not in an endless loop.
        for _ in 0..32 {
            if get!(self.r, Layout, fr) & RXFE != 0 {
                return None;
            }
            let data = get!(self.r, Layout, dr);
            if data & DR_BAD == 0 {
                return Some(data as u8);
            }
        }
        None
    }

    pub(super) fn idle(&self) -> bool {
        get!(self.r, Layout, fr) & BUSY == 0
    }

    fn mask(&self, bits: u32, on: bool) {
        let others = get!(self.r, Layout, imsc) & !bits;
        put!(self.r, Layout, imsc => if on { others | bits } else { others });
    }

    pub(super) fn rx_irq(&self, on: bool) {
        self.mask(RXI | RTI, on);
    }

    pub(super) fn tx_irq(&self, on: bool) {
        self.mask(TXI, on);
    }

    pub(super) fn irq_ack(&self) {
        // Not TXI: it goes by itself when the FIFO fills, and clearing it would lose the next "room" if none is sent.
        // Not RXI and RTI: they end when the FIFO has been read, and clearing them hides bytes that were left in it.
        put!(self.r, Layout, icr => ALL & !(TXI | RXI | RTI));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Memory;

    #[test]
    fn leaves_speed_alone_and_turns_on() {
        let m = Memory::new(0x1000);
        m.put(0x24, 7);
        m.put(0x28, 9);
        let _u = Pl011::new(m.mmio(), true).unwrap();
        assert_eq!(
            [0x24, 0x28, 0x2c, 0x30, 0x38, 0x44].map(|o| m.get(o)),
            [7, 9, 0x70, 0x301, 0, 0x7ff]
        );
        // One that runs keeps its line settings and flow control.
        let m = Memory::new(0x1000);
        m.put(0x2c, 0x7a);
        m.put(0x30, 0xc001);
        let _u = Pl011::new(m.mmio(), true).unwrap();
        assert_eq!((m.get(0x2c), m.get(0x30)), (0x7a, 0xc301));
    }

    #[test]
    fn sbsa_has_no_control_registers() {
        let m = Memory::new(0x1000);
        let _u = Pl011::new(m.mmio(), false).unwrap();
        assert_eq!((m.get(0x2c), m.get(0x30), m.get(0x44)), (0, 0, 0x7ff));
        assert!(Pl011::new(Memory::new(0x40).mmio(), false).is_err());
    }

    #[test]
    fn bytes_and_masks() {
        let m = Memory::new(0x1000);
        let u = Pl011::new(m.mmio(), true).unwrap();
        assert!(u.try_put(b'A'));
        assert_eq!(m.get(0), 0x41);
        m.put(0x18, TXFF | RXFE | BUSY);
        assert!(!u.try_put(b'B') && !u.idle());
        assert_eq!((m.get(0), u.try_get()), (0x41, None));
        m.put(0x18, 0);
        // An overrun says that a later byte was lost; this one is good.
        m.put(0, 0x800 | 0x42);
        assert_eq!(u.try_get(), Some(0x42));
        // A line full of breaks ends.
        m.put(0, 0x400);
        assert_eq!(u.try_get(), None);
        u.rx_irq(true);
        u.tx_irq(true);
        assert_eq!(m.get(0x38), RXI | RTI | TXI);
        u.rx_irq(false);
        assert_eq!(m.get(0x38), TXI);
    }
}
