//! Whole sessions at the prompt: what is typed, and exactly what the terminal gets.

mod fake;

use fake::{End, Fake};
use tarn_abi::DomainId;
use tarn_abi::call::domain::{DomainFlags, DomainState};
use tarn_dom0_shim::cmd::COMMANDS;

#[test]
fn greets_once() {
    let (out, end) = Fake::new().session(&[]);
    assert_eq!(end, End::Input);
    assert_eq!(
        out,
        "Tarn 0.1.0: 10 CPUs; pool0: 0,2,4 credit; pool1: 6-9 credit; pool2: 1,3,5 credit\r\n\
         Type 'help' for the commands; Ctrl-A three times switches the console.\r\n\
         tarn> "
    );
}

#[test]
fn the_boot_script_is_typed_first() {
    let mut f = Fake::new();
    f.script = "@pause web\nlist web; frobnicate the whole machine\n";
    let (out, end) = f.session(&[b"@list db\r"]);
    assert_eq!(end, End::Input);
    let at = |words: &str| {
        out.find(words)
            .unwrap_or_else(|| panic!("{words} in {out}"))
    };
    assert!(at("tarn> @pause web\r\n@ok\r\n") < at("error: no command frobnicate"));
    assert!(at("error: no command frobnicate") < at("tarn> @list db\r\n"));
    assert!(out.ends_with("@ok\r\ntarn> "), "{out}");
}

/// A script whose last line has no end of its own does not get the user's first line behind it.
#[test]
fn the_boot_scripts_last_line_is_a_line() {
    let mut f = Fake::new();
    f.script = "@list db";
    let (out, _) = f.session(&[b"@list web\r"]);
    assert!(out.contains("tarn> @list db\r\n"), "{out}");
    assert!(out.contains("tarn> @list web\r\n"), "{out}");
}

#[test]
fn what_follows_a_number_sign_is_a_comment() {
    let list = Fake::new().line("pool-list");
    for line in ["pool-list # all; frobnicate", "xm pool-list #x"] {
        assert_eq!(Fake::new().line(line), list, "{line}");
    }
    assert_eq!(Fake::new().line("# pool-list; frobnicate"), "");
    assert_eq!(
        Fake::new().line("pool-list pool#1"),
        "error: no pool pool#1: did you mean pool1? 'pool-list' shows them all\n"
    );
}

/// One JSON value at the start of `t`, and what stands behind it.
fn value(t: &str) -> &str {
    let Some(first) = t.chars().next() else {
        panic!("no value");
    };
    match first {
        '{' | '[' => {
            let close = if first == '{' { '}' } else { ']' };
            let mut rest = &t[1..];
            loop {
                if let Some(rest) = rest.strip_prefix(close) {
                    return rest;
                }
                rest = rest.strip_prefix(',').unwrap_or(rest);
                if first == '{' {
                    rest = value(rest).strip_prefix(':').expect("a colon");
                }
                rest = value(rest);
            }
        }
        '"' => {
            let mut escaped = false;
            let end = t[1..].find(|c| {
                let end = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                end
            });
            &t[end.expect("the end of a text") + 2..]
        }
        _ if t.starts_with("null") => &t[4..],
        _ => {
            let end = t.find([',', '}', ']']).unwrap_or(t.len());
            t[..end].parse::<f64>().expect("a number");
            &t[end..]
        }
    }
}

/// Each command that lists something prints lines of JSON, one object each, and nothing else.
#[test]
fn every_listing_is_json_too() {
    let words = |name: &str| match name {
        "trace" => "0",
        "cpu-run" => "3 midr",
        "params" => "-d web",
        "pool-apply" => "-n cpupool-migrate web pool2",
        _ => "",
    };
    let mut lists = 0;
    for c in COMMANDS.iter().filter(|c| c.json) {
        // (The words of a plan's steps are the steps'.)
        let line = format!("{} --json {}", c.name, words(c.name));
        let printed = Fake::new().line(&line);
        assert!(!printed.is_empty(), "{line}");
        for row in printed.lines() {
            assert!(row.starts_with('{'), "{line}: {row}");
            assert_eq!(value(row), "", "{line}: {row}");
        }
        lists += 1;
    }
    assert!(lists > 15);
    let all = Fake::new().line("runstate --json");
    assert!(all.contains("\"vcpu\":1,\"state\""), "{all}");
    assert!(all.contains("\"advice\":\""), "{all}");
    let mut f = Fake::new();
    f.domains[4].row.state = DomainState::Crashed;
    let crashed = f.line("list db --json");
    assert!(
        crashed.contains("\"crash\":\"crashed at 0x40081234: "),
        "{crashed}"
    );
    let help = Fake::new().line("help list --json");
    assert!(help.starts_with("{\"command\":\"list\","), "{help}");
}

/// A measurement takes its time whatever is typed meanwhile, which is run afterwards; a key ends `top`, and only that.
#[test]
fn typing_ahead_does_not_cut_a_measurement_short() {
    for line in ["runstate -i 5", "group-list -i 5"] {
        let mut f = Fake::new();
        let before = f.now;
        let (out, _) = f.session(&[line.as_bytes(), b"\r", b"pool-list\r"]);
        assert!(out.contains("tarn> pool-list\r\n"), "{out}");
        assert!(f.now.0 - before.0 >= 5_000_000_000, "{line}");
    }
    let (out, _) = Fake::new().session(&[b"top\r", b"q", b"pool-list\r"]);
    assert!(out.contains("tarn> pool-list\r\n"), "{out}");
}

#[test]
fn pool_list_is_the_seeds() {
    let wanted = "\
pool   cpus   sched   domains
pool0  0,2,4  credit  0
pool1  6-9    credit  1,7
pool2  1,3,5  credit  2,3
";
    for line in [
        "pool-list",
        "cpupool-list",
        "xm pool-list",
        "  xl   cpupool-list  ",
    ] {
        assert_eq!(Fake::new().line(line), wanted, "{line}");
    }
    assert_eq!(
        Fake::new().line("pool-list pool1"),
        "pool   cpus  sched   domains\npool1  6-9   credit  1,7\n"
    );
    assert_eq!(
        Fake::new().line("pool-list 2; pool-list poll1; pool-list x"),
        "pool   cpus   sched   domains\n\
         pool2  1,3,5  credit  2,3\n\
         error: no pool poll1: did you mean pool1? 'pool-list' shows them all\n\
         error: no pool x; 'pool-list' shows those there are\n"
    );
    let mut empty = Fake::new();
    empty.pools[1].cpus = tarn_abi::CpuSet::EMPTY;
    empty.domains.truncate(1);
    assert_eq!(
        empty.line("pool-list pool1"),
        "pool   cpus  sched   domains\npool1  -     credit  -\n"
    );
}

#[test]
fn list_shows_domains() {
    let mut f = Fake::new();
    f.domains[3].row.flags = DomainFlags::PAUSED;
    f.domains[4].row.flags = DomainFlags::default();
    f.domains[4].row.state = DomainState::Crashed;
    f.domains[2].row.memory_kib += 512;
    assert_eq!(
        f.line("list"),
        "\
Name       ID     Mem  VCPUs  State   Time(s)  Pool
dom0        0       2      1  r-----      1.2  pool0
web         1     256      2  r-----      2.5  pool1
debian-12   2  1024.5      2  -b----      3.7  pool2
debian-13   3    1024      1  --p---      5.0  pool2
db          7     512      1  ----c-     10.0  pool1
db crashed at 0x40081234: stage-2 abort, ESR 0x92000047; 'destroy db' frees it
"
    );
    assert_eq!(
        f.line("list 1"),
        "Name  ID  Mem  VCPUs  State   Time(s)  Pool\nweb    1  256      2  r-----      2.5  pool1\n"
    );
}

#[test]
fn vcpu_list_and_runstate() {
    assert_eq!(
        Fake::new().line("vcpu-list"),
        "\
Name       ID  VCPU  CPU  State  Time(s)  Affinity  Soft
dom0        0     0    0  r--        1.5  0,2,4     all
web         1     0    6  r--        1.5  6-9       all
web         1     1    7  ---        1.5  6-9       all
debian-12   2     0    1  -b-        1.5  1,3       all
debian-12   2     1    -  --p        1.5  1,3,5     all
debian-13   3     0    5  -b-        1.5  1,3,5     all
db          7     0    9  r--        1.5  9         all
"
    );
    assert_eq!(
        Fake::new().line("runstate db"),
        "\
Name  ID  State               full-run(s)  full-contention(s)  hazard(s)  blocked(s)  partial-run(s)  partial-contention(s)
db     7  concurrency-hazard       12.345               0.000      0.000       0.000           0.000                  0.000
Name  ID  VCPU  State  running(s)  runnable(s)  blocked(s)  offline(s)
db     7     0  r--         1.500        0.020      12.000       0.000
db: 100.0 % of its time all vCPUs run: it may have too few of them
"
    );
    // Measured over an interval, with the seed's other readings.
    assert_eq!(
        Fake::new().line("runstate web -i 6"),
        "\
Name  ID  State               full-run(s)  full-contention(s)  hazard(s)  blocked(s)  partial-run(s)  partial-contention(s)
web    1  concurrency-hazard        0.000               3.000      2.000       1.000           0.000                  0.000
web: 50.0 % of its time all vCPUs wait for a CPU: the host is too busy; give the pool CPUs or move domains out of it
web: 33.3 % of its time some vCPUs run while others wait: a concurrency hazard (spinning on locks); fewer vCPUs, or fewer domains in the pool
"
    );
}

#[test]
fn info_names_everything() {
    assert_eq!(
        Fake::new().line("info"),
        "\
version             : Tarn 0.1.0
call interface      : 1.5
board               : linux,dummy-virt
cpus                : 10 online of 10
pools               : 3
domains             : 5
memory              : 4096 MiB
memory free         : 1024 MiB
memory of domains   : 2048 MiB
memory of Tarn      : 6145 KiB
interrupts          : GICv3, 4 list registers
timer               : 62.5 MHz
uptime              : 12.345 s
exit-hvc            : 77
exit-wfx            : 123456
"
    );
    // For programs what is a number is one, and memory is in bytes.
    let info = Fake::new().line("info --json");
    for line in [
        "{\"key\":\"pools\",\"value\":3}",
        "{\"key\":\"memory\",\"value\":4294967296}",
        "{\"key\":\"memory of Tarn\",\"value\":6292480}",
        "{\"key\":\"uptime\",\"value\":\"12.345 s\"}",
        "{\"key\":\"exit-hvc\",\"value\":77}",
    ] {
        assert!(info.contains(&format!("{line}\n")), "{line} {info}");
    }
    assert_eq!(
        Fake::new().line("counters"),
        "COUNTER     VALUE\nexit-hvc       77\nexit-wfx   123456\nirq-stray       0\n"
    );
    assert_eq!(
        Fake::new().line("counters db"),
        "COUNTER                  VALUE\nexit-wfx  18446744073709551615\n"
    );
}

#[test]
fn help_covers_every_command() {
    let all = Fake::new().line("help");
    for c in tarn_dom0_shim::cmd::COMMANDS {
        assert!(
            all.lines()
                .any(|l| l.split_whitespace().next() == Some(c.name)),
            "{}",
            c.name
        );
        assert!(
            Fake::new()
                .line(&format!("help {}", c.name))
                .starts_with(c.name)
        );
        for alias in c.aliases {
            assert!(
                Fake::new()
                    .line(&format!("help {alias}"))
                    .contains(&format!("Also: {alias}\n"))
            );
        }
    }
    assert!(all.lines().all(|l| l.len() <= 100), "{all}");
    assert_eq!(Fake::new().line("?"), all);
}

#[test]
fn mistakes_say_what_to_do() {
    for (line, answer) in [
        (
            "lsit",
            "error: no command lsit: did you mean list? 'help' lists them all\n",
        ),
        (
            "poollist",
            "error: no command poollist: did you mean pool-list? 'help' lists them all\n",
        ),
        (
            "frobnicate",
            "error: no command frobnicate; 'help' lists those there are\n",
        ),
        (
            "help frob",
            "error: no command frob; 'help' lists those there are\n",
        ),
        (
            "destroy",
            "error: destroy needs a DOMAIN; 'help destroy' says more\n",
        ),
        (
            "create",
            "error: create needs a NAME; 'help create' says more\n",
        ),
        (
            "dmesg now",
            "error: dmesg takes no argument: what is now?\n",
        ),
        (
            "pause web db",
            "error: pause takes one argument: what is db?\n",
        ),
        (
            "destroy 1 2 3 4 5 6 7 8",
            "error: destroy takes one argument: what is 2?\n",
        ),
        (
            "destroy dom0",
            "error: dom0 lives as long as the machine; 'poweroff' or 'reboot' end both\n",
        ),
        (
            "pause 0",
            "error: dom0 cannot be paused: nobody could unpause it\n",
        ),
        (
            "destroy wbe",
            "error: no domain wbe: did you mean web? 'list' shows them all\n",
        ),
        (
            "destroy 17",
            "error: no domain 17; 'list' shows those there are\n",
        ),
        (
            "destroy 99999999999",
            "error: no domain 99999999999; 'list' shows those there are\n",
        ),
        (
            "pause vm5",
            "error: domain vm5 is not alive; 'create vm5' starts it\n",
        ),
        ("unpause web", "error: web is not paused; 'list' shows it\n"),
        (
            "create web",
            "error: web is alive already; 'destroy web' would end it\n",
        ),
        (
            "create vm7",
            "error: the configuration has no domain of that name, only web, debian-12, debian-13, db, vm5, vm50, vm6\n",
        ),
        (
            "xl",
            "error: xl is no command by itself; 'help' lists them\n",
        ),
        ("", ""),
        (" ; ;; ", ""),
    ] {
        assert_eq!(Fake::new().line(line), answer, "{line}");
    }
    let long = format!("create {}", "x".repeat(49));
    assert_eq!(
        Fake::new().line(&long),
        "error: a name has at most 48 letters\n"
    );
    let (out, _) = Fake::new().session(&[b"destroy ", &[b'x'; 200], b"\r"]);
    assert!(
        out.ends_with("xxx; 'list' shows those there are\r\ntarn> "),
        "{out}"
    );
}

#[test]
fn domains_live_and_die() {
    let mut f = Fake::new();
    f.again = 500;
    assert_eq!(f.line("create vm5"), "vm5 is domain 9\n");
    assert_eq!(
        f.line("pause vm5; list vm5"),
        "Name  ID  Mem  VCPUs  State   Time(s)  Pool\nvm5    9   64      1  -bp---     12.5  pool0\n"
    );
    assert_eq!(
        f.line("pause vm5"),
        "error: vm5 is paused already, or not alive; 'list' shows it\n"
    );
    assert_eq!(f.line("unpause 9"), "");
    assert_eq!(f.line("destroy vm5"), "");
    assert_eq!(
        f.line("destroy vm5"),
        "error: domain vm5 is not alive; 'create vm5' starts it\n"
    );
}

#[test]
fn scripts_get_a_status_for_each_command() {
    assert_eq!(
        Fake::new().line("@pause web; pause web;; frob ;unpause web"),
        "@ok\nerror: web is paused already, or not alive; 'list' shows it\n@error\n\
         error: no command frob; 'help' lists those there are\n@error\n@ok\n"
    );
    assert_eq!(Fake::new().line("@"), "");
    assert_eq!(Fake::new().line("pause web"), "", "no status without @");
    let long = format!("@{}", "x".repeat(240));
    let (out, _) = Fake::new().session(&[long.as_bytes(), b"\r@pause web\r"]);
    assert!(
        out.contains("was not run; split it\r\n@error\r\ntarn> @pause web\r\n@ok\r\ntarn> "),
        "{out}"
    );
}

#[test]
fn the_end_is_told_before_it_comes() {
    for (line, end) in [
        ("poweroff", End::PowerOff),
        ("reboot", End::Reboot),
        ("halt", End::PowerOff),
    ] {
        let (out, got) = Fake::new().session(&[format!("{line}\r").as_bytes()]);
        assert_eq!(got, end);
        assert!(out.ends_with(&format!("tarn> {line}\r\n")), "{out}");
        let (out, got) = Fake::new().session(&[format!("@list; {line}\r").as_bytes()]);
        assert_eq!(got, end);
        assert!(out.ends_with("\r\n@ok\r\n@ok\r\n"), "{out}");
    }
    let mut f = Fake::new();
    f.refuse_end = true;
    assert_eq!(
        f.line("@poweroff"),
        "@ok\nerror: poweroff: in use or in the wrong state\n@error\n"
    );
}

#[test]
fn ctrl_c_gives_up_waiting_and_nothing_typed_is_lost() {
    let mut f = Fake::new();
    f.again = u32::MAX;
    let (out, _) = f.session(&[
        b"create vm5\r",
        b"dropped\x03",
        b"pause vm6\r",
        b"list dom0\r",
    ]);
    assert!(
        out.ends_with(
            "tarn> create vm5\r\n\
             error: interrupted before it was finished; the same command goes on with it\r\n\
             tarn> pause vm6\r\n\
             error: domain vm6 is not alive; 'create vm6' starts it\r\n\
             tarn> list dom0\r\n\
             Name  ID  Mem  VCPUs  State   Time(s)  Pool\r\n\
             dom0   0    2      1  r-----      1.2  pool0\r\n\
             tarn> "
        ),
        "{out}"
    );
    // More typed ahead than is kept while waiting stays with the hypervisor.
    let mut f = Fake::new();
    f.again = 2_000;
    let mut bursts: Vec<&[u8]> = vec![b"create vm5\r"];
    bursts.extend(std::iter::repeat_n(&b"pause web; unpause web\r"[..], 40));
    let (out, _) = f.session(&bursts);
    assert_eq!(
        out.matches("tarn> pause web; unpause web\r\n").count(),
        40,
        "{out}"
    );
}

#[test]
fn tab_completes_commands_and_live_names() {
    let typed = |keys: &[u8]| {
        let (out, _) = Fake::new().session(&[keys]);
        out.rsplit("console.\r\n").next().unwrap().to_owned()
    };
    assert_eq!(typed(b"des\t"), "tarn> destroy ");
    assert_eq!(typed(b"destroy w\t"), "tarn> destroy web ");
    assert_eq!(typed(b"xm pause w\t"), "tarn> xm pause web ");
    assert_eq!(typed(b"list; destroy w\t"), "tarn> list; destroy web ");
    assert_eq!(typed(b"destroy de\t"), "tarn> destroy debian-1");
    assert_eq!(
        typed(b"destroy de\t\t"),
        "tarn> destroy debian-1\r\ndebian-12  debian-13  \r\n\rtarn> destroy debian-1\x1b[K"
    );
    // Only what is not alive can be created.
    assert_eq!(typed(b"create \t"), "tarn> create vm");
    assert_eq!(
        typed(b"create vm5\t"),
        "tarn> create vm5\r\nvm5  vm50  \r\n\rtarn> create vm5\x1b[K"
    );
    assert_eq!(typed(b"pool-list p\t2"), "tarn> pool-list pool2");
    assert_eq!(typed(b"nothing x\t"), "tarn> nothing x\x07");
    assert_eq!(typed(b"destroy x\t"), "tarn> destroy x\x07");
    assert_eq!(typed(b"destroy web \t"), "tarn> destroy web \x07");
    let long = [b"destroy ".to_vec(), vec![b'x'; 100], b"\t".to_vec()].concat();
    assert!(typed(&long).ends_with('\x07'));
}

#[test]
fn hostile_names_reach_neither_terminal_nor_line() {
    let mut f = Fake::new();
    f.domains[1].name = "a\x1b[2Jb;poweroff";
    let out = f.line("list 1");
    assert!(out.contains("a?[2Jb;poweroff   1  256"), "{out}");
    let (out, _) = f.session(&[b"destroy a\t"]);
    assert!(out.ends_with("tarn> destroy a\x07"), "{out}");
}

#[test]
fn console_moves_the_focus() {
    let mut f = Fake::new();
    assert_eq!(
        f.line("console"),
        "input goes to dom0; Ctrl-A three times moves it on\n"
    );
    assert_eq!(
        f.line("console web"),
        "input goes to web; Ctrl-A three times moves it on\n"
    );
    assert_eq!(f.focus, DomainId::new(1, 0));
    f.domains[4].row.flags = DomainFlags::default();
    assert_eq!(f.line("console db"), "error: db has no console\n");
    assert_eq!(f.focus, DomainId::new(1, 0));
}

#[test]
fn dmesg_prints_the_log_and_ends() {
    let mut f = Fake::new();
    assert_eq!(f.line("dmesg"), "");
    f.log =
        b"first line of the log, longer than one piece of it\nsecond\twith \x1b[31m\xff\r\nno end"
            .to_vec();
    let wanted =
        "first line of the log, longer than one piece of it\nsecond\twith ?[31m?\nno end\n";
    assert_eq!(f.line("dmesg"), wanted);
    f.lost = 1 << 40;
    assert_eq!(f.line("dmesg"), wanted);
    f.chatty = true;
    let out = f.line("dmesg");
    assert!(
        out.starts_with(wanted.trim_end()) && out.len() < 200,
        "{out}"
    );
}

#[test]
fn bursts_may_be_cut_anywhere() {
    let keys = b"list 1\r\npause web\x1b[D\x1b[Dx\x7f\r\n@unpause web\n";
    let (whole, _) = Fake::new().session(&[keys]);
    let single: Vec<&[u8]> = keys.chunks(1).collect();
    assert_eq!(Fake::new().session(&single).0, whole);
    assert!(whole.ends_with("@ok\r\ntarn> "), "{whole}");
}
