//! Two guests in one program: `mode=control` takes a sample each millisecond, `mode=logger` looks at them.
//!
//! What is sampled is how late the control loop woke, in ns. The memory "samples" holds a count and a ring of 1024 values,
//! written by the control loop alone; port 1 is rung every 100 samples. The logger never writes, so nothing it does can
//! disturb the loop, and one that falls behind misses samples and says so.
use core::sync::atomic::{AtomicU32, Ordering};

use guest_rt::mmio::Window;
use guest_rt::timer::{Timer, frequency};
use guest_rt::{cpu, gic, machine, mmu, println, trap};

guest_rt::entry!(main);

const PORT: u32 = 1;
const COUNT: usize = 0;
const RING: usize = 64;
const PLACES: u32 = 1024;
const EACH_RING: u32 = 100;

/// Set by the interrupts: the timer's of the control loop, the doorbell's of the logger.
static RUNG: AtomicU32 = AtomicU32::new(0);

fn handler() {
    let Some(gic) = gic::find() else { return };
    let ack = gic.ack();
    if ack & 0x3ff < 1020 {
        Timer::Virtual.stop();
        RUNG.store(1, Ordering::SeqCst);
        gic.eoi(ack);
    }
}

/// Sleeps until an interrupt has come.
fn sleep() {
    while RUNG.swap(0, Ordering::SeqCst) == 0 {
        let daif = trap::mask_irqs();
        if RUNG.load(Ordering::SeqCst) == 0 {
            cpu::wfi();
        }
        trap::restore_irqs(daif);
    }
}

fn place(n: u32) -> usize {
    RING + (n % PLACES) as usize * 4
}

fn main() {
    mmu::on();
    let (bell, memory) = (machine().doorbell(PORT), machine().shared("samples"));
    let (Some(gic), Some(bell), Some(memory)) = (gic::find(), bell, memory) else {
        println!("needs a GIC, memory called \"samples\" and a doorbell at port {PORT}");
        return;
    };
    gic.init_distributor();
    gic.init_cpu();
    trap::set_irq_handler(handler);
    trap::unmask_irqs();
    // SAFETY: the device tree says that there is memory shared with another guest: no object of ours lies in it.
    let samples = unsafe { Window::new(memory.range.base as usize, memory.range.size as usize) };
    // SAFETY: the device tree says that there is a register.
    let bell_register = unsafe { Window::new(bell.base, 4) };
    if machine().argument("mode") == Some("control") {
        gic.enable(Timer::Virtual.intid());
        control(&samples, &bell_register);
    } else {
        gic.set_edge(bell.intid, true);
        gic.enable(bell.intid);
        logger(&samples);
    }
}

fn control(samples: &Window, bell: &Window) {
    // After a restart it goes on where it was.
    let mut count = samples.read32(COUNT);
    println!("control: a sample each millisecond, from {count} on");
    let step = frequency() / 1000;
    let mut due = Timer::Virtual.count();
    loop {
        due += step;
        Timer::Virtual.set_cval(due);
        Timer::Virtual.set_ctl(guest_rt::timer::ENABLE);
        sleep();
        let late = Timer::Virtual.count().saturating_sub(due);
        samples.write32(place(count), (late * 1_000_000_000 / frequency()) as u32);
        cpu::barrier();
        count = count.wrapping_add(1);
        samples.write32(COUNT, count);
        if count.is_multiple_of(EACH_RING) {
            cpu::barrier();
            bell.write32(0, 1);
        }
    }
}

fn logger(samples: &Window) {
    let mut seen = samples.read32(COUNT);
    loop {
        sleep();
        let count = samples.read32(COUNT);
        cpu::barrier();
        let missed = count.wrapping_sub(seen).saturating_sub(PLACES);
        seen = seen.wrapping_add(missed);
        let (mut sum, mut most, first) = (0u64, 0, seen);
        while seen != count {
            let late = samples.read32(place(seen));
            sum += u64::from(late);
            most = most.max(late);
            seen = seen.wrapping_add(1);
        }
        let n = u64::from(count.wrapping_sub(first)).max(1);
        println!(
            "samples {first}-{count}: late {} ns, at most {most} ns; {missed} missed",
            sum / n
        );
    }
}
