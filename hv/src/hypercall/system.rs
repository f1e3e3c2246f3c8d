//! Area 0: the version, the machine, its counters, and its end.

use crate::mem::{frames, heap, stage1};
use crate::{console, irq, payload, percpu, power, record, time};
use abi::call::system::{Machine, Memory, VersionReply};
use abi::call::text::{Bytes, Text};
use abi::call::{ABI, Counter, Request, SystemCall};
use abi::{Errno, MAX_CPUS, Regs, Span};
use core::sync::atomic::Ordering;

/// Name and version.
pub const VERSION: &str = concat!("Tarn ", env!("CARGO_PKG_VERSION"));

static MODEL: spin::Once<heapless::String<48>> = spin::Once::new();
static SCRIPT: spin::Once<&'static str> = spin::Once::new();
static RAM_KIB: spin::Once<u64> = spin::Once::new();

/// Sets what the board is called and how much RAM it has.
pub fn init(model: &str, ram_bytes: u64) {
    MODEL.call_once(|| crate::domain::build::short_name(model));
    RAM_KIB.call_once(|| ram_bytes / 1024);
}

/// Sets what dom0 types first, once.
pub fn set_script(script: &'static str) {
    SCRIPT.call_once(|| script);
}

/// Answer to Version.
pub fn version() -> VersionReply {
    VersionReply {
        abi: ABI,
        text: Text::truncated(VERSION),
    }
}

/// Bytes Tarn keeps for itself: image, heap, tables, per-CPU stacks.
pub fn kept() -> usize {
    let image = crate::arch::image::all().len() + payload::range().map_or(0, |p| p.len());
    let heap = heap::usage().1;
    let stacks =
        percpu::all().count().saturating_sub(1) * crate::init::STACK_PAGES * crate::mem::PAGE;
    image + heap + stacks + stage1::table_pages() * crate::mem::PAGE
}

/// Carries out a call of this area.
pub fn handle(call: SystemCall) -> Regs {
    match call {
        SystemCall::Info(c) => c.answer(Ok(Machine {
            cpus_present: (0..MAX_CPUS)
                .filter(|i| percpu::cpu(abi::CpuId(*i as u16)).is_some())
                .count() as u32,
            cpus_online: percpu::all().count() as u32,
            gic: irq::gic().version(),
            list_registers: irq::viface().lr_count() as u32,
            counter_hz: time::frequency(),
            uptime: Span(time::now().0),
        })),
        SystemCall::MemoryInfo(c) => {
            let (free, _) = frames::usage();
            let total = RAM_KIB.get().copied().unwrap_or(0);
            let mut domains = 0;
            let mut from = 0;
            while let Some(d) = crate::domain::table::at_or_after(from) {
                domains += d.memory_kib;
                from = d.id.index() + 1;
            }
            c.answer(Ok(Memory {
                total,
                free: free as u64 / 1024,
                tarn: kept() as u64 / 1024,
                domains,
            }))
        }
        SystemCall::Model(c) => {
            let name = MODEL.get().map_or("unknown", heapless::String::as_str);
            c.answer(Ok(Text::truncated(name)))
        }
        SystemCall::Counters(c) => c.answer(counter(c.index as usize)),
        SystemCall::BootScript(c) => {
            let script = SCRIPT.get().map_or(&b""[..], |s| s.as_bytes());
            let rest = script.get(c.from as usize..).unwrap_or(&[]);
            let bytes = Bytes::new(&rest[..rest.len().min(Bytes::MAX)]);
            c.answer(bytes.ok_or(Errno::Invalid))
        }
        SystemCall::Reboot(_) => {
            log::info!("dom0 reboots the machine");
            record::dump();
            power::reset()
        }
        SystemCall::PowerOff(_) => {
            log::info!("dom0 switches the machine off");
            record::dump();
            power::off()
        }
        _ => Regs::refusal(Errno::NotSupported),
    }
}

fn counter(index: usize) -> Result<Counter, Errno> {
    let irqs = percpu::all().map(|c| c.irqs.load(Ordering::Relaxed)).sum();
    let (name, value) = match index {
        0 => ("physical-irqs", irqs),
        1 => ("ipis-sent", irq::IPIS.load(Ordering::Relaxed)),
        2 => ("stray-irqs", irq::STRAY.load(Ordering::Relaxed)),
        3 => (
            "log-bytes-not-printed",
            console::LOG_SKIPPED.load(Ordering::Relaxed),
        ),
        4 => ("heap-bytes-in-use", heap::usage().0 as u64),
        _ => {
            // Then the exits of all live domains, summed.
            let i = index - 5;
            let name = crate::counters::NAMES.get(i).ok_or(Errno::End)?;
            let mut sum = 0u64;
            let mut from = 0;
            while let Some(d) = crate::domain::table::at_or_after(from) {
                sum = sum.wrapping_add(
                    d.vcpus
                        .iter()
                        .filter_map(|v| v.counters.get(i))
                        .fold(0, u64::wrapping_add),
                );
                from = d.id.index() + 1;
            }
            (*name, sum)
        }
    };
    Ok(Counter {
        value,
        name: Text::truncated(name),
    })
}
