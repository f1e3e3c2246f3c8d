//! Everything a guest must not do. A hypervisor contains it; the other domains do not notice.
//!
//! `mode=` in the boot arguments chooses; those of the first group end with a transcript and power off, those of the
//! second do not end by themselves. Natively the first group runs too and must print the same CASE lines.
//!
//! | mode | what it does |
//! |---|---|
//! | memory (default) | touches what is not there, with every kind of instruction |
//! | calls | HVC and SMC with every immediate and many function ids |
//! | mmio | sweeps the GIC and UART windows with every width, then the forms without syndrome |
//! | walks | page tables where no memory is or in devices; devices as memory, executed, read by every form of access |
//! | registers | reads and writes system registers at random (`seed=`, `count=`) |
//! | storm-sgi, storm-timer, storm-uart | interrupts or output as fast as it goes for `ms=` (default 100) |
//! | psci | floods PSCI with bad and contradictory calls |
//! | flood | prints for ever |
//! | murmur | prints a short line every `us=` microseconds (default 500), and never sleeps |
//! | last-words | after `ms=` (default 1000) prints a long line without its end, and resets itself |
//! | irqs-off | spins for ever with interrupts masked |
//! | sleep | WFI for ever with nothing enabled |
//! | off | every CPU goes off, none is left to call SYSTEM_OFF |
//! | null | jumps to 0 with vectors where nothing is: faults for ever |
//! | selfwrite | overwrites its own memory, itself last |
use guest_rt::{machine, mmu, println, testing};

mod calls;
mod memory;
mod mmio;
mod registers;
mod storm;
mod suicide;
mod walks;

guest_rt::entry!(main);

/// A number from the boot arguments.
pub fn number(key: &str, default: u64) -> u64 {
    machine()
        .argument(key)
        .and_then(|n| n.parse().ok())
        .unwrap_or(default)
}

fn main() {
    let mode = machine().argument("mode").unwrap_or("memory");
    println!("MODE {mode}");
    if !matches!(mode, "null" | "selfwrite" | "irqs-off") {
        mmu::on();
    }
    match mode {
        "memory" => memory::all(),
        "calls" => calls::all(),
        "mmio" => mmio::all(),
        "registers" => registers::all(),
        "walks" => walks::all(),
        "psci" => calls::psci_flood(),
        "storm-sgi" | "storm-timer" | "storm-uart" => storm::run(mode),
        "flood" => storm::flood(),
        "murmur" => storm::murmur(),
        "last-words" => storm::last_words(),
        "irqs-off" => suicide::irqs_off(),
        "sleep" => suicide::sleep(),
        "off" => suicide::all_off(),
        "null" => suicide::null(),
        "selfwrite" => suicide::overwrite(),
        _ => testing::expect("mode", "unknown", "known"),
    }
    testing::end();
}
