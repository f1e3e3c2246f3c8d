//! System registers and FP state: what is unknown is UNDEFINED, what is known is kept while others run.
//!
//! `seed=N` in the boot arguments makes the patterns differ between domains that share a CPU, `ms=N` (default 100) is
//! how long each CPU holds its patterns. Values of ID registers are printed only under Tarn, as notes.
use core::sync::atomic::{AtomicU32, Ordering};

use guest_rt::gic;
use guest_rt::testing::{self, Hex, expect, expect_tarn};
use guest_rt::timer::{Timer, frequency};
use guest_rt::{cpu, machine, mmu, mrs, on_tarn, println, smp, trap};

mod hold;
mod unknown;

guest_rt::entry!(main);

static FINISHED: AtomicU32 = AtomicU32::new(0);

fn main() {
    mmu::on();
    unknown::all();
    if on_tarn() {
        id_registers();
    }
    keep();
    testing::end();
}

/// Takes and ends every interrupt; the timer goes on, so that holding is interrupted often.
fn handler() {
    let Some(gic) = gic::find() else { return };
    let ack = gic.ack();
    if ack & 0x3ff < 1020 {
        Timer::Virtual.start(frequency() / 1000);
        gic.eoi(ack);
    }
}

fn hold_here(index: usize) {
    let Some(gic) = gic::find() else { return };
    gic.init_cpu();
    gic.enable(Timer::Virtual.intid());
    Timer::Virtual.start(frequency() / 1000);
    trap::unmask_irqs();
    let ms = machine()
        .argument("ms")
        .and_then(|n| n.parse().ok())
        .unwrap_or(100u64);
    let seed = machine()
        .argument("seed")
        .and_then(|n| n.parse().ok())
        .unwrap_or(1u64);
    hold::for_ms(index, seed, ms);
    trap::mask_irqs();
    Timer::Virtual.stop();
    FINISHED.fetch_add(1, Ordering::SeqCst);
}

/// Every CPU holds patterns in all its registers and checks them again and again.
fn keep() {
    let Some(gic) = gic::find() else { return };
    let cpus = machine().cpus().len();
    gic.init_distributor();
    trap::set_irq_handler(handler);
    for index in 1..cpus {
        expect("keep/started", smp::start(index, hold_here).is_ok(), true);
    }
    hold_here(0);
    let all = || FINISHED.load(Ordering::SeqCst) as usize == cpus;
    expect(
        "keep/all-finished",
        cpu::wait_until(60 * frequency(), all),
        true,
    );
    for index in 0..cpus {
        let found = hold::found(index);
        expect("keep/general-registers", found.general, 0);
        expect("keep/fp-registers", found.fp, 0);
        expect("keep/fp-control", found.control, 0);
        expect("keep/system-registers", found.system, 0);
        println!("NOTE cpu {index} checked {} times", found.checks);
    }
}

/// What is virtualised must be what is said to be there.
fn id_registers() {
    macro_rules! show {
        ($($reg:literal),*) => { $(println!("NOTE {} {:#018x}", $reg, mrs!($reg));)* };
    }
    show!(
        "midr_el1",
        "mpidr_el1",
        "revidr_el1",
        "id_aa64pfr0_el1",
        "id_aa64pfr1_el1",
        "id_aa64dfr0_el1",
        "id_aa64dfr1_el1",
        "id_aa64isar0_el1",
        "id_aa64isar1_el1",
        "id_aa64mmfr0_el1",
        "id_aa64mmfr1_el1",
        "id_aa64mmfr2_el1",
        "ctr_el0",
        "dczid_el0"
    );
    let pfr0 = mrs!("id_aa64pfr0_el1");
    expect_tarn("id/no-el2", Hex(pfr0 >> 8 & 0xf), Hex(0));
    expect_tarn("id/no-el3", Hex(pfr0 >> 12 & 0xf), Hex(0));
    expect_tarn("id/no-ras", Hex(pfr0 >> 28 & 0xf), Hex(0));
    expect_tarn("id/no-sve", Hex(pfr0 >> 32 & 0xf), Hex(0));
    expect_tarn("id/no-mpam", Hex(pfr0 >> 40 & 0xf), Hex(0));
    expect_tarn("id/no-amu", Hex(pfr0 >> 44 & 0xf), Hex(0));
    let gic3 = matches!(machine().gic, Some(guest_rt::machine::GicNode::V3 { .. }));
    expect_tarn("id/gic-registers-as-in-tree", pfr0 >> 24 & 0xf != 0, gic3);
    expect_tarn(
        "id/mpidr-matches-tree",
        machine().cpus()[0] == cpu::affinity(),
        true,
    );
}
