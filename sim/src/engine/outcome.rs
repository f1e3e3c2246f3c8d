//! What a run is asked for and what it gives: values only.

use super::*;

/// What a run may be asked for besides its scenario.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Another scheduler for every pool: a registry name, `plain` or `noboost`.
    pub sched: Option<String>,
    /// Another seed.
    pub seed: Option<u64>,
    /// Keep the schedule.
    pub trace: bool,
    /// A refused action of the script is skipped instead of ending the run.
    pub lenient: bool,
    /// Keep so many records of each pool's scheduler; 0 = none.
    pub record: u32,
    /// Check the schedulers' own books every so many moments; 0 = 1024.
    pub check_every: u64,
}

/// One stretch of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When, ns.
    pub at: u64,
    /// Where.
    pub cpu: usize,
    /// Who from then on.
    pub vcpu: Option<usize>,
}

/// Where a domain is and what it is there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Its pool.
    pub pool: usize,
    /// Its group.
    pub group: Option<usize>,
    /// Of each vCPU.
    pub weight: u32,
    /// Of each vCPU, as asked for.
    pub affinity: CpuSet,
    /// Percent of one CPU; 0 = none.
    pub cap: u32,
    /// The most each vCPU may have of a CPU: its budget, under rtds.
    pub bandwidth: f64,
    /// Paused, or on its way.
    pub stopped: bool,
}

/// A time in which nothing was changed from outside.
#[derive(Clone, Debug, Default)]
pub struct Epoch {
    /// Its beginning, ns.
    pub from: u64,
    /// By domain.
    pub domains: Vec<Place>,
    /// The most each virtual processor may have of a CPU, by group.
    pub groups: Vec<f64>,
    /// CPUs by pool.
    pub pools: Vec<CpuSet>,
    /// What each vCPU had done at its beginning, ns of the fastest CPU.
    pub work: Vec<u64>,
    /// What it had been asked for.
    pub offered: Vec<u64>,
}

/// Of one vCPU.
#[derive(Clone, Debug)]
pub struct VcpuOutcome {
    /// Its name: the domain's, with its number if there are several.
    pub name: String,
    /// Its domain.
    pub domain: usize,
    /// Which of its domain's vCPUs it is.
    pub number: usize,
    /// Its weight at the start.
    pub weight: u32,
    /// Whether it wants all it can get.
    pub hog: bool,
    /// Whether its demand depends on what it gets.
    pub closed_loop: bool,
    /// Time on a CPU.
    pub runtime: u64,
    /// The same in time of the fastest CPU.
    pub work: u64,
    /// The part of `runtime` on CPUs of its soft affinity.
    pub at_home: u64,
    /// How often it began to run on another CPU than before.
    pub migrations: u64,
    /// Time waiting for one.
    pub waited: u64,
    /// Longest wait.
    pub longest_wait: u64,
    /// It waits and has never run, in a pool under null, which gives each CPU to one vCPU for good.
    pub stranded: bool,
    /// The guest's own figures.
    pub figures: Figures,
    /// The scheduler's counters.
    pub stats: Stats,
}

/// Of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The scheduler of the first pool at the end, by the name it was asked for.
    pub sched: String,
    /// Seed used.
    pub seed: u64,
    /// Length, ns.
    pub duration: u64,
    /// Per vCPU.
    pub vcpus: Vec<VcpuOutcome>,
    /// Per group, the counters of its virtual processors where they compete.
    pub groups: Vec<Stats>,
    /// What was changed and when; the first is the beginning.
    pub epochs: Vec<Epoch>,
    /// Six run states per domain, ns.
    pub domains: Vec<[u64; 6]>,
    /// Time each CPU had nothing to do.
    pub idle: Vec<u64>,
    /// vCPUs loaded.
    pub switches: u64,
    /// Counters of all schedulers together.
    pub totals: Totals,
    /// Pool locks taken.
    pub pool_locks: u64,
    /// Of `switches`, those away from a vCPU that would have gone on.
    pub preemptions: u64,
    /// Lock holders that lost the CPU.
    pub holder_preemptions: u64,
    /// FNV-1a over the schedule.
    pub hash: u64,
    /// Moments simulated.
    pub moments: u64,
    /// The schedule, if asked for.
    pub trace: Vec<Mark>,
    /// Of each pool, what its scheduler was asked and answered, if asked for.
    pub records: Vec<Vec<(u64, tarn_pools::Record)>>,
}

impl Outcome {
    /// Switches that follow a yield, a sleep or idleness: as long as yields are honoured and no CPU idles while somebody waits,
    /// no scheduler has fewer where the guests yield and sleep as often.
    pub fn forced(&self) -> u64 {
        self.switches - self.preemptions.min(self.switches)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Options, run};
    use crate::Scenario;
    use crate::report::Report;

    /// The baselines, too, though they sit where credit2 does.
    #[test]
    fn what_ran_is_called_by_its_name() {
        let hogs = "duration = \"20ms\"\n[[pool]]\n[[domain]]\nname = \"a\"\ncount = 2\n[[domain.vcpu]]\nhog = true\n";
        let of = |text: &str, sched: Option<&str>| {
            let o = Options {
                sched: sched.map(str::to_string),
                ..Options::default()
            };
            run(&Scenario::parse(text).unwrap(), &o).unwrap().sched
        };
        for name in ["plain", "noboost", "credit1", "eevdf", "rr", "credit2"] {
            assert_eq!(of(hogs, Some(name)), name);
        }
        assert_eq!(of(hogs, None), "credit2");
        let own = hogs.replace("[[pool]]", "[[pool]]\nsched = \"plain\"");
        assert_eq!(of(&own, None), "plain");
        let exchanged = format!(
            "{hogs}[[at]]\ntime = \"10ms\"\ndo = \"sched\"\npool = \"Pool-0\"\nsched = \"rr\"\n"
        );
        assert_eq!(of(&exchanged, Some("plain")), "rr");
    }

    /// Whoever null has no CPU for is named, in both forms of the report.
    #[test]
    fn who_never_runs_under_null_is_named() {
        let text = "duration = \"20ms\"\n[[pool]]\nsched = \"null\"\n[[domain]]\nname = \"a\"\ncount = 2\n[[domain.vcpu]]\nhog = true\n";
        let s = Scenario::parse(text).unwrap();
        let of = |sched: Option<&str>| {
            let o = Options {
                sched: sched.map(str::to_string),
                ..Options::default()
            };
            let o = run(&s, &o).unwrap();
            let r = Report::new(&s, &o);
            (r.table(), r.json(&[]))
        };
        let (table, json) = of(None);
        assert!(table.contains("\na1: no CPU under null\n"), "{table}");
        assert!(json.contains("\"stranded\":[\"a1\"]"), "{json}");
        let (table, json) = of(Some("rr"));
        assert!(!table.contains("no CPU"), "{table}");
        assert!(json.contains("\"stranded\":[]"), "{json}");
    }

    /// Two hogs are only preempted, those who sleep or yield only go by themselves.
    #[test]
    fn what_is_forced_is_told_from_what_is_decided() {
        let of = |program: &str| {
            let text = format!(
                "duration = \"200ms\"\n[[pool]]\nboost = false\n[[domain]]\nname = \"a\"\ncount = 2\n[[domain.vcpu]]\n{program}\n"
            );
            let s = Scenario::parse(&text).unwrap();
            let o = run(&s, &Options::default()).unwrap();
            assert!(o.switches > 20, "{program}: {} switches", o.switches);
            (o.switches, o.preemptions, o.forced())
        };
        let (all, decided, forced) = of("hog = true");
        assert_eq!(
            (decided, forced),
            (all - 1, 1),
            "the first is loaded onto an idle CPU"
        );
        let (all, decided, forced) = of("runsleep = { run = \"100us\", sleep = \"50us\" }");
        assert_eq!((decided, forced), (0, all));
        let (all, decided, forced) = of("hog = true\nyield_every = \"400us\"");
        assert_eq!((decided, forced), (0, all));
    }
}
