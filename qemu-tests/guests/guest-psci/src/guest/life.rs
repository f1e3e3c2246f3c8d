//! CPU_ON, CPU_OFF and AFFINITY_INFO over the life of the other CPUs.
use core::arch::global_asm;
use core::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use guest_rt::psci::{self, call, error, id};
use guest_rt::testing::{Hex, expect, expect_tarn};
use guest_rt::{cpu, machine, mrs, on_tarn, println, smp, timer};

// Where the tests let a CPU start: writes down the state it starts in, then goes on to the runtime. The context
// argument carries the index in its low byte.
global_asm!(
    r#"
    .section .text.guest_psci_entry, "ax"
    .global guest_psci_entry
guest_psci_entry:
    adrp    x1, {state}
    add     x1, x1, :lo12:{state}
    str     x0, [x1]
    mrs     x2, mpidr_el1
    str     x2, [x1, #8]
    mrs     x2, CurrentEL
    str     x2, [x1, #16]
    mrs     x2, daif
    str     x2, [x1, #24]
    mrs     x2, sctlr_el1
    str     x2, [x1, #32]
    mrs     x2, SPSel
    str     x2, [x1, #40]
    and     x0, x0, #0xff
    b       guest_rt_secondary_entry
"#,
    state = sym STATE,
);
static STATE: [AtomicU64; 6] = [const { AtomicU64::new(0) }; 6];
static RUNNING: AtomicU32 = AtomicU32::new(0);
static STOP: AtomicU32 = AtomicU32::new(0);
static ON_BOOT_CPU: AtomicI64 = AtomicI64::new(1);
static SEES_SELF: AtomicI64 = AtomicI64::new(1);

unsafe extern "C" {
    fn guest_psci_entry();
}

fn entry() -> u64 {
    guest_psci_entry as *const () as u64
}

/// Runs until told to stop, then returns: the runtime calls CPU_OFF.
fn work(index: usize) {
    SEES_SELF.store(psci::affinity_info(cpu::affinity()), Ordering::SeqCst);
    ON_BOOT_CPU.store(
        call(id::CPU_ON, machine().cpus()[0], entry(), 0),
        Ordering::SeqCst,
    );
    RUNNING.store(index as u32, Ordering::SeqCst);
    while STOP.load(Ordering::SeqCst) == 0 {
        core::hint::spin_loop();
    }
}

fn second() -> u64 {
    timer::frequency()
}

fn start(function: u32, mpidr: u64, index: usize) -> i64 {
    STOP.store(0, Ordering::SeqCst);
    RUNNING.store(0, Ordering::SeqCst);
    call(
        function,
        mpidr,
        entry(),
        0xabcd_0000_0000_0000 | index as u64,
    )
}

fn runs(index: usize) -> bool {
    cpu::wait_until(second(), || RUNNING.load(Ordering::SeqCst) == index as u32)
}

fn stop(index: usize) -> bool {
    STOP.store(1, Ordering::SeqCst);
    smp::wait_off(index)
}

/// Cases for every CPU but the first.
pub fn all() {
    for (index, &mpidr) in machine().cpus().iter().enumerate().skip(1) {
        expect("life/off-at-first", psci::affinity_info(mpidr), 1);
        expect("life/prepared", smp::prepare(index, work).is_ok(), true);
        expect("life/on", start(id::CPU_ON, mpidr, index), 0);
        expect("life/runs", runs(index), true);
        let state = |n: usize| STATE[n].load(Ordering::SeqCst);
        expect(
            "entry/context",
            Hex(state(0)),
            Hex(0xabcd_0000_0000_0000 | index as u64),
        );
        expect("entry/mpidr", state(1) & 0xff_00ff_ffff == mpidr, true);
        expect("entry/el1", state(2) >> 2, 1);
        expect("entry/daif-masked", Hex(state(3)), Hex(0x3c0));
        expect("entry/mmu-and-caches-off", Hex(state(4) & 0x1005), Hex(0));
        expect("entry/sp-el1", state(5), 1);
        expect("life/on-for-others", psci::affinity_info(mpidr), 0);
        expect("life/on-for-itself", SEES_SELF.load(Ordering::SeqCst), 0);
        expect(
            "life/boot-cpu-already-on",
            ON_BOOT_CPU.load(Ordering::SeqCst),
            error::ALREADY_ON,
        );
        expect(
            "life/on-while-on",
            call(id::CPU_ON, mpidr, entry(), 0),
            error::ALREADY_ON,
        );
        expect("life/off", stop(index), true);
        expect("life/off-state", psci::affinity_info(mpidr), 1);
        expect("life/on-again", start(id::CPU_ON, mpidr, index), 0);
        if on_tarn() {
            at_once(mpidr);
        }
        expect("life/runs-again", runs(index), true);
        expect("life/off-again", stop(index), true);
        if entry() >> 32 == 0 && mpidr >> 32 == 0 {
            expect(
                "life/on-by-32-bit-call",
                start(id::CPU_ON32, mpidr, index),
                0,
            );
            expect("life/runs-32", runs(index), true);
            expect("life/off-32", stop(index), true);
        }
        let mut cycles = 0;
        while cycles < 50 && start(id::CPU_ON, mpidr, index) == 0 && runs(index) && stop(index) {
            cycles += 1;
        }
        expect("life/fifty-cycles", cycles, 50);
    }
    if on_tarn() {
        contended();
    }
}

/// Between CPU_ON and the first instruction a CPU may be pending or on already, nothing else. (QEMU's own PSCI shows
/// a CPU as off for a moment while it resets it.)
fn at_once(mpidr: u64) {
    let again = call(id::CPU_ON, mpidr, entry(), 0);
    expect_tarn(
        "life/on-at-once",
        again == error::ALREADY_ON || again == error::ON_PENDING,
        true,
    );
    let state = psci::affinity_info(mpidr);
    expect_tarn("life/state-at-once", state == 0 || state == 2, true);
}

static CONTENDERS: [AtomicI64; 2] = [const { AtomicI64::new(1) }; 2];

fn contend(_: usize) {
    let target = machine().cpus()[2];
    RUNNING.store(1, Ordering::SeqCst);
    while STOP.load(Ordering::SeqCst) == 0 {
        core::hint::spin_loop();
    }
    CONTENDERS[1].store(call(id::CPU_ON, target, entry(), 2), Ordering::SeqCst);
}

fn idle(_: usize) {}

/// Two CPUs start a third at the same time: one may, the other is told that it is on or pending.
fn contended() {
    if machine().cpus().len() < 3 {
        return;
    }
    let mut fair = 0;
    for _ in 0..20 {
        STOP.store(0, Ordering::SeqCst);
        RUNNING.store(0, Ordering::SeqCst);
        CONTENDERS[1].store(1, Ordering::SeqCst);
        if smp::prepare(2, idle).is_err() || smp::start(1, contend).is_err() || !runs(1) {
            break;
        }
        STOP.store(1, Ordering::SeqCst);
        let mine = call(id::CPU_ON, machine().cpus()[2], entry(), 2);
        if !cpu::wait_until(second(), || CONTENDERS[1].load(Ordering::SeqCst) != 1) {
            break;
        }
        let theirs = CONTENDERS[1].load(Ordering::SeqCst);
        let refused = |e: i64| e == error::ALREADY_ON || e == error::ON_PENDING;
        // Both may succeed only if the third went off in between, which `idle` makes possible.
        if !(mine == 0 && (refused(theirs) || theirs == 0) || refused(mine) && theirs == 0) {
            println!("NOTE contended {mine} {theirs}");
            break;
        }
        if !smp::wait_off(1) || !smp::wait_off(2) {
            break;
        }
        fair += 1;
    }
    expect_tarn("life/contended", fair, 20);
}

/// Entry points where nothing can run. Tarn must refuse them or contain what follows; this CPU lives on.
pub fn bad_entries() {
    let Some(&mpidr) = machine().cpus().get(1) else {
        return;
    };
    for (name, address) in [
        ("beyond-memory", 0x7f_ffff_f000u64),
        ("device", 0x0300_1000),
        ("unaligned", entry() | 1),
    ] {
        let answer = call(id::CPU_ON, mpidr, address, 0);
        println!("NOTE cpu-on at {name}: {answer}");
        expect_tarn(
            "bad-entry/contained",
            answer == 0 || answer == -9 || answer == error::INVALID_PARAMETERS,
            true,
        );
        if answer == 0 {
            // It faults for ever on its own vCPU: nothing more can be asked of it.
            break;
        }
    }
    expect_tarn("bad-entry/this-cpu-goes-on", mrs!("currentel") >> 2, 1);
}
