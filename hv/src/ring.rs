//! A ring of bytes that knows how many whole lines it holds: what the console keeps of each source.
//!
//! Full, it takes nothing more: who pushes asks for room first.

/// `N` bytes at most.
pub struct Ring<const N: usize> {
    buf: [u8; N],
    head: u64,
    tail: u64,
    lines: u32,
}

impl<const N: usize> Ring<N> {
    /// Empty.
    pub const fn new() -> Self {
        Ring {
            buf: [0; N],
            head: 0,
            tail: 0,
            lines: 0,
        }
    }

    /// Bytes that may be pushed.
    pub fn room(&self) -> usize {
        N - (self.head - self.tail) as usize
    }

    /// Complete lines in it.
    pub fn lines(&self) -> u32 {
        self.lines
    }

    /// How many bytes have been taken out so far.
    pub fn taken(&self) -> u64 {
        self.tail
    }

    /// Puts a byte in; there must be room.
    pub fn push(&mut self, b: u8) {
        self.buf[(self.head % N as u64) as usize] = b;
        self.head += 1;
        self.lines += u32::from(b == b'\n');
    }

    /// The oldest byte.
    pub fn peek(&self) -> Option<u8> {
        (!self.is_empty()).then(|| self.buf[(self.tail % N as u64) as usize])
    }

    /// Takes the oldest byte out.
    pub fn pop(&mut self) -> Option<u8> {
        let b = self.peek()?;
        self.tail += 1;
        self.lines -= u32::from(b == b'\n');
        Some(b)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// The newest byte.
    pub fn last(&self) -> Option<u8> {
        (!self.is_empty()).then(|| self.buf[((self.head - 1) % N as u64) as usize])
    }
}
