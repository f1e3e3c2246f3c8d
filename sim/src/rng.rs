//! Random numbers that are the same on every host: splitmix64 streams and an exponential without floating point.
//!
//! A stream is named by workload, vCPU and purpose, so that a change in one guest does not shift the numbers of another.

/// A splitmix64 stream.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The stream of purpose `k` of a vCPU.
    pub fn stream(workload: u64, vcpu: u64, k: u64) -> Rng {
        Rng((workload << 32) | (vcpu << 8) | k)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A draw: the high half.
    pub fn draw(&mut self) -> u64 {
        self.bits() >> 32
    }

    /// 0 to `n` - 1.
    pub fn below(&mut self, n: u64) -> u64 {
        (self.draw() * n) >> 32
    }

    /// Exponential with that mean, by von Neumann's method: only comparisons.
    pub fn exp(&mut self, mean: u64) -> u64 {
        let mut k = 0u128;
        loop {
            let first = self.draw();
            let (mut last, mut length) = (first, 1);
            loop {
                let u = self.draw();
                if u >= last {
                    break;
                }
                last = u;
                length += 1;
            }
            if length % 2 == 1 {
                let x = (((k << 32) | u128::from(first)) * u128::from(mean)) >> 32;
                return x.min(u128::from(u64::MAX)) as u64;
            }
            k += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_has_its_mean_and_median() {
        let mut r = Rng::stream(1, 2, 3);
        let mut v: Vec<u64> = (0..100_000).map(|_| r.exp(1_000_000)).collect();
        v.sort_unstable();
        let mean = v.iter().sum::<u64>() / v.len() as u64;
        assert!((985_000..1_015_000).contains(&mean), "{mean}");
        assert!((680_000..706_000).contains(&v[50_000]), "{}", v[50_000]);
    }

    /// The published first outputs of splitmix64 from 0, and what a stream is seeded with.
    #[test]
    fn streams_are_splitmix64() {
        let mut r = Rng::stream(0, 0, 0);
        assert_eq!(r.bits(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(r.bits(), 0x6e78_9e6a_a1b9_65f4);
        assert_eq!(r.draw(), 0x06c4_5d18);
        let mut named = Rng::stream(5, 3, 200);
        assert_eq!(named.bits(), Rng((5 << 32) | (3 << 8) | 200).bits());
    }

    /// The method as the specification tells it, written down another way.
    #[test]
    fn exponential_is_von_neumanns() {
        let (mut a, mut b) = (Rng::stream(7, 1, 2), Rng::stream(7, 1, 2));
        for _ in 0..10_000 {
            let mut rejected = 0u128;
            let x = loop {
                let mut run = vec![b.draw()];
                loop {
                    let u = b.draw();
                    if u >= run[run.len() - 1] {
                        break;
                    }
                    run.push(u);
                }
                if run.len() % 2 == 1 {
                    break (((rejected << 32) | u128::from(run[0])) * 3_000_000) >> 32;
                }
                rejected += 1;
            };
            assert_eq!(u128::from(a.exp(3_000_000)), x);
        }
    }
}
