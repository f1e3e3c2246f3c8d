//! The boot story, top to bottom: from the device tree to a dom0 prompt.
//!
//! Runs once on the boot CPU (`boot_main`), and in short on each other CPU (`secondary_main`). What cannot be done
//! without ends in one clear line and a stopped machine; everything else is reported and left out.

use crate::arch::{self, image, mmu, sysreg as regs};
use crate::domain::recipe::{Blob, Recipe};
use crate::domain::{life, recipe};
use crate::mem::{PAGE, frames, heap, nodes, stage1};
use crate::percpu::{self, Cpu};
use crate::run::{self, POOLS};
use crate::{
    console, doorbell, firmware, given, hypercall, irq, logger, panic, payload, placement, power,
    record, sysreg, time,
};
use abi::{CpuId, CpuSet, MAX_CPUS, PoolId, Span};
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;
use board::config::{Config, Devices, DomainConfig, Ground, Restart, Severity};
use board::{Board, GicDesc, Region, Start};
use core::fmt::Write;
use core::ops::Range;
use core::sync::atomic::Ordering;
use drivers::gic::RedistRegion;
use drivers::power::{BcmPm, Psci, SystemPower, spin_table};
use drivers::{Gic, Uart, VIface};
use log::LevelFilter;
use pools::VcpuParams;

/// Pages of a CPU's stack (the boot CPU's is in the image).
pub const STACK_PAGES: usize = 8;
/// Pages of the stack for faults of EL2 itself.
pub const EMERGENCY_PAGES: usize = 2;
/// How long the other CPUs may take to come up.
const CPU_PATIENCE: Span = Span::ms(500);

/// Bytes at the start of a cache line: they are copied by lines then.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

static DOM0_SHIM: &Aligned<[u8]> = &Aligned(*include_bytes!(env!("TARN_DOM0_SHIM")));
static DEMO_GUEST: &Aligned<[u8]> = &Aligned(*include_bytes!(env!("TARN_DEMO_GUEST")));

/// Ends a boot that cannot go on.
fn fatal(dtb: Option<&[u8]>, why: core::fmt::Arguments) -> ! {
    log::error!("{why}");
    log::error!("Tarn cannot go on; machine stopped");
    // Only before the final map is on, and only if the console has no UART yet.
    if let Some(uart) = dtb.and_then(early_uart) {
        console::attach(uart);
    }
    console::flush();
    arch::halt()
}

/// The console's UART by the early map, for a boot that ends early.
fn early_uart(dtb: &[u8]) -> Option<Uart> {
    let desc = board::find_uart(dtb)?;
    let regs = mmu::early_device(desc.regs.base(), desc.regs.size())?;
    Uart::new(desc.kind, regs).ok()
}

/// The device tree, checked as far as its header goes.
fn device_tree(at: usize) -> Result<&'static [u8], board::BoardError> {
    // The early map covers the 1 GiB block around the address; a tree must not reach out of it.
    if at == 0 || at >> 48 != 0 {
        return board::header_size(&[]).map(|_| &[][..]);
    }
    let room = (1usize << 30) - (at & ((1 << 30) - 1));
    // SAFETY: mapped by boot.s; firmware's memory, which nobody writes from now on.
    let head = unsafe { core::slice::from_raw_parts(at as *const u8, room.min(40)) };
    let size = board::header_size(head)?;
    // SAFETY: as above; a tree of a size that reaches out of the block is cut there and fails to parse.
    Ok(unsafe { core::slice::from_raw_parts(at as *const u8, size.min(room)) })
}

/// Entered at a level other than EL2: says so where it can.
#[unsafe(no_mangle)]
extern "C" fn wrong_el(dtb: usize, el: u64) {
    heap::init();
    let mut line = heapless::String::<160>::new();
    let _ = writeln!(
        line,
        "Tarn: entered at EL{el}, but a hypervisor needs EL2; stopped. QEMU: -machine virtualization=on. Boards: the \
         firmware must start it at EL2"
    );
    console::log_line(&line);
    if let Some(uart) = device_tree(dtb).ok().and_then(early_uart) {
        console::attach(uart);
        console::flush();
    }
}

#[unsafe(no_mangle)]
extern "C" fn boot_main(dtb: usize) -> ! {
    time::start();
    heap::init();
    logger::init(LevelFilter::Info);
    let tree = match device_tree(dtb) {
        Ok(t) => t,
        Err(e) => fatal(
            None,
            format_args!("no device tree at {dtb:#x}, the address in x0: {e}"),
        ),
    };
    let mut board = discover(tree);
    let _ = time::init(board.timer.frequency);
    options(board.bootargs);

    let payload = match payload::region(&board, tree) {
        Ok(p) => p,
        Err(e) => fatal(Some(tree), format_args!("system image: {e}")),
    };
    if let Some(e) = payload.and_then(|p| payload::reserve(&mut board, p).err()) {
        fatal(Some(tree), format_args!("system image: {e}"));
    }
    let cpus = memory(&board, tree, payload);
    console_up(&board);
    log::info!(
        "{} on {}: {} CPUs, {} MiB of RAM, image at {:#x}",
        hypercall::VERSION,
        if board.model.is_empty() {
            "an unnamed board"
        } else {
            board.model
        },
        board.cpus.len(),
        board.ram.iter().map(Region::size).sum::<u64>() >> 20,
        image::all().start
    );
    board
        .notes
        .iter()
        .for_each(|n| log::warn!("device tree: {n}"));
    life::stir(board.rng_seed);
    if time::frequency() == 0 {
        fatal(
            None,
            format_args!(
                "timer: CNTFRQ_EL0 is zero and the tree's timer node has no clock-frequency"
            ),
        );
    }
    nodes::init(
        board
            .nodes
            .iter()
            .map(|(r, n)| (r.base() as usize..r.end() as usize, *n)),
    );
    power_up(&board);
    interrupts(&board);
    let here = cpus[0];
    cpu_init(here);
    here.up.store(true, Ordering::Release);
    console_irq(&board);
    sysreg::init();
    hypercall::init(&board);

    let read = match payload {
        None => Config::from_dtb(tree, &board),
        Some(region) => payload::config(&board, region),
    };
    let config = read.unwrap_or_else(|e| {
        log::error!("configuration: {e}; going on without it");
        Config::bare(&board)
    });
    options(config.bootargs);
    for n in &config.notes {
        match n.severity {
            Severity::Refused => log::warn!("{n}; skipped"),
            Severity::Warning => log::warn!("{n}"),
        }
    }
    let pools = placement::make_pools(&config, &board, CpuSet::first(cpus.len()));
    start_cpus(&board, &cpus);
    make_domains(&config, &pools, payload.is_none(), tree, &board);
    placement::say_shortage(&pools);
    hypercall::set_script(config.script);
    log::info!("Tarn keeps {} KiB of memory", hypercall::kept() / 1024);
    arch::enter_idle(here)
}

/// The machine, from its tree. Apart, and boxed, since the value takes 20 KiB and the stack should hold it once only.
#[inline(never)]
fn discover(tree: &'static [u8]) -> Box<Board<'static>> {
    match Board::from_dtb(tree, regs::mpidr_el1()) {
        Ok(b) => Box::new(b),
        Err(e) => fatal(Some(tree), format_args!("device tree: {e}")),
    }
}

/// Boot options, separated by spaces; unknown ones are reported and ignored.
fn options(args: &str) {
    for word in args.split_ascii_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let ok = match (key, value) {
            // Linux's numbers: a command line shared with a kernel is common on boards.
            ("loglevel" | "panic", v) if v.parse::<u32>().is_ok() => true,
            ("loglevel", v) => v.parse::<LevelFilter>().map(log::set_max_level).is_ok(),
            ("panic", "halt") => true,
            ("panic", "reset") => {
                panic::RESET.store(true, Ordering::Relaxed);
                true
            }
            ("pool0", v) => match CpuSet::parse(v).filter(|s| s.contains(CpuId::BOOT)) {
                Some(cpus) => {
                    placement::POOL0.call_once(|| cpus);
                    true
                }
                None => false,
            },
            ("record", v) => v
                .parse()
                .map(|n: u32| record::ENTRIES.store(n, Ordering::Relaxed))
                .is_ok(),
            // What a board's own Linux command line says is not ours to complain about.
            ("console" | "root" | "rw" | "ro" | "quiet" | "earlycon" | "init" | "rdinit", _) => {
                true
            }
            _ => false,
        };
        if !ok {
            log::warn!(
                "boot option {word:?}: unknown (loglevel=off|error|warn|info|debug|trace, panic=halt|reset, pool0=LIST with CPU 0, record=N)"
            );
        }
    }
}

/// Takes the memory over: allocator, final map, one block and one stack per CPU.
fn memory(board: &Board, tree: &'static [u8], payload: Option<Region>) -> Vec<&'static Cpu> {
    let img = image::all();
    let taken = [
        Region::between(img.start as u64, img.end as u64),
        Region::new(tree.as_ptr() as u64, tree.len() as u64),
        payload,
    ];
    let taken: heapless::Vec<Region, 3> = taken.into_iter().flatten().collect();
    let free = match board.free_ram(&taken) {
        Ok(f) => f,
        Err(_) => fatal(Some(tree), format_args!("memory: too many reserved pieces")),
    };
    // Only what the early map covers may be touched before the final map is on.
    const GIB: u64 = 1 << 30;
    let near = Region::new(img.start as u64 & !(GIB - 1), GIB);
    let mut far: Vec<Range<usize>> = Vec::new();
    for r in &free {
        let (mut a, mut b) = (r.base(), r.end());
        if let Some(n) = near.filter(|n| n.overlaps(r)) {
            if a < n.base() {
                far.push(a as usize..n.base() as usize);
                a = n.base();
            }
            if b > n.end() {
                far.push(n.end() as usize..b as usize);
                b = n.end();
            }
            // SAFETY: free RAM by the tree, inside the early map, which stage1 will map at the same place.
            unsafe { frames::add(a as usize, b as usize) };
        } else {
            far.push(a as usize..b as usize);
        }
    }

    let mut holes: Vec<Range<usize>> = Vec::new();
    for r in &board.reserved {
        if matches!(r.why, board::ReservedBy::Node { no_map: true }) {
            // Whole pages: the map knows no smaller hole.
            let (from, to) = (r.region.base() as usize, r.region.end() as usize);
            holes.push(from & !(PAGE - 1)..to.checked_next_multiple_of(PAGE).unwrap_or(to));
        }
    }
    let mut blocks: Vec<&'static Cpu> = Vec::new();
    for (i, desc) in board.cpus.iter().enumerate().take(MAX_CPUS) {
        let (bottom, top, emergency) = if i == 0 {
            (
                image::boot_guard() + PAGE,
                image::boot_stack_top(),
                image::boot_emergency_top(),
            )
        } else {
            match (
                stage1::new_stack(STACK_PAGES),
                frames::alloc(EMERGENCY_PAGES * PAGE, PAGE),
            ) {
                (Ok((guard, top)), Some(e)) => {
                    holes.push(guard..guard + PAGE);
                    (guard + PAGE, top, e.leak() + EMERGENCY_PAGES * PAGE)
                }
                _ => {
                    log::error!("cpu{i}: no memory for its stack; left out");
                    break;
                }
            }
        };
        let cpu = Box::leak(Box::new(Cpu::new(
            CpuId(i as u16),
            desc.mpidr,
            bottom,
            top,
            emergency,
        )));
        cpu.publish();
        blocks.push(cpu);
    }
    let ram: Vec<Range<usize>> = board
        .ram
        .iter()
        .map(|r| r.base() as usize..r.end() as usize)
        .collect();
    // SAFETY: the tree's RAM; the image and the boot stack are mapped by activate itself.
    if let Err(e) = unsafe {
        stage1::activate(
            &ram,
            &holes,
            tree.as_ptr_range().start as usize..tree.as_ptr_range().end as usize,
        )
    } {
        fatal(
            Some(tree),
            format_args!("memory: EL2's own map cannot be made: {e:?}"),
        );
    }
    for r in far {
        // SAFETY: free RAM by the tree, mapped now.
        unsafe { frames::add(r.start, r.end) };
    }
    percpu::set_this(blocks[0]);
    blocks
}

fn console_up(board: &Board) {
    let Some(desc) = &board.uart else { return };
    let uart = stage1::map_device(desc.regs.base(), desc.regs.size())
        .map_err(|e| log::error!("{}: cannot be mapped: {e:?}", desc.path))
        .and_then(|m| Uart::new(desc.kind, m).map_err(|e| log::error!("{}: {e}", desc.path)));
    if let Ok(u) = uart {
        console::attach(u);
    }
}

fn power_up(board: &Board) {
    if let Some(p) = &board.psci {
        power::init(SystemPower::Psci(Psci::new(p.conduit)));
        return;
    }
    let Some(regs) = &board.watchdog else {
        log::warn!(
            "neither PSCI nor a known watchdog in the device tree: this machine cannot be switched off by software"
        );
        return;
    };
    let block = stage1::map_device(regs.base(), regs.size())
        .map_err(|e| alloc::format!("{e:?}"))
        .and_then(|m| BcmPm::new(m).map_err(|e| e.to_string()));
    match block {
        Ok(b) => power::init(SystemPower::BcmPm(b)),
        Err(e) => log::error!("power management block at {regs}: {e}; the machine cannot be reset"),
    }
}

/// The interrupt controller, physical and virtual; nothing works without it.
fn interrupts(board: &Board) {
    if let Err(e) = gic(board) {
        fatal(None, format_args!("interrupt controller: {e}"));
    }
}

fn gic(board: &Board) -> Result<(), alloc::string::String> {
    let map = |r: &Region| {
        stage1::map_device(r.base(), r.size()).map_err(|e| alloc::format!("{r:?}: {e:?}"))
    };
    let text = |e: drivers::GicError| e.to_string();
    let boot = percpu::this().ok_or("no CPU block")?;
    // SAFETY: no guest is loaded: physical interrupts come to EL2 from here on.
    unsafe { regs::set_hcr_el2(run::hcr() & !1) };
    let (gic, viface) = match &board.gic {
        GicDesc::V2 {
            gicd,
            gicc,
            gich,
            gicv,
            ..
        } => {
            let g = Gic::v2(map(gicd)?, map(gicc)?).map_err(text)?;
            let v =
                VIface::v2(map(gich)?, gicv.base() as usize, gicv.size() as usize).map_err(text)?;
            g.init_dist().map_err(text)?;
            g.init_cpu(boot.id, boot.mpidr).map_err(text)?;
            (g, v)
        }
        GicDesc::V3 {
            gicd,
            gicr,
            stride,
            gicv,
            ..
        } => {
            let mut regions = Vec::new();
            for r in gicr {
                regions.push(RedistRegion {
                    regs: map(r)?,
                    stride: stride.map(|s| s as usize),
                });
            }
            let g = Gic::v3(map(gicd)?, regions).map_err(text)?;
            g.init_dist().map_err(text)?;
            g.init_cpu(boot.id, boot.mpidr).map_err(text)?;
            let gicv = gicv.map(|r| (r.base() as usize, r.size() as usize));
            (g, VIface::v3(gicv).map_err(text)?)
        }
    };
    log::info!(
        "GICv{}: {} interrupts, {} list registers",
        gic.version(),
        gic.lines(),
        viface.lr_count()
    );
    irq::init(
        gic,
        viface,
        board.timer.hyp.intid,
        board.timer.virt.intid,
        board.gic.maintenance().intid,
    );
    Ok(())
}

/// What every CPU does for itself before it may run guests.
fn cpu_init(cpu: &'static Cpu) -> bool {
    // SAFETY: this CPU's boot path; no entry from a guest has happened yet.
    let local = unsafe { cpu.local() };
    // First, since the virtual interface wants interrupts routed to EL2.
    run::init_cpu(local);
    if let Err(e) = irq::init_cpu(cpu) {
        log::error!("cpu{}: {e}; left out", cpu.id);
        return false;
    }
    true
}

#[unsafe(no_mangle)]
extern "C" fn secondary_main(cpu: &'static Cpu) -> ! {
    if !cpu_init(cpu) {
        arch::halt();
    }
    sysreg::join();
    firmware::join();
    cpu.up.store(true, Ordering::Release);
    arch::enter_idle(cpu)
}

/// Starts the other CPUs and waits a bounded time for them.
fn start_cpus(board: &Board, cpus: &[&'static Cpu]) {
    let entry = arch::secondary_entry();
    for (desc, cpu) in board.cpus.iter().zip(cpus).skip(1) {
        let started = match desc.start {
            Start::Psci(conduit) => {
                // SAFETY: the entry is boot.s, which needs nothing but the tables published before.
                unsafe { Psci::new(conduit).cpu_on(desc.mpidr, entry, 0) }
                    .map_err(|e| e.to_string())
            }
            Start::SpinTable { release } if !may_release(board, release) => {
                Err("its cpu-release-addr is not in RAM that firmware keeps for it".to_string())
            }
            Start::SpinTable { release } => {
                // SAFETY: the tree says that a CPU polls this word of memory; it lies in RAM, mapped writable.
                let done = unsafe { spin_table::start(release, entry) };
                done.map_err(|e| e.to_string())
            }
            Start::Unknown => Err("its enable-method is neither psci nor spin-table".to_string()),
        };
        if let Err(e) = started {
            log::error!(
                "cpu{} (MPIDR {:#x}) cannot be started: {e}; left out",
                cpu.id,
                cpu.mpidr
            );
            POOLS.absent(cpu.id);
        }
    }
    let deadline = time::now() + CPU_PATIENCE;
    let waiting = |c: &&&Cpu| !c.up.load(Ordering::Acquire);
    while cpus.iter().any(|c| waiting(&c)) && time::now() < deadline {
        <arch::Relax as spin::RelaxStrategy>::relax();
    }
    for c in cpus.iter().filter(waiting) {
        log::error!(
            "cpu{} (MPIDR {:#x}) did not come up; left out",
            c.id,
            c.mpidr
        );
        POOLS.absent(c.id);
    }
    log::info!(
        "{} of {} CPUs are up",
        cpus.iter().filter(|c| !waiting(c)).count(),
        cpus.len()
    );
}

/// Whether a spin table's word may be written: RAM, and either reserved by the tree or below anything of ours. A word
/// in memory we gave to the allocator, or in the image, would corrupt EL2.
fn may_release(board: &Board, release: u64) -> bool {
    let Some(word) = Region::new(release, 8) else {
        return false;
    };
    let img = image::all();
    let end = payload::range().map_or(img.end, |p| p.end);
    let in_image = Region::between(img.start as u64, end as u64).is_none_or(|i| i.overlaps(&word));
    let reserved = board.reserved.iter().any(|r| {
        r.region.covers(&word) && !matches!(r.why, board::ReservedBy::Node { no_map: true })
    });
    // The first page is never given out (frames::add starts above it): where the Pi's firmware keeps its table.
    board.is_ram(&word) && !in_image && (reserved || word.end() <= PAGE as u64)
}

/// dom0, then the configured domains; if there are none, the demo guest where that is wanted.
fn make_domains(config: &Config, pools: &[PoolId], demo: bool, tree: &'static [u8], board: &Board) {
    let mut given: Vec<Devices> = Vec::new();
    let mut list = alloc::vec![Recipe {
        name: "dom0".into(),
        memory_kib: board::config::DOM0_KIB,
        vcpus: 1,
        gic: irq::guest_version(),
        pool: PoolId::POOL0,
        vpl011: false,
        pl011_at: board::guest::layout::PL011,
        console: true,
        spis: 32,
        kernel: Blob::of(&DOM0_SHIM.0),
        ramdisk: None,
        device_tree: None,
        devices: Devices::default(),
        load: None,
        tree_at: None,
        roms: Vec::new(),
        static_mem: Vec::new(),
        shared: Vec::new(),
        doorbells: Vec::new(),
        direct_map: false,
        bootargs: Default::default(),
        affinity: Vec::new(),
        params: VcpuParams::DEFAULT,
        boost_set: false,
        cap: None,
        restart: Restart::Always,
        paused: false,
    }];
    let mut kept: Vec<&DomainConfig> = Vec::new();
    let mut memory = given::SharedMemory::new(config);
    let ground = Ground {
        tree,
        board,
        used: &given::used(tree),
        marks: demo,
    };
    for d in &config.domains {
        let mut r = from_config(d, pools);
        match given::to(&mut r, d, config, ground, &given)
            .and_then(|()| memory.give(&mut r, d, pools))
        {
            Ok(()) => {
                given.push(r.devices.clone());
                list.push(r);
                kept.push(d);
            }
            Err(e) => log::warn!("{e}; skipped"),
        }
    }
    given::wire(&mut list[1..], &kept);
    if config.domains.is_empty() && demo {
        list.push(Recipe {
            name: "demo".into(),
            memory_kib: 8192,
            vcpus: 2,
            vpl011: true,
            kernel: Blob::of(&DEMO_GUEST.0),
            restart: Restart::OnReset,
            ..list[0].clone()
        });
    }
    let n = list.len();
    doorbell::init(n);
    recipe::init(list);
    for i in 0..n {
        if let Err(e) = life::create(i, None) {
            log::error!("domain {}: {e}", recipe::all()[i].name);
        }
    }
}

fn from_config(d: &DomainConfig, pools: &[PoolId]) -> Recipe {
    let blob = |m: &board::config::Module| Blob {
        at: m.region.base() as usize,
        len: m.region.size() as usize,
    };
    Recipe {
        name: d.name.clone(),
        // Whole pages.
        memory_kib: d.memory_kib.next_multiple_of(4),
        vcpus: d.cpus,
        gic: d.gic,
        pool: pools.get(d.pool).copied().unwrap_or(PoolId::POOL0),
        vpl011: d.vpl011,
        pl011_at: d.pl011_at,
        console: d.vpl011,
        spis: given::spis(d.nr_spis.unwrap_or(0)),
        kernel: blob(&d.kernel),
        ramdisk: d.ramdisk.as_ref().map(blob),
        device_tree: d.device_tree.as_ref().map(blob),
        devices: Devices::default(),
        load: d.load,
        tree_at: d.tree_at,
        roms: d.roms.clone(),
        static_mem: d.static_mem.clone(),
        shared: Vec::new(),
        doorbells: Vec::new(),
        direct_map: d.direct_map,
        bootargs: d.kernel.bootargs.to_string(),
        affinity: d.vcpus.clone(),
        params: {
            let mut start = VcpuParams::DEFAULT;
            start.weight = d.weight.unwrap_or(start.weight);
            placement::vcpu_params(&d.node, &d.params, start)
        },
        boost_set: d.params.iter().any(|p| p.name.starts_with("boost-")),
        cap: d.cap,
        restart: d.restart,
        paused: d.paused,
    }
}

/// The console's interrupt.
fn console_irq(board: &Board) {
    let Some(desc) = &board.uart else { return };
    let Some(irq) = desc.irq else {
        log::warn!("{}: has no interrupt: nothing can be typed", desc.path);
        return;
    };
    if let Err(e) = irq::attach_uart(irq.intid, irq.trigger, CpuId::BOOT) {
        log::error!("{}: interrupt {}: {e}", desc.path, irq.intid);
        return;
    }
    console::listen();
}
