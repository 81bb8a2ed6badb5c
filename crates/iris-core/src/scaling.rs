//! Scales features by their mean and standard deviation, as scikit-learn's `StandardScaler` does.

use serde::{Deserialize, Serialize};

/// The mean and the standard deviation of each feature of a training set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// For each feature, the number that is subtracted.
    means: Vec<f64>,
    /// For each feature, the number that the difference is divided by.
    deviations: Vec<f64>,
}

impl Scaling {
    /// Returns the scaling of rows, row-major with `width` values per row. The standard deviation is that of the population. A
    /// feature that is constant is not divided, and one whose mean or deviation exceeds the range of numbers is not scaled.
    #[must_use]
    pub fn of(features: &[f64], width: usize) -> Self {
        let (means, deviations) = (0..width)
            .map(|feature| column(features, width, feature))
            .unzip();
        Self { means, deviations }
    }

    /// Returns whether rows of `width` features can be scaled.
    pub(crate) fn is_valid(&self, width: usize) -> bool {
        self.means.len() == width
            && self.deviations.len() == width
            && self.means.iter().all(|mean| mean.is_finite())
            && self
                .deviations
                .iter()
                .all(|&deviation| deviation.is_finite() && deviation > 0.0)
    }

    /// Appends the scaled values of one row, which are finite if the row's are.
    ///
    /// # Panics
    /// If `row` does not have exactly one value for each feature.
    #[inline]
    pub(crate) fn extend(&self, row: &[f64], scaled: &mut Vec<f64>) {
        assert_eq!(row.len(), self.means.len(), "one value for each feature");
        let places = self.means.iter().zip(&self.deviations);
        let scale = |(&value, (mean, deviation)): (&f64, (&f64, &f64))| {
            ((value - mean) / deviation).clamp(f64::MIN, f64::MAX)
        };
        scaled.extend(row.iter().zip(places).map(scale));
    }

    /// Returns all numbers, for the hash of a model's content.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = f64> {
        self.means.iter().chain(&self.deviations).copied()
    }
}

/// Returns the mean and the standard deviation of one feature.
fn column(features: &[f64], width: usize, feature: usize) -> (f64, f64) {
    let values = || features.iter().skip(feature).step_by(width).copied();
    let rows = (features.len() / width) as f64;
    let mean = values().sum::<f64>() / rows;
    let variance = values()
        .map(|value| (value - mean) * (value - mean))
        .sum::<f64>()
        / rows;
    if !mean.is_finite() || !variance.is_finite() {
        return (0.0, 1.0);
    }
    // The variance of equal values differs from 0 by rounding; this is scikit-learn's bound.
    let rounding = rows * mean * f64::EPSILON;
    let is_constant = variance <= rows * f64::EPSILON * variance + rounding * rounding;
    (mean, if is_constant { 1.0 } else { variance.sqrt() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaled(scaling: &Scaling, row: &[f64]) -> Vec<f64> {
        let mut scaled = Vec::new();
        scaling.extend(row, &mut scaled);
        scaled
    }

    #[test]
    fn features_have_mean_0_and_deviation_1() {
        let scaling = Scaling::of(&[1.0, 10.0, 3.0, 30.0], 2);
        assert_eq!(scaled(&scaling, &[1.0, 30.0]), [-1.0, 1.0]);
        assert_eq!(scaled(&scaling, &[2.0, 20.0]), [0.0, 0.0]);
    }

    #[test]
    fn a_constant_feature_is_centred_and_not_divided() {
        let scaling = Scaling::of(&[0.1; 7], 1);
        assert_eq!(scaling.deviations, [1.0]);
        assert!((scaled(&scaling, &[2.1])[0] - 2.0).abs() < 1e-12);
    }

    #[test]
    fn scaled_values_are_finite() {
        let huge = Scaling::of(&[f64::MAX, f64::MAX, f64::MIN], 1);
        assert_eq!(scaled(&huge, &[4.0]), [4.0]);
        let tiny = Scaling::of(&[0.0, 1e-150], 1);
        assert!(tiny.is_valid(1));
        assert_eq!(scaled(&tiny, &[f64::MAX]), [f64::MAX]);
        assert_eq!(scaled(&tiny, &[f64::MIN]), [f64::MIN]);
    }

    #[test]
    fn a_scaling_of_other_rows_is_not_valid() {
        let valid = Scaling::of(&[1.0, 2.0], 1);
        assert!(valid.is_valid(1) && !valid.is_valid(2));
        for deviation in [0.0, -1.0, f64::INFINITY, f64::NAN] {
            let deviations = vec![deviation];
            assert!(
                !Scaling {
                    deviations,
                    ..valid.clone()
                }
                .is_valid(1)
            );
        }
    }
}
