//! The physical halves against memory that plays the devices: which register gets which value, and what is refused.

extern crate std;
use super::*;
use crate::arch::{self, Memory};

const C0: CpuId = CpuId(0);

#[test]
fn special_intids_are_no_interrupts() {
    for id in 1020..1024 {
        assert_eq!(Ack::new(id, id), None);
    }
    assert_eq!(Ack::new(1019, 1019).unwrap().intid(), 1019);
    assert_eq!(Ack::new(4096, 4096).unwrap().intid(), 4096);
}

#[test]
fn waiting_has_an_end() {
    let mut polls = 0;
    let third = || {
        polls += 1;
        polls == 3
    };
    assert_eq!(wait("it", third), Ok(()));
    assert_eq!(wait("it", || false), Err(GicError::Timeout("it")));
}

/// A GICv2 with 96 INTIDs, of which the CPU that runs the test has interface `iface`.
fn v2(iface: u32) -> (Memory, Memory, Gic) {
    let (d, c) = (Memory::new(0x1000), Memory::new(0x2000));
    d.put(4, 2);
    // Left behind by firmware: SPI 32 goes to every CPU, edge.
    d.put(0x820, 0xff);
    d.put(0xc08, 2);
    let gic = Gic::v2(d.mmio(), c.mmio()).unwrap();
    gic.init_dist().unwrap();
    // What the banked target registers answer: PPIs 16-31 only, SGI targets are not implemented by all.
    d.put(0x810, 0x0101_0101 << iface);
    (d, c, gic)
}

#[test]
fn v2_distributor() {
    let (d, _c, gic) = v2(0);
    assert_eq!((gic.version(), gic.lines()), (2, 96));
    assert_eq!(d.get(0), 1, "forwarding on");
    for i in 1..3 {
        assert_eq!(
            [0x80, 0x180, 0x280, 0x380].map(|r| d.get(r + 4 * i)),
            [0, !0, !0, !0],
            "group, disabled, not pending, not active"
        );
    }
    assert_eq!(
        d.get(0x18c),
        0,
        "beyond the implemented ones nothing is touched"
    );
    for r in (0x420..0x460).step_by(4) {
        assert_eq!(d.get(r), 0xa0a0_a0a0);
    }
    assert_eq!(d.get(0x460), 0);
    assert_eq!((d.get(0x820), d.get(0xc08)), (0, 0), "no target, level");
}

#[test]
fn v2_cpu() {
    let (d, c, gic) = v2(2);
    // Bypass bits are firmware's.
    c.put(0, 0x1e0);
    gic.init_cpu(C0, 0x8000_0003).unwrap();
    assert_eq!(
        [0x100, 0x180, 0x380].map(|r| d.get(r)),
        [0xffff, 0xffff_0000, !0]
    );
    assert_eq!([0x400, 0x41c].map(|r| d.get(r)), [0xa0a0_a0a0; 2]);
    assert_eq!([0, 4].map(|r| c.get(r)), [0x1e0 | 1 << 9 | 1, 0xff]);
    // SGIs go to the interface that was learned; to a CPU that is not up, nowhere.
    d.put(0xf00, 0);
    gic.send_sgi(3, C0);
    assert_eq!(d.get(0xf00), 4 << 16 | 3);
    d.put(0xf00, 0x55);
    gic.send_sgi(3, CpuId(1));
    gic.send_sgi(3, CpuId(u16::MAX));
    assert_eq!(d.get(0xf00), 0x55);
    // Where only some PPIs exist, only their bytes tell.
    d.put(0x810, 0x2000_0000);
    gic.init_cpu(CpuId(1), 1).unwrap();
    arch::journal();
    gic.send_sgi_set(17, &CpuSet::ALL);
    assert_eq!(
        d.get(0xf00),
        (4 | 0x20) << 16 | 1,
        "a number beyond 15 wraps"
    );
    assert_eq!(arch::journal(), [("dmb_ishst", 0)]);
    // A GIC with one interface answers zero; one that answers two is not a GICv2.
    d.put(0x810, 0);
    gic.init_cpu(CpuId(2), 2).unwrap();
    d.put(0x810, 0x0303_0303);
    assert_eq!(gic.init_cpu(CpuId(3), 3), Err(GicError::BadCpu(CpuId(3))));
    assert_eq!(
        gic.init_cpu(CpuId(128), 3),
        Err(GicError::BadCpu(CpuId(128)))
    );
}

#[test]
fn v2_ack_keeps_the_sender() {
    let (_d, c, gic) = v2(0);
    arch::journal();
    c.put(0xc, 3 << 10 | 5);
    let ack = gic.ack().unwrap();
    assert_eq!(ack.intid(), 5);
    assert_eq!(
        arch::journal(),
        [("dmb_ld", 0)],
        "loads of the message stay behind"
    );
    gic.finish(ack);
    assert_eq!((c.get(0x10), c.get(0x1000)), (3 << 10 | 5, 3 << 10 | 5));
    for (iar, barriers) in [(15, 1), (16, 0)] {
        c.put(0xc, iar);
        assert_eq!(gic.ack().unwrap().intid(), iar);
        assert_eq!(arch::journal().len(), barriers);
    }
    c.put(0xc, 33);
    let ack = gic.ack().unwrap();
    gic.end(ack);
    assert_eq!(
        (c.get(0x10), c.get(0x1000)),
        (33, 3 << 10 | 5),
        "ended is not deactivated"
    );
    gic.deactivate_intid(33);
    assert_eq!(c.get(0x1000), 33);
    c.put(0xc, 1023);
    assert_eq!(gic.ack(), None);
    assert_eq!(arch::journal(), [], "no barrier where no SGI came");
}

#[test]
fn v2_settings_leave_neighbours_alone() {
    let (d, _c, gic) = v2(0);
    gic.init_cpu(C0, 0).unwrap();
    gic.enable(41, C0).unwrap();
    assert_eq!((d.get(0x828), d.get(0x104)), (0x0000_0100, 1 << 9));
    gic.set_priority(42, C0, 0x50).unwrap();
    assert_eq!(d.get(0x428), 0xa050_a0a0);
    gic.set_trigger(40, C0, Trigger::Edge).unwrap();
    gic.set_trigger(41, C0, Trigger::Edge).unwrap();
    assert_eq!(d.get(0xc08), 0b1010 << 16);
    gic.set_trigger(40, C0, Trigger::Level).unwrap();
    assert_eq!(d.get(0xc08), 0b1000 << 16);
    gic.set_active(27, C0, true).unwrap();
    assert_eq!(d.get(0x300), 1 << 27);
    assert_eq!(
        (gic.is_active(27, C0), gic.is_active(26, C0)),
        (Ok(true), Ok(false))
    );
    gic.set_active(27, C0, false).unwrap();
    assert_eq!(d.get(0x380), 1 << 27);
    gic.set_pending(64, C0, true).unwrap();
    assert_eq!((d.get(0x208), gic.is_pending(64, C0)), (1, Ok(true)));
    gic.disable(41, C0).unwrap();
    assert_eq!(d.get(0x184), 1 << 9);
}

#[test]
fn v2_refuses() {
    let (_d, _c, gic) = v2(0);
    for bad in [96, 1019, 1020, 1023, 4096, u32::MAX] {
        let e = GicError::BadIntId(bad);
        assert_eq!(gic.disable(bad, C0), Err(e));
        assert_eq!(gic.set_priority(bad, C0, 0), Err(e));
        assert_eq!(gic.set_trigger(bad, C0, Trigger::Edge), Err(e));
        assert_eq!(gic.set_active(bad, C0, true), Err(e));
        assert_eq!(gic.is_pending(bad, C0), Err(e));
        assert_eq!(gic.route_spi(bad, C0), Err(e));
    }
    assert_eq!(
        gic.enable(40, C0),
        Err(GicError::BadCpu(C0)),
        "this CPU is not up"
    );
    assert_eq!(gic.route_spi(20, C0), Err(GicError::BadIntId(20)));
    assert_eq!(
        gic.set_trigger(3, C0, Trigger::Edge),
        Err(GicError::BadIntId(3))
    );
    assert_eq!(gic.set_pending(3, C0, true), Err(GicError::BadIntId(3)));
    let small = Gic::v2(Memory::new(0x1000).mmio(), Memory::new(0x1000).mmio());
    assert!(
        matches!(small, Err(GicError::Registers(MmioError::TooSmall { .. }))),
        "no DIR there"
    );
}

/// A GICv3 with 288 INTIDs and these redistributors: per region, affinities (Aff3.Aff2.Aff1.Aff0 as a `u32`) of frames
/// that are `stride` apart, the last marked so.
fn v3(
    regions: &[(usize, Option<usize>, &[u32])],
    typer_bits: u32,
) -> (Memory, std::vec::Vec<Memory>, Gic) {
    let d = Memory::new(0x1_0000);
    d.put(4, 8);
    d.put(0xffe8, 0x3b);
    let mut memories = std::vec::Vec::new();
    let mut list = std::vec::Vec::new();
    for (stride, given, affinities) in regions {
        let m = Memory::new(stride * affinities.len());
        for (i, a) in affinities.iter().enumerate() {
            let last = if i + 1 == affinities.len() { 1 << 4 } else { 0 };
            m.put(stride * i + 8, last | typer_bits);
            m.put(stride * i + 12, *a);
        }
        list.push(RedistRegion {
            regs: m.mmio(),
            stride: *given,
        });
        memories.push(m);
    }
    let gic = Gic::v3(d.mmio(), list).unwrap();
    arch::journal();
    (d, memories, gic)
}

const K128: usize = 0x2_0000;

#[test]
fn v3_distributor() {
    let (d, _r, gic) = v3(&[(K128, None, &[0])], 0);
    // One word of extended SPIs.
    d.put(4, 8 | 1 << 8);
    gic.init_dist().unwrap();
    assert_eq!((gic.version(), gic.lines()), (3, 288));
    assert_eq!(d.get(0), 0x12, "affinity routing and Group 1");
    for i in 1..9 {
        assert_eq!(
            [0x80, 0x180, 0x280, 0x380, 0xd00].map(|r| d.get(r + 4 * i)),
            [!0, !0, !0, !0, 0],
            "group, disabled, not pending, not active"
        );
    }
    assert_eq!(
        (d.get(0x180), d.get(0x1a4)),
        (0, 0),
        "not the CPUs' own, not what does not exist"
    );
    assert_eq!(
        [0x41c, 0x420, 0x51c, 0x520].map(|r| d.get(r)),
        [0, 0xa0a0_a0a0, 0xa0a0_a0a0, 0]
    );
    assert_eq!(
        [0x1000, 0x1400, 0x2000, 0x201c, 0x2020].map(|r| d.get(r)),
        [!0, !0, 0xa0a0_a0a0, 0xa0a0_a0a0, 0]
    );
    d.put(0xffe8, 0x2b);
    assert_eq!(gic.init_dist(), Err(GicError::NotV3 { revision: 2 }));
}

#[test]
fn v3_cpu() {
    let (_d, r, gic) = v3(&[(K128, None, &[0, 1, 0x0100_0203])], 0);
    arch::set("icc_ctlr", 0, 4 << 8);
    let mpidr = 0x1_8100_0203;
    gic.init_cpu(C0, mpidr).unwrap();
    let sgi = 2 * K128 + 0x1_0000;
    assert_eq!(
        [0x80, 0x100, 0x180, 0x280, 0x380, 0x400, 0x41c].map(|o| r[0].get(sgi + o)),
        [!0, 0xffff, 0xffff_0000, !0, !0, 0xa0a0_a0a0, 0xa0a0_a0a0]
    );
    assert_eq!(
        (r[0].get(0x1_0180), r[0].get(K128 + 0x1_0180)),
        (0, 0),
        "nobody else's frame"
    );
    let j = arch::journal();
    assert_eq!(j[..2], [("icc_sre_el2", 15), ("isb", 0)]);
    assert_eq!(
        j[j.len() - 3..],
        [("isb", 0), ("icc_igrpen1", 1), ("isb", 0)],
        "on when all is set"
    );
    assert!(j.contains(&("icc_ctlr", 2)) && j.contains(&("icc_pmr", 0xff)));
    assert_eq!(j.iter().filter(|(n, _)| *n == "icc_ap1r").count(), 1);
    gic.send_sgi(5, C0);
    assert_eq!(
        arch::journal(),
        [
            ("dsb_ishst", 0),
            ("icc_sgi1r", 1 << 48 | 5 << 24 | 2 << 16 | 1 << 3)
        ]
    );
    assert_eq!(
        gic.init_cpu(CpuId(1), 9),
        Err(GicError::NoRedistributor { mpidr: 9 })
    );
    assert_eq!(
        gic.init_cpu(CpuId(128), 0),
        Err(GicError::BadCpu(CpuId(128)))
    );
}

#[test]
fn v3_finds_redistributors_wherever_they_are() {
    // Two regions; frames of a GICv4 (VLPIS); a stride that the tree gives; a region whose last frame is not marked.
    let aff = |n: u32| n << 8;
    for (stride, given, bits) in [
        (K128, None, 0),
        (2 * K128, None, 2),
        (3 * K128, Some(3 * K128), 0),
    ] {
        let (_d, r, gic) = v3(
            &[
                (stride, given, &[aff(0), aff(1)]),
                (stride, given, &[aff(2), aff(3), aff(4)]),
            ],
            bits,
        );
        r[1].put(2 * stride + 8, bits);
        if stride > K128 {
            // In the pages between, which are no redistributor, stands something that looks like one.
            r[0].put(K128 + 12, aff(4));
        }
        gic.init_cpu(CpuId(4), 0x400).unwrap();
        assert_eq!(r[1].get(2 * stride + 0x1_0100), 0xffff);
        gic.init_cpu(CpuId(1), 0x100).unwrap();
        assert_eq!(r[0].get(stride + 0x1_0100), 0xffff);
        assert_eq!(
            gic.init_cpu(CpuId(5), 0x500),
            Err(GicError::NoRedistributor { mpidr: 0x500 })
        );
    }
    // Nonsense strides end.
    for given in [Some(0), Some(usize::MAX)] {
        let (_d, _r, gic) = v3(&[(K128, given, &[aff(0), aff(1)])], 0);
        assert_eq!(
            gic.init_cpu(C0, 0x900),
            Err(GicError::NoRedistributor { mpidr: 0x900 })
        );
    }
    let many = (0..40).map(|_| RedistRegion {
        regs: Memory::new(8).mmio(),
        stride: None,
    });
    assert!(matches!(
        Gic::v3(Memory::new(0x1_0000).mmio(), many),
        Err(GicError::TooManyRegions)
    ));
}

#[test]
fn v3_broken_hardware_is_reported() {
    let (d, r, gic) = v3(&[(K128, None, &[0])], 0);
    r[0].put(0x14, 4);
    assert_eq!(
        gic.init_cpu(C0, 0),
        Err(GicError::Timeout("waking a redistributor"))
    );
    assert_eq!(r[0].get(0x14), 4, "asked to wake");
    r[0].put(0x14, 0);
    r[0].put(0, 1 << 3);
    assert_eq!(
        gic.init_cpu(C0, 0),
        Err(GicError::Timeout("a redistributor write"))
    );
    gic.send_sgi(1, C0);
    assert!(
        !arch::journal().iter().any(|(n, _)| *n == "icc_sgi1r"),
        "it is not up"
    );
    assert_eq!(gic.enable(27, C0), Err(GicError::BadCpu(C0)));
    // GICD_CTLR.RWP cannot be played by memory: the write takes it away. The bound is the same function's.
    assert_eq!(d.get(0), 0);
}

#[test]
fn v3_sgis_to_many_take_one_write_a_cluster() {
    // 64 CPUs in clusters of 4, 8 in a cluster with Aff0 up to 31 (range selector).
    let affinities: std::vec::Vec<u32> = (0..64)
        .map(|i| ((i / 4) << 8) + i % 4)
        .chain((0..8).map(|i| 0x2_0000 + 4 * i))
        .collect();
    let (_d, _r, gic) = v3(&[(K128, None, &affinities)], 0);
    for (i, a) in affinities.iter().enumerate() {
        gic.init_cpu(CpuId(i as u16), (*a).into()).unwrap();
    }
    arch::journal();
    gic.send_sgi_set(2, &CpuSet::ALL);
    let j = arch::journal();
    assert_eq!(j[0], ("dsb_ishst", 0));
    let expected = (0..16u64)
        .map(|c| 2 << 24 | c << 16 | 0xf)
        .chain((0..2).map(|rs| 2 << 32 | rs << 44 | 2 << 24 | 0x1111));
    assert!(j[1..].iter().map(|(_, v)| *v).eq(expected), "{j:x?}");
    gic.send_sgi_set(2, &CpuSet::EMPTY);
    assert!(!arch::journal().iter().any(|(n, _)| *n == "icc_sgi1r"));
}

#[test]
fn v3_ack_and_settings() {
    let (d, r, gic) = v3(&[(K128, None, &[0, 0x0201_0003])], 0);
    gic.init_dist().unwrap();
    gic.init_cpu(CpuId(1), 0x2_0001_0003).unwrap();
    let (me, sgi) = (CpuId(1), K128 + 0x1_0000);
    arch::journal();
    arch::set("icc_iar1", 0, 3);
    let ack = gic.ack().unwrap();
    gic.end(ack);
    gic.deactivate(ack);
    assert_eq!(
        arch::journal(),
        [("isb", 0), ("icc_eoir1", 3), ("icc_dir", 3)]
    );
    arch::set("icc_iar1", 0, 33);
    gic.finish(gic.ack().unwrap());
    assert_eq!(arch::journal(), [("icc_eoir1", 33), ("icc_dir", 33)]);
    arch::set("icc_iar1", 0, 1023);
    assert_eq!(gic.ack(), None);

    gic.enable(27, me).unwrap();
    assert_eq!(r[0].get(sgi + 0x100), 1 << 27);
    gic.set_priority(27, me, 0x40).unwrap();
    assert_eq!(r[0].get(sgi + 0x418), 0x40a0_a0a0);
    gic.set_trigger(18, me, Trigger::Edge).unwrap();
    assert_eq!(r[0].get(sgi + 0xc04), 2 << 4);
    gic.set_active(27, me, true).unwrap();
    assert_eq!(
        (r[0].get(sgi + 0x300), gic.is_active(27, me)),
        (1 << 27, Ok(true))
    );
    gic.set_pending(30, me, true).unwrap();
    assert_eq!(
        (r[0].get(sgi + 0x200), gic.is_pending(30, me)),
        (1 << 30, Ok(true))
    );
    gic.disable(27, me).unwrap();
    assert_eq!(r[0].get(sgi + 0x180), 1 << 27);

    gic.enable(33, me).unwrap();
    assert_eq!(
        [0x104, 0x6108, 0x610c].map(|o| d.get(o)),
        [2, 0x0001_0003, 2]
    );
    gic.set_priority(34, me, 0x50).unwrap();
    assert_eq!(d.get(0x420), 0xa050_a0a0);
    gic.set_trigger(33, me, Trigger::Edge).unwrap();
    assert_eq!(d.get(0xc08), 8);
    gic.set_active(287, me, true).unwrap();
    assert_eq!((d.get(0x320), gic.is_active(287, me)), (1 << 31, Ok(true)));
    gic.set_pending(64, me, false).unwrap();
    assert_eq!(d.get(0x288), 1);
    gic.disable(33, me).unwrap();
    assert_eq!(d.get(0x184), 2);

    for bad in [288, 1019, 1020, 1024, 1056, 4096, 8192, u32::MAX] {
        let e = GicError::BadIntId(bad);
        assert_eq!(gic.enable(bad, me), Err(e));
        assert_eq!(gic.disable(bad, me), Err(e));
        assert_eq!(gic.set_active(bad, me, true), Err(e));
        assert_eq!(gic.is_active(bad, me), Err(e));
        assert_eq!(gic.set_pending(bad, me, true), Err(e));
        assert_eq!(gic.is_pending(bad, me), Err(e));
        assert_eq!(gic.set_priority(bad, me, 1), Err(e));
        assert_eq!(gic.set_trigger(bad, me, Trigger::Edge), Err(e));
    }
    assert_eq!(gic.route_spi(33, C0), Err(GicError::BadCpu(C0)));
    assert_eq!(gic.route_spi(30, me), Err(GicError::BadIntId(30)));
    // Extended SPIs, where the GIC has them.
    d.put(4, 8 | 1 << 8);
    gic.enable(4097, me).unwrap();
    assert_eq!(
        [0x1200, 0x8008, 0x800c].map(|o| d.get(o)),
        [2, 0x0001_0003, 2]
    );
    gic.set_pending(4097, me, true).unwrap();
    assert_eq!((d.get(0x1600), gic.is_pending(4097, me)), (2, Ok(true)));
}
