//! Memory through which a vCPU and Tarn tell each other about scheduling without a call.
//!
//! Two kinds. The *boost page* is 64 bytes of the guest's own RAM that it registers: it says there whether it may not
//! be descheduled just now, Tarn answers whether it is boosted and wants to hear of the end (seed 004). The *time area*
//! is memory of Tarn's that the guest may only read: stolen time (Arm DEN0057) and the vCPU's run states (seed 003).
//! Nothing read here is trusted beyond one bit; every access is a single atomic one, since the guest may write at any time.

use crate::mem::PAGE;
use crate::mem::frames::{self, FrameRange};
use crate::mem::stage2::Stage2;
use crate::mem::table::MapError;
use abi::Errno;
use abi::call::guest::{page, times};
use board::guest::layout;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use pools::VcpuTimes;

/// A registered boost page. Valid as long as the domain whose `Stage2` it was made from: it is kept in that domain's
/// vCPU contexts only, and they are dropped before the memory.
pub struct BoostPage {
    at: usize,
}

impl BoostPage {
    /// The page at guest-physical `ipa`: `Unaligned` is `Invalid`; `BadAddress` if it is not RAM of the guest.
    pub fn new(s2: &Stage2, ipa: u64) -> Result<BoostPage, Errno> {
        if !ipa.is_multiple_of(page::SIZE) {
            return Err(Errno::Invalid);
        }
        match s2.ram_at(ipa) {
            Some((at, room)) if room as u64 >= page::SIZE => {
                let p = BoostPage { at };
                for field in [page::BOOSTED, page::DEBOOST_WANTED] {
                    p.word(field).store(0, Ordering::Relaxed);
                }
                Ok(p)
            }
            _ => Err(Errno::NoSuch),
        }
    }

    fn word(&self, offset: u64) -> &AtomicU32 {
        // SAFETY: `at` is 64-byte aligned RAM of the guest, mapped at EL2 for good and owned by the domain that owns
        // this page (see the type); offsets are constants below 64, multiples of 4. EL2 makes no other reference to
        // guest RAM, and what the guest does to it concurrently are other observers' accesses, which atomics allow.
        unsafe { AtomicU32::from_ptr((self.at + offset as usize) as *mut u32) }
    }

    /// Whether the guest asks not to be descheduled.
    pub fn dont_desched(&self) -> bool {
        self.word(page::DONT_DESCHED).load(Ordering::Acquire) & 1 != 0
    }

    /// Tells the guest that it is boosted or not, and whether somebody waits for it to end that.
    pub fn tell(&self, boosted: bool, wanted: bool) {
        self.word(page::BOOSTED)
            .store(u32::from(boosted), Ordering::Relaxed);
        self.word(page::DEBOOST_WANTED)
            .store(u32::from(wanted), Ordering::Release);
    }
}

/// A domain's time area. Owned by the domain's `Stage2`; this is where EL2 finds it.
pub struct TimeArea {
    at: usize,
    vcpus: usize,
}

impl TimeArea {
    /// Takes memory for `vcpus` and lets the guest read it at `layout::TIMES`.
    pub fn map(s2: &mut Stage2, vcpus: usize) -> Result<TimeArea, MapError> {
        let bytes = (vcpus * times::STRIDE as usize).next_multiple_of(PAGE);
        let frames: FrameRange = frames::alloc(bytes, PAGE).ok_or(MapError::NoMemory)?;
        let at = frames.start();
        // SAFETY: `frames` was just taken from the allocator, so nobody else uses it, and all RAM is mapped at EL2.
        unsafe { crate::arch::zero_to_memory(at, bytes) };
        s2.add_readonly(layout::TIMES, frames)?;
        Ok(TimeArea { at, vcpus })
    }

    /// Guest-physical address of a vCPU's stolen-time structure.
    pub fn ipa(index: usize) -> u64 {
        layout::TIMES + index as u64 * times::STRIDE
    }

    fn long(&self, index: usize, offset: u64) -> Option<&AtomicU64> {
        (index < self.vcpus).then(|| {
            let at = self.at + index * times::STRIDE as usize + offset as usize;
            // SAFETY: below `vcpus` strides lie within the frames taken in `map`, which live in the domain's Stage2 as
            // long as the domain; offsets are constants below the stride, multiples of 8. EL2 is the only writer.
            unsafe { AtomicU64::from_ptr(at as *mut u64) }
        })
    }

    /// vCPU `index` is about to run: where its time went until `t.since`, when it began to run.
    pub fn publish(&self, index: usize, t: &VcpuTimes) {
        let put = |offset, value| {
            if let Some(w) = self.long(index, offset) {
                w.store(value, Ordering::Relaxed);
            }
        };
        put(times::STOLEN, t.in_state(pools::VcpuState::Runnable).0);
        put(times::SINCE, t.since.0);
        for (i, span) in t.ns.iter().enumerate() {
            put(times::STATES + 8 * i as u64, span.0);
        }
    }
}
