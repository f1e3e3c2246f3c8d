//! The generic timers: control bits, the two views of the deadline, interrupts on time and never early.
//!
//! How late an interrupt is belongs to guest-bench; here only what must be true everywhere is printed.
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use guest_rt::gic::{self, Gic};
use guest_rt::testing::{self, Hex, expect};
use guest_rt::timer::{ENABLE, IMASK, ISTATUS, Timer, delay_us, frequency};
use guest_rt::{MAX_CPUS, cpu, machine, mmu, smp, trap};

guest_rt::entry!(main);

/// Interrupts seen by each CPU, by timer.
static FIRED: [[AtomicUsize; 2]; MAX_CPUS] =
    [const { [const { AtomicUsize::new(0) }; 2] }; MAX_CPUS];
/// Other CPUs that are through.
static DONE: AtomicUsize = AtomicUsize::new(0);
/// Interrupts that came before their time.
static EARLY: AtomicUsize = AtomicUsize::new(0);
/// The last four interrupts on the boot CPU, a byte each.
static ORDER: AtomicU64 = AtomicU64::new(0);

const BOTH: [Timer; 2] = [Timer::Virtual, Timer::Physical];

fn handler() {
    let Some(gic) = gic::find() else { return };
    let ack = gic.ack();
    if ack & 0x3ff >= 1020 {
        return;
    }
    for (n, timer) in BOTH.into_iter().enumerate() {
        if ack & 0x3ff == timer.intid() {
            if timer.ctl() & (ENABLE | ISTATUS) == ENABLE | ISTATUS && timer.count() < timer.cval()
            {
                EARLY.fetch_add(1, Ordering::SeqCst);
            }
            timer.stop();
            FIRED[cpu::index()][n].fetch_add(1, Ordering::SeqCst);
            if cpu::index() == 0 {
                ORDER.store(
                    ORDER.load(Ordering::SeqCst) << 8 | u64::from(ack & 0xff),
                    Ordering::SeqCst,
                );
            }
        }
    }
    gic.eoi(ack);
}

fn fired(timer: Timer) -> usize {
    FIRED[cpu::index()][usize::from(timer == Timer::Physical)].load(Ordering::SeqCst)
}

fn reset() {
    FIRED
        .iter()
        .flatten()
        .for_each(|n| n.store(0, Ordering::SeqCst));
    ORDER.store(0, Ordering::SeqCst);
}

fn ms(n: u64) -> u64 {
    frequency() * n / 1000
}

fn main() {
    mmu::on();
    let Some(gic) = gic::find() else { return };
    expect("frequency-set", frequency() >= 1_000_000, true);
    expect(
        "virtual-not-ahead-of-physical",
        Timer::Virtual.count() <= Timer::Physical.count(),
        true,
    );
    gic.init_distributor();
    gic.init_cpu();
    trap::set_irq_handler(handler);
    for timer in BOTH {
        registers(timer);
    }
    trap::unmask_irqs();
    for timer in BOTH {
        gic.enable(timer.intid());
        ends_and_sleeps(&gic, timer);
        interrupts(timer);
        gic.disable(timer.intid());
    }
    together(&gic);
    if machine().cpus().len() > 1 {
        own_timers(&gic);
    }
    expect("none-early", EARLY.load(Ordering::SeqCst), 0);
    testing::end();
}

/// The case's name for this timer.
fn name<'a>(timer: Timer, virt: &'a str, phys: &'a str) -> &'a str {
    if timer == Timer::Virtual { virt } else { phys }
}

macro_rules! check {
    ($timer:expr, $name:literal, $got:expr, $want:expr) => {
        expect(
            name($timer, concat!("v/", $name), concat!("p/", $name)),
            $got,
            $want,
        )
    };
}

/// A line that is still high when its interrupt is ended is pending again at once: a WFI right behind does not sleep.
fn ends_and_sleeps(gic: &Gic, timer: Timer) {
    let daif = trap::mask_irqs();
    let mut taken = 0;
    timer.set_cval(0);
    timer.set_ctl(ENABLE);
    for _ in 0..50 {
        cpu::wfi();
        let ack = gic.ack();
        if ack & 0x3ff == timer.intid() {
            taken += 1;
        }
        if ack & 0x3ff < 1020 {
            gic.eoi(ack);
        }
        cpu::wfi();
    }
    timer.stop();
    // What is pending still comes to nothing now.
    let ack = gic.ack();
    if ack & 0x3ff < 1020 {
        gic.eoi(ack);
    }
    trap::restore_irqs(daif);
    check!(timer, "ends-with-the-line-high", taken, 50);
}

fn registers(timer: Timer) {
    timer.set_ctl(0);
    timer.set_cval(u64::MAX);
    timer.set_ctl(ENABLE | IMASK);
    check!(timer, "ctl-enable-and-mask", timer.ctl(), ENABLE | IMASK);
    timer.set_ctl(!0);
    check!(timer, "ctl-ones", Hex(timer.ctl()), Hex(ENABLE | IMASK));
    timer.set_ctl(IMASK);
    check!(timer, "ctl-mask-only", timer.ctl() & 3, IMASK);
    timer.set_ctl(ENABLE | IMASK);
    for value in [0x1234_5678_9abc_def0, 1, u64::MAX, 1 << 63] {
        timer.set_cval(value);
        check!(timer, "cval", Hex(timer.cval()), Hex(value));
    }
    check!(timer, "status-future", timer.ctl() & ISTATUS, 0);
    timer.set_cval(0);
    check!(timer, "status-past", timer.ctl() & ISTATUS, ISTATUS);
    timer.set_cval(u64::MAX);
    check!(timer, "status-future-again", timer.ctl() & ISTATUS, 0);

    for value in [0, 1, 1_000_000, i32::MAX, -1, -1_000_000, i32::MIN] {
        let before = timer.count();
        timer.set_tval(value);
        let after = timer.count();
        let cval = timer.cval();
        let low = before.wrapping_add_signed(value.into());
        let high = after.wrapping_add_signed(value.into());
        // Modulo 2^64: soon after boot a large negative value lies before zero.
        check!(
            timer,
            "tval-sets-cval",
            cval.wrapping_sub(low) <= high.wrapping_sub(low),
            true
        );
    }
    timer.set_tval(-1);
    check!(timer, "tval-past-status", timer.ctl() & ISTATUS, ISTATUS);
    timer.set_tval(i32::MAX);
    check!(timer, "tval-future-status", timer.ctl() & ISTATUS, 0);
    let cval = timer.count() + ms(1000);
    timer.set_cval(cval);
    let before = timer.count();
    let tval = timer.tval();
    let after = timer.count();
    let expected = |now: u64| cval.wrapping_sub(now) as i32;
    check!(
        timer,
        "tval-reads-difference",
        expected(after).wrapping_sub(tval) <= 0 && expected(before).wrapping_sub(tval) >= 0,
        true
    );
    timer.set_cval(timer.count() - 1);
    check!(timer, "tval-reads-negative", timer.tval() < 0, true);
    timer.stop();

    let mut last = timer.count();
    let mut monotonic = true;
    for _ in 0..1000 {
        let now = timer.count();
        monotonic &= now >= last;
        last = now;
    }
    check!(timer, "count-monotonic", monotonic, true);
}

fn interrupts(timer: Timer) {
    reset();
    timer.start(ms(1));
    check!(
        timer,
        "fires",
        cpu::wait_until(ms(500), || fired(timer) == 1),
        true
    );
    delay_us(2000);
    check!(timer, "fires-once", fired(timer), 1);

    reset();
    timer.set_cval(timer.count() + ms(1));
    timer.set_ctl(ENABLE | IMASK);
    delay_us(3000);
    check!(timer, "masked", fired(timer), 0);
    check!(
        timer,
        "masked-status",
        timer.ctl(),
        ENABLE | IMASK | ISTATUS
    );
    timer.set_ctl(ENABLE);
    check!(
        timer,
        "unmasked",
        cpu::wait_until(ms(500), || fired(timer) == 1),
        true
    );

    reset();
    timer.set_cval(0);
    timer.set_ctl(0);
    delay_us(500);
    check!(timer, "off", fired(timer), 0);
    timer.set_ctl(ENABLE);
    check!(
        timer,
        "on-with-past-deadline",
        cpu::wait_until(ms(500), || fired(timer) == 1),
        true
    );

    reset();
    timer.start(ms(10));
    timer.stop();
    delay_us(12_000);
    check!(timer, "stopped-in-time", fired(timer), 0);
    timer.start(ms(400));
    timer.start(ms(1));
    check!(
        timer,
        "moved-earlier",
        cpu::wait_until(ms(200), || fired(timer) == 1),
        true
    );
    reset();
    // Far enough that a busy host cannot reach the first deadline before it is moved.
    timer.start(ms(20));
    timer.start(ms(40));
    let start = timer.count();
    cpu::wait_until(ms(1000), || fired(timer) == 1);
    check!(
        timer,
        "moved-later",
        fired(timer) == 1 && timer.count() - start >= ms(39),
        true
    );
    reset();
    timer.set_cval(u64::MAX);
    timer.set_ctl(ENABLE);
    delay_us(1000);
    check!(timer, "never", fired(timer), 0);
    timer.stop();

    reset();
    let mut woken = 0;
    for round in 1..=20 {
        timer.start(ms(1));
        // Interrupts masked between the look and WFI, or the one that counts might slip in before it.
        for _ in 0..1000 {
            trap::mask_irqs();
            if fired(timer) < round {
                cpu::wfi();
            }
            trap::unmask_irqs();
            if fired(timer) >= round {
                break;
            }
        }
        woken += usize::from(fired(timer) == round);
    }
    check!(timer, "wfi-wakes", woken, 20);

    reset();
    let mut round = 0;
    while round < 1000 {
        timer.start(frequency() / 100_000);
        if !cpu::wait_until(ms(500), || fired(timer) > round) {
            break;
        }
        round += 1;
    }
    check!(timer, "thousand-short", fired(timer), 1000);
}

fn together(gic: &Gic) {
    for timer in BOTH {
        gic.enable(timer.intid());
    }
    let (v, p) = (
        u64::from(Timer::Virtual.intid()),
        u64::from(Timer::Physical.intid()),
    );
    let both = || {
        cpu::wait_until(ms(1000), || {
            fired(Timer::Virtual) + fired(Timer::Physical) == 2
        })
    };
    reset();
    let daif = trap::mask_irqs();
    Timer::Virtual.start(ms(20));
    Timer::Physical.start(ms(10));
    trap::restore_irqs(daif);
    both();
    // Stopped until both are due, the guest gets the lower number first.
    if machine().argument("stops").is_none() {
        expect(
            "both/physical-first",
            Hex(ORDER.load(Ordering::SeqCst)),
            Hex(p << 8 | v),
        );
    }
    reset();
    let daif = trap::mask_irqs();
    Timer::Virtual.start(ms(10));
    Timer::Physical.start(ms(20));
    trap::restore_irqs(daif);
    both();
    expect(
        "both/virtual-first",
        Hex(ORDER.load(Ordering::SeqCst)),
        Hex(v << 8 | p),
    );
    // Both long due: the more urgent priority wins.
    for (name, urgent, other) in [
        ("both/due-physical-urgent", Timer::Physical, Timer::Virtual),
        ("both/due-virtual-urgent", Timer::Virtual, Timer::Physical),
    ] {
        reset();
        gic.set_priority(urgent.intid(), 0x40);
        gic.set_priority(other.intid(), 0x80);
        let daif = trap::mask_irqs();
        other.start(0);
        urgent.start(0);
        delay_us(1000);
        trap::restore_irqs(daif);
        both();
        expect(
            name,
            Hex(ORDER.load(Ordering::SeqCst)),
            Hex(u64::from(urgent.intid() << 8 | other.intid())),
        );
    }
    for timer in BOTH {
        gic.disable(timer.intid());
        gic.set_priority(timer.intid(), 0xa0);
    }
}

/// A timer belongs to its CPU: each other CPU fires ten times on its own, the boot CPU not once.
fn own_timers(_: &Gic) {
    reset();
    let cpus = machine().cpus().len();
    for index in 1..cpus {
        let started = smp::start(index, |_| {
            let Some(gic) = gic::find() else { return };
            gic.init_cpu();
            trap::unmask_irqs();
            for timer in BOTH {
                gic.enable(timer.intid());
                for round in 1..=10 {
                    timer.start(ms(1));
                    cpu::wait_until(ms(1000), || fired(timer) == round);
                }
            }
            DONE.fetch_add(1, Ordering::SeqCst);
        });
        expect("others/started", started.is_ok(), true);
    }
    expect(
        "others/done",
        cpu::wait_until(ms(20_000), || DONE.load(Ordering::SeqCst) == cpus - 1),
        true,
    );
    for (index, counts) in FIRED.iter().enumerate().take(cpus).skip(1) {
        expect("others/off", smp::wait_off(index), true);
        for n in [0, 1] {
            expect("others/ten-each", counts[n].load(Ordering::SeqCst), 10);
        }
    }
    expect(
        "others/none-here",
        fired(Timer::Virtual) + fired(Timer::Physical),
        0,
    );
}
