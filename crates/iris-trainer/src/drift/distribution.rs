//! The distribution of a feature's values over the training rows, and how far the values of predictions differ from it.

use serde::{Deserialize, Serialize};

use super::chi_squared;

/// Bins of a distribution, each with the same number of training rows where ties allow it.
const BINS: usize = 10;

/// The count that is added to each bin, because the index is not defined for a share of 0. This is the prior of Jeffreys.
const PRIOR: f64 = 0.5;

/// The values of a feature by bin: over the rows that a model was trained on, and over the predictions that are compared with
/// them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FeatureDistribution {
    /// The upper edges of all bins but the last.
    edges: Vec<f64>,
    /// The training rows in each bin.
    rows: Vec<u64>,
    /// The predictions in each bin.
    predictions: Vec<u64>,
}

impl FeatureDistribution {
    /// Returns the distribution of the training rows' values, without predictions.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let mut edges: Vec<f64> = (1..BINS)
            .filter_map(|bin| values.get(values.len() * bin / BINS).copied())
            .collect();
        edges.dedup();
        let bins = vec![0; edges.len() + 1];
        let mut distribution = Self {
            edges,
            rows: bins.clone(),
            predictions: bins,
        };
        for &value in &values {
            let bin = distribution.bin(value);
            distribution.rows[bin] += 1;
        }
        distribution
    }

    /// Whether there is a count for each bin, as in every state that this program has written.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let bins = self.edges.len() + 1;
        self.rows.len() == bins && self.predictions.len() == bins
    }

    /// Counts the value of a prediction.
    pub fn add(&mut self, value: f64) {
        let bin = self.bin(value);
        self.predictions[bin] += 1;
    }

    /// Returns the number of predictions.
    #[must_use]
    pub fn predictions(&self) -> u64 {
        self.predictions.iter().sum()
    }

    /// Returns the population stability index: the sum over the bins of the difference of the shares, times the logarithm of
    /// their ratio. By convention, more than 0.1 is a shift and more than 0.25 a large one.
    #[must_use]
    pub fn stability_index(&self) -> f64 {
        let pairs = shares(&self.rows).zip(shares(&self.predictions));
        pairs
            .map(|(trained, now)| (now - trained) * (now / trained).ln())
            .sum()
    }

    /// Returns the probability of an index at least this large if rows and predictions have the same distribution.
    ///
    /// The index times `n m / (n + m)`, for `n` rows and `m` predictions, then has approximately a chi-squared distribution
    /// with one degree of freedom less than there are bins (Yurdakul and Naranjo, "Statistical properties of the population
    /// stability index", 2020). By simulation, for 20 to 5,000 rows and 50 to 5,000 predictions, it is below 0.03, 0.0075 or
    /// 0.001 with at most about that probability; 1.3 times that for a feature that has one value in 97% of the rows, but then
    /// the index is below 0.1. Without `PRIOR`, it would be up to 1.4 times that for 300 predictions, and 20 times and more for
    /// 50.
    #[must_use]
    pub fn p_value(&self) -> f64 {
        let (rows, predictions) = (self.rows.iter().sum::<u64>(), self.predictions());
        let records = (rows * predictions) as f64 / (rows + predictions).max(1) as f64;
        chi_squared::tail(records * self.stability_index(), self.edges.len())
    }

    fn bin(&self, value: f64) -> usize {
        self.edges.partition_point(|&edge| edge < value)
    }
}

/// Returns the share of each bin.
fn shares(counts: &[u64]) -> impl Iterator<Item = f64> {
    let total = counts.iter().sum::<u64>() as f64 + PRIOR * counts.len() as f64;
    counts
        .iter()
        .map(move |&count| (count as f64 + PRIOR) / total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::property;

    #[test]
    fn values_distributed_like_the_training_rows_have_an_index_near_zero() {
        let mut random = fastrand::Rng::with_seed(1);
        let rows = FeatureDistribution::of((0..1_000).map(|_| random.f64()).collect());
        let mut compare = |shift: f64| {
            let mut distribution = rows.clone();
            for _ in 0..1_000 {
                distribution.add(random.f64() + shift);
            }
            (distribution.stability_index(), distribution.p_value())
        };
        let ((same, likely), (shifted, unlikely)) = (compare(0.0), compare(0.5));
        assert!(same < 0.1 && likely > 0.05, "{same} {likely}");
        assert!(shifted > 0.25 && unlikely < 1e-9, "{shifted} {unlikely}");
    }

    #[test]
    fn a_constant_feature_has_a_bin_for_its_value_and_one_above() {
        let mut distribution = FeatureDistribution::of(vec![1.0; 50]);
        assert!(distribution.is_complete());
        assert_eq!(distribution.rows, [50, 0]);
        for _ in 0..50 {
            distribution.add(1.0);
        }
        assert!(distribution.stability_index() < 1e-9);
        assert!(distribution.p_value() > 0.99);
        for _ in 0..50 {
            distribution.add(2.0);
        }
        assert!(distribution.stability_index() > 0.25);
        assert!(distribution.p_value() < 1e-6);
    }

    #[test]
    fn a_distribution_without_values_is_no_drift() {
        let mut distribution = FeatureDistribution::of(Vec::new());
        assert_eq!(distribution.p_value(), 1.0);
        distribution.add(1.0);
        assert_eq!(distribution.p_value(), 1.0);
    }

    fn runs() -> u32 {
        (property::config(1).cases / 20).clamp(1, 500)
    }

    /// Returns the share of comparisons without drift that find drift at each level.
    fn false_alarms(
        draw: impl Fn(&mut fastrand::Rng) -> f64,
        (rows, predictions): (usize, usize),
        levels: [f64; 2],
    ) -> [f64; 2] {
        let runs = runs();
        let mut random = fastrand::Rng::with_seed(7);
        let mut found = [0; 2];
        for _ in 0..runs {
            let values = (0..rows).map(|_| draw(&mut random)).collect();
            let mut distribution = FeatureDistribution::of(values);
            for _ in 0..predictions {
                distribution.add(draw(&mut random));
            }
            let (p_value, index) = (distribution.p_value(), distribution.stability_index());
            for (found, level) in found.iter_mut().zip(levels) {
                *found += u32::from(p_value < level && index >= 0.1);
            }
        }
        found.map(|found| f64::from(found) / f64::from(runs))
    }

    #[test]
    fn false_alarms_are_as_rare_as_wanted_for_every_number_of_rows() {
        let levels = [0.03, 0.0075];
        let uniform = |random: &mut fastrand::Rng| random.f64();
        let rare = |random: &mut fastrand::Rng| f64::from(random.f64() < 0.03);
        let few = |random: &mut fastrand::Rng| f64::from(random.u8(..4));
        for rows in [20, 80, 300, 1_500, 5_000] {
            let sizes = (rows, 300);
            for found in [
                false_alarms(uniform, sizes, levels),
                false_alarms(rare, sizes, levels),
                false_alarms(few, sizes, levels),
            ] {
                let runs = f64::from(runs());
                for (found, level) in found.into_iter().zip(levels) {
                    // With few distinct values, the distribution of the index is only approximately chi-squared.
                    let most = 1.3 * level + 3.0 * (level / runs).sqrt();
                    assert!(found <= most, "{rows} rows: {found} of {most}");
                }
            }
        }
    }

    #[test]
    fn a_shift_by_one_standard_deviation_is_found_at_once() {
        let normal = |random: &mut fastrand::Rng| (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
        for rows in [80, 300, 5_000] {
            for seed in 0..50 {
                let mut random = fastrand::Rng::with_seed(seed);
                let values = (0..rows).map(|_| normal(&mut random)).collect();
                let mut distribution = FeatureDistribution::of(values);
                for _ in 0..300 {
                    distribution.add(normal(&mut random) + 1.0);
                }
                let (p_value, index) = (distribution.p_value(), distribution.stability_index());
                assert!(p_value < 0.03 / 4.0, "{rows} rows: {p_value}");
                assert!(index > 0.25, "{rows} rows: {index}");
            }
        }
    }
}
