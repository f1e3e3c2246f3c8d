//! The generic timer's node: which interrupts its timers raise.
//!
//! Binding: Linux Documentation/devicetree/bindings/timer/arm,arch_timer.yaml: Secure physical, Non-secure physical,
//! virtual, hypervisor, in this order unless `interrupt-names` says otherwise.

use crate::discover::error_at;
use crate::error::{BoardError, NodePath, Problem};
use crate::irq::{Lines, RawIrqs};
use crate::props::{Key, strings};
use crate::tree::Node;
use crate::{Irq, TimerDesc};

/// The node, once found.
#[derive(Default)]
pub(crate) struct Timer<'a> {
    found: Option<Found<'a>>,
}

struct Found<'a> {
    path: NodePath,
    irqs: RawIrqs<'a>,
    names: Option<&'a [u8]>,
    frequency: Option<u32>,
}

impl<'a> Timer<'a> {
    /// The timer's node; the first one counts.
    pub fn node(&mut self, node: &Node<'a, '_>) {
        if self.found.is_none() {
            self.found = Some(Found {
                path: node.path(),
                irqs: RawIrqs::of(node),
                names: node.props.get(Key::InterruptNames),
                frequency: node.props.u32(Key::ClockFrequency).filter(|f| *f != 0),
            });
        }
    }

    /// With the GIC known.
    pub fn finish(self, gic: Lines) -> Result<TimerDesc, BoardError> {
        let found = self.found.ok_or_else(|| {
            error_at(
                "/timer",
                "compatible",
                Problem::Missing("a node compatible with \"arm,armv8-timer\""),
            )
        })?;
        let get = |name: &str, position: usize| -> Result<Option<Irq>, BoardError> {
            let n = match found.names {
                None => Some(position),
                Some(names) => strings(names).position(|s| s == name),
            };
            let irq = n.map_or(Ok(None), |n| found.irqs.nth(n, gic));
            irq.map_err(|problem| BoardError {
                node: found.path.clone(),
                property: found.irqs.property(),
                problem,
            })
        };
        let missing = |want| BoardError {
            node: found.path.clone(),
            property: found.irqs.property(),
            problem: Problem::Missing(want),
        };
        Ok(TimerDesc {
            phys: get("phys", 1)?,
            virt: get("virt", 2)?
                .ok_or_else(|| missing("the virtual timer's interrupt, third of the list"))?,
            hyp: get("hyp-phys", 3)?
                .ok_or_else(|| missing("the hypervisor timer's interrupt, fourth of the list"))?,
            frequency: found.frequency,
        })
    }
}
