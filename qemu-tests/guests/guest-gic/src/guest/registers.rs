//! Reset values and read-back of every register and width the architecture fixes.
use guest_rt::cpu;
use guest_rt::gic::{Gic, reg, v2, v3};
use guest_rt::mmio::Window;
use guest_rt::testing::{Hex, case, expect};
use guest_rt::{machine, mrs, msr};

/// INTIDs 40-63 in the second word of a bit-per-interrupt register.
const FREE: u32 = 0xffff_ff00;
/// Priority bits that every implementation has.
const PRIORITY: u32 = 0xf8f8_f8f8;

fn hex(value: u32) -> Hex {
    Hex(u64::from(value))
}

/// Before anything was written.
pub fn at_reset(gic: &Gic) {
    let dist = gic.dist();
    expect("reset/lines-at-least-64", gic.lines() >= 64, true);
    let pidr2 = if gic.version() == 3 { 0xffe8 } else { 0xfe8 };
    expect(
        "reset/arch-revision",
        dist.read32(pidr2) >> 4 & 0xf,
        u32::from(gic.version()),
    );
    expect(
        "reset/isenabler",
        hex(dist.read32(reg::ISENABLER + 4) & FREE),
        hex(0),
    );
    expect(
        "reset/ispendr",
        hex(dist.read32(reg::ISPENDR + 4) & FREE),
        hex(0),
    );
    expect(
        "reset/isactiver",
        hex(dist.read32(reg::ISACTIVER + 4)),
        hex(0),
    );
    expect(
        "reset/icfgr-sgi",
        hex(gic.frame(0).read32(reg::ICFGR)),
        hex(0xaaaa_aaaa),
    );
    match gic {
        Gic::V2(g) => {
            let cpus = machine().cpus().len() as u32;
            expect("reset/ctlr", hex(dist.read32(reg::CTLR)), hex(0));
            expect(
                "reset/typer-cpus",
                (dist.read32(reg::TYPER) >> 5 & 7) + 1,
                cpus,
            );
            expect("reset/gicc-ctlr", hex(g.cpu.read32(v2::CTLR)), hex(0));
            expect("reset/gicc-pmr", hex(g.cpu.read32(v2::PMR)), hex(0));
            expect(
                "reset/gicc-iidr-arch",
                g.cpu.read32(v2::IIDR) >> 16 & 0xf,
                2,
            );
        }
        Gic::V3(g) => {
            expect(
                "reset/ctlr-enables",
                hex(dist.read32(reg::CTLR) & 3),
                hex(0),
            );
            expect(
                "reset/ctlr-ds-are",
                hex(dist.read32(reg::CTLR) & 0x50),
                hex(0x50),
            );
            redistributors(g);
        }
    }
}

fn redistributors(g: &v3::V3) {
    let cpus = machine().cpus();
    let mut at = 0;
    let mut matched = 0;
    for (n, _) in cpus.iter().enumerate() {
        let typer = g.redist.read64(at + v3::GICR_TYPER);
        let affinity = typer >> 32;
        let mpidr = (affinity >> 24) << 32 | affinity & 0xff_ffff;
        matched += u32::from(cpus.contains(&mpidr));
        if n == 0 {
            expect(
                "reset/gicr-typer-low-half",
                g.redist.read32(at + v3::GICR_TYPER) == typer as u32,
                true,
            );
            expect(
                "reset/gicr-typer-high-half",
                u64::from(g.redist.read32(at + 12)) == affinity,
                true,
            );
            expect(
                "reset/gicr-arch-revision",
                g.redist.read32(0xffe8) >> 4 & 0xf,
                3,
            );
            expect(
                "reset/gicr-waker",
                hex(g.redist.read32(v3::GICR_WAKER) & 6),
                hex(6),
            );
        }
        expect("reset/gicr-last", typer & 1 << 4 != 0, n + 1 == cpus.len());
        expect("reset/gicr-processor-number", typer >> 8 & 0xffff, n as u64);
        at += if typer & 2 != 0 { 0x4_0000 } else { 0x2_0000 };
    }
    expect("reset/gicr-affinities", matched, cpus.len() as u32);
}

fn set_clear(name: &str, frame: Window, set: usize, clear: usize, mask: u32) {
    let pattern = if mask == FREE { 0xa5a5_a500 } else { mask };
    let cleared = if mask == FREE { 0x0505_0500 } else { 1 << 27 };
    frame.write32(set, pattern);
    frame.write32(set, 0);
    frame.write32(clear, 0);
    case(
        name,
        Hex(u64::from(frame.read32(set) & mask) << 32 | u64::from(frame.read32(clear) & mask)),
    );
    expect(
        "readback/set-is-or",
        hex(frame.read32(set) & mask),
        hex(pattern),
    );
    frame.write32(clear, cleared);
    expect(
        "readback/clear-is-and-not",
        hex(frame.read32(set) & mask),
        hex(pattern & !cleared),
    );
    frame.write32(clear, mask);
    expect("readback/all-clear", hex(frame.read32(set) & mask), hex(0));
}

/// What is written is read.
pub fn read_back(gic: &Gic) {
    let dist = gic.dist();
    if let Gic::V3(g) = gic {
        let at = g.redistributor();
        g.redist.write32(at + v3::GICR_WAKER, 0);
        expect(
            "readback/gicr-waker-awake",
            cpu::wait_until(1 << 30, || g.redist.read32(at + v3::GICR_WAKER) & 6 == 0),
            true,
        );
    }
    // A GICv2 SPI that targets nobody cannot be pending anywhere: give them a target first.
    (40..64).for_each(|spi| gic.route(spi, 0));
    set_clear(
        "readback/enable",
        dist,
        reg::ISENABLER + 4,
        reg::ICENABLER + 4,
        FREE,
    );
    set_clear(
        "readback/pending",
        dist,
        reg::ISPENDR + 4,
        reg::ICPENDR + 4,
        FREE,
    );
    set_clear(
        "readback/active",
        dist,
        reg::ISACTIVER + 4,
        reg::ICACTIVER + 4,
        FREE,
    );
    let timers = 1 << 27 | 1 << 30;
    set_clear(
        "readback/ppi-enable",
        gic.frame(27),
        reg::ISENABLER,
        reg::ICENABLER,
        timers,
    );
    set_clear(
        "readback/ppi-active",
        gic.frame(27),
        reg::ISACTIVER,
        reg::ICACTIVER,
        timers,
    );

    dist.write32(reg::IGROUPR + 4, 0x5a5a_5a00);
    expect(
        "readback/igroupr",
        hex(dist.read32(reg::IGROUPR + 4) & FREE),
        hex(0x5a5a_5a00),
    );
    dist.write32(reg::IGROUPR + 4, 0);

    dist.write32(reg::ICFGR + 12, 0xaa00_a0a0);
    expect(
        "readback/icfgr",
        hex(dist.read32(reg::ICFGR + 12) & 0xaaaa_aaaa),
        hex(0xaa00_a0a0),
    );
    dist.write32(reg::ICFGR + 12, 0);

    priorities(dist, 40);
    priorities(gic.frame(0), 0);
    priorities(gic.frame(27), 24);

    let typer = dist.read32(reg::TYPER);
    dist.write32(reg::TYPER, !typer);
    expect(
        "readback/typer-is-read-only",
        dist.read32(reg::TYPER) == typer,
        true,
    );
    let iidr = dist.read32(8);
    dist.write32(8, !iidr);
    expect("readback/iidr-is-read-only", dist.read32(8) == iidr, true);
    dist.write32(0x30, u32::MAX);
    expect("readback/reserved-0x30", hex(dist.read32(0x30)), hex(0));
    gic.frame(0).write32(reg::ICFGR, 0);
    expect(
        "readback/icfgr-sgi-fixed",
        hex(gic.frame(0).read32(reg::ICFGR)),
        hex(0xaaaa_aaaa),
    );
    match gic {
        Gic::V2(g) => v2_only(g),
        Gic::V3(g) => v3_only(g),
    }
}

fn priorities(frame: Window, intid: usize) {
    let at = reg::IPRIORITYR + intid;
    frame.write32(at, 0x1020_4080);
    case("readback/priority-word", hex(frame.read32(at) & PRIORITY));
    expect(
        "readback/priority-byte",
        hex(u32::from(frame.read8(at + 1))),
        hex(0x40),
    );
    frame.write8(at + 2, 0xf8);
    expect(
        "readback/priority-byte-in-word",
        hex(frame.read32(at) & PRIORITY),
        hex(0x10f8_4080),
    );
    frame.write32(at, u32::MAX);
    expect(
        "readback/priority-ones",
        hex(frame.read32(at) & PRIORITY),
        hex(PRIORITY),
    );
    frame.write32(at, 0);
    expect("readback/priority-zero", hex(frame.read32(at)), hex(0));
}

fn v2_only(g: &v2::V2) {
    let smp = machine().cpus().len() > 1;
    let all = (1u32 << machine().cpus().len().min(8)) - 1;
    expect(
        "readback/itargetsr-banked",
        hex(g.dist.read32(reg::ITARGETSR)),
        hex(if smp { 0x0101_0101 } else { 0 }),
    );
    g.dist.write32(reg::ITARGETSR, 0);
    expect(
        "readback/itargetsr-banked-fixed",
        hex(g.dist.read32(reg::ITARGETSR)),
        hex(if smp { 0x0101_0101 } else { 0 }),
    );
    g.dist.write32(reg::ITARGETSR + 40, 0xffff_ffff);
    let mask = all * 0x0101_0101;
    expect(
        "readback/itargetsr",
        hex(g.dist.read32(reg::ITARGETSR + 40) & mask),
        hex(if smp { all * 0x0101_0101 } else { 0 }),
    );
    g.dist.write8(reg::ITARGETSR + 41, 0);
    expect(
        "readback/itargetsr-byte",
        hex(g.dist.read32(reg::ITARGETSR + 40) & mask),
        hex(if smp { all * 0x0101_0001 } else { 0 }),
    );
    g.dist.write32(reg::CTLR, 3);
    expect("readback/ctlr", hex(g.dist.read32(reg::CTLR)), hex(3));
    g.dist.write32(reg::CTLR, 0);
    // SGIs as pending from CPUs 0 and, if there, 1. Not enabled at the CPU interface: nothing is delivered.
    let pending = 0x0003_0001 & mask;
    g.dist.write8(0xf20, 1);
    g.dist.write8(0xf22, all.min(3) as u8);
    expect(
        "readback/spendsgir",
        hex(g.dist.read32(0xf20)),
        hex(pending),
    );
    expect(
        "readback/spendsgir-byte",
        hex(u32::from(g.dist.read8(0xf22))),
        hex(pending >> 16),
    );
    expect(
        "readback/spendsgir-is-pending",
        hex(g.dist.read32(reg::ISPENDR) & 0xf),
        hex(5),
    );
    g.dist.write8(0xf12, 1);
    expect(
        "readback/cpendsgir-byte",
        hex(g.dist.read32(0xf10)),
        hex(pending & !0x1_0000),
    );
    g.dist.write32(0xf10, u32::MAX);
    expect("readback/cpendsgir", hex(g.dist.read32(0xf20)), hex(0));
    expect(
        "readback/cpendsgir-not-pending",
        hex(g.dist.read32(reg::ISPENDR) & 0xf),
        hex(0),
    );
    g.dist.write32(0xf24, 0x0101_0101);
    expect(
        "readback/spendsgir-word",
        hex(g.dist.read32(0xf24)),
        hex(0x0101_0101),
    );
    g.dist.write32(0xf14, 0x0101_0101);
    expect("readback/cpendsgir-word", hex(g.dist.read32(0xf24)), hex(0));
    g.cpu.write32(v2::PMR, 0xa8);
    expect(
        "readback/gicc-pmr",
        hex(g.cpu.read32(v2::PMR) & 0xf8),
        hex(0xa8),
    );
    g.cpu.write32(v2::BPR, 5);
    expect("readback/gicc-bpr", g.cpu.read32(v2::BPR), 5);
    g.cpu.write32(v2::CTLR, 0x201);
    expect(
        "readback/gicc-ctlr",
        hex(g.cpu.read32(v2::CTLR)),
        hex(0x201),
    );
    g.cpu.write32(v2::CTLR, 0);
    expect(
        "readback/gicc-rpr-idle",
        hex(g.cpu.read32(v2::RPR) & 0xf8),
        hex(0xf8),
    );
    expect(
        "readback/gicc-hppir-idle",
        g.cpu.read32(v2::HPPIR) & 0x3ff,
        1023,
    );
}

fn v3_only(g: &v3::V3) {
    let at = reg::IROUTER + 40 * 8;
    let affinity = 0x12_0034_5600;
    g.dist.write64(at, affinity);
    expect("readback/irouter", Hex(g.dist.read64(at)), Hex(affinity));
    expect(
        "readback/irouter-low",
        hex(g.dist.read32(at)),
        hex(0x34_5600),
    );
    expect(
        "readback/irouter-high",
        hex(g.dist.read32(at + 4)),
        hex(0x12),
    );
    g.dist.write32(at, 1 << 31);
    g.dist.write32(at + 4, 0);
    // With GICD_TYPER.No1N there need be no "any CPU"; QEMU keeps the bit all the same.
    if g.dist.read32(reg::TYPER) & 1 << 25 == 0 {
        expect("readback/irouter-any", Hex(g.dist.read64(at)), Hex(1 << 31));
    }
    g.dist.write64(at, 0);
    g.dist.write32(reg::CTLR, 2);
    expect(
        "readback/ctlr",
        hex(g.dist.read32(reg::CTLR) & 0x53),
        hex(0x52),
    );
    g.dist.write32(reg::CTLR, 0);
    let gicr = g.redistributor();
    let typer = g.redist.read64(gicr + v3::GICR_TYPER);
    g.redist.write32(gicr + 0x30, u32::MAX);
    expect(
        "readback/gicr-reserved-0x30",
        hex(g.redist.read32(gicr + 0x30)),
        hex(0),
    );
    g.redist.write64(gicr + v3::GICR_TYPER, !typer);
    expect(
        "readback/gicr-typer-is-read-only",
        g.redist.read64(gicr + v3::GICR_TYPER) == typer,
        true,
    );
    g.redist.write32(gicr + v3::GICR_WAKER, 2);
    expect(
        "readback/gicr-waker-asleep",
        cpu::wait_until(1 << 30, || g.redist.read32(gicr + v3::GICR_WAKER) & 6 == 6),
        true,
    );
    g.redist.write32(gicr + v3::GICR_WAKER, 0);
    // In the distributor the private interrupts' registers read as zero while affinity routing is on.
    g.dist.write32(reg::ISENABLER, u32::MAX);
    expect(
        "readback/dist-private-raz",
        hex(g.dist.read32(reg::ISENABLER)),
        hex(0),
    );
    g.dist.write32(reg::ITARGETSR + 40, u32::MAX);
    expect(
        "readback/itargetsr-res0",
        hex(g.dist.read32(reg::ITARGETSR + 40)),
        hex(0),
    );

    msr!("icc_sre_el1", mrs!("icc_sre_el1") | 1);
    expect("readback/icc-sre", mrs!("icc_sre_el1") & 1, 1);
    msr!("icc_pmr_el1", 0xa8);
    expect(
        "readback/icc-pmr",
        Hex(mrs!("icc_pmr_el1") & 0xf8),
        Hex(0xa8),
    );
    msr!("icc_bpr1_el1", 5);
    expect("readback/icc-bpr1", mrs!("icc_bpr1_el1"), 5);
    msr!("icc_ctlr_el1", 2);
    expect("readback/icc-ctlr-eoimode", mrs!("icc_ctlr_el1") & 3, 2);
    msr!("icc_ctlr_el1", 0);
    expect(
        "readback/icc-ctlr-pribits-at-least-5",
        (mrs!("icc_ctlr_el1") >> 8 & 7) >= 4,
        true,
    );
    msr!("icc_igrpen1_el1", 1);
    expect("readback/icc-igrpen1", mrs!("icc_igrpen1_el1"), 1);
    msr!("icc_igrpen1_el1", 0);
    expect(
        "readback/icc-rpr-idle",
        Hex(mrs!("icc_rpr_el1") & 0xf8),
        Hex(0xf8),
    );
    expect("readback/icc-hppir1-idle", mrs!("icc_hppir1_el1"), 1023);
}
