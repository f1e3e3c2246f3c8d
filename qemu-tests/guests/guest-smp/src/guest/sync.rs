//! Shared memory between CPUs: atomics, a lock, a barrier, message passing with acquire and release.
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use guest_rt::testing::expect;

use super::{Patience, order, rounds, wait_done};

const ADD: usize = 1;
const LOCK: usize = 2;
const BARRIER: usize = 3;
const MESSAGE: usize = 4;

static COUNTER: AtomicU64 = AtomicU64::new(0);
static HELD: AtomicBool = AtomicBool::new(false);
static ARRIVED: AtomicUsize = AtomicUsize::new(0);
static SENSE: AtomicU32 = AtomicU32::new(0);
static CPUS: AtomicUsize = AtomicUsize::new(1);
static TORN: AtomicU32 = AtomicU32::new(0);
static FLAG: AtomicU32 = AtomicU32::new(0);

/// Eight words that must always be equal, and how often they were changed.
struct Protected(UnsafeCell<[u64; 8]>);
// SAFETY: only touched between `lock` and `unlock`, which let one CPU in at a time.
unsafe impl Sync for Protected {}
static PROTECTED: Protected = Protected(UnsafeCell::new([0; 8]));

/// What a message carries: plain data, published by FLAG.
static MAIL: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

/// All cases, on the boot CPU.
pub fn all(cpus: usize) {
    CPUS.store(cpus, Ordering::SeqCst);
    let total = cpus as u64 * u64::from(rounds());
    for n in [ADD, LOCK, BARRIER, MESSAGE] {
        order(n);
        part(n, 0);
        let done = wait_done(cpus - 1);
        match n {
            ADD => expect("atomic/sum", COUNTER.load(Ordering::SeqCst) == total, true),
            LOCK => {
                lock();
                // SAFETY: this CPU holds the lock.
                let words = unsafe { *PROTECTED.0.get() };
                unlock();
                expect("lock/sum", words.iter().all(|&w| w == total), true);
                expect("lock/never-torn", TORN.load(Ordering::SeqCst), 0);
            }
            BARRIER => expect("barrier/in-step", TORN.load(Ordering::SeqCst), 0),
            _ => expect("message/in-order", TORN.load(Ordering::SeqCst), 0),
        }
        expect("part/all-done", done, true);
    }
}

/// What each CPU does.
pub fn part(n: usize, index: usize) {
    match n {
        ADD => (0..rounds()).for_each(|_| _ = COUNTER.fetch_add(1, Ordering::Relaxed)),
        LOCK => (0..rounds()).for_each(|_| add_under_lock()),
        BARRIER => step_together(index),
        MESSAGE => pass_messages(index),
        _ => {}
    }
}

fn lock() {
    let mut patience = Patience(0);
    while HELD.swap(true, Ordering::Acquire) {
        patience.wait();
    }
}

fn unlock() {
    HELD.store(false, Ordering::Release);
}

fn add_under_lock() {
    lock();
    // SAFETY: this CPU holds the lock.
    let words = unsafe { &mut *PROTECTED.0.get() };
    if words.iter().any(|&w| w != words[0]) {
        TORN.fetch_add(1, Ordering::SeqCst);
    }
    for word in words.iter_mut() {
        *word += 1;
    }
    unlock();
}

fn barrier(round: u32) {
    if ARRIVED.fetch_add(1, Ordering::SeqCst) + 1 == CPUS.load(Ordering::SeqCst) {
        ARRIVED.store(0, Ordering::SeqCst);
        SENSE.store(round, Ordering::SeqCst);
    } else {
        let mut patience = Patience(0);
        while SENSE.load(Ordering::SeqCst) < round {
            patience.wait();
        }
    }
}

/// Two barriers a round; between them the boot CPU changes a value that all must see.
fn step_together(index: usize) {
    // A tenth of the rounds: where CPUs outnumber what runs them, each barrier costs a turn of everybody.
    for round in 0..rounds() / 10 {
        if index == 0 {
            COUNTER.store(u64::from(round), Ordering::Relaxed);
        }
        barrier(2 * round + 1);
        if COUNTER.load(Ordering::Relaxed) != u64::from(round) {
            TORN.fetch_add(1, Ordering::SeqCst);
        }
        barrier(2 * round + 2);
    }
}

/// The boot CPU writes four words and raises a flag; CPU 1 that sees the flag must see the words.
fn pass_messages(index: usize) {
    if index > 1 || CPUS.load(Ordering::SeqCst) < 2 {
        return;
    }
    for round in 0..rounds() {
        let (mine, next) = if index == 0 {
            (2 * round, 2 * round + 1)
        } else {
            (2 * round + 1, 2 * round + 2)
        };
        let mut patience = Patience(0);
        while FLAG.load(Ordering::Acquire) != mine {
            patience.wait();
        }
        if index == 0 {
            MAIL.iter()
                .for_each(|word| word.store(round.into(), Ordering::Relaxed));
        } else if MAIL
            .iter()
            .any(|word| word.load(Ordering::Relaxed) != u64::from(round))
        {
            TORN.fetch_add(1, Ordering::SeqCst);
        }
        FLAG.store(next, Ordering::Release);
    }
}
