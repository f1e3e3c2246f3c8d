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
        let _ = set
            .add_domain(d, PoolId::POOL0, &params, &list, Instant(0))
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

// The conditions of the specification one by one, each seen by its counter and by what it does: G1 to G5 why a boost
// begins (G2 and G4 are above, G6 needs a crowd: sim/tests/scenarios.rs), D1 to D6 why it ends. What is a vCPU's own here, `first` is who has the CPU and `other` who waits.

fn stats(set: &Set, v: VcpuId, m: &Fake) -> tarn_pools::Stats {
    set.vcpu_info(v, Instant(m.now)).unwrap().stats
}

fn rival(v: VcpuId) -> VcpuId {
    if v == HOG { OTHER } else { HOG }
}

const ASKS: GuestHint = GuestHint {
    dont_desched: true,
    enlightened: true,
    irqs_masked: false,
    must_idle: false,
};
const MASKED: GuestHint = GuestHint {
    irqs_masked: true,
    dont_desched: false,
    enlightened: false,
    must_idle: false,
};
const PAGE: GuestHint = GuestHint {
    enlightened: true,
    dont_desched: false,
    irqs_masked: false,
    must_idle: false,
};

/// `first` at the end of its slice with this hint: it goes on, boosted for cause `n`.
fn kept(hint: GuestHint, n: usize) -> (Box<Set>, Fake, VcpuId) {
    let (set, mut m) = two_hogs();
    let (first, end) = first_slice(&set, &mut m);
    m.now = end;
    assert_eq!(step(&set, Some(first), hint, &mut m), first, "it goes on");
    assert!(set.is_boosted(first));
    let mut wanted = [0; 6];
    wanted[n] = 1;
    assert_eq!(stats(&set, first, &m).boosts, wanted);
    (set, m, first)
}

/// `other` sleeps, `first` runs again for `us`; then `other` is woken so.
fn woken(why: WakeReason, us: u64) -> (Box<Set>, Fake, VcpuId, VcpuId) {
    let (set, mut m) = two_hogs();
    let (first, end) = first_slice(&set, &mut m);
    m.now = end;
    let other = step(&set, Some(first), GuestHint::default(), &mut m);
    m.now += 200_000;
    assert_eq!(
        set.block(other, Instant(m.now), || false),
        tarn_pools::Block::Slept
    );
    assert_eq!(step(&set, Some(other), GuestHint::default(), &mut m), first);
    m.now += us * 1_000;
    let _ = set.wake(other, why, Instant(m.now));
    (set, m, first, other)
}

/// Its boost is over for cause `n`, and nothing else has ended one.
fn ended(set: &Set, v: VcpuId, m: &Fake, n: usize) {
    let mut wanted = [0; 6];
    wanted[n] = 1;
    assert!(!set.is_boosted(v));
    assert_eq!(stats(set, v, m).deboosts, wanted);
}

#[test]
fn g1_an_interrupt_for_a_sleeper_runs_it_at_once() {
    let (set, mut m, first, other) = woken(LINE, 100);
    assert!(set.is_boosted(other));
    let next = step(&set, Some(first), GuestHint::default(), &mut m);
    assert_eq!(next, other, "within the other's rate limit");
    assert_eq!(stats(&set, other, &m).boosts, [1, 0, 0, 0, 0, 0]);
    // What is no interrupt boosts nobody.
    let (set, mut m, first, other) = woken(WakeReason::Kick, 100);
    assert!(!set.is_boosted(other));
    let next = step(&set, Some(first), GuestHint::default(), &mut m);
    assert_eq!(next, first);
}

#[test]
fn g3_who_has_asked_for_it_by_the_page_goes_on() {
    kept(ASKS, 2);
}

#[test]
fn g4_does_not_count_for_a_guest_that_has_a_page_and_has_not_asked() {
    let (set, mut m) = two_hogs();
    let (first, end) = first_slice(&set, &mut m);
    m.now = end;
    set.delivered(first, [(LINE, Instant(end - 20_000))].into_iter());
    assert_ne!(step(&set, Some(first), PAGE, &mut m), first);
    assert_eq!(stats(&set, first, &m).boosts[3], 0);
}

#[test]
fn g5_who_has_interrupts_masked_goes_on_for_a_moment_and_once() {
    let (set, mut m, first) = kept(MASKED, 4);
    // It does not unmask: its time is over, and it gets no second stay.
    m.now = m.armed.unwrap().0;
    assert_ne!(step(&set, Some(first), MASKED, &mut m), first);
    assert_eq!(stats(&set, first, &m).boosts[4], 1);
}

#[test]
fn d1_no_credit_is_left() {
    let (set, mut m, first) = kept(ASKS, 2);
    let mut v = first;
    for _ in 0..100 {
        if stats(&set, first, &m).deboosts[0] > 0 {
            break;
        }
        m.now = m.armed.unwrap().0;
        v = step(&set, Some(v), ASKS, &mut m);
    }
    assert_eq!(v, rival(first), "though it still asks");
    assert_eq!(stats(&set, first, &m).deboosts, [1, 0, 0, 0, 0, 0]);
    assert_eq!(stats(&set, first, &m).exhausted, 1);
}

#[test]
fn d2_its_interval_is_over() {
    let (set, mut m, first, other) = woken(LINE, 100);
    assert_eq!(step(&set, Some(first), GuestHint::default(), &mut m), other);
    let begun = m.now;
    while set.is_boosted(other) {
        m.now = m.armed.unwrap().0;
        let _ = step(&set, Some(other), GuestHint::default(), &mut m);
    }
    ended(&set, other, &m, 1);
    assert!((490_000..=510_000).contains(&(m.now - begun)), "500 us");
}

#[test]
fn d3_the_handler_has_returned() {
    // Of a guest with a page: that is the end of it.
    let (set, mut m, first, other) = woken(LINE, 100);
    assert_eq!(step(&set, Some(first), GuestHint::default(), &mut m), other);
    m.now += 10_000;
    assert_eq!(step(&set, Some(other), PAGE, &mut m), other);
    let returned = tarn_pools::DeboostCause::HandlerReturned;
    let k = set.deboost(other, returned, Instant(m.now));
    assert_eq!(k, Kick::one(C0), "others may go first now");
    ended(&set, other, &m, 2);
    // Of one without: whom the handler has woken is still to run (seed 004's audio thread).
    let (set, mut m, first, other) = woken(LINE, 100);
    assert_eq!(step(&set, Some(first), GuestHint::default(), &mut m), other);
    let k = set.deboost(other, returned, Instant(m.now));
    assert_eq!(k, Kick::NONE);
    assert!(set.is_boosted(other));
    assert_eq!(stats(&set, other, &m).deboosts, [0; 6]);
}

#[test]
fn d4_interrupts_are_enabled_again() {
    // Told from outside ...
    let (set, mut m, first) = kept(MASKED, 4);
    m.now += 25_000;
    let unmasked = tarn_pools::DeboostCause::Unmasked;
    let k = set.deboost(first, unmasked, Instant(m.now));
    assert_eq!(k, Kick::one(C0));
    ended(&set, first, &m, 3);
    assert_eq!(
        step(&set, Some(first), GuestHint::default(), &mut m),
        rival(first)
    );
    // ... or seen when the CPU comes by for another reason.
    let (set, mut m, first) = kept(MASKED, 4);
    m.now += 25_000;
    assert_eq!(
        step(&set, Some(first), GuestHint::default(), &mut m),
        rival(first)
    );
    ended(&set, first, &m, 3);
}

#[test]
fn d5_the_guest_says_so() {
    let (set, mut m, first) = kept(ASKS, 2);
    m.now += 25_000;
    let asked = tarn_pools::DeboostCause::Asked;
    let k = set.deboost(first, asked, Instant(m.now));
    assert_eq!(k, Kick::one(C0));
    ended(&set, first, &m, 4);
}

#[test]
fn d6_it_sleeps_or_yields() {
    let (set, mut m, first) = kept(ASKS, 2);
    m.now += 25_000;
    assert_eq!(
        set.block(first, Instant(m.now), || false),
        tarn_pools::Block::Slept
    );
    ended(&set, first, &m, 5);
    let (set, mut m, first) = kept(ASKS, 2);
    m.now += 25_000;
    set.yield_now(first, Instant(m.now));
    ended(&set, first, &m, 5);
    assert_eq!(step(&set, Some(first), PAGE, &mut m), rival(first));
}

/// An interrupt of a line that storms is delivered without a boost, and counted.
#[test]
fn a_storm_is_not_boosted() {
    let (set, mut m, first, other) = woken(LINE, 100);
    let mut v = step(&set, Some(first), GuestHint::default(), &mut m);
    for _ in 0..40 {
        m.now += 50_000;
        if v == other {
            let _ = set.block(other, Instant(m.now), || false);
            v = step(&set, Some(other), GuestHint::default(), &mut m);
        }
        m.now += 10_000;
        let _ = set.wake(other, LINE, Instant(m.now));
        v = step(&set, Some(v), GuestHint::default(), &mut m);
    }
    let s = stats(&set, other, &m);
    assert_eq!(s.storm_lines, 1);
    assert!(s.storm_held > 5 && s.boosts[0] < 20, "{s:?}");
}
