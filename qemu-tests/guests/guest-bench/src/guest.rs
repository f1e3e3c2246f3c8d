//! What a hypervisor costs a guest, event by event, in counter ticks.
//!
//! Under `-icount shift=0` with `cntfrq=1000000000` a tick is an executed instruction and every figure repeats
//! exactly. Each line is `BENCH name iterations min median max`; a time begins with the counter read right before the
//! event and ends with the one right after it, or with the first instruction of the handler. Run without a hypervisor
//! it gives the floor; what only a hypervisor answers is left out there. Two CPUs are needed for the second half.
//! `mode=wake` measures instead how late a guest is that wakes every `period=`US microseconds, `count=` times, and
//! `mode=switch` what it costs two of its CPUs, which share one of the machine's, to hand it to each other, and `mode=ring`
//! what it costs to ring the doorbell of `port=`; `mode=storm` how long one exit is at most that concerns many interrupts or CPUs;
//! `mode=off` and `mode=reset` end with all of them in use.
use guest_rt::gic::{self, Gic, reg};
use guest_rt::timer::{Timer, frequency};
use guest_rt::{console, entry_ticks, machine, mmu, println, psci, trap};

mod asm;
mod pair;
mod series;
mod storm;

use series::Series;

guest_rt::entry!(main);

fn main() {
    mmu::on();
    let Some(gic) = gic::find() else {
        return println!("NOTE no interrupt controller");
    };
    println!(
        "NOTE gic {} cpus {} frequency {}",
        gic.version(),
        machine().cpus().len(),
        frequency()
    );
    println!("NOTE hypervisor {}", machine().hypervisor.unwrap_or("none"));
    trap::mask_irqs();
    gic.init_distributor();
    gic.init_cpu();
    gic.enable(Timer::Virtual.intid());
    asm::use_vectors();
    match machine().argument("mode") {
        Some("wake") => wake(&gic),
        Some("switch") => pair::switch(),
        Some("storm") => storm::storm(&gic),
        Some("off") => storm::end(&gic, psci::id::SYSTEM_OFF),
        Some("reset") => storm::end(&gic, psci::id::SYSTEM_RESET),
        Some("ring") => {
            let port = number("port", 1);
            // What is measured below tells no answers.
            println!("NOTE ring answers {}", psci::call(asm::RING, port, 0, 0));
            Series::run("guest-ring", 1000, || asm::ring_call(port));
        }
        _ => {
            println!("BENCH guest-entry 1 {0} {0} {0}", entry_ticks());
            alone(&gic);
            pair::all(&gic);
        }
    }
    println!("BENCH-END");
}

fn number(key: &str, default: u64) -> u64 {
    machine()
        .argument(key)
        .and_then(|n| n.parse().ok())
        .unwrap_or(default)
}

fn alone(gic: &Gic) {
    let hypervisor = machine().hypervisor.is_some();
    let cpu_interface = asm::cpu_interface(gic);
    if hypervisor {
        Series::run("null-hypercall", 1000, asm::hypercall);
        Series::run("null-hypercall-smc", 1000, asm::smc_call);
        Series::run("unknown-hypercall", 1000, asm::unknown_call);
    }
    Series::run("gicd-typer-read", 1000, || {
        asm::read32(gic.dist(), reg::TYPER)
    });
    Series::run("gicd-isenabler-read", 1000, || {
        asm::read32(gic.dist(), reg::ISENABLER + 4)
    });
    Series::run("gicd-ipriorityr-read", 1000, || {
        asm::read32(gic.dist(), reg::IPRIORITYR + 40)
    });
    let frame = gic.frame(27);
    Series::run("gic-private-isenabler-write", 1000, || {
        asm::write32(frame, reg::ISENABLER, 1 << 27)
    });
    Series::run("id-register-read", 1000, asm::id_register);
    if let Some(uart) = console::uart() {
        Series::run("uart-fr-read", 1000, || asm::read32(uart, console::reg::FR));
        Series::run("uart-imsc-write", 1000, || {
            asm::write32(uart, console::reg::IMSC, 0)
        });
    }
    Series::run("abort-unmapped", 1000, asm::abort);
    Series::run("sgi-self", 1000, || asm::sgi_self(gic, cpu_interface));
    gic.enable(40);
    let pend = asm::Send::register(gic.dist(), reg::ISPENDR + 4, 1 << 8);
    Series::run("spi-self", 1000, || {
        asm::send_until_irq(cpu_interface, pend)
    });
    gic.disable(40);
    Series::run("ptimer-program", 1000, asm::program_physical);
    Series::run("vtimer-late-running", 1000, || {
        asm::timer(cpu_interface, in_us(20), false)
    });
    Series::run("vtimer-late-wfi", 1000, || {
        asm::timer(cpu_interface, in_us(20), true)
    });
    Series::run("wfi-interrupt-pending", 1000, || {
        asm::wfi_pending(gic, cpu_interface)
    });
}

fn in_us(us: u64) -> u64 {
    Timer::Virtual.count() + frequency() * us / 1_000_000
}

/// A guest that sleeps and wakes at a fixed rate: how late it is, as it sees it.
fn wake(gic: &Gic) {
    let (period, count) = (
        number("period", 1000),
        number("count", 1000).clamp(1, series::ROOM as u64),
    );
    let cpu_interface = asm::cpu_interface(gic);
    let step = frequency() * period / 1_000_000;
    let mut next = Timer::Virtual.count() + step;
    let mut series = Series::new();
    for _ in 0..count {
        series.add(asm::timer(cpu_interface, next, true));
        next += step;
        let now = Timer::Virtual.count();
        while next <= now {
            next += step;
        }
    }
    series.report(machine().argument("name").unwrap_or("wake-late"));
    series.percentiles("wake-late");
}
