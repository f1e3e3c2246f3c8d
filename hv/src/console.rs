//! The one UART, shared: who prints when, who gets what is typed.
//!
//! Every source (Tarn's log, each domain) has a ring of its own; the drain goes round them by whole lines, so lines are
//! never torn and a flooding guest gets its turn and no more. A source whose ring is full is told so and waits (the
//! guest's UART looks busy); nothing is dropped. The source in focus prints as it comes, without a prefix, and its
//! unfinished line is printed again after another source's line came between. Its lock is taken last (docs/locking.md),
//! nothing is called out from under it but the UART, and that a CPU comes by, which is a flag. Never waits for the UART except
//! in `flush` and `panic_write`.

use crate::arch::Lock;
use crate::domain::end;
use crate::ring::Ring;
use crate::time;
use abi::{Instant, MAX_DOMAINS, Span};
use alloc::boxed::Box;
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use drivers::Uart;

/// Bytes a source may have waiting.
const RING: usize = 1024;
/// Longest unfinished line of the focused source that is printed again.
const PARTIAL: usize = 240;
/// Bytes between the choice of a source and the UART.
const STAGE: usize = 1024;
/// Room in the stage that a step of the drain may need at once: a prefix, a line that is printed again.
const STEP: usize = PARTIAL + 80;
/// Bytes chosen, and bytes given to the UART, in one piece of work with interrupts masked: more than a UART's FIFO, so that
/// it is busy when it is left, and interrupts when it has room again.
const CHOSEN_AT_ONCE: usize = 40;
const FED_AT_ONCE: usize = 80;
/// Bytes of the log that stay readable by `dmesg`.
const LOG: usize = 64 << 10;

/// Who prints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Tarn itself.
    Tarn,
    /// The domain in this slot.
    Domain(u16),
}

struct Output {
    ring: Ring<RING>,
    name: heapless::String<48>,
    /// Has a guest that waits for room.
    starved: bool,
    /// Its domain has ended and waits until this is printed.
    awaited: bool,
}

impl Output {
    /// Nothing more comes: what there is becomes a line.
    fn end_line(&mut self) {
        if !self.ring.is_empty() && self.ring.last() != Some(b'\n') && self.ring.room() > 0 {
            self.ring.push(b'\n');
        }
    }
}

struct Console {
    uart: Option<Uart>,
    /// Chosen bytes on their way to the UART: what makes choosing independent of the UART's speed.
    stage: Ring<STAGE>,
    log: Ring<8192>,
    outs: [Option<Box<Output>>; MAX_DOMAINS],
    /// Slots in use, highest + 1.
    top: usize,
    focus: u16,
    /// Whose line is being printed, if one is unfinished.
    current: Option<Source>,
    /// What of the focused source's unfinished line is on the screen.
    partial: heapless::Vec<u8, PARTIAL>,
    /// The screen is in the middle of that unfinished line.
    partial_shown: bool,
    last_cr: bool,
    turn: usize,
    after_log: bool,
    escape: u8,
    waiting: bool,
    /// Bytes that may still be chosen in this piece of work.
    quota: usize,
    /// The UART interrupts: what is left over will be gone on with.
    listening: bool,
    /// When the UART took a byte last.
    moved: Instant,
}

static CONSOLE: Lock<Console> = Lock::new(Console {
    uart: None,
    stage: Ring::new(),
    log: Ring::new(),
    outs: [const { None }; MAX_DOMAINS],
    top: 0,
    focus: 0,
    current: None,
    partial: heapless::Vec::new(),
    partial_shown: false,
    last_cr: false,
    turn: 0,
    after_log: false,
    escape: 0,
    waiting: false,
    quota: 0,
    listening: false,
    moved: Instant(0),
});

/// The log as text, for `dmesg`: an endless byte stream of which the last `LOG` bytes are kept.
struct History {
    buf: [u8; LOG],
    end: u64,
}

static HISTORY: Lock<History> = Lock::new(History {
    buf: [0; LOG],
    end: 0,
});

/// Log bytes that found no room on the UART's side (they are in the history all the same).
pub static LOG_SKIPPED: AtomicU64 = AtomicU64::new(0);
/// Some source waits for room: set under the lock, read without.
static CONGESTED: AtomicBool = AtomicBool::new(false);

/// Hands the console its UART; what was logged before is printed now.
pub fn attach(uart: Uart) {
    let mut c = CONSOLE.lock();
    c.uart = Some(uart);
    c.drain();
}

/// Gives the domain in `slot` an output of its own.
pub fn open(slot: u16, name: &str) {
    let mut text = heapless::String::new();
    for ch in name.chars() {
        if text.push(ch).is_err() {
            break;
        }
    }
    let out = Box::new(Output {
        ring: Ring::new(),
        name: text,
        starved: false,
        awaited: false,
    });
    let mut c = CONSOLE.lock();
    c.outs[slot as usize] = Some(out);
    c.top = c.top.max(slot as usize + 1);
}

/// Takes the output of `slot` away after printing what it still holds; focus falls back to dom0.
pub fn close(slot: u16) {
    let mut c = CONSOLE.lock();
    if let Some(out) = c.outs[slot as usize].as_mut() {
        out.end_line();
    }
    c.drain();
    if c.current == Some(Source::Domain(slot)) {
        c.newline();
        c.current = None;
    }
    if c.focus == slot {
        c.set_focus(0);
    }
    let gone = c.outs[slot as usize].take();
    drop(c);
    drop(gone);
}

/// Whether all that the domain in `slot` has written is on its way out of the UART. While that makes no headway at all
/// (nothing takes bytes from the UART) the answer is yes: a dead serial line holds up nobody. After a no, the CPU that
/// prints the last of it comes by `reschedule`: with nothing left, the UART does not interrupt any more.
pub fn printed(slot: u16) -> bool {
    let mut c = CONSOLE.lock();
    let stuck = c.stuck();
    let Some(out) = c.outs[slot as usize].as_mut() else {
        return true;
    };
    out.end_line();
    out.awaited = !out.ring.is_empty() && !stuck;
    !out.awaited
}

/// Prints a piece of what waits to be printed.
pub fn go_on() {
    CONSOLE.lock().drain();
}

/// Prints bytes of a domain; returns how many were taken. Fewer than all: full, try again later.
pub fn write(slot: u16, bytes: &[u8]) -> usize {
    let mut c = CONSOLE.lock();
    let Some(out) = c.outs.get_mut(slot as usize).and_then(Option::as_mut) else {
        return bytes.len();
    };
    let n = bytes.len().min(out.ring.room());
    for b in &bytes[..n] {
        out.ring.push(*b);
    }
    let full = out.ring.room() == 0;
    if c.focus == slot || full || bytes[..n].contains(&b'\n') {
        c.drain();
    }
    // Full now, whether or not this write went in whole: the next one has to look before it leaps.
    if let Some(out) = c.outs[slot as usize]
        .as_mut()
        .filter(|o| o.ring.room() == 0)
    {
        out.starved = true;
        CONGESTED.store(true, Ordering::Relaxed);
    }
    n
}

/// Whether a byte of this domain would be taken now.
pub fn has_room(slot: u16) -> bool {
    if !CONGESTED.load(Ordering::Relaxed) {
        return true;
    }
    let c = CONSOLE.lock();
    c.outs
        .get(slot as usize)
        .and_then(Option::as_ref)
        .is_none_or(|o| o.ring.room() > 0)
}

/// Prints a line of Tarn's own and keeps it for `dmesg`.
pub fn log_line(text: &str) {
    {
        let mut h = HISTORY.lock();
        for b in text.bytes() {
            let at = (h.end % LOG as u64) as usize;
            h.buf[at] = b;
            h.end += 1;
        }
    }
    let mut c = CONSOLE.lock();
    if c.log.room() < text.len() {
        c.drain();
    }
    if c.log.room() < text.len() {
        LOG_SKIPPED.fetch_add(text.len() as u64, Ordering::Relaxed);
        return;
    }
    for b in text.bytes() {
        c.log.push(b);
    }
    c.drain();
}

/// Log bytes from `cursor` on: (where they end, how many were put into `buf`).
pub fn read_log(cursor: u64, buf: &mut [u8]) -> (u64, usize) {
    let h = HISTORY.lock();
    let mut at = cursor.max(h.end.saturating_sub(LOG as u64));
    let mut n = 0;
    while at < h.end && n < buf.len() {
        buf[n] = h.buf[(at % LOG as u64) as usize];
        at += 1;
        n += 1;
    }
    (at.min(h.end), n)
}

/// What the UART's interrupt brought.
pub struct Typed {
    /// The domain it is for.
    pub slot: u16,
    /// The bytes.
    pub bytes: heapless::Vec<u8, 64>,
}

/// Serves the UART: takes what was typed (at most 64 bytes) and prints on. Ctrl-A three times moves the focus.
pub fn service() -> Typed {
    let mut c = CONSOLE.lock();
    if let Some(u) = &c.uart {
        u.irq_ack();
    }
    let mut typed = Typed {
        slot: c.focus,
        bytes: heapless::Vec::new(),
    };
    while typed.bytes.len() + 3 <= 64 {
        let Some(b) = c.uart.as_mut().and_then(|u| u.try_get()) else {
            break;
        };
        if b == 1 {
            c.escape += 1;
            if c.escape < 3 {
                continue;
            }
            c.escape = 0;
            if !typed.bytes.is_empty() {
                // What was typed before the switch belongs to the old focus; the rest waits in the UART.
                c.next_focus();
                break;
            }
            c.next_focus();
            typed.slot = c.focus;
            continue;
        }
        for _ in 0..core::mem::take(&mut c.escape) {
            let _ = typed.bytes.push(1);
        }
        let _ = typed.bytes.push(b);
    }
    c.drain();
    typed
}

/// Who has the input focus.
pub fn focus() -> u16 {
    CONSOLE.lock().focus
}

/// Moves the focus to `slot`, or to the next domain with a console; returns who has it. `None`: no such console.
pub fn set_focus(slot: Option<u16>) -> Option<u16> {
    let mut c = CONSOLE.lock();
    match slot {
        Some(s) if c.outs.get(s as usize).is_some_and(Option::is_some) => c.set_focus(s),
        Some(_) => return None,
        None => c.next_focus(),
    }
    Some(c.focus)
}

/// Whether the domain has a console at all.
pub fn is_open(slot: u16) -> bool {
    CONSOLE
        .lock()
        .outs
        .get(slot as usize)
        .is_some_and(Option::is_some)
}

/// Prints everything that waits, polling: before the machine is turned off or reset. Bounded.
pub fn flush() {
    let mut c = CONSOLE.lock();
    for _ in 0..2_000_000 {
        c.drain();
        if !c.waiting {
            break;
        }
        core::hint::spin_loop();
    }
}

/// Prints text straight to the UART, polling, while other CPUs may still be at work.
pub fn print_polled(text: &str) {
    CONSOLE.lock().put_polled(text);
}

/// Prints text straight to the UART, polling and without waiting for the lock for ever: only for the end of the world.
pub fn panic_write(text: &str) {
    for _ in 0..1_000_000 {
        if let Some(mut c) = CONSOLE.try_lock() {
            c.listening = false;
            c.drain();
            c.put_polled(text);
            return;
        }
        core::hint::spin_loop();
    }
    // SAFETY: the holder of the lock is this very CPU (it panicked inside) or is stuck; the machine stops after this,
    // and torn output beats none.
    unsafe { CONSOLE.force_unlock() };
    if let Some(mut c) = CONSOLE.try_lock() {
        c.put_polled(text);
    }
}

impl Console {
    fn put_polled(&mut self, text: &str) {
        self.listening = false;
        for _ in 0..STAGE * 1000 {
            self.feed();
            if self.stage.is_empty() {
                break;
            }
        }
        let Some(uart) = self.uart.as_mut() else {
            return;
        };
        for b in text.bytes() {
            let mut tries = 0;
            while !uart.try_put(b) && tries < 100_000 {
                tries += 1;
            }
        }
    }

    /// One byte to the stage; false if the next step might not fit any more, or is another piece of work.
    fn put(&mut self, b: u8) -> bool {
        if self.quota == 0 {
            return false;
        }
        self.quota -= 1;
        if self.stage.room() < STEP {
            self.feed();
            if self.stage.room() < STEP {
                return false;
            }
        }
        self.stage.push(b);
        true
    }

    /// Short text that goes out whole: a prefix, a repeated line.
    fn put_all(&mut self, bytes: &[u8]) {
        self.quota = self.quota.saturating_sub(bytes.len());
        for b in bytes {
            if self.stage.room() > 0 {
                self.stage.push(*b);
            }
        }
    }

    /// Moves staged bytes to the UART as far as it takes them.
    fn feed(&mut self) {
        let Some(uart) = self.uart.as_mut() else {
            return;
        };
        let before = self.stage.taken();
        let most = if self.listening {
            before + FED_AT_ONCE as u64
        } else {
            u64::MAX
        };
        while let Some(b) = self.stage.peek().filter(|_| self.stage.taken() < most) {
            if !uart.try_put(b) {
                break;
            }
            self.stage.pop();
        }
        if self.stage.taken() != before {
            self.moved = time::now();
        }
    }

    /// Bytes wait, and the UART has taken none for a second.
    fn stuck(&self) -> bool {
        !self.stage.is_empty() && time::now().since(self.moved) > Span::ms(1000)
    }

    fn newline(&mut self) {
        self.put_all(b"\r\n");
        self.last_cr = false;
    }

    /// Takes the focused source's unfinished line off the screen: erased if it is short (a prompt with what was typed),
    /// else ended.
    fn hide_partial(&mut self) {
        if self.partial.len() <= 78 && !self.partial.contains(&0x1b) {
            self.put_all(b"\r\x1b[2K");
            self.last_cr = false;
        } else {
            self.newline();
        }
        self.partial_shown = false;
    }

    fn set_focus(&mut self, slot: u16) {
        if slot == self.focus {
            return;
        }
        if self.partial_shown {
            self.newline();
            self.partial_shown = false;
        }
        self.partial.clear();
        if self
            .current
            .is_some_and(|s| s != Source::Domain(self.focus))
        {
            // Half a line of somebody else's is out: it goes on below the notice.
            self.newline();
            self.current = None;
        }
        if self.current == Some(Source::Domain(self.focus))
            || self.current == Some(Source::Domain(slot))
        {
            self.current = None;
        }
        self.focus = slot;
        let mut line = heapless::String::<128>::new();
        if let Some(out) = self.outs[slot as usize].as_ref() {
            let _ = write!(
                line,
                "*** Console input to {} (Ctrl-A three times moves on)\r\n",
                out.name
            );
        }
        self.put_all(line.as_bytes());
        self.drain();
    }

    fn next_focus(&mut self) {
        let n = self.top.max(1);
        let next = (1..=n)
            .map(|i| (self.focus as usize + i) % n)
            .find(|s| self.outs[*s].is_some());
        if let Some(s) = next {
            self.set_focus(s as u16);
        }
    }

    /// Prints what can be printed without waiting.
    fn drain(&mut self) {
        if self.uart.is_none() {
            return;
        }
        self.quota = if self.listening {
            CHOSEN_AT_ONCE
        } else {
            usize::MAX
        };
        let mut more = true;
        while more && self.quota > 0 {
            if self.stage.room() < STEP {
                self.feed();
            }
            more = self.stage.room() >= STEP
                && match self.current {
                    Some(source) => self.drain_line(source),
                    None => self.pick(),
                };
        }
        self.feed();
        let left = !self.stage.is_empty() || self.quota == 0;
        if left != self.waiting {
            self.waiting = left;
            if let Some(u) = self.uart.as_mut() {
                u.tx_irq(left);
            }
        }
        let (mut starved, mut printed) = (false, false);
        for o in self.outs[..self.top].iter_mut().flatten() {
            o.starved = o.starved && o.ring.room() == 0;
            starved |= o.starved;
            printed |= o.awaited && o.ring.is_empty();
            o.awaited &= !o.ring.is_empty();
        }
        CONGESTED.store(starved, Ordering::Relaxed);
        if printed {
            end::come_by();
        }
    }

    /// Whether this slot has something that may be printed: a line, a full ring, or anything if it has the focus.
    fn has_line(&self, slot: usize) -> bool {
        self.outs[slot].as_ref().is_some_and(|o| {
            o.ring.lines() > 0
                || o.ring.room() == 0
                || (slot == self.focus as usize && !o.ring.is_empty())
        })
    }

    /// Chooses the next source in turn; false if nobody has anything.
    fn pick(&mut self) -> bool {
        // The log goes first, but not twice in a row while others wait: a guest can make Tarn log, too.
        if self.log.lines() > 0 && !(self.after_log && self.someone_else(Source::Tarn)) {
            self.after_log = true;
            self.begin(Source::Tarn);
            return true;
        }
        self.after_log = false;
        let n = self.top;
        let next = (1..=n)
            .map(|i| (self.turn + i) % n)
            .find(|s| self.has_line(*s));
        let Some(s) = next else { return false };
        self.turn = s;
        self.begin(Source::Domain(s as u16));
        true
    }

    /// Starts a line of `source`: another's unfinished line is closed first, a prefix says who speaks.
    fn begin(&mut self, source: Source) {
        self.current = Some(source);
        if source == Source::Domain(self.focus) {
            if !self.partial_shown && !self.partial.is_empty() {
                let again = self.partial.clone();
                self.put_all(&again);
                self.partial_shown = true;
            }
            return;
        }
        if self.partial_shown {
            self.hide_partial();
        }
        if let Source::Domain(s) = source {
            let mut prefix = heapless::String::<64>::new();
            if let Some(out) = self.outs[s as usize].as_ref() {
                let _ = write!(prefix, "({}) ", out.name);
            }
            self.put_all(prefix.as_bytes());
        }
    }

    /// Prints on in the current line; false when the UART is full or the source has no more for now.
    fn drain_line(&mut self, source: Source) -> bool {
        let focused = source == Source::Domain(self.focus);
        loop {
            let next = match source {
                Source::Tarn => self.log.peek(),
                Source::Domain(s) => self.outs[s as usize].as_ref().and_then(|o| o.ring.peek()),
            };
            let Some(b) = next else {
                // A focused source without more: its unfinished line stays on the screen, others may cut in. Another
                // source's line that outgrew its ring is broken here and goes on under a new prefix.
                if !focused && source != Source::Tarn {
                    self.newline();
                }
                self.current = None;
                return self.someone_else(source);
            };
            let carriage_return = b == b'\n' && !self.last_cr;
            if !self.put(if carriage_return { b'\r' } else { b }) {
                return false;
            }
            if carriage_return {
                self.stage.push(b);
            }
            self.last_cr = b == b'\r';
            match source {
                Source::Tarn => drop(self.log.pop()),
                Source::Domain(s) => {
                    if let Some(o) = self.outs[s as usize].as_mut() {
                        o.ring.pop();
                    }
                }
            }
            if focused {
                match b {
                    b'\n' => {
                        self.partial.clear();
                        self.partial_shown = false;
                    }
                    b'\r' => self.partial.clear(),
                    _ => {
                        if self.partial.push(b).is_err() {
                            self.partial.clear();
                        }
                        self.partial_shown = true;
                    }
                }
            }
            if b == b'\n' {
                self.current = None;
                self.restore_partial();
                return true;
            }
        }
    }

    /// After another source's line: the focused source's unfinished line comes back.
    fn restore_partial(&mut self) {
        if !self.partial_shown && !self.partial.is_empty() && self.log.is_empty() {
            let again = self.partial.clone();
            self.put_all(&again);
            self.partial_shown = true;
        }
    }

    fn someone_else(&self, than: Source) -> bool {
        (than != Source::Tarn && self.log.lines() > 0)
            || (0..self.top).any(|s| Source::Domain(s as u16) != than && self.has_line(s))
    }
}

/// How many bytes of this domain would be taken now.
pub fn room(slot: u16) -> usize {
    let c = CONSOLE.lock();
    c.outs
        .get(slot as usize)
        .and_then(Option::as_ref)
        .map_or(RING, |o| o.ring.room())
}

/// Lets the UART interrupt when something is typed.
pub fn listen() {
    let mut c = CONSOLE.lock();
    if let Some(u) = &c.uart {
        u.rx_irq(true);
        c.listening = true;
    }
}
