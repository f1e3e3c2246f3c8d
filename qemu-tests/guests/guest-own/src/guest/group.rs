//! A group that dom0 has delegated to this domain: groups made inside it, filled with its own vCPUs, and their times, all
//! without dom0; and everything that is none of its business.
//!
//! Three vCPUs and a rival of the same weight as the group share one CPU: whatever this domain does with its group, half
//! of the CPU is the rival's. `GROUP-READY` asks for the delegation; it ends when dom0 takes the group back.
use core::sync::atomic::{AtomicU64, Ordering};

use guest_rt::testing::{expect_tarn, spread};
use guest_rt::timer::{Timer, frequency};
use guest_rt::{MAX_CPUS, println, smp};
use tarn_abi::call::group::{self, GroupRow};
use tarn_abi::call::param::Setting;
use tarn_abi::call::text::Label;
use tarn_abi::{DomainId, Errno, GroupId, SchedId, VcpuId};

use super::{call, verdict};

/// Most groups of its own.
const OWN_GROUPS: usize = 16;

const fn code(e: Errno) -> i64 {
    e.to_wire() as i64
}

/// A vCPU that never sleeps.
fn burn(index: usize) {
    static TURNS: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];
    loop {
        TURNS[index].fetch_add(1, Ordering::Relaxed);
    }
}

/// Computes until `done` or so many seconds have passed.
fn until(seconds: u64, mut done: impl FnMut() -> bool) -> bool {
    let end = Timer::Virtual.count() + seconds * frequency();
    while Timer::Virtual.count() < end {
        if done() {
            return true;
        }
    }
    false
}

fn pass_ms(ms: u64) {
    let end = Timer::Virtual.count() + ms * frequency() / 1000;
    while Timer::Virtual.count() < end {}
}

fn create(parent: GroupId, name: &str, weight: u32) -> Result<GroupId, Errno> {
    let (sched, processors) = (None::<SchedId>, 1);
    call(&group::Create {
        parent,
        sched,
        processors,
        weight,
        name: Label::truncated(name),
        split: false,
    })
}

fn into(vcpu: VcpuId, to: GroupId) -> i64 {
    let mut last = code(Errno::Again);
    until(5, || {
        last = verdict(call(&group::MoveVcpu { vcpu, to }));
        last != code(Errno::Again)
    });
    last
}

fn destroy(id: GroupId) -> i64 {
    let mut last = code(Errno::Again);
    until(5, || {
        last = verdict(call(&group::Destroy { id }));
        last != code(Errno::Again)
    });
    last
}

/// CPU time of groups over 400 ms, in 1/1000 of one CPU.
fn shares<const N: usize>(groups: [GroupId; N]) -> [u64; N] {
    let read =
        |id| call(&group::Times { id }).map_or((0, 0, 0), |t| (t.at.0, t.runtime.0, t.siblings.0));
    let before = groups.map(read);
    pass_ms(400);
    let mut shares = [0; N];
    for (i, id) in groups.into_iter().enumerate() {
        let after = read(id);
        shares[i] = (after.1 - before[i].1) * 1000 / (after.0 - before[i].0).max(1);
    }
    shares
}

/// The vCPUs directly in a group, by their number in this domain.
fn members(id: GroupId) -> [Option<VcpuId>; 3] {
    let (mut found, mut from) = ([None; 3], 0);
    while let Ok(m) = call(&group::Member { id, from }) {
        if let Some(place) = found.get_mut(m.index as usize) {
            *place = Some(m.vcpu);
        }
        from = u32::from(m.vcpu.slot) + 1;
    }
    found
}

pub fn all() {
    for index in 1..3 {
        expect_tarn("vcpu/starts", smp::start(index, burn).is_ok(), true);
    }
    let none = call(&group::Mine { index: 0 });
    expect_tarn("before/nothing-is-mine", verdict(none), code(Errno::End));
    println!("GROUP-READY");
    let mut mine = None;
    until(60, || {
        mine = call(&group::Mine { index: 0 }).ok();
        mine.is_some()
    });
    let Some(mine) = mine else {
        expect_tarn("delegated", false, true);
        return;
    };
    // dom0 is still busy with the call that gave it.
    pass_ms(20);
    refusals(&mine);
    own_groups(mine.id);
    inside(mine.id);
    println!("GROUP-TAKE-BACK");
    let gone = until(60, || call(&group::Mine { index: 0 }).is_err());
    expect_tarn("after/nothing-is-mine", gone, true);
    let name = verdict(call(&group::Name { id: mine.id }));
    expect_tarn("after/not-even-its-name", name, code(Errno::NoSuch));
    expect_tarn(
        "after/no-group",
        verdict(create(mine.id, "late", 256)),
        code(Errno::NoSuch),
    );
}

/// What it must not see, and what it must not do with what it sees.
fn refusals(mine: &GroupRow) {
    let (top, root) = (mine.id, GroupId::root(mine.id.pool));
    expect_tarn("mine/parent-is-hidden", mine.parent == root, true);
    expect_tarn(
        "mine/one",
        verdict(call(&group::Mine { index: 1 })),
        code(Errno::End),
    );
    let denied = code(Errno::Denied);
    let hidden = code(Errno::NoSuch);
    expect_tarn(
        "top/destroy",
        verdict(call(&group::Destroy { id: top })),
        denied,
    );
    let weight = Setting {
        name: Label::truncated("weight"),
        value: 65_535,
    };
    let set = |id| {
        verdict(call(&group::SetParams {
            id,
            first: weight,
            second: None,
        }))
    };
    expect_tarn("top/weight", set(top), denied);
    expect_tarn("root/weight", set(root), hidden);
    expect_tarn(
        "root/list",
        verdict(call(&group::List {
            within: root,
            from: 0,
        })),
        hidden,
    );
    expect_tarn("root/create", verdict(create(root, "out", 256)), hidden);
    let own = members(top);
    expect_tarn("top/own-vcpus", own.iter().flatten().count(), 3);
    let me = own[0].unwrap_or(VcpuId::new(0, 0));
    expect_tarn("root/leave", into(me, root), hidden);
    // Whatever id it tries, only its own group answers: not the other group there is, nor one of another pool.
    let mut seen = 0;
    for pool in 0..4 {
        for slot in 0..8 {
            for generation in 0..8 {
                let mut id = top;
                id.pool.slot = pool;
                (id.slot, id.generation) = (slot, generation);
                let named = call(&group::Name { id });
                seen += u32::from(named.is_ok());
                let times = call(&group::Times { id });
                if id != top && (named.is_ok() || times.is_ok() || create(id, "out", 1).is_ok()) {
                    expect_tarn("foreign/refused", false, true);
                }
            }
        }
    }
    expect_tarn("foreign/one-group-is-seen", seen, 1);
    let mut taken = 0;
    for slot in 0..16 {
        for generation in 0..2 {
            let v = VcpuId::new(slot, generation);
            if !own.contains(&Some(v)) && into(v, top) == 0 {
                taken += 1;
            }
        }
    }
    expect_tarn("foreign/vcpus-taken", taken, 0);
    let domain = DomainId::new(1, 0);
    expect_tarn(
        "dom0s/move",
        verdict(call(&group::Move { domain, to: top })),
        denied,
    );
    expect_tarn(
        "dom0s/delegate",
        verdict(call(&group::Delegate { id: top, to: None })),
        denied,
    );
}

/// As many groups as it may have, and ids of those that are gone.
fn own_groups(top: GroupId) {
    let mut made = [None; OWN_GROUPS + 4];
    let mut last = 0;
    for (n, place) in made.iter_mut().enumerate() {
        let name = [b'a' + n as u8];
        let made = create(top, core::str::from_utf8(&name).unwrap_or("x"), 256);
        last = verdict(made);
        *place = made.ok();
    }
    expect_tarn("own/many", made.iter().flatten().count(), OWN_GROUPS);
    expect_tarn("own/too-many", last, code(Errno::NoMemory));
    let twice = verdict(create(top, "a", 256));
    expect_tarn("own/too-many-again", twice, code(Errno::NoMemory));
    for id in made.iter().flatten() {
        if destroy(*id) != 0 {
            expect_tarn("own/destroyed", false, true);
        }
    }
    let left = verdict(call(&group::List {
        within: top,
        from: 0,
    }));
    expect_tarn("own/all-gone", left, code(Errno::End));
    if let Some(id) = made[0] {
        let stale = call(&group::Name { id }).is_err() && into(VcpuId::new(0, 0), id) != 0;
        expect_tarn("own/stale", stale, true);
    }
    // Names are its own affair: those of the groups around and beside its own are not taken here.
    for name in ["foreign", "given", "mine"] {
        let made = create(top, name, 256);
        expect_tarn("own/any-name", verdict(made), 0);
        let twice = verdict(create(top, name, 256));
        expect_tarn("own/taken-here", twice, code(Errno::Exists));
        if let Ok(id) = made {
            expect_tarn("own/any-name-gone", destroy(id), 0);
        }
    }
    let bad = code(Errno::Invalid);
    expect_tarn("own/weight-0", verdict(create(top, "w", 0)), bad);
    expect_tarn("own/weight-big", verdict(create(top, "w", 65_536)), bad);
    expect_tarn("own/no-name", verdict(create(top, "", 256)), bad);
}

/// Two groups inside, 3 to 1; the share of the whole stays what it was, whatever the weights are.
fn inside(top: GroupId) {
    let own = members(top).map(|v| v.unwrap_or(VcpuId::new(0, 0)));
    let [whole] = shares([top]);
    expect_tarn("share/half", spread(whole, 500, 25), true);
    let (Ok(a), Ok(b)) = (create(top, "three", 768), create(top, "one", 256)) else {
        expect_tarn("inside/created", false, true);
        return;
    };
    expect_tarn("inside/move-1", into(own[1], a), 0);
    expect_tarn("inside/move-2", into(own[2], b), 0);
    expect_tarn("inside/left", members(top).iter().flatten().count(), 1);
    expect_tarn("inside/there", members(a)[1] == Some(own[1]), true);
    // 500 by 768 : 256 : 256, the last being this vCPU, directly in the group.
    let [whole, three, one] = shares([top, a, b]);
    println!("NOTE shares {whole} {three} {one}");
    expect_tarn("inside/three", spread(three, 300, 25), true);
    expect_tarn("inside/one", spread(one, 100, 25), true);
    expect_tarn("inside/whole", spread(whole, 500, 25), true);
    let heavy = Setting {
        name: Label::truncated("weight"),
        value: 65_535,
    };
    let set = verdict(call(&group::SetParams {
        id: a,
        first: heavy,
        second: None,
    }));
    expect_tarn("beyond/weight", set, 0);
    let [whole, three] = shares([top, a]);
    println!("NOTE shares {whole} {three}");
    expect_tarn("beyond/inside-it-counts", three > 450, true);
    expect_tarn("beyond/not-outside", whole <= 525, true);
    expect_tarn("inside/not-empty", destroy(a), code(Errno::NotEmpty));
    expect_tarn("inside/back-1", into(own[1], top), 0);
    expect_tarn("inside/back-2", into(own[2], top), 0);
    expect_tarn("inside/destroy-1", destroy(a), 0);
    expect_tarn("inside/destroy-2", destroy(b), 0);
}
