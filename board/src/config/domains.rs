//! `xen,domain` nodes to domains.
//!
//! What Xen's dom0less binding knows is read as Xen reads it. What Tarn lacks is told apart by what ignoring it would
//! do: a request for isolation or for a device refuses the domain, anything else is a warning. A domain is kept whole
//! or not at all.

use super::links::Links;
use super::place::Place;
use super::pools::Handles;
use super::section::{Refusal, Section, Stop, note};
use super::{
    Config, Diagnostic, DomainConfig, GIC_VERSION, MAX_CONFIGURED, MAX_DIAGNOSTICS, Module,
    Restart, Severity, VcpuConfig, links,
};
use crate::chosen::{KINDS, Kind, ModuleKind};
use crate::guest::GuestGic;
use crate::props::{strings, text};
use crate::region::Region;
use crate::tree::ConfNode;
use crate::{Board, BoardError};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use tarn_abi::CpuSet;

/// Most SPIs of a GIC.
const MAX_SPIS: u32 = 988;
/// A weight's range, Xen's.
const WEIGHTS: core::ops::RangeInclusive<u32> = 1..=65_535;

/// A child of /chosen.
pub(super) fn node<'a>(
    node: ConfNode<'a>,
    board: &Board<'_>,
    (place, links): (Place, &Links<'a>),
    pools: &Handles,
    config: &mut Config<'a>,
) -> Result<(), BoardError> {
    let what = node.compatible()?;
    if strings(what).any(|s| s == "xen,domain") {
        let section = Section::new(node, "/chosen")?;
        let mut warnings = Vec::new();
        let read = Reader {
            section: &section,
            board,
            place,
            links,
            pools,
            config,
            warnings: &mut warnings,
        }
        .read();
        match read {
            Ok(domain) => {
                let room = MAX_DIAGNOSTICS.saturating_sub(config.notes.len());
                config.notes.extend(warnings.into_iter().take(room));
                config.domains.push(domain);
            }
            // What else was odd about it would only hide the reason.
            Err(Stop::Node(refusal)) => note(&mut config.notes, Severity::Refused, refusal),
            Err(Stop::Tree(error)) => return Err(error),
        }
    } else if matches!(kind(what), Some(Kind::Module(_))) {
        let section = Section::new(node, "/chosen")?;
        let message = "a module for Xen's dom0; Tarn's dom0 is built in, so it is left alone";
        section.warn(&mut config.notes, "", message.into());
    }
    Ok(())
}

pub(super) fn kind(compatible: &[u8]) -> Option<Kind> {
    strings(compatible).find_map(|s| {
        KINDS
            .iter()
            .find(|(name, _)| *name == s)
            .map(|(_, kind)| *kind)
    })
}

struct Reader<'a, 'r> {
    section: &'r Section<'a>,
    board: &'r Board<'r>,
    place: Place,
    links: &'r Links<'a>,
    pools: &'r Handles,
    config: &'r Config<'a>,
    warnings: &'r mut Vec<Diagnostic>,
}

impl<'a> Reader<'a, '_> {
    fn read(mut self) -> Result<DomainConfig<'a>, Stop> {
        let section = self.section;
        if self.config.domains.len() >= MAX_CONFIGURED {
            return Err(section
                .refuse("", format!("there can be at most {MAX_CONFIGURED} domains"))
                .into());
        }
        let params = self.properties()?;
        let gic = super::version::read(section, self.board)?;
        let cpus = self.cpus(gic)?;
        let pool = match section.u32("domain-cpupool")? {
            None => 0,
            Some(phandle) => self.pools.find(phandle).map_err(|why| {
                section.refuse("domain-cpupool", format!("is {phandle:#x}; {why}"))
            })?,
        };
        let mut domain = DomainConfig {
            name: self.name()?,
            node: section.path.clone(),
            memory_kib: self.memory()?,
            cpus,
            pool,
            gic,
            vpl011: section.get("vpl011").is_some(),
            pl011_at: super::rom::pl011(section, gic, cpus)?,
            nr_spis: section.u32("nr_spis")?,
            // Replaced below, or the domain is refused.
            kernel: Module {
                region: self.board.ram[0],
                bootargs: "",
            },
            ramdisk: None,
            device_tree: None,
            direct_map: section.get("direct-map").is_some(),
            load: None,
            tree_at: section.u64("tarn,device-tree-at")?,
            roms: Vec::new(),
            static_mem: Vec::new(),
            shared: Vec::new(),
            doorbells: Vec::new(),
            vcpus: Vec::new(),
            weight: section.u32("tarn,weight")?,
            cap: section.u32("tarn,cap")?,
            restart: self.restart()?,
            paused: section.get("tarn,paused").is_some(),
            params,
        };
        if domain.nr_spis.is_some_and(|n| n > MAX_SPIS) {
            return Err(section
                .refuse("nr_spis", format!("a GIC has at most {MAX_SPIS} SPIs"))
                .into());
        }
        if domain.weight.is_some_and(|w| !WEIGHTS.contains(&w)) {
            let message = format!(
                "a weight lies between {} and {}",
                WEIGHTS.start(),
                WEIGHTS.end()
            );
            return Err(section.refuse("tarn,weight", message).into());
        }
        domain.static_mem = super::static_mem::read(section, self.board, &domain)?;
        let mut kernel = None;
        for child in section.node.children(section.cells)? {
            let child = Section::new(child?, &section.path)?;
            self.child(&child, &mut domain, &mut kernel)?;
        }
        // What the guest sees besides must be known before.
        for child in section.node.children(section.cells)? {
            let child = Section::new(child?, &section.path)?;
            self.links
                .read(&child, section.cells, &mut domain, self.board)?;
        }
        domain.kernel = kernel.ok_or_else(|| {
            let message =
                "no kernel: a sub-node compatible with \"multiboot,kernel\", \"multiboot,module\" is missing";
            section.refuse("", message.into())
        })?;
        domain.vcpus.sort_unstable_by_key(|v| v.id);
        self.overlaps(&domain)?;
        Ok(domain)
    }

    /// Looks at every property by name: what is unknown, what would need something Tarn lacks, what is a parameter.
    fn properties(&mut self) -> Result<Vec<super::Param<'a>>, Refusal> {
        let section = self.section;
        let mut params = Vec::new();
        for (name, value) in &section.props {
            let lacks =
                |what: &str| Err(section.refuse(name, format!("{what}, which Tarn cannot do yet")));
            match *name {
                "compatible" | "phandle" | "linux,phandle" | "#address-cells" | "#size-cells"
                | "memory" | "cpus" | "vpl011" | "nr_spis" | "domain-cpupool" => {}
                "tarn,device-tree-at" | "tarn,pl011-at" | GIC_VERSION => {}
                "tarn,name" | "tarn,weight" | "tarn,cap" | "tarn,restart" | "tarn,paused" => {}
                "direct-map" | "xen,static-mem" => {}
                "#xen,static-mem-address-cells" | "#xen,static-mem-size-cells" => {}
                "llc-colors" => return lacks("asks for a part of the cache of its own"),
                // Devices are asked for by a device-tree module; this says whether an IOMMU is set up for more.
                "passthrough" if matches!(text(value), Some("disabled" | "enabled")) => {}
                "passthrough" => {
                    let message = "it must be \"enabled\" or \"disabled\"".into();
                    return Err(section.refuse(name, message));
                }
                "xen,sci-type" | "sci-type" if text(value) == Some("none") => {}
                "xen,sci-type" | "sci-type" => {
                    return lacks("asks for the firmware's device management");
                }
                "capabilities" if value.iter().all(|b| *b == 0) => {}
                "capabilities" => return lacks("asks for rights that only dom0 has"),
                "xen,enhanced" if text(value) == Some("disabled") => {}
                "xen,enhanced" => {
                    let message = "Tarn has no Xen event channels or grant tables; \"disabled\" or nothing is served";
                    section.warn(self.warnings, name, message.into());
                }
                ours if ours.starts_with("tarn,") => params.push(section.param(ours, value)?),
                other => section.warn(
                    self.warnings,
                    other,
                    "unknown property of a domain, ignored".into(),
                ),
            }
        }
        Ok(params)
    }

    fn name(&self) -> Result<String, Refusal> {
        let section = self.section;
        let taken = |name: &str| {
            name.eq_ignore_ascii_case("dom0")
                || name.eq_ignore_ascii_case("domain-0")
                || self.config.domains.iter().any(|d| d.name == name)
        };
        section.own_name(taken).map(str::to_string)
    }

    fn memory(&self) -> Result<u64, Refusal> {
        let refuse = |message| Err(self.section.refuse("memory", message));
        let Some(kib) = self.section.u64("memory")? else {
            return refuse("missing; the domain's RAM in KiB, two cells: <0 N>".into());
        };
        let machine: u64 = self
            .board
            .ram
            .iter()
            .map(|r| r.size() / 1024)
            .fold(0, u64::saturating_add);
        // RAM at a place of its own is reserved apart, and checked with that place.
        let anywhere = self.section.get("xen,static-mem").is_none();
        let others = self.config.domains.iter();
        let earlier = others.filter(|d| d.static_mem.is_empty());
        let left = earlier
            .map(|d| d.memory_kib)
            .fold(self.links.room_kib, u64::saturating_sub);
        match kib {
            0 => refuse("is 0 KiB; a domain needs RAM".into()),
            n if n > machine => refuse(format!("is {n} KiB; the machine has {machine} KiB")),
            n if anywhere && n > left => refuse(format!(
                "is {n} KiB; {left} KiB are left of the machine's {machine} after what is reserved, dom0 and the domains \
                 before this one"
            )),
            n => Ok(n),
        }
    }

    fn cpus(&self, gic: GuestGic) -> Result<u32, Refusal> {
        let max = gic.max_vcpus();
        match self.section.u32("cpus")? {
            Some(n) if n >= 1 && n <= max => Ok(n),
            Some(n) => Err(self.section.refuse(
                "cpus",
                format!("is {n}; 1 to {max} vCPUs are possible here"),
            )),
            None => Err(self
                .section
                .refuse("cpus", format!("missing; 1 to {max} vCPUs, one cell"))),
        }
    }

    fn restart(&self) -> Result<Restart, Refusal> {
        match self.section.text("tarn,restart")? {
            None | Some("on-reset") => Ok(Restart::OnReset),
            Some("on-crash") => Ok(Restart::OnCrash),
            Some("always") => Ok(Restart::Always),
            Some("never") => Ok(Restart::Never),
            Some(other) => {
                let message =
                    format!("is \"{other}\"; it must be on-reset, on-crash, always or never");
                Err(self.section.refuse("tarn,restart", message))
            }
        }
    }

    fn child(
        &mut self,
        child: &Section<'a>,
        domain: &mut DomainConfig<'a>,
        kernel: &mut Option<Module<'a>>,
    ) -> Result<(), Refusal> {
        let compatible = child.get("compatible").unwrap_or(&[]);
        if strings(compatible).any(|s| s == "xen,vcpu") {
            return self.vcpu(child, domain);
        }
        if strings(compatible).any(|s| s == "tarn,rom") {
            let phys = self.module(child)?.region;
            domain
                .roms
                .push(super::rom::read(child, phys, domain, self.board)?);
            return Ok(());
        }
        match kind(compatible) {
            Some(Kind::Module(ModuleKind::Kernel)) if kernel.is_some() => {
                Err(child.refuse("", "a second kernel; a domain has one".into()))
            }
            Some(Kind::Module(ModuleKind::Kernel)) => {
                *kernel = Some(self.module(child)?);
                domain.load = child.u64("tarn,load")?;
                Ok(())
            }
            Some(Kind::Module(ModuleKind::Ramdisk)) if domain.ramdisk.is_some() => {
                Err(child.refuse("", "a second ramdisk; a domain has at most one".into()))
            }
            Some(Kind::Module(ModuleKind::Ramdisk)) => {
                domain.ramdisk = Some(self.module(child)?);
                Ok(())
            }
            Some(Kind::Module(ModuleKind::DeviceTree)) if domain.device_tree.is_some() => {
                Err(child.refuse("", "a second device tree; a domain has at most one".into()))
            }
            Some(Kind::Module(ModuleKind::DeviceTree)) => {
                domain.device_tree = Some(self.module(child)?);
                Ok(())
            }
            Some(Kind::Module(ModuleKind::Untyped)) => {
                let message = "a module of no kind, ignored; add \"multiboot,kernel\", \"multiboot,ramdisk\" or \"multiboot,device-tree\"";
                child.warn(self.warnings, "compatible", message.into());
                Ok(())
            }
            Some(Kind::Shared | Kind::Doorbell) => {
                self.known(child, links::KNOWN, "a link between domains");
                Ok(())
            }
            Some(Kind::Config) | None => {
                child.warn(
                    self.warnings,
                    "",
                    "unknown sub-node of a domain, ignored".into(),
                );
                Ok(())
            }
        }
    }

    /// Warns of properties that are neither every node's nor in `known`.
    fn known(&mut self, child: &Section<'a>, known: &[&str], what: &str) {
        const ALL: [&str; 3] = ["compatible", "phandle", "linux,phandle"];
        for (name, _) in &child.props {
            if !ALL.contains(name) && !known.contains(name) {
                let message = format!("unknown property of {what}, ignored");
                child.warn(self.warnings, name, message);
            }
        }
    }

    fn module(&mut self, child: &Section<'a>) -> Result<Module<'a>, Refusal> {
        // A module is a child of the domain's node, so that node's cells count.
        let region = self.place.region(child, self.section.cells, self.board)?;
        const KNOWN: &[&str] = &[
            "reg",
            "tarn,payload",
            "bootargs",
            "tarn,load",
            "tarn,guest-address",
        ];
        self.known(child, KNOWN, "a module");
        Ok(Module {
            region,
            bootargs: child.text("bootargs")?.unwrap_or(""),
        })
    }

    fn vcpu(&mut self, child: &Section<'a>, domain: &mut DomainConfig<'a>) -> Result<(), Refusal> {
        let id = match child.u32("id")? {
            Some(id) if id < domain.cpus => id,
            Some(id) => {
                return Err(child.refuse(
                    "id",
                    format!("is {id}; the domain has vCPUs 0 to {}", domain.cpus - 1),
                ));
            }
            None => {
                return Err(child.refuse("id", "missing; the number of the vCPU, one cell".into()));
            }
        };
        if domain.vcpus.iter().any(|v| v.id == id) {
            return Err(child.refuse("id", format!("vCPU {id} has a node already")));
        }
        const SOFT: &str = "tarn,soft-affinity";
        self.known(child, &["id", "hard-affinity", SOFT], "a vCPU");
        let affinity = self.cpu_list(child, "hard-affinity", domain)?;
        let soft = self.cpu_list(child, SOFT, domain)?;
        if affinity.is_none() && soft.is_none() {
            child.warn(
                self.warnings,
                "hard-affinity",
                "missing, so this node asks for nothing".into(),
            );
            return Ok(());
        }
        if let (Some(hard), Some(soft)) = (affinity, soft)
            && hard.intersection(&soft).is_empty()
        {
            let message = format!("is {soft}, none of which it may use; hard-affinity is {hard}");
            return Err(child.refuse(SOFT, message));
        }
        domain.vcpus.push(VcpuConfig { id, affinity, soft });
        Ok(())
    }

    /// CPUs of a domain's pool, if the property is there.
    fn cpu_list(
        &self,
        child: &Section<'a>,
        name: &'static str,
        domain: &DomainConfig<'a>,
    ) -> Result<Option<CpuSet>, Refusal> {
        let Some(list) = child.text(name)? else {
            return Ok(None);
        };
        let Some(cpus) = CpuSet::parse(list) else {
            let message =
                format!("is \"{list}\"; it must be a list of CPU numbers such as \"0-2,5\"");
            return Err(child.refuse(name, message));
        };
        let pool = &self.config.pools[domain.pool];
        let outside = cpus.difference(&pool.cpus);
        if !outside.is_empty() {
            let message = format!(
                "CPUs {outside} are not in pool \"{}\", which has {}",
                pool.name, pool.cpus
            );
            return Err(child.refuse(name, message));
        }
        Ok(Some(cpus))
    }

    /// Two names for one copy of an image are fine; half an image inside another is a mistake of the loader.
    fn overlaps(&self, domain: &DomainConfig<'a>) -> Result<(), Refusal> {
        let modules = |d: &DomainConfig<'a>| {
            let all = [Some(d.kernel), d.ramdisk, d.device_tree];
            all.into_iter().flatten().map(|m| m.region)
        };
        let clash = |a: Region, b: Region| a != b && a.overlaps(&b);
        let refuse = |a: Region, b: Region, whose: &str| {
            self.section
                .refuse("", format!("its module {a} overlaps {whose}'s module {b}"))
        };
        if let Some(ramdisk) = domain.ramdisk
            && ramdisk.region.overlaps(&domain.kernel.region)
        {
            return Err(refuse(domain.kernel.region, ramdisk.region, &domain.name));
        }
        for other in &self.config.domains {
            for a in modules(domain) {
                for b in modules(other) {
                    if clash(a, b) {
                        return Err(refuse(a, b, &other.name));
                    }
                }
            }
        }
        Ok(())
    }
}
