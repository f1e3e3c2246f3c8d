//! The interrupt handler: acknowledges, writes down, lets the running case act, ends.
//!
//! Each CPU has its own list. A case resets it, does something, waits, and prints what came in which order.
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use guest_rt::gic::Gic;
use guest_rt::testing::{self, List};
use guest_rt::{MAX_CPUS, cpu, timer};

const ROOM: usize = 64;

struct Seen {
    count: AtomicUsize,
    acks: [AtomicU32; ROOM],
}

static SEEN: [Seen; MAX_CPUS] = [const {
    Seen {
        count: AtomicUsize::new(0),
        acks: [const { AtomicU32::new(0) }; ROOM],
    }
}; MAX_CPUS];
static HOOK: AtomicUsize = AtomicUsize::new(0);
static MANUAL_EOI: AtomicBool = AtomicBool::new(false);

/// Takes one interrupt.
pub fn handler() {
    let gic = super::gic();
    let ack = gic.ack();
    push(ack);
    if ack & 0x3ff >= 1020 {
        return;
    }
    let hook = HOOK.load(Ordering::SeqCst);
    if hook != 0 {
        // SAFETY: the only non-zero values ever stored are `fn(&Gic, u32)` pointers.
        let hook: fn(&Gic, u32) = unsafe { core::mem::transmute(hook) };
        hook(&gic, ack);
    }
    if !MANUAL_EOI.load(Ordering::SeqCst) {
        gic.eoi(ack);
    }
}

/// Writes a number into this CPU's list.
pub fn push(value: u32) {
    let seen = &SEEN[cpu::index()];
    let n = seen.count.load(Ordering::SeqCst);
    if let Some(slot) = seen.acks.get(n) {
        slot.store(value, Ordering::SeqCst);
    }
    seen.count.store(n + 1, Ordering::SeqCst);
}

/// Empties all lists and removes the hook.
pub fn reset() {
    HOOK.store(0, Ordering::SeqCst);
    MANUAL_EOI.store(false, Ordering::SeqCst);
    for seen in &SEEN {
        seen.count.store(0, Ordering::SeqCst);
    }
}

/// Empties the lists; the handler calls `hook` between acknowledge and end.
pub fn reset_with(hook: fn(&Gic, u32)) {
    reset();
    HOOK.store(hook as usize, Ordering::SeqCst);
}

/// The hook ends the interrupt itself.
pub fn manual_eoi() {
    MANUAL_EOI.store(true, Ordering::SeqCst);
}

/// How many came on `cpu`.
pub fn count(cpu: usize) -> usize {
    SEEN[cpu].count.load(Ordering::SeqCst)
}

/// Waits (up to half a second) for `n` to come on `cpu`, then a little more for one too many.
pub fn settle_on(cpu: usize, n: usize) {
    cpu::wait_until(timer::frequency() / 2, || count(cpu) >= n);
    timer::delay_us(200);
}

/// As [`settle_on`] on the boot CPU.
pub fn settle(n: usize) {
    settle_on(0, n);
}

/// Copies the list of `cpu` into `to`.
pub fn take(cpu: usize, to: &mut [u32; ROOM]) -> &[u32] {
    let n = count(cpu).min(ROOM);
    for (slot, ack) in to.iter_mut().zip(&SEEN[cpu].acks) {
        *slot = ack.load(Ordering::SeqCst);
    }
    &to[..n]
}

/// Waits for as many as `want` holds and reports what came on the boot CPU against it.
pub fn expect(name: &str, want: &[u32]) {
    settle(want.len());
    expect_now(name, 0, want);
}

/// Reports what came on `cpu`, without waiting.
pub fn expect_now(name: &str, cpu: usize, want: &[u32]) {
    let mut room = [0; ROOM];
    let got = take(cpu, &mut room);
    struct Judged<'a>(List<'a>);
    impl core::fmt::Display for Judged<'_> {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            self.0.fmt(f)
        }
    }
    impl PartialEq for Judged<'_> {
        fn eq(&self, other: &Self) -> bool {
            self.0.0 == other.0.0
        }
    }
    testing::expect(name, Judged(List(got)), Judged(List(want)));
}
