//! docs/abi.md is printed from the table of calls; this test fails when the file is not what the table says.
//!
//! `TARN_BLESS=1 cargo test -p tarn-abi --test reference` writes it anew.

use std::fmt::Write;
use std::path::Path;
use tarn_abi::Errno;
use tarn_abi::call::wire::Field;
use tarn_abi::call::{ABI, BASE, Caller, Row, table};

const HEAD: &str = "\
<!-- Printed from abi/src/call by abi/tests/reference.rs: do not edit, run TARN_BLESS=1 cargo test -p tarn-abi. -->
# The hypervisor call interface

A call is `HVC #0` (or `SMC #0`) from EL1 with a function id in w0 and arguments in x1-x7. The ids are SMCCC fast calls,
64-bit, in the vendor-specific hypervisor service range (Arm DEN0028). x0 of the reply is 0 or one of the refusals
below; x1-x7 hold values. No call takes or returns an address. What this page says is what both sides are compiled
from: the hypervisor decodes and the control domain encodes with the same crate, `abi/`.

Rules for every call:

- A register to which a call gives no meaning must be 0, or the call is refused (-3). In a reply such a register is 0
  and must be ignored: a later minor version may use it.
- A refused call has changed nothing. -9 is no refusal: a bounded part of the work is done and the rest waits. Make the
  same call again until it answers something else; interrupts and other vCPUs get their turn in between.
- An id is a slot of a table in bits 0-15 and the slot's generation in bits 16-31. The id of something destroyed answers
  -5, even when the slot is in use again.
- A list is walked by `from`, the lowest slot to look at (go on at the slot of the answer + 1), or by `index` (go on at
  + 1). It ends with -11. What is there all the time is seen exactly once.
- Text is padded with zero bytes and has none inside; the first byte is in the lowest bits of the first register.
  Text and bytes of six registers are always in x2-x7.
- A call that is for dom0 alone answers -2 to every other domain.

";

/// The first register of each field, by the rule of `call::wire`: in order, six-register fields at x2.
fn registers(fields: &[Field]) -> Vec<String> {
    let mut next = 1;
    let name = |first: usize, words: usize| match words {
        1 => format!("x{first}"),
        n => format!("x{first}-x{}", first + n - 1),
    };
    let place = |f: &Field| {
        let first = if f.words == 6 { 2 } else { next };
        next = first + f.words;
        name(first, f.words)
    };
    fields.iter().map(place).collect()
}

fn sentence(doc: &[&str]) -> String {
    doc.iter().map(|l| l.trim()).collect::<Vec<_>>().join(" ")
}

fn fields(out: &mut String, head: &str, fields: &[Field]) {
    if fields.is_empty() {
        return;
    }
    writeln!(out, "| {head} | registers | is | says |\n|---|---|---|---|").unwrap();
    for (f, place) in fields.iter().zip(registers(fields)) {
        writeln!(
            out,
            "| {} | {place} | {} | {} |",
            f.name,
            f.kind,
            sentence(f.doc)
        )
        .unwrap();
    }
    out.push('\n');
}

fn call(out: &mut String, row: &Row) {
    let who = match row.caller {
        Caller::Anyone => "any domain",
        Caller::Dom0 => "dom0",
        Caller::Owner => "dom0, and a domain for what is delegated to it",
    };
    writeln!(
        out,
        "### {:#010X} {} ({who})\n\n{}\n",
        row.number,
        row.name,
        sentence(row.doc)
    )
    .unwrap();
    fields(out, "argument", row.args);
    fields(out, "value", row.reply);
}

fn reference() -> String {
    let mut out = HEAD.to_owned();
    writeln!(
        out,
        "This is version {}.{}; `Version` says which one a hypervisor has.\n",
        ABI.major, ABI.minor
    )
    .unwrap();
    out += "## Refusals\n\n| x0 | name | means |\n|---|---|---|\n";
    for e in Errno::ALL {
        writeln!(out, "| {} | {e:?} | {} |", *e as i64, e.text()).unwrap();
    }
    out += "\n## Calls\n\n| id | area | call | answers |\n|---|---|---|---|\n";
    for row in table() {
        let answers = row
            .reply
            .iter()
            .map(|f| f.name)
            .collect::<Vec<_>>()
            .join(", ");
        let area = row.area.trim_end_matches("Call");
        writeln!(
            out,
            "| {:#010X} | {area} | {} | {answers} |",
            row.number, row.name
        )
        .unwrap();
    }
    let mut area = "";
    for row in table() {
        if row.area != area {
            area = row.area;
            writeln!(out, "\n## {}\n", area.trim_end_matches("Call")).unwrap();
        }
        call(&mut out, &row);
    }
    let mut text = out.trim_end().to_owned();
    while text.contains("\n\n\n") {
        text = text.replace("\n\n\n", "\n\n");
    }
    text + "\n"
}

#[test]
fn the_reference_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/abi.md");
    let wanted = reference();
    if std::env::var_os("TARN_BLESS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let line = wanted
        .lines()
        .zip(found.lines().chain(std::iter::repeat("")))
        .position(|(a, b)| a != b);
    assert!(
        found == wanted,
        "docs/abi.md differs from line {:?} on: TARN_BLESS=1 writes it anew",
        line.map(|l| l + 1)
    );
}

/// The registers that the reference names are those that the encoder uses: a call with one argument set has something
/// in exactly the registers of that argument.
#[test]
fn the_reference_names_the_right_registers() {
    use tarn_abi::call::{Reply, Request, console, domain, pool};
    use tarn_abi::{Bytes, CpuSet, Label, PoolId, Text};
    let used = |r: tarn_abi::Regs| (1..8).filter(|i| r.0[*i] != 0).collect::<Vec<_>>();
    let full = Text::new(&"x".repeat(48)).unwrap();
    assert_eq!(
        used(domain::Find { name: full }.encode()),
        [2, 3, 4, 5, 6, 7]
    );
    assert_eq!(registers(domain::Find::ROW.args), ["x2-x7"]);
    assert_eq!(
        used(
            console::Write {
                bytes: Bytes::new(&[1; 40]).unwrap()
            }
            .encode()
        ),
        [2, 3, 4, 5, 6, 7]
    );
    assert_eq!(registers(console::Write::ROW.args), ["x2-x7"]);
    let row = pool::PoolRow {
        id: PoolId::POOL0,
        cpus: CpuSet::ALL,
        domains: 0,
        sched: Label::new(&"y".repeat(16)).unwrap(),
        stranded: 9,
    };
    assert_eq!(used(row.to_regs()), [2, 3, 5, 6, 7]);
    assert_eq!(
        registers(pool::List::ROW.reply),
        ["x1", "x2-x3", "x4", "x5-x6", "x7"]
    );
    assert_eq!(BASE, 0xC600_0000);
}
