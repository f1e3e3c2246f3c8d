//! A system as people see it: CPUs in pools, domains, the map of memory; as text and as a picture.
//!
//! Shows what Tarn will make of the description (tarn-board's values), not what was written. The same input gives the
//! same bytes.

mod svg;
mod text;

use crate::check::Checked;
use tarn_board::{Board, Config, DomainConfig, Region, config};

pub use svg::svg;
pub use text::text;

/// What there is to show.
pub struct View<'a> {
    /// Name of the board.
    pub name: &'static str,
    /// The board.
    pub board: Board<'a>,
    /// Its pools and domains.
    pub config: Config<'a>,
    /// The map of its RAM, ascending.
    pub memory: Vec<Piece>,
    /// Domain and what it is given: devices, in words.
    pub given: Vec<(String, String)>,
    /// Shared memory and doorbells, and their sides, in words.
    pub links: Vec<(String, Vec<String>)>,
}

/// A piece of RAM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where.
    pub region: Region,
    /// What is there.
    pub kind: Kind,
    /// In words.
    pub what: String,
}

/// Kinds of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Tarn, image and bss.
    Tarn,
    /// The description or a file of the image.
    Payload,
    /// Kept by the board.
    Reserved,
    /// What domains are built in.
    Free,
}

/// What to show of a description that has been checked; `tarn`: bytes that Tarn takes in memory.
///
/// # Errors
/// When there is no board or description to show.
pub fn view(checked: &Checked, tarn: u64) -> Result<View<'_>, String> {
    let (board, config, payload) = checked
        .view(tarn)
        .ok_or("there is nothing to show before the description can be read")?;
    let machine = checked.machine.as_ref().ok_or("no board")?;
    let mut memory = Vec::new();
    let mut add = |base: u64, size: u64, kind, what: String| {
        if let Some(region) = Region::new(base, size) {
            memory.push(Piece { region, kind, what });
        }
    };
    add(machine.load, tarn, Kind::Tarn, "Tarn".into());
    let tree = checked.compiled.tree.len() as u64;
    add(payload.base(), tree, Kind::Payload, "description".into());
    for module in &checked.compiled.modules {
        let base = payload.base() + module.offset;
        let region = Region::new(base, module.bytes.len() as u64);
        let users = |what: &str, at: fn(&DomainConfig<'_>) -> Option<Region>| {
            let of = config.domains.iter().filter(|d| at(d) == region);
            let names: Vec<&str> = of.map(|d| d.name.as_str()).collect();
            (!names.is_empty()).then(|| format!("{what} of {}", names.join(", ")))
        };
        let users = [
            users("kernel", |d| Some(d.kernel.region)),
            users("initrd", |d| d.ramdisk.map(|r| r.region)),
            users("devices", |d| d.device_tree.map(|r| r.region)),
        ];
        let users: Vec<String> = users.into_iter().flatten().collect();
        let file = module.path.file_name().unwrap_or_default();
        let what = format!("{}: {}", file.to_string_lossy(), users.join("; "));
        add(base, module.bytes.len() as u64, Kind::Payload, what);
    }
    for reserved in &board.reserved {
        let r = reserved.region;
        let owner = config.domains.iter().find(|d| d.static_mem.contains(&r));
        let owner = owner.map(|d| format!("RAM of {}", d.name));
        let shared = config.shared.iter().find(|m| m.at == Some(r));
        let shared = shared.map(|m| format!("shared: {}", m.id));
        let what = owner.or(shared).unwrap_or("kept by the board".into());
        add(r.base(), r.size(), Kind::Reserved, what);
    }
    let taken: Vec<Region> = memory.iter().map(|p| p.region).collect();
    let free = board
        .free_ram(&taken)
        .map_err(|_| "too many pieces of memory to show")?;
    // Gaps of less than a page between files are not worth a line.
    let free = free.into_iter().filter(|r| r.size() >= 4096);
    memory.extend(free.map(|region| Piece {
        region,
        kind: Kind::Free,
        what: "free".into(),
    }));
    memory.sort_by_key(|p| p.region);
    let system = checked.system.as_ref().ok_or("no system")?;
    let mut given = Vec::new();
    for domain in &system.domains {
        let name = &domain.name.value;
        let devices = domain.devices.iter().map(|d| d.path.value.clone());
        let tree = domain.device_tree.iter().map(|t| {
            let file = t.value.file_name().unwrap_or_default();
            format!("what {} names", file.to_string_lossy())
        });
        given.extend(devices.chain(tree).map(|what| (name.clone(), what)));
    }
    Ok(View {
        given,
        links: links(&config),
        name: machine.name,
        board,
        config,
        memory,
    })
}

/// Shared memory with those who see it, and doorbells, each once.
fn links(config: &Config<'_>) -> Vec<(String, Vec<String>)> {
    let mut lines = Vec::new();
    for (n, memory) in config.shared.iter().enumerate() {
        let mut who = Vec::new();
        for d in &config.domains {
            for view in d.shared.iter().filter(|s| s.memory == n) {
                let part = match view.guest.size() {
                    all if all == memory.size => String::new(),
                    part => format!(", {} from {:#x}", size(part), view.offset),
                };
                let owner = if view.owner { ", owner" } else { "" };
                let access = if view.writable { "" } else { ", read-only" };
                let at = view.guest.base();
                who.push(format!("{} at {at:#x}{part}{owner}{access}", d.name));
            }
        }
        let (id, bytes) = (&memory.id, size(memory.size));
        lines.push((format!("shared memory {id}, {bytes}"), who));
    }
    for (n, d) in config.domains.iter().enumerate() {
        for bell in &d.doorbells {
            let peer = config.domains.iter().position(|p| p.node == bell.peer);
            if let Some(peer) = peer.filter(|p| n < *p) {
                let (port, there) = (bell.port, bell.peer_port);
                let other = &config.domains[peer].name;
                let sides = [
                    format!("{} port {port}", d.name),
                    format!("{other} port {there}"),
                ];
                lines.push(("doorbell".into(), sides.to_vec()));
            }
        }
    }
    lines
}

/// MiB that domains and what they share take of the free memory, rounded up.
fn wanted(config: &Config<'_>) -> u64 {
    let anywhere = config.domains.iter().filter(|d| d.static_mem.is_empty());
    let shared = config.shared.iter().filter(|m| m.at.is_none());
    let domains = anywhere.map(|d| d.memory_kib).sum::<u64>() + config::DOM0_KIB;
    (domains + shared.map(|m| m.size >> 10).sum::<u64>()).div_ceil(1024)
}

/// Bytes with the unit that suits; rounded up, the less the more they are.
fn size(bytes: u64) -> String {
    match bytes {
        0..0x400 => format!("{bytes} bytes"),
        _ if bytes.is_multiple_of(1 << 20) || bytes > 16 << 20 => {
            format!("{} MiB", bytes.div_ceil(1 << 20))
        }
        _ => format!("{} KiB", bytes.div_ceil(1 << 10)),
    }
}

/// The domains of a pool, dom0 among them.
fn members<'v>(view: &'v View<'_>, pool: usize) -> Vec<&'v str> {
    let own = view.config.domains.iter().filter(|d| d.pool == pool);
    let dom0 = (pool == 0).then_some("dom0");
    dom0.into_iter()
        .chain(own.map(|d| d.name.as_str()))
        .collect()
}
