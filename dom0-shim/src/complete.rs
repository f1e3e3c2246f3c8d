//! Tab: what the word before the cursor could become.
//!
//! Which names fit is asked of the hypervisor at that moment. As much as all candidates share is inserted; if that is
//! nothing, they are listed. Names with characters that the prompt cannot take are never offered.

use crate::cmd::{self, Kind};
use crate::line::Editor;
use crate::names;
use crate::session::{Fail, Session};
use core::fmt::{self, Write};
use tarn_abi::Text;

/// Longest candidate: every name and every command fits.
const LONGEST: usize = Text::MAX;

/// What the last word of a line is to be, and how much of it there is.
fn wanted(before: &str) -> Option<(Kind, &str)> {
    let before = before.strip_prefix('@').unwrap_or(before);
    let command = before.rsplit(';').next().unwrap_or("");
    let start = command.rfind(' ').map_or(0, |at| at + 1);
    let (done, word) = command.split_at(start);
    let mut done = done
        .split_ascii_whitespace()
        .skip_while(|w| cmd::PREFIXES.contains(w));
    match done.next() {
        None => Some((Kind::Command, word)),
        Some(first) => Some((cmd::find(first)?.args.get(done.count())?.kind, word)),
    }
}

/// Every word of a kind.
fn each(
    s: &mut Session<'_>,
    kind: Kind,
    f: &mut dyn FnMut(&mut Session<'_>, &[u8]),
) -> Result<(), Fail> {
    match kind {
        Kind::Command => {
            cmd::COMMANDS.iter().for_each(|c| f(s, c.name.as_bytes()));
            Ok(())
        }
        Kind::Domain => names::each_domain(s, &mut |s, row| {
            let name = names::domain_name(s, row.id);
            f(s, name.as_bytes());
            Ok(())
        }),
        Kind::Config => names::each_config(s, &mut |s, row| {
            if row.alive.is_none() {
                f(s, row.name.as_bytes());
            }
            Ok(())
        }),
        Kind::Pool => names::each_pool(s, &mut |s, row| {
            let name = names::pool_name(s, row.id);
            f(s, name.as_bytes());
            Ok(())
        }),
    }
}

fn fits(candidate: &[u8], word: &[u8]) -> bool {
    candidate.starts_with(word) && candidate.iter().all(|b| b.is_ascii_graphic() && *b != b';')
}

/// Completes the word before the cursor of `editor`, or lists what it could become.
pub fn complete(s: &mut Session<'_>, editor: &mut Editor) -> fmt::Result {
    let mut word = [0u8; LONGEST];
    let Some((kind, typed)) = wanted(editor.before_cursor()) else {
        return s.write_str("\x07");
    };
    let typed_len = typed.len();
    let Some(copy) = word.get_mut(..typed_len) else {
        return s.write_str("\x07");
    };
    copy.copy_from_slice(typed.as_bytes());
    let typed = &word[..typed_len];

    // What all candidates begin with.
    let (mut common, mut common_len, mut count) = ([0u8; LONGEST], 0, 0u32);
    let found = each(s, kind, &mut |_, candidate| {
        if !fits(candidate, typed) {
            return;
        }
        let n = candidate.len().min(LONGEST);
        if count == 0 {
            common[..n].copy_from_slice(&candidate[..n]);
            common_len = n;
        } else {
            let same = common[..common_len]
                .iter()
                .zip(candidate)
                .take_while(|(a, b)| a == b)
                .count();
            common_len = same;
        }
        count += 1;
    });
    if found.is_err() || count == 0 {
        return s.write_str("\x07");
    }
    if common_len > typed_len || count == 1 {
        for b in &common[typed_len..common_len] {
            editor.insert(*b, s)?;
        }
        return if count == 1 {
            editor.insert(b' ', s)
        } else {
            Ok(())
        };
    }
    s.write_str("\n")?;
    let listed = each(s, kind, &mut |s, candidate| {
        if fits(candidate, typed) {
            candidate.iter().for_each(|b| s.put(*b));
            s.put(b' ');
            s.put(b' ');
        }
    });
    s.write_str("\n")?;
    editor.show(s)?;
    if listed.is_err() {
        s.write_str("\x07")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_is_wanted() {
        assert_eq!(wanted(""), Some((Kind::Command, "")));
        assert_eq!(wanted("li"), Some((Kind::Command, "li")));
        assert_eq!(wanted("list; pau"), Some((Kind::Command, "pau")));
        assert_eq!(wanted("@list;destroy vm"), Some((Kind::Domain, "vm")));
        assert_eq!(wanted("xl destroy "), Some((Kind::Domain, "")));
        assert_eq!(wanted("create x"), Some((Kind::Config, "x")));
        assert_eq!(wanted("cpupool-list P"), Some((Kind::Pool, "P")));
        assert_eq!(wanted("destroy vm1 "), None);
        assert_eq!(wanted("nothing "), None);
        assert_eq!(wanted("dmesg "), None);
        assert_eq!(wanted("help re"), Some((Kind::Command, "re")));
    }
}
