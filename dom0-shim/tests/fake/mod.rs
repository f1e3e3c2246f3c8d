//! A hypervisor for the shell's tests: it takes registers, decodes them as Tarn does, and keeps a small machine.
//!
//! Input comes in bursts; when there is none left, reading is refused and the shell ends. What does not return in Tarn
//! (poweroff, reboot) unwinds here.

mod pools;

use pools::{Group, Pool};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use tarn_abi::call::console::{Focus, LogChunk};
use tarn_abi::call::domain::{
    ConfigRow, CrashReport, DomainFlags, DomainNow, DomainRow, DomainRun, DomainState, DomainTimes,
};
use tarn_abi::call::plan::Verdict;
use tarn_abi::call::report::Adjusted;
use tarn_abi::call::system::{
    CpuRow, CpuWork, Machine, Memory, MemoryNode, TraceRow, VersionReply,
};
use tarn_abi::call::vcpu::{Pinned, RunState, RunTimes, VcpuPlace, VcpuRow};
use tarn_abi::call::{ABI, ConsoleCall, Counter, DomainCall, Request, SystemCall, VcpuCall};
use tarn_abi::{
    Bytes, Call, CpuId, CpuSet, DomainId, Errno, GroupId, Instant, Label, PoolId, Regs, Span, Text,
    VcpuId,
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
    /// Their soft affinities.
    pub softs: Vec<CpuSet>,
    /// Per cent of one CPU that each of its vCPUs gets.
    pub share: u64,
    pub params: Vec<(&'static str, u64)>,
}

pub struct Fake {
    pub domains: Vec<Domain>,
    pub configured: Vec<&'static str>,
    pub pools: Vec<Pool>,
    pub groups: Vec<Group>,
    pub plan: Vec<tarn_abi::call::PlanCall>,
    /// How many vCPUs of each pool a dry run finds without a CPU.
    pub foreseen: u32,
    /// The pools after the last check, and the last verdict.
    pub planned: Vec<Pool>,
    pub verdict: Verdict,
    /// What `Why` says.
    pub why: &'static str,
    /// Time since the machine was entered; passes only when dom0 waits.
    pub now: Span,
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
        softs: vec![CpuSet::ALL; vcpus.len()],
        share: 10,
        params: pools::DOMAIN.iter().map(|p| (p.0, p.1)).collect(),
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
                Pool::new(pool(0), "pool0", "0,2,4", "credit"),
                Pool::new(pool(1), "pool1", "6-9", "credit"),
                Pool::new(pool(2), "pool2", "1,3,5", "credit"),
            ],
            groups: Vec::new(),
            plan: Vec::new(),
            foreseen: 0,
            planned: Vec::new(),
            verdict: Verdict {
                steps: 0,
                failed: 0,
                why: 0,
            },
            why: "",
            now: Span::ms(12_345),
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

    /// A machine whose ten CPUs are all in Pool-0, as after boot.
    #[allow(dead_code, reason = "not every test file begins there")]
    pub fn fresh() -> Fake {
        let mut f = Fake::new();
        f.pools.truncate(1);
        f.pools[0].cpus = tarn_abi::CpuSet::first(10);
        for d in &mut f.domains {
            d.row.pool = PoolId::POOL0;
        }
        f
    }

    /// Types one line; what was printed between its echo and the next prompt.
    pub fn line(&mut self, line: &str) -> String {
        let (all, end) = self.session(&[line.as_bytes(), b"\r"]);
        assert_eq!(end, End::Input);
        // A long line scrolls sideways, but its echo has no line end.
        let echo = all.find("console.\r\ntarn> ").expect("no prompt") + "console.\r\n".len();
        let at = all[echo..].find("\r\n").expect("no echo") + echo + 2;
        all[at..]
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
                uptime: self.now,
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
            SystemCall::Why(c) => c.answer(Ok(if c.part == 0 {
                text(self.why)
            } else {
                Text::default()
            })),
            SystemCall::Cpu(c) => c.answer(if c.from < 10 {
                let id = CpuId(c.from as u16);
                let pool = self.pools.iter().find(|p| p.cpus.contains(id));
                Ok(CpuRow {
                    id,
                    online: true,
                    pool: pool.map(|p| p.id),
                    coming: None,
                    mpidr: 0x8000_0000 | u64::from(c.from),
                    idle: Span::ms(1_000),
                    interrupts: 42,
                })
            } else {
                Err(Errno::End)
            }),
            SystemCall::CpuRun(c) => c.answer(match c.work {
                CpuWork::Midr => Ok(0x410f_d083),
                CpuWork::Hold => Ok(c.argument),
                work => Ok(u64::from(c.cpu.0) << 8 | work as u64),
            }),
            SystemCall::Trace(c) => c.answer(if c.cursor < 30 {
                Ok(TraceRow {
                    next: c.cursor.max(5) + 1,
                    at: Instant(c.cursor * 1_000),
                    // Every fourth answer has found nothing yet.
                    what: Label::new(if c.cursor % 4 == 3 { "more" } else { "run" }).unwrap(),
                    vcpu: Some(VcpuId::new(9, 0)),
                    domain: Some(DomainId::new(1, 0)),
                    detail: c.cursor,
                })
            } else {
                Err(Errno::End)
            }),
            SystemCall::BootScript(c) => {
                let rest = &self.script.as_bytes()[(c.from as usize).min(self.script.len())..];
                c.answer(Ok(Bytes::new(&rest[..rest.len().min(Bytes::MAX)]).unwrap()))
            }
            SystemCall::MemoryNodes(c) => c.answer(if c.index == 0 {
                Ok(MemoryNode {
                    base: 0x4000_0000,
                    size: 1 << 30,
                    node: 0,
                    free: 1000 * 1024,
                })
            } else {
                Err(Errno::End)
            }),
            SystemCall::Reboot(c) if self.refuse_end => c.answer(Err(Errno::Busy)),
            SystemCall::PowerOff(c) if self.refuse_end => c.answer(Err(Errno::Busy)),
            SystemCall::Reboot(_) => resume_unwind(Box::new(End::Reboot)),
            SystemCall::PowerOff(_) => resume_unwind(Box::new(End::PowerOff)),
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
            DomainCall::Create(c) => c.answer(self.create(&c.name, PoolId::POOL0)),
            DomainCall::CreateIn(c) => c.answer(self.create(&c.name, c.pool)),
            DomainCall::Move(c) => c.answer(self.move_domain(c.id, c.to)),
            DomainCall::Params(c) => c.answer(
                self.find(c.id)
                    .and_then(|d| pools::row(&pools::DOMAIN, &d.params, c.index)),
            ),
            DomainCall::SetParams(c) => c.answer(self.find(c.id).and_then(|d| {
                pools::set(&pools::DOMAIN, &mut d.params, &[Some(c.first), c.second])
            })),
            DomainCall::Runstate(c) => c.answer(self.runstate(c.id)),
            DomainCall::RunstateNow(c) => c.answer(self.find(c.id).map(|_| DomainNow {
                state: DomainRun::ConcurrencyHazard,
                since: Instant(0),
                at: Instant(0),
                missed: 0,
            })),
            DomainCall::Boosts(c) => c.answer(
                self.find(c.id)
                    .map(|_| ())
                    .and_then(|()| counter(c.index, &[("granted-irq", 12), ("ended-spent", 3)])),
            ),
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
        }
    }

    fn create(&mut self, name: &Text, pool: PoolId) -> Result<DomainId, Errno> {
        let known = self.configured.iter().copied().find(|n| *name == **n);
        let name = known.ok_or(Errno::NoSuch)?;
        if self.domains.iter().any(|d| d.name == name) {
            return Err(Errno::Exists);
        }
        self.steps()?;
        self.generation += 1;
        let mut d = domain(9, name, 64, pool, &[(RunState::Runnable, None, "0,2,4")]);
        d.id.generation = self.generation;
        d.row.id = d.id;
        self.domains.push(d);
        Ok(DomainId::new(9, self.generation))
    }

    /// Time passes in the fourth state, and for domain 7 in the first.
    fn runstate(&mut self, id: DomainId) -> Result<DomainTimes, Errno> {
        let now = self.now;
        self.find(id)?;
        let mut t = [Span::ZERO; 6];
        match id.slot {
            7 => t[0] = now,
            1 => (t[1], t[2], t[3]) = (Span(now.0 / 2), Span(now.0 / 3), Span(now.0 / 6)),
            _ => t[3] = now,
        }
        Ok(DomainTimes {
            full_run: t[0],
            full_contention: t[1],
            concurrency_hazard: t[2],
            blocked: t[3],
            partial_run: t[4],
            partial_contention: t[5],
        })
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
            VcpuCall::Info(c) => {
                let used = self.used(c.domain);
                let stranded = self.is_stranded(c.domain, c.index);
                c.answer(self.find(c.domain).and_then(|d| {
                    let (state, cpu, affinity) =
                        *d.vcpus.get(c.index as usize).ok_or(Errno::End)?;
                    Ok(VcpuRow {
                        id: VcpuId::new(d.id.slot * 8 + c.index as u16, 0),
                        state,
                        cpu: cpu.map(CpuId),
                        affinity: CpuSet::parse(affinity).unwrap_or(CpuSet::ALL),
                        time: Span(Span::ms(1_500).0 + used),
                        stranded,
                    })
                }))
            }
            VcpuCall::Pin(c) => c.answer(self.pin(c.id, c.cpus, c.soft)),
            VcpuCall::Place(c) => {
                let of = usize::from(c.id.slot % 8);
                c.answer(self.find(DomainId::new(c.id.slot / 8, 0)).map(|d| {
                    let v = &d.vcpus[of];
                    VcpuPlace {
                        group: GroupId::root(d.row.pool),
                        cpu: v.1.map(CpuId),
                        last: v.1.map(CpuId),
                        allowed: CpuSet::parse(v.2).unwrap_or(CpuSet::ALL),
                        soft: d.softs[of],
                    }
                }))
            }
            VcpuCall::Params(c) => {
                let id = DomainId::new(c.id.slot / 8, 0);
                c.answer(
                    self.find(id)
                        .and_then(|d| pools::row(&pools::DOMAIN, &d.params, c.index)),
                )
            }
            VcpuCall::SetParams(c) => {
                c.answer(self.find(DomainId::new(c.id.slot / 8, 0)).and_then(|d| {
                    pools::set(&pools::DOMAIN, &mut d.params, &[Some(c.first), c.second])
                }))
            }
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

    /// CPU time each vCPU of a domain has had since the machine's beginning was seen, ns.
    fn used(&self, id: DomainId) -> u64 {
        let share = self
            .domains
            .iter()
            .find(|d| d.id == id)
            .map_or(0, |d| d.share);
        (self.now.0 - Span::ms(12_345).0) / 100 * share
    }

    fn pin(&mut self, id: VcpuId, cpus: CpuSet, soft: CpuSet) -> Result<Pinned, Errno> {
        let d = self.find(DomainId::new(id.slot / 8, 0))?;
        let v = d
            .vcpus
            .get_mut(usize::from(id.slot % 8))
            .ok_or(Errno::NoSuch)?;
        v.2 = if cpus == CpuSet::ALL {
            "all"
        } else {
            Box::leak(cpus.to_string().into_boxed_str())
        };
        let inside = cpus == CpuSet::ALL || !cpus.contains(CpuId(0));
        if !soft.is_empty() {
            d.softs[usize::from(id.slot % 8)] = soft;
        }
        let vain = !soft.is_empty() && cpus.intersection(&soft).is_empty();
        Ok(Pinned {
            adjusted: Adjusted::NONE
                .with_if(Adjusted::AFFINITY_VOID, !inside)
                .with_if(Adjusted::SOFT_UNUSED, vain),
            allowed: cpus,
        })
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
    fn doze(&mut self, time: Span) {
        self.now += time;
    }

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
            Ok(Call::Group(c)) => self.group(c),
            Ok(Call::Plan(c)) => self.plan(c),
            Ok(Call::Guest(_)) => Regs::refusal(Errno::NotSupported),
        }
    }
}
