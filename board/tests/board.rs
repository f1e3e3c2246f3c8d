//! Discovery on whole trees: QEMU's virt machine as it dumps it, and a tree shaped like the Raspberry Pi 4's.

use tarn_board::*;

fn region(base: u64, size: u64) -> Region {
    Region::new(base, size).unwrap()
}

fn level(intid: u32) -> Irq {
    Irq {
        intid,
        trigger: Trigger::Level,
    }
}

const GIC2_SMP4: &[u8] = include_bytes!("fixtures/virt-gic2-smp4.dtb");
const GIC3_SMP4: &[u8] = include_bytes!("fixtures/virt-gic3-smp4.dtb");
const GIC3_SMP64: &[u8] = include_bytes!("fixtures/virt-gic3-smp64.dtb");
const PI4: &[u8] = include_bytes!("fixtures/pi4-like.dtb");

#[test]
fn virt_with_gicv2() {
    let board = Board::from_dtb(GIC2_SMP4, 0x8000_0000).unwrap();
    assert_eq!(board.notes, [], "QEMU's own tree gives no cause for notes");
    assert_eq!(board.model, "linux,dummy-virt");
    let mpidrs: Vec<u64> = board.cpus.iter().map(|c| c.mpidr).collect();
    assert_eq!(mpidrs, [0, 1, 2, 3]);
    assert!(
        board
            .cpus
            .iter()
            .all(|c| c.start == Start::Psci(Conduit::Smc) && c.phandle != 0)
    );
    assert_eq!(board.ram[..], [region(0x4000_0000, 0x4000_0000)]);
    assert_eq!(
        board.gic,
        GicDesc::V2 {
            gicd: region(0x0800_0000, 0x1_0000),
            gicc: region(0x0801_0000, 0x1_0000),
            gich: region(0x0803_0000, 0x1_0000),
            gicv: region(0x0804_0000, 0x1_0000),
            maintenance: level(25),
        }
    );
    assert_eq!(
        board.timer,
        TimerDesc {
            phys: Some(level(30)),
            virt: level(27),
            hyp: level(26),
            frequency: None
        }
    );
    let uart = board.uart.unwrap();
    assert_eq!(
        (uart.kind, uart.regs),
        (UartKind::Pl011, region(0x0900_0000, 0x1000))
    );
    assert_eq!(
        (uart.irq, uart.chosen, uart.path.as_str()),
        (Some(level(33)), true, "/pl011@9000000")
    );
    let psci = PsciDesc {
        conduit: Conduit::Smc,
        version: PsciVersion::V1_0,
        cpu_on: None,
    };
    assert_eq!(board.psci, Some(psci));
    assert_eq!(board.rng_seed.len(), 32);
}

#[test]
fn virt_with_gicv3() {
    let board = Board::from_dtb(GIC3_SMP4, 0).unwrap();
    assert_eq!(board.notes, []);
    let GicDesc::V3 {
        gicd,
        gicr,
        stride,
        gicv,
        maintenance,
    } = board.gic
    else {
        panic!("{:?}", board.gic)
    };
    assert_eq!(gicd, region(0x0800_0000, 0x1_0000));
    assert_eq!(gicr[..], [region(0x080a_0000, 0xf6_0000)]);
    assert_eq!((stride, gicv, maintenance), (None, None, level(25)));
}

#[test]
fn sixty_four_cpus_whichever_booted() {
    let board = Board::from_dtb(GIC3_SMP64, 0).unwrap();
    assert_eq!(board.cpus.len(), 64);
    // QEMU gives 16 CPUs a cluster on GICv3.
    assert_eq!(board.cpus[17].mpidr, 0x101);
    let other = Board::from_dtb(GIC3_SMP64, 0x8000_0101).unwrap();
    assert_eq!(other.cpus[0].mpidr, 0x101);
    assert_eq!(other.cpus[1].mpidr, 0);
    assert_eq!(other.cpus[17].mpidr, 0x100);
    assert_eq!(other.cpus[18].mpidr, 0x102);
    assert_eq!(other.cpu_by_mpidr(0x101).unwrap().0, 0);
    assert_eq!(other.cpu_by_phandle(board.cpus[17].phandle).unwrap().0, 0);
    assert_eq!(other.cpu_by_phandle(0), None);
    let error = Board::from_dtb(GIC3_SMP64, 0x8_0000).unwrap_err();
    assert_eq!(error.node.as_str(), "/cpus");
}

#[test]
fn pi4_alike() {
    let board = Board::from_dtb(PI4, 0x8000_0000).unwrap();
    let starts: Vec<Start> = board.cpus.iter().map(|c| c.start).collect();
    let slot = |release| Start::SpinTable { release };
    assert_eq!(starts, [slot(0xd8), slot(0xe0), slot(0xe8), slot(0xf0)]);
    assert_eq!(board.cpus[1].capacity, Some(1024));
    assert_eq!(board.psci, None);
    assert_eq!(board.watchdog, Some(region(0xfe10_0000, 0x114)));
    assert_eq!(
        board.ram[..],
        [region(0, 0x3b40_0000), region(0x4000_0000, 0x4000_0000)]
    );
    let reserved: Vec<_> = board.reserved.iter().map(|r| (r.region, r.why)).collect();
    assert_eq!(
        reserved,
        [
            (region(0, 0x1000), ReservedBy::Header),
            (region(0x0200_0000, 0x10_0000), ReservedBy::Initrd),
            (
                region(0x3b00_0000, 0x40_0000),
                ReservedBy::Node { no_map: true }
            ),
        ]
    );
    let free = board.free_ram(&[region(0x8_0000, 0x10_0000)]).unwrap();
    assert_eq!(
        free[..],
        [
            Region::between(0x1000, 0x8_0000).unwrap(),
            Region::between(0x18_0000, 0x200_0000).unwrap(),
            Region::between(0x210_0000, 0x3b00_0000).unwrap(),
            region(0x4000_0000, 0x4000_0000),
        ]
    );
    assert_eq!(
        board.gic,
        GicDesc::V2 {
            gicd: region(0xff84_1000, 0x1000),
            gicc: region(0xff84_2000, 0x2000),
            gich: region(0xff84_4000, 0x2000),
            gicv: region(0xff84_6000, 0x2000),
            maintenance: level(25),
        }
    );
    let uart = board.uart.unwrap();
    assert_eq!(
        (uart.kind, uart.regs.base()),
        (UartKind::Pl011, 0xfe20_1000)
    );
    assert_eq!(
        (uart.irq, uart.baud, uart.chosen),
        (Some(level(153)), Some(115_200), true)
    );
    assert_eq!(board.bootargs, "loglevel=debug");
    let notes: Vec<String> = board.notes.iter().map(|n| n.to_string()).collect();
    assert_eq!(
        notes,
        [
            "/reserved-memory/linux,cma: size: ignored: asks for memory anywhere; only reg is honoured"
        ]
    );
}
