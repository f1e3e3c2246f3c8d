//! Several CPUs at work: starting, barriers, locks, interrupts between them in both directions, none lost.
//!
//! Waiting CPUs sleep in WFI after a short spin, so that vCPUs that share a physical CPU let each other run. `rounds=N` in the boot
//! arguments sets how many rounds each part does (default 1000).
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use guest_rt::gic::{self, Gic, Target};
use guest_rt::testing::{self, expect};
use guest_rt::timer::{self, Timer, frequency};
use guest_rt::{MAX_CPUS, cpu, machine, mmu, println, smp, trap};

mod sync;

guest_rt::entry!(main);

/// Interrupts taken by each CPU: ping (SGI 1), broadcast (SGI 2), timer ticks.
static PINGS: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(0) }; MAX_CPUS];
static SHOUTS: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(0) }; MAX_CPUS];
static TICKS: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(0) }; MAX_CPUS];
/// Which part the workers do (low byte) and how many parts came before; each says in `DONE` when it is through.
static PART: AtomicUsize = AtomicUsize::new(0);
static DONE: AtomicUsize = AtomicUsize::new(0);
static ROUNDS: AtomicU32 = AtomicU32::new(1000);

const PING: u32 = 1;
const SHOUT: u32 = 2;

fn handler() {
    let Some(gic) = gic::find() else { return };
    let ack = gic.ack();
    let me = cpu::index();
    match ack & 0x3ff {
        PING => _ = PINGS[me].fetch_add(1, Ordering::SeqCst),
        SHOUT => _ = SHOUTS[me].fetch_add(1, Ordering::SeqCst),
        1020.. => return,
        intid if intid == Timer::Physical.intid() => Timer::Physical.stop(),
        _ => {
            Timer::Virtual.stop();
            TICKS[me].fetch_add(1, Ordering::SeqCst);
        }
    }
    gic.eoi(ack);
}

fn rounds() -> u32 {
    ROUNDS.load(Ordering::Relaxed)
}

/// Sleeps until `done`; its interrupt may come at any point without being lost. The physical timer bounds the wait, so
/// that a wake-up that was lost is a failed case and not a hang.
fn sleep_until(mut done: impl FnMut() -> bool) -> bool {
    let limit = Timer::Physical.count() + 2 * frequency();
    Timer::Physical.set_cval(limit);
    Timer::Physical.set_ctl(timer::ENABLE);
    let seen = loop {
        let daif = trap::mask_irqs();
        let late = Timer::Physical.count() >= limit;
        let seen = !late && done();
        if !late && !seen {
            cpu::wfi();
        }
        trap::restore_irqs(daif);
        if late || seen {
            break seen;
        }
    };
    Timer::Physical.stop();
    seen
}

/// One turn of a waiting loop: a short spin, then naps of 20 microseconds in WFI, so that vCPUs that share a CPU let
/// each other run. (WFE would be the word for it, but QEMU never traps it.)
struct Patience(u32);

impl Patience {
    fn wait(&mut self) {
        self.0 += 1;
        if self.0 < 200 {
            return cpu::relax();
        }
        let daif = trap::mask_irqs();
        Timer::Physical.start(frequency() / 50_000);
        cpu::wfi();
        Timer::Physical.stop();
        trap::restore_irqs(daif);
    }
}

/// Waits until `done`, at most 20 seconds.
fn wait_for(mut done: impl FnMut() -> bool) -> bool {
    let limit = cpu_time() + 20 * frequency();
    let mut patience = Patience(0);
    while !done() {
        if cpu_time() > limit {
            return false;
        }
        patience.wait();
    }
    true
}

fn cpu_time() -> u64 {
    Timer::Virtual.count()
}

fn main() {
    mmu::on();
    let Some(gic) = gic::find() else { return };
    if let Some(n) = machine().argument("rounds").and_then(|n| n.parse().ok()) {
        ROUNDS.store(n, Ordering::Relaxed);
    }
    let cpus = machine().cpus().len();
    testing::case("cpus", cpus);
    gic.init_distributor();
    gic.init_cpu();
    gic.enable(Timer::Physical.intid());
    trap::set_irq_handler(handler);
    trap::unmask_irqs();
    for index in 1..cpus {
        expect("start", smp::start(index, worker).is_ok(), true);
    }
    expect("all-up", wait_done(cpus - 1), true);
    sync::all(cpus);
    if cpus > 1 {
        ping_pong(&gic, cpus);
        flood(&gic);
        shouting(&gic, cpus);
    }
    ticking(cpus);
    order(STOP);
    for index in 1..cpus {
        expect("off", smp::wait_off(index), true);
    }
    testing::end();
}

const STOP: usize = 0xff;
const PONG: usize = 10;
const FLOOD: usize = 11;
const TICK: usize = 13;

/// Starts a part on all workers; the one before must be done.
fn order(part: usize) {
    DONE.store(0, Ordering::SeqCst);
    PART.store(
        (PART.load(Ordering::SeqCst) | 0xff) + 1 + part,
        Ordering::SeqCst,
    );
}

fn wait_done(count: usize) -> bool {
    wait_for(|| DONE.load(Ordering::SeqCst) == count)
}

fn worker(index: usize) {
    let Some(gic) = gic::find() else { return };
    gic.init_cpu();
    gic.enable(Timer::Physical.intid());
    trap::unmask_irqs();
    DONE.fetch_add(1, Ordering::SeqCst);
    let mut last = 0;
    loop {
        let mut patience = Patience(0);
        let part = loop {
            match PART.load(Ordering::SeqCst) {
                part if part != last => break part,
                _ => patience.wait(),
            }
        };
        last = part;
        match part & 0xff {
            STOP => return,
            PONG => pong(&gic, index),
            FLOOD if index == 1 => send_flood(&gic, 0),
            TICK => tick(&gic, index),
            part => sync::part(part, index),
        }
        DONE.fetch_add(1, Ordering::SeqCst);
    }
}

/// Whose turn it is to answer pings.
static PARTNER: AtomicUsize = AtomicUsize::new(0);

fn pong(gic: &Gic, index: usize) {
    if PARTNER.load(Ordering::SeqCst) != index {
        return;
    }
    for n in 1..=rounds() {
        if !sleep_until(|| PINGS[index].load(Ordering::SeqCst) >= n) {
            return;
        }
        gic.send_sgi(PING, Target::Cpu(0));
    }
}

/// One interrupt out, one back, with each other CPU in turn; both sleep in between.
fn ping_pong(gic: &Gic, cpus: usize) {
    for (index, pings) in PINGS.iter().enumerate().take(cpus).skip(1) {
        PINGS.iter().for_each(|n| n.store(0, Ordering::SeqCst));
        PARTNER.store(index, Ordering::SeqCst);
        order(PONG);
        let start = cpu_time();
        let mut back = 0;
        for n in 1..=rounds() {
            gic.send_sgi(PING, Target::Cpu(index));
            if !sleep_until(|| PINGS[0].load(Ordering::SeqCst) >= n) {
                break;
            }
            back = n;
        }
        println!(
            "NOTE ping-pong {} ns each",
            (cpu_time() - start) * (1_000_000_000 / frequency()) / u64::from(rounds())
        );
        expect("ping-pong/back", back, rounds());
        expect(
            "ping-pong/taken-there",
            pings.load(Ordering::SeqCst),
            rounds(),
        );
        expect("ping-pong/done", wait_done(cpus - 1), true);
    }
}

fn send_flood(gic: &Gic, to: usize) {
    for n in 1..=rounds() {
        gic.send_sgi(PING, Target::Cpu(to));
        wait_for(|| PINGS[to].load(Ordering::SeqCst) >= n);
    }
}

/// Both directions at once, each sender waiting only until its interrupt was taken.
fn flood(gic: &Gic) {
    PINGS.iter().for_each(|n| n.store(0, Ordering::SeqCst));
    order(FLOOD);
    send_flood(gic, 1);
    wait_for(|| PINGS[0].load(Ordering::SeqCst) >= rounds());
    expect("flood/to-cpu1", PINGS[1].load(Ordering::SeqCst), rounds());
    expect("flood/to-cpu0", PINGS[0].load(Ordering::SeqCst), rounds());
    expect("flood/done", wait_done(machine().cpus().len() - 1), true);
}

/// To all others at once, two hundred times.
fn shouting(gic: &Gic, cpus: usize) {
    let mut heard = 0;
    for n in 1..=200 {
        gic.send_sgi(SHOUT, Target::Others);
        if !wait_for(|| (1..cpus).all(|i| SHOUTS[i].load(Ordering::SeqCst) >= n)) {
            break;
        }
        heard = n;
    }
    expect("shout/heard-by-all", heard, 200);
    expect("shout/not-by-self", SHOUTS[0].load(Ordering::SeqCst), 0);
    expect(
        "shout/none-twice",
        (1..cpus).all(|i| SHOUTS[i].load(Ordering::SeqCst) == 200),
        true,
    );
}

fn tick(gic: &Gic, index: usize) {
    gic.enable(Timer::Virtual.intid());
    for n in 1..=100 {
        Timer::Virtual.start(frequency() / 2000);
        if !sleep_until(|| TICKS[index].load(Ordering::SeqCst) >= n) {
            break;
        }
    }
}

/// Every CPU sleeps and wakes by its own timer, all at the same time.
fn ticking(cpus: usize) {
    order(TICK);
    let Some(gic) = gic::find() else { return };
    tick(&gic, 0);
    expect("tick/done", wait_done(cpus - 1), true);
    for ticks in &TICKS[..cpus] {
        expect("tick/each-hundred", ticks.load(Ordering::SeqCst), 100);
    }
}
