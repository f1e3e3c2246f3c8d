//! The ideal: everybody who wants the CPU gets its weighted share of it at every moment (water-filling).
//!
//! The oracle of the report. It works on totals: what each vCPU asked for over the run, at most one CPU each.

/// Shares of `capacity` (in CPUs) among entities of (weight, demand in CPUs); demand is at most 1.
pub fn share(capacity: f64, who: &[(f64, f64)]) -> Vec<f64> {
    let mut got = vec![0.0; who.len()];
    let mut open: Vec<usize> = (0..who.len()).filter(|&i| who[i].1 > 0.0).collect();
    let mut rest = capacity;
    loop {
        let total: f64 = open.iter().map(|&i| who[i].0).sum();
        if open.is_empty() || rest <= 1e-12 {
            return got;
        }
        let level = rest / total;
        let (full, thirsty): (Vec<usize>, Vec<usize>) =
            open.iter().partition(|&&i| who[i].1 <= level * who[i].0);
        if full.is_empty() {
            for &i in &thirsty {
                got[i] = level * who[i].0;
            }
            return got;
        }
        for &i in &full {
            got[i] = who[i].1;
            rest -= who[i].1;
        }
        open = thirsty;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn water_finds_its_level() {
        let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(x, y)| (x - y).abs() < 1e-9);
        assert!(near(
            &share(1.0, &[(256.0, 1.0), (256.0, 1.0)]),
            &[0.5, 0.5]
        ));
        assert!(near(
            &share(1.0, &[(256.0, 0.1), (256.0, 1.0), (512.0, 1.0)]),
            &[0.1, 0.3, 0.6]
        ));
        assert!(near(
            &share(2.0, &[(1.0, 1.0), (1.0, 1.0), (6.0, 1.0)]),
            &[0.5, 0.5, 1.0]
        ));
        assert!(near(&share(4.0, &[(1.0, 1.0)]), &[1.0]));
    }
}
