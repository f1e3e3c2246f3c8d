//! A pool's name: 1 to 31 printable characters without blanks, by value.
//!
//! Must never allocate: names are copied into listings under a lock.

use crate::error::PoolError;
use core::fmt;

const MAX: usize = 31;

/// A checked name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name {
    len: u8,
    bytes: [u8; MAX],
}

impl Name {
    /// Checks `text`.
    pub fn new(text: &str) -> Result<Name, PoolError> {
        let ok = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
        if text.is_empty() || text.len() > MAX || !text.bytes().all(ok) {
            return Err(PoolError::BadName);
        }
        let mut bytes = [0; MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Name {
            len: text.len() as u8,
            bytes,
        })
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or("")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
