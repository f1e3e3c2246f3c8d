//! How the machine is started, stopped and reset: PSCI's node, or the watchdog of a Raspberry Pi.
//!
//! Bindings: Linux Documentation/devicetree/bindings/arm/psci.yaml and soc/bcm/brcm,bcm2835-pm.yaml. A watchdog that
//! cannot be reached is noted and left out: the machine runs without it.

use crate::bus::registers;
use crate::discover::Notes;
use crate::error::{BoardError, Problem};
use crate::props::Key;
use crate::region::Region;
use crate::tree::Node;
use crate::{Conduit, PsciDesc, PsciVersion};

/// The nodes, once found.
#[derive(Default)]
pub(crate) struct Power {
    pub psci: Option<PsciDesc>,
    pub watchdog: Option<Region>,
}

impl Power {
    /// PSCI's node; the first one counts.
    pub fn node(&mut self, node: &Node<'_, '_>, version: PsciVersion) -> Result<(), BoardError> {
        let conduit = match node.props.text(Key::Method) {
            Some("hvc") => Conduit::Hvc,
            Some("smc") => Conduit::Smc,
            Some(_) => {
                return Err(node.error(Key::Method.name(), Problem::BadText("\"smc\" or \"hvc\"")));
            }
            None => {
                return Err(node.error(Key::Method.name(), Problem::Missing("\"smc\" or \"hvc\"")));
            }
        };
        if self.psci.is_none() {
            let cpu_on = match version {
                PsciVersion::V0_1 => node.props.u32(Key::CpuOn),
                _ => None,
            };
            self.psci = Some(PsciDesc {
                conduit,
                version,
                cpu_on,
            });
        }
        Ok(())
    }

    /// A power management block; the first one counts. Its own registers are the first entry of `reg`.
    pub fn watchdog(&mut self, node: &Node<'_, '_>, notes: &mut Notes) {
        if self.watchdog.is_some() {
            return;
        }
        match registers(node) {
            Ok(regs) => self.watchdog = Some(regs),
            Err(problem) => notes.add(node.error("reg", problem)),
        }
    }
}
