//! Area 0x05: scheduling groups: schedulers inside a pool's scheduler.
//!
//! A group competes in its parent with some virtual processors and shares what they get among its members. dom0 makes,
//! fills and removes groups; a group may be delegated to a domain, which may then do the same inside that group with its
//! own vCPUs. A domain sees its delegated groups and what is in them, nothing else: every other group is `NoSuch` to it.

use super::Counter;
use super::param::{ParamRow, Setting};
use super::report::Report;
use super::text::{Label, Text};
use super::wire::{area, replies};
use crate::id::{DomainId, GroupId, SchedId, VcpuId};
use crate::time::{Instant, Span};

replies! {
    /// Answer to `List` and `Mine`.
    GroupRow {
        /// The group.
        id: GroupId,
        /// Where it is: another group, or (slot 0) directly in the pool.
        parent: GroupId,
        /// The domain it is delegated to.
        owner: Option<DomainId>,
        /// Its scheduler.
        sched: SchedId,
        /// Its virtual processors: how many CPUs it can use at once.
        processors: u32,
        /// Weight of each of them in the parent, or of all together (parameter `split`).
        weight: u32,
        /// vCPUs and groups directly inside.
        members: u32,
    }

    /// Answer to `Times`.
    GroupTimes {
        /// When this was read.
        at: Instant,
        /// CPU time its virtual processors have had.
        runtime: Span,
        /// CPU time that domains and groups directly in the same parent have had, this one included.
        siblings: Span,
    }

    /// Answer to `Member`.
    MemberRow {
        /// The vCPU.
        vcpu: VcpuId,
        /// Its domain.
        domain: DomainId,
        /// Its number in the domain.
        index: u32,
        /// CPU time it has had.
        runtime: Span,
    }
}

area! {
    /// Scheduling groups.
    GroupCall = 0x05;
    /// The first group of a pool, or inside a group, at or behind a slot. Inside: directly or deeper. Ends with `End`.
    List = 0x00, Owner {
        /// The pool (slot 0) or the group.
        within: GroupId,
        /// Lowest slot to look at.
        from: u32,
    } -> GroupRow;
    /// A group's name.
    Name = 0x01, Owner {
        /// Whose.
        id: GroupId,
    } -> Text;
    /// Makes an empty group. `Exists`: one directly in the same place has that name; `Invalid`: name, processors (1 to 64), weight (1 to
    /// 65535; if it is split, at least the number of processors) or depth out of range; `NoMemory`: no slot.
    Create = 0x02, Owner {
        /// The pool (slot 0) or the group it shall be in.
        parent: GroupId,
        /// Its scheduler; none = the default.
        sched: Option<SchedId>,
        /// Its virtual processors.
        processors: u32,
        /// Weight of each of them in the parent.
        weight: u32,
        /// Its name.
        name: Label,
        /// Whether the weight is that of all its processors together: each has its part, rounded down. Also the parameter
        /// `split`.
        split: bool,
    } -> GroupId;
    /// Removes an empty group. `NotEmpty`; `Again` while a CPU is on its way out of it.
    Destroy = 0x03, Owner {
        /// Which.
        id: GroupId,
    } -> ();
    /// Brings a whole domain into a group of its pool, or (slot 0) out of all. `Invalid`: the group is of another pool.
    Move = 0x04, Dom0 {
        /// Which domain.
        domain: DomainId,
        /// Where to.
        to: GroupId,
    } -> Report;
    /// Brings one vCPU into a group of its pool. A domain may move its own vCPUs between its delegated groups and groups
    /// inside them.
    MoveVcpu = 0x05, Owner {
        /// Which.
        vcpu: VcpuId,
        /// Where to.
        to: GroupId,
    } -> Report;
    /// Gives a group to a domain of the same pool, or takes it back. `Busy`: it, one it is in or one inside it belongs to
    /// a domain already.
    Delegate = 0x06, Dom0 {
        /// Which group.
        id: GroupId,
        /// To whom; none = back to dom0 alone.
        to: Option<DomainId>,
    } -> ();
    /// The groups delegated to the caller. Ends with `End`.
    Mine = 0x07, Anyone {
        /// From 0 on.
        index: u32,
    } -> GroupRow;
    /// CPU time of a group and of all that compete with it; a domain is told its own group's alone.
    Times = 0x08, Owner {
        /// Which.
        id: GroupId,
    } -> GroupTimes;
    /// The vCPUs directly in a group, by their place in the table of vCPUs; a domain is shown its own. Ends with `End`.
    Member = 0x09, Owner {
        /// Which.
        id: GroupId,
        /// Lowest vCPU slot to look at.
        from: u32,
    } -> MemberRow;
    /// Parameters of a group's virtual processors in its parent. Ends with `End`.
    Params = 0x0a, Owner {
        /// Whose.
        id: GroupId,
        /// From 0 on.
        index: u32,
    } -> ParamRow;
    /// Sets one or two of them. A domain may do so for groups inside its delegated one, not for that itself (`Denied`).
    /// `Invalid`: out of range, or a weight to split is below the number of processors.
    SetParams = 0x0b, Owner {
        /// Whose.
        id: GroupId,
        /// What.
        first: Setting,
        /// And what.
        second: Option<Setting>,
    } -> ();
    /// Boosts of a group's virtual processors by cause. Ends with `End`.
    Boosts = 0x0c, Owner {
        /// Whose.
        id: GroupId,
        /// From 0 on.
        index: u32,
    } -> Counter;
}
