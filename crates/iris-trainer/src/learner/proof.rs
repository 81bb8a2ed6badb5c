//! The proof that a small memory is better than the champion: after an alarm, the memory has only the records since the change,
//! and too few of them are held out to judge a challenger.
//!
//! Each record is predicted by the others, which is how the challenger would predict it if it had not learned it. The champion
//! has not learned it either. Deliberately absent: the decision what is left out.

use iris_core::{Model, ModelKind, TrainingSet};

use super::left_out;
use super::trial::Labelled;
use crate::challenger::TrainingExample;
use crate::paired_test::{PairedResult, PairedTest};

/// The maximum number of newest records that are compared.
const MAX_RECORDS: usize = 500;

/// Whether models of this kind predict each record from the others better than the champion predicts them. If they do not, this is
/// true with a probability of about `error_rate`; the results of a record and of its neighbours depend on each other.
pub(crate) fn is_better(
    champion: &Model,
    kind: ModelKind,
    examples: &[TrainingExample],
    error_rate: f64,
) -> bool {
    let examples = &examples[examples.len().saturating_sub(MAX_RECORDS)..];
    let rows = examples
        .iter()
        .map(|example| (&example.features[..], example.label.as_str()));
    let set = TrainingSet::new(champion.training_set().schema().clone(), rows);
    let Some(correct) = left_out::correct(set, kind) else {
        return false;
    };
    let mut test = PairedTest::default();
    for (is_correct, example) in correct.into_iter().zip(examples) {
        test.add(PairedResult {
            is_correct,
            is_other_correct: Labelled::from(example).is_correct(champion),
            weight: 1.0,
        });
    }
    test.is_better(error_rate)
}

#[cfg(test)]
mod tests {
    use iris_kafka::PartitionOffset;

    use super::*;
    use crate::example::model;

    /// Records around 0, labelled as the model with this threshold does, or the other way round.
    fn examples(count: u64, is_reversed: bool) -> Vec<TrainingExample> {
        let mut random = fastrand::Rng::with_seed(1);
        (0..count)
            .map(|record| {
                let x = 4.0 * random.f64() - 2.0;
                let label = if (x < 0.0) ^ is_reversed { "a" } else { "b" };
                TrainingExample {
                    place: PartitionOffset::new(0, i64::try_from(record).unwrap()),
                    features: vec![x],
                    label: label.to_owned(),
                    record,
                }
            })
            .collect()
    }

    #[test]
    fn a_few_records_of_a_reversed_concept_are_better_than_the_champion() {
        let champion = &model(0.0).model;
        assert!(is_better(
            champion,
            champion.kind(),
            &examples(12, true),
            0.1
        ));
        assert!(!is_better(
            champion,
            champion.kind(),
            &examples(4, true),
            0.1
        ));
    }

    #[test]
    fn records_of_the_same_concept_are_not() {
        let champion = &model(0.0).model;
        for count in [1, 12, 300] {
            assert!(
                !is_better(champion, champion.kind(), &examples(count, false), 0.1),
                "{count}"
            );
        }
    }
}
