//! Text and bytes inside registers: names, messages, console data.
//!
//! A text is padded with zero bytes and has none inside; where it ends is where the first zero is. Console data has a
//! length instead, so it may hold anything. Neither is trusted to be UTF-8: printing replaces what is not printable
//! ASCII by `?`, so a name that a device tree or a guest chose cannot drive a terminal.

use core::fmt;

/// Up to `N` bytes of text (`N` is a multiple of 8), zero-padded.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chars<const N: usize>([u8; N]);

/// A name or a message: up to 48 bytes in x2-x7.
pub type Text = Chars<48>;
/// A short name, such as a scheduler's: up to 16 bytes in two registers.
pub type Label = Chars<16>;

impl<const N: usize> Default for Chars<N> {
    fn default() -> Self {
        Chars([0; N])
    }
}

impl<const N: usize> Chars<N> {
    /// Most bytes it can hold.
    pub const MAX: usize = N;

    /// All of `s`; `None` if it is longer than `N` bytes or has a zero byte.
    pub fn new(s: &str) -> Option<Self> {
        Self::from_bytes(s.as_bytes())
    }

    /// All of `bytes`; `None` if there are more than `N` or one of them is zero.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut t = Self::default();
        if bytes.contains(&0) {
            return None;
        }
        t.0.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(t)
    }

    /// As much of `s` as fits: cut before a zero byte and between characters.
    pub fn truncated(s: &str) -> Self {
        Self::from_bytes(cut(s, N).as_bytes()).unwrap_or_default()
    }

    /// From register bytes; `None` if something follows the first zero.
    pub(crate) fn from_padded(bytes: [u8; N]) -> Option<Self> {
        let t = Chars(bytes);
        if t.0[t.len()..].iter().any(|b| *b != 0) {
            return None;
        }
        Some(t)
    }

    /// With its padding.
    pub(crate) const fn padded(&self) -> &[u8; N] {
        &self.0
    }

    /// How many bytes of text.
    pub fn len(&self) -> usize {
        self.0.iter().position(|b| *b == 0).unwrap_or(N)
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The text as it came, unchecked.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0[..self.len()]
    }

    /// The text if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        core::str::from_utf8(self.as_bytes()).ok()
    }
}

/// Prints each byte that is not printable ASCII as `?`.
impl<const N: usize> fmt::Display for Chars<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        printable(self.as_bytes(), f)
    }
}

impl<const N: usize> fmt::Debug for Chars<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl<const N: usize> PartialEq<str> for Chars<N> {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

/// Writes into a text and stops when it is full, so that `write!` can build one: what does not fit is cut.
impl<const N: usize> fmt::Write for Chars<N> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let at = self.len();
        let fits = cut(s, N - at).as_bytes();
        self.0[at..at + fits.len()].copy_from_slice(fits);
        if fits.len() < s.len() {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}

/// The longest beginning of `s` without a zero byte, of at most `max` bytes, that ends between characters.
fn cut(s: &str, max: usize) -> &str {
    let s = s.split('\0').next().unwrap_or("");
    let mut end = s.len().min(max);
    while !s.is_char_boundary(end) {
        end -= 1;
    }
    &s[..end]
}

fn printable(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use core::fmt::Write;
    for b in bytes {
        f.write_char(if (0x20..0x7f).contains(b) {
            *b as char
        } else {
            '?'
        })?;
    }
    Ok(())
}

/// Console data: up to 40 bytes of any value, with their number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Bytes {
    len: u8,
    data: [u8; Bytes::MAX],
}

impl Bytes {
    /// Most bytes of one call.
    pub const MAX: usize = 40;
    /// No bytes.
    pub const EMPTY: Bytes = Bytes {
        len: 0,
        data: [0; Bytes::MAX],
    };

    /// All of `bytes`; `None` if there are more than `MAX`.
    pub fn new(bytes: &[u8]) -> Option<Bytes> {
        let mut b = Bytes::EMPTY;
        b.data.get_mut(..bytes.len())?.copy_from_slice(bytes);
        b.len = bytes.len() as u8;
        Some(b)
    }

    /// From register contents; `None` if `len` is above `MAX` or a byte behind `len` is not zero.
    pub(crate) fn from_wire(len: u64, data: [u8; Bytes::MAX]) -> Option<Bytes> {
        let n = usize::try_from(len).ok().filter(|n| *n <= Bytes::MAX)?;
        if data[n..].iter().any(|b| *b != 0) {
            return None;
        }
        Some(Bytes { len: n as u8, data })
    }

    /// Length and padded data.
    pub(crate) const fn to_wire(self) -> (u64, [u8; Bytes::MAX]) {
        (self.len as u64, self.data)
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.data[..self.len as usize]
    }

    /// Adds one byte; `false` if it is full.
    pub fn push(&mut self, byte: u8) -> bool {
        match self.data.get_mut(self.len as usize) {
            Some(b) => {
                *b = byte;
                self.len += 1;
                true
            }
            None => false,
        }
    }
}

impl Default for Bytes {
    fn default() -> Self {
        Bytes::EMPTY
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("b\"")?;
        printable(self.as_slice(), f)?;
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use core::fmt::Write;
    use std::string::ToString;

    #[test]
    fn text_keeps_or_refuses() {
        let full = "x".repeat(48);
        assert_eq!(Text::new(&full).unwrap().as_str(), Some(full.as_str()));
        assert_eq!(Text::new(&"x".repeat(49)), None);
        assert_eq!(Text::new("a\0b"), None);
        assert!(Text::new("").unwrap().is_empty());
        assert!(Text::new("dom1").unwrap() == *"dom1");
    }

    #[test]
    fn truncation_is_between_characters() {
        assert_eq!(
            Label::truncated("fifteen bytes..é").as_str(),
            Some("fifteen bytes..")
        );
        assert_eq!(Label::truncated("a\0b").as_str(), Some("a"));
        let mut l = Label::default();
        assert!(l.write_str("0123456789abcdefgh").is_err());
        assert_eq!(l.as_str(), Some("0123456789abcdef"));
    }

    #[test]
    fn display_cannot_drive_a_terminal() {
        assert_eq!(
            Text::from_bytes(b"a\x1b[2J\xff").unwrap().to_string(),
            "a?[2J?"
        );
    }

    #[test]
    fn bytes_hold_anything() {
        let mut b = Bytes::new(&[0, 255, b'a']).unwrap();
        assert_eq!(b.as_slice(), [0, 255, b'a']);
        while b.push(1) {}
        assert_eq!(b.as_slice().len(), Bytes::MAX);
        assert_eq!(Bytes::new(&[0; 41]), None);
        assert_eq!(Bytes::from_wire(41, [0; 40]), None);
        assert_eq!(Bytes::from_wire(u64::MAX, [0; 40]), None);
        let mut data = [0; 40];
        data[3] = 1;
        assert_eq!(Bytes::from_wire(3, data), None);
        assert!(Bytes::from_wire(4, data).is_some());
    }
}
