//! Filling a domain's memory: zeroes everywhere, then kernel, ramdisk and device tree, a small step at a time.
//!
//! The domain does it itself: its vCPU 0 is runnable from the start and, whenever the scheduler gives it a CPU, `run.rs`
//! performs steps here instead of entering the guest, until the work is done. So building costs the new domain's share
//! and nobody else's, all pools build at the same time, and no step holds interrupts off for longer than `STEP` bytes
//! take. Nothing a guest wrote is read here.

use super::recipe::{Blob, Recipe};
use super::{Domain, State};
use crate::doorbell::Doorbell;
use crate::mem::guest;
use crate::mem::stage2::Stage2;
use crate::vcpu::Context;
use alloc::vec::Vec;
use board::Region;
use board::guest::{GuestSpec, GuestTree, SeedsAt, SharedView, guest_dtb};

/// Bytes zeroed in one step, and bytes copied: about 2,500 instructions each.
const ZEROED_AT_ONCE: usize = 32 << 10;
const COPIED_AT_ONCE: usize = 8 << 10;
const MIB2: u64 = 2 << 20;

/// Why a domain cannot be built as described.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BuildError {
    /// The kernel module is no arm64 `Image`.
    NotAnImage,
    /// Kernel, ramdisk and tree do not fit into the first bank of memory.
    TooSmall,
    /// The tree could not be made.
    Tree(board::guest::GuestError),
}

impl core::fmt::Display for BuildError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            BuildError::NotAnImage => f.write_str(
                "its kernel is not an uncompressed arm64 Image (magic ARM\\x64 at offset 56), and no tarn,load says where to put it",
            ),
            BuildError::TooSmall => {
                f.write_str("kernel, ramdisk and device tree do not fit into its first bank of memory, or overlap")
            }
            BuildError::Tree(e) => write!(f, "its device tree cannot be made: {e:?}"),
        }
    }
}

enum Data {
    /// At this physical address, for good.
    Blob(usize),
    /// Ours.
    Bytes(Vec<u8>),
    /// Nothing.
    Zero,
}

struct Piece {
    ipa: u64,
    len: usize,
    data: Data,
}

/// What a domain's memory is filled with, each time it begins.
pub struct Plan {
    pieces: Vec<Piece>,
    entry: u64,
    tree: u64,
    seeds: SeedsAt,
}

/// Random bytes for one life of a guest.
pub type Seed = [u8; 32];

/// How far the filling is.
pub struct Builder {
    at: usize,
    done: usize,
    seed: Seed,
}

impl Plan {
    /// Plans the filling of `s2` by `r`. Nothing is written yet.
    pub fn new(r: &Recipe, s2: &Stage2) -> Result<Plan, BuildError> {
        let banks: Vec<Region> = s2
            .banks()
            .iter()
            .filter_map(|b| Region::new(b.ipa, b.frames.len() as u64))
            .collect();
        let merged = merge(&banks);
        let ram = *merged.first().ok_or(BuildError::TooSmall)?;
        let head = r.kernel.bytes();
        let word = |at: usize| -> Option<u64> {
            Some(u64::from_le_bytes(head.get(at..at + 8)?.try_into().ok()?))
        };
        let image = head.get(56..60) == Some(b"ARM\x64");
        if !image && r.load.is_none() {
            return Err(BuildError::NotAnImage);
        }
        let (text_offset, image_size) = match r.load {
            // A plain binary has no header, and no size but its own.
            Some(_) => (0, r.kernel.len as u64),
            None => (
                word(8).ok_or(BuildError::NotAnImage)?,
                word(16).ok_or(BuildError::NotAnImage)?,
            ),
        };
        // Documentation/arch/arm64/booting: an image_size of 0 means an old kernel at offset 0x80000.
        let (text_offset, image_size) = if image_size == 0 {
            (0x8_0000, r.kernel.len as u64)
        } else {
            (text_offset, image_size)
        };
        if text_offset >= 1 << 30 {
            return Err(BuildError::NotAnImage);
        }
        // A bank that the integrator chose may begin anywhere; a kernel stands on 2 MiB.
        let kernel = ram
            .base()
            .checked_next_multiple_of(MIB2)
            .ok_or(BuildError::TooSmall)?
            + text_offset;
        let kernel = r.load.unwrap_or(kernel);
        let kernel_end = kernel
            .checked_add(image_size.max(r.kernel.len as u64))
            .ok_or(BuildError::TooSmall)?;

        let mut top = ram.end();
        let initrd = match &r.ramdisk {
            Some(b) => {
                top = top.checked_sub(b.len as u64).ok_or(BuildError::TooSmall)? & !0xfff;
                Some(Region::new(top, b.len as u64).ok_or(BuildError::TooSmall)?)
            }
            None => None,
        };
        let shared: Vec<SharedView> = r
            .shared
            .iter()
            .filter_map(|v| {
                Some(SharedView {
                    id: &v.id,
                    guest: Region::new(v.guest, v.phys.size())?,
                    offset: v.offset,
                    writable: v.writable,
                })
            })
            .collect();
        let spi = |b: &Doorbell| (b.port, u32::from(b.intid) - 32);
        let doorbells: Vec<(u32, u32)> = r.doorbells.iter().map(spi).collect();
        let GuestTree {
            blob: tree_bytes,
            seeds,
        } = guest_dtb(&GuestSpec {
            vcpus: r.vcpus,
            memory: &merged,
            gic: r.gic,
            vpl011: r.vpl011,
            pl011_at: r.pl011_at,
            bootargs: &r.bootargs,
            initrd,
            // Each life has others.
            rng_seed: &[0; 32],
            kaslr_seed: Some(0),
            devices: r.device_tree.as_ref().map(Blob::bytes),
            shared: &shared,
            doorbells: &doorbells,
        })
        .map_err(BuildError::Tree)?;
        // The tree must not cross a 2 MiB boundary.
        let room = (tree_bytes.len() as u64).next_multiple_of(4096);
        let mut tree = top.checked_sub(room).ok_or(BuildError::TooSmall)? & !0xfff;
        if tree / MIB2 != (tree + room - 1) / MIB2 {
            tree = (tree + room - 1) / MIB2 * MIB2 - room;
        }
        tree = r.tree_at.map_or(tree, |at| at & !0xfff);
        let inside = |at: u64, len: u64| Region::new(at, len).filter(|piece| ram.covers(piece));
        let placed = [
            inside(kernel, kernel_end - kernel),
            inside(tree, room),
            initrd.or(Region::new(u64::MAX - 1, 1)),
        ];
        let [Some(a), Some(b), Some(c)] = placed else {
            return Err(BuildError::TooSmall);
        };
        if a.overlaps(&b) || a.overlaps(&c) || b.overlaps(&c) {
            return Err(BuildError::TooSmall);
        }

        let mut content: Vec<Piece> = Vec::new();
        content.push(Piece {
            ipa: kernel,
            len: r.kernel.len,
            data: Data::Blob(r.kernel.at),
        });
        content.push(Piece {
            ipa: tree,
            len: tree_bytes.len(),
            data: Data::Bytes(tree_bytes),
        });
        if let (Some(b), Some(i)) = (&r.ramdisk, initrd) {
            content.push(Piece {
                ipa: i.base(),
                len: b.len,
                data: Data::Blob(b.at),
            });
        }
        content.sort_by_key(|p| p.ipa);
        let mut pieces = Vec::new();
        let mut content = content.into_iter().peekable();
        for bank in &merged {
            let mut at = bank.base();
            while at < bank.end() {
                match content.next_if(|p| p.ipa < bank.end()) {
                    Some(p) => {
                        zero_piece(&mut pieces, at, p.ipa);
                        at = p.ipa + p.len as u64;
                        pieces.push(p);
                    }
                    None => {
                        zero_piece(&mut pieces, at, bank.end());
                        at = bank.end();
                    }
                }
            }
        }
        Ok(Plan {
            pieces,
            entry: kernel,
            tree,
            seeds,
        })
    }

    /// Puts the seeds into the tree, which is there already.
    fn sow(&self, s2: &Stage2, seed: &Seed) {
        let put = |at: Option<usize>, bytes: &[u8]| {
            let put = at.map_or(Ok(()), |at| guest::write(s2, self.tree + at as u64, bytes));
            debug_assert!(put.is_ok(), "the tree is there");
        };
        put(self.seeds.rng, seed);
        put(self.seeds.kaslr, &seed[..8]);
    }
}

impl Builder {
    /// From the beginning.
    pub fn new(seed: Seed) -> Builder {
        Builder {
            at: 0,
            done: 0,
            seed,
        }
    }

    /// Does a little; true when everything is in place and the vCPU stands at the guest's entry.
    pub fn step(&mut self, d: &Domain, ctx: &mut Context) -> bool {
        let Some(p) = d.plan.pieces.get(self.at) else {
            d.plan.sow(&d.s2.lock(), &self.seed);
            ctx.frame.x[0] = d.plan.tree;
            ctx.frame.elr = d.plan.entry;
            crate::arch::invalidate_instruction_caches();
            d.transit(&[State::Building], State::Alive);
            return true;
        };
        let ipa = p.ipa + self.done as u64;
        // Up to a boundary, so that all steps but the first begin with a whole cache line.
        let step = match p.data {
            Data::Zero => ZEROED_AT_ONCE,
            Data::Blob(_) | Data::Bytes(_) => COPIED_AT_ONCE,
        };
        let n = (step - ipa as usize % step).min(p.len - self.done);
        let s2 = d.s2.lock();
        let put = match &p.data {
            Data::Zero => guest::zero(&s2, ipa, n),
            Data::Bytes(b) => guest::write(&s2, ipa, &b[self.done..self.done + n]),
            // SAFETY: `plan` took the blob from the recipe, whose memory is a module or part of the image, never RAM
            // of a guest, and stays for good.
            Data::Blob(from) => unsafe { guest::write_from_module(&s2, ipa, from + self.done, n) },
        };
        // The plan was made from these very banks, which never change.
        debug_assert!(put.is_ok());
        self.done += n;
        if self.done >= p.len {
            self.done = 0;
            self.at += 1;
        }
        false
    }
}

fn zero_piece(pieces: &mut Vec<Piece>, from: u64, to: u64) {
    if to > from {
        pieces.push(Piece {
            ipa: from,
            len: (to - from) as usize,
            data: Data::Zero,
        });
    }
}

/// Joins banks that follow each other.
fn merge(banks: &[Region]) -> Vec<Region> {
    let mut out: Vec<Region> = Vec::new();
    for b in banks {
        match out.last_mut() {
            Some(l) if l.end() == b.base() => {
                if let Some(joined) = Region::between(l.base(), b.end()) {
                    *l = joined;
                }
            }
            _ => out.push(*b),
        }
    }
    out
}

/// A name that fits a domain, cut if longer.
pub fn short_name(name: &str) -> heapless::String<48> {
    let mut s = heapless::String::new();
    for c in name.chars() {
        if s.push(c).is_err() {
            break;
        }
    }
    s
}

/// For messages: a recipe's command line, or a dash.
pub fn bootargs_or_dash(s: &str) -> &str {
    if s.is_empty() { "-" } else { s }
}
