//! Walking the hypervisor's lists, and turning words that people type into ids.
//!
//! A list may change while it is walked: whatever is alive all the time is seen exactly once. A hypervisor whose list
//! does not advance is answered `Garbled` instead of being walked for ever.

use crate::session::{Fail, Session};
use crate::similar::Nearest;
use tarn_abi::call::domain::{ConfigRow, DomainRow};
use tarn_abi::call::group::{GroupRow, MemberRow};
use tarn_abi::call::param::ParamRow;
use tarn_abi::call::pool::{PoolRow, SchedRow};
use tarn_abi::call::system::CpuRow;
use tarn_abi::call::vcpu::VcpuRow;
use tarn_abi::call::{Counter, domain, group, pool, system, vcpu};
use tarn_abi::{DomainId, Errno, GroupId, MAX_VCPUS, PoolId, SchedId, Text, VcpuId};

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

/// Every row of a list by index.
fn each_index<R>(
    s: &mut Session<'_>,
    ask: &mut dyn FnMut(&mut Session<'_>, u32) -> Result<R, Errno>,
    f: Visit<'_, R>,
) -> Result<(), Fail> {
    for index in 0..LONGEST {
        match ask(s, index) {
            Err(Errno::End) => return Ok(()),
            row => f(s, &row?)?,
        }
    }
    Err(Errno::Garbled.into())
}

/// Whose counters are listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CounterList {
    /// The machine's.
    Machine,
    /// A domain's: exits and interrupts.
    Domain(DomainId),
    /// A pool's.
    Pool(PoolId),
    /// A domain's boosts.
    DomainBoosts(DomainId),
    /// A vCPU's boosts.
    VcpuBoosts(VcpuId),
    /// A group's boosts.
    GroupBoosts(GroupId),
}

/// Every counter of a list.
pub fn each_counter(
    s: &mut Session<'_>,
    of: CounterList,
    f: Visit<'_, Counter>,
) -> Result<(), Fail> {
    let mut ask = |s: &mut Session<'_>, index| match of {
        CounterList::Machine => s.ask(&system::Counters { index }),
        CounterList::Domain(id) => s.ask(&domain::Counters { id, index }),
        CounterList::Pool(id) => s.ask(&pool::Counters { id, index }),
        CounterList::DomainBoosts(id) => s.ask(&domain::Boosts { id, index }),
        CounterList::VcpuBoosts(id) => s.ask(&vcpu::Boosts { id, index }),
        CounterList::GroupBoosts(id) => s.ask(&group::Boosts { id, index }),
    };
    each_index(s, &mut ask, f)
}

/// What has parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// A pool and its scheduler.
    Pool(PoolId),
    /// A domain and all its vCPUs.
    Domain(DomainId),
    /// A vCPU.
    Vcpu(VcpuId),
    /// A group's virtual processors.
    Group(GroupId),
}

/// Every parameter.
pub fn each_param(s: &mut Session<'_>, of: Owner, f: Visit<'_, ParamRow>) -> Result<(), Fail> {
    let mut ask = |s: &mut Session<'_>, index| match of {
        Owner::Pool(id) => s.ask(&pool::Params { id, index }),
        Owner::Domain(id) => s.ask(&domain::Params { id, index }),
        Owner::Vcpu(id) => s.ask(&vcpu::Params { id, index }),
        Owner::Group(id) => s.ask(&group::Params { id, index }),
    };
    each_index(s, &mut ask, f)
}

/// Every scheduler there is.
pub fn each_sched(s: &mut Session<'_>, f: Visit<'_, SchedRow>) -> Result<(), Fail> {
    each_index(s, &mut |s, index| s.ask(&pool::Scheds { index }), f)
}

/// Every CPU, ascending.
pub fn each_cpu(s: &mut Session<'_>, f: Visit<'_, CpuRow>) -> Result<(), Fail> {
    let mut from = 0;
    loop {
        let row = match s.ask(&system::Cpu { from }) {
            Err(Errno::End) => return Ok(()),
            row => row?,
        };
        from = behind(row.id.0, from)?;
        f(s, &row)?;
    }
}

/// Every group of a pool or inside a group, at any depth, ascending by slot.
pub fn each_group(
    s: &mut Session<'_>,
    within: GroupId,
    f: Visit<'_, GroupRow>,
) -> Result<(), Fail> {
    let mut from = 0;
    loop {
        let row = match s.ask(&group::List { within, from }) {
            Err(Errno::End) => return Ok(()),
            row => row?,
        };
        from = behind(row.id.slot, from)?;
        f(s, &row)?;
    }
}

/// Every vCPU directly in a group, or in a pool and no group.
pub fn each_member(s: &mut Session<'_>, id: GroupId, f: Visit<'_, MemberRow>) -> Result<(), Fail> {
    let mut from = 0;
    loop {
        let row = match s.ask(&group::Member { id, from }) {
            Err(Errno::End) => return Ok(()),
            row => row?,
        };
        from = behind(row.vcpu.slot, from)?;
        f(s, &row)?;
    }
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

/// The name of a group, or what stands for one that has gone.
pub fn group_name(s: &mut Session<'_>, id: GroupId) -> Text {
    s.ask(&group::Name { id })
        .unwrap_or_else(|_| Text::truncated("(gone)"))
}

/// The name of a scheduler.
pub fn sched_name(s: &mut Session<'_>, id: SchedId) -> Text {
    let mut found = None;
    let _ = each_sched(s, &mut |_, row| {
        if row.id == id {
            found = Text::from_bytes(row.name.as_bytes());
        }
        Ok(())
    });
    found.unwrap_or_else(|| Text::truncated("?"))
}

/// The scheduler of a name. Prints what is wrong if there is none.
pub fn find_sched(s: &mut Session<'_>, word: &str) -> Result<SchedId, Fail> {
    let mut found = None;
    each_sched(s, &mut |_, row| {
        // As other systems call it, without a version.
        if row.name == *word || word == "credit" && row.name == *"credit2" && found.is_none() {
            found = Some(row.id);
        }
        Ok(())
    })?;
    if let Some(id) = found {
        return Ok(id);
    }
    let mut before = "error: no such scheduler; there are ";
    each_sched(s, &mut |s, row| {
        s.print(format_args!("{before}{}", row.name));
        before = ", ";
        Ok(())
    })?;
    s.print(format_args!("\n"));
    Err(Fail::Said)
}

/// The vCPU of a domain whose number a word is. Prints what is wrong if there is none.
pub fn find_vcpu(s: &mut Session<'_>, domain: DomainId, word: &str) -> Result<VcpuId, Fail> {
    let (mut found, mut count) = (None, 0u32);
    each_vcpu(s, domain, &mut |_, (index, v)| {
        count += 1;
        if number(word).map(u32::from) == Some(*index) {
            found = Some(v.id);
        }
        Ok(())
    })?;
    let name = domain_name(s, domain);
    found.ok_or_else(|| {
        s.fail(format_args!(
            "{name} has no vCPU {word}; it has {count}, from 0 on"
        ))
    })
}

/// Groups are not nested deeper than this, whatever the hypervisor says.
const DEPTH: usize = 16;

/// The row of a group.
fn group_row(s: &mut Session<'_>, id: GroupId) -> Option<GroupRow> {
    let (within, from) = (GroupId::root(id.pool), u32::from(id.slot));
    let row = s.ask(&group::List { within, from }).ok()?;
    (row.id == id).then_some(row)
}

/// Whether a group lies in one that is a domain's own: its name is that domain's choice.
pub fn is_foreign(s: &mut Session<'_>, g: &GroupRow) -> bool {
    let mut at = *g;
    for _ in 0..DEPTH {
        if at.parent.is_root() {
            return false;
        }
        match group_row(s, at.parent) {
            Some(outer) if outer.owner.is_none() => at = outer,
            _ => return true,
        }
    }
    true
}

/// Whether `word` is what `g` may be called: GROUP, OUTER/GROUP, OUTERMOST/OUTER/GROUP and so on, the first of which may be
/// `pool`. A pool leads to all its groups. The outermost group of the word is never one that a domain named: whatever domains
/// make in their own, a word that dom0 used for its own does not come to mean it.
fn is_called(s: &mut Session<'_>, g: &GroupRow, word: &str, pool: Option<PoolId>) -> bool {
    let (mut word, mut at) = (word, *g);
    for _ in 0..DEPTH {
        let (before, last) = match word.rsplit_once('/') {
            Some((before, last)) => (Some(before), last),
            None => (None, word),
        };
        if group_name(s, at.id) != *last {
            return false;
        }
        let Some(before) = before else {
            return !is_foreign(s, &at);
        };
        if !before.contains('/') && pool == Some(at.id.pool) && !is_foreign(s, &at) {
            return true;
        }
        match group_row(s, at.parent) {
            Some(outer) => (word, at) = (before, outer),
            None => return false,
        }
    }
    false
}

/// Prints the shortest word by which `find_group` finds a group if no other is called so.
fn print_path(s: &mut Session<'_>, g: &GroupRow) {
    let (mut path, mut len, mut at) = ([g.id; DEPTH], 1, *g);
    while len < DEPTH && is_foreign(s, &at) {
        let Some(outer) = group_row(s, at.parent) else {
            break;
        };
        (path[len], at) = (outer.id, outer);
        len += 1;
    }
    for (i, id) in path[..len].iter().rev().enumerate() {
        let name = group_name(s, *id);
        let slash = if i > 0 { "/" } else { "" };
        s.print(format_args!("{slash}{name}"));
    }
}

/// The group that a word names: GROUP, or OUTER/GROUP, POOL/GROUP where there are several. Groups of the pool `home` go
/// before others if it is said; those that a domain made inside its own are only found by way of that. Prints what is wrong
/// if there is none.
pub fn find_group(s: &mut Session<'_>, word: &str, home: Option<PoolId>) -> Result<GroupId, Fail> {
    let name = word.rsplit_once('/').map_or(word, |(_, name)| name);
    let outer = word.split_once('/').map(|(outer, _)| outer);
    let (pool, mut like_outer) = match outer {
        Some(outer) => look_up_pool(s, outer)?,
        None => (None, None),
    };
    let (mut nearest, mut nearest_outer) = (Nearest::new(name), Nearest::new(outer.unwrap_or("")));
    if let Some(near) = like_outer {
        nearest_outer.nearer(near.as_bytes());
    }
    let (mut found, mut count, mut best) = (None, 0u32, false);
    // Another of that name, one of a similar name, and whether what it shall be in is there.
    let (mut elsewhere, mut similar, mut known) = (None, None, outer.is_none() || pool.is_some());
    each_pool(s, &mut |s, row| {
        each_group(s, GroupId::root(row.id), &mut |s, g| {
            let this = group_name(s, g.id);
            if outer.is_some_and(|outer| this == *outer) {
                known = true;
            } else if nearest_outer.nearer(this.as_bytes()) {
                like_outer = Some(this);
            }
            if this == *name {
                if !is_called(s, g, word, pool) {
                    elsewhere = Some(*g);
                    return Ok(());
                }
                let near = home == Some(row.id);
                if found.is_none() || near && !best {
                    (found, best, count) = (Some(g.id), near, 1);
                } else if near == best {
                    count += 1;
                }
            } else if nearest.nearer(this.as_bytes()) {
                similar = Some(*g);
            }
            Ok(())
        })
    })?;
    if let Some(id) = found {
        return if count < 2 {
            Ok(id)
        } else {
            Err(s.fail(format_args!(
                "there are {count} groups {word}: say POOL/{name} or OUTER/{name}, where OUTER is the group it is in"
            )))
        };
    }
    s.print(format_args!("error: no group {word}"));
    match (outer, like_outer, elsewhere.or(similar)) {
        (Some(outer), Some(near), _) if !known => s.print(format_args!(
            ": no pool or group is called {outer}; did you mean {near}? 'group-list' shows them all\n"
        )),
        (_, _, Some(near)) => {
            s.print(format_args!(": did you mean "));
            print_path(s, &near);
            s.print(format_args!("? 'group-list' shows them all\n"));
        }
        _ => s.print(format_args!("; 'group-list' shows those there are\n")),
    }
    Err(Fail::Said)
}

/// The number a word is, if it is one and nothing else.
pub fn number(word: &str) -> Option<u16> {
    if word.bytes().all(|b| b.is_ascii_digit()) {
        word.parse().ok()
    } else {
        None
    }
}

/// The live domain that a word names, by its number or else by its name. Prints what is wrong if there is none.
pub fn find_domain(s: &mut Session<'_>, word: &str) -> Result<DomainId, Fail> {
    let mut by_name = None;
    if let Some(name) = Text::new(word) {
        by_name = match s.ask(&domain::Find { name }) {
            Err(Errno::NoSuch) => None,
            id => Some(id?),
        };
    }
    if let (Some(id), None) = (by_name, number(word)) {
        return Ok(id);
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
    if let Some(id) = found.or(by_name) {
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

/// The pool that a word names, by its number or else by its name, and the pool whose name is most like the word.
fn look_up_pool(s: &mut Session<'_>, word: &str) -> Result<(Option<PoolId>, Option<Text>), Fail> {
    let mut nearest = Nearest::new(word);
    let (mut by_name, mut by_number, mut similar) = (None, None, None);
    each_pool(s, &mut |s, row| {
        let name = pool_name(s, row.id);
        if number(word) == Some(row.id.slot) {
            by_number = Some(row.id);
        } else if name == *word {
            by_name = Some(row.id);
        } else if nearest.nearer(name.as_bytes()) {
            similar = Some(name);
        }
        Ok(())
    })?;
    Ok((by_number.or(by_name), similar))
}

/// The pool that a word names, by its number or else by its name. Prints what is wrong if there is none.
pub fn find_pool(s: &mut Session<'_>, word: &str) -> Result<PoolId, Fail> {
    match look_up_pool(s, word)? {
        (Some(id), _) => Ok(id),
        (None, Some(name)) => Err(s.fail(format_args!(
            "no pool {word}: did you mean {name}? 'pool-list' shows them all"
        ))),
        (None, None) => Err(s.fail(format_args!(
            "no pool {word}; 'pool-list' shows those there are"
        ))),
    }
}
