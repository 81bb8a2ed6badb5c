//! Whether the stream has changed: the error rate rises, or a feature's values spread otherwise than those of the rows that
//! the model was trained on.

use serde::{Deserialize, Serialize};

/// Bins of a feature's distribution, of equally many training rows each where ties allow it.
const BINS: usize = 10;

/// A share that is taken for one that is 0: the index is not defined there.
const LEAST_SHARE: f64 = 1e-4;

/// Errors before the detector says anything.
const LEAST_ANSWERS: u64 = 30;

/// The Page-Hinkley test for a rise of the error rate (Page, 1954; Hinkley, 1971), as Gama et al. give it for streams: the
/// sum of the errors' differences from their mean so far, less `delta` each, against its least value so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PageHinkley {
    answers: u64,
    mean: f64,
    sum: f64,
    least: f64,
}

impl PageHinkley {
    /// Takes an answer into account. Returns by how much the sum stands above its least value if that is more than
    /// `threshold`; the test begins anew then.
    pub fn take(&mut self, is_error: bool, delta: f64, threshold: f64) -> Option<f64> {
        let error = f64::from(u8::from(is_error));
        self.answers += 1;
        self.mean += (error - self.mean) / self.answers as f64;
        self.sum += error - self.mean - delta;
        self.least = self.least.min(self.sum);
        let rise = self.sum - self.least;
        if self.answers >= LEAST_ANSWERS && rise > threshold {
            *self = Self::default();
            return Some(rise);
        }
        None
    }
}

/// A feature's distribution over the rows that a model was trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    /// The upper edges of all bins but the last.
    edges: Vec<f64>,
    /// The share of the rows in each bin.
    shares: Vec<f64>,
}

impl Spread {
    /// The distribution of values, of which there is at least one.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let mut edges: Vec<f64> = (1..BINS)
            .filter_map(|bin| values.get(values.len() * bin / BINS).copied())
            .collect();
        edges.dedup();
        let mut spread = Self {
            edges,
            shares: Vec::new(),
        };
        let mut counts = vec![0; spread.bins()];
        for &value in &values {
            counts[spread.bin(value)] += 1;
        }
        spread.shares = shares(&counts);
        spread
    }

    /// How many bins there are.
    #[must_use]
    pub fn bins(&self) -> usize {
        self.edges.len() + 1
    }

    /// The bin of a value.
    #[must_use]
    pub fn bin(&self, value: f64) -> usize {
        self.edges.partition_point(|&edge| edge < value)
    }

    /// The population stability index of values that were counted by bin: the sum over the bins of the difference of the
    /// shares, times the logarithm of their ratio. By custom, more than 0.1 is a shift and more than 0.25 a large one.
    #[must_use]
    pub fn stability_index(&self, counts: &[u64]) -> f64 {
        let found = shares(counts);
        let term = |(&then, now): (&f64, f64)| {
            let (then, now) = (then.max(LEAST_SHARE), now.max(LEAST_SHARE));
            (now - then) * (now / then).ln()
        };
        self.shares.iter().zip(found).map(term).sum()
    }
}

fn shares(counts: &[u64]) -> Vec<f64> {
    let total = counts.iter().sum::<u64>().max(1) as f64;
    counts.iter().map(|&count| count as f64 / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many answers, each wrong with `rate`, the detector says that errors have become more.
    fn raised(
        detector: &mut PageHinkley,
        random: &mut fastrand::Rng,
        rate: f64,
        most: u32,
    ) -> Option<u32> {
        (1..=most).find(|_| detector.take(random.f64() < rate, 0.05, 5.0).is_some())
    }

    #[test]
    fn more_errors_are_noticed_soon_and_the_same_errors_never() {
        for seed in 0..50 {
            let (mut detector, mut random) =
                (PageHinkley::default(), fastrand::Rng::with_seed(seed));
            assert_eq!(
                raised(&mut detector, &mut random, 0.03, 2_000),
                None,
                "seed {seed}"
            );
            let after = raised(&mut detector, &mut random, 0.35, 200);
            assert!(
                after.is_some_and(|after| after < 100),
                "seed {seed}: {after:?}"
            );
        }
    }

    #[test]
    fn a_spread_like_the_training_rows_has_an_index_near_zero() {
        let mut random = fastrand::Rng::with_seed(1);
        let spread = Spread::of((0..1_000).map(|_| random.f64()).collect());
        let mut index = |shift: f64| {
            let mut counts = vec![0; spread.bins()];
            for _ in 0..1_000 {
                counts[spread.bin(random.f64() + shift)] += 1;
            }
            spread.stability_index(&counts)
        };
        let (same, shifted) = (index(0.0), index(0.5));
        assert!(same < 0.1, "{same}");
        assert!(shifted > 0.25, "{shifted}");
    }

    #[test]
    fn a_constant_feature_has_bins_all_the_same() {
        let spread = Spread::of(vec![1.0; 50]);
        assert_eq!(spread.bins(), 2);
        let mut counts = vec![0; spread.bins()];
        counts[spread.bin(1.0)] += 10;
        assert!(spread.stability_index(&counts).abs() < 1e-9);
        counts[spread.bin(2.0)] += 10;
        assert!(spread.stability_index(&counts) > 0.25);
    }
}
