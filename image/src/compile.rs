//! A `System` to the device tree that Tarn reads, with the files it names, and the way back from tree to text.
//!
//! Xen's bindings where there are any; CPUs by number and modules by their place in the payload, as board's reader
//! wants them of a description that stands apart from the board's tree. What is out of range is written as it is:
//! saying so is the reader's part, here and at boot alike.

use crate::boards::Maker;
use crate::devices;
use crate::kernel;
use crate::links;
use crate::source::{Finding, Span, did_you_mean};
use crate::system::{At, Domain, Parameter, ParameterValue, Pool, System};
use std::collections::BTreeSet;
use std::path::PathBuf;
use tarn_board::config::GIC_VERSION;

/// Modules start on a page.
const ALIGN: u64 = 4096;

/// A file that goes into the payload.
#[derive(Clone, Debug)]
pub struct Module {
    /// Where it came from.
    pub path: PathBuf,
    /// Its bytes, a kernel unpacked.
    pub bytes: Vec<u8>,
    /// Where it lies, from the start of the payload.
    pub offset: u64,
}

/// What stands where: a property of the tree, and how and where the description says it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The node's path.
    pub node: String,
    /// The property; "" for the node.
    pub property: String,
    /// What a person calls it: `domain "linux": memory`.
    pub label: String,
    /// In the text.
    pub span: Span,
}

/// A compiled description.
#[derive(Clone, Debug, Default)]
pub struct Compiled {
    /// The tree.
    pub tree: Vec<u8>,
    /// The files, each once, in the order of their offsets.
    pub modules: Vec<Module>,
    /// The way back.
    pub places: Vec<Place>,
    /// Bytes of tree and modules together, whole pages.
    pub size: u64,
}

impl Compiled {
    /// The place of a property of a node, or of the nearest node above it that has one.
    pub fn place(&self, node: &str, property: &str) -> Option<&Place> {
        let find = |node: &str, property: &str| {
            self.places
                .iter()
                .find(|p| p.node == node && p.property == property)
        };
        if let Some(place) = find(node, property) {
            return Some(place);
        }
        let mut node = node;
        loop {
            if let Some(place) = find(node, "") {
                return Some(place);
            }
            node = node.rsplit_once('/')?.0;
        }
    }

    /// Tree and modules as they follow Tarn in the image.
    pub fn payload(&self) -> Vec<u8> {
        let mut bytes = self.tree.clone();
        for module in &self.modules {
            bytes.resize(module.offset as usize, 0);
            bytes.extend_from_slice(&module.bytes);
        }
        bytes.resize(self.size as usize, 0);
        bytes
    }
}

/// Compiles, reading the files; devices are looked up in `board`, the board's tree. What could not be read is left out
/// and found.
pub fn compile(system: &System, board: Option<&[u8]>) -> (Compiled, Vec<Finding>) {
    let mut found = Vec::new();
    let mut files = Files(Vec::new());
    let wanted: Vec<[Option<usize>; 3]> = system
        .domains
        .iter()
        .map(|domain| {
            [
                files.add(domain.kernel.as_ref(), true, &mut found),
                files.add(domain.initrd.as_ref(), false, &mut found),
                files.devices(domain, board, &mut found),
            ]
        })
        .collect();
    let mut files = files.0;
    // The tree's size does not depend on the numbers in it: made once for the size, once for good.
    let size = Writer::new(system, &files, &wanted).write().tree.len() as u64;
    let mut next = size;
    for file in &mut files {
        file.offset = next.next_multiple_of(ALIGN);
        next = file.offset + file.bytes.len() as u64;
    }
    let written = Writer::new(system, &files, &wanted).write();
    found.extend(written.found);
    let (tree, places) = (written.tree, written.places);
    let compiled = Compiled {
        tree,
        modules: files,
        places,
        size: next.next_multiple_of(ALIGN),
    };
    (compiled, found)
}

/// The files so far, each once.
struct Files(Vec<Module>);

impl Files {
    fn add(
        &mut self,
        path: Option<&At<PathBuf>>,
        kernel: bool,
        found: &mut Vec<Finding>,
    ) -> Option<usize> {
        let path = path?;
        let shown = path.value.display();
        let bytes = match std::fs::read(&path.value) {
            Ok(bytes) => bytes,
            Err(error) => {
                found.push(Finding::error(
                    &path.span,
                    format!("cannot read {shown}: {error}"),
                ));
                return None;
            }
        };
        let bytes = if kernel {
            match kernel::plain(bytes) {
                Ok(bytes) => bytes,
                Err(why) => {
                    found.push(Finding::error(&path.span, format!("{shown} {why}")));
                    return None;
                }
            }
        } else if bytes.is_empty() {
            found.push(Finding::error(&path.span, format!("{shown} is empty")));
            return None;
        } else {
            bytes
        };
        Some(self.keep(path.value.clone(), bytes))
    }

    /// Two domains may boot from one copy.
    fn keep(&mut self, path: PathBuf, bytes: Vec<u8>) -> usize {
        let known = self.0.iter().position(|m| m.bytes == bytes);
        known.unwrap_or_else(|| {
            self.0.push(Module {
                path,
                bytes,
                offset: 0,
            });
            self.0.len() - 1
        })
    }

    /// The partial tree of what a domain is given: its own, or one made for its `devices`.
    fn devices(
        &mut self,
        domain: &Domain,
        board: Option<&[u8]>,
        found: &mut Vec<Finding>,
    ) -> Option<usize> {
        if let (Some(tree), Some(first)) = (&domain.device_tree, domain.devices.first()) {
            let message = "devices and device-tree exclude each other: the tree can name them all";
            found.push(Finding::error(&first.path.span, message));
            return self.add(Some(tree), false, found);
        }
        if domain.devices.is_empty() {
            return self.add(domain.device_tree.as_ref(), false, found);
        }
        let dma = domain.dma.as_ref().is_some_and(|d| d.value);
        match devices::partial(board?, &domain.devices, dma) {
            Ok(tree) => Some(self.keep("made here".into(), tree)),
            Err((n, why)) => {
                found.push(Finding::error(
                    &domain.devices[n].path.span,
                    format!("devices: {why}"),
                ));
                None
            }
        }
    }
}

pub(crate) struct Writer<'s> {
    pub(crate) system: &'s System,
    files: &'s [Module],
    wanted: &'s [[Option<usize>; 3]],
    names: BTreeSet<String>,
    tree: Vec<u8>,
    places: Vec<Place>,
    pub(crate) found: Vec<Finding>,
}

impl<'s> Writer<'s> {
    fn new(system: &'s System, files: &'s [Module], wanted: &'s [[Option<usize>; 3]]) -> Self {
        Writer {
            system,
            files,
            wanted,
            names: BTreeSet::new(),
            tree: Vec::new(),
            places: Vec::new(),
            found: Vec::new(),
        }
    }

    fn write(mut self) -> Self {
        let mut chosen = Maker::new("chosen")
            .cells("#address-cells", &[2])
            .cells("#size-cells", &[2]);
        let lines = [
            ("xen,xen-bootargs", "[tarn] options", &self.system.options),
            (
                "tarn,dom0-script",
                "[tarn] dom0-script",
                &self.system.script,
            ),
        ];
        for (property, label, text) in lines {
            if let Some(text) = text {
                chosen = chosen.text(property, &[&text.value]);
                self.note("/chosen", property, label.into(), &text.span);
            }
        }
        for (n, pool) in self.system.pools.iter().enumerate() {
            chosen = chosen.child(self.pool(n, pool));
        }
        for (n, domain) in self.system.domains.iter().enumerate() {
            chosen = chosen.child(self.domain(n, domain));
        }
        self.tree = Maker::new("")
            .text("compatible", &["tarn,system"])
            .cells("#address-cells", &[2])
            .cells("#size-cells", &[2])
            .child(chosen)
            .blob();
        self
    }

    fn pool(&mut self, n: usize, pool: &Pool) -> Maker {
        let name = self.node_name(&pool.name.value, "pool", n);
        let path = format!("/chosen/{name}");
        let who = format!("pool \"{}\"", pool.name.value);
        self.note(&path, "", who.clone(), &pool.span);
        self.note(&path, "tarn,name", format!("{who}: name"), &pool.name.span);
        let mut node = Maker::new(&name)
            .text("compatible", &["xen,cpupool"])
            .cells("phandle", &[n as u32 + 1])
            .text("tarn,name", &[&pool.name.value]);
        match &pool.cpus {
            Some(cpus) => {
                node = node.text("tarn,cpus", &[&cpus.value]);
                self.note(&path, "tarn,cpus", format!("{who}: cpus"), &cpus.span);
            }
            None => self.note(&path, "cpupool-cpus", format!("{who}: cpus"), &pool.span),
        }
        if let Some(scheduler) = &pool.scheduler {
            node = node.text("cpupool-sched", &[&scheduler.value]);
            let label = format!("{who}: scheduler");
            self.note(&path, "cpupool-sched", label, &scheduler.span);
        }
        self.parameters(node, &path, &who, &pool.parameters)
    }

    fn domain(&mut self, n: usize, domain: &Domain) -> Maker {
        let name = self.node_name(&domain.name.value, "domain", n);
        let path = format!("/chosen/{name}");
        let who = format!("domain \"{}\"", domain.name.value);
        // A kernel that could not be read is complained about where it stands, not as a kernel that is missing.
        let whole = match (&domain.kernel, self.wanted[n][0]) {
            (Some(unread), None) => &unread.span,
            _ => &domain.span,
        };
        self.note(&path, "", who.clone(), whole);
        self.note(
            &path,
            "tarn,name",
            format!("{who}: name"),
            &domain.name.span,
        );
        let mut node = Maker::new(&name)
            .text("compatible", &["xen,domain"])
            .cells("#address-cells", &[2])
            .cells("#size-cells", &[2])
            .text("tarn,name", &[&domain.name.value]);
        if let Some(memory) = &domain.memory {
            node = node.longs("memory", &[memory.value >> 10]);
            self.note(&path, "memory", format!("{who}: memory"), &memory.span);
        }
        let cells = [
            ("cpus", "vcpus", &domain.vcpus),
            (GIC_VERSION, "gic", &domain.gic),
            ("nr_spis", "spis", &domain.spis),
            ("tarn,weight", "weight", &domain.weight),
            ("tarn,cap", "cap", &domain.cap),
        ];
        for (property, key, number) in cells {
            if let Some(number) = number {
                node = node.cells(property, &[cell(number.value)]);
                self.note(&path, property, format!("{who}: {key}"), &number.span);
            }
        }
        if domain.vcpus.is_none() {
            node = node.cells("cpus", &[1]);
        }
        if domain.console.as_ref().is_none_or(|c| c.value) {
            node = node.flag("vpl011");
        }
        if domain.paused.as_ref().is_some_and(|p| p.value) {
            node = node.flag("tarn,paused");
        }
        if let Some(restart) = &domain.restart {
            node = node.text("tarn,restart", &[&restart.value]);
            let label = format!("{who}: restart");
            self.note(&path, "tarn,restart", label, &restart.span);
        }
        if let Some(pool) = &domain.pool {
            let names = self.system.pools.iter().map(|p| p.name.value.as_str());
            let known = names.clone().position(|name| name == pool.value);
            if known.is_none() {
                let near = did_you_mean(&pool.value, names);
                let message = format!("{who}: pool: no pool is called \"{}\"; {near}", pool.value);
                self.found.push(Finding::error(&pool.span, message));
            }
            let phandle = known.unwrap_or(self.system.pools.len()) as u32 + 1;
            node = node.cells("domain-cpupool", &[phandle]);
            self.note(&path, "domain-cpupool", format!("{who}: pool"), &pool.span);
        }
        node = self.parameters(node, &path, &who, &domain.parameters);
        let both = [
            ("hard-affinity", "affinity", &domain.affinity),
            ("tarn,soft-affinity", "soft-affinity", &domain.soft),
        ];
        let listed = both.iter().flat_map(|b| b.2.iter().map(|(vcpu, _)| *vcpu));
        for vcpu in listed.collect::<BTreeSet<u32>>() {
            let child = format!("vcpu@{vcpu}");
            let mut made = Maker::new(&child)
                .text("compatible", &["xen,vcpu"])
                .cells("id", &[vcpu]);
            let path = format!("{path}/{child}");
            for (property, key, list) in both {
                let Some((_, cpus)) = list.iter().find(|(n, _)| *n == vcpu) else {
                    continue;
                };
                made = made.text(property, &[&cpus.value]);
                let label = format!("{who}: {key} of vCPU {vcpu}");
                if key != "affinity" {
                    self.note(&path, property, label.clone(), &cpus.span);
                }
                // The first of them stands for the node.
                self.note(&path, "", label, &cpus.span);
            }
            node = node.child(made);
        }
        node = links::write(self, node, &path, &who, n, domain);
        if domain.direct_map.as_ref().is_some_and(|d| d.value) {
            node = node.flag("direct-map");
        }
        if let Some(banks) = &domain.static_memory {
            let numbers: Vec<u64> = banks.value.iter().flat_map(|(a, s)| [*a, *s]).collect();
            node = node
                .cells("#xen,static-mem-address-cells", &[2])
                .cells("#xen,static-mem-size-cells", &[2])
                .longs("xen,static-mem", &numbers);
            let label = format!("{who}: static-memory");
            self.note(&path, "xen,static-mem", label, &banks.span);
        }
        let place = |at: &Option<At<PathBuf>>| at.as_ref().map(|a| a.span.clone());
        let given = place(&domain.device_tree)
            .or_else(|| domain.devices.first().map(|d| d.path.span.clone()));
        let modules = [
            ("multiboot,kernel", "kernel", place(&domain.kernel)),
            ("multiboot,ramdisk", "initrd", place(&domain.initrd)),
            ("multiboot,device-tree", "devices", given),
        ];
        for ((kind, key, at), file) in modules.into_iter().zip(self.wanted[n]) {
            let (Some(file), Some(at)) = (file, at) else {
                continue;
            };
            let module = &self.files[file];
            let mut made = Maker::new(key)
                .text("compatible", &[kind, "multiboot,module"])
                .longs("tarn,payload", &[module.offset, module.bytes.len() as u64]);
            let path = format!("{path}/{key}");
            self.note(&path, "", format!("{who}: {key}"), &at);
            if key == "kernel"
                && let Some(line) = &domain.bootargs
            {
                made = made.text("bootargs", &[&line.value]);
                self.note(&path, "bootargs", format!("{who}: bootargs"), &line.span);
            }
            node = node.child(made);
        }
        node
    }

    fn parameters(&mut self, mut node: Maker, path: &str, who: &str, list: &[Parameter]) -> Maker {
        const OWN_KEYS: [&str; 7] = [
            "name", "weight", "cap", "restart", "paused", "cpus", "payload",
        ];
        for parameter in list {
            let name = &parameter.name;
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            let place = &parameter.value.span;
            if OWN_KEYS.contains(&name.as_str()) {
                let message = format!("{who}: {name} is no parameter; it is a key of its own");
                self.found.push(Finding::error(place, message));
                continue;
            }
            if name.is_empty() || name.len() > 40 || !name.bytes().all(plain) {
                let message = format!(
                    "{who}: a parameter's name has 1 to 40 small letters, digits and \"-\""
                );
                self.found.push(Finding::error(place, message));
                continue;
            }
            let property = format!("tarn,{name}");
            node = match &parameter.value.value {
                ParameterValue::Flag => node.flag(&property),
                ParameterValue::Text(text) => node.text(&property, &[text]),
                ParameterValue::Number(n) => match u32::try_from(*n) {
                    Ok(n) => node.cells(&property, &[n]),
                    Err(_) => node.longs(&property, &[*n]),
                },
            };
            self.note(path, &property, format!("{who}: {name}"), place);
        }
        node
    }

    /// The name itself where it can be a node's and is free.
    fn node_name(&mut self, name: &str, kind: &str, n: usize) -> String {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
        let fits = name.len() <= 31
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(plain);
        let mut chosen = if fits {
            name.to_owned()
        } else {
            format!("{kind}-{n}")
        };
        while !self.names.insert(chosen.clone()) {
            chosen.push_str("-2");
        }
        chosen
    }

    pub(crate) fn note(&mut self, node: &str, property: &str, label: String, span: &Span) {
        self.places.push(Place {
            node: node.into(),
            property: property.into(),
            label,
            span: span.clone(),
        });
    }
}

pub(crate) fn cell(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
