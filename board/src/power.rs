//! The PSCI node: how firmware is asked to start and stop CPUs.
//!
//! Binding: Linux Documentation/devicetree/bindings/arm/psci.yaml.

use crate::error::{BoardError, Problem};
use crate::props::Key;
use crate::tree::Node;
use crate::{Conduit, PsciDesc, PsciVersion};

const TABLE: &[(&str, PsciVersion)] = &[
    ("arm,psci-1.0", PsciVersion::V1_0),
    ("arm,psci-0.2", PsciVersion::V0_2),
    ("arm,psci", PsciVersion::V0_1),
];

/// The node, once found.
#[derive(Default)]
pub(crate) struct Power {
    pub psci: Option<PsciDesc>,
}

impl Power {
    /// `true` if the node is PSCI's.
    pub fn node(&mut self, node: &Node<'_, '_>) -> Result<bool, BoardError> {
        let Some(version) = node.props.compatible(TABLE) else {
            return Ok(false);
        };
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
        Ok(true)
    }
}
