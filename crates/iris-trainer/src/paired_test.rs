//! A sequential paired test: whether one of two models is better on the records where exactly one of them is correct.
//!
//! The test bets on the next record. Under the hypothesis that the model is not better, no betting strategy multiplies its
//! capital by more than a factor `c` with a probability above `1/c`, at whatever record one looks (Ville's inequality). The
//! capital is therefore evidence that stays valid however often it is looked at. It is the mean of the capitals of nine
//! strategies, each of which stakes a fixed share of its capital. The method is that of Shafer, "Testing by betting" (2021),
//! and of Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting" (2024). A test that is looked at
//! only once uses an exact sign test instead.

use serde::{Deserialize, Serialize};

/// The shares of its capital that each strategy stakes.
const STAKES: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// The result of two models on one labelled record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PairedResult {
    /// Whether the model that may be better is correct.
    pub(crate) is_correct: bool,
    /// Whether the other model is correct.
    pub(crate) is_other_correct: bool,
    /// The weight of the record, above 0 and at most 1.
    pub(crate) weight: f64,
}

/// The evidence so far that a model is better than another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PairedTest {
    /// The number of records.
    pub(crate) records: u64,
    /// How many of them only the model that may be better classifies correctly.
    pub(crate) wins: u64,
    /// How many of them only the other model classifies correctly.
    pub(crate) losses: u64,
    /// The natural logarithm of each strategy's capital.
    log_capitals: [f64; STAKES.len()],
    /// The largest evidence so far.
    max_log_evidence: f64,
    /// Whether the records have different weights.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_weighted: bool,
}

impl PairedTest {
    /// Adds a record.
    pub(crate) fn add(&mut self, result: PairedResult) {
        self.records += 1;
        self.is_weighted |= result.weight < 1.0;
        let outcome = match (result.is_correct, result.is_other_correct) {
            (true, false) => {
                self.wins += 1;
                result.weight
            }
            (false, true) => {
                self.losses += 1;
                -result.weight
            }
            _ => return,
        };
        bet(&mut self.log_capitals, outcome);
        self.max_log_evidence = self.max_log_evidence.max(log_mean(&self.log_capitals));
    }

    /// Returns the largest capital so far, of an initial capital of 1.
    pub(crate) fn evidence(&self) -> f64 {
        self.max_log_evidence.exp()
    }

    /// Returns the evidence of a test that is looked at once, after all its records: 1/p, where p is the p-value of a one-sided
    /// sign test. It finds differences in fewer records than [`evidence`](Self::evidence), which this returns if the records
    /// have different weights.
    pub(crate) fn final_evidence(&self) -> f64 {
        if self.is_weighted {
            self.evidence()
        } else {
            1.0 / probability_of_wins(self.wins, self.wins + self.losses)
        }
    }

    /// Whether the model is better. If it is not, this is ever true with a probability of at most `error_rate`.
    pub(crate) fn is_better(&self, error_rate: f64) -> bool {
        is_enough(self.evidence(), error_rate)
    }
}

/// Whether evidence is enough for a conclusion that is wrong with a probability of at most `error_rate`.
pub(crate) fn is_enough(evidence: f64, error_rate: f64) -> bool {
    evidence * error_rate >= 1.0
}

/// The evidence that a model has become better than another at some time: each strategy starts over whenever it has less
/// than its initial capital. While the model is not better, the mean number of records between detections is at least the
/// threshold on the capital (an e-detector of Shin, Ramdas and Rinaldo, 2022).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ChangeTest {
    log_capitals: [f64; STAKES.len()],
}

impl ChangeTest {
    /// Adds a record.
    pub(crate) fn add(&mut self, result: PairedResult) {
        let outcome = match (result.is_correct, result.is_other_correct) {
            (true, false) => result.weight,
            (false, true) => -result.weight,
            _ => return,
        };
        for log_capital in &mut self.log_capitals {
            *log_capital = log_capital.max(0.0);
        }
        bet(&mut self.log_capitals, outcome);
    }

    /// Whether the model has become better. `false_alarm_records`: the mean number of records between two false detections.
    pub(crate) fn is_better(&self, false_alarm_records: u64) -> bool {
        log_mean(&self.log_capitals) >= (false_alarm_records as f64).ln()
    }
}

/// Returns the probability of at least this many heads when a coin is tossed this many times.
fn probability_of_wins(wins: u64, tosses: u64) -> f64 {
    let mut log_ways = 0.0_f64;
    let log_sequences = tosses as f64 * std::f64::consts::LN_2;
    let mut probability = (-log_sequences).exp();
    for heads in (wins..tosses).rev() {
        log_ways += ((heads + 1) as f64).ln() - ((tosses - heads) as f64).ln();
        probability += (log_ways - log_sequences).exp();
    }
    probability.min(1.0)
}

/// Has each strategy bet on an outcome from -1 to 1.
fn bet(log_capitals: &mut [f64; STAKES.len()], outcome: f64) {
    for (log_capital, stake) in log_capitals.iter_mut().zip(STAKES) {
        *log_capital += (stake * outcome).ln_1p();
    }
}

/// Returns the logarithm of the mean of the capitals.
fn log_mean(log_capitals: &[f64; STAKES.len()]) -> f64 {
    let max = log_capitals.iter().copied().fold(f64::MIN, f64::max);
    let sum: f64 = log_capitals.iter().map(|log| (log - max).exp()).sum();
    max + (sum / STAKES.len() as f64).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws the result of two models that differ on this share of the records, one of which is more accurate by `lead`.
    fn result(random: &mut fastrand::Rng, differing: f64, lead: f64) -> PairedResult {
        let is_differing = random.f64() < differing;
        let is_win = random.f64() < f64::midpoint(differing, lead) / differing;
        PairedResult {
            is_correct: !is_differing || is_win,
            is_other_correct: !is_differing || !is_win,
            weight: 1.0,
        }
    }

    /// The share of runs of this length in which the test ever finds the model better.
    fn found(runs: u64, records: u64, differing: f64, lead: f64, error_rate: f64) -> f64 {
        let found = (0..runs).filter(|&seed| {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut test = PairedTest::default();
            (0..records).any(|_| {
                test.add(result(&mut random, differing, lead));
                test.is_better(error_rate)
            })
        });
        found.count() as f64 / runs as f64
    }

    #[test]
    fn a_model_that_is_not_better_is_found_better_at_most_at_the_error_rate() {
        for differing in [0.03, 0.1, 0.4] {
            for error_rate in [0.02, 0.1] {
                let share = found(300, 3_000, differing, 0.0, error_rate);
                let tolerance = 3.0 * (error_rate / 300.0_f64).sqrt();
                assert!(share <= error_rate + tolerance, "{differing}: {share}");
            }
        }
    }

    /// Ville's inequality then holds for any number of records.
    #[test]
    fn while_the_models_are_equal_the_next_record_does_not_change_the_expected_capital() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut test = PairedTest::default();
        for _ in 0..2_000 {
            let weight = 1.0 - random.f64();
            let with = |is_win| {
                let mut next = test.clone();
                next.add(PairedResult {
                    is_correct: is_win,
                    is_other_correct: !is_win,
                    weight,
                });
                next
            };
            let capital = |test: &PairedTest| log_mean(&test.log_capitals).exp();
            let (now, after_win, after_loss) = (capital(&test), with(true), with(false));
            let expected = f64::midpoint(capital(&after_win), capital(&after_loss));
            assert!((expected - now).abs() < 1e-9 * now, "{now} {expected}");
            test = if random.bool() { after_win } else { after_loss };
        }
    }

    #[test]
    fn the_final_evidence_is_the_inverse_of_the_probability_of_as_many_wins() {
        let test = |wins, losses, weight| {
            let mut test = PairedTest::default();
            let results = [(wins, true), (losses, false)];
            for (count, is_win) in results {
                for _ in 0..count {
                    test.add(PairedResult {
                        is_correct: is_win,
                        is_other_correct: !is_win,
                        weight,
                    });
                }
            }
            test
        };
        for (wins, losses, probability) in [
            (0, 0, 1.0),
            (0, 3, 1.0),
            (3, 0, 1.0 / 8.0),
            (3, 1, 5.0 / 16.0),
            (9, 1, 11.0 / 1024.0),
            // By the normal approximation: 2.02 standard deviations.
            (1_050, 960, 0.0236),
        ] {
            let evidence = test(wins, losses, 1.0).final_evidence();
            let expected = 1.0 / probability;
            assert!(
                (evidence - expected).abs() < 0.02 * expected,
                "{evidence} {expected}"
            );
        }
        let weighted = test(9, 1, 0.5);
        assert_eq!(weighted.final_evidence(), weighted.evidence());
    }

    #[test]
    fn a_model_that_is_better_is_found_better() {
        assert!(found(200, 2_000, 0.06, 0.03, 0.1) > 0.99);
        assert!(found(200, 2_000, 0.1, 0.03, 0.1) > 0.9);
        assert!(found(200, 100, 0.5, 0.4, 0.02) > 0.95);
    }

    #[test]
    fn the_evidence_is_the_largest_capital_and_records_on_which_the_models_agree_do_not_count() {
        let mut test = PairedTest::default();
        let mut add = |is_correct, is_other_correct| {
            test.add(PairedResult {
                is_correct,
                is_other_correct,
                weight: 1.0,
            });
        };
        (0..8).for_each(|_| add(true, false));
        (0..9).for_each(|_| add(true, true));
        add(false, true);
        assert_eq!((test.records, test.wins, test.losses), (18, 8, 1));
        let mean = STAKES
            .iter()
            .map(|stake| (1.0 + stake).powi(8))
            .sum::<f64>()
            / 9.0;
        assert!((test.evidence() - mean).abs() < 1e-9 * mean);
    }

    #[test]
    fn a_record_of_small_weight_moves_little_capital() {
        let evidence = |weight| {
            let mut test = PairedTest::default();
            for _ in 0..5 {
                test.add(PairedResult {
                    is_correct: true,
                    is_other_correct: false,
                    weight,
                });
            }
            test.evidence()
        };
        assert!(evidence(0.1) < 2.0 && evidence(1.0) > 8.0);
    }

    #[test]
    fn a_change_is_found_soon_however_long_the_other_model_was_better() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut test = ChangeTest::default();
        for _ in 0..20_000 {
            test.add(result(&mut random, 0.1, -0.03));
            assert!(!test.is_better(1_000));
        }
        let found = (1..=2_000).find(|_| {
            test.add(result(&mut random, 0.1, 0.06));
            test.is_better(1_000)
        });
        assert!(found.is_some_and(|records| records < 1_000), "{found:?}");
    }

    #[test]
    fn while_the_models_are_equal_false_detections_are_as_far_apart_as_set() {
        let mut random = fastrand::Rng::with_seed(2);
        let (mut test, mut detections) = (ChangeTest::default(), 0);
        for _ in 0..100_000 {
            test.add(result(&mut random, 0.2, 0.0));
            if test.is_better(1_000) {
                detections += 1;
                test = ChangeTest::default();
            }
        }
        assert!(detections <= 100, "{detections}");
    }
}
