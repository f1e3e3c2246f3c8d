//! PSCI and SMCCC: every function with good and bad arguments, and the CPUs' life between on and off.
//!
//! The MMU stays off, so that what a starting CPU writes is seen without cache maintenance; nothing here needs more
//! than loads and stores. With `mode=reset`, `mode=reset2` or `mode=off` in the boot arguments it only prints a line
//! and makes that call. Lines that begin with TARN are cases QEMU's own PSCI does not have.
use guest_rt::{machine, on_tarn, println, psci, testing};

mod answers;
mod life;
mod suspend;

guest_rt::entry!(main);

fn main() {
    match machine().argument("mode") {
        Some("reset") => return only("SYSTEM_RESET", psci::id::SYSTEM_RESET),
        Some("reset2") => return only("SYSTEM_RESET2", 0xc400_0012),
        Some("off") => return only("SYSTEM_OFF", psci::id::SYSTEM_OFF),
        _ => {}
    }
    testing::case("cpus", machine().cpus().len());
    answers::all();
    life::all();
    suspend::all();
    if on_tarn() {
        answers::tarn_only();
        life::bad_entries();
    }
    testing::end();
}

fn only(name: &str, function: u32) {
    println!("CALL {name}");
    println!("RETURNED {}", psci::call(function, 0, 0, 0));
}
