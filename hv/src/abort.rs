//! Stage-2 faults: a guest touched an address that is no RAM of its own. Emulated device, or nothing.
//!
//! Windows are those of board::guest::layout. An access to nothing, and one whose syndrome does not say what it was
//! (load/store pair, write-back, atomics on a device), becomes an external abort in the guest, as a bus would answer.

use crate::arch::{GuestFrame, esr, sysreg};
use crate::counters::Kind;
use crate::domain::{Domain, Uart};
use crate::percpu::Cpu;
use crate::run::Outcome;
use crate::vcpu::Loaded;
use crate::{console, doorbell, inject, vgic};
use board::guest::layout;
use vdev::Refused;
use vdev::mmio::{Access, Size};
use vdev::vgic::{Irq, Version};

const S1PTW: u64 = 1 << 7;

/// A data abort.
#[inline]
pub fn data(syndrome: u64, frame: &mut GuestFrame, cpu: &'static Cpu, l: &mut Loaded) -> Outcome {
    let far = sysreg::far_el2();
    if let Ok(a) = Access::decode(syndrome as u32 & 0x1ff_ffff, far, sysreg::hpfar_el2())
        && let Some(o) = device(&a, frame, cpu, l)
    {
        return o;
    }
    l.vcpu().counters.add(Kind::BadAccess);
    inject::external_data_abort(frame, far, syndrome, walk(syndrome));
    Outcome::Resume
}

/// An instruction abort: a guest executes only from its RAM.
pub fn instruction(syndrome: u64, frame: &mut GuestFrame, l: &Loaded) -> Outcome {
    l.vcpu().counters.add(Kind::BadAccess);
    inject::external_instruction_abort(frame, sysreg::far_el2(), walk(syndrome));
    Outcome::Resume
}

/// The level, if the fault was on the guest's own table walk: of stage 2, since hardware does not say at which of its own
/// the guest was.
fn walk(syndrome: u64) -> Option<u64> {
    (syndrome & S1PTW != 0).then_some(syndrome & 3)
}

/// Emulates an access to a device; `None` if there is none.
#[inline]
fn device(
    a: &Access,
    frame: &mut GuestFrame,
    cpu: &'static Cpu,
    l: &mut Loaded,
) -> Option<Outcome> {
    let offset = a.ipa.wrapping_sub(layout::GICD);
    let gicd_size = match l.domain.gic.version {
        Version::V2 => layout::GICD_V2_SIZE,
        Version::V3 => layout::GICD_V3_SIZE,
    };
    if offset < gicd_size {
        return Some(gic(Window::Distributor, offset as u32, a, frame, cpu, l));
    }
    if l.domain.gic.version == Version::V3 {
        let offset = a.ipa.wrapping_sub(layout::GICR);
        if offset < layout::GICR_STRIDE * u64::from(l.domain.gic.vcpus) {
            return Some(gic(Window::Redistributors, offset as u32, a, frame, cpu, l));
        }
    }
    if !l.domain.doorbells.is_empty()
        && let Some(value) = doorbell::access(a, l, cpu)
    {
        if !a.write {
            return Some(answer(a, value, frame));
        }
        frame.skip(esr::il(sysreg::esr_el2()));
        return Some(Outcome::Resume);
    }
    let offset = a.ipa.wrapping_sub(l.domain.pl011_at);
    if offset < layout::PL011_SIZE && l.domain.uart.is_some() {
        return Some(uart(offset as u32, a, frame, cpu, l));
    }
    None
}

/// Puts a result into the register the instruction names, and steps over it.
#[inline]
fn answer(a: &Access, raw: u64, frame: &mut GuestFrame) -> Outcome {
    frame.set_reg(a.rt as usize, a.loaded(raw));
    frame.skip(esr::il(sysreg::esr_el2()));
    Outcome::Resume
}

/// What a refused GIC access comes to: as on hardware, RAZ/WI; or again, once the other vCPU's state is in.
fn refused(
    r: Refused,
    a: &Access,
    frame: &mut GuestFrame,
    cpu: &'static Cpu,
    l: &Loaded,
) -> Outcome {
    match r {
        Refused::Busy(kick) => {
            vgic::deliver(&l.domain, kick, vgic::REGISTER, cpu);
            // The instruction is tried again; meanwhile others may run, which is what lets the other vCPU come by.
            crate::run::POOLS.yield_now(l.vcpu().id, crate::time::now());
            Outcome::Reschedule
        }
        _ => {
            l.vcpu().counters.add(Kind::GicReserved);
            if a.write {
                frame.skip(esr::il(sysreg::esr_el2()));
                Outcome::Resume
            } else {
                answer(a, 0, frame)
            }
        }
    }
}

/// Which of the GIC's register windows.
#[derive(Clone, Copy)]
enum Window {
    Distributor,
    Redistributors,
}

/// An access to a register of the GIC.
#[inline(always)]
fn gic(
    window: Window,
    offset: u32,
    a: &Access,
    frame: &mut GuestFrame,
    cpu: &'static Cpu,
    l: &mut Loaded,
) -> Outcome {
    l.vcpu().counters.add(Kind::Gic);
    let (v, size) = (l.index, a.size);
    if a.write {
        let value = a.stored(frame.reg(a.rt as usize));
        let (done, unfinished) = vgic::registers(l, cpu, |g, lrs| {
            let done = match window {
                Window::Distributor => g.dist_write(v, offset, size, value, lrs),
                Window::Redistributors => g.redist_write(v, offset, size, value, lrs),
            };
            (done, g.unfinished(v))
        });
        return match done {
            Ok(kick) => {
                frame.skip(esr::il(sysreg::esr_el2()));
                vgic::accessed(l, kick, vgic::REGISTER, unfinished, cpu)
            }
            Err(r) => refused(r, a, frame, cpu, l),
        };
    }
    let constant = match window {
        Window::Distributor => l.domain.gic.constant_dist(offset, size),
        Window::Redistributors => l.domain.gic.constant_redist(offset, size),
    };
    if let Some(value) = constant {
        return answer(a, value, frame);
    }
    let read = vgic::registers(l, cpu, |g, lrs| match window {
        Window::Distributor => g.dist_read(v, offset, size, lrs),
        Window::Redistributors => g.redist_read(v, offset, size, lrs),
    });
    match read {
        Ok(value) => answer(a, value, frame),
        Err(r) => refused(r, a, frame, cpu, l),
    }
}

/// UARTDR, UARTFR and the flag for a full transmit FIFO (DDI 0183G 3.3).
const DR: u32 = 0x00;
const FR: u32 = 0x18;
const TXFF: u64 = 1 << 5;
const TXFE: u64 = 1 << 7;

/// UARTFR as the guest would read it, if the domain has a UART: no side effect.
#[inline]
pub fn uart_flags(l: &Loaded) -> Option<u64> {
    let flags = u64::from(l.domain.uart.as_ref()?.lock().model.flags());
    Some(if console::has_room(l.domain.id.slot) {
        flags
    } else {
        flags & !TXFE | TXFF
    })
}

fn uart(offset: u32, a: &Access, frame: &mut GuestFrame, cpu: &'static Cpu, l: &Loaded) -> Outcome {
    l.vcpu().counters.add(Kind::Uart);
    let d: &Domain = &l.domain;
    let Some(lock) = &d.uart else {
        return Outcome::Resume;
    };
    let slot = d.id.slot;
    // The console is busy: the store is tried again when others have had their turn. Nothing is lost.
    let busy = || {
        l.vcpu().counters.add(Kind::ConsoleWait);
        crate::run::POOLS.yield_now(l.vcpu().id, crate::time::now());
        Outcome::Reschedule
    };
    if offset == DR && a.write && !console::has_room(slot) {
        return busy();
    }
    let (result, kick) = {
        let mut u = lock.lock();
        if offset == DR && a.write && !console::has_room(slot) {
            // Another vCPU took the last room: before the model has seen the store.
            drop(u);
            return busy();
        }
        let before = u.model.irq_level();
        let result = if a.write {
            let value = a.stored(frame.reg(a.rt as usize));
            match u.model.write(offset, a.size, value) {
                // Under the UART's lock: bytes of two vCPUs keep their order, and room seen is room taken.
                Ok(Some(byte)) if console::write(slot, &[byte.0]) == 0 => {
                    drop(u);
                    return busy();
                }
                other => other.map(|_| 0),
            }
        } else {
            u.model.read(offset, a.size)
        };
        Uart::refill(&mut u);
        let after = u.model.irq_level();
        let kick = (before != after).then(|| {
            d.vgic
                .lock()
                .set_level(Irq::spi(layout::PL011_INTID as u16), after)
        });
        (result, kick)
    };
    if let Some(kick) = kick {
        vgic::deliver(d, kick, vgic::line(layout::PL011_INTID as u16), cpu);
        vgic::flush(l, cpu);
    }
    match result {
        Ok(mut v) => {
            if a.write {
                frame.skip(esr::il(sysreg::esr_el2()));
                return Outcome::Resume;
            }
            if offset == FR && a.size != Size::Byte && !console::has_room(slot) {
                v = v & !TXFE | TXFF;
            }
            answer(a, v, frame)
        }
        Err(_) => {
            l.vcpu().counters.add(Kind::GicReserved);
            if a.write {
                frame.skip(esr::il(sysreg::esr_el2()));
                Outcome::Resume
            } else {
                answer(a, 0, frame)
            }
        }
    }
}
