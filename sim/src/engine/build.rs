//! From a scenario to a machine: pools, groups, domains, vCPUs, all through the interface that the hypervisor uses.

use super::*;
use tarn_abi::Span;
use tarn_sched::Scheduler;

impl<'a> Engine<'a> {
    pub(super) fn new(s: &'a Scenario, o: &Options, seed: u64) -> Result<Self, String> {
        let set = Box::new(Set::new());
        let now = Instant(0);
        let mut pools = Vec::new();
        let mut present = CpuSet::EMPTY;
        s.pools
            .iter()
            .for_each(|p| present = present.union(&p.cpus));
        let mut scheds = Vec::new();
        for (i, p) in s.pools.iter().enumerate() {
            let wanted = scheduler_name(o, &p.sched);
            let mut params = p.params;
            let mut name = wanted;
            if wanted == "noboost" {
                params.boost = false;
                name = "credit2";
            }
            scheds.push(wanted.to_string());
            let baseline: Option<Box<dyn Scheduler>> = match name {
                "plain" => Some(Box::new(Plain::new(&params))),
                "credit1" => Some(Box::new(Plain::sampled(&params))),
                "eevdf" => Some(Box::new(Eevdf::default())),
                _ => None,
            };
            let kind = sched_by_name(if baseline.is_some() { "credit2" } else { name });
            let kind = kind.ok_or_else(|| format!("no scheduler is called `{name}`"))?;
            let c = PoolConfig {
                sched: kind,
                params,
                record: o.record,
                ..PoolConfig::new(&p.name)
            };
            let fail = |e: tarn_pools::PoolError| format!("pool {}: {e}", p.name);
            match (i, baseline) {
                (0, None) => set.init(present, &c, now).map_err(fail)?,
                (0, Some(b)) => set.init_with(present, &c, b, now).map_err(fail)?,
                (_, None) => drop(set.create(&c, now).map_err(fail)?),
                (_, Some(b)) => drop(set.create_with(&c, b, now).map_err(fail)?),
            }
            let id = set.find_pool(&p.name).ok_or("a pool is gone")?;
            for cpu in p.cpus.iter().filter(|_| i > 0) {
                if let Progress::Refused(e) = set.assign_cpu(cpu, Some(id), now) {
                    return Err(format!("pool {}: {e}", p.name));
                }
            }
            pools.push(id);
        }
        let cpus = present.len();
        let speeds: Vec<u64> = s
            .pools
            .iter()
            .flat_map(|p| p.speeds.iter().copied())
            .collect();
        for (c, speed) in speeds.iter().enumerate() {
            set.set_capacity(CpuId(c as u16), *speed as u16);
        }
        let mut groups: Vec<GroupId> = Vec::new();
        for g in &s.groups {
            let fail = |e: String| format!("group {}: {e}", g.name);
            let kind = sched_by_name(&g.sched).ok_or_else(|| fail("unknown scheduler".into()))?;
            let mut params = GroupConfig::new(&g.name).params;
            // A baseline without boosts has none inside its groups either.
            params.boost &= !matches!(
                o.sched.as_deref(),
                Some("noboost" | "plain" | "credit1" | "eevdf")
            );
            let c = GroupConfig {
                parent: g.parent.map(|p| groups[p]),
                sched: kind,
                params,
                vps: g.vps,
                processor: g.params,
                split: g.split,
                ..GroupConfig::new(&g.name)
            };
            groups.push(
                set.create_group(pools[g.pool], &c, now)
                    .map_err(|e| fail(e.to_string()))?,
            );
        }
        let mut vcpus = Vec::new();
        for (d, dom) in s.domains.iter().enumerate() {
            // On its way into a group it asks nothing of the pool's own scheduler.
            let mut asked = dom.params;
            let through = dom.group.is_some() && s.pools[dom.pool].sched == "rtds";
            if through {
                (asked.rt.period, asked.rt.budget) = (Span::ms(10_000), Span::us(10));
            }
            let list: Vec<_> = (0..dom.vcpus.len())
                .map(|i| (VcpuId::new((vcpus.len() + i) as u16, 0), asked))
                .collect();
            let params = DomainParams { cap: dom.cap };
            // Nothing runs yet.
            let _ = set
                .add_domain(domain_id(d), pools[dom.pool], &params, &list, now)
                .map_err(|e| format!("domain {}: {e}", dom.name))?;
            if let Some(g) = dom.group
                && let Progress::Refused(e) = set.move_to_group(domain_id(d), Some(groups[g]), now)
            {
                return Err(format!("domain {}: {e}", dom.name));
            }
            for (v, _) in list.iter().filter(|_| through) {
                let _ = set
                    .adjust_vcpu(*v, &dom.params, now)
                    .map_err(|e| format!("domain {}: {e}", dom.name))?;
            }
            for (i, m) in dom.vcpus.iter().enumerate() {
                let index = vcpus.len() as u64;
                vcpus.push(Vcpu {
                    id: list[i].0,
                    dom: d,
                    guest: Guest::new(m, seed, index),
                    cpu: None,
                    from: 0,
                    loaded_at: 0,
                    work: 0,
                    generation: 0,
                    masked_stay: None,
                    waiting: None,
                    longest_wait: 0,
                    soft: dom.params.soft,
                    at_home: 0,
                    last: None,
                    migrations: 0,
                    yielded: false,
                });
            }
        }
        let w = World {
            now: 0,
            heap: BinaryHeap::new(),
            seq: 0,
            ipi: s.ipi,
            cpus: (0..cpus)
                .map(|c| Cpu {
                    speed: speeds[c],
                    ..Cpu::default()
                })
                .collect(),
            holder: vec![None; vcpus.len()],
            loads: 0,
            pool_locks: 0,
            fault: None,
        };
        let n = s.domains.len();
        Ok(Engine {
            s,
            set,
            pools,
            w,
            vcpus,
            locks: vec![None; s.locks],
            paused: vec![0; n],
            moving: vec![false; n],
            domain_pool: s.domains.iter().map(|d| d.pool).collect(),
            scheds,
            exchanging: None,
            epochs: Vec::new(),
            under_way: vec![false; s.script.len()],
            latest: BTreeMap::new(),
            lenient: o.lenient,
            groups,
            capped: s.domains.iter().map(|d| d.cap != 0).collect(),
            holder_preemptions: 0,
            preemptions: 0,
            hash: 0xcbf2_9ce4_8422_2325,
            trace: o.trace.then(Vec::new),
        })
    }
}
