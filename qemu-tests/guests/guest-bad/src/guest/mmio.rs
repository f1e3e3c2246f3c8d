//! The device windows, swept with every width, and with instructions whose abort says nothing about them.
use core::arch::asm;

use guest_rt::gic::{self, Gic, Target};
use guest_rt::mmio::Window;
use guest_rt::testing::{case, expect};
use guest_rt::timer::frequency;
use guest_rt::trap::{self, catch};
use guest_rt::{console, cpu, println};

use core::sync::atomic::{AtomicU32, Ordering};

static TAKEN: AtomicU32 = AtomicU32::new(0);

fn handler() {
    let Some(gic) = gic::find() else { return };
    let ack = gic.ack();
    if ack & 0x3ff < 1020 {
        TAKEN.fetch_add(1, Ordering::SeqCst);
        gic.eoi(ack);
    }
}

/// All windows.
pub fn all() {
    let Some(gic) = gic::find() else { return };
    trap::set_irq_handler(handler);
    match gic {
        Gic::V2(g) => {
            window("gicd", g.dist, 1, |_| true);
            window("gicc", g.cpu, 1, |_| true);
        }
        Gic::V3(g) => {
            window("gicd", g.dist, 1, |_| true);
            window("gicr", g.redist_of_cpu0(), 1, |_| true);
        }
    }
    if let Some(uart) = console::uart() {
        // Not the data register, and not what would stop the output that reports this.
        window("uart", uart, 1, |offset| offset & !3 != console::reg::DR);
        uart.write32(console::reg::IMSC, 0);
        uart.write32(console::reg::LCR_H, 0x70);
        uart.write32(console::reg::CR, 1 | 1 << 8 | 1 << 9);
    }
    gic.init_distributor();
    gic.init_cpu();
    idle(&gic);
    trap::unmask_irqs();
    let mut came = 0;
    for _ in 0..10 {
        let before = TAKEN.load(Ordering::SeqCst);
        gic.send_sgi(1, Target::Cpu(0));
        came += u32::from(cpu::wait_until(frequency() / 50, || {
            TAKEN.load(Ordering::SeqCst) != before
        }));
    }
    expect("alive/sgis", came, 10);
}

/// The sweep has acknowledged and pended at random: nothing active, no SGI pending.
fn idle(gic: &Gic) {
    match gic {
        Gic::V2(g) => {
            for n in 0..4 {
                g.dist.write32(0xf10 + n * 4, u32::MAX);
                g.cpu.write32(0xd0 + n * 4, 0);
                g.cpu.write32(0xe0 + n * 4, 0);
            }
        }
        Gic::V3(_) => gic.frame(0).write32(gic::reg::ICPENDR, u32::MAX),
    }
}

fn window(name: &'static str, window: Window, step: usize, may: impl Fn(usize) -> bool) {
    // At the foot of the window, over its 4 KiB (the rest of a GICv3's 64 KiB in coarser steps), and at its end.
    let coarse = (0x1000..window.size()).step_by(0xffc);
    let last = window.size().saturating_sub(16)..window.size();
    let mut faults = [0u32; 8];
    let mut done = 0u32;
    for offset in (0..0x1000.min(window.size()))
        .step_by(step)
        .chain(coarse)
        .chain(last)
    {
        if !may(offset) {
            continue;
        }
        for (kind, fault) in faults.iter_mut().enumerate() {
            let width = 1 << (kind % 4);
            if offset + width > window.size() {
                continue;
            }
            done += 1;
            let value = if offset & 0x10 == 0 { u64::MAX } else { 0 };
            let caught = catch(|| match kind {
                0 => _ = window.read8(offset),
                1 => _ = window.read16(offset),
                2 => _ = window.read32(offset),
                3 => _ = window.read64(offset),
                4 => window.write8(offset, value as u8),
                5 => window.write16(offset, value as u16),
                6 => window.write32(offset, value as u32),
                _ => window.write64(offset, value),
            });
            *fault += u32::from(caught.is_some());
        }
    }
    println!("NOTE {name}: {done} accesses, faults by kind {faults:?}");
    case(name, "swept");
    forms(window.base());
}

/// Instructions for which the hardware gives no syndrome (ISV = 0).
fn forms(base: usize) {
    let mut faults = 0;
    macro_rules! form {
        ($($code:literal),+) => {
            faults += u32::from(catch(|| {
                // SAFETY: device registers; the written value is zero; registers named are given up.
                unsafe {
                    asm!($($code),+, a = inout(reg) base + 8 => _, out("x2") _, out("x3") _, out("x4") _,
                        options(nostack));
                }
            }).is_some());
        };
    }
    form!("ldp w2, w3, [{a}]");
    form!("ldp x2, x3, [{a}]");
    form!("mov x2, #0", "mov x3, #0", "stp w2, w3, [{a}]");
    form!("mov x2, #0", "mov x3, #0", "stp x2, x3, [{a}]");
    form!("ldr w2, [{a}], #4");
    form!("ldr w2, [{a}, #4]!");
    form!("mov x2, #0", "str w2, [{a}], #4");
    form!("ldxr w2, [{a}]");
    form!("mov x2, #0", "stxr w4, w2, [{a}]");
    form!("ldar w2, [{a}]");
    form!("mov x2, #0", "stlr w2, [{a}]");
    form!(".arch_extension fp", "ldr s0, [{a}]");
    form!(".arch_extension fp", "ldr q0, [{a}]");
    form!(".arch_extension simd", "ld1 {{v0.4s}}, [{a}]");
    form!("ldrsh x2, [{a}]");
    form!("ldrsb w2, [{a}]");
    form!("dc zva, {a}");
    form!("dc ivac, {a}");
    println!("NOTE {faults} of 18 forms faulted");
    case("forms", "survived");
}
