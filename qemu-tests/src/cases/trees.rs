//! Device trees that are wrong in every part: Tarn says what is wrong and boots the rest, or stops with a clear line.
//!
//! The tree is the machine's own with one configuration, changed on the way to QEMU. Three outcomes are good: the
//! prompt, with the bad node named; a stop with a message; silence where no UART can be known. A panic, a reset loop or
//! a prompt that does not answer is a failure.

use std::path::Path;
use std::time::Duration;

use xtask::console::PANIC;
use xtask::fdt::{Node, Tree};
use xtask::machine::Machine;
use xtask::tree::Module;
use xtask::{exec, paths};

use super::domain;
use crate::runner::{Bench, Test};
use crate::trampoline;

/// A change to a blob.
type Damage = fn(&mut Vec<u8>);

/// Boots with a flipped byte.
const FLIPS: usize = 32;

/// What must happen.
#[derive(Clone, Copy)]
enum Outcome {
    /// Boots to the prompt and says this on the way.
    Boots(&'static str),
    /// Says this and never reaches the prompt.
    Stops(&'static str),
    /// No UART can be known: nothing may be printed, and nothing may reset.
    Silent,
}

/// One change to the tree.
struct Case {
    name: &'static str,
    outcome: Outcome,
    change: fn(&mut Tree),
}

const DOMAIN: &str = "/chosen/guest-hello";

fn with(tree: &mut Tree, path: &str, work: impl FnOnce(&mut Node)) {
    if let Some(node) = tree.root.at(path) {
        work(node);
    }
}

fn drop_child(tree: &mut Tree, parent: &str, prefix: &str) {
    with(tree, parent, |node| {
        node.children
            .retain(|child| !child.name.starts_with(prefix))
    });
}

const CASES: [Case; 16] = [
    // QEMU puts /memory and /psci into whatever tree it is given, so those two are judged on the host (board/tests).
    Case {
        name: "no-cpus-node",
        outcome: Outcome::Stops("cpus"),
        change: |tree| drop_child(tree, "/", "cpus"),
    },
    Case {
        name: "no-gic-node",
        outcome: Outcome::Stops("interrupt"),
        change: |tree| drop_child(tree, "/", "intc"),
    },
    Case {
        name: "no-timer-node",
        outcome: Outcome::Stops("timer"),
        change: |tree| drop_child(tree, "/", "timer"),
    },
    Case {
        name: "no-uart",
        outcome: Outcome::Silent,
        change: |tree| drop_child(tree, "/", "pl011"),
    },
    Case {
        name: "stdout-path-dangling",
        outcome: Outcome::Boots("stdout-path"),
        change: |tree| {
            with(tree, "/chosen", |node| {
                node.set("stdout-path", b"/no/such/node\0".to_vec())
            })
        },
    },
    Case {
        name: "gic-reg-short",
        outcome: Outcome::Stops("reg"),
        change: |tree| with(tree, "/intc@8000000", |node| node.set("reg", vec![0; 12])),
    },
    Case {
        name: "gic-reg-empty",
        outcome: Outcome::Stops("reg"),
        change: |tree| with(tree, "/intc@8000000", |node| node.set("reg", vec![])),
    },
    Case {
        name: "cpu-reg-missing",
        outcome: Outcome::Boots("reg"),
        change: |tree| {
            with(tree, "/cpus/cpu@1", |node| {
                node.remove("reg");
            });
        },
    },
    Case {
        name: "cpu-reg-twice",
        outcome: Outcome::Boots("cpu@1"),
        change: |tree| {
            with(tree, "/cpus/cpu@1", |node| {
                node.set("reg", vec![0, 0, 0, 0])
            })
        },
    },
    Case {
        name: "cpu-nobody-knows",
        outcome: Outcome::Boots("cannot be started"),
        change: |tree| {
            with(tree, "/cpus", |cpus| {
                let mut more = cpus.at("cpu@1").cloned().expect("the machine has two");
                more.name = "cpu@9".into();
                more.remove("phandle");
                more.set("reg", vec![0, 0, 0, 9]);
                cpus.children.push(more);
            })
        },
    },
    Case {
        name: "domain-memory-huge",
        outcome: Outcome::Boots("memory"),
        change: |tree| {
            with(tree, DOMAIN, |node| {
                node.set(
                    "memory",
                    vec![0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                )
            })
        },
    },
    Case {
        name: "domain-memory-missing",
        outcome: Outcome::Boots("memory"),
        change: |tree| {
            with(tree, DOMAIN, |node| {
                node.remove("memory");
            });
        },
    },
    Case {
        name: "domain-cpus-zero",
        outcome: Outcome::Boots("cpus"),
        change: |tree| with(tree, DOMAIN, |node| node.set("cpus", vec![0, 0, 0, 0])),
    },
    Case {
        name: "domain-cpus-huge",
        outcome: Outcome::Boots("cpus"),
        change: |tree| {
            with(tree, DOMAIN, |node| {
                node.set("cpus", vec![0xff, 0xff, 0xff, 0xff])
            })
        },
    },
    Case {
        name: "module-outside-ram",
        outcome: Outcome::Boots("module@0"),
        change: |tree| {
            with(tree, "/chosen/guest-hello/module@0", |node| {
                node.set(
                    "reg",
                    [0x0900_0000u64.to_be_bytes(), 0x1000u64.to_be_bytes()].concat(),
                );
            });
        },
    },
    Case {
        name: "module-wraps",
        outcome: Outcome::Boots("module@0"),
        change: |tree| {
            with(tree, "/chosen/guest-hello/module@0", |node| {
                node.set(
                    "reg",
                    [
                        0xffff_ffff_ffff_f000u64.to_be_bytes(),
                        0x2000u64.to_be_bytes(),
                    ]
                    .concat(),
                );
            });
        },
    },
];

/// The tests.
pub fn tests() -> Vec<Test> {
    let mut tests: Vec<Test> = CASES
        .iter()
        .map(|case| {
            Test::new(
                format!("tree/{}", case.name),
                "one thing wrong in the device tree",
                move |bench| changed(bench, case),
            )
        })
        .collect();
    let damages: [(&str, u64, Damage); 9] = [
        ("magic-wrong", trampoline::BLOB, |blob| blob[0] = 0),
        ("version-unknown", trampoline::BLOB, |blob| {
            blob[20..28].copy_from_slice(&[0, 0, 0, 99, 0, 0, 0, 98]);
        }),
        ("totalsize-huge", trampoline::BLOB, |blob| {
            blob[4..8].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff])
        }),
        ("totalsize-tiny", trampoline::BLOB, |blob| {
            blob[4..8].copy_from_slice(&[0, 0, 0, 8])
        }),
        ("struct-offset-outside", trampoline::BLOB, |blob| {
            blob[8..12].copy_from_slice(&[0xff, 0xff, 0xff, 0xf0])
        }),
        ("all-zero", trampoline::BLOB, |blob| blob.fill(0)),
        ("none", 0, |_| {}),
        ("address-unaligned", trampoline::BLOB + 3, |_| {}),
        ("address-without-memory", 0xdead_0000_0000, |_| {}),
    ];
    tests.push(Test::new(
        "tree/blob-whole",
        "an unbroken tree passed the way of the next ones boots",
        whole,
    ));
    for (name, x0, damage) in damages {
        tests.push(Test::new(
            format!("tree/blob-{name}"),
            "what the boot loader passes is broken",
            move |bench| broken(bench, x0, damage),
        ));
    }
    tests.push(Test::new(
        "tree/flipped-bytes",
        "single bytes of the tree flipped, many boots",
        flipped,
    ));
    tests
}

fn machine(bench: &Bench) -> Result<(Machine, Tree, Vec<Module>), String> {
    let machine =
        Machine::tarn(3, 2).with_config(domain("guest-hello", "guest-hello", 1, 64, "", ""));
    let (tree, modules) = machine.merged_tree(&bench.scratch())?;
    Ok((machine, tree, modules))
}

fn changed(bench: &mut Bench, case: &Case) -> Result<(), String> {
    let (machine, mut tree, modules) = machine(bench)?;
    let before = tree.clone();
    (case.change)(&mut tree);
    if tree == before {
        return Err("the change changed nothing: the machine's tree has another form now".into());
    }
    let machine = machine.with_blob(&tree.write(), modules, &bench.scratch())?;
    let mut console = bench.start("Tarn", &machine, 60)?;
    match case.outcome {
        Outcome::Boots(word) => {
            console.expect(exec::PROMPT)?;
            exec::must(&mut console, "list")?;
            exec::power_off(&mut console)?;
            if console.text().contains(word) {
                Ok(())
            } else {
                Err(format!("nothing was said of '{word}'"))
            }
        }
        Outcome::Stops(word) => {
            console.expect(word)?;
            console.quiet(&[exec::PROMPT, PANIC], Duration::from_secs(2))
        }
        Outcome::Silent => {
            console.quiet(&[exec::PROMPT, PANIC], Duration::from_secs(3))?;
            let text = console.text();
            if text.is_empty() {
                Ok(())
            } else {
                Err(format!("printed where no UART is known: {text}"))
            }
        }
    }
}

/// A machine whose boot loader passes `x0`, with `blob` in memory at [`trampoline::BLOB`]. QEMU would refuse the blob, so
/// it never sees it as a tree.
fn passed(
    bench: &Bench,
    machine: &Machine,
    blob: &[u8],
    modules: &[Module],
    x0: u64,
    scratch: &str,
) -> Result<Machine, String> {
    let scratch = bench.scratch().join(scratch);
    paths::make_dir(&scratch)?;
    let (image, file) = (scratch.join("trampoline.bin"), scratch.join("passed.dtb"));
    paths::write(&image, &trampoline::image(trampoline::IMAGE, x0))?;
    paths::write(&file, blob)?;
    let placed = |file: &Path, address| Module {
        file: file.to_path_buf(),
        address,
        size: 0,
    };
    let mut modules = modules.to_vec();
    modules.push(placed(&machine.image, trampoline::IMAGE));
    modules.push(placed(&file, trampoline::BLOB));
    Ok(Machine {
        image,
        modules,
        config: None,
        blob: None,
        ..machine.clone()
    })
}

fn broken(bench: &mut Bench, x0: u64, damage: Damage) -> Result<(), String> {
    let (machine, tree, modules) = machine(bench)?;
    let mut blob = tree.write();
    damage(&mut blob);
    let machine = passed(bench, &machine, &blob, &modules, x0, "passed")?;
    let mut console = bench.start("Tarn", &machine, 30)?;
    // no UART is known without a tree: a message is welcome, a prompt, a panic or a reset is not
    console.quiet(&[exec::PROMPT, PANIC], Duration::from_secs(2))
}

/// The way of `broken`, with nothing broken: proves that the other tests fail for the right reason.
fn whole(bench: &mut Bench) -> Result<(), String> {
    let (machine, tree, modules) = machine(bench)?;
    let machine = passed(
        bench,
        &machine,
        &tree.write(),
        &modules,
        trampoline::BLOB,
        "passed",
    )?;
    let mut console = bench.start("Tarn", &machine, 60)?;
    console.expect(exec::PROMPT)?;
    exec::must(&mut console, "list")?;
    exec::power_off(&mut console)
}

/// Boots with single bytes flipped, spread over the blob by a fixed step. Each must end in a prompt that answers, a
/// message or silence; none in a panic or a reset.
fn flipped(bench: &mut Bench) -> Result<(), String> {
    let (machine, tree, modules) = machine(bench)?;
    let blob = tree.write();
    for round in 0..FLIPS {
        let at = (round * 397 + 11) % blob.len();
        let mut bytes = blob.clone();
        bytes[at] ^= 0x41;
        let machine = passed(
            bench,
            &machine,
            &bytes,
            &modules,
            trampoline::BLOB,
            &format!("flip{round}"),
        )?;
        let label = format!("Tarn, byte {at} of the tree flipped");
        let mut console = bench.start(&label, &machine, 20)?;
        match console.expect_within(&[exec::PROMPT], Duration::from_secs(3)) {
            Ok(_) => {
                exec::must(&mut console, "list").map_err(|error| format!("{label}: {error}"))?;
            }
            Err(error) if error.contains("in time") => {}
            Err(error) => return Err(format!("{label}: {error}")),
        }
    }
    Ok(())
}
