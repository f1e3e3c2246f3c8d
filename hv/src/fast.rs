//! Shortcuts for the exits guests make most: the same answers as the general handlers, with fewer instructions.
//!
//! Each is a read without side effects, answered from what is constant or at hand; nothing is scheduled, no list
//! register changes, so the way out needs no look at the pool. Whatever does not fit a pattern exactly is left to the
//! general way (trap.rs), which gives the same result: the test guests and benches run through both.

use crate::abort;
use crate::arch::{GuestFrame, esr, sysreg as regs};
use crate::counters::Kind;
use crate::vcpu::Loaded;
use board::guest::layout;

/// ISS of `mrs xN, S3_0_C0_Cm_op` with Rt, CRm and op2 left out.
const ID_READ: u64 = esr::EC_SYS64 << 26 | 1 << 25 | 3 << 20 | 1;
const ID_FIELDS: u64 = 0x1f << 5 | 0xf << 1 | 7 << 17;
/// Syndrome of a 32-bit read into a W register by a translation fault at level 1 to 3: ISV, SAS = word; Rt, the level,
/// and the bits that say how far the register is extended are left out.
const WORD_READ: u64 = esr::EC_DABORT << 26 | 1 << 25 | 1 << 24 | 2 << 22 | 1 << 2;
const WORD_FIELDS: u64 = 0x1f << 16 | 1 << 15 | 3;
/// Offset of GICD_TYPER and of UARTFR.
const GICD_TYPER: u64 = 4;
const UARTFR: u64 = 0x18;

/// Answers the exit if it is one of these.
#[inline(always)]
pub fn sync(syndrome: u64, frame: &mut GuestFrame, l: &Loaded) -> bool {
    if syndrome & !WORD_FIELDS == WORD_READ {
        return word_read(syndrome, frame, l);
    }
    if syndrome & !ID_FIELDS == ID_READ {
        let crm = syndrome >> 1 & 15;
        if crm == 0 || crm > 7 {
            return false;
        }
        l.vcpu().counters.add(Kind::IdReg);
        let value = l.domain.ids.value((crm << 3 | syndrome >> 17 & 7) as usize);
        return done((syndrome >> 5 & 31) as usize, value, frame);
    }
    false
}

#[inline(always)]
fn word_read(syndrome: u64, frame: &mut GuestFrame, l: &Loaded) -> bool {
    // Sign-extending loads have SSE (bit 21) set and do not come here.
    let rt = (syndrome >> 16 & 31) as usize;
    let page = regs::hpfar_el2() << 8 & !0xfff;
    let offset = regs::far_el2() & 0xfff;
    let value = if page == layout::GICD & !0xfff && offset == GICD_TYPER + (layout::GICD & 0xfff) {
        l.vcpu().counters.add(Kind::Gic);
        u64::from(l.domain.gicd_typer)
    } else if page == l.domain.pl011_at && offset == UARTFR {
        let Some(flags) = abort::uart_flags(l) else {
            return false;
        };
        l.vcpu().counters.add(Kind::Uart);
        flags
    } else {
        return false;
    };
    done(rt, value, frame)
}

#[inline(always)]
fn done(rt: usize, value: u64, frame: &mut GuestFrame) -> bool {
    frame.set_reg(rt, value);
    frame.skip(true);
    true
}
