//! Delivery of software-pended SPIs: enable, pending, active, priorities, masks, end of interrupt.
use guest_rt::gic::{Gic, SPURIOUS};
use guest_rt::testing::{Hex, expect};
use guest_rt::{cpu, timer, trap};

use super::{SPI, log};

/// Every case leaves its SPIs disabled, idle, level, and at the default priority.
pub fn all(gic: &Gic) {
    enable_and_pend(gic);
    order_of_twenty(gic);
    masks(gic);
    groups(gic);
    eoi_modes(gic);
    active(gic);
    disable_in_handler(gic);
    polled(gic);
    routed(gic);
}

fn clean(gic: &Gic, spi: u32) {
    gic.disable(spi);
    gic.clear_pending(spi);
    gic.clear_active(spi);
    gic.set_edge(spi, false);
    gic.set_priority(spi, 0xa0);
}

fn note_state(gic: &Gic, ack: u32) {
    let id = ack & 0x3ff;
    log::push(u32::from(gic.is_active(id)) * 10 + u32::from(gic.is_pending(id)));
}

fn enable_and_pend(gic: &Gic) {
    for edge in [false, true] {
        let name = |level: &'static str, edged: &'static str| if edge { edged } else { level };
        gic.set_edge(SPI, edge);
        log::reset_with(note_state);
        gic.set_pending(SPI);
        log::expect(name("pend/level/disabled", "pend/edge/disabled"), &[]);
        expect(
            name("pend/level/stays", "pend/edge/stays"),
            gic.is_pending(SPI),
            true,
        );
        gic.enable(SPI);
        // In the handler: active, no longer pending.
        log::expect(name("pend/level/enabled", "pend/edge/enabled"), &[SPI, 10]);
        expect(
            name("pend/level/done", "pend/edge/done"),
            gic.is_pending(SPI) || gic.is_active(SPI),
            false,
        );

        log::reset();
        let daif = trap::mask_irqs();
        gic.set_pending(SPI);
        gic.disable(SPI);
        trap::restore_irqs(daif);
        log::expect(
            name(
                "pend/level/disabled-while-pending",
                "pend/edge/disabled-while-pending",
            ),
            &[],
        );
        expect(
            name("pend/level/still-pending", "pend/edge/still-pending"),
            gic.is_pending(SPI),
            true,
        );
        gic.enable(SPI);
        log::expect(
            name("pend/level/enabled-again", "pend/edge/enabled-again"),
            &[SPI],
        );

        log::reset();
        let daif = trap::mask_irqs();
        gic.set_pending(SPI);
        gic.clear_pending(SPI);
        let pending = gic.is_pending(SPI);
        trap::restore_irqs(daif);
        log::expect(name("pend/level/taken-back", "pend/edge/taken-back"), &[]);
        expect(
            name("pend/level/taken-back-state", "pend/edge/taken-back-state"),
            pending,
            false,
        );

        log::reset();
        let daif = trap::mask_irqs();
        gic.set_pending(SPI);
        gic.set_pending(SPI);
        trap::restore_irqs(daif);
        log::expect(
            name("pend/level/twice-is-once", "pend/edge/twice-is-once"),
            &[SPI],
        );
        gic.disable(SPI);
    }
    clean(gic, SPI);
}

/// More interrupts than any list-register file holds, each with its own priority.
fn order_of_twenty(gic: &Gic) {
    const N: u32 = 20;
    for (name, step) in [
        ("order/reversed", 19),
        ("order/shuffled", 7),
        ("order/by-number", 1),
    ] {
        let mut want = [0; N as usize];
        log::reset();
        let daif = trap::mask_irqs();
        for i in 0..N {
            let rank = (i * step + if step == 19 { 19 } else { 0 }) % N;
            gic.set_priority(SPI + i, (rank * 8) as u8);
            gic.enable(SPI + i);
            want[rank as usize] = SPI + i;
        }
        for i in 0..N {
            gic.set_pending(SPI + i);
        }
        trap::restore_irqs(daif);
        log::expect(name, &want);
    }
    // All twenty at one priority: the order is the implementation's, but each comes exactly once.
    log::reset();
    let daif = trap::mask_irqs();
    for i in 0..N {
        gic.set_priority(SPI + i, 0x80);
        gic.set_pending(SPI + i);
    }
    trap::restore_irqs(daif);
    log::settle(N as usize);
    let mut room = [0; 64];
    let seen = log::take(0, &mut room);
    let mut once = [0u32; N as usize];
    for ack in seen {
        if let Some(n) = ack.checked_sub(SPI).and_then(|i| once.get_mut(i as usize)) {
            *n += 1;
        }
    }
    expect(
        "order/equal-each-once",
        once.iter().all(|&n| n == 1) && seen.len() == N as usize,
        true,
    );
    // A more urgent one that arrives while the rest wait goes first.
    log::reset_with(|gic, ack| {
        if ack == SPI + 5 {
            gic.set_pending(SPI);
        }
    });
    let daif = trap::mask_irqs();
    for i in 0..N {
        gic.set_priority(SPI + i, (40 + i * 8) as u8);
    }
    for i in 1..N {
        gic.set_pending(SPI + i);
    }
    trap::restore_irqs(daif);
    let mut want = [0; N as usize];
    for (n, slot) in want.iter_mut().enumerate() {
        *slot = match n as u32 {
            n @ 0..=4 => SPI + 1 + n,
            5 => SPI,
            n => SPI + n,
        };
    }
    log::expect("order/late-urgent", &want);
    for i in 0..N {
        clean(gic, SPI + i);
    }
}

fn masks(gic: &Gic) {
    log::reset();
    gic.set_priority(SPI, 0xa0);
    gic.enable(SPI);
    gic.set_priority_mask(0x80);
    gic.set_pending(SPI);
    log::expect("mask/below", &[]);
    if gic.version() == 3 {
        expect("mask/highest-pending-sees-it", gic.highest_pending(), SPI);
    }
    gic.set_priority_mask(0xa0);
    log::expect("mask/equal", &[]);
    gic.set_priority_mask(0xa8);
    log::expect("mask/above", &[SPI]);
    gic.set_priority_mask(0);
    gic.set_priority(SPI, 0);
    log::reset();
    gic.set_pending(SPI);
    log::expect("mask/zero-masks-zero", &[]);
    gic.set_priority_mask(0xff);
    log::expect("mask/open", &[SPI]);

    // Lower the priority value of a pending one, in the way that is defined: disabled meanwhile.
    log::reset();
    gic.set_priority_mask(0x80);
    gic.set_priority(SPI, 0xa0);
    gic.set_pending(SPI);
    gic.disable(SPI);
    gic.set_priority(SPI, 0x40);
    log::expect("mask/priority-change-waits", &[]);
    gic.enable(SPI);
    log::expect("mask/priority-change-delivers", &[SPI]);
    gic.set_priority_mask(0xff);

    // A CPU whose PSTATE masks interrupts still wakes from WFI.
    log::reset();
    let daif = trap::mask_irqs();
    let timer = timer::Timer::Virtual;
    gic.enable(timer.intid());
    timer.start(timer::frequency() / 1000);
    let woken = cpu::wait_until(timer::frequency(), || {
        cpu::wfi();
        gic.is_pending(timer.intid())
    });
    timer.stop();
    gic.disable(timer.intid());
    trap::restore_irqs(daif);
    expect("mask/wfi-wakes-while-masked", woken, true);
    log::expect("mask/wfi-none-taken", &[]);
    clean(gic, SPI);
}

fn groups(gic: &Gic) {
    gic.enable(SPI);
    log::reset();
    gic.set_cpu_enable(false);
    gic.set_pending(SPI);
    log::expect("group/cpu-disabled", &[]);
    expect("group/cpu-disabled-ack", gic.ack(), SPURIOUS);
    gic.set_cpu_enable(true);
    log::expect("group/cpu-enabled", &[SPI]);
    log::reset();
    gic.set_distributor_enable(false);
    gic.set_pending(SPI);
    log::expect("group/distributor-disabled", &[]);
    expect(
        "group/distributor-disabled-pending",
        gic.is_pending(SPI),
        true,
    );
    gic.set_distributor_enable(true);
    log::expect("group/distributor-enabled", &[SPI]);
    expect("group/spurious", gic.ack(), SPURIOUS);
    clean(gic, SPI);
}

fn eoi_modes(gic: &Gic) {
    gic.enable(SPI);
    gic.enable(SPI + 1);
    // Mode 0: pended again inside its own handler, it comes once more.
    log::reset_with(|gic, ack| {
        if log::count(0) == 1 {
            gic.set_pending(ack & 0x3ff);
            log::push(
                u32::from(gic.is_active(ack & 0x3ff)) * 10 + u32::from(gic.is_pending(ack & 0x3ff)),
            );
        }
    });
    gic.set_pending(SPI);
    log::expect("eoi0/pended-in-handler", &[SPI, 11, SPI]);

    // Mode 1: EOI drops the priority only.
    gic.set_split_eoi(true);
    log::reset_with(|gic, ack| {
        if ack == SPI {
            log::push(u32::from(gic.running_priority() & 0xf8));
            gic.eoi(ack);
            log::push(u32::from(gic.running_priority() & 0xf8));
            log::push(u32::from(gic.is_active(SPI)));
        } else {
            gic.eoi(ack);
            gic.deactivate(ack);
        }
    });
    log::manual_eoi();
    gic.set_pending(SPI);
    log::expect("eoi1/dropped", &[SPI, 0xa0, 0xf8, 1]);
    // Same priority, taken since nothing runs any more although SPI is active.
    gic.set_pending(SPI + 1);
    log::expect("eoi1/another-while-active", &[SPI, 0xa0, 0xf8, 1, SPI + 1]);
    gic.set_pending(SPI);
    log::expect("eoi1/again-waits", &[SPI, 0xa0, 0xf8, 1, SPI + 1]);
    expect(
        "eoi1/active-and-pending",
        gic.is_active(SPI) && gic.is_pending(SPI),
        true,
    );
    log::reset_with(|gic, ack| {
        gic.eoi(ack);
        gic.deactivate(ack);
    });
    log::manual_eoi();
    gic.deactivate(SPI);
    log::expect("eoi1/deactivated", &[SPI]);
    expect(
        "eoi1/idle",
        gic.is_active(SPI) || gic.is_pending(SPI),
        false,
    );
    // Two active at once, deactivated in the order they came.
    log::reset_with(|gic, ack| gic.eoi(ack));
    log::manual_eoi();
    gic.set_pending(SPI);
    log::settle(1);
    gic.set_pending(SPI + 1);
    log::expect("eoi1/two-active", &[SPI, SPI + 1]);
    gic.deactivate(SPI);
    expect("eoi1/first-gone", gic.is_active(SPI), false);
    expect("eoi1/second-stays", gic.is_active(SPI + 1), true);
    gic.deactivate(SPI + 1);
    expect("eoi1/second-gone", gic.is_active(SPI + 1), false);
    gic.set_split_eoi(false);
    clean(gic, SPI);
    clean(gic, SPI + 1);
}

fn active(gic: &Gic) {
    log::reset();
    gic.enable(SPI);
    gic.set_active(SPI);
    gic.set_pending(SPI);
    log::expect("active/set-by-software-holds", &[]);
    expect(
        "active/state",
        gic.is_active(SPI) && gic.is_pending(SPI),
        true,
    );
    gic.clear_active(SPI);
    log::expect("active/cleared-delivers", &[SPI]);
    expect(
        "active/idle",
        gic.is_active(SPI) || gic.is_pending(SPI),
        false,
    );
    clean(gic, SPI);
}

fn disable_in_handler(gic: &Gic) {
    log::reset_with(|gic, ack| {
        if log::count(0) == 1 {
            gic.disable(ack & 0x3ff);
            gic.set_pending(ack & 0x3ff);
            log::push(u32::from(gic.is_active(SPI)) * 10 + u32::from(gic.is_pending(SPI)));
        }
    });
    gic.enable(SPI);
    gic.set_pending(SPI);
    log::expect("disable/in-handler", &[SPI, 11]);
    expect("disable/not-active", gic.is_active(SPI), false);
    expect("disable/pending", gic.is_pending(SPI), true);
    gic.enable(SPI);
    log::expect("disable/enabled-again", &[SPI, 11, SPI]);
    clean(gic, SPI);
}

fn polled(gic: &Gic) {
    log::reset();
    let daif = trap::mask_irqs();
    gic.enable(SPI);
    gic.enable(SPI + 1);
    gic.set_priority(SPI, 0x60);
    gic.set_priority(SPI + 1, 0x40);
    gic.set_pending(SPI);
    gic.set_pending(SPI + 1);
    expect("poll/highest", gic.highest_pending(), SPI + 1);
    let first = gic.ack();
    expect("poll/first", first, SPI + 1);
    expect(
        "poll/running",
        Hex(u64::from(gic.running_priority() & 0xf8)),
        Hex(0x40),
    );
    expect("poll/less-urgent-waits", gic.ack(), SPURIOUS);
    gic.eoi(first);
    let second = gic.ack();
    expect("poll/second", second, SPI);
    gic.eoi(second);
    expect("poll/none-left", gic.ack(), SPURIOUS);
    expect(
        "poll/idle-priority",
        Hex(u64::from(gic.running_priority() & 0xf8)),
        Hex(0xf8),
    );
    trap::restore_irqs(daif);
    log::expect("poll/none-by-exception", &[]);
    clean(gic, SPI);
    clean(gic, SPI + 1);
}

/// SPIs on another CPU. The other CPU must be up and waiting (see `sgi`), so this only checks routing to oneself.
fn routed(gic: &Gic) {
    log::reset();
    gic.route(SPI, 0);
    gic.enable(SPI);
    gic.set_pending(SPI);
    log::expect("route/self", &[SPI]);
    clean(gic, SPI);
}
