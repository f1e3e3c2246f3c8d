//! The table of tests, one file per subject, and what they share: configurations and first steps on a console.
//!
//! A test here never looks at an address, a time or a count that may differ between two good builds.

mod boot;
mod calls;
mod control;
mod guests;
mod isolation;
pub mod links;
mod linux;
mod operator;
mod passthrough;
mod quickstart;
mod raspi4b;
mod sched;
mod serror;
mod storm;
mod system;
mod trees;
mod uboot;
mod version;
mod waiting;

use xtask::console::Console;
use xtask::exec;
use xtask::machine::Machine;

use crate::runner::{Bench, Test};
use crate::transcript::{END, Transcript};

/// Every test, in the order of running: quick and basic ones first.
pub fn all() -> Vec<Test> {
    [
        boot::tests(),
        linux::native_tests(),
        guests::tests(),
        isolation::tests(),
        serror::tests(),
        links::tests(),
        control::tests(),
        sched::tests(),
        waiting::tests(),
        trees::tests(),
        version::tests(),
        operator::tests(),
        linux::tests(),
        raspi4b::tests(),
        system::tests(),
        passthrough::tests(),
        uboot::tests(),
        quickstart::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A domain node around an image of `target/images`, as device-tree source.
pub fn domain(
    name: &str,
    image: &str,
    vcpus: u32,
    memory_mib: u64,
    bootargs: &str,
    extra: &str,
) -> String {
    format!(
        "/ {{ chosen {{ {name} {{ compatible = \"xen,domain\"; #address-cells = <2>; #size-cells = <2>;
             memory = <0 {:#x}>; cpus = <{vcpus}>; vpl011; {extra}
             module@0 {{ compatible = \"multiboot,kernel\", \"multiboot,module\"; tarn,file = \"@{image}\";
                         bootargs = \"{bootargs}\"; }};
         }}; }}; }};\n",
        memory_mib << 10
    )
}

/// Waits for dom0's prompt.
pub fn prompt(console: &mut Console) -> Result<(), String> {
    console.expect(exec::PROMPT).map(|_| ())
}

/// A machine whose guests `names` have written their transcripts to the end.
pub fn all_through(
    bench: &mut Bench,
    machine: &Machine,
    seconds: u64,
    names: &[&str],
) -> Result<Console, String> {
    let mut console = bench.start("Tarn", machine, seconds)?;
    for _ in names {
        console.expect(END)?;
    }
    Ok(console)
}

/// The transcripts of guests that are through, judged.
pub fn verify_all(console: &Console, names: &[&str]) -> Result<(), String> {
    let text = console.text();
    names.iter().try_for_each(|name| {
        Transcript::read(&text, Some(name))
            .verify()
            .map_err(|error| format!("{name}: {error}"))
    })
}

/// At the prompt: the machine still answers, then powers off cleanly.
pub fn answers_and_powers_off(console: &mut Console) -> Result<(), String> {
    // the prompt may have been overprinted by other domains' lines: ask for a new one
    console.send("\r")?;
    prompt(console)?;
    exec::must(console, "list")?;
    exec::power_off(console)
}
