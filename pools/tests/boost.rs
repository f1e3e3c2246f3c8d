//! What the hypervisor tells the pools about a running vCPU, and what comes of it under credit2: interrupts delivered
//! while it ran, hypervisor time spent for somebody else, news for the log.

use tarn_abi::{CpuId, CpuSet, DomainId, Instant, PoolId, Span, VcpuId};
use tarn_pools::{
    Clock, DomainParams, GuestHint, Kick, Machine, News, PoolConfig, PoolSet, Running, VcpuParams,
    VcpuTimes, WakeReason,
};

const C0: CpuId = CpuId(0);
const HOG: VcpuId = VcpuId::new(0, 0);
const OTHER: VcpuId = VcpuId::new(1, 0);
const LINE: WakeReason = WakeReason::Interrupt { line: 40 };

#[derive(Default)]
struct Fake {
    now: u64,
    armed: Option<Instant>,
    arrived: Vec<(VcpuId, VcpuTimes)>,
    news: Vec<(VcpuId, News)>,
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
    fn kick(&mut self, _: Kick) {}
    fn arrives(&mut self, v: VcpuId, times: &VcpuTimes) {
        self.arrived.push((v, *times));
    }
    fn news(&mut self, v: VcpuId, what: News) {
        self.news.push((v, what));
    }
}

type Set = PoolSet<spin::Spin>;

/// One CPU, credit2, two vCPUs that want to run for ever.
fn two_hogs() -> (Box<Set>, Fake) {
    let set = Box::new(Set::new());
    set.init(CpuSet::first(1), &PoolConfig::new("Pool-0"), Instant(0))
        .unwrap();
    let mut m = Fake::default();
    let idle = set.cpu_online(C0, Instant(0)).unwrap();
    let _ = set.settle(idle, &mut m);
    for (d, v) in [HOG, OTHER].into_iter().enumerate() {
        let list = [(v, VcpuParams::DEFAULT)];
        let params = DomainParams::default();
        let d = DomainId::new(d as u16, 0);
        set.add_domain(d, PoolId::POOL0, &params, &list, Instant(0))
            .unwrap();
        let _ = set.online(v, Instant(0)).unwrap();
    }
    (set, m)
}

fn step(set: &Set, loaded: Option<VcpuId>, hint: GuestHint, m: &mut Fake) -> VcpuId {
    match set.reschedule(C0, loaded, hint, m) {
        Running::Vcpu { id: v, .. } => v,
        other => panic!("{other:?}"),
    }
}

/// Runs until the end of the first slice; who had it, and when it ends.
fn first_slice(set: &Set, m: &mut Fake) -> (VcpuId, u64) {
    let first = step(set, None, GuestHint::default(), m);
    (first, m.armed.expect("another one waits").0)
}

#[test]
fn an_interrupt_just_before_the_end_of_a_slice_keeps_the_cpu_for_its_handler() {
    let (set, mut m) = two_hogs();
    let (first, end) = first_slice(&set, &mut m);
    m.now = end;
    set.delivered(first, [(LINE, Instant(end - 20_000))].into_iter());
    assert_eq!(step(&set, Some(first), GuestHint::default(), &mut m), first);
    assert!(set.is_boosted(first));
    let stats = set.vcpu_info(first, Instant(m.now)).unwrap().stats;
    assert_eq!((stats.boosts[1], stats.boosts[3]), (1, 1), "G2, then G4");
    // What is left of the time the interrupt is worth, and no longer.
    let left = m.armed.unwrap().0 - m.now;
    assert!((40_000..=500_001).contains(&left), "{left}");
    m.now = m.armed.unwrap().0;
    assert_ne!(step(&set, Some(first), GuestHint::default(), &mut m), first);
}

#[test]
fn without_an_interrupt_it_gives_way() {
    let (set, mut m) = two_hogs();
    let (first, end) = first_slice(&set, &mut m);
    m.now = end;
    assert_ne!(step(&set, Some(first), GuestHint::default(), &mut m), first);
    assert!(!set.is_boosted(first));
}

#[test]
fn an_interrupt_long_ago_does_not_count() {
    let (set, mut m) = two_hogs();
    let (first, end) = first_slice(&set, &mut m);
    m.now = end;
    set.delivered(first, [(LINE, Instant(end - 700_000))].into_iter());
    assert_ne!(step(&set, Some(first), GuestHint::default(), &mut m), first);
}

#[test]
fn what_was_done_for_another_is_paid_by_that_one() {
    let (set, mut m) = two_hogs();
    let (first, end) = first_slice(&set, &mut m);
    let other = if first == HOG { OTHER } else { HOG };
    let credit = |v| set.vcpu_info(v, Instant(end)).unwrap().stats.credit;
    let before = (credit(first), credit(other));
    set.charge(other, Span::us(30), Instant(end));
    set.refund(first, Span::us(30), Instant(end));
    // The first one still has what it was granted at most; here it has run nothing that was accounted.
    assert_eq!(credit(other), before.1 - 30_000);
    assert_eq!(credit(first), before.0 + 30_000);
    set.refund(first, Span::ms(10_000), Instant(end));
    assert!(
        credit(first) <= 12_000_000,
        "never beyond a grant and the carry-over"
    );
    m.now = end;
}

#[test]
fn running_out_of_boost_credit_while_somebody_waits_is_news_once() {
    let (set, mut m) = two_hogs();
    let (first, end) = first_slice(&set, &mut m);
    m.now = end;
    let asks = GuestHint {
        dont_desched: true,
        enlightened: true,
        ..GuestHint::default()
    };
    let mut v = step(&set, Some(first), asks, &mut m);
    let mut rounds = 0;
    while m.news.is_empty() {
        m.now = m.armed.unwrap().0;
        v = step(&set, Some(v), asks, &mut m);
        rounds += 1;
        assert!(rounds < 100, "2.5 ms of boost credit end some time");
    }
    assert_eq!(m.news.len(), 1);
    assert_eq!(m.news[0].1, News::Exhausted);
}

#[test]
fn who_is_loaded_learns_how_long_it_has_waited() {
    let (set, mut m) = two_hogs();
    let (first, end) = first_slice(&set, &mut m);
    m.now = end;
    let second = step(&set, Some(first), GuestHint::default(), &mut m);
    let (v, times) = *m.arrived.last().unwrap();
    assert_eq!(v, second);
    assert_eq!(times.in_state(tarn_pools::VcpuState::Runnable), Span(end));
}
