//! `xen,domain-shared-memory-v1`: memory that several domains see.
//!
//! Binding: Xen's public docs/misc/arm/device-tree/booting.txt, "Static Shared Memory". Each domain has a node of its own
//! for it, found to belong together by `xen,shm-id`; so what one node may say depends on the others, and all of them are
//! listed first (`Sides`), those of domains that are refused for something else among them: whether one domain is right
//! never depends on what becomes of another. Tarn's own: `tarn,access` ("rw" or "ro"). Without a host address Tarn takes
//! memory that is free.

use super::section::{Refusal, Section};
use super::seen::clash;
use super::{DomainConfig, MAX_CONFIGURED};
use crate::bus::{Cells, take};
use crate::error::BoardError;
use crate::region::Region;
use crate::tree::ConfNode;
use crate::{Board, Reserved, ReservedBy};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Most pieces of shared memory of one domain.
pub const MAX_SHARED: usize = 8;
/// Most nodes that are listed: what a full house of domains can have. A tree with more is read no slower for it.
const MAX_SIDES: usize = MAX_SHARED * MAX_CONFIGURED;
/// Longest `xen,shm-id` in bytes.
const MAX_ID: usize = 63;
const PAGE: u64 = 4096;
/// The first address beyond what a guest can reach.
const GUEST_END: u64 = 1 << 39;

const ID: &str = "xen,shm-id";
const PLACE: &str = "xen,shared-mem";
const OFFSET: &str = "xen,offset";
const ACCESS: &str = "tarn,access";

/// Memory that several domains see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SharedMemory {
    /// `xen,shm-id`.
    pub id: String,
    /// Bytes, whole pages.
    pub size: u64,
    /// Where the integrator wants it; `None`: anywhere.
    pub at: Option<Region>,
}

/// A piece of shared memory as one domain sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shared {
    /// Which one: index in `Config::shared`.
    pub memory: usize,
    /// Where the guest sees it; whole pages.
    pub guest: Region,
    /// `xen,offset`: where in the memory that begins, bytes.
    pub offset: u64,
    /// It may write.
    pub writable: bool,
    /// `role` is "owner": the memory comes from where this domain's does.
    pub owner: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Owner,
    Borrower,
}

/// What one node says.
#[derive(Clone, Copy)]
struct Side<'a> {
    id: &'a str,
    role: Option<Role>,
    host: Option<u64>,
    guest: Region,
    offset: Option<u64>,
    writable: bool,
}

/// The nodes of all domains.
#[derive(Default)]
pub(super) struct Sides<'a>(Vec<(String, Side<'a>)>);

/// What `xen,shared-mem` says: host address, if there is one, guest address and size.
pub(crate) fn place(value: &[u8], cells: Cells) -> Option<(Option<u64>, u64, u64)> {
    if !(1..=4).contains(&cells.address) || !(1..=4).contains(&cells.size) {
        return None;
    }
    let short = cells.entry();
    let mut rest = value;
    let host = match value.len() {
        n if n == short => None,
        n if n == short + cells.address as usize * 4 => Some(take(&mut rest, cells.address)?),
        _ => return None,
    };
    let guest = take(&mut rest, cells.address)?;
    Some((host, guest, take(&mut rest, cells.size)?))
}

impl<'a> Side<'a> {
    /// `cells` are those of the domain's node.
    fn read(node: &Section<'a>, cells: Cells) -> Result<Side<'a>, Refusal> {
        let refuse = |property, message: String| Err(node.refuse(property, message));
        let id = match node.text(ID)? {
            Some(id) if !id.is_empty() && id.len() <= MAX_ID => id,
            Some(id) => {
                let message = format!("has {} bytes; a name has 1 to {MAX_ID}", id.len());
                return refuse(ID, message);
            }
            None => {
                return refuse(
                    ID,
                    "missing; the name by which domains find it, a string".into(),
                );
            }
        };
        if id.bytes().any(|b| !b.is_ascii_graphic()) {
            return refuse(ID, "a name has printable characters without blanks".into());
        }
        let Some((host, at, size)) = node.get(PLACE).and_then(|v| place(v, cells)) else {
            let (a, s) = (cells.address, cells.size);
            return refuse(
                PLACE,
                format!(
                    "it must be the host's address ({a} cells; may be left out), the guest's ({a}) and a size ({s})"
                ),
            );
        };
        let whole = |n: u64| n.is_multiple_of(PAGE);
        let Some(guest) = Region::new(at, size).filter(|_| {
            whole(at | size) && host.is_none_or(|h| whole(h) && Region::new(h, size).is_some())
        }) else {
            let host = host.map_or(String::new(), |h| format!("host's {h:#x}, "));
            return refuse(
                PLACE,
                format!(
                    "{host}guest's {at:#x}, {size:#x} bytes: it must be whole pages of 4 KiB, one at least"
                ),
            );
        };
        if guest.end() > GUEST_END {
            return refuse(
                PLACE,
                format!("guest's {guest}: guests have 39 bits of address"),
            );
        }
        let role = match node.text("role")? {
            None => None,
            Some("owner") => Some(Role::Owner),
            Some("borrower") => Some(Role::Borrower),
            Some(other) => {
                let message = format!(
                    "is \"{other}\"; it must be \"owner\" or \"borrower\", or missing in all"
                );
                return refuse("role", message);
            }
        };
        let writable = match node.text(ACCESS)? {
            None | Some("rw") => true,
            Some("ro") => false,
            Some(other) => {
                return refuse(
                    ACCESS,
                    format!("is \"{other}\"; it must be \"rw\" or \"ro\""),
                );
            }
        };
        let offset = node.u64(OFFSET)?;
        if offset.is_some_and(|o| !whole(o)) {
            return refuse(OFFSET, "it must be whole pages of 4 KiB".into());
        }
        if offset.is_some() && role != Some(Role::Borrower) {
            return refuse(OFFSET, "only a borrower can see a part".into());
        }
        Ok(Side {
            id,
            role,
            host,
            guest,
            offset,
            writable,
        })
    }
}

impl<'a> Sides<'a> {
    /// Notes what child `node` of domain `domain` says, if it says anything that can be understood.
    pub fn note(
        &mut self,
        domain: &str,
        node: ConfNode<'a>,
        cells: Cells,
    ) -> Result<(), BoardError> {
        let own = self.0.iter().rev().take_while(|(d, _)| d == domain);
        let room = self.0.len() < MAX_SIDES && own.count() < MAX_SHARED;
        if room && let Ok(side) = Side::read(&Section::new(node, domain)?, cells) {
            self.0.push((domain.to_string(), side));
        }
        Ok(())
    }

    fn of(&self, id: &str) -> impl Iterator<Item = &(String, Side<'a>)> {
        self.0.iter().filter(move |(_, s)| s.id == id)
    }

    /// The side that says how large it is: the owner's, or the first.
    fn first(&self, id: &str) -> Option<&Side<'a>> {
        let owner = self.of(id).find(|(_, s)| s.role == Some(Role::Owner));
        owner.or_else(|| self.of(id).next()).map(|(_, s)| s)
    }

    fn host(&self, id: &str) -> Option<u64> {
        self.of(id).find_map(|(_, s)| s.host)
    }

    /// Every memory once, in the order of the tree.
    pub fn memories(&self) -> Vec<SharedMemory> {
        let mut all: Vec<SharedMemory> = Vec::new();
        for (_, side) in &self.0 {
            if all.iter().any(|m| m.id == side.id) {
                continue;
            }
            let size = self.first(side.id).map_or(0, |s| s.guest.size());
            all.push(SharedMemory {
                id: side.id.to_string(),
                size,
                at: self.host(side.id).and_then(|h| Region::new(h, size)),
            });
        }
        all
    }

    /// For each memory how much is left for it, KiB, of `room_kib` for those without a place of their own: what does not fit,
    /// or is nobody's but one domain's, takes nothing from those behind it. And what is left behind the last.
    pub fn rooms(&self, memories: &[SharedMemory], room_kib: u64) -> (Vec<u64>, u64) {
        let mut left = room_kib;
        let rooms = memories.iter().map(|m| {
            let room = left;
            let mut sides = self.of(&m.id);
            let first = sides.next().map(|(d, _)| d);
            let shared = sides.any(|(d, _)| Some(d) != first);
            if m.at.is_none() && shared {
                left = left.checked_sub(m.size.div_ceil(1024)).unwrap_or(left);
            }
            room
        });
        let rooms = rooms.collect();
        (rooms, left)
    }

    /// What `node` of `domain` gives that domain. `memories` and `rooms` are the lists made here.
    pub fn read(
        &self,
        node: &Section<'a>,
        cells: Cells,
        domain: &DomainConfig<'a>,
        memories: &[SharedMemory],
        board: &Board<'_>,
        rooms: &[u64],
    ) -> Result<Shared, Refusal> {
        let side = Side::read(node, cells)?;
        let refuse = |property, message: String| Err(node.refuse(property, message));
        if domain.shared.len() >= MAX_SHARED {
            return refuse(
                "",
                format!("a domain has at most {MAX_SHARED} pieces of shared memory"),
            );
        }
        let found = memories.iter().position(|m| m.id == side.id);
        let Some((memory, whole)) = found.and_then(|n| Some((n, memories.get(n)?))) else {
            return refuse("", format!("more than {MAX_SIDES} nodes of this kind"));
        };
        if !self.of(side.id).any(|(d, _)| *d == domain.node) {
            return refuse("", format!("more than {MAX_SIDES} nodes of this kind"));
        }
        if domain.shared.iter().any(|s| s.memory == memory) {
            return refuse(ID, format!("this domain has \"{}\" already", side.id));
        }
        if self.of(side.id).all(|(d, _)| *d == domain.node) {
            return refuse(ID, format!("no other domain shares \"{}\"", side.id));
        }
        self.roles(node, &side)?;
        let (offset, size) = (side.offset.unwrap_or(0), side.guest.size());
        if side.role == Some(Role::Borrower) {
            if offset.checked_add(size).is_none_or(|end| end > whole.size) {
                return refuse(
                    PLACE,
                    format!(
                        "{size:#x} bytes from {offset:#x} on; \"{}\" has {:#x}",
                        side.id, whole.size
                    ),
                );
            }
        } else if size != whole.size {
            let message = format!(
                "{size:#x} bytes; another side of \"{}\" says {:#x}",
                side.id, whole.size
            );
            return refuse(PLACE, message);
        }
        if let (Some(host), Some(at)) = (side.host, self.host(side.id))
            && host != at
        {
            let message = format!(
                "host's {host:#x}; another side of \"{}\" says {at:#x}",
                side.id
            );
            return refuse(PLACE, message);
        }
        if !self.of(side.id).any(|(_, s)| s.writable) {
            return refuse(ACCESS, format!("nobody could write to \"{}\"", side.id));
        }
        if let Some(at) = whole.at {
            let mut others = memories.iter().filter(|m| m.id != side.id);
            if let Some(other) = others.find(|m| m.at.is_some_and(|o| o.overlaps(&at))) {
                let message = format!("{at} overlaps the memory of \"{}\"", other.id);
                return refuse(PLACE, message);
            }
            reserved(at, board).map_err(|why| node.refuse(PLACE, why))?;
        } else {
            let (kib, left) = (whole.size.div_ceil(1024), rooms.get(memory).copied());
            let left = left.unwrap_or(0);
            if kib > left {
                let message = format!(
                    "\"{}\" is {kib} KiB; {left} KiB are left after what is reserved, dom0 and shared memory before it",
                    side.id
                );
                return refuse(PLACE, message);
            }
        }
        // With direct-map RAM is somewhere in the machine's: memory at its own address cannot be there.
        let host = whole.at.and_then(|at| at.base().checked_add(offset));
        let own = host == Some(side.guest.base());
        if let Some((r, what)) = clash(side.guest, board, domain, own) {
            let message = format!("guest's {} overlaps its {what} at {r}", side.guest);
            return refuse(PLACE, message);
        }
        Ok(Shared {
            memory,
            guest: side.guest,
            offset,
            writable: side.writable,
            owner: side.role == Some(Role::Owner),
        })
    }

    /// One owner and borrowers, or no roles at all.
    fn roles(&self, node: &Section<'_>, side: &Side<'_>) -> Result<(), Refusal> {
        let id = side.id;
        let mut owners = self.of(id).filter(|(_, s)| s.role == Some(Role::Owner));
        let refuse = |message| Err(node.refuse("role", message));
        if self.of(id).all(|(_, s)| s.role.is_none()) {
            return Ok(());
        }
        if self.of(id).any(|(_, s)| s.role.is_none()) {
            return refuse(format!("either all sides of \"{id}\" have one, or none"));
        }
        match (owners.next(), owners.next()) {
            (Some(_), None) => Ok(()),
            (Some((a, _)), Some((b, _))) => refuse(format!("\"{id}\" has two owners, {a} and {b}")),
            (None, _) => refuse(format!("\"{id}\" has no owner; one side must be")),
        }
    }
}

/// Memory at a place of the integrator's choice: RAM that is kept for this and nothing else.
fn reserved(at: Region, board: &Board<'_>) -> Result<(), String> {
    if !board.is_ram(&at) {
        return Err(format!("{at} is not RAM of this machine"));
    }
    let own = |r: &&Reserved| r.why == ReservedBy::Shared && r.region == at;
    let mut holders = board.reserved.iter().filter(|r| r.region.overlaps(&at));
    match holders.clone().find(|r| !own(r)) {
        Some(other) => Err(format!(
            "{at} overlaps {}, which is in use or reserved",
            other.region
        )),
        None if holders.next().is_none() => Err(format!("{at} was not kept free")),
        None => Ok(()),
    }
}
