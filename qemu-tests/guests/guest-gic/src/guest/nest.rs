//! Preemption: a handler that unmasks interrupts is interrupted by more urgent ones only.
use guest_rt::gic::Gic;
use guest_rt::{timer, trap};

use super::{SPI, log};

/// Marks the return to a handler in the list.
const BACK: u32 = 2000;

/// All cases.
pub fn all(gic: &Gic) {
    for i in 0..6 {
        gic.enable(SPI + i);
        gic.set_priority(SPI + i, (0xa0 - i * 0x18) as u8);
    }
    // Each handler pends the next more urgent one: five deep.
    log::reset_with(|gic, ack| {
        trap::unmask_irqs();
        if ack < SPI + 4 {
            gic.set_pending(ack + 1);
            timer::delay_us(100);
        }
        trap::mask_irqs();
        log::push(BACK + ack);
    });
    gic.set_pending(SPI);
    let (a, b, c, d, e) = (SPI, SPI + 1, SPI + 2, SPI + 3, SPI + 4);
    log::expect(
        "nest/five-deep",
        &[
            a,
            b,
            c,
            d,
            e,
            BACK + e,
            BACK + d,
            BACK + c,
            BACK + b,
            BACK + a,
        ],
    );

    // A less urgent one waits for the end, an equal one too.
    for (name, priority) in [("nest/less-urgent-waits", 0xb0), ("nest/equal-waits", 0xa0)] {
        gic.set_priority(SPI + 1, priority);
        log::reset_with(|gic, ack| {
            trap::unmask_irqs();
            if ack == SPI {
                gic.set_pending(SPI + 1);
                timer::delay_us(100);
            }
            trap::mask_irqs();
            log::push(BACK + ack);
        });
        gic.set_pending(SPI);
        log::expect(name, &[a, BACK + a, b, BACK + b]);
    }

    // More urgent and less urgent at once, from inside the handler.
    gic.set_priority(SPI + 1, 0xb0);
    gic.set_priority(SPI + 2, 0x40);
    log::reset_with(|gic, ack| {
        if ack == SPI {
            gic.set_pending(SPI + 1);
            gic.set_pending(SPI + 2);
        }
        trap::unmask_irqs();
        timer::delay_us(100);
        trap::mask_irqs();
        log::push(BACK + ack);
    });
    gic.set_pending(SPI);
    log::expect("nest/both", &[a, c, BACK + c, BACK + a, b, BACK + b]);

    // Eighteen pended behind a running one, half more urgent, half less.
    log::reset_with(|gic, ack| {
        trap::unmask_irqs();
        if ack == SPI {
            for i in 1..=18 {
                gic.set_pending(SPI + i);
            }
            timer::delay_us(500);
        }
        trap::mask_irqs();
        log::push(BACK + ack);
    });
    for i in 0..=18u32 {
        gic.set_priority(
            SPI + i,
            if i == 0 {
                0x80
            } else if i % 2 == 0 {
                0x80 - i as u8 * 6 / 8 * 8
            } else {
                0x80 + i as u8 * 6 / 8 * 8
            },
        );
        gic.enable(SPI + i);
    }
    let mut rank: [u32; 18] = core::array::from_fn(|i| i as u32 + 1);
    rank.sort_unstable_by_key(|&i| gic.priority(SPI + i));
    let mut want = [0; 38];
    let mut n = 0;
    let mut put = |value| {
        want[n] = value;
        n += 1;
    };
    let urgent = rank
        .iter()
        .filter(|&&i| gic.priority(SPI + i) < 0x80)
        .count();
    put(a);
    // The more urgent ones interrupt the handler as soon as it pends them; the others wait for its end.
    for i in (2..=18).step_by(2) {
        put(SPI + i);
        put(BACK + SPI + i);
    }
    put(BACK + a);
    for &i in &rank[urgent..] {
        put(SPI + i);
        put(BACK + SPI + i);
    }
    gic.set_pending(SPI);
    log::expect("nest/eighteen-behind-one", &want[..n]);
    for i in 0..=18 {
        gic.disable(SPI + i);
        gic.clear_pending(SPI + i);
        gic.set_priority(SPI + i, 0xa0);
    }
}
