//! What a domain may ask for itself: its counters and times, stolen time, and not to be descheduled just now.
//!
//! `mode=group` in the boot arguments: what is in group.rs instead.
//!
//! Two vCPUs share one CPU. vCPU 1 wakes each millisecond by its timer and computes for a while each time; vCPU 0 asks
//! by its boost page not to be interrupted by that, in stretches that its share can pay.
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use guest_rt::gic::{self, Gic};
use guest_rt::testing::{self, expect_tarn};
use guest_rt::timer::{self, Timer, frequency};
use guest_rt::{cpu, machine, mmu, on_tarn, psci, smp, trap};
use tarn_abi::call::guest::{page, times};
use tarn_abi::call::{Reply, Request, guest, system};
use tarn_abi::{Errno, Regs};

mod group;

guest_rt::entry!(main);

const PV_TIME_FEATURES: u32 = 0xc500_0020;
const PV_TIME_ST: u32 = 0xc500_0021;
const ARCH_FEATURES: u32 = 0x8000_0001;

/// 64 bytes for the boost page.
#[repr(C, align(64))]
struct Page([AtomicU32; 16]);
static PAGE: Page = Page([const { AtomicU32::new(0) }; 16]);

/// How often vCPU 1 has computed; set to end it.
static WAKES: AtomicU64 = AtomicU64::new(0);
static STOP: AtomicBool = AtomicBool::new(false);

fn field(offset: u64) -> &'static AtomicU32 {
    &PAGE.0[offset as usize / 4]
}

/// One of Tarn's calls.
pub fn call<C: Request>(c: &C) -> Result<C::Reply, Errno> {
    C::Reply::from_regs(&Regs(psci::hvc8(c.encode().0)))
}

/// 0, or the number of the refusal.
pub fn verdict<T>(r: Result<T, Errno>) -> i64 {
    r.map_or_else(|e| e.to_wire() as i64, |_| 0)
}

fn handler() {
    let Some(gic) = gic::find() else { return };
    let ack = gic.ack();
    if ack & 0x3ff < 1020 {
        Timer::Virtual.stop();
        gic.eoi(ack);
    }
}

fn us(n: u64) -> u64 {
    frequency() / 1_000_000 * n
}

fn main() {
    mmu::on();
    let Some(gic) = gic::find() else { return };
    gic.init_distributor();
    gic.init_cpu();
    trap::set_irq_handler(handler);
    testing::case("vcpus", machine().cpus().len());
    if machine().argument("mode") == Some("group") {
        group::all();
        testing::end();
        return;
    }
    if on_tarn() {
        own_calls();
        stolen_time();
        if machine().cpus().len() > 1 {
            not_now(&gic);
        }
    }
    testing::end();
}

fn own_calls() {
    expect_tarn("yield", verdict(call(&guest::Yield {})), 0);
    expect_tarn("deboost", verdict(call(&guest::Deboost {})), 0);
    let at = |address| verdict(call(&guest::SetPage { address }));
    let own = PAGE.0.as_ptr() as u64;
    expect_tarn(
        "page/unaligned",
        at(own + 4),
        Errno::Invalid.to_wire() as i64,
    );
    expect_tarn(
        "page/no-ram",
        at(0x0900_0000),
        Errno::NoSuch.to_wire() as i64,
    );
    expect_tarn("page/beyond", at(!63), Errno::NoSuch.to_wire() as i64);
    expect_tarn("page/own", at(own), 0);
    expect_tarn("page/back", at(u64::MAX), 0);
    let (mut counters, mut calls) = (0, 0);
    while let Ok(c) = call(&guest::Counters { index: counters }) {
        counters += 1;
        if c.name == *"exit-hvc" {
            calls = c.value;
        }
    }
    expect_tarn("counters/many", counters > 30, true);
    expect_tarn("counters/calls-counted", calls >= 8, true);
    let r = call(&guest::Runstate { index: 0 });
    expect_tarn("runstate/running", r.is_ok_and(|r| r.running.0 > 0), true);
    let r = verdict(call(&guest::Runstate { index: 1000 }));
    expect_tarn("runstate/none", r, Errno::End.to_wire() as i64);
    let r = verdict(call(&system::Info {}));
    expect_tarn("others-affairs", r, Errno::Denied.to_wire() as i64);
}

fn time_area() -> *mut u64 {
    psci::call(PV_TIME_ST, 0, 0, 0) as usize as *mut u64
}

/// A 64-bit field of the time area.
fn time_field(offset: u64) -> u64 {
    // SAFETY: Tarn said that the structure is there; a field of it, aligned.
    unsafe { time_area().add(offset as usize / 8).read_volatile() }
}

fn stolen_time() {
    let features = |f: u32| psci::call(PV_TIME_FEATURES, f.into(), 0, 0);
    let known = psci::call(ARCH_FEATURES, PV_TIME_FEATURES.into(), 0, 0);
    expect_tarn("pv-time/known", known, 0);
    expect_tarn("pv-time/features", features(PV_TIME_FEATURES), 0);
    expect_tarn("pv-time/st", features(PV_TIME_ST), 0);
    expect_tarn("pv-time/other", features(0xc500_0022), -1);
    expect_tarn("pv-time/revision", time_field(times::REVISION), 0);
    expect_tarn("pv-time/ran", time_field(times::SINCE) > 0, true);
    // SAFETY: a write that must not succeed.
    let fault = trap::catch(|| unsafe { time_area().write_volatile(!0) });
    expect_tarn("pv-time/read-only", fault.is_some(), true);
    expect_tarn("pv-time/unchanged", time_field(times::REVISION), 0);
}

/// vCPU 1: 200 us of work each millisecond.
fn neighbour(_: usize) {
    let Some(gic) = gic::find() else { return };
    gic.init_cpu();
    gic.enable(Timer::Virtual.intid());
    trap::unmask_irqs();
    let mut next = Timer::Virtual.count();
    while !STOP.load(Ordering::SeqCst) {
        next += us(1000);
        let daif = trap::mask_irqs();
        Timer::Virtual.set_cval(next);
        Timer::Virtual.set_ctl(timer::ENABLE);
        cpu::wfi();
        trap::restore_irqs(daif);
        let end = Timer::Virtual.count() + us(200);
        while Timer::Virtual.count() < end {}
        WAKES.fetch_add(1, Ordering::SeqCst);
    }
}

/// Computes for `span`: the longest time during which it did not have the CPU.
fn compute(span: u64) -> u64 {
    let (mut last, mut longest) = (Timer::Virtual.count(), 0);
    let end = last + span;
    while last < end {
        let now = Timer::Virtual.count();
        longest = longest.max(now - last);
        last = now;
    }
    longest
}

/// One of the domain's own counters.
fn counter(name: &str) -> u64 {
    let mut index = 0;
    while let Ok(c) = call(&guest::Counters { index }) {
        index += 1;
        if c.name == *name {
            return c.value;
        }
    }
    0
}

/// Until the neighbour has just done its work: 800 us before it wakes again.
fn neighbour_rests() {
    let seen = WAKES.load(Ordering::SeqCst);
    while WAKES.load(Ordering::SeqCst) == seen {
        cpu::relax();
    }
}

/// Boosts that end because what they were for is over, while somebody waits for the CPU: nobody tells Tarn, it looks.
fn ends(gic: &Gic) {
    // With a page, of which nothing is asked: an interrupt's handler has returned, and the guest goes on computing.
    gic.enable(Timer::Virtual.intid());
    let before = counter("end-handler-returned");
    for n in 0..20 {
        neighbour_rests();
        let daif = trap::mask_irqs();
        // Into the neighbour's work.
        Timer::Virtual.set_cval(Timer::Virtual.count() + us(810 + 5 * n));
        Timer::Virtual.set_ctl(timer::ENABLE);
        cpu::wfi();
        trap::restore_irqs(daif);
        compute(us(300));
    }
    expect_tarn(
        "ends/handler",
        counter("end-handler-returned") > before,
        true,
    );
    // Without one: interrupts are masked when the neighbour wakes, and enabled again soon after.
    let page = call(&guest::SetPage { address: u64::MAX });
    expect_tarn("page/none", verdict(page), 0);
    let before = counter("end-unmasked");
    for n in 0..40 {
        neighbour_rests();
        compute(us(700));
        let daif = trap::mask_irqs();
        compute(us(90 + 2 * n));
        trap::restore_irqs(daif);
        compute(us(300));
    }
    expect_tarn("ends/unmasked", counter("end-unmasked") > before, true);
}

fn not_now(gic: &Gic) {
    trap::unmask_irqs();
    let stolen = time_field(times::STOLEN);
    expect_tarn("neighbour/starts", smp::start(1, neighbour).is_ok(), true);
    // It takes the CPU away whenever it wakes.
    let gap = compute(us(20_000));
    expect_tarn("plain/interrupted", gap > us(150), true);
    expect_tarn("plain/stolen", time_field(times::STOLEN) > stolen, true);
    let own = PAGE.0.as_ptr() as u64;
    expect_tarn(
        "page/set",
        verdict(call(&guest::SetPage { address: own })),
        0,
    );
    let (mut gaps, mut told) = (0, 0);
    for _ in 0..20 {
        // A stretch of 300 us around the moment at which the neighbour wakes.
        let seen = WAKES.load(Ordering::SeqCst);
        while WAKES.load(Ordering::SeqCst) == seen {
            cpu::relax();
        }
        compute(us(650));
        field(page::DONT_DESCHED).store(1, Ordering::SeqCst);
        gaps = gaps.max(compute(us(300)));
        told += field(page::BOOSTED).load(Ordering::SeqCst);
        field(page::DONT_DESCHED).store(0, Ordering::SeqCst);
        if field(page::DEBOOST_WANTED).load(Ordering::SeqCst) != 0 {
            let _ = call(&guest::Deboost {});
        }
        compute(us(2_000));
    }
    expect_tarn("page/not-interrupted", gaps < us(100), true);
    expect_tarn("page/told", told > 0, true);
    expect_tarn(
        "counters/dont-desched",
        counter("boost-guest-asked") > 0,
        true,
    );
    ends(gic);
    STOP.store(true, Ordering::SeqCst);
    expect_tarn("neighbour/ends", smp::wait_off(1), true);
}
