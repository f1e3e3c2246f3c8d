//! Reads a flattened device tree: a checked header and a stream of tokens, nothing copied, nothing allocated.
//!
//! Every offset and length is checked against the blob; a malformed tree ends the stream early instead of panicking.
//! What the tokens mean is `machine`'s business. Format: Devicetree Specification v0.4, chapter 5.

/// What is wrong with a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtbError {
    /// No device tree magic, or a header that is too short.
    Magic,
    /// A version this reader does not know (it knows 17 and what is compatible with 16).
    Version,
    /// A block lies outside the blob.
    Bounds,
}

/// A device tree.
#[derive(Clone, Copy)]
pub struct Dtb<'a> {
    structure: &'a [u8],
    strings: &'a [u8],
}

/// One token of the structure block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// A node begins; its name with unit address.
    Begin(&'a str),
    /// A property of the node that began last.
    Property(&'a str, &'a [u8]),
    /// The node that began last ends.
    End,
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..at.checked_add(4)?)?
        .try_into()
        .ok()
        .map(u32::from_be_bytes)
}

/// The text before the first zero byte.
fn text(bytes: &[u8]) -> Option<&str> {
    let end = bytes.iter().position(|&b| b == 0)?;
    core::str::from_utf8(&bytes[..end]).ok()
}

impl<'a> Dtb<'a> {
    /// The size that a header (its first 8 bytes or more) gives, if it has the magic.
    pub fn total_size(header: &[u8]) -> Option<usize> {
        (word(header, 0)? == 0xd00d_feed).then_some(word(header, 4)? as usize)
    }

    /// Checks the header.
    ///
    /// # Errors
    /// Says which part of the header is wrong.
    pub fn new(bytes: &'a [u8]) -> Result<Dtb<'a>, DtbError> {
        let total = Dtb::total_size(bytes).ok_or(DtbError::Magic)?;
        let bytes = bytes.get(..total).ok_or(DtbError::Bounds)?;
        let field = |at| word(bytes, at).map(|v| v as usize).ok_or(DtbError::Bounds);
        if field(20)? < 17 || field(24)? > 17 {
            return Err(DtbError::Version);
        }
        let block = |offset: usize, size: usize| {
            bytes
                .get(offset..offset.checked_add(size).ok_or(DtbError::Bounds)?)
                .ok_or(DtbError::Bounds)
        };
        Ok(Dtb {
            structure: block(field(8)?, field(36)?)?,
            strings: block(field(12)?, field(32)?)?,
        })
    }

    /// The structure block, token by token.
    pub fn tokens(&self) -> Tokens<'a> {
        Tokens { dtb: *self, at: 0 }
    }
}

/// See [`Dtb::tokens`].
pub struct Tokens<'a> {
    dtb: Dtb<'a>,
    at: usize,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let kind = word(self.dtb.structure, self.at)?;
            self.at += 4;
            match kind {
                1 => {
                    let name = text(self.dtb.structure.get(self.at..)?)?;
                    self.at += (name.len() + 1).next_multiple_of(4);
                    return Some(Token::Begin(name));
                }
                2 => return Some(Token::End),
                3 => {
                    let length = word(self.dtb.structure, self.at)? as usize;
                    let name = word(self.dtb.structure, self.at + 4)? as usize;
                    let name = text(self.dtb.strings.get(name..)?)?;
                    let start = self.at + 8;
                    let end = start.checked_add(length)?;
                    let value = self.dtb.structure.get(start..end)?;
                    self.at = end.checked_next_multiple_of(4)?;
                    return Some(Token::Property(name, value));
                }
                4 => {}
                _ => return None,
            }
        }
    }
}

/// A number of one or two cells at cell `at` of a property.
pub fn cells(value: &[u8], at: usize, count: usize) -> Option<u64> {
    let mut number = 0u64;
    if count > 2 {
        return None;
    }
    for i in 0..count {
        number = number << 32 | u64::from(word(value, at.checked_add(i)?.checked_mul(4)?)?);
    }
    Some(number)
}

/// The strings of a string-list property.
pub fn strings(value: &[u8]) -> impl Iterator<Item = &str> {
    value
        .split(|&b| b == 0)
        .filter_map(|s| core::str::from_utf8(s).ok())
        .filter(|s| !s.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `/ { a = <1 2>; n { s = "x", "yz"; }; }`
    fn blob() -> [u8; 148] {
        let mut b = [0u8; 148];
        let words: [u32; 10] = [0xd00d_feed, 148, 56, 140, 40, 17, 16, 0, 8, 84];
        for (i, w) in words.iter().enumerate() {
            b[i * 4..i * 4 + 4].copy_from_slice(&w.to_be_bytes());
        }
        let tree: [u32; 18] = [
            1,
            0,
            3,
            8,
            0,
            1,
            2,
            1,
            0x6e00_0000,
            3,
            5,
            2,
            0x7800_797a,
            0,
            2,
            2,
            9,
            0,
        ];
        for (i, w) in tree.iter().enumerate() {
            b[56 + i * 4..60 + i * 4].copy_from_slice(&w.to_be_bytes());
        }
        b[140..148].copy_from_slice(b"a\0s\0\0\0\0\0");
        b
    }

    #[test]
    fn reads_a_tree() {
        let b = blob();
        let tree = Dtb::new(&b).unwrap();
        let mut t = tree.tokens();
        assert_eq!(t.next(), Some(Token::Begin("")));
        let Some(Token::Property("a", value)) = t.next() else {
            panic!()
        };
        assert_eq!(
            (cells(value, 0, 1), cells(value, 0, 2), cells(value, 2, 1)),
            (Some(1), Some(1 << 32 | 2), None)
        );
        assert_eq!(t.next(), Some(Token::Begin("n")));
        let Some(Token::Property("s", value)) = t.next() else {
            panic!()
        };
        assert!(strings(value).eq(["x", "yz"]));
        assert_eq!(
            (t.next(), t.next(), t.next()),
            (Some(Token::End), Some(Token::End), None)
        );
    }

    #[test]
    fn survives_every_truncation_and_byte() {
        let good = blob();
        for n in 0..good.len() {
            if let Ok(tree) = Dtb::new(&good[..n]) {
                tree.tokens().count();
            }
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = good;
                bad[n] = value;
                if let Ok(tree) = Dtb::new(&bad) {
                    assert!(tree.tokens().count() <= 64);
                    crate::machine::Machine::from_dtb(&tree, 0);
                }
            }
        }
    }
}
