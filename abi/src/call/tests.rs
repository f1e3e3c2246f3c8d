//! Every call and every reply through registers and back; random registers never panic and never decode loosely.
extern crate std;

use super::console::{Focus, LogChunk};
use super::domain::{ConfigRow, CrashReport, DomainFlags, DomainRow, DomainState};
use super::group::GroupRow;
use super::param::ParamRow;
use super::plan::{PlannedChange, PlannedPool};
use super::pool::{PoolMemory, PoolRow};
use super::report::Report;
use super::system::{CpuRow, Machine, Memory, TraceRow, VersionReply};
use super::vcpu::{RunState, RunTimes, VcpuPlace, VcpuRow};
use super::*;
use crate::id::{CpuId, PoolId, VcpuId};
use crate::set::CpuSet;
use crate::time::{Instant, Span};
use crate::{Label, MAX_CPUS, MAX_DOMAINS, MAX_POOLS, MAX_VCPUS};
use std::collections::BTreeSet;
use std::vec::Vec;

mod control;

const D: DomainId = DomainId::new(127, 0xffff);
const P: PoolId = PoolId::new(63, 7);

fn text(s: &str) -> Text {
    Text::new(s).unwrap()
}

/// At least one of each call.
fn calls() -> Vec<Call> {
    let name = text("debian-12");
    let full = text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUV");
    let bytes = Bytes::new(&core::array::from_fn::<u8, 40, _>(|i| i as u8)).unwrap();
    std::vec![
        Call::Version(Version {}),
        Call::Guest(guest::Yield {}.into()),
        Call::Guest(guest::Deboost {}.into()),
        Call::Guest(guest::SetPage { address: u64::MAX }.into()),
        Call::Guest(guest::Counters { index: u32::MAX }.into()),
        Call::Guest(guest::Runstate { index: 7 }.into()),
        Call::Guest(guest::Ring { port: 1023 }.into()),
        Call::System(system::Info {}.into()),
        Call::System(system::MemoryInfo {}.into()),
        Call::System(system::Model {}.into()),
        Call::System(system::Counters { index: u32::MAX }.into()),
        Call::System(system::BootScript { from: 40 }.into()),
        Call::System(system::Reboot {}.into()),
        Call::System(system::PowerOff {}.into()),
        Call::Console(console::Write { bytes }.into()),
        Call::Console(
            console::Write {
                bytes: Bytes::EMPTY
            }
            .into()
        ),
        Call::Console(console::Read { wait: true }.into()),
        Call::Console(console::Read { wait: false }.into()),
        Call::Console(console::SetFocus { to: Focus::Keep }.into()),
        Call::Console(console::SetFocus { to: Focus::Next }.into()),
        Call::Console(
            console::SetFocus {
                to: Focus::Domain(D)
            }
            .into()
        ),
        Call::Console(console::LogRead { cursor: u64::MAX }.into()),
        Call::Domain(domain::List { from: 3 }.into()),
        Call::Domain(domain::Name { id: D }.into()),
        Call::Domain(domain::Find { name }.into()),
        Call::Domain(domain::Find { name: full }.into()),
        Call::Domain(domain::Config { index: 0 }.into()),
        Call::Domain(domain::Create { name }.into()),
        Call::Domain(domain::Destroy { id: D }.into()),
        Call::Domain(domain::Pause { id: D }.into()),
        Call::Domain(domain::Unpause { id: D }.into()),
        Call::Domain(domain::Counters { id: D, index: 9 }.into()),
        Call::Domain(domain::Crash { id: D }.into()),
        Call::Vcpu(
            vcpu::Info {
                domain: D,
                index: 1
            }
            .into()
        ),
        Call::Vcpu(
            vcpu::Runstate {
                domain: D,
                index: 1
            }
            .into()
        ),
        Call::Pool(pool::List { from: 0 }.into()),
        Call::Pool(pool::Name { id: P }.into()),
        Call::Pool(pool::Domains { id: P, from: 2 }.into()),
    ]
    .into_iter()
    .chain(control::calls())
    .collect()
}

#[test]
fn every_call_round_trips() {
    let mut seen = BTreeSet::new();
    for call in calls() {
        let regs = call.encode();
        assert_eq!(Call::decode(&regs), Ok(call), "{call:?}");
        assert_eq!(regs.function(), call.row().number);
        seen.insert(regs.function());
    }
    let all: BTreeSet<u32> = table().map(|r| r.number).collect();
    assert_eq!(
        seen, all,
        "calls() misses a row of the table, or the other way round"
    );
}

#[test]
fn numbers_are_in_the_range_and_ascend() {
    let numbers: Vec<u32> = table().map(|r| r.number).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:x?}");
    // 0xff00 and above are SMCCC's general queries.
    assert!(
        numbers
            .iter()
            .all(|n| n & 0xffff_0000 == BASE && n & 0xffff < 0xff00)
    );
}

fn reply_round_trip<R: Reply + PartialEq + core::fmt::Debug>(r: R) {
    let regs = r.to_regs();
    assert_eq!(regs.0[0], 0);
    assert_eq!(R::from_regs(&regs), Ok(r));
    assert_eq!(
        R::from_regs(&Regs::refusal(Errno::Stale)),
        Err(Errno::Stale)
    );
    assert!(R::FIELDS.iter().map(|f| f.words).sum::<usize>() < Regs::COUNT);
}

#[test]
fn every_reply_round_trips() {
    let t = text("the quick brown fox jumps over the lazy dog 1234");
    reply_round_trip(());
    reply_round_trip(D);
    reply_round_trip(t);
    reply_round_trip(Bytes::new(b"\0\x01ab").unwrap());
    reply_round_trip(Counter {
        value: u64::MAX,
        name: t,
    });
    reply_round_trip(VersionReply {
        abi: AbiVersion {
            major: 0xffff,
            minor: 2,
        },
        text: t,
    });
    reply_round_trip(Machine {
        cpus_present: 64,
        cpus_online: 63,
        gic: 3,
        list_registers: 16,
        counter_hz: 62_500_000,
        uptime: Span(u64::MAX),
    });
    reply_round_trip(Memory {
        total: u64::MAX,
        free: 2,
        tarn: 3,
        domains: 4,
    });
    reply_round_trip(LogChunk {
        next: u64::MAX,
        bytes: Bytes::new(b"line\n").unwrap(),
    });
    for state in DomainState::ALL {
        reply_round_trip(DomainRow {
            id: D,
            state: *state,
            flags: DomainFlags::PAUSED.with(DomainFlags::FOCUS),
            vcpus: 8,
            memory_kib: 1 << 40,
            pool: P,
            time: Span(1),
        });
    }
    reply_round_trip(ConfigRow {
        alive: None,
        name: t,
    });
    reply_round_trip(ConfigRow {
        alive: Some(DomainId::DOM0),
        name: Text::default(),
    });
    reply_round_trip(CrashReport {
        pc: u64::MAX,
        reason: t,
    });
    for state in RunState::ALL {
        reply_round_trip(VcpuRow {
            id: VcpuId::new(1023, 5),
            state: *state,
            cpu: Some(CpuId(127)),
            affinity: CpuSet::ALL,
            time: Span(9),
            stranded: true,
        });
        reply_round_trip(RunTimes {
            state: *state,
            since: Instant(1),
            running: Span(2),
            runnable: Span(3),
            blocked: Span(4),
            offline: Span(5),
        });
    }
    let cpus = CpuSet::parse("0,6-9,127").unwrap();
    reply_round_trip(PoolRow {
        id: P,
        cpus,
        domains: 3,
        sched: Label::new("0123456789abcdef").unwrap(),
        stranded: u32::MAX,
    });
    control::replies_round_trip(cpus);
}

#[test]
fn refusals_are_typed() {
    let decode = |x: [u64; 8]| Call::decode(&Regs(x));
    let n = |n: u32| u64::from(n);
    assert_eq!(decode([0; 8]), Err(Errno::NotSupported));
    assert_eq!(
        decode([n(BASE + 0x0499), 0, 0, 0, 0, 0, 0, 0]),
        Err(Errno::NotSupported)
    );
    assert_eq!(
        decode([n(BASE + 0x7700), 0, 0, 0, 0, 0, 0, 0]),
        Err(Errno::NotSupported)
    );
    assert_eq!(
        decode([n(BASE) - 1, 0, 0, 0, 0, 0, 0, 0]),
        Err(Errno::NotSupported)
    );
    // The 32-bit twin of a call is another function id.
    assert_eq!(
        decode([0x8600_0000, 0, 0, 0, 0, 0, 0, 0]),
        Err(Errno::NotSupported)
    );
    // The upper half of x0 says nothing.
    assert_eq!(
        decode([n(BASE) | 1 << 63, 0, 0, 0, 0, 0, 0, 0]),
        Ok(Call::Version(Version {}))
    );
    assert_eq!(decode([n(BASE), 0, 0, 0, 0, 0, 0, 1]), Err(Errno::Invalid));
    assert_eq!(
        decode([n(domain::Find::NUMBER), 1, 0x61, 0, 0, 0, 0, 0]),
        Err(Errno::Invalid)
    );
    // Text behind its end.
    assert_eq!(
        decode([n(domain::Find::NUMBER), 0, 0x61_0061, 0, 0, 0, 0, 0]),
        Err(Errno::Invalid)
    );
    assert_eq!(
        decode([n(console::Read::NUMBER), 2, 0, 0, 0, 0, 0, 0]),
        Err(Errno::Invalid)
    );
    assert_eq!(
        decode([n(console::Write::NUMBER), 0, 41, 0, 0, 0, 0, 0]),
        Err(Errno::Invalid)
    );
    assert_eq!(
        decode([n(console::SetFocus::NUMBER), 1, 1, 0, 0, 0, 0, 0]),
        Err(Errno::Invalid)
    );
    assert_eq!(
        decode([n(domain::List::NUMBER), 1 << 32, 0, 0, 0, 0, 0, 0]),
        Err(Errno::Invalid)
    );
    for bad in [MAX_DOMAINS as u64, 0xffff, 1 << 32, u64::MAX] {
        assert_eq!(
            decode([n(domain::Destroy::NUMBER), bad, 0, 0, 0, 0, 0, 0]),
            Err(Errno::NoSuch)
        );
    }
    for bad in [MAX_POOLS as u64, u64::MAX] {
        assert_eq!(
            decode([n(pool::Name::NUMBER), bad, 0, 0, 0, 0, 0, 0]),
            Err(Errno::NoSuch)
        );
    }
    let mut row = [0u64; 8];
    for (reg, bad) in [(1, MAX_VCPUS as u64), (2, 4), (3, 1 + MAX_CPUS as u64)] {
        row[reg] = bad;
        assert_eq!(VcpuRow::from_regs(&Regs(row)), Err(Errno::Garbled));
        row[reg] = 0;
        assert!(VcpuRow::from_regs(&Regs(row)).is_ok());
    }
}

#[test]
fn own_affairs_and_delegated_groups_are_for_everybody() {
    for call in calls() {
        assert_eq!(call.permit(true), Ok(()));
        let anyone = match call {
            Call::Version(_) | Call::Guest(_) => true,
            Call::Group(c) => {
                !matches!(c, group::GroupCall::Move(_) | group::GroupCall::Delegate(_))
            }
            _ => false,
        };
        assert_eq!(
            call.permit(false),
            if anyone { Ok(()) } else { Err(Errno::Denied) },
            "{call:?}"
        );
    }
}

#[test]
fn versions_grow() {
    let v = |major, minor| AbiVersion { major, minor };
    assert!(v(1, 0).works_with(v(1, 3)));
    assert!(!v(1, 4).works_with(v(1, 3)));
    assert!(!v(1, 0).works_with(v(2, 0)));
}

/// xorshift64*: enough to scatter.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A register as callers abuse it: often zero or small, sometimes an id, a sign, anything.
    fn word(&mut self) -> u64 {
        let r = self.next();
        match r % 8 {
            0..=2 => 0,
            3 => (r >> 8) % 3,
            4 => (r >> 8) % 50,
            5 => (r >> 8) & 0x0003_007f,
            6 => u64::MAX << (r >> 58),
            _ => r,
        }
    }

    fn regs(&mut self, function: u32) -> Regs {
        let mut regs = Regs(core::array::from_fn(|_| self.word()));
        regs.0[0] = u64::from(function);
        regs
    }
}

#[test]
fn random_registers_never_panic_and_decode_exactly() {
    let numbers: Vec<u32> = table().map(|r| r.number).collect();
    let mut random = Random(0x7a61_726e);
    let mut decoded = BTreeSet::new();
    for round in 0..400_000u32 {
        let pick = random.next();
        let function = match round % 16 {
            0 => pick as u32,
            1 => BASE | (pick & 0xffff) as u32,
            _ => numbers[(pick % numbers.len() as u64) as usize],
        };
        let regs = random.regs(function);
        if let Ok(call) = Call::decode(&regs) {
            // Nothing was ignored: what was decoded says everything the registers said.
            assert_eq!(call.encode(), regs, "{call:?}");
            decoded.insert(function);
        }
    }
    assert_eq!(
        decoded.len(),
        numbers.len(),
        "some call never decoded: the generator is too wild"
    );
}

#[test]
fn random_replies_never_panic() {
    fn check<R: Reply>(regs: &Regs) {
        if let Ok(r) = R::from_regs(regs) {
            assert!(R::from_regs(&r.to_regs()).is_ok());
        }
    }
    let mut random = Random(99);
    for round in 0..100_000u32 {
        let mut regs = random.regs(0);
        if round % 5 == 0 {
            regs.0[0] = random.next();
        }
        check::<()>(&regs);
        check::<DomainId>(&regs);
        check::<Text>(&regs);
        check::<Bytes>(&regs);
        check::<Counter>(&regs);
        check::<VersionReply>(&regs);
        check::<Machine>(&regs);
        check::<Memory>(&regs);
        check::<LogChunk>(&regs);
        check::<DomainRow>(&regs);
        check::<ConfigRow>(&regs);
        check::<CrashReport>(&regs);
        check::<VcpuRow>(&regs);
        check::<RunTimes>(&regs);
        check::<PoolRow>(&regs);
        check::<CpuRow>(&regs);
        check::<TraceRow>(&regs);
        check::<ParamRow>(&regs);
        check::<Report>(&regs);
        check::<domain::DomainNow>(&regs);
        check::<VcpuPlace>(&regs);
        check::<PoolMemory>(&regs);
        check::<GroupRow>(&regs);
        check::<PlannedPool>(&regs);
        check::<PlannedChange>(&regs);
    }
}
