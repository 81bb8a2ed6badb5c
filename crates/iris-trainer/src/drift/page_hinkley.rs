//! The Page-Hinkley test for a rise of the error rate.

use serde::{Deserialize, Serialize};

/// The number of predictions before the test can detect anything.
const MIN_PREDICTIONS: u64 = 30;

/// The Page-Hinkley test (Page, 1954; Hinkley, 1971) in the form that Gama et al. give for streams: the sum of each error's
/// difference from the mean error so far, less `delta` each, compared with the sum's minimum so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PageHinkley {
    #[serde(rename = "answers")]
    predictions: u64,
    mean: f64,
    sum: f64,
    #[serde(rename = "least")]
    min: f64,
}

impl PageHinkley {
    /// Counts a prediction. Returns how far the sum is above its minimum if that is more than `threshold`; the test then
    /// restarts.
    pub fn add(&mut self, is_error: bool, delta: f64, threshold: f64) -> Option<f64> {
        let error = f64::from(u8::from(is_error));
        self.predictions += 1;
        self.mean += (error - self.mean) / self.predictions as f64;
        self.sum += error - self.mean - delta;
        self.min = self.min.min(self.sum);
        let rise = self.sum - self.min;
        if self.predictions >= MIN_PREDICTIONS && rise > threshold {
            *self = Self::default();
            return Some(rise);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the number of predictions, each wrong with probability `rate`, until the test detects a rise.
    fn detected(
        test: &mut PageHinkley,
        random: &mut fastrand::Rng,
        rate: f64,
        most: u32,
    ) -> Option<u32> {
        (1..=most).find(|_| test.add(random.f64() < rate, 0.05, 5.0).is_some())
    }

    #[test]
    fn a_rise_is_detected_soon_and_a_constant_rate_never() {
        for seed in 0..50 {
            let (mut test, mut random) = (PageHinkley::default(), fastrand::Rng::with_seed(seed));
            let constant = detected(&mut test, &mut random, 0.03, 2_000);
            assert_eq!(constant, None, "seed {seed}");
            let after = detected(&mut test, &mut random, 0.35, 200);
            assert!(
                after.is_some_and(|after| after < 100),
                "seed {seed}: {after:?}"
            );
        }
    }

    #[test]
    fn nothing_is_detected_in_the_first_predictions() {
        let mut test = PageHinkley::default();
        let early = (1..MIN_PREDICTIONS).filter_map(|n| test.add(n > 5, 0.0, 0.1));
        assert_eq!(early.count(), 0);
        assert!(test.add(true, 0.0, 0.1).is_some());
        assert_eq!(test, PageHinkley::default(), "it restarts");
    }
}
