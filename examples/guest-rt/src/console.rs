//! The PL011 as a console: polled output, polled or interrupt-driven input.
//!
//! It programs no baud rate: loader or hypervisor did. Lines written with `println!` from several CPUs do not mix
//! once the MMU is on; before that only one CPU may print (there are no exclusives to build a lock from).
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::mmio::Window;
use crate::{mmu, trap};

/// Offsets of the PL011's registers (Arm DDI 0183).
pub mod reg {
    /// Data.
    pub const DR: usize = 0x00;
    /// Flags.
    pub const FR: usize = 0x18;
    /// Line control.
    pub const LCR_H: usize = 0x2c;
    /// Control.
    pub const CR: usize = 0x30;
    /// FIFO trigger levels.
    pub const IFLS: usize = 0x34;
    /// Interrupt mask.
    pub const IMSC: usize = 0x38;
    /// Raw interrupts.
    pub const RIS: usize = 0x3c;
    /// Masked interrupts.
    pub const MIS: usize = 0x40;
    /// Interrupt clear.
    pub const ICR: usize = 0x44;
}

/// FR: receive FIFO empty.
pub const RXFE: u32 = 1 << 4;
/// FR: transmit FIFO full.
pub const TXFF: u32 = 1 << 5;
/// RIS, MIS, IMSC, ICR: receive.
pub const RX: u32 = 1 << 4;
/// RIS, MIS, IMSC, ICR: transmit.
pub const TX: u32 = 1 << 5;
/// RIS, MIS, IMSC, ICR: receive timeout.
pub const RT: u32 = 1 << 6;

static BASE: AtomicUsize = AtomicUsize::new(0);
static BUSY: AtomicBool = AtomicBool::new(false);

pub(crate) fn init(base: usize) {
    BASE.store(base, Ordering::Relaxed);
}

/// The UART's registers, if the device tree names one.
pub fn uart() -> Option<Window> {
    let base = BASE.load(Ordering::Relaxed);
    // SAFETY: the base comes from a UART node of the device tree, so these 4 KiB are its registers.
    (base != 0).then(|| unsafe { Window::new(base, 0x1000) })
}

/// Sends one byte, waiting for room.
pub fn put(byte: u8) {
    let Some(uart) = uart() else { return };
    while uart.read32(reg::FR) & TXFF != 0 {}
    uart.write32(reg::DR, u32::from(byte));
}

/// The next received byte, if there is one.
pub fn get() -> Option<u8> {
    let uart = uart()?;
    (uart.read32(reg::FR) & RXFE == 0).then(|| uart.read32(reg::DR) as u8)
}

/// Switches the receive interrupts (data and timeout) on.
pub fn enable_rx_irq() {
    let Some(uart) = uart() else { return };
    uart.write32(reg::CR, 1 | 1 << 8 | 1 << 9);
    uart.write32(reg::IMSC, RX | RT);
}

/// Clears the receive interrupts; call it before reading the bytes that are there.
pub fn clear_rx_irq() {
    let Some(uart) = uart() else { return };
    uart.write32(reg::ICR, RX | RT);
}

struct Out;
impl Write for Out {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                put(b'\r');
            }
            put(byte);
        }
        Ok(())
    }
}

/// What `print!` and `println!` call.
pub fn print(args: core::fmt::Arguments<'_>) {
    let daif = trap::mask_irqs();
    let locked = mmu::is_on();
    while locked && BUSY.swap(true, Ordering::Acquire) {
        core::hint::spin_loop();
    }
    // Out never fails.
    let _ = Out.write_fmt(args);
    if locked {
        BUSY.store(false, Ordering::Release);
    }
    trap::restore_irqs(daif);
}

/// For the last words of a CPU that may have died while it held the lock.
pub(crate) fn break_lock() {
    BUSY.store(false, Ordering::Relaxed);
}

/// Prints to the console.
#[macro_export]
macro_rules! print {
    ($($arg:tt)*) => { $crate::console::print(format_args!($($arg)*)) };
}

/// Prints a line to the console.
#[macro_export]
macro_rules! println {
    () => { $crate::console::print(format_args!("\n")) };
    ($($arg:tt)*) => { $crate::console::print(format_args!("{}\n", format_args!($($arg)*))) };
}
