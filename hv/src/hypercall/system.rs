//! Area 0: the version, the machine, its counters, and its end.

use super::why;
use crate::counters;
use crate::domain::end;
use crate::mem::{frames, heap, nodes, stage1};
use crate::percpu::Cpu;
use crate::run::POOLS;
use crate::{console, irq, payload, percpu, power, record, time, work};
use abi::call::system::{CpuRow, MORE, Machine, Memory, TraceRow, VersionReply};
use abi::call::text::{Bytes, Label, Text};
use abi::call::{ABI, Counter, Request, SystemCall};
use abi::{CpuId, Errno, MAX_CPUS, Regs, Span};
use core::sync::atomic::Ordering;
use pools::Look;

/// Decisions kept for `Trace`.
const TRACE: u32 = 1024;

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

/// Sets what dom0 types first, once, when there is nothing left to wait for.
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

/// Carries out a call of this area, made on CPU `here`.
pub fn handle(call: SystemCall, here: &'static Cpu) -> Regs {
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
            let bytes = SCRIPT.get().ok_or(Errno::Again).and_then(|script| {
                let rest = script.as_bytes().get(c.from as usize..).unwrap_or(&[]);
                Bytes::new(&rest[..rest.len().min(Bytes::MAX)]).ok_or(Errno::Invalid)
            });
            c.answer(bytes)
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
        SystemCall::Cpu(c) => c.answer(cpu_row(c.from)),
        SystemCall::CpuRun(c) => c.answer(work::ask(&c, here)),
        SystemCall::Trace(c) => c.answer(trace(c.cpu, c.cursor)),
        SystemCall::MemoryNodes(c) => c.answer(nodes::row(c.index as usize).ok_or(Errno::End)),
        SystemCall::Why(c) => c.answer(Ok(why::part(c.part))),
    }
}

fn cpu_row(from: u32) -> Result<CpuRow, Errno> {
    let now = time::now();
    let found = (from as usize..MAX_CPUS).find_map(|i| {
        let id = CpuId(i as u16);
        Some((percpu::cpu(id)?, POOLS.cpu_info(id, now)?))
    });
    let (cpu, i) = found.ok_or(Errno::End)?;
    Ok(CpuRow {
        id: cpu.id,
        online: i.online,
        pool: i.pool,
        coming: POOLS.coming(cpu.id),
        mpidr: cpu.mpidr & 0xff_00ff_ffff,
        idle: i.idle,
        interrupts: cpu.irqs.load(Ordering::Relaxed),
    })
}

/// The first decision of a CPU at or behind a cursor. The first question about a pool begins its recording.
fn trace(cpu: CpuId, cursor: u64) -> Result<TraceRow, Errno> {
    let pool = POOLS
        .cpu_info(cpu, time::now())
        .ok_or(Errno::NoSuch)?
        .pool
        .ok_or(Errno::Busy)?;
    if !POOLS.recording(pool).map_err(why::said)? {
        if !heap::reserve(2 * TRACE as usize * 48) {
            return Err(Errno::NoMemory);
        }
        POOLS.record(pool, TRACE, time::now()).map_err(why::said)?;
        return Err(Errno::End);
    }
    // One stretch of the ring a call: whoever asks comes again for the next.
    match POOLS.decision_from(pool, cpu, cursor).map_err(why::said)? {
        Look::Found(n, d) => {
            let domain = d.vcpu.and_then(|v| POOLS.vcpu_info(v, d.at).ok());
            Ok(TraceRow {
                next: n + 1,
                at: d.at,
                what: Label::truncated(if d.idle { "idle" } else { "run" }),
                vcpu: d.vcpu,
                domain: domain.map(|i| i.domain),
                detail: d.until.map_or(0, |t| t.since(d.at).0),
            })
        }
        Look::Before(n) => Ok(TraceRow {
            next: n,
            at: time::now(),
            what: Label::truncated(MORE),
            vcpu: None,
            domain: None,
            detail: 0,
        }),
        Look::End => Err(Errno::End),
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
        5 => ("ipis-cross-pool", irq::CROSS_IPIS.load(Ordering::Relaxed)),
        6 => ("wakes-cross-pool", irq::CROSS_WAKES.load(Ordering::Relaxed)),
        7 => ("end-piece-longest-ns", end::longest_piece()),
        8 => ("end-pieces-cross-pool", end::pieces_elsewhere()),
        _ => {
            // Then the exits of all vCPUs there are and have been, summed.
            let i = index - 9;
            let Some(name) = counters::NAMES.get(i) else {
                // At last the boosts of all vCPUs there have been.
                let boost = (i - counters::NAMES.len()) as u32;
                return super::group::boosts(&POOLS.all_stats(), boost);
            };
            (*name, crate::domain::table::counted(i))
        }
    };
    Ok(Counter {
        value,
        name: Text::truncated(name),
    })
}
