//! The PSCI node: how firmware is asked to start and stop CPUs.
//!
//! Binding: Linux Documentation/devicetree/bindings/arm/psci.yaml.

use crate::error::{BoardError, Problem};
use crate::props::Key;
use crate::tree::Node;
use crate::{Conduit, PsciDesc, PsciVersion};

/// The node, once found.
#[derive(Default)]
pub(crate) struct Power {
    pub psci: Option<PsciDesc>,
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
}
