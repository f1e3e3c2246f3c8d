//! One node under /chosen with its properties at hand, and the findings about it.
//!
//! Everything a message needs to name the place is here; what the properties mean, pools.rs and domains.rs know.

use super::{Diagnostic, MAX_DIAGNOSTICS, MAX_NAME, Param, ParamValue, Severity};
use crate::bus::Cells;
use crate::error::BoardError;
use crate::props::{number, text};
use crate::tree::{ConfNode, be32, be64};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// A node being read.
pub(super) struct Section<'a> {
    /// Where it is.
    pub node: ConfNode<'a>,
    /// Its full path.
    pub path: String,
    /// Its name without unit address.
    pub base: &'a str,
    /// Cells of its children's `reg`.
    pub cells: Cells,
    /// Its properties.
    pub props: Vec<(&'a str, &'a [u8])>,
}

/// A finding that makes the node's object impossible: property and message.
pub(super) struct Refusal {
    pub node: String,
    pub property: String,
    pub message: String,
}

/// Why a node's object is not there: the tree cannot be read, or this node is wrong.
pub(super) enum Stop {
    Tree(BoardError),
    Node(Refusal),
}

impl From<BoardError> for Stop {
    fn from(e: BoardError) -> Stop {
        Stop::Tree(e)
    }
}

impl From<Refusal> for Stop {
    fn from(r: Refusal) -> Stop {
        Stop::Node(r)
    }
}

impl<'a> Section<'a> {
    /// Reads a child of the node with path `parent`.
    pub fn new(node: ConfNode<'a>, parent: &str) -> Result<Section<'a>, BoardError> {
        let (base, unit) = node.name()?;
        let path = match unit {
            Some(unit) => format!("{parent}/{base}@{unit}"),
            None => format!("{parent}/{base}"),
        };
        let props = node.properties().collect::<Result<Vec<_>, _>>()?;
        let mut cells = node.inherited();
        props
            .iter()
            .for_each(|(name, value)| cells.learn(name, value));
        Ok(Section {
            node,
            cells,
            path,
            base,
            props,
        })
    }

    /// Its name with unit address: no sibling has the same.
    pub fn full_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(self.base)
    }

    /// A property's value; of one given twice the first.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.props.iter().find(|(n, _)| *n == name).map(|(_, v)| *v)
    }

    /// Its phandle, 0 if it has none.
    pub fn phandle(&self) -> u32 {
        let value = self.get("phandle").or_else(|| self.get("linux,phandle"));
        value.filter(|v| v.len() == 4).and_then(be32).unwrap_or(0)
    }

    /// One cell; refused if it is there and anything else.
    pub fn u32(&self, name: &'static str) -> Result<Option<u32>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(v) if v.len() == 4 => Ok(be32(v)),
            Some(v) => Err(self.refuse(
                name,
                format!("{} bytes long; it must be one cell: <N>", v.len()),
            )),
        }
    }

    /// Two cells; refused if it is there and anything else.
    pub fn u64(&self, name: &'static str) -> Result<Option<u64>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(v) if v.len() == 8 => Ok(be64(v)),
            Some(v) => Err(self.refuse(
                name,
                format!("{} bytes long; it must be two cells: <0 N>", v.len()),
            )),
        }
    }

    /// A string; refused if it is there and anything else.
    pub fn text(&self, name: &'static str) -> Result<Option<&'a str>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(v) => text(v)
                .map(Some)
                .ok_or_else(|| self.refuse(name, "it must be a string".into())),
        }
    }

    /// What it is called: by `tarn,name`, else by its node, with the unit address if the rest is `taken`. Refused if nobody
    /// could type it, or if it is taken.
    pub fn own_name(&self, taken: impl Fn(&str) -> bool) -> Result<&str, Refusal> {
        let (property, name) = match self.text("tarn,name")? {
            Some(name) => ("tarn,name", name),
            None if taken(self.base) => ("", self.full_name()),
            None => ("", self.base),
        };
        self.check_name(property, name)?;
        if taken(name) {
            return Err(self.refuse(property, format!("the name \"{name}\" is taken")));
        }
        Ok(name)
    }

    /// A name for people and command lines: 1 to `MAX_NAME` letters, digits and "._+-@,".
    pub fn check_name(&self, property: &str, name: &str) -> Result<(), Refusal> {
        let fine = |b: u8| b.is_ascii_alphanumeric() || b"._+-@,".contains(&b);
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(fine) {
            let message =
                format!("a name has 1 to {MAX_NAME} letters, digits or characters of \"._+-@,\"");
            return Err(self.refuse(property, message));
        }
        Ok(())
    }

    /// `tarn,NAME` as a parameter for another part; refused if it is neither flag, number nor string.
    pub fn param(&self, full: &'a str, value: &'a [u8]) -> Result<Param<'a>, Refusal> {
        let name = full.strip_prefix("tarn,").unwrap_or(full);
        let printable =
            |t: &&str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        let value = if value.is_empty() {
            ParamValue::Flag
        } else if let Some(t) = value
            .strip_suffix(&[0])
            .and_then(|v| core::str::from_utf8(v).ok())
            .filter(printable)
        {
            ParamValue::Text(t)
        } else if let Some(n) = number(value) {
            ParamValue::Number(n)
        } else {
            let message = "it must be empty, one or two cells, or a string".into();
            return Err(self.refuse(full, message));
        };
        Ok(Param { name, value })
    }

    /// A finding that makes the object impossible.
    pub fn refuse(&self, property: &str, message: String) -> Refusal {
        Refusal {
            node: self.path.clone(),
            property: property.into(),
            message,
        }
    }

    /// A finding that does not.
    pub fn warn(&self, notes: &mut Vec<Diagnostic>, property: &str, message: String) {
        let Refusal {
            node,
            property,
            message,
        } = self.refuse(property, message);
        note(
            notes,
            Severity::Warning,
            Refusal {
                node,
                property,
                message,
            },
        );
    }
}

/// Keeps a finding, as long as there is room.
pub(super) fn note(notes: &mut Vec<Diagnostic>, severity: Severity, found: Refusal) {
    if notes.len() < MAX_DIAGNOSTICS {
        let Refusal {
            node,
            property,
            message,
        } = found;
        notes.push(Diagnostic {
            severity,
            node,
            property,
            message,
        });
    }
}
