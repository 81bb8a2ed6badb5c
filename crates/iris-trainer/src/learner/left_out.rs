//! The comparison on rows that are left out: champion and challenger predict the newest rows of the challenger's training set, each
//! row as if they had not learned it.
//!
//! There are many more such rows than held-out records, so that the comparison finds smaller differences. It takes some
//! milliseconds, and it is made only if the challenger can differ from the champion by more than the held-out records show.

use std::ops::Range;

use iris_core::{Model, ModelKind, TrainingSet};

use crate::gate::RecordWeights;
use crate::paired_test::PairedResult;

/// The maximum number of newest rows that are compared.
const MAX_ROWS: usize = 2_000;

/// The models are compared if at least one of this many rows is not a row of both.
const DIFFERING: usize = 20;

/// Returns whether the models are to be compared: they are of different kinds, or enough of their rows differ. `origins`: for each
/// row of the challenger, the champion's row that it is, if it is one.
pub(super) fn is_due(champion: &Model, challenger: &Model, origins: &[Option<usize>]) -> bool {
    let shared = origins.iter().flatten().count();
    let dropped = champion.training_set().len().saturating_sub(shared);
    let differing = origins.len() - shared + dropped;
    champion.kind() != challenger.kind() || differing * DIFFERING >= origins.len()
}

/// Returns the results of the champion beside those of the challenger.
pub(super) fn compare(
    champion: &Model,
    challenger: &Model,
    origins: &[Option<usize>],
    weights: &RecordWeights,
) -> Vec<PairedResult> {
    let newest = origins.len().saturating_sub(MAX_ROWS)..origins.len();
    let origins = &origins[newest.clone()];
    let shared = span(origins);
    let correct_of_champion = champion.correct_left_out(shared.clone());
    let correct_of_challenger = challenger.correct_left_out(newest.clone());
    let rows = challenger.training_set().rows().skip(newest.start);
    rows.zip(origins)
        .zip(correct_of_challenger)
        .map(
            |(((features, label), origin), is_other_correct)| PairedResult {
                is_correct: match origin {
                    Some(row) => correct_of_champion[row - shared.start],
                    None => champion.predict_label(features) == label,
                },
                is_other_correct,
                weight: weights.of(label),
            },
        )
        .collect()
}

/// Returns for each row whether a model of this kind predicts it correctly from the others. `None` if there are too few rows.
pub(super) fn correct(set: TrainingSet, kind: ModelKind) -> Option<Vec<bool>> {
    let rows = set.len();
    if rows <= kind.min_rows() {
        return None;
    }
    Some(Model::fit(set, kind).ok()?.correct_left_out(0..rows))
}

/// Returns the smallest range that contains all of these rows.
fn span(rows: &[Option<usize>]) -> Range<usize> {
    let rows = || rows.iter().flatten();
    match (rows().min(), rows().max()) {
        (Some(first), Some(last)) => *first..last + 1,
        _ => 0..0,
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;
    use iris_core::{ForestKind, NeighborsKind, Scale, Schema};

    use super::*;
    use crate::gate::Evidence;
    use crate::property;
    use crate::settings::TrainerSettings;

    type Row = ([f64; 2], &'static str);

    /// The number of labelled records in the memory.
    const ROWS: usize = 2_000;

    /// Rows whose class is whether the sum of two features exceeds a threshold. A tenth of the labels is wrong.
    fn rows(random: &mut Rng, count: usize) -> Vec<Row> {
        (0..count)
            .map(|_| {
                let features = [random.f64(), random.f64()];
                (features, label(features, random.f64() < 0.1))
            })
            .collect()
    }

    fn label(features: [f64; 2], is_wrong: bool) -> &'static str {
        let is_b = (features[0] + features[1] > 1.0) ^ is_wrong;
        if is_b { "b" } else { "a" }
    }

    /// Returns by how much the challenger is more accurate than the champion on new records.
    fn lead(champion: &Model, challenger: &Model, records: &[Row]) -> f64 {
        let accuracy = |model: &Model| {
            let records = records
                .iter()
                .map(|(features, label)| (&features[..], *label));
            model.accuracy(records).unwrap()
        };
        accuracy(challenger) - accuracy(champion)
    }

    fn model(rows: &[Row], kind: impl Into<ModelKind>) -> Model {
        let schema = Schema {
            features: vec!["x".into(), "y".into()],
            ..Schema::default()
        };
        let rows = rows.iter().map(|(features, label)| (&features[..], *label));
        Model::fit(TrainingSet::new(schema, rows), kind).unwrap()
    }

    /// The champion's rows are all but the newest of the challenger's.
    fn origins(champion: usize, challenger: usize) -> Vec<Option<usize>> {
        let row = |row| (row < champion).then_some(row);
        (0..challenger).map(row).collect()
    }

    /// The share of seeded runs in which the challenger is rejected, and its mean lead in accuracy on records that no model knows.
    fn rejected(kind: impl Into<ModelKind>, new_rows: usize) -> (f64, f64) {
        let kind = kind.into();
        let runs = u64::from(property::config(20).cases).min(200);
        let (mut rejections, mut lead) = (0.0, 0.0);
        for seed in 0..runs {
            let mut random = Rng::with_seed(seed);
            let all = rows(&mut random, ROWS);
            let known = ROWS - new_rows;
            let (champion, challenger) = (model(&all[..known], 5), model(&all, kind));
            let origins = origins(known, ROWS);
            assert!(is_due(&champion, &challenger, &origins));
            let results = compare(&champion, &challenger, &origins, &RecordWeights::default());
            assert_eq!(results.len(), ROWS);
            let evidence = Evidence::of_results(&results).value;
            // Half of the error rate is for the held-out records.
            let limit = 2.0 / TrainerSettings::default().rejection_error_rate;
            rejections += f64::from(u8::from(evidence >= limit));
            lead += self::lead(&champion, &challenger, &rows(&mut random, 4_000));
        }
        (rejections / runs as f64, lead / runs as f64)
    }

    #[test]
    fn of_challengers_that_are_worse_by_a_point_and_a_half_at_most_a_tenth_is_promoted() {
        let (rejected, lead) = rejected(3, 0);
        assert!((-0.02..-0.01).contains(&lead), "{lead}");
        assert!(rejected >= 0.9, "{rejected}");
    }

    #[test]
    fn an_equal_challenger_is_rejected_at_most_at_the_set_rate() {
        let scaled = NeighborsKind {
            scale: Scale::Standard,
            ..5.into()
        };
        let cases = [
            (5.into(), 200),
            (5.into(), 1_000),
            (ModelKind::Neighbors(scaled), 0),
        ];
        for (kind, new_rows) in cases {
            let (rejected, lead) = rejected(kind, new_rows);
            assert!(lead.abs() < 0.01, "{lead}");
            assert!(rejected <= 0.05, "{kind}, {new_rows} new rows: {rejected}");
        }
    }

    #[test]
    fn models_that_differ_little_are_not_compared() {
        let all = rows(&mut Rng::with_seed(1), 500);
        let champion = model(&all[..475], 5);
        let is_due = |challenger: &Model, rows| is_due(&champion, challenger, &origins(475, rows));
        assert!(is_due(&model(&all[..500], 5), 500));
        assert!(!is_due(&model(&all[..490], 5), 490));
        assert!(is_due(&model(&all[..490], 3), 490), "another kind");
        assert!(is_due(&model(&all[..440], 5), 440), "dropped rows");
    }

    /// So the held-out records suffice for challengers that are not compared. A single neighbour has no others that outvote it: such
    /// a challenger is 3.7 points worse.
    #[test]
    fn a_challenger_that_is_not_compared_is_less_than_3_points_worse_even_if_all_its_new_labels_are_wrong()
     {
        let new_rows = ROWS / DIFFERING - 1;
        let known = ROWS - new_rows;
        let runs = u64::from(property::config(20).cases).min(100);
        for kind in [5.into(), ModelKind::Forest(ForestKind::default())] {
            let mut lead = 0.0;
            for seed in 0..runs {
                let mut random = Rng::with_seed(seed);
                let mut all = rows(&mut random, ROWS);
                for (features, label) in &mut all[known..] {
                    *label = self::label(*features, true);
                }
                let (champion, challenger) = (model(&all[..known], kind), model(&all, kind));
                assert!(!is_due(&champion, &challenger, &origins(known, ROWS)));
                lead += self::lead(&champion, &challenger, &rows(&mut random, 2_000));
            }
            let lead = lead / runs as f64;
            assert!((-0.025..0.0).contains(&lead), "{kind}: {lead}");
        }
    }

    #[test]
    fn a_row_of_both_is_left_out_of_both() {
        let rows = [([0.0, 0.0], "a"), ([1.0, 0.0], "b"), ([9.0, 0.0], "b")];
        let (champion, challenger) = (model(&rows[1..], 1), model(&rows, 1));
        let origins = [None, Some(0), Some(1)];
        let results = compare(&champion, &challenger, &origins, &RecordWeights::default());
        let correct: Vec<_> = results
            .iter()
            .map(|result| (result.is_correct, result.is_other_correct))
            .collect();
        assert_eq!(correct, [(false, false), (true, false), (true, true)]);
    }
}
