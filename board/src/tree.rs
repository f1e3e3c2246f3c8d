//! The device-tree blob: its header, one walk over all its nodes, and a closer look at /chosen.
//!
//! The only file that names the parser crate `fdt`. The crate opens the blob and reads /chosen (node and property
//! iterators, fallible mode); the walk over the whole tree is our own, on evidence: through the crate's iterators
//! discovery took 233,000 instructions on QEMU's virt tree (names searched, checked as UTF-8 and compared for each
//! property, two passes), through the own walk 54,000, and the crate ends a walk without a word at 16 levels and at some malformed tokens. Own is
//! also what the crate lacks: a header check without wrapping sums, /memreserve/, what a node inherits along its
//! path. Format: Devicetree Specification v0.4, chapter 5.

use crate::bus::{Cells, Level};
use crate::error::{BoardError, NodePath, Problem};
use crate::props::{Key, Names, Props, text};
use crate::{List, MAX_DTB};
use fdt::helpers::UnalignedFallibleNode;
use fdt::nodes::AsNode;
use fdt::parsing::{NoPanic, unaligned::UnalignedParser};
use fdt::{Fdt, FdtError};

const MAGIC: u32 = 0xd00d_feed;
const HEADER: usize = 40;
/// Most bytes of a node's name and of a property's: four times what the specification allows. A bound keeps the cost
/// of a hostile tree linear.
const MAX_NAME: usize = 128;
/// Most levels of nodes, the root included.
const MAX_LEVELS: usize = 32;
// Words of the structure block.
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROP: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;
const ENDS_EARLY: &str = "it ends too early";

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
    raw: RawProps<'a>,
}

/// Where a node's properties are, to read them again after the walk.
#[derive(Clone, Copy)]
pub(crate) struct RawProps<'a> {
    structs: &'a [u8],
    strings: &'a [u8],
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
        let fdt = Fdt::new_unaligned_fallible(bytes).map_err(refusal)?;
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

    /// Shows every node in the order of the tree, each before its children.
    pub fn walk(
        &self,
        show: &mut impl FnMut(&Node<'a, '_>) -> Result<(), BoardError>,
    ) -> Result<(), BoardError> {
        let strings = self.fdt.strings_block();
        let mut names = Names::new(strings);
        let mut props = Props::new();
        let mut levels: List<Level<'a>, MAX_LEVELS> = List::new();
        let mut list = self.fdt.structs_block();
        // The node whose properties are being read: where they begin.
        let mut reading: Option<&'a [u8]> = None;
        loop {
            let here = list;
            let Some(token) = word(&mut list) else {
                return Err(bad(&levels, ENDS_EARLY));
            };
            if token == PROP {
                let (name, value) = property(&mut list).ok_or_else(|| bad(&levels, ENDS_EARLY))?;
                if reading.is_none() {
                    return Err(bad(
                        &levels,
                        "a property that is not at the start of a node",
                    ));
                }
                match names.key(name) {
                    Some(Some(key)) => props.put(key, value),
                    Some(None) => {}
                    None => {
                        return Err(bad(
                            &levels,
                            "a property's name is not in the strings block",
                        ));
                    }
                }
                continue;
            }
            if token == NOP {
                continue;
            }
            // Any other token ends the properties.
            if let Some(structs) = reading.take() {
                settle(&mut levels, &props);
                show(&Node {
                    levels: &levels,
                    props: &props,
                    raw: RawProps { structs, strings },
                })?;
            }
            match token {
                BEGIN_NODE => {
                    let name = name(&mut list)
                        .ok_or_else(|| bad(&levels, "a name that is too long or not terminated"))?;
                    let level = match levels.last() {
                        None if here.len() == self.fdt.structs_block().len() => Level::root(),
                        None => return Err(bad(&levels, "a second root")),
                        Some(_) if name.is_empty() => {
                            return Err(bad(&levels, "a node without a name"));
                        }
                        Some(parent) => Level::below(parent, name),
                    };
                    if levels.push(level).is_err() {
                        let problem = Problem::TooDeep {
                            max: MAX_LEVELS as u32 - 1,
                        };
                        return Err(BoardError {
                            node: path(&levels),
                            property: "",
                            problem,
                        });
                    }
                    props.clear();
                    reading = Some(list);
                }
                END_NODE => {
                    if levels.pop().is_none() {
                        return Err(bad(&levels, "more nodes end than begin"));
                    }
                }
                END if levels.is_empty() && list.is_empty() => return Ok(()),
                END => {
                    return Err(bad(
                        &levels,
                        "it ends inside a node or before its last byte",
                    ));
                }
                _ => return Err(bad(&levels, "an unknown token")),
            }
        }
    }

    /// Child number `index` of the root, for a closer look; it must be called /chosen.
    pub fn chosen(&self, index: u32) -> Result<Option<ConfNode<'a>>, BoardError> {
        // The crate searches the end of a property's name each time it reads the property.
        if self
            .fdt
            .strings_block()
            .split(|b| *b == 0)
            .any(|name| name.len() > MAX_NAME)
        {
            return Err(BoardError::tree(Problem::BadStructure(
                "a property's name that is too long",
            )));
        }
        let root = self.fdt.root().map_err(refusal)?.as_node();
        let root = ConfNode {
            node: root,
            inherited: Level::root().cells,
        };
        let cells = root.cells()?;
        match root.children(cells)?.nth(index as usize).transpose()? {
            Some(child) if child.name()? == ("chosen", None) => Ok(Some(child)),
            _ => Ok(None),
        }
    }
}

/// A fault of the structure block below the last of `levels`.
fn bad(levels: &[Level<'_>], what: &'static str) -> BoardError {
    BoardError {
        node: path(levels),
        property: "",
        problem: Problem::BadStructure(what),
    }
}

/// What a node's own properties say about its children.
fn settle<'a>(levels: &mut [Level<'a>], props: &Props<'a>) {
    let Some(here) = levels.last_mut() else {
        return;
    };
    let cells = |key, inherited| props.u32(key).unwrap_or(inherited);
    here.cells = Cells {
        address: cells(Key::AddressCells, here.cells.address),
        size: cells(Key::SizeCells, here.cells.size),
    };
    here.interrupt_parent = cells(Key::InterruptParent, here.interrupt_parent);
    here.ranges = props.get(Key::Ranges);
    here.disabled |= props.is_disabled();
}

/// The next word.
fn word(list: &mut &[u8]) -> Option<u32> {
    let (first, rest) = list.split_first_chunk()?;
    *list = rest;
    Some(u32::from_be_bytes(*first))
}

/// What follows a PROP token: offset of the name, value.
fn property<'a>(list: &mut &'a [u8]) -> Option<(u32, &'a [u8])> {
    let length = word(list)? as usize;
    let name = word(list)?;
    let value = list.get(..length)?;
    // The block is a whole number of words long, so the padding is there too.
    *list = list.get(length.checked_next_multiple_of(4)?..)?;
    Some((name, value))
}

/// What follows a BEGIN_NODE token.
fn name<'a>(list: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = list[..list.len().min(MAX_NAME + 1)]
        .iter()
        .position(|b| *b == 0)?;
    let name = &list[..length];
    *list = list.get((length + 1).next_multiple_of(4)..)?;
    Some(name)
}

impl<'a> RawProps<'a> {
    /// Every property, known or not, by name and value. Only for nodes that a walk has shown: it has checked them.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let mut list = self.structs;
        core::iter::from_fn(move || {
            loop {
                match word(&mut list)? {
                    NOP => {}
                    PROP => {
                        let (name, value) = property(&mut list)?;
                        let name = self.strings.get(name as usize..)?;
                        return Some((text(&name[..name.len().min(MAX_NAME + 1)])?, value));
                    }
                    _ => return None,
                }
            }
        })
    }
}

/// A node under /chosen, read through the parser crate: few nodes, every property wanted by name.
#[derive(Clone, Copy)]
pub(crate) struct ConfNode<'a> {
    node: UnalignedFallibleNode<'a>,
    inherited: Cells,
}

impl<'a> ConfNode<'a> {
    /// Cells of its children's `reg`: its own or inherited.
    pub fn cells(&self) -> Result<Cells, BoardError> {
        let mut cells = self.inherited;
        for property in self.properties() {
            let (name, value) = property?;
            cells.learn(name, value);
        }
        Ok(cells)
    }

    /// Those of its parent.
    pub fn inherited(&self) -> Cells {
        self.inherited
    }

    /// Name and value of every property.
    pub fn properties(
        &self,
    ) -> impl Iterator<Item = Result<(&'a str, &'a [u8]), BoardError>> + use<'a> {
        let (list, error) = match self.node.properties() {
            Ok(list) => (Some(list), None),
            Err(e) => (None, Some(Err(refusal(e)))),
        };
        let list = list.into_iter().flat_map(|list| list.iter());
        error
            .into_iter()
            .chain(list.map(|p| p.map(|p| (p.name, p.value)).map_err(refusal)))
    }

    /// Its children, in order; `cells` are its own, for them to inherit.
    pub fn children(
        &self,
        cells: Cells,
    ) -> Result<impl Iterator<Item = Result<ConfNode<'a>, BoardError>> + use<'a>, BoardError> {
        let list = self.node.children().map_err(refusal)?;
        Ok(list.iter().map(move |child| match child {
            Ok(node) => Ok(ConfNode {
                node,
                inherited: cells,
            }),
            Err(e) => Err(refusal(e)),
        }))
    }

    /// Its name without, and its unit address.
    pub fn name(&self) -> Result<(&'a str, Option<&'a str>), BoardError> {
        let name = self.node.name().map_err(refusal)?;
        if name.name.len() + name.unit_address.map_or(0, str::len) > MAX_NAME {
            return Err(BoardError::tree(Problem::BadStructure(
                "a node's name that is too long",
            )));
        }
        Ok((name.name, name.unit_address))
    }

    /// Its `compatible`, or nothing.
    pub fn compatible(&self) -> Result<&'a [u8], BoardError> {
        for property in self.properties() {
            if let ("compatible", list) = property? {
                return Ok(list);
            }
        }
        Ok(&[])
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

    /// All its properties, for reading them later.
    pub fn raw(&self) -> RawProps<'a> {
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

/// What the parser crate says.
fn refusal(e: FdtError) -> BoardError {
    use fdt::parsing::ParseError;
    BoardError::tree(Problem::BadStructure(match e {
        FdtError::ParseError(ParseError::InvalidCStrValue) => {
            "a name that is not terminated or not text"
        }
        FdtError::ParseError(ParseError::InvalidTokenValue) => "an unknown token",
        FdtError::ParseError(ParseError::UnexpectedToken) => "a token where it may not be",
        FdtError::ParseError(ParseError::UnexpectedEndOfData) => ENDS_EARLY,
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

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::{String, ToString};
    use std::vec::Vec;

    type Listed = Vec<(usize, String, Vec<(String, Vec<u8>)>)>;

    /// The parser crate's view of a tree: depth, name and properties of every node.
    fn by_crate(bytes: &[u8]) -> Listed {
        let fdt = Fdt::new_unaligned_fallible(bytes).unwrap();
        let root = fdt.root().unwrap().as_node();
        let all = core::iter::once(Ok((0, root))).chain(fdt.all_nodes().unwrap());
        all.map(|item| {
            let (depth, node) = item.unwrap();
            let properties = node.properties().unwrap();
            let properties = properties.iter().map(|p| p.unwrap());
            let properties = properties
                .map(|p| (p.name.to_string(), p.value.to_vec()))
                .collect();
            (depth, node.name().unwrap().to_string(), properties)
        })
        .collect()
    }

    #[test]
    fn walks_as_the_parser_crate_does() {
        for bytes in [
            &include_bytes!("../tests/fixtures/virt-gic2-smp1.dtb")[..],
            include_bytes!("../tests/fixtures/virt-gic3-smp64.dtb"),
            include_bytes!("../tests/fixtures/pi4-like.dtb"),
        ] {
            let mut ours = Listed::new();
            Blob::new(bytes)
                .unwrap()
                .walk(&mut |node| {
                    let name = core::str::from_utf8(node.here().name).unwrap();
                    let name = if name.is_empty() { "/" } else { name };
                    let properties = node
                        .raw()
                        .iter()
                        .map(|(n, v)| (n.to_string(), v.to_vec()))
                        .collect();
                    ours.push((node.depth(), name.to_string(), properties));
                    Ok(())
                })
                .unwrap();
            let theirs = by_crate(bytes);
            assert!(theirs.len() > 20);
            assert_eq!(ours, theirs);
        }
    }
}
