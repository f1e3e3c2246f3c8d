//! The small models: CPUs, pools, guests and what is done to them meanwhile.

use tarn_pools::Fault;

/// The model in which a mistake shows, to save time; if it does not show there, it has not been noticed.
pub fn shown_by(f: Fault) -> &'static str {
    match f {
        Fault::WakeForgotten | Fault::SavedEarly => "wake against block",
        Fault::SavedForgotten => "wake on one CPU, three vCPUs",
        Fault::LeavingIgnored => "CPU changes pool",
        Fault::DozesDeaf => "doze and rouse",
        Fault::HeldIgnored => "plan there and back",
    }
}

/// What a vCPU's guest does with its CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Guest {
    /// Takes its interrupts and sleeps.
    Sleeper,
    /// Computes.
    Hog,
    /// Yields after an interrupt, then sleeps.
    Yielder,
}

#[derive(Clone, Copy, Debug)]
/// What a script does.
pub enum Do {
    Interrupt(usize),
    Pause(usize),
    Unpause(usize),
    Move(usize, usize),
    Cpu(u16, Option<usize>),
    Affinity(usize, u64),
    Group(usize, bool),
    Cap(usize, u32),
    /// An interrupt of that vCPU comes to that CPU.
    Raise(usize, u16),
    /// Several changes as one.
    Plan(&'static [Part]),
}

/// A change in a plan.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    Cpu(u16, Option<usize>),
    Move(usize, usize),
}

pub struct Model {
    pub name: &'static str,
    /// CPUs of each pool.
    pub pools: &'static [&'static [u16]],
    pub guests: &'static [Guest],
    pub scripts: &'static [&'static [Do]],
    pub group: bool,
}

/// Models without groups.
pub const MODELS: &[Model] = &[
    Model {
        name: "wake against block",
        pools: &[&[0, 1]],
        guests: &[Guest::Sleeper, Guest::Sleeper],
        scripts: &[
            &[Do::Interrupt(0), Do::Interrupt(1), Do::Interrupt(0)],
            &[Do::Interrupt(0)],
        ],
        group: false,
    },
    Model {
        name: "wake on one CPU, three vCPUs",
        pools: &[&[0]],
        guests: &[Guest::Sleeper, Guest::Hog, Guest::Yielder],
        scripts: &[
            &[Do::Interrupt(0), Do::Interrupt(2)],
            &[Do::Interrupt(2), Do::Interrupt(0)],
        ],
        group: false,
    },
    Model {
        name: "pause against wake",
        pools: &[&[0, 1]],
        guests: &[Guest::Sleeper, Guest::Hog],
        scripts: &[
            &[Do::Pause(0), Do::Pause(1), Do::Unpause(0), Do::Unpause(1)],
            &[Do::Interrupt(0), Do::Interrupt(1)],
        ],
        group: false,
    },
    Model {
        name: "domain changes pool",
        pools: &[&[0], &[1]],
        guests: &[Guest::Sleeper, Guest::Hog],
        scripts: &[
            &[Do::Move(0, 1), Do::Move(1, 1), Do::Move(0, 0)],
            &[Do::Interrupt(0), Do::Interrupt(1), Do::Interrupt(0)],
        ],
        group: false,
    },
    Model {
        name: "CPU changes pool",
        pools: &[&[0, 1], &[2]],
        guests: &[Guest::Sleeper, Guest::Hog, Guest::Hog],
        scripts: &[
            &[Do::Cpu(1, Some(1)), Do::Cpu(1, None), Do::Cpu(1, Some(0))],
            &[Do::Interrupt(0), Do::Interrupt(0)],
        ],
        group: false,
    },
    Model {
        name: "both at once",
        pools: &[&[0, 1], &[2]],
        guests: &[Guest::Sleeper, Guest::Yielder],
        scripts: &[
            &[Do::Cpu(1, Some(1)), Do::Cpu(1, Some(0))],
            &[Do::Move(0, 1), Do::Move(0, 0)],
            &[Do::Interrupt(0), Do::Interrupt(1)],
        ],
        group: false,
    },
    Model {
        name: "two hands on one domain",
        pools: &[&[0], &[1]],
        guests: &[Guest::Sleeper],
        scripts: &[
            &[Do::Move(0, 1), Do::Move(0, 0)],
            &[Do::Move(0, 0), Do::Pause(0), Do::Move(0, 1), Do::Unpause(0)],
            &[Do::Interrupt(0)],
        ],
        group: false,
    },
    Model {
        name: "affinity against switch",
        pools: &[&[0, 1]],
        guests: &[Guest::Sleeper, Guest::Hog],
        scripts: &[
            &[Do::Affinity(0, 1), Do::Affinity(1, 1), Do::Affinity(1, 2)],
            &[Do::Interrupt(0), Do::Interrupt(0)],
        ],
        group: false,
    },
    Model {
        name: "doze and rouse",
        pools: &[&[0]],
        guests: &[Guest::Sleeper, Guest::Sleeper],
        scripts: &[
            &[Do::Raise(0, 0), Do::Raise(0, 0), Do::Raise(1, 0)],
            &[Do::Interrupt(0), Do::Interrupt(1)],
        ],
        group: false,
    },
    Model {
        name: "doze against pause and move",
        pools: &[&[0, 1], &[2]],
        guests: &[Guest::Sleeper],
        scripts: &[
            &[Do::Pause(0), Do::Unpause(0), Do::Move(0, 1)],
            &[Do::Raise(0, 0), Do::Raise(0, 1), Do::Raise(0, 2)],
        ],
        group: false,
    },
    Model {
        name: "plan there and back",
        pools: &[&[0, 1], &[2]],
        guests: &[Guest::Sleeper, Guest::Hog],
        scripts: &[
            &[
                Do::Plan(&[Part::Cpu(1, Some(1)), Part::Move(0, 1), Part::Move(1, 1)]),
                Do::Plan(&[Part::Move(0, 0), Part::Cpu(1, Some(0))]),
            ],
            &[Do::Interrupt(0), Do::Raise(0, 1), Do::Interrupt(1)],
        ],
        group: false,
    },
    Model {
        name: "plan against plan",
        pools: &[&[0], &[1]],
        guests: &[Guest::Sleeper, Guest::Yielder],
        scripts: &[
            &[Do::Plan(&[Part::Move(0, 1), Part::Move(1, 1)])],
            &[Do::Plan(&[Part::Move(0, 1)]), Do::Plan(&[Part::Move(0, 0)])],
            &[Do::Raise(0, 0), Do::Interrupt(1)],
        ],
        group: false,
    },
    Model {
        name: "cap comes and goes",
        pools: &[&[0, 1]],
        guests: &[Guest::Hog, Guest::Sleeper],
        scripts: &[
            &[Do::Cap(0, 1), Do::Cap(0, 0)],
            &[Do::Interrupt(1), Do::Interrupt(0)],
        ],
        group: false,
    },
];

/// Models with a group of two processors in Pool-0.
pub const GROUPED: &[Model] = &[
    Model {
        name: "group in and out",
        pools: &[&[0, 1]],
        guests: &[Guest::Sleeper, Guest::Hog],
        scripts: &[
            &[Do::Group(0, true), Do::Group(1, true), Do::Group(0, false)],
            &[Do::Interrupt(0), Do::Interrupt(1), Do::Interrupt(0)],
        ],
        group: true,
    },
    Model {
        name: "group against pool",
        pools: &[&[0], &[1]],
        guests: &[Guest::Sleeper, Guest::Yielder],
        scripts: &[
            &[Do::Group(0, true), Do::Move(0, 1), Do::Move(0, 0)],
            &[
                Do::Interrupt(0),
                Do::Pause(0),
                Do::Interrupt(1),
                Do::Unpause(0),
            ],
        ],
        group: true,
    },
];
