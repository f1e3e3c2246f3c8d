//! Interrupt specifiers: from cells to an INTID of the GIC.
//!
//! Binding: Linux Documentation/devicetree/bindings/interrupt-controller/arm,gic{,-v3}.yaml. Only the GIC's own
//! interrupts are decoded; those of other controllers are told apart by their phandle and refused.

use crate::error::Problem;
use crate::props::{Key, cells};
use crate::tree::Node;
use crate::{Irq, Trigger};

/// What of the GIC is needed to decode interrupts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines {
    /// Its phandle, 0 if it has none.
    pub phandle: u32,
    /// Its `#interrupt-cells`: 3, or 4 with a PPI partition at the end.
    pub cells: usize,
}

/// A node's interrupts, raw: the GIC may come later in the tree.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RawIrqs<'a> {
    plain: Option<&'a [u8]>,
    extended: Option<&'a [u8]>,
    parent: u32,
}

impl<'a> RawIrqs<'a> {
    /// Those of `node`.
    pub fn of(node: &Node<'a, '_>) -> RawIrqs<'a> {
        RawIrqs {
            plain: node.props.get(Key::Interrupts),
            extended: node.props.get(Key::InterruptsExtended),
            parent: node.here().interrupt_parent,
        }
    }

    /// The property they come from: `interrupts-extended` wins, as the specification says.
    pub fn property(&self) -> &'static str {
        if self.extended.is_some() {
            Key::InterruptsExtended.name()
        } else {
            Key::Interrupts.name()
        }
    }

    /// The `n`th; `None` if there are fewer.
    pub fn nth(&self, n: usize, gic: Lines) -> Result<Option<Irq>, Problem> {
        let mut specifier = [0; 3];
        let found = if let Some(list) = self.extended {
            let mut list = cells(list);
            let mut left = n;
            loop {
                let Some(parent) = list.next() else {
                    break false;
                };
                // How many cells another controller's specifier has is not known here: nothing behind it is found.
                if parent == 0 || parent != gic.phandle {
                    return Err(Problem::NotAtGic { phandle: parent });
                }
                if left > 0 {
                    left -= 1;
                    if list.nth(gic.cells - 1).is_none() {
                        break false;
                    }
                    continue;
                }
                break fill(&mut specifier, list);
            }
        } else if let Some(list) = self.plain {
            if self.parent != 0 && self.parent != gic.phandle {
                return Err(Problem::NotAtGic {
                    phandle: self.parent,
                });
            }
            fill(
                &mut specifier,
                cells(list).skip(n.saturating_mul(gic.cells)),
            )
        } else {
            false
        };
        if found {
            decode(specifier).map(Some)
        } else {
            Ok(None)
        }
    }
}

fn fill(specifier: &mut [u32; 3], mut list: impl Iterator<Item = u32>) -> bool {
    for cell in specifier {
        match list.next() {
            Some(value) => *cell = value,
            None => return false,
        }
    }
    true
}

/// The three cells: kind, number, flags.
pub(crate) fn decode([kind, number, flags]: [u32; 3]) -> Result<Irq, Problem> {
    let (first, count, want) = match kind {
        0 => (32, 988, "an SPI below 988"),
        1 => (16, 16, "a PPI below 16"),
        2 => (4096, 1024, "an extended SPI below 1024"),
        3 => (1056, 64, "an extended PPI below 64"),
        _ => {
            return Err(Problem::BadValue {
                is: u64::from(kind),
                want: "0 (SPI), 1 (PPI), 2 or 3 in the first cell",
            });
        }
    };
    if number >= count {
        return Err(Problem::BadValue {
            is: u64::from(number),
            want,
        });
    }
    let trigger = match flags & 0xf {
        1..=3 => Trigger::Edge,
        _ => Trigger::Level,
    };
    Ok(Irq {
        intid: first + number,
        trigger,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_every_kind_to_its_last_number() {
        let intid = |kind, number| decode([kind, number, 4]).map(|i| i.intid);
        assert_eq!(intid(0, 0), Ok(32));
        assert_eq!(intid(0, 987), Ok(1019));
        assert_eq!(intid(1, 15), Ok(31));
        assert_eq!(intid(2, 1023), Ok(5119));
        assert_eq!(intid(3, 63), Ok(1119));
        for (kind, number) in [(0, 988), (1, 16), (2, 1024), (3, 64), (4, 0), (0, u32::MAX)] {
            assert!(intid(kind, number).is_err(), "{kind} {number}");
        }
        assert_eq!(decode([1, 9, 0xf04]).unwrap().trigger, Trigger::Level);
        assert_eq!(decode([1, 9, 0xf08]).unwrap().trigger, Trigger::Level);
        assert_eq!(decode([0, 9, 1]).unwrap().trigger, Trigger::Edge);
        assert_eq!(decode([0, 9, 2]).unwrap().trigger, Trigger::Edge);
    }
}
