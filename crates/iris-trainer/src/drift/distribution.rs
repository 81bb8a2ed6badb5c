//! The distribution of a feature's values over the training rows, and how far other values differ from it.

/// Bins of a distribution, each with the same number of training rows where ties allow it.
const BINS: usize = 10;

/// The share that is used for an empty bin: the stability index is not defined for 0.
const MIN_SHARE: f64 = 1e-4;

/// The distribution of a feature over the rows that a model was trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureDistribution {
    /// The upper edges of all bins but the last.
    edges: Vec<f64>,
    /// The share of the rows in each bin.
    shares: Vec<f64>,
}

impl FeatureDistribution {
    /// Returns the distribution of at least one value.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let mut edges: Vec<f64> = (1..BINS)
            .filter_map(|bin| values.get(values.len() * bin / BINS).copied())
            .collect();
        edges.dedup();
        let mut distribution = Self {
            edges,
            shares: Vec::new(),
        };
        let mut counts = vec![0; distribution.bins()];
        for &value in &values {
            counts[distribution.bin(value)] += 1;
        }
        distribution.shares = shares(&counts);
        distribution
    }

    /// Returns the number of bins.
    #[must_use]
    pub fn bins(&self) -> usize {
        self.edges.len() + 1
    }

    /// Returns the bin of a value.
    #[must_use]
    pub fn bin(&self, value: f64) -> usize {
        self.edges.partition_point(|&edge| edge < value)
    }

    /// Returns the population stability index of values counted by bin: the sum over the bins of the difference of the
    /// shares, times the logarithm of their ratio. By convention, more than 0.1 is a shift and more than 0.25 a large one.
    #[must_use]
    pub fn stability_index(&self, counts: &[u64]) -> f64 {
        let found = shares(counts);
        let term = |(&trained, now): (&f64, f64)| {
            let (trained, now) = (trained.max(MIN_SHARE), now.max(MIN_SHARE));
            (now - trained) * (now / trained).ln()
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

    #[test]
    fn values_distributed_like_the_training_rows_have_an_index_near_zero() {
        let mut random = fastrand::Rng::with_seed(1);
        let distribution = FeatureDistribution::of((0..1_000).map(|_| random.f64()).collect());
        let mut index = |shift: f64| {
            let mut counts = vec![0; distribution.bins()];
            for _ in 0..1_000 {
                counts[distribution.bin(random.f64() + shift)] += 1;
            }
            distribution.stability_index(&counts)
        };
        let (same, shifted) = (index(0.0), index(0.5));
        assert!(same < 0.1, "{same}");
        assert!(shifted > 0.25, "{shifted}");
    }

    #[test]
    fn a_constant_feature_has_a_bin_for_its_value_and_one_above() {
        let distribution = FeatureDistribution::of(vec![1.0; 50]);
        assert_eq!(distribution.bins(), 2);
        let mut counts = vec![0; distribution.bins()];
        counts[distribution.bin(1.0)] += 10;
        assert!(distribution.stability_index(&counts).abs() < 1e-9);
        counts[distribution.bin(2.0)] += 10;
        assert!(distribution.stability_index(&counts) > 0.25);
    }
}
