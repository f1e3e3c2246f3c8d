//! Ending the machine: off or reset, after the console has said what it had to say.

use crate::{arch, console, irq};
use drivers::power::SystemPower;

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
    }
    console::panic_write("Tarn: this machine cannot reset itself\r\n");
    arch::halt()
}
