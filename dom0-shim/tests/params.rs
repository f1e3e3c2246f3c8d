//! Parameters at the prompt: by letter and by name, all or none; and words that cannot mean what they seem to.

mod fake;

use fake::Fake;

#[test]
fn parameters_by_letter_and_by_name() {
    let mut f = Fake::fresh();
    assert_eq!(f.line("sched-credit2 -d web -w 512 -c 50"), "");
    assert_eq!(
        f.line("sched-credit2 -d web"),
        "Name  ID  Pool   Weight  Cap\nweb    1  pool0     512   50\n"
    );
    assert_eq!(
        f.line("sched-rtds -d db -p 20000 -b 5000; sched-rtds -d db"),
        "note: rt-period is kept, but the scheduler in charge makes no use of it\n\
         note: rt-budget is kept, but the scheduler in charge makes no use of it\n\
         Name  ID  Pool   Period(us)  Budget(us)\ndb     7  pool0       20000        5000\n"
    );
    assert_eq!(
        f.line("sched-credit2 -s -p pool0 -r 2000; boost -p pool0 off ratio=100; params -p pool0"),
        "\
parameter       value  default  min     max  unit    used
ratelimit        2000     1000  100  500000  us      yes
boost               0        1    0       1  0/1     yes
boost-ratio       100      250    0     500  1/1000  yes
boost-interval    500      500   10   10000  us      yes
"
    );
    assert_eq!(
        f.line("boost -d web ratio=0 limit=700; boost -d web"),
        "\
Whose  Kind    Boost  Ratio(1/1000)  Interval(us)  Limit(us)
web    domain      -              0           500        700
"
    );
    assert_eq!(
        f.line("boost-stats web"),
        "Name  Boosts       Count\nweb   granted-irq     12\nweb   ended-spent      3\n"
    );
    for (line, answer) in [
        (
            "sched-credit2 -d web -w 70000",
            "error: weight is a number from 1 to 65535, not 70000\n",
        ),
        (
            "sched-credit2 -d web -w 0",
            "error: weight is a number from 1 to 65535, not 0\n",
        ),
        (
            "sched-credit2 -w 5",
            "error: say whose: -d DOMAIN for -w and -c, -p POOL for -r\n",
        ),
        (
            "sched-credit2 -d web -r 5",
            "error: -r and -s go with -p: the rate limit is a pool's\n",
        ),
        (
            "sched-credit2 -d web -p pool0",
            "error: say whose once: only one of -d, -p and -g\n",
        ),
        (
            "sched-credit2 -d",
            "error: -d needs a DOMAIN behind it; 'help sched-credit2' says more\n",
        ),
        (
            "params -d web wieght=5",
            "error: no parameter wieght: did you mean weight? 'params' lists them\n",
        ),
        ("params -d web weight", "error: weight: say NAME=VALUE\n"),
        (
            "params",
            "error: say whose: -d DOMAIN, -d DOMAIN -v VCPU, -p POOL or -g GROUP\n",
        ),
        (
            "boost -p pool0 maybe",
            "error: boost is on or off, not maybe\n",
        ),
        (
            "boost on",
            "error: boosts are switched for a pool: 'boost -p POOL on'; 'boost -d DOMAIN ratio=0' keeps one domain from them\n",
        ),
        (
            "boost -v 0 ratio=1",
            "error: -v goes with -d: a vCPU is one of a domain's\n",
        ),
    ] {
        assert_eq!(f.line(line), answer, "{line}");
    }
}

/// Names that would mean something else, CPUs that are not there.
#[test]
fn what_cannot_be_meant_is_refused() {
    let mut f = Fake::fresh();
    let before = f.line("pool-list; vcpu-list");
    for (line, answer) in [
        (
            "pool-create 0 ncpu=1",
            "0 cannot be a name: a number means the one of that number",
        ),
        (
            "pool-create free ncpu=1",
            "free cannot be a name: commands and lists mean something else by it",
        ),
        (
            "pool-create name=-d ncpu=1",
            "-d cannot be a name: commands and lists mean something else by it",
        ),
        (
            "pool-create x ncpu=two",
            "two is no number of CPUs: say ncpu=2, or cpu=1,3",
        ),
        ("vcpu-pin web 0 99", "the machine has no CPU 99; it has 0-9"),
        (
            "pool-apply pool-create",
            "a name is missing: 1 to 31 letters, digits, '-', '_' and '.'",
        ),
        (
            "pool-create x cpu=0-99",
            "the machine has no CPU 10-99; it has 0-9",
        ),
        (
            "pool-create x cpu=1,200",
            "the machine has not all CPUs of 1,200; it has 0-9",
        ),
        (
            "pool-create x cpu=0-99999999999",
            "0-99999999999 is no list of CPUs: say 1,3,5 or 1-3",
        ),
        (
            "pool-create x cpu=3-1",
            "3-1 is no list of CPUs: say 1,3,5 or 1-3",
        ),
        (
            "vcpu-pin web all 3,x",
            "3,x is no list of CPUs: say 1,3,5 or 1-3",
        ),
        (
            "cpu-run 3 midr hold=10",
            "a CPU reads midr or is held: leave one of them out",
        ),
        (
            "cpu-run 99 hold=10",
            "no CPU 99 is up; 'cpu-list' shows those there are",
        ),
        ("trace 0 -n 99999", "-n takes a number up to 65535"),
    ] {
        assert_eq!(f.line(line), format!("error: {answer}\n"), "{line}");
    }
    assert_eq!(f.line("pool-list; vcpu-list"), before);
    assert_eq!(
        f.line("cpu-run 3 hold=1000 --json"),
        "{\"cpu\":3,\"held_us\":1000}\n"
    );
}

/// A number is the one of that number, whatever else is called so.
#[test]
fn a_number_is_no_name() {
    let mut f = Fake::fresh();
    f.domains[2].name = "1";
    assert!(f.line("list 1").contains("\nweb"), "{}", f.line("list 1"));
    f.domains[2].name = "77";
    assert!(f.line("list 77").contains("\n77"), "{}", f.line("list 77"));
}

/// Whichever of several is wrong, none is set.
#[test]
fn parameters_are_set_all_or_none() {
    for (whose, old) in [
        ("-d web", "weight"),
        ("-d web -v 1", "weight"),
        ("-p pool0", "ratelimit"),
    ] {
        let mut f = Fake::fresh();
        let before = f.line(&format!("params {whose}"));
        for wrong in [
            "boost-interval=5",
            "boost-ratio=501",
            "boost-ratio=x",
            "nonsense=1",
        ] {
            let line =
                format!("params {whose} {old}=2000 boost-ratio=100 boost-interval=600 {wrong}");
            // (A name that stands there already is refused as such.)
            let line = line.replace(
                "boost-ratio=100 ",
                if wrong.contains("ratio") {
                    ""
                } else {
                    "boost-ratio=100 "
                },
            );
            let line = line.replace(
                "boost-interval=600 ",
                if wrong.contains("interval") {
                    ""
                } else {
                    "boost-interval=600 "
                },
            );
            assert!(f.line(&line).starts_with("error: "), "{line}");
            assert_eq!(f.line(&format!("params {whose}")), before, "{line}");
        }
        let line = format!("params {whose} {old}=2000 boost-ratio=100 boost-interval=600");
        assert_eq!(f.line(&line), "", "{line}");
        assert_ne!(f.line(&format!("params {whose}")), before);
    }
    let mut f = Fake::fresh();
    // Out of a range that only the hypervisor judges: the smallest.
    assert_eq!(
        f.line("params -d web weight=20 cap=5 rt-period=5"),
        "error: rt-period is a number from 100 to 10000000 (us), not 5\n"
    );
    assert_eq!(
        f.line("params -d web -v 0 weight=20 cap=5 rt-period=5; sched-credit2 -d web"),
        "error: rt-period is a number from 100 to 10000000 (us), not 5\n\
         Name  ID  Pool   Weight  Cap\nweb    1  pool0     256    0\n"
    );
    assert_eq!(
        f.line("params -d web weight=1 weight=2"),
        "error: weight is there twice\n"
    );
}

#[test]
fn xens_lists_of_parameters() {
    let mut f = Fake::fresh();
    assert_eq!(
        f.line("sched-credit2 -d web -v 1"),
        "Name  ID  VCPU  Pool   Weight  Cap\nweb    1     1  pool0     256    0\n"
    );
    assert_eq!(
        f.line("sched-rtds -d web -v all"),
        "\
Name  ID  VCPU  Pool   Period(us)  Budget(us)
web    1     0  pool0       10000        4000
web    1     1  pool0       10000        4000
"
    );
    f.line("pool-create one ncpu=1; cpupool-migrate web one");
    assert_eq!(
        f.line("sched-credit2 -p one; sched-rtds -c one; sched-credit2 -s -p one"),
        "\
Name  ID  Pool  Weight  Cap
web    1  one      256    0
Name  ID  Pool  Period(us)  Budget(us)
web    1  one        10000        4000
Pool  Ratelimit(us)
one            1000
"
    );
    assert!(
        f.line("sched-credit2 -s")
            .contains("pool0           1000\n")
    );
    assert_eq!(
        f.line("sched-credit2 -p one -w 5; sched-credit2 -p one -w 9 -r 3000"),
        "error: -w and -c go with -d: they are a domain's\n".repeat(2)
    );
}
