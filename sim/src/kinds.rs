//! The nine kinds of workload that the scheduler's bars are about, each as a family: a case number names one member, with
//! its own weights, counts, lengths and periods, written as a scenario file with its bars.
//!
//! The public scenarios are one member of each kind; a rule that holds for those may have been made for those. Whoever
//! changes a rule asks the families (`tarn-sim kinds`). Must never look at what a scheduler does with a case.

use crate::rng::Rng;
use std::fmt::Write;

/// The kinds, with what they are about.
pub const KINDS: [(&str, &str); 9] = [
    ("W1", "hogs of different weights"),
    (
        "W2",
        "audio at 10 ms with crypto bursts, with the shared page, beside hogs",
    ),
    (
        "W3",
        "audio at short periods with crypto bursts, without the page, two CPUs",
    ),
    ("W4", "servers, some of them also computing, beside hogs"),
    ("W5", "a webcam's storm beside audio"),
    ("W6", "abusers beside victims and audio"),
    ("W7", "many small VMs and hogs on fast and slow CPUs"),
    ("W8", "a lock's holders and waiters beside hogs"),
    ("W9", "many vCPUs that ask for little each, on one CPU"),
];

/// A scenario that grows.
struct Text {
    t: String,
    bars: String,
}

impl Text {
    fn pool(&mut self, cpus: usize, speeds: &str) {
        let _ = writeln!(self.t, "[[pool]]\ncpus = {cpus}{speeds}");
    }
    fn domain(&mut self, name: &str, count: u64, weight: u64) {
        let _ = writeln!(
            self.t,
            "[[domain]]\nname = \"{name}\"\ncount = {count}\nweight = {weight}\n[[domain.vcpu]]"
        );
    }
    fn hogs(&mut self, count: u64, weight: u64) {
        if count > 0 {
            self.domain("hog", count, weight);
            self.t += "hog = true\n";
        }
    }
    fn irq(&mut self, kind: &str, us: u64, handler: u64, priority: u64, work: &str) {
        let _ = writeln!(
            self.t,
            "[[domain.vcpu.irq]]\n{kind} = \"{us}us\"\nhandler = \"{handler}us\"\npriority = {priority}\nwork = \"{work}\""
        );
    }
    fn bar(&mut self, of: &str, who: &str, limit: &str) {
        let _ = write!(self.bars, "[[bar]]\nof = \"{of}\"\n");
        if !who.is_empty() {
            let _ = writeln!(self.bars, "who = \"{who}\"");
        }
        let _ = writeln!(self.bars, "{limit}");
    }
    fn quick(&mut self, who: &str, irq: &str) {
        self.bar("wake_p50", who, &format!("{irq}max = \"2us\""));
        self.bar("wake_p999", who, &format!("{irq}max = \"505us\""));
    }
    fn like_plain(&mut self, who: &str) {
        self.bar("response_p99", who, "max = 1.05\nversus = \"plain\"");
    }
    fn switches(&mut self, most: &str) {
        self.bar("switches", "", &format!("max = {most}\nversus = \"plain\""));
    }
}

fn one<T: Copy>(r: &mut Rng, of: &[T]) -> T {
    of[r.below(of.len() as u64) as usize]
}

/// One member of `kind` ("W1" to "W9"), as a scenario file; `None` if there is no such kind.
pub fn scenario(kind: &str, case: u64) -> Option<String> {
    let number = 1 + KINDS.iter().position(|k| k.0 == kind)? as u64;
    let mut r = Rng::stream(case, number, 77);
    let r = &mut r;
    let mut s = Text {
        t: format!(
            "name = \"{kind}-{case}\"\nseed = {}\nduration = \"20s\"\n",
            1000 * number + case
        ),
        bars: String::new(),
    };
    match number {
        1 => hogs(&mut s, r),
        2 => audio(&mut s, r, true),
        3 => audio(&mut s, r, false),
        4 => servers(&mut s, r),
        5 => storm(&mut s, r),
        6 => abusers(&mut s, r),
        7 => many(&mut s, r),
        8 => lock(&mut s, r),
        _ => light(&mut s, r),
    }
    s.t += &s.bars;
    Some(s.t)
}

fn hogs(s: &mut Text, r: &mut Rng) {
    s.pool(1, "");
    let n = 2 + r.below(5);
    let mut weights = Vec::new();
    for i in 0..n {
        let w = one(r, &[32, 64, 100, 256, 256, 300, 512, 1024, 2048, 4096]);
        weights.push(w);
        s.domain(&format!("hog{i}"), 1, w);
        s.t += "hog = true\n";
    }
    // Half a rate limit of a millisecond is 0.6 % of 84 ms: who is due less than that in 20 s cannot be judged by that bar,
    // since it has had a whole turn or has not.
    let total: u64 = weights.iter().sum();
    if weights.iter().all(|w| w * 20_000 >= 84 * total) {
        s.bar("spread", "", "max = 0.006");
    }
    s.bar("touched_per_reset", "", "max = 2");
}

fn audio(s: &mut Text, r: &mut Rng, enlightened: bool) {
    let cpus = if enlightened { 1 } else { 2 };
    s.pool(cpus, "");
    let hogs = cpus as u64 + r.below(5);
    let share = 1000 * cpus as u64 / (hogs + 1);
    s.domain("audio", 1, 256);
    if enlightened {
        s.t += "page = \"rt\"\n";
    }
    let period = if enlightened {
        10_000
    } else {
        one(r, &[1333, 2000, 2667, 5333])
    };
    // Inside its share, with room for the bursts.
    let work = period * share.min(1000) / 1000 * (10 + r.below(20)) / 100;
    s.irq("period", period, 10 + r.below(15), 1, &format!("{work}us"));
    let burst = 2 + r.below(12);
    let gap = 40 + r.below(80);
    s.irq("poisson", gap * 1000, 10, 2, &format!("exp({burst}ms)"));
    s.hogs(hogs, 256);
    s.quick("audio", "irq = \"0\"\n");
    s.bar(
        "response_max",
        "audio",
        &format!("irq = \"0\"\nmax = \"{period}us\""),
    );
    s.bar("spread", "", "max = 0.002");
    s.switches("1.6");
}

fn servers(s: &mut Text, r: &mut Rng) {
    let cpus = 1 + r.below(2);
    s.pool(cpus as usize, "");
    let n = 2 + r.below(5);
    let mixed = r.below(2);
    let hogs = cpus + r.below(4);
    // What a server asks for, of its share, in percent.
    let asks = 10 + r.below(60);
    let share = 1000 * cpus / (n + mixed + hogs);
    let work = one(r, &[100, 200, 300, 400, 600, 1000]);
    let gap = (work + 10) * 1000 * 100 / (share.max(1) * asks);
    s.domain("web", n, 256);
    if r.below(3) == 0 {
        s.t += "page = \"rt\"\n";
    }
    let law = one(r, &["exp(@us)", "exp(@us)", "@us"]).replace('@', &work.to_string());
    s.irq("poisson", gap, 10, 1, &law);
    if mixed > 0 {
        s.domain("mixed", 1, 256);
        s.t += "hog = true\n";
        s.irq("poisson", 4000 + r.below(10_000), 10, 1, "exp(500us)");
    }
    s.hogs(hogs, 256);
    s.quick("web*", "");
    s.like_plain("web*");
    s.bar("spread", "", "max = 0.002");
    s.switches("1.6");
}

fn storm(s: &mut Text, r: &mut Rng) {
    let cpus = 1 + r.below(2);
    s.pool(cpus as usize, "");
    s.domain("usb", 1, 256);
    let period = one(r, &[125, 125, 250, 500]);
    let work = 10 + r.below(25);
    s.irq("period", period, 5 + r.below(10), 2, &format!("{work}us"));
    s.t += "acc = true\n";
    s.irq("period", 10_000, 15, 1, "200us");
    s.t += "phase = \"3ms\"\n";
    s.domain("audio", 1, 256);
    if r.below(2) == 0 {
        s.t += "page = \"rt\"\n";
    }
    s.irq(
        "period",
        10_000,
        20,
        1,
        &format!("{}us", 200 + r.below(500)),
    );
    s.hogs(cpus + r.below(3), 256);
    s.quick("audio", "");
    s.bar("spread", "", "max = 0.002");
    s.switches("1.6");
}

fn abusers(s: &mut Text, r: &mut Rng) {
    s.pool(1, "");
    let dd = 1 + r.below(3);
    s.domain("dd", dd, 256);
    s.t += "hog = true\npage = \"always\"\n";
    let run = 500 + r.below(800);
    s.domain("yoyo", r.below(2) + 1, 256);
    let _ = writeln!(
        s.t,
        "runsleep = {{ run = \"{run}us\", sleep = \"{}us\" }}",
        50 + r.below(100)
    );
    s.domain("dodger", 1, 256);
    let sleep = 200 + r.below(300);
    let _ = writeln!(
        s.t,
        "runsleep = {{ run = \"{}us\", sleep = \"{sleep}us\" }}",
        10_000 - sleep
    );
    s.domain("victim", 2 + r.below(3), 256);
    s.t += "hog = true\n";
    let audio = r.below(2) == 0;
    if audio {
        s.domain("audio", 1, 256);
        s.irq("period", 10_000, 15, 1, "200us");
    }
    for who in ["dd*", "yoyo*", "dodger"] {
        s.bar("mean_ratio", who, "max = 1.002");
    }
    if audio {
        s.bar("wake_p50", "audio", "max = \"2us\"");
        s.bar("wake_p999", "audio", "max = \"1005us\"");
    }
}

fn many(s: &mut Text, r: &mut Rng) {
    let slow = one(r, &[341, 512, 700]);
    s.pool(4, &format!("\nspeeds = [1024, 1024, {slow}, {slow}]"));
    let n = 40 + r.below(40);
    let work = one(r, &[300, 500, 1000]);
    // All of them together: 20 to 60 % of the CPUs.
    let load = 200 + r.below(400);
    let gap = n * (work + 10) * 1000 / (load * 3);
    s.domain("small", n, 256);
    s.irq("poisson", gap, 10, 1, &format!("exp({work}us)"));
    s.hogs(3 + r.below(6), 256);
    s.quick("small*", "pooled = true\n");
    s.bar("wake_p999", "small*", "max = \"505us\"");
    s.bar(
        "response_p99",
        "small*",
        "pooled = true\nmax = 1.05\nversus = \"plain\"",
    );
    s.bar("touched_per_reset", "", "max = 20");
    s.switches("1.6");
}

fn lock(s: &mut Text, r: &mut Rng) {
    let cpus = one(r, &[1, 2, 2, 4]);
    s.pool(cpus, "");
    let n = 2 + r.below(5);
    let _ = writeln!(
        s.t,
        "[[domain]]\nname = \"spin\"\n[[domain.vcpu]]\ncount = {n}"
    );
    let compute = one(r, &[100, 200, 300, 500]);
    let hold = one(r, &[20, 40, 80]);
    let _ = writeln!(
        s.t,
        "lock = {{ compute = \"exp({compute}us)\", hold = \"{hold}us\", spin = \"10us\" }}"
    );
    s.hogs(1 + r.below(4), 256);
    s.bar("holder_preemptions", "", "max = 0.05\nversus = \"plain\"");
    s.switches("0.5");
}

fn light(s: &mut Text, r: &mut Rng) {
    s.pool(1, "");
    let n = 8 + r.below(17);
    // All of them together ask for 60 to 92 %.
    let load = 600 + r.below(320);
    let work = one(r, &[60, 90, 200, 500, 1000]);
    let gap = n * (work + 10) * 1000 / load;
    s.domain("light", n, 256);
    let law = one(r, &["@us", "exp(@us)"]).replace('@', &work.to_string());
    s.irq("poisson", gap, 10, 1, &law);
    s.like_plain("");
    s.switches("1.6");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scenario;

    #[test]
    fn every_case_is_a_scenario_with_bars_and_differs_from_the_next() {
        for (kind, _) in KINDS {
            let mut last = String::new();
            for case in 1..100 {
                let t = scenario(kind, case).unwrap();
                let s = Scenario::parse(&t).unwrap_or_else(|e| panic!("{kind} {case}: {e}\n{t}"));
                assert!(!s.bars.is_empty() && s.duration == 20_000_000_000);
                let body = t.split_once("[[pool]]").unwrap().1.to_string();
                assert_ne!(body, last, "{kind} {case}");
                last = body;
            }
        }
        assert_eq!(scenario("W10", 1), None);
    }
}
