//! Greets with every CPU, ticks three times by the virtual timer, then echoes the lines typed on its console.
//!
//! It sleeps in WFI whenever there is nothing to do, so it costs the other domains nothing. The line `q` powers it
//! off. This is Tarn's built-in demo guest and a starting point for your own: see examples/guest-rt for the rest.
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

use guest_rt::gic::{self, SPURIOUS};
use guest_rt::timer::{Timer, frequency};
use guest_rt::{console, cpu, machine, mmu, println, smp, trap};

static GREETED: AtomicU32 = AtomicU32::new(0);
static TICKS: AtomicU32 = AtomicU32::new(0);
static INPUT: AtomicBool = AtomicBool::new(false);

guest_rt::entry!(main);

fn main() {
    mmu::on();
    let cpus = machine().cpus().len();
    println!("Hello from a guest with {cpus} vCPU(s).");
    for index in 1..cpus {
        match smp::start(index, greet) {
            Ok(()) => _ = cpu::wait_until(frequency(), || GREETED.load(SeqCst) as usize == index),
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

    let (mut ticked, mut line, mut length) = (0, [0u8; 80], 0);
    loop {
        // Interrupts are masked while we look, so that none can slip in between looking and
        // sleeping; a masked interrupt still wakes a CPU from WFI.
        trap::mask_irqs();
        let ticks = TICKS.load(SeqCst);
        if !INPUT.swap(false, SeqCst) && ticks == ticked {
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
                (b'\r' | b'\n', b"q") => return println!("Goodbye."),
                (b'\r' | b'\n', typed) => {
                    println!("you typed: {}", core::str::from_utf8(typed).unwrap_or("?"));
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

/// What each other vCPU does; it goes off when this returns.
fn greet(index: usize) {
    println!("vCPU {index} is up.");
    GREETED.fetch_add(1, SeqCst);
}

/// Takes one interrupt: a tick of the timer, or input.
fn interrupt() {
    let Some(gic) = gic::find() else { return };
    let ack = gic.ack();
    if ack == SPURIOUS {
        return;
    }
    if ack == Timer::Virtual.intid() {
        match TICKS.fetch_add(1, SeqCst) {
            0 | 1 => Timer::Virtual.start(frequency()),
            _ => Timer::Virtual.stop(),
        }
    } else {
        console::clear_rx_irq();
        INPUT.store(true, SeqCst);
    }
    gic.eoi(ack);
}
