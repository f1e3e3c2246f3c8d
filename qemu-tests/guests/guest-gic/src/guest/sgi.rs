//! Software-generated interrupts: to oneself, to another, to all others, from several sources.
use core::sync::atomic::{AtomicU32, Ordering};

use guest_rt::gic::{Gic, Target, reg};
use guest_rt::testing::expect;
use guest_rt::{cpu, machine, msr, smp, timer, trap};

use super::{SPI, gic, log};

/// Which CPUs run [`worker`], and what they are asked to do.
static READY: AtomicU32 = AtomicU32::new(0);
static ORDER: AtomicU32 = AtomicU32::new(0);
const WAIT: u32 = 0;
const SEND_3: u32 = 1;
const GO: u32 = 2;

fn worker(index: usize) {
    let gic = gic();
    gic.init_cpu();
    trap::unmask_irqs();
    READY.fetch_add(1, Ordering::SeqCst);
    loop {
        match ORDER.load(Ordering::SeqCst) {
            SEND_3 if index == 1 => {
                gic.send_sgi(3, Target::Cpu(0));
                ORDER.store(WAIT, Ordering::SeqCst);
            }
            GO => break,
            _ => core::hint::spin_loop(),
        }
    }
    trap::mask_irqs();
    READY.fetch_sub(1, Ordering::SeqCst);
}

/// All cases.
pub fn all(gic: &Gic) {
    to_self(gic);
    sixteen(gic);
    software_state(gic);
    let cpus = machine().cpus().len();
    for index in 1..cpus {
        let up = smp::start(index, worker).is_ok()
            && cpu::wait_until(timer::frequency(), || {
                READY.load(Ordering::SeqCst) as usize == index
            });
        expect("sgi/worker-up", up, true);
        if !up {
            return;
        }
    }
    if cpus > 1 {
        across(gic, cpus);
    }
    ORDER.store(GO, Ordering::SeqCst);
    for index in 1..cpus {
        expect("sgi/worker-off", smp::wait_off(index), true);
    }
}

fn to_self(gic: &Gic) {
    for sgi in [0, 1, 7, 15] {
        log::reset();
        gic.send_sgi(sgi, Target::Cpu(0));
        log::expect("sgi/self", &[sgi]);
    }
    if let Gic::V2(g) = gic {
        log::reset();
        g.dist.write32(reg::SGIR, 2 << 24 | 9);
        log::expect("sgi/v2-self-filter", &[9]);
        log::reset();
        g.dist.write32(reg::SGIR, 9);
        log::expect("sgi/v2-empty-list", &[]);
    } else {
        log::reset();
        // Affinity 255.255.255.x: no such CPU.
        msr!(
            "icc_sgi1r_el1",
            0xff << 48 | 0xff << 32 | 0xff << 16 | 9 << 24 | 1
        );
        log::expect("sgi/v3-nobody", &[]);
        // An empty target list.
        msr!("icc_sgi1r_el1", 9 << 24);
        log::expect("sgi/v3-empty-list", &[]);
    }
    // Sent twice while masked: one interrupt.
    log::reset();
    let daif = trap::mask_irqs();
    gic.send_sgi(4, Target::Cpu(0));
    gic.send_sgi(4, Target::Cpu(0));
    trap::restore_irqs(daif);
    log::expect("sgi/twice-is-once", &[4]);
    // Sent from its own handler: comes again after the end.
    log::reset_with(|gic, ack| {
        if log::count(0) < 3 {
            gic.send_sgi(ack & 0xf, Target::Cpu(0));
        }
    });
    gic.send_sgi(4, Target::Cpu(0));
    log::expect("sgi/from-own-handler", &[4, 4, 4]);
}

fn sixteen(gic: &Gic) {
    log::reset();
    let daif = trap::mask_irqs();
    let mut want = [0; 16];
    for sgi in 0..16 {
        gic.set_priority(sgi, ((sgi * 5 % 16) * 8) as u8);
        want[(sgi * 5 % 16) as usize] = sgi;
        gic.send_sgi(sgi, Target::Cpu(0));
    }
    trap::restore_irqs(daif);
    log::expect("sgi/sixteen-by-priority", &want);
    for sgi in 0..16 {
        gic.set_priority(sgi, 0xa0);
    }
    // An SGI beats an SPI of the same kind by priority only.
    log::reset();
    let daif = trap::mask_irqs();
    gic.set_priority(SPI, 0x40);
    gic.enable(SPI);
    gic.send_sgi(2, Target::Cpu(0));
    gic.set_pending(SPI);
    trap::restore_irqs(daif);
    log::expect("sgi/behind-urgent-spi", &[SPI, 2]);
    gic.disable(SPI);
    gic.set_priority(SPI, 0xa0);
}

/// Pending state of SGIs through the registers that each version has for it.
fn software_state(gic: &Gic) {
    log::reset();
    let daif = trap::mask_irqs();
    gic.send_sgi(5, Target::Cpu(0));
    expect("sgi/pending", gic.is_pending(5), true);
    match gic {
        Gic::V2(g) => {
            // ISPENDR and ICPENDR do not change SGIs on a GICv2.
            gic.clear_pending(5);
            expect("sgi/v2-icpendr-ignored", gic.is_pending(5), true);
            g.dist.write8(0xf10 + 5, 1);
        }
        Gic::V3(_) => gic.clear_pending(5),
    }
    expect("sgi/pending-cleared", gic.is_pending(5), false);
    trap::restore_irqs(daif);
    log::expect("sgi/cleared-does-not-come", &[]);
    match gic {
        Gic::V2(g) => {
            gic.set_pending(6);
            log::expect("sgi/v2-ispendr-ignored", &[]);
            g.dist.write8(0xf20 + 6, 1);
        }
        Gic::V3(_) => gic.set_pending(6),
    }
    log::expect("sgi/set-pending", &[6]);
    if let Gic::V3(_) = gic {
        log::reset();
        gic.disable(6);
        gic.send_sgi(6, Target::Cpu(0));
        log::expect("sgi/v3-disabled", &[]);
        gic.enable(6);
        log::expect("sgi/v3-enabled-again", &[6]);
    }
}

fn across(gic: &Gic, cpus: usize) {
    // From CPU 0: on a GICv2 the acknowledge carries the source, 0.
    log::reset();
    gic.send_sgi(8, Target::Cpu(1));
    log::settle_on(1, 1);
    log::expect_now("sgi/to-cpu1", 1, &[8]);
    log::expect_now("sgi/to-cpu1-not-self", 0, &[]);

    log::reset();
    gic.send_sgi(9, Target::Others);
    for index in 1..cpus {
        log::settle_on(index, 1);
        log::expect_now("sgi/all-but-self-other", index, &[9]);
    }
    log::expect_now("sgi/all-but-self-self", 0, &[]);

    // From CPU 1 to CPU 0: a GICv2 shows source 1.
    log::reset();
    ORDER.store(SEND_3, Ordering::SeqCst);
    log::expect(
        "sgi/from-cpu1",
        &[if gic.version() == 2 { 1 << 10 | 3 } else { 3 }],
    );

    // From both while masked: on a GICv2 two interrupts with their sources, on a GICv3 one.
    log::reset();
    let daif = trap::mask_irqs();
    gic.send_sgi(3, Target::Cpu(0));
    ORDER.store(SEND_3, Ordering::SeqCst);
    cpu::wait_until(timer::frequency(), || ORDER.load(Ordering::SeqCst) == WAIT);
    timer::delay_us(500);
    if let Gic::V2(g) = gic {
        expect("sgi/v2-both-sources-pending", g.dist.read8(0xf20 + 3), 3);
    }
    trap::restore_irqs(daif);
    let many = if gic.version() == 2 { 2 } else { 1 };
    log::settle(many);
    let mut room = [0; 64];
    let seen = log::take(0, &mut room);
    expect("sgi/both-count", seen.len(), many);
    expect(
        "sgi/both-sources",
        seen.iter().fold(0, |set, ack| set | 1 << (ack >> 10)),
        if many == 2 { 3 } else { 1 },
    );

    // An SPI to CPU 1 and back.
    log::reset();
    gic.route(SPI, 1);
    gic.enable(SPI);
    gic.set_pending(SPI);
    log::settle_on(1, 1);
    log::expect_now("route/to-cpu1", 1, &[SPI]);
    log::expect_now("route/to-cpu1-not-self", 0, &[]);
    log::reset();
    gic.disable(SPI);
    gic.set_pending(SPI);
    gic.route(SPI, 0);
    gic.enable(SPI);
    log::expect("route/moved-while-pending", &[SPI]);
    log::expect_now("route/moved-not-there", 1, &[]);
    gic.disable(SPI);

    // One at a time: none is lost.
    log::reset();
    for n in 1..=60 {
        gic.send_sgi(10, Target::Cpu(1));
        cpu::wait_until(timer::frequency() / 2, || log::count(1) >= n);
    }
    expect("sgi/sixty-to-cpu1", log::count(1), 60);
}
