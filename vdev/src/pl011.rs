//! A PL011 console (Arm DDI0183): what `amba-pl011`, `sbsa-uart` and early consoles touch.
//!
//! Sent bytes leave as effects at once, so the transmit FIFO is always empty; received ones wait in a FIFO of 32
//! bytes. There is no baud rate and therefore no time: the receive and receive-timeout interrupts are asserted as
//! soon as a byte waits. Bytes are taken whether or not the receiver is enabled, since the SBSA subset never enables
//! it; what has no room is left with the caller. After every call give [`Pl011::irq_level`] to the interrupt
//! controller.

use crate::{Refused, Size};

/// Depth of the receive FIFO, as PeriphID revision 3 says.
pub const RX_FIFO: usize = 32;

/// A byte the guest has sent.
#[must_use = "a byte the guest has sent must reach its console"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TxByte(pub u8);

const DR: u32 = 0x00;
const RSR: u32 = 0x04;
const FR: u32 = 0x18;
const ILPR: u32 = 0x20;
const IBRD: u32 = 0x24;
const FBRD: u32 = 0x28;
const LCR_H: u32 = 0x2c;
const CR: u32 = 0x30;
const IFLS: u32 = 0x34;
const IMSC: u32 = 0x38;
const RIS: u32 = 0x3c;
const MIS: u32 = 0x40;
const ICR: u32 = 0x44;
const DMACR: u32 = 0x48;
const PERIPH_ID: u32 = 0xfe0;

const FR_CTS: u16 = 1 << 0;
const FR_DSR: u16 = 1 << 1;
const FR_DCD: u16 = 1 << 2;
const FR_RXFE: u16 = 1 << 4;
const FR_RXFF: u16 = 1 << 6;
const FR_TXFE: u16 = 1 << 7;
const FR_RI: u16 = 1 << 8;

const INT_RX: u16 = 1 << 4;
const INT_TX: u16 = 1 << 5;
const INT_RT: u16 = 1 << 6;
const INT_OE: u16 = 1 << 10;
const INT_ALL: u16 = 0x7ff;

const LCR_FEN: u16 = 1 << 4;
const CR_LBE: u16 = 1 << 7;
/// DR and RSR: overrun.
const DR_OE: u16 = 1 << 11;
const RSR_OE: u16 = 1 << 3;

/// PeriphID 0x0034_1011 (Arm PL011 r1p5: 32-byte FIFOs) and PrimeCell ID 0xb105_f00d, a byte a register.
const ID: [u8; 8] = [0x11, 0x10, 0x34, 0x00, 0x0d, 0xf0, 0x05, 0xb1];

/// One PL011.
#[derive(Clone, Debug)]
pub struct Pl011 {
    /// Flags kept current, so that the most-read register is one load.
    flags: u16,
    ris: u16,
    imsc: u16,
    cr: u16,
    lcr_h: u16,
    ibrd: u16,
    fbrd: u8,
    ilpr: u8,
    ifls: u8,
    dmacr: u8,
    rsr: u8,
    overrun: bool,
    head: u8,
    count: u8,
    fifo: [u8; RX_FIFO],
}

impl Default for Pl011 {
    fn default() -> Self {
        Self::new()
    }
}

impl Pl011 {
    /// In its reset state.
    pub const fn new() -> Pl011 {
        Pl011 {
            flags: FR_RXFE | FR_TXFE,
            ris: 0,
            imsc: 0,
            cr: 0x300,
            lcr_h: 0,
            ibrd: 0,
            fbrd: 0,
            ilpr: 0,
            ifls: 0x12,
            dmacr: 0,
            rsr: 0,
            overrun: false,
            head: 0,
            count: 0,
            fifo: [0; RX_FIFO],
        }
    }

    /// Back to the reset state; what was received and not read is gone, as on hardware.
    pub fn reset(&mut self) {
        *self = Pl011::new();
    }

    /// Reads at `offset`, 8, 16 or 32 bits wide and aligned.
    #[inline]
    pub fn read(&mut self, offset: u32, size: Size) -> Result<u64, Refused> {
        if size == Size::Double || offset & (size.bytes() - 1) != 0 {
            return Err(Refused::Width);
        }
        let value: u32 = match offset & !3 {
            FR => self.flags.into(),
            // Only a read of its first byte takes something out of the FIFO.
            DR if offset == DR => self.pop().into(),
            DR => 0,
            RSR => self.rsr.into(),
            ILPR => self.ilpr.into(),
            IBRD => self.ibrd.into(),
            FBRD => self.fbrd.into(),
            LCR_H => self.lcr_h.into(),
            CR => self.cr.into(),
            IFLS => self.ifls.into(),
            IMSC => self.imsc.into(),
            RIS => self.ris.into(),
            MIS => (self.ris & self.imsc).into(),
            ICR => 0, // write-only
            DMACR => self.dmacr.into(),
            id @ PERIPH_ID..=0xffc => ID[((id - PERIPH_ID) / 4) as usize & 7].into(),
            _ => return Err(Refused::Reserved),
        };
        Ok(u64::from(value >> (8 * (offset & 3))) & size.mask())
    }

    /// Writes at `offset`, 8, 16 or 32 bits wide, at the first byte of a register.
    #[inline]
    pub fn write(
        &mut self,
        offset: u32,
        size: Size,
        value: u64,
    ) -> Result<Option<TxByte>, Refused> {
        if size == Size::Double || offset & 3 != 0 {
            return Err(Refused::Width);
        }
        let value = (value & size.mask()) as u16;
        match offset {
            DR => return Ok(self.send(value as u8)),
            RSR => self.rsr = 0,
            FR | RIS | MIS => {} // read-only
            ILPR => self.ilpr = value as u8,
            IBRD => self.ibrd = value,
            FBRD => self.fbrd = value as u8 & 0x3f,
            LCR_H => {
                self.lcr_h = value & 0xff;
                self.update_flags();
            }
            CR => {
                self.cr = value;
                self.update_flags();
            }
            IFLS => self.ifls = value as u8 & 0x3f,
            IMSC => self.imsc = value & INT_ALL,
            ICR => self.ris &= !value,
            DMACR => self.dmacr = value as u8 & 7,
            PERIPH_ID..=0xffc => {} // read-only
            _ => return Err(Refused::Reserved),
        }
        Ok(None)
    }

    /// The flag register, without side effects.
    #[inline]
    pub const fn flags(&self) -> u16 {
        self.flags
    }

    /// Whether the combined interrupt line is asserted.
    #[inline]
    pub const fn irq_level(&self) -> bool {
        self.ris & self.imsc != 0
    }

    /// How many bytes [`Pl011::push_rx`] would take.
    #[inline]
    pub fn rx_room(&self) -> usize {
        if self.cr & CR_LBE != 0 {
            return 0; // the input is disconnected
        }
        self.depth().saturating_sub(self.count as usize)
    }

    /// Puts as much of `bytes` as fits into the receive FIFO and says how much that was.
    pub fn push_rx(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.rx_room());
        for byte in &bytes[..taken] {
            self.put(*byte);
        }
        taken
    }

    /// One byte with FIFOs disabled. Bytes already there stay when the guest disables them.
    const fn depth(&self) -> usize {
        if self.lcr_h & LCR_FEN != 0 {
            RX_FIFO
        } else {
            1
        }
    }

    fn put(&mut self, byte: u8) {
        self.fifo[(self.head as usize + self.count as usize) % RX_FIFO] = byte;
        self.count += 1;
        self.ris |= INT_RX | INT_RT;
        self.update_flags();
    }

    /// DR: the oldest byte, with the overrun flag if bytes were lost before it. Zero if there is none.
    fn pop(&mut self) -> u16 {
        if self.count == 0 {
            return 0;
        }
        let byte = self.fifo[self.head as usize % RX_FIFO];
        self.head = (self.head + 1) % RX_FIFO as u8;
        self.count -= 1;
        if self.count == 0 {
            self.ris &= !(INT_RX | INT_RT);
        }
        self.update_flags();
        self.rsr = 0;
        if core::mem::take(&mut self.overrun) {
            self.rsr = RSR_OE as u8;
            return DR_OE | u16::from(byte);
        }
        u16::from(byte)
    }

    fn send(&mut self, byte: u8) -> Option<TxByte> {
        self.ris |= INT_TX;
        if self.cr & CR_LBE == 0 {
            return Some(TxByte(byte));
        }
        if (self.count as usize) < self.depth() {
            self.put(byte);
        } else {
            self.ris |= INT_OE;
            self.overrun = true;
        }
        None
    }

    /// FR: the transmit FIFO is always empty; modem lines are only connected in loopback (Out2, Out1, RTS, DTR).
    fn update_flags(&mut self) {
        let mut flags = FR_TXFE;
        if self.count == 0 {
            flags |= FR_RXFE;
        }
        if self.count as usize >= self.depth() {
            flags |= FR_RXFF;
        }
        if self.cr & CR_LBE != 0 {
            for (out, input) in [(13, FR_RI), (12, FR_DCD), (11, FR_CTS), (10, FR_DSR)] {
                if self.cr >> out & 1 != 0 {
                    flags |= input;
                }
            }
        }
        self.flags = flags;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rd(u: &mut Pl011, offset: u32) -> u64 {
        u.read(offset, Size::Word).unwrap()
    }

    fn wr(u: &mut Pl011, offset: u32, value: u64) -> Option<TxByte> {
        u.write(offset, Size::Word, value).unwrap()
    }

    #[test]
    fn probe_as_amba_bus_does() {
        let mut u = Pl011::new();
        let id = |u: &mut Pl011, base: u32| {
            (0..4u32).fold(0, |id, i| id | rd(u, base + 4 * i) << (8 * i))
        };
        assert_eq!(id(&mut u, 0xfe0), 0x0034_1011);
        assert_eq!(id(&mut u, 0xff0), 0xb105_f00d);
        assert_eq!(rd(&mut u, FR), 0x90);
        assert_eq!(rd(&mut u, CR), 0x300);
        assert_eq!(u.read(FR, Size::Half), Ok(0x90));
        assert_eq!(u.read(FR, Size::Byte), Ok(0x90));
        assert_eq!(u.read(CR + 1, Size::Byte), Ok(3));
    }

    #[test]
    fn sends_and_interrupts() {
        let mut u = Pl011::new();
        assert_eq!(wr(&mut u, DR, 0x1_41), Some(TxByte(0x41)));
        assert_eq!(u.write(DR, Size::Byte, 0x42), Ok(Some(TxByte(0x42))));
        assert!(!u.irq_level());
        assert_eq!(wr(&mut u, IMSC, 0xffff), None);
        assert_eq!(rd(&mut u, IMSC), 0x7ff);
        assert!(u.irq_level());
        assert_eq!(rd(&mut u, MIS), 0x20);
        assert_eq!(wr(&mut u, ICR, 0x20), None);
        assert!(!u.irq_level());
    }

    #[test]
    fn receives_in_order_and_refuses_what_has_no_room() {
        let mut u = Pl011::new();
        assert_eq!(u.push_rx(b"ab"), 1); // FIFO disabled: a holding register
        assert_eq!(rd(&mut u, FR), (FR_RXFF | FR_TXFE) as u64);
        assert_eq!(wr(&mut u, LCR_H, 0x70), None);
        let data: [u8; 40] = core::array::from_fn(|i| i as u8);
        assert_eq!(u.push_rx(&data), 31);
        assert_eq!((u.push_rx(b"x"), u.rx_room()), (0, 0));
        assert_eq!(wr(&mut u, IMSC, 0x50), None);
        assert!(u.irq_level());
        assert_eq!(rd(&mut u, DR), b'a' as u64);
        for i in 0..31 {
            assert!(u.irq_level());
            assert_eq!(rd(&mut u, DR), i);
        }
        assert!(!u.irq_level());
        assert_eq!((rd(&mut u, FR), rd(&mut u, DR)), (0x90, 0));
    }

    #[test]
    fn a_cleared_receive_interrupt_comes_back_with_the_next_byte() {
        let mut u = Pl011::new();
        assert_eq!(wr(&mut u, LCR_H, 0x10), None);
        assert_eq!(wr(&mut u, IMSC, 0x10), None);
        assert_eq!(u.push_rx(b"a"), 1);
        assert_eq!(wr(&mut u, ICR, 0x7ff), None);
        assert!(!u.irq_level());
        assert_eq!(u.push_rx(b"b"), 1);
        assert!(u.irq_level());
    }

    #[test]
    fn disabling_the_fifo_keeps_what_is_in_it() {
        let mut u = Pl011::new();
        assert_eq!(wr(&mut u, LCR_H, 0x10), None);
        assert_eq!(u.push_rx(b"abc"), 3);
        assert_eq!(wr(&mut u, LCR_H, 0), None);
        assert_eq!((u.rx_room(), u.push_rx(b"d")), (0, 0));
        assert_eq!(
            [rd(&mut u, DR), rd(&mut u, DR), rd(&mut u, DR)],
            [97, 98, 99]
        );
    }

    #[test]
    fn loopback_stays_inside() {
        let mut u = Pl011::new();
        assert_eq!(wr(&mut u, CR, 0x380 | 1 << 11), None);
        assert_eq!(u.rx_room(), 0);
        assert_eq!(wr(&mut u, DR, 5), None);
        assert_eq!(wr(&mut u, DR, 6), None); // overrun
        assert_eq!(rd(&mut u, FR) as u16 & (FR_CTS | FR_DSR), FR_CTS);
        assert_eq!(rd(&mut u, RIS) as u16 & INT_OE, INT_OE);
        assert_eq!(rd(&mut u, DR), 5 | DR_OE as u64);
        assert_eq!(rd(&mut u, RSR), RSR_OE as u64);
        assert_eq!(wr(&mut u, RSR, 0), None);
        assert_eq!(rd(&mut u, RSR), 0);
    }

    #[test]
    fn odd_widths_and_offsets() {
        let mut u = Pl011::new();
        assert_eq!(u.read(0, Size::Double), Err(Refused::Width));
        assert_eq!(u.read(0x19, Size::Half), Err(Refused::Width));
        assert_eq!(u.write(0x19, Size::Byte, 1), Err(Refused::Width));
        assert_eq!(u.read(0x80, Size::Word), Err(Refused::Reserved));
        assert_eq!(u.write(0x80, Size::Word, 1), Err(Refused::Reserved));
        for offset in (0..0x1000).step_by(4) {
            let _ = u.read(offset, Size::Word);
            let _ = u.write(offset, Size::Word, u64::MAX);
        }
    }
}
