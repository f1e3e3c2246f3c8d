//! TOML to a `System`.
//!
//! Every key is known or an error with the nearest known one; every value has its type or an error that says which.
//! All findings are collected, not only the first. Sizes are written as "256MiB", addresses as numbers.

use crate::source::{Finding, Severity, Source, Span, did_you_mean};
use crate::system::{
    At, BoardKind, BoardSpec, Device, Domain, Doorbell, Parameter, ParameterValue, Pool, Shared,
    System,
};
use std::path::PathBuf;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Reads a description. The system is there unless something is too wrong to go on.
pub fn read(source: &Source) -> (Option<System>, Vec<Finding>) {
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    let mut found: Vec<Finding> = errors
        .iter()
        .map(|error| Finding {
            severity: Severity::Error,
            span: error.span(),
            message: format!("not TOML: {}", error.message()),
        })
        .collect();
    if !found.is_empty() {
        return (None, found);
    }
    let mut root = Table {
        table: document.get_ref(),
        span: document.span(),
        what: "a system",
        known: Vec::new(),
        found: &mut found,
    };
    let board = root.table("board", "the board");
    let tarn = root.table("tarn", "tarn");
    let pools = root.tables("pool");
    let domains = root.tables("domain");
    let whole = root.span.clone();
    root.finish();

    let board = match board {
        Some((table, span)) => board_spec(table, span, source, &mut found),
        None => {
            let at = whole.start..whole.start;
            let message = "no [board] table; wanted, for example: [board] type = \"virt\"";
            found.push(Finding::error(&at, message));
            None
        }
    };
    let (mut options, mut script) = (None, None);
    if let Some((table, span)) = tarn {
        let mut t = Table::new(table, span, "[tarn]", &mut found);
        options = t.text("options");
        script = t.text("dom0-script").map(|mut s| {
            if !s.value.is_empty() && !s.value.ends_with('\n') {
                s.value.push('\n');
            }
            s
        });
        t.finish();
    }
    if let Some(script) = &script {
        untypable(script, &mut found);
    }
    let pools: Vec<Pool> = pools
        .into_iter()
        .filter_map(|(table, span)| pool(table, span, &mut found))
        .collect();
    let domains: Vec<Domain> = domains
        .into_iter()
        .filter_map(|(table, span)| domain(table, span, source, &mut found))
        .collect();
    let Some(board) = board else {
        return (None, found);
    };
    let system = System {
        board,
        options,
        script,
        pools,
        domains,
    };
    (Some(system), found)
}

/// Letters of a line at dom0's prompt.
const LINE_AT_MOST: usize = 240;

/// Lines of a script that dom0's prompt would not run: it takes printable ASCII, so much of it.
fn untypable(script: &At<String>, found: &mut Vec<Finding>) {
    for (n, line) in script.value.lines().enumerate() {
        let printable = |b: u8| matches!(b, 0x20..0x7f);
        let why = if !line.bytes().all(printable) {
            "has something that is no printable ASCII"
        } else if line.len() > LINE_AT_MOST {
            "is longer than 240 letters"
        } else {
            continue;
        };
        let message = format!("[tarn]: dom0-script: line {} {why}", n + 1);
        found.push(Finding::error(&script.span, message));
    }
}

fn board_spec(
    table: &DeTable<'_>,
    span: Span,
    source: &Source,
    found: &mut Vec<Finding>,
) -> Option<BoardSpec> {
    let mut t = Table::new(table, span.clone(), "[board]", found);
    let kind = t.text("type");
    let spec = BoardSpec {
        span: span.clone(),
        kind: At {
            value: BoardKind::Other,
            span: kind.as_ref().map_or(span.clone(), |k| k.span.clone()),
        },
        cpus: t.number("cpus"),
        memory: t.size("memory"),
        gic: t.number("gic"),
        dtb: t.path("dtb", source),
        load: t.number("load"),
    };
    t.finish();
    const KINDS: [(&str, BoardKind); 3] = [
        ("virt", BoardKind::Virt),
        ("rpi4", BoardKind::Rpi4),
        ("other", BoardKind::Other),
    ];
    let Some(kind) = kind else {
        found.push(Finding::error(
            &span,
            "no type; it must be virt, rpi4 or other",
        ));
        return None;
    };
    match KINDS.iter().find(|(name, _)| *name == kind.value) {
        Some((_, value)) => Some(BoardSpec {
            kind: At {
                value: *value,
                span: kind.span,
            },
            ..spec
        }),
        None => {
            let near = did_you_mean(&kind.value, KINDS.map(|(name, _)| name));
            let message = format!("unknown board \"{}\"; {near}", kind.value);
            found.push(Finding::error(&kind.span, message));
            None
        }
    }
}

fn pool(table: &DeTable<'_>, span: Span, found: &mut Vec<Finding>) -> Option<Pool> {
    let mut t = Table::new(table, span.clone(), "a pool", found);
    let name = t.needed("name");
    let pool = Pool {
        span,
        name: name?,
        cpus: t.cpus("cpus"),
        scheduler: t.text("scheduler"),
        parameters: t.parameters(),
    };
    t.finish();
    Some(pool)
}

fn domain(
    table: &DeTable<'_>,
    span: Span,
    source: &Source,
    found: &mut Vec<Finding>,
) -> Option<Domain> {
    let mut t = Table::new(table, span.clone(), "a domain", found);
    let name = t.needed("name");
    let vcpus = t.number("vcpus");
    let count = vcpus.as_ref().map_or(1, |v| v.value);
    let domain = Domain {
        span,
        name: name?,
        kernel: t.path("kernel", source),
        initrd: t.path("initrd", source),
        bootargs: t.text("bootargs"),
        memory: t.size("memory"),
        vcpus,
        pool: t.text("pool"),
        console: t.flag("console"),
        gic: t.number("gic"),
        spis: t.number("spis"),
        weight: t.number("weight"),
        cap: t.number("cap"),
        affinity: t.affinity("affinity", count),
        soft: t.affinity("soft-affinity", count),
        restart: t.text("restart"),
        paused: t.flag("paused"),
        devices: t.devices("devices"),
        device_tree: t.path("device-tree", source),
        dma: t.flag("dma-without-iommu"),
        direct_map: t.flag("direct-map"),
        static_memory: t.places("static-memory"),
        shared: t.list("shared-memory", SHARED, shared),
        doorbells: t.list("doorbells", DOORBELL, doorbell),
        parameters: t.parameters(),
    };
    t.finish();
    Some(domain)
}

const SHARED: &str =
    "a list such as [{ id = \"samples\", at = 0x7000_0000, size = \"64KiB\", role = \"owner\" }]";
const DOORBELL: &str = "a list such as [{ port = 1, to = \"other\" }]";

fn shared(table: &DeTable<'_>, span: Span, found: &mut Vec<Finding>) -> Option<Shared> {
    let mut t = Table::new(table, span.clone(), "shared memory", found);
    let id = t.needed("id");
    let shared = Shared {
        span,
        id: id?,
        at: t.number("at"),
        size: t.size("size"),
        board: t.number("board"),
        role: t.text("role"),
        access: t.text("access"),
        offset: t.size("offset"),
    };
    t.finish();
    Some(shared)
}

fn doorbell(table: &DeTable<'_>, span: Span, found: &mut Vec<Finding>) -> Option<Doorbell> {
    let mut t = Table::new(table, span.clone(), "a doorbell", found);
    let port = t.number("port");
    if port.is_none() {
        let message = "a doorbell needs a port: port = 1";
        t.found.push(Finding::error(&span, message));
    }
    let doorbell = Doorbell {
        span,
        port: port?,
        to: t.needed("to"),
        to_port: t.number("to-port"),
        spi: t.number("spi"),
    };
    t.finish();
    Some(doorbell)
}

/// A table being read.
struct Table<'a, 'f> {
    table: &'a DeTable<'a>,
    span: Span,
    what: &'static str,
    known: Vec<&'static str>,
    found: &'f mut Vec<Finding>,
}

type Value<'a> = &'a Spanned<DeValue<'a>>;

impl<'a, 'f> Table<'a, 'f> {
    fn new(
        table: &'a DeTable<'a>,
        span: Span,
        what: &'static str,
        found: &'f mut Vec<Finding>,
    ) -> Self {
        Table {
            table,
            span,
            what,
            known: Vec::new(),
            found,
        }
    }

    fn get(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.known.push(key);
        self.table
            .iter()
            .find(|(k, _)| k.get_ref().as_ref() == key)
            .map(|(_, value)| value)
    }

    fn wrong(&mut self, value: Value<'_>, key: &str, want: &str) {
        let message = format!("{key}: {}; it must be {want}", kind(value.get_ref()));
        self.found.push(Finding::error(&value.span(), message));
    }

    fn text(&mut self, key: &'static str) -> Option<At<String>> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::String(text) if !text.contains('\0') => Some(At {
                value: text.to_string(),
                span: value.span(),
            }),
            _ => {
                self.wrong(value, key, "a text in quotes");
                None
            }
        }
    }

    fn needed(&mut self, key: &'static str) -> Option<At<String>> {
        if !self.table.iter().any(|(k, _)| k.get_ref().as_ref() == key) {
            let message = format!("{} needs a {key}: {key} = \"...\"", self.what);
            self.found.push(Finding::error(&self.span, message));
        }
        self.text(key)
    }

    fn path(&mut self, key: &'static str, source: &Source) -> Option<At<PathBuf>> {
        self.text(key).map(|text| At {
            value: source.folder.join(&text.value),
            span: text.span,
        })
    }

    fn flag(&mut self, key: &'static str) -> Option<At<bool>> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(At {
                value: *flag,
                span: value.span(),
            }),
            _ => {
                self.wrong(value, key, "true or false");
                None
            }
        }
    }

    fn number(&mut self, key: &'static str) -> Option<At<u64>> {
        let value = self.get(key)?;
        match integer(value.get_ref()) {
            Some(number) => Some(At {
                value: number,
                span: value.span(),
            }),
            None => {
                self.wrong(value, key, "a number from 0 on");
                None
            }
        }
    }

    /// A number of bytes: "256MiB".
    fn size(&mut self, key: &'static str) -> Option<At<u64>> {
        let value = self.get(key)?;
        let size = match value.get_ref() {
            DeValue::String(text) => parse_size(text),
            _ => None,
        };
        if size.is_none() {
            self.wrong(value, key, "a size such as \"256MiB\" (KiB, MiB or GiB)");
        }
        size.map(|bytes| At {
            value: bytes,
            span: value.span(),
        })
    }

    /// CPU numbers: "0-2,5", 3 or [0, 1].
    fn cpus(&mut self, key: &'static str) -> Option<At<String>> {
        let value = self.get(key)?;
        let list = match value.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            one @ DeValue::Integer(_) => integer(one).map(|n| n.to_string()),
            DeValue::Array(list) => list
                .iter()
                .map(|n| integer(n.get_ref()).map(|n| n.to_string()))
                .collect::<Option<Vec<_>>>()
                .map(|list| list.join(",")),
            _ => None,
        };
        if list.is_none() {
            self.wrong(value, key, "CPU numbers such as \"0-2,5\" or [0, 1]");
        }
        list.map(|text| At {
            value: text,
            span: value.span(),
        })
    }

    /// One list of CPUs for all vCPUs, or a list of such lists, one a vCPU.
    fn affinity(&mut self, key: &'static str, vcpus: u64) -> Vec<(u32, At<String>)> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let vcpus = u32::try_from(vcpus.min(64)).unwrap_or(64);
        match value.get_ref() {
            DeValue::String(text) => (0..vcpus)
                .map(|n| {
                    let at = At {
                        value: text.to_string(),
                        span: value.span(),
                    };
                    (n, at)
                })
                .collect(),
            DeValue::Array(list) => {
                let mut all = Vec::new();
                for (n, one) in (0u32..).zip(list.iter()) {
                    match one.get_ref() {
                        DeValue::String(text) if text.is_empty() => {}
                        DeValue::String(text) => all.push((
                            n,
                            At {
                                value: text.to_string(),
                                span: one.span(),
                            },
                        )),
                        _ => self.wrong(one, key, "CPU numbers such as \"0-2,5\", \"\" for any"),
                    }
                }
                all
            }
            _ => {
                self.wrong(
                    value,
                    key,
                    "\"0-2\" for all vCPUs, or one such text a vCPU: [\"0\", \"1\"]",
                );
                Vec::new()
            }
        }
    }

    /// Paths, or tables with more to say about them.
    fn devices(&mut self, key: &'static str) -> Vec<Device> {
        const WANT: &str =
            "a list of paths in quotes; also [{ path = \"/...\", clock = 48_000_000 }]";
        let mut all = Vec::new();
        for one in self.array(key, WANT) {
            match one.get_ref() {
                DeValue::String(text) if !text.contains('\0') => all.push(Device {
                    path: At {
                        value: text.to_string(),
                        span: one.span(),
                    },
                    clock: None,
                }),
                DeValue::Table(table) => {
                    let mut t = Table::new(table, one.span(), "a device", self.found);
                    let (path, clock) = (t.needed("path"), t.number("clock"));
                    t.finish();
                    all.extend(path.map(|path| Device { path, clock }));
                }
                _ => self.wrong(one, key, WANT),
            }
        }
        all
    }

    /// The values of a list; `want` says what it looks like.
    fn array(&mut self, key: &'static str, want: &str) -> &'a [Spanned<DeValue<'a>>] {
        let Some(value) = self.get(key) else {
            return &[];
        };
        match value.get_ref() {
            DeValue::Array(list) => list,
            _ => {
                self.wrong(value, key, want);
                &[]
            }
        }
    }

    /// Tables in a list.
    fn list<T>(
        &mut self,
        key: &'static str,
        want: &str,
        read: impl Fn(&DeTable<'_>, Span, &mut Vec<Finding>) -> Option<T>,
    ) -> Vec<T> {
        let mut all = Vec::new();
        for one in self.array(key, want) {
            match one.get_ref() {
                DeValue::Table(table) => all.extend(read(table, one.span(), self.found)),
                _ => self.wrong(one, key, want),
            }
        }
        all
    }

    /// Pieces of memory: [{ at = 0x5000_0000, size = "64MiB" }].
    fn places(&mut self, key: &'static str) -> Option<At<Vec<(u64, u64)>>> {
        const WANT: &str = "a list such as [{ at = 0x5000_0000, size = \"64MiB\" }]";
        let span = self.get(key)?.span();
        let value = self.list(key, WANT, |table, span, found| {
            let mut t = Table::new(table, span.clone(), "a piece of memory", found);
            let (at, size) = (t.number("at"), t.size("size"));
            t.finish();
            if at.is_none() || size.is_none() {
                let message = format!("a piece of memory needs a place and a size: {WANT}");
                found.push(Finding::error(&span, message));
            }
            Some((at?.value, size?.value))
        });
        Some(At { value, span })
    }

    fn parameters(&mut self) -> Vec<Parameter> {
        let Some((table, _)) = self.table("parameters", "parameters") else {
            return Vec::new();
        };
        let mut list = Vec::new();
        for (name, value) in table.iter() {
            let key = name.get_ref().as_ref();
            let read = match value.get_ref() {
                DeValue::Boolean(true) => Some(ParameterValue::Flag),
                DeValue::String(text) if !text.contains('\0') => {
                    Some(ParameterValue::Text(text.to_string()))
                }
                number @ DeValue::Integer(_) => integer(number).map(ParameterValue::Number),
                _ => None,
            };
            match read {
                Some(read) => list.push(Parameter {
                    name: key.to_owned(),
                    value: At {
                        value: read,
                        span: name.span().start..value.span().end,
                    },
                }),
                None => self.wrong(value, key, "a number from 0 on, a text or true"),
            }
        }
        list
    }

    fn table(&mut self, key: &'static str, what: &str) -> Option<(&'a DeTable<'a>, Span)> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some((table, self.header(key, value.span()))),
            _ => {
                self.wrong(value, key, &format!("a table, [{what}]"));
                None
            }
        }
    }

    fn tables(&mut self, key: &'static str) -> Vec<(&'a DeTable<'a>, Span)> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let mut all = Vec::new();
        match value.get_ref() {
            DeValue::Array(list) => {
                for one in list.iter() {
                    match one.get_ref() {
                        DeValue::Table(table) => all.push((table, one.span())),
                        _ => self.wrong(one, key, &format!("a table, [[{key}]]")),
                    }
                }
            }
            DeValue::Table(_) => self.wrong(
                value,
                key,
                &format!("written in double brackets: [[{key}]]"),
            ),
            _ => self.wrong(value, key, &format!("tables, [[{key}]]")),
        }
        all
    }

    /// A table's own span may be that of its header or be empty; the key's place serves then.
    fn header(&self, key: &str, span: Span) -> Span {
        if span.is_empty() {
            let named = self.table.iter().find(|(k, _)| k.get_ref().as_ref() == key);
            named.map_or(span, |(k, _)| k.span())
        } else {
            span
        }
    }

    /// Complains about every key nobody asked for.
    fn finish(self) {
        for (key, _) in self.table.iter() {
            let name = key.get_ref().as_ref();
            if !self.known.contains(&name) {
                let near = did_you_mean(name, self.known.iter().copied());
                let message = format!("unknown key \"{name}\" of {}; {near}", self.what);
                self.found.push(Finding::error(&key.span(), message));
            }
        }
    }
}

fn kind(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("is the text \"{}\"", text.escape_debug()),
        DeValue::Integer(number) => format!("is the number {number}"),
        DeValue::Float(number) => format!("is the number {number}"),
        DeValue::Boolean(flag) => format!("is {flag}"),
        DeValue::Datetime(_) => "is a date".into(),
        DeValue::Array(_) => "is a list".into(),
        DeValue::Table(_) => "is a table".into(),
    }
}

fn integer(value: &DeValue<'_>) -> Option<u64> {
    match value {
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
        _ => None,
    }
}

/// "64KiB", "256MiB", "1GiB"; blanks before the unit are fine.
pub fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse_size("64KiB"), Some(64 << 10));
        assert_eq!(parse_size("1 GiB"), Some(1 << 30));
        for wrong in [
            "",
            "12",
            "MiB",
            "1MB",
            "-1MiB",
            "99999999999999999999KiB",
            "18014398509481985KiB",
        ] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
    }
}
