//! Single stories: costs, and what a random history meets too seldom.

use super::super::{
    CpuIf, Irq, Kick, ListReg, ListRegs, Maintenance, SgiReg, Version, Vgic, VgicConfig,
};
use super::fake::FakeCpu;
use crate::{Refused, Size};
use std::vec::Vec;

fn world(version: Version, vcpus: u16, lrs: usize) -> (Vgic, Vec<FakeCpu>) {
    let config = VgicConfig {
        version,
        vcpus,
        spis: 64,
    };
    let mut vgic = Vgic::new(config).unwrap();
    let mut cpus: Vec<FakeCpu> = (0..vcpus).map(|_| FakeCpu::new(lrs)).collect();
    let cpu = &mut cpus[0];
    let write = |vgic: &mut Vgic, cpu: &mut FakeCpu, offset, value| {
        assert!(
            vgic.dist_write_all(0, offset, Size::Word, value, cpu)
                .unwrap()
                .is_none()
        );
    };
    write(&mut vgic, cpu, 0, 3);
    for w in 0..3 {
        write(&mut vgic, cpu, 0x100 + 4 * w, 0xffff_ffff);
        write(&mut vgic, cpu, 0x80 + 4 * w, 0xffff_ffff);
    }
    for v in 0..u32::from(vcpus) {
        if version == Version::V3 {
            for offset in [0x1_0080, 0x1_0100] {
                let kick = vgic.redist_write_all(0, v << 17 | offset, Size::Word, 0xffff_ffff, cpu);
                assert!(kick.unwrap().is_none());
            }
        }
    }
    (vgic, cpus)
}

fn wake(v: usize) -> Kick {
    Kick {
        wake: 1 << v,
        resync: 0,
    }
}

fn resync(v: usize) -> Kick {
    Kick {
        wake: 0,
        resync: 1 << v,
    }
}

#[test]
fn an_sgi_costs_one_list_register_write() {
    let (mut vgic, mut cpus) = world(Version::V3, 2, 4);
    cpus[0].writes = 0;
    assert!(
        vgic.sgi_v3(0, SgiReg::Sgi1, 5 << 24 | 1, &mut cpus[0])
            .is_none()
    );
    assert_eq!(cpus[0].writes, 1);
    assert_eq!(cpus[0].ack(), Some((5, 0)));
    cpus[0].end(5);
    // The register is recycled without being read or emptied.
    assert!(
        vgic.sgi_v3(0, SgiReg::Sgi1, 6 << 24 | 1, &mut cpus[0])
            .is_none()
    );
    assert_eq!(cpus[0].writes, 2);
    // To another: a wake there, nothing here.
    assert_eq!(
        vgic.sgi_v3(0, SgiReg::Sgi1, 6 << 24 | 2, &mut cpus[0]),
        wake(1)
    );
    assert_eq!(cpus[0].writes, 2);
    assert!(vgic.needs_flush(1) && !vgic.needs_flush(0));
    assert!(vgic.flush(1, &mut cpus[1]).is_none());
    assert_eq!((cpus[1].writes, cpus[1].ack()), (1, Some((6, 0))));
    // Nothing new: nothing written.
    assert!(vgic.flush(1, &mut cpus[1]).is_none());
    assert_eq!(cpus[1].writes, 1);
}

#[test]
fn sgi_registers_choose_their_targets() {
    let (mut vgic, mut cpus) = world(Version::V3, 40, 4);
    let mut sgi = |reg, value| {
        let kick = vgic.sgi_v3(0, reg, value, &mut cpus[0]);
        vgic.finish(0, kick, &mut cpus[0]).wake
    };
    // Aff1 = 2 holds vCPUs 32 to 39 only.
    assert_eq!(sgi(SgiReg::Sgi1, 1 << 24 | 2 << 16 | 0xffff), 0xff << 32);
    // All but self.
    assert_eq!(sgi(SgiReg::Sgi1, 2 << 24 | 1 << 40), (1 << 40) - 2);
    // Group 0 registers do not reach group 1 interrupts; Aff2, Aff3, range and absent clusters reach nobody.
    for (reg, value) in [
        (SgiReg::Sgi0, 3 << 24 | 2),
        (SgiReg::Asgi1, 3 << 24 | 2),
        (SgiReg::Sgi1, 3 << 24 | 1 << 32 | 2),
        (SgiReg::Sgi1, 3 << 24 | 1 << 48 | 2),
        (SgiReg::Sgi1, 3 << 24 | 1 << 44 | 2),
        (SgiReg::Sgi1, 3 << 24 | 3 << 16 | 2),
        (SgiReg::Sgi1, 3 << 24 | 255 << 16 | 2),
    ] {
        assert_eq!(sgi(reg, value), 0, "{reg:?} {value:#x}");
    }
    // vCPU 1's SGI 3 in group 0.
    let kick = vgic
        .redist_write_all(1, 1 << 17 | 0x1_0080, Size::Word, !8, &mut cpus[1])
        .unwrap();
    assert!(kick.is_none());
    let value = 3 << 24 | 2;
    assert_eq!(
        vgic.sgi_v3(0, SgiReg::Sgi1, value, &mut cpus[0]),
        Kick::NONE
    );
    assert_eq!(vgic.sgi_v3(0, SgiReg::Sgi0, value, &mut cpus[0]), wake(1));
}

#[test]
fn a_level_interrupt_handled_in_the_usual_way_needs_no_maintenance() {
    let (mut vgic, mut cpus) = world(Version::V3, 1, 4);
    assert_eq!(vgic.set_level(Irq::spi(32), true), wake(0));
    assert!(vgic.flush(0, &mut cpus[0]).is_none());
    assert_eq!(cpus[0].ack(), Some((32, 0)));
    // The handler reads the device, whose model lowers the line; hv flushes on the way out of that trap.
    assert_eq!(vgic.set_level(Irq::spi(32), false), resync(0));
    assert!(vgic.flush(0, &mut cpus[0]).is_none());
    cpus[0].end(32);
    assert!(!cpus[0].wants_maintenance());
    assert!(!vgic.pending(0, &cpus[0], CpuIf::ANY));
}

#[test]
fn a_level_interrupt_ended_too_early_comes_again() {
    let (mut vgic, mut cpus) = world(Version::V3, 1, 4);
    assert_eq!(vgic.set_level(Irq::spi(32), true), wake(0));
    assert!(vgic.flush(0, &mut cpus[0]).is_none());
    for _ in 0..3 {
        assert_eq!(cpus[0].ack(), Some((32, 0)));
        assert!(cpus[0].highest_pending().is_none());
        cpus[0].end(32);
        assert!(cpus[0].wants_maintenance());
        assert!(vgic.maintenance(0, &mut cpus[0]).is_none());
    }
}

#[test]
fn a_line_that_falls_before_the_acknowledge_is_withdrawn() {
    let (mut vgic, mut cpus) = world(Version::V3, 1, 4);
    assert_eq!(vgic.set_level(Irq::spi(33), true), wake(0));
    assert!(vgic.flush(0, &mut cpus[0]).is_none());
    assert_eq!(vgic.set_level(Irq::spi(33), false), resync(0));
    assert!(vgic.flush(0, &mut cpus[0]).is_none());
    assert_eq!(cpus[0].ack(), None);
    assert!(cpus[0].file.lrs[0].is_free());
}

#[test]
fn the_virtual_timer_is_linked_from_end_to_end() {
    let (mut vgic, mut cpus) = world(Version::V3, 2, 4);
    vgic.link_ppi(27, 27);
    let timer = Irq::ppi(1, 27);
    assert!(!vgic.is_hw_inflight(1, 27));
    assert_eq!(vgic.fire_hw(timer), wake(1));
    assert!(vgic.is_hw_inflight(1, 27) && !vgic.is_hw_inflight(0, 27));
    assert!(vgic.flush(1, &mut cpus[1]).is_none());
    let lr = cpus[1].file.lrs[0];
    assert!(lr.has(ListReg::HW) && lr.pintid() == 27 && lr.is_pending());
    assert_eq!(cpus[1].ack(), Some((27, 0)));
    // Switched out in the handler: still in flight, so its physical interrupt must be active wherever it is loaded.
    assert!(vgic.unload(1, &mut cpus[1]).is_none());
    assert!(vgic.is_hw_inflight(1, 27));
    assert!(vgic.flush(1, &mut cpus[1]).is_none());
    cpus[1].end(27);
    assert_eq!(cpus[1].deactivated, [27]);
    assert!(vgic.unload(1, &mut cpus[1]).is_none());
    assert!(!vgic.is_hw_inflight(1, 27) && !vgic.has_release(1));
}

#[test]
fn a_linked_interrupt_ended_by_registers_is_released() {
    let (mut vgic, mut cpus) = world(Version::V3, 1, 4);
    vgic.link_ppi(27, 27);
    assert!(vgic.link_spi(40, 77));
    assert!(!vgic.link_spi(96, 78) && !vgic.link_spi(31, 78));
    for irq in [Irq::ppi(0, 27), Irq::spi(40)] {
        assert_eq!(vgic.fire_hw(irq), wake(0));
    }
    assert!(vgic.flush(0, &mut cpus[0]).is_none());
    assert_eq!(cpus[0].ack(), Some((27, 0)));
    let icactiver0 = vgic.redist_write_all(0, 0x1_0380, Size::Word, 1 << 27, &mut cpus[0]);
    assert_eq!(icactiver0, Ok(Kick::NONE));
    assert_eq!(
        (vgic.take_release(0), vgic.take_release(0)),
        (Some(27), None)
    );
    let icpendr1 = vgic.dist_write_all(0, 0x284, Size::Word, 1 << 8, &mut cpus[0]);
    assert_eq!(icpendr1, Ok(Kick::NONE));
    assert_eq!(
        (vgic.take_release(0), vgic.take_release(0)),
        (Some(77), None)
    );
    // Its line was low before the guest looked: the same.
    assert_eq!(vgic.fire_hw(Irq::spi(40)), wake(0));
    assert!(vgic.flush(0, &mut cpus[0]).is_none());
    assert_eq!(vgic.lower_hw(Irq::spi(40)), resync(0));
    assert!(vgic.flush(0, &mut cpus[0]).is_none());
    assert_eq!((vgic.take_release(0), cpus[0].ack()), (Some(77), None));
    // Reset with one in flight.
    assert_eq!(vgic.fire_hw(Irq::spi(40)), wake(0));
    vgic.reset();
    assert_eq!(
        (vgic.take_release(0), vgic.has_release(0)),
        (Some(77), true)
    );
    assert_eq!((vgic.take_release(0), vgic.has_release(0)), (None, false));
}

/// Lines move while a controller is reset vCPU by vCPU: afterwards it is as if it had been reset at once.
#[test]
fn a_reset_in_pieces_is_a_reset() {
    let (mut vgic, mut cpus) = world(Version::V3, 6, 96);
    vgic.link_ppi(27, 27);
    assert!(vgic.link_spi(40, 77));
    for n in 0..6 {
        let _ = vgic.fire_hw(Irq::ppi(n, 27));
        let _ = vgic.dist_write_all(
            0,
            0x6100 + 8 * n as u32,
            Size::Double,
            n as u64,
            &mut cpus[0],
        );
    }
    let _ = vgic.dist_write_all(0, 0x104, Size::Word, !0, &mut cpus[0]);
    for intid in [33, 35, 40, 60] {
        let _ = vgic.set_level(Irq::spi(intid), true);
    }
    for (n, cpu) in cpus.iter_mut().enumerate() {
        let _ = vgic.unload(n, cpu);
    }
    let mut whole = vgic.clone();
    let _ = whole.set_level(Irq::spi(33), false);
    let _ = whole.set_level(Irq::spi(34), true);
    whole.reset();
    for n in [0, 2, 4] {
        vgic.reset_vcpus(n..n + 2);
        // Nothing is deliverable any more, whatever the lines do.
        assert!(vgic.set_level(Irq::spi(33), n == 2).is_none());
        assert!(vgic.set_level(Irq::spi(34), n != 2).is_none());
    }
    vgic.reset_shared();
    assert_eq!(format!("{vgic:?}"), format!("{whole:?}"));
}

#[test]
fn a_linked_interrupt_made_pending_by_hand_does_not_depend_on_its_line() {
    const ISPENDR: u32 = 0x1_0200;
    const ICPENDR: u32 = 0x1_0280;
    let timer = Irq::ppi(0, 27);
    for loaded in [true, false] {
        let (mut vgic, mut cpus) = world(Version::V3, 1, 4);
        vgic.link_ppi(27, 27);
        let cpu = &mut cpus[0];
        let by_hand = |vgic: &mut Vgic, cpu: &mut FakeCpu, offset| {
            let kick = vgic.redist_write_all(0, offset, Size::Word, 1 << 27, cpu);
            assert_eq!(kick, Ok(Kick::NONE));
        };
        by_hand(&mut vgic, cpu, ISPENDR);
        if !loaded {
            assert!(vgic.unload(0, cpu).is_none());
        }
        assert!(
            vgic.lower_hw(timer).is_none(),
            "the line has nothing to say"
        );
        assert!(vgic.flush(0, cpu).is_none());
        assert!(!vgic.has_release(0));
        assert_eq!(cpu.ack(), Some((27, 0)));
        cpu.end(27);
        // What the timer itself does afterwards depends on the line again.
        let _ = vgic.inject_hw(0, 27, cpu);
        let _ = vgic.lower_hw(timer);
        assert!(vgic.flush(0, cpu).is_none());
        assert_eq!((vgic.take_release(0), cpu.ack()), (Some(27), None));
        // And taken back by hand it is gone.
        by_hand(&mut vgic, cpu, ISPENDR);
        by_hand(&mut vgic, cpu, ICPENDR);
        assert_eq!(cpu.ack(), None);
        assert_eq!(vgic.fire_hw(timer), wake(0));
        let _ = vgic.lower_hw(timer);
        assert!(vgic.flush(0, cpu).is_none());
        assert_eq!(cpu.ack(), None);
    }
}

#[test]
fn reading_state_that_another_cpu_holds_waits_for_it() {
    let (mut vgic, mut cpus) = world(Version::V3, 2, 4);
    let irouter = vgic.dist_write_all(0, 0x6000 + 8 * 40, Size::Double, 1, &mut cpus[0]);
    assert_eq!(irouter, Ok(Kick::NONE));
    assert_eq!(vgic.pulse(Irq::spi(40)), wake(1));
    assert!(vgic.flush(1, &mut cpus[1]).is_none());
    let isactiver = |vgic: &mut Vgic, v, cpu: &FakeCpu| vgic.dist_read(v, 0x304, Size::Word, cpu);
    assert_eq!(cpus[1].ack(), Some((40, 0)));
    // vCPU 1 knows from its own list registers; vCPU 0 must have it look.
    assert_eq!(isactiver(&mut vgic, 1, &cpus[1]), Ok(1 << 8));
    let busy = Err(Refused::Busy(resync(1)));
    assert_eq!(isactiver(&mut vgic, 0, &cpus[0]), busy);
    assert_eq!(isactiver(&mut vgic, 0, &cpus[0]), busy);
    assert!(vgic.flush(1, &mut cpus[1]).is_none());
    assert_eq!(isactiver(&mut vgic, 0, &cpus[0]), Ok(1 << 8));
    // Asked again, it must be looked at again.
    cpus[1].end(40);
    assert_eq!(isactiver(&mut vgic, 0, &cpus[0]), busy);
    assert!(vgic.unload(1, &mut cpus[1]).is_none());
    assert_eq!(isactiver(&mut vgic, 0, &cpus[0]), Ok(0));
}

#[test]
fn changes_to_what_another_cpu_holds_reach_it_at_its_next_exit() {
    let (mut vgic, mut cpus) = world(Version::V3, 2, 4);
    let set = |vgic: &mut Vgic, cpu: &mut FakeCpu, offset, value| {
        vgic.dist_write_all(0, offset, Size::Word, value, cpu)
            .unwrap()
    };
    assert!(set(&mut vgic, &mut cpus[0], 0x6000 + 8 * 40, 1).is_none());
    assert_eq!(vgic.pulse(Irq::spi(40)), wake(1));
    assert!(vgic.flush(1, &mut cpus[1]).is_none());
    // Disabled while pending over there: withdrawn, still pending; enabled again: back.
    assert_eq!(set(&mut vgic, &mut cpus[0], 0x184, 1 << 8), resync(1));
    assert!(vgic.flush(1, &mut cpus[1]).is_none());
    assert_eq!(cpus[1].ack(), None);
    assert_eq!(vgic.dist_read(0, 0x204, Size::Word, &cpus[0]), Ok(1 << 8));
    assert_eq!(set(&mut vgic, &mut cpus[0], 0x104, 1 << 8), wake(1));
    assert!(vgic.flush(1, &mut cpus[1]).is_none());
    // Routed here while pending there: moves at the other's next exit.
    assert_eq!(set(&mut vgic, &mut cpus[0], 0x6000 + 8 * 40, 0), resync(1));
    assert_eq!(vgic.flush(1, &mut cpus[1]), wake(0));
    assert!(vgic.flush(0, &mut cpus[0]).is_none());
    assert_eq!((cpus[0].ack(), cpus[1].ack()), (Some((40, 0)), None));
    // Deactivated from afar.
    let kick = vgic.dist_write_all(1, 0x384, Size::Word, 1 << 8, &mut cpus[1]);
    assert_eq!(kick, Ok(resync(0)));
    assert!(vgic.flush(0, &mut cpus[0]).is_none());
    assert!(cpus[0].file.lrs[0].is_free());
}

#[test]
fn one_list_register_and_a_nested_interrupt() {
    let (mut vgic, mut cpus) = world(Version::V3, 1, 1);
    let cpu = &mut cpus[0];
    for (intid, priority) in [(40u32, 0xa0), (41, 0x80), (42, 0x60)] {
        assert!(
            vgic.dist_write_all(0, 0x400 + intid, Size::Byte, priority, cpu)
                .unwrap()
                .is_none()
        );
    }
    let settle = |vgic: &mut Vgic, cpu: &mut FakeCpu| {
        while cpu.wants_maintenance() {
            assert!(vgic.maintenance(0, cpu).is_none());
        }
    };
    for intid in [40, 41, 42] {
        assert_eq!(vgic.pulse(Irq::spi(intid)), wake(0));
        assert!(vgic.flush(0, cpu).is_none());
        settle(&mut vgic, cpu);
        assert_eq!(cpu.ack(), Some((intid, 0)));
        settle(&mut vgic, cpu);
    }
    for intid in [42, 41, 40] {
        cpu.end(intid);
        settle(&mut vgic, cpu);
    }
    assert_eq!(vgic.dist_read(0, 0x304, Size::Word, cpu), Ok(0));
    assert_eq!(cpu.file.want, Maintenance::NONE);
    assert_eq!(cpu.ack(), None);
}

#[test]
fn deactivation_by_dir_of_what_is_in_no_list_register() {
    let (mut vgic, mut cpus) = world(Version::V3, 1, 1);
    let cpu = &mut cpus[0];
    // EOImode 1: each is acknowledged, dropped, and deactivated later in any order.
    for intid in [40, 41, 42] {
        assert_eq!(vgic.pulse(Irq::spi(intid)), wake(0));
        assert!(vgic.flush(0, cpu).is_none());
        assert_eq!(cpu.ack(), Some((intid, 0)));
        cpu.drop_priority();
        assert!(!cpu.wants_maintenance());
    }
    assert!(cpu.file.want.trap_dir);
    for (intid, left) in [(41, 0b101 << 8), (42, 1 << 8), (40, 0)] {
        assert!(vgic.deactivate(0, intid, cpu).is_none());
        assert_eq!(vgic.dist_read(0, 0x304, Size::Word, cpu), Ok(left));
    }
    for intid in [0, 41, 1023, u64::MAX] {
        assert!(vgic.deactivate(0, intid, cpu).is_none());
    }
    assert_eq!(cpu.file.want, Maintenance::NONE);
}

#[test]
fn gicv2_sgis_keep_their_sources_apart() {
    let (mut vgic, mut cpus) = world(Version::V2, 3, 4);
    let sgi = |vgic: &mut Vgic, cpus: &mut [FakeCpu], from: usize, value| {
        vgic.dist_write_all(from, 0xf00, Size::Word, value, &mut cpus[from])
            .unwrap()
    };
    // 0 and 2 to 1, then 1 to itself, then 0 to all but itself.
    assert_eq!(sgi(&mut vgic, &mut cpus, 0, 2 << 16 | 7), wake(1));
    assert!(vgic.flush(1, &mut cpus[1]).is_none());
    assert_eq!(sgi(&mut vgic, &mut cpus, 2, 2 << 16 | 7).wake, 1 << 1);
    assert_eq!(sgi(&mut vgic, &mut cpus, 1, 2 << 24 | 7), Kick::NONE);
    assert_eq!(
        vgic.dist_read(1, 0xf24, Size::Word, &cpus[1]),
        Ok(0b111 << 24)
    );
    assert_eq!(vgic.dist_read(1, 0x200, Size::Word, &cpus[1]), Ok(1 << 7));
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (intid, source) = cpus[1].ack().unwrap();
        assert_eq!(intid, 7);
        seen.push(source);
        assert_eq!(cpus[1].ack(), None);
        cpus[1].end(7);
        while cpus[1].wants_maintenance() {
            assert!(vgic.maintenance(1, &mut cpus[1]).is_none());
        }
    }
    seen.sort();
    assert_eq!(seen, [0, 1, 2]);
    assert_eq!(cpus[1].ack(), None);
    // SPENDSGIR and CPENDSGIR, by byte.
    let byte = |vgic: &mut Vgic, cpu: &mut FakeCpu, offset, value| {
        assert!(
            vgic.dist_write_all(1, offset, Size::Byte, value, cpu)
                .unwrap()
                .is_none()
        );
    };
    byte(&mut vgic, &mut cpus[1], 0xf23, 0xff);
    assert_eq!(vgic.dist_read(1, 0xf13, Size::Byte, &cpus[1]), Ok(0b111));
    byte(&mut vgic, &mut cpus[1], 0xf13, 0b101);
    assert_eq!(cpus[1].ack(), Some((3, 1)));
    assert_eq!(cpus[1].ack(), None);
    assert_eq!(sgi(&mut vgic, &mut cpus, 0, 1 << 24 | 9).wake, 0b110);
    assert_eq!(
        sgi(&mut vgic, &mut cpus, 0, 3 << 24 | 0xff << 16 | 10),
        Kick::NONE
    );
}

#[test]
fn wfi_looks_through_the_cpu_interface() {
    let (mut vgic, cpus) = world(Version::V3, 1, 4);
    let cpu = &cpus[0];
    assert!(!vgic.pending(0, cpu, CpuIf::ANY));
    assert_eq!(vgic.pulse(Irq::ppi(0, 20)), wake(0));
    assert!(vgic.pending(0, cpu, CpuIf::ANY));
    let mask = |pmr, group0, group1| CpuIf {
        pmr,
        group0,
        group1,
    };
    assert!(vgic.pending(0, cpu, mask(8, false, true)));
    assert!(!vgic.pending(0, cpu, mask(0, true, true)));
    assert!(!vgic.pending(0, cpu, mask(0xf0, true, false)));
}

#[test]
fn a_late_kick_loses_nothing() {
    // Everything happens before vCPU 1 comes by once.
    let (mut vgic, mut cpus) = world(Version::V3, 2, 2);
    for n in 0..16u64 {
        let kick = vgic.sgi_v3(0, SgiReg::Sgi1, n << 24 | 2, &mut cpus[0]);
        assert_eq!(kick, wake(1));
    }
    let mut seen = 0u32;
    assert!(vgic.flush(1, &mut cpus[1]).is_none());
    while let Some((intid, _)) = cpus[1].ack() {
        assert_eq!(seen & 1 << intid, 0, "{intid} twice");
        seen |= 1 << intid;
        cpus[1].end(intid);
        while cpus[1].wants_maintenance() {
            assert!(vgic.maintenance(1, &mut cpus[1]).is_none());
        }
    }
    assert_eq!(seen, 0xffff);
    assert_eq!(cpus[1].file.want, Maintenance::NONE);
}

#[test]
fn unknown_interrupts_are_ignored() {
    let (mut vgic, cpus) = world(Version::V3, 2, 4);
    for irq in [
        Irq::spi(96),
        Irq::spi(1019),
        Irq::spi(1023),
        Irq::spi(u16::MAX),
        Irq::ppi(2, 30),
    ] {
        assert!(vgic.set_level(irq, true).is_none());
        assert!(vgic.pulse(irq).is_none());
        assert!(vgic.fire_hw(irq).is_none());
        assert!(vgic.lower_hw(irq).is_none());
    }
    vgic.link_ppi(3, 3);
    vgic.link_ppi(99, 3);
    vgic.unlink_spi(5000);
    assert!(!vgic.pending(0, &cpus[0], CpuIf::ANY));
}

#[test]
fn list_register_files_clamp_their_size() {
    use super::super::{LrFile, MAX_LRS};
    assert_eq!(LrFile::new(0).count(), 1);
    assert_eq!(LrFile::new(99).count(), MAX_LRS);
    assert_eq!(LrFile::new(4).empty().0, 0b1111);
}

#[test]
fn an_edge_while_active_follows_the_new_route() {
    let (mut vgic, mut cpus) = world(Version::V3, 2, 4);
    let edge = vgic.dist_write_all(0, 0xc08, Size::Word, 0xaaaa_aaaa, &mut cpus[0]);
    assert_eq!(edge, Ok(Kick::NONE));
    assert_eq!(vgic.pulse(Irq::spi(40)), wake(0));
    assert!(vgic.flush(0, &mut cpus[0]).is_none());
    assert_eq!(cpus[0].ack(), Some((40, 0)));
    let route = vgic.dist_write_all(0, 0x6000 + 8 * 40, Size::Double, 1, &mut cpus[0]);
    assert_eq!(route, Ok(Kick::NONE));
    assert_eq!(vgic.pulse(Irq::spi(40)).resync, 1);
    assert!(vgic.flush(0, &mut cpus[0]).is_none());
    cpus[0].end(40);
    assert!(cpus[0].wants_maintenance());
    assert_eq!(vgic.maintenance(0, &mut cpus[0]), wake(1));
    assert!(vgic.flush(1, &mut cpus[1]).is_none());
    assert_eq!((cpus[0].ack(), cpus[1].ack()), (None, Some((40, 0))));
}

#[test]
fn one_that_comes_again_does_not_overtake_those_that_wait() {
    let (mut vgic, mut cpus) = world(Version::V3, 1, 2);
    let cpu = &mut cpus[0];
    for (intid, priority) in [(40u32, 0x20), (41, 0x40)] {
        let kick = vgic.dist_write_all(0, 0x400 + intid, Size::Byte, priority, cpu);
        assert_eq!(kick, Ok(Kick::NONE));
    }
    let prio = vgic.redist_write_all(0, 0x1_0401, Size::Byte, 0x80, cpu);
    assert_eq!(prio, Ok(Kick::NONE));
    assert!(vgic.sgi_v3(0, SgiReg::Sgi1, 1 << 24 | 1, cpu).is_none());
    assert_eq!(cpu.ack(), Some((1, 0)));
    for intid in [40, 41] {
        assert_eq!(vgic.pulse(Irq::spi(intid)), wake(0));
        assert!(vgic.flush(0, cpu).is_none());
    }
    // 40 and the active SGI fill the registers, 41 waits. Its handler, with interrupts masked, ends and sends again.
    assert!(cpu.file.want.npie);
    cpu.end(1);
    assert!(vgic.sgi_v3(0, SgiReg::Sgi1, 1 << 24 | 1, cpu).is_none());
    for intid in [40, 41, 1] {
        assert_eq!(cpu.ack(), Some((intid, 0)));
        cpu.end(intid);
        while cpu.wants_maintenance() {
            assert!(vgic.maintenance(0, cpu).is_none());
        }
    }
}

#[test]
fn a_linked_interrupt_that_lost_its_link_is_released() {
    let (mut vgic, mut cpus) = world(Version::V3, 1, 4);
    let cpu = &mut cpus[0];
    vgic.link_ppi(27, 27);
    assert!(vgic.inject_hw(0, 27, cpu).is_none());
    assert_eq!(cpu.ack(), Some((27, 0)));
    // Made pending while active: its register cannot stay linked.
    let pend = vgic.redist_write_all(0, 0x1_0200, Size::Word, 1 << 27, cpu);
    assert_eq!(pend, Ok(Kick::NONE));
    let in_lr = |cpu: &FakeCpu| {
        cpu.file
            .lrs
            .iter()
            .copied()
            .find(|lr| lr.intid() == 27)
            .unwrap()
    };
    assert!(!in_lr(cpu).has(ListReg::HW) && in_lr(cpu).has(ListReg::EOI));
    // Withdrawn from the side that does not know the register (another CPU's way): the end must still be seen.
    vgic.vcpus[0].bank.latch = 0;
    cpu.end(27);
    assert!(cpu.wants_maintenance() && cpu.deactivated.is_empty());
    assert!(vgic.maintenance(0, cpu).is_none());
    assert_eq!(
        (vgic.take_release(0), vgic.is_hw_inflight(0, 27)),
        (Some(27), false)
    );
}

#[test]
fn an_active_interrupt_outside_the_list_registers_is_not_doubled() {
    let (mut vgic, mut cpus) = world(Version::V3, 1, 1);
    let cpu = &mut cpus[0];
    let prio = vgic.redist_write_all(0, 0x1_0404, Size::Word, 0x40_8000, cpu);
    assert_eq!(prio, Ok(Kick::NONE));
    for n in [5u16, 6] {
        assert!(
            vgic.sgi_v3(0, SgiReg::Sgi1, u64::from(n) << 24 | 1, cpu)
                .is_none()
        );
        let expected = if n == 5 { 0x80 } else { 0x40 };
        assert_eq!(cpu.file.lrs[0].priority(), expected);
        assert_eq!(cpu.ack(), Some((n, 0)));
    }
    assert!(vgic.sgi_v3(0, SgiReg::Sgi1, 5 << 24 | 1, cpu).is_none());
    assert_eq!(cpu.ack(), None);
    cpu.end(6);
    while cpu.wants_maintenance() {
        assert!(vgic.maintenance(0, cpu).is_none());
    }
    assert_eq!(cpu.ack(), None);
    cpu.end(5);
    while cpu.wants_maintenance() {
        assert!(vgic.maintenance(0, cpu).is_none());
    }
    assert_eq!(cpu.ack(), Some((5, 0)));
}

#[test]
fn an_edge_while_active_does_not_overtake_those_that_wait() {
    let (mut vgic, mut cpus) = world(Version::V3, 1, 2);
    let cpu = &mut cpus[0];
    let prio = vgic.dist_write_all(0, 0x428, Size::Word, 0x4040_4080, cpu);
    assert_eq!(prio, Ok(Kick::NONE));
    assert_eq!(vgic.pulse(Irq::spi(40)), wake(0));
    assert!(vgic.flush(0, cpu).is_none());
    assert_eq!(cpu.ack(), Some((40, 0)));
    // While its handler runs with interrupts masked: again, and two better ones.
    for intid in [40, 41, 42] {
        assert_eq!(vgic.pulse(Irq::spi(intid)).wake, 1);
        assert!(vgic.flush(0, cpu).is_none());
    }
    cpu.end(40);
    while cpu.wants_maintenance() {
        assert!(vgic.maintenance(0, cpu).is_none());
    }
    for intid in [41, 42, 40] {
        assert_eq!(cpu.ack(), Some((intid, 0)));
        cpu.end(intid);
        while cpu.wants_maintenance() {
            assert!(vgic.maintenance(0, cpu).is_none());
        }
    }
}
