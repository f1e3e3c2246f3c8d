//! Greets with every CPU, ticks three times by the virtual timer, then echoes the lines typed on its console.
//!
//! It sleeps in WFI whenever there is nothing to do, so it costs the other domains nothing. The line `q` powers it
//! off. This is Tarn's built-in demo guest and a starting point for your own: see examples/guest-rt for the rest.
use core::sync::atomic::{AtomicU32, Ordering};

use guest_rt::gic::{self, Gic};
use guest_rt::timer::{Timer, frequency};
use guest_rt::{console, cpu, machine, mmu, println, smp, trap};

static GREETED: AtomicU32 = AtomicU32::new(0);
static TICKS: AtomicU32 = AtomicU32::new(0);
static INPUT: AtomicU32 = AtomicU32::new(0);

guest_rt::entry!(main);

fn main() {
    mmu::on();
    let cpus = machine().cpus().len();
    println!(
        "Hello from a guest with {cpus} vCPU{}.",
        if cpus == 1 { "" } else { "s" }
    );
    for index in 1..cpus {
        let started = smp::start(index, |index| {
            println!("vCPU {index} is up.");
            GREETED.fetch_add(1, Ordering::SeqCst);
        });
        match started {
            Ok(()) => {
                _ = cpu::wait_until(frequency(), || {
                    GREETED.load(Ordering::SeqCst) as usize == index
                })
            }
            Err(error) => println!("vCPU {index} did not start: PSCI error {error}."),
        }
    }
    let Some(gic) = gic::find() else {
        return println!("No interrupt controller that I know: nothing more to do.");
    };
    gic.init_distributor();
    gic.init_cpu();
    trap::set_irq_handler(interrupt);
    gic.enable(Timer::Virtual.intid());
    if let Some(uart) = machine().uart.filter(|uart| uart.intid != 0) {
        gic.enable(uart.intid);
        console::enable_rx_irq();
    }
    Timer::Virtual.start(frequency());

    let mut ticked = 0;
    let mut line = [0u8; 80];
    let mut length = 0;
    loop {
        // Interrupts are masked while we look, so that none can slip in between looking and sleeping; a masked
        // interrupt still wakes a CPU from WFI.
        trap::mask_irqs();
        let (ticks, input) = (
            TICKS.load(Ordering::SeqCst),
            INPUT.swap(0, Ordering::SeqCst),
        );
        if ticks == ticked && input == 0 {
            cpu::wfi();
        }
        trap::unmask_irqs();
        if ticks != ticked {
            ticked = ticks;
            println!("tick {ticks}");
            if ticks == 3 {
                println!("Type a line for me, or q to power me off.");
            }
        }
        while let Some(byte) = console::get() {
            match (byte, &line[..length]) {
                (b'\r' | b'\n', []) => {}
                (b'\r' | b'\n', b"q") => return println!("Goodbye."),
                (b'\r' | b'\n', typed) => {
                    println!(
                        "you typed: {}",
                        core::str::from_utf8(typed).unwrap_or("something that is not UTF-8")
                    );
                    length = 0;
                }
                _ if length < line.len() => {
                    line[length] = byte;
                    length += 1;
                }
                _ => {}
            }
        }
    }
}

fn interrupt() {
    let gic: Gic = gic::find().expect("interrupts come from a GIC");
    let ack = gic.ack();
    match ack & 0x3ff {
        n if n == Timer::Virtual.intid() => {
            let ticks = TICKS.fetch_add(1, Ordering::SeqCst) + 1;
            if ticks < 3 {
                Timer::Virtual.start(frequency())
            } else {
                Timer::Virtual.stop()
            }
        }
        gic::SPURIOUS => return,
        _ => {
            console::clear_rx_irq();
            INPUT.store(1, Ordering::SeqCst);
        }
    }
    gic.eoi(ack);
}
