//! A flattened device tree as a plain tree in memory: read, edited, written.
//!
//! For the tools only (Tarn itself reads trees in the `board` crate, independently of this file). `dtc` turns text into
//! blobs; here a blob is changed where text would be clumsy: file references become addresses, tests break a property
//! on purpose. Format: Devicetree Specification 0.4, chapter 5.

use std::fmt::Write as _;

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// With its unit address, empty for the root.
    pub name: String,
    /// Properties in order.
    pub properties: Vec<(String, Vec<u8>)>,
    /// Children in order.
    pub children: Vec<Node>,
}

/// A whole tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// The root node.
    pub root: Node,
    /// Memory reservations: address and size.
    pub reserved: Vec<(u64, u64)>,
    /// Physical id of the boot CPU.
    pub boot_cpu: u32,
}

const MAGIC: u32 = 0xd00d_feed;
const BEGIN: u32 = 1;
const END: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const FINISH: u32 = 9;
const DEPTH_LIMIT: usize = 64;

impl Node {
    /// A property's bytes.
    pub fn property(&self, name: &str) -> Option<&[u8]> {
        self.properties
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_slice())
    }

    /// Sets or adds a property.
    pub fn set(&mut self, name: &str, value: Vec<u8>) {
        match self.properties.iter_mut().find(|(key, _)| key == name) {
            Some(entry) => entry.1 = value,
            None => self.properties.push((name.to_owned(), value)),
        }
    }

    /// Takes a property away and gives it back.
    pub fn remove(&mut self, name: &str) -> Option<Vec<u8>> {
        let at = self.properties.iter().position(|(key, _)| key == name)?;
        Some(self.properties.remove(at).1)
    }

    /// A property read as one 32-bit cell.
    pub fn cell(&self, name: &str) -> Option<u32> {
        Some(u32::from_be_bytes(self.property(name)?.try_into().ok()?))
    }

    /// A property read as its first string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.property(name)
            .and_then(|value| std::str::from_utf8(value).ok()?.split('\0').next())
    }

    /// Whether `word` is one of the node's `compatible` strings.
    pub fn compatible(&self, word: &str) -> bool {
        self.property("compatible").is_some_and(|value| {
            value
                .split(|byte| *byte == 0)
                .any(|entry| entry == word.as_bytes())
        })
    }

    /// The node at a path such as `/chosen/dom1`, from this node.
    pub fn at(&mut self, path: &str) -> Option<&mut Node> {
        path.split('/')
            .filter(|part| !part.is_empty())
            .try_fold(self, |node, part| {
                node.children.iter_mut().find(|child| child.name == part)
            })
    }
}

impl Tree {
    /// Reads a blob.
    ///
    /// # Errors
    /// Where it breaks the format.
    pub fn parse(blob: &[u8]) -> Result<Self, String> {
        let header = |index: usize| cell(blob, index * 4).ok_or("shorter than its header");
        if header(0)? != MAGIC {
            return Err("not a device tree (wrong magic)".into());
        }
        let (structure, strings, reservations) = (
            header(2)? as usize,
            header(3)? as usize,
            header(4)? as usize,
        );
        let mut tree = Self {
            boot_cpu: header(7)?,
            ..Self::default()
        };
        for at in (reservations..).step_by(16) {
            let read = |at| Some(u64::from(cell(blob, at)?) << 32 | u64::from(cell(blob, at + 4)?));
            let entry = read(at)
                .zip(read(at + 8))
                .ok_or("memory reservations run past the end")?;
            if entry == (0, 0) {
                break;
            }
            tree.reserved.push(entry);
        }
        tree.root = parse_structure(blob, structure, strings)?;
        Ok(tree)
    }

    /// The blob.
    pub fn write(&self) -> Vec<u8> {
        let mut strings = Vec::new();
        let mut structure = Vec::new();
        write_node(&self.root, &mut structure, &mut strings);
        push(&mut structure, FINISH);
        let mut reserved: Vec<u8> = Vec::new();
        for (address, size) in self.reserved.iter().chain([&(0, 0)]) {
            reserved.extend_from_slice(&address.to_be_bytes());
            reserved.extend_from_slice(&size.to_be_bytes());
        }
        let at_reserved = 40;
        let at_structure = at_reserved + reserved.len();
        let at_strings = at_structure + structure.len();
        let total = at_strings + strings.len();
        let mut blob = Vec::with_capacity(total);
        for field in [
            MAGIC as usize,
            total,
            at_structure,
            at_strings,
            at_reserved,
            17,
            16,
            self.boot_cpu as usize,
            strings.len(),
            structure.len(),
        ] {
            push(&mut blob, field as u32);
        }
        blob.extend_from_slice(&reserved);
        blob.extend_from_slice(&structure);
        blob.extend_from_slice(&strings);
        blob
    }

    /// Paths of all nodes, for error messages and for tests that pick one.
    pub fn paths(&self) -> Vec<String> {
        fn walk(node: &Node, prefix: &str, found: &mut Vec<String>) {
            for child in &node.children {
                let mut path = prefix.to_owned();
                let _ = write!(path, "/{}", child.name);
                walk(child, &path, found);
                found.push(path);
            }
        }
        let mut found = vec!["/".to_owned()];
        walk(&self.root, "", &mut found);
        found
    }
}

fn parse_structure(blob: &[u8], mut at: usize, strings: usize) -> Result<Node, String> {
    let mut open: Vec<Node> = Vec::new();
    let past = || "structure block runs past the end".to_owned();
    loop {
        let token = cell(blob, at).ok_or_else(past)?;
        at += 4;
        match token {
            BEGIN => {
                let name = text(blob, at).ok_or_else(past)?;
                at = (at + name.len() + 4) & !3;
                open.push(Node {
                    name,
                    ..Node::default()
                });
                if open.len() > DEPTH_LIMIT {
                    return Err(format!("nodes nested deeper than {DEPTH_LIMIT}"));
                }
            }
            END => {
                let node = open.pop().ok_or("a node ends that never began")?;
                match open.last_mut() {
                    Some(parent) => parent.children.push(node),
                    None => return Ok(node),
                }
            }
            PROPERTY => {
                let size = cell(blob, at).ok_or_else(past)? as usize;
                let name = cell(blob, at + 4).ok_or_else(past)? as usize;
                let name = strings
                    .checked_add(name)
                    .and_then(|at| text(blob, at))
                    .ok_or("a property name lies past the end")?;
                let value = (at + 8)
                    .checked_add(size)
                    .and_then(|end| blob.get(at + 8..end))
                    .ok_or_else(past)?;
                let node = open.last_mut().ok_or("a property outside of any node")?;
                node.properties.push((name, value.to_vec()));
                at = (at + 8 + size + 3) & !3;
            }
            NOP => {}
            other => {
                return Err(format!(
                    "unexpected token {other:#x} in the structure block"
                ));
            }
        }
    }
}

fn write_node(node: &Node, structure: &mut Vec<u8>, strings: &mut Vec<u8>) {
    push(structure, BEGIN);
    structure.extend_from_slice(node.name.as_bytes());
    structure.push(0);
    pad(structure);
    for (name, value) in &node.properties {
        push(structure, PROPERTY);
        push(structure, value.len() as u32);
        push(structure, intern(strings, name));
        structure.extend_from_slice(value);
        pad(structure);
    }
    for child in &node.children {
        write_node(child, structure, strings);
    }
    push(structure, END);
}

/// Offset of `name` in the strings block, added at its end when it is not there yet.
fn intern(strings: &mut Vec<u8>, name: &str) -> u32 {
    let mut at = 0;
    for entry in strings.split(|byte| *byte == 0) {
        if entry == name.as_bytes() && at < strings.len() {
            return at as u32;
        }
        at += entry.len() + 1;
    }
    let at = strings.len() as u32;
    strings.extend_from_slice(name.as_bytes());
    strings.push(0);
    at
}

fn push(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

fn cell(blob: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(
        blob.get(at..at.checked_add(4)?)?.try_into().ok()?,
    ))
}

fn text(blob: &[u8], at: usize) -> Option<String> {
    let rest = blob.get(at..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    Some(String::from_utf8_lossy(&rest[..end]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Tree {
        let leaf = Node {
            name: "dom1".into(),
            properties: vec![("cpus".into(), vec![0, 0, 0, 2])],
            children: vec![],
        };
        let mut chosen = Node {
            name: "chosen".into(),
            properties: vec![("bootargs".into(), b"a b\0".to_vec())],
            children: vec![leaf],
        };
        chosen.set("empty", vec![]);
        let root = Node {
            name: String::new(),
            properties: vec![("cpus".into(), vec![1, 2, 3])],
            children: vec![chosen],
        };
        Tree {
            root,
            reserved: vec![(0x1000, 0x2000)],
            boot_cpu: 3,
        }
    }

    #[test]
    fn writes_what_it_reads() {
        let tree = sample();
        assert_eq!(Tree::parse(&tree.write()), Ok(tree));
    }

    #[test]
    fn finds_and_edits_by_path() {
        let mut tree = sample();
        let node = tree.root.at("/chosen/dom1").unwrap();
        assert_eq!(node.cell("cpus"), Some(2));
        node.set("cpus", vec![0, 0, 0, 4]);
        assert_eq!(node.cell("cpus"), Some(4));
        assert_eq!(
            tree.root.at("/chosen").unwrap().text("bootargs"),
            Some("a b")
        );
        assert!(tree.root.at("/chosen/dom2").is_none());
        assert_eq!(tree.paths(), ["/", "/chosen/dom1", "/chosen"]);
    }

    #[test]
    fn no_truncation_or_flipped_byte_panics() {
        let blob = sample().write();
        for length in 0..blob.len() {
            let _ = Tree::parse(&blob[..length]);
        }
        for at in 0..blob.len() {
            for value in [0, 0x7f, 0xff] {
                let mut broken = blob.clone();
                broken[at] = value;
                let _ = Tree::parse(&broken);
            }
        }
    }
}
