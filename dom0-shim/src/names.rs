//! Walking the hypervisor's lists, and turning words that people type into ids.
//!
//! A list may change while it is walked: whatever is alive all the time is seen exactly once. A hypervisor whose list
//! does not advance is answered `Garbled` instead of being walked for ever.

use crate::session::{Fail, Session};
use crate::similar::Nearest;
use tarn_abi::call::domain::{ConfigRow, DomainRow};
use tarn_abi::call::pool::PoolRow;
use tarn_abi::call::vcpu::VcpuRow;
use tarn_abi::call::{Counter, domain, pool, system, vcpu};
use tarn_abi::{DomainId, Errno, MAX_VCPUS, PoolId, Text};

/// What is done with each row of a list; an error ends the walk.
type Visit<'f, R> = &'f mut dyn FnMut(&mut Session<'_>, &R) -> Result<(), Fail>;

/// No list by index is longer.
const LONGEST: u32 = 4096;

/// The position behind `slot`, if the list advanced.
fn behind(slot: u16, from: u32) -> Result<u32, Errno> {
    let slot = u32::from(slot);
    if slot < from {
        Err(Errno::Garbled)
    } else {
        Ok(slot + 1)
    }
}

/// Every domain, ascending by slot.
pub fn each_domain(s: &mut Session<'_>, f: Visit<'_, DomainRow>) -> Result<(), Fail> {
    let mut from = 0;
    loop {
        let row = match s.ask(&domain::List { from }) {
            Err(Errno::End) => return Ok(()),
            row => row?,
        };
        from = behind(row.id.slot, from)?;
        f(s, &row)?;
    }
}

/// Every pool, ascending by slot.
pub fn each_pool(s: &mut Session<'_>, f: Visit<'_, PoolRow>) -> Result<(), Fail> {
    let mut from = 0;
    loop {
        let row = match s.ask(&pool::List { from }) {
            Err(Errno::End) => return Ok(()),
            row => row?,
        };
        from = behind(row.id.slot, from)?;
        f(s, &row)?;
    }
}

/// Every domain of a pool, ascending by slot.
pub fn each_domain_of(
    s: &mut Session<'_>,
    id: PoolId,
    mut f: impl FnMut(DomainId),
) -> Result<(), Errno> {
    let mut from = 0;
    loop {
        let d = match s.ask(&pool::Domains { id, from }) {
            Err(Errno::End) => return Ok(()),
            d => d?,
        };
        from = behind(d.slot, from)?;
        f(d);
    }
}

/// Every domain of the configuration.
pub fn each_config(s: &mut Session<'_>, f: Visit<'_, ConfigRow>) -> Result<(), Fail> {
    for index in 0..LONGEST {
        match s.ask(&domain::Config { index }) {
            Err(Errno::End) => return Ok(()),
            row => f(s, &row?)?,
        }
    }
    Err(Errno::Garbled.into())
}

/// Every vCPU of a domain, with its number in it.
pub fn each_vcpu(
    s: &mut Session<'_>,
    domain: DomainId,
    f: Visit<'_, (u32, VcpuRow)>,
) -> Result<(), Fail> {
    for index in 0..=MAX_VCPUS as u32 {
        match s.ask(&vcpu::Info { domain, index }) {
            Err(Errno::End) => return Ok(()),
            row => f(s, &(index, row?))?,
        }
    }
    Err(Errno::Garbled.into())
}

/// Every counter of a domain, or of the machine.
pub fn each_counter(
    s: &mut Session<'_>,
    of: Option<DomainId>,
    f: Visit<'_, Counter>,
) -> Result<(), Fail> {
    for index in 0..LONGEST {
        let row = match of {
            Some(id) => s.ask(&domain::Counters { id, index }),
            None => s.ask(&system::Counters { index }),
        };
        match row {
            Err(Errno::End) => return Ok(()),
            row => f(s, &row?)?,
        }
    }
    Err(Errno::Garbled.into())
}

/// The name of a domain, or what stands for one that has gone.
pub fn domain_name(s: &mut Session<'_>, id: DomainId) -> Text {
    s.ask(&domain::Name { id })
        .unwrap_or_else(|_| Text::truncated("(gone)"))
}

/// The name of a pool, or what stands for one that has gone.
pub fn pool_name(s: &mut Session<'_>, id: PoolId) -> Text {
    s.ask(&pool::Name { id })
        .unwrap_or_else(|_| Text::truncated("(gone)"))
}

/// The number a word is, if it is one and nothing else.
fn number(word: &str) -> Option<u16> {
    if word.bytes().all(|b| b.is_ascii_digit()) {
        word.parse().ok()
    } else {
        None
    }
}

/// The live domain that a word names, by its name or else by its number. Prints what is wrong if there is none.
pub fn find_domain(s: &mut Session<'_>, word: &str) -> Result<DomainId, Fail> {
    if let Some(name) = Text::new(word) {
        match s.ask(&domain::Find { name }) {
            Ok(id) => return Ok(id),
            Err(Errno::NoSuch) => {}
            Err(e) => return Err(e.into()),
        }
    }
    let mut nearest = Nearest::new(word);
    let (mut found, mut similar) = (None, None);
    each_domain(s, &mut |s, row| {
        if number(word) == Some(row.id.slot) {
            found = Some(row.id);
        }
        let name = domain_name(s, row.id);
        if nearest.nearer(name.as_bytes()) {
            similar = Some(name);
        }
        Ok(())
    })?;
    if let Some(id) = found {
        return Ok(id);
    }
    let mut configured = false;
    each_config(s, &mut |_, row| {
        configured |= row.name == *word;
        Ok(())
    })?;
    Err(match similar {
        _ if configured => s.fail(format_args!(
            "domain {word} is not alive; 'create {word}' starts it"
        )),
        Some(name) => s.fail(format_args!(
            "no domain {word}: did you mean {name}? 'list' shows them all"
        )),
        None => s.fail(format_args!(
            "no domain {word}; 'list' shows those there are"
        )),
    })
}

/// The pool that a word names, by its name or else by its number. Prints what is wrong if there is none.
pub fn find_pool(s: &mut Session<'_>, word: &str) -> Result<PoolId, Fail> {
    let mut nearest = Nearest::new(word);
    let (mut by_name, mut by_number, mut similar) = (None, None, None);
    each_pool(s, &mut |s, row| {
        let name = pool_name(s, row.id);
        if name == *word {
            by_name = Some(row.id);
        } else if number(word) == Some(row.id.slot) {
            by_number = Some(row.id);
        } else if nearest.nearer(name.as_bytes()) {
            similar = Some(name);
        }
        Ok(())
    })?;
    match (by_name.or(by_number), similar) {
        (Some(id), _) => Ok(id),
        (None, Some(name)) => Err(s.fail(format_args!(
            "no pool {word}: did you mean {name}? 'pool-list' shows them all"
        ))),
        (None, None) => Err(s.fail(format_args!(
            "no pool {word}; 'pool-list' shows those there are"
        ))),
    }
}
