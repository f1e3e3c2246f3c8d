//! Shared memory and doorbells of a description, as nodes of the domain that has them.
//!
//! Xen's bindings (`xen,domain-shared-memory-v1`, `xen,evtchn-v1`). A doorbell's end names the other one by phandle: the
//! numbers here follow the pools', one for each doorbell of each domain in the order of the file. An end whose other side
//! is not described gets a phandle that nobody has, for the reader to complain about.

use crate::boards::Maker;
use crate::compile::{Writer, cell};
use crate::source::{Finding, did_you_mean};
use crate::system::{Domain, Doorbell, Shared, System};

/// Adds the links of `domain`, number `n` of the system, to its `node` at `path`; `who` is what a person calls it.
pub(crate) fn write(
    w: &mut Writer<'_>,
    mut node: Maker,
    path: &str,
    who: &str,
    n: usize,
    domain: &Domain,
) -> Maker {
    for (i, one) in domain.shared.iter().enumerate() {
        node = node.child(shared(w, &format!("shared-{i}"), path, who, one));
    }
    for (i, one) in domain.doorbells.iter().enumerate() {
        let name = format!("doorbell-{i}");
        let own = phandle(w.system, n, i);
        node = node.child(doorbell(w, &name, path, who, own, domain, one));
    }
    node
}

fn shared(w: &mut Writer<'_>, name: &str, path: &str, who: &str, one: &Shared) -> Maker {
    let path = format!("{path}/{name}");
    let who = format!("{who}: shared-memory");
    let number = |n: &Option<crate::system::At<u64>>| n.as_ref().map(|n| n.value);
    let mut place: Vec<u64> = number(&one.board).into_iter().collect();
    // What is missing is written as too short a list; the reader says what belongs there.
    place.extend(number(&one.at));
    place.extend(number(&one.size));
    let mut node = Maker::new(name)
        .text("compatible", &["xen,domain-shared-memory-v1"])
        .text("xen,shm-id", &[&one.id.value])
        .longs("xen,shared-mem", &place);
    w.note(&path, "", who.clone(), &one.span);
    w.note(&path, "xen,shm-id", format!("{who}: id"), &one.id.span);
    w.note(&path, "xen,shared-mem", who.clone(), &one.span);
    for (property, key, text) in [
        ("role", "role", &one.role),
        ("tarn,access", "access", &one.access),
    ] {
        if let Some(text) = text {
            node = node.text(property, &[&text.value]);
            w.note(&path, property, format!("{who}: {key}"), &text.span);
        }
    }
    if let Some(offset) = &one.offset {
        node = node.longs("xen,offset", &[offset.value]);
        w.note(&path, "xen,offset", format!("{who}: offset"), &offset.span);
    }
    node
}

fn doorbell(
    w: &mut Writer<'_>,
    name: &str,
    path: &str,
    who: &str,
    own: u32,
    domain: &Domain,
    one: &Doorbell,
) -> Maker {
    let path = format!("{path}/{name}");
    let who = format!("{who}: doorbells");
    w.note(&path, "", who.clone(), &one.span);
    w.note(&path, "xen,evtchn", who.clone(), &one.span);
    let to = other_end(w, domain, one);
    let mut node = Maker::new(name)
        .text("compatible", &["xen,evtchn-v1"])
        .cells("phandle", &[own])
        .cells("xen,evtchn", &[cell(one.port.value), to]);
    if let Some(spi) = &one.spi {
        node = node.cells("tarn,spi", &[cell(spi.value)]);
        w.note(&path, "tarn,spi", format!("{who}: spi"), &spi.span);
    }
    node
}

/// The phandle of the other end, or one that no node has.
fn other_end(w: &mut Writer<'_>, domain: &Domain, one: &Doorbell) -> u32 {
    let system = w.system;
    let nobody = phandle(system, system.domains.len(), 0);
    let Some(to) = &one.to else { return nobody };
    let names = system.domains.iter().map(|d| d.name.value.as_str());
    let Some(there) = names.clone().position(|name| name == to.value) else {
        let others = names.filter(|name| *name != domain.name.value);
        let near = did_you_mean(&to.value, others);
        let message = format!("to: no domain is called \"{}\"; {near}", to.value);
        w.found.push(Finding::error(&to.span, message));
        return nobody;
    };
    let port = one.to_port.as_ref().map_or(one.port.value, |p| p.value);
    let ends = &system.domains[there].doorbells;
    let end = ends.iter().position(|d| d.port.value == port);
    end.map_or(nobody, |i| phandle(system, there, i))
}

/// The phandle of doorbell `i` of domain `n`.
fn phandle(system: &System, n: usize, i: usize) -> u32 {
    let before = system.domains.iter().take(n).map(|d| d.doorbells.len());
    (system.pools.len() + before.sum::<usize>() + i) as u32 + 1
}
