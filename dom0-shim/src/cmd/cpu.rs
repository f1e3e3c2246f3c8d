//! Commands about physical CPUs: where they are, work done on one (seed 000), and what was decided there.

use super::parse::Given;
use crate::names;
use crate::session::{Fail, Session};
use crate::table::{Column, Table};
use crate::units::{OrDash, Seconds};
use core::fmt::{self, Display};
use tarn_abi::call::system::{self, CpuRow, CpuWork};
use tarn_abi::{CpuId, DomainId, Errno, Span, VcpuId};

/// Registers that `cpu-run` reads, as they are typed.
pub const WORKS: [(&str, CpuWork); 14] = [
    ("midr", CpuWork::Midr),
    ("mpidr", CpuWork::Mpidr),
    ("revidr", CpuWork::Revidr),
    ("ctr", CpuWork::Ctr),
    ("pfr0", CpuWork::Pfr0),
    ("pfr1", CpuWork::Pfr1),
    ("isar0", CpuWork::Isar0),
    ("isar1", CpuWork::Isar1),
    ("mmfr0", CpuWork::Mmfr0),
    ("mmfr1", CpuWork::Mmfr1),
    ("mmfr2", CpuWork::Mmfr2),
    ("dfr0", CpuWork::Dfr0),
    ("cntfrq", CpuWork::Frequency),
    ("cntpct", CpuWork::Count),
];

pub fn list(s: &mut Session<'_>, _: &Given<'_>) -> Result<(), Fail> {
    let columns = [
        Column::number("CPU", "cpu"),
        Column::text("Online", "online"),
        Column::text("Pool", "pool"),
        Column::text("MPIDR", "mpidr"),
        Column::number("Idle(s)", "idle_s"),
        Column::number("Interrupts", "interrupts"),
    ];
    Table::print(s, columns, &mut |s, t| {
        names::each_cpu(s, &mut |s, row| {
            let online = if row.online { "yes" } else { "no" };
            let name = |s: &mut Session<'_>, id| names::pool_name(s, id);
            let pool = row.pool.map(|id| name(s, id));
            let coming = row.coming.map(|id| name(s, id));
            let mpidr = format_args!("{:#x}", row.mpidr);
            let idle = Seconds(row.idle, 1);
            let place = Place(pool, coming);
            t.row(
                s,
                [&row.id, &online, &place, &mpidr, &idle, &row.interrupts],
            );
            Ok(())
        })
    })
}

/// The pool a CPU is in, and the one it is on its way into.
struct Place(Option<tarn_abi::Text>, Option<tarn_abi::Text>);

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(pool) => pool.fmt(f)?,
            None => f.write_str("free")?,
        }
        match &self.1 {
            Some(pool) => write!(f, " -> {pool}"),
            None => Ok(()),
        }
    }
}

/// The CPUs that a word names; says what is wrong if there is none.
fn each_named(
    s: &mut Session<'_>,
    word: &str,
    f: &mut dyn FnMut(&mut Session<'_>, &CpuRow) -> Result<(), Fail>,
) -> Result<(), Fail> {
    let wanted = names::number(word);
    let mut any = false;
    names::each_cpu(s, &mut |s, row| {
        if row.online && (word == "all" || wanted == Some(row.id.0)) {
            any = true;
            f(s, row)?;
        }
        Ok(())
    })?;
    if any {
        return Ok(());
    }
    Err(s.fail(format_args!(
        "no CPU {word} is up; 'cpu-list' shows those there are"
    )))
}

pub fn run(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let word = g.word(0).unwrap_or("");
    if let Some(time) = g.opt("hold=") {
        if let Some(register) = g.word(1) {
            return Err(s.fail(format_args!(
                "a CPU reads {register} or is held: leave one of them out"
            )));
        }
        return hold(s, word, time);
    }
    let only = match g.word(1) {
        None => None,
        Some(name) => match WORKS.iter().find(|(n, _)| *n == name) {
            Some(work) => Some(work),
            None => {
                s.print(format_args!("error: no register {name}; there are"));
                for (name, _) in WORKS {
                    s.print(format_args!(" {name}"));
                }
                s.print(format_args!("\n"));
                return Err(Fail::Said);
            }
        },
    };
    each_named(s, word, &mut |_, _| Ok(()))?;
    let columns = [
        Column::number("CPU", "cpu"),
        Column::text("Pool", "pool"),
        Column::text("Register", "register"),
        Column::text("Value", "value"),
    ];
    Table::print(s, columns, &mut |s, t| {
        each_named(s, word, &mut |s, row| {
            let pool = OrDash(row.pool.map(|id| names::pool_name(s, id)));
            for (name, work) in WORKS {
                if only.is_some_and(|(n, _)| *n != name) {
                    continue;
                }
                let call = system::CpuRun {
                    cpu: row.id,
                    work,
                    argument: 0,
                };
                let value = s.ask(&call)?;
                t.row(s, [&row.id, &pool, &name, &format_args!("{value:#018x}")]);
            }
            Ok(())
        })
    })
}

/// Keeps a CPU at EL2 for so many microseconds: shows that no other CPU minds.
fn hold(s: &mut Session<'_>, word: &str, time: &str) -> Result<(), Fail> {
    let most = system::MAX_HOLD.0 / 1000;
    let micros = time.parse::<u64>().ok().filter(|n| *n <= most);
    let (Some(micros), Some(cpu)) = (micros, names::number(word)) else {
        return Err(s.fail(format_args!(
            "one CPU is held for 0 to {most} us: 'cpu-run 1 hold=1000'"
        )));
    };
    let call = system::CpuRun {
        cpu: CpuId(cpu),
        work: CpuWork::Hold,
        argument: micros * 1000,
    };
    each_named(s, word, &mut |_, _| Ok(()))?;
    let held = s.ask(&call)? / 1000;
    if s.json {
        let columns = [
            Column::number("CPU", "cpu"),
            Column::number("Held(us)", "held_us"),
        ];
        return Table::print(s, columns, &mut |s, t| {
            t.row(s, [&cpu, &held]);
            Ok(())
        });
    }
    s.print(format_args!("CPU {cpu} was held for {held} us\n"));
    Ok(())
}

/// How many records are shown when nothing is said.
const RECORDS: u16 = 20;
/// Most records that are looked at: more than are kept.
const MOST: u32 = 1 << 16;

pub fn trace(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let word = g.word(0).unwrap_or("");
    let count = match g.opt("-n").map(names::number) {
        Some(None) => return Err(s.fail(format_args!("-n takes a number up to 65535"))),
        Some(Some(n)) => n,
        None => RECORDS,
    };
    let mut cpu = None;
    if word != "all" {
        each_named(s, word, &mut |_, row| {
            cpu = Some(row.id);
            Ok(())
        })?;
    }
    let Some(cpu) = cpu else {
        return Err(s.fail(format_args!("trace shows one CPU: 'trace 0'")));
    };
    // How many there are, then the last of them.
    let (mut cursor, mut records) = (0, 0u64);
    walk(s, cpu, 0, &mut |_, _| records += 1)?;
    if records == 0 {
        s.note(format_args!(
            "nothing is recorded of CPU {cpu}; recording begins with this question"
        ));
    }
    let skip = records.saturating_sub(u64::from(count));
    let mut at = 0u64;
    walk(s, cpu, 0, &mut |_, row| {
        at += 1;
        if at <= skip {
            cursor = row.next;
        }
    })?;
    let columns = [
        Column::number("Time(s)", "time_s"),
        Column::text("What", "what"),
        Column::text("Domain", "domain"),
        Column::number("vCPU", "vcpu"),
        Column::number("Detail", "detail"),
    ];
    Table::print(s, columns, &mut |s, t| {
        let mut left = count;
        walk(s, cpu, cursor, &mut |s, row| {
            if left == 0 {
                return;
            }
            left -= 1;
            let domain = OrDash(row.domain.map(|id| names::domain_name(s, id)));
            let vcpu = OrDash(row.vcpu.and_then(|v| index_of(s, row.domain, v)));
            let time = Seconds(Span(row.at.0), 6);
            t.row(s, [&time, &row.what, &domain, &vcpu, &row.detail]);
        })
    })
}

/// The number of a vCPU in its domain, as all lists have it; none if the domain is gone.
fn index_of(s: &mut Session<'_>, domain: Option<DomainId>, id: VcpuId) -> Option<u32> {
    let mut found = None;
    let _ = names::each_vcpu(s, domain?, &mut |_, (index, v)| {
        if v.id == id {
            found = Some(*index);
        }
        Ok(())
    });
    found
}

fn walk(
    s: &mut Session<'_>,
    cpu: CpuId,
    mut cursor: u64,
    f: &mut dyn FnMut(&mut Session<'_>, &system::TraceRow),
) -> Result<(), Fail> {
    for _ in 0..MOST {
        let row = match s.ask(&system::Trace { cpu, cursor }) {
            Err(Errno::End) => return Ok(()),
            row => row?,
        };
        if row.next <= cursor {
            return Err(Errno::Garbled.into());
        }
        cursor = row.next;
        if row.what != *system::MORE {
            f(s, &row);
        }
    }
    Ok(())
}
