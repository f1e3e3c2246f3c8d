//! Live control at the prompt: the seeds' sessions and what else an operator changes, against the fake hypervisor.

mod fake;

use fake::Fake;
use tarn_abi::{DomainId, GroupId, PoolId, Span};

#[test]
fn the_seeds_pool_session() {
    let mut f = Fake::fresh();
    assert_eq!(f.line("pool-create pool1 ncpu=4"), "");
    assert_eq!(f.line("xm pool-create pool2 cpu=1,3,5"), "");
    assert!(f.line("cpupool-migrate web db pool1").starts_with(""));
    f.line("cpupool-migrate debian-12 debian-13 pool2");
    assert_eq!(
        f.line("pool-list"),
        "\
pool   cpus   sched   domains
pool0  0,2,4  credit  0
pool1  6-9    credit  1,7
pool2  1,3,5  credit  2,3
"
    );
    assert_eq!(
        f.line("pool-modify pool1 ncpu=3; pool-list pool1"),
        "pool   cpus  sched   domains\npool1  6-8   credit  1,7\n"
    );
    assert_eq!(
        f.line("pool-modify pool1 cpu=6,7,9; pool-list pool1"),
        "pool   cpus   sched   domains\npool1  6-7,9  credit  1,7\n"
    );
    assert_eq!(f.line("create vm5 pool=pool1"), "vm5 is domain 9\n");
    assert_eq!(
        f.line("pool-destroy pool1"),
        "error: pool1 has domains (1,7,9): 'cpupool-migrate DOMAIN POOL' moves them, 'destroy' ends them\n"
    );
    f.line("cpupool-migrate web db vm5 pool2");
    assert_eq!(
        f.line("pool-destroy pool1; pool-list"),
        "\
pool   cpus   sched   domains
pool0  0,2,4  credit  0
pool2  1,3,5  credit  2,3,7,9,1
"
        .replace("2,3,7,9,1", "1,2,3,7,9")
    );
    // Free ones first, then Pool-0's, each from the top, never the boot CPU.
    assert_eq!(
        f.line("pool-create pool3 ncpu=5; pool-list pool3"),
        "pool   cpus  sched   domains\npool3  4,6-9  credit  -\n"
            .replace("cpus  sched", "cpus   sched")
    );
    assert_eq!(
        f.line("pool-modify pool3 ncpu=7"),
        "error: 2 more CPUs are not to be had: of the free ones there are 0, and 1 could leave Pool-0; 'pool-modify' takes some from another pool\n"
    );
}

#[test]
fn a_refused_pool_is_not_left_behind() {
    let mut f = Fake::fresh();
    assert_eq!(
        f.line("pool-create p cpu=0,1"),
        "error: CPU 0 is the boot CPU: it stays in Pool-0; leave it out\n"
    );
    assert_eq!(f.pools.len(), 1);
    for (line, answer) in [
        (
            "pool-create p cpu=12",
            "error: the machine has no CPU 12; it has 0-9\n",
        ),
        (
            "pool-create p cpu=x",
            "error: x is no list of CPUs: say 1,3,5 or 1-3\n",
        ),
        (
            "pool-create p ncpu=1 cpu=2",
            "error: say either how many CPUs (ncpu=) or which (cpu=)\n",
        ),
        (
            "pool-create p ncpu=",
            "error: ncpu= needs a N behind it; 'help pool-create' says more\n",
        ),
        (
            "pool-create p ncp=1",
            "error: pool-create has no option ncp=: did you mean ncpu=? 'help pool-create' shows them\n",
        ),
        (
            "pool-create p sched=cfs",
            "error: no such scheduler; there are credit, rtds, null\n",
        ),
        (
            "pool-create p/q",
            "error: p/q cannot be a name: 1 to 31 letters, digits, '-', '_' and '.'\n",
        ),
        (
            "pool-create pool0",
            "error: there is a pool pool0 already; 'pool-modify pool0' changes it\n",
        ),
        (
            "pool-modify pool0",
            "error: say what to modify: ncpu=N or cpu=CPUS; 'params -p' sets its scheduler's parameters\n",
        ),
        (
            "pool-modify pool0 ncpu=0",
            "error: CPU 0 is the boot CPU: it stays in Pool-0; leave it out\n",
        ),
        (
            "pool-destroy pool0",
            "error: Pool-0 is there as long as the machine: it has dom0 and the boot CPU\n",
        ),
        ("cpupool-migrate dom0 pool0", ""),
        (
            "destroy web --json",
            "error: destroy prints no list: it has no --json\n",
        ),
        (
            "cpupool-migrate web",
            "error: cpupool-migrate needs a [DOMAIN...] POOL; 'help cpupool-migrate' says more\n",
        ),
    ] {
        let got = f.line(line);
        if line == "cpupool-migrate dom0 pool0" {
            continue;
        }
        assert_eq!(got, answer, "{line}");
        assert_eq!(f.pools.len(), 1, "{line}");
    }
}

#[test]
fn cpus_and_domains_move() {
    let mut f = Fake::fresh();
    assert_eq!(
        f.line("cpupool-create p sched=\"rtds\""),
        "note: p has no CPU yet; 'cpupool-cpu-add p CPUS' gives it some\n"
    );
    assert_eq!(
        f.line("cpupool-migrate web p"),
        "error: p has no CPU; 'cpupool-cpu-add p CPUS' gives it some\n"
    );
    assert_eq!(f.line("cpupool-cpu-add p 7-9; cpupool-cpu-remove p 8"), "");
    assert_eq!(
        f.line("cpupool-cpu-remove p 8"),
        "error: CPU 8 is not in p, which has 7,9; 'pool-list' shows where it is\n"
    );
    assert_eq!(
        f.line("cpupool-migrate web p"),
        "note: a vCPU stood still for 0.000085 s at most\n\
         note: web: an affinity names no CPU of the pool: all of its CPUs are used; 'vcpu-pin' sets another\n"
    );
    assert_eq!(
        f.line("cpupool-cpu-remove p 7,9"),
        "error: cpupool-cpu-remove p 7,9: it is the last CPU of a pool with domains; \
         move its domains first: 'cpupool-migrate DOMAIN POOL'\n"
    );
    f.why = "pool p has domains: CPU 9 is its last";
    assert_eq!(
        f.line("cpupool-cpu-remove p 7,9"),
        "error: pool p has domains: CPU 9 is its last; move its domains first: 'cpupool-migrate DOMAIN POOL'\n"
    );
    assert_eq!(
        f.line("cpupool-migrate dom0 p"),
        "error: dom0 stays in Pool-0; any other domain can be moved\n"
    );
    assert_eq!(
        f.line("cpupool-rename p real-time; pool-sched real-time null"),
        "note: a weight was set that this scheduler does not use; it is kept\n"
    );
    assert_eq!(
        f.line("pool-list real-time --json"),
        "{\"pool\":\"real-time\",\"cpus\":[7,9],\"sched\":\"null\",\"domains\":[1],\"stranded\":0}\n"
    );
    assert_eq!(
        f.line("vcpu-pin web all 0"),
        "note: web: an affinity names no CPU of the pool: all of its CPUs are used; 'vcpu-pin' sets another\n"
    );
    assert_eq!(
        f.line("vcpu-pin web 5 all"),
        "error: web has no vCPU 5; it has 2, from 0 on\n"
    );
    assert_eq!(f.line("vcpu-pin web 1 all; vcpu-list web --json"), "\
{\"name\":\"web\",\"id\":1,\"vcpu\":0,\"cpu\":6,\"state\":\"r--\",\"time_s\":1.5,\"affinity\":\"0\",\"soft\":\"all\"}
{\"name\":\"web\",\"id\":1,\"vcpu\":1,\"cpu\":7,\"state\":\"---\",\"time_s\":1.5,\"affinity\":\"all\",\"soft\":\"all\"}
");
    // A preference is set alone, both are, one is left as it is, and an unknown CPU changes neither.
    let vain = "note: web: a soft affinity has no effect here; it is kept\n";
    assert_eq!(f.line("vcpu-pin web 1 - 7"), "");
    assert_eq!(f.line("vcpu-pin web 0 6-7 5"), vain);
    assert_eq!(f.line("vcpu-pin web 0 5-6"), "");
    assert_eq!(
        f.line("vcpu-pin web all - 99"),
        "error: the machine has no CPU 99; it has 0-9\n"
    );
    assert_eq!(
        f.line("vcpu-list web"),
        "Name  ID  VCPU  CPU  State  Time(s)  Affinity  Soft\n\
         web    1     0    6  r--        1.5  5-6       5\n\
         web    1     1    7  ---        1.5  all       7\n"
    );
    assert_eq!(f.line("vcpu-pin web all all all"), "");
}

/// Under null, with too few CPUs, everything that may lead to it says who has none, and the lists show it.
#[test]
fn who_has_no_cpu_under_null_is_said() {
    let mut f = Fake::fresh();
    let kept = "note: a weight was set that this scheduler does not use; it is kept\n";
    let pinned = "note: a vCPU stood still for 0.000085 s at most\n\
                  note: web: an affinity names no CPU of the pool: all of its CPUs are used; 'vcpu-pin' sets another\n";
    let rest = "; a CPU more, or somebody who leaves, makes room\n";
    let one = format!("note: 1 vCPU of p has no CPU under null: web:1{rest}");
    assert_eq!(f.line("pool-create p cpu=9"), "");
    assert_eq!(f.line("cpupool-migrate web p"), pinned);
    assert_eq!(f.line("pool-sched p null"), format!("{kept}{one}"));
    let list = "pool  cpus  sched  domains\np     9     null   1\n";
    assert_eq!(f.line("pool-list p"), format!("{list}{one}"));
    assert_eq!(
        f.line("pool-list p --json"),
        "{\"pool\":\"p\",\"cpus\":[9],\"sched\":\"null\",\"domains\":[1],\"stranded\":1}\n"
    );
    let vcpus = f.line("vcpu-list web");
    let states: Vec<_> = vcpus
        .lines()
        .skip(1)
        .map(|l| l.split_whitespace().nth(4))
        .collect();
    assert_eq!(states, [Some("r--"), Some("w--")]);
    // Room is made, and taken away again.
    assert_eq!(f.line("cpupool-cpu-add p 8"), "");
    assert_eq!(f.line("cpupool-cpu-remove p 8"), one);
    let both = format!("note: 2 vCPUs of p have no CPU under null: web:1, db:0{rest}");
    let db = pinned.replace("web:", "db:");
    assert_eq!(f.line("cpupool-migrate db p"), format!("{db}{both}"));
    // A dry run says so before.
    f.foreseen = 3;
    let dry = f.line("pool-apply -n cpupool-migrate web p");
    let said = "note: 3 vCPUs of p would have no CPU under null\n";
    assert!(dry.ends_with(said), "{dry}");
}

#[test]
fn a_plan_is_carried_out_or_nothing_is() {
    let mut f = Fake::fresh();
    let plan = "pool-create rt sched=rtds ncpu=2 / cpupool-migrate web db rt";
    assert_eq!(
        f.line(&format!("pool-apply -n {plan}")),
        "\
pool   cpus  sched   domains
pool0  0-7   credit        1
rt     8-9   rtds          1
note: web would be in rt
note: db would be in rt
"
    );
    assert_eq!(f.pools.len(), 1);
    assert_eq!(
        f.line(&format!("pool-apply {plan}; pool-list")),
        "\
note: 2 steps done
pool   cpus  sched   domains
pool0  0-7   credit  0,2,3
rt     8-9   rtds    1,7
"
    );
    assert_eq!(
        f.line("pool-apply cpupool-migrate debian-12 rt / cpupool-cpu-remove rt 8,9"),
        "error: step 2 of 2 cannot be: it is the last CPU of a pool with domains; nothing has changed\n"
    );
    assert_eq!(
        f.line("pool-list rt"),
        "pool  cpus  sched  domains\nrt    8-9   rtds   1,7\n"
    );
    // In the hypervisor's own words, where it has some.
    f.why = "not admitted: 1.200 CPUs asked for";
    assert_eq!(
        f.line("pool-apply -n cpupool-migrate debian-12 rt / cpupool-cpu-remove rt 8,9"),
        "error: step 2 of 2 cannot be: not admitted: 1.200 CPUs asked for; nothing has changed\n"
    );
    f.why = "";
    // A step that is typed may be several; a pool may be given by its number; what nobody may set is refused.
    assert_eq!(
        f.line("pool-apply pool-create a ncpu=1 / pool-create a"),
        "error: step 2 of 2 cannot be: exists already; nothing has changed\n"
    );
    assert_eq!(
        f.line("pool-apply -n params -d web weight=7 / pool-destroy 1"),
        "error: step 2 of 2 cannot be: it is not empty; nothing has changed\n"
    );
    assert_eq!(
        f.line("pool-apply -n --json params -d web weight=7 / cpupool-migrate web 0"),
        "{\"pool\":\"pool0\",\"cpus\":[0,1,2,3,4,5,6,7],\"sched\":\"credit\",\"domains\":1,\"stranded\":0}\n\
         {\"pool\":\"rt\",\"cpus\":[8,9],\"sched\":\"rtds\",\"domains\":1,\"stranded\":0}\n\
         {\"domain\":\"web\",\"to\":\"pool0\"}\n"
    );
    for of in ["-d web -v 1", "-d web -g none", "-v 1", ""] {
        assert_eq!(
            f.line(&format!("pool-apply params {of} weight=100")),
            "error: a step sets parameters of -p POOL or -d DOMAIN, of nothing else\n"
        );
    }
    for (line, answer) in [
        (
            "pool-apply list",
            "error: list cannot be a step: pool-create, pool-modify, pool-destroy, pool-sched, cpupool-rename, cpupool-cpu-add, cpupool-cpu-remove, cpupool-migrate and params can\n",
        ),
        (
            "pool-apply pool-destroy rt / / list",
            "error: a step without words is no command by itself; 'help' lists them\n",
        ),
        (
            "pool-apply pool-destroy xx",
            "error: no pool xx at that step; 'pool-list' shows those there are\n",
        ),
        (
            "pool-apply",
            "error: pool-apply needs a STEP [/ STEP]...; 'help pool-apply' says more\n",
        ),
    ] {
        assert_eq!(f.line(line), answer, "{line}");
    }
}

#[test]
fn a_groups_weight_may_be_that_of_all_its_processors() {
    let mut f = Fake::fresh();
    let made =
        "group-create a procs=2 weight=512 split=on; group-create b split=off; group-create c";
    assert_eq!(f.line(made), "");
    let said: Vec<bool> = f.groups.iter().map(|g| g.split).collect();
    assert_eq!(said, [true, false, false]);
    assert_eq!(
        f.line("group-create d split=2"),
        "error: split= is on or off, not 2\n"
    );
}

/// Groups in different places may have one name, and who owns one names what is in it: dom0's words go on to mean dom0's.
#[test]
fn groups_of_one_name() {
    let mut f = Fake::fresh();
    let given = "group-create given; group-delegate given db; group-create mine in=given";
    assert_eq!(f.line(given), "");
    assert_eq!(f.line("group-create mine; group-create mine in=mine"), "");
    assert_eq!(
        f.line("group-create mine in=given"),
        "error: there is a group mine in that place already; 'group-list' shows it\n"
    );
    let at = |f: &Fake, path: &[&str]| {
        let root = GroupId::root(PoolId::POOL0);
        path.iter().fold(root, |parent, name| {
            let mut there = f.groups.iter().filter(|g| g.row.parent == parent);
            there.find(|g| g.name == *name).unwrap().row.id
        })
    };
    let (theirs, inner) = (at(&f, &["given", "mine"]), at(&f, &["mine", "mine"]));
    assert_eq!(
        f.line("group-destroy mine"),
        "error: there are 2 groups mine: say POOL/mine or OUTER/mine, where OUTER is the group it is in\n"
    );
    assert_eq!(f.line("group-destroy mine/mine"), "");
    assert!(f.groups.iter().all(|g| g.row.id != inner));
    // Of the two that are left one is dom0's.
    assert_eq!(f.line("group-destroy mine"), "");
    assert_eq!(at(&f, &["given", "mine"]), theirs);
    assert_eq!(f.line("group-destroy pool0/given/mine"), "");
    assert_eq!(
        f.line("group-destroy given/mine"),
        "error: no group given/mine; 'group-list' shows those there are\n"
    );
}

/// A domain that owns a group names those inside as it likes: like dom0's that are gone, like a pool, like another's outer
/// one. None of dom0's words leads there unless it starts at what dom0 made.
#[test]
fn a_domains_own_groups_capture_no_word_of_dom0s() {
    let mut f = Fake::fresh();
    f.line("pool-create work ncpu=2; cpupool-migrate db web work; group-create given pool=work");
    f.line("group-create rt pool=work; group-delegate given db");
    f.line("group-create work in=given; group-create rt in=given; group-create in in=given/rt");
    assert_eq!(f.groups.len(), 5);
    let members = |f: &Fake| -> Vec<String> {
        let full = f.groups.iter().filter(|g| !g.members.is_empty());
        full.map(|g| g.name.clone()).collect()
    };

    // The pool, though a group is called so as well; and dom0's group of the two.
    assert_eq!(f.line("group-move web rt"), "");
    assert!(f.groups[1].members.len() == 1, "{:?}", members(&f));
    assert_eq!(f.line("group-move web work"), "");
    assert_eq!(members(&f), [""; 0]);
    // With a group of dom0's of that name the group is meant.
    assert_eq!(
        f.line("group-create work pool=work; group-move web work"),
        ""
    );
    assert!(f.groups[5].members.len() == 1, "{:?}", members(&f));
    f.groups[5].members.clear();
    f.groups.remove(5);

    // dom0's is gone: what is left of the name is not taken for it.
    assert_eq!(f.line("group-destroy rt"), "");
    let left = f.groups.len();
    let hint = "did you mean given/rt? 'group-list' shows them all\n";
    for word in ["rt", "work/rt", "1/rt"] {
        for line in [
            format!("group-move web {word}"),
            format!("group-destroy {word}"),
            format!("group-delegate {word}"),
            format!("params -g {word}"),
            format!("group-create x in={word}"),
        ] {
            let said = f.line(&line);
            assert_eq!(said, format!("error: no group {word}: {hint}"), "{line}");
        }
    }
    // Nor is what is in it, by the name of what it is in.
    assert_eq!(
        f.line("group-move web rt/in"),
        "error: no group rt/in: did you mean given/rt/in? 'group-list' shows them all\n"
    );
    assert_eq!((f.groups.len(), members(&f).len()), (left, 0));
    // Said in full it is found.
    assert_eq!(f.line("group-move web given/rt/in"), "");
    assert_eq!(members(&f), ["in"]);
    assert_eq!(
        f.line("group-move web work; group-destroy work/given/rt/in"),
        ""
    );
    assert_eq!(f.groups.len(), left - 1);
}

/// A pool goes by its number wherever it goes by its name, and a wrong one gets a hint.
#[test]
fn a_group_by_its_pool() {
    let mut f = Fake::fresh();
    f.line("pool-create work ncpu=2; group-create cell pool=work; group-create cell");
    assert_eq!(
        f.line("group-destroy wrok/cell"),
        "error: no group wrok/cell: no pool or group is called wrok; did you mean work? 'group-list' shows them all\n"
    );
    assert_eq!(f.line("group-create inner in=1/cell"), "");
    assert_eq!(
        f.line("group-destroy clel/inner"),
        "error: no group clel/inner: no pool or group is called clel; did you mean cell? 'group-list' shows them all\n"
    );
    assert_eq!(
        f.line("group-destroy 2/inner"),
        "error: no group 2/inner: did you mean inner? 'group-list' shows them all\n"
    );
    assert_eq!(
        f.line("group-destroy 1/cell/inner; group-destroy 1/cell"),
        ""
    );
    let left: Vec<_> = f.groups.iter().map(|g| g.row.id.pool).collect();
    assert_eq!(left, [PoolId::POOL0]);
}

#[test]
fn the_seeds_groups() {
    let mut f = Fake::fresh();
    f.domains.retain(|d| [0, 1, 3, 7].contains(&d.id.slot));
    for d in &mut f.domains {
        d.vcpus.truncate(1);
        d.row.vcpus = 1;
        d.share = if d.id.slot == 0 { 0 } else { 33 };
    }
    f.pools[0].cpus = tarn_abi::CpuSet::first(1);
    let hog = |f: &mut Fake, slot: u16, share| {
        let id = DomainId::new(slot, 0);
        f.domains.iter_mut().find(|d| d.id == id).unwrap().share = share;
    };
    assert_eq!(f.line("group-create g1 sched=rtds"), "");
    assert_eq!(f.line("group-move debian-13 g1; group-move db g1"), "");
    hog(&mut f, 1, 50);
    hog(&mut f, 3, 25);
    hog(&mut f, 7, 25);
    assert_eq!(
        f.line("group-list -i 2"),
        "\
Name             Kind   Sched   Procs  Weight  CPU(%)  Owner
pool0            pool   credit      1       -       -  -
  dom0:0         vcpu   -           -     256     0.0  -
  web:0          vcpu   -           -     256    50.0  -
  g1             group  rtds        1     256    50.0  -
    debian-13:0  vcpu   -           -     256    25.0  -
    db:0         vcpu   -           -     256    25.0  -
"
    );
    assert_eq!(
        f.line("group-list -i 0.5 --json").lines().last().unwrap(),
        "{\"name\":\"db:0\",\"kind\":\"vcpu\",\"in\":\"g1\",\"sched\":\"-\",\"procs\":null,\"weight\":256,\"cpu_percent\":25.0,\"owner\":\"-\"}"
    );
    assert_eq!(
        f.line("group-destroy g1"),
        "error: it has members: 'group-move DOMAIN POOL' moves them out, 'group-list' shows them\n"
    );
    assert_eq!(f.line("group-delegate g1 db; group-delegate g1; group-move debian-13 pool0; group-move db pool0; group-destroy g1"), "");
    assert!(f.groups.is_empty());
    assert_eq!(
        f.line("group-move db gg"),
        "error: no group gg; 'group-list' shows those there are\n"
    );
    assert_eq!(f.now, Span::ms(12_345 + 2_500));
    assert_eq!(
        f.line("top -i 1 -n 1"),
        "\
Name       ID  Pool   VCPUs  running  CPU(%)  Time(s)
dom0        0  pool0      1        1     0.0      1.2
web         1  pool0      1        1    50.0      2.5
debian-13   3  pool0      1        0    25.0      5.0
db          7  pool0      1        1    25.0     10.0
"
    );
}

#[test]
fn cpus_work_on_demand() {
    let mut f = Fake::new();
    assert_eq!(
        f.line("cpu-run 3 midr"),
        "CPU  Pool   Register  Value\n  3  pool2  midr      0x00000000410fd083\n"
    );
    assert_eq!(f.line("cpu-run all mpidr").lines().count(), 11);
    assert_eq!(f.line("cpu-run 3").lines().count(), 15);
    assert_eq!(
        f.line("cpu-run 3 hold=1000"),
        "CPU 3 was held for 1000 us\n"
    );
    assert_eq!(
        f.line("cpu-run 3 hold=99999"),
        "error: one CPU is held for 0 to 20000 us: 'cpu-run 1 hold=1000'\n"
    );
    assert_eq!(
        f.line("cpu-run 44"),
        "error: no CPU 44 is up; 'cpu-list' shows those there are\n"
    );
    assert!(
        f.line("cpu-run 3 mid")
            .starts_with("error: no register mid; there are midr mpidr ")
    );
    assert_eq!(
        f.line("trace 0 -n 2"),
        " Time(s)  What  Domain  vCPU  Detail
0.000028  run   web        1      28
0.000029  run   web        1      29
"
    );
    assert_eq!(f.line("cpu-list").lines().count(), 11);
    assert_eq!(
        f.line("pool-memory pool1 node:1; pool-memory pool1"),
        "pool   memory   free   used\npool1  node:1  1 MiB  2 MiB\n"
    );
}

#[test]
fn tab_knows_options_and_values() {
    let typed = |keys: &[u8]| {
        let (out, _) = Fake::fresh().session(&[keys]);
        out.rsplit("console.\r\n").next().unwrap().to_owned()
    };
    assert_eq!(typed(b"pool-create p nc\t"), "tarn> pool-create p ncpu=");
    assert_eq!(
        typed(b"pool-create p sched=n\t"),
        "tarn> pool-create p sched=null "
    );
    assert_eq!(typed(b"create vm6 p\t"), "tarn> create vm6 pool=");
    assert_eq!(typed(b"create vm6 pool=\t"), "tarn> create vm6 pool=pool0 ");
    assert_eq!(
        typed(b"sched-credit2 -d d\tw\t"),
        "tarn> sched-credit2 -d d\r\ndom0  debian-12  debian-13  db  \r\n\rtarn> sched-credit2 -d d\x1b[Kw\x07"
    );
    assert_eq!(
        typed(b"params -d web weig\t"),
        "tarn> params -d web weight="
    );
    assert_eq!(typed(b"pool-list --j\t"), "tarn> pool-list --json ");
    assert_eq!(typed(b"cpu-run 1 mi\t"), "tarn> cpu-run 1 midr ");
    assert_eq!(
        typed(b"pool-apply pool-des\t"),
        "tarn> pool-apply pool-destroy "
    );
}

#[test]
fn a_call_by_its_registers() {
    let mut f = Fake::fresh();
    assert!(f.line("call 0xc6000000").starts_with("x0=0x0 x1=0x1"));
    assert!(
        f.line("call 0x84000008")
            .starts_with("error: 0x84000008 is a standard service")
    );
    assert!(f.line("call -n 3 0xc6000000").contains("3 times, "));
    assert!(
        f.line("call -n 0 0xc6000000")
            .starts_with("error: -n is a number from 1")
    );
    assert!(f.line("call 1 two").starts_with("error: x1 is a number"));
    assert!(
        f.line("call 1 2 3 4 5 6 7 8 9")
            .starts_with("error: a call has x0 to x7")
    );
}
