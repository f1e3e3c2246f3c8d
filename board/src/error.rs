//! What can be wrong with a device tree, told so that its author finds the place: node, property, problem.
//!
//! The same triple serves an error that stops discovery and a note about something left out. No allocation: a path
//! that does not fit keeps its end, which is the part that tells.

use core::fmt;

/// Most bytes of a path kept.
pub const PATH_MAX: usize = 64;
const CUT: &str = "...";

/// A node's full path; of a longer one "..." and its end.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct NodePath(heapless::String<PATH_MAX, u8>);

impl NodePath {
    /// From the names of a node and its ancestors, outermost first, the root left out.
    pub(crate) fn from_names<'n>(names: impl Iterator<Item = &'n [u8]> + Clone) -> NodePath {
        let total: usize = names.clone().map(|n| n.len() + 1).sum();
        let pieces = names.flat_map(|n| [b"/", n].into_iter());
        NodePath::from_pieces(if total == 0 { 1 } else { total }, pieces)
    }

    /// From a path written in a tree.
    pub(crate) fn from_text(path: &str) -> NodePath {
        NodePath::from_pieces(path.len(), core::iter::once(path.as_bytes()))
    }

    /// Touches no more than the bytes it keeps: names may be long, and notes many.
    fn from_pieces<'n>(total: usize, pieces: impl Iterator<Item = &'n [u8]>) -> NodePath {
        let mut path = heapless::String::new();
        let mut skip = 0;
        if total > PATH_MAX {
            skip = total - (PATH_MAX - CUT.len());
            let _ = path.push_str(CUT);
        }
        for piece in pieces {
            for byte in piece.get(skip..).unwrap_or(&[]) {
                // The specification allows nothing but printable ASCII.
                let shown = if byte.is_ascii_graphic() {
                    char::from(*byte)
                } else {
                    '?'
                };
                let _ = path.push(shown);
            }
            skip = skip.saturating_sub(piece.len());
        }
        if path.is_empty() {
            let _ = path.push('/');
        }
        NodePath(path)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why the tree cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BoardError {
    /// The node, "/" for the tree as a whole.
    pub node: NodePath,
    /// The property, "" if it is the node itself.
    pub property: &'static str,
    /// What is wrong.
    pub problem: Problem,
}

/// Something in the tree that was left out or guessed: not fatal.
pub type Note = BoardError;

/// What is wrong, and what would be right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Problem {
    /// The blob is shorter than the 40 bytes of a header.
    NoHeader,
    /// The first word is not 0xd00dfeed.
    BadMagic(u32),
    /// Not a version 17 that a reader of version 16 or 17 understands.
    BadVersion {
        /// `version`.
        version: u32,
        /// `last_comp_version`.
        compatible: u32,
    },
    /// `totalsize` beyond what Tarn reads.
    TooLarge {
        /// `totalsize`.
        size: u32,
        /// The most that is read.
        max: u32,
    },
    /// A block of the header lies outside the blob, or is too small to be one.
    BadBlock(&'static str),
    /// The structure block is not what the format says.
    BadStructure(&'static str),
    /// Nested deeper than the parser follows.
    TooDeep {
        /// Levels below the root that are followed.
        max: u32,
    },
    /// The node or property is not there; with what should be.
    Missing(&'static str),
    /// The property has a length that cannot be.
    BadLength {
        /// Bytes.
        is: u32,
        /// What it should hold.
        want: &'static str,
    },
    /// The property has a value that cannot be.
    BadValue {
        /// The value.
        is: u64,
        /// What it should be.
        want: &'static str,
    },
    /// Text where other text is wanted.
    BadText(&'static str),
    /// A bus on the way to the root has no `ranges` entry for this address.
    NotMapped {
        /// The address as the bus sees it.
        address: u64,
    },
    /// The interrupt belongs to another interrupt controller than the GIC.
    NotAtGic {
        /// That controller.
        phandle: u32,
    },
    /// More of them than Tarn keeps.
    TooMany {
        /// How many it keeps.
        max: u32,
    },
    /// The same thing twice.
    Duplicate {
        /// The value that is not unique.
        value: u64,
    },
    /// Left out because the tree says so or Tarn cannot use it.
    Ignored(&'static str),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Problem::NoHeader => f.write_str("no device tree: shorter than a header (40 bytes)"),
            Problem::BadMagic(is) => {
                write!(f, "no device tree: starts with {is:#010x}, not 0xd00dfeed")
            }
            Problem::BadVersion {
                version,
                compatible,
            } => {
                write!(
                    f,
                    "version {version} (readable as {compatible}); 17, readable as 16 or 17, is wanted"
                )
            }
            Problem::TooLarge { size, max } => write!(f, "{size} bytes; at most {max} are read"),
            Problem::BadBlock(which) => {
                write!(f, "the {which} block lies outside the tree or is too small")
            }
            Problem::BadStructure(what) => write!(f, "malformed structure block: {what}"),
            Problem::TooDeep { max } => write!(f, "nodes nested deeper than {max} levels"),
            Problem::Missing(want) => write!(f, "missing; wanted: {want}"),
            Problem::BadLength { is, want } => write!(f, "{is} bytes long; wanted: {want}"),
            Problem::BadValue { is, want } => write!(f, "is {is:#x}; wanted: {want}"),
            Problem::BadText(want) => write!(f, "unknown text; wanted: {want}"),
            Problem::NotMapped { address } => {
                write!(
                    f,
                    "address {address:#x} is in no `ranges` entry of the buses above it"
                )
            }
            Problem::NotAtGic { phandle } => {
                write!(f, "interrupt parent {phandle:#x} is not the GIC")
            }
            Problem::TooMany { max } => write!(f, "more than {max} of them"),
            Problem::Duplicate { value } => write!(f, "{value:#x} is taken already"),
            Problem::Ignored(why) => write!(f, "ignored: {why}"),
        }
    }
}

impl fmt::Display for BoardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.node)?;
        if !self.property.is_empty() {
            write!(f, ": {}", self.property)?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl core::error::Error for BoardError {}

impl BoardError {
    /// About the tree as a whole.
    pub(crate) fn tree(problem: Problem) -> BoardError {
        BoardError {
            node: NodePath::from_names(core::iter::empty()),
            property: "",
            problem,
        }
    }
}
