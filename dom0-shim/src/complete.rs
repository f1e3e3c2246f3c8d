//! Tab: what the word before the cursor could become.
//!
//! Which names fit is asked of the hypervisor at that moment. As much as all candidates share is inserted; if that is
//! nothing, they are listed. Names with characters that the prompt cannot take are never offered.

use crate::cmd::{self, Kind, Wanted};
use crate::line::{Editor, LINE_MAX};
use crate::names;
use crate::session::{Fail, Session};
use core::fmt::{self, Write};
use tarn_abi::Text;

/// Longest candidate: every name and every command fits.
const LONGEST: usize = Text::MAX;

/// Every word that fits what is wanted, and whether it is whole (an option with `=` is not).
fn each(
    s: &mut Session<'_>,
    wanted: &Wanted<'_>,
    f: &mut dyn FnMut(&mut Session<'_>, &[u8]),
) -> Result<(), Fail> {
    if let Some(kind) = wanted.kind {
        each_of(s, kind, f)?;
    }
    // Letters only when somebody asks for one, and keys when no name must come first.
    let asked = wanted.word.starts_with('-');
    for o in wanted.opts {
        let key = o.name.ends_with('=');
        if key && !wanted.required || asked && !key {
            f(s, o.name.as_bytes());
        }
    }
    if wanted.json && asked {
        f(s, b"--json");
    }
    Ok(())
}

fn each_of(
    s: &mut Session<'_>,
    kind: Kind,
    f: &mut dyn FnMut(&mut Session<'_>, &[u8]),
) -> Result<(), Fail> {
    match kind {
        Kind::Command => {
            for c in cmd::COMMANDS {
                f(s, c.name.as_bytes());
                c.aliases.iter().for_each(|a| f(s, a.as_bytes()));
            }
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
        Kind::Target => {
            each_of(s, Kind::Pool, f)?;
            each_of(s, Kind::Domain, f)
        }
        Kind::Group => cmd::each_group_name(s, f),
        Kind::Place => {
            each_of(s, Kind::Pool, f)?;
            cmd::each_group_name(s, f)
        }
        Kind::Sched => names::each_sched(s, &mut |s, row| {
            f(s, row.name.as_bytes());
            Ok(())
        }),
        Kind::Setting => {
            cmd::each_param_name(s, &mut |s, name| {
                let mut word = [b'='; 17];
                let n = name.len().min(16);
                word[..n].copy_from_slice(&name.as_bytes()[..n]);
                f(s, &word[..=n]);
            });
            Ok(())
        }
        Kind::Work => {
            cmd::WORKS
                .iter()
                .for_each(|(name, _)| f(s, name.as_bytes()));
            Ok(())
        }
        Kind::OnOff => {
            f(s, b"on");
            f(s, b"off");
            Ok(())
        }
        Kind::CpuOrAll | Kind::CpusOrAll | Kind::Vcpu => {
            f(s, b"all");
            Ok(())
        }
        Kind::Memory => {
            f(s, b"any");
            f(s, b"node:");
            Ok(())
        }
        Kind::New
        | Kind::Cpus
        | Kind::Cpu
        | Kind::Number
        | Kind::Seconds
        | Kind::Steps
        | Kind::Switch => Ok(()),
    }
}

fn fits(candidate: &[u8], word: &[u8]) -> bool {
    candidate.starts_with(word) && candidate.iter().all(|b| b.is_ascii_graphic() && *b != b';')
}

/// Completes the word before the cursor of `editor`, or lists what it could become.
pub fn complete(s: &mut Session<'_>, editor: &mut Editor) -> fmt::Result {
    let mut word = [0u8; LONGEST];
    let mut line = [0u8; LINE_MAX];
    let before = editor.before_cursor();
    line[..before.len()].copy_from_slice(before.as_bytes());
    let before = core::str::from_utf8(&line[..before.len()]).unwrap_or("");
    let Some(wanted) = cmd::wanted(before) else {
        return s.write_str("\x07");
    };
    let typed = wanted.word;
    let typed_len = typed.len();
    let Some(copy) = word.get_mut(..typed_len) else {
        return s.write_str("\x07");
    };
    copy.copy_from_slice(typed.as_bytes());
    let typed = &word[..typed_len];

    // What all candidates begin with.
    let (mut common, mut common_len, mut count) = ([0u8; LONGEST], 0, 0u32);
    let found = each(s, &wanted, &mut |_, candidate| {
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
        // Behind a key comes its value.
        let whole = !matches!(common[..common_len].last(), Some(b'=' | b':'));
        return if count == 1 && whole {
            editor.insert(b' ', s)
        } else {
            Ok(())
        };
    }
    s.write_str("\n")?;
    let listed = each(s, &wanted, &mut |s, candidate| {
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
