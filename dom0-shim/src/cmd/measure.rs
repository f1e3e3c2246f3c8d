//! Shares of CPU time over an interval: what `top` and `group-list` are made of.
//!
//! CPU time of every vCPU is read, time passes, and it is read again. Nothing is kept between commands.

use super::parse::Given;
use crate::names;
use crate::session::{Fail, Session};
use crate::table::{Column, Table};
use crate::units::{OrDash, Percent, Seconds, parse_seconds};
use tarn_abi::call::vcpu::RunState;
use tarn_abi::{Errno, GroupId, MAX_VCPUS, Span, VcpuId};

/// How long a measurement takes when nothing is said.
const INTERVAL: Span = Span::ms(1_000);

/// The interval that was typed.
pub fn interval(s: &mut Session<'_>, text: &str) -> Result<Span, Fail> {
    parse_seconds(text).ok_or_else(|| {
        s.fail(format_args!(
            "{text} is no time: say seconds, 0.001 to 86400"
        ))
    })
}

/// CPU time used by vCPUs since `begin`, then, after `finish`, over the interval.
pub struct Usage {
    vcpus: [u64; MAX_VCPUS],
    begun: Span,
    /// How long the interval was, ns.
    pub elapsed: u64,
}

impl Usage {
    /// Reads for the first time, lets `-i` pass, and reads again; a key ends it earlier only if `keys` says so.
    pub fn measure(s: &mut Session<'_>, g: &Given<'_>, keys: bool) -> Result<Usage, Fail> {
        let time = match g.opt("-i") {
            Some(text) => interval(s, text)?,
            None => INTERVAL,
        };
        let mut u = Usage {
            vcpus: [0; MAX_VCPUS],
            begun: s.uptime().ok_or(Errno::NotSupported)?,
            elapsed: 0,
        };
        u.read(s, &mut |slot, now| *slot = now)?;
        if keys {
            s.wait(time)?;
        } else {
            s.sit_out(time)?;
        }
        let now = s.uptime().ok_or(Errno::NotSupported)?;
        u.elapsed = now.0.saturating_sub(u.begun.0);
        u.read(s, &mut |slot, now| *slot = now.saturating_sub(*slot))?;
        Ok(u)
    }

    fn read(
        &mut self,
        s: &mut Session<'_>,
        put: &mut dyn FnMut(&mut u64, u64),
    ) -> Result<(), Fail> {
        let vcpus = &mut self.vcpus;
        super::vcpu::each(s, None, &mut |_, _, _, _, v| {
            if let Some(slot) = vcpus.get_mut(v.id.index()) {
                put(slot, v.time.0);
            }
            Ok(())
        })?;
        Ok(())
    }

    /// A vCPU's share of one CPU.
    pub fn vcpu(&self, id: VcpuId) -> Percent {
        let used = self.vcpus.get(id.index()).copied().unwrap_or(0);
        Percent(used, self.elapsed)
    }

    /// A group's share of one CPU: what its members have had together, so that the parts are the whole. A dash if it has
    /// changed meanwhile.
    pub fn within(&self, s: &mut Session<'_>, id: GroupId) -> OrDash<Percent> {
        let mut used = 0u64;
        let own = self.add(s, id, &mut used);
        let inner = names::each_group(s, id, &mut |s, g| self.add(s, g.id, &mut used));
        OrDash(own.and(inner).ok().map(|()| Percent(used, self.elapsed)))
    }

    /// What those directly in a group have used.
    fn add(&self, s: &mut Session<'_>, id: GroupId, used: &mut u64) -> Result<(), Fail> {
        names::each_member(s, id, &mut |_, m| {
            *used = used.saturating_add(self.used(m.vcpu));
            Ok(())
        })
    }

    /// What several vCPUs have used, ns.
    pub fn used(&self, id: VcpuId) -> u64 {
        self.vcpus.get(id.index()).copied().unwrap_or(0)
    }
}

pub fn top(s: &mut Session<'_>, g: &Given<'_>) -> Result<(), Fail> {
    let times = match g.opt("-n").map(names::number) {
        Some(None | Some(0)) => {
            return Err(s.fail(format_args!("-n takes a number from 1 on")));
        }
        Some(Some(n)) => Some(n),
        // For a program once; a person ends it by a key.
        None if s.script || s.json => Some(1),
        None => None,
    };
    let mut shown = 0u16;
    loop {
        let u = Usage::measure(s, g, times.is_none())?;
        if s.typed_ahead() && times.is_none() {
            s.drop_key();
            return Ok(());
        }
        show(s, &u)?;
        shown = shown.saturating_add(1);
        if times.is_some_and(|n| shown >= n) {
            return Ok(());
        }
    }
}

fn show(s: &mut Session<'_>, u: &Usage) -> Result<(), Fail> {
    let columns = [
        Column::text("Name", "name"),
        Column::number("ID", "id"),
        Column::text("Pool", "pool"),
        Column::number("VCPUs", "vcpus"),
        Column::number("running", "running"),
        Column::number("CPU(%)", "cpu_percent"),
        Column::number("Time(s)", "time_s"),
    ];
    Table::print(s, columns, &mut |s, t| {
        names::each_domain(s, &mut |s, row| {
            let (mut used, mut running) = (0u64, 0u32);
            match names::each_vcpu(s, row.id, &mut |_, (_, v)| {
                used = used.saturating_add(u.used(v.id));
                running += u32::from(v.state == RunState::Running);
                Ok(())
            }) {
                Err(Fail::Refused(Errno::Stale | Errno::NoSuch)) => return Ok(()),
                result => result?,
            }
            let (name, pool) = (names::domain_name(s, row.id), names::pool_name(s, row.pool));
            let (share, time) = (Percent(used, u.elapsed), Seconds(row.time, 1));
            t.row(
                s,
                [
                    &name,
                    &row.id.slot,
                    &pool,
                    &row.vcpus,
                    &running,
                    &share,
                    &time,
                ],
            );
            Ok(())
        })
    })
}
