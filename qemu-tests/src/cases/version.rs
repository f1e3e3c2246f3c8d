//! A domain's own choice of interrupt controller (`tarn,gic-version`): granted where the hardware allows it, else the
//! domain is refused with the reason and the others run.
//!
//! QEMU's GICv3 has no memory-mapped CPU interface, so of a GICv2 on a GICv3 only the refusals can be shown here.

use xtask::exec;
use xtask::machine::Machine;

use super::{domain, prompt};
use crate::runner::{Bench, Test};

/// The words of the guest that runs.
const HELLO: &str = "Hello from a guest with 1 vCPU";
/// GICC, GICH and GICV somewhere where nothing is: they are never touched when the domain is refused.
const LEGACY: [u32; 12] = [
    0,
    0x0b00_0000,
    0,
    0x2000,
    0,
    0x0b01_0000,
    0,
    0x1000,
    0,
    0x0b02_0000,
    0,
    0x2000,
];

/// What this file contributes.
pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "version/gic2",
            "on a GICv2 a domain may ask for version 2, and is refused version 3",
            |bench| {
                let machine = machine(2, &[("two", 2), ("three", 3)]);
                refused(
                    bench,
                    &machine,
                    "three",
                    "is 3; this machine has a GICv2",
                    "two",
                )
            },
        ),
        Test::new(
            "version/gic3",
            "on a GICv3 without GICV a domain may ask for version 3, and is refused version 2",
            |bench| {
                let machine = machine(3, &[("two", 2), ("three", 3)]);
                let why = "is 2; this machine's GICv3 lists no GICV";
                refused(bench, &machine, "two", why, "three")
            },
        ),
        Test::new(
            "version/gic3-one-form",
            "a tree that lists GICV does not make a CPU interface that has system registers only",
            one_form,
        ),
    ]
}

fn machine(gic: u8, domains: &[(&str, u32)]) -> Machine {
    let node = |(name, version): &(&str, u32)| {
        let extra = format!("tarn,gic-version = <{version}>;");
        domain(name, "guest-hello", 1, 32, "", &extra)
    };
    let config: String = domains.iter().map(node).collect();
    Machine::tarn(gic, 2).with_config(config)
}

/// Domain `who` is refused with `why`; `other` runs.
fn refused(
    bench: &mut Bench,
    machine: &Machine,
    who: &str,
    why: &str,
    other: &str,
) -> Result<(), String> {
    let mut console = bench.start("Tarn", machine, 60)?;
    console.expect(&format!("/chosen/{who}: tarn,gic-version: {why}"))?;
    console.expect(&format!("({other}) {HELLO}"))?;
    console.send("\r")?;
    prompt(&mut console)?;
    let list = exec::must(&mut console, "list")?;
    if !list.contains(other) || list.contains(who) {
        return Err(format!("there should be {other} and no {who}:\n{list}"));
    }
    exec::power_off(&mut console)
}

fn one_form(bench: &mut Bench) -> Result<(), String> {
    let machine = machine(3, &[("two", 2), ("three", 3)]);
    let (mut tree, modules) = machine.merged_tree(&bench.scratch())?;
    let gic = tree
        .root
        .at("/intc@8000000")
        .ok_or("the machine's tree has another form now")?;
    let mut reg = gic.property("reg").unwrap_or(&[]).to_vec();
    reg.extend(LEGACY.iter().flat_map(|cell| cell.to_be_bytes()));
    gic.set("reg", reg);
    let machine = machine.with_blob(&tree.write(), modules, &bench.scratch())?;
    let why = "is 2, which this machine's GIC cannot be for a guest: its CPU interface has system registers only";
    refused(bench, &machine, "two", why, "three")
}
