//! Two domains that share memory and a doorbell, port 1 on both sides: messages with a check, an end, and a new beginning.
//!
//! `mode=ping` sends and judges, `mode=pong` answers; `mode=ring` rings port 1 without end, `mode=listen` counts what it
//! hears and says so each second, for measuring what that does to others. In "link" both write: word 0 is the number of the
//! last message, word 1 of the last answer, word 2 counts pong's lives, word 3 says what ping wants, then the message. "log"
//! is pong's to write and ping's to read.
use core::sync::atomic::{AtomicU64, Ordering};

use guest_rt::gic;
use guest_rt::machine::SharedNode;
use guest_rt::mmio::Window;
use guest_rt::testing::{self, expect_tarn};
use guest_rt::timer::{Timer, frequency};
use guest_rt::{cpu, machine, mmu, on_tarn, println, psci, trap};
use tarn_abi::call::{Reply, Request, guest};
use tarn_abi::{Errno, Regs};

guest_rt::entry!(main);

const PORT: u32 = 1;
const MESSAGE: usize = 0x40;
const WORDS: usize = 256;
const ROUNDS: u32 = 300;
const SENT: usize = 0x00;
const ANSWERED: usize = 0x04;
const LIVES: usize = 0x08;
const WANT: usize = 0x0c;
/// What ping wants: answers, or an end.
const GO_ON: u32 = 1;
const POWER_OFF: u32 = 2;

/// Interrupts heard at the doorbell.
static HEARD: AtomicU64 = AtomicU64::new(0);

fn handler() {
    let Some(gic) = gic::find() else { return };
    let ack = gic.ack();
    let intid = ack & 0x3ff;
    if intid < 1020 {
        if machine().doorbell(PORT).is_some_and(|d| d.intid == intid) {
            HEARD.store(HEARD.load(Ordering::Relaxed) + 1, Ordering::SeqCst);
        } else {
            Timer::Virtual.stop();
        }
        gic.eoi(ack);
    }
}

fn ring_by_call(port: u32) -> i64 {
    let answer = Regs(psci::hvc8(guest::Ring { port }.encode().0));
    <()>::from_regs(&answer).map_or_else(|e| e.to_wire() as i64, |()| 0)
}

/// The doorbell page's registers.
fn registers() -> Option<Window> {
    let bell = machine().doorbell(PORT)?;
    let page = bell.base & !0xfff;
    // SAFETY: the tree says that a register is there; nothing of ours is in its page.
    Some(unsafe { Window::new(page, 0x1000) })
}

fn window(shared: &SharedNode<'_>) -> Window {
    let (base, size) = (shared.range.base as usize, shared.range.size as usize);
    // SAFETY: the tree says that this is memory shared with others: no Rust object lies there. One page beyond it is for
    // faults that are wanted.
    unsafe { Window::new(base, size + 0x1000) }
}

/// Waits in WFI until `done`, or a second has passed.
fn wait(done: impl Fn() -> bool) -> bool {
    let end = Timer::Virtual.count() + frequency();
    while !done() {
        if Timer::Virtual.count() >= end {
            return false;
        }
        // Masked, so that what comes between the look and WFI still ends it.
        let daif = trap::mask_irqs();
        if !done() {
            Timer::Virtual.start(frequency() / 100);
            cpu::wfi();
        }
        trap::restore_irqs(daif);
    }
    true
}

fn word(n: u32, i: usize) -> u32 {
    n.wrapping_mul(0x9e37_79b9).rotate_left(i as u32) ^ i as u32
}

fn main() {
    mmu::on();
    let Some(gic) = gic::find() else { return };
    gic.init_distributor();
    gic.init_cpu();
    trap::set_irq_handler(handler);
    gic.enable(Timer::Virtual.intid());
    if let Some(bell) = machine().doorbell(PORT) {
        gic.set_edge(bell.intid, true);
        gic.enable(bell.intid);
    }
    trap::unmask_irqs();
    let (link, log) = (machine().shared("link"), machine().shared("log"));
    match machine().argument("mode") {
        Some("ring") => loop {
            ring_by_call(PORT);
        },
        Some("listen") => listen(),
        Some("pong") => {
            if let (Some(link), Some(log)) = (link, log) {
                pong(&window(link), &window(log));
            }
        }
        _ if on_tarn() => {
            if let (Some(link), Some(log)) = (link, log) {
                ping(link, log);
            }
            testing::end();
        }
        _ => testing::end(),
    }
}

fn listen() {
    loop {
        wait(|| false);
        println!("HEARD {}", HEARD.load(Ordering::SeqCst));
    }
}

/// Answers each message with its complement.
fn pong(link: &Window, log: &Window) {
    link.write32(LIVES, link.read32(LIVES) + 1);
    log.write32(0, 0x1234_5678);
    let mut last = link.read32(ANSWERED);
    println!("NOTE pong: life {}, from {last}", link.read32(LIVES));
    loop {
        if !wait(|| link.read32(SENT) != last) {
            continue;
        }
        cpu::barrier();
        last = link.read32(SENT);
        let want = link.read32(WANT);
        for at in (MESSAGE..MESSAGE + WORDS * 4).step_by(4) {
            link.write32(at, !link.read32(at));
        }
        cpu::barrier();
        link.write32(ANSWERED, last);
        cpu::barrier();
        ring_by_call(PORT);
        if want == POWER_OFF {
            return;
        }
    }
}

/// One message: whether the answer is right.
fn exchange(link: &Window, n: u32, want: u32, by_call: bool) -> bool {
    for i in 0..WORDS {
        link.write32(MESSAGE + i * 4, word(n, i));
    }
    link.write32(WANT, want);
    cpu::barrier();
    link.write32(SENT, n);
    cpu::barrier();
    let rung = match registers() {
        _ if by_call => ring_by_call(PORT) == 0,
        Some(page) => {
            page.write32(PORT as usize * 4, 1);
            true
        }
        None => false,
    };
    let answered = wait(|| link.read32(ANSWERED) == n);
    cpu::barrier();
    let right = (0..WORDS).all(|i| link.read32(MESSAGE + i * 4) == !word(n, i));
    rung && answered && right
}

/// Messages from `first` on; how many answers were right.
fn messages(link: &Window, first: u32, count: u32) -> u32 {
    let one = |n: &u32| exchange(link, *n, GO_ON, n.is_multiple_of(2));
    (first..first + count).filter(one).count() as u32
}

/// Whether the other end lives, as the doorbell's register says.
fn alive() -> bool {
    registers().is_some_and(|page| page.read32(PORT as usize * 4) == 1)
}

fn ping(link_node: &SharedNode<'_>, log_node: &SharedNode<'_>) {
    let (link, log, Some(page)) = (window(link_node), window(log_node), registers()) else {
        return;
    };
    wait(|| link.read32(LIVES) == 1);
    let mut fresh = true;
    for at in (MESSAGE..link_node.range.size as usize).step_by(4) {
        fresh &= link.read32(at) == 0;
    }
    expect_tarn("link/zeroed", fresh, true);
    expect_tarn("link/peer-alive", alive(), true);
    expect_tarn("link/answers", messages(&link, 1, ROUNDS), ROUNDS);
    let heard = HEARD.load(Ordering::SeqCst);
    expect_tarn(
        "link/heard",
        (ROUNDS as u64..=ROUNDS as u64 + 1).contains(&heard),
        true,
    );
    expect_tarn(
        "ring/no-such-port",
        ring_by_call(9),
        Errno::NoSuch.to_wire() as i64,
    );
    expect_tarn(
        "ring/port-0",
        ring_by_call(0),
        Errno::NoSuch.to_wire() as i64,
    );

    // What is not there.
    let faults = |f: &dyn Fn()| trap::catch(f).is_some();
    let beyond = link_node.range.size as usize;
    expect_tarn("beyond/load", faults(&|| _ = link.read32(beyond)), true);
    expect_tarn("beyond/store", faults(&|| link.write32(beyond, 1)), true);
    expect_tarn("log/read", log.read32(0), 0x1234_5678);
    expect_tarn("log/write", faults(&|| log.write32(0, 1)), true);
    expect_tarn("log/unchanged", log.read32(0), 0x1234_5678);
    expect_tarn("page/no-port", faults(&|| page.write32(36, 1)), true);
    expect_tarn("page/byte", faults(&|| page.write8(4, 1)), true);
    expect_tarn(
        "page/still-there",
        exchange(&link, ROUNDS + 1, GO_ON, false),
        true,
    );

    // The other one ends; the memory stays.
    expect_tarn(
        "end/last-answer",
        exchange(&link, ROUNDS + 2, POWER_OFF, true),
        true,
    );
    expect_tarn("end/seen", wait(|| !alive()), true);
    expect_tarn("end/ring", ring_by_call(PORT), Errno::Busy.to_wire() as i64);
    page.write32(PORT as usize * 4, 1);
    let kept = (0..WORDS).all(|i| link.read32(MESSAGE + i * 4) == !word(ROUNDS + 2, i));
    expect_tarn("end/memory-kept", kept, true);
    println!("NOTE ping: waits for the other to come again");
    // Somebody creates it anew: it finds the memory as it was.
    while link.read32(LIVES) != 2 {
        wait(|| link.read32(LIVES) == 2);
    }
    expect_tarn("again/alive", alive(), true);
    expect_tarn("again/answers", messages(&link, 1000, 20), 20);
}
