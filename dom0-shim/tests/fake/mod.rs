//! A hypervisor for the shell's tests: it takes registers, decodes them as Tarn does, and keeps a small machine.
//!
//! Input comes in bursts; when there is none left, reading is refused and the shell ends. What does not return in Tarn
//! (poweroff, reboot) unwinds here.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use tarn_abi::call::console::{Focus, LogChunk};
use tarn_abi::call::domain::{ConfigRow, CrashReport, DomainFlags, DomainRow, DomainState};
use tarn_abi::call::pool::PoolRow;
use tarn_abi::call::system::{Machine, Memory, VersionReply};
use tarn_abi::call::vcpu::{RunState, RunTimes, VcpuRow};
use tarn_abi::call::{
    ABI, ConsoleCall, Counter, DomainCall, PoolCall, Request, SystemCall, VcpuCall,
};
use tarn_abi::{
    Bytes, Call, CpuId, CpuSet, DomainId, Errno, Instant, Label, PoolId, Regs, Span, Text, VcpuId,
};
use tarn_dom0_shim::{Hyp, Shell};

/// How the machine ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Input ran out.
    Input,
    PowerOff,
    Reboot,
}

#[derive(Clone)]
pub struct Domain {
    pub id: DomainId,
    pub name: &'static str,
    pub row: DomainRow,
    pub vcpus: Vec<(RunState, Option<u16>, &'static str)>,
}

pub struct Fake {
    pub domains: Vec<Domain>,
    pub configured: Vec<&'static str>,
    pub pools: Vec<(PoolId, &'static str, &'static str, &'static str)>,
    pub input: VecDeque<Vec<u8>>,
    pub output: Vec<u8>,
    /// The log, and how many bytes of its beginning are lost.
    pub log: Vec<u8>,
    pub lost: u64,
    /// Grows the log at every read, as a busy machine does.
    pub chatty: bool,
    /// Typed first.
    pub script: &'static str,
    pub focus: DomainId,
    /// How many times Create, Destroy and Pause answer `Again` first; `u32::MAX` = for ever.
    pub again: u32,
    left: u32,
    pub generation: u16,
    pub refuse_end: bool,
    pub calls: u64,
}

pub fn text(s: &str) -> Text {
    Text::new(s).unwrap()
}

pub fn domain(
    slot: u16,
    name: &'static str,
    mib: u64,
    pool: PoolId,
    vcpus: &[(RunState, Option<u16>, &'static str)],
) -> Domain {
    let id = DomainId::new(slot, 0);
    let running = vcpus.iter().any(|v| v.0 == RunState::Running);
    let row = DomainRow {
        id,
        state: DomainState::Alive,
        flags: DomainFlags::CONSOLE
            .with_if(DomainFlags::RUNNING, running)
            .with_if(DomainFlags::BLOCKED, !running)
            .with_if(DomainFlags::CONTROL, slot == 0),
        vcpus: vcpus.len() as u32,
        memory_kib: mib * 1024,
        pool,
        time: Span::ms(1_250 * u64::from(slot + 1)),
    };
    Domain {
        id,
        name,
        row,
        vcpus: vcpus.to_vec(),
    }
}

impl Fake {
    /// The machine of seed 001's listing: three pools, domains 0, 1, 2, 3 and 7.
    pub fn new() -> Fake {
        use RunState::{Blocked, Offline, Runnable, Running};
        let pool = |slot| PoolId::new(slot, 0);
        Fake {
            domains: vec![
                domain(0, "dom0", 2, pool(0), &[(Running, Some(0), "0,2,4")]),
                domain(
                    1,
                    "web",
                    256,
                    pool(1),
                    &[(Running, Some(6), "6-9"), (Runnable, Some(7), "6-9")],
                ),
                domain(
                    2,
                    "debian-12",
                    1024,
                    pool(2),
                    &[(Blocked, Some(1), "1,3"), (Offline, None, "1,3,5")],
                ),
                domain(
                    3,
                    "debian-13",
                    1024,
                    pool(2),
                    &[(Blocked, Some(5), "1,3,5")],
                ),
                domain(7, "db", 512, pool(1), &[(Running, Some(9), "9")]),
            ],
            configured: vec!["web", "debian-12", "debian-13", "db", "vm5", "vm50", "vm6"],
            pools: vec![
                (pool(0), "pool0", "0,2,4", "credit"),
                (pool(1), "pool1", "6-9", "credit"),
                (pool(2), "pool2", "1,3,5", "credit"),
            ],
            input: VecDeque::new(),
            output: Vec::new(),
            log: Vec::new(),
            lost: 0,
            chatty: false,
            script: "",
            focus: DomainId::DOM0,
            again: 0,
            left: 0,
            generation: 0,
            refuse_end: false,
            calls: 0,
        }
    }

    /// Types `bursts` at the prompt; what the console showed, and how it ended.
    pub fn session(&mut self, bursts: &[&[u8]]) -> (String, End) {
        self.input = bursts
            .iter()
            .flat_map(|b| b.chunks(Bytes::MAX))
            .map(<[u8]>::to_vec)
            .collect();
        self.left = self.again;
        let end = match catch_unwind(AssertUnwindSafe(|| Shell::new(self).run())) {
            Ok(why) => {
                assert_eq!(why, Errno::Denied, "the shell gave up for another reason");
                End::Input
            }
            Err(payload) => match payload.downcast::<End>() {
                Ok(end) => *end,
                Err(payload) => resume_unwind(payload),
            },
        };
        (
            String::from_utf8(std::mem::take(&mut self.output)).unwrap(),
            end,
        )
    }

    /// Types one line; what was printed between its echo and the next prompt.
    pub fn line(&mut self, line: &str) -> String {
        let (all, end) = self.session(&[line.as_bytes(), b"\r"]);
        assert_eq!(end, End::Input);
        let mark = format!("tarn> {line}\r\n");
        let at = all
            .rfind(&mark)
            .unwrap_or_else(|| panic!("no echo of {line:?} in {all:?}"));
        all[at + mark.len()..]
            .strip_suffix("tarn> ")
            .expect("no prompt at the end")
            .replace("\r\n", "\n")
    }

    fn find(&mut self, id: DomainId) -> Result<&mut Domain, Errno> {
        let d = self
            .domains
            .iter_mut()
            .find(|d| d.id.slot == id.slot)
            .ok_or(Errno::NoSuch)?;
        if d.id == id { Ok(d) } else { Err(Errno::Stale) }
    }

    fn steps(&mut self) -> Result<(), Errno> {
        if self.left > 0 {
            self.left -= u32::from(self.left != u32::MAX);
            return Err(Errno::Again);
        }
        self.left = self.again;
        Ok(())
    }

    fn system(&mut self, call: SystemCall) -> Regs {
        match call {
            SystemCall::Info(c) => c.answer(Ok(Machine {
                cpus_present: 10,
                cpus_online: 10,
                gic: 3,
                list_registers: 4,
                counter_hz: 62_500_000,
                uptime: Span::ms(12_345),
            })),
            SystemCall::MemoryInfo(c) => c.answer(Ok(Memory {
                total: 4 << 20,
                free: 1 << 20,
                tarn: 6_145,
                domains: 2 << 20,
            })),
            SystemCall::Model(c) => c.answer(Ok(text("linux,dummy-virt"))),
            SystemCall::Counters(c) => c.answer(counter(
                c.index,
                &[("exit-hvc", 77), ("exit-wfx", 123_456), ("irq-stray", 0)],
            )),
            SystemCall::BootScript(c) => {
                let rest = &self.script.as_bytes()[(c.from as usize).min(self.script.len())..];
                c.answer(Ok(Bytes::new(&rest[..rest.len().min(Bytes::MAX)]).unwrap()))
            }
            SystemCall::Reboot(c) if self.refuse_end => c.answer(Err(Errno::Busy)),
            SystemCall::PowerOff(c) if self.refuse_end => c.answer(Err(Errno::Busy)),
            SystemCall::Reboot(_) => resume_unwind(Box::new(End::Reboot)),
            SystemCall::PowerOff(_) => resume_unwind(Box::new(End::PowerOff)),
            _ => Regs::refusal(Errno::NotSupported),
        }
    }

    fn console(&mut self, call: ConsoleCall) -> Regs {
        match call {
            ConsoleCall::Write(c) => {
                self.output.extend_from_slice(c.bytes.as_slice());
                c.answer(Ok(()))
            }
            ConsoleCall::Read(c) => c.answer(match self.input.pop_front() {
                Some(bytes) => Ok(Bytes::new(&bytes).unwrap()),
                None if c.wait => Err(Errno::Denied),
                None => Ok(Bytes::EMPTY),
            }),
            ConsoleCall::SetFocus(c) => c.answer(match c.to {
                Focus::Keep => Ok(self.focus),
                Focus::Next => Err(Errno::Busy),
                Focus::Domain(id) => self.find(id).map(|d| d.row.flags).and_then(|flags| {
                    if flags.has(DomainFlags::CONSOLE) {
                        Ok(())
                    } else {
                        Err(Errno::Busy)
                    }?;
                    self.focus = id;
                    Ok(id)
                }),
            }),
            ConsoleCall::LogRead(c) => {
                if self.chatty {
                    self.log
                        .extend_from_slice(b"and another line, and another line\n");
                }
                let end = self.lost + self.log.len() as u64;
                let from = c.cursor.clamp(self.lost, end);
                let piece = &self.log[(from - self.lost) as usize..];
                let piece = &piece[..piece.len().min(Bytes::MAX)];
                c.answer(Ok(LogChunk {
                    next: from + piece.len() as u64,
                    bytes: Bytes::new(piece).unwrap(),
                }))
            }
        }
    }

    fn domain(&mut self, call: DomainCall) -> Regs {
        match call {
            DomainCall::List(c) => {
                let row = self
                    .domains
                    .iter()
                    .filter(|d| u32::from(d.id.slot) >= c.from)
                    .min_by_key(|d| d.id.slot);
                c.answer(row.map(|d| d.row).ok_or(Errno::End))
            }
            DomainCall::Name(c) => c.answer(self.find(c.id).map(|d| text(d.name))),
            DomainCall::Find(c) => c.answer(
                self.domains
                    .iter()
                    .find(|d| c.name == *d.name)
                    .map(|d| d.id)
                    .ok_or(Errno::NoSuch),
            ),
            DomainCall::Config(c) => c.answer(
                self.configured
                    .get(c.index as usize)
                    .ok_or(Errno::End)
                    .map(|name| ConfigRow {
                        alive: self.domains.iter().find(|d| d.name == *name).map(|d| d.id),
                        name: text(name),
                    }),
            ),
            DomainCall::Create(c) => {
                let known = self.configured.iter().copied().find(|n| c.name == **n);
                let alive = self.domains.iter().any(|d| c.name == *d.name);
                c.answer(match known {
                    None => Err(Errno::NoSuch),
                    Some(_) if alive => Err(Errno::Exists),
                    Some(name) => self.steps().map(|()| {
                        self.generation += 1;
                        let mut d = domain(
                            9,
                            name,
                            64,
                            PoolId::POOL0,
                            &[(RunState::Runnable, None, "0,2,4")],
                        );
                        d.id.generation = self.generation;
                        d.row.id = d.id;
                        self.domains.push(d);
                        DomainId::new(9, self.generation)
                    }),
                })
            }
            DomainCall::Destroy(c) => {
                let alive = self.find(c.id).map(|_| ());
                c.answer(alive.and_then(|()| {
                    if c.id == DomainId::DOM0 {
                        return Err(Errno::Fixed);
                    }
                    self.steps()?;
                    self.domains.retain(|d| d.id != c.id);
                    Ok(())
                }))
            }
            DomainCall::Pause(c) => {
                let r = if c.id == DomainId::DOM0 {
                    Err(Errno::Fixed)
                } else {
                    self.steps()
                };
                c.answer(r.and_then(|()| self.pause(c.id, true)))
            }
            DomainCall::Unpause(c) => c.answer(self.pause(c.id, false)),
            DomainCall::Counters(c) => {
                let rows = self.find(c.id).map(|_| ());
                c.answer(rows.and_then(|()| counter(c.index, &[("exit-wfx", u64::MAX)])))
            }
            DomainCall::Crash(c) => c.answer(self.find(c.id).and_then(|d| match d.row.state {
                DomainState::Crashed => Ok(CrashReport {
                    pc: 0x4008_1234,
                    reason: text("stage-2 abort, ESR 0x92000047"),
                }),
                _ => Err(Errno::Busy),
            })),
            _ => Regs::refusal(Errno::NotSupported),
        }
    }

    fn pause(&mut self, id: DomainId, paused: bool) -> Result<(), Errno> {
        let d = self.find(id)?;
        if d.row.flags.has(DomainFlags::PAUSED) == paused {
            return Err(Errno::Busy);
        }
        d.row.flags = DomainFlags(d.row.flags.0 ^ DomainFlags::PAUSED.0);
        Ok(())
    }

    fn vcpu(&mut self, call: VcpuCall) -> Regs {
        match call {
            VcpuCall::Info(c) => c.answer(self.find(c.domain).and_then(|d| {
                let (state, cpu, affinity) = *d.vcpus.get(c.index as usize).ok_or(Errno::End)?;
                Ok(VcpuRow {
                    id: VcpuId::new(c.index as u16, 0),
                    state,
                    cpu: cpu.map(CpuId),
                    affinity: CpuSet::parse(affinity).unwrap(),
                    time: Span::ms(1_500),
                })
            })),
            VcpuCall::Runstate(c) => c.answer(self.find(c.domain).and_then(|d| {
                let (state, ..) = *d.vcpus.get(c.index as usize).ok_or(Errno::End)?;
                Ok(RunTimes {
                    state,
                    since: Instant(0),
                    running: Span::ms(1_500),
                    runnable: Span::us(20_250),
                    blocked: Span::ms(12_000),
                    offline: Span::ZERO,
                })
            })),
            _ => Regs::refusal(Errno::NotSupported),
        }
    }

    fn pool(&mut self, call: PoolCall) -> Regs {
        match call {
            PoolCall::List(c) => {
                let row = self.pools.iter().find(|p| u32::from(p.0.slot) >= c.from);
                c.answer(row.ok_or(Errno::End).map(|(id, _, cpus, sched)| PoolRow {
                    id: *id,
                    cpus: CpuSet::parse(cpus).unwrap_or_default(),
                    domains: self.domains.iter().filter(|d| d.row.pool == *id).count() as u32,
                    sched: Label::new(sched).unwrap(),
                }))
            }
            PoolCall::Name(c) => c.answer(
                self.pools
                    .iter()
                    .find(|p| p.0 == c.id)
                    .map(|p| text(p.1))
                    .ok_or(Errno::NoSuch),
            ),
            PoolCall::Domains(c) => c.answer(
                self.domains
                    .iter()
                    .filter(|d| d.row.pool == c.id && u32::from(d.id.slot) >= c.from)
                    .map(|d| d.id)
                    .min()
                    .ok_or(Errno::End),
            ),
            _ => Regs::refusal(Errno::NotSupported),
        }
    }
}

fn counter(index: u32, rows: &[(&str, u64)]) -> Result<Counter, Errno> {
    rows.get(index as usize)
        .map(|(name, value)| Counter {
            value: *value,
            name: text(name),
        })
        .ok_or(Errno::End)
}

impl Hyp for Fake {
    fn call(&mut self, regs: Regs) -> Regs {
        self.calls += 1;
        assert!(self.calls < 10_000_000, "the shell does not stop calling");
        match Call::decode(&regs).and_then(|c| c.permit(true).map(|()| c)) {
            Err(e) => panic!("the shell made a bad call: {regs:x?}: {e}"),
            Ok(Call::Version(c)) => c.answer(Ok(VersionReply {
                abi: ABI,
                text: text("Tarn 0.1.0"),
            })),
            Ok(Call::System(c)) => self.system(c),
            Ok(Call::Console(c)) => self.console(c),
            Ok(Call::Domain(c)) => self.domain(c),
            Ok(Call::Vcpu(c)) => self.vcpu(c),
            Ok(Call::Pool(c)) => self.pool(c),
            Ok(Call::Group(_) | Call::Plan(_) | Call::Guest(_)) => {
                Regs::refusal(Errno::NotSupported)
            }
        }
    }
}
