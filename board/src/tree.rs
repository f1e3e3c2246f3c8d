//! The device-tree blob: its header, and one walk over its nodes.
//!
//! The only file that names the parser crate `fdt`, so that another parser costs this file alone. What the crate
//! does not do is done here: a header check without wrapping sums, /memreserve/, inheritance of cells and interrupt
//! parents along the path, and the check that a walk really reached the end of the structure block (the crate ends
//! it silently at 16 levels and at some malformed tokens). Format: Devicetree Specification v0.4, chapter 5.

use crate::bus::{Cells, Level, Name};
use crate::error::{BoardError, NodePath, Problem};
use crate::props::{Key, Props};
use crate::{List, MAX_DTB};
use fdt::helpers::UnalignedFallibleNode;
use fdt::nodes::AsNode;
use fdt::parsing::{NoPanic, unaligned::UnalignedParser};
use fdt::{Fdt, FdtError};

const MAGIC: u32 = 0xd00d_feed;
const HEADER: usize = 40;
/// Levels below the root that the parser follows.
const MAX_DEPTH: usize = 15;
/// Words of the structure block.
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const NOP: u32 = 4;
const END: u32 = 9;

/// How many bytes the tree has whose first 40 bytes (or more) these are: what must be mapped before it can be read.
/// Checks magic, version and size (at most `MAX_DTB`).
pub fn header_size(start: &[u8]) -> Result<usize, BoardError> {
    let word = |i: usize| -> Option<u32> { be32(start.get(4 * i..4 * i + 4)?) };
    let (Some(magic), Some(size), Some(version), Some(compatible), Some(_)) =
        (word(0), word(1), word(5), word(6), word(9))
    else {
        return Err(BoardError::tree(Problem::NoHeader));
    };
    if magic != MAGIC {
        return Err(BoardError::tree(Problem::BadMagic(magic)));
    }
    if version < 17 || compatible > 17 {
        return Err(BoardError::tree(Problem::BadVersion {
            version,
            compatible,
        }));
    }
    if size as usize > MAX_DTB {
        return Err(BoardError::tree(Problem::TooLarge {
            size,
            max: MAX_DTB as u32,
        }));
    }
    if (size as usize) < HEADER {
        return Err(BoardError::tree(Problem::BadBlock("header")));
    }
    Ok(size as usize)
}

/// A tree whose header has been checked.
pub(crate) struct Blob<'a> {
    fdt: Fdt<'a, (UnalignedParser<'a>, NoPanic)>,
    bytes: &'a [u8],
}

/// One node during a walk.
pub(crate) struct Node<'a, 'w> {
    /// From the root (first) to this node (last).
    pub levels: &'w [Level<'a>],
    /// Its properties, those that `Key` knows.
    pub props: &'w Props<'a>,
    raw: RawNode<'a>,
}

/// A node's place in the tree, to read properties again after the walk.
#[derive(Clone, Copy)]
pub(crate) struct RawNode<'a>(UnalignedFallibleNode<'a>);

/// Somebody who is shown the nodes in the order of the tree, each before its children.
pub(crate) trait Visit<'a> {
    /// Whether this node (last of `levels`; only its name is known yet) is to be shown.
    fn wants(&mut self, levels: &[Level<'a>]) -> bool;
    /// A node that `wants` said yes to.
    fn node(&mut self, node: &Node<'a, '_>) -> Result<(), BoardError>;
}

impl<'a> Blob<'a> {
    /// Checks the header; `bytes` may be longer than the tree.
    pub fn new(bytes: &'a [u8]) -> Result<Blob<'a>, BoardError> {
        let size = header_size(bytes)?;
        let bytes = bytes
            .get(..size)
            .ok_or(BoardError::tree(Problem::BadBlock("whole")))?;
        let word = |i: usize| u64::from(bytes.get(4 * i..).and_then(be32).unwrap_or(0));
        let inside =
            |offset: u64, length: u64| offset >= HEADER as u64 && offset + length <= size as u64;
        let (structs, strings, reserve) = (word(2), word(3), word(4));
        let (strings_size, structs_size) = (word(8), word(9));
        // BEGIN_NODE, an empty name, END_NODE, END: nothing smaller is a tree.
        if !inside(structs, structs_size)
            || structs % 4 != 0
            || structs_size < 16
            || structs_size % 4 != 0
        {
            return Err(BoardError::tree(Problem::BadBlock("structure")));
        }
        if !inside(strings, strings_size) {
            return Err(BoardError::tree(Problem::BadBlock("strings")));
        }
        if !inside(reserve, 16) {
            return Err(BoardError::tree(Problem::BadBlock("memory reservation")));
        }
        let fdt = Fdt::new_unaligned_fallible(bytes).map_err(structure)?;
        Ok(Blob { fdt, bytes })
    }

    /// The entries of the memory reservation block: address and size, up to the terminating pair of zeros. An entry
    /// that runs out of the blob ends the list with an error.
    pub fn reservations(&self) -> impl Iterator<Item = Result<(u64, u64), BoardError>> + use<'a> {
        let mut rest = self
            .bytes
            .get(self.fdt.header().memory_reserve_map_offset as usize..)
            .unwrap_or(&[]);
        let mut done = false;
        core::iter::from_fn(move || {
            if done {
                return None;
            }
            let Some((entry, tail)) = rest.split_at_checked(16) else {
                done = true;
                return Some(Err(BoardError::tree(Problem::BadBlock(
                    "memory reservation",
                ))));
            };
            rest = tail;
            let (address, size) = entry.split_at(8);
            match (be64(address)?, be64(size)?) {
                (0, 0) => {
                    done = true;
                    None
                }
                entry => Some(Ok(entry)),
            }
        })
    }

    /// Shows `visitor` the nodes.
    pub fn walk<V: Visit<'a>>(&self, visitor: &mut V) -> Result<(), BoardError> {
        let mut levels: List<Level<'a>, { MAX_DEPTH + 1 }> = List::new();
        let mut props = Props::new();
        let mut last = None;
        let root = self.fdt.root().map_err(structure)?.as_node();
        visit(visitor, &mut levels, &mut props, Level::root(), root)?;
        for item in self.fdt.all_nodes().map_err(structure)? {
            let (depth, node) = item.map_err(structure)?;
            if depth == 0 || depth > levels.len() {
                return Err(BoardError::tree(Problem::BadStructure(
                    "a node outside the root",
                )));
            }
            levels.truncate(depth);
            let name = node.name().map_err(structure)?;
            let name = Name {
                base: name.name,
                unit: name.unit_address,
            };
            if name.base == "/" {
                return Err(BoardError::tree(Problem::BadStructure(
                    "a node without a name",
                )));
            }
            let parent = levels[depth - 1];
            visit(
                visitor,
                &mut levels,
                &mut props,
                Level::below(&parent, name),
                node,
            )?;
            last = Some((depth, name, RawNode(node)));
        }
        match last {
            Some((depth, name, node)) => self.check_end(depth, name, node),
            None => Ok(()),
        }
    }

    /// Whether behind the last node shown there is nothing but the ends of it and its ancestors.
    fn check_end(&self, depth: usize, name: Name<'a>, last: RawNode<'a>) -> Result<(), BoardError> {
        let block = self.fdt.structs_block();
        let text = name.unit.unwrap_or(name.base).as_bytes();
        let mut end = text.as_ptr().addr() + text.len() + 1;
        last.each(|_, value| end = value.as_ptr().addr() + value.len())?;
        let offset = end.wrapping_sub(block.as_ptr().addr()).next_multiple_of(4);
        let mut open = depth + 1;
        let mut rest = block.get(offset..).unwrap_or(&[]);
        while let Some((word, tail)) = rest.split_at_checked(4) {
            rest = tail;
            match be32(word) {
                Some(NOP) => {}
                Some(END_NODE) if open > 0 => open -= 1,
                Some(END) if open == 0 && rest.is_empty() => return Ok(()),
                Some(BEGIN_NODE) if depth == MAX_DEPTH => {
                    return Err(BoardError::tree(Problem::TooDeep {
                        max: MAX_DEPTH as u32,
                    }));
                }
                _ => break,
            }
        }
        Err(BoardError::tree(Problem::BadStructure(
            "nodes are not closed in order",
        )))
    }
}

fn visit<'a, V: Visit<'a>>(
    visitor: &mut V,
    levels: &mut List<Level<'a>, { MAX_DEPTH + 1 }>,
    props: &mut Props<'a>,
    level: Level<'a>,
    node: UnalignedFallibleNode<'a>,
) -> Result<(), BoardError> {
    levels.push(level).map_err(|_| {
        BoardError::tree(Problem::TooDeep {
            max: MAX_DEPTH as u32,
        })
    })?;
    if !visitor.wants(levels) {
        return Ok(());
    }
    let raw = RawNode(node);
    props.clear();
    raw.each(|name, value| props.add(name, value))?;
    let depth = levels.len() - 1;
    let here = &mut levels[depth];
    let cells = |key, inherited| props.u32(key).unwrap_or(inherited);
    here.cells = Cells {
        address: cells(Key::AddressCells, here.cells.address),
        size: cells(Key::SizeCells, here.cells.size),
    };
    here.interrupt_parent = cells(Key::InterruptParent, here.interrupt_parent);
    here.ranges = props.get(Key::Ranges);
    here.disabled |= props.is_disabled();
    visitor.node(&Node { levels, props, raw })
}

impl<'a> RawNode<'a> {
    /// Shows every property, known or not, by name and value.
    pub fn each(&self, mut show: impl FnMut(&'a str, &'a [u8])) -> Result<(), BoardError> {
        for property in self.0.properties().map_err(structure)?.iter() {
            let property = property.map_err(structure)?;
            show(property.name, property.value);
        }
        Ok(())
    }
}

impl<'a> Node<'a, '_> {
    /// This node.
    pub fn here(&self) -> &Level<'a> {
        // A walk shows a node only with its own level pushed.
        &self.levels[self.levels.len() - 1]
    }

    /// The parent; the root is its own.
    pub fn parent(&self) -> &Level<'a> {
        &self.levels[self.levels.len().saturating_sub(2)]
    }

    /// Levels below the root: 0 for the root itself.
    pub fn depth(&self) -> usize {
        self.levels.len() - 1
    }

    /// Its place, for reading properties later.
    pub fn raw(&self) -> RawNode<'a> {
        self.raw
    }

    /// Its full path.
    pub fn path(&self) -> NodePath {
        path(self.levels)
    }

    /// An error or note about a property of this node.
    pub fn error(&self, property: &'static str, problem: Problem) -> BoardError {
        BoardError {
            node: self.path(),
            property,
            problem,
        }
    }
}

/// The path of the last of `levels`.
pub(crate) fn path(levels: &[Level<'_>]) -> NodePath {
    NodePath::from_names(levels.iter().skip(1).map(|l| l.name))
}

/// What the parser says, as a problem of the whole tree.
fn structure(e: FdtError) -> BoardError {
    use fdt::parsing::ParseError;
    BoardError::tree(Problem::BadStructure(match e {
        FdtError::ParseError(ParseError::InvalidCStrValue) => {
            "a name is not terminated or not text"
        }
        FdtError::ParseError(ParseError::InvalidTokenValue) => "an unknown token",
        FdtError::ParseError(ParseError::UnexpectedToken) => "a token where it may not be",
        FdtError::ParseError(ParseError::UnexpectedEndOfData) => "it ends too early",
        _ => "the parser refuses it",
    }))
}

/// The first 4 bytes as a number.
pub(crate) fn be32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|b| u32::from_be_bytes(*b))
}

/// The first 8 bytes as a number.
pub(crate) fn be64(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|b| u64::from_be_bytes(*b))
}
