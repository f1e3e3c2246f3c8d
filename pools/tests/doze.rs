//! The short way into and out of a doze comes to the same as the general one: two machines with the same guests and the
//! same interrupts, one of which takes it whenever it is offered, decide, charge and boost alike.

use tarn_abi::{CpuId, CpuSet, DomainId, Instant, PoolId, VcpuId};
use tarn_pools::{
    Block, Clock, DomainParams, GuestHint, Kick, Machine, PoolConfig, PoolSet, Running, VcpuParams,
    WakeReason, Woken,
};

const CPUS: usize = 2;
const VCPUS: u16 = 3;

struct Fake {
    now: u64,
    armed: Option<Instant>,
    kicked: CpuSet,
}

impl Clock for Fake {
    fn now(&self) -> Instant {
        Instant(self.now)
    }
    fn arm(&mut self, at: Option<Instant>) {
        self.armed = at;
    }
}

impl Machine for Fake {
    fn save(&mut self, _: VcpuId) {}
    fn load(&mut self, _: VcpuId) {}
    fn kick(&mut self, k: Kick) {
        self.kicked = self.kicked.union(&k.0);
    }
}

/// A machine whose CPUs do what they must at once.
struct World {
    set: Box<PoolSet<spin::Spin>>,
    short: bool,
    loaded: [Option<VcpuId>; CPUS],
    dozing: [bool; CPUS],
    armed: [Option<Instant>; CPUS],
    taken: u32,
}

impl World {
    fn new(short: bool) -> World {
        let set = Box::new(PoolSet::new());
        set.init(CpuSet::first(CPUS), &PoolConfig::new("Pool-0"), Instant(0))
            .unwrap();
        let mut w = World {
            set,
            short,
            loaded: [None; CPUS],
            dozing: [false; CPUS],
            armed: [None; CPUS],
            taken: 0,
        };
        for c in 0..CPUS {
            let mut m = w.machine(0);
            let idle = w.set.cpu_online(CpuId(c as u16), Instant(0)).unwrap();
            let _ = w.set.settle(idle, &mut m);
            w.come_by(c, 0);
        }
        for n in 0..VCPUS {
            let v = VcpuId::new(n, 0);
            let list = [(v, VcpuParams::DEFAULT)];
            let d = DomainId::new(n, 0);
            let _ = w
                .set
                .add_domain(
                    d,
                    PoolId::POOL0,
                    &DomainParams::default(),
                    &list,
                    Instant(0),
                )
                .unwrap();
            let k = w.set.online(v, Instant(0)).unwrap();
            w.call(k.0, 0);
        }
        w
    }

    fn machine(&self, now: u64) -> Fake {
        Fake {
            now,
            armed: None,
            kicked: CpuSet::EMPTY,
        }
    }

    fn come_by(&mut self, c: usize, now: u64) {
        let mut m = self.machine(now);
        let cpu = CpuId(c as u16);
        match self
            .set
            .reschedule(cpu, self.loaded[c], GuestHint::default(), &mut m)
        {
            Running::Vcpu { id: v, .. } => (self.loaded[c], self.dozing[c]) = (Some(v), false),
            Running::Doze(v) => (self.loaded[c], self.dozing[c]) = (Some(v), true),
            Running::Idle(_) => (self.loaded[c], self.dozing[c]) = (None, false),
        }
        self.armed[c] = m.armed;
        self.call(m.kicked, now);
    }

    fn call(&mut self, cpus: CpuSet, now: u64) {
        for c in cpus.iter() {
            self.come_by(c.index(), now);
        }
    }

    fn sleep(&mut self, c: usize, now: u64) {
        let Some(v) = self.loaded[c].filter(|_| !self.dozing[c]) else {
            return;
        };
        let slept = if self.short {
            self.set
                .block_here(CpuId(c as u16), v, Instant(now), || false)
        } else {
            self.set.block(v, Instant(now), || false)
        };
        match slept {
            Block::Dozes => {
                self.taken += 1;
                self.dozing[c] = true;
                self.armed[c] = None;
            }
            Block::Slept => self.come_by(c, now),
            Block::Pending => {}
        }
    }

    fn interrupt(&mut self, v: VcpuId, why: WakeReason, now: u64) {
        let at = self.loaded.iter().position(|l| *l == Some(v));
        if let Some(c) = at.filter(|c| self.short && self.dozing[*c])
            && self.set.rouse(CpuId(c as u16), v, why, Instant(now))
        {
            self.taken += 1;
            self.dozing[c] = false;
            self.armed[c] = None;
            return;
        }
        if let Woken::Kick(k) = self.set.wake(v, why, Instant(now)) {
            self.call(k.0, now);
        }
    }
}

fn random(state: &mut u64, n: u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % n
}

#[test]
fn the_short_way_comes_to_the_same() {
    for seed in 0..40 {
        let mut rng = seed;
        let (mut long, mut short) = (World::new(false), World::new(true));
        let mut now = 0;
        for step in 0..2_000 {
            now += random(&mut rng, 3_000_000);
            let due = (0..CPUS).find(|c| long.armed[*c].is_some_and(|t| t.0 <= now));
            let what = random(&mut rng, 3);
            let c = random(&mut rng, CPUS as u64) as usize;
            let v = VcpuId::new(random(&mut rng, VCPUS.into()) as u16, 0);
            let why = match random(&mut rng, 4) {
                0 => WakeReason::Timer,
                n => WakeReason::Interrupt {
                    line: 32 + n as u16,
                },
            };
            for w in [&mut long, &mut short] {
                match (due, what) {
                    (Some(c), _) => w.come_by(c, now),
                    (None, 0) => w.sleep(c, now),
                    _ => w.interrupt(v, why, now),
                }
            }
            let here = format!("seed {seed}, step {step}");
            assert_eq!(long.loaded, short.loaded, "{here}");
            assert_eq!(long.dozing, short.dozing, "{here}");
            assert_eq!(long.armed, short.armed, "{here}");
            for n in 0..VCPUS {
                let v = VcpuId::new(n, 0);
                let a = long.set.vcpu_info(v, Instant(now)).unwrap();
                let b = short.set.vcpu_info(v, Instant(now)).unwrap();
                assert_eq!((a.stats, a.times), (b.stats, b.times), "{here}");
            }
            let pool = PoolId::POOL0;
            assert_eq!(
                long.set.pool_totals(pool),
                short.set.pool_totals(pool),
                "{here}"
            );
            short.set.check().unwrap();
        }
        assert!(
            short.taken > 100,
            "the short way was offered {} times",
            short.taken
        );
    }
}
