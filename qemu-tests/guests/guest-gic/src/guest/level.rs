//! Level-sensitive sources: both timers, the UART's transmit interrupt, and software-pended level lines.
use guest_rt::console::{self, reg, uart};
use guest_rt::gic::Gic;
use guest_rt::testing::expect;
use guest_rt::timer::{ENABLE, IMASK, ISTATUS, Timer};
use guest_rt::{cpu, machine, timer};

use super::log;

/// All cases.
pub fn all(gic: &Gic) {
    timer_line(
        gic,
        Timer::Virtual,
        &[
            "vtimer/fires",
            "vtimer/fires-until-masked",
            "vtimer/pending-while-disabled",
            "vtimer/clear-does-nothing",
            "vtimer/pending-follows-line",
            "vtimer/delivered-when-enabled",
            "vtimer/idle",
            "vtimer/withdrawn-before-enable",
        ],
    );
    timer_line(
        gic,
        Timer::Physical,
        &[
            "ptimer/fires",
            "ptimer/fires-until-masked",
            "ptimer/pending-while-disabled",
            "ptimer/clear-does-nothing",
            "ptimer/pending-follows-line",
            "ptimer/delivered-when-enabled",
            "ptimer/idle",
            "ptimer/withdrawn-before-enable",
        ],
    );
    uart_line(gic);
}

fn stop(_: &Gic, ack: u32) {
    for t in [Timer::Virtual, Timer::Physical] {
        if t.intid() == ack & 0x3ff {
            t.stop();
        }
    }
}

fn mask_at_third(_: &Gic, ack: u32) {
    if log::count(0) == 3 {
        for t in [Timer::Virtual, Timer::Physical] {
            if t.intid() == ack & 0x3ff {
                t.set_ctl(ENABLE | IMASK);
            }
        }
    }
}

/// Waits for `n` interrupts while the other timer expires now and then, disabled at the GIC. QEMU's GICv2, when a list
/// register ends a hardware interrupt, looks at the physical line again only when something else happens.
fn nudged(t: Timer, n: usize) {
    let tick = timer::frequency() / 5000;
    let quiet = if t == Timer::Virtual {
        Timer::Physical
    } else {
        Timer::Virtual
    };
    for _ in 0..100 {
        if log::count(0) >= n {
            break;
        }
        if quiet.ctl() & ENABLE == 0 || quiet.ctl() & ISTATUS != 0 {
            quiet.start(tick);
        }
        timer::delay_us(300);
    }
    quiet.stop();
}

fn timer_line(gic: &Gic, t: Timer, names: &[&str; 8]) {
    let ms = timer::frequency() / 1000;
    let line = t.intid();
    let met = || cpu::wait_until(100 * ms, || t.ctl() & timer::ISTATUS != 0);
    gic.enable(line);
    log::reset_with(stop);
    t.start(ms);
    log::expect(names[0], &[line]);

    // Not silenced in its handler it comes again and again.
    log::reset_with(mask_at_third);
    t.start(ms);
    nudged(t, 3);
    log::expect(names[1], &[line, line, line]);
    t.stop();

    // Disabled at the GIC: pending follows the line and cannot be cleared.
    gic.disable(line);
    log::reset_with(stop);
    t.start(ms);
    met();
    expect(
        names[2],
        cpu::wait_until(100 * ms, || gic.is_pending(line)),
        true,
    );
    gic.clear_pending(line);
    expect(names[3], gic.is_pending(line), true);
    t.set_cval(u64::MAX);
    expect(names[4], gic.is_pending(line), false);
    gic.enable(line);
    log::expect(names[7], &[]);
    gic.disable(line);
    t.start(ms);
    met();
    gic.enable(line);
    log::expect(names[5], &[line]);
    expect(names[6], gic.is_active(line) || gic.is_pending(line), false);
    gic.disable(line);
}

fn clear_tx(_: &Gic, _: u32) {
    if let Some(uart) = uart() {
        uart.write32(reg::ICR, console::TX);
    }
}

/// The transmit interrupt: raised when the FIFO drains to its trigger level, lowered by ICR, masked by IMSC.
fn uart_line(gic: &Gic) {
    let (Some(node), Some(uart)) = (machine().uart, uart()) else {
        return;
    };
    let raised = || {
        cpu::wait_until(timer::frequency() / 10, || {
            uart.read32(reg::RIS) & console::TX != 0
        })
    };
    uart.write32(reg::CR, 1 | 1 << 8 | 1 << 9);
    uart.write32(reg::IMSC, 0);
    uart.write32(reg::ICR, 0x7ff);
    expect("uart/cleared", uart.read32(reg::RIS) & console::TX, 0);
    console::put(b'\n');
    expect("uart/raised-by-sending", raised(), true);
    expect("uart/masked", uart.read32(reg::MIS) & console::TX, 0);
    expect("uart/not-pending", gic.is_pending(node.intid), false);
    uart.write32(reg::IMSC, console::TX);
    expect(
        "uart/unmasked",
        uart.read32(reg::MIS) & console::TX,
        console::TX,
    );
    expect("uart/pending", gic.is_pending(node.intid), true);
    uart.write32(reg::IMSC, 0);
    expect(
        "uart/pending-follows-mask",
        gic.is_pending(node.intid),
        false,
    );
    // Reports use the same UART, so they come when its interrupt is masked again.
    log::reset_with(clear_tx);
    gic.enable(node.intid);
    uart.write32(reg::IMSC, console::TX);
    log::settle(1);
    let first = log::count(0);
    console::put(b'\n');
    log::settle(2);
    let second = log::count(0);
    // Not cleared in its handler: once more for each end of interrupt.
    log::reset_with(|gic, _| {
        if log::count(0) == 3 {
            clear_tx(gic, 0);
        }
    });
    console::put(b'\n');
    log::settle(3);
    let third = log::count(0);
    uart.write32(reg::IMSC, 0);
    expect("uart/delivered", first, 1);
    expect("uart/delivered-again", second, 2);
    expect("uart/level-repeats", third, 3);
    uart.write32(reg::ICR, console::TX);
    expect(
        "uart/idle",
        gic.is_active(node.intid) || gic.is_pending(node.intid),
        false,
    );
    gic.disable(node.intid);
}
