//! The host's stand-in for arch/bare.rs: system registers are cells of the calling thread, device registers plain
//! memory, barriers notes in a journal. Only ever built for a hosted target, so that `cargo test` runs the drivers.
//!
//! It models no device: a register holds what was written last. Tests put in what the hardware would answer.

extern crate std;
use core::cell::RefCell;
use std::{boxed::Box, collections::BTreeMap, vec, vec::Vec};

/// What happened, in order: (name, value), barriers with value 0.
#[derive(Default)]
struct Cpu {
    regs: BTreeMap<(&'static str, usize), u64>,
    journal: Vec<(&'static str, u64)>,
}

std::thread_local! {
    static CPU: RefCell<Cpu> = RefCell::default();
}

fn note(name: &'static str, value: u64) {
    CPU.with(|c| c.borrow_mut().journal.push((name, value)));
}

fn get(name: &'static str, i: usize) -> u64 {
    CPU.with(|c| c.borrow().regs.get(&(name, i)).copied().unwrap_or(0))
}

/// Puts a value into a register as hardware would, without a journal entry.
#[allow(dead_code)]
pub(crate) fn set(name: &'static str, i: usize, value: u64) {
    CPU.with(|c| c.borrow_mut().regs.insert((name, i), value));
}

/// What a register holds.
#[allow(dead_code)]
pub(crate) fn peek(name: &'static str, i: usize) -> u64 {
    get(name, i)
}

/// The journal so far, which is emptied.
#[allow(dead_code)]
pub(crate) fn journal() -> Vec<(&'static str, u64)> {
    CPU.with(|c| core::mem::take(&mut c.borrow_mut().journal))
}

macro_rules! access {
    ($load:ident, $store:ident, $t:ty) => {
        /// # Safety
        ///
        /// `at` is an aligned address in an owned `Mmio`.
        #[inline(always)]
        pub(crate) unsafe fn $load(at: usize) -> $t {
            // SAFETY: the caller promises valid, aligned memory.
            unsafe { core::ptr::with_exposed_provenance::<$t>(at).read_volatile() }
        }
        /// # Safety
        ///
        /// `at` is an aligned address in an owned `Mmio`.
        #[inline(always)]
        pub(crate) unsafe fn $store(at: usize, value: $t) {
            // SAFETY: the caller promises valid, aligned memory.
            unsafe { core::ptr::with_exposed_provenance_mut::<$t>(at).write_volatile(value) }
        }
    };
}
access!(load8, store8, u8);
access!(load32, store32, u32);
access!(load64, store64, u64);

macro_rules! barrier {
    ($($name:ident)+) => {$(
        pub(crate) fn $name() {
            note(stringify!($name), 0);
        }
    )+};
}
barrier! { isb dsb_ishst dmb_ishst dsb_sy dmb_ld sev }

/// Polling loops are not worth a note each.
pub(crate) fn relax() {}

/// # Safety
///
/// `at` is mapped.
pub(crate) unsafe fn dc_civac(at: usize) {
    note("dc_civac", at as u64);
}

macro_rules! read {
    ($($name:ident $reg:literal;)+) => {$(
        pub(crate) fn $name() -> u64 {
            get($reg, 0)
        }
    )+};
}
macro_rules! write {
    ($($name:ident $reg:literal;)+) => {$(
        pub(crate) fn $name(value: u64) {
            note($reg, value);
            set($reg, 0, value);
        }
    )+};
}
read! {
    read_icc_iar1 "icc_iar1";
    read_icc_ctlr "icc_ctlr";
    read_icc_sre_el2 "icc_sre_el2";
    read_ich_hcr "ich_hcr";
    read_ich_vtr "ich_vtr";
    read_ich_misr "ich_misr";
    read_ich_eisr "ich_eisr";
    read_ich_elrsr "ich_elrsr";
    read_ich_vmcr "ich_vmcr";
    read_cntpct "cntpct";
    read_cntfrq "cntfrq";
    read_cnthp_ctl "cnthp_ctl";
    read_cnthp_cval "cnthp_cval";
}
write! {
    write_icc_eoir1 "icc_eoir1";
    write_icc_dir "icc_dir";
    write_icc_sgi1r "icc_sgi1r";
    write_icc_ctlr "icc_ctlr";
    write_icc_pmr "icc_pmr";
    write_icc_bpr1 "icc_bpr1";
    write_icc_igrpen1 "icc_igrpen1";
    write_icc_sre_el1 "icc_sre_el1";
    write_icc_sre_el2 "icc_sre_el2";
    write_ich_hcr "ich_hcr";
    write_ich_vmcr "ich_vmcr";
    write_cnthp_ctl "cnthp_ctl";
    write_cnthp_cval "cnthp_cval";
}

/// What was written, and the bits that a test says read as one whatever is written (register "icc_sre_el1_fixed").
pub(crate) fn read_icc_sre_el1() -> u64 {
    get("icc_sre_el1", 0) | get("icc_sre_el1_fixed", 0)
}

macro_rules! indexed {
    ($read:ident, $write:ident, $reg:literal) => {
        pub(crate) fn $read(i: usize) -> u64 {
            get($reg, i)
        }
        pub(crate) fn $write(i: usize, value: u64) {
            note($reg, value);
            set($reg, i, value);
        }
    };
}
indexed!(read_ich_lr, write_ich_lr, "ich_lr");
indexed!(read_ich_ap0r, write_ich_ap0r, "ich_ap0r");
indexed!(read_ich_ap1r, write_ich_ap1r, "ich_ap1r");

pub(crate) fn write_icc_ap1r(i: usize, value: u64) {
    note("icc_ap1r", value);
    set("icc_ap1r", i, value);
}

/// Firmware that notes the call and answers what a test put into register "firmware" for that function, or for all (0).
pub(crate) struct Firmware<const SMC: bool>;
pub(crate) type Hvc = Firmware<false>;
pub(crate) type Smc = Firmware<true>;

fn answer(function: u32) -> u64 {
    let own = CPU.with(|c| {
        let regs = &c.borrow().regs;
        regs.get(&("firmware", function as usize)).copied()
    });
    own.unwrap_or_else(|| get("firmware", 0))
}

impl<const SMC: bool> smccc::Call for Firmware<SMC> {
    fn call32(function: u32, args: [u32; 7]) -> [u32; 8] {
        note(if SMC { "smc" } else { "hvc" }, function.into());
        args.iter().for_each(|a| note("arg", (*a).into()));
        [answer(function) as u32, 0, 0, 0, 0, 0, 0, 0]
    }

    fn call64(function: u32, args: [u64; 17]) -> [u64; 18] {
        note(if SMC { "smc" } else { "hvc" }, function.into());
        args.iter().for_each(|a| note("arg", *a));
        let mut all = [0; 18];
        all[0] = answer(function);
        all
    }
}

/// Memory that plays a device. Leaked, because drivers own their registers for ever.
#[allow(dead_code)]
pub(crate) struct Memory {
    base: usize,
    len: usize,
}

#[allow(dead_code)]
impl Memory {
    pub(crate) fn new(len: usize) -> Memory {
        let words: &'static mut [u64] = Box::leak(vec![0u64; len.div_ceil(8)].into_boxed_slice());
        Memory {
            base: words.as_mut_ptr().expose_provenance(),
            len,
        }
    }

    pub(crate) fn base(&self) -> usize {
        self.base
    }

    pub(crate) fn mmio(&self) -> crate::Mmio {
        self.window(0, self.len)
    }

    pub(crate) fn window(&self, offset: usize, len: usize) -> crate::Mmio {
        assert!(offset + len <= self.len);
        // SAFETY: leaked memory that is only used through volatile accesses of this thread.
        unsafe { crate::Mmio::new(self.base + offset, len) }
    }

    pub(crate) fn get(&self, offset: usize) -> u32 {
        assert!(offset + 4 <= self.len && offset.is_multiple_of(4));
        // SAFETY: within the leaked memory, aligned.
        unsafe { load32(self.base + offset) }
    }

    pub(crate) fn put(&self, offset: usize, value: u32) {
        assert!(offset + 4 <= self.len && offset.is_multiple_of(4));
        // SAFETY: within the leaked memory, aligned.
        unsafe { store32(self.base + offset, value) }
    }
}
