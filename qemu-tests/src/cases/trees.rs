//! Device trees that are wrong in every part: Tarn says what is wrong and boots the rest, or stops with a clear line.
//!
//! The tree is the machine's own with one configuration, changed on the way to QEMU. Three outcomes are good: the
//! prompt, with the bad node named; a stop with a message; silence where no UART can be known. A panic, a reset loop or
//! a prompt that does not answer is a failure.

use std::time::Duration;

use xtask::console::PANIC;
use xtask::exec;
use xtask::fdt::{Node, Tree};
use xtask::machine::Machine;

use super::domain;
use crate::runner::{Bench, Test};

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

const CASES: [Case; 17] = [
    Case {
        name: "no-memory-node",
        outcome: Outcome::Stops("memory"),
        change: |tree| drop_child(tree, "/", "memory"),
    },
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
        name: "psci-method-unknown",
        outcome: Outcome::Boots("method"),
        change: |tree| {
            with(tree, "/psci", |node| {
                node.set("method", b"carrier-pigeon\0".to_vec())
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
    for (name, damage) in [
        ("magic-wrong", (|blob| blob[0] = 0) as fn(&mut Vec<u8>)),
        ("version-unknown", |blob| {
            blob[20..28].copy_from_slice(&[0, 0, 0, 99, 0, 0, 0, 98])
        }),
        ("totalsize-huge", |blob| {
            blob[4..8].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff])
        }),
        ("totalsize-tiny", |blob| {
            blob[4..8].copy_from_slice(&[0, 0, 0, 8])
        }),
        ("struct-offset-outside", |blob| {
            blob[8..12].copy_from_slice(&[0xff, 0xff, 0xff, 0xf0])
        }),
        ("all-zero", |blob| blob.fill(0)),
    ] {
        tests.push(Test::new(
            format!("tree/blob-{name}"),
            "the blob itself is broken",
            move |bench| broken(bench, damage),
        ));
    }
    tests.push(Test::new(
        "tree/flipped-bytes",
        "single bytes of the tree flipped, many boots",
        flipped,
    ));
    tests
}

fn machine(bench: &Bench) -> Result<(Machine, Tree, Vec<xtask::tree::Module>), String> {
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

/// QEMU itself reads the blob it is given, so a broken one is put into memory over the good one by the loader.
fn broken(bench: &mut Bench, damage: fn(&mut Vec<u8>)) -> Result<(), String> {
    let (machine, tree, modules) = machine(bench)?;
    let machine = machine.with_blob(&tree.write(), modules, &bench.scratch())?;
    let mut blob = tree.write();
    damage(&mut blob);
    let file = bench.scratch().join("broken.dtb");
    xtask::paths::write(&file, &blob)?;
    let mut machine = machine;
    // the tree lies where boot modules may not: 2 MiB below them
    let address = machine.module_space().start - (2 << 20);
    machine.modules.push(xtask::tree::Module {
        size: blob.len() as u64,
        file,
        address,
    });
    let mut console = bench.start("Tarn", &machine, 30)?;
    // no UART is known without a tree; a message is welcome, a prompt, a panic or a reset is not
    console.quiet(&[exec::PROMPT, PANIC], Duration::from_secs(3))
}

/// Boots with single bytes flipped, spread over the structure block by a fixed step. Each must end in the prompt, a
/// message or silence; none in a panic or a reset.
fn flipped(bench: &mut Bench) -> Result<(), String> {
    let (machine, tree, modules) = machine(bench)?;
    let blob = tree.write();
    for round in 0..24usize {
        let at = 56 + (round * 397) % (blob.len() - 56);
        let mut bytes = blob.clone();
        bytes[at] ^= 0x41;
        let scratch = bench.scratch().join(format!("flip{round}"));
        let machine = machine
            .clone()
            .with_blob(&bytes, modules.clone(), &scratch)?;
        let label = format!("Tarn, byte {at} flipped");
        let mut console = bench.start(&label, &machine, 20)?;
        match console.expect_within(&[exec::PROMPT], Duration::from_secs(4)) {
            Ok(_) => {
                exec::must(&mut console, "list").map_err(|error| format!("{label}: {error}"))?;
            }
            // QEMU refuses some of them before the machine starts
            Err(error)
                if error.contains("in time")
                    || (error.contains("stopped") && console.text().is_empty()) => {}
            Err(error) => return Err(format!("{label}: {error}")),
        }
    }
    Ok(())
}
