//! A started machine and its serial line: send, expect by a deadline, and see how it ended.
//!
//! A reader thread collects everything the machine prints; `expect` looks at what came since the last match. Every wait
//! has a deadline, a machine that stops or panics ends the wait at once, and the machine is killed when its console is
//! dropped. Nothing is retried: a test that needs luck should fail.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What Tarn prints when EL2 has panicked; no wait goes on after it.
pub const PANIC: &str = "\nPANIC";

#[derive(Default)]
struct Received {
    text: String,
    closed: bool,
}

/// Everything a machine has said, readable after its console is gone.
#[derive(Clone)]
pub struct Tap {
    received: Arc<(Mutex<Received>, Condvar)>,
    complaints: Arc<Mutex<String>>,
}

impl Tap {
    /// Everything printed so far.
    pub fn text(&self) -> String {
        lock(&self.received.0).text.clone()
    }

    /// What QEMU itself said on its error output; complete once the machine has ended.
    pub fn complaint(&self) -> String {
        lock(&self.complaints).trim().to_owned()
    }
}

/// A running machine.
pub struct Console {
    child: Child,
    stdin: Option<ChildStdin>,
    received: Arc<(Mutex<Received>, Condvar)>,
    /// What QEMU itself said.
    complaints: Arc<Mutex<String>>,
    cursor: usize,
    deadline: Instant,
    status: Option<ExitStatus>,
}

impl Console {
    /// Starts the machine. All waits together end at `limit` from now.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(mut command: Command, limit: Duration) -> Result<Self, String> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .spawn()
            .map_err(|error| format!("cannot start {program} ({error}): run scripts/setup.sh"))?;
        let received = Arc::new((Mutex::new(Received::default()), Condvar::new()));
        let complaints = Arc::new(Mutex::new(String::new()));
        if let Some(stdout) = child.stdout.take() {
            let received = Arc::clone(&received);
            std::thread::spawn(move || collect(stdout, &received));
        }
        if let Some(mut stderr) = child.stderr.take() {
            let complaints = Arc::clone(&complaints);
            std::thread::spawn(move || {
                let mut text = String::new();
                let _ = stderr.read_to_string(&mut text);
                if let Ok(mut complaints) = complaints.lock() {
                    *complaints = text;
                }
            });
        }
        let stdin = child.stdin.take();
        Ok(Self {
            child,
            stdin,
            received,
            complaints,
            cursor: 0,
            deadline: Instant::now() + limit,
            status: None,
        })
    }

    /// Types `text` as it is; a line ends with `\r`.
    ///
    /// # Errors
    /// When the machine is gone.
    pub fn send(&mut self, text: &str) -> Result<(), String> {
        let stdin = self.stdin.as_mut().ok_or("the machine's input is closed")?;
        stdin
            .write_all(text.as_bytes())
            .and_then(|()| stdin.flush())
            .map_err(|error| format!("cannot type '{}': {error}", text.trim_end()))
    }

    /// Waits until `needle` is printed and gives what came before it since the last match.
    ///
    /// # Errors
    /// The machine panicked or stopped first, or the deadline passed.
    pub fn expect(&mut self, needle: &str) -> Result<String, String> {
        self.expect_any(&[needle]).map(|(_, before)| before)
    }

    /// Waits until one of `needles` is printed: which one (the earliest in the text), and what came before it.
    ///
    /// # Errors
    /// As [`Console::expect`].
    pub fn expect_any(&mut self, needles: &[&str]) -> Result<(usize, String), String> {
        self.expect_within(needles, self.left())
    }

    /// [`Console::expect_any`] with a limit of its own, which the machine's deadline may shorten.
    ///
    /// # Errors
    /// As [`Console::expect`].
    pub fn expect_within(
        &mut self,
        needles: &[&str],
        limit: Duration,
    ) -> Result<(usize, String), String> {
        let until = (Instant::now() + limit).min(self.deadline);
        let what = || {
            needles
                .iter()
                .map(|needle| format!("'{}'", needle.trim()))
                .collect::<Vec<_>>()
                .join(" or ")
        };
        let shared = Arc::clone(&self.received);
        let mut received = lock(&shared.0);
        loop {
            let fresh = &received.text[self.cursor..];
            let hit = needles
                .iter()
                .enumerate()
                .filter_map(|(index, needle)| Some((fresh.find(needle)?, index, needle.len())));
            if let Some((at, index, length)) = hit.min() {
                let before = fresh[..at].to_owned();
                self.cursor += at + length;
                return Ok((index, before));
            }
            if fresh.contains(PANIC) && !needles.contains(&PANIC) {
                return Err(format!(
                    "the hypervisor panicked while {} was expected",
                    what()
                ));
            }
            if received.closed {
                return Err(format!("the machine stopped while {} was expected", what()));
            }
            let now = Instant::now();
            if now >= until {
                return Err(format!("{} did not come in time", what()));
            }
            received = shared
                .1
                .wait_timeout(received, until - now)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(guard, _)| guard);
        }
    }

    /// Checks that none of `needles` is printed for `span`.
    ///
    /// # Errors
    /// Which one was printed, or that the machine stopped or panicked.
    pub fn quiet(&mut self, needles: &[&str], span: Duration) -> Result<(), String> {
        let cursor = self.cursor;
        match self.expect_within(needles, span) {
            Ok((index, _)) => Err(format!("'{}' was printed and must not be", needles[index])),
            Err(error) if error.ends_with("did not come in time") => {
                self.cursor = cursor;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until the machine ends by itself.
    ///
    /// # Errors
    /// It did not in time, or not with status 0.
    pub fn finish(&mut self) -> Result<(), String> {
        loop {
            if let Some(status) = self
                .child
                .try_wait()
                .map_err(|error| format!("cannot wait for the machine: {error}"))?
            {
                self.status = Some(status);
                self.drain();
                if self.text()[self.cursor..].contains(PANIC) {
                    return Err("the hypervisor panicked".into());
                }
                return if status.success() {
                    Ok(())
                } else {
                    Err(format!(
                        "the machine ended with {status}: {}",
                        self.complaint()
                    ))
                };
            }
            if self.left().is_zero() {
                return Err("the machine did not power off in time".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Lets the last `bytes` of the last match count again: they may begin the next.
    pub fn step_back(&mut self, bytes: usize) {
        self.cursor = self.cursor.saturating_sub(bytes);
    }

    /// The rest of the line that the last match is in.
    ///
    /// # Errors
    /// As [`Console::expect`].
    pub fn rest_of_line(&mut self) -> Result<String, String> {
        self.expect("\n")
    }

    /// A view of the output that outlives the console.
    pub fn tap(&self) -> Tap {
        Tap {
            received: Arc::clone(&self.received),
            complaints: Arc::clone(&self.complaints),
        }
    }

    /// Everything printed so far.
    pub fn text(&self) -> String {
        lock(&self.received.0).text.clone()
    }

    /// What QEMU itself said on its error output; complete once the machine has ended.
    pub fn complaint(&self) -> String {
        lock(&self.complaints).trim().to_owned()
    }

    /// Time until the deadline.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Lets the reader see the end of the output after the machine has ended.
    fn drain(&mut self) {
        let until = Instant::now() + Duration::from_secs(2);
        let mut received = lock(&self.received.0);
        while !received.closed && Instant::now() < until {
            let waited = self
                .received
                .1
                .wait_timeout(received, Duration::from_millis(50));
            received = waited.map_or_else(|poisoned| poisoned.into_inner().0, |(guard, _)| guard);
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if self.status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Reads until the machine closes its output. Carriage returns are dropped so that a line ends one way only.
fn collect(mut stdout: impl Read, received: &(Mutex<Received>, Condvar)) {
    let mut chunk = [0; 4096];
    let mut pending = Vec::new();
    while let Ok(count) = stdout.read(&mut chunk) {
        if count == 0 {
            break;
        }
        for byte in &chunk[..count] {
            if *byte != b'\r' {
                pending.push(*byte);
            }
            if pending.ends_with(ERASE) {
                pending.truncate(pending.len() - ERASE.len());
                pending.push(b'\n');
            }
        }
        let whole = pending.len() - incomplete_tail(&pending).max(erase_begun(&pending));
        let text = String::from_utf8_lossy(&pending[..whole]).into_owned();
        pending.drain(..whole);
        lock(&received.0).text.push_str(&text);
        received.1.notify_all();
    }
    let mut last = lock(&received.0);
    last.text.push_str(&String::from_utf8_lossy(&pending));
    last.closed = true;
    received.1.notify_all();
}

/// "Erase this line": how Tarn's console takes an unfinished line off the screen before another source's line comes.
/// Read as the end of that line, so that every source's text stands on lines of its own.
const ERASE: &[u8] = b"\x1b[2K";

/// Bytes at the end that may begin an `ERASE`.
fn erase_begun(bytes: &[u8]) -> usize {
    (1..ERASE.len())
        .rev()
        .find(|n| bytes.ends_with(&ERASE[..*n]))
        .unwrap_or(0)
}

/// Bytes at the end that begin a UTF-8 sequence not yet complete.
fn incomplete_tail(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.len() - error.valid_up_to(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: u64) -> Console {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Console::start(command, Duration::from_millis(limit)).unwrap()
    }

    #[test]
    fn expects_in_order_and_sees_the_end() {
        let mut console = shell("echo one; echo two; read x; echo got $x", 5000);
        assert_eq!(console.expect("one\n"), Ok(String::new()));
        console.expect("two").unwrap();
        console.send("three\n").unwrap();
        console.expect("got three").unwrap();
        console.finish().unwrap();
        assert!(console.expect("four").unwrap_err().contains("stopped"));
    }

    #[test]
    fn a_deadline_ends_the_wait_and_the_machine() {
        let mut console = shell("exec sleep 60", 100);
        let begin = Instant::now();
        assert!(console.expect("never").unwrap_err().contains("in time"));
        assert!(begin.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_panic_ends_every_wait_and_a_bad_status_is_told() {
        let mut console = shell("echo; echo PANIC: oh; exec sleep 60", 5000);
        assert!(console.expect("prompt").unwrap_err().contains("panicked"));
        let mut console = shell("exit 3", 5000);
        assert!(console.finish().unwrap_err().contains('3'));
    }

    #[test]
    fn quiet_refuses_the_word_and_passes_without() {
        let mut console = shell("echo good; exec sleep 60", 5000);
        console.quiet(&["bad"], Duration::from_millis(200)).unwrap();
        assert!(
            console
                .quiet(&["good"], Duration::from_millis(200))
                .is_err()
        );
    }
}
