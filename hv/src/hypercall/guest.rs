//! Area 6: a domain's own affairs. Every call concerns the calling vCPU or its own domain; no id is taken from outside.

use super::vcpu::run_times;
use crate::counters::{self, Counters};
use crate::domain::Domain;
use crate::percpu::Cpu;
use crate::run::{Outcome, POOLS};
use crate::vcpu::Loaded;
use crate::vcpu::page::BoostPage;
use crate::{doorbell, irq, time, vgic};
use abi::call::text::Text;
use abi::call::{Counter, GuestCall, Request};
use abi::{Errno, Regs};
use pools::DeboostCause;

/// Takes a page back.
const NO_PAGE: u64 = u64::MAX;

/// Carries out a call of this area by the vCPU loaded here.
pub fn handle(call: GuestCall, cpu: &'static Cpu, l: &mut Loaded) -> (Option<Regs>, Outcome) {
    let id = l.vcpu().id;
    let (reply, outcome) = match call {
        GuestCall::Yield(c) => {
            POOLS.yield_now(id, time::now());
            (c.answer(Ok(())), Outcome::Reschedule)
        }
        GuestCall::Deboost(c) => {
            vgic::tell(cpu, id);
            irq::send(POOLS.deboost(id, DeboostCause::Asked, time::now()));
            (c.answer(Ok(())), Outcome::Reschedule)
        }
        GuestCall::SetPage(c) => (c.answer(set_page(c.address, l)), Outcome::Resume),
        GuestCall::Ring(c) => (c.answer(doorbell::ring(c.port, l, cpu)), Outcome::Resume),
        GuestCall::Counters(c) => (c.answer(counter(&l.domain, c.index)), Outcome::Resume),
        GuestCall::Runstate(c) => (c.answer(run_times(&l.domain, c.index)), Outcome::Resume),
    };
    (Some(reply), outcome)
}

fn set_page(address: u64, l: &mut Loaded) -> Result<(), Errno> {
    let page = if address == NO_PAGE {
        None
    } else {
        Some(BoostPage::new(&l.domain.s2.lock(), address)?)
    };
    l.ctx.page = page;
    Ok(())
}

/// Counter `index` of a domain: exits of all its vCPUs by reason, then boosts.
fn counter(d: &Domain, index: u32) -> Result<Counter, Errno> {
    let i = index as usize;
    if let Some(name) = counters::NAMES.get(i) {
        let value = Counters::add_up(i, 0, d.vcpus.iter().map(|v| &v.counters));
        return Ok(Counter {
            value,
            name: Text::truncated(name),
        });
    }
    let s = POOLS
        .domain_info(d.id, time::now())
        .map_err(|e| e.errno())?
        .stats;
    super::group::boosts(&s, (i - counters::NAMES.len()) as u32)
}
