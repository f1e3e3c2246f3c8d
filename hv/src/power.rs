//! Ending the machine: off or reset, after the console has said what it had to say.

use crate::{arch, console, irq, time};
use abi::Span;
use drivers::power::SystemPower;

/// How long the machine may take to end: a watchdog acts some 150 us after it was told.
const PATIENCE: Span = Span::ms(200);

static POWER: spin::Once<SystemPower> = spin::Once::new();

/// Sets the way found in the device tree.
pub fn init(p: SystemPower) {
    POWER.call_once(|| p);
}

/// Switches the machine off, or halts it where nothing can.
pub fn off() -> ! {
    console::flush();
    irq::stop_others();
    if let Some(p) = POWER.get() {
        p.off();
        wait();
    }
    console::panic_write(
        "Tarn: this machine cannot switch itself off; it is safe to do so now\r\n",
    );
    arch::halt()
}

/// Resets the machine, or halts it where nothing can.
pub fn reset() -> ! {
    console::flush();
    irq::stop_others();
    if let Some(p) = POWER.get() {
        p.reset();
        wait();
    }
    console::panic_write("Tarn: this machine cannot reset itself\r\n");
    arch::halt()
}

/// Gives the machine the time to end.
fn wait() {
    let deadline = time::now() + PATIENCE;
    while time::now() < deadline {
        <arch::Relax as spin::RelaxStrategy>::relax();
    }
}
