//! The table of commands. One row each; `help` lists them in this order.
//!
//! First the word this system uses, then other systems' as aliases. The run functions are in the areas beside.

use super::{
    Arg, Command, Kind, Opt, boost, counters, cpu, domain, group, help, measure, params, plan,
    pool, raw, runstate, system, vcpu,
};

const fn need(kind: Kind) -> Arg {
    Arg {
        kind,
        optional: false,
        many: false,
    }
}

const fn may(kind: Kind) -> Arg {
    Arg {
        kind,
        optional: true,
        many: false,
    }
}

const fn many(kind: Kind, optional: bool) -> Arg {
    Arg {
        kind,
        optional,
        many: true,
    }
}

const fn opt(name: &'static str, kind: Kind) -> Opt {
    Opt { name, kind }
}

/// A row that takes nothing, for the rows below to begin with.
const fn row(name: &'static str, help: &'static str, run: super::Run) -> Command {
    Command {
        name,
        aliases: &[],
        args: &[],
        opts: &[],
        json: false,
        help,
        more: "",
        run,
    }
}

/// Every command.
pub const COMMANDS: &[Command] = &[
    Command {
        aliases: &["?"],
        args: &[may(Kind::Command)],
        json: true,
        more: "Tab completes commands, options and names. Several commands go on a line, separated by ';'.\n\
               Up and down walk the last 16 lines. A domain or pool may be given by its number too.",
        ..row("help", "lists the commands, or explains one", help)
    },
    Command {
        json: true,
        ..row(
            "info",
            "version, board, CPUs, memory, interrupt controller, counters",
            system::info,
        )
    },
    Command {
        aliases: &["domains"],
        args: &[may(Kind::Domain)],
        json: true,
        more: "State letters: r a vCPU is on a CPU, b all vCPUs wait for interrupts, p paused, s shut down,\n\
               c crashed, d being destroyed.",
        ..row(
            "list",
            "domains: memory (MiB), vCPUs, state, CPU time (s), pool",
            domain::list,
        )
    },
    Command {
        args: &[need(Kind::Config)],
        opts: &[opt("pool=", Kind::Pool)],
        more: "Without pool= in the pool that the configuration says. 'create' and Tab shows what could be started.",
        ..row(
            "create",
            "starts a domain of the configuration that is not alive",
            domain::create,
        )
    },
    Command {
        args: &[need(Kind::Domain)],
        more: "The domain is not asked. dom0 cannot be destroyed.",
        ..row(
            "destroy",
            "stops a domain at once and frees what it has",
            domain::destroy,
        )
    },
    Command {
        args: &[need(Kind::Domain)],
        ..row("pause", "keeps a domain from running", domain::pause)
    },
    Command {
        args: &[need(Kind::Domain)],
        ..row("unpause", "lets a paused domain run again", domain::unpause)
    },
    Command {
        aliases: &["focus"],
        args: &[may(Kind::Domain)],
        more: "Ctrl-A three times moves the input to the next domain with a console and, behind the last,\n\
               back to dom0. Without a name: shows who has the input.",
        ..row(
            "console",
            "sends what you type to a domain; Ctrl-A three times moves on",
            domain::console,
        )
    },
    Command {
        opts: &[opt("-i", Kind::Seconds), opt("-n", Kind::Number)],
        json: true,
        more: "CPU(%) is measured over -i seconds (1) and means one CPU: 200 is two CPUs. Shown -n times, or until\n\
               a key is pressed; once for scripts.",
        ..row("top", "who uses how much CPU at the moment", measure::top)
    },
    Command {
        args: &[may(Kind::Domain)],
        json: true,
        more: "State letters: r on a CPU, - waits for a CPU, b waits for an interrupt, p off or paused; w has none: under\n\
               null, which gives each vCPU a CPU of its own, there are too few, and it waits until another leaves.",
        ..row(
            "vcpu-list",
            "vCPUs: CPU, state, CPU time (s), CPUs they may use and prefer",
            vcpu::list,
        )
    },
    Command {
        args: &[
            need(Kind::Domain),
            need(Kind::Vcpu),
            need(Kind::CpusOrAll),
            may(Kind::CpusOrAll),
        ],
        more: "First the CPUs it may use, then (soft) those of them where it runs rather than elsewhere; - leaves them\n\
               as they are, all as the second is no preference. CPUs that the domain's pool does not have count\n\
               again in a pool that has them; if it has none of the first, all of its CPUs are used. credit2 and\n\
               null make use of the second, rr and rtds do not.",
        ..row(
            "vcpu-pin",
            "which CPUs a vCPU may use and prefer",
            vcpu::pin,
        )
    },
    Command {
        args: &[may(Kind::Domain)],
        opts: &[opt("-i", Kind::Seconds)],
        json: true,
        more: "Of a domain by what its vCPUs do: all run (full-run), all wait for a CPU (full-contention), some run\n\
               while others wait (concurrency-hazard), all are blocked, some run or wait and the others are blocked\n\
               (partial-run, partial-contention). With -i over so many seconds from now, else since it was made.",
        ..row(
            "runstate",
            "time (s) in each run state, and what it advises",
            runstate::runstate,
        )
    },
    Command {
        aliases: &["cpupool-list"],
        args: &[may(Kind::Pool)],
        json: true,
        ..row(
            "pool-list",
            "pools: CPUs, scheduler, domains by number",
            pool::list,
        )
    },
    Command {
        aliases: &["cpupool-create"],
        args: &[may(Kind::New)],
        opts: &[
            opt("ncpu=", Kind::Number),
            opt("cpu=", Kind::Cpus),
            opt("cpus=", Kind::Cpus),
            opt("sched=", Kind::Sched),
            opt("name=", Kind::New),
        ],
        more: "ncpu= takes free CPUs first, then Pool-0's, each from the highest number down, never the boot CPU.\n\
               cpu= takes these, wherever they are.",
        ..row("pool-create", "makes a pool", pool::create)
    },
    Command {
        args: &[need(Kind::Pool)],
        opts: &[
            opt("ncpu=", Kind::Number),
            opt("cpu=", Kind::Cpus),
            opt("cpus=", Kind::Cpus),
        ],
        more: "ncpu= as for pool-create; the highest go when there are fewer. CPUs that leave are free.",
        ..row("pool-modify", "changes a pool's CPUs", pool::modify)
    },
    Command {
        aliases: &["cpupool-destroy"],
        args: &[need(Kind::Pool)],
        ..row(
            "pool-destroy",
            "removes a pool without domains; its CPUs are free then",
            pool::destroy,
        )
    },
    Command {
        aliases: &["pool-rename"],
        args: &[need(Kind::Pool), need(Kind::New)],
        ..row("cpupool-rename", "gives a pool another name", pool::rename)
    },
    Command {
        aliases: &["pool-cpu-add"],
        args: &[need(Kind::Pool), need(Kind::Cpus)],
        ..row(
            "cpupool-cpu-add",
            "brings CPUs into a pool, wherever they are",
            pool::cpu_add,
        )
    },
    Command {
        aliases: &["pool-cpu-remove"],
        args: &[need(Kind::Pool), need(Kind::Cpus)],
        more: "A free CPU runs nothing. The last one of a pool with domains stays.",
        ..row(
            "cpupool-cpu-remove",
            "makes CPUs of a pool free",
            pool::cpu_remove,
        )
    },
    Command {
        aliases: &["pool-migrate"],
        args: &[need(Kind::Domain), many(Kind::Target, false)],
        more: "Several domains move together: none runs in the new pool before all have stopped in the old.\n\
               Weight, cap, boosts and affinity are kept; what has no effect there is said.",
        ..row(
            "cpupool-migrate",
            "brings domains into another pool while they run",
            pool::migrate,
        )
    },
    Command {
        args: &[need(Kind::Pool), need(Kind::Sched)],
        ..row(
            "pool-sched",
            "exchanges the scheduler of a pool while it runs",
            pool::set_sched,
        )
    },
    Command {
        args: &[may(Kind::Pool), may(Kind::Memory)],
        json: true,
        ..row(
            "pool-memory",
            "where the memory of a pool's domains comes from",
            pool::memory,
        )
    },
    Command {
        args: &[many(Kind::Steps, false)],
        opts: &[opt("-n", Kind::Switch)],
        json: true,
        more: "Steps are pool-create, pool-modify, pool-destroy, pool-sched, cpupool-rename, cpupool-cpu-add,\n\
               cpupool-cpu-remove, cpupool-migrate and params, ' / ' between them:\n\
               pool-apply -n pool-create rt sched=rtds ncpu=2 / cpupool-migrate vm1 vm2 rt\n\
               -n only shows what would be.",
        ..row(
            "pool-apply",
            "carries out several steps as one, all or none",
            plan::apply,
        )
    },
    Command {
        json: true,
        ..row("sched-list", "the schedulers there are", pool::scheds)
    },
    Command {
        args: &[many(Kind::Setting, true)],
        opts: &[
            opt("-d", Kind::Domain),
            opt("-v", Kind::Vcpu),
            opt("-p", Kind::Pool),
            opt("-g", Kind::Group),
        ],
        json: true,
        more: "Without NAME=VALUE they are listed; 'used' says whether the scheduler in charge makes use of it.",
        ..row(
            "params",
            "scheduling parameters of a domain, vCPU, pool or group",
            params::params,
        )
    },
    Command {
        opts: &[
            opt("-d", Kind::Domain),
            opt("-v", Kind::Vcpu),
            opt("-w", Kind::Number),
            opt("-c", Kind::Number),
            opt("-p", Kind::Pool),
            opt("-r", Kind::Number),
            opt("-s", Kind::Switch),
        ],
        json: true,
        more: "-w weight (256), -c cap in per cent of one CPU (0 = none), of -d; -r rate limit in us, of -p. -v all lists\n\
               a domain's vCPUs, -p a pool's domains, -s the rate limits. 'params' shows what else there is.",
        ..row(
            "sched-credit2",
            "weight and cap of domains, rate limit of a pool",
            params::credit2,
        )
    },
    Command {
        opts: &[
            opt("-d", Kind::Domain),
            opt("-v", Kind::Vcpu),
            opt("-p", Kind::Number),
            opt("-b", Kind::Number),
            opt("-c", Kind::Pool),
        ],
        json: true,
        more: "-p period and -b budget in us, of -d, or of one of its vCPUs with -v; -v all lists them. -c lists a pool's\n\
               domains.",
        ..row("sched-rtds", "period and budget of domains", params::rtds)
    },
    Command {
        args: &[may(Kind::OnOff)],
        opts: &[
            opt("-d", Kind::Domain),
            opt("-v", Kind::Vcpu),
            opt("-p", Kind::Pool),
            opt("-g", Kind::Group),
            opt("ratio=", Kind::Number),
            opt("interval=", Kind::Number),
            opt("limit=", Kind::Number),
        ],
        json: true,
        more: "ratio= of credit kept for boosts in 1/1000, interval= of one boost in us, limit= of boost credit in\n\
               us (0 = none further); of a pool: what domains made in it get. on and off switch a pool.",
        ..row(
            "boost",
            "boosts: parameters, and the switch of a pool",
            boost::boost,
        )
    },
    Command {
        args: &[may(Kind::Domain)],
        opts: &[
            opt("-d", Kind::Domain),
            opt("-v", Kind::Vcpu),
            opt("-g", Kind::Group),
        ],
        json: true,
        ..row(
            "boost-stats",
            "boosts granted, ended and overrun, by cause",
            boost::stats,
        )
    },
    Command {
        args: &[may(Kind::Pool)],
        opts: &[opt("-i", Kind::Seconds)],
        json: true,
        more: "CPU(%) is measured over -i seconds (1) and means one CPU.",
        ..row(
            "group-list",
            "scheduling groups and vCPUs in them, and who gets how much CPU",
            group::list,
        )
    },
    Command {
        args: &[need(Kind::New)],
        opts: &[
            opt("in=", Kind::Group),
            opt("pool=", Kind::Pool),
            opt("sched=", Kind::Sched),
            opt("procs=", Kind::Number),
            opt("weight=", Kind::Number),
            opt("split=", Kind::OnOff),
        ],
        more: "It competes in Pool-0, pool= or in= with procs= virtual processors (1) of weight= (256) each, or with\n\
               split=on of weight= together, and shares what they get among its members. 'params -g' changes it.",
        ..row("group-create", "makes a scheduling group", group::create)
    },
    Command {
        args: &[need(Kind::Domain), need(Kind::Place)],
        opts: &[opt("-v", Kind::Vcpu)],
        more: "The name of its pool moves it out of all groups. -v moves one of its vCPUs.",
        ..row(
            "group-move",
            "brings a domain into a group of its pool",
            group::join,
        )
    },
    Command {
        args: &[need(Kind::Group)],
        ..row("group-destroy", "removes an empty group", group::destroy)
    },
    Command {
        args: &[need(Kind::Group), may(Kind::Domain)],
        more: "The domain may then make groups inside it for its own vCPUs. Without a domain: takes it back.",
        ..row(
            "group-delegate",
            "gives a group to a domain of its pool",
            group::delegate,
        )
    },
    Command {
        json: true,
        ..row(
            "cpu-list",
            "CPUs: pool, affinity, idle time, interrupts",
            cpu::list,
        )
    },
    Command {
        args: &[need(Kind::CpuOrAll), may(Kind::Work)],
        opts: &[opt("hold=", Kind::Number)],
        json: true,
        more: "The CPU does it itself, at EL2, whatever pool it is in; nobody is moved or suspended. hold= keeps it\n\
               there for so many microseconds and shows that no other CPU minds.",
        ..row(
            "cpu-run",
            "reads identification registers of a CPU, or of all",
            cpu::run,
        )
    },
    Command {
        args: &[need(Kind::Number), many(Kind::Number, true)],
        opts: &[opt("-n", Kind::Number)],
        more: "Registers x0 to x7, decimal or 0x...; what is left out is 0. docs/abi.md has all calls. Nothing is checked\n\
               before Tarn does, so a call may do what a command would have asked about first. -n makes it so often and says how\n\
               long it took each time.",
        ..row(
            "call",
            "makes a hypervisor call by its registers",
            raw::call,
        )
    },
    Command {
        args: &[need(Kind::Cpu)],
        opts: &[opt("-n", Kind::Number)],
        json: true,
        ..row("trace", "the last -n (20) decisions on a CPU", cpu::trace)
    },
    Command {
        args: &[may(Kind::Domain)],
        json: true,
        ..row("stats", "exits per domain and reason", counters::stats)
    },
    Command {
        args: &[may(Kind::Domain)],
        opts: &[opt("-p", Kind::Pool)],
        json: true,
        ..row(
            "counters",
            "counters of the machine, of one domain or pool",
            counters::counters,
        )
    },
    Command {
        json: true,
        ..row(
            "memory-list",
            "the machine's memory and its nodes",
            system::memory,
        )
    },
    row("dmesg", "the hypervisor's log", system::dmesg),
    Command {
        more: "Domains are not asked.",
        ..row("reboot", "resets the machine at once", system::reboot)
    },
    Command {
        aliases: &["halt"],
        more: "Domains are not asked.",
        ..row(
            "poweroff",
            "switches the machine off at once",
            system::poweroff,
        )
    },
];
