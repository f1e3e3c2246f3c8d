//! The console: which UART /chosen/stdout-path means.
//!
//! Every UART of the probe table (discover.rs) is a candidate while the tree is walked; the choice is made at the end, when
//! /aliases and /chosen are known. No choice, or one that cannot be used: the first PL011. A board without any is
//! still a board.

use crate::bus::registers;
use crate::discover::{Notes, error_at};
use crate::error::{BoardError, NodePath, Problem};
use crate::irq::{Lines, RawIrqs};
use crate::props::{Key, text};
use crate::region::Region;
use crate::tree::{Node, RawProps};
use crate::{UartDesc, UartKind};
use alloc::vec::Vec;

/// Most UARTs looked at.
const MAX_UARTS: usize = 16;

#[derive(Clone)]
struct Candidate<'a> {
    kind: UartKind,
    regs: Region,
    irqs: RawIrqs<'a>,
    path: NodePath,
}

/// The candidates and what the choice needs.
#[derive(Default)]
pub(crate) struct Uarts<'a> {
    /// The /aliases node.
    pub aliases: Option<RawProps<'a>>,
    list: Vec<Candidate<'a>>,
    seen: usize,
}

impl<'a> Uarts<'a> {
    /// The node of a UART that has a driver.
    pub fn node(&mut self, node: &Node<'a, '_>, kind: UartKind, notes: &mut Notes) {
        // Those that turn out to be of no use count too: translating an address costs time.
        self.seen = self.seen.saturating_add(1);
        if self.seen > MAX_UARTS {
            if self.seen == MAX_UARTS + 1 {
                notes.add(node.error(
                    "",
                    Problem::TooMany {
                        max: MAX_UARTS as u32,
                    },
                ));
            }
            return;
        }
        match registers(node) {
            Ok(regs) => {
                let candidate = Candidate {
                    kind,
                    regs,
                    irqs: RawIrqs::of(node),
                    path: node.path(),
                };
                self.list.push(candidate);
            }
            Err(problem) => notes.add(node.error("reg", problem)),
        }
    }

    /// The console, given /chosen/stdout-path and the GIC.
    pub fn finish(
        self,
        stdout: Option<&'a str>,
        gic: Lines,
        notes: &mut Notes,
    ) -> Option<UartDesc> {
        let mut baud = None;
        let mut chosen = None;
        if let Some(stdout) = stdout {
            let (target, options) = stdout.split_once(':').unwrap_or((stdout, ""));
            baud = leading_number(options);
            chosen = self.resolve(target);
            if chosen.is_none() {
                let why =
                    "it leads to no UART that Tarn drives; the first PL011 is used if there is one";
                notes.add(error_at(
                    "/chosen",
                    Key::StdoutPath.name(),
                    Problem::Ignored(why),
                ));
            }
        }
        let by_choice = chosen.is_some();
        let c = chosen.or_else(|| self.list.iter().find(|c| c.kind != UartKind::Bcm2835Aux))?;
        let irq = c.irqs.nth(0, gic).unwrap_or_else(|problem| {
            notes.add(BoardError {
                node: c.path.clone(),
                property: c.irqs.property(),
                problem,
            });
            None
        });
        Some(UartDesc {
            kind: c.kind,
            regs: c.regs,
            irq,
            baud: baud.filter(|_| by_choice),
            path: c.path.clone(),
            chosen: by_choice,
        })
    }

    /// The candidate that a path, or an alias, leads to.
    fn resolve(&self, target: &str) -> Option<&Candidate<'a>> {
        if target.starts_with('/') {
            return self.by_path(target);
        }
        let (_, value) = self.aliases?.iter().find(|(name, _)| *name == target)?;
        self.by_path(text(value)?)
    }

    fn by_path(&self, path: &str) -> Option<&Candidate<'a>> {
        let exact = NodePath::from_text(path);
        self.list
            .iter()
            .find(|c| c.path == exact)
            // A component may leave its unit address out.
            .or_else(|| self.list.iter().find(|c| same_path(c.path.as_str(), path)))
    }
}

/// Whether `path` means the node at `full`, unit addresses left out at will.
fn same_path(full: &str, path: &str) -> bool {
    let (mut a, mut b) = (full.split('/'), path.split('/'));
    loop {
        match (a.next(), b.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if a == b => {}
            (Some(a), Some(b)) if a.split_once('@').is_some_and(|(base, _)| base == b) => {}
            _ => return false,
        }
    }
}

/// The digits at the start of "115200n8".
fn leading_number(options: &str) -> Option<u32> {
    let digits = options.bytes().take_while(u8::is_ascii_digit).count();
    options[..digits].parse().ok().filter(|n| *n != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_may_leave_unit_addresses_out() {
        assert!(same_path("/soc@0/serial@7e201000", "/soc/serial"));
        assert!(same_path("/soc/serial@7e201000", "/soc/serial@7e201000"));
        assert!(!same_path("/soc/serial@7e201000", "/soc/serial@7e201"));
        assert!(!same_path("/soc/serial@7e201000", "/soc"));
        assert!(!same_path("/soc", "/soc/serial"));
    }

    #[test]
    fn baud_rates() {
        assert_eq!(leading_number("115200n8"), Some(115_200));
        assert_eq!(leading_number("n8"), None);
        assert_eq!(leading_number("0"), None);
        assert_eq!(leading_number("99999999999"), None);
    }
}
